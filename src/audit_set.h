/*
 * audit_set.h
 *		The persons of an audit record: a set of numbers, as ranges.
 */
#ifndef GDPR_AUDIT_SET_H
#define GDPR_AUDIT_SET_H

#include "postgres.h"

#include "lib/stringinfo.h"

#define AUDIT_SET_MAX	(PG_UINT64_MAX / 2) /* numbers are smaller */

typedef struct AuditRange
{
	uint64		first;
	uint64		last;
} AuditRange;

typedef struct AuditSet
{
	AuditRange *ranges;			/* as they came, until audit_set_arrange() */
	int			count;
	int			max;
	MemoryContext context;		/* of ranges; NULL: the current one */
} AuditSet;

/* Cheap for neighbours. */
extern void audit_set_add_range(AuditSet *set, uint64 first, uint64 last);

static inline void
audit_set_add(AuditSet *set, uint64 number)
{
	if (set->count > 0 && set->ranges[set->count - 1].last == number)
		return;
	audit_set_add_range(set, number, number);
}

/* Puts the ranges in order and joins them; how many numbers there are. */
extern uint64 audit_set_arrange(AuditSet *set);

/* Is a number in an arranged set? */
extern bool audit_set_has(const AuditSet *set, uint64 number);

/* Arranged sets as bytes, and back; false: malformed. */
extern void audit_set_encode(StringInfo out, const AuditSet *set);
extern bool audit_set_decode(const uint8 *buf, size_t len, size_t *offset,
							 AuditSet *set);

#endif							/* GDPR_AUDIT_SET_H */
