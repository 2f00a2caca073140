/*
 * datamap_members.c
 *		The partitions and inheritance children of declared tables.
 *
 * What the data map says of a table holds for all its members: ids, links,
 * columns.  Columns go by their names, for attribute numbers differ.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "datamap.h"
#include "datamap_internal.h"

/* The column of this name as one of the root's; notes one that is missing. */
static AttrNumber
member_attnum(TableMap *member, AttrNumber root_attnum)
{
	char	   *name = get_attname(member->root->relid, root_attnum, true);
	AttrNumber	attnum = name ? get_attnum(member->relid, name) :
		InvalidAttrNumber;

	if (attnum == InvalidAttrNumber)
		member->missing = name ? name : pstrdup("?");
	return attnum;
}

static void
translate_links(TableMap *member)
{
	size_t		size = sizeof(LinkMap) * member->nlinks;
	LinkMap    *links = palloc(size);
	int			i;
	int			j;

	memcpy(links, member->links, size);
	member->links = links;
	for (i = 0; i < member->nlinks; i++)
	{
		memset(links[i].plans, 0, sizeof(links[i].plans));
		for (j = 0; j < links[i].ncolumns; j++)
			links[i].columns[j] = member_attnum(member, links[i].columns[j]);
	}
}

static void
translate_columns(TableMap *member)
{
	size_t		size = sizeof(ColumnMap) * Max(member->ncolumns, 1);
	ColumnMap  *columns = palloc0(size);
	int			i;

	if (member->ncolumns > 0)
		memcpy(columns, member->columns, sizeof(ColumnMap) * member->ncolumns);
	member->columns = columns;
	for (i = 0; i < member->ncolumns; i++)
	{
		AttrNumber	attnum = member_attnum(member, columns[i].attnum);

		columns[i].table = member;
		columns[i].codec = NULL;
		columns[i].mask_state = NULL;
		if (attnum != InvalidAttrNumber)
			datamap_read_attribute(&columns[i], member->relid, attnum);
	}
}

TableMap *
datamap_make_member(TableMap *root, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(root->context);
	TableMap   *member = palloc(sizeof(TableMap));
	int			i;

	*member = *root;
	member->relid = relid;
	member->member_relids = NIL;
	member->key_codecs = NULL;
	member->check_state = NULL;
	member->move_state = NULL;
	member->sealed_attnum = get_attnum(relid, "gdpr_sealed");
	if (member->sealed_attnum == InvalidAttrNumber)
	{
		MemoryContextSwitchTo(old);
		return NULL;
	}
	member->natts = datamap_attribute_count(relid);
	member->by_attnum = palloc0(sizeof(ColumnMap *) * (member->natts + 1));
	for (i = 0; i < member->nkeys; i++)
		member->keys[i] = member_attnum(member, root->keys[i]);
	translate_links(member);
	translate_columns(member);
	datamap_translate_policies(member);
	if (member->missing == NULL)
		(void) datamap_finish_table(member);
	MemoryContextSwitchTo(old);
	return member;
}

List *
datamap_members(const TableMap *map)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (get_rel_relkind(map->root->relid) == RELKIND_RELATION)
		result = lappend(result, map->root);
	foreach(lc, map->root->member_relids)
	{
		TableMap   *member = get_rel_relkind(lfirst_oid(lc)) == RELKIND_RELATION ?
			datamap_lookup(lfirst_oid(lc)) : NULL;

		if (member != NULL)
			result = lappend(result, member);
	}
	return result;
}

AttrNumber
datamap_member_attnum(const TableMap *map, AttrNumber root_attnum)
{
	AttrNumber	attnum = root_attnum;

	if (map->root != map)
		attnum = get_attnum(map->relid,
							get_attname(map->root->relid, root_attnum, false));
	if (attnum == InvalidAttrNumber)
		elog(ERROR, "relation %u lacks a column of relation %u", map->relid,
			 map->root->relid);
	return attnum;
}
