-- Evidence that a hold keeps: the notes of consents, of restrictions and objections, and of disclosures.

CREATE FUNCTION gdpr.ledgers() RETURNS SETOF regclass
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT unnest(ARRAY['gdpr.consent_event', 'gdpr.flag_event', 'gdpr.disclosure']::regclass[])
$$;
COMMENT ON FUNCTION gdpr.ledgers() IS 'our own records that are only ever added to, with notes under the persons'' keys: what a hold can keep besides declared tables';
REVOKE ALL ON FUNCTION gdpr.ledgers() FROM PUBLIC;

CREATE FUNCTION gdpr.hold_notes(hold gdpr.hold, numbers bigint[], OUT number bigint, OUT relation regclass, OUT rows bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held bigint := gdpr.hold_number(hold);
BEGIN
    FOR relation IN SELECT l FROM gdpr.ledgers() l WHERE hold.relations IS NULL OR l = ANY (hold.relations) LOOP
        RETURN QUERY EXECUTE format(
            'WITH noted AS (
                SELECT e.subject, e.id, %1$s AS kind, n.note FROM %2$s e CROSS JOIN LATERAL gdpr.open_event(%1$s, e.id, e.details) n(note)
                WHERE e.subject = ANY ($1) AND n.note IS NOT NULL
            ), kept AS (
                INSERT INTO gdpr.held_note (event, hold, note) SELECT n.id, $2, gdpr.seal_note($3, n.kind, n.id, n.note) FROM noted n
                ON CONFLICT DO NOTHING RETURNING event)
            SELECT n.subject, $4, count(*) FROM noted n JOIN kept k ON k.event = n.id GROUP BY 1',
            CASE relation WHEN 'gdpr.consent_event'::regclass THEN '''consent''' WHEN 'gdpr.disclosure'::regclass THEN '''disclosure''' ELSE 'e.kind' END,
            relation) USING numbers, hold.id, held, relation;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.hold_notes(gdpr.hold, bigint[]) IS
    'seals the notes of persons once more, as far as a hold keeps them, under its number; returns how many of whom in which ledger; for forget';
REVOKE ALL ON FUNCTION gdpr.hold_notes(gdpr.hold, bigint[]) FROM PUBLIC;
