-- Notes: what the extension's own records say of a person in free form, sealed under that person's key.

-- Those in C here have no SET, which would cost more than they do: they read nothing by name.
CREATE FUNCTION gdpr.person(number bigint) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'gdpr_person';
COMMENT ON FUNCTION gdpr.person(bigint) IS
    'the same number for all numbers of a person: of a further one for a category, the person''s own; of one that was merged, the survivor''s; any other as it is';
REVOKE ALL ON FUNCTION gdpr.person(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.numbers_of(subject bigint, category smallint DEFAULT NULL) RETURNS bigint[]
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'gdpr_numbers_of';
COMMENT ON FUNCTION gdpr.numbers_of(bigint, smallint) IS
    'all numbers of a person: its own (several, if it was merged; the survivor''s first), and the further ones for one category (an id), or with NULL for any';
REVOKE ALL ON FUNCTION gdpr.numbers_of(bigint, smallint) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_subject(subject bigint) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'gdpr_assert_subject';
COMMENT ON FUNCTION gdpr.assert_subject(bigint) IS
    'raises an error unless the number was given to a person; of a further number for a category, returns the person''s own';
REVOKE ALL ON FUNCTION gdpr.assert_subject(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.make_note(number bigint, kind text, id uuid, note jsonb) RETURNS gdpr.sealed
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'gdpr_make_note';
COMMENT ON FUNCTION gdpr.make_note(bigint, text, uuid, jsonb) IS 'seals a note; for seal_note';
REVOKE ALL ON FUNCTION gdpr.make_note(bigint, text, uuid, jsonb) FROM PUBLIC;

CREATE FUNCTION gdpr.seal_note(subject bigint, kind text, id uuid, note jsonb) RETURNS gdpr.sealed
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN note IS NOT NULL THEN gdpr.make_note(gdpr.assert_subject(subject), kind, id, note) END;
END $$;
COMMENT ON FUNCTION gdpr.seal_note(bigint, text, uuid, jsonb) IS
    'seals a note about a person for the record of this kind and id; NULL if the note is';
REVOKE ALL ON FUNCTION gdpr.seal_note(bigint, text, uuid, jsonb) FROM PUBLIC;

CREATE FUNCTION gdpr.open_note(kind text, id uuid, envelope gdpr.sealed) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'gdpr_open_note';
COMMENT ON FUNCTION gdpr.open_note(text, uuid, gdpr.sealed) IS
    'opens the note of the record of this kind and id; NULL if there is none, or the person was forgotten';
REVOKE ALL ON FUNCTION gdpr.open_note(text, uuid, gdpr.sealed) FROM PUBLIC;

-- What the controller has to be able to prove (Art. 7(1), 17(3)(e)) outlasts the person by a hold: the ledgers are not changed, the note of an
-- event is sealed once more, under the hold's number. See sql/59_evidence.sql.
CREATE TABLE gdpr.held_note (
    event uuid NOT NULL,
    hold uuid NOT NULL,
    note gdpr.sealed NOT NULL,
    PRIMARY KEY (event, hold)
);
COMMENT ON TABLE gdpr.held_note IS 'notes of events in the ledgers, of persons who were forgotten, that a hold keeps: sealed under its number';
REVOKE ALL ON gdpr.held_note FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.held_note', '');

CREATE FUNCTION gdpr.open_event(kind text, id uuid, envelope gdpr.sealed) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(gdpr.open_note(kind, id, envelope), (
        SELECT o.note FROM (SELECT gdpr.open_note(kind, id, h.note) AS note FROM gdpr.held_note h WHERE envelope IS NOT NULL AND h.event = open_event.id) o
        WHERE o.note IS NOT NULL LIMIT 1));
END;
COMMENT ON FUNCTION gdpr.open_event(text, uuid, gdpr.sealed) IS
    'opens the note of an event in a ledger; of a person who was forgotten, if a hold keeps it; NULL if there is none, or it is gone';
REVOKE ALL ON FUNCTION gdpr.open_event(text, uuid, gdpr.sealed) FROM PUBLIC;
