/*
 * expiry.h
 *		Months of expiry: when values of a row are over by the policies of
 *		retention that shred, and their key dies in every backup.
 */
#ifndef GDPR_EXPIRY_H
#define GDPR_EXPIRY_H

#include "postgres.h"

#include "datamap.h"

/* Persons whose values have no limit, as they are held or restricted; sorted. */
typedef struct ExpiryKept
{
	int			count;
	uint64	   *numbers;
} ExpiryKept;

/*
 * The month under which a row's values of a category are to be sealed now: at
 * its beginning, in UTC, they are over by all policies.  It is one to come,
 * whose keys live; 0: no limit.  values and isnull as in row.h;
 * person: whose values; kept: may be NULL.
 */
extern int	expiry_month(const TableMap *table, int category,
						 const Datum *values, const bool *isnull,
						 uint64 person, const ExpiryKept *kept);

#endif							/* GDPR_EXPIRY_H */
