-- Consent-checked views: what a role may see of a table for one purpose, and nothing else.

CREATE TABLE gdpr.purpose_view (
    view regclass PRIMARY KEY,
    relation regclass NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    channel text,
    topic text
);
COMMENT ON TABLE gdpr.purpose_view IS 'views made by create_view';
REVOKE ALL ON gdpr.purpose_view FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.purpose_view', '');

-- Columns in the table's order; those that the purpose does not cover, and the envelope, are left out.
CREATE FUNCTION gdpr.view_columns(relation regclass, purpose text) RETURNS name[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT array_agg(a.attname ORDER BY a.attnum)
    FROM gdpr.mapped_table t
    JOIN gdpr.purpose p ON p.name = view_columns.purpose
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'gdpr_sealed'
    LEFT JOIN gdpr.mapped_column c ON c.table_id = t.id AND c.name = a.attname
    WHERE t.relation = view_columns.relation
      AND (c.id IS NULL OR (c.category = ANY (p.categories) AND (p.columns IS NULL OR c.id = ANY (p.columns))));
END;
COMMENT ON FUNCTION gdpr.view_columns(regclass, text) IS 'the columns of a protected table that a view for a purpose has';
REVOKE ALL ON FUNCTION gdpr.view_columns(regclass, text) FROM PUBLIC;

CREATE FUNCTION gdpr.view_query(relation regclass, columns name[], purpose text, channel text, topic text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT %s FROM %s WHERE gdpr.row_permitted(gdpr_sealed, %L::text, %s, %s)',
                  (SELECT string_agg(quote_ident(u.name::text), ', ' ORDER BY u.place) FROM unnest(columns) WITH ORDINALITY AS u(name, place)),
                  relation, purpose, CASE WHEN channel IS NULL THEN 'NULL::text' ELSE quote_literal(channel) || '::text' END,
                  CASE WHEN topic IS NULL THEN 'NULL::text' ELSE quote_literal(topic) || '::text' END);
END;
COMMENT ON FUNCTION gdpr.view_query(regclass, name[], text, text, text) IS 'the query of a view for a purpose';
REVOKE ALL ON FUNCTION gdpr.view_query(regclass, name[], text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.create_view(view text, relation regclass, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := parse_ident(view);
    columns name[];
    root regclass;
    owner name := (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = relation);
BEGIN
    IF view IS NULL OR relation IS NULL OR purpose IS NULL THEN
        RAISE EXCEPTION 'view, relation or purpose is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF cardinality(parts) <> 2 THEN
        RAISE EXCEPTION 'view "%" is not written schema.view', view
            USING ERRCODE = 'invalid_name', HINT = 'Name its schema: no search path is used.';
    END IF;
    IF NOT EXISTS (SELECT FROM gdpr.mapped_table t WHERE t.relation = create_view.relation AND t.protected) THEN
        SELECT t.relation INTO root FROM gdpr.mapped_member m JOIN gdpr.mapped_table t ON t.id = m.table_id WHERE m.relation = create_view.relation;
        RAISE EXCEPTION '%', CASE WHEN root IS NULL THEN format('table %s is not protected', relation) ELSE format('table %s is a part of table %s', relation, root) END
            USING ERRCODE = 'GD006', HINT = CASE WHEN root IS NULL THEN format('First CALL gdpr.protect(%L).', relation)
                                                 ELSE format('SELECT gdpr.create_view(%L, %L, purpose => %L, …).', view, root, purpose) END;
    END IF;
    IF NOT EXISTS (SELECT FROM gdpr.purpose p WHERE p.name = purpose) THEN
        RAISE EXCEPTION 'purpose "%" does not exist', purpose
            USING ERRCODE = 'GD004', HINT = 'SELECT gdpr.create_purpose(…) registers one.';
    END IF;
    columns := gdpr.view_columns(relation, purpose);
    IF columns IS NULL THEN
        RAISE EXCEPTION 'purpose "%" covers no column of table %', purpose, relation USING ERRCODE = 'GD004';
    END IF;
    BEGIN
        -- as the table's owner, whose the view becomes: what it reads, it reads with the owner's rights
        PERFORM gdpr.run_as_owner(relation, format('CREATE VIEW %I.%I WITH (security_barrier) AS %s', parts[1], parts[2],
                                                   gdpr.view_query(relation, columns, purpose, channel, topic)));
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE EXCEPTION '%', SQLERRM
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('The view belongs to the owner of table %s, "%s".', relation, owner),
                  HINT = format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', parts[1], owner);
    END;
    INSERT INTO gdpr.purpose_view (view, relation, purpose, channel, topic)
    VALUES (format('%I.%I', parts[1], parts[2])::regclass, relation, purpose, channel, topic)
    -- an id of a view that was dropped may be used again
    ON CONFLICT ON CONSTRAINT purpose_view_pkey DO UPDATE SET
        relation = excluded.relation, purpose = excluded.purpose, channel = excluded.channel, topic = excluded.topic;
    EXECUTE format('COMMENT ON VIEW %I.%I IS %L', parts[1], parts[2],
                   format('rows and columns of %s for purpose %s%s%s', relation, purpose, coalesce(', channel ' || channel, ''),
                          coalesce(', topic ' || topic, '')));
END $$;
COMMENT ON FUNCTION gdpr.create_view(text, regclass, text, text, text) IS
    'makes a view of a protected table for one purpose (and channel, and topic): the columns it covers, the rows of persons who permit it; it belongs to the table''s owner. Grant SELECT on it, and the purpose, to roles that need nothing on the table';
REVOKE ALL ON FUNCTION gdpr.create_view(text, regclass, text, text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.refresh_view(view regclass) RETURNS text[]
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made gdpr.purpose_view;
    present name[];
    added name[];
    gone text;
BEGIN
    SELECT * INTO made FROM gdpr.purpose_view v WHERE v.view = refresh_view.view;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% was not made by gdpr.create_view', view USING ERRCODE = 'GD006';
    END IF;
    -- the columns it has, by what they are in the table now
    SELECT array_agg(b.attname ORDER BY v.attnum), string_agg(v.attname, ', ') FILTER (WHERE b.attname IS NULL)
    INTO present, gone
    FROM pg_attribute v
    LEFT JOIN LATERAL (
        SELECT a.attname FROM pg_rewrite r
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE r.ev_class = v.attrelid AND d.refobjid = made.relation AND a.attname = v.attname) b ON true
    WHERE v.attrelid = view AND v.attnum > 0 AND NOT v.attisdropped;
    IF gone IS NOT NULL THEN
        RAISE EXCEPTION 'columns of view % have other names than in table %: %', view, made.relation, gone
            USING ERRCODE = 'GD006',
                  HINT = format('DROP VIEW %s; SELECT gdpr.create_view(%L, %L, purpose => %L, …);', view, view, made.relation, made.purpose);
    END IF;
    added := ARRAY(SELECT c FROM unnest(gdpr.view_columns(made.relation, made.purpose)) c WHERE c <> ALL (present));
    IF added <> '{}' THEN
        PERFORM gdpr.run_as_owner(made.relation, format('CREATE OR REPLACE VIEW %s WITH (security_barrier) AS %s', view,
                                                        gdpr.view_query(made.relation, present || added, made.purpose, made.channel, made.topic)));
    END IF;
    RETURN added;
END $$;
COMMENT ON FUNCTION gdpr.refresh_view(regclass) IS
    'adds to a view what its table has got since, and its purpose covers; returns the names of the columns that were added';
REVOKE ALL ON FUNCTION gdpr.refresh_view(regclass) FROM PUBLIC;

-- A new column is not shown before somebody has said whether it is personal: declare it, and refresh the view.
CREATE FUNCTION gdpr.on_alter() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made gdpr.purpose_view;
    missing text;
BEGIN
    FOR made IN SELECT v.* FROM gdpr.purpose_view v JOIN pg_event_trigger_ddl_commands() d
                    ON d.classid = 'pg_class'::regclass AND d.objid = v.relation ORDER BY v.view::oid LOOP
        SELECT string_agg(quote_ident(c), ', ') INTO missing FROM unnest(gdpr.view_columns(made.relation, made.purpose)) c
        WHERE c NOT IN (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = made.view AND a.attnum > 0 AND NOT a.attisdropped);
        IF missing IS NOT NULL THEN
            RAISE NOTICE 'view % does not have these columns of table %: %', made.view, made.relation, missing
                USING HINT = format('If they hold no personal data, SELECT gdpr.refresh_view(%L).', made.view);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.on_alter() IS 'tells which columns views made by create_view do not have';
REVOKE ALL ON FUNCTION gdpr.on_alter() FROM PUBLIC;
CREATE EVENT TRIGGER gdpr_on_alter ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION gdpr.on_alter();
COMMENT ON EVENT TRIGGER gdpr_on_alter IS 'tells which columns views made by create_view do not have';

-- The other form: rows of the table itself, for the session's purpose ------------------------------

CREATE FUNCTION gdpr.filter_rows(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    had_policies boolean;
    command text;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT EXISTS (SELECT FROM gdpr.mapped_relation r JOIN gdpr.mapped_table t ON t.id = r.table_id
                   WHERE r.relation = filter_rows.relation AND t.protected) THEN
        RAISE EXCEPTION 'table % is not protected', relation
            USING ERRCODE = 'GD006', HINT = format('First CALL gdpr.protect(%L).', relation);
    END IF;
    IF EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = relation AND p.polname LIKE 'gdpr\_filter\_%') THEN
        RAISE EXCEPTION 'rows of table % are filtered already', relation USING ERRCODE = 'duplicate_object';
    END IF;
    SELECT c.relrowsecurity INTO had_policies FROM pg_class c WHERE c.oid = relation;
    IF NOT had_policies AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = relation) THEN
        RAISE EXCEPTION 'table % has policies that are not in force, and would be', relation
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('First ALTER TABLE %s ENABLE ROW LEVEL SECURITY, or drop its policies.', relation);
    END IF;
    -- restrictive policies only take rows away: without row security so far, everybody had all
    IF NOT had_policies THEN
        PERFORM gdpr.run_as_owner(relation, format('CREATE POLICY gdpr_filter_all ON %s USING (true)', relation));
    END IF;
    -- rows may be entered for a person who permits nothing yet
    FOREACH command IN ARRAY ARRAY['SELECT', 'UPDATE', 'DELETE'] LOOP
        PERFORM gdpr.run_as_owner(relation, format('CREATE POLICY gdpr_filter_%s ON %s AS RESTRICTIVE FOR %s USING (gdpr.row_permitted(gdpr_sealed))%s',
            lower(command), relation, command, CASE WHEN command = 'UPDATE' THEN ' WITH CHECK (true)' ELSE '' END));
    END LOOP;
    PERFORM gdpr.run_as_owner(relation, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation));
END $$;
COMMENT ON FUNCTION gdpr.filter_rows(regclass) IS
    'makes rows of persons who do not permit the session''s purpose vanish from a protected table, by row-level security: for everybody but its owner, superusers and roles that bypass it';
REVOKE ALL ON FUNCTION gdpr.filter_rows(regclass) FROM PUBLIC;

CREATE FUNCTION gdpr.unfilter_rows(relation regclass) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    policy name;
    found_all boolean := false;
BEGIN
    FOR policy IN SELECT p.polname FROM pg_policy p WHERE p.polrelid = relation AND p.polname LIKE 'gdpr\_filter\_%' LOOP
        PERFORM gdpr.run_as_owner(relation, format('DROP POLICY %I ON %s', policy, relation));
        found_all := found_all OR policy = 'gdpr_filter_all';
    END LOOP;
    IF policy IS NULL THEN
        RAISE EXCEPTION 'rows of table % are not filtered', relation USING ERRCODE = 'undefined_object';
    END IF;
    -- others may have been added since: they stay in force
    IF found_all AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = relation) THEN
        PERFORM gdpr.run_as_owner(relation, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', relation));
    END IF;
END $$;
COMMENT ON FUNCTION gdpr.unfilter_rows(regclass) IS 'takes back what filter_rows did';
REVOKE ALL ON FUNCTION gdpr.unfilter_rows(regclass) FROM PUBLIC;
