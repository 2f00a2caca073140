-- Who may be entered twice: by tokens alone.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE duplicates_regress;
\c duplicates_regress
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
SELECT * FROM gdpr.duplicates();
CREATE ROLE duplicates_owner; CREATE ROLE duplicates_other;
CREATE SCHEMA d AUTHORIZATION duplicates_owner;
SET ROLE duplicates_owner;
CREATE TABLE d."Con tact" (id integer PRIMARY KEY, name text NOT NULL, born text, email text, "e%mail" varchar(60), city text, secret text);
CREATE TABLE d.lead (id integer, part integer, name text, mail varchar(80) NOT NULL, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE d.lead_0 PARTITION OF d.lead FOR VALUES IN (0);
CREATE TABLE d.lead_1 PARTITION OF d.lead FOR VALUES IN (1);
CREATE TABLE d.message (id integer PRIMARY KEY, to_id integer REFERENCES d."Con tact", from_id integer REFERENCES d."Con tact", sender text);
INSERT INTO d."Con tact" SELECT i, 'name ' || i % 20, 'born ' || i % 23, 'mail' || i || '@example.nl', NULL, 'city', 'same' FROM generate_series(1, 200) i;
-- 10 and 20 have the same mail, 30 and 40 the same but for case, 50 and 60 name and date of birth; 70 to 77 the address of an office
UPDATE d."Con tact" SET email = 'double@example.nl' WHERE id IN (10, 20);
UPDATE d."Con tact" SET "e%mail" = CASE id WHEN 30 THEN 'Case@example.nl' ELSE 'case@EXAMPLE.nl' END WHERE id IN (30, 40);
UPDATE d."Con tact" SET born = 'born x' WHERE id IN (50, 60, 1, 3, 5, 7);
UPDATE d."Con tact" SET name = 'name 10' WHERE id IN (50, 60);
UPDATE d."Con tact" SET email = 'office@example.nl' WHERE id BETWEEN 70 AND 77;
INSERT INTO d.lead VALUES (1, 1, 'name 90', 'mail90@example.nl'), (2, 0, 'x', 'other@example.nl'), (3, 1, 'y', 'other@example.nl');
INSERT INTO d.message VALUES (1, 5, 100, 'private100@example.nl'), (2, 6, 101, 'private100@example.nl');
RESET ROLE;
SELECT gdpr.declare_subject('d."Con tact"'), gdpr.declare_column('d."Con tact"', 'email', 'contact', searchable => true, token_domain => 'mail'),
       gdpr.declare_column('d."Con tact"', 'e%mail', 'contact', searchable => true, normalization => 'lower'), gdpr.declare_column('d."Con tact"', 'secret', 'contact');
SELECT count(gdpr.declare_column('d."Con tact"', c, 'identity', searchable => true)) FROM unnest('{name,born,city}'::text[]) c;
SELECT gdpr.declare_subject('d.lead'), gdpr.declare_column('d.lead', 'mail', 'contact', searchable => true, token_domain => 'mail'), gdpr.declare_column('d.lead', 'name', 'identity');
SELECT gdpr.declare_table('d.message', via => 'to_id'), gdpr.declare_column('d.message', 'sender', 'contact', searchable => true, subject_via => 'from_id');
SELECT gdpr.protect_now('d."Con tact"'), gdpr.protect_now('d.lead'), gdpr.protect_now('d.message');
CREATE TABLE n AS SELECT id::text, gdpr.subject('d."Con tact"', id::text) AS s FROM d."Con tact" UNION ALL SELECT 'lead ' || id, gdpr.subject_number(gdpr_sealed) FROM d.lead;
CREATE FUNCTION n(id text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT s FROM n WHERE n.id = $1';
CREATE FUNCTION pairs(max_pairs integer DEFAULT 100, max_sharing integer DEFAULT 5, relations regclass[] DEFAULT NULL) RETURNS TABLE (one text, another text, weight numeric, reasons text[]) LANGUAGE sql AS
    'SELECT a.id, b.id, d.weight, d.reasons FROM gdpr.duplicates($1, $2, $3) WITH ORDINALITY d(s, o, weight, reasons, place) JOIN n a ON a.s = d.s JOIN n b ON b.s = d.o ORDER BY d.place';
SELECT * FROM gdpr.duplicates(0); SELECT * FROM gdpr.duplicates(NULL); SELECT * FROM gdpr.duplicates(max_sharing => 1); SELECT * FROM gdpr.duplicates(max_sharing => NULL);
SET ROLE duplicates_other; SELECT * FROM gdpr.duplicates(); RESET ROLE;
SELECT * FROM pairs();
SELECT * FROM pairs(max_pairs => 2);
SELECT count(*), min(weight), max(weight) FROM pairs(max_pairs => 10000, max_sharing => 8) WHERE one !~ $$lead$$ AND reasons = '{"d.\"Con tact\".email"}' AND one::integer BETWEEN 70 AND 77;
SELECT * FROM pairs(relations => '{d.lead,d.message}');
SELECT * FROM pairs(relations => '{}');
-- a purpose, or a wish to see what is stored, makes no difference
SET gdpr.physical = on; SELECT count(*) FROM pairs(); RESET gdpr.physical;
-- decided: one, or not; restricted; forgotten
SELECT gdpr.merge_subjects(n('10'), n('20')) = n('10') AS merged, gdpr.not_duplicates(n('40'), n('30')), gdpr.restrict(n('90')) IS NOT NULL AS restricted;
SELECT * FROM pairs();
SELECT gdpr.unmerge_subjects(n('20')) = n('10') AS separated, gdpr.lift_restriction(n('90'), informed_at => now()) AS lifted;
SELECT * FROM pairs();
-- a merged person is found by what any of its numbers has; a decision holds for all of them
SELECT gdpr.merge_subjects(n('100'), n('2')) = n('100') AS merged, gdpr.merge_subjects(n('30'), n('3')) = n('30') AS merged;
SELECT * FROM pairs();
SELECT gdpr.forget(n('50')) IS NOT NULL AND gdpr.forget(n('lead 2')) IS NOT NULL AND gdpr.forget(n('101'), category => 'contact') IS NOT NULL AS forgotten;
SELECT * FROM pairs();
-- rows that are not sealed yet are not looked at
CALL gdpr.unprotect('d.lead');
INSERT INTO d.lead SELECT i, 0, 'z', 'open@example.nl' FROM generate_series(10, 11) i;
SELECT gdpr.protect_step('d.lead', 1) IS NOT NULL AS step;
SELECT count(*) FROM gdpr.duplicates(relations => '{d.lead}');
\c :home
DROP DATABASE duplicates_regress;
DROP ROLE duplicates_owner, duplicates_other;
