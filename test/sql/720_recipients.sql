-- The register of recipients, and what is disclosed to them.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE recipients_regress;
\c recipients_regress
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE rec_officer; CREATE ROLE rec_guest;
CREATE SCHEMA crm;
CREATE TABLE crm.contact (id integer PRIMARY KEY, name text, email text, health text);
INSERT INTO crm.contact SELECT i, 'Name ' || i, i || '@example.nl', 'nuts' FROM generate_series(1, 9) i;
SELECT gdpr.declare_subject('crm.contact'), gdpr.declare_column('crm.contact', 'name', 'identity'),
       gdpr.declare_column('crm.contact', 'email', 'contact'), gdpr.declare_column('crm.contact', 'health', 'health');
SELECT gdpr.protect_now('crm.contact');
SELECT gdpr.mark_category_special('health');
SELECT gdpr.create_purpose('service', 'contract', '{identity,contact}'), gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true),
       gdpr.create_purpose('diet', 'consent', '{health}', special_ground => 'a'), gdpr.create_purpose('claims', 'legal_obligation', '{contact}', restricted_ground => 'legal_claims');
CREATE FUNCTION n(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('crm.contact', id::text) $$;
-- what a statement says if it fails, numbers and all
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ': ' || SQLERRM, nullif(d, ''), nullif(h, '')), '(person|subject) \d+', '\1 (number)', 'g');
END $$;

-- countries: within the EEA, adequate, partly, and others
SELECT status, count(*), string_agg(code, ' ' ORDER BY code) AS codes FROM gdpr.country GROUP BY 1 ORDER BY 1;
SELECT gdpr.add_recipient('Shop NL', 'NL', purposes => '{service}'), gdpr.add_recipient('Bank CH', 'CH', purposes => '{service,claims}', role => 'controller', contact => 'dpo@bank.example'),
       gdpr.add_recipient('Mailer BV', country => 'US', safeguard => 'scc', contract => 'cabinet 3', purposes => '{news,service}', role => 'processor');
SELECT c, s, try(format('SELECT gdpr.add_recipient(''x'', %L, %L, purposes => ''{service}'')', c, s))
FROM (VALUES ('IN', NULL), ('IN', 'none'), ('IN', 'adequacy'), ('US', NULL), ('US', 'none'), ('CH', 'none'), ('NL', 'adequacy'), ('UK', NULL), ('nl', NULL),
      ('', NULL), (NULL, 'scc'), ('IN', 'trust'), ('IN', ''), ('IN', 'derogation')) v(c, s);
SELECT try('SELECT gdpr.add_recipient(''x'', ''IN'', ''derogation'', derogation => ''h'', purposes => ''{service}'')');
SELECT try('SELECT gdpr.add_recipient(''x'', ''IN'', ''scc'', derogation => ''a'', purposes => ''{service}'')');
SELECT gdpr.add_recipient('Clinic IN', 'IN', 'derogation', derogation => 'a', purposes => '{diet}'), gdpr.add_recipient('Cloud US', 'US', 'adequacy', purposes => '{service}');
-- other mistakes
SELECT try(s) FROM (VALUES ('SELECT gdpr.add_recipient('''', ''NL'', purposes => ''{service}'')'), ('SELECT gdpr.add_recipient(NULL, ''NL'', purposes => ''{service}'')'),
    ('SELECT gdpr.add_recipient(''x'', ''NL'')'), ('SELECT gdpr.add_recipient(''x'', ''NL'', purposes => ''{}'')'), ('SELECT gdpr.add_recipient(''x'', ''NL'', purposes => ''{nosuch}'')'),
    ('SELECT gdpr.add_recipient(''x'', ''NL'', purposes => ''{NULL}'')'), ('SELECT gdpr.add_recipient(''x'', ''NL'', purposes => ''{service}'', role => ''friend'')'),
    ('SELECT gdpr.add_recipient(''x'', ''NL'', purposes => ''{service}'', role => ''processor'')'), ('SELECT gdpr.add_recipient(''Shop NL'', ''NL'', purposes => ''{service}'')')) v(s);
SELECT name, role, country, country_status, safeguard, derogation, contract, purposes, contact, dropped_at FROM gdpr.recipients ORDER BY name;

-- changing: what is left out stays
SELECT gdpr.change_recipient('Shop NL', description => E'Odd "name"\n; DROP', new_name => E'Käse & "Co"\n');
SELECT name, country, safeguard, purposes, description FROM gdpr.recipients WHERE name LIKE 'K%';
SELECT gdpr.change_recipient(E'Käse & "Co"\n', new_name => 'Shop NL', description => '');
SELECT gdpr.change_recipient('Bank CH', purposes => '{claims}');
SELECT name, purposes, description FROM gdpr.recipients WHERE name IN ('Shop NL', 'Bank CH') ORDER BY name;
SELECT try(s) FROM (VALUES ('SELECT gdpr.change_recipient(''Bank CH'', country => ''IN'')'), ('SELECT gdpr.change_recipient(''nosuch'')'), ('SELECT gdpr.change_recipient(NULL)'),
    ('SELECT gdpr.change_recipient(''Bank CH'', new_name => ''Shop NL'')'), ('SELECT gdpr.change_recipient(''Bank CH'', new_name => '''')'), ('SELECT gdpr.change_recipient(''Mailer BV'', contract => '''')'),
    ('SELECT gdpr.change_recipient(''Bank CH'', role => ''processor'')'), ('SELECT gdpr.change_recipient(''Clinic IN'', safeguard => ''scc'', derogation => ''b'')')) v(s);
SELECT gdpr.change_recipient('Clinic IN', safeguard => 'bcr');
SELECT gdpr.change_recipient('Clinic IN', safeguard => 'derogation', derogation => 'c');
SELECT country, safeguard, derogation FROM gdpr.recipients WHERE name = 'Clinic IN';

-- disclosing
SELECT gdpr.disclose(n(1), 'Mailer BV', categories => '{contact}', purpose => 'service', reference => 'subscriber 17 ☎') IS NOT NULL AS recorded;
SELECT gdpr.disclose(n(1), 'Shop NL') IS NOT NULL AS all_of_its_only_purpose;
SELECT gdpr.give_consent(n(1), 'news') IS NOT NULL AS consent;
SET gdpr.actor = 'Zoë';
SELECT gdpr.disclose(n(1), 'Mailer BV', purpose => 'news', ground => 'legitimate_interest', at => '2026-01-02 03:04:05+00') IS NOT NULL AS recorded;
RESET gdpr.actor;
SELECT recipient, categories, purpose, ground, country, safeguard, reference, recorded_by, actor, disclosed_at = '2026-01-02 03:04:05+00' AS earlier FROM gdpr.disclosures_of(n(1));
SELECT count(*) AS sealed FROM gdpr.disclosure WHERE position('subscriber' IN encode(decode(details::text, 'base64'), 'escape')) = 0;
SELECT gdpr.mark_category_special('contact', false);
-- what is refused
SELECT gdpr.restrict(n(2)) IS NOT NULL AS restricted, gdpr.record_objection(n(3)) IS NOT NULL AS objects, gdpr.forget(n(4)) IS NOT NULL AS forgotten;
SELECT subject AS gone FROM gdpr.erasure \gset
SELECT w, try('SELECT gdpr.disclose(' || s || ')') FROM (VALUES
    ('restricted', 'n(2), ''Shop NL'''), ('objects', 'n(3), ''Mailer BV'', purpose => ''news'''), ('no consent', 'n(5), ''Mailer BV'', purpose => ''news'''),
    ('forgotten', :'gone' || ', ''Shop NL'''), ('nobody', '42, ''Shop NL'''), ('NULL', 'NULL, ''Shop NL'''),
    ('no recipient', 'n(5), ''nosuch'''), ('NULL recipient', 'n(5), NULL'), ('which purpose', 'n(5), ''Mailer BV'''), ('no purpose', 'n(5), ''Mailer BV'', purpose => ''nosuch'''),
    ('not registered', 'n(5), ''Shop NL'', purpose => ''claims'''), ('not covered', 'n(5), ''Shop NL'', ''{contact,health}'''), ('no category', 'n(5), ''Shop NL'', ''{nosuch}'''),
    ('NULL category', 'n(5), ''Shop NL'', ''{contact,NULL}'''), ('empty', 'n(5), ''Shop NL'', ''{}'''), ('records', 'n(5), ''Shop NL'', ''{records}'''),
    ('ground', 'n(5), ''Shop NL'', ground => ''because'''), ('future', 'n(5), ''Shop NL'', at => ''infinity'''), ('at NULL', 'n(5), ''Shop NL'', at => NULL')) v(w, s);
-- a purpose may do so regardless
SELECT gdpr.disclose(n(2), 'Bank CH') IS NOT NULL AS for_claims;

-- many at once, all or none
SELECT gdpr.disclose_many(ARRAY[n(5), n(6), n(7)], 'Shop NL', '{identity}', "references" => ARRAY['five', NULL, '']);
SELECT i, d.categories, d.reference FROM generate_series(5, 7) i, gdpr.disclosures_of(n(i)) d ORDER BY 1;
SELECT try(s) FROM (VALUES ('SELECT gdpr.disclose_many(ARRAY[n(5), n(2), n(6)], ''Shop NL'')'), ('SELECT gdpr.disclose_many(ARRAY[n(5), NULL], ''Shop NL'')'),
    ('SELECT gdpr.disclose_many(NULL, ''Shop NL'')'), ('SELECT gdpr.disclose_many(ARRAY[n(5)], ''Shop NL'', "references" => ''{a,b}'')'),
    ('SELECT gdpr.disclose_many(ARRAY[n(5), ' || :'gone' || '], ''Shop NL'')')) v(s);
SELECT gdpr.disclose_many('{}', 'Shop NL') AS of_nobody, count(*) AS unchanged FROM gdpr.disclosures_of(n(5));

-- an override, as elsewhere: who was granted it, not for direct marketing, not of the forgotten
GRANT USAGE ON SCHEMA crm TO rec_officer;
GRANT SELECT ON crm.contact TO rec_officer;
GRANT EXECUTE ON FUNCTION gdpr.disclose(bigint, text, text[], text, text, text, timestamptz), gdpr.subject(regclass, text), gdpr.disclosures_of(bigint) TO rec_officer;
SELECT n(2) AS p2, n(3) AS p3, n(5) AS p5 \gset
SET ROLE rec_officer;
SET gdpr.override_reason = 'fainted in the restaurant';
SELECT try(format('SELECT gdpr.disclose(%s, ''Shop NL'')', :p2));
RESET ROLE;
SELECT gdpr.grant_purpose('service', 'rec_officer', override => true), gdpr.grant_purpose('news', 'rec_officer'), gdpr.grant_purpose('diet', 'rec_officer', override => true);
SET ROLE rec_officer;
SELECT gdpr.disclose(:p2, 'Shop NL', '{contact}') IS NOT NULL AS restricted, gdpr.disclose(:p5, 'Shop NL', purpose => 'diet') IS NOT NULL AS no_consent_and_not_registered;
SELECT try(format('SELECT gdpr.disclose(%s, ''Mailer BV'', purpose => ''news'')', :p3));
SELECT try(format('SELECT gdpr.disclose(%s, ''Shop NL'')', :gone));
SELECT try(format('SELECT gdpr.disclose(%s, ''Shop NL'', ''{health}'', ''service'')', :p5)) AS not_covered;
RESET gdpr.override_reason;
SELECT purpose, categories, override_reason, recorded_by FROM gdpr.disclosures_of(:p2) WHERE override_reason IS NOT NULL UNION ALL
SELECT purpose, categories, override_reason, recorded_by FROM gdpr.disclosures_of(:p5) WHERE override_reason IS NOT NULL;
RESET ROLE;

-- the ledger is only added to; nobody reads or writes it without a right
UPDATE gdpr.disclosure SET recipient = 0;
DELETE FROM gdpr.disclosure;
TRUNCATE gdpr.disclosure;
SET ROLE rec_guest;
SELECT try(s) FROM (VALUES ('TABLE gdpr.disclosure'), ('TABLE gdpr.recipients'), ('TABLE gdpr.notices'), ('TABLE gdpr.country'), ('SELECT gdpr.disclose(1, ''Shop NL'')'),
    ('SELECT gdpr.disclose_many(''{1}'', ''Shop NL'')'), ('SELECT gdpr.disclosures_of(1)'), ('SELECT gdpr.add_recipient(''x'', ''NL'')'), ('SELECT gdpr.drop_recipient(''Shop NL'')'),
    ('SELECT gdpr.set_country(''IN'', ''adequate'')'), ('SELECT gdpr.tell_recipients(''erasure'', 1, NULL)'), ('SELECT gdpr.acknowledge_outbox(1)'), ('SELECT gdpr.expire_notices(''1 day'')')) v(s);
RESET ROLE;

-- a decision of the Commission ends: nothing goes there any more until the safeguard is another
SELECT gdpr.disclose(n(5), 'Cloud US') IS NOT NULL AS before;
SELECT gdpr.set_country('US', 'none', note => 'annulled');
SELECT name, country_status, safeguard FROM gdpr.recipients WHERE country = 'US' ORDER BY name;
SELECT try('SELECT gdpr.disclose(n(5), ''Cloud US'')');
SELECT gdpr.disclose(n(5), 'Mailer BV', purpose => 'service') IS NOT NULL AS scc_go_on;
SELECT gdpr.change_recipient('Cloud US', safeguard => 'scc');
SELECT gdpr.disclose(n(5), 'Cloud US') IS NOT NULL AS after, array_agg(d.safeguard ORDER BY d.safeguard) AS as_it_was FROM gdpr.disclosures_of(n(5)) d WHERE d.recipient = 'Cloud US';
SELECT gdpr.set_country('IN', 'adequate', as_of => current_date - 1, until => current_date - 1);
SELECT try('SELECT gdpr.add_recipient(''late'', ''IN'', purposes => ''{service}'')');
SELECT gdpr.set_country('IN', 'adequate'), gdpr.set_country('IN', 'adequate', until => current_date);
SELECT gdpr.add_recipient('in time', 'IN', purposes => '{service}');
SELECT try(s) FROM (VALUES ('SELECT gdpr.set_country(''IN'', ''none'', as_of => ''2026-01-01'')'), ('SELECT gdpr.set_country(''NL'', ''none'', as_of => ''2026-01-31'')'), ('SELECT gdpr.set_country(''IN'', ''fine'')'),
    ('SELECT gdpr.set_country(''IN'', NULL)'), ('SELECT gdpr.set_country(''India'', ''none'')'), ('SELECT gdpr.set_country(NULL, ''none'')'), ('SELECT gdpr.set_country(''IN'', ''none'', as_of => ''infinity'')'),
    ('SELECT gdpr.set_country(''IN'', ''none'', as_of => NULL)'), ('SELECT gdpr.set_country(''IN'', ''adequate'', until => current_date - 1)')) v(s);
SELECT gdpr.set_country('GB', 'partly adequate', as_of => '2026-02-01');
SELECT status FROM gdpr.country WHERE code = 'GB' AND set_by IS NULL;
SELECT try('SELECT gdpr.add_recipient(''x'', ''GB'', purposes => ''{service}'')');
SELECT code, status, until IS NOT NULL AS ends, note, set_by FROM gdpr.country WHERE set_by IS NOT NULL ORDER BY code, as_of;

-- ending: without a trace if nothing was disclosed, else it stays; its name is free, its purposes and ids are not mixed up
SELECT gdpr.drop_recipient('in time'), gdpr.drop_recipient('Shop NL');
SELECT name, dropped_at IS NOT NULL AS dropped FROM gdpr.recipients WHERE name IN ('in time', 'Shop NL');
SELECT try('SELECT gdpr.disclose(n(5), ''Shop NL'')'), try('SELECT gdpr.drop_recipient(''Shop NL'')'), try('SELECT gdpr.drop_recipient(NULL)');
SELECT gdpr.add_recipient('Shop NL', 'BE', purposes => '{service}');
SELECT gdpr.disclose(n(5), 'Shop NL') IS NOT NULL AS to_another;
SELECT recipient, country, count(*) FROM gdpr.disclosures_of(n(5)) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT gdpr.drop_purpose('claims'), gdpr.create_purpose('claims', 'contract', '{contact}');
SELECT purposes FROM gdpr.recipients WHERE name = 'Bank CH';
SELECT try('SELECT gdpr.disclose(n(5), ''Bank CH'')'), try('SELECT gdpr.disclose(n(5), ''Bank CH'', purpose => ''claims'')');

-- a further number is the person's; of the forgotten, what was disclosed is known, and nothing of what was sealed
INSERT INTO gdpr.subject_alias SELECT last_value, n(6), 0 FROM gdpr.number_high_water;
SELECT gdpr.disclose(number, 'Shop NL', reference => 'by a further number') IS NOT NULL AS recorded FROM gdpr.subject_alias;
SELECT recipient, reference FROM gdpr.disclosures_of(n(6)) EXCEPT SELECT recipient, reference FROM gdpr.subject_alias a, gdpr.disclosures_of(a.number);
SELECT n(6) AS six \gset
SELECT count(*), count(reference) FROM gdpr.disclosures_of(:six);
SELECT relation, rows, action, reason FROM gdpr.forget_preview(:six) WHERE action = 'tell';
SELECT relation, rows, action, reason FROM gdpr.forget_preview(:six, 'contact') WHERE action = 'tell';
SELECT count(*) FROM gdpr.outbox WHERE kind = 'erasure';
SELECT gdpr.forget(:six) IS NOT NULL AS forgotten;
SELECT count(*), count(reference) FROM gdpr.disclosures_of(:six);
SELECT count(*) FROM gdpr.disclosures_of(NULL);
\c :home
DROP DATABASE recipients_regress;
DROP ROLE rec_officer, rec_guest;
