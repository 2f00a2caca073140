/*
 * convert.c
 *		Sealing a table that holds data, and giving the data back.
 *
 * convert_row() does it with one row, for transition.c too.
 *
 * The table is written anew, as ALTER TABLE does it, under an exclusive lock:
 * no dead row, index entry or TOAST chunk with a value stays behind, no
 * trigger fires, and the indexes are built on what is stored then.  protect
 * and unprotect in sql/50_protect.sql do the rest.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_statistic_ext_data.h"
#include "commands/cluster.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "alias.h"
#include "audit.h"
#include "compat.h"
#include "convert.h"
#include "errors.h"
#include "form.h"
#include "former.h"
#include "keystore.h"
#include "provenance.h"
#include "row.h"
#include "schema_check.h"
#include "sealed.h"
#include "subject.h"
#include "token.h"

PG_FUNCTION_INFO_V1(gdpr_check_table);
PG_FUNCTION_INFO_V1(gdpr_check_member);
PG_FUNCTION_INFO_V1(gdpr_convert_table);
PG_FUNCTION_INFO_V1(gdpr_rewrite_statistics);

#define OLDER_WAIT_MS	3000

/* The last transaction of this session that removed statistics. */
static TransactionId removal_xid = InvalidTransactionId;

/* The number of a row that is a person of its own. */
static uint64
own_number(TableMap *table, const Datum *values, const bool *isnull)
{
	StringInfoData rowkey;
	uint64		number;

	if (table->nkeys == 0)
		return provenance_new_number(PROVENANCE_PROTECTED);
	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	number = former_number(&rowkey);
	return number != 0 ? number : provenance_new_number(PROVENANCE_PROTECTED);
}

/* The person in the header of an envelope. */
static uint64
sealed_number(const bytea *sealed)
{
	EnvelopeHeader header;

	if (!envelope_read_header((uint8 *) VARDATA_ANY(sealed),
							  VARSIZE_ANY_EXHDR(sealed), &header))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("a row has a damaged envelope")));
	return sealed_person(header.number);
}

/* The numbers of a row that is not sealed.  False: not now. */
static bool
new_numbers(TableMap *table, const Datum *values, const bool *isnull,
			ConvertFor purpose, uint64 *numbers)
{
	int			i;

	for (i = 0; i < table->nlinks; i++)
	{
		LinkMap    *link = &table->links[i];

		if (!OidIsValid(link->parent_relid) ||
			subject_link_is_null(link, isnull))
			numbers[i] = i == 0 ? own_number(table, values, isnull) : numbers[0];
		else if (purpose == CONVERT_TABLE)
			numbers[i] = subject_of_parent(table, link, values, isnull, false);
		else if ((numbers[i] = subject_of_parent_nowait(table, link, values,
														purpose == CONVERT_FORGET)) == 0)
			return false;
	}
	return true;
}

/* Can values of a person not be sealed any more? */
static bool
was_forgotten(const TableMap *table, uint64 number)
{
	if (table->on_forget == FORGET_KEEP)
		number |= KEYSTORE_KEEP_BIT;
	return keystore_life(number) == KEYSTORE_FORGOTTEN;
}

/* Seal one row, anew if it is: values become what is stored. */
static bool
seal_row(TableMap *table, Datum *values, bool *isnull, int form,
		 ConvertFor purpose, const ExpiryKept *kept)
{
	int			att = table->sealed_attnum - 1;
	RowSeal		seal = {0};
	StringInfoData rowkey;
	int			i;

	seal.table = table;
	seal.values = values;
	seal.isnull = isnull;
	seal.form = form;
	seal.kept = kept;
	seal.states = palloc0(sizeof(RowColumnState) * (table->ncolumns + 1));
	seal.numbers = palloc(sizeof(uint64) * table->nlinks);
	if (isnull[att])
	{
		if (!new_numbers(table, values, isnull, purpose, seal.numbers))
			return false;
		for (i = 0; i < table->ncolumns; i++)
			seal.states[i] = purpose == CONVERT_FORGET &&
				was_forgotten(table, seal.numbers[table->columns[i].link - table->links]) ?
				ROW_ERASE : ROW_SET;
	}
	else
	{
		initStringInfo(&rowkey);
		row_key(table, values, isnull, &rowkey);
		seal.old_rowkey = &rowkey;
		seal.old = DatumGetByteaPP(values[att]);
		for (i = 0; i < table->nlinks; i++)
			seal.numbers[i] =
				sealed_column_person((uint8 *) VARDATA_ANY(seal.old),
									 VARSIZE_ANY_EXHDR(seal.old),
									 table->links[i].via, -1);
		seal.numbers[0] = sealed_number(seal.old);
	}
	values[att] = PointerGetDatum(row_seal(&seal));
	isnull[att] = false;
	return true;
}

/* Give the values of one row back.  What was forgotten stays as it is stored. */
static void
open_row(TableMap *table, Datum *values, bool *isnull)
{
	bytea	   *sealed = DatumGetByteaPP(values[table->sealed_attnum - 1]);
	StringInfoData rowkey;
	int			i;

	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	if (table->nkeys > 0 &&
		(!OidIsValid(table->links[0].parent_relid) ||
		 subject_link_is_null(&table->links[0], isnull)))
		former_remember(&rowkey, sealed_number(sealed));
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;
		Datum		value;
		bool		value_isnull;
		uint64		number;
		RowValue	found = row_open_value(column, (uint8 *) VARDATA_ANY(sealed),
										   VARSIZE_ANY_EXHDR(sealed),
										   (uint8 *) rowkey.data, rowkey.len,
										   &value, &value_isnull, &number);

		/* from now on, nobody's reading of it is recorded */
		if (found == ROW_FOUND)
			audit_touch(table, column, alias_person(sealed_person(number)),
						AUDIT_REVEAL, "");
		if (found != ROW_FOUND && column->notnull)
			continue;
		values[att] = value;
		isnull[att] = found != ROW_FOUND || value_isnull;
	}
	isnull[table->sealed_attnum - 1] = true;
}

bool
convert_row(TableMap *table, Datum *values, bool *isnull, int form,
			ConvertFor purpose, const ExpiryKept *kept)
{
	if (purpose != CONVERT_EXPIRY && row_form(table, values, isnull) == form)
		return true;
	if (form != 0)
		return seal_row(table, values, isnull, form, purpose, kept);
	open_row(table, values, isnull);
	return true;
}

/* A row that is sealed already, as in a partition that was restored by itself. */
static void
require_own_envelope(TableMap *table, const Datum *values, const bool *isnull)
{
	bytea	   *sealed;

	if (isnull[table->sealed_attnum - 1])
		return;
	sealed = DatumGetByteaPP(values[table->sealed_attnum - 1]);
	if (!row_is_sealed(table, values, isnull, (uint8 *) VARDATA_ANY(sealed),
					   VARSIZE_ANY_EXHDR(sealed)))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_SEALED),
				 errmsg("a row of table \"%s\" carries an envelope that is not its own",
						get_rel_name(table->relid)),
				 errdetail("It was sealed for another table, or changed since."),
				 errhint("Restore the rows from the dump they came from, or drop column gdpr_sealed if they hold values.")));
}

/* Copy all rows of old into new, converted.  Returns how many. */
static int64
copy_rows(Relation old, Relation new, TableMap *table, int form)
{
	TupleDesc	desc = RelationGetDescr(old);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(old, snapshot, 0, NULL);
	TupleTableSlot *from = table_slot_create(old, NULL);
	TupleTableSlot *to = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	BulkInsertState bistate = GetBulkInsertState();
	CommandId	command = GetCurrentCommandId(true);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext,
												  "gdpr convert row",
												  ALLOCSET_DEFAULT_SIZES);
	int64		rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, from))
	{
		MemoryContext before = MemoryContextSwitchTo(per_row);
		int			i;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(from);
		ExecClearTuple(to);
		memcpy(to->tts_values, from->tts_values, sizeof(Datum) * desc->natts);
		memcpy(to->tts_isnull, from->tts_isnull, sizeof(bool) * desc->natts);
		for (i = 0; i < desc->natts; i++)
			if (TupleDescAttr(desc, i)->attisdropped)
				to->tts_isnull[i] = true;
		require_own_envelope(table, to->tts_values, to->tts_isnull);
		(void) convert_row(table, to->tts_values, to->tts_isnull, form,
						   CONVERT_TABLE, NULL);
		ExecStoreVirtualTuple(to);
		table_tuple_insert(new, to, command, 0, bistate);
		ExecClearTuple(to);
		MemoryContextSwitchTo(before);
		MemoryContextReset(per_row);
		rows++;
	}
	MemoryContextDelete(per_row);
	FreeBulkInsertState(bistate);
	table_finish_bulk_insert(new, 0);
	ExecDropSingleTupleTableSlot(to);
	ExecDropSingleTupleTableSlot(from);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return rows;
}

/*
 * Statistics hold values: remove those of the personal columns, of the
 * expressions in the table's indexes, and what extended statistics gathered.
 */
static void
remove_statistics(Relation rel, TableMap *table)
{
	List	   *objects;
	ListCell   *lc;
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		RemoveStatistics(table->relid, table->columns[i].attnum);
	objects = RelationGetIndexList(rel);
	foreach(lc, objects)
		RemoveStatistics(lfirst_oid(lc), 0);
	list_free(objects);
	objects = RelationGetStatExtList(rel);
	foreach(lc, objects)
	{
		RemoveStatisticsDataById(lfirst_oid(lc), false);
		RemoveStatisticsDataById(lfirst_oid(lc), true);
	}
	list_free(objects);
	removal_xid = GetTopTransactionId();
}

/* Short transactions end soon: give them a moment, before the lock. */
static void
wait_for_older(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	int			i;

	for (i = 0; i < OLDER_WAIT_MS / 50; i++)
	{
		if (!TransactionIdIsValid(removal_xid) ||
			TransactionIdPrecedes(removal_xid,
								  GetOldestNonRemovableTransactionId(rel)))
			break;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(50 * 1000L);
	}
	table_close(rel, AccessShareLock);
}

/* VACUUM FULL of a catalog.  False if removed rows had to be copied. */
static bool
rewrite_catalog(Oid relid)
{
	Relation	rel = table_open(relid, AccessExclusiveLock);
	TransactionId oldest = GetOldestNonRemovableTransactionId(rel);

	compat_cluster_rel(rel);	/* closes it, keeps the lock */
	return !TransactionIdIsValid(removal_xid) ||
		TransactionIdPrecedes(removal_xid, oldest);
}

/*
 * gdpr.rewrite_statistics() RETURNS boolean
 *
 * VACUUM FULL of the catalogs that hold statistics, as a function.  False if a
 * transaction older than the removal still runs, for which removed rows had to
 * be copied.
 */
Datum
gdpr_rewrite_statistics(PG_FUNCTION_ARGS)
{
	bool		complete;

	wait_for_older(StatisticRelationId);
	complete = rewrite_catalog(StatisticRelationId);
	complete &= rewrite_catalog(StatisticExtDataRelationId);
	PG_RETURN_BOOL(complete);
}

/*
 * gdpr.convert_table(relation, form) RETURNS bigint
 *
 * Writes the table anew, with all rows in a form; returns their number.  Takes an ACCESS EXCLUSIVE lock, and SHARE locks on the tables
 * its links lead to.
 */
Datum
gdpr_convert_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	int			form = PG_GETARG_INT32(1);
	TableMap   *table;
	Relation	old;
	Relation	new;
	Oid			new_relid;
	int64		rows;
	char		persistence;
	Oid			user;
	int			sec_context;
	int			guc_level;
	int			i;

	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %u does not exist", relid)));
	if (form < 0 || form > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("form is out of range")));
	old = table_open(relid, AccessExclusiveLock);
	table = datamap_lookup(relid);
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table \"%s\" is not protected in the data map",
						RelationGetRelationName(old))));
	for (i = 0; i < table->nlinks; i++)
	{
		Oid			parent = table->links[i].parent_relid;

		if (!OidIsValid(parent))
			continue;
		LockRelationOid(parent, ShareLock);
		if (get_rel_relkind(parent) == RELKIND_PARTITIONED_TABLE)
			(void) find_all_inheritors(parent, ShareLock, NULL);
	}
	CheckTableNotInUse(old, form != 0 ? "protect" : "unprotect");
	persistence = old->rd_rel->relpersistence;
	new_relid = make_new_heap(relid, old->rd_rel->reltablespace,
							  old->rd_rel->relam, persistence,
							  AccessExclusiveLock);
	new = table_open(new_relid, NoLock);
	SPI_connect();
	former_begin(relid);

	/* types run the CHECKs of domains inside them, which are the owner's */
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(old->rd_rel->relowner,
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	rows = copy_rows(old, new, table, form);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	former_end();
	SPI_finish();
	remove_statistics(old, table);
	table_close(new, NoLock);
	table_close(old, NoLock);
	finish_heap_swap(relid, new_relid, false, false, false, true,
					 RecentXmin, ReadNextMultiXactId(), persistence);
	PG_RETURN_INT64(rows);
}

/* Does a unique index of one of the relations use the column? */
static bool
column_is_unique(List *relids, const char *name)
{
	bool		result = false;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, relids)
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);
		AttrNumber	attnum = get_attnum(lfirst_oid(lc), name);
		List	   *indexes = RelationGetIndexList(rel);

		foreach(lc2, indexes)
		{
			Relation	index = index_open(lfirst_oid(lc2), AccessShareLock);

			if (index->rd_index->indisunique &&
				bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
							  form_index_columns(index)))
				result = true;
			index_close(index, AccessShareLock);
		}
		list_free(indexes);
		table_close(rel, NoLock);
	}
	return result;
}

/* A table with its partitions and children, all locked exclusively. */
static List *
lock_tree(Oid relid)
{
	LockRelationOid(relid, AccessExclusiveLock);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation %u does not exist", relid)));
	return find_all_inheritors(relid, AccessExclusiveLock, NULL);
}

/* Can the columns be sealed in these relations?  specs: of table's columns. */
static void
check_relations(List *relids, TableMap *table, ColumnSpec *specs)
{
	List	   *tree = list_copy(relids);
	ListCell   *lc;
	int			i;

	tree = list_concat_unique_oid(tree, table->root->member_relids);
	tree = list_append_unique_oid(tree, table->root->relid);
	foreach(lc, relids)
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);

		for (i = 0; i < table->ncolumns; i++)
			specs[i].attnum = get_attnum(lfirst_oid(lc),
										 table->columns[i].name);
		schema_check_table(rel, specs, table->ncolumns, tree);
		table_close(rel, NoLock);
	}
}

/*
 * gdpr.check_table(relation, OUT column_id, OUT token_width) RETURNS SETOF record
 *
 * Raises an error if the declared table, with its partitions and children,
 * cannot be protected; else the width that the token of each searchable column
 * will have.
 */
Datum
gdpr_check_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TableMap   *table = datamap_declared(relid);
	ColumnSpec *specs;
	List	   *relids;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table \"%s\" is not declared", get_rel_name(relid))));
	relids = lock_tree(relid);
	specs = palloc0(sizeof(ColumnSpec) * (table->ncolumns + 1));
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		const char *reason = NULL;
		Datum		values[2];
		bool		nulls[2] = {false, false};
		int			width = 0;

		if (column->searchable)
			width = token_width(column->basetypid, column->typmod,
								column_is_unique(relids, column->name),
								&reason);
		if (reason != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of table \"%s\" cannot be searchable",
							column->name, get_rel_name(relid)),
					 errdetail("%c%s.", pg_toupper(reason[0]), reason + 1)));
		if (column->notnull && !column->searchable &&
			!placeholder_exists(column->typid))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("NOT NULL column \"%s\" of type %s cannot be protected",
							column->name, format_type_be(column->typid)),
					 errhint("Drop the NOT NULL constraint, or leave the column undeclared.")));
		specs[i].searchable = column->searchable;
		specs[i].normalize = column->normalize;
		specs[i].token_bytes = width;
		specs[i].notnull = column->notnull;
		values[0] = Int32GetDatum(column->id);
		values[1] = Int32GetDatum(width);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	check_relations(relids, table, specs);
	return (Datum) 0;
}

/*
 * gdpr.check_member(relation, root) RETURNS boolean
 *
 * Can the relation, with its partitions and children, become part of a
 * protected table?  False if it lacks a column of it, or has another type
 * there: PostgreSQL's own error is the best.  Raises an error for anything
 * else that stands in the way.
 */
Datum
gdpr_check_member(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	TableMap   *table = datamap_lookup(PG_GETARG_OID(1));
	ColumnSpec *specs;
	List	   *relids;
	int			i;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("relation %u is not protected", PG_GETARG_OID(1))));
	relids = lock_tree(relid);
	specs = palloc0(sizeof(ColumnSpec) * (table->ncolumns + 1));
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		AttrNumber	attnum = get_attnum(relid, column->name);
		Oid			typid;
		int32		typmod;
		Oid			collation;

		if (attnum == InvalidAttrNumber)
			PG_RETURN_BOOL(false);
		get_atttypetypmodcoll(relid, attnum, &typid, &typmod, &collation);
		if (typid != column->typid || collation != column->collation)
			PG_RETURN_BOOL(false);
		specs[i].searchable = column->searchable;
		specs[i].normalize = column->normalize;
		specs[i].token_bytes = column->token_bytes;
		specs[i].notnull = column->notnull;
	}
	for (i = 0; i < table->nkeys; i++)
	{
		const char *name = get_attname(table->relid, table->keys[i], false);
		AttrNumber	attnum = get_attnum(relid, name);

		if (attnum == InvalidAttrNumber ||
			get_atttype(relid, attnum) != get_atttype(table->relid, table->keys[i]))
			PG_RETURN_BOOL(false);
	}
	check_relations(relids, table, specs);
	PG_RETURN_BOOL(true);
}
