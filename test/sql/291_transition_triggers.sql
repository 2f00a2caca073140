-- Triggers of the application while their table is converted: rows that are not sealed are shown by the same right
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA conv_trigger;
SET search_path = conv_trigger, public;
-- one row on a page: a step converts one
CREATE TABLE person (id int PRIMARY KEY, name text, visits int DEFAULT 0, filler char(600) DEFAULT '') WITH (fillfactor = 10);
INSERT INTO person SELECT i, 'Name ' || i FROM generate_series(1, 8) i;
CREATE TABLE log (n serial, entry text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY INVOKER AS $$
BEGIN
    INSERT INTO conv_trigger.log (entry) VALUES (concat_ws(' ', TG_NAME, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.id || ':' || coalesce(OLD.name, 'hidden') END, '->',
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.id || ':' || coalesce(NEW.name, 'hidden') END));
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER when_name AFTER UPDATE ON person FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION note();
CREATE TRIGGER when_row BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION note();
CREATE TABLE definition AS SELECT tgname, pg_get_triggerdef(oid) AS text FROM pg_trigger WHERE tgrelid = 'person'::regclass;
GRANT USAGE ON SCHEMA conv_trigger TO test_app, test_guest;
GRANT ALL ON person, log, log_n_seq TO test_app, test_guest;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('person');
    PERFORM gdpr.declare_column('person', 'name', 'contact');
    PERFORM gdpr.create_purpose('conv_trigger', 'contract', '{contact}');
    PERFORM gdpr.grant_purpose('conv_trigger', 'test_app');
END $$;

CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE log;
    -- one may see it; rows 1 and 8 are in different forms
    SET LOCAL ROLE test_app;
    SET LOCAL gdpr.purpose = 'conv_trigger';
    UPDATE person SET name = name || '!' WHERE id IN (1, 8);
    UPDATE person SET visits = visits + 1 WHERE id IN (1, 8);
    UPDATE person SET visits = visits WHERE id IN (1, 8);
    INSERT INTO person (id, name) VALUES (9, 'New');
    -- the other may not
    SET LOCAL ROLE test_guest;
    SET LOCAL gdpr.purpose = '';
    UPDATE person SET visits = visits + 1 WHERE id IN (2, 7);
    DELETE FROM person WHERE id IN (2, 7);
    RESET ROLE;
    SET LOCAL ROLE test_app;
    SET LOCAL gdpr.purpose = 'conv_trigger';
    DELETE FROM person WHERE id = 9;
    UPDATE person SET name = rtrim(name, '!') WHERE id IN (1, 8);
    INSERT INTO person (id, name) VALUES (2, 'Name 2'), (7, 'Name 7');
    RESET ROLE;
END $$;

SELECT gdpr.protect_step('person', 1) FROM generate_series(1, 5);
CREATE FUNCTION stored() RETURNS text LANGUAGE sql SET gdpr.physical = on AS
    'SELECT count(gdpr_sealed) || '' of '' || count(*) || '' sealed'' FROM conv_trigger.person';
SELECT stored();
CALL work();
SELECT entry FROM log ORDER BY n;
CALL gdpr.protect('person');
SELECT stored();
CREATE TEMP TABLE during AS SELECT row_number() OVER (ORDER BY n) AS n, entry FROM log;
CALL work();
-- all sealed, it is the same
SELECT d.entry AS during, l.entry AS after FROM during d
FULL JOIN (SELECT row_number() OVER (ORDER BY n) AS n, entry FROM log) l USING (n) WHERE d.entry IS DISTINCT FROM l.entry;
SELECT gdpr.unprotect_step('person', 1) FROM generate_series(1, 5);
SELECT stored();
CALL work();
SELECT d.entry AS during, l.entry AS after FROM during d
FULL JOIN (SELECT row_number() OVER (ORDER BY n) AS n, entry FROM log) l USING (n) WHERE d.entry IS DISTINCT FROM l.entry;
CALL gdpr.unprotect('person');
SELECT id, name, visits FROM person ORDER BY id;
SELECT d.text, pg_get_triggerdef(t.oid) FROM definition d FULL JOIN pg_trigger t ON t.tgname = d.tgname AND t.tgrelid = 'person'::regclass
WHERE (t.tgrelid = 'person'::regclass OR t.oid IS NULL) AND d.text IS DISTINCT FROM pg_get_triggerdef(t.oid);
DROP SCHEMA conv_trigger CASCADE;
SELECT gdpr.drop_purpose('conv_trigger');
