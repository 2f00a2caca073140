-- Rows whose partition key changes, but not their partition: the partition's constraint is asked again and again
-- in a session, and what holds for rows that stay (NOT NULL, CHECK on values) holds for these.
SET client_min_messages = warning;
CREATE SCHEMA keys;
SET search_path = keys, public;
CREATE TABLE person (id integer, region text, name text NOT NULL CHECK (name <> ''), filler text, PRIMARY KEY (id, region)) PARTITION BY RANGE (region);
CREATE TABLE person_low PARTITION OF person FOR VALUES FROM ('a') TO ('o');
CREATE TABLE person_rest PARTITION OF person FOR VALUES FROM ('o') TO (MAXVALUE);
INSERT INTO person SELECT i, (ARRAY['nl', 'be', 'lu', 'se'])[1 + i % 4], 'Name ' || i FROM generate_series(1, 40) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('keys.person');
    PERFORM gdpr.declare_column('keys.person', 'name', 'contact');
    PERFORM gdpr.protect_now('keys.person');
    PERFORM gdpr.create_purpose('keys', 'contract', '{contact}');
    PERFORM gdpr.grant_purpose('keys', current_user);
END $$;
SET gdpr.purpose = 'keys';
-- each row more than once, with rows of other sizes between
UPDATE person SET region = CASE region WHEN 'nl' THEN 'be' WHEN 'be' THEN 'lu' ELSE 'nl' END, filler = repeat('x', id * 50) WHERE region <> 'se';
UPDATE person SET region = CASE region WHEN 'nl' THEN 'be' WHEN 'be' THEN 'lu' ELSE 'nl' END, name = name || '!' WHERE region <> 'se';
SELECT tableoid::regclass, count(*), count(name) FROM person GROUP BY 1 ORDER BY 1;
\set VERBOSITY terse
UPDATE person SET region = CASE region WHEN 'nl' THEN 'be' ELSE 'nl' END, name = CASE WHEN id = 36 THEN '' ELSE name END WHERE region <> 'se';
UPDATE person SET region = CASE region WHEN 'nl' THEN 'be' ELSE 'nl' END, name = CASE WHEN id = 36 THEN NULL ELSE name END WHERE region <> 'se';
UPDATE person SET region = CASE region WHEN 'se' THEN 'uk' ELSE 'se' END, name = CASE WHEN id = 39 THEN '' ELSE name END;
\set VERBOSITY default
UPDATE person SET region = CASE region WHEN 'se' THEN 'nl' ELSE 'se' END WHERE id > 30;
SELECT tableoid::regclass, count(*), count(name) FROM person GROUP BY 1 ORDER BY 1;
RESET gdpr.purpose;
RESET search_path;
DROP SCHEMA keys CASCADE;
SELECT gdpr.drop_purpose('keys');
