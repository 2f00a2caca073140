-- Rules on protected tables, and on views over them: NEW and OLD are values, and no value gets where it is in the clear.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA ru_plain;
CREATE SCHEMA ru_crm;
DO $do$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{ru_plain,ru_crm}'::text[] LOOP
        PERFORM set_config('search_path', s, true);
        CREATE TABLE person (id integer PRIMARY KEY, email text UNIQUE, name text NOT NULL, visits integer DEFAULT 0);
        CREATE TABLE letter (id serial PRIMARY KEY, person_id integer REFERENCES person ON DELETE CASCADE, body text, mail text);
        CREATE TABLE log (n serial, line text);
        INSERT INTO person SELECT i, 'p' || i || '@x.nl', 'Name ' || i FROM generate_series(1, 5) i;
        INSERT INTO letter (person_id, body) SELECT i, 'Dear ' || i FROM generate_series(1, 5) i;
        -- what was there before the table is protected: values go where values belong, or are only looked at
        CREATE RULE welcome AS ON INSERT TO person DO ALSO INSERT INTO letter (person_id, body) VALUES (NEW.id, 'Welcome ' || NEW.name);
        CREATE RULE renamed AS ON UPDATE TO person WHERE OLD.name <> NEW.name
            DO ALSO INSERT INTO letter (person_id, body, mail) VALUES (NEW.id, OLD.name || ' is ' || NEW.name, NEW.email);
        CREATE RULE counted AS ON UPDATE TO person WHERE NEW.name LIKE 'A%' DO ALSO UPDATE letter SET body = NEW.name WHERE person_id = OLD.id AND mail = OLD.email;
        CREATE RULE gone AS ON DELETE TO person WHERE OLD.email LIKE '%p1@%' DO ALSO INSERT INTO log (line) VALUES ('gone ' || OLD.id);
        CREATE VIEW contact AS SELECT id, email, name FROM person;
        CREATE RULE new_contact AS ON INSERT TO contact DO INSTEAD INSERT INTO person (id, email, name) VALUES (NEW.id, lower(NEW.email), NEW.name) RETURNING id, email, name;
        CREATE RULE other_contact AS ON UPDATE TO contact DO INSTEAD UPDATE person SET email = NEW.email, name = NEW.name, visits = visits + 1 WHERE id = OLD.id AND email = OLD.email;
        CREATE RULE no_contact AS ON DELETE TO contact DO INSTEAD DELETE FROM person WHERE name = OLD.name;
    END LOOP;
    PERFORM gdpr.declare_subject('ru_crm.person', key => 'id');
    PERFORM gdpr.declare_table('ru_crm.letter', via => 'person_id');
    PERFORM gdpr.declare_column('ru_crm.person', c, 'contact', searchable => true) FROM unnest('{email,name}'::text[]) c;
    PERFORM gdpr.declare_column('ru_crm.letter', 'body', 'contact');
    PERFORM gdpr.declare_column('ru_crm.letter', 'mail', 'contact', searchable => true);
END $do$;
CALL gdpr.protect('ru_crm.person');
CALL gdpr.protect('ru_crm.letter');
SELECT gdpr.create_purpose('ru', 'contract', '{contact}');
SELECT gdpr.grant_purpose('ru', current_user);
RESET client_min_messages;
SET gdpr.purpose = 'ru';
\set script 'INSERT INTO person (id, email, name) VALUES (6, \'p6@x.nl\', \'Six\'); INSERT INTO contact VALUES (7, \'P7@X.NL\', \'Seven\') RETURNING *; UPDATE person SET name = \'A\' || name WHERE id IN (2, 6); UPDATE person SET visits = 1; UPDATE contact SET name = \'Anna\' WHERE email = \'p7@x.nl\'; DELETE FROM contact WHERE name = \'Name 1\'; DELETE FROM person WHERE id = 3;'
SET search_path = ru_plain;
:script
SET search_path = ru_crm;
:script
RESET search_path;
SELECT count(*), count(*) FILTER (WHERE p IS DISTINCT FROM c) AS different
FROM ru_plain.person p FULL JOIN (SELECT id, email, name, visits FROM ru_crm.person) c USING (id);
SELECT count(*), count(*) FILTER (WHERE ROW(p.person_id, p.body, p.mail) IS DISTINCT FROM ROW(c.person_id, c.body, c.mail)) AS different
FROM ru_plain.letter p FULL JOIN ru_crm.letter c USING (id);
SELECT p.line = c.line AS same FROM ru_plain.log p FULL JOIN ru_crm.log c USING (n);
SELECT body, mail FROM ru_crm.letter WHERE body ~ 'is|Welcome|Anna' ORDER BY id;
-- values of the table do not get into one that is not protected
CREATE RULE copies AS ON DELETE TO ru_crm.person DO ALSO INSERT INTO ru_crm.log (line) VALUES (OLD.email);
DELETE FROM ru_crm.person WHERE id = 4;
SET gdpr.allow_plaintext_copies = on;
DELETE FROM ru_crm.person WHERE id = 4;
RESET gdpr.allow_plaintext_copies;
SELECT line FROM ru_crm.log ORDER BY n;
-- nor do tokens: what the extension does by itself, rules do not see
SET client_min_messages = error;
SELECT gdpr.forget(gdpr.subject('ru_crm.person', '2')) IS NOT NULL AS forgotten;
SELECT gdpr.forget(gdpr.subject('ru_crm.person', '5'), category => 'contact') IS NOT NULL AS forgotten;
RESET client_min_messages;
SELECT count(*) FROM ru_crm.log;
SELECT id, email, name FROM ru_crm.person ORDER BY id;
-- a rule that replaces what forget() does is refused, before and afterwards
\set VERBOSITY default
CREATE RULE soft AS ON DELETE TO ru_crm.person DO INSTEAD UPDATE ru_crm.person SET visits = -1 WHERE id = OLD.id;
\set VERBOSITY terse
CREATE RULE none AS ON UPDATE TO ru_crm.person WHERE NEW.visits < 0 DO INSTEAD NOTHING;
CREATE RULE none AS ON INSERT TO ru_crm.person WHERE NEW.visits < 0 DO INSTEAD NOTHING;
DROP RULE welcome ON ru_crm.person;
INSERT INTO ru_crm.person VALUES (8, 'p8@x.nl', 'Eight', -1);
SELECT count(*) FROM ru_crm.person WHERE id = 8;
CREATE RULE soft AS ON DELETE TO ru_plain.person DO INSTEAD UPDATE ru_plain.person SET visits = -1 WHERE id = OLD.id;
SELECT gdpr.declare_subject('ru_plain.person', key => 'id');
CALL gdpr.protect('ru_plain.person');
SET client_min_messages = warning;
DROP SCHEMA ru_plain, ru_crm CASCADE;
