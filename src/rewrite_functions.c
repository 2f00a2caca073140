/*
 * rewrite_functions.c
 *		Keeps the planner from inlining set-returning SQL functions that read
 *		protected tables.
 *
 * The planner inlines the body of such a function after its hook has seen the
 * statement: the body would be planned on the stored columns.  A function that
 * a plugin wants to hook at entry is not inlined; it is then planned by
 * itself, through the hook.  (Scalar SQL functions are inlined only where they
 * read no table at all.)  The same hook lets trigger.c in before functions of
 * the application's triggers.
 *
 * The answer is kept per function until any function or relation changes.  In
 * doubt it is yes: that costs speed, never privacy.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "datamap.h"
#include "rewrite.h"
#include "rewrite_functions.h"

typedef struct FunctionEntry
{
	Oid			funcid;			/* hash key */
	bool		keep_out;		/* not to be inlined */
} FunctionEntry;

static needs_fmgr_hook_type prev_needs_fmgr = NULL;
static HTAB *functions = NULL;
static uint64 functions_generation = 0; /* counts what may change an answer */

static void
forget_functions(void)
{
	functions_generation++;
	if (functions != NULL)
	{
		HTAB	   *old = functions;

		functions = NULL;
		hash_destroy(old);
	}
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_functions();
}

static void
relation_changed(Datum arg, Oid relid)
{
	forget_functions();
}

static bool relation_reaches_protected(Oid relid);

/*
 * Does a parsed query read a protected table, through views too?  context: the
 * view whose query it is, which has entries for itself, or NULL.
 */
static bool
query_reaches_protected(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		Oid			relid = ((RangeTblEntry *) node)->relid;

		return OidIsValid(relid) &&
			(context == NULL || relid != *(Oid *) context) &&
			relation_reaches_protected(relid);
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, query_reaches_protected,
								 context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, query_reaches_protected, context);
}

static bool
relation_reaches_protected(Oid relid)
{
	Relation	rel;
	bool		result;

	check_stack_depth();
	if (datamap_lookup(relid) != NULL)
		return true;
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return false;

	if (rel->rd_rel->relkind == RELKIND_VIEW)
		result = query_reaches_protected((Node *) get_view_query(rel),
										 &relid);
	else
		/* a policy may read any table */
		result = rel->rd_rel->relrowsecurity;
	relation_close(rel, AccessShareLock);
	return result;
}

/*
 * The same for a raw parse tree: any relation of that name, in whatever
 * schema, for the answer must not depend on the search path.
 */
static bool
statement_reaches_protected(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		CatCList   *list = SearchSysCacheList1(RELNAMENSP,
											   CStringGetDatum(((RangeVar *) node)->relname));
		List	   *relids = NIL;
		ListCell   *lc;

		for (int i = 0; i < list->n_members; i++)
			relids = lappend_oid(relids,
								 ((Form_pg_class) GETSTRUCT(&list->members[i]->tuple))->oid);
		ReleaseSysCacheList(list);
		foreach(lc, relids)
		{
			if (relation_reaches_protected(lfirst_oid(lc)))
				return true;
		}
		return false;
	}
	return raw_expression_tree_walker(node, statement_reaches_protected,
									  context);
}

static bool
function_reaches_protected(HeapTuple proc)
{
	Datum		body;
	bool		isnull;
	List	   *statements;
	ListCell   *lc;

	body = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_prosqlbody, &isnull);
	if (!isnull)
		return query_reaches_protected(stringToNode(TextDatumGetCString(body)),
									   NULL);

	body = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_prosrc, &isnull);
	if (isnull)
		return true;
	statements = raw_parser(TextDatumGetCString(body), RAW_PARSE_DEFAULT);

	/* only a single SELECT is ever inlined */
	if (list_length(statements) != 1)
		return false;
	foreach(lc, statements)
	{
		Node	   *statement = lfirst_node(RawStmt, lc)->stmt;

		if (IsA(statement, SelectStmt) &&
			statement_reaches_protected(statement, NULL))
			return true;
	}
	return false;
}

bool
rewrite_is_trigger_function(Oid funcid)
{
	HeapTuple	proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc form;
	bool		result;

	if (!HeapTupleIsValid(proc))
		return false;
	form = (Form_pg_proc) GETSTRUCT(proc);
	result = form->prorettype == TRIGGEROID && datamap_oids() != NULL &&
		!(form->pronamespace == datamap_oids()->schema &&
		  form->prolang == ClanguageId);
	ReleaseSysCache(proc);
	return result;
}

/*
 * Would the planner inline it, and is it to be kept from that?  Or is it to be
 * led through trigger.c?
 */
static bool
must_keep_out(Oid funcid)
{
	HeapTuple	proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc form;
	bool		result = false;

	if (!HeapTupleIsValid(proc))
		return false;
	form = (Form_pg_proc) GETSTRUCT(proc);
	if (form->prolang == SQLlanguageId && form->proretset &&
		form->prokind == PROKIND_FUNCTION && !form->prosecdef &&
		!form->proisstrict && form->provolatile != PROVOLATILE_VOLATILE)
	{
		MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
													  "gdpr function body",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(scratch);

		result = function_reaches_protected(proc);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(scratch);
	}
	ReleaseSysCache(proc);
	return result || rewrite_is_trigger_function(funcid);
}

static bool
keep_out(Oid funcid)
{
	FunctionEntry *entry;
	uint64		generation;
	bool		answer;

	if (!datamap_any_protected())
		return false;

	generation = functions_generation;
	answer = must_keep_out(funcid);

	/* something changed while we looked: the answer holds for now only */
	if (generation != functions_generation)
		return answer;

	if (functions == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(FunctionEntry);
		ctl.hcxt = TopMemoryContext;
		functions = hash_create("gdpr functions", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(functions, &funcid, HASH_ENTER, NULL);
	entry->keep_out = answer;
	return answer;
}

/*
 * Called for every function that is looked up, so also by the lookups that
 * answering takes: those are of built-in functions and of the extension's own,
 * none of them set-returning SQL.
 */
static bool
rewrite_needs_fmgr(Oid funcid)
{
	static bool busy = false;
	bool		answer = false;

	if (prev_needs_fmgr && (*prev_needs_fmgr) (funcid))
		return true;
	if (funcid < FirstNormalObjectId || busy || !IsUnderPostmaster ||
		!OidIsValid(MyDatabaseId))
		return false;
	if (functions != NULL)
	{
		FunctionEntry *entry = hash_search(functions, &funcid, HASH_FIND, NULL);

		if (entry != NULL)
			return entry->keep_out;
	}

	busy = true;
	PG_TRY();
	{
		answer = keep_out(funcid);
	}
	PG_FINALLY();
	{
		busy = false;
	}
	PG_END_TRY();
	return answer;
}

void
rewrite_functions_init(void)
{
	prev_needs_fmgr = needs_fmgr_hook;
	needs_fmgr_hook = rewrite_needs_fmgr;
	CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}
