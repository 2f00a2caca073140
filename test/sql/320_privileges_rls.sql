-- Privileges on columns, row-level security and views mean on a protected table
-- what they meant before.
\getenv dir PG_ABS_SRCDIR
\set setup :dir '/sql/rewrite.inc'
\set ECHO none
\i :setup
\set ECHO all
\set VERBOSITY terse
SET client_min_messages = warning;
-- roles with rights to some columns; none has any on gdpr_sealed
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{rw_plain,rw_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO test_app, test_other', s);
        GRANT SELECT (id, email, name), INSERT (id, email, name), UPDATE (name), REFERENCES (id) ON contact TO test_app;
        GRANT SELECT (id, phone), UPDATE (phone, score) ON contact TO test_other;
        GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO test_app;
        GRANT DELETE ON contact TO test_other;
        CREATE VIEW v_owner AS SELECT id, email, phone, score FROM contact;
        GRANT SELECT, UPDATE (phone) ON v_owner TO test_app;
        CREATE FUNCTION leaky(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $f$ BEGIN IF $1 !~ '^Name [13]' THEN RAISE EXCEPTION 'leak: %', $1; END IF; RETURN true; END $f$;
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA rw TO test_app, test_other;
SELECT gdpr.grant_purpose('rewrite', 'test_other');
SET ROLE test_app;
SELECT s AS statement, rw.same(s) FROM unnest(ARRAY[
    'SELECT id, email, name FROM contact WHERE email = ''u7@x.nl''',
    'SELECT name, count(*) FROM contact GROUP BY name ORDER BY name',
    'SELECT phone FROM contact', 'SELECT * FROM contact', 'SELECT c FROM contact c', 'SELECT id FROM contact WHERE phone = ''P7''', 'SELECT id FROM contact ORDER BY phone',
    'SELECT count(*) FROM contact', 'SELECT to_jsonb(c) FROM contact c',
    'INSERT INTO contact (id, email, name) VALUES (900, ''n'', ''new'') RETURNING id, email, name',
    'INSERT INTO contact (id, email, name, phone) VALUES (901, ''n'', ''new'', ''1'')',
    'INSERT INTO contact (id, email, name) VALUES (902, ''n2'', ''new'') RETURNING phone', 'INSERT INTO contact VALUES (903)',
    'INSERT INTO contact (id, email, name) VALUES (7, ''n3'', ''new'') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name || contact.name RETURNING name',
    'INSERT INTO contact (id, email, name) VALUES (7, ''n3'', ''new'') ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email',
    'INSERT INTO contact (id, email, name) VALUES (950, ''u9@x.nl'', ''new'') ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.email RETURNING id, name',
    'UPDATE contact SET name = ''x'' || name WHERE email = ''u8@x.nl'' RETURNING id, name',
    'UPDATE contact SET email = ''x'' WHERE id = 1', 'UPDATE contact SET name = phone WHERE id = 1', 'UPDATE contact SET name = ''y'' WHERE phone IS NULL', 'UPDATE contact SET name = ''y'' RETURNING *',
    'DELETE FROM contact WHERE id = 900',
    'MERGE INTO contact c USING (VALUES (8)) v (i) ON c.id = v.i WHEN MATCHED THEN UPDATE SET name = ''merged'' || email',
    'MERGE INTO contact c USING (VALUES (8)) v (i) ON c.id = v.i WHEN MATCHED AND c.phone IS NULL THEN UPDATE SET name = ''merged''',
    'SELECT o.item, c.name FROM orders o JOIN contact c ON c.email = o.mail WHERE o.id < 9 ORDER BY o.id',
    'UPDATE orders o SET item = c.name FROM contact c WHERE c.id = o.contact_id AND c.id < 4', 'UPDATE orders o SET item = c.phone FROM contact c WHERE c.id = o.contact_id',
    'SELECT id, phone FROM v_owner WHERE email = ''u7@x.nl''', 'UPDATE v_owner SET phone = ''via view'' WHERE id = 7 RETURNING phone', 'UPDATE v_owner SET score = 1 WHERE id = 7']) WITH ORDINALITY AS u (s, o) ORDER BY o;
-- COPY by column privileges
\set QUIET on
SET search_path = rw_crm;
COPY (SELECT id, name FROM contact WHERE id < 3 ORDER BY id) TO STDOUT;
COPY contact (id, email, name) FROM STDIN;
904	copied	c
\.
COPY contact TO STDOUT;
SELECT gdpr_sealed FROM contact;
UPDATE contact SET gdpr_sealed = NULL;
RESET ROLE;
DELETE FROM contact WHERE id = 904 RETURNING email, name;
SET ROLE test_other;
SET search_path = public;
SELECT s AS statement, rw.same(s) FROM unnest(ARRAY[
    'SELECT id, phone FROM contact WHERE phone = ''P7''', 'UPDATE contact SET phone = ''other'', score = 3 WHERE id = 10 RETURNING phone', 'UPDATE contact SET phone = lower(phone) WHERE phone = ''P11''',
    'UPDATE contact SET score = score + 1', 'UPDATE contact SET phone = NULL', 'DELETE FROM contact WHERE id = 900 RETURNING id, phone', 'DELETE FROM contact WHERE name = ''x''', 'SELECT name FROM contact']) WITH ORDINALITY AS u (s, o) ORDER BY o;
RESET ROLE;
SELECT * FROM rw.same_tables();
SELECT has_column_privilege('test_app', 'rw_crm.contact', 'gdpr_sealed', 'SELECT') AS app, has_column_privilege('test_other', 'rw_crm.contact', 'gdpr_sealed', 'UPDATE') AS other;
-- policies over personal columns, with and without the right to see them
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{rw_plain,rw_crm}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        GRANT ALL ON contact, orders TO test_app;
        ALTER TABLE contact ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON contact USING (name = 'Name 3' OR email = 'u1@x.nl') WITH CHECK (name <> 'Name 4' AND length(name) < 20);
        CREATE POLICY no_delete ON contact AS RESTRICTIVE FOR DELETE USING (phone IS NULL);
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        CREATE POLICY of_contact ON orders USING (EXISTS (SELECT FROM contact c WHERE c.id = contact_id AND c.email <> mail));
        CREATE VIEW v_definer AS SELECT id, email, name FROM contact;
        CREATE VIEW v_invoker WITH (security_invoker) AS SELECT id, email, name FROM contact WHERE name <> 'nobody' WITH CHECK OPTION;
        CREATE VIEW v_nested WITH (security_barrier) AS SELECT * FROM v_invoker WHERE email <> 'u10@x.nl' WITH LOCAL CHECK OPTION;
        GRANT ALL ON v_definer, v_invoker, v_nested TO test_app;
    END LOOP;
END $$;
SET ROLE test_app;
SELECT s AS statement, rw.same(s) FROM unnest(ARRAY[
    'SELECT id, email, name FROM contact ORDER BY id', 'SELECT id FROM contact WHERE leaky(name) ORDER BY id', 'SELECT id, item FROM orders ORDER BY id', 'SELECT count(*) FROM orders o JOIN contact c ON c.email = o.mail',
    'UPDATE contact SET name = ''Name 4'' WHERE id = 3', 'UPDATE contact SET name = ''Name 33'' WHERE id = 10', 'UPDATE contact SET phone = ''r'' || phone WHERE id < 20 RETURNING id, phone', 'UPDATE contact SET name = ''Name 3'' WHERE id = 2',
    'INSERT INTO contact (id, email, name) VALUES (1000, ''p'', ''Name 4'')', 'INSERT INTO contact (id, email, name) VALUES (1000, ''p'', ''other'')', 'INSERT INTO contact (id, email, name) VALUES (1001, ''q'', ''other'') RETURNING id',
    'INSERT INTO contact (id, email, name) VALUES (3, ''p'', ''Name 3'') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name || ''x''',
    'INSERT INTO contact (id, email, name) VALUES (2, ''p2'', ''Name 3'') ON CONFLICT (id) DO UPDATE SET phone = ''no''',
    'MERGE INTO contact c USING (VALUES (3), (4)) v (i) ON c.id = v.i WHEN MATCHED THEN UPDATE SET nick = ''m'' WHEN NOT MATCHED THEN DO NOTHING',
    'MERGE INTO contact c USING (VALUES (3)) v (i) ON c.id = v.i WHEN MATCHED THEN DELETE',
    'DELETE FROM contact WHERE id IN (3, 24) RETURNING id', 'SELECT id FROM contact WHERE id > 20 ORDER BY id FOR UPDATE',
    'SELECT * FROM v_definer ORDER BY id', 'SELECT * FROM v_invoker ORDER BY id', 'SELECT * FROM v_nested WHERE leaky(name) ORDER BY id',
    'UPDATE v_nested SET name = ''nobody'' WHERE id = 17', 'UPDATE v_nested SET email = ''u10@x.nl'' WHERE id = 17', 'UPDATE v_nested SET name = ''Name 4'' WHERE id = 17', 'UPDATE v_nested SET name = ''Name 3'', email = ''nested'' WHERE id = 17 RETURNING *',
    'INSERT INTO v_nested VALUES (1002, ''n'', ''nobody'')', 'INSERT INTO v_nested VALUES (1003, ''nn'', ''Name 3'') RETURNING *', 'DELETE FROM v_nested WHERE email = ''nn'' RETURNING *',
    'SELECT * FROM contact ORDER BY id', 'SELECT count(*) FROM contact TABLESAMPLE SYSTEM (100)']) WITH ORDINALITY AS u (s, o) ORDER BY o;
-- what a policy lets through is decided on values, though a session sees none
SET gdpr.purpose = '';
SET search_path = rw_crm;
SELECT count(*) FROM contact;
INSERT INTO contact (id, email, name) VALUES (1010, 'x', 'Name 4');
COPY contact (id, name) TO STDOUT;
SET gdpr.purpose = 'rewrite';
COPY (SELECT id, name FROM contact ORDER BY id) TO STDOUT;
SELECT rw.same('SELECT email, name FROM contact WHERE name <> ''x'' ORDER BY id');
RESET ROLE;
SET search_path = public;
-- FORCE and BYPASSRLS
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{rw_plain,rw_crm}'::text[] LOOP
        EXECUTE format('ALTER TABLE %I.contact FORCE ROW LEVEL SECURITY', s);
    END LOOP;
END $$;
SELECT rw.same('SELECT count(*) FROM contact');
ALTER ROLE test_app BYPASSRLS;
SET ROLE test_app;
SELECT rw.same('SELECT id, name FROM contact ORDER BY id'), rw.same('UPDATE contact SET name = ''Name 4'' WHERE id = 10');
SET row_security = off;
SELECT rw.same('SELECT id, name FROM contact ORDER BY id');
RESET ROLE;
ALTER ROLE test_app NOBYPASSRLS;
SET ROLE test_app;
SELECT rw.same('SELECT id, name FROM contact ORDER BY id');
RESET ROLE;
RESET row_security;
SELECT * FROM rw.same_tables();
SET client_min_messages = warning;
DROP SCHEMA rw_plain, rw_crm, rw CASCADE;
SELECT gdpr.revoke_purpose('rewrite', 'test_other');
