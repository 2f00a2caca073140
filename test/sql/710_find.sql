-- Whom does a value belong to: over the whole data map, in every form in which it may be stored.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE find_regress;
\c find_regress
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE EXTENSION gdpr;
CREATE EXTENSION citext;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE find_officer; CREATE ROLE find_clerk; CREATE ROLE find_other;
CREATE SCHEMA "f %s";
CREATE DOMAIN "f %s".code AS varchar(20);
CREATE TYPE "f %s".colour AS ENUM ('red', 'green');
CREATE TABLE "f %s"."Con tact" (id integer PRIMARY KEY, email text, "E-mail" varchar(60), phone text, iban text, ref uuid, bsn numeric, customer bigint, badge bytea, code "f %s".code, letters char(30), nick citext,
    -- not searchable
    born date, phones text[], "na%me" text, colour "f %s".colour, doc jsonb);
CREATE TABLE "f %s".message (id integer, part integer, to_id integer REFERENCES "f %s"."Con tact", from_id integer REFERENCES "f %s"."Con tact", sender text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE "f %s".message_1 PARTITION OF "f %s".message FOR VALUES IN (1);
CREATE TABLE "f %s".message_2 PARTITION OF "f %s".message FOR VALUES IN (2);
INSERT INTO "f %s"."Con tact" VALUES
    (1, 'ann@example.nl', 'Ann@Example.NL', '0612345678', 'NL91ABNA0417164300', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 123456782, 4711, '\xdeadbeef', 'abc-1', 'letters', 'Ann', '1980-02-03', '{06-12 34 56 78,"x"}', ' Ann  Straat ', 'red', '{"a": 1}'),
    (2, 'BEN@example.nl', 'ben@example.nl', '+31612345678', 'NL91 ABNA 0417 1643 00', NULL, 5.0, -1, '', 'ben', '', 'BEN', '1980-02-03', NULL, 'Ben', 'green', NULL),
    (3, NULL, NULL, '0031612345678', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL),
    (4, 'é' || E'\n' || 'x''y"z', '', '06-1234 5678', 'nl91abna0417164300', NULL, NULL, 31612345678, NULL, NULL, NULL, NULL, 'infinity', '{NULL}', 'red', NULL, NULL);
INSERT INTO "f %s".message VALUES (1, 1, 1, 2, 'ben@example.nl'), (2, 2, 2, 1, 'ann@example.nl'), (3, 2, 1, NULL, 'ann@example.nl');
SELECT gdpr.declare_subject('"f %s"."Con tact"');
SELECT count(gdpr.declare_column('"f %s"."Con tact"', c, 'contact', searchable => true, normalization => CASE WHEN c = 'E-mail' THEN 'lower' ELSE 'none' END))
FROM unnest('{email,E-mail,phone,iban,ref,bsn,customer,badge,code,letters,nick}'::text[]) c;
SELECT count(gdpr.declare_column('"f %s"."Con tact"', c, 'private')) FROM unnest('{born,phones,na%me,colour,doc}'::text[]) c;
SELECT gdpr.declare_table('"f %s".message', via => 'to_id'), gdpr.declare_column('"f %s".message', 'sender', 'contact', searchable => true, subject_via => 'from_id');
SELECT gdpr.protect_now('"f %s"."Con tact"'), gdpr.protect_now('"f %s".message');
SELECT gdpr.create_purpose('requests', 'legal_obligation', '{contact,private}', restricted_ground => 'legal_claims'), gdpr.create_purpose('desk', 'contract', '{contact}');
SELECT gdpr.grant_purpose('requests', 'find_officer'), gdpr.grant_purpose('desk', 'find_clerk');
GRANT USAGE ON SCHEMA "f %s" TO find_officer, find_clerk; GRANT SELECT ON ALL TABLES IN SCHEMA "f %s" TO find_officer; GRANT SELECT ON "f %s"."Con tact" TO find_clerk;
GRANT EXECUTE ON FUNCTION gdpr.find_subjects TO find_officer, find_clerk;
CREATE TABLE n AS SELECT id, gdpr.subject('"f %s"."Con tact"', id::text) AS s FROM "f %s"."Con tact"; GRANT SELECT ON n TO PUBLIC;
CREATE FUNCTION find(value text, country text DEFAULT NULL, scan boolean DEFAULT false) RETURNS TABLE (id integer, "column" name, matched text, form text) LANGUAGE sql AS $$
    SELECT n.id, f."column", f.matched, f.form FROM gdpr.find_subjects($1, $2, $3) f LEFT JOIN n ON n.s = f.subject ORDER BY f."column" COLLATE "C", n.id, f.matched COLLATE "C"
$$;

-- the forms
SELECT v, c, array_agg(f.variant || ' (' || f.form || ')') FROM (VALUES
    ('ann', NULL), (' Ann  Straat ', NULL), ('', NULL), ('ann@example.nl', '31'), ('+31 (0)6 12 34 56 78', NULL), ('+31 (0)6 12 34 56 78', '31'), ('06-12345678', NULL), ('06-12345678', '31'), ('0031612345678', '+31'),
    ('31612345678', '0031'), ('612345678', '31'), ('+44 20 7946 0958', '31'), ('112', '31'), ('12345 AB', '31'), ('nl91 abna 0417164300', NULL), ('NL91-ABNA-0417-1643-00', NULL), ('+++', '31'), ('0000000', '31')) u(v, c),
    gdpr.search_forms(v, c) f GROUP BY v, c ORDER BY v COLLATE "C", c;
SELECT * FROM gdpr.search_forms(NULL);
SELECT * FROM gdpr.search_forms('x', 'NL'); SELECT * FROM gdpr.search_forms('x', ''); SELECT * FROM gdpr.search_forms('x', '00000'); SELECT * FROM gdpr.search_forms('x', '12345');

SET ROLE find_officer; SET gdpr.purpose = 'requests';
SELECT f.subject = n.s AS is, f.relation, f."column", f.form FROM gdpr.find_subjects('ben@example.nl') f JOIN n ON n.id = 2;
SELECT * FROM find('ann@example.nl'); SELECT * FROM find('  ANN@Example.nl'); SELECT * FROM find('ANN');
SELECT * FROM find('+31 6 12 34 56 78'); SELECT * FROM find('06 12345678'); SELECT * FROM find('06 12345678', '31'); SELECT * FROM find('06 12345678', '32');
SELECT * FROM find('nl91 ABNA 0417 1643 00');
SELECT * FROM find('A0EEBC999C0B4EF8BB6D6BB9BD380A11'); SELECT * FROM find('5'); SELECT * FROM find('123456782.000'); SELECT * FROM find('4711'); SELECT * FROM find('-1'); SELECT * FROM find('\xDEADBEEF'); SELECT * FROM find('abc-1'); SELECT * FROM find('letters');
SELECT * FROM find(E'é\nx''y"z'); SELECT * FROM find(''); SELECT * FROM find(NULL); SELECT * FROM find('nobody'); SELECT * FROM find(repeat('x', 100000)); SELECT * FROM find('abc-1' || repeat(' ', 50) || 'z');
SELECT * FROM find('x', 'nowhere');
-- only with scan: what is not searchable, or stored in yet another form
SELECT * FROM find('Ann Straat'); SELECT * FROM find('red'); SELECT * FROM find('3-Feb-1980');
SELECT * FROM find('ann  straat', scan => true); SELECT * FROM find('red', scan => true); SELECT * FROM find('3-Feb-1980', scan => true); SELECT * FROM find('0612345678', '31', true); SELECT * FROM find('NL91ABNA0417164300', scan => true);
SELECT * FROM find('{}', scan => true); SELECT * FROM find('x', scan => true); SELECT * FROM find(NULL, scan => true); SELECT * FROM find('infinity', scan => true); SELECT * FROM find('5', scan => true); SELECT * FROM find('{"a":1}', scan => true); SELECT * FROM find('ANN STRAAT', scan => true);
-- a search is a search: by the index, and nobody else is opened
RESET ROLE; RESET gdpr.purpose;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP RETURN NEXT substring(line FROM '^[^(]*(Index Scan|Bitmap Index Scan|Seq Scan)'); END LOOP;
END $$;
CREATE INDEX ON "f %s"."Con tact" (email); CREATE INDEX ON "f %s"."Con tact" (lower("E-mail"));
SET enable_seqscan = off;
SELECT p FROM plan($$SELECT id FROM "f %s"."Con tact" t WHERE t.email OPERATOR(pg_catalog.=) ANY ('{a,b}'::text[])$$) p WHERE p IS NOT NULL;
SELECT p FROM plan($$SELECT id FROM "f %s"."Con tact" t WHERE lower(t."E-mail"::text COLLATE "default") = ANY ('{a,b}')$$) p WHERE p IS NOT NULL;
RESET enable_seqscan;
-- recorded: of whom a value was shown
CREATE PROCEDURE wait() LANGUAGE plpgsql AS $$
DECLARE
    mark text := 'mark ' || clock_timestamp();
BEGIN
    PERFORM set_config('gdpr.actor', mark, true);
    PERFORM gdpr.accesses(65536);
    COMMIT;
    FOR i IN 1 .. 400 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.actor = mark) THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'records do not come';
END $$;
SET ROLE find_officer; SET gdpr.purpose = 'requests'; SET gdpr.actor = 'searching';
SELECT * FROM find('ann@example.nl');
SET gdpr.actor = 'scanning';
SELECT * FROM find('Ben', scan => true);
RESET gdpr.actor; RESET ROLE; RESET gdpr.purpose;
CALL wait();
SELECT l.actor, l.columns, l.actions, array_agg(n.id ORDER BY n.id) AS persons FROM gdpr.audit_log l JOIN n ON l.subjects @> n.s WHERE l.actor IN ('searching', 'scanning') AND 'reveal' = ANY (l.actions) GROUP BY l.record, l.actor, l.columns, l.actions ORDER BY l.record;

-- what the caller may not see, it does not find: no purpose, other tables, restricted persons
SET ROLE find_officer;
SELECT * FROM find('ann@example.nl');
SET ROLE find_clerk; SET gdpr.purpose = 'desk';
SELECT * FROM find('ann@example.nl'); SELECT * FROM find('red', scan => true);
SET ROLE find_other;
SELECT * FROM find('ann@example.nl');
RESET ROLE;
SELECT gdpr.restrict(s) IS NOT NULL AS restricted FROM n WHERE id = 1;
SET ROLE find_clerk; SELECT * FROM find('ann@example.nl');
SET ROLE find_officer; SET gdpr.purpose = 'requests'; SELECT * FROM find('ann@example.nl');
RESET ROLE;
-- of merged persons, the number that the row has
SELECT gdpr.merge_subjects(a.s, b.s) = a.s AS merged FROM n a, n b WHERE a.id = 1 AND b.id = 2;
SET ROLE find_clerk; SET gdpr.purpose = 'desk'; SELECT * FROM find('ben@example.nl');
SET ROLE find_officer; SET gdpr.purpose = 'requests'; SELECT * FROM find('ben@example.nl');
RESET ROLE; RESET gdpr.purpose;
SELECT count(gdpr.unmerge_subjects(s)) FROM n WHERE id = 2;
-- while a table is converted: a row that is not sealed has no number yet; in either epoch of tokens
CREATE TABLE "f %s".lead (id integer PRIMARY KEY, email text, note text);
INSERT INTO "f %s".lead SELECT i, 'lead' || i || '@example.nl', 'x' FROM generate_series(1, 3) i;
SELECT gdpr.declare_subject('"f %s".lead'), gdpr.declare_column('"f %s".lead', 'email', 'contact', searchable => true);
GRANT SELECT ON "f %s".lead TO find_officer;
SELECT count(gdpr.protect_step('"f %s".lead', 1)) AS steps FROM generate_series(1, 1);
INSERT INTO "f %s".lead VALUES (4, 'lead1@example.nl'), (5, 'lead3@example.nl');
SET ROLE find_officer; SET gdpr.purpose = 'requests';
SELECT subject IS NULL AS has_no_number, matched FROM gdpr.find_subjects('lead1@example.nl') ORDER BY 1;
SELECT subject IS NULL AS has_no_number, matched FROM gdpr.find_subjects('lead3@example.nl') ORDER BY 1;
RESET ROLE; RESET gdpr.purpose;
CALL gdpr.protect('"f %s".lead');
CREATE TABLE e AS SELECT gdpr.token_epoch() AS epoch;
SELECT count(gdpr.rotate_step(1, NULL)) AS begun, count(gdpr.rotate_step(1, epoch + 1)) AS steps FROM e, generate_series(1, 3);
SELECT count(*) > 0 AS some_in_two_epochs FROM gdpr.mapped_table WHERE other_form IS NOT NULL;
SET ROLE find_officer; SET gdpr.purpose = 'requests';
SELECT subject IS NULL AS has_no_number, matched FROM gdpr.find_subjects('lead1@example.nl') ORDER BY 1;
SELECT * FROM find('ben@example.nl');
RESET ROLE; RESET gdpr.purpose;
CALL gdpr.rotate_tokens();
SET ROLE find_officer; SET gdpr.purpose = 'requests';
SELECT * FROM find('ben@example.nl');
RESET ROLE; RESET gdpr.purpose;
-- the forgotten are not there
SELECT gdpr.forget(s) IS NOT NULL AS forgotten FROM n WHERE id = 2;
SET ROLE find_officer; SET gdpr.purpose = 'requests'; SELECT * FROM find('ben@example.nl'); SELECT * FROM find('ben@example.nl', scan => true);
RESET ROLE; RESET gdpr.purpose;
-- casts and operators of a table's owner do not run as whoever searches
CREATE ROLE find_evil; CREATE SCHEMA ev AUTHORIZATION find_evil; CREATE TABLE ran (who name, what text); GRANT INSERT ON ran TO PUBLIC;
SET ROLE find_evil;
CREATE TYPE ev.kind AS ENUM ('a', 'b'); CREATE TYPE ev.pair AS (n integer, t text);
CREATE FUNCTION ev.kind_text(ev.kind) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ran VALUES (current_user, 'kind'); RETURN 'x'; END $$;
CREATE FUNCTION ev.text_kind(text) RETURNS ev.kind LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ran VALUES (current_user, 'text'); RETURN 'a'; END $$;
CREATE FUNCTION ev.pair_text(ev.pair) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ran VALUES (current_user, 'pair'); RETURN 'x'; END $$;
CREATE FUNCTION ev.equal(ev.kind, ev.kind) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ran VALUES (current_user, 'equal'); RETURN true; END $$;
CREATE CAST (ev.kind AS text) WITH FUNCTION ev.kind_text AS IMPLICIT; CREATE CAST (text AS ev.kind) WITH FUNCTION ev.text_kind AS IMPLICIT;
CREATE CAST (ev.pair AS text) WITH FUNCTION ev.pair_text AS IMPLICIT; CREATE OPERATOR ev.= (LEFTARG = ev.kind, RIGHTARG = ev.kind, FUNCTION = ev.equal);
CREATE TABLE ev.thing (id integer PRIMARY KEY, kind ev.kind, kinds ev.kind[], pair ev.pair, pairs ev.pair[]);
RESET ROLE;
SELECT gdpr.declare_subject('ev.thing');
SELECT count(gdpr.declare_column('ev.thing', c, 'private')) FROM unnest('{kind,kinds,pair,pairs}'::text[]) c;
SELECT gdpr.protect_now('ev.thing');
INSERT INTO ev.thing VALUES (1, 'a', '{b,NULL}', '(1,one)', '{"(2,two)"}'), (2, NULL, NULL, NULL, NULL);
DELETE FROM ran; SET gdpr.purpose = 'requests'; SELECT gdpr.grant_purpose('requests', current_user);
SELECT relation, "column", matched, form FROM gdpr.find_subjects('a', scan => true) WHERE relation = 'ev.thing'::regclass;
SELECT relation, "column", matched, form FROM gdpr.find_subjects('B', scan => true) WHERE relation = 'ev.thing'::regclass;
SELECT relation, "column", matched, form FROM gdpr.find_subjects('(1,one)', scan => true) WHERE relation = 'ev.thing'::regclass;
SELECT relation, "column", matched, form FROM gdpr.find_subjects('(2,TWO)', scan => true) WHERE relation = 'ev.thing'::regclass;
SELECT count(*) FROM gdpr.find_subjects('', scan => true) WHERE relation = 'ev.thing'::regclass;
TABLE ran;
RESET gdpr.purpose;
\c :home
DROP DATABASE find_regress;
DROP ROLE find_officer, find_clerk, find_other, find_evil;
