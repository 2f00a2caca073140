/*
 * schema_check.c
 *		What a table must not have to live with protection.
 *
 * A sealed column holds a token or a placeholder.  Whatever the server itself
 * computes or compares in it (partition bounds, foreign keys, predicates,
 * generated columns, domains) would go by those.  Works on the catalogs: what was done before counts
 * as much as what is done now, whichever statement it was.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/prs2lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/partcache.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "codec.h"
#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "schema_check.h"

/* The table under test. */
typedef struct Check
{
	Relation	rel;
	const ColumnSpec *cols;
	int			ncols;
	List	   *tree;			/* members of the protected table */
	Oid			root;			/* if it is one already, and this is about a
								 * change: what was declared */
} Check;

static const ColumnSpec *
spec_at(const Check *check, AttrNumber attnum)
{
	for (int i = 0; i < check->ncols; i++)
	{
		/* cols is palloc()ed, which does not return NULL */
		if (check->cols[i].attnum == attnum)	/* NOLINT(clang-analyzer-core.NullDereference) */
			return &check->cols[i];
	}
	return NULL;
}

/* The personal column that an expression over the table uses, or NULL. */
static const ColumnSpec *
spec_in(const Check *check, Node *expr, int varno)
{
	Bitmapset  *attnums = NULL;

	pull_varattnos(expr, varno, &attnums);
	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attnums))
		return check->ncols > 0 ? &check->cols[0] : NULL;
	for (int i = 0; i < check->ncols; i++)
	{
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as above */
		if (bms_is_member(check->cols[i].attnum -
						  FirstLowInvalidHeapAttributeNumber, attnums))
			return &check->cols[i];
	}
	return NULL;
}

static const char *
column_name(const Check *check, const ColumnSpec *spec)
{
	return NameStr(TupleDescAttr(RelationGetDescr(check->rel),
								 spec->attnum - 1)->attname);
}

/*
 * Refuse because of a personal column.  what: "a partition key", say.  The
 * hint before protection is the caller's, afterwards there is one way.
 */
static void
refuse_column(const Check *check, const ColumnSpec *spec, const char *what,
			  const char *hint)
{
	if (OidIsValid(check->root))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_SEALED),
				 errmsg("personal column \"%s\" of protected table \"%s\" cannot be used in %s",
						column_name(check, spec),
						RelationGetRelationName(check->rel), what),
				 errdetail("The table stores a token or a placeholder in its place."),
				 errhint("First CALL gdpr.unprotect(%s).",
					 quote_literal_cstr(datamap_relation_name(check->root)))));
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("cannot protect table \"%s\": column \"%s\" is used in %s",
					RelationGetRelationName(check->rel),
					column_name(check, spec), what),
			 errdetail("The table will store a token or a placeholder in its place."),
			 errhint("%s", hint)));
}

static void
refuse_table(const Check *check, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(OidIsValid(check->root) ? ERRCODE_GDPR_NOT_SEALED :
					 ERRCODE_FEATURE_NOT_SUPPORTED),
			 OidIsValid(check->root) ?
			 errmsg("protected table \"%s\" cannot be %s",
					RelationGetRelationName(check->rel), what) :
			 errmsg("cannot protect table \"%s\": it is %s",
					RelationGetRelationName(check->rel), what),
			 errhint("%s", hint)));
}

/*
 * A query on a parent that is not protected would read its children's columns
 * as they are stored.
 */
static void
check_parents(const Check *check)
{
	Relation	catalog = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			parent = InvalidOid;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(check->rel)));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL,
							  1, &key);
	while (!OidIsValid(parent) &&
		   HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
		if (list_member_oid(check->tree, parent))
			parent = InvalidOid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	if (OidIsValid(parent))
		refuse_table(check, psprintf("a partition or child of table \"%s\"",
									 get_rel_name(parent)),
					 psprintf("Declare and protect %s: its partitions and children are protected with it.",
							  datamap_relation_name(parent)));
}

static void
check_partition_key(const Check *check)
{
	PartitionKey key = RelationGetPartitionKey(check->rel);
	const ColumnSpec *spec = spec_in(check, (Node *) key->partexprs, 1);

	for (int i = 0; i < key->partnatts && spec == NULL; i++)
	{
		if (key->partattrs[i] != 0)
			spec = spec_at(check, key->partattrs[i]);
	}
	if (spec != NULL)
		refuse_column(check, spec, "a partition key",
					  "Partition by columns without personal data, such as a number or a date of entry.");
}

/*
 * forget() deletes and updates rows by statements of its own, which a rule
 * would replace as well.  (Those that do something besides leave them alone,
 * see rewrite_planner().)
 */
static void
check_rules(const Check *check)
{
	RuleLock   *rules = check->rel->rd_rules;

	for (int i = 0; rules != NULL && i < rules->numLocks; i++)
		if (rules->rules[i]->isInstead && rules->rules[i]->event != CMD_INSERT)
			refuse_table(check, "used with rules that replace UPDATE or DELETE",
						 "DROP RULE first, and use DO ALSO, a trigger, or a rule on a view instead.");
}

static void
check_relation(const Check *check)
{
	Form_pg_class form = check->rel->rd_rel;

	if (form->relkind == RELKIND_FOREIGN_TABLE)
		refuse_table(check, "a foreign table",
					 "Protect the table on the server that stores it.");
	if (form->relkind != RELKIND_RELATION &&
		form->relkind != RELKIND_PARTITIONED_TABLE)
		refuse_table(check, "not a table",
					 "Protect the tables whose rows it shows.");
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		refuse_table(check, "temporary",
					 "Its rows end with the session; it is in no backup.");
	if (OidIsValid(form->reloftype))
		refuse_table(check, "a typed table",
					 "ALTER TABLE ... NOT OF first: a column has to be added.");
	check_parents(check);
	if (form->relkind == RELKIND_PARTITIONED_TABLE)
		check_partition_key(check);
	check_rules(check);
}

/*
 * Does NULL, which stands in for a value, break a constraint of the domain?
 * Its constraints run as the table's owner.  (domain_check() would want a
 * binary input function, which not every type has.)
 */
static bool
domain_refuses_null(Oid typid, Oid owner)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool result = false;
	Oid			input;
	Oid			ioparam;
	Oid			user;
	int			sec_context;
	int			guc_level;

	getTypeInputInfo(typid, &input, &ioparam);
	GetUserIdAndSecContext(&user, &sec_context);
	guc_level = NewGUCNestLevel();
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		(void) OidInputFunctionCall(input, NULL, ioparam, -1);
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) !=
			ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		result = true;
	}
	PG_END_TRY();
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, sec_context);
	return result;
}

static void
check_attributes(const Check *check)
{
	TupleDesc	desc = RelationGetDescr(check->rel);
	TupleConstr *constr = desc->constr;

	for (int i = 0; i < check->ncols; i++)
	{
		const ColumnSpec *spec = &check->cols[i];
		Form_pg_attribute att = TupleDescAttr(desc, spec->attnum - 1);

		if (att->attgenerated)
			refuse_column(check, spec, "a generated column",
						  "Declare the columns it is generated from, and drop it.");
		if (codec_refusal(att->atttypid) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of table \"%s\" cannot be sealed: it is of type %s",
							column_name(check, spec),
							RelationGetRelationName(check->rel),
							format_type_be(att->atttypid)),
					 errdetail("%s", codec_refusal(att->atttypid)),
					 errhint("Leave the column out of the data map, or ALTER TABLE ... ALTER COLUMN ... TYPE text first.")));
		if (att->attidentity)
			refuse_column(check, spec, "an identity column",
						  "An identity column identifies a row; leave it out.");
		/* rows are moved as they are stored */
		if (check->rel->rd_rel->relispartition && !spec->searchable &&
			att->attnotnull != spec->notnull)
			refuse_column(check, spec,
						  "a NOT NULL constraint of one part of the table and not of another",
						  "ALTER TABLE ... ALTER COLUMN ... SET NOT NULL, or DROP NOT NULL, alike in the table and all its partitions.");
		/* a NULL placeholder passes any CHECK that a NULL value would pass */
		if (get_typtype(att->atttypid) == TYPTYPE_DOMAIN &&
			DomainHasConstraints(att->atttypid) &&
			(spec->searchable || att->attnotnull ||
			 domain_refuses_null(att->atttypid, check->rel->rd_rel->relowner)))
			refuse_column(check, spec,
						  psprintf("a domain with constraints (%s)",
								   format_type_be(att->atttypid)),
						  "Give the column the domain's base type and a CHECK constraint of its own, or declare it searchable => false.");
	}

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		AttrDefault *def = &constr->defval[i];
		const ColumnSpec *spec;

		if (!TupleDescAttr(desc, def->adnum - 1)->attgenerated)
			continue;
		spec = spec_in(check, stringToNode(def->adbin), 1);
		if (spec != NULL)
			refuse_column(check, spec,
						  psprintf("generated column \"%s\"",
								   NameStr(TupleDescAttr(desc, def->adnum - 1)->attname)),
						  "DROP EXPRESSION from the generated column, or compute it in a view.");
	}
}

/* The personal column in an attribute number array of pg_constraint. */
static const ColumnSpec *
spec_in_key(const Check *check, HeapTuple tuple, AttrNumber column,
			TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);
	ArrayType  *array;
	int16	   *attnums;

	if (isnull)
		return NULL;
	array = DatumGetArrayTypeP(value);
	attnums = (int16 *) ARR_DATA_PTR(array);
	for (int i = 0; i < ARR_DIMS(array)[0]; i++)
	{
		const ColumnSpec *spec = spec_at(check, attnums[i]);

		if (spec != NULL)
			return spec;
	}
	return NULL;
}

static void
check_constraint(const Check *check, HeapTuple tuple, TupleDesc desc)
{
	Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);
	const char *name = NameStr(form->conname);
	const ColumnSpec *spec;
	Datum		expr;
	bool		isnull;

	switch (form->contype)
	{
		case CONSTRAINT_FOREIGN:
			spec = spec_in_key(check, tuple,
							   form->conrelid == RelationGetRelid(check->rel) ?
							   Anum_pg_constraint_conkey :
							   Anum_pg_constraint_confkey, desc);
			if (spec != NULL)
				refuse_column(check, spec,
							  psprintf("foreign key \"%s\"", name),
							  "Refer to rows by a key without personal data, such as a number.");
			break;

		case CONSTRAINT_EXCLUSION:
			spec = spec_in_key(check, tuple, Anum_pg_constraint_conkey, desc);
			if (spec != NULL)
				refuse_column(check, spec,
							  psprintf("exclusion constraint \"%s\"", name),
							  "DROP CONSTRAINT first; UNIQUE works on a searchable column.");
			break;

		case CONSTRAINT_CHECK:
			/* protect() has the guard check them on the value */
			if (!OidIsValid(check->root) ||
				strcmp(name, GUARD_CHECK_CONSTRAINT) == 0)
				break;
			expr = heap_getattr(tuple, Anum_pg_constraint_conbin, desc,
								&isnull);
			if (isnull)
				break;
			spec = spec_in(check, stringToNode(TextDatumGetCString(expr)), 1);
			if (spec != NULL)
				refuse_column(check, spec,
							  psprintf("CHECK constraint \"%s\"", name), "");
			break;

		default:
			break;
	}
}

/* Those of the table, and foreign keys that refer to it. */
static void
check_constraints(const Check *check)
{
	Relation	catalog = table_open(ConstraintRelationId, AccessShareLock);
	static const AttrNumber by[] = {
		Anum_pg_constraint_conrelid, Anum_pg_constraint_confrelid
	};

	for (int i = 0; i < lengthof(by); i++)
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key, by[i], BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(RelationGetRelid(check->rel)));
		scan = systable_beginscan(catalog,
								  i == 0 ? ConstraintRelidTypidNameIndexId :
								  InvalidOid, i == 0, NULL, 1, &key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
			check_constraint(check, tuple, RelationGetDescr(catalog));
		systable_endscan(scan);
	}
	table_close(catalog, AccessShareLock);
}

/* lower(column), maybe relabelled: then the column. */
static const ColumnSpec *
lowered_column(const Check *check, Node *expr)
{
	Node	   *arg;

	if (!IsA(expr, FuncExpr) || ((FuncExpr *) expr)->funcid != F_LOWER_TEXT)
		return NULL;
	arg = linitial(((FuncExpr *) expr)->args);
	while (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;
	if (!IsA(arg, Var))
		return NULL;
	return spec_at(check, ((Var *) arg)->varattno);
}

static void
check_unique_column(const Check *check, const ColumnSpec *spec, Oid collation,
					const char *index)
{
	if (!spec->searchable)
		refuse_column(check, spec, psprintf("unique index \"%s\"", index),
					  "Declare the column searchable => true.");

	/* tokens are of the bytes */
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		refuse_column(check, spec,
					  psprintf("unique index \"%s\", whose collation finds different values equal",
							   index),
					  "Give the column a deterministic collation, and make the unique index on lower(column) if case is not to matter.");

	/* citext is compared like this anyway */
	if (spec->normalize == NORMALIZE_LOWER &&
		(TupleDescAttr(RelationGetDescr(check->rel),
					   spec->attnum - 1)->atttypid == TEXTOID ||
		 getBaseType(TupleDescAttr(RelationGetDescr(check->rel),
								   spec->attnum - 1)->atttypid) == VARCHAROID))
		refuse_column(check, spec,
					  psprintf("unique index \"%s\", which tells upper from lower case, while its tokens do not",
							   index),
					  "Declare the column without normalization => 'lower', or make the unique index on lower(column).");
}

/*
 * An expression of an index.  Only lower(column) means the same on tokens.
 */
static void
check_index_expression(const Check *check, Node *expr, bool unique,
					   const char *index)
{
	const ColumnSpec *spec = spec_in(check, expr, 1);
	const ColumnSpec *lowered = lowered_column(check, expr);

	if (spec == NULL)
		return;
	if (lowered == NULL)
		refuse_column(check, spec,
					  psprintf("an expression of index \"%s\"", index),
					  "DROP INDEX first: it would hold tokens or placeholders, not values.");
	if (unique && lowered != NULL &&
		(!lowered->searchable ||
		 lowered->normalize != NORMALIZE_LOWER))
		refuse_column(check, lowered,
					  psprintf("unique index \"%s\" on lower(column)", index),
					  "Declare the column searchable => true, normalization => 'lower'.");
}

/* A tree in the index's row of pg_index; NULL if it has none there. */
static Node *
stored_tree(Oid index, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Node	   *result = NULL;
	Datum		tree;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	tree = SysCacheGetAttr(INDEXRELID, tuple, attnum, &isnull);
	if (!isnull)
		result = stringToNode(TextDatumGetCString(tree));
	ReleaseSysCache(tuple);
	return result;
}

List *
schema_check_index_expressions(Oid index)
{
	return (List *) stored_tree(index, Anum_pg_index_indexprs);
}

static void
check_index(const Check *check, Relation index)
{
	Form_pg_index form = index->rd_index;
	const char *name = RelationGetRelationName(index);
	const ColumnSpec *spec;
	List	   *exprs = schema_check_index_expressions(RelationGetRelid(index));
	ListCell   *expr = list_head(exprs);

	spec = spec_in(check, stored_tree(RelationGetRelid(index),
									  Anum_pg_index_indpred), 1);
	if (spec != NULL)
		refuse_column(check, spec,
					  psprintf("the predicate of index \"%s\"", name),
					  "DROP INDEX first: its predicate would be tested on tokens or placeholders.");

	for (int i = 0; i < form->indnatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];
		bool		unique = form->indisunique && i < form->indnkeyatts;

		if (attnum == InvalidAttrNumber)
		{
			check_index_expression(check, lfirst(expr), unique, name);
			expr = lnext(exprs, expr);
			continue;
		}
		spec = spec_at(check, attnum);
		if (spec != NULL && form->indisexclusion)
			refuse_column(check, spec,
						  psprintf("exclusion constraint \"%s\"", name),
						  "DROP CONSTRAINT first; UNIQUE works on a searchable column.");
		if (spec != NULL && unique)
			check_unique_column(check, spec, index->rd_indcollation[i], name);
	}
}

static void
check_indexes(const Check *check)
{
	List	   *indexes = RelationGetIndexList(check->rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		check_index(check, index);
		index_close(index, AccessShareLock);
	}
}

static void
check_statistics(const Check *check)
{
	List	   *objects = RelationGetStatExtList(check->rel);
	ListCell   *lc;

	foreach(lc, objects)
	{
		HeapTuple	tuple = SearchSysCache1(STATEXTOID,
											ObjectIdGetDatum(lfirst_oid(lc)));
		Datum		exprs;
		bool		isnull;
		const ColumnSpec *spec = NULL;

		if (!HeapTupleIsValid(tuple))
			continue;
		exprs = SysCacheGetAttr(STATEXTOID, tuple,
								Anum_pg_statistic_ext_stxexprs, &isnull);
		if (!isnull)
			spec = spec_in(check, stringToNode(TextDatumGetCString(exprs)), 1);
		if (spec != NULL)
			refuse_column(check, spec,
						  psprintf("an expression of statistics object \"%s\"",
								   NameStr(((Form_pg_statistic_ext) GETSTRUCT(tuple))->stxname)),
						  "DROP STATISTICS first: they would be of tokens or placeholders.");
		ReleaseSysCache(tuple);
	}
}

/* Row filter, or a column list that sends tokens without their envelope. */
static void
check_publication(const Check *check, HeapTuple tuple, TupleDesc desc)
{
	const ColumnSpec *spec;
	Datum		value;
	bool		isnull;
	ArrayType  *array;
	int16	   *attnums;
	bool		has_sealed = false;

	value = heap_getattr(tuple, Anum_pg_publication_rel_prqual, desc, &isnull);
	if (!isnull)
	{
		spec = spec_in(check, stringToNode(TextDatumGetCString(value)), 1);
		if (spec != NULL)
			refuse_column(check, spec, "the row filter of a publication",
						  "ALTER PUBLICATION first: the filter would be tested on tokens or placeholders.");
	}

	value = heap_getattr(tuple, Anum_pg_publication_rel_prattrs, desc,
						 &isnull);
	if (isnull)
		return;
	array = DatumGetArrayTypeP(value);
	attnums = (int16 *) ARR_DATA_PTR(array);
	spec = NULL;
	for (int i = 0; i < ARR_DIMS(array)[0]; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(RelationGetDescr(check->rel),
										 attnums[i] - 1)->attname),
				   GUARD_SEALED_COLUMN) == 0)
			has_sealed = true;
		else if (spec == NULL)
			spec = spec_at(check, attnums[i]);
	}
	if (spec != NULL && !has_sealed)
		refuse_column(check, spec,
					  "the column list of a publication that leaves out " GUARD_SEALED_COLUMN,
					  "ALTER PUBLICATION first: publish all columns, or no personal ones; afterwards the list must have " GUARD_SEALED_COLUMN ".");
}

static void
check_publications(const Check *check)
{
	Relation	catalog = table_open(PublicationRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_publication_rel_prrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(check->rel)));
	scan = systable_beginscan(catalog, PublicationRelPrrelidPrpubidIndexId,
							  false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		check_publication(check, tuple, RelationGetDescr(catalog));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

static void
refuse_trigger(const Check *check, const Trigger *trigger, const char *why,
			   const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("trigger \"%s\" cannot be used on protected table \"%s\"",
					trigger->tgname, RelationGetRelationName(check->rel)),
			 errdetail("%s", why),
			 errhint("%s", hint)));
}

/* Triggers of one event fire in the order of their names' bytes. */
static void
check_trigger_order(const Check *check, const Trigger *trigger)
{
	if (TRIGGER_FOR_BEFORE(trigger->tgtype) &&
		TRIGGER_FOR_ROW(trigger->tgtype) &&
		(strcmp(trigger->tgname, GUARD_OPEN_TRIGGER) < 0 ||
		 strcmp(trigger->tgname, GUARD_SEAL_TRIGGER) > 0))
		refuse_trigger(check, trigger,
					   "By its name it would fire before the row is opened or after it is sealed.",
					   "ALTER TRIGGER ... RENAME: begin its name with a letter from a to z.");
}

/* name: of one trigger, or NULL for all */
static void
check_triggers(const Check *check, const char *name)
{
	TriggerDesc *triggers = check->rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (!trigger->tgisinternal && !guard_is_own_trigger(trigger->tgname) &&
			(name == NULL || strcmp(trigger->tgname, name) == 0))
			check_trigger_order(check, trigger);
	}
}

static void
check_all(const Check *check)
{
	check_relation(check);
	check_attributes(check);
	check_constraints(check);
	check_indexes(check);
	check_statistics(check);
	check_publications(check);
}

void
schema_check_table(Relation rel, const ColumnSpec *cols, int ncols,
				   List *tree)
{
	Check		check = {rel, cols, ncols, tree, InvalidOid};

	check_all(&check);
	check_triggers(&check, NULL);
}

static ColumnSpec *
specs_of(const TableMap *map)
{
	ColumnSpec *specs = palloc(Max(map->ncolumns, 1) * sizeof(ColumnSpec));

	for (int i = 0; i < map->ncolumns; i++)
	{
		specs[i].attnum = map->columns[i].attnum;
		specs[i].searchable = map->columns[i].searchable;
		specs[i].normalize = map->columns[i].normalize;
		specs[i].token_bytes = map->columns[i].token_bytes;
		specs[i].notnull = i < map->root->ncolumns &&
			map->root->columns[i].notnull;
	}
	return specs;
}

static Check
check_of(Relation rel, const TableMap *map)
{
	Check		check = {rel, specs_of(map), map->ncolumns, NIL, map->root->relid};

	check.tree = lappend_oid(list_copy(map->root->member_relids),
							 map->root->relid);
	return check;
}

void
schema_check_protected(Relation rel, const TableMap *map)
{
	Check		check = check_of(rel, map);

	check_all(&check);
}

void
schema_check_trigger(Relation rel, const TableMap *map, const char *name)
{
	Check		check = check_of(rel, map);

	check_triggers(&check, name);
}

void
schema_check_new_index(Relation rel, const TableMap *map,
					   const IndexStmt *stmt)
{
	Check		check = check_of(rel, map);
	const char *name = stmt->idxname ? stmt->idxname : "";
	const ColumnSpec *spec = spec_in(&check, stmt->whereClause, 1);
	ListCell   *lc;

	if (spec != NULL)
		refuse_column(&check, spec,
					  psprintf("the predicate of index \"%s\"", name), "");
	foreach(lc, stmt->indexParams)
	{
		IndexElem  *element = lfirst_node(IndexElem, lc);

		if (element->expr != NULL)
			check_index_expression(&check, element->expr, stmt->unique, name);
		else if (stmt->unique)
		{
			spec = spec_at(&check, get_attnum(RelationGetRelid(rel),
											  element->name));
			if (spec != NULL)
				check_unique_column(&check, spec,
									element->collation != NIL ?
									get_collation_oid(element->collation, false) :
									TupleDescAttr(RelationGetDescr(rel),
												  spec->attnum - 1)->attcollation,
									name);
		}
	}
}
