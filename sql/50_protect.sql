-- Protecting a table that holds data, and giving it back.

CREATE FUNCTION gdpr.guard_open() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_open';
COMMENT ON FUNCTION gdpr.guard_open() IS
    'first BEFORE UPDATE trigger of a protected table: opens NEW for the application''s triggers; of a partition also BEFORE INSERT, for rows that an UPDATE moves';
CREATE FUNCTION gdpr.guard_seal() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_seal';
COMMENT ON FUNCTION gdpr.guard_seal() IS 'last BEFORE INSERT OR UPDATE trigger of a protected table: seals the row';
CREATE FUNCTION gdpr.guard_relink() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_relink';
COMMENT ON FUNCTION gdpr.guard_relink() IS 'AFTER UPDATE trigger of a protected table: rows below follow when the person changes';
CREATE FUNCTION gdpr.guard_relink_late() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_relink_late';
COMMENT ON FUNCTION gdpr.guard_relink_late() IS
    'AFTER INSERT trigger of a protected table: rows that came before their parent follow; of a partitioned one also AFTER UPDATE, which moves rows';
CREATE FUNCTION gdpr.guard_delete() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_guard_delete';
COMMENT ON FUNCTION gdpr.guard_delete() IS 'BEFORE DELETE row trigger of a protected table: rows of restricted persons stay';
REVOKE ALL ON FUNCTION gdpr.guard_delete() FROM PUBLIC;
CREATE FUNCTION gdpr.audit_truncate(relation regclass) RETURNS void
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_audit_truncate';
COMMENT ON FUNCTION gdpr.audit_truncate(regclass) IS 'leaves a record in the audit trail: all rows of a table are removed, whose is not said';
REVOKE ALL ON FUNCTION gdpr.audit_truncate(regclass) FROM PUBLIC;
CREATE FUNCTION gdpr.guard_truncate() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    restricted bigint;
    whose text := 'SELECT 1 FROM ONLY %s WHERE gdpr.subject_number(gdpr_sealed) = $1 LIMIT 1';
BEGIN
    IF EXISTS (SELECT FROM gdpr.mapped_relation r JOIN gdpr.mapped_link l USING (table_id) WHERE r.relation = TG_RELID AND l.via <> 0) THEN
        whose := 'SELECT 1 FROM ONLY %s WHERE gdpr.subject_numbers(gdpr_sealed) @> ARRAY[$1] LIMIT 1';
    END IF;
    FOR restricted IN SELECT f.subject FROM gdpr.flag f WHERE f.kind = 'r'
                      UNION SELECT unnest(gdpr.numbers_of(f.subject)) FROM gdpr.flag f WHERE f.kind = 'r' LOOP
        IF EXISTS (SELECT FROM gdpr.run_as_owner(TG_RELID::regclass, format(whose, TG_RELID::regclass), restricted)) THEN
            RAISE EXCEPTION 'cannot truncate table %: it has rows of a person whose data''s processing is restricted', TG_RELID::regclass
                USING ERRCODE = 'GD008', DETAIL = format('Art. 18 GDPR: the data may only be stored. It is person %s.', gdpr.person(restricted)),
                      HINT = 'DELETE the rows of the others.';
        END IF;
    END LOOP;
    PERFORM gdpr.audit_truncate(TG_RELID);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION gdpr.guard_truncate() IS 'BEFORE TRUNCATE trigger of a protected table: rows of restricted persons stay';
REVOKE ALL ON FUNCTION gdpr.guard_truncate() FROM PUBLIC;
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

CREATE FUNCTION gdpr.convert_table(relation regclass, form integer) RETURNS bigint
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_convert_table';
COMMENT ON FUNCTION gdpr.convert_table(regclass, integer) IS
    'writes a table anew, with all rows sealed (form: the epoch of their tokens) or open (0); for protect and unprotect';
REVOKE ALL ON FUNCTION gdpr.convert_table(regclass, integer) FROM PUBLIC;

CREATE FUNCTION gdpr.adapt_triggers(relation regclass, adapted boolean) RETURNS void
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_adapt_triggers';
COMMENT ON FUNCTION gdpr.adapt_triggers(regclass, boolean) IS
    'puts the conditions of the application''s triggers into the form that works on a protected table, or back; for protect and unprotect';
REVOKE ALL ON FUNCTION gdpr.adapt_triggers(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.rewrite_statistics() RETURNS boolean
    LANGUAGE c SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_rewrite_statistics';
COMMENT ON FUNCTION gdpr.rewrite_statistics() IS
    'writes pg_statistic and pg_statistic_ext_data anew, so that removed statistics leave the disk; false if another session may still need old rows';
REVOKE ALL ON FUNCTION gdpr.rewrite_statistics() FROM PUBLIC;

CREATE FUNCTION gdpr.materializes(relation regclass) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_materializes';
COMMENT ON FUNCTION gdpr.materializes(regclass) IS 'is it a materialized view that REFRESH would fill with values of personal columns?';
REVOKE ALL ON FUNCTION gdpr.materializes(regclass) FROM PUBLIC;

-- For protect, once the table counts as protected.
CREATE FUNCTION gdpr.refuse_materialized(relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

CREATE FUNCTION gdpr.check_member(relation regclass, root regclass) RETURNS boolean
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_check_member';
COMMENT ON FUNCTION gdpr.check_member(regclass, regclass) IS
    'raises an error that says why a table cannot become part of a protected table; false if it lacks a column';
REVOKE ALL ON FUNCTION gdpr.check_member(regclass, regclass) FROM PUBLIC;

-- Parts of tables: partitions and inheritance children ---------------------------------------------

CREATE FUNCTION gdpr.tree(root regclass, OUT relation regclass, OUT depth integer)
    RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE below(relation, depth) AS (
        SELECT root::oid, 0
        UNION ALL SELECT i.inhrelid, b.depth + 1 FROM below b JOIN pg_inherits i ON i.inhparent = b.relation
    )
    SELECT b.relation, max(b.depth) FROM below b GROUP BY b.relation
$$;
COMMENT ON FUNCTION gdpr.tree(regclass) IS 'a table with its partitions and inheritance children, at any depth';
REVOKE ALL ON FUNCTION gdpr.tree(regclass) FROM PUBLIC;

-- CHECK constraints on personal columns hold on values: the guard keeps them.
CREATE FUNCTION gdpr.take_checks(root regclass, table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    INSERT INTO gdpr.mapped_check (table_id, relation, name, expression, definition, local)
    SELECT take_checks.table_id, c.conrelid, c.conname, pg_get_expr(c.conbin, c.conrelid), pg_get_constraintdef(c.oid), c.conislocal
    FROM gdpr.tree(root) t JOIN pg_constraint c ON c.conrelid = t.relation
    WHERE c.contype = 'c' AND c.conname <> 'gdpr_sealed_check'
      AND EXISTS (SELECT FROM pg_attribute a JOIN gdpr.mapped_column m ON m.name = a.attname
                  WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND m.table_id = take_checks.table_id);
    -- from the top: what is inherited goes with it
    FOR item IN SELECT k.relation, k.name FROM gdpr.mapped_check k JOIN gdpr.tree(root) t USING (relation) ORDER BY t.depth LOOP
        IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = item.relation AND c.conname = item.name) THEN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.relation, item.name);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.take_checks(regclass, integer) IS
    'moves the CHECK constraints on personal columns of a table and its parts into the data map; for protect';
REVOKE ALL ON FUNCTION gdpr.take_checks(regclass, integer) FROM PUBLIC;

-- From the bottom: what is inherited is merged into what a part has of its own.
CREATE FUNCTION gdpr.return_checks(root regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT k.* FROM gdpr.mapped_check k JOIN gdpr.tree(root) t USING (relation)
        WHERE k.local OR NOT EXISTS (SELECT FROM pg_inherits i JOIN gdpr.mapped_check p ON p.relation = i.inhparent
                                     WHERE i.inhrelid = k.relation AND p.name = k.name)
        ORDER BY t.depth DESC, k.relation::oid, k.name
    LOOP
        -- the owner's code is run to check it, as the owner
        IF EXISTS (SELECT FROM gdpr.tree(item.relation) t JOIN pg_class part ON part.oid = t.relation
                   JOIN pg_class c ON c.oid = item.relation WHERE NOT pg_has_role(c.relowner, part.relowner, 'USAGE')) THEN
            RAISE EXCEPTION 'constraint "%" cannot be given back to table %, whose parts have other owners', item.name, item.relation
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('ALTER TABLE ... OWNER TO the owner of %s, of its partitions or children.', item.relation);
        END IF;
        PERFORM gdpr.run_as_owner(item.relation, format('ALTER TABLE %s ADD CONSTRAINT %I %s', item.relation, item.name,
                                                        item.definition));
    END LOOP;
    DELETE FROM gdpr.mapped_check k USING gdpr.tree(root) t WHERE k.relation = t.relation;
END $$;
COMMENT ON FUNCTION gdpr.return_checks(regclass) IS
    'gives a table and its parts the CHECK constraints back that the data map holds; for unprotect';
REVOKE ALL ON FUNCTION gdpr.return_checks(regclass) FROM PUBLIC;

-- strict: every row is sealed; otherwise rows may be open, while the table is converted.
CREATE FUNCTION gdpr.add_sealed_check(relation regclass, table_id integer, strict boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key name[] := (SELECT t.key_columns FROM gdpr.mapped_table t WHERE t.id = table_id);
    names name[] := key || ARRAY(SELECT c.name FROM gdpr.mapped_column c WHERE c.table_id = add_sealed_check.table_id ORDER BY c.id);
BEGIN
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT gdpr_sealed_check CHECK (%sgdpr.is_sealed(gdpr_sealed, %s, %s, %s)) NOT VALID',
                   relation, CASE WHEN strict THEN '' ELSE 'gdpr_sealed IS NULL OR ' END, table_id, cardinality(key),
                   coalesce((SELECT string_agg(format('%I', n), ', ' ORDER BY position)
                             FROM unnest(names) WITH ORDINALITY AS u(n, position)), 'true'));
END $$;
COMMENT ON FUNCTION gdpr.add_sealed_check(regclass, integer, boolean) IS
    'adds the constraint that refuses rows that are not sealed; for protect';
REVOKE ALL ON FUNCTION gdpr.add_sealed_check(regclass, integer, boolean) FROM PUBLIC;

-- Row triggers, and indexes, go to each part that holds rows: they stay when it is detached.
CREATE FUNCTION gdpr.add_guards(relation regclass, becomes_partition boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
    moves boolean;              -- rows may come from, or go to, another part
BEGIN
    SELECT c.relkind, c.relkind = 'p' OR c.relispartition OR becomes_partition INTO kind, moves FROM pg_class c WHERE c.oid = relation;
    IF kind = 'r' THEN
        EXECUTE format('CREATE TRIGGER "!gdpr_open" BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION gdpr.guard_open()',
                       CASE WHEN moves THEN 'INSERT OR UPDATE' ELSE 'UPDATE' END, relation);
        EXECUTE format('CREATE TRIGGER "~gdpr_seal" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION gdpr.guard_seal()', relation);
        EXECUTE format('CREATE TRIGGER "~gdpr_relink" AFTER UPDATE ON %s FOR EACH ROW '
                       'WHEN (gdpr.subject_number(OLD.gdpr_sealed) IS DISTINCT FROM gdpr.subject_number(NEW.gdpr_sealed)) '
                       'EXECUTE FUNCTION gdpr.guard_relink()', relation);
        EXECUTE format('CREATE TRIGGER "!gdpr_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION gdpr.guard_delete()', relation);
        EXECUTE format('CREATE TRIGGER "!gdpr_truncate" BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_truncate()', relation);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!gdpr_open", ENABLE ALWAYS TRIGGER "~gdpr_seal", '
                       'ENABLE ALWAYS TRIGGER "~gdpr_relink", ENABLE ALWAYS TRIGGER "!gdpr_delete", '
                       'ENABLE ALWAYS TRIGGER "!gdpr_truncate"', relation);
    END IF;
    EXECUTE format('CREATE TRIGGER "~gdpr_relink_late" AFTER %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_relink_late()',
                   CASE WHEN moves THEN 'INSERT OR UPDATE' ELSE 'INSERT' END, relation);
    EXECUTE format('CREATE TRIGGER "!gdpr_deleting" BEFORE DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION gdpr.guard_deleting()', relation);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!gdpr_deleting", ENABLE ALWAYS TRIGGER "~gdpr_relink_late"', relation);
END $$;
COMMENT ON FUNCTION gdpr.add_guards(regclass, boolean) IS 'adds the triggers of a protected table to one part; for protect';
REVOKE ALL ON FUNCTION gdpr.add_guards(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.add_indexes(relation regclass, table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    indexed text[];
    expression text;
BEGIN
    IF (SELECT c.relkind = 'r' FROM pg_class c WHERE c.oid = relation) THEN
        indexed := ARRAY['btree (gdpr.subject_number(gdpr_sealed))'];
        IF EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = add_indexes.table_id AND c.via <> 0) THEN
            indexed := indexed || 'gin (gdpr.subject_numbers(gdpr_sealed))'::text;
        END IF;
        FOREACH expression IN ARRAY indexed LOOP
            IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation
                           AND pg_get_indexdef(i.indexrelid) LIKE '% USING ' || replace(expression, '_', '\_')) THEN
                EXECUTE format('CREATE INDEX ON %s USING %s', relation, expression);
            END IF;
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.add_indexes(regclass, integer) IS 'adds the indexes of a protected table to one part; for protect';
REVOKE ALL ON FUNCTION gdpr.add_indexes(regclass, integer) FROM PUBLIC;

CREATE FUNCTION gdpr.drop_guards(relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = relation AND p.pronamespace = 'gdpr'::regnamespace
          AND p.proname IN ('guard_open', 'guard_seal', 'guard_relink', 'guard_relink_late', 'guard_deleting', 'guard_delete', 'guard_truncate')
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', name, relation);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.drop_guards(regclass) IS 'removes the triggers of a protected table from one part; for unprotect';
REVOKE ALL ON FUNCTION gdpr.drop_guards(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.require_keys(root regclass, mapped gdpr.mapped_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    SELECT t.relation INTO part
    FROM gdpr.tree(root) t JOIN pg_attribute a ON a.attrelid = t.relation
    WHERE a.attname = ANY (mapped.key_columns) AND NOT a.attisdropped AND NOT a.attnotnull LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'key columns of table % must be NOT NULL', part
            USING ERRCODE = 'invalid_table_definition',
                  HINT = format('ALTER TABLE %s ALTER COLUMN ... SET NOT NULL: %s.', part, array_to_string(mapped.key_columns, ', '));
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.require_keys(regclass, gdpr.mapped_table) IS
    'raises an error unless the key columns of a table and its parts are NOT NULL; for protect';
REVOKE ALL ON FUNCTION gdpr.require_keys(regclass, gdpr.mapped_table) FROM PUBLIC;

-- Seals a table that becomes a part, with what is below it.
CREATE FUNCTION gdpr.seal_tree(root regclass, table_id integer, becomes_partition boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table := (SELECT t FROM gdpr.mapped_table t WHERE t.id = table_id);
    part regclass;
    rows_sealed bigint := 0;
BEGIN
    PERFORM gdpr.require_keys(root, mapped);
    PERFORM gdpr.take_checks(root, table_id);
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = root AND a.attname = 'gdpr_sealed' AND NOT a.attisdropped) THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN gdpr_sealed gdpr.sealed', root);
    END IF;
    INSERT INTO gdpr.mapped_member (relation, table_id)
    SELECT t.relation, seal_tree.table_id FROM gdpr.tree(root) t WHERE t.relation <> mapped.relation;
    PERFORM gdpr.refuse_materialized(t.relation) FROM gdpr.tree(root) t ORDER BY t.depth, t.relation::oid;
    FOR part IN SELECT t.relation FROM gdpr.tree(root) t JOIN pg_class c ON c.oid = t.relation
                WHERE c.relkind = 'r' ORDER BY t.depth, c.oid LOOP
        rows_sealed := rows_sealed + gdpr.convert_table(part, mapped.form);
        DELETE FROM gdpr.former_number f WHERE f.relation = part;
    END LOOP;
    PERFORM gdpr.adapt_triggers(t.relation, true) FROM gdpr.tree(root) t ORDER BY t.depth, t.relation::oid;
    IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = root AND c.conname = 'gdpr_sealed_check') THEN
        PERFORM gdpr.add_sealed_check(root, table_id);
    END IF;
    FOR part IN SELECT t.relation FROM gdpr.tree(root) t ORDER BY t.depth, t.relation::oid LOOP
        EXECUTE format('COMMENT ON COLUMN %s.gdpr_sealed IS %L', part,
                       'envelope of the personal columns of this row; filled by the gdpr extension');
        PERFORM gdpr.drop_guards(part);
        PERFORM gdpr.add_guards(part, becomes_partition);
        PERFORM gdpr.add_indexes(part, table_id);
    END LOOP;
    RETURN rows_sealed;
END $$;
COMMENT ON FUNCTION gdpr.seal_tree(regclass, integer, boolean) IS 'seals a table and its parts, rows and schema; for ATTACH PARTITION and INHERIT';
REVOKE ALL ON FUNCTION gdpr.seal_tree(regclass, integer, boolean) FROM PUBLIC;

-- ALTER TABLE … ATTACH PARTITION and … INHERIT, before they run.
CREATE FUNCTION gdpr.prepare_member(parent regclass, relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    other gdpr.mapped_relation;
    missing gdpr.mapped_check;
    n bigint;
BEGIN
    SELECT r.* INTO other FROM gdpr.mapped_relation r JOIN gdpr.tree(prepare_member.relation) t ON t.relation = r.relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % is declared in the data map, and cannot become a part of another protected table', other.relation
            USING ERRCODE = 'GD006',
                  HINT = (SELECT format(CASE WHEN t.protected THEN 'First CALL gdpr.unprotect(%L);' ELSE 'First' END, other.relation) ||
                                 CASE WHEN other.is_root THEN format(' SELECT gdpr.undeclare_table(%L).', other.relation) ELSE '' END
                          FROM gdpr.mapped_table t WHERE t.id = other.table_id) || ' Its rows are then sealed as those of the other.';
    END IF;
    SELECT t.* INTO mapped FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = parent;
    IF mapped.other_form IS NOT NULL THEN
        RAISE EXCEPTION 'table % is being converted', parent
            USING ERRCODE = 'object_in_use', HINT = 'Tables can be attached when that has come to its end: see TABLE gdpr.conversions. New ones can be created as its parts.';
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', parent);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
    IF NOT gdpr.check_member(relation, mapped.relation) THEN
        RETURN;
    END IF;
    SELECT k.* INTO missing FROM gdpr.mapped_check k
    WHERE k.relation = parent AND k.definition !~ ' NO INHERIT( NOT VALID)?$'
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = prepare_member.relation AND c.conname = k.name
                      AND pg_get_expr(c.conbin, c.conrelid) = k.expression)
    ORDER BY k.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'child table is missing constraint "%"', missing.name
            USING ERRCODE = 'datatype_mismatch',
                  HINT = format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation, missing.name, missing.definition);
    END IF;
    n := gdpr.seal_tree(relation, mapped.id, (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = parent));
    RAISE NOTICE '% rows of table % are sealed', n, relation;
END $$;
COMMENT ON FUNCTION gdpr.prepare_member(regclass, regclass) IS
    'seals a table that is about to become a partition or child of a protected table';
REVOKE ALL ON FUNCTION gdpr.prepare_member(regclass, regclass) FROM PUBLIC;

-- CREATE TABLE … PARTITION OF and … INHERITS, after they ran.
CREATE FUNCTION gdpr.adopt_members(parent regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    part regclass;
BEGIN
    SELECT t.* INTO mapped FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = parent;
    FOR part IN
        SELECT t.relation FROM gdpr.tree(parent) t
        WHERE NOT EXISTS (SELECT FROM gdpr.mapped_relation r WHERE r.relation = t.relation)
        ORDER BY t.depth, t.relation::oid
    LOOP
        INSERT INTO gdpr.mapped_member (relation, table_id) VALUES (part, mapped.id);
        IF mapped.other_form IS NOT NULL AND NOT gdpr.can_be_live(part) THEN
            RAISE EXCEPTION 'table % is being converted', parent
                USING ERRCODE = 'object_in_use',
                      DETAIL = format('Table %s has a deferrable UNIQUE constraint on a searchable column, or one over a generated column.', part),
                      HINT = 'It can become a part when that has come to its end: see TABLE gdpr.conversions.';
        END IF;
        INSERT INTO gdpr.mapped_check (table_id, relation, name, expression, definition, local)
        SELECT DISTINCT ON (k.name) k.table_id, part, k.name, k.expression, k.definition, false
        FROM pg_inherits i JOIN gdpr.mapped_check k ON k.relation = i.inhparent
        WHERE i.inhrelid = part AND k.definition !~ ' NO INHERIT( NOT VALID)?$';
        PERFORM gdpr.add_guards(part);
        PERFORM gdpr.add_indexes(part, mapped.id);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.adopt_members(regclass) IS 'protects new partitions and children of a protected table';
REVOKE ALL ON FUNCTION gdpr.adopt_members(regclass) FROM PUBLIC;

-- Whole tables -------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.current_epoch() RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- whoever is ahead: a stale copy of the keystore and a restored database may each be behind
    SELECT greatest(gdpr.token_epoch(),
                    (SELECT max(greatest(t.form, t.other_form)) FROM gdpr.mapped_table t WHERE t.protected),
                    (SELECT (max(s.number) + 1)::integer FROM gdpr.tombstone s WHERE s.number < 65536))
$$;
COMMENT ON FUNCTION gdpr.current_epoch() IS 'the newest epoch of tokens';
REVOKE ALL ON FUNCTION gdpr.current_epoch() FROM PUBLIC;

CREATE FUNCTION gdpr.set_check(mapped gdpr.mapped_table, strict boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    -- not protected for a moment: the constraint of a protected table cannot be dropped
    UPDATE gdpr.mapped_table SET protected = false WHERE id = mapped.id;
    FOR part IN SELECT r.relation FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.is_top ORDER BY r.relation::oid LOOP
        IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = part AND c.conname = 'gdpr_sealed_check') THEN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT gdpr_sealed_check', part);
        END IF;
        PERFORM gdpr.add_sealed_check(part, mapped.id, strict);
    END LOOP;
    UPDATE gdpr.mapped_table SET protected = true WHERE id = mapped.id;
END $$;
COMMENT ON FUNCTION gdpr.set_check(gdpr.mapped_table, boolean) IS
    'gives a protected table its CHECK constraint; not strict: rows may be open, while it is converted';
REVOKE ALL ON FUNCTION gdpr.set_check(gdpr.mapped_table, boolean) FROM PUBLIC;

-- With what was detached from it.
CREATE FUNCTION gdpr.lock_whole(mapped gdpr.mapped_table, mode text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
    locked regclass[] := '{}';
BEGIN
    FOR part IN SELECT r.relation FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.is_top ORDER BY r.relation::oid LOOP
        EXECUTE format('LOCK TABLE %s IN %s MODE', part, mode);
    END LOOP;
    -- what was detached while we waited, or is about to be
    LOOP
        SELECT r.relation INTO part FROM gdpr.mapped_relation r
        WHERE r.table_id = mapped.id AND r.relation <> ALL (locked) ORDER BY r.relation::oid LIMIT 1;
        EXIT WHEN NOT FOUND;
        EXECUTE format('LOCK TABLE ONLY %s IN %s MODE', part, mode);
        locked := locked || part;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.lock_whole(gdpr.mapped_table, text) IS 'locks a table with all its parts, for those that convert it';
REVOKE ALL ON FUNCTION gdpr.lock_whole(gdpr.mapped_table, text) FROM PUBLIC;

-- A table's entry, locked, for those that change its form.
CREATE FUNCTION gdpr.mapped_for_change(relation regclass, keep boolean) RETURNS gdpr.mapped_table
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    root regclass;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT t.relation INTO root FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = mapped_for_change.relation;
    IF NOT gdpr.lock_conversion(coalesce(root, relation), keep) THEN
        RAISE EXCEPTION 'table % is being converted by another session', coalesce(root, relation)
            USING ERRCODE = 'object_in_use', HINT = 'TABLE gdpr.conversions shows how far it is.';
    END IF;
    SELECT t.* INTO mapped FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = mapped_for_change.relation FOR UPDATE OF t;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006',
                  HINT = format('First SELECT gdpr.declare_subject(%L, key => ''…'') or gdpr.declare_table(%1$L, via => ''…'').', relation);
    END IF;
    IF mapped.protected AND mapped.form > 0 AND mapped.other_form > 0 THEN
        RAISE EXCEPTION 'the tokens of table % are being rotated', relation
            USING ERRCODE = 'object_in_use', HINT = 'First CALL gdpr.rotate_tokens(), which goes on where it was interrupted.';
    END IF;
    IF mapped.relation <> relation AND mapped.other_form IS NOT NULL THEN
        RAISE EXCEPTION 'table %, of which % is a part, is being converted', mapped.relation, relation
            USING ERRCODE = 'object_in_use', HINT = 'Repeat it when that has come to its end: see TABLE gdpr.conversions.';
    END IF;
    RETURN mapped;
END $$;
COMMENT ON FUNCTION gdpr.mapped_for_change(regclass, boolean) IS 'a table''s entry in the data map, locked, for protect and unprotect';
REVOKE ALL ON FUNCTION gdpr.mapped_for_change(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.begin_protect(mapped gdpr.mapped_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation regclass := mapped.relation;
    parent regclass;
    part regclass;
BEGIN
    SELECT p.relation INTO parent
    FROM gdpr.mapped_link l JOIN gdpr.mapped_table p ON p.id = l.parent_id
    WHERE l.table_id = mapped.id AND p.id <> mapped.id AND NOT (p.protected AND p.form > 0 AND p.other_form IS DISTINCT FROM 0)
    ORDER BY p.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table %, through which % leads to a person, is not protected', parent, relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.protect(%L).', parent);
    END IF;
    IF EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = mapped.id AND l.parent_id = mapped.id) THEN
        RAISE EXCEPTION 'table % leads to a person through itself', relation
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'A table whose rows belong to other rows of the same table cannot be protected yet.';
    END IF;
    PERFORM gdpr.lock_whole(mapped, 'ACCESS EXCLUSIVE');
    IF mapped.protected THEN
        -- unprotect() was interrupted: back again
        UPDATE gdpr.mapped_table SET form = mapped.other_form, other_form = 0 WHERE id = mapped.id;
        RETURN;
    END IF;
    SELECT t.relation INTO parent FROM gdpr.tree(relation) t JOIN gdpr.mapped_table m ON m.relation = t.relation
    WHERE m.id <> mapped.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table %, a partition or child of %, is declared itself', parent, relation
            USING ERRCODE = 'GD006',
                  HINT = format('First SELECT gdpr.undeclare_table(%L): the declarations of %s hold for it.', parent, relation);
    END IF;
    UPDATE gdpr.mapped_column c SET token_width = k.token_width
    FROM gdpr.check_table(relation) k WHERE c.id = k.column_id;
    IF cardinality(mapped.key_columns) + (SELECT count(*) FROM gdpr.mapped_column c WHERE c.table_id = mapped.id) > 96 THEN
        RAISE EXCEPTION 'table % has more than 96 key and personal columns', relation
            USING ERRCODE = 'too_many_columns', HINT = 'Put some of them into a table of their own, or into one jsonb column.';
    END IF;
    PERFORM gdpr.require_keys(relation, mapped);
    PERFORM gdpr.take_checks(relation, mapped.id);
    EXECUTE format('ALTER TABLE %s ADD COLUMN gdpr_sealed gdpr.sealed', relation);
    INSERT INTO gdpr.mapped_member (relation, table_id)
    SELECT t.relation, mapped.id FROM gdpr.tree(mapped.relation) t WHERE t.relation <> mapped.relation;
    FOR part IN SELECT t.relation FROM gdpr.tree(relation) t ORDER BY t.depth, t.relation::oid LOOP
        EXECUTE format('COMMENT ON COLUMN %s.gdpr_sealed IS %L', part,
                       'envelope of the personal columns of this row; filled by the gdpr extension');
        PERFORM gdpr.drop_guards(part);
        PERFORM gdpr.add_guards(part);
    END LOOP;
    UPDATE gdpr.mapped_table SET protected = true, form = gdpr.current_epoch(), other_form = 0 WHERE id = mapped.id;
    PERFORM gdpr.adapt_triggers(t.relation, true) FROM gdpr.tree(relation) t ORDER BY t.depth, t.relation::oid;
    PERFORM gdpr.set_check(mapped, false);
    PERFORM gdpr.refuse_materialized(t.relation) FROM gdpr.tree(relation) t ORDER BY t.depth, t.relation::oid;
END $$;
COMMENT ON FUNCTION gdpr.begin_protect(gdpr.mapped_table) IS
    'from now on new rows of a table and its parts are sealed, and those that are there can be converted';
REVOKE ALL ON FUNCTION gdpr.begin_protect(gdpr.mapped_table) FROM PUBLIC;

CREATE FUNCTION gdpr.finish_protect(mapped gdpr.mapped_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_form integer := (SELECT t.form FROM gdpr.mapped_table t WHERE t.id = mapped.id);
    part regclass;
    n bigint := 0;
BEGIN
    PERFORM gdpr.lock_whole(mapped, 'ACCESS EXCLUSIVE');
    FOR part IN SELECT r.relation FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.has_rows ORDER BY r.relation::oid LOOP
        n := n + gdpr.convert_table(part, new_form);
        DELETE FROM gdpr.former_number f WHERE f.relation = part;
    END LOOP;
    PERFORM gdpr.set_check(mapped, true);
    UPDATE gdpr.mapped_table SET other_form = NULL WHERE id = mapped.id;
    DELETE FROM gdpr.conversion c WHERE c.table_id = mapped.id;
    PERFORM gdpr.add_indexes(r.relation, mapped.id) FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id ORDER BY r.relation::oid;
    RAISE NOTICE '% rows of table % are sealed', n, mapped.relation;
END $$;
COMMENT ON FUNCTION gdpr.finish_protect(gdpr.mapped_table) IS 'seals what is left and makes the table, with its parts, a protected one';
REVOKE ALL ON FUNCTION gdpr.finish_protect(gdpr.mapped_table) FROM PUBLIC;

-- What reads gdpr_sealed would keep the column from being dropped: say so before anything is opened.
CREATE FUNCTION gdpr.refuse_dependents(relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dependent record;
BEGIN
    SELECT v.relation, r.ev_class::regclass::text AS view, p.polname AS policy INTO dependent
    FROM gdpr.tree(refuse_dependents.relation) v
    JOIN pg_attribute a ON a.attrelid = v.relation AND a.attname = 'gdpr_sealed' AND NOT a.attisdropped
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    WHERE r.oid IS NOT NULL OR p.oid IS NOT NULL
    ORDER BY v.relation::oid, 2, 3 LIMIT 1;
    IF dependent.view IS NOT NULL THEN
        RAISE EXCEPTION 'view % reads column gdpr_sealed of table %', dependent.view, dependent.relation
            USING ERRCODE = 'dependent_objects_still_exist', HINT = format('First DROP VIEW %s, or take the column out of it.', dependent.view);
    ELSIF dependent.policy IS NOT NULL THEN
        RAISE EXCEPTION 'policy "%" reads column gdpr_sealed of table %', dependent.policy, dependent.relation
            USING ERRCODE = 'dependent_objects_still_exist',
                  HINT = format(CASE WHEN dependent.policy LIKE 'gdpr\_filter\_%' THEN 'First SELECT gdpr.unfilter_rows(%2$L).'
                                     ELSE 'First DROP POLICY %1$I ON %2$s.' END, dependent.policy, dependent.relation::text);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.refuse_dependents(regclass) IS
    'raises an error if a view or policy reads the envelopes of a table or its parts; for unprotect';
REVOKE ALL ON FUNCTION gdpr.refuse_dependents(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.begin_unprotect(mapped gdpr.mapped_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child regclass;
BEGIN
    SELECT c.relation INTO child
    FROM (SELECT k.table_id, k.parent_id FROM gdpr.mapped_link k UNION ALL SELECT o.table_id, o.owner_id FROM gdpr.mapped_owner o) l
    JOIN gdpr.mapped_table c ON c.id = l.table_id
    WHERE l.parent_id = mapped.id AND c.id <> mapped.id AND c.protected ORDER BY c.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % leads to a person through %', child, mapped.relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.unprotect(%L).', child);
    END IF;
    PERFORM gdpr.refuse_dependents(r.relation) FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.is_top ORDER BY r.relation::oid;
    PERFORM gdpr.lock_whole(mapped, 'ACCESS EXCLUSIVE');
    UPDATE gdpr.mapped_table SET form = 0, other_form = mapped.form WHERE id = mapped.id;
    IF mapped.other_form IS NULL THEN
        PERFORM gdpr.set_check(mapped, false);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.begin_unprotect(gdpr.mapped_table) IS
    'from now on new rows of a table are not sealed; those that are there can be converted';
REVOKE ALL ON FUNCTION gdpr.begin_unprotect(gdpr.mapped_table) FROM PUBLIC;

-- In one transaction: a table with its parts, one that was detached, or the end of a conversion.
CREATE FUNCTION gdpr.finish_unprotect(mapped gdpr.mapped_table, relation regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child regclass;
    tops regclass[];
    parts regclass[];
    part regclass;
BEGIN
    IF mapped.relation = relation THEN
        SELECT c.relation INTO child
        FROM (SELECT k.table_id, k.parent_id FROM gdpr.mapped_link k UNION ALL SELECT o.table_id, o.owner_id FROM gdpr.mapped_owner o) l
        JOIN gdpr.mapped_table c ON c.id = l.table_id
        WHERE l.parent_id = mapped.id AND c.id <> mapped.id AND c.protected ORDER BY c.id LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'table % leads to a person through %', child, relation
                USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.unprotect(%L).', child);
        END IF;
        -- with what was detached from it
        tops := ARRAY(SELECT r.relation FROM gdpr.mapped_relation r WHERE r.table_id = mapped.id AND r.is_top ORDER BY r.relation::oid);
    ELSIF (SELECT r.is_top FROM gdpr.mapped_relation r WHERE r.relation = finish_unprotect.relation) THEN
        tops := ARRAY[relation];
    ELSE
        RAISE EXCEPTION 'table % is a part of protected table %', relation, mapped.relation
            USING ERRCODE = 'GD006', HINT = format('CALL gdpr.unprotect(%L), or detach the part first.', mapped.relation);
    END IF;
    FOREACH part IN ARRAY tops LOOP
        PERFORM gdpr.refuse_dependents(part);
    END LOOP;
    FOREACH part IN ARRAY tops LOOP
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part);
    END LOOP;
    parts := ARRAY(SELECT t.relation FROM unnest(tops) u(top), gdpr.tree(u.top) t);
    FOR part IN SELECT c.oid FROM pg_class c WHERE c.oid = ANY (parts) AND c.relkind = 'r' ORDER BY c.oid LOOP
        PERFORM gdpr.convert_table(part, 0);
    END LOOP;
    PERFORM gdpr.adapt_triggers(p, false) FROM unnest(parts) p;
    DELETE FROM gdpr.mapped_member m WHERE m.relation = ANY (parts);
    UPDATE gdpr.mapped_table t SET protected = false, form = 1, other_form = NULL WHERE t.id = mapped.id AND t.relation = ANY (parts);
    -- no longer protected: schema changes are not refused any more
    FOREACH part IN ARRAY parts LOOP
        PERFORM gdpr.drop_guards(part);
    END LOOP;
    -- from the top: what is inherited goes with it
    FOR part IN SELECT t.relation FROM unnest(tops) u(top), gdpr.tree(u.top) t ORDER BY t.depth, t.relation::oid LOOP
        IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = part AND c.conname = 'gdpr_sealed_check') THEN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT gdpr_sealed_check', part);
        END IF;
        IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = part AND a.attname = 'gdpr_sealed' AND NOT a.attisdropped) THEN
            EXECUTE format('ALTER TABLE %s DROP COLUMN gdpr_sealed', part);
        END IF;
    END LOOP;
    FOREACH part IN ARRAY tops LOOP
        PERFORM gdpr.return_checks(part);
    END LOOP;
    DELETE FROM gdpr.conversion c WHERE c.table_id = mapped.id AND mapped.relation = ANY (parts);
END $$;
COMMENT ON FUNCTION gdpr.finish_unprotect(gdpr.mapped_table, regclass) IS
    'opens what is sealed and gives a table, or a part that was detached from one, its schema back';
REVOKE ALL ON FUNCTION gdpr.finish_unprotect(gdpr.mapped_table, regclass) FROM PUBLIC;

-- In one transaction -----------------------------------------------------------------------------

CREATE FUNCTION gdpr.protect_now(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table := gdpr.mapped_for_change(relation, false);
BEGIN
    IF mapped.protected AND mapped.other_form IS NULL THEN
        RAISE EXCEPTION 'table % is protected already', relation USING ERRCODE = 'GD006';
    END IF;
    IF NOT mapped.protected OR mapped.form = 0 THEN
        PERFORM gdpr.begin_protect(mapped);
    END IF;
    PERFORM gdpr.finish_protect(mapped);
END $$;
COMMENT ON FUNCTION gdpr.protect_now(regclass) IS
    'seals a declared table, rows and schema, in the current transaction; for migrations. Statistics with values stay on disk until VACUUM FULL pg_statistic, pg_statistic_ext_data: use CALL gdpr.protect() where that matters';
REVOKE ALL ON FUNCTION gdpr.protect_now(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.unprotect_now(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table := gdpr.mapped_for_change(relation, false);
BEGIN
    IF NOT mapped.protected THEN
        RAISE EXCEPTION 'table % is not protected', relation USING ERRCODE = 'GD006';
    END IF;
    PERFORM gdpr.finish_unprotect(mapped, relation);
END $$;
COMMENT ON FUNCTION gdpr.unprotect_now(regclass) IS
    'gives a protected table its values, constraints and columns back, in the current transaction; what was forgotten stays gone';
REVOKE ALL ON FUNCTION gdpr.unprotect_now(regclass) FROM PUBLIC;

-- The data map follows DROP TABLE.
CREATE FUNCTION gdpr.on_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped oid[] := ARRAY(SELECT d.objid FROM pg_event_trigger_dropped_objects() d
                           WHERE d.object_type IN ('table', 'view') AND NOT d.is_temporary);
    owned regclass;
BEGIN
    IF dropped = '{}' THEN
        RETURN;
    END IF;
    -- whose its rows are, nobody would know any more
    SELECT t.relation INTO owned
    FROM gdpr.mapped_owner m JOIN gdpr.mapped_table t ON t.id = m.table_id JOIN gdpr.mapped_table w ON w.id = m.owner_id
    WHERE t.protected AND w.relation = ANY (dropped) AND t.relation <> ALL (dropped) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the rows of table % belong to persons through a table that would be dropped', owned
            USING ERRCODE = 'dependent_objects_still_exist', HINT = format('Drop both, or first CALL gdpr.unprotect(%L).', owned);
    END IF;
    DELETE FROM gdpr.former_number f WHERE f.relation = ANY (dropped);
    DELETE FROM gdpr.purpose_view v WHERE v.view = ANY (dropped) OR v.relation = ANY (dropped);
    DELETE FROM gdpr.mapped_check k WHERE k.relation = ANY (dropped);
    DELETE FROM gdpr.mapped_member m WHERE m.relation = ANY (dropped);
    -- a detached part takes the place of its table
    UPDATE gdpr.mapped_table t SET relation = m.relation
    FROM (SELECT m.table_id, min(m.relation::oid)::regclass AS relation FROM gdpr.mapped_member m GROUP BY m.table_id) m
    WHERE t.id = m.table_id AND t.relation = ANY (dropped);
    DELETE FROM gdpr.mapped_member m USING gdpr.mapped_table t WHERE t.relation = m.relation;
    PERFORM gdpr.unmap_tables(ARRAY(SELECT t.id FROM gdpr.mapped_table t WHERE t.relation = ANY (dropped)));
END $$;
COMMENT ON FUNCTION gdpr.on_drop() IS 'takes dropped tables out of the data map';
REVOKE ALL ON FUNCTION gdpr.on_drop() FROM PUBLIC;
-- whatever the command: a view also goes with a column, a function or a type that it needs
CREATE EVENT TRIGGER gdpr_on_drop ON sql_drop EXECUTE FUNCTION gdpr.on_drop();
COMMENT ON EVENT TRIGGER gdpr_on_drop IS 'takes dropped tables out of the data map';

-- Finding people ---------------------------------------------------------------------------------

CREATE FUNCTION gdpr.subject(relation regclass, key text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    result text;
    condition text;
BEGIN
    SELECT t.* INTO mapped FROM gdpr.mapped_table t JOIN gdpr.mapped_relation r ON r.table_id = t.id
    WHERE r.relation = subject.relation;
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
    -- a key is unique in a partitioned table, and in each table of an inheritance tree
    SELECT r INTO result FROM gdpr.run_as_owner(relation, format(
        'SELECT gdpr.subject_number(t.gdpr_sealed) FROM %s %s t WHERE %s',
        CASE WHEN (SELECT c.relkind FROM pg_class c WHERE c.oid = relation) = 'r' THEN 'ONLY' ELSE '' END, relation, condition)) r;
    IF result IS NULL AND 0 IN (mapped.form, mapped.other_form) THEN
        RAISE EXCEPTION 'table % has no row with this key that is sealed', relation
            USING ERRCODE = 'no_data_found',
                  DETAIL = 'The table is being converted: a row that is not sealed has no number.',
                  HINT = 'Repeat it when protect() has come to its end: TABLE gdpr.conversions shows how far it is.';
    END IF;
    IF result IS NULL THEN
        RAISE EXCEPTION 'table % has no row with this key', relation USING ERRCODE = 'no_data_found';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.subject(regclass, text) IS
    'the subject number of a row; key: the value of its key column, or a row literal such as (1,2)';
REVOKE ALL ON FUNCTION gdpr.subject(regclass, text) FROM PUBLIC;
