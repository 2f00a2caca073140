/*
 * policy.c
 *		The decision whether a session sees a value.
 *
 * A value is revealed when gdpr.purpose names a purpose that was granted to
 * current_user, or to a role it has the privileges of, and that covers the
 * column's category (and the column, if the purpose is narrowed to columns).
 * Where all such grants are of mode mask, the column's mask is shown.
 * What was found for a role and a purpose is kept until the purposes, the
 * data map, or role memberships change, in any session.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "errors.h"
#include "guc.h"
#include "policy.h"

/* Columns of the tables, as in sql/40_purposes.sql */
enum PurposeColumn
{
	P_NAME = 1, P_LEGAL_BASIS, P_CATEGORIES, P_COLUMNS
};
enum PurposeGrantColumn
{
	PG_PURPOSE = 1, PG_ROLE, PG_MODE
};

/* What the current role may see for the current purpose */
static struct
{
	bool		valid;
	char	   *purpose;		/* "" for none */
	Oid			role;
	uint64		version;		/* of the data map and purposes */
	bool		known;
	bool		granted;
	bool		revealed;		/* granted in mode reveal, not only mask */
	uint32		categories;		/* bit per category */
	bool		narrowed;
	Bitmapset  *columns;		/* column ids, if narrowed */
}			access_now;

static uint64 epoch = 1;
static MemoryContext policy_context = NULL;

static void
membership_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	access_now.valid = false;
}

/* Called once from _PG_init. */
void
policy_init(void)
{
	policy_context = AllocSetContextCreate(TopMemoryContext, "gdpr policy",
										   ALLOCSET_SMALL_SIZES);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, membership_changed,
								  (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, membership_changed, (Datum) 0);
}

/* Fill access_now from the row of a purpose. */
static void
read_purpose(TupleDesc desc, HeapTuple tuple)
{
	MemoryContext old = MemoryContextSwitchTo(policy_context);
	bool		isnull;
	Datum		array;
	Datum	   *items;
	int			n;
	int			i;

	access_now.known = true;
	array = heap_getattr(tuple, P_CATEGORIES, desc, &isnull);
	deconstruct_array(DatumGetArrayTypeP(array), INT2OID, 2, true,
					  TYPALIGN_SHORT, &items, NULL, &n);
	for (i = 0; i < n; i++)
		access_now.categories |= 1U << DatumGetInt16(items[i]);
	array = heap_getattr(tuple, P_COLUMNS, desc, &isnull);
	access_now.narrowed = !isnull;
	if (!isnull)
	{
		deconstruct_array(DatumGetArrayTypeP(array), INT4OID, 4, true,
						  TYPALIGN_INT, &items, NULL, &n);
		for (i = 0; i < n; i++)
			access_now.columns = bms_add_member(access_now.columns,
												DatumGetInt32(items[i]));
	}
	MemoryContextSwitchTo(old);
}

/* Call for each row of a table of purposes whose purpose is guc_purpose. */
static void
scan_purpose(const char *table, AttrNumber attnum, bool grants)
{
	Oid			relid = get_relname_relid(table, datamap_oids()->schema);
	Relation	rel = table_open(relid, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		name = CStringGetTextDatum(guc_purpose);

	ScanKeyInit(&key, attnum, BTEqualStrategyNumber, F_TEXTEQ, name);
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		role;
		Oid			roleid;

		if (!grants)
		{
			read_purpose(RelationGetDescr(rel), tuple);
			break;
		}
		role = heap_getattr(tuple, PG_ROLE, RelationGetDescr(rel), &isnull);
		roleid = get_role_oid(NameStr(*DatumGetName(role)), true);
		if (OidIsValid(roleid) && has_privs_of_role(GetUserId(), roleid))
		{
			/* through whatever role: privileges add up */
			access_now.granted = true;
			access_now.revealed |=
				strcmp(TextDatumGetCString(heap_getattr(tuple, PG_MODE,
														RelationGetDescr(rel),
														&isnull)), "reveal") == 0;
			if (access_now.revealed)
				break;
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
refresh_access(void)
{
	MemoryContextReset(policy_context);
	memset(&access_now, 0, sizeof(access_now));
	access_now.purpose =
		MemoryContextStrdup(policy_context, guc_purpose ? guc_purpose : "");
	access_now.role = GetUserId();
	access_now.version = datamap_version();
	epoch++;
	if (access_now.purpose[0] != '\0' && datamap_oids() != NULL)
	{
		scan_purpose("purpose", P_NAME, false);
		if (access_now.known)
			scan_purpose("purpose_grant", PG_PURPOSE, true);
	}
	access_now.valid = true;
}

uint64
policy_epoch(void)
{
	if (!access_now.valid || access_now.role != GetUserId() ||
		access_now.version != datamap_version() ||
		strcmp(access_now.purpose, guc_purpose ? guc_purpose : "") != 0)
		refresh_access();
	return epoch;
}

/* What a granted purpose gives of a column. */
static PolicyDecision
covered(const ColumnMap *column)
{
	if ((access_now.categories & (1U << column->category)) == 0 ||
		(access_now.narrowed && !bms_is_member(column->id, access_now.columns)))
		return POLICY_HIDE;
	return access_now.revealed ? POLICY_REVEAL : POLICY_MASK;
}

PolicyDecision
policy_decide(const ColumnMap *column, uint64 subject)
{
	(void) policy_epoch();
	if (access_now.purpose[0] == '\0')
		return POLICY_HIDE;
	if (!access_now.known)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" does not exist", guc_purpose),
				 errhint("Set gdpr.purpose to a purpose of table gdpr.purpose.")));
	if (!access_now.granted)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" is not granted to role \"%s\"",
						guc_purpose, GetUserNameFromId(GetUserId(), false)),
				 errhint("An officer can grant it: SELECT gdpr.grant_purpose(%s, %s).",
						 quote_literal_cstr(guc_purpose),
						 quote_literal_cstr(GetUserNameFromId(GetUserId(), false)))));
	return covered(column);
}

PolicyDecision
policy_permits(const ColumnMap *column, uint64 subject)
{
	(void) policy_epoch();
	return access_now.known && access_now.granted ? covered(column) :
		POLICY_HIDE;
}

bool
policy_may_restore(const TableMap *table)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		has_privs_of_role(GetUserId(), datamap_relation_owner(table->relid)) ||
		(table->root != table &&
		 has_privs_of_role(GetUserId(),
						   datamap_relation_owner(table->root->relid)));
}
