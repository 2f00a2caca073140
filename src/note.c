/*
 * note.c
 *		Notes: gdpr.make_note, gdpr.open_note.
 *
 * A note is a jsonb value in an envelope of one segment.  Its table id and
 * category are those of no table and no column, so that it is never taken for
 * a row, and is readable until the person is forgotten as a whole.  Kind and
 * id of the record that it belongs to are its row key: in another record it
 * does not authenticate.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "audit.h"
#include "codec.h"
#include "compat.h"
#include "crypto.h"
#include "envelope.h"
#include "errors.h"
#include "keystore.h"
#include "note.h"
#include "sealed.h"

#define NOTE_ENTRY			1	/* in place of a column's id */

PG_FUNCTION_INFO_V1(gdpr_make_note);
PG_FUNCTION_INFO_V1(gdpr_open_note);

/* The row key, as of a table with key columns kind and id. */
static void
note_key(Datum kind, Datum id, StringInfo out)
{
	Codec		codec;

	initStringInfo(out);
	codec_init(&codec, TEXTOID, CurrentMemoryContext);
	sealed_append_value(out, &codec, kind, false);
	codec_init(&codec, UUIDOID, CurrentMemoryContext);
	sealed_append_value(out, &codec, id, false);
}

static void
fill_header(EnvelopeHeader *header, uint64 number, const StringInfo rowkey)
{
	StringInfoData nothing;

	memset(header, 0, sizeof(*header));
	header->token_epoch = 1;
	header->encoding = (uint8) GetDatabaseEncoding();
	header->number = number;
	header->table_id = NOTE_TABLE_ID;
	header->nsegments = 1;
	initStringInfo(&nothing);
	sealed_digest(NOTE_TABLE_ID, 1, rowkey, &nothing, header->digest);
	pfree(nothing.data);
}

/* The envelope of a value's bytes; nothing can fail while there are copies. */
static bytea *
seal_value(const EnvelopeHeader *header, const StringInfo rowkey,
		   const StringInfo value)
{
	size_t		len = envelope_padded_length(envelope_entry_bytes(NOTE_ENTRY, value->len));
	uint8	   *plain = palloc0(len);
	bytea	   *result = palloc(VARHDRSZ + ENVELOPE_HEADER_MAX +
								envelope_segment_bytes(len));
	uint8	   *out = (uint8 *) VARDATA(result);
	uint8		key[KEYSTORE_KEY_BYTES];
	size_t		headerlen;
	size_t		size;

	if (!keystore_derive(header->number, NOTE_CATEGORY, 0, key))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_FORGOTTEN),
				 errmsg("subject " UINT64_FORMAT " was forgotten", header->number),
				 errhint("Enter the person anew, as a new row.")));
	envelope_write_entry(plain, NOTE_ENTRY, (uint8 *) value->data, value->len);
	headerlen = envelope_write_header(out, header);
	size = envelope_seal_segment(out + headerlen, header, NOTE_CATEGORY, 0, 0,
								 header->number, (uint8 *) rowkey->data,
								 rowkey->len, key, plain, len);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(plain, len);
	pfree(plain);
	if (size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not seal a note")));
	SET_VARSIZE(result, VARHDRSZ + headerlen + size);
	return result;
}

Datum
note_make(uint64 number, Datum kind, Datum id, Datum note)
{
	StringInfo	value;
	StringInfoData rowkey;
	EnvelopeHeader header;
	Codec		codec;
	bytea	   *volatile result = NULL;

	note_key(kind, id, &rowkey);
	fill_header(&header, number, &rowkey);
	codec_init(&codec, JSONBOID, CurrentMemoryContext);
	value = makeStringInfo();
	PG_TRY();
	{
		codec_encode(&codec, note, value);
		result = seal_value(&header, &rowkey, value);
	}
	PG_FINALLY();
	{
		crypto_wipe(value->data, value->maxlen);
	}
	PG_END_TRY();
	return PointerGetDatum(result);
}

/*
 * gdpr.make_note(number, kind, id, note) RETURNS gdpr.sealed
 *
 * Whether the number was given out is the caller's business: gdpr.seal_note.
 */
Datum
gdpr_make_note(PG_FUNCTION_ARGS)
{
	int64		number;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("number, kind or id of a note is NULL")));
	if (PG_ARGISNULL(3))
		PG_RETURN_NULL();
	number = PG_GETARG_INT64(0);
	if (number < (int64) KEYSTORE_FIRST_NUMBER ||
		number > (int64) KEYSTORE_MAX_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("subject number is out of range")));
	PG_RETURN_DATUM(note_make((uint64) number, PG_GETARG_DATUM(1),
							  PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)));
}

static void damaged_note(Datum kind) pg_attribute_noreturn();

static void
damaged_note(Datum kind)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_DAMAGED),
			 errmsg("a sealed note of kind \"%s\" is damaged",
					TextDatumGetCString(kind)),
			 errdetail("It does not authenticate in the record that it is in, or under the keystore of this database."),
			 errhint("Restore the record, or the keystore that belongs to this database.")));
}

/* The only segment of a note; false if this is not one. */
static bool
find_segment(const uint8 *buf, size_t len, EnvelopeHeader *header,
			 EnvelopeSegment *segment)
{
	size_t		offset = 0;

	return envelope_validate(buf, len) &&
		envelope_read_header(buf, len, header) &&
		header->table_id == NOTE_TABLE_ID && header->nsegments == 1 &&
		envelope_next_segment(buf, len, header, &offset, segment) &&
		segment->category == NOTE_CATEGORY && segment->via == 0 &&
		segment->number == header->number;
}

static Datum
decode_note(const uint8 *plain, size_t len, int encoding, Datum kind)
{
	size_t		offset = 0;
	uint32_t	id;
	const uint8 *bytes;
	int64_t		valuelen;
	bool		ok;
	Codec		codec;

	if (!envelope_next_entry(plain, len, &offset, &id, &bytes, &valuelen, &ok) ||
		id != NOTE_ENTRY || valuelen < 0)
		damaged_note(kind);
	codec_init(&codec, JSONBOID, CurrentMemoryContext);
	return codec_decode(&codec, (const char *) bytes, (int) valuelen, -1,
						encoding);
}

/*
 * gdpr.open_note(kind, id, envelope) RETURNS jsonb
 *
 * NULL if the person was forgotten.
 */
Datum
gdpr_open_note(PG_FUNCTION_ARGS)
{
	bytea	   *sealed;
	StringInfoData rowkey;
	EnvelopeHeader header;
	EnvelopeSegment segment;
	uint8		key[KEYSTORE_KEY_BYTES];
	uint8	   *plain;
	bool		ok;
	volatile Datum result = (Datum) 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind or id of a note is NULL")));
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	sealed = PG_GETARG_BYTEA_PP(2);
	if (!find_segment((uint8 *) VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed),
					  &header, &segment))
		damaged_note(PG_GETARG_DATUM(0));

	note_key(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), &rowkey);
	plain = palloc(segment.len + 1);
	if (!keystore_derive(segment.number, segment.category, segment.month, key))
		PG_RETURN_NULL();
	ok = envelope_open_segment(&header, &segment, (uint8 *) rowkey.data,
							   rowkey.len, key, plain);
	crypto_wipe(key, sizeof(key));
	if (!ok)
		damaged_note(PG_GETARG_DATUM(0));
	audit_touch_own("gdpr.note", TextDatumGetCString(PG_GETARG_DATUM(0)), segment.number);
	PG_TRY();
	{
		result = decode_note(plain, segment.len, header.encoding,
							 PG_GETARG_DATUM(0));
	}
	PG_FINALLY();
	{
		crypto_wipe(plain, segment.len);
	}
	PG_END_TRY();
	pfree(plain);
	PG_RETURN_DATUM(result);
}
