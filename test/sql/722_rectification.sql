-- Recipients are told (Art. 19): of rectification, restriction and erasure.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE rectification_regress;
\c rectification_regress
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE rect_app; CREATE ROLE rect_worker;
CREATE SCHEMA crm;
CREATE TYPE crm.kind AS ENUM ('new', 'od"d');
CREATE TABLE crm.contact (id integer PRIMARY KEY, name text, email text UNIQUE, health text, clear text);
CREATE TABLE crm."Odd Table" ("Key ""1""" crm.kind, day date, raw bytea, stamp timestamptz, contact_id integer REFERENCES crm.contact, "Re mark" text,
    PRIMARY KEY ("Key ""1""", day, raw, stamp));
CREATE TABLE crm.message (id integer PRIMARY KEY, sender_id integer NOT NULL REFERENCES crm.contact, recipient_id integer REFERENCES crm.contact, body text, reply text);
CREATE TABLE crm.visit (id integer, year integer, contact_id integer REFERENCES crm.contact, place text, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE crm.visit_1 PARTITION OF crm.visit FOR VALUES IN (1);
CREATE TABLE crm.visit_2 PARTITION OF crm.visit FOR VALUES IN (2);
INSERT INTO crm.contact SELECT i, 'Name ' || i, i || '@example.nl', 'nuts', 'c' FROM generate_series(1, 9) i;
INSERT INTO crm."Odd Table" VALUES ('od"d', '2026-02-03', '\x00ff', '2026-01-01 12:00+00', 1, 'before');
INSERT INTO crm.message VALUES (1, 1, 2, 'hello', 'hi');
INSERT INTO crm.visit VALUES (1, 1, 1, 'Delft');
DO $$ BEGIN
    PERFORM gdpr.declare_subject('crm.contact');
    PERFORM gdpr.declare_column('crm.contact', 'name', 'identity'), gdpr.declare_column('crm.contact', 'email', 'contact', searchable => true), gdpr.declare_column('crm.contact', 'health', 'health');
    PERFORM gdpr.declare_table('crm."Odd Table"', via => 'contact_id'), gdpr.declare_column('crm."Odd Table"', 'Re mark', 'contact');
    PERFORM gdpr.declare_table('crm.message', via => 'sender_id'), gdpr.declare_column('crm.message', 'body', 'contact'), gdpr.declare_column('crm.message', 'reply', 'contact', subject_via => 'recipient_id');
    PERFORM gdpr.declare_table('crm.visit', via => 'contact_id'), gdpr.declare_column('crm.visit', 'place', 'contact');
    PERFORM gdpr.protect_now(t::regclass) FROM unnest('{crm.contact,"crm.\"Odd Table\"",crm.message,crm.visit}'::text[]) t;
    PERFORM gdpr.create_purpose('service', 'contract', '{identity,contact,health}'), gdpr.create_purpose('claims', 'legal_obligation', '{contact}', restricted_ground => 'legal_claims');
    PERFORM gdpr.grant_purpose('service', 'rect_app'), gdpr.grant_purpose('claims', 'rect_app');
    PERFORM gdpr.add_recipient('Mailer', 'NL', purposes => '{service}'), gdpr.add_recipient('Shop', 'NL', purposes => '{service}');
END $$;
GRANT USAGE ON SCHEMA crm TO rect_app; GRANT ALL ON ALL TABLES IN SCHEMA crm TO rect_app;
CREATE FUNCTION n(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('crm.contact', id::text) $$;
-- the messages that wait, with the numbers of persons as ids of contacts, and take them away
CREATE TABLE persons AS SELECT id, n(id) AS number FROM crm.contact;
CREATE FUNCTION told() RETURNS TABLE (kind text, contact integer, recipient text, refs jsonb, categories jsonb, changes jsonb) LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM gdpr.outbox RETURNING *)
    SELECT g.kind, (SELECT p.id FROM persons p WHERE p.number = coalesce((o.note ->> 'subject')::bigint, g.subject)), o.note ->> 'recipient', o.note -> 'references', o.note -> 'categories',
           coalesce(o.note -> 'changes', o.note -> 'rows')
    FROM gone g, gdpr.open_note('outbox', g.message, g.payload) o(note) ORDER BY g.id
$$;

-- before anything is disclosed, nobody is told
SET ROLE rect_app; SET gdpr.purpose = 'service';
UPDATE crm.contact SET email = 'a@example.nl' WHERE id = 1;
RESET ROLE;
SELECT * FROM told();
SELECT gdpr.disclose(n(1), 'Mailer', '{contact}', reference => 'm-1') IS NOT NULL, gdpr.disclose(n(1), 'Mailer', '{contact}', reference => 'm-1b') IS NOT NULL,
       gdpr.disclose(n(1), 'Shop', '{identity,contact}') IS NOT NULL, gdpr.disclose(n(2), 'Shop', '{contact}') IS NOT NULL;

-- an ordinary UPDATE, by a role that may call nothing, whatever its search path finds
SET ROLE rect_app; SET search_path = crm, pg_catalog;
UPDATE crm.contact SET email = 'b@example.nl', name = 'Anna', health = 'none' WHERE id = 1;
RESET ROLE; RESET search_path;
SELECT * FROM told();
-- what stays the same, is clear, of a category or person that nobody has, or new: not told
UPDATE crm.contact SET email = 'b@example.nl', clear = 'd', health = 'some' WHERE id = 1;
UPDATE crm.contact SET email = 'c@example.nl' WHERE id = 3;
INSERT INTO crm.contact VALUES (10, 'New', 'new@example.nl');
INSERT INTO crm.visit VALUES (2, 1, 1, 'Gouda');
DELETE FROM crm.visit WHERE id = 2;
SELECT * FROM told();
-- to NULL, from NULL, upsert
UPDATE crm.contact SET email = NULL WHERE id = 1;
UPDATE crm.contact SET email = 'd@example.nl' WHERE id = 1;
INSERT INTO crm.contact (id, email) VALUES (1, 'e@example.nl') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO crm.contact (id, email) VALUES (1, 'f@example.nl') ON CONFLICT (id) DO NOTHING;
SELECT kind, recipient, changes FROM told();
-- all of a transaction in one message; what was rolled back is not told
BEGIN;
UPDATE crm.contact SET name = 'one' WHERE id = 1;
SAVEPOINT a;
UPDATE crm.contact SET email = 'lost@example.nl' WHERE id = 1;
UPDATE crm.contact SET email = 'lost2@example.nl' WHERE id = 2;
SAVEPOINT b;
UPDATE crm.contact SET email = 'lost3@example.nl' WHERE id = 1;
RELEASE b;
ROLLBACK TO a;
SAVEPOINT c;
UPDATE crm."Odd Table" SET "Re mark" = 'after';
RELEASE c;
UPDATE crm.contact SET name = 'two' WHERE id = 1;
COMMIT;
BEGIN;
UPDATE crm.contact SET email = 'lost@example.nl' WHERE id = 1;
ROLLBACK;
DO $$ BEGIN
    UPDATE crm.contact SET email = 'lost@example.nl' WHERE id = 1;
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    UPDATE crm.contact SET name = 'three' WHERE id = 1;
END $$;
-- keys look the same whatever the settings are
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape';
UPDATE crm."Odd Table" SET "Re mark" = 'again', day = day + 1;
RESET datestyle; RESET timezone; RESET bytea_output;
SELECT recipient, changes FROM told();
-- a column that is another person's
UPDATE crm.message SET body = 'bye', reply = 'cheerio';
SELECT contact, recipient, changes FROM told();
-- partitions: where it is now
UPDATE crm.visit SET place = 'Breda' WHERE id = 1;
UPDATE crm.visit SET place = 'Tilburg', year = 2 WHERE id = 1;
UPDATE crm.visit SET year = 1 WHERE id = 1;
SELECT recipient, changes FROM told();
-- a row with several owners, and what belongs to it: the recipients of each; of one who is forgotten, none
CREATE TABLE crm.paper (id integer PRIMARY KEY, title text);
CREATE TABLE crm.author (paper_id integer REFERENCES crm.paper, contact_id integer REFERENCES crm.contact ON DELETE CASCADE, PRIMARY KEY (paper_id, contact_id));
CREATE TABLE crm.figure (id integer PRIMARY KEY, paper_id integer REFERENCES crm.paper, caption text);
INSERT INTO crm.paper VALUES (1, 'Title'), (2, 'Other'); INSERT INTO crm.author VALUES (1, 1), (1, 2), (1, 3), (2, 3); INSERT INTO crm.figure VALUES (1, 1, 'Caption');
DO $$ BEGIN
    PERFORM gdpr.declare_table('crm.author', via => 'contact_id');
    PERFORM gdpr.declare_table('crm.paper', owned_through => 'crm.author'), gdpr.declare_column('crm.paper', 'title', 'contact');
    PERFORM gdpr.declare_table('crm.figure', via => 'paper_id'), gdpr.declare_column('crm.figure', 'caption', 'contact');
    PERFORM gdpr.protect_now(t::regclass) FROM unnest('{crm.author,crm.paper,crm.figure}'::text[]) t;
END $$;
UPDATE crm.paper SET title = 'New ' || id;
UPDATE crm.figure SET caption = 'New';
SELECT contact, recipient, changes FROM told();
-- who was merged: either number means both
SELECT n(8) AS eight, n(9) AS nine \gset
SELECT gdpr.disclose(:eight, 'Mailer', '{contact}', reference => 'm-8') IS NOT NULL AS of_8, gdpr.disclose(:nine, 'Mailer', '{contact}', reference => 'm-9') IS NOT NULL AS of_9,
       gdpr.disclose(:nine, 'Shop', '{contact}') IS NOT NULL AS of_9;
SELECT gdpr.merge_subjects(:eight, :nine) = :eight AS survivor;
SELECT recipient, reference FROM gdpr.disclosures_of(:nine);
BEGIN;
UPDATE crm.contact SET email = 'm' || id || '@example.nl' WHERE id IN (8, 9);
COMMIT;
SELECT contact, recipient, refs, changes FROM told();
SELECT gdpr.forget(:nine, category => 'contact') IS NOT NULL AS forgotten;
SELECT kind, recipient, refs, changes FROM told();
UPDATE crm.contact SET email = 'n' || id || '@example.nl' WHERE id IN (8, 9);
SELECT gdpr.disclose(:nine, 'Shop', '{contact}') IS NOT NULL AS again;
UPDATE crm.contact SET email = NULL WHERE id = 8;
SELECT contact, recipient, refs FROM told();
SELECT gdpr.forget(:eight) IS NOT NULL AS forgotten;
SELECT kind, contact, recipient, refs, changes FROM told();
INSERT INTO crm.contact (id) VALUES (9);
-- triggers of the application
CREATE FUNCTION crm.lower_email() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.email := lower(NEW.email); RETURN NEW; END $$;
CREATE TRIGGER lower_email BEFORE UPDATE ON crm.contact FOR EACH ROW EXECUTE FUNCTION crm.lower_email();
UPDATE crm.contact SET clear = 'x' WHERE id = 1;
UPDATE crm.contact SET email = upper(email) WHERE id = 1;
UPDATE crm.contact SET email = 'G@example.nl' WHERE id = 1;
DROP TRIGGER lower_email ON crm.contact;
SELECT recipient, changes FROM told();
-- many at once: a message for each person and recipient
SELECT gdpr.disclose_many(ARRAY(SELECT n(i) FROM generate_series(5, 7) i), 'Mailer', '{contact}', "references" => '{m-5,m-6,m-7}');
UPDATE crm.contact SET email = id || '@example.org' WHERE id > 2;
SELECT contact, recipient, refs FROM told();
-- a row that becomes another person's, relinking, conversions: not a rectification
UPDATE crm.visit SET contact_id = 5;
UPDATE crm.visit SET contact_id = 1;
SELECT gdpr.unprotect_now('crm.visit'), gdpr.protect_now('crm.visit');
SELECT * FROM told();
-- in a transaction that became READ ONLY, or is prepared (without NOTIFY: that could not be)
BEGIN;
UPDATE crm.contact SET email = 'ro@example.nl' WHERE id = 1;
SET TRANSACTION READ ONLY;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE crm.contact SET name = 'serial' WHERE id = 1;
COMMIT;
BEGIN;
UPDATE crm.contact SET email = 'prepared@example.nl' WHERE id = 1;
PREPARE TRANSACTION 'rect';
SELECT count(*) FROM gdpr.outbox WHERE kind = 'rectification';
COMMIT PREPARED 'rect';
SELECT recipient, changes FROM told();
-- commits within a procedure
CREATE PROCEDURE crm.correct() LANGUAGE plpgsql AS $$ BEGIN
    UPDATE crm.contact SET email = 'p1@example.nl' WHERE id = 1; COMMIT;
    UPDATE crm.contact SET email = 'p2@example.nl' WHERE id = 1; ROLLBACK;
    UPDATE crm.contact SET email = 'p3@example.nl' WHERE id = 1; COMMIT;
END $$;
CALL crm.correct();
SELECT recipient, changes FROM told();

-- restriction: when it begins, when the last one is lifted; an officer corrects meanwhile
SELECT gdpr.restrict(n(1), ground => 'accuracy') AS first \gset
SELECT gdpr.restrict(n(1)) IS NOT NULL AS second;
SET gdpr.purpose = 'claims';
UPDATE crm.contact SET email = 'right@example.nl' WHERE id = 1;
SET gdpr.purpose = 'service';
SELECT gdpr.lift_restriction(n(1), now(), restriction => :'first');
SELECT kind, contact, recipient, refs, categories FROM told();
SELECT gdpr.lift_restriction(n(1), now());
SELECT kind, contact, recipient, refs, categories FROM told();
SELECT gdpr.restrict(n(9)) IS NOT NULL AS of_whom_nobody_has_anything, count(*) FROM told();
-- to whom nothing is disclosed any more
SELECT gdpr.drop_recipient('Shop');
UPDATE crm.contact SET name = 'four' WHERE id = 1;
SELECT recipient, changes FROM told();

-- erasure of a category: those who have it, once; from then on they have it no more, until they get it anew
SELECT gdpr.forget(n(1), category => 'contact') IS NOT NULL AS forgotten;
SELECT gdpr.forget(n(1), category => 'health') IS NOT NULL AS nobody_has_it;
SELECT gdpr.forget(n(1), category => 'contact') IS NOT NULL AS again;
UPDATE crm.contact SET email = 'new1@example.nl' WHERE id = 1;
UPDATE crm.contact SET name = 'five' WHERE id = 1;
SELECT * FROM told();
SELECT gdpr.disclose(n(1), 'Mailer', '{contact}', reference => 'm-1c') IS NOT NULL AS anew;
UPDATE crm.contact SET email = 'new2@example.nl' WHERE id = 1;
SELECT recipient, refs, changes FROM told();

-- erasure of a person: sealed under a number of its own, which dies with the message; what else was to be told is not
UPDATE crm.contact SET email = 'never@example.nl' WHERE id = 1;
SELECT gdpr.forget(n(1)) IS NOT NULL AS forgotten;
SELECT o.kind, EXISTS (SELECT FROM persons p WHERE p.number = o.subject) AS under_its_own, gdpr.outbox_payload(o.id) - 'subject' AS payload FROM gdpr.outbox o ORDER BY o.id;
SELECT recipient, kind, categories, acknowledged_at IS NOT NULL AS acknowledged, ended_at IS NOT NULL AS ended FROM gdpr.notices ORDER BY put_at DESC, recipient, kind LIMIT 3;
CREATE TABLE backup AS TABLE gdpr.outbox;
SELECT gdpr.forget(number) IS NOT NULL AS again, count(*) AS messages FROM persons, gdpr.outbox WHERE persons.id = 1 GROUP BY number;
CREATE VIEW dark AS SELECT b.kind, o.note ->> 'recipient' AS recipient FROM backup b, gdpr.open_note('outbox', b.message, b.payload) o(note) ORDER BY b.id;
SELECT * FROM dark;
-- a worker takes them: by the function, or with DELETE; what it rolled back is there again
GRANT SELECT, DELETE, UPDATE (attempts, available_at) ON gdpr.outbox TO rect_worker;
GRANT EXECUTE ON FUNCTION gdpr.outbox_payload(bigint), gdpr.acknowledge_outbox(bigint) TO rect_worker;
SELECT min(id) AS first, max(id) AS last FROM gdpr.outbox \gset
SET ROLE rect_worker;
BEGIN;
SELECT gdpr.acknowledge_outbox(:first);
ROLLBACK;
SELECT gdpr.outbox_payload(:first) ->> 'recipient' AS still_there;
SELECT gdpr.acknowledge_outbox(:first), gdpr.acknowledge_outbox(0) AS no_such, gdpr.acknowledge_outbox(NULL) AS of_none;
RESET ROLE;
SELECT * FROM dark;
SET ROLE rect_worker;
DELETE FROM gdpr.outbox WHERE id = :last;
RESET ROLE;
SELECT * FROM dark;
SELECT recipient, kind, acknowledged_at IS NOT NULL AS acknowledged, ended_at IS NOT NULL AS ended FROM gdpr.notices ORDER BY put_at DESC, recipient, kind LIMIT 2;
-- a dark one that a restore brought back is deleted, and changes nothing
INSERT INTO gdpr.outbox OVERRIDING SYSTEM VALUE SELECT * FROM backup;
SELECT count(*), count(gdpr.outbox_payload(id)) AS readable FROM gdpr.outbox;
SELECT count(*) AS before FROM gdpr.tombstone \gset
DELETE FROM gdpr.outbox;
SELECT count(*) - :before AS new_tombstones FROM gdpr.tombstone;
-- corrected and forgotten in one transaction: only that it is forgotten
BEGIN;
UPDATE crm.contact SET email = 'never@example.nl' WHERE id = 5;
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM persons WHERE id = 5;
COMMIT;
SELECT kind, contact, recipient, refs, changes FROM told();
-- forgotten, but not after all
BEGIN;
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM persons WHERE id = 6;
ROLLBACK;
SELECT count(*) FROM told();
-- TRUNCATE, and replicas that fire no triggers
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM persons WHERE id = 6;
DELETE FROM backup; INSERT INTO backup SELECT * FROM gdpr.outbox;
SELECT * FROM dark;
SET session_replication_role = replica;
TRUNCATE gdpr.outbox;
RESET session_replication_role;
SELECT * FROM dark;
-- nobody takes them: given up
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM persons WHERE id = 7;
DELETE FROM backup; INSERT INTO backup SELECT * FROM gdpr.outbox;
SELECT gdpr.expire_notices('1 hour');
UPDATE gdpr.recipient_notice SET put_at = put_at - interval '2 hours' WHERE acknowledged_at IS NULL AND ended_at IS NULL;
SELECT gdpr.expire_notices('1 hour'), gdpr.expire_notices('1 hour') AS once;
SELECT gdpr.expire_notices(NULL);
SELECT gdpr.expire_notices('0');
SELECT * FROM dark;
SELECT recipient, kind, acknowledged_at IS NULL AS not_acknowledged, ended_at IS NOT NULL AS ended FROM gdpr.notices WHERE subject = (SELECT number FROM persons WHERE id = 7);
SELECT count(*) FROM gdpr.outbox;
-- nothing waits, nothing is left
SELECT kind, count(*), count(acknowledged_at) AS acknowledged, count(ended_at) AS ended FROM gdpr.notices GROUP BY kind ORDER BY kind;
\c :home
DROP DATABASE rectification_regress;
DROP ROLE rect_app, rect_worker;
