-- A table while it is converted: protect, unprotect and rotate_tokens step by step, in one session
-- rotate_tokens concerns all tables of a database: one of its own
CREATE DATABASE regression_transition;
\c regression_transition
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS created;
CREATE SCHEMA conv;
SET search_path = conv, public;
-- few rows on a page: a step converts one page
CREATE TABLE person (
    id integer PRIMARY KEY,
    email text NOT NULL UNIQUE,
    phone text,
    name text CHECK (name <> ''),
    filler char(600) DEFAULT ''
) WITH (fillfactor = 10);
CREATE UNIQUE INDEX ON person (lower(phone));
CREATE TABLE ticket (id integer PRIMARY KEY, person_id integer REFERENCES person, email text, body text, filler char(600) DEFAULT '')
    WITH (fillfactor = 10);
INSERT INTO person SELECT i, 'p' || i || '@x', 'T' || i, 'Name ' || i FROM generate_series(1, 12) i;
INSERT INTO ticket SELECT i, 1 + i % 6, 'p' || 1 + i % 6 || '@x', 'Body ' || i FROM generate_series(1, 12) i;
CREATE TABLE person_before AS TABLE person;
CREATE TABLE ticket_before AS TABLE ticket;
SELECT gdpr.declare_subject('person');
SELECT gdpr.declare_column('person', 'email', 'contact', searchable => true, token_domain => 'conv.email');
SELECT gdpr.declare_column('person', 'phone', 'contact', searchable => true, normalization => 'lower');
SELECT gdpr.declare_column('person', 'name', 'contact');
SELECT gdpr.declare_table('ticket', via => 'person_id', on_forget => 'erase');
SELECT gdpr.declare_column('ticket', 'email', 'contact', searchable => true, token_domain => 'conv.email');
SELECT gdpr.declare_column('ticket', 'body', 'content');
SELECT gdpr.create_purpose('conv', 'contract', ARRAY['contact', 'content']);
CREATE ROLE conv_app;
GRANT USAGE ON SCHEMA conv TO conv_app;
GRANT ALL ON person, ticket, person_before, ticket_before TO conv_app;
SELECT gdpr.grant_purpose('conv', 'conv_app');

-- what an application sees of it, whatever the state
CREATE FUNCTION seen(OUT persons bigint, OUT tickets bigint, OUT wrong bigint, OUT searched bigint, OUT joined bigint)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) INTO persons FROM person;
    SELECT count(*) INTO tickets FROM ticket;
    SELECT (SELECT count(*) FROM (TABLE person_before EXCEPT ALL SELECT id, email, phone, name, filler FROM person) a)
         + (SELECT count(*) FROM (TABLE ticket_before EXCEPT ALL SELECT id, person_id, email, body, filler FROM ticket) b) INTO wrong;
    SELECT count(*) INTO searched FROM person_before b WHERE EXISTS (SELECT FROM person p WHERE p.email = b.email AND p.id = b.id)
        AND b.id = (SELECT p.id FROM person p WHERE lower(p.phone) = lower(b.phone))
        AND b.id IN (SELECT p.id FROM person p WHERE p.email IN (b.email, 'nobody'));
    SELECT count(*) INTO joined FROM person p JOIN ticket t ON t.email = p.email AND t.person_id = p.id;
END $$;
GRANT EXECUTE ON FUNCTION seen() TO conv_app;
CREATE VIEW forms AS
SELECT 'person' AS relation, coalesce(substr(gdpr.sealed_send(gdpr_sealed), 1, 1)::text, 'open') AS form, count(*) FROM person GROUP BY 2;

-- protect ----------------------------------------------------------------------------------------
SELECT gdpr.protect_step('person', 1);
SELECT gdpr.protect_step('person', 1) FROM generate_series(1, 3);
SET gdpr.physical = on;
SELECT count(*) > 0 AS some_open, count(gdpr_sealed) > 0 AS some_sealed, count(*) FILTER (WHERE (gdpr_sealed IS NULL) <> (email LIKE '%@x')) AS wrong FROM person;
SET gdpr.physical = off;
SELECT relation, what, phase, rows_done, pid = pg_backend_pid() AS by_this_session FROM gdpr.conversions;
-- without a purpose nothing is shown, sealed or not
SELECT count(*), count(email), count(name) FROM person;
SELECT count((p).name) FROM (SELECT p FROM person p) s;
SET ROLE conv_app;
SET gdpr.purpose = 'conv';
SELECT * FROM seen();
SELECT count((p).name), min((p).email) FROM (SELECT p FROM person p) s;
SELECT (to_jsonb(p) - 'gdpr_sealed' - 'filler') AS j FROM person p WHERE id IN (1, 12) ORDER BY id;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM person WHERE email = 'p1@x';
-- UNIQUE holds over both: row 1 is sealed, row 12 is not
\set VERBOSITY terse
INSERT INTO person VALUES (20, 'p1@x', 'T20', 'new');
INSERT INTO person VALUES (20, 'p12@x', 'T20', 'new');
INSERT INTO person VALUES (20, 'p20@x', 't12', 'new');
INSERT INTO person VALUES (20, 'p20@x', 't1', 'new');
UPDATE person SET email = 'p12@x' WHERE id = 1;
UPDATE person SET email = 'p1@x' WHERE id = 12;
UPDATE person SET phone = 't12' WHERE id = 1;
\set VERBOSITY default
-- a row that conflicts with one of either kind
INSERT INTO person VALUES (20, 'p1@x', 'T12', 'new');
INSERT INTO person VALUES (1, 'p1@x', 'T1', 'Upserted 1'), (12, 'p12@x', 'T12', 'Upserted 12'), (20, 'p20@x', 'T20', 'Name 20')
    ON CONFLICT (email) DO UPDATE SET name = excluded.name || ' (was ' || person.name || ')' RETURNING id, email, name;
INSERT INTO person VALUES (99, 'p12@x', 'T99', 'x') ON CONFLICT (email) DO NOTHING;
MERGE INTO person p USING (VALUES ('p2@x', 'Merged 2'), ('p11@x', 'Merged 11'), ('p21@x', 'Name 21')) v(email, name) ON p.email = v.email
    WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (21, v.email, NULL, v.name);
SELECT id, email, name FROM person WHERE id IN (1, 2, 11, 12, 20, 21, 99) ORDER BY id;
-- values change places, rows move from one kind to the other
UPDATE person SET email = 'q' || id || '@x' WHERE id IN (1, 12);
UPDATE person SET email = CASE id WHEN 1 THEN 'p12@x' ELSE 'p1@x' END WHERE id IN (1, 12) RETURNING id, email;
UPDATE person SET email = 'q' || id || '@x' WHERE id IN (1, 12);
UPDATE person SET email = 'p' || id || '@x', name = 'Name ' || id WHERE id IN (1, 2, 11, 12);
DELETE FROM person WHERE id > 12;
-- CHECK and NOT NULL hold on values
UPDATE person SET name = '' WHERE id = 12;
UPDATE person SET email = NULL WHERE id = 12;
INSERT INTO person VALUES (20, NULL, NULL, 'x');
SELECT * FROM seen();
-- what a session may not see it does not write over, sealed or not
SET gdpr.purpose = '';
UPDATE person SET name = NULL, email = email WHERE id IN (1, 12) RETURNING id, name;
UPDATE person SET name = 'guess' WHERE id = 12;
SET gdpr.purpose = 'conv';
SELECT * FROM seen();
RESET ROLE;
-- nothing else may be done to it meanwhile
CALL gdpr.rotate_tokens();
SELECT gdpr.protect_step('ticket', 1);
CREATE UNIQUE INDEX ON person (email, id);
ALTER TABLE person ADD UNIQUE (email, id);
ALTER TABLE person DROP CONSTRAINT gdpr_sealed_check;
-- a prepared statement over all states
SET gdpr.purpose = 'conv';
SET plan_cache_mode = force_generic_plan;
PREPARE by_email(text) AS SELECT id, name FROM person WHERE email = $1;
EXECUTE by_email('p12@x');
SELECT gdpr.grant_purpose('conv', current_user);
EXECUTE by_email('p12@x');
-- back again
SELECT gdpr.unprotect_step('person', 1);
SELECT gdpr.unprotect_step('person', 1);
SELECT what, phase FROM gdpr.conversions;
SELECT * FROM seen();
EXECUTE by_email('p1@x');
SELECT gdpr.subject('person', '12');
-- and to the end
CALL gdpr.protect('person', 1);
SELECT * FROM gdpr.conversions;
EXECUTE by_email('p12@x');
SELECT * FROM seen();
CALL gdpr.protect('person');
EXPLAIN (COSTS OFF) EXECUTE by_email('p12@x');
CALL gdpr.protect('ticket', 1);
SELECT * FROM seen();
SELECT conname, convalidated, pg_get_constraintdef(oid) LIKE 'CHECK (gdpr.is_sealed(gdpr_sealed%' AS strict FROM pg_constraint WHERE conrelid = 'person'::regclass AND contype = 'c';

-- rotate_tokens ----------------------------------------------------------------------------------
CREATE TABLE tokens_before AS SELECT gdpr.token_epoch() AS epoch;
SET gdpr.physical = on;
CREATE TABLE stored_before AS SELECT id, email, phone, gdpr_sealed FROM person;
SET gdpr.physical = off;
SELECT gdpr.rotate_step(1, NULL) - epoch AS next_epoch FROM tokens_before;
SELECT count(gdpr.rotate_step(1, epoch + 1)) FROM tokens_before, generate_series(1, 4);
SELECT relation, what, phase, rows_done FROM gdpr.conversions;
SELECT * FROM seen();
EXECUTE by_email('p12@x');
EXECUTE by_email('p1@x');
SET gdpr.physical = on;
SELECT count(*) FILTER (WHERE p.email = b.email) > 0 AS some_old, count(*) FILTER (WHERE p.email <> b.email) > 0 AS some_new FROM person p JOIN stored_before b USING (id);
SET gdpr.physical = off;
\set VERBOSITY terse
INSERT INTO person VALUES (20, 'p1@x', 'T20', 'new');
INSERT INTO person VALUES (20, 'p12@x', 'T20', 'new');
UPDATE person SET email = 'p12@x' WHERE id = 1;
UPDATE person SET email = 'p1@x' WHERE id = 12;
\set VERBOSITY default
INSERT INTO person VALUES (1, 'p1@x', 'T1', 'Upserted 1'), (12, 'p12@x', 'T12', 'Upserted 12') ON CONFLICT (email) DO UPDATE SET name = excluded.name RETURNING id, name;
UPDATE person SET name = 'Name ' || id WHERE id IN (1, 12);
CALL gdpr.protect('person');
CALL gdpr.unprotect('ticket', 1);
SELECT * FROM seen();
-- goes on where it was, and tickets are protected again in the new epoch
CALL gdpr.rotate_tokens(1);
CALL gdpr.protect('ticket');
SELECT gdpr.token_epoch() - epoch AS epochs, gdpr.token_epoch_lives(epoch) AS old_lives, gdpr.token_epoch_lives(gdpr.token_epoch()) AS new_lives FROM tokens_before;
SELECT * FROM gdpr.conversions;
SELECT * FROM seen();
EXECUTE by_email('p12@x');
SET enable_mergejoin = off;
SET enable_nestloop = off;
RESET enable_seqscan;
EXPLAIN (COSTS OFF) SELECT p.id, t.id FROM person p JOIN ticket t ON t.email = p.email WHERE p.id = 1;
-- no stored token is what it was, and segments were not sealed anew
SET gdpr.physical = on;
SELECT count(*) AS rows, count(*) FILTER (WHERE p.email = b.email OR p.phone = b.phone) AS old_tokens,
       count(*) FILTER (WHERE substr(gdpr.sealed_send(p.gdpr_sealed), 22) = substr(gdpr.sealed_send(b.gdpr_sealed), 20)) AS same_segments
FROM person p JOIN stored_before b USING (id) WHERE id NOT IN (1, 12);
-- a second rotation; rows that come in sealed, as from a dump of either epoch
CREATE TABLE dump2 AS SELECT id, email, phone, name, filler, gdpr_sealed FROM person WHERE id = 11;
SET gdpr.physical = off;
CALL gdpr.rotate_tokens();
SELECT gdpr.token_epoch() - epoch AS epochs FROM tokens_before;
DELETE FROM person WHERE id = 11;
SET gdpr.physical = on;
INSERT INTO person SELECT * FROM dump2;
SELECT p.email <> d.email AS new_token FROM person p JOIN dump2 d USING (id);
SET gdpr.physical = off;
EXECUTE by_email('p11@x');
SELECT * FROM seen();
DROP TABLE stored_before, tokens_before, dump2;

-- unprotect --------------------------------------------------------------------------------------
CALL gdpr.unprotect('person', 1);
CALL gdpr.unprotect('ticket', 1);
SELECT gdpr.unprotect_step('person', 1);
SELECT gdpr.unprotect_step('person', 1) FROM generate_series(1, 3);
SET gdpr.physical = on;
SELECT count(*) > count(gdpr_sealed) AS some_open, count(gdpr_sealed) > 0 AS some_sealed FROM person;
SET gdpr.physical = off;
SELECT * FROM seen();
SET gdpr.purpose = '';
SELECT count(name) FROM person;
SET gdpr.purpose = 'conv';
\set VERBOSITY terse
INSERT INTO person VALUES (20, 'p1@x', 'T20', 'new');
INSERT INTO person VALUES (20, 'p12@x', 'T20', 'new');
\set VERBOSITY default
INSERT INTO person VALUES (1, 'p1@x', 'T1', 'Upserted 1'), (12, 'p12@x', 'T12', 'Upserted 12'), (20, 'p20@x', 'T20', 'Name 20')
    ON CONFLICT (email) DO UPDATE SET name = excluded.name RETURNING id, name;
UPDATE person SET name = 'Name ' || id WHERE id IN (1, 12);
DELETE FROM person WHERE id = 20;
SELECT * FROM seen();
SELECT gdpr.unprotect_now('person');
SELECT * FROM seen();
EXECUTE by_email('p12@x');
\d person

-- forget meanwhile -------------------------------------------------------------------------------
SELECT gdpr.protect_now('person');
CREATE TABLE numbers AS SELECT id, gdpr.subject('person', id::text) AS number FROM person;
SELECT gdpr.protect_step('ticket', 1);
SELECT count(*) AS tickets FROM ticket WHERE person_id = 2;
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM numbers WHERE id = 2;
SELECT count(*) AS rows, count(body) AS bodies, count(email) AS emails FROM ticket WHERE person_id = 2 OR id % 6 = 1;
SET gdpr.physical = on;
SELECT count(*) AS rows, count(body) AS bodies, count(email) AS emails FROM ticket WHERE id % 6 = 1;
SET gdpr.physical = off;
SELECT person_id, count(body) FROM ticket GROUP BY 1 ORDER BY 1;
SELECT gdpr.unprotect_step('ticket', 1);
SELECT gdpr.unprotect_step('ticket', 1);
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM numbers WHERE id = 3;
SELECT gdpr.unprotect_now('ticket');
SELECT person_id, count(*), count(body), count(email) FROM ticket GROUP BY 1 ORDER BY 1;
-- a person that is not sealed any more, or not yet again, has its number
SELECT gdpr.unprotect_step('person', 1);
SELECT count(gdpr.unprotect_step('person', 1)) FROM generate_series(1, 4);
SET gdpr.physical = on;
SELECT count(*) AS open FROM person WHERE id = 4 AND gdpr_sealed IS NULL;
SET gdpr.physical = off;
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM numbers WHERE id = 4;
SELECT count(*) FROM person WHERE email = 'p4@x';
SELECT gdpr.unprotect_now('person');
SELECT count(*) FILTER (WHERE name IS NOT NULL) AS names, count(*) FILTER (WHERE email LIKE '%@x') AS emails, count(*) FROM person;
SELECT gdpr.protect_step('person', 1);
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM numbers WHERE id = 12;
SELECT gdpr.protect_now('person');
SELECT count(*) FROM person p JOIN numbers n USING (id) WHERE gdpr.subject('person', p.id::text) <> n.number;
SELECT id FROM numbers n WHERE NOT EXISTS (SELECT FROM person p WHERE p.id = n.id AND p.name IS NOT NULL) ORDER BY id;

-- protect_now in a transaction -------------------------------------------------------------------
BEGIN;
SAVEPOINT a;
SELECT gdpr.protect_now('ticket');
ROLLBACK TO a;
SELECT count(*) FROM pg_attribute WHERE attrelid = 'ticket'::regclass AND attname = 'gdpr_sealed';
SELECT gdpr.protect_now('ticket');
INSERT INTO ticket VALUES (50, 5, 'p5@x', 'inside');
SELECT body FROM ticket WHERE email = 'p5@x' AND id = 50;
ROLLBACK;
SELECT protected, other_form FROM gdpr.mapped_table WHERE relation = 'ticket'::regclass;

-- UNIQUE that is checked at the end cannot be looked after: all in one transaction
CREATE TABLE late (id integer PRIMARY KEY, email text UNIQUE DEFERRABLE);
INSERT INTO late SELECT i, 'l' || i FROM generate_series(1, 3) i;
SELECT gdpr.declare_subject('late');
SELECT gdpr.declare_column('late', 'email', 'contact', searchable => true);
SELECT gdpr.protect_step('late', 1);
CALL gdpr.rotate_tokens(1);
SELECT id FROM late WHERE email = 'l2';
SELECT gdpr.unprotect_step('late', 1);

-- rights
SET ROLE conv_app;
CALL gdpr.protect('ticket');
CALL gdpr.unprotect('person');
CALL gdpr.rotate_tokens();
RESET ROLE;
GRANT EXECUTE ON PROCEDURE gdpr.protect(regclass, bigint), gdpr.unprotect(regclass, bigint), gdpr.rotate_tokens(bigint) TO conv_app;
GRANT USAGE ON SCHEMA gdpr TO conv_app;
SET ROLE conv_app;
CALL gdpr.protect('ticket');
CALL gdpr.unprotect('person');
CALL gdpr.rotate_tokens();
RESET ROLE;
CALL gdpr.protect('person', 0);
CALL gdpr.rotate_tokens(0);
CALL gdpr.protect(NULL);
SELECT gdpr.lock_conversion('ticket'::regclass, true);
SELECT gdpr.unlock_conversion();
DROP SCHEMA conv CASCADE;
DROP OWNED BY conv_app;
DROP ROLE conv_app;
\c contrib_regression
DROP DATABASE regression_transition;
