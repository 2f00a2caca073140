/*
 * disclosure.c
 *		Personal values that were changed, of which recipients may have to be
 *		told (Art. 19): gdpr.tell_rectifications.
 *
 * The guard notes each value that an UPDATE changes, with the row key and the
 * subtransaction, if the database has any disclosure.  Before the transaction
 * commits, or is prepared, it is looked up of whom something was disclosed, and
 * SQL puts the messages (sql/63_notices.sql): as the extension's owner, since
 * whoever corrects a value need not have any right on this.
 *
 * That is not done at once, so that one message tells of all that a
 * transaction does, and so that a disclosure that is made meanwhile is seen.
 * Numbers and row keys take some 40 bytes for each value until then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "alias.h"
#include "codec.h"
#include "datamap.h"
#include "disclosure.h"
#include "errors.h"
#include "plans.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(gdpr_lock_disclosures);

#define SUBJECT_ATTNUM	2		/* of gdpr.disclosure */
#define LOCK_CLASS		1734635635	/* of advisory locks; forget has the one before */
#define LOCK_BUCKETS	256			/* so that many persons do not fill the lock table */
#define CALL_CHANGES	10000		/* handed to SQL at once, and those of the last person */

/* One value of a person */
typedef struct Change
{
	uint64		person;
	Size		key;			/* of the row key, in keys */
	int32		column;			/* its id */
	int32		keylen;
	SubTransactionId subid;
} Change;

/* All of the transaction, in TopTransactionContext */
static Change *changes = NULL;	/* as noted; those of a subtransaction follow
								 * those of its parent */
static Size nchanges = 0;
static Size maxchanges = 0;
static char *keys = NULL;		/* the row keys, one after the other */
static Size nkeys = 0;
static Size maxkeys = 0;

/* ---------- noting ---------- */

/*
 * Nobody deletes disclosures: there are some if the table has a page.  Looked
 * at once in a statement, until it has one.
 */
bool
disclosure_any(void)
{
	static uint64 known_statement = 0;
	static bool known = false;
	static Oid	known_relid = InvalidOid;
	uint64		statement = statement_number();
	const GdprOids *oids;
	Oid			relid;
	Relation	rel;

	if (known_statement == statement)
		return known;
	oids = datamap_oids();
	relid = oids == NULL ? InvalidOid :
		get_relname_relid("disclosure", oids->schema);
	if (!OidIsValid(relid))
		return false;
	if (!known || relid != known_relid)
	{
		rel = table_open(relid, AccessShareLock);
		known = RelationGetNumberOfBlocks(rel) > 0;
		table_close(rel, AccessShareLock);
	}
	known_relid = relid;
	known_statement = statement;
	return known;
}

/* Room for more in an array of the transaction. */
static void *
grow(void *array, Size *max, Size needed, Size size)
{
	Size		more = Max(*max, 64);

	if (needed <= *max)
		return array;
	while (more < needed)
		more *= 2;
	*max = more;
	if (array == NULL)
		return MemoryContextAllocHuge(TopTransactionContext, more * size);
	return repalloc_huge(array, more * size);
}

/* The bytes of a row key, which are often those of the change before. */
static Size
keep_key(const StringInfo rowkey)
{
	Size		offset = nkeys;

	if (nchanges > 0)
	{
		const Change *last = &changes[nchanges - 1];

		if (last->keylen == rowkey->len &&
			memcmp(keys + last->key, rowkey->data, rowkey->len) == 0)
			return last->key;
	}
	keys = grow(keys, &maxkeys, nkeys + rowkey->len, 1);
	memcpy(keys + nkeys, rowkey->data, rowkey->len);
	nkeys += rowkey->len;
	return offset;
}

void
disclosure_note_change(const ColumnMap *column, uint64 person,
					   const StringInfo rowkey)
{
	Change		change;

	change.person = person;
	change.key = keep_key(rowkey);
	change.column = column->id;
	change.keylen = rowkey->len;
	change.subid = GetCurrentSubTransactionId();
	changes = grow(changes, &maxchanges, nchanges + 1, sizeof(Change));
	changes[nchanges++] = change;
}

/* ---------- telling ---------- */

static int
compare_changes(const void *a, const void *b)
{
	const Change *x = a;
	const Change *y = b;

	if (x->person != y->person)
		return x->person < y->person ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->column < y->column ? -1 : x->column > y->column;
}

static int
compare_numbers(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Was something disclosed of a number?  The latest version of the ledger
 * counts; a transaction whose snapshot is older cannot tell of all of it.
 */
static bool
number_is_disclosed(Relation rel, Oid index, Snapshot snapshot, uint64 number)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&key, SUBJECT_ATTNUM, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) number));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

		result = true;
		if (!IsolationUsesXactSnapshot())
			break;
		if (!TransactionIdIsCurrentTransactionId(xmin) &&
			XidInMVCCSnapshot(xmin, GetTransactionSnapshot()))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent disclosure"),
					 errhint("The transaction might succeed if retried.")));
	}
	systable_endscan(scan);
	return result;
}

/* The same of a person, by any of its numbers. */
static bool
is_disclosed(Relation rel, Oid index, Snapshot snapshot, uint64 person)
{
	uint64	   *numbers;
	int			n = alias_merged(person, &numbers);
	bool		result = false;
	int			i;

	for (i = 0; i < n; i++)
		result |= number_is_disclosed(rel, index, snapshot, numbers[i]);
	pfree(numbers);
	return result;
}

/* Of whom was something disclosed?  Sorted, as changes are. */
static int64 *
find_disclosed(Size *n)
{
	Oid			schema = datamap_oids()->schema;
	Relation	rel = table_open(get_relname_relid("disclosure", schema), AccessShareLock);
	Oid			index = get_relname_relid("disclosure_subject", schema);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(InvalidOid));
	int64	   *result = NULL;
	Size		max = 0;
	Size		i;

	*n = 0;
	for (i = 0; i < nchanges; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if ((i > 0 && changes[i].person == changes[i - 1].person) ||
			!is_disclosed(rel, index, snapshot, changes[i].person))
			continue;
		result = grow(result, &max, *n + 1, sizeof(int64));
		result[(*n)++] = (int64) changes[i].person;
	}
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return result;
}

/* The value of a key column, as text, and where its bytes end. */
static char *
key_text(const TableMap *table, int i, const char **p, const char *end)
{
	Oid			typid = get_atttype(table->relid, table->keys[i]);
	Oid			output;
	bool		varlena;
	uint32		len;
	Codec		codec;
	Datum		value;

	if (end - *p < 4)
		elog(ERROR, "a row key is too short");
	memcpy(&len, *p, 4);
	len = pg_ntoh32(len);
	*p += 4;
	if (len == PG_UINT32_MAX)
		return NULL;
	if (len > end - *p)
		elog(ERROR, "a row key is too short");
	codec_init(&codec, typid, CurrentMemoryContext);
	value = codec_decode(&codec, *p, (int) len, -1,
						 GetDatabaseEncoding() == PG_SQL_ASCII ? PG_SQL_ASCII : PG_UTF8);
	*p += len;
	getTypeOutputInfo(typid, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

/* The row key, as a JSON object of texts. */
static Datum
key_json(const TableMap *table, const Change *change)
{
	const char *p = keys + change->key;
	const char *end = p + change->keylen;
	StringInfoData json;
	int			i;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (i = 0; i < table->nkeys; i++)
	{
		char	   *text = key_text(table, i, &p, end);

		appendStringInfoString(&json, i > 0 ? ", " : "");
		escape_json(&json, get_attname(table->relid, table->keys[i], false));
		appendStringInfoString(&json, ": ");
		if (text == NULL)
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, text);
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* Arguments of gdpr.tell_rectifications */
typedef struct Call
{
	Datum	   *columns[5];		/* persons, relations, keys, columns, categories */
	int			n;
	int			max;
} Call;

static void
add_to_call(Call *call, const Change *change)
{
	ColumnMap  *column = datamap_column(change->column);
	int			i;

	if (column == NULL)
		return;					/* it was undeclared meanwhile */
	if (call->n == call->max)
	{
		call->max = call->max > 0 ? 2 * call->max : 16;
		for (i = 0; i < 5; i++)
			call->columns[i] = call->columns[i] == NULL ?
				palloc(sizeof(Datum) * call->max) :
				repalloc(call->columns[i], sizeof(Datum) * call->max);
	}
	call->columns[0][call->n] = Int64GetDatum((int64) change->person);
	call->columns[1][call->n] =
		CStringGetTextDatum(datamap_relation_name(column->table->relid));
	call->columns[2][call->n] = key_json(column->table, change);
	call->columns[3][call->n] = CStringGetTextDatum(column->name);
	call->columns[4][call->n] = Int16GetDatum((int16) column->category);
	call->n++;
}

static void
make_call(Call *call, bool notify)
{
	static const char statement[] =
		"SELECT gdpr.tell_rectifications($1, $2, $3, $4, $5, $6)";
	Oid			elements[5] = {INT8OID, TEXTOID, JSONBOID, TEXTOID, INT2OID};
	Oid			types[6] = {INT8ARRAYOID, TEXTARRAYOID, JSONBARRAYOID,
	TEXTARRAYOID, INT2ARRAYOID, BOOLOID};
	Datum		values[6];
	int			i;

	for (i = 0; i < 5; i++)
	{
		int16		typlen;
		bool		byval;
		char		align;

		get_typlenbyvalalign(elements[i], &typlen, &byval, &align);
		values[i] = PointerGetDatum(construct_array(call->columns[i], call->n,
													elements[i], typlen, byval, align));
	}
	values[5] = BoolGetDatum(notify);
	if (SPI_execute_plan(plans_get(statement, 6, types), values, NULL, false,
						 0) != SPI_OK_SELECT)
		elog(ERROR, "could not tell recipients of a change");
	SPI_freetuptable(SPI_tuptable);
}

/* Those of changes, in order, from here on until there is enough for a call. */
static Size
tell_some(Size first, const int64 *disclosed, Size ndisclosed, bool notify)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "gdpr rectifications",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	Call		call = {0};
	uint64		person = 0;
	bool		tells = false;
	Size		i;

	for (i = first; i < nchanges; i++)
	{
		int64		number = (int64) changes[i].person;

		if (changes[i].person != person)
		{
			if (call.n >= CALL_CHANGES)
				break;
			person = changes[i].person;
			tells = bsearch(&number, disclosed, ndisclosed, sizeof(int64),
							compare_numbers) != NULL;
		}
		if (tells)
			add_to_call(&call, &changes[i]);
	}
	if (call.n > 0)
		make_call(&call, notify);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return i;
}

static void
add_context(void *arg)
{
	errcontext("telling recipients that personal data was rectified");
}

/* Values in keys look the same whatever the session's settings are. */
static int
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"},
		{"timezone", "UTC"}, {"bytea_output", "hex"}, {"extra_float_digits", "1"}
	};
	int			level = NewGUCNestLevel();
	size_t		i;

	for (i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* What SQL is run with before a commit */
typedef struct Caller
{
	Oid			user;
	int			sec_context;
	int			guc_level;
	bool		read_only;
} Caller;

/* From here on, as the extension's owner. */
static void
begin_sql(Caller *caller)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	GetUserIdAndSecContext(&caller->user, &caller->sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   caller->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	caller->guc_level = pin_settings();
	/* it may have become so meanwhile; the next transaction sets it anew */
	caller->read_only = XactReadOnly;
	XactReadOnly = false;
}

static void
end_sql(const Caller *caller)
{
	XactReadOnly = caller->read_only;
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->sec_context);
	SPI_finish();
	PopActiveSnapshot();
}

/* Are there tables whose rows have several owners? */
static bool
any_owned(void)
{
	Oid			relid = get_relname_relid("mapped_owner", datamap_oids()->schema);
	Relation	rel = table_open(relid, AccessShareLock);
	bool		result = RelationGetNumberOfBlocks(rel) > 0;

	table_close(rel, AccessShareLock);
	return result;
}

/* The changes of a number, of so many that are sorted, are a person's too. */
static void
copy_changes(Size sorted, uint64 number, uint64 person)
{
	Size		low = 0;
	Size		high = sorted;

	while (low < high)
	{
		Size		middle = low + (high - low) / 2;

		if (changes[middle].person < number)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < sorted && changes[low].person == number; low++)
	{
		changes = grow(changes, &maxchanges, nchanges + 1, sizeof(Change));
		changes[nchanges] = changes[low];
		changes[nchanges++].person = person;
	}
}

/*
 * A row with several owners, and what belongs to it, has a number of its own:
 * what is changed there concerns all of them.
 */
static void
add_owners(void)
{
	static const char statement[] =
		"SELECT o.number, o.owner FROM gdpr.owners_of($1) o";
	Oid			type = INT8ARRAYOID;
	Size		sorted = nchanges;
	Datum	   *numbers = palloc(sizeof(Datum) * CALL_CHANGES);
	Caller		caller;
	int			n = 0;
	Size		i;

	begin_sql(&caller);
	for (i = 0; i < sorted; i++)
	{
		Datum		array;
		uint64		row;

		if (i == 0 || changes[i].person != changes[i - 1].person)
			numbers[n++] = Int64GetDatum((int64) changes[i].person);
		if (n == 0 || (n < CALL_CHANGES && i < sorted - 1))
			continue;
		array = PointerGetDatum(construct_array(numbers, n, INT8OID, 8,
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		n = 0;
		if (SPI_execute_plan(plans_get(statement, 1, &type), &array, NULL,
							 false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not look for the owners of rows");
		for (row = 0; row < SPI_processed; row++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[row];
			bool		isnull;

			copy_changes(sorted,
						 (uint64) DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull)),
						 (uint64) DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull)));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	end_sql(&caller);
	if (nchanges > sorted)
		qsort(changes, nchanges, sizeof(Change), compare_changes);
}

static void
tell_changes(bool notify)
{
	ErrorContextCallback callback = {error_context_stack, add_context, NULL};
	int64	   *disclosed;
	Size		ndisclosed;
	bool		moved = false;	/* to the survivor of a merge */
	Size		i;

	error_context_stack = &callback;
	AcceptInvalidationMessages();
	qsort(changes, nchanges, sizeof(Change), compare_changes);
	if (any_owned())
		add_owners();
	for (i = 0; i < nchanges; i++)
	{
		uint64		survivor = alias_survivor(changes[i].person);

		moved |= survivor != changes[i].person;
		changes[i].person = survivor;
	}
	if (moved)
		qsort(changes, nchanges, sizeof(Change), compare_changes);
	i = 0;
	disclosed = find_disclosed(&ndisclosed);
	if (ndisclosed > 0)
	{
		Caller		caller;

		begin_sql(&caller);
		while (i < nchanges)
			i = tell_some(i, disclosed, ndisclosed, notify);
		end_sql(&caller);
	}
	error_context_stack = callback.previous;
}

/* ---------- transactions ---------- */

static void
reset_state(void)
{
	/* the memory goes with the transaction */
	changes = NULL;
	nchanges = 0;
	maxchanges = 0;
	keys = NULL;
	nkeys = 0;
	maxkeys = 0;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* a transaction that notifies cannot be prepared: workers look by
			 * themselves now and then */
			if (nchanges > 0 && datamap_oids() != NULL)
				tell_changes(event == XACT_EVENT_PRE_COMMIT);
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

static void
subtransaction_ends(SubXactEvent event, SubTransactionId id,
					SubTransactionId parent, void *arg)
{
	Size		i;

	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (i = nchanges; i > 0 && changes[i - 1].subid >= id; i--)
			changes[i - 1].subid = parent;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		while (nchanges > 0 && changes[nchanges - 1].subid >= id)
			nchanges--;
}

void
disclosure_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}

/* ---------- for SQL ---------- */

/* Can those who forget see what was disclosed until now? */
static void
require_current(const Datum *persons, int n)
{
	Oid			schema = datamap_oids()->schema;
	Relation	rel = table_open(get_relname_relid("disclosure", schema), AccessShareLock);
	Oid			index = get_relname_relid("disclosure_subject", schema);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(InvalidOid));
	int			i;

	for (i = 0; i < n; i++)
		(void) is_disclosed(rel, index, snapshot, (uint64) DatumGetInt64(persons[i]));
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/*
 * gdpr.lock_disclosures(persons, forgetting)
 *
 * Those who disclose do not wait for each other, nor do those who forget; one
 * waits for the other, until the transaction ends.  Persons share a lock with
 * some others, so that a mailing to everybody takes 256 of them.
 * serialization_failure: something was disclosed since the snapshot of one who
 * forgets.
 */
Datum
gdpr_lock_disclosures(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	LOCKMODE	mode = PG_GETARG_BOOL(1) ? ShareLock : RowExclusiveLock;
	bool		wanted[LOCK_BUCKETS] = {false};
	Datum	   *persons;
	int			n;
	int			i;

	deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &persons, NULL, &n);
	for (i = 0; i < n; i++)
		wanted[alias_survivor((uint64) DatumGetInt64(persons[i])) % LOCK_BUCKETS] = true;
	for (i = 0; i < LOCK_BUCKETS; i++)
	{
		LOCKTAG		tag;

		if (!wanted[i])
			continue;
		SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_CLASS, i, 2);
		(void) LockAcquire(&tag, mode, false, false);
	}
	if (mode == ShareLock)
		require_current(persons, n);
	PG_RETURN_VOID();
}
