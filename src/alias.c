/*
 * alias.c
 *		Numbers of a person.
 *
 * Who has but one number has nothing in gdpr.subject_alias, and is asked for in
 * every decision: two bits for each number tell, once the table was read whole.
 * Until then, each number is looked up, as long as that is cheaper.  The bits
 * are good until the table changes: a trigger on it invalidates its relcache
 * entry, in all sessions and on standbys.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "alias.h"
#include "crypto.h"
#include "datamap.h"
#include "errors.h"
#include "keystore.h"
#include "person_map.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_alias_changed);
PG_FUNCTION_INFO_V1(gdpr_person);
PG_FUNCTION_INFO_V1(gdpr_numbers_of);
PG_FUNCTION_INFO_V1(gdpr_assert_subject);
PG_FUNCTION_INFO_V1(gdpr_living_subject);

/* Columns of gdpr.subject_alias, as in sql/60_forget.sql */
enum AliasColumn
{
	A_NUMBER = 1, A_SUBJECT, A_CATEGORY
};

/* The bits of a number */
#define OF_CATEGORY		1		/* a further one, for a category */
#define OF_MERGE		2		/* merged into another, or another into it */
#define NOT_KNOWN		(-1)

typedef struct Numbers
{
	uint64	   *items;
	int			count;
	int			size;
} Numbers;

/* What the session knows of the table */
static PersonMap *bits = NULL;
static bool bits_complete = false;
static bool bits_too_large = false;
static uint64 bits_version = 0;
static Oid	bits_relid = InvalidOid;
static int64 lookups = 0;

/* ---------- further numbers ---------- */

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

/* ---------- reading the table ---------- */

/* gdpr.subject_alias, or NULL while there is none or no row in it. */
static Relation
open_aliases(void)
{
	Oid			relid = get_relname_relid("subject_alias", datamap_oids()->schema);
	Relation	rel;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table gdpr.subject_alias does not exist"),
				 errhint("ALTER EXTENSION gdpr UPDATE, or install the matching library.")));
	rel = table_open(relid, AccessShareLock);
	if (RelationGetNumberOfBlocks(rel) > 0)
		return rel;
	table_close(rel, NoLock);
	return NULL;
}

static uint64
get_column(Relation rel, HeapTuple tuple, int attnum)
{
	bool		isnull;

	return (uint64) DatumGetInt64(heap_getattr(tuple, attnum,
											   RelationGetDescr(rel), &isnull));
}

static bool
is_merge(Relation rel, HeapTuple tuple)
{
	bool		isnull;

	(void) heap_getattr(tuple, A_CATEGORY, RelationGetDescr(rel), &isnull);
	return isnull;
}

/* The subject in the row of a number; 0: it has none, or of the other kind. */
static uint64
find_subject(Relation rel, uint64 number, bool merge)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;

	list_free(RelationGetIndexList(rel));	/* finds the primary key's */
	ScanKeyInit(&key, A_NUMBER, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) number));
	scan = systable_beginscan(rel, rel->rd_pkindex, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && is_merge(rel, tuple) == merge)
		result = get_column(rel, tuple, A_SUBJECT);
	systable_endscan(scan);
	return result;
}

static void
add_number(Numbers *numbers, uint64 number)
{
	int			i;

	for (i = 0; i < numbers->count; i++)
		if (numbers->items[i] == number)
			return;				/* in a circle, which no merge makes */
	if (numbers->count == numbers->size)
	{
		numbers->size = Max(4, numbers->size * 2);
		numbers->items = numbers->items == NULL ?
			palloc(sizeof(uint64) * numbers->size) :
			repalloc(numbers->items, sizeof(uint64) * numbers->size);
	}
	numbers->items[numbers->count++] = number;
}

/*
 * The numbers that belong to a person's own: those that were merged into it, or
 * the further ones for a category (-1: for any).
 */
static void
add_numbers_below(Numbers *numbers, Relation rel, uint64 subject, bool merged,
				  int category)
{
	Oid			index = get_relname_relid("subject_alias_subject",
										  datamap_oids()->schema);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, A_SUBJECT, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) subject));
	scan = systable_beginscan(rel, index, OidIsValid(index), NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		of = heap_getattr(tuple, A_CATEGORY, RelationGetDescr(rel),
									  &isnull);

		if (isnull == merged &&
			(merged || category < 0 || DatumGetInt16(of) == category))
			add_number(numbers, get_column(rel, tuple, A_NUMBER));
	}
	systable_endscan(scan);
}

static bool
set_bit(uint64 number, int bit)
{
	return person_map_set(bits, number, person_map_get(bits, number) | bit);
}

/* Read all of it. */
static void
load_bits(Relation rel)
{
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(InvalidOid));
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0,
										  NULL);
	HeapTuple	tuple;
	bool		fits = true;

	while (fits && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		uint64		number = get_column(rel, tuple, A_NUMBER);

		CHECK_FOR_INTERRUPTS();
		if (is_merge(rel, tuple))
			fits = set_bit(number, OF_MERGE) &&
				set_bit(get_column(rel, tuple, A_SUBJECT), OF_MERGE);
		else
			fits = set_bit(number, OF_CATEGORY);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (!fits)
		person_map_reset(bits, (Size) work_mem * 1024);
	bits_complete = fits;
	bits_too_large = !fits;
}

/* The bits of a number, NOT_KNOWN: it has to be looked up. */
static int
bits_of(uint64 number)
{
	Relation	rel;

	if (likely(bits_complete && bits_version == datamap_watch(bits_relid)))
		return person_map_get(bits, number);

	rel = open_aliases();
	if (bits == NULL)
		bits = person_map_create(TopMemoryContext);
	if (rel != NULL)
		bits_relid = RelationGetRelid(rel);
	else
		bits_relid = get_relname_relid("subject_alias", datamap_oids()->schema);
	if (bits_version != datamap_watch(bits_relid))
	{
		bits_version = datamap_watch(bits_relid);
		bits_complete = bits_too_large = false;
		lookups = 0;
		person_map_reset(bits, (Size) work_mem * 1024);
	}
	if (rel == NULL)
	{
		bits_complete = true;
		return 0;
	}
	if (!bits_too_large && lookups++ >= RelationGetNumberOfBlocks(rel))
		load_bits(rel);
	table_close(rel, NoLock);
	return bits_complete ? person_map_get(bits, number) : NOT_KNOWN;
}

/* ---------- persons ---------- */

/* The subject in the row of a number, of this kind; 0: there is none. */
static uint64
subject_of(uint64 number, bool merge)
{
	Relation	rel = open_aliases();
	uint64		result = 0;

	if (rel != NULL)
	{
		result = find_subject(rel, number, merge);
		table_close(rel, NoLock);
	}
	return result;
}

uint64
alias_person(uint64 number)
{
	uint64		person;
	int			known;

	AcceptInvalidationMessages();
	known = bits_of(number);
	if (known != NOT_KNOWN && (known & OF_CATEGORY) == 0)
		return number;
	person = subject_of(number, false);
	return person != 0 ? person : number;
}

uint64
alias_survivor(uint64 person)
{
	uint64		next;
	int			steps;

	if (likely(bits_of(person) == 0))
		return person;
	/* a circle, which no merge makes, would have no end */
	for (steps = 0; steps < 1000000 && (next = subject_of(person, true)) != 0; steps++)
		person = next;
	return person;
}

bool
alias_is_same(uint64 a, uint64 b)
{
	return a == b || alias_survivor(a) == alias_survivor(b);
}

/* The survivor's number, and those that were merged into it, at any depth. */
static void
add_merged(Numbers *numbers, Relation rel, uint64 survivor)
{
	int			i;

	add_number(numbers, survivor);
	for (i = 0; i < numbers->count; i++)
		add_numbers_below(numbers, rel, numbers->items[i], true, -1);
}

int
alias_merged(uint64 person, uint64 **numbers)
{
	Relation	rel = bits_of(person) == 0 ? NULL : open_aliases();
	Numbers		all = {0};

	if (rel == NULL)
		add_number(&all, person);
	else
	{
		add_merged(&all, rel, alias_survivor(person));
		table_close(rel, NoLock);
	}
	*numbers = all.items;
	return all.count;
}

/*
 * gdpr.numbers_of(subject, category) RETURNS bigint[]
 *
 * All numbers of the person that a number belongs to, the survivor's first:
 * its own, and the further ones for this category, NULL: for any.
 */
Datum
gdpr_numbers_of(PG_FUNCTION_ARGS)
{
	int			category = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT16(1);
	Numbers		all = {0};
	Relation	rel;
	Datum	   *values;
	uint64		person;
	int			own;
	int			i;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	person = alias_person((uint64) PG_GETARG_INT64(0));
	rel = open_aliases();
	if (rel == NULL)
		add_number(&all, person);
	else
	{
		add_merged(&all, rel, alias_survivor(person));
		own = all.count;
		for (i = 0; i < own; i++)
			add_numbers_below(&all, rel, all.items[i], false, category);
		table_close(rel, NoLock);
	}
	values = palloc(sizeof(Datum) * all.count);
	for (i = 0; i < all.count; i++)
		values[i] = Int64GetDatum((int64) all.items[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, all.count, INT8OID,
										  sizeof(int64), FLOAT8PASSBYVAL,
										  TYPALIGN_DOUBLE));
}

/*
 * gdpr.person(number) RETURNS bigint
 */
Datum
gdpr_person(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) alias_survivor(alias_person((uint64) PG_GETARG_INT64(0))));
}

/*
 * gdpr.alias_changed() RETURNS trigger
 *
 * On gdpr.subject_alias: tells all sessions.
 */
Datum
gdpr_alias_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function was not called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
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
