-- Forgetting a person.

CREATE TABLE gdpr.subject_alias (
    number bigint PRIMARY KEY,
    subject bigint NOT NULL,
    category smallint,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (number <> subject)
);
CREATE INDEX subject_alias_subject ON gdpr.subject_alias (subject, category);
COMMENT ON TABLE gdpr.subject_alias IS
    'numbers of one person: a category that was forgotten and is collected anew is sealed under a further number; of persons that were merged, each has its own, and belongs to the survivor''s';
COMMENT ON COLUMN gdpr.subject_alias.category IS 'which is sealed under this number; NULL: it is a person''s own, which was merged into subject';

-- What sessions remember of it is void then; row by row, as logical replication fires no other triggers.
CREATE FUNCTION gdpr.alias_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_alias_changed';
COMMENT ON FUNCTION gdpr.alias_changed() IS 'tells all sessions that numbers of persons changed';
REVOKE ALL ON FUNCTION gdpr.alias_changed() FROM PUBLIC;
CREATE TRIGGER alias_changed AFTER INSERT OR UPDATE OR DELETE ON gdpr.subject_alias
    FOR EACH ROW EXECUTE FUNCTION gdpr.alias_changed();
CREATE TRIGGER aliases_changed AFTER TRUNCATE ON gdpr.subject_alias
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.alias_changed();
ALTER TABLE gdpr.subject_alias ENABLE ALWAYS TRIGGER alias_changed;
ALTER TABLE gdpr.subject_alias ENABLE ALWAYS TRIGGER aliases_changed;

CREATE TABLE gdpr.erasure (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject bigint NOT NULL,
    category smallint,
    reason text,
    requested_by name NOT NULL DEFAULT session_user,
    erased_at timestamptz NOT NULL DEFAULT now(),
    relations jsonb NOT NULL DEFAULT '[]',
    kek_version integer,
    token_epoch integer
);
CREATE INDEX erasure_subject ON gdpr.erasure (subject);
COMMENT ON TABLE gdpr.erasure IS 'what was forgotten, when and why: numbers and counts, no personal data';
COMMENT ON COLUMN gdpr.erasure.kek_version IS 'of the keystore then: copies of it from before are of use until the key-encryption key is rotated';
COMMENT ON COLUMN gdpr.erasure.token_epoch IS 'of the keystore then: until it is rotated, a token in a backup can be compared with a guess';
REVOKE ALL ON gdpr.subject_alias, gdpr.erasure FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.subject_alias', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.erasure', '');

-- What happened to rows of a number.
CREATE TYPE gdpr.erased AS (number bigint, relation regclass, action text, rows bigint, reason text);
COMMENT ON TYPE gdpr.erased IS 'how many rows of a number, in a relation, were deleted, erased, held, kept, shared or unlinked, and why; for forget';

CREATE FUNCTION gdpr.forget_rows(relation regclass, numbers bigint[], category smallint, erase boolean, "row" tid DEFAULT NULL, most bigint DEFAULT NULL,
                                 leavers bigint[] DEFAULT NULL, OUT number bigint, OUT rows bigint)
    RETURNS SETOF record LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_forget_rows';
COMMENT ON FUNCTION gdpr.forget_rows(regclass, bigint[], smallint, boolean, tid, bigint, bigint[]) IS
    'deletes persons'' rows in a table, or erases their values in it, and says how many of whom; leavers: these and others who leave with them; for forget';
REVOKE ALL ON FUNCTION gdpr.forget_rows(regclass, bigint[], smallint, boolean, tid, bigint, bigint[]) FROM PUBLIC;

-- Of these numbers, those with rows in a relation.
CREATE FUNCTION gdpr.with_rows(relation regclass, numbers bigint[], condition text DEFAULT 'true') RETURNS bigint[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT r::bigint FROM gdpr.run_as_owner(relation, format(
        'SELECT DISTINCT gdpr.subject_number(gdpr_sealed) FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = ANY ($1) AND %s',
        relation, condition), numbers) r);
END $$;
COMMENT ON FUNCTION gdpr.with_rows(regclass, bigint[], text) IS 'those of the numbers that have rows, for which the condition holds, in a relation; for forget';
REVOKE ALL ON FUNCTION gdpr.with_rows(regclass, bigint[], text) FROM PUBLIC;

CREATE FUNCTION gdpr.delete_rows(relation regclass, numbers bigint[], leavers bigint[], OUT number bigint, OUT rows bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM gdpr.forget_rows(relation, numbers, NULL, false, leavers => leavers);
EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
    RETURN QUERY SELECT * FROM gdpr.delete_rows_apart(relation, numbers, leavers);
END $$;
COMMENT ON FUNCTION gdpr.delete_rows(regclass, bigint[], bigint[]) IS
    'deletes persons'' rows in a table, but for those that other rows need or a trigger keeps; for forget';
REVOKE ALL ON FUNCTION gdpr.delete_rows(regclass, bigint[], bigint[]) FROM PUBLIC;

-- Half of the persons at a time, down to one, then row by row.
CREATE FUNCTION gdpr.delete_rows_apart(relation regclass, numbers bigint[], leavers bigint[], OUT number bigint, OUT rows bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    half integer := cardinality(numbers) / 2;
    item text;
BEGIN
    IF half > 0 THEN
        RETURN QUERY SELECT * FROM gdpr.delete_rows(relation, numbers[:half], leavers);
        RETURN QUERY SELECT * FROM gdpr.delete_rows(relation, numbers[half + 1:], leavers);
        RETURN;
    END IF;
    FOR item IN SELECT gdpr.run_as_owner(relation, format('SELECT ctid FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = ANY ($1)', relation), numbers) LOOP
        BEGIN
            RETURN QUERY SELECT * FROM gdpr.forget_rows(relation, numbers, NULL, false, item::tid, leavers => leavers);
        EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
            NULL;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.delete_rows_apart(regclass, bigint[], bigint[]) IS
    'the same, if they cannot be deleted together; for delete_rows';
REVOKE ALL ON FUNCTION gdpr.delete_rows_apart(regclass, bigint[], bigint[]) FROM PUBLIC;

-- What could not be deleted is erased instead.
CREATE FUNCTION gdpr.forget_or_erase_rows(relation regclass, numbers bigint[], OUT number bigint, OUT rows bigint, OUT deleted boolean)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    BEGIN
        RETURN QUERY SELECT r.*, true FROM gdpr.forget_rows(relation, numbers, NULL, false) r;
    EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
        RETURN QUERY SELECT r.*, true FROM gdpr.delete_rows_apart(relation, numbers, numbers) r;
        IF cardinality(numbers) > 1 THEN -- rows of one number can need those of another
            RETURN QUERY SELECT r.*, true FROM gdpr.delete_rows(relation, gdpr.with_rows(relation, numbers), numbers) r;
        END IF;
    END;
    RETURN QUERY SELECT r.*, false
    FROM gdpr.forget_rows(relation, gdpr.with_rows(
        relation, numbers, 'gdpr.has_values(gdpr_sealed, gdpr.subject_number(gdpr_sealed), NULL)'), NULL, true) r;
END $$;
COMMENT ON FUNCTION gdpr.forget_or_erase_rows(regclass, bigint[]) IS
    'deletes persons'' rows in a table, erasing those that other rows need or a trigger keeps; for forget';
REVOKE ALL ON FUNCTION gdpr.forget_or_erase_rows(regclass, bigint[]) FROM PUBLIC;

-- Protected tables with all their parts, those that belong to others first; what is erased before what is deleted, which can erase it on the way.
CREATE TYPE gdpr.ordered_table AS (relation regclass, mapped gdpr.mapped_table, has_others boolean, has_rows boolean, is_top boolean, place bigint);
COMMENT ON TYPE gdpr.ordered_table IS 'a protected table or a part of one, and when forget visits it';
CREATE FUNCTION gdpr.tables_children_first() RETURNS SETOF gdpr.ordered_table
    -- not in SQL, which would be planned anew in each call
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE depth(id, n) AS (
        SELECT t.id, 0 FROM gdpr.mapped_table t
        WHERE NOT EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via = 0)
        UNION ALL
        SELECT l.table_id, d.n + 1 FROM depth d JOIN gdpr.mapped_link l ON l.parent_id = d.id AND l.via = 0
    )
    SELECT r.relation, t, EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via <> 0),
           r.has_rows, r.is_top, row_number() OVER (ORDER BY d.n DESC, t.on_forget = 'delete', t.id, r.relation::oid) AS place
    FROM gdpr.mapped_table t JOIN (SELECT depth.id, max(depth.n) AS n FROM depth GROUP BY depth.id) d USING (id)
    JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE t.protected ORDER BY row_number() OVER (ORDER BY d.n DESC, t.on_forget = 'delete', t.id, r.relation::oid);
END $$;
COMMENT ON FUNCTION gdpr.tables_children_first() IS 'the order in which forget visits the protected tables and their partitions';
REVOKE ALL ON FUNCTION gdpr.tables_children_first() FROM PUBLIC;

-- One statement for all partitions: a row that moves meanwhile is not missed.
CREATE FUNCTION gdpr.lock_rows(relation regclass, numbers bigint[], has_others boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM gdpr.run_as_owner(relation, format(
                'SELECT count(*) FROM (SELECT FROM %s WHERE %s FOR UPDATE) l', relation,
                CASE WHEN has_others THEN 'gdpr.subject_numbers(gdpr_sealed) && $1'
                     ELSE 'gdpr.subject_number(gdpr_sealed) = ANY ($1)' END), numbers);
            RETURN;
        EXCEPTION WHEN serialization_failure THEN
            -- it was moved while we waited for it
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.lock_rows(regclass, bigint[], boolean) IS
    'locks the rows of a table and its parts that belong to persons, or hold values of them; for forget';
REVOKE ALL ON FUNCTION gdpr.lock_rows(regclass, bigint[], boolean) FROM PUBLIC;

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

-- Rows with several owners, of whom some of these are. Locked: who else leaves waits, so that the last one knows.
CREATE TYPE gdpr.owned_row AS (relation regclass, number bigint, owner bigint);
COMMENT ON TYPE gdpr.owned_row IS 'a row with several owners, by its number, and one of them; for forget';
CREATE FUNCTION gdpr.owned_rows(numbers bigint[]) RETURNS SETOF gdpr.owned_row
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owners record;
    found_numbers bigint[];
BEGIN
    FOR owners IN SELECT * FROM gdpr.owner_tables() LOOP
        found_numbers := ARRAY(SELECT r::bigint FROM gdpr.run_as_owner(owners.relation, format(
            'SELECT gdpr.subject_number(s.gdpr_sealed) FROM %s s WHERE EXISTS ('
            'SELECT FROM %s o WHERE %s AND gdpr.subject_number(o.gdpr_sealed) = ANY ($1)) ORDER BY 1 FOR UPDATE',
            owners.relation, owners.through, owners.condition), numbers) r);
        CONTINUE WHEN found_numbers = '{}';
        -- all who are left of a row that is still there, or whose it is
        RETURN QUERY
        SELECT owners.relation, (r::bigint[])[1], gdpr.person((r::bigint[])[2])
        FROM gdpr.run_as_owner(owners.relation, format(
            'SELECT DISTINCT ARRAY[gdpr.subject_number(s.gdpr_sealed), coalesce(gdpr.subject_number(o.gdpr_sealed), 0)]'
            ' FROM %s s JOIN %s o ON %s WHERE gdpr.subject_number(s.gdpr_sealed) = ANY ($1)',
            owners.relation, owners.through, owners.condition), found_numbers) r;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.owned_rows(bigint[]) IS
    'rows with several owners of which some of these are, by their numbers, with every owner; for forget';
REVOKE ALL ON FUNCTION gdpr.owned_rows(bigint[]) FROM PUBLIC;

-- What a hold has kept of rows that somebody else has come to own is theirs at its end: each row gets a number of its own again.
CREATE FUNCTION gdpr.share_held_rows(number bigint, leaving bigint[]) RETURNS SETOF gdpr.owned_row
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owners record;
    item text;
    others bigint[];
    shared bigint;
    before integer;
    found_rows gdpr.owned_row[] := '{}';
BEGIN
    IF NOT EXISTS (SELECT FROM gdpr.hold h WHERE h.number = share_held_rows.number) OR gdpr.key_is_lost(number, NULL) THEN
        RETURN;
    END IF;
    LOOP
        before := cardinality(found_rows);
        FOR owners IN SELECT * FROM gdpr.owner_tables() LOOP
            FOR item IN
                SELECT gdpr.run_as_owner(owners.relation, format(
                    'SELECT ARRAY[s.tableoid::text, s.ctid::text, array_agg(DISTINCT coalesce(gdpr.subject_number(o.gdpr_sealed), 0))::text]'
                    ' FROM %s s JOIN %s o ON %s WHERE gdpr.subject_number(s.gdpr_sealed) = $1 GROUP BY s.tableoid, s.ctid',
                    owners.relation, owners.through, owners.condition), share_held_rows.number)
            LOOP
                others := (item::text[])[3];
                CONTINUE WHEN NOT EXISTS (
                    SELECT FROM unnest(others) o WHERE gdpr.person(o) <> ALL (leaving) AND NOT EXISTS (
                        SELECT FROM gdpr.tombstone t WHERE t.number = o AND t.category IS NULL));
                shared := gdpr.new_number(separated => true);
                PERFORM gdpr.hold_rows((item::text[])[1]::oid, share_held_rows.number, shared, "row" => (item::text[])[2]::tid);
                found_rows := found_rows || ROW(owners.relation, shared, share_held_rows.number)::gdpr.owned_row;
            END LOOP;
        END LOOP;
        EXIT WHEN cardinality(found_rows) = before; -- these rows can own others
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(found_rows);
END $$;
COMMENT ON FUNCTION gdpr.share_held_rows(bigint, bigint[]) IS
    'gives rows under a hold''s number that have an owner who is not leaving numbers of their own, and returns these; owner: the hold''s number; for forget';
REVOKE ALL ON FUNCTION gdpr.share_held_rows(bigint, bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.clear_links(relation regclass, numbers bigint[], statement text, OUT number bigint, OUT rows bigint)
    RETURNS SETOF record LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_clear_links';
COMMENT ON FUNCTION gdpr.clear_links(regclass, bigint[], text) IS
    'runs an UPDATE that takes persons out of other people''s rows, and returns whom; says how many of whom; for forget';
REVOKE ALL ON FUNCTION gdpr.clear_links(regclass, bigint[], text) FROM PUBLIC;

CREATE FUNCTION gdpr.clear_access(numbers bigint[]) RETURNS SETOF gdpr.erased
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    link record;
BEGIN
    FOR link IN
        SELECT t.relation, p.relation AS parent, p.protected,
               (SELECT string_agg(format('%I = NULL', a.attname), ', ') FROM pg_attribute a
                WHERE a.attrelid = t.relation AND a.attname = ANY (gdpr.clearable(m.table_id, m.columns))) AS assignments,
               (SELECT string_agg(format('x.%I = p.%I', k.a, k.b), ' AND ') FROM unnest(m.columns, m.parent_columns) AS k(a, b)) AS condition
        FROM gdpr.mapped_access m JOIN gdpr.mapped_table t ON t.id = m.table_id JOIN gdpr.mapped_table p ON p.id = m.parent_id
        WHERE t.protected AND p.protected ORDER BY t.id, m.columns
    LOOP
        IF link.assignments IS NULL THEN
            RAISE WARNING 'the foreign key by which persons have access to rows of table % cannot be cleared', link.relation
                USING HINT = 'Its columns were dropped, or became NOT NULL.';
            CONTINUE;
        END IF;
        PERFORM gdpr.assert_same_owner(link.relation, link.parent);
        RETURN QUERY
        SELECT c.number, link.relation, 'unlink', c.rows, 'has access to rows of others, which stay'
        FROM gdpr.clear_links(link.relation, numbers, format(
            'UPDATE %s x SET %s FROM %s p WHERE %s AND gdpr.subject_number(p.gdpr_sealed) = ANY ($1) RETURNING gdpr.subject_number(p.gdpr_sealed)',
            link.relation, link.assignments, link.parent, link.condition)) c;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.clear_access(bigint[]) IS 'takes persons out of rows of others that they have access to; for forget';
REVOKE ALL ON FUNCTION gdpr.clear_access(bigint[]) FROM PUBLIC;

-- One table, or a part of one: what happens to the rows of these numbers, and of the further ones for a category.
CREATE FUNCTION gdpr.erase_relation(relation regclass, mapped gdpr.mapped_table, has_others boolean, numbers bigint[], further bigint[],
                                    category_id smallint, hold gdpr.hold) RETURNS SETOF gdpr.erased
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF mapped.on_forget = 'keep' THEN
        RETURN QUERY
        SELECT (r::bigint[])[1], relation, 'keep', (r::bigint[])[2], concat_ws(', until ', mapped.ground, mapped.keep_until)
        FROM gdpr.run_as_owner(relation, format(
            'SELECT ARRAY[gdpr.subject_number(gdpr_sealed), count(*)] FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = ANY ($1)'
            ' GROUP BY gdpr.subject_number(gdpr_sealed)', relation), numbers) r;
        RETURN;
    END IF;
    IF hold.id IS NOT NULL THEN
        RETURN QUERY SELECT n, relation, 'hold', gdpr.hold_rows(relation, n, hold.number), format('%s, until %s', hold.ground, hold.until)
        FROM unnest(numbers) n;
    ELSIF category_id IS NULL AND mapped.on_forget = 'delete' THEN
        RETURN QUERY SELECT r.number, relation, CASE WHEN r.deleted THEN 'delete' ELSE 'erase' END, r.rows,
                            CASE WHEN r.deleted THEN 'belongs to nobody else' ELSE 'other rows need it, or a trigger or a restriction keeps it' END
        FROM gdpr.forget_or_erase_rows(relation, numbers) r;
    ELSE
        RETURN QUERY SELECT r.number, relation, 'erase', r.rows, CASE WHEN category_id IS NULL THEN 'declared' ELSE 'this category only' END
        FROM gdpr.forget_rows(relation, numbers, category_id, true) r;
    END IF;
    IF has_others AND hold.id IS NOT NULL THEN
        RETURN QUERY SELECT n, relation, 'hold',
                            gdpr.hold_rows(relation, n, hold.number, n || ARRAY(SELECT a.number FROM gdpr.subject_alias a WHERE a.subject = n AND a.number = ANY (further))),
                            format('has values in rows of others: %s, until %s', hold.ground, hold.until)
        FROM unnest(numbers) n;
    ELSIF has_others THEN
        RETURN QUERY SELECT r.number, relation, 'erase', r.rows, 'has values in rows of others, which stay'
        FROM gdpr.forget_rows(relation, numbers || further, category_id, true) r;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.erase_relation(regclass, gdpr.mapped_table, boolean, bigint[], bigint[], smallint, gdpr.hold) IS
    'deletes, erases, holds or keeps rows of these numbers in one relation, and says so; for forget';
REVOKE ALL ON FUNCTION gdpr.erase_relation(regclass, gdpr.mapped_table, boolean, bigint[], bigint[], smallint, gdpr.hold) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_not_held(numbers bigint[], category_id smallint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held gdpr.hold;
BEGIN
    SELECT * INTO held FROM gdpr.hold h WHERE h.number = ANY (numbers) AND h.finished_at IS NULL AND h.until > now() LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'what belongs to number % is held until %', held.number, held.until
            USING ERRCODE = 'GD011', DETAIL = format('It is left of person %s, who was forgotten.', held.subject),
                  HINT = format('SELECT gdpr.release_hold(%L) erases it before.', held.id);
    END IF;
    SELECT h.* INTO held FROM gdpr.hold h
    WHERE category_id IS NOT NULL AND h.subject = ANY (numbers) AND h.finished_at IS NULL AND h.until > now() AND EXISTS (
        SELECT FROM gdpr.mapped_table t JOIN gdpr.mapped_column c ON c.table_id = t.id
        WHERE c.category = category_id AND t.on_forget <> 'keep' AND (h.relations IS NULL OR t.relation = ANY (h.relations)))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'data of person % in this category is held until %', held.subject, held.until
            USING ERRCODE = 'GD011', DETAIL = 'One category of rows that are held cannot be forgotten alone.',
                  HINT = format('Forget all of the person: the held rows stay. Or SELECT gdpr.release_hold(%L).', held.id);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_not_held(bigint[], smallint) IS 'raises an error if a hold does not let numbers, or a category of persons, be forgotten';
REVOKE ALL ON FUNCTION gdpr.assert_not_held(bigint[], smallint) FROM PUBLIC;

CREATE FUNCTION gdpr.has_holds(person bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- the table may have been empty when this was planned
    AS $$
BEGIN
    RETURN EXISTS (SELECT FROM gdpr.hold h WHERE h.finished_at IS NULL AND h.subject = ANY (gdpr.numbers_of(coalesce(
        (SELECT o.subject FROM gdpr.hold o WHERE o.number = person), person))));
END $$;
COMMENT ON FUNCTION gdpr.has_holds(bigint) IS 'whether holds_of() can find something in some relation; for forget';
REVOKE ALL ON FUNCTION gdpr.has_holds(bigint) FROM PUBLIC;

-- One forget of a person at a time; its rows are locked from the top down, so that at no depth anybody adds rows below them
-- meanwhile. A row that several of them own goes with the last of these, as if they left one after the other.
CREATE FUNCTION gdpr.leaving(subjects bigint[], category_id smallint, tables gdpr.ordered_table[], lock boolean, OUT numbers bigint[], OUT persons bigint[], OUT own integer,
                             OUT shared gdpr.erased[])
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next bigint[];
    next_persons bigint[];
    owned gdpr.owned_row[];
    of_leavers gdpr.owned_row[] := '{}';
    kept gdpr.erased[];
    item record;
BEGIN
    PERFORM gdpr.lock_persons(subjects);
    -- before anything is locked: a worker that has one of the persons' messages goes on to its end
    DELETE FROM gdpr.outbox o WHERE o.subject = ANY (ARRAY(SELECT n FROM unnest(subjects) s, unnest(gdpr.numbers_of(s)) n)) AND category_id IS NULL;

    SELECT array_agg(n.number ORDER BY s.place, n.place), array_agg(s.subject ORDER BY s.place, n.place) INTO next, next_persons
    FROM unnest(subjects) WITH ORDINALITY s(subject, place), unnest(gdpr.numbers_of(s.subject)) WITH ORDINALITY n(number, place)
    WHERE gdpr.assert_subject(n.number) = n.number;
    PERFORM gdpr.assert_not_held(next, category_id);
    own := cardinality(next);
    numbers := next;
    persons := next_persons;
    LOOP
        FOR item IN SELECT * FROM unnest(tables) t WHERE t.is_top ORDER BY t.place DESC LOOP
            IF lock THEN
                PERFORM gdpr.lock_rows(item.relation, next, item.has_others);
            END IF;
            IF 0 IN ((item.mapped).form, (item.mapped).other_form) THEN
                PERFORM gdpr.seal_person(item.relation, n) FROM unnest(next) n;
            END IF;
        END LOOP;
        of_leavers := of_leavers || ARRAY(
            SELECT ROW(o.relation, o.number, w.person)::gdpr.owned_row
            FROM unnest(next, next_persons) w(number, person) JOIN gdpr.hold h USING (number) CROSS JOIN LATERAL gdpr.share_held_rows(w.number, numbers) o);
        owned := ARRAY(SELECT o FROM gdpr.owned_rows(next) o WHERE o.number <> ALL (numbers));
        EXIT WHEN owned = '{}';
        of_leavers := of_leavers || ARRAY(SELECT ROW(o.relation, o.number, w.person)::gdpr.owned_row
                                          FROM unnest(owned) o JOIN unnest(numbers, persons) w(number, person) ON w.number = o.owner);
        SELECT array_agg(o.number ORDER BY o.place, o.number), array_agg(subjects[o.place] ORDER BY o.place, o.number) INTO next, next_persons
        FROM (SELECT o.number, max(s.place) AS place
              FROM unnest(owned) o LEFT JOIN unnest(numbers, persons) w(number, person) ON w.number = o.owner
              LEFT JOIN unnest(subjects) WITH ORDINALITY s(subject, place) ON s.subject = w.person
              GROUP BY o.number
              HAVING bool_and(w.number IS NOT NULL OR EXISTS (
                  SELECT FROM gdpr.tombstone t WHERE t.number = o.owner AND (t.category IS NULL OR t.category = category_id)))) o;
        EXIT WHEN next IS NULL;
        PERFORM gdpr.lock_persons(next);
        numbers := numbers || next;
        persons := persons || next_persons;
    END LOOP;
    shared := ARRAY(SELECT ROW(o.owner, o.relation, 'share', count(DISTINCT o.number), 'has other owners')::gdpr.erased
                    FROM unnest(of_leavers) o LEFT JOIN unnest(numbers, persons) w(number, person) ON w.number = o.number
                    WHERE w.person IS DISTINCT FROM o.owner GROUP BY o.owner, o.relation ORDER BY o.relation);
    -- while what they hold can be read
    IF category_id IS NULL THEN
        PERFORM gdpr.suppress_forgotten(numbers[:own]);
    END IF;
    kept := ARRAY(
        SELECT ROW(n.number, n.relation, 'hold', n.rows, format('%s, until %s', h.ground, h.until))::gdpr.erased
        FROM gdpr.hold h CROSS JOIN LATERAL gdpr.hold_notes(h, numbers[:own]) n
        WHERE category_id IS NULL AND h.subject = ANY (numbers[:own]) AND h.finished_at IS NULL AND h.until > now());
    shared := shared || kept;
END $$;
COMMENT ON FUNCTION gdpr.leaving(bigint[], smallint, gdpr.ordered_table[], boolean) IS
    'locks persons who are to be forgotten; numbers: whose rows go, and with which of the persons: first their own, so many, of which a person has several if it was merged, then those of the rows whose last owner it is; shared: of each person, rows that have other owners, and evidence that is held; for forget';
REVOKE ALL ON FUNCTION gdpr.leaving(bigint[], smallint, gdpr.ordered_table[], boolean) FROM PUBLIC;

-- Items of several batches become one.
CREATE FUNCTION gdpr.sum_report(report jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(i.item ORDER BY i.place), '[]') FROM (
        SELECT r.item || jsonb_build_object('rows', sum(r.rows)) AS item, min(r.place) AS place
        FROM (SELECT v - 'rows' AS item, (v ->> 'rows')::bigint AS rows, place FROM jsonb_array_elements(report) WITH ORDINALITY u(v, place)) r
        GROUP BY r.item) i
$$;
COMMENT ON FUNCTION gdpr.sum_report(jsonb) IS 'gdpr.erasure.relations with the rows of equal items added up';
REVOKE ALL ON FUNCTION gdpr.sum_report(jsonb) FROM PUBLIC;

-- What happened to the rows of numbers, as gdpr.erasure.relations of the persons whose numbers these are.
CREATE FUNCTION gdpr.reports(erased gdpr.erased[], numbers bigint[], persons bigint[], OUT person bigint, OUT relations jsonb)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT i.person, jsonb_agg(jsonb_build_object('relation', i.relation::text, 'action', i.action, 'rows', i.rows, 'reason', i.reason) ORDER BY i.place)
    FROM (SELECT w.person, e.relation, e.action, e.reason, sum(e.rows) AS rows, min(e.place) AS place
          FROM unnest(erased) WITH ORDINALITY e(number, relation, action, rows, reason, place)
          JOIN unnest(numbers, persons) w(number, person) USING (number)
          WHERE e.rows > 0 GROUP BY w.person, e.relation, e.action, e.reason) i
    GROUP BY i.person;
END $$;
COMMENT ON FUNCTION gdpr.reports(gdpr.erased[], bigint[], bigint[]) IS
    'gdpr.erasure.relations for each of the persons to whom these numbers belong and who have rows; for forget';
REVOKE ALL ON FUNCTION gdpr.reports(gdpr.erased[], bigint[], bigint[]) FROM PUBLIC;

-- All that forget does but for the keys: so the preview does the same. Whoever has holds comes alone.
CREATE FUNCTION gdpr.erase(subjects bigint[], category_id smallint, OUT person bigint, OUT numbers bigint[], OUT relations jsonb) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tables gdpr.ordered_table[] := ARRAY(SELECT t FROM gdpr.tables_children_first() t);
    leaving record;
    further bigint[];
    further_persons bigint[];
    erased gdpr.erased[] := '{}';
    may_hold boolean;
    item record;
    held gdpr.hold;
BEGIN
    SELECT * INTO leaving FROM gdpr.leaving(subjects, category_id, tables, true);
    SELECT coalesce(array_agg(a.number), '{}'), coalesce(array_agg(w.person), '{}') INTO further, further_persons
    FROM unnest(leaving.numbers, leaving.persons) w(number, person) JOIN gdpr.subject_alias a ON a.subject = w.number
    WHERE a.category = coalesce(category_id, a.category);

    IF category_id IS NULL THEN
        erased := ARRAY(SELECT c FROM gdpr.clear_access(leaving.numbers[:leaving.own]) c);
    END IF;
    may_hold := category_id IS NULL AND cardinality(subjects) = 1 AND gdpr.has_holds(subjects[1]);
    FOR item IN SELECT * FROM unnest(tables) t WHERE t.has_rows ORDER BY t.place LOOP
        IF may_hold THEN
            SELECT h.* INTO held FROM gdpr.holds_of(subjects[1], (item.mapped).relation) h LIMIT 1;
            IF FOUND THEN
                held.number := gdpr.hold_number(held);
            END IF;
        END IF;
        erased := erased || ARRAY(SELECT e FROM gdpr.erase_relation(item.relation, item.mapped, item.has_others, leaving.numbers, further, category_id, held) e);
    END LOOP;

    DELETE FROM gdpr.outbox o WHERE o.subject = ANY (leaving.numbers[:leaving.own]) AND category_id IS NULL; -- that came meanwhile

    FOR item IN SELECT t.relation FROM gdpr.mapped_table t WHERE NOT t.protected ORDER BY t.id LOOP
        RAISE WARNING 'table % is declared but not protected: forget does not know whose its rows are', item.relation
            USING HINT = 'Look there for rows of this person, and CALL gdpr.protect() on it.';
    END LOOP;

    RETURN QUERY
    SELECT n.person, n.numbers, coalesce(r.relations, '[]')
    FROM (SELECT w.person, array_agg(w.number ORDER BY w.place) AS numbers, min(w.place) AS place
          FROM unnest(leaving.numbers || further, leaving.persons || further_persons) WITH ORDINALITY w(number, person, place) GROUP BY w.person) n
    LEFT JOIN gdpr.reports(erased || leaving.shared, leaving.numbers || further, leaving.persons || further_persons) r USING (person)
    ORDER BY n.place;
END $$;
COMMENT ON FUNCTION gdpr.erase(bigint[], smallint) IS
    'what forget does to rows, and the numbers whose keys are to be destroyed, of each of these persons; for forget and forget_preview';
REVOKE ALL ON FUNCTION gdpr.erase(bigint[], smallint) FROM PUBLIC;

CREATE FUNCTION gdpr.forgettable_category(category text, person bigint) RETURNS smallint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result smallint := (SELECT c.id FROM gdpr.category c WHERE c.name = category);
BEGIN
    IF category IS NOT NULL AND result IS NULL THEN
        RAISE EXCEPTION 'category "%" does not exist', category
            USING ERRCODE = 'GD006', HINT = 'SELECT name FROM gdpr.category shows them.';
    END IF;
    IF result = 15 THEN
        RAISE EXCEPTION 'category "%" cannot be forgotten alone', category
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is that of the extension''s own records about a person, such as proofs of consent.',
                  HINT = format('They go with the person: SELECT gdpr.forget(%s).', person);
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.forgettable_category(text, bigint) IS 'the id of a category, which must be one that can be forgotten alone; NULL if it is';
REVOKE ALL ON FUNCTION gdpr.forgettable_category(text, bigint) FROM PUBLIC;

-- Who they are, is asked when nobody else can change that.
CREATE FUNCTION gdpr.lock_forgettable(subjects bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    persons bigint[];
BEGIN
    persons := ARRAY(SELECT gdpr.assert_subject(s) FROM unnest(subjects) s);
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'nobody can be forgotten in a transaction that is %', upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'feature_not_supported', DETAIL = 'It would not see holds, numbers and rows that came since it began.',
                  HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM gdpr.lock_persons(persons);
    persons := ARRAY(SELECT gdpr.person(gdpr.assert_subject(s)) AS person FROM unnest(subjects) WITH ORDINALITY u(s, place)
                     GROUP BY person ORDER BY min(place));
    PERFORM gdpr.assert_persons(persons);
    RETURN persons;
END $$;
COMMENT ON FUNCTION gdpr.lock_forgettable(bigint[]) IS
    'the persons to whom numbers belong, locked; an error if one is no person''s, or the transaction is not READ COMMITTED; for forget';
REVOKE ALL ON FUNCTION gdpr.lock_forgettable(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_persons(numbers bigint[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong bigint;
    whose text;
BEGIN
    SELECT l.number, 'a suppression list' INTO wrong, whose FROM gdpr.suppression_list l WHERE l.number = ANY (numbers) LIMIT 1;
    IF NOT FOUND AND EXISTS (SELECT FROM gdpr.mapped_owner) THEN
        SELECT r.number::bigint, 'a row of table ' || t.relation INTO wrong, whose
        FROM gdpr.mapped_owner m JOIN gdpr.mapped_table t ON t.id = m.table_id
        CROSS JOIN LATERAL gdpr.run_as_owner(t.relation, format(
            'SELECT DISTINCT gdpr.subject_number(gdpr_sealed) FROM %s WHERE gdpr.subject_number(gdpr_sealed) = ANY ($1)', t.relation), numbers) r(number)
        WHERE t.protected AND NOT EXISTS (SELECT FROM gdpr.hold h WHERE h.number = r.number::bigint)
          AND NOT gdpr.key_is_lost(r.number::bigint, NULL) -- what is dark may come back with a backup
        LIMIT 1;
    END IF;
    IF whose IS NOT NULL THEN
        RAISE EXCEPTION 'number % is that of %', wrong, whose
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It is no person''s.',
                  HINT = 'SELECT gdpr.subject(''schema.table'', ''key'') tells the number of a person.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_persons(bigint[]) IS 'raises an error if one of the numbers is that of a suppression list, or of a row with several owners';
REVOKE ALL ON FUNCTION gdpr.assert_persons(bigint[]) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_person(number bigint) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT gdpr.assert_persons(ARRAY[number]) $$;
COMMENT ON FUNCTION gdpr.assert_person(bigint) IS 'raises an error if a number is that of a suppression list, or of a row with several owners';
REVOKE ALL ON FUNCTION gdpr.assert_person(bigint) FROM PUBLIC;

-- Again after a crash or by mistake: the first erasure stands, unless something was left.
CREATE FUNCTION gdpr.record_erasure(person bigint, category_id smallint, reason text, relations jsonb, kek_version integer, token_epoch integer)
    RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- the table may have been empty when this was planned
    AS $$
DECLARE
    result uuid;
BEGIN
    SELECT e.id INTO result FROM gdpr.erasure e
    WHERE e.subject = person AND e.category IS NOT DISTINCT FROM category_id
    ORDER BY e.erased_at LIMIT 1;
    IF NOT FOUND OR relations @? '$[*] ? (@.action != "keep" && @.action != "share")' THEN
        INSERT INTO gdpr.erasure AS e (subject, category, reason, relations, kek_version, token_epoch)
        VALUES (person, category_id, record_erasure.reason, record_erasure.relations, record_erasure.kek_version, record_erasure.token_epoch)
        RETURNING e.id INTO result;
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.record_erasure(bigint, smallint, text, jsonb, integer, integer) IS
    'the erasure of a person, or of one category of it, with what happened to the rows; for forget';
REVOKE ALL ON FUNCTION gdpr.record_erasure(bigint, smallint, text, jsonb, integer, integer) FROM PUBLIC;

-- What forget does; several persons as if one after the other, but each table is visited once. Locked persons, each once.
CREATE FUNCTION gdpr.forget_persons(persons bigint[], reasons text[], category_id smallint, OUT person bigint, OUT erasure uuid)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held bigint[];
    one bigint;
    keystore record;
    done record;
BEGIN
    IF cardinality(persons) > 1 THEN
        -- of whom something is held: each alone, as a cascade from others' rows would not see it
        held := ARRAY(SELECT p FROM unnest(persons) p WHERE gdpr.has_holds(p));
        FOREACH one IN ARRAY held LOOP
            RETURN QUERY SELECT * FROM gdpr.forget_persons(ARRAY[one], reasons[array_position(persons, one):array_position(persons, one)], category_id);
        END LOOP;
        IF held <> '{}' THEN
            SELECT array_agg(p ORDER BY place), array_agg(r ORDER BY place) INTO persons, reasons
            FROM unnest(persons, reasons) WITH ORDINALITY u(p, r, place) WHERE p <> ALL (held);
        END IF;
    END IF;
    IF coalesce(persons, '{}') = '{}' THEN
        RETURN;
    END IF;
    PERFORM gdpr.tell_erasures(persons, category_id);
    SELECT * INTO keystore FROM gdpr.keystore_status();
    FOR done IN SELECT * FROM gdpr.erase(persons, category_id) LOOP
        person := done.person;
        erasure := gdpr.record_erasure(person, category_id, reasons[array_position(persons, done.person)], done.relations,
                                       keystore.kek_version, keystore.token_epoch);
        PERFORM gdpr.puncture_at_commit(n, category_id, erasure) FROM unnest(done.numbers) WITH ORDINALITY AS u(n, place) ORDER BY place;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.forget_persons(bigint[], text[], smallint) IS
    'forgets persons who are locked, or one category of them, each for its reason; returns the erasure of each; for forget';
REVOKE ALL ON FUNCTION gdpr.forget_persons(bigint[], text[], smallint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget(subject bigint, reason text DEFAULT NULL, category text DEFAULT NULL) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    persons bigint[] := gdpr.lock_forgettable(ARRAY[subject]);
    category_id smallint := gdpr.forgettable_category(category, persons[1]);
BEGIN
    RETURN (SELECT f.erasure FROM gdpr.forget_persons(persons, ARRAY[reason], category_id) f);
END $$;
COMMENT ON FUNCTION gdpr.forget(bigint, text, text) IS
    'forgets a person, or one category of it: deletes, erases or keeps rows as the data map says, and when the transaction commits destroys the keys, so that every backup is dark for that person; returns the erasure''s id';
REVOKE ALL ON FUNCTION gdpr.forget(bigint, text, text) FROM PUBLIC;

-- In batches: first the keys, then the rows --------------------------------------------------------

CREATE FUNCTION gdpr.begin_erasure(person bigint, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tables gdpr.ordered_table[] := ARRAY(SELECT t FROM gdpr.tables_children_first() t);
    leaving record;
    further bigint[];
    item record;
    held gdpr.hold;
    erased gdpr.erased[] := '{}';
    erasure uuid;
BEGIN
    PERFORM gdpr.tell_erasures(ARRAY[person], NULL);
    -- who adds rows to what is held, is waited for
    SELECT * INTO leaving FROM gdpr.leaving(ARRAY[person], NULL, tables, EXISTS (
        SELECT FROM gdpr.hold h WHERE (h.subject = ANY (gdpr.numbers_of(person)) AND h.finished_at IS NULL) OR h.number = person));
    further := ARRAY(SELECT a.number FROM gdpr.subject_alias a WHERE a.subject = ANY (leaving.numbers) AND a.category IS NOT NULL);
    -- what is held has to be sealed anew while there are keys
    FOR item IN SELECT * FROM unnest(tables) t WHERE t.has_rows ORDER BY t.place LOOP
        SELECT h.* INTO held FROM gdpr.holds_of(person, (item.mapped).relation) h LIMIT 1;
        CONTINUE WHEN NOT FOUND;
        held.number := gdpr.hold_number(held);
        erased := erased || ARRAY(SELECT e FROM gdpr.erase_relation(item.relation, item.mapped, item.has_others, leaving.numbers, further, NULL, held) e);
    END LOOP;
    INSERT INTO gdpr.erasure (subject, reason, relations, kek_version, token_epoch)
    SELECT person, begin_erasure.reason, coalesce((SELECT r.relations FROM gdpr.reports(erased || leaving.shared, leaving.numbers, leaving.persons) r), '[]'),
           s.kek_version, s.token_epoch FROM gdpr.keystore_status() s
    RETURNING id INTO erasure;
    PERFORM gdpr.puncture_at_commit(n, NULL, erasure) FROM unnest(leaving.numbers || further) WITH ORDINALITY u(n, place)
    ORDER BY place;
END $$;
COMMENT ON FUNCTION gdpr.begin_erasure(bigint, text) IS 'destroys a person''s keys at commit and leaves the rows; for forget_in_batches';
REVOKE ALL ON FUNCTION gdpr.begin_erasure(bigint, text) FROM PUBLIC;

CREATE FUNCTION gdpr.erase_some(relation regclass, mapped gdpr.mapped_table, has_others boolean, numbers bigint[], most bigint) RETURNS SETOF gdpr.erased
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF mapped.on_forget = 'keep' THEN
        RETURN;
    END IF;
    IF mapped.on_forget = 'delete' THEN
        BEGIN
            RETURN QUERY SELECT r.number, relation, 'delete', r.rows, 'belongs to nobody else' FROM gdpr.forget_rows(relation, numbers, NULL, false, NULL, most) r;
            IF FOUND THEN
                RETURN;
            END IF;
        EXCEPTION WHEN foreign_key_violation OR restrict_violation OR SQLSTATE 'GD008' THEN
            NULL; -- those that can be deleted are deleted at last
        END;
    END IF;
    IF mapped.on_forget = 'erase' OR has_others THEN
        RETURN QUERY SELECT r.number, relation, 'erase', r.rows, CASE mapped.on_forget WHEN 'erase' THEN 'declared' ELSE 'has values in rows of others, which stay' END
        FROM gdpr.forget_rows(relation, numbers, NULL, true, NULL, most) r;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.erase_some(regclass, gdpr.mapped_table, boolean, bigint[], bigint) IS
    'deletes or erases some of the rows of these numbers in one relation, and says so; for forget_in_batches';
REVOKE ALL ON FUNCTION gdpr.erase_some(regclass, gdpr.mapped_table, boolean, bigint[], bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget_step(subject bigint, reason text, batch bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person bigint := (gdpr.lock_forgettable(ARRAY[subject]))[1];
    begun uuid;
    numbers bigint[];
    item record;
    report jsonb;
BEGIN
    IF batch IS NULL OR batch < 1 THEN
        RAISE EXCEPTION 'batch is %', batch USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a number of rows, at least 1.';
    END IF;
    SELECT e.id INTO begun FROM gdpr.erasure e JOIN gdpr.tombstone t ON t.erasure = e.id AND t.number = person AND t.category IS NULL
    WHERE e.subject = person ORDER BY e.erased_at LIMIT 1;
    IF NOT FOUND THEN
        PERFORM gdpr.begin_erasure(person, reason);
        RETURN true;
    END IF;
    numbers := ARRAY(SELECT DISTINCT t.number FROM gdpr.tombstone t WHERE t.erasure = begun AND t.category IS NULL);
    FOR item IN SELECT * FROM gdpr.tables_children_first() t WHERE t.has_rows ORDER BY t.place LOOP
        SELECT r.relations INTO report
        FROM gdpr.reports(ARRAY(SELECT e FROM gdpr.erase_some(item.relation, item.mapped, item.has_others, numbers, batch) e),
                          numbers, array_fill(person, ARRAY[cardinality(numbers)])) r;
        IF FOUND THEN
            UPDATE gdpr.erasure e SET relations = gdpr.sum_report(e.relations || report) WHERE e.id = begun;
            RETURN true;
        END IF;
    END LOOP;
    -- what else forget does, and what is left: links, rows without values, those that others needed
    SELECT jsonb_agg(i) INTO report
    FROM gdpr.erase(person || ARRAY(SELECT n FROM unnest(numbers) n WHERE gdpr.person(n) <> person ORDER BY n), NULL) e, jsonb_array_elements(e.relations) i;
    -- what is kept is counted anew; what is shared was known when the person still was an owner
    UPDATE gdpr.erasure e
    SET relations = gdpr.sum_report(jsonb_path_query_array(e.relations, '$[*] ? (@.action != "keep")')
                                    || jsonb_path_query_array(coalesce(report, '[]'), '$[*] ? (@.action != "share")'))
    WHERE e.id = begun;
    RETURN false;
END $$;
COMMENT ON FUNCTION gdpr.forget_step(bigint, text, bigint) IS 'the next step of forgetting a person; false: it is over; for forget_in_batches';
REVOKE ALL ON FUNCTION gdpr.forget_step(bigint, text, bigint) FROM PUBLIC;

CREATE PROCEDURE gdpr.forget_in_batches(subject bigint, reason text DEFAULT NULL, batch bigint DEFAULT 10000)
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_catalog.has_function_privilege('gdpr.forget_step(bigint, text, bigint)', 'EXECUTE') THEN
        RAISE EXCEPTION 'permission denied for the function that forget_in_batches() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.forget_step(bigint, text, bigint) TO %I.', current_user);
    END IF;
    COMMIT;
    LOOP
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED; -- whatever the session's default is
        EXIT WHEN NOT gdpr.forget_step(subject, reason, batch);
        COMMIT;
    END LOOP;
END $$;
COMMENT ON PROCEDURE gdpr.forget_in_batches(bigint, text, bigint) IS
    'forgets a person with very many rows: destroys the keys first, in a transaction of its own, then deletes or erases the rows, so many in a transaction. Interrupted, it goes on when it is called again';
REVOKE ALL ON PROCEDURE gdpr.forget_in_batches(bigint, text, bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget_preview(subject bigint, category text DEFAULT NULL, OUT relation regclass, OUT rows bigint, OUT action text,
                                    OUT reason text, OUT stays_clear name[])
    RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    persons bigint[] := gdpr.lock_forgettable(ARRAY[subject]);
    category_id smallint := gdpr.forgettable_category(category, persons[1]);
    mark text := gen_random_uuid(); -- nobody else's error is taken for ours
    told jsonb;
    report text;
BEGIN
    -- it is done, and undone
    BEGIN
        PERFORM gdpr.tell_erasures(persons, category_id);
        SELECT coalesce(jsonb_agg(jsonb_build_object('action', 'tell', 'reason', format(
                   '%s has been given %s', r.name, (SELECT string_agg(c.name, ', ' ORDER BY c.name) FROM gdpr.category c WHERE c.id = ANY (n.categories))))
                   ORDER BY r.name, r.id), '[]')
        INTO told FROM gdpr.recipient_notice n LEFT JOIN gdpr.recipient r ON r.id = n.recipient
        WHERE n.subject = persons[1] AND n.kind = 'erasure' AND n.put_at = now();
        RAISE EXCEPTION USING ERRCODE = 'GDPRE', MESSAGE = mark, DETAIL = (SELECT e.relations || told FROM gdpr.erase(persons, category_id) e);
    EXCEPTION WHEN SQLSTATE 'GDPRE' THEN
        IF SQLERRM <> mark THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS report = PG_EXCEPTION_DETAIL;
    END;
    RETURN QUERY
    SELECT r.relation::regclass, r.rows, r.action, r.reason,
           CASE WHEN r.action = 'erase' THEN ARRAY(
               SELECT a.attname FROM pg_attribute a
               WHERE a.attrelid = r.relation::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'gdpr_sealed'
                 AND NOT EXISTS (SELECT FROM gdpr.mapped_relation m JOIN gdpr.mapped_column c ON c.table_id = m.table_id
                                 WHERE m.relation = r.relation::regclass AND c.name = a.attname) ORDER BY a.attnum) END
    FROM jsonb_to_recordset(report::jsonb) AS r(relation text, rows bigint, action text, reason text);
END $$;
COMMENT ON FUNCTION gdpr.forget_preview(bigint, text) IS
    'what forget would do now, by doing it and taking it back: for each relation how many rows are deleted, erased, kept, shared with other owners, or lose their link to the person, why, and which columns of an erased row stay as they are; and which recipients would be told';
REVOKE ALL ON FUNCTION gdpr.forget_preview(bigint, text) FROM PUBLIC;

-- The end of holds -------------------------------------------------------------------------------

CREATE FUNCTION gdpr.finish_hold(held gdpr.hold) RETURNS uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result uuid;
BEGIN
    UPDATE gdpr.hold h SET finished_at = now(), until = least(h.until, now()) WHERE h.id = held.id;
    DELETE FROM gdpr.held_note n WHERE n.hold = held.id;
    IF held.number IS NOT NULL THEN
        result := gdpr.forget(held.number, 'the hold is over');
        -- and what these rows had needed, also of other holds
        PERFORM gdpr.forget(h.number, 'the hold is over') FROM gdpr.hold h
        WHERE h.subject = ANY (gdpr.numbers_of(held.subject)) AND h.id <> held.id AND h.number IS NOT NULL AND h.finished_at IS NOT NULL;
        PERFORM gdpr.forget(held.subject, 'the hold is over');
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.finish_hold(gdpr.hold) IS 'ends a hold, and completes the erasure that it held up; returns the erasure''s id, NULL if the person was not forgotten meanwhile';
REVOKE ALL ON FUNCTION gdpr.finish_hold(gdpr.hold) FROM PUBLIC;

CREATE FUNCTION gdpr.release_hold(hold uuid) RETURNS uuid
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT gdpr.finish_hold(gdpr.open_hold(hold)) $$;
COMMENT ON FUNCTION gdpr.release_hold(uuid) IS
    'ends a hold now: if the person was forgotten meanwhile, what was held is erased; returns the erasure''s id, or NULL';
REVOKE ALL ON FUNCTION gdpr.release_hold(uuid) FROM PUBLIC;

CREATE FUNCTION gdpr.finish_holds() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hold uuid;
    held gdpr.hold;
    result bigint := 0;
BEGIN
    FOR hold IN SELECT h.id FROM gdpr.hold h WHERE h.finished_at IS NULL AND h.until <= now() ORDER BY h.until, h.id LOOP
        -- one that cannot be finished does not stop the others
        BEGIN
            held := gdpr.open_hold(hold);
            CONTINUE WHEN held.until > clock_timestamp(); -- it was extended while we waited
            PERFORM gdpr.finish_hold(held);
            result := result + 1;
        EXCEPTION WHEN OTHERS THEN
            -- the message may hold values
            RAISE WARNING 'hold % is over, but could not be finished: SQLSTATE %', hold, SQLSTATE
                USING ERRCODE = SQLSTATE, HINT = format('SELECT gdpr.release_hold(%L) tells more.', hold);
        END;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.finish_holds() IS
    'ends the holds whose date has passed, and completes the erasures that they held up; returns how many; retention calls it';
REVOKE ALL ON FUNCTION gdpr.finish_holds() FROM PUBLIC;

-- After a restore ---------------------------------------------------------------------------------

CREATE FUNCTION gdpr.lost_keys(envelope gdpr.sealed, OUT number bigint, OUT category smallint, OUT has_values boolean)
    RETURNS SETOF record LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'gdpr_lost_keys';
COMMENT ON FUNCTION gdpr.lost_keys(gdpr.sealed) IS
    'the numbers in an envelope whose keys are destroyed, all of them or those of one category; for dark_rows';
REVOKE ALL ON FUNCTION gdpr.lost_keys(gdpr.sealed) FROM PUBLIC;

-- The keystore knows who was forgotten after the backup, the restored database does not.
CREATE FUNCTION gdpr.dark_rows(OUT relation regclass, OUT subject bigint, OUT category text, OUT rows bigint)
    RETURNS SETOF record LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    state text;
BEGIN
    FOR relation IN SELECT r.relation FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
                    WHERE t.protected AND r.has_rows ORDER BY t.id, r.relation::oid LOOP
        BEGIN
            -- the table's owner reads its envelopes, 1000 pages at a time;
            -- what was erased here keeps its number, and has a tombstone
            RETURN QUERY
            SELECT dark_rows.relation, coalesce(a.subject, k.number), c.name, count(DISTINCT (b, r.n))
            FROM generate_series(0, pg_relation_size(dark_rows.relation) / current_setting('block_size')::bigint, 1000) b
            CROSS JOIN LATERAL gdpr.run_as_owner(dark_rows.relation, format(
                'SELECT gdpr_sealed FROM ONLY %s WHERE ctid >= %L AND ctid < %L',
                dark_rows.relation, format('(%s,0)', b), format('(%s,0)', b + 1000))) WITH ORDINALITY r(sealed, n)
            CROSS JOIN LATERAL gdpr.lost_keys(r.sealed::gdpr.sealed) k
            LEFT JOIN gdpr.subject_alias a ON a.number = k.number AND a.category IS NOT NULL
            LEFT JOIN gdpr.category c ON c.id = k.category
            WHERE k.has_values OR NOT EXISTS (
                SELECT FROM gdpr.tombstone t WHERE t.number = k.number AND t.category IS NULL)
            GROUP BY 2, 3 ORDER BY 2, 3;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
            IF gdpr.is_servers_error(state) THEN
                RAISE;
            END IF;
            -- one table does not hide the others; the message may hold values
            RAISE WARNING 'rows of table % could not be looked at: SQLSTATE %', dark_rows.relation, state
                USING ERRCODE = state, HINT = 'An index or a policy of it, or a damaged row, can be the cause.';
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.dark_rows() IS
    'rows of protected tables that a restore brought back of persons (or categories of them) whose keys are destroyed; reads every row';
REVOKE ALL ON FUNCTION gdpr.dark_rows() FROM PUBLIC;

CREATE FUNCTION gdpr.is_shared(number bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM gdpr.assert_person(number);
    RETURN false;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN true;
END $$;
COMMENT ON FUNCTION gdpr.is_shared(bigint) IS 'whether a number is that of a row with several owners';
REVOKE ALL ON FUNCTION gdpr.is_shared(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.forget_again(reason text DEFAULT 'rows of the forgotten came back with a backup') RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    result bigint := 0;
BEGIN
    -- whom the backup has merged, and who was separated later
    PERFORM gdpr.separate_lost(NULL);
    PERFORM gdpr.separate_lost(c.id) FROM gdpr.category c WHERE c.id <> 15 ORDER BY c.id;
    FOR item IN SELECT DISTINCT gdpr.person(d.subject) AS subject, d.category FROM gdpr.dark_rows() d ORDER BY 1, 2 NULLS FIRST LOOP
        -- one that cannot be forgotten does not stop the others
        BEGIN
            IF item.category IS NOT NULL AND gdpr.is_shared(item.subject) THEN
                PERFORM gdpr.lock_person(item.subject);
                PERFORM gdpr.forget_persons(ARRAY[item.subject], ARRAY[reason], gdpr.forgettable_category(item.category, item.subject));
            ELSE
                PERFORM gdpr.forget(item.subject, reason, item.category);
            END IF;
            result := result + 1;
        EXCEPTION WHEN OTHERS THEN
            IF gdpr.is_servers_error(SQLSTATE) OR SQLSTATE IN ('0A000', '42501') THEN
                RAISE;
            END IF;
            -- the message may hold values
            RAISE WARNING 'person % could not be forgotten again: SQLSTATE %', item.subject, SQLSTATE
                USING ERRCODE = SQLSTATE, HINT = format('SELECT * FROM gdpr.forget_preview(%s, %L) tells more.', item.subject, item.category);
        END;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.forget_again(text) IS
    'forgets again everybody of whom a restore brought rows back, and gives the database the tombstones that it lacks; returns how many erasures';
REVOKE ALL ON FUNCTION gdpr.forget_again(text) FROM PUBLIC;
