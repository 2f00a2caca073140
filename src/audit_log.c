/*
 * audit_log.c
 *		The audit trail as it is stored: blocks of records, and their chain.
 *
 * The worker reads the queue from where it had come, and in one transaction
 * stores the records and how far it came: after a crash it goes on there.
 *
 * Each record has a salt, and the chain goes through all of them:
 * hash = SHA-256(hash before || SHA-256(0x00 || salt || record)).  So a hash says
 * what all records up to one were, however they are cut into blocks, and
 * tells nothing about a record whose salt is gone.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "audit_log.h"
#include "audit_queue.h"
#include "audit_record.h"
#include "audit_wal.h"
#include "crypto.h"
#include "errors.h"
#include "varint.h"

#define SALT_BYTES		16
#define BLOCK_RECORDS	1000
#define BLOCK_BYTES		(1024 * 1024)
#define SMALL_BLOCKS	16		/* so many at the end that fit into one are merged */
#define PROGRESS_BYTES	(8 * 1024 * 1024)	/* of log without a record */

/* The block that is being filled */
typedef struct AuditBlock
{
	MemoryContext scratch;		/* for storing it */
	DateADT		month;
	int64		first_record;
	int			records;
	TimestampTz first_at;
	TimestampTz last_at;
	StringInfoData content;
	uint8		hash[AUDIT_HASH_BYTES];	/* of the chain so far */
} AuditBlock;

void
audit_chain_add(uint8 hash[AUDIT_HASH_BYTES], const uint8 *salted, size_t len)
{
	uint8	   *leaf = palloc(len + 1);
	uint8		pair[2 * AUDIT_HASH_BYTES];

	leaf[0] = 0;
	memcpy(leaf + 1, salted, len);
	memcpy(pair, hash, AUDIT_HASH_BYTES);
	if (!crypto_sha256(leaf, len + 1, pair + AUDIT_HASH_BYTES) ||
		!crypto_sha256(pair, sizeof(pair), hash))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a hash of the audit trail")));
	pfree(leaf);
}

/* ---------- storing ---------- */

static DateADT
month_of(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)	/* in UTC */
		elog(ERROR, "a record of the audit trail has an impossible time");
	return date2j(tm.tm_year, tm.tm_mon, 1) - POSTGRES_EPOCH_JDATE;
}

static void
execute(const char *statement, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(statement, nargs, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not store the audit trail");
	SPI_freetuptable(SPI_tuptable);
}

static Datum
bytes_datum(const void *data, size_t len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return PointerGetDatum(result);
}

static void
store_block(AuditBlock *block)
{
	Oid			types[7] = {DATEOID, INT8OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BYTEAOID, BYTEAOID};
	Datum		values[7];
	MemoryContext before;

	if (block->records == 0)
		return;
	before = MemoryContextSwitchTo(block->scratch);
	values[0] = DateADTGetDatum(block->month);
	values[1] = Int64GetDatum(block->first_record);
	values[2] = Int32GetDatum(block->records);
	values[3] = TimestampTzGetDatum(block->first_at);
	values[4] = TimestampTzGetDatum(block->last_at);
	values[5] = audit_summary((uint8 *) block->content.data, block->content.len);
	values[6] = bytes_datum(block->content.data, block->content.len);
	execute("SELECT gdpr.audit_month($1)", 1, types, values);
	execute("INSERT INTO gdpr.audit_block (month, first_record, records, first_at, last_at, persons, content)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7)", 7, types, values);
	types[0] = INT8OID;
	types[1] = INT4OID;
	types[2] = DATEOID;
	types[3] = BYTEAOID;
	values[0] = Int64GetDatum(block->first_record);
	values[1] = Int32GetDatum(block->records);
	values[2] = DateADTGetDatum(block->month);
	values[3] = bytes_datum(block->hash, AUDIT_HASH_BYTES);
	execute("INSERT INTO gdpr.audit_chain (first_record, records, month, hash) VALUES ($1, $2, $3, $4)", 4, types, values);
	MemoryContextSwitchTo(before);
	MemoryContextReset(block->scratch);
	block->first_record += block->records;
	block->records = 0;
	resetStringInfo(&block->content);
}

/* How many of the last blocks, newest first, fit into one. */
static uint64
small_blocks(SPITupleTable *blocks, uint64 n, int64 *records)
{
	uint64		i;
	int64		next = 0;
	Size		bytes = 0;
	bool		isnull;

	*records = 0;
	for (i = 0; i < n; i++)
	{
		int64		first = DatumGetInt64(SPI_getbinval(blocks->vals[i], blocks->tupdesc, 1, &isnull));
		int32		count = DatumGetInt32(SPI_getbinval(blocks->vals[i], blocks->tupdesc, 2, &isnull));

		bytes += toast_raw_datum_size(SPI_getbinval(blocks->vals[i], blocks->tupdesc, 5, &isnull));
		if (*records + count > BLOCK_RECORDS || bytes > BLOCK_BYTES ||
			(i > 0 && first + count != next))
			break;
		*records += count;
		next = first;
	}
	return i;
}

/* They become one; the chain's hashes within it are not needed any more. */
static void
merge_blocks(AuditBlock *block, SPITupleTable *blocks, uint64 n, int64 records)
{
	Oid			types[7] = {DATEOID, INT8OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BYTEAOID, BYTEAOID};
	Datum		values[7];
	StringInfoData content;
	TimestampTz first_at = DT_NOEND;
	TimestampTz last_at = DT_NOBEGIN;
	bool		isnull;
	uint64		i;

	initStringInfo(&content);
	for (i = n; i-- > 0;)
	{
		HeapTuple	tuple = blocks->vals[i];
		bytea	   *part = DatumGetByteaPP(SPI_getbinval(tuple, blocks->tupdesc, 5, &isnull));

		first_at = Min(first_at, DatumGetTimestampTz(SPI_getbinval(tuple, blocks->tupdesc, 3, &isnull)));
		last_at = Max(last_at, DatumGetTimestampTz(SPI_getbinval(tuple, blocks->tupdesc, 4, &isnull)));
		appendBinaryStringInfo(&content, VARDATA_ANY(part), VARSIZE_ANY_EXHDR(part));
	}
	values[0] = DateADTGetDatum(block->month);
	values[1] = SPI_getbinval(blocks->vals[n - 1], blocks->tupdesc, 1, &isnull);
	values[2] = Int32GetDatum((int32) records);
	values[3] = TimestampTzGetDatum(first_at);
	values[4] = TimestampTzGetDatum(last_at);
	values[5] = audit_summary((uint8 *) content.data, content.len);
	values[6] = bytes_datum(content.data, content.len);
	execute("DELETE FROM gdpr.audit_block WHERE month = $1 AND first_record >= $2", 2, types, values);
	execute("INSERT INTO gdpr.audit_block (month, first_record, records, first_at, last_at, persons, content)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7)", 7, types, values);
	values[3] = bytes_datum(block->hash, AUDIT_HASH_BYTES);
	types[3] = BYTEAOID;
	execute("DELETE FROM gdpr.audit_chain WHERE first_record > $2 AND $1 IS NOT NULL", 2, types, values);
	execute("UPDATE gdpr.audit_chain SET records = $3, hash = $4 WHERE first_record = $2 AND month = $1", 4, types, values);
}

/* A worker that comes for a few records each time leaves small blocks. */
static void
merge_small_blocks(AuditBlock *block)
{
	Oid			type = DATEOID;
	Datum		month = DateADTGetDatum(block->month);
	SPITupleTable *blocks;
	uint64		n;
	int64		records;
	MemoryContext before = MemoryContextSwitchTo(block->scratch);

	if (SPI_execute_with_args("SELECT first_record, records, first_at, last_at, content FROM gdpr.audit_block"
							  " WHERE month = $1 ORDER BY first_record DESC LIMIT 64",
							  1, &type, &month, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read gdpr.audit_block");
	blocks = SPI_tuptable;
	n = small_blocks(blocks, SPI_processed, &records);
	if (n >= SMALL_BLOCKS)
		merge_blocks(block, blocks, n, records);
	SPI_freetuptable(blocks);
	MemoryContextSwitchTo(before);
	MemoryContextReset(block->scratch);
}

/* When a record was made.  What cannot be read is kept as it is, in its place. */
static TimestampTz
time_of(const AuditBlock *block, const uint8 *bytes, size_t len)
{
	AuditSetReader persons;
	TimestampTz at;

	if (audit_record_skim(bytes, len, &at, &persons))
		return at;
	return block->records > 0 ? block->last_at : GetCurrentTimestamp();
}

/* Many are drawn at once: that is faster by far. */
static const uint8 *
next_salt(void)
{
	static uint8 salts[256 * SALT_BYTES];
	static size_t left = 0;

	if (left == 0)
	{
		if (!crypto_random(salts, sizeof(salts)))
			elog(ERROR, "could not generate random bytes");
		left = sizeof(salts);
	}
	left -= SALT_BYTES;
	return salts + left;
}

static void
add_record(const uint8 *bytes, size_t len, XLogRecPtr next, void *arg)
{
	AuditBlock *block = arg;
	TimestampTz at = time_of(block, bytes, len);
	DateADT		month = month_of(at);
	int			start;

	if (block->records > 0 &&
		(month != block->month || block->records >= BLOCK_RECORDS || block->content.len > BLOCK_BYTES))
		store_block(block);
	if (block->records == 0)
	{
		block->month = month;
		block->first_at = block->last_at = at;
	}
	block->first_at = Min(block->first_at, at);
	block->last_at = Max(block->last_at, at);
	varint_append(&block->content, SALT_BYTES + len);
	start = block->content.len;
	appendBinaryStringInfo(&block->content, (const char *) next_salt(), SALT_BYTES);
	appendBinaryStringInfo(&block->content, (const char *) bytes, (int) len);
	audit_chain_add(block->hash, (uint8 *) block->content.data + start, SALT_BYTES + len);
	block->records++;
}

static XLogRecPtr
read_progress(void)
{
	bool		isnull;
	Datum		lsn;

	if (SPI_execute("SELECT lsn FROM gdpr.audit_progress FOR UPDATE", false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table gdpr.audit_progress is empty"),
				 errhint("INSERT INTO gdpr.audit_progress (lsn) SELECT pg_current_wal_insert_lsn();")));
	lsn = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return DatumGetLSN(lsn);
}

/* The chain as it is. */
static void
read_head(AuditBlock *block)
{
	bool		isnull;
	HeapTuple	tuple;
	TupleDesc	desc;
	bytea	   *hash;

	memset(block->hash, 0, AUDIT_HASH_BYTES);
	block->first_record = 1;
	if (SPI_execute("SELECT first_record, records, hash FROM gdpr.audit_chain ORDER BY first_record DESC LIMIT 1",
					false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read gdpr.audit_chain");
	if (SPI_processed == 0)
		return;
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	block->first_record = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull)) +
		DatumGetInt32(SPI_getbinval(tuple, desc, 2, &isnull));
	hash = DatumGetByteaPP(SPI_getbinval(tuple, desc, 3, &isnull));
	if (VARSIZE_ANY_EXHDR(hash) != AUDIT_HASH_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("gdpr.audit_chain is damaged")));
	memcpy(block->hash, VARDATA_ANY(hash), AUDIT_HASH_BYTES);
}

/* Nobody knows what there was: say so in the trail itself. */
static void
add_gap(AuditBlock *block, XLogRecPtr from, XLogRecPtr to)
{
	AuditRecord record = {.kind = AUDIT_KIND_GAP, .at = GetCurrentTimestamp(), .pid = MyProcPid};
	StringInfoData bytes;

	ereport(WARNING,
			(errmsg("the audit trail has a gap: the write-ahead log from %X/%X to %X/%X is gone",
					LSN_FORMAT_ARGS(from), LSN_FORMAT_ARGS(to)),
			 errhint("The replication slot \"gdpr_audit\" keeps it, as far as max_slot_wal_keep_size permits.")));
	initStringInfo(&bytes);
	audit_record_encode(&bytes, &record);
	add_record((uint8 *) bytes.data, bytes.len, to, block);
}

XLogRecPtr
audit_log_store(void)
{
	AuditBlock		block = {0};
	Oid			type = PG_LSNOID;
	XLogRecPtr	from;
	XLogRecPtr	next;
	Datum		value;
	int64		first;
	bool		gone;

	SPI_connect();
	initStringInfo(&block.content);
	block.scratch = AllocSetContextCreate(CurrentMemoryContext, "gdpr audit", ALLOCSET_DEFAULT_SIZES);
	from = read_progress();
	read_head(&block);
	first = block.first_record;
	next = audit_wal_begin(from, audit_queue_known(), &gone);
	if (gone)
		add_gap(&block, from, next);
	next = audit_wal_read(next, add_record, &block);
	store_block(&block);
	if (block.first_record > first && block.first_record - first < BLOCK_RECORDS)
		merge_small_blocks(&block);
	value = LSNGetDatum(next);
	/* not for what storing the last records has put into the log */
	if (block.first_record > first || next - from > PROGRESS_BYTES)
		execute("UPDATE gdpr.audit_progress SET lsn = $1", 1, &type, &value);
	SPI_finish();
	return next;
}
