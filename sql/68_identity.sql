-- One human, several numbers: merging them, finding whom a value belongs to, and who may be entered twice.
--
-- A merge is a row of gdpr.subject_alias without a category (src/alias.c). Rows, consents, flags and records stay with the
-- number that they are of; what holds of the person is asked of all its numbers (gdpr.numbers_of).

CREATE TABLE gdpr.identity_event (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('merged', 'separated', 'different')),
    subject bigint NOT NULL,
    other bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name NOT NULL,
    session_role name NOT NULL DEFAULT session_user,
    actor text,
    details gdpr.sealed
);
CREATE INDEX identity_event_subject ON gdpr.identity_event (subject);
CREATE INDEX identity_event_other ON gdpr.identity_event (other);
COMMENT ON TABLE gdpr.identity_event IS
    'every decision whether two numbers are one person: merged, separated again, different; nobody changes or deletes it';
COMMENT ON COLUMN gdpr.identity_event.details IS 'the reason, sealed under the keys of both: it is lost with either';
REVOKE ALL ON gdpr.identity_event FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.identity_event', '');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gdpr.identity_event
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.refuse_change();
ALTER TABLE gdpr.identity_event ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION gdpr.record_identity(kind text, subject bigint, other bigint, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event uuid := gen_random_uuid();
    note jsonb := jsonb_build_object('reason', nullif(reason, ''));
BEGIN
    -- what came with the connection was not verified
    PERFORM convert_to(current_setting('gdpr.actor'), getdatabaseencoding());
    INSERT INTO gdpr.identity_event (id, kind, subject, other, recorded_by, actor, details)
    VALUES (event, kind, subject, other, gdpr.caller(), nullif(current_setting('gdpr.actor'), ''),
            CASE WHEN reason <> '' THEN
                gdpr.seal_note(subject, 'identity', event,
                               jsonb_build_object('sealed', gdpr.seal_note(other, 'identity', event, note)::text)) END);
END $$;
COMMENT ON FUNCTION gdpr.record_identity(text, bigint, bigint, text) IS 'adds an event to the ledger of identities';
REVOKE ALL ON FUNCTION gdpr.record_identity(text, bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION gdpr.identity_history(subject bigint, OUT event uuid, OUT kind text, OUT number bigint, OUT other bigint, OUT recorded_at timestamptz,
                                      OUT recorded_by name, OUT session_role name, OUT actor text, OUT details jsonb)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.id, e.kind, e.subject, e.other, e.recorded_at, e.recorded_by, e.session_role, e.actor,
           gdpr.open_note('identity', e.id, (gdpr.open_note('identity', e.id, e.details) ->> 'sealed')::gdpr.sealed)
    FROM gdpr.identity_event e
    WHERE e.subject = ANY (gdpr.numbers_of(identity_history.subject)) OR e.other = ANY (gdpr.numbers_of(identity_history.subject))
    ORDER BY e.recorded_at, e.id;
END;
COMMENT ON FUNCTION gdpr.identity_history(bigint) IS
    'with which numbers a person was merged, from which it was separated, and which were found to be somebody else, with the reasons opened';
REVOKE ALL ON FUNCTION gdpr.identity_history(bigint) FROM PUBLIC;

-- Merging ----------------------------------------------------------------------------------------

-- Who forgets, merges or separates persons has these locks: a person is forgotten with all its numbers, or none of them.
CREATE FUNCTION gdpr.lock_persons(subjects bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked bigint[] := '{}';
    wanted bigint[];
    key bigint;
BEGIN
    LOOP
        wanted := ARRAY(SELECT DISTINCT n FROM unnest(subjects) s, unnest(gdpr.numbers_of(s)) n WHERE n <> ALL (locked));
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

CREATE FUNCTION gdpr.merge_subjects(survivor bigint, other bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept bigint := gdpr.living_subject(survivor);
    merged bigint := gdpr.living_subject(other);
BEGIN
    IF kept = merged THEN
        RAISE EXCEPTION 'person % cannot be merged with itself', kept USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM gdpr.lock_persons(ARRAY[kept, merged]);
    -- they may have been forgotten while we waited
    kept := gdpr.person(gdpr.living_subject(survivor));
    merged := gdpr.person(gdpr.living_subject(other));
    IF kept = merged THEN
        RAISE EXCEPTION 'persons % and % are merged already', survivor, other
            USING ERRCODE = 'duplicate_object', HINT = format('SELECT gdpr.numbers_of(%s) shows the numbers of the person.', kept);
    END IF;
    IF EXISTS (SELECT FROM gdpr.hold h WHERE h.number IN (kept, merged)) THEN
        RAISE EXCEPTION 'what a hold keeps is nobody''s, and cannot be merged'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The person was forgotten.', HINT = 'TABLE gdpr.holds shows these numbers, as held_as.';
    END IF;
    INSERT INTO gdpr.subject_alias (number, subject) VALUES (merged, kept);
    PERFORM gdpr.record_identity('merged', kept, merged, reason);
    RETURN kept;
END $$;
COMMENT ON FUNCTION gdpr.merge_subjects(bigint, bigint, text) IS
    'makes two persons one: from now on either number means both, in every call; of consents the latest hold, of restrictions, objections and blocks those of either; no row is touched; returns the survivor''s number';
REVOKE ALL ON FUNCTION gdpr.merge_subjects(bigint, bigint, text) FROM PUBLIC;

-- What a person decided while it was merged, and takes something away, may have been decided by either.
CREATE FUNCTION gdpr.share_decisions(from_number bigint, to_number bigint, since timestamptz, until timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers CONSTANT bigint[] := gdpr.numbers_of(from_number);
    item record;
BEGIN
    PERFORM gdpr.record_consent(to_number, p.name, e.status, e.channel, e.topic, e.occurred_at, NULL, e.source, e.notice, NULL)
    FROM gdpr.consent_event e JOIN gdpr.purpose p ON p.id = e.purpose_id
    WHERE e.subject = ANY (numbers) AND e.recorded_at BETWEEN share_decisions.since AND until AND e.status IN ('refused', 'withdrawn')
    ORDER BY e.recorded_at;
    FOR item IN
        SELECT f.kind, f.channel, f.since, p.name AS purpose, e.ground, e.source
        FROM gdpr.flag f JOIN gdpr.flag_event e ON e.id = f.id LEFT JOIN gdpr.purpose p ON p.id = f.purpose_id
        WHERE f.subject = ANY (numbers) AND e.recorded_at BETWEEN share_decisions.since AND until AND (f.purpose_id = 0 OR p.id IS NOT NULL)
        ORDER BY e.recorded_at
    LOOP
        CASE item.kind
            WHEN 'r' THEN PERFORM gdpr.restrict(to_number, ground => item.ground, source => item.source, occurred_at => item.since);
            WHEN 'o' THEN PERFORM gdpr.record_objection(to_number, item.purpose, source => item.source, occurred_at => item.since);
            ELSE PERFORM gdpr.block_channel(to_number, item.channel, source => item.source, occurred_at => item.since);
        END CASE;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.share_decisions(bigint, bigint, timestamptz, timestamptz) IS
    'records for one person what another refused, withdrew, restricted, objected to and blocked in a time; for unmerge_subjects';
REVOKE ALL ON FUNCTION gdpr.share_decisions(bigint, bigint, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.unmerge_subjects(other bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    separated bigint := gdpr.assert_subject(other);
    kept bigint;
    merged_at timestamptz;
    separated_at timestamptz;
BEGIN
    PERFORM gdpr.lock_persons(ARRAY[separated]);
    SELECT a.subject, a.created_at INTO kept, merged_at FROM gdpr.subject_alias a WHERE a.number = separated AND a.category IS NULL;
    IF kept IS NULL THEN
        RAISE EXCEPTION 'person % was not merged into another', separated
            USING ERRCODE = 'no_data_found',
                  HINT = 'Name a number that was merged into it: '
                         || coalesce((SELECT 'of these, ' || string_agg(a.number::text, ', ' ORDER BY a.number) FROM gdpr.subject_alias a
                                      WHERE a.subject = separated AND a.category IS NULL), 'there is none') || '.';
    END IF;
    IF gdpr.is_forgotten(separated) THEN
        RAISE EXCEPTION 'person % was forgotten', separated
            USING ERRCODE = 'GD003', DETAIL = 'Its numbers were forgotten together: their keys are destroyed, and nothing is left that could be separated.';
    END IF;
    separated_at := clock_timestamp();
    DELETE FROM gdpr.subject_alias a WHERE a.number = separated;
    PERFORM gdpr.record_identity('separated', kept, separated, reason);
    PERFORM gdpr.share_decisions(kept, separated, merged_at, separated_at);
    PERFORM gdpr.share_decisions(separated, kept, merged_at, separated_at);
    RETURN gdpr.person(kept);
END $$;
COMMENT ON FUNCTION gdpr.unmerge_subjects(bigint, text) IS
    'separates a number, with those that were merged into it before, from the person it was merged into; what either refused, withdrew, restricted, objected to or blocked meanwhile holds for both; returns the number of whom it is separated from';
REVOKE ALL ON FUNCTION gdpr.unmerge_subjects(bigint, text) FROM PUBLIC;

CREATE FUNCTION gdpr.not_duplicates(subject bigint, other bigint, reason text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one bigint := gdpr.living_subject(subject);
    another bigint := gdpr.living_subject(other);
BEGIN
    PERFORM gdpr.lock_persons(ARRAY[one, another]);
    IF gdpr.person(one) = gdpr.person(another) THEN
        RAISE EXCEPTION 'numbers % and % are one person', subject, other
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'If they were merged by mistake: SELECT gdpr.unmerge_subjects(number).';
    END IF;
    PERFORM gdpr.record_identity('different', one, another, reason);
END $$;
COMMENT ON FUNCTION gdpr.not_duplicates(bigint, bigint, text) IS
    'records that two persons are not one, however much they have in common: gdpr.duplicates() leaves them out';
REVOKE ALL ON FUNCTION gdpr.not_duplicates(bigint, bigint, text) FROM PUBLIC;

-- A restored database may have merged who was separated since: of them the keystore can lack one, of whom there is no
-- tombstone here, while another lives. Those who were forgotten as one person have no living number.
CREATE FUNCTION gdpr.separate_lost(category smallint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN
        DELETE FROM gdpr.subject_alias a
        WHERE a.category IS NULL AND EXISTS (
            SELECT FROM (VALUES (a.number, a.subject), (a.subject, a.number)) v(lost, living)
            WHERE gdpr.is_forgotten(v.lost, separate_lost.category)
              AND NOT EXISTS (SELECT FROM gdpr.tombstone t WHERE t.number = v.lost AND (t.category IS NULL OR t.category = separate_lost.category))
              AND EXISTS (SELECT FROM (SELECT v.living UNION ALL SELECT s.number FROM gdpr.subject_alias s
                                       WHERE s.subject = v.living AND s.category = separate_lost.category) x(n)
                          WHERE NOT gdpr.is_forgotten(x.n, separate_lost.category)))
        RETURNING a.subject, a.number
    LOOP
        PERFORM gdpr.record_identity('separated', item.subject, item.number, NULL);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.separate_lost(smallint) IS
    'separates merged persons of whom the keystore says that one was forgotten alone; for forget_again';
REVOKE ALL ON FUNCTION gdpr.separate_lost(smallint) FROM PUBLIC;
