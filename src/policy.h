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

/* Moves when a decision may differ from the last one for the same arguments. */
extern uint64 policy_epoch(void);

#endif							/* GDPR_POLICY_H */
