-- Masks: what a role sees to which a purpose is granted in mode mask, how it writes, and that it cannot find out more.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP ROLE IF EXISTS test_clerk, test_mason;
CREATE ROLE test_clerk;
CREATE ROLE test_mason;
CREATE SCHEMA masks;
GRANT USAGE ON SCHEMA masks TO test_app, test_clerk, test_mason;
CREATE DOMAIN masks.address AS varchar(60) CHECK (VALUE <> 'nobody');
CREATE DOMAIN masks.mail AS masks.address CHECK (length(VALUE) < 50);
CREATE DOMAIN masks.birthday AS date CHECK (VALUE > '1000-01-01');

-- Each mask on each type that it fits. A case: a value, and what is to be shown of it.
CREATE TABLE masks.kind (name text PRIMARY KEY, masks text[], types text[]);
INSERT INTO masks.kind VALUES
('email', '{email}', '{text,varchar,varchar(60),char(60),citext,masks.mail}'),
('phone', '{phone}', '{text,varchar,char(40),citext}'),
('iban', '{iban}', '{text,varchar(60),citext}'),
('name', '{name}', '{text,varchar(80),citext}'),
('text', '{text}', '{text,varchar(200),char(200),citext}'),
('cut', '{email}', '{varchar(3),char(3)}'),
('cut name', '{name}', '{varchar(3),char(3)}'),
('integer', '{number}', '{integer,bigint,numeric,double precision,real}'),
('smallint', '{number}', '{smallint,"numeric(8,3)"}'),
('bigint', '{number}', '{bigint,numeric}'),
('numeric', '{number}', '{numeric,double precision}'),
('numeric(3,2)', '{number}', '{"numeric(3,2)"}'),
('numeric(3)', '{number}', '{numeric(3)}'),
('wide', '{number}', '{numeric}'),
('real', '{number}', '{real}'),
('double', '{number}', '{double precision}'),
('date', '{year}', '{date}'),
('birthday', '{year}', '{masks.birthday,date,timestamp}'),
('timestamp', '{year}', '{timestamp,timestamp(0)}'),
('timestamptz', '{year}', '{timestamptz,timestamptz(0)}');
CREATE TABLE masks.case (id int GENERATED ALWAYS AS IDENTITY, kind text, value text, mask text);
INSERT INTO masks.case (kind, value, mask) VALUES
-- e-mail
('email', 'jan@example.nl', 'j***@e***.nl'), ('email', 'J.de.Vries+crm@mail.example.co.uk', 'J***@m***.uk'),
('email', 'a@b.nl', 'a***@b***.nl'), ('email', '  jan@example.nl  ', 'j***@e***.nl'),
('email', 'ünal@ökotest.de', 'ü***@ö***.de'), ('email', '日本@例え.テスト', '日***@例***.テスト'),
('email', '🙂@smile.org', '🙂***@s***.org'), ('email', 'o''neil@x-y.museum', 'o***@x***.museum'),
('email', 'jan', '***'), ('email', '', '***'), ('email', ' ', '***'), ('email', '@', '***'), ('email', 'jan@', '***'), ('email', '@example.nl', '***'),
('email', 'jan@localhost', '***'), ('email', 'jan@.nl', '***'), ('email', 'jan@example.', '***'), ('email', 'jan@example.n', '***'),
('email', 'jan@example.nl Jansen', '***'), ('email', 'Jan <jan@example.nl>', '***'),
('email', 'jan@example.nl,piet@x.nl', '***'), ('email', 'jan@192.168.1.17', '***'), ('email', 'jan@x.0612345678', '***'),
('email', 'jan@x.thisisnotopleveldomain', '***'), ('email', E'jan@x.nl\n0612345678', '***'), ('email', 'jan.nl@x', '***'),
('email', '"jan@home"@x.nl', '***'), ('email', E'jan\x01@x.nl', '***'),
-- phone
('phone', '0612345678', '***78'), ('phone', '+31 6 1234 5678', '+***78'), ('phone', '(020) 123-45.67', '***67'),
('phone', '0031612345678', '***78'), ('phone', '+31/6/12345678', '+***78'), ('phone', '1234567', '***67'),
('phone', '123456', '***'), ('phone', '12', '***'), ('phone', '', '***'), ('phone', '+', '***'), ('phone', '--------------', '***'),
('phone', '06-1234567 (Anna)', '***'), ('phone', '31+612345678', '***'), ('phone', '123456789012345678', '***'), ('phone', '٠٦١٢٣٤٥٦٧٨', '***'),
('phone', '06 1234 5678 / 07 8765 4321', '***'),
-- IBAN
('iban', 'NL91ABNA0417164300', 'NL***00'), ('iban', 'nl91 abna 0417 1643 00', 'NL***00'), ('iban', 'NO9386011117947', 'NO***47'),
('iban', 'MT84MALT011000012345MTLCAST001S', 'MT***1S'),
('iban', 'NL91', '***'), ('iban', '', '***'), ('iban', '12345678901234567', '***'), ('iban', 'NL91ABNA041716', '***'),
('iban', 'NLXXABNA0417164300', '***'), ('iban', 'NL91-ABNA-0417-1643-00', '***'), ('iban', 'ÑL91ABNA0417164300', '***'),
('iban', 'NL91ABNA0417164300NL91ABNA0417164300', '***'), ('iban', 'N191ABNA0417164300', '***'),
-- name
('name', 'Jan', 'J***'), ('name', 'Jan de Vries', 'J*** d*** V***'), ('name', 'Anne-Marie  van	Dam', 'A*** v*** D***'), ('name', 'X', 'X***'),
('name', 'Élodie Çelik', 'É*** Ç***'), ('name', '山田 太郎', '山*** 太***'), ('name', ' Jan ', 'J***'), ('name', 'A.B. Ōe', 'A*** Ō***'),
('name', '', '***'), ('name', '  ', '***'), ('name', '0612345678', '***'), ('name', 'Jan (0612345678)', '***'), ('name', '"Jan"', '***'),
('name', 'call the man who lives next door', '***'), ('name', 'Juan Carlos María de los Ríos', 'J*** C*** M*** d*** l*** R***'),
-- text
('text', 'Is ill since March.', '***'), ('text', '', '***'), ('text', '*', '***'), ('text', repeat('long ', 39), '***'), ('text', 'é', '***'), ('text', '日本語', '***'),
-- cut
('cut', 'a@b', '***'), ('cut', '', '***'), ('cut', 'ü', '***'), ('cut', '日本語', '***'),
('cut name', 'Jan', 'J**'), ('cut name', 'J', 'J**'), ('cut name', '日本語', '日**'), ('cut name', '', '***'), ('cut name', 'é è', 'é**'), ('cut name', '🙂', '🙂**'),
-- numbers
('integer', '4321', '4000'), ('integer', '1999', '1000'), ('integer', '-4321', '-4000'), ('integer', '0', '0'), ('integer', '7', '7'), ('integer', '-7', '-7'),
('integer', '10', '10'), ('integer', '9', '9'), ('integer', '99', '90'), ('integer', '2000000000', '2000000000'),
('smallint', '32767', '30000'), ('smallint', '-32768', '-30000'), ('smallint', '1', '1'),
('bigint', '9223372036854775807', '9000000000000000000'), ('bigint', '-9223372036854775808', '-9000000000000000000'),
('numeric', '4321.57', '4000'), ('numeric', '0.0456', '0.04'), ('numeric', '-0.0456', '-0.04'), ('numeric', '0.000', '0'), ('numeric', '0.5', '0.5'), ('numeric', '10.01', '10'),
('numeric', 'NaN', NULL), ('numeric', 'Infinity', NULL), ('numeric', '-Infinity', NULL), ('numeric', '1999.99', '1000'),
('numeric(3,2)', '9.99', '9.00'), ('numeric(3,2)', '0.99', '0.90'), ('numeric(3,2)', '-0.09', '-0.09'), ('numeric(3,2)', '0', '0.00'), ('numeric(3,2)', 'NaN', NULL),
('numeric(3)', '999', '900'), ('numeric(3)', '-999', '-900'), ('numeric(3)', '1', '1'),
('wide', repeat('9', 131072), '9e131071'), ('wide', '0.' || repeat('0', 16381) || '19', '1e-16382'), ('wide', '123456e2995', '1e3000'),
('real', '0.7', '0.7'), ('real', '3.4028235e38', '3e38'), ('real', '-1.5e-45', '-1e-45'), ('real', 'NaN', NULL), ('real', 'Infinity', NULL),
('double', '1.7976931348623157e308', '1e308'), ('double', '5e-324', '5e-324'), ('double', '0.1', '0.1'), ('double', '-0', '-0'), ('double', '123456789.25', '1e8'),
('double', 'NaN', NULL), ('double', '-Infinity', NULL), ('double', '0.30000000000000004', '0.3'),
-- years
('date', '2026-12-31', '2026-01-01'), ('date', '2026-01-01', '2026-01-01'), ('date', 'infinity', NULL), ('date', '-infinity', NULL),
('date', '4714-11-24 BC', NULL), ('date', '4713-06-01 BC', '4713-01-01 BC'), ('date', '5874897-12-31', '5874897-01-01'), ('date', '0001-06-15 BC', '0001-01-01 BC'),
('birthday', '1980-02-29', '1980-01-01'), ('birthday', '2000-12-31', '2000-01-01'),
('timestamp', '2026-07-05 12:34:56.789', '2026-01-01'), ('timestamp', 'infinity', NULL), ('timestamp', '-infinity', NULL),
('timestamp', '294276-12-31 23:59:59', '294276-01-01'), ('timestamp', '4714-11-24 00:00:00 BC', NULL), ('timestamp', '4713-01-01 BC', '4713-01-01 BC'),
('timestamptz', '2026-01-01 00:00:00Z', '2026-01-01 00:00Z'), ('timestamptz', '2025-12-31 23:59:59.4Z', '2025-01-01 00:00Z'), ('timestamptz', '2026-01-01 05:00+10', '2025-01-01 00:00Z'), ('timestamptz', 'infinity', NULL), ('timestamptz', '0044-03-15 12:00Z BC', '0044-01-01 00:00Z BC');

-- a column for each type, v1 to v48, with a row for each case
CREATE TABLE masks.t (id int PRIMARY KEY);
INSERT INTO masks.t SELECT id FROM masks.case UNION ALL VALUES (0);
SELECT gdpr.declare_subject('masks.t');
CREATE VIEW masks.v AS SELECT row_number() OVER () AS n, k.name AS kind, k.masks[1] AS mask, t AS type FROM masks.kind k, unnest(k.types) t;
DO $$
DECLARE v masks.v;
BEGIN
    FOR v IN TABLE masks.v LOOP
        EXECUTE format('ALTER TABLE masks.t ADD v%s %s', v.n, v.type);
        EXECUTE format('UPDATE masks.t SET v%s = value::%s FROM masks.case c WHERE c.id = t.id AND c.kind = %L', v.n, v.type, v.kind);
        PERFORM gdpr.declare_column('masks.t', 'v' || v.n, 'contact', mask => v.mask);
    END LOOP;
END $$;
SELECT gdpr.protect_now('masks.t');
GRANT SELECT, UPDATE ON masks.t TO test_clerk;
CREATE TABLE masks.shown (kind text, type text, id int, shown text, expected text);
RESET client_min_messages;
SELECT gdpr.create_purpose('masks', 'contract', '{contact}');
SELECT gdpr.grant_purpose('masks', 'test_app');
SELECT gdpr.grant_purpose('masks', 'test_clerk', mode => 'mask');
GRANT SELECT ON masks.kind, masks.v, masks.case TO test_clerk;
GRANT INSERT ON masks.shown TO test_clerk;
SET gdpr.purpose = 'masks';
CREATE PROCEDURE masks.show_all() LANGUAGE plpgsql AS $$
DECLARE v masks.v;
BEGIN
    FOR v IN TABLE masks.v LOOP
        EXECUTE format('INSERT INTO masks.shown SELECT %L, %L, t.id, t.v%s::text, (c.mask::%s)::text
            FROM masks.t LEFT JOIN masks.case c ON c.id = t.id AND c.kind = %1$L WHERE c.id IS NOT NULL OR t.id = 0', v.kind, v.type, v.n, v.type);
    END LOOP;
END $$;
SET gdpr.allow_plaintext_copies = on;
SET ROLE test_clerk;
CALL masks.show_all();
RESET ROLE;
SELECT count(*) > 400 AS many, count(*) FILTER (WHERE id = 0) AS nulls FROM masks.shown;
SELECT s.kind, s.type, left(c.value, 60) AS value, left(s.shown, 60) AS shown, left(s.expected, 60) AS expected
FROM masks.shown s LEFT JOIN masks.case c USING (id)
WHERE s.shown IS DISTINCT FROM s.expected ORDER BY s.kind, s.type, id;
-- settings of the session change nothing of them
TRUNCATE masks.shown;
SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'SQL, DMY'; SET extra_float_digits = -15;
SET ROLE test_clerk;
CALL masks.show_all();
RESET ROLE;
RESET TimeZone; RESET DateStyle; RESET extra_float_digits;
SELECT s.kind, s.type, s.id FROM masks.shown s WHERE s.shown IS DISTINCT FROM s.expected ORDER BY s.kind, s.type, id;
SELECT count(*) > 400 AS many FROM masks.shown;
-- what is written back as it was shown is kept, of every type
CREATE TABLE masks.before (row jsonb);
INSERT INTO masks.before SELECT to_jsonb(t) - 'gdpr_sealed' FROM masks.t;
SET ROLE test_clerk;
DO $$ BEGIN
    EXECUTE (SELECT format('UPDATE masks.t SET %s', string_agg(format('v%s = v%1$s', n), ', ')) FROM masks.v);
END $$;
RESET ROLE;
RESET gdpr.allow_plaintext_copies;
SELECT row FROM masks.before EXCEPT ALL SELECT to_jsonb(t) - 'gdpr_sealed' FROM masks.t;

-- Declaring: a mask that does not exist or does not fit is refused.
CREATE TABLE masks.person (id int PRIMARY KEY, email text UNIQUE, name varchar(20) NOT NULL, born date, notes text, visits int, tags text[],
    day time, prefs jsonb, other text);
SELECT gdpr.declare_subject('masks.person');
\set VERBOSITY default
SELECT gdpr.declare_column('masks.person', 'email', 'contact', mask => 'mail');
SELECT gdpr.declare_column('masks.person', 'email', 'contact', mask => '');
SELECT gdpr.declare_column('masks.person', 'visits', 'contact', mask => 'email');
SELECT gdpr.declare_column('masks.person', 'tags', 'contact', mask => 'text');
SELECT gdpr.declare_column('masks.person', 'born', 'contact', mask => 'number');
SELECT gdpr.declare_column('masks.person', 'day', 'contact', mask => 'year');
SELECT gdpr.declare_column('masks.person', 'email', 'contact', mask => 'masks.no_function');
SELECT gdpr.declare_column('masks.person', 'email', 'contact', mask => 'postgres.masks.no_function');
SELECT gdpr.declare_column('masks.person', 'email', 'contact', mask => '.');
SELECT gdpr.set_mask('masks.person', 'email', 'email');
SELECT gdpr.grant_purpose('masks', 'test_clerk', mode => 'blur');
\set VERBOSITY terse
SELECT gdpr.declare_column('masks.person', 'email', 'contact', searchable => true, token_domain => 'masks', mask => 'email'),
       gdpr.declare_column('masks.person', 'name', 'contact', mask => 'name'),
       gdpr.declare_column('masks.person', 'born', 'contact', mask => 'year'),
       gdpr.declare_column('masks.person', 'notes', 'contact', mask => 'text'),
       gdpr.declare_column('masks.person', 'visits', 'contact', mask => 'number'),
       gdpr.declare_column('masks.person', 'tags', 'contact'),
       gdpr.declare_column('masks.person', 'other', 'private', mask => 'text');
SELECT "column", mask FROM gdpr.data_map WHERE relation = 'masks.person'::regclass ORDER BY column_id;
INSERT INTO masks.person VALUES (1, 'Jan@Example.nl', 'Jan de Vries', '1980-05-06', 'is ill', 1234, '{a,b}', '12:00', '{}', 'other'),
    (2, 'piet@example.nl', 'Piet', NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 'jos@elders.nl', 'Jo', '2001-01-01', '', 0, '{}', NULL, NULL, '');
SELECT gdpr.protect_now('masks.person');
GRANT SELECT, INSERT, UPDATE, DELETE ON masks.person TO test_app, test_clerk;

-- Seeing: through every way a row is read.
SET ROLE test_clerk;
SELECT id, email, name, born, notes, visits, tags, day, other FROM masks.person ORDER BY id;
SELECT (p).email, (p).name, p IS NULL FROM (SELECT p FROM masks.person p) x ORDER BY (p).id;
SELECT to_jsonb(p) - 'gdpr_sealed' FROM masks.person p WHERE id = 1;
COPY (SELECT id, email, name FROM masks.person ORDER BY id) TO STDOUT;
INSERT INTO masks.person (id, email, name) VALUES (4, 'new@example.nl', 'New One') RETURNING email, name;
BEGIN; DELETE FROM masks.person WHERE id = 4 RETURNING email, name; ROLLBACK;
SELECT min(email), max(name), count(DISTINCT email), sum(visits), string_agg(notes, '|' ORDER BY id) FROM masks.person;
SELECT email FROM masks.person ORDER BY email COLLATE "C", id;
PREPARE see AS SELECT email FROM masks.person WHERE id = 1;
EXECUTE see;
RESET ROLE;
SET ROLE test_app;
EXECUTE see;
RESET ROLE;
-- privileges add up: reveal through any role wins
GRANT test_app TO test_clerk;
SET ROLE test_clerk;
EXECUTE see;
RESET ROLE;
REVOKE test_app FROM test_clerk;
SET ROLE test_clerk;
EXECUTE see;
RESET ROLE;
SELECT gdpr.grant_purpose('masks', 'test_clerk', 'reveal');
SET ROLE test_clerk; EXECUTE see; RESET ROLE;
SELECT gdpr.grant_purpose('masks', 'test_clerk', 'mask');
SET ROLE test_clerk; EXECUTE see; RESET ROLE;
-- what the purpose does not cover is hidden, not masked
SELECT gdpr.create_purpose('masks_email', 'contract', '{contact}', columns => '{masks.person.email}');
SELECT gdpr.grant_purpose('masks_email', 'test_clerk', 'mask');
SET gdpr.purpose = 'masks_email';
SET ROLE test_clerk;
SELECT id, email, name, born FROM masks.person ORDER BY id;
RESET ROLE;
SET gdpr.purpose = 'masks';
-- triggers see what the session sees
CREATE TABLE masks.heard (n int GENERATED ALWAYS AS IDENTITY, what text);
GRANT INSERT ON masks.heard TO test_clerk;
CREATE FUNCTION masks.hear() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO masks.heard (what) VALUES (concat_ws(' ', TG_NAME, OLD.email, '>', NEW.email, NEW.name));
    RETURN NEW;
END $$;
CREATE TRIGGER first BEFORE UPDATE ON masks.person FOR EACH ROW EXECUTE FUNCTION masks.hear();
CREATE TRIGGER later AFTER UPDATE ON masks.person FOR EACH ROW WHEN (OLD.email LIKE '%*%') EXECUTE FUNCTION masks.hear();
SET ROLE test_clerk;
UPDATE masks.person SET day = '13:00' WHERE id = 1;
UPDATE masks.person p SET (email, name, born, notes, visits, tags, other) = (SELECT s.email, s.name, s.born, s.notes, s.visits, s.tags, s.other FROM masks.person s WHERE s.id = p.id);
RESET ROLE;
SELECT what FROM masks.heard ORDER BY n;
DROP TRIGGER first ON masks.person;
DROP TRIGGER later ON masks.person;

-- Writing: what was shown is kept, all else is refused.
SET ROLE test_clerk;
UPDATE masks.person SET email = 'J***@E***.nl', name = 'J*** d*** V***', born = '1980-01-01', notes = '***', visits = 1000, tags = NULL, other = NULL, day = '14:00' WHERE id = 1;
UPDATE masks.person SET email = 'j***@e***.nl' WHERE id = 1;
UPDATE masks.person SET email = 'Jan@Example.nl' WHERE id = 1;
UPDATE masks.person SET email = NULL WHERE id = 1;
UPDATE masks.person SET tags = '{a,b}' WHERE id = 1;
UPDATE masks.person SET notes = '***' WHERE id = 2;
UPDATE masks.person SET name = upper(name) WHERE id = 1;
UPDATE masks.person SET visits = visits + 1 WHERE id = 1;
INSERT INTO masks.person (id, email, name) VALUES (1, 'Jan@Example.nl', 'Jan de Vries') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO masks.person (id, email, name) VALUES (1, 'J***@E***.nl', 'x') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING id, email;
MERGE INTO masks.person p USING (VALUES (1, 'J***@E***.nl'), (2, 'p***@e***.nl')) v(id, email) ON p.id = v.id WHEN MATCHED THEN UPDATE SET email = v.email, day = '15:00';
RESET ROLE;
SELECT id, email, name, born, notes, visits, tags, day, other FROM masks.person ORDER BY id;

-- Searching: masks are what is compared; a real value finds nothing, and nothing tells that it would.
CREATE TABLE masks.ledger (id int PRIMARY KEY, email text, FOREIGN KEY (id) REFERENCES masks.person);
SELECT gdpr.declare_table('masks.ledger', via => 'id');
SELECT gdpr.declare_column('masks.ledger', 'email', 'contact', searchable => true, token_domain => 'masks', mask => 'email');
SELECT gdpr.protect_now('masks.ledger');
GRANT SELECT, INSERT ON masks.ledger TO test_clerk;
CREATE FUNCTION masks.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP RETURN NEXT line; END LOOP;
END $$;
INSERT INTO masks.ledger SELECT id, email FROM masks.person WHERE id < 4;
SET ROLE test_clerk;
SELECT id FROM masks.person WHERE email = 'Jan@Example.nl';
SELECT id FROM masks.person WHERE lower(email) = 'jan@example.nl';
SELECT id FROM masks.person WHERE email IN ('Jan@Example.nl', 'piet@example.nl');
SELECT id FROM masks.person WHERE email = ANY (ARRAY['Jan@Example.nl']);
SELECT id FROM masks.person WHERE NOT email <> 'Jan@Example.nl';
SELECT id FROM masks.person WHERE email LIKE 'Jan%';
SELECT id FROM masks.person WHERE email >= 'Jan' AND email < 'Jao';
SELECT id FROM masks.person WHERE name = 'Jan de Vries' OR born = '1980-05-06' OR visits = 1234 OR notes = 'is ill';
SELECT id FROM (SELECT id, email FROM masks.person GROUP BY id, email) g WHERE email = 'Jan@Example.nl';
SELECT count(*) FROM masks.person a JOIN masks.person b ON a.email = b.email;
SELECT count(*) FROM masks.ledger a JOIN masks.ledger b ON a.email = b.email WHERE a.id <> b.id;
SELECT count(*) FROM masks.person a WHERE a.email IN (SELECT b.email FROM masks.ledger b);
SELECT count(*) FROM masks.person a WHERE EXISTS (SELECT FROM masks.person b WHERE a.email = b.email);
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT count(*) FROM masks.person a JOIN masks.person b ON a.email = b.email;
RESET enable_hashjoin; RESET enable_mergejoin;
-- by what is shown, where the comparison is not answered by tokens
SELECT id FROM masks.person WHERE name = 'J*** d*** V***';
SELECT id FROM masks.person WHERE email LIKE 'J***%' ORDER BY id;
UPDATE masks.person SET day = '16:00' WHERE email = 'Jan@Example.nl';
DELETE FROM masks.person WHERE email = 'Jan@Example.nl';
-- EXPLAIN ANALYZE says the same, found or not
SET enable_seqscan = off;
SELECT count(*) > 1 AS plan, count(DISTINCT replace(line, email, '?')) * 2 = count(*) AS same
FROM (VALUES ('Jan@Example.nl'), ('nobody@example.nl')) v(email), masks.plan(format('SELECT id FROM masks.person WHERE email = %L', email)) line;
RESET enable_seqscan;
RESET ROLE;
SELECT count(*) FROM masks.person a JOIN masks.person b ON a.email = b.email;
SELECT id FROM masks.person WHERE email = 'Jan@Example.nl';

-- Functions: what such a function must be
CREATE SCHEMA "Mask s" AUTHORIZATION test_mason;
CREATE FUNCTION "Mask s".good(text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT left($1, 2) || '-' || lpad('', 3, '#') || CASE WHEN $1 ~ '@' THEN '@' ELSE coalesce(NULLIF(substring($1 FROM '[0-9]'), ''), '?') END $$;
CREATE FUNCTION masks.initials(value varchar) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT
    RETURN upper((regexp_match(value, '^(.)'))[1]) || repeat('.', 30);
CREATE FUNCTION masks.decade(date) RETURNS date LANGUAGE sql IMMUTABLE
    AS 'SELECT make_date((extract(year FROM $1)::int / 10) * 10, 1, 1)';
CREATE FUNCTION masks.rounded(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 100 * 100';
CREATE FUNCTION masks.first(text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT ARRAY[$1[1]]';
CREATE FUNCTION masks.inverse(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1000 / $1';
SELECT gdpr.set_mask('masks.person', 'email', '"Mask s".good'), gdpr.set_mask('masks.person', 'name', 'masks.initials'),
       gdpr.set_mask('masks.person', 'born', 'masks.decade'), gdpr.set_mask('masks.person', 'visits', 'masks.rounded'),
       gdpr.set_mask('masks.person', 'tags', 'masks.first');
SET ROLE test_clerk;
SELECT id, email, name, born, visits, tags FROM masks.person ORDER BY id;
UPDATE masks.person p SET (email, name, born, visits, tags) = (SELECT s.email, s.name, s.born, s.visits, s.tags FROM masks.person s WHERE s.id = p.id);
UPDATE masks.person SET email = email || 'x';
-- in parallel workers, too
BEGIN;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM masks.plan('SELECT name FROM masks.person') line WHERE line ~ 'Workers Launched: [1-9]';
SELECT string_agg(email, ' ' ORDER BY email), max(name) FROM masks.person;
ROLLBACK;
RESET ROLE;
SELECT id, email, name, born, visits, tags FROM masks.person ORDER BY id;
-- those that are not let near a value
CREATE TABLE masks.leak (what text);
GRANT ALL ON masks.leak TO PUBLIC;
CREATE SEQUENCE masks.counter;
CREATE TYPE masks.mood AS ENUM ('good', 'bad');
CREATE DOMAIN masks.checked AS text CHECK (VALUE <> 'x');
CREATE FUNCTION masks.helper(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'helper %', $1; RETURN $1; END $$;
CREATE FUNCTION masks.spy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'spy is %', current_user; RETURN true; END $$;
CREATE DOMAIN masks.spied AS text CHECK (masks.spy());
CREATE FUNCTION masks.joined(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2';
CREATE OPERATOR masks.||| (LEFTARG = text, RIGHTARG = text, FUNCTION = masks.joined);
CREATE PROCEDURE masks.try(body text, options text DEFAULT 'IMMUTABLE', returns text DEFAULT 'text', argument text DEFAULT 'text') LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION masks.tried(%s) RETURNS %s %s LANGUAGE %s AS %L', argument, returns,
        options, CASE WHEN body ~ '^BEGIN' THEN 'plpgsql' ELSE 'sql' END, body);
    PERFORM gdpr.set_mask('masks.person', 'email', 'masks.tried');
    RAISE NOTICE 'allowed: %', body;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE NOTICE '% | % | %', body, SQLSTATE, coalesce(NULLIF(detail, ''), SQLERRM);
END $$;
SET check_function_bodies = off;
CALL masks.try('SELECT what FROM masks.leak');
CALL masks.try('SELECT masks.helper($1)');
GRANT USAGE ON SCHEMA masks TO PUBLIC; -- else nothing in it is even found
CALL masks.try('SELECT $1', 'STABLE');
CALL masks.try('SELECT $1', '');
CALL masks.try('SELECT $1', 'IMMUTABLE SECURITY DEFINER');
CALL masks.try('SELECT $1', 'IMMUTABLE SET search_path = public');
CALL masks.try('SELECT $1', returns => 'SETOF text');
CALL masks.try('SELECT length($1)', returns => 'integer');
CALL masks.try('SELECT $1', argument => 'text, integer DEFAULT 1');
CALL masks.try('SELECT $1', argument => 'VARIADIC text[]');
CALL masks.try('SELECT $1', argument => 'anyelement', returns => 'anyelement');
CALL masks.try('SELECT $1', returns => 'masks.checked');
CALL masks.try('BEGIN RETURN $1; END');
CALL masks.try('');
CALL masks.try('SELECT 1; SELECT $1');
CALL masks.try('INSERT INTO masks.leak VALUES ($1) RETURNING what');
CALL masks.try('WITH w AS (INSERT INTO masks.leak VALUES ($1) RETURNING what) SELECT what FROM w');
CALL masks.try('SELECT what FROM masks.leak LIMIT 1');
CALL masks.try('SELECT (SELECT email FROM masks.person LIMIT 1)');
CALL masks.try('SELECT max($1)');
CALL masks.try('SELECT $1 FROM generate_series(1, 2)');
CALL masks.try('SELECT unnest(ARRAY[$1])');
CALL masks.try('VALUES ($1)');
CALL masks.try('CREATE TABLE masks.other (a int)');
CALL masks.try('SELECT set_config(''application_name'', $1, false)');
CALL masks.try('SELECT $1 || nextval(''masks.counter'')');
CALL masks.try('SELECT $1 || current_setting(''gdpr.purpose'')');
CALL masks.try('SELECT $1 || current_user');
CALL masks.try('SELECT $1 || CURRENT_DATE');
CALL masks.try('SELECT concat($1)');
CALL masks.try('SELECT masks.helper($1)');
CALL masks.try('SELECT $1 OPERATOR(masks.|||) $1');
CALL masks.try('SELECT $1::masks.checked');
CALL masks.try('SELECT ''{x}''::masks.spied[]::text');
CALL masks.try('SELECT (''{'' || $1 || ''}'')::masks.spied[]::text');
CALL masks.try('SELECT ($1)::regclass::text');
CALL masks.try('SELECT greatest($1::masks.mood, ''bad'')::text');
CALL masks.try('SELECT least($1, ''a'')');
CALL masks.try('SELECT (ROW($1)).f1');
CALL masks.try('SELECT query_to_xml($1, true, true, '''')::text');
CALL masks.try('SELECT pg_read_file($1)');
CALL masks.try('SELECT helper($1)');
CALL masks.try('SELECT $2');
CALL masks.try('SELECT $1 ||');
CALL masks.try('SELECT $1 || (1 / 0)');
CALL masks.try('SELECT NULL');
CALL masks.try('SELECT ''***''');
CALL masks.try('SELECT length($1)');
SET ROLE test_clerk;
SELECT id, email FROM masks.person ORDER BY id;
RESET ROLE;
RESET check_function_bodies;
SELECT * FROM masks.leak;
-- one that fails says nothing of the value, here or in the server's log; nor do its messages
CREATE FUNCTION masks.number(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1::int::text $$;
CREATE FUNCTION masks.words(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT translate($1, 'isl', '')::tsquery::text || '?' $$;
SELECT gdpr.set_mask('masks.person', 'email', 'masks.number'), gdpr.set_mask('masks.person', 'notes', 'masks.words'),
       gdpr.set_mask('masks.person', 'visits', 'masks.inverse');
\set VERBOSITY default
SET ROLE test_clerk;
SELECT email FROM masks.person WHERE id = 1;
-- the first says NOTICE:  text-search query doesn't contain lexemes
SELECT masks.words(' ');
SELECT notes FROM masks.person WHERE id < 4 ORDER BY id;
SELECT visits FROM masks.person WHERE id = 3;
SELECT visits FROM masks.person WHERE id = 1;
\set VERBOSITY terse
-- the session is what it was
DO $$ BEGIN PERFORM email FROM masks.person; EXCEPTION WHEN external_routine_exception THEN
    RAISE NOTICE '% as %, %', SQLERRM, current_user, current_setting('client_min_messages'); END $$;
SELECT current_user, current_setting('client_min_messages'), current_setting('log_min_messages'), current_setting('search_path');
RESET ROLE;
-- one that has changed since it was declared: an error, never the value
SELECT gdpr.set_mask('masks.person', 'email', '"Mask s".good'), gdpr.set_mask('masks.person', 'notes', 'text'), gdpr.set_mask('masks.person', 'visits', NULL);
CREATE PROCEDURE masks.see() LANGUAGE plpgsql AS $$
DECLARE
    shown text;
    detail text;
BEGIN
    SELECT email INTO shown FROM masks.person WHERE id = 1;
    RAISE NOTICE '%', shown;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE NOTICE '% %: %', SQLSTATE, SQLERRM, replace(detail, session_user, '(owner)');
END $$;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
CREATE OR REPLACE FUNCTION "Mask s".good(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'new' $$;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
CREATE OR REPLACE FUNCTION "Mask s".good(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT what FROM masks.leak $$;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER FUNCTION "Mask s".good(text) OWNER TO test_mason;
SET ROLE test_mason;
CREATE OR REPLACE FUNCTION "Mask s".good(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '=' || $1 $$;
RESET ROLE;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER ROLE test_mason SUPERUSER;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER ROLE test_mason NOSUPERUSER;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER TABLE masks.person OWNER TO test_mason;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER TABLE masks.person OWNER TO CURRENT_USER;
ALTER FUNCTION "Mask s".good(text) OWNER TO CURRENT_USER;
ALTER FUNCTION "Mask s".good(text) STABLE;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER FUNCTION "Mask s".good(text) IMMUTABLE;
ALTER FUNCTION "Mask s".good(text) RENAME TO better;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER FUNCTION "Mask s".better(text) RENAME TO good;
ALTER SCHEMA "Mask s" RENAME TO other_masks;
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
ALTER SCHEMA other_masks RENAME TO "Mask s";
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
DROP FUNCTION "Mask s".good(text);
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;
-- who may see the value needs no mask
SET ROLE test_app; CALL masks.see(); RESET ROLE;
SELECT gdpr.set_mask('masks.person', 'email', 'email');
SET ROLE test_clerk; CALL masks.see(); RESET ROLE;

-- Partitions, whose columns have other numbers
CREATE TABLE masks.part (region text, id int, email varchar(30), name text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE masks.part_a (name text, gone int, email varchar(30), id int NOT NULL, region text NOT NULL);
ALTER TABLE masks.part_a DROP COLUMN gone;
ALTER TABLE masks.part ATTACH PARTITION masks.part_a FOR VALUES IN ('a');
CREATE TABLE masks.part_b PARTITION OF masks.part FOR VALUES IN ('b');
INSERT INTO masks.part VALUES ('a', 1, 'anna@a.nl', 'Anna A'), ('b', 2, 'bo@b.nl', 'Bo');
CREATE FUNCTION masks.half(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left($1, length($1) / 2)';
SELECT gdpr.declare_subject('masks.part', 'region, id');
SELECT gdpr.declare_column('masks.part', 'name', 'contact', mask => 'masks.half'),
       gdpr.declare_column('masks.part', 'email', 'contact', mask => 'email');
SELECT gdpr.protect_now('masks.part');
GRANT SELECT, UPDATE ON masks.part, masks.part_a, masks.part_b TO test_clerk;
SET ROLE test_clerk;
SELECT tableoid::regclass, email, name FROM masks.part ORDER BY id;
SELECT email, name FROM masks.part_a;
UPDATE masks.part SET region = 'b', email = email, name = name WHERE id = 1;
SELECT tableoid::regclass, email, name FROM masks.part ORDER BY id;
RESET ROLE;
SELECT tableoid::regclass, email, name FROM masks.part ORDER BY id;

-- Rows that are not sealed yet, while the table is converted
CREATE TABLE masks.convert (id int PRIMARY KEY, email text UNIQUE, name text, filler char(600) DEFAULT '') WITH (fillfactor = 10);
INSERT INTO masks.convert SELECT i, 'p' || i || '@x.nl', 'Name ' || i FROM generate_series(1, 12) i;
SELECT gdpr.declare_subject('masks.convert');
SELECT gdpr.declare_column('masks.convert', 'email', 'contact', searchable => true, mask => 'email'),
       gdpr.declare_column('masks.convert', 'name', 'contact', mask => 'masks.half');
SELECT gdpr.protect_step('masks.convert', 1) FROM generate_series(1, 3);
GRANT SELECT, UPDATE ON masks.convert TO test_clerk;
SELECT count(*) FILTER (WHERE gdpr_sealed IS NULL) > 0 AS open, count(gdpr_sealed) > 0 AS sealed FROM masks.convert;
SET ROLE test_clerk;
SELECT DISTINCT email, name, (c).email FROM masks.convert c ORDER BY 1, 2;
UPDATE masks.convert SET email = email, name = name;
UPDATE masks.convert SET name = 'guess' WHERE id = 12;
SELECT id FROM masks.convert WHERE email = 'p1@x.nl' OR email = 'p12@x.nl';
RESET ROLE;
SELECT count(*) FROM masks.convert WHERE email = 'p' || id || '@x.nl' AND name = 'Name ' || id;

RESET gdpr.purpose;
SET client_min_messages = warning;
DROP SCHEMA masks, "Mask s" CASCADE;
SELECT gdpr.drop_purpose('masks'), gdpr.drop_purpose('masks_email');
DROP ROLE test_clerk, test_mason;
