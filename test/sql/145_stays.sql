-- Rows that have to stay while others go: co-owners of held rows, held values in rows of others, ON DELETE SET NULL.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA st;
CREATE TABLE st.person (id integer PRIMARY KEY, name text NOT NULL, seen date);
CREATE TABLE st.paper (id integer PRIMARY KEY, title text);
CREATE TABLE st.author (paper integer REFERENCES st.paper ON DELETE CASCADE, person integer REFERENCES st.person ON DELETE CASCADE, affiliation text, PRIMARY KEY (paper, person));
CREATE TABLE st.figure (id integer, paper integer REFERENCES st.paper ON DELETE CASCADE, caption text, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE st.figure_0 PARTITION OF st.figure FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE st.figure_1 PARTITION OF st.figure FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE st.message (id integer PRIMARY KEY, person integer REFERENCES st.person, about integer REFERENCES st.person ON DELETE SET NULL, body text, said text, old text, seen date);
CREATE TABLE st.referral (id integer PRIMARY KEY, person integer REFERENCES st.person, by_whom integer REFERENCES st.person ON DELETE SET NULL, remark text);
INSERT INTO st.person SELECT i, 'Name ' || i FROM generate_series(1, 60) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('st.person'), gdpr.declare_column('st.person', 'name', 'identity');
    PERFORM gdpr.declare_table('st.author', via => 'person'), gdpr.declare_column('st.author', 'affiliation', 'identity');
    PERFORM gdpr.declare_table('st.paper', owned_through => 'st.author'), gdpr.declare_column('st.paper', 'title', 'content');
    PERFORM gdpr.declare_table('st.figure', via => 'paper'), gdpr.declare_column('st.figure', 'caption', 'content');
    PERFORM gdpr.declare_table('st.message', via => 'person'), gdpr.declare_column('st.message', 'body', 'content'),
            gdpr.declare_column('st.message', 'said', 'content', subject_via => 'about'), gdpr.declare_column('st.message', 'old', 'contact', subject_via => 'about');
    PERFORM gdpr.declare_table('st.referral', via => 'person'), gdpr.declare_column('st.referral', 'remark', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{st.person,st.paper,st.author,st.figure,st.message,st.referral}'::regclass[]) t;
    PERFORM gdpr.create_purpose('st', 'contract', '{identity,content,contact}'), gdpr.grant_purpose('st', current_user);
END $$;
SET gdpr.purpose = 'st';
CREATE FUNCTION st.p(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('st.person', p.id::text) $$;
CREATE FUNCTION st.report(erasure uuid) RETURNS TABLE (relation text, action text, rows bigint, reason text) LANGUAGE sql AS $$
    SELECT r.relation, r.action, r.rows, regexp_replace(r.reason, 'until .*', 'until …') FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint, reason text)
    WHERE e.id = erasure AND r.relation LIKE 'st.%' $$;
CREATE FUNCTION st.lift() RETURNS bigint LANGUAGE sql AS $$ SELECT count(gdpr.lift_restriction(held_as, clock_timestamp())) FROM gdpr.holds WHERE held_as IN (SELECT f.subject FROM gdpr.flag f WHERE f.kind = 'r') AND subject >= (SELECT min(gdpr.subject_number(gdpr_sealed)) FROM st.person) $$;

-- one joins a paper that a hold has kept of its last author: at the end it is the new author's, with its figures
INSERT INTO st.paper VALUES (1, 'Held, joined'), (2, 'Held'), (3, 'Of two'); INSERT INTO st.author VALUES (1, 1, 'A1'), (2, 1, 'A1'), (3, 1, 'A1'), (3, 3, 'A3');
INSERT INTO st.figure VALUES (1, 1, 'Figure 1'), (2, 1, 'Figure 2'), (3, 2, 'Figure 3');
SELECT gdpr.hold(st.p(1), 'whose idea', '2999-01-01', '{st.paper,st.figure}') AS hold \gset
SELECT relations FROM gdpr.holds WHERE id = :'hold';       -- with who the authors are
SELECT * FROM st.report(gdpr.forget(st.p(1)));
INSERT INTO st.author VALUES (1, 2, 'A2');
-- a hold on a paper of two outlasts the other
SELECT * FROM st.report(gdpr.forget(st.p(3)));
SELECT id FROM st.paper ORDER BY id;
SELECT held_as FROM gdpr.holds WHERE id = :'hold' \gset
SELECT gdpr.extend_hold(:'hold', now() + interval '50 ms'), pg_sleep(0.1);
SELECT relation, rows, action FROM gdpr.forget_preview(:held_as) WHERE relation::text LIKE 'st.%';
SELECT count(*) FROM st.paper WHERE gdpr.subject_number(gdpr_sealed) = :held_as; -- the preview has changed nothing
SELECT gdpr.finish_holds();
SELECT * FROM st.report((SELECT id FROM gdpr.erasure WHERE subject = :held_as));
SELECT id, title FROM st.paper ORDER BY id;
SELECT id, caption FROM st.figure ORDER BY id;
UPDATE st.paper SET title = title || ', and edited' WHERE id = 1;
SELECT count(*) FROM st.report(gdpr.forget(st.p(2)));
SELECT (SELECT count(*) FROM st.paper) AS papers, (SELECT count(*) FROM st.figure) AS figures;
-- a joined one who was forgotten too is not an owner; in batches; two papers, of different authors
INSERT INTO st.paper VALUES (4, 'Nobody''s'), (5, 'One''s'), (6, 'Another''s'); INSERT INTO st.author VALUES (4, 4, 'A4'), (5, 4, 'A4'), (6, 4, 'A4');
SELECT gdpr.hold(st.p(4), 'x', '2999-01-01') AS hold \gset
CALL gdpr.forget_in_batches(st.p(4));
INSERT INTO st.author VALUES (4, 5, 'A5'), (5, 6, 'A6'), (6, 7, 'A7');
SELECT count(gdpr.forget(st.p(5)));
SELECT count(gdpr.release_hold(:'hold'));
SELECT p.id, title, (SELECT count(DISTINCT gdpr.subject_number(q.gdpr_sealed)) FROM st.paper q) AS numbers FROM st.paper p ORDER BY id;

-- what is said of a person in rows of others is held as well, whatever it was sealed under
INSERT INTO st.message VALUES (1, 10, 11, 'by 10', 'of 11', 'old of 11');
SELECT count(gdpr.forget(st.p(11), category => 'contact'));
UPDATE st.message SET old = 'anew' WHERE id = 1;     -- under a further number
INSERT INTO st.message VALUES (2, 11, 10, 'by 11', 'of 10', NULL), (3, 12, 11, 'by 12', NULL, 'only anew');
SELECT gdpr.hold(st.p(11), 'x', '2999-01-01', '{st.message}') AS hold \gset
SELECT * FROM st.report(gdpr.forget(st.p(11)));
SELECT id, person, about, body, said, old FROM st.message ORDER BY id;
SELECT st.lift();
SELECT id, person, about, body, said, old FROM st.message ORDER BY id;
SELECT gdpr.release_hold(:'hold') AS erasure \gset
SELECT * FROM st.report(:'erasure');
SELECT id, person, about, body, said, old FROM st.message ORDER BY id;
-- in batches
INSERT INTO st.message VALUES (4, 13, 14, 'by 13', 'of 14', 'old of 14');
SELECT count(gdpr.hold(st.p(14), 'x', '2999-01-01'));
CALL gdpr.forget_in_batches(st.p(14));
SELECT st.lift();
SELECT id, body, said, old FROM st.message WHERE id = 4;
-- the row's own person goes, or is due: what another's hold keeps stays
INSERT INTO st.message VALUES (5, 15, 16, 'by 15', 'of 16', 'old of 16', '2001-01-01'), (6, 17, 18, 'by 17', 'of 18', 'old of 18', '2001-01-01');
SELECT count(gdpr.hold(st.p(16), 'x', '2999-01-01')), count(gdpr.hold(st.p(18), 'x', '2999-01-01', '{st.message}'));
SELECT * FROM st.report(gdpr.forget(st.p(15)));
SELECT count(gdpr.set_retention('st.message', '1 year', 'seen'));
CALL gdpr.run_retention(orphans_after => NULL);
SELECT relation, action, "rows" FROM gdpr.retention_due WHERE relation = 'st.message'::regclass;
SELECT error, "rows" FROM gdpr.retention_errors WHERE relation = 'st.message';
SELECT id, body, said, old FROM st.message WHERE id IN (5, 6);
SELECT gdpr.drop_retention('st.message');

-- ON DELETE SET NULL: whoever is restricted, or held, keeps its row as it is, and that to which it leads
INSERT INTO st.referral VALUES (1, 21, 22, 'free'), (2, 23, 24, 'restricted'), (3, 25, 26, 'held'), (4, 27, 27, 'own'), (5, 28, 29, 'held of 28');
SELECT count(gdpr.restrict(st.p(23), 'disputed')), count(gdpr.hold(st.p(25), 'x', '2999-01-01', '{st.referral}'));
SELECT gdpr.hold(st.p(28), 'x', '2999-01-01', '{st.referral}') AS hold \gset
SELECT count(gdpr.forget(st.p(28)));
SELECT * FROM st.report(gdpr.forget(st.p(22)));
SELECT * FROM st.report(gdpr.forget(st.p(24)));
SELECT * FROM st.report(gdpr.forget(st.p(26)));
SELECT * FROM st.report(gdpr.forget(st.p(27)));
SELECT * FROM st.report(gdpr.forget(st.p(29)));
SELECT id, person, by_whom, remark FROM st.referral ORDER BY id;
SELECT id, name FROM st.person WHERE id IN (22, 24, 26, 27, 29) ORDER BY id;
-- retention the same, and the row goes when nothing keeps it
INSERT INTO st.referral VALUES (6, 31, 32, 'restricted'), (7, 33, 34, 'free');
SELECT count(gdpr.restrict(st.p(31), 'disputed'));
UPDATE st.person SET seen = '2001-01-01' WHERE id IN (32, 34);
SELECT count(gdpr.set_retention('st.person', '1 year', 'seen'));
CALL gdpr.run_retention(orphans_after => NULL);
SELECT rows_due, rows_deleted, rows_erased, rows_failed FROM gdpr.retention_result WHERE relation = 'st.person' ORDER BY changed_at DESC LIMIT 1;
SELECT id, by_whom, remark FROM st.referral WHERE id IN (6, 7) ORDER BY id;
SELECT gdpr.lift_restriction(st.p(31), clock_timestamp()) FROM pg_sleep(0.01);
CALL gdpr.run_retention(orphans_after => NULL);
SELECT id, by_whom, remark FROM st.referral WHERE id IN (6, 7) ORDER BY id;
SELECT count(*) FROM st.person WHERE id IN (32, 34);
DROP SCHEMA st CASCADE;
