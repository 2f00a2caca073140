-- Attacks that once worked or might: by sessions without a purpose, by owners
-- of tables, by whoever can set a search path.  What hostile roles can make of
-- errors, plans, statistics and types is in 410_hostile, the functions are in
-- 400_functions.
--
-- How others failed, and where it is tested that this does not:
--
--   fails open without the library                t/030_backup "not preloaded"
--   partition read or written directly            what is protected applies to it, or is refused: 250_rewrite_ddl
--   cursors, pg_dump --inserts                    here "an open cursor"; 200_rewrite_reads; t/030_backup
--   SQL-standard function bodies                  230_rewrite_statements
--   secrets in pg_db_role_setting                 410_hostile "settings"
--   masked view slow                              make bench
--   keys come back after their row is deleted     140_forget, t/012_keystore_commit, t/040_stale
--   dump and restore encrypts twice               t/030_backup; here "never sealed twice"
--   upsert encrypts twice, corrupts               here "never sealed twice"; 210_rewrite_writes
--   update writes clear text                      210_rewrite_writes; here "never in the clear"
--   empty string breaks                           120_types; here "never sealed twice"
--   ALTER OWNER loses the protection              here "a new owner"
--   PUBLIC EXECUTE left on functions              400_functions, 000_install
--   search_path injection                         here "search path", "trap"
--   plaintext in heap and WAL                     t/020_disk
--   key made anew at restart, or by reading       t/070_faults "made anew"; 140_forget
--   dump fails without the key                    t/030_backup
--   same plaintext, same ciphertext               here "same values"
--   decryption error shown as mask, written back  t/070_faults "damage is no NULL"
--   URL, command settable by users                410_hostile "settings"
--   decrypt IMMUTABLE                             400_functions
--   cache never invalidated                       here "decide anew"; 400_functions (triggers of the map)
--   replication, temp files, statistics in clear  t/020_disk, t/030_backup; 410_hostile "statistics"
--   bare equality silently scans                  220_rewrite_search; here "bare equality"
SET client_min_messages = warning;
CREATE ROLE test_owner;
CREATE ROLE test_officer;
CREATE SCHEMA attacks AUTHORIZATION test_owner;
GRANT USAGE ON SCHEMA attacks TO test_guest, test_app;
SET ROLE test_owner;
CREATE TABLE attacks.person (id int PRIMARY KEY, email text UNIQUE, name text, mood text, note text);
CREATE TABLE attacks.bill (id int PRIMARY KEY, person_id int REFERENCES attacks.person ON DELETE CASCADE,
                           address text, email text);
CREATE TABLE attacks.line (id int PRIMARY KEY, bill_id int REFERENCES attacks.bill ON DELETE CASCADE, what text,
                           email text);
INSERT INTO attacks.person SELECT n, 'mail' || n, 'Name ' || n, 'mood ' || n FROM generate_series(1, 9) n;
INSERT INTO attacks.bill SELECT n, n, 'Street ' || n, 'mail' || n FROM generate_series(1, 9) n;
INSERT INTO attacks.line SELECT n, n, 'Thing ' || n, 'Mail' || n FROM generate_series(1, 9) n;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA attacks TO test_guest, test_app;
RESET ROLE;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('attacks.person');
    PERFORM gdpr.declare_column('attacks.person', 'email', 'attacks_contact', searchable => true);
    PERFORM gdpr.declare_column('attacks.person', 'name', 'attacks_contact');
    PERFORM gdpr.declare_column('attacks.person', 'mood', 'attacks_health');
    PERFORM gdpr.declare_table('attacks.bill', via => 'person_id');
    PERFORM gdpr.declare_column('attacks.bill', 'address', 'attacks_contact');
    PERFORM gdpr.declare_column('attacks.bill', 'email', 'attacks_contact', searchable => true);
    PERFORM gdpr.declare_table('attacks.line', via => 'bill_id');
    PERFORM gdpr.declare_column('attacks.line', 'what', 'attacks_contact');
    PERFORM gdpr.declare_column('attacks.line', 'email', 'attacks_contact', searchable => true);
    PERFORM gdpr.protect_now('attacks.person');
    PERFORM gdpr.protect_now('attacks.bill');
    PERFORM gdpr.protect_now('attacks.line');
    PERFORM gdpr.create_purpose('attacks_all', 'contract', ARRAY['attacks_contact', 'attacks_health']);
    PERFORM gdpr.create_purpose('attacks_narrow', 'contract', ARRAY['attacks_contact']);
    PERFORM gdpr.grant_purpose('attacks_all', 'test_app');
    PERFORM gdpr.grant_purpose('attacks_narrow', 'test_app');
END $$;
GRANT EXECUTE ON FUNCTION gdpr.forget(bigint, text, text) TO test_officer;
RESET client_min_messages;
\set VERBOSITY terse

-- EXCLUDED is opened for whoever brought it, not for who brings the envelope of another
SET SESSION AUTHORIZATION test_owner;
CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    RAISE NOTICE 'sees %', $1;
    RETURN true;
END $$;
SET gdpr.physical = on;
SELECT email, gdpr_sealed FROM attacks.person WHERE id = 7 \gset
SET gdpr.physical = off;
INSERT INTO attacks.person (id, email, gdpr_sealed) VALUES (7, :'email', :'gdpr_sealed')
ON CONFLICT (id) DO UPDATE SET note = NULL WHERE pg_temp.peek(EXCLUDED.name);
INSERT INTO attacks.person (id, email, name) VALUES (7, 'mine', 'my own input')
ON CONFLICT (id) DO UPDATE SET note = NULL WHERE pg_temp.peek(EXCLUDED.name);
-- nor for another role later in the same transaction
RESET SESSION AUTHORIZATION;
BEGIN;
INSERT INTO attacks.person (id, email, name) VALUES (70, 'mail70', 'Name 70');
SET LOCAL gdpr.physical = on;
SELECT email, gdpr_sealed FROM attacks.person WHERE id = 70 \gset
SET LOCAL gdpr.physical = off;
SET LOCAL ROLE test_owner;
INSERT INTO attacks.person (id, email, gdpr_sealed) VALUES (70, :'email', :'gdpr_sealed')
ON CONFLICT (id) DO UPDATE SET note = NULL WHERE pg_temp.peek(EXCLUDED.name);
ROLLBACK;

-- only who may restore a table can bring sealed rows: an envelope can name any person, or hold nothing
SELECT gdpr_sealed FROM attacks.person WHERE id = 8 \gset
SET gdpr.purpose = 'attacks_all';
UPDATE attacks.person SET name = 'Newer' WHERE id = 8;
RESET gdpr.purpose;
SET SESSION AUTHORIZATION test_guest;
SET gdpr.physical = on;
UPDATE attacks.person SET gdpr_sealed = :'gdpr_sealed' WHERE id = 8;
SELECT email FROM attacks.person WHERE id = 8 \gset
INSERT INTO attacks.person (id, email, gdpr_sealed) VALUES (8, :'email', :'gdpr_sealed');
-- envelopes do not move: other row, other table, other stored columns
RESET SESSION AUTHORIZATION;
UPDATE attacks.person a SET gdpr_sealed = b.gdpr_sealed, email = 'x' FROM attacks.person b WHERE a.id = 1 AND b.id = 2;
UPDATE attacks.person a SET gdpr_sealed = b.gdpr_sealed FROM attacks.bill b WHERE a.id = 1 AND b.id = 1;
UPDATE attacks.person a SET email = b.email FROM attacks.person b WHERE a.id = 1 AND b.id = 2;
RESET gdpr.physical;

-- no oracle: a search by a hidden column does not get as far as comparing tokens
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET SESSION AUTHORIZATION test_guest;
SELECT hidden FROM gdpr.session_statistics() \gset before_
SELECT count(*) FROM attacks.person WHERE email = 'mail3';
SELECT count(*) FROM attacks.person WHERE email IN ('mail3', 'mail4');
SELECT count(*) FROM (SELECT email FROM attacks.person GROUP BY email) p WHERE email = 'mail3';
SELECT * FROM attacks.person WHERE email = 'mail3' AND pg_temp.peek(note);
SELECT hidden = :before_hidden AS nothing_counted FROM gdpr.session_statistics();
CREATE FUNCTION pg_temp.filtered(query text, OUT line text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Rows Removed|Index Scan' THEN
            line := regexp_replace(line, 'rows=0\.00', 'rows=0');
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
SELECT * FROM pg_temp.filtered($$SELECT id FROM attacks.person WHERE email = 'mail3'$$);
-- the same where it is visible, and where the purpose is too narrow
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'attacks_narrow';
SELECT id, name, mood FROM attacks.person WHERE email = 'mail3';
UPDATE attacks.person SET mood = 'guess' WHERE id = 3;
UPDATE attacks.person SET mood = coalesce(mood, 'guess') WHERE id = 3;
INSERT INTO attacks.person (id, mood) VALUES (3, 'guess') ON CONFLICT (id) DO UPDATE SET mood = EXCLUDED.mood;
UPDATE attacks.person SET (name, mood) = (SELECT 'n', 'm') WHERE id = 3;
UPDATE attacks.person SET mood = mood, gdpr_sealed = DEFAULT WHERE id = 3;
SET gdpr.purpose = 'attacks_all';
SELECT name, mood FROM attacks.person WHERE id = 3;
RESET enable_seqscan;
RESET enable_bitmapscan;
-- an open cursor and a prepared statement decide anew
BEGIN;
DECLARE c CURSOR FOR SELECT name FROM attacks.person ORDER BY id;
FETCH c;
SET LOCAL gdpr.purpose = '';
FETCH c;
ROLLBACK;
RESET SESSION AUTHORIZATION;
RESET gdpr.purpose;

-- nothing that runs as the extension's owner looks at the session's search path
SET SESSION AUTHORIZATION test_guest;
CREATE FUNCTION pg_temp.trap(pg_catalog.oid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'runs as %', current_user;
    RETURN true;
END $$;
CREATE DOMAIN pg_temp.oid AS pg_catalog.oid CHECK (pg_temp.trap(VALUE));
CREATE TEMP TABLE trapped (a int);
ALTER TABLE trapped RENAME a TO b;
DROP DOMAIN pg_temp.oid;
DROP TABLE trapped;
DROP FUNCTION pg_temp.trap(pg_catalog.oid);
RESET SESSION AUTHORIZATION;
SELECT gdpr.forget(gdpr.subject('attacks.person', '9'), category => 'attacks_health') IS NOT NULL AS forgotten;
CREATE SCHEMA attacks_trap AUTHORIZATION test_app;
SET SESSION AUTHORIZATION test_app;
CREATE FUNCTION attacks_trap.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'runs as %', current_user;
    RETURN $1 OPERATOR(pg_catalog.=) $2;
END $$;
CREATE OPERATOR attacks_trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = attacks_trap.equal);
SET gdpr.purpose = 'attacks_all';
SET search_path = attacks_trap, pg_catalog;
UPDATE attacks.person SET mood = 'collected anew' WHERE id = 9;
UPDATE attacks.person SET mood = 'and again' WHERE id = 9;
RESET search_path;
SELECT mood FROM attacks.person WHERE id = 9;
RESET gdpr.purpose;
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
DROP SCHEMA attacks_trap CASCADE;
RESET client_min_messages;

-- nor does a CHECK that the guard holds, in whosever statement it is
SET SESSION AUTHORIZATION test_owner;
CREATE TABLE attacks.checked (id int PRIMARY KEY, name text CHECK (name LIKE 'N%'));
CREATE FUNCTION attacks.add_name(int, text) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS 'INSERT INTO attacks.checked VALUES ($1, $2)';
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('attacks.checked');
    PERFORM gdpr.declare_column('attacks.checked', 'name', 'attacks_contact');
    PERFORM gdpr.protect_now('attacks.checked');
END $$;
RESET client_min_messages;
SET SESSION AUTHORIZATION test_guest;
CREATE FUNCTION pg_temp.trap(pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'runs as %', current_user;
    RETURN true;
END $$;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.trap(VALUE));
SELECT attacks.add_name(1, 'Name');
SELECT attacks.add_name(2, 'other');
DROP DOMAIN pg_temp.text;
DROP FUNCTION pg_temp.trap(pg_catalog.text);
RESET SESSION AUTHORIZATION;

-- triggers run as the table's owner while an officer forgets, not as the extension's
SET SESSION AUTHORIZATION test_owner;
CREATE FUNCTION attacks.who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% runs as %', TG_NAME, current_user;
    RETURN NULL;
END $$;
CREATE TRIGGER who AFTER DELETE ON attacks.line FOR EACH ROW EXECUTE FUNCTION attacks.who();
RESET SESSION AUTHORIZATION;
SELECT gdpr.subject('attacks.person', '6') AS six \gset
SET SESSION AUTHORIZATION test_officer;
SELECT gdpr.forget(:six) IS NOT NULL AS forgotten;
RESET SESSION AUTHORIZATION;
DROP TRIGGER who ON attacks.line;

-- what triggers assign while rows are erased is sealed or refused, never stored as it is; relinking fires none
SET SESSION AUTHORIZATION test_owner;
CREATE FUNCTION attacks.chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE attacks.person SET name = 'In The Clear' WHERE id = 5;
    RETURN NULL;
END $$;
CREATE TRIGGER chain AFTER UPDATE ON attacks.line FOR EACH ROW EXECUTE FUNCTION attacks.chain();
RESET SESSION AUTHORIZATION;
UPDATE attacks.bill SET person_id = 2 WHERE id = 1;
SELECT gdpr.forget(gdpr.subject('attacks.person', '4'), category => 'attacks_contact');
SELECT gdpr.grant_purpose('attacks_all', 'test_owner');
SET gdpr.purpose = 'attacks_all';
SELECT gdpr.forget(gdpr.subject('attacks.person', '4'), category => 'attacks_contact') IS NOT NULL AS forgotten;
SELECT name FROM attacks.person WHERE id = 5;
SET gdpr.physical = on;
SELECT name FROM attacks.person WHERE id = 5;
RESET gdpr.physical;
RESET gdpr.purpose;
DROP TRIGGER chain ON attacks.line;
-- nor does a trigger spoil the token of a row that follows
SET SESSION AUTHORIZATION test_owner;
CREATE FUNCTION attacks.upper_mail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := upper(NEW.email);
    RETURN NEW;
END $$;
CREATE TRIGGER upper_mail BEFORE UPDATE ON attacks.line FOR EACH ROW EXECUTE FUNCTION attacks.upper_mail();
RESET SESSION AUTHORIZATION;
UPDATE attacks.bill SET person_id = 3 WHERE id = 1;
DROP TRIGGER upper_mail ON attacks.line;
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'attacks_all';
SELECT id FROM attacks.line WHERE email = 'Mail1';
RESET gdpr.purpose;
RESET SESSION AUTHORIZATION;

-- no plaintext in columns that are not personal, of protected tables either
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'attacks_all';
UPDATE attacks.person SET note = email WHERE id = 1;
INSERT INTO attacks.person (id, note) SELECT id + 100, name FROM attacks.person;
INSERT INTO attacks.person (id, name) SELECT id, name FROM attacks.person WHERE id = 1
ON CONFLICT (id) DO UPDATE SET note = EXCLUDED.name;
UPDATE attacks.person SET name = email WHERE id = 1;
RESET gdpr.purpose;
RESET SESSION AUTHORIZATION;

-- a child table, foreign or not, would have no guard
SET client_min_messages = warning;
CREATE FOREIGN DATA WRAPPER attacks_wrapper;
CREATE SERVER attacks_server FOREIGN DATA WRAPPER attacks_wrapper;
RESET client_min_messages;
CREATE FOREIGN TABLE attacks.child () INHERITS (attacks.person) SERVER attacks_server;
DROP FOREIGN DATA WRAPPER attacks_wrapper CASCADE;

-- a child that names its parent otherwise than the parent does belongs to it all the same
CREATE TABLE attacks.parent (k numeric PRIMARY KEY, name text);
CREATE TABLE attacks.early (k numeric REFERENCES attacks.parent DEFERRABLE INITIALLY DEFERRED, id int PRIMARY KEY, t text);
SET client_min_messages = warning;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('attacks.parent');
    PERFORM gdpr.declare_column('attacks.parent', 'name', 'attacks_contact');
    PERFORM gdpr.declare_table('attacks.early', via => 'k');
    PERFORM gdpr.declare_column('attacks.early', 't', 'attacks_contact');
    PERFORM gdpr.protect_now('attacks.parent');
    PERFORM gdpr.protect_now('attacks.early');
END $$;
RESET client_min_messages;
BEGIN;
INSERT INTO attacks.early VALUES (5.00, 1, 'early');
INSERT INTO attacks.parent VALUES (5.0, 'late');
COMMIT;
SELECT gdpr.subject_number(p.gdpr_sealed) = gdpr.subject_number(e.gdpr_sealed) AS same_person
FROM attacks.parent p JOIN attacks.early e USING (k);

-- a value that its type does not take any more is not quoted
CREATE TYPE attacks.state AS ENUM ('secret', 'open');
CREATE TABLE attacks.typed (id int PRIMARY KEY, state attacks.state);
INSERT INTO attacks.typed VALUES (1, 'secret');
SET client_min_messages = warning;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('attacks.typed');
    PERFORM gdpr.declare_column('attacks.typed', 'state', 'attacks_contact');
    PERFORM gdpr.protect_now('attacks.typed');
END $$;
RESET client_min_messages;
UPDATE pg_catalog.pg_enum SET enumlabel = 'renamed' WHERE enumlabel = 'secret' AND enumtypid = 'attacks.state'::regtype;
SET gdpr.purpose = 'attacks_all';
SELECT state FROM attacks.typed;
RESET gdpr.purpose;
UPDATE pg_catalog.pg_enum SET enumlabel = 'secret' WHERE enumlabel = 'renamed' AND enumtypid = 'attacks.state'::regtype;

-- what takes a column_ref cannot be called: nothing makes one
SELECT '1'::gdpr.column_ref;
SELECT '{1}'::gdpr.column_ref[];
SELECT * FROM json_to_record('{"a": 1}') AS (a gdpr.column_ref);
SELECT gdpr.reveal(gdpr_sealed, 1, id) FROM attacks.person;
SELECT count(gdpr.reveal_row(p, NULL)) FROM attacks.person p;
-- nor a mark or anything else that is not an envelope
SELECT '/gAAAAE='::gdpr.sealed;
SELECT gdpr_sealed FROM jsonb_populate_record(NULL::attacks.person, '{"gdpr_sealed": "/wAAAAE="}');

-- code of a table's owner runs as the owner, whoever calls a function on the table: what the planner
-- evaluates of index expressions, CHECK constraints that unprotect gives back, domains inside types
SET SESSION AUTHORIZATION test_owner;
CREATE FUNCTION attacks.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'test_owner' THEN
        RAISE WARNING 'trap runs as %', current_user;
    END IF;
    RETURN $1;
END $$;
CREATE DOMAIN attacks.trapped AS text CHECK (attacks.trap(length(VALUE)) > 0);
CREATE TABLE attacks.escalate (id int PRIMARY KEY, name text CHECK (attacks.trap(length(name)) > 0), tags attacks.trapped[],
                               word attacks.trapped);
INSERT INTO attacks.escalate VALUES (1, 'one', '{a}', 'a'), (2, 'two', '{b}', 'b'), (3, 'three', '{c}', 'c');
CREATE INDEX ON attacks.escalate ((attacks.trap(1) + id));
CREATE INDEX ON attacks.escalate (id) WHERE attacks.trap(2) = 2;
CREATE TABLE attacks.needs (id int PRIMARY KEY, escalate_id int REFERENCES attacks.escalate);
INSERT INTO attacks.needs VALUES (1, 2);
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
GRANT USAGE ON SCHEMA attacks TO test_officer;
GRANT EXECUTE ON FUNCTION gdpr.declare_subject(regclass, text, text, text, text),
    gdpr.declare_column(regclass, text, text, boolean, text, text, text, text), gdpr.protect_now(regclass),
    gdpr.subject(regclass, text), gdpr.dark_rows() TO test_officer;
GRANT EXECUTE ON PROCEDURE gdpr.unprotect(regclass, bigint) TO test_officer;
GRANT EXECUTE ON FUNCTION gdpr.unprotect_step(regclass, bigint) TO test_officer;
\c -
\set VERBOSITY terse
SET client_min_messages = warning;
SET SESSION AUTHORIZATION test_officer;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('attacks.escalate');
    PERFORM gdpr.declare_column('attacks.escalate', 'name', 'attacks_contact');
    PERFORM gdpr.declare_column('attacks.escalate', 'tags', 'attacks_contact');
    PERFORM gdpr.declare_column('attacks.escalate', 'word', 'attacks_contact');
    PERFORM gdpr.protect_now('attacks.escalate');
END $$;
\c -
\set VERBOSITY terse
SET client_min_messages = warning;
SET SESSION AUTHORIZATION test_officer;
SELECT count(*) FROM gdpr.dark_rows() d WHERE d.relation = 'attacks.escalate'::regclass;
\c -
\set VERBOSITY terse
SET client_min_messages = warning;
SET SESSION AUTHORIZATION test_officer;
SELECT gdpr.forget(gdpr.subject('attacks.escalate', '1')) IS NOT NULL AS forgotten;
SELECT gdpr.forget(gdpr.subject('attacks.escalate', '2')) IS NOT NULL AS forgotten;
\c -
\set VERBOSITY terse
SET client_min_messages = warning;
SET SESSION AUTHORIZATION test_officer;
CALL gdpr.unprotect('attacks.escalate');
SET SESSION AUTHORIZATION test_owner;
SELECT * FROM attacks.escalate ORDER BY id;
RESET SESSION AUTHORIZATION;
DROP TABLE attacks.needs, attacks.escalate;
RESET client_min_messages;

-- a trigger of the owner that inserts while forget runs
CREATE TABLE attacks.letter (id int PRIMARY KEY, sender numeric REFERENCES attacks.parent ON DELETE CASCADE,
                             reader numeric REFERENCES attacks.parent ON DELETE SET NULL, answer text);
CREATE FUNCTION attacks.reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attacks.letter VALUES (9, 7, 7, 'an answer');
    RETURN NULL;
END $$;
SET client_min_messages = warning;
DO $$ BEGIN
    PERFORM gdpr.declare_table('attacks.letter', via => 'sender');
    PERFORM gdpr.declare_column('attacks.letter', 'answer', 'attacks_contact', subject_via => 'reader');
    PERFORM gdpr.protect_now('attacks.letter');
    INSERT INTO attacks.parent VALUES (7, 'seven'), (8, 'eight');
    INSERT INTO attacks.early VALUES (8, 8, 'of eight');
END $$;
ALTER TABLE attacks.early DROP CONSTRAINT early_k_fkey,
    ADD FOREIGN KEY (k) REFERENCES attacks.parent ON DELETE CASCADE;
CREATE TRIGGER reply AFTER DELETE ON attacks.early FOR EACH ROW EXECUTE FUNCTION attacks.reply();
RESET client_min_messages;
SELECT gdpr.forget(gdpr.subject('attacks.parent', '8')) IS NOT NULL AS forgotten;
SET gdpr.purpose = 'attacks_all';
SELECT id, sender, reader, answer FROM attacks.letter;

-- never sealed twice: what was shown goes back as it was, the empty string and NULL as well
SET SESSION AUTHORIZATION test_app;
SET gdpr.purpose = 'attacks_all';
INSERT INTO attacks.person (id, email, name, mood) VALUES (20, 'mail20', '', NULL), (21, 'mail21', ' ', '');
INSERT INTO attacks.person (id, email, name, mood) SELECT id, email, name, mood FROM attacks.person WHERE id IN (20, 21)
ON CONFLICT (id) DO UPDATE SET (email, name, mood) = (EXCLUDED.email, EXCLUDED.name, EXCLUDED.mood);
INSERT INTO attacks.person SELECT * FROM attacks.person WHERE id = 20 -- envelope included
ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name;
UPDATE attacks.person SET email = email, name = name, mood = mood WHERE id IN (20, 21);
SELECT id, email, name, mood, mood IS NULL AS no_mood FROM attacks.person WHERE id IN (20, 21) ORDER BY id;
SELECT id FROM attacks.person WHERE email = 'mail20';
-- never in the clear: same values, different envelopes, and none of them in what is stored
UPDATE attacks.person SET name = 'Same Name', mood = 'same mood' WHERE id IN (20, 21);
SET gdpr.physical = on;
SELECT count(DISTINCT substr(gdpr_sealed::text, 26)) AS envelopes FROM attacks.person WHERE id IN (20, 21);
SELECT count(*) FROM attacks.person p WHERE p::text ~ 'Same Name|same mood|mail2'
    OR encode(gdpr.sealed_send(p.gdpr_sealed), 'escape') ~ 'Same Name|same mood';
RESET gdpr.physical;
-- bare equality uses the index
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM attacks.person WHERE email = 'mail3';
RESET enable_seqscan;
RESET enable_bitmapscan;
RESET SESSION AUTHORIZATION;
-- a new owner owns a protected table
ALTER TABLE attacks.person OWNER TO test_other;
SELECT name FROM attacks.person WHERE id = 20;
SET SESSION AUTHORIZATION test_app;
UPDATE attacks.person SET name = 'After' WHERE id = 20;
SELECT name FROM attacks.person WHERE id = 20;
RESET SESSION AUTHORIZATION;
SET gdpr.physical = on;
SELECT count(*) FROM attacks.person p WHERE p::text ~ 'After';
RESET gdpr.physical;
ALTER TABLE attacks.person OWNER TO test_owner;
RESET gdpr.purpose;

SET client_min_messages = warning;
DROP SCHEMA attacks CASCADE;
DELETE FROM gdpr.purpose_grant WHERE purpose LIKE 'attacks%';
DELETE FROM gdpr.purpose WHERE name LIKE 'attacks%';
DROP OWNED BY test_owner, test_officer;
DROP ROLE test_owner, test_officer;
