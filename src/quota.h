/*
 * quota.h
 *		How many persons may be revealed: to a role in an hour, and without
 *		parallel workers, which would count apart.
 */
#ifndef GDPR_QUOTA_H
#define GDPR_QUOTA_H

#include "postgres.h"

#include "nodes/plannodes.h"

/* Called once from _PG_init, under shared_preload_libraries. */
extern void quota_init(void);

/*
 * One more person is revealed to a role for a purpose of this database; false
 * if that is more than cap in the last 60 minutes.  Kept in shared memory, and
 * forgotten when the server restarts.
 */
extern bool quota_hour_take(Oid role, int32 purpose, int32 cap);

/*
 * Must this plan run without parallel workers?  If it has some, reads protected
 * tables, or calls functions that may, and there is a cap on what it may
 * reveal.
 */
extern bool quota_forbids_workers(const PlannedStmt *plan);

#endif							/* GDPR_QUOTA_H */
