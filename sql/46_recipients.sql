-- Recipients (Art. 13 to 15, 28, 30): who receives personal data, where, and what makes a transfer out of the EEA lawful
-- (Art. 44 to 49).

CREATE TABLE gdpr.country (
    code text NOT NULL CHECK (code ~ '^[A-Z]{2}$'),
    as_of date NOT NULL,
    status text NOT NULL CHECK (status IN ('eea', 'adequate', 'partly adequate', 'none')),
    until date,
    note text,
    set_by name
);
-- what comes with a later version of the extension must not be in the way of a dump
CREATE UNIQUE INDEX country_state ON gdpr.country (code, as_of, (set_by IS NULL));
COMMENT ON TABLE gdpr.country IS
    'countries of the EEA, and those with an adequacy decision of the Commission (Art. 45); the latest row of a country counts, of the same day that which was set here, and one that has none has no decision. Changed by gdpr.set_country';
COMMENT ON COLUMN gdpr.country.code IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN gdpr.country.as_of IS 'from when on this is the state';
COMMENT ON COLUMN gdpr.country.status IS 'partly adequate: the decision covers some recipients only, which note names';
COMMENT ON COLUMN gdpr.country.until IS 'the last day of the decision, where it has one';
COMMENT ON COLUMN gdpr.country.set_by IS 'NULL: came with the extension';
-- The state of February 2026. Territories in which Union law applies have codes of their own.
INSERT INTO gdpr.country (code, as_of, status)
SELECT c, '2026-02-01', 'eea' FROM unnest('{AT,BE,BG,CY,CZ,DE,DK,EE,ES,FI,FR,GR,HR,HU,IE,IT,LT,LU,LV,MT,NL,PL,PT,RO,SE,SI,SK,
    IS,LI,NO,AX,GF,GP,MF,MQ,RE,YT}'::text[]) c;
INSERT INTO gdpr.country (code, as_of, status)
SELECT c, '2026-02-01', 'adequate' FROM unnest('{AD,AR,BR,CH,FO,GG,IL,IM,JE,KR,NZ,UY}'::text[]) c;
INSERT INTO gdpr.country (code, as_of, status, until, note) VALUES
    ('GB', '2026-02-01', 'adequate', '2031-12-27', NULL),
    ('CA', '2026-02-01', 'partly adequate', NULL, 'commercial organisations under PIPEDA'),
    ('JP', '2026-02-01', 'partly adequate', NULL, 'business operators under the APPI'),
    ('US', '2026-02-01', 'partly adequate', NULL, 'organisations certified under the EU-US Data Privacy Framework');

CREATE SEQUENCE gdpr.recipient_id AS integer;
REVOKE ALL ON SEQUENCE gdpr.recipient_id FROM PUBLIC;
COMMENT ON SEQUENCE gdpr.recipient_id IS 'ids of recipients, never used twice';

CREATE TABLE gdpr.recipient (
    id integer PRIMARY KEY DEFAULT nextval('gdpr.recipient_id'),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    role text NOT NULL CHECK (role IN ('recipient', 'processor', 'controller')),
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    safeguard text NOT NULL,
    derogation text CHECK (derogation ~ '^[a-g]$'),
    contract text,
    purposes integer[] NOT NULL,
    contact text,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    dropped_at timestamptz
);
CREATE UNIQUE INDEX recipient_name ON gdpr.recipient (name) WHERE dropped_at IS NULL;
COMMENT ON TABLE gdpr.recipient IS 'recipients of personal data, also those that were dropped after something was disclosed to them';
COMMENT ON COLUMN gdpr.recipient.purposes IS 'ids of the purposes that data may be disclosed to it for';
REVOKE ALL ON gdpr.country, gdpr.recipient FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.country', 'WHERE set_by IS NOT NULL');
SELECT pg_catalog.pg_extension_config_dump('gdpr.recipient_id', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.recipient', '');

CREATE VIEW gdpr.recipients AS
SELECT r.name, r.role, r.country, c.status AS country_status, r.safeguard, r.derogation, r.contract,
       ARRAY(SELECT p.name::text FROM gdpr.purpose p WHERE p.id = ANY (r.purposes) ORDER BY p.name) AS purposes,
       r.contact, r.description, r.created_at, r.dropped_at
FROM gdpr.recipient r
LEFT JOIN LATERAL (
    SELECT CASE WHEN k.until < current_date THEN 'none' ELSE k.status END AS status FROM gdpr.country k
    WHERE k.code = r.country AND k.as_of <= current_date ORDER BY k.as_of DESC, k.set_by IS NULL LIMIT 1) c ON true;
COMMENT ON VIEW gdpr.recipients IS 'the register of recipients, and how their countries stand today; dropped_at: nothing is disclosed to it any more';
REVOKE ALL ON gdpr.recipients FROM PUBLIC;

CREATE FUNCTION gdpr.set_country(code text, status text, as_of date DEFAULT current_date, until date DEFAULT NULL, note text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF code IS NULL OR code !~ '^[A-Z]{2}$' THEN
        RAISE EXCEPTION 'country is "%"', code
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write its code of ISO 3166-1 alpha-2, for instance ''NL''.';
    END IF;
    IF status IS NULL OR status NOT IN ('eea', 'adequate', 'partly adequate', 'none') THEN
        RAISE EXCEPTION 'status is "%"', status
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''eea'', ''adequate'', ''partly adequate'' or ''none''.';
    END IF;
    IF as_of IS NULL OR as_of > current_date OR until < as_of THEN
        RAISE EXCEPTION 'as_of is NULL, in the future or after until' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT FROM gdpr.country c WHERE c.code = set_country.code AND c.as_of > set_country.as_of) THEN
        RAISE EXCEPTION 'a later state of country "%" is known', code
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT * FROM gdpr.country shows it. Say as_of => … of a later day.';
    END IF;
    DELETE FROM gdpr.country c WHERE c.code = set_country.code AND c.as_of = set_country.as_of AND c.set_by IS NOT NULL;
    INSERT INTO gdpr.country (code, as_of, status, until, note, set_by) VALUES (code, as_of, status, until, note, gdpr.caller());
END $$;
COMMENT ON FUNCTION gdpr.set_country(text, text, date, date, text) IS
    'records how a country stands to Art. 45 from a day on: eea, adequate, partly adequate (note says who is covered) or none; until: the last day of the decision';
REVOKE ALL ON FUNCTION gdpr.set_country(text, text, date, date, text) FROM PUBLIC;

-- What makes data lawful to be there, today.
CREATE FUNCTION gdpr.transfer_safeguard(country text, safeguard text, derogation text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known gdpr.country;
    status text := 'none';
BEGIN
    IF country IS NULL OR country !~ '^[A-Z]{2}$' OR country IN ('EU', 'EL', 'UK') THEN
        RAISE EXCEPTION 'country is "%"', country
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Write its code of ISO 3166-1 alpha-2, for instance ''NL''; Greece is ''GR'', the United Kingdom ''GB''.';
    END IF;
    IF safeguard NOT IN ('none', 'adequacy', 'scc', 'bcr', 'code_of_conduct', 'certification', 'public_instrument', 'authorised_clauses', 'derogation') THEN
        RAISE EXCEPTION 'safeguard is "%"', safeguard
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is ''adequacy'' (Art. 45), ''scc'', ''bcr'', ''code_of_conduct'', ''certification'', ''public_instrument'', ''authorised_clauses'' (Art. 46), ''derogation'' (Art. 49), or ''none'' in the EEA.';
    END IF;
    IF (safeguard = 'derogation') IS DISTINCT FROM (derogation IS NOT NULL) AND (safeguard = 'derogation' OR derogation IS NOT NULL)
       OR derogation !~ '^[a-g]$' THEN
        RAISE EXCEPTION 'safeguard is "%" and derogation "%"', safeguard, derogation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'safeguard => ''derogation'' needs the letter in Art. 49(1), for instance derogation => ''a'', and no other has one.';
    END IF;
    SELECT * INTO known FROM gdpr.country c WHERE c.code = country AND c.as_of <= current_date ORDER BY c.as_of DESC, c.set_by IS NULL LIMIT 1;
    IF FOUND AND (known.until >= current_date) IS NOT FALSE THEN
        status := known.status;
    END IF;
    safeguard := coalesce(safeguard, CASE status WHEN 'eea' THEN 'none' WHEN 'adequate' THEN 'adequacy' END);
    IF safeguard IS NULL OR (safeguard = 'none' AND status <> 'eea')
       OR (safeguard = 'adequacy' AND status NOT IN ('adequate', 'partly adequate')) THEN
        RAISE EXCEPTION 'a transfer to country "%" needs a safeguard', country
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = CASE status WHEN 'eea' THEN 'It is in the EEA, and has no adequacy decision.'
                                       WHEN 'adequate' THEN 'It is outside of the EEA.'
                                       WHEN 'partly adequate' THEN format('The adequacy decision covers %s only.', coalesce(known.note, 'some recipients'))
                                       ELSE 'It is outside of the EEA, and no adequacy decision is known.' END,
                  HINT = CASE status WHEN 'eea' THEN 'Leave safeguard out.'
                                     WHEN 'adequate' THEN 'Say safeguard => ''adequacy''.'
                                     WHEN 'partly adequate' THEN 'Say safeguard => ''adequacy'' if the recipient is one of them, else ''scc'', ''bcr'', …'
                                     ELSE 'Say safeguard => ''scc'', ''bcr'', … (Art. 46) or ''derogation'' (Art. 49). SELECT gdpr.set_country(…) records a new decision.' END;
    END IF;
    RETURN safeguard;
END $$;
COMMENT ON FUNCTION gdpr.transfer_safeguard(text, text, text) IS
    'the safeguard for a transfer to a country (NULL: that which it needs none for), or an error if it does not suffice today';
REVOKE ALL ON FUNCTION gdpr.transfer_safeguard(text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.purpose_ids(purposes text[]) RETURNS integer[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    purpose text;
    result integer[] := '{}';
    found_id integer;
BEGIN
    IF purposes IS NULL OR purposes = '{}' THEN
        RAISE EXCEPTION 'a recipient needs at least one purpose'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Say what data is disclosed to it for: purposes => ''{newsletter}''.';
    END IF;
    FOREACH purpose IN ARRAY purposes LOOP
        SELECT p.id INTO found_id FROM gdpr.purpose p WHERE p.name = purpose;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'purpose "%" does not exist', purpose USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
        END IF;
        result := result || found_id;
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT i FROM unnest(result) i ORDER BY i);
END $$;
COMMENT ON FUNCTION gdpr.purpose_ids(text[]) IS 'ids of purposes, of which there has to be one';
REVOKE ALL ON FUNCTION gdpr.purpose_ids(text[]) FROM PUBLIC;

-- What add_recipient and change_recipient share.
CREATE FUNCTION gdpr.assert_recipient(name text, role text, contract text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'a recipient needs a name' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF role IS NULL OR role NOT IN ('recipient', 'processor', 'controller') THEN
        RAISE EXCEPTION 'role is "%"', role
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''recipient'', ''processor'' or ''controller''.';
    END IF;
    IF role = 'processor' AND coalesce(contract, '') = '' THEN
        RAISE EXCEPTION 'processor "%" needs a contract', name
            USING ERRCODE = 'null_value_not_allowed', DETAIL = 'Art. 28(3).', HINT = 'Say where it is: contract => ''…''.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_recipient(text, text, text) IS 'raises an error unless a recipient can have these';
REVOKE ALL ON FUNCTION gdpr.assert_recipient(text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.add_recipient(name text, country text, safeguard text DEFAULT NULL, contract text DEFAULT NULL,
                                   purposes text[] DEFAULT NULL, role text DEFAULT 'recipient', derogation text DEFAULT NULL,
                                   contact text DEFAULT NULL, description text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM gdpr.assert_recipient(name, role, contract);
    IF EXISTS (SELECT FROM gdpr.recipient r WHERE r.name = add_recipient.name AND r.dropped_at IS NULL) THEN
        RAISE EXCEPTION 'recipient "%" exists already', name
            USING ERRCODE = 'duplicate_object', HINT = format('SELECT gdpr.change_recipient(%L, …) changes it.', name);
    END IF;
    INSERT INTO gdpr.recipient (name, role, country, safeguard, derogation, contract, purposes, contact, description)
    VALUES (name, role, country, gdpr.transfer_safeguard(country, safeguard, derogation), derogation, nullif(contract, ''),
            gdpr.purpose_ids(purposes), nullif(contact, ''), nullif(description, ''));
END $$;
COMMENT ON FUNCTION gdpr.add_recipient(text, text, text, text, text[], text, text, text, text) IS
    'registers a recipient of personal data; country: ISO 3166-1 alpha-2; safeguard: for a transfer out of the EEA (Art. 44 to 49); role: recipient, processor (which needs a contract, Art. 28) or controller; derogation: letter in Art. 49(1)';
REVOKE ALL ON FUNCTION gdpr.add_recipient(text, text, text, text, text[], text, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.find_recipient(name text) RETURNS gdpr.recipient
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result gdpr.recipient;
BEGIN
    SELECT * INTO result FROM gdpr.recipient r WHERE r.name = find_recipient.name AND r.dropped_at IS NULL FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'recipient "%" does not exist', name
            USING ERRCODE = 'undefined_object', HINT = 'TABLE gdpr.recipients shows them; SELECT gdpr.add_recipient(…) registers one.';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.find_recipient(text) IS 'a recipient that was not dropped, locked against that; an error if there is none';
REVOKE ALL ON FUNCTION gdpr.find_recipient(text) FROM PUBLIC;

CREATE FUNCTION gdpr.change_recipient(name text, country text DEFAULT NULL, safeguard text DEFAULT NULL, contract text DEFAULT NULL,
                                      purposes text[] DEFAULT NULL, role text DEFAULT NULL, derogation text DEFAULT NULL,
                                      contact text DEFAULT NULL, description text DEFAULT NULL, new_name text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed gdpr.recipient := gdpr.find_recipient(name);
BEGIN
    changed.name := coalesce(new_name, changed.name);
    changed.role := coalesce(role, changed.role);
    changed.contract := nullif(coalesce(contract, changed.contract), '');
    changed.contact := nullif(coalesce(contact, changed.contact), '');
    changed.description := nullif(coalesce(description, changed.description), '');
    PERFORM gdpr.assert_recipient(changed.name, changed.role, changed.contract);
    IF changed.name <> name AND EXISTS (SELECT FROM gdpr.recipient r WHERE r.name = changed.name AND r.dropped_at IS NULL) THEN
        RAISE EXCEPTION 'recipient "%" exists already', changed.name USING ERRCODE = 'duplicate_object';
    END IF;
    IF country IS NOT NULL OR safeguard IS NOT NULL OR derogation IS NOT NULL THEN
        -- another country needs a safeguard of its own
        changed.safeguard := coalesce(safeguard, CASE WHEN country IS NULL OR country = changed.country THEN changed.safeguard END);
        changed.derogation := CASE WHEN changed.safeguard = 'derogation' THEN coalesce(derogation, changed.derogation) ELSE derogation END;
        changed.country := coalesce(country, changed.country);
        changed.safeguard := gdpr.transfer_safeguard(changed.country, changed.safeguard, changed.derogation);
    END IF;
    IF purposes IS NOT NULL THEN
        changed.purposes := gdpr.purpose_ids(purposes);
    END IF;
    UPDATE gdpr.recipient r
    SET (name, role, country, safeguard, derogation, contract, purposes, contact, description)
        = (changed.name, changed.role, changed.country, changed.safeguard, changed.derogation, changed.contract, changed.purposes,
           changed.contact, changed.description)
    WHERE r.id = changed.id;
END $$;
COMMENT ON FUNCTION gdpr.change_recipient(text, text, text, text, text[], text, text, text, text, text) IS
    'changes what is given of a recipient; '''' takes contract, contact or description away; a new country needs its safeguard said. What was disclosed keeps the country and safeguard of then';
REVOKE ALL ON FUNCTION gdpr.change_recipient(text, text, text, text, text[], text, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.drop_recipient(name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped integer;
BEGIN
    -- waits for disclosures to it that are not committed
    SELECT r.id INTO dropped FROM gdpr.recipient r WHERE r.name = drop_recipient.name AND r.dropped_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'recipient "%" does not exist', name
            USING ERRCODE = 'undefined_object', HINT = 'TABLE gdpr.recipients shows them.';
    END IF;
    IF EXISTS (SELECT FROM gdpr.disclosure d WHERE d.recipient = dropped) THEN
        UPDATE gdpr.recipient r SET dropped_at = now() WHERE r.id = dropped;
    ELSE
        DELETE FROM gdpr.recipient r WHERE r.id = dropped;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.drop_recipient(text) IS
    'ends a recipient: nothing is disclosed to it any more. If something was, it stays in the register, and goes on being told';
REVOKE ALL ON FUNCTION gdpr.drop_recipient(text) FROM PUBLIC;
