-- Partitions and inheritance children that come and go; the way back.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS mb, mb_plain CASCADE;
CREATE SCHEMA mb;
CREATE SCHEMA mb_plain;
-- What a schema looks like to its owner.
CREATE FUNCTION mb.shape(s text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s %s %s%s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, a.attislocal, a.attinhcount)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = s::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT format('%s %s %s %s %s', c.conrelid::regclass::name, c.conname, pg_get_constraintdef(c.oid), c.conislocal, c.coninhcount)
    FROM pg_constraint c WHERE c.connamespace = s::regnamespace AND c.contype = 'c'
    UNION ALL SELECT format('%s %s', t.tgrelid::regclass::name, t.tgname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = s::regnamespace AND NOT t.tgisinternal
    UNION ALL SELECT c.relname FROM pg_class c WHERE c.relnamespace = s::regnamespace AND c.relkind IN ('i', 'I')
$$;
CREATE FUNCTION mb.differences() RETURNS SETOF text LANGUAGE sql AS $$
    (SELECT 'only plain: ' || replace(s, 'mb_plain.', '') FROM mb.shape('mb_plain') s EXCEPT ALL SELECT 'only plain: ' || replace(s, 'mb.', '') FROM mb.shape('mb') s)
    UNION ALL
    (SELECT 'only protected: ' || replace(s, 'mb.', '') FROM mb.shape('mb') s EXCEPT ALL SELECT 'only protected: ' || replace(s, 'mb_plain.', '') FROM mb.shape('mb_plain') s)
    ORDER BY 1
$$;
DO $$
DECLARE
    s text;
BEGIN
    FOREACH s IN ARRAY '{mb_plain,mb}'::text[] LOOP
        PERFORM set_config('search_path', s || ', public', true);
        CREATE TABLE visit (id integer, day date, name text, mail text, CHECK (length(name) < 30) NOT VALID, CHECK (mail <> ''), CHECK (id > 0), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE visit_1 PARTITION OF visit (CHECK (name <> 'never'), CONSTRAINT both_columns CHECK (mail <> name)) FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
        CREATE TABLE visit_2 (mail text, gone integer, name text, day date NOT NULL, id integer NOT NULL, CONSTRAINT visit_name_check CHECK (length(name) < 30), CONSTRAINT visit_mail_check CHECK (mail <> ''), CONSTRAINT visit_id_check CHECK (id > 0));
        ALTER TABLE visit_2 DROP COLUMN gone;
        INSERT INTO visit_2 VALUES ('m2@x', 'Two', '2024-02-02', 2), ('m22@x', 'Twenty-two', '2024-02-22', 22);
        ALTER TABLE visit ATTACH PARTITION visit_2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
        INSERT INTO visit VALUES (1, '2024-01-01', 'One', 'm1@x');

        CREATE TABLE animal (id integer PRIMARY KEY, owner text NOT NULL, chip text, CHECK (owner <> ''), CONSTRAINT here CHECK (chip <> 'x') NO INHERIT);
        CREATE TABLE dog (breed text, CONSTRAINT animal_owner_check CHECK (owner <> ''), CHECK (chip <> 'cat'), PRIMARY KEY (id)) INHERITS (animal);
        CREATE TABLE puppy (months integer, PRIMARY KEY (id)) INHERITS (dog);
        CREATE TABLE cat (lives integer, chip text, owner text NOT NULL, id integer NOT NULL, CONSTRAINT animal_owner_check CHECK (owner <> ''));
        ALTER TABLE cat INHERIT animal;
        INSERT INTO animal VALUES (1, 'Ann', 'a1');
        INSERT INTO dog VALUES (2, 'Ben', 'd2', 'terrier');
        INSERT INTO puppy VALUES (3, 'Cas', 'p3', 'poodle', 3);
        INSERT INTO cat VALUES (9, 'c4', 'Dan', 4);
    END LOOP;
END $$;
SELECT gdpr.declare_subject('mb.visit');
SELECT gdpr.declare_column('mb.visit', 'name', 'contact');
SELECT gdpr.declare_column('mb.visit', 'mail', 'contact', searchable => true);
SELECT gdpr.declare_subject('mb.animal');
SELECT gdpr.declare_column('mb.animal', 'owner', 'contact');
SELECT gdpr.declare_column('mb.animal', 'chip', 'contact', searchable => true);
RESET client_min_messages;
SELECT gdpr.create_purpose('mb', 'contract', '{contact}');
SELECT gdpr.grant_purpose('mb', current_user);
SET gdpr.purpose = 'mb';
\pset format unaligned
\pset tuples_only on
SELECT * FROM mb.differences();
-- what cannot be declared, and why
SELECT gdpr.declare_subject('mb.visit_1');
SELECT gdpr.declare_subject('mb.puppy', key => 'id');
SELECT gdpr.protect_now('mb.visit');
SELECT gdpr.protect_now('mb.animal');
SELECT gdpr.declare_subject('mb.dog');
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit_1'); END $$;
-- there and back: everything is as it was
SELECT relation, name, local FROM gdpr.mapped_check WHERE relation::text LIKE 'mb.%' ORDER BY relation::text COLLATE "C", name;
BEGIN;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit'); END $$;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.animal'); END $$;
SELECT * FROM mb.differences();
SELECT * FROM mb.visit ORDER BY id;
SELECT tableoid::regclass, * FROM mb.animal ORDER BY id;
SELECT count(*) FROM gdpr.mapped_member WHERE relation::text LIKE 'mb.%';
ROLLBACK;
-- new partitions are protected from their first row
CREATE TABLE mb.visit_3 PARTITION OF mb.visit FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
CREATE TABLE mb.visit_4 PARTITION OF mb.visit FOR VALUES FROM ('2024-04-01') TO ('2024-05-01') PARTITION BY HASH (id);
CREATE TABLE mb.visit_4_0 PARTITION OF mb.visit_4 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE IF NOT EXISTS mb.visit_3 PARTITION OF mb.visit FOR VALUES FROM ('2024-03-01') TO ('2024-04-01');
INSERT INTO mb.visit VALUES (3, '2024-03-03', 'Three', 'm3@x'), (4, '2024-04-04', 'Four', 'm4@x');
INSERT INTO mb.visit_3 VALUES (33, '2024-03-04', repeat('long', 10), 'm33@x');
INSERT INTO mb.visit_4 VALUES (44, '2024-04-04', 'Four', '');
UPDATE mb.visit SET day = '2024-01-04', name = 'never' WHERE id = 4;
UPDATE mb.visit SET day = '2024-02-04' WHERE id = 4;
SELECT tableoid::regclass, id, name, mail FROM mb.visit ORDER BY id;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'mb.visit_4_0'::regclass ORDER BY 1;
CREATE TABLE mb.visit_5 PARTITION OF mb.visit (name NOT NULL) FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
CREATE TABLE mb.visit_5 PARTITION OF mb.visit (UNIQUE (name)) FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
CREATE TABLE mb.visit_5 PARTITION OF mb.visit (CHECK (name <> 'x')) FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
CREATE TABLE mb.visit_5 PARTITION OF mb.visit FOR VALUES FROM ('2024-05-01') TO ('2024-06-01') PARTITION BY LIST (mail);
-- a table with rows is sealed when it is attached
CREATE TABLE mb.visit_6 (mail text, name text, extra integer, id integer NOT NULL, day date NOT NULL);
INSERT INTO mb.visit_6 SELECT 'm6' || i, 'Six ' || i, 0, 60 + i, '2024-06-06' FROM generate_series(1, 3) i;
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_6 FOR VALUES FROM ('2024-06-01') TO ('2024-07-01');
\set VERBOSITY default
ALTER TABLE mb.visit_6 DROP COLUMN extra, ADD CONSTRAINT visit_id_check CHECK (id > 0), ADD CONSTRAINT visit_mail_check CHECK (mail <> '');
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_6 FOR VALUES FROM ('2024-06-01') TO ('2024-07-01');
\set VERBOSITY terse
ALTER TABLE mb.visit_6 ADD CONSTRAINT visit_name_check CHECK (length(name) < 30), ADD CONSTRAINT six CHECK (name LIKE 'Six%');
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_6 FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
SELECT count(*) FROM mb.visit_6 WHERE name LIKE 'Six%';
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_6 FOR VALUES FROM ('2024-06-01') TO ('2024-07-01');
SELECT id, name, mail FROM mb.visit WHERE day > '2024-06-01' ORDER BY id;
SELECT id FROM mb.visit WHERE mail = 'm62';
UPDATE mb.visit SET day = '2024-06-01' WHERE id = 3;
SET gdpr.physical = on;
SELECT count(*) FROM mb.visit_6 WHERE name IS NULL AND mail NOT LIKE 'm6%' AND gdpr_sealed IS NOT NULL;
RESET gdpr.physical;
-- only its owner's: others have PostgreSQL's error, and nothing is sealed
CREATE TABLE mb.visit_7 (id integer NOT NULL, day date NOT NULL, name text, mail text, CONSTRAINT visit_name_check CHECK (length(name) < 30), CONSTRAINT visit_id_check CHECK (id > 0), CONSTRAINT visit_mail_check CHECK (mail <> ''));
ALTER TABLE mb.visit_7 OWNER TO test_other;
GRANT ALL ON SCHEMA mb TO test_other;
SET ROLE test_other;
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_7 FOR VALUES FROM ('2024-07-01') TO ('2024-08-01');
RESET ROLE;
SELECT count(*) FROM pg_attribute WHERE attrelid = 'mb.visit_7'::regclass AND attname = 'gdpr_sealed';
-- of another protected table: refused, with the way
\set VERBOSITY default
SELECT gdpr.declare_subject('mb.visit_7', key => 'id');
ALTER TABLE mb.visit_7 ADD PRIMARY KEY (id);
SELECT gdpr.declare_subject('mb.visit_7');
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_7 FOR VALUES FROM ('2024-07-01') TO ('2024-08-01');
SELECT gdpr.declare_column('mb.visit_7', 'name', 'contact');
SELECT gdpr.protect_now('mb.visit_7');
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_7 FOR VALUES FROM ('2024-07-01') TO ('2024-08-01');
CREATE TABLE mb.plain (LIKE mb.visit_7) PARTITION BY RANGE (day);
ALTER TABLE mb.plain ATTACH PARTITION mb.visit_7 FOR VALUES FROM ('2024-07-01') TO ('2024-08-01');
\set VERBOSITY terse
ALTER TABLE mb.visit_7 INHERIT mb.animal;
CREATE TABLE mb.both () INHERITS (mb.animal, mb_plain.animal);
DROP TABLE mb.visit_7, mb.plain;
-- detached: still protected, by the same declarations
ALTER TABLE mb.visit DETACH PARTITION mb.visit_2;
ALTER TABLE mb.visit DETACH PARTITION mb.visit_6 CONCURRENTLY;
SELECT id, name, mail FROM mb.visit_2 ORDER BY id;
SELECT id FROM mb.visit_2 WHERE mail = 'm22@x';
INSERT INTO mb.visit_2 (id, day, name, mail) VALUES (222, '2029-01-01', 'free of bounds', 'm222@x');
INSERT INTO mb.visit_2 (id, day, name, mail) VALUES (223, '2029-01-01', repeat('long', 10), 'm223@x');
INSERT INTO mb.visit_6 (id, day, name, mail) VALUES (64, '2024-06-06', 'not that', 'm64');
SELECT conname, conislocal, coninhcount FROM pg_constraint WHERE conrelid IN ('mb.visit_2'::regclass, 'mb.visit_6'::regclass) AND contype = 'c' ORDER BY conrelid, 1;
SELECT id, name FROM mb.visit ORDER BY id;
SELECT relation, count(*) FROM gdpr.find_subjects('m22@x') GROUP BY 1;
SELECT gdpr.subject('mb.visit_2', '(2,02-02-2024)') > 65535;
-- names are shared
ALTER TABLE mb.visit RENAME COLUMN mail TO email;
ALTER TABLE mb.visit_2 RENAME COLUMN mail TO email;
-- and back again, or to a table of its own
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_6 FOR VALUES FROM ('2024-06-01') TO ('2024-07-01');
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit_2'); END $$;
SELECT * FROM mb.visit_2 ORDER BY id;
SELECT conname, pg_get_constraintdef(oid), conislocal FROM pg_constraint WHERE conrelid = 'mb.visit_2'::regclass AND contype = 'c' ORDER BY 1;
ALTER TABLE mb.visit RENAME COLUMN mail TO email;
SELECT relation, name, expression FROM gdpr.mapped_check WHERE relation::text LIKE 'mb.visit%' ORDER BY relation::text COLLATE "C", name;
UPDATE mb.visit SET email = '' WHERE id = 1;
ALTER TABLE mb.visit RENAME COLUMN email TO mail;
-- persons keep their numbers through it
SELECT gdpr.subject('mb.visit', '(62,06-06-2024)') AS number \gset
DELETE FROM mb.visit_2 WHERE id = 222;
ALTER TABLE mb.visit ATTACH PARTITION mb.visit_2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
ALTER TABLE mb.visit DETACH PARTITION mb.visit_6;
-- forgotten in all partitions, also detached ones (tables of other tests draw warnings)
SET client_min_messages = error;
SELECT gdpr.forget(:number) IS NOT NULL;
SELECT relations FROM gdpr.erasure WHERE subject = :number;
SELECT id, name FROM mb.visit_6 ORDER BY id;
SELECT gdpr.forget(gdpr.subject('mb.visit', '(22,02-22-2024)')) IS NOT NULL;
SELECT id, name FROM mb.visit ORDER BY id;
RESET client_min_messages;
-- dropped: its members leave the map; a detached one takes the table's place
DROP TABLE mb.visit_4;
SELECT relation FROM gdpr.mapped_relation WHERE relation::text LIKE 'mb.visit%' ORDER BY relation::text COLLATE "C";
BEGIN;
DROP TABLE mb.visit;
SELECT relation, is_root FROM gdpr.mapped_relation WHERE relation::text LIKE 'mb.visit%';
SELECT id, name FROM mb.visit_6 ORDER BY id;
INSERT INTO mb.visit_6 (id, day, name, mail) VALUES (65, '2024-06-06', 'Six 5', 'm65') RETURNING name;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit_6'); END $$;
SELECT * FROM mb.visit_6 ORDER BY id;
ROLLBACK;
-- unprotect reaches what was detached
BEGIN;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit'); END $$;
SELECT * FROM mb.visit_6 ORDER BY id;
SELECT * FROM mb.visit ORDER BY id;
ROLLBACK;
-- inheritance
SELECT tableoid::regclass, id, owner, chip FROM mb.animal ORDER BY id;
SELECT id, owner, chip FROM ONLY mb.animal;
SELECT id, owner, chip, breed, months FROM mb.puppy;
SELECT a.id, (a).owner FROM mb.animal a WHERE chip = 'c4';
UPDATE mb.animal SET owner = owner || '!' WHERE id > 2 RETURNING tableoid::regclass, owner;
INSERT INTO mb.dog (id, owner, chip, breed) VALUES (20, 'Eve', 'cat', 'boxer');
INSERT INTO mb.puppy (id, owner, chip, breed) VALUES (20, 'Eve', 'cat', 'boxer');
INSERT INTO mb.cat (id, owner, chip) VALUES (21, 'Fay', 'cat'), (22, NULL, 'x');
INSERT INTO mb.cat (id, owner, chip) VALUES (21, 'Fay', 'cat'), (22, 'Gus', 'x') RETURNING owner, chip;
INSERT INTO mb.animal VALUES (23, 'Gus', 'x');
DELETE FROM mb.animal WHERE chip = 'x' RETURNING tableoid::regclass, owner;
CREATE TABLE mb.kitten (weeks integer) INHERITS (mb.cat);
INSERT INTO mb.kitten (id, owner, chip) VALUES (30, 'Hal', 'k30');
CREATE TABLE mb.bird (id integer NOT NULL, owner text NOT NULL, chip text, CONSTRAINT animal_owner_check CHECK (owner <> ''));
INSERT INTO mb.bird VALUES (40, 'Ida', 'b40');
ALTER TABLE mb.bird INHERIT mb.animal;
SELECT tableoid::regclass, id, owner FROM mb.animal WHERE id >= 30 ORDER BY id;
SELECT gdpr.subject('mb.kitten', '30') AS kitten, gdpr.subject('mb.bird', '40') AS bird \gset
ALTER TABLE mb.kitten NO INHERIT mb.cat;
SELECT owner FROM mb.kitten;
SET client_min_messages = error;
SELECT gdpr.forget(:kitten) IS NOT NULL, gdpr.forget(:bird) IS NOT NULL;
RESET client_min_messages;
SELECT count(*) FROM mb.kitten;
SELECT tableoid::regclass, id FROM mb.animal ORDER BY id;
ALTER TABLE mb.animal ADD COLUMN note text;
ALTER TABLE mb.animal RENAME COLUMN owner TO keeper;
DROP TABLE mb.kitten;
ALTER TABLE mb.animal RENAME COLUMN owner TO keeper;
SELECT id, keeper, chip FROM mb.animal ORDER BY id;
ALTER TABLE mb.animal RENAME COLUMN keeper TO owner;
ALTER TABLE mb.animal DROP COLUMN note;
DROP TABLE mb.bird;
CREATE TEMP TABLE hidden () INHERITS (mb.animal);
-- as it was, but for what was changed
DROP TABLE mb.visit_3, mb.visit_6;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.visit'); END $$;
DO $$ BEGIN PERFORM gdpr.unprotect_now('mb.animal'); END $$;
SELECT * FROM mb.differences();
SELECT tableoid::regclass, * FROM mb.animal ORDER BY id;
-- what a tree must not have
\set VERBOSITY default
SET client_min_messages = warning;
CREATE TABLE mb.someone (id integer PRIMARY KEY);
SELECT gdpr.declare_subject('mb.someone');
SELECT gdpr.protect_now('mb.someone');
CREATE TABLE mb.bad (someone integer REFERENCES mb.someone, day date, name text, mail text) PARTITION BY RANGE (day);
SELECT gdpr.declare_table('mb.bad', via => 'someone');
SELECT gdpr.declare_column('mb.bad', c, 'contact') FROM unnest('{name,mail}'::text[]) c;
RESET client_min_messages;
CREATE TABLE mb.bad_1 PARTITION OF mb.bad DEFAULT PARTITION BY RANGE (lower(name));
SELECT gdpr.protect_now('mb.bad');
DROP TABLE mb.bad_1;
CREATE TABLE mb.bad_1 PARTITION OF mb.bad DEFAULT PARTITION BY HASH (mail);
SELECT gdpr.protect_now('mb.bad');
DROP TABLE mb.bad_1;
CREATE TABLE mb.bad_1 PARTITION OF mb.bad (name NOT NULL) DEFAULT;
SELECT gdpr.protect_now('mb.bad');
DROP TABLE mb.bad_1;
CREATE TABLE mb.bad_1 PARTITION OF mb.bad DEFAULT;
CREATE UNIQUE INDEX bad_name ON mb.bad_1 (name);
SELECT gdpr.protect_now('mb.bad');
DROP INDEX mb.bad_name;
CREATE RULE r AS ON DELETE TO mb.bad_1 DO INSTEAD NOTHING;
SELECT gdpr.protect_now('mb.bad');
DROP RULE r ON mb.bad_1;
SET client_min_messages = error;
CREATE FOREIGN DATA WRAPPER mb_wrapper;
CREATE SERVER mb_server FOREIGN DATA WRAPPER mb_wrapper;
RESET client_min_messages;
CREATE FOREIGN TABLE mb.bad_2 PARTITION OF mb.bad FOR VALUES FROM ('2000-01-01') TO ('2001-01-01') SERVER mb_server;
SELECT gdpr.protect_now('mb.bad');
DROP FOREIGN TABLE mb.bad_2;
SELECT gdpr.protect_now('mb.bad');
CREATE FOREIGN TABLE mb.bad_2 PARTITION OF mb.bad FOR VALUES FROM ('2000-01-01') TO ('2001-01-01') SERVER mb_server;
CREATE FOREIGN TABLE mb.bad_2 (someone integer, day date, name text, mail text) SERVER mb_server;
ALTER TABLE mb.bad ATTACH PARTITION mb.bad_2 FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
DROP FOREIGN DATA WRAPPER mb_wrapper CASCADE;
DROP TABLE mb.bad;
SELECT count(*) FROM gdpr.mapped_relation WHERE relation::text LIKE 'mb.bad%';
\set VERBOSITY terse
-- a part that was copied as it is stored, as from its own dump, is recognized; one that was tampered with is not
CREATE TABLE mb.whole (id integer NOT NULL, name text) PARTITION BY RANGE (id);
CREATE TABLE mb.half (id integer NOT NULL, name text);
INSERT INTO mb.half VALUES (1, 'One'), (2, 'Two');
ALTER TABLE mb.whole ADD PRIMARY KEY (id);
ALTER TABLE mb.whole ATTACH PARTITION mb.half DEFAULT;
SELECT gdpr.declare_subject('mb.whole');
SELECT gdpr.declare_column('mb.whole', 'name', 'contact');
SELECT gdpr.protect_now('mb.whole');
CREATE TABLE mb.copied (name text, id integer NOT NULL, gdpr_sealed gdpr.sealed);
SET gdpr.physical = on;
INSERT INTO mb.copied SELECT name, id, gdpr_sealed FROM mb.half;
UPDATE mb.copied SET id = 3 WHERE id = 2;
RESET gdpr.physical;
DROP TABLE mb.half;
ALTER TABLE mb.whole ATTACH PARTITION mb.copied DEFAULT;
UPDATE mb.copied SET id = 2 WHERE id = 3;
INSERT INTO mb.copied VALUES ('Four', 4);
ALTER TABLE mb.whole ATTACH PARTITION mb.copied DEFAULT;
SELECT id, name FROM mb.whole ORDER BY id;
-- the usual way to load a partition: a copy, filled and attached
CREATE TABLE mb.loaded (LIKE mb.whole INCLUDING ALL);
INSERT INTO mb.loaded VALUES (5, 'Five');
ALTER TABLE mb.loaded DROP CONSTRAINT gdpr_sealed_check;
INSERT INTO mb.loaded VALUES (5, 'Five');
ALTER TABLE mb.whole DETACH PARTITION mb.copied;
ALTER TABLE mb.whole ATTACH PARTITION mb.loaded FOR VALUES FROM (5) TO (6);
ALTER TABLE mb.whole ATTACH PARTITION mb.copied DEFAULT;
SELECT tableoid::regclass, id, name FROM mb.whole ORDER BY id;
SELECT count(*) FROM pg_index WHERE indrelid = 'mb.loaded'::regclass;
UPDATE mb.whole SET id = 6 WHERE id = 5 RETURNING tableoid::regclass, name;
-- a partition of another owner, who has no purpose
ALTER TABLE mb.loaded OWNER TO test_other;
UPDATE mb.whole SET id = 5 WHERE id = 6 RETURNING tableoid::regclass, name;
SET ROLE test_other;
INSERT INTO mb.loaded VALUES (5, 'again') ON CONFLICT DO NOTHING;
UPDATE mb.loaded SET name = NULL WHERE id = 5;
SELECT id, name FROM mb.loaded;
RESET ROLE;
SELECT id, name FROM mb.loaded;
-- a foreign key has to lead to the whole table
CREATE TABLE mb.ref (id integer PRIMARY KEY, animal integer REFERENCES mb.dog, note text);
SELECT gdpr.declare_table('mb.ref', via => 'animal');
\pset format aligned
\pset tuples_only off
SET client_min_messages = warning;
DROP SCHEMA mb, mb_plain CASCADE;
SELECT gdpr.drop_purpose('mb');
