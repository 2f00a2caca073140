/*
 * audit_read.c
 *		The audit trail as SQL sees it: records of a block, whose they are, and
 *		whether the chain holds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "audit.h"
#include "audit_log.h"
#include "audit_record.h"
#include "compat.h"
#include "errors.h"
#include "varint.h"

PG_FUNCTION_INFO_V1(gdpr_audit_records);
PG_FUNCTION_INFO_V1(gdpr_audit_hash);
PG_FUNCTION_INFO_V1(gdpr_audit_concerns);

#define SALT_BYTES		16

/* The next record of a block, with its salt; false at the end. */
static bool
next_record(const uint8 *content, size_t len, size_t *offset,
			const uint8 **record, size_t *recordlen)
{
	uint64		size;

	if (*offset == len)
		return false;
	if (!varint_read(content, len, offset, &size) || size < SALT_BYTES || size > len - *offset)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("a block of the audit trail is damaged"),
				 errhint("SELECT * FROM gdpr.verify_audit() names it.")));
	*record = content + *offset;
	*recordlen = size;
	*offset += size;
	return true;
}

static Datum
persons_datum(const AuditSet *set)
{
	TypeCacheEntry *type = lookup_type_cache(INT8MULTIRANGEOID, TYPECACHE_MULTIRANGE_INFO);
	RangeType **ranges = palloc(sizeof(RangeType *) * Max(set->count, 1));
	int			i;

	for (i = 0; i < set->count; i++)
	{
		RangeBound	lower = {.val = Int64GetDatum((int64) set->ranges[i].first), .inclusive = true, .lower = true};
		RangeBound	upper = {.val = Int64GetDatum((int64) set->ranges[i].last + 1)};

		ranges[i] = compat_make_range(type->rngtype, &lower, &upper);
	}
	return MultirangeTypePGetDatum(make_multirange(INT8MULTIRANGEOID, type->rngtype, set->count, ranges));
}

/*
 * Anybody can have any bytes read, and names of roles may be from a database of
 * another encoding: no text may come of it that is none.
 */
Datum
audit_text(const char *text)
{
	char	   *copy;
	char	   *p;

	if (pg_verifymbstr(text, (int) strlen(text), true))
		return CStringGetTextDatum(text);
	copy = pstrdup(text);
	for (p = copy; *p != '\0'; p++)
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	return CStringGetTextDatum(copy);
}

Datum
audit_texts(List *texts)
{
	Datum	   *items = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, texts)
		items[n++] = audit_text(lfirst(lc));
	return PointerGetDatum(construct_array(items, n, TEXTOID, -1, false, TYPALIGN_INT));
}

List *
audit_actions(uint8 did)
{
	List	   *result = NIL;

	if (did & AUDIT_DID_REVEAL)
		result = lappend(result, "reveal");
	if (did & AUDIT_DID_MASK)
		result = lappend(result, "mask");
	if (did & AUDIT_DID_WRITE)
		result = lappend(result, "write");
	if (did & AUDIT_DID_OVERRIDE)
		result = lappend(result, "override");
	if (did & AUDIT_DID_EXPORT)
		result = lappend(result, "export");
	return result;
}

enum
{
	COLUMN_RECORD, COLUMN_AT, COLUMN_KIND, COLUMN_OUTCOME, COLUMN_SESSION_ROLE,
	COLUMN_SET_ROLE, COLUMN_ROLE, COLUMN_ACTOR, COLUMN_APPLICATION, COLUMN_CLIENT, COLUMN_PID,
	COLUMN_TRANSACTION, COLUMN_STATEMENT, COLUMN_COMMAND, COLUMN_FAILED,
	COLUMN_QUERY_ID, COLUMN_PURPOSE, COLUMN_OVERRIDE_REASON, COLUMN_RELATION,
	COLUMN_COLUMNS, COLUMN_ACTIONS, COLUMN_ROWS, COLUMN_SUBJECTS, COLUMNS
};

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text[0] == '\0';
	if (!nulls[column])
		values[column] = audit_text(text);
}

static const char *const kind_names[] = {
	[AUDIT_KIND_ACCESS] = "access", [AUDIT_KIND_END] = "end",
	[AUDIT_KIND_GAP] = "gap", [AUDIT_KIND_CHANGE] = "change"
};

static void
put_row(ReturnSetInfo *result, int64 serial, const AuditRecord *record)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	bool		access = record->kind == AUDIT_KIND_ACCESS || record->kind == AUDIT_KIND_CHANGE;

	values[COLUMN_RECORD] = Int64GetDatum(serial);
	values[COLUMN_AT] = TimestampTzGetDatum(record->at);
	values[COLUMN_KIND] = CStringGetTextDatum(record->first_part != 0 ? "undone" : kind_names[record->kind]);
	set_text(values, nulls, COLUMN_OUTCOME, audit_outcome_name(record->outcome));
	set_text(values, nulls, COLUMN_SESSION_ROLE, record->session_role);
	set_text(values, nulls, COLUMN_SET_ROLE, record->set_role);
	set_text(values, nulls, COLUMN_ROLE, record->role);
	set_text(values, nulls, COLUMN_ACTOR, record->actor);
	set_text(values, nulls, COLUMN_APPLICATION, record->application);
	set_text(values, nulls, COLUMN_CLIENT, record->client);
	values[COLUMN_PID] = Int32GetDatum(record->pid);
	values[COLUMN_TRANSACTION] = CStringGetTextDatum(psprintf("%llx.%x.%x", (unsigned long long) record->server_start,
															  record->backend, record->transaction));
	if (access)
	{
		values[COLUMN_STATEMENT] = Int32GetDatum((int32) record->statement);
		set_text(values, nulls, COLUMN_COMMAND, record->command);
		values[COLUMN_FAILED] = BoolGetDatum(record->failed);
		values[COLUMN_QUERY_ID] = Int64GetDatum(record->query_id);
		nulls[COLUMN_QUERY_ID] = record->query_id == 0;
		set_text(values, nulls, COLUMN_PURPOSE, record->purpose);
		set_text(values, nulls, COLUMN_OVERRIDE_REASON, record->override_reason);
		set_text(values, nulls, COLUMN_RELATION, record->relation);
		values[COLUMN_COLUMNS] = audit_texts(record->columns);
		values[COLUMN_ACTIONS] = audit_texts(audit_actions(record->did));
		values[COLUMN_ROWS] = Int64GetDatum((int64) record->rows);
		values[COLUMN_SUBJECTS] = persons_datum(&record->persons);
	}
	else
		memset(nulls + COLUMN_STATEMENT, true, COLUMNS - COLUMN_STATEMENT);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void
audit_block_scan(const uint8 *content, size_t len, int64 first_record,
				 AuditBlockReader reader, void *arg)
{
	size_t		offset = 0;
	const uint8 *bytes;
	size_t		size;

	for (; next_record(content, len, &offset, &bytes, &size); first_record++)
	{
		reader(first_record, bytes + SALT_BYTES, size - SALT_BYTES, arg);
		CHECK_FOR_INTERRUPTS();
	}
}

void
audit_warn_unreadable(int64 record)
{
	ereport(WARNING,
			(errcode(ERRCODE_GDPR_DAMAGED),
			 errmsg("record " INT64_FORMAT " of the audit trail cannot be read", record)));
}

/* Where gdpr.audit_records() puts them */
typedef struct Shown
{
	ReturnSetInfo *result;
	MemoryContext scratch;
} Shown;

static void
show_record(int64 serial, const uint8 *bytes, size_t len, void *arg)
{
	Shown	   *shown = arg;
	MemoryContext before = MemoryContextSwitchTo(shown->scratch);
	AuditRecord record;

	if (audit_record_decode(bytes, len, &record))
		put_row(shown->result, serial, &record);
	else
		audit_warn_unreadable(serial);
	MemoryContextSwitchTo(before);
	MemoryContextReset(shown->scratch);
}

/*
 * gdpr.audit_records(first_record, content) RETURNS SETOF record
 *
 * The records of a block.  Leaves a record itself.  ERRCODE_GDPR_DAMAGED.
 */
Datum
gdpr_audit_records(PG_FUNCTION_ARGS)
{
	bytea	   *content;
	Shown		shown;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	shown.result = (ReturnSetInfo *) fcinfo->resultinfo;
	shown.scratch = AllocSetContextCreate(CurrentMemoryContext, "gdpr audit", ALLOCSET_DEFAULT_SIZES);
	audit_touch_own("gdpr.audit_log", "records", 0);
	content = PG_GETARG_BYTEA_PP(1);
	audit_block_scan((uint8 *) VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content),
					 PG_GETARG_INT64(0), show_record, &shown);
	return (Datum) 0;
}

/*
 * gdpr.audit_hash(hash before, content, records) RETURNS bytea
 *
 * The chain's hash after so many records of a block, NULL: all.
 * ERRCODE_GDPR_DAMAGED.
 */
Datum
gdpr_audit_hash(PG_FUNCTION_ARGS)
{
	bytea	   *before;
	bytea	   *content;
	int64		records = PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT64(2);
	bytea	   *result = palloc(VARHDRSZ + AUDIT_HASH_BYTES);
	size_t		offset = 0;
	const uint8 *bytes;
	size_t		len;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	before = PG_GETARG_BYTEA_PP(0);
	content = PG_GETARG_BYTEA_PP(1);
	if (VARSIZE_ANY_EXHDR(before) != AUDIT_HASH_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a hash of the audit trail has %d bytes", AUDIT_HASH_BYTES)));
	SET_VARSIZE(result, VARHDRSZ + AUDIT_HASH_BYTES);
	memcpy(VARDATA(result), VARDATA_ANY(before), AUDIT_HASH_BYTES);
	while (records-- > 0 &&
		   next_record((uint8 *) VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content), &offset, &bytes, &len))
	{
		audit_chain_add((uint8 *) VARDATA(result), bytes, len);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_BYTEA_P(result);
}

/* ---------- whose records a block has ---------- */

/*
 * A summary is the number of wide ranges, these, and a Bloom filter (Bloom 1970)
 * of all other persons: with 16 bits and 8 places for each, one block in 1,700 is
 * opened in vain; a trail of 10 million records has 10,000.
 */
#define WIDE			64		/* persons of a range */
#define BITS_PER_PERSON	16
#define PLACES			8

static uint64
mix(uint64 number)
{
	number = (number ^ (number >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	number = (number ^ (number >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return number ^ (number >> 31);
}

static uint64
place_of(uint64 hash, int i, uint64 bits)
{
	return ((hash & 0xFFFFFFFF) + (uint64) i * (hash >> 32)) % bits;
}

Datum
audit_summary(const uint8 *content, size_t contentlen)
{
	AuditSet	wide = {0};
	AuditSet	single = {0};
	StringInfoData out;
	size_t		offset = 0;
	const uint8 *bytes;
	size_t		len;
	uint64		persons;
	uint64		bits;
	int			start;
	int			i;
	uint64		number;
	int			place;

	while (next_record(content, contentlen, &offset, &bytes, &len))
	{
		AuditSetReader reader;
		AuditRange	range;
		TimestampTz at;

		if (!audit_record_skim(bytes + SALT_BYTES, len - SALT_BYTES, &at, &reader))
			continue;
		while (audit_set_next(&reader, &range))
		{
			if (range.last - range.first >= WIDE)
				audit_set_add_range(&wide, range.first, range.last);
			else
				audit_set_add_range(&single, range.first, range.last);
		}
	}
	(void) audit_set_arrange(&wide);
	persons = audit_set_arrange(&single);
	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	audit_set_encode(&out, &wide);
	start = out.len;
	bits = Max(persons * BITS_PER_PERSON, 8);
	enlargeStringInfo(&out, (int) (bits / 8 + 1));
	memset(out.data + start, 0, bits / 8 + 1);
	out.len += (int) (bits / 8 + 1);
	for (i = 0; i < single.count; i++)
		for (number = single.ranges[i].first; number <= single.ranges[i].last; number++)
			for (place = 0; place < PLACES; place++)
			{
				uint64		bit = place_of(mix(number), place, (bits / 8 + 1) * 8);

				out.data[start + bit / 8] |= (char) (1 << bit % 8);
			}
	SET_VARSIZE(out.data, out.len);
	return PointerGetDatum(out.data);
}

/*
 * gdpr.audit_concerns(persons, subject) RETURNS boolean
 *
 * May a block have records that concern a person?  False: it has none.
 */
Datum
gdpr_audit_concerns(PG_FUNCTION_ARGS)
{
	bytea	   *persons = PG_GETARG_BYTEA_PP(0);
	uint64		number = (uint64) PG_GETARG_INT64(1);
	const uint8 *bytes = (uint8 *) VARDATA_ANY(persons);
	size_t		len = VARSIZE_ANY_EXHDR(persons);
	AuditSetReader wide;
	AuditRange	range;
	size_t		offset;
	uint64		hash = mix(number);
	int			place;

	audit_set_open(&wide, bytes, len, 0);
	while (audit_set_next(&wide, &range))
		if (range.first <= number && number <= range.last)
			PG_RETURN_BOOL(true);
	offset = wide.offset;
	if (!wide.ok || offset >= len)
		PG_RETURN_BOOL(true);	/* damaged: look into the block */
	for (place = 0; place < PLACES; place++)
	{
		uint64		bit = place_of(hash, place, (len - offset) * 8);

		if ((bytes[offset + bit / 8] & (1 << bit % 8)) == 0)
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}
