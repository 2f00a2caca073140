-- Erasures that wait: of many persons, as when a tenant leaves, so that a mistake can be undone within a while.

CREATE TABLE gdpr.planned_erasure (
    subject bigint PRIMARY KEY,
    due_at timestamptz NOT NULL,
    reason text,
    restriction uuid NOT NULL,
    planned_at timestamptz NOT NULL DEFAULT now(),
    planned_by name NOT NULL,
    actor text,
    failure text
);
CREATE INDEX planned_erasure_due_at ON gdpr.planned_erasure (due_at);
COMMENT ON TABLE gdpr.planned_erasure IS 'persons who are to be forgotten, and are restricted until then';
COMMENT ON COLUMN gdpr.planned_erasure.failure IS 'SQLSTATE of the last attempt, if it failed';
REVOKE ALL ON gdpr.planned_erasure FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.planned_erasure', '');

CREATE FUNCTION gdpr.plan_erasure(subjects bigint[], reason text DEFAULT NULL, grace interval DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- the table may have been empty when this was planned, and then there are very many
    AS $$
DECLARE
    person bigint;
    result bigint := 0;
BEGIN
    grace := coalesce(grace, current_setting('gdpr.erasure_grace')::interval);
    IF subjects IS NULL THEN
        RAISE EXCEPTION 'subjects is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM gdpr.assert_period(grace, 'grace', may_be_zero => true);
    PERFORM gdpr.lock_identities(true);
    -- in their order: two who plan do not wait for each other
    FOR person IN SELECT DISTINCT gdpr.person(gdpr.assert_subject(s)) FROM unnest(subjects) s ORDER BY 1 LOOP
        -- of those whose rows these were, some are forgotten; what a hold keeps is nobody's
        CONTINUE WHEN gdpr.key_is_lost(person, NULL) OR EXISTS (SELECT FROM gdpr.hold h WHERE h.number = person);
        -- no lock for each: there can be very many
        CONTINUE WHEN EXISTS (SELECT FROM gdpr.planned_erasure p WHERE p.subject = ANY (gdpr.numbers_of(person)));
        INSERT INTO gdpr.planned_erasure (subject, due_at, reason, restriction, planned_by, actor)
        VALUES (person, now() + grace, plan_erasure.reason, gen_random_uuid(), gdpr.caller(), nullif(current_setting('gdpr.actor'), ''))
        ON CONFLICT DO NOTHING;
        CONTINUE WHEN NOT FOUND;
        UPDATE gdpr.planned_erasure p SET restriction = gdpr.restrict(person, 'to be forgotten') WHERE p.subject = person;
        result := result + 1;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.plan_erasure(bigint[], text, interval) IS
    'has persons forgotten after a while (default: gdpr.erasure_grace), by gdpr.run_planned_erasures; until then they are restricted, and gdpr.cancel_erasure() takes it back; who was forgotten already is passed over; returns how many are planned now that were not';
REVOKE ALL ON FUNCTION gdpr.plan_erasure(bigint[], text, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.cancel_erasure(subjects bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint;
    planned gdpr.planned_erasure;
    result bigint := 0;
BEGIN
    PERFORM gdpr.lock_identities(true);
    -- for whichever number of the person it was planned
    FOR person IN SELECT DISTINCT n FROM unnest(subjects) s, unnest(gdpr.numbers_of(gdpr.assert_subject(s))) n ORDER BY 1 LOOP
        DELETE FROM gdpr.planned_erasure p WHERE p.subject = person RETURNING * INTO planned;
        CONTINUE WHEN NOT FOUND OR gdpr.key_is_lost(person, NULL);  -- forgotten meanwhile, by itself
        -- it was no request of the person, who need not be informed
        DELETE FROM gdpr.flag f WHERE f.subject = person AND f.kind = 'r' AND f.id = planned.restriction;
        IF FOUND THEN
            PERFORM gdpr.record_flag(planned.restriction, person, 'restriction', 'lifted', NULL, NULL, NULL, clock_timestamp(), NULL, NULL,
                                     'is not to be forgotten');
        END IF;
        result := result + 1;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.cancel_erasure(bigint[]) IS
    'takes back that persons are to be forgotten, and their restriction; returns of how many';
REVOKE ALL ON FUNCTION gdpr.cancel_erasure(bigint[]) FROM PUBLIC;

-- All at once; if that fails, half of them at a time, down to the one who cannot be forgotten.
CREATE FUNCTION gdpr.forget_planned(subjects bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    half integer := cardinality(subjects) / 2;
    persons bigint[];
    reasons text[];
BEGIN
    PERFORM gdpr.lock_forgettable(subjects);
    -- some may have been merged since
    SELECT array_agg(u.person ORDER BY u.person), array_agg(u.reason ORDER BY u.person) INTO persons, reasons
    FROM (SELECT DISTINCT ON (person) gdpr.person(f.subject) AS person, f.reason
          FROM gdpr.planned_erasure f WHERE f.subject = ANY (subjects) ORDER BY person, f.due_at) u;
    PERFORM gdpr.forget_persons(persons, reasons, NULL);
    DELETE FROM gdpr.planned_erasure f WHERE f.subject = ANY (subjects);
EXCEPTION WHEN OTHERS THEN
    -- nobody can be forgotten now
    IF gdpr.is_servers_error(SQLSTATE) AND SQLSTATE NOT LIKE 'XX%' THEN
        RAISE;
    END IF;
    IF half > 0 THEN
        PERFORM gdpr.forget_planned(subjects[:half]);
        PERFORM gdpr.forget_planned(subjects[half + 1:]);
        RETURN;
    END IF;
    UPDATE gdpr.planned_erasure f SET failure = SQLSTATE, due_at = now() + interval '1 hour' WHERE f.subject = subjects[1];
    -- the message may hold values
    RAISE WARNING 'person % could not be forgotten: SQLSTATE %', subjects[1], SQLSTATE
        USING ERRCODE = SQLSTATE, HINT = format('It is tried again after an hour. SELECT * FROM gdpr.forget_preview(%s) tells more.', subjects[1]);
END $$;
COMMENT ON FUNCTION gdpr.forget_planned(bigint[]) IS
    'forgets persons whose erasure was planned; one who cannot be forgotten does not stop the others';
REVOKE ALL ON FUNCTION gdpr.forget_planned(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.planned_erasures_step(batch bigint, started timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- another run has others
    due bigint[] := ARRAY(SELECT p.subject FROM gdpr.planned_erasure p WHERE p.due_at <= started
                          ORDER BY p.due_at, p.subject LIMIT batch FOR UPDATE SKIP LOCKED);
BEGIN
    IF due <> '{}' THEN
        PERFORM gdpr.forget_planned(due);
    END IF;
    RETURN cardinality(due);
END $$;
COMMENT ON FUNCTION gdpr.planned_erasures_step(bigint, timestamptz) IS 'forgets some of those whose time has come; returns how many there were';
REVOKE ALL ON FUNCTION gdpr.planned_erasures_step(bigint, timestamptz) FROM PUBLIC;

CREATE PROCEDURE gdpr.run_planned_erasures(batch bigint DEFAULT 1000)
    LANGUAGE plpgsql AS $$
DECLARE
    started timestamptz := pg_catalog.clock_timestamp();
BEGIN
    IF NOT pg_catalog.has_function_privilege('gdpr.planned_erasures_step(bigint, timestamptz)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for the function that run_planned_erasures() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.planned_erasures_step(bigint, timestamptz) TO %I.', current_user);
    END IF;
    IF batch IS NULL OR batch OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'batch is %', batch USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a number of persons, at least 1.';
    END IF;
    COMMIT;
    LOOP
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED; -- whatever the session's default is
        EXIT WHEN gdpr.planned_erasures_step(batch, started) OPERATOR(pg_catalog.=) 0;
        COMMIT;
    END LOOP;
END $$;
COMMENT ON PROCEDURE gdpr.run_planned_erasures(bigint) IS
    'forgets those whose planned erasure is due, so many in a transaction; one who cannot be forgotten is tried again after an hour and does not stop the others';
REVOKE ALL ON PROCEDURE gdpr.run_planned_erasures(bigint) FROM PUBLIC;
