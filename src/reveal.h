/*
 * reveal.h
 *		reveal() and reveal_row(): the only way a sealed value leaves.
 */
#ifndef GDPR_REVEAL_H
#define GDPR_REVEAL_H

#include "postgres.h"

#include "datamap.h"
#include "row.h"

/*
 * What the session is shown of a column: the value if policy reveals it, or
 * its mask; NULL if neither, or if it is gone or forgotten.  In the current memory context.
 */
extern Datum reveal_shown(ColumnMap *column, const uint8 *buf, size_t len,
						  const uint8 *rowkey, size_t rowkeylen,
						  bool own_input, bool *isnull);

/* The same of a column of a row that is not sealed (yet, or any more). */
extern Datum reveal_open(ColumnMap *column, Datum stored, bool stored_isnull,
						 bool own_input, bool *isnull);

/*
 * The same for a row that triggers are shown, which the session did not ask
 * for: what is not permitted is hidden, for whatever reason.
 */
extern Datum reveal_permitted(ColumnMap *column, const uint8 *buf, size_t len,
							  const uint8 *rowkey, size_t rowkeylen,
							  bool *isnull);
extern Datum reveal_open_permitted(ColumnMap *column, Datum stored,
								   bool stored_isnull, bool *isnull);

#endif							/* GDPR_REVEAL_H */
