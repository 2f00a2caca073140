/*
 * rewrite.c
 *		Planner substitution: reads of personal columns become calls of
 *		reveal(), and assignments to them leave a mark for the guard.
 *
 * This works on a copy of the whole Query, before planning.  Parsing, views,
 * permission checks and stored rules have seen the table's own columns;
 * planner and executor see function calls of the same type, type modifier and
 * collation.  What is not a read stays physical: ON CONFLICT inference, the
 * description of EXCLUDED, and Vars that rewrite_search.c has marked.
 *
 * It fails closed: a Query that is not rewritten, for whatever reason, yields
 * tokens, placeholders and envelopes.  The code before a plan is made is the
 * only place that decides between physical and revealed; a plan is one or the
 * other for as long as it lives.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "port/pg_bswap.h"
#include "replication/logicalworker.h"
#include "replication/walsender.h"
#include "utils/lsyscache.h"

#include "guard_mode.h"
#include "guc.h"
#include "rewrite.h"
#include "rewrite_functions.h"
#include "rewrite_internal.h"

static planner_hook_type prev_planner = NULL;

static bool physical_next = false;

bool
rewrite_physical_next(bool on)
{
	bool		was = physical_next;

	physical_next = on;
	return was;
}

static void
physical_at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		physical_next = false;
}

/* Is the plan to be made of the columns as they are stored? */
static bool
plan_is_physical(const char *query_string)
{
	return guc_physical || am_walsender || IsLogicalWorker() || IsBinaryUpgrade ||
		(query_string != NULL &&
		 strncmp(query_string, REWRITE_PHYSICAL,
				 sizeof(REWRITE_PHYSICAL) - 1) == 0);
}

bool
rewrite_is_physical(void)
{
	return plan_is_physical(NULL);
}

QueryLevel *
rewrite_level_up(QueryLevel *level, Index levelsup)
{
	while (levelsup-- > 0 && level != NULL)
		level = level->up;
	if (level == NULL)
		elog(ERROR, "reference to a query level that does not exist");
	return level;
}

/*
 * A transition table has its table's columns and holds the rows as they were
 * stored.
 */
TableMap *
rewrite_rte_map(const RangeTblEntry *rte)
{
	if ((rte->rtekind != RTE_RELATION && rte->rtekind != RTE_NAMEDTUPLESTORE) ||
		!OidIsValid(rte->relid))
		return NULL;
	return datamap_lookup(rte->relid);
}

Expr *
rewrite_column_ref(int32 id, int flags, const char *context)
{
	return (Expr *) makeConst(datamap_oids()->column_ref_type, -1, InvalidOid,
							  -1, column_ref_make(id, flags, context),
							  false, false);
}

static bool query_touches_protected(Query *query);

static bool
sublink_touches_protected(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_touches_protected((Query *) node);
	return expression_tree_walker(node, sublink_touches_protected, context);
}

/* Does the query, at any depth, read or write a protected table? */
static bool
query_touches_protected(Query *query)
{
	ListCell   *lc;

	check_stack_depth();
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rewrite_rte_map(rte) != NULL)
			return true;
		if (rte->rtekind == RTE_SUBQUERY &&
			query_touches_protected(rte->subquery))
			return true;
	}
	foreach(lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (query_touches_protected(castNode(Query, cte->ctequery)))
			return true;
	}
	return query->hasSubLinks &&
		query_tree_walker(query, sublink_touches_protected, NULL,
						  QTW_IGNORE_RT_SUBQUERIES |
						  QTW_IGNORE_CTE_SUBQUERIES |
						  QTW_IGNORE_JOINALIASES);
}

/*
 * A Var of another column of the same row: same relation, level, nulling
 * joins and OLD or NEW.
 */
static Var *
sibling_var(const Var *model, AttrNumber attnum, Oid relid, Oid typid)
{
	Var		   *var = copyObject(unconstify(Var *, model));
	Oid			vartype;
	int32		vartypmod;
	Oid			varcollid;

	if (OidIsValid(typid))
	{
		vartype = typid;
		vartypmod = -1;
		varcollid = InvalidOid;
	}
	else
		get_atttypetypmodcoll(relid, attnum, &vartype, &vartypmod, &varcollid);
	var->varattno = attnum;
	var->vartype = vartype;
	var->vartypmod = vartypmod;
	var->varcollid = varcollid;
	var->varnosyn = var->varno;
	var->varattnosyn = attnum;
	var->location = -1;
	return var;
}

/*
 * The call of reveal() for a Var of a personal column.  The function's result
 * type is declared "any", so a composite type has to be stated once more for
 * those who look fields up (EXPLAIN does).
 */
static Node *
reveal_column(const Var *var, const TableMap *map, const ColumnMap *column,
			  int flags, const char *context)
{
	const GdprOids *oids = datamap_oids();
	List	   *args;
	FuncExpr   *call;

	args = list_make2(sibling_var(var, map->sealed_attnum, map->relid,
								  oids->sealed_type),
					  rewrite_column_ref(column->id, flags, context));
	if (datamap_may_be_open(map))
		args = lappend(args, copyObject(unconstify(Var *, var)));
	for (int i = 0; i < map->nkeys; i++)
		args = lappend(args, sibling_var(var, map->keys[i], map->relid,
										 InvalidOid));
	if (map->nkeys == 0)
		args = lappend(args, makeBoolConst(true, false));

	call = makeFuncExpr(datamap_may_be_open(map) ? oids->reveal_stored :
						oids->reveal, var->vartype, args, var->varcollid,
						var->varcollid, COERCE_EXPLICIT_CALL);
	call->location = var->location;

	if (type_is_rowtype(var->vartype))
	{
		ConvertRowtypeExpr *same = makeNode(ConvertRowtypeExpr);

		same->arg = (Expr *) call;
		same->resulttype = var->vartype;
		same->convertformat = COERCE_IMPLICIT_CAST;
		same->location = -1;
		return (Node *) same;
	}
	return (Node *) call;
}

/* A whole row; a NULL row stays NULL, reveal_row() is strict. */
static Node *
reveal_row(const Var *var, const TableMap *map, int flags,
		   const char *context)
{
	Var		   *row = copyObject(unconstify(Var *, var));
	int32		id = flags & COLUMN_REF_RELATION ? (int32) map->relid : -map->id;

	return (Node *) makeFuncExpr(datamap_oids()->reveal_row, var->vartype,
								 list_make2(row,
											rewrite_column_ref(id, flags, context)),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/*
 * reveal() has no type modifier, so an output column of a rewritten subquery
 * may have lost its own.  A Var of it must agree: the planner compares them.
 */
static Node *
rewrite_output_var(Var *var, QueryLevel *level)
{
	RangeTblEntry *rte;

	var = copyObject(var);
	if (var->vartypmod < 0 || var->varattno <= 0 ||
		var->varno > list_length(level->rtable))
		return (Node *) var;
	rte = rt_fetch(var->varno, level->rtable);
	if (rte->rtekind == RTE_SUBQUERY)
	{
		TargetEntry *tle = get_tle_by_resno(rte->subquery->targetList,
											var->varattno);

		if (tle != NULL)
			var->vartypmod = exprTypmod((Node *) tle->expr);
	}
	else if (rte->rtekind == RTE_CTE &&
			 var->varattno <= list_length(rte->coltypmods))
		var->vartypmod = list_nth_int(rte->coltypmods, var->varattno - 1);
	return (Node *) var;
}

static Node *
rewrite_var(Var *var, QueryLevel *level)
{
	RangeTblEntry *rte;
	TableMap   *map;
	ColumnMap  *column;
	int			flags = 0;

	if (var->location == PHYSICAL_LOCATION)
	{
		var = copyObject(var);
		var->location = -1;
		return (Node *) var;
	}
	if (IS_SPECIAL_VARNO(var->varno) || var->varattno < 0)
		return (Node *) copyObject(var);

	level = rewrite_level_up(level, var->varlevelsup);
	rte = rt_fetch(var->varno, level->query->rtable);
	if (rte->rtekind == RTE_SUBQUERY || rte->rtekind == RTE_CTE)
		return rewrite_output_var(var, level);
	map = rewrite_rte_map(rte);
	if (map == NULL)
		return (Node *) copyObject(var);

	/* EXCLUDED is what this statement brought itself */
	if (level->query->onConflict != NULL &&
		level->query->onConflict->exclRelIndex == var->varno)
		flags |= COLUMN_REF_OWN_INPUT;
	if (rte->rtekind == RTE_NAMEDTUPLESTORE && var->varattno == InvalidAttrNumber)
		flags |= COLUMN_REF_RELATION;

	if (var->varattno == InvalidAttrNumber)
		return reveal_row(var, map, flags,
						  rewrite_context(level->query, var->varno));
	column = datamap_column_at(map, var->varattno);
	if (column == NULL)
		return (Node *) copyObject(var);
	return reveal_column(var, map, column, flags,
						 rewrite_context(level->query, var->varno));
}

static bool
keep_physical(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		((Var *) node)->location = PHYSICAL_LOCATION;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, keep_physical, context, 0);
	return expression_tree_walker(node, keep_physical, context);
}

static Node *rewrite_query(Query *query, QueryLevel *up);

static Node *
rewrite_mutator(Node *node, void *context)
{
	QueryLevel *level = (QueryLevel *) context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return rewrite_var((Var *) node, level);
	if (IsA(node, Query))
		return rewrite_query((Query *) node, level);
	return expression_tree_mutator(node, rewrite_mutator, context);
}

/*
 * Tell the guard which personal columns this UPDATE assigns: it cannot see it
 * in the rows.  An assignment to gdpr_sealed itself (a row written back whole)
 * is replaced.  excluded: the range table's index of EXCLUDED in ON CONFLICT,
 * which is marked whatever it assigns, else 0.
 */
static List *
mark_assignments(List *targetlist, Query *query, Index excluded)
{
	const GdprOids *oids = datamap_oids();
	Index		varno = query->resultRelation;
	RangeTblEntry *rte = rt_fetch(varno, query->rtable);
	TableMap   *map = rewrite_rte_map(rte);
	TargetEntry *sealed = NULL;
	bytea	   *ids;
	uint32		id;
	char	   *p;
	int			position = 0;
	int			assigned = 0;
	ListCell   *lc;
	Var		   *var;
	Expr	   *mark;

	if (map == NULL)
		return targetlist;

	ids = palloc0(VARHDRSZ + (list_length(targetlist) + 1) * sizeof(uint32));
	p = VARDATA(ids);
	if (excluded != 0)
		p += sizeof(id);		/* 0, which is no column's */
	foreach(lc, targetlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		ColumnMap  *column;

		if (tle->resjunk)
			continue;
		if (tle->resno < map->sealed_attnum)
			position = foreach_current_index(lc) + 1;
		if (tle->resno == map->sealed_attnum)
			sealed = tle;
		column = datamap_column_at(map, tle->resno);
		if (column == NULL)
			continue;
		id = pg_hton32((uint32) column->id);
		memcpy(p, &id, sizeof(id));
		p += sizeof(id);
		assigned++;
	}
	if (assigned == 0 && sealed == NULL && excluded == 0)
		return targetlist;
	SET_VARSIZE(ids, p - (char *) ids);

	var = makeVar(excluded != 0 ? excluded : varno, map->sealed_attnum,
				  oids->sealed_type, -1, InvalidOid, 0);
	mark = (Expr *)
		makeFuncExpr(oids->mark, oids->sealed_type,
					 list_make3(var,
								makeConst(BYTEAOID, -1, InvalidOid, -1,
										  PointerGetDatum(ids), false, false),
								rewrite_column_ref(-map->id, 0,
												   rewrite_context(query, varno))),
					 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	if (sealed != NULL)
	{
		sealed->expr = mark;
		return targetlist;
	}
	return list_insert_nth(targetlist, position,
						   makeTargetEntry(mark, map->sealed_attnum,
										   get_attname(map->relid,
													   map->sealed_attnum,
													   false),
										   false));
}

/*
 * ON CONFLICT: inference looks for an index on the stored columns, and the
 * list that describes EXCLUDED to the planner stays a list of Vars.  A query
 * kept since before the table was protected lacks gdpr_sealed in that list.
 */
static OnConflictExpr *
rewrite_on_conflict(OnConflictExpr *from, QueryLevel *level)
{
	OnConflictExpr *to = makeNode(OnConflictExpr);
	Query	   *query = level->query;
	TableMap   *map;
	ListCell   *lc;

	*to = *from;
	to->onConflictSet = (List *)
		rewrite_mutator((Node *) from->onConflictSet, level);
	to->onConflictWhere =
		rewrite_mutator(from->onConflictWhere, level);
	if (from->action != ONCONFLICT_UPDATE)
		return to;

	to->onConflictSet =
		mark_assignments(to->onConflictSet, query, from->exclRelIndex);

	map = rewrite_rte_map(rt_fetch(from->exclRelIndex, query->rtable));
	if (map == NULL)
		return to;
	foreach(lc, from->exclRelTlist)
	{
		if (lfirst_node(TargetEntry, lc)->resno == map->sealed_attnum)
			return to;
	}
	to->exclRelTlist =
		lappend(list_copy(from->exclRelTlist),
				makeTargetEntry((Expr *) makeVar(from->exclRelIndex,
												 map->sealed_attnum,
												 datamap_oids()->sealed_type,
												 -1, InvalidOid, 0),
								map->sealed_attnum, NULL, false));
	return to;
}

static void
rewrite_ctes(QueryLevel *level)
{
	ListCell   *lc;

	foreach(lc, level->query->cteList)
	{
		CommonTableExpr *cte = castNode(CommonTableExpr,
										rewrite_mutator(lfirst(lc), level));
		Query	   *query = castNode(Query, cte->ctequery);
		List	   *outputs = query->commandType == CMD_SELECT ?
			query->targetList : query->returningList;
		List	   *typmods = NIL;
		ListCell   *output;

		foreach(output, outputs)
		{
			TargetEntry *tle = lfirst_node(TargetEntry, output);

			if (!tle->resjunk)
				typmods = lappend_int(typmods, exprTypmod((Node *) tle->expr));
		}
		/* a recursive one reads its own rows as they were declared */
		if (!cte->cterecursive &&
			list_length(typmods) == list_length(cte->ctecoltypmods))
			cte->ctecoltypmods = typmods;
		level->ctes = lappend(level->ctes, cte);
	}
}

static void
rewrite_rtable(QueryLevel *level)
{
	ListCell   *lc;
	ListCell   *lc2;

	/* in this order: LATERAL refers to what comes before */
	foreach(lc, level->query->rtable)
	{
		List	   *one = range_table_mutator(list_make1(lfirst(lc)),
											  rewrite_mutator, level, 0);
		RangeTblEntry *rte = linitial_node(RangeTblEntry, one);

		if (rte->rtekind == RTE_CTE && !rte->self_reference)
		{
			foreach(lc2, rewrite_level_up(level, rte->ctelevelsup)->ctes)
			{
				CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc2);

				if (strcmp(cte->ctename, rte->ctename) == 0 &&
					list_length(cte->ctecoltypmods) == list_length(rte->coltypmods))
					rte->coltypmods = list_copy(cte->ctecoltypmods);
			}
		}
		level->rtable = lappend(level->rtable, rte);
	}
}

/* A rewritten copy of a query and everything below it. */
static Node *
rewrite_query(Query *query, QueryLevel *up)
{
	QueryLevel	level = {query, up};
	OnConflictExpr *on_conflict = query->onConflict;
	Query	   *result;
	ListCell   *lc;

	check_stack_depth();

	rewrite_ctes(&level);
	rewrite_rtable(&level);

	result = makeNode(Query);
	memcpy(result, query, sizeof(Query));
	result->onConflict = NULL;
	result->cteList = NIL;
	result->rtable = NIL;
	result = query_tree_mutator(result, rewrite_mutator, &level,
								QTW_DONT_COPY_QUERY);
	result->cteList = level.ctes;
	result->rtable = level.rtable;
	if (on_conflict != NULL)
		result->onConflict = rewrite_on_conflict(on_conflict, &level);

	if (query->commandType == CMD_UPDATE)
		result->targetList =
			mark_assignments(result->targetList, query, 0);
	foreach(lc, result->mergeActionList)
	{
		MergeAction *action = lfirst_node(MergeAction, lc);

		if (action->commandType == CMD_UPDATE)
			action->targetList =
				mark_assignments(action->targetList, query, 0);
	}
	return (Node *) result;
}

/*
 * A function call has no type modifier, and drivers ask for length, precision
 * and scale of result columns: put those of the query into the finished plan.
 * (Relabelling each call would do it too, but the planner merges nested
 * relabelling, and then no longer recognizes GROUP BY expressions.)
 */
static void
restore_typmods(List *targetlist, List *outputs)
{
	ListCell   *lc;

	foreach(lc, targetlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		TargetEntry *output = tle->resjunk ? NULL :
			get_tle_by_resno(outputs, tle->resno);
		int32		typmod;

		if (output == NULL || output->resjunk)
			continue;
		typmod = exprTypmod((Node *) output->expr);
		if (typmod < 0 || exprTypmod((Node *) tle->expr) == typmod ||
			exprType((Node *) tle->expr) != exprType((Node *) output->expr))
			continue;
		if (IsA(tle->expr, Var))
			((Var *) tle->expr)->vartypmod = typmod;
		else
			tle->expr = (Expr *) makeRelabelType(tle->expr,
												 exprType((Node *) tle->expr),
												 typmod,
												 exprCollation((Node *) tle->expr),
												 COERCE_IMPLICIT_CAST);
	}
}

static void
restore_plan_typmods(Plan *plan, Query *query)
{
	ListCell   *lc;

	if (query->commandType == CMD_SELECT)
	{
		restore_typmods(plan->targetlist, query->targetList);
		return;
	}
	restore_typmods(plan->targetlist, query->returningList);

	/* the executor takes the type of its result from the first of these */
	if (IsA(plan, ModifyTable))
	{
		foreach(lc, ((ModifyTable *) plan)->returningLists)
			restore_typmods(lfirst(lc), query->returningList);
	}
}

/*
 * Is it what a rule of the application makes of a statement of our own?  A rule
 * is not to act on that: no statement of the application changed anything.
 */
static bool
is_rule_on_own(const Query *parse, const char *query_string)
{
	return parse->querySource != QSRC_ORIGINAL &&
		guard_mode().task != GUARD_APPLICATION && query_string != NULL &&
		strncmp(query_string, REWRITE_PHYSICAL,
				sizeof(REWRITE_PHYSICAL) - 1) == 0;
}

/* The same query, of no rows. */
static Query *
of_no_rows(Query *parse)
{
	parse = copyObject(parse);
	if (parse->jointree != NULL)
		parse->jointree->quals = make_and_qual(parse->jointree->quals,
											   makeBoolConst(false, false));
	return parse;
}

static PlannedStmt *
rewrite_planner(Query *parse, const char *query_string, int cursorOptions,
				ParamListInfo boundParams)
{
	bool		physical = plan_is_physical(query_string);
	bool		physical_outputs = physical_next;
	Query	   *original = NULL;
	PlannedStmt *plan;

	physical_next = false;

	if (is_rule_on_own(parse, query_string))
		parse = of_no_rows(parse);

	/* what the COPY of a table is, or pg_dump's cursor; else nothing to reveal */
	if (physical_outputs &&
		(list_length(parse->rtable) != 1 ||
		 linitial_node(RangeTblEntry, parse->rtable)->rtekind != RTE_RELATION))
		physical = true;

	/* also where the columns are read as they are stored: rows are rows */
	if (parse->commandType != CMD_UTILITY && datamap_oids() != NULL)
		parse = rewrite_with_view_conditions(parse);
	if (!physical && parse->commandType != CMD_UTILITY &&
		datamap_oids() != NULL && datamap_any_protected() &&
		query_touches_protected(parse))
	{
		if (!guc_allow_plaintext_copies)
			rewrite_check_copies(parse);
		original = parse;
		parse = copyObject(parse);
		if (physical_outputs)
			keep_physical((Node *) parse->targetList, NULL);
		rewrite_add_searches(parse);
		parse = castNode(Query, rewrite_query(parse, NULL));
	}

	if (prev_planner)
		plan = prev_planner(parse, query_string, cursorOptions, boundParams);
	else
		plan = standard_planner(parse, query_string, cursorOptions,
								boundParams);
	if (original != NULL)
		restore_plan_typmods(plan->planTree, original);
	return plan;
}

void
rewrite_init(void)
{
	prev_planner = planner_hook;
	planner_hook = rewrite_planner;
	RegisterXactCallback(physical_at_abort, NULL);
	rewrite_functions_init();
}
