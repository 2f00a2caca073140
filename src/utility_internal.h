/*
 * utility_internal.h
 *		Shared by utility.c and utility_ddl.c.
 */
#ifndef GDPR_UTILITY_INTERNAL_H
#define GDPR_UTILITY_INTERNAL_H

#include "postgres.h"

#include "nodes/parsenodes.h"

/*
 * utility_ddl.c: before a statement.  Refuses what must not happen to a
 * protected table, and returns the protected tables to look at afterwards.
 */
extern List *utility_before_ddl(Node *stmt);

/* After it: refuses what the statement has made of those tables. */
extern void utility_after_ddl(Node *stmt, List *relids);

/* After an ALTER TABLE of any table: our triggers fire always. */
extern void utility_restore_always(Node *stmt);

#endif							/* GDPR_UTILITY_INTERNAL_H */
