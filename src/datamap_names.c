/*
 * datamap_names.c
 *		Names and owners of relations; the names in the data map follow those
 *		of the columns.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "datamap.h"
#include "datamap_internal.h"

int
datamap_attribute_count(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

Oid
datamap_relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

char *
datamap_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

Oid
datamap_owner(void)
{
	return datamap_relation_owner(get_relname_relid("mapped_table",
													datamap_oids()->schema));
}

/*
 * As the map's owner, so nothing here may depend on the session's search path.
 */
void
datamap_column_renamed(Oid relid, const char *oldname, const char *newname)
{
	static const char *const updates[] = {
		"UPDATE gdpr.mapped_column c SET name = $3 FROM gdpr.mapped_table t"
		" WHERE t.id OPERATOR(pg_catalog.=) c.table_id AND t.relation OPERATOR(pg_catalog.=) $1"
		" AND c.name OPERATOR(pg_catalog.=) $2",
		"UPDATE gdpr.mapped_table SET key_columns = pg_catalog.array_replace(key_columns, $2, $3)"
		" WHERE relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (key_columns)",
		"UPDATE gdpr.mapped_link l SET columns = pg_catalog.array_replace(columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) l.table_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (l.columns)",
		"UPDATE gdpr.mapped_link l SET parent_columns = pg_catalog.array_replace(parent_columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) l.parent_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (l.parent_columns)",
		"UPDATE gdpr.mapped_owner o SET owner_columns = pg_catalog.array_replace(owner_columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) o.owner_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (o.owner_columns)",
		"UPDATE gdpr.mapped_owner o SET columns = pg_catalog.array_replace(columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) o.table_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (o.columns)",
		"UPDATE gdpr.mapped_access a SET columns = pg_catalog.array_replace(columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) a.table_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (a.columns)",
		"UPDATE gdpr.mapped_access a SET parent_columns = pg_catalog.array_replace(parent_columns, $2, $3)"
		" FROM gdpr.mapped_table t WHERE t.id OPERATOR(pg_catalog.=) a.parent_id"
		" AND t.relation OPERATOR(pg_catalog.=) $1 AND $2 OPERATOR(pg_catalog.=) ANY (a.parent_columns)",
		"UPDATE gdpr.retention_policy p SET since_column = $3 FROM gdpr.mapped_table t"
		" WHERE t.id OPERATOR(pg_catalog.=) p.since_table AND t.relation OPERATOR(pg_catalog.=) $1"
		" AND p.since_column OPERATOR(pg_catalog.=) $2"
	};
	Oid			types[3] = {OIDOID, NAMEOID, NAMEOID};
	Datum		args[3];
	Oid			user;
	Oid			owner;
	int			sec_context;
	size_t		i;

	if (datamap_oids() == NULL)
		return;
	args[0] = ObjectIdGetDatum(relid);
	args[1] = DirectFunctionCall1(namein, CStringGetDatum(oldname));
	args[2] = DirectFunctionCall1(namein, CStringGetDatum(newname));
	GetUserIdAndSecContext(&user, &sec_context);
	owner = datamap_owner();
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	for (i = 0; i < lengthof(updates); i++)
		if (SPI_execute_with_args(updates[i], 3, types, args, NULL, false,
								  0) != SPI_OK_UPDATE)
			elog(ERROR, "could not rename a column in the data map");
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
}
