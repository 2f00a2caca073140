-- What must remain when somebody goes, in applications as they are: a forum, a shop, a practice. Conference and file share: 142.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.forget(relation text, key text) RETURNS TABLE (on_relation text, action text, rows bigint) LANGUAGE plpgsql AS $$
DECLARE erasure uuid := gdpr.forget(gdpr.subject(relation::regclass, key));
BEGIN
    RETURN QUERY SELECT r.relation, r.action, r.rows FROM gdpr.erasure e, jsonb_to_recordset(e.relations) AS r(relation text, action text, rows bigint) WHERE e.id = erasure;
END $$;

-- A forum: what was said stays, under no name; the thread is not torn --------------------------------------------
CREATE SCHEMA forum;
CREATE TABLE forum.member (id integer PRIMARY KEY, handle text UNIQUE, email text UNIQUE, signature text, joined date);
CREATE TABLE forum.post (id integer PRIMARY KEY, author integer NOT NULL REFERENCES forum.member, reply_to integer REFERENCES forum.post, body text, address inet, edited_by integer REFERENCES forum.member);
CREATE TABLE forum.vote (post integer REFERENCES forum.post, member integer REFERENCES forum.member, up boolean, PRIMARY KEY (post, member));
CREATE TABLE forum.letter (id integer PRIMARY KEY, sender integer NOT NULL REFERENCES forum.member, recipient integer REFERENCES forum.member, body text);
INSERT INTO forum.member VALUES (1, 'ann', 'ann@example.nl', 'Ann de Wit, Delft', '2020-01-01'), (2, 'ben', 'ben@example.nl', 'B.', '2021-01-01'), (3, 'mod', 'mod@example.nl', NULL, '2019-01-01');
INSERT INTO forum.post VALUES (1, 1, NULL, 'How does one …?', '10.0.0.1', NULL), (2, 2, 1, 'Thus.', '10.0.0.2', NULL), (3, 1, 2, 'Thanks!', '10.0.0.1', 3);
INSERT INTO forum.vote VALUES (2, 1, true), (1, 2, true); INSERT INTO forum.letter VALUES (1, 1, 2, 'of Ann'), (2, 2, 1, 'to Ann');
DO $$ BEGIN
    PERFORM gdpr.declare_subject('forum.member', on_forget => 'erase'), gdpr.declare_column('forum.member', 'handle', 'identity', searchable => true),
            gdpr.declare_column('forum.member', 'email', 'contact', searchable => true), gdpr.declare_column('forum.member', 'signature', 'identity');
    PERFORM gdpr.declare_table('forum.post', via => 'author', on_forget => 'erase'), gdpr.declare_column('forum.post', 'address', 'technical'); -- the body is not declared: it stays
    PERFORM gdpr.declare_access('forum.post', via => 'edited_by');
    PERFORM gdpr.declare_table('forum.vote', via => 'member'), gdpr.declare_column('forum.vote', 'up', 'opinion');
    PERFORM gdpr.declare_table('forum.letter', via => 'sender'), gdpr.declare_column('forum.letter', 'body', 'content'), gdpr.declare_access('forum.letter', via => 'recipient');
    PERFORM gdpr.protect_now(t) FROM unnest('{forum.member,forum.post,forum.vote,forum.letter}'::regclass[]) t;
    PERFORM gdpr.create_purpose('any', 'contract', ARRAY(SELECT name FROM gdpr.category WHERE id <> 15)), gdpr.grant_purpose('any', current_user);
END $$;
SET gdpr.purpose = 'any';
SELECT * FROM pg_temp.forget('forum.member', '1');
SELECT p.id, m.handle, p.reply_to, p.body, p.address FROM forum.post p JOIN forum.member m ON m.id = p.author ORDER BY 1;
SELECT post, member FROM forum.vote; SELECT id, sender, recipient, body FROM forum.letter;
INSERT INTO forum.member VALUES (4, 'ann', 'ann@example.nl', 'another Ann', '2026-01-01');
SELECT id FROM forum.member WHERE handle = 'ann';
SELECT * FROM pg_temp.forget('forum.member', '3');
SELECT id, edited_by FROM forum.post ORDER BY 1;

-- A shop: invoices are kept for the tax office, a gift for a friend leaves the friend alone --------------------------
CREATE SCHEMA shop;
CREATE TABLE shop.customer (id integer PRIMARY KEY, name text, email text, invited_by integer REFERENCES shop.customer ON DELETE SET NULL);
CREATE TABLE shop.address (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES shop.customer, street text);
CREATE TABLE shop.orders (id integer PRIMARY KEY, customer integer REFERENCES shop.customer ON DELETE SET NULL, ship_to integer REFERENCES shop.address ON DELETE SET NULL, remark text, total numeric);
CREATE TABLE shop.line (orders integer REFERENCES shop.orders, product text, engraving text, PRIMARY KEY (orders, product));
CREATE TABLE shop.invoice (id integer PRIMARY KEY, customer integer REFERENCES shop.customer ON DELETE SET NULL, addressee text, amount numeric, issued_on date);
CREATE TABLE shop.basket (customer integer PRIMARY KEY REFERENCES shop.customer ON DELETE CASCADE, wishes text);
INSERT INTO shop.customer VALUES (1, 'Ann', 'ann@example.nl', NULL), (2, 'Ben', 'ben@example.nl', 1);
INSERT INTO shop.address VALUES (1, 1, 'Street of Ann'), (2, 2, 'Street of Ben');
INSERT INTO shop.orders VALUES (1, 1, 1, 'ring twice', 10), (2, 1, 2, 'a gift for Ben', 20), (3, 2, 2, 'of Ben', 30);
INSERT INTO shop.line VALUES (1, 'mug', 'Ann'), (2, 'mug', 'for Ben'), (3, 'pen', NULL);
INSERT INTO shop.invoice VALUES (1, 1, 'Ann, Street of Ann', 10, '2026-01-01'), (2, 1, 'Ann, Street of Ann', 20, '2026-02-01'); INSERT INTO shop.basket VALUES (1, 'a hat');
DO $$ BEGIN
    PERFORM gdpr.declare_subject('shop.customer'), gdpr.declare_column('shop.customer', 'name', 'identity'), gdpr.declare_column('shop.customer', 'email', 'contact');
    PERFORM gdpr.declare_table('shop.address', via => 'customer'), gdpr.declare_column('shop.address', 'street', 'contact');
    PERFORM gdpr.declare_table('shop.orders', via => 'customer', on_forget => 'erase'), gdpr.declare_column('shop.orders', 'remark', 'content'); -- totals are for the statistics
    PERFORM gdpr.declare_table('shop.line', via => 'orders', on_forget => 'erase'), gdpr.declare_column('shop.line', 'engraving', 'content');
    PERFORM gdpr.declare_table('shop.invoice', via => 'customer', on_forget => 'keep', ground => 'tax law', keep_until => $k$issued_on + interval '7 years'$k$), gdpr.declare_column('shop.invoice', 'addressee', 'identity');
    PERFORM gdpr.declare_table('shop.basket', via => 'customer'), gdpr.declare_column('shop.basket', 'wishes', 'content');
    PERFORM gdpr.protect_now(t) FROM unnest('{shop.customer,shop.address,shop.orders,shop.line,shop.invoice,shop.basket}'::regclass[]) t;
    PERFORM gdpr.alter_purpose('any', categories => ARRAY(SELECT name FROM gdpr.category WHERE id <> 15));
END $$;
SELECT * FROM pg_temp.forget('shop.customer', '1');
SELECT id, name, invited_by FROM shop.customer; SELECT id, customer, street FROM shop.address;
SELECT o.id, o.customer, o.ship_to, o.remark, o.total, l.product, l.engraving FROM shop.orders o JOIN shop.line l ON l.orders = o.id ORDER BY 1;
SELECT id, customer, addressee, amount FROM shop.invoice ORDER BY 1; SELECT count(*) FROM shop.basket;

-- A practice: the record is kept as the law says, a doctor who leaves takes nothing of it along -----------------------
CREATE SCHEMA practice;
CREATE TABLE practice.patient (id integer PRIMARY KEY, name text, phone text);
CREATE TABLE practice.doctor (id integer PRIMARY KEY, name text, mobile text);
CREATE TABLE practice.message (id integer PRIMARY KEY, patient integer REFERENCES practice.patient ON DELETE SET NULL, doctor integer REFERENCES practice.doctor ON DELETE SET NULL, by_doctor boolean, body text, signed text);
CREATE TABLE practice.reminder (id integer PRIMARY KEY, patient integer NOT NULL REFERENCES practice.patient, text text);
INSERT INTO practice.patient VALUES (1, 'Ann', '06-1'), (2, 'Ben', '06-2'); INSERT INTO practice.doctor VALUES (1, 'Dr Cas', '06-3'), (2, 'Dr Dirk', '06-4');
INSERT INTO practice.message VALUES (1, 1, 1, false, 'it hurts', NULL), (2, 1, 1, true, 'take this', 'Dr Cas'), (3, 2, 1, true, 'come by', 'Dr Cas'), (4, 2, 2, true, 'well again', 'Dr Dirk');
INSERT INTO practice.reminder VALUES (1, 1, 'call Ann');
DO $$ BEGIN
    PERFORM gdpr.declare_subject('practice.patient'), gdpr.declare_column('practice.patient', 'name', 'identity'), gdpr.declare_column('practice.patient', 'phone', 'contact');
    PERFORM gdpr.declare_subject('practice.doctor'), gdpr.declare_column('practice.doctor', 'name', 'identity'), gdpr.declare_column('practice.doctor', 'mobile', 'contact');
    PERFORM gdpr.declare_table('practice.message', via => 'patient', on_forget => 'keep', ground => 'medical records act'), gdpr.declare_column('practice.message', 'body', 'health'),
            gdpr.declare_column('practice.message', 'signed', 'identity'), gdpr.declare_access('practice.message', via => 'doctor');
    PERFORM gdpr.declare_table('practice.reminder', via => 'patient'), gdpr.declare_column('practice.reminder', 'text', 'contact');
    PERFORM gdpr.protect_now(t) FROM unnest('{practice.patient,practice.doctor,practice.message,practice.reminder}'::regclass[]) t;
    PERFORM gdpr.alter_purpose('any', categories => ARRAY(SELECT name FROM gdpr.category WHERE id <> 15));
END $$;
SELECT * FROM pg_temp.forget('practice.doctor', '1');
SELECT id, patient, doctor, body, signed FROM practice.message ORDER BY 1;
SELECT * FROM pg_temp.forget('practice.patient', '1');
SELECT id, patient, doctor, body, signed FROM practice.message ORDER BY 1;
SELECT id, name FROM practice.patient; SELECT id, name FROM practice.doctor; SELECT count(*) FROM practice.reminder;
DROP SCHEMA forum CASCADE; DROP SCHEMA shop CASCADE; DROP SCHEMA practice CASCADE; SELECT gdpr.drop_purpose('any');
DELETE FROM gdpr.category WHERE name IN ('technical', 'opinion', 'health'); -- there can be 15 in all tests
