-- Consent records: what the ledger, the purpose and the controller say about one consent, in the fields of
-- ISO/IEC TS 27560:2023, as JSON-LD with the terms of W3C DPV 2 (https://w3id.org/dpv/guides/consent-27560).
--
-- A record says that it conforms (dct:conformsTo) only if every field that TS 27560 demands is there. What is sealed in
-- the ledger stays out of it, unless with_proof asks for it.

-- The controller ---------------------------------------------------------------------------------

CREATE TABLE gdpr.controller (
    name text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    address text,
    contact text,
    withdrawal_url text,
    jurisdiction text,
    storage_locations text[],
    sole_recipient boolean NOT NULL DEFAULT false,
    dpo text,
    authority text
);
COMMENT ON TABLE gdpr.controller IS
    'register of controllers (Art. 13(1)(a)), which gdpr.purpose names; a purpose that names none is the only controller''s';
COMMENT ON COLUMN gdpr.controller.withdrawal_url IS 'where persons withdraw consent (Art. 7(3))';
COMMENT ON COLUMN gdpr.controller.sole_recipient IS
    'nobody else receives data that is processed on consent; false: not known, records of consents name no recipient';
COMMENT ON COLUMN gdpr.controller.dpo IS 'contact of the data protection officer (Art. 13(1)(b))';
COMMENT ON COLUMN gdpr.controller.authority IS 'the supervisory authority to complain to (Art. 13(2)(d), 77): name, contact';
REVOKE ALL ON gdpr.controller FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('gdpr.controller', '');

CREATE FUNCTION gdpr.set_controller(name text, address text DEFAULT NULL, contact text DEFAULT NULL, withdrawal_url text DEFAULT NULL,
                                    jurisdiction text DEFAULT NULL, storage_locations text[] DEFAULT NULL,
                                    sole_recipient boolean DEFAULT NULL, dpo text DEFAULT NULL, authority text DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- ISO 3166-1 alpha-2, and what has a law of its own without being a country
    places CONSTANT text[] := string_to_array('EU EEA '
        'AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ '
        'CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO '
        'FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE '
        'JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO '
        'MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW '
        'PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM '
        'TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW', ' ');
    place text;
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'a controller needs a name' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    FOREACH place IN ARRAY coalesce(storage_locations, '{}') || CASE WHEN jurisdiction <> '' THEN ARRAY[jurisdiction] END LOOP
        IF place IS NULL OR place <> ALL (places) THEN
            RAISE EXCEPTION '"%" is not a country', place
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Write its code of two letters (ISO 3166-1), or EU or EEA.';
        END IF;
    END LOOP;
    IF withdrawal_url <> '' AND withdrawal_url !~ '^[A-Za-z][A-Za-z0-9+.-]*:[^[:space:]<>"{}|\\^`]+$' THEN
        RAISE EXCEPTION 'withdrawal_url is not a URL'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For instance https://example.com/consents.';
    END IF;
    INSERT INTO gdpr.controller AS c
    VALUES (name, nullif(address, ''), nullif(contact, ''), nullif(withdrawal_url, ''), nullif(jurisdiction, ''),
            nullif(storage_locations, '{}'), coalesce(sole_recipient, false), nullif(dpo, ''), nullif(authority, ''))
    ON CONFLICT ON CONSTRAINT controller_pkey DO UPDATE SET
        address = nullif(coalesce(set_controller.address, c.address), ''),
        contact = nullif(coalesce(set_controller.contact, c.contact), ''),
        withdrawal_url = nullif(coalesce(set_controller.withdrawal_url, c.withdrawal_url), ''),
        jurisdiction = nullif(coalesce(set_controller.jurisdiction, c.jurisdiction), ''),
        storage_locations = nullif(coalesce(set_controller.storage_locations, c.storage_locations), '{}'),
        sole_recipient = coalesce(set_controller.sole_recipient, c.sole_recipient),
        dpo = nullif(coalesce(set_controller.dpo, c.dpo), ''),
        authority = nullif(coalesce(set_controller.authority, c.authority), '');
END $$;
COMMENT ON FUNCTION gdpr.set_controller(text, text, text, text, text, text[], boolean, text, text) IS
    'registers a controller, or changes what is given ('''' and ''{}'' take away); jurisdiction, storage_locations: codes of countries, EU or EEA; sole_recipient: nobody else receives data that is processed on consent; dpo, authority: contacts that exports name';
REVOKE ALL ON FUNCTION gdpr.set_controller(text, text, text, text, text, text[], boolean, text, text) FROM PUBLIC;

-- The parts of a record --------------------------------------------------------------------------

CREATE FUNCTION gdpr.consent_record_context() RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '{"@version": 1.1, "dpv": "https://w3id.org/dpv#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
             "legal-eu": "https://w3id.org/dpv/legal/eu#", "loc": "https://w3id.org/dpv/loc#", "pd": "https://w3id.org/dpv/pd#",
             "dpv-27560": "https://w3id.org/dpv/schema/dpv-27560#", "dct": "http://purl.org/dc/terms/",
             "skos": "http://www.w3.org/2004/02/skos/core#", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
             "xsd": "http://www.w3.org/2001/XMLSchema#",
             "dct:description": {"@id": "dct:description", "@container": "@language"},
             "dct:provenance": {"@id": "dct:provenance", "@type": "@json"}}'::jsonb
           || jsonb_object_agg(t.term, jsonb_build_object('@id', t.term, '@type', t.type))
    FROM (SELECT term, '@id' AS type
          FROM unnest('{dct:conformsTo,skos:broader,dpv:hasDataSubject,dpv:hasDataController,dpv:hasProcess,dpv:hasPurpose,
                        dpv:hasProcessing,dpv:hasPersonalData,dpv:hasLegalBasis,dpv:hasRecipient,dpv:hasRight,
                        dpv:hasJurisdiction,dpv:hasApplicableLaw,dpv:hasLocation,dpv:hasNotice,dpv:hasStatus,
                        dpv:hasConsentStatus,dpv:isIndicatedBy,dpv:isRepresentativeFor}'::text[]) term
          UNION ALL
          SELECT term, 'xsd:dateTime' FROM unnest('{dct:created,dct:modified,dpv:isIndicatedAtTime}'::text[]) term) t;
END;
COMMENT ON FUNCTION gdpr.consent_record_context() IS 'the JSON-LD context of consent records';
REVOKE ALL ON FUNCTION gdpr.consent_record_context() FROM PUBLIC;

CREATE FUNCTION gdpr.consent_record_events(record uuid) RETURNS SETOF gdpr.consent_event
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS (
        SELECT * FROM gdpr.consent_event e WHERE e.id = consent_record_events.record
    ), own AS (
        SELECT e.* FROM asked a JOIN gdpr.consent_event e
            ON e.subject = ANY (gdpr.numbers_of(a.subject)) AND e.purpose_id = a.purpose_id AND e.channel = a.channel AND e.topic = a.topic
    )
    SELECT * FROM own
    UNION ALL
    SELECT w.* FROM asked a JOIN gdpr.consent_event w ON w.subject = ANY (gdpr.numbers_of(a.subject)) AND w.purpose_id = a.purpose_id
    WHERE w.status IN ('refused', 'withdrawn', 'invalidated') AND w.channel IN ('', a.channel) AND w.topic IN ('', a.topic)
      AND (w.channel, w.topic) <> (a.channel, a.topic)
      -- only if there was a consent to end
      AND (SELECT o.status IN ('given', 'renewed') AND (o.expires_at > w.occurred_at) IS NOT FALSE FROM own o
           WHERE o.status <> 'requested' AND o.occurred_at <= w.occurred_at
           ORDER BY o.occurred_at DESC, o.status IN ('given', 'renewed'), o.recorded_at DESC LIMIT 1);
END;
COMMENT ON FUNCTION gdpr.consent_record_events(uuid) IS
    'the events of the same person, purpose, channel and topic as this one, and those for all channels or topics that ended its consent';
REVOKE ALL ON FUNCTION gdpr.consent_record_events(uuid) FROM PUBLIC;

CREATE FUNCTION gdpr.consent_record_process(purpose gdpr.purpose, controller gdpr.controller, event gdpr.consent_event, root text)
    RETURNS jsonb LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp SET intervalstyle = 'iso_8601' AS $$
DECLARE
    -- categories whose names say what DPV calls them; others are just personal data
    known CONSTANT jsonb := '{"identity": "pd:Identifying", "contact": "pd:Contact", "financial": "pd:Financial",
        "health": "pd:Health", "location": "pd:Location", "biometric": "pd:Biometric", "genetic": "pd:Genetic",
        "religion": "pd:Religion", "ethnicity": "pd:Ethnicity", "preference": "pd:Preference"}';
    data jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object(
               '@type', jsonb_build_array('dpv:PersonalData') || CASE WHEN c.special THEN '["dpv:SpecialCategoryPersonalData"]' ELSE '[]' END::jsonb,
               'skos:prefLabel', c.name, 'skos:broader', coalesce(known ->> c.name, 'dpv:PersonalData')) ORDER BY c.id)
    INTO data FROM gdpr.category c WHERE c.id = ANY (purpose.categories);
    RETURN jsonb_strip_nulls(jsonb_build_object(
        '@type', 'dpv:Process',
        'dpv:hasPurpose', jsonb_build_object(
            '@id', root || '#purpose', '@type', 'dpv:Purpose', 'dct:identifier', event.purpose, 'skos:prefLabel', event.purpose,
            'skos:broader', CASE WHEN purpose.direct_marketing THEN 'dpv:DirectMarketing' ELSE 'dpv:Purpose' END,
            'dct:description', nullif(jsonb_strip_nulls(jsonb_build_object('@none', purpose.description) || coalesce(purpose.descriptions, '{}')), '{}'),
            'dpv:hasContext', (SELECT jsonb_agg(jsonb_build_object('@type', 'dpv:Context', 'dct:title', v.title, 'rdf:value', v.value))
                               FROM (VALUES ('channel', event.channel), ('topic', event.topic)) v(title, value) WHERE v.value <> '')),
        'dpv:hasProcessing', CASE WHEN purpose.profiling THEN 'dpv:Profiling' END,
        'dpv:hasPersonalData', data,
        'dpv:hasLegalBasis', jsonb_build_array('eu-gdpr:A6-1-a')
            || CASE WHEN purpose.special_ground IS NULL THEN '[]' ELSE to_jsonb('eu-gdpr:A9-2-' || purpose.special_ground) END,
        'dpv:hasDataController', root || '#controller',
        -- of data that reaches nobody else, the controller is the recipient
        'dpv:hasRecipient', CASE WHEN controller.sole_recipient THEN
            jsonb_build_object('@id', root || '#controller', '@type', 'dpv:Recipient') END,
        'dpv:hasStorageCondition', (SELECT jsonb_agg(s) FROM (
            SELECT jsonb_build_object('@type', 'dpv:StorageDuration', 'dpv:hasDuration', jsonb_build_object(
                '@type', 'dpv:TemporalDuration', 'rdf:value', jsonb_build_object('@type', 'xsd:duration', '@value',
                    -- XML Schema knows no duration of a year less a day
                    CASE WHEN purpose.retention::text LIKE '%-%' THEN justify_interval(purpose.retention) ELSE purpose.retention END::text)))
            WHERE purpose.retention IS NOT NULL
            UNION ALL
            SELECT jsonb_build_object('@type', 'dpv:StorageLocation', 'dpv:hasLocation', jsonb_agg('loc:' || l))
            FROM unnest(controller.storage_locations) l HAVING count(*) > 0) t(s))));
END $$;
COMMENT ON FUNCTION gdpr.consent_record_process(gdpr.purpose, gdpr.controller, gdpr.consent_event, text) IS
    'what a consent record says of the processing';
REVOKE ALL ON FUNCTION gdpr.consent_record_process(gdpr.purpose, gdpr.controller, gdpr.consent_event, text) FROM PUBLIC;

-- The record -------------------------------------------------------------------------------------

CREATE FUNCTION gdpr.consent_record(record uuid, with_proof boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    utc CONSTANT text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
    statuses CONSTANT jsonb := '{"requested": "dpv:ConsentRequested", "given": "dpv:ConsentGiven", "renewed": "dpv:RenewedConsentGiven",
        "refused": "dpv:ConsentRefused", "withdrawn": "dpv:ConsentWithdrawn", "expired": "dpv:ConsentExpired",
        "invalidated": "dpv:ConsentInvalidated"}';
    root CONSTANT text := 'urn:uuid:' || record;
    asked gdpr.consent_event;
    purpose gdpr.purpose;
    controller gdpr.controller;
    process jsonb;
    notices text[];
    representatives text[];
    notice_nodes jsonb;
    events jsonb;
    status text;
    first_recorded timestamptz;
    last_recorded timestamptz;
    complete boolean;
BEGIN
    SELECT * INTO asked FROM gdpr.consent_event e WHERE e.id = record;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no consent record with this id' USING ERRCODE = 'no_data_found',
            HINT = 'SELECT * FROM gdpr.consent_history(subject) shows the records of a person.';
    END IF;
    SELECT * INTO purpose FROM gdpr.purpose p WHERE p.id = asked.purpose_id;
    SELECT * INTO controller FROM gdpr.controller c
    WHERE c.name = purpose.controller OR (purpose.controller IS NULL AND (SELECT count(*) FROM gdpr.controller) = 1);
    process := gdpr.consent_record_process(purpose, controller, asked, root);

    SELECT array_agg(DISTINCT e.notice) FILTER (WHERE e.notice IS NOT NULL),
           array_agg(DISTINCT d.details ->> 'given_by') FILTER (WHERE d.details ? 'given_by'),
           min(e.recorded_at), max(e.recorded_at),
           -- there is a consent; who gave it is known, and has no address that would have to be told
           bool_or(e.status IN ('given', 'renewed'))
               AND bool_and(NOT coalesce(d.details ? 'given_by', e.details IS NOT NULL) AND isfinite(e.occurred_at))
    INTO notices, representatives, first_recorded, last_recorded, complete
    FROM gdpr.consent_record_events(record) e, gdpr.open_event('consent', e.id, e.details) d(details);

    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               '@id', root || '#notice-' || i, '@type', 'dpv:ConsentNotice', 'dct:identifier', v,
               'dct:language', n.language, 'dct:source', n.url)) ORDER BY i),
           complete AND bool_and(n.language IS NOT NULL)
    INTO notice_nodes, complete
    FROM unnest(notices) WITH ORDINALITY u(v, i) LEFT JOIN gdpr.notice n ON n.version = v;

    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               '@id', 'urn:uuid:' || e.id || '#event',
               '@type', CASE WHEN e.status NOT IN ('given', 'renewed') THEN statuses -> e.status
                             ELSE jsonb_build_array(statuses -> e.status, CASE purpose.special_ground WHEN 'a' THEN 'dpv:ExplicitlyExpressedConsent'
                                                                               ELSE 'dpv:ExpressedConsent' END) END,
               'dct:identifier', e.id,
               'dpv:isIndicatedAtTime', to_char(e.occurred_at, utc),
               'dct:created', to_char(e.recorded_at, utc),
               'dct:creator', e.recorded_by,
               'dpv:isIndicatedBy', root || CASE
                   WHEN e.status IN ('requested', 'expired', 'invalidated') THEN '#controller'
                   WHEN d.details ? 'given_by' THEN '#representative-' || array_position(representatives, d.details ->> 'given_by')
                   -- sealed, and lost with the person's key
                   WHEN e.status IN ('given', 'renewed') AND e.details IS NOT NULL AND d.details IS NULL THEN NULL
                   ELSE '#subject' END,
               'dpv:hasIndicationMethod', e.source,
               'dpv:hasNotice', root || '#notice-' || array_position(notices, e.notice),
               'dpv:hasDuration', CASE
                   WHEN e.status NOT IN ('given', 'renewed') THEN NULL
                   WHEN isfinite(e.expires_at) THEN jsonb_build_object('@type', 'dpv:UntilTimeDuration', 'rdf:value',
                       jsonb_build_object('@type', 'xsd:dateTime', '@value', to_char(e.expires_at, utc)))
                   ELSE '{"@type": "dpv:UntilEventDuration", "rdf:value": "withdrawal of consent"}' END))
           -- a proof is as it was given, NULLs included
           || CASE WHEN d.details ?| '{proof,request}' OR with_proof AND d.details ? 'note' THEN jsonb_build_object('dct:provenance',
                  jsonb_strip_nulls(jsonb_build_object(
                      'double_opt_in', CASE WHEN d.details ? 'request' THEN true END,
                      'sha256', encode(sha256(convert_to((d.details -> 'proof')::text, 'UTF8')), 'hex'),
                      'note', CASE WHEN with_proof THEN d.details ->> 'note' END))
                  || CASE WHEN with_proof AND d.details ? 'proof' THEN jsonb_build_object('proof', d.details -> 'proof') ELSE '{}' END)
              ELSE '{}' END
           ORDER BY e.occurred_at, e.recorded_at, e.id)
    INTO events
    FROM gdpr.consent_record_events(record) e, gdpr.open_event('consent', e.id, e.details) d(details);

    -- a consent that does not count any more is not given, whatever it ended by
    SELECT CASE WHEN c.status IN ('given', 'renewed') AND NOT c.valid THEN 'expired' ELSE c.status END
    INTO status FROM gdpr.consent_at(asked.subject, clock_timestamp()) c
    WHERE c.record IN (SELECT e.id FROM gdpr.consent_record_events(consent_record.record) e
                       WHERE (e.channel, e.topic) = (asked.channel, asked.topic));

    complete := complete AND process ?& '{dpv:hasPersonalData,dpv:hasRecipient}' AND purpose.retention IS NOT NULL
        AND num_nulls(controller.address, controller.contact, controller.withdrawal_url, controller.jurisdiction,
                      controller.storage_locations) = 0;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        '@context', gdpr.consent_record_context(), '@id', root, '@type', 'dpv:ConsentRecord',
        'dct:identifier', record, 'dpv:hasIdentifier', record,
        'dct:conformsTo', CASE WHEN complete THEN 'dpv-27560:record' END,
        'dct:created', to_char(first_recorded, utc), 'dct:modified', to_char(last_recorded, utc),
        'dpv:hasDataSubject', jsonb_build_object('@id', root || '#subject', '@type', 'dpv:DataSubject', 'dct:identifier', asked.subject::text),
        'dpv:hasDataController', jsonb_build_object(
            '@id', root || '#controller', '@type', 'dpv:DataController',
            'dpv:hasIdentifier', coalesce(controller.name, purpose.controller), 'dpv:hasName', coalesce(controller.name, purpose.controller),
            'dpv:hasAddress', controller.address, 'dpv:hasContact', controller.contact),
        'dpv:hasEntity', (
            SELECT jsonb_agg(jsonb_build_object(
                '@id', root || '#representative-' || i, '@type', 'dpv:Representative',
                'dct:identifier', CASE WHEN with_proof THEN r END, 'dpv:isRepresentativeFor', root || '#subject') ORDER BY i)
            FROM unnest(representatives) WITH ORDINALITY u(r, i)),
        'dpv:hasJurisdiction', 'loc:' || controller.jurisdiction,
        'dpv:hasApplicableLaw', 'legal-eu:law-GDPR',
        'dpv:hasProcess', process,
        'dpv:hasConsentControl', CASE WHEN controller.withdrawal_url IS NOT NULL THEN jsonb_build_object(
            '@type', 'dpv:WithdrawConsent',
            'dpv:isExercisedAt', jsonb_build_object('@id', controller.withdrawal_url, '@type', 'dpv:RightExerciseNotice')) END,
        'dpv:hasRight', '["eu-gdpr:A7-3", "eu-gdpr:A13", "eu-gdpr:A14", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A18",
                          "eu-gdpr:A20", "eu-gdpr:A22", "eu-gdpr:A77"]'::jsonb
            || CASE WHEN purpose.direct_marketing THEN '["eu-gdpr:A21"]' ELSE '[]' END::jsonb,
        'dpv:hasNotice', notice_nodes,
        'dpv:hasStatus', statuses -> coalesce(status, 'expired')))
        || jsonb_build_object('dpv:hasConsentStatus', events);
END $$;
COMMENT ON FUNCTION gdpr.consent_record(uuid, boolean) IS
    'the ISO/IEC TS 27560 record, as JSON-LD with terms of W3C DPV, of the consent that an event belongs to, as it is now; of proofs only the SHA-256; with_proof: proofs, notes and who acted for the person in the clear';
REVOKE ALL ON FUNCTION gdpr.consent_record(uuid, boolean) FROM PUBLIC;
