-- Triggers of partitioned tables: the same schema twice, ptg_plain and ptg_crm, the latter protected; the same
-- statements; what each trigger saw is logged.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA ptg;
CREATE SCHEMA ptg_plain;
CREATE SCHEMA ptg_crm;
GRANT USAGE ON SCHEMA ptg, ptg_plain, ptg_crm TO test_app;
DO $do$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{ptg_plain,ptg_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TABLE log (n integer GENERATED ALWAYS AS IDENTITY, line text);
        CREATE TABLE person (id integer NOT NULL, region text, email text, name text NOT NULL, born date, words tsvector,
                             visits integer DEFAULT 0, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE person_low PARTITION OF person FOR VALUES IN ('nl', 'be') PARTITION BY LIST (region);
        CREATE TABLE person_nl PARTITION OF person_low FOR VALUES IN ('nl');
        CREATE TABLE person_be PARTITION OF person_low FOR VALUES IN ('be');
        CREATE TABLE person_de (gone text, born date, visits integer, name text NOT NULL, email text, words tsvector,
                                region text NOT NULL, id integer NOT NULL);
        ALTER TABLE person_de DROP COLUMN gone;
        ALTER TABLE person ATTACH PARTITION person_de FOR VALUES IN ('de');
        CREATE TABLE person_rest PARTITION OF person DEFAULT;
        INSERT INTO person SELECT i, (ARRAY['nl', 'be', 'de', 'fr'])[1 + i % 4], 'p' || i || '@x.nl', 'Name ' || i,
                                  date '1980-01-01' + i FROM generate_series(1, 16) i;

        CREATE FUNCTION write(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO log (line) VALUES (what)';
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            PERFORM write(concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME, 'old', to_jsonb(OLD) - 'gdpr_sealed',
                                    'new', to_jsonb(NEW) - 'gdpr_sealed'));
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
        -- also of rows that arrive from another partition
        CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.name := initcap(trim(NEW.name)) || CASE TG_OP WHEN 'INSERT' THEN '!' ELSE '' END;
            NEW.visits := NEW.visits + 1;
            RETURN NEW;
        END $$;
        CREATE FUNCTION made_up() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            r record;
        BEGIN
            r := jsonb_populate_record(NEW, jsonb_build_object('visits', 1000, 'name', 'Made of ' || NEW.name));
            RETURN r;
        END $$;
        CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE FUNCTION as_it_was() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%: % is not wanted', TG_NAME, NEW.name;
        END $$;

        CREATE TRIGGER a_note BEFORE INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER b_tidy BEFORE INSERT OR UPDATE ON person FOR EACH ROW EXECUTE FUNCTION tidy();
        CREATE TRIGGER c_old BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.name <> NEW.name AND NEW.name = 'Old') EXECUTE FUNCTION as_it_was();
        CREATE TRIGGER c_stay BEFORE DELETE ON person FOR EACH ROW WHEN (OLD.name LIKE 'Stay%') EXECUTE FUNCTION nothing();
        CREATE TRIGGER c_veto BEFORE INSERT ON person FOR EACH ROW WHEN (NEW.name LIKE 'Veto%') EXECUTE FUNCTION nothing();
        CREATE TRIGGER d_whole BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION note();
        CREATE TRIGGER e_words BEFORE INSERT OR UPDATE ON person FOR EACH ROW
            EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', name);
        CREATE TRIGGER f_note AFTER INSERT OR UPDATE OR DELETE ON person FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER g_changed AFTER UPDATE ON person FOR EACH ROW
            WHEN (OLD.* IS DISTINCT FROM NEW.* AND OLD.email = NEW.email) EXECUTE FUNCTION note();
        CREATE TRIGGER g_row AFTER DELETE ON person FOR EACH ROW WHEN (OLD::text LIKE '%Name 3%') EXECUTE FUNCTION note();
        CREATE CONSTRAINT TRIGGER h_never AFTER INSERT OR UPDATE ON person DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NEW.email LIKE 'never%') EXECUTE FUNCTION refuse();
        CREATE TRIGGER a_statement BEFORE INSERT OR UPDATE OR DELETE ON person EXECUTE FUNCTION note_statement();
        CREATE TRIGGER c_insert AFTER INSERT ON person REFERENCING NEW TABLE AS fresh EXECUTE FUNCTION note_tables();
        CREATE TRIGGER c_update AFTER UPDATE ON person REFERENCING OLD TABLE AS gone NEW TABLE AS fresh EXECUTE FUNCTION note_tables();
        CREATE TRIGGER c_delete AFTER DELETE ON person REFERENCING OLD TABLE AS gone EXECUTE FUNCTION note_tables();
        -- of one partition only
        CREATE TRIGGER p_before BEFORE UPDATE ON person_de FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION note();
        CREATE TRIGGER p_made BEFORE INSERT ON person_de FOR EACH ROW WHEN (NEW.name LIKE 'Make%') EXECUTE FUNCTION made_up();
        CREATE TRIGGER p_after AFTER INSERT OR DELETE ON person_de FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER p_same BEFORE UPDATE ON person_be FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE TRIGGER p_update AFTER UPDATE ON person_de REFERENCING OLD TABLE AS gone NEW TABLE AS fresh EXECUTE FUNCTION note_tables();
    END LOOP;
END $do$;
DO $$
BEGIN
    PERFORM gdpr.declare_subject('ptg_crm.person');
    PERFORM gdpr.declare_column('ptg_crm.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('ptg_crm.person', 'name', 'contact');
    PERFORM gdpr.declare_column('ptg_crm.person', c, CASE c WHEN 'born' THEN 'identity' ELSE 'contact' END)
    FROM unnest('{born,words}'::text[]) c;
    PERFORM gdpr.create_purpose('ptg all', 'contract', '{contact,identity}');
    PERFORM gdpr.create_purpose('ptg contact', 'contract', '{contact}');
    PERFORM gdpr.grant_purpose(p, r) FROM unnest(ARRAY[current_user, 'test_app']) r, unnest('{ptg all,ptg contact}'::text[]) p;
END $$;
-- gives all triggers back as they were, clones too
CREATE VIEW ptg.definitions AS
SELECT n.nspname, c.relname, t.tgname, t.tgenabled, p.tgname AS parent, replace(pg_get_triggerdef(t.oid), 'ptg_crm', 'ptg_plain') AS definition,
       EXISTS (SELECT FROM pg_depend d JOIN pg_proc f ON f.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
               WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND f.pronamespace = 'gdpr'::regnamespace) AS adapted
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_trigger p ON p.oid = t.tgparentid
WHERE n.nspname IN ('ptg_plain', 'ptg_crm');
CREATE FUNCTION ptg.different() RETURNS TABLE (triggers bigint, adapted bigint, different bigint) LANGUAGE sql AS $$
    SELECT count(*), count(*) FILTER (WHERE c.adapted),
           count(*) FILTER (WHERE (p.tgenabled, p.parent, p.definition) IS DISTINCT FROM (c.tgenabled, c.parent, c.definition))
    FROM (SELECT * FROM ptg.definitions WHERE nspname = 'ptg_plain') p
    FULL JOIN (SELECT * FROM ptg.definitions WHERE nspname = 'ptg_crm') c USING (relname, tgname)
$$;
CALL gdpr.protect('ptg_crm.person');
CALL gdpr.unprotect('ptg_crm.person');
SELECT * FROM ptg.different();
CALL gdpr.protect('ptg_crm.person');
SELECT relname, tgname, definition ~ 'gdpr\.' AS in_definition, adapted FROM ptg.definitions
WHERE nspname = 'ptg_crm' AND relname IN ('person', 'person_de') AND tgname ~ '^[a-p]_' ORDER BY relname, tgname COLLATE "C";
GRANT ALL ON ALL TABLES IN SCHEMA ptg_plain, ptg_crm TO test_app;

CREATE FUNCTION ptg.run(s text, statement text) RETURNS text[] LANGUAGE plpgsql AS $$
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
CREATE FUNCTION ptg.same(statement text, many boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text[] := ptg.run('ptg_plain', statement);
    b text[] := ptg.run('ptg_crm', statement);
BEGIN
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
RESET client_min_messages;
SET ROLE test_app;
SET gdpr.purpose = 'ptg all';

SELECT ptg.same($$INSERT INTO person VALUES (20, 'nl', 'q20@x.nl', ' jan ', '1990-02-03'), (21, 'de', 'q21@x.nl', 'hans', NULL) RETURNING *$$);
SELECT ptg.same($$INSERT INTO person (id, region, email, name) VALUES (22, 'fr', 'q22@x.nl', 'veto'), (23, 'be', NULL, 'luc')$$);
SELECT ptg.same($$INSERT INTO person (id, region, email, name) VALUES (24, 'de', 'never@x.nl', 'whoever')$$);
SELECT ptg.same($$INSERT INTO person_de (id, region, email, name) VALUES (25, 'de', 'q25@x.nl', 'make it')$$);
SELECT ptg.same($$UPDATE person SET name = 'piet  ' WHERE id IN (1, 2, 3, 4) RETURNING *$$, true);
SELECT ptg.same($$UPDATE person SET name = 'old', born = '2000-01-01' WHERE id IN (2, 6) RETURNING *$$, true);
SELECT ptg.same($$UPDATE person_de SET name = 'direct', visits = 7 WHERE id = 2$$);
SELECT ptg.same($$UPDATE person SET visits = visits - 1, name = name WHERE region = 'be'$$, true);
SELECT ptg.same($$UPDATE person SET email = 'never@x.nl' WHERE id = 5$$);
SELECT ptg.same($$DELETE FROM person WHERE id IN (7, 8) RETURNING *$$, true);
-- rows that move
SELECT ptg.same($$UPDATE person SET region = 'de' WHERE id = 9 RETURNING *$$);
SELECT ptg.same($$UPDATE person SET region = 'fr', name = 'to France' WHERE id = 9 RETURNING *$$);
SELECT ptg.same($$UPDATE person SET region = 'nl', name = 'back', email = 'q9@x.nl', born = NULL WHERE id = 9 RETURNING *$$);
SELECT ptg.same($$UPDATE person_low SET region = 'be' WHERE id = 9 RETURNING *$$);
SELECT ptg.same($$UPDATE person SET region = CASE region WHEN 'de' THEN 'nl' ELSE 'de' END WHERE id < 12$$, true);
SELECT ptg.same($$UPDATE person SET region = 'de', name = 'make' WHERE id = 12 RETURNING *$$);
SELECT ptg.same($$UPDATE person SET name = 'stay' WHERE id = 13$$);
SELECT ptg.same($$UPDATE person SET region = 'de' WHERE id = 13$$);
SELECT ptg.same($$UPDATE person SET region = 'es', email = 'never@x.nl' WHERE id = 14$$);
SELECT ptg.same($$UPDATE person SET region = 'es', name = 'veto' WHERE id = 14$$);
SELECT ptg.same($$UPDATE person SET region = 'es', name = NULL WHERE id = 15$$);
SELECT ptg.same($$INSERT INTO person (id, region, name) VALUES (16, 'nl', 'conflict') ON CONFLICT (id, region) DO UPDATE SET region = 'de', name = EXCLUDED.name$$);
SELECT ptg.same($$MERGE INTO person p USING (VALUES (15, 'es'), (99, 'nl')) v (id, region) ON p.id = v.id
    WHEN MATCHED THEN UPDATE SET region = v.region, name = 'merged' WHEN NOT MATCHED THEN INSERT (id, region, name) VALUES (v.id, v.region, 'new')$$);
SELECT ptg.same($$SELECT * FROM person ORDER BY id$$);
-- moved by a session that does not see everything: nothing is lost
SET gdpr.purpose = 'ptg contact';
SELECT count(*), count(*) FILTER (WHERE i ~ '"born": null') AS born_hidden
FROM unnest(ptg.run('ptg_crm', $$UPDATE person SET region = 'fr', name = 'moved unseen' WHERE id = 1$$)) i;
SET gdpr.purpose = 'ptg all';
SELECT id, region, name, born FROM ptg_crm.person WHERE id = 1;
SELECT cardinality(ptg.run('ptg_plain', $$UPDATE person SET region = 'fr', name = 'moved unseen' WHERE id = 1$$)) AS lines;
SELECT ptg.same($$UPDATE person SET born = born WHERE id = 1$$);

-- partitions that come and go
RESET ROLE;
SET gdpr.purpose = 'ptg all';
SET client_min_messages = warning;
DO $do$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{ptg_plain,ptg_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TRIGGER k_late AFTER UPDATE ON person FOR EACH ROW WHEN (OLD.email IS DISTINCT FROM NEW.email OR OLD IS NULL) EXECUTE FUNCTION note();
        CREATE TRIGGER l_low BEFORE UPDATE ON person_low FOR EACH ROW WHEN (OLD.name = 'Low') EXECUTE FUNCTION note();
        CREATE TRIGGER z_same BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE TABLE person_uk PARTITION OF person FOR VALUES IN ('uk');
        CREATE TABLE person_pl (words tsvector, region text NOT NULL, born date, gone text, email text, name text NOT NULL, visits integer, id integer NOT NULL);
        ALTER TABLE person_pl DROP COLUMN gone;
        INSERT INTO person_pl (id, region, email, name) SELECT i, 'pl', 'p' || i || '@x.nl', 'Name ' || i FROM generate_series(30, 33) i;
        CREATE TRIGGER p_own BEFORE UPDATE ON person_pl FOR EACH ROW WHEN (OLD.name <> NEW.name AND OLD.* IS NOT NULL IS NOT NULL) EXECUTE FUNCTION note();
        ALTER TABLE person ATTACH PARTITION person_pl FOR VALUES IN ('pl');
        CREATE TABLE person_pt PARTITION OF person FOR VALUES IN ('pt') PARTITION BY RANGE (id);
        CREATE TABLE person_pt_1 PARTITION OF person_pt FOR VALUES FROM (0) TO (1000);
        ALTER TABLE person ENABLE ALWAYS TRIGGER k_late;
        ALTER TRIGGER f_note ON person RENAME TO f_noted;
        DROP TRIGGER d_whole ON person;
    END LOOP;
END $do$;
GRANT ALL ON ALL TABLES IN SCHEMA ptg_plain, ptg_crm TO test_app;
RESET client_min_messages;
SELECT relname, count(*), count(*) FILTER (WHERE definition ~ 'gdpr\.') AS adapted, count(*) FILTER (WHERE adapted) AS depend
FROM ptg.definitions WHERE nspname = 'ptg_crm' AND relname IN ('person_uk', 'person_pl', 'person_pt_1') AND tgname ~ '^[a-z]_' GROUP BY 1 ORDER BY 1;
SET ROLE test_app;
SELECT ptg.same($$UPDATE person SET region = (ARRAY['uk', 'pl', 'pt'])[1 + id % 3], email = 'm' || email WHERE id IN (2, 3, 4)$$, true);
SELECT ptg.same($$UPDATE person SET name = 'low' WHERE id IN (2, 3, 4, 5, 16, 23, 30) RETURNING *$$, true);
SELECT ptg.same($$UPDATE person SET email = 'm' || email, name = 'lower' WHERE id IN (2, 3, 4, 5, 16, 23, 30, 31)$$, true);
SELECT ptg.same($$UPDATE person SET name = name, visits = visits - 1$$, true);
SELECT ptg.same($$DELETE FROM person WHERE region IN ('pl', 'uk')$$, true);
SELECT ptg.same($$UPDATE person SET region = 'pl', name = 'name 3x' WHERE id IN (3, 9, 10)$$, true);
SELECT ptg.same($$DELETE FROM person WHERE id = 10$$, true);
SELECT ptg.same($$SELECT * FROM person ORDER BY id$$);
RESET ROLE;
ALTER TABLE ptg_plain.person DETACH PARTITION ptg_plain.person_de;
ALTER TABLE ptg_crm.person DETACH PARTITION ptg_crm.person_de;
ALTER TABLE ptg_plain.person DETACH PARTITION ptg_plain.person_pl;
ALTER TABLE ptg_crm.person DETACH PARTITION ptg_crm.person_pl;
SET ROLE test_app;
SELECT ptg.same($$UPDATE person_de SET name = 'alone' WHERE id = 11 RETURNING *$$);
SELECT ptg.same($$UPDATE person_pl SET name = 'alone' RETURNING *$$, true);
RESET ROLE;
ALTER TABLE ptg_plain.person ATTACH PARTITION ptg_plain.person_de FOR VALUES IN ('de');
ALTER TABLE ptg_crm.person ATTACH PARTITION ptg_crm.person_de FOR VALUES IN ('de');
SET ROLE test_app;
SELECT ptg.same($$UPDATE person SET name = 'again', email = 'again' WHERE region = 'de' RETURNING *$$, true);
SELECT ptg.same($$UPDATE person SET region = 'de' WHERE id = 20$$);
RESET ROLE;
-- and everything goes back
CALL gdpr.unprotect('ptg_crm.person');
SELECT * FROM ptg.different();
SELECT relname, tgname, p.definition, c.definition FROM (SELECT * FROM ptg.definitions WHERE nspname = 'ptg_plain') p
    FULL JOIN (SELECT * FROM ptg.definitions WHERE nspname = 'ptg_crm') c USING (relname, tgname)
WHERE p.definition IS DISTINCT FROM c.definition ORDER BY 1, 2;
SET client_min_messages = warning;
SELECT gdpr.undeclare_table('ptg_crm.person');
SELECT gdpr.drop_purpose(p) FROM unnest('{ptg all,ptg contact}'::text[]) p;
DROP SCHEMA ptg_plain, ptg_crm, ptg CASCADE;
