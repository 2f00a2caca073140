/*
 * mask_function.c
 *		Masks that are SQL functions of the application.
 *
 * Such a function sees values that the session must not see, so it must not
 * be able to pass them on.  Its body is taken for what it has to be: one
 * expression over the argument, of functions that come with PostgreSQL and are
 * immutable.  Those compute; they read no table and no setting, write nothing
 * and call nobody.  The expression is evaluated by itself, the function is not
 * called.  Judging the body leaves no way around, as letting the function run
 * as it likes under some user and some settings would: whatever it then could
 * call might be SECURITY DEFINER, and a function that says it is immutable
 * need not be.
 *
 * Two ways out remain, errors and messages, which quote values.  An error is
 * replaced by one that does not, and messages are not sent or logged.  Besides,
 * everything happens as a user without any privilege.
 *
 * Whose function it is decides what is shown of a table: the table's owner, or
 * a superuser.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/functions.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parse_coerce.h"
#include "parser/parse_node.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "mask_function.h"

/*
 * A user that is no role: it owns nothing, nothing was granted to it, and it
 * is no superuser.  Roles have higher numbers.
 */
#define NOBODY			((Oid) 1)

struct MaskFunction
{
	uint64		generation;		/* of functions and roles, when it was made */
	MemoryContext context;		/* holds all of it */
	ExprState  *state;
	ExprContext *econtext;
	ParamListInfo params;		/* the value */
	int16		typlen;			/* of the result */
	bool		typbyval;
};

/* What confine() changed */
typedef struct Confinement
{
	Oid			user;
	int			sec_context;
	int			guc_level;
} Confinement;

static uint64 generation = 1;	/* counts what may change the answer */

static void
functions_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
}

void
mask_function_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, functions_changed, (Datum) 0);
}

/* ---------- without privileges ---------- */

static void
set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
confine(Confinement *before)
{
	GetUserIdAndSecContext(&before->user, &before->sec_context);
	SetUserIdAndSecContext(NOBODY, before->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	before->guc_level = NewGUCNestLevel();
	set_for_now("client_min_messages", "error");
	set_for_now("log_min_messages", "error");
}

static void
release(const Confinement *before)
{
	AtEOXact_GUC(false, before->guc_level);
	SetUserIdAndSecContext(before->user, before->sec_context);
}

/* ---------- errors ---------- */

static void refuse(const ColumnMap *column, int sqlstate,
				   const char *reason) pg_attribute_noreturn();

static void
refuse(const ColumnMap *column, int sqlstate, const char *reason)
{
	const char *table = datamap_relation_name(column->table->relid);

	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("mask function %s of column \"%s\" of table %s cannot be used",
					column->mask, column->name, table),
			 errdetail_internal("%s", reason),
			 errhint("Make it such a function: LANGUAGE sql, IMMUTABLE, owned by the table's owner, its body one SELECT of an expression over its one argument, with functions of PostgreSQL only. Or choose another mask: SELECT gdpr.set_mask(%s, %s, …).",
					 quote_literal_cstr(table),
					 quote_literal_cstr(column->name))));
}

static void failed(const ColumnMap *column) pg_attribute_noreturn();

/* What the function says of the value it fails on is not for the session. */
static void
failed(const ColumnMap *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("mask function %s of column \"%s\" of table %s failed",
					column->mask, column->name,
					datamap_relation_name(column->table->relid)),
			 errdetail("What it said is not shown, since it may quote a value."),
			 errhint("Change the function so that it has a result for every value.")));
}

/* Is the error that was caught about the session, not what it was doing? */
static bool
is_interruption(void)
{
	return ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_OPERATOR_INTERVENTION;
}

/* ---------- finding and judging ---------- */

/* Do both types have the same bytes? */
static bool
same_bytes(Oid a, Oid b)
{
	return a == b || IsBinaryCoercible(a, b) || IsBinaryCoercible(b, a);
}

/*
 * By the catalog alone: the session may lack rights on the schema.  The
 * argument is of the column's type, or text if that is as good.
 */
static HeapTuple
find_function(const ColumnMap *column)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(column->mask));
	Oid			types[2] = {column->basetypid, TEXTOID};
	Oid			schema;
	HeapTuple	tuple = NULL;
	int			i;

	if (list_length(names) != 2)
		refuse(column, ERRCODE_INVALID_NAME,
			   "Its name is not of the form schema.function.");
	schema = get_namespace_oid(strVal(linitial(names)), true);
	for (i = 0; i < lengthof(types) && tuple == NULL; i++)
		if (same_bytes(column->basetypid, types[i]))
			tuple = SearchSysCache3(PROCNAMEARGSNSP,
									CStringGetDatum(strVal(lsecond(names))),
									PointerGetDatum(buildoidvector(&types[i], 1)),
									ObjectIdGetDatum(schema));
	if (tuple == NULL)
		refuse(column, ERRCODE_UNDEFINED_FUNCTION,
			   psprintf("Function %s(%s) does not exist.",
						quote_qualified_identifier(strVal(linitial(names)),
												   strVal(lsecond(names))),
						format_type_be(column->basetypid)));
	return tuple;
}

static void
require_definition(const ColumnMap *column, HeapTuple tuple)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	Oid			owner = datamap_relation_owner(column->table->root->relid);
	const char *reason = NULL;

	if (form->proowner != owner && !superuser_arg(form->proowner))
		refuse(column, ERRCODE_INSUFFICIENT_PRIVILEGE,
			   psprintf("It is owned by role \"%s\", the table by role \"%s\".",
						GetUserNameFromId(form->proowner, true),
						GetUserNameFromId(owner, true)));
	if (form->prolang != SQLlanguageId)
		reason = "It is not LANGUAGE sql.";
	else if (form->prokind != PROKIND_FUNCTION || form->proretset)
		reason = "It is not a function with one result.";
	else if (form->provolatile != PROVOLATILE_IMMUTABLE)
		reason = "It is not IMMUTABLE.";
	else if (form->prosecdef)
		reason = "It is SECURITY DEFINER.";
	else if (!heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL))
		reason = "It changes settings.";
	else if (!same_bytes(form->prorettype, column->basetypid))
		reason = "Its result is of another type than the column.";
	if (reason != NULL)
		refuse(column, ERRCODE_INVALID_FUNCTION_DEFINITION, reason);
}

/* The one statement of the body; NULL if there are more or none. */
static Query *
body_query(HeapTuple tuple, Oid collation)
{
	bool		isnull;
	Datum		parsed = SysCacheGetAttr(PROCOID, tuple,
										 Anum_pg_proc_prosqlbody, &isnull);
	ParseState *pstate;
	Query	   *query;
	List	   *statements;

	if (!isnull)
	{
		Node	   *body = stringToNode(TextDatumGetCString(parsed));

		if (!IsA(body, List))
			return (Query *) body;
		statements = linitial_node(List, (List *) body);
		return list_length(statements) == 1 ? linitial(statements) : NULL;
	}
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext =
		TextDatumGetCString(SysCacheGetAttrNotNull(PROCOID, tuple,
												   Anum_pg_proc_prosrc));
	sql_fn_parser_setup(pstate, prepare_sql_fn_parse_info(tuple, NULL,
														  collation));
	statements = pg_parse_query(pstate->p_sourcetext);
	if (list_length(statements) != 1)
		return NULL;
	query = transformTopLevelStmt(pstate, linitial(statements));
	free_parsestate(pstate);
	return query;
}

/* Is it SELECT expression? */
static bool
selects_expression(const Query *query)
{
	return query != NULL && IsA(query, Query) &&
		query->commandType == CMD_SELECT &&
		!query->hasAggs && !query->hasWindowFuncs && !query->hasTargetSRFs &&
		!query->hasSubLinks && query->cteList == NIL &&
		query->rtable == NIL && query->jointree->fromlist == NIL &&
		query->jointree->quals == NULL && query->groupClause == NIL &&
		query->groupingSets == NIL && query->havingQual == NULL &&
		query->windowClause == NIL && query->distinctClause == NIL &&
		query->sortClause == NIL && query->limitOffset == NULL &&
		query->limitCount == NULL && query->setOperations == NULL &&
		list_length(query->targetList) == 1;
}

/* Not a function of PostgreSQL that does nothing but compute? */
static bool
is_impure(Oid funcid, void *context)
{
	if (funcid < FirstNormalObjectId &&
		func_volatile(funcid) == PROVOLATILE_IMMUTABLE)
		return false;
	*(const char **) context = psprintf("It uses function %s, which is not one of PostgreSQL's own that are immutable.",
										format_procedure(funcid));
	return true;
}

/*
 * Is there anything in an expression that may do more than compute?  Only what
 * is known not to is let through.  *reason: what it is.
 */
static bool
does_more(Node *node, void *reason)
{
	bool		known;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_FuncExpr:
		case T_NamedArgExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_SubscriptingRef:
		case T_NullTest:
		case T_BooleanTest:
			known = true;
			break;
		case T_MinMaxExpr:
			known = ((MinMaxExpr *) node)->minmaxtype < FirstNormalObjectId;
			break;
		case T_Param:
			known = ((Param *) node)->paramkind == PARAM_EXTERN;
			break;
		default:
			known = false;
			break;
	}
	if (!known)
	{
		*(const char **) reason =
			"Its body has more than functions, operators, CASE, COALESCE and the like, arrays, casts and constants.";
		return true;
	}
	return check_functions_in_node(node, is_impure, reason) ||
		expression_tree_walker(node, does_more, reason);
}

/* The expression that the function computes, of its result type. */
static Expr *
body_expression(HeapTuple tuple, Oid collation, const char **reason)
{
	Query	   *query = body_query(tuple, collation);
	Node	   *expr;

	if (!selects_expression(query))
	{
		*reason = "Its body is not one SELECT of an expression.";
		return NULL;
	}
	expr = (Node *) linitial_node(TargetEntry, query->targetList)->expr;
	expr = coerce_to_target_type(NULL, expr, exprType(expr),
								 ((Form_pg_proc) GETSTRUCT(tuple))->prorettype,
								 -1, COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST,
								 -1);
	if (expr == NULL)
	{
		*reason = "Its body is of another type than its result.";
		return NULL;
	}
	if (does_more(expr, reason))
		return NULL;
	return expression_planner((Expr *) expr);
}

/* ---------- using ---------- */

/* Make an expression ready to be evaluated again and again. */
static MaskFunction *
make_function(const Expr *expr, Oid argtype)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "gdpr mask function",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MaskFunction *function = palloc0(sizeof(MaskFunction));

	function->context = context;
	function->params = makeParamList(1);
	function->params->params[0].ptype = argtype;
	function->econtext = CreateStandaloneExprContext();
	function->econtext->ecxt_param_list_info = function->params;
	function->state = ExecInitExprWithParams(copyObject(unconstify(Expr *, expr)),
											 function->params);
	get_typlenbyval(exprType((const Node *) expr), &function->typlen,
					&function->typbyval);
	MemoryContextSwitchTo(old);
	return function;
}

/*
 * The function of a catalog entry, in a context below the current one; NULL
 * and the reason if it cannot be used.
 */
static MaskFunction *
read_function(HeapTuple tuple, Oid collation, const char **reason)
{
	MemoryContext context = CurrentMemoryContext;
	MaskFunction *volatile function = NULL;
	Confinement before;

	confine(&before);
	PG_TRY();
	{
		Expr	   *expr;

		set_for_now("search_path", "pg_catalog, pg_temp");
		expr = body_expression(tuple, collation, reason);
		if (expr != NULL)
			function = make_function(expr,
									 ((Form_pg_proc) GETSTRUCT(tuple))->proargtypes.values[0]);
	}
	PG_CATCH();
	{
		if (is_interruption())
		{
			release(&before);
			PG_RE_THROW();
		}
		MemoryContextSwitchTo(context);
		*reason = psprintf("In its body, with search_path = pg_catalog, pg_temp: %s.",
						   CopyErrorData()->message);
		FlushErrorState();
	}
	PG_END_TRY();
	release(&before);
	return function;
}

void
mask_function_prepare(const ColumnMap *column, MaskFunction **function)
{
	uint64		now = generation;	/* what comes in between counts as later */
	const char *reason = NULL;
	MaskFunction *found;
	HeapTuple	tuple;

	if (*function != NULL && (*function)->generation == now)
		return;
	tuple = find_function(column);
	require_definition(column, tuple);
	found = read_function(tuple, column->collation, &reason);
	if (found == NULL)
		refuse(column, ERRCODE_INVALID_FUNCTION_DEFINITION, reason);
	ReleaseSysCache(tuple);
	found->generation = now;
	MemoryContextSetParent(found->context, column->table->context);
	if (*function != NULL)
		MemoryContextDelete((*function)->context);
	*function = found;
}

Datum
mask_function_call(const ColumnMap *column, MaskFunction *function,
				   Datum value, bool *isnull)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;
	Confinement before;

	function->params->params[0].value = value;
	function->params->params[0].isnull = false;
	confine(&before);
	PG_TRY();
	{
		result = ExecEvalExprSwitchContext(function->state, function->econtext,
										   isnull);
	}
	PG_CATCH();
	{
		release(&before);
		if (is_interruption())
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		failed(column);
	}
	PG_END_TRY();
	release(&before);
	if (!*isnull)
		result = datumCopy(result, function->typbyval, function->typlen);
	function->params->params[0].value = (Datum) 0;
	ResetExprContext(function->econtext);
	return result;
}
