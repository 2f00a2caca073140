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
('xml', '<?xml version="1.0" encoding="UTF-8"?><a>é</a>'), ('xml', ''), ('xml', 'text <b/> &amp; more'),
('name', repeat('n', 63)), ('name', ''), ('oid', '4294967295'), ('oidvector', '1 2 3'), ('oidvector', ''), ('int2vector', '-1 0 1'),
('pg_lsn', 'FFFFFFFF/FFFFFFFF'), ('pg_snapshot', '10:20:10,14,15'), ('txid_snapshot', '10:20:10,14,15'), ('refcursor', 'c "x"'),
('regclass', 'pg_catalog.pg_class'), ('regclass', 'types_all.sample'), ('regclass', '-'), ('regclass', '4000000000'),
('regcollation', '"C"'), ('regconfig', 'simple'), ('regdictionary', 'simple'), ('regnamespace', 'types_all'), ('regoper', '||/'), ('regoperator', '+(integer,integer)'),
('regproc', 'now'), ('regproc', '2116'), ('regprocedure', 'max(integer)'), ('regrole', current_user), ('regtype', 'int4range'), ('regtype', 'types_all.sample[]'),
('text', ''), ('text', 'e' || U&'\0301' || ' é 🙂 ''q" \ ' || chr(10) || chr(9) || chr(1)), ('text', 'NULL'),
('tid', '(4294967295,65535)'), ('tsquery', '''a b'':AB & !(c <-> d:*)'), ('tsquery', ''), ('tsvector', '''a b'':1A,2 c''''d'), ('tsvector', ''),
('uuid', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), ('varbit', ''), ('varbit', '10101010101'), ('varchar', ''), ('varchar', ' ž '), ('xid', '3'), ('xid8', '18446744073709551615');
-- a type without a sample is one that this test does not know; those without
-- an input function that takes anything are refused
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
-- a table for each type, of the type, its array, and domains over both; for
-- ranges and multiranges the samples are made of the scalars
CREATE DOMAIN one AS integer;
INSERT INTO sample VALUES
('int4range', '[1,)'), ('int4range', 'empty'), ('int4range', '(,)'), ('int8range', '[1,5)'), ('numrange', '(1.0,1.50]'), ('numrange', '[NaN,NaN]'),
('daterange', '[2020-01-01,infinity]'), ('tsrange', '["2020-01-01 00:00:00.000001","4713-01-01 00:00:00")'), ('tstzrange', '[-infinity,"2020-06-01 12:00+02")'),
('int4multirange', '{[1,3),[5,9)}'), ('int4multirange', '{}'), ('int8multirange', '{(,)}'), ('nummultirange', '{[1.0,2.00],(3,4)}'),
('datemultirange', '{[2020-01-01,2020-02-01)}'), ('tsmultirange', '{[2020-01-01,infinity)}'), ('tstzmultirange', '{("2020-01-01 00:00+00",)}');
DO $$
DECLARE
    t record;
    n text;
BEGIN
    FOR t IN SELECT type, string_agg(format('(%L::%s)', value, type), ', ') AS samples, row_number() OVER (ORDER BY type) AS i FROM sample GROUP BY type LOOP
        n := format('t%s', t.i);
        EXECUTE format('CREATE DOMAIN d_%s AS %s CHECK (VALUE::text IS DISTINCT FROM ''never''); CREATE DOMAIN a_%1$s AS d_%1$s[];
            CREATE TYPE c_%1$s AS (a text, v %2$s, "No" d_%1$s, arr %2$s[])', n, t.type);
        EXECUTE format('CREATE TABLE plain_%1$s (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, v %2$s, arr %2$s[], d d_%1$s, da a_%1$s, c c_%1$s)', n, t.type);
        EXECUTE format($i$INSERT INTO plain_%1$s (v, arr, d, da, c)
            SELECT s.v, ARRAY[[s.v, NULL], [s.v, s.v]], s.v, ARRAY[s.v, NULL]::d_%1$s[], ROW('x', s.v, s.v, ARRAY[s.v])::c_%1$s
            FROM (VALUES %3$s) s (v)
            UNION ALL SELECT NULL, NULL, NULL, NULL, NULL
            UNION ALL SELECT NULL, '{}', NULL, '{}', ROW(NULL, NULL, NULL, NULL)::c_%1$s
            UNION ALL SELECT NULL, '{NULL}', NULL, '[3:3]={NULL}', ROW('', NULL, NULL, '{}')::c_%1$s$i$, n, t.type, t.samples);
    END LOOP;
END $$;
-- sealed by protect, by INSERT, and by UPDATE; each row compared as bytes
CREATE TABLE first (id integer PRIMARY KEY, v text);
SELECT gdpr.declare_subject('first');
SELECT gdpr.declare_column('first', 'v', 'c');
SELECT gdpr.create_purpose('types all', 'contract', '{c}');
SELECT gdpr.grant_purpose('types all', current_user);
SET gdpr.purpose = 'types all';
CREATE FUNCTION round_trips(n text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plain text := 'plain_' || n;
    sealed text := 'sealed_' || n;
    bad bigint;
    c text;
BEGIN
    EXECUTE format('CREATE TABLE %1$I (LIKE %2$I INCLUDING ALL); INSERT INTO %1$I OVERRIDING SYSTEM VALUE SELECT * FROM %2$I', sealed, plain);
    PERFORM gdpr.declare_subject(sealed::regclass, key => 'id');
    FOREACH c IN ARRAY '{v,arr,d,da,c}'::text[] LOOP
        PERFORM gdpr.declare_column(sealed::regclass, c, 'c');
    END LOOP;
    PERFORM gdpr.protect_now(sealed::regclass);
    EXECUTE format('INSERT INTO %I OVERRIDING SYSTEM VALUE SELECT id + 100, v, arr, d, da, c FROM %I', sealed, plain);
    EXECUTE format('INSERT INTO %I (id) OVERRIDING SYSTEM VALUE SELECT id + 200 FROM %I', sealed, plain);
    EXECUTE format('UPDATE %I s SET v = p.v, arr = p.arr, d = p.d, da = p.da, c = p.c FROM %I p WHERE s.id = p.id + 200', sealed, plain);
    EXECUTE format('SELECT count(*) FROM %I', sealed) INTO bad;
    IF bad % 3 <> 0 THEN RETURN 'rows are missing'; END IF;
    FOREACH c IN ARRAY '{v,arr,d,da,c}'::text[] LOOP
        EXECUTE format('SELECT count(*) FROM %1$I s JOIN %2$I p ON p.id = s.id %% 100
            WHERE NOT record_image_eq(ROW(s.%3$I), ROW(p.%3$I)) OR s.%3$I IS NULL <> (p.%3$I IS NULL) OR s.%3$I::text IS DISTINCT FROM p.%3$I::text', sealed, plain, c) INTO bad;
        IF bad > 0 THEN RETURN format('%s rows differ in %s', bad, c); END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- expected: nothing
SELECT type, format_type(type::regtype, NULL) AS name, result
FROM (SELECT DISTINCT type, dense_rank() OVER (ORDER BY type) AS i FROM sample) s, round_trips('t' || i) AS result
WHERE result IS NOT NULL ORDER BY 1;
