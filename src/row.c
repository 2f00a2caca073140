/*
 * row.c
 *		Rows of protected tables: opening their values, sealing them.
 *
 * Opened segments stay in a small cache until the end of the transaction, so
 * that reading several columns of a row costs one decryption.  An entry is
 * found by nonce, tag and what is authenticated with them, and is dead once
 * the keystore's generation has moved.  Its bytes are wiped when it is replaced.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "alias.h"
#include "codec.h"
#include "crypto.h"
#include "errors.h"
#include "keystore.h"
#include "row.h"
#include "sealed.h"
#include "token.h"

#define CACHE_ENTRIES		32
#define CACHE_ROWKEY_BYTES	64
#define CACHE_SMALL_BYTES	(64 * 1024)
#define INPUT_ENTRIES		256

/* One opened segment */
typedef struct OpenedSegment
{
	bool		valid;
	bool		forgotten;
	uint8		nonce[CRYPTO_NONCE_BYTES];
	uint8		tag[CRYPTO_TAG_BYTES];
	uint64		number;
	uint32		table_id;
	uint16		month;
	uint8		category;
	uint8		via;
	uint8		encoding;
	uint64		generation;
	size_t		rowkeylen;
	uint8		rowkey[CACHE_ROWKEY_BYTES];
	uint8	   *plain;
	size_t		len;
	size_t		size;			/* allocated */
} OpenedSegment;

static OpenedSegment cache[CACHE_ENTRIES];
static OpenedSegment large;		/* the last one that does not fit above */
static MemoryContext cache_context = NULL;
static uint32 cache_used = 0;	/* a bit for each entry with plaintext */

StaticAssertDecl(CACHE_ENTRIES <= 32, "a bit for each entry of the cache");

/* A segment that was sealed from what a role gave */
typedef struct InputSegment
{
	uint8		nonce[CRYPTO_NONCE_BYTES];
	uint8		tag[CRYPTO_TAG_BYTES];
	Oid			role;			/* InvalidOid: unused entry */
} InputSegment;

static InputSegment input[INPUT_ENTRIES];	/* a ring */
static int	input_next = 0;
static bool input_used = false;

static void
forget_opened(OpenedSegment *entry)
{
	if (entry->plain != NULL)
	{
		crypto_wipe(entry->plain, entry->size);
		pfree(entry->plain);
	}
	memset(entry, 0, sizeof(*entry));
}

static void
end_of_transaction(XactEvent event, void *arg)
{
	if (input_used)
		memset(input, 0, sizeof(input));
	input_used = false;
	while (cache_used != 0)
	{
		OpenedSegment *entry = &cache[pg_rightmost_one_pos32(cache_used)];

		cache_used &= cache_used - 1;
		if (entry->plain != NULL)
			crypto_wipe(entry->plain, entry->size);
		entry->valid = false;
	}
	if (large.plain != NULL)
		forget_opened(&large);
}

void
row_init(void)
{
	cache_context = AllocSetContextCreate(TopMemoryContext,
										  "gdpr opened segments",
										  ALLOCSET_DEFAULT_SIZES);
	RegisterXactCallback(end_of_transaction, NULL);
}

/* ---------- opening ---------- */

static Codec *
column_codec(ColumnMap *column)
{
	if (column->codec == NULL)
	{
		Codec	   *codec = MemoryContextAllocZero(column->table->context,
												   sizeof(Codec));

		codec_init(codec, column->typid, column->table->context);
		column->codec = codec;
	}
	return column->codec;
}

static void
make_key_codecs(TableMap *table)
{
	Codec	   *codecs = MemoryContextAllocZero(table->context,
												table->nkeys * sizeof(Codec));
	int			i;

	for (i = 0; i < table->nkeys; i++)
		codec_init(&codecs[i], get_atttype(table->relid, table->keys[i]),
				   table->context);
	table->key_codecs = codecs;
}

void
row_key_column(TableMap *table, int i, Datum value, bool isnull,
			   StringInfo out)
{
	if (table->key_codecs == NULL)
		make_key_codecs(table);
	sealed_append_value(out, &table->key_codecs[i], value, isnull);
}

void
row_key(TableMap *table, const Datum *values, const bool *isnull,
		StringInfo out)
{
	int			i;

	for (i = 0; i < table->nkeys; i++)
		row_key_column(table, i, values[table->keys[i] - 1],
					   isnull[table->keys[i] - 1], out);
}

static bool
same_segment(const OpenedSegment *entry, const EnvelopeHeader *header,
			 const EnvelopeSegment *segment, const uint8 *rowkey,
			 size_t rowkeylen)
{
	return entry->valid && entry->generation != 0 &&
		memcmp(entry->nonce, segment->nonce, CRYPTO_NONCE_BYTES) == 0 &&
		memcmp(entry->tag, segment->tag, CRYPTO_TAG_BYTES) == 0 &&
		entry->number == segment->number &&
		entry->table_id == header->table_id &&
		entry->encoding == header->encoding &&
		entry->category == segment->category &&
		entry->via == segment->via &&
		entry->month == segment->month &&
		entry->len == segment->len &&
		entry->rowkeylen == rowkeylen &&
		memcmp(entry->rowkey, rowkey, rowkeylen) == 0 &&
		entry->generation == keystore_generation();
}

static void
damaged_envelope(const TableMap *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_DAMAGED),
			 errmsg("a row of table \"%s\" has a damaged envelope",
					get_rel_name(table->relid)),
			 errdetail("Its sealed values do not authenticate under this row's key, or under the keystore of this database."),
			 errhint("Restore the row, or the keystore that belongs to this database.")));
}

/* The segment's plaintext, from the cache or opened into it. */
static OpenedSegment *
open_segment(const TableMap *table, const EnvelopeHeader *header,
			 const EnvelopeSegment *segment, const uint8 *rowkey,
			 size_t rowkeylen)
{
	int			slot = segment->nonce[0] % CACHE_ENTRIES;
	OpenedSegment *entry = segment->len > CACHE_SMALL_BYTES ? &large :
		&cache[slot];
	uint8		key[KEYSTORE_KEY_BYTES];
	uint64		generation;
	bool		ok;

	if (rowkeylen <= CACHE_ROWKEY_BYTES &&
		same_segment(entry, header, segment, rowkey, rowkeylen))
		return entry;

	entry->valid = false;
	generation = keystore_generation();
	if (entry->size < segment->len + 1)
	{
		forget_opened(entry);
		entry->plain = MemoryContextAlloc(cache_context, segment->len + 1);
		entry->size = segment->len + 1;
	}
	if (entry != &large)
		cache_used |= 1U << slot;
	entry->forgotten = !keystore_derive(segment->number, segment->category,
										segment->month, key);
	if (!entry->forgotten)
	{
		ok = envelope_open_segment(header, segment, rowkey, rowkeylen, key,
								   entry->plain);
		crypto_wipe(key, sizeof(key));
		if (!ok)
			damaged_envelope(table);
	}
	memcpy(entry->nonce, segment->nonce, CRYPTO_NONCE_BYTES);
	memcpy(entry->tag, segment->tag, CRYPTO_TAG_BYTES);
	entry->number = segment->number;
	entry->table_id = header->table_id;
	entry->encoding = header->encoding;
	entry->category = segment->category;
	entry->via = segment->via;
	entry->month = segment->month;
	entry->generation = generation;
	entry->len = segment->len;
	entry->rowkeylen = rowkeylen;
	if (rowkeylen <= CACHE_ROWKEY_BYTES)
	{
		memcpy(entry->rowkey, rowkey, rowkeylen);
		entry->valid = true;
	}
	return entry;
}

static bool
find_segment(const uint8 *buf, size_t len, const EnvelopeHeader *header,
			 int via, int category, EnvelopeSegment *segment)
{
	size_t		offset = 0;

	while (envelope_next_segment(buf, len, header, &offset, segment))
		if (segment->via == via && segment->category == category)
			return true;
	return false;
}

/* Find an entry in a segment's plaintext. */
static bool
find_entry(const TableMap *table, const OpenedSegment *opened, int32 id,
		   const uint8 **bytes, int64 *len)
{
	size_t		offset = 0;
	uint32_t	entry_id;
	int64_t		entry_len;
	bool		ok;

	while (envelope_next_entry(opened->plain, opened->len, &offset, &entry_id,
							   bytes, &entry_len, &ok))
		if (entry_id == (uint32_t) id)
		{
			*len = entry_len;
			return true;
		}
	if (!ok)
		damaged_envelope(table);
	return false;
}

/* row_open_bytes() after the header was read */
static RowValue
open_bytes(ColumnMap *column, const EnvelopeHeader *header, const uint8 *buf,
		   size_t len, const uint8 *rowkey, size_t rowkeylen,
		   const uint8 **bytes, int64 *valuelen, uint64 *number)
{
	EnvelopeSegment segment;
	OpenedSegment *opened;

	if (number != NULL)
		*number = header->number;
	if (!find_segment(buf, len, header, column->via, column->category,
					  &segment))
	{
		/* damage is never taken for NULL */
		if (!envelope_validate(buf, len))
			damaged_envelope(column->table);
		return ROW_ABSENT;
	}
	if (number != NULL)
		*number = segment.number;
	opened = open_segment(column->table, header, &segment, rowkey, rowkeylen);
	if (opened->forgotten)
		return ROW_FORGOTTEN;
	return find_entry(column->table, opened, column->id, bytes, valuelen) ?
		ROW_FOUND : ROW_ABSENT;
}

static void
read_header(const ColumnMap *column, const uint8 *buf, size_t len,
			EnvelopeHeader *header)
{
	if (!envelope_read_header(buf, len, header) ||
		header->table_id != (uint32) column->table->id)
		damaged_envelope(column->table);
}

RowValue
row_open_bytes(ColumnMap *column, const uint8 *buf, size_t len,
			   const uint8 *rowkey, size_t rowkeylen, const uint8 **bytes,
			   int64 *valuelen, uint64 *number)
{
	EnvelopeHeader header;

	read_header(column, buf, len, &header);
	return open_bytes(column, &header, buf, len, rowkey, rowkeylen, bytes,
					  valuelen, number);
}

Datum
row_decode(ColumnMap *column, const uint8 *bytes, int64 len, int encoding)
{
	return codec_decode(column_codec(column), (const char *) bytes, (int) len,
						column->typmod, encoding);
}

RowValue
row_open_value(ColumnMap *column, const uint8 *buf, size_t len,
			   const uint8 *rowkey, size_t rowkeylen, Datum *value,
			   bool *isnull, uint64 *number)
{
	const uint8 *bytes;
	int64		valuelen;
	EnvelopeHeader header;
	RowValue	result;

	read_header(column, buf, len, &header);
	result = open_bytes(column, &header, buf, len, rowkey, rowkeylen, &bytes,
						&valuelen, number);
	*value = (Datum) 0;
	*isnull = true;
	if (result == ROW_FOUND && valuelen >= 0)
	{
		*isnull = false;
		*value = row_decode(column, bytes, valuelen, header.encoding);
	}
	return result;
}

/* ---------- sealing ---------- */

/* Column ids and bytes of one segment to be */
typedef struct SegmentPlan
{
	StringInfoData plain;
	int			nentries;
} SegmentPlan;

static void
append_entry(SegmentPlan *plan, int32 id, const uint8 *bytes, int64 len)
{
	StringInfo	plain = &plan->plain;

	enlargeStringInfo(plain, envelope_entry_bytes(id, len));
	plain->len += envelope_write_entry((uint8 *) plain->data + plain->len, id,
									   bytes, len);
	plan->nentries++;
}

static void
append_value(SegmentPlan *plan, ColumnMap *column, Datum value, bool isnull)
{
	StringInfoData bytes;

	if (isnull)
	{
		append_entry(plan, column->id, NULL, -1);
		return;
	}
	initStringInfo(&bytes);
	codec_encode(column_codec(column), value, &bytes);
	append_entry(plan, column->id, (uint8 *) bytes.data, bytes.len);
	crypto_wipe(bytes.data, bytes.len);
	pfree(bytes.data);
}

/* What row_seal needs of the envelope before */
typedef struct OldEnvelope
{
	const uint8 *buf;
	size_t		len;
	EnvelopeHeader header;
	bool		same_row;		/* table id, row key and encoding are the same */
} OldEnvelope;

/* Do any columns of this link and category exist, and does one change? */
static bool
group_changes(const RowSeal *seal, const LinkMap *link, int category,
			  bool *exists)
{
	bool		changes = false;
	int			i;

	*exists = false;
	for (i = 0; i < seal->table->ncolumns; i++)
	{
		const ColumnMap *column = &seal->table->columns[i];

		if (column->link == link && column->category == category)
		{
			*exists = true;
			changes |= seal->states[i] != ROW_KEEP;
		}
	}
	return changes;
}

/* The plaintext of a segment from new values and what is kept of the old one. */
static void
plan_segment(RowSeal *seal, const LinkMap *link, int category,
			 const OldEnvelope *old, SegmentPlan *plan)
{
	int			i;

	initStringInfo(&plan->plain);
	plan->nentries = 0;
	for (i = 0; i < seal->table->ncolumns; i++)
	{
		ColumnMap  *column = &seal->table->columns[i];
		int			att = column->attnum - 1;
		const uint8 *bytes;
		int64		len;
		RowValue	found;

		if (column->link != link || column->category != category)
			continue;
		if (seal->states[i] == ROW_SET)
			append_value(plan, column, seal->values[att], seal->isnull[att]);
		else if (seal->states[i] == ROW_KEEP && old != NULL)
		{
			found = row_open_bytes(column, old->buf, old->len,
								   (uint8 *) seal->old_rowkey->data,
								   seal->old_rowkey->len, &bytes, &len, NULL);
			if (found == ROW_FOUND && len >= 0 &&
				old->header.encoding != GetDatabaseEncoding())
				append_value(plan, column,
							 row_decode(column, bytes, len,
										old->header.encoding), false);
			else if (found == ROW_FOUND)
				append_entry(plan, column->id, bytes, len);
			else if (found == ROW_FORGOTTEN)
				seal->states[i] = ROW_ERASE;	/* it cannot be sealed anew */
		}
	}
}

/* Pad, seal and append one segment. */
static void
emit_segment(RowSeal *seal, const EnvelopeHeader *header, const LinkMap *link,
			 int category, int month, uint64 number, SegmentPlan *plan,
			 const StringInfo rowkey, StringInfo out)
{
	StringInfo	plain = &plan->plain;
	size_t		padded = envelope_padded_length(plain->len);
	uint8		key[KEYSTORE_KEY_BYTES];
	size_t		size;

	while (!keystore_derive(number, category, month, key))
		number = alias_number(number, category);

	enlargeStringInfo(plain, padded - plain->len);
	memset(plain->data + plain->len, 0, padded - plain->len);
	enlargeStringInfo(out, envelope_segment_bytes(padded));
	size = envelope_seal_segment((uint8 *) out->data + out->len, header,
								 category, link->via, month, number,
								 (uint8 *) rowkey->data, rowkey->len, key,
								 (uint8 *) plain->data, padded);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(plain->data, padded);
	if (size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not seal a row of table \"%s\"",
						get_rel_name(seal->table->relid))));
	out->len += size;
}

static bool
can_be_opened(const EnvelopeSegment *segment)
{
	uint8		key[KEYSTORE_KEY_BYTES];

	if (!keystore_derive(segment->number, segment->category, segment->month, key))
		return false;
	crypto_wipe(key, sizeof(key));
	return true;
}

/* One segment: copied if nothing of it changes, else sealed anew. */
static bool
seal_group(RowSeal *seal, const EnvelopeHeader *header, int linkno,
		   int category, const OldEnvelope *old, const StringInfo rowkey,
		   StringInfo out)
{
	const LinkMap *link = &seal->table->links[linkno];
	uint64		number = seal->numbers[linkno];
	EnvelopeSegment segment;
	SegmentPlan plan;
	bool		exists;
	bool		changes = group_changes(seal, link, category, &exists);
	int			month;

	if (!exists)
		return false;
	month = expiry_month(seal->table, category, seal->values, seal->isnull,
						 number, seal->kept);
	if (seal->table->on_forget == FORGET_KEEP)
		number |= KEYSTORE_KEEP_BIT;
	if (!changes)
	{
		if (old == NULL ||
			!find_segment(old->buf, old->len, &old->header, link->via,
						  category, &segment))
			return false;
		if (old->same_row && old->header.number == header->number &&
			(link->via == 0 || segment.number == number) &&
			(segment.month == month || !can_be_opened(&segment)))
		{
			appendBinaryStringInfo(out, (const char *) segment.start,
								   segment.size);
			return true;
		}
	}
	plan_segment(seal, link, category, old, &plan);
	if (plan.nentries > 0)
		emit_segment(seal, header, link, category, month, number, &plan,
					 rowkey, out);
	pfree(plan.plain.data);
	return plan.nentries > 0;
}

/* A value that is kept gets a token of another epoch. */
static void
store_new_token(RowSeal *seal, const OldEnvelope *old, ColumnMap *column)
{
	int			att = column->attnum - 1;
	Datum		value;
	bool		isnull;

	switch (row_open_value(column, old->buf, old->len,
						   (uint8 *) seal->old_rowkey->data,
						   seal->old_rowkey->len, &value, &isnull, NULL))
	{
		case ROW_FOUND:
			seal->values[att] = physical_value(column, seal->form, value,
											   isnull, &seal->isnull[att]);
			break;
		case ROW_FORGOTTEN:
			seal->values[att] = physical_erased(column, &seal->isnull[att]);
			break;
		case ROW_ABSENT:
			break;				/* was erased, and has no token */
	}
}

/* Put into values[] what is stored. */
static void
store_physical(RowSeal *seal, const OldEnvelope *old)
{
	int			i;

	for (i = 0; i < seal->table->ncolumns; i++)
	{
		ColumnMap  *column = &seal->table->columns[i];
		int			att = column->attnum - 1;

		if (seal->states[i] == ROW_SET)
			seal->values[att] = physical_value(column, seal->form,
											   seal->values[att],
											   seal->isnull[att],
											   &seal->isnull[att]);
		else if (seal->states[i] == ROW_KEEP && column->searchable &&
				 old != NULL && old->header.token_epoch != seal->form)
			store_new_token(seal, old, column);
		else if (seal->states[i] == ROW_ERASE)
			seal->values[att] = physical_erased(column, &seal->isnull[att]);
	}
}

static void
digest_row(TableMap *table, int token_epoch, const Datum *values,
		   const bool *isnull, const StringInfo rowkey,
		   uint8 digest[ENVELOPE_DIGEST_BYTES])
{
	StringInfoData physical;
	int			i;

	initStringInfo(&physical);
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];

		sealed_append_value(&physical, column_codec(column),
							values[column->attnum - 1],
							isnull[column->attnum - 1]);
	}
	sealed_digest((uint32) table->id, token_epoch, rowkey, &physical, digest);
	pfree(physical.data);
}

int
row_form(const TableMap *table, const Datum *values, const bool *isnull)
{
	int			att = table->sealed_attnum - 1;
	EnvelopeHeader header;
	bytea	   *sealed;

	if (isnull[att])
		return 0;
	sealed = DatumGetByteaPSlice(values[att], 0, ENVELOPE_HEADER_MAX);
	if (!envelope_read_header((uint8 *) VARDATA_ANY(sealed),
							  VARSIZE_ANY_EXHDR(sealed), &header))
		damaged_envelope(table);
	return header.token_epoch;
}

bool
row_expires_right(const TableMap *table, const Datum *values,
				  const bool *isnull, const ExpiryKept *kept)
{
	bytea	   *sealed = DatumGetByteaPP(values[table->sealed_attnum - 1]);
	const uint8 *buf = (uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	size_t		offset = 0;
	EnvelopeHeader header;
	EnvelopeSegment segment;

	if (!envelope_read_header(buf, len, &header))
		damaged_envelope(table);
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
		if (segment.month != expiry_month(table, segment.category, values, isnull,
										  sealed_person(segment.number), kept) &&
			can_be_opened(&segment))
			return false;
	return true;
}

struct varlena *
row_seal(RowSeal *seal)
{
	TableMap   *table = seal->table;
	EnvelopeHeader header = {0};
	OldEnvelope old;
	OldEnvelope *oldp = NULL;
	StringInfoData rowkey;
	StringInfoData out;
	size_t		headerlen;
	int			linkno;
	int			category;

	initStringInfo(&rowkey);
	row_key(table, seal->values, seal->isnull, &rowkey);
	header.token_epoch = (uint16) seal->form;
	header.encoding = (uint8) GetDatabaseEncoding();
	header.number = seal->numbers[0];
	if (table->on_forget == FORGET_KEEP)
		header.number |= KEYSTORE_KEEP_BIT;
	header.table_id = (uint32) table->id;
	if (seal->old != NULL)
	{
		oldp = &old;
		old.buf = (uint8 *) VARDATA_ANY(seal->old);
		old.len = VARSIZE_ANY_EXHDR(seal->old);
		if (!envelope_read_header(old.buf, old.len, &old.header))
			damaged_envelope(table);
		old.same_row = old.header.table_id == header.table_id &&
			old.header.encoding == header.encoding &&
			rowkey.len == seal->old_rowkey->len &&
			memcmp(rowkey.data, seal->old_rowkey->data, rowkey.len) == 0;
	}

	initStringInfo(&out);
	headerlen = envelope_header_bytes(&header);
	appendStringInfoSpaces(&out, VARHDRSZ + headerlen);
	for (linkno = 0; linkno < table->nlinks; linkno++)
		for (category = 0; category < DATAMAP_CATEGORIES; category++)
			if (seal_group(seal, &header, linkno, category, oldp, &rowkey,
						   &out))
				header.nsegments++;
	store_physical(seal, oldp);
	digest_row(table, header.token_epoch, seal->values, seal->isnull, &rowkey,
			   header.digest);
	envelope_write_header((uint8 *) out.data + VARHDRSZ, &header);
	SET_VARSIZE(out.data, out.len);
	pfree(rowkey.data);
	return (struct varlena *) out.data;
}

void
row_note_input(const struct varlena *sealed)
{
	const uint8 *buf = (const uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	size_t		offset = 0;
	EnvelopeHeader header;
	EnvelopeSegment segment;

	if (!envelope_read_header(buf, len, &header))
		return;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		InputSegment *entry = &input[input_next];

		memcpy(entry->nonce, segment.nonce, CRYPTO_NONCE_BYTES);
		memcpy(entry->tag, segment.tag, CRYPTO_TAG_BYTES);
		entry->role = GetUserId();
		input_next = (input_next + 1) % INPUT_ENTRIES;
		input_used = true;
	}
}

bool
row_is_input(const ColumnMap *column, const uint8 *buf, size_t len)
{
	EnvelopeHeader header;
	EnvelopeSegment segment;
	int			i;

	if (!envelope_read_header(buf, len, &header) ||
		!find_segment(buf, len, &header, column->via, column->category,
					  &segment))
		return false;
	for (i = 1; i <= INPUT_ENTRIES; i++)
	{
		const InputSegment *entry =
			&input[(input_next + INPUT_ENTRIES - i) % INPUT_ENTRIES];

		if (entry->role == InvalidOid)
			return false;
		if (memcmp(entry->nonce, segment.nonce, CRYPTO_NONCE_BYTES) == 0 &&
			memcmp(entry->tag, segment.tag, CRYPTO_TAG_BYTES) == 0)
			return entry->role == GetUserId();
	}
	return false;
}

bool
row_is_sealed(TableMap *table, const Datum *values, const bool *isnull,
			  const uint8 *buf, size_t len)
{
	EnvelopeHeader header;
	StringInfoData rowkey;
	uint8		digest[ENVELOPE_DIGEST_BYTES];

	if (!envelope_validate(buf, len) ||
		!envelope_read_header(buf, len, &header) ||
		header.table_id != (uint32) table->id)
		return false;
	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	digest_row(table, header.token_epoch, values, isnull, &rowkey, digest);
	pfree(rowkey.data);
	return memcmp(digest, header.digest, sizeof(digest)) == 0;
}
