/*
 * codec.c
 *		Values of SQL types as bytes that mean the same in every session,
 *		server and version.
 *
 * Built-in scalar types go in their binary send form, which is documented and
 * does not depend on settings.  Everything that holds catalog OIDs, or text
 * that the send functions would convert to the client's encoding, goes as the
 * type's output; where that depends on settings, they are pinned.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "codec.h"
#include "compat.h"
#include "errors.h"

/* Is typid sent in a binary form without text or OIDs inside? */
static bool
sends_plain_binary(Oid typid)
{
	switch (typid)
	{
		case NUMERICOID:
		case INTERVALOID:
		case TIMETZOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case BITOID:
		case VARBITOID:
		case POINTOID:
		case LSEGOID:
		case PATHOID:
		case BOXOID:
		case POLYGONOID:
		case LINEOID:
		case CIRCLEOID:
			return true;
		default:
			return false;
	}
}

static bool
fixed_by_value(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case CASHOID:
			return true;
		default:
			return false;
	}
}

/* Does the type print its payload as it is, as text and citext do? */
static bool
prints_payload(Oid typoutput)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(typoutput));
	bool		result = false;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", typoutput);
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == INTERNALlanguageId)
	{
		Datum		source = SysCacheGetAttrNotNull(PROCOID, tuple,
													Anum_pg_proc_prosrc);
		char	   *name = TextDatumGetCString(source);

		result = strcmp(name, "textout") == 0;
		pfree(name);
	}
	ReleaseSysCache(tuple);
	return result;
}

bool
codec_is_string(Oid typid)
{
	Oid			typoutput;
	bool		is_varlena;

	if (typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID)
		return true;
	if (typid < FirstNormalObjectId)
		return false;
	getTypeOutputInfo(typid, &typoutput, &is_varlena);
	return prints_payload(typoutput);
}

static CodecKind
codec_kind(Oid typid, char typtype, Oid typoutput, bool *is_text)
{
	Oid			element = get_element_type(typid);

	*is_text = false;
	if (fixed_by_value(typid))
		return CODEC_FIXED;
	if (typid == UUIDOID)
		return CODEC_UUID;
	if (typid == BYTEAOID)
		return CODEC_BYTES;
	if (sends_plain_binary(typid) ||
		(OidIsValid(element) && element < FirstGenbkiObjectId &&
		 (sends_plain_binary(element) || fixed_by_value(element) ||
		  element == UUIDOID || element == BYTEAOID)))
		return CODEC_SEND;
	*is_text = true;
	if (typid == TEXTOID || typid == VARCHAROID || typid == BPCHAROID ||
		typid == JSONOID || typid == XMLOID || prints_payload(typoutput))
		return CODEC_BYTES;
	if (typid == JSONBOID || typtype == TYPTYPE_ENUM)
		return CODEC_TEXT;
	return CODEC_PINNED_TEXT;
}

const char *
codec_refusal(Oid typid)
{
	Oid			basetype = getBaseType(typid);
	Oid			relid = get_typ_typrelid(basetype);
	Oid			element = get_element_type(basetype);
	const char *reason = NULL;

	check_stack_depth();
	switch (basetype)
	{
		case PG_NODE_TREEOID:
		case PG_NDISTINCTOID:
		case PG_DEPENDENCIESOID:
		case PG_MCV_LISTOID:
		case PG_BRIN_BLOOM_SUMMARYOID:
		case PG_BRIN_MINMAX_MULTI_SUMMARYOID:
		case GTSVECTOROID:
			return "Values of this type have no input function that takes them.";
		case REGPROCOID:
		case REGOPEROID:
			return "Values of this type are known by names that may stand for several of them; regprocedure and regoperator are not.";
		default:
			break;
	}
	if (OidIsValid(element))
		return codec_refusal(element);
	if (OidIsValid(relid))
	{
		TupleDesc	desc = lookup_rowtype_tupdesc(basetype, -1);

		for (int i = 0; i < desc->natts && reason == NULL; i++)
			if (!TupleDescAttr(desc, i)->attisdropped)
				reason = codec_refusal(TupleDescAttr(desc, i)->atttypid);
		ReleaseTupleDesc(desc);
	}
	return reason;
}

/*
 * The codec of the most usual types, which takes no look at the catalog:
 * constraints and plans make theirs anew in every execution.
 */
static bool
init_builtin(Codec *codec, Oid typid)
{
	codec->typid = typid;
	codec->is_text = false;
	switch (typid)
	{
		case BOOLOID:
			codec->typlen = 1;
			break;
		case INT2OID:
			codec->typlen = 2;
			break;
		case INT4OID:
		case FLOAT4OID:
		case DATEOID:
			codec->typlen = 4;
			break;
		case INT8OID:
		case FLOAT8OID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case CASHOID:
			codec->typlen = 8;
			break;
		case UUIDOID:
			codec->kind = CODEC_UUID;
			codec->typlen = UUID_LEN;
			return true;
		case BYTEAOID:
			codec->kind = CODEC_BYTES;
			codec->typlen = -1;
			return true;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
			codec->kind = CODEC_BYTES;
			codec->typlen = -1;
			codec->is_text = true;
			return true;
		default:
			return false;
	}
	codec->kind = CODEC_FIXED;
	return true;
}

void
codec_init(Codec *codec, Oid typid, MemoryContext context)
{
	Oid			basetype;
	HeapTuple	tuple;
	Form_pg_type type;

	if (init_builtin(codec, typid))
		return;
	basetype = getBaseType(typid);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(basetype));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", basetype);
	type = (Form_pg_type) GETSTRUCT(tuple);
	memset(codec, 0, sizeof(*codec));
	codec->typid = basetype;
	codec->typlen = type->typlen;
	codec->kind = codec_kind(basetype, type->typtype, type->typoutput,
							 &codec->is_text);
	codec->ioparam = getTypeIOParam(tuple);
	if (codec->kind == CODEC_SEND)
	{
		fmgr_info_cxt(type->typsend, &codec->out, context);
		fmgr_info_cxt(type->typreceive, &codec->in, context);
	}
	else
	{
		fmgr_info_cxt(type->typoutput, &codec->out, context);
		fmgr_info_cxt(type->typinput, &codec->in, context);
	}
	ReleaseSysCache(tuple);
}

/* Settings that the output or input of a type may depend on. */
static int
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "iso_8601"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"},
		{"TimeZone", "UTC"},
		{"search_path", "pg_catalog, pg_temp"},
		{"xmloption", "content"},
		{"xmlbinary", "base64"},
		{"lc_monetary", "C"},
		{"lc_numeric", "C"}
	};
	int			level = NewGUCNestLevel();
	size_t		i;

	for (i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

static void
encode_fixed(Datum value, int16 typlen, StringInfo out)
{
	switch (typlen)
	{
		case 1:
			pq_writeint8(out, DatumGetUInt8(value));
			break;
		case 2:
			pq_writeint16(out, DatumGetUInt16(value));
			break;
		case 4:
			pq_writeint32(out, DatumGetUInt32(value));
			break;
		default:
			pq_writeint64(out, DatumGetUInt64(value));
			break;
	}
}

void
codec_encode(Codec *codec, Datum value, StringInfo out)
{
	switch (codec->kind)
	{
		case CODEC_FIXED:
			enlargeStringInfo(out, 8);
			encode_fixed(value, codec->typlen, out);
			break;
		case CODEC_BYTES:
			{
				struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

				appendBinaryStringInfo(out, VARDATA_ANY(bytes),
									   VARSIZE_ANY_EXHDR(bytes));
				if ((Pointer) bytes != DatumGetPointer(value))
					pfree(bytes);
				break;
			}
		case CODEC_UUID:
			appendBinaryStringInfo(out, (char *) DatumGetUUIDP(value)->data,
								   UUID_LEN);
			break;
		case CODEC_SEND:
			{
				bytea	   *bytes = SendFunctionCall(&codec->out, value);

				appendBinaryStringInfo(out, VARDATA(bytes),
									   VARSIZE(bytes) - VARHDRSZ);
				pfree(bytes);
				break;
			}
		case CODEC_TEXT:
		case CODEC_PINNED_TEXT:
			{
				int			level = 0;
				char	   *text;

				if (codec->kind == CODEC_PINNED_TEXT)
					level = pin_settings();
				text = OutputFunctionCall(&codec->out, value);
				if (codec->kind == CODEC_PINNED_TEXT)
					AtEOXact_GUC(true, level);
				appendStringInfoString(out, text);
				pfree(text);
				break;
			}
	}
}

static Datum
decode_fixed(const char *bytes, int16 typlen)
{
	uint16		u16;
	uint32		u32;
	uint64		u64;

	switch (typlen)
	{
		case 1:
			return UInt8GetDatum((uint8) bytes[0]);
		case 2:
			memcpy(&u16, bytes, 2);
			return Int16GetDatum((int16) pg_ntoh16(u16));
		case 4:
			memcpy(&u32, bytes, 4);
			return Int32GetDatum((int32) pg_ntoh32(u32));
		default:
			memcpy(&u64, bytes, 8);
			return Int64GetDatum((int64) pg_ntoh64(u64));
	}
}

static void damaged_value(Oid typid) pg_attribute_noreturn();

static void
damaged_value(Oid typid)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_DAMAGED),
			 errmsg("sealed value is not a value of type %s",
					format_type_be(typid)),
			 errhint("If the type was changed since the value was sealed, change it back.")));
}

/*
 * The type's input function.  What it says of a text that it does not take
 * would quote a personal value, in the server's log also.
 */
static Datum
input_text(Codec *codec, char *text, int32 typmod)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum value = (Datum) 0;

	PG_TRY();
	{
		value = InputFunctionCall(&codec->in, text, codec->ioparam, typmod);
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category != ERRCODE_DATA_EXCEPTION &&
			category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		damaged_value(codec->typid);
	}
	PG_END_TRY();
	return value;
}

/* bytes as characters of the database's encoding, NUL-terminated */
static char *
decode_characters(const char *bytes, int len, int encoding, int *outlen)
{
	char	   *copy = pnstrdup(bytes, len);
	char	   *text = copy;

	if (encoding != GetDatabaseEncoding())
		text = (char *) pg_do_encoding_conversion((unsigned char *) copy, len,
												  encoding,
												  GetDatabaseEncoding());
	*outlen = (text == copy) ? len : (int) strlen(text);
	return text;
}

Datum
codec_decode(Codec *codec, const char *bytes, int len, int32 typmod,
			 int encoding)
{
	switch (codec->kind)
	{
		case CODEC_FIXED:
			if (len != codec->typlen)
				damaged_value(codec->typid);
			return decode_fixed(bytes, codec->typlen);
		case CODEC_UUID:
			{
				pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

				if (len != UUID_LEN)
					damaged_value(codec->typid);
				memcpy(uuid->data, bytes, UUID_LEN);
				return UUIDPGetDatum(uuid);
			}
		case CODEC_BYTES:
			if (codec->is_text && encoding != GetDatabaseEncoding())
			{
				char	   *text = decode_characters(bytes, len, encoding, &len);

				return PointerGetDatum(cstring_to_text_with_len(text, len));
			}
			return PointerGetDatum(cstring_to_text_with_len(bytes, len));
		case CODEC_SEND:
			{
				StringInfoData in;

				initStringInfo(&in);
				appendBinaryStringInfo(&in, bytes, len);
				return ReceiveFunctionCall(&codec->in, &in, codec->ioparam,
										   typmod);
			}
		case CODEC_TEXT:
		case CODEC_PINNED_TEXT:
			{
				char	   *text = decode_characters(bytes, len, encoding, &len);
				int			level = 0;
				Datum		value;

				if (codec->kind == CODEC_PINNED_TEXT)
					level = pin_settings();
				value = input_text(codec, text, typmod);
				if (codec->kind == CODEC_PINNED_TEXT)
					AtEOXact_GUC(true, level);
				return value;
			}
	}
	elog(ERROR, "unknown kind of codec: %d", (int) codec->kind);
	return (Datum) 0;			/* keep the compiler quiet */
}
