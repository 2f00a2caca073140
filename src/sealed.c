/*
 * sealed.c
 *		The SQL type gdpr.sealed: input, output, and what can be said of an
 *		envelope without keys.
 *
 * Nothing decrypts here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "crypto.h"
#include "datamap.h"
#include "errors.h"
#include "keystore.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_sealed_in);
PG_FUNCTION_INFO_V1(gdpr_sealed_out);
PG_FUNCTION_INFO_V1(gdpr_sealed_recv);
PG_FUNCTION_INFO_V1(gdpr_subject_number);
PG_FUNCTION_INFO_V1(gdpr_subject_numbers);
PG_FUNCTION_INFO_V1(gdpr_has_values);
PG_FUNCTION_INFO_V1(gdpr_is_sealed);
PG_FUNCTION_INFO_V1(gdpr_column_ref_in);
PG_FUNCTION_INFO_V1(gdpr_column_ref_out);

/* fn_extra of gdpr_is_sealed: a codec per argument after the third */
typedef struct CheckState
{
	int			ncodecs;
	Codec		codecs[FLEXIBLE_ARRAY_MEMBER];
} CheckState;

void
sealed_append_value(StringInfo out, Codec *codec, Datum value, bool isnull)
{
	int			start = out->len;
	uint32		length;

	if (isnull)
	{
		appendBinaryStringInfo(out, "\xFF\xFF\xFF\xFF", 4);
		return;
	}
	appendStringInfoSpaces(out, 4);
	codec_encode(codec, value, out);
	length = out->len - start - 4;
	if (codec->is_text && GetDatabaseEncoding() != PG_UTF8 &&
		GetDatabaseEncoding() != PG_SQL_ASCII)	/* that has no characters */
	{
		char	   *utf8 = pg_server_to_any(out->data + start + 4, length,
											PG_UTF8);

		if (utf8 != out->data + start + 4)
		{
			out->len = start + 4;
			length = strlen(utf8);
			appendBinaryStringInfo(out, utf8, length);
			pfree(utf8);
		}
	}
	length = pg_hton32(length);
	memcpy(out->data + start, &length, 4);
}

void
sealed_digest(uint32 table_id, int token_epoch, const StringInfo rowkey,
			  const StringInfo physical, uint8 digest[ENVELOPE_DIGEST_BYTES])
{
	StringInfoData message;
	uint8		hash[32];
	bool		ok;

	initStringInfo(&message);
	enlargeStringInfo(&message, 4 + rowkey->len + physical->len + 2);
	pq_sendint32(&message, table_id);
	appendBinaryStringInfo(&message, rowkey->data, rowkey->len);
	appendBinaryStringInfo(&message, physical->data, physical->len);
	if (token_epoch != 1)
		pq_sendint16(&message, token_epoch);
	ok = crypto_sha256((uint8 *) message.data, message.len, hash);
	pfree(message.data);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the digest of a row")));
	memcpy(digest, hash, ENVELOPE_DIGEST_BYTES);
}

/* Version (1), length of the context (2), context, the rest. */
struct varlena *
sealed_mark_make(uint8 version, const char *context, const void *rest,
				 size_t restlen)
{
	size_t		contextlen = column_context_size(context);
	bytea	   *mark = palloc(VARHDRSZ + 3 + contextlen + restlen);
	uint8	   *p = (uint8 *) VARDATA(mark);

	if (contextlen > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("purpose, channel and topic are too long")));
	SET_VARSIZE(mark, VARHDRSZ + 3 + contextlen + restlen);
	p[0] = version;
	p[1] = (uint8) (contextlen >> 8);
	p[2] = (uint8) contextlen;
	if (contextlen > 0)
		memcpy(p + 3, context, contextlen);
	if (restlen > 0)
		memcpy(p + 3 + contextlen, rest, restlen);
	return mark;
}

uint8
sealed_mark_version(const struct varlena *sealed)
{
	const uint8 *p = (const uint8 *) VARDATA_ANY(sealed);

	return VARSIZE_ANY_EXHDR(sealed) >= 3 &&
		(p[0] == ENVELOPE_MARKED || p[0] == ENVELOPE_OPENED) ? p[0] : 0;
}

static size_t
mark_context_size(const struct varlena *mark)
{
	const uint8 *p = (const uint8 *) VARDATA_ANY(mark);

	return (size_t) p[1] << 8 | p[2];
}

const char *
sealed_mark_context(const struct varlena *mark)
{
	return mark_context_size(mark) == 0 ? NULL :
		(const char *) VARDATA_ANY(mark) + 3;
}

const uint8 *
sealed_mark_rest(const struct varlena *mark, size_t *len)
{
	size_t		before = 3 + mark_context_size(mark);

	*len = VARSIZE_ANY_EXHDR(mark) - before;
	return (const uint8 *) VARDATA_ANY(mark) + before;
}

uint64
sealed_person(uint64 number)
{
	return number & ~KEYSTORE_KEEP_BIT;
}

uint64
sealed_row_person(const uint8 *buf, size_t len)
{
	EnvelopeHeader header;

	return envelope_read_header(buf, len, &header) ?
		sealed_person(header.number) : 0;
}

uint64
sealed_column_person(const uint8 *buf, size_t len, int via, int category)
{
	size_t		offset = 0;
	EnvelopeHeader header;
	EnvelopeSegment segment;

	if (!envelope_read_header(buf, len, &header))
		return 0;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
		if (segment.via == via &&
			(category < 0 || segment.category == category))
			return sealed_person(segment.number);
	return sealed_row_person(buf, len);
}

static void
refuse_malformed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("value is not a sealed envelope"),
			 errhint("Leave column gdpr_sealed out of the statement: the extension fills it.")));
}

Datum
gdpr_sealed_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int			textlen = strlen(text);
	int			size = textlen / 4 * 3 + 3; /* pg_b64_dec_len() overflows */
	bytea	   *result = palloc(VARHDRSZ + size);
	int			len;

	len = compat_b64_decode(text, textlen, (uint8 *) VARDATA(result), size);
	if (len < 0 || !envelope_validate((uint8 *) VARDATA(result), len))
		refuse_malformed();
	SET_VARSIZE(result, VARHDRSZ + len);
	PG_RETURN_BYTEA_P(result);
}

Datum
gdpr_sealed_out(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(sealed);
	int			size = (len + 2) / 3 * 4;	/* pg_b64_enc_len() overflows */
	char	   *result = palloc(size + 1);

	len = compat_b64_encode((uint8 *) VARDATA_ANY(sealed), len, result, size);
	if (len < 0)
		elog(ERROR, "could not encode an envelope");
	result[len] = '\0';
	PG_RETURN_CSTRING(result);
}

Datum
gdpr_sealed_recv(PG_FUNCTION_ARGS)
{
	StringInfo	in = (StringInfo) PG_GETARG_POINTER(0);
	int			len = in->len - in->cursor;
	bytea	   *result = palloc(VARHDRSZ + len);

	pq_copymsgbytes(in, VARDATA(result), len);
	if (!envelope_validate((uint8 *) VARDATA(result), len))
		refuse_malformed();
	SET_VARSIZE(result, VARHDRSZ + len);
	PG_RETURN_BYTEA_P(result);
}

/*
 * gdpr.subject_number(gdpr.sealed) RETURNS bigint
 *
 * The person a row belongs to.  NULL for an envelope that is being written.
 */
Datum
gdpr_subject_number(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_P_SLICE(0, 0, ENVELOPE_HEADER_MAX);
	EnvelopeHeader header;

	if (!envelope_read_header((uint8 *) VARDATA_ANY(sealed),
							  VARSIZE_ANY_EXHDR(sealed), &header))
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) sealed_person(header.number));
}

/*
 * gdpr.subject_numbers(gdpr.sealed) RETURNS bigint[]
 *
 * All persons an envelope names, each once, the row's own first.
 */
Datum
gdpr_subject_numbers(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	const uint8 *buf = (uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	size_t		offset = 0;
	EnvelopeHeader header;
	EnvelopeSegment segment;
	Datum	   *numbers;
	int			n = 0;
	int			i;

	if (!envelope_read_header(buf, len, &header))
		PG_RETURN_NULL();
	numbers = palloc(sizeof(Datum) * (header.nsegments + 1));
	numbers[n++] = Int64GetDatum((int64) sealed_person(header.number));
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		Datum		number = Int64GetDatum((int64) sealed_person(segment.number));

		for (i = 0; i < n; i++)
			if (numbers[i] == number)
				break;
		if (i == n)
			numbers[n++] = number;
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(numbers, n, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

bool
sealed_has_values(const uint8 *buf, size_t len, const uint64 *numbers,
				  int count, int category)
{
	size_t		offset = 0;
	EnvelopeHeader header;
	EnvelopeSegment segment;

	if (!envelope_read_header(buf, len, &header))
		return false;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		uint64		whose = sealed_person(segment.via == 0 ? header.number :
										  segment.number);
		int			i = 0;

		if (category >= 0 && segment.category != category)
			continue;
		while (i < count && numbers[i] != whose)
			i++;
		if (i < count || count == 0)
			return true;
	}
	return false;
}

/*
 * gdpr.has_values(envelope, number, category) RETURNS boolean
 *
 * Does the envelope hold values of this person, or of anybody if that is NULL
 * (in this category, unless that is NULL)?  What lies under another number of
 * the row's own person counts.
 */
Datum
gdpr_has_values(PG_FUNCTION_ARGS)
{
	bytea	   *sealed;
	uint64		number;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	sealed = PG_GETARG_BYTEA_PP(0);
	number = PG_ARGISNULL(1) ? 0 : (uint64) PG_GETARG_INT64(1);
	PG_RETURN_BOOL(sealed_has_values((uint8 *) VARDATA_ANY(sealed),
									 VARSIZE_ANY_EXHDR(sealed), &number,
									 number == 0 ? 0 : 1,
									 PG_ARGISNULL(2) ? -1 : PG_GETARG_INT16(2)));
}

static CheckState *
check_state(FunctionCallInfo fcinfo)
{
	CheckState *state = fcinfo->flinfo->fn_extra;
	int			n = PG_NARGS() - 3;
	int			i;

	if (state != NULL)
		return state;
	state = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
								   offsetof(CheckState, codecs) +
								   n * sizeof(Codec));
	state->ncodecs = n;
	for (i = 0; i < n; i++)
		codec_init(&state->codecs[i],
				   get_fn_expr_argtype(fcinfo->flinfo, i + 3),
				   fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/*
 * gdpr.is_sealed(envelope, table id, key columns, VARIADIC "any")
 *
 * False for a row that is not sealed, which includes one that a guard has not
 * finished: the last line of defence where triggers do not run.
 */
Datum
gdpr_is_sealed(PG_FUNCTION_ARGS)
{
	CheckState *state;
	bytea	   *sealed;
	EnvelopeHeader header;
	StringInfoData rowkey;
	StringInfoData physical;
	uint8		digest[ENVELOPE_DIGEST_BYTES];
	int			nkeys;
	int			i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_BOOL(false);
	nkeys = PG_GETARG_INT32(2);
	sealed = PG_GETARG_BYTEA_PP(0);
	if (!envelope_validate((uint8 *) VARDATA_ANY(sealed),
						   VARSIZE_ANY_EXHDR(sealed)))
		PG_RETURN_BOOL(false);
	envelope_read_header((uint8 *) VARDATA_ANY(sealed),
						 VARSIZE_ANY_EXHDR(sealed), &header);
	if (header.table_id != (uint32) PG_GETARG_INT32(1))
		PG_RETURN_BOOL(false);

	state = check_state(fcinfo);
	initStringInfo(&rowkey);
	initStringInfo(&physical);
	for (i = 0; i < state->ncodecs; i++)
		sealed_append_value(i < nkeys ? &rowkey : &physical,
							&state->codecs[i], PG_GETARG_DATUM(i + 3),
							PG_ARGISNULL(i + 3));
	sealed_digest(header.table_id, header.token_epoch, &rowkey, &physical, digest);
	pfree(rowkey.data);
	pfree(physical.data);
	PG_RETURN_BOOL(memcmp(digest, header.digest, sizeof(digest)) == 0);
}

Datum
gdpr_column_ref_in(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot accept a value of type %s", "gdpr.column_ref")));
	PG_RETURN_NULL();			/* keep the compiler quiet */
}

/* The column's or table's name, for EXPLAIN. */
Datum
gdpr_column_ref_out(PG_FUNCTION_ARGS)
{
	Datum		ref = PG_GETARG_DATUM(0);
	int32		id = column_ref_id(ref);
	bool		is_relation = (column_ref_flags(ref) & COLUMN_REF_RELATION) != 0;
	ColumnMap  *column = id > 0 && !is_relation ? datamap_column(id) : NULL;
	TableMap   *table = column ? column->table :
		is_relation ? datamap_lookup((Oid) id) : datamap_table(-id);
	char	   *name = table ? get_rel_name(table->relid) : NULL;

	if (name == NULL)
		PG_RETURN_CSTRING(psprintf("%d", id));
	PG_RETURN_CSTRING(column ? psprintf("%s.%s", name, column->name) : name);
}
