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

/*
 * What can fail of audit_queue_put(), before anything is revealed.  Waits while
 * the worker is behind by more than gdpr.audit_max_lag.  ERRCODE_GDPR_NOT_AUDITED
 */
extern void audit_queue_prepare(void);

/*
 * Adds a record, whatever becomes of the transaction.  It is on disk when the
 * log is flushed: at the next commit, or some moments later.
 */
extern void audit_queue_put(const char *record, int len);

/* What this session has added is on disk. */
extern void audit_queue_flush(void);

/*
 * In the launcher of workers (latch NULL: it ends): databases that need one now,
 * those that have just failed not;
 * where the log is needed from, by any of them (invalid: there is none with a
 * trail; false: that is not known); a database is no more.
 */
extern void audit_queue_launcher(Latch *latch);
extern List *audit_queue_unserved(void);
extern bool audit_queue_needed(XLogRecPtr *from);
extern void audit_queue_drop(Oid database);

/*
 * After a start, nobody knows which databases have records in the log.  Each is
 * visited by a worker, which says whether it has a trail, to be looked at; the
 * launcher counts visits, and says when it is through.
 */
extern void audit_queue_visit(bool has_trail);
extern uint64 audit_queue_visits(void);
extern void audit_queue_visited(void);

/*
 * In a worker, for its database: be the one that serves it, until it ends
 * (false: there is another); have records come since the last time, which then
 * are on disk?
 */
extern bool audit_queue_serve(void);
extern bool audit_queue_take(void);

/*
 * Up to where all is stored, invalid: that is not known; what was taken is stored
 * now, else somebody else is to take it.
 */
extern XLogRecPtr audit_queue_known(void);
extern void audit_queue_stored(XLogRecPtr up_to);

/*
 * In a worker: is it time for another digest (of the launcher, a worker for it)?
 * The record of the last one; one was made, or tried.
 */
extern bool audit_queue_digest_due(void);
extern uint64 audit_queue_last_digest(void);
extern void audit_queue_digested(uint64 record, bool done);

#endif							/* GDPR_AUDIT_QUEUE_H */
