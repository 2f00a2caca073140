-- Views and policies for a purpose: what they show, to whom, and what becomes of them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE views_regress;
\c views_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE vw_owner; CREATE ROLE vw_news; CREATE ROLE vw_care; CREATE ROLE vw_none; CREATE ROLE vw_mask; CREATE ROLE vw_both IN ROLE vw_news, vw_care;
CREATE SCHEMA vw AUTHORIZATION vw_owner; CREATE SCHEMA "v.w ""x"; CREATE SCHEMA shown AUTHORIZATION vw_owner;
GRANT USAGE ON SCHEMA vw, shown, "v.w ""x" TO PUBLIC;
SET ROLE vw_owner;
CREATE TABLE vw.person (id integer PRIMARY KEY, email text UNIQUE, name text, iban text, stars integer DEFAULT 0, purpose text DEFAULT 'p', "select" text, "Größe ""m" integer);
CREATE TABLE vw.orders (id integer PRIMARY KEY, person_id integer REFERENCES vw.person, address text, amount integer);
INSERT INTO vw.person SELECT i, 'p' || i || '@example.nl', 'Name ' || i, 'NL' || i, i, 'p', 's' || i, i FROM generate_series(1, 20) i;
INSERT INTO vw.orders SELECT i, 1 + i % 20, 'Street ' || i, i FROM generate_series(1, 40) i;
CREATE TABLE vw.plain (id integer PRIMARY KEY, email text);
INSERT INTO vw.plain SELECT i, 'p' || i || '@example.nl' FROM generate_series(1, 3) i;
RESET ROLE;
SELECT gdpr.declare_subject('vw.person'), gdpr.declare_column('vw.person', 'email', 'contact', searchable => true), gdpr.declare_column('vw.person', 'name', 'identity', mask => 'name'),
       gdpr.declare_column('vw.person', 'iban', 'financial'), gdpr.declare_column('vw.person', 'select', 'contact'), gdpr.declare_column('vw.person', 'Größe "m', 'health'),
       gdpr.declare_table('vw.orders', via => 'person_id'), gdpr.declare_column('vw.orders', 'address', 'contact');
SELECT gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true), gdpr.create_purpose('care', 'contract', '{contact,identity}'),
       gdpr.create_purpose('narrow', 'contract', '{contact,identity}', columns => '{vw.person.name}'), gdpr.create_purpose('health', 'contract', '{health}'),
       gdpr.create_purpose('it''s "odd"', 'contract', '{contact}');
SELECT gdpr.create_view('shown.too_early', 'vw.person', 'news');
SELECT gdpr.filter_rows('vw.person');
SELECT gdpr.protect_now('vw.person'), gdpr.protect_now('vw.orders');
CREATE TABLE vw.number AS SELECT id, gdpr.subject('vw.person', id::text) AS subject FROM vw.person;
GRANT SELECT ON vw.number, vw.plain TO PUBLIC;
SELECT gdpr.grant_purpose('news', 'vw_news'), gdpr.grant_purpose('care', 'vw_care'), gdpr.grant_purpose('narrow', 'vw_care'), gdpr.grant_purpose('care', 'vw_mask', mode => 'mask'), gdpr.grant_purpose('it''s "odd"', 'vw_care');
-- persons 1 to 4 consent: 1 to all, 2 on e-mail, 3 on events, 4 did; 5 is restricted, 6 objected
SELECT count(gdpr.give_consent(subject, 'news', CASE id WHEN 2 THEN 'email' END, CASE id WHEN 3 THEN 'events' END)) FROM vw.number WHERE id <= 4;
SELECT count(w) FROM vw.number, gdpr.withdraw_consent(subject, 'news') w WHERE id = 4;
SELECT count(gdpr.restrict(subject)) FROM vw.number WHERE id = 5;
SELECT count(gdpr.record_objection(subject)) FROM vw.number WHERE id = 6;

-- Mistakes -------------------------------------------------------------------------------------------
SELECT gdpr.create_view(NULL, 'vw.person', 'news');
SELECT gdpr.create_view('shown.x', NULL, 'news');
SELECT gdpr.create_view('shown.x', 'vw.person', NULL);
SELECT gdpr.create_view('x', 'vw.person', 'news');
SELECT gdpr.create_view('a.shown.x', 'vw.person', 'news');
SELECT gdpr.create_view('', 'vw.person', 'news');
SELECT gdpr.create_view('shown.x', 'vw.plain', 'news');
SELECT gdpr.create_view('shown.x', 'vw.person', 'nothing');
SELECT gdpr.create_view('nowhere.x', 'vw.person', 'news');
SELECT gdpr.create_view('vw.plain', 'vw.person', 'news');
SELECT gdpr.create_view('public.x', 'vw.person', 'news');
SELECT gdpr.create_view('gdpr.x', 'vw.person', 'news');
SELECT gdpr.create_view('shown.x', 'gdpr.purpose', 'news');
SET ROLE vw_owner;
SELECT gdpr.create_view('shown.x', 'vw.person', 'news');
SELECT gdpr.refresh_view('vw.plain');
SELECT gdpr.filter_rows('vw.plain');
RESET ROLE;
SELECT gdpr.refresh_view('vw.plain');
SELECT gdpr.refresh_view(NULL);
SELECT gdpr.filter_rows('vw.plain');
SELECT gdpr.filter_rows(NULL);
SELECT gdpr.unfilter_rows('vw.person');
SELECT count(*) FROM gdpr.purpose_view;

-- Columns: what is not personal, and what the purpose covers --------------------------------------------
GRANT CREATE ON SCHEMA "v.w ""x" TO vw_owner;
SELECT gdpr.create_view('shown.news', 'vw.person', 'news'), gdpr.create_view('shown.by_email', 'vw.person', 'news', channel => 'email'), gdpr.create_view('shown.by_phone_events', 'vw.person', 'news', 'phone', 'events'),
       gdpr.create_view('shown.care', 'vw.person', 'care'), gdpr.create_view('shown.narrow', 'vw.person', 'narrow'), gdpr.create_view('shown.orders', 'vw.orders', 'news'),
       gdpr.create_view('"v.w ""x"."sel ect""."""', 'vw.person', 'it''s "odd"', channel => 'ch''an', topic => E'to\\pic'), gdpr.create_view('SHOWN.Health', 'vw.person', 'health');
SELECT gdpr.create_view('shown.news', 'vw.person', 'care');
SELECT v.view, p.relname, v.relation, v.purpose, v.channel, v.topic, (SELECT string_agg(quote_ident(a.attname), ' ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = v.view AND a.attnum > 0) AS columns,
       pg_get_userbyid(p.relowner) AS owner, p.reloptions FROM gdpr.purpose_view v JOIN pg_class p ON p.oid = v.view ORDER BY 1;
-- (servers differ in whether they qualify names)
SELECT regexp_replace(replace(pg_get_viewdef(v), 'person.', ''), '\s+', ' ', 'g') AS definition FROM unnest('{shown.by_email,"\"v.w \"\"x\".\"sel ect\"\".\"\"\""}'::regclass[]) v;
SELECT obj_description('shown.by_phone_events'::regclass), obj_description('"v.w ""x"."sel ect""."""'::regclass);
SELECT gdpr.refresh_view(view) FROM gdpr.purpose_view ORDER BY view;
-- a table of a purpose that covers nothing of it but has columns that are nobody's: those
SELECT gdpr.create_view('shown.health_of_orders', 'vw.orders', 'health');
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'shown.health_of_orders'::regclass AND attnum > 0;
DROP VIEW shown.health_of_orders;

-- Rows: to whoever was granted the purpose, and holds nothing on the table --------------------------------
GRANT SELECT ON ALL TABLES IN SCHEMA shown, "v.w ""x" TO PUBLIC;
SET ROLE vw_news;
SELECT id, email FROM vw.person;
SELECT id, email, "select" FROM shown.news ORDER BY id;
SELECT id, email FROM shown.by_email ORDER BY id;
SELECT id, email FROM shown.by_phone_events ORDER BY id;
SELECT count(*), sum(stars) FROM shown.news;
SELECT id, address, amount FROM shown.orders ORDER BY id;
-- the view says what for, not the session
SET gdpr.purpose = 'nothing'; SET gdpr.channel = 'phone';
SELECT id, email FROM shown.by_email ORDER BY id;
RESET gdpr.purpose; RESET gdpr.channel;
SELECT count(*) FROM shown.care;
SET ROLE vw_none;
SELECT * FROM shown.news;
SELECT count(*) FROM shown.news;
SET ROLE vw_care;
SELECT id, email, name FROM shown.care WHERE id < 8 ORDER BY id;
SELECT * FROM shown.narrow WHERE id = 1;
SELECT id, email FROM "v.w ""x"."sel ect"".""" WHERE id = 1;
SET ROLE vw_mask;
SELECT id, email, name FROM shown.care WHERE id IN (1, 5) ORDER BY id;
-- its owner and superusers, neither
SET ROLE vw_owner; SELECT count(*) FROM shown.care; RESET ROLE;
SELECT count(*) FROM shown.health;

-- A function that tells what it is called with learns nothing of others, however cheap.
CREATE FUNCTION vw.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
SET ROLE vw_news; SET client_min_messages = notice;
SELECT id FROM shown.news WHERE vw.leak(email) ORDER BY id;
SELECT id FROM shown.news WHERE vw.leak(purpose || stars) ORDER BY id;
SELECT n.id FROM shown.news n JOIN vw.plain p ON vw.leak(n.email || p.id) WHERE p.id = 1 ORDER BY n.id;
SELECT id FROM shown.news WHERE 1 / (stars - 7) IS NOT NULL ORDER BY id;
SET client_min_messages = warning;

-- Equality uses the index --------------------------------------------------------------------------------
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM shown.news WHERE email = 'p2@example.nl';
EXPLAIN (COSTS off) SELECT id FROM shown.news WHERE email IN ('p1@example.nl', 'p2@example.nl', 'p9@example.nl');
EXPLAIN (COSTS off) SELECT id FROM shown.news WHERE id = 2;
SELECT id FROM shown.news WHERE email = 'p2@example.nl';
SELECT id FROM shown.news WHERE email IN ('p1@example.nl', 'p2@example.nl', 'p9@example.nl') ORDER BY id;
SELECT n.id FROM vw.plain p JOIN shown.news n ON n.email = p.email ORDER BY id;
SET plan_cache_mode = force_generic_plan;
PREPARE by_email(text) AS SELECT id, email FROM shown.news WHERE email = $1;
EXPLAIN (COSTS off) EXECUTE by_email('p2@example.nl');
EXECUTE by_email('p2@example.nl'); EXECUTE by_email('p9@example.nl'); EXECUTE by_email(NULL);
SET ROLE vw_none; EXECUTE by_email('p2@example.nl'); SET ROLE vw_news;
DEALLOCATE by_email; RESET plan_cache_mode; RESET enable_seqscan;
RESET ROLE;

-- Writing through it ----------------------------------------------------------------------------------------
GRANT ALL ON ALL TABLES IN SCHEMA shown TO PUBLIC;
-- what a statement does, in a transaction that is taken back
CREATE FUNCTION vw.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    r text := '';
    one record;
BEGIN
    IF statement ~ 'RETURNING' THEN
        FOR one IN EXECUTE statement LOOP
            r := r || ' ' || one::text;
        END LOOP;
        RAISE EXCEPTION USING ERRCODE = 'DONE0', MESSAGE = 'returns' || r;
    END IF;
    EXECUTE statement;
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE EXCEPTION USING ERRCODE = 'DONE0', MESSAGE = n || ' rows';
EXCEPTION WHEN SQLSTATE 'DONE0' THEN
    RETURN SQLERRM;
WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, 'visible through view .*', 'visible through the view'); -- as we say where the server does not
END $$;
GRANT ALL ON vw.person TO vw_care;
SET ROLE vw_news;
SELECT s AS statement, vw.try(s) AS outcome FROM unnest(ARRAY[
    'UPDATE shown.news SET stars = 0', 'UPDATE shown.news SET email = ''new@example.nl'' WHERE id = 1 RETURNING id, email', 'UPDATE shown.news SET email = ''new@example.nl'' WHERE id = 9',
    'UPDATE shown.news SET stars = 0 WHERE email = ''p9@example.nl''', 'UPDATE shown.by_email SET email = email RETURNING email', 'DELETE FROM shown.news', 'DELETE FROM shown.news WHERE id = 9',
    'DELETE FROM shown.orders RETURNING id, address', 'UPDATE shown.orders SET address = upper(address) WHERE id = 20 RETURNING address',
    'INSERT INTO shown.news (id, email) VALUES (30, ''p30@example.nl'')', 'INSERT INTO shown.news (id, email) VALUES (30, ''p30@example.nl'') RETURNING id, email', 'INSERT INTO shown.orders VALUES (50, 1, ''Street'', 1) RETURNING address',
    'INSERT INTO shown.orders VALUES (50, 9, ''Street'', 1) RETURNING address',
    'INSERT INTO shown.news (id, email) VALUES (1, ''new'') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING id, email', 'INSERT INTO shown.news (id, email) VALUES (9, ''new'') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING id, email',
    'INSERT INTO shown.news (id, email) VALUES (9, ''new'') ON CONFLICT (id) DO UPDATE SET stars = 100 RETURNING id, email', 'INSERT INTO shown.news (id, email) VALUES (31, ''p9@example.nl'') ON CONFLICT (email) DO NOTHING',
    'UPDATE shown.news n SET stars = p.id FROM vw.plain p WHERE p.email = n.email', 'DELETE FROM shown.news n USING shown.orders o WHERE o.person_id = n.id AND n.id = 2',
    'TRUNCATE shown.news', 'UPDATE shown.care SET stars = 0', 'UPDATE shown.news SET iban = ''x''']) s;
SET ROLE vw_care;
SELECT s AS statement, vw.try(s) AS outcome FROM unnest(ARRAY['UPDATE shown.care SET name = ''x''', 'UPDATE shown.care SET stars = 0 WHERE id = 5', 'DELETE FROM shown.care WHERE id = 5', 'UPDATE shown.narrow SET name = ''x'' WHERE id = 1 RETURNING name']) s;
SET ROLE vw_mask;
SELECT s AS statement, vw.try(s) AS outcome FROM unnest(ARRAY['UPDATE shown.care SET name = ''x'' WHERE id = 1', 'UPDATE shown.care SET stars = 0 WHERE id = 1 RETURNING name', 'UPDATE shown.care SET name = name WHERE id = 1']) s;
RESET ROLE;
-- MERGE, where the server knows it for views
CREATE FUNCTION vw.merge() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    outcome text := vw.try('MERGE INTO shown.news n USING vw.plain p ON p.id = n.id WHEN MATCHED THEN UPDATE SET stars = 9 WHEN NOT MATCHED THEN DO NOTHING');
BEGIN
    RETURN CASE WHEN current_setting('server_version_num')::integer >= 170000 THEN outcome = '3 rows' ELSE outcome ~ '^0A000' END;
END $$;
SET ROLE vw_news; SELECT vw.merge() AS as_the_server_can; RESET ROLE;

-- Together -----------------------------------------------------------------------------------------------------
SET ROLE vw_both;
SELECT n.id, n.email AS news, c.email AS care, c.name FROM shown.care c LEFT JOIN shown.news n ON n.id = c.id WHERE c.id <= 5 ORDER BY c.id;
SELECT n.email, c.name FROM shown.news n JOIN shown.care c USING (email) ORDER BY 1;
SELECT id, email FROM shown.news UNION SELECT id, email FROM shown.by_email UNION ALL SELECT id, name FROM shown.narrow WHERE id = 9 ORDER BY 1, 2;
SELECT id FROM shown.care WHERE id < 8 EXCEPT SELECT id FROM shown.news ORDER BY 1;
WITH n AS (SELECT * FROM shown.news) SELECT n.id, n.email FROM n ORDER BY 1;
WITH n AS MATERIALIZED (SELECT * FROM shown.news) SELECT n.id, n.email FROM n WHERE email = 'p2@example.nl';
SELECT id, (SELECT c.name FROM shown.care c WHERE c.id = n.id), EXISTS (SELECT FROM shown.by_email b WHERE b.email = n.email) AS by_email FROM shown.news n ORDER BY 1;
SELECT n.id, o.address FROM shown.news n, LATERAL (SELECT o.address FROM shown.orders o WHERE o.person_id = n.id ORDER BY o.id LIMIT 1) o ORDER BY 1;
SELECT count(*), count(email), max(email), string_agg(DISTINCT left(email, 2), ',') FROM shown.news;
SELECT left(email, 1), count(*) FROM shown.news GROUP BY 1 HAVING count(*) > 1;
SELECT id, email, row_number() OVER (ORDER BY email DESC) FROM shown.news ORDER BY 3;
SELECT (v).email, v IS NULL AS nothing FROM shown.news v ORDER BY 1;
SELECT v FROM shown.by_email v ORDER BY v.id;
SELECT row_to_json(v), to_jsonb(v)->>'email' AS email FROM shown.by_email v WHERE id = 2;
SELECT (jsonb_populate_record(v, '{"stars": 7}')).email FROM shown.by_email v WHERE id = 2;
COPY (SELECT id, email FROM shown.news ORDER BY id) TO STDOUT;
-- the session's purpose is that of the table itself
RESET ROLE; GRANT SELECT ON vw.person, vw.orders TO vw_both; SET ROLE vw_both; SET gdpr.purpose = 'care';
SELECT p.id, p.email, p.name, n.email AS news FROM vw.person p LEFT JOIN shown.news n USING (id) WHERE p.id <= 6 ORDER BY 1;
RESET gdpr.purpose; RESET ROLE;
-- a view over the view, and one over two
SET ROLE vw_owner;
CREATE VIEW shown.second AS SELECT id, upper(email) AS email FROM shown.news WHERE stars < 3;
CREATE VIEW shown.pair AS SELECT n.id, n.email, c.name FROM shown.news n JOIN shown.care c ON c.id = n.id;
GRANT ALL ON shown.second, shown.pair TO PUBLIC; RESET ROLE;
SET ROLE vw_both; SELECT * FROM shown.second ORDER BY id; SELECT * FROM shown.pair ORDER BY id; UPDATE shown.second SET id = id WHERE false;
SET ROLE vw_news; SELECT * FROM shown.pair;
-- copies
RESET ROLE; GRANT CREATE ON SCHEMA shown TO vw_news; SET ROLE vw_news;
CREATE MATERIALIZED VIEW shown.copy AS SELECT * FROM shown.news;
CREATE TABLE shown.copy AS SELECT * FROM shown.news;
CREATE TABLE shown.copy AS SELECT id, stars FROM shown.news;
SELECT count(*) FROM shown.copy;
DROP TABLE shown.copy;
RESET ROLE; DROP VIEW shown.second, shown.pair;

-- What becomes of the table ----------------------------------------------------------------------------------------
CALL gdpr.unprotect('vw.person');
SELECT gdpr.unprotect_now('vw.orders');
SET client_min_messages = notice;
ALTER TABLE vw.person ADD COLUMN nick text, ADD COLUMN "add ed" integer DEFAULT 3;
SET client_min_messages = warning;
SELECT gdpr.declare_column('vw.person', 'nick', 'identity');
SELECT gdpr.refresh_view('shown.news'), gdpr.refresh_view('shown.care'), gdpr.refresh_view('shown.narrow');
SELECT gdpr.refresh_view('shown.news');
SET ROLE vw_news; SELECT * FROM shown.news ORDER BY id; RESET ROLE;
SELECT relname, reloptions FROM pg_class WHERE oid IN ('shown.news'::regclass, 'shown.care'::regclass);
SELECT vw.try('ALTER TABLE vw.person DROP COLUMN stars');
SELECT vw.try('ALTER TABLE vw.person ALTER COLUMN stars TYPE bigint');
ALTER TABLE vw.person ALTER COLUMN email TYPE varchar(40);
SET client_min_messages = notice;
ALTER TABLE vw.person RENAME COLUMN stars TO points;
SET client_min_messages = warning;
SELECT gdpr.refresh_view('shown.news');
SET ROLE vw_news; SELECT id, email, stars FROM shown.news WHERE email = 'p2@example.nl'; RESET ROLE;
ALTER TABLE vw.person RENAME COLUMN points TO stars;
SELECT gdpr.refresh_view('shown.news');
ALTER TABLE vw.person RENAME COLUMN email TO mail;
SET ROLE vw_news; SELECT id, email FROM shown.news WHERE email = 'p2@example.nl'; UPDATE shown.news SET email = 'p2@example.com' WHERE id = 2; SELECT id, email FROM shown.news WHERE email = 'p2@example.com'; RESET ROLE;
ALTER TABLE vw.person RENAME COLUMN mail TO email;
ALTER TABLE vw.person RENAME TO human; CREATE SCHEMA vw2 AUTHORIZATION vw_owner; ALTER TABLE vw.human SET SCHEMA vw2;
ALTER VIEW shown.by_email RENAME TO "by e-mail"; ALTER VIEW shown."by e-mail" SET SCHEMA vw;
SELECT view, relation FROM gdpr.purpose_view ORDER BY view::text COLLATE "C";
SET ROLE vw_news; SELECT id, email FROM shown.news ORDER BY id; SELECT id, email FROM vw."by e-mail" ORDER BY id; RESET ROLE;
SELECT gdpr.refresh_view('vw."by e-mail"');
ALTER TABLE vw2.human SET SCHEMA vw; ALTER TABLE vw.human RENAME TO person;
-- a purpose that covers more, or less; that is gone; that has come again
SELECT gdpr.alter_purpose('news', categories => '{contact,identity}');
SELECT gdpr.refresh_view('shown.news');
SET ROLE vw_news; SELECT id, email, name FROM shown.news ORDER BY id; RESET ROLE;
SELECT gdpr.alter_purpose('news', categories => '{identity}');
SELECT gdpr.refresh_view('shown.news');
SET ROLE vw_news; SELECT id, email, name FROM shown.news ORDER BY id; RESET ROLE;
SELECT gdpr.alter_purpose('news', categories => '{contact}');
SELECT gdpr.drop_purpose('narrow');
SET ROLE vw_care; SELECT count(*) FROM shown.narrow; RESET ROLE;
SELECT gdpr.refresh_view('shown.narrow');
-- views that are dropped
DROP VIEW shown.narrow;
ALTER TABLE vw.person DROP COLUMN "Größe ""m" CASCADE;
ALTER TABLE vw.person DROP COLUMN "add ed" CASCADE;
SELECT view, relation FROM gdpr.purpose_view ORDER BY view::text COLLATE "C";
DROP SCHEMA "v.w ""x" CASCADE;
DROP TABLE vw.orders CASCADE;
SELECT view, relation FROM gdpr.purpose_view ORDER BY view::text COLLATE "C";
DROP VIEW shown.health, shown.by_phone_events;
SELECT count(*) FROM gdpr.purpose_view;
SELECT gdpr.unprotect_now('vw.person');
SELECT gdpr.protect_now('vw.person');

-- Parts of tables -----------------------------------------------------------------------------------------------------
SET ROLE vw_owner;
CREATE TABLE vw.visit (id integer, region text, what text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE vw.visit_n PARTITION OF vw.visit FOR VALUES IN ('n'); CREATE TABLE vw.visit_s PARTITION OF vw.visit FOR VALUES IN ('s');
INSERT INTO vw.visit SELECT i, CASE WHEN i % 2 = 0 THEN 'n' ELSE 's' END, 'v' || i FROM generate_series(1, 4) i;
CREATE TABLE vw.guest (id integer PRIMARY KEY, what text); CREATE TABLE vw.vip (rank integer) INHERITS (vw.guest);
INSERT INTO vw.guest VALUES (1, 'g1'); INSERT INTO vw.vip VALUES (2, 'g2', 1);
ALTER TABLE vw.vip ADD PRIMARY KEY (id);
RESET ROLE;
SELECT gdpr.declare_subject('vw.visit', key => 'id, region'), gdpr.declare_column('vw.visit', 'what', 'contact'), gdpr.protect_now('vw.visit'),
       gdpr.declare_subject('vw.guest'), gdpr.declare_column('vw.guest', 'what', 'contact'), gdpr.protect_now('vw.guest');
SELECT gdpr.create_view('shown.visit', 'vw.visit', 'news'), gdpr.create_view('shown.guest', 'vw.guest', 'news');
SELECT gdpr.create_view('shown.visit_n', 'vw.visit_n', 'news');
SELECT count(gdpr.give_consent(gdpr.subject('vw.visit', '(2,n)'), 'news')), count(gdpr.give_consent(gdpr.subject('vw.visit', '(3,s)'), 'news')), count(gdpr.give_consent(gdpr.subject('vw.vip', '2'), 'news'));
GRANT ALL ON shown.visit, shown.guest TO PUBLIC;
SET ROLE vw_news; SELECT * FROM shown.visit ORDER BY id; SELECT * FROM shown.guest ORDER BY id; UPDATE shown.visit SET region = 's' WHERE id = 2 RETURNING *; UPDATE shown.visit SET region = 's' RETURNING *; RESET ROLE;
SET ROLE vw_owner; CREATE TABLE vw.visit_w PARTITION OF vw.visit FOR VALUES IN ('w'); INSERT INTO vw.visit VALUES (5, 'w', 'v5'); RESET ROLE;
SELECT count(gdpr.give_consent(gdpr.subject('vw.visit', '(5,w)'), 'news'));
SET ROLE vw_news; SELECT * FROM shown.visit ORDER BY id; RESET ROLE;
SELECT gdpr.unprotect_now('vw.visit');
DROP VIEW shown.visit, shown.guest;

-- Rows of the table itself ------------------------------------------------------------------------------------------------
GRANT ALL ON vw.person, vw.visit, vw.visit_n, vw.guest, vw.vip TO vw_news, vw_care;
SELECT gdpr.filter_rows('vw.person');
SELECT gdpr.filter_rows('vw.person');
SELECT polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS check FROM pg_policy WHERE polrelid = 'vw.person'::regclass ORDER BY 1;
CALL gdpr.unprotect('vw.person');
SET ROLE vw_news;
SELECT count(*) FROM vw.person;
SET gdpr.purpose = 'news';
SELECT id, email, name FROM vw.person ORDER BY id;
SET gdpr.channel = 'phone'; SELECT id, email FROM vw.person ORDER BY id; RESET gdpr.channel;
SELECT s AS statement, vw.try(s) AS outcome FROM unnest(ARRAY['UPDATE vw.person SET stars = 0', 'UPDATE vw.person SET email = ''x'' WHERE id = 9', 'DELETE FROM vw.person WHERE id = 9', 'DELETE FROM vw.person WHERE id = 1',
    'INSERT INTO vw.person (id, email) VALUES (40, ''p40'')', 'INSERT INTO vw.person (id, email) VALUES (40, ''p40'') RETURNING email', 'INSERT INTO vw.person (id, email) VALUES (9, ''p40'') ON CONFLICT (id) DO UPDATE SET stars = 0',
    'INSERT INTO vw.person (id, email) VALUES (9, ''p40'') ON CONFLICT (id) DO NOTHING', 'INSERT INTO vw.person (id, email) VALUES (1, ''p40'') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING email']) s;
SET gdpr.purpose = 'care'; SELECT count(*) FROM vw.person;
SET ROLE vw_care; SELECT count(*) AS all_but_the_restricted FROM vw.person;
-- its owner, and who bypasses row security, see rows of all; values only for a purpose
SET ROLE vw_owner; RESET gdpr.purpose; SELECT count(*), count(email) FROM vw.person; RESET ROLE;
SELECT count(*), count(email) FROM vw.person;
SELECT gdpr.unfilter_rows('vw.person');
SELECT gdpr.unfilter_rows('vw.person');
SELECT relrowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies FROM pg_class c WHERE oid = 'vw.person'::regclass;
-- beside policies that there are: rows of both only; and they stay
CREATE POLICY even ON vw.person USING (id % 2 = 0); ALTER TABLE vw.person ENABLE ROW LEVEL SECURITY;
SELECT gdpr.filter_rows('vw.person');
SET ROLE vw_news; SET gdpr.purpose = 'news'; SELECT id FROM vw.person ORDER BY id; RESET gdpr.purpose; RESET ROLE;
SELECT gdpr.unfilter_rows('vw.person');
SET ROLE vw_news; SELECT count(*) FROM vw.person; RESET ROLE;
-- policies that are not in force so far would be: the owner has to say so
ALTER TABLE vw.person DISABLE ROW LEVEL SECURITY;
SELECT gdpr.filter_rows('vw.person');
SET ROLE vw_news; SELECT count(*) FROM vw.person; RESET ROLE;
DROP POLICY even ON vw.person;
-- added while rows are filtered, and left when they are not any more
SELECT gdpr.filter_rows('vw.person');
CREATE POLICY odd ON vw.person USING (id % 2 = 1);
SELECT gdpr.unfilter_rows('vw.person');
SET ROLE vw_news; SELECT count(*) FROM vw.person; RESET ROLE;
DROP POLICY odd ON vw.person; ALTER TABLE vw.person DISABLE ROW LEVEL SECURITY;
-- a partitioned table: its policies hold for what is read through it, as always; a part has its own
SELECT gdpr.filter_rows('vw.guest'), gdpr.filter_rows('vw.vip');
SELECT gdpr.filter_rows('vw.visit');
GRANT SELECT ON vw.visit_s TO vw_news;
SET ROLE vw_news; SET gdpr.purpose = 'news';
SELECT id, what FROM vw.visit ORDER BY id; SELECT count(*), count(what) FROM vw.visit_s; SELECT id, what FROM vw.guest; SELECT id, what FROM vw.vip;
RESET gdpr.purpose; RESET ROLE;
SELECT gdpr.filter_rows('vw.visit_s');
SET ROLE vw_news; SET gdpr.purpose = 'news'; SELECT id, what FROM vw.visit_s; RESET gdpr.purpose; RESET ROLE;
SELECT gdpr.unprotect_now('vw.visit');
SELECT gdpr.unfilter_rows(t) FROM unnest(ARRAY['vw.visit', 'vw.visit_s', 'vw.guest', 'vw.vip']::regclass[]) t;

-- row_permitted in a query of one's own --------------------------------------------------------------------------------------
SET ROLE vw_both;
SELECT id, email, name FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news') ORDER BY id;
SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, topic => 'events', purpose => 'news') ORDER BY id;
SELECT id, email FROM vw.person WHERE gdpr.row_permitted(purpose => 'news', envelope => gdpr_sealed, channel => 'email') AND id > 1;
SELECT id, email FROM vw.person WHERE id < 3 AND (email IS NOT NULL AND gdpr.row_permitted(gdpr_sealed, 'news')) ORDER BY id;
-- without a purpose, with NULL: the session's
SELECT count(*) FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed);
SET gdpr.purpose = 'care';
SELECT count(*) FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed);
SELECT count(*) FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, NULL, NULL, NULL);
-- what is not a constant filters, but cannot say what values are for
SELECT id FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, purpose) AND id = 1;
SELECT id FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'ne' || 'ws') ORDER BY id;
SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, purpose);
SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'ne' || 'ws');
SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', (SELECT 'email'));
PREPARE by_purpose(text) AS SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, $1);
EXECUTE by_purpose('news');
PREPARE by_topic(text) AS SELECT id FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news', 'email', $1) ORDER BY id;
EXECUTE by_topic('events'); EXECUTE by_topic('sales'); EXECUTE by_topic(NULL);
DO $$ DECLARE p text := 'news'; r record; BEGIN FOR r IN SELECT id, email FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, p) LOOP NULL; END LOOP; END $$;
SELECT n.id, email FROM vw.person p JOIN vw.number n ON n.id = p.id WHERE gdpr.permitted(n.subject, 'ne' || 'ws') ORDER BY 1;
-- elsewhere than in a WHERE that has to hold, it only filters: values are for the session's purpose
SELECT id, email, name FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news') OR id = 9 ORDER BY id;
SELECT id, email IS NULL AS hidden FROM vw.person WHERE NOT gdpr.row_permitted(gdpr_sealed, 'news') AND id < 8 ORDER BY id;
SELECT id, email, name, gdpr.row_permitted(gdpr_sealed, 'news') FROM vw.person WHERE id < 3 ORDER BY id;
SELECT p.id, p.name FROM vw.plain x JOIN vw.person p ON p.id = x.id AND gdpr.row_permitted(p.gdpr_sealed, 'news') ORDER BY 1;
SELECT x.id, p.name FROM vw.plain x LEFT JOIN vw.person p ON p.id = x.id AND gdpr.row_permitted(p.gdpr_sealed, 'news', 'phone') ORDER BY 1;
SELECT CASE WHEN gdpr.row_permitted(gdpr_sealed, 'news') THEN name END FROM vw.person WHERE id IN (1, 9) ORDER BY id;
-- of two, all have to permit it, and the first says what for; also that of a subquery
SELECT id, email, name FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news') AND gdpr.row_permitted(gdpr_sealed, 'care') ORDER BY id;
SELECT id, email, name FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'care') AND gdpr.row_permitted(gdpr_sealed, 'news') ORDER BY id;
SELECT a.id, a.name, b.name AS b FROM vw.person a JOIN vw.person b ON b.id = a.id WHERE gdpr.row_permitted(b.gdpr_sealed, 'news') ORDER BY 1;
SELECT p.id, p.name FROM vw.person p WHERE EXISTS (SELECT FROM vw.plain x WHERE x.id = p.id AND gdpr.row_permitted(p.gdpr_sealed, 'news')) ORDER BY 1;
SELECT p.id, p.name FROM vw.person p WHERE p.id IN (SELECT q.id FROM vw.person q WHERE gdpr.row_permitted(q.gdpr_sealed, 'news')) ORDER BY 1;
SELECT id, email, name FROM (SELECT * FROM vw.person WHERE gdpr.row_permitted(gdpr_sealed, 'news')) s ORDER BY id;
-- a forged envelope, none, and that of another row
SELECT gdpr.row_permitted(NULL, 'care'), gdpr.row_permitted(NULL, 'news');
SELECT gdpr.row_permitted('AAAA', 'care');
SELECT p.id, p.email FROM vw.person p, vw.person q WHERE q.id = 1 AND gdpr.row_permitted(q.gdpr_sealed, 'news') AND p.id = 9;
-- what it writes
UPDATE vw.person SET name = 'x' WHERE gdpr.row_permitted(gdpr_sealed, 'news') AND id = 1;
UPDATE vw.person SET email = 'x@example.nl' WHERE gdpr.row_permitted(gdpr_sealed, 'news') AND id IN (1, 9) RETURNING id, email;
RESET gdpr.purpose; RESET ROLE;

\c :before
DROP DATABASE views_regress;
DROP ROLE vw_both, vw_news, vw_care, vw_none, vw_mask, vw_owner;
