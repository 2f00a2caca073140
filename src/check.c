/*
 * check.c
 *		CHECK constraints on personal columns.
 *
 * The expressions are kept as SQL text, fully qualified, in the data map.
 * They are parsed once per reading of the map.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "check.h"
#include "compat.h"
#include "errors.h"
#include "guard.h"

typedef struct CheckState
{
	ExprContext *econtext;
	TupleTableSlot *slot;
	ExprState **states;			/* by index in table->checks */
} CheckState;

/* The expression of a constraint over rel, ready for the executor. */
static ExprState *
prepare_check(Relation rel, const CheckMap *check)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	char	   *sql = psprintf("SELECT (%s)", check->expression);
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	SelectStmt *select = castNode(SelectStmt, raw->stmt);
	Node	   *expr = linitial_node(ResTarget, select->targetList)->val;
	ExprState  *result;

	pstate->p_sourcetext = sql;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL,
										 false, true);
	addNSItemToQuery(pstate, item, true, true, true);
	expr = transformExpr(pstate, expr, EXPR_KIND_CHECK_CONSTRAINT);
	expr = coerce_to_boolean(pstate, expr, "CHECK");
	assign_expr_collations(pstate, expr);
	result = ExecInitExpr(expression_planner((Expr *) expr), NULL);
	free_parsestate(pstate);
	return result;
}

static CheckState *
check_state(Relation rel, TableMap *table)
{
	MemoryContext old;
	CheckState *state;
	int			level;
	int			i;

	if (table->check_state != NULL)
		return table->check_state;
	old = MemoryContextSwitchTo(table->context);
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	state = palloc0(sizeof(CheckState));
	state->econtext = CreateStandaloneExprContext();
	state->slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(rel)),
										   &TTSOpsVirtual);
	state->states = palloc0(sizeof(ExprState *) * table->nchecks);
	for (i = 0; i < table->nchecks; i++)
		state->states[i] = prepare_check(rel, &table->checks[i]);
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
		if (!ExecCheck(state->states[i], state->econtext))
			violates_first_check(rel, state->econtext, table->checks[i].name);
	ExecClearTuple(state->slot);
	ResetExprContext(state->econtext);
}
