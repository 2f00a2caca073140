-- Notices to recipients (Art. 19): of rectification, erasure and restriction, through the outbox.
--
-- A message is sealed under the person's key, as others are. That of the erasure of a whole person cannot be: its key is
-- destroyed. It is sealed under a number of its own, which is destroyed when the message is acknowledged or given up.

CREATE TABLE gdpr.recipient_notice (
    message uuid PRIMARY KEY,
    subject bigint NOT NULL,
    recipient integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('rectification', 'erasure', 'restriction', 'restriction_lifted')),
    categories smallint[] NOT NULL,
    number bigint,
    put_at timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    ended_at timestamptz
);
CREATE INDEX recipient_notice_subject ON gdpr.recipient_notice (subject);
COMMENT ON TABLE gdpr.recipient_notice IS 'notices to recipients that were put into the outbox, and what became of them; names no person';
COMMENT ON COLUMN gdpr.recipient_notice.message IS 'gdpr.outbox.message';
COMMENT ON COLUMN gdpr.recipient_notice.number IS 'under which the message is sealed, if not under the person''s: its own';
COMMENT ON COLUMN gdpr.recipient_notice.ended_at IS 'the message went unacknowledged: given up, or the person was forgotten, which is told in another';
REVOKE ALL ON gdpr.recipient_notice FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.recipient_notice', '');

CREATE VIEW gdpr.notices AS
SELECT r.name AS recipient, n.kind, n.subject,
       ARRAY(SELECT c.name FROM gdpr.category c WHERE c.id = ANY (n.categories) ORDER BY c.name) AS categories,
       n.put_at, n.acknowledged_at, n.ended_at
FROM gdpr.recipient_notice n LEFT JOIN gdpr.recipient r ON r.id = n.recipient;
COMMENT ON VIEW gdpr.notices IS
    'which recipients are told of what (Art. 19): when the notice was put into the outbox, when it was acknowledged, or when it ended without that';
REVOKE ALL ON gdpr.notices FROM PUBLIC;

-- What recipients have: a category that was forgotten since they have to have deleted.
CREATE VIEW gdpr.disclosed AS
SELECT d.subject, d.recipient, c.category, d.id, d.details
FROM gdpr.disclosure d CROSS JOIN LATERAL pg_catalog.unnest(d.categories) c(category)
WHERE NOT EXISTS (
    SELECT FROM gdpr.erasure e
    WHERE e.subject = ANY (gdpr.numbers_of(d.subject)) AND e.erased_at >= d.recorded_at AND (e.category IS NULL OR e.category = c.category)
      -- if it was merged, then
      AND (e.subject = d.subject OR EXISTS (
          SELECT FROM gdpr.subject_alias a WHERE a.number = d.subject AND a.category IS NULL AND a.created_at <= e.erased_at)));
COMMENT ON VIEW gdpr.disclosed IS 'categories of persons that recipients have got and were not told to delete since';
REVOKE ALL ON gdpr.disclosed FROM PUBLIC;

-- One message for each recipient that has some of the categories (NULL: all).
CREATE FUNCTION gdpr.tell_recipients(kind text, person bigint, categories smallint[], details jsonb DEFAULT NULL,
                                     own_number boolean DEFAULT false, notify boolean DEFAULT true)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    names text[];
    payload jsonb;
    message uuid;
    number bigint;
    result bigint := 0;
BEGIN
    -- a restored database may not know yet that the person was forgotten
    IF NOT own_number AND gdpr.key_is_lost(person, 15::smallint) THEN
        RETURN 0;
    END IF;
    FOR item IN
        SELECT d.recipient, r.name, array_agg(DISTINCT d.category) AS has, -- a reference is the same in each category
               jsonb_agg(DISTINCT n.note -> 'reference') FILTER (WHERE n.note ? 'reference') AS "references"
        FROM gdpr.disclosed d LEFT JOIN gdpr.recipient r ON r.id = d.recipient
        CROSS JOIN LATERAL gdpr.open_note('disclosure', d.id, d.details) n(note)
        WHERE d.subject = ANY (gdpr.numbers_of(person)) AND (categories IS NULL OR d.category = ANY (categories))
        GROUP BY d.recipient, r.name ORDER BY d.recipient
    LOOP
        names := ARRAY(SELECT c.name FROM gdpr.category c WHERE c.id = ANY (item.has) ORDER BY c.name);
        payload := jsonb_build_object('recipient', item.name, 'references', coalesce(item."references", '[]'), 'categories', names)
            || coalesce(details, '{}');
        IF payload ? 'changes' THEN
            -- of what the recipient has
            payload := payload || jsonb_build_object('changes', (
                SELECT jsonb_agg(c) FROM jsonb_array_elements(payload -> 'changes') c WHERE c ->> 'category' = ANY (names)));
        END IF;
        message := gen_random_uuid();
        number := CASE WHEN own_number THEN gdpr.new_number() END;
        INSERT INTO gdpr.recipient_notice (message, subject, recipient, kind, categories, number)
        VALUES (message, person, item.recipient, kind, item.has, number);
        INSERT INTO gdpr.outbox (kind, subject, message, payload)
        VALUES (kind, coalesce(number, person), message, gdpr.make_note(coalesce(number, person), 'outbox', message, payload));
        result := result + 1;
    END LOOP;
    IF result > 0 AND notify THEN
        PERFORM pg_notify('gdpr_outbox', kind); -- as put_outbox
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.tell_recipients(text, bigint, smallint[], jsonb, boolean, boolean) IS
    'puts a message into the outbox for each recipient that has data of the person in these categories (NULL: all); returns how many';
REVOKE ALL ON FUNCTION gdpr.tell_recipients(text, bigint, smallint[], jsonb, boolean, boolean) FROM PUBLIC;

-- For all of them at once: many rows may have been changed.
CREATE FUNCTION gdpr.owners_of(numbers bigint[], below regclass DEFAULT NULL, OUT number bigint, OUT owner bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owners record;
BEGIN
    FOR owners IN SELECT * FROM gdpr.owner_tables(below) LOOP
        RETURN QUERY
        SELECT DISTINCT (r::bigint[])[1], gdpr.person((r::bigint[])[2])
        FROM gdpr.run_as_owner(owners.relation, format(
            'SELECT ARRAY[gdpr.subject_number(s.gdpr_sealed), gdpr.subject_number(o.gdpr_sealed)] FROM %s s JOIN %s o ON %s'
            ' WHERE gdpr.subject_number(s.gdpr_sealed) = ANY (%L::bigint[]) AND o.gdpr_sealed IS NOT NULL',
            owners.relation, owners.through, owners.condition, numbers)) r;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.owners_of(bigint[], regclass) IS
    'of numbers that are of rows with several owners, the persons who own them; below: they are numbers of this table''s rows';
REVOKE ALL ON FUNCTION gdpr.owners_of(bigint[], regclass) FROM PUBLIC;

-- Called before a transaction commits that changed personal columns, with an element for each row and column that was
-- changed of persons of whom something was disclosed.
CREATE FUNCTION gdpr.tell_rectifications(persons bigint[], relations text[], keys jsonb[], columns text[], categories smallint[], notify boolean)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    result bigint := 0;
BEGIN
    FOR item IN
        SELECT r.person, array_agg(DISTINCT r.category) AS categories,
               jsonb_agg(jsonb_build_object('relation', r.relation, 'key', r.key, 'category', r.name, 'columns', r.columns)
                         ORDER BY r.relation, r.key, r.name) AS changes
        FROM (SELECT u.person, u.relation, u.key, u.category, c.name, jsonb_agg(DISTINCT u."column") AS columns
              FROM unnest(persons, relations, keys, columns, categories) u(person, relation, key, "column", category)
              JOIN gdpr.category c ON c.id = u.category
              GROUP BY 1, 2, 3, 4, 5) r
        -- who is forgotten in the same transaction is told of as such
        WHERE NOT EXISTS (SELECT FROM gdpr.erasure e WHERE e.subject = ANY (gdpr.numbers_of(r.person)) AND e.category IS NULL)
        GROUP BY r.person ORDER BY r.person
    LOOP
        result := result + gdpr.tell_recipients('rectification', item.person, item.categories, jsonb_build_object('changes', item.changes),
                                                false, notify);
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.tell_rectifications(bigint[], text[], jsonb[], text[], smallint[], boolean) IS
    'tells recipients of the rectifications of a transaction that is about to commit; called by the library';
REVOKE ALL ON FUNCTION gdpr.tell_rectifications(bigint[], text[], jsonb[], text[], smallint[], boolean) FROM PUBLIC;

-- The keys of a person's own rows, for recipients that know it by these.
CREATE FUNCTION gdpr.person_keys(person bigint) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    whose bigint;
    result jsonb := '[]';
BEGIN
    FOR item IN
        SELECT r.relation, t.relation AS declared,
               (SELECT string_agg(format('%L, %I::text', k, k), ', ' ORDER BY n) FROM unnest(t.key_columns) WITH ORDINALITY u(k, n)) AS key
        FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
        WHERE t.protected AND r.is_top AND NOT EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via = 0)
        ORDER BY t.id, r.relation::oid
    LOOP
        FOREACH whose IN ARRAY gdpr.numbers_of(person) LOOP
            SELECT result || coalesce(jsonb_agg(jsonb_build_object('relation', item.declared::text, 'key', k::jsonb)), '[]') INTO result
            FROM gdpr.run_as_owner(item.relation, format(
                'SELECT jsonb_build_object(%s) FROM %s WHERE gdpr.subject_number(gdpr_sealed) = $1', item.key, item.relation), whose) k;
        END LOOP;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.person_keys(bigint) IS 'the keys of the rows that are this person, in tables of persons';
REVOKE ALL ON FUNCTION gdpr.person_keys(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.tell_erasures(persons bigint[], category smallint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers bigint[] := ARRAY(SELECT n FROM unnest(persons) p, unnest(gdpr.numbers_of(p)) n);
    person bigint;
BEGIN
    -- first, so that a worker that has one of the persons' messages can go on, and disclose
    PERFORM FROM gdpr.outbox o WHERE o.subject = ANY (numbers) AND category IS NULL ORDER BY o.id FOR UPDATE;
    PERFORM gdpr.lock_disclosures(persons, true);
    FOR person IN SELECT DISTINCT gdpr.person(d.subject) FROM gdpr.disclosed d
                  WHERE d.subject = ANY (numbers) AND (tell_erasures.category IS NULL OR d.category = tell_erasures.category) ORDER BY 1 LOOP
        PERFORM gdpr.tell_recipients('erasure', person, CASE WHEN category IS NOT NULL THEN ARRAY[category] END,
                                     jsonb_build_object('subject', person, 'rows', gdpr.person_keys(person)), category IS NULL);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.tell_erasures(bigint[], smallint) IS
    'tells recipients that persons, or one category of them, are forgotten; for forget, before anything is deleted';
REVOKE ALL ON FUNCTION gdpr.tell_erasures(bigint[], smallint) FROM PUBLIC;

-- What becomes of them -----------------------------------------------------------------------------

CREATE FUNCTION gdpr.outbox_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done gdpr.recipient_notice;
    superseded boolean;
BEGIN
    SELECT * INTO done FROM gdpr.recipient_notice n
    WHERE n.message = OLD.message AND n.acknowledged_at IS NULL AND n.ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- forget deletes what is told of the person: its erasure is told instead
    superseded := done.number IS NULL AND EXISTS (
        SELECT FROM gdpr.recipient_notice e WHERE e.subject = ANY (gdpr.numbers_of(done.subject)) AND e.number IS NOT NULL);
    UPDATE gdpr.recipient_notice n
    SET acknowledged_at = CASE WHEN NOT superseded THEN now() END, ended_at = CASE WHEN superseded THEN now() END
    WHERE n.message = OLD.message;
    IF done.number IS NOT NULL THEN
        PERFORM gdpr.puncture_at_commit(done.number);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION gdpr.outbox_deleted() IS
    'trigger of the outbox: a notice to a recipient is acknowledged, and the key that it had of its own is destroyed';
REVOKE ALL ON FUNCTION gdpr.outbox_deleted() FROM PUBLIC;
CREATE FUNCTION gdpr.outbox_truncated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.outbox;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION gdpr.outbox_truncated() IS 'trigger of the outbox: what TRUNCATE takes is deleted, each message by itself';
REVOKE ALL ON FUNCTION gdpr.outbox_truncated() FROM PUBLIC;
CREATE TRIGGER outbox_deleted AFTER DELETE ON gdpr.outbox
    FOR EACH ROW WHEN (OLD.kind IN ('rectification', 'erasure', 'restriction', 'restriction_lifted')) EXECUTE FUNCTION gdpr.outbox_deleted();
CREATE TRIGGER outbox_truncated BEFORE TRUNCATE ON gdpr.outbox FOR EACH STATEMENT EXECUTE FUNCTION gdpr.outbox_truncated();
ALTER TABLE gdpr.outbox ENABLE ALWAYS TRIGGER outbox_deleted;
ALTER TABLE gdpr.outbox ENABLE ALWAYS TRIGGER outbox_truncated;

CREATE FUNCTION gdpr.acknowledge_outbox(id bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.outbox o WHERE o.id = acknowledge_outbox.id;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION gdpr.acknowledge_outbox(bigint) IS
    'deletes a message that was dealt with, as DELETE FROM gdpr.outbox does; false if there is no such message';
REVOKE ALL ON FUNCTION gdpr.acknowledge_outbox(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.expire_notices(older_than interval) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item gdpr.recipient_notice;
    result bigint := 0;
BEGIN
    PERFORM gdpr.assert_period(older_than, 'older_than');
    FOR item IN
        UPDATE gdpr.recipient_notice n SET ended_at = now()
        WHERE n.acknowledged_at IS NULL AND n.ended_at IS NULL AND n.put_at < now() - older_than RETURNING n.*
    LOOP
        DELETE FROM gdpr.outbox o WHERE o.message = item.message;
        IF item.number IS NOT NULL THEN
            PERFORM gdpr.puncture_at_commit(item.number);
        END IF;
        result := result + 1;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.expire_notices(interval) IS
    'gives up notices to recipients that nobody has acknowledged for so long: they are deleted, and keys of their own destroyed; returns how many';
REVOKE ALL ON FUNCTION gdpr.expire_notices(interval) FROM PUBLIC;
