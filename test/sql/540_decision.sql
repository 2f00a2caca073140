-- One decision, whichever way it is asked: SELECT, permitted(), row_permitted(), view, row-level security, write guard.
-- A person for every combination of what it decided and what holds for it; a model of the rules in plain SQL.
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE decision_regress;
\c decision_regress
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE dt_none; CREATE ROLE dt_reveal; CREATE ROLE dt_mask; CREATE ROLE dt_override; CREATE ROLE dt_member IN ROLE dt_reveal;
CREATE SCHEMA dt;
GRANT USAGE ON SCHEMA dt TO PUBLIC;

CREATE TABLE dt.person (
    id integer PRIMARY KEY, status text, channel text, topic text, restricted boolean, objected boolean, blocked boolean, forgotten boolean,
    email text, iban text);
SELECT gdpr.declare_subject('dt.person', on_forget => 'erase'), gdpr.declare_column('dt.person', 'email', 'contact', mask => 'email'),
       gdpr.declare_column('dt.person', 'iban', 'financial', mask => 'iban');
SELECT gdpr.protect_now('dt.person');
INSERT INTO dt.person
SELECT row_number() OVER (), s, CASE WHEN scope & 1 > 0 THEN 'email' END, CASE WHEN scope & 2 > 0 THEN 'events' END, r, o, b, f, 'p@example.nl', 'NL91ABNA0417164300'
FROM unnest(ARRAY['none', 'requested', 'given', 'renewed', 'refused', 'withdrawn', 'expired', 'ended', 'invalidated', 'stale']) s,
     generate_series(0, 3) scope, (VALUES (false), (true)) r(r), (VALUES (false), (true)) o(o), (VALUES (false), (true)) b(b), (VALUES (false), (true)) f(f)
WHERE (s <> 'none' OR scope = 0)
  -- all of these together for some
  AND (s IN ('none', 'given', 'withdrawn') AND NOT f OR r::int + o::int + b::int + f::int <= (s IN ('none', 'given') OR NOT f)::int);
CREATE TABLE dt.number AS SELECT id, gdpr.subject('dt.person', id::text) AS subject FROM dt.person;
GRANT ALL ON ALL TABLES IN SCHEMA dt TO PUBLIC;

SELECT gdpr.create_purpose(name, basis, '{contact}', direct_marketing => marketing, default_basis => default_basis, restricted_ground => ground)
FROM (VALUES ('consent', 'consent', false, NULL, NULL), ('soft', 'consent', true, 'legitimate_interest', NULL),
             ('contract', 'contract', false, NULL, NULL), ('interest', 'legitimate_interest', false, NULL, NULL),
             ('claims', 'legal_obligation', false, NULL, 'legal_claims')) v(name, basis, marketing, default_basis, ground);
SELECT gdpr.grant_purpose(p.name, r.role, mode => r.mode, override => r.override AND NOT p.direct_marketing)
FROM gdpr.purpose p, (VALUES ('dt_reveal', 'reveal', false), ('dt_mask', 'mask', false), ('dt_override', 'reveal', true)) r(role, mode, override);

-- what each person decided, on both purposes that are based on consent
DO $$
DECLARE
    p record;
    n bigint;
    purpose text;
    given uuid;
BEGIN
    FOR p IN SELECT t.*, m.subject FROM dt.person t JOIN dt.number m USING (id) LOOP
        n := p.subject;
        FOREACH purpose IN ARRAY ARRAY['consent', 'soft'] LOOP
            CASE p.status
                WHEN 'none' THEN NULL;
                WHEN 'requested' THEN PERFORM gdpr.request_consent(n, purpose, p.channel, p.topic);
                WHEN 'given' THEN PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic);
                WHEN 'renewed' THEN
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '1 day');
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic);
                WHEN 'refused' THEN PERFORM gdpr.refuse_consent(n, purpose, p.channel, p.topic);
                WHEN 'withdrawn' THEN
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '1 day');
                    PERFORM gdpr.withdraw_consent(n, purpose, p.channel, p.topic);
                WHEN 'expired' THEN
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '2 days', expires_at => now() - interval '1 day');
                WHEN 'ended' THEN
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '1 day');
                    PERFORM gdpr.expire_consent(n, purpose, p.channel, p.topic);
                WHEN 'invalidated' THEN
                    given := gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '1 day');
                    PERFORM gdpr.invalidate_consent(given, 'box was ticked beforehand');
                WHEN 'stale' THEN
                    PERFORM gdpr.give_consent(n, purpose, p.channel, p.topic, occurred_at => now() - interval '30 days');
            END CASE;
        END LOOP;
        IF p.objected THEN
            PERFORM gdpr.record_objection(n, o) FROM unnest(ARRAY['consent', 'soft', 'interest']) o;
        END IF;
        IF p.blocked THEN
            PERFORM gdpr.block_channel(n, 'email');
        END IF;
        IF p.restricted THEN
            PERFORM gdpr.restrict(n);
        END IF;
        IF p.forgotten THEN
            PERFORM gdpr.forget(n);
        END IF;
    END LOOP;
    PERFORM gdpr.publish_notice('2026', requires_renewal => true, published_at => now() - interval '20 days');
END $$;

-- The rules. A record covers a channel if it names it or none; so with topics.
CREATE FUNCTION dt.model(p dt.person, purpose gdpr.purpose, channel text, topic text, override boolean) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p.forgotten THEN false
        WHEN override THEN true
        WHEN p.restricted AND purpose.restricted_ground IS NULL THEN false
        WHEN p.objected AND purpose.name IN ('consent', 'soft', 'interest') THEN false
        WHEN p.blocked AND channel = 'email' THEN false
        WHEN purpose.legal_basis <> 'consent' THEN true
        -- a consent that counts, for what is asked; if no channel is named, on one that is not blocked
        WHEN p.status IN ('given', 'renewed') AND coalesce(p.channel = channel, true) AND coalesce(p.topic = topic, true)
             AND NOT (p.blocked AND coalesce(p.channel, '') = 'email' AND channel IS NULL) THEN true
        -- nothing was decided on what is asked, or not on all of it
        ELSE purpose.default_basis IS NOT NULL AND (p.status IN ('none', 'requested') OR
             NOT (coalesce(p.channel = channel, p.channel IS NULL) AND coalesce(p.topic = topic, p.topic IS NULL)))
    END
$$;

CREATE TABLE dt.result (way text, role name, purpose text, channel text, topic text, override boolean, id integer, got text);
GRANT ALL ON dt.result TO PUBLIC;
SET gdpr.allow_plaintext_copies = on; -- the answers are stored
SELECT count(gdpr.create_view(format('dt.v_%s_%s_%s', p.name, coalesce(c, 'any'), coalesce(t, 'any')), 'dt.person', p.name, c, t)) AS views
FROM gdpr.purpose p, unnest(ARRAY[NULL, 'email', 'phone']) c, unnest(ARRAY[NULL, 'events', 'sales']) t;
GRANT SELECT ON ALL TABLES IN SCHEMA dt TO PUBLIC;

CREATE FUNCTION dt.ask(way_suffix text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    q record;
BEGIN
    FOR q IN SELECT p.name AS purpose, c AS channel, t AS topic, r.role, r.override
             FROM unnest(ARRAY['consent', 'soft', 'contract', 'interest', 'claims']) p(name),
                  unnest(ARRAY[NULL, 'email', 'phone']) c, unnest(ARRAY[NULL, 'events', 'sales']) t,
                  (VALUES ('dt_reveal', false), ('dt_mask', false), ('dt_override', true), ('dt_member', false)) r(role, override)
             WHERE NOT (r.override AND p.name = 'soft') LOOP
        PERFORM set_config('role', q.role, true), set_config('gdpr.purpose', q.purpose, true), set_config('gdpr.channel', coalesce(q.channel, ''), true),
                set_config('gdpr.topic', coalesce(q.topic, ''), true), set_config('gdpr.override_reason', CASE WHEN q.override THEN 'fire' ELSE '' END, true);
        IF way_suffix = '' THEN
            INSERT INTO dt.result SELECT 'select', q.role, q.purpose, q.channel, q.topic, q.override, id, email FROM dt.person;
            INSERT INTO dt.result SELECT 'whole row', q.role, q.purpose, q.channel, q.topic, q.override, id, (p).email FROM dt.person p;
            INSERT INTO dt.result SELECT 'other category', q.role, q.purpose, q.channel, q.topic, q.override, id, iban FROM dt.person;
            INSERT INTO dt.result SELECT 'permitted', q.role, q.purpose, q.channel, q.topic, q.override, id,
                CASE WHEN gdpr.permitted(subject, q.purpose, q.channel, q.topic) THEN 'yes' END FROM dt.number;
            INSERT INTO dt.result SELECT 'permitted, session', q.role, q.purpose, q.channel, q.topic, q.override, id,
                CASE WHEN gdpr.permitted(subject) THEN 'yes' END FROM dt.number;
            PERFORM set_config('gdpr.channel', 'post', true); -- what is said here counts
            INSERT INTO dt.result SELECT 'permitted, channel', q.role, q.purpose, q.channel, q.topic, q.override, id,
                CASE WHEN gdpr.permitted(subject, channel => coalesce(q.channel, '')) THEN 'yes' END FROM dt.number;
            PERFORM set_config('gdpr.purpose', '', true), set_config('gdpr.channel', '', true), set_config('gdpr.topic', '', true);
            EXECUTE format('INSERT INTO dt.result SELECT %L, %L, %L, %L, %L, %L, id, email FROM dt.%I', 'view',
                           q.role, q.purpose, q.channel, q.topic, q.override,
                           format('v_%s_%s_%s', q.purpose, coalesce(q.channel, 'any'), coalesce(q.topic, 'any')));
        ELSE
            INSERT INTO dt.result SELECT 'row security', q.role, q.purpose, q.channel, q.topic, q.override, id, email FROM dt.person;
        END IF;
    END LOOP;
    PERFORM set_config('role', 'none', true);
END $$;
SELECT dt.ask('');
SELECT gdpr.filter_rows('dt.person');
SELECT dt.ask('filtered');
SELECT gdpr.unfilter_rows('dt.person');

-- The write guard: who may not see the value may not set it.
CREATE FUNCTION dt.write() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    q record;
    n integer;
    got text;
BEGIN
    FOR q IN SELECT p.name AS purpose, c AS channel, r.role, r.override
             FROM unnest(ARRAY['consent', 'soft', 'contract', 'claims']) p(name), unnest(ARRAY[NULL, 'email']) c,
                  (VALUES ('dt_reveal', false), ('dt_mask', false), ('dt_override', true)) r(role, override)
             WHERE NOT (r.override AND p.name = 'soft') LOOP
        PERFORM set_config('role', q.role, true), set_config('gdpr.purpose', q.purpose, true), set_config('gdpr.channel', coalesce(q.channel, ''), true),
                set_config('gdpr.override_reason', CASE WHEN q.override THEN 'fire' ELSE '' END, true);
        FOR n IN SELECT id FROM dt.person WHERE NOT forgotten LOOP
            BEGIN
                UPDATE dt.person SET email = 'new@example.nl' WHERE id = n;
                RAISE EXCEPTION USING ERRCODE = 'YES00';
            EXCEPTION
                WHEN SQLSTATE 'YES00' THEN got := 'yes';
                WHEN SQLSTATE 'GD005' OR SQLSTATE 'GD008' THEN got := NULL;
            END;
            INSERT INTO dt.result VALUES ('write', q.role, q.purpose, q.channel, NULL, q.override, n, got);
        END LOOP;
    END LOOP;
    PERFORM set_config('role', 'none', true);
END $$;
SELECT dt.write();

-- 0 wrong answers, whichever way
SELECT r.way, r.role, count(*) AS answers,
       count(*) FILTER (WHERE r.got IS DISTINCT FROM CASE
           WHEN r.way = 'other category' OR NOT coalesce(m.permitted, false) THEN NULL
           WHEN r.way LIKE 'permitted%' THEN 'yes'
           WHEN r.way = 'write' THEN CASE WHEN r.role <> 'dt_mask' THEN 'yes' END
           WHEN r.role = 'dt_mask' THEN 'p***@e***.nl' ELSE 'p@example.nl' END) AS wrong
FROM dt.result r JOIN dt.person p USING (id) JOIN gdpr.purpose u ON u.name = r.purpose,
     LATERAL (SELECT dt.model(p, u, r.channel, r.topic, r.override) AS permitted) m
WHERE r.way NOT IN ('view', 'row security')
GROUP BY 1, 2 ORDER BY 1, 2;
-- of these, rows that are not permitted are absent
WITH asked AS (
    SELECT w.way, a.role, a.purpose, a.channel, a.topic, a.override, p.id, dt.model(p, u, a.channel, a.topic, a.override) AS permitted
    FROM (SELECT DISTINCT role, purpose, channel, topic, override FROM dt.result WHERE way = 'select') a
    JOIN gdpr.purpose u ON u.name = a.purpose CROSS JOIN dt.person p CROSS JOIN (VALUES ('view'), ('row security')) w(way)
    UNION ALL -- what came
    SELECT way, role, purpose, channel, topic, override, id, NULL FROM dt.result WHERE way IN ('view', 'row security')
), answers AS (
    SELECT way, role, id, bool_or(permitted) AS permitted, count(*) > 1 AS present
    FROM asked GROUP BY way, role, purpose, channel, topic, override, id
)
SELECT way, role, count(*) AS answers, count(*) FILTER (WHERE present <> permitted) AS wrong_rows FROM answers GROUP BY 1, 2 ORDER BY 1, 2;
SELECT way, role, count(*) AS rows, count(*) FILTER (WHERE got IS DISTINCT FROM CASE role WHEN 'dt_mask' THEN 'p***@e***.nl' ELSE 'p@example.nl' END) AS wrong_values
FROM dt.result WHERE way IN ('view', 'row security') GROUP BY 1, 2 ORDER BY 1, 2;

-- Without the grant, or with a purpose that there is not: an error when personal data is first touched, not before.
SET ROLE dt_none;
SELECT count(*) FROM dt.person;
SET gdpr.purpose = 'contract';
SELECT count(*) FROM dt.person;
SELECT email FROM dt.person WHERE id = 1;
SELECT gdpr.permitted(subject) FROM dt.number WHERE id = 1;
SELECT count(*) FROM dt.v_contract_any_any;
SET gdpr.purpose = 'nothing';
SELECT email FROM dt.person WHERE id = 1;
SELECT gdpr.permitted(subject) FROM dt.number WHERE id = 1;
RESET gdpr.purpose;
SELECT email FROM dt.person WHERE id = 1;
SELECT gdpr.permitted(subject), gdpr.permitted(NULL), gdpr.permitted(0), gdpr.permitted(-1), gdpr.permitted(9223372036854775807) FROM dt.number WHERE id = 1;
-- An override is for those who were granted it, and never for direct marketing.
SET ROLE dt_reveal;
SET gdpr.purpose = 'contract';
SET gdpr.override_reason = 'curious';
SELECT email FROM dt.person WHERE id = 1;
RESET ROLE;
SELECT gdpr.grant_purpose('soft', 'dt_override', override => true);
-- An override is counted apart.
SET ROLE dt_override;
SET gdpr.purpose = 'consent';
SELECT revealed AS r0, overridden AS o0 FROM gdpr.session_statistics() \gset
SELECT email FROM dt.person WHERE id = 1;
SELECT revealed - :r0 AS revealed, overridden - :o0 AS overridden FROM gdpr.session_statistics();
RESET gdpr.override_reason;
SELECT email FROM dt.person WHERE id = 1;
-- What is said of why, to officers.
RESET ROLE;
RESET gdpr.purpose;
SELECT p.status, p.restricted, p.objected, p.blocked, p.forgotten, gdpr.standing(n.subject, 'consent', 'email') AS standing
FROM dt.person p JOIN dt.number n USING (id)
WHERE p.channel IS NULL AND p.topic IS NULL AND p.restricted::int + p.objected::int + p.blocked::int + p.forgotten::int <= 1
  AND (p.status = 'given' OR NOT (p.restricted OR p.objected OR p.blocked OR p.forgotten))
ORDER BY array_position('{none,requested,given,renewed,refused,withdrawn,expired,ended,invalidated,stale}', p.status), 2, 3, 4, 5;
SELECT gdpr.standing(1, 'nothing'), gdpr.standing(NULL, 'consent');
\c :home
DROP DATABASE decision_regress;
DROP ROLE dt_none, dt_member, dt_reveal, dt_mask, dt_override;
