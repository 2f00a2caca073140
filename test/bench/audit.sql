-- The long trail, from records :first to :last, which are of reads: 200 of the persons that occur in them, and copies of
-- their blocks, in another order each time, chained as the worker does it, up to :records in all.

\set QUIET on
CREATE TABLE plain.probe AS SELECT subject FROM (
	SELECT DISTINCT lower(range_merge(r.subjects)) AS subject
	FROM gdpr.audit_block AS b, gdpr.audit_records(b.first_record, b.content) AS r
	WHERE b.first_record BETWEEN :first AND :last AND r.kind = 'access') AS s
ORDER BY random() LIMIT 200;

CREATE PROCEDURE plain.lengthen(first bigint, last bigint, records bigint) LANGUAGE plpgsql AS $$
DECLARE
	b record;
	hash bytea;
	next bigint;
BEGIN
	LOCK TABLE gdpr.audit_progress IN EXCLUSIVE MODE; -- the worker waits
	SELECT d.record + 1, d.hash INTO next, hash FROM gdpr.audit_digest() AS d;
	WHILE next <= records LOOP
		FOR b IN SELECT * FROM gdpr.audit_block WHERE first_record BETWEEN first AND last ORDER BY random() LOOP
			EXIT WHEN next > records;
			hash := gdpr.audit_hash(hash, b.content);
			INSERT INTO gdpr.audit_block (month, first_record, records, first_at, last_at, persons, content)
			VALUES (b.month, next, b.records, b.first_at, b.last_at, b.persons, b.content);
			INSERT INTO gdpr.audit_chain (first_record, records, month, hash) VALUES (next, b.records, b.month, hash);
			next := next + b.records;
		END LOOP;
	END LOOP;
END $$;
CALL plain.lengthen(:first, :last, :records);
VACUUM (ANALYZE) gdpr.audit_block, gdpr.audit_chain;
CHECKPOINT;
