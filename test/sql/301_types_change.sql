-- Types and names that change: before a table is protected and after; searches
-- by every searchable type; other settings at reading than at writing.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA types_change;
SET search_path = types_change, public;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE h text;
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(h, ''));
END $$;
-- searchable: what is equal is found, and only that
CREATE TABLE s (id integer PRIMARY KEY, t text, vc varchar(30), bp char(20), n numeric, n2 numeric(40, 2), b bytea, u uuid, i bigint, l text);
SELECT gdpr.declare_subject('s');
SELECT count(gdpr.declare_column('s', c, 'contact', searchable => true)) FROM unnest('{t,vc,bp,n,n2,b,u,i}'::text[]) c;
SELECT gdpr.declare_column('s', 'l', 'contact', searchable => true, normalization => 'lower');
SELECT gdpr.create_purpose('types change', 'contract', '{contact}');
SELECT gdpr.grant_purpose('types change', current_user);
SET gdpr.purpose = 'types change';
INSERT INTO s VALUES
(1, 'a', 'a', 'a', 1.0, 1, '\x00', '00000000-0000-0000-0000-000000000001', 1, 'MiXed'),
(2, 'a ', 'a ', 'a ', 1.00, 1.00, '\x', NULL, -1, 'mixed'),
(3, '', '', '', 'NaN', 'NaN', '\x0000', NULL, 0, ''),
(4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(5, U&'e\0301', 'É', 'é', -0.0, 0, '\xff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 9223372036854775807, 'ÉÉ'),
(6, U&'\00e9', '🙂', '🙂', 0, 0.00, '\xff00', NULL, -9223372036854775808, 'éé'),
(7, 'NULL', 'null', '''', 'Infinity', 12345678901234567890123456789012345678.91, NULL, NULL, 1, '"'),
(8, NULL, NULL, NULL, '-Infinity', NULL, NULL, NULL, NULL, NULL);
CREATE TABLE s_plain AS TABLE s;
SELECT gdpr.protect_now('s');
INSERT INTO s SELECT id + 10, t, vc, bp, n, n2, b, u, i, l FROM s_plain;
CREATE FUNCTION found(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE a integer[]; b integer[];
BEGIN
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM s_plain WHERE ' || condition INTO a;
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM s WHERE id < 10 AND (' || condition || ')' INTO b;
    IF a IS DISTINCT FROM b THEN RETURN format('DIFFERENT %s %s', a, b); END IF;
    EXECUTE 'SELECT array_agg(id - 10 ORDER BY id) FROM s WHERE id > 10 AND (' || condition || ')' INTO b;
    RETURN CASE WHEN a IS DISTINCT FROM b THEN format('DIFFERENT %s %s', a, b) ELSE coalesce(a::text, 'none') END;
END $$;
SELECT c AS condition, found(c) FROM unnest(ARRAY[
    $$t = 'a'$$, $$t = 'a '$$, $$t = 'a'::char(5)$$, $$t = ''$$, $$t = NULL$$, $$t IS NULL$$, $$t = U&'e\0301'$$, $$t = 'NULL'$$, $$t IN ('a', NULL)$$, $$t COLLATE "C" = 'a'$$,
    $$vc = 'a'$$, $$vc = 'a'::text$$, $$vc = 'a '::varchar$$, $$vc = '🙂'$$, $$vc = ANY (ARRAY['a', '', NULL])$$, $$vc::text = 'É'$$,
    $$bp = 'a'$$, $$bp = 'a   '$$, $$bp = 'a'::text$$, $$bp = ''$$, $$bp::text = 'a'$$, $$bp = 'a'::char(3)$$, $$bp IN ('é', '''')$$,
    $$n = 1$$, $$n = 1.000$$, $$n = 'NaN'$$, $$n = 'NaN'::float8$$, $$n = 1::float8$$, $$n = 'Infinity'$$, $$n = '-Infinity'$$, $$n = 0.000$$, $$n = 1::bigint$$, $$n IN (1, 0)$$,
    $$n2 = 1$$, $$n2 = 12345678901234567890123456789012345678.910$$, $$n2 = 'NaN'$$,
    $$b = '\x'$$, $$b = '\x00'$$, $$b = '\xff00'$$, $$u = 'FFFFFFFF-ffffffff-ffff-ffffffffffff'$$,
    $$i = 1$$, $$i = 1::smallint$$, $$i = 1.0$$, $$i = -9223372036854775808$$, $$i = 1 OR i = 0$$,
    $$l = 'mixed'$$, $$lower(l) = 'mixed'$$, $$lower(l) = 'éé'$$, $$l = 'ÉÉ'$$, $$upper(l) = 'MIXED'$$]) WITH ORDINALITY AS u (c, o) ORDER BY o;
-- names
CREATE SCHEMA "Weird ""schéma";
CREATE TABLE "Weird ""schéma"."Tàble ""x"" of sixty-three bytes, which is all that a name can be" (
    "Ké""y" integer, gone text, "Sub""key" text, "Weird ""name" text, "select" text CHECK ("select" <> ''''), "näme of sixty-three bytes, with blanks and 'quotes' and ""those""" text NOT NULL DEFAULT '"', gone_too integer,
    "%s %I" varchar(40) UNIQUE, PRIMARY KEY ("Ké""y", "Sub""key"));
ALTER TABLE "Weird ""schéma"."Tàble ""x"" of sixty-three bytes, which is all that a name can be" DROP COLUMN gone, DROP COLUMN gone_too;
CREATE FUNCTION weird() RETURNS regclass LANGUAGE sql AS $$ SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND (relname LIKE 'Tàble%' OR relname = 'T%s') $$;
SELECT weird(), (SELECT max(octet_length(attname)) FROM pg_attribute WHERE attrelid = weird()) AS bytes;
INSERT INTO "Weird ""schéma"."Tàble ""x"" of sixty-three bytes, which is all that a name can be" VALUES (1, 'k', 'one', 'two', 'three', 'four');
SELECT gdpr.declare_subject(weird());
SELECT count(gdpr.declare_column(weird(), attname, 'contact', searchable => attname ~ '%|select')) FROM pg_attribute
WHERE attrelid = weird() AND attnum > 3 AND NOT attisdropped;
CALL gdpr.protect(weird());
SET search_path = "Weird ""schéma", types_change, public;
ALTER TABLE "Tàble ""x"" of sixty-three bytes, which is all that a name can be" RENAME TO "T%s";
INSERT INTO "T%s" ("Ké""y", "Sub""key", "select", "%s %I") VALUES (2, 'k', 'drie', 'vier');
SELECT "Weird ""name", "select", "näme of sixty-three bytes, with blanks and 'quotes' and ""those""" AS long, "%s %I" FROM "T%s" ORDER BY "Ké""y";
SELECT try('INSERT INTO "T%s" VALUES (3, ''k'', ''x'', '''''''')'), try('INSERT INTO "T%s" ("Ké""y", "Sub""key", "%s %I") VALUES (3, ''k'', ''vier'')');
-- renamed, and columns dropped and added, while it is protected
ALTER TABLE "T%s" RENAME "Weird ""name" TO "other ""name";
ALTER TABLE "T%s" RENAME "Sub""key" TO plain_key;
ALTER TABLE "T%s" ADD added text DEFAULT 'new', ADD more integer;
ALTER TABLE "T%s" DROP COLUMN more;
ALTER SCHEMA "Weird ""schéma" RENAME TO "weird 2";
ALTER TABLE "weird 2"."T%s" SET SCHEMA types_change;
UPDATE "T%s" SET "other ""name" = 'changed', added = 'x' WHERE "%s %I" = 'vier' AND plain_key = 'k';
SELECT "Ké""y", "other ""name", added, "select" FROM "T%s" ORDER BY 1;
SELECT gdpr.subject('"T%s"', '(2,k)') = gdpr.subject_number(gdpr_sealed) AS same FROM "T%s" WHERE "Ké""y" = 2;
SELECT relation, "column" FROM gdpr.find_subjects('vier');
SELECT try('ALTER TABLE "T%s" DROP COLUMN "other ""name"');
CALL gdpr.unprotect(weird());
SELECT * FROM "T%s" ORDER BY 1;
\d "T%s"
-- types of columns
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE TYPE addr AS (street text, no integer, gone text);
ALTER TYPE addr DROP ATTRIBUTE gone;
CREATE DOMAIN code AS varchar(20) CHECK (VALUE ~ '^[a-z]*$');
CREATE DOMAIN must AS text NOT NULL;
CREATE TABLE c (id integer PRIMARY KEY, t varchar(10), n integer, k colour, ks colour[], a addr, an addr[], d code, da code[], plain integer);
INSERT INTO c VALUES (1, 'a', 7, 'red', '{red,green}', ('x', 1), ARRAY[('y', 2)::addr, NULL], 'abc', '{abc,NULL}', 1);
ALTER TABLE c ALTER t TYPE varchar(30), ALTER n TYPE bigint;
SELECT gdpr.declare_subject('c');
SELECT count(gdpr.declare_column('c', x, 'contact', searchable => x = 't')) FROM unnest('{t,n,k,ks,a,an,d,da}'::text[]) x;
SELECT gdpr.protect_now('c');
INSERT INTO c SELECT 2, t, n, k, ks, a, an, d, da, 2 FROM c;
SELECT s, try(s) FROM unnest(ARRAY[
    'ALTER TABLE c ALTER t TYPE varchar(20)', 'ALTER TABLE c ALTER t TYPE varchar(40)', 'ALTER TABLE c ALTER t TYPE text', 'ALTER TABLE c ALTER t TYPE varchar(40)', 'ALTER TABLE c ALTER n TYPE numeric', 'ALTER TABLE c ALTER k TYPE text',
    'ALTER TABLE c ALTER id TYPE bigint', 'ALTER TABLE c ALTER plain TYPE bigint', 'ALTER TABLE c ALTER plain TYPE text USING t',
    'ALTER TYPE colour RENAME VALUE ''red'' TO ''rood''', 'ALTER TYPE addr ADD ATTRIBUTE city text', 'ALTER TYPE addr DROP ATTRIBUTE no', 'ALTER TYPE addr ALTER ATTRIBUTE no TYPE text',
    'ALTER TYPE addr RENAME ATTRIBUTE no TO number', 'ALTER TYPE addr RENAME TO address', 'ALTER TYPE colour RENAME TO color', 'ALTER TYPE address SET SCHEMA public', 'ALTER DOMAIN code RENAME TO kode',
    'ALTER TABLE c ADD m must', 'ALTER DOMAIN kode ADD CHECK (VALUE <> ''abc'') NOT VALID', 'ALTER DOMAIN kode ADD CHECK (VALUE <> ''abc'')', 'ALTER DOMAIN kode SET NOT NULL',
    'ALTER TABLE c ALTER n SET NOT NULL', 'ALTER TABLE c ALTER t SET NOT NULL', 'ALTER TABLE c ALTER t DROP NOT NULL', 'ALTER TABLE c ALTER t SET DEFAULT ''x''']) WITH ORDINALITY AS u (s, o) ORDER BY o;
ALTER TYPE color ADD VALUE 'amber' BEFORE 'green';
SELECT try($$INSERT INTO c (id, d) VALUES (3, 'abc')$$), try($$INSERT INTO c (id, d) VALUES (3, 'ABC')$$), try($$UPDATE c SET n = 8 WHERE id = 1$$);
INSERT INTO c (id, k, ks) VALUES (4, 'amber', '{amber,red}');
SELECT id, t, n, k, ks, a, an, d, da, plain FROM c ORDER BY k, id;
INSERT INTO c (id, t) VALUES (5, repeat('long ', 20));
SELECT id FROM c WHERE t IN ('a', repeat('long ', 20)) ORDER BY 1;
CALL gdpr.unprotect('c');
SELECT id, length(t) AS t, n, k, ks, a, an, d, da, plain FROM c ORDER BY id;
ALTER TYPE public.address SET SCHEMA types_change;
-- domains with constraints: where NULL and placeholders pass
CREATE DOMAIN not_null_check AS text CHECK (VALUE IS NOT NULL);
CREATE DOMAIN of_not_null AS must;
CREATE DOMAIN lax AS text CHECK (VALUE <> 'bad' OR VALUE IS NULL);
CREATE TABLE dom (id integer PRIMARY KEY, v text);
SELECT gdpr.declare_subject('dom');
SELECT gdpr.declare_column('dom', 'v', 'contact');
CREATE FUNCTION try_domain(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    EXECUTE format('ALTER TABLE dom DROP COLUMN v; ALTER TABLE dom ADD COLUMN v %s', t);
    result := try('SELECT gdpr.protect_now(''dom'')');
    IF result = 'done' THEN
        result := concat_ws(', ', try('INSERT INTO dom VALUES (1, ''{good}'')'), try('INSERT INTO dom VALUES (2, ''bad'')'), try('UPDATE dom SET v = ''bad'''), try('UPDATE dom SET v = NULL'));
        DELETE FROM dom;
        PERFORM gdpr.unprotect_now('dom');
    END IF;
    RETURN result;
END $$;
SELECT t, try_domain(t) FROM unnest(ARRAY['not_null_check', 'of_not_null', 'must', 'lax', 'lax NOT NULL', 'must[]']) WITH ORDINALITY u (t, o) ORDER BY o;
-- settings differ between writing and reading
CREATE TYPE addr2 AS (f float8, i interval, t timestamptz, b bytea, m money);
CREATE TABLE w (id integer PRIMARY KEY, i interval, ts timestamptz, tr tstzrange, f float8, fa float8[], b bytea, a addr2, m money, d daterange, x xml);
CREATE TABLE w_plain (LIKE w INCLUDING ALL);
INSERT INTO w_plain VALUES (1, '-1 mon 2 days -03:04:05.6', '2026-10-25 02:30+02', '[2026-01-01 00:00+05,infinity)', 0.1 + 0.2, ARRAY[1e-300, 'NaN'], '\x00ff27',
    ROW(0.1 + 0.2, '1 year -1 day', '2026-03-29 01:00Z', '\x5c00', -1234.5), 1234567.89, '[2026-01-02,2026-02-03)', '<a/>');
SELECT gdpr.declare_subject('w');
SELECT count(gdpr.declare_column('w', x, 'contact')) FROM unnest('{i,ts,tr,f,fa,b,a,m,d,x}'::text[]) x;
SELECT gdpr.protect_now('w');
SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET TimeZone = 'America/St_Johns'; SET bytea_output = 'escape'; SET extra_float_digits = -10;
SET lc_monetary = 'C.UTF-8'; SET xmloption = document; SET xmlbinary = hex;
INSERT INTO w SELECT * FROM w_plain;
SELECT record_image_eq(ROW(p.*), ROW(w.id, w.i, w.ts, w.tr, w.f, w.fa, w.b, w.a, w.m, w.d, w.x)) FROM w JOIN w_plain p USING (id);
SELECT i, ts, tr, f, fa, b, a, d FROM w;
SET DateStyle = 'German'; SET IntervalStyle = 'postgres_verbose'; SET TimeZone = 'Asia/Kathmandu'; SET bytea_output = 'hex'; SET extra_float_digits = 0;
SELECT record_image_eq(ROW(p.*), ROW(w.id, w.i, w.ts, w.tr, w.f, w.fa, w.b, w.a, w.m, w.d, w.x)) FROM w JOIN w_plain p USING (id);
UPDATE w SET tr = tr, a = a, f = f; -- what is shown, written back
UPDATE w SET tr = tstzrange(lower(tr), upper(tr)), a = ROW((a).f, (a).i, (a).t, (a).b, (a).m);
SELECT record_image_eq(ROW(p.*), ROW(w.id, w.i, w.ts, w.tr, w.f, w.fa, w.b, w.a, w.m, w.d, w.x)) FROM w JOIN w_plain p USING (id);
RESET ALL;
SET client_min_messages = warning;
DROP SCHEMA types_change, "weird 2" CASCADE;
