-- Purposes: why personal data is processed, what they may see, and who may claim them.

CREATE TABLE gdpr.purpose (
    name text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    legal_basis text NOT NULL CHECK (legal_basis IN
        ('consent', 'contract', 'legal_obligation', 'vital_interest', 'public_task', 'legitimate_interest')),
    categories smallint[] NOT NULL,
    columns integer[],
    direct_marketing boolean NOT NULL DEFAULT false,
    description text,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gdpr.purpose IS 'register of purposes with their legal basis (Art. 6(1) GDPR)';
CREATE TABLE gdpr.purpose_grant (
    purpose text COLLATE "C" NOT NULL,
    role name NOT NULL,
    mode text NOT NULL DEFAULT 'reveal' CHECK (mode IN ('reveal', 'mask')),
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (purpose, role)
);
COMMENT ON TABLE gdpr.purpose_grant IS
    'who may claim a purpose in gdpr.purpose; by the role''s name, so that a dump can be restored before its roles';
REVOKE ALL ON gdpr.purpose, gdpr.purpose_grant FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose_grant', '');
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.purpose
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.purpose_grant
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
ALTER TABLE gdpr.purpose ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.purpose_grant ENABLE ALWAYS TRIGGER map_changed;

CREATE FUNCTION gdpr.create_purpose(name text, legal_basis text, categories text[], columns text[] DEFAULT NULL,
                                    direct_marketing boolean DEFAULT false, description text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    category text;
    category_ids smallint[] := '{}';
    item text;
    parts text[];
    column_ids integer[];
    column_id integer;
BEGIN
    IF coalesce(name, '') = '' OR categories IS NULL OR categories = '{}' THEN
        RAISE EXCEPTION 'a purpose needs a name and at least one category' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF legal_basis IS NULL OR legal_basis NOT IN
        ('consent', 'contract', 'legal_obligation', 'vital_interest', 'public_task', 'legitimate_interest') THEN
        RAISE EXCEPTION 'legal_basis is "%"', legal_basis
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is ''consent'', ''contract'', ''legal_obligation'', ''vital_interest'', ''public_task'' or ''legitimate_interest''.';
    END IF;
    IF EXISTS (SELECT FROM gdpr.purpose p WHERE p.name = create_purpose.name) THEN
        RAISE EXCEPTION 'purpose "%" exists already', name
            USING ERRCODE = 'duplicate_object', HINT = format('Choose another name, or first SELECT gdpr.drop_purpose(%L).', name);
    END IF;
    FOREACH category IN ARRAY categories LOOP
        category_ids := category_ids || (SELECT c.id FROM gdpr.category c WHERE c.name = category);
        IF NOT EXISTS (SELECT FROM gdpr.category c WHERE c.name = category) THEN
            RAISE EXCEPTION 'category "%" does not exist', category
                USING ERRCODE = 'GD006',
                      HINT = 'Categories come from gdpr.declare_column(); SELECT name FROM gdpr.category shows them.';
        END IF;
    END LOOP;
    IF columns IS NOT NULL THEN
        column_ids := '{}';
        FOREACH item IN ARRAY columns LOOP
            parts := parse_ident(item);
            SELECT c.id INTO column_id
            FROM gdpr.mapped_column c JOIN gdpr.mapped_table t ON t.id = c.table_id
            JOIN pg_class k ON k.oid = t.relation JOIN pg_namespace n ON n.oid = k.relnamespace
            WHERE parts = ARRAY[n.nspname::text, k.relname::text, c.name::text];
            IF NOT FOUND THEN
                RAISE EXCEPTION 'column "%" is not declared', item
                    USING ERRCODE = 'GD006', HINT = 'Write it as schema.table.column.';
            END IF;
            column_ids := column_ids || column_id;
        END LOOP;
    END IF;
    -- what an earlier purpose of this name left
    DELETE FROM gdpr.purpose_grant g WHERE g.purpose = create_purpose.name;
    INSERT INTO gdpr.purpose (name, legal_basis, categories, columns, direct_marketing, description)
    VALUES (name, legal_basis, category_ids, column_ids, direct_marketing, description);
END $$;
COMMENT ON FUNCTION gdpr.create_purpose(text, text, text[], text[], boolean, text) IS
    'registers a purpose; legal_basis: consent, contract, legal_obligation, vital_interest, public_task or legitimate_interest; categories it may see, narrowed to columns if they are given';
REVOKE ALL ON FUNCTION gdpr.create_purpose(text, text, text[], text[], boolean, text) FROM PUBLIC;

CREATE FUNCTION gdpr.drop_purpose(purpose text)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.purpose p WHERE p.name = purpose;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'purpose "%" does not exist', purpose
            USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
    END IF;
    DELETE FROM gdpr.purpose_grant g WHERE g.purpose = drop_purpose.purpose;
END $$;
COMMENT ON FUNCTION gdpr.drop_purpose(text) IS 'removes a purpose and its grants; binds the next statement';
REVOKE ALL ON FUNCTION gdpr.drop_purpose(text) FROM PUBLIC;

CREATE FUNCTION gdpr.grant_purpose(purpose text, role name, mode text DEFAULT 'reveal')
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM gdpr.purpose p WHERE p.name = purpose) THEN
        RAISE EXCEPTION 'purpose "%" does not exist', purpose
            USING ERRCODE = 'GD004', HINT = 'SELECT gdpr.create_purpose(…) registers one.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = 'undefined_object';
    END IF;
    IF mode IS NULL OR mode NOT IN ('reveal', 'mask') THEN
        RAISE EXCEPTION 'mode is "%"', mode
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''reveal'' or ''mask''.';
    END IF;
    INSERT INTO gdpr.purpose_grant (purpose, role, mode) VALUES (purpose, role, mode)
    ON CONFLICT ON CONSTRAINT purpose_grant_pkey DO UPDATE SET mode = excluded.mode;
END $$;
COMMENT ON FUNCTION gdpr.grant_purpose(text, name, text) IS
    'lets a role, and roles with its privileges, claim a purpose in gdpr.purpose; mode: reveal, or mask to show masks only; again with another mode: changes it';
REVOKE ALL ON FUNCTION gdpr.grant_purpose(text, name, text) FROM PUBLIC;

CREATE FUNCTION gdpr.revoke_purpose(purpose text, role name)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gdpr.purpose_grant g WHERE g.purpose = revoke_purpose.purpose AND g.role = revoke_purpose.role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'purpose "%" is not granted to role "%"', purpose, role USING ERRCODE = 'GD004';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.revoke_purpose(text, name) IS 'takes a granted purpose back; binds the next statement';
REVOKE ALL ON FUNCTION gdpr.revoke_purpose(text, name) FROM PUBLIC;

CREATE FUNCTION gdpr.session_statistics(OUT revealed bigint, OUT hidden bigint, OUT written bigint)
    RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_session_statistics';
COMMENT ON FUNCTION gdpr.session_statistics() IS
    'values of personal columns that this session has seen, values that were hidden from it, and rows it has sealed';
