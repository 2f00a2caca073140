/*
 * export.c
 *		What an export of a person has of its data: rows of a protected table,
 *		gdpr.export_rows, and their history, gdpr.export_changes.
 *
 * An export does not depend on what its caller may see: the right of the
 * person is the ground.  So the decision has a mode of its own (policy.h), in
 * which it reveals what is sealed under this person's numbers and nothing else.
 * It is on while the one query on a table runs: not while that is planned, nor in
 * what it calls, nor when values become JSON, since in all of these code of others
 * can run.  What else is in an export is in sql/75_export.sql.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "alias.h"
#include "audit.h"
#include "compat.h"
#include "datamap.h"
#include "errors.h"
#include "plans.h"
#include "policy.h"
#include "rewrite.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(gdpr_export_rows);
PG_FUNCTION_INFO_V1(gdpr_export_changes);

#define ROWS_AT_ONCE	1000

static void
append_columns(StringInfo query, Datum *names, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		appendStringInfo(query, "%sx.%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(*DatumGetName(names[i]))));
}

/* Rows of a table that meet a condition, in the order of their key. */
static char *
rows_query(const TableMap *table, ArrayType *columns, bool only,
		   const char *condition)
{
	StringInfoData query;
	Datum	   *names;
	int			n;
	int			i;

	deconstruct_array(columns, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &names, NULL, &n);
	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	append_columns(&query, names, n);
	appendStringInfo(&query, " FROM %s%s x WHERE %s", only ? "ONLY " : "",
					 datamap_relation_name(table->relid), condition);
	for (i = 0; i < table->nkeys; i++)
		appendStringInfo(&query, "%sx.%s", i > 0 ? ", " : " ORDER BY ",
						 quote_identifier(get_attname(table->relid,
													  table->keys[i], false)));
	return query.data;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

static void
set_numbers(PolicyExport *export, ArrayType *numbers)
{
	Size		size;

	if (ARR_NDIM(numbers) != 1 || ARR_DIMS(numbers)[0] < 1 || ARR_HASNULL(numbers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no numbers")));
	export->count = ARR_DIMS(numbers)[0];
	size = sizeof(uint64) * export->count;
	export->numbers = memcpy(palloc(size), ARR_DATA_PTR(numbers), size);
	qsort(unconstify(uint64 *, export->numbers), export->count, sizeof(uint64),
		  compare_numbers);
}

/* One row, as PostgreSQL writes it in JSON. */
static void
append_row(StringInfo rows, HeapTuple tuple, TupleDesc desc)
{
	Datum		row = heap_copy_tuple_as_datum(tuple, desc);
	text	   *json = DatumGetTextPP(DirectFunctionCall1(row_to_json, row));

	appendStringInfoString(rows, rows->len == 0 ? "[\n" : ",\n");
	appendBinaryStringInfo(rows, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
}

/* The next rows; for them alone the decision is that of the export. */
static void
fetch_exported(Portal portal, PolicyExport export)
{
	PolicyExport before = policy_set_export(export);

	PG_TRY();
	{
		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
	}
	PG_FINALLY();
	{
		(void) policy_set_export(before);
	}
	PG_END_TRY();
}

static void
append_rows(StringInfo rows, const char *query, Datum numbers,
			PolicyExport export)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "gdpr export row",
													  ALLOCSET_DEFAULT_SIZES);
	Oid			type = INT8ARRAYOID;
	Portal		portal;
	uint64		i;

	portal = SPI_cursor_open(NULL, plans_get(query, 1, &type), &numbers, NULL,
							 true);
	for (;;)
	{
		fetch_exported(portal, export);
		if (SPI_processed == 0)
			break;
		(void) BlessTupleDesc(SPI_tuptable->tupdesc);
		for (i = 0; i < SPI_processed; i++)
		{
			MemoryContext before = MemoryContextSwitchTo(row_context);

			append_row(rows, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			MemoryContextSwitchTo(before);
			MemoryContextReset(row_context);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(row_context);
}

static TableMap *
exported_table(Oid relid)
{
	TableMap   *table = datamap_lookup(relid);

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("relation %u is not protected", relid)));
	/* tokens and placeholders would be taken for values */
	if (rewrite_is_physical())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this session sees protected tables as they are stored"),
				 errhint("RESET gdpr.physical, and do not export through a replication connection.")));
	return table;
}

/*
 * gdpr.export_rows(relation, columns, numbers, only, condition, masks) RETURNS json
 *
 * An array of the rows x of a protected table that meet a condition, in which
 * $1 is numbers, as objects of these columns; NULL: there are none.  Of values,
 * those that are sealed under one of the numbers: the person's, and those of
 * rows that it owns with others; other values are masked (masks), else NULL.
 * only: not those of its parts.  As the table's owner, whom its policies do not
 * concern.  ERRCODE_GDPR_DAMAGED.
 */
Datum
gdpr_export_rows(PG_FUNCTION_ARGS)
{
	PolicyExport export = {.caller = GetOuterUserId(),.depth = statement_depth() + 1};
	StringInfoData rows;
	TableMap   *table;
	ArrayType  *numbers;
	char	   *query;
	Oid			user;
	int			sec_context;
	int			guc_level;
	int			i;

	for (i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an argument is NULL")));
	table = exported_table(PG_GETARG_OID(0));
	if (ARR_NDIM(PG_GETARG_ARRAYTYPE_P(1)) != 1 || ARR_HASNULL(PG_GETARG_ARRAYTYPE_P(1)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no columns")));
	numbers = PG_GETARG_ARRAYTYPE_P(2);
	set_numbers(&export, numbers);
	export.masks = PG_GETARG_BOOL(5);
	query = rows_query(table, PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_BOOL(3),
					   text_to_cstring(PG_GETARG_TEXT_PP(4)));
	initStringInfo(&rows);

	SPI_connect();
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(datamap_relation_owner(table->relid),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	append_rows(&rows, query, PointerGetDatum(numbers), export);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	SPI_finish();

	if (rows.len == 0)
		PG_RETURN_NULL();
	appendStringInfoString(&rows, "\n]");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(rows.data, rows.len));
}

/*
 * gdpr.export_changes(subject) RETURNS SETOF record
 *
 * gdpr.changes, with the values that are the person's.
 */
Datum
gdpr_export_changes(PG_FUNCTION_ARGS)
{
	PolicyExport export = {.caller = GetOuterUserId(),.depth = statement_depth()};
	PolicyExport before;
	uint64	   *numbers;
	Datum		result = (Datum) 0;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject is NULL")));
	export.count = alias_merged(alias_person((uint64) PG_GETARG_INT64(0)), &numbers);
	qsort(numbers, export.count, sizeof(uint64), compare_numbers);
	export.numbers = numbers;
	before = policy_set_export(export);
	PG_TRY();
	{
		result = gdpr_changes(fcinfo);
	}
	PG_FINALLY();
	{
		(void) policy_set_export(before);
	}
	PG_END_TRY();
	return result;
}
