/*
 * rewrite_internal.h
 *		Shared by rewrite.c, rewrite_search.c and rewrite_copies.c.
 */
#ifndef GDPR_REWRITE_INTERNAL_H
#define GDPR_REWRITE_INTERNAL_H

#include "postgres.h"

#include "nodes/parsenodes.h"

#include "datamap.h"

/*
 * Where a walk is: the query whose expressions are being looked at and, for
 * Vars with varlevelsup, those around it.
 */
typedef struct QueryLevel
{
	Query	   *query;
	struct QueryLevel *up;
	Query	   *subselect;		/* while in its testexpr: of an ANY sublink */
	List	   *rtable;			/* rewrite.c: what is rewritten so far */
	List	   *ctes;
} QueryLevel;

/*
 * Location of a Var that stays physical.  The parser makes only -1 and
 * offsets in the statement.
 */
#define PHYSICAL_LOCATION	(-77)

extern QueryLevel *rewrite_level_up(QueryLevel *level, Index levelsup);

/* The map of what an RTE reads or writes, NULL if that is not protected. */
extern TableMap *rewrite_rte_map(const RangeTblEntry *rte);

/* Const of type gdpr.column_ref. */
extern Expr *rewrite_column_ref(int32 id, int flags, const char *context);

/*
 * The context (see datamap.h) that a query gives to a relation in it, by the
 * condition row_permitted(gdpr_sealed, purpose, channel, topic) in WHERE; NULL:
 * none.  That is how a view says what it is for: what it shows of the
 * relation, it shows for that purpose.
 */
extern const char *rewrite_context(const Query *query, Index varno);

/*
 * The query itself, or a copy in which the conditions of views for a purpose
 * hold where the server would pass them by.
 */
extern Query *rewrite_with_view_conditions(Query *query);

/* rewrite_search.c: add token clauses to a copied Query, in place. */
extern void rewrite_add_searches(Query *query);

/* rewrite_tokens.c: the clauses for it. */
extern bool rewrite_implies_equal_tokens(Oid opno, Oid inputcollid,
										 const ColumnMap *column);
extern bool rewrite_same_tokens(const ColumnMap *a, const ColumnMap *b);
extern OpExpr *rewrite_widen_integer(OpExpr *op);
extern Expr *rewrite_token_call(Oid funcid, Node *value,
								const ColumnMap *column, const char *context);
extern Expr *rewrite_compare_stored(const OpExpr *op, int side, Node *stored,
									Node *value, const ColumnMap *column,
									const char *context);
extern Expr *rewrite_recheck_call(Node *qual, const ColumnMap *column,
								  const char *context);
extern Node *rewrite_with_recheck(Expr *clause, Node *qual,
								  const ColumnMap *column,
								  const char *context);

/* rewrite_copies.c: refuse a Query that stores revealed values elsewhere. */
extern void rewrite_check_copies(Query *query);

#endif							/* GDPR_REWRITE_INTERNAL_H */
