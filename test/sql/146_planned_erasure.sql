-- Erasures that wait, and can be taken back: a tenant leaves.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA pe;
CREATE TABLE pe.person (id integer PRIMARY KEY, tenant integer, name text);
CREATE TABLE pe.orders (id integer PRIMARY KEY, person_id integer REFERENCES pe.person, note text);
INSERT INTO pe.person SELECT i, i % 3, 'Name ' || i FROM generate_series(1, 30) i;
INSERT INTO pe.orders SELECT i, i, 'note ' || i FROM generate_series(1, 30) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('pe.person'), gdpr.declare_column('pe.person', 'name', 'identity');
    PERFORM gdpr.declare_table('pe.orders', via => 'person_id'), gdpr.declare_column('pe.orders', 'note', 'content');
    PERFORM gdpr.protect_now('pe.person'), gdpr.protect_now('pe.orders'), gdpr.create_purpose('pe', 'contract', '{identity,content}'), gdpr.grant_purpose('pe', current_user);
END $$;
SET gdpr.purpose = 'pe';
CREATE TABLE pe.number AS SELECT id, tenant, gdpr.subject_number(gdpr_sealed) AS number FROM pe.person;
SELECT number AS p1 FROM pe.number WHERE id = 1 \gset
-- mistakes
SELECT gdpr.plan_erasure(NULL);
SELECT gdpr.plan_erasure('{}');
SELECT gdpr.plan_erasure('{7}');
SELECT gdpr.plan_erasure(ARRAY[NULL::bigint]);
SELECT gdpr.plan_erasure(ARRAY[:p1], grace => '-1 day');
SELECT gdpr.plan_erasure(ARRAY[:p1], grace => '300000 years');
SELECT gdpr.expire_notices('178000000 years'), gdpr.expire_notices(NULL);
SELECT gdpr.request_consent(:p1, 'pe', valid => '300000 years');
SELECT gdpr.retention_step(NULL, '300000 years', 10, NULL); SELECT gdpr.retention_step(NULL, NULL, 10, '300000 years');
SELECT gdpr.schedule_retention(budget => '300000 years'); SELECT gdpr.schedule_retention(orphans_after => '-1 day');
CALL gdpr.run_planned_erasures(0);
CALL gdpr.run_planned_erasures(NULL);
SET ROLE test_app;
SELECT gdpr.plan_erasure('{65536}');
SELECT gdpr.cancel_erasure('{65536}');
CALL gdpr.run_planned_erasures();
RESET ROLE;
GRANT EXECUTE ON PROCEDURE gdpr.run_planned_erasures TO test_app;
SET ROLE test_app; CALL gdpr.run_planned_erasures(); RESET ROLE;
REVOKE EXECUTE ON PROCEDURE gdpr.run_planned_erasures FROM test_app;
SHOW gdpr.erasure_grace;
SET gdpr.erasure_grace = '1d';

-- a tenant: hidden at once, forgotten later; a mistake is taken back
SELECT gdpr.plan_erasure(ARRAY(SELECT number FROM pe.number WHERE tenant = 1), 'offboarding', '1 day');
SELECT gdpr.plan_erasure(ARRAY(SELECT number FROM pe.number WHERE tenant = 1), 'again', '2 days');
SELECT count(*), min(due_at) > now() + interval '23 hours' AS later, min(reason) FROM gdpr.planned_erasure;
SELECT tenant, count(name) FROM pe.person GROUP BY 1 ORDER BY 1;
UPDATE pe.orders SET note = 'x' WHERE id = 1;
CALL gdpr.run_planned_erasures();
SELECT gdpr.cancel_erasure(ARRAY(SELECT number FROM pe.number WHERE id IN (1, 2)));
SELECT gdpr.cancel_erasure(ARRAY[:p1]);
SELECT name FROM pe.person WHERE id = 1;
SELECT status FROM gdpr.flag_history(:p1) ORDER BY recorded_at;
-- due, but for those who cannot be forgotten now
UPDATE gdpr.planned_erasure SET due_at = now();
CREATE FUNCTION pe.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 4 THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON pe.orders FOR EACH ROW EXECUTE FUNCTION pe.refuse();
\set VERBOSITY sqlstate
CALL gdpr.run_planned_erasures(4);
\set VERBOSITY terse
SELECT n.id, p.failure, p.due_at > now() + interval '59 minutes' AS later FROM gdpr.planned_erasure p JOIN pe.number n ON n.number = p.subject;
SELECT tenant, count(*), count(name) FROM pe.person GROUP BY 1 ORDER BY 1;
SELECT count(*), min(reason) FROM gdpr.erasure e JOIN pe.number n ON n.number = e.subject;
DROP TRIGGER refuse ON pe.orders; DROP FUNCTION pe.refuse;
UPDATE gdpr.planned_erasure SET due_at = now();
CALL gdpr.run_planned_erasures();
SELECT tenant, count(*) FROM pe.person GROUP BY 1 ORDER BY 1;
\set VERBOSITY sqlstate
SELECT gdpr.cancel_erasure(ARRAY(SELECT number FROM pe.number WHERE id = 4));
\set VERBOSITY terse
-- at once, without a grace; forgotten meanwhile; a restriction of the person's own stays when it is taken back
SELECT gdpr.plan_erasure(ARRAY(SELECT number FROM pe.number WHERE tenant = 2 AND id > 5), grace => '0');
SELECT count(gdpr.forget(number)) FROM pe.number WHERE id = 8;
SELECT count(gdpr.restrict(number)) FROM pe.number WHERE id = 11;
SELECT gdpr.cancel_erasure(ARRAY(SELECT number FROM pe.number WHERE id = 11));
SELECT name FROM pe.person WHERE id = 11;
SET default_transaction_isolation = 'serializable';
CALL gdpr.run_planned_erasures();
RESET default_transaction_isolation;
SELECT id FROM pe.person WHERE tenant = 2 ORDER BY id;
SELECT count(*) FROM gdpr.planned_erasure;
-- planned while two were one, taken back when they are two: neither is restricted, and only the one is to be forgotten meanwhile
INSERT INTO pe.person VALUES (41, 9, 'Forty-one'), (42, 9, 'The same?'); INSERT INTO pe.orders VALUES (41, 41, 'of 41'), (42, 42, 'of 42');
SELECT gdpr.subject('pe.person', '41') AS p41, gdpr.subject('pe.person', '42') AS p42 \gset
SELECT count(gdpr.merge_subjects(:p41, :p42)), gdpr.plan_erasure(ARRAY[:p41], grace => '1 day');
SELECT gdpr.plan_erasure(ARRAY[:p42]);  -- who is planned
SELECT id, name FROM pe.person WHERE id > 40 ORDER BY id;
SELECT count(gdpr.unmerge_subjects(:p42));
SELECT id, name FROM pe.person WHERE id > 40 ORDER BY id;
SELECT gdpr.cancel_erasure(ARRAY[:p41]), gdpr.cancel_erasure(ARRAY[:p42]);
SELECT id, name FROM pe.person WHERE id > 40 ORDER BY id;
SELECT count(*) FROM gdpr.flag WHERE subject IN (:p41, :p42) AND kind = 'r';
-- retention does it too, and goes on where one cannot be forgotten
SELECT gdpr.plan_erasure(ARRAY[:p41, :p42], 'of retention', '0');
CREATE FUNCTION pe.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 41 THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON pe.orders FOR EACH ROW EXECUTE FUNCTION pe.refuse();
\set VERBOSITY sqlstate
CALL gdpr.run_retention(batch => 1, orphans_after => NULL);
\set VERBOSITY terse
SELECT id, name FROM pe.person WHERE id > 40 ORDER BY id;
SELECT e.reason FROM gdpr.erasure e WHERE e.subject = :p42;
SELECT complete FROM gdpr.retention_run ORDER BY started_at DESC LIMIT 1;
DROP TRIGGER refuse ON pe.orders; UPDATE gdpr.planned_erasure SET due_at = now();
CALL gdpr.run_retention(orphans_after => NULL);
SELECT count(*) FROM pe.person WHERE id > 40;
-- the forgotten, and what a hold keeps, are passed over; a planned restriction is not lifted by itself
INSERT INTO pe.person VALUES (43, 9, 'Forty-three'), (44, 9, 'Forty-four'); INSERT INTO pe.orders VALUES (43, 43, 'of 43'), (44, 44, 'of 44');
SELECT gdpr.subject('pe.person', '43') AS p43, gdpr.subject('pe.person', '44') AS p44 \gset
SELECT count(gdpr.hold(:p43, 'x', '2999-01-01'));
SELECT count(gdpr.forget(:p43));
SELECT held_as AS h43 FROM gdpr.holds WHERE subject = :p43 \gset
SELECT gdpr.plan_erasure(ARRAY[:p42, :p43, :h43, :p44], 'of the rest', '1 day');
SELECT count(*) FROM gdpr.planned_erasure WHERE subject IN (:p42, :p43, :h43, :p44);
\set VERBOSITY sqlstate
SELECT gdpr.lift_restriction(:p44, informed_at => now());
\set VERBOSITY terse
SELECT count(*) FROM gdpr.flag WHERE subject = :p44 AND kind = 'r';
SELECT count(gdpr.forget(:p44));
SELECT gdpr.cancel_erasure(ARRAY(SELECT subject FROM gdpr.planned_erasure));
DROP SCHEMA pe CASCADE;
