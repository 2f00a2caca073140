-- Certificates of erasure, which others can verify.

CREATE FUNCTION gdpr.sign(document text) RETURNS text
    LANGUAGE c VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_sign';
COMMENT ON FUNCTION gdpr.sign(text) IS 'the signature of a document and a line feed, in base64, as gdpr.sign_command makes it';
REVOKE ALL ON FUNCTION gdpr.sign(text) FROM PUBLIC;

CREATE FUNCTION gdpr.key_is_lost(number bigint, category smallint) RETURNS boolean
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_key_is_lost';
COMMENT ON FUNCTION gdpr.key_is_lost(bigint, smallint) IS 'whether the keystore serves no key of a number, or of one category of it (NULL: all)';
REVOKE ALL ON FUNCTION gdpr.key_is_lost(bigint, smallint) FROM PUBLIC;

-- Servers that replay this one's log, connected or known by their slots; those that are behind are waited for.
CREATE FUNCTION gdpr.standbys(patience interval DEFAULT '5 seconds', OUT name text, OUT has_replayed boolean, OUT heard_at timestamptz) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here pg_lsn := pg_current_wal_flush_lsn(); -- a commit that destroys keys is flushed
    started timestamptz := clock_timestamp();
BEGIN
    WHILE clock_timestamp() < started + patience AND EXISTS (
        SELECT FROM pg_stat_get_wal_senders() s WHERE s.state IN ('streaming', 'catchup') AND s.replay_lsn < here)
    LOOP
        PERFORM pg_sleep(0.05);
    END LOOP;
    RETURN QUERY
    SELECT coalesce(s.slot_name::text, nullif(a.application_name, ''), 'pid ' || w.pid), coalesce(w.replay_lsn >= here, false),
           coalesce(w.reply_time, s.inactive_since)
    FROM pg_stat_get_wal_senders() w
    JOIN pg_stat_get_activity(NULL) a ON a.pid = w.pid
    -- PostgreSQL 17 and later know since when a slot is not used
    FULL JOIN (SELECT p.slot_name, p.active_pid, (to_jsonb(p) ->> 'inactive_since')::timestamptz AS inactive_since FROM pg_get_replication_slots() p WHERE p.slot_type = 'physical' AND p.slot_name <> 'gdpr_audit') s
           ON s.active_pid = w.pid
    WHERE w.pid IS NULL OR (w.replay_lsn IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_get_replication_slots() l WHERE l.active_pid = w.pid AND l.slot_type = 'logical'))
    ORDER BY 1;
END $$;
COMMENT ON FUNCTION gdpr.standbys(interval) IS
    'standbys that are connected or have a slot, and whether they have replayed all that was in the log on disk, and when one was last heard of; one that is behind is waited for as long as patience says';
REVOKE ALL ON FUNCTION gdpr.standbys(interval) FROM PUBLIC;

CREATE FUNCTION gdpr.erasure_certificate(erasure uuid, identifier text DEFAULT NULL, sign boolean DEFAULT true,
                                         OUT certificate text, OUT signature text, OUT secret text)
    RETURNS record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased gdpr.erasure;
    keystore record;
    proof text;
BEGIN
    IF erasure IS NULL OR sign IS NULL THEN
        RAISE EXCEPTION 'erasure or sign is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT * INTO erased FROM gdpr.erasure e WHERE e.id = erasure;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no erasure %', erasure
            USING ERRCODE = 'no_data_found', HINT = 'gdpr.forget() returned its id; SELECT * FROM gdpr.erasure shows those that there were.';
    END IF;
    SELECT s.* INTO keystore FROM gdpr.keystore_status() s;
    IF keystore.problem IS NOT NULL OR erased.erased_at = now() -- of this transaction
       OR NOT gdpr.key_is_lost(erased.subject, erased.category)
       OR EXISTS (SELECT FROM gdpr.tombstone t WHERE t.erasure = erased.id AND NOT gdpr.key_is_lost(t.number, t.category)) THEN
        RAISE EXCEPTION 'erasure % has not been carried out', erasure
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = coalesce(keystore.problem, 'The keystore has the key.'),
                  HINT = 'Its keys are destroyed when its transaction commits; SELECT problem FROM gdpr.keystore_status() tells of anything else.';
    END IF;
    IF identifier IS NOT NULL THEN
        secret := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
        proof := encode(sha256(convert_to('gdpr-cert' || secret || identifier, 'UTF8')), 'hex');
    END IF;
    certificate := jsonb_build_object(
        'type', 'gdpr erasure certificate', 'version', 1,
        'erasure', erased.id, 'issued_at', now(), 'keystore', keystore.id,
        'statement', 'The key was destroyed under which these data were sealed. What was sealed under it, in this database and in every backup of it, cannot be read any more.',
        'category', (SELECT c.name FROM gdpr.category c WHERE c.id = erased.category),
        'relations', erased.relations,
        'live_system', jsonb_build_object('erased_at', erased.erased_at, 'key_destroyed', true),
        'standbys', (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'has_replayed', s.has_replayed, 'heard_at', s.heard_at)), '[]') FROM gdpr.standbys() s),
        'copies_of_the_keystore', jsonb_build_object(
            'key_encryption_key_then', erased.kek_version, 'key_encryption_key_now', keystore.kek_version,
            'useless', coalesce(keystore.kek_version > erased.kek_version, false),
            'useless_since', CASE WHEN keystore.kek_version > erased.kek_version THEN keystore.kek_made_at END),
        'tokens_in_backups', jsonb_build_object(
            'epoch_then', erased.token_epoch, 'epoch_now', keystore.token_epoch,
            'destroyed_at', (SELECT min(t.forgotten_at) FROM gdpr.tombstone t WHERE t.number = erased.token_epoch AND t.category IS NULL)),
        'person', proof);
    IF sign THEN
        signature := gdpr.sign(certificate);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.erasure_certificate(uuid, text, boolean) IS
    'what an erasure has destroyed, as JSON, and its signature by gdpr.sign_command; identifier: whatever the person calls itself, such as an e-mail address: the certificate has SHA-256("gdpr-cert" || secret || identifier), and the secret is for the person alone';
REVOKE ALL ON FUNCTION gdpr.erasure_certificate(uuid, text, boolean) FROM PUBLIC;
