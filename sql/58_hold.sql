-- Holds (Art. 17(3)): relations whose rows of a person outlast its erasure, for a ground and until a date.
--
-- When the person is forgotten, the held rows are sealed anew under a number of the hold's own, and restricted.

CREATE TABLE gdpr.hold (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject bigint NOT NULL,
    relations regclass[],
    ground text NOT NULL CHECK (ground IN ('expression', 'legal_obligation', 'public_health', 'archiving', 'legal_claims')),
    reason gdpr.sealed,
    until timestamptz NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now(),
    placed_by name NOT NULL,
    actor text,
    number bigint UNIQUE,
    finished_at timestamptz
);
CREATE INDEX hold_subject ON gdpr.hold (subject) WHERE finished_at IS NULL;
COMMENT ON TABLE gdpr.hold IS 'rows of persons that are kept on a ground of Art. 17(3)';
COMMENT ON COLUMN gdpr.hold.relations IS 'NULL: all';
COMMENT ON COLUMN gdpr.hold.number IS 'what the held rows belong to since the person was forgotten';
COMMENT ON COLUMN gdpr.hold.finished_at IS 'it was released, or was over and the erasure is complete';
REVOKE ALL ON gdpr.hold FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.hold', '');

CREATE FUNCTION gdpr.new_number(separated boolean DEFAULT false) RETURNS bigint
    LANGUAGE c VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_new_number';
COMMENT ON FUNCTION gdpr.new_number(boolean) IS
    'draws a number of the keystore that nobody has had; separated: for rows that were under another, so that it is in gdpr.provenance';
REVOKE ALL ON FUNCTION gdpr.new_number(boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.hold_rows(relation regclass, person bigint, number bigint, numbers bigint[] DEFAULT NULL, "row" tid DEFAULT NULL) RETURNS bigint
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_hold_rows';
COMMENT ON FUNCTION gdpr.hold_rows(regclass, bigint, bigint, bigint[], tid) IS
    'seals a person''s rows in a table, or one of them, anew, under another number; numbers: those rows that hold values under one of these, which are the person''s; for forget';
REVOKE ALL ON FUNCTION gdpr.hold_rows(regclass, bigint, bigint, bigint[], tid) FROM PUBLIC;

-- Who forgets, holds, merges or separates persons has these locks: a person is forgotten with all its numbers, or none of them.
CREATE FUNCTION gdpr.lock_persons(subjects bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked bigint[] := '{}';
    wanted bigint[];
    key bigint;
BEGIN
    LOOP
        wanted := ARRAY(SELECT n FROM unnest(subjects) s, unnest(gdpr.numbers_of(s)) n EXCEPT SELECT unnest(locked));
        EXIT WHEN wanted = '{}';
        FOR key IN SELECT DISTINCT hashint8(n) FROM unnest(wanted) n ORDER BY 1 LOOP
            PERFORM pg_advisory_xact_lock(1734635634, key::integer);
        END LOOP;
        locked := locked || wanted; -- others may have been merged with them while we waited
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.lock_persons(bigint[]) IS
    'waits for all others who forget, merge or separate these persons, and keeps them out until the transaction ends';
REVOKE ALL ON FUNCTION gdpr.lock_persons(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.lock_person(person bigint) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT gdpr.lock_persons(ARRAY[person]) $$;
COMMENT ON FUNCTION gdpr.lock_person(bigint) IS
    'until the end of the transaction, nobody else forgets this person, merges or separates it, or places or ends a hold';
REVOKE ALL ON FUNCTION gdpr.lock_person(bigint) FROM PUBLIC;

-- Who merges or separates persons waits for those who plan erasures, of very many at once, and they for it.
CREATE FUNCTION gdpr.lock_identities(shared boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF shared THEN
        PERFORM pg_advisory_xact_lock_shared(1734635637, 0);
    ELSE
        PERFORM pg_advisory_xact_lock(1734635637, 0);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.lock_identities(boolean) IS 'until the end of the transaction, nobody (shared: nobody else) merges or separates persons, or relies on that';
REVOKE ALL ON FUNCTION gdpr.lock_identities(boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.lock_retention(shared boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF shared THEN
        PERFORM pg_advisory_xact_lock_shared(1734635636, 0);
    ELSE
        PERFORM pg_advisory_xact_lock(1734635636, 0);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.lock_retention(boolean) IS 'who places a hold waits for the batches of retention that run; these share the lock';
REVOKE ALL ON FUNCTION gdpr.lock_retention(boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_period(period interval, name text, may_be_zero boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF period IS NULL OR NOT isfinite(period) OR period < interval '0' OR (period = interval '0' AND NOT may_be_zero) OR period > interval '1000 years' THEN
        RAISE EXCEPTION '% is "%"', name, period
            USING ERRCODE = 'invalid_parameter_value', HINT = format('It is a period such as %s => ''1 year'', up to 1000 years.', name);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_period(interval, text, boolean) IS 'raises an error unless the period of a parameter can be added to a date';
REVOKE ALL ON FUNCTION gdpr.assert_period(interval, text, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_until(until timestamptz) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF until IS NULL OR NOT isfinite(until) OR until <= now() THEN
        RAISE EXCEPTION 'until is "%", which is not a date to come', until
            USING ERRCODE = 'invalid_parameter_value', HINT = 'A hold ends; gdpr.extend_hold() moves its end.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_until(timestamptz) IS 'raises an error unless a hold can last until then';
REVOKE ALL ON FUNCTION gdpr.assert_until(timestamptz) FROM PUBLIC;

-- Who owns what is held has to be known until the end.
CREATE FUNCTION gdpr.with_owners(relations regclass[]) RETURNS regclass[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE held(id) AS (
        SELECT t.id FROM gdpr.mapped_table t WHERE t.relation = ANY (relations)
        UNION
        SELECT m.owner_id FROM held h CROSS JOIN LATERAL (SELECT h.id UNION SELECT a.id FROM gdpr.tables_above(h.id) a) u
        JOIN gdpr.mapped_owner m ON m.table_id = u.id)
    SELECT CASE WHEN relations IS NOT NULL THEN
        relations || ARRAY(SELECT t.relation FROM held h JOIN gdpr.mapped_table t USING (id) WHERE t.relation <> ALL (relations) ORDER BY t.id) END
$$;
COMMENT ON FUNCTION gdpr.with_owners(regclass[]) IS
    'these declared tables, and those that say who owns their rows, or rows above these; NULL for NULL';
REVOKE ALL ON FUNCTION gdpr.with_owners(regclass[]) FROM PUBLIC;

CREATE FUNCTION gdpr.hold(subject bigint, reason text, until timestamptz, relations regclass[] DEFAULT NULL,
                          ground text DEFAULT 'legal_claims') RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint := gdpr.living_subject(subject);
    wrong regclass;
    result uuid := gen_random_uuid();
BEGIN
    IF coalesce(reason, '') = '' THEN
        RAISE EXCEPTION 'a hold needs a reason' USING ERRCODE = 'null_value_not_allowed', HINT = 'It is sealed, and kept as long as the rows.';
    END IF;
    IF ground IS NULL OR ground NOT IN ('expression', 'legal_obligation', 'public_health', 'archiving', 'legal_claims') THEN
        RAISE EXCEPTION 'ground is "%"', ground
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Art. 17(3) knows ''expression'', ''legal_obligation'', ''public_health'', ''archiving'' and ''legal_claims''.';
    END IF;
    PERFORM gdpr.assert_until(until);
    IF cardinality(relations) = 0 OR array_position(relations, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'relations is empty, or has a NULL' USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to hold all of the person''s rows.';
    END IF;
    SELECT r INTO wrong FROM unnest(relations) r
    WHERE NOT EXISTS (SELECT FROM gdpr.mapped_table t WHERE t.relation = r) AND r NOT IN (SELECT gdpr.ledgers());
    IF FOUND THEN
        RAISE EXCEPTION 'table % is not declared', wrong
            USING ERRCODE = 'GD006', HINT = 'SELECT DISTINCT relation FROM gdpr.data_map shows those that are. Evidence is kept in gdpr.consent_event, gdpr.flag_event and gdpr.disclosure.';
    END IF;
    PERFORM gdpr.lock_person(person);
    PERFORM gdpr.living_subject(person); -- still
    PERFORM gdpr.assert_person(person);
    PERFORM gdpr.lock_retention(false); -- what is due goes, or sees the hold
    INSERT INTO gdpr.hold (id, subject, relations, ground, reason, until, placed_by, actor)
    VALUES (result, person, gdpr.with_owners(relations), ground, gdpr.seal_note(person, 'hold', result, to_jsonb(reason)), until, gdpr.caller(),
            nullif(current_setting('gdpr.actor'), ''));
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.hold(bigint, text, timestamptz, regclass[], text) IS
    'keeps a person''s rows in these declared tables (NULL: in all), and what gdpr.consent_event, gdpr.flag_event and gdpr.disclosure have to prove, from forget and retention until a date (Art. 17(3)); ground: legal_claims, legal_obligation, expression, public_health or archiving; returns the hold''s id';
REVOKE ALL ON FUNCTION gdpr.hold(bigint, text, timestamptz, regclass[], text) FROM PUBLIC;

CREATE FUNCTION gdpr.open_hold(hold uuid) RETURNS gdpr.hold
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result gdpr.hold;
BEGIN
    SELECT * INTO result FROM gdpr.hold h WHERE h.id = hold AND h.finished_at IS NULL;
    IF FOUND THEN
        PERFORM gdpr.lock_person(result.subject);
        SELECT * INTO result FROM gdpr.hold h WHERE h.id = hold AND h.finished_at IS NULL FOR UPDATE;
    END IF;
    IF result.id IS NULL THEN
        RAISE EXCEPTION 'there is no hold %', hold
            USING ERRCODE = 'no_data_found', DETAIL = 'Or it is over.', HINT = 'SELECT * FROM gdpr.holds shows those that are not.';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.open_hold(uuid) IS 'a hold that is not over, locked with its person';
REVOKE ALL ON FUNCTION gdpr.open_hold(uuid) FROM PUBLIC;

CREATE FUNCTION gdpr.extend_hold(hold uuid, until timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held gdpr.hold := gdpr.open_hold(hold);
BEGIN
    PERFORM gdpr.assert_until(until);
    UPDATE gdpr.hold h SET until = extend_hold.until WHERE h.id = held.id;
END $$;
COMMENT ON FUNCTION gdpr.extend_hold(uuid, timestamptz) IS 'another date until which a hold lasts';
REVOKE ALL ON FUNCTION gdpr.extend_hold(uuid, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.hold_reason(hold uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT gdpr.open_note('hold', h.id, h.reason) #>> '{}' FROM gdpr.hold h WHERE h.id = hold
$$;
COMMENT ON FUNCTION gdpr.hold_reason(uuid) IS 'why a hold was placed; NULL when it is over and was erased with the rows';
REVOKE ALL ON FUNCTION gdpr.hold_reason(uuid) FROM PUBLIC;

CREATE VIEW gdpr.holds AS
SELECT h.id, h.subject, h.relations, h.ground, h.until, h.placed_at, h.placed_by, h.actor, h.number AS held_as
FROM gdpr.hold h WHERE h.finished_at IS NULL;
COMMENT ON VIEW gdpr.holds IS
    'holds that are not over; held_as: the number to which the held rows belong since the person was forgotten: gdpr.export(held_as) shows them';
REVOKE ALL ON gdpr.holds FROM PUBLIC;

-- Those that keep rows of a table from being erased, the longest first.
CREATE FUNCTION gdpr.holds_of(person bigint, relation regclass) RETURNS SETOF gdpr.hold
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.* FROM gdpr.hold h
    -- of what a hold left, the others on the same person
    WHERE h.subject = ANY (gdpr.numbers_of(coalesce((SELECT o.subject FROM gdpr.hold o WHERE o.number = person), person))) AND h.finished_at IS NULL AND h.until > now() AND (h.relations IS NULL OR relation = ANY (h.relations))
    ORDER BY h.until DESC, h.id
$$;
COMMENT ON FUNCTION gdpr.holds_of(bigint, regclass) IS 'the holds on a person''s rows in a declared table, the longest first';
REVOKE ALL ON FUNCTION gdpr.holds_of(bigint, regclass) FROM PUBLIC;

-- The number for its rows, when the person goes; restricted, as held data only is stored (Art. 18).
CREATE FUNCTION gdpr.hold_number(hold gdpr.hold) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result bigint := hold.number;
    opened jsonb;
BEGIN
    IF result IS NULL THEN
        result := gdpr.new_number();
        opened := gdpr.open_note('hold', hold.id, hold.reason);
        UPDATE gdpr.hold h SET number = result, reason = gdpr.seal_note(result, 'hold', h.id, opened) WHERE h.id = hold.id;
        PERFORM gdpr.restrict(result, reason => 'held', ground => CASE hold.ground WHEN 'legal_claims' THEN 'legal_claims' END);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.hold_number(gdpr.hold) IS 'the number under which a hold''s rows are sealed; draws it if need be; for forget';
REVOKE ALL ON FUNCTION gdpr.hold_number(gdpr.hold) FROM PUBLIC;
