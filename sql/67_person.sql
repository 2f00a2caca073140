-- What holds for one person, purpose by purpose.

CREATE FUNCTION gdpr.purposes_of(subject bigint, OUT purpose text, OUT legal_basis text, OUT standing text, OUT since timestamptz, OUT source text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint := gdpr.assert_subject(subject);
BEGIN
    RETURN QUERY
    SELECT p.name, CASE WHEN e.id IS NULL THEN coalesce(p.default_basis, p.legal_basis) ELSE p.legal_basis END,
           gdpr.standing(person, p.name), coalesce(e.occurred_at, o.entered_at), CASE WHEN e.id IS NULL THEN o.source ELSE e.source END
    FROM gdpr.purpose p
    -- the latest that the person decided, or else how it was entered
    LEFT JOIN LATERAL (
        SELECT c.id, c.occurred_at, c.source FROM gdpr.consent_event c
        WHERE c.subject = ANY (gdpr.numbers_of(person)) AND c.purpose_id = p.id AND c.status <> 'requested'
        ORDER BY c.occurred_at DESC, c.recorded_at DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (SELECT v.entered_at, v.source FROM gdpr.provenance_of(person) v ORDER BY v.entered_at LIMIT 1) o ON true
    ORDER BY p.name;
END $$;
COMMENT ON FUNCTION gdpr.purposes_of(bigint) IS
    'of each purpose, on which legal basis a person''s data may be used, whether it is permitted now (standing), since when and from which source: that of its latest decision, or else of how it was entered';
REVOKE ALL ON FUNCTION gdpr.purposes_of(bigint) FROM PUBLIC;
