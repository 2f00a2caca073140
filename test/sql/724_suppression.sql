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
\c :home
DROP DATABASE suppression_regress;
DROP ROLE sup_guest;
