-- The guard: what INSERT and UPDATE do to sealed rows.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA guard;
GRANT USAGE ON SCHEMA guard TO test_app, test_guest;
CREATE TABLE guard.person (
    id serial PRIMARY KEY,
    name text NOT NULL,
    email varchar(60) UNIQUE,
    born date CHECK (born > '1900-01-01'),
    iban text,
    city text,
    visits integer NOT NULL DEFAULT 0
);
INSERT INTO guard.person (name, email, born, iban, city) VALUES
    ('Ann', 'ann@example.nl', '1980-02-29', 'NL01', 'Delft'),
    ('Ben', 'ben@example.nl', NULL, '', 'Gouda'),
    ('Žofie', 'zofie@example.cz', '1999-12-31', 'CZ65', 'Praha');
SELECT gdpr.declare_subject('guard.person', key => 'id');
SELECT gdpr.declare_column('guard.person', 'name', category => 'contact');
SELECT gdpr.declare_column('guard.person', 'email', category => 'contact', searchable => true);
SELECT gdpr.declare_column('guard.person', 'born', category => 'identity');
SELECT gdpr.declare_column('guard.person', 'iban', category => 'financial');
CALL gdpr.protect('guard.person');
SELECT gdpr.create_purpose('guard all', 'contract', '{contact,identity,financial}');
SELECT gdpr.create_purpose('guard contact', 'contract', '{contact}');
SELECT gdpr.grant_purpose('guard all', 'test_app');
SELECT gdpr.grant_purpose('guard contact', 'test_app');
GRANT ALL ON ALL TABLES IN SCHEMA guard TO test_app, test_guest;
GRANT ALL ON ALL SEQUENCES IN SCHEMA guard TO test_app, test_guest;
RESET client_min_messages;

-- stored: tokens and placeholders, nothing else
SET gdpr.physical = on;
SELECT id, name, email ~ '^[a-z2-7]{20}$' AS token, born, iban, city FROM guard.person ORDER BY id;
RESET gdpr.physical;

SET ROLE test_app;
SET gdpr.purpose = 'guard all';
SELECT id, name, email, born, iban, city, visits FROM guard.person ORDER BY id;

-- NULL, the empty string and absent are three things
SELECT id, iban IS NULL AS iban_null, iban = '' AS iban_empty, born IS NULL AS born_null FROM guard.person ORDER BY id;

-- an UPDATE changes what it assigns and keeps the rest
UPDATE guard.person SET name = 'Anna' WHERE id = 1 RETURNING id, name, email, born, iban;
UPDATE guard.person SET born = NULL WHERE id = 1 RETURNING id, name, born;
UPDATE guard.person SET visits = visits + 1 WHERE id = 1 RETURNING id, name, email, born, iban, visits;
UPDATE guard.person SET email = lower(name) || '@example.org', iban = iban || '02' RETURNING id, email, iban;
-- an ORM writes whole rows back, gdpr_sealed included
UPDATE guard.person p SET name = o.name, email = o.email, born = o.born, iban = o.iban, city = 'Leiden',
    gdpr_sealed = o.gdpr_sealed FROM guard.person o WHERE o.id = p.id AND p.id = 2
    RETURNING p.id, p.name, p.email, p.iban, p.city;
-- which costs no new envelope when nothing changes
SELECT gdpr_sealed AS before FROM guard.person WHERE id = 2 \gset
UPDATE guard.person SET name = 'Ben', iban = '02', visits = 5 WHERE id = 2;
SELECT gdpr_sealed::text = :'before' AS same_envelope FROM guard.person WHERE id = 2;
UPDATE guard.person SET name = 'Bèn' WHERE id = 2;
SELECT gdpr_sealed::text = :'before' AS same_envelope, name FROM guard.person WHERE id = 2;

-- constraints hold on values
INSERT INTO guard.person (name, born) VALUES ('Old', '1800-01-01');
UPDATE guard.person SET born = '1800-01-01' WHERE id = 1;
INSERT INTO guard.person (email) VALUES ('nobody@example.nl');
UPDATE guard.person SET name = NULL WHERE id = 1;
INSERT INTO guard.person (name, email) VALUES ('Twin', 'anna@example.org');
INSERT INTO guard.person (name, email) VALUES ('Twin', 'anna@example.org') ON CONFLICT (email) DO NOTHING;
INSERT INTO guard.person (name, email) VALUES ('Twin', 'anna@example.org')
    ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name, iban = guard.person.iban || EXCLUDED.name
    RETURNING id, name, email, iban;
MERGE INTO guard.person p USING (VALUES (1, 'Merged'), (99, 'Inserted')) AS v (id, name) ON p.id = v.id
    WHEN MATCHED THEN UPDATE SET name = v.name, born = NULL
    WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
SELECT id, name, born FROM guard.person WHERE id IN (1, 99) ORDER BY id;

-- a key that changes takes the values along
UPDATE guard.person SET id = 100 WHERE id = 99 RETURNING id, name;

-- a session that sees less: what it is shown may be written back, nothing else
SET gdpr.purpose = 'guard contact';
SELECT id, name, email, born, iban FROM guard.person WHERE id = 3;
UPDATE guard.person SET name = 'Žofie II', email = email, born = NULL, iban = NULL WHERE id = 3;
UPDATE guard.person SET iban = 'stolen' WHERE id = 3;
UPDATE guard.person SET name = 'x', born = '2000-01-01' WHERE id = 3;
-- it may enter new people whole
INSERT INTO guard.person (id, name, born, iban) VALUES (200, 'New', '1990-09-09', 'NL99') RETURNING name, born, iban;
INSERT INTO guard.person (id, name, iban) VALUES (200, 'Newer', 'NL00') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name;
INSERT INTO guard.person (id, name, iban) VALUES (200, 'Newer', 'NL00') ON CONFLICT (id) DO UPDATE SET iban = EXCLUDED.iban;
SET gdpr.purpose = 'guard all';
SELECT id, name, email, born, iban FROM guard.person WHERE id IN (3, 200) ORDER BY id;

-- without a purpose: hidden; with one that is not granted or unknown: an error
RESET gdpr.purpose;
SELECT id, name, email, born, iban, city FROM guard.person WHERE id = 3;
SELECT count(*) FROM guard.person WHERE email = 'zofie@example.org';
SET gdpr.purpose = 'no such';
SELECT name FROM guard.person;
SELECT count(city) FROM guard.person;
RESET ROLE;
SET ROLE test_guest;
SET gdpr.purpose = 'guard all';
SELECT name FROM guard.person;
RESET gdpr.purpose;
UPDATE guard.person SET city = 'Utrecht', name = NULL WHERE id = 3;
RESET ROLE;

-- envelopes cannot be moved, forged or taken off; with values beside it one is of no consequence
SET gdpr.purpose = 'guard all';
SELECT gdpr.grant_purpose('guard all', current_user);
INSERT INTO guard.person (id, name, gdpr_sealed) SELECT 300, name, gdpr_sealed FROM guard.person WHERE id = 3;
INSERT INTO guard.person (id, name, gdpr_sealed) SELECT 300, NULL, gdpr_sealed FROM guard.person WHERE id = 3;
INSERT INTO guard.person (name, gdpr_sealed) VALUES ('x', 'AAAA');
UPDATE guard.person SET gdpr_sealed = NULL WHERE id = 3;
SELECT name FROM guard.person WHERE id = 3;
UPDATE guard.person p SET gdpr_sealed = o.gdpr_sealed FROM guard.person o WHERE p.id = 3 AND o.id = 1;
SELECT name FROM guard.person WHERE id = 3;
SET gdpr.physical = on;
UPDATE guard.person SET name = 'clear text' WHERE id = 3;
UPDATE guard.person SET gdpr_sealed = NULL WHERE id = 3;
UPDATE guard.person p SET gdpr_sealed = o.gdpr_sealed FROM guard.person o WHERE p.id = 3 AND o.id = 1;
-- what a dump does: rows arrive as they are stored
CREATE TEMP TABLE dumped AS SELECT * FROM guard.person;
DELETE FROM guard.person;
INSERT INTO guard.person SELECT * FROM dumped;
UPDATE guard.person p SET name = d.name, email = d.email, born = d.born, iban = d.iban, gdpr_sealed = d.gdpr_sealed
    FROM dumped d WHERE d.id = p.id;
RESET gdpr.physical;
SELECT id, name, email, born, iban FROM guard.person ORDER BY id;
-- the table's own constraint refuses what triggers do not see
ALTER TABLE guard.person DISABLE TRIGGER ALL;
INSERT INTO guard.person (name) VALUES ('clear text');
UPDATE guard.person SET name = 'clear text' WHERE id = 3;
ALTER TABLE guard.person ENABLE TRIGGER ALL;
SET session_replication_role = replica;
INSERT INTO guard.person (id, name) VALUES (301, 'sealed here too');
RESET session_replication_role;
SELECT name FROM guard.person WHERE id = 301;
SET gdpr.physical = on;
SELECT name FROM guard.person WHERE id = 301;
RESET gdpr.physical;

-- SQL can neither call nor build what the planner uses
SELECT gdpr.reveal(gdpr_sealed, '4'::gdpr.column_ref, id) FROM guard.person;
SELECT gdpr.reveal(gdpr_sealed, 4, id) FROM guard.person;
SELECT gdpr.token('x'::text, NULL::gdpr.column_ref) IS NULL AS nothing;

-- triggers of the application see values in NEW
CREATE FUNCTION guard.shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'trigger sees %, %, %', NEW.name, NEW.email, NEW.born;
    NEW.name := upper(NEW.name);
    RETURN NEW;
END $$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON guard.person FOR EACH ROW EXECUTE FUNCTION guard.shout();
INSERT INTO guard.person (id, name, email) VALUES (400, 'loud', 'loud@example.nl') RETURNING name;
UPDATE guard.person SET email = 'louder@example.nl' WHERE id = 400 RETURNING name, email;
UPDATE guard.person SET visits = 9 WHERE id = 3 RETURNING name, email, visits;
-- as far as the session may see them
RESET gdpr.purpose;
UPDATE guard.person SET visits = 10 WHERE id = 3 RETURNING name, visits;
SET gdpr.purpose = 'guard all';
SELECT name, email FROM guard.person WHERE id = 3;

-- given back as it was
CALL gdpr.unprotect('guard.person');
SELECT id, name, email, born, iban, city, visits FROM guard.person ORDER BY id;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'guard.person'::regclass AND contype <> 'n' ORDER BY conname;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'guard.person'::regclass AND NOT tgisinternal;
DROP SCHEMA guard CASCADE;
