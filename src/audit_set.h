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

/* An arranged set as bytes */
extern void audit_set_encode(StringInfo out, const AuditSet *set);

/* ... and its ranges, one after the other */
typedef struct AuditSetReader
{
	const uint8 *buf;
	size_t		len;
	size_t		offset;			/* of the next range; at last, behind the set */
	uint64		left;			/* ranges */
	uint64		next;			/* no number is less */
	bool		ok;				/* false: malformed */
} AuditSetReader;

extern void audit_set_open(AuditSetReader *reader, const uint8 *buf,
						   size_t len, size_t offset);

/* False: there is none, or it is malformed. */
extern bool audit_set_next(AuditSetReader *reader, AuditRange *range);

/* Is a number in the set? */
extern bool audit_set_has(AuditSetReader *reader, uint64 number);

/* All of it, palloc'd; false: malformed. */
extern bool audit_set_decode(const uint8 *buf, size_t len, size_t *offset,
							 AuditSet *set);

#endif							/* GDPR_AUDIT_SET_H */
