-- What a session keeps does not grow with what it does: thousands of reads,
-- searches, writes and errors, after as many to warm up.
SET client_min_messages = error;
CREATE SCHEMA memory;
CREATE TABLE memory.person (id int PRIMARY KEY, email text UNIQUE, name text, born date);
CREATE TABLE memory.bill (id int PRIMARY KEY, person_id int REFERENCES memory.person, address text);
INSERT INTO memory.person SELECT i, 'mail' || i, 'Name ' || i, '1970-01-01' FROM generate_series(1, 2000) i;
INSERT INTO memory.bill SELECT i, i, 'Street ' || i FROM generate_series(1, 2000) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('memory.person');
    PERFORM gdpr.declare_column('memory.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_column('memory.person', 'name', 'contact');
    PERFORM gdpr.declare_column('memory.person', 'born', 'contact');
    PERFORM gdpr.declare_table('memory.bill', via => 'person_id');
    PERFORM gdpr.declare_column('memory.bill', 'address', 'contact');
    PERFORM gdpr.protect_now('memory.person');
    PERFORM gdpr.protect_now('memory.bill');
    PERFORM gdpr.create_purpose('memory_all', 'contract', ARRAY['contact']);
    PERFORM gdpr.grant_purpose('memory_all', current_user);
END $$;
SET gdpr.purpose = 'memory_all';
-- each round is a transaction: of caches, what belongs to a transaction goes with it
CREATE PROCEDURE memory.work(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    person memory.person;
    n int;
BEGIN
    FOR i IN 1 .. rounds LOOP
        FOR k IN 1 .. 10 LOOP
            n := (i * 10 + k) % 2000 + 1;
            SELECT * INTO person FROM memory.person WHERE id = n;
            SELECT * INTO person FROM memory.person WHERE email = 'mail' || n;
            UPDATE memory.person SET name = 'Name ' || i WHERE id = n;
            UPDATE memory.bill SET address = 'Street', person_id = n WHERE id = n % 50 + 1;
            INSERT INTO memory.person (id, name) VALUES (n + 100000, 'New ' || n);
            DELETE FROM memory.person WHERE id = n + 100000;
            PERFORM count(*) FROM memory.person p JOIN memory.bill b ON b.person_id = p.id WHERE p.id = n AND b.address <> 'x';
        END LOOP;
        BEGIN
            INSERT INTO memory.person VALUES (1, 'x', 'y', '2000-01-01');
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
        BEGIN
            UPDATE memory.person SET born = 'x' || n WHERE id = n;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        BEGIN
            PERFORM set_config('gdpr.purpose', 'nosuch', true);
            SELECT * INTO person FROM memory.person WHERE id = n;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        COMMIT;
    END LOOP;
END $$;
CREATE TABLE memory.seen (n int GENERATED ALWAYS AS IDENTITY, ours bigint, long_lived bigint);
CREATE PROCEDURE memory.look() LANGUAGE sql AS $$
    INSERT INTO memory.seen (ours, long_lived)
    SELECT sum(total_bytes) FILTER (WHERE name LIKE 'gdpr%'),
           sum(total_bytes) FILTER (WHERE name IN ('TopMemoryContext', 'CacheMemoryContext') OR level = least AND name NOT LIKE 'Message%')
    FROM pg_backend_memory_contexts, (SELECT min(level) + 1 AS least FROM pg_backend_memory_contexts) top
$$;
CALL memory.work(25);
CALL memory.look();
CALL memory.work(25);
CALL memory.look();
CALL memory.work(50);
CALL memory.look();
SELECT b.n, greatest(b.ours - a.ours, 0) AS ours_grown, abs(b.long_lived - a.long_lived) < 100000 AS long_lived_the_same,
       b.ours < 16 * 1024 * 1024 AS below_16_mb
FROM memory.seen a JOIN memory.seen b ON b.n = a.n + 1 ORDER BY b.n;
RESET gdpr.purpose;
DROP SCHEMA memory CASCADE;
SELECT gdpr.drop_purpose('memory_all');
