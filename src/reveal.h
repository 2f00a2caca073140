/*
 * reveal.h
 *		reveal() and reveal_row(): the only way a sealed value leaves.
 */
#ifndef GDPR_REVEAL_H
#define GDPR_REVEAL_H

#include "postgres.h"

#include "datamap.h"
#include "policy.h"

/* How a value comes to be looked at. */
typedef enum RevealHow
{
	REVEAL_ASKED,				/* the statement names the column */
	REVEAL_UNASKED,				/* a trigger is shown the row: what is not
								 * permitted is hidden, for whatever reason */
	REVEAL_OWN_INPUT			/* EXCLUDED: the statement brought it itself */
} RevealHow;

/*
 * What current_user is shown of a column for a purpose: the value or its mask,
 * as policy decides, or NULL; also if it is gone or forgotten.  In the current
 * memory context.
 */
extern Datum reveal_shown(PolicyQuestion *question, ColumnMap *column,
						  const uint8 *buf, size_t len, const uint8 *rowkey,
						  size_t rowkeylen, RevealHow how, bool *isnull);

/* The same of a column of a row that is not sealed (yet, or any more). */
extern Datum reveal_open(PolicyQuestion *question, ColumnMap *column,
						 Datum stored, bool stored_isnull, RevealHow how,
						 bool *isnull);

/* The person whose value a column of a sealed row is. */
extern uint64 reveal_person(const ColumnMap *column, const uint8 *buf,
							size_t len);

#endif							/* GDPR_REVEAL_H */
