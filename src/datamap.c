/*
 * datamap.c
 *		The data map of the current database, cached per backend.
 *
 * The whole map is read at once: a database has few protected tables.  It is
 * read again when a table of the map, or a relation in it, changed.  The map
 * before is kept until the end of the transaction, for those who still hold
 * pointers into it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "datamap.h"
#include "datamap_internal.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(gdpr_map_changed);

/* Columns of the map's tables, as in sql/30_datamap.sql */
enum MappedTableColumn
{
	MT_ID, MT_RELATION, MT_KEYS, MT_ON_FORGET, MT_PROTECTED, MT_FORM = 7,
	MT_OTHER_FORM, MT_HISTORY, MT_COLUMNS
};
enum MappedLinkColumn
{
	ML_TABLE, ML_VIA, ML_COLUMN_NAMES, ML_PARENT, ML_PARENT_COLUMN_NAMES,
	ML_COLUMNS
};
enum MappedColumnColumn
{
	MC_ID, MC_TABLE, MC_NAME, MC_CATEGORY, MC_VIA, MC_SEARCHABLE,
	MC_NORMALIZE, MC_TOKEN_DOMAIN, MC_TOKEN_WIDTH, MC_MASK, MC_TYPE, MC_INFERRED,
	MC_COLUMNS
};
enum MappedCheckColumn
{
	MK_TABLE, MK_RELATION, MK_NAME, MK_EXPRESSION, MK_DEFINITION, MK_LOCAL,
	MK_COLUMNS
};
enum MappedMemberColumn
{
	MM_RELATION, MM_TABLE, MM_COLUMNS
};

typedef struct RelationEntry
{
	Oid			relid;			/* key */
	TableMap   *root;
	TableMap   *table;			/* made at first use, unless it is the root */
} RelationEntry;

typedef struct ColumnEntry
{
	int32		id;				/* key */
	ColumnMap  *column;
} ColumnEntry;

/* One reading of the map, in a context of its own */
typedef struct MapCache
{
	MemoryContext context;
	HTAB	   *relations;
	HTAB	   *columns;
	List	   *tables;
	struct MapCache *retired;	/* next older one, freed at end of transaction */
} MapCache;

static MapCache *current = NULL;
static MapCache *retired = NULL;
static bool map_stale = true;
static uint64 map_version = 1;
static Oid	watched = InvalidOid;	/* see datamap_watch() */
static uint64 watched_version = 1;

static GdprOids oids;
static bool oids_valid = false;
/* Index in map_names and map_relids */
enum MapTable
{
	MAP_TABLE, MAP_LINK, MAP_COLUMN, MAP_CHECK, MAP_MEMBER, MAP_POLICY,
	MAP_PURPOSE, MAP_PURPOSE_GRANT, MAP_NOTICE, MAP_TABLES
};
static Oid	map_relids[MAP_TABLES];
static const char *const map_names[MAP_TABLES] = {
	"mapped_table", "mapped_link", "mapped_column", "mapped_check",
	"mapped_member", "retention_policy", "purpose", "purpose_grant", "notice"
};

/* ---------- what is installed ---------- */

/* By the catalog alone: the session may lack rights on the schema. */
static Oid
function_oid(const char *name, int nargs, const Oid *args)
{
	oidvector  *types = buildoidvector(args, nargs);
	Oid			result = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										 CStringGetDatum(name),
										 PointerGetDatum(types),
										 ObjectIdGetDatum(oids.schema));

	if (!OidIsValid(result))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function gdpr.%s is missing", name),
				 errhint("ALTER EXTENSION gdpr UPDATE, or install the matching library.")));
	pfree(types);
	return result;
}

static Oid
type_oid(const char *name)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum(name),
						   ObjectIdGetDatum(oids.schema));
}

static void
load_oids(void)
{
	Oid			extension;
	Oid			args[4];
	size_t		i;

	memset(&oids, 0, sizeof(oids));
	oids.schema = get_namespace_oid("gdpr", true);
	extension = OidIsValid(oids.schema) ? get_extension_oid("gdpr", true) :
		InvalidOid;
	if (!OidIsValid(extension))
	{
		oids_valid = true;
		return;
	}
	oids.sealed_type = type_oid("sealed");
	oids.column_ref_type = type_oid("column_ref");
	for (i = 0; i < lengthof(map_relids); i++)
		map_relids[i] = get_relname_relid(map_names[i], oids.schema);

	/* while CREATE EXTENSION runs, not everything is there yet */
	for (i = 0; i < lengthof(map_relids); i++)
		if (!OidIsValid(map_relids[i]))
			return;

	args[0] = oids.sealed_type;
	args[1] = oids.column_ref_type;
	args[2] = ANYOID;
	oids.reveal = function_oid("reveal", 3, args);
	args[3] = ANYOID;
	oids.reveal_stored = function_oid("reveal_stored", 4, args);
	/* polymorphic: EXPLAIN looks fields of its result up */
	args[0] = ANYELEMENTOID;
	oids.reveal_row = function_oid("reveal_row", 2, args);
	args[0] = ANYOID;
	oids.token = function_oid("token", 2, args);
	oids.token_array = function_oid("token_array", 2, args);
	args[0] = BOOLOID;
	oids.recheck = function_oid("recheck", 2, args);
	args[0] = oids.sealed_type;
	args[1] = BYTEAOID;
	args[2] = oids.column_ref_type;
	oids.mark = function_oid("mark", 3, args);
	args[0] = oids.sealed_type;
	args[1] = args[2] = args[3] = TEXTOID;
	oids.row_permitted = function_oid("row_permitted", 4, args);
	args[0] = BOOLOID;
	oids.require_visible = function_oid("require_visible", 1, args);
	args[0] = RECORDOID;
	args[1] = ANYELEMENTOID;
	oids.trigger_value = function_oid("trigger_value", 2, args);
	args[0] = ANYELEMENTOID;
	oids.trigger_row = function_oid("trigger_row", 1, args);
	oids.trigger_aliases[ALIAS_SUPPRESS] =
		function_oid("suppress_redundant_updates_trigger", 0, args);
	oids.trigger_aliases[ALIAS_TSVECTOR] =
		function_oid("tsvector_update_trigger", 0, args);
	oids.trigger_aliases[ALIAS_TSVECTOR_COLUMN] =
		function_oid("tsvector_update_trigger_column", 0, args);
	oids.extension = extension;
	oids_valid = true;
}

const GdprOids *
datamap_oids(void)
{
	if (!oids_valid)
		load_oids();
	return OidIsValid(oids.extension) ? &oids : NULL;
}

/* ---------- invalidation ---------- */

static void
relation_invalidated(Datum arg, Oid relid)
{
	size_t		i;

	if (relid == watched || !OidIsValid(relid))
		watched_version++;
	if (map_stale && !oids_valid)
		return;
	for (i = 0; i < lengthof(map_relids); i++)
		if (relid == map_relids[i])
			break;
	if (i < lengthof(map_relids) || !OidIsValid(relid))
		oids_valid = false;		/* the extension may be gone */
	else if (current != NULL &&
			 hash_search(current->relations, &relid, HASH_FIND, NULL) == NULL)
		return;
	map_stale = true;
	map_version++;
}

static void
namespace_invalidated(Datum arg, int cacheid, uint32 hashvalue)
{
	oids_valid = false;
	map_stale = true;
	map_version++;
}

static void
free_retired(XactEvent event, void *arg)
{
	MapCache   *next;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE && event != XACT_EVENT_PARALLEL_COMMIT &&
		event != XACT_EVENT_PARALLEL_ABORT)
		return;
	for (; retired != NULL; retired = next)
	{
		next = retired->retired;
		MemoryContextDelete(retired->context);
	}
}

/* Called once from _PG_init. */
void
datamap_init(void)
{
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_invalidated,
								  (Datum) 0);
	RegisterXactCallback(free_retired, NULL);
}

/* Tell all sessions to read the map again, and to plan again what uses relid. */
static void
invalidate_everywhere(Oid relid)
{
	if (datamap_oids() != NULL)
		CacheInvalidateRelcacheByRelid(map_relids[MAP_TABLE]);
	if (OidIsValid(relid) &&
		SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		CacheInvalidateRelcacheByRelid(relid);
}

/* The relations that a column of a table of the map names. */
static void
invalidate_relations(int which, AttrNumber attnum)
{
	Relation	rel = table_open(map_relids[which], AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0,
										  NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		relid = heap_getattr(tuple, attnum, RelationGetDescr(rel),
										 &isnull);

		invalidate_everywhere(DatumGetObjectId(relid));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * gdpr.map_changed() RETURNS trigger
 *
 * On the tables of the map and of the purposes.
 */
Datum
gdpr_map_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function was not called as a trigger")));
	if (datamap_oids() == NULL)
		PG_RETURN_POINTER(NULL);
	invalidate_relations(MAP_TABLE, MT_RELATION + 1);
	invalidate_relations(MAP_MEMBER, MM_RELATION + 1);
	invalidate_everywhere(InvalidOid);
	PG_RETURN_POINTER(NULL);
}

void
datamap_table_altered(Oid relid)
{
	invalidate_everywhere(relid);
}

uint64
datamap_version(void)
{
	return map_version;
}

uint64
datamap_watch(Oid relid)
{
	watched = relid;
	return watched_version;
}

/* ---------- reading the map ---------- */

typedef void (*RowReader) (MapCache *cache, const Datum *values,
						   const bool *isnull);

/* Call read for each row of a table of the map, latest committed version. */
static void
read_rows(MapCache *cache, int which, int ncolumns, RowReader read)
{
	Relation	rel = table_open(map_relids[which], AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum	   *values;
	bool	   *isnull;

	if (desc->natts != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table gdpr.%s does not have the columns this version expects",
						map_names[which]),
				 errhint("ALTER EXTENSION gdpr UPDATE, or install the matching library.")));
	values = palloc(sizeof(Datum) * ncolumns);
	isnull = palloc(sizeof(bool) * ncolumns);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		heap_deform_tuple(tuple, desc, values, isnull);
		read(cache, values, isnull);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	pfree(values);
	pfree(isnull);
}

/*
 * The attribute numbers of a name[] in a relation.  If one is gone, table is
 * of no use until the map is mended; other tables are.
 */
static int
read_attnums(TableMap *table, Oid relid, Datum array, AttrNumber *attnums)
{
	Datum	   *names;
	int			n;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false,
					  TYPALIGN_CHAR, &names, NULL, &n);
	if (n > DATAMAP_MAX_KEYS)
		elog(ERROR, "too many columns in the data map");
	for (i = 0; i < n; i++)
	{
		attnums[i] = get_attnum(relid, NameStr(*DatumGetName(names[i])));
		if (attnums[i] == InvalidAttrNumber)
			table->missing = pstrdup(NameStr(*DatumGetName(names[i])));
	}
	return n;
}

static ForgetAction
parse_on_forget(const char *text)
{
	if (strcmp(text, "keep") == 0)
		return FORGET_KEEP;
	return strcmp(text, "erase") == 0 ? FORGET_ERASE : FORGET_DELETE;
}

/* A declared table, as far as mapped_table and the catalogs tell. */
static TableMap *
make_table(const Datum *values, const bool *isnull)
{
	TableMap   *table = palloc0(sizeof(TableMap));
	Oid			relid = DatumGetObjectId(values[MT_RELATION]);

	table->id = DatumGetInt32(values[MT_ID]);
	table->relid = relid;
	table->root = table;
	table->context = CurrentMemoryContext;
	table->sealed_attnum = get_attnum(relid, "gdpr_sealed");
	table->natts = datamap_attribute_count(relid);
	table->nkeys = read_attnums(table, relid, values[MT_KEYS], table->keys);
	table->on_forget =
		parse_on_forget(TextDatumGetCString(values[MT_ON_FORGET]));
	table->form = DatumGetInt32(values[MT_FORM]);
	table->other_form = isnull[MT_OTHER_FORM] ? -1 :
		DatumGetInt32(values[MT_OTHER_FORM]);
	table->history = DatumGetBool(values[MT_HISTORY]);
	table->by_attnum = palloc0(sizeof(ColumnMap *) * (table->natts + 1));
	/* the row's own link is always there, possibly without a parent */
	table->links = palloc0(sizeof(LinkMap));
	table->nlinks = 1;
	return table;
}

static void
read_table(MapCache *cache, const Datum *values, const bool *isnull)
{
	Oid			relid = DatumGetObjectId(values[MT_RELATION]);
	RelationEntry *entry;
	TableMap   *table;

	if (!DatumGetBool(values[MT_PROTECTED]) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return;
	table = make_table(values, isnull);
	if (table->sealed_attnum == InvalidAttrNumber)
		return;					/* protect() has not added it yet */
	entry = hash_search(cache->relations, &relid, HASH_ENTER, NULL);
	entry->root = entry->table = table;
	cache->tables = lappend(cache->tables, table);
}

static TableMap *
table_by_id(MapCache *cache, int32 id)
{
	ListCell   *lc;

	foreach(lc, cache->tables)
		if (((TableMap *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

/* The relation of a mapped table, protected or not. */
static Oid
mapped_relation(int32 table_id)
{
	Relation	rel = table_open(map_relids[MAP_TABLE], AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&key, MT_ID + 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		result = DatumGetObjectId(heap_getattr(tuple, MT_RELATION + 1,
											   RelationGetDescr(rel),
											   &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
add_link(TableMap *table, const Datum *values)
{
	int			via = DatumGetInt16(values[ML_VIA]);
	LinkMap    *link;

	if (via == 0)
		link = &table->links[0];
	else
	{
		table->links = repalloc(table->links,
								sizeof(LinkMap) * (table->nlinks + 1));
		link = &table->links[table->nlinks++];
	}
	memset(link, 0, sizeof(*link));
	link->via = via;
	link->parent_relid = mapped_relation(DatumGetInt32(values[ML_PARENT]));
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(link->parent_relid)))
	{
		/* not loaded yet, or being dropped, and this table after it */
		table->incomplete = true;
		return;
	}
	link->ncolumns = read_attnums(table, table->relid,
								  values[ML_COLUMN_NAMES], link->columns);
	read_attnums(table, link->parent_relid, values[ML_PARENT_COLUMN_NAMES],
				 link->parent_columns);
}

static void
read_link(MapCache *cache, const Datum *values, const bool *isnull)
{
	TableMap   *table = table_by_id(cache, DatumGetInt32(values[ML_TABLE]));

	if (table != NULL)
		add_link(table, values);
}

static int
column_order(const void *a, const void *b)
{
	int32		x = ((const ColumnMap *) a)->id;
	int32		y = ((const ColumnMap *) b)->id;

	return x < y ? -1 : x > y;
}

void
datamap_read_attribute(ColumnMap *column, Oid relid, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid),
										Int16GetDatum(attnum));
	Form_pg_attribute attribute;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for attribute %d of relation %u",
			 attnum, relid);
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	column->attnum = attnum;
	column->typid = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->basetypid = getBaseTypeAndTypmod(column->typid, &column->typmod);
	column->collation = attribute->attcollation;
	column->notnull = attribute->attnotnull;
	ReleaseSysCache(tuple);
}

static void
add_column(TableMap *table, const Datum *values, const bool *isnull)
{
	Name		name = DatumGetName(values[MC_NAME]);
	AttrNumber	attnum = get_attnum(table->relid, NameStr(*name));
	int			via = DatumGetInt16(values[MC_VIA]);
	ColumnMap  *column;

	if (attnum == InvalidAttrNumber)
		return;					/* dropped: its values stay sealed */
	if (table->columns == NULL)
		table->columns = palloc(sizeof(ColumnMap));
	else
		table->columns = repalloc(table->columns,
								  sizeof(ColumnMap) * (table->ncolumns + 1));
	column = &table->columns[table->ncolumns++];
	memset(column, 0, sizeof(*column));
	column->id = DatumGetInt32(values[MC_ID]);
	column->table = table;
	column->name = pstrdup(NameStr(*name));
	column->category = DatumGetInt16(values[MC_CATEGORY]);
	column->searchable = DatumGetBool(values[MC_SEARCHABLE]);
	column->normalize =
		strcmp(TextDatumGetCString(values[MC_NORMALIZE]), "lower") == 0 ?
		NORMALIZE_LOWER : NORMALIZE_NONE;
	column->token_domain = (uint32) DatumGetInt32(values[MC_TOKEN_DOMAIN]);
	column->token_bytes = DatumGetInt32(values[MC_TOKEN_WIDTH]);
	column->mask = isnull[MC_MASK] ? NULL :
		TextDatumGetCString(values[MC_MASK]);
	column->via = via;
	datamap_read_attribute(column, table->relid, attnum);
}

static void
read_column(MapCache *cache, const Datum *values, const bool *isnull)
{
	TableMap   *table = table_by_id(cache, DatumGetInt32(values[MC_TABLE]));

	if (table != NULL)
		add_column(table, values, isnull);
}

static void
read_check(MapCache *cache, const Datum *values, const bool *isnull)
{
	TableMap   *table = table_by_id(cache, DatumGetInt32(values[MK_TABLE]));
	CheckMap   *check;

	if (table == NULL)
		return;
	if (table->checks == NULL)
		table->checks = palloc(sizeof(CheckMap));
	else
		table->checks = repalloc(table->checks,
								 sizeof(CheckMap) * (table->nchecks + 1));
	check = &table->checks[table->nchecks++];
	check->relid = DatumGetObjectId(values[MK_RELATION]);
	check->name = pstrdup(NameStr(*DatumGetName(values[MK_NAME])));
	check->expression = TextDatumGetCString(values[MK_EXPRESSION]);
}

static void
read_member(MapCache *cache, const Datum *values, const bool *isnull)
{
	Oid			relid = DatumGetObjectId(values[MM_RELATION]);
	TableMap   *root = table_by_id(cache, DatumGetInt32(values[MM_TABLE]));
	RelationEntry *entry;

	if (root == NULL || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return;
	entry = hash_search(cache->relations, &relid, HASH_ENTER, NULL);
	entry->root = root;
	entry->table = NULL;
	root->member_relids = lappend_oid(root->member_relids, relid);
}

static void
read_policy(MapCache *cache, const Datum *values, const bool *isnull)
{
	TableMap   *table = table_by_id(cache, DatumGetInt32(values[RP_TABLE]));

	if (table != NULL)
		datamap_add_policy(table, values, isnull);
}

static int
link_order(const void *a, const void *b)
{
	return ((const LinkMap *) a)->via - ((const LinkMap *) b)->via;
}

/*
 * Does the map have every column that the constraint of a protected table
 * names?  Not while pg_restore -j is loading it.
 */
static bool
has_constrained_columns(const TableMap *table)
{
	Oid			constraint = get_relation_constraint_oid(table->relid,
														 "gdpr_sealed_check",
														 true);
	HeapTuple	tuple;
	Datum		attnums;
	bool		isnull;
	Datum	   *elements;
	int			n;
	bool		complete = true;

	if (!OidIsValid(constraint))
		return true;
	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for constraint %u", constraint);
	attnums = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conkey,
							  &isnull);
	deconstruct_array(DatumGetArrayTypeP(attnums), INT2OID, sizeof(int16),
					  true, TYPALIGN_SHORT, &elements, NULL, &n);
	while (complete && n-- > 0)
	{
		AttrNumber	attnum = DatumGetInt16(elements[n]);
		int			i = 0;

		while (i < table->nkeys && table->keys[i] != attnum)
			i++;
		complete = attnum == table->sealed_attnum || i < table->nkeys ||
			datamap_column_at(table, attnum) != NULL;
	}
	ReleaseSysCache(tuple);
	return complete;
}

bool
datamap_finish_table(TableMap *table)
{
	int			i;
	int			j;

	if (table->incomplete)
		return false;
	qsort(table->links, table->nlinks, sizeof(LinkMap), link_order);
	if (table->ncolumns > 0)
		qsort(table->columns, table->ncolumns, sizeof(ColumnMap),
			  column_order);
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];

		column->link = NULL;
		for (j = 0; j < table->nlinks; j++)
			if (table->links[j].via == column->via)
				column->link = &table->links[j];
		if (column->link == NULL)
			return false;
		table->by_attnum[column->attnum] = column;
		table->has_tokens |= column->searchable;
	}
	return has_constrained_columns(table);
}

static MapCache *
make_cache(MemoryContext context)
{
	MapCache   *cache = MemoryContextAllocZero(context, sizeof(MapCache));
	HASHCTL		ctl;

	cache->context = context;
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(RelationEntry);
	ctl.hcxt = context;
	cache->relations = hash_create("gdpr relations", 64, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(ColumnEntry);
	cache->columns = hash_create("gdpr columns", 256, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return cache;
}

static void
leave_out(MapCache *cache, TableMap *root)
{
	ListCell   *lc;

	hash_search(cache->relations, &root->relid, HASH_REMOVE, NULL);
	foreach(lc, root->member_relids)
		hash_search(cache->relations, &lfirst_oid(lc), HASH_REMOVE, NULL);
}

static void
load_map(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "gdpr data map",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MapCache   *cache = make_cache(context);
	ListCell   *lc;
	int			i;

	/* what arrives while we read makes it stale again */
	map_stale = false;
	PG_TRY();
	{
		read_rows(cache, MAP_TABLE, MT_COLUMNS, read_table);
		if (cache->tables != NIL)
		{
			read_rows(cache, MAP_LINK, ML_COLUMNS, read_link);
			read_rows(cache, MAP_COLUMN, MC_COLUMNS, read_column);
			read_rows(cache, MAP_CHECK, MK_COLUMNS, read_check);
			read_rows(cache, MAP_MEMBER, MM_COLUMNS, read_member);
			read_rows(cache, MAP_POLICY, RP_COLUMNS, read_policy);
		}
		foreach(lc, cache->tables)
		{
			TableMap   *table = lfirst(lc);

			if (!datamap_finish_table(table))
			{
				/* not in the map yet: its guards refuse what is not sealed */
				leave_out(cache, table);
				cache->tables = foreach_delete_current(cache->tables, lc);
				continue;
			}
			for (i = 0; i < table->ncolumns; i++)
			{
				ColumnEntry *entry = hash_search(cache->columns,
												 &table->columns[i].id,
												 HASH_ENTER, NULL);

				entry->column = &table->columns[i];
			}
		}
	}
	PG_CATCH();
	{
		map_stale = true;
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	if (current != NULL)
	{
		current->retired = retired;
		retired = current;
	}
	current = cache;
}

/* The map, read if need be; NULL where the extension is not installed. */
static MapCache *
get_map(void)
{
	if (datamap_oids() == NULL)
		return NULL;
	if (map_stale || current == NULL)
		load_map();
	return current;
}

/* ---------- look-ups ---------- */

static TableMap *
usable(TableMap *table)
{
	if (table != NULL && table->missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("column \"%s\" is in the data map of table \"%s\" but does not exist",
						table->missing, get_rel_name(table->relid)),
				 errhint("Rename the column back, with the library preloaded.")));
	return table;
}

TableMap *
datamap_lookup(Oid relid)
{
	MapCache   *cache = get_map();
	RelationEntry *entry;

	if (cache == NULL)
		return NULL;
	entry = hash_search(cache->relations, &relid, HASH_FIND, NULL);
	if (entry == NULL)
		return NULL;
	if (entry->table == NULL && usable(entry->root) != NULL)
		entry->table = datamap_make_member(entry->root, relid);
	return usable(entry->table);
}

bool
datamap_any_protected(void)
{
	MapCache   *cache = get_map();

	return cache != NULL && cache->tables != NIL;
}

ColumnMap *
datamap_column_at(const TableMap *map, AttrNumber attnum)
{
	return attnum > 0 && attnum <= map->natts ? map->by_attnum[attnum] : NULL;
}

ColumnMap *
datamap_column(int32 column_id)
{
	MapCache   *cache = get_map();
	ColumnEntry *entry;

	if (cache == NULL)
		return NULL;
	entry = hash_search(cache->columns, &column_id, HASH_FIND, NULL);
	if (entry == NULL)
		return NULL;
	(void) usable(entry->column->table);
	return entry->column;
}

TableMap *
datamap_table(int32 table_id)
{
	MapCache   *cache = get_map();

	return cache ? usable(table_by_id(cache, table_id)) : NULL;
}

List *
datamap_tables(Oid parent_relid)
{
	MapCache   *cache = get_map();
	List	   *result = NIL;
	ListCell   *lc;
	int			i;

	if (cache == NULL)
		return NIL;
	foreach(lc, cache->tables)
	{
		TableMap   *table = lfirst(lc);
		bool		wanted = !OidIsValid(parent_relid);

		for (i = 0; i < table->nlinks && !wanted; i++)
			wanted = table->links[i].parent_relid == parent_relid;
		if (wanted)
			result = lappend(result, usable(table));
	}
	return result;
}

/* ---------- declared, not yet protected ---------- */

static Oid	wanted_relid;
static int32 wanted_id;
static TableMap *wanted;

static void
read_wanted_table(MapCache *cache, const Datum *values, const bool *isnull)
{
	if (DatumGetObjectId(values[MT_RELATION]) == wanted_relid)
	{
		wanted = make_table(values, isnull);
		wanted_id = wanted->id;
	}
}

static void
read_wanted_link(MapCache *cache, const Datum *values, const bool *isnull)
{
	if (DatumGetInt32(values[ML_TABLE]) == wanted_id)
		add_link(wanted, values);
}

static void
read_wanted_column(MapCache *cache, const Datum *values, const bool *isnull)
{
	if (DatumGetInt32(values[MC_TABLE]) == wanted_id)
		add_column(wanted, values, isnull);
}

TableMap *
datamap_declared(Oid relid)
{
	if (datamap_oids() == NULL)
		return NULL;
	wanted = NULL;
	wanted_id = 0;
	wanted_relid = relid;
	read_rows(NULL, MAP_TABLE, MT_COLUMNS, read_wanted_table);
	if (wanted == NULL)
		return NULL;
	read_rows(NULL, MAP_LINK, ML_COLUMNS, read_wanted_link);
	read_rows(NULL, MAP_COLUMN, MC_COLUMNS, read_wanted_column);
	if (!datamap_finish_table(wanted))
		elog(ERROR, "the data map of relation %u lacks a link", relid);
	return wanted;
}

/* ---------- references to columns ---------- */

size_t
column_context_size(const char *context)
{
	size_t		size = 0;
	int			i;

	for (i = 0; context != NULL && i < 3; i++)
		size += strlen(context + size) + 1;
	return size;
}

Datum
column_ref_make(int32 id, int flags, const char *context)
{
	size_t		size = column_context_size(context);
	PlanColumnRef *ref = palloc(offsetof(PlanColumnRef, context) + size);

	SET_VARSIZE(ref, offsetof(PlanColumnRef, context) + size);
	ref->id = id;
	ref->flags = flags;
	if (size > 0)
		memcpy(ref->context, context, size);
	return PointerGetDatum(ref);
}

const char *
column_ref_context(Datum ref)
{
	const PlanColumnRef *value = (const PlanColumnRef *) DatumGetPointer(ref);

	return VARSIZE(value) > offsetof(PlanColumnRef, context) ?
		value->context : NULL;
}
