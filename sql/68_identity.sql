-- One human, several numbers: merging them, finding whom a value belongs to, and who may be entered twice.
--
-- A merge is a row of gdpr.subject_alias without a category (src/alias.c). Rows, consents, flags and records stay with the
-- number that they are of; what holds of the person is asked of all its numbers (gdpr.numbers_of).

CREATE TABLE gdpr.identity_event (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('merged', 'separated', 'different')),
    subject bigint NOT NULL,
    other bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name NOT NULL,
    session_role name NOT NULL DEFAULT session_user,
    actor text,
    details gdpr.sealed
);
CREATE INDEX identity_event_subject ON gdpr.identity_event (subject);
CREATE INDEX identity_event_other ON gdpr.identity_event (other);
COMMENT ON TABLE gdpr.identity_event IS
    'every decision whether two numbers are one person: merged, separated again, different; nobody changes or deletes it';
COMMENT ON COLUMN gdpr.identity_event.details IS 'the reason, sealed under the keys of both: it is lost with either';
REVOKE ALL ON gdpr.identity_event FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.identity_event', '');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON gdpr.identity_event
    FOR EACH STATEMENT EXECUTE FUNCTION gdpr.refuse_change();
ALTER TABLE gdpr.identity_event ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION gdpr.record_identity(kind text, subject bigint, other bigint, reason text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    event uuid := gen_random_uuid();
    note jsonb := jsonb_build_object('reason', nullif(reason, ''));
BEGIN
    -- what came with the connection was not verified
    PERFORM convert_to(current_setting('gdpr.actor'), getdatabaseencoding());
    INSERT INTO gdpr.identity_event (id, kind, subject, other, recorded_by, actor, details)
    VALUES (event, kind, subject, other, gdpr.caller(), nullif(current_setting('gdpr.actor'), ''),
            CASE WHEN reason <> '' THEN
                gdpr.seal_note(subject, 'identity', event,
                               jsonb_build_object('sealed', gdpr.seal_note(other, 'identity', event, note)::text)) END);
END $$;
COMMENT ON FUNCTION gdpr.record_identity(text, bigint, bigint, text) IS 'adds an event to the ledger of identities';
REVOKE ALL ON FUNCTION gdpr.record_identity(text, bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION gdpr.identity_history(subject bigint, OUT event uuid, OUT kind text, OUT number bigint, OUT other bigint, OUT recorded_at timestamptz,
                                      OUT recorded_by name, OUT session_role name, OUT actor text, OUT details jsonb)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.id, e.kind, e.subject, e.other, e.recorded_at, e.recorded_by, e.session_role, e.actor,
           gdpr.open_note('identity', e.id, (gdpr.open_note('identity', e.id, e.details) ->> 'sealed')::gdpr.sealed)
    FROM gdpr.identity_event e
    WHERE e.subject = ANY (gdpr.numbers_of(identity_history.subject)) OR e.other = ANY (gdpr.numbers_of(identity_history.subject))
    ORDER BY e.recorded_at, e.id;
END;
COMMENT ON FUNCTION gdpr.identity_history(bigint) IS
    'with which numbers a person was merged, from which it was separated, and which were found to be somebody else, with the reasons opened';
REVOKE ALL ON FUNCTION gdpr.identity_history(bigint) FROM PUBLIC;

-- Merging ----------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.merge_subjects(survivor bigint, other bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept bigint := gdpr.living_subject(survivor);
    merged bigint := gdpr.living_subject(other);
BEGIN
    IF kept = merged THEN
        RAISE EXCEPTION 'person % cannot be merged with itself', kept USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM gdpr.lock_persons(ARRAY[kept, merged]);
    PERFORM gdpr.lock_identities(false);
    -- they may have been forgotten while we waited
    kept := gdpr.person(gdpr.living_subject(survivor));
    merged := gdpr.person(gdpr.living_subject(other));
    PERFORM gdpr.assert_person(kept), gdpr.assert_person(merged);
    IF kept = merged THEN
        RAISE EXCEPTION 'persons % and % are merged already', survivor, other
            USING ERRCODE = 'duplicate_object', HINT = format('SELECT gdpr.numbers_of(%s) shows the numbers of the person.', kept);
    END IF;
    IF EXISTS (SELECT FROM gdpr.hold h WHERE h.number IN (kept, merged)) THEN
        RAISE EXCEPTION 'what a hold keeps is nobody''s, and cannot be merged'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The person was forgotten.', HINT = 'TABLE gdpr.holds shows these numbers, as held_as.';
    END IF;
    INSERT INTO gdpr.subject_alias (number, subject) VALUES (merged, kept);
    PERFORM gdpr.record_identity('merged', kept, merged, reason);
    RETURN kept;
END $$;
COMMENT ON FUNCTION gdpr.merge_subjects(bigint, bigint, text) IS
    'makes two persons one: from now on either number means both, in every call; of consents the latest hold, of restrictions, objections and blocks those of either; no row is touched; returns the survivor''s number';
REVOKE ALL ON FUNCTION gdpr.merge_subjects(bigint, bigint, text) FROM PUBLIC;

-- What a person decided while it was merged, and takes something away, may have been decided by either.
CREATE FUNCTION gdpr.share_decisions(from_number bigint, to_number bigint, since timestamptz, until timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers CONSTANT bigint[] := gdpr.numbers_of(from_number);
    item record;
BEGIN
    PERFORM gdpr.record_consent(to_number, p.name, e.status, e.channel, e.topic, e.occurred_at, NULL, e.source, e.notice, NULL)
    FROM gdpr.consent_event e JOIN gdpr.purpose p ON p.id = e.purpose_id
    WHERE e.subject = ANY (numbers) AND e.recorded_at BETWEEN share_decisions.since AND until AND e.status IN ('refused', 'withdrawn')
    ORDER BY e.recorded_at;
    FOR item IN
        SELECT f.kind, f.channel, f.since, p.name AS purpose, e.ground, e.source
        FROM gdpr.flag f JOIN gdpr.flag_event e ON e.id = f.id LEFT JOIN gdpr.purpose p ON p.id = f.purpose_id
        WHERE f.subject = ANY (numbers) AND e.recorded_at BETWEEN share_decisions.since AND until AND (f.purpose_id = 0 OR p.id IS NOT NULL)
          -- not what an officer has planned for it
          AND NOT EXISTS (SELECT FROM gdpr.planned_erasure r WHERE r.restriction = f.id)
        ORDER BY e.recorded_at
    LOOP
        CASE item.kind
            WHEN 'r' THEN PERFORM gdpr.restrict(to_number, ground => item.ground, source => item.source, occurred_at => item.since);
            WHEN 'o' THEN PERFORM gdpr.record_objection(to_number, item.purpose, source => item.source, occurred_at => item.since);
            ELSE PERFORM gdpr.block_channel(to_number, item.channel, source => item.source, occurred_at => item.since);
        END CASE;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.share_decisions(bigint, bigint, timestamptz, timestamptz) IS
    'records for one person what another refused, withdrew, restricted, objected to and blocked in a time; for unmerge_subjects';
REVOKE ALL ON FUNCTION gdpr.share_decisions(bigint, bigint, timestamptz, timestamptz) FROM PUBLIC;

CREATE FUNCTION gdpr.unmerge_subjects(other bigint, reason text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    separated bigint := gdpr.assert_subject(other);
    kept bigint;
    merged_at timestamptz;
    separated_at timestamptz;
BEGIN
    PERFORM gdpr.lock_persons(ARRAY[separated]);
    PERFORM gdpr.lock_identities(false);
    SELECT a.subject, a.created_at INTO kept, merged_at FROM gdpr.subject_alias a WHERE a.number = separated AND a.category IS NULL;
    IF kept IS NULL THEN
        RAISE EXCEPTION 'person % was not merged into another', separated
            USING ERRCODE = 'no_data_found',
                  HINT = 'Name a number that was merged into it: '
                         || coalesce((SELECT 'of these, ' || string_agg(a.number::text, ', ' ORDER BY a.number) FROM gdpr.subject_alias a
                                      WHERE a.subject = separated AND a.category IS NULL), 'there is none') || '.';
    END IF;
    IF gdpr.key_is_lost(separated, NULL) THEN
        RAISE EXCEPTION 'person % was forgotten', separated
            USING ERRCODE = 'GD003', DETAIL = 'Its numbers were forgotten together: their keys are destroyed, and nothing is left that could be separated.';
    END IF;
    separated_at := clock_timestamp();
    DELETE FROM gdpr.subject_alias a WHERE a.number = separated;
    PERFORM gdpr.record_identity('separated', kept, separated, reason);
    PERFORM gdpr.share_decisions(kept, separated, merged_at, separated_at);
    PERFORM gdpr.share_decisions(separated, kept, merged_at, separated_at);
    -- and what was held meanwhile
    INSERT INTO gdpr.hold (id, subject, relations, ground, reason, until, placed_at, placed_by, actor)
    SELECT c.id, c.other, h.relations, h.ground, gdpr.seal_note(c.other, 'hold', c.id, gdpr.open_note('hold', h.id, h.reason)), h.until,
           h.placed_at, h.placed_by, h.actor
    FROM gdpr.hold h CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id, CASE h.subject WHEN kept THEN separated ELSE kept END AS other) c
    WHERE h.subject IN (kept, separated) AND h.number IS NULL AND h.finished_at IS NULL AND h.placed_at >= merged_at;
    RETURN gdpr.person(kept);
END $$;
COMMENT ON FUNCTION gdpr.unmerge_subjects(bigint, text) IS
    'separates a number, with those that were merged into it before, from the person it was merged into; what either refused, withdrew, restricted, objected to or blocked meanwhile, and what was held, holds for both; a planned erasure stays with the number for which it was planned; returns the number of whom it is separated from';
REVOKE ALL ON FUNCTION gdpr.unmerge_subjects(bigint, text) FROM PUBLIC;

CREATE FUNCTION gdpr.not_duplicates(subject bigint, other bigint, reason text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one bigint := gdpr.living_subject(subject);
    another bigint := gdpr.living_subject(other);
BEGIN
    PERFORM gdpr.lock_persons(ARRAY[one, another]);
    IF gdpr.person(one) = gdpr.person(another) THEN
        RAISE EXCEPTION 'numbers % and % are one person', subject, other
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'If they were merged by mistake: SELECT gdpr.unmerge_subjects(number).';
    END IF;
    PERFORM gdpr.record_identity('different', one, another, reason);
END $$;
COMMENT ON FUNCTION gdpr.not_duplicates(bigint, bigint, text) IS
    'records that two persons are not one, however much they have in common: gdpr.duplicates() leaves them out';
REVOKE ALL ON FUNCTION gdpr.not_duplicates(bigint, bigint, text) FROM PUBLIC;

-- A restored database may have merged who was separated since: of them the keystore can lack one, of whom there is no
-- tombstone here, while another lives. Those who were forgotten as one person have no living number.
CREATE FUNCTION gdpr.separate_lost(category smallint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    FOR item IN
        DELETE FROM gdpr.subject_alias a
        WHERE a.category IS NULL AND EXISTS (
            SELECT FROM (VALUES (a.number, a.subject), (a.subject, a.number)) v(lost, living)
            WHERE gdpr.key_is_lost(v.lost, separate_lost.category)
              AND NOT EXISTS (SELECT FROM gdpr.tombstone t WHERE t.number = v.lost AND (t.category IS NULL OR t.category = separate_lost.category))
              AND EXISTS (SELECT FROM (SELECT v.living UNION ALL SELECT s.number FROM gdpr.subject_alias s
                                       WHERE s.subject = v.living AND s.category = separate_lost.category) x(n)
                          WHERE NOT gdpr.key_is_lost(x.n, separate_lost.category)))
        RETURNING a.subject, a.number
    LOOP
        PERFORM gdpr.record_identity('separated', item.subject, item.number, NULL);
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.separate_lost(smallint) IS
    'separates merged persons of whom the keystore says that one was forgotten alone; for forget_again';
REVOKE ALL ON FUNCTION gdpr.separate_lost(smallint) FROM PUBLIC;

-- Finding ----------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.value_subject(envelope gdpr.sealed, column_id integer) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'gdpr_value_subject';
COMMENT ON FUNCTION gdpr.value_subject(gdpr.sealed, integer) IS
    'the number of the person whose value a personal column of a row holds, from the clear part of its envelope';

CREATE FUNCTION gdpr.personal_columns(OUT relation regclass, OUT name name, OUT column_id integer, OUT searchable boolean, OUT lowered boolean,
                                      OUT type text, OUT equality text, OUT is_text boolean, OUT is_array boolean, OUT is_trusted boolean)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- citext has an = of its own, which the fixed search path does not find: that of the type's default operator
    -- class, which superusers alone make
    WITH RECURSIVE base(type, basetype) AS (
        SELECT oid, CASE typtype WHEN 'd' THEN typbasetype ELSE oid END FROM pg_type
        UNION
        SELECT b.type, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.basetype WHERE t.typtype = 'd')
    SELECT r.relation, c.name, c.id, c.searchable, c.normalize = 'lower' AND y.typcategory = 'S' AND y.oid <> 'bpchar'::regtype AND y.typname <> 'citext',
           format_type(y.oid, -1), -- no length, at which a cast would cut
           coalesce((SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                     FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'
                     JOIN pg_amop e ON e.amopfamily = k.opcfamily AND e.amopstrategy = 3
                                   AND e.amoplefttype = k.opcintype AND e.amoprighttype = k.opcintype
                     JOIN pg_operator o ON o.oid = e.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
                     WHERE k.opcintype = y.oid AND k.opcdefault), '='),
           y.typcategory = 'S', y.typcategory = 'A', y.typcategory = 'S' OR y.typnamespace = 'pg_catalog'::regnamespace
    FROM gdpr.mapped_column c JOIN gdpr.mapped_table t ON t.id = c.table_id
    JOIN gdpr.mapped_relation r ON r.table_id = t.id AND r.is_top
    JOIN pg_attribute a ON a.attrelid = r.relation AND a.attname = c.name
    JOIN base b ON b.type = a.atttypid JOIN pg_type y ON y.oid = b.basetype AND y.typtype <> 'd'
    WHERE t.protected ORDER BY c.id, r.relation::oid
$$;
COMMENT ON FUNCTION gdpr.personal_columns() IS 'personal columns of protected tables and how they are compared; no more than the catalogs tell everybody';

-- The last is a word for the form, of which there can be several.
CREATE FUNCTION gdpr.search_forms(value text, country text DEFAULT NULL, OUT variant text, OUT form text)
    RETURNS SETOF record LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    trimmed text := regexp_replace(btrim(value, E' \t\r\n'), '\s+', ' ', 'g');
    calling_code text := ltrim(regexp_replace(country, '[^0-9]', '', 'g'), '0');
    digits text := CASE WHEN trimmed !~ '[[:alpha:]@]' THEN regexp_replace(replace(trimmed, '(0)', ''), '[^0-9+]', '', 'g') END;
    compact text := upper(regexp_replace(trimmed, '[^A-Za-z0-9]', '', 'g'));
    international text;
    national text;
BEGIN
    IF country IS NOT NULL AND (country !~ '^\+?[0-9]+$' OR length(calling_code) NOT BETWEEN 1 AND 4) THEN
        RAISE EXCEPTION '"%" is not the calling code of a country', country
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For instance country => ''31'', for 06… to be +316… as well.';
    END IF;
    IF digits ~ '^\+?[0-9]{6,18}$' THEN
        IF digits ~ '^(\+|00)' THEN
            international := ltrim(digits, '+0');
            national := CASE WHEN starts_with(international, calling_code) THEN substr(international, length(calling_code) + 1) END;
        ELSE
            national := ltrim(digits, '0');
            international := CASE WHEN digits !~ '^0' AND starts_with(digits, calling_code) THEN digits
                                  ELSE calling_code || national END;
            IF international = digits THEN
                national := substr(digits, length(calling_code) + 1);
            END IF;
        END IF;
    END IF;
    RETURN QUERY
    SELECT u.variant, (array_agg(u.form ORDER BY u.place))[1]
    FROM (VALUES (1, value, 'as given'), (2, trimmed, 'trimmed'), (3, lower(trimmed), 'lower case'),
                 (4, digits, 'phone'), (5, '+' || nullif(international, ''), 'phone'), (6, '00' || nullif(international, ''), 'phone'),
                 (7, international, 'phone'), (8, '0' || nullif(national, ''), 'phone'), (9, national, 'phone'),
                 (10, CASE WHEN compact ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$' THEN compact END, 'IBAN'),
                 (11, CASE WHEN compact ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$' THEN btrim(regexp_replace(compact, '(.{4})', '\1 ', 'g')) END, 'IBAN'))
         AS u(place, variant, form)
    WHERE u.variant <> '' OR u.place = 1 GROUP BY u.variant ORDER BY min(u.place);
END $$;
COMMENT ON FUNCTION gdpr.search_forms(text, text) IS
    'the forms in which a value may be stored: as given, trimmed, in lower case, as a phone number without spaces and signs (with and without the calling code of a country), as an IBAN with and without spaces';

CREATE FUNCTION gdpr.cast_text(value text, type text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT $1::%s::text', format_type(type::regtype, -1)) INTO result USING value;
    RETURN result;
EXCEPTION WHEN data_exception OR datatype_mismatch OR cannot_coerce OR undefined_function THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION gdpr.cast_text(text, text) IS 'a value as a type writes it; NULL if it is none of that type';

CREATE FUNCTION gdpr.same_value(stored text, forms text[], digits text[], ibans text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT lower(stored) = ANY (forms) OR lower(regexp_replace(btrim(stored), '\s+', ' ', 'g')) = ANY (forms)
        OR (cardinality(digits) > 0 AND stored !~ '[[:alpha:]@]' AND regexp_replace(replace(stored, '(0)', ''), '[^0-9+]', '', 'g') = ANY (digits))
        OR (cardinality(ibans) > 0 AND upper(regexp_replace(stored, '[^A-Za-z0-9]', '', 'g')) = ANY (ibans));
END;
COMMENT ON FUNCTION gdpr.same_value(text, text[], text[], text[]) IS
    'whether a stored value is the same as one of these, but for case, and for signs in phone numbers and IBANs; for find_subjects';

-- Runs with the caller's rights and purpose: what the caller may not see, it does not find. Casts and operators of types that are
-- anybody's (enums, composite types, domains) would run as the caller: of those, what the type's output function writes is compared.
CREATE FUNCTION gdpr.find_subjects(value text, country text DEFAULT NULL, scan boolean DEFAULT false, OUT subject bigint, OUT relation regclass,
                                   OUT "column" name, OUT matched text, OUT form text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    words text[];
    names text[];
    candidates text[];
    condition text;
    item record;
BEGIN
    SELECT array_agg(f.variant ORDER BY place), array_agg(f.form ORDER BY place) INTO words, names
    FROM gdpr.search_forms(find_subjects.value, find_subjects.country) WITH ORDINALITY f(variant, form, place) WHERE f.variant IS NOT NULL;
    IF words IS NULL THEN
        RETURN;
    END IF;
    FOR item IN SELECT * FROM gdpr.personal_columns() c WHERE c.searchable OR scan LOOP
        BEGIN
            candidates := words;
            IF scan AND (item.is_text OR item.is_array) THEN
                candidates := ARRAY(SELECT lower(w) FROM unnest(words) w);
                condition := CASE WHEN item.is_array THEN 'EXISTS (SELECT FROM unnest(t.%I) e WHERE NOT e IS NULL AND gdpr.same_value(concat(e), $1, $2, $3))'
                                  ELSE 'gdpr.same_value(t.%I::text, $1, $2, $3)' END;
            ELSIF item.lowered THEN
                candidates := ARRAY(SELECT lower(w) FROM unnest(words) w);
                condition := 'lower(t.%I::text COLLATE "default") = ANY ($1)';
            ELSIF NOT item.is_trusted THEN
                condition := 'nullif(concat(t.%I), '''') = ANY ($1)'; -- of NULL it is empty
            ELSE
                IF NOT item.is_text THEN
                    candidates := ARRAY(SELECT DISTINCT gdpr.cast_text(w, item.type) FROM unnest(words) w);
                END IF;
                condition := 't.%I ' || replace(format('%s ANY ($1::%s[])', item.equality, item.type), '%', '%%');
            END IF;
            FOR subject, matched IN EXECUTE format(
                'SELECT DISTINCT gdpr.value_subject(t.gdpr_sealed, %s), %s FROM %s t WHERE ' || condition,
                item.column_id, format(CASE WHEN item.is_trusted THEN 't.%I::text' ELSE 'concat(t.%I)' END, item.name), item.relation, item.name)
                USING candidates, ARRAY(SELECT w FROM unnest(words) w WHERE w ~ '^\+?[0-9]{6,18}$'),
                      ARRAY(SELECT w FROM unnest(words) w WHERE w ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$')
            LOOP
                relation := item.relation;
                "column" := item.name;
                form := coalesce((SELECT n FROM unnest(words, names) WITH ORDINALITY u(w, n, place)
                                  WHERE w = matched OR lower(w) = lower(btrim(matched)) ORDER BY w = matched DESC, place LIMIT 1),
                                 CASE WHEN scan THEN 'other form' ELSE 'as given' END);
                RETURN NEXT;
            END LOOP;
        EXCEPTION WHEN data_exception OR datatype_mismatch OR undefined_function OR ambiguous_function OR insufficient_privilege THEN
            NULL;               -- not a value of the column's type, or not the caller's to see: not there
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.find_subjects(text, text, boolean) IS
    'the persons of whom a searchable column holds this value, in one of the forms of gdpr.search_forms, over the whole data map; country: calling code for phone numbers; scan: looks at every value of all personal columns, by opening them; sees what the caller''s role and purpose may see';
REVOKE ALL ON FUNCTION gdpr.find_subjects(text, text, boolean) FROM PUBLIC;

-- Who may be entered twice -----------------------------------------------------------------------

-- Evidence is in bits, as in record linkage: two persons who have a value that n of all N have are log2(N / n) bits alike
-- (H. B. Newcombe, 1959; I. P. Fellegi and A. B. Sunter, 1969). Tokens are compared; no value is opened.
CREATE FUNCTION gdpr.duplicates(max_pairs integer DEFAULT 100, max_sharing integer DEFAULT 5, relations regclass[] DEFAULT NULL,
                                OUT subject bigint, OUT other bigint, OUT weight numeric, OUT reasons text[])
    RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    labels text[];
    tokens text;
BEGIN
    IF max_pairs IS NULL OR max_pairs < 1 OR max_sharing IS NULL OR max_sharing < 2 THEN
        RAISE EXCEPTION 'max_pairs is NULL or less than 1, or max_sharing NULL or less than 2' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'max_sharing is how many persons can have a value by which they are taken for one.';
    END IF;
    -- of each value: whose, and a hash of its token and domain; as the table's owner, who reads what is stored, 1000 pages
    -- at a time; not what was erased, or is not sealed yet
    SELECT array_agg(c.label ORDER BY c.place), string_agg(format(
        $f$SELECT split_part(r, ' ', 1)::bigint AS number, split_part(r, ' ', 2)::bigint AS token, %s AS label, %L::boolean AS own
           FROM generate_series(0, pg_relation_size(%L::regclass) / current_setting('block_size')::bigint, 1000) b
           CROSS JOIN LATERAL gdpr.run_as_owner(%3$L::regclass, format(%L, format('(%%s,0)', b), format('(%%s,0)', b + 1000))) r$f$,
        c.place, c.own, c.relation::text,
        -- % is for format() of the next round
        replace(format('SELECT concat(gdpr.value_subject(x.gdpr_sealed, %1$s), '' '', hashtextextended(x.%2$I::text, %5$s)) FROM ONLY %3$s x'
                       ' WHERE x.%2$I IS NOT NULL AND gdpr.has_values(x.gdpr_sealed, gdpr.value_subject(x.gdpr_sealed, %1$s), %4$s::smallint) AND x.ctid >= ',
                       c.id, c.name, c.relation, c.category, c.token_domain), '%', '%%') || '%L AND x.ctid < %L'), ' UNION ALL ')
    INTO labels, tokens
    FROM (SELECT c.*, r.relation, t.relation || '.' || quote_ident(c.name) AS label, row_number() OVER (ORDER BY c.id, r.relation::oid) AS place,
                 c.via = 0 AND NOT EXISTS (SELECT FROM gdpr.mapped_link l WHERE l.table_id = t.id AND l.via = 0) AS own
          FROM gdpr.mapped_column c JOIN gdpr.mapped_table t ON t.id = c.table_id JOIN gdpr.mapped_relation r ON r.table_id = t.id AND r.has_rows
          WHERE c.searchable AND t.protected AND (duplicates.relations IS NULL OR t.relation = ANY (duplicates.relations))) c;
    IF tokens IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH value AS MATERIALIZED (
            SELECT DISTINCT gdpr.person(v.number) AS person, v.token, v.label, v.own FROM (%s) v
            WHERE NOT EXISTS (SELECT FROM (SELECT gdpr.person(f.subject) FROM gdpr.flag f WHERE f.kind = 'r') f(person) WHERE f.person = gdpr.person(v.number))
        ), everybody AS MATERIALIZED (
            SELECT count(DISTINCT v.person)::numeric AS n FROM value v
        ), counted AS MATERIALIZED (
            SELECT v.token, count(DISTINCT v.person) AS n FROM value v GROUP BY v.token HAVING count(DISTINCT v.person) > 1
        ), rare AS MATERIALIZED (
            SELECT v.person, v.token, v.label, c.n FROM counted c JOIN value v USING (token) WHERE c.n <= $1
        ), common AS MATERIALIZED (
            SELECT v.person, v.token, v.label FROM counted c JOIN value v USING (token) WHERE c.n > $1 AND v.own
        ), combined AS (
            -- two values, each of which many have, but few have both: half the evidence, as chance brings them together
            SELECT array_agg(a.person) AS persons, count(*) AS n, min(a.label) AS one, min(b.label) AS another
            FROM common a JOIN common b ON b.person = a.person AND b.token > a.token
            GROUP BY a.token, b.token HAVING count(*) BETWEEN 2 AND $1
        ), pair AS (
            SELECT a.person AS one, b.person AS another, log(2, e.n / min(a.n)) AS bits, false AS weak,
                   CASE WHEN $3[min(a.label)] = $3[max(b.label)] THEN $3[min(a.label)] ELSE $3[least(min(a.label), min(b.label))] || ' = ' || $3[greatest(max(a.label), max(b.label))] END AS label
            FROM rare a JOIN rare b ON b.token = a.token AND b.person > a.person, everybody e GROUP BY a.person, b.person, a.token, e.n
            UNION ALL
            SELECT p, q, log(2, e.n / c.n) / 2, true, $3[least(c.one, c.another)] || ', ' || $3[greatest(c.one, c.another)]
            FROM combined c, unnest(c.persons) p, unnest(c.persons) q, everybody e WHERE q > p
        ), weighed AS (
            -- of the weak the best only: they have values in common
            SELECT p.one, p.another, coalesce(sum(p.bits) FILTER (WHERE NOT p.weak), 0) + coalesce(max(p.bits) FILTER (WHERE p.weak), 0) AS bits,
                   array_agg(DISTINCT p.label ORDER BY p.label) AS labels
            FROM pair p GROUP BY p.one, p.another
        )
        SELECT w.one, w.another, round(w.bits, 1), w.labels FROM weighed w
        WHERE NOT EXISTS (SELECT FROM gdpr.identity_event e WHERE e.kind IN ('different', 'separated')
                          AND (gdpr.person(e.subject), gdpr.person(e.other)) IN ((w.one, w.another), (w.another, w.one)))
        ORDER BY w.bits DESC, w.one, w.another LIMIT $2 $q$, tokens) USING max_sharing, max_pairs, labels;
END $$;
COMMENT ON FUNCTION gdpr.duplicates(integer, integer, regclass[]) IS
    'pairs of persons who are probably one, the most alike first: they share searchable values that few have (max_sharing at most), or two that few have together; weight in bits; without those who were merged, found to be different, or are restricted; reads all tokens, opens no value';
REVOKE ALL ON FUNCTION gdpr.duplicates(integer, integer, regclass[]) FROM PUBLIC;
