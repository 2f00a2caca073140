-- Every built-in type that a column can have, its arrays, ranges and
-- multiranges; domains, enums and composites: sealed and revealed bit by bit.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA types_all;
SET search_path = types_all;
-- samples of scalar types; NULL and '' come on top where they are values
CREATE TABLE sample (type text, value text);
INSERT INTO sample VALUES
('aclitem', '=r/' || current_user), ('bit', '1'), ('bit', '0'), ('bool', 't'), ('bool', 'f'), ('bpchar', 'a '), ('bpchar', '   '),
('bytea', '\x'), ('bytea', '\x00ff00'), ('"char"', 'a'), ('"char"', ''), ('"char"', '\377'), ('cid', '4294967295'),
('cidr', '10.0.0.0/8'), ('cidr', '::/0'), ('inet', '10.1.2.3/8'), ('inet', '::ffff:1.2.3.4/96'), ('inet', '0.0.0.0'),
('macaddr', '00:00:00:00:00:00'), ('macaddr8', '08:00:2b:01:02:03:04:05'),
('point', '(-0,1e300)'), ('point', '(NaN,Infinity)'), ('line', '{1,-1,0}'), ('lseg', '[(0,0),(1,1)]'), ('box', '(2,2),(0,0)'),
('path', '[(0,0),(1,1),(2,0)]'), ('path', '((0,0),(1,1),(2,0))'), ('polygon', '((0,0),(1,1),(2,0))'), ('circle', '<(1,2),0>'),
('date', 'infinity'), ('date', '-infinity'), ('date', '4713-01-01 BC'), ('date', '5874897-12-31'), ('date', '2000-01-01'),
('time', '24:00'), ('time', '00:00:00.000001'), ('timetz', '00:00-15:59:59'), ('timetz', '24:00+15:59'),
('timestamp', '-infinity'), ('timestamp', '294276-12-31 23:59:59.999999'), ('timestamptz', '4713-01-01 00:00 BC'), ('timestamptz', 'infinity'),
('interval', '-178000000 years'), ('interval', '1 year -2 mons +3 days -04:05:06.000007'), ('interval', '0'),
('float4', '-0'), ('float4', 'NaN'), ('float4', '1e-45'), ('float4', '-Infinity'),
('float8', '-0'), ('float8', '5e-324'), ('float8', '0.1'), ('float8', 'Infinity'), ('float8', 'NaN'),
('int2', '-32768'), ('int4', '-2147483648'), ('int8', '-9223372036854775808'), ('int8', '9223372036854775807'), ('int4', '0'),
('money', '-92233720368547758.08'), ('money', '0.01'),
('numeric', 'NaN'), ('numeric', '-Infinity'), ('numeric', '1.0'), ('numeric', '1.00'), ('numeric', '0.000'), ('numeric', repeat('9', 1000) || '.' || repeat('1', 1000)),
('json', '{"b": 1,  "a": [ ], "b":2}'), ('json', '"\u0041"'), ('jsonb', '{"b": 1, "a": null}'), ('jsonb', '"\ud83d\ude42"'), ('jsonb', 'null'), ('jsonb', '1.10'),
('jsonpath', 'strict $."a b"[*] ? (@.x like_regex "^y" flag "i" && @.z > 1.50)'),
('xml', ''), ('xml', 'text <b/> &amp; more'),
('name', repeat('n', 63)), ('name', ''), ('oid', '4294967295'), ('oidvector', '1 2 3'), ('oidvector', ''), ('int2vector', '-1 0 1'),
('pg_lsn', 'FFFFFFFF/FFFFFFFF'), ('pg_snapshot', '10:20:10,14,15'), ('txid_snapshot', '10:20:10,14,15'), ('refcursor', 'c "x"'),
('regclass', 'pg_catalog.pg_class'), ('regclass', 'types_all.sample'), ('regclass', '-'), ('regclass', '4000000000'),
('regcollation', '"C"'), ('regconfig', 'simple'), ('regdictionary', 'simple'), ('regnamespace', 'types_all'), ('regoperator', '+(integer,integer)'),
('regprocedure', 'max(integer)'), ('regrole', current_user), ('regtype', 'int4range'), ('regtype', 'types_all.sample[]'),
('text', ''), ('text', 'e' || U&'\0301' || ' é 🙂 ''q" \ ' || chr(10) || chr(9) || chr(1)), ('text', 'NULL'),
('tid', '(4294967295,65535)'), ('tsquery', '''a b'':AB & !(c <-> d:*)'), ('tsquery', ''), ('tsvector', '''a b'':1A,2 c''''d'), ('tsvector', ''),
('uuid', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), ('varbit', ''), ('varbit', '10101010101'), ('varchar', ''), ('varchar', ' ž '), ('xid', '3'), ('xid8', '18446744073709551615');
-- a type without a sample is one that this test does not know; those without
-- an input function that takes them, or without a name for each, are refused
SELECT string_agg(t.typname, ' ' ORDER BY t.typname) AS refused
FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typsubscript <> 'array_subscript_handler'::regproc
    AND t.oid NOT IN (SELECT type::regtype FROM sample);
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(d, ''), nullif(h, ''));
END $$;
-- for each type five columns: of the type, its array, a domain, an array of
-- that, and a composite of all; some types share a table
INSERT INTO sample VALUES
('int4range', '[1,)'), ('int4range', 'empty'), ('int4range', '(,)'), ('int8range', '[1,5)'), ('numrange', '(1.0,1.50]'), ('numrange', '[NaN,NaN]'),
('daterange', '[2020-01-01,infinity]'), ('tsrange', '["2020-01-01 00:00:00.000001","4713-01-01 00:00:00")'), ('tstzrange', '[-infinity,"2020-06-01 12:00+02")'),
('int4multirange', '{[1,3),[5,9)}'), ('int4multirange', '{}'), ('int8multirange', '{(,)}'), ('nummultirange', '{[1.0,2.00],(3,4)}'),
('datemultirange', '{[2020-01-01,2020-02-01)}'), ('tsmultirange', '{[2020-01-01,infinity)}'), ('tstzmultirange', '{("2020-01-01 00:00+00",)}');
CREATE TABLE types AS SELECT type, i, (i + 14) / 15 AS g, samples
FROM (SELECT type, array_agg(value) AS samples, row_number() OVER (ORDER BY type COLLATE "C") AS i FROM sample GROUP BY type) s;
DO $$
DECLARE
    t record;
    k integer;
BEGIN
    FOR t IN SELECT * FROM types ORDER BY i LOOP
        EXECUTE format('CREATE DOMAIN d_%1$s AS %2$s CHECK (VALUE::text IS DISTINCT FROM ''never''); CREATE DOMAIN a_%1$s AS d_%1$s[];
            CREATE TYPE c_%1$s AS (a text, v %2$s, "No" d_%1$s, arr %2$s[])', t.i, t.type);
        EXECUTE format('CREATE TABLE IF NOT EXISTS plain_%1$s AS SELECT id FROM generate_series(1, 11) id;
            ALTER TABLE plain_%1$s ADD v_%2$s %3$s, ADD arr_%2$s %3$s[], ADD d_%2$s d_%2$s, ADD da_%2$s a_%2$s, ADD c_%2$s c_%2$s', t.g, t.i, t.type);
        FOR k IN 1 .. cardinality(t.samples) LOOP
            EXECUTE format('UPDATE plain_%1$s SET (v_%2$s, arr_%2$s, d_%2$s, da_%2$s, c_%2$s) =
                (SELECT s, ARRAY[[s, NULL], [s, s]], s, ARRAY[s, NULL]::d_%2$s[], ROW(''x'', s, s, ARRAY[s])::c_%2$s FROM (SELECT %3$L::%4$s) x (s))
                WHERE id = %5$s', t.g, t.i, t.samples[k], t.type, k);
        END LOOP;
        EXECUTE format('UPDATE plain_%1$s SET arr_%2$s = ''{}'', da_%2$s = ''{}'', c_%2$s = ROW(NULL, NULL, NULL, NULL) WHERE id = 10;
            UPDATE plain_%1$s SET arr_%2$s = ''{NULL}'', da_%2$s = ''[3:3]={NULL}'', c_%2$s = ROW('''', NULL, NULL, ''{}'') WHERE id = 11', t.g, t.i);
    END LOOP;
END $$;
-- sealed by protect, by INSERT, and by UPDATE; each value compared as bytes
CREATE TABLE first (id integer PRIMARY KEY, v text);
SELECT gdpr.declare_subject('first');
SELECT gdpr.declare_column('first', 'v', 'contact');
SELECT gdpr.create_purpose('types all', 'contract', '{contact}');
SELECT gdpr.grant_purpose('types all', current_user);
SET gdpr.purpose = 'types all';
DO $$
DECLARE
    t record;
    columns text[];
BEGIN
    FOR t IN SELECT DISTINCT g FROM types ORDER BY g LOOP
        columns := ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = ('plain_' || t.g)::regclass AND attnum > 1 ORDER BY attnum);
        EXECUTE format('CREATE TABLE sealed_%1$s (LIKE plain_%1$s, PRIMARY KEY (id)); INSERT INTO sealed_%1$s SELECT * FROM plain_%1$s', t.g);
        PERFORM gdpr.declare_subject(('sealed_' || t.g)::regclass);
        PERFORM gdpr.declare_column(('sealed_' || t.g)::regclass, c, 'contact') FROM unnest(columns) c;
        PERFORM gdpr.protect_now(('sealed_' || t.g)::regclass);
        EXECUTE format('INSERT INTO sealed_%1$s SELECT id + 100, %2$s FROM plain_%1$s; INSERT INTO sealed_%1$s (id) SELECT id + 200 FROM plain_%1$s;
            UPDATE sealed_%1$s s SET (%2$s) = (SELECT %2$s FROM plain_%1$s p WHERE s.id = p.id + 200) WHERE id > 200',
            t.g, array_to_string(columns, ', '));
    END LOOP;
END $$;
CREATE FUNCTION differs(g bigint, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE good bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM sealed_%1$s s JOIN plain_%1$s p ON p.id = s.id %% 100
        WHERE record_image_eq(ROW(s.%2$I), ROW(p.%2$I)) AND s.%2$I IS NULL = (p.%2$I IS NULL) AND s.%2$I::text IS NOT DISTINCT FROM p.%2$I::text', g, name)
        INTO good;
    RETURN CASE WHEN good <> 33 THEN format('%s rows are the same', good) END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- expected: nothing
SELECT type, name || i AS name, result FROM types, unnest('{v_,arr_,d_,da_,c_}'::text[]) name, differs(g, name || i) AS result
WHERE result IS NOT NULL ORDER BY 1, 2;
SELECT count(*) > 70 AS types, min(cardinality(samples)), max(cardinality(samples)) < 10 AS all_rows FROM types;
-- text that is not to be parsed anew; values of 1 MB, compressible and not
CREATE TABLE big (id integer PRIMARY KEY, x xml, j json, t text, b bytea, a text[]);
CREATE TABLE big_plain (LIKE big INCLUDING ALL);
INSERT INTO big_plain VALUES
(1, '<?xml version="1.0" encoding="UTF-8"?><a>é</a>', '{"a": 1,  "a": 2 }', repeat('x', 1048576), decode(repeat('00', 1048576), 'hex'), ARRAY[repeat('y', 1048576)]),
(2, '<a/>', to_json(repeat('z', 1048576)), (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i),
    (SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 65536) i), (SELECT array_agg(md5(i::text)) FROM generate_series(1, 32768) i));
SET xmloption = document;
INSERT INTO big_plain VALUES (3, '<!DOCTYPE a><a/>');
RESET xmloption;
INSERT INTO big SELECT * FROM big_plain;
SELECT gdpr.declare_subject('big');
SELECT count(gdpr.declare_column('big', c, 'contact', searchable => c IN ('t', 'b'))) FROM unnest('{x,j,t,b,a}'::text[]) c;
SELECT gdpr.protect_now('big');
INSERT INTO big SELECT id + 10, x, j, t, b, a FROM big_plain;
UPDATE big SET t = t || '!', a = a || 'end'::text WHERE id = 12;
UPDATE big SET t = left(t, -1), a = trim_array(a, 1) WHERE id = 12;
SELECT p.id, count(*) FROM big_plain p JOIN big b ON b.id % 10 = p.id
WHERE record_image_eq(ROW(p.x, p.j, p.t, p.b, p.a), ROW(b.x, b.j, b.t, b.b, b.a)) GROUP BY 1 ORDER BY 1;
SELECT b.id FROM big b JOIN big_plain p ON b.t = p.t AND b.b = p.b ORDER BY 1;
-- not readable back, or not by name
CREATE TABLE refused (id integer PRIMARY KEY, v text);
SELECT gdpr.declare_subject('refused');
SELECT gdpr.declare_column('refused', 'v', 'contact');
CREATE TYPE with_proc AS (a integer, b regproc[]);
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY '{pg_node_tree,pg_ndistinct,gtsvector,regproc,regoper[],with_proc}'::text[] LOOP
        EXECUTE format('ALTER TABLE refused DROP COLUMN v; ALTER TABLE refused ADD COLUMN v %s', t);
        RAISE WARNING '%', try('SELECT gdpr.protect_now(''types_all.refused'')');
    END LOOP;
END $$;

SET client_min_messages = warning;
DROP SCHEMA types_all CASCADE;
