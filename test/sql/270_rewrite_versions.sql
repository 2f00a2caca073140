-- What newer servers brought; an older one says what they say.
\getenv dir PG_ABS_SRCDIR
\set setup :dir '/sql/rewrite.inc'
\set ECHO none
\i :setup
\set ECHO all
\set VERBOSITY terse
CREATE FUNCTION rw.since(version integer, statement text, result text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN current_setting('server_version_num')::integer / 10000 < version THEN result ELSE rw.same(statement) END
$$;
-- MERGE: RETURNING, NOT MATCHED BY SOURCE
SELECT rw.since(17, $$MERGE INTO contact c USING orders o ON o.mail = c.email AND o.id < 9 WHEN MATCHED THEN UPDATE SET name = o.item RETURNING merge_action(), c.*, o.item$$, 'same: 8 rows');
SELECT rw.since(17, $$MERGE INTO contact c USING (SELECT id + 3 AS id, mail || 'x' AS mail, item FROM orders WHERE id BETWEEN 45 AND 48) s ON s.id = c.id WHEN MATCHED THEN UPDATE SET email = s.mail WHEN NOT MATCHED THEN INSERT (id, email, name) VALUES (s.id, s.mail, s.item) WHEN NOT MATCHED BY SOURCE AND c.name = 'Name 3' THEN UPDATE SET name = upper(c.name) RETURNING merge_action(), c.id, c.email, c.name$$, 'same: 10 rows');
SELECT rw.since(17, $$MERGE INTO v_before v USING (VALUES (20, 'through@view')) s (id, mail) ON s.id = v.id WHEN MATCHED THEN UPDATE SET email = s.mail RETURNING v.*$$, 'same: 1 rows');
SELECT rw.since(17, $$SELECT j.* FROM contact c, JSON_TABLE(c.note, '$' COLUMNS (k integer PATH '$.k', m text PATH '$.m')) j WHERE c.email LIKE 'u1%' ORDER BY j.k$$, 'same: 11 rows');
-- RETURNING OLD and NEW
SELECT rw.since(18, $$UPDATE contact SET name = name || '!', phone = NULL WHERE id IN (30, 31) RETURNING old.name, new.name, old, new.email, old.phone$$, 'same: 2 rows');
SELECT rw.since(18, $$INSERT INTO contact (id, email, name) VALUES (30, 'x', 'y'), (800, 'e800', 'z') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name || contact.name RETURNING old.name, new.name, old IS NULL, new$$, 'same: 2 rows');
SELECT rw.since(18, $$DELETE FROM contact WHERE email = 'e800' RETURNING old.name, new.name, old.home, new IS NULL$$, 'same: 1 rows');
SELECT rw.since(18, $$MERGE INTO contact c USING (VALUES (30), (801)) s (id) ON s.id = c.id WHEN MATCHED THEN UPDATE SET name = 'merged' WHEN NOT MATCHED THEN INSERT (id, email, name) VALUES (801, 'e801', 'new') RETURNING old.name, new.name, old.email, new.*$$, 'same: 2 rows');
SELECT rw.since(18, $$WITH u AS (UPDATE orders SET item = 'x' || id WHERE id = 5 RETURNING old.item AS was, new.item AS is) SELECT * FROM u$$, 'same: 1 rows');
SELECT relation, substring(result FROM '^\w+') AS result FROM rw.same_tables();
