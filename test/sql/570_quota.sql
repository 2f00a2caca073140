-- Caps: how many persons a statement, and an hour, may reveal.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE quota_regress;
\c quota_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE qt_app; CREATE ROLE qt_team; CREATE ROLE qt_member IN ROLE qt_app, qt_team; CREATE ROLE qt_free; CREATE ROLE qt_mask;
CREATE SCHEMA qt; GRANT USAGE, CREATE ON SCHEMA qt TO PUBLIC;
CREATE TABLE qt.person (id integer PRIMARY KEY, email text, name text, stars integer);
CREATE TABLE qt.orders (id integer PRIMARY KEY, person_id integer REFERENCES qt.person, address text);
INSERT INTO qt.person SELECT i, 'p' || i, CASE WHEN i <= 5 THEN NULL ELSE 'Name ' || i END, i FROM generate_series(1, 20) i;
INSERT INTO qt.orders SELECT i, 1 + i % 20, 'Street ' || i FROM generate_series(1, 40) i;
SELECT gdpr.declare_subject('qt.person'), gdpr.declare_column('qt.person', 'email', 'contact', mask => 'email'), gdpr.declare_column('qt.person', 'name', 'identity'),
       gdpr.declare_table('qt.orders', via => 'person_id'), gdpr.declare_column('qt.orders', 'address', 'contact');
SELECT gdpr.protect_now('qt.person'), gdpr.protect_now('qt.orders');
GRANT SELECT, UPDATE ON qt.person, qt.orders TO PUBLIC;
SELECT gdpr.create_purpose('three', 'contract', '{contact,identity}', max_per_statement => 3), gdpr.create_purpose('all', 'contract', '{contact,identity}'),
       gdpr.create_purpose('none', 'contract', '{contact}', max_per_statement => 0), gdpr.create_purpose('news', 'consent', '{contact}', max_per_statement => 3);
SELECT gdpr.grant_purpose(p, 'qt_app') FROM unnest('{three,all,none,news}'::text[]) p;
SELECT gdpr.grant_purpose('three', 'qt_mask', mode => 'mask'), gdpr.grant_purpose('all', 'qt_free');
SELECT count(gdpr.give_consent(gdpr.subject('qt.person', i::text), 'news')) FROM generate_series(4, 20, 4) i;

-- One statement --------------------------------------------------------------------------------------
SET ROLE qt_app; SET gdpr.purpose = 'three';
SELECT id, email FROM qt.person WHERE id <= 3 ORDER BY id;
SELECT id, email FROM qt.person WHERE id <= 4 ORDER BY id;
\set VERBOSITY sqlstate
SELECT count(email) FROM qt.person;
\set VERBOSITY default
-- what is not shown does not count: no personal column, NULL, nobody who permits it
SELECT count(*), sum(stars) FROM qt.person;
SELECT count(name) FROM qt.person WHERE id <= 8;
SET gdpr.purpose = 'news';
SELECT id, email FROM qt.person WHERE id < 13 AND id <> 8 ORDER BY id;
SELECT count(email) FROM qt.person WHERE id <= 15;
SELECT count(email) FROM qt.person;
SET gdpr.purpose = 'none';
SELECT count(name) FROM qt.person;
SELECT email FROM qt.person WHERE id = 1;
SET gdpr.purpose = 'all';
SELECT count(email) FROM qt.person;
SET gdpr.purpose = '';
SELECT count(email) FROM qt.person;
SET gdpr.purpose = 'three'; SET ROLE qt_mask;
SELECT count(email), min(email) FROM qt.person;
SET ROLE qt_app;
-- each person counts once, in however many rows, columns, tables and subqueries
SELECT p.id, p.email, p.name, o.address, (SELECT q.email FROM qt.person q WHERE q.id = p.id) AS again FROM qt.person p JOIN qt.orders o ON o.person_id = p.id WHERE p.id IN (6, 7, 8) ORDER BY p.id, o.id;
SELECT p.email, o.address FROM qt.person p, qt.orders o WHERE p.id <= 2 AND o.person_id IN (3, 4) ORDER BY p.id, o.id;
SELECT email FROM qt.person WHERE id <= 2 UNION ALL SELECT email FROM qt.person WHERE id BETWEEN 2 AND 3 UNION ALL SELECT address FROM qt.orders WHERE person_id = 1 ORDER BY 1;
SELECT email FROM qt.person WHERE id <= 2 UNION ALL SELECT email FROM qt.person WHERE id BETWEEN 3 AND 4;
-- a condition sees values, too
SELECT count(*) FROM qt.person WHERE email = 'p1';
SELECT id FROM qt.person WHERE id <= 3 AND email > 'p1' ORDER BY id;
UPDATE qt.person SET stars = 0 WHERE email LIKE 'p%';
SELECT to_json(p)->>'email' AS email FROM qt.person p WHERE id <= 4;
COPY (SELECT email FROM qt.person) TO STDOUT;
COPY qt.person TO STDOUT;
-- one call of the client is one statement, whatever it runs
DO $$ BEGIN FOR i IN 1 .. 10 LOOP PERFORM email FROM qt.person WHERE id = 1 + i % 3; END LOOP; END $$;
DO $$ BEGIN FOR i IN 1 .. 10 LOOP PERFORM email FROM qt.person WHERE id = i; END LOOP; END $$;
CREATE FUNCTION qt.email(i integer) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT email FROM qt.person WHERE id = i); END $$;
SELECT qt.email(i) FROM generate_series(1, 3) i;
SELECT qt.email(i) FROM generate_series(1, 4) i;
SELECT qt.email(1), qt.email(2) \; SELECT qt.email(3), qt.email(1) \; SELECT qt.email(4);
-- and the next one begins anew; so does each FETCH
SELECT qt.email(4), qt.email(5), qt.email(6);
BEGIN; DECLARE c CURSOR FOR SELECT id, email FROM qt.person ORDER BY id;
FETCH 3 FROM c; FETCH 3 FROM c; FETCH 4 FROM c; ROLLBACK;
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id, email FROM qt.person ORDER BY id; COMMIT;
-- a prepared statement
PREPARE upto(integer) AS SELECT count(email) FROM qt.person WHERE id <= $1;
EXECUTE upto(3); EXECUTE upto(4); EXECUTE upto(2);
-- nothing more is revealed: neither before the error is seen, nor to whoever catches it and tries again
CREATE FUNCTION qt.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END $$;
SET client_min_messages = notice;
SELECT count(*) FROM qt.person WHERE qt.leak(email);
DO $$
DECLARE
    seen text := '';
BEGIN
    FOR round IN 1 .. 2 LOOP
        FOR i IN 1 .. 6 LOOP
            BEGIN
                seen := seen || (SELECT email FROM qt.person WHERE id = i) || ' ';
            EXCEPTION WHEN OTHERS THEN
                seen := seen || SQLSTATE || ' ';
            END;
        END LOOP;
    END LOOP;
    RAISE NOTICE '%', seen;
END $$;
-- however a purpose is asked for: through views, for channels and topics of one's own, with the setting changed meanwhile
RESET ROLE; SET client_min_messages = warning;
SELECT gdpr.create_view('qt.by_' || c, 'qt.person', 'three', c) FROM unnest('{email,phone}'::text[]) c;
GRANT SELECT ON qt.by_email, qt.by_phone TO PUBLIC;
SET ROLE qt_app; RESET gdpr.purpose; SET client_min_messages = notice;
SELECT email FROM qt.by_email WHERE id <= 2 UNION ALL SELECT email FROM qt.by_phone WHERE id = 3 ORDER BY 1;
SELECT email FROM qt.by_email WHERE id <= 2 UNION ALL SELECT email FROM qt.by_phone WHERE id BETWEEN 3 AND 4;
SELECT email FROM qt.person WHERE gdpr.row_permitted(gdpr_sealed, 'three', 'a') AND id <= 3 UNION ALL SELECT email FROM qt.person WHERE gdpr.row_permitted(gdpr_sealed, 'three', 'b') AND id = 4;
DO $$
DECLARE
    seen text := '';
BEGIN
    FOR i IN 1 .. 6 LOOP
        PERFORM set_config('gdpr.purpose', 'three', true), set_config('gdpr.topic', 't' || i, true);
        BEGIN
            seen := seen || (SELECT email FROM qt.person WHERE id = i) || ' ';
        EXCEPTION WHEN OTHERS THEN
            seen := seen || SQLSTATE || ' ';
        END;
    END LOOP;
    -- what was seen for another purpose does not count for this one, nor the other way round
    PERFORM set_config('gdpr.purpose', 'all', true), set_config('gdpr.topic', '', true);
    seen := seen || (SELECT count(email) FROM qt.person) || ' ';
    PERFORM set_config('gdpr.purpose', 'three', true);
    BEGIN
        seen := seen || (SELECT email FROM qt.person WHERE id = 20);
    EXCEPTION WHEN OTHERS THEN
        seen := seen || SQLSTATE;
    END;
    RAISE NOTICE '%', seen;
END $$;
SET client_min_messages = warning; RESET gdpr.topic;

-- Grants add up, as privileges do; the purpose's own cap and the setting's hold for all ----------------------
RESET ROLE;
SELECT gdpr.grant_purpose('all', 'qt_app', max_per_statement => 2), gdpr.grant_purpose('all', 'qt_team', max_per_statement => 4);
CREATE FUNCTION qt.most() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n integer := 0;
BEGIN
    FOR i IN 1 .. 20 LOOP
        PERFORM email FROM qt.person WHERE id = i;
        n := i;
    END LOOP;
    RETURN n;
EXCEPTION WHEN SQLSTATE 'GD009' THEN
    RETURN n || ', then: ' || SQLERRM;
END $$;
SET gdpr.purpose = 'all';
SET ROLE qt_app; SELECT qt.most(); SET ROLE qt_team; SELECT qt.most(); SET ROLE qt_member; SELECT qt.most(); SET ROLE qt_free; SELECT qt.most(); RESET ROLE;
SELECT gdpr.grant_purpose('all', 'qt_team');
SET ROLE qt_member; SELECT qt.most(); RESET ROLE;
SELECT gdpr.alter_purpose('all', max_per_statement => 3);
SET ROLE qt_app; SELECT qt.most(); SET ROLE qt_member; SELECT qt.most(); SET ROLE qt_free; SELECT qt.most(); RESET ROLE;
SELECT gdpr.alter_purpose('all', max_per_statement => -1);
SET gdpr.max_subjects_per_statement = 5;
SET ROLE qt_app; SELECT qt.most(); SET ROLE qt_free; SELECT qt.most();
RESET ROLE;
-- the setting counts over all purposes
SET ROLE qt_member; SET gdpr.purpose = 'all';
SELECT count(p.email) FROM qt.person p, qt.by_email v WHERE p.id <= 4 AND v.id IN (1, 5);
SELECT count(p.email), count(v.email) FROM qt.person p, qt.by_email v WHERE p.id <= 4 AND v.id IN (1, 5);
SELECT count(p.email), count(v.email) FROM qt.person p, qt.by_email v WHERE p.id <= 4 AND v.id IN (5, 6);
SET gdpr.max_subjects_per_statement = 0; -- not theirs to set
RESET ROLE; SET gdpr.max_subjects_per_statement = 0; SET ROLE qt_free;
SELECT qt.most();
RESET ROLE; RESET gdpr.max_subjects_per_statement; RESET gdpr.purpose;

-- An hour: for each role and purpose, over sessions ---------------------------------------------------------------
SELECT gdpr.create_purpose('hour', 'contract', '{contact}', max_per_hour => 8), gdpr.create_purpose('hour2', 'contract', '{contact}', max_per_hour => 8);
SELECT gdpr.grant_purpose('hour', r), gdpr.grant_purpose('hour2', r) FROM unnest('{qt_app,qt_team}'::name[]) r;
SET gdpr.purpose = 'hour'; SET ROLE qt_app;
-- the same person counts once in a statement, and again in the next
SELECT count(p.email), count(o.address) FROM qt.person p JOIN qt.orders o ON o.person_id = p.id WHERE p.id <= 3;
SELECT count(email) FROM qt.person WHERE id <= 3;
BEGIN; SELECT count(email) FROM qt.person WHERE id = 1; ROLLBACK;
\c -
SET gdpr.purpose = 'hour'; SET ROLE qt_app;
SELECT email FROM qt.person WHERE id = 9;
SELECT email FROM qt.person WHERE id = 9;
-- whoever catches it gets nothing, and nobody else is kept from theirs
SELECT qt.most();
SET ROLE qt_team; SELECT count(email) FROM qt.person WHERE id <= 8; SELECT qt.most();
SET ROLE qt_app; SET gdpr.purpose = 'hour2'; SELECT count(email) FROM qt.person WHERE id <= 8; SELECT qt.most();
-- more is allowed from the next statement on; what was used, was
RESET ROLE; SELECT gdpr.alter_purpose('hour2', max_per_hour => 10);
SET ROLE qt_app; SELECT count(email) FROM qt.person WHERE id <= 2; SELECT email FROM qt.person WHERE id = 1;
-- a purpose of the same name is another one
RESET ROLE; SELECT gdpr.drop_purpose('hour2'), gdpr.create_purpose('hour2', 'contract', '{contact}', max_per_hour => 0), gdpr.grant_purpose('hour2', 'qt_app');
SET ROLE qt_app; SELECT email FROM qt.person WHERE id = 1; RESET ROLE; SELECT gdpr.alter_purpose('hour2', max_per_hour => 1); SET ROLE qt_app; SELECT email FROM qt.person WHERE id = 1; SELECT email FROM qt.person WHERE id = 1;
-- of both caps, what the statement's refuses does not use up the hour's
RESET ROLE; SELECT gdpr.create_purpose('both', 'contract', '{contact}', max_per_statement => 2, max_per_hour => 5), gdpr.grant_purpose('both', 'qt_app');
SET ROLE qt_app; SET gdpr.purpose = 'both';
SELECT qt.most(); SELECT qt.most(); SELECT qt.most();
RESET ROLE; RESET gdpr.purpose;

-- Parallel workers, which would count apart, are not used -----------------------------------------------------------
CREATE TABLE qt.plain AS SELECT i AS id FROM generate_series(1, 2000) i;
GRANT SELECT ON qt.plain TO PUBLIC;
ALTER TABLE qt.plain SET (parallel_workers = 2); ALTER TABLE qt.person SET (parallel_workers = 2);
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off;
CREATE FUNCTION qt.workers(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Workers' THEN
            RETURN NEXT trim(line);
        END IF;
    END LOOP;
END $$;
SELECT gdpr.create_purpose('open', 'contract', '{contact}'), gdpr.grant_purpose('open', 'qt_free');
SELECT gdpr.drop_purpose(name) FROM gdpr.purpose WHERE name <> 'open';
SET ROLE qt_free; SET gdpr.purpose = 'open';
SELECT qt.workers('SELECT count(email) FROM qt.person');
RESET ROLE; SELECT gdpr.alter_purpose('open', max_per_statement => 20); SET ROLE qt_free;
SELECT qt.workers('SELECT count(email) FROM qt.person');
SELECT qt.workers('SELECT count(id) FROM qt.plain');
SELECT count(email) FROM qt.person;
-- not by a function, either, that says it may run there
CREATE FUNCTION qt.safe(i integer) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT email FROM qt.person WHERE id = i';
SELECT count(qt.safe(id % 10)) FROM qt.plain;
SET max_parallel_workers_per_gather = 0;
SELECT count(qt.safe(1 + id % 10)) FROM qt.plain;
RESET ROLE;

\c :before
DROP DATABASE quota_regress;
DROP ROLE qt_app, qt_team, qt_member, qt_free, qt_mask;
