-- COPY of protected tables, pg_dump's statements, and copies in the clear.
\getenv dir PG_ABS_SRCDIR
\set setup :dir '/sql/rewrite.inc'
\set ECHO none
\i :setup
\set ECHO all
\set VERBOSITY terse
\getenv builddir PG_ABS_BUILDDIR
\set dump :builddir '/results/rewrite.copy'
\set ECHO all
SET search_path = rw_crm, rw, public;
SET client_min_messages = warning;
CREATE TABLE small (id integer PRIMARY KEY, a text UNIQUE, b integer NOT NULL DEFAULT 5,
    g integer GENERATED ALWAYS AS (id * 2) STORED, c text);
ALTER TABLE small ADD COLUMN gone integer;
ALTER TABLE small DROP COLUMN gone;
INSERT INTO small (id, a, c) VALUES (1, 'one', 'c1'), (2, 'two', NULL);
DO $$
BEGIN
    PERFORM gdpr.declare_subject('small');
    PERFORM gdpr.declare_column('small', 'a', 'contact', searchable => true);
    PERFORM gdpr.declare_column('small', 'c', 'contact');
END $$;
CALL gdpr.protect('small');
RESET client_min_messages;
-- without a list: the application's columns, revealed
COPY small TO stdout;
COPY small TO stdout (FORMAT csv, HEADER, FORCE_QUOTE (a));
COPY small (c, id) TO stdout (DELIMITER '|', NULL '-');
COPY (SELECT * FROM (SELECT a, b FROM small) s ORDER BY a) TO stdout;
COPY small (nope) TO stdout;
COPY small (id, id) TO stdout;
COPY small (g) TO stdout;
COPY small FROM stdin;
3	three	6	cc
4	four	7	\N
\.
COPY small (id, a) FROM stdin (FORMAT csv, HEADER match) WHERE a <> 'six';
id,a
5,five
6,six
\.
COPY small FROM stdin (FORMAT csv, HEADER match);
id,a,b,c
7,seven,8,c7
\.
COPY small FROM stdin;
8	one	1	x
\.
SELECT id, a, b, g, c FROM small ORDER BY id;
-- with gdpr_sealed in the list: as it is stored, and back
COPY small (id, a, b, c, gdpr_sealed) TO :'dump';
CREATE TEMP TABLE stored (id integer, a text, b integer, c text, s text);
COPY stored FROM :'dump';
SELECT id, a ~ '^[a-z2-7]{26}$' AS token, b, c, length(s) > 60 AS sealed FROM stored ORDER BY id;
TRUNCATE small;
COPY small (id, a, b, c, gdpr_sealed) FROM :'dump';
SELECT id, a, b, g, c FROM small ORDER BY id;
-- as it is stored, whoever asks
SET gdpr.physical = on;
COPY small TO :'dump';
COPY stored FROM :'dump';
SELECT count(*), count(DISTINCT (id, a, b, c, s)) FROM stored;
TRUNCATE small;
COPY small FROM :'dump';
RESET gdpr.physical;
SELECT id, a, b, g, c FROM small WHERE a IN ('one', 'seven') ORDER BY id;
-- pg_dump --inserts
BEGIN;
DECLARE _pg_dump_cursor CURSOR FOR SELECT id, a, c, gdpr_sealed FROM ONLY small;
CREATE TEMP TABLE fetched (id integer, a text, c text, s text);
DO $$
DECLARE
    dump refcursor := '_pg_dump_cursor';
    r record;
BEGIN
    LOOP
        FETCH dump INTO r;
        EXIT WHEN NOT FOUND;
        INSERT INTO fetched VALUES (r.id, r.a, r.c, r.gdpr_sealed::text);
    END LOOP;
END $$;
SELECT count(*), count(*) FILTER (WHERE a ~ '^[a-z2-7]{26}$'), count(c), count(s) FROM fetched;
ROLLBACK;
BEGIN;
DECLARE _another_cursor CURSOR FOR SELECT id, a FROM ONLY small ORDER BY id;
FETCH 2 FROM _another_cursor;
ROLLBACK;
-- privileges are those on the columns, and the purpose decides
GRANT USAGE ON SCHEMA rw_crm TO test_app, test_guest;
GRANT SELECT (id, a), INSERT (id, a) ON small TO test_app, test_guest;
SET ROLE test_app;
COPY small TO stdout;
COPY small (id, a) TO stdout;
COPY small (id, a) FROM stdin;
9	nine
\.
SELECT a FROM small WHERE id = 9;
SELECT gdpr_sealed FROM small;
RESET ROLE;
SET gdpr.purpose = '';
SET ROLE test_guest;
COPY small (id, a) TO stdout;
RESET ROLE;
SET gdpr.purpose = 'rewrite';
-- a dump under row-level security has the rows that the policy shows
CREATE POLICY p ON small USING (a LIKE 't%');
ALTER TABLE small ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON small TO test_app;
CREATE FUNCTION rw.dumped() RETURNS TABLE (id integer, is_token boolean) LANGUAGE plpgsql AS $$
DECLARE
    dump refcursor := '_pg_dump_cursor';
    r record;
BEGIN
    LOOP
        FETCH dump INTO r;
        EXIT WHEN NOT FOUND;
        RETURN QUERY SELECT r.id, r.a ~ '^[a-z2-7]{26}$';
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA rw TO test_app;
SET ROLE test_app;
COPY small (id, a) TO stdout;
BEGIN;
DECLARE _pg_dump_cursor CURSOR FOR SELECT id, a, gdpr_sealed FROM ONLY small;
SELECT * FROM rw.dumped() ORDER BY id;
ROLLBACK;
RESET ROLE;
-- copies in the clear
CREATE TEMP TABLE target (id integer, v text);
CREATE TABLE copy AS SELECT email FROM contact;
CREATE TABLE copy AS TABLE contact;
SELECT c INTO TEMP copy FROM contact c;
CREATE MATERIALIZED VIEW copy AS SELECT * FROM v_before;
CREATE MATERIALIZED VIEW copy AS SELECT * FROM v_before WITH NO DATA;
REFRESH MATERIALIZED VIEW copy;
DROP MATERIALIZED VIEW copy;
PREPARE q AS SELECT email FROM contact;
CREATE TEMP TABLE copy AS EXECUTE q;
EXPLAIN ANALYZE CREATE TABLE copy AS SELECT name FROM contact;
INSERT INTO target SELECT id, email FROM contact;
INSERT INTO target VALUES (1, (SELECT max(n) FROM v_before));
WITH x AS (SELECT email FROM contact) INSERT INTO target (v) SELECT upper(email) FROM x;
WITH x AS (DELETE FROM orders RETURNING item) INSERT INTO target (v) SELECT item FROM x;
WITH RECURSIVE x (a, b) AS (SELECT 1, email FROM contact WHERE id = 1 UNION ALL SELECT a + 1, b FROM x WHERE a < 3) INSERT INTO target (v) SELECT b FROM x;
INSERT INTO target (id) SELECT 1 FROM (contact NATURAL JOIN (SELECT 'a' AS j) k) n GROUP BY (n).email;
INSERT INTO target (v) SELECT n.email FROM (contact NATURAL JOIN (SELECT 'a' AS j) k) n;
UPDATE target SET v = c.email FROM contact c WHERE c.id = target.id;
MERGE INTO target USING contact c ON c.id = target.id WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.name);
-- what is not one
INSERT INTO target (id) SELECT id FROM contact WHERE email = 'u7@x.nl' ORDER BY name;
INSERT INTO target (id) SELECT count(email) FROM contact;
INSERT INTO target (v) SELECT EXISTS (SELECT email FROM contact)::text;
WITH RECURSIVE x (a, b) AS (SELECT 1, email FROM contact WHERE id = 1 UNION ALL SELECT a + 1, b FROM x WHERE a < 3) INSERT INTO target (id) SELECT a FROM x;
INSERT INTO contact (id, email, name) SELECT id + 1000, 'c' || email, name FROM contact WHERE id < 3;
CREATE TABLE copy AS SELECT id FROM contact WHERE name = 'Name 3';
DROP TABLE copy;
-- whoever wants it, says so
SET gdpr.allow_plaintext_copies = on;
CREATE TABLE copy AS SELECT email FROM contact WHERE id = 7;
INSERT INTO target (v) SELECT email FROM copy RETURNING v;
RESET gdpr.allow_plaintext_copies;
SET ROLE test_app;
SET gdpr.allow_plaintext_copies = on;
RESET ROLE;
