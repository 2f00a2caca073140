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
