/*
 * expiry.h
 *		Months of expiry: when values of a row are over by the policies of
 *		retention that shred, and their key dies in every backup.
 */
#ifndef GDPR_EXPIRY_H
#define GDPR_EXPIRY_H

#include "postgres.h"

#include "datamap.h"

/*
 * The month under which a row's values of a category are to be sealed now: at
 * its beginning, in UTC, they are over by all policies.  It is one to come,
 * whose keys live; 0: no limit.  values and isnull as in row.h.
 */
extern int	expiry_month(const TableMap *table, int category,
						 const Datum *values, const bool *isnull);

#endif							/* GDPR_EXPIRY_H */
