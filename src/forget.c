/*
 * forget.c
 *		What forget() does to rows: gdpr.forget_rows.
 *
 * Whose rows, in which order, and the tombstone are in sql/60_forget.sql.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "datamap.h"
#include "errors.h"
#include "guard.h"
#include "keystore.h"
#include "rewrite.h"

PG_FUNCTION_INFO_V1(gdpr_forget_rows);

/*
 * Which rows: by the person they belong to, or of whom they have values.  A
 * row without a segment of anybody has nothing to erase.
 */
static char *
rows_query(TableMap *table, bool erase, bool one_row)
{
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->relid)),
												  get_rel_name(table->relid));
	const char *whose = erase && table->nlinks > 1 ?
		"gdpr.subject_numbers(gdpr_sealed) OPERATOR(pg_catalog.@>) ARRAY[$1]" :
		"gdpr.subject_number(gdpr_sealed) OPERATOR(pg_catalog.=) $1";
	const char *filled = erase ?
		" AND gdpr.has_values(gdpr_sealed, $1, $2)" : "";
	const char *row = one_row ? " AND ctid OPERATOR(pg_catalog.=) $3" : "";

	if (erase)
		return psprintf(REWRITE_PHYSICAL
						"UPDATE ONLY %s SET gdpr_sealed = gdpr_sealed WHERE %s%s%s",
						name, whose, filled, row);
	return psprintf(REWRITE_PHYSICAL "DELETE FROM ONLY %s WHERE %s%s", name,
					whose, row);
}

/*
 * gdpr.forget_rows(relation, number, category, erase, row) RETURNS bigint
 *
 * Deletes the rows of a person in a protected table, or (erase) removes the
 * person's values from its rows; category NULL: all; row NULL: all rows.
 * Returns how many rows.
 */
Datum
gdpr_forget_rows(PG_FUNCTION_ARGS)
{
	Oid			types[3] = {INT8OID, INT2OID, TIDOID};
	Datum		args[3];
	char		nulls[] = "   ";
	TableMap   *table;
	GuardMode	forget = {GUARD_FORGET, 0, KEYSTORE_ALL_CATEGORIES, false};
	GuardMode	before;
	volatile int64 rows = 0;
	bool		one_row = !PG_ARGISNULL(4);

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, number or erase is NULL")));
	table = datamap_lookup(PG_GETARG_OID(0));
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("relation %u is not protected", PG_GETARG_OID(0))));
	forget.person = (uint64) PG_GETARG_INT64(1);
	if (!PG_ARGISNULL(2))
		forget.category = PG_GETARG_INT16(2);
	forget.erase = PG_GETARG_BOOL(3);
	args[0] = PG_GETARG_DATUM(1);
	args[1] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	nulls[1] = PG_ARGISNULL(2) ? 'n' : ' ';
	args[2] = one_row ? PG_GETARG_DATUM(4) : (Datum) 0;

	before = guard_set_mode(forget);
	PG_TRY();
	{
		SPI_connect();
		if (SPI_execute_with_args(rows_query(table, forget.erase, one_row),
								  one_row ? 3 : 2, types, args, nulls, false,
								  0) < 0)
			elog(ERROR, "could not forget rows");
		rows = (int64) SPI_processed;
		SPI_finish();
	}
	PG_FINALLY();
	{
		(void) guard_set_mode(before);
	}
	PG_END_TRY();
	PG_RETURN_INT64(rows);
}
