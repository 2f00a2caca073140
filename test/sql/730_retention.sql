-- Retention: policies, when they end, what is due, the run, what it leaves, persons without rows.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE retention_regress;
\c retention_regress
SET client_min_messages = warning;
SET TimeZone = 'Europe/Amsterdam';
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;

-- When a period ends: whole days with the last hour of the last day, in a named zone ----------------
SELECT c, k, gdpr.retention_end(c::timestamp, k::interval, 'Europe/Amsterdam') FROM (VALUES
    ('2020-02-29 13:00', '1 year'), ('2020-02-29 13:00', '4 years'), ('2019-02-28 00:00', '1 year'),   -- leap days
    ('2025-01-31 23:59:59', '1 month'), ('2024-01-31 00:00', '1 month'), ('2025-08-31 00:00', '6 months'),  -- ends of months
    ('2025-12-31 08:00', '2 months'), ('2025-03-29 02:30', '1 day'), ('2025-10-25 02:30', '1 day'),     -- clocks go forward, back
    ('2025-03-29 02:30', '24:00'), ('2025-10-25 02:30', '24:00'), ('2025-10-24 02:30', '1 day 24:00'),  -- hours are hours
    ('2025-05-05 10:00', '0'), ('2025-05-05 10:00', '36:00'), ('infinity', '1 year'), ('-infinity', '1 year'), (NULL, '1 year')) v(c, k);
-- the same moment in two zones, as a timestamptz column has it
SELECT z, gdpr.retention_end(timestamptz '2024-12-31 23:30+00' AT TIME ZONE z, '1 year', z) AT TIME ZONE 'UTC' AS utc
FROM unnest(ARRAY['UTC', 'Europe/Amsterdam', 'America/Los_Angeles', 'Pacific/Apia']) z;
-- a day that a zone did not have
SELECT gdpr.retention_end('2011-12-28 12:00', '1 day', 'Pacific/Apia') AT TIME ZONE 'UTC' AS utc;

-- Tables ------------------------------------------------------------------------------------------
CREATE ROLE rt_owner; CREATE ROLE rt_other; CREATE ROLE rt_dba; CREATE ROLE rt_guest;
CREATE SCHEMA rt AUTHORIZATION rt_owner;
CREATE SCHEMA "rt odd" AUTHORIZATION rt_owner;
GRANT USAGE ON SCHEMA rt, "rt odd" TO PUBLIC;
SET ROLE rt_owner;
CREATE DOMAIN rt.day AS date CHECK (VALUE > '1900-01-01');
CREATE TABLE rt.person (id integer PRIMARY KEY, email text UNIQUE, name text, closed_at timestamptz, seen rt.day);
CREATE TABLE rt.orders (id integer PRIMARY KEY, person_id integer REFERENCES rt.person ON DELETE CASCADE, ordered_at timestamp, address text, iban text);
CREATE TABLE rt.line (id integer PRIMARY KEY, order_id integer REFERENCES rt.orders, remark text, ordered_at date);
CREATE TABLE rt.invoice (id integer PRIMARY KEY, person_id integer REFERENCES rt.person ON DELETE SET NULL, issued_on date, addressee text);
CREATE TABLE rt.visit (id integer, person_id integer REFERENCES rt.person ON DELETE CASCADE, day date, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE rt.visit_old PARTITION OF rt.visit FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
CREATE TABLE rt.visit_new PARTITION OF rt.visit DEFAULT;
CREATE TABLE rt.message (id integer PRIMARY KEY, recipient integer REFERENCES rt.person ON DELETE CASCADE, sender integer REFERENCES rt.person ON DELETE SET NULL,
                         sent timestamptz, title text, body text);
CREATE TABLE "rt odd"."a ""table" ("the Key" text, "b'k" uuid, "Person Id" integer REFERENCES rt.person ON DELETE CASCADE, "since (when)" timestamptz, "what's" bytea[],
                                   PRIMARY KEY ("the Key", "b'k"));
CREATE INDEX ON rt.orders (ordered_at);
CREATE INDEX ON rt.person (closed_at);
CREATE INDEX ON rt.visit (day);
RESET ROLE;
SELECT gdpr.declare_subject('rt.person'), gdpr.declare_column('rt.person', 'email', 'contact', searchable => true), gdpr.declare_column('rt.person', 'name', 'identity'),
       gdpr.declare_table('rt.orders', via => 'person_id'), gdpr.declare_column('rt.orders', 'address', 'contact'), gdpr.declare_column('rt.orders', 'iban', 'financial'),
       gdpr.declare_table('rt.line', via => 'order_id'), gdpr.declare_column('rt.line', 'remark', 'content'),
       gdpr.declare_table('rt.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law', keep_until => $$issued_on + interval '7 years'$$),
       gdpr.declare_column('rt.invoice', 'addressee', 'financial'),
       gdpr.declare_table('rt.visit', via => 'person_id'), gdpr.declare_column('rt.visit', 'what', 'content'),
       gdpr.declare_table('rt.message', via => 'recipient'), gdpr.declare_column('rt.message', 'title', 'content'),
       gdpr.declare_column('rt.message', 'body', 'content', subject_via => 'sender'),
       gdpr.declare_table('"rt odd"."a ""table"', via => '"Person Id"'), gdpr.declare_column('"rt odd"."a ""table"', 'what''s', 'content');
SELECT gdpr.create_purpose('care', 'contract', '{contact,identity,content,financial}'), gdpr.create_purpose('tax', 'legal_obligation', '{financial}'),
       gdpr.create_purpose('news', 'consent', '{contact}');
SELECT gdpr.grant_purpose('care', current_user);
SET gdpr.purpose = 'care';
SELECT gdpr.protect_now(t::regclass) FROM unnest(ARRAY['rt.person', 'rt.orders', 'rt.line', 'rt.invoice', 'rt.visit', 'rt.message', '"rt odd"."a ""table"']) t;
RESET client_min_messages;

-- Policies ----------------------------------------------------------------------------------------
SELECT gdpr.set_retention(NULL, '1 year', 'closed_at');
SELECT gdpr.set_retention('rt.person', NULL, 'closed_at');
SELECT gdpr.set_retention('rt.person', '1 year', NULL);
SELECT gdpr.set_retention('pg_class', '1 year', 'x');
SELECT gdpr.set_retention('rt.visit_old', '1 year', 'day');
SELECT gdpr.set_retention('rt.person', '-1 day', 'closed_at');
SELECT gdpr.set_retention('rt.person', '-1 month 40 days', 'closed_at');
SELECT gdpr.set_retention('rt.person', '2000 years', 'closed_at');
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', 'drop');
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', NULL);
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', category => 'contact');
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', 'erase', category => 'content');
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', purpose => 'no such');
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at', time_zone => 'Mars/Olympus');
SELECT gdpr.set_retention('rt.person', '1 year', 'no_such');
SELECT gdpr.set_retention('rt.person', '1 year', 'id');
SELECT gdpr.set_retention('rt.person', '1 year', 'name');
SELECT gdpr.set_retention('rt.person', '1 year', 'not; an identifier');
SELECT gdpr.set_retention('rt.person', '1 year', 'rt.orders.ordered_at');
SELECT gdpr.set_retention('rt.line', '1 year', 'rt.invoice.issued_on');
SELECT gdpr.set_retention('rt.line', '1 year', 'rt.person.no_such');
SELECT gdpr.set_retention('rt.person', '1 year', 'end of consent');
-- no index; and for two purposes
SELECT gdpr.set_retention('rt.person', '2 years', 'seen') > 0 AS ok;
SELECT gdpr.drop_retention('rt.person');
SELECT gdpr.drop_retention('rt.person');
SELECT gdpr.drop_retention('rt.person', 'no such');
SELECT gdpr.set_retention('rt.orders', '7 years', 'ordered_at', purpose => 'tax', ground => 'tax law, art. 52') > 0 AS ok;
SELECT gdpr.set_retention('rt.orders', '2 years', 'rt.person.closed_at', purpose => 'care') > 0 AS ok;
SELECT gdpr.set_retention('rt.orders', '1 year', 'ordered_at', 'erase');
SELECT gdpr.set_retention('rt.orders', '6 months', 'ordered_at', 'erase', category => 'contact') > 0 AS ok;
-- again: it is replaced
SELECT gdpr.set_retention('rt.orders', '1 year', 'ordered_at', 'erase', category => 'contact') > 0 AS ok;
SELECT gdpr.set_retention('rt.line', '7 years', 'rt.orders.ordered_at') > 0 AS ok;
SELECT gdpr.set_retention('rt.visit', '1 year', 'day', time_zone => 'UTC') > 0 AS ok;
SELECT gdpr.set_retention('rt.message', '1 year', 'sent', 'erase') > 0 AS ok;
SELECT gdpr.set_retention('"rt odd"."a ""table"', '36:00', 'since (when)', time_zone => 'America/New_York') > 0 AS ok;
SELECT gdpr.set_retention('rt.person', '3 years', 'last activity') > 0 AS ok;
SELECT relation, category, purpose, keep, since, action, ground, time_zone, indexed, policy = 0 AS by_map FROM gdpr.retention;
-- not for everybody
SET ROLE rt_guest;
SELECT gdpr.set_retention('rt.person', '1 year', 'closed_at');
SELECT gdpr.drop_retention('rt.person');
TABLE gdpr.retention;
TABLE gdpr.retention_due;
CALL gdpr.run_retention();
SELECT gdpr.retention_step(NULL, '1 hour', 1, NULL);
SELECT gdpr.expire_rows('rt.person', NULL, false, '{"(0,1)"}');
SELECT count(*) FROM gdpr.rows_as_owner('rt.person', 'SELECT ctid, 1::bigint, 1, now() FROM rt.person', 1);
RESET ROLE;

-- What is due -------------------------------------------------------------------------------------
SET client_min_messages = warning;
-- the order of 1 is young, the account of 3 is open, 4 is restricted
INSERT INTO rt.person SELECT i, 'p' || i || '@example.nl', 'Name ' || i, CASE WHEN i <> 3 THEN now() - interval '3 years' END, now() - interval '3 years' FROM generate_series(1, 9) i;
INSERT INTO rt.orders SELECT i, i, localtimestamp - CASE WHEN i = 1 THEN interval '1 day' ELSE interval '8 years' END, 'Street ' || i, 'NL' || i FROM generate_series(1, 6) i;
INSERT INTO rt.orders VALUES (12, 2, localtimestamp - interval '2 years', 'Street 12', 'NL12'), (13, 2, NULL, 'Street 13', 'NL13');
INSERT INTO rt.line SELECT i, i, 'Remark ' || i FROM generate_series(1, 6) i;
INSERT INTO rt.invoice SELECT i, i, current_date - CASE WHEN i = 9 THEN 3 ELSE 8 END * 365, 'Addressee ' || i FROM generate_series(7, 9) i;
INSERT INTO rt.visit SELECT i, i, v, 'Visit ' || i FROM generate_series(1, 5) i, unnest(ARRAY[date '2019-05-05', current_date]) v;
INSERT INTO rt.message SELECT i, i, i + 1, now() - i * interval '100 days', 'Title ' || i, 'Body ' || i FROM generate_series(1, 5) i;
INSERT INTO "rt odd"."a ""table" SELECT E'k\n' || i, gen_random_uuid(), i, now() - i * interval '20 hours', ARRAY['\x00'::bytea, NULL] FROM generate_series(1, 3) i;
CREATE TABLE rt.number AS SELECT id, gdpr.subject('rt.person', id::text) AS subject FROM rt.person;
SELECT count(gdpr.restrict(subject)) FROM rt.number WHERE id = 4;
SELECT relation, category, action, reason, rows, oldest < now() AS overdue FROM gdpr.retention_due;
SELECT count(*) FROM rt.orders;     -- it was a preview
-- a run
CALL gdpr.run_retention(batch => 0);
CALL gdpr.run_retention(budget => '0');
CALL gdpr.run_retention(orphans_after => '-1 day');
BEGIN;
CALL gdpr.run_retention();
ROLLBACK;
RESET client_min_messages;
CALL gdpr.run_retention(batch => 2);
SET client_min_messages = warning;
SELECT id, ordered_at IS NULL AS undated, address, iban FROM rt.orders ORDER BY id;
SELECT id, remark FROM rt.line ORDER BY id;
SELECT id, day = current_date AS today, what FROM rt.visit ORDER BY id, day;
SELECT id, title, body FROM rt.message ORDER BY id;
SELECT "the Key" FROM "rt odd"."a ""table" ORDER BY 1;
SELECT relation, category, action, rows_due, rows_deleted, rows_erased, rows_failed, errors FROM gdpr.retention_result ORDER BY changed_at;
SELECT count(*), bool_and(complete) FROM gdpr.retention_run;
-- again: nothing is left but what has to stay
CALL gdpr.run_retention();
SELECT relation, category, action, reason, rows FROM gdpr.retention_due;
SELECT count(*) FROM gdpr.retention_result r JOIN gdpr.retention_run u ON u.id = r.run WHERE u.started_at = (SELECT max(started_at) FROM gdpr.retention_run);

-- Persons -----------------------------------------------------------------------------------------
-- last activity: the entry of all is of today
SELECT count(*) FROM rt.person;
UPDATE gdpr.provenance SET entered_at = now() - interval '4 years';
SELECT relation, action, reason, rows FROM gdpr.retention_due;
-- end of consent, for a purpose of its own: the longer one wins
SELECT gdpr.set_retention('rt.person', '1 month', 'end of consent', purpose => 'news') > 0 AS ok;
SELECT count(gdpr.give_consent(subject, 'news', occurred_at => now() - interval '4 years')) FROM rt.number WHERE id IN (7, 8);
SELECT count(*) FROM rt.number n, gdpr.withdraw_consent(n.subject, 'news', occurred_at => now() - interval '2 months') WHERE id = 8;
SELECT relation, action, reason, rows FROM gdpr.retention_due;
CALL gdpr.run_retention();
SELECT id, name FROM rt.person ORDER BY id;
SELECT gdpr.drop_retention('rt.person', purpose => 'news');
-- the order of 20 is kept, as its account is open, and would go with the person, who is erased; the invoice of 9 stays, and stays theirs
INSERT INTO rt.person (id, email, name) VALUES (20, 'p20@example.nl', 'Name 20');
INSERT INTO rt.orders VALUES (20, 20, localtimestamp - interval '8 years', 'Street 20', 'NL20');
UPDATE gdpr.provenance SET entered_at = now() - interval '4 years';
SELECT relation, action, reason, rows FROM gdpr.retention_due WHERE action <> 'none';
CALL gdpr.run_retention();
SELECT id, name, email FROM rt.person ORDER BY id;
SELECT i.id, i.person_id, i.addressee, gdpr.subject_number(i.gdpr_sealed) = n.subject AS theirs FROM rt.invoice i JOIN rt.number n USING (id) ORDER BY i.id;
SELECT id, person_id, iban FROM rt.orders ORDER BY id;
SELECT relation, action, rows_due, rows_deleted, rows_erased, rows_failed, errors FROM gdpr.retention_result r JOIN gdpr.retention_run u ON u.id = r.run WHERE u.started_at = (SELECT max(started_at) FROM gdpr.retention_run) ORDER BY r.changed_at;
-- what becomes of policies
ALTER TABLE rt.visit DETACH PARTITION rt.visit_new;
INSERT INTO rt.visit_new VALUES (30, 1, '2001-01-01', 'Detached');
INSERT INTO rt.message VALUES (30, 1, 2, now() - interval '2 years', 'Title 30', 'Body 30');
ALTER TABLE rt.message RENAME sent TO sent_at;      -- the policy follows
SELECT since FROM gdpr.retention WHERE relation = 'rt.message'::regclass;
CALL gdpr.run_retention();
SELECT count(*) FROM rt.visit_new WHERE id = 30;
SELECT title FROM rt.message WHERE id = 30;
INSERT INTO rt.message VALUES (31, 1, 2, now() - interval '2 years', 'Title 31', 'Body 31');
ALTER TABLE rt.message DROP sent_at;                -- there is nothing to follow
CALL gdpr.run_retention();
SELECT title FROM rt.message WHERE id = 31;
SELECT relation, action, errors FROM gdpr.retention_result r JOIN gdpr.retention_run u ON u.id = r.run WHERE u.started_at = (SELECT max(started_at) FROM gdpr.retention_run) ORDER BY r.changed_at;
DROP TABLE "rt odd"."a ""table", rt.message, rt.line;
SELECT gdpr.drop_purpose('news'), gdpr.drop_purpose('tax');
SELECT relation, category, purpose, keep, since FROM gdpr.retention;
SELECT gdpr.drop_retention('rt.orders', purpose => 'tax');
SELECT gdpr.drop_retention(policy => policy) FROM gdpr.retention WHERE purpose = 'dropped';
SELECT gdpr.drop_retention(), gdpr.drop_retention('rt.orders', policy => 1);
SELECT gdpr.drop_retention(policy => -1);
SELECT gdpr.unprotect_now('rt.visit'), gdpr.undeclare_table('rt.visit');
SELECT count(*) FROM gdpr.retention WHERE relation = 'rt.visit'::regclass;
\c :before
SET client_min_messages = warning;
DROP DATABASE retention_regress;
DROP ROLE rt_owner, rt_other, rt_dba, rt_guest;
