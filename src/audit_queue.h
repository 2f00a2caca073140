/*
 * audit_queue.h
 *		The way of an audit record from the session to the trail: through the
 *		write-ahead log.
 */
#ifndef GDPR_AUDIT_QUEUE_H
#define GDPR_AUDIT_QUEUE_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "storage/latch.h"

/* Called once from _PG_init: shared memory. */
extern void audit_queue_init(void);

/* What can fail of audit_queue_put(), before anything is revealed. */
extern void audit_queue_prepare(void);

/*
 * Adds a record, whatever becomes of the transaction.  It is on disk when the
 * log is flushed: at the next commit, or some moments later.
 */
extern void audit_queue_put(const char *record, int len);

/* The launcher of workers, NULL for none; databases that need one. */
extern void audit_queue_launcher(Latch *latch);
extern List *audit_queue_unserved(void);

/*
 * In a worker, for its database: be the one that serves it, until it ends
 * (false: there is another); have records come since the last time, which then
 * are on disk?
 */
extern bool audit_queue_serve(void);
extern bool audit_queue_take(void);

/* What was taken is stored: else somebody else is to take it. */
extern void audit_queue_stored(void);

/*
 * Where reading can begin: there, or if the log from there is gone, at the
 * latest checkpoint.
 */
extern XLogRecPtr audit_queue_begin(XLogRecPtr from);

/*
 * Reads the log from a place on, and calls back for each record of this
 * database in it; returns where to go on.
 */
typedef void (*AuditQueueReader) (const uint8 *record, size_t len,
								  XLogRecPtr next, void *arg);
extern XLogRecPtr audit_queue_read(XLogRecPtr from, AuditQueueReader reader,
								   void *arg);

#endif							/* GDPR_AUDIT_QUEUE_H */
