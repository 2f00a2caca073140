-- Whatever fails in the middle leaves things as they were: protect, forget,
-- writes.  And what is damaged is an error, never NULL and never another value.
SET client_min_messages = error;
\set VERBOSITY terse
CREATE SCHEMA halfway;
CREATE TABLE halfway.person (id int PRIMARY KEY, email text UNIQUE, name text CHECK (name <> ''), note text);
CREATE TABLE halfway.bill (id int PRIMARY KEY, person_id int REFERENCES halfway.person ON DELETE CASCADE, address text);
CREATE TABLE halfway.link (person_id int REFERENCES halfway.person DEFERRABLE INITIALLY DEFERRED);
INSERT INTO halfway.person SELECT i, 'mail' || i, 'Name ' || i, 'n' FROM generate_series(1, 20) i;
INSERT INTO halfway.bill SELECT i, i, 'Street ' || i FROM generate_series(1, 20) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('halfway.person');
    PERFORM gdpr.declare_column('halfway.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('halfway.person', 'name', 'contact');
    PERFORM gdpr.declare_table('halfway.bill', via => 'person_id');
    PERFORM gdpr.declare_column('halfway.bill', 'address', 'contact');
    PERFORM gdpr.create_purpose('halfway_all', 'contract', ARRAY['contact']);
    PERFORM gdpr.grant_purpose('halfway_all', current_user);
END $$;
SET gdpr.purpose = 'halfway_all';
-- everything that a failure could leave behind
CREATE FUNCTION halfway.state() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ',
        (SELECT count(*) || ' persons ' || md5(string_agg(p::text, '|' ORDER BY id)) FROM halfway.person p),
        (SELECT count(*) || ' bills ' || md5(string_agg(b::text, '|' ORDER BY id)) FROM halfway.bill b),
        (SELECT md5(string_agg(a.attrelid::regclass || a.attname || a.attnotnull, ',' ORDER BY a.attrelid, a.attname))
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'halfway'::regnamespace AND NOT a.attisdropped),
        (SELECT md5(string_agg(conname || pg_get_constraintdef(oid), ',' ORDER BY oid)) FROM pg_constraint WHERE connamespace = 'halfway'::regnamespace),
        (SELECT md5(coalesce(string_agg(tgname, ',' ORDER BY tgrelid, tgname), '')) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
         WHERE relnamespace = 'halfway'::regnamespace AND NOT tgisinternal),
        (SELECT count(*) FROM pg_class WHERE relnamespace = 'halfway'::regnamespace OR relname LIKE 'pg_temp_%'),
        (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM gdpr.mapped_table t),
        (SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM gdpr.mapped_column c),
        (SELECT count(*) FROM gdpr.mapped_check), (SELECT count(*) FROM gdpr.tombstone), (SELECT count(*) FROM gdpr.erasure),
        (SELECT punctured || ' punctured ' || pending || ' pending' FROM gdpr.keystore_status()))
$$;
CREATE TABLE public.halfway_expected AS SELECT 1 AS n, halfway.state() AS state;
-- a statement that fails: how, and whether everything is as before
CREATE FUNCTION public.halfway_fails(statement text, OUT state text, OUT as_before boolean) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        state := 'no error';
    EXCEPTION WHEN query_canceled THEN
        state := 'canceled';
    WHEN OTHERS THEN
        state := SQLSTATE;
    END;
    as_before := halfway.state() = (SELECT e.state FROM public.halfway_expected e);
END $$;

-- protect: an error at the last step, a type that cannot be read, a timeout while rows are sealed
CREATE FUNCTION halfway.slow(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(coalesce(current_setting('halfway.sleep', true)::float, 0));
    RETURN $1 <> 'never';
END $$;
CREATE FUNCTION halfway.stop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('halfway.stop_at', true) = tg_tag THEN
        RAISE EXCEPTION 'stopped at %', tg_tag;
    END IF;
END $$;
CREATE EVENT TRIGGER halfway_stop ON ddl_command_end EXECUTE FUNCTION halfway.stop();
UPDATE public.halfway_expected SET state = halfway.state();
SELECT tag, f.* FROM unnest(ARRAY['ALTER TABLE', 'CREATE TRIGGER', 'CREATE INDEX', 'COMMENT']) tag,
    LATERAL (SELECT set_config('halfway.stop_at', tag, false)) s,
    LATERAL public.halfway_fails('SELECT gdpr.protect_now(''halfway.person'') /* ' || s || ' */') f;
SET halfway.stop_at = '';
CREATE INDEX slow ON halfway.person (id) WHERE halfway.slow(note);
UPDATE public.halfway_expected SET state = halfway.state();
SET halfway.sleep = 0.1;
SET statement_timeout = '300ms';
SELECT gdpr.protect_now('halfway.person');
RESET statement_timeout;
SET halfway.sleep = 0;
SELECT halfway.state() = state AS as_before FROM public.halfway_expected;
DROP INDEX halfway.slow;
DO $$ BEGIN
    PERFORM gdpr.protect_now('halfway.person');
    PERFORM gdpr.protect_now('halfway.bill');
END $$;
UPDATE public.halfway_expected SET state = halfway.state();
SELECT tag, f.* FROM unnest(ARRAY['ALTER TABLE']) tag, LATERAL (SELECT set_config('halfway.stop_at', tag, false)) s,
    LATERAL public.halfway_fails('CALL gdpr.unprotect(''halfway.bill'') /* ' || s || ' */') f;
SET halfway.stop_at = '';
DROP EVENT TRIGGER halfway_stop;

-- forget: an error in a trigger of a table below, of the person's table, a slow one
CREATE FUNCTION halfway.angry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('halfway.angry') = TG_TABLE_NAME THEN
        RAISE EXCEPTION 'no';
    ELSIF current_setting('halfway.angry') = TG_TABLE_NAME || ' slow' THEN
        PERFORM pg_sleep(10);
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER angry BEFORE DELETE ON halfway.bill FOR EACH ROW EXECUTE FUNCTION halfway.angry();
CREATE TRIGGER angry AFTER DELETE ON halfway.person FOR EACH ROW EXECUTE FUNCTION halfway.angry();
UPDATE public.halfway_expected SET state = halfway.state();
SET statement_timeout = '500ms';
SELECT angry, f.* FROM unnest('{bill,person}'::text[]) angry, LATERAL (SELECT set_config('halfway.angry', angry, false)) s,
    LATERAL public.halfway_fails('SELECT gdpr.forget(gdpr.subject(''halfway.person'', ''1'')) /* ' || s || ' */') f;
RESET statement_timeout;
SET halfway.angry = 'bill slow';
SET statement_timeout = '500ms';
SELECT gdpr.forget(gdpr.subject('halfway.person', '1'));
RESET statement_timeout;
SELECT halfway.state() = state AS as_before FROM public.halfway_expected;
SET halfway.angry = '';
-- a constraint that fails at commit, when all of forget is done; other rows of the transaction go with it
INSERT INTO halfway.link VALUES (2);
BEGIN;
SELECT gdpr.forget(gdpr.subject('halfway.person', '1')) IS NOT NULL AS forgotten;
INSERT INTO halfway.link VALUES (999);
COMMIT;
SELECT halfway.state() = state AS as_before FROM public.halfway_expected;
-- a person that a deferred key needs is erased, not deleted; the savepoint undoes it
BEGIN;
SAVEPOINT s;
SELECT gdpr.forget(gdpr.subject('halfway.person', '2')) IS NOT NULL AS forgotten;
SELECT id, name FROM halfway.person WHERE id = 2;
ROLLBACK TO s;
COMMIT;
SELECT halfway.state() = state AS as_before FROM public.halfway_expected;

-- writes: the row that fails last takes all with it
SELECT f.* FROM unnest(ARRAY[
    'INSERT INTO halfway.person SELECT i, ''m'' || i, ''N'', ''x'' FROM generate_series(100, 199) i UNION ALL SELECT 200, ''m100'', ''N'', ''x''',
    'INSERT INTO halfway.person SELECT i, ''m'' || i, CASE WHEN i < 199 THEN ''N'' ELSE '''' END, ''x'' FROM generate_series(100, 199) i',
    'UPDATE halfway.person SET name = CASE WHEN id < 20 THEN name || ''!'' ELSE '''' END',
    'UPDATE halfway.person SET email = ''same''',
    'UPDATE halfway.bill SET person_id = CASE WHEN id < 20 THEN 3 ELSE 999 END',
    'UPDATE halfway.person SET name = name || (1 / (id - 20))']) statement, public.halfway_fails(statement) f;

-- damage: each byte of an envelope, once; it is not stored, or the row says that it is damaged.  Only a
-- category, which is in the clear, can be changed so that a value seems not to be there.
SELECT gdpr.sealed_send(gdpr_sealed) AS envelope, length(gdpr.sealed_send(gdpr_sealed)) AS bytes FROM halfway.person WHERE id = 5 \gset
CREATE FUNCTION halfway.damage(envelope bytea, at int, OUT outcome text) LANGUAGE plpgsql AS $$
DECLARE
    bad bytea := set_byte(envelope, at, get_byte(envelope, at) # 1);
BEGIN
    PERFORM set_config('gdpr.physical', 'on', true);
    EXECUTE format('UPDATE halfway.person SET gdpr_sealed = %L WHERE id = 5', translate(encode(bad, 'base64'), E'\n', ''));
    PERFORM set_config('gdpr.physical', 'off', true);
    BEGIN
        SELECT CASE WHEN name IS NULL AND email IS NULL THEN 'absent' WHEN name = 'Name 5' AND email = 'mail5' THEN 'the same' ELSE 'another value' END INTO outcome
        FROM halfway.person WHERE id = 5;
    EXCEPTION WHEN OTHERS THEN
        outcome := 'read: ' || SQLSTATE;
    END;
    -- written back as it was shown: nothing is lost by that
    IF outcome LIKE 'read: GD002' THEN
        BEGIN
            UPDATE halfway.person SET name = NULL WHERE id = 5;
            outcome := 'overwritten';
        EXCEPTION WHEN OTHERS THEN
            outcome := outcome || ', write: ' || SQLSTATE;
        END;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    NULL;
WHEN OTHERS THEN
    outcome := 'store: ' || SQLSTATE;
END $$;
SELECT outcome, count(*) > CASE outcome WHEN 'absent' THEN 1 ELSE 0 END AS more
FROM generate_series(0, :bytes - 1) at, halfway.damage(:'envelope', at) GROUP BY outcome ORDER BY outcome COLLATE "C";
SELECT name FROM halfway.person WHERE id = 5;
-- and what only a disk can do to it, constraint and guard being off: cut short, or not an envelope at all
CREATE CAST (bytea AS gdpr.sealed) WITHOUT FUNCTION;
UPDATE pg_class SET relchecks = 0 WHERE oid = 'halfway.person'::regclass;
ALTER TABLE halfway.person DISABLE TRIGGER ALL;
SET gdpr.physical = on;
UPDATE halfway.person SET gdpr_sealed = substr(:'envelope'::bytea, 1, :bytes - id)::gdpr.sealed WHERE id < :bytes;
RESET gdpr.physical;
CREATE FUNCTION halfway.look(i int, OUT name_is text, OUT row_is text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        SELECT coalesce(name, 'NULL') INTO name_is FROM halfway.person WHERE id = i;
    EXCEPTION WHEN OTHERS THEN
        name_is := SQLSTATE;
    END;
    BEGIN
        SELECT p::text INTO row_is FROM halfway.person p WHERE id = i;
    EXCEPTION WHEN OTHERS THEN
        row_is := SQLSTATE;
    END;
END $$;
SELECT l.*, count(*) FROM generate_series(1, 20) i, halfway.look(i) l GROUP BY 1, 2;
DROP CAST (bytea AS gdpr.sealed);
UPDATE pg_class SET relchecks = 1 WHERE oid = 'halfway.person'::regclass;

RESET gdpr.purpose;
DROP SCHEMA halfway CASCADE;
DROP TABLE public.halfway_expected;
DROP FUNCTION public.halfway_fails(text);
SELECT gdpr.drop_purpose('halfway_all');
