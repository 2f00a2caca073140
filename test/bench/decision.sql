-- What persons decided: as gdpr keeps it, as a plain ledger, as a plain table of what holds now. The same in all three.
--
-- Of one hundred persons, sixty permit the newsletter by e-mail. Each has three events: 1. the newsletter by e-mail, given
-- or refused; 2. withdrawn, renewed, or the newsletter by text message; 3. another purpose.

\set QUIET on
SET client_min_messages = warning;
SELECT gdpr.create_purpose('newsletter', legal_basis => 'consent', categories => '{identity,contact}');
SELECT gdpr.create_purpose('survey', legal_basis => 'consent', categories => '{identity,contact}');
SELECT gdpr.create_purpose('import', legal_basis => 'consent', categories => '{identity,contact}');
CREATE ROLE decider LOGIN IN ROLE bench;
SELECT gdpr.grant_purpose('newsletter', 'bench');
SELECT gdpr.grant_purpose('bench', 'decider', override => true);
ALTER ROLE decider SET gdpr.purpose = 'bench';
GRANT USAGE ON SCHEMA gdpr TO bench;
GRANT EXECUTE ON FUNCTION gdpr.give_consent, gdpr.withdraw_consent TO bench;

CREATE TABLE plain.event (
	id			uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	person_id	bigint NOT NULL,
	purpose_id	integer NOT NULL,
	channel		text COLLATE "C" NOT NULL,
	topic		text COLLATE "C" NOT NULL,
	status		text NOT NULL,
	occurred_at	timestamptz NOT NULL,
	source		text,
	notice		text,
	recorded_at	timestamptz NOT NULL DEFAULT clock_timestamp(),
	recorded_by	name NOT NULL DEFAULT current_user
);
CREATE TABLE plain.state (
	purpose_id	integer NOT NULL,
	person_id	bigint NOT NULL,
	channel		text COLLATE "C" NOT NULL,
	topic		text COLLATE "C" NOT NULL,
	permits		boolean NOT NULL,
	since		timestamptz NOT NULL,
	expires_at	timestamptz,
	PRIMARY KEY (purpose_id, person_id, channel, topic)
) WITH (fillfactor = 90);

-- in the order of time, which is not that of persons
INSERT INTO plain.event (person_id, purpose_id, channel, topic, status, occurred_at, source, notice)
SELECT e.person_id, p.id, e.channel, '', e.status, e.occurred_at, 'web', '2026-01'
FROM (
	SELECT i AS person_id, 'newsletter' AS purpose, 'email' AS channel, CASE WHEN i % 100 < 90 THEN 'given' ELSE 'refused' END AS status,
		timestamptz '2024-01-01' + (abs(hashint8(i)) % 31536000) * interval '1 s' AS occurred_at
	FROM generate_series(1, :rows) AS i
	UNION ALL
	SELECT i, 'newsletter', CASE WHEN i % 100 < 60 THEN 'email' ELSE 'sms' END,
		CASE WHEN i % 100 < 30 THEN 'withdrawn' WHEN i % 100 < 60 THEN 'renewed' ELSE 'given' END,
		timestamptz '2025-01-01' + (abs(hashint8(i + 1)) % 31536000) * interval '1 s'
	FROM generate_series(1, :rows) AS i
	UNION ALL
	SELECT i, 'survey', 'email', CASE WHEN i % 2 = 0 THEN 'given' ELSE 'refused' END,
		timestamptz '2024-01-01' + (abs(hashint8(i + 2)) % 63072000) * interval '1 s'
	FROM generate_series(1, :rows) AS i
) AS e JOIN gdpr.purpose AS p ON p.name = e.purpose
ORDER BY e.occurred_at;
CREATE INDEX event_latest ON plain.event (purpose_id, channel, topic, person_id, occurred_at DESC) INCLUDE (status);

INSERT INTO plain.state (purpose_id, person_id, channel, topic, permits, since)
SELECT latest.purpose_id, latest.person_id, latest.channel, latest.topic, latest.status IN ('given', 'renewed'), latest.occurred_at
FROM (SELECT DISTINCT ON (purpose_id, person_id, channel, topic) * FROM plain.event
	ORDER BY purpose_id, person_id, channel, topic, occurred_at DESC) AS latest
ORDER BY latest.occurred_at;

CREATE TABLE plain.subject AS SELECT id, gdpr.subject_number(gdpr_sealed) AS number FROM sealed.person;

-- past the functions, to be done sooner: it is what they would have written
INSERT INTO gdpr.consent_event (id, subject, purpose_id, purpose, channel, topic, status, occurred_at, source, notice, recorded_by)
SELECT e.id, s.number, p.id, p.name, e.channel, e.topic, e.status, e.occurred_at, e.source, e.notice, current_user
FROM plain.event AS e JOIN gdpr.purpose AS p ON p.id = e.purpose_id JOIN plain.subject AS s ON s.id = e.person_id
ORDER BY e.occurred_at;
INSERT INTO gdpr.consent (purpose_id, subject, channel, topic, permits, since, event)
SELECT latest.purpose_id, latest.subject, latest.channel, latest.topic, latest.status IN ('given', 'renewed'), latest.occurred_at, latest.id
FROM (SELECT DISTINCT ON (purpose_id, subject, channel, topic) * FROM gdpr.consent_event
	ORDER BY purpose_id, subject, channel, topic, occurred_at DESC) AS latest
ORDER BY latest.occurred_at;

SELECT gdpr.create_view('sealed.newsletter', 'sealed.person', 'newsletter', channel => 'email');
-- the same by hand
SELECT format('CREATE VIEW plain.newsletter WITH (security_barrier) AS SELECT p.* FROM plain.person AS p WHERE EXISTS (
    SELECT FROM plain.state AS e WHERE e.person_id = p.id AND e.purpose_id = %s AND e.channel = ''email'' AND e.topic = ''''
    AND e.permits AND (e.expires_at IS NULL OR e.expires_at > now()))', id) FROM gdpr.purpose WHERE name = 'newsletter' \gexec
GRANT SELECT ON sealed.newsletter, plain.newsletter TO bench;
GRANT ALL ON plain.event, plain.state TO bench;
VACUUM (ANALYZE);
