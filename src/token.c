/*
 * token.c
 *		Tokens and placeholders.
 *
 * A token is HMAC-SHA-256 of the normalized value under the key of its token
 * domain and epoch, shortened and written in the column's own type.  Text-like
 * tokens use a single-case alphabet, so that an index on lower(column) holds
 * the same tokens.  Equal values of a domain have equal tokens; different
 * values have different ones but for a chance of 2^-63 (2^-96 where UNIQUE),
 * so every match is checked again on the value.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/datum.h"
#include "utils/datum.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "codec.h"
#include "crypto.h"
#include "errors.h"
#include "keystore.h"
#include "policy.h"
#include "token.h"

#define TOKEN_MAC_BYTES			32
#define TOKEN_BYTEA_BYTES		16
#define TOKEN_NUMERIC_BYTES		12	/* 96 bits: 29 digits */
#define TOKEN_NUMERIC_DIGITS	29
#define TOKEN_NUMERIC_MIN_BYTES	8	/* 64 bits: 20 digits */
#define TOKEN_NUMERIC_MIN_DIGITS 20

PG_FUNCTION_INFO_V1(gdpr_token);
PG_FUNCTION_INFO_V1(gdpr_token_array);
PG_FUNCTION_INFO_V1(gdpr_recheck);
PG_FUNCTION_INFO_V1(gdpr_recheck_support);

typedef enum TokenForm
{
	TOKEN_NONE,
	TOKEN_TEXT,					/* text, varchar, bpchar, citext */
	TOKEN_UUID,
	TOKEN_BYTEA,
	TOKEN_NUMERIC,
	TOKEN_BIGINT
} TokenForm;

/* An enum, say, may have that name too. */
static bool
is_citext(Oid typid)
{
	HeapTuple	tuple;
	bool		result;

	if (typid < FirstNormalObjectId || !codec_is_string(typid))
		return false;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname),
					"citext") == 0;
	ReleaseSysCache(tuple);
	return result;
}

static TokenForm
token_form(Oid typid)
{
	switch (typid)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return TOKEN_TEXT;
		case UUIDOID:
			return TOKEN_UUID;
		case BYTEAOID:
			return TOKEN_BYTEA;
		case NUMERICOID:
			return TOKEN_NUMERIC;
		case INT8OID:
			return TOKEN_BIGINT;
		default:
			return is_citext(typid) ? TOKEN_TEXT : TOKEN_NONE;
	}
}

int
token_width(Oid basetypid, int32 typmod, bool unique, const char **reason)
{
	*reason = NULL;
	switch (token_form(basetypid))
	{
		case TOKEN_TEXT:
			{
				int			chars = TOKEN_TEXT_CHARS;

				if (typmod >= (int32) VARHDRSZ)
					chars = Min(chars, typmod - VARHDRSZ);
				if (chars < (unique ? TOKEN_TEXT_MIN_UNIQUE : TOKEN_TEXT_MIN))
				{
					*reason = unique ?
						"a UNIQUE searchable column must have room for 20 characters" :
						"a searchable column must have room for 13 characters";
					return 0;
				}
				return chars;
			}
		case TOKEN_UUID:
			return UUID_LEN;
		case TOKEN_BYTEA:
			return TOKEN_BYTEA_BYTES;
		case TOKEN_NUMERIC:
			{
				int			digits = NUMERIC_MAX_PRECISION;

				if (typmod >= (int32) VARHDRSZ)
					digits = ((typmod - VARHDRSZ) >> 16 & 0xFFFF) -
						((((typmod - VARHDRSZ) & 0x7FF) ^ 1024) - 1024);
				if (digits >= TOKEN_NUMERIC_DIGITS)
					return TOKEN_NUMERIC_BYTES;
				if (!unique && digits >= TOKEN_NUMERIC_MIN_DIGITS)
					return TOKEN_NUMERIC_MIN_BYTES;
				*reason = unique ?
					"a UNIQUE searchable numeric column must have room for 29 digits before the decimal point" :
					"a searchable numeric column must have room for 20 digits before the decimal point";
				return 0;
			}
		case TOKEN_BIGINT:
			if (!unique)
				return sizeof(int64);
			*reason = "a token of type bigint is too short where it must be UNIQUE";
			return 0;
		case TOKEN_NONE:
			break;
	}
	*reason = "only text, varchar, char, citext, uuid, bytea, numeric and bigint columns can be searchable";
	return 0;
}

/*
 * The bytes that equal values have in common, whatever the session: for text
 * in UTF-8, lower-cased where the column says so (citext always).
 */
static void
normalized_bytes(const ColumnMap *column, Oid typid, Datum value,
				 StringInfo out)
{
	switch (token_form(typid))
	{
		case TOKEN_TEXT:
			{
				text	   *t = DatumGetTextPP(value);
				char	   *s = VARDATA_ANY(t);
				int			len = VARSIZE_ANY_EXHDR(t);
				char	   *utf8;

				/* trailing blanks of char(n) do not count */
				if (typid == BPCHAROID || column->basetypid == BPCHAROID)
					len = bpchartruelen(s, len);
				if (column->normalize == NORMALIZE_LOWER ||
					is_citext(column->basetypid))
				{
					s = str_tolower(s, len, DEFAULT_COLLATION_OID);
					len = strlen(s);
				}
				/* bytes of unknown encoding are what they are */
				utf8 = GetDatabaseEncoding() == PG_SQL_ASCII ? s :
					pg_server_to_any(s, len, PG_UTF8);
				appendBinaryStringInfo(out, utf8,
									   utf8 == s ? len : (int) strlen(utf8));
				break;
			}
		case TOKEN_UUID:
			appendBinaryStringInfo(out, (char *) DatumGetUUIDP(value)->data,
								   UUID_LEN);
			break;
		case TOKEN_BYTEA:
			{
				bytea	   *b = DatumGetByteaPP(value);

				appendBinaryStringInfo(out, VARDATA_ANY(b),
									   VARSIZE_ANY_EXHDR(b));
				break;
			}
		case TOKEN_NUMERIC:
			{
				Datum		trimmed = DirectFunctionCall1(numeric_trim_scale,
														  value);

				appendStringInfoString(out,
									   DatumGetCString(DirectFunctionCall1(numeric_out,
																		   trimmed)));
				break;
			}
		case TOKEN_BIGINT:
			appendStringInfo(out, INT64_FORMAT, DatumGetInt64(value));
			break;
		case TOKEN_NONE:
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("values of type %s have no token",
							format_type_be(typid))));
	}
}

static void
encode_base32(const uint8 *in, int chars, char *out)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	int			i;

	for (i = 0; i < chars; i++)
	{
		int			bit = i * 5;
		unsigned	window = (unsigned) in[bit / 8] << 8 | in[bit / 8 + 1];

		out[i] = alphabet[(window >> (11 - bit % 8)) & 0x1F];
	}
}

/* A whole number from the first bytes of mac: two halves, joined in decimal. */
static Datum
numeric_from_mac(const uint8 *mac, int bytes)
{
	int64		halves[2] = {0, 0};
	int			half = bytes / 2;
	Datum		scale = NumericGetDatum(int64_to_numeric(INT64CONST(1) << (half * 8)));
	int			i;

	for (i = 0; i < bytes; i++)
		halves[i / half] = halves[i / half] << 8 | mac[i];
	return DirectFunctionCall2(numeric_add,
							   DirectFunctionCall2(numeric_mul,
												   NumericGetDatum(int64_to_numeric(halves[0])),
												   scale),
							   NumericGetDatum(int64_to_numeric(halves[1])));
}

static Datum
token_from_mac(const ColumnMap *column, const uint8 *mac)
{
	switch (token_form(column->basetypid))
	{
		case TOKEN_TEXT:
			{
				char		chars[TOKEN_TEXT_CHARS];

				encode_base32(mac, column->token_bytes, chars);
				return PointerGetDatum(cstring_to_text_with_len(chars,
																column->token_bytes));
			}
		case TOKEN_UUID:
			{
				pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

				memcpy(uuid->data, mac, UUID_LEN);
				/* RFC 9562, version 8: made by an application's own rule */
				uuid->data[6] = (uuid->data[6] & 0x0F) | 0x80;
				uuid->data[8] = (uuid->data[8] & 0x3F) | 0x80;
				return UUIDPGetDatum(uuid);
			}
		case TOKEN_BYTEA:
			return PointerGetDatum(cstring_to_text_with_len((const char *) mac,
															column->token_bytes));
		case TOKEN_NUMERIC:
			return numeric_from_mac(mac, column->token_bytes);
		case TOKEN_BIGINT:
			{
				uint64		n;

				memcpy(&n, mac, sizeof(n));
				return Int64GetDatum((int64) (pg_ntoh64(n) & PG_INT64_MAX));
			}
		case TOKEN_NONE:
			break;
	}
	elog(ERROR, "column %d has no form of token", column->id);
	return (Datum) 0;			/* keep the compiler quiet */
}

static void
token_mac(const ColumnMap *column, int epoch, Oid typid, Datum value,
		  uint8 mac[TOKEN_MAC_BYTES])
{
	StringInfoData bytes;
	uint8		key[KEYSTORE_KEY_BYTES];
	bool		ok;

	initStringInfo(&bytes);
	normalized_bytes(column, typid, value, &bytes);
	if (!keystore_token_key((uint32) epoch, column->token_domain, key))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("the token key of column \"%s\" was destroyed",
						column->name),
				 errdetail("The tokens of table \"%s\" are of epoch %d, as in a backup from before gdpr.rotate_tokens().",
						   get_rel_name(column->table->relid), epoch),
				 errhint("CALL gdpr.rotate_tokens() gives its rows new tokens.")));
	ok = crypto_hmac_again(column->token_domain, key, (uint8 *) bytes.data,
						   bytes.len, mac);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(bytes.data, bytes.len);
	pfree(bytes.data);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a token")));
}

/* The token, in the column's type, of a value of type typid. */
static Datum
token_make(const ColumnMap *column, int epoch, Oid typid, Datum value)
{
	uint8		mac[TOKEN_MAC_BYTES];

	token_mac(column, epoch, typid, value, mac);
	return token_from_mac(column, mac);
}

uint32
token_hash(const ColumnMap *column, int form, Datum value)
{
	uint8		mac[TOKEN_MAC_BYTES];
	uint32		hash;

	token_mac(column, form, column->basetypid, value, mac);
	memcpy(&hash, mac, sizeof(hash));
	return hash;
}

/* Text whose input every value of a type accepts, NULL if there is none known. */
static const char *
placeholder_text(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
			return "false";
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case CASHOID:
			return "0";
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return "2000-01-01";
		case TIMEOID:
			return "00:00";
		case TIMETZOID:
			return "00:00+00";
		case INTERVALOID:
			return "0";
		case UUIDOID:
			return "00000000-0000-0000-0000-000000000000";
		case JSONOID:
		case JSONBOID:
			return "null";
		case INETOID:
		case CIDROID:
			return "0.0.0.0/32";
		case MACADDROID:
			return "00:00:00:00:00:00";
		case MACADDR8OID:
			return "00:00:00:00:00:00:00:00";
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case XMLOID:
			return "";
		default:
			if (OidIsValid(get_element_type(typid)))
				return "{}";
			if (is_citext(typid))
				return "";
			return NULL;
	}
}

/* The first label of an enum type; InvalidOid if it has none. */
static Oid
first_enum_label(Oid typid)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME,
										   ObjectIdGetDatum(typid));
	Oid			first = InvalidOid;
	float4		order = 0;
	int			i;

	for (i = 0; i < list->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		if (!OidIsValid(first) || label->enumsortorder < order)
		{
			first = label->oid;
			order = label->enumsortorder;
		}
	}
	ReleaseSysCacheList(list);
	return first;
}

bool
placeholder_exists(Oid typid)
{
	Oid			base = getBaseType(typid);

	return get_typtype(base) == TYPTYPE_ENUM ?
		OidIsValid(first_enum_label(base)) : placeholder_text(base) != NULL;
}

static Datum
placeholder_make(const ColumnMap *column)
{
	const char *text = placeholder_text(column->basetypid);
	Oid			input;
	Oid			ioparam;
	Datum		value;

	if (get_typtype(column->basetypid) == TYPTYPE_ENUM)
		return ObjectIdGetDatum(first_enum_label(column->basetypid));
	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("no placeholder is known for NOT NULL column \"%s\" of type %s",
						column->name, format_type_be(column->typid))));
	getTypeInputInfo(column->basetypid, &input, &ioparam);
	/* the settings that could matter here do not: ISO dates are always read */
	value = OidInputFunctionCall(input, unconstify(char *, text), ioparam,
								 column->typmod);
	return value;
}

Datum
physical_value(const ColumnMap *column, int form, Datum value, bool isnull,
			   bool *physical_isnull)
{
	*physical_isnull = form == 0 && isnull;
	if (form == 0)
		return value;
	if (column->searchable && !isnull)
		return token_make(column, form, column->basetypid, value);
	if (column->notnull)
		return placeholder_make(column);
	*physical_isnull = true;
	return (Datum) 0;
}

static bool
is_base32(const char *s, int len)
{
	int			i;

	for (i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '2' && s[i] <= '7')))
			return false;
	return true;
}

PhysicalForm
physical_form(const ColumnMap *column, Datum value)
{
	if (!column->searchable)
		return column->notnull &&
			datum_image_eq(value, placeholder_make(column),
						   get_typbyval(column->basetypid),
						   get_typlen(column->basetypid)) ?
			PHYSICAL_MAYBE : PHYSICAL_NO;
	if (token_form(column->basetypid) == TOKEN_TEXT)
	{
		text	   *t = DatumGetTextPP(value);
		int			len = VARSIZE_ANY_EXHDR(t);

		if (column->basetypid == BPCHAROID)
			len = bpchartruelen(VARDATA_ANY(t), len);
		return len == column->token_bytes && is_base32(VARDATA_ANY(t), len) ?
			PHYSICAL_YES : PHYSICAL_NO;
	}
	return PHYSICAL_MAYBE;
}

Datum
physical_erased(const ColumnMap *column, bool *physical_isnull)
{
	uint8		random[TOKEN_MAC_BYTES];

	*physical_isnull = !column->notnull;
	if (!column->notnull)
		return (Datum) 0;
	if (!column->searchable)
		return placeholder_make(column);
	/* NOT NULL and possibly UNIQUE: a token of nothing */
	if (!crypto_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	return token_from_mac(column, random);
}

static const ColumnMap *
token_column(Datum ref)
{
	ColumnMap  *column = datamap_column(column_ref_id(ref));

	if (column == NULL || !column->searchable)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("column %d is not searchable any more",
						column_ref_id(ref))));
	return column;
}

/*
 * A session that is not shown the column finds nothing by it.  It must not get
 * as far as comparing tokens: how many rows have one is in EXPLAIN ANALYZE and
 * in what cheaper conditions are called for.
 */
static bool
may_search(const ColumnMap *column, const char *context)
{
	PolicyQuestion *question = context == NULL ? policy_session() :
		policy_of_context(context);

	return policy_decide_column(question, column) == POLICY_REVEAL;
}

/*
 * fn_extra of token(): the last token, where the value comes from outside the
 * query.  A sequential scan asks for it with every row.
 */
typedef struct TokenState
{
	Oid			typid;			/* of the value, no domain */
	int16		typlen;
	bool		typbyval;
	bool		stable;			/* a constant or an external parameter */
	bool		known;
	const ColumnMap *column;
	uint64		version;		/* of the data map */
	uint64		generation;		/* of the keystore */
	Datum		value;
	Datum		token;
	bool		token_byval;
} TokenState;

static TokenState *
token_state(FmgrInfo *flinfo)
{
	TokenState *state = flinfo->fn_extra;

	if (state == NULL)
	{
		state = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(TokenState));
		state->typid = getBaseType(get_fn_expr_argtype(flinfo, 0));
		get_typlenbyval(state->typid, &state->typlen, &state->typbyval);
		state->stable = get_fn_expr_arg_stable(flinfo, 0);
		flinfo->fn_extra = state;
	}
	return state;
}

/* Is it the token of this value, under keys that are still the same? */
static bool
is_known(const TokenState *state, const ColumnMap *column, Datum value)
{
	return state->known && state->generation != 0 &&
		state->column == column &&
		state->version == datamap_version() &&
		state->generation == keystore_generation() &&
		datum_image_eq(value, state->value, state->typbyval, state->typlen);
}

static void
remember_token(TokenState *state, const ColumnMap *column, Datum value,
			   Datum token, uint64 generation, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	int16		typlen;

	if (state->known && !state->typbyval)
		pfree(DatumGetPointer(state->value));
	if (state->known && !state->token_byval)
		pfree(DatumGetPointer(state->token));
	state->known = false;
	get_typlenbyval(column->basetypid, &typlen, &state->token_byval);
	state->value = datumCopy(value, state->typbyval, state->typlen);
	state->token = datumCopy(token, state->token_byval, typlen);
	state->column = column;
	state->version = datamap_version();
	state->generation = generation;
	state->known = true;
	MemoryContextSwitchTo(old);
}

/*
 * gdpr.token(value "any", column gdpr.column_ref) RETURNS "any"
 *
 * The token of a value, in the type of the column; put into plans by the
 * rewrite.  NULL for a session that is not shown the column.
 */
Datum
gdpr_token(PG_FUNCTION_ARGS)
{
	TokenState *state = token_state(fcinfo->flinfo);
	const ColumnMap *column = token_column(PG_GETARG_DATUM(1));
	Datum		value = PG_GETARG_DATUM(0);
	uint64		generation;
	Datum		token;

	if (!may_search(column, column_ref_context(PG_GETARG_DATUM(1))))
		PG_RETURN_NULL();
	if (is_known(state, column, value))
		PG_RETURN_DATUM(state->token);
	generation = keystore_generation();
	token = token_make(column, column->table->form, state->typid, value);
	if (state->stable)
		remember_token(state, column, value, token, generation,
					   fcinfo->flinfo->fn_mcxt);
	PG_RETURN_DATUM(token);
}

/* What stands in the column for a value of type typid, in a form of the row. */
static Datum
stored_form(const ColumnMap *column, int form, Oid typid, Datum value)
{
	return form == 0 ? value : token_make(column, form, typid, value);
}

/*
 * gdpr.token_array(values "any", column gdpr.column_ref) RETURNS "any"
 *
 * The same for each element of an array; NULL elements stay NULL.  While the
 * table has rows in two forms, what stands for each element in either.
 */
Datum
gdpr_token_array(PG_FUNCTION_ARGS)
{
	const ColumnMap *column = token_column(PG_GETARG_DATUM(1));
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Oid			typid = ARR_ELEMTYPE(array);
	Oid			basetypid = getBaseType(typid);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	const TableMap *table = column->table;
	Datum	   *values;
	bool	   *nulls;
	Datum	   *both;
	int			n;
	int			m = 0;
	int			i;

	if (!may_search(column, column_ref_context(PG_GETARG_DATUM(1))))
		PG_RETURN_NULL();
	get_typlenbyvalalign(typid, &typlen, &typbyval, &typalign);
	deconstruct_array(array, typid, typlen, typbyval, typalign, &values,
					  &nulls, &n);
	if (datamap_in_transition(table))
	{
		both = palloc(sizeof(Datum) * 2 * Max(n, 1));
		for (i = 0; i < n; i++)
			if (!nulls[i])
			{
				both[m++] = stored_form(column, table->form, basetypid, values[i]);
				both[m++] = stored_form(column, table->other_form, basetypid,
										values[i]);
			}
		PG_RETURN_ARRAYTYPE_P(construct_array(both, m, typid, typlen, typbyval,
											  typalign));
	}
	for (i = 0; i < n; i++)
		if (!nulls[i])
			values[i] = token_make(column, table->form, basetypid, values[i]);
	PG_RETURN_ARRAYTYPE_P(construct_md_array(values, nulls, ARR_NDIM(array),
											 ARR_DIMS(array),
											 ARR_LBOUND(array), typid, typlen,
											 typbyval, typalign));
}

/*
 * gdpr.recheck(boolean, gdpr.column_ref) RETURNS boolean
 *
 * Its argument: the application's own comparison beside the implied
 * comparison of tokens.  NULL for a session that is not shown the column: the
 * comparison is of masks then, and must not be told apart from that of the
 * tokens, which are joined whoever asks.
 */
Datum
gdpr_recheck(PG_FUNCTION_ARGS)
{
	Datum		ref = PG_GETARG_DATUM(1);

	if (!may_search(token_column(ref), column_ref_context(ref)))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(PG_GETARG_BOOL(0));
}

/* The comparison of tokens has been counted: this one removes no more rows. */
Datum
gdpr_recheck_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSelectivity))
	{
		((SupportRequestSelectivity *) request)->selectivity = 1.0;
		PG_RETURN_POINTER(request);
	}
	PG_RETURN_POINTER(NULL);
}
