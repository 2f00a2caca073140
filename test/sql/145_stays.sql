-- Rows that have to stay while others go: co-owners of held rows, held values in rows of others, ON DELETE SET NULL.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA sy;
CREATE TABLE sy.person (id integer PRIMARY KEY, name text NOT NULL, seen date);
CREATE TABLE sy.paper (id integer PRIMARY KEY, title text);
CREATE TABLE sy.author (paper integer REFERENCES sy.paper ON DELETE CASCADE, person integer REFERENCES sy.person ON DELETE CASCADE, affiliation text, PRIMARY KEY (paper, person));
CREATE TABLE sy.figure (id integer, paper integer REFERENCES sy.paper ON DELETE CASCADE, caption text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE sy.figure_0 PARTITION OF sy.figure FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE sy.figure_1 PARTITION OF sy.figure FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE sy.message (id integer PRIMARY KEY, person integer REFERENCES sy.person, about integer REFERENCES sy.person ON DELETE SET NULL, body text, said text, old text, seen date);
CREATE TABLE sy.referral (id integer PRIMARY KEY, person integer REFERENCES sy.person, by_whom integer REFERENCES sy.person ON DELETE SET NULL, remark text);
INSERT INTO sy.person SELECT i, 'Name ' || i FROM generate_series(1, 60) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('sy.person'), gdpr.declare_column('sy.person', 'name', 'identity');
    PERFORM gdpr.declare_table('sy.author', via => 'person'), gdpr.declare_column('sy.author', 'affiliation', 'identity');
    PERFORM gdpr.declare_table('sy.paper', owned_through => 'sy.author'), gdpr.declare_column('sy.paper', 'title', 'content');
    PERFORM gdpr.declare_table('sy.figure', via => 'paper'), gdpr.declare_column('sy.figure', 'caption', 'content');
    PERFORM gdpr.declare_table('sy.message', via => 'person'), gdpr.declare_column('sy.message', 'body', 'content'),
            gdpr.declare_column('sy.message', 'said', 'content', subject_via => 'about'), gdpr.declare_column('sy.message', 'old', 'contact', subject_via => 'about');
    PERFORM gdpr.declare_table('sy.referral', via => 'person'), gdpr.declare_column('sy.referral', 'remark', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{sy.person,sy.paper,sy.author,sy.figure,sy.message,sy.referral}'::regclass[]) t;
    PERFORM gdpr.create_purpose('sy', 'contract', '{identity,content,contact}'), gdpr.grant_purpose('sy', current_user);
END $$;
SET gdpr.purpose = 'sy';
CREATE FUNCTION sy.p(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('sy.person', p.id::text) $$;
CREATE FUNCTION sy.report(erasure uuid) RETURNS TABLE (relation text, action text, rows bigint, reason text) LANGUAGE sql AS $$
    SELECT r.relation, r.action, r.rows, regexp_replace(r.reason, 'until .*', 'until …') FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint, reason text)
    WHERE e.id = erasure AND r.relation LIKE 'sy.%' $$;
CREATE FUNCTION sy.lift() RETURNS bigint LANGUAGE sql AS $$ SELECT count(gdpr.lift_restriction(held_as, clock_timestamp())) FROM gdpr.holds WHERE held_as IN (SELECT f.subject FROM gdpr.flag f WHERE f.kind = 'r') AND subject >= (SELECT min(gdpr.subject_number(gdpr_sealed)) FROM sy.person) $$;

-- one joins a paper that a hold has kept of its last author: at the end it is the new author's, with its figures
INSERT INTO sy.paper VALUES (1, 'Held, joined'), (2, 'Held'), (3, 'Of two'); INSERT INTO sy.author VALUES (1, 1, 'A1'), (2, 1, 'A1'), (3, 1, 'A1'), (3, 3, 'A3');
INSERT INTO sy.figure VALUES (1, 1, 'Figure 1'), (2, 1, 'Figure 2'), (3, 2, 'Figure 3');
SELECT gdpr.hold(sy.p(1), 'whose idea', '2999-01-01', '{sy.paper,sy.figure}') AS hold \gset
SELECT relations FROM gdpr.holds WHERE id = :'hold';       -- with who the authors are
SELECT * FROM sy.report(gdpr.forget(sy.p(1)));
INSERT INTO sy.author VALUES (1, 2, 'A2');
-- a hold on a paper of two outlasts the other
SELECT * FROM sy.report(gdpr.forget(sy.p(3)));
SELECT id FROM sy.paper ORDER BY id;
SELECT held_as FROM gdpr.holds WHERE id = :'hold' \gset
SELECT gdpr.extend_hold(:'hold', now() + interval '50 ms'), pg_sleep(0.1);
SELECT relation, rows, action FROM gdpr.forget_preview(:held_as) WHERE relation::text LIKE 'sy.%';
SELECT count(*) FROM sy.paper WHERE gdpr.subject_number(gdpr_sealed) = :held_as; -- the preview has changed nothing
SELECT gdpr.finish_holds();
SELECT * FROM sy.report((SELECT id FROM gdpr.erasure WHERE subject = :held_as));
SELECT id, title FROM sy.paper ORDER BY id;
SELECT id, caption FROM sy.figure ORDER BY id;
UPDATE sy.paper SET title = title || ', and edited' WHERE id = 1;
SELECT count(*) FROM sy.report(gdpr.forget(sy.p(2)));
SELECT (SELECT count(*) FROM sy.paper) AS papers, (SELECT count(*) FROM sy.figure) AS figures;
-- a joined one who was forgotten too is not an owner; in batches; two papers, of different authors
INSERT INTO sy.paper VALUES (4, 'Nobody''s'), (5, 'One''s'), (6, 'Another''s'); INSERT INTO sy.author VALUES (4, 4, 'A4'), (5, 4, 'A4'), (6, 4, 'A4');
SELECT gdpr.hold(sy.p(4), 'x', '2999-01-01') AS hold \gset
CALL gdpr.forget_in_batches(sy.p(4));
INSERT INTO sy.author VALUES (4, 5, 'A5'), (5, 6, 'A6'), (6, 7, 'A7');
SELECT count(gdpr.forget(sy.p(5)));
SELECT count(gdpr.release_hold(:'hold'));
SELECT p.id, title, (SELECT count(DISTINCT gdpr.subject_number(q.gdpr_sealed)) FROM sy.paper q) AS numbers FROM sy.paper p ORDER BY id;

-- what is said of a person in rows of others is held as well, whatever it was sealed under
INSERT INTO sy.message VALUES (1, 10, 11, 'by 10', 'of 11', 'old of 11');
SELECT count(gdpr.forget(sy.p(11), category => 'contact'));
UPDATE sy.message SET old = 'anew' WHERE id = 1;     -- under a further number
INSERT INTO sy.message VALUES (2, 11, 10, 'by 11', 'of 10', NULL), (3, 12, 11, 'by 12', NULL, 'only anew');
SELECT gdpr.hold(sy.p(11), 'x', '2999-01-01', '{sy.message}') AS hold \gset
SELECT * FROM sy.report(gdpr.forget(sy.p(11)));
SELECT id, person, about, body, said, old FROM sy.message ORDER BY id;
SELECT sy.lift();
SELECT id, person, about, body, said, old FROM sy.message ORDER BY id;
SELECT gdpr.release_hold(:'hold') AS erasure \gset
SELECT * FROM sy.report(:'erasure');
SELECT id, person, about, body, said, old FROM sy.message ORDER BY id;
-- in batches
INSERT INTO sy.message VALUES (4, 13, 14, 'by 13', 'of 14', 'old of 14');
SELECT count(gdpr.hold(sy.p(14), 'x', '2999-01-01'));
CALL gdpr.forget_in_batches(sy.p(14));
SELECT sy.lift();
SELECT id, body, said, old FROM sy.message WHERE id = 4;
-- the row's own person goes, or is due: what another's hold keeps stays
INSERT INTO sy.message VALUES (5, 15, 16, 'by 15', 'of 16', 'old of 16', '2001-01-01'), (6, 17, 18, 'by 17', 'of 18', 'old of 18', '2001-01-01');
SELECT count(gdpr.hold(sy.p(16), 'x', '2999-01-01')), count(gdpr.hold(sy.p(18), 'x', '2999-01-01', '{sy.message}'));
SELECT * FROM sy.report(gdpr.forget(sy.p(15)));
SELECT count(gdpr.set_retention('sy.message', '1 year', 'seen'));
CALL gdpr.run_retention(orphans_after => NULL);
SELECT relation, action, "rows" FROM gdpr.retention_due WHERE relation = 'sy.message'::regclass;
SELECT error, "rows" FROM gdpr.retention_errors WHERE relation = 'sy.message';
SELECT id, body, said, old FROM sy.message WHERE id IN (5, 6);
SELECT gdpr.drop_retention('sy.message');

-- ON DELETE SET NULL: whoever is restricted, or held, keeps its row as it is, and that to which it leads
INSERT INTO sy.referral VALUES (1, 21, 22, 'free'), (2, 23, 24, 'restricted'), (3, 25, 26, 'held'), (4, 27, 27, 'own'), (5, 28, 29, 'held of 28');
SELECT count(gdpr.restrict(sy.p(23), 'disputed')), count(gdpr.hold(sy.p(25), 'x', '2999-01-01', '{sy.referral}'));
SELECT gdpr.hold(sy.p(28), 'x', '2999-01-01', '{sy.referral}') AS hold \gset
SELECT count(gdpr.forget(sy.p(28)));
SELECT * FROM sy.report(gdpr.forget(sy.p(22)));
SELECT * FROM sy.report(gdpr.forget(sy.p(24)));
SELECT * FROM sy.report(gdpr.forget(sy.p(26)));
SELECT * FROM sy.report(gdpr.forget(sy.p(27)));
SELECT * FROM sy.report(gdpr.forget(sy.p(29)));
SELECT id, person, by_whom, remark FROM sy.referral ORDER BY id;
SELECT id, name FROM sy.person WHERE id IN (22, 24, 26, 27, 29) ORDER BY id;
-- retention the same, and the row goes when nothing keeps it
INSERT INTO sy.referral VALUES (6, 31, 32, 'restricted'), (7, 33, 34, 'free');
SELECT count(gdpr.restrict(sy.p(31), 'disputed'));
UPDATE sy.person SET seen = '2001-01-01' WHERE id IN (32, 34);
SELECT count(gdpr.set_retention('sy.person', '1 year', 'seen'));
CALL gdpr.run_retention(orphans_after => NULL);
SELECT rows_due, rows_deleted, rows_erased, rows_failed FROM gdpr.retention_result WHERE relation = 'sy.person' ORDER BY changed_at DESC LIMIT 1;
SELECT id, by_whom, remark FROM sy.referral WHERE id IN (6, 7) ORDER BY id;
SELECT gdpr.lift_restriction(sy.p(31), clock_timestamp()) FROM pg_sleep(0.01);
CALL gdpr.run_retention(orphans_after => NULL);
SELECT id, by_whom, remark FROM sy.referral WHERE id IN (6, 7) ORDER BY id;
SELECT count(*) FROM sy.person WHERE id IN (32, 34);
DROP SCHEMA sy CASCADE;
