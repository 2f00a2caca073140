-- Asking new persons for consent: only those who came themselves, which their source tells.

CREATE FUNCTION gdpr.has_rows(subject bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    top regclass;
BEGIN
    FOR top IN SELECT r.relation FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
               WHERE t.protected AND r.is_top ORDER BY t.id LOOP
        IF EXISTS (SELECT FROM gdpr.run_as_owner(top, format('SELECT 1 FROM %s WHERE gdpr.subject_number(gdpr_sealed) = $1 LIMIT 1', top), subject)) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.has_rows(bigint) IS 'whether a person has rows in protected tables';
REVOKE ALL ON FUNCTION gdpr.has_rows(bigint) FROM PUBLIC;

-- Called before the transaction commits that entered the persons; a number may have been drawn for a row that did not come.
CREATE FUNCTION gdpr.ask_new_persons(first_subject bigint, last_subject bigint, source text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    purpose gdpr.purpose;
    person bigint;
    result bigint := 0;
BEGIN
    FOR purpose IN SELECT p.* FROM gdpr.purpose p WHERE ask_new_persons.source = ANY (p.ask_sources) ORDER BY p.id LOOP
        FOR person IN first_subject .. last_subject LOOP
            -- who decided already, in the same form, is not asked again
            IF NOT EXISTS (SELECT FROM gdpr.consent_event e WHERE e.subject = person AND e.purpose_id = purpose.id) AND gdpr.has_rows(person) THEN
                PERFORM gdpr.put_outbox('consent_request', person, jsonb_build_object('purpose', purpose.name, 'source', source));
                result := result + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.ask_new_persons(bigint, bigint, text) IS
    'puts a message into the outbox for each new person and each purpose that asks those from this source, unless it has decided; returns how many';
REVOKE ALL ON FUNCTION gdpr.ask_new_persons(bigint, bigint, text) FROM PUBLIC;
