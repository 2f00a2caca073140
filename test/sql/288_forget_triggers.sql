-- What triggers do while somebody is forgotten: names they do not qualify, rows they would keep.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE test_ft_owner;
CREATE ROLE test_ft_officer;
CREATE SCHEMA ft AUTHORIZATION test_ft_owner;
CREATE SCHEMA ft_evil;
GRANT USAGE, CREATE ON SCHEMA ft_evil TO test_ft_officer;
GRANT USAGE ON SCHEMA ft_evil TO PUBLIC;
GRANT EXECUTE ON FUNCTION gdpr.forget(bigint, text, text) TO test_ft_officer;
CREATE TABLE public.ft_log (n integer GENERATED ALWAYS AS IDENTITY, line text);
GRANT ALL ON public.ft_log TO PUBLIC;
SET ROLE test_ft_owner;
CREATE TABLE ft.ft_log (n integer GENERATED ALWAYS AS IDENTITY, line text);
CREATE TABLE ft.person (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE ft.orders (id integer PRIMARY KEY, person_id integer REFERENCES ft.person ON DELETE SET NULL, item text);
CREATE TABLE ft.ticket (id integer PRIMARY KEY, person_id integer REFERENCES ft.person ON DELETE SET NULL, question text, note text);
CREATE TABLE ft.visit (id integer PRIMARY KEY, person_id integer REFERENCES ft.person ON DELETE CASCADE);
INSERT INTO ft.person SELECT i, 'Name ' || i FROM generate_series(1, 7) i;
INSERT INTO ft.orders SELECT i, i, 'item ' || i FROM generate_series(1, 7) i;
INSERT INTO ft.ticket SELECT i, i, 'question ' || i, 'note ' || i FROM generate_series(1, 6) i;
INSERT INTO ft.visit SELECT i, i FROM generate_series(1, 6) i;
CREATE FUNCTION ft.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ft_log (line) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_TABLE_NAME, OLD.id, current_user, current_schemas(false)));
    RETURN coalesce(NEW, OLD);
END $$;
CREATE FUNCTION ft.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER watch BEFORE DELETE ON ft.person FOR EACH ROW EXECUTE FUNCTION ft.watch();
CREATE TRIGGER watch AFTER DELETE ON ft.orders FOR EACH ROW EXECUTE FUNCTION ft.watch();
CREATE TRIGGER watch AFTER UPDATE ON ft.ticket FOR EACH ROW EXECUTE FUNCTION ft.watch();
CREATE TRIGGER watch AFTER DELETE ON ft.visit FOR EACH ROW EXECUTE FUNCTION ft.watch();
RESET ROLE;
SELECT gdpr.declare_subject('ft.person');
SELECT gdpr.declare_column('ft.person', 'name', 'contact');
SELECT gdpr.declare_table('ft.orders', via => 'person_id');
SELECT gdpr.declare_column('ft.orders', 'item', 'content');
SELECT gdpr.declare_table('ft.ticket', via => 'person_id', on_forget => 'erase');
SELECT gdpr.declare_column('ft.ticket', 'question', 'content');
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY '{person,orders,ticket}'::text[] LOOP PERFORM gdpr.protect_now(('ft.' || t)::regclass); END LOOP;
END $$;
SELECT gdpr.create_purpose('ft', 'contract', '{contact,content}');
SELECT gdpr.grant_purpose('ft', current_user);
SET gdpr.purpose = 'ft';
RESET client_min_messages;
SELECT gdpr.subject('ft.person', '1') AS p1, gdpr.subject('ft.person', '2') AS p2, gdpr.subject('ft.person', '3') AS p3,
       gdpr.subject('ft.person', '4') AS p4, gdpr.subject('ft.person', '5') AS p5, gdpr.subject('ft.person', '6') AS p6 \gset

-- the search path of the owner, whose code it is
ALTER ROLE test_ft_owner SET search_path = ft, pg_catalog;
SELECT gdpr.forget(:p1) IS NOT NULL AS forgotten;
SELECT line FROM ft.ft_log ORDER BY n;
SELECT count(*) FROM public.ft_log;
-- not the caller's, who could put something of his in it
SET SESSION AUTHORIZATION test_ft_officer;
CREATE TABLE ft_evil.ft_log (line text);
GRANT ALL ON ft_evil.ft_log TO PUBLIC;
SET search_path = ft_evil;
SELECT gdpr.forget(:p2) IS NOT NULL AS forgotten;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM ft.ft_log;
ALTER ROLE test_ft_owner RESET search_path;
SET SESSION AUTHORIZATION test_ft_officer;
SELECT gdpr.forget(:p3) IS NOT NULL AS forgotten;
SHOW search_path;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM ft_evil.ft_log;
RESET search_path;
SELECT line FROM public.ft_log ORDER BY n;
SELECT gdpr.forget(:p4) IS NOT NULL AS forgotten;
SELECT count(*) FROM public.ft_log;
SHOW search_path;

-- a trigger that keeps rows: they are erased
CREATE TRIGGER keep BEFORE DELETE ON ft.orders FOR EACH ROW WHEN (OLD.id >= 5) EXECUTE FUNCTION ft.nothing();
SELECT gdpr.forget(:p5) AS erasure \gset
SELECT jsonb_path_query_array(relations, '$[*] ? (@.relation like_regex "orders")') AS orders FROM gdpr.erasure WHERE id = :'erasure';
SELECT id, item FROM ft.orders ORDER BY id;
SELECT bool_or(gdpr.has_values(gdpr_sealed, :p5, NULL)) AS has_values FROM ft.orders WHERE id = 5;
-- triggers that keep values: they go nevertheless
CREATE TRIGGER "same" BEFORE UPDATE ON ft.ticket FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TRIGGER keep BEFORE UPDATE ON ft.ticket FOR EACH ROW WHEN (OLD.id = 6) EXECUTE FUNCTION ft.nothing();
CREATE TRIGGER keep_all BEFORE UPDATE ON ft.orders FOR EACH ROW EXECUTE FUNCTION ft.nothing();
BEGIN;
SELECT gdpr.forget(:p6, category => 'content') IS NOT NULL AS forgotten;
SELECT id, question, note FROM ft.ticket WHERE id = 6;
SELECT bool_or(gdpr.has_values(gdpr_sealed, :p6, NULL)) AS has_values FROM (SELECT id, gdpr_sealed FROM ft.ticket UNION ALL SELECT id, gdpr_sealed FROM ft.orders) r WHERE id = 6;
ROLLBACK;
SELECT gdpr.forget(:p6) AS erasure \gset
SELECT relations FROM gdpr.erasure WHERE id = :'erasure';
SELECT id, item FROM ft.orders ORDER BY id;
SELECT id, question, note FROM ft.ticket ORDER BY id;
SELECT id, name FROM ft.person;
-- what the application does is held back as ever
UPDATE ft.orders SET item = 'new' WHERE id = 7;
SELECT id, item FROM ft.orders ORDER BY id;
SET client_min_messages = warning;
SELECT gdpr.drop_purpose('ft');
DROP SCHEMA ft, ft_evil CASCADE;
DROP TABLE public.ft_log;
REVOKE EXECUTE ON FUNCTION gdpr.forget(bigint, text, text) FROM test_ft_officer;
DROP ROLE test_ft_owner, test_ft_officer;
