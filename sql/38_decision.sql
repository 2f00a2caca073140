-- The decision, as SQL sees it (src/policy.c). What counts is what current_user was granted, so that everybody may ask.
--
-- Where it is asked for again and again it is without SET, which would cost more than the decision: it reads nothing by name.

CREATE FUNCTION gdpr.permitted(subject bigint, purpose text DEFAULT NULL, channel text DEFAULT NULL, topic text DEFAULT NULL)
    RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'gdpr_permitted';
COMMENT ON FUNCTION gdpr.permitted(bigint, text, text, text) IS
    'whether a person''s data may be used for a purpose, on a channel and about a topic (NULL: any), by current_user; purpose NULL: as gdpr.purpose, gdpr.channel and gdpr.topic say';

CREATE FUNCTION gdpr.row_permitted(envelope gdpr.sealed, purpose text DEFAULT NULL, channel text DEFAULT NULL, topic text DEFAULT NULL)
    RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME', 'gdpr_row_permitted';
COMMENT ON FUNCTION gdpr.row_permitted(gdpr.sealed, text, text, text) IS
    'the same of the person a row of a protected table belongs to. In the WHERE of a view, with constants, it also says what the view shows the table''s personal columns for';

CREATE FUNCTION gdpr.require_visible(boolean) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'gdpr_require_visible';
COMMENT ON FUNCTION gdpr.require_visible(boolean) IS
    'its argument, if it is true, else an error: in INSERT … ON CONFLICT DO UPDATE into a view for a purpose, for the row that is in the way';

CREATE FUNCTION gdpr.standing(subject bigint, purpose text, channel text DEFAULT NULL, topic text DEFAULT NULL)
    RETURNS text LANGUAGE c STABLE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'gdpr_standing';
COMMENT ON FUNCTION gdpr.standing(bigint, text, text, text) IS
    'what stands in the way of using a person''s data for a purpose: forgotten, restricted, objected, blocked, refused, expired or no consent; or permitted';
REVOKE ALL ON FUNCTION gdpr.standing(bigint, text, text, text) FROM PUBLIC;
