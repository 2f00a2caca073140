-- Triggers of the application on a protected table: their names, what BEFORE triggers and transition tables see.
\getenv dir PG_ABS_SRCDIR
\set setup :dir '/sql/rewrite.inc'
\set ECHO none
\i :setup
\set ECHO all
\set VERBOSITY terse
SET search_path = rw_crm, rw, public;
CREATE FUNCTION passes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(NEW, OLD); END';
\set VERBOSITY default
CREATE TRIGGER "~~" BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION passes();
\set VERBOSITY terse
CREATE TRIGGER " t" BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION passes();
CREATE TRIGGER "été" BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION passes();
-- where the order does not matter, neither does the name
CREATE TRIGGER "~~" AFTER INSERT ON contact FOR EACH ROW EXECUTE FUNCTION passes();
CREATE TRIGGER harmless BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION passes();
ALTER TRIGGER "~~" ON contact RENAME TO " ";
ALTER TRIGGER harmless ON contact RENAME TO "~~";
DROP TRIGGER " " ON contact;
DROP TRIGGER harmless ON contact;
-- BEFORE triggers see and change the values of NEW, in a copy of each schema
SET client_min_messages = warning;
DO $do$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{rw_plain,rw_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TABLE log (n serial, line text);
        CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.name := initcap(trim(NEW.name));
            IF NEW.phone LIKE '00%' THEN
                NEW.phone := '+' || substr(NEW.phone, 3);
            END IF;
            NEW.note := jsonb_build_object('mail', NEW.email, 'home', NEW.home);
            RETURN NEW;
        END $$;
        CREATE FUNCTION only_short() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''%: too long'', NEW.name; END';
        CREATE FUNCTION summary() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                INSERT INTO log (line) SELECT format('%s: %s -> %s, %s', n.id, o.name, n.name, (o.home).city)
                FROM new_rows n JOIN old_rows o USING (id) WHERE n.email LIKE 'u%' ORDER BY 1;
                INSERT INTO log (line) SELECT (SELECT max(upper(email)) FROM new_rows) || count(*) FROM old_rows WHERE email = 'u9@x.nl';
            ELSE
                INSERT INTO log (line) SELECT to_jsonb(n)->>'email' FROM new_rows n;
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON contact FOR EACH ROW EXECUTE FUNCTION tidy();
        CREATE TRIGGER only_short BEFORE INSERT OR UPDATE OF name ON contact FOR EACH ROW WHEN (length(NEW.name) > 20) EXECUTE FUNCTION only_short();
        CREATE TRIGGER summary_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION summary();
        CREATE TRIGGER summary_update AFTER UPDATE ON contact REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION summary();
    END LOOP;
END $do$;
RESET client_min_messages;
-- their log is not protected
SELECT rw.run('rw_crm', $$INSERT INTO contact (id, email, name) VALUES (700, 'u700', 'x')$$);
SET gdpr.allow_plaintext_copies = on;
SELECT rw.same($$INSERT INTO contact (id, email, name, phone) VALUES (700, 'u700', '  jan jansen ', '0031') RETURNING *$$);
SELECT rw.same($$UPDATE contact SET phone = '00' || id, name = lower(name) WHERE id IN (8, 9, 10) RETURNING *$$);
SELECT rw.same($$UPDATE contact SET company = 4 WHERE id = 11 RETURNING *$$);
SELECT rw.same($$UPDATE contact SET name = 'a name that is much too long' WHERE id = 11$$);
SELECT rw.same($$INSERT INTO contact (id, email, name) VALUES (8, 'x', 'y') ON CONFLICT (id) DO UPDATE SET name = ' ' || EXCLUDED.name RETURNING *$$);
SELECT * FROM rw.same_tables();
-- what the statement triggers wrote
SELECT rw.same('SELECT * FROM log ORDER BY n');
SELECT line FROM rw_crm.log ORDER BY n;
SET client_min_messages = warning;
DROP SCHEMA rw_plain, rw_crm, rw CASCADE;
