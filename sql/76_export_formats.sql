-- The formats of exports: JSON as it is, XML, CSV, and a page to read. doc/export.md says what they look like.

-- The parts of a document besides its tables: arrays of objects.
CREATE FUNCTION gdpr.export_parts() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '{controllers,purposes,recipients,sources,consents,flags,accesses,changes,rights}'::text[];
END;
COMMENT ON FUNCTION gdpr.export_parts() IS 'what an export has besides tables, in this order';
REVOKE ALL ON FUNCTION gdpr.export_parts() FROM PUBLIC;

CREATE FUNCTION gdpr.export_cells(document json, OUT part text, OUT kind text, OUT record bigint, OUT field text, OUT value text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT t.name, k.kind, r.record, c.key, c.value
    -- a table is read once, not for each value
    FROM (SELECT x.*, v.place
          FROM json_array_elements(document -> 'tables') WITH ORDINALITY v(value, place),
               json_to_record(v.value) x(name text, rows json, rows_seen json, rows_of_others json) OFFSET 0) t
    CROSS JOIN LATERAL (VALUES (1, 'row', t.rows), (2, 'row_seen', t.rows_seen), (3, 'row_of_another', t.rows_of_others)) k(place, kind, records)
    CROSS JOIN LATERAL json_array_elements(k.records) WITH ORDINALITY r(value, record)
    CROSS JOIN LATERAL json_each_text(r.value) WITH ORDINALITY c(key, value, place)
    ORDER BY t.place, k.place, r.record, c.place;
    RETURN QUERY
    SELECT p.name, 'information', r.record, c.key, c.value
    FROM (SELECT u.name, u.place, m.value
          FROM json_each(document) m JOIN unnest(gdpr.export_parts()) WITH ORDINALITY u(name, place) ON u.name = m.key OFFSET 0) p
    CROSS JOIN LATERAL json_array_elements(p.value) WITH ORDINALITY r(value, record)
    CROSS JOIN LATERAL json_each_text(r.value) WITH ORDINALITY c(key, value, place)
    ORDER BY p.place, r.record, c.place;
    RETURN QUERY
    SELECT 'warnings', 'information', w.record, 'warning', w.value
    FROM json_array_elements_text(document -> 'warnings') WITH ORDINALITY w(value, record) ORDER BY w.record;
END $$;
COMMENT ON FUNCTION gdpr.export_cells(json) IS 'every value of an export, in order; kind: row, row_seen (of somebody else, and seen by the person), row_of_another (of somebody else, with values of the person), information';
REVOKE ALL ON FUNCTION gdpr.export_cells(json) FROM PUBLIC;

-- CSV (RFC 4180) ---------------------------------------------------------------------------------

-- NULL is nothing, an empty text is quoted. What a spreadsheet would take for a formula is told apart by an apostrophe.
-- Those called for each value have no search path to set, so that their callers can inline them.
CREATE FUNCTION gdpr.csv_cell(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL THEN ''
            WHEN value = '' THEN '""'
            WHEN value ~ '^[=+@\t\r\n-]' AND value !~ '^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$' THEN
                CASE WHEN value ~ '[",\r\n]|\s$' THEN '"''' || replace(value, '"', '""') || '"' ELSE '''' || value END
            WHEN value ~ '[",\r\n]|^\s|\s$' THEN '"' || replace(value, '"', '""') || '"'
            ELSE value END;
COMMENT ON FUNCTION gdpr.csv_cell(text) IS 'a value as a cell of CSV that is no formula';
REVOKE ALL ON FUNCTION gdpr.csv_cell(text) FROM PUBLIC;

CREATE FUNCTION gdpr.export_csv(document json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN concat(E'part,kind,record,field,value\r\n', (
        SELECT string_agg(concat_ws(',', gdpr.csv_cell(c.part), c.kind, c.record::text, gdpr.csv_cell(c.field), gdpr.csv_cell(c.value)) || E'\r\n',
                          '' ORDER BY c.place)
        FROM (SELECT e.*, row_number() OVER () AS place FROM gdpr.export_cells(document) e) c));
END $$;
COMMENT ON FUNCTION gdpr.export_csv(json) IS 'an export as one CSV, a line for each value';
REVOKE ALL ON FUNCTION gdpr.export_csv(json) FROM PUBLIC;

CREATE FUNCTION gdpr.export_csv_files(document json, OUT name text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    file record;
    taken text[] := '{}';
BEGIN
    FOR file IN
        SELECT l.part, l.kind, string_agg(l.line, '' ORDER BY l.record) AS lines,
               (array_agg(l.header ORDER BY l.record))[1] AS header
        FROM (SELECT c.part, c.kind, c.record, min(c.place) AS place,
                     string_agg(gdpr.csv_cell(c.field), ',' ORDER BY c.place) || E'\r\n' AS header,
                     string_agg(gdpr.csv_cell(c.value), ',' ORDER BY c.place) || E'\r\n' AS line
              FROM (SELECT e.*, row_number() OVER () AS place FROM gdpr.export_cells(document) e) c
              GROUP BY c.part, c.kind, c.record) l
        GROUP BY l.part, l.kind ORDER BY min(l.place)
    LOOP
        -- a name that every file system takes
        name := ltrim(regexp_replace(file.part, '[^[:alnum:]_.-]', '_', 'g'), '.-')
            || CASE file.kind WHEN 'row_seen' THEN '-seen' WHEN 'row_of_another' THEN '-in-rows-of-others' WHEN 'information' THEN '-information' ELSE '' END;
        WHILE lower(name) = ANY (taken) OR name = '' LOOP
            name := name || '_';
        END LOOP;
        taken := taken || lower(name);
        name := name || '.csv';
        content := file.header || file.lines;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.export_csv_files(json) IS 'an export as CSV files, one for each table and part';
REVOKE ALL ON FUNCTION gdpr.export_csv_files(json) FROM PUBLIC;

-- XML --------------------------------------------------------------------------------------------

-- Also of what HTML cannot hold: control characters, for which a question mark stands.
CREATE FUNCTION gdpr.escape_markup(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '[\x01-\x1F\x7F&<>"'']' OR (getdatabaseencoding() = 'UTF8' AND octet_length(value) > length(value) AND value ~ '[\uFFFE\uFFFF]') THEN
                replace(replace(replace(replace(replace(replace(replace(replace(regexp_replace(
                    CASE WHEN getdatabaseencoding() = 'UTF8' AND octet_length(value) > length(value) THEN regexp_replace(value, '[\uFFFE\uFFFF]', '?', 'g') ELSE value END,
                    '[\x01-\x08\x0B\x0C\x0E-\x1F\x7F]', '?', 'g'),
                    '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'), E'\r', '&#13;'), E'\n', '&#10;'), E'\t', '&#9;')
            ELSE value END;
COMMENT ON FUNCTION gdpr.escape_markup(text) IS 'a value as text or attribute of XML and HTML';
REVOKE ALL ON FUNCTION gdpr.escape_markup(text) FROM PUBLIC;

-- Characters that XML 1.0 has no way to write: the value goes as base64 of its UTF-8.
CREATE FUNCTION gdpr.xml_value(name text, value text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
RETURN '<value name="' || gdpr.escape_markup(name)
    || CASE WHEN value IS NULL THEN '" null="true"/>'
            WHEN value ~ '[\x01-\x08\x0B\x0C\x0E-\x1F\x7F]' OR (getdatabaseencoding() = 'UTF8' AND octet_length(value) > length(value) AND value ~ '[\uFFFE\uFFFF]') THEN
                '" encoding="base64">' || translate(encode(convert_to(value, 'UTF8'), 'base64'), E'\n', '') || '</value>'
            ELSE '">' || gdpr.escape_markup(value) || '</value>' END;
COMMENT ON FUNCTION gdpr.xml_value(text, text) IS 'a value in XML, NULL or one that XML cannot hold included';
REVOKE ALL ON FUNCTION gdpr.xml_value(text, text) FROM PUBLIC;

CREATE FUNCTION gdpr.export_xml(document json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    records text;
    -- of all parts at once, since reading the document takes longer than what follows
    parts jsonb := coalesce((
        SELECT jsonb_object_agg(p.part || ' ' || p.kind, p.records)
        FROM (SELECT r.part, r.kind, string_agg(r.line, '' ORDER BY r.record) AS records
              FROM (SELECT c.part, c.kind, c.record, concat('<record>', string_agg(gdpr.xml_value(c.field, c.value), '' ORDER BY c.place), E'</record>\n') AS line
                    FROM (SELECT e.*, row_number() OVER () AS place FROM gdpr.export_cells(document) e) c
                    GROUP BY c.part, c.kind, c.record) r
              GROUP BY r.part, r.kind) p), '{}');
    result text;
    part text;
BEGIN
    result := format(E'<?xml version="1.0" encoding="UTF-8"?>\n<export xmlns="urn:gdpr:export:1" version="1" right="%s" created="%s" subject="%s" forgotten="%s">\n',
                     split_part(document ->> 'right', ':', 2), document ->> 'created', document -> 'subject' ->> 'number', document -> 'subject' ->> 'forgotten');
    FOR item IN SELECT x.* FROM json_array_elements(document -> 'tables') v, json_to_record(v) x(name text, description text, retention json, policies json, columns json) LOOP
        result := concat(result, format('<table name="%s"', gdpr.escape_markup(item.name)),
            ' description="' || gdpr.escape_markup(item.description) || '"', E'>\n',
            CASE WHEN json_typeof(item.retention) = 'object' THEN
                format(E'<retention ground="%s"%s/>\n', gdpr.escape_markup(item.retention ->> 'ground'),
                       ' until="' || gdpr.escape_markup(item.retention ->> 'keep_until') || '"') END,
            (SELECT string_agg(concat('<policy',
                        (SELECT string_agg(format(' %s="%s"', a.key, gdpr.escape_markup(a.value)), '' ORDER BY a.key) FROM json_each_text(y) a WHERE a.value IS NOT NULL),
                        E'/>\n'), '' ORDER BY n)
             FROM json_array_elements(item.policies) WITH ORDINALITY s(y, n)),
            (SELECT string_agg(concat(
                        format('<column name="%s" type="%s"', gdpr.escape_markup(c ->> 'name'), gdpr.escape_markup(c ->> 'type')),
                        ' category="' || gdpr.escape_markup(c ->> 'category') || '"',
                        CASE WHEN (c ->> 'inferred')::boolean THEN ' inferred="true"' END,
                        ' description="' || gdpr.escape_markup(c ->> 'description') || '"', '>',
                        (SELECT string_agg(format('<purpose>%s</purpose>', gdpr.escape_markup(u)), '') FROM json_array_elements_text(c -> 'purposes') u),
                        E'</column>\n'), '' ORDER BY n)
             FROM json_array_elements(item.columns) WITH ORDINALITY s(c, n)),
            E'<rows>\n', parts ->> (item.name || ' row'), E'</rows>\n<rows-seen>\n', parts ->> (item.name || ' row_seen'), E'</rows-seen>\n<rows-of-others>\n',
            parts ->> (item.name || ' row_of_another'), E'</rows-of-others>\n</table>\n');
    END LOOP;
    FOREACH part IN ARRAY gdpr.export_parts() || '{warnings}'::text[] LOOP
        records := parts ->> (part || ' information');
        IF records IS NOT NULL THEN
            result := concat(result, format(E'<information name="%s">\n', part), records, E'</information>\n');
        END IF;
    END LOOP;
    RETURN result || '</export>';
END $$;
COMMENT ON FUNCTION gdpr.export_xml(json) IS 'an export as XML: gdpr.export_schema(''xml'')';
REVOKE ALL ON FUNCTION gdpr.export_xml(json) FROM PUBLIC;

-- The page -----------------------------------------------------------------------------------------

-- 2026-11-27T13:00:00+00:00 for people
CREATE FUNCTION gdpr.html_time(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}' THEN
                '<time datetime="' || gdpr.escape_markup(value) || '">' || replace("left"(value, 16), 'T', ' ') || '</time>'
            ELSE gdpr.escape_markup(coalesce(value, '')) END;
COMMENT ON FUNCTION gdpr.html_time(text) IS 'a time in HTML';
REVOKE ALL ON FUNCTION gdpr.html_time(text) FROM PUBLIC;

-- A cell of a table; what is not there says so.
CREATE FUNCTION gdpr.html_cell(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL THEN '<td class="none">–</td>' ELSE '<td dir="auto">' || gdpr.escape_markup(value) || '</td>' END;
COMMENT ON FUNCTION gdpr.html_cell(text) IS 'a value as a cell of a table in HTML';
REVOKE ALL ON FUNCTION gdpr.html_cell(text) FROM PUBLIC;

-- heads: names of fields of the objects, and what they are called; times are fields that end in _at, or are called at or since
CREATE FUNCTION gdpr.html_table(caption text, items json, fields text[], heads text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN concat('<div class="scroll" role="region" tabindex="0" aria-label="', gdpr.escape_markup(caption), '"><table><caption>',
        gdpr.escape_markup(caption), '</caption><thead><tr>',
        (SELECT string_agg('<th scope="col">' || gdpr.escape_markup(h) || '</th>', '' ORDER BY n) FROM unnest(heads) WITH ORDINALITY u(h, n)),
        E'</tr></thead><tbody>\n',
        (SELECT string_agg(concat('<tr>',
                    (SELECT string_agg(CASE WHEN v IS NOT NULL AND f ~ '(^|_)at$|^since$|^first$|^last$' THEN '<td>' || gdpr.html_time(v) || '</td>'
                                            ELSE gdpr.html_cell(CASE json_typeof(i -> f)
                                                WHEN 'array' THEN (SELECT string_agg(a, ', ') FROM json_array_elements_text(i -> f) a)
                                                ELSE v END) END, '' ORDER BY n)
                     FROM (SELECT f, n, i ->> f AS v FROM unnest(fields) WITH ORDINALITY u(f, n)) c),
                    E'</tr>\n'), '' ORDER BY place)
         FROM json_array_elements(items) WITH ORDINALITY t(i, place)),
        E'</tbody></table></div>\n');
END $$;
COMMENT ON FUNCTION gdpr.html_table(text, json, text[], text[]) IS 'objects as a table in HTML';
REVOKE ALL ON FUNCTION gdpr.html_table(text, json, text[], text[]) FROM PUBLIC;

-- A person is easier to read from top to bottom than a row is; many rows are easier side by side.
CREATE FUNCTION gdpr.html_rows(title text, columns json, items json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF json_array_length(items) = 1 THEN
        RETURN concat('<table class="one"><caption>', gdpr.escape_markup(title), '</caption><thead><tr><th scope="col">What</th><th scope="col">Value</th>',
            E'<th scope="col">Used for</th></tr></thead><tbody>\n',
            (SELECT string_agg(concat('<tr><th scope="row">', gdpr.escape_markup(v.key),
                        '<small>' || gdpr.escape_markup(c ->> 'description') || '</small>',
                        CASE WHEN (c ->> 'inferred')::boolean THEN '<small>concluded by us, not told by you</small>' END,
                        CASE WHEN (c ->> 'special')::boolean THEN '<small>specially protected (Art. 9)</small>' END,
                        '</th>', gdpr.html_cell(v.value), '<td>',
                        gdpr.escape_markup((SELECT string_agg(p, ', ') FROM json_array_elements_text(c -> 'purposes') p)), E'</td></tr>\n'), '' ORDER BY v.n)
             FROM json_each_text(items -> 0) WITH ORDINALITY v(key, value, n)
             LEFT JOIN LATERAL (SELECT s FROM json_array_elements(columns) s WHERE s ->> 'name' = v.key LIMIT 1) d(c) ON true),
            E'</tbody></table>\n');
    END IF;
    RETURN concat('<div class="scroll" role="region" tabindex="0" aria-label="', gdpr.escape_markup(title), '"><table><caption>', gdpr.escape_markup(title),
        '</caption><thead><tr>',
        (SELECT string_agg(concat('<th scope="col">', gdpr.escape_markup(k), '<small>' || gdpr.escape_markup(
                        (SELECT c ->> 'description' FROM json_array_elements(columns) c WHERE c ->> 'name' = k LIMIT 1)) || '</small>', '</th>'), '' ORDER BY n)
         FROM json_object_keys(items -> 0) WITH ORDINALITY u(k, n)),
        E'</tr></thead><tbody>\n',
        (SELECT string_agg(concat('<tr>', (SELECT string_agg(gdpr.html_cell(v.value), '' ORDER BY v.n)
                                           FROM json_each_text(r) WITH ORDINALITY v(key, value, n)), E'</tr>\n'), '' ORDER BY n)
         FROM json_array_elements(items) WITH ORDINALITY t(r, n)),
        E'</tbody></table></div>\n');
END $$;
COMMENT ON FUNCTION gdpr.html_rows(text, json, json) IS 'rows of a table in HTML';
REVOKE ALL ON FUNCTION gdpr.html_rows(text, json, json) FROM PUBLIC;

CREATE FUNCTION gdpr.html_style() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 64rem; padding: 1rem 1.25rem 4rem; font: 1.0625rem/1.6 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; color: #1b1f24; background: #fff }
h1 { font-size: 2rem; line-height: 1.2; margin: 1rem 0 .5rem }
h2 { font-size: 1.45rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 3px solid #0b5a8a }
h3 { font-size: 1.15rem; margin: 2rem 0 .25rem }
p { max-width: 42rem }
a { color: #0b5a8a }
a:focus-visible, .scroll:focus-visible, summary:focus-visible { outline: 3px solid #b34700; outline-offset: 2px }
.skip { position: absolute; left: -100rem }
.skip:focus { left: 1rem; top: .5rem; background: #fff; padding: .5rem }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem 1.25rem }
.facts { background: #eef4f8; padding: .75rem 1rem; border-left: 4px solid #0b5a8a }
.note { background: #fff4e5; padding: .75rem 1rem; border-left: 4px solid #b34700 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; margin: .75rem 0 1rem; font-size: .97rem }
caption { text-align: left; font-weight: 600; padding: .25rem 0 }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid #c9d1d9; white-space: pre-wrap; overflow-wrap: break-word; min-width: 5rem; max-width: 28rem }
td { unicode-bidi: isolate }
thead th { background: #eef1f4 }
th small { display: block; font-weight: 400; color: #4b5560 }
tbody tr:nth-child(even) { background: #f8fafb }
.one th[scope=row] { width: 16rem; font-weight: 600 }
.none { color: #5b646e }
summary { cursor: pointer; font-weight: 600 }
footer { margin-top: 3rem; color: #4b5560; font-size: .95rem }
@media (max-width: 40rem) {
 .one thead { display: none }
 .one, .one tbody, .one tr, .one th, .one td { display: block; width: auto }
 .one th[scope=row] { width: auto; border-bottom: 0; padding-bottom: 0 }
}
@media print {
 body { max-width: none; font-size: 10pt; padding: 0 }
 nav, .skip { display: none }
 .scroll { overflow: visible }
 h2, h3, caption { break-after: avoid }
 tr { break-inside: avoid }
 a { color: inherit; text-decoration: none }
}
';
END;
COMMENT ON FUNCTION gdpr.html_style() IS 'how the page of an export looks';
REVOKE ALL ON FUNCTION gdpr.html_style() FROM PUBLIC;

CREATE FUNCTION gdpr.html_section(id text, title text, intro text, content text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT concat('<section id="', html_section.id, '" aria-labelledby="', html_section.id, '-title"><h2 id="', html_section.id, '-title">',
                  html_section.title, '</h2>', '<p>' || html_section.intro || '</p>', E'\n', html_section.content, E'</section>\n');
END;
COMMENT ON FUNCTION gdpr.html_section(text, text, text, text) IS 'a section of the page of an export; its texts are HTML';
REVOKE ALL ON FUNCTION gdpr.html_section(text, text, text, text) FROM PUBLIC;

-- What a person decided, in one table: consents, objections, restrictions, channels.
CREATE FUNCTION gdpr.html_choices(document json) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT json_agg(c ORDER BY c.occurred_at, c.n)
        FROM (SELECT v ->> 'occurred_at' AS occurred_at, 'consent ' || (v ->> 'status') AS what, v ->> 'purpose' AS purpose, v ->> 'channel' AS channel,
                     v ->> 'topic' AS topic, v ->> 'source' AS source, v ->> 'details' AS details, n
              FROM json_array_elements(document -> 'consents') WITH ORDINALITY t(v, n)
              UNION ALL
              SELECT v ->> 'occurred_at', replace(v ->> 'kind', '_', ' ') || ': ' || (v ->> 'status'), v ->> 'purpose', v ->> 'channel', NULL,
                     v ->> 'source', v ->> 'details', n
              FROM json_array_elements(document -> 'flags') WITH ORDINALITY t(v, n)) c);
END $$;
COMMENT ON FUNCTION gdpr.html_choices(json) IS 'the decisions of a person in an export, for its page';
REVOKE ALL ON FUNCTION gdpr.html_choices(json) FROM PUBLIC;

-- Who did the same several times is told once.
CREATE FUNCTION gdpr.html_accesses(document json) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT json_agg(a ORDER BY a.last DESC, a.role)
        FROM (SELECT v ->> 'role' AS role, v ->> 'actor' AS actor, v ->> 'purpose' AS purpose, v ->> 'relation' AS relation,
                     (SELECT string_agg(CASE x WHEN 'reveal' THEN 'read' WHEN 'mask' THEN 'read masked' WHEN 'write' THEN 'changed'
                                               WHEN 'override' THEN 'despite your decision' WHEN 'export' THEN 'exported for you' ELSE x END, ', ')
                      FROM json_array_elements_text(v -> 'actions') x) AS actions,
                     count(*) AS times, min(v ->> 'at') AS first, max(v ->> 'at') AS last
              FROM json_array_elements(document -> 'accesses') v GROUP BY 1, 2, 3, 4, 5) a);
END $$;
COMMENT ON FUNCTION gdpr.html_accesses(json) IS 'the accesses in an export, counted, for its page';
REVOKE ALL ON FUNCTION gdpr.html_accesses(json) FROM PUBLIC;

CREATE FUNCTION gdpr.html_tables(document json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' AS $$
DECLARE
    item record;
    result text := '';
BEGIN
    FOR item IN SELECT x.* FROM json_array_elements(document -> 'tables') v,
                    json_to_record(v) x(name text, description text, retention json, policies json, columns json, rows json, rows_seen json, rows_of_others json) LOOP
        result := concat(result, '<h3>', gdpr.escape_markup(coalesce(item.description, item.name)), E'</h3>\n',
            CASE WHEN json_typeof(item.retention) = 'object' THEN concat('<p>We have to keep this: ', gdpr.escape_markup(item.retention ->> 'ground'),
                ', until ' || gdpr.escape_markup(item.retention ->> 'keep_until'), E'.</p>\n') END,
            (SELECT string_agg(concat('<p>We keep ', coalesce('what is of category ' || gdpr.escape_markup(y ->> 'category'), 'this'), ' for ', (y ->> 'keep')::interval, ' since ',
                        gdpr.escape_markup(y ->> 'since'), ', then we ', gdpr.escape_markup(y ->> 'action'), ' it', ' (' || gdpr.escape_markup(y ->> 'ground') || ')',
                        E'.</p>\n'), '' ORDER BY n)
             FROM json_array_elements(item.policies) WITH ORDINALITY s(y, n)),
            CASE WHEN json_array_length(item.rows) > 0 THEN
                gdpr.html_rows(concat(item.name, ': ', json_array_length(item.rows),
                                      CASE json_array_length(item.rows) WHEN 1 THEN ' record' ELSE ' records' END), item.columns, item.rows) END,
            CASE WHEN json_array_length(item.rows_seen) > 0 THEN
                gdpr.html_rows(concat(item.name, ': records of other people that you can see'), item.columns, item.rows_seen) END,
            CASE WHEN json_array_length(item.rows_of_others) > 0 THEN
                gdpr.html_rows(concat(item.name, ': what is yours in records of other people'), item.columns, item.rows_of_others) END);
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION gdpr.html_tables(json) IS 'the data in an export, for its page';
REVOKE ALL ON FUNCTION gdpr.html_tables(json) FROM PUBLIC;

CREATE FUNCTION gdpr.export_html(document json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bases CONSTANT jsonb := '{"consent": "your consent (Art. 6(1)(a))", "contract": "a contract with you (Art. 6(1)(b))",
        "legal_obligation": "a law that obliges us (Art. 6(1)(c))", "vital_interest": "somebody''s vital interest (Art. 6(1)(d))",
        "public_task": "a task in the public interest (Art. 6(1)(e))", "legitimate_interest": "our legitimate interest (Art. 6(1)(f))"}';
    is_access boolean := document ->> 'right' = 'eu-gdpr:A15';
    title text := CASE WHEN is_access THEN 'Your personal data' ELSE 'Your data, to take with you' END;
    names text := (SELECT string_agg(c ->> 'name', ', ') FROM json_array_elements(document -> 'controllers') c);
    sections text[] := '{}';
    links text[] := '{data,What we hold}';
BEGIN
    sections := sections || gdpr.html_section('data', 'What we hold',
        CASE WHEN is_access THEN 'Every record about you. A dash means that there is no value; values of other people are masked or left out.'
             ELSE 'What you told us, or what came about while you used our services, that we use with your consent or for a contract with you.' END,
        gdpr.html_tables(document));
    IF is_access THEN
        links := links || '{why,Why we use it,source,Where it comes from,recipients,Who received it,choices,What you decided,seen,Who looked at it}'::text[];
        sections := sections || gdpr.html_section('why', 'Why we use it', 'Each purpose, and what allows it.', CASE WHEN json_array_length(document -> 'purposes') > 0 THEN
            gdpr.html_table('Purposes', (SELECT json_agg(json_build_object('name', v ->> 'name', 'description', v ->> 'description',
                'basis', bases ->> (v ->> 'legal_basis'), 'categories', v -> 'categories', 'standing', CASE v ->> 'standing' WHEN 'permitted' THEN 'yes' ELSE 'no: ' || (v ->> 'standing') END,
                'since', v ->> 'since', 'retention', v ->> 'retention', 'kind', concat_ws(', ', CASE WHEN (v ->> 'direct_marketing')::boolean THEN 'advertising' END,
                    CASE WHEN (v ->> 'profiling')::boolean THEN 'profiling' END)) ORDER BY n)
                FROM json_array_elements(document -> 'purposes') WITH ORDINALITY t(v, n)),
                '{name,description,basis,categories,kind,standing,since,retention}', '{Purpose,What it is,Allowed by,Kinds of data,Remark,Used now,Since,Kept for}')
            ELSE E'<p>No purpose uses it.</p>\n' END);
        sections := sections || gdpr.html_section('source', 'Where it comes from', NULL, CASE WHEN json_array_length(document -> 'sources') > 0 THEN
            gdpr.html_table('Sources', document -> 'sources', '{entered_at,source,how,application,role}', '{When,Source,How,Through,By}')
            ELSE E'<p>That is not recorded.</p>\n' END);
        sections := sections || gdpr.html_section('recipients', 'Who received it', NULL, CASE WHEN json_array_length(document -> 'recipients') > 0 THEN
            gdpr.html_table('Recipients', document -> 'recipients', '{recipient,country,categories,purpose,ground,safeguard,disclosed_at}',
                            '{Recipient,Country,Kinds of data,Purpose,Ground,Safeguard,When}')
            ELSE E'<p>No disclosure of your data to anybody else is recorded.</p>\n' END);
        sections := sections || gdpr.html_section('choices', 'What you decided', NULL, CASE WHEN json_array_length(document -> 'consents') + json_array_length(document -> 'flags') > 0 THEN
            gdpr.html_table('Consents, objections, restrictions', gdpr.html_choices(document), '{occurred_at,what,purpose,channel,topic,source,details}',
                            '{When,What,Purpose,Channel,Topic,Where,Details}')
            ELSE E'<p>You have not decided anything yet.</p>\n' END);
        sections := sections || gdpr.html_section('seen', 'Who looked at it', NULL, CASE WHEN json_array_length(document -> 'accesses') > 0 THEN
            gdpr.html_table('Accesses', gdpr.html_accesses(document), '{role,actor,purpose,relation,actions,times,first,last}',
                            '{Role,Person,Purpose,Record,What,Times,First,Last}')
            ELSE E'<p>No access is recorded.</p>\n' END);
        IF json_array_length(document -> 'changes') > 0 THEN
            links := links || '{changes,What was changed}'::text[];
            sections := sections || gdpr.html_section('changes', 'What was changed', NULL,
                gdpr.html_table('Changes', document -> 'changes', '{at,relation,column,before,after,role,outcome}', '{When,Record,What,Before,After,By,Outcome}'));
        END IF;
    END IF;
    links := links || '{rights,Your rights}'::text[];
    sections := sections || gdpr.html_section('rights', 'Your rights', NULL, concat('<ul>',
        (SELECT string_agg(format('<li><strong>%s.</strong> %s</li>', gdpr.escape_markup(v ->> 'name'), gdpr.escape_markup(v ->> 'description')), E'\n' ORDER BY n)
         FROM json_array_elements(document -> 'rights') WITH ORDINALITY t(v, n)), E'</ul>\n',
        (SELECT string_agg(concat('<p>', '<strong>' || gdpr.escape_markup(c ->> 'name') || '</strong>', '<br>Address: ' || gdpr.escape_markup(c ->> 'address'),
                                  '<br>Contact: ' || gdpr.escape_markup(c ->> 'contact'), '<br>Data protection officer: ' || gdpr.escape_markup(c ->> 'dpo'),
                                  '<br>Withdraw consent: ' || gdpr.escape_markup(c ->> 'withdrawal_url'),
                                  '<br>Complain to: ' || gdpr.escape_markup(c ->> 'authority'), E'</p>\n'), '' ORDER BY n)
         FROM json_array_elements(document -> 'controllers') WITH ORDINALITY t(c, n))));
    RETURN concat(E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        E'<meta name="robots" content="noindex">\n<meta name="referrer" content="no-referrer">\n',
        E'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">\n',
        '<title>', title, E'</title>\n<style>', gdpr.html_style(), E'</style>\n</head>\n<body>\n<a class="skip" href="#data">Skip to your data</a>\n<header>\n<h1>', title, E'</h1>\n',
        '<p class="facts">', 'From ' || gdpr.escape_markup(names) || '. ', 'Made on ', gdpr.html_time(document ->> 'created'), ' UTC. You are person number ',
        document -> 'subject' ->> 'number', ' here.', CASE WHEN (document -> 'subject' ->> 'forgotten')::boolean THEN
            ' You were forgotten: this is what a law requires us to keep.' END, E'</p>\n',
        (SELECT '<div class="note" role="note"><p>What may be missing:</p><ul>' || string_agg('<li>' || gdpr.escape_markup(w) || '</li>', '') || E'</ul></div>\n'
         FROM json_array_elements_text(document -> 'warnings') w),
        E'</header>\n<nav aria-label="Contents"><ul>',
        (SELECT string_agg(format('<li><a href="#%s">%s</a></li>', links[i], links[i + 1]), '' ORDER BY i) FROM generate_series(1, cardinality(links), 2) i),
        E'</ul></nav>\n<main>\n', array_to_string(sections, ''), E'</main>\n<footer><p>Keep this page in a safe place: it is about you. All times are UTC.</p></footer>\n</body>\n</html>');
END $$;
COMMENT ON FUNCTION gdpr.export_html(json) IS 'an export as a page to read';
REVOKE ALL ON FUNCTION gdpr.export_html(json) FROM PUBLIC;

-- What is called -----------------------------------------------------------------------------------

CREATE FUNCTION gdpr.export(subject bigint, format text DEFAULT 'json', "right" text DEFAULT 'A15', name_staff boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    document json;
BEGIN
    IF format IS NULL THEN
        RAISE EXCEPTION 'format is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF format NOT IN ('json', 'xml', 'csv', 'html') THEN
        RAISE EXCEPTION 'format is "%"', format
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''json'', ''xml'', ''csv'' or ''html''.';
    END IF;
    document := gdpr.export_document(subject, "right", name_staff);
    RETURN CASE format WHEN 'xml' THEN gdpr.export_xml(document) WHEN 'csv' THEN gdpr.export_csv(document)
                       WHEN 'html' THEN gdpr.export_html(document) ELSE document::text END;
END $$;
COMMENT ON FUNCTION gdpr.export(bigint, text, text, boolean) IS
    'everything about a person (right A15), or what it may take elsewhere (A20), as json, xml, csv or html, whatever the caller may see otherwise; name_staff: names who had access, not only their roles; it is recorded in the audit trail';
REVOKE ALL ON FUNCTION gdpr.export(bigint, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION gdpr.export_files(subject bigint, "right" text DEFAULT 'A15', name_staff boolean DEFAULT false, OUT name text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT f.name, f.content FROM gdpr.export_csv_files(gdpr.export_document(subject, "right", name_staff)) f;
END $$;
COMMENT ON FUNCTION gdpr.export_files(bigint, text, boolean) IS 'the same as CSV files: one for each table, and for each part of the information about it';
REVOKE ALL ON FUNCTION gdpr.export_files(bigint, text, boolean) FROM PUBLIC;

-- As the caller: what INSERT would do by hand.
CREATE FUNCTION gdpr.import_export(document json, OUT relation regclass, OUT rows bigint) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item json;
    columns text;
    missing text;
BEGIN
    IF document IS NULL THEN
        RAISE EXCEPTION 'document is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF json_typeof(document) <> 'object' OR document ->> 'version' IS DISTINCT FROM '1' OR json_typeof(document -> 'tables') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'this is not an export' USING ERRCODE = 'invalid_parameter_value', HINT = 'It is what gdpr.export(…, ''json'') returned.';
    END IF;
    FOR item IN SELECT json_array_elements(document -> 'tables') LOOP
        relation := to_regclass(item ->> 'name');
        IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'gdpr_sealed' AND a.atttypid = 'gdpr.sealed'::regtype) THEN
            RAISE EXCEPTION 'there is no protected table %', item ->> 'name'
                USING ERRCODE = 'GD006', HINT = 'Personal data is loaded into protected tables only: create it, declare it and CALL gdpr.protect() on it.';
        END IF;
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n), string_agg(c ->> 'name', ', ' ORDER BY n) FILTER (WHERE a.attname IS NULL)
        INTO columns, missing
        FROM json_array_elements(item -> 'columns') WITH ORDINALITY t(c, n)
        LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = c ->> 'name' AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'gdpr_sealed'
        WHERE a.attgenerated IS NULL OR a.attgenerated = '';
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION 'table % lacks columns of the export: %', relation, missing USING ERRCODE = 'undefined_column';
        END IF;
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM json_populate_recordset(NULL::%1$s, $1)', relation, columns)
        USING item -> 'rows';
        GET DIAGNOSTICS rows = ROW_COUNT;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION gdpr.import_export(json) IS
    'loads the rows of an export into protected tables of the same names, as the caller, in one transaction; returns how many';
REVOKE ALL ON FUNCTION gdpr.import_export(json) FROM PUBLIC;
