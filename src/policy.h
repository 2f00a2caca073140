/*
 * policy.h
 *		The decision whether a session sees a value.
 */
#ifndef GDPR_POLICY_H
#define GDPR_POLICY_H

#include "postgres.h"

#include "datamap.h"

typedef enum PolicyDecision
{
	POLICY_HIDE,				/* NULL */
	POLICY_MASK,				/* the column's mask */
	POLICY_REVEAL
} PolicyDecision;

extern void policy_init(void);

/*
 * May current_user, for the purpose in gdpr.purpose, see this column of this
 * subject?  ERRCODE_GDPR_PURPOSE for a purpose that is unknown or not granted.
 */
extern PolicyDecision policy_decide(const ColumnMap *column, uint64 subject);

/*
 * The same where the session did not ask for the value itself: a purpose that
 * is unknown or not granted permits nothing, and is no error.
 */
extern PolicyDecision policy_permits(const ColumnMap *column, uint64 subject);

/*
 * May current_user store rows that arrive sealed?  The owner of the table, or
 * of the root it is a part of, may.  An envelope is not
 * authenticated when it arrives: a restored dump must not need keys.  So it is
 * taken from those only who may restore the table, and from replication;
 * another could name a person of his choice in it, or put nothing in place of
 * values he cannot see.
 */
extern bool policy_may_restore(const TableMap *table);

/* Moves when a decision may differ from the last one for the same arguments. */
extern uint64 policy_epoch(void);

#endif							/* GDPR_POLICY_H */
