/*
 * subject.c
 *		Whose row is it: from a row along its foreign keys to a number.
 *
 * The parent's row carries its number in the clear header of its envelope, so
 * one look-up answers at any depth.  Numbers that were found are remembered
 * for the transaction, in which the lock on the parent's row keeps them true;
 * numbers that were given to parents that do not exist yet are remembered
 * until it ends, and taken by the parent when it comes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_operator.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "crypto.h"
#include "errors.h"
#include "guard_mode.h"
#include "keystore.h"
#include "provenance.h"
#include "rewrite.h"
#include "sealed.h"
#include "subject.h"

#define FOUND_LIMIT		10000	/* remembered look-ups */

enum
{
	PLAN_LOCKING, PLAN_NOWAIT, PLAN_READING, PLAN_RELINK
};

/* A parent's row and the number it has, or is to have */
typedef struct ParentEntry
{
	uint8		key[32];		/* SHA-256 of relation, columns and values */
	uint64		found;			/* its number, 0 if not looked up */
	uint64		expected;		/* what it is to have when it comes, or 0 */
} ParentEntry;

/* A row whose children wait to be relinked */
typedef struct LateRelink
{
	Oid			relid;
	HeapTuple	tuple;
} LateRelink;

static MemoryContext subject_context = NULL;	/* child of TopTransactionContext */
static HTAB *parents = NULL;
static int	nfound = 0;
static int	nexpected = 0;
static List *expected_by = NIL; /* LinkMaps (copies) that gave numbers in advance */
static List *late = NIL;
static List *vacated = NIL;		/* relations with keys that became free */
static List *vacated_now = NIL; /* those for the running statement only */
static TimestampTz vacated_when = 0;	/* which that is */

static void
reset_state(void)
{
	/* the memory goes with the transaction */
	subject_context = NULL;
	parents = NULL;
	nfound = 0;
	nexpected = 0;
	expected_by = NIL;
	late = NIL;
	vacated = NIL;
	vacated_now = NIL;
}

static void
end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		reset_state();
}

/* Locks taken since the savepoint are gone: forget what they kept true. */
static void
forget_found(void)
{
	HASH_SEQ_STATUS scan;
	ParentEntry *entry;

	if (parents == NULL || nfound == 0)
		return;
	hash_seq_init(&scan, parents);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->found = 0;
		if (entry->expected == 0)
			hash_search(parents, entry->key, HASH_REMOVE, NULL);
	}
	nfound = 0;
}

static void
end_of_subtransaction(SubXactEvent event, SubTransactionId id,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_found();
}

void
subject_init(void)
{
	RegisterXactCallback(end_of_transaction, NULL);
	RegisterSubXactCallback(end_of_subtransaction, NULL);
}

static void
prepare_state(void)
{
	HASHCTL		ctl;

	if (subject_context != NULL)
		return;
	subject_context = AllocSetContextCreate(TopTransactionContext,
											"gdpr subjects",
											ALLOCSET_DEFAULT_SIZES);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = 32;
	ctl.entrysize = sizeof(ParentEntry);
	ctl.hcxt = subject_context;
	parents = hash_create("gdpr parents", 256, &ctl,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* ---------- links ---------- */

/* A link as seen from a row of its parent: with the row's own columns. */
static LinkMap
link_of_parent(const LinkMap *link, const TableMap *parent)
{
	LinkMap		row = *link;
	int			i;

	for (i = 0; i < link->ncolumns; i++)
		row.columns[i] = datamap_member_attnum(parent, link->parent_columns[i]);
	return row;
}

bool
subject_link_is_null(const LinkMap *link, const bool *isnull)
{
	int			i;

	for (i = 0; i < link->ncolumns; i++)
		if (isnull[link->columns[i] - 1])
			return true;
	return false;
}

bool
subject_link_equal(Relation rel, const LinkMap *link, const Datum *a,
				   const bool *anull, const Datum *b, const bool *bnull)
{
	int			i;

	for (i = 0; i < link->ncolumns; i++)
	{
		int			att = link->columns[i] - 1;
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel), att);

		if (anull[att] != bnull[att])
			return false;
		if (!anull[att] && !datum_image_eq(a[att], b[att], attribute->attbyval,
										   attribute->attlen))
			return false;
	}
	return true;
}

/* The key of a parent's row: from the child's link, or from the row itself. */
static void
parent_key(const LinkMap *link, Oid relid, const AttrNumber *columns,
		   const Datum *values, uint8 key[32])
{
	StringInfoData message;
	int			i;

	initStringInfo(&message);
	appendBinaryStringInfo(&message, (char *) &link->parent_relid, sizeof(Oid));
	for (i = 0; i < link->ncolumns; i++)
	{
		Oid			output;
		bool		isvarlena;
		char	   *text;

		getTypeOutputInfo(get_atttype(relid, columns[i]), &output, &isvarlena);
		text = OidOutputFunctionCall(output, values[columns[i] - 1]);
		appendBinaryStringInfo(&message, (char *) &link->parent_columns[i],
							   sizeof(AttrNumber));
		appendBinaryStringInfo(&message, text, strlen(text) + 1);
		pfree(text);
	}
	if (!crypto_sha256((uint8 *) message.data, message.len, key))
		elog(ERROR, "could not hash a key");
	pfree(message.data);
}

/* "OPERATOR(schema.=)" for values of a type */
static char *
equality_operator(Oid typid)
{
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_EQ_OPR);
	HeapTuple	tuple;
	char	   *result;

	if (!OidIsValid(type->eq_opr))
		elog(ERROR, "type %s has no equality operator", format_type_be(typid));
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(type->eq_opr));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", type->eq_opr);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)),
					  NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* "x.a OPERATOR(=) $1::type AND …" over the columns of a relation */
static void
append_condition(StringInfo sql, Oid relid, const AttrNumber *columns, int n)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		Oid			typid = get_atttype(relid, columns[i]);

		appendStringInfo(sql, "%s x.%s %s $%d::%s", i == 0 ? " WHERE" : " AND",
						 quote_identifier(get_attname(relid, columns[i], false)),
						 equality_operator(typid), i + 1,
						 format_type_be_qualified(typid));
	}
}

static void
free_plans(void *arg)
{
	LinkMap    *link = arg;
	size_t		i;

	for (i = 0; i < lengthof(link->plans); i++)
		if (link->plans[i] != NULL)
			SPI_freeplan(link->plans[i]);
}

/* A saved plan of the link; SPI is connected. */
static SPIPlanPtr
link_plan(TableMap *table, LinkMap *link, int which)
{
	StringInfoData sql;
	Oid			types[DATAMAP_MAX_KEYS];
	SPIPlanPtr	plan;
	size_t		p;
	int			i;

	if (link->plans[which] != NULL)
		return link->plans[which];

	initStringInfo(&sql);
	if (which == PLAN_RELINK)
	{
		appendStringInfo(&sql, REWRITE_PHYSICAL
						 "UPDATE ONLY %s x SET gdpr_sealed = x.gdpr_sealed",
						 datamap_relation_name(table->relid));
		append_condition(&sql, table->relid, link->columns, link->ncolumns);
	}
	else
	{
		/* a foreign key to a partitioned table leads to its partitions */
		appendStringInfo(&sql, REWRITE_PHYSICAL
						 "SELECT x.gdpr_sealed FROM %s %s x",
						 get_rel_relkind(link->parent_relid) == RELKIND_RELATION ?
						 "ONLY" : "",
						 datamap_relation_name(link->parent_relid));
		append_condition(&sql, link->parent_relid, link->parent_columns,
						 link->ncolumns);
		if (which == PLAN_LOCKING)
			appendStringInfoString(&sql, " FOR KEY SHARE OF x");
		else if (which == PLAN_NOWAIT)
			appendStringInfoString(&sql, " FOR KEY SHARE OF x SKIP LOCKED");
	}
	for (i = 0; i < link->ncolumns; i++)
		types[i] = which == PLAN_RELINK ?
			get_atttype(link->parent_relid, link->parent_columns[i]) :
			get_atttype(table->relid, link->columns[i]);
	plan = SPI_prepare(sql.data, link->ncolumns, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql.data,
			 SPI_result_code_string(SPI_result));
	for (p = 0; p < lengthof(link->plans); p++)
		if (link->plans[p] != NULL)
			break;
	if (p == lengthof(link->plans))
	{
		MemoryContextCallback *callback = MemoryContextAlloc(table->context,
															 sizeof(*callback));

		callback->func = free_plans;
		callback->arg = link;
		MemoryContextRegisterResetCallback(table->context, callback);
	}
	SPI_keepplan(plan);
	link->plans[which] = plan;
	return plan;
}

/*
 * Run a plan of the link as the owner of relid, with values of columns of a
 * row as its arguments.
 */
static void
run_link_plan(TableMap *table, LinkMap *link, int which, Oid relid,
			  const AttrNumber *columns, const Datum *values)
{
	Datum		args[DATAMAP_MAX_KEYS];
	Oid			user;
	int			sec_context;
	int			result;
	int			i;

	for (i = 0; i < link->ncolumns; i++)
		args[i] = values[columns[i] - 1];
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_relation_owner(relid), sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	result = SPI_execute_plan(link_plan(table, link, which), args, NULL,
							  which == PLAN_READING, 0);
	SetUserIdAndSecContext(user, sec_context);
	if (result < 0)
		elog(ERROR, "could not follow a foreign key: %s",
			 SPI_result_code_string(result));
}

/* ---------- numbers ---------- */

/* The number in the envelope of the parent's row; 0: there is no such row. */
static uint64
read_parent(TableMap *table, LinkMap *link, const Datum *values, int which)
{
	uint64		number = 0;

	SPI_connect();
	run_link_plan(table, link, which, link->parent_relid, link->columns,
				  values);
	if (SPI_processed > 0)
	{
		EnvelopeHeader header;
		bool		isnull;
		Datum		sealed = SPI_getbinval(SPI_tuptable->vals[0],
										   SPI_tuptable->tupdesc, 1, &isnull);
		bytea	   *bytes = isnull ? NULL : DatumGetByteaPSlice(sealed, 0,
																ENVELOPE_HEADER_MAX);

		if (isnull || !envelope_read_header((uint8 *) VARDATA_ANY(bytes),
											VARSIZE_ANY_EXHDR(bytes), &header))
			ereport(ERROR,
					(errcode(ERRCODE_GDPR_NOT_SEALED),
					 errmsg("the row of table \"%s\" to which a row of \"%s\" belongs is not sealed",
							get_rel_name(link->parent_relid),
							get_rel_name(table->relid))));
		number = sealed_person(header.number);
	}
	SPI_finish();
	return number;
}

static ParentEntry *
enter_parent(const uint8 key[32])
{
	ParentEntry *entry;
	bool		known;

	entry = hash_search(parents, key, HASH_ENTER, &known);
	if (!known)
		entry->found = entry->expected = 0;
	return entry;
}

/* Note by which columns parents that do not exist yet are expected. */
static void
expect_parent(const LinkMap *link)
{
	MemoryContext old;
	LinkMap    *copy;
	ListCell   *lc;

	foreach(lc, expected_by)
	{
		LinkMap    *known = lfirst(lc);

		if (known->parent_relid == link->parent_relid &&
			known->ncolumns == link->ncolumns &&
			memcmp(known->parent_columns, link->parent_columns,
				   sizeof(AttrNumber) * link->ncolumns) == 0)
			return;
	}
	old = MemoryContextSwitchTo(subject_context);
	copy = palloc(sizeof(LinkMap));
	*copy = *link;
	expected_by = lappend(expected_by, copy);
	MemoryContextSwitchTo(old);
}

/* The number of a parent's row that exists, else 0; *key: its entry. */
static uint64
find_parent(TableMap *table, LinkMap *link, const Datum *values, int which,
			bool even_forgotten, uint8 key[32])
{
	ParentEntry *entry;
	uint64		number;

	prepare_state();
	parent_key(link, table->relid, link->columns, values, key);
	entry = hash_search(parents, key, HASH_FIND, NULL);
	if (entry != NULL && entry->found != 0)
		return entry->found;
	number = read_parent(table, link, values, which);
	if (number != 0)
	{
		uint64		sealed_under = number;

		if (table->on_forget == FORGET_KEEP)
			sealed_under |= KEYSTORE_KEEP_BIT;
		if (keystore_life(sealed_under) == KEYSTORE_FORGOTTEN)
		{
			if (even_forgotten)
				return number;
			ereport(ERROR,
					(errcode(ERRCODE_GDPR_FORGOTTEN),
					 errmsg("the person to whom a row of table \"%s\" would belong was forgotten",
							get_rel_name(table->relid)),
					 errhint("Enter the person anew, as a new row. If an older backup brought rows of the forgotten back, remove them first: SELECT gdpr.forget_again();")));
		}
		if (nfound >= FOUND_LIMIT)
			forget_found();
		enter_parent(key)->found = number;
		nfound++;
	}
	return number;
}

uint64
subject_of_parent_nowait(TableMap *table, LinkMap *link, const Datum *values,
						 bool even_forgotten)
{
	uint8		key[32];

	return find_parent(table, link, values, PLAN_NOWAIT, even_forgotten, key);
}

uint64
subject_of_parent(TableMap *table, LinkMap *link, const Datum *values,
				  const bool *isnull, bool lock)
{
	uint8		key[32];
	ParentEntry *entry;
	uint64		number = find_parent(table, link, values,
									 lock ? PLAN_LOCKING : PLAN_READING,
									 false, key);
	ProvenanceHow how = lock ? PROVENANCE_ENTERED : PROVENANCE_PROTECTED;

	if (number != 0)
		return number;
	entry = enter_parent(key);
	if (entry->expected == 0)
	{
		entry->expected = provenance_new_number(how);
		nexpected++;
		expect_parent(link);
	}
	else
		provenance_note_again(entry->expected, how);
	return entry->expected;
}

uint64
subject_expected(Relation rel, const TableMap *table, const Datum *values,
				 const bool *isnull)
{
	ListCell   *lc;

	if (nexpected == 0)
		return 0;
	foreach(lc, expected_by)
	{
		LinkMap    *link = lfirst(lc);
		LinkMap		row;
		ParentEntry *entry;
		uint8		key[32];

		if (link->parent_relid != table->root->relid)
			continue;
		row = link_of_parent(link, table);
		if (subject_link_is_null(&row, isnull))
			continue;
		parent_key(link, table->relid, row.columns, values, key);
		entry = hash_search(parents, key, HASH_FIND, NULL);
		if (entry != NULL && entry->expected != 0)
			return entry->expected;
	}
	return 0;
}

/*
 * Children may have named the key otherwise than the row does (5.00 and 5.0),
 * so that subject_expected() does not find it; or they belonged to another row
 * with this key.
 */
bool
subject_is_awaited(const TableMap *table)
{
	ListCell   *lc;

	foreach(lc, expected_by)
		if (((LinkMap *) lfirst(lc))->parent_relid == table->root->relid)
			return true;
	return list_member_oid(vacated, table->root->relid) ||
		(vacated_when == GetCurrentStatementStartTimestamp() &&
		 list_member_oid(vacated_now, table->root->relid));
}

/* Does a deferrable foreign key lead from a protected table to the relation? */
static bool
has_deferrable_children(Oid relid)
{
	List	   *children = datamap_tables(relid);
	bool		result = false;
	ListCell   *lc;

	foreach(lc, children)
	{
		Relation	rel = table_open(((TableMap *) lfirst(lc))->relid,
									 AccessShareLock);
		ListCell   *key;

		foreach(key, RelationGetFKeyList(rel))
		{
			ForeignKeyCacheInfo *fk = lfirst(key);
			HeapTuple	tuple = SearchSysCache1(CONSTROID,
												ObjectIdGetDatum(fk->conoid));

			if (!HeapTupleIsValid(tuple))
				continue;
			result |= fk->confrelid == relid &&
				((Form_pg_constraint) GETSTRUCT(tuple))->condeferrable;
			ReleaseSysCache(tuple);
		}
		table_close(rel, AccessShareLock);
	}
	return result;
}

/*
 * Once a statement is over, children are without their parent only where the
 * foreign key is deferrable.
 */
void
subject_key_vacated(const TableMap *table)
{
	Oid			relid = table->root->relid;
	MemoryContext old;

	if (list_member_oid(vacated, relid))
		return;
	prepare_state();
	old = MemoryContextSwitchTo(subject_context);
	if (has_deferrable_children(relid))
		vacated = lappend_oid(vacated, relid);
	else
	{
		if (vacated_when != GetCurrentStatementStartTimestamp())
			vacated_now = NIL;
		vacated_when = GetCurrentStatementStartTimestamp();
		vacated_now = list_append_unique_oid(vacated_now, relid);
	}
	MemoryContextSwitchTo(old);
}

/* ---------- relinking ---------- */

/*
 * Does a subscription bring the rows of this table, each sealed anew by the
 * publisher?
 */
static bool
is_subscribed(Oid relid)
{
	CatCList   *list = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
										   ObjectIdGetDatum(relid));
	bool		result = list->n_members > 0;

	ReleaseSysCacheList(list);
	return result;
}

/* The rows of one relation that belong to a row of table. */
static void
relink_member(const TableMap *table, TableMap *child, const Datum *values,
			  const bool *isnull)
{
	int			i;

	if (IsLogicalWorker() &&
		(is_subscribed(child->relid) || is_subscribed(child->root->relid)))
		return;
	for (i = 0; i < child->nlinks; i++)
	{
		LinkMap    *link = &child->links[i];
		LinkMap		row;

		if (link->parent_relid != table->root->relid)
			continue;
		row = link_of_parent(link, table);
		if (!subject_link_is_null(&row, isnull))
			run_link_plan(child, link, PLAN_RELINK, child->relid, row.columns,
						  values);
	}
}

void
subject_relink_children(const TableMap *table, Relation rel,
						const Datum *values, const bool *isnull)
{
	List	   *children = datamap_tables(table->root->relid);
	GuardMode	relink = {.task = GUARD_RELINK};
	GuardMode	before = guard_set_mode(relink);
	ListCell   *lc;
	ListCell   *lc2;

	forget_found();
	if (before.task == GUARD_RELINK)
		(void) guard_set_mode(before);	/* further down, for the same */
	PG_TRY();
	{
		SPI_connect();
		foreach(lc, children)
		{
			foreach(lc2, datamap_members(lfirst(lc)))
				relink_member(table, lfirst(lc2), values, isnull);
		}
		SPI_finish();
	}
	PG_FINALLY();
	{
		(void) guard_set_mode(before);
	}
	PG_END_TRY();
}

void
subject_relink_later(const TableMap *table, Relation rel, const Datum *values,
					 const bool *isnull)
{
	MemoryContext old;
	LateRelink *item;

	prepare_state();
	old = MemoryContextSwitchTo(subject_context);
	item = palloc(sizeof(LateRelink));
	item->relid = table->relid;
	item->tuple = heap_form_tuple(RelationGetDescr(rel),
								  unconstify(Datum *, values),
								  unconstify(bool *, isnull));
	late = lappend(late, item);
	MemoryContextSwitchTo(old);
}

/* Now is the end of a statement on rel, which may have routed rows elsewhere. */
void
subject_relink_now(Relation rel)
{
	TableMap   *target = late == NIL ? NULL :
		datamap_lookup(RelationGetRelid(rel));
	List	   *items = late;
	ListCell   *lc;

	if (target == NULL)
		return;
	late = NIL;
	foreach(lc, items)
	{
		LateRelink *item = lfirst(lc);
		TableMap   *table = datamap_lookup(item->relid);

		if (table == NULL)
			continue;
		if (table->root != target->root)
		{
			MemoryContext old = MemoryContextSwitchTo(subject_context);

			late = lappend(late, item);
			MemoryContextSwitchTo(old);
		}
		else
		{
			Relation	member = table_open(item->relid, AccessShareLock);
			TupleDesc	desc = RelationGetDescr(member);
			Datum	   *values = palloc(sizeof(Datum) * desc->natts);
			bool	   *isnull = palloc(sizeof(bool) * desc->natts);

			heap_deform_tuple(item->tuple, desc, values, isnull);
			subject_relink_children(table, member, values, isnull);
			table_close(member, NoLock);
		}
	}
}
