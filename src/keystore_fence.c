/*
 * keystore_fence.c
 *		Tombstones: the committed record of who was forgotten, and the
 *		punctures that follow from it.
 *
 * Forgetting writes a tombstone and notes what to puncture.  What can fail is
 * done before the commit; after it, code that cannot raise destroys the keys.
 * If that fails, the numbers are denied in shared memory and the worker
 * finishes.
 *
 * The fence: no key is served before the tombstones have been compared with
 * the keystore and what is left has been destroyed ("healed").  Once after a
 * start of the server, all of them; later, whenever a relcache invalidation
 * says that some arrived by other means than keystore_puncture_at_commit()
 * here: COPY or INSERT, a restored dump, COMMIT PREPARED, replay on a standby.
 * Invalidations are transactional, are kept in prepared transactions, and
 * are replayed, so they are the one signal for all of these.  Then only
 * tombstones newer than the last look count, told by their xmin.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "keystore_internal.h"

#define LOOKUP_CHUNK		1000	/* lookups under one hold of the lock */
#define ATTRIBUTE_NUMBER	2
#define ATTRIBUTE_CATEGORY	3
#define ATTRIBUTE_MONTH		6

typedef struct PendingPuncture
{
	KeytreeNode node;
	SubTransactionId subid;
} PendingPuncture;

/* of the current transaction, in TopTransactionContext */
static PendingPuncture *pending = NULL;
static int	npending = 0;
static int	maxpending = 0;
static KeytreeNode *commit_nodes = NULL;
static int	ncommit_nodes = 0;

static bool own_insert = false; /* the trigger need not act */
static bool arrived = false;	/* tombstones came by other means */

PG_FUNCTION_INFO_V1(gdpr_puncture_at_commit);
PG_FUNCTION_INFO_V1(gdpr_close_month_at_commit);
PG_FUNCTION_INFO_V1(gdpr_keystore_identity_changed);
PG_FUNCTION_INFO_V1(gdpr_tombstone_arrived);
PG_FUNCTION_INFO_V1(gdpr_tombstone_stays);

/* Is node denied until its keys are destroyed?  Caller holds a reader lock. */
bool
keystore_denied(KeystoreEntry *entry, KeytreeNode node)
{
	int			i;

	for (i = 0; i < entry->ndenied; i++)
		if (keytree_covers(entry->denied[i], node))
			return true;
	return false;
}

static void
set_denied(KeystoreEntry *entry, const KeytreeNode *nodes, int count)
{
	LWLockAcquire(entry->reader, LW_EXCLUSIVE);
	if (count == 0)
		entry->ndenied = 0;
	else if (entry->ndenied + count <= KEYSTORE_DENIED)
	{
		memcpy(entry->denied + entry->ndenied, nodes, count * sizeof(KeytreeNode));
		entry->ndenied += count;
	}
	else
		entry->fenced = false;	/* too many to remember: heal first */
	keystore_announce(entry, keystore_session.file);
	LWLockRelease(entry->reader);
}

/*
 * Destroys the keys of nodes, sorted.  Does not throw.  Damaged ones are
 * passed over and counted: nothing derives there.
 */
static KeyfileResult
puncture(const KeytreeNode *nodes, size_t count, size_t *damaged,
		 KeyfileError *err)
{
	KeystoreEntry *entry = keystore_session.entry;
	Keyfile    *file;
	size_t		next = 0;
	KeyfileResult result = keystore_begin_write(err);

	if (result != KEYFILE_OK)
		return result;
	file = keystore_session.file;
	while (result == KEYFILE_OK && next < count)
	{
		result = keyfile_puncture_prepare(file, nodes, count, &next, err);
		if (result == KEYFILE_DAMAGED)
		{
			(*damaged)++;
			next++;
			result = KEYFILE_OK;
			continue;
		}
		if (result != KEYFILE_OK)
			break;
		LWLockAcquire(entry->reader, LW_EXCLUSIVE);
		result = keyfile_puncture_apply(file, err);
		keystore_announce(entry, file);
		LWLockRelease(entry->reader);
	}
	keystore_end_write(result == KEYFILE_OK);
	return result;
}

/* Healing */

typedef struct NodeList
{
	KeytreeNode *nodes;
	int			count;
	int			max;
} NodeList;

static void
add_node(NodeList *list, KeytreeNode node)
{
	if (list->count == list->max)
	{
		Size		size;

		list->max = list->max ? 2 * list->max : 64;
		size = (Size) list->max * sizeof(KeytreeNode);
		list->nodes = list->nodes ?
			repalloc_huge(list->nodes, size) :
			MemoryContextAllocHuge(CurrentMemoryContext, size);
	}
	list->nodes[list->count++] = node;
}

/* What a tombstone says is destroyed. */
static void
add_tombstone(NodeList *list, HeapTuple tuple, TupleDesc desc)
{
	KeytreeNode past[KEYTREE_PAST_NODES];
	bool		isnull;
	bool		all_categories;
	int			category = DatumGetInt16(heap_getattr(tuple, ATTRIBUTE_CATEGORY, desc, &all_categories));
	int			month = DatumGetInt16(heap_getattr(tuple, ATTRIBUTE_MONTH, desc, &isnull));
	uint64		number;
	int			i;

	if (!isnull)
	{
		int			count = keytree_past(category, month, past);

		for (i = 0; i < count; i++)
			add_node(list, past[i]);
		return;
	}
	number = (uint64) DatumGetInt64(heap_getattr(tuple, ATTRIBUTE_NUMBER, desc, &isnull));
	add_node(list, keytree_subject(number, all_categories ? KEYTREE_ALL_CATEGORIES : category));
}

static FullTransactionId
full_xid_before(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return FullTransactionIdFromEpochAndXid(epoch, xid);
}

/*
 * The committed tombstones whose xmin is not before horizon (invalid: all),
 * those of this transaction left out.
 */
static void
read_tombstones(FullTransactionId horizon, NodeList *list)
{
	Relation	rel = table_open(keystore_relation("tombstone", false), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	TransactionId oldest = XidFromFullTransactionId(horizon);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

		if (TransactionIdIsCurrentTransactionId(xmin))
			continue;
		if (FullTransactionIdIsValid(horizon) && TransactionIdPrecedes(xmin, oldest))
			continue;
		add_tombstone(list, tuple, desc);
		CHECK_FOR_INTERRUPTS();
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Keeps those of the list, which is sorted, of which something lives. */
static void
keep_living(NodeList *list)
{
	int			kept = 0;
	int			i;

	for (i = 0; i < list->count; i += LOOKUP_CHUNK)
	{
		size_t		count = Min(LOOKUP_CHUNK, list->count - i);
		KeyfileError err = {0};
		KeyfileResult result;

		keystore_begin_read();
		result = keyfile_keep_living(keystore_session.file, list->nodes + i,
									 &count, &err);
		keystore_end_read();
		if (result != KEYFILE_OK)
			keystore_report(ERROR, keystore_session.path, &err);
		memmove(list->nodes + kept, list->nodes + i, count * sizeof(KeytreeNode));
		kept += (int) count;
		CHECK_FOR_INTERRUPTS();
	}
	list->count = kept;
}

/*
 * A tombstone that is visible need not be on disk yet: everything up to here
 * is, after a record of our own is.
 */
static void
flush_wal(void)
{
	char		nothing = 0;

	if (RecoveryInProgress())
		return;
	XLogBeginInsert();
	XLogRegisterData(&nothing, sizeof(nothing));
	XLogFlush(XLogInsert(RM_XLOG_ID, XLOG_NOOP));
}

/*
 * Compares tombstones with the file and destroys what is left: all of them,
 * or those that came since the last time.  Raises if it cannot: then nothing
 * is served.
 */
void
keystore_fence(bool all)
{
	KeystoreEntry *entry = keystore_session.entry;
	int			ndenied = entry->ndenied;
	FullTransactionId horizon = InvalidFullTransactionId;
	FullTransactionId next_horizon;
	NodeList	list = {0};
	MemoryContext context;
	MemoryContext caller;
	KeyfileError err = {0};
	size_t		damaged = 0;

	/*
	 * What is in progress now may commit later: everything before the oldest
	 * running transaction is decided.  Taken before the scan.
	 */
	next_horizon = full_xid_before(GetOldestNonRemovableTransactionId(NULL));

	LWLockAcquire(keystore_shared->lock, LW_SHARED);
	if (entry->fenced && !all)
		horizon = entry->fence_horizon;
	LWLockRelease(keystore_shared->lock);
	if (FullTransactionIdIsValid(horizon) &&
		U64FromFullTransactionId(next_horizon) - U64FromFullTransactionId(horizon) > (1U << 30))
		horizon = InvalidFullTransactionId;

	context = AllocSetContextCreate(CurrentMemoryContext, "gdpr tombstones",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	read_tombstones(horizon, &list);
	if (list.count > 0)
	{
		qsort(list.nodes, list.count, sizeof(KeytreeNode), keytree_compare);
		keep_living(&list);
	}
	if (list.count > 0)
	{
		flush_wal();
		if (puncture(list.nodes, list.count, &damaged, &err) != KEYFILE_OK)
			keystore_report(ERROR, keystore_session.path, &err);
		ereport(LOG,
				(errmsg("destroyed the keys of %d erasures that keystore %s did not have",
						list.count, keystore_session.id)));
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	LWLockAcquire(keystore_shared->lock, LW_EXCLUSIVE);
	if (!entry->fenced || FullTransactionIdPrecedes(entry->fence_horizon, next_horizon))
		entry->fence_horizon = next_horizon;
	entry->fenced = true;
	LWLockRelease(keystore_shared->lock);

	/* unless more were denied meanwhile: the next time, then */
	if (!FullTransactionIdIsValid(horizon) && ndenied > 0 &&
		ndenied == entry->ndenied)
		set_denied(entry, NULL, 0);
}

/* Puncture at commit */

void
keystore_puncture_at_commit(uint64 number, int category)
{
	keystore_forget_number(number, category, NULL);
}

/* number 0: of a month */
static void
insert_tombstone(uint64 number, int category, int month,
				 const pg_uuid_t *erasure)
{
	static SPIPlanPtr plan = NULL;
	Relation	rel = table_open(keystore_relation("tombstone", false), RowExclusiveLock);
	Oid			owner = rel->rd_rel->relowner;
	Oid			user;
	int			context;
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
	{
		Oid			types[4] = {INT8OID, INT2OID, UUIDOID, INT2OID};

		plan = SPI_prepare("INSERT INTO gdpr.tombstone (number, category, erasure, month) "
						   "VALUES ($1, $2, $3, $4)", 4, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the tombstone");
	}
	values[0] = Int64GetDatum((int64) number);
	values[1] = Int16GetDatum((int16) category);
	values[2] = UUIDPGetDatum(erasure);
	values[3] = Int16GetDatum((int16) month);
	if (number == 0)
		nulls[0] = 'n';
	else
		nulls[3] = 'n';
	if (category == KEYSTORE_ALL_CATEGORIES)
		nulls[1] = 'n';
	if (erasure == NULL)
		nulls[2] = 'n';

	own_insert = true;
	PG_TRY();
	{
		if (SPI_execute_plan(plan, values, nulls, false, 1) != SPI_OK_INSERT)
			elog(ERROR, "could not write the tombstone");
	}
	PG_FINALLY();
	{
		own_insert = false;
	}
	PG_END_TRY();
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	table_close(rel, NoLock);
}

/* To be punctured when the current (sub)transaction commits. */
static void
add_pending(KeytreeNode node)
{
	if (npending == maxpending)
	{
		int			max = maxpending ? 2 * maxpending : 16;
		Size		size = max * sizeof(PendingPuncture);

		pending = pending ? repalloc_huge(pending, size) :
			MemoryContextAllocHuge(TopTransactionContext, size);
		maxpending = max;
	}
	pending[npending].node = node;
	pending[npending].subid = GetCurrentSubTransactionId();
	npending++;
}

void
keystore_forget_number(uint64 number, int category, const pg_uuid_t *erasure)
{
	if (number == 0 || number > KEYTREE_MAX_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("subject number is out of range")));
	if (category < KEYSTORE_ALL_CATEGORIES || category >= KEYTREE_CATEGORIES)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("category is out of range")));
	keystore_attach();
	insert_tombstone(number, category, 0, erasure);
	add_pending(keytree_subject(number, category));
}

void
keystore_close_month(int category, int month)
{
	KeytreeNode past[KEYTREE_PAST_NODES];
	int			count = keytree_past(category, month, past);
	int			i;

	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("category or month is out of range")));
	keystore_attach();
	insert_tombstone(0, category, month, NULL);
	for (i = 0; i < count; i++)
		add_pending(past[i]);
}

/* Everything that can fail, while the transaction can still be rolled back. */
static void
before_commit(void)
{
	KeyfileError err = {0};
	KeyfileResult result;
	int			i;

	keystore_attach();
	(void) keystore_directory_path();
	commit_nodes = MemoryContextAllocHuge(TopTransactionContext,
										  npending * sizeof(KeytreeNode));
	for (i = 0; i < npending; i++)
		commit_nodes[i] = pending[i].node;
	ncommit_nodes = npending;
	qsort(commit_nodes, ncommit_nodes, sizeof(KeytreeNode), keytree_compare);

	result = keystore_begin_write(&err);
	if (result == KEYFILE_OK)
	{
		result = keyfile_reserve_nodes(keystore_session.file, commit_nodes,
									   ncommit_nodes, &err);
		keystore_end_write(result == KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		keystore_report(ERROR, keystore_session.path, &err);
	ForceSyncCommit();

	/* for standbys, see relation_changed() */
	CacheInvalidateRelcacheByRelid(keystore_relation("tombstone_number_idx", false));
}

/* The transaction is committed: nothing here may raise. */
static void
after_commit(void)
{
	KeystoreEntry *entry = keystore_session.entry;
	KeyfileError err = {0};
	size_t		damaged = 0;

	if (puncture(commit_nodes, ncommit_nodes, &damaged, &err) != KEYFILE_OK)
	{
		pg_atomic_fetch_add_u32(&entry->pending, ncommit_nodes);
		set_denied(entry, commit_nodes, ncommit_nodes);
		keystore_wake_worker();
		ereport(WARNING,
				(errmsg("the keys of %d erasures are not destroyed yet", ncommit_nodes),
				 errdetail("The erasures are committed, and the keys are not served any more. The background worker will try again."),
				 errhint("See the server's log for the reason, and column \"pending\" of gdpr.keystore_status().")));
		keystore_report(LOG, keystore_session.path, &err);
	}
	else if (damaged > 0)
		ereport(WARNING,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("keystore \"%s\" is damaged where %zu of the erasures would be", keystore_session.path, damaged),
				 errhint("Restore the newest undamaged copy of the file: at the next start of the server they are destroyed in it.")));
}

static void
forget_transaction(void)
{
	pending = NULL;
	npending = 0;
	maxpending = 0;
	commit_nodes = NULL;
	ncommit_nodes = 0;
	arrived = false;
	own_insert = false;
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (npending > 0)
				before_commit();
			if (arrived)
				ForceSyncCommit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (keystore_admin_busy())
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that created or forked a keystore")));
			if (npending > 0)
			{
				before_commit();
				/* kept in the prepared transaction, sent when it commits */
				CacheInvalidateRelcacheByRelid(keystore_relation("tombstone", false));
			}
			break;
		case XACT_EVENT_PREPARE:
			if ((npending > 0 || arrived) && keystore_session.entry != NULL)
				pg_atomic_write_u32(&keystore_session.entry->prepared, 1);
			forget_transaction();
			keystore_cache_rearm();
			break;
		case XACT_EVENT_COMMIT:
			if (ncommit_nodes > 0)
				after_commit();
			if (arrived)
				keystore_wake_worker();
			keystore_admin_xact_end(true);
			forget_transaction();
			keystore_cache_rearm();
			break;
		case XACT_EVENT_ABORT:
			keystore_admin_xact_end(false);
			forget_transaction();
			keystore_cache_rearm();
			break;
		default:
			break;
	}
}

/*
 * Entries of a subtransaction follow those of its parent, so they are at the
 * end of the list.
 */
static void
subtransaction_ends(SubXactEvent event, SubTransactionId id,
					SubTransactionId parent, void *arg)
{
	int			i;

	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			for (i = npending - 1; i >= 0 && pending[i].subid >= id; i--)
				pending[i].subid = parent;
			keystore_admin_subxact_end(true, id, parent);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			while (npending > 0 && pending[npending - 1].subid >= id)
				npending--;
			keystore_admin_subxact_end(false, id, parent);
			keystore_cache_rearm();
			break;
		default:
			break;
	}
}

void
keystore_fence_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}

/* For the worker */

void
keystore_wake_worker(void)
{
	bool		found = false;
	int			i;

	for (i = 0; i < KEYSTORE_ENTRIES; i++)
	{
		KeystoreEntry *entry = &keystore_shared->entries[i];

		if (entry->used && entry->database == MyDatabaseId)
		{
			pg_atomic_write_u32(&entry->work, 1);
			found = true;
		}
	}
	if (!found)
		pg_atomic_write_u32(&keystore_shared->look_everywhere, 1);
	if (keystore_shared->launcher != NULL)
		SetLatch(keystore_shared->launcher);
}

/*
 * Heals the current database, in a transaction.  True: nothing is left to
 * do; false: look again later, a prepared transaction may hold tombstones.
 */
bool
keystore_heal(void)
{
	KeystoreEntry *entry;
	uint32		failed;
	bool		prepared;

	keystore_attach();
	entry = keystore_session.entry;

	/* Before the looks, as each may be set again meanwhile. */
	pg_atomic_write_u32(&entry->prepared, 0);
	pg_atomic_write_u32(&entry->work, 0);
	failed = pg_atomic_read_u32(&entry->pending);
	PG_TRY();
	{
		keystore_fence(failed > 0);
		pg_atomic_fetch_sub_u32(&entry->pending, failed);
	}
	PG_CATCH();
	{
		pg_atomic_write_u32(&entry->work, 1);
		PG_RE_THROW();
	}
	PG_END_TRY();

	SPI_connect();
	if (SPI_execute("SELECT 1 FROM pg_catalog.pg_prepared_xacts "
					"WHERE database = pg_catalog.current_database()",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_prepared_xacts");
	prepared = SPI_processed > 0;
	SPI_finish();
	if (prepared)
		pg_atomic_write_u32(&entry->prepared, 1);
	return !prepared;
}

/* SQL */

/* gdpr.puncture_at_commit(number bigint, category smallint, erasure uuid) */
Datum
gdpr_puncture_at_commit(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject number must not be null")));
	if (!PG_ARGISNULL(1) && PG_GETARG_INT16(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("category is out of range")));
	keystore_forget_number((uint64) PG_GETARG_INT64(0),
						   PG_ARGISNULL(1) ? KEYSTORE_ALL_CATEGORIES : PG_GETARG_INT16(1),
						   PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2));
	PG_RETURN_VOID();
}

/* gdpr.close_month_at_commit(category smallint, month smallint) */
Datum
gdpr_close_month_at_commit(PG_FUNCTION_ARGS)
{
	keystore_close_month(PG_GETARG_INT16(0), PG_GETARG_INT16(1));
	PG_RETURN_VOID();
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is for triggers only")));
	return (TriggerData *) fcinfo->context;
}

Datum
gdpr_keystore_identity_changed(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcache(trigger_data(fcinfo)->tg_relation);
	return PointerGetDatum(NULL);
}

Datum
gdpr_tombstone_arrived(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	if (!own_insert)
	{
		CacheInvalidateRelcache(data->tg_relation);
		arrived = true;
	}
	return PointerGetDatum(data->tg_trigtuple);
}

Datum
gdpr_tombstone_stays(PG_FUNCTION_ARGS)
{
	(void) trigger_data(fcinfo);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("tombstones cannot be changed or deleted"),
			 errdetail("Without its tombstone, whoever was forgotten would come back with an old copy of the keystore.")));
	return PointerGetDatum(NULL);
}
