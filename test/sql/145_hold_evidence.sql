-- Holds of evidence: what consents, restrictions, objections and disclosures have to prove outlasts the person.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
SET DateStyle = ISO;
CREATE SCHEMA he;
CREATE TABLE he.person (id integer PRIMARY KEY, name text);
CREATE TABLE he.orders (id integer PRIMARY KEY, person_id integer REFERENCES he.person, note text);
SELECT gdpr.declare_subject('he.person'), gdpr.declare_column('he.person', 'name', 'contact'),
       gdpr.declare_table('he.orders', via => 'person_id'), gdpr.declare_column('he.orders', 'note', 'content');
SELECT gdpr.protect_now('he.person'), gdpr.protect_now('he.orders');
SELECT gdpr.create_purpose('he_news', 'consent', '{contact}', direct_marketing => true), gdpr.create_purpose('he_care', 'contract', '{contact,content}'),
       gdpr.create_purpose('he_ads', 'legitimate_interest', '{contact}'),
       gdpr.grant_purpose('he_care', current_user);
SELECT gdpr.add_recipient('he printer', 'NL', purposes => '{he_care}');
INSERT INTO he.person SELECT i, 'name ' || i FROM generate_series(1, 9) i;
INSERT INTO he.orders SELECT i, i, 'note ' || i FROM generate_series(1, 9) i;
CREATE TABLE he.number AS SELECT id, gdpr.subject('he.person', id::text) AS number FROM he.person;
SELECT count(gdpr.give_consent(number, 'he_news', source => 'web form', proof => jsonb_build_object('form', id))),
       count(gdpr.record_objection(number, 'he_ads', reason => 'objection of ' || id)),
       count(gdpr.disclose(number, 'he printer', reference => 'reference of ' || id)) FROM he.number;
CREATE FUNCTION he.evidence(integer) RETURNS TABLE (consent jsonb, objection jsonb, reference text) LANGUAGE sql AS $$
    SELECT (SELECT c.details -> 'proof' FROM gdpr.consent_history(n.number) c), (SELECT f.details FROM gdpr.flag_history(n.number) f),
           (SELECT d.reference FROM gdpr.disclosures_of(n.number) d) FROM he.number n WHERE n.id = $1 $$;
CREATE FUNCTION he.report(erasure uuid) RETURNS TABLE (relation text, action text, "rows" bigint, reason text) LANGUAGE sql AS $$
    SELECT r.relation, r.action, r.rows, r.reason FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint, reason text)
    WHERE e.id = $1 ORDER BY 1, 2 $$;
SET TimeZone = 'UTC';

-- without a hold it goes with the person
SELECT * FROM he.evidence(1);
SELECT r.* FROM he.number n, he.report(gdpr.forget(n.number)) r WHERE n.id = 1;
SELECT * FROM he.evidence(1);

-- one ledger alone; rows go
SELECT gdpr.hold(number, 'proof of consent', '2999-01-01', '{gdpr.consent_event}', 'legal_obligation') AS hold FROM he.number WHERE id = 2 \gset
SELECT p.relation, p.action, p.rows, p.reason FROM he.number n, gdpr.forget_preview(n.number) p WHERE n.id = 2 ORDER BY 1;
SELECT count(*) FROM gdpr.held_note;
SELECT r.* FROM he.number n, he.report(gdpr.forget(n.number)) r WHERE n.id = 2;
SELECT * FROM he.evidence(2);
SELECT count(*) FROM he.orders WHERE person_id = 2;
SELECT gdpr.hold_reason(:'hold');
SELECT gdpr.consent_record(e.id, with_proof => true)::text LIKE '%"proof": {"form": 2}%' AS in_the_record FROM gdpr.consent_event e JOIN he.number n ON n.number = e.subject WHERE n.id = 2;
SELECT count(gdpr.forget(number)) FROM he.number WHERE id = 2;     -- again
SELECT * FROM he.evidence(2);
SELECT count(gdpr.release_hold(:'hold'));
SELECT * FROM he.evidence(2);
SELECT count(*) FROM gdpr.held_note;

-- a hold of all keeps all of it; of two holds, each has its own
SELECT gdpr.hold(number, 'lawsuit', '2999-01-01') AS long FROM he.number WHERE id = 3 \gset
SELECT gdpr.hold(number, 'proof of consent', '2998-01-01', '{gdpr.consent_event,gdpr.disclosure}') AS short FROM he.number WHERE id = 3 \gset
SELECT r.* FROM he.number n, he.report(gdpr.forget(n.number)) r WHERE n.id = 3;
SELECT * FROM he.evidence(3);
SELECT count(gdpr.release_hold(:'long'));
SELECT * FROM he.evidence(3);
SELECT count(gdpr.release_hold(:'short'));
SELECT * FROM he.evidence(3);

-- keys first
SELECT count(gdpr.hold(number, 'proof', '2999-01-01', '{gdpr.consent_event,he.orders}')) FROM he.number WHERE id = 4;
SELECT number AS p4 FROM he.number WHERE id = 4 \gset
CALL gdpr.forget_in_batches(:p4);
SELECT * FROM he.evidence(4);
SELECT r.* FROM gdpr.erasure e, he.report(e.id) r WHERE e.subject = :p4;
-- of a person that was merged, what both numbers have
SELECT count(gdpr.merge_subjects(a.number, b.number)) FROM he.number a, he.number b WHERE a.id = 5 AND b.id = 6;
SELECT count(gdpr.hold(number, 'proof', '2999-01-01', '{gdpr.consent_event}')) FROM he.number WHERE id = 6;
SELECT count(gdpr.forget(number)) FROM he.number WHERE id = 5;
SELECT c.details -> 'proof' AS proof FROM he.number n, gdpr.consent_history(n.number) c WHERE n.id = 5 ORDER BY c.details ->> 'proof';
-- a category alone leaves it as it is
SELECT count(gdpr.hold(number, 'proof', '2999-01-01', '{gdpr.consent_event}')) FROM he.number WHERE id = 7;
SELECT count(gdpr.forget(number, category => 'contact')) FROM he.number WHERE id = 7;
SELECT count(*) FROM gdpr.held_note h JOIN gdpr.consent_event e ON e.id = h.event JOIN he.number n ON n.number = e.subject WHERE n.id = 7;
SELECT * FROM he.evidence(7);
-- rolled back
BEGIN; SELECT count(gdpr.forget(number)) FROM he.number WHERE id = 7; ROLLBACK;
SELECT * FROM he.evidence(7);
-- our other tables are no evidence
SELECT gdpr.hold(number, 'x', '2999-01-01', '{gdpr.erasure}') FROM he.number WHERE id = 8;
CREATE ROLE he_guest;
SET ROLE he_guest;
SELECT * FROM gdpr.held_note;
SELECT gdpr.open_event('consent', NULL, NULL);
RESET ROLE;
DROP ROLE he_guest;
RESET TimeZone;
RESET DateStyle;
SELECT count(gdpr.acknowledge_outbox(o.id)) > 0 AS told FROM gdpr.outbox o JOIN gdpr.recipient_notice n USING (message) JOIN he.number s ON s.number = n.subject;
SELECT gdpr.drop_recipient('he printer');
DROP SCHEMA he CASCADE;
