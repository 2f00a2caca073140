-- The keystore: which one is this database's, who was forgotten, which
-- numbers were handed out.  The keys themselves are in no table.

CREATE TABLE gdpr.keystore_identity (
    id         uuid        NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX keystore_identity_single ON gdpr.keystore_identity ((true));
REVOKE ALL ON gdpr.keystore_identity FROM PUBLIC;
COMMENT ON TABLE gdpr.keystore_identity IS
    'Which keystore belongs to this database; dumped, so that a restored database finds its keystore.';
COMMENT ON COLUMN gdpr.keystore_identity.id IS
    'The keystore is the file <id>.keystore in gdpr.keystore_directory.';
COMMENT ON COLUMN gdpr.keystore_identity.created_at IS
    'When the keystore was created or forked.';

CREATE TABLE gdpr.tombstone (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number       bigint      CHECK (number > 0 AND number < 1099511627776),
    category     smallint    CHECK (category BETWEEN 0 AND 15),
    erasure      uuid,
    forgotten_at timestamptz NOT NULL DEFAULT now(),
    month        smallint    CHECK (month BETWEEN 1 AND 4095),
    CHECK ((number IS NULL) = (month IS NOT NULL) AND (month IS NULL OR category IS NOT NULL))
);
CREATE INDEX tombstone_number_idx ON gdpr.tombstone (number);
REVOKE ALL ON gdpr.tombstone FROM PUBLIC;
REVOKE ALL ON SEQUENCE gdpr.tombstone_id_seq FROM PUBLIC;
COMMENT ON TABLE gdpr.tombstone IS
    'Subject numbers that were forgotten, and months of expiry that are over. Each server compares them with its keystore and destroys what is left.';
COMMENT ON COLUMN gdpr.tombstone.number IS 'The subject number, or the reserved number of a token epoch; NULL: of a month.';
COMMENT ON COLUMN gdpr.tombstone.category IS 'The one category that was forgotten; NULL: everything.';
COMMENT ON COLUMN gdpr.tombstone.month IS
    'All keys of the category that expire up to this month, (year - 2000) * 12 + month, are destroyed, of everybody.';
COMMENT ON COLUMN gdpr.tombstone.erasure IS 'The erasure it belongs to.';
COMMENT ON COLUMN gdpr.tombstone.forgotten_at IS 'Start of the transaction that forgot.';

-- Written to the end of every leased block, so that neither a stale copy of
-- the keystore nor a restored database hands out a number again.
CREATE SEQUENCE gdpr.number_high_water AS bigint MINVALUE 0 START 0;
REVOKE ALL ON SEQUENCE gdpr.number_high_water FROM PUBLIC;
COMMENT ON SEQUENCE gdpr.number_high_water IS
    'The highest subject number that may have been handed out.';

SELECT pg_catalog.pg_extension_config_dump('gdpr.keystore_identity', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.tombstone', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.tombstone_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.number_high_water', '');

-- Triggers

CREATE FUNCTION gdpr.keystore_identity_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_keystore_identity_changed';
REVOKE ALL ON FUNCTION gdpr.keystore_identity_changed() FROM PUBLIC;
COMMENT ON FUNCTION gdpr.keystore_identity_changed() IS
    'Makes every session look again for the keystore of its database.';

CREATE TRIGGER keystore_identity_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.keystore_identity
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.keystore_identity_changed();
ALTER TABLE gdpr.keystore_identity ENABLE ALWAYS TRIGGER keystore_identity_changed;
COMMENT ON TRIGGER keystore_identity_changed ON gdpr.keystore_identity IS
    'Also under session_replication_role = replica: a restored dump counts.';

CREATE FUNCTION gdpr.tombstone_arrived() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_tombstone_arrived';
REVOKE ALL ON FUNCTION gdpr.tombstone_arrived() FROM PUBLIC;
COMMENT ON FUNCTION gdpr.tombstone_arrived() IS
    'Has tombstones that came by INSERT, COPY or a restored dump compared with the keystore once they are committed.';

CREATE TRIGGER tombstone_arrived
    BEFORE INSERT ON gdpr.tombstone
    FOR EACH ROW EXECUTE FUNCTION gdpr.tombstone_arrived();
ALTER TABLE gdpr.tombstone ENABLE ALWAYS TRIGGER tombstone_arrived;
COMMENT ON TRIGGER tombstone_arrived ON gdpr.tombstone IS
    'Also under session_replication_role = replica: a restored dump counts.';

CREATE FUNCTION gdpr.tombstone_stays() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_tombstone_stays';
REVOKE ALL ON FUNCTION gdpr.tombstone_stays() FROM PUBLIC;
COMMENT ON FUNCTION gdpr.tombstone_stays() IS
    'Refuses to change or delete tombstones.';

CREATE TRIGGER tombstone_stays
    BEFORE UPDATE OR DELETE ON gdpr.tombstone
    FOR EACH ROW EXECUTE FUNCTION gdpr.tombstone_stays();
ALTER TABLE gdpr.tombstone ENABLE ALWAYS TRIGGER tombstone_stays;
COMMENT ON TRIGGER tombstone_stays ON gdpr.tombstone IS
    'Without its tombstone a forgotten person would come back with an old copy of the keystore.';
CREATE TRIGGER tombstones_stay
    BEFORE TRUNCATE ON gdpr.tombstone
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.tombstone_stays();
ALTER TABLE gdpr.tombstone ENABLE ALWAYS TRIGGER tombstones_stay;
COMMENT ON TRIGGER tombstones_stay ON gdpr.tombstone IS
    'Without their tombstones the forgotten would come back with an old copy of the keystore.';

-- Functions

CREATE FUNCTION gdpr.create_keystore() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_create_keystore';
REVOKE ALL ON FUNCTION gdpr.create_keystore() FROM PUBLIC;
COMMENT ON FUNCTION gdpr.create_keystore() IS
    'Creates the keystore of this database and returns its id; refuses if there is one.';

CREATE FUNCTION gdpr.keystore_status(
        OUT id              uuid,
        OUT path            text,
        OUT generation      bigint,
        OUT nodes           bigint,
        OUT bytes           bigint,
        OUT punctured       bigint,
        OUT pending         bigint,
        OUT kek_version     integer,
        OUT token_epoch     integer,
        OUT next_block      integer,
        OUT owner_system    bigint,
        OUT owner_timeline  integer,
        OUT owner_database  oid,
        OUT created_at      timestamptz,
        OUT problem         text,
        OUT kek_made_at     timestamptz)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_keystore_status';
REVOKE ALL ON FUNCTION gdpr.keystore_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gdpr.keystore_status() TO pg_monitor;
COMMENT ON FUNCTION gdpr.keystore_status() IS
    'The keystore of this database: where it is, what it holds, erasures not yet carried out, and what is wrong with it, if anything.';

CREATE FUNCTION gdpr.rotate_key_encryption_key(salvage boolean DEFAULT false) RETURNS integer
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_rotate_key_encryption_key';
REVOKE ALL ON FUNCTION gdpr.rotate_key_encryption_key(boolean) FROM PUBLIC;
COMMENT ON FUNCTION gdpr.rotate_key_encryption_key(boolean) IS
    'Wraps the keystore under a new key-encryption key, destroys the old one, and returns the new version. Takes effect at once, whether or not the transaction commits. salvage: a damaged keystore too; what is damaged is given up for good.';

CREATE FUNCTION gdpr.fork_keystore(own boolean DEFAULT false) RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_fork_keystore';
REVOKE ALL ON FUNCTION gdpr.fork_keystore(boolean) FROM PUBLIC;
COMMENT ON FUNCTION gdpr.fork_keystore(boolean) IS
    'Gives a copied database a keystore of its own, with a new id, and returns that; own: also if the keystore is this database''s, as on a copy of a server that goes on running.';

CREATE FUNCTION gdpr.keystore_files(
        OUT id       uuid,
        OUT path     text,
        OUT database name,
        OUT bytes    bigint,
        OUT modified timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_keystore_files';
REVOKE ALL ON FUNCTION gdpr.keystore_files() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gdpr.keystore_files() TO pg_monitor;
COMMENT ON FUNCTION gdpr.keystore_files() IS
    'The keystore files of this server and the database that each belongs to; NULL: none of this server, as after DROP DATABASE.';

CREATE FUNCTION gdpr.destroy_keystore(id uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_destroy_keystore';
REVOKE ALL ON FUNCTION gdpr.destroy_keystore(uuid) FROM PUBLIC;
COMMENT ON FUNCTION gdpr.destroy_keystore(uuid) IS
    'Overwrites and removes a keystore that belongs to no database of this server, and its key-encryption keys: every backup of its database is unreadable then. Takes effect at once, whether or not the transaction commits.';

CREATE FUNCTION gdpr.puncture_at_commit(
        number bigint, category smallint DEFAULT NULL, erasure uuid DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_puncture_at_commit';
REVOKE ALL ON FUNCTION gdpr.puncture_at_commit(bigint, smallint, uuid) FROM PUBLIC;
COMMENT ON FUNCTION gdpr.puncture_at_commit(bigint, smallint, uuid) IS
    'Records that a subject number was forgotten and destroys its keys when the transaction commits. Called by gdpr.forget(); rows and tokens are its business.';

CREATE FUNCTION gdpr.close_month_at_commit(category smallint, month smallint) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_close_month_at_commit';
REVOKE ALL ON FUNCTION gdpr.close_month_at_commit(smallint, smallint) FROM PUBLIC;
COMMENT ON FUNCTION gdpr.close_month_at_commit(smallint, smallint) IS
    'Records that the months of expiry of a category are over up to one, and destroys their keys, of everybody, when the transaction commits. Called by gdpr.run_retention().';
