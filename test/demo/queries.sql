-- What the application asks.  Not a word in here knows about gdpr.

-- One person, by e-mail: the screen that opens when somebody calls.
SELECT id, first_name, last_name, email, phone, born, iban, notes
FROM crm.contact WHERE email = :'email';

-- Search as you type.
SELECT id, first_name, last_name, email FROM crm.contact
WHERE last_name ILIKE 'zö%' OR last_name LIKE 'Źród%' ORDER BY last_name, id LIMIT 20;

-- Who celebrates a round birthday this month?
SELECT first_name, last_name, born, phone FROM crm.contact
WHERE extract(month FROM born) = 5 AND (2026 - extract(year FROM born))::int % 10 = 0
ORDER BY born, id LIMIT 25;

-- The best customers, with what they spent.
SELECT c.id, c.first_name || ' ' || c.last_name AS name, c.email, sum(l.quantity * l.price) AS spent
FROM crm.contact c JOIN crm.orders o ON o.contact_id = c.id JOIN crm.order_line l ON l.order_id = o.id
WHERE o.status <> 'cancelled'
GROUP BY c.id, c.first_name, c.last_name, c.email ORDER BY spent DESC, c.id LIMIT 15;

-- Namesakes per company, with a window.
WITH named AS (
	SELECT company_id, last_name, count(*) AS n,
		rank() OVER (PARTITION BY company_id ORDER BY count(*) DESC, last_name) AS place
	FROM crm.contact WHERE company_id IS NOT NULL GROUP BY company_id, last_name)
SELECT p.name, n.last_name, n.n FROM named n JOIN crm.company p ON p.id = n.company_id
WHERE place = 1 AND n > 2 ORDER BY n.n DESC, p.name, n.last_name;

-- People without an order, or with one that waits.
SELECT c.last_name, c.email, o.ordered_on, o.deliver_to
FROM crm.contact c LEFT JOIN crm.orders o ON o.contact_id = c.id AND o.status = 'open'
WHERE c.id BETWEEN 200 AND 260 ORDER BY c.id, o.ordered_on, o.id;

-- The last messages, and who wrote them.
SELECT m.sent_at, m.subject, m.body, c.first_name FROM crm.message m
JOIN crm.contact c ON c.id = m.contact_id ORDER BY m.sent_at DESC, m.id LIMIT 20;

-- What to engrave.
SELECT l.engraving, count(*) FROM crm.order_line l WHERE l.engraving LIKE 'Thank you%'
GROUP BY l.engraving ORDER BY count(*) DESC, l.engraving LIMIT 20;

-- A correction, and a new customer; undone again, so that this can be repeated.
BEGIN;
UPDATE crm.contact SET phone = '+45 112233445', notes = NULL WHERE email = :'email'
RETURNING first_name, phone, notes, iban;
INSERT INTO crm.contact VALUES (20000, 7, 'Ragnhildur', 'Þórðardóttir', 'ragnhildur@is.example', NULL, '1971-02-28', NULL, '', '2026-01-01')
ON CONFLICT (email) DO NOTHING RETURNING id, first_name, last_name, email, born, iban, notes;
INSERT INTO crm.contact (id, first_name, last_name, email, created_at) VALUES (20001, 'A', 'B', 'ragnhildur@is.example', '2026-01-02')
ON CONFLICT (email) DO UPDATE SET last_name = contact.last_name || '-' || excluded.last_name RETURNING id, last_name, email;
SELECT count(*), count(phone), min(born), max(last_name) FROM crm.contact;
ROLLBACK;
