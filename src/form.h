/*
 * form.h
 *		Rows of a table that is being converted: which form a row takes, so
 *		that UNIQUE holds over both.
 */
#ifndef GDPR_FORM_H
#define GDPR_FORM_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "utils/rel.h"

#include "datamap.h"

/* Attributes of an index's keys, offset as pull_varattnos does it. */
extern Bitmapset *form_index_columns(Relation index);

/*
 * Can the table be converted while others write to it?  Not if a UNIQUE
 * constraint on a searchable column is checked late, or over a generated
 * column.
 */
extern bool form_can_be_live(Relation rel, const TableMap *table);

/*
 * The form to store a row in.  values: values in personal columns.  changed:
 * which attributes (by number - 1) an UPDATE changes; NULL: the row is new or
 * changes its form.  Locks its unique values until the end of the transaction,
 * and may wait for others who write the same.
 */
extern int	form_choose(Relation rel, TableMap *table, Datum *values,
						bool *isnull, const bool *changed, int wanted);

/*
 * Lock the unique values of a row that changes its form.  False, without wait:
 * somebody else has one.
 */
extern bool form_lock(Relation rel, TableMap *table, const Datum *values,
					  const bool *isnull, bool wait);

#endif							/* GDPR_FORM_H */
