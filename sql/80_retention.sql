-- Retention: how long rows, or the categories of data in them, are kept, and the run that ends what is due.
--
-- A task is what is done to the rows of one table: delete them, or erase what they hold (of one category). It is due when
-- all its policies are: the longest ground wins. Which rows those are is said by one query (retention_query), for the
-- preview, for the list of a run, and once more, with the rows locked, for the batch that ends them.

CREATE TABLE gdpr.retention_policy (
    id integer PRIMARY KEY DEFAULT nextval('gdpr.map_id'),
    table_id integer NOT NULL,
    category smallint,
    purpose_id integer,
    action text NOT NULL CHECK (action IN ('delete', 'erase', 'shred')),
    keep interval NOT NULL,
    since text NOT NULL CHECK (since IN ('column', 'last activity', 'end of consent')),
    since_table integer,
    since_column name,
    time_zone text NOT NULL,
    ground text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by name NOT NULL DEFAULT session_user,
    CHECK ((since = 'column') = (since_table IS NOT NULL AND since_column IS NOT NULL))
);
CREATE UNIQUE INDEX retention_policy_of ON gdpr.retention_policy (table_id, (coalesce(category, -1)), (coalesce(purpose_id, 0)));
COMMENT ON TABLE gdpr.retention_policy IS
    'how long the rows of a table (category NULL), or a category of data in them, are kept, and for which purpose; read it as gdpr.retention';
COMMENT ON COLUMN gdpr.retention_policy.since_table IS 'the table that has the column: its own, or one above it that leads to the person';
-- rows are sealed by the policies that shred
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.retention_policy
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
ALTER TABLE gdpr.retention_policy ENABLE ALWAYS TRIGGER map_changed;

CREATE TABLE gdpr.expiring_category (
    category smallint PRIMARY KEY
);
COMMENT ON TABLE gdpr.expiring_category IS
    'categories that are, or were, shredded: there are backups of values under their months, whatever the policies are now';

CREATE TABLE gdpr.reseal (
    table_id integer PRIMARY KEY,
    begun boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE gdpr.reseal IS
    'tables whose rows a retention run has to seal under other months of expiry, because a policy that shreds, or who is held or restricted, has changed; begun: a run is at it, and nobody writes by the policies of before';

CREATE TABLE gdpr.retention_run (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    complete boolean NOT NULL DEFAULT false,
    persons_forgotten bigint NOT NULL DEFAULT 0,
    persons_failed bigint NOT NULL DEFAULT 0,
    persons_failed_to bigint NOT NULL DEFAULT 0,
    role name NOT NULL DEFAULT session_user
);
COMMENT ON TABLE gdpr.retention_run IS
    'calls of run_retention; complete: nothing was left over for the next; ended_at NULL: it runs, or was interrupted; persons: without rows';

CREATE TABLE gdpr.retention_result (
    run uuid NOT NULL,
    relation text NOT NULL,
    category text NOT NULL,
    action text NOT NULL,
    rows_due bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    rows_erased bigint NOT NULL,
    rows_failed bigint NOT NULL,
    errors jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, relation, category, action)
);
COMMENT ON TABLE gdpr.retention_result IS
    'what a run did in each table so far: rows that were due, deleted, erased, and set aside until the next run, with SQLSTATE and constraint, how many, and where the first is';

CREATE VIEW gdpr.retention_errors AS
SELECT r.relation, nullif(r.category, '') AS category, r.action, e.key AS error, (e.value ->> 'rows')::bigint AS "rows", e.value ->> 'first' AS first,
       r.changed_at
FROM gdpr.retention_result r CROSS JOIN LATERAL pg_catalog.jsonb_each(r.errors) e
WHERE r.run = (SELECT u.id FROM gdpr.retention_run u ORDER BY u.started_at DESC LIMIT 1)
ORDER BY r.relation, 3, 2, 4;
COMMENT ON VIEW gdpr.retention_errors IS
    'what the last run could not delete or erase, or look for: SQLSTATE and constraint, how many rows, and where the first of them is (its table or partition, and ctid)';

CREATE TABLE gdpr.retention_queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('list', 'rows', 'reseal', 'month', 'planned', 'orphans', 'forget', 'holds')),
    table_id integer,
    category smallint,
    action text,
    forgotten boolean,
    relation oid,
    rows tid[],
    position bigint
);
COMMENT ON TABLE gdpr.retention_queue IS
    'what a run has to do yet, a transaction each; left by one that ran out of time or was interrupted, for the next; not in dumps';

CREATE TABLE gdpr.orphan (
    subject bigint PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gdpr.orphan IS 'persons of whom no protected table has a row any more, and when a retention run noticed';

REVOKE ALL ON gdpr.retention_policy, gdpr.retention_errors, gdpr.retention_run, gdpr.retention_result, gdpr.retention_queue, gdpr.expiring_category, gdpr.reseal,
    gdpr.orphan FROM PUBLIC;
REVOKE ALL ON SEQUENCE gdpr.retention_queue_id_seq FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.retention_policy', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.expiring_category', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.reseal', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.retention_run', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.retention_result', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.orphan', '');

CREATE TYPE gdpr.retention_task AS (
    table_id integer,
    category smallint,
    action text,
    forgotten boolean,
    policies integer[]
);
COMMENT ON TYPE gdpr.retention_task IS
    'something that is done to rows of a table when all of these policies are over (0: keep_until of the data map); forgotten: only to rows of persons who were forgotten';

CREATE FUNCTION gdpr.expire_rows(relation regclass, category smallint, erase boolean, "rows" tid[])
    RETURNS bigint LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_expire_rows';
COMMENT ON FUNCTION gdpr.expire_rows(regclass, smallint, boolean, tid[]) IS
    'deletes rows of a protected table, or erases what they hold, whosever they are; for run_retention';
CREATE FUNCTION gdpr.rows_as_owner(relation regclass, query text, chunk integer, OUT "rows" tid[], OUT numbers bigint[],
                                   OUT policies integer[], OUT due timestamptz[])
    RETURNS SETOF record LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_rows_as_owner';
COMMENT ON FUNCTION gdpr.rows_as_owner(regclass, text, integer) IS
    'the rows of a query (tid, bigint, integer, timestamptz), run as the owner of a table, in chunks';
REVOKE ALL ON FUNCTION gdpr.expire_rows(regclass, smallint, boolean, tid[]), gdpr.rows_as_owner(regclass, text, integer) FROM PUBLIC;

-- When a period ends ------------------------------------------------------------------------------

-- It has no search path to set, and is not said to be immutable, so that queries on the application's tables can inline it.
CREATE FUNCTION gdpr.retention_end(since timestamp, keep interval, time_zone text) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN date_trunc('day', keep) = keep
            THEN ((since::date + keep)::date + 1)::timestamp AT TIME ZONE time_zone
            ELSE ((since + date_trunc('day', keep)) AT TIME ZONE time_zone) + (keep - date_trunc('day', keep)) END;
COMMENT ON FUNCTION gdpr.retention_end(timestamp, interval, text) IS
    'when a period ends that began at a local time: of whole days, months and years with the last hour of its last day (Regulation 1182/71, Art. 3), which is that of the same number, or the month''s last; otherwise to the second';

-- Who may not be touched --------------------------------------------------------------------------

-- Few persons were merged: the others are not looked up one by one.
CREATE FUNCTION gdpr.with_merged(numbers bigint[], OUT number bigint, OUT other bigint)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT n, n FROM unnest(numbers) n
    UNION
    SELECT n, m FROM unnest(numbers) n CROSS JOIN LATERAL unnest(gdpr.numbers_of(n)) m
    WHERE EXISTS (SELECT FROM gdpr.subject_alias a WHERE a.number = n AND a.category IS NULL)
       OR EXISTS (SELECT FROM gdpr.subject_alias a WHERE a.subject = n AND a.category IS NULL)
$$;
COMMENT ON FUNCTION gdpr.with_merged(bigint[]) IS 'these numbers, each with all numbers of its person: itself, and those that it was merged with';
REVOKE ALL ON FUNCTION gdpr.with_merged(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.held_subjects(subjects bigint[], relation regclass DEFAULT NULL, OUT subject bigint, OUT reason text)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
    -- of a row with several owners, each of them
    WITH person AS (SELECT w.number, w.other FROM gdpr.with_merged(subjects) w
                    UNION SELECT o.number, w.other FROM gdpr.owners_of(subjects, relation) o, gdpr.with_merged(ARRAY[o.owner]) w)
    SELECT DISTINCT p.number, 'restricted (Art. 18)' FROM person p JOIN gdpr.flag f ON f.subject = p.other AND f.kind = 'r'
    UNION ALL
    SELECT p.number, format('held until %s (%s)', h.until::date, h.ground) FROM person p JOIN gdpr.hold h ON h.subject = p.other
    WHERE h.finished_at IS NULL AND h.until > now()
      AND (relation IS NULL OR h.relations IS NULL OR EXISTS (
           SELECT FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
           WHERE r.relation = held_subjects.relation AND t.relation = ANY (h.relations)))
$$;
COMMENT ON FUNCTION gdpr.held_subjects(bigint[], regclass) IS
    'those of these persons whose rows in a table (NULL: in any) are neither deleted nor erased when they are due, and why';
CREATE FUNCTION gdpr.is_held(subject bigint, relation regclass DEFAULT NULL) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM gdpr.held_subjects(ARRAY[is_held.subject], relation))
$$;
COMMENT ON FUNCTION gdpr.is_held(bigint, regclass) IS
    'whether a person''s rows in a table (NULL: in any) must stay although they are due';
REVOKE ALL ON FUNCTION gdpr.held_subjects(bigint[], regclass), gdpr.is_held(bigint, regclass) FROM PUBLIC;

-- Policies ----------------------------------------------------------------------------------------

-- The type of a column, of a domain that it is based on; NULL if there is no such column.
CREATE FUNCTION gdpr.base_type(relation regclass, "column" name) RETURNS regtype
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE base(oid) AS (
        SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = "column" AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd'
    ) SELECT b.oid::regtype FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd'
$$;
COMMENT ON FUNCTION gdpr.base_type(regclass, name) IS 'the type of a column, below domains';
REVOKE ALL ON FUNCTION gdpr.base_type(regclass, name) FROM PUBLIC;

CREATE FUNCTION gdpr.has_index_on(relation regclass, "column" name) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                   JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
                   WHERE i.indrelid = relation AND a.attname = "column" AND i.indisvalid AND i.indpred IS NULL AND m.amname IN ('btree', 'brin'))
$$;
-- for everybody, as gdpr.retention calls it with its reader's rights, and it tells what the catalogs tell
COMMENT ON FUNCTION gdpr.has_index_on(regclass, name) IS 'whether an index begins with a column, so that rows up to a date are found by it';

-- Tables above one, which lead to the person, nearest first.
CREATE FUNCTION gdpr.tables_above(table_id integer, OUT id integer, OUT below integer, OUT n integer)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE above(id, below, n) AS (
        SELECT l.parent_id, l.table_id, 1 FROM gdpr.mapped_link l WHERE l.table_id = tables_above.table_id AND l.via = 0
        UNION ALL SELECT l.parent_id, l.table_id, a.n + 1 FROM above a JOIN gdpr.mapped_link l ON l.table_id = a.id AND l.via = 0
        WHERE a.n < 100 AND l.parent_id <> l.table_id
    ) SELECT a.id, a.below, a.n FROM above a ORDER BY a.n
$$;
COMMENT ON FUNCTION gdpr.tables_above(integer) IS 'the tables through which the rows of one belong to persons';
REVOKE ALL ON FUNCTION gdpr.tables_above(integer) FROM PUBLIC;

-- LEFT JOINs to the tables above, up to one.
CREATE FUNCTION gdpr.retention_joins(table_id integer, top integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(format(' LEFT JOIN %s a%s ON %s', p.relation, a.id, c.condition), '' ORDER BY a.n), '')
    FROM gdpr.tables_above(table_id) a JOIN gdpr.mapped_table p ON p.id = a.id JOIN gdpr.mapped_table t ON t.id = a.below
    JOIN gdpr.mapped_link l ON l.table_id = a.below AND l.via = 0
    CROSS JOIN LATERAL (
        SELECT string_agg(format('a%s.%I OPERATOR(%I.%s) %s.%I', a.id, k.parent_column, coalesce(s.nspname, 'pg_catalog'), coalesce(o.oprname, '='),
                                 CASE WHEN a.n = 1 THEN 'x' ELSE 'a' || a.below END, k.own_column), ' AND ') AS condition
        FROM unnest(l.columns, l.parent_columns) AS k(own_column, parent_column)
        LEFT JOIN (pg_constraint f CROSS JOIN LATERAL unnest(f.conkey, f.confkey, f.conpfeqop) AS e(own, parent, operator)
                   JOIN pg_operator o ON o.oid = e.operator JOIN pg_namespace s ON s.oid = o.oprnamespace)
               ON f.contype = 'f' AND f.conrelid = t.relation AND f.confrelid = p.relation
               AND e.own = (SELECT b.attnum FROM pg_attribute b WHERE b.attrelid = t.relation AND b.attname = k.own_column)
               AND e.parent = (SELECT b.attnum FROM pg_attribute b WHERE b.attrelid = p.relation AND b.attname = k.parent_column)) c
    WHERE a.n <= (SELECT u.n FROM gdpr.tables_above(table_id) u WHERE u.id = top)
$$;
COMMENT ON FUNCTION gdpr.retention_joins(integer, integer) IS 'joins of x, a row of a table, with the rows above it, up to those of one table';
REVOKE ALL ON FUNCTION gdpr.retention_joins(integer, integer) FROM PUBLIC;

-- What a policy that shreds needs besides: the month in which values are over is known when they are sealed.
CREATE FUNCTION gdpr.assert_can_shred(mapped gdpr.mapped_table, since text, since_table integer, since_column name) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF since_table IS DISTINCT FROM mapped.id THEN
        RAISE EXCEPTION 'when values are over that are kept since "%" is not known when they are sealed', since
            USING ERRCODE = 'feature_not_supported', DETAIL = 'What is shredded is sealed under the month in which it is over.',
                  HINT = 'since => a column of the table itself; or action => ''delete'' or ''erase'': older backups lose the values with the keys of the persons.';
    ELSIF mapped.on_forget = 'keep' THEN
        RAISE EXCEPTION 'table % is kept by law, which tells when its values are over', mapped.relation
            USING ERRCODE = 'feature_not_supported', HINT = 'action => ''delete'' or ''erase''.';
    ELSIF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = mapped.relation AND a.attname = since_column AND a.attgenerated <> '') THEN
        RAISE EXCEPTION 'column "%" of table % is generated: it is not known yet when the row is sealed', since_column, mapped.relation
            USING ERRCODE = 'invalid_column_definition', HINT = 'since => a column that the application, or a trigger, fills.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_can_shred(gdpr.mapped_table, text, integer, name) IS 'raises an error unless a policy can have the action shred';
REVOKE ALL ON FUNCTION gdpr.assert_can_shred(gdpr.mapped_table, text, integer, name) FROM PUBLIC;

CREATE FUNCTION gdpr.shreds(table_id integer) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM gdpr.retention_policy p WHERE p.table_id = shreds.table_id AND p.action = 'shred')
$$;
COMMENT ON FUNCTION gdpr.shreds(integer) IS 'whether a policy of a table shreds';
CREATE FUNCTION gdpr.note_expiring() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.expiring_category
    SELECT p.category FROM gdpr.retention_policy p WHERE p.action = 'shred' AND p.category IS NOT NULL
    UNION SELECT m.category FROM gdpr.retention_policy p JOIN gdpr.mapped_column m ON m.table_id = p.table_id
          WHERE p.action = 'shred' AND p.category IS NULL
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION gdpr.note_expiring() IS 'remembers the categories that the policies shred';
CREATE FUNCTION gdpr.note_reseal(table_id integer) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT gdpr.note_expiring();
    INSERT INTO gdpr.reseal AS r (table_id) VALUES (table_id) ON CONFLICT ON CONSTRAINT reseal_pkey DO UPDATE SET begun = false
$$;
COMMENT ON FUNCTION gdpr.note_reseal(integer) IS 'has the next run seal the rows of a table under the months of expiry that they should have';
REVOKE ALL ON FUNCTION gdpr.shreds(integer), gdpr.note_expiring(), gdpr.note_reseal(integer) FROM PUBLIC;

CREATE FUNCTION gdpr.set_retention(relation regclass, keep interval, since text, action text DEFAULT 'delete', category text DEFAULT NULL,
                                   purpose text DEFAULT NULL, ground text DEFAULT NULL, time_zone text DEFAULT NULL) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    category_id smallint;
    wanted_purpose integer;
    kind text := since;
    since_table integer;
    since_relation regclass;
    since_column name;
    parts text[];
    type regtype;
    other gdpr.retention_policy;
    shredded boolean;
    result integer;
BEGIN
    IF relation IS NULL OR keep IS NULL OR since IS NULL THEN
        RAISE EXCEPTION 'relation, keep or since is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = set_retention.relation FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006', HINT = 'SELECT DISTINCT relation FROM gdpr.data_map shows those that are; policies of a table hold for its partitions.';
    END IF;
    IF keep < interval '0' OR date_part('month', keep) < 0 OR keep > interval '1000 years' THEN
        RAISE EXCEPTION 'keep is %', keep USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a period such as ''7 years'', up to 1000 years.';
    END IF;
    IF action IS NULL OR action NOT IN ('delete', 'erase', 'shred') THEN
        RAISE EXCEPTION 'action is "%"', action USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''delete'', ''erase'' or ''shred''.';
    END IF;
    IF category IS NOT NULL THEN
        SELECT c.id INTO category_id FROM gdpr.category c WHERE c.name = category
        AND EXISTS (SELECT FROM gdpr.mapped_column m WHERE m.table_id = mapped.id AND m.category = c.id);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'table % has no columns of category "%"', relation, category
                USING ERRCODE = 'GD006', HINT = 'SELECT "column", category FROM gdpr.data_map shows them.';
        ELSIF action = 'delete' THEN
            RAISE EXCEPTION 'one category of a row cannot be deleted' USING ERRCODE = 'invalid_parameter_value', HINT = 'action => ''erase'' or ''shred''.';
        END IF;
    END IF;
    IF purpose IS NOT NULL THEN
        SELECT p.id INTO wanted_purpose FROM gdpr.purpose p WHERE p.name = purpose;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'purpose "%" does not exist', purpose USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
        END IF;
    END IF;
    time_zone := coalesce(time_zone, current_setting('TimeZone'));
    IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = time_zone) THEN
        RAISE EXCEPTION 'time zone "%" does not exist', time_zone
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT name FROM pg_timezone_names shows them: time_zone => ''Europe/Amsterdam''.';
    END IF;
    IF since = 'end of consent' THEN
        IF wanted_purpose IS NULL THEN
            RAISE EXCEPTION 'consent to which purpose is not said' USING ERRCODE = 'null_value_not_allowed', HINT = 'purpose => ''…''.';
        END IF;
    ELSIF since <> 'last activity' THEN
        kind := 'column';
        since_table := mapped.id;
        since_relation := relation;
        IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = since AND a.attnum > 0 AND NOT a.attisdropped) THEN
            since_column := since;
        ELSE
            BEGIN
                parts := parse_ident(since);
            EXCEPTION WHEN invalid_parameter_value THEN
                RAISE EXCEPTION 'since is "%"', since
                    USING ERRCODE = 'invalid_parameter_value',
                          HINT = 'It is a column of the table, a column of a table above it as ''schema.table.column'', ''last activity'' or ''end of consent''.';
            END;
            since_column := parts[cardinality(parts)];
            IF cardinality(parts) > 1 THEN
                since_relation := to_regclass((SELECT string_agg(quote_ident(p), '.') FROM unnest(trim_array(parts, 1)) p));
                SELECT t.id INTO since_table FROM gdpr.mapped_table t
                WHERE t.relation = since_relation AND (t.id = mapped.id OR t.id IN (SELECT a.id FROM gdpr.tables_above(mapped.id) a));
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'the rows of table % do not belong to rows of a table "%"', relation, array_to_string(trim_array(parts, 1), '.')
                        USING ERRCODE = 'GD006',
                              HINT = coalesce((SELECT 'Those above it are ' || string_agg(t.relation::text, ', ' ORDER BY a.n) || '.'
                                      FROM gdpr.tables_above(mapped.id) a JOIN gdpr.mapped_table t ON t.id = a.id), 'There is none above it.');
                END IF;
            END IF;
        END IF;
        type := gdpr.base_type(since_relation, since_column);
        IF type IS NULL THEN
            RAISE EXCEPTION 'column "%" of table % does not exist', since_column, since_relation USING ERRCODE = 'undefined_column';
        ELSIF type NOT IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN
            RAISE EXCEPTION 'column "%" of table % is of type %', since_column, since_relation, type
                USING ERRCODE = 'datatype_mismatch', HINT = 'A period begins at a date, a timestamp or a timestamptz.';
        ELSIF EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = since_table AND c.name = since_column) THEN
            RAISE EXCEPTION 'column "%" of table % is sealed', since_column, since_relation
                USING ERRCODE = 'invalid_column_definition', DETAIL = 'A run reads no personal data.', HINT = 'Choose a column that is not personal.';
        END IF;
        -- as the run will
        BEGIN
            PERFORM gdpr.run_as_owner(relation, format('SELECT %s.%I FROM %s x%s LIMIT 0',
                CASE WHEN since_table = mapped.id THEN 'x' ELSE 'a' || since_table END, since_column, relation,
                gdpr.retention_joins(mapped.id, since_table)));
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE EXCEPTION 'the owner of table % may not read column "%" of table %', relation, since_column, since_relation
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('GRANT SELECT ON %s TO %s, and what lies between.', since_relation,
                                    (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = relation));
        END;
        IF NOT gdpr.has_index_on(since_relation, since_column) THEN
            RAISE NOTICE 'no index begins with column "%" of table %: each run reads the whole table', since_column, since_relation
                USING HINT = format('CREATE INDEX ON %s (%I)', since_relation, since_column);
        END IF;
    END IF;
    IF action = 'shred' THEN
        PERFORM gdpr.assert_can_shred(mapped, since, since_table, since_column);
    END IF;
    SELECT * INTO other FROM gdpr.retention_policy p
    WHERE p.table_id = mapped.id AND p.category IS NOT DISTINCT FROM category_id AND p.purpose_id IS DISTINCT FROM wanted_purpose
      AND p.action <> set_retention.action LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'another policy of table % has action "%"', relation, other.action
            USING ERRCODE = 'GD006', DETAIL = 'The longest of them wins, so all of them say what is done then.',
                  HINT = 'Change or drop the others first: SELECT * FROM gdpr.retention.';
    END IF;
    shredded := gdpr.shreds(mapped.id);
    DELETE FROM gdpr.retention_policy p
    WHERE p.table_id = mapped.id AND p.category IS NOT DISTINCT FROM category_id AND p.purpose_id IS NOT DISTINCT FROM wanted_purpose
    RETURNING p.id INTO result;
    result := coalesce(result, nextval('gdpr.map_id')::integer);
    INSERT INTO gdpr.retention_policy (id, table_id, category, purpose_id, action, keep, since, since_table, since_column, time_zone, ground)
    VALUES (result, mapped.id, category_id, wanted_purpose, action, keep, kind, since_table, since_column, time_zone, nullif(ground, ''));
    IF shredded OR gdpr.shreds(mapped.id) THEN
        PERFORM gdpr.note_reseal(mapped.id);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.set_retention(regclass, interval, text, text, text, text, text, text) IS
    'sets how long the rows of a declared table, or a category of data in them, are kept (for a purpose: each can have its own), and what is done then; keep: a period; since: a date or timestamp column of the row, of a row above it (schema.table.column), last activity, or end of consent to the purpose; action: delete, erase or shred (erase, and in older backups too); ground: the law or reason; time_zone: whose days count, of the session by default; returns the policy''s id';
REVOKE ALL ON FUNCTION gdpr.set_retention(regclass, interval, text, text, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.drop_retention(relation regclass DEFAULT NULL, category text DEFAULT NULL, purpose text DEFAULT NULL, policy integer DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (relation IS NULL) = (policy IS NULL) THEN
        RAISE EXCEPTION 'either relation or policy is needed' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM gdpr.note_reseal(t.id) FROM gdpr.mapped_table t
    WHERE gdpr.shreds(t.id) AND (t.relation = drop_retention.relation OR
                                 t.id = (SELECT p.table_id FROM gdpr.retention_policy p WHERE p.id = policy));
    DELETE FROM gdpr.retention_policy p USING gdpr.mapped_table t
    WHERE t.id = p.table_id AND (p.id = policy OR
          t.relation = drop_retention.relation
          AND p.category IS NOT DISTINCT FROM (SELECT c.id FROM gdpr.category c WHERE c.name = drop_retention.category)
          AND (drop_retention.category IS NULL OR p.category IS NOT NULL)
          AND p.purpose_id IS NOT DISTINCT FROM (SELECT u.id FROM gdpr.purpose u WHERE u.name = drop_retention.purpose)
          AND (drop_retention.purpose IS NULL OR p.purpose_id IS NOT NULL));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such policy' USING ERRCODE = 'no_data_found', HINT = 'SELECT * FROM gdpr.retention shows those that there are.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.drop_retention(regclass, text, text, integer) IS
    'takes back the policy of a table, for a category and a purpose as set_retention had them, or the one of this id';
REVOKE ALL ON FUNCTION gdpr.drop_retention(regclass, text, text, integer) FROM PUBLIC;

CREATE VIEW gdpr.retention AS
SELECT r.* FROM (
SELECT p.id AS policy, t.relation, c.name AS category, CASE WHEN p.purpose_id IS NOT NULL THEN coalesce(u.name, 'dropped') END AS purpose,
       p.keep::text AS keep,
       CASE WHEN p.since <> 'column' THEN p.since
            WHEN p.since_table = p.table_id THEN pg_catalog.quote_ident(p.since_column)
            ELSE s.relation || '.' || pg_catalog.quote_ident(p.since_column) END AS since,
       p.action, p.ground, p.time_zone,
       CASE WHEN p.since = 'column' THEN coalesce(gdpr.has_index_on(s.relation, p.since_column), false) ELSE p.since <> 'last activity' END AS indexed
FROM gdpr.retention_policy p JOIN gdpr.mapped_table t ON t.id = p.table_id
LEFT JOIN gdpr.mapped_table s ON s.id = p.since_table LEFT JOIN gdpr.category c ON c.id = p.category
LEFT JOIN gdpr.purpose u ON u.id = p.purpose_id
UNION ALL
SELECT 0, t.relation, NULL, NULL, 'until ' || t.keep_until, NULL, 'delete', t.ground, pg_catalog.current_setting('TimeZone'), false
FROM gdpr.mapped_table t WHERE t.on_forget = 'keep' AND t.keep_until IS NOT NULL
) r ORDER BY r.relation::text, r.policy;
COMMENT ON VIEW gdpr.retention IS
    'how long data is kept, and why; policy 0: what the data map keeps by law, which ends the rows of persons who were forgotten, and binds all other policies of the table; indexed: a run need not read the whole table';
REVOKE ALL ON gdpr.retention FROM PUBLIC;

CREATE FUNCTION gdpr.retention_reason(policy integer, table_id integer) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN policy = 0 THEN r.keep ELSE concat(r.keep, ' since ', r.since, ', for ' || r.purpose) END || coalesce(': ' || r.ground, '')
    FROM gdpr.retention r JOIN gdpr.mapped_table t ON t.relation = r.relation
    WHERE r.policy = retention_reason.policy AND t.id = retention_reason.table_id
$$;
COMMENT ON FUNCTION gdpr.retention_reason(integer, integer) IS 'a policy in words';
REVOKE ALL ON FUNCTION gdpr.retention_reason(integer, integer) FROM PUBLIC;

-- What is due -------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.retention_tasks() RETURNS SETOF gdpr.retention_task
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH kept AS (  -- kept by law until a date: that binds the others
        SELECT t.id, CASE WHEN t.on_forget = 'keep' AND t.keep_until IS NOT NULL THEN ARRAY[0] ELSE '{}' END AS policies
        FROM gdpr.mapped_table t WHERE t.protected
    ), scope AS (
        SELECT k.id AS table_id, p.category, p.action, k.policies || array_agg(p.id ORDER BY p.id) AS policies
        FROM kept k JOIN gdpr.retention_policy p ON p.table_id = k.id GROUP BY k.id, p.category, p.action, k.policies
    ), every AS (
        SELECT k.id AS table_id, k.policies || coalesce(array_agg(p.id ORDER BY p.id) FILTER (WHERE p.id IS NOT NULL), '{}') AS policies
        FROM kept k LEFT JOIN gdpr.retention_policy p ON p.table_id = k.id GROUP BY k.id, k.policies
    )
    -- rows go when nothing in them has to stay
    SELECT s.table_id, NULL::smallint, 'delete', false, e.policies FROM scope s JOIN every e USING (table_id) WHERE s.action = 'delete'
    UNION ALL
    SELECT k.id, NULL, 'delete', true, e.policies FROM kept k JOIN every e ON e.table_id = k.id
    WHERE k.policies <> '{}' AND NOT EXISTS (SELECT FROM scope s WHERE s.table_id = k.id AND s.action = 'delete')
    UNION ALL
    -- categories that have policies of their own
    SELECT s.table_id, s.category, s.action, false, s.policies FROM scope s WHERE s.category IS NOT NULL
    UNION ALL
    -- the others, by the policies of the row, if it is not deleted as a whole by them
    SELECT s.table_id, c.category, CASE s.action WHEN 'shred' THEN 'shred' ELSE 'erase' END, false, s.policies
    FROM scope s JOIN (SELECT DISTINCT m.table_id, m.category FROM gdpr.mapped_column m) c USING (table_id)
    WHERE s.category IS NULL AND EXISTS (SELECT FROM scope o WHERE o.table_id = s.table_id AND o.category IS NOT NULL)
      AND NOT EXISTS (SELECT FROM scope o WHERE o.table_id = s.table_id AND o.category = c.category)
    UNION ALL
    SELECT s.table_id, NULL, s.action, false, s.policies FROM scope s
    WHERE s.category IS NULL AND s.action <> 'delete' AND NOT EXISTS (SELECT FROM scope o WHERE o.table_id = s.table_id AND o.category IS NOT NULL)
$$;
COMMENT ON FUNCTION gdpr.retention_tasks() IS 'what the policies come to, for each protected table';
REVOKE ALL ON FUNCTION gdpr.retention_tasks() FROM PUBLIC;

-- Rows below those that lead to them come first.
CREATE FUNCTION gdpr.retention_places(OUT place bigint, OUT relation regclass, OUT task gdpr.retention_task)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT row_number() OVER (ORDER BY c.place, t.action, t.category), c.relation, t::gdpr.retention_task
    FROM gdpr.tables_children_first() c JOIN gdpr.mapped_relation r ON r.relation = c.relation
    JOIN gdpr.retention_tasks() t ON t.table_id = r.table_id WHERE c.has_rows
$$;
COMMENT ON FUNCTION gdpr.retention_places() IS 'the tasks of each table and partition, in the order in which a run does them';
REVOKE ALL ON FUNCTION gdpr.retention_places() FROM PUBLIC;

-- rows: only these, locked, without those that others have locked; numbers: only of these persons.
CREATE FUNCTION gdpr.retention_query(task gdpr.retention_task, relation regclass, "rows" tid[] DEFAULT NULL, numbers bigint[] DEFAULT NULL)
    RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table := (SELECT t FROM gdpr.mapped_table t WHERE t.id = task.table_id);
    policy record;
    base text;
    type regtype;
    top integer;
    bound text;
    due text;
    dues text[] := '{}';
    ids integer[] := '{}';
    conditions text[] := ARRAY['x.gdpr_sealed IS NOT NULL'];
BEGIN
    FOR policy IN
        SELECT p.id, p.keep, p.time_zone, p.since_table, p.since_column, t.relation AS since_relation
        FROM gdpr.retention_policy p JOIN gdpr.mapped_table t ON t.id = p.since_table WHERE p.id = ANY (task.policies) ORDER BY p.id
    LOOP
        base := format('%s.%I', CASE WHEN policy.since_table = mapped.id THEN 'x' ELSE 'a' || policy.since_table END, policy.since_column);
        type := gdpr.base_type(policy.since_relation, policy.since_column);
        IF policy.since_table <> mapped.id AND (top IS NULL OR top IN (SELECT a.below FROM gdpr.tables_above(mapped.id) a WHERE a.id = policy.since_table)
                                                OR (SELECT a.n FROM gdpr.tables_above(mapped.id) a WHERE a.id = policy.since_table)
                                                 > (SELECT a.n FROM gdpr.tables_above(mapped.id) a WHERE a.id = top)) THEN
            top := policy.since_table;
        END IF;
        -- for the index: a month's end can lie some days before, and zones apart
        bound := format('%s <= %s - %L::interval + interval ''5 days''', base,
                        CASE WHEN type = 'timestamptz'::regtype THEN 'now()' ELSE format('(now() AT TIME ZONE %L)', policy.time_zone) END, policy.keep);
        due := format('CASE WHEN %1$s < ''4000-01-01 BC'' THEN ''-infinity'' WHEN %2$s THEN gdpr.retention_end(%3$s, %4$L, %5$L) END', base, bound,
                      CASE WHEN type = 'timestamptz'::regtype THEN format('%s AT TIME ZONE %L', base, policy.time_zone) ELSE base || '::timestamp' END,
                      policy.keep, policy.time_zone);
        ids := ids || policy.id;
        dues := dues || due;
        conditions := conditions || bound || format('(%s) <= now()', due);
    END LOOP;
    IF 0 = ANY (task.policies) THEN
        due := format('gdpr.retention_end(k.gdpr_keep_until, ''0'', %L)', current_setting('TimeZone'));
        ids := ids || 0;
        dues := dues || due;
        conditions := conditions || format('(CASE WHEN k.gdpr_keep_until <= now() + interval ''2 days'' THEN %s END) <= now()', due);
    END IF;
    IF task.action <> 'delete' THEN
        conditions := conditions || format('gdpr.has_values(x.gdpr_sealed, NULL, %L)', task.category);
    END IF;
    IF "rows" IS NOT NULL THEN
        conditions := conditions || format('x.ctid = ANY (%L::tid[])', "rows");
    END IF;
    IF numbers IS NOT NULL THEN
        conditions := conditions || format('gdpr.subject_number(x.gdpr_sealed) = ANY (%L::bigint[])', numbers);
    END IF;
    RETURN format('SELECT x.ctid, gdpr.subject_number(x.gdpr_sealed), %s, %s FROM ONLY %s x%s%s WHERE %s%s',
        CASE WHEN ids = '{}' THEN 'NULL::integer'
             ELSE format('CASE greatest(%s) %s END', array_to_string(dues, ', '),
                         (SELECT string_agg(format('WHEN %s THEN %s', d, i), ' ') FROM unnest(dues, ids) u(d, i))) END,
        CASE WHEN ids = '{}' THEN 'NULL::timestamptz' ELSE format('greatest(%s)', array_to_string(dues, ', ')) END,
        relation,
        -- before the tables above, whose columns may have the same names
        CASE WHEN 0 = ANY (task.policies) THEN format(E' CROSS JOIN LATERAL (SELECT (\n%s\n)::timestamp AS gdpr_keep_until) k', mapped.keep_until) ELSE '' END,
        gdpr.retention_joins(mapped.id, top), array_to_string(conditions, ' AND '),
        CASE WHEN "rows" IS NOT NULL THEN ' FOR UPDATE OF x SKIP LOCKED' ELSE '' END);
END $$;
COMMENT ON FUNCTION gdpr.retention_query(gdpr.retention_task, regclass, tid[], bigint[]) IS
    'the query for the rows of one part of a table on which a task is due, as far as the rows themselves and those above tell: place, person, the policy that is the last to end, and when it ended';
REVOKE ALL ON FUNCTION gdpr.retention_query(gdpr.retention_task, regclass, tid[], bigint[]) FROM PUBLIC;

-- Policies that depend on the person, not the row.
CREATE FUNCTION gdpr.last_activity(numbers bigint[], time_zone text, OUT number bigint, OUT at timestamptz)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    chunk record;
    found_numbers bigint[] := '{}';
    found_at timestamptz[] := '{}';
    others bigint[] := ARRAY(SELECT DISTINCT w.other FROM gdpr.with_merged(numbers) w);
BEGIN
    FOR item IN
        SELECT DISTINCT r.relation, p.since_column, gdpr.base_type(t.relation, p.since_column) = 'timestamptz'::regtype AS absolute
        FROM gdpr.retention_policy p JOIN gdpr.mapped_table t ON t.id = p.table_id AND t.protected
        JOIN gdpr.mapped_relation r ON r.table_id = t.id AND r.has_rows
        WHERE p.since = 'column' AND p.since_table = p.table_id
    LOOP
        FOR chunk IN
            SELECT c.numbers, c.due FROM gdpr.rows_as_owner(item.relation, format(
                'SELECT NULL::tid, gdpr.subject_number(x.gdpr_sealed), NULL::integer, max(%s)
                 FROM ONLY %s x WHERE gdpr.subject_number(x.gdpr_sealed) = ANY (%L::bigint[]) GROUP BY 2',
                CASE WHEN item.absolute THEN format('x.%I', item.since_column) ELSE format('x.%I::timestamp AT TIME ZONE %L', item.since_column, time_zone) END,
                item.relation, others), 10000) c
        LOOP
            found_numbers := found_numbers || chunk.numbers;
            found_at := found_at || chunk.due;
        END LOOP;
    END LOOP;
    RETURN QUERY
    SELECT w.number, max(greatest(f.at, e.entered_at))
    FROM gdpr.with_merged(numbers) w
    LEFT JOIN (SELECT u.number, max(u.at) AS at FROM unnest(found_numbers, found_at) u(number, at) GROUP BY 1) f ON f.number = w.other
    LEFT JOIN LATERAL (SELECT p.entered_at, p.last_subject FROM gdpr.provenance p WHERE p.first_subject <= w.other ORDER BY p.first_subject DESC LIMIT 1) e
           ON e.last_subject >= w.other
    GROUP BY w.number HAVING max(greatest(f.at, e.entered_at)) IS NOT NULL;
END $$;
COMMENT ON FUNCTION gdpr.last_activity(bigint[], text) IS
    'the newest of the dates by which rows of these persons are kept, in any table, or when they were entered if that is later';
REVOKE ALL ON FUNCTION gdpr.last_activity(bigint[], text) FROM PUBLIC;

CREATE FUNCTION gdpr.end_of_consent(purpose_id integer, numbers bigint[], OUT number bigint, OUT at timestamptz)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH asked AS (SELECT DISTINCT w.number, w.other FROM gdpr.with_merged(coalesce(numbers, ARRAY(
        SELECT DISTINCT o.other FROM gdpr.with_merged(ARRAY(
            SELECT DISTINCT c.subject FROM gdpr.consent c WHERE c.purpose_id = end_of_consent.purpose_id)) o))) w)
    SELECT a.number, max(CASE WHEN c.permits THEN c.expires_at ELSE c.since END)
    FROM asked a JOIN gdpr.consent c ON c.purpose_id = end_of_consent.purpose_id AND c.subject = a.other
    GROUP BY a.number HAVING NOT bool_or(c.permits AND (c.expires_at IS NULL OR c.expires_at > now()))
$$;
COMMENT ON FUNCTION gdpr.end_of_consent(integer, bigint[]) IS
    'when persons who decided on a purpose ceased to consent to it on every channel and topic: refused, withdrawn or expired; NULL: of all persons';
REVOKE ALL ON FUNCTION gdpr.end_of_consent(integer, bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.retention_of_persons(policy gdpr.retention_policy, numbers bigint[], OUT number bigint, OUT due timestamptz)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF policy.since = 'end of consent' THEN
        RETURN QUERY
        SELECT c.number, gdpr.retention_end(c.at AT TIME ZONE policy.time_zone, policy.keep, policy.time_zone)
        FROM gdpr.end_of_consent(policy.purpose_id, numbers) c WHERE c.at <= now() - policy.keep + interval '5 days';
    ELSE
        RETURN QUERY
        SELECT a.number, gdpr.retention_end(a.at AT TIME ZONE policy.time_zone, policy.keep, policy.time_zone)
        FROM gdpr.last_activity(numbers, policy.time_zone) a WHERE a.at <= now() - policy.keep + interval '5 days';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.retention_of_persons(gdpr.retention_policy, bigint[]) IS
    'when a policy that counts from something about the person ends, for those of these persons for whom that is not in the future';
REVOKE ALL ON FUNCTION gdpr.retention_of_persons(gdpr.retention_policy, bigint[]) FROM PUBLIC;

-- Of rows that retention_query found: those that are due by the other policies too, and those that may not be touched.
CREATE FUNCTION gdpr.retention_filter(task gdpr.retention_task, relation regclass, found_rows tid[], found_numbers bigint[], found_policies integer[],
                                      found_due timestamptz[], OUT "row" tid, OUT number bigint, OUT policy integer, OUT due timestamptz, OUT held text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    persons bigint[] := ARRAY(SELECT DISTINCT n FROM unnest(found_numbers) n);
    others integer[] := ARRAY(SELECT p.id FROM gdpr.retention_policy p WHERE p.id = ANY (task.policies) AND p.since <> 'column');
BEGIN
    IF task.forgotten THEN
        persons := ARRAY(SELECT DISTINCT t.number FROM gdpr.tombstone t WHERE t.number = ANY (persons) AND t.category IS NULL);
    END IF;
    RETURN QUERY
    WITH other AS MATERIALIZED (
        SELECT d.number, p.id AS policy, d.due
        FROM gdpr.retention_policy p CROSS JOIN LATERAL gdpr.retention_of_persons(p, persons) d WHERE p.id = ANY (others)
    ), person AS MATERIALIZED (
        SELECT n AS number, count(o.policy) AS policies, max(o.due) AS due, (array_agg(o.policy ORDER BY o.due DESC))[1] AS policy
        FROM unnest(persons) n LEFT JOIN other o ON o.number = n GROUP BY n
        HAVING count(o.policy) = cardinality(others) AND coalesce(max(o.due) <= now(), true)
    )
    SELECT f."row", f.number, CASE WHEN p.due > f.due OR f.due IS NULL THEN p.policy ELSE f.policy END, greatest(f.due, p.due), h.reason
    FROM unnest(found_rows, found_numbers, found_policies, found_due) f("row", number, policy, due)
    JOIN person p ON p.number = f.number
    LEFT JOIN (SELECT s.subject, min(s.reason) AS reason FROM gdpr.held_subjects(persons, retention_filter.relation) s GROUP BY 1) h ON h.subject = f.number;
END $$;
COMMENT ON FUNCTION gdpr.retention_filter(gdpr.retention_task, regclass, tid[], bigint[], integer[], timestamptz[]) IS
    'those of the rows found in which a task is due also by policies that depend on the person; held: why the row has to stay all the same';
REVOKE ALL ON FUNCTION gdpr.retention_filter(gdpr.retention_task, regclass, tid[], bigint[], integer[], timestamptz[]) FROM PUBLIC;

CREATE FUNCTION gdpr.retention_rows(task gdpr.retention_task, relation regclass, chunk integer, OUT "rows" tid[], OUT numbers bigint[],
                                    OUT policies integer[], OUT due timestamptz[])
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    consent gdpr.retention_policy;
    persons bigint[];
BEGIN
    SELECT p.* INTO consent FROM gdpr.retention_policy p WHERE p.id = ANY (task.policies) AND p.since = 'end of consent' ORDER BY p.id LIMIT 1;
    IF task.forgotten THEN
        -- whose second key lives: something may be kept
        FOR persons IN
            SELECT array_agg(n.number) FROM (
                SELECT t.number, (row_number() OVER () - 1) / 10000 AS part FROM gdpr.tombstone t
                WHERE t.category IS NULL AND t.number > 65535 AND t.number < 549755813888
                  AND NOT EXISTS (SELECT FROM gdpr.tombstone k WHERE k.number = t.number + 549755813888 AND k.category IS NULL)) n
            GROUP BY n.part
        LOOP
            RETURN QUERY SELECT r.* FROM gdpr.rows_as_owner(relation, gdpr.retention_query(task, relation, numbers => persons), chunk) r;
        END LOOP;
    ELSIF consent.id IS NOT NULL AND NOT EXISTS (SELECT FROM gdpr.retention_policy p WHERE p.id = ANY (task.policies) AND p.since = 'column') THEN
        FOR persons IN
            SELECT array_agg(n.number) FROM (
                SELECT e.number, (row_number() OVER () - 1) / 10000 AS part FROM gdpr.retention_of_persons(consent, NULL) e WHERE e.due <= now()) n
            GROUP BY n.part
        LOOP
            RETURN QUERY SELECT r.* FROM gdpr.rows_as_owner(relation, gdpr.retention_query(task, relation, numbers => persons), chunk) r;
        END LOOP;
    ELSE
        RETURN QUERY SELECT r.* FROM gdpr.rows_as_owner(relation, gdpr.retention_query(task, relation), chunk) r;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.retention_rows(gdpr.retention_task, regclass, integer) IS
    'the rows of one part of a table on which a task may be due, in chunks, for retention_filter';
REVOKE ALL ON FUNCTION gdpr.retention_rows(gdpr.retention_task, regclass, integer) FROM PUBLIC;

CREATE FUNCTION gdpr.preview_retention(OUT relation regclass, OUT category text, OUT action text, OUT policy integer, OUT reason text,
                                       OUT "rows" bigint, OUT oldest timestamptz)
    RETURNS SETOF record LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    part jsonb;
    found_rows jsonb := '[]';
    state text;
BEGIN
    FOR item IN SELECT p.place, p.relation, p.task, (p.task).table_id, (p.task).category, (p.task).action FROM gdpr.retention_places() p ORDER BY p.place LOOP
        -- a table that cannot be read does not hide the others
        BEGIN
            SELECT jsonb_agg(jsonb_build_object('place', item.place, 'table_id', item.table_id, 'category', item.category, 'policy', d.policy,
                                                'action', CASE WHEN d.held IS NULL THEN item.action ELSE 'none' END,
                                                'held', d.held, 'rows', d.rows, 'oldest', d.oldest))
            INTO part
            FROM gdpr.retention_rows(item.task, item.relation, 1000) r
            CROSS JOIN LATERAL (SELECT f.policy, f.held, count(*) AS rows, min(f.due) AS oldest
                                FROM gdpr.retention_filter(item.task, item.relation, r.rows, r.numbers, r.policies, r.due) f GROUP BY 1, 2) d;
            found_rows := found_rows || coalesce(part, '[]');
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF gdpr.is_servers_error(state) THEN
                RAISE;
            END IF;
            -- as do_retention
            RAISE WARNING 'rows of table % that are due could not be looked for: %', item.relation,
                CASE WHEN state LIKE '42%' THEN SQLERRM ELSE 'SQLSTATE ' || state END;
        END;
    END LOOP;
    RETURN QUERY
    SELECT t.relation, c.name, f.action, f.policy, coalesce(f.held || '; ', '') || gdpr.retention_reason(f.policy, t.id), sum(f.rows)::bigint, min(f.oldest)
    FROM jsonb_to_recordset(found_rows) f(place bigint, table_id integer, category smallint, policy integer, action text, held text, rows bigint, oldest timestamptz)
    JOIN gdpr.mapped_table t ON t.id = f.table_id LEFT JOIN gdpr.category c ON c.id = f.category
    GROUP BY t.relation, t.id, c.name, f.action, f.policy, f.held
    ORDER BY min(f.place), f.policy, f.held NULLS FIRST;
END $$;
COMMENT ON FUNCTION gdpr.preview_retention() IS
    'what run_retention would do now: in which table, by which policy, to how many rows; oldest: the longest overdue; action none: rows that have to stay, and why';
REVOKE ALL ON FUNCTION gdpr.preview_retention() FROM PUBLIC;
CREATE VIEW gdpr.retention_due AS SELECT * FROM gdpr.preview_retention();
COMMENT ON VIEW gdpr.retention_due IS
    'what run_retention would do now: in which table, by which policy, to how many rows; oldest: the longest overdue; action none: rows that have to stay, and why';
REVOKE ALL ON gdpr.retention_due FROM PUBLIC;
