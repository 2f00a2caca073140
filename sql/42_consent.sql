-- Consent: what persons decided, as a ledger that is only ever added to.
--
-- gdpr.consent_event is the ledger. gdpr.consent holds, for each channel and topic that a person decided on, what the
-- latest event says: it is what the decision reads (src/standing.c). In both, '' stands for all channels or topics.

CREATE TABLE gdpr.consent_event (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject bigint NOT NULL,
    purpose_id integer NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL DEFAULT '',
    topic text COLLATE "C" NOT NULL DEFAULT '',
    status text NOT NULL CHECK (status IN ('requested', 'given', 'renewed', 'refused', 'withdrawn', 'expired', 'invalidated')),
    occurred_at timestamptz NOT NULL,
    expires_at timestamptz,
    source text,
    notice text,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name NOT NULL,
    session_role name NOT NULL DEFAULT session_user,
    actor text,
    details gdpr.sealed
);
CREATE INDEX consent_event_subject ON gdpr.consent_event (subject, purpose_id, occurred_at);
COMMENT ON TABLE gdpr.consent_event IS
    'every decision of a person on a purpose, channel and topic; nobody changes or deletes it. Statuses are those of W3C DPV';
COMMENT ON COLUMN gdpr.consent_event.details IS
    'sealed under the person''s key: proof, who gave it on behalf of the person, note';

CREATE TABLE gdpr.consent (
    purpose_id integer NOT NULL,
    subject bigint NOT NULL,
    channel text COLLATE "C" NOT NULL DEFAULT '',
    topic text COLLATE "C" NOT NULL DEFAULT '',
    permits boolean NOT NULL,
    since timestamptz NOT NULL,
    expires_at timestamptz,
    event uuid NOT NULL,
    PRIMARY KEY (purpose_id, subject, channel, topic)
) WITH (fillfactor = 90);
COMMENT ON TABLE gdpr.consent IS 'what the latest event for each channel and topic says; made from gdpr.consent_event';

CREATE TABLE gdpr.consent_request (
    token_hash bytea PRIMARY KEY,
    event uuid NOT NULL,
    valid_until timestamptz NOT NULL
);
COMMENT ON TABLE gdpr.consent_request IS 'requests for consent that wait for their confirmation: the hash of the token, never the token';
REVOKE ALL ON gdpr.consent_event, gdpr.consent, gdpr.consent_request FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.consent_event', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.consent', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.consent_request', '');

CREATE FUNCTION gdpr.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'table %.% is only ever added to', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record another event: it holds from when it occurred.';
END $$;
COMMENT ON FUNCTION gdpr.refuse_change() IS 'trigger of the ledgers: refuses UPDATE, DELETE and TRUNCATE, whoever asks';
REVOKE ALL ON FUNCTION gdpr.refuse_change() FROM PUBLIC;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gdpr.consent_event
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.refuse_change();
ALTER TABLE gdpr.consent_event ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION gdpr.caller() RETURNS name
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_caller';
COMMENT ON FUNCTION gdpr.caller() IS 'the role that called a function which runs as its owner';
REVOKE ALL ON FUNCTION gdpr.caller() FROM PUBLIC;

CREATE FUNCTION gdpr.living_subject(subject bigint) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'gdpr_living_subject';
COMMENT ON FUNCTION gdpr.living_subject(bigint) IS
    'raises an error unless the number was given to a person who was not forgotten; of a further number for a category, returns the person''s own';
REVOKE ALL ON FUNCTION gdpr.living_subject(bigint) FROM PUBLIC;

-- What an event is about: another purpose of the same name is not meant.
CREATE FUNCTION gdpr.assert_same_purpose(event gdpr.consent_event) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM gdpr.purpose p WHERE p.id = event.purpose_id) THEN
        RAISE EXCEPTION 'purpose "%", which the record is about, was dropped', event.purpose
            USING ERRCODE = 'GD004', HINT = 'Record what is decided on another purpose: SELECT gdpr.give_consent(…) or gdpr.withdraw_consent(…).';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_same_purpose(gdpr.consent_event) IS 'raises an error if the purpose of an event was dropped';
REVOKE ALL ON FUNCTION gdpr.assert_same_purpose(gdpr.consent_event) FROM PUBLIC;

-- Recording --------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.record_consent(subject bigint, purpose text, status text, channel text, topic text, occurred_at timestamptz,
                                    expires_at timestamptz, source text, notice text, details jsonb) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'gdpr_record_consent';
COMMENT ON FUNCTION gdpr.record_consent(bigint, text, text, text, text, timestamptz, timestamptz, text, text, jsonb) IS
    'adds an event to the ledger of consents; returns its id';
REVOKE ALL ON FUNCTION gdpr.record_consent(bigint, text, text, text, text, timestamptz, timestamptz, text, text, jsonb) FROM PUBLIC;

-- Not jsonb_strip_nulls, which would change the proof. It has no search path to set, so that its callers can inline it.
CREATE FUNCTION gdpr.consent_details(proof jsonb DEFAULT NULL, given_by text DEFAULT NULL, note text DEFAULT NULL, record uuid DEFAULT NULL)
    RETURNS jsonb LANGUAGE sql STABLE
RETURN CASE WHEN num_nonnulls(proof, given_by, note, record) > 0 THEN
           CASE WHEN proof IS NULL THEN '{}' ELSE jsonb_build_object('proof', proof) END
           || CASE WHEN given_by IS NULL THEN '{}' ELSE jsonb_build_object('given_by', given_by) END
           || CASE WHEN note IS NULL THEN '{}' ELSE jsonb_build_object('note', note) END
           || CASE WHEN record IS NULL THEN '{}' ELSE jsonb_build_object('record', record) END
       END;
COMMENT ON FUNCTION gdpr.consent_details(jsonb, text, text, uuid) IS 'what is sealed with an event: that of it which is given; NULL if nothing is';
REVOKE ALL ON FUNCTION gdpr.consent_details(jsonb, text, text, uuid) FROM PUBLIC;

CREATE FUNCTION gdpr.give_consent(subject bigint, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL,
                                  source text DEFAULT NULL, notice text DEFAULT NULL, proof jsonb DEFAULT NULL,
                                  expires_at timestamptz DEFAULT NULL, occurred_at timestamptz DEFAULT clock_timestamp(),
                                  given_by text DEFAULT NULL, note text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN gdpr.record_consent(subject, purpose, 'given', channel, topic, occurred_at, expires_at, source, notice,
        gdpr.consent_details(proof, given_by, note));
END $$;
COMMENT ON FUNCTION gdpr.give_consent(bigint, text, text, text, text, text, jsonb, timestamptz, timestamptz, text, text) IS
    'records that a person consents to a purpose, on one channel and topic or on all; source: where; notice: the version shown; proof: what shows it, given_by: who acted for the person, note: all three sealed; returns the record''s id';
REVOKE ALL ON FUNCTION gdpr.give_consent(bigint, text, text, text, text, text, jsonb, timestamptz, timestamptz, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.refuse_consent(subject bigint, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL,
                                    source text DEFAULT NULL, notice text DEFAULT NULL, proof jsonb DEFAULT NULL,
                                    occurred_at timestamptz DEFAULT clock_timestamp(), note text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN gdpr.record_consent(subject, purpose, 'refused', channel, topic, occurred_at, NULL, source, notice,
        gdpr.consent_details(proof, NULL, note));
END $$;
COMMENT ON FUNCTION gdpr.refuse_consent(bigint, text, text, text, text, text, jsonb, timestamptz, text) IS
    'records that a person refused when asked; returns the record''s id';
REVOKE ALL ON FUNCTION gdpr.refuse_consent(bigint, text, text, text, text, text, jsonb, timestamptz, text) FROM PUBLIC;

CREATE FUNCTION gdpr.withdraw_consent(subject bigint, purpose text DEFAULT NULL, channel text DEFAULT NULL, topic text DEFAULT NULL,
                                      source text DEFAULT NULL, proof jsonb DEFAULT NULL,
                                      occurred_at timestamptz DEFAULT clock_timestamp(), note text DEFAULT NULL) RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one text;
BEGIN
    subject := gdpr.living_subject(subject);
    IF purpose IS NOT NULL THEN
        RETURN NEXT gdpr.record_consent(subject, purpose, 'withdrawn', channel, topic, occurred_at, NULL, source, NULL,
            gdpr.consent_details(proof, NULL, note));
        RETURN;
    END IF;
    -- everything that it consented to, and what it would otherwise be taken to accept
    FOR one IN
        SELECT p.name FROM gdpr.purpose p
        WHERE p.legal_basis = 'consent' AND (p.default_basis IS NOT NULL OR EXISTS (
            SELECT FROM gdpr.consent_event e WHERE e.subject = ANY (gdpr.numbers_of(withdraw_consent.subject)) AND e.purpose_id = p.id))
        ORDER BY 1
    LOOP
        RETURN NEXT gdpr.record_consent(subject, one, 'withdrawn', channel, topic, occurred_at, NULL, source, NULL,
            gdpr.consent_details(proof, NULL, note));
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.withdraw_consent(bigint, text, text, text, text, jsonb, timestamptz, text) IS
    'records that a person withdraws consent: to one purpose or (NULL) all, on one channel and topic or on all; what it had consented to more specifically ends with it; returns the ids of the records';
REVOKE ALL ON FUNCTION gdpr.withdraw_consent(bigint, text, text, text, text, jsonb, timestamptz, text) FROM PUBLIC;

CREATE FUNCTION gdpr.invalidate_consent(record uuid, reason text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event gdpr.consent_event;
BEGIN
    SELECT * INTO event FROM gdpr.consent_event e WHERE e.id = record;
    IF NOT FOUND OR event.status NOT IN ('given', 'renewed') THEN
        RAISE EXCEPTION 'there is no consent with this id' USING ERRCODE = 'no_data_found',
            HINT = 'SELECT * FROM gdpr.consent_history(subject) shows the records of a person.';
    END IF;
    IF coalesce(reason, '') = '' THEN
        RAISE EXCEPTION 'reason is NULL or empty' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM gdpr.assert_same_purpose(event);
    -- it takes the place of that consent: one that was given later stands
    RETURN gdpr.record_consent(event.subject, event.purpose, 'invalidated', event.channel, event.topic, event.occurred_at, NULL, NULL, event.notice,
                               gdpr.consent_details(NULL, NULL, reason, record));
END $$;
COMMENT ON FUNCTION gdpr.invalidate_consent(uuid, text) IS
    'records that a consent was not validly given (not informed, not free, not shown): it never counted, and one that was given later does';
REVOKE ALL ON FUNCTION gdpr.invalidate_consent(uuid, text) FROM PUBLIC;

CREATE FUNCTION gdpr.expire_consent(subject bigint, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number bigint;
    result uuid;
BEGIN
    -- an end is of one consent: of merged persons, each may have one
    FOR number IN
        SELECT c.subject FROM gdpr.consent c JOIN gdpr.purpose p ON p.id = c.purpose_id
        WHERE p.name = expire_consent.purpose AND c.subject = ANY (gdpr.numbers_of(expire_consent.subject))
          AND c.channel = coalesce(expire_consent.channel, '') AND c.topic = coalesce(expire_consent.topic, '')
    LOOP
        result := gdpr.record_consent(number, purpose, 'expired', channel, topic, clock_timestamp(), NULL, NULL, NULL, NULL);
    END LOOP;
    -- there is none, or no such person or purpose
    RETURN coalesce(result, gdpr.record_consent(subject, purpose, 'expired', channel, topic, clock_timestamp(), NULL, NULL, NULL, NULL));
END $$;
COMMENT ON FUNCTION gdpr.expire_consent(bigint, text, text, text) IS
    'records that a consent has ended, without the person''s doing; one with expires_at ends by itself';
REVOKE ALL ON FUNCTION gdpr.expire_consent(bigint, text, text, text) FROM PUBLIC;

-- Double opt-in ----------------------------------------------------------------------------------

CREATE FUNCTION gdpr.request_consent(subject bigint, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL,
                                     source text DEFAULT NULL, notice text DEFAULT NULL, proof jsonb DEFAULT NULL,
                                     expires_at timestamptz DEFAULT NULL, valid interval DEFAULT '7 days') RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token text := gdpr.random_token();
    event uuid;
BEGIN
    PERFORM gdpr.assert_period(valid, 'valid');
    event := gdpr.record_consent(subject, purpose, 'requested', channel, topic, clock_timestamp(), expires_at, source, notice,
                                 gdpr.consent_details(proof));
    INSERT INTO gdpr.consent_request (token_hash, event, valid_until)
    VALUES (sha256(convert_to(token, 'UTF8')), event, now() + valid);
    RETURN token;
END $$;
COMMENT ON FUNCTION gdpr.request_consent(bigint, text, text, text, text, text, jsonb, timestamptz, interval) IS
    'records that a person is asked for consent, and returns a token to send to it, once: only its hash is kept. expires_at: of the consent; valid: how long the token is';
REVOKE ALL ON FUNCTION gdpr.request_consent(bigint, text, text, text, text, text, jsonb, timestamptz, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.confirm_consent(token text, proof jsonb DEFAULT NULL, source text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    request gdpr.consent_request;
    event gdpr.consent_event;
BEGIN
    DELETE FROM gdpr.consent_request r WHERE r.token_hash = sha256(convert_to(token, 'UTF8')) AND r.valid_until > clock_timestamp()
    RETURNING * INTO request;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the token is unknown, used or expired'
            USING ERRCODE = 'no_data_found', HINT = 'Ask again: SELECT gdpr.request_consent(…).';
    END IF;
    SELECT * INTO STRICT event FROM gdpr.consent_event e WHERE e.id = request.event;
    PERFORM gdpr.assert_same_purpose(event);
    RETURN gdpr.record_consent(event.subject, event.purpose, 'given', event.channel, event.topic, clock_timestamp(), event.expires_at,
                               coalesce(source, event.source), event.notice,
                               coalesce(gdpr.consent_details(proof), '{}') || jsonb_build_object('request', event.id));
END $$;
COMMENT ON FUNCTION gdpr.confirm_consent(text, jsonb, text) IS
    'records the consent that a person was asked for, on showing the token, once; returns the record''s id';
REVOKE ALL ON FUNCTION gdpr.confirm_consent(text, jsonb, text) FROM PUBLIC;

CREATE FUNCTION gdpr.random_token() RETURNS text
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_random_token';
COMMENT ON FUNCTION gdpr.random_token() IS '256 random bits, in 43 characters that may stand in a link (base64url)';
REVOKE ALL ON FUNCTION gdpr.random_token() FROM PUBLIC;

-- Looking back -----------------------------------------------------------------------------------

CREATE FUNCTION gdpr.consent_at(subject bigint, at timestamptz DEFAULT clock_timestamp(), known_at timestamptz DEFAULT 'infinity',
                                OUT purpose text, OUT channel text, OUT topic text, OUT status text, OUT valid boolean,
                                OUT since timestamptz, OUT expires_at timestamptz, OUT notice text, OUT source text, OUT record uuid)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH known AS (
        SELECT * FROM gdpr.consent_event e
        WHERE e.subject = ANY (gdpr.numbers_of(consent_at.subject)) AND e.occurred_at <= consent_at.at AND e.recorded_at <= consent_at.known_at
    ), latest AS (
        SELECT DISTINCT ON (k.purpose_id, k.channel, k.topic) k.* FROM known k
        -- a request says nothing where there is an answer; an end is looked at below
        WHERE k.status <> 'expired' AND (k.status <> 'requested' OR NOT EXISTS (
            SELECT FROM known a WHERE a.purpose_id = k.purpose_id AND a.channel = k.channel AND a.topic = k.topic
            AND a.status NOT IN ('requested', 'expired')))
        ORDER BY k.purpose_id, k.channel, k.topic, k.occurred_at DESC, k.status IN ('given', 'renewed'), k.recorded_at DESC
    ), ended AS (
        SELECT l.*, least(l.expires_at, (
                   SELECT min(x.occurred_at) FROM known x
                   WHERE x.subject = l.subject AND x.purpose_id = l.purpose_id AND x.channel = l.channel AND x.topic = l.topic
                     AND x.status = 'expired' AND x.occurred_at >= l.occurred_at)) AS ends_at,
               (SELECT n.status FROM latest n
                WHERE n.purpose_id = l.purpose_id AND n.status IN ('refused', 'withdrawn', 'invalidated')
                  AND l.status IN ('given', 'renewed')
                  AND n.channel IN ('', l.channel) AND n.topic IN ('', l.topic)
                  AND (n.channel, n.topic) <> (l.channel, l.topic) AND n.occurred_at >= l.occurred_at
                ORDER BY n.occurred_at DESC LIMIT 1) AS overridden_by
        FROM latest l
    )
    SELECT e.purpose, nullif(e.channel, ''), nullif(e.topic, ''),
           CASE WHEN e.overridden_by IS NOT NULL THEN e.overridden_by
                WHEN e.status IN ('given', 'renewed') AND e.ends_at <= consent_at.at THEN 'expired'
                ELSE e.status END,
           e.status IN ('given', 'renewed') AND e.overridden_by IS NULL AND (e.ends_at > consent_at.at) IS NOT FALSE
           AND NOT EXISTS (SELECT FROM gdpr.notice n
                           WHERE n.renew_by <= consent_at.at AND n.published_at > e.occurred_at
                             AND (n.purposes IS NULL OR e.purpose = ANY (n.purposes))),
           e.occurred_at, e.ends_at, e.notice, e.source, e.id
    FROM ended e ORDER BY e.purpose, e.purpose_id, e.channel, e.topic;
END;
COMMENT ON FUNCTION gdpr.consent_at(bigint, timestamptz, timestamptz) IS
    'what a person had decided at a time, on each purpose, channel and topic (NULL: all); known_at: as it was recorded then; valid: it was a consent that counted, by itself (restriction, objections and blocked channels apart)';
REVOKE ALL ON FUNCTION gdpr.consent_at(bigint, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.consent_history(subject bigint, OUT record uuid, OUT purpose text, OUT channel text, OUT topic text, OUT status text,
                                     OUT occurred_at timestamptz, OUT expires_at timestamptz, OUT source text, OUT notice text,
                                     OUT recorded_at timestamptz, OUT recorded_by name, OUT session_role name, OUT actor text, OUT details jsonb)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.id, e.purpose, nullif(e.channel, ''), nullif(e.topic, ''), e.status, e.occurred_at, e.expires_at, e.source, e.notice,
           e.recorded_at, e.recorded_by, e.session_role, e.actor, gdpr.open_event('consent', e.id, e.details)
    FROM gdpr.consent_event e WHERE e.subject = ANY (gdpr.numbers_of(consent_history.subject)) ORDER BY e.recorded_at, e.id;
END;
COMMENT ON FUNCTION gdpr.consent_history(bigint) IS
    'every event of a person in the ledger of consents, in the order in which they were recorded, with proofs and notes opened';
REVOKE ALL ON FUNCTION gdpr.consent_history(bigint) FROM PUBLIC;
