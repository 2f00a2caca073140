-- gdpr: privacy enforced at the database layer
\echo Use "CREATE EXTENSION gdpr" to load this file. \quit
-- A schema of this name that somebody made beforehand could be dropped, or added to, by its owner.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
               WHERE n.nspname OPERATOR(pg_catalog.=) 'gdpr' AND NOT r.rolsuper AND r.rolname OPERATOR(pg_catalog.<>) current_user) THEN
        RAISE EXCEPTION 'schema gdpr exists and belongs to a role that is not a superuser'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Look what is in it, and drop it or change its owner.';
    END IF;
END $$;
GRANT USAGE ON SCHEMA gdpr TO PUBLIC; -- what discloses or changes anything is revoked function by function
