-- Schema changes of a protected table: what would break it is refused, the rest works.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA ddl;
CREATE SCHEMA ddl_other;
SET search_path = ddl, public;
CREATE TABLE ref (id integer PRIMARY KEY, n integer, e text);
CREATE TABLE prot (id integer PRIMARY KEY, a text UNIQUE, b text, d integer, s text CONSTRAINT s_len CHECK (length(s) < 10),
    lnk integer, CHECK (d > 0));
INSERT INTO prot VALUES (1, 'a', 'b', 1, 's', 1);
DO $$
BEGIN
    PERFORM gdpr.declare_subject('prot');
    PERFORM gdpr.declare_column('prot', 'a', 'contact', searchable => true);
    PERFORM gdpr.declare_column('prot', 'b', 'contact');
    PERFORM gdpr.declare_column('prot', 's', 'contact', searchable => true, normalization => 'lower');
    PERFORM gdpr.create_purpose('ddl', 'contract', '{contact}');
    PERFORM gdpr.grant_purpose('ddl', current_user);
END $$;
CALL gdpr.protect('prot');
SET gdpr.purpose = 'ddl';
RESET client_min_messages;
-- the error says what to do
\set VERBOSITY default
ALTER TABLE prot ADD UNIQUE (b);
ALTER TABLE prot ALTER a TYPE varchar(80);
\set VERBOSITY terse
ALTER TABLE prot ALTER id TYPE bigint;
ALTER TABLE prot ALTER gdpr_sealed TYPE text;
ALTER TABLE prot ALTER b SET NOT NULL;
ALTER TABLE prot ADD CHECK (length(b) > 3);
ALTER TABLE prot ADD CONSTRAINT x CHECK (length(a) > 3) NOT VALID;
ALTER TABLE prot ADD UNIQUE (s);
ALTER TABLE prot ADD EXCLUDE USING btree (a WITH =);
ALTER TABLE prot ADD FOREIGN KEY (a) REFERENCES prot(a);
ALTER TABLE ref ADD FOREIGN KEY (e) REFERENCES prot(a);
CREATE TABLE ref2 (e text REFERENCES prot(a));
ALTER TABLE prot ADD COLUMN g text GENERATED ALWAYS AS (upper(a)) STORED;
ALTER TABLE prot DROP COLUMN gdpr_sealed;
ALTER TABLE prot DROP COLUMN id;
ALTER TABLE prot RENAME COLUMN gdpr_sealed TO x;
ALTER TABLE prot DISABLE TRIGGER "~gdpr_seal";
ALTER TABLE prot ENABLE REPLICA TRIGGER "!gdpr_open";
DROP TRIGGER "~gdpr_seal" ON prot;
ALTER TRIGGER "~gdpr_seal" ON prot RENAME TO x;
CREATE OR REPLACE TRIGGER "~gdpr_seal" BEFORE INSERT ON prot FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE prot DROP CONSTRAINT gdpr_sealed_check;
ALTER TABLE prot RENAME CONSTRAINT gdpr_sealed_check TO x;
CREATE INDEX ON prot (d) WHERE a IS NOT NULL;
CREATE INDEX ON prot (upper(b));
CREATE UNIQUE INDEX ON prot (lower(a));
CREATE UNIQUE INDEX CONCURRENTLY xx ON prot (b);
CREATE INDEX CONCURRENTLY xx ON prot (d) WHERE b = 'x';
CREATE STATISTICS st ON upper(a), d FROM prot;
CREATE PUBLICATION p1 FOR TABLE prot WHERE (a = 'x');
CREATE PUBLICATION p1 FOR TABLE prot (id, a);
ALTER TABLE prot INHERIT ref;
CREATE TABLE pt (LIKE prot) PARTITION BY LIST (id); ALTER TABLE pt ATTACH PARTITION prot DEFAULT; DROP TABLE pt;
CREATE RULE r AS ON DELETE TO prot DO INSTEAD NOTHING;
ALTER TABLE prot DROP COLUMN b;
-- what does not touch what is stored
CREATE INDEX ON prot (b);
CREATE INDEX ON prot (lower(s));
CREATE INDEX CONCURRENTLY ON prot (lower(s));
CREATE UNIQUE INDEX ON prot (a, d);
CREATE UNIQUE INDEX ON prot (lower(s), d) INCLUDE (b);
CREATE INDEX ON prot (d) WHERE d > 3;
CREATE PUBLICATION p2 FOR TABLE prot (id, a, gdpr_sealed) WHERE (id > 3);
ALTER TABLE prot ALTER a SET NOT NULL;
ALTER TABLE prot ALTER a DROP NOT NULL;
ALTER TABLE prot ADD COLUMN e int DEFAULT 4 CHECK (e > 3);
ALTER TABLE prot DROP COLUMN e;
ALTER TABLE prot ADD COLUMN e2 text;
ALTER TABLE prot RENAME COLUMN a TO "A b";
ALTER TABLE prot RENAME COLUMN id TO ident;
ALTER TABLE prot RENAME TO prot2;
ALTER TABLE prot2 SET SCHEMA ddl_other;
ALTER TABLE ddl_other.prot2 DISABLE TRIGGER ALL;
ALTER TABLE ddl_other.prot2 ENABLE TRIGGER ALL;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid='ddl_other.prot2'::regclass ORDER BY 1;
INSERT INTO ddl_other.prot2(ident,"A b",b,d,s,e2) VALUES (2,'q','w',3,'S','e');
INSERT INTO ddl_other.prot2(ident,"A b",b,d,s,e2) VALUES (3,'q2','w',3,'0123456789','e');
SELECT ident,"A b",b,d,s,e2 FROM ddl_other.prot2 WHERE "A b"='q' OR ident=1 ORDER BY 1;
DROP PUBLICATION p2;
CALL gdpr.unprotect('ddl_other.prot2');
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'ddl_other.prot2'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'ddl_other.prot2'::regclass AND contype <> 'n' ORDER BY 1;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'ddl_other.prot2'::regclass;
SELECT * FROM ddl_other.prot2 ORDER BY 1;
-- protect() refuses for the same reasons, and says what to do
SET client_min_messages = warning;
CREATE DOMAIN short AS text CHECK (length(VALUE) < 5);
CREATE TABLE base (id integer PRIMARY KEY, a text, b text, c short, d text);
CREATE FUNCTION refused(setup text, undo text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    hint text;
BEGIN
    EXECUTE setup;
    BEGIN
        PERFORM gdpr.protect_now('base');
        RAISE EXCEPTION 'was protected' USING ERRCODE = 'GDXXX';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    END;
    EXECUTE undo;
    RETURN message || E'\n' || hint;
END $$;
DO $$
BEGIN
    PERFORM gdpr.declare_subject('base');
    PERFORM gdpr.declare_column('base', 'a', 'contact', searchable => true);
    PERFORM gdpr.declare_column('base', 'b', 'contact');
    PERFORM gdpr.declare_column('base', 'd', 'contact', searchable => true, normalization => 'lower');
END $$;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
SELECT refused('CREATE UNIQUE INDEX i ON base (b)', 'DROP INDEX i');
SELECT refused('CREATE UNIQUE INDEX i ON base (d)', 'DROP INDEX i');
SELECT refused('CREATE UNIQUE INDEX i ON base (lower(a))', 'DROP INDEX i');
SET client_min_messages = warning;
SELECT refused('CREATE UNIQUE INDEX i ON base (lower(d))', 'DROP INDEX i');
RESET client_min_messages;
SELECT refused('CREATE INDEX i ON base (substr(a, 1, 3))', 'DROP INDEX i');
SELECT refused('CREATE INDEX i ON base (id) WHERE b IS NULL', 'DROP INDEX i');
SELECT refused('ALTER TABLE base ADD CONSTRAINT x EXCLUDE USING hash (a WITH =)', 'ALTER TABLE base DROP CONSTRAINT x');
SELECT refused('ALTER TABLE base ADD UNIQUE (a); CREATE TABLE pointing (a text REFERENCES base (a))', 'DROP TABLE pointing; ALTER TABLE base DROP CONSTRAINT base_a_key');
SELECT refused('ALTER TABLE base ADD g text GENERATED ALWAYS AS (upper(b)) STORED', 'ALTER TABLE base DROP g');
SELECT refused('CREATE PUBLICATION p FOR TABLE base WHERE (b > ''x'')', 'DROP PUBLICATION p');
SELECT refused('CREATE PUBLICATION p FOR TABLE base (id, a)', 'DROP PUBLICATION p');
SELECT refused('CREATE TABLE above (d text); ALTER TABLE base INHERIT above', 'ALTER TABLE base NO INHERIT above; DROP TABLE above');
SELECT refused('CREATE RULE r AS ON UPDATE TO base DO INSTEAD NOTHING', 'DROP RULE r ON base');
SELECT refused('CREATE STATISTICS st ON (a || b), id FROM base', 'DROP STATISTICS st');
SELECT refused('SELECT gdpr.declare_column(''base'', ''c'', ''contact'', searchable => true)', 'SELECT 1');
SET client_min_messages = warning;
DROP SCHEMA ddl, ddl_other CASCADE;
