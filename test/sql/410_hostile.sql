-- What a hostile role can make of errors, plans, statistics, types and its own
-- tables.  Each value that must not show has "Geheim" in it.
SET client_min_messages = error;
\set VERBOSITY verbose
\set SHOW_CONTEXT always
CREATE ROLE hostile_owner;
CREATE ROLE hostile_reader;
CREATE SCHEMA hostile AUTHORIZATION hostile_owner;
GRANT USAGE ON SCHEMA hostile TO hostile_reader, test_guest, test_app;
SET SESSION AUTHORIZATION hostile_owner;
CREATE TABLE hostile.person (id int PRIMARY KEY, email text UNIQUE NOT NULL, name text NOT NULL CHECK (name <> 'Geheim bad'),
    age int CHECK (age > 0), note text CHECK (note <> 'x'), kind text);
INSERT INTO hostile.person
SELECT i, 'Geheim' || i || '@x.test', 'Geheim ' || i, i, 'n', 'Geheim kind ' || i % 2 FROM generate_series(1, 100) i;
GRANT ALL ON hostile.person TO test_guest, test_app;
GRANT SELECT (id, name) ON hostile.person TO hostile_reader;
RESET SESSION AUTHORIZATION;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('hostile.person');
    PERFORM gdpr.declare_column('hostile.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('hostile.person', 'name', 'contact');
    PERFORM gdpr.declare_column('hostile.person', 'age', 'contact');
    PERFORM gdpr.declare_column('hostile.person', 'kind', 'contact', searchable => true);
    PERFORM gdpr.protect_now('hostile.person');
    PERFORM gdpr.create_purpose('hostile_all', 'contract', ARRAY['contact']);
    PERFORM gdpr.grant_purpose('hostile_all', 'test_app');
    PERFORM gdpr.grant_purpose('hostile_all', 'hostile_reader');
END $$;
ANALYZE hostile.person;

-- errors: what a statement says when it fails, all fields of it
CREATE FUNCTION hostile.fails(statement text, OUT state text, OUT shows_a_value boolean) LANGUAGE plpgsql AS $$
DECLARE
    m text;
    d text;
    h text;
    c text;
BEGIN
    EXECUTE statement;
    state := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT,
        c = PG_EXCEPTION_CONTEXT;
    -- the context of EXECUTE quotes the statement, which is the sender's
    shows_a_value := concat_ws(' ', m, d, h, replace(c, statement, '')) ~ 'Geheim';
END $$;
CREATE TABLE hostile.attempt (n int GENERATED ALWAYS AS IDENTITY, statement text);
INSERT INTO hostile.attempt (statement) VALUES
    ('INSERT INTO hostile.person VALUES (1, ''Geheim new'', ''Geheim'', 3, ''n'', ''k'')'), -- primary key
    ('INSERT INTO hostile.person VALUES (900, ''Geheim1@x.test'', ''Geheim'', 3, ''n'', ''k'')'), -- unique token
    ('INSERT INTO hostile.person VALUES (900, ''Geheim new'', ''Geheim'', 3, ''x'', ''k'')'), -- check of another column
    ('INSERT INTO hostile.person VALUES (900, ''Geheim new'', ''Geheim bad'', 3, ''n'', ''k'')'), -- check of a personal one
    ('INSERT INTO hostile.person VALUES (900, ''Geheim new'', NULL, 3, ''n'', ''Geheim'')'), -- not null
    ('INSERT INTO hostile.person VALUES (900, NULL, ''Geheim'', 3, ''n'', ''Geheim'')'), -- not null, searchable
    ('INSERT INTO hostile.person VALUES (NULL, ''Geheim new'', ''Geheim'', 3, ''n'', ''Geheim'')'), -- not null, key
    ('INSERT INTO hostile.person VALUES (900, ''Geheim new'', ''Geheim'', -3, ''n'', ''Geheim'')'),
    ('UPDATE hostile.person SET note = ''x'' WHERE id = 1'),
    ('UPDATE hostile.person SET name = NULL WHERE id = 1'),
    ('UPDATE hostile.person SET email = ''Geheim2@x.test'' WHERE id = 1'),
    ('UPDATE hostile.person SET id = 2 WHERE id = 1'),
    ('UPDATE hostile.person SET id = NULL WHERE id = 1'),
    ('UPDATE hostile.person SET age = -age WHERE id = 1'),
    ('UPDATE hostile.person SET note = name WHERE id = 1'), -- a copy in the clear
    ('CREATE TEMP TABLE copies AS SELECT name FROM hostile.person'),
    ('CREATE INDEX ON hostile.person (name)'),
    ('CREATE STATISTICS hostile.s ON (lower(name)), (lower(kind)) FROM hostile.person'),
    ('CREATE RULE r AS ON UPDATE TO hostile.person DO INSTEAD NOTHING');
GRANT SELECT ON hostile.attempt TO PUBLIC;
SET ROLE test_app;
SET gdpr.purpose = 'hostile_all';
SELECT n, f.* FROM hostile.attempt, hostile.fails(statement) f ORDER BY n;
SET ROLE hostile_owner;
RESET gdpr.purpose;
SELECT n, f.* FROM hostile.attempt, hostile.fails(statement) f WHERE statement LIKE 'CREATE%' ORDER BY n;
-- as somebody who sees nothing: not even whether a CHECK on a hidden value holds
SET ROLE test_guest;
RESET gdpr.purpose;
SELECT n, f.* FROM hostile.attempt, hostile.fails(statement) f WHERE statement LIKE 'UPDATE%' ORDER BY n;
RESET ROLE;
-- a cast that fails quotes the value, to whoever may read it; nobody else gets as far
SELECT f.* FROM hostile.fails('SELECT sum(name::int) FROM hostile.person') f;
SET ROLE test_app;
SET gdpr.purpose = 'hostile_all';
SELECT f.* FROM hostile.fails('SELECT sum(name::int) FROM hostile.person') f;
RESET gdpr.purpose;
RESET ROLE;

-- a role with some columns reads these, with its purpose, and cannot be made to show others
SET ROLE hostile_reader;
SET gdpr.purpose = 'hostile_all';
SELECT id, name FROM hostile.person WHERE id = 1;
\set VERBOSITY terse
SELECT email FROM hostile.person;
SELECT p FROM hostile.person p;
SELECT to_jsonb(p) FROM hostile.person p;
SELECT count(*) FROM hostile.person WHERE kind = 'Geheim kind 1';
SELECT gdpr_sealed FROM hostile.person;
COPY hostile.person (id, email) TO STDOUT;
SELECT count(*) FROM hostile.person a JOIN hostile.person b USING (name);
RESET gdpr.purpose;
RESET ROLE;

-- plans: estimates and counts for a role without a purpose do not depend on what it guesses
SET ROLE test_guest;
CREATE FUNCTION pg_temp.plan(query text, analyze_it boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    result text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (' || CASE WHEN analyze_it THEN 'ANALYZE, TIMING OFF, SUMMARY OFF, ' ELSE '' END || 'VERBOSE) ' || query LOOP
        result := result || regexp_replace(line, '''Geheim[^'']*''', '?', 'g') || E'\n';
    END LOOP;
    RETURN result;
END $$;
SELECT pg_temp.plan(q || '''Geheim kind 1''', a) = pg_temp.plan(q || '''Geheim none''', a) AS same_plan
FROM unnest(ARRAY['SELECT id FROM hostile.person WHERE kind = ', 'SELECT id FROM hostile.person WHERE note = ''n'' AND kind = ',
                  'SELECT id FROM hostile.person WHERE kind > ', 'SELECT id FROM hostile.person WHERE name LIKE ',
                  'UPDATE hostile.person SET note = ''n'' WHERE kind = ', 'DELETE FROM hostile.person WHERE name = ',
                  'SELECT count(*) FROM hostile.person GROUP BY kind HAVING kind = ']) q, unnest('{f,t}'::boolean[]) a
WHERE NOT (a AND q ~ '^(UPDATE|DELETE)');
-- nor does an operator of its own see more than NULL, however cheap
RESET ROLE;
CREATE SCHEMA hostile_ops AUTHORIZATION test_guest;
SET ROLE test_guest;
CREATE FUNCTION hostile_ops.peek(text, text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO 'sees %', $1;
    RETURN true;
END $$;
CREATE OPERATOR hostile_ops.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile_ops.peek, RESTRICT = eqsel, HASHES, MERGES);
CREATE OPERATOR hostile_ops.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile_ops.peek, RESTRICT = likesel);
CREATE AGGREGATE hostile_ops.collect(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE DOMAIN hostile_ops.seen AS text CHECK (hostile_ops.peek(VALUE, ''));
CREATE TYPE hostile_ops.pair AS (a hostile_ops.seen, b text);
SET search_path = hostile_ops, pg_catalog;
SELECT count(*) FROM hostile.person WHERE id = 1 AND name = 'a' AND kind = 'b' AND email LIKE 'c';
SELECT hostile_ops.collect(name), hostile_ops.collect(kind) FROM hostile.person;
SELECT count((name::hostile_ops.seen, email)::hostile_ops.pair) FROM hostile.person WHERE id = 1;
SELECT count(*) FROM hostile.person a JOIN hostile.person b ON a.name OPERATOR(hostile_ops.=) b.kind WHERE a.id = 1 AND b.id = 1;
-- though it may choose what = is, it does not choose what tokens are compared with
EXPLAIN (COSTS OFF) SELECT id FROM hostile.person WHERE email OPERATOR(hostile_ops.=) 'Geheim1@x.test';
RESET search_path;
-- casts to what a function of the extension takes
CREATE FUNCTION hostile_ops.forge(integer) RETURNS gdpr.column_ref LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
SELECT hostile_ops.forge(1);
CREATE CAST (integer AS gdpr.column_ref) WITHOUT FUNCTION;
CREATE CAST (integer AS gdpr.column_ref) WITH FUNCTION hostile_ops.forge(integer);
CREATE FUNCTION hostile_ops.c(gdpr.sealed) RETURNS text LANGUAGE c AS 'gdpr', 'gdpr_reveal';
CREATE FUNCTION hostile_ops.i(gdpr.sealed) RETURNS text LANGUAGE internal AS 'gdpr_reveal';
CREATE AGGREGATE hostile_ops.forge(gdpr.sealed) (SFUNC = gdpr.mark, STYPE = gdpr.sealed);
CREATE AGGREGATE hostile_ops.forged(integer) (SFUNC = int4pl, STYPE = gdpr.column_ref, INITCOND = '1');
SELECT array_in('{1}'::cstring, 'gdpr.column_ref'::regtype, -1);
SELECT gdpr.mark(gdpr_sealed, '\x00', NULL) FROM hostile.person WHERE id = 1;
SELECT gdpr.recheck(true, NULL), gdpr.token('x'::text, NULL), gdpr.token_array('{x}'::text[], NULL);
RESET ROLE;

-- statistics hold tokens and placeholders, of columns and of expressions
CREATE STATISTICS hostile.extended (mcv) ON email, kind FROM hostile.person;
ANALYZE hostile.person;
SELECT count(*) > 0 AS there_are FROM pg_stats WHERE schemaname = 'hostile';
SELECT attname FROM pg_stats WHERE schemaname = 'hostile'
AND concat_ws(' ', most_common_vals::text, histogram_bounds::text, most_common_elems::text) ~ 'Geheim';
SELECT count(*) FROM pg_stats_ext WHERE statistics_schemaname = 'hostile' AND most_common_vals::text ~ 'Geheim';
DROP STATISTICS hostile.extended;

-- settings: none of them is a secret, and none that could run something is a user's
SELECT name, context FROM pg_settings WHERE name LIKE 'gdpr.%' ORDER BY name;
SET ROLE test_guest;
SET gdpr.keystore_key_command = 'id';
SELECT (hostile.fails('SHOW ' || s)).state FROM unnest('{gdpr.keystore_key_command,gdpr.keystore_directory}'::text[]) s;
SELECT count(*) FROM pg_settings WHERE name IN ('gdpr.keystore_key_command', 'gdpr.keystore_directory');
SET gdpr.allow_plaintext_copies = on;
SET gdpr.unknown = 1;
RESET ROLE;
SET gdpr.keystore_key_command = 'id';
ALTER ROLE test_guest SET gdpr.keystore_key_command = 'id';
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET gdpr.keystore_key_command = ''id''', current_database());
END $$;
SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ 'gdpr\.keystore';

-- the owner of a table, who is no officer
SET SESSION AUTHORIZATION hostile_owner;
SELECT name, email FROM hostile.person WHERE id = 1;
SELECT gdpr.forget(65536);
SELECT gdpr.unmap_tables('{1}');
CALL gdpr.unprotect('hostile.person');
UPDATE gdpr.mapped_table SET protected = false;
-- a restore does that; the constraint holds meanwhile
ALTER TABLE hostile.person DISABLE TRIGGER ALL;
UPDATE hostile.person SET name = 'in the clear' WHERE id = 1;
ALTER TABLE hostile.person ENABLE TRIGGER ALL;
SELECT DISTINCT tgenabled FROM pg_trigger WHERE tgrelid = 'hostile.person'::regclass AND tgname ~ 'gdpr';
ALTER TABLE hostile.person DISABLE TRIGGER "~gdpr_seal";
ALTER TABLE hostile.person DROP CONSTRAINT gdpr_sealed_check;
ALTER TABLE hostile.person DROP COLUMN gdpr_sealed;
ALTER TABLE hostile.person ALTER gdpr_sealed TYPE text USING '';
ALTER TABLE hostile.person ADD COLUMN leak text GENERATED ALWAYS AS (name) STORED;
ALTER TABLE hostile.person ALTER name SET DEFAULT 'x';
ALTER TABLE hostile.person ALTER name DROP DEFAULT;
DROP TRIGGER "~gdpr_seal" ON hostile.person;
ALTER TRIGGER "~gdpr_seal" ON hostile.person RENAME TO x;
-- a view, a function and a policy of his show what the reader's purpose does
CREATE VIEW hostile.shown AS SELECT id, name, kind FROM hostile.person;
CREATE FUNCTION hostile.definer(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT name FROM hostile.person WHERE id = $1';
GRANT SELECT ON hostile.shown TO test_guest, test_app;
SET SESSION AUTHORIZATION test_guest;
SELECT * FROM hostile.shown WHERE id = 1;
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'hostile_all';
SELECT * FROM hostile.shown WHERE id = 1;
-- SECURITY DEFINER decides by its owner, who has no purpose
SELECT hostile.definer(1);
RESET gdpr.purpose;
RESET SESSION AUTHORIZATION;
-- the owner's policy reads like the session that it filters
SET SESSION AUTHORIZATION hostile_owner;
CREATE POLICY own ON hostile.person USING (kind = 'Geheim kind 1');
ALTER TABLE hostile.person ENABLE ROW LEVEL SECURITY;
SET SESSION AUTHORIZATION test_guest;
SELECT count(*) FROM hostile.person;
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'hostile_all';
SELECT count(*) FROM hostile.person;
-- and rows that it hides stay hidden from leaky functions
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS $$
BEGIN
    IF $1 ~ '[02468]$' THEN
        RAISE INFO 'sees a hidden row';
    END IF;
    RETURN true;
END $$;
SELECT count(*) FROM hostile.person WHERE pg_temp.leak(name);
SELECT count(*) FROM hostile.person WHERE email = 'Geheim2@x.test' AND pg_temp.leak(name);
RESET gdpr.purpose;
RESET SESSION AUTHORIZATION;

-- an event trigger sees commands, not values; a message in the log of changes is its sender's
CREATE FUNCTION hostile.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF concat(item.object_identity, current_query()) ~ 'Geheim' THEN
            RAISE INFO 'the event trigger sees a value';
        END IF;
    END LOOP;
END $$;
CREATE TABLE hostile.later (id int PRIMARY KEY, name text);
INSERT INTO hostile.later VALUES (1, 'Geheim later');
CREATE EVENT TRIGGER hostile_on_ddl ON ddl_command_end EXECUTE FUNCTION hostile.on_ddl();
DO $$ BEGIN
    PERFORM gdpr.declare_subject('hostile.later');
    PERFORM gdpr.declare_column('hostile.later', 'name', 'contact');
    PERFORM gdpr.protect_now('hostile.later');
END $$;
CALL gdpr.unprotect('hostile.later');
DROP EVENT TRIGGER hostile_on_ddl;

-- what was searched for is in no error's context
DO $$
DECLARE
    context text;
    wanted text := 'Geheim search';
BEGIN
    SET LOCAL gdpr.purpose = 'nosuch';
    PERFORM gdpr.find_subjects(wanted);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RAISE INFO '%: value in context: %', SQLSTATE, context LIKE '%Geheim%';
END $$;

DROP SCHEMA hostile CASCADE;
DROP SCHEMA hostile_ops CASCADE;
SELECT gdpr.drop_purpose('hostile_all');
DROP OWNED BY hostile_owner, hostile_reader;
DROP ROLE hostile_owner, hostile_reader;
