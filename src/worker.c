/*
 * worker.c
 *		The background workers that finish what a commit could not.
 *
 * A launcher that is connected to no database (one that is would block CREATE
 * DATABASE ... TEMPLATE) starts short-lived workers, one after the other: for
 * every database when the server starts, later for those with unfinished
 * erasures, after a failure with growing pauses, and in recovery for every
 * keystore in use, because there erasures arrive by replay.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "audit_digest.h"
#include "audit_log.h"
#include "audit_queue.h"
#include "audit_wal.h"
#include "guc.h"
#include "keystore_internal.h"
#include "worker.h"

#define LIBRARY				"gdpr"
#define AUDIT_PAUSE		200		/* ms between two looks at the queue */
#define AUDIT_PAUSES	5		/* without a record, then the worker ends: it would
								 * be in the way of CREATE DATABASE ... TEMPLATE */
#define MAX_BACKOFF			6	/* doublings of gdpr.worker_naptime */
#define SOON_MS			100

PGDLLEXPORT void gdpr_launcher_main(Datum arg);
PGDLLEXPORT void gdpr_worker_main(Datum arg);
PGDLLEXPORT void gdpr_asking_main(Datum arg);
PGDLLEXPORT void gdpr_audit_main(Datum arg);

/* What a worker of gdpr_asking_main is asked, in bgw_extra */
typedef struct Question
{
	uint32		serial;
	uint8		id[UUID_LEN];
} Question;

void
worker_init(void)
{
	BackgroundWorker worker = {0};

	if (IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "gdpr_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "gdpr launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "gdpr launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static void
reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/*
 * Connects to a database.  What its owner has set for its sessions is not to keep
 * a worker from its work.
 */
static void
connect_to(Oid database, uint32 flags)
{
	static const char *const settings[][2] = {
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"default_transaction_isolation", "read committed"},
		{"lock_timeout", "0"},
		{"search_path", "pg_catalog, pg_temp"},
		{"default_tablespace", ""},
		{"default_table_access_method", "heap"},
	};
	int			i;

	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, flags);
	for (i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Is there the extension, and does it stay until the end of the transaction?  Who
 * drops it locks it first, and then its tables in any order.
 */
static bool
keep_extension(void)
{
	Oid			extension = get_extension_oid("gdpr", true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return get_extension_oid("gdpr", true) == extension;
}

/* Stores what waits of the audit trail. */
static void
store_audit(void)
{
	XLogRecPtr	stored = GetXLogInsertRecPtr();

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (keep_extension())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		stored = audit_log_store();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	audit_queue_stored(stored);
}

/* The worker of one database */

void
gdpr_worker_main(Datum arg)
{
	bool		installed;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	connect_to(DatumGetObjectId(arg), 0);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "comparing tombstones with the keystore");
	installed = OidIsValid(get_extension_oid("gdpr", true));
	/* what a crash left in the log is for another worker */
	if (!RecoveryInProgress())
		audit_queue_visit(installed);
	if (installed && OidIsValid(keystore_relation("keystore_identity", true)))
	{
		uint8		id[UUID_LEN];

		if (keystore_identity(id, NULL))
			(void) keystore_heal();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}

/*
 * The worker that answers worker_ask_database(), also in a database that
 * allows no connections.
 */
void
gdpr_asking_main(Datum arg)
{
	Question	question;
	uint8		id[UUID_LEN];
	bool		claims;

	memcpy(&question, MyBgworkerEntry->bgw_extra, sizeof(Question));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	connect_to(DatumGetObjectId(arg), BGWORKER_BYPASS_ALLOWCONN);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	claims = OidIsValid(get_extension_oid("gdpr", true)) &&
		OidIsValid(keystore_relation("keystore_identity", true)) &&
		keystore_identity(id, NULL) &&
		memcmp(id, question.id, UUID_LEN) == 0;
	PopActiveSnapshot();
	CommitTransactionCommand();
	pg_atomic_write_u64(&keystore_shared->answer,
						(uint64) question.serial << 1 | (claims ? 1 : 0));
	proc_exit(0);
}

/* The worker that stores the audit trail of one database */

void
gdpr_audit_main(Datum arg)
{
	int			idle = 0;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	connect_to(DatumGetObjectId(arg), BGWORKER_BYPASS_ALLOWCONN);
	if (!audit_queue_serve())
		proc_exit(0);
#ifdef USE_LZ4
	/* blocks compress almost as well, and ten times faster */
	SetConfigOption("default_toast_compression", "lz4", PGC_SUSET, PGC_S_OVERRIDE);
#endif
	pgstat_report_activity(STATE_RUNNING, "storing the audit trail");
	(void) audit_queue_take();
	store_audit();
	audit_digest_publish();
	while (idle < AUDIT_PAUSES)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 AUDIT_PAUSE, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		reload();
		idle++;
		if (audit_queue_take())
		{
			store_audit();
			audit_digest_publish();
			idle = 0;
		}
	}
	proc_exit(0);
}

/* The launcher */

static void
forget_latch(int code, Datum arg)
{
	keystore_shared->launcher = NULL;
	audit_queue_launcher(NULL);
}

/* Starts a worker; NULL: it could not be started. */
static BackgroundWorkerHandle *
start_worker(Oid database, const char *function, const Question *question)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	if (question != NULL)
		memcpy(worker.bgw_extra, question, sizeof(Question));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "gdpr worker for database %u", database);
	strlcpy(worker.bgw_type, "gdpr worker", sizeof(worker.bgw_type));
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		ereport(LOG,
				(errmsg("could not start a worker"),
				 errhint("Increase max_worker_processes.")));
		return NULL;
	}
	return handle;
}

/* Runs a worker to its end; false: it could not be started. */
static bool
run_worker(Oid database, const char *function, const Question *question)
{
	BackgroundWorkerHandle *handle = start_worker(database, function, question);
	pid_t		pid;

	if (handle == NULL)
		return false;
	if (WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_STARTED)
		(void) WaitForBackgroundWorkerShutdown(handle);
	pfree(handle);
	return true;
}

/* An answer that is not to this question is none. */
bool
worker_ask_database(Oid database, const uint8 id[UUID_LEN], bool *claims)
{
	Question	question;
	uint64		answer;

	memset(&question, 0, sizeof(question));
	question.serial = (uint32)
		pg_atomic_add_fetch_u64(&keystore_shared->generation_source, 1);
	memcpy(question.id, id, UUID_LEN);
	if (!run_worker(database, "gdpr_asking_main", &question))
		return false;
	answer = pg_atomic_read_u64(&keystore_shared->answer);
	*claims = (answer & 1) != 0;
	return answer >> 1 == question.serial;
}

/* Databases that there are; connectable: and that allow connections. */
static List *
all_databases(bool connectable)
{
	List	   *databases = NIL;
	MemoryContext context = CurrentMemoryContext;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn || !connectable)
		{
			MemoryContext transaction = MemoryContextSwitchTo(context);

			databases = lappend_oid(databases, database->oid);
			MemoryContextSwitchTo(transaction);
		}
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

/*
 * Databases whose keystore is in use and wants a look.  They are marked; the
 * worker takes the mark away when it has succeeded.
 */
static List *
databases_with_work(void)
{
	List	   *databases = NIL;
	bool		replaying = RecoveryInProgress();
	int			i;

	for (i = 0; i < KEYSTORE_ENTRIES; i++)
	{
		KeystoreEntry *entry = &keystore_shared->entries[i];

		if (!entry->used || !OidIsValid(entry->database))
			continue;
		if (replaying ||
			pg_atomic_read_u32(&entry->work) != 0 ||
			pg_atomic_read_u32(&entry->prepared) != 0 ||
			pg_atomic_read_u32(&entry->pending) != 0)
		{
			pg_atomic_write_u32(&entry->work, 1);
			databases = lappend_oid(databases, entry->database);
		}
	}
	return databases;
}

static bool
work_failed(const List *connectable)
{
	int			i;

	for (i = 0; i < KEYSTORE_ENTRIES; i++)
	{
		KeystoreEntry *entry = &keystore_shared->entries[i];

		if (entry->used && list_member_oid(connectable, entry->database) &&
			(pg_atomic_read_u32(&entry->work) != 0 ||
			 pg_atomic_read_u32(&entry->pending) != 0))
			return true;
	}
	return false;
}

/*
 * Visits every database; true: one of them could not be.  Without any keystore
 * in the directory, nor log that is kept, there is nothing to look for.
 */
static bool
look_everywhere(const List *databases)
{
	bool		failed = false;
	ListCell   *cell;

	foreach(cell, databases)
	{
		uint64		visits = audit_queue_visits();

		failed |= !run_worker(lfirst_oid(cell), "gdpr_worker_main", NULL) ||
			(!RecoveryInProgress() && audit_queue_visits() == visits);
	}
	if (failed)
		pg_atomic_write_u32(&keystore_shared->look_everywhere, 1);
	else if (!RecoveryInProgress())
		audit_queue_visited();
	return failed;
}

/* One look around; true: something failed and is to be tried again. */
static bool
look_around(void)
{
	bool		everywhere;
	List	   *databases;
	List	   *connectable;
	ListCell   *cell;

	everywhere = (keystore_directory_has_keystores() || audit_wal_is_kept()) &&
		pg_atomic_exchange_u32(&keystore_shared->look_everywhere, 0) != 0;
	databases = databases_with_work();
	if (databases == NIL && !everywhere)
		return false;
	connectable = all_databases(true);
	if (everywhere)
	{
		if (look_everywhere(connectable))
			return true;
		databases = NIL;
	}
	foreach(cell, databases)
	{
		Oid			database = lfirst_oid(cell);

		if (list_member_oid(connectable, database) && !run_worker(database, "gdpr_worker_main", NULL))
			return true;
	}
	return work_failed(connectable);
}

/* Starts the workers that store audit trails; true: one could not be started. */
static bool
serve_audit(void)
{
	List	   *unserved;

	/* waiting for a worker takes away the wake-up of who came meanwhile */
	while ((unserved = audit_queue_unserved()) != NIL)
	{
		List	   *databases = all_databases(false);
		ListCell   *cell;

		foreach(cell, unserved)
		{
			Oid			database = lfirst_oid(cell);
			BackgroundWorkerHandle *handle;
			pid_t		pid;

			if (!list_member_oid(databases, database))
			{
				audit_queue_drop(database);
				continue;
			}
			handle = start_worker(database, "gdpr_audit_main", NULL);
			if (handle == NULL)
				return true;
			(void) WaitForBackgroundWorkerStartup(handle, &pid);
			pfree(handle);
		}
	}
	return false;
}

void
gdpr_launcher_main(Datum arg)
{
	MemoryContext context;
	int			failures = 0;
	bool		failed;
	bool		recovering = RecoveryInProgress();

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	keystore_shared->launcher = MyLatch;
	audit_queue_launcher(MyLatch);
	before_shmem_exit(forget_latch, (Datum) 0);
	context = AllocSetContextCreate(TopMemoryContext, "gdpr launcher",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long		pause;
		XLogRecPtr	needed;
		bool		soon = false;

		CHECK_FOR_INTERRUPTS();
		reload();

		MemoryContextSwitchTo(context);
		if (recovering && !RecoveryInProgress())
		{
			recovering = false;
			pg_atomic_write_u32(&keystore_shared->look_everywhere, 1);
		}
		failed = look_around();
		failed |= serve_audit();
		if (RecoveryInProgress())
			audit_wal_keep(InvalidXLogRecPtr);
		else if (audit_queue_needed(&needed))
			audit_wal_keep(needed);
		else
			soon = audit_queue_visits() > 0;	/* a first worker is at it */
		failures = failed ? Min(failures + 1, MAX_BACKOFF) : 0;

		MemoryContextReset(context);

		pause = (long) guc_worker_naptime << (failures > 0 ? failures - 1 : 0);
		if (soon && !failed)
			pause = Min(pause, SOON_MS);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 pause, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
