-- Partitioned tables: every statement gives the same on a protected table as
-- on one that is not.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS pt_plain, pt_crm, pt CASCADE;
CREATE SCHEMA pt_plain;
CREATE SCHEMA pt_crm;
CREATE SCHEMA pt;
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{pt_plain,pt_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TABLE person (
            id integer, region text, email text, name text NOT NULL, born date, visits integer DEFAULT 0, label text GENERATED ALWAYS AS (region || id) STORED,
            PRIMARY KEY (id, region), UNIQUE (email, region), CHECK (born > '1800-01-01'), CHECK (visits >= 0)) PARTITION BY LIST (region);
        -- sub-partitioned; another column order, a dropped column, rules of its own; the rest
        CREATE TABLE person_nl PARTITION OF person FOR VALUES IN ('nl', 'be') PARTITION BY LIST (region);
        CREATE TABLE person_nl_nl PARTITION OF person_nl FOR VALUES IN ('nl');
        CREATE TABLE person_nl_be PARTITION OF person_nl FOR VALUES IN ('be');
        CREATE TABLE person_de (gone text, born date, name text NOT NULL, visits integer DEFAULT 7, email text, region text NOT NULL, id integer NOT NULL,
            label text GENERATED ALWAYS AS (region || id) STORED,
            CONSTRAINT person_born_check CHECK (born > '1800-01-01'), CONSTRAINT person_visits_check CHECK (visits >= 0), CONSTRAINT de_only CHECK (length(name) < 20));
        ALTER TABLE person_de DROP COLUMN gone;
        ALTER TABLE person ATTACH PARTITION person_de FOR VALUES IN ('de');
        CREATE TABLE person_rest PARTITION OF person DEFAULT;
        CREATE INDEX ON person_rest (email);
        CREATE TABLE orders (
            id integer, day date, person_id integer, region text, note text, amount numeric(10, 2), PRIMARY KEY (id, day),
            FOREIGN KEY (person_id, region) REFERENCES person ON UPDATE CASCADE ON DELETE CASCADE) PARTITION BY RANGE (day);
        CREATE TABLE orders_2024 PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE orders_2025 PARTITION OF orders (CHECK (note <> 'not in 2025')) FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
        CREATE TABLE line (id integer PRIMARY KEY, order_id integer, day date, gift text,
            FOREIGN KEY (order_id, day) REFERENCES orders ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE) PARTITION BY HASH (id);
        CREATE TABLE line_0 PARTITION OF line FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE line_1 PARTITION OF line FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE seen (n serial, event text);
        CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $f$
        BEGIN
            NEW.email := lower(NEW.email);
            INSERT INTO seen (event) VALUES (format('%s %s: %s %s', TG_OP, TG_TABLE_NAME, NEW.email, NEW.name));
            RETURN NEW;
        END $f$;
        EXECUTE format('ALTER FUNCTION watch() SET search_path = %I, public', s);
        INSERT INTO person (id, region, email, name, born)
        SELECT i, (ARRAY['nl', 'be', 'de', 'fr'])[1 + i % 4], 'p' || i || '@x.nl', 'Name ' || i, date '1970-01-01' + i FROM generate_series(1, 20) i;
        INSERT INTO orders SELECT i, date '2024-06-01' + i * 10, 1 + i % 20, (ARRAY['nl', 'be', 'de', 'fr'])[1 + (1 + i % 20) % 4], 'note ' || i, i FROM generate_series(1, 40) i;
        INSERT INTO line SELECT i, i, date '2024-06-01' + i * 10, 'gift ' || i FROM generate_series(1, 40) i;
    END LOOP;
END $$;
DO $$
BEGIN
    PERFORM gdpr.declare_subject('pt_crm.person');
    PERFORM gdpr.declare_column('pt_crm.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('pt_crm.person', c, 'contact') FROM unnest('{name,born}'::text[]) c;
    PERFORM gdpr.declare_table('pt_crm.orders', via => 'person_id, region');
    PERFORM gdpr.declare_column('pt_crm.orders', 'note', 'contact');
    PERFORM gdpr.declare_table('pt_crm.line', via => 'order_id, day');
    PERFORM gdpr.declare_column('pt_crm.line', 'gift', 'contact');
    PERFORM gdpr.create_purpose('pt', 'contract', '{contact}');
    PERFORM gdpr.grant_purpose('pt', current_user);
    PERFORM gdpr.grant_purpose('pt', 'test_app');
END $$;
SELECT gdpr.protect_now('pt_crm.person');
SELECT gdpr.protect_now('pt_crm.orders');
SELECT gdpr.protect_now('pt_crm.line');
RESET client_min_messages;
-- the rows of a statement, in their order, as JSON; its error; or its row count
CREATE FUNCTION pt.run(s text, statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint;
    result text[] := '{}';
BEGIN
    PERFORM set_config('search_path', s || ', public', true);
    IF statement !~* 'returning|^ *(select|with|table|values)' THEN
        EXECUTE statement;
        GET DIAGNOSTICS n = ROW_COUNT;
        RETURN ARRAY[n || ' done'];
    END IF;
    FOR r IN EXECUTE statement LOOP
        result := result || regexp_replace(to_jsonb(r)::text, ',? ?"gdpr_sealed": ("[^"]*"|null)', '', 'g');
    END LOOP;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN ARRAY['ERROR ' || SQLSTATE || ' ' || SQLERRM];
END $$;
CREATE FUNCTION pt.same(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text[] := pt.run('pt_plain', statement);
    b text[] := pt.run('pt_crm', statement);
BEGIN
    IF a IS DISTINCT FROM b THEN
        RETURN format('DIFFERENT: %s and %s rows', cardinality(a), cardinality(b)) || coalesce(
            (SELECT format(E'; row %s\n    %s\n    %s', i, a[i], b[i])
             FROM generate_series(1, greatest(cardinality(a), cardinality(b))) i
             WHERE a[i] IS DISTINCT FROM b[i] ORDER BY i LIMIT 1), '');
    END IF;
    RETURN CASE WHEN a[1] ~ '^ERROR' OR a[1] ~ 'done$' THEN 'same: ' || a[1] ELSE format('same: %s rows', cardinality(a)) END;
END $$;
-- where each row is, and what it says; rows that are not sealed, or belong to another than their parent
CREATE FUNCTION pt.same_tables() RETURNS TABLE (relation text, result text) LANGUAGE sql AS $$
    SELECT t, pt.same(format('SELECT tableoid::regclass::name, * FROM %I ORDER BY %I, 1', t, CASE t WHEN 'seen' THEN 'n' ELSE 'id' END))
    FROM unnest('{person,orders,line,seen}'::text[]) t
$$;
CREATE VIEW pt.wrong AS
SELECT count(*) FILTER (WHERE gdpr.subject_number(o.gdpr_sealed) IS DISTINCT FROM gdpr.subject_number(p.gdpr_sealed)) AS orders,
       count(*) FILTER (WHERE gdpr.subject_number(l.gdpr_sealed) <> gdpr.subject_number(o.gdpr_sealed)) AS lines
FROM pt_crm.orders o JOIN pt_crm.person p ON p.id = o.person_id AND p.region = o.region LEFT JOIN pt_crm.line l ON l.order_id = o.id;
SET gdpr.purpose = 'pt';
\pset format unaligned
\pset tuples_only on
-- all partitions are sealed, and nothing of the values is left
SELECT * FROM pt.same_tables();
SELECT * FROM pt.wrong;
SELECT relation, count(*) FROM (
    SELECT 'person' AS relation, tableoid FROM pt_crm.person WHERE gdpr.subject_number(gdpr_sealed) >= 65536
    UNION ALL SELECT 'orders', tableoid FROM pt_crm.orders WHERE gdpr.subject_number(gdpr_sealed) >= 65536) r GROUP BY 1 ORDER BY 1;
SET gdpr.physical = on;
SELECT count(*) FROM pt_crm.person WHERE email LIKE '%@%' OR name <> '' OR born IS NOT NULL;
RESET gdpr.physical;
SELECT relation FROM gdpr.mapped_member WHERE relation::text LIKE 'pt_crm.%' ORDER BY relation::text COLLATE "C";
-- reads: the root, the middle, a leaf; whole rows; joins; aggregates
SELECT pt.same($$SELECT * FROM person_nl ORDER BY id$$);
SELECT pt.same($$SELECT * FROM person_de ORDER BY id$$);
SELECT pt.same($$SELECT p FROM (SELECT id, region, email, name, born FROM person) p ORDER BY id$$);
SELECT pt.same($$SELECT (p).email, (p).born, p IS NULL FROM person p ORDER BY id$$);
SELECT pt.same($$SELECT (p).email, (p).born, p.label FROM person_de p ORDER BY (p).name$$);
SELECT pt.same($$SELECT to_jsonb(p) - 'gdpr_sealed' FROM person_nl p ORDER BY id$$);
SELECT pt.same($$SELECT count(p), count(o), count(DISTINCT o.*) FROM person p LEFT JOIN orders_2025 o ON o.person_id = p.id$$);
SELECT pt.same($$SELECT id FROM person WHERE email = 'p6@x.nl'$$);
SELECT pt.same($$SELECT id FROM person WHERE email = 'p6@x.nl' AND region = 'de'$$);
SELECT pt.same($$SELECT id FROM person_de WHERE email IN ('p6@x.nl', 'p2@x.nl', 'p1@x.nl') ORDER BY id$$);
SELECT pt.same($$SELECT region, max(name), array_agg(born ORDER BY born) FROM person GROUP BY region ORDER BY region$$);
SELECT pt.same($$SELECT p.email, o.note, l.gift FROM person p JOIN orders o ON (o.person_id, o.region) = (p.id, p.region) JOIN line l ON (l.order_id, l.day) = (o.id, o.day) ORDER BY l.id$$);
SELECT pt.same($$SELECT a.id, b.id FROM person a JOIN person_de b ON a.email = b.email ORDER BY 1$$);
SET enable_partitionwise_join = on;
SET enable_partitionwise_aggregate = on;
SELECT pt.same($$SELECT a.region, count(*), min(b.email) FROM person a JOIN person b ON a.id = b.id AND a.region = b.region GROUP BY a.region ORDER BY 1$$);
RESET enable_partitionwise_join;
RESET enable_partitionwise_aggregate;
SELECT pt.same($$SELECT x.* FROM person p, LATERAL (SELECT note FROM orders o WHERE o.person_id = p.id AND p.email = 'p' || o.person_id || '@x.nl' ORDER BY o.id LIMIT 1) x ORDER BY 1$$);
-- pruning and indexes are what they were
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT name FROM pt_crm.person WHERE region = 'de' AND email = 'p2@x.nl';
EXPLAIN (COSTS OFF) SELECT name FROM pt_crm.person_de p WHERE id = 2;
RESET enable_seqscan;
-- INSERT and UPDATE, within a partition
SELECT pt.same($$INSERT INTO person VALUES (21, 'nl', 'p21@x.nl', 'Name 21', '1999-01-01'), (22, 'de', 'p22@x.nl', 'Name 22', NULL), (23, 'xx', NULL, 'Name 23', NULL) RETURNING *$$);
SELECT pt.same($$INSERT INTO person_de (id, region, email, name) VALUES (26, 'de', 'p26@x.nl', 'Name 26') RETURNING email, name, visits, label$$);
SELECT pt.same($$INSERT INTO person_de (id, region, email, name) VALUES (27, 'nl', 'p27@x.nl', 'Name 27')$$);
SELECT pt.same($$INSERT INTO person VALUES (28, 'de', 'p28@x.nl', 'a name that is too long here')$$);
SELECT pt.same($$INSERT INTO person VALUES (28, 'de', 'p28@x.nl', 'Old', '1700-01-01')$$);
SELECT pt.same($$INSERT INTO person VALUES (29, 'de', 'p22@x.nl', 'Twice')$$);
SELECT pt.same($$INSERT INTO person VALUES (28, 'de', 'p28@x.nl', NULL)$$);
SELECT pt.same($$UPDATE person SET name = name || '!', born = born + 1 WHERE email IN ('p2@x.nl', 'p3@x.nl') RETURNING id, name, born, email$$);
SELECT pt.same($$UPDATE person_de SET email = upper(email), visits = visits + 1 RETURNING id, email$$);
SELECT pt.same($$UPDATE person p SET name = o.note FROM orders_2024 o WHERE o.person_id = p.id AND o.note = 'note 3' RETURNING p.name, o.note, p.label$$);
SELECT pt.same($$INSERT INTO orders VALUES (41, '2025-07-01', 22, 'de', 'not in 2025')$$);
SELECT pt.same($$INSERT INTO orders VALUES (41, '2025-07-01', 22, 'de', 'in 2025', 3), (42, '2024-07-01', 22, 'de', 'not in 2025', 4) RETURNING *$$);
SELECT * FROM pt.same_tables();
-- ON CONFLICT, MERGE
SELECT pt.same($$INSERT INTO person (id, region, email, name) VALUES (2, 'de', 'new2@x.nl', 'New'), (4, 'nl', 'new4@x.nl', 'New') ON CONFLICT (id, region) DO UPDATE SET email = EXCLUDED.email, name = person.name || EXCLUDED.name, visits = person.visits + 1 RETURNING id, email, name, visits$$);
SELECT pt.same($$INSERT INTO person (id, region, email, name) VALUES (50, 'de', 'new2@x.nl', 'Conflict') ON CONFLICT (email, region) DO UPDATE SET name = 'was ' || person.name WHERE person.email = EXCLUDED.email RETURNING id, name$$);
SELECT pt.same($$INSERT INTO person (id, region, email, name) VALUES (51, 'de', 'new2@x.nl', 'Conflict') ON CONFLICT DO NOTHING RETURNING id$$);
SELECT pt.same($$INSERT INTO person_nl (id, region, email, name) VALUES (4, 'nl', 'x', 'Middle') ON CONFLICT (id, region) DO UPDATE SET name = EXCLUDED.name RETURNING name, email$$);
SELECT pt.same($$MERGE INTO person p USING (VALUES (6, 'de', 'merged@x.nl'), (60, 'nl', 'p60@x.nl'), (10, 'de', NULL)) v (id, region, email) ON p.id = v.id AND p.region = v.region
    WHEN MATCHED AND v.email IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET email = v.email, name = p.name || ' merged'
    WHEN NOT MATCHED THEN INSERT (id, region, email, name) VALUES (v.id, v.region, v.email, 'Merged')$$);
SELECT * FROM pt.same_tables();
SELECT * FROM pt.wrong;
-- rows move to other partitions
SELECT pt.same($$UPDATE person SET region = 'de' WHERE id = 5 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$UPDATE person SET region = 'nl', name = name || ' moved', email = 'moved@x.nl' WHERE id = 2 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$UPDATE person SET id = id + 100 WHERE region IN ('nl', 'be') AND id < 20 RETURNING tableoid::regclass::name, name, email$$);
SELECT pt.same($$UPDATE person SET region = 'de', name = 'a name that is too long here' WHERE id = 3$$);
SELECT pt.same($$UPDATE person SET region = 'de', name = 'ok', born = '1700-01-01' WHERE id = 3$$);
SELECT pt.same($$UPDATE person_de SET region = 'nl' WHERE id = 6$$);
SELECT pt.same($$UPDATE orders SET day = day + 365 WHERE id = 5 RETURNING tableoid::regclass::name, note$$);
SELECT pt.same($$UPDATE orders SET day = day + 365 WHERE note = 'not in 2025'$$);
-- with another person, at the same time: the rows below follow
SELECT pt.same($$UPDATE orders SET day = '2025-03-03', person_id = 22, region = 'de', note = 'other person' WHERE id = 6 RETURNING tableoid::regclass::name, note$$);
SELECT pt.same($$MERGE INTO orders o USING person p ON o.person_id = p.id AND o.region = p.region AND o.note LIKE 'note 1_' WHEN MATCHED THEN UPDATE SET day = o.day + 200, note = p.name$$);
SELECT * FROM pt.same_tables();
SELECT * FROM pt.wrong;
-- the application's triggers see values, also where a row arrives
SELECT pt.same($$CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON person FOR EACH ROW EXECUTE FUNCTION watch()$$);
SELECT pt.same($$UPDATE person SET region = 'fr' WHERE id = 22 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$UPDATE person SET region = 'de', email = 'UPPER@X.NL' WHERE id = 22 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$INSERT INTO person VALUES (30, 'nl', 'P30@X.NL', 'Name 30') RETURNING email$$);
SELECT pt.same($$UPDATE person SET region = 'de', name = NULL WHERE id = 30$$);
SELECT pt.same($$UPDATE person SET region = 'de', name = 'a name that is too long here' WHERE id = 30$$);
SELECT * FROM pt.same_tables();
-- a role that may not see the values moves them all the same, and changes none
GRANT USAGE ON SCHEMA pt_crm TO test_guest, test_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pt_crm TO test_guest, test_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA pt_crm TO test_guest, test_app;
RESET gdpr.purpose;
SET ROLE test_guest;
UPDATE pt_crm.person SET region = 'fr' WHERE id = 22 RETURNING tableoid::regclass, id, email, name;
UPDATE pt_crm.person SET region = 'de', name = 'seen' WHERE id = 22;
-- envelopes that a role brings itself are refused, moved before or not
BEGIN;
UPDATE pt_crm.person SET region = 'de' WHERE id = 22;
SAVEPOINT a;
INSERT INTO pt_crm.person (id, region, email, name, born, visits, gdpr_sealed) SELECT 22, 'de', p.email, p.name, p.born, 1, p.gdpr_sealed FROM pt_crm.person p WHERE id = 22;
ROLLBACK TO a;
SET LOCAL gdpr.physical = on;
CREATE TEMP TABLE stolen ON COMMIT DROP AS SELECT * FROM pt_crm.person WHERE id = 3;
DELETE FROM pt_crm.person WHERE id = 3;
INSERT INTO pt_crm.person (id, region, email, name, born, visits, gdpr_sealed) SELECT id, region, email, name, born, visits, gdpr_sealed FROM stolen;
ROLLBACK;
RESET ROLE;
SET gdpr.purpose = 'pt';
SELECT tableoid::regclass, id, email, name FROM pt_crm.person WHERE id = 22;
DROP TRIGGER watch ON pt_crm.person;
DROP TRIGGER watch ON pt_plain.person;
UPDATE pt_plain.person SET region = 'fr' WHERE id = 22;
SELECT pt.same($$TRUNCATE seen$$);
-- DELETE, TRUNCATE of a partition, cascades
SELECT pt.same($$DELETE FROM person WHERE email = 'p7@x.nl' RETURNING *$$);
SELECT pt.same($$DELETE FROM person_de d USING orders o WHERE o.person_id = d.id AND o.note = 'other person' RETURNING d.name$$);
SELECT pt.same($$TRUNCATE orders_2024 CASCADE$$);
SELECT * FROM pt.same_tables();
-- COPY: the root takes rows, and says that it gives none
COPY pt_crm.person FROM stdin (FORMAT csv);
70,nl,p70@x.nl,Name 70,1970-07-07,0
71,de,p71@x.nl,Name 71,,0
\.
COPY pt_plain.person FROM stdin (FORMAT csv);
70,nl,p70@x.nl,Name 70,1970-07-07,0
71,de,p71@x.nl,Name 71,,0
\.
COPY pt_crm.person TO stdout;
SELECT pt.same($$DELETE FROM person WHERE region = 'de' AND id <> 71$$);
COPY pt_crm.person_de TO stdout;
COPY pt_plain.person_de TO stdout;
COPY pt_crm.person_de FROM stdin;
\N	Name 72	0	p72@x.nl	de	72
\.
COPY pt_plain.person_de FROM stdin;
\N	Name 72	0	p72@x.nl	de	72
\.
SELECT * FROM pt.same_tables();
-- prepared statements, views, functions
PREPARE by_email (text) AS SELECT tableoid::regclass, name FROM pt_crm.person WHERE email = $1;
EXECUTE by_email('p72@x.nl');
CREATE VIEW pt_crm.germans AS SELECT id, email, name FROM pt_crm.person_de;
SELECT * FROM pt_crm.germans ORDER BY id;
-- later: schema changes reach all partitions
SELECT pt.same($$ALTER TABLE person ADD COLUMN extra text DEFAULT 'e'$$);
SELECT pt.same($$ALTER TABLE person RENAME COLUMN name TO full_name$$);
SELECT pt.same($$ALTER TABLE orders RENAME COLUMN person_id TO pid$$);
SELECT pt.same($$INSERT INTO person (id, region, email, full_name) VALUES (73, 'de', 'p73@x.nl', 'Name 73') RETURNING *$$);
SELECT pt.same($$UPDATE person SET region = 'nl' WHERE full_name = 'Name 73' RETURNING *$$);
SELECT pt.same($$INSERT INTO orders VALUES (80, '2025-08-08', 73, 'nl', 'after', 1) RETURNING note$$);
SELECT pt.same($$UPDATE orders SET day = '2024-08-08', note = note || 'wards' WHERE id = 80 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$ALTER TABLE person DROP COLUMN extra, DROP COLUMN visits$$);
SELECT pt.same($$UPDATE person SET region = 'fr', full_name = 'after the drop' WHERE id = 72 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$UPDATE person SET region = 'de' WHERE id = 72 RETURNING tableoid::regclass::name, *$$);
SELECT pt.same($$SELECT p FROM (SELECT id, full_name, born FROM person) p ORDER BY id$$);
SELECT pt.same($$SELECT (p).full_name FROM person p ORDER BY id$$);
EXECUTE by_email('p72@x.nl');
ALTER TABLE pt_crm.person_de ADD CHECK (length(email) < 100);
ALTER TABLE pt_crm.person_de ADD UNIQUE (id, full_name);
ALTER TABLE pt_crm.person ALTER COLUMN email TYPE varchar(50);
ALTER TABLE pt_crm.person_de DROP COLUMN gdpr_sealed;
ALTER TABLE pt_crm.person_de DISABLE TRIGGER "~gdpr_seal";
ALTER TABLE pt_crm.person_de DISABLE TRIGGER ALL;
ALTER TABLE pt_crm.person_de ENABLE TRIGGER ALL;
ALTER TABLE pt_crm.person ENABLE TRIGGER ALL;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgrelid IN ('pt_crm.person'::regclass, 'pt_crm.person_de'::regclass, 'pt_crm.person_nl'::regclass)
  AND tgname ~ 'gdpr' ORDER BY tgrelid::regclass::text COLLATE "C", tgname COLLATE "C";
SELECT pt.same_tables();
\pset format aligned
\pset tuples_only off
SET client_min_messages = warning;
DROP SCHEMA pt, pt_crm, pt_plain CASCADE;
SELECT gdpr.drop_purpose('pt');
