/*
 * rewrite_context.c
 *		What a view is for: the purpose that a query names in its WHERE.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "rewrite_internal.h"

/* Arguments of row_permitted */
enum ContextArgument
{
	CA_SEALED, CA_PURPOSE, CA_CHANNEL, CA_TOPIC, CA_COUNT
};

/* A text constant, "" for NULL; NULL if it is something else. */
static const char *
constant_text(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL)
		return "";
	if (!IsA(node, Const))
		return NULL;
	if (((Const *) node)->constisnull)
		return "";
	return TextDatumGetCString(((Const *) node)->constvalue);
}

/* Arguments by their place, also where they were named or left out. */
static void
place_arguments(FuncExpr *call, Node **args)
{
	ListCell   *lc;

	memset(args, 0, sizeof(Node *) * CA_COUNT);
	foreach(lc, call->args)
	{
		Node	   *arg = lfirst(lc);
		int			place = foreach_current_index(lc);

		if (IsA(arg, NamedArgExpr))
		{
			place = ((NamedArgExpr *) arg)->argnumber;
			arg = (Node *) ((NamedArgExpr *) arg)->arg;
		}
		if (place >= 0 && place < CA_COUNT)
			args[place] = arg;
	}
}

/* The context in a condition on a relation, or NULL. */
static const char *
context_of_call(Node *node, Index varno, const TableMap *map)
{
	Node	   *args[CA_COUNT];
	const char *texts[CA_COUNT];
	Var		   *var;
	size_t		size = 0;
	char	   *context;
	int			i;

	if (node == NULL || !IsA(node, FuncExpr) ||
		((FuncExpr *) node)->funcid != datamap_oids()->row_permitted)
		return NULL;
	place_arguments((FuncExpr *) node, args);
	var = (Var *) args[CA_SEALED];
	if (var == NULL || !IsA(var, Var) || var->varno != (int) varno ||
		var->varlevelsup != 0 || var->varattno != map->sealed_attnum)
		return NULL;
	for (i = CA_PURPOSE; i < CA_COUNT; i++)
	{
		texts[i] = constant_text(args[i]);
		if (texts[i] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("purpose, channel and topic in gdpr.row_permitted must be constants"),
					 errhint("Rows alone are filtered by gdpr.permitted(gdpr.subject_number(gdpr_sealed), purpose, channel, topic).")));
		size += strlen(texts[i]) + 1;
	}
	if (texts[CA_PURPOSE][0] == '\0')
		return NULL;			/* the session's */
	context = palloc(size);
	size = 0;
	for (i = CA_PURPOSE; i < CA_COUNT; i++)
	{
		memcpy(context + size, texts[i], strlen(texts[i]) + 1);
		size += strlen(texts[i]) + 1;
	}
	return context;
}

static const char *
context_in(Node *qual, Index varno, const TableMap *map)
{
	const char *context = NULL;
	List	   *list = NIL;
	ListCell   *lc;

	if (qual != NULL && IsA(qual, List))
		list = (List *) qual;
	else if (qual != NULL && IsA(qual, BoolExpr) &&
			 ((BoolExpr *) qual)->boolop == AND_EXPR)
		list = ((BoolExpr *) qual)->args;
	else
		return context_of_call(qual, varno, map);
	foreach(lc, list)
	{
		context = context_in(lfirst(lc), varno, map);
		if (context != NULL)
			break;
	}
	return context;
}

/*
 * What a view is for that rows are inserted through.  Its conditions are not in
 * the query, but its entry in the range table stays, for its privileges.
 */
static const char *
context_of_target(const Query *query, const TableMap *map)
{
	const char *context = NULL;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		Relation	view;
		Query	   *definition;
		RangeTblRef *from;

		if (rte->rtekind != RTE_RELATION || rte->relkind != RELKIND_VIEW)
			continue;
		view = table_open(rte->relid, AccessShareLock);
		definition = get_view_query(view);
		from = list_length(definition->jointree->fromlist) == 1 ?
			linitial(definition->jointree->fromlist) : NULL;
		if (from != NULL && IsA(from, RangeTblRef) &&
			rewrite_rte_map(rt_fetch(from->rtindex, definition->rtable)) == map)
			context = context_in(definition->jointree->quals, from->rtindex, map);
		table_close(view, NoLock);
		if (context != NULL)
			break;
	}
	return context;
}

const char *
rewrite_context(const Query *query, Index varno)
{
	const RangeTblEntry *rte = rt_fetch(varno, query->rtable);
	const TableMap *map = rewrite_rte_map(rte);
	const char *context = NULL;

	if (map == NULL)
		return NULL;
	/* of a view that is written to, its conditions are here */
	context = context_in((Node *) rte->securityQuals, varno, map);
	if (context == NULL && query->jointree != NULL)
		context = context_in(query->jointree->quals, varno, map);
	if (context == NULL && query->commandType == CMD_INSERT &&
		((int) varno == query->resultRelation ||
		 (query->onConflict != NULL &&
		  query->onConflict->exclRelIndex == (int) varno)))
		context = context_of_target(query, map);
	return context;
}

/* ---------- ON CONFLICT ---------- */

static bool
asks_policy(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) &&
		((FuncExpr *) node)->funcid == datamap_oids()->row_permitted)
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, asks_policy, context, 0);
	return expression_tree_walker(node, asks_policy, context);
}

/* Those conditions of a view on a relation that call row_permitted(). */
static List *
view_conditions(Oid viewid, Oid relid, Index varno)
{
	Relation	view = table_open(viewid, AccessShareLock);
	Query	   *query = copyObject(get_view_query(view));
	List	   *conditions = make_ands_implicit((Expr *) query->jointree->quals);
	List	   *result = NIL;
	const RangeTblRef *ref;
	const RangeTblEntry *rte;
	ListCell   *lc;

	table_close(view, NoLock);
	/* others are not written to but by rules, which say themselves what to do */
	if (list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return NIL;
	ref = linitial_node(RangeTblRef, query->jointree->fromlist);
	rte = rt_fetch(ref->rtindex, query->rtable);
	if (rte->relid != relid && rte->relkind != RELKIND_VIEW)
		return NIL;
	foreach(lc, conditions)
	{
		Node	   *condition = lfirst(lc);

		if (!asks_policy(condition, NULL))
			continue;
		if (rte->relid != relid)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot INSERT with ON CONFLICT DO UPDATE into a view of a view which uses gdpr.row_permitted()"),
					 errhint("Use gdpr.row_permitted() in a view of the table itself.")));
		ChangeVarNodes(condition, ref->rtindex, (int) varno, 0);
		result = lappend(result,
						 makeFuncExpr(datamap_oids()->require_visible, BOOLOID,
									  list_make1(condition), InvalidOid,
									  InvalidOid, COERCE_EXPLICIT_CALL));
	}
	return result;
}

/*
 * INSERT ... ON CONFLICT DO UPDATE into a view updates the row that is in the
 * way, and returns it, also if it is not in the view, unless the server is of a
 * later minor version.  A view for a purpose is for roles that hold nothing on
 * its table: here it is an error.  The views that were written to are still in
 * the range table, for their privileges.
 */
static List *
hidden_conditions(const Query *query)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (query->onConflict == NULL ||
		query->onConflict->action != ONCONFLICT_UPDATE)
		return NIL;
	foreach(lc, query->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		Index		varno = query->resultRelation;

		if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_VIEW &&
			foreach_current_index(lc) + 1 != (int) varno)
			result = list_concat(result,
								 view_conditions(rte->relid,
												 rt_fetch(varno, query->rtable)->relid,
												 varno));
	}
	return result;
}

static void
add_hidden_conditions(Query *query)
{
	List	   *conditions = hidden_conditions(query);
	ListCell   *lc;

	foreach(lc, conditions)
	{
		query->onConflict->onConflictWhere =
			make_and_qual(query->onConflict->onConflictWhere, lfirst(lc));
		query->hasSubLinks |= checkExprHasSubLink(lfirst(lc));
	}
	/* statements that write are in a WITH at the top, or are all of it */
	foreach(lc, query->cteList)
		add_hidden_conditions(castNode(Query,
									   lfirst_node(CommonTableExpr, lc)->ctequery));
}

static bool
has_hidden_conditions(const Query *query)
{
	ListCell   *lc;

	if (hidden_conditions(query) != NIL)
		return true;
	foreach(lc, query->cteList)
		if (has_hidden_conditions(castNode(Query,
										   lfirst_node(CommonTableExpr, lc)->ctequery)))
			return true;
	return false;
}

Query *
rewrite_with_view_conditions(Query *query)
{
	if (!has_hidden_conditions(query))
		return query;
	query = copyObject(query);
	add_hidden_conditions(query);
	return query;
}
