-- Suppression lists: keyed hashes of e-mail addresses and phone numbers, by purpose.
SET client_min_messages = warning;
SELECT current_database() AS home \gset
CREATE DATABASE suppression_regress;
\c suppression_regress
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE sup_guest;
CREATE TABLE person (id integer PRIMARY KEY, email text);
SELECT gdpr.declare_subject('person'), gdpr.declare_column('person', 'email', 'contact'), gdpr.protect_now('person');
SELECT gdpr.create_purpose('news', 'consent', '{contact}', direct_marketing => true), gdpr.create_purpose('calls', 'legitimate_interest', '{contact}');

-- nothing is suppressed before anything is
SELECT gdpr.is_suppressed('ann@example.nl', 'news'), gdpr.unsuppress('ann@example.nl', 'news'), gdpr.drop_suppressions('news');
SELECT gdpr.suppress(' Ann@Example.NL ', 'news'), gdpr.suppress('+31 (0)6 12-34.56 78', 'calls', keep => '1 year'), gdpr.suppress(U&'cafe\0301@example.nl', 'news');
-- in each way of writing, for that purpose, and nothing else
SELECT i, gdpr.is_suppressed(i, 'news') AS news, gdpr.is_suppressed(i, 'calls') AS calls
FROM unnest(ARRAY['ann@example.nl', 'ANN@EXAMPLE.NL', E'\tann@example.nl\n', 'anna@example.nl', U&'CAF\00C9@example.nl', '+31612345678', '0031 6 1234 5678', '+31 6/1234 5678', '+31612345679',
                  '0612345678', '', 'ann', '@', 'a b@c', '123', 'DROP TABLE', NULL]) i;
-- hashes, and no more: not the same in two lists
SELECT gdpr.suppress('ann@example.nl', 'calls');
SELECT count(*), count(DISTINCT hash), min(length(hash)), max(length(hash)), bool_or(position('ann' IN encode(hash, 'escape')) > 0) AS clear FROM gdpr.suppression;
SELECT p.name, s.until - current_date BETWEEN 365 AND 366 AS a_year, s.until - current_date > 1800 AS five FROM gdpr.suppression s JOIN gdpr.purpose p ON p.id = s.purpose_id ORDER BY 1, 2;
-- again: the longer time counts
SELECT gdpr.suppress('+31612345678', 'calls', keep => '2 years'), gdpr.suppress('ann@example.nl', 'calls', keep => '1 day');
SELECT count(*), count(*) FILTER (WHERE s.until - current_date BETWEEN 730 AND 731) AS two_years FROM gdpr.suppression s;
-- a returning person is marked, not locked out
INSERT INTO person VALUES (1, 'ann@example.nl');
SELECT gdpr.record_objection(gdpr.subject('person', '1'), 'news', source => 'suppression list') IS NOT NULL AS marked WHERE gdpr.is_suppressed('ann@example.nl', 'news');
SELECT gdpr.standing(gdpr.subject('person', '1'), 'news');
-- wants it again
SELECT gdpr.unsuppress('Ann@example.nl', 'news');
SELECT gdpr.is_suppressed('ann@example.nl', 'news') AS news, gdpr.is_suppressed('ann@example.nl', 'calls') AS calls, gdpr.unsuppress(NULL, 'news') AS of_none;
-- forgetting somebody, and rotating the tokens, leaves the lists
SELECT gdpr.forget(gdpr.subject('person', '1')) IS NOT NULL AS forgotten;
CALL gdpr.rotate_tokens();
SELECT gdpr.is_suppressed('ann@example.nl', 'calls');
-- over: it does not count, and is deleted
UPDATE gdpr.suppression SET until = current_date - 1;
SELECT gdpr.is_suppressed('ann@example.nl', 'calls'), gdpr.expire_suppressions(), gdpr.expire_suppressions() AS again;
-- the end of a list: what stands in backups tells nothing
SELECT gdpr.suppress('ann@example.nl', 'calls');
CREATE TABLE backup AS SELECT l.number, s.hash FROM gdpr.suppression s JOIN gdpr.suppression_list l USING (purpose_id);
SELECT gdpr.keyed_hash(number, 'ann@example.nl') = hash AS known FROM backup;
SELECT gdpr.drop_suppressions('calls');
SELECT gdpr.keyed_hash(number, 'ann@example.nl') = hash AS known FROM backup;
SELECT gdpr.is_suppressed('ann@example.nl', 'calls');
SELECT gdpr.suppress('ann@example.nl', 'calls');
SELECT gdpr.is_suppressed('ann@example.nl', 'calls') AS a_new_list, gdpr.keyed_hash(l.number, 'ann@example.nl') <> b.hash AS another_key FROM gdpr.suppression_list l, backup b;
-- another purpose of the name begins with nothing
SELECT gdpr.drop_purpose('calls'), gdpr.create_purpose('calls', 'contract', '{contact}');
SELECT gdpr.is_suppressed('ann@example.nl', 'calls');
-- mistakes, which quote nothing
SELECT gdpr.suppress('Geheim', 'news');
SELECT gdpr.suppress(NULL, 'news');
SELECT gdpr.suppress('ann@example.nl', 'nosuch');
SELECT gdpr.suppress('ann@example.nl', NULL);
SELECT gdpr.suppress('ann@example.nl', 'news', keep => '0');
SELECT gdpr.suppress('ann@example.nl', 'news', keep => NULL);
SELECT gdpr.suppress('ann@example.nl', 'news', keep => '300000 years');
SELECT gdpr.is_suppressed('ann@example.nl', 'nosuch');
SELECT gdpr.unsuppress('ann@example.nl', NULL);
SELECT gdpr.drop_suppressions('nosuch');
SET ROLE sup_guest;
SELECT gdpr.is_suppressed('ann@example.nl', 'news');
SELECT gdpr.suppress('ann@example.nl', 'news');
SELECT gdpr.keyed_hash(65536, '');
TABLE gdpr.suppression;
RESET ROLE;
-- filled by forget, if the list is declared so: from columns that are shown as e-mail addresses and phone numbers
SELECT gdpr.create_suppression_list('news', on_forget => true, keep => '3 years');
CREATE TABLE client (id integer PRIMARY KEY, name text, mail text, phone varchar(30), code text);
CREATE TABLE contact (id integer, part integer, client integer REFERENCES client, about integer REFERENCES client, mail text, said_by text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE contact_1 PARTITION OF contact FOR VALUES IN (1);
SELECT gdpr.declare_subject('client'), gdpr.declare_column('client', 'name', 'contact'), gdpr.declare_column('client', 'mail', 'contact', searchable => true, mask => 'email'),
       gdpr.declare_column('client', 'phone', 'contact', mask => 'phone'), gdpr.declare_column('client', 'code', 'contact', searchable => true);
SELECT gdpr.declare_table('contact', via => 'client'), gdpr.declare_column('contact', 'mail', 'contact', mask => 'email'), gdpr.declare_column('contact', 'said_by', 'contact', mask => 'email', subject_via => 'about');
SELECT gdpr.protect_now('client'), gdpr.protect_now('contact');
INSERT INTO client SELECT i, 'name' || i || '@example.nl', 'Client.' || i || '@Example.nl', '+31 6 1234 000' || i, '06' || 10000000 + i FROM generate_series(1, 9) i;
INSERT INTO client VALUES (10, NULL, NULL, 'none', ''), (11, NULL, '', 'ask at home@', '@');
INSERT INTO contact VALUES (1, 1, 1, 2, 'other.1@example.nl', 'of.2@example.nl'), (2, 1, 3, 1, 'other.3@example.nl', 'of.1@example.nl');
CREATE FUNCTION c(id integer) RETURNS bigint LANGUAGE sql AS $$ SELECT gdpr.subject('client', c.id::text) $$;
CREATE FUNCTION listed() RETURNS TABLE (identifier text, years numeric) LANGUAGE sql AS $$
    SELECT i, round((s.until - current_date) / 365.0) FROM gdpr.suppression_list l JOIN gdpr.purpose p ON p.id = l.purpose_id AND p.name = 'news' JOIN gdpr.suppression s USING (purpose_id)
    JOIN (SELECT format(f, n) FROM unnest(ARRAY['client.%s@example.nl', '+3161234000%s', 'other.%s@example.nl', 'of.%s@example.nl', 'name%s@example.nl', '061000000%s']) f, generate_series(1, 9) n) v(i)
      ON s.hash = gdpr.keyed_hash(l.number, gdpr.normal_identifier(v.i)) ORDER BY 1 $$;
DELETE FROM gdpr.suppression;
SELECT count(*) FROM gdpr.forget_preview(c(1)); SELECT * FROM listed();
BEGIN; SELECT count(gdpr.forget(c(1))); ROLLBACK; SELECT * FROM listed();
SELECT count(gdpr.forget(c(1), category => 'contact')); SELECT * FROM listed();
SELECT count(gdpr.forget(c(3))), count(gdpr.forget(c(2))); SELECT * FROM listed();
-- merged, restricted, in batches, planned; what cannot be one is passed over
DELETE FROM gdpr.suppression;
SELECT count(gdpr.merge_subjects(c(4), c(5))), count(gdpr.restrict(c(6))), count(gdpr.merge_subjects(c(10), c(11)));
SELECT count(gdpr.forget(c(5))), count(gdpr.forget(c(6))), count(gdpr.forget(c(11)));
CALL gdpr.forget_in_batches(c(7), batch => 1);
SELECT gdpr.plan_erasure(ARRAY[c(8)], grace => '0'); CALL gdpr.run_planned_erasures();
SELECT * FROM listed(); SELECT count(*) FROM gdpr.suppression;
SELECT gdpr.is_suppressed('CLIENT.8@EXAMPLE.NL', 'news'), gdpr.is_suppressed('0031612340008', 'news'), gdpr.is_suppressed('client.9@example.nl', 'news');
-- no more; another list
SELECT gdpr.create_suppression_list('news'), gdpr.create_suppression_list('calls', on_forget => true);
SELECT c(9) AS c9 \gset
SELECT count(gdpr.forget(:c9)); SELECT count(gdpr.forget(:c9));
SELECT gdpr.is_suppressed('client.9@example.nl', 'news') AS news, gdpr.is_suppressed('client.9@example.nl', 'calls') AS calls;
SELECT gdpr.create_suppression_list('news', NULL); SELECT gdpr.create_suppression_list('nosuch'); SELECT gdpr.create_suppression_list(NULL); SELECT gdpr.create_suppression_list('news', true, '0');
SET ROLE sup_guest; SELECT gdpr.create_suppression_list('news'); SELECT gdpr.suppress_forgotten('{65536}'); RESET ROLE;
\c :home
DROP DATABASE suppression_regress;
DROP ROLE sup_guest;
