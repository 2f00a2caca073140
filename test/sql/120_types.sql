-- Every type that CRM tables are made of goes in and comes out the same.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA types;
CREATE TYPE types.colour AS ENUM ('red', 'Green', 'blauw é');
CREATE DOMAIN types.phone AS text CHECK (VALUE IS NULL OR length(VALUE) < 200);
CREATE TYPE types.address AS (street text, "No" integer, since date);
CREATE TABLE types.plain (
    id integer PRIMARY KEY,
    c_text text, c_varchar varchar(40), c_char char(30), c_citext citext, c_name name,
    c_bool boolean, c_int2 smallint, c_int4 integer, c_int8 bigint, c_numeric numeric, c_numeric2 numeric(12,2),
    c_float4 real, c_float8 double precision, c_money money,
    c_date date, c_time time, c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz(3), c_interval interval,
    c_uuid uuid, c_json json, c_jsonb jsonb, c_bytea bytea, c_inet inet, c_macaddr macaddr, c_bit bit(5), c_varbit varbit,
    c_enum types.colour, c_enums types.colour[], c_texts text[], c_ints integer[], c_dates date[], c_jsonbs jsonb[],
    c_domain types.phone, c_composite types.address, c_range daterange, c_multirange int4multirange, c_point point,
    "quoted ""Col""" text, c_xml xml
);
INSERT INTO types.plain VALUES
(1, 'text', 'varchar', 'char', 'CiText', 'name', true, 1, 2, 3, 4.50, 5.25, 6.5, 7.25, '8.90',
 '2026-02-28', '12:34:56.789', '12:34:56+02', '2026-02-28 12:34:56.789', '2026-02-28 12:34:56.789+01', '1 year 2 mons 3 days 04:05:06.7',
 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, 2,  "x"]}', '{"b": {"c": null}}', '\x00ff10', '10.1.2.3/8', '08:00:2b:01:02:03', B'10101', B'111',
 'Green', '{red,"blauw é"}', '{a,"b,c",NULL,"d\"e"}', '{{1,2},{3,NULL}}', '{2026-01-01,infinity}', ARRAY['{"k": 1}'::jsonb, 'null'::jsonb],
 '+31 6 12', ROW('Main "st", 1', 7, '2020-02-02'), '[2026-01-01,2026-03-01)', '{[1,3),[5,9)}', '(1.5,-2)', 'quoted', '<a>b</a>'),
(2, '', '', '', '', '', false, -32768, -2147483648, -9223372036854775808, 'NaN', -0.01, '-Infinity', 'NaN', '-1.5',
 '-infinity', '24:00', '00:00-15:59', 'infinity', '4713-01-01 00:00:00 BC', '-178000000 years',
 '00000000-0000-0000-0000-000000000000', '""', '[]', '', '::1', 'ff:ff:ff:ff:ff:ff', B'00000', B'',
 'red', '{}', '{}', '{}', '{}', '{}', '', ROW('', NULL, NULL), 'empty', '{}', '(0,0)', '', ''),
(3, 'Ünï¢ødé 日本語 🙂', 'ž', 'ß', 'ÀÉÎ', 'ñ', NULL, 32767, 2147483647, 9223372036854775807,
 12345678901234567890123456789012345678901234567890.123456789, 9999999999.99, 3.4e38, 1.7976931348623157e308, '92233720368547758.07',
 '5874897-12-31', '00:00:00.000001', '23:59:59.999999-08:30', '294276-12-31 23:59:59.999999', '1970-01-01 00:00:00Z', '00:00:00.000001',
 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '"🙂"', '\xdeadbeef', '2001:db8::/32', NULL, NULL, B'1', 'blauw é', '{NULL}', '{NULL}', '[5:6]={1,2}', '{NULL}', NULL,
 repeat('9', 199), NULL, '(,)', NULL, NULL, E'it''s a \\ "quoted"\nvalue', NULL);
INSERT INTO types.plain (id) VALUES (4);
INSERT INTO types.plain (id, c_text, c_bytea, c_jsonb) VALUES
(5, repeat('long text ', 120000), decode(repeat('00ff', 300000), 'hex'), jsonb_build_object('big', repeat('j', 50000)));
-- the same table, protected; and once more with searchable columns
CREATE TABLE types.sealed (LIKE types.plain INCLUDING ALL);
INSERT INTO types.sealed SELECT * FROM types.plain;
CREATE TABLE types.later (LIKE types.plain INCLUDING ALL);
CREATE TABLE types.strict (LIKE types.plain INCLUDING ALL);
DO $$
DECLARE c record;
BEGIN
    PERFORM gdpr.declare_subject('types.sealed');
    PERFORM gdpr.declare_subject('types.later');
    FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'types.plain'::regclass AND attnum > 1 LOOP
        PERFORM gdpr.declare_column('types.sealed', c.attname, 'category ' || length(c.attname) % 5);
        PERFORM gdpr.declare_column('types.later', c.attname, 'category 0',
            searchable => c.attname IN ('c_text', 'c_varchar', 'c_char', 'c_citext', 'c_uuid', 'c_bytea', 'c_numeric', 'c_int8', 'quoted "Col"'));
    END LOOP;
END $$;
CALL gdpr.protect('types.sealed');
CALL gdpr.protect('types.later');
SELECT gdpr.create_purpose('types', 'contract', ARRAY(SELECT 'category ' || i FROM generate_series(0, 4) i));
SELECT gdpr.grant_purpose('types', current_user);
RESET client_min_messages;
SET gdpr.purpose = 'types';
INSERT INTO types.later SELECT * FROM types.plain;
-- rows that differ, as text and as bytes: none
SELECT p.id FROM types.plain p JOIN types.sealed s USING (id)
WHERE to_jsonb(p) <> to_jsonb(s) - 'gdpr_sealed' ORDER BY 1;
SELECT p.id FROM types.plain p JOIN types.later s USING (id)
WHERE to_jsonb(p) <> to_jsonb(s) - 'gdpr_sealed' ORDER BY 1;
DO $$
DECLARE c record; n bigint; t text;
BEGIN
    FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'types.plain'::regclass AND attnum > 0 LOOP
        FOREACH t IN ARRAY '{sealed,later}'::text[] LOOP
            EXECUTE format('SELECT count(*) FROM types.plain p JOIN types.%1$I s USING (id)
                WHERE p.%2$I::text IS DISTINCT FROM s.%2$I::text OR pg_typeof(p.%2$I) <> pg_typeof(s.%2$I)
                   OR num_nulls(p.%2$I) <> num_nulls(s.%2$I)', t, c.attname) INTO n;
            IF n > 0 THEN RAISE NOTICE '% differs in % rows of %', c.attname, n, t; END IF;
        END LOOP;
    END LOOP;
END $$;
-- in other settings the same
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'postgres_verbose'; SET TimeZone = 'Asia/Kathmandu'; SET bytea_output = 'escape'; SET extra_float_digits = -5;
INSERT INTO types.strict SELECT * FROM types.plain;
UPDATE types.later SET c_date = c_date, c_range = c_range, c_composite = c_composite, c_float8 = c_float8 WHERE id < 4;
UPDATE types.later SET c_range = daterange(lower(c_range), upper(c_range)), c_composite = ROW((c_composite).street, 8, (c_composite).since) WHERE id = 1;
RESET DateStyle; RESET IntervalStyle; RESET TimeZone; RESET bytea_output; RESET extra_float_digits;
SELECT c_date, c_range, c_composite, c_float8, c_money, c_interval, c_timestamptz AT TIME ZONE 'UTC' AS utc FROM types.later WHERE id IN (1, 3) ORDER BY id;
-- search by every type that can be searched
SELECT 'text' AS by, id FROM types.later WHERE c_text = 'text'
UNION ALL SELECT 'varchar', id FROM types.later WHERE c_varchar = 'ž'
UNION ALL SELECT 'char', id FROM types.later WHERE c_char = 'char'
UNION ALL SELECT 'citext', id FROM types.later WHERE c_citext = 'citEXT'
UNION ALL SELECT 'uuid', id FROM types.later WHERE c_uuid = 'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'
UNION ALL SELECT 'bytea', id FROM types.later WHERE c_bytea = '\xdeadbeef'
UNION ALL SELECT 'numeric', id FROM types.later WHERE c_numeric = 4.5
UNION ALL SELECT 'bigint', id FROM types.later WHERE c_int8 = 3
UNION ALL SELECT 'quoted', id FROM types.later WHERE "quoted ""Col""" = 'quoted'
UNION ALL SELECT 'empty', id FROM types.later WHERE c_text = ''
ORDER BY 1;
SELECT relation, "column" FROM gdpr.find_subjects('citEXT') WHERE relation = 'types.later'::regclass;
-- a column that is NOT NULL keeps a placeholder of its type
CREATE TABLE types.required (id integer PRIMARY KEY, a text NOT NULL, b date NOT NULL, c boolean NOT NULL, d types.colour NOT NULL,
    e jsonb NOT NULL, f uuid NOT NULL, g numeric NOT NULL, h text[] NOT NULL, i citext NOT NULL UNIQUE, j timestamptz NOT NULL, k bytea NOT NULL);
INSERT INTO types.required VALUES (1, 'a', '2001-01-01', true, 'Green', '{}', gen_random_uuid(), 1, '{x}', 'One', '2001-01-01Z', '\x01');
SELECT gdpr.declare_subject('types.required');
SELECT count(gdpr.declare_column('types.required', attname, 'category 1', searchable => attname = 'i'))
FROM pg_attribute WHERE attrelid = 'types.required'::regclass AND attnum > 1;
CALL gdpr.protect('types.required');
SET gdpr.physical = on;
SELECT id, a, b, c, d, e, f, g, h, i ~ '^[a-z2-7]{20}$' AS i, j = '2000-01-01' AS j, k FROM types.required;
RESET gdpr.physical;
SELECT id, a, b, c, d, e, g, h, i, j AT TIME ZONE 'UTC' AS j, k FROM types.required;
INSERT INTO types.required SELECT 2, a, b, c, d, e, f, g, h, 'ONE', j, k FROM types.required;
-- too narrow for a token, or of the wrong type
CREATE TABLE types.narrow (id integer PRIMARY KEY, a varchar(12), b varchar(19) UNIQUE, c integer, d bigint UNIQUE, e date, f numeric(20,2));
SELECT gdpr.declare_subject('types.narrow');
SELECT gdpr.declare_column('types.narrow', 'a', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.narrow');
SELECT gdpr.undeclare_table('types.narrow'); SELECT gdpr.declare_subject('types.narrow');
SELECT gdpr.declare_column('types.narrow', 'b', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.narrow');
SELECT gdpr.undeclare_table('types.narrow'); SELECT gdpr.declare_subject('types.narrow');
SELECT gdpr.declare_column('types.narrow', 'c', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.narrow');
SELECT gdpr.undeclare_table('types.narrow'); SELECT gdpr.declare_subject('types.narrow');
SELECT gdpr.declare_column('types.narrow', 'd', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.narrow');
SELECT gdpr.undeclare_table('types.narrow'); SELECT gdpr.declare_subject('types.narrow');
SELECT gdpr.declare_column('types.narrow', 'f', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.narrow');
-- a type of the name citext that is none
CREATE TYPE types.citext AS ENUM ('a');
CREATE TABLE types.no_citext (id int PRIMARY KEY, v types.citext);
INSERT INTO types.no_citext VALUES (1, 'a');
SELECT gdpr.declare_subject('types.no_citext'); SELECT gdpr.declare_column('types.no_citext', 'v', 'category 1', searchable => true);
SELECT gdpr.protect_now('types.no_citext');
SET client_min_messages = warning;
CALL gdpr.unprotect('types.sealed');
SELECT p.id FROM types.plain p JOIN types.sealed s USING (id) WHERE to_jsonb(p) <> to_jsonb(s) ORDER BY 1;
DROP SCHEMA types CASCADE;
