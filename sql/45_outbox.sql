-- The outbox: messages for a worker of the application, such as a mailer. They are there if, and only if, the
-- transaction that put them commits.

CREATE TABLE gdpr.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind <> ''),
    subject bigint NOT NULL,
    message uuid NOT NULL,
    payload gdpr.sealed NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX outbox_subject ON gdpr.outbox (subject);
COMMENT ON TABLE gdpr.outbox IS 'messages about persons that wait for a worker of the application: doc/outbox.md';
COMMENT ON COLUMN gdpr.outbox.message IS 'the same at every attempt: what a recipient can tell repeated messages by';
COMMENT ON COLUMN gdpr.outbox.payload IS 'sealed under the key of the subject; gdpr.outbox_payload(id) opens it';
COMMENT ON COLUMN gdpr.outbox.available_at IS 'not to be taken before: gdpr.defer_outbox(id) sets it';
REVOKE ALL ON gdpr.outbox FROM PUBLIC;
REVOKE ALL ON SEQUENCE gdpr.outbox_id_seq FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.outbox_id_seq', '');

CREATE FUNCTION gdpr.put_outbox(kind text, subject bigint, payload jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint := gdpr.assert_subject(subject);
    message uuid := gen_random_uuid();
    result bigint;
BEGIN
    IF coalesce(kind, '') = '' OR payload IS NULL THEN
        RAISE EXCEPTION 'kind or payload of a message is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    INSERT INTO gdpr.outbox (kind, subject, message, payload)
    VALUES (kind, person, message, gdpr.seal_note(person, 'outbox', message, payload)) RETURNING id INTO result;
    PERFORM pg_notify('gdpr_outbox', kind); -- everybody may listen: nothing of the person
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.put_outbox(text, bigint, jsonb) IS
    'puts a message about a person into the outbox, and notifies channel gdpr_outbox when the transaction commits; returns its id';
REVOKE ALL ON FUNCTION gdpr.put_outbox(text, bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION gdpr.outbox_payload(id bigint) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT gdpr.open_note('outbox', o.message, o.payload) FROM gdpr.outbox o WHERE o.id = outbox_payload.id
$$;
COMMENT ON FUNCTION gdpr.outbox_payload(bigint) IS
    'opens the payload of a message in the outbox; NULL if there is no such message, or the person was forgotten';
REVOKE ALL ON FUNCTION gdpr.outbox_payload(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.defer_outbox(id bigint) RETURNS timestamptz
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE gdpr.outbox o
    SET attempts = o.attempts + 1, available_at = clock_timestamp() + interval '1 minute' * 2 ^ least(o.attempts, 10)
    WHERE o.id = defer_outbox.id RETURNING o.available_at
$$;
COMMENT ON FUNCTION gdpr.defer_outbox(bigint) IS
    'puts a message off that could not be dealt with: 1 minute, then 2, 4, 8 and so on, at most some 17 hours; returns until when, NULL if there is no such message';
REVOKE ALL ON FUNCTION gdpr.defer_outbox(bigint) FROM PUBLIC;
