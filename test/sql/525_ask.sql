-- Asking new persons for consent: a message in the outbox for those who came themselves.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE ask_regress;
\c ask_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE ask_worker; CREATE ROLE ask_app;
CREATE SCHEMA crm;
CREATE TABLE crm.contact (id integer PRIMARY KEY, email text);
CREATE TABLE crm.orders (id integer PRIMARY KEY, contact_id integer NOT NULL REFERENCES crm.contact, remark text);
SELECT gdpr.declare_subject('crm.contact'), gdpr.declare_column('crm.contact', 'email', 'contact'),
       gdpr.declare_table('crm.orders', via => 'contact_id'), gdpr.declare_column('crm.orders', 'remark', 'orders');
SELECT gdpr.protect_now('crm.contact'), gdpr.protect_now('crm.orders');
GRANT USAGE ON SCHEMA crm TO ask_app; GRANT ALL ON ALL TABLES IN SCHEMA crm TO ask_app;
CREATE FUNCTION waiting() RETURNS TABLE (kind text, contact text, payload jsonb) LANGUAGE sql AS $$
    SELECT o.kind, (SELECT c.id::text FROM crm.contact c WHERE gdpr.subject_number(c.gdpr_sealed) = o.subject), gdpr.outbox_payload(o.id)
    FROM gdpr.outbox o ORDER BY o.id
$$;

-- only a purpose based on consent asks, and only if it says whom
SELECT gdpr.create_purpose('support', 'contract', '{contact}', ask_sources => '{webform}');
SELECT gdpr.create_purpose('support', 'contract', '{contact}');
SELECT gdpr.create_purpose('offers', 'consent', '{contact}', direct_marketing => true);
SELECT gdpr.create_purpose('newsletter', 'consent', '{contact}', direct_marketing => true, ask_sources => '{webform,shop}');
SELECT gdpr.grant_purpose('newsletter', 'ask_worker'), gdpr.grant_purpose('support', 'ask_app');

-- an application that knows nothing of all this, and has no rights on it
SET ROLE ask_app;
INSERT INTO crm.contact VALUES (1, 'one@example.nl');
SET gdpr.source = 'trade fair';
INSERT INTO crm.contact VALUES (2, 'two@example.nl');
SET gdpr.source = 'webform';
INSERT INTO crm.contact VALUES (3, 'three@example.nl');
INSERT INTO crm.contact VALUES (4, 'four@example.nl'), (5, 'five@example.nl');
INSERT INTO crm.orders VALUES (1, 3, 'no new person');
BEGIN;
INSERT INTO crm.contact VALUES (6, 'six@example.nl');
ROLLBACK;
BEGIN;
SAVEPOINT a;
INSERT INTO crm.contact VALUES (7, 'seven@example.nl');
ROLLBACK TO a;
INSERT INTO crm.contact VALUES (8, 'eight@example.nl');
COMMIT;
INSERT INTO crm.contact VALUES (8, 'again@example.nl') ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO crm.contact VALUES (9, 'nine@example.nl');
DELETE FROM crm.contact WHERE id = 9;
COMMIT;
SET gdpr.source = 'shop';
COPY crm.contact FROM stdin;
10	ten@example.nl
11	eleven@example.nl
\.
RESET gdpr.source;
RESET ROLE;
SELECT * FROM waiting();
-- who decided in the same transaction is not asked
BEGIN;
SET LOCAL gdpr.source = 'webform';
INSERT INTO crm.contact VALUES (12, 'twelve@example.nl'), (13, 'thirteen@example.nl');
SELECT gdpr.give_consent(gdpr.subject('crm.contact', '12'), 'newsletter', channel => 'email') IS NOT NULL AS given;
COMMIT;
SELECT * FROM waiting() WHERE contact::integer >= 12;
-- what was sealed later is nobody's coming
SELECT gdpr.unprotect_now('crm.orders'), gdpr.unprotect_now('crm.contact');
INSERT INTO crm.contact VALUES (20, 'twenty@example.nl');
SET gdpr.source = 'webform';
SELECT gdpr.protect_now('crm.contact'), gdpr.protect_now('crm.orders');
RESET gdpr.source;
SELECT count(*) FROM waiting() WHERE contact = '20';

-- the worker of doc/outbox.md: takes one, asks, sends
GRANT USAGE ON SCHEMA crm TO ask_worker; GRANT SELECT ON crm.contact TO ask_worker;
GRANT SELECT, DELETE, UPDATE (attempts, available_at) ON gdpr.outbox TO ask_worker;
GRANT EXECUTE ON FUNCTION gdpr.outbox_payload(bigint), gdpr.request_consent(bigint, text, text, text, text, text, jsonb, timestamptz, interval) TO ask_worker;
SET ROLE ask_worker;
BEGIN;
SELECT id AS message, subject, gdpr.outbox_payload(id) ->> 'purpose' AS purpose FROM gdpr.outbox WHERE available_at <= now() ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1 \gset
SELECT gdpr.request_consent(:subject, :'purpose', channel => 'email') AS token \gset
DELETE FROM gdpr.outbox WHERE id = :message;
COMMIT;
RESET ROLE;
SELECT status, recorded_by FROM gdpr.consent_history(:subject);
SELECT gdpr.permitted(:subject, 'newsletter', 'email') AS before;
SELECT gdpr.confirm_consent(:'token') IS NOT NULL AS confirmed;
SELECT gdpr.permitted(:subject, 'newsletter', 'email') AS after;
SELECT gdpr.confirm_consent(:'token');
-- and the forgotten are not asked
SELECT gdpr.forget(gdpr.subject('crm.contact', '4')) IS NOT NULL AS forgotten;
SELECT count(*) FROM waiting() WHERE contact IS NULL;
SELECT purpose, legal_basis, standing, since IS NOT NULL AS since, source FROM gdpr.purposes_of(gdpr.subject('crm.contact', '3'));
SELECT purpose, legal_basis, standing, source FROM gdpr.purposes_of(gdpr.subject('crm.contact', '2'));
\c :home
DROP DATABASE ask_regress;
DROP ROLE ask_worker, ask_app;
