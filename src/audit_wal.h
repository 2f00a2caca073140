/*
 * audit_wal.h
 *		Audit records in the write-ahead log: written, kept there, read.
 */
#ifndef GDPR_AUDIT_WAL_H
#define GDPR_AUDIT_WAL_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* Adds a record of this database; its end. */
extern XLogRecPtr audit_wal_put(const char *record, int len);

/*
 * Where reading can begin if all before `stored` is stored, and all before
 * `known` as far as this server knows (invalid: it does not): there, or if the
 * log from there is gone, at the latest checkpoint.  Sets whether it is gone.
 */
extern XLogRecPtr audit_wal_begin(XLogRecPtr stored, XLogRecPtr known,
								  bool *gone);

/*
 * Reads the log from a place on, and calls back for each record of this
 * database in it; returns where to go on.
 */
typedef void (*AuditWalReader) (const uint8 *record, size_t len,
								XLogRecPtr next, void *arg);
extern XLogRecPtr audit_wal_read(XLogRecPtr from, AuditWalReader reader,
								 void *arg);

/*
 * In the launcher: keeps the log from a place on, by a replication slot.
 * Invalid: nobody needs it.  A failure is a warning in the server's log.
 */
extern void audit_wal_keep(XLogRecPtr from);

/* Is it kept? */
extern bool audit_wal_is_kept(void);

#endif							/* GDPR_AUDIT_WAL_H */
