-- The types sealed and column_ref, and what the planner puts into plans.

CREATE TYPE gdpr.sealed;

CREATE FUNCTION gdpr.sealed_in(cstring) RETURNS gdpr.sealed
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_sealed_in';
COMMENT ON FUNCTION gdpr.sealed_in(cstring) IS
    'reads an envelope from base64; an envelope that is not well-formed is an error';
CREATE FUNCTION gdpr.sealed_out(gdpr.sealed) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_sealed_out';
COMMENT ON FUNCTION gdpr.sealed_out(gdpr.sealed) IS 'writes an envelope, still sealed, as base64';
CREATE FUNCTION gdpr.sealed_recv(internal) RETURNS gdpr.sealed
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_sealed_recv';
COMMENT ON FUNCTION gdpr.sealed_recv(internal) IS 'reads an envelope from its bytes';
CREATE FUNCTION gdpr.sealed_send(gdpr.sealed) RETURNS bytea
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
COMMENT ON FUNCTION gdpr.sealed_send(gdpr.sealed) IS 'writes an envelope, still sealed, as bytes';

CREATE TYPE gdpr.sealed (
    INPUT = gdpr.sealed_in,
    OUTPUT = gdpr.sealed_out,
    RECEIVE = gdpr.sealed_recv,
    SEND = gdpr.sealed_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE gdpr.sealed IS
    'the envelope of a row: its personal values, encrypted under the keys of the persons they belong to (doc/formats.md)';

-- DISTINCT, UNION and REPLICA IDENTITY FULL need an order and a hash: those of the bytes.
CREATE FUNCTION gdpr.sealed_eq(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteaeq';
CREATE FUNCTION gdpr.sealed_ne(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteane';
CREATE FUNCTION gdpr.sealed_lt(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'bytealt';
CREATE FUNCTION gdpr.sealed_le(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteale';
CREATE FUNCTION gdpr.sealed_gt(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteagt';
CREATE FUNCTION gdpr.sealed_ge(gdpr.sealed, gdpr.sealed) RETURNS boolean
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteage';
CREATE FUNCTION gdpr.sealed_cmp(gdpr.sealed, gdpr.sealed) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteacmp';
CREATE FUNCTION gdpr.sealed_hash(gdpr.sealed) RETURNS integer
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
CREATE FUNCTION gdpr.sealed_hash_extended(gdpr.sealed, bigint) RETURNS bigint
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION gdpr.sealed_eq(gdpr.sealed, gdpr.sealed) IS 'equal bytes';
COMMENT ON FUNCTION gdpr.sealed_ne(gdpr.sealed, gdpr.sealed) IS 'different bytes';
COMMENT ON FUNCTION gdpr.sealed_lt(gdpr.sealed, gdpr.sealed) IS 'less, by bytes';
COMMENT ON FUNCTION gdpr.sealed_le(gdpr.sealed, gdpr.sealed) IS 'less or equal, by bytes';
COMMENT ON FUNCTION gdpr.sealed_gt(gdpr.sealed, gdpr.sealed) IS 'greater, by bytes';
COMMENT ON FUNCTION gdpr.sealed_ge(gdpr.sealed, gdpr.sealed) IS 'greater or equal, by bytes';
COMMENT ON FUNCTION gdpr.sealed_cmp(gdpr.sealed, gdpr.sealed) IS 'order by bytes: -1, 0 or 1';
COMMENT ON FUNCTION gdpr.sealed_hash(gdpr.sealed) IS 'hash of the bytes';
COMMENT ON FUNCTION gdpr.sealed_hash_extended(gdpr.sealed, bigint) IS 'hash of the bytes with a seed';

CREATE OPERATOR gdpr.= (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_eq,
    COMMUTATOR = OPERATOR(gdpr.=), NEGATOR = OPERATOR(gdpr.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR gdpr.<> (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_ne,
    COMMUTATOR = OPERATOR(gdpr.<>), NEGATOR = OPERATOR(gdpr.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR gdpr.< (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_lt,
    COMMUTATOR = OPERATOR(gdpr.>), NEGATOR = OPERATOR(gdpr.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR gdpr.<= (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_le,
    COMMUTATOR = OPERATOR(gdpr.>=), NEGATOR = OPERATOR(gdpr.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR gdpr.> (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_gt,
    COMMUTATOR = OPERATOR(gdpr.<), NEGATOR = OPERATOR(gdpr.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR gdpr.>= (LEFTARG = gdpr.sealed, RIGHTARG = gdpr.sealed, FUNCTION = gdpr.sealed_ge,
    COMMUTATOR = OPERATOR(gdpr.<=), NEGATOR = OPERATOR(gdpr.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);

CREATE OPERATOR CLASS gdpr.sealed_ops DEFAULT FOR TYPE gdpr.sealed USING btree AS
    OPERATOR 1 gdpr.<, OPERATOR 2 gdpr.<=, OPERATOR 3 gdpr.=, OPERATOR 4 gdpr.>=, OPERATOR 5 gdpr.>,
    FUNCTION 1 gdpr.sealed_cmp(gdpr.sealed, gdpr.sealed);
CREATE OPERATOR CLASS gdpr.sealed_ops DEFAULT FOR TYPE gdpr.sealed USING hash AS
    OPERATOR 1 gdpr.=,
    FUNCTION 1 gdpr.sealed_hash(gdpr.sealed),
    FUNCTION 2 gdpr.sealed_hash_extended(gdpr.sealed, bigint);

CREATE FUNCTION gdpr.subject_number(gdpr.sealed) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_subject_number';
COMMENT ON FUNCTION gdpr.subject_number(gdpr.sealed) IS
    'the number of the person a row belongs to, from the clear header of its envelope';
CREATE FUNCTION gdpr.subject_numbers(gdpr.sealed) RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_subject_numbers';
COMMENT ON FUNCTION gdpr.subject_numbers(gdpr.sealed) IS
    'the numbers of all persons who have values in an envelope, the row''s own first';

CREATE FUNCTION gdpr.has_values(gdpr.sealed, bigint, smallint) RETURNS boolean
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_has_values';
COMMENT ON FUNCTION gdpr.has_values(gdpr.sealed, bigint, smallint) IS
    'whether an envelope holds values of a person (NULL: of anybody), in one category unless that is NULL';

CREATE FUNCTION gdpr.is_sealed(gdpr.sealed, integer, integer, VARIADIC "any") RETURNS boolean
    LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'gdpr_is_sealed';
COMMENT ON FUNCTION gdpr.is_sealed(gdpr.sealed, integer, integer, VARIADIC "any") IS
    'the CHECK constraint of protected tables: envelope, table id, number of key columns, then the key columns and the personal columns; true if the envelope is well-formed and its digest matches them';

-- Values of column_ref exist only in plans, so what takes one cannot be called from SQL.
CREATE TYPE gdpr.column_ref;
CREATE FUNCTION gdpr.column_ref_in(cstring) RETURNS gdpr.column_ref
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_column_ref_in';
COMMENT ON FUNCTION gdpr.column_ref_in(cstring) IS 'always an error: a column_ref cannot be written';
CREATE FUNCTION gdpr.column_ref_out(gdpr.column_ref) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_column_ref_out';
COMMENT ON FUNCTION gdpr.column_ref_out(gdpr.column_ref) IS 'the name of the column, for EXPLAIN';
CREATE TYPE gdpr.column_ref (
    INPUT = gdpr.column_ref_in,
    OUTPUT = gdpr.column_ref_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4
);
COMMENT ON TYPE gdpr.column_ref IS 'a column of the data map, inside plans only';

CREATE FUNCTION gdpr.reveal(gdpr.sealed, gdpr.column_ref, VARIADIC "any") RETURNS "any"
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'gdpr_reveal';
COMMENT ON FUNCTION gdpr.reveal(gdpr.sealed, gdpr.column_ref, VARIADIC "any") IS
    'the value of a personal column; only the planner can call it';
CREATE FUNCTION gdpr.reveal_stored(gdpr.sealed, gdpr.column_ref, "any", VARIADIC "any") RETURNS "any"
    LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'gdpr_reveal_stored';
COMMENT ON FUNCTION gdpr.reveal_stored(gdpr.sealed, gdpr.column_ref, "any", VARIADIC "any") IS
    'the value of a personal column while its table is converted, from the envelope or as it is stored; only the planner can call it';
CREATE FUNCTION gdpr.reveal_row(anyelement, gdpr.column_ref) RETURNS anyelement
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'gdpr_reveal_row';
COMMENT ON FUNCTION gdpr.reveal_row(anyelement, gdpr.column_ref) IS
    'a whole row with its personal columns revealed; only the planner can call it';
CREATE FUNCTION gdpr.token("any", gdpr.column_ref) RETURNS "any"
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'gdpr_token';
COMMENT ON FUNCTION gdpr.token("any", gdpr.column_ref) IS
    'what stands in a searchable column for a value; only the planner can call it';
-- cheaper than reveal(), so that values are opened only where the token is one of these
CREATE FUNCTION gdpr.token_array("any", gdpr.column_ref) RETURNS "any"
    LANGUAGE c STABLE STRICT PARALLEL SAFE COST 40 AS 'MODULE_PATHNAME', 'gdpr_token_array';
COMMENT ON FUNCTION gdpr.token_array("any", gdpr.column_ref) IS
    'the tokens of the elements of an array; only the planner can call it';
CREATE FUNCTION gdpr.mark(gdpr.sealed, bytea, gdpr.column_ref) RETURNS gdpr.sealed
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_mark';
COMMENT ON FUNCTION gdpr.mark(gdpr.sealed, bytea, gdpr.column_ref) IS
    'an envelope with the ids of the columns that a statement assigns; only the planner can call it';
-- What WHEN conditions of triggers on protected tables are translated to. They work there only, so that everybody
-- who may write to the table can have them evaluated.
CREATE FUNCTION gdpr.trigger_value(record, anyelement) RETURNS anyelement
    LANGUAGE c STABLE COST 50 AS 'MODULE_PATHNAME', 'gdpr_trigger_value';
COMMENT ON FUNCTION gdpr.trigger_value(record, anyelement) IS
    'in WHEN of a trigger on a protected table: the value of a column of OLD or NEW, as far as the session may see it';
CREATE FUNCTION gdpr.trigger_row(anyelement) RETURNS anyelement
    LANGUAGE c STABLE STRICT COST 100 AS 'MODULE_PATHNAME', 'gdpr_trigger_row';
COMMENT ON FUNCTION gdpr.trigger_row(anyelement) IS
    'in WHEN of a trigger on a protected table: OLD or NEW with its values, as far as the session may see them';
CREATE FUNCTION gdpr.suppress_redundant_updates_trigger() RETURNS trigger
    LANGUAGE internal AS 'suppress_redundant_updates_trigger';
COMMENT ON FUNCTION gdpr.suppress_redundant_updates_trigger() IS
    'what suppress_redundant_updates_trigger() is on a protected table';
CREATE FUNCTION gdpr.tsvector_update_trigger() RETURNS trigger LANGUAGE internal AS 'tsvector_update_trigger_byid';
COMMENT ON FUNCTION gdpr.tsvector_update_trigger() IS 'what tsvector_update_trigger() is on a protected table';
CREATE FUNCTION gdpr.tsvector_update_trigger_column() RETURNS trigger LANGUAGE internal AS 'tsvector_update_trigger_bycolumn';
COMMENT ON FUNCTION gdpr.tsvector_update_trigger_column() IS 'what tsvector_update_trigger_column() is on a protected table';

CREATE FUNCTION gdpr.recheck_support(internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'gdpr_recheck_support';
COMMENT ON FUNCTION gdpr.recheck_support(internal) IS 'planner support of gdpr.recheck';
CREATE FUNCTION gdpr.recheck(boolean, gdpr.column_ref) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE SUPPORT gdpr.recheck_support AS 'MODULE_PATHNAME', 'gdpr_recheck';
COMMENT ON FUNCTION gdpr.recheck(boolean, gdpr.column_ref) IS
    'its argument: the comparison of values beside the comparison of tokens; only the planner can call it';
