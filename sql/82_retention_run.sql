-- What is due goes: batches, what fails, persons without rows, and every night.

-- The run -----------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.add_retention_result(run uuid, task gdpr.retention_task, due bigint, deleted bigint, erased bigint, failed bigint, errors jsonb)
    RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.retention_result AS r (run, relation, category, action, rows_due, rows_deleted, rows_erased, rows_failed, errors)
    SELECT run, t.relation::text, coalesce(c.name, ''), task.action, due, deleted, erased, failed, errors
    FROM gdpr.mapped_table t LEFT JOIN gdpr.category c ON c.id = task.category WHERE t.id = task.table_id
    ON CONFLICT ON CONSTRAINT retention_result_pkey DO UPDATE
    SET rows_due = r.rows_due + excluded.rows_due, rows_deleted = r.rows_deleted + excluded.rows_deleted,
        rows_erased = r.rows_erased + excluded.rows_erased, rows_failed = r.rows_failed + excluded.rows_failed,
        errors = r.errors || (
            SELECT coalesce(jsonb_object_agg(e.key, jsonb_build_object('first', coalesce(r.errors -> e.key -> 'first', e.value -> 'first'),
                                'rows', coalesce((r.errors -> e.key ->> 'rows')::bigint, 0) + (e.value ->> 'rows')::bigint)), '{}')
            FROM jsonb_each(excluded.errors) e),
        changed_at = clock_timestamp()
$$;
COMMENT ON FUNCTION gdpr.add_retention_result(uuid, gdpr.retention_task, bigint, bigint, bigint, bigint, jsonb) IS 'adds what a batch did to the results of a run';
REVOKE ALL ON FUNCTION gdpr.add_retention_result(uuid, gdpr.retention_task, bigint, bigint, bigint, bigint, jsonb) FROM PUBLIC;

-- What is no task has the name of the step as its action.
CREATE FUNCTION gdpr.add_step_error(run uuid, step text, relation regclass, state text, "rows" bigint) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.retention_result AS r (run, relation, category, action, rows_due, rows_deleted, rows_erased, rows_failed, errors)
    VALUES (run, coalesce(relation::text, step), '', step, 0, 0, 0, 0, jsonb_build_object(state, jsonb_build_object('rows', "rows", 'first', relation::text)))
    ON CONFLICT ON CONSTRAINT retention_result_pkey DO UPDATE SET errors = r.errors || excluded.errors, changed_at = clock_timestamp()
$$;
COMMENT ON FUNCTION gdpr.add_step_error(uuid, text, regclass, text, bigint) IS 'notes in the results of a run that a step could not be done';
REVOKE ALL ON FUNCTION gdpr.add_step_error(uuid, text, regclass, text, bigint) FROM PUBLIC;

-- Errors that are of the server, not of a row, end the run; what is over is done again by the next.
CREATE FUNCTION gdpr.is_servers_error(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT left(state, 2) IN ('08', '53', '57', '58', 'XX') OR state IN ('GD001', 'GD010')
$$;
COMMENT ON FUNCTION gdpr.is_servers_error(text) IS 'whether an SQLSTATE says that nothing works, rather than that something is wrong with a row';
REVOKE ALL ON FUNCTION gdpr.is_servers_error(text) FROM PUBLIC;

CREATE FUNCTION gdpr.expire_row(relation regclass, task gdpr.retention_task, "row" tid, OUT deleted integer, OUT erased integer, OUT error text)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text;
    name text;
BEGIN
    deleted := 0;
    erased := 0;
    IF task.action = 'delete' THEN
        BEGIN
            deleted := gdpr.expire_rows(relation, NULL, false, ARRAY["row"]);
            IF deleted > 0 THEN
                RETURN;
            END IF;
        EXCEPTION WHEN foreign_key_violation OR restrict_violation THEN
            NULL;               -- something needs it: only what is personal in it goes
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, name = CONSTRAINT_NAME;
            error := concat_ws(' ', state, nullif(name, ''));
        END;
    END IF;
    IF error IS NULL THEN
        BEGIN
            erased := gdpr.expire_rows(relation, task.category, true, ARRAY["row"]);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, name = CONSTRAINT_NAME;
            error := concat_ws(' ', state, nullif(name, ''));
        END;
    END IF;
    IF gdpr.is_servers_error(state) THEN
        RAISE EXCEPTION 'a row of table % could not be deleted or erased', relation USING ERRCODE = state;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.expire_row(regclass, gdpr.retention_task, tid) IS
    'deletes or erases one row by itself; erases what cannot be deleted; error: SQLSTATE and constraint';
REVOKE ALL ON FUNCTION gdpr.expire_row(regclass, gdpr.retention_task, tid) FROM PUBLIC;

-- The forgotten of whom nothing is kept any more lose the key of what was kept, in every backup.
CREATE FUNCTION gdpr.close_kept(persons bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
    person record;
    state text;
BEGIN
    persons := ARRAY(SELECT DISTINCT t.number FROM gdpr.tombstone t WHERE t.number = ANY (persons) AND t.category IS NULL
                     AND NOT EXISTS (SELECT FROM gdpr.tombstone k WHERE k.number = t.number + 549755813888 AND k.category IS NULL));
    FOR part IN SELECT r.relation FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
                WHERE t.protected AND t.on_forget = 'keep' AND r.has_rows LOOP
        EXIT WHEN persons = '{}';
        BEGIN
            persons := ARRAY(SELECT unnest(persons) EXCEPT
                             SELECT r::bigint FROM gdpr.run_as_owner(part, format(
                                 'SELECT gdpr.subject_number(gdpr_sealed) FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = ANY (%L::bigint[])
                                  AND gdpr.has_values(gdpr_sealed, NULL, NULL)', part, persons)) r);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF gdpr.is_servers_error(state) THEN
                RAISE;
            END IF;
            RAISE WARNING 'rows that are kept in table % could not be looked for: SQLSTATE %', part, state;
            persons := '{}'; -- they wait
        END;
    END LOOP;
    FOR person IN SELECT DISTINCT ON (t.number) t.number, t.erasure FROM gdpr.tombstone t
                  WHERE t.number = ANY (persons) AND t.category IS NULL ORDER BY t.number, t.id LOOP
        PERFORM gdpr.puncture_at_commit(person.number + 549755813888, NULL, person.erasure);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.close_kept(bigint[]) IS
    'destroys the second key, of what the law had kept, of those of these persons who were forgotten and of whom tables that keep hold no values any more';
REVOKE ALL ON FUNCTION gdpr.close_kept(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.expire_batch(run uuid, task gdpr.retention_task, relation regclass, listed tid[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due_rows tid[];
    persons bigint[];
    n bigint;
    deleted bigint := 0;
    erased bigint := 0;
    failed bigint := 0;
    errors jsonb := '{}';
    state text;
    item record;
    result record;
    waited integer := 0;
BEGIN
    PERFORM gdpr.lock_retention(true);
    SELECT array_agg(f."row" ORDER BY f."row"), array_agg(DISTINCT f.number) INTO due_rows, persons
    FROM gdpr.rows_as_owner(relation, gdpr.retention_query(task, relation, listed), 2147483647) r
    CROSS JOIN LATERAL gdpr.retention_filter(task, relation, r.rows, r.numbers, r.policies, r.due) f
    WHERE f.held IS NULL;
    IF due_rows IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        n := gdpr.expire_rows(relation, task.category, task.action <> 'delete', due_rows);
        IF task.action <> 'delete' THEN
            erased := n;
        ELSE
            deleted := n;
            IF n < cardinality(due_rows) THEN   -- a trigger keeps some
                erased := gdpr.expire_rows(relation, NULL, true, due_rows);
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        IF gdpr.is_servers_error(state) THEN
            RAISE;
        END IF;
        deleted := 0;
        erased := 0;
        FOR item IN SELECT r FROM unnest(due_rows) r LOOP
            -- a table that somebody has locked for long: not two seconds for each row
            IF waited < 5 THEN
                result := gdpr.expire_row(relation, task, item.r);
                waited := CASE WHEN result.error LIKE '55P03%' THEN waited + 1 ELSE 0 END;
            END IF;
            deleted := deleted + result.deleted;
            erased := erased + result.erased;
            IF result.error IS NOT NULL THEN
                failed := failed + 1;
                errors := jsonb_set(errors, ARRAY[result.error], jsonb_build_object(
                    'rows', coalesce((errors -> result.error ->> 'rows')::bigint, 0) + 1,
                    'first', coalesce(errors -> result.error ->> 'first', format('%s %s', relation, item.r))));
            END IF;
        END LOOP;
    END;
    PERFORM gdpr.close_kept(persons);
    PERFORM gdpr.add_retention_result(run, task, cardinality(due_rows), deleted, erased, failed, errors);
END $$;
COMMENT ON FUNCTION gdpr.expire_batch(uuid, gdpr.retention_task, regclass, tid[]) IS
    'deletes or erases those of the listed rows that are still due and that nobody else has locked; rows that cannot be are set aside';
REVOKE ALL ON FUNCTION gdpr.expire_batch(uuid, gdpr.retention_task, regclass, tid[]) FROM PUBLIC;

CREATE FUNCTION gdpr.list_due(place bigint, task gdpr.retention_task, relation regclass, batch integer) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.retention_queue (place, kind, table_id, category, action, forgotten, relation, rows)
    SELECT list_due.place, 'rows', task.table_id, task.category, task.action, task.forgotten, list_due.relation, d.rows
    FROM gdpr.retention_rows(task, list_due.relation, batch) r
    CROSS JOIN LATERAL (SELECT array_agg(f."row") AS rows FROM gdpr.retention_filter(task, list_due.relation, r.rows, r.numbers, r.policies, r.due) f
                        WHERE f.held IS NULL) d
    WHERE d.rows IS NOT NULL
$$;
COMMENT ON FUNCTION gdpr.list_due(bigint, gdpr.retention_task, regclass, integer) IS 'lists the rows of one part of a table that are due, in batches, in gdpr.retention_queue';
REVOKE ALL ON FUNCTION gdpr.list_due(bigint, gdpr.retention_task, regclass, integer) FROM PUBLIC;

-- Months of expiry ---------------------------------------------------------------------------------
--
-- Values that are shredded are sealed under the first month that begins after they are over. Here, rows are erased when they are
-- due, as by any policy. When a month has begun, whatever is still sealed under it (it is held, restricted, kept longer now, or could
-- not be erased) is sealed anew, under a month to come; then the keys of the month are destroyed, and older backups lose their copies.

CREATE FUNCTION gdpr.month_number(at timestamptz) RETURNS smallint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ((extract(year FROM at AT TIME ZONE 'UTC') - 2000) * 12 + extract(month FROM at AT TIME ZONE 'UTC'))::smallint
$$;
COMMENT ON FUNCTION gdpr.month_number(timestamptz) IS 'a month, in UTC, as envelopes and tombstones have it';
CREATE FUNCTION gdpr.month_date(month smallint) RETURNS date
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT make_date(2000 + (month - 1) / 12, (month - 1) % 12 + 1, 1)
$$;
COMMENT ON FUNCTION gdpr.month_date(smallint) IS 'the first day of such a month';
REVOKE ALL ON FUNCTION gdpr.month_number(timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.expiry(envelope gdpr.sealed, OUT category smallint, OUT month date)
    RETURNS SETOF record LANGUAGE c STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_expiry';
COMMENT ON FUNCTION gdpr.expiry(gdpr.sealed) IS
    'the categories (gdpr.category.id) in an envelope that are shredded, and the months with whose beginning they are over, in older backups too';

CREATE VIEW gdpr.closed_months AS
SELECT c.name AS category, gdpr.month_date(max(t.month)) AS month, max(t.forgotten_at) AS closed_at
FROM gdpr.tombstone t LEFT JOIN gdpr.category c ON c.id = t.category WHERE t.month IS NOT NULL GROUP BY t.category, c.name;
COMMENT ON VIEW gdpr.closed_months IS
    'categories that are shredded: what was over before this month is unreadable in every backup, and since when';
REVOKE ALL ON gdpr.closed_months FROM PUBLIC;

CREATE FUNCTION gdpr.open_categories(month smallint) RETURNS SETOF smallint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.category FROM gdpr.expiring_category e
    WHERE NOT EXISTS (SELECT FROM gdpr.tombstone t WHERE t.category = e.category AND t.month >= open_categories.month)
$$;
COMMENT ON FUNCTION gdpr.open_categories(smallint) IS 'categories that are, or were, shredded, whose keys that expire in a month are not destroyed yet';
REVOKE ALL ON FUNCTION gdpr.open_categories(smallint) FROM PUBLIC;

-- That a clock is wrong for a moment must not destroy keys: a run of another day has seen the month, too.
CREATE FUNCTION gdpr.month_to_close() RETURNS smallint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT gdpr.month_number(now())
    WHERE EXISTS (SELECT FROM gdpr.open_categories(gdpr.month_number(now())))
      AND EXISTS (SELECT FROM gdpr.retention_run r WHERE r.started_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                  AND r.started_at <= now() - interval '20 hours')
$$;
COMMENT ON FUNCTION gdpr.month_to_close() IS 'the month that has begun, if its keys are to be destroyed by this run; else NULL';
REVOKE ALL ON FUNCTION gdpr.month_to_close() FROM PUBLIC;

-- Whoever had begun to write before has ended: those with a snapshot, and those that have written, also if they are idle or prepared.
CREATE FUNCTION gdpr.wait_for_writers() RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    writers xid8[];
BEGIN
    PERFORM gdpr.wait_for_old_snapshots();
    writers := ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot()));
    FOR i IN 1 .. 20 LOOP
        EXIT WHEN NOT writers && ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot()));
        IF i = 20 THEN
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.wait_for_writers() IS 'waits for all transactions that write now, also prepared ones, for two seconds; false: some still do';
REVOKE ALL ON FUNCTION gdpr.wait_for_writers() FROM PUBLIC;

-- What is held or restricted is sealed without a month: backups have it as long as its person has keys.
CREATE FUNCTION gdpr.kept_numbers() RETURNS bigint[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT DISTINCT n FROM (
        SELECT f.subject FROM gdpr.flag f WHERE f.kind = 'r'
        UNION SELECT h.subject FROM gdpr.hold h WHERE h.finished_at IS NULL AND h.until > now()) k, unnest(gdpr.numbers_of(k.subject)) n ORDER BY n)
$$;
COMMENT ON FUNCTION gdpr.kept_numbers() IS 'the numbers of persons whose processing is restricted, or of whom something is held, sorted';
CREATE FUNCTION gdpr.kept_changed() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM gdpr.hold h WHERE l.last IS NULL OR greatest(h.placed_at, h.finished_at, CASE WHEN h.until <= now() THEN h.until END) > l.last) OR
           EXISTS (SELECT FROM gdpr.flag_event e WHERE e.kind = 'restriction' AND (l.last IS NULL OR e.recorded_at > l.last))
    -- an hour, as what was recorded then may be committed later
    FROM (SELECT max(r.started_at) - interval '1 hour' FROM gdpr.retention_run r WHERE r.complete) l(last)
$$;
COMMENT ON FUNCTION gdpr.kept_changed() IS 'whether somebody was restricted or held, or ceased to be, since the last run that came to its end';
REVOKE ALL ON FUNCTION gdpr.kept_numbers(), gdpr.kept_changed() FROM PUBLIC;

CREATE FUNCTION gdpr.list_months() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month smallint := gdpr.month_to_close();
BEGIN
    PERFORM gdpr.note_expiring();       -- columns may have been declared meanwhile
    IF gdpr.kept_changed() THEN
        PERFORM gdpr.note_reseal(t.id) FROM gdpr.mapped_table t WHERE gdpr.shreds(t.id);
    END IF;
    DELETE FROM gdpr.retention_queue q USING gdpr.reseal r WHERE q.kind = 'reseal' AND q.table_id = r.table_id AND NOT r.begun;
    IF EXISTS (SELECT FROM gdpr.reseal r WHERE NOT r.begun) AND gdpr.wait_for_writers() THEN
        UPDATE gdpr.reseal SET begun = true WHERE NOT begun;
    END IF;     -- else it is begun, but the next run does it again
    INSERT INTO gdpr.retention_queue (place, kind, table_id, relation, position)
    SELECT 900000000, 'reseal', t.id, 0, 0 FROM gdpr.mapped_table t
    WHERE t.protected AND NOT EXISTS (SELECT FROM gdpr.retention_queue q WHERE q.kind = 'reseal' AND q.table_id = t.id)
      AND (EXISTS (SELECT FROM gdpr.reseal r WHERE r.table_id = t.id) OR
           month IS NOT NULL AND EXISTS (SELECT FROM gdpr.mapped_column c JOIN gdpr.open_categories(month) o ON o = c.category WHERE c.table_id = t.id));
    DELETE FROM gdpr.retention_queue q WHERE q.kind = 'month';
    IF month IS NOT NULL THEN
        INSERT INTO gdpr.retention_queue (place, kind, position) VALUES (900000001, 'month', month);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.list_months() IS 'enters in gdpr.retention_queue what is to be sealed anew, and the month that is to be closed';
REVOKE ALL ON FUNCTION gdpr.list_months() FROM PUBLIC;

-- One batch of a table, part after part in the order of their OIDs.
CREATE FUNCTION gdpr.reseal_some(item gdpr.retention_queue, batch integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts oid[] := ARRAY(SELECT r.relation::oid FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
                         WHERE t.id = item.table_id AND t.protected AND r.has_rows);
    here oid := (SELECT min(p) FROM unnest(parts) p WHERE p >= item.relation);
    result record;
BEGIN
    IF here IS NOT NULL THEN
        SELECT * INTO result FROM gdpr.reseal_batch(here, CASE WHEN here = item.relation THEN item.position ELSE 0 END, batch, gdpr.kept_numbers());
        IF result.skipped > 0 THEN      -- the next run looks again
            UPDATE gdpr.reseal r SET begun = false WHERE r.table_id = item.table_id;
        END IF;
        IF result.next_block IS NULL THEN
            here := (SELECT min(p) FROM unnest(parts) p WHERE p > here);
        END IF;
    END IF;
    IF here IS NOT NULL THEN
        INSERT INTO gdpr.retention_queue (place, kind, table_id, relation, position)
        VALUES (item.place, 'reseal', item.table_id, here, coalesce(result.next_block, 0));
    ELSE
        DELETE FROM gdpr.reseal r WHERE r.table_id = item.table_id AND r.begun;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.reseal_some(gdpr.retention_queue, integer) IS 'seals some rows of a table anew whose month of expiry should be another';
REVOKE ALL ON FUNCTION gdpr.reseal_some(gdpr.retention_queue, integer) FROM PUBLIC;

CREATE FUNCTION gdpr.close_month(run uuid, item gdpr.retention_queue) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    month smallint := item.position;
    open smallint[] := ARRAY(SELECT o FROM gdpr.open_categories(month) o ORDER BY 1);
    kept smallint[] := '{}';
    persons bigint[];
    part record;
    resealed bigint;
    skipped bigint;
    again boolean := false;
    state text;
BEGIN
    IF NOT gdpr.wait_for_writers() THEN
        RAISE NOTICE 'the keys of % are not destroyed yet: a transaction does not end', gdpr.month_date(month)
            USING HINT = 'The next run tries again. See pg_stat_activity and pg_prepared_xacts.';
        PERFORM gdpr.add_step_error(run, item.kind, NULL, '55P03', 0);
        RETURN;
    END IF;
    persons := gdpr.kept_numbers();
    FOR part IN
        SELECT r.relation, array_agg(DISTINCT c.category) AS categories
        FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id JOIN gdpr.mapped_column c ON c.table_id = t.id
        WHERE t.protected AND r.has_rows AND c.category = ANY (open) GROUP BY r.relation ORDER BY r.relation::oid
    LOOP
        -- one that cannot be looked through keeps its categories open, not those of others
        BEGIN
            SELECT b.resealed, b.skipped INTO resealed, skipped FROM gdpr.reseal_batch(part.relation, 0, 9223372036854775807, persons) b;
            state := CASE WHEN skipped > 0 THEN '55P03' END;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF gdpr.is_servers_error(state) THEN
                RAISE;
            END IF;
            resealed := 0;
            skipped := 0;
        END;
        CONTINUE WHEN state IS NULL AND resealed = 0;
        kept := kept || part.categories;
        again := again OR state IS NULL;
        IF state IS NOT NULL THEN
            RAISE NOTICE 'the keys of % are not destroyed yet: rows of table % cannot be sealed anew: SQLSTATE %', gdpr.month_date(month), part.relation, state
                USING HINT = 'The next run tries again.';
            PERFORM gdpr.add_step_error(run, item.kind, part.relation, state, skipped);
        END IF;
    END LOOP;
    PERFORM gdpr.close_month_at_commit(c, month) FROM unnest(open) c WHERE c <> ALL (kept);
    IF again THEN       -- look again, after the commit
        INSERT INTO gdpr.retention_queue (place, kind, position) VALUES (item.place, 'month', month);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.close_month(uuid, gdpr.retention_queue) IS
    'destroys the keys that expire in a month, of all categories that are shredded and of everybody, if no row is sealed under them any more';
REVOKE ALL ON FUNCTION gdpr.close_month(uuid, gdpr.retention_queue) FROM PUBLIC;

-- Persons without rows ----------------------------------------------------------------------------

-- Compares the numbers that were given with those in the tables' indexes, 100,000 at a time; returns where to go on.
CREATE FUNCTION gdpr.find_orphans(start bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stop bigint := start + 100000;
    first_range bigint := coalesce((SELECT max(p.first_subject) FROM gdpr.provenance p WHERE p.first_subject <= start), start);
    living bigint[];
    part record;
    merged record;
BEGIN
    living := ARRAY(
        SELECT n FROM gdpr.provenance p
        CROSS JOIN LATERAL generate_series(greatest(p.first_subject, start), least(p.last_subject, stop - 1)) n
        WHERE p.first_subject >= first_range AND p.first_subject < stop AND p.last_subject >= start
        EXCEPT SELECT t.number FROM gdpr.tombstone t WHERE t.number >= start AND t.number < stop AND t.category IS NULL
        EXCEPT SELECT a.number FROM gdpr.subject_alias a WHERE a.number >= start AND a.number < stop
        EXCEPT SELECT f.number FROM gdpr.former_number f WHERE f.number >= start AND f.number < stop);
    -- tables of persons first: hardly anybody is left for the others
    FOR part IN
        SELECT r.relation, EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via <> 0) AS has_others
        FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
        WHERE t.protected AND r.has_rows
        ORDER BY EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via = 0), r.relation::oid
    LOOP
        EXIT WHEN living = '{}';
        living := ARRAY(
            SELECT unnest(living) EXCEPT
            SELECT r::bigint FROM gdpr.run_as_owner(part.relation, format(
                'SELECT DISTINCT gdpr.subject_number(gdpr_sealed) FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) %s', part.relation,
                CASE WHEN cardinality(living) > 2000 THEN format('BETWEEN %s AND %s', start, stop - 1)
                     ELSE format('= ANY (%L::bigint[])', living) END)) r);
        IF part.has_others AND living <> '{}' THEN
            living := ARRAY(
                SELECT unnest(living) EXCEPT
                SELECT r::bigint FROM gdpr.run_as_owner(part.relation, format(
                    'SELECT DISTINCT n FROM ONLY %s, unnest(gdpr.subject_numbers(gdpr_sealed)) n WHERE gdpr.subject_numbers(gdpr_sealed) && %L::bigint[]',
                    part.relation, living)) r);
        END IF;
    END LOOP;
    -- of a person that others were merged into, these may have rows
    FOR merged IN SELECT DISTINCT w.number, w.other FROM gdpr.with_merged(living) w WHERE w.other <> w.number LOOP
        IF gdpr.has_rows(merged.other) THEN
            living := array_remove(living, merged.number);
        END IF;
    END LOOP;
    DELETE FROM gdpr.orphan d WHERE d.subject IN (
        SELECT o.subject FROM gdpr.orphan o WHERE o.subject >= start AND o.subject < stop EXCEPT SELECT unnest(living));
    INSERT INTO gdpr.orphan (subject) SELECT n FROM unnest(living) n ON CONFLICT DO NOTHING;
    RETURN (SELECT min(greatest(p.first_subject, stop)) FROM gdpr.provenance p
            WHERE p.first_subject >= coalesce((SELECT max(q.first_subject) FROM gdpr.provenance q WHERE q.first_subject <= stop), stop)
              AND p.last_subject >= stop);
END $$;
COMMENT ON FUNCTION gdpr.find_orphans(bigint) IS
    'enters into gdpr.orphan those of the next persons, by number, of whom no protected table has a row; returns the number to go on with, NULL at the end';
REVOKE ALL ON FUNCTION gdpr.find_orphans(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget_orphans(run uuid, delay interval, batch integer) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET client_min_messages = error     -- what forget warns of it would say for each of them
    AS $$
DECLARE
    persons bigint[] := ARRAY(SELECT o.subject FROM gdpr.orphan o WHERE o.since <= now() - delay
                              AND NOT EXISTS (SELECT FROM gdpr.held_subjects(ARRAY[o.subject]))
                              AND NOT EXISTS (SELECT FROM gdpr.retention_run u WHERE u.id = run AND o.subject <= u.persons_failed_to)
                              ORDER BY o.subject LIMIT batch);
    person bigint;
    erasure uuid;
    forgotten bigint := 0;
    failed bigint := 0;
    state text;
BEGIN
    FOREACH person IN ARRAY persons LOOP
        BEGIN
            erasure := gdpr.forget(person, 'no rows left');
            IF EXISTS (SELECT FROM gdpr.erasure e WHERE e.id = erasure AND e.relations <> '[]') THEN
                RAISE EXCEPTION 'the person has rows' USING ERRCODE = 'GD006';
            END IF;
            forgotten := forgotten + 1;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF gdpr.is_servers_error(state) THEN
                RAISE;
            END IF;
            failed := failed + 1;
        END;
    END LOOP;
    DELETE FROM gdpr.orphan o USING gdpr.tombstone t WHERE o.subject = ANY (persons) AND t.number = o.subject AND t.category IS NULL;
    UPDATE gdpr.retention_run u SET persons_forgotten = u.persons_forgotten + forgotten, persons_failed = u.persons_failed + failed,
           persons_failed_to = CASE WHEN failed > 0 THEN persons[cardinality(persons)] ELSE u.persons_failed_to END
    WHERE u.id = run;
    RETURN cardinality(persons) = batch;
END $$;
COMMENT ON FUNCTION gdpr.forget_orphans(uuid, interval, integer) IS
    'forgets some of the persons who have been without rows for so long; true if there may be more';
REVOKE ALL ON FUNCTION gdpr.forget_orphans(uuid, interval, integer) FROM PUBLIC;

-- Transactions ------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.begin_retention(orphans_after interval) RETURNS uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result uuid;
BEGIN
    UPDATE gdpr.retention_run r SET ended_at = r.changed_at WHERE r.ended_at IS NULL;  -- they were interrupted
    INSERT INTO gdpr.retention_run DEFAULT VALUES RETURNING id INTO result;
    -- what was left over has smaller ids; it is not listed twice
    INSERT INTO gdpr.retention_queue (place, kind, table_id, category, action, forgotten, relation)
    SELECT p.place, 'list', (p.task).table_id, (p.task).category, (p.task).action, (p.task).forgotten, p.relation
    FROM gdpr.retention_places() p
    WHERE NOT EXISTS (SELECT FROM gdpr.retention_queue q
                      WHERE q.kind = 'list' AND q.relation = p.relation AND q.table_id = (p.task).table_id AND q.action = (p.task).action
                        AND q.category IS NOT DISTINCT FROM (p.task).category AND q.forgotten = (p.task).forgotten)
    ORDER BY p.place;
    PERFORM gdpr.list_months();
    IF NOT EXISTS (SELECT FROM gdpr.retention_queue q WHERE q.kind = 'orphans') AND orphans_after IS NOT NULL THEN
        INSERT INTO gdpr.retention_queue (place, kind, position)
        SELECT 1000000000, 'orphans', min(p.first_subject) FROM gdpr.provenance p HAVING min(p.first_subject) IS NOT NULL;
    END IF;
    DELETE FROM gdpr.retention_queue q WHERE q.kind IN ('planned', 'forget', 'holds');
    INSERT INTO gdpr.retention_queue (place, kind) SELECT -1, 'planned' WHERE EXISTS (SELECT FROM gdpr.planned_erasure p WHERE p.due_at <= now());
    IF orphans_after IS NOT NULL THEN
        INSERT INTO gdpr.retention_queue (place, kind) VALUES (1000000001, 'forget');
    END IF;
    INSERT INTO gdpr.retention_queue (place, kind) VALUES (1000000002, 'holds');
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.begin_retention(interval) IS 'begins a run: what it has to do, after what the last one left over; returns its id';
REVOKE ALL ON FUNCTION gdpr.begin_retention(interval) FROM PUBLIC;

CREATE FUNCTION gdpr.end_retention(run uuid, complete boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    total record;
    persons record;
BEGIN
    UPDATE gdpr.retention_run r SET ended_at = clock_timestamp(), changed_at = clock_timestamp(), complete = end_retention.complete
    WHERE r.id = run RETURNING r.persons_forgotten, r.persons_failed INTO persons;
    SELECT coalesce(sum(r.rows_deleted), 0) AS deleted, coalesce(sum(r.rows_erased), 0) AS erased, coalesce(sum(r.rows_failed), 0) AS failed,
           count(*) FILTER (WHERE r.errors <> '{}') AS with_errors
    INTO total FROM gdpr.retention_result r WHERE r.run = end_retention.run;
    RAISE NOTICE '% rows deleted, % rows erased, % persons without rows forgotten%', total.deleted, total.erased, persons.persons_forgotten,
        CASE WHEN complete THEN '' ELSE '; time was up before the end: the next run goes on' END;
    IF total.with_errors > 0 OR persons.persons_failed > 0 THEN
        RAISE WARNING '% rows could not be deleted or erased, % persons not be forgotten; the next run tries again', total.failed, persons.persons_failed
            USING HINT = 'TABLE gdpr.retention_errors says why.';
    END IF;
    PERFORM gdpr.unlock_conversion();
END $$;
COMMENT ON FUNCTION gdpr.end_retention(uuid, boolean) IS 'ends a run, and says what it did';
REVOKE ALL ON FUNCTION gdpr.end_retention(uuid, boolean) FROM PUBLIC;

-- One thing from the queue.
CREATE FUNCTION gdpr.do_retention(run uuid, item gdpr.retention_queue, batch integer, orphans_after interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    task gdpr.retention_task;
    next_start bigint;
    state text;
    name text;
BEGIN
    IF item.kind IN ('list', 'rows') THEN
        -- the policies, and the tables, may have changed since it was entered
        SELECT (p.task).* INTO task FROM gdpr.retention_places() p
        WHERE p.relation = item.relation AND (p.task).table_id = item.table_id AND (p.task).action = item.action
          AND (p.task).category IS NOT DISTINCT FROM item.category AND (p.task).forgotten = item.forgotten;
        IF FOUND AND item.kind = 'list' THEN
            PERFORM gdpr.list_due(item.place, task, item.relation, batch);
        ELSIF FOUND THEN
            PERFORM gdpr.expire_batch(run, task, item.relation, item.rows);
        END IF;
    ELSIF item.kind = 'reseal' THEN
        PERFORM gdpr.reseal_some(item, batch);
    ELSIF item.kind = 'month' THEN
        PERFORM gdpr.close_month(run, item);
    ELSIF item.kind = 'planned' THEN
        IF gdpr.planned_erasures_step(least(batch, 1000), (SELECT r.started_at FROM gdpr.retention_run r WHERE r.id = run)) > 0 THEN
            INSERT INTO gdpr.retention_queue (place, kind) VALUES (item.place, 'planned');
        END IF;
    ELSIF item.kind = 'orphans' THEN
        next_start := gdpr.find_orphans(item.position);
        IF next_start IS NOT NULL THEN
            INSERT INTO gdpr.retention_queue (place, kind, position) VALUES (item.place, 'orphans', next_start);
        END IF;
    ELSIF item.kind = 'forget' THEN
        IF gdpr.forget_orphans(run, orphans_after, least(batch, 100)) THEN
            INSERT INTO gdpr.retention_queue (place, kind) VALUES (item.place, 'forget');
        END IF;
    ELSE
        PERFORM gdpr.finish_holds();
    END IF;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, name = CONSTRAINT_NAME;
    IF gdpr.is_servers_error(state) THEN
        RAISE;
    END IF;
    -- messages of class 42 name objects, others may have values in them
    name := CASE WHEN state LIKE '42%' THEN SQLERRM ELSE concat_ws(' ', 'SQLSTATE', state, nullif(name, '')) END;
    IF task.table_id IS NULL THEN
        RAISE WARNING 'step "%" failed: %', item.kind, name;
        PERFORM gdpr.add_step_error(run, item.kind, coalesce(nullif(item.relation, 0), (
            SELECT t.relation FROM gdpr.mapped_table t WHERE t.id = item.table_id)), state, 0);
    ELSE
        RAISE WARNING 'rows of table % that are due could not be looked for: %', item.relation::regclass, name;
        PERFORM gdpr.add_retention_result(run, task, 0, 0, 0, 0,
            jsonb_build_object(state, jsonb_build_object('rows', coalesce(cardinality(item.rows), 0), 'first', item.relation::regclass)));
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.do_retention(uuid, gdpr.retention_queue, integer, interval) IS
    'does one thing that a run has to do; what fails is noted, and does not stop the rest';
REVOKE ALL ON FUNCTION gdpr.do_retention(uuid, gdpr.retention_queue, integer, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.retention_step(INOUT run uuid, budget interval, batch integer, orphans_after interval) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' SET gdpr.override_reason = '' AS $$
DECLARE
    item gdpr.retention_queue;
BEGIN
    PERFORM gdpr.assert_batch(batch);
    PERFORM gdpr.assert_period(coalesce(budget, interval '1 day'), 'budget'),
            gdpr.assert_period(coalesce(orphans_after, interval '0'), 'orphans_after', may_be_zero => true);
    IF NOT gdpr.lock_conversion(1, true) THEN       -- no table has this OID
        RAISE EXCEPTION 'run_retention() is running in another session'
            USING ERRCODE = 'object_in_use', HINT = 'TABLE gdpr.retention_run and gdpr.retention_result show how far it is.';
    END IF;
    IF run IS NULL THEN
        run := gdpr.begin_retention(orphans_after);
        RETURN;
    END IF;
    SELECT * INTO item FROM gdpr.retention_queue q ORDER BY q.place, q.id LIMIT 1;
    IF item.id IS NULL OR clock_timestamp() > (SELECT r.started_at + budget FROM gdpr.retention_run r WHERE r.id = run) THEN
        PERFORM gdpr.end_retention(run, item.id IS NULL);
        run := NULL;
        RETURN;
    END IF;
    DELETE FROM gdpr.retention_queue q WHERE q.id = item.id;
    PERFORM gdpr.do_retention(run, item, batch, orphans_after);
    UPDATE gdpr.retention_run r SET changed_at = clock_timestamp() WHERE r.id = run;
END $$;
COMMENT ON FUNCTION gdpr.retention_step(uuid, interval, integer, interval) IS 'the next transaction of run_retention; NULL if it was the last';
REVOKE ALL ON FUNCTION gdpr.retention_step(uuid, interval, integer, interval) FROM PUBLIC;

CREATE PROCEDURE gdpr.run_retention(budget interval DEFAULT '1 hour', batch integer DEFAULT 1000, orphans_after interval DEFAULT '30 days')
    LANGUAGE plpgsql AS $$
DECLARE
    run uuid;
BEGIN
    IF NOT pg_catalog.has_function_privilege('gdpr.retention_step(uuid, interval, integer, interval)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for the function that run_retention() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.retention_step(uuid, interval, integer, interval) TO %I.', current_user);
    END IF;
    LOOP
        COMMIT;
        -- each batch sees what was committed before it, whatever the session's default is
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        run := gdpr.retention_step(run, budget, batch, orphans_after);
        EXIT WHEN run IS NULL;
    END LOOP;
    COMMIT;
END $$;
COMMENT ON PROCEDURE gdpr.run_retention(interval, integer, interval) IS
    'forgets persons whose planned erasure is due; deletes and erases what is due, in committed batches of rows, while others use the tables; then forgets persons of whom there have been no rows for orphans_after (NULL: nobody). Rows that are locked, held or cannot be deleted are left for the next run. When the budget is spent (NULL: no limit), or it is interrupted, the next call goes on. One at a time';
REVOKE ALL ON PROCEDURE gdpr.run_retention(interval, integer, interval) FROM PUBLIC;

-- Every night -------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.cron_unavailable(statement text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    database text := current_setting('cron.database_name', true);
BEGIN
    IF database <> current_database() THEN
        RAISE EXCEPTION 'pg_cron keeps its jobs in database "%"', database
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('There, as the role that is to run it: %s', statement);
    END IF;
    RAISE EXCEPTION 'extension pg_cron is not installed'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = CASE WHEN database IS NULL THEN 'pg_cron is not in shared_preload_libraries.' ELSE 'It is loaded, but not created in this database.' END,
              HINT = CASE WHEN database IS NULL THEN format('Install package postgresql-%s-cron, add pg_cron to shared_preload_libraries and restart; or let cron, or a systemd timer, run: psql -X -d %s -c "CALL gdpr.run_retention()"',
                                                            current_setting('server_version_num')::integer / 10000, quote_ident(current_database()))
                          ELSE 'CREATE EXTENSION pg_cron;' END;
END $$;
COMMENT ON FUNCTION gdpr.cron_unavailable(text) IS 'says why pg_cron cannot be used from this database, and what to do instead';
-- for everybody, as those who schedule call it with their own rights, and it only says what is missing

-- As the caller, whose job it will be.
CREATE FUNCTION gdpr.schedule_retention(schedule text DEFAULT '0 3 * * *', budget interval DEFAULT '1 hour', batch integer DEFAULT 1000,
                                        orphans_after interval DEFAULT '30 days') RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job text := 'gdpr retention of ' || current_database();
    command text := format('CALL gdpr.run_retention(budget => %L, batch => %L, orphans_after => %L)', budget, batch, orphans_after);
    result bigint;
BEGIN
    IF schedule IS NULL OR batch IS NULL OR batch < 1 OR budget <= interval '0' OR greatest(budget, orphans_after) > interval '1000 years'
       OR orphans_after < interval '0' THEN
        RAISE EXCEPTION 'schedule or batch is NULL, budget or batch not positive, orphans_after negative, or one of them too long'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For instance budget => ''2 hours'', orphans_after => ''30 days''.';
    END IF;
    IF NOT has_function_privilege('gdpr.run_retention(interval, integer, interval)', 'EXECUTE') OR
       NOT has_function_privilege('gdpr.retention_step(uuid, interval, integer, interval)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for procedure run_retention, which the job calls as %', quote_ident(current_user)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT EXECUTE ON PROCEDURE gdpr.run_retention(interval, integer, interval) TO %1$I; GRANT EXECUTE ON FUNCTION gdpr.retention_step(uuid, interval, integer, interval) TO %1$I;', current_user);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        PERFORM gdpr.cron_unavailable(format('SELECT cron.schedule_in_database(%L, %L, %L, %L);', job, schedule, command, current_database()));
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO result USING job, schedule, command;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.schedule_retention(text, interval, integer, interval) IS
    'has pg_cron call run_retention, as the caller; schedule: as in crontab, in the time zone of pg_cron (GMT); the other parameters are run_retention''s; again: replaces the job; returns its id';
CREATE FUNCTION gdpr.unschedule_retention() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job text := 'gdpr retention of ' || current_database();
    found boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        PERFORM gdpr.cron_unavailable(format('SELECT cron.unschedule(%L);', job));
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM cron.job j WHERE j.jobname = $1 AND j.username = current_user)' INTO found USING job;
    IF NOT found THEN
        RAISE EXCEPTION 'role % has no job for retention in this database', quote_ident(current_user)
            USING ERRCODE = 'no_data_found', HINT = 'SELECT jobname, username FROM cron.job shows whose there are.';
    END IF;
    EXECUTE 'SELECT cron.unschedule($1)' USING job;
END $$;
COMMENT ON FUNCTION gdpr.unschedule_retention() IS 'takes back the caller''s job that schedule_retention made';
REVOKE ALL ON FUNCTION gdpr.schedule_retention(text, interval, integer, interval), gdpr.unschedule_retention() FROM PUBLIC;
