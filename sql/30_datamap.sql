-- The data map: which tables and columns hold personal data, of whom, in which category.
--
-- No foreign keys between these tables: pg_restore -j loads the data of an
-- extension's tables in any order.  The functions keep them consistent.

CREATE SEQUENCE gdpr.map_id AS integer MINVALUE 1 MAXVALUE 16777215; -- 3 bytes in envelopes, where 0 means notes
REVOKE ALL ON SEQUENCE gdpr.map_id FROM PUBLIC;
COMMENT ON SEQUENCE gdpr.map_id IS 'ids of tables and columns in envelopes; never used twice';

CREATE TABLE gdpr.category (
    id smallint PRIMARY KEY CHECK (id BETWEEN 0 AND 15),
    name text NOT NULL UNIQUE CHECK (name <> ''),
    special boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN gdpr.category.special IS 'of Art. 9: a purpose needs a ground of Art. 9(2) to cover it';
COMMENT ON TABLE gdpr.category IS
    'named classes of personal data, at most 15: the unit of partial forgetting; and records, that of the extension''s own records about a person';
INSERT INTO gdpr.category VALUES (15, 'records'); -- NOTE_CATEGORY

CREATE TABLE gdpr.mapped_table (
    id integer PRIMARY KEY DEFAULT nextval('gdpr.map_id'),
    relation regclass NOT NULL UNIQUE,
    key_columns name[] NOT NULL,
    on_forget text NOT NULL DEFAULT 'delete' CHECK (on_forget IN ('delete', 'erase', 'keep')),
    protected boolean NOT NULL DEFAULT false,
    ground text,
    keep_until text,
    form integer NOT NULL DEFAULT 1 CHECK (form BETWEEN 0 AND 65535),
    other_form integer CHECK (other_form BETWEEN 0 AND 65535),
    history boolean NOT NULL DEFAULT false,
    CHECK (other_form <> form),
    CHECK (on_forget = 'keep' OR (ground IS NULL AND keep_until IS NULL))
);
COMMENT ON TABLE gdpr.mapped_table IS 'declared tables';
COMMENT ON COLUMN gdpr.mapped_table.form IS
    'form of new rows: the epoch of the tokens in searchable columns; 0: rows are not sealed';
COMMENT ON COLUMN gdpr.mapped_table.other_form IS
    'form that older rows may have while protect, unprotect or rotate_tokens converts the table; NULL: none runs';

CREATE TABLE gdpr.mapped_link (
    table_id integer NOT NULL,
    via smallint NOT NULL CHECK (via BETWEEN 0 AND 255),
    columns name[] NOT NULL,
    parent_id integer NOT NULL,
    parent_columns name[] NOT NULL,
    PRIMARY KEY (table_id, via)
);
COMMENT ON TABLE gdpr.mapped_link IS
    'foreign keys that lead to the person: via 0 for the row, others for single columns; a table without via 0 holds a person per row';

-- Both are of rights alone: the guard does not know them.
CREATE TABLE gdpr.mapped_owner (
    table_id integer NOT NULL,
    owner_id integer NOT NULL,
    owner_columns name[] NOT NULL,
    columns name[] NOT NULL,
    PRIMARY KEY (table_id, owner_id)
);
COMMENT ON TABLE gdpr.mapped_owner IS
    'tables whose rows have several owners: the table owner_id, each row of which belongs to a person, refers to them by owner_columns';

CREATE TABLE gdpr.mapped_access (
    table_id integer NOT NULL,
    columns name[] NOT NULL,
    parent_id integer NOT NULL,
    parent_columns name[] NOT NULL,
    PRIMARY KEY (table_id, columns)
);
COMMENT ON TABLE gdpr.mapped_access IS
    'foreign keys to a person who sees the row and does not own it: forgetting that person clears them';

CREATE TABLE gdpr.mapped_column (
    id integer PRIMARY KEY DEFAULT nextval('gdpr.map_id'),
    table_id integer NOT NULL,
    name name NOT NULL,
    category smallint NOT NULL,
    via smallint NOT NULL DEFAULT 0,
    searchable boolean NOT NULL DEFAULT false,
    normalize text NOT NULL DEFAULT 'none' CHECK (normalize IN ('none', 'lower')),
    token_domain integer NOT NULL,
    token_width integer NOT NULL DEFAULT 0,
    mask text,
    type_name text NOT NULL,
    inferred boolean NOT NULL DEFAULT false,
    UNIQUE (table_id, name)
);
COMMENT ON TABLE gdpr.mapped_column IS 'declared personal columns; id names a value inside an envelope';
COMMENT ON COLUMN gdpr.mapped_column.inferred IS
    'concluded from other data, not provided by the person or observed: not in exports for portability (Art. 20)';

CREATE TABLE gdpr.mapped_check (
    table_id integer NOT NULL,
    relation regclass NOT NULL,
    name name NOT NULL,
    expression text NOT NULL,
    definition text NOT NULL,
    local boolean NOT NULL DEFAULT true,
    PRIMARY KEY (relation, name)
);
COMMENT ON TABLE gdpr.mapped_check IS
    'CHECK constraints on personal columns: held by the guard on values while the table is protected, given back by unprotect';

CREATE TABLE gdpr.mapped_member (
    relation regclass PRIMARY KEY,
    table_id integer NOT NULL
);
COMMENT ON TABLE gdpr.mapped_member IS
    'partitions and inheritance children of protected tables; a detached one stays here, and protected';

CREATE TABLE gdpr.former_number (
    relation regclass NOT NULL,
    row_key bytea NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (relation, row_key)
);
COMMENT ON TABLE gdpr.former_number IS
    'numbers of the persons of a table that unprotect opened: protect gives them back, so that forget reaches the backups from before';

CREATE TABLE gdpr.conversion (
    table_id integer PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    phase text NOT NULL DEFAULT 'rows' CHECK (phase IN ('rows', 'last rows', 'old snapshots')),
    pass integer NOT NULL DEFAULT 1,
    part oid NOT NULL DEFAULT 0,
    block bigint NOT NULL DEFAULT 0,
    rows_in_pass bigint NOT NULL DEFAULT 0,
    rows_done bigint NOT NULL DEFAULT 0,
    rows_estimated bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON gdpr.conversion FROM PUBLIC;
COMMENT ON TABLE gdpr.conversion IS 'how far the conversion of a table has come: part and block; not in dumps: without it, it begins at the first block';

REVOKE ALL ON gdpr.category, gdpr.mapped_table, gdpr.mapped_link, gdpr.mapped_owner, gdpr.mapped_access, gdpr.mapped_column, gdpr.mapped_check,
    gdpr.mapped_member, gdpr.former_number FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.map_id', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.category', 'WHERE id <> 15');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_table', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_link', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_owner', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_access', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_column', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_check', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.mapped_member', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.former_number', '');

-- Every session's cache, and every plan that uses a mapped table, must hear of a change.
CREATE FUNCTION gdpr.map_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'gdpr_map_changed';
COMMENT ON FUNCTION gdpr.map_changed() IS 'tells all sessions that the data map or the purposes changed';
REVOKE ALL ON FUNCTION gdpr.map_changed() FROM PUBLIC;
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.mapped_table
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.mapped_link
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.mapped_column
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.mapped_check
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.mapped_member
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
ALTER TABLE gdpr.mapped_table ENABLE ALWAYS TRIGGER map_changed; -- a restored dump counts, triggers disabled or not
ALTER TABLE gdpr.mapped_link ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.mapped_column ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.mapped_check ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.mapped_member ENABLE ALWAYS TRIGGER map_changed;

-- On an application's table, whatever is the owner's code runs as the owner.
CREATE FUNCTION gdpr.run_as_owner(relation regclass, statement text, number bigint DEFAULT NULL) RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_run_as_owner';
COMMENT ON FUNCTION gdpr.run_as_owner(regclass, text, bigint) IS
    'runs a statement, in which $1 is number, as the owner of a table; the first column of its rows';
REVOKE ALL ON FUNCTION gdpr.run_as_owner(regclass, text, bigint) FROM PUBLIC;
CREATE FUNCTION gdpr.run_as_owner(relation regclass, statement text, numbers bigint[]) RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_run_as_owner';
COMMENT ON FUNCTION gdpr.run_as_owner(regclass, text, bigint[]) IS
    'the same with an array of numbers as $1';
REVOKE ALL ON FUNCTION gdpr.run_as_owner(regclass, text, bigint[]) FROM PUBLIC;

CREATE VIEW gdpr.mapped_relation AS
WITH relation(table_id, relation, is_root) AS (
    SELECT t.id, t.relation, true FROM gdpr.mapped_table t
    UNION ALL SELECT m.table_id, m.relation, false FROM gdpr.mapped_member m
)
SELECT r.table_id, r.relation, r.is_root, c.relkind = 'r' AS has_rows,
       NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN relation p ON p.relation = i.inhparent
                   WHERE i.inhrelid = r.relation AND p.table_id = r.table_id) AS is_top
FROM relation r JOIN pg_catalog.pg_class c ON c.oid = r.relation;
COMMENT ON VIEW gdpr.mapped_relation IS
    'the relations of declared tables; is_top: a query on it reaches all those below it, and no other does';
REVOKE ALL ON gdpr.mapped_relation FROM PUBLIC;

-- Names and keys ---------------------------------------------------------------------------------

CREATE FUNCTION gdpr.column_list(relation regclass, list text) RETURNS name[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text;
    ident text[];
    result name[] := '{}';
BEGIN
    -- one name as it is in the catalog, or SQL identifiers separated by commas
    IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = list
               AND a.attnum > 0 AND NOT a.attisdropped) THEN
        RETURN ARRAY[list::name];
    END IF;
    FOREACH part IN ARRAY string_to_array(list, ',') LOOP
        ident := parse_ident(trim(part));
        IF array_length(ident, 1) <> 1 OR NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = ident[1]
            AND a.attnum > 0 AND NOT a.attisdropped) THEN
            RAISE EXCEPTION 'column "%" of table % does not exist', trim(part), relation
                USING ERRCODE = 'undefined_column';
        END IF;
        result := result || ident[1]::name;
    END LOOP;
    IF result = '{}' THEN
        RAISE EXCEPTION 'no column of table % is named', relation USING ERRCODE = 'undefined_column';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.column_list(regclass, text) IS 'column names of a table from text such as ''a, b''';
REVOKE ALL ON FUNCTION gdpr.column_list(regclass, text) FROM PUBLIC;

CREATE FUNCTION gdpr.row_key(relation regclass) RETURNS name[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((
        SELECT array_agg(a.attname ORDER BY k.position)
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = relation AND i.indisprimary), '{}')
$$;
COMMENT ON FUNCTION gdpr.row_key(regclass) IS 'the primary key columns of a table, empty if it has none';
REVOKE ALL ON FUNCTION gdpr.row_key(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_declarable(relation regclass, on_forget text, ground text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part_of regclass;
BEGIN
    IF on_forget IS NULL OR on_forget NOT IN ('delete', 'erase', 'keep') THEN
        RAISE EXCEPTION 'on_forget is "%"', on_forget
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''delete'', ''erase'' or ''keep''.';
    END IF;
    IF on_forget = 'keep' AND coalesce(ground, '') = '' THEN
        RAISE EXCEPTION 'table % cannot be kept without a legal ground', relation
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Name the law that requires it: ground => ''…'', keep_until => ''…''.';
    END IF;
    IF coalesce((SELECT relkind FROM pg_class WHERE oid = relation) NOT IN ('r', 'p'), true) THEN
        RAISE EXCEPTION '% is not an ordinary table', relation
            USING ERRCODE = 'wrong_object_type',
                  DETAIL = 'Views read protected tables as they are; foreign tables cannot be protected.';
    END IF;
    SELECT t.relation INTO part_of FROM gdpr.mapped_member m JOIN gdpr.mapped_table t ON t.id = m.table_id
    WHERE m.relation = assert_declarable.relation;
    IF FOUND THEN
        RAISE EXCEPTION 'table % is part of protected table %', relation, part_of
            USING ERRCODE = 'GD006', DETAIL = 'The declarations of that table are its own.';
    END IF;
    WITH RECURSIVE above(relation, n) AS (
        SELECT i.inhparent, 1 FROM pg_inherits i WHERE i.inhrelid = relation
        UNION ALL SELECT i.inhparent, a.n + 1 FROM above a JOIN pg_inherits i ON i.inhrelid = a.relation
    ) SELECT a.relation INTO part_of FROM above a ORDER BY a.n DESC, a.relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'table % is a partition or child of table %', relation, part_of
            USING ERRCODE = 'wrong_object_type',
                  HINT = format('Declare %s: its partitions and children are protected with it.', part_of);
    END IF;
    IF (SELECT n.nspname IN ('gdpr', 'pg_catalog', 'information_schema') OR c.relpersistence = 't'
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation) THEN
        RAISE EXCEPTION '% cannot hold declared personal data', relation
            USING ERRCODE = 'wrong_object_type', DETAIL = 'It is a system, extension or temporary table.';
    END IF;
    IF EXISTS (SELECT FROM gdpr.mapped_table t WHERE t.relation = assert_declarable.relation) THEN
        RAISE EXCEPTION 'table % is declared already', relation
            USING ERRCODE = 'GD006',
                  HINT = format('SELECT gdpr.undeclare_table(%L) withdraws its declaration.', relation);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_declarable(regclass, text, text) IS 'raises an error unless a table can be declared';
REVOKE ALL ON FUNCTION gdpr.assert_declarable(regclass, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_key(relation regclass, key name[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = ANY (key) AND NOT a.attnotnull) THEN
        RAISE EXCEPTION 'key columns of table % must be NOT NULL', relation
            USING ERRCODE = 'invalid_table_definition';
    END IF;
    IF key <> '{}' AND NOT EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = relation AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
          AND (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a
               WHERE a.attrelid = relation AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
            = (SELECT array_agg(k ORDER BY k) FROM unnest(key) k)) THEN
        RAISE EXCEPTION 'columns % are not a key of table %', array_to_string(key, ', '), relation
            USING ERRCODE = 'invalid_table_definition',
                  HINT = 'Name the columns of its primary key or of a unique index.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_key(regclass, name[]) IS 'raises an error unless the columns identify a row';
REVOKE ALL ON FUNCTION gdpr.assert_key(regclass, name[]) FROM PUBLIC;

CREATE FUNCTION gdpr.foreign_key(relation regclass, list text, OUT columns name[], OUT parent_id integer, OUT parent_columns name[])
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names name[] := gdpr.column_list(relation, list);
    parent regclass;
BEGIN
    SELECT c.confrelid,
           (SELECT array_agg(a.attname ORDER BY k.position)
            FROM unnest(c.conkey) WITH ORDINALITY AS k(attnum, position)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum),
           (SELECT array_agg(a.attname ORDER BY k.position)
            FROM unnest(c.confkey) WITH ORDINALITY AS k(attnum, position)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.attnum)
    INTO parent, columns, parent_columns
    FROM pg_constraint c
    WHERE c.contype = 'f' AND c.conrelid = relation AND c.conparentid = 0
      AND (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_attribute a
           WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
        = (SELECT array_agg(n ORDER BY n) FROM unnest(names) n)
    ORDER BY c.oid LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % has no foreign key on (%)', relation, array_to_string(names, ', ')
            USING ERRCODE = 'GD006',
                  HINT = 'A row belongs to the person a foreign key leads to: add the foreign key first.';
    END IF;
    SELECT t.id INTO parent_id FROM gdpr.mapped_table t WHERE t.relation = parent FOR KEY SHARE;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM gdpr.mapped_member m WHERE m.relation = parent) OR
           EXISTS (SELECT FROM pg_inherits i JOIN gdpr.mapped_table t ON t.relation = i.inhparent WHERE i.inhrelid = parent) THEN
            RAISE EXCEPTION 'table %, to which the foreign key leads, is a partition or child of a declared table', parent
                USING ERRCODE = 'GD006', HINT = 'Let the foreign key lead to the table that was declared.';
        END IF;
        RAISE EXCEPTION 'table %, to which the foreign key leads, is not declared', parent
            USING ERRCODE = 'GD006',
                  HINT = format('Declare it first: SELECT gdpr.declare_subject(%L, key => ''…'') or gdpr.declare_table(%1$L, via => ''…'').', parent);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.foreign_key(regclass, text) IS 'the foreign key of a table on these columns, and the declared table that it leads to';
REVOKE ALL ON FUNCTION gdpr.foreign_key(regclass, text) FROM PUBLIC;

CREATE FUNCTION gdpr.add_link(relation regclass, link smallint, list text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO gdpr.mapped_link (table_id, via, columns, parent_id, parent_columns)
    SELECT t.id, link, f.columns, f.parent_id, f.parent_columns
    FROM gdpr.mapped_table t, gdpr.foreign_key(relation, list) f WHERE t.relation = add_link.relation
$$;
COMMENT ON FUNCTION gdpr.add_link(regclass, smallint, text) IS 'records the foreign key that leads from a table to the person';
REVOKE ALL ON FUNCTION gdpr.add_link(regclass, smallint, text) FROM PUBLIC;

-- What forget() reads of two tables at once, it reads as their owner.
CREATE FUNCTION gdpr.assert_same_owner(relation regclass, other regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(DISTINCT c.relowner) FROM pg_class c WHERE c.oid IN (relation, other)) > 1 THEN
        RAISE EXCEPTION 'tables % and % have different owners', relation, other
            USING ERRCODE = 'GD006', HINT = 'ALTER TABLE … OWNER TO … gives both to one role.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_same_owner(regclass, regclass) IS 'raises an error unless two tables belong to the same role';
REVOKE ALL ON FUNCTION gdpr.assert_same_owner(regclass, regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.add_owners(relation regclass, owners regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    table_id integer := (SELECT t.id FROM gdpr.mapped_table t WHERE t.relation = add_owners.relation);
    keys text[] := ARRAY(
        SELECT (SELECT string_agg(quote_ident(a.attname), ',' ORDER BY k.position)
                FROM unnest(c.conkey) WITH ORDINALITY AS k(attnum, position)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum)
        FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conrelid = owners AND c.confrelid = relation AND c.conparentid = 0 ORDER BY c.oid);
BEGIN
    IF NOT EXISTS (SELECT FROM gdpr.mapped_table t JOIN gdpr.mapped_link l ON l.table_id = t.id AND l.via = 0 WHERE t.relation = owners) THEN
        RAISE EXCEPTION 'table %, which is to name the owners, is not declared as a table of persons'' rows', owners
            USING ERRCODE = 'GD006', HINT = format('Declare it first: SELECT gdpr.declare_table(%L, via => ''…'').', owners);
    END IF;
    IF cardinality(keys) <> 1 THEN
        RAISE EXCEPTION 'table % has % foreign keys to table %', owners, cardinality(keys), relation
            USING ERRCODE = 'GD006', HINT = 'It needs one: each of its rows says that a person is an owner.';
    END IF;
    PERFORM gdpr.assert_same_owner(relation, owners);
    INSERT INTO gdpr.mapped_owner (table_id, owner_id, owner_columns, columns)
    SELECT table_id, t.id, f.columns, f.parent_columns
    FROM gdpr.mapped_table t, gdpr.foreign_key(owners, keys[1]) f WHERE t.relation = owners;
END $$;
COMMENT ON FUNCTION gdpr.add_owners(regclass, regclass) IS 'records the table whose rows say who owns a row of another';
REVOKE ALL ON FUNCTION gdpr.add_owners(regclass, regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.owner_tables(below regclass DEFAULT NULL, OUT relation regclass, OUT through regclass, OUT condition text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR relation, through, condition IN
        SELECT t.relation, w.relation,
               (SELECT string_agg(format('o.%I = s.%I', k.a, k.b), ' AND ') FROM unnest(m.owner_columns, m.columns) AS k(a, b))
        FROM gdpr.mapped_owner m JOIN gdpr.mapped_table t ON t.id = m.table_id JOIN gdpr.mapped_table w ON w.id = m.owner_id
        WHERE t.protected AND w.protected AND (below IS NULL OR EXISTS (
            SELECT FROM gdpr.mapped_relation r
            WHERE r.relation = below AND (r.table_id = t.id OR t.id IN (SELECT a.id FROM gdpr.tables_above(r.table_id) a))))
        ORDER BY t.id
    LOOP
        PERFORM gdpr.assert_same_owner(relation, through);
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.owner_tables(regclass) IS
    'protected tables whose rows have several owners (below: only those to which rows of this one can belong), the table that names these, and the condition by which o, a row of that, names an owner of s; for forget and exports';
REVOKE ALL ON FUNCTION gdpr.owner_tables(regclass) FROM PUBLIC;

-- Declarations -----------------------------------------------------------------------------------

CREATE FUNCTION gdpr.declare_subject(relation regclass, key text DEFAULT NULL, on_forget text DEFAULT 'delete',
                                     ground text DEFAULT NULL, keep_until text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names name[];
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM gdpr.assert_declarable(relation, on_forget, ground);
    names := CASE WHEN key IS NULL THEN gdpr.row_key(relation) ELSE gdpr.column_list(relation, key) END;
    IF names = '{}' THEN
        RAISE EXCEPTION 'table % has no primary key', relation
            USING ERRCODE = 'invalid_table_definition',
                  HINT = format('Name the columns that identify a person: SELECT gdpr.declare_subject(%L, key => ''…'').', relation);
    END IF;
    PERFORM gdpr.assert_key(relation, names);
    INSERT INTO gdpr.mapped_table (relation, key_columns, on_forget, ground, keep_until)
    VALUES (relation, names, on_forget, ground, keep_until);
END $$;
COMMENT ON FUNCTION gdpr.declare_subject(regclass, text, text, text, text) IS
    'declares a table in which each row is a person; key: the columns that identify a row (default: the primary key); on_forget: delete, erase, or keep with the legal ground and until when (an SQL expression over the row)';
REVOKE ALL ON FUNCTION gdpr.declare_subject(regclass, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.declare_table(relation regclass, via text DEFAULT NULL, on_forget text DEFAULT 'delete',
                                   ground text DEFAULT NULL, keep_until text DEFAULT NULL, owned_through regclass DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF (via IS NULL) = (owned_through IS NULL) THEN
        RAISE EXCEPTION 'whose are the rows of table %?', relation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give either via, the foreign key to the person, or owned_through, the table that says who owns a row.';
    END IF;
    PERFORM gdpr.assert_declarable(relation, on_forget, ground);
    INSERT INTO gdpr.mapped_table (relation, key_columns, on_forget, ground, keep_until)
    VALUES (relation, gdpr.row_key(relation), on_forget, ground, keep_until);
    IF via IS NOT NULL THEN
        PERFORM gdpr.add_link(relation, 0::smallint, via);
    ELSE
        PERFORM gdpr.assert_key(relation, gdpr.row_key(relation));
        PERFORM gdpr.add_owners(relation, owned_through);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.declare_table(regclass, text, text, text, text, regclass) IS
    'declares a table whose rows belong to the person that the foreign key via leads to, at any depth, or to several whom the rows of owned_through name: such a row lives until the last of them is forgotten; on_forget: delete, erase, or keep with the legal ground and until when (an SQL expression over the row)';
REVOKE ALL ON FUNCTION gdpr.declare_table(regclass, text, text, text, text, regclass) FROM PUBLIC;

-- Not those that say whose the row, or a value in it, is.
CREATE FUNCTION gdpr.clearable(table_id integer, columns name[]) RETURNS name[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(
        SELECT a.attname FROM gdpr.mapped_table t JOIN pg_attribute a ON a.attrelid = t.relation
        WHERE t.id = clearable.table_id AND a.attname = ANY (clearable.columns) AND NOT a.attnotnull AND NOT a.attisdropped
          AND a.attname <> ALL (t.key_columns)
          AND NOT EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND a.attname = ANY (l.columns) AND l.columns <> clearable.columns))
$$;
COMMENT ON FUNCTION gdpr.clearable(integer, name[]) IS 'those columns of a foreign key that can be set to NULL so that it leads nowhere';
REVOKE ALL ON FUNCTION gdpr.clearable(integer, name[]) FROM PUBLIC;

CREATE FUNCTION gdpr.declare_access(relation regclass, via text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    key record;
    parent regclass;
BEGIN
    IF relation IS NULL OR via IS NULL THEN
        RAISE EXCEPTION 'relation or via is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = declare_access.relation FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006', HINT = format('First say whose its rows are: SELECT gdpr.declare_table(%L, via => ''…'').', relation);
    END IF;
    SELECT * INTO key FROM gdpr.foreign_key(relation, via);
    SELECT t.relation INTO parent FROM gdpr.mapped_table t WHERE t.id = key.parent_id;
    IF EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = mapped.id AND l.via = 0 AND l.columns = key.columns) THEN
        RAISE EXCEPTION 'the rows of table % belong to the person whom (%) leads to', relation, via
            USING ERRCODE = 'GD006', HINT = 'Access is of those who see a row without owning it.';
    END IF;
    IF gdpr.clearable(mapped.id, key.columns) = '{}' THEN
        RAISE EXCEPTION 'the foreign key on (%) of table % cannot be cleared', via, relation
            USING ERRCODE = 'GD006', DETAIL = 'Its columns are NOT NULL, or part of a key or of another foreign key to a person.',
                  HINT = 'ALTER TABLE … ALTER COLUMN … DROP NOT NULL for one that is not.';
    END IF;
    PERFORM gdpr.assert_same_owner(relation, parent);
    INSERT INTO gdpr.mapped_access (table_id, columns, parent_id, parent_columns)
    VALUES (mapped.id, key.columns, key.parent_id, key.parent_columns) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION gdpr.declare_access(regclass, text) IS
    'declares that the person whom a foreign key of a declared table leads to sees its rows without owning them: forgetting that person clears the foreign key and leaves the row; protected or not';
REVOKE ALL ON FUNCTION gdpr.declare_access(regclass, text) FROM PUBLIC;

CREATE FUNCTION gdpr.undeclare_access(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.mapped_access a USING gdpr.mapped_table t WHERE t.id = a.table_id AND t.relation = undeclare_access.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'nobody was declared to have access to rows of table %', relation USING ERRCODE = 'GD006';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.undeclare_access(regclass) IS 'withdraws all that declare_access said of a table';
REVOKE ALL ON FUNCTION gdpr.undeclare_access(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.category_id(category text) RETURNS smallint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result smallint;
BEGIN
    LOCK TABLE gdpr.category IN SHARE ROW EXCLUSIVE MODE;
    SELECT c.id INTO result FROM gdpr.category c WHERE c.name = category;
    IF NOT FOUND THEN
        INSERT INTO gdpr.category (id, name)
        SELECT min(free), category FROM generate_series(0, 14) free
        WHERE NOT EXISTS (SELECT FROM gdpr.category c WHERE c.id = free)
        HAVING min(free) IS NOT NULL
        RETURNING id INTO result;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there are 15 categories already' USING ERRCODE = 'program_limit_exceeded',
                HINT = 'SELECT name FROM gdpr.category WHERE id < 15 shows them: use one of these.';
        END IF;
    END IF;
    IF result = 15 THEN
        RAISE EXCEPTION 'category "%" is reserved', category
            USING ERRCODE = 'reserved_name', DETAIL = 'It is that of the extension''s own records about a person.',
                  HINT = 'Choose another name.';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.category_id(text) IS 'the id of a category, which is registered if it is new';
REVOKE ALL ON FUNCTION gdpr.category_id(text) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_mask(relation regclass, "column" text) RETURNS void
    LANGUAGE c STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_assert_mask';
COMMENT ON FUNCTION gdpr.assert_mask(regclass, text) IS
    'an error if the mask of a declared column does not exist, does not fit its type or cannot be used; internal';
REVOKE ALL ON FUNCTION gdpr.assert_mask(regclass, text) FROM PUBLIC;

CREATE FUNCTION gdpr.declare_column(relation regclass, "column" text, category text,
                                    searchable boolean DEFAULT false, normalization text DEFAULT 'none',
                                    mask text DEFAULT NULL, subject_via text DEFAULT NULL,
                                    token_domain text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
    attribute pg_attribute;
    link smallint := 0;
    column_id integer;
BEGIN
    IF relation IS NULL OR "column" IS NULL OR coalesce(category, '') = '' OR searchable IS NULL THEN
        RAISE EXCEPTION 'relation, column, category or searchable is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = declare_column.relation FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006',
                  HINT = format('First SELECT gdpr.declare_subject(%L, key => ''…'') or gdpr.declare_table(%1$L, via => ''…'').', relation);
    END IF;
    IF mapped.protected THEN
        RAISE EXCEPTION 'table % is protected already', relation
            USING ERRCODE = 'GD006',
                  HINT = format('CALL gdpr.unprotect(%L), declare the column, and protect it again.', relation);
    END IF;
    SELECT * INTO attribute FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attname = "column" AND a.attnum > 0 AND NOT a.attisdropped;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of table % does not exist', "column", relation USING ERRCODE = 'undefined_column';
    END IF;
    IF EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = mapped.id AND c.name = "column") THEN
        RAISE EXCEPTION 'column "%" of table % is declared already', "column", relation
            USING ERRCODE = 'GD006',
                  HINT = format('SELECT gdpr.undeclare_table(%L) withdraws the table''s declaration.', relation);
    END IF;
    IF normalization IS NULL OR normalization NOT IN ('none', 'lower') THEN
        RAISE EXCEPTION 'normalization is "%"', normalization
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''none'' or ''lower''.';
    END IF;
    IF "column" = ANY (mapped.key_columns::text[]) THEN
        RAISE EXCEPTION 'column "%" of table % is part of its key and cannot be sealed', "column", relation
            USING ERRCODE = 'invalid_column_definition',
                  DETAIL = 'The key binds an envelope to its row.',
                  HINT = 'Use a key without personal data, such as a number.';
    END IF;
    IF subject_via IS NOT NULL THEN
        SELECT l.via INTO link FROM gdpr.mapped_link l
        WHERE l.table_id = mapped.id AND l.columns = gdpr.column_list(relation, subject_via);
        IF NOT FOUND THEN
            SELECT greatest(coalesce(max(l.via), 0) + 1, 1) INTO link FROM gdpr.mapped_link l WHERE l.table_id = mapped.id;
            PERFORM gdpr.add_link(relation, link, subject_via);
        END IF;
    END IF;
    column_id := nextval('gdpr.map_id');
    INSERT INTO gdpr.mapped_column (id, table_id, name, category, via, searchable, normalize, token_domain, mask, type_name)
    VALUES (column_id, mapped.id, "column", gdpr.category_id(category), link, searchable, normalization,
            CASE WHEN token_domain IS NULL THEN column_id ELSE -(hashtextextended(token_domain, 0) & 1073741823)::integer END,
            mask, format_type(attribute.atttypid, attribute.atttypmod));
    PERFORM gdpr.assert_mask(relation, "column");
END $$;
COMMENT ON FUNCTION gdpr.declare_column(regclass, text, text, boolean, text, text, text, text) IS
    'declares a personal column; category: its class of data; searchable: equality uses a token; normalization: none or lower; mask: email, iban, name, number, phone, text, year or schema.function; subject_via: a foreign key to the person it is about, if not the row''s; token_domain: a name shared by columns that are joined';
REVOKE ALL ON FUNCTION gdpr.declare_column(regclass, text, text, boolean, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.set_mask(relation regclass, "column" text, mask text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE gdpr.mapped_column c SET mask = set_mask.mask
    FROM gdpr.mapped_table t
    WHERE t.id = c.table_id AND t.relation = set_mask.relation AND c.name = "column";
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of table % is not declared', "column", relation
            USING ERRCODE = 'GD006', HINT = 'SELECT relation, "column" FROM gdpr.data_map shows those that are.';
    END IF;
    PERFORM gdpr.assert_mask(relation, "column");
END $$;
COMMENT ON FUNCTION gdpr.set_mask(regclass, text, text) IS
    'another mask for a declared column, protected or not; NULL for none; binds the next statement';
REVOKE ALL ON FUNCTION gdpr.set_mask(regclass, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.keep_history(relation regclass, keep boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF keep IS NULL THEN
        RAISE EXCEPTION 'keep is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    UPDATE gdpr.mapped_table t SET history = keep WHERE t.relation = keep_history.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation
            USING ERRCODE = 'GD006', HINT = 'SELECT DISTINCT relation FROM gdpr.data_map shows those that are.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.keep_history(regclass, boolean) IS
    'keeps the values before and after each UPDATE and DELETE of a declared table in the audit trail, sealed: gdpr.changes(subject) shows them; protected or not, it binds the next statement';
REVOKE ALL ON FUNCTION gdpr.keep_history(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.unmap_tables(ids integer[]) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM gdpr.mapped_link l WHERE l.table_id = ANY (ids) OR l.parent_id = ANY (ids);
    DELETE FROM gdpr.mapped_owner o WHERE o.table_id = ANY (ids) OR o.owner_id = ANY (ids);
    DELETE FROM gdpr.mapped_access a WHERE a.table_id = ANY (ids) OR a.parent_id = ANY (ids);
    DELETE FROM gdpr.mapped_column c WHERE c.table_id = ANY (ids);
    DELETE FROM gdpr.mapped_check k WHERE k.table_id = ANY (ids);
    DELETE FROM gdpr.mapped_member m WHERE m.table_id = ANY (ids);
    DELETE FROM gdpr.conversion v WHERE v.table_id = ANY (ids);
    DELETE FROM gdpr.reseal s WHERE s.table_id = ANY (ids);
    DELETE FROM gdpr.retention_policy p WHERE p.table_id = ANY (ids) OR p.since_table = ANY (ids);
    DELETE FROM gdpr.mapped_table t WHERE t.id = ANY (ids);
$$;
COMMENT ON FUNCTION gdpr.unmap_tables(integer[]) IS 'takes tables out of the data map';
REVOKE ALL ON FUNCTION gdpr.unmap_tables(integer[]) FROM PUBLIC;

CREATE FUNCTION gdpr.undeclare_table(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mapped gdpr.mapped_table;
BEGIN
    SELECT * INTO mapped FROM gdpr.mapped_table t WHERE t.relation = undeclare_table.relation FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not declared', relation USING ERRCODE = 'GD006';
    END IF;
    IF mapped.protected THEN
        RAISE EXCEPTION 'table % is protected', relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.unprotect(%L).', relation);
    END IF;
    IF EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.parent_id = mapped.id AND l.table_id <> mapped.id
               UNION ALL SELECT FROM gdpr.mapped_owner o WHERE o.owner_id = mapped.id) THEN
        RAISE EXCEPTION 'other declared tables lead to a person through table %', relation
            USING ERRCODE = 'GD006', HINT = 'Withdraw their declarations first.';
    END IF;
    PERFORM gdpr.unmap_tables(ARRAY[mapped.id]);
END $$;
COMMENT ON FUNCTION gdpr.undeclare_table(regclass) IS 'withdraws the declaration of a table that is not protected';
REVOKE ALL ON FUNCTION gdpr.undeclare_table(regclass) FROM PUBLIC;

CREATE VIEW gdpr.data_map AS
SELECT t.relation, t.protected,
       CASE WHEN l.table_id IS NOT NULL THEN 'belongs to ' || p.relation::text
            WHEN o.table_id IS NOT NULL THEN 'owned through ' || w.relation::text
            ELSE 'subject' END AS rows_are,
       l.columns AS via, t.on_forget, t.ground, t.keep_until,
       c.name AS "column", c.type_name AS type, k.name AS category, c.searchable, c.normalize, c.mask,
       s.columns AS subject_via, t.history, t.id AS table_id, c.id AS column_id
FROM gdpr.mapped_table t
LEFT JOIN gdpr.mapped_link l ON l.table_id = t.id AND l.via = 0
LEFT JOIN gdpr.mapped_table p ON p.id = l.parent_id
LEFT JOIN gdpr.mapped_owner o ON o.table_id = t.id
LEFT JOIN gdpr.mapped_table w ON w.id = o.owner_id
LEFT JOIN gdpr.mapped_column c ON c.table_id = t.id
LEFT JOIN gdpr.category k ON k.id = c.category
LEFT JOIN gdpr.mapped_link s ON s.table_id = t.id AND s.via = c.via AND c.via <> 0
ORDER BY t.id, c.id;
COMMENT ON VIEW gdpr.data_map IS 'the data inventory: which tables and columns hold personal data, of whom, in which category';
REVOKE ALL ON gdpr.data_map FROM PUBLIC;
