/*
 * utility_ddl.c
 *		Schema changes of protected tables.
 *
 * What would break a protected table for good, or cost a rewrite of it before
 * it is found out, is refused before it runs.  Everything else runs, and the
 * rules of schema_check.c decide on the result, so that it does not matter by
 * which statement a constraint came.
 *
 * Table names are looked up without a lock: the statement itself looks them up
 * again, and what is then found protected was so before, for protect() needs a
 * lock on the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "parser/parse_utilcmd.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "check.h"
#include "datamap.h"
#include "errors.h"
#include "guard.h"
#include "schema_check.h"
#include "trigger.h"
#include "utility_internal.h"

/* ---------- which tables ---------- */

static List *
add_protected(List *relids, RangeVar *name)
{
	Oid			relid = name == NULL ? InvalidOid :
		RangeVarGetRelid(name, NoLock, true);

	if (OidIsValid(relid) && datamap_lookup(relid) != NULL)
		relids = list_append_unique_oid(relids, relid);
	return relids;
}

static List *
add_referenced(List *relids, List *constraints)
{
	ListCell   *lc;

	foreach(lc, constraints)
	{
		Constraint *constraint = lfirst(lc);

		if (IsA(constraint, Constraint) &&
			constraint->contype == CONSTR_FOREIGN)
			relids = add_protected(relids, constraint->pktable);
	}
	return relids;
}

static List *
tables_of_create(CreateStmt *stmt)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, stmt->tableElts)
	{
		Node	   *element = lfirst(lc);

		relids = add_referenced(relids, IsA(element, ColumnDef) ?
								((ColumnDef *) element)->constraints :
								list_make1(element));
	}
	return add_referenced(relids, stmt->constraints);
}

static List *
tables_of_alter(AlterTableStmt *stmt)
{
	List	   *relids = add_protected(NIL, stmt->relation);
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->def == NULL)
			continue;
		if (IsA(cmd->def, Constraint))
			relids = add_referenced(relids, list_make1(cmd->def));
		else if (IsA(cmd->def, ColumnDef))
			relids = add_referenced(relids,
									((ColumnDef *) cmd->def)->constraints);
	}
	return relids;
}

static List *
tables_of_publication(List *objects)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, objects)
	{
		PublicationObjSpec *object = lfirst_node(PublicationObjSpec, lc);

		if (object->pubtable != NULL)
			relids = add_protected(relids, object->pubtable->relation);
	}
	return relids;
}

/* The type that a domain is directly over. */
static Oid
domain_over(Oid domain)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(domain));
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", domain);
	result = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
	ReleaseSysCache(tuple);
	return result;
}

/* Are values of a type part of those of another, or is it the same? */
static bool
type_holds(Oid typid, Oid part)
{
	Oid			base = getBaseType(typid);
	Oid			inner;
	Oid			relid;
	TupleDesc	desc;
	bool		result = false;

	check_stack_depth();
	while (typid != base && typid != part)
		typid = domain_over(typid);
	if (typid == part || base == part)
		return true;
	inner = get_element_type(base);
	if (!OidIsValid(inner))
		inner = get_multirange_range(base);
	if (!OidIsValid(inner))
		inner = get_range_subtype(base);
	if (OidIsValid(inner))
		return type_holds(inner, part);
	relid = get_typ_typrelid(base);
	if (!OidIsValid(relid))
		return false;
	desc = lookup_rowtype_tupdesc(base, -1);
	for (int i = 0; i < desc->natts && !result; i++)
		result = !TupleDescAttr(desc, i)->attisdropped &&
			type_holds(TupleDescAttr(desc, i)->atttypid, part);
	ReleaseTupleDesc(desc);
	return result;
}

/* Those that have a personal column with values of the domain. */
static List *
tables_of_domain(List *name)
{
	Oid			domain = LookupTypeNameOid(NULL, makeTypeNameFromNameList(name),
										   true);
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, datamap_tables(InvalidOid))
	{
		TableMap   *map = lfirst(lc);

		for (int i = 0; i < map->ncolumns; i++)
		{
			if (OidIsValid(domain) &&
				type_holds(map->columns[i].typid, domain))
				relids = list_append_unique_oid(relids, map->relid);
		}
	}
	return relids;
}

/* The table of DROP TRIGGER or DROP RULE: all but the last name. */
static RangeVar *
table_of_object(List *names)
{
	return makeRangeVarFromNameList(list_truncate(list_copy(names),
												  list_length(names) - 1));
}

/* ---------- what is refused at once ---------- */

static void
refuse(TableMap *map, const char *what)
{
	char	   *relname = get_rel_name(map->relid);

	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("cannot %s of protected table \"%s\"", what, relname),
			 errhint("First CALL gdpr.unprotect(%s).",
					 quote_literal_cstr(datamap_relation_name(map->root->relid)))));
}

static bool
is_own_trigger(const char *name)
{
	return name != NULL && guard_is_own_trigger(name);
}

static bool
is_sealed_column(const char *name)
{
	return name != NULL && strcmp(name, GUARD_SEALED_COLUMN) == 0;
}

static bool
is_key_column(TableMap *map, AttrNumber attnum)
{
	for (int i = 0; i < map->nkeys; i++)
	{
		if (map->keys[i] == attnum)
			return true;
	}
	return false;
}

static bool
is_link_column(TableMap *map, AttrNumber attnum)
{
	for (int i = 0; i < map->nlinks; i++)
	{
		for (int j = 0; j < map->links[i].ncolumns; j++)
		{
			if (map->links[i].columns[j] == attnum)
				return true;
		}
	}
	return false;
}

/*
 * Does the new type take every value as it is, so that the server leaves the
 * table alone: varchar that gets longer or text, numeric that gets wider?
 */
static bool
only_widens(const ColumnMap *column, ColumnDef *def)
{
	Oid			typid;
	int32		typmod;

	if (def->raw_default != NULL || def->collClause != NULL ||
		column->typid != column->basetypid)
		return false;
	typenameTypeIdAndMod(NULL, def->typeName, &typid, &typmod);
	if (typid == NUMERICOID && column->basetypid == NUMERICOID)
		return typmod == -1 ||
			(column->typmod >= (int32) VARHDRSZ && typmod >= column->typmod &&
			 ((typmod - VARHDRSZ) & 0xFFFF) ==
			 ((column->typmod - VARHDRSZ) & 0xFFFF));
	return (column->basetypid == VARCHAROID || column->basetypid == TEXTOID) &&
		((typid == TEXTOID && column->collation == DEFAULT_COLLATION_OID) ||
		 (typid == VARCHAROID && column->collation == DEFAULT_COLLATION_OID &&
		  (typmod == -1 ||
		   (column->typmod >= (int32) VARHDRSZ && typmod >= column->typmod))));
}

/* Does an expression, not yet analyzed, name a personal column or the row? */
static bool
names_personal(Node *node, void *context)
{
	const TableMap *map = (const TableMap *) context;

	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
	{
		Node	   *last = llast(((ColumnRef *) node)->fields);
		AttrNumber	attnum;

		if (!IsA(last, String))
			return true;
		attnum = get_attnum(map->relid, strVal(last));
		return attnum == InvalidAttrNumber ||
			datamap_column_at(map, attnum) != NULL;
	}
	return raw_expression_tree_walker(node, names_personal, context);
}

static void
check_alter_command(TableMap *map, AlterTableCmd *cmd)
{
	AttrNumber	attnum = cmd->name == NULL ? InvalidAttrNumber :
		get_attnum(map->relid, cmd->name);
	ColumnMap  *column = attnum > 0 ? datamap_column_at(map, attnum) : NULL;

	switch (cmd->subtype)
	{
		case AT_AlterColumnType:
			if (column != NULL && !only_widens(column, (ColumnDef *) cmd->def))
				refuse(map, psprintf("change the type of personal column \"%s\"",
									 cmd->name));
			if (names_personal(((ColumnDef *) cmd->def)->raw_default, map))
				refuse(map, psprintf("compute column \"%s\" from personal columns",
									 cmd->name));
			if (is_sealed_column(cmd->name) || is_key_column(map, attnum))
				refuse(map, psprintf("change the type of column \"%s\"",
									 cmd->name));
			break;

		case AT_SetNotNull:
			/* of a searchable one NULL is stored as NULL: the server can tell */
			if (column != NULL && !column->searchable)
				refuse(map, psprintf("set NOT NULL on personal column \"%s\"",
									 cmd->name));
			break;

		case AT_DropColumn:
			/* the CHECK constraint would go with it, and digests not match */
			if (column != NULL)
				refuse(map, psprintf("drop personal column \"%s\"", cmd->name));
			if (is_sealed_column(cmd->name) || is_key_column(map, attnum) ||
				is_link_column(map, attnum))
				refuse(map, psprintf("drop column \"%s\"", cmd->name));
			break;

		case AT_ColumnDefault:
		case AT_DropNotNull:
			if (is_sealed_column(cmd->name))
				refuse(map, psprintf("change column \"%s\"", cmd->name));
			break;

		case AT_DropConstraint:
			if (cmd->name != NULL &&
				strcmp(cmd->name, GUARD_CHECK_CONSTRAINT) == 0)
				refuse(map, psprintf("drop constraint \"%s\"", cmd->name));
			break;

		case AT_EnableTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
			if (is_own_trigger(cmd->name))
				refuse(map, psprintf("change trigger \"%s\"", cmd->name));
			break;

		case AT_AddOf:
			refuse(map, "change the type");
			break;

		default:
			break;
	}
}

/*
 * Values of such types are sealed as text: one written before the change
 * could not be read after it.  inside: only where it is part of another type.
 */
static void
refuse_change_of_type(Oid typid, const char *what, bool inside)
{
	List	   *tables = datamap_tables(InvalidOid);
	ListCell   *lc;

	foreach(lc, tables)
	{
		TableMap   *map = lfirst(lc);

		for (int i = 0; i < map->ncolumns; i++)
		{
			Oid			used = inside ? map->columns[i].basetypid :
				map->columns[i].typid;

			if (OidIsValid(typid) && type_holds(used, typid))
				ereport(ERROR,
						(errcode(ERRCODE_GDPR_NOT_SEALED),
						 errmsg("cannot %s type %s, of which personal column \"%s\" of protected table \"%s\" is",
								what, format_type_be(typid),
								map->columns[i].name, get_rel_name(map->relid)),
						 errhint("First CALL gdpr.unprotect('%s').",
								 datamap_relation_name(map->relid))));
		}
	}
}

/* A constraint that a column takes, but the input of an array of it does not. */
static void
check_domain(AlterDomainStmt *stmt)
{
	if (stmt->subtype == 'C' || stmt->subtype == 'O')
		refuse_change_of_type(LookupTypeNameOid(NULL, makeTypeNameFromNameList(stmt->typeName),
												true),
							  "add a constraint to", true);
}

static void
check_enum(AlterEnumStmt *stmt)
{
	if (stmt->oldVal != NULL)
		refuse_change_of_type(typenameTypeId(NULL, makeTypeNameFromNameList(stmt->typeName)),
							  "rename a label of", false);
}

/* The row type of ALTER TYPE … ADD ATTRIBUTE and its like. */
static void
check_composite(RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);

	if (OidIsValid(relid) && get_rel_relkind(relid) == RELKIND_COMPOSITE_TYPE)
		refuse_change_of_type(get_rel_type_id(relid), "change", false);
}

static void
check_alter(AlterTableStmt *stmt)
{
	List	   *relids = add_protected(NIL, stmt->relation);
	ListCell   *lc;

	check_composite(stmt->relation);
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (relids != NIL)
			check_alter_command(datamap_lookup(linitial_oid(relids)), cmd);
	}
	utility_members_before_alter(stmt);
}

/* CHECK constraints of the table whose column is being renamed */
static List *renamed_checks = NIL;

static void
check_rename(RenameStmt *stmt)
{
	List	   *relids;
	TableMap   *map;

	renamed_checks = NIL;
	switch (stmt->renameType)
	{
		case OBJECT_ATTRIBUTE:
			check_composite(stmt->relation);
			return;
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
			break;
		default:
			return;
	}
	relids = add_protected(NIL, stmt->relation);
	if (relids == NIL)
		return;
	map = datamap_lookup(linitial_oid(relids));
	if ((stmt->renameType == OBJECT_COLUMN &&
		 is_sealed_column(stmt->subname)) ||
		(stmt->renameType == OBJECT_TRIGGER &&
		 is_own_trigger(stmt->subname)) ||
		(stmt->renameType == OBJECT_TABCONSTRAINT &&
		 strcmp(stmt->subname, GUARD_CHECK_CONSTRAINT) == 0))
		refuse(map, psprintf("rename \"%s\"", stmt->subname));
	if (stmt->renameType == OBJECT_COLUMN)
	{
		utility_members_before_rename(map, stmt->subname);
		renamed_checks = check_before_rename(map);
	}
}

/* The map has the column names of tables that are only declared, too. */
static List *
table_of_rename(RenameStmt *stmt)
{
	Oid			relid;

	if (stmt->renameType != OBJECT_COLUMN)
		return add_protected(NIL, stmt->relation);
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	return OidIsValid(relid) ? list_make1_oid(relid) : NIL;
}

static void
check_create_trigger(CreateTrigStmt *stmt)
{
	List	   *relids;

	if (!stmt->replace || !is_own_trigger(stmt->trigname))
		return;
	relids = add_protected(NIL, stmt->relation);
	if (relids != NIL)
		refuse(datamap_lookup(linitial_oid(relids)),
			   psprintf("replace trigger \"%s\"", stmt->trigname));
}

static void
check_drop(DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_TRIGGER)
		return;
	foreach(lc, stmt->objects)
	{
		List	   *names = castNode(List, lfirst(lc));
		char	   *trigger = strVal(llast(names));
		List	   *relids;

		if (!is_own_trigger(trigger))
			continue;
		relids = add_protected(NIL, table_of_object(names));
		if (relids != NIL)
			refuse(datamap_lookup(linitial_oid(relids)),
				   psprintf("drop trigger \"%s\"", trigger));
	}
}

static bool
adds_unique(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AddIndex || cmd->subtype == AT_AddIndexConstraint ||
			(cmd->subtype == AT_AddConstraint &&
			 ((Constraint *) cmd->def)->contype == CONSTR_UNIQUE))
			return true;
	}
	return false;
}

/* An index that is made while rows have two forms compares them in neither. */
static void
refuse_new_unique(Relation rel, TableMap *map, Node *stmt)
{
	if (!datamap_in_transition(map) || !map->has_tokens)
		return;
	if (IsA(stmt, IndexStmt) ? ((IndexStmt *) stmt)->unique :
		IsA(stmt, AlterTableStmt) && adds_unique((AlterTableStmt *) stmt))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot make a unique index on table \"%s\" while it is being converted",
						RelationGetRelationName(rel)),
				 errhint("Do it before or afterwards: TABLE gdpr.conversions shows how far it is.")));
}

/*
 * CREATE INDEX CONCURRENTLY commits on its way: afterwards it is too late.
 */
static void
check_concurrent_index(IndexStmt *stmt)
{
	Oid			relid = RangeVarGetRelid(stmt->relation, AccessShareLock, true);
	TableMap   *map = OidIsValid(relid) ? datamap_lookup(relid) : NULL;
	Relation	rel;

	if (map == NULL)
		return;
	stmt = transformIndexStmt(relid, copyObject(stmt), "");
	rel = relation_open(relid, NoLock);
	refuse_new_unique(rel, map, (Node *) stmt);
	schema_check_new_index(rel, map, stmt);
	relation_close(rel, AccessShareLock);
}

List *
utility_before_ddl(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			check_alter((AlterTableStmt *) stmt);
			return tables_of_alter((AlterTableStmt *) stmt);

		case T_AlterEnumStmt:
			check_enum((AlterEnumStmt *) stmt);
			return NIL;

		case T_AlterDomainStmt:
			check_domain((AlterDomainStmt *) stmt);
			return tables_of_domain(((AlterDomainStmt *) stmt)->typeName);

		case T_AlterObjectSchemaStmt:
			if (((AlterObjectSchemaStmt *) stmt)->objectType != OBJECT_TABLE)
				return NIL;
			return add_protected(NIL, ((AlterObjectSchemaStmt *) stmt)->relation);

		case T_AlterPublicationStmt:
			return tables_of_publication(((AlterPublicationStmt *) stmt)->pubobjects);

		case T_CreatePublicationStmt:
			return tables_of_publication(((CreatePublicationStmt *) stmt)->pubobjects);

		case T_CreateStatsStmt:
			if (!IsA(linitial(((CreateStatsStmt *) stmt)->relations), RangeVar))
				return NIL;
			return add_protected(NIL,
								 linitial(((CreateStatsStmt *) stmt)->relations));

		case T_CreateForeignTableStmt:	/* begins with a CreateStmt */
		case T_CreateStmt:
			return list_concat_unique_oid(utility_members_before_create((CreateStmt *) stmt,
																		IsA(stmt, CreateForeignTableStmt)),
										  tables_of_create((CreateStmt *) stmt));

		case T_CreateTrigStmt:
			check_create_trigger((CreateTrigStmt *) stmt);
			return add_protected(NIL, ((CreateTrigStmt *) stmt)->relation);

		case T_DropStmt:
			check_drop((DropStmt *) stmt);
			return NIL;

		case T_IndexStmt:
			if (((IndexStmt *) stmt)->concurrent)
				check_concurrent_index((IndexStmt *) stmt);
			return add_protected(NIL, ((IndexStmt *) stmt)->relation);

		case T_RenameStmt:
			check_rename((RenameStmt *) stmt);
			return table_of_rename((RenameStmt *) stmt);

		case T_RuleStmt:
			return add_protected(NIL, ((RuleStmt *) stmt)->relation);

		default:
			return NIL;
	}
}

/* ---------- afterwards ---------- */

/* An index on a column that is not searchable helps no query. */
static void
notice_useless_index(TableMap *map, IndexStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->indexParams)
	{
		IndexElem  *element = lfirst_node(IndexElem, lc);
		AttrNumber	attnum = element->name == NULL ? InvalidAttrNumber :
			get_attnum(map->relid, element->name);
		ColumnMap  *column = attnum > 0 ? datamap_column_at(map, attnum) : NULL;

		if (column != NULL && !column->searchable)
			ereport(NOTICE,
					(errmsg("no query can use an index on personal column \"%s\"",
							element->name),
					 errdetail("The column is not searchable: it stores no values.")));
	}
}

/*
 * ENABLE TRIGGER ALL, which pg_restore --disable-triggers ends with, makes
 * triggers that fire always fire in ordinary sessions only.  Ours of any
 * table, as the data map may not be loaded yet, and of those in schema gdpr.
 */
void
utility_restore_always(Node *stmt)
{
	AlterTableStmt *alter = (AlterTableStmt *) stmt;
	Relation	rel;
	StringInfoData command;
	bool		enabled = false;
	int			found = 0;
	ListCell   *lc;

	foreach(lc, alter->cmds)
	{
		AlterTableType subtype = lfirst_node(AlterTableCmd, lc)->subtype;

		enabled = enabled || subtype == AT_EnableTrigAll ||
			subtype == AT_EnableTrigUser;
	}
	if (!enabled || alter->objtype != OBJECT_TABLE)
		return;
	CommandCounterIncrement();
	rel = relation_openrv_extended(alter->relation, AccessShareLock, true);
	if (rel == NULL)
		return;

	initStringInfo(&command);
	appendStringInfo(&command, "ALTER TABLE %s",
					 datamap_relation_name(RelationGetRelid(rel)));
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (get_func_namespace(trigger->tgfoid) == datamap_oids()->schema &&
			trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN)
			appendStringInfo(&command, "%s ENABLE ALWAYS TRIGGER %s",
							 found++ > 0 ? "," : "",
							 quote_identifier(trigger->tgname));
	}
	relation_close(rel, NoLock);
	if (found == 0)
		return;
	SPI_connect();
	if (SPI_execute(command.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not enable the triggers of a protected table");
	SPI_finish();
}

/*
 * Does a statement concern nothing but triggers?  Then the indexes need not be
 * looked at, and are not locked: pg_restore -j attaches those of partitions
 * while it makes triggers.
 */
static bool
is_about_triggers(const Node *stmt)
{
	ListCell   *lc;

	if (!IsA(stmt, AlterTableStmt))
		return IsA(stmt, CreateTrigStmt);
	foreach(lc, ((const AlterTableStmt *) stmt)->cmds)
	{
		switch (lfirst_node(AlterTableCmd, lc)->subtype)
		{
			case AT_EnableTrig:
			case AT_EnableAlwaysTrig:
			case AT_EnableReplicaTrig:
			case AT_DisableTrig:
			case AT_EnableTrigAll:
			case AT_DisableTrigAll:
			case AT_EnableTrigUser:
			case AT_DisableTrigUser:
				break;
			default:
				return false;
		}
	}
	return true;
}

void
utility_after_ddl(Node *stmt, List *relids)
{
	ListCell   *lc;

	CommandCounterIncrement();

	if (IsA(stmt, RenameStmt) &&
		((RenameStmt *) stmt)->renameType == OBJECT_COLUMN)
	{
		datamap_column_renamed(linitial_oid(relids),
							   ((RenameStmt *) stmt)->subname,
							   ((RenameStmt *) stmt)->newname);
		check_after_rename(renamed_checks);
	}
	foreach(lc, relids)
		datamap_table_altered(lfirst_oid(lc));
	CommandCounterIncrement();

	if (IsA(stmt, CreateStmt))
		utility_members_after_create((CreateStmt *) stmt);

	foreach(lc, utility_members_below(relids))
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);
		TableMap   *map = datamap_lookup(lfirst_oid(lc));

		if (rel == NULL)
			continue;
		if (map != NULL)
		{
			if (!is_about_triggers(stmt))
			{
				refuse_new_unique(rel, map, stmt);
				schema_check_protected(rel, map);
			}
			/* partitions get one, too */
			if (IsA(stmt, CreateTrigStmt))
				trigger_adapt(rel, ((CreateTrigStmt *) stmt)->trigname, true);
			if (!list_member_oid(relids, lfirst_oid(lc)))
			{
				relation_close(rel, AccessShareLock);
				continue;
			}
			if (IsA(stmt, CreateTrigStmt))
				schema_check_trigger(rel, map,
									 ((CreateTrigStmt *) stmt)->trigname);
			if (IsA(stmt, RenameStmt) &&
				((RenameStmt *) stmt)->renameType == OBJECT_TRIGGER)
				schema_check_trigger(rel, map,
									 ((RenameStmt *) stmt)->newname);
			if (IsA(stmt, IndexStmt))
				notice_useless_index(map, (IndexStmt *) stmt);
		}
		relation_close(rel, AccessShareLock);
	}
}
