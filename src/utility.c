/*
 * utility.c
 *		Utility statements that concern protected tables.
 *
 * COPY of a whole table means the application's columns; with gdpr_sealed in
 * its column list, as pg_dump writes it, it means the table as it is stored.
 * The plan of pg_dump's cursor is physical.  CREATE TABLE AS and materialized
 * views do not keep revealed values.  Schema changes are in utility_ddl.c.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/matview.h"
#include "commands/prepare.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "replication/logicalworker.h"
#include "replication/walsender.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "datamap.h"
#include "errors.h"
#include "guard.h"
#include "guc.h"
#include "keystore.h"
#include "rewrite.h"
#include "statement.h"
#include "utility.h"
#include "utility_internal.h"

/* The name pg_dump gives its cursor with --inserts. */
#define PG_DUMP_CURSOR	"_pg_dump_cursor"

PG_FUNCTION_INFO_V1(gdpr_materializes);

static ProcessUtility_hook_type prev_utility = NULL;
static object_access_hook_type prev_object_access = NULL;

/* ---------- COPY ---------- */

/* Is this a list that COPY would take?  If not, its own error is the best. */
static bool
columns_exist(Relation rel, List *names)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *seen = NULL;
	ListCell   *lc;

	foreach(lc, names)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel),
										strVal(lfirst(lc)));

		if (attnum <= 0 || bms_is_member(attnum, seen) ||
			TupleDescAttr(desc, attnum - 1)->attgenerated)
			return false;
		seen = bms_add_member(seen, attnum);
	}
	return true;
}

static bool
names_column(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(strVal(lfirst(lc)), name) == 0)
			return true;
	}
	return false;
}

/* What COPY without a list takes, but for gdpr_sealed. */
static List *
application_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *names = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->attgenerated &&
			namestrcmp(&att->attname, GUARD_SEALED_COLUMN) != 0)
			names = lappend(names, makeString(pstrdup(NameStr(att->attname))));
	}
	return names;
}

/* SELECT names FROM ONLY rel */
static Node *
select_columns(Relation rel, List *names)
{
	SelectStmt *select = makeNode(SelectStmt);
	char	   *relname = pstrdup(RelationGetRelationName(rel));
	RangeVar   *from = makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
									relname, -1);
	ListCell   *lc;

	from->inh = false;
	select->fromClause = list_make1(from);
	foreach(lc, names)
	{
		ColumnRef  *column = makeNode(ColumnRef);
		ResTarget  *target = makeNode(ResTarget);

		column->fields = list_make2(makeString(relname), lfirst(lc));
		column->location = -1;
		target->val = (Node *) column;
		target->location = -1;
		select->targetList = lappend(select->targetList, target);
	}
	return (Node *) select;
}

/*
 * COPY of a protected table.  Returns the statement to run, a changed copy or
 * the one given; *physical: its plan, if row-level security makes one, is of
 * the columns as they are stored.
 *
 * The table is locked as COPY itself is about to lock it, so that it stays
 * what it is.
 */
static PlannedStmt *
plan_copy(PlannedStmt *pstmt, bool *physical)
{
	CopyStmt   *stmt = castNode(CopyStmt, pstmt->utilityStmt);
	Oid			relid;
	Relation	rel;
	List	   *columns;

	if (stmt->relation == NULL || guc_physical || am_walsender ||
		IsLogicalWorker() || !datamap_any_protected())
		return pstmt;
	relid = RangeVarGetRelid(stmt->relation,
							 stmt->is_from ? RowExclusiveLock : AccessShareLock,
							 true);
	if (!OidIsValid(relid) || datamap_lookup(relid) == NULL)
		return pstmt;

	if (names_column(stmt->attlist, GUARD_SEALED_COLUMN))
	{
		/* COPY FROM makes no plan; those that its triggers make are theirs */
		*physical = !stmt->is_from;
		return pstmt;
	}
	if (stmt->is_from && stmt->attlist != NIL)
		return pstmt;

	rel = relation_open(relid, NoLock);
	/* COPY does not take a partitioned table's rows, and says so */
	if (!columns_exist(rel, stmt->attlist) ||
		(!stmt->is_from && rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE))
	{
		relation_close(rel, NoLock);
		*physical = true;
		return pstmt;
	}
	pstmt = copyObject(pstmt);
	stmt = castNode(CopyStmt, pstmt->utilityStmt);
	columns = stmt->attlist != NIL ? stmt->attlist : application_columns(rel);
	if (stmt->is_from)
		stmt->attlist = columns;
	else
	{
		stmt->query = select_columns(rel, columns);
		stmt->relation = NULL;
		stmt->attlist = NIL;
	}
	relation_close(rel, NoLock);
	return pstmt;
}

/* ---------- copies in the clear ---------- */

/* Would the rows of a query, not yet rewritten, hold personal values? */
static bool
query_reveals(Query *query)
{
	ListCell   *lc;

	query = copyObject(query);
	AcquireRewriteLocks(query, true, false);
	foreach(lc, QueryRewrite(query))
	{
		if (rewrite_reveals(lfirst_node(Query, lc)))
			return true;
	}
	return false;
}

static void
check_copied_query(Query *query, const char *target)
{
	if (query_reveals(query))
		rewrite_refuse_copy(target, false);
}

/* The query of a materialized view, NULL if it is none. */
static Query *
materialized_query(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_MATVIEW || rel->rd_rules == NULL ||
		rel->rd_rules->numLocks != 1 ||
		list_length(rel->rd_rules->rules[0]->actions) != 1)
		return NULL;
	return linitial_node(Query, rel->rd_rules->rules[0]->actions);
}

/*
 * gdpr.materializes(relation) RETURNS boolean
 *
 * Is it a materialized view that a REFRESH would fill with personal values?
 */
Datum
gdpr_materializes(PG_FUNCTION_ARGS)
{
	Relation	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	Query	   *query;
	bool		result;

	if (rel == NULL)
		PG_RETURN_NULL();
	query = materialized_query(rel);
	result = query != NULL && query_reveals(query);
	relation_close(rel, NoLock);
	PG_RETURN_BOOL(result);
}

/* CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW */
static void
check_create_as(CreateTableAsStmt *stmt)
{
	Query	   *query = (Query *) stmt->query;

	if (stmt->into->skipData || query == NULL || !IsA(query, Query))
		return;
	if (query->commandType == CMD_UTILITY &&
		IsA(query->utilityStmt, ExecuteStmt))
	{
		char	   *name = ((ExecuteStmt *) query->utilityStmt)->name;
		PreparedStatement *prepared = FetchPreparedStatement(name, false);
		ListCell   *lc;

		foreach(lc, prepared ? prepared->plansource->query_list : NIL)
		{
			if (rewrite_reveals(lfirst_node(Query, lc)))
				rewrite_refuse_copy(stmt->into->rel->relname, false);
		}
		return;
	}
	check_copied_query(query, stmt->into->rel->relname);
}

static void
check_refresh(RefreshMatViewStmt *stmt)
{
	Oid			relid;
	Relation	rel;
	Query	   *query;

	if (stmt->skipData)
		return;
	relid = RangeVarGetRelid(stmt->relation, AccessShareLock, true);
	if (!OidIsValid(relid))
		return;
	rel = relation_open(relid, NoLock);
	query = materialized_query(rel);
	if (query != NULL)
		check_copied_query(query, RelationGetRelationName(rel));
	relation_close(rel, AccessShareLock);
}

static void
check_copies(Node *stmt)
{
	if (guc_allow_plaintext_copies || guc_physical ||
		!datamap_any_protected())
		return;
	if (IsA(stmt, CreateTableAsStmt))
		check_create_as((CreateTableAsStmt *) stmt);
	else if (IsA(stmt, RefreshMatViewStmt))
		check_refresh((RefreshMatViewStmt *) stmt);
	else if (IsA(stmt, ExplainStmt))
	{
		Query	   *query = (Query *) ((ExplainStmt *) stmt)->query;

		if (query != NULL && IsA(query, Query) &&
			query->commandType == CMD_UTILITY &&
			IsA(query->utilityStmt, CreateTableAsStmt))
			check_create_as((CreateTableAsStmt *) query->utilityStmt);
	}
}

/* ---------- the hook ---------- */

static void
call_next(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		  ProcessUtilityContext context, ParamListInfo params,
		  QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (prev_utility)
		prev_utility(pstmt, queryString, readOnlyTree, context, params,
					 queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

static void
call_next_physical(PlannedStmt *pstmt, const char *queryString,
				   bool readOnlyTree, ProcessUtilityContext context,
				   ParamListInfo params, QueryEnvironment *queryEnv,
				   DestReceiver *dest, QueryCompletion *qc)
{
	bool		before = rewrite_physical_next(true);

	PG_TRY();
	{
		call_next(pstmt, queryString, readOnlyTree, context, params, queryEnv,
				  dest, qc);
	}
	PG_FINALLY();
	{
		rewrite_physical_next(before);
	}
	PG_END_TRY();
}

static void
utility_process(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest,
				QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	bool		physical = false;
	bool		ddl = false;
	List	   *relids = NIL;
	bool		wake = false;

	statement_begin();
	switch (nodeTag(stmt))
	{
		case T_TransactionStmt:
			/* maybe outside a transaction: no look at the catalogs here */
			wake = ((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED;
			break;

		case T_CopyStmt:
			if (datamap_oids() != NULL)
				pstmt = plan_copy(pstmt, &physical);
			break;

		case T_DeclareCursorStmt:
			physical = strcmp(((DeclareCursorStmt *) stmt)->portalname,
							  PG_DUMP_CURSOR) == 0;
			break;

		case T_CreateTableAsStmt:
		case T_RefreshMatViewStmt:
		case T_ExplainStmt:
			if (datamap_oids() != NULL)
				check_copies(stmt);
			break;

		case T_AlterEnumStmt:
		case T_AlterDomainStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterPublicationStmt:
		case T_CreatePublicationStmt:
		case T_CreateStatsStmt:
		case T_CreateForeignTableStmt:
		case T_CreateStmt:
		case T_CreateTrigStmt:
		case T_DropStmt:
		case T_IndexStmt:
		case T_RuleStmt:
			ddl = datamap_oids() != NULL && datamap_any_protected();
			break;

		case T_AlterTableStmt:
			/* also of tables whose data map is not loaded yet */
		case T_RenameStmt:
			/* also of tables that are declared only */
			ddl = datamap_oids() != NULL;
			break;

		default:
			break;
	}

	if (ddl)
	{
		stmt = copyObject(stmt);
		relids = utility_before_ddl(stmt);
	}
	if (physical)
		call_next_physical(pstmt, queryString, readOnlyTree, context, params,
						   queryEnv, dest, qc);
	else
		call_next(pstmt, queryString, readOnlyTree, context, params, queryEnv,
				  dest, qc);
	if (relids != NIL)
		utility_after_ddl(stmt, relids);
	if (ddl && IsA(stmt, AlterTableStmt))
		utility_restore_always(stmt);
	utility_note_owners(stmt);
	if (wake)
		keystore_wake_worker();
}

/* A part of the extension cannot go while a table is protected. */
static void
refuse_drop_of_member(Oid class_id, Oid object_id)
{
	const GdprOids *oids = datamap_oids();
	TableMap   *table;

	if (oids == NULL || creating_extension || !datamap_any_protected() ||
		!((class_id == ExtensionRelationId && object_id == oids->extension) ||
		  getExtensionOfObject(class_id, object_id) == oids->extension))
		return;
	table = linitial(datamap_tables(InvalidOid));
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("cannot drop extension gdpr because table \"%s\" is protected",
					get_rel_name(table->relid)),
			 errdetail("Its personal data would be lost with its envelopes."),
			 errhint("First CALL gdpr.unprotect('%s').",
					 datamap_relation_name(table->relid))));
}

/*
 * However it comes about (ALTER TABLE, DROP EXTENSION, DROP SCHEMA … CASCADE):
 * a protected table keeps its envelopes, its key and its personal columns.
 */
static void
refuse_drop(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
			void *arg)
{
	TableMap   *table;
	bool		needed;
	int			i;

	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP || !IsTransactionState())
		return;
	if (sub_id == 0)
		refuse_drop_of_member(class_id, object_id);
	if (class_id != RelationRelationId || sub_id == 0 ||
		(table = datamap_lookup(object_id)) == NULL)
		return;
	needed = sub_id == table->sealed_attnum ||
		datamap_column_at(table, (AttrNumber) sub_id) != NULL;
	for (i = 0; i < table->nkeys; i++)
		needed |= table->keys[i] == sub_id;
	if (needed)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_SEALED),
				 errmsg("cannot drop column \"%s\" of protected table \"%s\"",
						get_attname(object_id, (AttrNumber) sub_id, false),
						get_rel_name(object_id)),
				 errdetail("The sealed values of its rows depend on it."),
				 errhint("First CALL gdpr.unprotect('%s').",
						 datamap_relation_name(table->root->relid))));
}

void
utility_init(void)
{
	prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility_process;
	prev_object_access = object_access_hook;
	object_access_hook = refuse_drop;
	utility_owner_init();
}
