/*
 * audit_queue.c
 *		The way of an audit record from the session to the trail.
 *
 * It goes through the write-ahead log (audit_wal.c).  Shared memory says, for
 * each database, whether there is something to be taken from it, and from where
 * on.  Who puts a record says so before and after: whoever sees a database
 * without, knows that what comes later lies later in the log.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "audit_queue.h"
#include "audit_wal.h"
#include "compat.h"
#include "errors.h"
#include "guc.h"

#define DATABASES	256
#define LAG_PAUSE	50			/* ms */

typedef struct QueueDatabase
{
	Oid			database;		/* InvalidOid: unused */
	pg_atomic_uint32 waiting;	/* are there records for the worker? */
	pg_atomic_uint32 served;	/* does a worker run? */
	pg_atomic_uint32 putting;	/* sessions that are about to add one */
	pg_atomic_uint64 put;		/* the end of the last record */
	pg_atomic_uint64 stored;	/* up to here all is stored; 0: not known */
	pg_atomic_uint64 tried;		/* when a worker was started that has stored
								 * nothing yet; 0: none */
	pg_atomic_uint32 undigested;	/* may there be records without a digest? */
	pg_atomic_uint64 digested_at;	/* when the last was tried; 0: never */
	pg_atomic_uint64 digest;	/* its record */
	XLogRecPtr	since;			/* when the entry was made */
} QueueDatabase;

typedef struct QueueShared
{
	LWLock	   *lock;			/* to take an unused entry */
	Latch	   *launcher;		/* of who starts workers; NULL: nobody */
	pg_atomic_uint64 visits;	/* of databases, since the start */
	pg_atomic_uint32 visited;	/* all that there were at the start? */
	QueueDatabase databases[DATABASES];
} QueueShared;

static QueueShared *shared = NULL;
static QueueDatabase *own = NULL;
static XLogRecPtr last_put = InvalidXLogRecPtr;	/* by this session */
static bool taken = false;		/* and not stored yet, by this worker */
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(sizeof(QueueShared));
	RequestNamedLWLockTranche("gdpr audit", 1);
}

static void
reset_entry(QueueDatabase *entry, Oid database)
{
	entry->database = database;
	entry->since = OidIsValid(database) ? GetXLogInsertRecPtr() : InvalidXLogRecPtr;
	pg_atomic_init_u32(&entry->waiting, 0);
	pg_atomic_init_u32(&entry->served, 0);
	pg_atomic_init_u32(&entry->putting, 0);
	pg_atomic_init_u64(&entry->put, 0);
	pg_atomic_init_u64(&entry->tried, 0);
	pg_atomic_init_u32(&entry->undigested, 0);
	pg_atomic_init_u64(&entry->digested_at, 0);
	pg_atomic_init_u64(&entry->digest, 0);
	/* of a database that was made since, there is nothing from before */
	pg_atomic_init_u64(&entry->stored, OidIsValid(database) &&
					   pg_atomic_read_u32(&shared->visited) != 0 ? entry->since : 0);
}

static void
startup_shared_memory(void)
{
	bool		found;
	int			i;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("gdpr audit", sizeof(QueueShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(QueueShared));
		shared->lock = &GetNamedLWLockTranche("gdpr audit")->lock;
		pg_atomic_init_u64(&shared->visits, 0);
		pg_atomic_init_u32(&shared->visited, 0);
		for (i = 0; i < DATABASES; i++)
			reset_entry(&shared->databases[i], InvalidOid);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
audit_queue_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

/* This database's entry. */
static QueueDatabase *
own_entry(void)
{
	QueueDatabase *unused = NULL;
	int			i;

	if (own != NULL)
		return own;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < DATABASES && own == NULL; i++)
	{
		QueueDatabase *entry = &shared->databases[i];

		if (entry->database == MyDatabaseId)
			own = entry;
		else if (!OidIsValid(entry->database) && unused == NULL)
			unused = entry;
	}
	if (own == NULL && unused != NULL)
	{
		reset_entry(unused, MyDatabaseId);
		own = unused;
	}
	LWLockRelease(shared->lock);
	if (own == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d databases have an audit trail", DATABASES)));
	return own;
}

static void
wake_launcher(void)
{
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/* How much of the log the worker is behind, in bytes. */
static uint64
lag(QueueDatabase *entry)
{
	uint64		put = pg_atomic_read_u64(&entry->put);
	uint64		stored = pg_atomic_read_u64(&entry->stored);

	if (stored == 0)
		stored = entry->since;
	return put > stored ? put - stored : 0;
}

static bool
lags(QueueDatabase *entry)
{
	return guc_audit_max_lag >= 0 &&
		lag(entry) > (uint64) guc_audit_max_lag * 1024 * 1024;
}

void
audit_queue_prepare(void)
{
	QueueDatabase *entry = own_entry();
	TimestampTz start;

	if (likely(!lags(entry)))
		return;
	start = GetCurrentTimestamp();
	while (lags(entry))
	{
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), guc_audit_lag_timeout))
			ereport(ERROR,
					(errcode(ERRCODE_GDPR_NOT_AUDITED),
					 errmsg("personal data is not revealed or written: the audit trail is " UINT64_FORMAT " MB behind",
							lag(entry) / (1024 * 1024)),
					 errdetail("Its records wait in the write-ahead log. The limit is gdpr.audit_max_lag = %d MB.",
							   guc_audit_max_lag),
					 errhint("The server's log says why they are not stored: the disk is full, say, a lock is held, or no worker can be started.")));
		wake_launcher();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LAG_PAUSE, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Never backwards. */
static void
raise_to(pg_atomic_uint64 *place, uint64 value)
{
	uint64		before = pg_atomic_read_u64(place);

	while (before < value &&
		   !pg_atomic_compare_exchange_u64(place, &before, value))
		;
}

void
audit_queue_put(const char *record, int len)
{
	QueueDatabase *entry = own_entry();
	bool		first;

	(void) pg_atomic_fetch_add_u32(&entry->putting, 1);
	PG_TRY();
	{
		last_put = audit_wal_put(record, len);
		raise_to(&entry->put, last_put);
		first = pg_atomic_read_u32(&entry->waiting) == 0 &&
			pg_atomic_exchange_u32(&entry->waiting, 1) == 0;
	}
	PG_FINALLY();
	{
		(void) pg_atomic_fetch_sub_u32(&entry->putting, 1);
	}
	PG_END_TRY();
	if (first && pg_atomic_read_u32(&entry->served) == 0)
		wake_launcher();
}

void
audit_queue_flush(void)
{
	if (!XLogRecPtrIsInvalid(last_put))
		XLogFlush(last_put);
	last_put = InvalidXLogRecPtr;
}

/* ---------- for the workers ---------- */

void
audit_queue_launcher(Latch *latch)
{
	shared->launcher = latch;
}

static bool
digest_is_due(QueueDatabase *entry)
{
	return guc_digest_command[0] != '\0' &&
		pg_atomic_read_u32(&entry->undigested) != 0 &&
		TimestampDifferenceExceeds((TimestampTz) pg_atomic_read_u64(&entry->digested_at),
								   GetCurrentTimestamp(), guc_digest_interval * 1000);
}

bool
audit_queue_digest_due(void)
{
	return digest_is_due(own_entry());
}

uint64
audit_queue_last_digest(void)
{
	return pg_atomic_read_u64(&own_entry()->digest);
}

void
audit_queue_digested(uint64 record, bool done)
{
	QueueDatabase *entry = own_entry();

	pg_atomic_write_u64(&entry->digested_at, (uint64) GetCurrentTimestamp());
	if (!done)
		return;
	pg_atomic_write_u64(&entry->digest, record);
	pg_atomic_write_u32(&entry->undigested, 0);
}

List *
audit_queue_unserved(void)
{
	List	   *databases = NIL;
	TimestampTz now = GetCurrentTimestamp();
	int			i;

	for (i = 0; i < DATABASES; i++)
	{
		QueueDatabase *entry = &shared->databases[i];

		if (OidIsValid(entry->database) &&
			(pg_atomic_read_u32(&entry->waiting) != 0 || digest_is_due(entry)) &&
			pg_atomic_read_u32(&entry->served) == 0 &&
			TimestampDifferenceExceeds((TimestampTz) pg_atomic_read_u64(&entry->tried), now, guc_worker_naptime))
		{
			pg_atomic_write_u64(&entry->tried, (uint64) now);
			databases = lappend_oid(databases, entry->database);
		}
	}
	return databases;
}

/*
 * A place where a record begins, and all before is on disk: where the log's end
 * was some time ago.
 */
static XLogRecPtr
recent_place(void)
{
	static XLogRecPtr place = InvalidXLogRecPtr;
	static XLogRecPtr next = InvalidXLogRecPtr;

	if (!XLogRecPtrIsInvalid(next) && GetFlushRecPtr(NULL) >= next)
	{
		place = next;
		next = InvalidXLogRecPtr;
	}
	if (XLogRecPtrIsInvalid(next))
		next = GetXLogInsertRecPtr();
	return place;
}

/* Databases without records move on to where the log was before. */
bool
audit_queue_needed(XLogRecPtr *from)
{
	XLogRecPtr	recent = RecoveryInProgress() ? InvalidXLogRecPtr : recent_place();
	XLogRecPtr	needed = recent;
	bool		any = false;
	int			i;

	if (XLogRecPtrIsInvalid(recent) || pg_atomic_read_u32(&shared->visited) == 0)
		return false;
	pg_memory_barrier();
	for (i = 0; i < DATABASES; i++)
	{
		QueueDatabase *entry = &shared->databases[i];
		bool		idle;

		if (!OidIsValid(entry->database))
			continue;
		any = true;
		idle = pg_atomic_read_u32(&entry->putting) == 0;
		pg_memory_barrier();
		idle = idle && pg_atomic_read_u32(&entry->served) == 0 &&
			pg_atomic_read_u32(&entry->waiting) == 0;
		if (idle)
			raise_to(&entry->stored, recent);
		else
			needed = Min(needed, pg_atomic_read_u64(&entry->stored));
	}
	*from = any ? needed : InvalidXLogRecPtr;
	return !any || !XLogRecPtrIsInvalid(needed);
}

void
audit_queue_drop(Oid database)
{
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < DATABASES; i++)
		if (shared->databases[i].database == database)
			reset_entry(&shared->databases[i], InvalidOid);
	LWLockRelease(shared->lock);
}

void
audit_queue_visit(bool has_trail)
{
	if (has_trail)
		pg_atomic_write_u32(&own_entry()->waiting, 1);
	(void) pg_atomic_fetch_add_u64(&shared->visits, 1);
}

uint64
audit_queue_visits(void)
{
	return pg_atomic_read_u64(&shared->visits);
}

void
audit_queue_visited(void)
{
	pg_atomic_write_u32(&shared->visited, 1);
}

static void
stop_serving(int code, Datum arg)
{
	QueueDatabase *entry = own_entry();
	bool		came = pg_atomic_read_u32(&entry->waiting) != 0;

	if (taken)
		pg_atomic_write_u32(&entry->waiting, 1);	/* it failed: later, again */
	pg_atomic_write_u32(&entry->served, 0);
	if (came && !taken)
		wake_launcher();
}

bool
audit_queue_serve(void)
{
	if (pg_atomic_exchange_u32(&own_entry()->served, 1) != 0)
		return false;
	before_shmem_exit(stop_serving, (Datum) 0);
	return true;
}

bool
audit_queue_take(void)
{
	QueueDatabase *entry = own_entry();
	XLogRecPtr	put;

	if (pg_atomic_exchange_u32(&entry->waiting, 0) == 0)
		return false;
	taken = true;
	put = pg_atomic_read_u64(&entry->put);
	if (!XLogRecPtrIsInvalid(put))
		XLogFlush(put);
	return true;
}

XLogRecPtr
audit_queue_known(void)
{
	return pg_atomic_read_u64(&own_entry()->stored);
}

void
audit_queue_stored(XLogRecPtr up_to)
{
	taken = false;
	pg_atomic_write_u32(&own_entry()->undigested, 1);
	pg_atomic_write_u64(&own_entry()->tried, 0);
	raise_to(&own_entry()->stored, up_to);
}
