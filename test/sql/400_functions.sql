-- Every function of the extension, found in the catalog so that a new one is
-- tested too: what it is declared as, who may call it, and what it does with
-- arguments that make no sense.
SET client_min_messages = error;

CREATE VIEW extension_function AS
SELECT p.* FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
WHERE e.extname = 'gdpr';

-- Declarations: each query lists what breaks a rule

SELECT oid::regprocedure AS not_in_schema_gdpr FROM extension_function WHERE pronamespace <> 'gdpr'::regnamespace;
SELECT oid::regprocedure AS without_comment FROM extension_function WHERE obj_description(oid, 'pg_proc') IS NULL;
-- protect() commits, and a procedure with settings of its own cannot: its body is qualified. The names in a body that is
-- one expression were looked up when it was made
SELECT f.oid::regprocedure AS without_search_path FROM extension_function f JOIN pg_language l ON l.oid = f.prolang
WHERE l.lanname NOT IN ('c', 'internal') AND NOT coalesce(f.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
AND (f.prosqlbody IS NULL OR f.prosecdef OR f.prokind <> 'f');
-- what decrypts or depends on keys, settings or tables can change: a peer declared it IMMUTABLE
SELECT f.oid::regprocedure AS immutable_with_keys FROM extension_function f
WHERE f.provolatile = 'i' AND f.proname ~ 'reveal|^token|subject$|^find|status|forget|protect|purpose';
SELECT f.oid::regprocedure AS volatile_and_parallel FROM extension_function f
WHERE f.provolatile = 'v' AND f.proparallel = 's';
-- what runs as the extension's owner is called by those it was granted to; event triggers by nobody
SELECT f.oid::regprocedure AS definer_for_everybody FROM extension_function f
WHERE f.prosecdef AND has_function_privilege('test_guest', f.oid, 'EXECUTE');
SELECT f.oid::regprocedure AS runs_as_extension_owner FROM extension_function f WHERE f.prosecdef
ORDER BY f.oid::regprocedure::text COLLATE "C";
-- only comparisons of envelopes are leakproof
SELECT f.oid::regprocedure AS leakproof FROM extension_function f
WHERE f.proleakproof AND f.proname !~ '^sealed_(eq|ne|lt|le|gt|ge|cmp)$';
-- no table, view or sequence is anybody's
SELECT c.oid::regclass AS relation_of_everybody FROM pg_class c, aclexplode(coalesce(c.relacl,
    acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a
WHERE c.relnamespace = 'gdpr'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND a.grantee = 0;
SELECT a.privilege_type AS schema_for_everybody FROM pg_namespace n, aclexplode(n.nspacl) a
WHERE n.nspname = 'gdpr' AND a.grantee = 0;
-- the data map and the purposes are heard of whoever restores them, triggers disabled or not
SELECT t.tgrelid::regclass || '.' || t.tgname AS trigger_that_replicas_skip
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'gdpr'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A';

-- Calls

CREATE SCHEMA calls;
CREATE TABLE calls.person (id int PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE calls.plain (id int PRIMARY KEY, name text);
INSERT INTO calls.person SELECT i, 'mail-' || i || '@calls.test', 'Calls-' || i || '-Geheim' FROM generate_series(1, 3) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('calls.person');
    PERFORM gdpr.declare_column('calls.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('calls.person', 'name', 'contact');
    PERFORM gdpr.protect_now('calls.person');
    PERFORM gdpr.create_purpose('calls_all', 'contract', ARRAY['contact']);
    PERFORM gdpr.grant_purpose('calls_all', 'test_app');
END $$;
GRANT USAGE ON SCHEMA calls TO test_guest;

-- values that make no sense, by type
CREATE TABLE calls.sample (type regtype, literal text);
INSERT INTO calls.sample
SELECT t::regtype, l FROM (VALUES
    ('text', ARRAY['''id''', '''''', '''nosuch''', 'repeat(''x'', 100000)', '''a.b,"c''', E'E''\\x01''', '''1; DROP TABLE x''']),
    ('name', ARRAY['''''', '''nosuch''']),
    ('regclass', ARRAY['''calls.person''', '0', '4294967295', '''calls.plain''', '''pg_class''', '''gdpr.tombstone''', '''gdpr.data_map''']),
    ('bigint', ARRAY['65536', '0', '-1', '65535', '1099511627776', '9223372036854775807', '(-9223372036854775808)']),
    ('integer', ARRAY['0', '-1', '2147483647', '(-2147483648)']),
    ('date', ARRAY['''infinity''', '''-infinity''', '''2024-02-29''', '''2024-03-01''', '''4713-01-01 BC''']),
    ('oid', ARRAY['0', '4294967295']),
    ('smallint', ARRAY['0', '-1', '16', '32767']),
    ('boolean', ARRAY['true', 'false']),
    ('timestamptz', ARRAY['''infinity''', '''-infinity''', '''2026-01-01''', '''9999-12-31''']),
    ('interval', ARRAY['''0''', '''-1 year''', '''1000000 years''']),
    ('uuid', ARRAY['''00000000-0000-0000-0000-000000000000''']),
    ('tid', ARRAY['''(0,1)''', '''(4294967295,65535)''']),
    ('tid[]', ARRAY['''{}''', '''{NULL}''', '''{"(0,1)","(4294967295,65535)"}''']),
    ('bigint[]', ARRAY['''{65536}''', '''{}''', '''{NULL}''', '''{0,-1,9223372036854775807}''']),
    ('timestamp', ARRAY['''infinity''', '''-infinity''', '''2024-02-29''', '''4713-01-01 BC''']),
    ('timestamptz[]', ARRAY['''{2024-02-29}''', '''{}''', '''{NULL}''', '''{infinity,-infinity}''']),
    ('gdpr.retention_task', ARRAY['ROW((SELECT t.id FROM gdpr.mapped_table t WHERE t.relation = ''calls.person''::regclass), NULL, ''delete'', false, ''{0}'')',
                                  'ROW(0, -1, ''nosuch'', NULL, ''{NULL}'')', 'ROW(NULL, NULL, NULL, true, NULL)']),
    ('gdpr.retention_queue', ARRAY['ROW(0, 0, ''rows'', 0, NULL, ''delete'', false, ''calls.person''::regclass, ''{"(0,1)",NULL}'', NULL)', 'ROW(0, 0, ''orphans'', NULL, NULL, NULL, NULL, NULL, NULL, -1)',
                                   'ROW(0, 0, ''forget'', NULL, NULL, NULL, NULL, NULL, NULL, NULL)', 'ROW(NULL, NULL, ''nosuch'', NULL, NULL, NULL, NULL, NULL, NULL, NULL)']),
    ('gdpr.retention_policy', ARRAY['ROW(1, 1, NULL, 1, ''delete'', ''1 day'', ''last activity'', NULL, NULL, ''UTC'', NULL, now(), NULL)',
                                    'ROW(1, 1, NULL, 1, ''delete'', ''1 day'', ''end of consent'', NULL, NULL, ''nosuch'', NULL, now(), NULL)']),
    ('gdpr.mapped_table', ARRAY['(SELECT t FROM gdpr.mapped_table t WHERE t.relation = ''calls.person''::regclass)', 'ROW(0, 0, ''{}'', ''delete'', true, NULL, NULL, 1, NULL)']),
    ('gdpr.erased[]', ARRAY['ARRAY[ROW(1, ''calls.person''::regclass, ''delete'', 1, ''x'')::gdpr.erased, NULL]', '''{}''']),
    ('gdpr.ordered_table[]', ARRAY['ARRAY(SELECT t FROM gdpr.tables_children_first() t)', 'ARRAY[NULL]::gdpr.ordered_table[]']),
    ('gdpr.purpose', ARRAY['(SELECT p FROM gdpr.purpose p WHERE p.name = ''calls_all'')']),
    ('gdpr.controller', ARRAY['ROW(''x'', NULL, NULL, ''no URL'', ''nosuch'', ''{NULL}'', true, NULL, NULL)']),
    ('gdpr.consent_event', ARRAY['(SELECT e FROM gdpr.consent_event e LIMIT 1)']),
    ('gdpr.hold', ARRAY['(SELECT h FROM gdpr.hold h LIMIT 1)', 'ROW(NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL)']),
    ('bigint[]', ARRAY['''{}''', '''{NULL}''', '''{-1}''']),
    ('regclass[]', ARRAY['''{}''', '''{NULL}''', '''{calls.person}''', '''{pg_class}''']),
    ('text[]', ARRAY['''{}''', '''{NULL}''', '''{nosuch}''', '''{{a},{b}}''']),
    ('bigint[]', ARRAY['''{}''', '''{NULL}''', '''{-1,65536}''', '''{{1},{2}}''']),
    ('name[]', ARRAY['''{}''', '''{NULL}''', '''{nosuch}''']),
    ('integer[]', ARRAY['''{}''', '''{NULL}''', '''{-1}''']),
    ('bigint[]', ARRAY['''{65536}''', '''{}''', '''{NULL}''', '''{-1,0,9223372036854775807}''', '''{{65536},{1}}''']),
    ('smallint[]', ARRAY['''{0}''', '''{}''', '''{NULL}''', '''{-1,15,32767}''']),
    ('jsonb[]', ARRAY['''{1}''', '''{}''', '''{NULL}''']),
    ('bytea', ARRAY['''''', '''\x00''']),
    ('jsonb', ARRAY['''null''', '''[]''']),
    ('json', ARRAY['''{}''', '''null''', '''[]''', '''1''', '''{"version": 1, "tables": [null, {"name": "calls.person", "columns": [{"name": "id"}], "rows": [1]}]}''']),
    ('cstring', ARRAY['''''', '''nosuch''']),
    ('gdpr.sealed', ARRAY['''AQYAAAoAAQECAwBESUdFU1RFRA==''']),
    ('"any"', ARRAY['1', '''x''']),
    ('record', ARRAY['ROW(1, 2)', 'ROW()']),
    ('anyelement', ARRAY['1', 'ROW(1, 2)'])) v(t, ls), unnest(ls) l;
-- every type that a function takes has some, but for those that no SQL can make a value of
SELECT DISTINCT t.oid::regtype AS type_without_samples
FROM extension_function f, unnest(f.proargtypes::oid[]) a JOIN pg_type t ON t.oid = a
WHERE t.oid NOT IN (SELECT type FROM calls.sample) AND t.oid NOT IN ('internal'::regtype, 'gdpr.column_ref'::regtype);

-- all calls of a function: each argument takes each of its samples and NULL
-- while the others have their first, and all are NULL
CREATE FUNCTION calls.calls_of(f oid, OUT call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    kind "char" := (SELECT prokind FROM pg_proc WHERE oid = f);
    types oid[] := (SELECT proargtypes::oid[] FROM pg_proc WHERE oid = f);
    firsts text[] := '{}';
    args text[];
    item text;
    head text := CASE kind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END
        || (SELECT format('%I.%I', n.nspname, p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = f);
    shown text;
BEGIN
    FOR i IN 0 .. coalesce(cardinality(types), 0) - 1 LOOP
        shown := replace(replace(types[i]::regtype::text, '"any"', 'text'), 'anyelement', 'integer');
        firsts := firsts || coalesce((SELECT s.literal || CASE WHEN s.type::text = 'anyelement' THEN '' ELSE '::' || shown END
                                      FROM calls.sample s WHERE s.type = types[i] LIMIT 1), 'NULL::' || shown);
    END LOOP;
    FOR i IN 0 .. coalesce(cardinality(types), 0) - 1 LOOP
        shown := replace(replace(types[i]::regtype::text, '"any"', 'text'), 'anyelement', 'integer');
        FOR item IN SELECT s.literal || CASE WHEN s.type::text = 'anyelement' THEN '' ELSE '::' || shown END
                    FROM calls.sample s WHERE s.type = types[i] UNION ALL SELECT 'NULL::' || shown LOOP
            args := firsts;
            args[i + 1] := item;
            call := head || '(' || array_to_string(args, ', ') || ')';
            RETURN NEXT;
        END LOOP;
    END LOOP;
    SELECT head || '(' || coalesce(string_agg('NULL::' || replace(replace(t::regtype::text, '"any"', 'text'), 'anyelement', 'integer'), ', '), '') || ')'
    INTO call FROM unnest(types) t;
    RETURN NEXT;
END $$;

-- one call, undone whatever it does; what came of it
CREATE FUNCTION calls.attempt(call text, OUT state text, OUT message text) LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
    result text;
BEGIN
    BEGIN
        IF call LIKE 'CALL%' THEN
            EXECUTE call;
        ELSE
            EXECUTE 'SELECT string_agg(r::text, '' '') FROM (' || call || ') AS t(r)' INTO result;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = coalesce(result, '');
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        message := concat_ws(' / ', message, detail, hint);
    END;
END $$;

-- these act outside the transaction, or wait: they are called with NULLs only
CREATE VIEW calls.callable AS
SELECT f.oid, c.call FROM extension_function f, calls.calls_of(f.oid) c(call)
WHERE f.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND NOT f.proargtypes::oid[] && ARRAY['internal'::regtype::oid]
  AND (f.proname !~ '^(rotate_|set_token_epoch|fork_|create_keystore|rewrite_statistics)' OR c.call LIKE '%(NULL%');

CREATE TABLE calls.outcome AS
SELECT c.oid, c.call, a.state, a.message FROM calls.callable c, calls.attempt(c.call) a;
SELECT count(*) > 300 AS many_calls, count(DISTINCT oid) > 40 AS of_many_functions FROM calls.outcome;
-- no internal error, and a sensible class of the others
SELECT call, state, message FROM calls.outcome
WHERE left(state, 2) NOT IN ('0A', '22', '23', '42', '55', 'GD', 'UN') AND state <> 'P0002' -- no_data_found
  AND NOT (state = '2D000' AND call LIKE 'CALL%'); -- a procedure that commits
-- nothing of a person in any answer
SELECT call FROM calls.outcome WHERE message ~ 'Geheim|calls\.test';
-- everything was undone
SELECT count(*) FROM calls.person;

-- a role without rights: what is not for everybody is refused before anything else
CREATE TABLE calls.guest_call AS
SELECT DISTINCT ON (f.oid) f.oid::regprocedure AS function, c.call
FROM extension_function f, calls.calls_of(f.oid) c(call)
WHERE NOT has_function_privilege('test_guest', f.oid, 'EXECUTE') AND NOT f.proargtypes::oid[] && ARRAY['internal'::regtype::oid]
  AND f.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
ORDER BY f.oid, c.call LIKE '%NULL%', c.call;
GRANT SELECT ON calls.guest_call TO test_guest;
SET ROLE test_guest;
SELECT count(*) > 25 AS many FROM calls.guest_call;
SELECT g.function, a.state, a.message FROM calls.guest_call g, calls.attempt(g.call) a WHERE a.state <> '42501';
RESET ROLE;
-- nor can it make a trigger of them
CREATE SCHEMA guest AUTHORIZATION test_guest;
SET ROLE test_guest;
CREATE TABLE guest.mine (id int, gdpr_sealed gdpr.sealed);
\set VERBOSITY terse
CREATE TRIGGER t BEFORE UPDATE ON guest.mine FOR EACH ROW EXECUTE FUNCTION gdpr.guard_open();
CREATE TRIGGER t BEFORE INSERT ON guest.mine FOR EACH ROW EXECUTE FUNCTION gdpr.guard_seal();
RESET ROLE;
-- and a superuser's does not crash
ALTER TABLE guest.mine OWNER TO CURRENT_USER;
CREATE TRIGGER t BEFORE INSERT ON guest.mine FOR EACH ROW EXECUTE FUNCTION gdpr.guard_seal();
INSERT INTO guest.mine VALUES (1);
DROP TRIGGER t ON guest.mine;
CREATE TRIGGER t AFTER INSERT ON guest.mine FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_open();
INSERT INTO guest.mine VALUES (1);
DO $$
DECLARE
    call text;
BEGIN
    FOREACH call IN ARRAY ARRAY['gdpr.sealed_recv(NULL)', 'gdpr.recheck_support(NULL)'] LOOP
        BEGIN
            EXECUTE 'SELECT ' || call;
            RAISE INFO '% is possible', call;
        EXCEPTION WHEN feature_not_supported OR undefined_function THEN
            NULL;               -- nobody makes a value of type internal
        END;
    END LOOP;
END $$;

DROP SCHEMA guest CASCADE;
DROP SCHEMA calls CASCADE;
DROP VIEW extension_function;
SELECT gdpr.drop_purpose('calls_all');
