/*
 * quota.h
 *		How many persons are revealed by one statement, and to a role in an hour;
 *		without parallel workers, which would count apart.
 */
#ifndef GDPR_QUOTA_H
#define GDPR_QUOTA_H

#include "postgres.h"

#include "nodes/plannodes.h"

/* Called once from _PG_init, under shared_preload_libraries. */
extern void quota_init(void);

/*
 * The persons that the client's statement has revealed so far for a purpose,
 * 0: for any.  One that there was no room to remember is counted again.
 */
extern int64 quota_statement_count(int32 purpose);
extern bool quota_statement_has(int32 purpose, uint64 person);
extern void quota_statement_add(int32 purpose, uint64 person);

/*
 * One more person is revealed to a role for a purpose of this database; false
 * if that is more than cap in the last 60 minutes.  Kept in shared memory, and
 * forgotten when the server restarts.
 */
extern bool quota_hour_take(Oid role, int32 purpose, int32 cap);

/*
 * Must this plan run without parallel workers?  If it has some, reads protected
 * tables, or calls functions that may, and there is a cap on what it may
 * reveal, or what it reveals is to be on disk first: the leader, through which
 * it leaves, does not know what they have touched.
 */
extern bool quota_forbids_workers(const PlannedStmt *plan);

#endif							/* GDPR_QUOTA_H */
