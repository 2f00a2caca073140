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

/* A searchable column found below an expression. */
typedef struct Searchable
{
	ColumnMap  *column;
	int			varno;			/* its relation, or the subquery it comes from */
	Index		levelsup;
	bool		lowered;		/* lower(column) */
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

/* Output column of a subquery with this expression; added where missing. */
static AttrNumber
subquery_output(RangeTblEntry *rte, Node *expr)
{
	Query	   *sub = rte->subquery;
	AttrNumber	attno;
	int			position = 0;
	ListCell   *lc;

	foreach(lc, sub->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		/* equal() ignores locations, which is where "physical" is said */
		if (tle->resname != NULL &&
			strcmp(tle->resname, "gdpr_search") == 0 && equal(tle->expr, expr))
			return tle->resno;
		position = foreach_current_index(lc) + 1;
	}

	/* what comes after is junk, known by its sort reference only */
	attno = position + 1;
	sub->targetList =
		list_insert_nth(sub->targetList, position,
						makeTargetEntry((Expr *) expr, attno,
										pstrdup("gdpr_search"), false));
	for_each_from(lc, sub->targetList, position + 1)
		lfirst_node(TargetEntry, lc)->resno++;

	/* names may be fewer, where the subquery got columns since */
	while (list_length(rte->eref->colnames) < attno - 1)
		rte->eref->colnames = lappend(rte->eref->colnames,
									  makeString(pstrdup("")));
	rte->eref->colnames = list_insert_nth(rte->eref->colnames, attno - 1,
										  makeString(pstrdup("gdpr_search")));
	return attno;
}

static Node *physical_expr(QueryLevel *level, Node *expr, bool build,
						   Searchable *found);

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
			{
				QueryLevel	inner = {rte->subquery, level};
				RowReference whole_row = {var->varno, 0, false};
				TargetEntry *tle = get_tle_by_resno(rte->subquery->targetList,
													var->varattno);
				Var		   *output;

				if (tle == NULL || tle->resjunk ||
					!can_add_output(rte->subquery))
					return NULL;
				result = physical_expr(&inner, (Node *) tle->expr, build,
									   found);
				if (result == NULL || found->levelsup > 0 || found->lowered ||
					query_tree_walker(level->query, references_row,
									  &whole_row, 0))
					return NULL;
				found->varno = var->varno;
				found->levelsup = var->varlevelsup;
				if (!build)
					return (Node *) var;
				output = copyObject(var);
				output->varattno = subquery_output(rte, result);
				output->vartype = exprType(result);
				output->vartypmod = exprTypmod(result);
				output->varcollid = exprCollation(result);
				output->varnosyn = output->varno;
				output->varattnosyn = output->varattno;
				return (Node *) output;
			}

		default:
			return NULL;
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

/*
 * The operator by which tokens of the column are compared: values that it
 * finds equal have equal tokens.
 */
static Oid
token_equality(const ColumnMap *column)
{
	Oid			typid = column->basetypid;

	if (typid == VARCHAROID)
		typid = TEXTOID;
	return lookup_type_cache(typid, TYPECACHE_EQ_OPR)->eq_opr;
}

/*
 * Does it follow from "column <opno> x" that both have one token?  Text
 * compares exactly, which is at least as strict as citext.
 */
static bool
implies_equal_tokens(Oid opno, Oid inputcollid, const ColumnMap *column)
{
	if (opno != token_equality(column) && opno != TextEqualOperator)
		return false;
	return !OidIsValid(inputcollid) ||
		get_collation_isdeterministic(inputcollid);
}

/* Can it be computed once more, outside the row that is searched for? */
static bool
can_be_searched_for(Node *value, const Searchable *searchable)
{
	RowReference same_row = {searchable->varno, searchable->levelsup, true};

	return !contain_volatile_functions(value) &&
		!references_row(value, &same_row);
}

static Expr *
token_call(Oid funcid, Node *value, const ColumnMap *column)
{
	return (Expr *) makeFuncExpr(funcid, exprType(value),
								 list_make2(copyObject(value),
											rewrite_column_ref(column->id, 0)),
								 exprCollation(value), exprCollation(value),
								 COERCE_EXPLICIT_CALL);
}

static Node *
with_recheck(Expr *clause, Node *qual, const ColumnMap *column)
{
	Expr	   *recheck = (Expr *)
		makeFuncExpr(datamap_oids()->recheck, BOOLOID,
					 list_make2(qual, rewrite_column_ref(column->id, 0)),
					 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);

	return (Node *) makeBoolExpr(AND_EXPR, list_make2(clause, recheck), -1);
}

/* Do equal values have equal stored forms in both columns? */
static bool
same_tokens(const ColumnMap *a, const ColumnMap *b)
{
	Oid			atype = a->basetypid == VARCHAROID ? TEXTOID : a->basetypid;
	Oid			btype = b->basetypid == VARCHAROID ? TEXTOID : b->basetypid;

	return a->token_domain == b->token_domain &&
		a->token_bytes == b->token_bytes &&
		a->normalize == b->normalize && atype == btype;
}

/*
 * bigint compared with a smaller integer: the same with the latter widened.
 */
static OpExpr *
widen_integer(OpExpr *op)
{
	Node	   *left = linitial(op->args);
	Node	   *right = lsecond(op->args);
	Oid			opno;
	List	   *args;

	switch (op->opfuncid != InvalidOid ? op->opfuncid : get_opcode(op->opno))
	{
		case F_INT84EQ:
		case F_INT82EQ:
		case F_INT48EQ:
		case F_INT28EQ:
			break;
		default:
			return op;
	}
	opno = lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr;
	left = coerce_to_target_type(NULL, left, exprType(left), INT8OID, -1,
								 COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	right = coerce_to_target_type(NULL, right, exprType(right), INT8OID, -1,
								  COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	args = list_make2(left, right);
	op = (OpExpr *) make_opclause(opno, BOOLOID, false, linitial(args),
								  lsecond(args), InvalidOid, InvalidOid);
	op->opfuncid = get_opcode(opno);
	return op;
}

/* column = x, x = column, column = column */
static Node *
search_equality(OpExpr *qual, QueryLevel *level)
{
	OpExpr	   *op = qual;
	Node	   *sides[2];
	Searchable	found[2];
	bool		is_column[2];

	if (list_length(op->args) != 2 || op->opresulttype != BOOLOID)
		return (Node *) qual;
	op = widen_integer(op);
	for (int i = 0; i < 2; i++)
	{
		sides[i] = list_nth(op->args, i);
		is_column[i] = find_searchable(level, sides[i], &found[i]) &&
			implies_equal_tokens(op->opno, op->inputcollid, found[i].column);
	}

	if (is_column[0] && is_column[1] &&
		same_tokens(found[0].column, found[1].column))
	{
		op = copyObject(op);
		op->args = list_make2(build_physical(level, sides[0]),
							  build_physical(level, sides[1]));
		return with_recheck((Expr *) op, (Node *) qual, found[0].column);
	}

	for (int i = 0; i < 2; i++)
	{
		Node	   *stored;
		Expr	   *token;

		if (!is_column[i] ||
			!can_be_searched_for(sides[1 - i], &found[i]))
			continue;
		stored = build_physical(level, sides[i]);
		token = token_call(datamap_oids()->token, sides[1 - i],
						   found[i].column);
		op = copyObject(op);
		op->args = i == 0 ? list_make2(stored, token) :
			list_make2(token, stored);
		return with_recheck((Expr *) op, (Node *) qual, found[i].column);
	}
	return (Node *) qual;
}

/* column = ANY (array), column IN (...) */
static Node *
search_any(ScalarArrayOpExpr *qual, QueryLevel *level)
{
	Node	   *column = linitial(qual->args);
	Node	   *array = lsecond(qual->args);
	ScalarArrayOpExpr *op;
	Searchable	found;

	if (!qual->useOr || !find_searchable(level, column, &found) ||
		!implies_equal_tokens(qual->opno, qual->inputcollid, found.column) ||
		!can_be_searched_for(array, &found))
		return (Node *) qual;

	op = copyObject(qual);
	op->args = list_make2(build_physical(level, column),
						  token_call(datamap_oids()->token_array, array,
									 found.column));
	return with_recheck((Expr *) op, (Node *) qual, found.column);
}

/*
 * Below AND and OR.  semijoin: the qual is one that the planner can turn into
 * a join if it is a sublink.
 */
static Node *
search_qual(Node *qual, QueryLevel *level, bool semijoin)
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
											 semijoin &&
											 expr->boolop == AND_EXPR);
				return qual;
			}

		case T_OpExpr:
			return search_equality((OpExpr *) qual, level);

		case T_ScalarArrayOpExpr:
			return search_any((ScalarArrayOpExpr *) qual, level);

		case T_SubLink:
			{
				SubLink    *sublink = (SubLink *) qual;

				/*
				 * column IN (SELECT ...).  Only where it becomes a semijoin: a
				 * hashed subplan can do with plain operators only.
				 */
				if (semijoin && sublink->subLinkType == ANY_SUBLINK &&
					!contain_vars_of_level(sublink->subselect, 1))
					sublink->testexpr = search_qual(sublink->testexpr, level,
													false);
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
		from->quals = search_qual(from->quals, level, true);
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
