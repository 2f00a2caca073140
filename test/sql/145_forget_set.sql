-- Many persons at once: as if one after the other, and nobody stops the others.
\set VERBOSITY terse
SET client_min_messages = error;
CREATE SCHEMA so;
-- everything twice: the persons 1 to 20 are forgotten one by one, 101 to 120, who have the same, at once
CREATE TABLE so.person (id integer PRIMARY KEY, name text NOT NULL, email text UNIQUE, mentor integer REFERENCES so.person ON DELETE SET NULL);
CREATE TABLE so.orders (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES so.person, note text);
CREATE TABLE so.line (id integer PRIMARY KEY, order_id integer REFERENCES so.orders ON DELETE CASCADE, what text);
CREATE TABLE so.complaint (id integer PRIMARY KEY, person_id integer REFERENCES so.person, about integer REFERENCES so.orders, says text);
CREATE TABLE so.badge (id integer PRIMARY KEY, person_id integer REFERENCES so.person, for_order integer REFERENCES so.orders ON DELETE CASCADE, motto text);
CREATE TABLE so.invoice (id integer PRIMARY KEY, person_id integer, total text);
CREATE TABLE so.ticket (id integer PRIMARY KEY, person_id integer, told_by integer, question text, answer text);
CREATE TABLE so.letter (id integer PRIMARY KEY, sender integer, recipient integer, body text, greeting text);
CREATE TABLE so.folder (id integer PRIMARY KEY, title text);
CREATE TABLE so.member (folder integer REFERENCES so.folder, person integer REFERENCES so.person, role text, PRIMARY KEY (folder, person));
CREATE TABLE so.file (id integer PRIMARY KEY, content text);
CREATE TABLE so.place (file integer REFERENCES so.file, folder integer REFERENCES so.folder, label text, PRIMARY KEY (file, folder));
CREATE TABLE so.visit (id integer, at date, person_id integer, place text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE so.visit_1 PARTITION OF so.visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE so."visit 2" PARTITION OF so.visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
ALTER TABLE so.invoice ADD FOREIGN KEY (person_id) REFERENCES so.person ON DELETE SET NULL;
ALTER TABLE so.ticket ADD FOREIGN KEY (person_id) REFERENCES so.person ON DELETE SET NULL, ADD FOREIGN KEY (told_by) REFERENCES so.person ON DELETE SET NULL;
ALTER TABLE so.letter ADD FOREIGN KEY (sender) REFERENCES so.person, ADD FOREIGN KEY (recipient) REFERENCES so.person;
ALTER TABLE so.visit ADD FOREIGN KEY (person_id) REFERENCES so.person;
DO $$
DECLARE t text;
BEGIN
    PERFORM gdpr.declare_subject('so.person'), gdpr.declare_column('so.person', 'name', 'identity'), gdpr.declare_column('so.person', 'email', 'contact', searchable => true);
    PERFORM gdpr.declare_table('so.orders', via => 'person_id'), gdpr.declare_column('so.orders', 'note', 'content');
    PERFORM gdpr.declare_table('so.line', via => 'order_id', on_forget => 'erase'), gdpr.declare_column('so.line', 'what', 'content');
    PERFORM gdpr.declare_table('so.complaint', via => 'person_id'), gdpr.declare_column('so.complaint', 'says', 'content');
    PERFORM gdpr.declare_table('so.badge', via => 'person_id'), gdpr.declare_column('so.badge', 'motto', 'content');
    PERFORM gdpr.declare_table('so.invoice', via => 'person_id', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('so.invoice', 'total', 'financial');
    PERFORM gdpr.declare_table('so.ticket', via => 'person_id', on_forget => 'erase'), gdpr.declare_column('so.ticket', 'question', 'content'),
            gdpr.declare_column('so.ticket', 'answer', 'content', subject_via => 'told_by');
    PERFORM gdpr.declare_table('so.letter', via => 'sender'), gdpr.declare_column('so.letter', 'body', 'content'),
            gdpr.declare_column('so.letter', 'greeting', 'content', subject_via => 'recipient'), gdpr.declare_access('so.letter', via => 'recipient');
    PERFORM gdpr.declare_table('so.member', via => 'person'), gdpr.declare_column('so.member', 'role', 'content');
    PERFORM gdpr.declare_table('so.folder', owned_through => 'so.member'), gdpr.declare_column('so.folder', 'title', 'content');
    PERFORM gdpr.declare_table('so.place', via => 'folder'), gdpr.declare_column('so.place', 'label', 'content');
    PERFORM gdpr.declare_table('so.file', owned_through => 'so.place'), gdpr.declare_column('so.file', 'content', 'content');
    PERFORM gdpr.declare_table('so.visit', via => 'person_id'), gdpr.declare_column('so.visit', 'place', 'content');
    FOREACH t IN ARRAY '{person,orders,line,complaint,badge,invoice,ticket,letter,member,folder,place,file,visit}'::text[] LOOP
        PERFORM gdpr.protect_now(('so.' || t)::regclass);
    END LOOP;
    PERFORM gdpr.create_purpose('so', 'contract', '{identity,contact,content,financial}'), gdpr.grant_purpose('so', current_user);
    PERFORM gdpr.add_recipient('Post NL', 'NL', purposes => '{so}');
END $$;
SET gdpr.purpose = 'so';
INSERT INTO so.person SELECT w + i, 'Name ' || i, 'p' || w + i || '@so.example', CASE WHEN i > 1 THEN w + i - 1 END FROM unnest('{0,100}'::integer[]) w, generate_series(1, 20) i;
INSERT INTO so.orders SELECT w + i, w + i, 'note ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(2, 20) i;      -- 1 has nothing
INSERT INTO so.line SELECT w + i, w + i, 'line ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(15, 16) i;     -- erased, and taken along by the order
INSERT INTO so.complaint SELECT w + i, w + i + 1, w + i, 'says ' || i FROM unnest('{0,100}'::integer[]) w, unnest('{2,10}'::integer[]) i;  -- 3 about 2, who both go; 11, who stays, about 10
INSERT INTO so.badge SELECT w + i, w + i + 1, w + i, 'motto ' || i FROM unnest('{0,100}'::integer[]) w, unnest('{4,9,11}'::integer[]) i;   -- with a cascade from somebody else's order
INSERT INTO so.invoice SELECT w + i, w + i, 'total ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(2, 20) i;
INSERT INTO so.ticket SELECT w + i, w + i, w + i + 1, 'question ' || i, 'answer ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(5, 18) i;
INSERT INTO so.letter SELECT w + i, w + i, w + i + 1, 'body ' || i, 'Dear ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(5, 18) i;
INSERT INTO so.visit SELECT w + i, date '2025-12-01' + 3 * i, w + i, 'place ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(5, 18) i;
-- folders: 1 of 6 and 7 who go, 2 of 7 and of 11 who stays, 3 of 6 alone; files: in 1 and 3, in 1, in 2 and 3
INSERT INTO so.folder SELECT w + i, 'folder ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(1, 3) i;
INSERT INTO so.member SELECT w + f, w + p, 'role' FROM unnest('{0,100}'::integer[]) w, (VALUES (1, 6), (1, 7), (2, 7), (2, 11), (3, 6)) v(f, p);
INSERT INTO so.file SELECT w + i, 'content ' || i FROM unnest('{0,100}'::integer[]) w, generate_series(1, 3) i;
INSERT INTO so.place SELECT w + f, w + d, 'label' FROM unnest('{0,100}'::integer[]) w, (VALUES (1, 1), (1, 3), (2, 1), (3, 2), (3, 3)) v(f, d);
CREATE TABLE so.number AS SELECT id, id % 100 AS i, id > 100 AS at_once, gdpr.subject('so.person', id::text) AS number FROM so.person;
-- 8 is held, 12 restricted, 13 merged with 14, 17 is forgotten already, of 15 one category was; of 5 something was disclosed, 16's order stays, as a trigger says
SELECT count(gdpr.hold(number, 'lawsuit', '2100-01-01', relations => '{so.orders,so.ticket}')), count(gdpr.restrict(number)) FILTER (WHERE i = 12) FROM so.number WHERE i = 8;
SELECT count(gdpr.restrict(number)) FROM so.number WHERE i = 12;
SELECT count(gdpr.merge_subjects(a.number, b.number)) FROM so.number a JOIN so.number b USING (at_once) WHERE a.i = 13 AND b.i = 14;
SELECT count(gdpr.forget(number)) FROM so.number WHERE i = 17;
SELECT count(gdpr.forget(number, category => 'content')) FROM so.number WHERE i = 15;
INSERT INTO so.orders SELECT 20 + id, id, 'anew ' || i FROM so.number WHERE i = 15;
SELECT count(gdpr.disclose(number, 'Post NL', categories => '{identity}')) FROM so.number WHERE i = 5;
CREATE FUNCTION so.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id IN (16, 116) THEN RETURN NULL; END IF; RETURN OLD; END $$;
CREATE TRIGGER keep BEFORE DELETE ON so.orders FOR EACH ROW EXECUTE FUNCTION so.keep();

-- all but 11, 19 and 20
CREATE TABLE so.done (i integer, at_once boolean, erasure uuid);
INSERT INTO so.done SELECT i, false, gdpr.forget(number, 'so reason ' || i) FROM (SELECT * FROM so.number WHERE NOT at_once AND i NOT IN (11, 14, 19, 20) ORDER BY i) n;
INSERT INTO so.done SELECT n.i, true, f.erasure
FROM (SELECT array_agg(number ORDER BY i) AS numbers, array_agg('so reason ' || i ORDER BY i) AS reasons FROM so.number WHERE at_once AND i NOT IN (11, 14, 19, 20)) a,
     gdpr.forget_persons(gdpr.lock_forgettable(a.numbers), a.reasons, NULL) f JOIN so.number n ON n.number = f.person;
-- what was done, in rows; the difference: links are cleared in all rows first, and what is deleted with the one is not erased for the other before
CREATE VIEW so.report AS
SELECT d.i, d.at_once, d.erasure, r ->> 'relation' AS relation, r ->> 'action' AS action, r ->> 'reason' AS why, (r -> 'rows')::integer AS rows, n
FROM so.done d JOIN gdpr.erasure e ON e.id = d.erasure LEFT JOIN LATERAL jsonb_array_elements(e.relations) WITH ORDINALITY u(r, n) ON true;
SELECT i, relation, action, left(why, 22) AS why, a.rows AS one_by_one, b.rows AS at_once, CASE WHEN a.rows IS DISTINCT FROM b.rows THEN 'differs' END AS note
FROM (SELECT * FROM so.report WHERE NOT at_once) a FULL JOIN (SELECT * FROM so.report WHERE at_once) b USING (i, relation, action, why) ORDER BY i, coalesce(b.n, a.n), a.n;
SELECT d.at_once, count(*), count(DISTINCT e.subject), count(e.reason), count(*) FILTER (WHERE e.reason = 'so reason ' || d.i) AS own_reason,
       (SELECT count(*) FROM gdpr.tombstone t JOIN so.done o ON o.erasure = t.erasure WHERE o.at_once = d.at_once) AS tombstones
FROM so.done d JOIN gdpr.erasure e ON e.id = d.erasure GROUP BY 1 ORDER BY 1;
-- what is left is the same, too
SELECT t.name, count(*) FILTER (WHERE id < 100) AS one_by_one, count(*) FILTER (WHERE id > 100) AS at_once,
       array_agg(id ORDER BY id) FILTER (WHERE id < 100) = array_agg(id - 100 ORDER BY id) FILTER (WHERE id > 100) AS same
FROM (SELECT 'person' AS name, id, gdpr_sealed FROM so.person UNION ALL SELECT 'orders', id, gdpr_sealed FROM so.orders UNION ALL SELECT 'line', id, gdpr_sealed FROM so.line
      UNION ALL SELECT 'complaint', id, gdpr_sealed FROM so.complaint UNION ALL SELECT 'badge', id, gdpr_sealed FROM so.badge UNION ALL SELECT 'invoice', id, gdpr_sealed FROM so.invoice
      UNION ALL SELECT 'ticket', id, gdpr_sealed FROM so.ticket UNION ALL SELECT 'letter', id, gdpr_sealed FROM so.letter UNION ALL SELECT 'folder', id, gdpr_sealed FROM so.folder
      UNION ALL SELECT 'file', id, gdpr_sealed FROM so.file UNION ALL SELECT 'visit', id, gdpr_sealed FROM so.visit) t GROUP BY 1 ORDER BY 1;
SELECT id % 100 AS id, count(*) OVER (PARTITION BY id % 100, said) AS alike, said FROM (
    SELECT id, concat_ws(' | ', person_id % 100, told_by % 100, question, answer) AS said FROM so.ticket WHERE concat(question, answer) <> ''
    UNION ALL SELECT id + 50, concat_ws(' | ', sender % 100, recipient % 100, body, greeting) FROM so.letter
    UNION ALL SELECT id + 30, note FROM so.orders WHERE note IS NOT NULL) s ORDER BY id, said;
SELECT DISTINCT count(*) FILTER (WHERE NOT gdpr.key_is_lost(number, NULL)) AS alive, array_agg(i ORDER BY i) FILTER (WHERE NOT gdpr.key_is_lost(number, NULL)) FROM so.number GROUP BY at_once;
SELECT n.recipient, n.kind, s.i, s.at_once FROM gdpr.notices n JOIN so.number s ON s.number = n.subject WHERE n.kind = 'erasure' AND s.i < 100 ORDER BY 3, 4;
-- again: the same erasures, but of whom rows could not be deleted that can be now
CREATE TABLE so.again AS SELECT f.* FROM (SELECT array_agg(number ORDER BY i DESC) AS numbers FROM so.number WHERE at_once AND i NOT IN (11, 19, 20)) a,
     gdpr.forget_persons(gdpr.lock_forgettable(a.numbers), '{}', NULL) f;
SELECT count(*), count(*) FILTER (WHERE d.erasure = g.erasure) AS same, array_agg(n.i ORDER BY n.i) FILTER (WHERE d.erasure <> g.erasure) AS others,
       min(jsonb_path_query_array(e.relations, '$[*].action')::text) FILTER (WHERE d.erasure <> g.erasure) AS done
FROM so.again g JOIN so.number n ON n.number = g.person JOIN so.done d ON d.i = n.i AND d.at_once JOIN gdpr.erasure e ON e.id = g.erasure;
-- one category of several
CREATE TABLE so.part AS SELECT f.* FROM (SELECT array_agg(number ORDER BY number) AS numbers FROM so.number WHERE i = 11) a,
     gdpr.forget_persons(gdpr.lock_forgettable(a.numbers), '{x}', (SELECT id FROM gdpr.category WHERE name = 'contact')) f;
SELECT n.i, n.at_once, e.category IS NOT NULL AS of_category, e.reason, e.relations FROM so.part p JOIN so.number n ON n.number = p.person JOIN gdpr.erasure e ON e.id = p.erasure ORDER BY 2;
SELECT id, name, email FROM so.person WHERE id IN (11, 19, 111, 119) ORDER BY id;
-- wrong ones
SELECT gdpr.lock_forgettable('{NULL}');
SELECT gdpr.lock_forgettable('{7}');
SELECT gdpr.lock_forgettable(NULL);
SELECT gdpr.lock_forgettable('{}');
\set VERBOSITY sqlstate
SELECT gdpr.lock_forgettable(ARRAY[gdpr.subject_number(gdpr_sealed)]) FROM so.folder WHERE id = 2;
\set VERBOSITY terse
SELECT * FROM gdpr.forget_persons('{}', '{}', NULL);
SELECT * FROM gdpr.forget_persons(NULL, NULL, NULL);
SELECT * FROM gdpr.forget_rows('so.person', '{}', NULL, false);
SELECT * FROM gdpr.forget_rows('so.person', '{5,NULL}', NULL, false);
SELECT * FROM gdpr.forget_rows('so.person', '{5,-1}', NULL, false);
SELECT * FROM gdpr.forget_rows('so.person', NULL, NULL, false);
SELECT count(*) FROM gdpr.forget_rows('so.person', '{{1,2},{2,1}}', NULL, false);

-- a job: those who cannot be forgotten do not stop the others, wherever they are among them
INSERT INTO so.person SELECT 200 + i, 'Name ' || i FROM generate_series(1, 40) i;
INSERT INTO so.orders SELECT 200 + i, 200 + i, 'note' FROM generate_series(1, 40) i;
CREATE FUNCTION so.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id IN (201, 217, 218, 240) THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON so.orders FOR EACH ROW EXECUTE FUNCTION so.refuse();
SELECT gdpr.plan_erasure(ARRAY(SELECT gdpr.subject_number(gdpr_sealed) FROM so.person, generate_series(1, 2) WHERE id > 200), 'so job', '0');
SELECT count(gdpr.hold(gdpr.subject('so.person', id::text), 'lawsuit', '2100-01-01')) FROM so.person WHERE id IN (203, 204);
SELECT gdpr.merge_subjects(gdpr.subject('so.person', '205'), gdpr.subject('so.person', '206')) IS NOT NULL AS merged;
SELECT gdpr.forget(gdpr.subject('so.person', '207')) IS NOT NULL AS forgotten_meanwhile;
CALL gdpr.run_planned_erasures(25);
SELECT id, p.failure FROM so.person JOIN gdpr.planned_erasure p ON p.subject = gdpr.subject_number(gdpr_sealed) WHERE id > 200 ORDER BY id;
SELECT array_agg(id ORDER BY id) FROM so.person WHERE id > 200;
SELECT count(*), count(DISTINCT e.subject), count(DISTINCT t.number) FROM gdpr.erasure e LEFT JOIN gdpr.tombstone t ON t.erasure = e.id WHERE e.reason = 'so job';
SELECT count(*) FROM gdpr.holds h JOIN gdpr.erasure e USING (subject) WHERE e.reason = 'so job' AND h.held_as IS NOT NULL;
DROP TRIGGER refuse ON so.orders;
UPDATE gdpr.planned_erasure SET due_at = now();
CALL gdpr.run_planned_erasures();
SELECT array_agg(id ORDER BY id) FROM so.person WHERE id > 200;
CALL gdpr.run_planned_erasures(100000);
SELECT count(gdpr.release_hold(h.id)) FROM gdpr.holds h JOIN gdpr.erasure e USING (subject) WHERE e.reason IN ('so job', 'so reason 8') AND h.held_as IS NOT NULL;
SELECT count(gdpr.acknowledge_outbox(o.id)) FROM gdpr.outbox o JOIN gdpr.recipient_notice n USING (message) JOIN so.number s ON s.number = n.subject;
DROP SCHEMA so CASCADE;
