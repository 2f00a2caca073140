/*
 * disclosure.h
 *		Personal values that were changed, of which recipients may have to be
 *		told (Art. 19).
 */
#ifndef GDPR_DISCLOSURE_H
#define GDPR_DISCLOSURE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "datamap.h"

/* Called once from _PG_init. */
extern void disclosure_init(void);

/* Was anything ever disclosed in this database?  Cheap. */
extern bool disclosure_any(void);

/*
 * A value of a person was changed, in the row that has this row key now.  When
 * this (sub)transaction commits, recipients who were given it are told.
 */
extern void disclosure_note_change(const ColumnMap *column, uint64 person,
								   const StringInfo rowkey);

#endif							/* GDPR_DISCLOSURE_H */
