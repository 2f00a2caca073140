-- Disclosures: what was given to which recipient, of whom, for what. A ledger that is only ever added to.

CREATE TABLE gdpr.disclosure (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject bigint NOT NULL,
    recipient integer NOT NULL,
    categories smallint[] NOT NULL,
    purpose_id integer NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    ground text NOT NULL,
    country text NOT NULL,
    safeguard text NOT NULL,
    disclosed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by name NOT NULL,
    session_role name NOT NULL DEFAULT session_user,
    actor text,
    details gdpr.sealed
);
CREATE INDEX disclosure_subject ON gdpr.disclosure (subject);
CREATE INDEX disclosure_recipient ON gdpr.disclosure (recipient);
COMMENT ON TABLE gdpr.disclosure IS 'what was disclosed to recipients; nobody changes or deletes it';
COMMENT ON COLUMN gdpr.disclosure.country IS 'the recipient''s, then; so is the safeguard';
COMMENT ON COLUMN gdpr.disclosure.details IS
    'sealed under the person''s key: by what the recipient knows it, and the reason if what stood in the way was overridden';
REVOKE ALL ON gdpr.disclosure FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.disclosure', '');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gdpr.disclosure
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.refuse_change();
ALTER TABLE gdpr.disclosure ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION gdpr.lock_disclosures(persons bigint[], forgetting boolean) RETURNS void
    LANGUAGE c VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_lock_disclosures';
COMMENT ON FUNCTION gdpr.lock_disclosures(bigint[], boolean) IS
    'until the transaction ends, whoever discloses data of these persons and whoever forgets them wait for each other';
REVOKE ALL ON FUNCTION gdpr.lock_disclosures(bigint[], boolean) FROM PUBLIC;

-- May the caller override what persons decided on the purpose? As src/policy.c has it.
CREATE FUNCTION gdpr.overriding_reason(purpose gdpr.purpose) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason text := nullif(current_setting('gdpr.override_reason'), '');
BEGIN
    IF reason IS NOT NULL AND (purpose.direct_marketing OR NOT EXISTS (
        SELECT FROM gdpr.purpose_grant g WHERE g.purpose = purpose.name AND g.override
        AND pg_has_role(gdpr.caller(), to_regrole(quote_ident(g.role)), 'USAGE'))) THEN
        RAISE EXCEPTION 'role "%" may not override what persons decided on purpose "%"', gdpr.caller(), purpose.name
            USING ERRCODE = 'GD004',
                  HINT = format('RESET gdpr.override_reason. An officer can grant it, but never for direct marketing: SELECT gdpr.grant_purpose(%L, %L, override => true).',
                                purpose.name, gdpr.caller());
    END IF;
    RETURN reason;
END $$;
COMMENT ON FUNCTION gdpr.overriding_reason(gdpr.purpose) IS
    'gdpr.override_reason, NULL if there is none; an error if the calling role may not override what persons decided on the purpose';
REVOKE ALL ON FUNCTION gdpr.overriding_reason(gdpr.purpose) FROM PUBLIC;

CREATE FUNCTION gdpr.record_disclosures(subjects bigint[], recipient text, categories text[], purpose text, ground text,
                                        "references" text[], at timestamptz, OUT recorded bigint, OUT last_id uuid)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    receiver gdpr.recipient;
    used gdpr.purpose;
    ids smallint[];
    unknown text;
    reason text;
    persons bigint[];
    refused bigint;
    standing text;
BEGIN
    IF subjects IS NULL OR at IS NULL OR at > clock_timestamp() THEN
        RAISE EXCEPTION 'subjects or at is NULL, or at is in the future' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF "references" IS NOT NULL AND cardinality("references") <> cardinality(subjects) THEN
        RAISE EXCEPTION 'there are % references for % persons', cardinality("references"), cardinality(subjects)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one for each person, NULL where there is none.';
    END IF;
    receiver := gdpr.find_recipient(recipient);
    IF purpose IS NULL AND cardinality(receiver.purposes) > 1 THEN
        RAISE EXCEPTION 'recipient "%" is registered for more than one purpose', recipient
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Say for which: purpose => ''…''.';
    END IF;
    SELECT * INTO used FROM gdpr.purpose p WHERE p.name = purpose OR (purpose IS NULL AND p.id = receiver.purposes[1]);
    IF NOT FOUND THEN
        IF purpose IS NULL THEN
            RAISE EXCEPTION 'the purpose that recipient "%" is registered for was dropped', recipient
                USING ERRCODE = 'GD004', HINT = format('An officer can register another: SELECT gdpr.change_recipient(%L, purposes => ''{…}'').', recipient);
        END IF;
        RAISE EXCEPTION 'purpose "%" does not exist', purpose USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
    END IF;
    reason := gdpr.overriding_reason(used);
    IF used.id <> ALL (receiver.purposes) AND reason IS NULL THEN
        RAISE EXCEPTION 'recipient "%" is not registered for purpose "%"', recipient, used.name
            USING ERRCODE = 'GD004', HINT = format('An officer can register it: SELECT gdpr.change_recipient(%L, purposes => ''{…}'').', recipient);
    END IF;
    IF coalesce(ground, used.legal_basis) NOT IN ('consent', 'contract', 'legal_obligation', 'vital_interest', 'public_task', 'legitimate_interest') THEN
        RAISE EXCEPTION 'ground is "%"', ground
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is ''consent'', ''contract'', ''legal_obligation'', ''vital_interest'', ''public_task'' or ''legitimate_interest''; leave it out for that of the purpose.';
    END IF;
    IF categories = '{}' THEN
        RAISE EXCEPTION 'categories is empty' USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for those of the purpose.';
    END IF;
    SELECT min(n) INTO unknown FROM unnest(categories) n
    WHERE NOT EXISTS (SELECT FROM gdpr.category c WHERE c.name = n AND c.id = ANY (used.categories));
    IF unknown IS NOT NULL OR array_position(categories, NULL) > 0 THEN
        RAISE EXCEPTION 'purpose "%" does not cover category "%"', used.name, unknown
            USING ERRCODE = 'GD004', HINT = 'Disclose what the purpose covers: SELECT name FROM gdpr.category shows the categories.';
    END IF;
    ids := ARRAY(SELECT c.id FROM gdpr.category c WHERE c.id = ANY (used.categories) AND (categories IS NULL OR c.name = ANY (categories)) ORDER BY 1);
    -- adequacy decisions end
    PERFORM gdpr.transfer_safeguard(receiver.country, receiver.safeguard, receiver.derogation);

    persons := ARRAY(SELECT gdpr.assert_subject(s) FROM unnest(subjects) WITH ORDINALITY u(s, n) ORDER BY n);
    PERFORM gdpr.lock_disclosures(persons, false);
    PERFORM gdpr.living_subject(p) FROM unnest(persons) p;
    IF reason IS NULL THEN
        SELECT p, s INTO refused, standing
        FROM unnest(persons) p CROSS JOIN LATERAL gdpr.standing(p, used.name) s WHERE s <> 'permitted' LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'data of person % cannot be disclosed for purpose "%": %', refused, used.name, standing
                USING ERRCODE = CASE standing WHEN 'restricted' THEN 'GD008' ELSE 'GD005' END,
                      HINT = format('Leave out whoever does not permit it: WHERE gdpr.standing(subject, %L) = ''permitted''.', used.name);
        END IF;
    END IF;
    -- what came with the connection was not verified
    PERFORM convert_to(concat(current_setting('gdpr.actor'), reason), getdatabaseencoding());

    WITH entry AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, u.person, nullif(jsonb_strip_nulls(jsonb_build_object(
                   'reference', nullif(u.reference, ''), 'override_reason', reason)), '{}') AS details
        FROM unnest(persons, "references") u(person, reference)
    ), done AS (
        INSERT INTO gdpr.disclosure AS d (id, subject, recipient, categories, purpose_id, purpose, ground, country, safeguard,
                                          disclosed_at, recorded_by, actor, details)
        SELECT e.id, e.person, receiver.id, ids, used.id, used.name, coalesce(record_disclosures.ground, used.legal_basis),
               receiver.country, receiver.safeguard, record_disclosures.at, gdpr.caller(), nullif(current_setting('gdpr.actor'), ''),
               CASE WHEN e.details IS NOT NULL THEN gdpr.make_note(e.person, 'disclosure', e.id, e.details) END
        FROM entry e RETURNING d.id
    ) SELECT count(*), min(d.id::text)::uuid INTO recorded, last_id FROM done d;
END $$;
COMMENT ON FUNCTION gdpr.record_disclosures(bigint[], text, text[], text, text, text[], timestamptz) IS
    'adds disclosures to the ledger; for disclose and disclose_many';
REVOKE ALL ON FUNCTION gdpr.record_disclosures(bigint[], text, text[], text, text, text[], timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.disclose(subject bigint, recipient text, categories text[] DEFAULT NULL, purpose text DEFAULT NULL,
                              ground text DEFAULT NULL, reference text DEFAULT NULL, at timestamptz DEFAULT clock_timestamp())
    RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (gdpr.record_disclosures(ARRAY[subject], recipient, categories, purpose, ground, ARRAY[reference], at)).last_id;
END $$;
COMMENT ON FUNCTION gdpr.disclose(bigint, text, text[], text, text, text, timestamptz) IS
    'records that data of a person is disclosed to a recipient, or an error if the person, the purpose or the register does not permit it; categories: default all of the purpose''s; purpose: default the recipient''s only one; ground: default the purpose''s legal basis; reference: by what the recipient knows the person, sealed; returns the record''s id';
REVOKE ALL ON FUNCTION gdpr.disclose(bigint, text, text[], text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.disclose_many(subjects bigint[], recipient text, categories text[] DEFAULT NULL, purpose text DEFAULT NULL,
                                   ground text DEFAULT NULL, "references" text[] DEFAULT NULL, at timestamptz DEFAULT clock_timestamp())
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (gdpr.record_disclosures(subjects, recipient, categories, purpose, ground, "references", at)).recorded;
END $$;
COMMENT ON FUNCTION gdpr.disclose_many(bigint[], text, text[], text, text, text[], timestamptz) IS
    'the same for many persons at once, all or none of them; references: one for each person; returns how many';
REVOKE ALL ON FUNCTION gdpr.disclose_many(bigint[], text, text[], text, text, text[], timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.disclosures_of(subject bigint, OUT recipient text, OUT categories text[], OUT purpose text, OUT ground text,
                                    OUT country text, OUT safeguard text, OUT disclosed_at timestamptz, OUT reference text,
                                    OUT override_reason text, OUT recorded_by name, OUT actor text, OUT id uuid)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT r.name, ARRAY(SELECT c.name FROM gdpr.category c WHERE c.id = ANY (d.categories) ORDER BY c.name), d.purpose, d.ground,
           d.country, d.safeguard, d.disclosed_at, n.note ->> 'reference', n.note ->> 'override_reason', d.recorded_by, d.actor, d.id
    FROM gdpr.disclosure d LEFT JOIN gdpr.recipient r ON r.id = d.recipient
    CROSS JOIN LATERAL gdpr.open_event('disclosure', d.id, d.details) n(note)
    WHERE d.subject = ANY (gdpr.numbers_of(disclosures_of.subject)) ORDER BY d.disclosed_at, d.recorded_at, d.id;
END;
COMMENT ON FUNCTION gdpr.disclosures_of(bigint) IS
    'what was disclosed of a person, to whom, for what, on which ground, and where to; reference: by what the recipient knows the person, NULL also when it was forgotten';
REVOKE ALL ON FUNCTION gdpr.disclosures_of(bigint) FROM PUBLIC;
