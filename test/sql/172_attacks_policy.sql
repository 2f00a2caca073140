-- Attacks on the decision: purposes, consent, restriction, caps, views for a
-- purpose; and on the extension's own rights.  Each says what it tries, and the
-- rule that it must not break.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE attack_regress;
\c attack_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE ap_owner;
CREATE ROLE ap_officer;
CREATE ROLE ap_app;
CREATE ROLE ap_mailer;
CREATE SCHEMA ap AUTHORIZATION ap_owner;
CREATE SCHEMA ap_trap AUTHORIZATION ap_owner;
GRANT USAGE ON SCHEMA ap TO ap_app, ap_mailer, ap_officer;
SET ROLE ap_owner;
CREATE TABLE ap.person (id int PRIMARY KEY, email text UNIQUE, name text, note text);
CREATE TABLE ap.message (id int PRIMARY KEY, to_id int REFERENCES ap.person ON DELETE CASCADE,
                         from_id int REFERENCES ap.person, body text, note text);
INSERT INTO ap.person SELECT n, 'mail' || n || '@example.nl', 'Name ' || n, 'note ' || n FROM generate_series(1, 20) n;
INSERT INTO ap.message VALUES (1, 1, 3, 'from three'), (2, 3, 1, 'from one'), (3, 2, 2, 'from two');
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA ap TO ap_app;
RESET ROLE;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('ap.person');
    PERFORM gdpr.declare_column('ap.person', 'email', 'ap_contact', searchable => true);
    PERFORM gdpr.declare_column('ap.person', 'name', 'ap_contact');
    PERFORM gdpr.declare_table('ap.message', via => 'to_id');
    PERFORM gdpr.declare_column('ap.message', 'body', 'ap_contact', subject_via => 'from_id');
    PERFORM gdpr.protect_now('ap.person');
    PERFORM gdpr.protect_now('ap.message');
    PERFORM gdpr.set_mask('ap.person', 'email', 'email');
    PERFORM gdpr.create_purpose('ap_support', 'contract', '{ap_contact}');
    PERFORM gdpr.create_purpose('ap_other', 'contract', '{ap_contact}');
    PERFORM gdpr.create_purpose('ap_news', 'consent', '{ap_contact}', direct_marketing => true);
    PERFORM gdpr.create_purpose('ap_poll', 'consent', '{ap_contact}');
    PERFORM gdpr.create_purpose('ap_asked', 'consent', '{ap_contact}', ask_sources => '{ap web}');
    PERFORM gdpr.create_purpose('ap_claims', 'legal_obligation', '{ap_contact}', restricted_ground => 'legal_claims',
                                requires_actor => true);
    PERFORM gdpr.grant_purpose(p, 'ap_app') FROM unnest('{ap_support,ap_other,ap_news,ap_claims}'::text[]) p;
    PERFORM gdpr.grant_purpose('ap_news', 'ap_mailer');
    PERFORM gdpr.give_consent(gdpr.subject('ap.person', n::text), 'ap_news') FROM generate_series(1, 10) n;
    PERFORM gdpr.restrict(gdpr.subject('ap.person', '3'));
    PERFORM gdpr.record_objection(gdpr.subject('ap.person', '4'), 'ap_news');
END $$;
SELECT gdpr.create_view('ap.newsletter', 'ap.person', 'ap_news');
GRANT SELECT, INSERT, UPDATE, DELETE ON ap.newsletter TO ap_mailer;
GRANT EXECUTE ON FUNCTION gdpr.forget(bigint, text, text) TO ap_officer;
SELECT gdpr.subject('ap.person', '3') AS three, gdpr.subject('ap.person', '12') AS twelve, gdpr.subject('ap.person', '20') AS twenty \gset
RESET client_min_messages;
\set VERBOSITY terse

-- A table's owner becomes the extension's: code that runs as the owner sets a search path, for the function that called it
-- and goes on.  What such code sets is taken back.
SET SESSION AUTHORIZATION ap_owner;
CREATE FUNCTION ap_trap.jsonb_build_object(text, text, text, text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'jsonb_build_object() runs as the table''s owner: %', current_user = 'ap_owner';
    RETURN '{}';
END $$;
CREATE FUNCTION ap_trap.format(text, regclass) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'format() runs as the table''s owner: %', current_user = 'ap_owner';
    RETURN pg_catalog.format($1, $2);
END $$;
CREATE FUNCTION ap_trap.fold(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM set_config('search_path', 'ap_trap, pg_catalog', false);
    RETURN 1;
END $$;
CREATE FUNCTION ap_trap.on_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'the trigger runs as %', current_user;
    PERFORM set_config('search_path', 'ap_trap, pg_catalog', false);
    RETURN OLD;
END $$;
-- in a condition that the planner folds, when new persons are asked for consent
ALTER TABLE ap.person ADD CONSTRAINT trap CHECK (ap_trap.fold('x') + id > 0);
SET constraint_exclusion = on;
SET gdpr.source = 'ap web';
SET search_path = pg_catalog;
INSERT INTO ap.person (id, email) VALUES (30, 'mail30@example.nl');
RESET search_path;
RESET gdpr.source;
RESET constraint_exclusion;
ALTER TABLE ap.person DROP CONSTRAINT trap;
-- in a trigger, when an officer forgets somebody
CREATE TRIGGER on_delete AFTER DELETE ON ap.person FOR EACH ROW EXECUTE FUNCTION ap_trap.on_delete();
SET SESSION AUTHORIZATION ap_officer;
SELECT gdpr.forget(:twenty) IS NOT NULL AS forgotten;
RESET SESSION AUTHORIZATION;
DROP TRIGGER on_delete ON ap.person;
SELECT count(*) FROM gdpr.outbox o WHERE o.kind = 'consent_request' AND o.subject = gdpr.subject('ap.person', '30');

-- An answer for one purpose is taken for another: PL/pgSQL goes on with the same expression.  Every call is answered for
-- the purpose it names.
SET SESSION AUTHORIZATION ap_app;
SELECT gdpr_sealed AS envelope FROM ap.person WHERE id = 12 \gset
CREATE FUNCTION pg_temp.allowed(envelope gdpr.sealed, purpose text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN gdpr.row_permitted(envelope, purpose);
END $$;
SELECT p, pg_temp.allowed(:'envelope', p) FROM unnest('{ap_support,ap_news,ap_support}'::text[]) p;
SELECT pg_temp.allowed(:'envelope', p) FROM unnest('{ap_support,ap_poll}'::text[]) p;
SELECT pg_temp.allowed(:'envelope', 'no such purpose');
-- no purpose can be made of what the row or the session says: the view's are constants
SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_' || note);

-- A view for a purpose is gone around with ON CONFLICT, which servers did not apply the view's condition to before their
-- minor releases of November 2026: an error, theirs or ours.  Rows that are not in the view are neither returned nor changed,
-- and what is in it is there for the view's purpose.
SET SESSION AUTHORIZATION ap_mailer;
SELECT count(*) FROM ap.newsletter;
CREATE FUNCTION pg_temp.returned(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    IF SQLERRM !~ 'conflicting row is not visible through (the )?view' THEN
        RAISE;
    END IF;
END $$;
SELECT pg_temp.returned('INSERT INTO ap.newsletter (id) VALUES (12) ON CONFLICT (id) DO UPDATE SET note = newsletter.note RETURNING note');
SELECT pg_temp.returned('INSERT INTO ap.newsletter (id) VALUES (4) ON CONFLICT (id) DO UPDATE SET note = ''changed'' RETURNING note');
SELECT pg_temp.returned('WITH c AS (INSERT INTO ap.newsletter (id) VALUES (12) ON CONFLICT (id) DO UPDATE SET note = ''changed'' RETURNING *) SELECT note FROM c');
SET gdpr.physical = on;
SELECT pg_temp.returned('INSERT INTO ap.newsletter (id) VALUES (12) ON CONFLICT (id) DO UPDATE SET note = ''changed'' RETURNING note');
RESET gdpr.physical;
INSERT INTO ap.newsletter (id) VALUES (5) ON CONFLICT (id) DO UPDATE SET note = 'was ' || newsletter.note, name = 'Five' RETURNING *;
UPDATE ap.newsletter SET note = 'changed' WHERE id IN (3, 4, 12) RETURNING *;
DELETE FROM ap.newsletter WHERE id IN (3, 4, 12) RETURNING *;
SELECT * FROM ap.newsletter WHERE id IN (3, 4, 12) FOR UPDATE;
-- nor seen by a cheaper condition
CREATE FUNCTION pg_temp.peek(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    RAISE NOTICE 'sees %', $1;
    RETURN true;
END $$;
SELECT id FROM ap.newsletter WHERE pg_temp.peek(id) AND id > 9;
-- nor told apart by what fails
SELECT 1 / (id - 12) FROM ap.newsletter WHERE id > 9;
RESET SESSION AUTHORIZATION;
SELECT id, note FROM ap.person WHERE id IN (3, 4, 12) ORDER BY id;
SET ROLE ap_owner;
CREATE VIEW ap.below AS SELECT id, note, gdpr_sealed FROM ap.person;
CREATE VIEW ap.above AS SELECT id, note FROM ap.below WHERE gdpr.row_permitted(gdpr_sealed, 'ap_news');
INSERT INTO ap.above (id) VALUES (12) ON CONFLICT (id) DO UPDATE SET note = 'changed' RETURNING *;
DROP VIEW ap.below CASCADE;
RESET ROLE;

-- Caps are gone around by asking for many channels, or several purposes.  Persons are counted for the purpose, and
-- gdpr.max_subjects_per_statement counts for all purposes.
SELECT gdpr.grant_purpose('ap_support', 'ap_app', max_per_statement => 5);
SET SESSION AUTHORIZATION ap_app;
SELECT count(email) FROM (
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_support', 'a') AND id BETWEEN 6 AND 9 UNION ALL
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_support', 'b') AND id BETWEEN 10 AND 13) p;
DO $$
DECLARE
    mail text;
BEGIN
    FOR n IN 6..12 LOOP
        EXECUTE format('SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, ''ap_support'', NULL, %L) AND id = %s', n, n)
            INTO mail;
        RAISE NOTICE '%', mail;
    END LOOP;
END $$;
-- the same person twice is one
SELECT count(email) FROM (
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_support', 'a') AND id BETWEEN 6 AND 9 UNION ALL
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_support', 'b') AND id BETWEEN 6 AND 9) p;
RESET SESSION AUTHORIZATION;
SELECT gdpr.grant_purpose('ap_support', 'ap_app');
SET gdpr.max_subjects_per_statement = 5;
SET SESSION AUTHORIZATION ap_app;
SET gdpr.max_subjects_per_statement = -1;
SELECT count(email) FROM (
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_support') AND id BETWEEN 6 AND 9 UNION ALL
    SELECT email FROM ap.person WHERE gdpr.row_permitted(gdpr_sealed, 'ap_other') AND id BETWEEN 10 AND 13) p;
RESET SESSION AUTHORIZATION;
RESET gdpr.max_subjects_per_statement;
-- or by functions in parallel workers, which would count apart
SELECT gdpr.grant_purpose('ap_support', 'ap_app', max_per_statement => 5);
CREATE TABLE ap.list AS SELECT n AS id, repeat('x', 2000) AS filler FROM generate_series(6, 19) n;
GRANT SELECT ON ap.list TO ap_app;
CREATE FUNCTION ap.mail(int) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT email FROM ap.person WHERE id = $1);
END $$;
CREATE FUNCTION pg_temp.workers(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Workers Launched' THEN
            RETURN trim(line);
        END IF;
    END LOOP;
END $$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET SESSION AUTHORIZATION ap_app;
SET gdpr.purpose = 'ap_support';
SELECT pg_temp.workers('SELECT ap.mail(id) FROM ap.list WHERE id < 8');
SELECT ap.mail(id) FROM ap.list;
RESET SESSION AUTHORIZATION;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
SELECT gdpr.grant_purpose('ap_support', 'ap_app');

-- A restricted person's row is changed for a purpose that may do so, but without the actor that it requires: no claim, no change.
SET SESSION AUTHORIZATION ap_app;
SET gdpr.purpose = 'ap_claims';
UPDATE ap.person SET note = 'changed' WHERE id = 3;
SET gdpr.actor = 'Ms. Advocate';
UPDATE ap.person SET note = 'for a claim' WHERE id = 3 RETURNING email, note;
RESET gdpr.actor;
-- What a restricted person wrote is in the row of another: it is not given to a third, nor deleted with the row.
SET gdpr.purpose = 'ap_support';
SELECT id, body FROM ap.message ORDER BY id;
UPDATE ap.message SET from_id = 2 WHERE id = 1 RETURNING body;
UPDATE ap.message SET from_id = NULL WHERE id = 1 RETURNING body;
DELETE FROM ap.message WHERE id = 1;
DELETE FROM ap.person WHERE id = 1;
TRUNCATE ap.message;
UPDATE ap.message SET body = 'changed' WHERE id = 1;
UPDATE ap.message SET note = 'is nobody''s' WHERE id = 1 RETURNING body, note;
-- the row of a restricted person, whoever wrote it
UPDATE ap.message SET note = 'changed' WHERE id = 2;
UPDATE ap.message SET to_id = 1 WHERE id = 2;
DELETE FROM ap.message WHERE id = 2;
MERGE INTO ap.message m USING (VALUES (2)) v(id) ON m.id = v.id WHEN MATCHED THEN DELETE;
INSERT INTO ap.message (id) VALUES (2) ON CONFLICT (id) DO UPDATE SET note = 'changed';
UPDATE ap.message SET from_id = 1 WHERE id = 3 RETURNING body;
-- an officer still can
RESET SESSION AUTHORIZATION;
RESET gdpr.purpose;
SELECT gdpr.lift_restriction(:three, informed_at => now());
DELETE FROM ap.message WHERE id = 1;
SELECT gdpr.restrict(:three) IS NOT NULL AS restricted;

-- A token for consent to one purpose gives consent to another that has its name now: what was decided stays with the
-- purpose that it was decided on.
SELECT gdpr.request_consent(:twelve, 'ap_poll') AS token \gset
SELECT gdpr.give_consent(:twelve, 'ap_poll', 'phone') AS record \gset
SELECT gdpr.drop_purpose('ap_poll');
SELECT gdpr.create_purpose('ap_poll', 'consent', '{ap_contact}', profiling => true);
SELECT gdpr.confirm_consent(:'token');
SELECT gdpr.invalidate_consent(:'record', 'was not informed');
SELECT gdpr.standing(:twelve, 'ap_poll');

-- Values of type column_ref exist in plans only: without one nothing can be asked of what takes it.
SET SESSION AUTHORIZATION ap_app;
SELECT '1'::gdpr.column_ref;
SELECT ('(1)'::text)::gdpr.column_ref;
SELECT json_populate_record(NULL::ap.list, '{"id": 1}') IS NOT NULL AS made;
SELECT * FROM json_to_record('{"a": "1"}') AS r(a gdpr.column_ref);
SELECT gdpr.reveal(:'envelope', NULL, 12), gdpr.reveal_row(ROW(1), NULL), gdpr.token('x'::text, NULL), gdpr.recheck(true, NULL),
       gdpr.mark(:'envelope', '\x00000000', NULL), gdpr.token_array(ARRAY['x'], NULL);
CREATE FUNCTION pg_temp.forge(bytea) RETURNS gdpr.column_ref LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION pg_temp.forge(bytea) RETURNS gdpr.column_ref LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
SELECT pg_temp.forge('\x0000000100000000');
CREATE CAST (bytea AS gdpr.column_ref) WITHOUT FUNCTION;
RESET SESSION AUTHORIZATION;

\c :home
DROP DATABASE attack_regress;
DROP ROLE ap_owner, ap_officer, ap_app, ap_mailer;
