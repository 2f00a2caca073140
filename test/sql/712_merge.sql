-- Merging persons: both numbers live and mean the one person, until it is undone or forgotten.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE merge_regress;
\c merge_regress
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE merge_app; CREATE ROLE merge_officer;
CREATE SCHEMA "C R M";
CREATE TABLE "C R M".contact (id integer PRIMARY KEY, "full name" text, email text, friend integer REFERENCES "C R M".contact);
CREATE TABLE "C R M".orders (id integer, part integer, contact_id integer NOT NULL REFERENCES "C R M".contact, remark text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE "C R M".orders_1 PARTITION OF "C R M".orders FOR VALUES IN (1);
CREATE TABLE "C R M".orders_2 PARTITION OF "C R M".orders FOR VALUES IN (2);
CREATE TABLE "C R M".message (id integer PRIMARY KEY, to_id integer NOT NULL REFERENCES "C R M".contact, from_id integer REFERENCES "C R M".contact, body text, signature text);
CREATE TABLE "C R M".invoice (id integer PRIMARY KEY, contact_id integer NOT NULL REFERENCES "C R M".contact, address text);
SELECT gdpr.declare_subject('"C R M".contact'), gdpr.declare_column('"C R M".contact', 'full name', 'identity'),
       gdpr.declare_column('"C R M".contact', 'email', 'contact', searchable => true),
       gdpr.declare_table('"C R M".orders', via => 'contact_id'), gdpr.declare_column('"C R M".orders', 'remark', 'contact'),
       gdpr.declare_table('"C R M".message', via => 'to_id'), gdpr.declare_column('"C R M".message', 'body', 'contact'),
       gdpr.declare_column('"C R M".message', 'signature', 'contact', subject_via => 'from_id'),
       gdpr.declare_table('"C R M".invoice', via => 'contact_id', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('"C R M".invoice', 'address', 'contact');
SELECT gdpr.keep_history('"C R M".contact');
SELECT gdpr.protect_now('"C R M".contact'), gdpr.protect_now('"C R M".orders'), gdpr.protect_now('"C R M".message'), gdpr.protect_now('"C R M".invoice');
SELECT gdpr.create_purpose('service', 'contract', '{identity,contact}'), gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true),
       gdpr.create_purpose('profile', 'legitimate_interest', '{contact}');
SELECT gdpr.grant_purpose(p, 'merge_app') FROM unnest('{service,news,profile}'::text[]) p;
GRANT USAGE ON SCHEMA "C R M" TO merge_app; GRANT ALL ON ALL TABLES IN SCHEMA "C R M" TO merge_app;
SET gdpr.source = 'form';
INSERT INTO "C R M".contact SELECT i, 'Ann' || i, 'ann' || i || '@example.nl' FROM generate_series(1, 9) i;
SET gdpr.source = 'import';
INSERT INTO "C R M".contact VALUES (10, 'A. Nn', 'ANN@example.nl'), (11, 'Bé', 'b@example.nl'), (12, 'C', NULL), (13, 'D', 'd@example.nl');
RESET gdpr.source;
INSERT INTO "C R M".orders SELECT i, i % 2 + 1, i, 'order of ' || i FROM generate_series(1, 12) i;
INSERT INTO "C R M".message VALUES (1, 1, 5, 'to 1', 'from 5'), (2, 5, 10, 'to 5', 'from 10'), (3, 5, 1, 'to 5', 'from 1');
INSERT INTO "C R M".invoice SELECT i, i, 'address ' || i FROM generate_series(1, 12) i;
CREATE TABLE n AS SELECT id, gdpr.subject('"C R M".contact', id::text) AS s FROM "C R M".contact;
GRANT SELECT ON n TO PUBLIC;
CREATE FUNCTION n(id integer) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT s FROM n WHERE n.id = $1';
CREATE FUNCTION ids(bigint[]) RETURNS integer[] LANGUAGE sql STABLE AS 'SELECT array_agg(n.id ORDER BY i) FROM unnest($1) WITH ORDINALITY u(s, i) LEFT JOIN n USING (s)';
CREATE FUNCTION id(bigint) RETURNS integer LANGUAGE sql STABLE AS 'SELECT id FROM n WHERE s = $1';
-- errors with numbers of persons, by their ids
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    message := concat_ws(' | ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
    message := regexp_replace(message, '[0-9a-f]{8}-[0-9a-f-]{27}', '(uuid)', 'g');
    SELECT coalesce(regexp_replace(message, string_agg(s::text, '|'), '#', 'g'), message) INTO message FROM n;
    RETURN message;
END $$;

-- what is refused
SELECT try(format('SELECT gdpr.merge_subjects(%s, %s)', a, b)) FROM (VALUES (n(1)::text, 'NULL'), ('NULL', n(1)::text), (n(1)::text, n(1)::text), (n(1)::text, '99999999'), ('0', n(1)::text), ('-1', n(1)::text)) v(a, b);
SELECT try(format('SELECT gdpr.unmerge_subjects(%s)', a)) FROM (VALUES (n(1)::text), ('NULL'), ('99999999')) v(a);
SET ROLE merge_app;
SELECT gdpr.merge_subjects(1, 2);
SELECT gdpr.numbers_of(1);
RESET ROLE;

-- one person
SELECT gdpr.give_consent(n(10), 'news', channel => 'email', source => 'paper') IS NOT NULL AS given;
SELECT id(gdpr.merge_subjects(n(1), n(10), reason => 'same Ann, says the desk')) AS survivor;
SELECT ids(gdpr.numbers_of(n(1))), ids(gdpr.numbers_of(n(10))), ids(gdpr.numbers_of(n(2))), id(gdpr.person(n(10))), id(gdpr.person(n(1))), gdpr.numbers_of(NULL), gdpr.numbers_of(77);
SELECT try(format('SELECT gdpr.merge_subjects(%s, %s)', n(a), n(b))) FROM (VALUES (1, 10), (10, 1)) v(a, b);
SELECT kind, id(number) AS number, id(other) AS other, recorded_by, details FROM gdpr.identity_history(n(10));
SELECT try('DELETE FROM gdpr.identity_event');

-- the consent of either
SELECT x.id, gdpr.standing(n(x.id), 'news', 'email'), gdpr.standing(n(x.id), 'news', 'phone') FROM unnest('{1,10,2}'::int[]) x(id);
SELECT purpose, channel, status, valid, source FROM gdpr.consent_at(n(1));
SELECT status FROM gdpr.consent_history(n(1));
-- given again, by the other number, it is renewed; who withdraws with one, withdraws
SELECT gdpr.give_consent(n(1), 'news', channel => 'email') IS NOT NULL AS given;
SELECT status, id(subject) FROM gdpr.consent_event ORDER BY recorded_at;
SELECT count(*) FROM gdpr.withdraw_consent(n(10));
SELECT x.id, gdpr.standing(n(x.id), 'news', 'email') FROM unnest('{1,10}'::int[]) x(id);
SELECT purpose, channel, status, valid FROM gdpr.consent_at(n(10));
-- a later one stands; an end that is recorded for one ends that of the other
SELECT gdpr.give_consent(n(10), 'news', channel => 'email', topic => 'events') IS NOT NULL AS given;
SELECT gdpr.standing(n(1), 'news', 'email', 'events');
SELECT gdpr.expire_consent(n(1), 'news', channel => 'email', topic => 'events') IS NOT NULL AS ended;
SELECT gdpr.standing(n(10), 'news', 'email', 'events');
SELECT try(format('SELECT gdpr.expire_consent(%s, ''news'', ''sms'')', n(1)));
SELECT purpose, standing, source FROM gdpr.purposes_of(n(10)) ORDER BY 1;
-- the earlier of two at one time is the less permissive, whichever number they are of
SELECT gdpr.give_consent(n(2), 'news', 'phone', occurred_at => '2026-01-01') IS NOT NULL AND gdpr.refuse_consent(n(3), 'news', 'phone', occurred_at => '2026-01-01') IS NOT NULL AS recorded;
SELECT id(gdpr.merge_subjects(n(3), n(2)));
SELECT gdpr.standing(n(2), 'news', 'phone'), gdpr.standing(n(3), 'news', 'phone');
-- each has one, and both end
SELECT gdpr.give_consent(n(3), 'news', 'fax', occurred_at => '2026-01-01') IS NOT NULL AND gdpr.give_consent(n(2), 'news', 'fax', occurred_at => '2026-02-01') IS NOT NULL AS recorded;
SELECT gdpr.standing(n(2), 'news', 'fax'), gdpr.standing(n(3), 'news', 'fax');
SELECT gdpr.expire_consent(n(3), 'news', 'fax') IS NOT NULL AS ended;
SELECT gdpr.standing(n(2), 'news', 'fax'), gdpr.standing(n(3), 'news', 'fax');
-- the record of a consent has the events of both
SELECT jsonb_array_length(gdpr.consent_record(e.id) -> 'dpv:hasConsentStatus') AS events FROM gdpr.consent_event e WHERE e.subject = n(2) AND e.channel = 'fax' ORDER BY e.recorded_at LIMIT 1;

-- what forbids, forbids for both: rows, views, writes
SELECT gdpr.restrict(n(10), ground => 'accuracy') IS NOT NULL AS restricted;
SELECT gdpr.record_objection(n(1), 'profile') IS NOT NULL AS objected;
SELECT gdpr.block_channel(n(10), 'phone') IS NOT NULL AS blocked;
SELECT x.id, gdpr.standing(n(x.id), 'service'), gdpr.standing(n(x.id), 'profile') FROM unnest('{1,10}'::int[]) x(id);
SET ROLE merge_app; SET gdpr.purpose = 'service';
SELECT id, email FROM "C R M".contact WHERE id IN (1, 10, 4) ORDER BY 1;
SELECT id, email FROM "C R M".contact WHERE email IN ('ann1@example.nl', 'ANN@example.nl');
SELECT id, body, signature FROM "C R M".message ORDER BY id;
SELECT try('UPDATE "C R M".contact SET email = NULL WHERE id = 1'), try('DELETE FROM "C R M".orders WHERE contact_id = 1'), try('UPDATE "C R M".message SET from_id = 6 WHERE id = 2');
SELECT id, gdpr.permitted(s) FROM n WHERE id IN (1, 10, 4) ORDER BY 1;
RESET ROLE; RESET gdpr.purpose;
SELECT try('TRUNCATE "C R M".message, "C R M".invoice');
SELECT id(subject), kind FROM gdpr.flag ORDER BY 1, 2;
SELECT gdpr.lift_restriction(n(1), informed_at => now()) AS lifted, gdpr.unblock_channel(n(1), 'phone') AS unblocked;
SELECT gdpr.record_objection(n(10), 'profile') IS NOT NULL AS again;
SELECT gdpr.decide_objection(n(10), 'profile', false, 'because') IS NOT NULL AS decided;
SELECT try(format('SELECT gdpr.withdraw_objection(%s, ''profile'')', n(1)));
SELECT kind, status, in_force FROM gdpr.flag_history(n(1));
SELECT gdpr.standing(n(10), 'service'), gdpr.standing(n(1), 'profile');

-- where each number came from; who looked
SELECT source FROM gdpr.provenance_of(n(1)); SELECT source FROM gdpr.provenance_of(n(10));
SET ROLE merge_app; SET gdpr.purpose = 'service';
UPDATE "C R M".contact SET email = 'ann@example.nl' WHERE id = 10;
RESET ROLE; RESET gdpr.purpose;
CREATE PROCEDURE wait() LANGUAGE plpgsql AS $$
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
CALL wait();
SET gdpr.purpose = 'service';
SELECT command, "column", before, after, outcome FROM gdpr.changes(n(1));
SELECT (SELECT array_agg((a.role, a.relation, a.columns, a.actions)::text ORDER BY a.at) FROM gdpr.accesses(n(1)) a WHERE a.role = 'merge_app' AND 'write' = ANY (a.actions)) AS of_1;
CALL wait();
SELECT relation, columns, ARRAY(SELECT id(n.s) FROM n WHERE r.subjects @> n.s ORDER BY 1) AS persons FROM gdpr.audit_log r WHERE relation = 'gdpr.audit_log' AND columns && '{changes,accesses}' AND ARRAY(SELECT id(n.s) FROM n WHERE r.subjects @> n.s) <> '{}';
RESET gdpr.purpose;

-- the application merges rows: what moves is of the other number then
SET ROLE merge_app; SET gdpr.purpose = 'service';
UPDATE "C R M".orders SET contact_id = 1 WHERE contact_id = 10;
UPDATE "C R M".message SET from_id = 1 WHERE from_id = 10;
SELECT id, remark, gdpr.subject_number(gdpr_sealed) = n(1) AS moved FROM "C R M".orders WHERE contact_id = 1 ORDER BY id;
RESET ROLE; RESET gdpr.purpose;

-- chains
SELECT id(gdpr.merge_subjects(n(6), n(5))), id(gdpr.merge_subjects(n(7), n(6))), id(gdpr.merge_subjects(n(5), n(8)));
SELECT ids(gdpr.numbers_of(n(5))), id(gdpr.person(n(8)));
SELECT try(format('SELECT gdpr.merge_subjects(%s, %s)', n(a), n(b))) FROM (VALUES (5, 7), (7, 5), (8, 6)) v(a, b);
SELECT gdpr.restrict(n(8)) IS NOT NULL AS restricted;
SELECT x.id, gdpr.standing(n(x.id), 'service') FROM unnest('{5,6,7,8}'::int[]) x(id);
SELECT gdpr.lift_restriction(n(6), informed_at => now()) AS lifted;
SELECT try(format('SELECT gdpr.unmerge_subjects(%s)', n(7)));
SELECT id(gdpr.unmerge_subjects(n(6), 'not she'));
SELECT ids(gdpr.numbers_of(n(7))), ids(gdpr.numbers_of(n(5)));
SELECT id(gdpr.unmerge_subjects(n(5))), id(gdpr.unmerge_subjects(n(8)));
SELECT ids(gdpr.numbers_of(n(7))), ids(gdpr.numbers_of(n(5))), ids(gdpr.numbers_of(n(6))), ids(gdpr.numbers_of(n(8)));
SELECT kind, id(number) AS number, id(other) AS other, details ->> 'reason' AS reason FROM gdpr.identity_history(n(6));
-- a circle that somebody made by hand has an end
BEGIN;
INSERT INTO gdpr.subject_alias (number, subject) VALUES (n(5), n(6)), (n(6), n(5));
SELECT cardinality(gdpr.numbers_of(n(5))), gdpr.standing(n(5), 'service');
ROLLBACK;
SELECT ids(gdpr.numbers_of(n(5)));

-- what took something away while they were merged, holds for both afterwards; what gave, does not
SELECT gdpr.give_consent(n(8), 'news') IS NOT NULL AND gdpr.give_consent(n(9), 'news') IS NOT NULL AS given;
SELECT gdpr.refuse_consent(n(8), 'news', 'sms') IS NOT NULL AS before;
SELECT id(gdpr.merge_subjects(n(8), n(9)));
SELECT count(*) FROM gdpr.withdraw_consent(n(9), 'news');
SELECT gdpr.give_consent(n(9), 'news', 'post') IS NOT NULL AND gdpr.block_channel(n(8), 'fax') IS NOT NULL AND gdpr.record_objection(n(9)) IS NOT NULL
       AND gdpr.record_objection(n(8), 'profile', 'why') IS NOT NULL AND gdpr.restrict(n(9), ground => 'unlawful') IS NOT NULL AS merged;
SELECT id(gdpr.unmerge_subjects(n(9)));
SELECT x.id, c.purpose, c.channel, c.status, c.valid FROM unnest('{8,9}'::int[]) x(id), gdpr.consent_at(n(x.id)) c ORDER BY 1, 2, 3;
SELECT id(f.subject), f.kind, p.name, f.channel, count(*) FROM gdpr.flag f LEFT JOIN gdpr.purpose p ON p.id = f.purpose_id WHERE f.subject IN (n(8), n(9)) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3;
SELECT count(gdpr.lift_restriction(n(x), informed_at => now())) FROM unnest('{8,9}'::int[]) x;

-- not the same
SELECT gdpr.not_duplicates(n(4), n(9), 'sisters');
SELECT try(format('SELECT gdpr.not_duplicates(%s, %s)', n(1), n(10))), try(format('SELECT gdpr.not_duplicates(%s, NULL)', n(1)));
SELECT kind, id(number) AS number, id(other) AS other, details ->> 'reason' AS reason FROM gdpr.identity_history(n(4));

-- a category alone: of all numbers, and what comes anew
SELECT gdpr.forget(n(10), category => 'contact') IS NOT NULL AS forgotten;
SET ROLE merge_app; SET gdpr.purpose = 'service';
SELECT id, "full name", email FROM "C R M".contact WHERE id IN (1, 10) ORDER BY 1;
SELECT id, remark FROM "C R M".orders WHERE contact_id = 1 ORDER BY id;
SELECT id, signature FROM "C R M".message WHERE from_id = 1 ORDER BY id;
UPDATE "C R M".contact SET email = 'new' || id WHERE id IN (1, 10);
SELECT id, email FROM "C R M".contact WHERE id IN (1, 10) ORDER BY 1;
RESET ROLE; RESET gdpr.purpose;
SELECT id(subject), category IS NULL AS merge FROM gdpr.subject_alias ORDER BY 1, 2;
SELECT cardinality(gdpr.numbers_of(n(10))) AS numbers, cardinality(gdpr.numbers_of(n(1), 0::smallint)) AS of_identity;
SELECT a.number AS alias FROM gdpr.subject_alias a WHERE a.subject = n(10) AND a.category IS NOT NULL \gset
SELECT id(gdpr.person(:alias)), id(gdpr.assert_subject(:alias));

-- forgotten as one: by either number, with all its numbers
INSERT INTO "C R M".contact VALUES (20, 'child', NULL, 10);
INSERT INTO n SELECT 20, gdpr.subject('"C R M".contact', '20');
UPDATE "C R M".contact SET friend = 10 WHERE id = 1;
SELECT id(gdpr.merge_subjects(n(1), n(20)));
SELECT gdpr.put_outbox('x', n(10), '1') IS NOT NULL AS message;
SELECT gdpr.forget(n(10), reason => 'request 1') AS erasure \gset
SELECT id(subject), r ->> 'relation' AS relation, r ->> 'action' AS action, r ->> 'rows' AS rows FROM gdpr.erasure, jsonb_array_elements(relations) r WHERE id = :'erasure';
SELECT count(*) FROM "C R M".contact WHERE id IN (1, 10, 20);
SELECT (SELECT count(*) FROM "C R M".orders WHERE contact_id IN (1, 10)) AS orders, (SELECT count(*) FROM gdpr.outbox) AS messages;
SELECT x.id, gdpr.standing(n(x.id), 'service'), gdpr.key_is_lost(n(x.id), NULL) FROM unnest('{1,10,20,2}'::int[]) x(id);
SELECT gdpr.key_is_lost(:alias, NULL) AS alias_forgotten;
SELECT gdpr.forget(n(1)) = :'erasure' AS the_same;
SET ROLE merge_app; SET gdpr.purpose = 'service';
SELECT id, body, signature FROM "C R M".message ORDER BY id;
SELECT id, address FROM "C R M".invoice WHERE contact_id IN (1, 10) ORDER BY id;
RESET ROLE; RESET gdpr.purpose;
-- and nothing is left to separate, to merge or to read
SELECT try(format('SELECT gdpr.unmerge_subjects(%s)', n(10))), try(format('SELECT gdpr.merge_subjects(%s, %s)', n(10), n(4))), try(format('SELECT gdpr.merge_subjects(%s, %s)', n(4), n(1)));
SELECT kind, id(number) AS number, id(other) AS other, details FROM gdpr.identity_history(n(1));
SELECT * FROM gdpr.dark_rows();
-- a row that one of the same person refers to goes too, once that is gone
INSERT INTO "C R M".contact VALUES (30, 'E', NULL, NULL), (31, 'F', NULL, 30);
INSERT INTO n SELECT id, gdpr.subject('"C R M".contact', id::text) FROM "C R M".contact WHERE id >= 30;
SELECT id(gdpr.merge_subjects(n(30), n(31)));
SELECT gdpr.forget(n(31)) AS erasure \gset
SELECT id(subject), relations FROM gdpr.erasure WHERE id = :'erasure';
-- rows with several owners live until the last of them is gone, who can be one that was merged; access; holds
CREATE TABLE "C R M".paper (id integer PRIMARY KEY, title text);
CREATE TABLE "C R M".author (paper integer REFERENCES "C R M".paper ON DELETE CASCADE, person integer REFERENCES "C R M".contact, PRIMARY KEY (paper, person));
CREATE TABLE "C R M".letter (id integer PRIMARY KEY, sender integer NOT NULL REFERENCES "C R M".contact, recipient integer REFERENCES "C R M".contact, body text);
INSERT INTO "C R M".contact SELECT i, 'author ' || i FROM generate_series(40, 43) i;
INSERT INTO "C R M".paper VALUES (1, 'by 40 and 41'), (2, 'by 40, 41 and 42');
INSERT INTO "C R M".author VALUES (1, 40), (1, 41), (2, 40), (2, 41), (2, 42);
INSERT INTO "C R M".letter VALUES (1, 42, 40, 'to 40'), (2, 42, 41, 'to 41'), (3, 42, 43, 'to 43');
SELECT gdpr.declare_table('"C R M".author', via => 'person'), gdpr.declare_table('"C R M".paper', owned_through => '"C R M".author'), gdpr.declare_column('"C R M".paper', 'title', 'content'),
       gdpr.declare_table('"C R M".letter', via => 'sender'), gdpr.declare_column('"C R M".letter', 'body', 'content'), gdpr.declare_access('"C R M".letter', via => 'recipient');
SELECT gdpr.protect_now('"C R M".paper'), gdpr.protect_now('"C R M".author'), gdpr.protect_now('"C R M".letter');
INSERT INTO n SELECT id, gdpr.subject('"C R M".contact', id::text) FROM "C R M".contact WHERE id >= 40;
SELECT id(gdpr.merge_subjects(n(40), n(41)));
SELECT relation, rows, action, reason FROM gdpr.forget_preview(n(41)) ORDER BY 1, 3;
SELECT gdpr.forget(n(41)) AS erasure \gset
SELECT id(subject), r ->> 'relation' AS relation, r ->> 'action' AS action, r ->> 'rows' AS rows FROM gdpr.erasure, jsonb_array_elements(relations) r WHERE id = :'erasure' ORDER BY 2, 3;
SELECT (SELECT array_agg(id) FROM "C R M".paper) AS papers, (SELECT array_agg((paper, person)) FROM "C R M".author) AS authors, (SELECT array_agg((id, recipient) ORDER BY id) FROM "C R M".letter) AS letters;
SELECT id(gdpr.merge_subjects(n(42), n(43)));
SELECT gdpr.hold(n(43), 'lawsuit', '2999-01-01', relations => '{"\"C R M\".letter"}') AS hold \gset
SELECT try(format('SELECT gdpr.forget(%s, category => ''content'')', n(42)));
SELECT gdpr.forget(n(42)) IS NOT NULL AS forgotten;
SELECT h.number AS held_as FROM gdpr.hold h WHERE h.id = :'hold' \gset
SELECT (SELECT array_agg(id) FROM "C R M".contact WHERE id >= 40) AS contacts, (SELECT count(*) FROM "C R M".paper) AS papers, (SELECT array_agg((id, gdpr.subject_number(gdpr_sealed) = :held_as) ORDER BY id) FROM "C R M".letter) AS letters;
SELECT try(format('SELECT gdpr.merge_subjects(%s, %s)', n(4), :held_as)) LIKE '22023 | what a hold keeps%' AS refused;
SELECT gdpr.release_hold(:'hold') IS NOT NULL AS erased;
SELECT (SELECT count(*) FROM "C R M".letter) AS letters, (SELECT count(*) FROM "C R M".contact WHERE id >= 40) AS contacts;
-- an erasure that was planned for one is of the person: planned once, and cancelled by either number
INSERT INTO "C R M".contact SELECT i, 'leaving ' || i FROM generate_series(50, 51) i;
INSERT INTO n SELECT id, gdpr.subject('"C R M".contact', id::text) FROM "C R M".contact WHERE id >= 50;
SELECT id(gdpr.merge_subjects(n(50), n(51)));
SELECT gdpr.plan_erasure(ARRAY[n(51)], grace => '1 day'), gdpr.plan_erasure(ARRAY[n(50)], grace => '1 day');
SELECT gdpr.standing(n(50), 'service'), gdpr.standing(n(51), 'service'), gdpr.cancel_erasure(ARRAY[n(50)]);
SELECT gdpr.standing(n(50), 'service'), gdpr.standing(n(51), 'service'), (SELECT count(*) FROM gdpr.planned_erasure) AS planned;
SELECT gdpr.plan_erasure(ARRAY[n(51)], grace => '0');
CALL gdpr.run_planned_erasures();
SELECT gdpr.standing(n(50), 'service'), (SELECT count(*) FROM gdpr.planned_erasure) AS planned;
-- a person with no rows; the reason of a merge is lost with either of both
SELECT id(gdpr.merge_subjects(n(12), n(13), 'both of them')), id(gdpr.unmerge_subjects(n(13)));
SELECT gdpr.forget(n(12)) IS NOT NULL AS forgotten;
SELECT kind, details FROM gdpr.identity_history(n(13));
\c :home
DROP DATABASE merge_regress;
DROP ROLE merge_app, merge_officer;
