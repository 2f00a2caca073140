-- Policies that shred: under which month of expiry values are sealed. The months themselves, once they are over, are in t/094_shred.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE shred_regress;
\c shred_regress
SET client_min_messages = warning;
SET DateStyle = ISO;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE sh_guest;

CREATE TABLE person (id integer PRIMARY KEY, name text);
CREATE TABLE event (id integer PRIMARY KEY, person_id integer REFERENCES person, other_id integer REFERENCES person,
                    day date, at timestamp, moment timestamptz, note text, phone text, told text);
SELECT gdpr.declare_subject('person'), gdpr.declare_column('person', 'name', 'identity'),
       gdpr.declare_table('event', via => 'person_id'), gdpr.declare_column('event', 'note', 'content'),
       gdpr.declare_column('event', 'phone', 'contact', searchable => true), gdpr.declare_column('event', 'told', 'content', subject_via => 'other_id');
SELECT gdpr.create_purpose('care', 'contract', '{identity,contact,content}'), gdpr.grant_purpose('care', current_user);
SET gdpr.purpose = 'care';
SELECT gdpr.protect_now('person'), gdpr.protect_now('event');
INSERT INTO person VALUES (1, 'Ann'), (2, 'Bob');

-- the first month that begins when a period is over, or later; those that have begun are not sealed with any more
CREATE FUNCTION month_after(at timestamptz) RETURNS date LANGUAGE sql SET TimeZone = 'UTC' AS $$
    SELECT CASE WHEN isfinite(at) AND at < '2341-03-01' THEN greatest(ceiling.month, m.next) END::date
    FROM (SELECT date_trunc('month', now()) + interval '1 month') m(next),
         LATERAL (SELECT CASE WHEN isfinite(at) AND at < '2341-03-01' THEN date_trunc('month', at - interval '1 microsecond') + interval '1 month' END) ceiling(month)
$$;
CREATE FUNCTION months() RETURNS TABLE (id integer, category text, month date) LANGUAGE sql SET gdpr.physical = on AS $$
    SELECT e.id, c.name, x.month FROM event e CROSS JOIN LATERAL gdpr.expiry(e.gdpr_sealed) x JOIN gdpr.category c ON c.id = x.category
$$;

-- Whatever the date, the zone and the period: as the run sees it ---------------------------------------
SELECT setseed(0.42);
CREATE TABLE moment AS
SELECT row_number() OVER () AS id, m FROM (
    SELECT now() + (random() - 0.5) * interval '20 years' FROM generate_series(1, 300)
    UNION ALL SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + i * interval '1 month' + o FROM generate_series(-13, 13) i,
        unnest(ARRAY['0', '1 microsecond', '-1 microsecond', '-1 second', '1 day', '-1 day', '12 hours', '-14 hours']::interval[]) o
    UNION ALL SELECT t FROM unnest(ARRAY['2024-02-29 12:00+00', '2028-02-29 23:59+00', '2027-03-28 01:30+00', '2027-10-31 01:00+00', '2027-10-31 00:59+00',
        '1800-01-01 00:00+00', '0001-01-01 00:00+00', '4000-01-01 BC', '2340-12-31 00:00+00', '2341-02-27 10:00+00', '9999-01-01 00:00+00',
        'infinity', '-infinity']::timestamptz[]) t) v(m);
CREATE TABLE checked (kind text, keep interval, zone text, "rows" bigint, wrong bigint, without bigint);
DO $$
DECLARE
    kind text;
    k interval;
    zone text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['day', 'at', 'moment'] LOOP
        FOR k, zone IN VALUES (interval '0', 'UTC'), ('1 month', 'UTC'), ('6 months', 'Europe/Amsterdam'), ('1 year', 'America/Los_Angeles'), ('7 years', 'Pacific/Apia'),
                              ('36:00', 'Europe/Amsterdam'), ('1 month 12:00', 'Asia/Kolkata'), ('10 years 1 day', 'Australia/Lord_Howe'), ('300 years', 'UTC') LOOP
            DELETE FROM event;
            PERFORM gdpr.set_retention('event', k, kind, 'shred', category => 'content', time_zone => zone);
            EXECUTE format('INSERT INTO event (id, person_id, %I, note) SELECT id, 1, m AT TIME ZONE %L, ''note'' FROM moment', kind,
                           CASE kind WHEN 'moment' THEN NULL ELSE zone END);
            IF kind = 'moment' THEN
                UPDATE event e SET moment = m.m FROM moment m WHERE m.id = e.id;
            END IF;
            EXECUTE format('INSERT INTO checked SELECT %1$L, $1, %2$L, count(*), count(*) FILTER (WHERE m.month IS DISTINCT FROM
                                CASE WHEN %1$I < ''0001-01-01'' THEN month_after(now()) WHEN isfinite(%1$I) THEN
                                month_after(gdpr.retention_end(%3$s, $1, %2$L)) END), count(*) FILTER (WHERE m.month IS NULL)
                            FROM event e LEFT JOIN months() m ON m.id = e.id AND m.category = ''content''',
                           kind, zone, CASE kind WHEN 'moment' THEN format('moment AT TIME ZONE %L', zone) ELSE kind || '::timestamp' END) USING k;
        END LOOP;
    END LOOP;
END $$;
SELECT kind, count(*), sum(wrong) AS wrong, min(rows) > 500 AS many, bool_and(without BETWEEN 1 AND rows - 1 OR keep = '300 years') AS some_without FROM checked GROUP BY kind ORDER BY kind;
SELECT * FROM checked WHERE wrong > 0;

-- Which policies hold for a category --------------------------------------------------------------------
DELETE FROM event;
SELECT gdpr.drop_retention('event', 'content');
CREATE TEMP TABLE base AS SELECT (date_trunc('month', now()) + interval '10 days')::date AS day;
CREATE FUNCTION show() RETURNS TABLE (id integer, category text, months_after numeric) LANGUAGE sql AS $$
    SELECT m.id, m.category, extract(year FROM age(m.month, date_trunc('month', b.day))) * 12 + extract(month FROM age(m.month, date_trunc('month', b.day)))
    FROM months() m, base b ORDER BY 1, 2
$$;
SELECT gdpr.set_retention('event', '2 years', 'day', 'shred') IS NOT NULL AS ok;
INSERT INTO event (id, person_id, other_id, day, note, phone, told) SELECT 1, 1, 2, day, 'a', '1', 'x' FROM base;
SELECT * FROM show();                       -- of the table: all its categories, also values of others
SELECT gdpr.set_retention('event', '1 year', 'day', 'shred', purpose => 'care') IS NOT NULL AS ok;
INSERT INTO event (id, person_id, day, note, phone) SELECT 2, 1, day, 'a', '1' FROM base;
SELECT * FROM show() WHERE id = 2;          -- the longest wins
SELECT gdpr.set_retention('event', '5 months', 'day', 'erase', category => 'contact') IS NOT NULL AS ok;
INSERT INTO event (id, person_id, day, note, phone) SELECT 3, 1, day, 'a', '1' FROM base;
SELECT * FROM show() WHERE id = 3;          -- a category with policies of its own
SELECT category, action FROM gdpr.retention ORDER BY policy;
INSERT INTO event (id, person_id, note, phone) VALUES (4, 1, 'a', '1');
INSERT INTO event (id, person_id, day, note, phone) VALUES (5, 1, 'infinity', 'a', '1');
SELECT * FROM show() WHERE id IN (4, 5);    -- it has not begun, or never ends
-- older rows: those that are wrong, and no others
SELECT count(*) FROM gdpr.reseal;
SET gdpr.physical = on;
CREATE TABLE before AS SELECT id, gdpr_sealed::text AS sealed FROM event;
SET gdpr.physical = off;
CALL gdpr.run_retention();
SELECT * FROM show();
SET gdpr.physical = on;
SELECT e.id, e.gdpr_sealed::text = b.sealed AS same FROM event e JOIN before b USING (id) ORDER BY 1;
SET gdpr.physical = off;
SELECT id, note, phone, told FROM event ORDER BY id;
SELECT id FROM event WHERE phone = '1' ORDER BY id;
SELECT count(*) FROM gdpr.reseal;

-- What the application does -----------------------------------------------------------------------------
SET gdpr.physical = on;
DELETE FROM before;
INSERT INTO before SELECT id, gdpr_sealed::text FROM event;
SET gdpr.physical = off;
UPDATE event SET at = now() WHERE id = 1;   -- nothing personal, not the date
SET gdpr.physical = on;
SELECT e.gdpr_sealed::text = b.sealed AS same FROM event e JOIN before b USING (id) WHERE id = 1;
SET gdpr.physical = off;
UPDATE event SET day = day + interval '3 months' WHERE id = 1;
UPDATE event SET day = NULL WHERE id = 2;
UPDATE event SET day = (SELECT day FROM base), note = 'b' WHERE id = 4;
INSERT INTO event (id, person_id, day, note) SELECT 5, 1, day, 'c' FROM base ON CONFLICT (id) DO UPDATE SET day = excluded.day, note = excluded.note;
SET gdpr.purpose = '';
UPDATE event SET day = day - interval '1 month' WHERE id = 3;      -- by somebody who sees nothing
SET gdpr.purpose = 'care';
SELECT * FROM show();
SELECT id, note, phone, told FROM event ORDER BY id;
-- a trigger of the application that sets the date
CREATE FUNCTION set_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.day := (SELECT day FROM base) + interval '7 months'; RETURN NEW; END $$;
CREATE TRIGGER set_day BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION set_day();
INSERT INTO event (id, person_id, note) VALUES (6, 1, 'd');
SELECT * FROM show() WHERE id = 6;
DROP TRIGGER set_day ON event;
-- other forms
CALL gdpr.rotate_tokens();
SELECT * FROM show();
CALL gdpr.unprotect('event');
SELECT count(*) FROM event WHERE note IS NOT NULL;
CALL gdpr.protect('event');
SELECT * FROM show();
-- whoever forgets: the others in the row stay as they are
SELECT gdpr.forget(gdpr.subject('person', '2')) IS NOT NULL AS ok;
SELECT * FROM show() WHERE id = 1;
SELECT id, note, phone, told FROM event WHERE id = 1;
-- a hold, under whose number rows are sealed anew
SELECT gdpr.hold(gdpr.subject('person', '1'), 'claim', now() + interval '1 year') IS NOT NULL AS ok;
SELECT gdpr.forget(gdpr.subject('person', '1')) IS NOT NULL AS ok;
SELECT * FROM show();
-- Columns come and go ------------------------------------------------------------------------------------
INSERT INTO person VALUES (3, 'Cem');
INSERT INTO event (id, person_id, day, note) SELECT 11, 3, day, 'a' FROM base;
ALTER TABLE event ALTER day TYPE timestamptz;
INSERT INTO event (id, person_id, day, note) SELECT 12, 3, day, 'a' FROM base;
ALTER TABLE event RENAME day TO "the day";
INSERT INTO event (id, person_id, "the day", note) SELECT 13, 3, day, 'a' FROM base;
SELECT * FROM show() WHERE id > 10;
ALTER TABLE event ALTER "the day" TYPE text;
INSERT INTO event (id, person_id, "the day", note) SELECT 15, 3, day, 'a' FROM base;
SELECT * FROM show() WHERE id = 15;         -- a text tells nothing
ALTER TABLE event DROP "the day";
INSERT INTO event (id, person_id, note) VALUES (14, 3, 'a');
UPDATE event SET at = now() WHERE id = 11;
SELECT * FROM show() WHERE id > 10;                       -- no limit, once a row is sealed anew
SELECT id, note FROM event WHERE id > 10 ORDER BY id;
SELECT gdpr.drop_retention(policy => policy) FROM gdpr.retention;
CALL gdpr.run_retention();
SELECT * FROM show() WHERE id > 10;
SELECT id, note FROM event WHERE id > 10 ORDER BY id;

-- Partitions, whose columns are in other places ----------------------------------------------------------
CREATE TABLE visit (id integer, person_id integer REFERENCES person, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE visit_old PARTITION OF visit FOR VALUES FROM ('2000-01-01') TO ('2026-01-01');
CREATE TABLE visit_new (gone integer, note text, day date NOT NULL, person_id integer, id integer NOT NULL);
ALTER TABLE visit_new DROP gone;
ALTER TABLE visit ATTACH PARTITION visit_new DEFAULT;
SELECT gdpr.declare_table('visit', via => 'person_id'), gdpr.declare_column('visit', 'note', 'content');
SELECT gdpr.set_retention('visit', '30 years', 'day', 'shred', category => 'content', time_zone => 'UTC') IS NOT NULL AS ok;
SELECT gdpr.protect_now('visit');
INSERT INTO visit VALUES (1, 3, '2025-05-20', 'a'), (2, 3, '2026-05-20', 'b');
UPDATE visit SET day = '2027-06-20' WHERE id = 1;
UPDATE visit SET day = '2024-07-20', note = 'c' WHERE id = 2;
SET gdpr.physical = on;
SELECT tableoid::regclass, v.id, x.month FROM visit v, gdpr.expiry(v.gdpr_sealed) x ORDER BY id;
SET gdpr.physical = off;
SELECT id, day, note FROM visit ORDER BY id;
SELECT gdpr.set_retention('visit', '31 years', 'day', 'shred', category => 'content', time_zone => 'UTC') IS NOT NULL AS ok;
CALL gdpr.run_retention();
SET gdpr.physical = on;
SELECT tableoid::regclass, v.id, x.month FROM visit v, gdpr.expiry(v.gdpr_sealed) x ORDER BY id;
SET gdpr.physical = off;
SELECT id, day, note FROM visit ORDER BY id;

-- Whatever the session of the run may override -------------------------------------------------------------
INSERT INTO person VALUES (5, 'Eve'), (6, 'Fay');
CREATE TABLE talk (id integer PRIMARY KEY, person_id integer REFERENCES person, other_id integer REFERENCES person, day date, said text);
SELECT gdpr.declare_table('talk', via => 'person_id'), gdpr.declare_column('talk', 'said', 'content', subject_via => 'other_id');
SELECT gdpr.protect_now('talk');
SELECT gdpr.set_retention('talk', '1 year', 'day', 'erase') IS NOT NULL AS ok;
INSERT INTO talk VALUES (1, 5, 6, '2020-01-01', 'of Fay');
SELECT gdpr.restrict(gdpr.subject('person', '6')) IS NOT NULL AS restricted;
SELECT gdpr.grant_purpose('care', current_user, override => true);
SET gdpr.override_reason = 'test';
CALL gdpr.run_retention();
SELECT relation, error, rows FROM gdpr.retention_errors;
SELECT said FROM talk;
RESET gdpr.override_reason;

-- Errors ---------------------------------------------------------------------------------------------------
CREATE TABLE invoice (id integer PRIMARY KEY, person_id integer REFERENCES person, day date, until date GENERATED ALWAYS AS (day + 5) STORED, iban text);
SELECT gdpr.declare_table('invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('invoice', 'iban', 'financial');
CREATE TABLE line (id integer PRIMARY KEY, visit_id integer, day date, until date GENERATED ALWAYS AS (day + 5) STORED, person_id integer REFERENCES person, note text);
SELECT gdpr.declare_table('line', via => 'person_id'), gdpr.declare_column('line', 'note', 'content');
SELECT gdpr.set_retention('invoice', '1 year', 'day', 'shred');
SELECT gdpr.set_retention('line', '1 year', 'until', 'shred');
SELECT gdpr.set_retention('line', '1 year', 'last activity', 'shred');
SELECT gdpr.set_retention('line', '1 year', 'end of consent', 'shred', purpose => 'care');
SELECT gdpr.set_retention('line', '1 year', 'person.day', 'shred');
SELECT gdpr.set_retention('line', '1 year', 'day', 'burn');
SELECT gdpr.set_retention('line', '1 year', 'day', 'delete', category => 'content');
SELECT gdpr.set_retention('line', '1 year', 'day', 'shred') IS NOT NULL AS ok;
SELECT gdpr.set_retention('line', '1 year', 'day', 'delete', purpose => 'care');
SELECT gdpr.close_month_at_commit(0::smallint, 0::smallint);
SELECT gdpr.close_month_at_commit(16::smallint, 5::smallint);
SELECT gdpr.close_month_at_commit(3::smallint, 4096::smallint);
SELECT gdpr.close_month_at_commit(NULL, NULL) IS NULL AS nothing;
\set VERBOSITY terse
INSERT INTO gdpr.tombstone (category) VALUES (3);
INSERT INTO gdpr.tombstone (month) VALUES (3);
INSERT INTO gdpr.tombstone (number, category, month) VALUES (70000, 3, 3);
INSERT INTO gdpr.tombstone (number, month) VALUES (70000, 3);
UPDATE gdpr.tombstone SET month = NULL;
SELECT * FROM gdpr.expiry(NULL);
SELECT gdpr.reseal_batch('gdpr.category', 0, 1, '{}');
SELECT gdpr.reseal_batch('talk', 0, 1, '{NULL}');
SELECT gdpr.reseal_batch('talk', 0, 1, '{{1},{2}}');
SET ROLE sh_guest;
SELECT gdpr.close_month_at_commit(3::smallint, 3::smallint);
SELECT gdpr.reseal_batch('event', 0, 1, '{}');
SELECT * FROM gdpr.closed_months;
RESET ROLE;

\c :before
DROP DATABASE shred_regress;
DROP ROLE sh_guest;
SELECT count(gdpr.destroy_keystore(id)) > 0 AS destroyed FROM gdpr.keystore_files() WHERE database IS NULL;
