/*
 * mask.h
 *		What is shown instead of a value to those who may see its mask only.
 */
#ifndef GDPR_MASK_H
#define GDPR_MASK_H

#include "postgres.h"

#include "datamap.h"

/* Called once from _PG_init. */
extern void mask_init(void);

/*
 * The mask of a value that is not NULL, of the column's own type, in the
 * current memory context; NULL if the column has no mask.  The same value has
 * the same mask in every session.  An error if the column's mask does not
 * exist, does not fit its type, or is a function that cannot be used: a value
 * never takes the place of its mask.
 */
extern Datum mask_value(ColumnMap *column, Datum value, bool *isnull);

#endif							/* GDPR_MASK_H */
