/*
 * trigger_when.c
 *		Conditions (WHEN) of the application's triggers on protected tables.
 *
 * The executor evaluates them on the rows as they are stored, and no plugin is
 * asked.  So the condition itself is translated, in pg_trigger:
 *		OLD.email	gdpr.trigger_value(old.*, old.email)
 *		OLD.*		gdpr.trigger_row(old.*)
 * This is SQL that a dump holds and restores, follows renamed columns, depends
 * on what the original depended on, and is turned back by leaving the calls
 * out.  Both functions show what a trigger function is shown, and work in such
 * conditions only: a whole-row reference to INNER or OUTER occurs nowhere
 * else.
 *
 * Columns of NEW in a BEFORE trigger stay: there NEW holds values, unless it
 * arrives sealed.  (And they must: with generated columns in the table, CREATE
 * TRIGGER would not accept NEW.* there.)
 *
 * Trigger functions that are built into the server, and so cannot be shown
 * opened rows, are replaced by the extension's aliases of them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/prs2lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "errors.h"
#include "guard.h"
#include "trigger.h"

PG_FUNCTION_INFO_V1(gdpr_trigger_value);
PG_FUNCTION_INFO_V1(gdpr_trigger_row);
PG_FUNCTION_INFO_V1(gdpr_adapt_triggers);

/* What there are aliases of */
static const Oid builtin_functions[] = {
	[ALIAS_SUPPRESS] = F_SUPPRESS_REDUNDANT_UPDATES_TRIGGER,
	[ALIAS_TSVECTOR] = F_TSVECTOR_UPDATE_TRIGGER,
	[ALIAS_TSVECTOR_COLUMN] = F_TSVECTOR_UPDATE_TRIGGER_COLUMN,
};

/* ---------- translation ---------- */

typedef struct Translation
{
	Relation	rel;
	TableMap   *table;			/* NULL: back */
	bool		before;			/* of a BEFORE trigger */
	bool		insert;			/* for INSERT too: no OLD */
} Translation;

static bool
is_own_call(Node *node)
{
	return IsA(node, FuncExpr) &&
		(((FuncExpr *) node)->funcid == datamap_oids()->trigger_value ||
		 ((FuncExpr *) node)->funcid == datamap_oids()->trigger_row);
}

/* What stands for a column, or for the whole row, of OLD or NEW. */
static Node *
opened_var(Var *var, const Translation *translation)
{
	Var		   *row = makeVar(var->varno, InvalidAttrNumber,
							  translation->rel->rd_rel->reltype, -1,
							  InvalidOid, 0);

	if (var->varattno == InvalidAttrNumber)
		return (Node *) makeFuncExpr(datamap_oids()->trigger_row,
									 var->vartype,
									 list_make1(copyObject(var)), InvalidOid,
									 InvalidOid, COERCE_EXPLICIT_CALL);
	if (translation->before && !translation->insert &&
		var->varattno == translation->table->sealed_attnum)
	{
		var = copyObject(var);
		var->varno = PRS2_OLD_VARNO;	/* NEW has the guard's mark */
		var->varnosyn = var->varno;
		return (Node *) var;
	}
	if (datamap_column_at(translation->table, var->varattno) == NULL ||
		(translation->before && var->varno == PRS2_NEW_VARNO))
		return (Node *) copyObject(var);
	return (Node *) makeFuncExpr(datamap_oids()->trigger_value, var->vartype,
								 list_make2(row, copyObject(var)),
								 var->varcollid, var->varcollid,
								 COERCE_EXPLICIT_CALL);
}

static Node *
translate_condition(Node *node, void *context)
{
	Translation *translation = context;

	if (node == NULL)
		return NULL;
	if (is_own_call(node))
		return copyObject(translation->table != NULL ? node :
						  llast(((FuncExpr *) node)->args));
	if (IsA(node, Var) && translation->table != NULL &&
		((Var *) node)->varattno >= 0)
		return opened_var((Var *) node, translation);
	return expression_tree_mutator(node, translate_condition, context);
}

static bool
calls_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == *(Oid *) context)
		return true;
	return expression_tree_walker(node, calls_function, context);
}

/* What depends on the extension's own functions follows; all else stays. */
static void
change_dependency(Oid trigger, Oid function, bool depends)
{
	ObjectAddress myself;
	ObjectAddress referenced;

	deleteDependencyRecordsForSpecific(TriggerRelationId, trigger,
									   DEPENDENCY_NORMAL, ProcedureRelationId,
									   function);
	if (!depends)
		return;
	ObjectAddressSet(myself, TriggerRelationId, trigger);
	ObjectAddressSet(referenced, ProcedureRelationId, function);
	recordDependencyOn(&myself, &referenced, DEPENDENCY_NORMAL);
}

static void
adapt_trigger(Relation catalog, const Trigger *trigger,
			  Translation *translation)
{
	const GdprOids *oids = datamap_oids();
	Oid			function = trigger->tgfoid;
	Node	   *when = NULL;
	Node	   *adapted = NULL;
	Datum		values[Natts_pg_trigger] = {0};
	bool		nulls[Natts_pg_trigger] = {0};
	bool		replaces[Natts_pg_trigger] = {0};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	HeapTuple	changed;

	if (trigger->tgqual != NULL)
	{
		when = stringToNode(trigger->tgqual);
		translation->before = TRIGGER_FOR_BEFORE(trigger->tgtype);
		translation->insert = TRIGGER_FOR_INSERT(trigger->tgtype);
		adapted = translate_condition(when, translation);
	}
	for (int i = 0; i < lengthof(builtin_functions); i++)
	{
		if (translation->table != NULL && function == builtin_functions[i])
			function = oids->trigger_aliases[i];
		else if (translation->table == NULL &&
				 function == oids->trigger_aliases[i])
			function = builtin_functions[i];
	}
	if (function == trigger->tgfoid && equal(when, adapted))
		return;

	replaces[Anum_pg_trigger_tgfoid - 1] = true;
	values[Anum_pg_trigger_tgfoid - 1] = ObjectIdGetDatum(function);
	if (adapted != NULL)
	{
		replaces[Anum_pg_trigger_tgqual - 1] = true;
		values[Anum_pg_trigger_tgqual - 1] =
			CStringGetTextDatum(nodeToString(adapted));
	}
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger->tgoid));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "could not find trigger %u", trigger->tgoid);
	changed = heap_modify_tuple(tuple, RelationGetDescr(catalog), values,
								nulls, replaces);
	CatalogTupleUpdate(catalog, &changed->t_self, changed);
	systable_endscan(scan);

	for (int i = 0; i < lengthof(builtin_functions); i++)
		change_dependency(trigger->tgoid, oids->trigger_aliases[i],
						  function == oids->trigger_aliases[i]);
	change_dependency(trigger->tgoid, oids->trigger_value,
					  calls_function(adapted, (void *) &oids->trigger_value));
	change_dependency(trigger->tgoid, oids->trigger_row,
					  calls_function(adapted, (void *) &oids->trigger_row));
}

void
trigger_adapt(Relation rel, const char *name, bool adapted)
{
	Translation translation = {rel, NULL, false, false};
	TriggerDesc *triggers;
	Relation	catalog;

	if (rel->trigdesc == NULL)
		return;
	if (adapted)
		translation.table = datamap_lookup(RelationGetRelid(rel));
	catalog = table_open(TriggerRelationId, RowExclusiveLock);
	triggers = CopyTriggerDesc(rel->trigdesc);
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!guard_is_own_trigger(trigger->tgname) &&
			(name == NULL || strcmp(trigger->tgname, name) == 0))
			adapt_trigger(catalog, trigger, &translation);
	}
	table_close(catalog, RowExclusiveLock);
	CacheInvalidateRelcache(rel);
}

/*
 * gdpr.adapt_triggers(relation, adapted) RETURNS void
 *
 * For protect (true) and unprotect (false).
 */
Datum
gdpr_adapt_triggers(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel;

	if (datamap_lookup(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("relation %u is not protected", relid)));
	rel = table_open(relid, AccessExclusiveLock);
	trigger_adapt(rel, NULL, PG_GETARG_BOOL(1));
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* ---------- evaluation ---------- */

/* fn_extra: which column of which table a call is about */
typedef struct WhenState
{
	Oid			relid;
	AttrNumber	attnum;			/* InvalidAttrNumber: the whole row */
	bool		is_new;
} WhenState;

static void
refuse_call(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function can be used in WHEN conditions of triggers only"),
			 errhint("Name the column itself: a query is shown its value.")));
}

/* The whole row of OLD or NEW; that of a partition may be converted. */
static Var *
whole_row(Node *node)
{
	while (node != NULL && IsA(node, ConvertRowtypeExpr))
		node = (Node *) ((ConvertRowtypeExpr *) node)->arg;
	if (node == NULL || !IsA(node, Var) ||
		(((Var *) node)->varno != INNER_VAR &&
		 ((Var *) node)->varno != OUTER_VAR) ||
		((Var *) node)->varattno != InvalidAttrNumber)
		refuse_call();
	return (Var *) node;
}

static WhenState *
when_state(FunctionCallInfo fcinfo)
{
	WhenState  *state = fcinfo->flinfo->fn_extra;
	Node	   *call = fcinfo->flinfo->fn_expr;
	Node	   *argument;
	Var		   *row;
	Var		   *column;

	if (state != NULL)
		return state;
	if (call == NULL || !IsA(call, FuncExpr))
		refuse_call();
	argument = linitial(((FuncExpr *) call)->args);
	row = whole_row(argument);
	state = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(WhenState));
	state->relid = get_typ_typrelid(exprType(argument));
	state->is_new = row->varno == OUTER_VAR;
	if (PG_NARGS() == 2)
	{
		column = lsecond(((FuncExpr *) call)->args);
		if (!IsA(column, Var) || column->varno != row->varno ||
			column->varattno <= 0)
			refuse_call();
		state->attnum =
			get_attnum(state->relid,
					   get_attname(get_typ_typrelid(row->vartype),
								   column->varattno, false));
	}
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* A row of OLD or NEW as it is shown; NULL: the table is not protected. */
static TupleDesc
show_row(HeapTupleHeader header, const WhenState *state, Datum **values,
		 bool **isnull)
{
	TableMap   *table = datamap_lookup(state->relid);
	TupleDesc	desc;
	HeapTupleData tuple;

	if (table == NULL)
		return NULL;
	desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
									   HeapTupleHeaderGetTypMod(header));
	if (desc->natts < table->sealed_attnum)
		elog(ERROR, "whole row of table %d has %d columns", table->id,
			 desc->natts);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	*values = palloc(sizeof(Datum) * desc->natts);
	*isnull = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(&tuple, desc, *values, *isnull);
	if (state->is_new)
		trigger_show_arriving(table, *values, *isnull, state->attnum);
	else
		(void) trigger_show_row(table, *values, *isnull, state->attnum);
	return desc;
}

/*
 * gdpr.trigger_value(OLD or NEW, column of it) RETURNS the column's type
 */
Datum
gdpr_trigger_value(PG_FUNCTION_ARGS)
{
	WhenState  *state = when_state(fcinfo);
	Datum	   *values;
	bool	   *isnull;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (show_row(PG_GETARG_HEAPTUPLEHEADER(0), state, &values, &isnull) == NULL)
	{
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(1));
	}
	if (isnull[state->attnum - 1])
		PG_RETURN_NULL();
	PG_RETURN_DATUM(values[state->attnum - 1]);
}

/*
 * gdpr.trigger_row(OLD or NEW) RETURNS the table's row type
 */
Datum
gdpr_trigger_row(PG_FUNCTION_ARGS)
{
	WhenState  *state = when_state(fcinfo);
	Datum	   *values;
	bool	   *isnull;
	TupleDesc	desc = show_row(PG_GETARG_HEAPTUPLEHEADER(0), state, &values,
								&isnull);

	if (desc == NULL)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, isnull)));
}
