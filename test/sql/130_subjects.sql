-- Whose row is it: links at any depth, rows of their own, children before parents, other people's columns.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA subj;
CREATE TABLE subj.person (tenant integer, id integer, name text, PRIMARY KEY (tenant, id));
CREATE TABLE subj.account (id integer PRIMARY KEY, tenant integer, person integer, label text,
    FOREIGN KEY (tenant, person) REFERENCES subj.person ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE);
CREATE TABLE subj.payment (id integer PRIMARY KEY, account_id integer REFERENCES subj.account ON DELETE CASCADE, memo text);
CREATE TABLE subj.detail (payment_id integer NOT NULL REFERENCES subj.payment DEFERRABLE, line text);
CREATE TABLE subj.invoice (id integer PRIMARY KEY, tenant integer, person integer, addressee text,
    FOREIGN KEY (tenant, person) REFERENCES subj.person ON DELETE SET NULL);
CREATE TABLE subj.message (id integer PRIMARY KEY, tenant integer NOT NULL DEFAULT 1, recipient integer, sender integer, subject text, body text,
    FOREIGN KEY (tenant, recipient) REFERENCES subj.person, FOREIGN KEY (tenant, sender) REFERENCES subj.person);
INSERT INTO subj.person VALUES (1, 1, 'Ann'), (1, 2, 'Ben'), (2, 1, 'Cas');
INSERT INTO subj.account VALUES (10, 1, 1, 'a10'), (11, 1, 2, 'a11'), (12, NULL, NULL, 'orphan');
INSERT INTO subj.payment VALUES (100, 10, 'p100'), (101, 11, 'p101'), (102, NULL, 'orphan');
INSERT INTO subj.detail VALUES (100, 'd'), (101, 'd'), (102, 'd');
INSERT INTO subj.invoice VALUES (1, 1, 1, 'Ann Smith');
INSERT INTO subj.message VALUES (1, 1, 1, 2, 'to Ann from Ben', 'Ben writes');
-- mistakes in declarations
SELECT gdpr.declare_table('subj.account', via => 'tenant, person');
SELECT gdpr.declare_subject('subj.nothing', key => 'id');
SELECT gdpr.declare_subject('subj.person', key => 'no such');
SELECT gdpr.declare_subject('subj.person', key => 'id');
SELECT gdpr.declare_subject(NULL);
SELECT gdpr.declare_subject('subj.person', on_forget => 'burn');
SELECT gdpr.declare_subject('pg_class');
SELECT gdpr.declare_subject('subj.person', key => 'tenant, id');
SELECT gdpr.declare_subject('subj.person', key => 'tenant, id');
SELECT gdpr.declare_table('subj.account', via => 'label');
SELECT gdpr.declare_table('subj.account', via => 'tenant, person');
SELECT gdpr.declare_table('subj.payment', via => 'account_id');
SELECT gdpr.declare_table('subj.detail', via => 'payment_id');
SELECT gdpr.declare_table('subj.invoice', via => 'tenant, person', on_forget => 'keep');
SELECT gdpr.declare_table('subj.invoice', via => 'tenant, person', on_forget => 'keep', ground => 'tax law', keep_until => $$now() + interval '7 years'$$);
SELECT gdpr.declare_table('subj.message', via => 'tenant, recipient');
SELECT gdpr.declare_column('subj.person', 'name', 'contact');
SELECT gdpr.declare_column('subj.person', 'name', 'contact');
SELECT gdpr.declare_column('subj.person', 'id', 'contact');
SELECT gdpr.declare_column('subj.person', 'no such', 'contact');
SELECT gdpr.declare_column('subj.person', 'name', '');
SELECT gdpr.declare_column('subj.account', 'label', 'contact');
SELECT gdpr.declare_column('subj.payment', 'memo', 'content');
SELECT gdpr.declare_column('subj.detail', 'line', 'content');
SELECT gdpr.declare_column('subj.invoice', 'addressee', 'contact');
SELECT gdpr.declare_column('subj.message', 'subject', 'content');
SELECT gdpr.declare_column('subj.message', 'body', 'content', subject_via => 'tenant, sender');
SELECT gdpr.protect_now('subj.account');
CALL gdpr.protect('subj.person');
CALL gdpr.protect('subj.person');
CALL gdpr.protect('subj.account');
CALL gdpr.protect('subj.payment');
CALL gdpr.protect('subj.detail');
CALL gdpr.protect('subj.invoice');
CALL gdpr.protect('subj.message');
SELECT gdpr.create_purpose('subj', 'contract', '{contact,content}');
SELECT gdpr.grant_purpose('subj', current_user);
SET gdpr.purpose = 'subj';
CREATE FUNCTION subj.numbers(OUT what text, OUT n bigint) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT format('person %s/%s', tenant, id), gdpr.subject_number(gdpr_sealed) FROM subj.person
    UNION ALL SELECT format('account %s', id), gdpr.subject_number(gdpr_sealed) FROM subj.account
    UNION ALL SELECT format('payment %s', id), gdpr.subject_number(gdpr_sealed) FROM subj.payment
    UNION ALL SELECT format('detail of %s', payment_id), gdpr.subject_number(gdpr_sealed) FROM subj.detail
    UNION ALL SELECT format('invoice %s', id), gdpr.subject_number(gdpr_sealed) FROM subj.invoice
    UNION ALL SELECT format('message %s', id), gdpr.subject_number(gdpr_sealed) FROM subj.message
$$;
-- which rows belong together, without the numbers themselves
CREATE VIEW subj.together AS SELECT string_agg(what, ', ' ORDER BY what) AS one_person FROM subj.numbers() GROUP BY n ORDER BY 1;
RESET client_min_messages;
TABLE subj.together;
SELECT m.id, m.subject, m.body, cardinality(gdpr.subject_numbers(m.gdpr_sealed)) AS persons,
    (gdpr.subject_numbers(m.gdpr_sealed))[2] = gdpr.subject('subj.person', '(1,2)') AS body_is_of_sender FROM subj.message m;

-- a row that changes hands takes everything below along
UPDATE subj.account SET tenant = 2, person = 1 WHERE id = 10;
TABLE subj.together;
UPDATE subj.payment SET account_id = 10 WHERE id = 102;
TABLE subj.together;
-- the keys of a person change
UPDATE subj.person SET id = 20 WHERE (tenant, id) = (1, 2) AND NOT EXISTS (SELECT FROM subj.message);
DELETE FROM subj.message; DELETE FROM subj.invoice;
UPDATE subj.person SET id = 20 WHERE (tenant, id) = (1, 2);
SELECT * FROM subj.account ORDER BY id \g (format=unaligned tuples_only=on) | cut -d'|' -f1-4
TABLE subj.together;
-- a link that goes NULL makes the row its own person
UPDATE subj.account SET tenant = NULL WHERE id = 10;
TABLE subj.together;
SELECT a.label, p.memo, d.line FROM subj.account a JOIN subj.payment p ON p.account_id = a.id JOIN subj.detail d ON d.payment_id = p.id ORDER BY a.id, p.id;
-- children before their parents: one statement, and deferred
WITH d AS (INSERT INTO subj.detail VALUES (200, 'first')),
     p AS (INSERT INTO subj.payment VALUES (200, 20, 'second')),
     a AS (INSERT INTO subj.account VALUES (20, 1, 3, 'third'))
INSERT INTO subj.person VALUES (1, 3, 'last');
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO subj.detail VALUES (300, 'first');
SAVEPOINT s;
INSERT INTO subj.payment VALUES (300, 11, 'not this one');
ROLLBACK TO SAVEPOINT s;
INSERT INTO subj.payment VALUES (300, 11, 'of an account that exists');
COMMIT;
SELECT * FROM subj.together WHERE one_person ~ '00';
SELECT p.id, p.memo, d.line FROM subj.payment p JOIN subj.detail d ON d.payment_id = p.id WHERE p.id >= 200 ORDER BY 1;
-- a child of nobody is refused by its foreign key
INSERT INTO subj.payment VALUES (400, 999, 'x');
-- the application deletes: SET NULL keeps the row, as a person of its own
DELETE FROM subj.person WHERE (tenant, id) = (1, 20);
SELECT * FROM subj.together WHERE one_person ~ 'account 11';
SELECT id, label FROM subj.account WHERE id = 11;
-- renamed columns and tables
ALTER TABLE subj.person RENAME COLUMN name TO full_name;
ALTER TABLE subj.person RENAME COLUMN id TO number;
ALTER TABLE subj.account RENAME COLUMN person TO owner;
ALTER TABLE subj.account RENAME TO konto;
ALTER SCHEMA subj RENAME TO subj2;
INSERT INTO subj2.person (tenant, number, full_name) VALUES (9, 9, 'After renaming');
INSERT INTO subj2.konto VALUES (90, 9, 9, 'also');
SELECT p.full_name, a.label, gdpr.subject_number(a.gdpr_sealed) = gdpr.subject_number(p.gdpr_sealed) AS same
FROM subj2.person p JOIN subj2.konto a ON (a.tenant, a.owner) = (p.tenant, p.number) WHERE p.tenant = 9;
SELECT relation, rows_are, via, "column" FROM gdpr.data_map WHERE relation::text ~ 'subj2' ORDER BY table_id, column_id;
SET client_min_messages = warning;
CALL gdpr.unprotect('subj2.person');
DROP SCHEMA subj2 CASCADE;
SELECT count(*) FROM gdpr.data_map WHERE relation::text ~ 'subj';
