-- Code and constraints of tables' owners: deferred triggers, tables that cannot be read, tables that change hands.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE code_a; CREATE ROLE code_b; CREATE ROLE code_dpo;
CREATE SCHEMA co AUTHORIZATION code_a; GRANT USAGE ON SCHEMA co TO PUBLIC;
SET ROLE code_a;
CREATE TABLE co.ran (who name, what text); GRANT ALL ON co.ran TO PUBLIC;
CREATE TABLE co.person (id integer PRIMARY KEY, name text, seen date);
CREATE TABLE co.paper (id integer PRIMARY KEY, title text);
CREATE TABLE co.author (paper integer REFERENCES co.paper DEFERRABLE INITIALLY DEFERRED, person integer REFERENCES co.person, PRIMARY KEY (paper, person));
CREATE TABLE co.letter (id integer PRIMARY KEY, sender integer, recipient integer REFERENCES co.person, body text, seen date,
    CONSTRAINT of_sender FOREIGN KEY (sender) REFERENCES co.person DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE co.visit (id integer PRIMARY KEY, person integer REFERENCES co.person, place text, seen date);
CREATE TABLE co.other (id integer PRIMARY KEY, CONSTRAINT of_sender CHECK (id > 0)); -- not deferrable, of the same name
CREATE FUNCTION co.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO co.ran VALUES (current_user, tg_op || ' ' || tg_table_name); RETURN NULL; END $$;
RESET ROLE;
INSERT INTO co.person SELECT i, 'Name ' || i FROM generate_series(1, 20) i;
INSERT INTO co.letter SELECT i, i, i % 20 + 1, 'by ' || i FROM generate_series(1, 20) i;
INSERT INTO co.visit SELECT i, i, 'place ' || i, '2001-01-01' FROM generate_series(11, 20) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('co.person'), gdpr.declare_column('co.person', 'name', 'identity');
    PERFORM gdpr.declare_table('co.author', via => 'person');
    PERFORM gdpr.declare_table('co.paper', owned_through => 'co.author'), gdpr.declare_column('co.paper', 'title', 'content');
    PERFORM gdpr.declare_table('co.letter', via => 'sender'), gdpr.declare_column('co.letter', 'body', 'content'), gdpr.declare_access('co.letter', via => 'recipient');
    PERFORM gdpr.declare_table('co.visit', via => 'person'), gdpr.declare_column('co.visit', 'place', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{co.person,co.paper,co.author,co.letter,co.visit}'::regclass[]) t;
END $$;
CREATE FUNCTION co.p(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('co.person', p.id::text) $$;
GRANT USAGE ON SCHEMA gdpr TO code_dpo; GRANT EXECUTE ON FUNCTION gdpr.forget TO code_dpo; GRANT INSERT, SELECT ON ALL TABLES IN SCHEMA co TO code_dpo;
SELECT co.p(i) AS p1, co.p(i + 1) AS p2, co.p(i + 2) AS p3, co.p(i + 3) AS p4, co.p(i + 4) AS p5 FROM generate_series(1, 1) i \gset

-- deferred triggers of rows that are forgotten run at once, as the owner
CREATE CONSTRAINT TRIGGER tell AFTER INSERT OR DELETE ON co.letter DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION co.tell();
SET ROLE code_dpo; SELECT count(gdpr.forget(:p1)); RESET ROLE;
TABLE co.ran; TRUNCATE co.ran;
-- those that the caller has queued are not the owner's to run
SET ROLE code_dpo;
BEGIN;
INSERT INTO co.letter (id, sender) VALUES (101, 5);
SELECT gdpr.forget(:p2);
ROLLBACK;
BEGIN;
INSERT INTO co.letter (id, sender) VALUES (101, 5);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT count(gdpr.forget(:p2));
COMMIT;
RESET ROLE;
SELECT who, what FROM co.ran ORDER BY 1, 2; TRUNCATE co.ran;
DROP TRIGGER tell ON co.letter;
-- foreign keys that were deferred are so afterwards, those that were not are not
BEGIN;
SET CONSTRAINTS co.author_paper_fkey IMMEDIATE;
SELECT count(gdpr.forget(:p3));
INSERT INTO co.author VALUES (17, 9);
ROLLBACK;
BEGIN;
SELECT count(gdpr.forget(:p3));
INSERT INTO co.author VALUES (17, 9); INSERT INTO co.paper VALUES (17, 'later');
COMMIT;
-- what the caller has not finished is looked at as well
BEGIN;
INSERT INTO co.author VALUES (18, 10);
SELECT count(gdpr.forget(:p4));
INSERT INTO co.paper VALUES (18, 'later');
COMMIT;
SELECT count(*) FROM co.person WHERE id <= 4;

-- a table that cannot be read hides no other, and stops none that has nothing to do with it
UPDATE co.letter SET seen = '2001-01-01' WHERE id > 10; UPDATE co.person SET seen = '2001-01-01' WHERE id IN (19, 20);
SELECT count(gdpr.set_retention(r, '1 year', 'seen')) FROM unnest('{co.letter,co.person,co.visit}'::regclass[]) r;
SET ROLE code_a;
CREATE FUNCTION co.f(i integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN i; END $$;
CREATE INDEX ON co.letter ((co.f(1) + id));
CREATE OR REPLACE FUNCTION co.f(i integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'secret %', i; END $$;
RESET ROLE;
SELECT count(*) FROM gdpr.dark_rows();
SELECT relation, action, "rows" FROM gdpr.retention_due WHERE relation::text LIKE 'co.%';
CALL gdpr.run_retention(orphans_after => NULL);
SELECT relation, error FROM gdpr.retention_errors WHERE relation LIKE 'co.%';
SELECT (SELECT count(*) FROM co.person WHERE id > 18) AS persons, (SELECT count(*) FROM co.visit) AS visits;
DROP INDEX co.letter_expr_idx;
CALL gdpr.run_retention(orphans_after => NULL);
SELECT relation, error FROM gdpr.retention_errors WHERE relation LIKE 'co.%';
SELECT (SELECT count(*) FROM co.letter WHERE id > 10) AS letters, (SELECT count(*) FROM co.person WHERE id > 18) AS persons;
SELECT gdpr.drop_retention(r) FROM unnest('{co.letter,co.person,co.visit}'::regclass[]) r;

-- tables that are read together keep one owner
ALTER TABLE co.author OWNER TO code_b;
ALTER TABLE co.person OWNER TO code_b;
BEGIN; ALTER TABLE co.author OWNER TO code_b; SAVEPOINT s; ALTER TABLE co.other OWNER TO code_b; ROLLBACK TO s; COMMIT;
BEGIN; ALTER TABLE co.author OWNER TO code_b; PREPARE TRANSACTION 'x';
SELECT count(gdpr.forget(:p5));
ALTER TABLE co.other OWNER TO code_b;
GRANT code_b TO code_a; GRANT CREATE ON SCHEMA co TO code_b; SET ROLE code_a; ALTER TABLE co.paper OWNER TO code_b; RESET ROLE;
BEGIN; ALTER TABLE co.author OWNER TO code_b; ALTER TABLE co.paper OWNER TO code_b; COMMIT;
SELECT relowner::regrole FROM pg_class WHERE oid IN ('co.author'::regclass, 'co.paper'::regclass);
REASSIGN OWNED BY code_b TO code_a;
ALTER TABLE co.paper OWNER TO code_a;
SELECT count(gdpr.forget(co.p(6)));
DROP SCHEMA co CASCADE;
REVOKE ALL ON FUNCTION gdpr.forget FROM code_dpo; REVOKE USAGE ON SCHEMA gdpr FROM code_dpo;
DROP ROLE code_a, code_b, code_dpo;
