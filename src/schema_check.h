/*
 * schema_check.h
 *		What a table must not have to live with protection.
 *
 * The same rules for protect(), over the columns it is about to seal, and for
 * later changes of a protected table.  Every function raises the error, with
 * reason and hint, for the first thing it finds.
 */
#ifndef GDPR_SCHEMA_CHECK_H
#define GDPR_SCHEMA_CHECK_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "utils/relcache.h"

#include "datamap.h"

/* A column that is sealed, or about to be. */
typedef struct ColumnSpec
{
	AttrNumber	attnum;
	bool		searchable;
	NormalizeKind normalize;
	int			token_bytes;
	bool		notnull;		/* in the table that was declared */
} ColumnSpec;

/*
 * For protect(): a table as it is, before anything is changed.  tree: OIDs of
 * the relations that are, or are to be, members of one protected table.
 */
extern void schema_check_table(Relation rel, const ColumnSpec *cols, int ncols,
							   List *tree);

/*
 * The expressions of an index as they were written.  RelationGetIndexExpressions
 * evaluates what is constant in them, with functions of the table's owner.
 */
extern List *schema_check_index_expressions(Oid index);

/* For a table that is protected, after its schema was changed. */
extern void schema_check_protected(Relation rel, const TableMap *map);

/* For an index that is about to be made on a protected table, analyzed. */
extern void schema_check_new_index(Relation rel, const TableMap *map,
								   const IndexStmt *stmt);

/*
 * For a trigger of a protected table that was made or renamed: it must not run
 * outside the extension's own.
 */
extern void schema_check_trigger(Relation rel, const TableMap *map,
								 const char *name);

#endif							/* GDPR_SCHEMA_CHECK_H */
