/*
 * owner.c
 *		Statements on an application's table, run as its owner:
 *		gdpr.run_as_owner, gdpr.rows_as_owner.
 *
 * What a statement runs on a table besides itself is code of the table's
 * owner: triggers, CHECK expressions, and the functions in index expressions,
 * which the planner evaluates.  The functions of the extension that run as
 * its owner must not run that.  What such code sets is taken back: a search
 * path would be that of the function which goes on, as the extension's owner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "datamap.h"
#include "plans.h"
#include "rewrite.h"

PG_FUNCTION_INFO_V1(gdpr_run_as_owner);
PG_FUNCTION_INFO_V1(gdpr_rows_as_owner);

#define CHUNK_COLUMNS	4		/* of what gdpr.rows_as_owner returns */

/*
 * gdpr.run_as_owner(relation, statement, number or numbers) RETURNS SETOF text
 *
 * Runs one statement, in which $1 is the number, or an array of them, as the
 * owner of the relation; tables are seen as they are stored.  The first column
 * of its rows.
 */
Datum
gdpr_run_as_owner(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 2);
	Datum		number;
	char		is_null = 'n';
	char	   *statement;
	bool		reads;
	Oid			user;
	int			sec_context;
	int			guc_level;
	int			result;
	uint64		i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation or statement is NULL")));
	if (get_rel_name(PG_GETARG_OID(0)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %u does not exist", PG_GETARG_OID(0))));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	statement = text_to_cstring(PG_GETARG_TEXT_PP(1));
	reads = strncmp(statement, "SELECT ", strlen("SELECT ")) == 0;
	statement = psprintf(REWRITE_PHYSICAL "%s", statement);
	if (type != INT8ARRAYOID)
		type = INT8OID;
	number = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);

	SPI_connect();
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	/* what reads leaves nothing behind that would run later, as another */
	SetUserIdAndSecContext(datamap_relation_owner(PG_GETARG_OID(0)),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS |
						   (reads ? SECURITY_RESTRICTED_OPERATION : 0));
	/* with a number it is one that comes again, else it holds some literal */
	if (PG_ARGISNULL(2))
		result = SPI_execute_with_args(statement, 1, &type, &number, &is_null,
									   false, 0);
	else
		result = SPI_execute_plan(plans_get(statement, 1, &type), &number,
								  NULL, false, 0);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	if (result < 0)
		elog(ERROR, "could not run a statement: %s",
			 SPI_result_code_string(result));
	for (i = 0; result == SPI_OK_SELECT && i < SPI_processed; i++)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 1);
		Datum		value = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
		bool		value_isnull = text == NULL;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value,
							 &value_isnull);
	}
	SPI_finish();
	return (Datum) 0;
}

/* One chunk of rows: an array of each column.  NULLs are none of ours. */
static void
put_chunk(ReturnSetInfo *rsinfo, const Oid *types)
{
	Datum		arrays[CHUNK_COLUMNS];
	bool		isnull[CHUNK_COLUMNS] = {false};
	Datum	   *elements = palloc(sizeof(Datum) * SPI_processed);
	bool	   *nulls = palloc(sizeof(bool) * SPI_processed);
	int			c;
	uint64		i;

	for (c = 0; c < CHUNK_COLUMNS; c++)
	{
		int			dims[1] = {(int) SPI_processed};
		int			lbs[1] = {1};
		int16		length;
		bool		byval;
		char		align;

		get_typlenbyvalalign(types[c], &length, &byval, &align);
		for (i = 0; i < SPI_processed; i++)
			elements[i] = SPI_getbinval(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, c + 1, &nulls[i]);
		arrays[c] = PointerGetDatum(construct_md_array(elements, nulls, 1, dims,
													   lbs, types[c], length,
													   byval, align));
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, arrays, isnull);
}

/*
 * gdpr.rows_as_owner(relation, query, chunk,
 *					  OUT rows, OUT numbers, OUT policies, OUT due)
 *
 * The rows of a query, which are (tid, bigint, integer, timestamptz), read as
 * the owner of the relation, tables being seen as they are stored; so many
 * become one row of arrays.  Memory does not grow with the rows.
 */
Datum
gdpr_rows_as_owner(PG_FUNCTION_ARGS)
{
	static const Oid types[CHUNK_COLUMNS] = {TIDOID, INT8OID, INT4OID, TIMESTAMPTZOID};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext chunk_context;
	Portal		portal;
	Oid			user;
	int			sec_context;
	int			guc_level;
	int			c;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, query or chunk is NULL, or chunk is not positive")));
	if (get_rel_name(PG_GETARG_OID(0)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %u does not exist", PG_GETARG_OID(0))));
	InitMaterializedSRF(fcinfo, 0);
	chunk_context = AllocSetContextCreate(CurrentMemoryContext, "gdpr chunk",
										  ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(datamap_relation_owner(PG_GETARG_OID(0)),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS | SECURITY_RESTRICTED_OPERATION);
	portal = SPI_cursor_parse_open(NULL, psprintf(REWRITE_PHYSICAL "%s",
												  text_to_cstring(PG_GETARG_TEXT_PP(1))),
								   &(SPIParseOpenOptions) {
									   .cursorOptions = CURSOR_OPT_NO_SCROLL
								   });
	for (c = 0; c < CHUNK_COLUMNS; c++)
		if (portal->tupDesc->natts != CHUNK_COLUMNS ||
			TupleDescAttr(portal->tupDesc, c)->atttypid != types[c])
			elog(ERROR, "column %d of the query has another type", c + 1);
	for (;;)
	{
		MemoryContext before;

		SPI_cursor_fetch(portal, true, PG_GETARG_INT32(2));
		if (SPI_processed == 0)
			break;
		before = MemoryContextSwitchTo(chunk_context);
		put_chunk(rsinfo, types);
		MemoryContextSwitchTo(before);
		MemoryContextReset(chunk_context);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	SPI_finish();
	return (Datum) 0;
}
