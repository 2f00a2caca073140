-- Protecting a table that holds data, and giving it back.

CREATE FUNCTION gdpr.guard_open() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_open';
COMMENT ON FUNCTION gdpr.guard_open() IS 'first BEFORE UPDATE trigger of a protected table: opens NEW for the application''s triggers';
CREATE FUNCTION gdpr.guard_seal() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_seal';
COMMENT ON FUNCTION gdpr.guard_seal() IS 'last BEFORE INSERT OR UPDATE trigger of a protected table: seals the row';
CREATE FUNCTION gdpr.guard_relink() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_relink';
COMMENT ON FUNCTION gdpr.guard_relink() IS 'AFTER UPDATE trigger of a protected table: rows below follow when the person changes';
CREATE FUNCTION gdpr.guard_relink_late() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_relink_late';
COMMENT ON FUNCTION gdpr.guard_relink_late() IS 'AFTER INSERT trigger of a protected table: rows that came before their parent follow';
CREATE FUNCTION gdpr.guard_deleting() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_deleting';
COMMENT ON FUNCTION gdpr.guard_deleting() IS 'BEFORE DELETE trigger of a protected table: a row that takes a deleted one''s key takes its children';
REVOKE ALL ON FUNCTION gdpr.guard_open(), gdpr.guard_seal(), gdpr.guard_relink(), gdpr.guard_relink_late(),
    gdpr.guard_deleting() FROM PUBLIC;

CREATE FUNCTION gdpr.check_table(relation regclass, OUT column_id integer, OUT token_width integer)
    RETURNS SETOF record LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_check_table';
COMMENT ON FUNCTION gdpr.check_table(regclass) IS
    'raises an error that says why a declared table cannot be protected; else the token width of its columns';
REVOKE ALL ON FUNCTION gdpr.check_table(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.convert_table(relation regclass, seal boolean) RETURNS bigint
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_convert_table';
COMMENT ON FUNCTION gdpr.convert_table(regclass, boolean) IS 'writes a table anew, sealing or opening its rows; for protect and unprotect';
REVOKE ALL ON FUNCTION gdpr.convert_table(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.rewrite_statistics() RETURNS boolean
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_rewrite_statistics';
COMMENT ON FUNCTION gdpr.rewrite_statistics() IS
    'writes pg_statistic and pg_statistic_ext_data anew, so that removed statistics leave the disk; false if another session may still need old rows';
REVOKE ALL ON FUNCTION gdpr.rewrite_statistics() FROM PUBLIC;

CREATE FUNCTION gdpr.materializes(relation regclass) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_materializes';
COMMENT ON FUNCTION gdpr.materializes(regclass) IS 'is it a materialized view that REFRESH would fill with values of personal columns?';
REVOKE ALL ON FUNCTION gdpr.materializes(regclass) FROM PUBLIC;

-- For protect_now, once the table counts as protected.
CREATE FUNCTION gdpr.refuse_materialized(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    materialized text;
BEGIN
    IF current_setting('gdpr.allow_plaintext_copies')::boolean THEN
        RETURN;
    END IF;
    WITH RECURSIVE dependent (oid) AS (
        SELECT relation::oid
        UNION
        SELECT r.ev_class FROM dependent d JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = d.oid
        JOIN pg_rewrite r ON p.classid = 'pg_rewrite'::regclass AND r.oid = p.objid)
    SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) INTO materialized
    FROM dependent d JOIN pg_class c ON c.oid = d.oid
    WHERE c.relkind = 'm' AND c.relispopulated AND gdpr.materializes(c.oid::regclass);
    IF materialized IS NOT NULL THEN
        RAISE EXCEPTION 'cannot protect table %: its personal columns are in the clear in materialized view %', relation, materialized
            USING ERRCODE = 'GD007',
                  HINT = 'DROP MATERIALIZED VIEW or REFRESH MATERIALIZED VIEW ... WITH NO DATA first, or SET gdpr.allow_plaintext_copies = on if the copy is wanted.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.refuse_materialized(regclass) IS
    'raises an error that names the materialized views that hold personal columns of a table, unless gdpr.allow_plaintext_copies is on';
REVOKE ALL ON FUNCTION gdpr.refuse_materialized(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.protect_now(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    parent regclass;
    personal name[];
    constraint_row record;
    column_names text;
    n bigint;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = protect_now.relation FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006',
                  HINT = format('First SELECT gdpr.declare_subject(%L, key => ''…'') or gdpr.declare_table(%1$L, via => ''…'').', relation);
    END IF;
    IF mapped.protected THEN
        RAISE EXCEPTION 'table % is protected already', relation USING ERRCODE = 'GD006';
    END IF;
    SELECT p.relation INTO parent
    FROM gdpr.mapped_link l JOIN gdpr.mapped_table p ON p.id = l.parent_id
    WHERE l.table_id = mapped.id AND p.id <> mapped.id AND NOT p.protected ORDER BY p.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table %, through which % leads to a person, is not protected', parent, relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.protect(%L).', parent);
    END IF;
    IF EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = mapped.id AND l.parent_id = mapped.id) THEN
        RAISE EXCEPTION 'table % leads to a person through itself', relation
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'A table whose rows belong to other rows of the same table cannot be protected yet.';
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
    UPDATE gdpr.mapped_column c SET token_width = k.token_width
    FROM gdpr.check_table(relation) k WHERE c.id = k.column_id;

    -- CHECK constraints on personal columns hold on values: the guard keeps them
    personal := ARRAY(SELECT c.name FROM gdpr.mapped_column c WHERE c.table_id = mapped.id ORDER BY c.id);
    IF cardinality(personal) + cardinality(mapped.key_columns) > 96 THEN
        RAISE EXCEPTION 'table % has more than 96 key and personal columns', relation
            USING ERRCODE = 'too_many_columns', HINT = 'Put some of them into a table of their own, or into one jsonb column.';
    END IF;
    FOR constraint_row IN
        SELECT c.conname, pg_get_expr(c.conbin, c.conrelid) AS expression, pg_get_constraintdef(c.oid) AS definition
        FROM pg_constraint c
        WHERE c.conrelid = relation AND c.contype = 'c'
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum = ANY (c.conkey)
                      AND a.attname = ANY (personal))
    LOOP
        INSERT INTO gdpr.mapped_check (table_id, name, expression, definition)
        VALUES (mapped.id, constraint_row.conname, constraint_row.expression, constraint_row.definition);
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', relation, constraint_row.conname);
    END LOOP;

    EXECUTE format('ALTER TABLE %s ADD COLUMN gdpr_sealed gdpr.sealed', relation);
    EXECUTE format('COMMENT ON COLUMN %s.gdpr_sealed IS %L', relation,
                   'envelope of the personal columns of this row; filled by the gdpr extension');
    UPDATE gdpr.mapped_table SET protected = true WHERE id = mapped.id;
    PERFORM gdpr.refuse_materialized(relation);
    n := gdpr.convert_table(relation, true);
    DELETE FROM gdpr.former_number f WHERE f.relation = protect_now.relation;

    SELECT string_agg(format('%I', item), ', ' ORDER BY position) INTO column_names
    FROM unnest(mapped.key_columns || personal) WITH ORDINALITY AS u(item, position);
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT gdpr_sealed_check CHECK (gdpr.is_sealed(gdpr_sealed, %s, %s, %s)) NOT VALID',
                   relation, mapped.id, cardinality(mapped.key_columns), coalesce(column_names, 'true'));
    EXECUTE format('CREATE TRIGGER "!gdpr_open" BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION gdpr.guard_open()', relation);
    EXECUTE format('CREATE TRIGGER "~gdpr_seal" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION gdpr.guard_seal()', relation);
    EXECUTE format('CREATE TRIGGER "~gdpr_relink" AFTER UPDATE ON %s FOR EACH ROW '
                   'WHEN (gdpr.subject_number(OLD.gdpr_sealed) IS DISTINCT FROM gdpr.subject_number(NEW.gdpr_sealed)) '
                   'EXECUTE FUNCTION gdpr.guard_relink()', relation);
    EXECUTE format('CREATE TRIGGER "~gdpr_relink_late" AFTER INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_relink_late()', relation);
    EXECUTE format('CREATE TRIGGER "!gdpr_deleting" BEFORE DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_deleting()', relation);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!gdpr_deleting", ENABLE ALWAYS TRIGGER "!gdpr_open", ENABLE ALWAYS TRIGGER "~gdpr_seal", '
                   'ENABLE ALWAYS TRIGGER "~gdpr_relink", ENABLE ALWAYS TRIGGER "~gdpr_relink_late"', relation);
    EXECUTE format('CREATE INDEX ON %s (gdpr.subject_number(gdpr_sealed))', relation);
    IF EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = mapped.id AND c.via <> 0) THEN
        EXECUTE format('CREATE INDEX ON %s USING gin (gdpr.subject_numbers(gdpr_sealed))', relation);
    END IF;
    RAISE NOTICE '% rows of table % are sealed', n, relation;
END $$;
COMMENT ON FUNCTION gdpr.protect_now(regclass) IS
    'seals a declared table, rows and schema, in the current transaction; for migrations. Statistics with values stay on disk until VACUUM FULL pg_statistic, pg_statistic_ext_data: use CALL gdpr.protect() where that matters';
REVOKE ALL ON FUNCTION gdpr.protect_now(regclass) FROM PUBLIC;

CREATE PROCEDURE gdpr.protect(relation regclass)
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (pg_catalog.has_function_privilege('gdpr.protect_now(regclass)', 'EXECUTE') AND
            pg_catalog.has_function_privilege('gdpr.rewrite_statistics()', 'EXECUTE')) THEN
        RAISE EXCEPTION 'permission denied for the functions that protect() calls'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('GRANT EXECUTE ON FUNCTION gdpr.protect_now(regclass), gdpr.rewrite_statistics() TO %I.', current_user);
    END IF;
    PERFORM gdpr.protect_now(relation);
    COMMIT;
    -- the values that ANALYZE had sampled
    IF NOT gdpr.rewrite_statistics() THEN
        RAISE WARNING 'removed statistics may still be on disk, because another session may need them'
            USING HINT = 'VACUUM FULL pg_catalog.pg_statistic, pg_catalog.pg_statistic_ext_data when no old transaction runs.';
    END IF;
END $$;
COMMENT ON PROCEDURE gdpr.protect(regclass) IS
    'seals a declared table: afterwards no value of a personal column is left in the data directory (older WAL and backups aside). Commits; takes an exclusive lock meanwhile';
REVOKE ALL ON PROCEDURE gdpr.protect(regclass) FROM PUBLIC;

CREATE PROCEDURE gdpr.unprotect(relation regclass)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    child regclass;
    check_row gdpr.mapped_check;
BEGIN
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = unprotect.relation FOR UPDATE;
    IF NOT FOUND OR NOT mapped.protected THEN
        RAISE EXCEPTION 'table % is not protected', relation USING ERRCODE = 'GD006';
    END IF;
    SELECT c.relation INTO child
    FROM gdpr.mapped_link l JOIN gdpr.mapped_table c ON c.id = l.table_id
    WHERE l.parent_id = mapped.id AND c.id <> mapped.id AND c.protected ORDER BY c.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % leads to a person through %', child, relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.unprotect(%L).', child);
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
    PERFORM gdpr.convert_table(relation, false);
    UPDATE gdpr.mapped_table SET protected = false WHERE id = mapped.id;
    -- no longer protected: schema changes are not refused any more
    EXECUTE format('DROP TRIGGER "!gdpr_open" ON %s', relation);
    EXECUTE format('DROP TRIGGER "~gdpr_seal" ON %s', relation);
    EXECUTE format('DROP TRIGGER "~gdpr_relink" ON %s', relation);
    EXECUTE format('DROP TRIGGER "~gdpr_relink_late" ON %s', relation);
    EXECUTE format('DROP TRIGGER "!gdpr_deleting" ON %s', relation);
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT gdpr_sealed_check', relation);
    EXECUTE format('ALTER TABLE %s DROP COLUMN gdpr_sealed', relation);
    FOR check_row IN SELECT * FROM gdpr.mapped_check k WHERE k.table_id = mapped.id ORDER BY k.name LOOP
        PERFORM gdpr.run_as_owner(relation, format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation, check_row.name,
                                                   check_row.definition));
    END LOOP;
    DELETE FROM gdpr.mapped_check k WHERE k.table_id = mapped.id;
END $$;
COMMENT ON PROCEDURE gdpr.unprotect(regclass) IS
    'gives a protected table its values, constraints and columns back, in one transaction; what was forgotten stays gone';
REVOKE ALL ON PROCEDURE gdpr.unprotect(regclass) FROM PUBLIC;

-- The data map follows DROP TABLE.
CREATE FUNCTION gdpr.on_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.former_number f USING pg_event_trigger_dropped_objects() d
    WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND f.relation = d.objid;
    PERFORM gdpr.unmap_tables(ARRAY(
        SELECT t.id FROM gdpr.mapped_table t JOIN pg_event_trigger_dropped_objects() d ON t.relation = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0));
END $$;
COMMENT ON FUNCTION gdpr.on_drop() IS 'takes dropped tables out of the data map';
REVOKE ALL ON FUNCTION gdpr.on_drop() FROM PUBLIC;
CREATE EVENT TRIGGER gdpr_on_drop ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED') EXECUTE FUNCTION gdpr.on_drop();
COMMENT ON EVENT TRIGGER gdpr_on_drop IS 'takes dropped tables out of the data map';

-- Finding people ---------------------------------------------------------------------------------

CREATE FUNCTION gdpr.subject(relation regclass, key text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    result text;
    condition text;
BEGIN
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = subject.relation;
    IF NOT FOUND OR NOT mapped.protected THEN
        RAISE EXCEPTION 'table % is not protected', relation USING ERRCODE = 'GD006';
    END IF;
    IF mapped.key_columns = '{}' THEN
        RAISE EXCEPTION 'table % has no key', relation
            USING ERRCODE = 'GD006',
                  HINT = 'SELECT gdpr.subject_number(gdpr_sealed) tells the numbers of its rows.';
    END IF;
    IF cardinality(mapped.key_columns) = 1 THEN
        condition := format('t.%I = %L', mapped.key_columns[1], key);
    ELSE
        -- a row literal: (1,2)
        SELECT string_agg(format('t.%I', k), ', ' ORDER BY position) INTO condition
        FROM unnest(mapped.key_columns) WITH ORDINALITY AS u(k, position);
        condition := format('ROW(%s)::text = %L', condition, key);
    END IF;
    SELECT r INTO result FROM gdpr.run_as_owner(relation, format(
        'SELECT gdpr.subject_number(t.gdpr_sealed) FROM ONLY %s t WHERE %s', relation, condition)) r;
    IF result IS NULL THEN
        RAISE EXCEPTION 'table % has no row with this key', relation USING ERRCODE = 'no_data_found';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.subject(regclass, text) IS
    'the subject number of a row; key: the value of its key column, or a row literal such as (1,2)';
REVOKE ALL ON FUNCTION gdpr.subject(regclass, text) FROM PUBLIC;

-- Runs with the caller's rights and purpose: what the caller may not see, it does not find.
CREATE FUNCTION gdpr.searchable_columns(OUT relation regclass, OUT name name, OUT type text, OUT equality text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- citext has an = of its own, which the fixed search path does not find
    SELECT t.relation, c.name, format_type(a.atttypid, a.atttypmod),
           coalesce((SELECT format('OPERATOR(%I.=)', n.nspname) FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
                     WHERE o.oprname = '=' AND o.oprleft = a.atttypid AND o.oprright = a.atttypid), '=')
    FROM gdpr.mapped_column c JOIN gdpr.mapped_table t ON t.id = c.table_id
    JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = c.name
    WHERE c.searchable AND t.protected ORDER BY c.id
$$;
COMMENT ON FUNCTION gdpr.searchable_columns() IS 'searchable columns of the data map; no more than the catalogs tell everybody';

CREATE FUNCTION gdpr.find_subjects(value text, OUT subject bigint, OUT relation regclass, OUT "column" name)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT * FROM gdpr.searchable_columns() LOOP
        BEGIN
            RETURN QUERY EXECUTE format(
                'SELECT DISTINCT gdpr.subject_number(t.gdpr_sealed), %L::regclass, %L::name FROM %s t WHERE t.%I %s %L::%s',
                item.relation, item.name, item.relation, item.name, item.equality, value, item.type);
        EXCEPTION WHEN invalid_text_representation OR datatype_mismatch OR numeric_value_out_of_range
                     OR invalid_binary_representation OR string_data_right_truncation OR insufficient_privilege THEN
            NULL;               -- not a value of the column's type, or not the caller's to see: not there
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.find_subjects(text) IS
    'the persons of whom a searchable column holds this value, over the whole data map; sees what the caller''s role and purpose may see';
REVOKE ALL ON FUNCTION gdpr.find_subjects(text) FROM PUBLIC;
