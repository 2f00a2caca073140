-- The outbox: messages about persons for a worker of the application.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA box;
CREATE TABLE box.person (id integer PRIMARY KEY, name text, phone text);
INSERT INTO box.person SELECT i, 'Name ' || i, '06-' || i FROM generate_series(1, 3) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('box.person');
    PERFORM gdpr.declare_column('box.person', 'name', 'identity'), gdpr.declare_column('box.person', 'phone', 'contact');
    PERFORM gdpr.protect_now('box.person');
END $$;
RESET client_min_messages;
SELECT gdpr.subject('box.person', '1') AS p1, gdpr.subject('box.person', '2') AS p2, gdpr.subject('box.person', '3') AS p3 \gset

-- messages
SELECT gdpr.put_outbox('ask consent', :p1, '{"purpose": "newsletter"}') AS m1 \gset
SELECT gdpr.put_outbox('ask consent', :p2, '{"purpose": "newsletter"}') AS m2 \gset
SELECT gdpr.put_outbox('invite', :p2, '"to the party"') AS m3 \gset
SELECT kind, subject = :p1 AS of_1, available_at = created_at AS available, attempts, position('party' IN encode(decode(payload::text, 'base64'), 'escape')) AS clear_at,
       gdpr.outbox_payload(id) FROM gdpr.outbox ORDER BY id;
SELECT :m1 < :m2 AND :m2 < :m3 AS in_order, count(DISTINCT message) FROM gdpr.outbox;
-- whoever writes to the table cannot exchange payloads
BEGIN;
UPDATE gdpr.outbox SET payload = (SELECT payload FROM gdpr.outbox WHERE id = :m3) WHERE id = :m1;
SELECT gdpr.outbox_payload(:m1);
ROLLBACK;
-- mistakes
SELECT gdpr.put_outbox(NULL, :p1, '1');
SELECT gdpr.put_outbox('', :p1, '1');
SELECT gdpr.put_outbox('x', :p1, NULL);
SELECT gdpr.put_outbox('x', NULL, '1');
SELECT gdpr.put_outbox('x', 42, '1');
SELECT gdpr.outbox_payload(0) IS NULL AS payload, gdpr.defer_outbox(0) IS NULL AS deferred, gdpr.outbox_payload(NULL) IS NULL AS of_none;

-- put off, for longer and longer, and not for ever
SELECT t - clock_timestamp() BETWEEN interval '50 s' AND interval '1 min' AS a_minute FROM gdpr.defer_outbox(:m1) t;
SELECT t - clock_timestamp() BETWEEN interval '110 s' AND interval '2 min' AS two FROM gdpr.defer_outbox(:m1) t;
SELECT attempts, available_at > now() AS later FROM gdpr.outbox WHERE id = :m1;
UPDATE gdpr.outbox SET attempts = 2000000 WHERE id = :m1;
SELECT t - clock_timestamp() < interval '18 h' AS at_most FROM gdpr.defer_outbox(:m1) t;

-- a worker's privileges; others have none
CREATE FUNCTION box.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'allowed';
EXCEPTION WHEN insufficient_privilege THEN
    RETURN 'refused';
END $$;
CREATE TABLE box.attempts (n integer, statement text);
INSERT INTO box.attempts VALUES
    (1, 'SELECT id, kind, subject, message FROM gdpr.outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED'),
    (2, 'SELECT gdpr.outbox_payload(1)'), (3, 'SELECT gdpr.defer_outbox(0)'), (4, 'DELETE FROM gdpr.outbox WHERE id = 0'),
    (5, 'UPDATE gdpr.outbox SET attempts = 0, available_at = now() WHERE id = 0'),
    (6, 'UPDATE gdpr.outbox SET kind = ''x'''), (7, 'UPDATE gdpr.outbox SET payload = payload'), (8, 'TRUNCATE gdpr.outbox'),
    (9, 'INSERT INTO gdpr.outbox (kind, subject, message, payload) VALUES (''x'', 1, gen_random_uuid(), NULL)'),
    (10, 'SELECT gdpr.put_outbox(''x'', 65536, ''1'')'), (11, 'SELECT gdpr.open_note(''outbox'', message, payload) FROM gdpr.outbox'),
    (12, 'SELECT nextval(''gdpr.outbox_id_seq'')');
GRANT USAGE ON SCHEMA box TO test_app, test_other;
GRANT SELECT ON box.attempts TO test_app, test_other;
GRANT SELECT, DELETE, UPDATE (attempts, available_at) ON gdpr.outbox TO test_app;
GRANT EXECUTE ON FUNCTION gdpr.outbox_payload, gdpr.defer_outbox TO test_app;
SET ROLE test_other;
SELECT string_agg(n::text, ' ' ORDER BY n) AS allowed_to_others FROM box.attempts WHERE box.attempt(statement) = 'allowed';
SET ROLE test_app;
SELECT string_agg(n::text, ' ' ORDER BY n) AS allowed_to_a_worker FROM box.attempts WHERE box.attempt(statement) = 'allowed';
-- what a worker does
BEGIN;
SELECT id AS taken, kind, gdpr.outbox_payload(id) AS payload FROM gdpr.outbox WHERE available_at <= now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED \gset
SELECT :taken = :m2 AS taken, :'kind' AS kind, :'payload' AS payload;
DELETE FROM gdpr.outbox WHERE id = :taken;
COMMIT;
RESET ROLE;
REVOKE ALL ON gdpr.outbox FROM test_app;
REVOKE ALL ON FUNCTION gdpr.outbox_payload, gdpr.defer_outbox FROM test_app;

-- forgetting takes the person's messages, and no others; one category, none
SELECT gdpr.put_outbox('invite', :p3, '"to the party"') AS m4 \gset
SELECT gdpr.forget(:p2, category => 'contact') IS NOT NULL AS forgotten;
SELECT id = :m3 AS third, gdpr.outbox_payload(id) FROM gdpr.outbox WHERE subject = :p2;
CREATE TABLE box.backup AS TABLE gdpr.outbox;
SELECT gdpr.forget(:p2) IS NOT NULL AS forgotten;
SELECT count(*), count(*) FILTER (WHERE subject = :p2) AS of_2 FROM gdpr.outbox;
DO $$ BEGIN PERFORM gdpr.put_outbox('x', (SELECT subject FROM box.backup WHERE kind = 'invite' ORDER BY id LIMIT 1), '1');
EXCEPTION WHEN OTHERS THEN RAISE INFO '% %', SQLSTATE, regexp_replace(SQLERRM, '[0-9]+', '(number)'); END $$;
-- in a backup they are dark
INSERT INTO gdpr.outbox OVERRIDING SYSTEM VALUE SELECT * FROM box.backup WHERE subject = :p2;
SELECT kind, gdpr.outbox_payload(id) IS NULL AS dark FROM gdpr.outbox WHERE id = :m3;
SELECT gdpr.forget(:p2) IS NOT NULL AS again;
SELECT count(*) FROM gdpr.outbox WHERE subject = :p2;
-- an alias stands for the person
INSERT INTO gdpr.subject_alias SELECT last_value, :p3, 0 FROM gdpr.number_high_water;
SELECT gdpr.put_outbox('x', number, '1') IS NOT NULL AS put FROM gdpr.subject_alias WHERE subject = :p3;
SELECT kind, subject = :p3 AS of_3 FROM gdpr.outbox WHERE kind = 'x';
DELETE FROM gdpr.subject_alias WHERE subject = :p3;

DELETE FROM gdpr.outbox;
SET client_min_messages = warning;
DROP SCHEMA box CASCADE;
