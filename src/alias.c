/*
 * alias.c
 *		Further numbers of a person: for a category that was forgotten and is
 *		collected anew.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "alias.h"
#include "crypto.h"
#include "datamap.h"
#include "errors.h"
#include "keystore.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_person);
PG_FUNCTION_INFO_V1(gdpr_assert_subject);
PG_FUNCTION_INFO_V1(gdpr_living_subject);

static bool
is_living(uint64 number, int category)
{
	uint8		key[KEYSTORE_KEY_BYTES];
	bool		living = keystore_derive(number, category, 0, key);

	crypto_wipe(key, sizeof(key));
	return living;
}

/*
 * Run the query on gdpr.subject_alias as its owner; the first column of the
 * first row, or 0.  It must not depend on the session's search path: whatever
 * operator or type is found there would run as the owner.
 */
static uint64
run_query(const char *query, int nargs, uint64 person, int category,
		  uint64 number)
{
	Oid			types[3] = {INT8OID, INT2OID, INT8OID};
	Datum		args[3];
	uint64		result = 0;
	bool		isnull;

	args[0] = Int64GetDatum((int64) person);
	args[1] = Int16GetDatum((int16) category);
	args[2] = Int64GetDatum((int64) number);
	SPI_connect();
	if (SPI_execute_with_args(query, nargs, types, args, NULL, false, 1) < 0)
		elog(ERROR, "could not use gdpr.subject_alias");
	if (SPI_tuptable != NULL && SPI_processed > 0)
		result = (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													  SPI_tuptable->tupdesc, 1,
													  &isnull));
	SPI_finish();
	return result;
}

uint64
alias_number(uint64 number, int category)
{
	uint64		person = sealed_person(number);
	uint64		keep = number & KEYSTORE_KEEP_BIT;
	uint64		alias;
	Oid			user;
	int			sec_context;

	if (keystore_life(number) == KEYSTORE_FORGOTTEN)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_FORGOTTEN),
				 errmsg("the person this row belongs to was forgotten"),
				 errhint("Enter the person anew, as a new row. If an older backup brought rows of the forgotten back, remove them first: SELECT gdpr.forget_again();")));

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	alias = run_query("SELECT number FROM gdpr.subject_alias"
					  " WHERE subject OPERATOR(pg_catalog.=) $1"
					  " AND category OPERATOR(pg_catalog.=) $2"
					  " ORDER BY number DESC LIMIT 1", 2, person, category, 0);
	if (alias == 0 || !is_living(alias | keep, category))
	{
		alias = keystore_next_number();
		run_query("INSERT INTO gdpr.subject_alias (subject, category, number)"
				  " VALUES ($1, $2, $3)", 3, person, category, alias);
	}
	SetUserIdAndSecContext(user, sec_context);
	return alias | keep;
}

uint64
alias_person(uint64 number)
{
	Oid			relid = get_relname_relid("subject_alias", datamap_oids()->schema);
	Relation	rel = table_open(relid, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		list_free(RelationGetIndexList(rel));	/* finds the primary key's */
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum((int64) number));
		scan = systable_beginscan(rel, rel->rd_pkindex, true, NULL, 1, &key);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
			number = (uint64) DatumGetInt64(heap_getattr(tuple, 2,
														 RelationGetDescr(rel),
														 &isnull));
		systable_endscan(scan);
	}
	table_close(rel, NoLock);
	return number;
}

/*
 * gdpr.person(number) RETURNS bigint
 */
Datum
gdpr_person(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) alias_person((uint64) PG_GETARG_INT64(0)));
}

static int64
assert_subject(int64 number)
{
	int64		person = (int64) alias_person((uint64) number);

	if (person < (int64) KEYSTORE_FIRST_NUMBER ||
		person > (int64) keystore_high_water())
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no subject " INT64_FORMAT, number),
				 errhint("SELECT gdpr.subject('schema.table', 'key') tells the number of a row.")));
	return person;
}

static int64
number_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject is NULL")));
	return PG_GETARG_INT64(0);
}

/*
 * gdpr.assert_subject(subject) RETURNS bigint
 *
 * The person's number.  no_data_found: it was given to nobody.
 */
Datum
gdpr_assert_subject(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(assert_subject(number_argument(fcinfo)));
}

uint64
alias_living_person(int64 number)
{
	int64		person = assert_subject(number);

	if (keystore_is_forgotten((uint64) person))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_FORGOTTEN),
				 errmsg("person " INT64_FORMAT " was forgotten", person),
				 errhint("Enter the person anew, as a new row.")));
	return (uint64) person;
}

/*
 * gdpr.living_subject(subject) RETURNS bigint
 *
 * The same.  ERRCODE_GDPR_FORGOTTEN: the person was forgotten.
 */
Datum
gdpr_living_subject(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) alias_living_person(number_argument(fcinfo)));
}
