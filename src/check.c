/*
 * check.c
 *		CHECK constraints on personal columns.
 *
 * The expressions are kept as SQL text, fully qualified, in the data map.
 * They are parsed once per reading of the map.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "check.h"
#include "compat.h"
#include "errors.h"
#include "guard.h"

typedef struct CheckState
{
	ExprContext *econtext;
	TupleTableSlot *slot;
	ExprState **states;			/* by index in table->checks; NULL: another
								 * member's */
} CheckState;

/* Names in expressions are qualified where they are not built in. */
static int
pin_search_path(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* A constraint with attribute numbers, which a renamed column keeps */
typedef struct ParsedCheck
{
	Oid			relid;
	char	   *name;
	Node	   *expr;
} ParsedCheck;

/* The expression of a constraint over rel. */
static Node *
parse_check(Relation rel, const CheckMap *check)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	char	   *sql = psprintf("SELECT (%s)", check->expression);
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	SelectStmt *select = castNode(SelectStmt, raw->stmt);
	Node	   *expr = linitial_node(ResTarget, select->targetList)->val;

	pstate->p_sourcetext = sql;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL,
										 false, true);
	addNSItemToQuery(pstate, item, true, true, true);
	expr = transformExpr(pstate, expr, EXPR_KIND_CHECK_CONSTRAINT);
	expr = coerce_to_boolean(pstate, expr, "CHECK");
	assign_expr_collations(pstate, expr);
	free_parsestate(pstate);
	return expr;
}

static CheckState *
check_state(Relation rel, TableMap *table)
{
	MemoryContext old;
	CheckState *state;
	int			level;
	Node	   *expr;
	int			i;

	if (table->check_state != NULL)
		return table->check_state;
	old = MemoryContextSwitchTo(table->context);
	level = pin_search_path();
	state = palloc0(sizeof(CheckState));
	state->econtext = CreateStandaloneExprContext();
	state->slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(rel)),
										   &TTSOpsVirtual);
	state->states = palloc0(sizeof(ExprState *) * table->nchecks);
	for (i = 0; i < table->nchecks; i++)
	{
		if (table->checks[i].relid != table->relid)
			continue;
		expr = parse_check(rel, &table->checks[i]);
		state->states[i] = ExecInitExpr(expression_planner((Expr *) expr),
										NULL);
	}
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(old);
	table->check_state = state;
	return state;
}

static void
violates_check(Relation rel, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("new row for relation \"%s\" violates check constraint \"%s\"",
					RelationGetRelationName(rel), name),
			 errtableconstraint(rel, name)));
}

/*
 * The server tests CHECK constraints in the order of their names, and tells of
 * the first.  One of ours is violated: is one of the table's own before it?
 */
static void
violates_first_check(Relation rel, ExprContext *econtext, const char *name)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	int			i;

	for (i = 0; constr != NULL && i < constr->num_check; i++)
	{
		ConstrCheck *own = &constr->check[i];

		if (strcmp(own->ccname, name) < 0 && COMPAT_CHECK_ENFORCED(own) &&
			strcmp(own->ccname, GUARD_CHECK_CONSTRAINT) != 0 &&
			!ExecCheck(ExecInitExpr(expression_planner(stringToNode(own->ccbin)),
									NULL), econtext))
			violates_check(rel, own->ccname);
	}
	violates_check(rel, name);
}

void
check_row(Relation rel, TableMap *table, Datum *values, bool *isnull)
{
	CheckState *state;
	int			i;

	if (table->nchecks == 0)
		return;
	state = check_state(rel, table);
	ExecClearTuple(state->slot);
	memcpy(state->slot->tts_values, values,
		   sizeof(Datum) * RelationGetDescr(rel)->natts);
	memcpy(state->slot->tts_isnull, isnull,
		   sizeof(bool) * RelationGetDescr(rel)->natts);
	ExecStoreVirtualTuple(state->slot);
	state->econtext->ecxt_scantuple = state->slot;
	for (i = 0; i < table->nchecks; i++)
		if (state->states[i] != NULL &&
			!ExecCheck(state->states[i], state->econtext))
			violates_first_check(rel, state->econtext, table->checks[i].name);
	ExecClearTuple(state->slot);
	ResetExprContext(state->econtext);
}

List *
check_before_rename(const TableMap *table)
{
	List	   *result = NIL;
	int			level = pin_search_path();
	int			i;

	for (i = 0; i < table->root->nchecks; i++)
	{
		CheckMap   *check = &table->root->checks[i];
		Relation	rel = table_open(check->relid, AccessShareLock);
		ParsedCheck *parsed = palloc(sizeof(ParsedCheck));

		parsed->relid = check->relid;
		parsed->name = pstrdup(check->name);
		parsed->expr = parse_check(rel, check);
		result = lappend(result, parsed);
		table_close(rel, NoLock);
	}
	AtEOXact_GUC(true, level);
	return result;
}

void
check_after_rename(List *checks)
{
	Oid			types[3] = {OIDOID, NAMEOID, TEXTOID};
	Datum		args[3];
	int			level = pin_search_path();
	Oid			user;
	int			sec_context;
	ListCell   *lc;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	foreach(lc, checks)
	{
		ParsedCheck *parsed = lfirst(lc);
		List	   *context = deparse_context_for(get_rel_name(parsed->relid),
												  parsed->relid);

		args[0] = ObjectIdGetDatum(parsed->relid);
		args[1] = DirectFunctionCall1(namein, CStringGetDatum(parsed->name));
		args[2] = CStringGetTextDatum(deparse_expression(parsed->expr, context,
														 false, false));
		if (SPI_execute_with_args("UPDATE gdpr.mapped_check SET expression = $3,"
								  " definition = 'CHECK (' || $3 || ')' ||"
								  " substring(definition FROM '((?: NO INHERIT)?(?: NOT VALID)?)$')"
								  " WHERE relation = $1 AND name = $2",
								  3, types, args, NULL, false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not rename a column in the data map");
	}
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
	AtEOXact_GUC(true, level);
}
