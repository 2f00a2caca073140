-- Provenance: when, by whom, through what and from where each person was entered.
--
-- Written by the library before a transaction commits, past the executor: a row
-- for numbers that follow each other.  Ranges do not overlap; no constraint says
-- so, because a violation would make somebody's transaction fail.

CREATE TABLE gdpr.provenance (
    first_subject bigint NOT NULL,
    last_subject bigint NOT NULL,
    entered_at timestamptz NOT NULL,
    how text NOT NULL CHECK (how IN ('entered', 'protected', 'separated')),
    role text NOT NULL,
    session_role text NOT NULL,
    actor text,
    application text,
    client inet,
    source text
);
CREATE INDEX provenance_first_subject ON gdpr.provenance (first_subject);
REVOKE ALL ON gdpr.provenance FROM PUBLIC;
COMMENT ON TABLE gdpr.provenance IS
    'who entered which persons, when, through what and from where: subject numbers in ranges, within which nobody may have some';
COMMENT ON COLUMN gdpr.provenance.first_subject IS 'The first of subject numbers that follow each other.';
COMMENT ON COLUMN gdpr.provenance.last_subject IS 'The last of them.';
COMMENT ON COLUMN gdpr.provenance.entered_at IS 'Start of the transaction that gave the numbers.';
COMMENT ON COLUMN gdpr.provenance.how IS
    'entered: with a new row; protected: the row was there, and was sealed then; separated: the row had been another person''s.';
COMMENT ON COLUMN gdpr.provenance.role IS 'The role, as SET ROLE had it, that the session worked as.';
COMMENT ON COLUMN gdpr.provenance.session_role IS 'The role that the session belonged to: SESSION_USER.';
COMMENT ON COLUMN gdpr.provenance.actor IS 'gdpr.actor then.';
COMMENT ON COLUMN gdpr.provenance.application IS 'application_name then.';
COMMENT ON COLUMN gdpr.provenance.client IS 'Address of the client; NULL over a Unix socket.';
COMMENT ON COLUMN gdpr.provenance.source IS 'gdpr.source then.';
SELECT pg_catalog.pg_extension_config_dump('gdpr.provenance', '');

CREATE FUNCTION gdpr.provenance_of(subject bigint, OUT entered_at timestamptz, OUT how text, OUT role text, OUT session_role text,
                                   OUT actor text, OUT application text, OUT client inet, OUT source text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF subject IS NULL THEN
        RAISE EXCEPTION 'subject is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN QUERY
    SELECT p.entered_at, p.how, p.role, p.session_role, p.actor, p.application, p.client, p.source
    -- a person's own numbers, of which it has several if it was merged
    FROM unnest(gdpr.numbers_of(subject)) n CROSS JOIN gdpr.provenance p
    WHERE NOT EXISTS (SELECT FROM gdpr.subject_alias a WHERE a.number = n AND a.category IS NOT NULL)
      AND p.first_subject = (SELECT max(f.first_subject) FROM gdpr.provenance f WHERE f.first_subject <= n)
      AND p.last_subject >= n
    ORDER BY p.entered_at;
END $$;
COMMENT ON FUNCTION gdpr.provenance_of(bigint) IS
    'when, by whom, through which application and from which source a person was entered, or protected; a row for each of its numbers if it was merged, none where it is not known';
REVOKE ALL ON FUNCTION gdpr.provenance_of(bigint) FROM PUBLIC;
