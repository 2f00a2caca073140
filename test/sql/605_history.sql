-- The history of values: what they were before and after each change, sealed.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE history_regress;
\c history_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE hi_app; CREATE ROLE hi_mask; CREATE ROLE hi_officer; CREATE ROLE hi_none;
CREATE SCHEMA hi;
CREATE TABLE hi.person (id integer PRIMARY KEY, email text, name text, born date, tags text[], free text);
CREATE TABLE hi.message (id integer, part integer, sender integer REFERENCES hi.person, recipient integer REFERENCES hi.person, body text, reply text, PRIMARY KEY (id, part))
    PARTITION BY LIST (part);
CREATE TABLE hi.message_1 PARTITION OF hi.message FOR VALUES IN (1);
CREATE TABLE hi.message_2 PARTITION OF hi.message FOR VALUES IN (2);
INSERT INTO hi.person SELECT i, 'p' || i || '@x.test', 'Name ' || i, date '2000-01-01' + i, '{a,"b c"}', 'free' FROM generate_series(1, 6) i;
INSERT INTO hi.message SELECT i, 1, i, 1 + i % 5, 'body ' || i, 'reply ' || i FROM generate_series(1, 5) i;
SELECT gdpr.declare_subject('hi.person'), gdpr.declare_column('hi.person', 'email', 'contact', searchable => true, mask => 'email'),
       gdpr.declare_column('hi.person', 'name', 'identity'), gdpr.declare_column('hi.person', 'born', 'identity'), gdpr.declare_column('hi.person', 'tags', 'private'),
       gdpr.declare_table('hi.message', via => 'sender'), gdpr.declare_column('hi.message', 'body', 'content'),
       gdpr.declare_column('hi.message', 'reply', 'content', subject_via => 'recipient');
SELECT gdpr.keep_history('hi.person'); -- declared is enough
SELECT gdpr.protect_now('hi.person'), gdpr.protect_now('hi.message');
SELECT gdpr.keep_history('hi.message');
SELECT gdpr.keep_history('hi.message_1');
SELECT gdpr.keep_history('hi.person', NULL);
SELECT DISTINCT relation, history FROM gdpr.data_map ORDER BY 1;
GRANT USAGE ON SCHEMA hi, gdpr TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA hi TO hi_app, hi_mask;
GRANT EXECUTE ON FUNCTION gdpr.changes TO hi_app, hi_mask, hi_officer;
SELECT gdpr.create_purpose('sales', 'contract', '{contact,identity,private,content}'), gdpr.create_purpose('complaints', 'legal_obligation', '{identity}');
SELECT gdpr.grant_purpose('sales', 'hi_app'), gdpr.grant_purpose('sales', 'hi_mask', mode => 'mask'), gdpr.grant_purpose('complaints', 'hi_officer');
CREATE TABLE hi.number AS SELECT id, gdpr.subject('hi.person', id::text) AS number FROM hi.person; GRANT SELECT ON hi.number TO PUBLIC;
CREATE FUNCTION hi.changes(who integer, OUT role text, OUT actor text, OUT command text, OUT relation text, OUT col text, OUT was text, OUT "is" text, OUT outcome text)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT c.role, c.actor, c.command, c.relation, c."column", c.before, c.after, c.outcome FROM hi.number n, gdpr.changes(n.number) c WHERE n.id = who ORDER BY c.record
$$;
CREATE PROCEDURE hi.wait() LANGUAGE plpgsql AS $$
DECLARE
    mark text := 'mark ' || clock_timestamp();
BEGIN
    PERFORM set_config('gdpr.actor', mark, true);
    PERFORM gdpr.accesses(65536);
    COMMIT;
    FOR i IN 1 .. 400 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.actor = mark) THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'records do not come';
END $$;

-- What is changed -------------------------------------------------------------------------------------
SET ROLE hi_app; SET gdpr.purpose = 'sales'; SET gdpr.actor = 'ann';
UPDATE hi.person SET name = 'Ann', email = 'new@x.test' WHERE id = 1;
UPDATE hi.person SET name = 'Ann', free = 'x' WHERE id = 1; -- nothing personal changes
UPDATE hi.person SET name = NULL, tags = tags || ARRAY['ü'] WHERE id = 1;
INSERT INTO hi.person VALUES (1, 'new@x.test', 'Again', '2001-01-01') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name;
UPDATE hi.person SET id = 10 WHERE id = 6; UPDATE hi.person SET born = born + 1 WHERE id = 10; -- another row key
UPDATE hi.message SET body = 'changed', reply = 'changed' WHERE id = 2;
UPDATE hi.message SET part = 2, body = 'moved' WHERE id = 3;
UPDATE hi.message SET sender = 5 WHERE id = 4; -- another person's, as it is
DELETE FROM hi.message WHERE id = 2;
RESET ROLE; CALL hi.wait(); SET ROLE hi_app;
SELECT * FROM hi.changes(1); SELECT * FROM hi.changes(2); SELECT * FROM hi.changes(3); SELECT * FROM hi.changes(6); SELECT count(*) FROM hi.changes(4);
SELECT count(*) FROM gdpr.changes(NULL);

-- What becomes of it ----------------------------------------------------------------------------------
SET gdpr.actor = 'bob';
BEGIN; UPDATE hi.person SET name = 'one' WHERE id = 4; COMMIT;
BEGIN; UPDATE hi.person SET name = 'two' WHERE id = 4; ROLLBACK;
BEGIN; SAVEPOINT a; UPDATE hi.person SET name = 'three' WHERE id = 4; SAVEPOINT b; UPDATE hi.person SET name = 'four' WHERE id = 4; RELEASE b; ROLLBACK TO a;
    UPDATE hi.person SET name = 'five' WHERE id = 4; COMMIT;
DO $$ BEGIN
    BEGIN
        UPDATE hi.person SET name = 'six' WHERE id = 4;
        RAISE EXCEPTION 'no';
    EXCEPTION WHEN raise_exception THEN
        UPDATE hi.person SET name = 'seven' WHERE id = 4;
    END;
END $$;
UPDATE hi.person SET name = 'eight', born = date '0001-01-01' + 1 / (id - 4) WHERE id = 4; -- fails before
UPDATE hi.person SET name = 'nine' WHERE id = 4 RETURNING 1 / (id - 4); -- and after
BEGIN; UPDATE hi.person SET name = 'ten' WHERE id = 4; PREPARE TRANSACTION 'hi'; COMMIT PREPARED 'hi';
RESET ROLE; CALL hi.wait(); SET ROLE hi_app;
SELECT actor, command, col, was, "is", outcome FROM hi.changes(4);

-- a row that was to be moved, and stayed, is deleted
INSERT INTO hi.message VALUES (5, 1, 5, 1, 'x', 'y') ON CONFLICT (id, part) DO UPDATE SET part = 2, body = 'z';
DELETE FROM hi.message WHERE id = 5;
-- a commit that fails
RESET ROLE; CREATE FUNCTION hi.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'late'; END $$;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON hi.person DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hi.fail();
SET ROLE hi_app; BEGIN; UPDATE hi.person SET name = 'eleven' WHERE id = 5; COMMIT;
RESET ROLE; DROP TRIGGER late ON hi.person; CALL hi.wait(); SET ROLE hi_app;
SELECT command, col, was, "is", outcome FROM hi.changes(5) WHERE command = 'DELETE' OR "is" = 'eleven';

-- Who sees what ---------------------------------------------------------------------------------------
RESET ROLE; SET ROLE hi_officer; SET gdpr.purpose = 'complaints'; SELECT col, was, "is" FROM hi.changes(1);
SET gdpr.purpose = 'sales'; SELECT col, was, "is" FROM hi.changes(1);
RESET gdpr.purpose; SELECT col, was, "is" FROM hi.changes(1) LIMIT 2;
RESET ROLE; SET ROLE hi_mask; SET gdpr.purpose = 'sales'; SELECT col, was, "is" FROM hi.changes(1) WHERE col = 'email';
RESET ROLE; SET ROLE hi_none; SELECT * FROM gdpr.changes(65536);
RESET ROLE;
-- whose value it is decides: restricted now
SELECT gdpr.restrict(number) IS NOT NULL AS restricted FROM hi.number WHERE id = 1;
SET ROLE hi_app; SET gdpr.purpose = 'sales'; SELECT DISTINCT was, "is" FROM hi.changes(1); SELECT was, "is" FROM hi.changes(3); RESET ROLE;
SELECT gdpr.lift_restriction(number, now()) IS NOT NULL AS lifted FROM hi.number WHERE id = 1;

-- Reading it is recorded, as reading the trail and the notes is ---------------------------------------
SET gdpr.actor = 'reader'; SET ROLE hi_app; SELECT count(*) FROM hi.changes(1); RESET ROLE;
SELECT count(*) > 0 AS some FROM gdpr.accesses((SELECT number FROM hi.number WHERE id = 1));
SELECT count(*) > 0 AS some FROM gdpr.audit_log;
SELECT gdpr.give_consent(number, 'sales', note => 'by phone') IS NOT NULL AS given FROM hi.number WHERE id = 2;
SELECT details FROM gdpr.consent_history((SELECT number FROM hi.number WHERE id = 2));
RESET gdpr.actor; CALL hi.wait();
SELECT relation, columns, actions, (SELECT id FROM hi.number n WHERE l.subjects @> n.number) AS person, l.role = session_user AS superuser
FROM gdpr.audit_log l WHERE actor = 'reader' AND kind = 'access' ORDER BY record;

-- Nothing of it is in the clear, and it goes with the person -------------------------------------------
SELECT count(*) > 0 AS blocks, count(*) FILTER (WHERE position(convert_to(v, 'UTF8') IN content) > 0) AS in_the_clear
FROM gdpr.audit_block, unnest('{Name,Ann,new@x.test,changed,moved,eight}'::text[]) v WHERE length(v) > 3;
SELECT gdpr.forget(number) IS NOT NULL AS forgotten FROM hi.number WHERE id = 4;
CALL hi.wait();
SET ROLE hi_app; SET gdpr.purpose = 'sales'; SELECT count(*), count(was), count("is") FROM hi.changes(4); RESET ROLE;
SELECT * FROM gdpr.verify_audit();
SELECT DISTINCT actions FROM gdpr.accesses((SELECT number FROM hi.number WHERE id = 4)) ORDER BY 1; -- of a number
-- a category alone
SELECT gdpr.forget(number, category => 'identity') IS NOT NULL AS forgotten FROM hi.number WHERE id = 1;
SET ROLE hi_app; SELECT col, was, "is" FROM hi.changes(1); RESET ROLE;

-- Columns that are not what they were ------------------------------------------------------------------
SELECT gdpr.unprotect_now('hi.message'), gdpr.undeclare_table('hi.message');
SET ROLE hi_app; SELECT col, was, "is" FROM hi.changes(3); RESET ROLE;
SELECT gdpr.unprotect_now('hi.person');
ALTER TABLE hi.person ALTER born TYPE text, ALTER name TYPE varchar(100);
SELECT gdpr.protect_now('hi.person');
SET ROLE hi_app; SELECT col, was, "is" FROM hi.changes(6); RESET ROLE;
SELECT gdpr.keep_history('hi.person', false);
SET ROLE hi_app; UPDATE hi.person SET name = 'later' WHERE id = 3; RESET ROLE; CALL hi.wait();
SET ROLE hi_app; SELECT count(*) FROM hi.changes(3) WHERE col = 'name'; RESET ROLE;
\c :before
DROP DATABASE history_regress;
DROP ROLE hi_app, hi_mask, hi_officer, hi_none;
