-- Restriction, objection, blocks; and that data of restricted persons stays as it is, whatever statement would change it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE restriction_regress;
\c restriction_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE rs_owner; CREATE ROLE rs_app; CREATE ROLE rs_court; CREATE ROLE rs_fire;
CREATE SCHEMA rs AUTHORIZATION rs_owner;
GRANT USAGE ON SCHEMA rs TO PUBLIC;
SET ROLE rs_owner;
CREATE TABLE rs.agent (id integer PRIMARY KEY, area text);
CREATE TABLE rs.person (id integer PRIMARY KEY, email text UNIQUE, name text, stars integer DEFAULT 0);
CREATE TABLE rs.orders (id integer PRIMARY KEY, person_id integer REFERENCES rs.person ON UPDATE CASCADE ON DELETE CASCADE,
                        agent_id integer REFERENCES rs.agent ON UPDATE CASCADE ON DELETE SET NULL, address text);
CREATE TABLE rs.line (id integer PRIMARY KEY, order_id integer REFERENCES rs.orders ON DELETE CASCADE, what text, amount integer);
CREATE TABLE rs.message (id integer PRIMARY KEY, recipient integer REFERENCES rs.person ON DELETE CASCADE,
                         sender integer REFERENCES rs.person ON DELETE SET NULL, title text, body text, seen boolean DEFAULT false);
CREATE TABLE rs.visit (id integer, person_id integer REFERENCES rs.person ON DELETE CASCADE, day date, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE rs.visit_24 PARTITION OF rs.visit FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE rs.visit_25 PARTITION OF rs.visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO rs.agent VALUES (1, 'north'), (2, 'south');
INSERT INTO rs.person SELECT i, 'p' || i || '@example.nl', 'Name ' || i FROM generate_series(1, 9) i;
INSERT INTO rs.orders SELECT i, i, 1 + i % 2, 'Street ' || i FROM generate_series(1, 9) i;
INSERT INTO rs.line SELECT i, i, 'Thing ' || i, i FROM generate_series(1, 9) i;
INSERT INTO rs.message VALUES (1, 1, 2, 'to 1 from 2', 'words of 2'), (2, 2, 1, 'to 2 from 1', 'words of 1'), (3, 3, 1, 'to 3 from 1', 'words of 1'), (4, 4, 5, 'to 4 from 5', 'words of 5');
INSERT INTO rs.visit SELECT i, i, date '2024-12-28' + i, 'Visit ' || i FROM generate_series(1, 9) i;
GRANT ALL ON ALL TABLES IN SCHEMA rs TO PUBLIC;
RESET ROLE;
SELECT gdpr.declare_subject('rs.person'), gdpr.declare_column('rs.person', 'email', 'contact', searchable => true), gdpr.declare_column('rs.person', 'name', 'identity'),
       gdpr.declare_table('rs.orders', via => 'person_id'), gdpr.declare_column('rs.orders', 'address', 'contact'),
       gdpr.declare_table('rs.line', via => 'order_id'), gdpr.declare_column('rs.line', 'what', 'content'),
       gdpr.declare_table('rs.message', via => 'recipient'), gdpr.declare_column('rs.message', 'title', 'content'),
       gdpr.declare_column('rs.message', 'body', 'content', subject_via => 'sender'),
       gdpr.declare_table('rs.visit', via => 'person_id'), gdpr.declare_column('rs.visit', 'what', 'content');
SELECT gdpr.protect_now(t::regclass) FROM unnest(ARRAY['rs.person', 'rs.orders', 'rs.line', 'rs.message', 'rs.visit']) t;
CREATE TABLE rs.number AS SELECT id, gdpr.subject('rs.person', id::text) AS subject FROM rs.person;
GRANT SELECT ON rs.number TO PUBLIC;
SELECT subject AS p1 FROM rs.number WHERE id = 1 \gset
SELECT subject AS p2 FROM rs.number WHERE id = 2 \gset
SELECT subject AS p3 FROM rs.number WHERE id = 3 \gset
SELECT subject AS p4 FROM rs.number WHERE id = 4 \gset
SELECT gdpr.create_purpose('care', 'contract', '{contact,identity,content}'), gdpr.create_purpose('claims', 'legal_obligation', '{contact,identity,content}', restricted_ground => 'legal_claims'),
       gdpr.create_purpose('study', 'legitimate_interest', '{contact}'), gdpr.create_purpose('ads', 'legitimate_interest', '{contact}', direct_marketing => true),
       gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true), gdpr.create_purpose('task', 'public_task', '{contact}');
SELECT gdpr.grant_purpose(p, r) FROM unnest(ARRAY['care', 'study', 'ads', 'news', 'task']) p, unnest(ARRAY['rs_app', 'rs_fire']) r;
SELECT gdpr.grant_purpose('claims', 'rs_court'), gdpr.grant_purpose('care', 'rs_fire', override => true);
-- what a statement does, in a transaction that is taken back
CREATE FUNCTION rs.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE EXCEPTION USING ERRCODE = 'DONE0', MESSAGE = n || ' rows';
EXCEPTION WHEN SQLSTATE 'DONE0' THEN
    RETURN SQLERRM;
WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- Restrictions: mistakes, several at once, and their end ----------------------------------------------
SELECT gdpr.restrict(NULL);
SELECT gdpr.restrict(42);
SELECT gdpr.restrict(:p1, ground => 'whim');
SELECT gdpr.restrict(:p1, ground => '');
SELECT gdpr.restrict(:p1, occurred_at => clock_timestamp() + interval '1 hour');
SELECT gdpr.restrict(:p1, occurred_at => NULL);
SELECT gdpr.lift_restriction(:p1, informed_at => now());
SELECT gdpr.lift_restriction(NULL, informed_at => now());
SELECT count(*) AS flags, (SELECT count(*) FROM gdpr.flag_event) AS events FROM gdpr.flag;
SELECT gdpr.restrict(:p1, reason => 'he says that the address is wrong', ground => 'accuracy', source => 'letter', occurred_at => '2024-01-01') AS r1 \gset
SELECT gdpr.restrict(:p1, ground => 'legal_claims') AS r2, gdpr.restrict(:p3) AS r3 \gset
SET ROLE rs_app; SET gdpr.purpose = 'care';
SELECT id, email FROM rs.person WHERE id <= 3 ORDER BY id;
RESET ROLE; RESET gdpr.purpose;
SELECT gdpr.lift_restriction(:p1, informed_at => NULL);
SELECT gdpr.lift_restriction(:p1, informed_at => clock_timestamp() + interval '1 hour');
\set VERBOSITY terse
SELECT gdpr.lift_restriction(:p1, informed_at => '2023-12-31 23:59+00', restriction => :'r1'); -- before there was one
\set VERBOSITY sqlstate
SELECT gdpr.lift_restriction(:p1, informed_at => '2024-02-01'); -- before the second
\set VERBOSITY default
SELECT gdpr.lift_restriction(:p1, informed_at => now(), restriction => gen_random_uuid());
SELECT gdpr.lift_restriction(:p1, informed_at => now(), restriction => :'r3'); -- that of another person
SELECT gdpr.lift_restriction(:p1, informed_at => '2024-02-01', restriction => :'r1', reason => 'it was right');
SELECT gdpr.lift_restriction(:p1, informed_at => now(), restriction => :'r1');
SELECT gdpr.standing(:p1, 'care');
SELECT count(gdpr.restrict(:p1)), gdpr.lift_restriction(:p1, informed_at => now());
SELECT gdpr.standing(:p1, 'care');
SELECT kind, status, in_force, ground, occurred_at = '2024-01-01' AS old, informed_at IS NOT NULL AS informed, source, details FROM gdpr.flag_history(:p1);

-- Objections and blocks -------------------------------------------------------------------------------
SELECT gdpr.record_objection(:p2, 'nothing');
SELECT gdpr.record_objection(:p2, 'care');
SELECT gdpr.record_objection(:p2, 'claims');
SELECT gdpr.record_objection(NULL);
SELECT gdpr.record_objection(:p2, 'study', occurred_at => 'infinity');
SELECT gdpr.decide_objection(:p2, 'study', true, 'x');
SELECT gdpr.decide_objection(:p2, 'study', NULL, 'x');
SELECT gdpr.decide_objection(:p2, 'study', false, NULL);
SELECT gdpr.decide_objection(:p2, 'study', false, '');
SELECT gdpr.decide_objection(:p2, 'nothing', true, 'x');
SELECT gdpr.withdraw_objection(:p2, 'study');
SELECT gdpr.withdraw_objection(:p2);
CREATE FUNCTION rs.stands(subject bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(p.name || ' ' || gdpr.standing(subject, p.name), ', ' ORDER BY p.name) FROM gdpr.purpose p
$$;
-- received: hidden; rejected: visible; received again; upheld: hidden, and stays so
SELECT gdpr.record_objection(:p2, 'study', 'private matters') = gdpr.record_objection(:p2, 'study') AS one_objection;
SELECT gdpr.record_objection(:p2, 'task') IS NOT NULL AS of_a_public_task;
SELECT rs.stands(:p2);
SELECT gdpr.decide_objection(:p2, 'study', false, 'fraud') IS NOT NULL AS rejected;
SELECT rs.stands(:p2);
SELECT gdpr.record_objection(:p2, 'study') IS NOT NULL AS again, gdpr.decide_objection(:p2, 'study', true, NULL) IS NOT NULL AS upheld, gdpr.decide_objection(:p2, 'task', true, NULL) IS NOT NULL AS upheld;
SELECT rs.stands(:p2);
SELECT gdpr.withdraw_objection(:p2, 'task', 'changed her mind') IS NOT NULL AS withdrawn;
SELECT rs.stands(:p2);
SELECT purpose, status, in_force, details FROM gdpr.flag_history(:p2);
-- direct marketing: final at once; NULL is all of it, also that of tomorrow, and that based on consent
SELECT gdpr.record_objection(:p2, 'ads') IS NOT NULL AS ads;
SELECT gdpr.decide_objection(:p2, 'ads', false, 'we want to');
SELECT gdpr.decide_objection(:p2, NULL, false, 'we want to');
SELECT gdpr.record_objection(:p3) IS NOT NULL AS all_of_it, count(gdpr.give_consent(:p3, 'news')), gdpr.lift_restriction(:p3, informed_at => now());
SELECT gdpr.create_purpose('win_back', 'legitimate_interest', '{contact}', direct_marketing => true), gdpr.create_purpose('win', 'contract', '{contact}', direct_marketing => true);
SELECT rs.stands(:p3);
SELECT gdpr.withdraw_objection(:p3, 'ads');
SELECT gdpr.record_objection(:p3, 'win') IS NOT NULL AS objected, gdpr.withdraw_objection(:p3) IS NOT NULL AS withdrawn;
SELECT rs.stands(:p3);
-- blocks hold whatever the basis, on that channel
SELECT gdpr.block_channel(:p3, NULL);
SELECT gdpr.block_channel(:p3, '');
SELECT gdpr.unblock_channel(:p3, 'phone');
SELECT gdpr.unblock_channel(:p3, NULL);
SELECT count(gdpr.block_channel(:p3, 'phone', 'do not call')), count(gdpr.block_channel(:p3, 'phone'));
SELECT gdpr.standing(:p3, 'care', 'phone'), gdpr.standing(:p3, 'care', 'Phone'), gdpr.standing(:p3, 'care'), gdpr.standing(:p3, 'news', 'phone'), gdpr.standing(:p3, 'news', 'email'), gdpr.standing(:p3, 'claims', 'phone');
SELECT gdpr.unblock_channel(:p3, 'phone');
SELECT gdpr.standing(:p3, 'care', 'phone');
-- of somebody who was forgotten
CREATE TABLE rs.gone AS SELECT subject FROM rs.number WHERE id = 9;
SELECT gdpr.restrict(subject, 'he asked us') IS NOT NULL AS ok FROM rs.gone;
SELECT gdpr.forget(subject) IS NOT NULL AS a_restricted_person_can_be_forgotten FROM rs.gone;
SELECT (SELECT count(*) FROM rs.person WHERE id = 9) AS persons, (SELECT count(*) FROM rs.orders WHERE id = 9) AS orders, (SELECT count(*) FROM rs.line WHERE id = 9) AS lines, (SELECT count(*) FROM rs.visit WHERE id = 9) AS visits;
SELECT f.kind, f.status, f.details FROM rs.gone, gdpr.flag_history(subject) f;
SELECT gdpr.restrict(subject) FROM rs.gone;
SELECT gdpr.lift_restriction(subject, informed_at => now()) FROM rs.gone;
SELECT gdpr.record_objection(subject) FROM rs.gone;
SELECT gdpr.block_channel(subject, 'email') FROM rs.gone;

-- Who may ------------------------------------------------------------------------------------------------
SET ROLE rs_app;
SELECT gdpr.restrict(:p1);
SELECT gdpr.lift_restriction(:p1, informed_at => now());
SELECT gdpr.record_objection(:p1);
SELECT gdpr.decide_objection(:p1, 'study', true, 'x');
SELECT gdpr.withdraw_objection(:p1);
SELECT gdpr.block_channel(:p1, 'x');
SELECT gdpr.unblock_channel(:p1, 'x');
SELECT * FROM gdpr.flag_history(:p1);
TABLE gdpr.flag;
TABLE gdpr.flag_event;
INSERT INTO gdpr.flag VALUES (:p1, 'r', 0, '', gen_random_uuid(), now());
RESET ROLE;

-- Only stored: persons 2, 4 are restricted ------------------------------------------------------------------
SELECT count(gdpr.restrict(:p2)), count(gdpr.restrict(:p4));
CREATE FUNCTION rs.stored() RETURNS TABLE (part text, count bigint, digest text) LANGUAGE plpgsql SET gdpr.physical = on AS $$
BEGIN
    FOREACH part IN ARRAY ARRAY['person', 'orders', 'line', 'message', 'visit'] LOOP
        RETURN QUERY EXECUTE format('SELECT %1$L::text, count(*), md5(string_agg(t::text, '' '' ORDER BY id)) FROM rs.%1$I t', part);
    END LOOP;
END $$;
CREATE TABLE rs.before AS SELECT * FROM rs.stored();
SET ROLE rs_app; SET gdpr.purpose = 'care';
SELECT id, email, name, stars FROM rs.person WHERE id IN (1, 2) ORDER BY id;
-- the error, once
UPDATE rs.person SET stars = 1 WHERE id = 2;
\set VERBOSITY sqlstate
DELETE FROM rs.line WHERE id = 2;
\set VERBOSITY default
SELECT s AS statement, rs.try(s) AS outcome FROM unnest(ARRAY[
    'UPDATE rs.person SET email = ''x'' WHERE id = 2', 'UPDATE rs.person SET email = email WHERE id = 2', 'UPDATE rs.person SET stars = stars WHERE id = 2',
    'UPDATE rs.person SET id = 22 WHERE id = 2', 'UPDATE rs.person SET stars = 1', 'UPDATE rs.person SET stars = 1 WHERE id IN (1, 3)', 'UPDATE ONLY rs.person p SET stars = a.id FROM rs.agent a WHERE p.id = 1 + a.id',
    'DELETE FROM rs.person WHERE id = 2', 'DELETE FROM rs.person', 'DELETE FROM rs.person WHERE id = 7', 'DELETE FROM rs.orders WHERE id = 2', 'UPDATE rs.orders SET address = NULL WHERE id = 2',
    'UPDATE rs.orders SET person_id = 1 WHERE id = 2', 'UPDATE rs.orders SET person_id = NULL WHERE id = 2', 'UPDATE rs.orders SET person_id = 2 WHERE id = 1', 'DELETE FROM rs.orders WHERE id = 7',
    'UPDATE rs.line SET amount = 0 WHERE id = 2', 'UPDATE rs.line SET order_id = 1 WHERE id = 2', 'DELETE FROM rs.line WHERE what = ''Thing 1''', 'DELETE FROM rs.line',
    'WITH d AS (DELETE FROM rs.line WHERE id = 2 RETURNING id) SELECT 1 FROM d', 'WITH u AS (UPDATE rs.line SET amount = 9 RETURNING id) SELECT 1 FROM u',
    -- from a table whose rows are nobody's
    'DELETE FROM rs.agent WHERE id = 1', 'UPDATE rs.agent SET id = 3 WHERE id = 1', 'UPDATE rs.agent SET area = ''x''',
    -- MERGE, ON CONFLICT
    'MERGE INTO rs.person p USING rs.agent a ON p.id = a.id WHEN MATCHED AND p.id = 2 THEN UPDATE SET stars = 5', 'MERGE INTO rs.line l USING rs.agent a ON l.id = a.id WHEN MATCHED THEN DELETE',
    'MERGE INTO rs.person p USING rs.agent a ON p.id = a.id WHEN MATCHED AND p.id = 1 THEN UPDATE SET stars = 5',
    'INSERT INTO rs.person VALUES (2, ''y'', ''y'') ON CONFLICT (id) DO UPDATE SET stars = 7', 'INSERT INTO rs.person VALUES (2, ''y'', ''y'') ON CONFLICT (id) DO NOTHING',
    'INSERT INTO rs.person VALUES (1, ''y'', ''y'') ON CONFLICT (id) DO UPDATE SET stars = 7', 'INSERT INTO rs.person VALUES (50, ''p2@example.nl'', ''y'') ON CONFLICT (email) DO UPDATE SET stars = 7',
    -- storage is what is left: new rows
    'INSERT INTO rs.orders VALUES (20, 2, 1, ''Street 20'')', 'INSERT INTO rs.line VALUES (20, 2, ''Thing'', 1)', 'INSERT INTO rs.visit VALUES (20, 2, ''2024-05-05'', ''Visit'')',
    'INSERT INTO rs.message VALUES (20, 2, 1, ''t'', ''b'')', 'INSERT INTO rs.message VALUES (21, 1, 2, ''t'', ''b'')',
    -- partitions, and moves between them
    'UPDATE rs.visit SET day = ''2025-06-01'' WHERE id = 2', 'UPDATE rs.visit SET day = ''2025-06-01'' WHERE id = 1', 'UPDATE rs.visit_24 SET day = ''2024-06-01'' WHERE id = 2', 'DELETE FROM rs.visit WHERE id = 4', 'DELETE FROM rs.visit_25 WHERE id = 4',
    'TRUNCATE rs.line', 'TRUNCATE rs.orders CASCADE', 'TRUNCATE rs.person CASCADE', 'TRUNCATE rs.agent CASCADE', 'TRUNCATE rs.visit', 'TRUNCATE rs.visit_24', 'TRUNCATE rs.visit_25', 'TRUNCATE rs.number',
    -- values of another person in the row: 2 wrote to 1
    'UPDATE rs.message SET seen = true WHERE id = 1', 'UPDATE rs.message SET title = ''x'' WHERE id = 1', 'UPDATE rs.message SET body = ''x'' WHERE id = 1', 'UPDATE rs.message SET sender = 3 WHERE id = 1', 'UPDATE rs.message SET sender = NULL WHERE id = 1',
    'UPDATE rs.message SET recipient = 3 WHERE id = 1', 'DELETE FROM rs.message WHERE id = 1', 'DELETE FROM rs.person WHERE id = 1', 'UPDATE rs.message SET seen = true WHERE id = 2', 'UPDATE rs.message SET sender = 3 WHERE id = 2',
    'DELETE FROM rs.message WHERE id = 3', 'UPDATE rs.person SET id = 11 WHERE id = 1', 'TRUNCATE rs.message'
]) s;
RESET ROLE; RESET gdpr.purpose;
-- whoever owns the table is no better off
SELECT s AS statement, rs.try('SET LOCAL ROLE rs_owner; ' || s) AS outcome FROM unnest(ARRAY['UPDATE rs.person SET stars = 1 WHERE id = 2', 'DELETE FROM rs.person WHERE id = 2', 'TRUNCATE rs.line', 'DELETE FROM rs.agent']) s;
SET session_replication_role = replica;
SELECT s AS statement, rs.try(s) AS outcome FROM unnest(ARRAY['UPDATE rs.person SET stars = 1 WHERE id = 2', 'DELETE FROM rs.line WHERE id = 2', 'TRUNCATE rs.line']) s;
RESET session_replication_role;
-- row security of the owner's does not hide a restricted person from TRUNCATE
ALTER TABLE rs.line ENABLE ROW LEVEL SECURITY; ALTER TABLE rs.line FORCE ROW LEVEL SECURITY;
SELECT rs.try('SET LOCAL ROLE rs_owner; TRUNCATE rs.line');
ALTER TABLE rs.line NO FORCE ROW LEVEL SECURITY; ALTER TABLE rs.line DISABLE ROW LEVEL SECURITY;
-- a purpose with a ground of Art. 18(2) may, for what was granted to the role; so may who overrides
SET ROLE rs_app; SET gdpr.purpose = 'claims';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
SET ROLE rs_court;
SELECT email FROM rs.person WHERE id = 2;
SELECT s AS statement, rs.try(s) AS outcome FROM unnest(ARRAY['UPDATE rs.person SET stars = 1 WHERE id = 2', 'UPDATE rs.person SET email = ''x'' WHERE id = 2', 'UPDATE rs.message SET sender = 3 WHERE id = 1', 'DELETE FROM rs.line WHERE id = 2', 'TRUNCATE rs.line']) s;
SET ROLE rs_fire; SET gdpr.purpose = 'care';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
SET gdpr.override_reason = 'fire';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
SET ROLE rs_app;
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
RESET gdpr.override_reason;
-- not without the actor that it requires
RESET ROLE; SELECT gdpr.alter_purpose('claims', requires_actor => true); SET ROLE rs_court; SET gdpr.purpose = 'claims';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
SET gdpr.actor = 'judge';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2');
RESET gdpr.actor; RESET gdpr.purpose; RESET ROLE;
SELECT part AS changed FROM (SELECT * FROM rs.stored() EXCEPT TABLE rs.before) x;

-- Forgetting others: rows of restricted persons that would go with theirs are erased, or let go, and stay -----------
-- 1 wrote to 2, who is restricted; 2 wrote to 1: of that row, what is 1's goes
SELECT gdpr.forget(:p1) IS NOT NULL AS forgotten;
SELECT e.relations FROM gdpr.erasure e WHERE e.subject = :p1;
SET ROLE rs_court; SET gdpr.purpose = 'claims'; SET gdpr.actor = 'judge';
SELECT id, recipient, sender, title, body FROM rs.message ORDER BY id;
RESET gdpr.actor; RESET gdpr.purpose; RESET ROLE;
-- whose row would be deleted by a cascade of the owner's own making
SET ROLE rs_owner; CREATE TABLE rs.gift (id integer PRIMARY KEY, giver integer REFERENCES rs.person ON DELETE CASCADE, owner integer REFERENCES rs.person, what text);
INSERT INTO rs.gift VALUES (1, 3, 4, 'a watch'), (2, 3, 5, 'a ring'); RESET ROLE;
SELECT gdpr.declare_table('rs.gift', via => 'owner'), gdpr.declare_column('rs.gift', 'what', 'content'), gdpr.protect_now('rs.gift');
GRANT SELECT ON rs.gift TO PUBLIC;
SET ROLE rs_app; SELECT rs.try('DELETE FROM rs.person WHERE id = 3'); RESET ROLE;
SELECT gdpr.forget(:p3) IS NOT NULL AS forgotten;
SELECT e.relations FROM gdpr.erasure e WHERE e.subject = :p3;
SET ROLE rs_court; SET gdpr.purpose = 'claims'; SET gdpr.actor = 'judge';
SELECT id, email, name FROM rs.person WHERE id IN (3, 4) ORDER BY id;
SELECT id, giver, owner, what FROM rs.gift ORDER BY id;
RESET gdpr.actor; RESET gdpr.purpose; RESET ROLE;
-- one category of a restricted person
SELECT gdpr.forget(:p2, category => 'content') IS NOT NULL AS forgotten;

-- What the owner does to a whole table, it does: conversions ------------------------------------------------------
CALL gdpr.rotate_tokens();
ALTER TABLE rs.person ADD COLUMN rank integer NOT NULL DEFAULT 1;
VACUUM FULL rs.person;
SET ROLE rs_court; SET gdpr.purpose = 'claims'; SET gdpr.actor = 'judge'; SET enable_seqscan = off;
SELECT id, email, name, rank FROM rs.person WHERE email = 'p2@example.nl';
RESET enable_seqscan; RESET gdpr.actor; RESET gdpr.purpose; RESET ROLE;
CALL gdpr.unprotect('rs.visit');
SELECT id, what FROM rs.visit WHERE id IN (2, 4) ORDER BY id;
CALL gdpr.protect('rs.visit');
SET ROLE rs_app; SELECT rs.try('DELETE FROM rs.visit WHERE id = 2'), rs.try('UPDATE rs.visit SET id = 40 WHERE id = 4'), rs.try('DELETE FROM rs.visit WHERE id = 5'); RESET ROLE;
-- and when the restriction is lifted, everything goes on
SELECT gdpr.lift_restriction(:p2, informed_at => now());
SET ROLE rs_app; SET gdpr.purpose = 'care';
SELECT rs.try('UPDATE rs.person SET stars = 1 WHERE id = 2'), rs.try('DELETE FROM rs.person WHERE id = 2'), rs.try('TRUNCATE rs.visit_24');
RESET ROLE;

\c :before
DROP DATABASE restriction_regress;
DROP ROLE rs_owner, rs_app, rs_court, rs_fire;
