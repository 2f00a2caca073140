/*
 * audit_person.c
 *		What the audit trail has on one person: gdpr.accesses, gdpr.changes.
 *
 * Records of changes hold rows as they were stored: sealed.  Values are opened as
 * those of the table are, by the same decision, for the role and purpose that ask.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "alias.h"
#include "audit.h"
#include "audit_log.h"
#include "audit_record.h"
#include "datamap.h"
#include "policy.h"
#include "reveal.h"

PG_FUNCTION_INFO_V1(gdpr_accesses);
PG_FUNCTION_INFO_V1(gdpr_changes);

#define BLOCKS_AT_ONCE	10

typedef struct Found
{
	int64		serial;
	AuditRecord record;
} Found;

/* What the trail has on one person, in its order */
typedef struct History
{
	uint64	   *numbers;		/* the person's own */
	int			nnumbers;
	MemoryContext context;		/* for all of this */
	List	   *accesses;		/* of Found */
	List	   *changes;
	List	   *ends;
} History;

/* ---------- collecting ---------- */

static bool
is_number(const History *history, uint64 number)
{
	int			i;

	for (i = 0; i < history->nnumbers; i++)
		if (history->numbers[i] == number)
			return true;
	return false;
}

static bool
has_number(const History *history, const AuditSetReader *persons)
{
	int			i;

	for (i = 0; i < history->nnumbers; i++)
	{
		AuditSetReader reader = *persons;

		if (audit_set_has(&reader, history->numbers[i]))
			return true;
	}
	return false;
}

static void
add_record(int64 serial, const uint8 *bytes, size_t len, void *arg)
{
	History    *history = arg;
	AuditSetReader persons;
	TimestampTz at;
	MemoryContext before;
	uint8	   *copy;
	Found	   *found;

	if (!audit_record_skim(bytes, len, &at, &persons) ||
		!has_number(history, &persons))
		return;
	before = MemoryContextSwitchTo(history->context);
	copy = palloc(len);
	memcpy(copy, bytes, len);
	found = palloc(sizeof(Found));
	found->serial = serial;
	if (!audit_record_decode(copy, len, &found->record))
		audit_warn_unreadable(serial);
	else if (found->record.kind == AUDIT_KIND_ACCESS)
		history->accesses = lappend(history->accesses, found);
	else if (found->record.kind == AUDIT_KIND_CHANGE)
		history->changes = lappend(history->changes, found);
	else
		history->ends = lappend(history->ends, found);
	MemoryContextSwitchTo(before);
}

static void
collect(History *history)
{
	Oid			type = INT8ARRAYOID;
	Datum	   *values = palloc(sizeof(Datum) * history->nnumbers);
	Datum		numbers;
	Portal		portal;
	uint64		i;
	bool		isnull;

	for (i = 0; i < (uint64) history->nnumbers; i++)
		values[i] = Int64GetDatum((int64) history->numbers[i]);
	numbers = PointerGetDatum(construct_array(values, history->nnumbers, INT8OID,
											  sizeof(int64), FLOAT8PASSBYVAL,
											  TYPALIGN_DOUBLE));
	portal = SPI_cursor_open_with_args("gdpr audit",
									   "SELECT b.first_record, b.content FROM gdpr.audit_block b"
									   " WHERE EXISTS (SELECT FROM pg_catalog.unnest($1) n WHERE gdpr.audit_concerns(b.persons, n))"
									   " ORDER BY b.first_record",
									   1, &type, &numbers, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, BLOCKS_AT_ONCE);
		if (SPI_processed == 0)
			break;
		for (i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			int64		first = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
			bytea	   *content = DatumGetByteaPP(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));

			audit_block_scan((uint8 *) VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content),
							 first, add_record, history);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/*
 * The tables of the trail are read as the extension's owner.  That they are is
 * recorded for each number.
 */
static History *
history_of(uint64 subject, const char *what)
{
	History    *history = palloc0(sizeof(History));
	Oid			user;
	int			sec_context;
	int			i;

	history->nnumbers = alias_merged(alias_person(subject), &history->numbers);
	history->context = CurrentMemoryContext;
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(), sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	collect(history);
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
	for (i = 0; i < history->nnumbers; i++)
		audit_touch_own("gdpr.audit_log", what, history->numbers[i]);
	return history;
}

/* ---------- accesses ---------- */

static void
set_text(Datum *value, bool *isnull, const char *text)
{
	*isnull = text[0] == '\0';
	if (!*isnull)
		*value = audit_text(text);
}

enum
{
	ACCESS_AT, ACCESS_ROLE, ACCESS_ACTOR, ACCESS_PURPOSE, ACCESS_RELATION,
	ACCESS_COLUMNS, ACCESS_ACTIONS, ACCESS_FAILED, ACCESS_NCOLUMNS
};

static void
show_access(ReturnSetInfo *result, const AuditRecord *record)
{
	Datum		values[ACCESS_NCOLUMNS] = {0};
	bool		nulls[ACCESS_NCOLUMNS] = {0};

	values[ACCESS_AT] = TimestampTzGetDatum(record->at);
	set_text(&values[ACCESS_ROLE], &nulls[ACCESS_ROLE], record->role);
	set_text(&values[ACCESS_ACTOR], &nulls[ACCESS_ACTOR], record->actor);
	set_text(&values[ACCESS_PURPOSE], &nulls[ACCESS_PURPOSE], record->purpose);
	set_text(&values[ACCESS_RELATION], &nulls[ACCESS_RELATION], record->relation);
	values[ACCESS_COLUMNS] = audit_texts(record->columns);
	values[ACCESS_ACTIONS] = audit_texts(audit_actions(record->did));
	values[ACCESS_FAILED] = BoolGetDatum(record->failed);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * gdpr.accesses(subject) RETURNS SETOF record
 *
 * Each statement that has revealed, masked or written a value of a person, in
 * the order of the trail; itself it is recorded.  ERRCODE_GDPR_DAMAGED.
 */
Datum
gdpr_accesses(PG_FUNCTION_ARGS)
{
	History    *history;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	history = history_of((uint64) PG_GETARG_INT64(0), "accesses");
	foreach(lc, history->accesses)
		show_access((ReturnSetInfo *) fcinfo->resultinfo, &((Found *) lfirst(lc))->record);
	return (Datum) 0;
}

/* ---------- changes ---------- */

static bool
same_transaction(const AuditRecord *a, const AuditRecord *b)
{
	return a->server_start == b->server_start && a->backend == b->backend &&
		a->transaction == b->transaction;
}

/* How it ended; open: nobody knows, or it still runs. */
static AuditOutcome
outcome_of(const History *history, const AuditRecord *change)
{
	AuditOutcome outcome = AUDIT_OUTCOME_OPEN;
	bool		undone = false;
	ListCell   *lc;

	foreach(lc, history->ends)
	{
		AuditRecord *end = &((Found *) lfirst(lc))->record;

		if (!same_transaction(end, change))
			continue;
		if (end->first_part == 0)
			outcome = end->outcome; /* the last one: a commit can fail */
		else if (change->part >= end->first_part && change->part <= end->last_part)
			undone = true;
	}
	return undone ? AUDIT_OUTCOME_ROLLED_BACK : outcome;
}

static bool
is_string(const char *type)
{
	return strcmp(type, "text") == 0 || strcmp(type, "character varying") == 0 ||
		strcmp(type, "pg_catalog.text") == 0 || strcmp(type, "pg_catalog.varchar") == 0;
}

/* Has the column still the type that the value was sealed as? */
static bool
same_type(const ColumnMap *column, const char *type)
{
	const char *now = format_type_be_qualified(column->typid);

	return strcmp(now, type) == 0 || (is_string(now) && is_string(type));
}

static bool
is_of(const History *history, const ColumnMap *column, const AuditImage *image)
{
	return image->envelopelen > 0 &&
		is_number(history, reveal_person(column, image->envelope, image->envelopelen));
}

/* A value as text; NULL: it is NULL, forgotten, or hidden. */
static Datum
value_of(ColumnMap *column, const AuditImage *image, bool *isnull)
{
	Datum		value;
	Oid			output;
	bool		varlena;

	*isnull = true;
	if (image->envelopelen == 0)
		return (Datum) 0;
	value = reveal_shown(policy_session(), column, image->envelope, image->envelopelen,
						 image->rowkey, image->rowkeylen, REVEAL_ASKED, isnull);
	if (*isnull)
		return (Datum) 0;
	getTypeOutputInfo(column->typid, &output, &varlena);
	return CStringGetTextDatum(OidOutputFunctionCall(output, value));
}

enum
{
	COLUMN_RECORD, COLUMN_AT, COLUMN_ROLE, COLUMN_ACTOR, COLUMN_PURPOSE,
	COLUMN_COMMAND, COLUMN_RELATION, COLUMN_COLUMN, COLUMN_BEFORE, COLUMN_AFTER,
	COLUMN_OUTCOME, COLUMNS
};

/* One of the columns that a change changed */
static void
show_column(ReturnSetInfo *result, const History *history, const Found *change, int i)
{
	const AuditRecord *record = &change->record;
	ColumnMap  *column = datamap_column(record->changed[i].id);
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	AuditOutcome outcome = outcome_of(history, record);

	nulls[COLUMN_BEFORE] = nulls[COLUMN_AFTER] = true;
	if (column != NULL && same_type(column, record->changed[i].type))
	{
		bool		was = is_of(history, column, &record->before);
		bool		is = is_of(history, column, &record->after);

		if (!was && !is)
			return;				/* another person's, in the same row */
		if (was)
			values[COLUMN_BEFORE] = value_of(column, &record->before, &nulls[COLUMN_BEFORE]);
		if (is)
			values[COLUMN_AFTER] = value_of(column, &record->after, &nulls[COLUMN_AFTER]);
	}
	values[COLUMN_RECORD] = Int64GetDatum(change->serial);
	values[COLUMN_AT] = TimestampTzGetDatum(record->at);
	set_text(&values[COLUMN_ROLE], &nulls[COLUMN_ROLE], record->role);
	set_text(&values[COLUMN_ACTOR], &nulls[COLUMN_ACTOR], record->actor);
	set_text(&values[COLUMN_PURPOSE], &nulls[COLUMN_PURPOSE], record->purpose);
	set_text(&values[COLUMN_COMMAND], &nulls[COLUMN_COMMAND], record->command);
	set_text(&values[COLUMN_RELATION], &nulls[COLUMN_RELATION], record->relation);
	set_text(&values[COLUMN_COLUMN], &nulls[COLUMN_COLUMN], list_nth(record->columns, i));
	set_text(&values[COLUMN_OUTCOME], &nulls[COLUMN_OUTCOME], audit_outcome_name(outcome));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * gdpr.changes(subject) RETURNS SETOF record
 *
 * The values of a person before and after each UPDATE and DELETE of tables that
 * keep their history, as text; NULL where the current role, for its purpose, may
 * not see them, or they were forgotten.  ERRCODE_GDPR_DAMAGED,
 * ERRCODE_GDPR_NOT_PERMITTED as with SELECT.
 */
Datum
gdpr_changes(PG_FUNCTION_ARGS)
{
	History    *history;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	history = history_of((uint64) PG_GETARG_INT64(0), "changes");
	foreach(lc, history->changes)
	{
		Found	   *change = lfirst(lc);
		int			i;

		for (i = 0; i < list_length(change->record.columns); i++)
			show_column((ReturnSetInfo *) fcinfo->resultinfo, history, change, i);
		CHECK_FOR_INTERRUPTS();
	}
	return (Datum) 0;
}
