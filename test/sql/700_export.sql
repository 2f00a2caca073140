-- Exports: everything about a person (Art. 15), what it may take along (Art. 20), whatever the session may see.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE export_regress;
CREATE DATABASE export_elsewhere;
\c export_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE ex_owner; CREATE ROLE ex_officer; CREATE ROLE ex_guest; CREATE ROLE ex_app;

-- What is held, with names and types that want care
CREATE SCHEMA "Odd ""schema" AUTHORIZATION ex_owner; GRANT USAGE ON SCHEMA "Odd ""schema" TO PUBLIC;
SET ROLE ex_owner;
SET search_path = "Odd ""schema";
CREATE TYPE mood AS ENUM ('good', 'so "so"', 'ça va, <b>');
CREATE DOMAIN phone AS text CHECK (VALUE ~ '^[+0-9 ]+$');
CREATE TABLE person (id integer PRIMARY KEY, "full name, <i>" text NOT NULL, email text UNIQUE, phone phone, born date, mood mood, photo bytea,
    tags text[], profile jsonb, balance numeric(12,2), rate double precision, awake interval, seen timestamptz, score integer, boss_id integer REFERENCES person,
    city text, shout text GENERATED ALWAYS AS (upper(city)) STORED);
COMMENT ON TABLE person IS 'Who you are <&>';
COMMENT ON COLUMN person.email IS 'Where we write to, "primary"';
CREATE TABLE "or,der" (person_id integer NOT NULL REFERENCES person, no integer, "deliver to" text, total numeric, PRIMARY KEY (person_id, no));
CREATE TABLE line (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person_id integer NOT NULL, no integer NOT NULL, remark text,
    FOREIGN KEY (person_id, no) REFERENCES "or,der");
CREATE TABLE call (id integer NOT NULL, person_id integer NOT NULL REFERENCES person, at timestamptz NOT NULL, said text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE call_2025 PARTITION OF call FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE call_2026 PARTITION OF call FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE visit (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES person, remark text);
CREATE TABLE visit_abroad (country text) INHERITS (visit);
ALTER TABLE visit_abroad ADD FOREIGN KEY (person_id) REFERENCES person, ADD PRIMARY KEY (id);
CREATE TABLE message (id integer PRIMARY KEY, sender_id integer REFERENCES person, recipient_id integer REFERENCES person, body text, reply text, secret_reply text);
CREATE TABLE invoice (id integer PRIMARY KEY, person_id integer REFERENCES person, issued date, iban text);
CREATE TABLE draft (id integer PRIMARY KEY, person_id integer REFERENCES person, body text);
INSERT INTO person VALUES
    (1, E'Ann "A" O''Neil <script>alert(1)</script> ]]> &amp;', 'ann@example.nl', '+31 6 12', '1980-02-29', 'ça va, <b>', '\x00ff10', ARRAY['x', 'y,"z"', NULL, ''],
     '{"deep": [1, 2.50, null, "é"], "a b": {}}', -12.50, 'NaN', '1 day 02:00', '2026-03-04 05:06:07.8+00', 7, NULL, E'Zürich\r\n2nd line'),
    (2, E'\x01\x02 control \u202Eright to left', 'ben@example.nl', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, ''),
    (3, 'Cas', NULL, NULL, '0044-03-15 BC', 'good', '', '{}', 'null', 'NaN', '-Infinity', NULL, 'infinity', 0, 3, NULL);
INSERT INTO "or,der" SELECT p, n, '=1+1' || p || n, n FROM generate_series(1, 3) p, generate_series(1, 2) n;
INSERT INTO line (person_id, no, remark) SELECT p, 1, '-2+cmd ' || p FROM generate_series(1, 3) p;
INSERT INTO call SELECT p, p, '2025-06-01 12:00+00', 'said ' || p FROM generate_series(1, 3) p;
INSERT INTO call SELECT p + 10, p, '2026-06-01 12:00+00', 'said again ' || p FROM generate_series(1, 3) p;
INSERT INTO visit VALUES (1, 1, 'at home');
INSERT INTO visit_abroad VALUES (2, 1, 'on a ferry', 'UK'), (3, 2, 'walking', 'IT');
INSERT INTO message VALUES (1, 1, 2, 'Ann writes', 'Ben answers', 'Ben hides'), (2, 2, 1, 'Ben writes', 'Ann answers', 'Ann hides'), (3, 2, 3, 'Ben writes to Cas', 'Cas answers', NULL), (4, 1, 1, 'to myself', 'from myself', 'mine');
INSERT INTO invoice SELECT p, p, '2026-01-01', 'NL00BANK' || p FROM generate_series(1, 2) p;
INSERT INTO draft VALUES (1, 1, 'not protected');
ALTER TABLE invoice ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY nobody ON invoice USING (false);
RESET ROLE;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('person', on_forget => 'erase');
    PERFORM gdpr.declare_column('person', 'full name, <i>', 'identity'), gdpr.declare_column('person', 'email', 'contact', searchable => true, mask => 'email'),
            gdpr.declare_column('person', 'phone', 'contact'), gdpr.declare_column('person', 'score', 'profile');
    PERFORM gdpr.declare_column('person', c, 'private') FROM unnest('{born,mood,photo,tags,profile,balance,rate,awake,seen}'::text[]) c;
    PERFORM gdpr.declare_table('"or,der"', via => 'person_id'), gdpr.declare_column('"or,der"', 'deliver to', 'contact');
    PERFORM gdpr.declare_table('line', via => 'person_id, no'), gdpr.declare_column('line', 'remark', 'private');
    PERFORM gdpr.declare_table('call', via => 'person_id'), gdpr.declare_column('call', 'said', 'private');
    PERFORM gdpr.declare_table('visit', via => 'person_id'), gdpr.declare_column('visit', 'remark', 'private');
    PERFORM gdpr.declare_table('message', via => 'sender_id'), gdpr.declare_column('message', 'body', 'private'),
            gdpr.declare_column('message', 'reply', 'private', subject_via => 'recipient_id', mask => 'text'),
            gdpr.declare_column('message', 'secret_reply', 'private', subject_via => 'recipient_id');
    PERFORM gdpr.declare_table('invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law', keep_until => $q$issued + interval '7 years'$q$),
            gdpr.declare_column('invoice', 'iban', 'financial');
    PERFORM gdpr.declare_table('draft', via => 'person_id'), gdpr.declare_column('draft', 'body', 'private');
    PERFORM gdpr.protect_now(r) FROM unnest('{person,"\"or,der\"",line,call,visit,message,invoice}'::regclass[]) r;
END $$;
CREATE TABLE public.number AS SELECT id, gdpr.subject('person', id::text) AS number FROM person;
GRANT SELECT ON public.number TO PUBLIC;
RESET search_path;
SELECT number AS ann FROM number WHERE id = 1 \gset
SELECT number AS ben FROM number WHERE id = 2 \gset
SELECT number AS cas FROM number WHERE id = 3 \gset

-- Who may, and what is refused -----------------------------------------------------------------------
SET ROLE ex_guest;
SELECT gdpr.export(:ann);
SELECT * FROM gdpr.export_files(:ann);
SELECT gdpr.export_document(:ann, 'A15', false);
SELECT gdpr.export_rows('"Odd ""schema".person', '{id}', ARRAY[:ann], false, 'true', true);
SELECT * FROM gdpr.export_changes(:ann);
SELECT gdpr.import_export('{}');
RESET ROLE;
GRANT EXECUTE ON FUNCTION gdpr.export(bigint, text, text, boolean), gdpr.export_files(bigint, text, boolean) TO ex_officer;
SET ROLE ex_officer;
\set VERBOSITY sqlstate
SELECT gdpr.export(NULL);
SELECT gdpr.export(:ann, NULL);
\set VERBOSITY default
SELECT gdpr.export(:ann, 'pdf');
\set VERBOSITY sqlstate
SELECT gdpr.export(:ann, 'pdf');
SELECT gdpr.export(:ann, right => NULL);
\set VERBOSITY default
SELECT gdpr.export(:ann, right => 'A17');
\set VERBOSITY sqlstate
SELECT gdpr.export(:ann, right => 'A17');
SELECT gdpr.export(:ann, name_staff => NULL);
SELECT gdpr.export(0);
SELECT gdpr.export(-1);
\set VERBOSITY default
SELECT gdpr.export(9223372036854775807);
SELECT * FROM gdpr.export_files(:ann, 'a15');
SELECT gdpr.export_schema('csv');
SELECT gdpr.export_schema(NULL);
SET gdpr.physical = on;
SELECT gdpr.export(:ann);
RESET gdpr.physical;
RESET ROLE;
SELECT gdpr.export_rows(NULL, '{id}', ARRAY[:ann], false, 'true', true);
SELECT gdpr.export_rows('pg_class', '{relname}', ARRAY[:ann], false, 'true', true);
SELECT gdpr.export_rows('"Odd ""schema".person', '{id}', '{}', false, 'true', true);
SELECT gdpr.export_rows('"Odd ""schema".person', '{id}', ARRAY[[NULL::bigint]], false, 'true', true);
SELECT gdpr.export_rows('"Odd ""schema".person', '{}', ARRAY[:ann], false, 'true', true);
SELECT gdpr.export_rows('"Odd ""schema".person', '{nothing}', ARRAY[:ann], false, 'true', true);
-- whatever rows are asked for, only the person's values are opened
SELECT gdpr.export_rows('"Odd ""schema".person', '{id,email,phone}', ARRAY[:ann], false, 'true', true);
SELECT gdpr.export_rows('"Odd ""schema".person', '{id,email,phone}', ARRAY[:ann], false, 'true', false);
-- what is prepared of a column is not SQL
SELECT gdpr.export_rows('"Odd ""schema".person', '{"id FROM pg_authid --"}', ARRAY[:ann], false, 'true', true);

-- Everything: an officer sees nothing without a purpose, and exports all the same ---------------------------
CREATE FUNCTION public.rows_in(document jsonb, OUT "table" text, OUT rows text, OUT rows_of_others text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT t ->> 'name', (SELECT string_agg(r::text, E'\n') FROM jsonb_array_elements(t -> 'rows') r),
           (SELECT string_agg(r::text, E'\n') FROM jsonb_array_elements(t -> 'rows_of_others') r)
    FROM jsonb_array_elements(document -> 'tables') t $$;
\pset null '-'
SET ROLE ex_officer;
SELECT count(*) FROM "Odd ""schema".person;
\pset format unaligned
SELECT gdpr.export(:ann)::jsonb -> 'warnings' AS warnings;
RESET ROLE;
SELECT gdpr.undeclare_table('"Odd ""schema".draft');
SET ROLE ex_officer;
SELECT * FROM rows_in(gdpr.export(:ann)::jsonb);
SELECT * FROM rows_in(gdpr.export(:ben)::jsonb);
SELECT * FROM rows_in(gdpr.export(:cas)::jsonb);
RESET ROLE;
-- as to_jsonb writes what the owner reads: NULL, empty, NaN, BC, bytea
SELECT gdpr.create_purpose('all', 'legal_obligation', '{identity,contact,profile,private,financial}'), gdpr.grant_purpose('all', 'ex_owner');
SET ROLE ex_owner; SET gdpr.purpose = 'all'; SET timezone = 'UTC'; SET intervalstyle = 'iso_8601';
CREATE TEMP TABLE mine AS SELECT 1 AS id;
SELECT jsonb_object_agg(id, to_jsonb(p) - 'gdpr_sealed') AS direct FROM "Odd ""schema".person p \gset
DROP TABLE mine;
RESET ROLE; RESET gdpr.purpose; RESET timezone; RESET intervalstyle;
SELECT n.id, gdpr.export(n.number)::jsonb -> 'tables' @? '$[*] ? (@.name like_regex "person$")' AS is_there,
       :'direct'::jsonb -> n.id::text = (SELECT t -> 'rows' -> 0 FROM jsonb_array_elements(gdpr.export(n.number)::jsonb -> 'tables') t WHERE t ->> 'name' LIKE '%.person') AS is_same
FROM number n ORDER BY 1;
-- settings of the session do not matter, nor does what it puts before the extension's names
CREATE SCHEMA hostile; GRANT ALL ON SCHEMA hostile TO PUBLIC;
SET ROLE ex_officer;
CREATE FUNCTION hostile.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE TABLE hostile.mapped_table (id integer, relation regclass);
CREATE TEMP TABLE subject_alias (number bigint, subject bigint); INSERT INTO subject_alias SELECT :ben, :ann;
SELECT md5(string_agg(r::text, ',')) AS md5 FROM rows_in(gdpr.export(:ann)::jsonb) r \gset
SET search_path = hostile, pg_catalog, public; SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET intervalstyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = -15; SET row_security = off; SET enable_indexscan = off;
SELECT md5(string_agg(r::text, ',')) = :'md5' AS same FROM rows_in(gdpr.export(:ann)::jsonb) r;
RESET ALL;
DROP TABLE subject_alias;
RESET ROLE;

-- Restricted: it is exported all the same, and the decision is back afterwards
SELECT gdpr.restrict(:ann, reason => 'not <true>', source => 'letter') IS NOT NULL AS restricted;
SET ROLE ex_officer;
SELECT md5(string_agg(r::text, ',')) = :'md5' AS same FROM rows_in(gdpr.export(:ann)::jsonb) r;
RESET ROLE;
SET ROLE ex_owner; SET gdpr.purpose = 'all';
SELECT id, "full name, <i>" IS NULL AS hidden FROM "Odd ""schema".person ORDER BY id;
RESET ROLE; RESET gdpr.purpose;
SELECT gdpr.lift_restriction(:ann, informed_at => now());

-- Nobody's code that runs meanwhile sees more than it ever does --------------------------------------------
CREATE FUNCTION public.listen(value text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    seen text;
BEGIN
    BEGIN
        SELECT string_agg(concat("full name, <i>", email), ',') INTO seen FROM "Odd ""schema".person;
    EXCEPTION WHEN OTHERS THEN
        seen := 'error: ' || SQLERRM;
    END;
    RETURN concat('heard ', seen, ' as ', current_user);
END $$;
-- a cast to json that its type's owner made, and an index expression, run as the table's owner
SET ROLE ex_owner;
CREATE FUNCTION "Odd ""schema".mood_json("Odd ""schema".mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN to_json(public.listen($1::text)); END $$;
CREATE CAST ("Odd ""schema".mood AS json) WITH FUNCTION "Odd ""schema".mood_json("Odd ""schema".mood);
CREATE FUNCTION "Odd ""schema".indexed(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    seen text := public.listen('x');
BEGIN
    IF seen LIKE '%ann@%' THEN RAISE WARNING '%', seen; END IF;
    RETURN $1;
END $$;
CREATE INDEX ON "Odd ""schema".message ("Odd ""schema".indexed(5));
RESET ROLE;
SET ROLE ex_officer;
SELECT r -> 'mood' AS mood FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'tables') t, jsonb_array_elements(t -> 'rows') r WHERE t ->> 'name' LIKE '%.person';
RESET ROLE;
DROP CAST ("Odd ""schema".mood AS json);
DROP INDEX "Odd ""schema".message_indexed_idx;
-- an error in the middle leaves nothing behind
SET ROLE ex_owner;
CREATE OR REPLACE FUNCTION "Odd ""schema".mood_json("Odd ""schema".mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'a cast fails'; END $$;
RESET ROLE;
CREATE CAST ("Odd ""schema".mood AS json) WITH FUNCTION "Odd ""schema".mood_json("Odd ""schema".mood);
BEGIN;
SAVEPOINT s;
SELECT length(gdpr.export(:ann));
ROLLBACK TO s;
SELECT "full name, <i>", email FROM "Odd ""schema".person;
COMMIT;
DROP CAST ("Odd ""schema".mood AS json);

-- What was forgotten in part, and collected anew
SELECT gdpr.forget(:ann, category => 'contact') IS NOT NULL AS forgotten;
SET ROLE ex_owner; SET gdpr.purpose = 'all';
UPDATE "Odd ""schema".person SET email = 'ann@new.example', phone = '+31 6 99' WHERE id = 1;
RESET ROLE; RESET gdpr.purpose;
SELECT count(*) AS further_numbers FROM gdpr.subject_alias WHERE subject = :ann;
SELECT number AS further FROM gdpr.subject_alias WHERE subject = :ann \gset
SET ROLE ex_officer;
SELECT r ->> 'email' AS email, r ->> 'phone' AS phone, r ->> 'born' AS born FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'tables') t, jsonb_array_elements(t -> 'rows') r WHERE t ->> 'name' LIKE '%.person';
SELECT (gdpr.export(:ann)::jsonb - 'created') -> 'tables' = (gdpr.export(:further)::jsonb - 'created') -> 'tables' AS same_by_further_number;
RESET ROLE;

-- What the person may take along (Art. 20) -------------------------------------------------------------------
SET ROLE ex_officer;
SELECT * FROM rows_in(gdpr.export(:ann, right => 'A20')::jsonb);
RESET ROLE;
SELECT gdpr.create_purpose('shop', 'contract', '{identity,contact,profile}'), gdpr.create_purpose('chat', 'consent', '{private}', columns => '{"\"Odd \"\"schema\".message.body","\"Odd \"\"schema\".message.reply"}');
SELECT gdpr.mark_column_inferred('"Odd ""schema".person', 'score');
SELECT gdpr.mark_column_inferred('"Odd ""schema".person', 'nothing');
SELECT gdpr.mark_column_inferred('"Odd ""schema".person', 'score', NULL);
SELECT name, inferred FROM gdpr.mapped_column WHERE inferred;
SET ROLE ex_officer;
SELECT * FROM rows_in(gdpr.export(:ann, right => 'A20')::jsonb);
RESET ROLE;
SELECT gdpr.give_consent(:ann, 'chat') IS NOT NULL AS given;
SET ROLE ex_officer;
SELECT * FROM rows_in(gdpr.export(:ann, right => 'A20')::jsonb) r WHERE r."table" LIKE '%message';
SELECT jsonb_object_keys(gdpr.export(:ann, right => 'A20')::jsonb) AS parts ORDER BY 1;
RESET ROLE;
SELECT gdpr.restrict(:ann) IS NOT NULL AS restricted;
SELECT "table" FROM rows_in(gdpr.export(:ann, right => 'A20')::jsonb) r;
SELECT gdpr.withdraw_consent(:ann, 'chat') IS NOT NULL AS withdrawn;
SELECT "table" FROM rows_in(gdpr.export(:ann, right => 'A20')::jsonb) r;
SELECT gdpr.lift_restriction(:ann, informed_at => now());
SELECT gdpr.mark_column_inferred('"Odd ""schema".person', 'score', false);

-- What is told about the data ---------------------------------------------------------------------------------
SELECT gdpr.set_controller('Ex & Co <b>', address => 'Weg 1', contact => 'privacy@ex.test', dpo => 'dpo@ex.test', authority => 'The "authority"');
SELECT gdpr.alter_purpose('chat', description => 'To <em>talk</em>', profiling => true, retention => '2 years');
SET gdpr.actor = 'Piet Pietersen';
SELECT gdpr.give_consent(:ann, 'chat', channel => 'email', source => 'web', notice => 'n1', proof => '{"ip": "1.2.3.4"}', note => 'by phone') IS NOT NULL AS given,
       gdpr.record_objection(:ann, reason => 'no advertising') IS NOT NULL AS objected, gdpr.block_channel(:ann, 'phone') IS NOT NULL AS blocked;
RESET gdpr.actor;
SET ROLE ex_officer;
SELECT gdpr.export(:ann) AS document \gset
RESET ROLE;
SELECT jsonb_pretty(:'document'::jsonb -> 'controllers') AS controllers;
SELECT p - 'since' - 'source' AS purpose FROM jsonb_array_elements(:'document'::jsonb -> 'purposes') p;
SELECT c ->> 'purpose' AS purpose, c ->> 'status' AS status, c ->> 'channel' AS channel, c ->> 'actor' AS actor, c -> 'details' AS details, (c ->> 'occurred_at') ~ 'T.*[+]00:00$' AS is_utc
FROM jsonb_array_elements(:'document'::jsonb -> 'consents') c;
SELECT c ->> 'kind' AS kind, c ->> 'status' AS status, c ->> 'in_force' AS in_force, c ->> 'channel' AS channel, c ->> 'actor' AS actor, c -> 'details' AS details
FROM jsonb_array_elements(:'document'::jsonb -> 'flags') c;
SELECT s - '{entered_at,role,application}'::text[] AS source FROM jsonb_array_elements(:'document'::jsonb -> 'sources') s;
SELECT :'document'::jsonb -> 'recipients' AS recipients, :'document'::jsonb -> 'warnings' AS warnings;
SELECT t -> 'retention' AS retention, c AS "column" FROM jsonb_array_elements(:'document'::jsonb -> 'tables') t, jsonb_array_elements(t -> 'columns') c
WHERE t ->> 'name' LIKE '%invoice' OR c ->> 'name' IN ('email', 'score');
SELECT t ->> 'description' AS description, t -> 'key' AS key FROM jsonb_array_elements(:'document'::jsonb -> 'tables') t;
SELECT position('Pietersen' IN :'document') = 0 AS no_name, position('Pietersen' IN gdpr.export(:ann, name_staff => true)) > 0 AS name_if_asked;
SELECT gdpr.add_recipient('Parcels <NL>', country => 'NL', contract => 'c', purposes => '{shop}', role => 'processor') IS NOT NULL AS added,
       gdpr.disclose(:ann, 'Parcels <NL>', categories => '{contact}', purpose => 'shop') IS NOT NULL AS disclosed;
SET ROLE ex_officer;
SELECT r - 'disclosed_at' AS recipient FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'recipients') r;
SELECT gdpr.export(:ann, 'html') LIKE '%Parcels &lt;NL&gt;%' AS on_page;
RESET ROLE;
SELECT gdpr.set_retention('"Odd ""schema".call', keep => '2 years', since => 'at', ground => 'law <1>') IS NOT NULL AS set, gdpr.set_retention('"Odd ""schema".person', '3 years', 'last activity') IS NOT NULL AS set;
SET ROLE ex_officer;
SELECT t ->> 'name' AS "table", t -> 'policies' AS policies FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'tables') t WHERE t -> 'policies' <> '[]' ORDER BY 1;
SELECT l AS line FROM string_to_table(gdpr.export(:ann, 'xml'), E'\n') l WHERE l LIKE '<policy%';
SELECT l AS line FROM string_to_table(gdpr.export(:ann, 'html'), E'\n') l WHERE l LIKE '%We keep %';
RESET ROLE;

-- The audit trail ----------------------------------------------------------------------------------------------
SET ROLE ex_officer; SET gdpr.actor = 'the officer'; SET gdpr.purpose = 'unknown';
SELECT length(gdpr.export(:ben, right => 'A15')) > 0 AS exported;
RESET ROLE; RESET gdpr.actor; RESET gdpr.purpose;
DO $$ BEGIN
    FOR i IN 1 .. 400 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.actor = 'the officer' AND l.relation LIKE '%message' AND actions = '{mask}') THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'records do not come';
END $$;
SELECT l.command, l.role, l.set_role, l.purpose, l.relation, l.columns, l.actions,
       (SELECT string_agg(n.id::text, ',' ORDER BY n.id) FROM number n WHERE l.subjects @> n.number) AS persons
FROM gdpr.audit_log l WHERE l.actor = 'the officer' AND l.relation NOT LIKE 'gdpr.%' ORDER BY l.relation, l.actions, l.columns;
-- each hears of what was done with its own
SELECT DISTINCT a.relation, a.role, a.actions FROM gdpr.accesses(:ben) a WHERE a.actor = 'the officer' AND a.relation NOT LIKE 'gdpr.%' ORDER BY 1;
SELECT DISTINCT a.relation, a.role, a.actions FROM gdpr.accesses(:cas) a WHERE a.actor = 'the officer' ORDER BY 1;
SELECT DISTINCT a ->> 'relation' AS relation, a ->> 'role' AS role, a ->> 'actor' AS actor, a -> 'actions' AS actions
FROM jsonb_array_elements(gdpr.export(:ben)::jsonb -> 'accesses') a WHERE a -> 'actions' ? 'export' AND a ->> 'role' = 'ex_officer' ORDER BY 1, 2;
SELECT revealed, masked FROM gdpr.session_statistics() \gset before_
SELECT length(gdpr.export(:ben)) > 0 AS exported;
SELECT revealed - :before_revealed AS revealed, masked - :before_masked AS masked FROM gdpr.session_statistics();
-- caps of purposes are not the export's
SET gdpr.max_subjects_per_statement = 0;
SELECT length(gdpr.export(:ben)) > 0 AS exported;
RESET gdpr.max_subjects_per_statement;

-- The history of values
SELECT gdpr.keep_history('"Odd ""schema".message');
SET ROLE ex_owner; SET gdpr.purpose = 'all';
UPDATE "Odd ""schema".message SET body = 'Ann writes better', reply = 'Ben answers better' WHERE id = 1;
RESET ROLE; RESET gdpr.purpose;
DO $$ BEGIN
    FOR i IN 1 .. 400 LOOP
        IF EXISTS (SELECT FROM gdpr.audit_log l WHERE l.kind = 'change') THEN RETURN; END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE 'records do not come';
END $$;
SET ROLE ex_officer;
SELECT c ->> 'column' AS "column", c ->> 'before' AS before, c ->> 'after' AS after, c ->> 'role' AS role FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'changes') c;
SELECT c ->> 'column' AS "column", c ->> 'before' AS before, c ->> 'after' AS after, c ->> 'role' AS role FROM jsonb_array_elements(gdpr.export(:ben)::jsonb -> 'changes') c;
RESET ROLE;

-- CSV --------------------------------------------------------------------------------------------------------
SELECT v AS value, gdpr.csv_cell(v) AS cell
FROM unnest(ARRAY[NULL, '', ' ', 'a', 'a,b', 'a"b', E'a\nb', E'a\rb', '=1', '+1', '-1', '-1.5e3', '+31612345678', '@x', E'\tx', E'\rx', E'\nx', '-', '+-1', '1-1', '''=1', '=1,"2"', '-1 ', 'é']) v;
SET ROLE ex_officer;
SELECT replace(l, E'\r', '\r') AS line FROM string_to_table(gdpr.export(:ben, 'csv', 'A20'), E'\n') l WHERE l !~ 'information';
SELECT l AS line FROM string_to_table(gdpr.export(:ann, 'csv'), E'\n') l WHERE l ~ 'full name|or,der|Zürich|deliver|photo|tags' AND l !~ 'information';
SELECT name, replace(content, E'\r', '') AS content FROM gdpr.export_files(:ann, 'A20');
SELECT name FROM gdpr.export_files(:ben);
RESET ROLE;
-- names of files do not meet, nor do they leave the directory
SELECT name FROM gdpr.export_csv_files('{"tables": [{"name": "../../etc/passwd", "rows": [{"a": 1}]}, {"name": "a.b", "rows": [{"a": 1}]}, {"name": "A.b", "rows": [{"a": 1}]}, {"name": ".", "rows": [{"a": 1}]}, {"name": "a\nb", "rows": [{"a": 1}]}, {"name": "é ü", "rows": [{"a": 1}]}]}');

-- XML and HTML: nothing gets out of its place
SELECT v, gdpr.escape_markup(v) AS markup, gdpr.xml_value('x', v) AS xml
FROM unnest(ARRAY[NULL, '', '<script>', ']]>', '"''&', '&amp;', E'\t\r\n', E'\x01\x1F', E'\x7F', E'\uFFFF', 'é', E'\u202E']) v;
SET ROLE ex_officer;
SELECT xpath('/e:export/@right', x, ARRAY[ARRAY['e', 'urn:gdpr:export:1']]) AS "right",
       xpath('count(//e:record)', x, ARRAY[ARRAY['e', 'urn:gdpr:export:1']]) AS records,
       xpath('//e:table[contains(@name, "person")]/e:rows/e:record/e:value[@name="full name, <i>"]/text()', x, ARRAY[ARRAY['e', 'urn:gdpr:export:1']]) AS name,
       xpath('//e:table[contains(@name, "person")]/e:column[@name="email"]/@description', x, ARRAY[ARRAY['e', 'urn:gdpr:export:1']]) AS description
FROM xmlparse(DOCUMENT gdpr.export(:ann, 'xml', 'A20')) x;
SELECT convert_from(decode((xpath('//e:value[@encoding="base64"]/text()', xmlparse(DOCUMENT gdpr.export(:ben, 'xml')), ARRAY[ARRAY['e', 'urn:gdpr:export:1']]))[1]::text, 'base64'), 'UTF8') = E'\x01\x02 control \u202Eright to left' AS whole;
SELECT regexp_count(h, '<script') AS scripts, regexp_count(h, '<html lang="en">') AS pages, h LIKE '%Ann &quot;A&quot; O&#39;Neil &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; &amp;amp;%' AS name, h LIKE '%Ex &amp; Co &lt;b&gt;%' AS controller, h LIKE '%To &lt;em&gt;talk&lt;/em&gt;%' AS purpose
FROM gdpr.export(:ann, 'html') h;
RESET ROLE;

-- While a table is converted, what is not sealed yet is nobody's: the export says so
CREATE TABLE public.ticket (id integer PRIMARY KEY, person_id integer REFERENCES "Odd ""schema".person, remark text, filler text);
INSERT INTO public.ticket SELECT i, 1, 'ticket ' || i, repeat('x', 1900) FROM generate_series(1, 30) i;
SELECT gdpr.declare_table('public.ticket', via => 'person_id'), gdpr.declare_column('public.ticket', 'remark', 'private');
SELECT gdpr.protect_step('public.ticket', 1) AS goes_on FROM generate_series(1, 3);
SELECT gdpr.export(:ann) AS document \gset
SELECT json_array_length(t -> 'rows') BETWEEN 1 AND 29 AS some, :'document'::json -> 'warnings' AS warnings FROM json_array_elements(:'document'::json -> 'tables') t WHERE t ->> 'name' = 'public.ticket';
SET client_min_messages = warning;
CALL gdpr.protect('public.ticket');
SELECT json_array_length(t -> 'rows') AS "all" FROM json_array_elements(gdpr.export(:ann)::json -> 'tables') t WHERE t ->> 'name' = 'public.ticket';
DROP TABLE public.ticket;

-- Persons who were merged are one -------------------------------------------------------------------------------
SET ROLE ex_owner; SET gdpr.purpose = 'all';
INSERT INTO "Odd ""schema".person (id, "full name, <i>") VALUES (4, 'Ann again');
RESET ROLE; RESET gdpr.purpose;
SELECT gdpr.subject('"Odd ""schema".person', '4') AS again \gset
SELECT gdpr.merge_subjects(:ann, :again, 'the same') IS NOT NULL AS merged;
SET ROLE ex_officer;
SELECT r ->> 'id' AS id, r ->> 'full name, <i>' AS name, r ->> 'email' AS email FROM jsonb_array_elements(gdpr.export(:again)::jsonb -> 'tables') t, jsonb_array_elements(t -> 'rows') r WHERE t ->> 'name' LIKE '%.person';
SELECT gdpr.export(:again)::jsonb -> 'subject' = gdpr.export(:ann)::jsonb -> 'subject' AS same_person, jsonb_array_length(gdpr.export(:again)::jsonb -> 'sources') AS sources,
       jsonb_array_length(gdpr.export(:again)::jsonb -> 'changes') AS changes;
RESET ROLE;
SELECT gdpr.unmerge_subjects(:again, 'a mistake') IS NOT NULL AS separated;
SET ROLE ex_officer;
SELECT r ->> 'id' AS id FROM jsonb_array_elements(gdpr.export(:again)::jsonb -> 'tables') t, jsonb_array_elements(t -> 'rows') r WHERE t ->> 'name' LIKE '%.person';
SELECT r ->> 'id' AS id FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'tables') t, jsonb_array_elements(t -> 'rows') r WHERE t ->> 'name' LIKE '%.person';
RESET ROLE;

-- Rows with several owners, rows that are seen, rows that are held ------------------------------------------------
CREATE SCHEMA conf;
CREATE TABLE conf.paper (id integer PRIMARY KEY, title text, pages integer);
CREATE TABLE conf.author (paper integer REFERENCES conf.paper, person integer REFERENCES "Odd ""schema".person, affiliation text, PRIMARY KEY (paper, person));
CREATE TABLE conf.figure (id integer PRIMARY KEY, paper integer REFERENCES conf.paper, caption text);
CREATE TABLE conf.letter (id integer PRIMARY KEY, sender integer REFERENCES "Odd ""schema".person, recipient integer REFERENCES "Odd ""schema".person, body text, greeting text, paper text);
ALTER TABLE conf.letter OWNER TO ex_owner; GRANT USAGE ON SCHEMA conf TO ex_owner;
INSERT INTO conf.paper SELECT i, 'Title ' || i, i FROM generate_series(1, 3) i;
INSERT INTO conf.author VALUES (1, 1, 'of Ann'), (1, 2, 'of Ben'), (2, 2, 'of Ben'), (3, 1, 'of Ann');
INSERT INTO conf.figure SELECT i, i, 'Caption ' || i FROM generate_series(1, 3) i;
INSERT INTO conf.letter VALUES (1, 1, 2, 'Ann to Ben', 'Dear Ben', 'white'), (2, 2, 1, 'Ben to Ann', 'Dear Ann', 'blue'), (3, 2, 3, 'Ben to Cas', 'Dear Cas', 'red');
DO $$ BEGIN
    PERFORM gdpr.declare_table('conf.author', via => 'person'), gdpr.declare_column('conf.author', 'affiliation', 'identity');
    PERFORM gdpr.declare_table('conf.paper', owned_through => 'conf.author'), gdpr.declare_column('conf.paper', 'title', 'private');
    PERFORM gdpr.declare_table('conf.figure', via => 'paper'), gdpr.declare_column('conf.figure', 'caption', 'private');
    PERFORM gdpr.declare_table('conf.letter', via => 'sender'), gdpr.declare_column('conf.letter', 'body', 'private', mask => 'text'),
            gdpr.declare_column('conf.letter', 'greeting', 'private', subject_via => 'recipient');
    PERFORM gdpr.declare_access('conf.letter', via => 'recipient');
    PERFORM gdpr.protect_now(('conf.' || t)::regclass) FROM unnest('{paper,author,figure,letter}'::text[]) t;
END $$;
SET ROLE ex_officer;
SELECT t ->> 'name' AS "table", t -> 'rows' AS rows, t -> 'rows_seen' AS seen, t -> 'rows_of_others' AS of_others
FROM (SELECT n.id, gdpr.export(n.number)::jsonb AS e FROM number n WHERE n.id < 3) d, jsonb_array_elements(d.e -> 'tables') t WHERE t ->> 'name' LIKE 'conf.%' ORDER BY d.id, 1;
SELECT c.kind, c.part, c.record, c.field, c.value FROM (SELECT string_to_array(l, ',') AS f FROM string_to_table(gdpr.export(:ann, 'csv'), E'\r\n') l) s, LATERAL (SELECT f[2] AS kind, f[1] AS part, f[3] AS record, f[4] AS field, f[5] AS value) c WHERE c.kind = 'row_seen';
SELECT name FROM gdpr.export_files(:ann) WHERE name LIKE 'conf.%';
SELECT gdpr.export(:ann, 'html') LIKE '%records of other people that you can see%' AS html;
SELECT t ->> 'name' AS "table", t -> 'rows_seen' AS seen FROM jsonb_array_elements(gdpr.export(:ann, right => 'A20')::jsonb -> 'tables') t WHERE t ->> 'name' LIKE 'conf.%' ORDER BY 1;
RESET ROLE;
SELECT gdpr.hold(:cas, 'lawsuit', now() + interval '1 year', relations => '{conf.letter,"\"Odd \"\"schema\".call"}') IS NOT NULL AS held;

-- The forgotten: what the law keeps ---------------------------------------------------------------------------
SELECT gdpr.forget(:ben, 'request') IS NOT NULL AS forgotten, gdpr.forget(:cas, 'request') IS NOT NULL AS also;
SET ROLE ex_officer;
SELECT gdpr.export(:ben) AS document \gset
SELECT :'document'::jsonb -> 'subject' ->> 'forgotten' AS forgotten, (SELECT string_agg(concat_ws(' ', t ->> 'name', t -> 'retention', t -> 'rows'), E'\n') FROM jsonb_array_elements(:'document'::jsonb -> 'tables') t) AS kept;
SELECT gdpr.export(:ben, 'html') LIKE '%You were forgotten%' AS html;
RESET ROLE;
SELECT held_as FROM gdpr.holds WHERE subject = :cas \gset
SET ROLE ex_officer;
SELECT t ->> 'name' AS "table", t -> 'rows' AS rows FROM jsonb_array_elements(gdpr.export(:held_as)::jsonb -> 'tables') t;
SELECT gdpr.export(:cas);
SELECT gdpr.export(:ben, right => 'A20');
\set VERBOSITY sqlstate
SELECT gdpr.export(:cas);
\set VERBOSITY default
SELECT * FROM rows_in(gdpr.export(:ann)::jsonb) r WHERE r."table" LIKE '%message';
RESET ROLE;

-- A person of whom there is nothing
SELECT * FROM gdpr.export_tables(65536 + 60000, NULL, false);

-- Elsewhere --------------------------------------------------------------------------------------------------
SELECT gdpr.export(:ann) AS document \gset
\c export_elsewhere
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE SCHEMA "Odd ""schema"; SET search_path = "Odd ""schema";
CREATE TYPE mood AS ENUM ('good', 'so "so"', 'ça va, <b>');
CREATE TABLE person (id integer PRIMARY KEY, "full name, <i>" text NOT NULL, email text UNIQUE, phone text, born date, mood mood, photo bytea,
    tags text[], profile jsonb, balance numeric(12,2), rate double precision, awake interval, seen timestamptz, score integer, boss_id integer REFERENCES person,
    city text, shout text GENERATED ALWAYS AS (upper(city)) STORED);
SELECT gdpr.import_export(:'document'::json);
SELECT gdpr.declare_subject('person');
SELECT gdpr.declare_column('person', c, 'all') FROM unnest('{full name\, <i>,phone,born,mood,photo,tags,profile,balance,rate,awake,seen,score}'::text[]) c;
SELECT gdpr.declare_column('person', 'email', 'all', searchable => true);
SELECT gdpr.protect_now('person');
RESET search_path;
SELECT gdpr.import_export(json_build_object('version', 1, 'tables', '[{"name": "pg_catalog.pg_authid", "columns": [{"name": "rolname"}], "rows": [{"rolname": "x"}]}]'::json));
SELECT gdpr.import_export('[]'); SELECT gdpr.import_export(NULL); SELECT gdpr.import_export('{"version": 2, "tables": []}');
SELECT gdpr.import_export(json_build_object('version', 1, 'tables', '[{"name": "\"Odd \"\"schema\".person", "columns": [{"name": "id"}, {"name": "unknown"}], "rows": []}]'::json));
-- one statement; here for one of the tables
SELECT * FROM gdpr.import_export(json_build_object('version', 1, 'tables', (SELECT json_agg(t) FROM json_array_elements(:'document'::json -> 'tables') t WHERE t ->> 'name' LIKE '%.person')));
SELECT gdpr.subject('"Odd ""schema".person', '1') AS ann \gset
SELECT (SELECT t -> 'rows' FROM jsonb_array_elements(gdpr.export(:ann)::jsonb -> 'tables') t)
     = (SELECT t -> 'rows' FROM jsonb_array_elements(:'document'::jsonb -> 'tables') t WHERE t ->> 'name' LIKE '%.person') AS same;
\c :home
SET client_min_messages = warning;
DROP DATABASE export_regress;
DROP DATABASE export_elsewhere;
DROP ROLE ex_owner, ex_officer, ex_guest, ex_app;
