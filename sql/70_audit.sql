-- The audit trail: who saw or changed whose data, when, for which purpose.
--
-- Sessions put their records into the write-ahead log; a worker takes them from there and stores them in blocks. In a block,
-- each record is: length, salt, bytes (src/audit_record.h).

CREATE TABLE gdpr.audit_block (
    month date NOT NULL,
    first_record bigint NOT NULL,
    records integer NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    persons bytea NOT NULL,
    content bytea NOT NULL
) PARTITION BY LIST (month);
-- beside the row, so that looking for a person does not fetch it from elsewhere
ALTER TABLE gdpr.audit_block ALTER COLUMN persons SET STORAGE MAIN;
COMMENT ON TABLE gdpr.audit_block IS
    'the records of the audit trail, in blocks, by month: a month is dropped with its partition; read them as gdpr.audit_log';

CREATE TABLE gdpr.audit_chain (
    first_record bigint PRIMARY KEY,
    records integer NOT NULL,
    month date NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE gdpr.audit_chain IS
    'for each block, the hash of all records up to its last; it stays when the block is dropped';

CREATE TABLE gdpr.audit_progress (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    lsn pg_lsn NOT NULL
);
COMMENT ON TABLE gdpr.audit_progress IS 'up to where records were taken from the write-ahead log; of this server only, so it is not dumped';
INSERT INTO gdpr.audit_progress (lsn) SELECT pg_current_wal_insert_lsn();
REVOKE ALL ON gdpr.audit_block, gdpr.audit_chain, gdpr.audit_progress FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.audit_block', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.audit_chain', '');

CREATE FUNCTION gdpr.audit_month(month date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := 'audit_block_' || to_char(month, 'YYYY_MM');
BEGIN
    IF isfinite(month) IS NOT TRUE OR month <> date_trunc('month', month) THEN
        RAISE EXCEPTION 'not the first day of a month' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF to_regclass('gdpr.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE gdpr.%I (LIKE gdpr.audit_block INCLUDING STORAGE)', name);
        -- here, not above: a dump adds it to the partition
        EXECUTE format('ALTER TABLE gdpr.%I ADD PRIMARY KEY (first_record)', name);
        -- unlike CREATE TABLE ... PARTITION OF, this does not wait for those who read the trail
        EXECUTE format('ALTER TABLE gdpr.audit_block ATTACH PARTITION gdpr.%I FOR VALUES IN (%L)', name, month);
        EXECUTE format('REVOKE ALL ON gdpr.%I FROM PUBLIC', name);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.audit_month(date) IS 'makes the partition of the audit trail for a month, unless there is one';
REVOKE ALL ON FUNCTION gdpr.audit_month(date) FROM PUBLIC;

CREATE FUNCTION gdpr.audit_concerns(persons bytea, subject bigint) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_audit_concerns';
COMMENT ON FUNCTION gdpr.audit_concerns(bytea, bigint) IS 'whether a block of the audit trail may have records on a person';
REVOKE ALL ON FUNCTION gdpr.audit_concerns(bytea, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.audit_hash(before bytea, content bytea, records bigint DEFAULT NULL) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_audit_hash';
COMMENT ON FUNCTION gdpr.audit_hash(bytea, bytea, bigint) IS 'the hash of the chain after so many records of a block, or all of them';
REVOKE ALL ON FUNCTION gdpr.audit_hash(bytea, bytea, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.audit_records(first_record bigint, content bytea,
        OUT record bigint, OUT at timestamptz, OUT kind text, OUT outcome text, OUT session_role text, OUT set_role text, OUT role text,
        OUT actor text,
        OUT application text, OUT client text, OUT pid integer, OUT transaction text, OUT statement integer, OUT command text,
        OUT failed boolean, OUT query_id bigint, OUT purpose text, OUT override_reason text, OUT relation text, OUT columns text[],
        OUT actions text[], OUT rows bigint, OUT subjects int8multirange)
    RETURNS SETOF record LANGUAGE c STABLE PARALLEL SAFE ROWS 1000 AS 'MODULE_PATHNAME', 'gdpr_audit_records';
COMMENT ON FUNCTION gdpr.audit_records(bigint, bytea) IS 'the records of a block of the audit trail; it is recorded itself';
-- for the readers of the view; it reads what it is given
GRANT EXECUTE ON FUNCTION gdpr.audit_records(bigint, bytea) TO PUBLIC;

CREATE VIEW gdpr.audit_log AS
SELECT b.month, r.record, r.at, r.kind, r.session_role, r.set_role, r.role, r.actor, r.application, r.client, r.pid, r.transaction, r.statement,
       r.command, r.failed, r.outcome, r.query_id, r.purpose, r.override_reason, r.relation, r.columns, r.actions, r.rows, r.subjects
FROM gdpr.audit_block b, gdpr.audit_records(b.first_record, b.content) r;
COMMENT ON VIEW gdpr.audit_log IS
    'the audit trail: access: one row for each statement, relation and purpose; change: one for each row that was changed of a table that keeps its history; end: how a transaction ended whose rows do not say so; undone: changes behind a savepoint were rolled back; gap: something may be missing. A condition on month reads that month only';
REVOKE ALL ON gdpr.audit_log FROM PUBLIC;

CREATE FUNCTION gdpr.accesses(subject bigint, OUT at timestamptz, OUT role text, OUT actor text, OUT purpose text, OUT relation text,
                              OUT columns text[], OUT actions text[], OUT failed boolean)
    RETURNS SETOF record LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'gdpr_accesses';
COMMENT ON FUNCTION gdpr.accesses(bigint) IS 'who saw or changed the data of a person, when and for which purpose; it is recorded itself';
REVOKE ALL ON FUNCTION gdpr.accesses(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.changes(subject bigint, OUT record bigint, OUT at timestamptz, OUT role text, OUT actor text, OUT purpose text,
                             OUT command text, OUT relation text, OUT "column" text, OUT before text, OUT after text, OUT outcome text)
    RETURNS SETOF record LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'gdpr_changes';
COMMENT ON FUNCTION gdpr.changes(bigint) IS
    'what was changed of a person, in tables that keep their history: values before and after, as far as the current role may see them for its purpose; outcome: what became of the transaction, NULL: not known, as after a crash';
REVOKE ALL ON FUNCTION gdpr.changes(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.audit_digest(OUT record bigint, OUT hash bytea) RETURNS record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.first_record + c.records - 1, c.hash FROM gdpr.audit_chain c ORDER BY c.first_record DESC LIMIT 1;
END;
COMMENT ON FUNCTION gdpr.audit_digest() IS
    'the last record of the audit trail and the hash of all records up to it: kept elsewhere, it proves them';
REVOKE ALL ON FUNCTION gdpr.audit_digest() FROM PUBLIC;

CREATE FUNCTION gdpr.verify_audit(record bigint DEFAULT NULL, hash bytea DEFAULT NULL, OUT first_record bigint, OUT problem text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
    before bytea := decode(repeat('00', 32), 'hex');
    next bigint := 1;
    told bigint := 0;
    last bigint := (SELECT max(h.first_record + h.records - 1) FROM gdpr.audit_chain h);
    compared boolean := record IS NULL;
BEGIN
    IF (record IS NULL) <> (hash IS NULL) THEN
        RAISE EXCEPTION 'a digest is a record and its hash' USING ERRCODE = 'invalid_parameter_value', HINT = 'As gdpr.audit_digest() gave them.';
    END IF;
    FOR c IN SELECT h.first_record, h.first_record + h.records AS next, h.month, h.hash, b.content
             FROM gdpr.audit_chain h LEFT JOIN gdpr.audit_block b ON b.month = h.month AND b.first_record = h.first_record
             ORDER BY h.first_record
    LOOP
        first_record := c.first_record;
        problem := NULL;
        IF c.first_record <> next THEN
            problem := format('records %s to %s are missing', next, c.first_record - 1);
        ELSIF c.content IS NULL THEN
            IF to_regclass('gdpr.audit_block_' || to_char(c.month, 'YYYY_MM')) IS NOT NULL THEN
                problem := 'the block is missing';
            END IF;
        ELSE
            BEGIN
                IF gdpr.audit_hash(before, c.content) IS DISTINCT FROM c.hash THEN
                    problem := 'the block or its hash was changed';
                END IF;
                IF record >= c.first_record AND record < c.next THEN
                    compared := true;
                    IF problem IS NULL AND gdpr.audit_hash(before, c.content, record - c.first_record + 1) <> verify_audit.hash THEN
                        problem := 'the digest is another';
                    END IF;
                END IF;
            EXCEPTION WHEN SQLSTATE 'GD002' THEN
                problem := 'the block cannot be read';
            END;
        END IF;
        IF c.content IS NULL AND record >= c.first_record AND record < c.next THEN
            compared := true;
            IF record < c.next - 1 THEN
                RAISE WARNING 'the digest cannot be compared: its record is within a block that was dropped';
            ELSIF problem IS NULL AND c.hash <> verify_audit.hash THEN
                problem := 'the digest is another';
            END IF;
        END IF;
        IF problem IS NOT NULL THEN
            RETURN NEXT;
        END IF;
        before := c.hash;
        next := c.next;
        IF next - told > 1000000 THEN
            told := next - 1;
            RAISE NOTICE '% of % records', told, last;
        END IF;
    END LOOP;
    problem := 'the block is not in the chain';
    FOR first_record IN SELECT b.first_record FROM gdpr.audit_block b
                        WHERE NOT EXISTS (SELECT FROM gdpr.audit_chain h WHERE h.first_record = b.first_record AND h.month = b.month)
    LOOP
        RETURN NEXT;
    END LOOP;
    IF NOT compared THEN
        first_record := record;
        problem := 'the record of the digest is missing';
        RETURN NEXT;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.verify_audit(bigint, bytea) IS
    'computes the hashes of the audit trail again, and compares them with a digest that was kept elsewhere; a row for each block that was changed or is missing, none if all is well. Blocks of months that were dropped are passed over';
REVOKE ALL ON FUNCTION gdpr.verify_audit(bigint, bytea) FROM PUBLIC;
