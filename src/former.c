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
#include "utils/lsyscache.h"

#include "datamap.h"
#include "former.h"
#include "keystore.h"

static Oid	former_relid;
static bool former_any;			/* has the table any? */
static Oid	before_user;
static int	before_context;
static SPIPlanPtr insert_plan;
static SPIPlanPtr take_plan;

/* Whoever converts a row reads and writes gdpr.former_number as its owner. */
static void
become_owner(void)
{
	Oid			relid = get_relname_relid("former_number",
										  datamap_oids()->schema);

	GetUserIdAndSecContext(&before_user, &before_context);
	SetUserIdAndSecContext(datamap_relation_owner(relid),
						   before_context | SECURITY_LOCAL_USERID_CHANGE);
}

static void
become_user(void)
{
	SetUserIdAndSecContext(before_user, before_context);
}

static SPIPlanPtr
prepare(const char *sql, int nargs)
{
	Oid			types[3] = {OIDOID, BYTEAOID, INT8OID};
	SPIPlanPtr	plan;

	become_owner();
	plan = SPI_prepare(sql, nargs, types);
	become_user();
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

	args[0] = ObjectIdGetDatum(former_relid);
	args[1] = PointerGetDatum(key);
	args[2] = Int64GetDatum((int64) number);
	become_owner();
	if (SPI_execute_plan(plan, args, NULL, false, 0) < 0)
		elog(ERROR, "could not use gdpr.former_number");
	become_user();
	if (key != NULL)
		pfree(key);
}

void
former_begin(Oid relid)
{
	former_relid = relid;
	insert_plan = prepare("INSERT INTO gdpr.former_number (relation, row_key, number)"
						  " VALUES ($1, $2, $3) ON CONFLICT (relation, row_key) DO NOTHING", 3);
	take_plan = prepare("DELETE FROM gdpr.former_number"
						  " WHERE relation OPERATOR(pg_catalog.=) $1"
						  " AND row_key OPERATOR(pg_catalog.=) $2"
						  " RETURNING number", 2);
	run(prepare("SELECT 1 FROM gdpr.former_number"
				" WHERE relation OPERATOR(pg_catalog.=) $1 LIMIT 1", 1), NULL, 0);
	former_any = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
}

void
former_end(void)
{
	SPI_freeplan(insert_plan);
	SPI_freeplan(take_plan);
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
	run(take_plan, rowkey, 0);
	if (SPI_processed > 0)
		number = (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													  SPI_tuptable->tupdesc, 1,
													  &isnull));
	SPI_freetuptable(SPI_tuptable);
	return number != 0 && keystore_life(number) != KEYSTORE_FORGOTTEN ? number : 0;
}

uint64
former_number_of(Oid relid, const StringInfo rowkey)
{
	uint64		number;

	SPI_connect();
	former_begin(relid);
	number = former_number(rowkey);
	former_end();
	SPI_finish();
	return number;
}
