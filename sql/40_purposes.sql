-- Purposes: why personal data is processed, what they may see, and who may claim them.

CREATE SEQUENCE gdpr.purpose_id AS integer;
REVOKE ALL ON SEQUENCE gdpr.purpose_id FROM PUBLIC;
COMMENT ON SEQUENCE gdpr.purpose_id IS
    'ids of purposes, never used twice: what persons decided on a purpose that was dropped does not hold for another one of its name';

CREATE TABLE gdpr.purpose (
    name text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    id integer NOT NULL UNIQUE DEFAULT nextval('gdpr.purpose_id'),
    legal_basis text NOT NULL CHECK (legal_basis IN
        ('consent', 'contract', 'legal_obligation', 'vital_interest', 'public_task', 'legitimate_interest')),
    default_basis text CHECK (default_basis IN
        ('contract', 'legal_obligation', 'vital_interest', 'public_task', 'legitimate_interest')),
    categories smallint[] NOT NULL,
    columns integer[],
    direct_marketing boolean NOT NULL DEFAULT false,
    restricted_ground text CHECK (restricted_ground IN ('consent', 'legal_claims', 'rights_of_others', 'public_interest')),
    requires_actor boolean NOT NULL DEFAULT false,
    max_per_statement integer CHECK (max_per_statement >= 0),
    max_per_hour integer CHECK (max_per_hour >= 0),
    special_ground text CHECK (special_ground ~ '^[a-j]$'),
    profiling boolean NOT NULL DEFAULT false,
    ask_sources text[],
    controller text,
    retention interval CHECK (retention > interval '0'),
    description text,
    descriptions jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(descriptions) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (default_basis IS NULL OR legal_basis = 'consent'),
    CHECK (ask_sources IS NULL OR legal_basis = 'consent')
);
COMMENT ON TABLE gdpr.purpose IS 'register of purposes with their legal basis (Art. 6(1) GDPR)';
COMMENT ON COLUMN gdpr.purpose.default_basis IS
    'of a purpose based on consent: the basis for persons who never decided on it, until they do; NULL: none, they have to consent first';
COMMENT ON COLUMN gdpr.purpose.restricted_ground IS
    'ground of Art. 18(2) on which data of restricted persons is processed nevertheless; NULL: it is not';
COMMENT ON COLUMN gdpr.purpose.special_ground IS
    'ground of Art. 9(2), a to j, which a purpose needs to cover a special category';
COMMENT ON COLUMN gdpr.purpose.ask_sources IS
    'persons who are entered with one of these in gdpr.source are asked for consent; NULL: nobody';
COMMENT ON COLUMN gdpr.purpose.descriptions IS 'the description in other languages, by language tag (BCP 47)';

CREATE TABLE gdpr.purpose_grant (
    purpose text COLLATE "C" NOT NULL,
    role name NOT NULL,
    mode text NOT NULL DEFAULT 'reveal' CHECK (mode IN ('reveal', 'mask')),
    override boolean NOT NULL DEFAULT false,
    max_per_statement integer CHECK (max_per_statement >= 0),
    max_per_hour integer CHECK (max_per_hour >= 0),
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (purpose, role)
);
COMMENT ON TABLE gdpr.purpose_grant IS
    'who may claim a purpose in gdpr.purpose; by the role''s name, so that a dump can be restored before its roles';
COMMENT ON COLUMN gdpr.purpose_grant.override IS
    'whether the role may set gdpr.override_reason and see persons who do not permit it';

CREATE TABLE gdpr.notice (
    version text COLLATE "C" PRIMARY KEY CHECK (version <> ''),
    purposes text[],
    published_at timestamptz NOT NULL DEFAULT now(),
    renew_by timestamptz,
    url text,
    language text,
    CHECK (renew_by >= published_at)
);
COMMENT ON TABLE gdpr.notice IS 'versions of the privacy notice that consents refer to (Art. 13)';
COMMENT ON COLUMN gdpr.notice.purposes IS 'the purposes it is about; NULL: all';
COMMENT ON COLUMN gdpr.notice.renew_by IS
    'from when on consents that were given before it was published are not valid any more; NULL: they stay valid';
REVOKE ALL ON gdpr.purpose, gdpr.purpose_grant, gdpr.notice FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose_id', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose_grant', '');
SELECT pg_catalog.pg_extension_config_dump('gdpr.notice', '');
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.purpose
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.purpose_grant
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
CREATE TRIGGER map_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gdpr.notice
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.map_changed();
ALTER TABLE gdpr.purpose ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.purpose_grant ENABLE ALWAYS TRIGGER map_changed;
ALTER TABLE gdpr.notice ENABLE ALWAYS TRIGGER map_changed;

-- Special categories (Art. 9) --------------------------------------------------------------------

CREATE FUNCTION gdpr.mark_category_special(category text, special boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lacking text;
BEGIN
    IF special IS NULL THEN
        RAISE EXCEPTION 'special is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    UPDATE gdpr.category c SET special = mark_category_special.special WHERE c.name = category;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'category "%" does not exist', category
            USING ERRCODE = 'GD006', HINT = 'SELECT name FROM gdpr.category shows them.';
    END IF;
    SELECT min(p.name) INTO lacking FROM gdpr.purpose p JOIN gdpr.category c ON c.id = ANY (p.categories)
    WHERE c.name = category AND c.special AND p.special_ground IS NULL;
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION 'purpose "%" covers category "%" without a ground of Art. 9(2)', lacking, category
            USING ERRCODE = 'GD004',
                  HINT = format('First SELECT gdpr.alter_purpose(%L, special_ground => ''…''), or drop the purpose.', lacking);
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.mark_category_special(text, boolean) IS
    'marks a category as special (Art. 9: health, religion, …): purposes need a ground of Art. 9(2) to cover it';
REVOKE ALL ON FUNCTION gdpr.mark_category_special(text, boolean) FROM PUBLIC;

-- The register -----------------------------------------------------------------------------------

CREATE FUNCTION gdpr.purpose_categories(categories text[], special_ground text) RETURNS smallint[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    category text;
    found_category gdpr.category;
    result smallint[] := '{}';
BEGIN
    FOREACH category IN ARRAY categories LOOP
        SELECT * INTO found_category FROM gdpr.category c WHERE c.name = category;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'category "%" does not exist', category
                USING ERRCODE = 'GD006',
                      HINT = 'Categories come from gdpr.declare_column(); SELECT name FROM gdpr.category shows them.';
        END IF;
        IF category = 'records' THEN
            RAISE EXCEPTION 'category "records" is that of the extension''s own records, and of no column' USING ERRCODE = 'reserved_name';
        END IF;
        IF found_category.special AND special_ground IS NULL THEN
            RAISE EXCEPTION 'category "%" is special and needs a ground of Art. 9(2)', category
                USING ERRCODE = 'GD004', HINT = 'Say which: special_ground => ''a'' (explicit consent) to ''j''.';
        END IF;
        result := result || found_category.id;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.purpose_categories(text[], text) IS
    'ids of categories that a purpose with this ground of Art. 9(2) is to cover';
REVOKE ALL ON FUNCTION gdpr.purpose_categories(text[], text) FROM PUBLIC;

CREATE FUNCTION gdpr.purpose_columns(columns text[]) RETURNS integer[]
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item text;
    parts text[];
    column_id integer;
    result integer[] := '{}';
BEGIN
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
        result := result || column_id;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.purpose_columns(text[]) IS 'ids of declared columns, written schema.table.column';
REVOKE ALL ON FUNCTION gdpr.purpose_columns(text[]) FROM PUBLIC;

-- What create_purpose and alter_purpose share: errors that say what to type, before the table's constraints say less.
CREATE FUNCTION gdpr.assert_grounds(legal_basis text, special_ground text, restricted_ground text, ask_sources text[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF special_ground !~ '^[a-j]$' THEN
        RAISE EXCEPTION 'special_ground is "%"', special_ground
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the letter in Art. 9(2): ''a'' to ''j''.';
    END IF;
    IF special_ground = 'a' AND legal_basis <> 'consent' THEN
        RAISE EXCEPTION 'special_ground ''a'' is explicit consent, but the legal basis is "%"', legal_basis
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF restricted_ground NOT IN ('consent', 'legal_claims', 'rights_of_others', 'public_interest') THEN
        RAISE EXCEPTION 'restricted_ground is "%"', restricted_ground
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Art. 18(2) knows ''consent'', ''legal_claims'', ''rights_of_others'' and ''public_interest''.';
    END IF;
    IF ask_sources IS NOT NULL AND legal_basis <> 'consent' THEN
        RAISE EXCEPTION 'nobody is asked for consent to a purpose whose legal basis is "%"', legal_basis
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave ask_sources out.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_grounds(text, text, text, text[]) IS 'raises an error unless a purpose can have these';
REVOKE ALL ON FUNCTION gdpr.assert_grounds(text, text, text, text[]) FROM PUBLIC;

CREATE FUNCTION gdpr.assert_limits(max_per_statement integer, max_per_hour integer, retention interval DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF least(max_per_statement, max_per_hour) < 0 THEN
        RAISE EXCEPTION '% is %', CASE WHEN max_per_statement < 0 THEN 'max_per_statement' ELSE 'max_per_hour' END,
                        least(max_per_statement, max_per_hour)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is a number of persons; leave it out for no cap. In gdpr.alter_purpose, -1 takes a cap away.';
    END IF;
    IF retention <= interval '0' THEN
        RAISE EXCEPTION 'retention is not a time to come'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For instance retention => ''2 years''.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.assert_limits(integer, integer, interval) IS 'raises an error unless a purpose, or a grant of one, can have these';
REVOKE ALL ON FUNCTION gdpr.assert_limits(integer, integer, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.create_purpose(name text, legal_basis text, categories text[], columns text[] DEFAULT NULL,
                                    direct_marketing boolean DEFAULT false, description text DEFAULT NULL,
                                    profiling boolean DEFAULT false, special_ground text DEFAULT NULL,
                                    default_basis text DEFAULT NULL, restricted_ground text DEFAULT NULL,
                                    requires_actor boolean DEFAULT false, max_per_statement integer DEFAULT NULL,
                                    max_per_hour integer DEFAULT NULL, ask_sources text[] DEFAULT NULL,
                                    controller text DEFAULT NULL, retention interval DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bases CONSTANT text[] := '{consent,contract,legal_obligation,vital_interest,public_task,legitimate_interest}';
BEGIN
    IF coalesce(name, '') = '' OR categories IS NULL OR categories = '{}' THEN
        RAISE EXCEPTION 'a purpose needs a name and at least one category' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF legal_basis IS NULL OR legal_basis <> ALL (bases) THEN
        RAISE EXCEPTION 'legal_basis is "%"', legal_basis
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is ''consent'', ''contract'', ''legal_obligation'', ''vital_interest'', ''public_task'' or ''legitimate_interest''.';
    END IF;
    IF default_basis IS NOT NULL AND (legal_basis <> 'consent' OR default_basis = 'consent' OR default_basis <> ALL (bases)) THEN
        RAISE EXCEPTION 'default_basis is "%"', default_basis
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is the basis, other than consent, for persons who have not decided yet, of a purpose with legal_basis => ''consent''.';
    END IF;
    PERFORM gdpr.assert_grounds(legal_basis, special_ground, restricted_ground, ask_sources);
    PERFORM gdpr.assert_limits(max_per_statement, max_per_hour, retention);
    IF EXISTS (SELECT FROM gdpr.purpose p WHERE p.name = create_purpose.name) THEN
        RAISE EXCEPTION 'purpose "%" exists already', name
            USING ERRCODE = 'duplicate_object', HINT = format('Choose another name, or first SELECT gdpr.drop_purpose(%L).', name);
    END IF;
    -- what an earlier purpose of this name left
    DELETE FROM gdpr.purpose_grant g WHERE g.purpose = create_purpose.name;
    INSERT INTO gdpr.purpose (name, legal_basis, default_basis, categories, columns, direct_marketing, restricted_ground, requires_actor,
                              max_per_statement, max_per_hour, special_ground, profiling, ask_sources, controller, retention, description)
    VALUES (name, legal_basis, default_basis, gdpr.purpose_categories(categories, special_ground), nullif(gdpr.purpose_columns(columns), '{}'),
            coalesce(direct_marketing, false), restricted_ground, coalesce(requires_actor, false), max_per_statement, max_per_hour,
            special_ground, coalesce(profiling, false), ask_sources, controller, retention, description);
END $$;
COMMENT ON FUNCTION gdpr.create_purpose(text, text, text[], text[], boolean, text, boolean, text, text, text, boolean, integer, integer, text[], text, interval) IS
    'registers a purpose; legal_basis: consent, contract, legal_obligation, vital_interest, public_task or legitimate_interest; categories it may see, narrowed to columns if they are given; special_ground: letter in Art. 9(2); default_basis: for persons who have not decided; restricted_ground: of Art. 18(2); max_per_statement, max_per_hour: persons that may be revealed; ask_sources: who is asked for consent when entered';
REVOKE ALL ON FUNCTION gdpr.create_purpose(text, text, text[], text[], boolean, text, boolean, text, text, text, boolean, integer, integer, text[], text, interval) FROM PUBLIC;

CREATE FUNCTION gdpr.alter_purpose(name text, categories text[] DEFAULT NULL, columns text[] DEFAULT NULL,
                                   special_ground text DEFAULT NULL, restricted_ground text DEFAULT NULL,
                                   requires_actor boolean DEFAULT NULL, max_per_statement integer DEFAULT NULL,
                                   max_per_hour integer DEFAULT NULL, ask_sources text[] DEFAULT NULL,
                                   profiling boolean DEFAULT NULL, controller text DEFAULT NULL,
                                   retention interval DEFAULT NULL, description text DEFAULT NULL, language text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed gdpr.purpose;
BEGIN
    SELECT * INTO changed FROM gdpr.purpose p WHERE p.name = alter_purpose.name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'purpose "%" does not exist', name
            USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
    END IF;
    IF categories = '{}' THEN
        RAISE EXCEPTION 'a purpose needs at least one category' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF language !~ '^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$' THEN
        RAISE EXCEPTION 'language is "%"', language
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write its tag (BCP 47), for instance ''de'' or ''pt-BR''.';
    END IF;
    changed.special_ground := coalesce(special_ground, changed.special_ground);
    changed.restricted_ground := nullif(coalesce(restricted_ground, changed.restricted_ground), '');
    changed.ask_sources := nullif(coalesce(ask_sources, changed.ask_sources), '{}');
    PERFORM gdpr.assert_grounds(changed.legal_basis, changed.special_ground, changed.restricted_ground, changed.ask_sources);
    IF categories IS NOT NULL THEN
        changed.categories := gdpr.purpose_categories(categories, changed.special_ground);
    END IF;
    IF columns IS NOT NULL THEN
        changed.columns := nullif(gdpr.purpose_columns(columns), '{}');
    END IF;
    changed.requires_actor := coalesce(requires_actor, changed.requires_actor);
    changed.max_per_statement := nullif(coalesce(max_per_statement, changed.max_per_statement), -1);
    changed.max_per_hour := nullif(coalesce(max_per_hour, changed.max_per_hour), -1);
    changed.profiling := coalesce(profiling, changed.profiling);
    changed.controller := coalesce(controller, changed.controller);
    changed.retention := coalesce(retention, changed.retention);
    PERFORM gdpr.assert_limits(changed.max_per_statement, changed.max_per_hour, changed.retention);
    IF language IS NULL THEN
        changed.description := coalesce(description, changed.description);
    ELSIF description IS NULL THEN
        changed.descriptions := changed.descriptions - language;
    ELSE
        changed.descriptions := changed.descriptions || jsonb_build_object(language, description);
    END IF;
    DELETE FROM gdpr.purpose p WHERE p.name = alter_purpose.name;
    INSERT INTO gdpr.purpose SELECT changed.*;
END $$;
COMMENT ON FUNCTION gdpr.alter_purpose(text, text[], text[], text, text, boolean, integer, integer, text[], boolean, text, interval, text, text) IS
    'changes what is given; columns or ask_sources of ''{}'', a restricted_ground of '''' and caps of -1 take away what there is; description with language adds a translation, language alone takes it away; the legal basis does not change: another basis is another purpose';
REVOKE ALL ON FUNCTION gdpr.alter_purpose(text, text[], text[], text, text, boolean, integer, integer, text[], boolean, text, interval, text, text) FROM PUBLIC;

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

CREATE FUNCTION gdpr.grant_purpose(purpose text, role name, mode text DEFAULT 'reveal', override boolean DEFAULT false,
                                   max_per_statement integer DEFAULT NULL, max_per_hour integer DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_marketing boolean;
BEGIN
    SELECT p.direct_marketing INTO is_marketing FROM gdpr.purpose p WHERE p.name = purpose;
    IF NOT FOUND THEN
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
    IF override AND is_marketing THEN
        RAISE EXCEPTION 'what persons decided on direct marketing cannot be overridden'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The right to object to it is absolute (Art. 21(3)).';
    END IF;
    PERFORM gdpr.assert_limits(max_per_statement, max_per_hour);
    INSERT INTO gdpr.purpose_grant (purpose, role, mode, override, max_per_statement, max_per_hour)
    VALUES (purpose, role, mode, coalesce(override, false), max_per_statement, max_per_hour)
    ON CONFLICT ON CONSTRAINT purpose_grant_pkey DO UPDATE SET
        mode = excluded.mode, override = excluded.override, max_per_statement = excluded.max_per_statement,
        max_per_hour = excluded.max_per_hour, granted_at = now();
END $$;
COMMENT ON FUNCTION gdpr.grant_purpose(text, name, text, boolean, integer, integer) IS
    'lets a role, and roles with its privileges, claim a purpose in gdpr.purpose; mode: reveal values, or mask them; override: may set gdpr.override_reason; max_per_statement, max_per_hour: persons that may be revealed to it; granting it again replaces all of these';
REVOKE ALL ON FUNCTION gdpr.grant_purpose(text, name, text, boolean, integer, integer) FROM PUBLIC;

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

-- Notices ----------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.publish_notice(version text, purposes text[] DEFAULT NULL, requires_renewal boolean DEFAULT false,
                                    published_at timestamptz DEFAULT clock_timestamp(), renew_by timestamptz DEFAULT NULL,
                                    url text DEFAULT NULL, language text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    purpose text;
BEGIN
    IF coalesce(version, '') = '' OR published_at IS NULL THEN
        RAISE EXCEPTION 'version or published_at is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF EXISTS (SELECT FROM gdpr.notice n WHERE n.version = publish_notice.version) THEN
        RAISE EXCEPTION 'notice "%" exists already', version USING ERRCODE = 'duplicate_object';
    END IF;
    FOREACH purpose IN ARRAY coalesce(purposes, '{}') LOOP
        IF NOT EXISTS (SELECT FROM gdpr.purpose p WHERE p.name = purpose) THEN
            RAISE EXCEPTION 'purpose "%" does not exist', purpose
                USING ERRCODE = 'GD004', HINT = 'SELECT name FROM gdpr.purpose shows them.';
        END IF;
    END LOOP;
    IF renew_by IS NOT NULL AND NOT coalesce(requires_renewal, false) THEN
        RAISE EXCEPTION 'renew_by is given, but requires_renewal is not'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Say requires_renewal => true.';
    END IF;
    IF renew_by < published_at THEN
        RAISE EXCEPTION 'renew_by is before published_at' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO gdpr.notice (version, purposes, published_at, renew_by, url, language)
    VALUES (version, purposes, published_at, CASE WHEN requires_renewal THEN coalesce(renew_by, published_at) END, url, language);
END $$;
COMMENT ON FUNCTION gdpr.publish_notice(text, text[], boolean, timestamptz, timestamptz, text, text) IS
    'registers a version of the privacy notice, about some purposes or all; requires_renewal: consents given before it was published are not valid any more, from renew_by on (default: at once)';
REVOKE ALL ON FUNCTION gdpr.publish_notice(text, text[], boolean, timestamptz, timestamptz, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.session_statistics(OUT revealed bigint, OUT hidden bigint, OUT written bigint,
                                        OUT masked bigint, OUT overridden bigint)
    RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'gdpr_session_statistics';
COMMENT ON FUNCTION gdpr.session_statistics() IS
    'of this session: values of personal columns it has seen, values that were hidden from it, rows it has sealed, masks it was shown, and values it saw because it overrode what persons decided';
