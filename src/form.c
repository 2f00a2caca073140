/*
 * form.c
 *		Rows of a table that is being converted: which form a row takes, so
 *		that UNIQUE holds over both.
 *
 * A unique index knows a value in one form only.  So a row goes into the form
 * that is wanted, unless a row with the same value is there in the other one:
 * then it goes where that is, for the index to refuse it or ON CONFLICT to
 * find it.  The look into the other form is true for as long as it matters
 * because everybody who brings a value, or changes the form of a row, has
 * locked the value before.
 *
 * The locks are advisory ones of a class of our own, by table and part of the
 * value's token: so many at most, however many rows a transaction writes.
 * Whoever converts rows in the background never waits for one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "form.h"
#include "token.h"

#define VALUE_LOCKS			2048	/* per table */
#define VALUE_LOCK_CLASS	3		/* pg_advisory_lock() uses 1 and 2 */

Bitmapset *
form_index_columns(Relation index)
{
	Bitmapset  *attnums = NULL;
	HeapTuple	tuple;
	Datum		expressions;
	bool		isnull;
	int			i;

	for (i = 0; i < index->rd_index->indnkeyatts; i++)
		if (index->rd_index->indkey.values[i] != InvalidAttrNumber)
			attnums = bms_add_member(attnums,
									 index->rd_index->indkey.values[i] -
									 FirstLowInvalidHeapAttributeNumber);
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(RelationGetRelid(index)));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", RelationGetRelid(index));
	expressions = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indexprs,
								  &isnull);
	/* as it is stored: the relation cache would evaluate what it can */
	if (!isnull)
		pull_varattnos(stringToNode(TextDatumGetCString(expressions)), 1,
					   &attnums);
	ReleaseSysCache(tuple);
	return attnums;
}

static bool
contains(const Bitmapset *attnums, AttrNumber attnum)
{
	return bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, attnums);
}

/* The columns of a unique index that has a searchable one, else NULL. */
static Bitmapset *
unique_columns(Relation index, const TableMap *table)
{
	Bitmapset  *attnums;
	int			i;

	if (!index->rd_index->indisunique || !index->rd_index->indisready)
		return NULL;
	attnums = form_index_columns(index);
	for (i = 0; i < table->ncolumns; i++)
		if (table->columns[i].searchable &&
			contains(attnums, table->columns[i].attnum))
			return attnums;
	return NULL;
}

bool
form_can_be_live(Relation rel, const TableMap *table)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *indexes = RelationGetIndexList(rel);
	bool		live = true;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Bitmapset  *attnums = unique_columns(index, table);
		int			i;

		live = live && (attnums == NULL || index->rd_index->indimmediate);
		for (i = 0; i < desc->natts; i++)
			if (TupleDescAttr(desc, i)->attgenerated != '\0' &&
				contains(attnums, i + 1))
				live = false;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return live;
}

/*
 * Unique indexes over searchable columns that a change concerns, and (added to
 * *columns) the columns they have.
 */
static List *
unique_indexes(Relation rel, const TableMap *table, const bool *changed,
			   Bitmapset **columns)
{
	List	   *indexes = RelationGetIndexList(rel);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Bitmapset  *attnums = unique_columns(index, table);
		bool		concerned = attnums != NULL && changed == NULL;
		int			i;

		for (i = 0; changed != NULL && i < RelationGetDescr(rel)->natts; i++)
			concerned = concerned || (changed[i] && contains(attnums, i + 1));
		if (concerned)
		{
			result = lappend_oid(result, lfirst_oid(lc));
			*columns = bms_add_members(*columns, attnums);
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return result;
}

static int
compare_hashes(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Lock the values of the searchable columns among these; in order. */
static bool
lock_values(TableMap *table, const Bitmapset *columns, const Datum *values,
			const bool *isnull, bool wait)
{
	uint32	   *hashes = palloc(sizeof(uint32) * (table->ncolumns + 1));
	int			n = 0;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (column->searchable && contains(columns, column->attnum) &&
			!isnull[att])
			hashes[n++] = token_hash(column, datamap_sealed_form(table),
									 values[att]) % VALUE_LOCKS;
	}
	qsort(hashes, n, sizeof(uint32), compare_hashes);
	for (i = 0; i < n; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, table->relid, hashes[i],
							 VALUE_LOCK_CLASS);
		if (LockAcquire(&tag, ExclusiveLock, false, !wait) ==
			LOCKACQUIRE_NOT_AVAIL)
			return false;
	}
	pfree(hashes);
	return true;
}

bool
form_lock(Relation rel, TableMap *table, const Datum *values,
		  const bool *isnull, bool wait)
{
	Bitmapset  *columns = NULL;

	return unique_indexes(rel, table, NULL, &columns) == NIL ||
		lock_values(table, columns, values, isnull, wait);
}

/*
 * Is there a row in one of the indexes that the row would conflict with, if it
 * were stored in a form?  Waits for those who are writing or deleting it.
 */
static bool
conflicts(Relation rel, TableMap *table, const List *indexes,
		  const Datum *values, const bool *isnull, int form)
{
	TupleDesc	desc = RelationGetDescr(rel);
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ItemPointerData tid;
	bool		found;
	int			i;

	memcpy(slot->tts_values, values, sizeof(Datum) * desc->natts);
	memcpy(slot->tts_isnull, isnull, sizeof(bool) * desc->natts);
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (column->searchable)
			slot->tts_values[att] = physical_value(column, form, values[att],
												   isnull[att],
												   &slot->tts_isnull[att]);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(rel);
	InitResultRelInfo(result, rel, 0, NULL, 0);
	ExecOpenIndices(result, true);
	found = !compat_check_indexes(result, slot, estate, &tid,
								  unconstify(List *, indexes));
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	return found;
}

int
form_choose(Relation rel, TableMap *table, Datum *values, bool *isnull,
			const bool *changed, int wanted)
{
	int			other = wanted == table->form ? table->other_form : table->form;
	Bitmapset  *columns = NULL;
	List	   *indexes;

	if (!datamap_in_transition(table))
		return table->form;
	indexes = unique_indexes(rel, table, changed, &columns);
	if (indexes == NIL)
		return wanted;
	(void) lock_values(table, columns, values, isnull, true);
	if (!conflicts(rel, table, indexes, values, isnull, other))
		return wanted;
	if (conflicts(rel, table, indexes, values, isnull, wanted))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("row conflicts with rows of table \"%s\" that are converted and rows that are not yet",
						RelationGetRelationName(rel)),
				 errhint("The table is being converted: retry the transaction.")));

	/* it changes its form: so all of its values move */
	if (changed != NULL)
	{
		list_free(unique_indexes(rel, table, NULL, &columns));
		(void) lock_values(table, columns, values, isnull, true);
	}
	return other;
}
