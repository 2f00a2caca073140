/*
 * datamap_internal.h
 *		Shared by datamap.c and datamap_members.c.
 */
#ifndef GDPR_DATAMAP_INTERNAL_H
#define GDPR_DATAMAP_INTERNAL_H

#include "datamap.h"

/* The highest attribute number of a relation. */
extern int	datamap_attribute_count(Oid relid);

/* What the catalog says of a column. */
extern void datamap_read_attribute(ColumnMap *column, Oid relid,
								   AttrNumber attnum);

/*
 * Pointers between the parts, once nothing is reallocated any more.  False if
 * a part is missing, as while pg_restore -j is loading the map.
 */
extern bool datamap_finish_table(TableMap *table);

/*
 * The map of a member, made from the root's, in its context.  NULL while
 * protect() has not added gdpr_sealed yet.
 */
extern TableMap *datamap_make_member(TableMap *root, Oid relid);

#endif							/* GDPR_DATAMAP_INTERNAL_H */
