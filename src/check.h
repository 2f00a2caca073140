/*
 * check.h
 *		CHECK constraints on personal columns, which the table itself cannot
 *		hold: they are evaluated on the values.
 */
#ifndef GDPR_CHECK_H
#define GDPR_CHECK_H

#include "postgres.h"

#include "utils/rel.h"

#include "datamap.h"

/*
 * Raise ERRCODE_CHECK_VIOLATION unless the row, with values in its personal
 * columns, satisfies the constraints.
 */
extern void check_row(Relation rel, TableMap *table, Datum *values,
					  bool *isnull);

/*
 * A column of the table is about to be renamed, and has been: the constraints
 * in the data map name it.
 */
extern List *check_before_rename(const TableMap *table);
extern void check_after_rename(List *checks);

#endif							/* GDPR_CHECK_H */
