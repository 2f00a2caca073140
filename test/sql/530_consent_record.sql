-- Consent records: ISO/IEC TS 27560 in JSON-LD with the terms of W3C DPV.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA rec;
CREATE TABLE rec.person (id integer PRIMARY KEY, name text, email text, blood text, hobby text);
INSERT INTO rec.person SELECT i, 'Name ' || i, 'm' || i || '@rec.test', 'A', 'chess' FROM generate_series(1, 6) i;
DO $$ BEGIN
    PERFORM gdpr.declare_subject('rec.person');
    PERFORM gdpr.declare_column('rec.person', 'name', 'identity'), gdpr.declare_column('rec.person', 'email', 'contact'),
            gdpr.declare_column('rec.person', 'blood', 'health'), gdpr.declare_column('rec.person', 'hobby', 'rec hobbies');
    PERFORM gdpr.protect_now('rec.person');
    PERFORM gdpr.mark_category_special('health');
END $$;
RESET client_min_messages;
SELECT gdpr.subject('rec.person', '1') AS p1, gdpr.subject('rec.person', '2') AS p2, gdpr.subject('rec.person', '3') AS p3,
       gdpr.subject('rec.person', '4') AS p4, gdpr.subject('rec.person', '5') AS p5, gdpr.subject('rec.person', '6') AS p6 \gset

-- the same in every run: ids by their first appearance, no times of recording, no role, no number of a person
CREATE FUNCTION rec.stable(record jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text := jsonb_pretty(record - '@context');
    id text;
    n integer := 0;
BEGIN
    FOR id IN SELECT m[1] FROM regexp_matches(result, '[0-9a-f]{8}-[0-9a-f-]{27}', 'g') WITH ORDINALITY t(m, i) GROUP BY 1 ORDER BY min(i) LOOP
        n := n + 1;
        result := replace(result, id, '(id ' || n || ')');
    END LOOP;
    result := regexp_replace(result, '("dct:(created|modified)": )"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', '\1"(time)"', 'g');
    result := replace(result, '"' || current_user || '"', '"(me)"');
    RETURN regexp_replace(result, '("dct:identifier": )"\d+"', '\1"(number)"', 'g');
END $$;
-- the events in short
CREATE FUNCTION rec.events(record jsonb, OUT types jsonb, OUT at text, OUT by text, OUT method text, OUT notice text, OUT duration jsonb, OUT provenance jsonb)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT e -> '@type', e ->> 'dpv:isIndicatedAtTime', split_part(e ->> 'dpv:isIndicatedBy', '#', 2), e ->> 'dpv:hasIndicationMethod',
           split_part(e ->> 'dpv:hasNotice', '#', 2), e -> 'dpv:hasDuration' -> 'rdf:value', e -> 'dct:provenance'
    FROM jsonb_array_elements(record -> 'dpv:hasConsentStatus') e $$;

SELECT gdpr.create_purpose('rec news', 'consent', '{contact,rec hobbies}', direct_marketing => true, profiling => true,
                           description => 'Versand des Newsletters', retention => '2 years 15 days');
SELECT gdpr.alter_purpose('rec news', description => 'Sending the newsletter', language => 'en');
SELECT gdpr.alter_purpose('rec news', description => 'Envio do boletim', language => 'pt-BR');
SELECT gdpr.alter_purpose('rec news', description => 'x', language => 'pt_BR');
SELECT gdpr.create_purpose('rec study', 'consent', '{identity,health}', special_ground => 'a', default_basis => NULL);
SELECT gdpr.create_purpose('rec bare', 'consent', '{contact}');
SELECT gdpr.publish_notice('rec 1', url => 'https://rec.test/privacy', language => 'de');
SELECT gdpr.publish_notice('rec 2', language => 'en');

-- Controllers

-- none: what is not known is left out, and nothing is claimed
SELECT gdpr.give_consent(:p1, 'rec bare', occurred_at => '2024-03-01 12:00+01') AS bare \gset
SELECT rec.stable(gdpr.consent_record(:'bare'));
-- the only one is everybody's
SELECT gdpr.set_controller('Rec GmbH', address => 'Weg 1, 10115 Berlin', contact => 'privacy@rec.test');
SELECT gdpr.consent_record(:'bare') -> 'dpv:hasDataController' ->> 'dpv:hasName' AS controller;
SELECT gdpr.set_controller('Other BV', jurisdiction => 'NL');
SELECT gdpr.consent_record(:'bare') -> 'dpv:hasDataController' ? 'dpv:hasName' AS named;
SELECT gdpr.alter_purpose('rec bare', controller => 'Other BV');
SELECT r -> 'dpv:hasDataController' ->> 'dpv:hasName' AS controller, r -> 'dpv:hasJurisdiction' AS jurisdiction FROM gdpr.consent_record(:'bare') r;
SELECT gdpr.alter_purpose('rec bare', controller => 'Unregistered Ltd');
SELECT gdpr.consent_record(:'bare') -> 'dpv:hasDataController' ->> 'dpv:hasName' AS controller;
DELETE FROM gdpr.controller WHERE name = 'Other BV';
-- changed field by field
SELECT gdpr.set_controller('Rec GmbH', withdrawal_url => 'https://rec.test/consents', jurisdiction => 'EU', storage_locations => '{DE,EEA}', sole_recipient => true);
SELECT gdpr.set_controller('Rec GmbH', contact => 'mailto:privacy@rec.test');
SELECT * FROM gdpr.controller;
BEGIN;
SELECT gdpr.set_controller('Rec GmbH', '', '', '', '', '{}', false);
SELECT * FROM gdpr.controller;
ROLLBACK;
-- mistakes
SELECT gdpr.set_controller(NULL);
SELECT gdpr.set_controller('');
SELECT gdpr.set_controller('x', jurisdiction => 'Germany');
SELECT gdpr.set_controller('x', jurisdiction => 'ZZ');
SELECT gdpr.set_controller('x', storage_locations => '{DE,NULL}');
SELECT gdpr.set_controller('x', withdrawal_url => 'see our website');

-- A complete record

SELECT set_config('gdpr.actor', 'clerk 7', false) AS actor \gset
SELECT gdpr.request_consent(:p1, 'rec news', 'email', 'chess', source => 'form', notice => 'rec 1', expires_at => '2999-01-01') AS token \gset
SELECT gdpr.confirm_consent(:'token', proof => '{"ip": "192.0.2.1", "seen": [null]}') AS news \gset
SELECT regexp_replace(rec.stable(gdpr.consent_record(:'news')), '("dpv:isIndicatedAtTime": )"[^"]*"', '\1"(time)"', 'g');
-- the proof's hash can be made again from the proof, which is as it was given
SELECT provenance, provenance ->> 'sha256' = encode(sha256(convert_to((provenance -> 'proof')::text, 'UTF8')), 'hex') AS same
FROM rec.events(gdpr.consent_record(:'news', with_proof => true)) WHERE provenance IS NOT NULL;
SELECT position('192.0.2' IN gdpr.consent_record(:'news')::text) + position('clerk' IN gdpr.consent_record(:'news', true)::text) AS shown_at;
-- each thing that is lacking ends the claim
CREATE FUNCTION rec.claims(call text, record uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
BEGIN
    EXECUTE call;
    result := gdpr.consent_record(record) ? 'dct:conformsTo';
    RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = result::text;
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN SQLERRM;
END $$;
SELECT call, rec.claims(call, :'news') FROM (VALUES
    ('SELECT 1'),
    ($$SELECT gdpr.set_controller('Rec GmbH', address => '')$$),
    ($$SELECT gdpr.set_controller('Rec GmbH', contact => '')$$),
    ($$SELECT gdpr.set_controller('Rec GmbH', withdrawal_url => '')$$),
    ($$SELECT gdpr.set_controller('Rec GmbH', jurisdiction => '')$$),
    ($$SELECT gdpr.set_controller('Rec GmbH', storage_locations => '{}')$$),
    ($$SELECT gdpr.set_controller('Rec GmbH', sole_recipient => false)$$),
    ($$SELECT gdpr.set_controller('Another')$$),
    ($$UPDATE gdpr.purpose SET retention = NULL WHERE name = 'rec news'$$),
    ($$UPDATE gdpr.notice SET language = NULL WHERE version = 'rec 1'$$),
    ($$DELETE FROM gdpr.notice WHERE version = 'rec 1'$$),
    ($$SELECT gdpr.drop_purpose('rec news')$$)) t(call);
-- so does a consent without a notice, one that was asked for only, and one that somebody else gave
SELECT gdpr.give_consent(:p2, 'rec news') AS c \gset
SELECT gdpr.consent_record(:'c') ? 'dct:conformsTo' AS claims;
SELECT gdpr.request_consent(:p2, 'rec news', 'post', notice => 'rec 1') IS NULL AS none;
SELECT record AS c FROM gdpr.consent_history(:p2) WHERE channel = 'post' \gset
SELECT r ? 'dct:conformsTo' AS claims, r ->> 'dpv:hasStatus' AS status FROM gdpr.consent_record(:'c') r;
SELECT gdpr.give_consent(:p2, 'rec news', 'fax', notice => 'rec 1', given_by => 'mother, Jane Roe') AS c \gset
SELECT r ? 'dct:conformsTo' AS claims, rec.stable(r -> 'dpv:hasEntity') FROM gdpr.consent_record(:'c') r;
SELECT r -> 'dpv:hasEntity' -> 0 -> 'dct:identifier' AS who FROM gdpr.consent_record(:'c', true) r;
-- durations that XML Schema does not know
BEGIN;
UPDATE gdpr.purpose SET retention = '1 year -1 day' WHERE name = 'rec news';
SELECT jsonb_path_query(gdpr.consent_record(:'c'), 'strict $.**."dpv:hasDuration"."rdf:value"?(@."@type" == "xsd:duration")."@value"');
ROLLBACK;

-- Statuses

-- an Art. 9 consent: a guardian's, renewed by the person, withdrawn
SELECT gdpr.give_consent(:p3, 'rec study', source => 'paper', notice => 'rec 1', given_by => 'guardian 99', expires_at => '2024-06-01', occurred_at => '2024-01-01') AS g \gset
SELECT gdpr.consent_record(:'g') -> 'dpv:hasStatus' AS run_out;
SELECT gdpr.give_consent(:p3, 'rec study', source => 'paper', notice => 'rec 2', note => 'of age', occurred_at => '2024-05-01') AS n \gset
SELECT gdpr.consent_record(:'g') -> 'dpv:hasStatus' AS renewed;
SELECT count(*) FROM gdpr.withdraw_consent(:p3, 'rec study', source => 'phone', occurred_at => '2024-07-01');
SELECT * FROM rec.events(gdpr.consent_record(:'n'));
SELECT by, provenance FROM rec.events(gdpr.consent_record(:'n', true));
SELECT r -> 'dpv:hasStatus' AS status, r -> 'dpv:hasProcess' -> 'dpv:hasLegalBasis' AS basis,
       r -> 'dpv:hasProcess' -> 'dpv:hasPersonalData' AS data, jsonb_array_length(r -> 'dpv:hasNotice') AS notices FROM gdpr.consent_record(:'n') r;
-- the record of each event is that of the same history
SELECT count(DISTINCT (SELECT jsonb_agg(e) FROM rec.events(gdpr.consent_record(h.record)) e)) AS histories,
       count(DISTINCT gdpr.consent_record(h.record) ->> '@id') AS ids FROM gdpr.consent_history(:p3) h;
-- refused, then expired and invalidated ones
SELECT gdpr.refuse_consent(:p4, 'rec study', occurred_at => '2024-01-01') AS r1 \gset
SELECT gdpr.consent_record(:'r1') -> 'dpv:hasStatus' AS status;
SELECT gdpr.give_consent(:p4, 'rec study', occurred_at => '2024-02-01') AS r2 \gset
SELECT gdpr.expire_consent(:p4, 'rec study') AS r3 \gset
SELECT gdpr.consent_record(:'r1') -> 'dpv:hasStatus' AS status;
SELECT gdpr.invalidate_consent(:'r2', 'no notice was shown') AS r4 \gset
SELECT r -> 'dpv:hasStatus' AS status, types, by FROM gdpr.consent_record(:'r1') r, rec.events(r);
-- a notice that asks for renewal
SELECT gdpr.give_consent(:p5, 'rec bare', expires_at => 'infinity', occurred_at => '2024-01-01') AS r6 \gset
BEGIN;
SELECT gdpr.publish_notice('rec 3', '{rec bare}', requires_renewal => true);
SELECT gdpr.consent_record(:'r6') -> 'dpv:hasStatus' AS status;
ROLLBACK;
SELECT r -> 'dpv:hasStatus' AS status, duration FROM gdpr.consent_record(:'r6') r, rec.events(r);

-- Channels and topics

SELECT gdpr.give_consent(:p5, 'rec news', 'email', 'chess', occurred_at => '2024-02-01') AS email \gset
SELECT gdpr.give_consent(:p5, 'rec news', 'post', 'chess', occurred_at => '2024-03-01') AS post \gset
SELECT gdpr.give_consent(:p5, 'rec news', occurred_at => '2024-01-01') AS every \gset
-- of a withdrawal for all channels or topics, what it ended says so; what it did not end does not
SELECT count(*) FROM gdpr.withdraw_consent(:p5, 'rec news', topic => 'go', occurred_at => '2024-02-10');
SELECT count(*) FROM gdpr.withdraw_consent(:p5, 'rec news', topic => 'chess', source => 'one click', occurred_at => '2024-02-15');
SELECT 'email' AS of, at, types, method FROM rec.events(gdpr.consent_record(:'email'))
UNION ALL SELECT 'post', at, types, method FROM rec.events(gdpr.consent_record(:'post'))
UNION ALL SELECT 'every', at, types, method FROM rec.events(gdpr.consent_record(:'every'));
SELECT gdpr.consent_record(:'email') -> 'dpv:hasStatus' AS email, gdpr.consent_record(:'post') -> 'dpv:hasStatus' AS post,
       gdpr.consent_record(:'every') -> 'dpv:hasStatus' AS every;
SELECT gdpr.consent_record(:'email') -> 'dpv:hasProcess' -> 'dpv:hasPurpose' -> 'dpv:hasContext' AS email,
       gdpr.consent_record(:'every') -> 'dpv:hasProcess' -> 'dpv:hasPurpose' -> 'dpv:hasContext' AS every;
-- given again
SELECT gdpr.give_consent(:p5, 'rec news', 'email', 'chess', occurred_at => '2024-04-01') AS again \gset
SELECT at, types FROM rec.events(gdpr.consent_record(:'again'));
SELECT gdpr.consent_record(:'again') -> 'dpv:hasStatus' AS status;

-- Settings of the session do not show

SELECT gdpr.consent_record(:'news') AS utc \gset
SET timezone = 'Asia/Kathmandu';
SET datestyle = 'German';
SET intervalstyle = 'postgres_verbose';
SELECT gdpr.consent_record(:'news') = :'utc'::jsonb AS same;
RESET timezone;
RESET datestyle;
RESET intervalstyle;

-- A purpose that was dropped, another of its name

SELECT gdpr.drop_purpose('rec bare');
SELECT gdpr.create_purpose('rec bare', 'consent', '{health}', special_ground => 'a');
SELECT r -> 'dpv:hasStatus' AS status, ((r -> 'dpv:hasProcess') - '{dpv:hasDataController,dpv:hasRecipient,dpv:hasStorageCondition}'::text[]) #- '{dpv:hasPurpose,@id}' AS process
FROM gdpr.consent_record(:'r6') r;

-- Every key, type and reference is a published term

\set terms `cat "$PG_ABS_SRCDIR"/data/dpv-terms.txt`
CREATE TABLE rec.term (iri text PRIMARY KEY);
INSERT INTO rec.term SELECT l FROM string_to_table(:'terms', E'\n') l WHERE l NOT LIKE '#%';
CREATE FUNCTION rec.used(record jsonb, OUT term text, OUT iri text) RETURNS SETOF record LANGUAGE sql AS $$
    WITH RECURSIVE node(key, value) AS (
        SELECT NULL, record
        UNION ALL
        SELECT c.key, c.value FROM node n, LATERAL (
            SELECT o.key, o.value FROM jsonb_each(CASE jsonb_typeof(n.value) WHEN 'object' THEN n.value ELSE '{}' END) o
            WHERE o.key <> '@context' AND n.key IS DISTINCT FROM 'dct:description' AND n.key IS DISTINCT FROM 'dct:provenance'
            UNION ALL
            SELECT n.key, a FROM jsonb_array_elements(CASE jsonb_typeof(n.value) WHEN 'array' THEN n.value ELSE '[]' END) a) c
    ), used AS (
        SELECT key AS term FROM node WHERE key NOT LIKE '@%'
        UNION
        SELECT value #>> '{}' FROM node
        WHERE jsonb_typeof(value) = 'string' AND (key = '@type' OR record -> '@context' -> key ->> '@type' = '@id')
          AND value #>> '{}' NOT LIKE 'urn:uuid:%'
        UNION
        SELECT t.key FROM jsonb_each(record -> '@context') t WHERE jsonb_typeof(t.value) = 'object'
        UNION
        SELECT t.value ->> '@type' FROM jsonb_each(record -> '@context') t
        WHERE jsonb_typeof(t.value) = 'object' AND t.value ->> '@type' NOT LIKE '@%')
    SELECT u.term, (record -> '@context' ->> split_part(u.term, ':', 1)) || split_part(u.term, ':', 2) FROM used u $$;
CREATE TABLE rec.record AS
SELECT gdpr.consent_record(e.id, with_proof) AS record FROM gdpr.consent_event e, (VALUES (true), (false)) v(with_proof) WHERE e.purpose LIKE 'rec %';
CREATE TABLE rec.study AS SELECT :'n'::uuid AS id;
-- a record for each ground of Art. 9(2), and for each category that DPV has a name for
BEGIN;
DO $$
DECLARE
    ground text;
BEGIN
    FOREACH ground IN ARRAY '{b,c,d,e,f,g,h,i,j}'::text[] LOOP
        UPDATE gdpr.purpose SET special_ground = ground WHERE name = 'rec study';
        INSERT INTO rec.record SELECT gdpr.consent_record(id) FROM rec.study;
    END LOOP;
END $$;
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY '{identity,contact,financial,health,location,biometric,genetic,religion,ethnicity,preference}'::text[] LOOP
        UPDATE gdpr.category SET name = 'rec old ' || id WHERE name = one;
        UPDATE gdpr.category SET name = one WHERE id = (SELECT categories[1] FROM gdpr.purpose WHERE name = 'rec study');
        INSERT INTO rec.record SELECT gdpr.consent_record(id) FROM rec.study;
    END LOOP;
END $$;
CREATE TEMP TABLE used ON COMMIT DROP AS SELECT DISTINCT u.* FROM rec.record r, rec.used(r.record) u;
SELECT term AS not_published FROM used u WHERE iri IS NULL OR NOT EXISTS (SELECT FROM rec.term t WHERE t.iri = u.iri);
-- and each that is listed is used, but for countries
SELECT iri AS not_used FROM rec.term t WHERE t.iri NOT LIKE '%/loc#%' AND NOT EXISTS (SELECT FROM used u WHERE u.iri = t.iri);
-- the check finds something
SELECT u.term FROM rec.used(jsonb_build_object('@context', gdpr.consent_record_context(), '@type', 'dpv:Nonsense', 'no:prefix', 1,
    'dpv:hasStatus', jsonb_build_array(jsonb_build_object('@type', 'dct:nothing'), 'loc:ZZ'))) u
WHERE u.iri IS NULL OR u.iri NOT IN (SELECT iri FROM rec.term) ORDER BY 1;
ROLLBACK;
-- countries: exactly those that are listed are accepted
CREATE FUNCTION rec.accepts(place text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM gdpr.set_controller('rec test', jurisdiction => place);
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END $$;
BEGIN;
SELECT p AS accepted_wrongly_or_not FROM (
    SELECT chr(65 + i) || chr(65 + j) FROM generate_series(0, 25) i, generate_series(0, 25) j UNION ALL SELECT unnest('{EEA,EEA30,EU27,de,DEU}'::text[])) t(p)
WHERE rec.accepts(p) <> EXISTS (SELECT FROM rec.term WHERE iri = 'https://w3id.org/dpv/loc#' || p);
ROLLBACK;

-- Rights and mistakes

SELECT gdpr.consent_record('00000000-0000-4000-8000-000000000000');
SELECT gdpr.consent_record(NULL);
SET ROLE test_guest;
SELECT gdpr.consent_record('00000000-0000-4000-8000-000000000000');
SELECT gdpr.set_controller('x');
RESET ROLE;

-- Forgotten: what is left

SELECT gdpr.forget(:p3) IS NOT NULL AS forgotten;
SELECT r ? 'dct:conformsTo' AS claims, r ? 'dpv:hasEntity' AS representative, types, at, by, provenance FROM gdpr.consent_record(:'n', true) r, rec.events(r);
SELECT gdpr.consent_record(:'n') -> 'dpv:hasStatus' AS status;
SELECT gdpr.forget(:p1) IS NOT NULL AS forgotten;
SELECT types, by, notice, provenance FROM rec.events(gdpr.consent_record(:'news', true));

SET client_min_messages = warning;
DELETE FROM gdpr.controller;
DELETE FROM gdpr.notice WHERE version LIKE 'rec %';
DO $$ BEGIN PERFORM gdpr.drop_purpose(name) FROM gdpr.purpose WHERE name LIKE 'rec %'; END $$;
DROP SCHEMA rec CASCADE;
SELECT gdpr.mark_category_special('health', false);
DELETE FROM gdpr.category c WHERE c.name IN ('health', 'rec hobbies') AND NOT EXISTS (SELECT FROM gdpr.mapped_column m WHERE m.category = c.id);
