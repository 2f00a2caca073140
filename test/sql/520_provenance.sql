-- Provenance: when, by whom, through what and from where each person was entered.
\set VERBOSITY terse
SET client_min_messages = warning;
SET application_name = 'crm';
CREATE SCHEMA pv;
CREATE TABLE pv.person (id integer PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE pv.note (id integer PRIMARY KEY, person_id integer REFERENCES pv.person ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED, body text);
CREATE TABLE pv.visit (id integer, day date, name text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE pv.visit_1 PARTITION OF pv.visit FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE pv.visit_2 PARTITION OF pv.visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO pv.person SELECT i, 'p' || i || '@pv.example', 'Name ' || i FROM generate_series(1, 3) i;
INSERT INTO pv.note VALUES (1, 1, 'of 1'), (2, NULL, 'of nobody else');
INSERT INTO pv.visit VALUES (1, '2024-05-05', 'Visitor');
SELECT gdpr.declare_subject('pv.person');
SELECT gdpr.declare_column('pv.person', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('pv.person', 'name', 'contact');
SELECT gdpr.declare_table('pv.note', via => 'person_id');
SELECT gdpr.declare_column('pv.note', 'body', 'contact');
SELECT gdpr.declare_subject('pv.visit');
SELECT gdpr.declare_column('pv.visit', 'name', 'contact');
SELECT gdpr.create_purpose('pv', 'contract', '{contact}');
SELECT gdpr.grant_purpose('pv', 'test_app');
SELECT gdpr.grant_purpose('pv', current_user);
SET gdpr.purpose = 'pv';
GRANT USAGE ON SCHEMA pv TO test_app;
GRANT ALL ON ALL TABLES IN SCHEMA pv TO test_app;

-- How many rows have come since the last look, and how many numbers are in them
CREATE TABLE pv.seen (n bigint);
INSERT INTO pv.seen VALUES (0);
CREATE FUNCTION pv.news(OUT records bigint, OUT numbers numeric) LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*), sum(p.last_subject - p.first_subject + 1) INTO records, numbers
    FROM gdpr.provenance p, pv.seen WHERE p.first_subject > seen.n;
    UPDATE pv.seen SET n = coalesce((SELECT max(p.last_subject) FROM gdpr.provenance p), 0);
END $$;
CREATE FUNCTION pv.origin(relation regclass, key text, OUT how text, OUT role text, OUT own_session boolean, OUT actor text,
                          OUT application text, OUT client inet, OUT source text, OUT now boolean)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT p.how, CASE WHEN p.role = session_user THEN 'session_user' ELSE p.role END, p.session_role = session_user, p.actor,
           p.application, p.client, p.source, p.entered_at BETWEEN now() - interval '1 minute' AND now()
    FROM gdpr.provenance_of(gdpr.subject(relation, key)) p
$$;
SELECT FROM pv.news();

-- rows that were there: when they were sealed is known, and what gdpr.source says of them; batch by batch
SET gdpr.source = 'old CRM';
CALL gdpr.protect('pv.person', batch => 1);
CALL gdpr.protect('pv.note');
SELECT gdpr.protect_now('pv.visit');
RESET gdpr.source;
SELECT * FROM pv.origin('pv.person', '1');
SELECT * FROM pv.origin('pv.note', '2');
SELECT * FROM pv.origin('pv.visit', '(1,05-05-2024)');
SELECT * FROM pv.news();
-- a row of somebody else is the other's
SELECT gdpr.subject('pv.note', '1') = gdpr.subject('pv.person', '1') AS same;

-- new rows; the role has no privilege in schema gdpr
SET ROLE test_app;
SET gdpr.source = 'webform';
SET gdpr.actor = 'anna';
INSERT INTO pv.person VALUES (10, 'p10@pv.example', 'Name 10');
INSERT INTO pv.note VALUES (10, 10, 'of 10');
RESET gdpr.source;
RESET gdpr.actor;
SET application_name = '';
INSERT INTO pv.person VALUES (11, 'p11@pv.example', 'Name 11');
SET application_name = 'crm';
SELECT count(*) FROM gdpr.provenance;
SELECT * FROM gdpr.provenance_of(65536);
INSERT INTO gdpr.provenance VALUES (1, 1, now(), 'entered', 'me', 'me');
RESET ROLE;
SELECT * FROM pv.origin('pv.person', '10');
SELECT * FROM pv.origin('pv.note', '10');
SELECT * FROM pv.origin('pv.person', '11');
SELECT * FROM pv.news();

-- one row for a statement of many, one for COPY
INSERT INTO pv.person SELECT i, 'p' || i || '@pv.example', 'Name ' || i FROM generate_series(1001, 3000) i;
SELECT * FROM pv.news();
COPY pv.person (id, email, name) FROM stdin;
12	p12@pv.example	Name 12
13	p13@pv.example	Name 13
\.
SELECT * FROM pv.news();

-- within a transaction, each with the settings of its moment
BEGIN;
SET LOCAL gdpr.source = 'fair';
INSERT INTO pv.person VALUES (20), (21);
SET LOCAL gdpr.source = 'partner';
INSERT INTO pv.person VALUES (22);
SET LOCAL gdpr.source = 'fair';
INSERT INTO pv.person VALUES (23);
INSERT INTO pv.person VALUES (24);
COMMIT;
SELECT id, source FROM generate_series(20, 24) id, pv.origin('pv.person', id::text) ORDER BY id;
SELECT * FROM pv.news();

-- what is rolled back was not entered
BEGIN;
INSERT INTO pv.person VALUES (30);
ROLLBACK;
SELECT * FROM pv.news();
BEGIN;
INSERT INTO pv.person VALUES (31);
SAVEPOINT a;
INSERT INTO pv.person VALUES (32);
SAVEPOINT b;
INSERT INTO pv.person VALUES (33);
RELEASE b;
INSERT INTO pv.person VALUES (34);
ROLLBACK TO a;
INSERT INTO pv.person VALUES (35);
SAVEPOINT c;
INSERT INTO pv.person VALUES (36);
RELEASE c;
INSERT INTO pv.person VALUES (37);
COMMIT;
SELECT * FROM pv.news();
SELECT count(*) FROM generate_series(31, 37) id, pv.origin('pv.person', id::text) WHERE id IN (SELECT p.id FROM pv.person p);
DO $$
BEGIN
    FOR i IN 40..59 LOOP
        BEGIN
            INSERT INTO pv.person (id) VALUES (i);
            IF i % 2 = 1 THEN
                INSERT INTO pv.person (id) VALUES (i);
            END IF;
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM pv.news();
-- one for all that follow each other
DO $$
BEGIN
    FOR i IN 60..79 LOOP
        BEGIN
            INSERT INTO pv.person (id) VALUES (i);
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM pv.news();

-- a procedure that commits
CREATE PROCEDURE pv.load() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 80..83 LOOP
        INSERT INTO pv.person (id) VALUES (i);
        IF i = 81 THEN
            ROLLBACK;
        ELSIF i = 82 THEN
            COMMIT;
        END IF;
    END LOOP;
END $$;
CALL pv.load();
SELECT * FROM pv.news();

-- who is there already was not entered
INSERT INTO pv.person VALUES (10, 'p10@pv.example', 'X') ON CONFLICT DO NOTHING;
INSERT INTO pv.person VALUES (10, 'p10@pv.example', 'Name ten') ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name;
INSERT INTO pv.person VALUES (11, 'p11@pv.example', 'X') ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id;
INSERT INTO pv.person SELECT i FROM generate_series(10, 13) i ON CONFLICT (id) DO UPDATE SET email = person.email;
INSERT INTO pv.visit VALUES (1, '2024-05-05', 'X') ON CONFLICT (id, day) DO UPDATE SET name = 'Visitor 1';
CREATE VIEW pv.names AS SELECT name, id FROM pv.person;
INSERT INTO pv.names VALUES ('Name twelve', 12) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name RETURNING *;
MERGE INTO pv.person p USING (VALUES (13, 'Name thirteen')) n(id, name) ON p.id = n.id
WHEN MATCHED THEN UPDATE SET name = n.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (n.id, n.name);
SELECT * FROM pv.news();
MERGE INTO pv.person p USING (VALUES (13, 'Name 13'), (14, 'Name 14')) n(id, name) ON p.id = n.id
WHEN MATCHED THEN UPDATE SET name = n.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (n.id, n.name);
SELECT * FROM pv.news();
SELECT id, name FROM pv.person WHERE id IN (10, 11) ORDER BY id;
-- between others, its number stays, and is nobody's
INSERT INTO pv.person SELECT i FROM generate_series(78, 90) i ON CONFLICT (id) DO UPDATE SET name = 'again';
SELECT * FROM pv.news();
SELECT count(*) FROM generate_series(84, 90) id, pv.origin('pv.person', id::text);
-- a person entered just before is not withdrawn with somebody else's row
BEGIN;
INSERT INTO pv.person VALUES (95);
INSERT INTO pv.note VALUES (10, 95, 'of 95') ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body;
COMMIT;
SELECT how FROM pv.origin('pv.person', '95');
SELECT * FROM pv.news();
-- nor one that the update enters
CREATE FUNCTION pv.enter(id integer) RETURNS text LANGUAGE sql AS 'INSERT INTO pv.person (id, name) VALUES (id, ''entered'') RETURNING name';
INSERT INTO pv.person VALUES (10) ON CONFLICT (id) DO UPDATE SET name = pv.enter(96);
SELECT how FROM pv.origin('pv.person', '96');
SELECT FROM pv.news();

-- children that come first, and what is rolled back then
BEGIN;
SAVEPOINT a;
INSERT INTO pv.note VALUES (101, 101, 'of 101');
ROLLBACK TO a;
INSERT INTO pv.note VALUES (102, 102, 'of 102');
SAVEPOINT b;
INSERT INTO pv.note VALUES (103, 103, 'of 103');
ROLLBACK TO b;
INSERT INTO pv.person SELECT i FROM generate_series(101, 103) i;
COMMIT;
SELECT id, how FROM generate_series(101, 103) id, pv.origin('pv.person', id::text);
SELECT * FROM pv.news();
BEGIN;
SET LOCAL gdpr.source = 'first';
INSERT INTO pv.note VALUES (105, 105, 'of 105');
SAVEPOINT a;
INSERT INTO pv.person VALUES (106);
ROLLBACK TO a;
SET LOCAL gdpr.source = 'second';
INSERT INTO pv.person VALUES (105), (107);
COMMIT;
SELECT id, source FROM unnest('{105,107}'::int[]) id, pv.origin('pv.person', id::text);
SELECT FROM pv.news();

-- a row that becomes a person of its own
DELETE FROM pv.person WHERE id = 102;
SELECT how, source FROM pv.origin('pv.note', '102');
SELECT * FROM pv.news();

-- a function that runs as another role; triggers that fire at the end
CREATE FUNCTION pv.as_owner() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO pv.person VALUES (110)';
CREATE FUNCTION pv.at_end() RETURNS trigger LANGUAGE plpgsql SET gdpr.source = 'trigger' AS $$
BEGIN
    INSERT INTO pv.person VALUES (NEW.id + 1);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_end AFTER INSERT ON pv.person DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.id = 110) EXECUTE FUNCTION pv.at_end();
SET ROLE test_app;
SELECT pv.as_owner();
RESET ROLE;
SELECT id, role, source FROM unnest('{110,111}'::int[]) id, pv.origin('pv.person', id::text);
DROP TRIGGER at_end ON pv.person;
SELECT * FROM pv.news();

-- a transaction that becomes read-only, every isolation level, triggers off
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO pv.person VALUES (120);
SET TRANSACTION READ ONLY;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO pv.person VALUES (121);
COMMIT;
SET session_replication_role = replica;
INSERT INTO pv.person VALUES (122);
RESET session_replication_role;
SELECT id, how FROM generate_series(120, 122) id, pv.origin('pv.person', id::text);
SELECT * FROM pv.news();

-- rows that move, and rows that arrive sealed, are not new
UPDATE pv.visit SET day = day + 300 WHERE id = 1;
SELECT how, source FROM pv.origin('pv.visit', '(1,03-01-2025)');
SET gdpr.physical = on;
CREATE TEMP TABLE kept AS SELECT * FROM pv.visit;
DELETE FROM pv.visit;
INSERT INTO pv.visit SELECT * FROM kept;
RESET gdpr.physical;
SELECT name FROM pv.visit;
SELECT * FROM pv.news();
-- nor those that unprotect opened and protect seals again
SELECT gdpr.subject('pv.person', '10') AS p10 \gset
CALL gdpr.unprotect('pv.note');
CALL gdpr.unprotect('pv.person');
INSERT INTO pv.person VALUES (130, 'p130@pv.example', 'entered while it was not protected');
CALL gdpr.protect('pv.person');
CALL gdpr.protect('pv.note');
SELECT gdpr.subject('pv.person', '10') = :p10 AS same;
SELECT how, source FROM pv.origin('pv.person', '10');
SELECT how, source FROM pv.origin('pv.person', '130');
SELECT * FROM pv.news();

-- an alias is the same person; the number of the forgotten stays, and names nobody
SELECT gdpr.forget(:p10, category => 'contact') IS NOT NULL;
UPDATE pv.person SET name = 'anew' WHERE id = 10;
SELECT how, source FROM gdpr.provenance_of((SELECT number FROM gdpr.subject_alias WHERE subject = :p10));
SELECT gdpr.forget(:p10) IS NOT NULL;
SELECT how, source FROM gdpr.provenance_of(:p10);
SELECT * FROM pv.news();

-- no row where nothing is known
SELECT count(*) FROM gdpr.provenance_of(1);
SELECT count(*) FROM gdpr.provenance_of(549755813887);
SELECT count(*) FROM gdpr.provenance_of(-1);
SELECT gdpr.provenance_of(NULL);

-- everybody here has one origin, and no two ranges of the database overlap
SELECT count(*) FROM pv.person p WHERE (SELECT count(*) FROM gdpr.provenance_of(gdpr.subject('pv.person', p.id::text))) <> 1;
SELECT count(*) FROM (SELECT first_subject <= max(last_subject) OVER (ORDER BY first_subject, last_subject
                                                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS twice
                      FROM gdpr.provenance) r WHERE twice;

-- a failure there fails the transaction, and says where
ALTER TABLE gdpr.provenance RENAME TO other;
INSERT INTO pv.person VALUES (140);
ALTER TABLE gdpr.other RENAME TO provenance;
SELECT count(*) FROM pv.person WHERE id = 140;
SELECT * FROM pv.news();

DROP SCHEMA pv CASCADE;
RESET application_name;
