-- The register of purposes and the ledger of consents, as somebody would who does not believe in them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE consent_regress;
\c consent_regress
SET client_min_messages = warning;
SET intervalstyle = postgres;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE cn_app; CREATE ROLE cn_team; CREATE ROLE cn_member IN ROLE cn_team; CREATE ROLE cn_apart NOINHERIT IN ROLE cn_team;
CREATE ROLE cn_officer LOGIN; CREATE ROLE cn_clerk IN ROLE cn_officer;
CREATE SCHEMA cn;
CREATE TABLE cn.person (id integer PRIMARY KEY, email text, iban text, faith text);
SELECT gdpr.declare_subject('cn.person', on_forget => 'erase'), gdpr.declare_column('cn.person', 'email', 'contact'),
       gdpr.declare_column('cn.person', 'iban', 'financial'), gdpr.declare_column('cn.person', 'faith', 'belief');
SELECT gdpr.protect_now('cn.person');
INSERT INTO cn.person SELECT i, 'p' || i || '@example.nl', 'NL' || i, 'none' FROM generate_series(1, 9) i;
SELECT gdpr.subject('cn.person', '1') AS p1, gdpr.subject('cn.person', '2') AS p2, gdpr.subject('cn.person', '3') AS p3,
       gdpr.subject('cn.person', '4') AS p4, gdpr.subject('cn.person', '5') AS p5 \gset
CREATE TABLE cn.number AS SELECT id, gdpr.subject('cn.person', id::text) AS subject FROM cn.person;
GRANT USAGE ON SCHEMA cn TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA cn TO PUBLIC;
SELECT gdpr.mark_category_special('belief');

-- Purposes: what is refused, and what to do instead ------------------------------------------------
SELECT gdpr.create_purpose('', 'consent', '{contact}');
SELECT gdpr.create_purpose(NULL, 'consent', '{contact}');
SELECT gdpr.create_purpose('x', 'consent', '{}');
SELECT gdpr.create_purpose('x', 'consent', NULL);
SELECT gdpr.create_purpose('x', 'because', '{contact}');
SELECT gdpr.create_purpose('x', NULL, '{contact}');
SELECT gdpr.create_purpose('x', 'consent', '{nothing}');
SELECT gdpr.create_purpose('x', 'consent', '{NULL}');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', columns => '{cn.person.nothing}');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', columns => '{person.email}');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', columns => '{cn.person.}');
SELECT gdpr.create_purpose('x', 'contract', '{contact}', default_basis => 'legitimate_interest');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', default_basis => 'consent');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', default_basis => 'whim');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', restricted_ground => 'whim');
SELECT gdpr.create_purpose('x', 'contract', '{contact}', ask_sources => '{web}');
SELECT gdpr.create_purpose('x', 'consent', '{belief}');
SELECT gdpr.create_purpose('x', 'consent', '{belief}', special_ground => 'k');
SELECT gdpr.create_purpose('x', 'consent', '{belief}', special_ground => 'ab');
SELECT gdpr.create_purpose('x', 'contract', '{belief}', special_ground => 'a');
SELECT gdpr.create_purpose('x', 'consent', '{contact}', max_per_statement => -1);
SELECT gdpr.create_purpose('x', 'consent', '{contact}', max_per_hour => -2);
SELECT gdpr.create_purpose('x', 'consent', '{contact}', retention => '-1 day');
SELECT count(*) AS purposes FROM gdpr.purpose;
-- an odd name is a name; categories and columns may be odd, too
CREATE TABLE cn."per.son ""x" (id integer PRIMARY KEY, "e-mail" text);
SELECT gdpr.declare_subject('cn."per.son ""x"'), gdpr.declare_column('cn."per.son ""x"', 'e-mail', 'contact');
SELECT gdpr.create_purpose('it''s "odd" – ѐ', 'contract', '{contact}', columns => '{"cn.\"per.son \"\"x\".\"e-mail\""}');
SELECT p.name, array(SELECT c.name FROM gdpr.mapped_column c WHERE c.id = ANY (p.columns)) AS columns FROM gdpr.purpose p;
SELECT gdpr.drop_purpose('it''s "odd" – ѐ');
DROP TABLE cn."per.son ""x";

SELECT gdpr.create_purpose('news', 'consent', '{contact}', description => 'We write to you.', direct_marketing => true);
SELECT gdpr.create_purpose('news', 'contract', '{contact}');
SELECT gdpr.create_purpose('care', 'contract', '{contact,financial}', retention => '2 years', controller => 'us');
SELECT gdpr.create_purpose('soft', 'consent', '{contact}', default_basis => 'legitimate_interest');
SELECT gdpr.create_purpose('rite', 'consent', '{belief,contact}', special_ground => 'a');
-- no columns is not: none of the columns
SELECT gdpr.create_purpose('wide', 'contract', '{contact}', columns => '{}');
SELECT columns FROM gdpr.purpose WHERE name = 'wide';
SELECT gdpr.drop_purpose('wide');

SELECT gdpr.alter_purpose('nothing', description => 'x');
SELECT gdpr.alter_purpose(NULL, description => 'x');
SELECT gdpr.alter_purpose('care', categories => '{}');
SELECT gdpr.alter_purpose('care', categories => '{nothing}');
SELECT gdpr.alter_purpose('care', categories => '{belief}');
SELECT gdpr.alter_purpose('care', special_ground => 'a');
SELECT gdpr.alter_purpose('care', special_ground => '');
SELECT gdpr.alter_purpose('care', restricted_ground => 'whim');
SELECT gdpr.alter_purpose('care', ask_sources => '{web}');
SELECT gdpr.alter_purpose('care', columns => '{cn.person.nothing}');
SELECT gdpr.alter_purpose('care', max_per_statement => -2);
SELECT gdpr.alter_purpose('care', retention => '0');
SELECT gdpr.alter_purpose('care', description => 'x', language => 'deutsch!');
SELECT gdpr.alter_purpose('care', description => 'x', language => '');
-- nothing is given: nothing changes, the id and the time neither
CREATE TABLE cn.kept AS SELECT * FROM gdpr.purpose;
SELECT gdpr.alter_purpose(name) FROM gdpr.purpose;
TABLE cn.kept EXCEPT TABLE gdpr.purpose;
-- what is given, changes; and is taken away again
SELECT gdpr.alter_purpose('care', columns => '{cn.person.email}', special_ground => 'c', restricted_ground => 'legal_claims', requires_actor => true,
                          max_per_statement => 0, max_per_hour => 5, profiling => true, controller => 'them', retention => '1 year');
SELECT gdpr.alter_purpose('soft', ask_sources => '{web,shop}');
SELECT id = (SELECT id FROM cn.kept WHERE name = 'care') AS same_id, cardinality(columns) AS columns, special_ground, restricted_ground, requires_actor,
       max_per_statement, max_per_hour, profiling, controller, retention FROM gdpr.purpose WHERE name = 'care';
SELECT ask_sources FROM gdpr.purpose WHERE name = 'soft';
SELECT gdpr.alter_purpose('care', columns => '{}', restricted_ground => '', requires_actor => false, max_per_statement => -1, max_per_hour => -1, profiling => false);
SELECT gdpr.alter_purpose('soft', ask_sources => '{}');
SELECT columns, restricted_ground, requires_actor, max_per_statement, max_per_hour, profiling FROM gdpr.purpose WHERE name = 'care';
SELECT ask_sources FROM gdpr.purpose WHERE name = 'soft';
-- several languages; the last word counts, and one can be taken away
SELECT gdpr.alter_purpose('news', description => 'Wir schreiben.', language => 'de'), gdpr.alter_purpose('news', description => '我们写信。', language => 'zh-Hans'),
       gdpr.alter_purpose('news', description => 'Wij schrijven.', language => 'nl');
SELECT gdpr.alter_purpose('news', description => 'Wir schreiben Ihnen.', language => 'de'), gdpr.alter_purpose('news', language => 'nl');
SELECT description, descriptions FROM gdpr.purpose WHERE name = 'news';

-- a special category: also when it is marked later, or the ground is to go
SELECT gdpr.mark_category_special('nothing');
SELECT gdpr.mark_category_special('financial', NULL);
SELECT gdpr.create_purpose('pay', 'contract', '{financial}');
SELECT gdpr.alter_purpose('care', special_ground => 'b');
SELECT gdpr.mark_category_special('financial');
SELECT name, special FROM gdpr.category WHERE name = 'financial';
SELECT gdpr.alter_purpose('pay', special_ground => 'f');
SELECT gdpr.mark_category_special('financial');
SELECT gdpr.create_purpose('pay2', 'contract', '{financial}');
SELECT gdpr.mark_category_special('financial', false);
SELECT gdpr.drop_purpose('pay');

-- Grants -------------------------------------------------------------------------------------------
SELECT gdpr.grant_purpose('nothing', 'cn_app');
SELECT gdpr.grant_purpose('care', 'cn_nobody');
SELECT gdpr.grant_purpose('care', 'public');
SELECT gdpr.grant_purpose('care', NULL);
SELECT gdpr.grant_purpose('care', 'cn_app', mode => 'peek');
SELECT gdpr.grant_purpose('care', 'cn_app', mode => NULL);
SELECT gdpr.grant_purpose('care', 'cn_app', max_per_statement => -1);
SELECT gdpr.grant_purpose('care', 'cn_app', max_per_hour => -1);
SELECT gdpr.grant_purpose('news', 'cn_app', override => true);
SELECT gdpr.revoke_purpose('care', 'cn_app');
SELECT gdpr.drop_purpose('nothing');
SELECT gdpr.drop_purpose(NULL);
-- the rest of a grant is replaced, not added to
SELECT gdpr.grant_purpose('care', 'cn_app', mode => 'reveal', override => true, max_per_statement => 4, max_per_hour => 5);
SELECT gdpr.grant_purpose('care', 'cn_app', mode => 'mask');
SELECT mode, override, max_per_statement, max_per_hour FROM gdpr.purpose_grant WHERE role = 'cn_app';
SELECT gdpr.revoke_purpose('care', 'cn_app');

-- who has the privileges of a role has its purposes; whoever would first have to SET ROLE has not
SELECT gdpr.grant_purpose('care', 'cn_team');
CREATE FUNCTION cn.see() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT email FROM cn.person WHERE id = 1);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET gdpr.purpose = 'care';
SET ROLE cn_member; SELECT cn.see(); SET ROLE cn_apart; SELECT cn.see(); SET ROLE cn_app; SELECT cn.see(); SET ROLE cn_team; SELECT cn.see(); RESET ROLE;
GRANT cn_team TO cn_app; SET ROLE cn_app; SELECT cn.see(); RESET ROLE;
REVOKE cn_team FROM cn_app; SET ROLE cn_app; SELECT cn.see(); RESET ROLE;
-- to the most permissive of its grants
SELECT gdpr.grant_purpose('care', 'cn_member', mode => 'mask'); SET ROLE cn_member; SELECT cn.see(); RESET ROLE;
SELECT gdpr.revoke_purpose('care', 'cn_team'); SET ROLE cn_member; SELECT cn.see(); RESET ROLE;
-- an actor is asked for when data is touched, of every role
SELECT gdpr.grant_purpose('care', 'cn_app'), gdpr.alter_purpose('care', requires_actor => true);
SET ROLE cn_app; SELECT cn.see(); SET gdpr.actor = 'ann'; SELECT cn.see(); SET gdpr.actor = ''; SELECT cn.see();
SELECT gdpr.permitted(subject) FROM cn.number WHERE id = 1;
RESET gdpr.actor; RESET ROLE;
SELECT gdpr.alter_purpose('care', requires_actor => false);
-- a purpose is granted to a name: a role that is made anew has it again, as doc/reference.md warns
CREATE ROLE cn_gone; SELECT gdpr.grant_purpose('care', 'cn_gone'); DROP ROLE cn_gone;
SET ROLE cn_app; SELECT cn.see(); RESET ROLE;
CREATE ROLE cn_gone; SET ROLE cn_gone; SELECT cn.see(); RESET ROLE;
SELECT gdpr.revoke_purpose('care', 'cn_gone'); SET ROLE cn_gone; SELECT cn.see(); RESET ROLE;
DROP ROLE cn_gone;
RESET gdpr.purpose;

-- A purpose that is dropped leaves nothing to the next of its name.
SELECT gdpr.create_purpose('again', 'consent', '{contact}', ask_sources => '{web}', description => 'old'), gdpr.grant_purpose('again', 'cn_app', override => true);
SELECT count(gdpr.give_consent(:p1, 'again')), count(gdpr.record_objection(:p2, 'again')), count(gdpr.give_consent(:p2, 'again'));
SELECT gdpr.request_consent(:p3, 'again') AS token, gdpr.give_consent(:p4, 'again') AS given \gset
SELECT gdpr.drop_purpose('again');
SET ROLE cn_app; SET gdpr.purpose = 'again'; SELECT cn.see(); RESET gdpr.purpose; RESET ROLE;
SELECT gdpr.confirm_consent(:'token');
SELECT gdpr.invalidate_consent(:'given', 'not free');
SELECT purpose, status FROM gdpr.consent_history(:p1);
SELECT gdpr.create_purpose('again', 'consent', '{contact}');
SELECT count(*) AS grants FROM gdpr.purpose_grant WHERE purpose = 'again';
SELECT gdpr.standing(subject, 'again') FROM cn.number WHERE id <= 2;
SELECT gdpr.confirm_consent(:'token');
SELECT count(gdpr.give_consent(:p4, 'again'));
SELECT gdpr.invalidate_consent(:'given', 'not free');
-- the one that is kept of person 4 is the new one
SELECT gdpr.standing(subject, 'again') FROM cn.number WHERE id IN (3, 4) ORDER BY id;
SELECT max(id) = (SELECT id FROM gdpr.purpose WHERE name = 'again') AS new_id FROM gdpr.purpose;
-- both are in the history
SELECT purpose, status, valid, since IS NOT NULL AS since FROM gdpr.consent_at(:p4);

-- The ledger ---------------------------------------------------------------------------------------
-- Nonsense
SELECT gdpr.give_consent(NULL, 'news');
SELECT gdpr.give_consent(:p1, NULL);
SELECT gdpr.give_consent(:p1, '');
SELECT gdpr.give_consent(:p1, 'nothing');
SELECT gdpr.give_consent(:p1, 'care');
SELECT gdpr.give_consent(:p1, 'news', occurred_at => NULL);
SELECT gdpr.give_consent(:p1, 'news', occurred_at => clock_timestamp() + interval '1 minute');
SELECT gdpr.give_consent(:p1, 'news', occurred_at => 'infinity');
SELECT gdpr.give_consent(:p1, 'news', expires_at => now() - interval '1 minute');
SELECT gdpr.give_consent(:p1, 'news', occurred_at => '2020-01-01', expires_at => '2020-01-01');
SELECT gdpr.give_consent(42, 'news');
SELECT gdpr.give_consent(0, 'news');
SELECT gdpr.give_consent(-:p1, 'news');
SELECT gdpr.give_consent(9223372036854775807, 'news');
SELECT gdpr.refuse_consent(:p1, 'care');
SELECT gdpr.refuse_consent(:p1, 'news', occurred_at => 'infinity');
SELECT gdpr.withdraw_consent(NULL);
SELECT gdpr.withdraw_consent(42);
SELECT gdpr.withdraw_consent(:p1, 'care');
SELECT gdpr.withdraw_consent(:p1, 'nothing');
SELECT gdpr.withdraw_consent(:p1, occurred_at => clock_timestamp() + interval '1 hour');
SELECT gdpr.expire_consent(:p1, 'news');
SELECT gdpr.expire_consent(NULL, 'news');
SELECT gdpr.invalidate_consent(NULL, 'x');
SELECT gdpr.invalidate_consent(gen_random_uuid(), 'x');
SELECT gdpr.request_consent(:p1, 'care');
SELECT gdpr.request_consent(:p1, 'news', valid => '0');
SELECT gdpr.request_consent(:p1, 'news', valid => NULL);
SELECT gdpr.confirm_consent(NULL);
SELECT gdpr.confirm_consent('');
SELECT count(*) AS events, (SELECT count(*) FROM gdpr.consent c JOIN gdpr.purpose p ON p.id = c.purpose_id WHERE p.name <> 'again') AS kept,
       (SELECT count(*) FROM gdpr.consent_request) AS requests FROM gdpr.consent_event WHERE purpose <> 'again';
-- an empty channel or topic is any, as NULL is; 'email' and 'Email' are two
CREATE FUNCTION cn.stands(subject bigint, purpose text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(coalesce(c, '*') || '/' || coalesce(t, '*') || ' ' || gdpr.standing(subject, purpose, c, t), ', ' ORDER BY c NULLS FIRST, t NULLS FIRST)
    FROM unnest(ARRAY[NULL, 'email', 'phone']) c, unnest(ARRAY[NULL, 'events']) t
$$;
SELECT count(gdpr.give_consent(:p1, 'news', channel => '', topic => '')), count(gdpr.refuse_consent(:p1, 'news', channel => 'Email'));
SELECT cn.stands(:p1, 'news');
SELECT channel, topic, status, valid FROM gdpr.consent_at(:p1) WHERE purpose = 'news';

-- Who was forgotten decides nothing any more; what it decided is in the ledger, without what was sealed.
SELECT gdpr.give_consent(:p5, 'news', source => 'web', notice => 'v1', proof => '{"ip": "192.0.2.7"}', given_by => 'Mother', note => 'by phone') AS record,
       gdpr.request_consent(:p5, 'soft', proof => '{"ip": "192.0.2.8"}') AS token \gset
SELECT status, source, notice, details FROM gdpr.consent_history(:p5);
SELECT gdpr.forget(:p5) IS NOT NULL AS forgotten;
SELECT purpose, status, source, notice, details FROM gdpr.consent_history(:p5);
SELECT purpose, status, valid FROM gdpr.consent_at(:p5);
SELECT gdpr.standing(:p5, 'news');
SELECT gdpr.give_consent(:p5, 'news');
SELECT gdpr.withdraw_consent(:p5);
SELECT gdpr.confirm_consent(:'token');
SELECT gdpr.invalidate_consent(:'record', 'x');
-- A category that was forgotten and collected anew has a number of its own: whoever names it, means the person.
SELECT gdpr.forget(:p4, category => 'contact') IS NOT NULL AS forgotten;
SELECT count(gdpr.create_purpose('write', 'contract', '{contact}')), count(gdpr.grant_purpose('write', 'cn_app'));
GRANT UPDATE ON cn.person TO cn_app;
SET ROLE cn_app; SET gdpr.purpose = 'write'; UPDATE cn.person SET email = 'new@example.nl' WHERE id = 4; RESET gdpr.purpose; RESET ROLE;
SELECT number AS alias FROM gdpr.subject_alias WHERE subject = :p4 \gset
SELECT count(gdpr.give_consent(:alias, 'news', 'email')), count(gdpr.restrict(:alias));
SELECT subject = :p4 AS of_the_person FROM gdpr.consent_event WHERE purpose = 'news' AND channel = 'email';
SELECT gdpr.standing(:p4, 'news', 'email'), gdpr.standing(:alias, 'news', 'email');
SELECT gdpr.grant_purpose('write', 'cn_team');
SELECT gdpr.permitted(:p4, 'write'), gdpr.permitted(:alias, 'write');
SELECT (SELECT count(*) FROM gdpr.consent_history(:p4)) = (SELECT count(*) FROM gdpr.consent_history(:alias)) AS same_history,
       (SELECT count(*) FROM gdpr.consent_at(:p4)) = (SELECT count(*) FROM gdpr.consent_at(:alias)) AS same_state,
       (SELECT count(*) FROM gdpr.flag_history(:p4)) = (SELECT count(*) FROM gdpr.flag_history(:alias)) AS same_flags;
SELECT gdpr.lift_restriction(:alias, informed_at => now());

-- Backdated: the order of what happened counts, not that of what was heard.
SELECT (SELECT count(*) FROM gdpr.withdraw_consent(:p2, 'news', occurred_at => '2024-05-01')), count(gdpr.give_consent(:p2, 'news', occurred_at => '2024-04-01'));
SELECT cn.stands(:p2, 'news');
SELECT count(gdpr.give_consent(:p2, 'news', occurred_at => '2024-06-01'));
SELECT cn.stands(:p2, 'news');
SELECT (SELECT count(*) FROM gdpr.withdraw_consent(:p2, 'news', occurred_at => '2024-05-15'));
SELECT cn.stands(:p2, 'news');
SELECT count(gdpr.refuse_consent(:p2, 'news', 'email', occurred_at => '2024-05-20'));
SELECT cn.stands(:p2, 'news');
SELECT (SELECT count(*) FROM gdpr.withdraw_consent(:p2, 'news', occurred_at => '2024-07-01'));
SELECT cn.stands(:p2, 'news');
SELECT status, occurred_at::date FROM gdpr.consent_history(:p2) WHERE purpose = 'news';
-- given again, and given while it is: renewed
SELECT count(gdpr.give_consent(:p2, 'news', occurred_at => '2024-08-01')), count(gdpr.give_consent(:p2, 'news', occurred_at => '2024-08-02')),
       count(gdpr.give_consent(:p2, 'news', occurred_at => '2024-07-20'));
SELECT status, occurred_at::date FROM gdpr.consent_history(:p2) WHERE purpose = 'news' AND occurred_at >= '2024-07-20';
-- At the same instant, the least permissive holds, in whatever order they come.
SELECT count(gdpr.give_consent(:p3, 'news', occurred_at => '2024-01-01')), (SELECT count(*) FROM gdpr.withdraw_consent(:p3, 'news', occurred_at => '2024-01-01'));
SELECT gdpr.standing(:p3, 'news');
SELECT count(gdpr.give_consent(:p3, 'news', occurred_at => '2024-01-01'));
SELECT gdpr.standing(:p3, 'news'), (SELECT status FROM gdpr.consent_at(:p3) WHERE purpose = 'news');
SELECT count(gdpr.give_consent(:p3, 'soft', occurred_at => '2024-01-01')), (SELECT count(*) FROM gdpr.withdraw_consent(:p3, 'soft', occurred_at => '2024-01-01'));
SELECT (SELECT count(*) FROM gdpr.withdraw_consent(:p3, 'news', 'email', occurred_at => '2024-02-01')), count(gdpr.give_consent(:p3, 'news', occurred_at => '2024-02-01'));
SELECT cn.stands(:p3, 'news');
SELECT count(gdpr.give_consent(:p3, 'news', 'phone', occurred_at => '2024-02-02')), (SELECT count(*) FROM gdpr.withdraw_consent(:p3, 'news', occurred_at => '2024-02-02'));
SELECT cn.stands(:p3, 'news');

-- General and specific. A refusal holds, unless the consent came later and is about less.
CREATE PROCEDURE cn.begin(id integer) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cn.person VALUES (id, 'p@example.nl');
    INSERT INTO cn.number VALUES (id, gdpr.subject('cn.person', id::text));
END $$;
CREATE FUNCTION cn.decide(id integer, purpose text, VARIADIC decisions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    d text[];
    day date := '2024-01-01';
    i integer;
BEGIN
    CALL cn.begin(decide.id);
    n := gdpr.subject('cn.person', decide.id::text);
    FOR i IN 1 .. cardinality(decisions) LOOP
        d := string_to_array(decisions[i], ' ');
        day := day + 1;
        CASE d[1]
            WHEN 'give' THEN PERFORM gdpr.give_consent(n, purpose, nullif(d[2], '*'), nullif(d[3], '*'), occurred_at => day);
            WHEN 'refuse' THEN PERFORM gdpr.refuse_consent(n, purpose, nullif(d[2], '*'), nullif(d[3], '*'), occurred_at => day);
            WHEN 'withdraw' THEN PERFORM gdpr.withdraw_consent(n, purpose, nullif(d[2], '*'), nullif(d[3], '*'), occurred_at => day);
        END CASE;
    END LOOP;
    RETURN cn.stands(n, purpose);
END $$;
SELECT cn.decide(101, 'news', 'give * *', 'withdraw email *');
SELECT cn.decide(102, 'news', 'withdraw email *', 'give * *');
SELECT cn.decide(103, 'news', 'withdraw * *', 'give email *');
SELECT cn.decide(104, 'news', 'give email *', 'withdraw * *');
SELECT cn.decide(105, 'news', 'give email *', 'withdraw * events');
SELECT cn.decide(106, 'news', 'withdraw * events', 'give email *');
SELECT cn.decide(107, 'news', 'withdraw * events', 'give email events');
SELECT cn.decide(108, 'news', 'withdraw email events', 'give email *', 'give * events');
SELECT cn.decide(109, 'soft', 'withdraw email *');
SELECT cn.decide(110, 'soft', 'refuse * *', 'give phone events');
SELECT cn.decide(111, 'soft', 'refuse * *', 'give phone *', 'refuse phone events', 'give phone *');
-- consent_at knows the same
SELECT n.id, a.channel, a.topic, a.status, a.valid FROM cn.number n, gdpr.consent_at(n.subject) a WHERE n.id BETWEEN 104 AND 108 ORDER BY 1, 2 NULLS FIRST, 3 NULLS FIRST;

-- Everything, in one call: also what is taken for granted; of one channel.
CALL cn.begin(120); SELECT subject AS p FROM cn.number WHERE id = 120 \gset
SELECT count(*) AS of_somebody_who_decided_nothing FROM gdpr.withdraw_consent(:p);
SELECT gdpr.standing(:p, 'soft'), gdpr.standing(:p, 'news'), gdpr.standing(:p, 'rite');
CALL cn.begin(121); SELECT subject AS p FROM cn.number WHERE id = 121 \gset
SELECT count(gdpr.give_consent(:p, 'news', 'email')), count(gdpr.give_consent(:p, 'news', 'phone')), count(gdpr.give_consent(:p, 'rite'));
SELECT count(*) FROM gdpr.withdraw_consent(:p, channel => 'email', source => 'link', proof => '{"click": 1}');
SELECT gdpr.standing(:p, 'news', 'email'), gdpr.standing(:p, 'news', 'phone'), gdpr.standing(:p, 'rite', 'email'), gdpr.standing(:p, 'rite'), gdpr.standing(:p, 'soft', 'email'), gdpr.standing(:p, 'soft');
SELECT count(*) FROM gdpr.withdraw_consent(:p);
SELECT gdpr.standing(:p, 'news', 'phone'), gdpr.standing(:p, 'rite'), gdpr.standing(:p, 'soft'), gdpr.standing(:p, 'care');
SELECT purpose, channel, status, source, details FROM gdpr.consent_history(:p) WHERE status = 'withdrawn' ORDER BY recorded_at, purpose;

-- Time passes: while nobody records anything, and in the middle of a transaction.
CALL cn.begin(122); SELECT subject AS p FROM cn.number WHERE id = 122 \gset
SELECT clock_timestamp() + interval '0.5 s' AS soon \gset
SELECT count(gdpr.give_consent(:p, 'news', expires_at => :'soon')), count(gdpr.give_consent(:p, 'soft', expires_at => :'soon'));
SELECT gdpr.request_consent(:p, 'rite', valid => '1 ms') AS expired, gdpr.request_consent(:p, 'rite', expires_at => :'soon') AS late \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT gdpr.standing(:p, 'news'), gdpr.standing(:p, 'soft'), (SELECT string_agg(purpose || ' ' || status || ' ' || valid, ', ') FROM gdpr.consent_at(:p) WHERE purpose <> 'rite');
SELECT pg_sleep(extract(epoch FROM :'soon' - clock_timestamp()));
SELECT gdpr.standing(:p, 'news'), gdpr.standing(:p, 'soft'), (SELECT string_agg(purpose || ' ' || status || ' ' || valid, ', ') FROM gdpr.consent_at(:p) WHERE purpose <> 'rite');
COMMIT;
-- an end comes before or after what it ends
SELECT count(gdpr.give_consent(:p, 'news')), count(gdpr.expire_consent(:p, 'news'));
SELECT gdpr.standing(:p, 'news');
SELECT count(gdpr.give_consent(:p, 'news', occurred_at => now() - interval '1 hour'));
SELECT gdpr.standing(:p, 'news');
SELECT count(gdpr.give_consent(:p, 'news'));
SELECT gdpr.standing(:p, 'news');
SELECT status, expires_at IS NOT NULL AS expires FROM gdpr.consent_history(:p) WHERE purpose = 'news';

-- Notices ------------------------------------------------------------------------------------------
SELECT gdpr.publish_notice(NULL);
SELECT gdpr.publish_notice('');
SELECT gdpr.publish_notice('n1', published_at => NULL);
SELECT gdpr.publish_notice('n1', '{news,nothing}');
SELECT gdpr.publish_notice('n1', '{NULL}');
SELECT gdpr.publish_notice('n1', renew_by => '2030-01-01');
SELECT gdpr.publish_notice('n1', requires_renewal => true, published_at => '2025-01-01', renew_by => '2024-01-01');
CALL cn.begin(130); SELECT subject AS p FROM cn.number WHERE id = 130 \gset
SELECT count(gdpr.give_consent(:p, 'news', occurred_at => '2024-01-01')), count(gdpr.give_consent(:p, 'soft', occurred_at => '2024-01-01'));
-- one that only informs
SELECT gdpr.publish_notice('n1', published_at => '2024-02-01', url => 'https://example.nl/n1', language => 'nl');
SELECT gdpr.publish_notice('n1');
SELECT gdpr.standing(:p, 'news'), gdpr.standing(:p, 'soft');
-- one about another purpose, one of the future, one that leaves time
SELECT gdpr.publish_notice('n2', '{rite}', requires_renewal => true, published_at => '2024-03-01'),
       gdpr.publish_notice('n3', requires_renewal => true, published_at => '2100-01-01'),
       gdpr.publish_notice('n4', requires_renewal => true, published_at => '2024-04-01', renew_by => '2100-01-01');
SELECT gdpr.standing(:p, 'news'), gdpr.standing(:p, 'soft');
SELECT purpose, status, valid FROM gdpr.consent_at(:p);
SELECT purpose, status, valid FROM gdpr.consent_at(:p, '2099-12-31');
SELECT purpose, status, valid FROM gdpr.consent_at(:p, '2100-01-01');
-- and one that counts: a consent of the very moment does; one from before is to be given anew
SELECT gdpr.publish_notice('n5', '{news}', requires_renewal => true, published_at => '2024-05-01');
SELECT gdpr.standing(:p, 'news'), gdpr.standing(:p, 'soft');
SELECT count(gdpr.give_consent(:p, 'news', 'email', occurred_at => '2024-04-30 23:59:59.999999')), count(gdpr.give_consent(:p, 'news', 'phone', occurred_at => '2024-05-01', notice => 'n5'));
SELECT cn.stands(:p, 'news');
SELECT channel, status, valid FROM gdpr.consent_at(:p) WHERE purpose = 'news';
-- a refusal stays one
CALL cn.begin(131); SELECT subject AS p FROM cn.number WHERE id = 131 \gset
SELECT count(gdpr.refuse_consent(:p, 'soft', occurred_at => '2024-01-01'));
SELECT gdpr.publish_notice('n6', '{soft}', requires_renewal => true, published_at => '2024-06-01');
SELECT gdpr.standing(:p, 'soft');

-- What was so, and what was known --------------------------------------------------------------------
CALL cn.begin(140); SELECT subject AS p FROM cn.number WHERE id = 140 \gset
SELECT count(gdpr.request_consent(:p, 'rite')), count(gdpr.give_consent(:p, 'rite', occurred_at => '2020-01-01', expires_at => '2021-01-01', notice => 'v1', source => 'paper'));
SELECT clock_timestamp() AS known1 \gset
SELECT (SELECT count(*) FROM gdpr.withdraw_consent(:p, 'rite', occurred_at => '2020-06-01', source => 'letter'));
SELECT clock_timestamp() AS known2 \gset
SELECT count(gdpr.give_consent(:p, 'rite', occurred_at => '2020-09-01'));
CREATE FUNCTION cn.at(subject bigint, VARIADIC days timestamptz[]) RETURNS TABLE (day date, now text, known1 text, known2 text) LANGUAGE sql STABLE AS $$
    SELECT d::date, (SELECT status || CASE WHEN valid THEN ' +' ELSE '' END FROM gdpr.consent_at(at.subject, d)),
           (SELECT status || CASE WHEN valid THEN ' +' ELSE '' END FROM gdpr.consent_at(at.subject, d, days[1])),
           (SELECT status || CASE WHEN valid THEN ' +' ELSE '' END FROM gdpr.consent_at(at.subject, d, days[2]))
    FROM unnest(days[3:]) d
$$;
SELECT * FROM cn.at(:p, :'known1', :'known2', '2019-12-31', '2020-01-01', '2020-05-31', '2020-06-01', '2020-08-31', '2020-09-01', '2021-01-01', '2022-01-01');
SELECT count(*) FROM gdpr.consent_at(:p, '-infinity');
SELECT count(*) FROM gdpr.consent_at(:p, known_at => '-infinity');
SELECT count(*) FROM gdpr.consent_at(NULL);
SELECT count(*) FROM gdpr.consent_at(42);
-- only asked: no answer, no consent
CALL cn.begin(141); SELECT subject AS p FROM cn.number WHERE id = 141 \gset
SELECT count(gdpr.request_consent(:p, 'news', 'email')), count(gdpr.request_consent(:p, 'soft'));
SELECT purpose, channel, status, valid FROM gdpr.consent_at(:p);
SELECT gdpr.standing(:p, 'news', 'email'), gdpr.standing(:p, 'soft');
-- invalid from the start, as is known now; a consent that was given later stands
SELECT gdpr.give_consent(:p, 'news', occurred_at => '2024-06-01') AS record \gset
SELECT gdpr.invalidate_consent(:'record', NULL);
SELECT gdpr.invalidate_consent(:'record', '');
SELECT gdpr.invalidate_consent(:'record', 'the box was ticked') AS event \gset
SELECT gdpr.invalidate_consent(:'event', 'not a consent itself');
SELECT gdpr.standing(:p, 'news'), (SELECT status || ' ' || valid FROM gdpr.consent_at(:p) WHERE purpose = 'news' AND channel IS NULL) AS today,
       (SELECT status || ' ' || valid FROM gdpr.consent_at(:p, '2024-06-02') WHERE purpose = 'news' AND channel IS NULL) AS then;
SELECT gdpr.give_consent(:p, 'news', occurred_at => '2024-07-01') IS NOT NULL AS later, gdpr.give_consent(:p, 'news', occurred_at => '2024-05-01') AS earlier \gset
SELECT gdpr.invalidate_consent(:'earlier', 'not informed') IS NOT NULL AS invalidated, gdpr.standing(:p, 'news');
SELECT details - 'record' AS details, details->>'record' = :'record' AS names_it FROM gdpr.consent_history(:p) WHERE status = 'invalidated';

-- Double opt-in --------------------------------------------------------------------------------------
CALL cn.begin(150); SELECT subject AS p FROM cn.number WHERE id = 150 \gset
SELECT gdpr.request_consent(:p, 'news', 'email', 'events', source => 'form', notice => 'n5', proof => '{"form": "secretform"}', expires_at => '2100-01-01') AS token \gset
SELECT :'token' ~ '^[A-Za-z0-9_-]{43}$' AS fits_into_a_link;
SELECT gdpr.standing(:p, 'news', 'email', 'events');
SELECT gdpr.confirm_consent(left(:'token', 42));
SELECT gdpr.confirm_consent(:'token' || ' ');
SELECT gdpr.confirm_consent(upper(:'token'));
SELECT gdpr.confirm_consent(encode(token_hash, 'hex')) FROM gdpr.consent_request WHERE token_hash = sha256(:'token');
-- if the transaction does not commit, it was not used
BEGIN; SELECT gdpr.confirm_consent(:'token') IS NOT NULL AS confirmed; SELECT gdpr.standing(:p, 'news', 'email', 'events'); ROLLBACK;
SELECT gdpr.standing(:p, 'news', 'email', 'events');
SELECT gdpr.confirm_consent(:'token', proof => '{"ip": "secretip"}', source => 'link') IS NOT NULL AS confirmed;
SELECT gdpr.standing(:p, 'news', 'email', 'events'), gdpr.standing(:p, 'news', 'email'), gdpr.standing(:p, 'news', 'phone');
SELECT gdpr.confirm_consent(:'token');
SELECT channel, topic, status, source, notice, expires_at::date, details - 'request' AS details,
       details->>'request' = lag(record::text) OVER (ORDER BY recorded_at) AS of_the_request FROM gdpr.consent_history(:p);
-- one that has run out; one of a consent that has
SELECT gdpr.confirm_consent(:'expired');
SELECT gdpr.confirm_consent(:'late');
-- two requests are two tokens
SELECT gdpr.request_consent(:p, 'rite') AS first, gdpr.request_consent(:p, 'rite') AS second \gset
SELECT :'first' <> :'second' AS differ, gdpr.confirm_consent(:'first') IS NOT NULL AS one, gdpr.confirm_consent(:'second') IS NOT NULL AS other;
-- Nothing of it is kept, nor what was sealed: neither in the tables nor in what a dump makes of them.
CREATE FUNCTION cn.mentions(words text[]) RETURNS TABLE (word text, place text) LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
    w text;
    found boolean;
BEGIN
    FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'gdpr'::regnamespace AND c.relkind = 'r' ORDER BY c.relname LOOP
        FOREACH w IN ARRAY words LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %s t WHERE position($1 IN t::text) > 0 OR position(encode($1::bytea, ''hex'') IN t::text) > 0
                            OR position($1 IN encode(decode(translate(coalesce(to_jsonb(t)->>''details'', ''''), E''\n'', ''''), ''base64''), ''escape'')) > 0)', t) INTO found USING w;
            IF found THEN
                word := w; place := t; RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
END $$;
SELECT place FROM cn.mentions(ARRAY[:'token', :'expired', :'first', 'secretform', 'secretip', 'by phone', '192.0.2', 'Mother', 'ticked']);
SELECT place FROM cn.mentions(ARRAY['form']);  -- the search finds what there is: the source is in the clear

-- Who may, and what is recorded of who did -------------------------------------------------------------
SET ROLE cn_app;
SELECT gdpr.give_consent(:p, 'news');
SELECT gdpr.withdraw_consent(:p);
SELECT gdpr.refuse_consent(:p, 'news');
SELECT gdpr.invalidate_consent(NULL, 'x');
SELECT gdpr.expire_consent(:p, 'news');
SELECT gdpr.request_consent(:p, 'news');
SELECT gdpr.confirm_consent('x');
SELECT * FROM gdpr.consent_at(:p);
SELECT * FROM gdpr.consent_history(:p);
SELECT gdpr.standing(:p, 'news');
SELECT gdpr.create_purpose('x', 'consent', '{contact}');
SELECT gdpr.grant_purpose('news', 'cn_app');
SELECT gdpr.publish_notice('x');
SELECT gdpr.record_consent(:p, 'news', 'given', '', '', now(), NULL, NULL, NULL, NULL);
TABLE gdpr.consent_event;
TABLE gdpr.consent;
TABLE gdpr.consent_request;
INSERT INTO gdpr.consent_event (subject, purpose_id, purpose, status, occurred_at, recorded_by) VALUES (:p, 1, 'news', 'given', now(), 'x');
RESET ROLE;
GRANT EXECUTE ON FUNCTION gdpr.give_consent(bigint, text, text, text, text, text, jsonb, timestamptz, timestamptz, text, text), gdpr.consent_history(bigint) TO cn_officer;
CALL cn.begin(160); SELECT subject AS p FROM cn.number WHERE id = 160 \gset
SET SESSION AUTHORIZATION cn_officer; SET gdpr.actor = 'desk 3';
SELECT count(gdpr.give_consent(:p, 'news'));
RESET SESSION AUTHORIZATION;
SET ROLE cn_clerk; SET gdpr.actor = '';
SELECT count(gdpr.give_consent(:p, 'news'));
RESET ROLE;
-- who called the function of the application, not its owner
CREATE FUNCTION cn.opt_in(p bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM gdpr.give_consent(p, 'news'); END $$;
ALTER FUNCTION cn.opt_in OWNER TO cn_officer;
SET SESSION AUTHORIZATION cn_app; SELECT cn.opt_in(:p); RESET SESSION AUTHORIZATION;
SELECT status, recorded_by, session_role, actor FROM gdpr.consent_history(:p);
RESET gdpr.actor;

-- Only ever added to, whoever asks and however -----------------------------------------------------------
SELECT count(*) AS events FROM gdpr.consent_event \gset
SELECT count(gdpr.restrict(:p1)), count(gdpr.lift_restriction(:p1, informed_at => now()));
SELECT count(*) AS flags FROM gdpr.flag_event \gset
\set VERBOSITY sqlstate
UPDATE gdpr.consent_event SET status = 'given';
\set VERBOSITY default
UPDATE gdpr.flag_event SET status = 'lifted' WHERE false;
DELETE FROM gdpr.consent_event; DELETE FROM gdpr.flag_event WHERE false;
TRUNCATE gdpr.consent_event; TRUNCATE gdpr.flag_event CASCADE; TRUNCATE gdpr.consent, gdpr.consent_event;
WITH d AS (DELETE FROM gdpr.consent_event RETURNING *) SELECT count(*) FROM d;
WITH d AS (UPDATE gdpr.flag_event SET ground = 'x' RETURNING *) SELECT 1;
INSERT INTO gdpr.consent_event SELECT * FROM gdpr.consent_event LIMIT 1 ON CONFLICT (id) DO UPDATE SET status = 'given';
MERGE INTO gdpr.consent_event e USING cn.number n ON e.subject = n.subject WHEN MATCHED THEN DELETE;
MERGE INTO gdpr.flag_event e USING cn.number n ON e.subject = n.subject WHEN MATCHED THEN UPDATE SET status = 'lifted';
MERGE INTO gdpr.consent_event e USING cn.number n ON false WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING;
BEGIN; DECLARE c CURSOR FOR SELECT * FROM gdpr.consent_event FOR UPDATE; MOVE 1 FROM c;
DELETE FROM gdpr.consent_event WHERE CURRENT OF c; ROLLBACK;
SET session_replication_role = replica;
UPDATE gdpr.consent_event SET status = 'given'; DELETE FROM gdpr.flag_event; TRUNCATE gdpr.consent_event; TRUNCATE gdpr.flag_event;
RESET session_replication_role;
COPY gdpr.consent_event FROM '/dev/null' WITH (FREEZE);
BEGIN; TRUNCATE gdpr.consent_event; COPY gdpr.consent_event FROM '/dev/null' WITH (FREEZE); ROLLBACK;
PREPARE change AS DELETE FROM gdpr.consent_event WHERE id = $1; EXECUTE change (:'record');
-- whoever was granted everything on the tables is no better off
GRANT ALL ON gdpr.consent_event, gdpr.flag_event TO cn_officer; GRANT USAGE ON SCHEMA gdpr TO cn_officer;
SET ROLE cn_officer;
UPDATE gdpr.consent_event SET status = 'given'; DELETE FROM gdpr.flag_event; TRUNCATE gdpr.consent_event;
ALTER TABLE gdpr.consent_event DISABLE TRIGGER refuse_change;
ALTER TABLE gdpr.consent_event DISABLE TRIGGER ALL;
DROP TRIGGER refuse_change ON gdpr.consent_event;
CREATE RULE r AS ON UPDATE TO gdpr.consent_event DO INSTEAD NOTHING;
CREATE TEMP TABLE part () INHERITS (gdpr.consent_event);
DROP TABLE gdpr.consent_event;
SET session_replication_role = replica;
RESET ROLE;
REVOKE ALL ON gdpr.consent_event, gdpr.flag_event FROM cn_officer; REVOKE ALL ON SCHEMA gdpr FROM cn_officer;
SELECT (SELECT count(*) FROM gdpr.consent_event) = :events AND (SELECT count(*) FROM gdpr.flag_event) = :flags AS nothing_changed;
SELECT relname, tgname, tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE tgname = 'refuse_change' ORDER BY 1;

\c :before
DROP DATABASE consent_regress;
DROP ROLE cn_app, cn_member, cn_apart, cn_team, cn_clerk, cn_officer;
