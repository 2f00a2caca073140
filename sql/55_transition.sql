-- Converting tables in committed batches, while others use them: protect, unprotect, rotate_tokens.
--
-- Each procedure calls its step, a transaction each, until there is nothing
-- left to do.  The state is in gdpr.mapped_table and gdpr.conversion, so that
-- after a crash the same call goes on.

CREATE VIEW gdpr.conversions AS
SELECT t.relation,
       CASE WHEN t.form = 0 THEN 'unprotect' WHEN t.other_form = 0 THEN 'protect' ELSE 'rotate tokens' END AS what,
       c.started_at, coalesce(c.phase, 'rows') AS phase, coalesce(c.pass, 1) AS pass, coalesce(c.rows_done, 0) AS rows_done,
       coalesce(c.rows_estimated, 0) AS rows_estimated, c.changed_at,
       (SELECT l.pid FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 4 AND l.granted
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
          AND l.classid = ANY (ARRAY[t.relation::oid, 0]) LIMIT 1) AS pid
FROM gdpr.mapped_table t LEFT JOIN gdpr.conversion c ON c.table_id = t.id
WHERE t.protected AND t.other_form IS NOT NULL
ORDER BY t.id;
REVOKE ALL ON gdpr.conversions FROM PUBLIC;
GRANT SELECT ON gdpr.conversions TO pg_monitor;
COMMENT ON VIEW gdpr.conversions IS
    'tables that protect, unprotect or rotate_tokens is converting; pid: the process that does it, NULL if it was interrupted: then repeat the call';

CREATE FUNCTION gdpr.convert_batch(relation regclass, block bigint, batch bigint, exclusive boolean,
                                   OUT next_block bigint, OUT converted bigint, OUT skipped bigint)
    RETURNS record LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_convert_batch';
COMMENT ON FUNCTION gdpr.convert_batch(regclass, bigint, bigint, boolean) IS
    'converts about so many rows from a block on; those that others have locked are skipped, unless nobody else can write';
CREATE FUNCTION gdpr.reseal_batch(relation regclass, block bigint, batch bigint, kept bigint[],
                                  OUT next_block bigint, OUT resealed bigint, OUT skipped bigint)
    RETURNS record LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_reseal_batch';
COMMENT ON FUNCTION gdpr.reseal_batch(regclass, bigint, bigint, bigint[]) IS
    'seals rows anew whose month of expiry should be another, from a block on; of kept, sorted numbers of persons, it is none; those that others have locked are skipped; for run_retention';
CREATE FUNCTION gdpr.seal_rows(relation regclass, "rows" tid[], row_key bytea)
    RETURNS bigint LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_seal_rows';
COMMENT ON FUNCTION gdpr.seal_rows(regclass, tid[], bytea) IS 'seals rows of a table that is being converted; for forget';
CREATE FUNCTION gdpr.can_be_live(relation regclass) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_can_be_live';
COMMENT ON FUNCTION gdpr.can_be_live(regclass) IS
    'whether a table can be converted in batches: not if a UNIQUE constraint on a searchable column is deferrable or over a generated column';
CREATE FUNCTION gdpr.lock_conversion(relation oid, keep boolean) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_lock_conversion';
COMMENT ON FUNCTION gdpr.lock_conversion(oid, boolean) IS
    'whether this session may convert a table (0: rotate tokens, 1: run retention): one at a time; keep: after the transaction, until unlock_conversion';
CREATE FUNCTION gdpr.unlock_conversion() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_unlock_conversion';
COMMENT ON FUNCTION gdpr.unlock_conversion() IS 'gives up what lock_conversion took';
CREATE FUNCTION gdpr.wait_for_old_snapshots() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_wait_for_old_snapshots';
COMMENT ON FUNCTION gdpr.wait_for_old_snapshots() IS
    'waits for the transactions that may still see rows as they were before the last batch';
CREATE FUNCTION gdpr.token_epoch() RETURNS integer
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_token_epoch';
COMMENT ON FUNCTION gdpr.token_epoch() IS 'the newest token epoch that the keystore knows of';
CREATE FUNCTION gdpr.set_token_epoch(epoch integer) RETURNS void
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_set_token_epoch';
COMMENT ON FUNCTION gdpr.set_token_epoch(integer) IS 'notes a newer token epoch in the keystore';
CREATE FUNCTION gdpr.token_epoch_lives(epoch integer) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_token_epoch_lives';
COMMENT ON FUNCTION gdpr.token_epoch_lives(integer) IS 'whether tokens of an epoch can still be computed';
REVOKE ALL ON FUNCTION gdpr.convert_batch(regclass, bigint, bigint, boolean), gdpr.reseal_batch(regclass, bigint, bigint, bigint[]), gdpr.seal_rows(regclass, tid[], bytea),
    gdpr.can_be_live(regclass), gdpr.lock_conversion(oid, boolean), gdpr.unlock_conversion(), gdpr.wait_for_old_snapshots(),
    gdpr.token_epoch(), gdpr.set_token_epoch(integer), gdpr.token_epoch_lives(integer) FROM PUBLIC;

CREATE FUNCTION gdpr.begin_conversion(mapped gdpr.mapped_table) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.conversion (table_id, rows_estimated)
    SELECT mapped.id, coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
    FROM gdpr.mapped_relation r JOIN pg_class c ON c.oid = r.relation WHERE r.table_id = mapped.id AND r.has_rows
    ON CONFLICT (table_id) DO UPDATE
    SET started_at = now(), phase = 'rows', pass = 1, part = 0, block = 0, rows_in_pass = 0, rows_done = 0,
        rows_estimated = excluded.rows_estimated, changed_at = now()
$$;
COMMENT ON FUNCTION gdpr.begin_conversion(gdpr.mapped_table) IS 'enters a table into gdpr.conversion';
REVOKE ALL ON FUNCTION gdpr.begin_conversion(gdpr.mapped_table) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_batch(batch bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF batch IS NULL OR batch < 1 THEN
        RAISE EXCEPTION 'batch must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_batch(bigint) IS 'raises an error unless it is a number of rows';
REVOKE ALL ON FUNCTION gdpr.assert_batch(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.can_be_live(mapped gdpr.mapped_table) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_and(gdpr.can_be_live(r.relation)), true) FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.has_rows
$$;
COMMENT ON FUNCTION gdpr.can_be_live(gdpr.mapped_table) IS 'whether a table and all its parts can be converted in batches';
REVOKE ALL ON FUNCTION gdpr.can_be_live(gdpr.mapped_table) FROM PUBLIC;

-- Part after part, in the order of their OIDs.  True when no batch is left: what was skipped is for the end.
CREATE FUNCTION gdpr.convert_some(mapped gdpr.mapped_table, batch bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state gdpr.conversion;
    parts oid[] := ARRAY(SELECT r.relation::oid FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.has_rows ORDER BY 1);
    here oid;
    next_part oid;
    result record;
    at_end boolean;
    again boolean;
BEGIN
    SELECT * INTO state FROM gdpr.conversion c WHERE c.table_id = mapped.id;
    IF NOT FOUND THEN           -- as in a restored dump
        PERFORM gdpr.begin_conversion(mapped);
        SELECT * INTO state FROM gdpr.conversion c WHERE c.table_id = mapped.id;
    END IF;
    IF state.phase <> 'rows' THEN
        RETURN true;
    END IF;
    -- the part may be gone meanwhile, or there is none
    here := (SELECT min(p) FROM unnest(parts) p WHERE p >= state.part);
    SELECT * INTO result FROM gdpr.convert_batch(here, CASE WHEN here = state.part THEN state.block ELSE 0 END, batch, false);
    next_part := CASE WHEN result.next_block IS NULL THEN (SELECT min(p) FROM unnest(parts) p WHERE p > here) ELSE here END;
    at_end := next_part IS NULL;
    -- rows that were skipped, or written into space before the block
    again := NOT at_end OR (state.pass < 10 AND state.rows_in_pass + result.converted + result.skipped > batch);
    UPDATE gdpr.conversion c
    SET phase = CASE WHEN again THEN 'rows' ELSE 'last rows' END,
        pass = c.pass + CASE WHEN again AND at_end THEN 1 ELSE 0 END,
        part = coalesce(next_part, 0),
        block = coalesce(result.next_block, 0),
        rows_in_pass = CASE WHEN at_end THEN 0 ELSE c.rows_in_pass + result.converted + result.skipped END,
        rows_done = c.rows_done + coalesce(result.converted, 0), changed_at = clock_timestamp()
    WHERE c.table_id = mapped.id;
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.convert_some(gdpr.mapped_table, bigint) IS 'one batch of a conversion; true if there is none left';
REVOKE ALL ON FUNCTION gdpr.convert_some(gdpr.mapped_table, bigint) FROM PUBLIC;

-- protect and unprotect --------------------------------------------------------------------------

CREATE FUNCTION gdpr.protect_step(relation regclass, batch bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
BEGIN
    PERFORM gdpr.assert_batch(batch);
    mapped := gdpr.mapped_for_change(relation, true);
    IF mapped.protected AND mapped.other_form IS NULL THEN
        RAISE EXCEPTION 'table % is protected already', relation USING ERRCODE = 'GD006';
    END IF;
    IF NOT mapped.protected OR mapped.form = 0 THEN
        PERFORM gdpr.begin_protect(mapped);
        PERFORM gdpr.begin_conversion(mapped);
        IF gdpr.can_be_live(mapped) THEN
            RETURN true;
        END IF;
    ELSIF NOT gdpr.convert_some(mapped, batch) THEN
        RETURN true;
    END IF;
    PERFORM gdpr.finish_protect(mapped);
    PERFORM gdpr.unlock_conversion();
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.protect_step(regclass, bigint) IS 'the next transaction of protect; false if it was the last';
REVOKE ALL ON FUNCTION gdpr.protect_step(regclass, bigint) FROM PUBLIC;

CREATE PROCEDURE gdpr.protect(relation regclass, batch bigint DEFAULT 1000)
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (pg_catalog.has_function_privilege('gdpr.protect_step(regclass, bigint)', 'EXECUTE') AND
            pg_catalog.has_function_privilege('gdpr.rewrite_statistics()', 'EXECUTE')) THEN
        RAISE EXCEPTION 'permission denied for the functions that protect() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.protect_step(regclass, bigint), gdpr.rewrite_statistics() TO %I.', current_user);
    END IF;
    WHILE gdpr.protect_step(relation, batch) LOOP
        COMMIT;
    END LOOP;
    COMMIT;
    -- the values that ANALYZE had sampled
    IF NOT gdpr.rewrite_statistics() THEN
        RAISE WARNING 'removed statistics may still be on disk, because another session may need them'
            USING HINT = 'VACUUM FULL pg_catalog.pg_statistic, pg_catalog.pg_statistic_ext_data when no old transaction runs.';
    END IF;
END $$;
COMMENT ON PROCEDURE gdpr.protect(regclass, bigint) IS
    'seals a declared table in committed batches, while others use it: afterwards no value of a personal column is left in the data directory (older WAL and backups aside). Takes an exclusive lock for a moment at the beginning, and to write the table anew at the end. Interrupted, it goes on when it is called again';
REVOKE ALL ON PROCEDURE gdpr.protect(regclass, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.unprotect_step(relation regclass, batch bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
BEGIN
    PERFORM gdpr.assert_batch(batch);
    mapped := gdpr.mapped_for_change(relation, true);
    IF NOT mapped.protected THEN
        RAISE EXCEPTION 'table % is not protected', relation USING ERRCODE = 'GD006';
    END IF;
    IF mapped.form <> 0 THEN
        -- a part that was detached is opened by itself, at once
        IF mapped.relation = relation AND gdpr.can_be_live(mapped) THEN
            PERFORM gdpr.begin_unprotect(mapped);
            PERFORM gdpr.begin_conversion(mapped);
            RETURN true;
        END IF;
    ELSIF NOT gdpr.convert_some(mapped, batch) THEN
        RETURN true;
    END IF;
    PERFORM gdpr.finish_unprotect(mapped, relation);
    PERFORM gdpr.unlock_conversion();
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.unprotect_step(regclass, bigint) IS 'the next transaction of unprotect; false if it was the last';
REVOKE ALL ON FUNCTION gdpr.unprotect_step(regclass, bigint) FROM PUBLIC;

CREATE PROCEDURE gdpr.unprotect(relation regclass, batch bigint DEFAULT 1000)
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_catalog.has_function_privilege('gdpr.unprotect_step(regclass, bigint)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for the function that unprotect() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.unprotect_step(regclass, bigint) TO %I.', current_user);
    END IF;
    WHILE gdpr.unprotect_step(relation, batch) LOOP
        COMMIT;
    END LOOP;
    COMMIT;
END $$;
COMMENT ON PROCEDURE gdpr.unprotect(regclass, bigint) IS
    'gives a protected table its values, constraints and columns back, in committed batches, while others use it; what was forgotten stays gone. Locks, and goes on after an interruption, as protect does';
REVOKE ALL ON PROCEDURE gdpr.unprotect(regclass, bigint) FROM PUBLIC;

-- Tokens -----------------------------------------------------------------------------------------

-- The next table whose rows do not have tokens of an epoch (alone), as its id; NULL if there is none.
CREATE FUNCTION gdpr.next_to_rotate(epoch integer) RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.id FROM gdpr.mapped_table t
    WHERE t.protected AND t.form > 0 AND t.other_form IS DISTINCT FROM 0 AND (t.form <> epoch OR t.other_form IS NOT NULL)
      AND EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = t.id AND c.searchable)
    ORDER BY t.other_form IS NULL, t.id LIMIT 1
$$;
COMMENT ON FUNCTION gdpr.next_to_rotate(integer) IS 'the next table for rotate_tokens';
REVOKE ALL ON FUNCTION gdpr.next_to_rotate(integer) FROM PUBLIC;

CREATE FUNCTION gdpr.old_epochs(epoch integer) RETURNS SETOF integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e FROM generate_series(1, least(epoch, 65536) - 1) e
    WHERE NOT EXISTS (SELECT FROM gdpr.tombstone s WHERE s.number = e AND s.category IS NULL)
$$;
COMMENT ON FUNCTION gdpr.old_epochs(integer) IS 'token epochs before one whose keys are not destroyed';
REVOKE ALL ON FUNCTION gdpr.old_epochs(integer) FROM PUBLIC;

CREATE FUNCTION gdpr.rotate_table(mapped gdpr.mapped_table, epoch integer, batch bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    phase text;
    old_epoch integer := CASE WHEN mapped.form = epoch THEN mapped.other_form ELSE mapped.form END;
    live boolean := gdpr.token_epoch_lives(old_epoch) AND gdpr.can_be_live(mapped);
BEGIN
    IF mapped.form <> epoch THEN
        PERFORM gdpr.lock_whole(mapped, 'ACCESS EXCLUSIVE');
        UPDATE gdpr.mapped_table SET form = epoch, other_form = old_epoch WHERE id = mapped.id;
        PERFORM gdpr.begin_conversion(mapped);
    END IF;
    IF NOT live THEN
        -- of a dead epoch, UNIQUE cannot be looked after: all at once
        PERFORM gdpr.lock_whole(mapped, 'ACCESS EXCLUSIVE');
        PERFORM gdpr.convert_table(r.relation, epoch) FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.has_rows;
        UPDATE gdpr.mapped_table SET other_form = NULL WHERE id = mapped.id;
        DELETE FROM gdpr.conversion c WHERE c.table_id = mapped.id;
        RETURN;
    END IF;
    IF mapped.form <> epoch OR NOT gdpr.convert_some(mapped, batch) THEN
        RETURN;
    END IF;
    SELECT c.phase INTO phase FROM gdpr.conversion c WHERE c.table_id = mapped.id;
    IF phase = 'last rows' THEN
        PERFORM gdpr.lock_whole(mapped, 'EXCLUSIVE');
        IF EXISTS (SELECT FROM gdpr.mapped_relation r, gdpr.convert_batch(r.relation, 0, 9223372036854775807, true) b
                   WHERE r.table_id = mapped.id AND r.has_rows AND b.skipped > 0) THEN
            RAISE EXCEPTION 'rows of table % could not be converted', mapped.relation
                USING ERRCODE = 'object_in_use', HINT = 'Repeat CALL gdpr.rotate_tokens().';
        END IF;
        UPDATE gdpr.conversion c SET phase = 'old snapshots', changed_at = clock_timestamp() WHERE c.table_id = mapped.id;
    ELSE
        -- whoever still sees rows with old tokens looks for both
        PERFORM gdpr.wait_for_old_snapshots();
        UPDATE gdpr.mapped_table SET other_form = NULL WHERE id = mapped.id;
        DELETE FROM gdpr.conversion c WHERE c.table_id = mapped.id;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.rotate_table(gdpr.mapped_table, integer, bigint) IS 'the next transaction of rotate_tokens in a table';
REVOKE ALL ON FUNCTION gdpr.rotate_table(gdpr.mapped_table, integer, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.rotate_step(batch bigint, INOUT epoch integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    busy regclass;
    old_epoch integer;
BEGIN
    PERFORM gdpr.assert_batch(batch);
    IF NOT gdpr.lock_conversion(0, true) THEN
        RAISE EXCEPTION 'tokens are being rotated by another session'
            USING ERRCODE = 'object_in_use', HINT = 'TABLE gdpr.conversions shows how far it is.';
    END IF;
    IF epoch IS NULL THEN
        SELECT t.relation INTO busy FROM gdpr.mapped_table t WHERE t.protected AND 0 IN (t.form, t.other_form) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'table % is being converted', busy
                USING ERRCODE = 'object_in_use', HINT = 'First let protect() or unprotect() come to its end: see TABLE gdpr.conversions.';
        END IF;
        -- what was begun, or a restored table needs, comes first; then a new epoch
        epoch := gdpr.current_epoch();
        IF gdpr.next_to_rotate(epoch) IS NULL AND NOT EXISTS (SELECT FROM gdpr.old_epochs(epoch)) THEN
            epoch := epoch + 1;
        END IF;
        PERFORM gdpr.set_token_epoch(epoch);
        RETURN;
    END IF;
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.id = gdpr.next_to_rotate(epoch) FOR UPDATE;
    IF FOUND THEN
        PERFORM gdpr.rotate_table(mapped, epoch, batch);
        RETURN;
    END IF;
    SELECT t.relation INTO busy FROM gdpr.mapped_table t WHERE t.protected AND t.form = 0 AND t.other_form <> rotate_step.epoch LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table %, which is being unprotected, has tokens that would die', busy
            USING ERRCODE = 'object_in_use', HINT = 'Repeat rotate_tokens() when unprotect() has come to its end: see TABLE gdpr.conversions.';
    END IF;
    FOR old_epoch IN SELECT * FROM gdpr.old_epochs(epoch) LOOP
        PERFORM gdpr.puncture_at_commit(old_epoch);
    END LOOP;
    UPDATE gdpr.mapped_table t SET form = rotate_step.epoch
    WHERE t.protected AND t.form <> rotate_step.epoch AND t.form > 0 AND t.other_form IS NULL;
    PERFORM gdpr.unlock_conversion();
    epoch := NULL;
END $$;
COMMENT ON FUNCTION gdpr.rotate_step(bigint, integer) IS
    'the next transaction of rotate_tokens; returns the epoch it is on the way to, NULL at the end';
REVOKE ALL ON FUNCTION gdpr.rotate_step(bigint, integer) FROM PUBLIC;

CREATE PROCEDURE gdpr.rotate_tokens(batch bigint DEFAULT 1000)
    LANGUAGE plpgsql AS $$
DECLARE
    epoch integer;
BEGIN
    IF NOT pg_catalog.has_function_privilege('gdpr.rotate_step(bigint, integer)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for the function that rotate_tokens() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.rotate_step(bigint, integer) TO %I.', current_user);
    END IF;
    LOOP
        epoch := gdpr.rotate_step(batch, epoch);
        COMMIT;
        EXIT WHEN epoch IS NULL;
    END LOOP;
END $$;
COMMENT ON PROCEDURE gdpr.rotate_tokens(bigint) IS
    'gives all rows of searchable columns tokens of a new epoch, in committed batches, while others use the tables, and destroys the keys of the old one: tokens in older backups can then not be computed by anybody. Interrupted, it goes on when it is called again';
REVOKE ALL ON PROCEDURE gdpr.rotate_tokens(bigint) FROM PUBLIC;
