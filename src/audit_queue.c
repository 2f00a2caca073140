/*
 * audit_queue.c
 *		The way of an audit record from the session to the trail: through the
 *		write-ahead log.
 *
 * A record is a logical message that belongs to no transaction: it takes no
 * transaction id, survives ROLLBACK, and a server without the library replays
 * it.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "common/base64.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/syscache.h"

#include "audit_queue.h"
#include "compat.h"

/*
 * A prefix with a NUL in it: pg_logical_emit_message(), which anybody may call,
 * cannot make one, so nobody forges records.
 */
static char prefix[] = "gdpr\0audit";

#define DATABASES	256

typedef struct QueueDatabase
{
	Oid			database;		/* InvalidOid: unused */
	pg_atomic_uint32 waiting;	/* are there records for the worker? */
	pg_atomic_uint32 served;	/* does a worker run? */
	pg_atomic_uint64 put;		/* the end of the last record */
} QueueDatabase;

typedef struct QueueShared
{
	LWLock	   *lock;			/* to take an unused entry */
	Latch	   *launcher;		/* of who starts workers; NULL: nobody */
	QueueDatabase databases[DATABASES];
} QueueShared;

static QueueShared *shared = NULL;
static QueueDatabase *own = NULL;
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
		for (i = 0; i < DATABASES; i++)
		{
			pg_atomic_init_u32(&shared->databases[i].waiting, 0);
			pg_atomic_init_u32(&shared->databases[i].served, 0);
			pg_atomic_init_u64(&shared->databases[i].put, 0);
		}
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

/* This database's entry: a new one, or that of a database that was dropped. */
static QueueDatabase *
own_entry(void)
{
	int			i;

	if (own != NULL)
		return own;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < DATABASES && own == NULL; i++)
	{
		QueueDatabase *entry = &shared->databases[i];

		if (entry->database == MyDatabaseId || !OidIsValid(entry->database))
			own = entry;
	}
	for (i = 0; i < DATABASES && own == NULL; i++)
	{
		QueueDatabase *entry = &shared->databases[i];

		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(entry->database)))
		{
			pg_atomic_write_u32(&entry->waiting, 0);
			pg_atomic_write_u32(&entry->served, 0);
			pg_atomic_write_u64(&entry->put, 0);
			own = entry;
		}
	}
	if (own != NULL)
		own->database = MyDatabaseId;
	LWLockRelease(shared->lock);
	if (own == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d databases have an audit trail", DATABASES)));
	return own;
}

void
audit_queue_prepare(void)
{
	(void) own_entry();
}

/*
 * LogLogicalMessage(), but for the prefix.  Content is base64: plugins of logical
 * decoding put messages into their output as text.
 */
static XLogRecPtr
log_message(const char *record, int recordlen)
{
	char	   *message = palloc(pg_b64_enc_len(recordlen));
	int			len = compat_b64_encode((const uint8 *) record, recordlen, message,
										pg_b64_enc_len(recordlen));
	xl_logical_message header;
	XLogRecPtr	written = XactLastRecEnd;
	XLogRecPtr	end;

	if (len < 0)
		elog(ERROR, "could not encode an audit record");
	header.dbId = MyDatabaseId;
	header.transactional = false;
	header.prefix_size = sizeof(prefix);
	header.message_size = len;
	XLogBeginInsert();
	XLogRegisterData((char *) &header, SizeOfLogicalMessage);
	XLogRegisterData(prefix, sizeof(prefix));
	XLogRegisterData(message, len);
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	end = XLogInsert(RM_LOGICALMSG_ID, XLOG_LOGICAL_MESSAGE);
	/* a transaction that only reads need not wake the log's writer: ours flushes */
	XactLastRecEnd = XLogRecPtrIsInvalid(written) ? written : XactLastRecEnd;
	pfree(message);
	return end;
}

void
audit_queue_put(const char *record, int len)
{
	QueueDatabase *entry = own_entry();
	XLogRecPtr	end = log_message(record, len);
	uint64		put = pg_atomic_read_u64(&entry->put);

	while (put < end &&
		   !pg_atomic_compare_exchange_u64(&entry->put, &put, end))
		;
	if (pg_atomic_read_u32(&entry->waiting) == 0 &&
		pg_atomic_exchange_u32(&entry->waiting, 1) == 0 &&
		pg_atomic_read_u32(&entry->served) == 0 && shared->launcher != NULL)
		SetLatch(shared->launcher);
}

/* ---------- for the workers ---------- */

void
audit_queue_launcher(Latch *latch)
{
	shared->launcher = latch;
}

List *
audit_queue_unserved(void)
{
	List	   *databases = NIL;
	int			i;

	for (i = 0; i < DATABASES; i++)
	{
		QueueDatabase *entry = &shared->databases[i];

		if (OidIsValid(entry->database) &&
			pg_atomic_read_u32(&entry->waiting) != 0 &&
			pg_atomic_read_u32(&entry->served) == 0)
			databases = lappend_oid(databases, entry->database);
	}
	return databases;
}

static void
stop_serving(int code, Datum arg)
{
	QueueDatabase *entry = own_entry();
	bool		came = pg_atomic_read_u32(&entry->waiting) != 0;

	if (taken)
		pg_atomic_write_u32(&entry->waiting, 1);	/* it failed: later, again */
	pg_atomic_write_u32(&entry->served, 0);
	if (came && !taken && shared->launcher != NULL)
		SetLatch(shared->launcher);
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

void
audit_queue_stored(void)
{
	taken = false;
}

/* ---------- reading the log ---------- */

/* A message of this database and ours? */
static bool
is_ours(XLogReaderState *reader)
{
	xl_logical_message *message;

	if (XLogRecGetRmid(reader) != RM_LOGICALMSG_ID)
		return false;
	message = (xl_logical_message *) XLogRecGetData(reader);
	return message->dbId == MyDatabaseId && !message->transactional &&
		message->prefix_size == sizeof(prefix) &&
		memcmp(message->message, prefix, sizeof(prefix)) == 0;
}

/* On this timeline, or on one before: the file's name tells. */
static bool
log_exists(XLogRecPtr at)
{
	TimeLineID	timeline;
	XLogSegNo	segment;

	XLByteToSeg(at, segment, wal_segment_size);
	for (timeline = GetWALInsertionTimeLine(); timeline > 0; timeline--)
	{
		char		path[MAXPGPATH];
		struct stat status;

		XLogFilePath(path, timeline, segment, wal_segment_size);
		if (stat(path, &status) == 0)
			return true;
	}
	return false;
}

XLogRecPtr
audit_queue_begin(XLogRecPtr from)
{
	/* the log of another server, or after pg_resetwal */
	return from <= GetXLogInsertRecPtr() && log_exists(from) ? from : GetRedoRecPtr();
}

/* Where a record ended at the end of its page, the next one follows the header. */
static XLogRecPtr
first_record(XLogRecPtr from)
{
	if (from % XLOG_BLCKSZ != 0)
		return from;
	return from + (XLogSegmentOffset(from, wal_segment_size) == 0 ?
				   SizeOfXLogLongPHD : SizeOfXLogShortPHD);
}

XLogRecPtr
audit_queue_read(XLogRecPtr from, AuditQueueReader callback, void *arg)
{
	ReadLocalXLogPageNoWaitPrivate *private = palloc0(sizeof(ReadLocalXLogPageNoWaitPrivate));
	XLogReaderRoutine routine = {
		.page_read = read_local_xlog_page_no_wait,
		.segment_open = wal_segment_open,
		.segment_close = wal_segment_close
	};
	XLogReaderState *reader;
	XLogRecPtr	next = from;
	char	   *message = NULL;

	reader = XLogReaderAllocate(wal_segment_size, NULL, &routine, private);
	if (reader == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	XLogBeginRead(reader, first_record(from));
	while (XLogReadRecord(reader, &message) != NULL)
	{
		next = reader->EndRecPtr;
		if (is_ours(reader))
		{
			xl_logical_message *found = (xl_logical_message *) XLogRecGetData(reader);
			uint8	   *record = palloc(pg_b64_dec_len((int) found->message_size));
			int			len = compat_b64_decode(found->message + found->prefix_size,
												(int) found->message_size, record,
												pg_b64_dec_len((int) found->message_size));

			if (len < 0)
				elog(ERROR, "an audit record in the write-ahead log is damaged");
			callback(record, len, next, arg);
			pfree(record);
		}
		CHECK_FOR_INTERRUPTS();
	}
	if (!private->end_of_wal)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the write-ahead log at %X/%X: %s",
						LSN_FORMAT_ARGS(next), message != NULL ? message : "no reason given")));
	XLogReaderFree(reader);
	pfree(private);
	return next;
}
