-- Who wants to see or change values without an exact record in the audit trail, to forge records, or to keep them from
-- being made.  Raw protocol and kill -9 are in t/091_audit_evasions.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE ev_regress;
\c ev_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE ev_app; CREATE ROLE ev_owner; CREATE ROLE ev_none;
CREATE SCHEMA ev AUTHORIZATION ev_owner; GRANT USAGE, CREATE ON SCHEMA ev TO PUBLIC;
SET ROLE ev_owner;
CREATE TABLE ev.person (id integer PRIMARY KEY, email text UNIQUE, name text, stars integer);
CREATE TABLE ev.letter (id integer PRIMARY KEY, sender integer REFERENCES ev.person ON DELETE CASCADE,
                        reader integer REFERENCES ev.person ON DELETE SET NULL, body text, answer text);
CREATE TABLE ev.invoice (id integer PRIMARY KEY, person_id integer REFERENCES ev.person ON DELETE SET NULL, iban text);
CREATE TABLE ev.visit (id integer PRIMARY KEY, person_id integer REFERENCES ev.person, note text) PARTITION BY RANGE (id);
CREATE TABLE ev.visit_1 PARTITION OF ev.visit FOR VALUES FROM (1) TO (11);
CREATE TABLE ev.visit_2 PARTITION OF ev.visit FOR VALUES FROM (11) TO (100);
CREATE TABLE ev.base (id integer PRIMARY KEY, person_id integer REFERENCES ev.person, note text);
CREATE TABLE ev.child (PRIMARY KEY (id)) INHERITS (ev.base);
CREATE TABLE ev.checked (id integer PRIMARY KEY, person_id integer REFERENCES ev.person, note text, stars integer);
INSERT INTO ev.person SELECT i, 'p' || i, 'Name ' || i, i FROM generate_series(1, 20) i;
INSERT INTO ev.letter SELECT i, i, i + 1, 'body ' || i, 'answer ' || i FROM generate_series(1, 19) i;
INSERT INTO ev.invoice SELECT i, i, 'NL' || i FROM generate_series(1, 20) i;
INSERT INTO ev.visit SELECT i, i, 'note ' || i FROM generate_series(1, 20) i;
INSERT INTO ev.child VALUES (1, 1, 'note 1'), (2, 2, 'note 2');
INSERT INTO ev.checked VALUES (1, 1, 'note 1', 1), (2, 2, 'note 2', 2);
GRANT ALL ON ALL TABLES IN SCHEMA ev TO PUBLIC;
CREATE FUNCTION ev.leak(text) RETURNS boolean IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    IF $1 IS NOT NULL THEN RAISE NOTICE 'saw %', $1; END IF;
    RETURN true;
END $$;
ALTER TABLE ev.checked ADD CHECK (ev.leak(note));
RESET ROLE;
SELECT gdpr.declare_subject('ev.person'), gdpr.declare_column('ev.person', 'email', 'contact', searchable => true),
       gdpr.declare_column('ev.person', 'name', 'identity'),
       gdpr.declare_table('ev.letter', via => 'sender'), gdpr.declare_column('ev.letter', 'body', 'contact'),
       gdpr.declare_column('ev.letter', 'answer', 'contact', subject_via => 'reader'),
       gdpr.declare_table('ev.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law'),
       gdpr.declare_column('ev.invoice', 'iban', 'contact') \g /dev/null
DO $$ BEGIN
    FOR t IN 1 .. 3 LOOP
        PERFORM gdpr.declare_table(('{ev.visit,ev.base,ev.checked}'::regclass[])[t], via => 'person_id');
        PERFORM gdpr.declare_column(('{ev.visit,ev.base,ev.checked}'::regclass[])[t], 'note', 'contact');
    END LOOP;
    PERFORM gdpr.protect_now(t) FROM unnest('{ev.person,ev.letter,ev.invoice,ev.visit,ev.base,ev.checked}'::regclass[]) WITH ORDINALITY u(t, n) ORDER BY n;
    PERFORM gdpr.create_purpose('sales', 'contract', '{contact,identity}');
    PERFORM gdpr.grant_purpose('sales', 'ev_app', override => true), gdpr.grant_purpose('sales', 'ev_owner');
END $$;
CREATE TABLE ev.number AS SELECT id, gdpr.subject('ev.person', id::text) AS number FROM ev.person;

-- as in 600_audit
CREATE TABLE ev.seen (record bigint); INSERT INTO ev.seen VALUES (0);
CREATE PROCEDURE ev.wait() LANGUAGE plpgsql AS $$
DECLARE
    mark text := 'mark ' || clock_timestamp();
BEGIN
    PERFORM set_config('gdpr.actor', mark, false), set_config('gdpr.purpose', 'sales', false), set_config('role', 'ev_app', false);
    PERFORM name FROM ev.person WHERE id = 20;
    COMMIT;
    PERFORM set_config('role', 'none', false);
    FOR i IN 1 .. 1000 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.actor = mark) THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RAISE 'records do not come';
END $$;
-- persons by the ids of their rows, and how many others; session: another one than ours
CREATE FUNCTION ev.records(OUT command text, OUT session text, OUT role text, OUT relation text, OUT columns text, OUT actions text,
                           OUT rows bigint, OUT persons text, OUT failed boolean, OUT outcome text, OUT said text) RETURNS SETOF record LANGUAGE sql AS $$
    WITH new AS (SELECT * FROM gdpr.audit_log WHERE record > (SELECT record FROM ev.seen)),
    seen AS (UPDATE ev.seen SET record = (SELECT max(record) FROM new))
    SELECT l.command, nullif(l.session_role, session_user), concat_ws(' for ', CASE WHEN l.role = session_user THEN 'superuser' ELSE l.role END, nullif(l.set_role, l.role)), l.relation, array_to_string(l.columns, ','), array_to_string(l.actions, ','), l.rows,
           concat_ws(' and ', (SELECT string_agg(n.id::text, ',' ORDER BY n.id) FROM ev.number n WHERE l.subjects @> n.number),
               (SELECT nullif(sum(upper(r) - lower(r)) - (SELECT count(*) FROM ev.number n WHERE l.subjects @> n.number), 0) FROM unnest(l.subjects) r)),
           l.failed, coalesce(l.outcome, (SELECT e.outcome FROM new e WHERE e.kind = 'end' AND e.transaction = l.transaction)),
           concat_ws(' ', l.actor, l.override_reason)
    FROM new l WHERE l.kind = 'access' AND l.actor IS DISTINCT FROM current_setting('gdpr.actor') AND l.command <> 'CALL'
        AND l.relation <> 'gdpr.audit_log' ORDER BY l.record
$$;
\set records 'RESET ROLE; CALL ev.wait(); RESET gdpr.actor; SELECT * FROM ev.records(); SET ROLE ev_app; SET gdpr.purpose = sales;'
\set owner 'RESET ROLE; SET ROLE ev_owner;'
\set app 'RESET ROLE; SET ROLE ev_app;'
CALL ev.wait(); SELECT count(*) >= 0 AS before FROM ev.records(); RESET gdpr.actor;
SET client_min_messages = notice;
\set VERBOSITY terse
SET ROLE ev_app; SET gdpr.purpose = sales;

-- Whole rows, partitions and children, numbers that a person has besides its own -------------------------
SELECT to_json(p)::jsonb - 'gdpr_sealed' AS p FROM ev.person p WHERE id = 1;
SELECT p::text ~ 'Name 2' AS seen FROM ev.person p WHERE id = 2;
SELECT (p).stars FROM ev.person p WHERE id = 3; -- nothing personal
SELECT note FROM ev.visit_1 WHERE id = 4;
SELECT note FROM ONLY ev.visit WHERE id = 4;
SELECT v::text ~ 'note 15' AS seen FROM ev.visit_2 v WHERE id = 15;
UPDATE ev.visit SET id = 50 WHERE id = 5; -- to another partition
SELECT note FROM ev.child WHERE id = 1;
SELECT iban FROM ev.invoice WHERE id = 6; -- it is kept, under another number
SELECT answer FROM ev.letter WHERE id = 7;
RESET ROLE; SELECT gdpr.forget(number, category => 'contact') IS NOT NULL AS forgotten FROM ev.number WHERE id = 20; :app
UPDATE ev.person SET email = 'anew' WHERE id = 20;
SELECT email FROM ev.person WHERE id = 20;
:records
RESET ROLE; SELECT DISTINCT relation, columns FROM gdpr.accesses((SELECT number FROM ev.number WHERE id = 6)); :app

-- Order, groups, joins, searches --------------------------------------------------------------------------
SELECT id FROM ev.person WHERE id < 4 ORDER BY name LIMIT 1;
SELECT count(*) FROM (SELECT FROM ev.person WHERE id < 5 GROUP BY email) x;
SELECT max(name), min(email) FROM ev.person WHERE id IN (5, 6);
SELECT count(*) FROM ev.person a JOIN ev.person b ON a.email = b.email AND a.id <> b.id; -- nobody matches
SELECT a.id FROM ev.person a JOIN ev.person b USING (email) WHERE a.id = 7;
SELECT EXISTS (SELECT FROM ev.person WHERE name LIKE 'X%' AND id = 8);
SELECT count(*) FROM ev.person WHERE email = 'nobody';
SELECT id FROM ev.person WHERE email IN ('nobody', 'p9'); -- without an index, too
SELECT id FROM ev.person WHERE email = 'p10' AND ev.leak(name) AND id = 11; -- one row, not both
SELECT x.name FROM (VALUES (12)) v(i), LATERAL (SELECT name FROM ev.person WHERE id = i) x;
WITH x AS MATERIALIZED (SELECT id, name FROM ev.person WHERE id IN (13, 14)) SELECT name FROM x WHERE id = 13;
SELECT lag(name) OVER (ORDER BY id) FROM ev.person WHERE id IN (15, 16); -- the second is not read
WITH RECURSIVE r AS (SELECT id, name FROM ev.person WHERE id = 17 UNION ALL SELECT p.id, p.name FROM r JOIN ev.person p ON p.id = r.id + 1 WHERE p.id < 19)
SELECT count(*) FROM r;
:records

-- Writes ----------------------------------------------------------------------------------------------------
WITH x AS (UPDATE ev.person SET stars = 2 WHERE id = 1 RETURNING name) SELECT * FROM x;
UPDATE ev.letter l SET body = q.name FROM ev.person q WHERE l.id = 2 AND q.id = 3;
MERGE INTO ev.person p USING (VALUES (4)) s(id) ON p.id = s.id WHEN MATCHED AND p.name = 'other' THEN DELETE WHEN MATCHED THEN UPDATE SET stars = 5;
UPDATE ev.letter SET answer = 'new' WHERE id = 5; -- of the reader, 6
INSERT INTO ev.letter VALUES (30, 7, 8, 'body', 'answer');
DELETE FROM ev.letter WHERE id = 30;
UPDATE ev.letter SET sender = 10 WHERE id = 9; -- from one person to another
UPDATE ev.invoice SET person_id = 12 WHERE id = 11;
INSERT INTO ev.person VALUES (1, 'p1', 'N', 1) ON CONFLICT (id) DO NOTHING; -- oracles: a person that was not entered after all
INSERT INTO ev.person VALUES (41, 'p1', 'N', 1);
INSERT INTO ev.person VALUES (1, 'p1', 'N', 1) ON CONFLICT (id) DO UPDATE SET stars = EXCLUDED.stars;
:records

-- Code of the table's owner -----------------------------------------------------------------------------------
:owner
CREATE FUNCTION ev.row_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'OLD %, NEW %', OLD.name, NEW.name; RETURN NEW; END $$;
CREATE TRIGGER spy BEFORE UPDATE ON ev.person FOR EACH ROW EXECUTE FUNCTION ev.row_trigger();
UPDATE ev.person SET id = id WHERE id = 1;
SET gdpr.purpose = ''; UPDATE ev.person SET id = id WHERE id = 2; SET gdpr.purpose = sales;
DROP TRIGGER spy ON ev.person;
CREATE FUNCTION ev.table_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'old %', (SELECT string_agg(name, ',') FROM old_rows); RETURN NULL; END $$;
CREATE TRIGGER spy AFTER UPDATE ON ev.person REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION ev.table_trigger();
UPDATE ev.person SET id = id WHERE id = 3;
DROP TRIGGER spy ON ev.person;
CREATE TRIGGER spy AFTER UPDATE ON ev.person FOR EACH ROW WHEN (ev.leak(OLD.email)) EXECUTE FUNCTION ev.row_trigger();
UPDATE ev.person SET id = id WHERE id = 4;
DROP TRIGGER spy ON ev.person;
CREATE FUNCTION ev.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM ev.leak(name) FROM ev.person WHERE id = 6; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER spy AFTER UPDATE ON ev.visit_1 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ev.late();
UPDATE ev.visit_1 SET person_id = person_id WHERE id = 7; -- a statement of its own
DROP TRIGGER spy ON ev.visit_1;
CREATE RULE spy AS ON UPDATE TO ev.person DO ALSO SELECT ev.leak(OLD.name);
UPDATE ev.person SET stars = 1 WHERE id = 8;
DROP RULE spy ON ev.person;
ALTER TABLE ev.person ENABLE ROW LEVEL SECURITY; CREATE POLICY spy ON ev.person USING (name LIKE 'Name 1_');
:app SELECT id FROM ev.person WHERE id IN (9, 10); -- the policy has read both
:owner DROP POLICY spy ON ev.person; ALTER TABLE ev.person DISABLE ROW LEVEL SECURITY;
CREATE DOMAIN ev.spy AS text CHECK (ev.leak(VALUE)); SELECT name::ev.spy IS NULL AS missing FROM ev.person WHERE id = 11;
SET gdpr.purpose = ''; UPDATE ev.checked SET stars = 7 WHERE id = 2; SET gdpr.purpose = sales; -- a CHECK sees values, without a purpose
ALTER TABLE ev.person ALTER name TYPE varchar USING CASE WHEN ev.leak(name) THEN name END;
ALTER TABLE ev.person ALTER stars TYPE bigint USING CASE WHEN ev.leak(name) THEN stars END;
ALTER TABLE ev.person ADD g text GENERATED ALWAYS AS (upper(name)) STORED;
CREATE INDEX ON ev.person (ev.leak(name));
CREATE INDEX ON ev.person (id) WHERE ev.leak(name);
ALTER TABLE ev.person ADD CONSTRAINT spy CHECK (ev.leak(name));
CREATE STATISTICS ev.spy ON (ev.leak(name)), stars FROM ev.person;
ANALYZE ev.person; SELECT count(*) AS values FROM pg_stats WHERE schemaname = 'ev' AND (most_common_vals::text || histogram_bounds::text) ~ '(Name|note|body) \d';
:records

-- Functions, views, plans ------------------------------------------------------------------------------------
RESET ROLE;
CREATE FUNCTION ev.definer(integer) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT name FROM ev.person WHERE id = $1';
ALTER FUNCTION ev.definer OWNER TO ev_app;
CREATE FUNCTION ev.whole(integer) RETURNS SETOF ev.person LANGUAGE sql STABLE AS 'SELECT * FROM ev.person WHERE id >= $1';
CREATE FUNCTION ev.inlined(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM ev.person WHERE id = $1';
CREATE FUNCTION ev.peek(integer) RETURNS text PARALLEL SAFE STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT name FROM ev.person WHERE id = $1); END $$;
CREATE VIEW ev.barrier WITH (security_barrier) AS SELECT id, name FROM ev.person WHERE id < 9;
CREATE VIEW ev.invoker WITH (security_invoker) AS SELECT id, name FROM ev.person WHERE id < 9;
GRANT SELECT ON ev.barrier, ev.invoker TO PUBLIC;
SET SESSION AUTHORIZATION ev_none; SET gdpr.purpose = sales; SELECT ev.definer(1); SELECT name FROM ev.person WHERE id = 2; RESET SESSION AUTHORIZATION;
BEGIN; SET SESSION AUTHORIZATION ev_app; SET gdpr.purpose = sales; SELECT name FROM ev.person WHERE id = 3;
RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION ev_owner; SET gdpr.purpose = sales; SELECT name FROM ev.person WHERE id = 4; COMMIT; RESET SESSION AUTHORIZATION;
SET ROLE ev_app; SET gdpr.purpose = sales;
SELECT ev.inlined(5);
SELECT name FROM ev.whole(15) WHERE id = 16; -- whole rows: all that the function returns
SELECT name FROM ev.barrier WHERE id = 7 AND ev.leak(name);
SELECT name FROM ev.invoker WHERE id = 8 AND ev.leak(name);
EXPLAIN (COSTS OFF) SELECT name FROM ev.person WHERE id = 9 AND ev.leak(name);
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, VERBOSE) SELECT name FROM ev.person WHERE id = 10 AND ev.leak(name) \g /dev/null
SET plan_cache_mode = force_generic_plan; PREPARE q(integer) AS SELECT name FROM ev.person WHERE id = $1; EXECUTE q(11); RESET plan_cache_mode;
SELECT query_to_xml('SELECT name FROM ev.person WHERE id = 12', true, false, '') IS NULL AS missing;
SELECT table_to_xml('ev.checked', true, false, '') IS NULL AS missing;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
SELECT ev.peek(id) FROM ev.person WHERE id = 13;
BEGIN; EXECUTE q(14); ROLLBACK;
SELECT 1 / (length(ev.peek(id)) - 7) FROM ev.person WHERE id = 15;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
:records

-- Whatever becomes of the transaction ---------------------------------------------------------------------------
DO $$ BEGIN PERFORM name FROM ev.person WHERE id = 1; COMMIT; PERFORM name FROM ev.person WHERE id = 2; ROLLBACK; PERFORM name FROM ev.person WHERE id = 3; END $$;
BEGIN; SAVEPOINT s; SELECT name FROM ev.person WHERE id = 4; ROLLBACK TO s; RELEASE s; ROLLBACK;
DO $$ DECLARE r record; BEGIN
    FOR i IN 5 .. 7 LOOP
        BEGIN SELECT * INTO r FROM ev.person WHERE id = i; PERFORM 1 / (i - 6); EXCEPTION WHEN division_by_zero THEN NULL; END;
    END LOOP;
END $$;
SELECT count(CASE WHEN ev.leak(name) THEN 1 / (id - 13) END) FROM ev.person WHERE id BETWEEN 12 AND 14; -- not 14
BEGIN; SELECT name FROM ev.person WHERE id = 11; PREPARE TRANSACTION 'ev'; ROLLBACK PREPARED 'ev'; -- nobody says how it ended
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT name FROM ev.person WHERE id IN (8, 9) ORDER BY id; COMMIT; -- read at the COMMIT
FETCH 1 FROM c; CLOSE c;
BEGIN; DECLARE c CURSOR FOR SELECT name FROM ev.person WHERE id IN (18, 19); MOVE 1 FROM c; COMMIT;
BEGIN; DECLARE c CURSOR FOR SELECT name FROM ev.person WHERE id = 16; COMMIT; -- nothing was fetched
BEGIN; SELECT pg_notify('ev', name) IS NULL AS notified, lo_from_bytea(0, name::bytea) > 0 AS stored FROM ev.person WHERE id = 17; ROLLBACK;
:records

-- Copies in the clear ---------------------------------------------------------------------------------------------
CREATE TABLE ev.copy AS SELECT name FROM ev.person WHERE id = 1;
SELECT name INTO ev.copy FROM ev.person WHERE id = 1;
CREATE MATERIALIZED VIEW ev.copy AS SELECT name FROM ev.person WHERE id = 1;
CREATE TEMP TABLE copy (name text); INSERT INTO copy SELECT name FROM ev.person WHERE id = 1;
SET gdpr.allow_plaintext_copies = on;
DO $$ DECLARE n text; BEGIN SELECT name INTO n FROM ev.person WHERE id = 2; INSERT INTO copy VALUES (n); END $$; -- not seen to be one
RESET ROLE; SET gdpr.allow_plaintext_copies = on; :app
CREATE TABLE ev.copy AS SELECT name FROM ev.person WHERE id = 3;
CREATE MATERIALIZED VIEW ev.copy_view AS SELECT name FROM ev.person WHERE id = 4; REFRESH MATERIALIZED VIEW ev.copy_view;
INSERT INTO copy SELECT name FROM ev.person WHERE id = 5;
RESET ROLE; RESET gdpr.allow_plaintext_copies;
COPY (SELECT name FROM ev.person WHERE id = 6) TO PROGRAM 'cat >/dev/null';
SELECT gdpr.unprotect_now('ev.checked'); -- in the clear from now on
-- while a table is converted, rows that are not sealed are counted
SELECT gdpr.protect_step('ev.checked', 1);
:app SELECT count(note) FROM ev.checked; UPDATE ev.checked SET stars = 8;
:records

-- Settings, in the middle of a statement; forged records --------------------------------------------------------------
RESET ROLE; SELECT count(gdpr.restrict(number)) FROM ev.number WHERE id IN (1, 2, 3); :app
SELECT name, set_config('gdpr.override_reason', 'reason ' || id, false), set_config('gdpr.actor', 'actor ' || id, false) FROM ev.person WHERE id IN (1, 2, 3, 4);
RESET gdpr.override_reason; RESET gdpr.actor;
\set VERBOSITY sqlstate
SELECT length(set_config('gdpr.actor', repeat('x', 1001), false)); -- no room for a record
SELECT length(set_config('gdpr.override_reason', repeat('x', 1001), false));
\set VERBOSITY terse
SET gdpr.standby_audit = 'off';
SET gdpr.max_subjects_per_statement = 1;
DO $$ BEGIN RAISE LOG 'gdpr audit: role=ev_owner subjects={[65536,65537)}'; PERFORM pg_logical_emit_message(t, 'gdpr', 'forged') FROM unnest('{t,f}'::boolean[]) t; END $$;
INSERT INTO gdpr.audit_block SELECT * FROM gdpr.audit_block;
DELETE FROM gdpr.audit_chain;
UPDATE gdpr.audit_progress SET lsn = pg_current_wal_lsn();
SELECT gdpr.audit_month('2000-01-01');
SELECT count(*) FROM gdpr.audit_records(1, '\x20ffff');
:records

-- Objects named like ours -----------------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.reveal(gdpr.sealed, integer, integer) RETURNS text LANGUAGE sql AS $$SELECT 'ours'$$;
CREATE FUNCTION pg_temp.audit_month(date) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'runs as %', current_user; END $$;
CREATE TEMP TABLE audit_block (content bytea); CREATE TEMP TABLE audit_chain (hash bytea); CREATE TEMP TABLE subject_alias (number bigint);
CREATE FUNCTION ev.equal(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR ev.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = ev.equal);
SET search_path = ev, pg_temp, pg_catalog;
SELECT name FROM ev.person WHERE id OPERATOR(pg_catalog.=) 5;
SELECT iban FROM ev.invoice WHERE id OPERATOR(pg_catalog.=) 6;
RESET search_path;
CREATE SCHEMA gdpr;
RESET ROLE; ALTER DATABASE ev_regress SET search_path = ev, pg_catalog; ALTER DATABASE ev_regress SET default_transaction_read_only = on; -- the worker does not care
SELECT pg_sleep(1.5); -- another one comes
:records

-- Triggers disabled: as the owner can, and a superuser; another session of one's own ------------------------------------------
RESET ROLE; DROP OPERATOR ev.= (integer, integer); SELECT count(gdpr.lift_restriction(number, now())) FROM ev.number WHERE id IN (1, 2, 3);
SET session_replication_role = replica; UPDATE ev.person SET name = 'x' WHERE id = 5; DELETE FROM ev.visit WHERE id = 6; RESET session_replication_role;
:owner
ALTER TABLE ev.person DISABLE TRIGGER USER;
UPDATE ev.person SET name = 'x' WHERE id = 7;
INSERT INTO ev.person VALUES (77, 'p77', 'x', 1);
ALTER TABLE ev.person ENABLE TRIGGER USER;
ALTER TABLE ev.visit_1 DISABLE TRIGGER USER; DELETE FROM ev.visit WHERE id = 8; ALTER TABLE ev.visit_1 ENABLE TRIGGER USER; -- no record: nobody saw anything
UPDATE ev.person SET name = 'y' WHERE id = 9;
TRUNCATE ev.visit; -- all of them
:app DELETE FROM ev.person WHERE id = 10; -- with letters, which go along, and invoices, which stay without a person
RESET ROLE; SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'dblink') AS has_dblink \gset
\if :has_dblink
CREATE EXTENSION dblink;
SELECT format('dbname=ev_regress user=%s host=%s port=%s', session_user, split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')) AS self \gset
SET gdpr.purpose = sales; SELECT count(*) FROM dblink(:'self', 'SET gdpr.purpose = sales; SET ROLE ev_app; SELECT name FROM ev.person WHERE id = 11') AS (name text) \g /dev/null
\else
:app SELECT name FROM ev.person WHERE id = 11 \g /dev/null
\endif
:records
-- Names that change --------------------------------------------------------------------------------------------------
:app SELECT name FROM ev.person WHERE id = 12;
BEGIN; RESET ROLE; ALTER TABLE ev.person RENAME TO human; SET ROLE ev_app; SELECT name FROM ev.human WHERE id = 13; ROLLBACK;
BEGIN; RESET ROLE; ALTER SCHEMA ev RENAME TO "E.""v"; SET ROLE ev_app; SELECT name FROM "E.""v".person WHERE id = 13; ROLLBACK;
BEGIN; RESET ROLE; ALTER ROLE ev_app RENAME TO ev_other; SELECT gdpr.grant_purpose('sales', 'ev_other') \g /dev/null
SET ROLE ev_other; SELECT name FROM ev.person WHERE id = 13; ROLLBACK;
:app SELECT name FROM ev.person WHERE id = 14;
:records
RESET ROLE; SELECT count(*) FROM gdpr.verify_audit();
\c :before
DROP DATABASE ev_regress;
DROP ROLE ev_app, ev_owner, ev_none;
