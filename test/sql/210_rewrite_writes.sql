-- What is written to a protected table is what was written before: every kind of statement.
\getenv dir PG_ABS_SRCDIR
\set setup :dir '/sql/rewrite.inc'
\set ECHO none
\i :setup
\set ECHO all
\set VERBOSITY terse
SELECT rw.same($$UPDATE contact SET name='Zed', phone='Q'||id WHERE id<5 RETURNING *$$);
SELECT rw.same($$UPDATE contact SET name=name||'!', score=score*2 WHERE email='u9@x.nl' RETURNING id, name, score$$);
SELECT rw.same($$UPDATE contact SET phone=NULL, born=NULL WHERE id=5 RETURNING phone, born$$);
SELECT rw.same($$UPDATE contact SET company=9 WHERE id=5 RETURNING email, company$$);
SELECT rw.same($$UPDATE contact c SET name=o.item, phone=o.mail||o.id FROM orders o WHERE o.contact_id=c.id AND o.mail=c.email RETURNING c.id, c.name, o.mail$$);
SELECT rw.same($$UPDATE contact SET (name, phone) = (SELECT item, mail||'q' FROM orders WHERE orders.id=contact.id) WHERE id BETWEEN 10 AND 12 RETURNING id, name, phone$$);
SELECT rw.same($$UPDATE contact SET home.city='Nowhere' WHERE id=13 RETURNING home$$);
SELECT rw.same($$UPDATE contact SET tags[2]='new' WHERE id=14 RETURNING tags$$);
SELECT rw.same($$UPDATE contact SET name=email, email=name||id WHERE id=15 RETURNING name, email$$);
SELECT rw.same($$UPDATE contact SET name=DEFAULT WHERE id=15$$);
SELECT rw.same($$UPDATE contact SET email='u20@x.nl' WHERE id=16$$);
SELECT rw.same($$UPDATE contact SET id=id+100 WHERE id=17 RETURNING id, email, name$$);
SELECT rw.same($$INSERT INTO contact(id,email,name,phone) VALUES (200,'n1','N1','pp'),(201,'n2','N2',NULL) RETURNING *$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) SELECT id+300, 'x'||email, upper(name) FROM contact WHERE id<4 RETURNING *$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (1,'new1','x') ON CONFLICT DO NOTHING RETURNING id$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (1,'new1','x') ON CONFLICT (id) DO UPDATE SET name=EXCLUDED.name||'/'||contact.name, email=EXCLUDED.email RETURNING id,email,name$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (999,'u20@x.nl','conf') ON CONFLICT (email) DO UPDATE SET name=EXCLUDED.name, company=77 RETURNING id,email,name,company$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (999,'u20@x.nl','conf2') ON CONFLICT ON CONSTRAINT contact_email_key DO UPDATE SET name=EXCLUDED.name WHERE contact.name='conf' AND EXCLUDED.email='u20@x.nl' RETURNING name$$);
SELECT rw.same($$INSERT INTO contact(id,email,name,phone) VALUES (998,'zz','conf3','p22') ON CONFLICT (lower(phone)) DO UPDATE SET name=EXCLUDED.name, phone=EXCLUDED.phone RETURNING id,name,phone$$);
SELECT rw.same($$INSERT INTO contact(id,email,name,nick) VALUES (997,'zzz','conf4','NICK23') ON CONFLICT (nick) DO UPDATE SET nick=EXCLUDED.nick, name=(SELECT max(item) FROM orders WHERE mail=EXCLUDED.email OR mail=contact.email) RETURNING id,name,nick$$);
SELECT rw.same($$INSERT INTO contact AS c (id,email,name) VALUES (1,'u1b','y') ON CONFLICT (id) DO UPDATE SET (name,email)=ROW(EXCLUDED.name,EXCLUDED.email) RETURNING c.*$$);
SELECT rw.same($$INSERT INTO contact AS c (id,email,name) VALUES (1,'u1b','y2') ON CONFLICT (id) DO UPDATE SET name=(SELECT row_to_json(EXCLUDED)->>'name') RETURNING name$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (210,'u25@x.nl','dup')$$);
SELECT rw.same($$INSERT INTO contact(id,email,name) VALUES (210,'u25xx@x.nl',NULL)$$);
SELECT rw.same($$DELETE FROM contact WHERE email='xu1@x.nl' OR id=301 RETURNING *$$);
SELECT rw.same($$DELETE FROM orders o USING contact c WHERE c.id=o.contact_id AND c.name='Name 3' AND o.amount>100 RETURNING o.*$$);
SELECT rw.same($$WITH u AS (UPDATE contact SET name='W' WHERE id=30 RETURNING id, email, name) SELECT u.*, c.name FROM u JOIN contact c USING (id)$$);
SELECT rw.same($$WITH d AS (DELETE FROM orders WHERE mail='u33@x.nl' RETURNING *) INSERT INTO contact(id,email,name) SELECT 400+id, mail||id, item FROM d RETURNING id,email,name$$);
SELECT rw.same($$MERGE INTO contact c USING orders o ON o.mail=c.email AND o.id<20 WHEN MATCHED AND c.name LIKE 'Name%' THEN UPDATE SET name=c.name||o.item, phone=o.mail WHEN MATCHED THEN DELETE$$);
SELECT * FROM rw.same_tables();
SELECT rw.same($$MERGE INTO contact c USING (SELECT id+500 AS id, mail||'m'||id AS mail, item FROM orders WHERE id<5 UNION ALL SELECT 40,'x40','it40') s ON s.id=c.id WHEN MATCHED THEN UPDATE SET email=s.mail, company=3 WHEN NOT MATCHED THEN INSERT (id,email,name) VALUES (s.id,s.mail,s.item)$$);
SELECT * FROM rw.same_tables();
SELECT rw.same($$UPDATE orders SET contact_id=2 WHERE id=44 RETURNING *$$);
SELECT rw.same($$UPDATE orders SET contact_id=NULL WHERE id=45 RETURNING *$$);
SELECT rw.same($$UPDATE v_before SET email='viaview' WHERE id=31 RETURNING *$$);
SELECT rw.same($$INSERT INTO v_before(id,email) VALUES (777,'q')$$);
SELECT rw.same($$DELETE FROM v_before WHERE email='viaview' RETURNING *$$);
SELECT * FROM rw.same_tables();
