-- Holds: rows that outlast the erasure of their person, for a ground and until a date.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA ho;
CREATE TABLE ho.person (id integer PRIMARY KEY, name text NOT NULL, email text UNIQUE);
CREATE TABLE ho.orders (id integer, person_id integer NOT NULL REFERENCES ho.person, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE ho.orders_1 PARTITION OF ho.orders FOR VALUES FROM (0) TO (100);
CREATE TABLE ho.orders_2 PARTITION OF ho.orders FOR VALUES FROM (100) TO (200);
CREATE TABLE ho.line (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES ho.orders, text text);
CREATE TABLE ho.message (id integer PRIMARY KEY, person_id integer REFERENCES ho.person, about integer REFERENCES ho.person, body text, said text);
CREATE TABLE ho.invoice (id integer PRIMARY KEY, person_id integer REFERENCES ho.person ON DELETE SET NULL, addressee text);
CREATE TABLE ho.paper (id integer PRIMARY KEY, title text);
CREATE TABLE ho.author (paper integer REFERENCES ho.paper, person integer REFERENCES ho.person, affiliation text, PRIMARY KEY (paper, person));
INSERT INTO ho.person SELECT i, 'Name ' || i, 'p' || i || '@example.nl' FROM generate_series(1, 9) i;
INSERT INTO ho.orders SELECT i, i, 'note ' || i FROM generate_series(1, 9) i;
INSERT INTO ho.orders SELECT 100 + i, i, 'later ' || i FROM generate_series(1, 9) i;
INSERT INTO ho.line SELECT i, i, 'line ' || i FROM generate_series(1, 9) i;
INSERT INTO ho.message SELECT i, i, i % 9 + 1, 'body ' || i, 'said of ' || i % 9 + 1 FROM generate_series(1, 9) i;
INSERT INTO ho.message SELECT 10 + i, i, i, 'own ' || i, 'of oneself ' || i FROM generate_series(1, 9) i;
INSERT INTO ho.invoice SELECT i, i, 'Addressee ' || i FROM generate_series(1, 9) i;
INSERT INTO ho.paper SELECT i, 'Title ' || i FROM generate_series(1, 9) i; INSERT INTO ho.author SELECT i, i, 'A' || i FROM generate_series(1, 9) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('ho.person'), gdpr.declare_column('ho.person', 'name', 'identity'), gdpr.declare_column('ho.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_table('ho.orders', via => 'person_id'), gdpr.declare_column('ho.orders', 'note', 'content', searchable => true);
    PERFORM gdpr.declare_table('ho.line', via => 'order_id'), gdpr.declare_column('ho.line', 'text', 'content');
    PERFORM gdpr.declare_table('ho.message', via => 'person_id'), gdpr.declare_column('ho.message', 'body', 'content'), gdpr.declare_column('ho.message', 'said', 'content', subject_via => 'about');
    PERFORM gdpr.declare_table('ho.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('ho.invoice', 'addressee', 'identity');
    PERFORM gdpr.declare_table('ho.author', via => 'person'), gdpr.declare_column('ho.author', 'affiliation', 'identity');
    PERFORM gdpr.declare_table('ho.paper', owned_through => 'ho.author'), gdpr.declare_column('ho.paper', 'title', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{ho.person,ho.orders,ho.line,ho.message,ho.invoice,ho.paper,ho.author}'::regclass[]) t;
    PERFORM gdpr.create_purpose('ho', 'contract', '{contact,identity,content}'), gdpr.grant_purpose('ho', current_user, override => true);
END $$;
SET gdpr.purpose = 'ho';
CREATE TABLE ho.number AS SELECT id, gdpr.subject('ho.person', id::text) AS number FROM ho.person;
SELECT number AS p1 FROM ho.number WHERE id = 1 \gset
SELECT number AS p2 FROM ho.number WHERE id = 2 \gset
SELECT number AS p3 FROM ho.number WHERE id = 3 \gset
SELECT number AS p4 FROM ho.number WHERE id = 4 \gset
SELECT number AS p5 FROM ho.number WHERE id = 5 \gset
CREATE FUNCTION ho.report(erasure uuid) RETURNS TABLE (relation text, action text, rows bigint, reason text) LANGUAGE sql AS $$
    SELECT r.relation, r.action, r.rows, regexp_replace(r.reason, 'until .*', 'until …') FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint, reason text)
    WHERE e.id = erasure AND r.relation LIKE 'ho.%' $$;

-- mistakes
SELECT gdpr.hold(NULL, 'x', '2999-01-01');
SELECT gdpr.hold(7, 'x', '2999-01-01');
SELECT gdpr.hold(:p1, '', '2999-01-01');
SELECT gdpr.hold(:p1, 'x', NULL);
SELECT gdpr.hold(:p1, 'x', 'infinity');
SELECT gdpr.hold(:p1, 'x', '2020-01-01');
SELECT gdpr.hold(:p1, 'x', '2999-01-01', '{}');
SELECT gdpr.hold(:p1, 'x', '2999-01-01', '{pg_class}');
SELECT gdpr.hold(:p1, 'x', '2999-01-01', ARRAY[NULL::regclass]);
SELECT gdpr.hold(:p1, 'x', '2999-01-01', ground => 'because');
SELECT gdpr.extend_hold('00000000-0000-4000-8000-000000000000', '2999-01-01');
SELECT gdpr.release_hold(NULL);
SET ROLE test_app;
SELECT gdpr.hold(:p1, 'x', '2999-01-01');
SELECT * FROM gdpr.holds;
SELECT gdpr.finish_holds();
RESET ROLE;

-- orders, with their lines, and papers are held; the rest goes
SELECT gdpr.hold(:p1, 'lawsuit 17', '2999-01-01', relations => '{ho.orders,ho.paper}') AS hold \gset
SELECT subject = :p1 AS p1, relations, ground, until, held_as FROM gdpr.holds;
SELECT gdpr.hold_reason(:'hold');
-- a living person's data is used as before
SELECT note FROM ho.orders WHERE id = 1;
SELECT relation, rows, action, regexp_replace(reason, 'until .*', 'until …') AS reason FROM gdpr.forget_preview(:p1) WHERE relation::text LIKE 'ho.%';
SELECT held_as FROM gdpr.holds;
SELECT * FROM ho.report(gdpr.forget(:p1));
SELECT held_as AS h1 FROM gdpr.holds \gset
SELECT count(*) FROM gdpr.tombstone WHERE number = :p1 AND category IS NULL;
SELECT id, name, email FROM ho.person WHERE id = 1;
-- restricted: stored, and nothing else, unless it has to be
SELECT id, person_id, note FROM ho.orders WHERE person_id = 1 ORDER BY id;
UPDATE ho.orders SET note = 'x' WHERE id = 1;
DELETE FROM ho.orders WHERE id = 101;
SELECT count(*) FROM ho.line WHERE order_id = 1;
SELECT id, person_id, about, body, said FROM ho.message WHERE 1 IN (person_id, about) ORDER BY id;
SELECT count(*) FROM ho.author WHERE person = 1;
SELECT gdpr.lift_restriction(:h1, now()) FROM pg_sleep(0.01);
SELECT id, person_id, note FROM ho.orders WHERE person_id = 1 ORDER BY id;
SELECT id FROM ho.orders WHERE note = 'later 1';
SELECT id, title FROM ho.paper WHERE id = 1;
SELECT gdpr.hold_reason(:'hold');
-- forgotten is forgotten; held is held
SELECT gdpr.forget(:p1) = (SELECT id FROM gdpr.erasure WHERE subject = :p1 ORDER BY erased_at LIMIT 1) AS the_same;
SELECT note FROM ho.orders WHERE id = 1;
\set VERBOSITY sqlstate
SELECT gdpr.hold(:p1, 'again', '2999-01-01');
\set VERBOSITY terse
\set VERBOSITY sqlstate
SELECT gdpr.forget(:h1);
\set VERBOSITY terse
SELECT gdpr.finish_holds();
-- the end: all that was left goes, the person's row as well
SELECT gdpr.extend_hold(:'hold', now() + interval '0.3 seconds') FROM pg_sleep(0);
SELECT pg_sleep(0.4);
SELECT gdpr.finish_holds();
SELECT count(*) FROM gdpr.holds;
SELECT gdpr.hold_reason(:'hold');
SELECT * FROM ho.report((SELECT id FROM gdpr.erasure WHERE subject = :h1));
SELECT (SELECT count(*) FROM ho.orders WHERE person_id = 1) AS orders, (SELECT count(*) FROM ho.person WHERE id = 1) AS persons, (SELECT count(*) FROM ho.paper WHERE id = 1) AS papers;
SELECT count(*) FROM gdpr.tombstone WHERE number = :h1 AND category IS NULL;
SELECT gdpr.finish_holds();

-- everything is held; two holds: the longer one counts; released by hand
SELECT gdpr.hold(:p2, 'short', now() + interval '1 hour') AS short \gset
SELECT gdpr.hold(:p2, 'long', now() + interval '2 days', '{ho.line}', ground => 'legal_obligation') AS long \gset
SELECT * FROM ho.report(gdpr.forget(:p2));
SELECT count(DISTINCT held_as) FROM gdpr.holds;
SET gdpr.override_reason = 'test';
SELECT name, email FROM ho.person WHERE id = 2;
SELECT id, note FROM ho.orders WHERE person_id = 2 ORDER BY id;
SELECT id, text FROM ho.line WHERE id = 2;
SELECT id, person_id, about, body, said FROM ho.message WHERE 2 IN (person_id, about) ORDER BY id;
SELECT id FROM ho.person WHERE email = 'p2@example.nl';
RESET gdpr.override_reason;
SELECT gdpr.release_hold(:'short') IS NOT NULL AS erasure;
SELECT count(*) FROM ho.orders WHERE person_id = 2; -- the line needs one
\set VERBOSITY sqlstate
SELECT gdpr.release_hold(:'short');
\set VERBOSITY terse
SELECT gdpr.release_hold(:'long') IS NOT NULL AS erasure;
SELECT (SELECT count(*) FROM ho.line WHERE id = 2) AS lines, (SELECT count(*) FROM ho.orders WHERE person_id = 2) AS orders, (SELECT count(*) FROM ho.person WHERE id = 2) AS persons;

-- one category of it: not of what is held
SELECT gdpr.hold(:p3, 'x', '2999-01-01', '{ho.orders}') AS hold \gset
\set VERBOSITY sqlstate
SELECT gdpr.forget(:p3, category => 'content');
\set VERBOSITY terse
SELECT count(gdpr.forget(:p3, category => 'contact'));
SELECT name, email FROM ho.person WHERE id = 3;
SELECT gdpr.release_hold(:'hold') IS NULL AS nothing_to_erase;
SELECT count(gdpr.forget(:p3, category => 'content'));
-- held is what was left, when something had been forgotten before
SELECT gdpr.hold(:p3, 'x', '2999-01-01', '{ho.person}') AS hold \gset
SELECT count(gdpr.forget(:p3));
SET gdpr.override_reason = 'test';
SELECT id, name, email FROM ho.person WHERE id = 3;
RESET gdpr.override_reason;

-- a row in which somebody has values who was forgotten before
SELECT count(gdpr.forget(:p5));
SELECT gdpr.hold(:p4, 'x', '2999-01-01', '{ho.message}') IS NOT NULL AS hold;
SELECT * FROM ho.report(gdpr.forget(:p4));
SET gdpr.override_reason = 'test';
SELECT id, person_id, about, body, said FROM ho.message WHERE 4 IN (person_id, about) ORDER BY id;
-- rolled back
SELECT number AS p6 FROM ho.number WHERE id = 6 \gset
SELECT gdpr.hold(:p6, 'x', '2999-01-01', '{ho.orders}') AS hold \gset
BEGIN; SELECT count(gdpr.forget(:p6)); ROLLBACK;
SELECT note FROM ho.orders WHERE id = 6;
SELECT held_as FROM gdpr.holds WHERE subject = :p6;
-- the longer of two holds ends first: the other goes on
SELECT number AS p7 FROM ho.number WHERE id = 7 \gset
SELECT gdpr.hold(:p7, 'short, of all', now() + interval '2 days') AS short \gset
SELECT gdpr.hold(:p7, 'long', now() + interval '5 days', '{ho.orders}') AS long \gset
SELECT count(gdpr.forget(:p7));
SELECT count(gdpr.release_hold(:'long'));
SELECT count(note) FROM ho.orders WHERE person_id = 7;
SELECT gdpr.hold_reason(:'short');
SELECT count(gdpr.release_hold(:'short'));
SELECT count(*) FROM ho.orders WHERE person_id = 7;
-- merged, held, separated: both are
INSERT INTO ho.person VALUES (31, 'one'), (32, 'the same'); INSERT INTO ho.orders VALUES (31, 31, 'of 31'), (32, 32, 'of 32');
SELECT gdpr.subject('ho.person', '31') AS p31, gdpr.subject('ho.person', '32') AS p32 \gset
SELECT count(gdpr.merge_subjects(:p31, :p32));
SELECT count(gdpr.hold(:p31, 'both', '2999-01-01', '{ho.orders}'));
SELECT count(gdpr.unmerge_subjects(:p32));
SELECT subject = :p32 AS other, gdpr.hold_reason(id) FROM gdpr.holds WHERE subject IN (:p31, :p32) ORDER BY 1;
SELECT count(gdpr.forget(:p32));
SET gdpr.override_reason = 'test'; SELECT note FROM ho.orders WHERE id = 32; RESET gdpr.override_reason;
-- somebody else's held row is not taken along by a cascade
CREATE TABLE ho.call (id integer PRIMARY KEY, caller integer REFERENCES ho.person, callee integer REFERENCES ho.person ON DELETE CASCADE, said text);
INSERT INTO ho.call VALUES (1, 8, 9, 'by 8');
SELECT gdpr.declare_table('ho.call', via => 'caller'), gdpr.declare_column('ho.call', 'said', 'content'), gdpr.protect_now('ho.call');
SELECT count(gdpr.hold(number, 'x', '2999-01-01', '{ho.call}')) FROM ho.number WHERE id = 8;
SELECT count(gdpr.forget(number)) FROM ho.number WHERE id = 9;
SELECT id, said FROM ho.call;
DROP SCHEMA ho CASCADE;
