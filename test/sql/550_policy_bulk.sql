-- The decision on many persons at once: answers that are looked up one by one,
-- those of everybody read at once, and the rules written down anew in plain SQL
-- over the ledgers are the same.
\set VERBOSITY terse
SET client_min_messages = warning;
\set main :DBNAME
CREATE DATABASE bulk_regress;
\c bulk_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE SCHEMA bulk;
CREATE TABLE bulk.person (id integer PRIMARY KEY, name text);
CREATE ROLE bulk_app;
INSERT INTO bulk.person SELECT i, 'Name ' || i FROM generate_series(1, 2000) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('bulk.person'), gdpr.declare_column('bulk.person', 'name', 'identity');
    PERFORM gdpr.protect_now('bulk.person');
    PERFORM gdpr.create_purpose('news', 'consent', '{identity}', direct_marketing => true),
            gdpr.create_purpose('post', 'consent', '{identity}', default_basis => 'legitimate_interest'),
            gdpr.create_purpose('study', 'consent', '{identity}', restricted_ground => 'consent'),
            gdpr.create_purpose('care', 'legitimate_interest', '{identity}'),
            gdpr.create_purpose('offer', 'legitimate_interest', '{identity}', direct_marketing => true);
    PERFORM gdpr.grant_purpose(name, 'bulk_app') FROM gdpr.purpose;
    -- not valid any more from before 3 days ago; others in a year
    PERFORM gdpr.publish_notice('2', '{study}', requires_renewal => true, published_at => now() - interval '3 days'),
            gdpr.publish_notice('3', '{news}', requires_renewal => true, renew_by => now() + interval '1 year');
END $$;
GRANT USAGE ON SCHEMA bulk TO bulk_app;
GRANT SELECT ON bulk.person TO bulk_app;
CREATE TABLE bulk.subject AS SELECT id, gdpr.subject_number(gdpr_sealed) AS number FROM bulk.person;
CREATE UNIQUE INDEX ON bulk.subject (number);

-- by chance, the same in every run
CREATE FUNCTION bulk.dice(a integer, b integer, sides integer) RETURNS integer IMMUTABLE LANGUAGE sql AS
    $$ SELECT ((hashint4extended(a, b) & 1073741823) % sides)::integer $$;
CREATE FUNCTION bulk.pick(a integer, b integer, items text[]) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT items[1 + bulk.dice(a, b, cardinality(items))] $$;

-- every status on all scopes, many at the same time, backdated ones among them
DO $$
DECLARE
    p record;
    purpose text;
    n integer;
    seed integer;
    status text;
    channel text;
    topic text;
    at timestamptz;
BEGIN
    FOR p IN SELECT id, number FROM bulk.subject WHERE id % 10 <> 0 ORDER BY id LOOP
        FOREACH purpose IN ARRAY '{news,post,study}'::text[] LOOP
            FOR n IN 1 .. bulk.dice(p.id, length(purpose) + ascii(purpose), 5) LOOP
                seed := 100 * ascii(purpose) + 10 * n;
                status := bulk.pick(p.id, seed, '{given,given,given,given,renewed,refused,withdrawn,invalidated,expired,requested}');
                channel := bulk.pick(p.id, seed + 2, '{NULL,NULL,mail,mail,phone}');
                topic := bulk.pick(p.id, seed + 3, '{NULL,NULL,sale,club}');
                at := now() - (1 + bulk.dice(p.id, seed + 1, 6)) * interval '1 day';
                BEGIN
                    PERFORM gdpr.record_consent(p.number, purpose, status, channel, topic, at,
                        CASE WHEN status IN ('given', 'renewed') THEN at + bulk.pick(p.id, seed + 4, '{NULL,NULL,36 hours,1 year}')::interval END,
                        NULL, NULL, NULL);
                EXCEPTION WHEN no_data_found THEN
                    -- there is no such consent that could end
                    ASSERT status = 'expired';
                END;
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
-- a fifth has flags, some of which are gone
DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT id, number FROM bulk.subject WHERE id % 5 = 1 ORDER BY id LOOP
        CASE bulk.dice(p.id, 5, 4)
            WHEN 0 THEN
                PERFORM gdpr.restrict(p.number);
                IF bulk.dice(p.id, 6, 2) = 0 THEN PERFORM gdpr.restrict(p.number); END IF;
                IF bulk.dice(p.id, 7, 3) = 0 THEN PERFORM gdpr.lift_restriction(p.number, now()); END IF;
            WHEN 1 THEN
                PERFORM gdpr.record_objection(p.number, bulk.pick(p.id, 8, '{NULL,care,offer,news}'));
                IF bulk.dice(p.id, 9, 3) = 0 THEN
                    PERFORM gdpr.withdraw_objection(p.number, bulk.pick(p.id, 8, '{NULL,care,offer,news}'));
                END IF;
            ELSE
                PERFORM gdpr.block_channel(p.number, bulk.pick(p.id, 10, '{mail,phone,fax}'));
                IF bulk.dice(p.id, 11, 3) = 0 THEN PERFORM gdpr.block_channel(p.number, 'mail'); END IF;
                IF bulk.dice(p.id, 12, 3) = 0 THEN PERFORM gdpr.unblock_channel(p.number, bulk.pick(p.id, 10, '{mail,phone,fax}')); END IF;
        END CASE;
    END LOOP;
END $$;
SELECT status, count(*) > 100 AS many FROM gdpr.consent_event e JOIN bulk.subject s ON s.number = e.subject GROUP BY 1 ORDER BY 1;

-- What the ledgers say, for each scope that a person decided on.
CREATE TABLE bulk.decided AS
SELECT DISTINCT ON (e.subject, e.purpose, e.channel, e.topic)
       e.subject, e.purpose, e.channel, e.topic, e.occurred_at AS since, e.status IN ('given', 'renewed') AS permits,
       least(e.expires_at, (SELECT min(x.occurred_at) FROM gdpr.consent_event x
                            WHERE (x.subject, x.purpose, x.channel, x.topic, x.status) = (e.subject, e.purpose, e.channel, e.topic, 'expired')
                              AND x.occurred_at >= e.occurred_at)) AS ends
FROM gdpr.consent_event e JOIN bulk.subject s ON s.number = e.subject
WHERE e.status IN ('given', 'renewed', 'refused', 'withdrawn', 'invalidated')
ORDER BY e.subject, e.purpose, e.channel, e.topic, e.occurred_at DESC, e.status IN ('given', 'renewed'), e.recorded_at DESC;
CREATE INDEX ON bulk.decided (purpose, subject);
CREATE TABLE bulk.in_force AS
SELECT DISTINCT ON (e.flag) e.subject, e.kind, e.purpose, e.channel,
       e.status NOT IN ('lifted', 'rejected', 'withdrawn', 'unblocked') AS holds
FROM gdpr.flag_event e JOIN bulk.subject s ON s.number = e.subject ORDER BY e.flag, e.recorded_at DESC;
CREATE INDEX ON bulk.in_force (subject);
ANALYZE bulk.decided, bulk.in_force;

-- What is decided from is what they say.
SELECT count(*) AS differ FROM bulk.decided d
FULL JOIN (SELECT c.*, p.name FROM gdpr.consent c JOIN gdpr.purpose p ON p.id = c.purpose_id JOIN bulk.subject s ON s.number = c.subject) c
    ON (c.subject, c.name, c.channel, c.topic) = (d.subject, d.purpose, d.channel, d.topic)
WHERE (c.since, c.permits) IS DISTINCT FROM (d.since, d.permits) OR (d.permits AND c.expires_at IS DISTINCT FROM d.ends);
SELECT count(*) AS differ FROM bulk.decided d
FULL JOIN (SELECT s.number, a.* FROM bulk.subject s, gdpr.consent_at(s.number, clock_timestamp()) a WHERE a.status <> 'requested') a
    ON (a.number, a.purpose, coalesce(a.channel, ''), coalesce(a.topic, '')) = (d.subject, d.purpose, d.channel, d.topic)
WHERE a.since IS DISTINCT FROM d.since OR (d.permits AND a.expires_at IS DISTINCT FROM d.ends);

-- The rules.
CREATE VIEW bulk.consent AS
SELECT d.*, permits AND (ends > now()) IS NOT FALSE AND since >= ALL (
           SELECT n.published_at FROM gdpr.notice n WHERE n.renew_by <= now() AND d.purpose = ANY (n.purposes)) AS valid
FROM bulk.decided d;
-- is there consent on this channel about this topic?
CREATE FUNCTION bulk.judge(person bigint, purpose text, without_record boolean, channel text, topic text) RETURNS text STABLE LANGUAGE plpgsql AS $$
BEGIN RETURN (
    WITH covering AS (
        SELECT * FROM bulk.consent c WHERE c.purpose = judge.purpose AND c.subject = person
        AND c.channel IN ('', judge.channel) AND c.topic IN ('', judge.topic)
    )
    SELECT CASE
        WHEN EXISTS (SELECT FROM bulk.in_force f WHERE f.holds AND f.subject = person AND f.kind = 'channel_block' AND f.channel = judge.channel)
            THEN '3 blocked'
        -- one that no refusal stands against, unless it came later and is about less
        WHEN EXISTS (SELECT FROM covering a WHERE a.valid AND NOT EXISTS (
                SELECT FROM covering b WHERE NOT b.permits AND NOT (a.since > b.since AND (a.channel, a.topic) <> (b.channel, b.topic)
                                                                    AND b.channel IN ('', a.channel) AND b.topic IN ('', a.topic))))
            THEN '0 permitted'
        WHEN NOT EXISTS (SELECT FROM covering) THEN CASE WHEN without_record THEN '0 permitted' ELSE '6 no consent' END
        WHEN EXISTS (SELECT FROM covering a WHERE NOT a.permits) THEN '4 refused'
        ELSE '5 expired' END);
END $$;
CREATE FUNCTION bulk.model(person bigint, p gdpr.purpose, channel text, topic text) RETURNS text STABLE LANGUAGE plpgsql AS $$
BEGIN RETURN (
    WITH flag AS (
        SELECT * FROM bulk.in_force f WHERE f.holds AND f.subject = person
    )
    SELECT CASE
        WHEN p.restricted_ground IS NULL AND EXISTS (SELECT FROM flag WHERE kind = 'restriction') THEN 'restricted'
        WHEN EXISTS (SELECT FROM flag f WHERE kind = 'objection' AND (f.purpose = p.name OR (f.purpose IS NULL AND p.direct_marketing))) THEN 'objected'
        WHEN EXISTS (SELECT FROM flag f WHERE kind = 'channel_block' AND f.channel = model.channel) THEN 'blocked'
        WHEN p.legal_basis <> 'consent' THEN 'permitted'
        -- if none is asked: those that are named, and any other
        ELSE (SELECT substr(min(bulk.judge(person, p.name, p.default_basis IS NOT NULL, c, t)), 3)
              FROM (SELECT coalesce(model.channel, '') UNION
                    SELECT d.channel FROM bulk.decided d WHERE d.purpose = p.name AND d.subject = person AND model.channel IS NULL) c(c),
                   (SELECT coalesce(model.topic, '') UNION
                    SELECT d.topic FROM bulk.decided d WHERE d.purpose = p.name AND d.subject = person AND model.topic IS NULL) t(t)) END);
END $$;

-- Every question: the model; one statement for each person; one for all.
CREATE TABLE bulk.answer AS
SELECT p.name AS purpose, channel, topic, s.id, bulk.model(s.number, p, channel, topic) AS model
FROM gdpr.purpose p, bulk.subject s, unnest('{NULL,mail,fax}'::text[]) channel, unnest('{NULL,sale,else}'::text[]) topic
WHERE p.legal_basis = 'consent' OR topic IS NULL;
CREATE INDEX ON bulk.answer (purpose, channel, topic, id);
ANALYZE bulk.answer;
-- every outcome occurs
SELECT model, count(*) > 100 AS many FROM bulk.answer GROUP BY model ORDER BY model;
SELECT count(*) AS one_sided FROM (
    SELECT FROM bulk.answer GROUP BY purpose, channel, topic HAVING count(*) FILTER (WHERE model = 'permitted') NOT BETWEEN 50 AND 1990) a;

DO $$
DECLARE
    a record;
    ok boolean;
BEGIN
    FOR a IN SELECT x.*, s.number FROM bulk.answer x JOIN bulk.subject s USING (id) WHERE id % 2 = 1 LOOP
        SELECT gdpr.permitted(a.number, a.purpose, a.channel, a.topic) INTO ok;
        IF ok IS DISTINCT FROM (a.model = 'permitted') OR gdpr.standing(a.number, a.purpose, a.channel, a.topic) <> a.model THEN
            RAISE WARNING 'person %, % on % about %: % instead of %', a.id, a.purpose, a.channel, a.topic,
                gdpr.standing(a.number, a.purpose, a.channel, a.topic), a.model;
        END IF;
    END LOOP;
END $$;

-- Every question in one statement: how many answers are not the model's?
CREATE FUNCTION bulk.differ(source text DEFAULT 'bulk.person') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    q record;
    found_ids integer[];
    result bigint := 0;
BEGIN
    FOR q IN SELECT DISTINCT purpose, channel, topic FROM bulk.answer LOOP
        EXECUTE format('SELECT array_agg(DISTINCT id) FROM %s p WHERE gdpr.row_permitted(gdpr_sealed, %L, %L, %L)',
                       source, q.purpose, q.channel, q.topic) INTO found_ids;
        result := result + (
            SELECT count(*) FROM bulk.answer a LEFT JOIN unnest(found_ids) f ON f = a.id
            WHERE (a.purpose, coalesce(a.channel, ''), coalesce(a.topic, '')) = (q.purpose, coalesce(q.channel, ''), coalesce(q.topic, ''))
              AND (a.model = 'permitted') <> (f IS NOT NULL));
    END LOOP;
    RETURN result;
END $$;
SELECT bulk.differ();
SELECT bulk.differ('(SELECT * FROM bulk.person ORDER BY id DESC OFFSET 0)');
SELECT bulk.differ('(SELECT * FROM bulk.person UNION ALL SELECT * FROM bulk.person)');

-- Are they all read at once?  Then there is room for those that nobody asks for, too: 4096 numbers a kB.
CREATE FUNCTION bulk.memory() RETURNS bigint LANGUAGE sql AS
    $$ SELECT max(total_bytes) / 1024 FROM pg_backend_memory_contexts WHERE name = 'gdpr persons' $$;
SELECT max(number) < 1000000 AS below FROM bulk.subject;
INSERT INTO gdpr.consent (purpose_id, subject, permits, since, event)
SELECT p.id, 1000000 + i * 4096, true, now(), gen_random_uuid() FROM gdpr.purpose p, generate_series(1, 300) i WHERE p.name = 'news';
SELECT count(*) > 100 AS some FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', 'mail');
SELECT bulk.memory() BETWEEN 290 AND 400 AS all_are_read;
-- if not everybody fits, they are looked up
SET work_mem = '64kB';
SELECT bulk.differ();
SELECT count(*) > 100 AS some FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', 'mail');
SELECT bulk.memory() < 110 AS little;
RESET work_mem;
DELETE FROM gdpr.consent c WHERE c.subject > 1000000;

-- Columns of the session's purpose, of a view's, of two purposes at a time, one of which is masked.
SELECT gdpr.set_mask('bulk.person', 'name', 'name');
SELECT gdpr.grant_purpose('study', 'bulk_app', mode => 'mask');
CREATE VIEW bulk.news WITH (security_barrier) AS SELECT id, name FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', 'mail', 'sale');
CREATE VIEW bulk.study AS SELECT id, name FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, 'study');
GRANT SELECT ON bulk.news, bulk.study, bulk.answer TO bulk_app;
SET ROLE bulk_app;
SET gdpr.purpose = 'post';
CREATE FUNCTION pg_temp.of(purpose text, channel text, topic text) RETURNS TABLE (id integer) LANGUAGE sql AS $$
    SELECT a.id FROM bulk.answer a WHERE model = 'permitted' AND a.purpose = of.purpose
    AND a.channel IS NOT DISTINCT FROM of.channel AND a.topic IS NOT DISTINCT FROM of.topic $$;
SELECT count(*) AS differ FROM bulk.person p FULL JOIN pg_temp.of('post', NULL, NULL) o USING (id) WHERE p.name IS DISTINCT FROM CASE WHEN o.id IS NOT NULL THEN 'Name ' || o.id END;
SELECT count(*) AS differ FROM bulk.news n FULL JOIN pg_temp.of('news', 'mail', 'sale') o USING (id) WHERE n.name IS DISTINCT FROM 'Name ' || o.id;
SELECT count(*) AS differ FROM bulk.study s FULL JOIN pg_temp.of('study', NULL, NULL) o USING (id) WHERE o.id IS NULL OR s.name IS DISTINCT FROM '***';
SELECT count(*) AS differ FROM bulk.news n JOIN bulk.study s USING (id)
FULL JOIN (SELECT id FROM pg_temp.of('news', 'mail', 'sale') a JOIN pg_temp.of('study', NULL, NULL) b USING (id)) o USING (id)
WHERE o.id IS NULL OR n.name IS DISTINCT FROM 'Name ' || o.id OR s.name IS DISTINCT FROM '***';
SET gdpr.channel = 'mail';
SET gdpr.topic = 'sale';
SELECT count(*) AS differ FROM bulk.person p FULL JOIN pg_temp.of('post', 'mail', 'sale') o USING (id) WHERE p.name IS DISTINCT FROM CASE WHEN o.id IS NOT NULL THEN 'Name ' || o.id END;
RESET gdpr.channel;
RESET gdpr.topic;
RESET ROLE;

-- In parallel workers: alike, also what their leader changed and has not committed.
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE FUNCTION bulk.workers(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' || query LOOP
        IF line ~ 'Workers Launched: [1-9]' THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;
SELECT bulk.workers('SELECT count(*) FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, ''news'')') AS rows, bulk.workers('SELECT count(name) FROM bulk.news') AS columns;
SELECT bulk.differ();
CREATE FUNCTION bulk.both() RETURNS TABLE (news bigint, restricted bigint, alike boolean) LANGUAGE plpgsql AS $$
DECLARE
    s record;
    one bigint := 0;
BEGIN
    SELECT count(*) INTO news FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, 'news');
    SELECT count(*) INTO restricted FROM bulk.person WHERE NOT gdpr.row_permitted(gdpr_sealed, 'care');
    FOR s IN SELECT number FROM bulk.subject LOOP
        one := one + gdpr.permitted(s.number, 'news')::integer - (NOT gdpr.permitted(s.number, 'care'))::integer;
    END LOOP;
    alike := one = news - restricted;
    RETURN NEXT;
END $$;
SELECT b.alike FROM bulk.both() b;
BEGIN;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT count(gdpr.restrict(number)) FROM bulk.subject WHERE id % 3 = 0;
SELECT count(*) FROM bulk.subject, gdpr.withdraw_consent(number, 'news') WHERE id % 3 = 1;
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT * FROM bulk.both();
SAVEPOINT s;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT count(*) FROM bulk.subject, gdpr.withdraw_consent(number, 'news') WHERE id % 3 = 2;
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT * FROM bulk.both();
SELECT gdpr.alter_purpose('care', restricted_ground => 'legal_claims');
SELECT restricted < 600 AS claims FROM bulk.both();
SELECT gdpr.revoke_purpose('news', 'bulk_app');
SELECT * FROM bulk.both();
ROLLBACK TO s;
SELECT * FROM bulk.both();
SELECT bulk.workers('SELECT count(*) FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, ''news'')') AS rows;
ROLLBACK;
SELECT bulk.differ();

-- Persons that were merged: what either decided is what the person did.
SELECT count(gdpr.merge_subjects(a.number, b.number)) FROM bulk.subject a JOIN bulk.subject b ON b.id = a.id + 1000 WHERE a.id % 4 = 0;
SELECT count(gdpr.merge_subjects(a.number, b.number)) FROM bulk.subject a JOIN bulk.subject b ON b.id = a.id + 1 WHERE a.id % 40 = 2 AND a.id < 1000;
SELECT count(gdpr.merge_subjects(a.number, b.number)) FROM bulk.subject a JOIN bulk.subject b ON b.id = a.id + 2 WHERE a.id % 40 = 2 AND a.id < 1000;
CREATE TABLE bulk.of_numbers AS SELECT * FROM bulk.decided;
TRUNCATE bulk.decided;
INSERT INTO bulk.decided
SELECT DISTINCT ON (1, d.purpose, d.channel, d.topic) gdpr.person(d.subject), d.purpose, d.channel, d.topic, d.since, d.permits, d.ends
FROM bulk.of_numbers d ORDER BY 1, d.purpose, d.channel, d.topic, d.since DESC, d.permits, d.ends;
UPDATE bulk.in_force f SET subject = gdpr.person(f.subject);
SELECT count(*) AS differ FROM bulk.decided d
FULL JOIN (SELECT s.number, a.* FROM bulk.subject s, gdpr.consent_at(s.number, clock_timestamp()) a WHERE a.status <> 'requested') a
    ON (gdpr.person(a.number), a.purpose, coalesce(a.channel, ''), coalesce(a.topic, '')) = (d.subject, d.purpose, d.channel, d.topic)
WHERE a.since IS DISTINCT FROM d.since;
UPDATE bulk.answer a SET model = bulk.model(gdpr.person(s.number), p, a.channel, a.topic) FROM gdpr.purpose p, bulk.subject s
WHERE p.name = a.purpose AND s.id = a.id AND cardinality(gdpr.numbers_of(s.number)) > 1;
SELECT cardinality(gdpr.numbers_of(number)) AS numbers, count(*) FROM bulk.subject GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differ FROM bulk.answer a JOIN bulk.subject s USING (id)
WHERE cardinality(gdpr.numbers_of(s.number)) > 1 AND gdpr.standing(s.number, a.purpose, a.channel, a.topic) <> a.model;
SET max_parallel_workers_per_gather = 0;
SELECT bulk.differ();
SET work_mem = '64kB';
SELECT bulk.differ();
-- another session, which has not read who was merged; in parallel workers; and in a transaction that separates them
\c bulk_regress
SET client_min_messages = warning;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT bulk.workers('SELECT count(*) FROM bulk.person WHERE gdpr.row_permitted(gdpr_sealed, ''news'')') AS rows;
SELECT bulk.differ();
SET max_parallel_workers_per_gather = 0;
BEGIN;
DELETE FROM gdpr.subject_alias;
SELECT bulk.differ() > 0 AS differs;
ROLLBACK;
\c :main
DROP DATABASE bulk_regress;
DROP ROLE bulk_app;
