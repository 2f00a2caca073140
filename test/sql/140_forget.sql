-- Forgetting: rows, keys, categories, what other rows need, transactions.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA fg;
CREATE TABLE fg.person (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, iban text,
    mentor integer REFERENCES fg.person, kind text);
CREATE TABLE fg.orders (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES fg.person, note text);
CREATE TABLE fg.line (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES fg.orders, gift_text text);
CREATE TABLE fg.ticket (id integer PRIMARY KEY, person_id integer REFERENCES fg.person ON DELETE SET NULL, question text, status text);
CREATE TABLE fg.invoice (id integer PRIMARY KEY, person_id integer REFERENCES fg.person ON DELETE SET NULL, addressee text, amount numeric);
CREATE TABLE fg.message (id integer PRIMARY KEY, sender integer REFERENCES fg.person ON DELETE SET NULL, recipient integer REFERENCES fg.person ON DELETE CASCADE,
    greeting text, body text);
CREATE TABLE fg.stock (id integer PRIMARY KEY, order_id integer REFERENCES fg.orders);
INSERT INTO fg.person SELECT i, 'Name ' || i, 'p' || i || '@example.nl', 'NL' || i, NULL, 'k' FROM generate_series(1, 9) i;
UPDATE fg.person SET mentor = 1 WHERE id = 2;
INSERT INTO fg.orders SELECT i, i, 'note ' || i FROM generate_series(1, 9) i;
INSERT INTO fg.line SELECT i, i, 'gift ' || i FROM generate_series(1, 9) i;
INSERT INTO fg.ticket SELECT i, i, 'question ' || i, 'open' FROM generate_series(1, 9) i;
INSERT INTO fg.invoice SELECT i, i, 'Addressee ' || i, i FROM generate_series(1, 9) i;
INSERT INTO fg.message VALUES (1, 1, 2, 'Dear 2', 'body by 1'), (2, 2, 1, 'Dear 1', 'body by 2'), (3, 3, 4, 'Dear 4', 'body by 3');
INSERT INTO fg.stock VALUES (1, 5);
SELECT gdpr.declare_subject('fg.person');
SELECT gdpr.declare_column('fg.person', 'name', 'contact');
SELECT gdpr.declare_column('fg.person', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('fg.person', 'iban', 'financial');
SELECT gdpr.declare_table('fg.orders', via => 'person_id');
SELECT gdpr.declare_column('fg.orders', 'note', 'content');
SELECT gdpr.declare_table('fg.line', via => 'order_id');
SELECT gdpr.declare_column('fg.line', 'gift_text', 'content');
SELECT gdpr.declare_table('fg.ticket', via => 'person_id', on_forget => 'erase');
SELECT gdpr.declare_column('fg.ticket', 'question', 'content');
SELECT gdpr.declare_table('fg.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law');
SELECT gdpr.declare_column('fg.invoice', 'addressee', 'financial');
SELECT gdpr.declare_table('fg.message', via => 'recipient');
SELECT gdpr.declare_column('fg.message', 'greeting', 'content');
SELECT gdpr.declare_column('fg.message', 'body', 'content', subject_via => 'sender');
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY '{person,orders,line,ticket,invoice,message}'::text[] LOOP PERFORM gdpr.protect_now(('fg.' || t)::regclass); END LOOP;
END $$;
SELECT gdpr.create_purpose('fg', 'contract', '{contact,financial,content}');
SELECT gdpr.grant_purpose('fg', current_user);
SET gdpr.purpose = 'fg';
RESET client_min_messages;
SELECT gdpr.subject('fg.person', i::text) AS n FROM generate_series(1, 9) i \gset n_
SELECT gdpr.subject('fg.person', '1') AS p1, gdpr.subject('fg.person', '2') AS p2, gdpr.subject('fg.person', '3') AS p3,
       gdpr.subject('fg.person', '5') AS p5, gdpr.subject('fg.person', '6') AS p6, gdpr.subject('fg.person', '7') AS p7 \gset

-- not by everybody
SET ROLE test_app;
SELECT gdpr.forget(:p1);
SELECT gdpr.forget_rows('fg.person', ARRAY[:p1], NULL, false);
SELECT gdpr.puncture_at_commit(:p1);
SELECT gdpr.subject('fg.person', '1');
INSERT INTO gdpr.tombstone (number) VALUES (:p1);
RESET ROLE;
-- mistakes
SELECT gdpr.forget(NULL);
SELECT gdpr.forget(42);
SELECT gdpr.forget(549755813887);
SELECT gdpr.forget(-1);
SELECT gdpr.forget(:p1, category => 'no such');
SELECT gdpr.subject('fg.person', '99');
SELECT gdpr.subject('fg.stock', '1');
DELETE FROM gdpr.tombstone;
TRUNCATE gdpr.tombstone;

-- nothing happens before the transaction commits
BEGIN;
SELECT gdpr.forget(:p1, reason => 'to be rolled back') IS NOT NULL AS erasure;
SELECT count(*) FROM fg.orders WHERE person_id = 1;
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT gdpr.forget(:p1) IS NOT NULL AS erasure;
ROLLBACK TO SAVEPOINT a;
SAVEPOINT b;
RELEASE SAVEPOINT b;
COMMIT;
SELECT punctured FROM gdpr.keystore_status();
SELECT name, email, iban FROM fg.person WHERE id = 1;

-- forgotten: the mentor of 2 cannot be deleted and is erased; rows below go
SELECT gdpr.forget(:p1, reason => 'request 17') AS erasure \gset
SELECT punctured > 0 AS punctured FROM gdpr.keystore_status();
SELECT relations FROM gdpr.erasure WHERE id = :'erasure';
SELECT id, name, email, iban, mentor FROM fg.person ORDER BY id LIMIT 3;
SELECT * FROM fg.orders WHERE id = 1;
SELECT * FROM fg.line WHERE id = 1;
SELECT id, person_id, question, status FROM fg.ticket WHERE id = 1;
-- kept by law, under a number of its own
SELECT id, person_id, addressee FROM fg.invoice WHERE id = 1;
-- other people's words in shared rows stay, one's own go
SELECT id, greeting, body FROM fg.message ORDER BY id;
-- the e-mail is free for its next owner
INSERT INTO fg.person (id, name, email) VALUES (11, 'Next', 'p1@example.nl');
SELECT id FROM fg.person WHERE email = 'p1@example.nl';
SET gdpr.physical = on;
SELECT name = '' AS placeholder, email ~ '^[a-z2-7]{20}$' AS random_token, iban FROM fg.person WHERE id = 1;
RESET gdpr.physical;
-- again: the same erasure, nothing more
SELECT gdpr.forget(:p1) = :'erasure' AS same;
SELECT count(*) FROM gdpr.erasure WHERE subject = :p1;
-- nothing can be added to someone forgotten, nothing is brought back
INSERT INTO fg.orders VALUES (21, 1, 'new');
INSERT INTO fg.orders VALUES (21, 1, NULL);
UPDATE fg.person SET name = 'again' WHERE id = 1;
UPDATE fg.person SET kind = 'x', name = NULL, email = email WHERE id = 1 RETURNING id, name, kind;
UPDATE fg.ticket SET question = 'again' WHERE id = 1;
-- a backup from before the forget, as far as SQL can play it: the rows come back, dark
-- (the real thing is test/t/030_backup.pl)

-- deleted where nothing else needs the row; the stock needs the order of 5
SELECT gdpr.forget(:p3) IS NOT NULL AS erasure;
SELECT count(*) FROM fg.person WHERE id = 3;
SELECT id, sender, greeting, body FROM fg.message WHERE id = 3;
SELECT id, person_id, addressee FROM fg.invoice WHERE id = 3;
SELECT id, person_id, question, status FROM fg.ticket WHERE id = 3;
SELECT gdpr.forget(:p5) IS NOT NULL AS erasure;
SELECT p.id, p.name, o.id, o.note FROM fg.person p JOIN fg.orders o ON o.person_id = p.id WHERE p.id = 5;

-- one category only
SELECT gdpr.forget(:p6, category => 'financial') AS erasure \gset
SELECT id, name, email, iban FROM fg.person WHERE id = 6;
SELECT addressee FROM fg.invoice WHERE id = 6;
SELECT count(*) FROM fg.orders WHERE id = 6;
-- collected anew, under a new number
UPDATE fg.person SET iban = 'NL66' WHERE id = 6 RETURNING name, iban;
UPDATE fg.person SET iban = 'NL67', name = 'Six' WHERE id = 6 RETURNING name, iban;
SELECT count(*) AS aliases FROM gdpr.subject_alias WHERE subject = :p6;
SELECT cardinality(gdpr.subject_numbers(gdpr_sealed)) FROM fg.person WHERE id = 6;
SELECT gdpr.forget(:p6, category => 'financial') <> :'erasure' AS another;
SELECT id, name, email, iban FROM fg.person WHERE id = 6;
UPDATE fg.person SET iban = 'NL68' WHERE id = 6 RETURNING name, iban;
SELECT count(*) AS aliases FROM gdpr.subject_alias WHERE subject = :p6;
-- and then everything: the alias too, whichever number is named
SELECT a.number AS alias FROM gdpr.subject_alias a WHERE a.subject = :p6 ORDER BY 1 DESC LIMIT 1 \gset
SELECT gdpr.forget(:alias) IS NOT NULL AS erasure;
SELECT count(*) FROM fg.person WHERE id = 6;
SELECT count(*) FROM gdpr.tombstone WHERE number IN (:p6, :alias) AND category IS NULL;

-- what an ordinary DELETE leaves: the key lives, until forget() is called with the number
DELETE FROM fg.message WHERE 7 IN (sender, recipient);
DELETE FROM fg.line WHERE id = 7; DELETE FROM fg.orders WHERE id = 7; DELETE FROM fg.person WHERE id = 7;
SELECT gdpr.forget(:p7) IS NOT NULL AS erasure;
SELECT count(*) FROM gdpr.tombstone WHERE number = :p7;
-- find, then forget
SELECT f.relation, f."column", f.subject = :p2 AS found FROM gdpr.find_subjects('p2@example.nl') f;
SELECT count(gdpr.forget(f.subject)) FROM gdpr.find_subjects('p2@example.nl') f;
SELECT * FROM gdpr.find_subjects('p2@example.nl');
SELECT * FROM gdpr.find_subjects(E'nobody''s "value"');
-- a table that is declared and not protected is not passed over in silence
SELECT gdpr.declare_subject('fg.stock');
SELECT gdpr.forget(:p7) IS NOT NULL AS erasure;
SELECT gdpr.undeclare_table('fg.stock');
-- a deferred foreign key with an action: what it makes of the rows below is checked at once, and the row erased instead
CREATE TABLE fg.owner (id int PRIMARY KEY, name text);
CREATE TABLE fg.car (id int PRIMARY KEY, owner_id int DEFAULT 0 REFERENCES fg.owner ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED);
INSERT INTO fg.owner VALUES (1, 'Some Owner');
INSERT INTO fg.car VALUES (1, 1);
SELECT gdpr.declare_subject('fg.owner');
SELECT gdpr.declare_column('fg.owner', 'name', 'contact');
SELECT gdpr.protect_now('fg.owner');
SELECT gdpr.forget(gdpr.subject('fg.owner', '1')) IS NOT NULL AS erasure;
SELECT o.id, o.name, c.owner_id FROM fg.owner o JOIN fg.car c ON c.owner_id = o.id;
-- numbers are never used again
SELECT count(*) FROM fg.person p JOIN gdpr.tombstone t ON t.number = gdpr.subject_number(p.gdpr_sealed) WHERE p.name IS NOT NULL;
SELECT pending FROM gdpr.keystore_status();
SET client_min_messages = warning;
DROP SCHEMA fg CASCADE;
