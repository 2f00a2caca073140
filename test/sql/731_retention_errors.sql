-- Retention: rows that cannot go never stop the rest; what a run may not do; the kept rows of the forgotten; persons without rows.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT current_database() AS before \gset
CREATE DATABASE retention_errors;
\c retention_errors
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE EXTENSION gdpr;
SELECT gdpr.create_keystore() IS NOT NULL AS ok;
CREATE ROLE rx_owner; CREATE ROLE rx_dba;
CREATE SCHEMA rx AUTHORIZATION rx_owner;
SET ROLE rx_owner;
CREATE TABLE rx.person (id integer PRIMARY KEY, name text);
CREATE TABLE rx.orders (id integer PRIMARY KEY, person_id integer REFERENCES rx.person, day date, note text, state text DEFAULT 'open');
CREATE TABLE rx.line (id integer PRIMARY KEY, order_id integer CONSTRAINT line_order REFERENCES rx.orders DEFERRABLE INITIALLY DEFERRED, what text);
CREATE TABLE rx.stock (order_id integer CONSTRAINT stock_order REFERENCES rx.orders);
CREATE TABLE rx.invoice (id integer PRIMARY KEY, person_id integer REFERENCES rx.person ON DELETE SET NULL, day date, until date, addressee text);
CREATE TABLE rx.message (id integer PRIMARY KEY, recipient integer REFERENCES rx.person, sender integer REFERENCES rx.person, day date, title text, body text);
CREATE INDEX ON rx.orders (day);
CREATE TABLE rx.trace (what text, who name, path text, name text);
CREATE FUNCTION rx.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rx.trace VALUES (TG_OP, current_user, current_setting('search_path'), OLD.note);
    IF OLD.state = 'raise' AND (TG_OP = 'DELETE' OR NEW.state = 'raise') THEN RAISE EXCEPTION 'not this one: %', OLD.note USING ERRCODE = 'P0042'; END IF;
    IF OLD.state = 'skip' AND TG_OP = 'DELETE' THEN RETURN NULL; END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER watch BEFORE DELETE OR UPDATE ON rx.orders FOR EACH ROW EXECUTE FUNCTION rx.watch();
CREATE FUNCTION rx.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rx.trace VALUES ('late', current_user);
    IF OLD.state = 'late' THEN RAISE EXCEPTION 'too late' USING ERRCODE = 'P0043'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON rx.orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rx.late();
RESET ROLE;
SELECT gdpr.declare_subject('rx.person'), gdpr.declare_column('rx.person', 'name', 'contact'),
       gdpr.declare_table('rx.orders', via => 'person_id'), gdpr.declare_column('rx.orders', 'note', 'content'),
       gdpr.declare_table('rx.line', via => 'order_id'), gdpr.declare_column('rx.line', 'what', 'content'),
       gdpr.declare_table('rx.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law', keep_until => 'until'), gdpr.declare_column('rx.invoice', 'addressee', 'contact'),
       gdpr.declare_table('rx.message', via => 'recipient'), gdpr.declare_column('rx.message', 'title', 'content'),
       gdpr.declare_column('rx.message', 'body', 'content', subject_via => 'sender');
SELECT gdpr.create_purpose('care', 'contract', '{contact,content}');
SELECT gdpr.grant_purpose('care', current_user);
SET gdpr.purpose = 'care';
SELECT gdpr.protect_now(t::regclass) FROM unnest(ARRAY['rx.person', 'rx.orders', 'rx.line', 'rx.invoice', 'rx.message']) t;
INSERT INTO rx.person SELECT i, 'Name ' || i FROM generate_series(1, 20) i;
CREATE TABLE rx.number AS SELECT id, gdpr.subject('rx.person', id::text) AS subject FROM rx.person;
INSERT INTO rx.orders SELECT i, i, '2001-01-01', 'Note ' || i, CASE i WHEN 3 THEN 'raise' WHEN 5 THEN 'skip' WHEN 7 THEN 'late' ELSE 'open' END FROM generate_series(1, 10) i;
INSERT INTO rx.line VALUES (2, 2, 'Line 2');
INSERT INTO rx.stock VALUES (9);
SELECT gdpr.set_retention('rx.orders', '7 years', 'day') > 0 AS ok;
SELECT gdpr.restrict(subject) IS NOT NULL AS restricted FROM rx.number WHERE id = 10;

-- 2 has a line, by a deferred constraint; 3 raises; 5 is kept by a trigger; 7 raises at the end; 9 is in stock; 10 is restricted
RESET client_min_messages;
CALL gdpr.run_retention();
SELECT id, state, note FROM rx.orders ORDER BY id;
SELECT rows_due, rows_deleted, rows_erased, rows_failed, errors FROM gdpr.retention_result;
-- the triggers ran as the table's owner, with the owner's path, and were shown no values
SELECT DISTINCT what, who, path, name FROM rx.trace ORDER BY 1, 2, 3, 4;
SELECT complete, ended_at IS NOT NULL AS ended FROM gdpr.retention_run;
SELECT relation, category, action, error, rows, first FROM gdpr.retention_errors;
-- tried again, alone
SET client_min_messages = warning;
DELETE FROM rx.stock; DELETE FROM rx.line;
UPDATE rx.orders SET state = 'open' WHERE state IN ('raise', 'late');
SELECT action, reason, rows FROM gdpr.retention_due;
CALL gdpr.run_retention(batch => 1);
SELECT id, state, note FROM rx.orders ORDER BY id;
-- values of others in a row: they are restricted too
SELECT gdpr.set_retention('rx.message', '1 year', 'day') > 0 AS ok;
INSERT INTO rx.message VALUES (1, 1, 10, '2001-01-01', 'to 1', 'by 10'), (2, 1, 2, '2001-01-01', 'to 1', 'by 2'), (3, 10, 1, '2001-01-01', 'to 10', 'by 1');
SELECT relation, action, reason, rows FROM gdpr.retention_due;
CALL gdpr.run_retention();
SELECT id FROM rx.message ORDER BY id;
SELECT r.relation, r.rows_failed, r.errors FROM gdpr.retention_result r WHERE r.relation = 'rx.message';
SELECT gdpr.lift_restriction(subject, informed_at => now()) FROM rx.number WHERE id = 10;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.message;

-- A category, collected anew under another number after it was forgotten: the row is that person's
INSERT INTO rx.orders VALUES (31, 1, '2001-01-01', 'Note 31', 'open');
SELECT gdpr.forget(subject, category => 'content') IS NOT NULL AS ok FROM rx.number WHERE id = 1;
UPDATE rx.orders SET note = 'anew' WHERE id = 31;
SELECT count(*) FROM gdpr.subject_alias;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.orders WHERE id = 31;

-- Held rows stay (Art. 17(3)), those of other tables go; then the hold is over ----------------------
INSERT INTO rx.orders VALUES (51, 20, '2001-01-01', 'Note 51', 'open');
INSERT INTO rx.message VALUES (51, 20, 1, '2001-01-01', 'to 20', 'by 1');
SELECT gdpr.hold(subject, 'lawsuit', now() + interval '1 year', relations => '{rx.message}') AS hold FROM rx.number WHERE id = 20 \gset
SELECT relation, action, regexp_replace(reason, '[0-9-]{10}', 'a day') AS reason, rows FROM gdpr.retention_due;
SELECT gdpr.is_held(subject), gdpr.is_held(subject, 'rx.message'), gdpr.is_held(subject, 'rx.orders') FROM rx.number WHERE id = 20;
CALL gdpr.run_retention();
SELECT (SELECT count(*) FROM rx.orders WHERE id = 51) AS orders, (SELECT count(*) FROM rx.message WHERE id = 51) AS messages;
-- of a person who is forgotten meanwhile: erased when the hold is over, by the run
SELECT gdpr.forget(subject) IS NOT NULL AS forgotten FROM rx.number WHERE id = 20;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.message WHERE id = 51;
UPDATE gdpr.hold SET until = now() - interval '1 second' WHERE id = :'hold';
CALL gdpr.run_retention();
SELECT (SELECT count(*) FROM rx.message WHERE id = 51) AS messages, finished_at IS NOT NULL AS finished FROM gdpr.hold WHERE id = :'hold';

-- What the law kept of the forgotten goes when its time is over, and so does its key ----------------
INSERT INTO rx.invoice VALUES (11, 11, '2010-01-01', '2017-01-01', 'Addressee 11'), (12, 12, '2010-01-01', '2017-01-01', 'Addressee 12'),
                              (13, 12, '2010-01-01', 'infinity', 'Addressee 13'), (14, 13, '2010-01-01', NULL, 'Addressee 14'), (15, 14, '2010-01-01', '2017-01-01', 'Addressee 15');
SELECT gdpr.forget(subject) IS NOT NULL AS ok FROM rx.number WHERE id IN (11, 12, 13) ORDER BY id;
SELECT relation, action, reason, rows FROM gdpr.retention_due;
CALL gdpr.run_retention();
SELECT id, addressee FROM rx.invoice ORDER BY id;   -- that of 14, who lives, stays: its table has no policy
SELECT n.id, count(*) FROM rx.number n JOIN gdpr.tombstone t ON t.number IN (n.subject, n.subject + 549755813888) GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT t.erasure) FROM rx.number n JOIN gdpr.tombstone t ON t.number IN (n.subject, n.subject + 549755813888) WHERE n.id = 11;
-- with a policy: the later of the two, for everybody
SELECT gdpr.set_retention('rx.invoice', '20 years', 'day', ground => 'archive') > 0 AS ok;
SELECT gdpr.set_retention('rx.invoice', '1 year', 'day', ground => 'archive') > 0 AS ok;
SELECT relation, action, reason, rows FROM gdpr.retention_due;
CALL gdpr.run_retention();
SELECT id FROM rx.invoice ORDER BY id;

-- Persons without rows ----------------------------------------------------------------------------
DELETE FROM rx.person WHERE id IN (15, 16, 17);
DELETE FROM rx.person WHERE id = 18;
SELECT gdpr.restrict(subject) IS NOT NULL AS restricted FROM rx.number WHERE id = 17;
CALL gdpr.run_retention(orphans_after => NULL);
SELECT count(*) FROM gdpr.orphan;
CALL gdpr.run_retention(orphans_after => '1 hour');
SELECT n.id FROM gdpr.orphan o JOIN rx.number n USING (subject) ORDER BY 1;
-- the delay is over; one of them is restricted
UPDATE gdpr.orphan SET since = since - interval '2 hours';
RESET client_min_messages;
CALL gdpr.run_retention(orphans_after => '1 hour');
SET client_min_messages = warning;
SELECT n.id FROM gdpr.orphan o JOIN rx.number n USING (subject) ORDER BY 1;
SELECT n.id, e.reason, e.relations FROM gdpr.erasure e JOIN rx.number n USING (subject) WHERE e.reason = 'no rows left' ORDER BY 1;
SELECT n.id FROM rx.number n WHERE n.id > 14 AND NOT EXISTS (SELECT FROM gdpr.tombstone t WHERE t.number = n.subject AND t.category IS NULL) ORDER BY 1;
SELECT persons_forgotten, persons_failed, complete FROM gdpr.retention_run ORDER BY started_at DESC LIMIT 1;

-- Merged persons are one: whichever number -------------------------------------------------------
INSERT INTO rx.person VALUES (61, 'Name 61'), (62, 'Name 62'), (63, 'Name 63'), (64, 'Name 64');
INSERT INTO rx.number SELECT i, gdpr.subject('rx.person', i::text) FROM generate_series(61, 64) i;
SELECT gdpr.merge_subjects(a.subject, b.subject) IS NOT NULL AS merged FROM rx.number a, rx.number b WHERE (a.id, b.id) IN ((61, 62), (63, 64));
INSERT INTO rx.orders VALUES (62, 62, '2001-01-01', 'Note 62', 'open');
SELECT gdpr.restrict(subject) IS NOT NULL AS restricted FROM rx.number WHERE id = 61;
SELECT n.id, gdpr.is_held(n.subject) FROM rx.number n WHERE id > 60 ORDER BY id;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.orders WHERE id = 62;
TABLE gdpr.retention_errors;
SELECT gdpr.lift_restriction(subject, informed_at => now()) FROM rx.number WHERE id = 61;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.orders WHERE id = 62;
-- the survivor has no rows, the other has
DELETE FROM rx.person WHERE id IN (61, 63);
CALL gdpr.run_retention(orphans_after => '1 hour');
SELECT n.id FROM gdpr.orphan o JOIN rx.number n USING (subject) WHERE n.id > 60 ORDER BY 1;
-- nobody has
DELETE FROM rx.person WHERE id = 62;
CALL gdpr.run_retention(orphans_after => '1 hour');
SELECT n.id FROM gdpr.orphan o JOIN rx.number n USING (subject) WHERE n.id > 60 ORDER BY 1;
UPDATE gdpr.orphan SET since = since - interval '2 hours';
CALL gdpr.run_retention(orphans_after => '1 hour');
SELECT n.id FROM rx.number n WHERE n.id > 60 AND EXISTS (SELECT FROM gdpr.tombstone t WHERE t.number = n.subject AND t.category IS NULL) ORDER BY 1;
-- the last activity, and the end of consent, of one is that of the other
SELECT gdpr.set_retention('rx.person', '1 year', 'last activity') > 0 AS ok;
INSERT INTO rx.person VALUES (63, 'Name 63 again');
UPDATE gdpr.provenance SET entered_at = now() - interval '4 years';
INSERT INTO rx.orders VALUES (63, 63, current_date, 'Note 63', 'open');
INSERT INTO rx.number VALUES (65, gdpr.subject('rx.person', '63'));
SELECT n.id, a.at::date = current_date AS today FROM rx.number n, gdpr.last_activity(ARRAY[n.subject], 'UTC') a WHERE n.id IN (64, 65) ORDER BY 1;
SELECT gdpr.merge_subjects(a.subject, b.subject) IS NOT NULL AS merged FROM rx.number a, rx.number b WHERE (a.id, b.id) = (64, 65);
SELECT n.id, a.at::date = current_date AS today FROM rx.number n, gdpr.last_activity(ARRAY[n.subject], 'UTC') a WHERE n.id IN (64, 65) ORDER BY 1;
SELECT gdpr.create_purpose('mail', 'consent', '{contact}');
SELECT gdpr.refuse_consent(subject, 'mail', occurred_at => now() - interval '2 years') IS NOT NULL AS refused FROM rx.number WHERE id = 65;
SELECT n.id, e.at < now() - interval '1 year' AS ended FROM rx.number n, gdpr.end_of_consent((SELECT id FROM gdpr.purpose WHERE name = 'mail'), NULL) e WHERE e.number = n.subject ORDER BY 1;
SELECT gdpr.give_consent(subject, 'mail') IS NOT NULL AS given FROM rx.number WHERE id = 64;
SELECT count(*) FROM gdpr.end_of_consent((SELECT id FROM gdpr.purpose WHERE name = 'mail'), NULL);
SELECT gdpr.drop_retention('rx.person');

-- What a run is not -------------------------------------------------------------------------------
-- names of the extension's, in the way
CREATE SCHEMA rx_evil; GRANT ALL ON SCHEMA rx_evil TO PUBLIC;
CREATE FUNCTION rx_evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$;
CREATE FUNCTION rx_evil.retention_end(timestamp, interval, text) RETURNS timestamptz LANGUAGE sql AS $$ SELECT '-infinity'::timestamptz $$;
CREATE FUNCTION rx_evil.has_function_privilege(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
SET search_path = rx_evil, pg_catalog, gdpr;
INSERT INTO rx.orders VALUES (41, 19, current_date, 'Note 41', 'open');
CALL gdpr.run_retention();
RESET search_path;
SELECT count(*) FROM rx.orders WHERE id = 41;
-- only who may
GRANT USAGE ON SCHEMA rx TO rx_dba;
GRANT EXECUTE ON PROCEDURE gdpr.run_retention(interval, integer, interval) TO rx_dba;
SET ROLE rx_dba;
CALL gdpr.run_retention();
RESET ROLE;
GRANT EXECUTE ON FUNCTION gdpr.retention_step(uuid, interval, integer, interval) TO rx_dba;
UPDATE rx.orders SET day = '2001-01-01' WHERE id = 41;
SET ROLE rx_dba;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.orders;
RESET ROLE;
GRANT SELECT ON gdpr.retention, gdpr.retention_due, gdpr.retention_errors TO rx_dba;
SET ROLE rx_dba;
SELECT relation, keep, since, indexed FROM gdpr.retention;
SELECT count(*) FROM gdpr.retention_due;
RESET ROLE;
GRANT EXECUTE ON FUNCTION gdpr.preview_retention TO rx_dba;
SET ROLE rx_dba;
SELECT count(*) FROM gdpr.retention_due;
SELECT count(*) FROM gdpr.retention_errors;
RESET ROLE;
SELECT count(*) FROM rx.orders WHERE id = 41;
-- an expression that fails, or says what is no date
UPDATE gdpr.mapped_table SET keep_until = '1 / (id - 14)' WHERE relation = 'rx.invoice'::regclass;
INSERT INTO rx.orders VALUES (42, 19, '2001-01-01', 'Note 42', 'open');
CALL gdpr.run_retention();
SELECT r.relation, r.action, r.rows_deleted, r.errors FROM gdpr.retention_result r JOIN gdpr.retention_run u ON u.id = r.run WHERE u.started_at = (SELECT max(started_at) FROM gdpr.retention_run) ORDER BY r.changed_at;
TABLE gdpr.retention_queue;
-- one row for which an expression fails
UPDATE gdpr.mapped_table SET keep_until = $$date '2001-01-01' + 1 / (id - 14)$$ WHERE relation = 'rx.invoice'::regclass;
CALL gdpr.run_retention();
SELECT relation, error, rows, first FROM gdpr.retention_errors;
-- the table's owner may not do it; whatever the default isolation is
UPDATE gdpr.mapped_table SET keep_until = 'until' WHERE relation = 'rx.invoice'::regclass;
INSERT INTO rx.orders VALUES (43, 19, '2001-01-01', 'Note 43', 'open');
INSERT INTO rx.message VALUES (43, 19, 19, '2001-01-01', 'to 19', 'by 19');
REVOKE ALL ON rx.orders FROM rx_owner;
SET default_transaction_isolation = serializable;
CALL gdpr.run_retention();
RESET default_transaction_isolation;
SELECT relation, error, rows, first FROM gdpr.retention_errors;
SELECT count(*) FROM rx.message;
GRANT ALL ON rx.orders TO rx_owner;
-- what a run lists is asked again, of whatever row is there now; and the owner may read, and not delete
INSERT INTO gdpr.retention_queue (place, kind, table_id, action, forgotten, relation, rows)
SELECT 0, 'rows', t.id, 'delete', false, t.relation, ARRAY['(0,1)', '(4294967295,1)']::tid[] FROM gdpr.mapped_table t WHERE t.relation IN ('rx.person'::regclass, 'rx.orders'::regclass);
REVOKE DELETE ON rx.orders FROM rx_owner;
CALL gdpr.run_retention();
SELECT relation, error, rows, first FROM gdpr.retention_errors;
SELECT count(*) FROM gdpr.retention_queue;
GRANT ALL ON rx.orders TO rx_owner;
CALL gdpr.run_retention();
SELECT count(*) FROM rx.person;
-- pg_cron is not loaded here (test/t/093_retention.pl)
\set VERBOSITY terse
SELECT gdpr.schedule_retention();
\set VERBOSITY default
SELECT gdpr.schedule_retention(NULL);
SELECT gdpr.schedule_retention(batch => 0);
\set VERBOSITY terse
SELECT gdpr.unschedule_retention();
\set VERBOSITY default
-- only what is protected, and only rows
SELECT gdpr.expire_rows('rx.stock', NULL, false, '{"(0,1)"}');
SELECT gdpr.expire_rows(NULL, NULL, false, '{"(0,1)"}');
SELECT gdpr.expire_rows('rx.orders', NULL, false, NULL);
SELECT gdpr.expire_rows('rx.orders', NULL, false, '{"(99,1)"}'), gdpr.expire_rows('rx.orders', NULL, true, '{}');
SELECT gdpr.forget_rows('rx.orders', '{0}', NULL, true);
SELECT gdpr.rows_as_owner('rx.orders', 'SELECT 1', 1);
SELECT gdpr.rows_as_owner('rx.orders', 'DELETE FROM rx.orders', 1);
SELECT gdpr.rows_as_owner('rx.orders', NULL, 1);
SELECT gdpr.is_held(subject), gdpr.is_held(subject, 'rx.orders'), gdpr.is_held(NULL) FROM rx.number WHERE id = 17;
\c :before
SET client_min_messages = warning;
DROP DATABASE retention_errors;
DROP ROLE rx_owner, rx_dba;
