/*
 * move.h
 *		Rows that an UPDATE moves to another partition.
 */
#ifndef GDPR_MOVE_H
#define GDPR_MOVE_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/rel.h"

#include "datamap.h"

/* Called once from _PG_init. */
extern void move_init(void);

/* What the guard of the other partition has to know of a row that is moved. */
typedef struct MoveNews
{
	bool		relink;			/* its person changed */
	bool		nulls;			/* a NOT NULL column was set to NULL */
} MoveNews;

/* Is a row of rel, as it is after an UPDATE, to leave this partition? */
extern bool move_leaves(Relation rel, TableMap *table,
						const Datum *old_values, const bool *old_isnull,
						const Datum *values, const bool *isnull);

/*
 * An UPDATE is about to store this tuple of rel, sealed, in another partition.
 */
extern void move_note(Relation rel, TableMap *table, HeapTuple tuple,
					  MoveNews news);

/*
 * Is this tuple, about to be inserted into rel, one that was noted?  Then the
 * note is used up.
 */
extern bool move_take(Relation rel, TableMap *table, HeapTuple tuple,
					  MoveNews *news);

/*
 * Keep the tuple, as it is stored, with its envelope, while triggers of the
 * application work on its values: the mark of an opened row stands in
 * gdpr_sealed meanwhile.
 */
extern void move_keep(HeapTuple tuple, const struct varlena *envelope,
					  MoveNews news);

/*
 * The tuple whose envelope is in the mark of an opened row, once; NULL if none
 * is kept.
 */
extern HeapTuple move_kept(const struct varlena *mark, MoveNews *news);

#endif							/* GDPR_MOVE_H */
