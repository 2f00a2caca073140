/*
 * transition.c
 *		Converting a table while others use it: batches of rows, and what
 *		they need.
 *
 * The same batches give rows other months of expiry, see expiry.c.
 *
 * The state is in gdpr.mapped_table (form, other_form), committed before the
 * first batch, so that everybody reads, searches and writes both forms; the
 * steps are in sql/55_transition.sql.
 *
 * A batch never waits for the application: a row, a parent's row or a value
 * that somebody has locked is passed over, and converted in a later pass or at
 * the end.  So it cannot be part of a deadlock.  What others see of it is that
 * the rows of one batch are locked until it commits.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "convert.h"
#include "errors.h"
#include "form.h"
#include "former.h"
#include "row.h"
#include "transition.h"

PG_FUNCTION_INFO_V1(gdpr_convert_batch);
PG_FUNCTION_INFO_V1(gdpr_reseal_batch);
PG_FUNCTION_INFO_V1(gdpr_seal_rows);
PG_FUNCTION_INFO_V1(gdpr_can_be_live);
PG_FUNCTION_INFO_V1(gdpr_lock_conversion);
PG_FUNCTION_INFO_V1(gdpr_unlock_conversion);
PG_FUNCTION_INFO_V1(gdpr_wait_for_old_snapshots);

#define CONVERSION_LOCK_CLASS	4	/* of advisory locks; see form.c */

/* Work on the rows of one relation */
typedef struct Conversion
{
	Relation	rel;
	TableMap   *table;
	int			form;			/* to convert to; not of CONVERT_EXPIRY */
	ConvertFor	purpose;
	ExpiryKept	kept;			/* of CONVERT_EXPIRY */
	bool		may_wait;		/* for locks of others */
	bool		exclusive;		/* nobody else writes */
	Snapshot	snapshot;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *locked;		/* the newest version of a row */
	TupleTableSlot *new;
	MemoryContext per_row;
	Oid			user;			/* who called */
	int			sec_context;
	int			guc_level;
} Conversion;

static Relation
open_table(Oid relid, LOCKMODE lockmode)
{
	Relation	rel = try_relation_open(relid, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %u does not exist", relid)));
	return rel;
}

static void
begin_conversion(Conversion *work, Oid relid, ConvertFor purpose, bool may_wait)
{
	work->rel = open_table(relid, RowExclusiveLock);

	/* index expressions and types run code of the table's owner */
	GetUserIdAndSecContext(&work->user, &work->sec_context);
	work->guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(work->rel->rd_rel->relowner,
						   work->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	work->table = datamap_lookup(relid);
	if (work->table == NULL ||
		(purpose != CONVERT_EXPIRY && !datamap_in_transition(work->table)))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 purpose == CONVERT_EXPIRY ?
				 errmsg("table \"%s\" is not protected in the data map",
						RelationGetRelationName(work->rel)) :
				 errmsg("table \"%s\" is not being converted",
						RelationGetRelationName(work->rel))));
	if (purpose != CONVERT_EXPIRY)
		CheckCmdReplicaIdentity(work->rel, CMD_UPDATE);
	work->form = work->table->form;
	work->may_wait = may_wait;
	work->purpose = purpose;
	memset(&work->kept, 0, sizeof(work->kept));
	work->exclusive = false;
	work->snapshot = RegisterSnapshot(GetLatestSnapshot());
	work->estate = CreateExecutorState();
	work->estate->es_snapshot = work->snapshot;
	work->estate->es_output_cid = GetCurrentCommandId(true);
	work->result = makeNode(ResultRelInfo);
	InitResultRelInfo(work->result, work->rel, 0, NULL, 0);
	ExecOpenIndices(work->result, false);
	work->locked = table_slot_create(work->rel, NULL);
	work->new = MakeSingleTupleTableSlot(RelationGetDescr(work->rel),
										 &TTSOpsVirtual);
	work->per_row = AllocSetContextCreate(CurrentMemoryContext,
										  "gdpr convert row",
										  ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	former_begin(relid);
}

static void
end_conversion(Conversion *work)
{
	former_end();
	SPI_finish();
	MemoryContextDelete(work->per_row);
	ExecDropSingleTupleTableSlot(work->new);
	ExecDropSingleTupleTableSlot(work->locked);
	ExecCloseIndices(work->result);
	FreeExecutorState(work->estate);
	UnregisterSnapshot(work->snapshot);
	AtEOXact_GUC(false, work->guc_level);
	SetUserIdAndSecContext(work->user, work->sec_context);
	relation_close(work->rel, NoLock);
}

/*
 * Lock a row.  False: it is gone, or somebody has it.  Its unique columns
 * change, so this conflicts with foreign keys' locks.
 *
 * Where it was updated since the snapshot, a batch passes over it: to follow
 * it to its newest version, as is done for forget, would be an error if that
 * is in another partition.
 */
static bool
lock_row(Conversion *work, ItemPointer tid)
{
	TM_FailureData failure;

	return table_tuple_lock(work->rel, tid, work->snapshot, work->locked,
							GetCurrentCommandId(false),
							work->table->has_tokens && work->purpose != CONVERT_EXPIRY ?
							LockTupleExclusive : LockTupleNoKeyExclusive,
							work->may_wait ? LockWaitBlock : LockWaitSkip,
							work->may_wait ? TUPLE_LOCK_FLAG_FIND_LAST_VERSION : 0,
							&failure) == TM_Ok;
}

/*
 * Lock the values that a row has in unique columns.  Those of a sealed row
 * have to be opened for it.
 */
static bool
lock_row_values(Conversion *work, const Datum *values, const bool *isnull)
{
	TableMap   *table = work->table;
	int			natts = RelationGetDescr(work->rel)->natts;
	Datum	   *plain;
	bool	   *plain_isnull;
	StringInfoData rowkey;
	bytea	   *sealed;
	int			i;

	if (work->exclusive || !table->has_tokens)
		return true;
	if (isnull[table->sealed_attnum - 1])
		return form_lock(work->rel, table, values, isnull, work->may_wait);
	plain = palloc(sizeof(Datum) * natts);
	plain_isnull = palloc(sizeof(bool) * natts);
	memcpy(plain, values, sizeof(Datum) * natts);
	memcpy(plain_isnull, isnull, sizeof(bool) * natts);
	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	sealed = DatumGetByteaPP(values[table->sealed_attnum - 1]);
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (column->searchable)
			(void) row_open_value(column, (uint8 *) VARDATA_ANY(sealed),
								  VARSIZE_ANY_EXHDR(sealed),
								  (uint8 *) rowkey.data, rowkey.len,
								  &plain[att], &plain_isnull[att], NULL);
	}
	return form_lock(work->rel, table, plain, plain_isnull, work->may_wait);
}

/* Is the row to be converted? */
static bool
is_wrong(const Conversion *work, const Datum *values, const bool *isnull)
{
	if (work->purpose != CONVERT_EXPIRY)
		return row_form(work->table, values, isnull) != work->form;
	return !isnull[work->table->sealed_attnum - 1] &&
		!row_expires_right(work->table, values, isnull, &work->kept);
}

/* Convert the row that is locked.  False: not now. */
static bool
convert_locked(Conversion *work)
{
	int			natts = RelationGetDescr(work->rel)->natts;
	TupleTableSlot *new = work->new;
	int			i;

	slot_getallattrs(work->locked);
	ExecClearTuple(new);
	memcpy(new->tts_values, work->locked->tts_values, sizeof(Datum) * natts);
	memcpy(new->tts_isnull, work->locked->tts_isnull, sizeof(bool) * natts);
	for (i = 0; i < natts; i++)
		if (TupleDescAttr(RelationGetDescr(work->rel), i)->attisdropped)
			new->tts_isnull[i] = true;
	if (!is_wrong(work, new->tts_values, new->tts_isnull))
		return true;
	if (work->purpose == CONVERT_EXPIRY)
	{
		CheckCmdReplicaIdentity(work->rel, CMD_UPDATE);
		work->form = row_form(work->table, new->tts_values, new->tts_isnull);
	}
	else if (!lock_row_values(work, new->tts_values, new->tts_isnull))
		return false;
	if (!convert_row(work->table, new->tts_values, new->tts_isnull, work->form,
					 work->purpose,
					 work->purpose == CONVERT_EXPIRY ? &work->kept : NULL))
		return false;
	ExecStoreVirtualTuple(new);
	new->tts_tableOid = RelationGetRelid(work->rel);
	compat_update_row(work->result, &work->locked->tts_tid, new, work->estate);
	ResetPerTupleExprContext(work->estate);
	return true;
}

/* Lock and convert a row.  False: not now. */
static bool
convert_tid(Conversion *work, ItemPointer tid)
{
	MemoryContext before = MemoryContextSwitchTo(work->per_row);
	bool		done = lock_row(work, tid) && convert_locked(work);

	ExecClearTuple(work->new);
	ExecClearTuple(work->locked);
	MemoryContextSwitchTo(before);
	MemoryContextReset(work->per_row);
	return done;
}

/* Converts rows from a block on, for the functions below. */
static Datum
convert_rows(FunctionCallInfo fcinfo, ConvertFor purpose, bool exclusive,
			 ExpiryKept kept)
{
	BlockNumber first = (BlockNumber) PG_GETARG_INT64(1);
	int64		limit = PG_GETARG_INT64(2);
	Conversion	work;
	TableScanDesc scan;
	TupleTableSlot *slot;
	ItemPointerData from;
	ItemPointerData to;
	BlockNumber block = first;
	bool		at_end = true;
	int64		converted = 0;
	int64		skipped = 0;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	begin_conversion(&work, PG_GETARG_OID(0), purpose, exclusive);
	work.exclusive = exclusive;
	work.kept = kept;
	slot = table_slot_create(work.rel, NULL);
	ItemPointerSet(&from, first, FirstOffsetNumber);
	ItemPointerSet(&to, MaxBlockNumber, MaxOffsetNumber);
	scan = table_beginscan_tidrange(work.rel, work.snapshot, &from, &to);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
	{
		BlockNumber here = ItemPointerGetBlockNumber(&slot->tts_tid);
		MemoryContext before;
		bool		wrong;

		CHECK_FOR_INTERRUPTS();
		if (here != block &&
			(converted + skipped >= limit ||
			 (purpose == CONVERT_EXPIRY && here - first >= limit)))
		{
			block = here;
			at_end = false;
			break;
		}
		block = here;
		slot_getallattrs(slot);
		before = MemoryContextSwitchTo(work.per_row);
		wrong = is_wrong(&work, slot->tts_values, slot->tts_isnull);
		MemoryContextSwitchTo(before);
		MemoryContextReset(work.per_row);
		if (!wrong)
			continue;
		if (convert_tid(&work, &slot->tts_tid))
			converted++;
		else
			skipped++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	end_conversion(&work);

	values[0] = Int64GetDatum((int64) block);
	nulls[0] = at_end;
	values[1] = Int64GetDatum(converted);
	values[2] = Int64GetDatum(skipped);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/*
 * gdpr.convert_batch(relation, position, rows, wait, OUT next, OUT converted,
 *		OUT skipped)
 *
 * Converts about so many rows from a block on; next is the block to go on
 * with, NULL at the end.  wait: the caller has locked out all writers, and no
 * row may be left.
 */
Datum
gdpr_convert_batch(PG_FUNCTION_ARGS)
{
	ExpiryKept	nobody = {0};

	return convert_rows(fcinfo, CONVERT_BATCH, PG_GETARG_BOOL(3), nobody);
}

/*
 * gdpr.reseal_batch(relation, position, rows, kept, OUT next, OUT resealed,
 *		OUT skipped)
 *
 * kept: numbers of persons whose values have no limit, sorted.
 * The same for rows of a protected table with values that are not sealed under
 * the month of expiry that they should have; most are right, so it also ends
 * after so many blocks.
 */
Datum
gdpr_reseal_batch(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(3);
	ExpiryKept	kept;

	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kept must be a list of numbers")));
	kept.count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	kept.numbers = (uint64 *) ARR_DATA_PTR(array);
	return convert_rows(fcinfo, CONVERT_EXPIRY, false, kept);
}

/* Seal a row for forget(). */
static void
seal_now(Conversion *work, ItemPointer tid)
{
	if (!convert_tid(work, tid))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("a row of the person in table \"%s\", which is being converted, is in use",
						RelationGetRelationName(work->rel)),
				 errhint("Repeat it.")));
}

/* Seal the open rows with a row key. */
static int64
seal_rows_with_key(Conversion *work, const bytea *key)
{
	TableMap   *table = work->table;
	TupleTableSlot *slot = table_slot_create(work->rel, NULL);
	TableScanDesc scan = table_beginscan(work->rel, work->snapshot, 0, NULL);
	StringInfoData rowkey;
	int64		rows = 0;

	initStringInfo(&rowkey);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		if (!slot->tts_isnull[table->sealed_attnum - 1])
			continue;
		resetStringInfo(&rowkey);
		row_key(table, slot->tts_values, slot->tts_isnull, &rowkey);
		if (rowkey.len == (int) VARSIZE_ANY_EXHDR(key) &&
			memcmp(rowkey.data, VARDATA_ANY(key), rowkey.len) == 0)
		{
			seal_now(work, &slot->tts_tid);
			rows++;
		}
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return rows;
}

/*
 * gdpr.seal_rows(relation, rows, row key) RETURNS bigint
 *
 * Seals these rows and (unless it is NULL) those with this row key, in a table
 * that is being converted, so that forget() finds them; the rows of tables
 * above are locked.  Returns how many.
 */
Datum
gdpr_seal_rows(PG_FUNCTION_ARGS)
{
	Conversion	work;
	Datum	   *tids = NULL;
	int			n = 0;
	int			i;
	int64		rows;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	begin_conversion(&work, PG_GETARG_OID(0), CONVERT_FORGET, true);
	work.form = datamap_sealed_form(work.table);
	if (!PG_ARGISNULL(1))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIDOID,
						  sizeof(ItemPointerData), false, TYPALIGN_SHORT,
						  &tids, NULL, &n);
	for (i = 0; i < n; i++)
		seal_now(&work, (ItemPointer) DatumGetPointer(tids[i]));
	rows = n;
	if (!PG_ARGISNULL(2))
		rows += seal_rows_with_key(&work, PG_GETARG_BYTEA_PP(2));
	end_conversion(&work);
	PG_RETURN_INT64(rows);
}

/*
 * gdpr.can_be_live(relation) RETURNS boolean
 *
 * Can the table be converted in batches?  See form_can_be_live().
 */
Datum
gdpr_can_be_live(PG_FUNCTION_ARGS)
{
	Relation	rel = open_table(PG_GETARG_OID(0), AccessShareLock);
	TableMap   *table = datamap_lookup(PG_GETARG_OID(0));
	bool		live = table == NULL || form_can_be_live(rel, table);

	/* not kept: who converts takes stronger locks, from the root down */
	relation_close(rel, AccessShareLock);
	PG_RETURN_BOOL(live);
}

/* ---------- one at a time ---------- */

static Oid	locked_conversion = InvalidOid;
static bool has_locked_conversion = false;

static void
conversion_tag(LOCKTAG *tag, Oid relid)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, relid, 0, CONVERSION_LOCK_CLASS);
}

static void
release_conversion(void)
{
	LOCKTAG		tag;

	if (!has_locked_conversion)
		return;
	has_locked_conversion = false;
	conversion_tag(&tag, locked_conversion);
	LockRelease(&tag, ExclusiveLock, true);
}

/* A procedure that failed is at its end. */
static void
conversion_at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		release_conversion();
}

void
transition_init(void)
{
	RegisterXactCallback(conversion_at_abort, NULL);
}

/*
 * gdpr.lock_conversion(relation, keep) RETURNS boolean
 *
 * Has this session the right to convert the table (0: to rotate tokens, 1: to
 * run retention, as no table has these OIDs)?  Kept to the end of the
 * transaction; with keep until unlock_conversion(), or until a transaction
 * aborts.
 */
Datum
gdpr_lock_conversion(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	LOCKTAG		tag;

	conversion_tag(&tag, relid);
	if (!PG_GETARG_BOOL(1))
		PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) !=
					   LOCKACQUIRE_NOT_AVAIL);
	if (has_locked_conversion && locked_conversion == relid)
		PG_RETURN_BOOL(true);
	release_conversion();
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		PG_RETURN_BOOL(false);
	has_locked_conversion = true;
	locked_conversion = relid;
	PG_RETURN_BOOL(true);
}

Datum
gdpr_unlock_conversion(PG_FUNCTION_ARGS)
{
	release_conversion();
	PG_RETURN_VOID();
}

/*
 * gdpr.wait_for_old_snapshots()
 *
 * Waits until nobody in this database can see what rows were before the last
 * batch, as CREATE INDEX CONCURRENTLY does.
 */
Datum
gdpr_wait_for_old_snapshots(PG_FUNCTION_ARGS)
{
	VirtualTransactionId *others;
	int			n;
	int			i;

	others = GetCurrentVirtualXIDs(GetLatestSnapshot()->xmin, true, false,
								   PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &n);
	for (i = 0; i < n; i++)
		(void) VirtualXactLock(others[i], true);
	PG_RETURN_VOID();
}
