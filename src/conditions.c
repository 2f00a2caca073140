/*
 * conditions.c
 *		CHECK constraints and trigger conditions of protected tables, and of
 *		the extension's own, parsed once for a session.
 *
 * A protected table has a constraint over its key and personal columns, and a
 * trigger with a condition.  PostgreSQL reads such expressions from their
 * stored text in every statement, which for one row takes longer than sealing
 * it.  Here the trees are kept, and an ExecutorStart hook puts what it
 * prepares from them where the executor would put its own (ExecRelCheck,
 * TriggerEnabled); what it does not prepare, partitions for instance, the
 * executor does as always.
 */
#include "postgres.h"

#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/primnodes.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteManip.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "conditions.h"
#include "datamap.h"

#define PARSED_LIMIT	1000	/* trees, older ones included */

/* A constraint of a relation by its place, or a trigger (place -1) */
typedef struct ConditionKey
{
	Oid			id;
	int32		place;
} ConditionKey;

typedef struct Condition
{
	ConditionKey key;
	char	   *text;			/* as it is stored; NULL: not parsed */
	Node	   *tree;
} Condition;

static HTAB *conditions = NULL;
static MemoryContext conditions_context = NULL;
static int	nparsed = 0;
static ExecutorStart_hook_type prev_executor_start = NULL;

static void
make_table(void)
{
	HASHCTL		ctl = {0};

	conditions_context = AllocSetContextCreate(TopMemoryContext,
											   "gdpr conditions",
											   ALLOCSET_DEFAULT_SIZES);
	ctl.keysize = sizeof(ConditionKey);
	ctl.entrysize = sizeof(Condition);
	ctl.hcxt = conditions_context;
	conditions = hash_create("gdpr conditions", 64, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The tree of an expression, or NULL when there is room for no more: none is
 * freed, since what is prepared of it shares its constants.
 */
static Node *
parse_condition(Oid id, int place, const char *text)
{
	ConditionKey key = {id, place};
	Condition  *condition;
	MemoryContext before;
	bool		found;

	if (conditions == NULL)
		make_table();
	condition = hash_search(conditions, &key, HASH_FIND, NULL);
	if (condition != NULL && condition->text != NULL &&
		strcmp(condition->text, text) == 0)
		return condition->tree;
	if (nparsed >= PARSED_LIMIT)
		return NULL;
	nparsed++;
	condition = hash_search(conditions, &key, HASH_ENTER, &found);
	condition->text = NULL;		/* until it is parsed */
	before = MemoryContextSwitchTo(conditions_context);
	condition->tree = stringToNode(text);
	if (place < 0)
	{
		/* as TriggerEnabled() does */
		ChangeVarNodes(condition->tree, PRS2_OLD_VARNO, INNER_VAR, 0);
		ChangeVarNodes(condition->tree, PRS2_NEW_VARNO, OUTER_VAR, 0);
	}
	condition->text = pstrdup(text);
	MemoryContextSwitchTo(before);
	return condition->tree;
}

static void
prepare_checks(ResultRelInfo *result, EState *estate)
{
	Relation	rel = result->ri_RelationDesc;
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	ExprState **states;
	int			i;

	if (constraints == NULL || constraints->num_check == 0 ||
		COMPAT_CHECK_STATES(result) != NULL)
		return;
	states = MemoryContextAllocZero(estate->es_query_cxt,
									constraints->num_check * sizeof(ExprState *));
	for (i = 0; i < constraints->num_check; i++)
	{
		Node	   *tree;

		if (!COMPAT_CHECK_ENFORCED(&constraints->check[i]))
			continue;
		tree = parse_condition(RelationGetRelid(rel), i,
							   constraints->check[i].ccbin);
		if (tree == NULL)
			return;
		states[i] = ExecPrepareExpr((Expr *) tree, estate);
	}
	COMPAT_CHECK_STATES(result) = states;
}

static void
prepare_triggers(ResultRelInfo *result, EState *estate, CmdType command)
{
	TriggerDesc *triggers = result->ri_TrigDesc;
	int			i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];
		Node	   *tree;

		/* those for single columns may not be asked */
		if (trigger->tgqual == NULL || trigger->tgnattr > 0 ||
			trigger->tgenabled == TRIGGER_DISABLED ||
			result->ri_TrigWhenExprs[i] != NULL ||
			(command == CMD_INSERT ? !TRIGGER_FOR_INSERT(trigger->tgtype) :
			 command == CMD_UPDATE ? !TRIGGER_FOR_UPDATE(trigger->tgtype) : true))
			continue;
		tree = parse_condition(trigger->tgoid, -1, trigger->tgqual);
		if (tree != NULL)
			result->ri_TrigWhenExprs[i] =
				ExecPrepareQual(make_ands_implicit((Expr *) tree), estate);
	}
}

static void
conditions_executor_start(QueryDesc *query, int eflags)
{
	EState	   *estate;
	ListCell   *lc;

	if (prev_executor_start)
		prev_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);

	if (query->plannedstmt->resultRelations == NIL ||
		query->operation == CMD_DELETE ||
		(eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0 || !datamap_any_protected())
		return;
	estate = query->estate;
	foreach(lc, estate->es_opened_result_relations)
	{
		ResultRelInfo *result = lfirst(lc);
		Relation	rel = result->ri_RelationDesc;

		if (COMPAT_HAS_VIRTUAL(rel) ||
			(datamap_lookup(RelationGetRelid(rel)) == NULL &&
			 RelationGetNamespace(rel) != datamap_oids()->schema))
			continue;
		prepare_checks(result, estate);
		prepare_triggers(result, estate, query->operation);
	}
}

void
conditions_init(void)
{
	prev_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = conditions_executor_start;
}
