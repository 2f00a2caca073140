/*
 * former.c
 *		Numbers that rows had before unprotect().
 *
 * They stand in gdpr.former_number, by table and row key, while the table is
 * not protected.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "former.h"
#include "keystore.h"

static Oid	former_relid;
static bool former_any;			/* has the table any? */
static Oid	former_user;		/* who may read and write gdpr.former_number */
static SPIPlanPtr insert_plan;
static SPIPlanPtr select_plan;

static SPIPlanPtr
prepare(const char *sql, int nargs)
{
	Oid			types[3] = {OIDOID, BYTEAOID, INT8OID};
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql,
			 SPI_result_code_string(SPI_result));
	return plan;
}

static void
run(SPIPlanPtr plan, const StringInfo rowkey, uint64 number)
{
	Datum		args[3];
	bytea	   *key = rowkey == NULL ? NULL :
		(bytea *) cstring_to_text_with_len(rowkey->data, rowkey->len);
	Oid			user;
	int			sec_context;

	args[0] = ObjectIdGetDatum(former_relid);
	args[1] = PointerGetDatum(key);
	args[2] = Int64GetDatum((int64) number);
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(former_user, sec_context);
	if (SPI_execute_plan(plan, args, NULL, false, 1) < 0)
		elog(ERROR, "could not use gdpr.former_number");
	SetUserIdAndSecContext(user, sec_context);
	if (key != NULL)
		pfree(key);
}

void
former_begin(Oid relid)
{
	former_relid = relid;
	former_user = GetUserId();
	insert_plan = prepare("INSERT INTO gdpr.former_number (relation, row_key, number)"
						  " VALUES ($1, $2, $3) ON CONFLICT (relation, row_key) DO NOTHING", 3);
	select_plan = prepare("SELECT number FROM gdpr.former_number"
						  " WHERE relation OPERATOR(pg_catalog.=) $1"
						  " AND row_key OPERATOR(pg_catalog.=) $2", 2);
	run(prepare("SELECT 1 FROM gdpr.former_number"
				" WHERE relation OPERATOR(pg_catalog.=) $1 LIMIT 1", 1), NULL, 0);
	former_any = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
}

void
former_end(void)
{
	SPI_freeplan(insert_plan);
	SPI_freeplan(select_plan);
}

void
former_remember(const StringInfo rowkey, uint64 number)
{
	run(insert_plan, rowkey, number);
}

uint64
former_number(const StringInfo rowkey)
{
	uint64		number = 0;
	bool		isnull;

	if (!former_any)
		return 0;
	run(select_plan, rowkey, 0);
	if (SPI_processed > 0)
		number = (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													  SPI_tuptable->tupdesc, 1,
													  &isnull));
	SPI_freetuptable(SPI_tuptable);
	return number != 0 && keystore_life(number) != KEYSTORE_FORGOTTEN ? number : 0;
}
