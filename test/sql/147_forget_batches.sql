-- A person with very many rows: first the keys, then the rows, in batches; interrupted, it goes on.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA fb;
CREATE TABLE fb.person (id integer PRIMARY KEY, name text);
CREATE TABLE fb.visit (id integer, person_id integer REFERENCES fb.person, page text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE fb.visit_0 PARTITION OF fb.visit FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE fb.visit_1 PARTITION OF fb.visit FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE fb.click (id integer PRIMARY KEY, visit_id integer REFERENCES fb.visit, target text);
CREATE TABLE fb.message (id integer PRIMARY KEY, sender integer REFERENCES fb.person, recipient integer REFERENCES fb.person, body text, greeting text);
CREATE TABLE fb.ticket (id integer PRIMARY KEY, person_id integer REFERENCES fb.person ON DELETE SET NULL, question text);
CREATE TABLE fb.invoice (id integer PRIMARY KEY, person_id integer REFERENCES fb.person ON DELETE SET NULL, addressee text);
CREATE TABLE fb.paper (id integer PRIMARY KEY, title text);
CREATE TABLE fb.author (paper integer REFERENCES fb.paper, person integer REFERENCES fb.person, role text, PRIMARY KEY (paper, person));
CREATE TABLE fb.lawsuit (id integer PRIMARY KEY, person_id integer REFERENCES fb.person, story text);
CREATE TABLE fb.stock (visit_id integer REFERENCES fb.visit);
INSERT INTO fb.person SELECT i, 'Name ' || i FROM generate_series(1, 4) i;
INSERT INTO fb.visit SELECT i, 1, 'page ' || i FROM generate_series(1, 1000) i; INSERT INTO fb.visit VALUES (2001, 2, 'of 2');
INSERT INTO fb.visit SELECT 1000 + i, 1, NULL FROM generate_series(1, 5) i;
INSERT INTO fb.click SELECT i, 1 + i % 1000, 'target ' || i FROM generate_series(1, 700) i; INSERT INTO fb.click VALUES (2001, 2001, 'of 2');
INSERT INTO fb.message SELECT i, 1 + i % 2, 2 - i % 2, 'by ' || 1 + i % 2, 'to ' || 2 - i % 2 FROM generate_series(1, 60) i;
INSERT INTO fb.ticket SELECT i, 1, 'question ' || i FROM generate_series(1, 55) i; INSERT INTO fb.invoice SELECT i, 1, 'Name 1' FROM generate_series(1, 30) i;
INSERT INTO fb.paper SELECT i, 'Title ' || i FROM generate_series(1, 40) i; INSERT INTO fb.author SELECT i, 1, 'a' FROM generate_series(1, 40) i; INSERT INTO fb.author VALUES (1, 2, 'b');
INSERT INTO fb.lawsuit SELECT i, 1, 'story ' || i FROM generate_series(1, 25) i; INSERT INTO fb.stock VALUES (7);
DO $$ BEGIN
    PERFORM gdpr.declare_subject('fb.person'), gdpr.declare_column('fb.person', 'name', 'identity');
    PERFORM gdpr.declare_table('fb.visit', via => 'person_id'), gdpr.declare_column('fb.visit', 'page', 'content');
    PERFORM gdpr.declare_table('fb.click', via => 'visit_id'), gdpr.declare_column('fb.click', 'target', 'content');
    PERFORM gdpr.declare_table('fb.message', via => 'sender'), gdpr.declare_column('fb.message', 'body', 'content'), gdpr.declare_column('fb.message', 'greeting', 'content', subject_via => 'recipient'),
            gdpr.declare_access('fb.message', via => 'recipient');
    PERFORM gdpr.declare_table('fb.ticket', via => 'person_id', on_forget => 'erase'), gdpr.declare_column('fb.ticket', 'question', 'content');
    PERFORM gdpr.declare_table('fb.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('fb.invoice', 'addressee', 'identity');
    PERFORM gdpr.declare_table('fb.author', via => 'person'), gdpr.declare_column('fb.author', 'role', 'content');
    PERFORM gdpr.declare_table('fb.paper', owned_through => 'fb.author'), gdpr.declare_column('fb.paper', 'title', 'content');
    PERFORM gdpr.declare_table('fb.lawsuit', via => 'person_id'), gdpr.declare_column('fb.lawsuit', 'story', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{fb.person,fb.visit,fb.click,fb.message,fb.ticket,fb.invoice,fb.paper,fb.author,fb.lawsuit}'::regclass[]) t;
    PERFORM gdpr.create_purpose('fb', 'contract', '{identity,content}'), gdpr.grant_purpose('fb', current_user, override => true);
END $$;
SET gdpr.purpose = 'fb';
SELECT gdpr.subject('fb.person', '1') AS p1, gdpr.subject('fb.person', '3') AS p3 \gset
SELECT gdpr.subject_number(gdpr_sealed) AS paper FROM fb.paper WHERE id = 2 \gset
-- mistakes
CALL gdpr.forget_in_batches(NULL);
CALL gdpr.forget_in_batches(7);
CALL gdpr.forget_in_batches(:p1, batch => 0);
BEGIN; CALL gdpr.forget_in_batches(:p1); ROLLBACK;
SET ROLE test_app; CALL gdpr.forget_in_batches(65536); RESET ROLE;
GRANT EXECUTE ON PROCEDURE gdpr.forget_in_batches TO test_app;
SET ROLE test_app; CALL gdpr.forget_in_batches(65536); RESET ROLE;
REVOKE EXECUTE ON PROCEDURE gdpr.forget_in_batches FROM test_app;

-- it fails half way: the keys are gone, and the rows that came first
SELECT gdpr.hold(:p1, 'lawsuit', '2999-01-01', '{fb.lawsuit}') IS NOT NULL AS hold;
CREATE FUNCTION fb.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 900 THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON fb.visit FOR EACH ROW EXECUTE FUNCTION fb.refuse();
CALL gdpr.forget_in_batches(:p1, 'request 17', 100);
SELECT count(*) FROM gdpr.tombstone WHERE number IN (:p1, :paper) AND category IS NULL;
SELECT count(*) < 1000 AS some_are_gone, count(page) FROM fb.visit WHERE person_id = 1;
SELECT count(*) FROM fb.click WHERE id < 2000;
SELECT name FROM fb.person WHERE id = 1;
INSERT INTO fb.visit VALUES (3000, 1, 'too late');
SELECT r.relation, r.action, r.rows FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint)
WHERE e.subject = :p1 AND r.relation !~ 'visit';
DROP TRIGGER refuse ON fb.visit;
-- again: to its end
CALL gdpr.forget_in_batches(:p1, batch => 100);
SELECT count(*), min(reason) FROM gdpr.erasure WHERE subject = :p1;
SELECT r.relation, r.action, r.rows, regexp_replace(r.reason, 'until .*', 'until …') AS reason FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint, reason text)
WHERE e.subject = :p1 ORDER BY 1, 2, 3;
SELECT count(*), min(id), max(id), count(page) FROM fb.visit; SELECT count(*), min(id) FROM fb.click; SELECT id, name FROM fb.person ORDER BY 1;
SELECT count(*), count(question), count(person_id) FROM fb.ticket; SELECT count(addressee) FROM fb.invoice;
SELECT sender, count(recipient), count(body), count(greeting) FROM fb.message GROUP BY 1;
SELECT count(*), min(title) FROM fb.paper; SELECT count(*), min(person) FROM fb.author;
SET gdpr.override_reason = 'test'; SELECT count(story) FROM fb.lawsuit; RESET gdpr.override_reason;
-- and once more: nothing
CALL gdpr.forget_in_batches(:p1);
SELECT count(*) FROM gdpr.erasure WHERE subject = :p1;
SELECT r.relation, r.rows FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint) WHERE e.subject = :p1 AND r.action IN ('keep', 'hold');
SELECT count(*) FROM gdpr.dark_rows();
-- a person with few rows, or none; whatever the default is
SET default_transaction_isolation = 'serializable';
CALL gdpr.forget_in_batches(:p3);
RESET default_transaction_isolation;
SELECT count(*) FROM fb.person WHERE id = 3;
-- what is shared is said as forget does
INSERT INTO fb.person SELECT i, 'Name ' || i FROM generate_series(51, 52) i;
INSERT INTO fb.paper VALUES (51, 'Shared'), (52, 'Alone'); INSERT INTO fb.author SELECT p, a FROM (VALUES (51, 51), (51, 52), (52, 51)) v(p, a);
SELECT gdpr.subject('fb.person', '51') AS p51 \gset
SELECT relation, action, rows FROM gdpr.forget_preview(:p51) WHERE relation::text LIKE 'fb.%' AND action <> 'keep' ORDER BY 1, 2;
CALL gdpr.forget_in_batches(:p51, batch => 1);
SELECT r.relation, r.action, r.rows FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint)
WHERE e.subject = :p51 AND r.action <> 'keep' ORDER BY 1, 2;
SELECT gdpr.forget(:p3) = id AS the_same FROM gdpr.erasure WHERE subject = :p3;
SELECT count(gdpr.release_hold(id)) FROM gdpr.holds WHERE subject = :p1;
SELECT (SELECT count(*) FROM fb.lawsuit) AS lawsuits, (SELECT count(*) FROM fb.person WHERE id = 1) AS persons;
DROP SCHEMA fb CASCADE;
