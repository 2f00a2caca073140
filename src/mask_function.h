/*
 * mask_function.h
 *		Masks that are SQL functions of the application.
 */
#ifndef GDPR_MASK_FUNCTION_H
#define GDPR_MASK_FUNCTION_H

#include "postgres.h"

#include "datamap.h"

typedef struct MaskFunction MaskFunction;

extern void mask_function_init(void);

/*
 * See to it that *function is what the column's mask names, as it is now; at
 * first it is NULL.  Errors if there is no such function any more, or it is
 * not one that may see values.
 */
extern void mask_function_prepare(const ColumnMap *column,
								  MaskFunction **function);

/* Its result for a value, in the current memory context. */
extern Datum mask_function_call(const ColumnMap *column,
								MaskFunction *function, Datum value,
								bool *isnull);

#endif							/* GDPR_MASK_FUNCTION_H */
