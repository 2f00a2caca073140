-- What holds sealed values together cannot be dropped by accident.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA dropped;
CREATE TABLE dropped.t (id integer PRIMARY KEY, a text, b text UNIQUE, c integer);
INSERT INTO dropped.t SELECT i, 'a' || i, 'b' || i, i FROM generate_series(1, 3) i;
SELECT gdpr.declare_subject('dropped.t');
SELECT gdpr.declare_column('dropped.t', 'a', 'dropped');
SELECT gdpr.declare_column('dropped.t', 'b', 'dropped', searchable => true);
CALL gdpr.protect('dropped.t');
SELECT gdpr.create_purpose('dropped', 'contract', '{dropped}');
SELECT gdpr.grant_purpose('dropped', current_user);
SET gdpr.purpose = 'dropped';
DROP EXTENSION gdpr CASCADE;
DROP SCHEMA gdpr CASCADE;
DROP TYPE gdpr.sealed CASCADE;
DROP TABLE gdpr.mapped_table CASCADE;
ALTER TABLE dropped.t DROP COLUMN a;
ALTER TABLE dropped.t DROP COLUMN id CASCADE;
ALTER TABLE dropped.t DROP COLUMN gdpr_sealed;
ALTER TABLE dropped.t DROP COLUMN c, ADD COLUMN d text DEFAULT 'd';
SELECT gdpr.declare_column('dropped.t', 'd', 'dropped');
SELECT gdpr.undeclare_table('dropped.t');
SELECT id, a, b, d FROM dropped.t ORDER BY id;
-- a table that is swapped for another: the map stays with the table it protects
CREATE TABLE dropped.u (LIKE dropped.t);
ALTER TABLE dropped.t RENAME TO v;
ALTER TABLE dropped.u RENAME TO t;
INSERT INTO dropped.t (id, a) VALUES (1, 'not declared, not sealed');
SELECT a FROM dropped.t;
SELECT a, b FROM dropped.v ORDER BY id;
SELECT relation FROM gdpr.data_map WHERE relation::text LIKE 'dropped.%' GROUP BY 1;
-- a person keeps its number when the table is opened and protected again: forget reaches the backups from before
SELECT gdpr.subject('dropped.v', '2') AS number \gset
CALL gdpr.unprotect('dropped.v');
SELECT id, a, b FROM dropped.v ORDER BY id;
DELETE FROM dropped.v WHERE id = 3;
INSERT INTO dropped.v (id, a, b) VALUES (4, 'a4', 'b4');
CALL gdpr.protect('dropped.v');
SELECT gdpr.subject('dropped.v', '2') = :number AS same_number, count(DISTINCT gdpr.subject_number(gdpr_sealed)) FROM dropped.v;
SELECT count(*) FROM gdpr.former_number;
-- DROP TABLE is DROP TABLE; the keys of its people live on, in backups they can be read
DROP TABLE dropped.v;
SELECT count(*) FROM gdpr.data_map WHERE relation::text LIKE '%dropped%';
-- the extension goes when nothing is protected, and comes back
CREATE DATABASE gdpr_test_drop;
\connect gdpr_test_drop
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS created;
CREATE TABLE t (id integer PRIMARY KEY, a text);
INSERT INTO t VALUES (1, 'value');
SELECT gdpr.declare_subject('t');
SELECT gdpr.declare_column('t', 'a', 'c');
CALL gdpr.protect('t');
CALL gdpr.unprotect('t');
DROP EXTENSION gdpr;
SELECT * FROM t;
UPDATE t SET a = 'other' RETURNING a;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS created;
SELECT gdpr.declare_subject('t');
SELECT gdpr.declare_column('t', 'a', 'c');
CALL gdpr.protect('t');
SELECT a, gdpr_sealed IS NOT NULL AS sealed FROM t;
\connect contrib_regression
SET client_min_messages = warning;
DROP DATABASE gdpr_test_drop;
DROP SCHEMA dropped CASCADE;
-- types of personal columns stay as they are, as far as values sealed before could not be read after
CREATE SCHEMA dropped2;
CREATE TYPE dropped2.mood AS ENUM ('sad', 'glad');
CREATE TYPE dropped2.place AS (street text, city text);
CREATE TABLE dropped2.t (id integer PRIMARY KEY, m dropped2.mood, ms dropped2.mood[], p dropped2.place);
INSERT INTO dropped2.t VALUES (1, 'sad', '{glad}', '(a,b)');
SELECT gdpr.declare_subject('dropped2.t');
SELECT gdpr.declare_column('dropped2.t', c, 'dropped') FROM unnest('{m,ms,p}'::text[]) c;
CALL gdpr.protect('dropped2.t');
ALTER TYPE dropped2.mood RENAME VALUE 'sad' TO 'blue';
ALTER TYPE dropped2.mood ADD VALUE 'mad';
ALTER TYPE dropped2.place ADD ATTRIBUTE country text;
ALTER TYPE dropped2.place RENAME ATTRIBUTE city TO town;
ALTER TYPE dropped2.place DROP ATTRIBUTE city;
ALTER TYPE dropped2.mood RENAME TO spirits;
SET gdpr.purpose = 'dropped';
UPDATE dropped2.t SET ms = ms || 'mad'::dropped2.spirits RETURNING m, ms, p;
DROP SCHEMA dropped2 CASCADE;
-- a row that takes the key of a deleted one takes its children, for forget() too
CREATE SCHEMA dropped3;
CREATE TABLE dropped3.p (id integer PRIMARY KEY, a text);
CREATE TABLE dropped3.c (id integer PRIMARY KEY, p_id integer REFERENCES dropped3.p DEFERRABLE, b text);
INSERT INTO dropped3.p VALUES (1, 'first'), (2, 'second');
INSERT INTO dropped3.c VALUES (10, 1, 'of 1'), (20, 2, 'of 2');
SELECT gdpr.declare_subject('dropped3.p');
SELECT gdpr.declare_column('dropped3.p', 'a', 'dropped');
SELECT gdpr.declare_table('dropped3.c', via => 'p_id');
SELECT gdpr.declare_column('dropped3.c', 'b', 'dropped');
CALL gdpr.protect('dropped3.p');
CALL gdpr.protect('dropped3.c');
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
DELETE FROM dropped3.p WHERE id = 1;
INSERT INTO dropped3.p VALUES (1, 'another');
UPDATE dropped3.p SET id = 3 WHERE id = 2;
INSERT INTO dropped3.p VALUES (2, 'third');
COMMIT;
SELECT p.id, p.a, c.b, gdpr.subject_number(p.gdpr_sealed) = gdpr.subject_number(c.gdpr_sealed) AS same
FROM dropped3.p LEFT JOIN dropped3.c ON c.p_id = p.id ORDER BY 1;
WITH d AS (DELETE FROM dropped3.p WHERE id = 2 RETURNING id) INSERT INTO dropped3.p SELECT id, 'fourth' FROM d;
ALTER TABLE dropped3.c ALTER CONSTRAINT c_p_id_fkey NOT DEFERRABLE;
WITH d AS (DELETE FROM dropped3.p WHERE id = 2 RETURNING id) INSERT INTO dropped3.p SELECT id, 'fifth' FROM d;
SELECT p.id, p.a, c.b, gdpr.subject_number(p.gdpr_sealed) = gdpr.subject_number(c.gdpr_sealed) AS same
FROM dropped3.p LEFT JOIN dropped3.c ON c.p_id = p.id WHERE p.id = 2;
SELECT gdpr.forget(gdpr.subject('dropped3.p', '1')) IS NOT NULL AS forgotten;
SELECT id, b FROM dropped3.c;
DROP SCHEMA dropped3 CASCADE;
