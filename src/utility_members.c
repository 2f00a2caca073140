/*
 * utility_members.c
 *		Partitions and inheritance children that come to protected tables.
 *
 * A new one is protected when it is made.  A table that is attached is sealed
 * before the statement runs, under the lock that the statement needs anyway;
 * PostgreSQL then finds in it the column and the constraint that it asks for.
 * One that is detached stays a member: its envelopes are the table's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "datamap.h"
#include "errors.h"
#include "utility_internal.h"

/* Call a function of the extension on relations, as its owner. */
static void
call_as_owner(const char *sql, Oid a, Oid b)
{
	Oid			types[2] = {OIDOID, OIDOID};
	Datum		args[2];
	Oid			user;
	int			sec_context;

	args[0] = ObjectIdGetDatum(a);
	args[1] = ObjectIdGetDatum(b);
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(sql, OidIsValid(b) ? 2 : 1, types, args, NULL,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
}

static void
refuse_foreign(Oid parent)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("a foreign table cannot be a partition or child of protected table \"%s\"",
					get_rel_name(parent)),
			 errdetail("Its rows could not be sealed where they are stored."),
			 errhint("Read both through a view.")));
}

/* parent gets child as a partition or child. */
static void
attach(RangeVar *parent_name, RangeVar *child_name)
{
	Oid			parent = RangeVarGetRelid(parent_name, NoLock, true);
	Oid			child = RangeVarGetRelid(child_name, NoLock, true);
	TableMap   *parent_map;
	TableMap   *child_map;

	if (!OidIsValid(parent) || !OidIsValid(child))
		return;
	parent_map = datamap_lookup(parent);
	child_map = datamap_lookup(child);
	if (parent_map == NULL)
	{
		if (child_map != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_GDPR_NOT_SEALED),
					 errmsg("protected table \"%s\" cannot become a partition or child of table \"%s\"",
							get_rel_name(child), get_rel_name(parent)),
					 errdetail("A query on \"%s\" would read its rows as they are stored.",
							   get_rel_name(parent)),
					 errhint("First CALL gdpr.unprotect('%s').",
							 datamap_relation_name(child_map->root->relid))));
		return;
	}
	if (child_map != NULL && child_map->root == parent_map->root)
		return;					/* comes back */
	if (get_rel_relkind(child) == RELKIND_FOREIGN_TABLE)
		refuse_foreign(parent);
	/* PostgreSQL refuses others itself */
	if (has_privs_of_role(GetUserId(), datamap_relation_owner(parent)) &&
		has_privs_of_role(GetUserId(), datamap_relation_owner(child)))
		call_as_owner("SELECT gdpr.prepare_member($1, $2)", parent, child);
}

void
utility_members_before_alter(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AttachPartition)
			attach(stmt->relation, ((PartitionCmd *) cmd->def)->name);
		else if (cmd->subtype == AT_AddInherit)
			attach((RangeVar *) cmd->def, stmt->relation);
	}
}

List *
utility_members_before_create(CreateStmt *stmt, bool foreign)
{
	List	   *parents = NIL;
	ListCell   *lc;

	foreach(lc, stmt->inhRelations)
	{
		Oid			relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock,
											 true);

		if (OidIsValid(relid) && datamap_lookup(relid) != NULL)
			parents = list_append_unique_oid(parents, relid);
	}
	if (foreign && parents != NIL)
		refuse_foreign(linitial_oid(parents));
	return parents;
}

void
utility_members_after_create(CreateStmt *stmt)
{
	List	   *parents = utility_members_before_create(stmt, false);

	if (parents != NIL)
		call_as_owner("SELECT gdpr.adopt_members($1)", linitial_oid(parents),
					  InvalidOid);
}

List *
utility_members_below(List *relids)
{
	List	   *result = list_copy(relids);
	ListCell   *lc;

	foreach(lc, relids)
	{
		TableMap   *map = datamap_lookup(lfirst_oid(lc));

		if (map != NULL && map->root->member_relids != NIL)
			result = list_concat_unique_oid(result,
											find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	}
	return result;
}

/* Are there members that do not follow when their root is changed? */
static bool
has_detached(const TableMap *map)
{
	List	   *attached = find_all_inheritors(map->root->relid, NoLock, NULL);
	ListCell   *lc;

	foreach(lc, map->root->member_relids)
	{
		if (!list_member_oid(attached, lfirst_oid(lc)))
			return true;
	}
	return false;
}

void
utility_members_before_rename(TableMap *map, const char *column)
{
	AttrNumber	attnum = get_attnum(map->relid, column);
	bool		is_mapped = datamap_column_at(map, attnum) != NULL;

	for (int i = 0; i < map->nkeys; i++)
		is_mapped |= map->keys[i] == attnum;
	for (int i = 0; i < map->nlinks; i++)
		for (int j = 0; j < map->links[i].ncolumns; j++)
			is_mapped |= map->links[i].columns[j] == attnum;
	if (is_mapped && attnum > 0 && (map->root != map || has_detached(map)))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("cannot rename column \"%s\" of protected table \"%s\"",
						column, get_rel_name(map->relid)),
				 errdetail("Partitions or children that were detached share its declaration, in which columns go by their names."),
				 errhint("Attach or drop them, or open them: CALL gdpr.unprotect('...'), which table gdpr.mapped_member lists.")));
}
