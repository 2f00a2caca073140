-- Exports: everything about one person (Art. 15), or what it may take elsewhere (Art. 20).
--
-- One function says what is in an export, as a JSON document: gdpr.export_document. The other formats are made from it
-- (sql/76_export_formats.sql), so that they hold the same.

-- The officer says of what was concluded, not provided or observed, that it is so.
CREATE FUNCTION gdpr.mark_column_inferred(relation regclass, "column" text, inferred boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF inferred IS NULL THEN
        RAISE EXCEPTION 'inferred is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    UPDATE gdpr.mapped_column c SET inferred = mark_column_inferred.inferred
    FROM gdpr.mapped_table t
    WHERE t.id = c.table_id AND t.relation = mark_column_inferred.relation AND c.name = "column";
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of table % is not declared', "column", relation
            USING ERRCODE = 'GD006', HINT = 'SELECT relation, "column" FROM gdpr.data_map shows those that are.';
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.mark_column_inferred(regclass, text, boolean) IS
    'marks a declared column as concluded from other data: scores, segments, estimates. Exports for portability (Art. 20) leave it out';
REVOKE ALL ON FUNCTION gdpr.mark_column_inferred(regclass, text, boolean) FROM PUBLIC;

-- Values ------------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.export_rows(relation regclass, columns name[], numbers bigint[], "only" boolean, condition text, masks boolean) RETURNS json
    LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_export_rows';
COMMENT ON FUNCTION gdpr.export_rows(regclass, name[], bigint[], boolean, text, boolean) IS
    'rows of a protected table that meet a condition, with the values that are sealed under these numbers, whatever the session may see; other values are masked or left out; for exports';
REVOKE ALL ON FUNCTION gdpr.export_rows(regclass, name[], bigint[], boolean, text, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.export_changes(subject bigint, OUT record bigint, OUT at timestamptz, OUT role text, OUT actor text, OUT purpose text,
                                    OUT command text, OUT relation text, OUT "column" text, OUT before text, OUT after text, OUT outcome text)
    RETURNS SETOF record LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_export_changes';
COMMENT ON FUNCTION gdpr.export_changes(bigint) IS 'what gdpr.changes tells of a person, whatever the session may see; for exports';
REVOKE ALL ON FUNCTION gdpr.export_changes(bigint) FROM PUBLIC;

-- Which personal columns a person may take along: provided or observed, for a purpose based on consent or contract.
CREATE FUNCTION gdpr.portable_columns(person bigint) RETURNS integer[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT array_agg(DISTINCT c.id)
        FROM gdpr.purposes_of(person) o
        JOIN gdpr.purpose p ON p.name = o.purpose
        JOIN gdpr.mapped_column c ON c.category = ANY (p.categories) AND (p.columns IS NULL OR c.id = ANY (p.columns))
        WHERE o.legal_basis IN ('consent', 'contract') AND NOT c.inferred
          -- a restriction leaves the basis what it was
          AND (o.standing = 'permitted' OR (o.standing = 'restricted' AND (o.legal_basis = 'contract' OR EXISTS (
               SELECT FROM gdpr.consent_at(person) a WHERE a.purpose = o.purpose AND a.valid))))), '{}');
END $$;
COMMENT ON FUNCTION gdpr.portable_columns(bigint) IS
    'ids of the columns that a person provided, and that are processed on its consent or a contract with it; for exports';
REVOKE ALL ON FUNCTION gdpr.portable_columns(bigint) FROM PUBLIC;

-- What to read: the tables from those of persons down; parts by themselves if they have columns that the whole lacks.
CREATE FUNCTION gdpr.exported_relations(OUT relation regclass, OUT "only" boolean, OUT place bigint)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT t.relation, t.place, c.relkind = 'r' AND c.relhassubclass AS has_children
                FROM gdpr.tables_children_first() t JOIN pg_class c ON c.oid = t.relation
                WHERE t.is_top ORDER BY t.place DESC LOOP
        place := item.place;
        "only" := item.has_children AND EXISTS (
            SELECT FROM gdpr.tree(item.relation) m JOIN pg_attribute a ON a.attrelid = m.relation AND a.attnum > 0 AND NOT a.attisdropped
            WHERE NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = item.relation AND b.attname = a.attname AND NOT b.attisdropped));
        IF "only" THEN
            FOR relation IN SELECT m.relation FROM gdpr.tree(item.relation) m JOIN pg_class c ON c.oid = m.relation
                            WHERE c.relkind = 'r' ORDER BY m.depth, m.relation LOOP
                RETURN NEXT;
            END LOOP;
        ELSE
            relation := item.relation;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.exported_relations() IS 'the protected tables in the order in which exports have them; only: a table without its parts';
REVOKE ALL ON FUNCTION gdpr.exported_relations() FROM PUBLIC;

-- Rows that a person owns together with others have numbers of their own, and may own rows in turn.
CREATE FUNCTION gdpr.owned_numbers(numbers bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owners record;
    found_numbers bigint[];
    i integer := 1;
BEGIN
    WHILE i <= cardinality(numbers) LOOP
        FOR owners IN SELECT * FROM gdpr.owner_tables() LOOP
            found_numbers := ARRAY(SELECT r::bigint FROM gdpr.run_as_owner(owners.relation, format(
                'SELECT DISTINCT gdpr.subject_number(s.gdpr_sealed) FROM %s s WHERE EXISTS (SELECT FROM %s o WHERE %s AND gdpr.subject_number(o.gdpr_sealed) = $1)'
                ' ORDER BY 1', owners.relation, owners.through, owners.condition), numbers[i]) r WHERE r::bigint <> ALL (numbers));
            numbers := numbers || found_numbers;
        END LOOP;
        i := i + 1;
    END LOOP;
    RETURN numbers;
END $$;
COMMENT ON FUNCTION gdpr.owned_numbers(bigint[]) IS 'these numbers, and those of rows with several owners of which they are one; for exports';
REVOKE ALL ON FUNCTION gdpr.owned_numbers(bigint[]) FROM PUBLIC;

-- portable NULL: all columns. kept_only: of tables that are kept by law.
CREATE FUNCTION gdpr.export_tables(person bigint, portable integer[], kept_only boolean, OUT tables json, OUT table_ids integer[]) RETURNS record
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers bigint[] := gdpr.owned_numbers(gdpr.numbers_of(person));
    item record;
    own name[];
    own_count bigint;
    foreign_ones name[];
    foreign_count bigint;
    access text;
    own_rows json;
    foreign_rows json;
    seen_rows json;
    result text := '';
BEGIN
    FOR item IN SELECT e.relation, e."only", t.relation AS root, t.id, t.key_columns, t.on_forget, t.ground, t.keep_until,
                       obj_description(e.relation, 'pg_class') AS description
                FROM gdpr.exported_relations() e
                JOIN gdpr.mapped_relation r ON r.relation = e.relation
                JOIN gdpr.mapped_table t ON t.id = r.table_id
                WHERE t.protected AND (t.on_forget = 'keep' OR NOT kept_only)
                ORDER BY e.place DESC LOOP
        -- of the clear columns, what the person may take along has those that hold it together
        SELECT array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE portable IS NULL OR c.id = ANY (portable)
                   OR a.attname = ANY (item.key_columns)
                   OR (c.id IS NULL AND a.attname = ANY (SELECT unnest(l.columns) FROM gdpr.mapped_link l WHERE l.table_id = item.id AND l.via = 0))),
               array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attname = ANY (item.key_columns)
                   OR (c.via <> 0 AND (portable IS NULL OR c.id = ANY (portable)))),
               count(*) FILTER (WHERE portable IS NULL OR c.id = ANY (portable)),
               count(*) FILTER (WHERE c.via <> 0 AND (portable IS NULL OR c.id = ANY (portable)))
        INTO own, foreign_ones, own_count, foreign_count
        FROM pg_attribute a LEFT JOIN gdpr.mapped_column c ON c.table_id = item.id AND c.name = a.attname
        WHERE a.attrelid = item.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'gdpr_sealed';
        -- rows that the person sees and does not own (gdpr.declare_access)
        SELECT string_agg(format('EXISTS (SELECT FROM %s p WHERE %s AND gdpr.subject_number(p.gdpr_sealed) = ANY ($1))', p.relation,
                                 (SELECT string_agg(format('x.%I = p.%I', k.a, k.b), ' AND ') FROM unnest(m.columns, m.parent_columns) AS k(a, b))),
                          ' OR ' ORDER BY m.columns)
        INTO access
        FROM gdpr.mapped_access m JOIN gdpr.mapped_table p ON p.id = m.parent_id
        WHERE m.table_id = item.id AND p.protected AND portable IS NULL;
        IF access IS NOT NULL THEN
            PERFORM gdpr.assert_same_owner(item.relation, p.relation)
            FROM gdpr.mapped_access m JOIN gdpr.mapped_table p ON p.id = m.parent_id WHERE m.table_id = item.id AND p.protected;
        END IF;
        own_rows := CASE WHEN own_count > 0 THEN gdpr.export_rows(item.relation, own, numbers, item."only",
            'gdpr.subject_number(x.gdpr_sealed) = ANY ($1)', portable IS NULL) END;
        seen_rows := CASE WHEN access IS NOT NULL THEN gdpr.export_rows(item.relation, own, numbers, item."only",
            format('(%s) AND gdpr.subject_number(x.gdpr_sealed) <> ALL ($1)', access), true) END;
        foreign_rows := CASE WHEN foreign_count > 0 THEN gdpr.export_rows(item.relation, foreign_ones, numbers, item."only",
            'gdpr.subject_numbers(x.gdpr_sealed) && $1 AND gdpr.subject_number(x.gdpr_sealed) <> ALL ($1)' || coalesce(' AND NOT (' || access || ')', ''), false) END;
        CONTINUE WHEN own_rows IS NULL AND foreign_rows IS NULL AND seen_rows IS NULL;
        table_ids := table_ids || item.id;
        result := concat(result, CASE WHEN result <> '' THEN E',\n' END, (
            SELECT json_build_object(
                'name', item.relation::text, 'description', item.description, 'key', item.key_columns,
                'retention', CASE WHEN item.on_forget = 'keep' THEN json_build_object('ground', item.ground, 'keep_until', item.keep_until) END,
                'policies', coalesce((
                    SELECT json_agg(json_build_object('category', y.category, 'purpose', y.purpose, 'keep', y.keep, 'since', y.since,
                                                      'action', y.action, 'ground', y.ground) ORDER BY y.policy)
                    FROM gdpr.retention y WHERE y.relation = item.root AND y.policy <> 0), '[]'),
                'columns', json_agg(json_build_object(
                    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'description', d.description,
                    'category', k.name, 'special', coalesce(k.special, false), 'inferred', coalesce(c.inferred, false),
                    'purposes', CASE WHEN c.id IS NULL THEN '[]' ELSE coalesce((SELECT json_agg(p.name ORDER BY p.name) FROM gdpr.purpose p
                                          WHERE c.category = ANY (p.categories) AND (p.columns IS NULL OR c.id = ANY (p.columns))), '[]') END)
                    ORDER BY a.attnum),
                'rows', coalesce(own_rows, '[]'), 'rows_seen', coalesce(seen_rows, '[]'), 'rows_of_others', coalesce(foreign_rows, '[]'))
            FROM pg_attribute a
            LEFT JOIN gdpr.mapped_column c ON c.table_id = item.id AND c.name = a.attname
            LEFT JOIN gdpr.category k ON k.id = c.category
            -- col_description() would be a query for each column
            LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = a.attrelid AND d.objsubid = a.attnum
            WHERE a.attrelid = item.relation AND a.attnum > 0 AND NOT a.attisdropped
              AND (a.attname = ANY (own) OR (foreign_rows IS NOT NULL AND a.attname = ANY (foreign_ones)))));
    END LOOP;
    tables := '[' || result || ']';
END $$;
COMMENT ON FUNCTION gdpr.export_tables(bigint, integer[], boolean) IS
    'the tables of an export, with the rows of a person, and their ids in the data map; portable: only these personal columns; for exports';
REVOKE ALL ON FUNCTION gdpr.export_tables(bigint, integer[], boolean) FROM PUBLIC;

-- What belongs to the data ---------------------------------------------------------------------------

CREATE FUNCTION gdpr.export_context() RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '{"@version": 1.1, "dpv": "https://w3id.org/dpv#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "xsd": "http://www.w3.org/2001/XMLSchema#",
    "right": {"@id": "dpv:hasRight", "@type": "@id"}, "created": {"@id": "dct:created", "@type": "xsd:dateTime"},
    "subject": "dpv:hasDataSubject", "number": "dct:identifier", "name": "dct:title", "description": "dct:description",
    "controllers": "dpv:hasDataController", "address": "dpv:hasAddress", "contact": "dpv:hasContact",
    "dpo": "dpv:hasDataProtectionOfficer", "authority": "dpv:hasAuthority",
    "tables": "dpv:hasPersonalData", "rows": {"@id": "rdf:value", "@type": "@json"}, "rows_of_others": {"@id": "rdf:value", "@type": "@json"},
    "rows_seen": {"@id": "rdf:value", "@type": "@json"}, "purposes": "dpv:hasPurpose", "article": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "recipients": {"@id": "dpv:hasRecipient", "@type": "@json"}, "sources": {"@id": "dpv:hasDataSource", "@type": "@json"},
    "consents": {"@id": "dpv:hasConsentStatus", "@type": "@json"}, "rights": "dpv:hasRight"}'::json;
END;
COMMENT ON FUNCTION gdpr.export_context() IS 'the JSON-LD context of exports';
REVOKE ALL ON FUNCTION gdpr.export_context() FROM PUBLIC;

CREATE FUNCTION gdpr.export_controllers() RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object('name', c.name, 'address', c.address, 'contact', c.contact, 'dpo', c.dpo,
                                          'authority', c.authority, 'withdrawal_url', c.withdrawal_url) ORDER BY c.name)
        FROM gdpr.controller c), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_controllers() IS 'who answers for the data, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_controllers() FROM PUBLIC;

-- Those that use what is there, or that the person decided on.
CREATE FUNCTION gdpr.export_purposes(person bigint, table_ids integer[]) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    articles CONSTANT jsonb := '{"consent": "a", "contract": "b", "legal_obligation": "c", "vital_interest": "d", "public_task": "e", "legitimate_interest": "f"}';
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'name', p.name, 'description', p.description, 'legal_basis', o.legal_basis,
                   'article', 'eu-gdpr:A6-1-' || (articles ->> o.legal_basis), 'special_ground', 'eu-gdpr:A9-2-' || p.special_ground,
                   'standing', o.standing, 'since', o.since, 'source', o.source,
                   'categories', (SELECT json_agg(k.name ORDER BY k.id) FROM gdpr.category k WHERE k.id = ANY (p.categories)),
                   'direct_marketing', p.direct_marketing, 'profiling', p.profiling, 'retention', p.retention, 'controller', p.controller)
                   ORDER BY p.name)
        FROM gdpr.purposes_of(person) o JOIN gdpr.purpose p ON p.name = o.purpose
        WHERE EXISTS (SELECT FROM gdpr.consent_event e WHERE e.subject = ANY (gdpr.numbers_of(person)) AND e.purpose_id = p.id)
           OR EXISTS (SELECT FROM gdpr.mapped_column c WHERE c.table_id = ANY (table_ids)
                      AND c.category = ANY (p.categories) AND (p.columns IS NULL OR c.id = ANY (p.columns)))), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_purposes(bigint, integer[]) IS 'for what, and on which legal basis, the data in these tables is used';
REVOKE ALL ON FUNCTION gdpr.export_purposes(bigint, integer[]) FROM PUBLIC;

CREATE FUNCTION gdpr.export_recipients(person bigint) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'recipient', d.recipient, 'categories', d.categories, 'purpose', d.purpose, 'ground', d.ground, 'country', d.country,
                   'safeguard', d.safeguard, 'disclosed_at', d.disclosed_at) ORDER BY d.disclosed_at, d.recipient)
        FROM gdpr.disclosures_of(person) d), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_recipients(bigint) IS 'who received data of a person, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_recipients(bigint) FROM PUBLIC;

CREATE FUNCTION gdpr.export_consents(person bigint, name_staff boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'record', h.record, 'purpose', h.purpose, 'channel', h.channel, 'topic', h.topic, 'status', h.status,
                   'occurred_at', h.occurred_at, 'expires_at', h.expires_at, 'source', h.source, 'notice', h.notice,
                   'recorded_at', h.recorded_at, 'recorded_by', h.recorded_by, 'actor', CASE WHEN name_staff THEN h.actor END,
                   'details', h.details) ORDER BY h.recorded_at, h.record)
        FROM gdpr.consent_history(person) h), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_consents(bigint, boolean) IS 'the consents of a person with their history and proofs, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_consents(bigint, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.export_flags(person bigint, name_staff boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'flag', h.flag, 'kind', h.kind, 'status', h.status, 'in_force', h.in_force, 'purpose', h.purpose, 'channel', h.channel,
                   'ground', h.ground, 'occurred_at', h.occurred_at, 'informed_at', h.informed_at, 'source', h.source,
                   'recorded_at', h.recorded_at, 'recorded_by', h.recorded_by, 'actor', CASE WHEN name_staff THEN h.actor END,
                   'details', h.details) ORDER BY h.recorded_at, h.event)
        FROM gdpr.flag_history(person) h), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_flags(bigint, boolean) IS 'restrictions, objections and blocked channels of a person, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_flags(bigint, boolean) FROM PUBLIC;

-- Who looked is told by role; who it was, where it is asked for (CJEU C-579/21).
CREATE FUNCTION gdpr.export_accesses(person bigint, name_staff boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'at', a.at, 'role', a.role, 'actor', CASE WHEN name_staff THEN a.actor END, 'purpose', a.purpose, 'relation', a.relation,
                   'columns', a.columns, 'actions', a.actions, 'failed', a.failed) ORDER BY a.at)
        FROM gdpr.accesses(person) a), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_accesses(bigint, boolean) IS 'when, by which role and for which purpose data of a person was accessed, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_accesses(bigint, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.export_history(person bigint, name_staff boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT json_agg(json_build_object(
                   'at', c.at, 'role', c.role, 'actor', CASE WHEN name_staff THEN c.actor END, 'purpose', c.purpose, 'command', c.command,
                   'relation', c.relation, 'column', c."column", 'before', c.before, 'after', c.after, 'outcome', c.outcome) ORDER BY c.record)
        FROM gdpr.export_changes(person) c), '[]');
END $$;
COMMENT ON FUNCTION gdpr.export_history(bigint, boolean) IS 'what was changed of a person, in tables that keep their history, as exports have it';
REVOKE ALL ON FUNCTION gdpr.export_history(bigint, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.export_rights() RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '[{"right": "eu-gdpr:A15", "name": "Access", "description": "You may ask what is held about you, and get a copy (Art. 15)."},
    {"right": "eu-gdpr:A16", "name": "Rectification", "description": "You may have what is wrong corrected, and what is missing completed (Art. 16)."},
    {"right": "eu-gdpr:A17", "name": "Erasure", "description": "You may have your data erased, unless a law requires it to be kept (Art. 17)."},
    {"right": "eu-gdpr:A18", "name": "Restriction", "description": "You may have it stored only, and not used, while something is in dispute (Art. 18)."},
    {"right": "eu-gdpr:A20", "name": "Portability", "description": "You may take what you provided to somebody else, in a form that machines read (Art. 20)."},
    {"right": "eu-gdpr:A21", "name": "Objection", "description": "You may object to a use that is in the interest of others, and always to direct marketing (Art. 21)."},
    {"right": "eu-gdpr:A22", "name": "Human decisions", "description": "You may have a decision that a machine made alone looked at by a human being (Art. 22)."},
    {"right": "eu-gdpr:A7-3", "name": "Withdrawal of consent", "description": "You may withdraw your consent at any time, as easily as you gave it (Art. 7(3))."},
    {"right": "eu-gdpr:A77", "name": "Complaint", "description": "You may complain to a supervisory authority (Art. 77)."}]'::json;
END;
COMMENT ON FUNCTION gdpr.export_rights() IS 'what a person may demand, as exports say it';
REVOKE ALL ON FUNCTION gdpr.export_rights() FROM PUBLIC;

-- What an export may lack.
CREATE FUNCTION gdpr.export_warnings() RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT format(CASE WHEN t.protected THEN 'table %s is being converted: rows that are not sealed yet are not in this export'
                           ELSE 'table %s is declared but not protected: whose its rows are is not known, and it is not in this export' END, t.relation)
        FROM gdpr.mapped_table t WHERE NOT t.protected OR 0 IN (t.form, t.other_form) ORDER BY t.id);
END $$;
COMMENT ON FUNCTION gdpr.export_warnings() IS 'tables that an export does not reach';
REVOKE ALL ON FUNCTION gdpr.export_warnings() FROM PUBLIC;

-- The document ---------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.export_document(subject bigint, "right" text, name_staff boolean) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
    person bigint := gdpr.person(gdpr.assert_subject(subject));
    is_access boolean := "right" = 'A15';
    forgotten boolean := false;
    key bigint;
    tables json;
    table_ids integer[];
    warnings text[];
    warning text;
BEGIN
    IF "right" IS NULL OR name_staff IS NULL THEN
        RAISE EXCEPTION 'right or name_staff is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF "right" NOT IN ('A15', 'A20') THEN
        RAISE EXCEPTION 'right is "%"', "right"
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''A15'' (access: everything) or ''A20'' (portability: what the person may take along).';
    END IF;
    -- as lock_persons() has it, in its order: no half of a person that is forgotten or merged meanwhile
    FOR key IN SELECT DISTINCT hashint8(n) FROM unnest(gdpr.numbers_of(person)) n ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock_shared(1734635634, key::integer);
    END LOOP;
    BEGIN
        PERFORM gdpr.living_subject(person);
    EXCEPTION WHEN SQLSTATE 'GD003' THEN
        forgotten := true;
    END;
    SELECT e.tables, e.table_ids INTO tables, table_ids
    FROM gdpr.export_tables(person, CASE WHEN NOT is_access THEN gdpr.portable_columns(person) END, forgotten) e;
    IF forgotten AND tables::text = '[]' THEN
        RAISE EXCEPTION 'person % was forgotten, and %', person, CASE WHEN is_access THEN 'nothing of it is kept' ELSE 'has nothing to take along' END
            USING ERRCODE = 'GD003', HINT = format(CASE WHEN is_access THEN 'SELECT * FROM gdpr.erasure WHERE subject = %1$s tells when and why. What a hold keeps has a number of its own: gdpr.holds, held_as.'
                                                        ELSE 'What the law requires to be kept, if anything: SELECT gdpr.export(%s).' END, person);
    END IF;
    warnings := gdpr.export_warnings();
    FOREACH warning IN ARRAY warnings LOOP
        RAISE WARNING '%', warning USING HINT = 'Look there for rows of this person, and CALL gdpr.protect() on it.';
    END LOOP;
    RETURN concat(
        E'{\n"@context": ', gdpr.export_context(),
        E',\n"@type": ', CASE WHEN is_access THEN '["dpv:RightFulfilmentNotice", "eu-gdpr:SARNotice"]' ELSE '["dpv:RightFulfilmentNotice"]' END,
        E',\n"version": 1',
        E',\n"right": ', to_json('eu-gdpr:' || "right"),
        E',\n"created": ', to_json(statement_timestamp()),
        E',\n"subject": ', json_build_object('@type', 'dpv:DataSubject', 'number', person, 'forgotten', forgotten),
        E',\n"controllers": ', gdpr.export_controllers(),
        E',\n"tables": ', tables,
        CASE WHEN is_access THEN concat(
            E',\n"purposes": ', gdpr.export_purposes(person, table_ids),
            E',\n"recipients": ', gdpr.export_recipients(person),
            E',\n"sources": ', coalesce((
                SELECT json_agg(json_build_object('entered_at', v.entered_at, 'how', v.how, 'source', v.source, 'role', v.role,
                                                  'actor', CASE WHEN name_staff THEN v.actor END, 'application', v.application))
                FROM gdpr.provenance_of(person) v), '[]'),
            E',\n"consents": ', gdpr.export_consents(person, name_staff),
            E',\n"flags": ', gdpr.export_flags(person, name_staff),
            E',\n"accesses": ', gdpr.export_accesses(person, name_staff),
            E',\n"changes": ', gdpr.export_history(person, name_staff)) END,
        E',\n"rights": ', gdpr.export_rights(),
        E',\n"warnings": ', to_json(warnings),
        E'\n}');
END $$;
COMMENT ON FUNCTION gdpr.export_document(bigint, text, boolean) IS 'an export of a person, as JSON: what gdpr.export makes the other formats of';
REVOKE ALL ON FUNCTION gdpr.export_document(bigint, text, boolean) FROM PUBLIC;
