/*
 * rewrite_search.c
 *		Token clauses: equality on a searchable column uses its index.
 *
 * A qual "column = x" whose truth is all that matters becomes
 *
 *		stored column = token(x) AND recheck(column = x)
 *
 * which is true for exactly the same rows, because equal values have equal
 * tokens.  The first half has the form the qual would have had on an
 * unprotected table, so the planner does with it what it would have done
 * there: index scans, bitmaps, joins, pushing it down.  The second half is the
 * statement's own condition, on revealed values; recheck() says to the planner
 * that it filters no more, for the first half has been counted.
 *
 * "Whose truth is all that matters": in WHERE, JOIN ... ON and policies, below
 * AND and OR only.  Works in place on a Query that is ours, before
 * rewrite_query().
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "rewrite_internal.h"

/* Name of an output column that is added to a subquery. */
#define SEARCH_OUTPUT	"gdpr_search"

/* A searchable column found below an expression. */
typedef struct Searchable
{
	ColumnMap  *column;
	int			varno;			/* its relation, or the subquery it comes from */
	Index		levelsup;
	bool		lowered;		/* lower(column) */
	const char *context;		/* see rewrite_context() */
} Searchable;

static void search_query(Query *query, QueryLevel *up);

/*
 * May an output column be added to this subquery without changing its rows?
 */
static bool
can_add_output(const Query *query)
{
	return query->commandType == CMD_SELECT &&
		query->setOperations == NULL &&
		query->groupClause == NIL && query->groupingSets == NIL &&
		query->havingQual == NULL && !query->hasAggs &&
		query->distinctClause == NIL;
}

/*
 * Will the planner fetch whole rows of a view that it cannot merge into the
 * query?  In statements that lock or change rows it does, for all other
 * relations, and they must have the type of the view.
 */
static bool
is_fetched_as_view(const RangeTblEntry *rte, const QueryLevel *level)
{
	const Query *query = rte->subquery;

	if (!OidIsValid(rte->relid) ||
		!(rte->security_barrier || query->hasWindowFuncs ||
		  query->hasTargetSRFs || query->sortClause != NIL ||
		  query->limitOffset != NULL || query->limitCount != NULL ||
		  query->hasForUpdate || query->cteList != NIL ||
		  contain_volatile_functions((Node *) query->targetList)))
		return false;
	for (; level != NULL; level = level->up)
	{
		if (level->query->commandType != CMD_SELECT ||
			level->query->rowMarks != NIL)
			return true;
	}
	return false;
}

typedef struct RowReference
{
	int			varno;
	int			levelsup;
	bool		any_column;		/* any reference, or only to the whole row */
} RowReference;

static bool
references_row(Node *node, void *context)
{
	RowReference *ref = (RowReference *) context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varno == ref->varno && var->varlevelsup == ref->levelsup &&
			(ref->any_column || var->varattno == InvalidAttrNumber);
	}
	if (IsA(node, Query))
	{
		bool		found;

		ref->levelsup++;
		found = query_tree_walker((Query *) node, references_row, context, 0);
		ref->levelsup--;
		return found;
	}
	return expression_tree_walker(node, references_row, context);
}

/* Output column of a query with this expression; added where missing. */
static AttrNumber
add_output(Query *query, Node *expr, bool *added)
{
	AttrNumber	attno;
	int			position = 0;
	ListCell   *lc;

	*added = false;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		/* equal() ignores locations, which is where "physical" is said */
		if (tle->resname != NULL &&
			strcmp(tle->resname, SEARCH_OUTPUT) == 0 &&
			equal(tle->expr, expr))
			return tle->resno;
		position = foreach_current_index(lc) + 1;
	}

	/* what comes after is junk, known by its sort reference only */
	attno = position + 1;
	query->targetList =
		list_insert_nth(query->targetList, position,
						makeTargetEntry((Expr *) expr, attno,
										pstrdup(SEARCH_OUTPUT), false));
	for_each_from(lc, query->targetList, position + 1)
		lfirst_node(TargetEntry, lc)->resno++;
	*added = true;
	return attno;
}

/* The same of an RTE's subquery or CTE, which the RTE and the CTE describe. */
static AttrNumber
rte_output(RangeTblEntry *rte, CommonTableExpr *cte, Node *expr)
{
	bool		added;
	AttrNumber	attno = add_output(cte ? (Query *) cte->ctequery :
								   rte->subquery, expr, &added);

	if (!added)
		return attno;

	/* names may be fewer, where the subquery got columns since */
	while (list_length(rte->eref->colnames) < attno - 1)
		rte->eref->colnames = lappend(rte->eref->colnames,
									  makeString(pstrdup("")));
	rte->eref->colnames = list_insert_nth(rte->eref->colnames, attno - 1,
										  makeString(pstrdup(SEARCH_OUTPUT)));
	if (cte != NULL)
	{
		Oid			type = exprType(expr);
		int32		typmod = exprTypmod(expr);
		Oid			collation = exprCollation(expr);

		rte->coltypes = lappend_oid(rte->coltypes, type);
		rte->coltypmods = lappend_int(rte->coltypmods, typmod);
		rte->colcollations = lappend_oid(rte->colcollations, collation);
		cte->ctecolnames = lappend(cte->ctecolnames,
								   makeString(pstrdup(SEARCH_OUTPUT)));
		cte->ctecoltypes = lappend_oid(cte->ctecoltypes, type);
		cte->ctecoltypmods = lappend_int(cte->ctecoltypmods, typmod);
		cte->ctecolcollations = lappend_oid(cte->ctecolcollations, collation);
	}
	return attno;
}

/*
 * The CTE that an RTE stands for, if the planner will make it a subquery;
 * *level: the query that has it.
 */
static CommonTableExpr *
inlined_cte(RangeTblEntry *rte, QueryLevel **level)
{
	ListCell   *lc;

	*level = rewrite_level_up(*level, rte->ctelevelsup);
	foreach(lc, (*level)->query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (strcmp(cte->ctename, rte->ctename) != 0)
			continue;
		return cte->cterefcount == 1 && !cte->cterecursive &&
			!rte->self_reference &&
			cte->ctematerialized != CTEMaterializeAlways ? cte : NULL;
	}
	return NULL;
}

static Node *physical_expr(QueryLevel *level, Node *expr, bool build,
						   Searchable *found);

/*
 * A column of a subquery or CTE: have it put out the stored column, too.
 * level: of the RTE; owner: of the CTE.
 */
static Node *
physical_output(QueryLevel *level, RangeTblEntry *rte, CommonTableExpr *cte,
				QueryLevel *owner, Var *var, bool build, Searchable *found)
{
	Query	   *query = cte ? castNode(Query, cte->ctequery) : rte->subquery;
	QueryLevel	inner = {query, owner};
	RowReference whole_row = {var->varno, 0, false};
	TargetEntry *tle;
	Node	   *result;

	if (!can_add_output(query) ||
		(cte == NULL && is_fetched_as_view(rte, level)))
		return NULL;
	tle = get_tle_by_resno(query->targetList, var->varattno);
	if (tle == NULL || tle->resjunk)
		return NULL;
	result = physical_expr(&inner, (Node *) tle->expr, build, found);
	if (result == NULL || found->levelsup > 0 || found->lowered ||
		query_tree_walker(level->query, references_row, &whole_row, 0))
		return NULL;
	found->varno = var->varno;
	found->levelsup = var->varlevelsup;
	if (!build)
		return (Node *) var;

	var = copyObject(var);
	var->varattno = rte_output(rte, cte, result);
	var->vartype = exprType(result);
	var->vartypmod = exprTypmod(result);
	var->varcollid = exprCollation(result);
	var->varnosyn = var->varno;
	var->varattnosyn = var->varattno;
	return (Node *) var;
}

/* The same for what column IN (SELECT ...) compares with. */
static Node *
physical_param(QueryLevel *level, Param *param, bool build, Searchable *found)
{
	QueryLevel	inner = {level->subselect, level};
	TargetEntry *tle;
	Node	   *result;
	bool		added;

	if (level->subselect == NULL || param->paramkind != PARAM_SUBLINK ||
		!can_add_output(level->subselect))
		return NULL;
	tle = get_tle_by_resno(level->subselect->targetList, param->paramid);
	if (tle == NULL || tle->resjunk)
		return NULL;
	result = physical_expr(&inner, (Node *) tle->expr, build, found);
	if (result == NULL || found->levelsup > 0)
		return NULL;
	/* not a relation of this query */
	found->varno = 0;
	if (!build)
		return (Node *) param;

	param = copyObject(param);
	param->paramid = add_output(level->subselect, result, &added);
	param->paramtype = exprType(result);
	param->paramtypmod = exprTypmod(result);
	param->paramcollid = exprCollation(result);
	return (Node *) param;
}

static Node *
physical_var(QueryLevel *here, Var *var, bool build, Searchable *found)
{
	QueryLevel *level = rewrite_level_up(here, var->varlevelsup);
	RangeTblEntry *rte;
	TableMap   *map;
	Node	   *result;

	if (IS_SPECIAL_VARNO(var->varno) || var->varattno <= 0 ||
		var->location == PHYSICAL_LOCATION)
		return NULL;
	rte = rt_fetch(var->varno, level->query->rtable);

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			map = rewrite_rte_map(rte);
			if (map == NULL ||
				(level->query->onConflict != NULL &&
				 level->query->onConflict->exclRelIndex == var->varno))
				return NULL;
			found->column = datamap_column_at(map, var->varattno);
			if (found->column == NULL || !found->column->searchable)
				return NULL;
			found->varno = var->varno;
			found->levelsup = var->varlevelsup;
			found->context = rewrite_context(level->query, var->varno);
			if (!build)
				return (Node *) var;
			var = copyObject(var);
			var->varnosyn = var->varno;
			var->varattnosyn = var->varattno;
			var->location = PHYSICAL_LOCATION;
			return (Node *) var;

		case RTE_JOIN:
			{
				Node	   *alias = list_nth(rte->joinaliasvars,
											 var->varattno - 1);

				/* a merged column of a full join is more than a column */
				if (alias == NULL ||
					!IsA(strip_implicit_coercions(alias), Var))
					return NULL;
				result = physical_expr(level, alias, build, found);
				if (result == NULL)
					return NULL;
				found->levelsup += var->varlevelsup;
				if (build)
				{
					compat_add_nullingrels(result, var);
					if (var->varlevelsup > 0)
						IncrementVarSublevelsUp(result, var->varlevelsup, 0);
				}
				return result;
			}

		case RTE_SUBQUERY:
			return physical_output(level, rte, NULL, level, var, build, found);

		case RTE_CTE:
			{
				QueryLevel *owner = level;
				CommonTableExpr *cte = inlined_cte(rte, &owner);

				return cte == NULL ? NULL :
					physical_output(level, rte, cte, owner, var, build, found);
			}

		default:
			{
				List	   *grouped = compat_group_exprs(rte);

				if (grouped == NIL || var->varlevelsup > 0)
					return NULL;
				return physical_expr(level,
									 list_nth(grouped, var->varattno - 1),
									 build, found);
			}
	}
}

/*
 * Can lower() under this collation be told apart from the lower() of tokens,
 * that of the database's default collation?  Turkish can, for one.
 */
static bool
lower_is_normal(Oid collation)
{
	return collation == DEFAULT_COLLATION_OID || collation == C_COLLATION_OID;
}

/*
 * The stored counterpart of an expression over a searchable column: the same
 * relabelling, collation and lower() over the Var that stays physical.  NULL
 * if it is not such an expression.  With build false nothing is made or
 * changed, and the result only says yes or no.
 */
static Node *
physical_expr(QueryLevel *level, Node *expr, bool build, Searchable *found)
{
	Node	   *arg;

	check_stack_depth();
	if (expr == NULL)
		return NULL;
	switch (nodeTag(expr))
	{
		case T_Var:
			return physical_var(level, (Var *) expr, build, found);

		case T_Param:
			return physical_param(level, (Param *) expr, build, found);

		case T_RelabelType:
			{
				RelabelType *relabel = (RelabelType *) expr;

				arg = physical_expr(level, (Node *) relabel->arg, build, found);
				if (arg == NULL || !build)
					return arg;
				relabel = copyObject(relabel);
				relabel->arg = (Expr *) arg;
				return (Node *) relabel;
			}

		case T_CollateExpr:
			{
				CollateExpr *collate = (CollateExpr *) expr;

				arg = physical_expr(level, (Node *) collate->arg, build, found);
				if (arg == NULL || !build)
					return arg;
				collate = copyObject(collate);
				collate->arg = (Expr *) arg;
				return (Node *) collate;
			}

		case T_FuncExpr:
			{
				FuncExpr   *call = (FuncExpr *) expr;

				if (call->funcid != F_LOWER_TEXT ||
					!lower_is_normal(call->inputcollid))
					return NULL;
				arg = physical_expr(level, linitial(call->args), build, found);
				if (arg == NULL || found->column->normalize != NORMALIZE_LOWER)
					return NULL;
				found->lowered = true;
				if (!build)
					return arg;
				call = copyObject(call);
				call->args = list_make1(arg);
				return (Node *) call;
			}

		default:
			return NULL;
	}
}

static bool
find_searchable(QueryLevel *level, Node *expr, Searchable *found)
{
	memset(found, 0, sizeof(*found));
	return physical_expr(level, expr, false, found) != NULL;
}

static Node *
build_physical(QueryLevel *level, Node *expr)
{
	Searchable	ignored = {0};

	return physical_expr(level, expr, true, &ignored);
}

/* Can it be computed once more, outside the row that is searched for? */
static bool
can_be_searched_for(Node *value, const Searchable *searchable)
{
	RowReference same_row = {searchable->varno, searchable->levelsup, true};

	return !contain_volatile_functions(value) &&
		!references_row(value, &same_row);
}

/*
 * column = x, x = column, column = column; NULL if it is something else.
 * outer: of a query around this one.
 */
static Node *
search_equality(OpExpr *qual, QueryLevel *level, bool outer)
{
	OpExpr	   *op = qual;
	Node	   *sides[2];
	Searchable	found[2];
	bool		is_column[2];

	if (list_length(op->args) != 2 || op->opresulttype != BOOLOID)
		return NULL;
	op = rewrite_widen_integer(op);
	for (int i = 0; i < 2; i++)
	{
		sides[i] = list_nth(op->args, i);
		is_column[i] = find_searchable(level, sides[i], &found[i]) &&
			rewrite_implies_equal_tokens(op->opno, op->inputcollid, found[i].column);
	}

	if (is_column[0] && is_column[1] &&
		rewrite_same_tokens(found[0].column, found[1].column))
	{
		op = copyObject(op);
		op->args = list_make2(build_physical(level, sides[0]),
							  build_physical(level, sides[1]));
		return rewrite_with_recheck((Expr *) op, (Node *) qual,
									found[0].column, found[0].context);
	}

	for (int i = 0; i < 2; i++)
	{
		Expr	   *clause;

		if (!is_column[i] || found[i].varno == 0 ||
			(found[i].levelsup > 0) != outer ||
			!can_be_searched_for(sides[1 - i], &found[i]))
			continue;
		clause = rewrite_compare_stored(op, i, build_physical(level, sides[i]),
								sides[1 - i], found[i].column,
								found[i].context);
		if (clause != NULL)
			return rewrite_with_recheck(clause, (Node *) qual,
										found[i].column, found[i].context);
	}
	return NULL;
}

/* column = ANY (array), column IN (...); NULL if it is something else */
static Node *
search_any(ScalarArrayOpExpr *qual, QueryLevel *level)
{
	Node	   *column = linitial(qual->args);
	Node	   *array = lsecond(qual->args);
	ScalarArrayOpExpr *op;
	Searchable	found;

	if (!qual->useOr || !find_searchable(level, column, &found) ||
		!rewrite_implies_equal_tokens(qual->opno, qual->inputcollid, found.column) ||
		!can_be_searched_for(array, &found))
		return NULL;

	op = copyObject(qual);
	op->args = list_make2(build_physical(level, column),
						  rewrite_token_call(datamap_oids()->token_array, array,
											 found.column, found.context));
	return rewrite_with_recheck((Expr *) op, (Node *) qual, found.column,
								found.context);
}

/*
 * A comparison of an output column of a subquery that groups, or is a set
 * operation, with a value from elsewhere: such a subquery cannot put out the
 * stored column as well, but rows with another token can be left out inside.
 * The qual itself stays.
 */
typedef struct PushedSearch
{
	Oid			opno;
	Oid			inputcollid;
	Node	   *qual;			/* OpExpr or ScalarArrayOpExpr */
	int			side;			/* the column's, among the arguments */
	const ColumnMap *pushed;	/* a column that is searched for */
	const char *context;		/* its */
} PushedSearch;

static List *
qual_args(Node *qual)
{
	return IsA(qual, OpExpr) ? ((OpExpr *) qual)->args :
		((ScalarArrayOpExpr *) qual)->args;
}

/* expr, which is a Var or that relabelled, with another expression for the Var */
static Node *
with_column(Node *expr, Node *column)
{
	RelabelType *relabel;

	if (IsA(expr, Var) &&
		exprType(column) != exprType(expr) &&
		IsBinaryCoercible(exprType(column), exprType(expr)))
		return (Node *) makeRelabelType((Expr *) column, exprType(expr), -1,
										exprCollation(expr),
										COERCE_IMPLICIT_CAST);
	if (!IsA(expr, RelabelType))
		return column;
	relabel = copyObject((RelabelType *) expr);
	relabel->arg = (Expr *) with_column((Node *) relabel->arg, column);
	return (Node *) relabel;
}

/* May rows be left out by the value of this output column? */
static bool
can_filter_output(const Query *query, TargetEntry *tle)
{
	if (query->commandType != CMD_SELECT || query->limitCount != NULL ||
		query->limitOffset != NULL || query->groupingSets != NIL ||
		query->hasWindowFuncs || query->hasTargetSRFs || query->hasDistinctOn)
		return false;
	return (query->groupClause == NIL && !query->hasAggs) ||
		get_sortgroupref_clause_noerr(tle->ressortgroupref,
									  query->groupClause) != NULL;
}

/* depth: how many query levels below the qual */
static void
push_search(PushedSearch *search, Query *query, QueryLevel *up,
			AttrNumber attno, int depth)
{
	QueryLevel	level = {query, up};
	TargetEntry *tle;
	Node	   *value;
	Node	   *column;
	Searchable	found;

	check_stack_depth();
	if (query->setOperations != NULL)
	{
		ListCell   *lc;

		if (query->limitCount != NULL || query->limitOffset != NULL)
			return;
		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

			if (rte->rtekind == RTE_SUBQUERY)
				push_search(search, rte->subquery, &level, attno, depth + 1);
		}
		return;
	}

	tle = get_tle_by_resno(query->targetList, attno);
	if (tle == NULL || tle->resjunk || !can_filter_output(query, tle))
		return;
	column = with_column(list_nth(qual_args(search->qual), search->side),
						 (Node *) tle->expr);
	if (exprType(column) != exprType(list_nth(qual_args(search->qual),
											  search->side)))
		return;
	if (!find_searchable(&level, column, &found))
	{
		Var		   *var = (Var *) strip_implicit_coercions(column);
		RangeTblEntry *rte;

		if (!IsA(var, Var) || var->varlevelsup > 0)
			return;
		rte = rt_fetch(var->varno, query->rtable);
		if (compat_group_exprs(rte) != NIL)
		{
			var = (Var *) strip_implicit_coercions(list_nth(compat_group_exprs(rte),
															var->varattno - 1));
			if (!IsA(var, Var) || var->varlevelsup > 0)
				return;
			rte = rt_fetch(var->varno, query->rtable);
		}
		if (rte->rtekind == RTE_SUBQUERY && var->varattno > 0)
			push_search(search, rte->subquery, &level, var->varattno,
						depth + 1);
		return;
	}
	if (!rewrite_implies_equal_tokens(search->opno, search->inputcollid, found.column))
		return;

	value = copyObject(list_nth(qual_args(search->qual), 1 - search->side));
	IncrementVarSublevelsUp(value, depth, 0);
	column = build_physical(&level, column);
	if (IsA(search->qual, OpExpr))
	{
		value = (Node *) rewrite_compare_stored((OpExpr *) search->qual, search->side,
										column, value, found.column,
										found.context);
		if (value == NULL)
			return;
	}
	else
	{
		ScalarArrayOpExpr *op = copyObject((ScalarArrayOpExpr *) search->qual);

		op->args = list_make2(column,
							  rewrite_token_call(datamap_oids()->token_array,
												 value, found.column,
												 found.context));
		value = (Node *) op;
	}
	query->jointree->quals = make_and_qual(query->jointree->quals, value);
	search->pushed = found.column;
	search->context = found.context;
}

/* Returns the qual, then, or NULL if there is no such subquery. */
static Node *
search_below(Node *qual, Oid opno, Oid inputcollid, QueryLevel *level)
{
	PushedSearch search = {opno, inputcollid, qual, 0, NULL, NULL};
	int			nsides = IsA(qual, OpExpr) ? 2 : 1;

	for (; search.side < nsides; search.side++)
	{
		Node	   *column = list_nth(qual_args(qual), search.side);
		Node	   *value = list_nth(qual_args(qual), 1 - search.side);
		RangeTblEntry *rte;
		Var		   *var;

		while (IsA(column, RelabelType))
			column = (Node *) ((RelabelType *) column)->arg;
		var = (Var *) column;
		if (!IsA(var, Var) || var->varlevelsup > 0 || var->varattno <= 0 ||
			contain_vars_of_level(value, 0) || contain_subplans(value) ||
			contain_volatile_functions(value))
			continue;
		rte = rt_fetch(var->varno, level->query->rtable);
		if (rte->rtekind != RTE_SUBQUERY)
			continue;
		push_search(&search, rte->subquery, level, var->varattno, 1);
		if (search.pushed != NULL)
			return (Node *) rewrite_recheck_call(qual, search.pushed,
												 search.context);
	}
	return NULL;
}

/*
 * Below AND and OR.  top: a row for which the qual is not true is nowhere in
 * the result; of an outer join that is not so.
 */
static Node *
search_qual(Node *qual, QueryLevel *level, bool top)
{
	if (qual == NULL)
		return NULL;
	check_stack_depth();
	switch (nodeTag(qual))
	{
		case T_List:
			{
				ListCell   *lc;

				foreach(lc, (List *) qual)
					lfirst(lc) = search_qual(lfirst(lc), level, false);
				return qual;
			}

		case T_BoolExpr:
			{
				BoolExpr   *expr = (BoolExpr *) qual;
				ListCell   *lc;

				if (expr->boolop == NOT_EXPR)
					return qual;
				foreach(lc, expr->args)
					lfirst(lc) = search_qual(lfirst(lc), level,
											 top &&
											 expr->boolop == AND_EXPR);
				return qual;
			}

		case T_OpExpr:
			{
				OpExpr	   *op = (OpExpr *) qual;
				Node	   *result = search_equality(op, level, false);

				if (result == NULL && top && list_length(op->args) == 2)
					result = search_below(qual, op->opno, op->inputcollid,
										  level);
				if (result == NULL)
					result = search_equality(op, level, true);
				return result ? result : qual;
			}

		case T_ScalarArrayOpExpr:
			{
				ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) qual;
				Node	   *result = search_any(op, level);

				if (result == NULL && top && op->useOr)
					result = search_below(qual, op->opno, op->inputcollid,
										  level);
				return result ? result : qual;
			}

		case T_SubLink:
			{
				SubLink    *sublink = (SubLink *) qual;

				/*
				 * column IN (SELECT ...).  Only where it becomes a semijoin: a
				 * hashed subplan can do with plain operators only.
				 */
				if (top && sublink->subLinkType == ANY_SUBLINK &&
					!contain_vars_of_level(sublink->subselect, 1))
				{
					QueryLevel	with_subselect = *level;

					with_subselect.subselect =
						castNode(Query, sublink->subselect);
					sublink->testexpr = search_qual(sublink->testexpr,
													&with_subselect, false);
				}
				return qual;
			}

		default:
			return qual;
	}
}

static void
search_jointree(Node *node, QueryLevel *level)
{
	check_stack_depth();
	if (node == NULL)
		return;
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;
		ListCell   *lc;

		foreach(lc, from->fromlist)
			search_jointree(lfirst(lc), level);
		/* up to 16, a MERGE has its join condition here: an outer join's */
		from->quals = search_qual(from->quals, level,
								  level->query->commandType != CMD_MERGE);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		search_jointree(join->larg, level);
		search_jointree(join->rarg, level);
		join->quals = search_qual(join->quals, level,
								  join->jointype == JOIN_INNER);
	}
}

static bool
search_sublinks(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		search_query((Query *) node, (QueryLevel *) context);
		return false;
	}
	return expression_tree_walker(node, search_sublinks, context);
}

static void
search_query(Query *query, QueryLevel *up)
{
	QueryLevel	level = {query, up};
	ListCell   *lc;

	check_stack_depth();

	/* first those inside: the quals of this one are copied into token() */
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY)
			search_query(rte->subquery, &level);
	}
	foreach(lc, query->cteList)
		search_query(castNode(Query,
							  lfirst_node(CommonTableExpr, lc)->ctequery),
					 &level);
	if (query->hasSubLinks)
		query_tree_walker(query, search_sublinks, &level,
						  QTW_IGNORE_RT_SUBQUERIES |
						  QTW_IGNORE_CTE_SUBQUERIES |
						  QTW_IGNORE_JOINALIASES);

	search_jointree((Node *) query->jointree, &level);
	if (compat_merge_condition(query) != NULL)
		*compat_merge_condition(query) =
			search_qual(*compat_merge_condition(query), &level, false);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		rte->securityQuals = (List *)
			search_qual((Node *) rte->securityQuals, &level, false);
	}
}

void
rewrite_add_searches(Query *query)
{
	search_query(query, NULL);
}
