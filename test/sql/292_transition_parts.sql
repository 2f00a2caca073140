-- A partitioned table, and one with children, while they are converted: step by step, in one session
CREATE DATABASE regression_transition_parts;
\c regression_transition_parts
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS created;
CREATE SCHEMA parts;
SET search_path = parts, public;
CREATE TABLE member (
    id integer,
    region text,
    email text NOT NULL,
    name text CHECK (name <> ''),
    PRIMARY KEY (id, region),
    UNIQUE (email, region)
) PARTITION BY LIST (region);
-- few rows on a page: a step converts one page; other attribute numbers than the root's
CREATE TABLE member_north PARTITION OF member FOR VALUES IN ('north') WITH (fillfactor = 10);
CREATE TABLE member_south (dropped text, name text CONSTRAINT member_name_check CHECK (name <> ''), email text NOT NULL, region text NOT NULL, id integer NOT NULL);
ALTER TABLE member_south DROP COLUMN dropped;
ALTER TABLE member ATTACH PARTITION member_south FOR VALUES IN ('south');
CREATE TABLE member_rest PARTITION OF member DEFAULT PARTITION BY HASH (region);
CREATE TABLE member_rest_0 PARTITION OF member_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE member_rest_1 PARTITION OF member_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO member SELECT i, CASE WHEN i < 9 THEN 'north' WHEN i < 17 THEN 'south' WHEN i < 21 THEN 'east' ELSE 'west' END, 'm' || i || '@x', repeat('Name ', 100) || i
FROM generate_series(1, 24) i;
CREATE TABLE member_before AS TABLE member;
SELECT gdpr.declare_subject('member');
SELECT gdpr.declare_column('member', 'email', 'contact', searchable => true);
SELECT gdpr.declare_column('member', 'name', 'contact');
SELECT gdpr.create_purpose('parts', 'contract', ARRAY['contact']);
SELECT gdpr.grant_purpose('parts', current_user);
SET gdpr.purpose = 'parts';

-- protect: some parts are sealed, one is half sealed, others are not
SELECT gdpr.protect_step('member', 1);
-- how the rows of each part are stored
CREATE FUNCTION forms() RETURNS TABLE (part text, open bigint, sealed bigint) LANGUAGE sql SET gdpr.physical = on AS $$
    SELECT m.tableoid::regclass::text, count(*) FILTER (WHERE m.gdpr_sealed IS NULL), count(m.gdpr_sealed) FROM parts.member m GROUP BY 1 ORDER BY 1
$$;
-- the rows that are other than they were, in the table or in a search
CREATE FUNCTION wrong() RETURNS TABLE (id integer, how text) LANGUAGE sql AS $$
    SELECT b.id, 'missing' FROM parts.member_before b WHERE (SELECT count(*) FROM parts.member m WHERE m = ROW(b.id, b.region, b.email, b.name, m.gdpr_sealed)) <> 1
    UNION ALL SELECT b.id, 'not found' FROM parts.member_before b WHERE b.id IS DISTINCT FROM (SELECT m.id FROM parts.member m WHERE m.email = b.email)
    UNION ALL SELECT m.id, 'new' FROM parts.member m WHERE NOT EXISTS (SELECT FROM parts.member_before b WHERE b.id = m.id)
$$;
CREATE PROCEDURE steps(n integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. n LOOP
        PERFORM gdpr.protect_step('parts.member', 1);
    END LOOP;
END $$;

CALL steps(3);
SELECT relation, what, phase, rows_done > 0 AS some_done, rows_done < 24 AS not_all, rows_estimated >= 0 AS estimated FROM gdpr.conversions;
SELECT count(*) FILTER (WHERE sealed > 0) > 0 AS some_sealed, count(*) FILTER (WHERE open > 0) > 2 AS some_open FROM forms();
SELECT * FROM wrong();
SELECT count(*), count(gdpr_sealed) > 0 AS has_envelopes, count(name) FROM member_north;
SET gdpr.purpose = '';
SELECT count(*), count(email), count(name) FROM member;
SET gdpr.purpose = 'parts';

-- rows move from parts that are sealed to parts that are not, and back; hidden from who moves them, too
UPDATE member SET region = 'south' WHERE id = 1;
UPDATE member SET region = 'north' WHERE id = 16;
CREATE TABLE noted (line text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO parts.noted VALUES (concat_ws(' ', TG_NAME, NEW.id, coalesce(NEW.email, 'hidden'), coalesce(right(NEW.name, 2), 'hidden')));
    RETURN NEW;
END $$;
CREATE TRIGGER arrives BEFORE INSERT ON member FOR EACH ROW EXECUTE FUNCTION note();
UPDATE member SET region = 'west' WHERE id = 3;
UPDATE member SET region = 'north' WHERE id = 3;
SET gdpr.purpose = '';
UPDATE member SET region = 'west' WHERE id = 2;
UPDATE member SET region = 'north' WHERE id IN (17, 18) RETURNING id, region, email, name;
SET gdpr.purpose = 'parts';
SELECT m.id, m.region, m.email, right(m.name, 2), m.tableoid::regclass FROM member m WHERE m.id IN (1, 2, 16, 17, 18) ORDER BY 1;
SELECT * FROM noted;
DROP TRIGGER arrives ON member;
UPDATE member m SET region = b.region FROM member_before b WHERE b.id = m.id AND m.region <> b.region;
SELECT * FROM wrong();
-- UNIQUE holds for rows that arrive, in whatever form: one is sealed, the other is not
INSERT INTO member VALUES (31, 'south', 'm1@x', 'new'), (32, 'north', 'm16@x', 'new'), (33, 'east', 'm16@x', 'new');
\set VERBOSITY terse
UPDATE member SET region = 'south' WHERE id = 1;
UPDATE member SET region = 'north' WHERE id = 31;
UPDATE member SET region = 'south' WHERE id = 32;
UPDATE member SET region = 'north' WHERE id = 16;
UPDATE member SET region = 'south' WHERE id = 33;
INSERT INTO member VALUES (34, 'north', 'm1@x', 'new');
INSERT INTO member VALUES (34, 'south', 'm16@x', 'new');
\set VERBOSITY default
INSERT INTO member VALUES (34, 'north', 'm1@x', 'new'), (34, 'south', 'm16@x', 'new') ON CONFLICT (email, region) DO UPDATE
    SET name = excluded.name || ' for ' || right(member.name, 2) RETURNING id, region, name;
UPDATE member m SET name = b.name FROM member_before b WHERE b.id = m.id AND b.id IN (1, 16);
DELETE FROM member WHERE id > 30;
SELECT * FROM wrong();
-- a partition that comes is there for new rows; one that holds rows is not attached
CREATE TABLE member_late PARTITION OF member FOR VALUES IN ('late');
INSERT INTO member VALUES (40, 'late', 'm40@x', 'late');
SELECT part, open, sealed FROM forms() WHERE part = 'member_late';
SELECT id, name FROM member WHERE email = 'm40@x';
CREATE TABLE member_full AS SELECT id, 'full' AS region, email, name FROM member_before LIMIT 1;
ALTER TABLE member ATTACH PARTITION member_full FOR VALUES IN ('full');
-- one that is detached, and one that is dropped
ALTER TABLE member DETACH PARTITION member_rest;
SELECT count(*), count(name) FROM member_rest;
CALL gdpr.unprotect('member_rest');
DROP TABLE member_late;
CALL gdpr.protect('member', 1);
SELECT count(*) FROM gdpr.conversions;
SELECT count(*) AS not_sealed FROM forms() WHERE open > 0;
SELECT count(*) FILTER (WHERE gdpr_sealed IS NULL), count(*), count(name) FROM member_rest;
ALTER TABLE member ATTACH PARTITION member_rest DEFAULT;
SELECT * FROM wrong();
SELECT c.relname, string_agg(t.tgname, ' ' ORDER BY t.tgname COLLATE "C") FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE t.tgname ~ 'gdpr' AND c.relname ~ '^member' GROUP BY 1 ORDER BY 1;
SELECT c.conrelid::regclass, pg_get_constraintdef(c.oid) ~ 'IS NULL' AS loose FROM pg_constraint c WHERE c.conname = 'gdpr_sealed_check' ORDER BY 1;
SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname ~ '^member' AND i.indexprs IS NOT NULL;

-- a table below is protected in batches, too; who is forgotten meanwhile is gone from parts that are not sealed
CREATE TABLE bill (id integer, member_id integer, region text, iban text, PRIMARY KEY (id, member_id),
    FOREIGN KEY (member_id, region) REFERENCES member ON UPDATE CASCADE) PARTITION BY HASH (member_id);
CREATE TABLE bill_0 PARTITION OF bill FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE bill_1 PARTITION OF bill FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO bill SELECT m.id, m.id, m.region, 'NL' || m.id FROM member m;
CREATE TABLE bill_before AS TABLE bill;
SELECT gdpr.declare_table('bill', via => 'member_id,region');
SELECT gdpr.declare_column('bill', 'iban', 'contact', searchable => true);
SELECT gdpr.protect_step('bill', 1);
SELECT gdpr.forget(gdpr.subject('member', '(3,north)')) IS NOT NULL AS forgotten;
SELECT gdpr.forget(gdpr.subject('member', '(4,north)')) IS NOT NULL AS forgotten;
SELECT count(*) FROM member WHERE id IN (3, 4);
SELECT count(*), count(iban) FROM bill WHERE id IN (3, 4);
CALL gdpr.protect('bill', 1);
SELECT count(*) FROM bill b JOIN bill_before o USING (id) WHERE b.iban = o.iban;
SELECT count(*) FROM member m JOIN bill b ON gdpr.subject_number(m.gdpr_sealed) = gdpr.subject_number(b.gdpr_sealed) AND b.id = m.id;
DELETE FROM member_before WHERE id IN (3, 4);

-- rotate_tokens
CALL gdpr.rotate_tokens(1);
SELECT count(*) FROM gdpr.conversions;
SELECT * FROM wrong();
SELECT id FROM bill WHERE iban = 'NL7';

-- unprotect, turned round halfway, then to its end
CALL gdpr.unprotect('bill', 1);
CREATE TABLE numbers AS SELECT id, gdpr.subject_number(gdpr_sealed) AS number FROM member;
SELECT gdpr.unprotect_step('member', 1) FROM generate_series(1, 5);
SELECT count(*) FILTER (WHERE sealed > 0) > 0 AS some_sealed, count(*) FILTER (WHERE open > 0) > 0 AS some_open FROM forms();
SELECT * FROM wrong();
UPDATE member SET region = 'south' WHERE id = 1;
UPDATE member SET region = 'north' WHERE id = 16;
UPDATE member m SET region = b.region FROM member_before b WHERE b.id = m.id AND m.region <> b.region;
SELECT * FROM wrong();
SELECT gdpr.protect_step('member', 1);
SELECT relation, what FROM gdpr.conversions;
SELECT * FROM wrong();
-- rows that moved while they were open have the numbers that they had
UPDATE member SET region = 'south' WHERE region = 'north';
CALL gdpr.protect('member');
SELECT count(*), count(*) FILTER (WHERE gdpr.subject_number(gdpr_sealed) <> number) AS other_number FROM member JOIN numbers USING (id);
UPDATE member m SET region = b.region FROM member_before b WHERE b.id = m.id AND m.region <> b.region;
CALL gdpr.unprotect('member', 3);
SELECT count(*) FROM (SELECT id, region, email, name FROM member_before EXCEPT TABLE member) a;
SELECT count(*) FROM (SELECT id, member_id, region, iban FROM bill_before WHERE id NOT IN (3, 4) EXCEPT TABLE bill) a;
SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid WHERE c.contype = 'c' AND r.relname ~ '^member_?' ORDER BY 1, 2;
SELECT count(*) FROM pg_attribute WHERE attname = 'gdpr_sealed' AND attrelid IN (SELECT oid FROM pg_class WHERE relname ~ '^(member|bill)');

-- inheritance: the root holds rows, too
CREATE TABLE animal (id integer PRIMARY KEY, owner text);
CREATE TABLE dog (PRIMARY KEY (id), bites boolean) INHERITS (animal);
INSERT INTO animal SELECT i, 'owner ' || i FROM generate_series(1, 3) i;
INSERT INTO dog SELECT i, 'owner ' || i, true FROM generate_series(4, 6) i;
SELECT gdpr.declare_subject('animal');
SELECT gdpr.declare_column('animal', 'owner', 'contact', searchable => true);
SELECT gdpr.protect_step('animal', 1);
SELECT gdpr.protect_step('animal', 1);
SELECT tableoid::regclass, count(*), count(gdpr_sealed), string_agg(owner, ', ' ORDER BY id) FROM animal GROUP BY 1 ORDER BY 1;
SELECT id FROM animal WHERE owner IN ('owner 2', 'owner 5') ORDER BY 1;
CALL gdpr.protect('animal', 1);
SELECT tableoid::regclass, count(*), count(gdpr_sealed), string_agg(owner, ', ' ORDER BY id) FROM animal GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM gdpr.conversions;
\c contrib_regression
DROP DATABASE regression_transition_parts;
