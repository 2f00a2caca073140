/*
 * owner.c
 *		Statements on an application's table, run as its owner:
 *		gdpr.run_as_owner.
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
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "datamap.h"
#include "plans.h"
#include "rewrite.h"

PG_FUNCTION_INFO_V1(gdpr_run_as_owner);

/*
 * gdpr.run_as_owner(relation, statement, number) RETURNS SETOF text
 *
 * Runs one statement, in which $1 is number, as the owner of the relation;
 * tables are seen as they are stored.  The first column of its rows.
 */
Datum
gdpr_run_as_owner(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			type = INT8OID;
	Datum		number;
	char		is_null = 'n';
	char	   *statement;
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
	statement = psprintf(REWRITE_PHYSICAL "%s",
						 text_to_cstring(PG_GETARG_TEXT_PP(1)));
	number = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);

	SPI_connect();
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(datamap_relation_owner(PG_GETARG_OID(0)),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
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
