-- Forgetting a person.

CREATE TABLE gdpr.subject_alias (
    number bigint PRIMARY KEY,
    subject bigint NOT NULL,
    category smallint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subject_alias_subject ON gdpr.subject_alias (subject, category);
COMMENT ON TABLE gdpr.subject_alias IS
    'further numbers of a person: a category that was forgotten and is collected anew is sealed under a new number';

CREATE TABLE gdpr.erasure (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject bigint NOT NULL,
    category smallint,
    reason text,
    requested_by name NOT NULL DEFAULT session_user,
    erased_at timestamptz NOT NULL DEFAULT now(),
    relations jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX erasure_subject ON gdpr.erasure (subject);
COMMENT ON TABLE gdpr.erasure IS 'what was forgotten, when and why: numbers and counts, no personal data';
REVOKE ALL ON gdpr.subject_alias, gdpr.erasure FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.subject_alias', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.erasure', '');

CREATE FUNCTION gdpr.forget_rows(relation regclass, number bigint, category smallint, erase boolean, "row" tid DEFAULT NULL)
    RETURNS bigint LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_forget_rows';
COMMENT ON FUNCTION gdpr.forget_rows(regclass, bigint, smallint, boolean, tid) IS
    'deletes a person''s rows in a table, or erases their values in it; for forget';
REVOKE ALL ON FUNCTION gdpr.forget_rows(regclass, bigint, smallint, boolean, tid) FROM PUBLIC;

-- Deletes a person's rows; those that other rows need, or a trigger keeps, are erased instead.
CREATE FUNCTION gdpr.forget_or_erase_rows(relation regclass, number bigint, OUT deleted bigint, OUT erased bigint)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own_rows text := 'SELECT ctid FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = $1';
    item text;
BEGIN
    erased := 0;
    BEGIN
        deleted := gdpr.forget_rows(relation, number, NULL, false);
    EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
        deleted := 0;
        FOR item IN SELECT gdpr.run_as_owner(relation, format(own_rows, relation), number) LOOP
            BEGIN
                deleted := deleted + gdpr.forget_rows(relation, number, NULL, false, item::tid);
            EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
                NULL;
            END;
        END LOOP;
    END;
    FOR item IN SELECT gdpr.run_as_owner(relation, format(own_rows || ' AND gdpr.has_values(gdpr_sealed, $1, NULL) LIMIT 1',
                                                          relation), number) LOOP
        erased := gdpr.forget_rows(relation, number, NULL, true);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.forget_or_erase_rows(regclass, bigint) IS
    'deletes a person''s rows in a table, erasing those that other rows need or a trigger keeps; for forget';
REVOKE ALL ON FUNCTION gdpr.forget_or_erase_rows(regclass, bigint) FROM PUBLIC;

-- Protected tables with all their parts, those that belong to others first.
CREATE FUNCTION gdpr.tables_children_first(OUT relation regclass, OUT on_forget text, OUT has_others boolean, OUT has_rows boolean,
                                           OUT is_top boolean, OUT place bigint)
    -- not in SQL, which would be planned anew in each call
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE depth(id, n) AS (
        SELECT t.id, 0 FROM gdpr.mapped_table t
        WHERE NOT EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via = 0)
        UNION ALL
        SELECT l.table_id, d.n + 1 FROM depth d JOIN gdpr.mapped_link l ON l.parent_id = d.id AND l.via = 0
    )
    SELECT r.relation, t.on_forget, EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via <> 0),
           r.has_rows, r.is_top, row_number() OVER (ORDER BY d.n DESC, t.id, r.relation::oid) AS place
    FROM gdpr.mapped_table t JOIN (SELECT depth.id, max(depth.n) AS n FROM depth GROUP BY depth.id) d USING (id)
    JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE t.protected ORDER BY row_number() OVER (ORDER BY d.n DESC, t.id, r.relation::oid);
END $$;
COMMENT ON FUNCTION gdpr.tables_children_first() IS 'the order in which forget visits the protected tables and their partitions';
REVOKE ALL ON FUNCTION gdpr.tables_children_first() FROM PUBLIC;

-- One statement for all partitions: a row that moves meanwhile is not missed.
CREATE FUNCTION gdpr.lock_rows(relation regclass, number bigint, has_others boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM gdpr.run_as_owner(relation, format(
                'SELECT count(*) FROM (SELECT FROM %s WHERE %s FOR UPDATE) l', relation,
                CASE WHEN has_others THEN 'gdpr.subject_numbers(gdpr_sealed) @> ARRAY[$1]'
                     ELSE 'gdpr.subject_number(gdpr_sealed) = $1' END), number);
            RETURN;
        EXCEPTION WHEN serialization_failure THEN
            -- it was moved while we waited for it
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.lock_rows(regclass, bigint, boolean) IS
    'locks the rows of a table and its parts that belong to a person, or hold values of it; for forget';
REVOKE ALL ON FUNCTION gdpr.lock_rows(regclass, bigint, boolean) FROM PUBLIC;

-- While a table is converted, rows that are not sealed have no number: seal those of a person, whose rows above are locked.
CREATE FUNCTION gdpr.seal_person(relation regclass, person bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    part regclass;
    link record;
    condition text;
    conditions text[] := '{}';
    all_rows tid[];
    former bytea;
    rows_sealed bigint := 0;
BEGIN
    SELECT t.* INTO mapped FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = seal_person.relation AND t.protected AND 0 IN (t.form, t.other_form);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- as its owner, each table: first the keys of the person's rows above, as conditions, then the rows that refer to them
    FOR link IN
        SELECT p.relation AS parent,
               (SELECT string_agg(format($f$pg_catalog.format('%%L::%s OPERATOR(%I.%s) x.%%I', p.%I, %L::text)$f$,
                                         (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                                          WHERE a.attrelid = p.relation AND a.attname = k.parent_column),
                                         coalesce(n.nspname, 'pg_catalog'), coalesce(o.oprname, '='), k.parent_column, k.own_column),
                                  $f$ || ' AND ' || $f$)
                FROM unnest(l.columns, l.parent_columns) AS k(own_column, parent_column)
                LEFT JOIN (pg_constraint f CROSS JOIN LATERAL unnest(f.conkey, f.confkey, f.conpfeqop) AS e(own, parent, operator)
                           JOIN pg_operator o ON o.oid = e.operator JOIN pg_namespace n ON n.oid = o.oprnamespace)
                       ON f.contype = 'f' AND f.conrelid = t.relation AND f.confrelid = p.relation
                       AND e.own = (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = k.own_column)
                       AND e.parent = (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = p.relation AND a.attname = k.parent_column)) AS key
        FROM gdpr.mapped_table t JOIN gdpr.mapped_link l ON l.table_id = t.id JOIN gdpr.mapped_table p ON p.id = l.parent_id
        WHERE t.id = mapped.id
    LOOP
        FOR condition IN
            SELECT gdpr.run_as_owner(link.parent, format('SELECT %s FROM %s p WHERE gdpr.subject_number(p.gdpr_sealed) = $1',
                                                         link.key, link.parent), person)
        LOOP
            conditions := conditions || condition;
        END LOOP;
    END LOOP;
    FOR part IN SELECT c.oid FROM gdpr.tree(relation) t JOIN pg_class c ON c.oid = t.relation WHERE c.relkind = 'r' ORDER BY c.oid LOOP
        all_rows := ARRAY(
            SELECT DISTINCT r::tid FROM unnest(conditions) k,
                   gdpr.run_as_owner(part, format('SELECT x.ctid FROM ONLY %s x WHERE x.gdpr_sealed IS NULL AND %s', part, k)) r);
        SELECT f.row_key INTO former FROM gdpr.former_number f WHERE f.relation = part AND f.number = person LIMIT 1;
        IF all_rows <> '{}' OR former IS NOT NULL THEN
            rows_sealed := rows_sealed + gdpr.seal_rows(part, all_rows, former);
        END IF;
    END LOOP;
    RETURN rows_sealed;
END $$;
COMMENT ON FUNCTION gdpr.seal_person(regclass, bigint) IS 'seals the rows of a person in a table, with its parts, that is being converted; for forget';
REVOKE ALL ON FUNCTION gdpr.seal_person(regclass, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget(subject bigint, reason text DEFAULT NULL, category text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint := gdpr.assert_subject(subject);
    category_id smallint;
    numbers bigint[];
    number bigint;
    item record;
    deleted bigint;
    erased bigint;
    relations jsonb := '[]';
    result uuid;
BEGIN
    IF category IS NOT NULL THEN
        SELECT c.id INTO category_id FROM gdpr.category c WHERE c.name = category;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'category "%" does not exist', category
                USING ERRCODE = 'GD006', HINT = 'SELECT name FROM gdpr.category shows them.';
        END IF;
        IF category_id = 15 THEN
            RAISE EXCEPTION 'category "%" cannot be forgotten alone', category
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'It is that of the extension''s own records about a person, such as proofs of consent.',
                      HINT = format('They go with the person: SELECT gdpr.forget(%s).', person);
        END IF;
    END IF;

    -- before anything is locked: a worker that has one of the person's messages goes on to its end
    DELETE FROM gdpr.outbox o WHERE o.subject = person AND category_id IS NULL;

    -- one forget of a person at a time; its rows are locked from the top down,
    -- so that at no depth anybody adds rows below them meanwhile
    PERFORM pg_advisory_xact_lock(1734635634, hashint8(person));
    FOR item IN SELECT t.* FROM gdpr.tables_children_first() t WHERE t.is_top ORDER BY t.place DESC LOOP
        PERFORM gdpr.lock_rows(item.relation, person, item.has_others);
        PERFORM gdpr.seal_person(item.relation, person);
    END LOOP;
    numbers := person || ARRAY(SELECT a.number FROM gdpr.subject_alias a
                               WHERE a.subject = person AND (category_id IS NULL OR a.category = category_id));

    FOR item IN SELECT * FROM gdpr.tables_children_first() t WHERE t.on_forget <> 'keep' AND t.has_rows ORDER BY t.place LOOP
        deleted := 0;
        erased := 0;
        IF category_id IS NULL AND item.on_forget = 'delete' THEN
            SELECT r.deleted, r.erased INTO deleted, erased FROM gdpr.forget_or_erase_rows(item.relation, person) r;
        ELSE
            erased := gdpr.forget_rows(item.relation, person, category_id, true);
        END IF;
        -- and in rows of other people
        IF item.has_others THEN
            FOREACH number IN ARRAY numbers LOOP
                erased := erased + gdpr.forget_rows(item.relation, number, category_id, true);
            END LOOP;
        END IF;
        IF deleted > 0 OR erased > 0 THEN
            relations := relations || jsonb_build_object('relation', item.relation, 'deleted', deleted, 'erased', erased);
        END IF;
    END LOOP;

    DELETE FROM gdpr.outbox o WHERE o.subject = person AND category_id IS NULL; -- that came meanwhile

    FOR item IN SELECT t.relation FROM gdpr.mapped_table t WHERE NOT t.protected ORDER BY t.id LOOP
        RAISE WARNING 'table % is declared but not protected: forget does not know whose its rows are', item.relation
            USING HINT = 'Look there for rows of this person, and CALL gdpr.protect() on it.';
    END LOOP;

    -- again after a crash or by mistake: the first erasure stands, unless something was left
    SELECT e.id INTO result FROM gdpr.erasure e
    WHERE e.subject = person AND e.category IS NOT DISTINCT FROM category_id
    ORDER BY e.erased_at LIMIT 1;
    IF NOT FOUND OR relations <> '[]' THEN
        INSERT INTO gdpr.erasure (subject, category, reason, relations)
        VALUES (person, category_id, reason, relations) RETURNING id INTO result;
    END IF;
    FOREACH number IN ARRAY numbers LOOP
        PERFORM gdpr.puncture_at_commit(number, category_id, result);
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.forget(bigint, text, text) IS
    'forgets a person, or one category of it: deletes, erases or keeps rows as the data map says, and when the transaction commits destroys the keys, so that every backup is dark for that person; returns the erasure''s id';
REVOKE ALL ON FUNCTION gdpr.forget(bigint, text, text) FROM PUBLIC;

-- After a restore ---------------------------------------------------------------------------------

CREATE FUNCTION gdpr.lost_keys(envelope gdpr.sealed, OUT number bigint, OUT category smallint, OUT has_values boolean)
    RETURNS SETOF record LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'gdpr_lost_keys';
COMMENT ON FUNCTION gdpr.lost_keys(gdpr.sealed) IS
    'the numbers in an envelope whose keys are destroyed, all of them or those of one category; for dark_rows';
REVOKE ALL ON FUNCTION gdpr.lost_keys(gdpr.sealed) FROM PUBLIC;

-- The keystore knows who was forgotten after the backup, the restored database does not.
CREATE FUNCTION gdpr.dark_rows(OUT relation regclass, OUT subject bigint, OUT category text, OUT rows bigint)
    RETURNS SETOF record LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR relation IN SELECT r.relation FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
                    WHERE t.protected AND r.has_rows ORDER BY t.id, r.relation::oid LOOP
        -- the table's owner reads its envelopes, 1000 pages at a time;
        -- what was erased here keeps its number, and has a tombstone
        RETURN QUERY
        SELECT dark_rows.relation, coalesce(a.subject, k.number), c.name, count(DISTINCT (b, r.n))
        FROM generate_series(0, pg_relation_size(dark_rows.relation) / current_setting('block_size')::bigint, 1000) b
        CROSS JOIN LATERAL gdpr.run_as_owner(dark_rows.relation, format(
            'SELECT gdpr_sealed FROM ONLY %s WHERE ctid >= %L AND ctid < %L',
            dark_rows.relation, format('(%s,0)', b), format('(%s,0)', b + 1000))) WITH ORDINALITY r(sealed, n)
        CROSS JOIN LATERAL gdpr.lost_keys(r.sealed::gdpr.sealed) k
        LEFT JOIN gdpr.subject_alias a ON a.number = k.number
        LEFT JOIN gdpr.category c ON c.id = k.category
        WHERE k.has_values OR NOT EXISTS (
            SELECT FROM gdpr.tombstone t WHERE t.number = k.number AND t.category IS NULL)
        GROUP BY 2, 3 ORDER BY 2, 3;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.dark_rows() IS
    'rows of protected tables that a restore brought back of persons (or categories of them) whose keys are destroyed; reads every row';
REVOKE ALL ON FUNCTION gdpr.dark_rows() FROM PUBLIC;

CREATE FUNCTION gdpr.forget_again(reason text DEFAULT 'rows of the forgotten came back with a backup') RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    result bigint := 0;
BEGIN
    FOR item IN SELECT DISTINCT d.subject, d.category FROM gdpr.dark_rows() d ORDER BY 1, 2 NULLS FIRST LOOP
        PERFORM gdpr.forget(item.subject, reason, item.category);
        result := result + 1;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.forget_again(text) IS
    'forgets again everybody of whom a restore brought rows back, and gives the database the tombstones that it lacks; returns how many erasures';
REVOKE ALL ON FUNCTION gdpr.forget_again(text) FROM PUBLIC;
