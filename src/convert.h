/*
 * convert.h
 *		Converting a row of a protected table from one form to another.
 */
#ifndef GDPR_CONVERT_H
#define GDPR_CONVERT_H

#include "postgres.h"

#include "datamap.h"

/*
 * Between former_begin() and former_end(): turns a row as it is stored into
 * the row as it is stored in another form.  False, without may_wait: the row
 * of its parent is locked.  With may_wait the parents are read, not locked:
 * the caller has locked their tables.
 */
extern bool convert_row(TableMap *table, Datum *values, bool *isnull,
						int form, bool may_wait);

#endif							/* GDPR_CONVERT_H */
