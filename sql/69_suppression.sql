-- Suppression lists: e-mail addresses and phone numbers of persons who do not want to be addressed for a purpose again,
-- also after they were forgotten. Hashes alone, under a key of the list's own: without the keystore nobody can tell whose.

CREATE TABLE gdpr.suppression_list (
    purpose_id integer PRIMARY KEY,
    number bigint NOT NULL
);
COMMENT ON TABLE gdpr.suppression_list IS 'the number under which the key of each purpose''s list is kept';
CREATE TABLE gdpr.suppression (
    purpose_id integer NOT NULL,
    hash bytea NOT NULL,
    until date NOT NULL,
    PRIMARY KEY (purpose_id, hash)
);
COMMENT ON TABLE gdpr.suppression IS 'identifiers that are not to be addressed for a purpose, as keyed hashes; no person''s number, and no date of entry';
COMMENT ON COLUMN gdpr.suppression.until IS 'the last day on which it counts';
REVOKE ALL ON gdpr.suppression_list, gdpr.suppression FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.suppression_list', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.suppression', '');

CREATE FUNCTION gdpr.keyed_hash(number bigint, value bytea) RETURNS bytea
    LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_keyed_hash';
COMMENT ON FUNCTION gdpr.keyed_hash(bigint, bytea) IS 'HMAC-SHA-256 under the key of a number; NULL if that was destroyed';
REVOKE ALL ON FUNCTION gdpr.keyed_hash(bigint, bytea) FROM PUBLIC;

-- NULL: it is neither an e-mail address nor a phone number.
CREATE FUNCTION gdpr.normal_identifier(identifier text) RETURNS bytea
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result text := CASE WHEN getdatabaseencoding() = 'UTF8' THEN normalize(identifier, NFC) ELSE identifier END;
BEGIN
    IF strpos(result, '@') > 0 THEN
        result := lower(btrim(result, E' \t\r\n'));
        RETURN CASE WHEN result ~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN convert_to(result, 'UTF8') END;
    END IF;
    result := regexp_replace(regexp_replace(result, '\(0\)|[-[:space:]().·/]', '', 'g'), '^00', '+');
    RETURN CASE WHEN result ~ '^\+?[0-9]{6,15}$' THEN convert_to(result, 'UTF8') END;
END $$;
COMMENT ON FUNCTION gdpr.normal_identifier(text) IS 'an e-mail address or phone number in one way of writing, in UTF-8; NULL for anything else';
REVOKE ALL ON FUNCTION gdpr.normal_identifier(text) FROM PUBLIC;

CREATE FUNCTION gdpr.suppression_purpose(purpose text) RETURNS integer
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result integer := (SELECT p.id FROM gdpr.purpose p WHERE p.name = purpose);
BEGIN
    IF result IS NULL THEN
        RAISE EXCEPTION 'purpose "%" does not exist', purpose USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.suppression_purpose(text) IS 'the id of a purpose, which must exist';
REVOKE ALL ON FUNCTION gdpr.suppression_purpose(text) FROM PUBLIC;

CREATE FUNCTION gdpr.suppress(identifier text, purpose text, keep interval DEFAULT '5 years') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list gdpr.suppression_list;
    normal bytea := gdpr.normal_identifier(identifier);
BEGIN
    IF normal IS NULL THEN
        RAISE EXCEPTION 'identifier is neither an e-mail address nor a phone number'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Nothing else is kept in a suppression list.';
    END IF;
    PERFORM gdpr.assert_period(keep, 'keep');
    list.purpose_id := gdpr.suppression_purpose(purpose);
    SELECT * INTO list FROM gdpr.suppression_list l WHERE l.purpose_id = list.purpose_id FOR KEY SHARE;
    IF NOT FOUND THEN
        INSERT INTO gdpr.suppression_list AS l (purpose_id, number) VALUES (gdpr.suppression_purpose(purpose), gdpr.new_number())
        ON CONFLICT ON CONSTRAINT suppression_list_pkey DO UPDATE SET number = l.number RETURNING l.* INTO list;
    END IF;
    INSERT INTO gdpr.suppression AS s (purpose_id, hash, until)
    VALUES (list.purpose_id, gdpr.keyed_hash(list.number, normal), (now() + keep)::date)
    ON CONFLICT ON CONSTRAINT suppression_pkey DO UPDATE SET until = greatest(s.until, excluded.until);
END $$;
COMMENT ON FUNCTION gdpr.suppress(text, text, interval) IS
    'puts an e-mail address or phone number on the suppression list of a purpose, as a keyed hash; keep: for how long from now';
REVOKE ALL ON FUNCTION gdpr.suppress(text, text, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.is_suppressed(identifier text, purpose text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list integer := gdpr.suppression_purpose(purpose);
    normal bytea := gdpr.normal_identifier(identifier);
BEGIN
    IF identifier IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN normal IS NOT NULL AND EXISTS (
        SELECT FROM gdpr.suppression_list l JOIN gdpr.suppression s
            ON s.purpose_id = l.purpose_id AND s.hash = gdpr.keyed_hash(l.number, normal)
        WHERE l.purpose_id = list AND s.until >= current_date);
END $$;
COMMENT ON FUNCTION gdpr.is_suppressed(text, text) IS
    'whether an e-mail address or phone number is on the suppression list of a purpose; NULL for NULL, false for what is neither';
REVOKE ALL ON FUNCTION gdpr.is_suppressed(text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.unsuppress(identifier text, purpose text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list integer := gdpr.suppression_purpose(purpose);
BEGIN
    DELETE FROM gdpr.suppression s USING gdpr.suppression_list l
    WHERE l.purpose_id = list AND s.purpose_id = list AND s.hash = gdpr.keyed_hash(l.number, gdpr.normal_identifier(identifier));
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION gdpr.unsuppress(text, text) IS 'takes an identifier from the suppression list of a purpose, when its person wants so; false if it was not there';
REVOKE ALL ON FUNCTION gdpr.unsuppress(text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.expire_suppressions() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result bigint;
BEGIN
    DELETE FROM gdpr.suppression s WHERE s.until < current_date;
    GET DIAGNOSTICS result = ROW_COUNT;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.expire_suppressions() IS 'deletes entries of suppression lists that do not count any more; returns how many';
REVOKE ALL ON FUNCTION gdpr.expire_suppressions() FROM PUBLIC;

CREATE FUNCTION gdpr.drop_suppressions(purpose text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list gdpr.suppression_list;
    result bigint;
BEGIN
    DELETE FROM gdpr.suppression_list l WHERE l.purpose_id = gdpr.suppression_purpose(purpose) RETURNING * INTO list;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    DELETE FROM gdpr.suppression s WHERE s.purpose_id = list.purpose_id;
    GET DIAGNOSTICS result = ROW_COUNT;
    PERFORM gdpr.puncture_at_commit(list.number);
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.drop_suppressions(text) IS
    'ends the suppression list of a purpose and destroys its key: what stands in backups tells nothing any more; returns how many entries it had';
REVOKE ALL ON FUNCTION gdpr.drop_suppressions(text) FROM PUBLIC;
