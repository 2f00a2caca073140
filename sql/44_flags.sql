-- Restriction (Art. 18), objection (Art. 21), channels on which a person is not to be addressed.
--
-- gdpr.flag_event is the ledger. gdpr.flag holds what is in force: it is what the decision reads (src/standing.c).

CREATE TABLE gdpr.flag_event (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    flag uuid NOT NULL,
    subject bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('restriction', 'objection', 'channel_block')),
    status text NOT NULL CHECK (CASE kind WHEN 'restriction' THEN status IN ('restricted', 'lifted')
                                          WHEN 'objection' THEN status IN ('received', 'upheld', 'rejected', 'withdrawn')
                                          ELSE status IN ('blocked', 'unblocked') END),
    purpose text COLLATE "C",
    channel text COLLATE "C",
    ground text,
    occurred_at timestamptz NOT NULL,
    informed_at timestamptz,
    source text,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name NOT NULL,
    session_role name NOT NULL DEFAULT session_user,
    actor text,
    details gdpr.sealed
);
CREATE INDEX flag_event_subject ON gdpr.flag_event (subject);
COMMENT ON TABLE gdpr.flag_event IS
    'every restriction, objection and block of a channel, and its end; nobody changes or deletes it';
COMMENT ON COLUMN gdpr.flag_event.flag IS 'the event that it began with';
COMMENT ON COLUMN gdpr.flag_event.details IS 'the reason, sealed under the person''s key';

CREATE TABLE gdpr.flag (
    subject bigint NOT NULL,
    kind "char" NOT NULL CHECK (kind IN ('r', 'o', 'b')),
    purpose_id integer NOT NULL DEFAULT 0,
    channel text COLLATE "C" NOT NULL DEFAULT '',
    id uuid NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (subject, kind, purpose_id, channel, id)
);
COMMENT ON TABLE gdpr.flag IS
    'what is in force of a person: r restriction, o objection to a purpose (0: all direct marketing), b blocked channel; made from gdpr.flag_event';
REVOKE ALL ON gdpr.flag_event, gdpr.flag FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.flag_event', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.flag', '');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gdpr.flag_event
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.refuse_change();
ALTER TABLE gdpr.flag_event ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION gdpr.record_flag(flag uuid, subject bigint, kind text, status text, purpose text, channel text, ground text,
                                 occurred_at timestamptz, informed_at timestamptz, source text, reason text) RETURNS uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result uuid := coalesce(flag, gen_random_uuid());
    event uuid := CASE WHEN flag IS NULL THEN result ELSE gen_random_uuid() END;
BEGIN
    IF occurred_at IS NULL OR occurred_at > clock_timestamp() THEN
        RAISE EXCEPTION 'occurred_at is NULL or in the future' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- what came with the connection was not verified
    PERFORM convert_to(concat(current_setting('gdpr.source'), current_setting('gdpr.actor')), getdatabaseencoding());
    INSERT INTO gdpr.flag_event (id, flag, subject, kind, status, purpose, channel, ground, occurred_at, informed_at, source,
                                 recorded_by, actor, details)
    VALUES (event, result, subject, kind, status, purpose, channel, ground, occurred_at, informed_at,
            coalesce(source, nullif(current_setting('gdpr.source', true), '')), gdpr.caller(),
            nullif(current_setting('gdpr.actor'), ''),
            CASE WHEN reason <> '' THEN gdpr.seal_note(subject, kind, event, jsonb_build_object('reason', reason)) END);
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.record_flag(uuid, bigint, text, text, text, text, text, timestamptz, timestamptz, text, text) IS
    'adds an event to the ledger of flags; flag: what it ends, or NULL; returns the flag''s id';
REVOKE ALL ON FUNCTION gdpr.record_flag(uuid, bigint, text, text, text, text, text, timestamptz, timestamptz, text, text) FROM PUBLIC;

-- Restriction ------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.restrict(subject bigint, reason text DEFAULT NULL, ground text DEFAULT NULL, source text DEFAULT NULL,
                              occurred_at timestamptz DEFAULT clock_timestamp()) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- what was planned while few were restricted
    AS $$
DECLARE
    result uuid;
BEGIN
    subject := gdpr.living_subject(subject);
    IF ground NOT IN ('accuracy', 'unlawful', 'legal_claims', 'objection') THEN
        RAISE EXCEPTION 'ground is "%"', ground
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Art. 18(1) knows ''accuracy'', ''unlawful'', ''legal_claims'' and ''objection''.';
    END IF;
    result := gdpr.record_flag(NULL, subject, 'restriction', 'restricted', NULL, NULL, ground, occurred_at, NULL, source, reason);
    IF NOT EXISTS (SELECT FROM gdpr.flag f WHERE f.subject = ANY (gdpr.numbers_of(restrict.subject)) AND f.kind = 'r') THEN
        PERFORM gdpr.lock_disclosures(ARRAY[subject], true);
        PERFORM gdpr.tell_recipients('restriction', subject, NULL);
    END IF;
    INSERT INTO gdpr.flag (subject, kind, id, since) VALUES (subject, 'r', result, occurred_at);
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.restrict(bigint, text, text, text, timestamptz) IS
    'restricts the processing of a person''s data (Art. 18): it is stored, and neither revealed nor changed; ground: accuracy, unlawful, legal_claims or objection; returns the restriction''s id';
REVOKE ALL ON FUNCTION gdpr.restrict(bigint, text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.lift_restriction(subject bigint, informed_at timestamptz, restriction uuid DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lifted uuid;
    number bigint;
    since timestamptz;
    result integer := 0;
BEGIN
    subject := gdpr.living_subject(subject);
    IF informed_at IS NULL OR informed_at > clock_timestamp() THEN
        RAISE EXCEPTION 'the person has to be informed before a restriction is lifted'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Art. 18(3).', HINT = 'Inform the person, and say when: informed_at => now().';
    END IF;
    FOR lifted, number, since IN
        DELETE FROM gdpr.flag f WHERE f.subject = ANY (gdpr.numbers_of(lift_restriction.subject)) AND f.kind = 'r'
                                  AND (restriction IS NULL OR f.id = restriction)
                                  AND NOT EXISTS (SELECT FROM gdpr.planned_erasure p WHERE p.restriction = f.id) RETURNING f.id, f.subject, f.since
    LOOP
        -- now() is before a restriction of the same transaction
        IF informed_at < least(since, now()) THEN
            RAISE EXCEPTION 'informed_at is before the restriction, which is from %', since
                USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Art. 18(3).',
                      HINT = 'Inform the person that it will be lifted, and say when; restriction => … lifts one of several.';
        END IF;
        PERFORM gdpr.record_flag(lifted, number, 'restriction', 'lifted', NULL, NULL, NULL, clock_timestamp(), informed_at, NULL, reason);
        result := result + 1;
    END LOOP;
    IF EXISTS (SELECT FROM gdpr.planned_erasure p WHERE p.subject = ANY (gdpr.numbers_of(lift_restriction.subject))) THEN
        RAISE WARNING 'person % is to be forgotten, and restricted until then', subject
            USING HINT = format('SELECT gdpr.cancel_erasure(ARRAY[%s]) takes that back.', subject);
        RETURN result;
    END IF;
    IF result = 0 THEN
        RAISE EXCEPTION 'there is no such restriction of person %', subject
            USING ERRCODE = 'no_data_found', HINT = format('SELECT * FROM gdpr.flag_history(%s) shows what there is and was.', subject);
    END IF;
    IF NOT EXISTS (SELECT FROM gdpr.flag f WHERE f.subject = ANY (gdpr.numbers_of(lift_restriction.subject)) AND f.kind = 'r') THEN
        PERFORM gdpr.tell_recipients('restriction_lifted', subject, NULL);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.lift_restriction(bigint, timestamptz, uuid, text) IS
    'lifts one restriction of a person, or all; informed_at: when the person was told that it would be (Art. 18(3)); returns how many';
REVOKE ALL ON FUNCTION gdpr.lift_restriction(bigint, timestamptz, uuid, text) FROM PUBLIC;

-- Objection --------------------------------------------------------------------------------------

-- NULL: all direct marketing, which has id 0.
CREATE FUNCTION gdpr.objection_purpose(purpose text, OUT id integer, OUT absolute boolean) RETURNS record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    basis text;
BEGIN
    id := 0;
    absolute := true;
    IF purpose IS NOT NULL THEN
        SELECT p.id, p.direct_marketing, p.legal_basis INTO id, absolute, basis FROM gdpr.purpose p WHERE p.name = purpose;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'purpose "%" does not exist', purpose
                USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
        END IF;
        IF NOT absolute AND basis IN ('contract', 'legal_obligation', 'vital_interest') THEN
            RAISE EXCEPTION 'there is no right to object to purpose "%", whose legal basis is %', purpose, basis
                USING ERRCODE = 'GD004', DETAIL = 'Art. 21(1) is about public tasks and legitimate interests.',
                      HINT = 'If the processing is contested, SELECT gdpr.restrict(…).';
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.objection_purpose(text) IS
    'the id of a purpose that can be objected to, 0 for NULL (all direct marketing), and whether the objection is absolute';
REVOKE ALL ON FUNCTION gdpr.objection_purpose(text) FROM PUBLIC;

CREATE FUNCTION gdpr.record_objection(subject bigint, purpose text DEFAULT NULL, reason text DEFAULT NULL, source text DEFAULT NULL,
                                      occurred_at timestamptz DEFAULT clock_timestamp()) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    objected integer;
    absolute boolean;
    result uuid;
    number bigint;
BEGIN
    subject := gdpr.living_subject(subject);
    SELECT o.id, o.absolute INTO objected, absolute FROM gdpr.objection_purpose(purpose) o;
    SELECT f.id, f.subject INTO result, number FROM gdpr.flag f
    WHERE f.subject = ANY (gdpr.numbers_of(record_objection.subject)) AND f.kind = 'o' AND f.purpose_id = objected
    ORDER BY f.subject = record_objection.subject DESC LIMIT 1 FOR UPDATE;
    IF FOUND THEN
        RETURN gdpr.record_flag(result, number, 'objection', CASE WHEN absolute THEN 'upheld' ELSE 'received' END,
                                purpose, NULL, NULL, occurred_at, NULL, source, reason);
    END IF;
    result := gdpr.record_flag(NULL, subject, 'objection', CASE WHEN absolute THEN 'upheld' ELSE 'received' END,
                               purpose, NULL, NULL, occurred_at, NULL, source, reason);
    INSERT INTO gdpr.flag (subject, kind, purpose_id, id, since) VALUES (subject, 'o', objected, result, occurred_at);
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.record_objection(bigint, text, text, text, timestamptz) IS
    'records that a person objects to a purpose (Art. 21), or with NULL to all direct marketing: its data is not revealed for that; to direct marketing that is final, else until it is decided; returns the objection''s id';
REVOKE ALL ON FUNCTION gdpr.record_objection(bigint, text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.end_objection(subject bigint, purpose text, status text, reason text) RETURNS uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    objected integer;
    absolute boolean;
    ended uuid;
    number bigint;
    result uuid;
BEGIN
    subject := gdpr.living_subject(subject);
    SELECT o.id, o.absolute INTO objected, absolute FROM gdpr.objection_purpose(purpose) o;
    IF absolute AND status = 'rejected' THEN
        RAISE EXCEPTION 'an objection to direct marketing cannot be rejected'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Art. 21(3).';
    END IF;
    -- an objection made twice at a time has two; one that is made meanwhile is not ended
    FOR ended, number IN SELECT f.id, f.subject FROM gdpr.flag f WHERE f.subject = ANY (gdpr.numbers_of(end_objection.subject))
                 AND f.kind = 'o' AND f.purpose_id = objected FOR UPDATE
    LOOP
        result := gdpr.record_flag(ended, number, 'objection', status, purpose, NULL, NULL, clock_timestamp(), NULL, NULL, reason);
        IF status <> 'upheld' THEN
            DELETE FROM gdpr.flag f WHERE f.subject = number AND f.kind = 'o' AND f.purpose_id = objected AND f.id = ended;
        END IF;
    END LOOP;
    IF result IS NULL THEN
        RAISE EXCEPTION 'person % has no such objection', subject
            USING ERRCODE = 'no_data_found', HINT = format('SELECT * FROM gdpr.flag_history(%s) shows what there is and was.', subject);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.end_objection(bigint, text, text, text) IS 'records what became of an objection; returns its id';
REVOKE ALL ON FUNCTION gdpr.end_objection(bigint, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.decide_objection(subject bigint, purpose text, upheld boolean, grounds text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF upheld IS NULL OR (NOT upheld AND coalesce(grounds, '') = '') THEN
        RAISE EXCEPTION 'an objection is upheld, or rejected with grounds'
            USING ERRCODE = 'null_value_not_allowed',
                  DETAIL = 'Art. 21(1) asks for compelling legitimate grounds which override the interests of the person.';
    END IF;
    RETURN gdpr.end_objection(subject, purpose, CASE WHEN upheld THEN 'upheld' ELSE 'rejected' END, grounds);
END $$;
COMMENT ON FUNCTION gdpr.decide_objection(bigint, text, boolean, text) IS
    'decides on an objection: upheld, or rejected with the grounds that override it; returns its id';
REVOKE ALL ON FUNCTION gdpr.decide_objection(bigint, text, boolean, text) FROM PUBLIC;

CREATE FUNCTION gdpr.withdraw_objection(subject bigint, purpose text DEFAULT NULL, reason text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN gdpr.end_objection(subject, purpose, 'withdrawn', reason);
END $$;
COMMENT ON FUNCTION gdpr.withdraw_objection(bigint, text, text) IS
    'records that a person does not object any more; returns the objection''s id';
REVOKE ALL ON FUNCTION gdpr.withdraw_objection(bigint, text, text) FROM PUBLIC;

-- Channels ---------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.block_channel(subject bigint, channel text, reason text DEFAULT NULL, source text DEFAULT NULL,
                                   occurred_at timestamptz DEFAULT clock_timestamp()) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result uuid;
BEGIN
    subject := gdpr.living_subject(subject);
    IF coalesce(channel, '') = '' THEN
        RAISE EXCEPTION 'channel is NULL or empty' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    result := gdpr.record_flag(NULL, subject, 'channel_block', 'blocked', NULL, channel, NULL, occurred_at, NULL, source, reason);
    INSERT INTO gdpr.flag (subject, kind, channel, id, since) VALUES (subject, 'b', channel, result, occurred_at);
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.block_channel(bigint, text, text, text, timestamptz) IS
    'records that a person is not to be addressed on a channel, whatever the basis; returns the block''s id';
REVOKE ALL ON FUNCTION gdpr.block_channel(bigint, text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.unblock_channel(subject bigint, channel text, reason text DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended uuid;
    number bigint;
    result integer := 0;
BEGIN
    subject := gdpr.living_subject(subject);
    FOR ended, number IN DELETE FROM gdpr.flag f WHERE f.subject = ANY (gdpr.numbers_of(unblock_channel.subject)) AND f.kind = 'b'
                         AND f.channel = unblock_channel.channel RETURNING f.id, f.subject
    LOOP
        PERFORM gdpr.record_flag(ended, number, 'channel_block', 'unblocked', NULL, channel, NULL, clock_timestamp(), NULL, NULL, reason);
        result := result + 1;
    END LOOP;
    IF result = 0 THEN
        RAISE EXCEPTION 'channel "%" is not blocked for person %', channel, subject USING ERRCODE = 'no_data_found';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.unblock_channel(bigint, text, text) IS
    'records that a person may be addressed on a channel again; returns how many blocks ended';
REVOKE ALL ON FUNCTION gdpr.unblock_channel(bigint, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.flag_history(subject bigint, OUT event uuid, OUT flag uuid, OUT kind text, OUT status text, OUT in_force boolean,
                                  OUT purpose text, OUT channel text, OUT ground text, OUT occurred_at timestamptz,
                                  OUT informed_at timestamptz, OUT source text, OUT recorded_at timestamptz, OUT recorded_by name,
                                  OUT session_role name, OUT actor text, OUT details jsonb)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.id, e.flag, e.kind, e.status, EXISTS (SELECT FROM gdpr.flag f WHERE f.subject = e.subject AND f.id = e.flag),
           e.purpose, e.channel, e.ground, e.occurred_at, e.informed_at, e.source, e.recorded_at, e.recorded_by, e.session_role,
           e.actor, gdpr.open_event(e.kind, e.id, e.details)
    FROM gdpr.flag_event e WHERE e.subject = ANY (gdpr.numbers_of(flag_history.subject)) ORDER BY e.recorded_at, e.id;
END;
COMMENT ON FUNCTION gdpr.flag_history(bigint) IS
    'every restriction, objection and block of a channel of a person, and what became of it; in_force: it still holds';
REVOKE ALL ON FUNCTION gdpr.flag_history(bigint) FROM PUBLIC;
