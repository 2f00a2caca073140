/*
 * audit_wal.c
 *		Audit records in the write-ahead log: written, kept there, read.
 *
 * A record is a logical message that belongs to no transaction: it takes no
 * transaction id, survives ROLLBACK, and a server without the library replays
 * it.
 *
 * A physical replication slot keeps the log from the first record on that is
 * not stored yet.  All before its position is stored, in every database.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "common/base64.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "storage/lwlock.h"

#include "audit_record.h"
#include "audit_wal.h"
#include "compat.h"

/*
 * A prefix with a NUL in it: pg_logical_emit_message(), which anybody may call,
 * cannot make one, so nobody forges records.
 */
static char prefix[] = "gdpr\0audit";

#define SLOT	"gdpr_audit"

/* As base64 */
static const char *
encode(const char *record, int *len)
{
	int			max = pg_b64_enc_len(*len);
	char	   *encoded = palloc(max);

	*len = compat_b64_encode((const uint8 *) record, *len, encoded, max);
	if (*len < 0)
		elog(ERROR, "could not encode an audit record");
	return encoded;
}

/* A record begins with a byte that base64 does not have. */
static const uint8 *
decode(const char *message, size_t *len)
{
	int			max = pg_b64_dec_len((int) *len);
	uint8	   *record;
	int			decoded;

	if (*len == 0 || message[0] == AUDIT_RECORD_VERSION)
		return (const uint8 *) message;
	record = palloc(max);
	decoded = compat_b64_decode(message, (int) *len, record, max);
	if (decoded < 0)
		elog(ERROR, "an audit record in the write-ahead log is damaged");
	*len = (size_t) decoded;
	return record;
}

/*
 * LogLogicalMessage(), but for the prefix.  With wal_level = logical the content
 * is base64: plugins of logical decoding put messages into their output as text.
 */
XLogRecPtr
audit_wal_put(const char *record, int len)
{
	const char *message = XLogLogicalInfoActive() ? encode(record, &len) : record;
	xl_logical_message header;
	XLogRecPtr	written = XactLastRecEnd;
	XLogRecPtr	end;

	header.dbId = MyDatabaseId;
	header.transactional = false;
	header.prefix_size = sizeof(prefix);
	header.message_size = len;
	XLogBeginInsert();
	XLogRegisterData((char *) &header, SizeOfLogicalMessage);
	XLogRegisterData(prefix, sizeof(prefix));
	XLogRegisterData(unconstify(char *, message), len);
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	end = XLogInsert(RM_LOGICALMSG_ID, XLOG_LOGICAL_MESSAGE);
	/* a transaction that only reads need not wake the log's writer: ours flushes */
	XactLastRecEnd = XLogRecPtrIsInvalid(written) ? written : XactLastRecEnd;
	if (message != record)
		pfree(unconstify(char *, message));
	return end;
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

/* The slot's position; invalid: there is none. */
static XLogRecPtr
slot_position(void)
{
	ReplicationSlot *slot = max_replication_slots > 0 ?
		SearchNamedReplicationSlot(SLOT, true) : NULL;
	XLogRecPtr	position;

	if (slot == NULL)
		return InvalidXLogRecPtr;
	SpinLockAcquire(&slot->mutex);
	position = slot->data.restart_lsn;
	SpinLockRelease(&slot->mutex);
	return position;
}

XLogRecPtr
audit_wal_begin(XLogRecPtr stored, XLogRecPtr known, bool *gone)
{
	XLogRecPtr	from = Max(stored, XLogRecPtrIsInvalid(known) ? slot_position() : known);

	/* the log of another server, or after pg_resetwal */
	*gone = from > GetXLogInsertRecPtr() || !log_exists(from);
	return *gone ? GetRedoRecPtr() : from;
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
audit_wal_read(XLogRecPtr from, AuditWalReader callback, void *arg)
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
			const char *content = found->message + found->prefix_size;
			size_t		len = found->message_size;
			const uint8 *record = decode(content, &len);

			callback(record, len, next, arg);
			if (record != (const uint8 *) content)
				pfree(unconstify(uint8 *, record));
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

/* ---------- keeping the log ---------- */

/* The slot that this process has acquired */
static void
set_slot(XLogRecPtr from)
{
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->data.restart_lsn = from;
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	ReplicationSlotsComputeRequiredLSN();
	ReplicationSlotRelease();
}

bool
audit_wal_is_kept(void)
{
	return max_replication_slots > 0 && SearchNamedReplicationSlot(SLOT, true) != NULL;
}

/* Whole files are removed: it need not follow every step. */
static void
keep(XLogRecPtr from)
{
	XLogRecPtr	position = slot_position();
	bool		exists = audit_wal_is_kept();

	/* a standby writes no records; nor is it of use after max_slot_wal_keep_size */
	if (exists && (RecoveryInProgress() || XLogRecPtrIsInvalid(position) || XLogRecPtrIsInvalid(from)))
	{
		ReplicationSlotDrop(SLOT, true);
		exists = false;
	}
	if (RecoveryInProgress() || XLogRecPtrIsInvalid(from))
		return;
	if (!exists)
	{
		/* a server with a slot does not start without */
		if (wal_level < WAL_LEVEL_REPLICA)
			ereport(ERROR, (errmsg("wal_level is minimal")));
		compat_slot_create(SLOT);
		set_slot(from);
	}
	else if (from >= position + wal_segment_size)
	{
		compat_slot_acquire(SLOT);
		set_slot(from);
	}
}

void
audit_wal_keep(XLogRecPtr from)
{
	static bool warned = false;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		keep(from);
		warned = false;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		if (MyReplicationSlot != NULL)
			ReplicationSlotRelease();
		if (!warned)
			ereport(WARNING,
					(errmsg("the write-ahead log is not kept for the audit trail: %s", error->message),
					 errdetail("Records are lost if it is removed before they are stored."),
					 errhint("The replication slot \"" SLOT "\" needs wal_level = replica, and one of max_replication_slots.")));
		warned = true;
		FreeErrorData(error);
	}
	PG_END_TRY();
}
