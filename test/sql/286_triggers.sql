-- What the application's triggers observe of a protected table is what they would observe of any table: the same
-- schema twice, tg_plain and tg_crm, the latter protected; the same statements; what each trigger saw is logged.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS refint;
CREATE EXTENSION IF NOT EXISTS autoinc;
CREATE SCHEMA tg;
CREATE SCHEMA tg_plain;
CREATE SCHEMA tg_crm;
GRANT USAGE ON SCHEMA tg, tg_plain, tg_crm TO test_app;
DO $do$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{tg_plain,tg_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TYPE addr AS (street text, city text);
        CREATE TABLE log (n integer GENERATED ALWAYS AS IDENTITY, line text);
        CREATE TABLE known (mail varchar(60) PRIMARY KEY);
        CREATE SEQUENCE serials;
        CREATE TABLE person (id integer PRIMARY KEY, email varchar(60) UNIQUE, name text NOT NULL, born date, home addr,
                             tags text[], words tsvector, visits integer NOT NULL DEFAULT 0, serial integer,
                             twice integer GENERATED ALWAYS AS (visits * 2) STORED);
        CREATE TABLE orders (id integer PRIMARY KEY, item text, note text,
                             person_id integer REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
        CREATE TABLE line (id integer PRIMARY KEY, remark text,
                           order_id integer REFERENCES orders ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE);
        INSERT INTO person SELECT i, 'p' || i || '@x.nl', 'Name ' || i, date '1980-01-01' + i, ROW('Street', 'City ' || i)::addr,
                                  ARRAY['t' || i], NULL, 0, i FROM generate_series(1, 9) i;
        INSERT INTO orders SELECT i, 'Item ' || i, 'note', 1 + i % 9 FROM generate_series(1, 20) i;
        INSERT INTO line SELECT i, 'Remark ' || i, 1 + i % 20 FROM generate_series(1, 40) i;
        INSERT INTO known SELECT email FROM person;
        INSERT INTO known SELECT 'q' || i || '@x.nl' FROM generate_series(1, 50) i;

        CREATE FUNCTION write(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO log (line) VALUES (what)';
        -- whatever there is to see
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            PERFORM write(concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME, TG_NARGS, TG_ARGV[0],
                                    'old', to_jsonb(OLD) - 'gdpr_sealed', 'new', to_jsonb(NEW) - 'gdpr_sealed',
                                    CASE TG_OP WHEN 'UPDATE' THEN NEW IS DISTINCT FROM OLD END));
            RETURN coalesce(NEW, OLD);
        END $$;
        CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            PERFORM write(concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME));
            RETURN NULL;
        END $$;
        CREATE FUNCTION note_tables() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF TG_OP <> 'INSERT' THEN
                PERFORM write(TG_NAME || ' old ' || o) FROM (SELECT to_jsonb(o) - 'gdpr_sealed' AS o FROM gone o ORDER BY id) o;
            END IF;
            IF TG_OP <> 'DELETE' THEN
                PERFORM write(TG_NAME || ' new ' || n) FROM (SELECT to_jsonb(n) - 'gdpr_sealed' AS n FROM fresh n ORDER BY id) n;
            END IF;
            RETURN NULL;
        END $$;
        -- changes what is stored; reads OLD
        CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.name := initcap(trim(NEW.name));
            IF TG_OP = 'UPDATE' AND OLD.email IS DISTINCT FROM NEW.email THEN
                NEW.visits := NEW.visits + 100;
                NEW.tags := NEW.tags || OLD.email::text;
            END IF;
            RETURN NEW;
        END $$;
        CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE FUNCTION as_it_was() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
        CREATE FUNCTION made_up() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            r person;
        BEGIN
            r := OLD;
            r.name := 'Made of ' || NEW.name;
            r.visits := NEW.visits;
            RETURN r;
        END $$;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%: % % is not wanted', TG_NAME, NEW.name, (NEW.home).city;
        END $$;
        -- writes the same table, and another protected one
        CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF pg_trigger_depth() < 4 THEN
                UPDATE person SET visits = visits + 1, name = name || '+' WHERE id = NEW.id AND name = NEW.name;
                UPDATE orders SET item = upper(item), note = OLD.visits::text WHERE person_id = NEW.id;
            END IF;
            RETURN NULL;
        END $$;
        -- the audit table of many an application
        CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        DECLARE
            k text;
        BEGIN
            FOR k IN SELECT key FROM jsonb_each(to_jsonb(NEW) - 'gdpr_sealed') ORDER BY key LOOP
                IF to_jsonb(OLD)->k IS DISTINCT FROM to_jsonb(NEW)->k THEN
                    PERFORM write(format('changed %s: %s -> %s', k, to_jsonb(OLD)->k, to_jsonb(NEW)->k));
                END IF;
            END LOOP;
            RETURN NULL;
        END $$;

        CREATE TRIGGER a_note BEFORE INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note('first');
        CREATE TRIGGER b_tidy BEFORE INSERT OR UPDATE ON person FOR EACH ROW EXECUTE FUNCTION tidy();
        CREATE TRIGGER c_veto BEFORE INSERT OR UPDATE ON person FOR EACH ROW WHEN (NEW.name LIKE 'Veto%') EXECUTE FUNCTION nothing();
        CREATE TRIGGER c_old BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.name <> NEW.name AND NEW.name = 'Old') EXECUTE FUNCTION as_it_was();
        CREATE TRIGGER c_made BEFORE UPDATE ON person FOR EACH ROW WHEN (NEW.name = 'Made') EXECUTE FUNCTION made_up();
        CREATE TRIGGER c_stay BEFORE DELETE ON person FOR EACH ROW WHEN (OLD.name = 'Stay') EXECUTE FUNCTION nothing();
        CREATE TRIGGER d_serial BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION autoinc(serial, serials);
        CREATE TRIGGER e_words BEFORE INSERT OR UPDATE ON person FOR EACH ROW
            EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', name);
        CREATE TRIGGER f_mail BEFORE UPDATE OF email ON person FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER z_suppress BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE TRIGGER a_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON person EXECUTE FUNCTION note_statement();
        CREATE TRIGGER b_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON person EXECUTE FUNCTION note_statement();
        CREATE TRIGGER c_insert AFTER INSERT ON person REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION note_tables();
        CREATE TRIGGER c_update AFTER UPDATE ON person REFERENCING OLD TABLE AS gone NEW TABLE AS fresh EXECUTE FUNCTION note_tables();
        CREATE TRIGGER c_delete AFTER DELETE ON person REFERENCING OLD TABLE AS gone EXECUTE FUNCTION note_tables();
        CREATE TRIGGER d_each AFTER UPDATE ON person REFERENCING OLD TABLE AS gone NEW TABLE AS fresh FOR EACH ROW EXECUTE FUNCTION note_tables();
        CREATE TRIGGER e_changed AFTER UPDATE ON person FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION audit();
        CREATE TRIGGER e_same AFTER UPDATE ON person FOR EACH ROW WHEN (OLD IS NOT DISTINCT FROM NEW) EXECUTE FUNCTION note('the same');
        CREATE TRIGGER f_known AFTER INSERT OR UPDATE ON person FOR EACH ROW EXECUTE FUNCTION check_primary_key(email, known, mail);
        CREATE TRIGGER g_again AFTER UPDATE ON person FOR EACH ROW WHEN (NEW.name LIKE 'Again%') EXECUTE FUNCTION again();
        CREATE CONSTRAINT TRIGGER h_never AFTER INSERT OR UPDATE ON person DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NEW.email LIKE '%9%' OR (NEW.home).city = 'Nowhere' OR 'never' = ANY (NEW.tags)) EXECUTE FUNCTION refuse();
        CREATE TRIGGER i_off AFTER UPDATE ON person FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER i_replica AFTER UPDATE ON person FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER i_always AFTER UPDATE ON person FOR EACH ROW WHEN (NEW.visits > 0) EXECUTE FUNCTION note();
        ALTER TABLE person DISABLE TRIGGER i_off, ENABLE REPLICA TRIGGER i_replica, ENABLE ALWAYS TRIGGER i_always;
        CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER before BEFORE INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON line FOR EACH ROW EXECUTE FUNCTION note();
        CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON line DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER statement AFTER UPDATE ON line EXECUTE FUNCTION note_statement();

        -- a view with triggers of its own
        CREATE VIEW contact AS SELECT id, email, upper(name) AS shout FROM person;
        CREATE FUNCTION through_view() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM write(concat_ws(' ', TG_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW)));
            IF TG_OP = 'INSERT' THEN
                INSERT INTO person (id, email, name) VALUES (NEW.id, NEW.email, NEW.shout);
            ELSIF TG_OP = 'UPDATE' THEN
                UPDATE person SET email = NEW.email, name = NEW.shout WHERE id = OLD.id AND email = OLD.email;
            ELSE
                DELETE FROM person WHERE email = OLD.email;
            END IF;
            RETURN coalesce(NEW, OLD);
        END $$;
        CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON contact FOR EACH ROW EXECUTE FUNCTION through_view();
    END LOOP;
END $do$;
COMMENT ON TRIGGER c_old ON tg_crm.person IS 'stays';
SELECT oid AS person FROM pg_class WHERE oid = 'tg_crm.person'::regclass \gset
CREATE TABLE tg.definitions AS
SELECT t.oid, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) AS definition, obj_description(t.oid, 'pg_trigger') AS comment,
       ARRAY(SELECT d.refobjid::text || '.' || d.refobjsubid || d.deptype::text FROM pg_depend d
             WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid ORDER BY 1) AS depends
FROM pg_trigger t WHERE t.tgrelid = 'tg_crm.person'::regclass AND NOT t.tgisinternal;
DO $$
BEGIN
    PERFORM gdpr.declare_subject('tg_crm.person', key => 'id');
    PERFORM gdpr.declare_table('tg_crm.orders', via => 'person_id');
    PERFORM gdpr.declare_table('tg_crm.line', via => 'order_id');
    PERFORM gdpr.declare_column('tg_crm.person', c, 'contact', searchable => true) FROM unnest('{email,name}'::text[]) c;
    PERFORM gdpr.declare_column('tg_crm.person', c, 'identity') FROM unnest('{born,home,tags,words}'::text[]) c;
    PERFORM gdpr.declare_column('tg_crm.orders', 'item', 'identity');
    PERFORM gdpr.declare_column('tg_crm.line', 'remark', 'identity');
END $$;
CALL gdpr.protect('tg_crm.person');
CALL gdpr.protect('tg_crm.orders');
CALL gdpr.protect('tg_crm.line');
SELECT gdpr.create_purpose('tg all', 'contract', '{contact,identity}');
SELECT gdpr.create_purpose('tg contact', 'contract', '{contact}');
SELECT gdpr.grant_purpose(p, r) FROM unnest(ARRAY[current_user, 'test_app']) r, unnest('{tg all,tg contact}'::text[]) p;
GRANT ALL ON ALL TABLES IN SCHEMA tg_plain, tg_crm TO test_app;
GRANT ALL ON ALL SEQUENCES IN SCHEMA tg_plain, tg_crm TO test_app;

-- runs a statement, or several, in a schema: its rows or what became of it, and what the triggers saw
CREATE FUNCTION tg.run(s text, statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    r record;
    result text[] := '{}';
    n bigint;
BEGIN
    PERFORM set_config('search_path', s || ', public', true);
    TRUNCATE log;
    BEGIN
        IF statement ~* 'returning|^ *(select|table)' THEN
            FOR r IN EXECUTE statement LOOP
                result := result || (to_jsonb(r) - 'gdpr_sealed')::text;
            END LOOP;
        ELSE
            EXECUTE statement;
            GET DIAGNOSTICS n = ROW_COUNT;
            result := ARRAY[n || ' done'];
        END IF;
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION WHEN OTHERS THEN
        result := ARRAY['ERROR ' || SQLSTATE || ' ' || SQLERRM];
    END;
    SET CONSTRAINTS ALL DEFERRED;
    result := result || ARRAY(SELECT l.line FROM log l ORDER BY l.n);
    RETURN result;
END $$;
-- many: rows are not found in the same order
CREATE FUNCTION tg.same(statement text, prepare text DEFAULT 'SELECT', many boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text[];
    b text[];
BEGIN
    EXECUTE prepare;
    a := tg.run('tg_plain', statement);
    EXECUTE prepare;
    b := tg.run('tg_crm', statement);
    IF many THEN
        a := ARRAY(SELECT i FROM unnest(a) i ORDER BY i COLLATE "C");
        b := ARRAY(SELECT i FROM unnest(b) i ORDER BY i COLLATE "C");
    END IF;
    IF a IS DISTINCT FROM b THEN
        RETURN format('DIFFERENT: %s and %s lines', cardinality(a), cardinality(b)) || coalesce(
            (SELECT format(E'; line %s\n    %s\n    %s', i, a[i], b[i])
             FROM generate_series(1, greatest(cardinality(a), cardinality(b))) i
             WHERE a[i] IS DISTINCT FROM b[i] ORDER BY i LIMIT 1), '');
    END IF;
    RETURN format('same: %s, %s lines', coalesce((SELECT i FROM unnest(a) i WHERE i ~ '^(ERROR|[0-9]+ done)' LIMIT 1), 'rows'), cardinality(a));
END $$;
CREATE FUNCTION tg.same_tables() RETURNS TABLE (relation text, result text) LANGUAGE sql AS $$
    SELECT t, tg.same(format('SELECT * FROM %I ORDER BY id', t)) FROM unnest('{person,orders,line}'::text[]) t
$$;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA tg TO test_app;
RESET client_min_messages;
SET ROLE test_app;
SET gdpr.purpose = 'tg all';

SELECT tg.same($$INSERT INTO person (id, email, name, born, home, tags) VALUES (10, 'q1@x.nl', ' jan ', '1990-02-03', ('A', 'B'), '{x}') RETURNING *$$);
SELECT tg.same($$INSERT INTO person (id, email, name) SELECT i, 'q' || i || '@x.nl', 'multi ' || i FROM generate_series(11, 14) i$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (15, 'q15@x.nl', 'veto'), (16, 'q16@x.nl', 'no veto')$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (17, 'unknown@x.nl', 'whoever')$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (19, 'q19@x.nl', 'never')$$);
SELECT tg.same($$UPDATE person SET name = ' piet  ' WHERE id = 1 RETURNING *$$);
SELECT tg.same($$UPDATE person SET email = 'q20@x.nl' WHERE id = 2 RETURNING *$$);
SELECT tg.same($$UPDATE person SET visits = 5 WHERE id IN (3, 4) RETURNING *$$, many => true);
SELECT tg.same($$UPDATE person SET name = name WHERE id < 6$$, many => true);
SELECT tg.same($$UPDATE person SET visits = visits, born = born$$);
SELECT tg.same($$UPDATE person SET name = 'old', visits = 99 WHERE id = 3 RETURNING *$$);
SELECT tg.same($$UPDATE person SET name = 'made', born = '2001-01-01', visits = 77 WHERE id = 3 RETURNING *$$);
SELECT tg.same($$UPDATE person SET name = 'veto!' WHERE id IN (3, 4)$$, many => true);
SELECT tg.same($$UPDATE person SET name = 'again' WHERE id IN (5, 6) RETURNING *$$, many => true);
SELECT tg.same($$UPDATE person SET home = ('S', 'Nowhere') WHERE id = 1$$);
SELECT tg.same($$UPDATE person SET tags = tags || 'never'::text WHERE id = 1$$);
SELECT tg.same($$UPDATE person SET home.city = 'Delft', born = NULL WHERE id = 1 RETURNING *$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (1, 'q21@x.nl', 'conflict'), (21, 'q22@x.nl', 'none')
    ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name || person.name RETURNING *$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (99, 'q22@x.nl', 'conflict') ON CONFLICT (email) DO UPDATE SET born = '2002-02-02' RETURNING *$$);
SELECT tg.same($$INSERT INTO person (id, email, name) VALUES (1, 'q21@x.nl', 'conflict') ON CONFLICT DO NOTHING$$);
SELECT tg.same($$MERGE INTO person p USING (VALUES (4, 'merged'), (22, 'new'), (7, 'away')) v (id, name) ON p.id = v.id
    WHEN MATCHED AND v.name = 'away' THEN DELETE
    WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, email, name) VALUES (v.id, 'q23@x.nl', v.name)$$, many => true);
SELECT tg.same($$UPDATE person p SET name = upper(o.item) FROM orders o WHERE o.person_id = p.id AND o.id = 10 RETURNING p.name, o.item$$);
SELECT tg.same($$WITH u AS (UPDATE person SET name = 'With' WHERE id = 10 RETURNING *), d AS (DELETE FROM person WHERE id = 11 RETURNING *)
    SELECT * FROM u UNION ALL SELECT * FROM d$$, many => true);
-- cascades: a key that changes, rows that go; rows that belong to somebody else now fire nothing below
SELECT tg.same($$UPDATE person SET id = 100 WHERE id = 8 RETURNING *$$, many => true);
SELECT tg.same($$UPDATE orders SET person_id = 9, item = item || '!' WHERE id = 3 RETURNING *$$);
SELECT tg.same($$UPDATE orders SET person_id = 9 WHERE person_id = 5$$, many => true);
SELECT tg.same($$UPDATE person SET name = 'stay' WHERE id = 6$$);
SELECT tg.same($$DELETE FROM person WHERE id IN (5, 6) RETURNING *$$, many => true);
SELECT tg.same($$DELETE FROM orders WHERE item LIKE '%!'$$, many => true);
-- through a view
SELECT tg.same($$INSERT INTO contact VALUES (30, 'q30@x.nl', 'view')$$);
SELECT tg.same($$UPDATE contact SET shout = 'Seen ' || shout WHERE email = 'q30@x.nl'$$);
SELECT tg.same($$DELETE FROM contact WHERE shout LIKE 'SEEN%'$$);
-- in the role of a replica: ENABLE REPLICA and ENABLE ALWAYS fire
RESET ROLE;
SELECT tg.same($$UPDATE person SET name = 'Replica', visits = 3 WHERE id = 10 RETURNING *$$, $$SET LOCAL session_replication_role = replica$$);
SET session_replication_role = origin;
SET ROLE test_app;
SELECT * FROM tg.same_tables();

-- COPY, and triggers that wait for the commit
RESET ROLE;
TRUNCATE tg_plain.log, tg_crm.log;
SET search_path = tg_plain;
\copy person (id, email, name, home) from stdin
40	q40@x.nl	copied  	("S","C")
41	\N	veto	\N
42	q42@x.nl	 other	\N
\.
SET search_path = tg_crm;
\copy person (id, email, name, home) from stdin
40	q40@x.nl	copied  	("S","C")
41	\N	veto	\N
42	q42@x.nl	 other	\N
\.
SET search_path = tg_plain;
BEGIN;
UPDATE line SET remark = 'at the end' WHERE id = 40;
UPDATE person SET visits = 1 WHERE id = 42;
SELECT write('commit');
COMMIT;
BEGIN;
UPDATE person SET tags = '{never}' WHERE id = 42;
SELECT write('lost');
COMMIT;
SET search_path = tg_crm;
BEGIN;
UPDATE line SET remark = 'at the end' WHERE id = 40;
UPDATE person SET visits = 1 WHERE id = 42;
SELECT write('commit');
COMMIT;
BEGIN;
UPDATE person SET tags = '{never}' WHERE id = 42;
SELECT write('lost');
COMMIT;
RESET search_path;
SELECT count(*), count(*) FILTER (WHERE p.line IS DISTINCT FROM c.line) AS different
FROM (SELECT row_number() OVER (ORDER BY n), line FROM tg_plain.log) p
FULL JOIN (SELECT row_number() OVER (ORDER BY n), line FROM tg_crm.log) c USING (row_number);
SELECT line FROM tg_crm.log WHERE line LIKE 'later%';

-- a session that sees less: its triggers see what it sees, and nothing is lost by that
CREATE FUNCTION tg.seen(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tg.run('tg_plain', statement);
    RETURN QUERY SELECT i FROM unnest(tg.run('tg_crm', statement)) i;
END $$;
SET ROLE test_app;
SET gdpr.purpose = 'tg contact';
SELECT tg.seen($$UPDATE person SET visits = 7 WHERE id = 40$$);
SELECT tg.run('tg_crm', $$UPDATE person SET name = 'seen' WHERE id = 40$$);
RESET gdpr.purpose;
SELECT tg.seen($$UPDATE person SET visits = 8 WHERE id = 40$$);
SELECT tg.seen($$INSERT INTO person (id, email, name) VALUES (43, 'q43@x.nl', 'not seen again')$$);
SELECT tg.seen($$UPDATE person SET id = 44 WHERE id = 43$$);
SELECT tg.seen($$DELETE FROM person WHERE id = 44$$);
-- a trigger that would put something else in place of what it cannot see is refused
SELECT tg.run('tg_crm', $$UPDATE person SET name = 'made' WHERE id = 40$$);
-- a purpose that is not granted: those who do not ask for values get no error, and no values
SET gdpr.purpose = 'no such';
SELECT tg.seen($$UPDATE orders SET note = 'a note' WHERE id = 1$$);
SELECT tg.run('tg_crm', $$UPDATE orders SET item = 'an item' WHERE id = 1$$);
SET gdpr.purpose = 'tg all';
SELECT * FROM tg.same_tables();
RESET ROLE;
-- who decides is whom the function runs as
SET client_min_messages = warning;
CREATE ROLE test_blind;
GRANT ALL ON SCHEMA tg_crm TO test_blind;
RESET client_min_messages;
CREATE FUNCTION tg_crm.as_owner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RAISE NOTICE '% sees %', current_user, NEW.email;
    RETURN NULL;
END $$;
CREATE FUNCTION tg_crm.for_a_purpose() RETURNS trigger LANGUAGE plpgsql SET gdpr.purpose = 'tg contact' AS $$
BEGIN
    RAISE NOTICE '% sees % and %', current_setting('gdpr.purpose'), NEW.email, NEW.born;
    RETURN NULL;
END $$;
ALTER FUNCTION tg_crm.as_owner() OWNER TO test_blind;
CREATE TRIGGER y_owner AFTER UPDATE ON tg_crm.person FOR EACH ROW WHEN (NEW.id = 40) EXECUTE FUNCTION tg_crm.as_owner();
CREATE TRIGGER y_purpose AFTER UPDATE ON tg_crm.person FOR EACH ROW WHEN (NEW.id = 40) EXECUTE FUNCTION tg_crm.for_a_purpose();
SET search_path = tg_crm;
UPDATE person SET visits = 10 WHERE id = 40;
RESET search_path;
DROP TRIGGER y_owner ON tg_crm.person;
DROP TRIGGER y_purpose ON tg_crm.person;
DROP FUNCTION tg_crm.as_owner();
DROP OWNED BY test_blind;
DROP ROLE test_blind;

-- rows that arrive as they are stored are stored like that, whatever triggers are shown
SET search_path = tg_crm, public;
SET gdpr.physical = on;
ALTER TABLE person DISABLE TRIGGER b_tidy, DISABLE TRIGGER e_words, DISABLE TRIGGER c_update, DISABLE TRIGGER d_each;
CREATE TABLE tg.dumped AS SELECT * FROM person WHERE id IN (10, 40);
DELETE FROM person WHERE id IN (10, 40);
TRUNCATE log;
INSERT INTO person (id, email, name, born, home, tags, words, visits, serial, gdpr_sealed)
SELECT id, email, name, born, home, tags, words, visits, serial, gdpr_sealed FROM tg.dumped ORDER BY id;
UPDATE person p SET email = d.email, name = d.name, born = d.born, home = d.home, tags = d.tags, words = d.words,
    gdpr_sealed = d.gdpr_sealed FROM tg.dumped d WHERE d.id = p.id AND d.id = 10;
SELECT count(*), count(*) FILTER (WHERE p IS DISTINCT FROM d) AS different FROM person p JOIN tg.dumped d USING (id);
SELECT line FROM log WHERE line ~ '^a_note' ORDER BY n;
-- a trigger that computes the same again changes nothing; one that changes a value in such a row is refused
ALTER TABLE person ENABLE TRIGGER e_words;
DELETE FROM person WHERE id IN (10, 40);
INSERT INTO person (id, email, name, born, home, tags, words, visits, serial, gdpr_sealed)
SELECT id, email, name, born, home, tags, words, visits, serial, gdpr_sealed FROM tg.dumped WHERE id = 40;
INSERT INTO person (id, email, name, born, home, tags, words, visits, serial, gdpr_sealed)
SELECT id, email, name, born, home, tags, words, visits, serial, gdpr_sealed FROM tg.dumped WHERE id = 10;
-- what it was not shown stays, whatever it computes
SET gdpr.purpose = '';
INSERT INTO person (id, email, name, born, home, tags, words, visits, serial, gdpr_sealed)
SELECT id, email, name, born, home, tags, words, visits, serial, gdpr_sealed FROM tg.dumped WHERE id = 10;
SET gdpr.purpose = 'tg all';
SELECT count(*), count(*) FILTER (WHERE p IS DISTINCT FROM d) AS different FROM person p JOIN tg.dumped d USING (id);
DELETE FROM person WHERE id = 10;
-- RETURN OLD keeps a row from being replaced
CREATE TRIGGER c_keep BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.id = 40) EXECUTE FUNCTION as_it_was();
UPDATE person p SET visits = 50, email = d.email, name = d.name, born = d.born, home = d.home, tags = d.tags, words = d.words,
    gdpr_sealed = d.gdpr_sealed FROM tg.dumped d WHERE d.id = p.id AND d.id = 40;
SELECT count(*), count(*) FILTER (WHERE p IS DISTINCT FROM d) AS different FROM person p JOIN tg.dumped d USING (id);
DROP TRIGGER c_keep ON person;
RESET gdpr.physical;
ALTER TABLE person ENABLE TRIGGER b_tidy, ENABLE TRIGGER c_update, ENABLE TRIGGER d_each;
-- an envelope that is not the row's own, or from one who may not restore, is not opened
SELECT gdpr_sealed AS foreign FROM tg.dumped WHERE id = 40 \gset
TRUNCATE log;
CREATE FUNCTION shows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '%: token %', TG_NAME, NEW.name ~ '^[a-z2-7]{20}$';
    RETURN NEW;
END $$;
CREATE TRIGGER b_shows BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION shows();
CREATE TRIGGER b_when BEFORE INSERT ON orders FOR EACH ROW WHEN ((NEW.*)::text LIKE '%mine%') EXECUTE FUNCTION nothing();
INSERT INTO orders (id, item, gdpr_sealed) VALUES (50, 'mine', :'foreign');
SELECT count(*) FROM orders WHERE id = 50;
INSERT INTO person (id, name, gdpr_sealed) VALUES (50, '?', :'foreign');
DELETE FROM person WHERE id = 50;
DELETE FROM person WHERE id = 40;
GRANT USAGE ON SCHEMA tg TO test_app;
GRANT SELECT ON tg.dumped TO test_app;
SET ROLE test_app;
INSERT INTO person (id, email, name, born, home, tags, words, visits, serial, gdpr_sealed)
SELECT id, email, name, born, home, tags, words, visits, serial, gdpr_sealed FROM tg.dumped WHERE id = 40;
RESET ROLE;
DROP TRIGGER b_shows ON person;
DROP TRIGGER b_when ON orders;
-- the functions in WHEN open nothing elsewhere
SELECT gdpr.trigger_value(d, d.name) FROM tg.dumped d;
SELECT gdpr.trigger_row(p) FROM person p;
SET gdpr.physical = on;
SELECT gdpr.trigger_value(p, p.name) FROM person p;
SELECT gdpr.trigger_row(p) FROM person p JOIN tg.dumped d ON true;
SELECT gdpr.trigger_row(NULL::person);
RESET gdpr.physical;
CREATE TRIGGER b_when BEFORE UPDATE ON person FOR EACH ROW WHEN (gdpr.trigger_value(OLD, NEW.name) = 'x') EXECUTE FUNCTION shows();
UPDATE person SET name = 'x' WHERE id = 1;
DROP TRIGGER b_when ON person;
RESET search_path;

-- what pg_dump writes of a condition is the same when it comes back; renamed columns are followed
SELECT pg_get_triggerdef(oid) AS again FROM pg_trigger WHERE tgrelid = 'tg_crm.person'::regclass AND tgname = 'c_old' \gset
SELECT :'again' AS definition;
DROP TRIGGER c_old ON tg_crm.person;
:again;
COMMENT ON TRIGGER c_old ON tg_crm.person IS 'stays';
SELECT pg_get_triggerdef(oid) = :'again' AS same FROM pg_trigger WHERE tgrelid = 'tg_crm.person'::regclass AND tgname = 'c_old';
ALTER TABLE tg_crm.person RENAME COLUMN name TO called;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'tg_crm.person'::regclass AND tgname IN ('c_old', 'e_changed', 'h_never') ORDER BY tgname;
ALTER TABLE tg_crm.person RENAME COLUMN called TO name;
ALTER TABLE tg_crm.person DROP COLUMN serial;

-- while a person is forgotten, its values are gone for triggers too
SET search_path = tg_crm, public;
TRUNCATE log;
SET client_min_messages = error;
SELECT gdpr.forget(gdpr.subject('person', '9'), category => 'contact') IS NOT NULL AS forgotten;
SELECT line FROM log ORDER BY n;
TRUNCATE log;
SELECT gdpr.forget(gdpr.subject('person', '9')) IS NOT NULL AS forgotten;
SELECT line FROM log WHERE line ~ 'person' ORDER BY line COLLATE "C";
RESET search_path;

RESET client_min_messages;
-- event triggers of others
CREATE FUNCTION tg.event() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('tg.refuse', true) = tg_tag THEN
        RAISE EXCEPTION '% is not wanted', tg_tag;
    END IF;
    INSERT INTO tg.events VALUES (tg_event, tg_tag);
    PERFORM count(email) FROM tg_crm.person;
END $$;
CREATE TABLE tg.events (event text, tag text);
CREATE EVENT TRIGGER tg_start ON ddl_command_start EXECUTE FUNCTION tg.event();
CREATE EVENT TRIGGER tg_end ON ddl_command_end EXECUTE FUNCTION tg.event();
CREATE EVENT TRIGGER tg_drop ON sql_drop EXECUTE FUNCTION tg.event();
CREATE EVENT TRIGGER tg_rewrite ON table_rewrite EXECUTE FUNCTION tg.event();
CREATE TRIGGER y_any BEFORE UPDATE ON tg_crm.person FOR EACH ROW WHEN (OLD.email = 'x') EXECUTE FUNCTION tg_crm.note();
DROP TRIGGER y_any ON tg_crm.person;

-- given back as they were
CALL gdpr.unprotect('tg_crm.line');
CALL gdpr.unprotect('tg_crm.orders');
SET tg.refuse = 'ALTER TABLE';
CALL gdpr.unprotect('tg_crm.person');
RESET tg.refuse;
CALL gdpr.unprotect('tg_crm.person');
SELECT count(*) > 10 AS events FROM tg.events;
SELECT d.tgname, t.tgname IS NULL AS missing, d.tgenabled = t.tgenabled AS enabled,
       pg_get_triggerdef(t.oid) = d.definition AS definition, obj_description(t.oid, 'pg_trigger') IS NOT DISTINCT FROM d.comment AS comment,
       ARRAY(SELECT p.refobjid::text || '.' || p.refobjsubid || p.deptype::text FROM pg_depend p
             WHERE p.classid = 'pg_trigger'::regclass AND p.objid = t.oid ORDER BY 1) = d.depends AS depends
FROM tg.definitions d FULL JOIN (SELECT * FROM pg_trigger WHERE tgrelid = 'tg_crm.person'::regclass AND NOT tgisinternal) t USING (tgname)
ORDER BY tgname;
CALL gdpr.protect('tg_crm.person');
SET tg.refuse = 'CREATE TRIGGER';
CALL gdpr.protect('tg_crm.orders');
RESET tg.refuse;
CALL gdpr.protect('tg_crm.orders');
DROP EVENT TRIGGER tg_start;
DROP EVENT TRIGGER tg_end;
DROP EVENT TRIGGER tg_drop;
DROP EVENT TRIGGER tg_rewrite;
SET client_min_messages = warning;
DROP SCHEMA tg, tg_plain, tg_crm CASCADE;
