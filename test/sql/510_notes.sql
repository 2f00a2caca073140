-- Notes: free text about a person in the extension's own records, sealed
-- under the person's key. Internal functions: a superuser calls them here.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA notes;
CREATE TABLE notes.person (id integer PRIMARY KEY, name text, phone text);
INSERT INTO notes.person SELECT i, 'Name ' || i, '06-' || i FROM generate_series(1, 2) i;
SELECT gdpr.declare_subject('notes.person');
SELECT gdpr.declare_column('notes.person', 'name', 'identity');
SELECT gdpr.declare_column('notes.person', 'phone', 'contact');
SELECT gdpr.protect_now('notes.person');
RESET client_min_messages;
SELECT gdpr.subject('notes.person', '1') AS p1, gdpr.subject('notes.person', '2') AS p2 \gset
\set a '\'aaaaaaaa-0000-4000-8000-000000000001\'::uuid'
\set b '\'aaaaaaaa-0000-4000-8000-000000000002\'::uuid'
CREATE TABLE notes.record (kind text, id uuid, sealed gdpr.sealed, PRIMARY KEY (kind, id));

-- what is sealed comes back, and nothing of it is in the clear
INSERT INTO notes.record VALUES ('consent', :a, gdpr.seal_note(:p1, 'consent', :a, '{"form": "web", "text": "Zoë agreed – €"}'));
SELECT gdpr.open_note(kind, id, sealed) FROM notes.record;
SELECT gdpr.subject_number(sealed) = :p1 AS names_the_person, length(decode(sealed::text, 'base64')) AS bytes,
       position('agreed' IN encode(decode(sealed::text, 'base64'), 'escape')) AS text_at FROM notes.record;
SELECT v AS note, gdpr.open_note('x', :a, gdpr.seal_note(:p1, 'x', :a, v)) = v AS same
FROM (VALUES ('null'::jsonb), ('{}'), ('""'), ('1e40'), ('[1, {"a": [true, "\""]}]')) t(v);
SELECT gdpr.seal_note(:p1, 'x', :a, '1') OPERATOR(gdpr.=) gdpr.seal_note(:p1, 'x', :a, '1') AS the_same_twice;
-- no note, no envelope
SELECT gdpr.seal_note(:p1, 'x', :a, NULL) IS NULL AS sealed, gdpr.open_note('x', :a, NULL) IS NULL AS opened;
-- large ones; padded, so that similar ones are of one length
SELECT gdpr.open_note('x', :a, gdpr.seal_note(:p1, 'x', :a, v)) = v AS same
FROM (SELECT jsonb_agg(md5(i::text)) AS v FROM generate_series(1, 40000) i) t WHERE length(v::text) > 1000000;
SELECT count(DISTINCT length(gdpr.seal_note(:p1, 'x', :a, to_jsonb(repeat('y', n)))::text)) AS lengths FROM generate_series(101, 108) n;

-- a note belongs to its record
SELECT gdpr.open_note('objection', id, sealed) FROM notes.record;
SELECT gdpr.open_note(kind, :b, sealed) FROM notes.record;
SELECT gdpr.is_sealed(sealed, 0, 2, kind, id) AS here, gdpr.is_sealed(sealed, 0, 2, kind, :b) AS elsewhere FROM notes.record;
-- an envelope of a row is no note
SELECT gdpr.open_note('consent', :a, gdpr_sealed) FROM notes.person WHERE id = 1;
-- every byte counts: each of them changed, in turn
CREATE FUNCTION notes.try_open(sealed bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce(gdpr.open_note('consent', 'aaaaaaaa-0000-4000-8000-000000000001', replace(encode(sealed, 'base64'), E'\n', '')::gdpr.sealed)::text, 'NULL');
EXCEPTION WHEN SQLSTATE 'GD002' THEN
    RETURN 'damaged';
WHEN invalid_text_representation THEN
    RETURN 'no envelope';
END $$;
-- (the digest, bytes 11 to 18, is there for constraints; the number, 2 to 6, may be that of somebody who was forgotten)
SELECT notes.try_open(set_byte(b, i, get_byte(b, i) # 1)) AS outcome, string_agg(i::text, ' ' ORDER BY i) AS bytes
FROM (SELECT decode(sealed::text, 'base64') AS b FROM notes.record) t, generate_series(0, length(b) - 1) i WHERE i NOT BETWEEN 2 AND 6
GROUP BY 1 ORDER BY 1;

-- mistakes
SELECT gdpr.seal_note(42, 'x', :a, '1');
SELECT gdpr.seal_note(549755813887, 'x', :a, '1');
SELECT gdpr.seal_note(NULL, 'x', :a, '1');
SELECT gdpr.seal_note(:p1, NULL, :a, '1');
SELECT gdpr.seal_note(:p1, 'x', NULL, '1');
SELECT gdpr.open_note(NULL, id, sealed) FROM notes.record;
SELECT gdpr.open_note(kind, NULL, sealed) FROM notes.record;
SELECT gdpr.make_note(549755813888, 'x', :a, '1');
-- not for everybody
SET ROLE test_app;
SELECT gdpr.seal_note(65536, 'x', 'aaaaaaaa-0000-4000-8000-000000000001', '1');
SELECT gdpr.make_note(65536, 'x', 'aaaaaaaa-0000-4000-8000-000000000001', '1');
SELECT gdpr.open_note('x', 'aaaaaaaa-0000-4000-8000-000000000001', NULL);
SELECT gdpr.assert_subject(65536);
RESET ROLE;
-- without a keystore it says so
BEGIN;
DELETE FROM gdpr.keystore_identity;
SAVEPOINT s;
SELECT gdpr.open_note(kind, id, sealed) FROM notes.record;
ROLLBACK TO s;
SELECT gdpr.seal_note(:p1, 'x', :a, '1');
ROLLBACK;
SELECT gdpr.open_note(kind, id, sealed) IS NOT NULL AS opened FROM notes.record;

-- the category of notes is nobody else's
SELECT name FROM gdpr.category WHERE id = 15;
BEGIN;
CREATE TABLE notes.more (id integer PRIMARY KEY, name text);
SELECT gdpr.declare_subject('notes.more');
SELECT gdpr.declare_column('notes.more', 'name', category => 'records');
ROLLBACK;
SELECT gdpr.forget(:p2, category => 'records');
BEGIN;
DO $$ BEGIN
    FOR i IN 0 .. 15 LOOP PERFORM gdpr.category_id('notes ' || i); END LOOP;
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE INFO '%', SQLERRM;
END $$;
DO $$ BEGIN
    FOR i IN 1 .. 15 - (SELECT count(*) FROM gdpr.category WHERE id < 15) LOOP PERFORM gdpr.category_id('notes ' || i); END LOOP;
END $$;
SELECT count(*), max(id) FROM gdpr.category WHERE name <> 'records';
ROLLBACK;

-- forgetting: the notes stay while anything of the person does
INSERT INTO notes.record SELECT 'reason', gen_random_uuid(), NULL FROM generate_series(1, 2);
UPDATE notes.record SET sealed = gdpr.seal_note(:p2, kind, id, '"of 2"') WHERE kind = 'reason';
SELECT gdpr.forget(:p2, category => 'contact') IS NOT NULL AS forgotten;
SELECT gdpr.open_note(kind, id, sealed) FROM notes.record WHERE kind = 'reason';
-- and under the number that the category has from now on, too
SET client_min_messages = warning;
SELECT gdpr.create_purpose('notes', 'contract', '{contact,identity}');
SELECT gdpr.grant_purpose('notes', current_user);
RESET client_min_messages;
SET gdpr.purpose = 'notes';
UPDATE notes.person SET phone = '06-9' WHERE id = 2;
SELECT number AS alias FROM gdpr.subject_alias WHERE subject = :p2 \gset
SELECT gdpr.assert_subject(:alias) = :p2 AS person, gdpr.subject_number(gdpr.seal_note(:alias, 'x', :a, '1')) = :p2 AS of_the_note;
-- until the whole person goes
BEGIN;
SELECT gdpr.forget(:p2) IS NOT NULL AS forgotten;
SELECT count(gdpr.open_note(kind, id, sealed)) FROM notes.record WHERE kind = 'reason';
ROLLBACK;
SELECT count(gdpr.open_note(kind, id, sealed)) FROM notes.record WHERE kind = 'reason';
SELECT gdpr.forget(:alias) IS NOT NULL AS forgotten;
SELECT count(gdpr.open_note(kind, id, sealed)) FROM notes.record WHERE kind = 'reason';
SELECT set_config('notes.forgotten', :p2::text, false) = :p2::text AS set;
DO $$ BEGIN PERFORM gdpr.seal_note(current_setting('notes.forgotten')::bigint, 'x', 'aaaaaaaa-0000-4000-8000-000000000001', '1');
EXCEPTION WHEN OTHERS THEN RAISE INFO '% %', SQLSTATE, regexp_replace(SQLERRM, '[0-9]+', '(number)'); END $$;
SELECT gdpr.seal_note(:p2, 'x', :a, NULL) IS NULL AS nothing;
SELECT count(gdpr.open_note(kind, id, sealed)) FROM notes.record WHERE kind = 'consent';

RESET gdpr.purpose;
SET client_min_messages = warning;
SELECT gdpr.drop_purpose('notes');
DROP SCHEMA notes CASCADE;
