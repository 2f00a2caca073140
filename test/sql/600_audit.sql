-- The audit trail: who saw or changed whose data, whatever becomes of the transaction.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE audit_regress;
\c audit_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE au_app; CREATE ROLE au_mask; CREATE ROLE au_none; CREATE ROLE au_officer;
CREATE SCHEMA au; GRANT USAGE, CREATE ON SCHEMA au TO PUBLIC;
CREATE TABLE au.person (id integer PRIMARY KEY, email text, name text, stars integer);
CREATE TABLE au.orders (id integer PRIMARY KEY, person_id integer REFERENCES au.person, address text);
INSERT INTO au.person SELECT i, 'p' || i, 'Name ' || i, i FROM generate_series(1, 20) i;
INSERT INTO au.orders SELECT i, 1 + i % 20, 'Street ' || i FROM generate_series(1, 40) i;
SELECT gdpr.declare_subject('au.person'), gdpr.declare_column('au.person', 'email', 'contact', searchable => true, mask => 'email'),
       gdpr.declare_column('au.person', 'name', 'identity'),
       gdpr.declare_table('au.orders', via => 'person_id'), gdpr.declare_column('au.orders', 'address', 'contact');
SELECT gdpr.protect_now('au.person'), gdpr.protect_now('au.orders');
GRANT ALL ON au.person, au.orders TO PUBLIC;
SELECT gdpr.create_purpose('sales', 'contract', '{contact,identity}'), gdpr.create_purpose('other', 'contract', '{contact}');
SELECT gdpr.grant_purpose('sales', 'au_app', override => true), gdpr.grant_purpose('other', 'au_app'), gdpr.grant_purpose('sales', 'au_mask', mode => 'mask');
CREATE TABLE au.number AS SELECT id, gdpr.subject('au.person', id::text) AS number FROM au.person;

-- Records come when the worker has stored them: all that were made before a record of our own.
CREATE TABLE au.seen (record bigint); INSERT INTO au.seen VALUES (0);
CREATE PROCEDURE au.wait() LANGUAGE plpgsql AS $$
DECLARE
    mark text := 'mark ' || clock_timestamp();
BEGIN
    PERFORM set_config('gdpr.actor', mark, false), set_config('gdpr.purpose', 'sales', false), set_config('role', 'au_app', false);
    PERFORM name FROM au.person WHERE id = 20;
    COMMIT;
    PERFORM set_config('role', 'none', false);
    FOR i IN 1 .. 400 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.actor = mark) THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'records do not come';
END $$;
-- what was recorded since the last time, persons by the ids of their rows
CREATE FUNCTION au.records(OUT command text, OUT role text, OUT purpose text, OUT relation text, OUT columns text, OUT actions text,
                           OUT rows bigint, OUT persons text, OUT failed boolean, OUT outcome text) RETURNS SETOF record LANGUAGE sql AS $$
    WITH new AS (SELECT * FROM gdpr.audit_log WHERE record > (SELECT record FROM au.seen)),
    seen AS (UPDATE au.seen SET record = (SELECT max(record) FROM new))
    SELECT l.command, l.role, l.purpose, l.relation, array_to_string(l.columns, ','), array_to_string(l.actions, ','), l.rows,
           (SELECT string_agg(n.id::text, ',' ORDER BY n.id) FROM au.number n WHERE l.subjects @> n.number), l.failed,
           coalesce(l.outcome, (SELECT e.outcome FROM new e WHERE e.kind = 'end' AND e.transaction = l.transaction))
    FROM new l WHERE l.kind = 'access' AND l.actor IS DISTINCT FROM current_setting('gdpr.actor') AND l.command <> 'CALL' AND l.relation NOT LIKE 'gdpr.%' ORDER BY l.record
$$;
CALL au.wait(); SELECT count(*) > 0 AS before FROM au.records();
RESET gdpr.actor;

-- Ways to a value ------------------------------------------------------------------------------------
SET ROLE au_app; SET gdpr.purpose = 'sales';
SELECT count(name) FROM au.person WHERE id IN (1, 2, 3, 7);
SELECT name, email FROM au.person WHERE id = 4;
SELECT row_to_json(p)::jsonb - 'gdpr_sealed' AS p FROM au.person p WHERE id = 5;
SELECT p.name, o.address FROM au.person p JOIN au.orders o ON o.person_id = p.id WHERE p.id = 6 ORDER BY o.id;
SELECT id FROM au.person WHERE email = 'p8';
SELECT count(*) FROM au.person; -- nothing personal
SELECT count(name) FROM au.person WHERE id = 1000; -- nobody
COPY au.person (id, name) TO STDOUT (FORMAT csv, FORCE_QUOTE (name));
COPY (SELECT name FROM au.person WHERE id = 9) TO STDOUT;
SELECT name FROM au.person ORDER BY id LIMIT 2;
PREPARE q(integer) AS SELECT name FROM au.person WHERE id = $1;
EXECUTE q(10);
DO $$ BEGIN PERFORM name FROM au.person WHERE id = 11; PERFORM address FROM au.orders WHERE person_id = 11; END $$;
SET gdpr.purpose = 'other'; SELECT name, email FROM au.person WHERE id = 12; -- the name is not covered
RESET ROLE; CALL au.wait(); RESET gdpr.actor; SELECT * FROM au.records();

-- Writes ---------------------------------------------------------------------------------------------
SET ROLE au_app; SET gdpr.purpose = 'sales';
INSERT INTO au.person VALUES (30, 'p30', 'Name 30', 0);
UPDATE au.person SET name = 'New' WHERE id = 13;
UPDATE au.person SET name = 'New' WHERE id = 14 RETURNING email;
UPDATE au.orders SET person_id = 18 WHERE id = 16; -- of 17 before
DELETE FROM au.person WHERE id = 30 RETURNING name;
COPY au.orders FROM STDIN (FORMAT csv);
100,15,Elsewhere
\.
RESET ROLE; CALL au.wait(); RESET gdpr.actor; SELECT * FROM au.records();

-- Whatever becomes of it -----------------------------------------------------------------------------
SET ROLE au_app; SET gdpr.purpose = 'sales';
BEGIN; SELECT name FROM au.person WHERE id = 1; SELECT name FROM au.person WHERE id = 2; COMMIT;
BEGIN; SELECT name FROM au.person WHERE id = 3; ROLLBACK;
BEGIN; SAVEPOINT s; SELECT name FROM au.person WHERE id = 4; ROLLBACK TO s; COMMIT;
SELECT 1 / (length(name) - length(name)) FROM au.person WHERE id = 5;
BEGIN; SELECT 1 / (length(name) - length(name)) FROM au.person WHERE id = 6; ROLLBACK;
SET statement_timeout = '200ms'; SELECT name, pg_sleep(10) FROM au.person WHERE id = 7; RESET statement_timeout;
BEGIN; DECLARE c CURSOR FOR SELECT name FROM au.person WHERE id BETWEEN 8 AND 12 ORDER BY id; FETCH 2 FROM c; FETCH 1 FROM c; ROLLBACK;
DO $$ BEGIN PERFORM name FROM au.person WHERE id = 13; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
DO $$ BEGIN PERFORM name FROM au.person WHERE id = 14; ROLLBACK; PERFORM name FROM au.person WHERE id = 15; END $$;
RESET ROLE; CALL au.wait(); RESET gdpr.actor; SELECT * FROM au.records();

-- Masks, overrides, those who see nothing --------------------------------------------------------------
SELECT gdpr.restrict(number) IS NOT NULL AS restricted FROM au.number WHERE id = 16;
SET ROLE au_mask; SET gdpr.purpose = 'sales'; SELECT email FROM au.person WHERE id = 1;
RESET ROLE; RESET gdpr.purpose; SET ROLE au_none; SELECT email FROM au.person WHERE id = 2;
RESET ROLE; SET ROLE au_app; SET gdpr.purpose = 'sales'; SELECT name FROM au.person WHERE id = 16;
SET gdpr.override_reason = 'fire'; SELECT name FROM au.person WHERE id = 16; RESET gdpr.override_reason;
RESET ROLE; CALL au.wait(); RESET gdpr.actor; SELECT * FROM au.records();
SELECT override_reason FROM gdpr.audit_log WHERE override_reason IS NOT NULL;

-- Who forges records, or changes what stands in them -----------------------------------------------------
SET ROLE au_none;
SELECT count(pg_logical_emit_message(false, p, m)) FROM unnest(ARRAY['gdpr', E'gdpr\\000audit', 'gdpraudit', 'audit']) p,
    unnest(ARRAY['\x010101'::bytea, decode(repeat('01', 200), 'hex')]) m;
RESET ROLE; SET ROLE au_app;
DO $$ BEGIN
    PERFORM set_config('gdpr.purpose', 'sales', true), set_config('gdpr.actor', 'ann', true), set_config('gdpr.override_reason', 'flood', true);
    PERFORM name FROM au.person WHERE id = 16;
    PERFORM set_config('gdpr.actor', 'bob', true), set_config('gdpr.override_reason', 'none', true);
    PERFORM name FROM au.person WHERE id = 17;
    PERFORM set_config('gdpr.actor', '', true), set_config('gdpr.override_reason', '', true), set_config('gdpr.purpose', '', true);
END $$;
RESET ROLE; CALL au.wait(); RESET gdpr.actor;
SELECT l.actor, l.override_reason, l.purpose, (SELECT id FROM au.number n WHERE l.subjects @> n.number) FROM gdpr.audit_log l
WHERE record > (SELECT record FROM au.seen) AND command = 'DO' ORDER BY 1;
SELECT count(*) FROM au.records();

-- Parallel workers, partitions, many persons -----------------------------------------------------------
CREATE TABLE au.many (id integer, name text) PARTITION BY RANGE (id);
CREATE TABLE au.many_1 PARTITION OF au.many FOR VALUES FROM (0) TO (5000);
CREATE TABLE au.many_2 PARTITION OF au.many FOR VALUES FROM (5000) TO (20000);
ALTER TABLE au.many ADD PRIMARY KEY (id);
INSERT INTO au.many SELECT i, 'Name ' || i FROM generate_series(0, 9999) i;
SELECT gdpr.declare_subject('au.many'), gdpr.declare_column('au.many', 'name', 'identity'), gdpr.protect_now('au.many');
GRANT SELECT ON au.many, au.many_1 TO PUBLIC; ANALYZE au.many;
CALL au.wait(); RESET gdpr.actor; SELECT count(*) >= 0 AS skipped FROM au.records();
SET ROLE au_app; SET gdpr.purpose = 'sales';
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT count(name) FROM au.many;
RESET max_parallel_workers_per_gather;
SELECT count(name) FROM au.many_1 WHERE id < 100;
RESET ROLE; CALL au.wait(); RESET gdpr.actor;
-- workers leave records of their own, in the same transaction
SELECT l.command, l.relation, sum(l.rows) AS rows,
       (SELECT sum(upper(r) - lower(r)) FROM unnest(range_agg(l.subjects)) r) AS persons
FROM gdpr.audit_log l WHERE l.record > (SELECT record FROM au.seen) AND l.relation = 'au.many'
GROUP BY 1, 2, l.transaction ORDER BY 3 DESC;

-- What a person is told ------------------------------------------------------------------------------
SELECT role, purpose, relation, columns, actions, failed FROM gdpr.accesses((SELECT number FROM au.number WHERE id = 4));
SELECT count(*) FROM gdpr.accesses(NULL);

-- The chain ------------------------------------------------------------------------------------------
SELECT record = (SELECT max(record) FROM gdpr.audit_log) AS up_to_the_last, length(hash) FROM gdpr.audit_digest();
SELECT * FROM gdpr.verify_audit();
SELECT record AS digest, hash FROM gdpr.audit_digest() \gset
SELECT * FROM gdpr.verify_audit(:digest, :'hash');
SELECT problem FROM gdpr.verify_audit(:digest, sha256('x'));
SELECT first_record = :digest + 1 AS that, problem FROM gdpr.verify_audit(:digest + 1, :'hash');
SELECT * FROM gdpr.verify_audit(:digest);
-- some blocks, small ones are merged now and then
CREATE PROCEDURE au.make_blocks() LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT count(*) FROM gdpr.audit_block) NOT BETWEEN 5 AND 10 LOOP
        CALL au.wait();
    END LOOP;
END $$;
CALL au.make_blocks(); RESET gdpr.actor;
CREATE TABLE au.digest AS SELECT record AS digest, hash FROM gdpr.audit_digest();
CREATE FUNCTION au.tampered(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        RETURN QUERY SELECT DISTINCT regexp_replace(problem, '\d+', 'n', 'g') FROM gdpr.verify_audit((SELECT digest FROM au.digest), (SELECT hash FROM au.digest)) ORDER BY 1;
        RAISE EXCEPTION 'undo';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
END $$;
SELECT au.tampered($$UPDATE gdpr.audit_block SET content = set_byte(content, 40, get_byte(content, 40) # 1) WHERE first_record = 1$$) AS changed;
SELECT au.tampered($$UPDATE gdpr.audit_block SET content = substr(content, 1, length(content) - 1) WHERE first_record = 1$$) AS cut;
SELECT au.tampered($$UPDATE gdpr.audit_chain SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE first_record = 1$$) AS hash;
SELECT au.tampered($$DELETE FROM gdpr.audit_chain WHERE first_record = (SELECT min(first_record) FROM gdpr.audit_chain WHERE first_record > 1)$$) AS deleted;
SELECT au.tampered($$UPDATE gdpr.audit_block b SET content = o.content FROM gdpr.audit_block o
    WHERE b.first_record = 1 AND o.first_record = (SELECT min(first_record) FROM gdpr.audit_block WHERE first_record > 1)$$) AS exchanged;
SELECT au.tampered($$DELETE FROM gdpr.audit_chain WHERE first_record + records > (SELECT digest FROM au.digest)$$) AS last_deleted;
SELECT au.tampered($$DELETE FROM gdpr.audit_block WHERE first_record = 1$$) AS block_deleted;
SELECT au.tampered($$INSERT INTO gdpr.audit_block SELECT month, 1000000, records, first_at, last_at, persons, content FROM gdpr.audit_block LIMIT 1$$) AS inserted;
-- whatever blocks it is cut into, a digest of any record holds
DO $$
DECLARE
    h bytea := decode(repeat('00', 32), 'hex');
    n bigint := 1;
    b record;
BEGIN
    FOR b IN SELECT * FROM gdpr.audit_block ORDER BY first_record LIMIT 20 LOOP
        FOR i IN 1 .. b.records LOOP
            IF EXISTS (SELECT FROM gdpr.verify_audit(n, gdpr.audit_hash(h, b.content, i))) THEN
                RAISE 'record % does not verify', n;
            END IF;
            n := n + 1;
        END LOOP;
        h := gdpr.audit_hash(h, b.content);
    END LOOP;
    IF NOT EXISTS (SELECT FROM gdpr.verify_audit(n - 2, h)) THEN
        RAISE 'any digest will do';
    END IF;
END $$;
SELECT count(*) < 32 AS small_blocks_were_merged FROM gdpr.audit_block;
-- a month that is dropped
SELECT au.tampered(format('DROP TABLE gdpr.%I', c.relname)) AS dropped FROM pg_class c WHERE c.relname ~ '^audit_block_\d+_\d+$';

-- Who may read it ------------------------------------------------------------------------------------
SET ROLE au_officer;
SELECT count(*) FROM gdpr.audit_log;
SELECT count(*) FROM gdpr.audit_block;
SELECT count(*) FROM gdpr.accesses(65536);
SELECT * FROM gdpr.audit_digest();
RESET ROLE; GRANT USAGE ON SCHEMA gdpr TO au_officer; GRANT SELECT ON gdpr.audit_log TO au_officer; GRANT EXECUTE ON FUNCTION gdpr.accesses TO au_officer; GRANT SELECT ON au.number TO au_officer;
SET ROLE au_officer;
SELECT count(*) > 20 AS read FROM gdpr.audit_log;
SELECT count(*) > 0 AS read FROM gdpr.accesses((SELECT number FROM au.number WHERE id = 4));
RESET ROLE;
\c :before
DROP DATABASE audit_regress;
DROP ROLE au_app, au_mask, au_none, au_officer;
