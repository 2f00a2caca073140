-- What every other test relies on: the extension, a keystore, an application
-- role with a purpose, one without.
SET client_min_messages = warning;
DROP ROLE IF EXISTS test_app, test_guest, test_other;
CREATE EXTENSION gdpr;
CREATE EXTENSION citext;
RESET client_min_messages;
-- nothing works before there is a keystore, and says so
SELECT problem FROM gdpr.keystore_status();
SET client_min_messages = warning;
SELECT gdpr.create_keystore() IS NOT NULL AS created;
RESET client_min_messages;
SELECT problem IS NULL AS usable FROM gdpr.keystore_status();
\set VERBOSITY terse
DO $$ BEGIN PERFORM gdpr.create_keystore();
EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%', regexp_replace(SQLERRM, '[0-9a-f-]{36}', '(uuid)'); END $$;
CREATE ROLE test_app;
CREATE ROLE test_guest;
CREATE ROLE test_other;
-- everything has a comment, and what changes or discloses something is not for everybody
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'gdpr'::regnamespace
  AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'gdpr'::regnamespace AND c.relkind IN ('r', 'v', 'S')
  AND c.relname !~ '_id_seq$' AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT p.oid::regprocedure AS callable_by_public FROM pg_proc p
WHERE p.pronamespace = 'gdpr'::regnamespace AND has_function_privilege('test_guest', p.oid, 'EXECUTE')
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS readable_by_public FROM pg_class c WHERE c.relnamespace = 'gdpr'::regnamespace
  AND c.relkind IN ('r', 'v') AND has_table_privilege('test_guest', c.oid, 'SELECT,INSERT,UPDATE,DELETE');
-- functions that run as their owner fix the search path
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'gdpr'::regnamespace AND p.prosecdef
  AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false);
