/*
 * convert.h
 *		Converting a row of a protected table from one form to another.
 */
#ifndef GDPR_CONVERT_H
#define GDPR_CONVERT_H

#include "postgres.h"

#include "datamap.h"
#include "expiry.h"

typedef enum ConvertFor
{
	CONVERT_BATCH,				/* never waits: false if the row of a parent is
								 * locked */
	CONVERT_TABLE,				/* parents are read, not locked: the caller has
								 * locked their tables */
	CONVERT_EXPIRY,				/* it stays in its form, and gets the months of
								 * expiry that it should have */
	CONVERT_FORGET				/* as CONVERT_BATCH; of those who were forgotten
								 * before, nothing but the number is left */
} ConvertFor;

/*
 * Between former_begin() and former_end(): turns a row as it is stored into
 * the row as it is stored in another form.  kept: of CONVERT_EXPIRY, else NULL.
 */
extern bool convert_row(TableMap *table, Datum *values, bool *isnull,
						int form, ConvertFor purpose, const ExpiryKept *kept);

#endif							/* GDPR_CONVERT_H */
