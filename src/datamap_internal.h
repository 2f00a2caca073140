/*
 * datamap_internal.h
 *		Shared by the files of the data map.
 */
#ifndef GDPR_DATAMAP_INTERNAL_H
#define GDPR_DATAMAP_INTERNAL_H

#include "datamap.h"

/* Columns of gdpr.retention_policy, as in sql/80_retention.sql */
enum RetentionPolicyColumn
{
	RP_ID, RP_TABLE, RP_CATEGORY, RP_PURPOSE, RP_ACTION, RP_KEEP, RP_SINCE,
	RP_SINCE_TABLE, RP_SINCE_COLUMN, RP_TIME_ZONE, RP_COLUMNS = 13
};

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

/* A row of gdpr.retention_policy, and what a member has of its root's. */
extern void datamap_add_policy(TableMap *table, const Datum *values,
							   const bool *isnull);
extern void datamap_translate_policies(TableMap *member);

#endif							/* GDPR_DATAMAP_INTERNAL_H */
