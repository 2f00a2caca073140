/*
 * forget.c
 *		What forget() does to rows: gdpr.forget_rows; the retention run:
 *		gdpr.expire_rows; and which rows an older backup brought back of those
 *		whose keys are gone: gdpr.lost_keys.
 *
 * Whose rows, in which order, and the tombstone are in sql/60_forget.sql;
 * which rows are due, in sql/80_retention.sql.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "alias.h"
#include "crypto.h"
#include "datamap.h"
#include "errors.h"
#include "guard_mode.h"
#include "keystore.h"
#include "plans.h"
#include "provenance.h"
#include "rewrite.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_forget_rows);
PG_FUNCTION_INFO_V1(gdpr_expire_rows);
PG_FUNCTION_INFO_V1(gdpr_clear_links);
PG_FUNCTION_INFO_V1(gdpr_hold_rows);
PG_FUNCTION_INFO_V1(gdpr_new_number);
PG_FUNCTION_INFO_V1(gdpr_lost_keys);
PG_FUNCTION_INFO_V1(gdpr_key_is_lost);

/*
 * Erases the values of persons in rows of whomever; returns of whom for each.
 */
static char *
values_query(const char *name, bool one_row, bool some)
{
	return psprintf(REWRITE_PHYSICAL
					"UPDATE ONLY %s u SET gdpr_sealed = u.gdpr_sealed"
					" FROM (SELECT x.ctid AS place, pg_catalog.array_agg(n.number) AS numbers"
					" FROM ONLY %s x, pg_catalog.unnest(gdpr.subject_numbers(x.gdpr_sealed)) n(number)"
					" WHERE gdpr.subject_numbers(x.gdpr_sealed) OPERATOR(pg_catalog.&&) $1"
					" AND n.number OPERATOR(pg_catalog.=) ANY ($1)"
					" AND gdpr.has_values(x.gdpr_sealed, n.number, $2)%s"
					" GROUP BY x.ctid%s) w"
					" WHERE u.ctid OPERATOR(pg_catalog.=) w.place RETURNING w.numbers",
					name, name,
					one_row ? " AND x.ctid OPERATOR(pg_catalog.=) $3" : "",
					some ? " LIMIT $4" : "");
}

/*
 * Which rows: by the person they belong to, or of whom they have values.  A
 * row without a segment of anybody has nothing to erase.  Returns whose they
 * are.
 */
static char *
rows_query(TableMap *table, bool erase, bool one_row, bool some)
{
	char	   *name = datamap_relation_name(table->relid);
	const char *filled = erase || some ?
		" AND gdpr.has_values(gdpr_sealed, gdpr.subject_number(gdpr_sealed), $2)" : "";
	const char *row = one_row ? " AND ctid OPERATOR(pg_catalog.=) $3" : "";
	char	   *condition = psprintf("gdpr.subject_number(gdpr_sealed) OPERATOR(pg_catalog.=) ANY ($1)%s%s",
									 filled, row);

	if (erase && table->nlinks > 1)
		return values_query(name, one_row, some);
	if (some)
		condition = psprintf("ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT ctid FROM ONLY %s WHERE %s LIMIT $4))",
							 name, condition);
	return psprintf(erase ? REWRITE_PHYSICAL
					"UPDATE ONLY %s SET gdpr_sealed = gdpr_sealed WHERE %s"
					" RETURNING gdpr.subject_number(gdpr_sealed)" :
					REWRITE_PHYSICAL "DELETE FROM ONLY %s WHERE %s"
					" RETURNING gdpr.subject_number(gdpr_sealed)",
					name, condition);
}

/* A deferrable constraint, and a table on which it has triggers */
typedef struct Deferrable
{
	Oid			relid;
	Oid			constraint;
	bool		internal;		/* triggers of a foreign key, or the like */
} Deferrable;

/* All there are; void when a constraint changes, or (-1) if an error came. */
static Deferrable *deferrables = NULL;
static int	ndeferrables = -1;
static bool deferrables_valid = false;

/* Those that wait for the end of the transaction */
typedef struct Deferred
{
	char	   *names;			/* NULL: none */
	char	   *again;			/* those to be deferred again, NULL: none */
	Oid			table;			/* one with a trigger of the application */
} Deferred;

static void
forget_deferrables(Datum arg, int cacheid, uint32 hashvalue)
{
	deferrables_valid = false;
}

static void
find_deferrables(void)
{
	static const char *const query =
		"SELECT DISTINCT tgrelid, tgconstraint, tgisinternal"
		" FROM pg_catalog.pg_trigger WHERE tgdeferrable";
	static bool registered = false;
	uint64		i;

	if (!registered)
		CacheRegisterSyscacheCallback(CONSTROID, forget_deferrables, (Datum) 0);
	registered = true;
	if (deferrables_valid && ndeferrables >= 0)
		return;
	deferrables_valid = true;	/* unless one changes from now on */
	ndeferrables = -1;
	/* with a snapshot of now: somebody may have made one a moment ago */
	if (SPI_execute_plan(plans_get(query, 0, NULL), NULL, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for deferrable constraints");
	if (deferrables != NULL)
		pfree(deferrables);
	deferrables = NULL;
	deferrables = MemoryContextAlloc(TopMemoryContext, sizeof(Deferrable) * (SPI_processed + 1));
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Deferrable *item = &deferrables[i];

		item->relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		item->constraint = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		item->internal = DatumGetBool(SPI_getbinval(row, desc, 3, &isnull));
	}
	ndeferrables = (int) SPI_processed;
	SPI_freetuptable(SPI_tuptable);
}

static char *
append_name(char *names, char *name)
{
	return names == NULL ? name : psprintf("%s, %s", names, name);
}

/*
 * Others of the same name in the schema, which SET CONSTRAINTS takes as well,
 * may be not deferrable, and an error: then it stays immediate.
 */
static void
add_deferred(Deferred *deferred, Oid constraint)
{
	static const char *const query =
		"SELECT pg_catalog.format('%I.%I', n.nspname, c.conname), pg_catalog.bool_and(o.condeferrable)"
		" FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.connamespace"
		" JOIN pg_catalog.pg_constraint o ON o.connamespace OPERATOR(pg_catalog.=) c.connamespace"
		" AND o.conname OPERATOR(pg_catalog.=) c.conname"
		" WHERE c.oid OPERATOR(pg_catalog.=) $1 GROUP BY n.nspname, c.conname";
	Oid			type = OIDOID;
	Datum		arg = ObjectIdGetDatum(constraint);
	bool		isnull;
	char	   *name;

	if (SPI_execute_plan(plans_get(query, 1, &type), &arg, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not look for constraint %u", constraint);
	name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	deferred->names = append_name(deferred->names, name);
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
		deferred->again = append_name(deferred->again, name);
}

static Deferred
deferred_triggers(void)
{
	Deferred	result = {NULL, NULL, InvalidOid};
	List	   *constraints = NIL;
	ListCell   *lc;
	int			i;

	find_deferrables();
	for (i = 0; i < ndeferrables; i++)
	{
		if (!AfterTriggerPendingOnRel(deferrables[i].relid))
			continue;
		constraints = list_append_unique_oid(constraints, deferrables[i].constraint);
		if (!deferrables[i].internal)
			result.table = deferrables[i].relid;
	}
	foreach(lc, constraints)
		add_deferred(&result, lfirst_oid(lc));
	return result;
}

static void
set_constraints(const char *names, const char *when)
{
	if (names != NULL &&
		SPI_execute(psprintf("SET CONSTRAINTS %s %s", names, when), false, 0) < 0)
		elog(ERROR, "could not set constraints");
}

/* What the caller has queued is not the owner's to run. */
static void
require_nothing_deferred(void)
{
	Deferred	deferred = deferred_triggers();

	if (OidIsValid(deferred.table))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("deferred triggers of table %s wait for the end of this transaction",
						datamap_relation_name(deferred.table)),
				 errdetail("Those of rows that are forgotten run at once, as the owner of their table; these are not to run with them."),
				 errhint("First SET CONSTRAINTS ALL IMMEDIATE, or COMMIT.")));
}

/*
 * Deferred triggers run as whoever commits: what the owner's code has queued
 * runs now, as the owner.  Afterwards they are deferred again.  Nobody can drop
 * these constraints meanwhile: the rows that queued them hold a lock.
 */
static char *
run_deferred(void)
{
	char	   *again = NULL;
	char	   *before = NULL;
	Deferred	deferred;

	/*
	 * A trigger can queue others, of constraints that are deferred still; what
	 * an outer statement has queued is not to run before that ends.
	 */
	while ((deferred = deferred_triggers()).names != NULL &&
		   (before == NULL || strcmp(deferred.names, before) != 0))
	{
		before = deferred.names;
		set_constraints(before, "IMMEDIATE");
		if (deferred.again != NULL)
			again = append_name(again, deferred.again);
	}
	return again;
}

/*
 * The search path for triggers, which run as the table's owner: that of a new
 * session of the owner, as far as the catalog tells.  The caller could have
 * the owner's code call functions of his own by a search path of his, so it
 * must not matter, unless he can be the owner anyway.  SPI is connected.
 */
static const char *
owner_search_path(Oid owner)
{
	Oid			types[2] = {OIDOID, OIDOID};
	Datum		args[2] = {ObjectIdGetDatum(owner), ObjectIdGetDatum(MyDatabaseId)};
	const char *query = "SELECT pg_catalog.substr(c, 13)"
		" FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c"
		" WHERE s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[$1, 0::pg_catalog.oid])"
		" AND s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[$2, 0::pg_catalog.oid])"
		" AND pg_catalog.starts_with(c, 'search_path=')"
		" ORDER BY s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid,"
		" s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid";

	if (SPI_execute_plan(plans_get(query, 2, types), args, NULL, true, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not look for the search path");
	if (SPI_processed > 0)
		return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (has_privs_of_role(GetSessionUserId(), owner))
		return pstrdup(GetConfigOptionResetString("search_path"));
	return "\"$user\", public";
}

/* A statement on a table, its parameters, and what the guard is told of it */
typedef struct Work
{
	TableMap   *table;
	GuardMode	mode;
	const char *query;
	int			nargs;
	Oid			types[4];
	Datum		args[4];
	bool		nulls[4];
	uint64	   *numbers;		/* of persons, sorted; NULL if it is not about
								 * some */
	int			nnumbers;
	int64	   *rows;			/* of each of them */
} Work;

/* ---------- counting rows ---------- */

/* Takes rows that a statement returns, whose first column says whose they are. */
typedef struct CountReceiver
{
	DestReceiver pub;
	Work	   *work;
	bool		array;			/* one number, or several */
} CountReceiver;

static int
compare_numbers(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

static void
count_number(Work *work, Datum value)
{
	uint64		number = (uint64) DatumGetInt64(value);
	uint64	   *found = bsearch(&number, work->numbers, work->nnumbers,
								sizeof(uint64), compare_numbers);

	if (found != NULL)
		work->rows[found - work->numbers]++;
}

static void
count_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	((CountReceiver *) self)->array =
		TupleDescAttr(desc, 0)->atttypid == INT8ARRAYOID;
}

static bool
count_row(TupleTableSlot *slot, DestReceiver *self)
{
	CountReceiver *receiver = (CountReceiver *) self;
	bool		isnull;
	Datum		value = slot_getattr(slot, 1, &isnull);

	if (isnull)
		return true;
	if (receiver->array)
	{
		ArrayType  *array = DatumGetArrayTypeP(value);
		Datum	   *elements;
		int			count;

		deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &elements, NULL, &count);
		while (count > 0)
			count_number(receiver->work, elements[--count]);
		pfree(elements);
		if (PointerGetDatum(array) != value)
			pfree(array);
	}
	else
		count_number(receiver->work, value);
	return true;
}

static void
count_nothing(DestReceiver *self)
{
}

/* Numbers of an array argument, sorted. */
static uint64 *
sorted_numbers(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	uint64	   *numbers;
	int			count;
	int			i;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elements, &nulls, &count);
	numbers = palloc(sizeof(uint64) * Max(count, 1));
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a subject number is NULL")));
		if (DatumGetInt64(elements[i]) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("subject number is out of range")));
		numbers[i] = (uint64) DatumGetInt64(elements[i]);
	}
	qsort(numbers, count, sizeof(uint64), compare_numbers);
	*n = count == 0 ? 0 :
		(int) qunique(numbers, count, sizeof(uint64), compare_numbers);
	return numbers;
}

/* The persons it is about, from an array argument. */
static void
set_numbers(Work *work, ArrayType *array)
{
	work->numbers = sorted_numbers(array, &work->nnumbers);
	work->rows = palloc0(sizeof(int64) * Max(work->nnumbers, 1));
	work->mode.persons = work->numbers;
	work->mode.npersons = work->nnumbers;
	work->mode.alone = work->nnumbers == 1 ? work->numbers[0] : 0;
	work->args[0] = PointerGetDatum(array);
}

/* The result: a row (number, rows) for each of them that has some. */
static void
return_counts(FunctionCallInfo fcinfo, Work *work)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			i;

	for (i = 0; i < work->nnumbers; i++)
	{
		Datum		values[2] = {Int64GetDatum((int64) work->numbers[i]),
								 Int64GetDatum(work->rows[i])};
		bool		nulls[2] = {false, false};

		if (work->rows[i] > 0)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
	}
}

/* ---------- running ---------- */

/* How many rows. */
static int64
execute_work(Work *work)
{
	SPIPlanPtr	plan = plans_get(work->query, work->nargs, work->types);
	ParamListInfo params = makeParamList(work->nargs);
	CountReceiver receiver = {{count_row, count_startup, count_nothing,
	count_nothing, DestNone}, work, false};
	SPIExecuteOptions options = {.params = params};
	int			i;

	if (work->numbers != NULL)
		options.dest = &receiver.pub;
	for (i = 0; i < work->nargs; i++)
	{
		params->params[i].value = work->args[i];
		params->params[i].isnull = work->nulls[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = work->types[i];
	}
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "could not forget rows");
	return (int64) SPI_processed;
}

/*
 * Runs it as the table's owner, with the owner's search path; how many rows.
 * SPI is connected.
 */
static int64
run_work(Work *work)
{
	Oid			owner = datamap_relation_owner(work->table->relid);
	const char *search_path = owner_search_path(owner);
	volatile int64 rows = 0;
	char	   *volatile again = NULL;
	GuardMode	before;
	Oid			user;
	int			sec_context;
	int			guc_level;

	require_nothing_deferred();
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	before = guard_set_mode(work->mode);
	PG_TRY();
	{
		/* triggers of the table run, which the caller need not trust */
		SetUserIdAndSecContext(owner, sec_context |
							   SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_NOFORCE_RLS);
		(void) set_config_option("search_path", search_path, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
		rows = execute_work(work);
		again = run_deferred();
	}
	PG_FINALLY();
	{
		(void) guard_set_mode(before);
		SetUserIdAndSecContext(user, sec_context);
	}
	PG_END_TRY();
	AtEOXact_GUC(false, guc_level);	/* what they set is not for our caller */
	set_constraints(again, "DEFERRED");
	return rows;
}

static TableMap *
protected_table(Oid relid)
{
	TableMap   *table = datamap_lookup(relid);

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 get_rel_name(relid) == NULL ?
				 errmsg("relation %u does not exist", relid) :
				 errmsg("table %s is not protected",
						datamap_relation_name(relid))));
	return table;
}

/*
 * gdpr.forget_rows(relation, numbers, category, erase, row, most, leavers,
 *					OUT number, OUT rows)
 *
 * Deletes the rows of persons in a protected table, or (erase) removes the
 * persons' values from its rows; category NULL: all; row NULL: all rows; most:
 * so many of those that have values, NULL: all of them; leavers: these persons,
 * and others whose rows go, too, NULL: no others.  Returns how many rows of whom.  As the table's owner, with the owner's search path; after a
 * deletion, deferred foreign keys to the table have been checked, and are
 * deferred again.
 */
Datum
gdpr_forget_rows(PG_FUNCTION_ARGS)
{
	Work		work = {.nargs = 4, .types = {INT8ARRAYOID, INT2OID, TIDOID, INT8OID}};
	bool		one_row = !PG_ARGISNULL(4);

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, numbers or erase is NULL")));
	InitMaterializedSRF(fcinfo, 0);
	work.table = protected_table(PG_GETARG_OID(0));
	work.mode.task = GUARD_FORGET;
	set_numbers(&work, PG_GETARG_ARRAYTYPE_P(1));
	if (work.nnumbers == 0)
		return (Datum) 0;
	if (!PG_ARGISNULL(6))
		work.mode.persons = sorted_numbers(PG_GETARG_ARRAYTYPE_P(6), &work.mode.npersons);
	work.mode.category = PG_ARGISNULL(2) ? KEYSTORE_ALL_CATEGORIES : PG_GETARG_INT16(2);
	work.mode.erase = PG_GETARG_BOOL(3);
	work.args[1] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	work.nulls[1] = PG_ARGISNULL(2);
	work.args[2] = one_row ? PG_GETARG_DATUM(4) : (Datum) 0;
	work.nulls[2] = !one_row;
	work.args[3] = PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5);
	work.nulls[3] = PG_ARGISNULL(5);

	SPI_connect();
	work.query = rows_query(work.table, work.mode.erase, one_row, !PG_ARGISNULL(5));
	(void) run_work(&work);
	return_counts(fcinfo, &work);
	SPI_finish();
	return (Datum) 0;
}

/*
 * gdpr.expire_rows(relation, category, erase, rows) RETURNS bigint
 *
 * Deletes rows of a protected table, whosever they are, or (erase) removes the
 * values from them that are in one category; NULL: all.  Rows of restricted
 * persons are an error, and so are rows that a deletion would take with it and
 * that may have to stay (require_not_kept() in guard.c).  Returns how many
 * rows.  As the table's owner; all deferred constraints have been checked.
 */
Datum
gdpr_expire_rows(PG_FUNCTION_ARGS)
{
	Work		work = {.types = {TIDARRAYOID, INT2OID}};
	const char *name;
	int64		rows;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, erase or rows is NULL")));
	work.table = protected_table(PG_GETARG_OID(0));
	work.mode.task = GUARD_FORGET;
	work.mode.category = PG_ARGISNULL(1) ? KEYSTORE_ALL_CATEGORIES : PG_GETARG_INT16(1);
	work.mode.erase = PG_GETARG_BOOL(2);
	work.args[0] = PG_GETARG_DATUM(3);
	work.args[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	work.nulls[1] = PG_ARGISNULL(1);
	work.nargs = work.mode.erase ? 2 : 1;
	name = datamap_relation_name(work.table->relid);

	SPI_connect();
	work.query = psprintf(work.mode.erase ? REWRITE_PHYSICAL
						  "UPDATE ONLY %s SET gdpr_sealed = gdpr_sealed"
						  " WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)"
						  " AND gdpr.has_values(gdpr_sealed, NULL, $2)" :
						  REWRITE_PHYSICAL "DELETE FROM ONLY %s"
						  " WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)", name);
	rows = run_work(&work);
	SPI_finish();
	PG_RETURN_INT64(rows);
}

/*
 * gdpr.clear_links(relation, numbers, statement, OUT number, OUT rows)
 *
 * Runs an UPDATE, in which $1 are persons, that takes these out of rows of
 * others, also of restricted ones, and returns for each row whom; how many
 * rows of whom.  As the table's owner.
 */
Datum
gdpr_clear_links(PG_FUNCTION_ARGS)
{
	Work		work = {.nargs = 1, .types = {INT8ARRAYOID}};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, numbers or statement is NULL")));
	InitMaterializedSRF(fcinfo, 0);
	work.table = protected_table(PG_GETARG_OID(0));
	work.mode.task = GUARD_FORGET;
	set_numbers(&work, PG_GETARG_ARRAYTYPE_P(1));
	if (work.nnumbers == 0)
		return (Datum) 0;
	work.mode.category = KEYSTORE_ALL_CATEGORIES;
	SPI_connect();
	work.query = psprintf(REWRITE_PHYSICAL "%s", text_to_cstring(PG_GETARG_TEXT_PP(2)));
	(void) run_work(&work);
	return_counts(fcinfo, &work);
	SPI_finish();
	return (Datum) 0;
}

/*
 * gdpr.hold_rows(relation, person, number, numbers, row) RETURNS bigint
 *
 * Seals rows of a person in a protected table anew, under another number: its
 * own ones, or (numbers) those that hold values under one of these numbers,
 * which are all the person's; row: one row.  How many.  Rows of tables that
 * belong to them follow.
 */
Datum
gdpr_hold_rows(PG_FUNCTION_ARGS)
{
	Work		work = {.nargs = 3, .types = {INT8OID, INT8ARRAYOID, TIDOID}};
	int64		rows;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, person or number is NULL")));
	work.table = protected_table(PG_GETARG_OID(0));
	work.mode.task = GUARD_RELINK;
	work.mode.from = (uint64) PG_GETARG_INT64(1);
	work.mode.number = alias_living_person(PG_GETARG_INT64(2));
	work.args[0] = PG_GETARG_DATUM(1);
	work.args[1] = PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3);
	work.nulls[1] = PG_ARGISNULL(3);
	work.args[2] = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
	work.nulls[2] = PG_ARGISNULL(4);
	SPI_connect();
	work.query = psprintf(REWRITE_PHYSICAL
						  "UPDATE ONLY %s SET gdpr_sealed = gdpr_sealed WHERE %s%s",
						  datamap_relation_name(work.table->relid),
						  PG_ARGISNULL(3) ?
						  "gdpr.subject_number(gdpr_sealed) OPERATOR(pg_catalog.=) $1" :
						  "gdpr.subject_numbers(gdpr_sealed) OPERATOR(pg_catalog.&&) $2",
						  PG_ARGISNULL(4) ? "" : " AND ctid OPERATOR(pg_catalog.=) $3");
	rows = run_work(&work);
	SPI_finish();
	PG_RETURN_INT64(rows);
}

/*
 * gdpr.new_number(separated) RETURNS bigint
 *
 * A number that nobody has had; separated: for rows that were another's, which
 * the transaction's provenance tells.  ERRCODE_GDPR_KEYSTORE_UNAVAILABLE.
 */
Datum
gdpr_new_number(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) (PG_GETARG_BOOL(0) ?
							 provenance_new_number(PROVENANCE_SEPARATED) :
							 keystore_next_number()));
}

static bool
key_is_lost(uint64 number, int category)
{
	uint8		key[KEYSTORE_KEY_BYTES];

	/* a month that is over is no erasure */
	if (!keystore_derive(number, category, 0, key))
		return true;
	crypto_wipe(key, sizeof(key));
	return false;
}

/*
 * gdpr.key_is_lost(number, category) RETURNS boolean
 *
 * Does the keystore serve no key of a number, or none of one category of it?
 */
Datum
gdpr_key_is_lost(PG_FUNCTION_ARGS)
{
	uint64		number;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	number = (uint64) PG_GETARG_INT64(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_BOOL(keystore_life(number) == KEYSTORE_FORGOTTEN);
	if (PG_GETARG_INT16(1) < 0 || PG_GETARG_INT16(1) >= DATAMAP_CATEGORIES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no category %d", PG_GETARG_INT16(1))));
	PG_RETURN_BOOL(key_is_lost(number, PG_GETARG_INT16(1)));
}

/*
 * gdpr.lost_keys(envelope, OUT number, OUT category, OUT has_values)
 *
 * The numbers in an envelope whose keys the keystore does not have: all of
 * them (category NULL), or those of one category.  has_values: there is a
 * segment under that key; the row's own number is told without one, too.
 */
Datum
gdpr_lost_keys(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	const uint8 *buf = (uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	size_t		offset = 0;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EnvelopeHeader header;
	EnvelopeSegment segment;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	bool		own = false;

	InitMaterializedSRF(fcinfo, 0);
	if (!envelope_read_header(buf, len, &header))
		return (Datum) 0;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		if (!key_is_lost(segment.number, segment.category))
			continue;
		nulls[1] = keystore_life(segment.number) == KEYSTORE_FORGOTTEN;
		own |= segment.number == header.number && nulls[1];
		values[0] = Int64GetDatum((int64) sealed_person(segment.number));
		values[1] = Int16GetDatum((int16) segment.category);
		values[2] = BoolGetDatum(true);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	if (!own && keystore_life(header.number) == KEYSTORE_FORGOTTEN)
	{
		nulls[1] = true;
		values[0] = Int64GetDatum((int64) sealed_person(header.number));
		values[2] = BoolGetDatum(false);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
