/*
 * provenance.c
 *		When, by whom, through what and from where each person was entered
 *		(Art. 14 GDPR).
 *
 * Whoever gives a person its number draws it here, and the number is noted with
 * the role, the settings and the subtransaction of that moment.  Before the
 * transaction commits, or is prepared, ranges of numbers with the same origin
 * become rows of gdpr.provenance: usually one, whether it is for one person or
 * for a million.
 *
 * Numbers come from one counter, so two sessions that load at a time would
 * take turns at each number, and their ranges would be as many as their rows.
 * Therefore a transaction that has drawn many takes some in advance, an eighth
 * of what it has had so far.  What it does not need is lost: nobody ever gets
 * these numbers.
 *
 * The rows are inserted without the executor: it would check privileges, which
 * whoever enters a person need not have, and refuse a transaction that has
 * become READ ONLY meanwhile; and it takes longer.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datamap.h"
#include "guc.h"
#include "keystore.h"
#include "plans.h"
#include "provenance.h"
#include "purpose.h"

#define ADVANCE_PART		8	/* of what was drawn is drawn in advance */
#define ADVANCE_LIMIT		1024
#define ORIGINS_COMPARED	16

/* Columns of gdpr.provenance */
enum
{
	COLUMN_FIRST, COLUMN_LAST, COLUMN_ENTERED_AT, COLUMN_HOW, COLUMN_ROLE,
	COLUMN_SESSION_ROLE, COLUMN_ACTOR, COLUMN_APPLICATION, COLUMN_CLIENT,
	COLUMN_SOURCE, COLUMNS
};

/* Where persons come from */
typedef struct Origin
{
	ProvenanceHow how;
	Oid			role;			/* as SET ROLE has it, whatever function runs */
	Oid			session_role;
	const char *actor;
	const char *application;
	const char *source;
	struct Origin *older;		/* of the same transaction */
} Origin;

/* Consecutive numbers of one origin, drawn in one subtransaction */
typedef struct Range
{
	uint64		first;
	uint64		last;
	const Origin *origin;
	SubTransactionId subid;
} Range;

static const char *const how_names[] = {"entered", "protected", "separated"};

/* All of the transaction, in TopTransactionContext */
static Origin *origins = NULL;	/* newest first */
static Range *ranges = NULL;	/* as drawn; those of a subtransaction follow
								 * those of its parent */
static int	nranges = 0;
static int	maxranges = 0;
static bool dropped = false;	/* were any rolled back with a savepoint? */
static uint64 drawn = 0;		/* how many were taken from the keystore */
static uint64 advance = 0;		/* the first of those that are left */
static int	nadvance = 0;

/* ---------- noting ---------- */

static const char *
copy_setting(const char *name, const char *value)
{
	guc_verify(name, value);
	return MemoryContextStrdup(TopTransactionContext, value);
}

static const Origin *
current_origin(ProvenanceHow how)
{
	Oid			role = GetOuterUserId();
	Oid			session_role = GetSessionUserId();
	Origin	   *origin;
	int			n = 0;

	for (origin = origins; origin != NULL && n < ORIGINS_COMPARED;
		 origin = origin->older, n++)
	{
		if (origin->how == how && origin->role == role &&
			origin->session_role == session_role &&
			strcmp(origin->actor, guc_actor) == 0 &&
			strcmp(origin->application, application_name) == 0 &&
			strcmp(origin->source, guc_source) == 0)
			return origin;
	}
	origin = MemoryContextAlloc(TopTransactionContext, sizeof(Origin));
	origin->how = how;
	origin->role = role;
	origin->session_role = session_role;
	origin->actor = copy_setting("gdpr.actor", guc_actor);
	origin->application = copy_setting("application_name", application_name);
	origin->source = copy_setting("gdpr.source", guc_source);
	origin->older = origins;
	origins = origin;
	return origin;
}

/* Can they be one? */
static bool
ranges_join(const Range *a, const Range *b)
{
	return a->origin == b->origin && a->subid == b->subid &&
		b->first >= a->first && b->first <= a->last + 1;
}

static void
note(uint64 number, const Origin *origin)
{
	Range		range = {number, number, origin, GetCurrentSubTransactionId()};

	if (nranges > 0 && ranges_join(&ranges[nranges - 1], &range))
	{
		ranges[nranges - 1].last = Max(ranges[nranges - 1].last, number);
		return;
	}
	if (nranges == maxranges)
	{
		int			max = maxranges > 0 ? 2 * maxranges : 8;
		Size		size = max * sizeof(Range);

		ranges = ranges != NULL ? repalloc_huge(ranges, size) :
			MemoryContextAlloc(TopTransactionContext, size);
		maxranges = max;
	}
	ranges[nranges++] = range;
}

uint64
provenance_new_number(ProvenanceHow how)
{
	uint64		number;

	/* first of all: it says so if the library was not preloaded */
	if (nadvance == 0)
	{
		uint64		wanted = Min(Max(drawn / ADVANCE_PART, 1), ADVANCE_LIMIT);

		advance = keystore_next_numbers((int) wanted, &nadvance);
		drawn += nadvance;
	}
	number = advance++;
	nadvance--;
	note(number, current_origin(how));
	return number;
}

void
provenance_note_again(uint64 number, ProvenanceHow how)
{
	if (dropped)
		note(number, current_origin(how));
}

void
provenance_withdraw(uint64 number)
{
	if (nranges > 0 && ranges[nranges - 1].first == number &&
		ranges[nranges - 1].last == number &&
		ranges[nranges - 1].subid == GetCurrentSubTransactionId())
		nranges--;
}

/* ---------- writing ---------- */

static int
compare_ranges(const void *a, const void *b)
{
	const Range *x = a;
	const Range *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return 0;
}

/*
 * Put the ranges in order, without gaps between those of one origin where
 * there are none, and each number in one of them only: it may have been noted
 * twice.
 */
static void
arrange_ranges(void)
{
	int			n = 1;
	int			i;

	qsort(ranges, nranges, sizeof(Range), compare_ranges);
	for (i = 1; i < nranges; i++)
	{
		Range	   *last = &ranges[n - 1];
		Range		range = ranges[i];

		range.first = Max(range.first, last->last + 1);
		if (range.first > range.last)
			continue;
		range.subid = last->subid;
		if (ranges_join(last, &range))
			last->last = range.last;
		else
			ranges[n++] = range;
	}
	nranges = n;
}

static void
set_text(TupleTableSlot *slot, int column, const char *value)
{
	slot->tts_isnull[column] = value[0] == '\0';
	if (value[0] != '\0')
		slot->tts_values[column] = CStringGetTextDatum(value);
}

/* A role's name; its number if it was dropped meanwhile. */
static const char *
role_name(Oid role)
{
	const char *name = GetUserNameFromId(role, true);

	return name != NULL ? name : psprintf("%u", role);
}

/* The client's address; NULL over a Unix socket. */
static Datum
client_address(bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	*isnull = fcinfo->isnull;
	return address;
}

static void
insert_range(ResultRelInfo *result, EState *estate, TupleTableSlot *slot,
			 const Range *range)
{
	const Origin *origin = range->origin;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true,
		   slot->tts_tupleDescriptor->natts * sizeof(bool));
	slot->tts_values[COLUMN_FIRST] = Int64GetDatum((int64) range->first);
	slot->tts_values[COLUMN_LAST] = Int64GetDatum((int64) range->last);
	slot->tts_values[COLUMN_ENTERED_AT] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	memset(slot->tts_isnull, false, COLUMN_HOW * sizeof(bool));
	set_text(slot, COLUMN_HOW, how_names[origin->how]);
	set_text(slot, COLUMN_ROLE, role_name(origin->role));
	if (origin->session_role != origin->role)
		set_text(slot, COLUMN_SESSION_ROLE, role_name(origin->session_role));
	else
	{
		slot->tts_values[COLUMN_SESSION_ROLE] = slot->tts_values[COLUMN_ROLE];
		slot->tts_isnull[COLUMN_SESSION_ROLE] = false;
	}
	set_text(slot, COLUMN_ACTOR, origin->actor);
	set_text(slot, COLUMN_APPLICATION, origin->application);
	slot->tts_values[COLUMN_CLIENT] =
		client_address(&slot->tts_isnull[COLUMN_CLIENT]);
	set_text(slot, COLUMN_SOURCE, origin->source);
	ExecStoreVirtualTuple(slot);
	simple_table_tuple_insert(result->ri_RelationDesc, slot);
	if (result->ri_NumIndices > 0)
		compat_insert_index_entries(result, slot, estate);
}

static void
add_context(void *arg)
{
	errcontext("recording in gdpr.provenance who entered new persons");
}

static Relation
open_provenance(Oid schema)
{
	Oid			relid = get_relname_relid("provenance", schema);
	Relation	rel;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table gdpr.provenance does not exist"),
				 errhint("ALTER EXTENSION gdpr UPDATE;")));
	rel = table_open(relid, RowExclusiveLock);
	if (RelationGetDescr(rel)->natts < COLUMNS)
		elog(ERROR, "table gdpr.provenance lacks columns");
	return rel;
}

/* False: there is nothing to record. */
static bool
write_ranges(void)
{
	const GdprOids *oids = datamap_oids();
	ErrorContextCallback callback = {error_context_stack, add_context, NULL};
	MemoryContext before;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;
	int			i;

	/* nothing was stored, or the extension was dropped meanwhile */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()) || oids == NULL)
		return false;
	error_context_stack = &callback;
	arrange_ranges();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel = open_provenance(oids->schema);
	estate = CreateExecutorState();
	before = MemoryContextSwitchTo(estate->es_query_cxt);
	result = makeNode(ResultRelInfo);
	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, false);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	for (i = 0; i < nranges; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
		insert_range(result, estate, slot, &ranges[i]);
		(void) MemoryContextSwitchTo(estate->es_query_cxt);
		ResetPerTupleExprContext(estate);
	}
	ExecDropSingleTupleTableSlot(slot);
	ExecCloseIndices(result);
	MemoryContextSwitchTo(before);
	FreeExecutorState(estate);
	table_close(rel, NoLock);
	PopActiveSnapshot();
	error_context_stack = callback.previous;
	return true;
}

/* ---------- asking ---------- */

/*
 * Purposes may want new persons from this source to be asked for consent
 * (sql/66_ask.sql).  As the extension's owner, and as it was when the
 * transaction commits.
 */
static void
ask_range(const Range *range)
{
	static const char statement[] =
		"SELECT gdpr.ask_new_persons($1, $2, $3)";
	Oid			types[3] = {INT8OID, INT8OID, TEXTOID};
	Datum		values[3];
	Oid			user;
	int			sec_context;

	values[0] = Int64GetDatum((int64) range->first);
	values[1] = Int64GetDatum((int64) range->last);
	values[2] = CStringGetTextDatum(range->origin->source);
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_plan(plans_get(statement, 3, types), values, NULL, false,
						 0) < 0)
		elog(ERROR, "could not ask new persons for consent");
	SetUserIdAndSecContext(user, sec_context);
}

/* Ranges are in order, and those of one origin are often together. */
static void
ask_persons(void)
{
	const Origin *last = NULL;
	bool		asks = false;
	bool		connected = false;
	int			i;

	for (i = 0; i < nranges; i++)
	{
		const Origin *origin = ranges[i].origin;

		if (origin != last)
			asks = origin->how == PROVENANCE_ENTERED &&
				purpose_asks(origin->source);
		last = origin;
		if (!asks)
			continue;
		if (!connected)
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			SPI_connect();
			connected = true;
		}
		ask_range(&ranges[i]);
	}
	if (connected)
	{
		SPI_finish();
		PopActiveSnapshot();
	}
}

/* ---------- transactions ---------- */

static void
reset_state(void)
{
	/* the memory goes with the transaction */
	origins = NULL;
	ranges = NULL;
	nranges = 0;
	maxranges = 0;
	dropped = false;
	drawn = 0;
	nadvance = 0;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (nranges > 0 && write_ranges())
				ask_persons();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			reset_state();
			break;
		default:
			break;
	}
}

/* Ranges of a subtransaction become its parent's. */
static void
merge_into_parent(SubTransactionId id, SubTransactionId parent)
{
	int			i = nranges;
	int			n;

	while (i > 0 && ranges[i - 1].subid >= id)
		ranges[--i].subid = parent;
	for (n = i; i < nranges; i++)
	{
		if (n > 0 && ranges_join(&ranges[n - 1], &ranges[i]))
			ranges[n - 1].last = Max(ranges[n - 1].last, ranges[i].last);
		else
			ranges[n++] = ranges[i];
	}
	nranges = n;
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId id,
					SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		merge_into_parent(id, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		while (nranges > 0 && ranges[nranges - 1].subid >= id)
		{
			nranges--;
			dropped = true;
		}
}

void
provenance_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}
