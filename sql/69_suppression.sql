-- Suppression lists: e-mail addresses and phone numbers of persons who do not want to be addressed for a purpose again,
-- also after they were forgotten. Hashes alone, under a key of the list's own: without the keystore nobody can tell whose.

CREATE TABLE gdpr.suppression_list (
    purpose_id integer PRIMARY KEY,
    number bigint NOT NULL,
    on_forget interval
);
COMMENT ON TABLE gdpr.suppression_list IS 'the number under which the key of each purpose''s list is kept';
COMMENT ON COLUMN gdpr.suppression_list.on_forget IS 'for how long forget puts persons on it; NULL: it does not';
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

CREATE FUNCTION gdpr.find_suppression_list(purpose text) RETURNS gdpr.suppression_list
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted CONSTANT integer := gdpr.suppression_purpose(purpose);
    result gdpr.suppression_list;
BEGIN
    SELECT * INTO result FROM gdpr.suppression_list l WHERE l.purpose_id = wanted FOR KEY SHARE;
    IF NOT FOUND THEN
        INSERT INTO gdpr.suppression_list AS l (purpose_id, number) VALUES (wanted, gdpr.new_number())
        ON CONFLICT ON CONSTRAINT suppression_list_pkey DO UPDATE SET number = l.number RETURNING l.* INTO result;
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.find_suppression_list(text) IS 'the suppression list of a purpose, which begins if there is none; locked, so that it does not end';
REVOKE ALL ON FUNCTION gdpr.find_suppression_list(text) FROM PUBLIC;

CREATE FUNCTION gdpr.add_suppression(purpose_id integer, number bigint, normal bytea, keep interval) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.suppression AS s (purpose_id, hash, until)
    VALUES (add_suppression.purpose_id, gdpr.keyed_hash(number, normal), (now() + keep)::date)
    ON CONFLICT ON CONSTRAINT suppression_pkey DO UPDATE SET until = greatest(s.until, excluded.until)
$$;
COMMENT ON FUNCTION gdpr.add_suppression(integer, bigint, bytea, interval) IS 'puts a normal identifier on the suppression list of a purpose, which has this number; the longer time counts';
REVOKE ALL ON FUNCTION gdpr.add_suppression(integer, bigint, bytea, interval) FROM PUBLIC;

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
    list := gdpr.find_suppression_list(purpose);
    PERFORM gdpr.add_suppression(list.purpose_id, list.number, normal, keep);
END $$;
COMMENT ON FUNCTION gdpr.suppress(text, text, interval) IS
    'puts an e-mail address or phone number on the suppression list of a purpose, as a keyed hash; keep: for how long from now';
REVOKE ALL ON FUNCTION gdpr.suppress(text, text, interval) FROM PUBLIC;

-- Filled by forget ---------------------------------------------------------------------------------

-- What is shown as an e-mail address or a phone number, is one.
CREATE FUNCTION gdpr.identifying_columns(OUT relation regclass, OUT columns name[], OUT has_others boolean) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.relation, array_agg(c.name ORDER BY c.id), bool_or(c.via <> 0)
    FROM gdpr.mapped_column c JOIN gdpr.mapped_table t ON t.id = c.table_id JOIN gdpr.mapped_relation r ON r.table_id = t.id AND r.is_top
    WHERE t.protected AND c.mask IN ('email', 'phone') GROUP BY r.relation ORDER BY r.relation::oid
$$;
COMMENT ON FUNCTION gdpr.identifying_columns() IS 'columns of protected tables with the masks email and phone; has_others: some hold values of others than the row''s person';
REVOKE ALL ON FUNCTION gdpr.identifying_columns() FROM PUBLIC;

CREATE FUNCTION gdpr.create_suppression_list(purpose text, on_forget boolean DEFAULT false, keep interval DEFAULT '5 years') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list gdpr.suppression_list;
BEGIN
    IF on_forget IS NULL THEN
        RAISE EXCEPTION 'on_forget is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM gdpr.assert_period(keep, 'keep');
    list := gdpr.find_suppression_list(purpose);
    UPDATE gdpr.suppression_list l SET on_forget = CASE WHEN create_suppression_list.on_forget THEN keep END WHERE l.purpose_id = list.purpose_id;
    IF on_forget AND NOT EXISTS (SELECT FROM gdpr.identifying_columns()) THEN
        RAISE WARNING 'no protected table has a column with mask "email" or "phone": forget will put nobody on the list'
            USING HINT = 'SELECT gdpr.set_mask(''schema.table'', ''column'', ''email'').';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.create_suppression_list(text, boolean, interval) IS
    'begins the suppression list of a purpose, or changes it; on_forget: whoever is forgotten is put on it, with the values of columns whose mask is email or phone, for so long (keep)';
REVOKE ALL ON FUNCTION gdpr.create_suppression_list(text, boolean, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.suppress_forgotten(persons bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    list gdpr.suppression_list;
    normal bytea;
    numbers CONSTANT bigint[] := ARRAY(SELECT DISTINCT n FROM unnest(persons) p, unnest(gdpr.numbers_of(p)) n);
BEGIN
    IF NOT EXISTS (SELECT FROM gdpr.suppression_list l WHERE l.on_forget IS NOT NULL) OR persons = '{}' THEN
        RETURN;
    END IF;
    FOR item IN SELECT * FROM gdpr.identifying_columns() LOOP
        FOR normal IN
            SELECT DISTINCT gdpr.normal_identifier(c.value)
            FROM json_array_elements(gdpr.export_rows(item.relation, item.columns, numbers, false,
                     CASE WHEN item.has_others THEN 'gdpr.subject_numbers(x.gdpr_sealed) && $1' ELSE 'gdpr.subject_number(x.gdpr_sealed) = ANY ($1)' END,
                     false)) r
            CROSS JOIN LATERAL json_each_text(r) c
            WHERE gdpr.normal_identifier(c.value) IS NOT NULL
        LOOP
            FOR list IN SELECT l.* FROM gdpr.suppression_list l WHERE l.on_forget IS NOT NULL ORDER BY l.purpose_id FOR KEY SHARE LOOP
                PERFORM gdpr.add_suppression(list.purpose_id, list.number, normal, list.on_forget);
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.suppress_forgotten(bigint[]) IS
    'puts persons on the suppression lists that are to have those who are forgotten, while their values can be read; for forget';
REVOKE ALL ON FUNCTION gdpr.suppress_forgotten(bigint[]) FROM PUBLIC;

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
