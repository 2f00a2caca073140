/*
 * rewrite_copies.c
 *		Statements that would store revealed values in tables that are not
 *		protected, or in columns that are not personal.
 *
 * What counts is what reaches the rows that are written: output columns of a
 * query and what they are computed from, followed through subqueries, CTEs and
 * joins.  A personal column in a condition, a grouping or a sort does not
 * count, nor does count() of one.  What a function returns, or a program reads
 * and writes back, cannot be seen here.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "errors.h"
#include "rewrite.h"
#include "rewrite_internal.h"

static bool output_is_personal(Query *query, AttrNumber attnum,
							   QueryLevel *up);
static bool is_personal(Node *node, void *context);

/* An item of a list of expressions; 0: any. */
static bool
item_is_personal(List *exprs, AttrNumber attnum, QueryLevel *level)
{
	if (attnum == InvalidAttrNumber)
		return is_personal((Node *) exprs, level);
	return attnum <= list_length(exprs) &&
		is_personal(list_nth(exprs, attnum - 1), level);
}

/* A column of a CTE; the recursive arm adds nothing to what the other yields. */
static bool
cte_is_personal(RangeTblEntry *rte, AttrNumber attnum, QueryLevel *level)
{
	ListCell   *lc;

	if (rte->self_reference)
		return false;
	level = rewrite_level_up(level, rte->ctelevelsup);
	foreach(lc, level->query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (strcmp(cte->ctename, rte->ctename) == 0)
			return output_is_personal(castNode(Query, cte->ctequery), attnum,
									  level);
	}
	return true;				/* not found: in doubt, yes */
}

static bool
var_is_personal(Var *var, QueryLevel *level)
{
	RangeTblEntry *rte;
	TableMap   *map;

	if (var->varattno < 0)
		return false;
	level = rewrite_level_up(level, var->varlevelsup);
	rte = rt_fetch(var->varno, level->query->rtable);
	switch (rte->rtekind)
	{
		case RTE_RELATION:
		case RTE_NAMEDTUPLESTORE:
			map = rewrite_rte_map(rte);
			return map != NULL &&
				(var->varattno == InvalidAttrNumber ||
				 datamap_column_at(map, var->varattno) != NULL);
		case RTE_SUBQUERY:
			return output_is_personal(rte->subquery, var->varattno, level);
		case RTE_JOIN:
			return item_is_personal(rte->joinaliasvars, var->varattno, level);
		case RTE_CTE:
			return cte_is_personal(rte, var->varattno, level);
		case RTE_FUNCTION:
			return is_personal((Node *) rte->functions, level);
		case RTE_TABLEFUNC:
			return is_personal((Node *) rte->tablefunc, level);
		case RTE_VALUES:
			return is_personal((Node *) rte->values_lists, level);
		default:
			return item_is_personal(compat_group_exprs(rte), var->varattno,
									level);
	}
}

static bool
is_personal(Node *node, void *context)
{
	QueryLevel *level = (QueryLevel *) context;

	if (node == NULL)
		return false;
	check_stack_depth();
	if (IsA(node, Var))
		return var_is_personal((Var *) node, level);
	if (IsA(node, Query))
		return output_is_personal((Query *) node, InvalidAttrNumber, level);

	/* these tell whether, not what */
	if (IsA(node, NullTest) ||
		(IsA(node, SubLink) &&
		 ((SubLink *) node)->subLinkType == EXISTS_SUBLINK) ||
		(IsA(node, Aggref) && ((Aggref *) node)->aggfnoid == F_COUNT_ANY))
		return false;
	return expression_tree_walker(node, is_personal, context);
}

/* An output column of a query; 0: any. */
static bool
output_is_personal(Query *query, AttrNumber attnum, QueryLevel *up)
{
	QueryLevel	level = {query, up};
	List	   *outputs = query->commandType == CMD_SELECT ?
		query->targetList : query->returningList;
	ListCell   *lc;

	if (query->setOperations != NULL)
	{
		foreach(lc, query->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

			if (rte->rtekind == RTE_SUBQUERY &&
				output_is_personal(rte->subquery, attnum, &level))
				return true;
		}
		return false;
	}
	foreach(lc, outputs)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk &&
			(attnum == InvalidAttrNumber || tle->resno == attnum) &&
			is_personal((Node *) tle->expr, &level))
			return true;
	}
	return false;
}

bool
rewrite_reveals(Query *query)
{
	return output_is_personal(query, InvalidAttrNumber, NULL);
}

void
rewrite_refuse_copy(const char *relation, bool is_protected)
{
	if (is_protected)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_PERMITTED),
				 errmsg("cannot store personal data in the clear in relation \"%s\"",
						relation),
				 errdetail("The query assigns values of personal columns to a column of protected table \"%s\" that is not personal.",
						   relation),
				 errhint("Leave those columns out, or SET gdpr.allow_plaintext_copies = on if the copy is wanted.")));
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_PERMITTED),
			 errmsg("cannot store personal data in the clear in relation \"%s\"",
					relation),
			 errdetail("The query reveals personal columns of a protected table, and \"%s\" is not protected.",
					   relation),
			 errhint("Leave those columns out, or protect \"%s\", or SET gdpr.allow_plaintext_copies = on if the copy is wanted.",
					 relation)));
}

/*
 * target: the map of a protected table that is written, NULL for another.  Its
 * personal columns are where such values belong.
 */
static bool
assigns_personal(List *targetlist, const TableMap *target, QueryLevel *level)
{
	ListCell   *lc;

	foreach(lc, targetlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk &&
			(target == NULL || (tle->resno != target->sealed_attnum &&
								datamap_column_at(target, tle->resno) == NULL)) &&
			is_personal((Node *) tle->expr, level))
			return true;
	}
	return false;
}

static void
check_target(Query *query, QueryLevel *level)
{
	RangeTblEntry *target;
	TableMap   *map;
	bool		copies;
	ListCell   *lc;

	if (query->resultRelation == 0 || query->commandType == CMD_DELETE)
		return;
	target = rt_fetch(query->resultRelation, query->rtable);
	if (target->rtekind != RTE_RELATION || target->relkind == RELKIND_VIEW)
		return;

	map = rewrite_rte_map(target);
	copies = assigns_personal(query->targetList, map, level) ||
		(query->onConflict != NULL &&
		 assigns_personal(query->onConflict->onConflictSet, map, level));
	foreach(lc, query->mergeActionList)
		copies = copies ||
			assigns_personal(lfirst_node(MergeAction, lc)->targetList, map,
							 level);
	if (copies)
		rewrite_refuse_copy(get_rel_name(target->relid), map != NULL);
}

static bool
check_copies_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		QueryLevel	level = {(Query *) node, (QueryLevel *) context};

		check_stack_depth();
		check_target(level.query, &level);
		return query_tree_walker(level.query, check_copies_walker, &level, 0);
	}
	return expression_tree_walker(node, check_copies_walker, context);
}

void
rewrite_check_copies(Query *query)
{
	check_copies_walker((Node *) query, NULL);
}
