/*
 * audit_names.c
 *		Names for the records of the audit trail: of roles and tables.
 *
 * A session asks for the same few in each of its statements: they are kept
 * until a role, table or schema may have been renamed.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "audit_names.h"
#include "datamap.h"

#define KEPT	16				/* of each; a power of two */

/* two identifiers, each character quoted, quotes and a dot */
#define MAX_NAME	(2 * (2 * NAMEDATALEN + 2) + 2)

typedef struct KeptName
{
	Oid			oid;			/* InvalidOid: none */
	char		name[MAX_NAME];
} KeptName;

static KeptName roles[KEPT];
static KeptName relations[KEPT];
static uint64 renames = 0;		/* that there may have been */

static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	renames++;
	memset(roles, 0, sizeof(roles));
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	renames++;
	memset(relations, 0, sizeof(relations));
}

/* InvalidOid: all of them. */
static void
relation_changed(Datum arg, Oid relid)
{
	renames++;
	if (!OidIsValid(relid))
		memset(relations, 0, sizeof(relations));
	else if (relations[relid % KEPT].oid == relid)
		relations[relid % KEPT].oid = InvalidOid;
}

/* One that may be out of date already is not kept. */
static const char *
keep(KeptName *kept, Oid oid, const char *name, uint64 renames_before)
{
	strlcpy(kept->name, name, MAX_NAME);
	kept->oid = renames == renames_before ? oid : InvalidOid;
	return kept->name;
}

const char *
audit_role_name(Oid role)
{
	KeptName   *kept = &roles[role % KEPT];
	uint64		before = renames;

	if (kept->oid == role)
		return kept->name;
	return keep(kept, role, GetUserNameFromId(role, false), before);
}

const char *
audit_relation_name(Oid relid)
{
	KeptName   *kept = &relations[relid % KEPT];
	uint64		before = renames;

	if (kept->oid == relid)
		return kept->name;
	return keep(kept, relid, datamap_relation_name(relid), before);
}

void
audit_names_init(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}
