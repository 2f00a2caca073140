-- Rows with several owners, and rows that somebody merely sees: a conference, a file share. The preview.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA fs;
-- a conference: papers of several authors, reviews, the chair's letters, who recommended whom
CREATE TABLE fs.person (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, mentor integer REFERENCES fs.person);
CREATE TABLE fs.paper (id integer, year integer, title text NOT NULL, abstract text, pages integer, PRIMARY KEY (id, year));
CREATE TABLE fs.author (paper integer, year integer, person integer REFERENCES fs.person ON DELETE CASCADE, affiliation text,
    PRIMARY KEY (paper, year, person), FOREIGN KEY (paper, year) REFERENCES fs.paper ON DELETE CASCADE);
CREATE TABLE fs.figure (id integer PRIMARY KEY, paper integer, year integer, caption text, FOREIGN KEY (paper, year) REFERENCES fs.paper);
CREATE TABLE fs.review (id integer PRIMARY KEY, paper integer, year integer, reviewer integer REFERENCES fs.person, remarks text, score integer,
    FOREIGN KEY (paper, year) REFERENCES fs.paper);
CREATE TABLE fs.letter (id integer PRIMARY KEY, sender integer NOT NULL REFERENCES fs.person, recipient integer REFERENCES fs.person ON DELETE CASCADE,
    body text, greeting text);
INSERT INTO fs.person SELECT i, 'Name ' || i, 'p' || i || '@uni.example', NULLIF(i - 1, 0) FROM generate_series(1, 8) i;
INSERT INTO fs.paper SELECT i, 2026, 'Title ' || i, 'Abstract ' || i, 10 FROM generate_series(1, 5) i;
INSERT INTO fs.author VALUES (1, 2026, 1, 'A1'), (1, 2026, 2, 'A2'), (1, 2026, 3, 'A3'), (2, 2026, 1, 'A1'), (3, 2026, 2, 'A2'), (3, 2026, 4, 'A4'), (4, 2026, 5, 'A5');
INSERT INTO fs.figure SELECT i, i, 2026, 'Caption ' || i FROM generate_series(1, 5) i;
INSERT INTO fs.review VALUES (1, 1, 2026, 6, 'remarks of 6', 3), (2, 2, 2026, 6, 'more of 6', 1);
INSERT INTO fs.letter VALUES (1, 7, 1, 'by 7 to 1', 'Dear 1'), (2, 7, 2, 'by 7 to 2', 'Dear 2'), (3, 1, 7, 'by 1 to 7', 'Dear 7');
SELECT gdpr.declare_subject('fs.person'), gdpr.declare_column('fs.person', 'name', 'identity'),
       gdpr.declare_column('fs.person', 'email', 'contact', searchable => true);
-- mistakes
SELECT gdpr.declare_table('fs.paper');
SELECT gdpr.declare_table('fs.paper', via => 'pages', owned_through => 'fs.author');
SELECT gdpr.declare_table('fs.paper', owned_through => 'fs.author');
SELECT gdpr.declare_table('fs.paper', owned_through => 'fs.person');
SELECT gdpr.declare_access('fs.letter', via => 'recipient');
SELECT gdpr.declare_table('fs.author', via => 'person'), gdpr.declare_column('fs.author', 'affiliation', 'identity');
SELECT gdpr.declare_table('fs.figure', owned_through => 'fs.author');
CREATE ROLE fs_other; GRANT USAGE ON SCHEMA fs TO fs_other; ALTER TABLE fs.paper OWNER TO fs_other;
SELECT gdpr.declare_table('fs.paper', owned_through => 'fs.author');
ALTER TABLE fs.paper OWNER TO CURRENT_USER;
SELECT gdpr.declare_table('fs.paper', owned_through => 'fs.author');
SELECT gdpr.declare_column('fs.paper', 'title', 'content'), gdpr.declare_column('fs.paper', 'abstract', 'content');
SELECT gdpr.declare_table('fs.figure', via => 'paper, year'), gdpr.declare_column('fs.figure', 'caption', 'content');
SELECT gdpr.declare_table('fs.review', via => 'reviewer', on_forget => 'erase'), gdpr.declare_column('fs.review', 'remarks', 'content');
SELECT gdpr.declare_table('fs.letter', via => 'sender'), gdpr.declare_column('fs.letter', 'body', 'content'),
       gdpr.declare_column('fs.letter', 'greeting', 'content', subject_via => 'recipient');
SELECT gdpr.declare_access('fs.letter', via => 'sender');
SELECT gdpr.declare_access('fs.letter', via => 'id');
SELECT gdpr.declare_access('fs.paper', via => 'pages');
SELECT gdpr.declare_access('fs.letter', via => 'recipient');
SELECT gdpr.declare_access(NULL, NULL);
SELECT gdpr.undeclare_table('fs.author');
SELECT DISTINCT relation, rows_are FROM gdpr.data_map WHERE relation::text LIKE 'fs.%' ORDER BY 1;
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY '{person,paper,author,figure,review,letter}'::text[] LOOP PERFORM gdpr.protect_now(('fs.' || t)::regclass); END LOOP;
END $$;
ALTER TABLE fs.author RENAME COLUMN paper TO paper_id; ALTER TABLE fs.letter RENAME COLUMN recipient TO addressee;
CALL gdpr.unprotect('fs.author');
SELECT gdpr.create_purpose('fs', 'contract', '{contact,identity,content}');
SELECT gdpr.grant_purpose('fs', current_user);
SET gdpr.purpose = 'fs';
RESET client_min_messages;
CREATE TABLE fs.number AS SELECT id, gdpr.subject('fs.person', id::text) AS number FROM fs.person;
CREATE FUNCTION fs.preview(id integer, category text DEFAULT NULL) RETURNS TABLE (relation regclass, rows bigint, action text, reason text, stays_clear name[])
    LANGUAGE sql AS $$ SELECT p.* FROM fs.number n, gdpr.forget_preview(n.number, category) p WHERE n.id = preview.id AND p.relation::text LIKE 'fs.%' $$;
CREATE FUNCTION fs.forget(id integer) RETURNS TABLE (relation text, action text, rows bigint) LANGUAGE plpgsql AS $$
DECLARE erasure uuid := gdpr.forget(n.number) FROM fs.number n WHERE n.id = forget.id;
BEGIN
    RETURN QUERY SELECT r.relation, r.action, r.rows FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint)
    WHERE e.id = erasure AND r.relation LIKE 'fs.%';
END $$;

-- what would happen is what happens, and the preview leaves nothing behind
SELECT * FROM fs.preview(1);
SELECT count(*) FROM gdpr.erasure e JOIN fs.number n ON n.number = e.subject;
SELECT name, email FROM fs.person WHERE id = 1;
CREATE TEMP TABLE would AS SELECT relation::text, action, rows FROM fs.preview(1);
SELECT * FROM fs.forget(1) EXCEPT ALL TABLE would;
-- two authors are left of paper 1; paper 2 had no other: gone with its figures, but a review needs the row
SELECT id, title, abstract, pages FROM fs.paper ORDER BY id;
SELECT id, caption FROM fs.figure ORDER BY id;
SELECT paper_id, person, affiliation FROM fs.author ORDER BY 1, 2;
SELECT id, reviewer, remarks, score FROM fs.review ORDER BY id;
-- letters to 1 are those of 7, and stay; who was greeted goes; the pupil stays
SELECT id, sender, addressee, body, greeting FROM fs.letter ORDER BY id;
SELECT id, name, mentor FROM fs.person WHERE id <= 2 ORDER BY id;
-- the next owner, then the last one
SELECT * FROM fs.forget(2);
SELECT id, title FROM fs.paper WHERE id IN (1, 3) ORDER BY id;
SELECT * FROM fs.forget(3);
SELECT id, title FROM fs.paper WHERE id IN (1, 3) ORDER BY id;
SELECT id, caption FROM fs.figure WHERE id = 1;
SELECT * FROM fs.forget(4);
SELECT id, title FROM fs.paper WHERE id = 3;
-- one category of the last owner takes the paper's; nobody owns paper 5, so nobody's leaving matters
SELECT * FROM fs.preview(5, 'content');
SELECT count(gdpr.forget(number, category => 'content')) FROM fs.number WHERE id = 5;
SELECT id, title, pages FROM fs.paper WHERE id > 3 ORDER BY id;
SELECT name FROM fs.person WHERE id = 5;
UPDATE fs.paper SET title = 'anew' WHERE id = 4;
SELECT * FROM fs.forget(5);
SELECT id, title FROM fs.paper WHERE id > 3 ORDER BY id;
-- who sent the letters; not with a snapshot that is old
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM fs.forget(7);
COMMIT;
SELECT * FROM fs.forget(7);
SELECT count(*) FROM fs.letter;
-- the preview is not for everybody, and not for nobody
SET ROLE test_app;
SELECT * FROM gdpr.forget_preview(1);
SELECT * FROM gdpr.owned_rows('{1}');
SELECT gdpr.clear_links('fs.letter', '{1}', 'SELECT 1');
RESET ROLE;
SELECT * FROM gdpr.forget_preview(NULL);
SELECT * FROM gdpr.forget_preview(7);
SELECT * FROM gdpr.forget_preview((SELECT number FROM fs.number WHERE id = 8), 'no such');

-- files in folders: a folder owns its files, persons own folders -------------------------------------------
SET client_min_messages = warning;
CREATE TABLE fs.folder (id integer PRIMARY KEY, label text);
CREATE TABLE fs.member (folder integer REFERENCES fs.folder, person integer REFERENCES fs.person, since date, PRIMARY KEY (folder, person));
CREATE TABLE fs.file (id integer PRIMARY KEY, content text);
CREATE TABLE fs.place (file integer REFERENCES fs.file, folder integer REFERENCES fs.folder, remark text, PRIMARY KEY (file, folder));
INSERT INTO fs.person SELECT i, 'Name ' || i, 'p' || i || '@uni.example' FROM generate_series(21, 23) i;
INSERT INTO fs.folder VALUES (1, 'of 21'), (2, 'of both'); INSERT INTO fs.member VALUES (1, 21), (2, 21), (2, 22);
INSERT INTO fs.file VALUES (1, 'in 1'), (2, 'in both'); INSERT INTO fs.place VALUES (1, 1), (2, 1), (2, 2);
SELECT gdpr.declare_table('fs.member', via => 'person'), gdpr.declare_column('fs.member', 'since', 'content');
SELECT gdpr.declare_table('fs.folder', owned_through => 'fs.member'), gdpr.declare_column('fs.folder', 'label', 'content');
SELECT gdpr.declare_table('fs.place', via => 'folder'), gdpr.declare_column('fs.place', 'remark', 'content');
SELECT gdpr.declare_table('fs.file', owned_through => 'fs.place'), gdpr.declare_column('fs.file', 'content', 'content');
SELECT gdpr.protect_now('fs.folder'), gdpr.protect_now('fs.member'), gdpr.protect_now('fs.file'), gdpr.protect_now('fs.place');
INSERT INTO fs.number SELECT id, gdpr.subject('fs.person', id::text) FROM fs.person WHERE id > 20;
SELECT * FROM fs.forget(21);
SELECT id, label FROM fs.folder; SELECT id, content FROM fs.file;
SELECT * FROM fs.forget(22);
SELECT count(*) FROM fs.folder; SELECT count(*) FROM fs.file;
INSERT INTO fs.person SELECT i, 'Name ' || i, 'p' || i || '@uni.example' FROM generate_series(24, 25) i;
INSERT INTO fs.folder VALUES (4, 'of 23'), (5, 'of 24 and 25'); INSERT INTO fs.member VALUES (4, 23);
INSERT INTO fs.file VALUES (3, 'of 23'); INSERT INTO fs.place VALUES (3, 4);
DROP TABLE fs.place;
-- the number of a row is not a person's
SELECT gdpr.subject_number(gdpr_sealed) AS file FROM fs.file WHERE id = 3 \gset
\set VERBOSITY sqlstate
SELECT gdpr.forget(:file);
SELECT * FROM gdpr.forget_preview(:file);
CALL gdpr.forget_in_batches(:file);
SELECT gdpr.merge_subjects(number, :file) FROM fs.number WHERE id = 23;
SELECT gdpr.hold(:file, 'x', '2999-01-01');
\set VERBOSITY terse
SELECT id, content FROM fs.file WHERE id = 3;
-- an error of a trigger is not taken for the preview's
CREATE FUNCTION fs.confuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'GDPRE' USING DETAIL = '[]'; END $$;
CREATE TRIGGER confuse BEFORE DELETE ON fs.member FOR EACH ROW EXECUTE FUNCTION fs.confuse();
SELECT count(*) FROM fs.preview(23);
DROP TRIGGER confuse ON fs.member;
-- one category, by each of the owners
INSERT INTO fs.member VALUES (5, 24), (5, 25);
INSERT INTO fs.number SELECT id, gdpr.subject('fs.person', id::text) FROM fs.person WHERE id > 23;
SELECT count(gdpr.forget(number, category => 'content')) FROM fs.number WHERE id = 24;
SELECT id, label FROM fs.folder WHERE id = 5;
SELECT count(gdpr.forget(number, category => 'content')) FROM fs.number WHERE id = 25;
SELECT id, label FROM fs.folder WHERE id = 5;

-- a foreign key of several columns, one of which says whose the row is ------------------------------------
CREATE TABLE fs.colleague (tenant integer, id integer, name text, PRIMARY KEY (tenant, id));
CREATE TABLE fs.memo (id integer PRIMARY KEY, tenant integer, sender integer, recipient integer, body text,
    FOREIGN KEY (tenant, sender) REFERENCES fs.colleague, FOREIGN KEY (tenant, recipient) REFERENCES fs.colleague ON DELETE CASCADE);
INSERT INTO fs.colleague VALUES (1, 1, 'a'), (1, 2, 'b'), (1, 3, 'c'); INSERT INTO fs.memo VALUES (1, 1, 1, 2, 'of 1 to 2'), (2, 1, 1, 3, 'of 1 to 3');
SELECT gdpr.declare_subject('fs.colleague'), gdpr.declare_column('fs.colleague', 'name', 'identity');
SELECT gdpr.declare_table('fs.memo', via => 'tenant, sender'), gdpr.declare_column('fs.memo', 'body', 'content');
SELECT gdpr.declare_access('fs.memo', via => 'tenant, recipient');
SELECT gdpr.protect_now('fs.colleague'), gdpr.protect_now('fs.memo');
SELECT count(gdpr.forget(gdpr.subject('fs.colleague', '(1,2)')));
SELECT id, tenant, sender, recipient, body FROM fs.memo ORDER BY id;
-- an owner drops a column: the others are forgotten all the same
ALTER TABLE fs.memo DROP COLUMN recipient;
SELECT count(gdpr.forget(gdpr.subject('fs.colleague', '(1,3)')));
SELECT gdpr.undeclare_access('fs.memo'); SELECT gdpr.undeclare_access('fs.memo');
SELECT count(gdpr.forget(gdpr.subject('fs.colleague', '(1,1)')));
SELECT count(*) FROM fs.memo;

DROP TABLE fs.memo, fs.colleague;
-- what a cascade would take along stays: rows of others, and what is kept by law ----------------------------
CREATE TABLE fs.worker (id integer PRIMARY KEY, boss integer REFERENCES fs.worker ON DELETE CASCADE, name text);
CREATE TABLE fs.bill (id integer PRIMARY KEY, worker integer REFERENCES fs.worker ON DELETE CASCADE, witness integer REFERENCES fs.worker ON DELETE CASCADE, addressee text);
INSERT INTO fs.worker VALUES (1, NULL, 'boss'), (2, 1, 'of 1'), (3, NULL, 'alone'), (4, NULL, 'witness'); INSERT INTO fs.bill VALUES (1, 3, 4, 'alone');
SELECT gdpr.declare_subject('fs.worker'), gdpr.declare_column('fs.worker', 'name', 'identity');
SELECT gdpr.declare_table('fs.bill', via => 'worker', on_forget => 'keep', ground => 'tax law'), gdpr.declare_column('fs.bill', 'addressee', 'identity');
SELECT gdpr.protect_now('fs.worker'), gdpr.protect_now('fs.bill');
SELECT count(gdpr.forget(gdpr.subject('fs.worker', id::text))) FROM fs.worker WHERE id IN (1, 3, 4);
SELECT id, boss, name FROM fs.worker ORDER BY id; SELECT id, worker, witness, addressee FROM fs.bill;

-- what the owner's code leaves to the end of the transaction runs as the owner, and reading leaves nothing ------
CREATE ROLE fs_evil; GRANT CREATE, USAGE ON SCHEMA fs TO fs_evil; GRANT USAGE ON SCHEMA gdpr TO fs_evil;
SET ROLE fs_evil;
CREATE TABLE fs.prey (id integer PRIMARY KEY, name text); CREATE TABLE fs.ran (what text, by text);
CREATE FUNCTION fs.later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fs.ran VALUES (TG_TABLE_NAME, current_user); RETURN NULL; END $$;
CREATE TABLE fs.trap (id integer);
CREATE FUNCTION fs.put(integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN INSERT INTO fs.trap VALUES ($1); RETURN $1; END $$;
CREATE FUNCTION fs.spy(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN fs.put($1); END $$;
CREATE CONSTRAINT TRIGGER later AFTER DELETE OR UPDATE ON fs.prey DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fs.later();
INSERT INTO fs.prey SELECT i, 'n' || i FROM generate_series(1, 4) i;
RESET ROLE;
SELECT gdpr.declare_subject('fs.prey'), gdpr.declare_column('fs.prey', 'name', 'identity'), gdpr.protect_now('fs.prey');
CREATE TABLE fs.deferred (id integer, up integer); ALTER TABLE fs.deferred ADD PRIMARY KEY (id), ADD FOREIGN KEY (up) REFERENCES fs.deferred DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT count(gdpr.forget(gdpr.subject('fs.prey', '1')));
SELECT what, by FROM fs.ran;
INSERT INTO fs.deferred VALUES (1, 2); -- and is deferred again
INSERT INTO fs.deferred VALUES (2, NULL);
COMMIT;
SET ROLE fs_evil;
CREATE INDEX ON fs.prey ((fs.spy(1) + id));
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON fs.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fs.later();
RESET ROLE;
SELECT count(*) FROM gdpr.dark_rows() WHERE relation = 'fs.prey'::regclass;
SELECT DISTINCT what, by FROM fs.ran WHERE by <> 'fs_evil';
DROP SCHEMA fs CASCADE; DROP OWNED BY fs_evil; DROP ROLE fs_evil; DROP ROLE fs_other;
