/*
 * utility_internal.h
 *		Shared by the utility_* files.
 */
#ifndef GDPR_UTILITY_INTERNAL_H
#define GDPR_UTILITY_INTERNAL_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#include "datamap.h"

/*
 * utility_ddl.c: before a statement.  Refuses what must not happen to a
 * protected table, and returns the protected tables to look at afterwards.
 */
extern List *utility_before_ddl(Node *stmt);

/* After it: refuses what the statement has made of those tables. */
extern void utility_after_ddl(Node *stmt, List *relids);

/* After an ALTER TABLE of any table: our triggers fire always. */
extern void utility_restore_always(Node *stmt);

/*
 * utility_members.c: seals tables that a statement is about to attach to
 * protected ones.
 */
extern void utility_members_before_alter(AlterTableStmt *stmt);

/* Returns the protected tables of which a new table is to be a part. */
extern List *utility_members_before_create(CreateStmt *stmt, bool foreign);

/* Protects it. */
extern void utility_members_after_create(CreateStmt *stmt);

/* Relations together with the members below them. */
extern List *utility_members_below(List *relids);

/* Refuses to rename a column of the map where not all members follow. */
extern void utility_members_before_rename(TableMap *map, const char *column);

/*
 * utility_owner.c: notes that a statement may have given tables to other
 * owners, which is looked at when the transaction commits.
 */
extern void utility_note_owners(Node *stmt);
extern void utility_owner_init(void);	/* from utility_init() */

#endif							/* GDPR_UTILITY_INTERNAL_H */
