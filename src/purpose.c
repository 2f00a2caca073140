/*
 * purpose.c
 *		The register of purposes: what one covers, and who was granted it.
 *
 * Read with the latest committed snapshot; policy.c keeps what it needs until
 * the tables change, which map_changed() tells all sessions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "datamap.h"
#include "purpose.h"

/* Columns of the tables, as in sql/40_purposes.sql */
enum PurposeColumn
{
	P_NAME = 1, P_ID, P_LEGAL_BASIS, P_DEFAULT_BASIS, P_CATEGORIES, P_COLUMNS,
	P_DIRECT_MARKETING, P_RESTRICTED_GROUND, P_REQUIRES_ACTOR, P_STATEMENT_CAP,
	P_HOUR_CAP, P_SPECIAL_GROUND, P_PROFILING, P_ASK_SOURCES
};
enum PurposeGrantColumn
{
	PG_PURPOSE = 1, PG_ROLE, PG_MODE, PG_OVERRIDE, PG_STATEMENT_CAP,
	PG_HOUR_CAP
};
enum NoticeColumn
{
	N_VERSION = 1, N_PURPOSES, N_PUBLISHED, N_RENEW_BY
};

typedef void (*RowReader) (Purpose *purpose, const char *name, TupleDesc desc,
						   HeapTuple tuple);

/* Call read for each row of a table; those with a name in attnum, unless 0. */
static void
read_rows(const char *table, AttrNumber attnum, const char *name,
		  RowReader read, Purpose *purpose)
{
	Oid			relid = get_relname_relid(table, datamap_oids()->schema);
	Relation	rel = table_open(relid, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (attnum != 0)
	{
		ScanKeyInit(&key, attnum, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(name));
		key.sk_collation = C_COLLATION_OID;
	}
	scan = systable_beginscan(rel, InvalidOid, false, NULL, attnum != 0, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		read(purpose, name, RelationGetDescr(rel), tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static bool
has_word(HeapTuple tuple, int attnum, TupleDesc desc, const char *word)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), word) == 0;
}

static bool
is_true(HeapTuple tuple, int attnum, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return !isnull && DatumGetBool(value);
}

static bool
lacks(HeapTuple tuple, int attnum, TupleDesc desc)
{
	bool		isnull;

	(void) heap_getattr(tuple, attnum, desc, &isnull);
	return isnull;
}

/* A cap on persons, -1 for none. */
static int32
get_cap(HeapTuple tuple, int attnum, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? -1 : DatumGetInt32(value);
}

static void
read_purpose(Purpose *purpose, const char *name, TupleDesc desc,
			 HeapTuple tuple)
{
	bool		isnull;
	Datum		array;
	Datum	   *items;
	int			n;
	int			i;

	purpose->known = true;
	purpose->id = DatumGetInt32(heap_getattr(tuple, P_ID, desc, &isnull));
	purpose->needs_consent = has_word(tuple, P_LEGAL_BASIS, desc, "consent");
	purpose->without_record = !lacks(tuple, P_DEFAULT_BASIS, desc);
	purpose->direct_marketing = is_true(tuple, P_DIRECT_MARKETING, desc);
	purpose->despite_restriction = !lacks(tuple, P_RESTRICTED_GROUND, desc);
	purpose->requires_actor = is_true(tuple, P_REQUIRES_ACTOR, desc);
	purpose->statement_cap = get_cap(tuple, P_STATEMENT_CAP, desc);
	purpose->hour_cap = get_cap(tuple, P_HOUR_CAP, desc);
	array = heap_getattr(tuple, P_CATEGORIES, desc, &isnull);
	deconstruct_array(DatumGetArrayTypeP(array), INT2OID, 2, true,
					  TYPALIGN_SHORT, &items, NULL, &n);
	for (i = 0; i < n; i++)
		purpose->categories |= 1U << DatumGetInt16(items[i]);
	array = heap_getattr(tuple, P_COLUMNS, desc, &isnull);
	purpose->narrowed = !isnull;
	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(array), INT4OID, 4, true,
					  TYPALIGN_INT, &items, NULL, &n);
	for (i = 0; i < n; i++)
		purpose->columns = bms_add_member(purpose->columns,
										  DatumGetInt32(items[i]));
}

/* What a role may do adds up, as privileges do. */
static int32
higher_cap(bool first, int32 a, int32 b)
{
	return first ? b : a < 0 || b < 0 ? -1 : Max(a, b);
}

typedef struct Grants
{
	Purpose		purpose;		/* caps of the grants alone */
	bool		any;
} Grants;

static void
read_grant(Purpose *purpose, const char *name, TupleDesc desc, HeapTuple tuple)
{
	Grants	   *grants = (Grants *) purpose;
	bool		isnull;
	Datum		role = heap_getattr(tuple, PG_ROLE, desc, &isnull);
	Oid			roleid = get_role_oid(NameStr(*DatumGetName(role)), true);

	if (!OidIsValid(roleid) || !has_privs_of_role(GetUserId(), roleid))
		return;
	if (has_word(tuple, PG_MODE, desc, "reveal"))
		purpose->reveals = true;
	else
		purpose->masks = true;
	purpose->overrides |= is_true(tuple, PG_OVERRIDE, desc);
	purpose->statement_cap = higher_cap(!grants->any, purpose->statement_cap,
										get_cap(tuple, PG_STATEMENT_CAP, desc));
	purpose->hour_cap = higher_cap(!grants->any, purpose->hour_cap,
								   get_cap(tuple, PG_HOUR_CAP, desc));
	grants->any = true;
}

static bool
contains_word(Datum array, const char *word)
{
	Datum	   *items;
	bool	   *nulls;
	int			n;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &items, &nulls, &n);
	for (i = 0; i < n; i++)
		if (!nulls[i] && strcmp(TextDatumGetCString(items[i]), word) == 0)
			return true;
	return false;
}

static void
read_notice(Purpose *purpose, const char *name, TupleDesc desc,
			HeapTuple tuple)
{
	bool		isnull;
	Datum		purposes = heap_getattr(tuple, N_PURPOSES, desc, &isnull);
	PurposeNotice *notice;

	if (lacks(tuple, N_RENEW_BY, desc) ||
		(!isnull && !contains_word(purposes, name)))
		return;
	purpose->notices = purpose->notices == NULL ?
		palloc(sizeof(PurposeNotice)) :
		repalloc(purpose->notices,
				 sizeof(PurposeNotice) * (purpose->nnotices + 1));
	notice = &purpose->notices[purpose->nnotices++];
	notice->published_at =
		DatumGetTimestampTz(heap_getattr(tuple, N_PUBLISHED, desc, &isnull));
	notice->renew_by =
		DatumGetTimestampTz(heap_getattr(tuple, N_RENEW_BY, desc, &isnull));
}

static int32
lower_cap(int32 a, int32 b)
{
	return a < 0 ? b : b < 0 ? a : Min(a, b);
}

void
purpose_read(const char *name, Purpose *purpose)
{
	Grants		grants = {.purpose = {.statement_cap = -1, .hour_cap = -1}};

	memset(purpose, 0, sizeof(*purpose));
	if (name[0] == '\0' || datamap_oids() == NULL)
		return;
	read_rows("purpose", P_NAME, name, read_purpose, purpose);
	if (!purpose->known)
		return;
	read_rows("purpose_grant", PG_PURPOSE, name, read_grant, &grants.purpose);
	purpose->reveals = grants.purpose.reveals;
	purpose->masks = grants.purpose.masks;
	purpose->overrides = grants.purpose.overrides;
	purpose->statement_cap = lower_cap(purpose->statement_cap,
									   grants.purpose.statement_cap);
	purpose->hour_cap = lower_cap(purpose->hour_cap, grants.purpose.hour_cap);
	read_rows("notice", 0, name, read_notice, purpose);
}

typedef struct Found
{
	Purpose		purpose;
	char	   *legal_basis;
} Found;

static void
read_basis(Purpose *purpose, const char *name, TupleDesc desc, HeapTuple tuple)
{
	Found	   *found = (Found *) purpose;
	bool		isnull;

	purpose->known = true;
	purpose->id = DatumGetInt32(heap_getattr(tuple, P_ID, desc, &isnull));
	found->legal_basis =
		TextDatumGetCString(heap_getattr(tuple, P_LEGAL_BASIS, desc, &isnull));
}

bool
purpose_find(const char *name, int32 *id, char **legal_basis)
{
	Found		found = {0};

	if (datamap_oids() != NULL)
		read_rows("purpose", P_NAME, name, read_basis, &found.purpose);
	*id = found.purpose.id;
	*legal_basis = found.legal_basis;
	return found.purpose.known;
}

static void
read_purpose_cap(Purpose *purpose, const char *name, TupleDesc desc,
				 HeapTuple tuple)
{
	purpose->statement_cap = Max(purpose->statement_cap,
								 Max(get_cap(tuple, P_STATEMENT_CAP, desc),
									 get_cap(tuple, P_HOUR_CAP, desc)));
}

static void
read_grant_cap(Purpose *purpose, const char *name, TupleDesc desc,
			   HeapTuple tuple)
{
	purpose->statement_cap = Max(purpose->statement_cap,
								 Max(get_cap(tuple, PG_STATEMENT_CAP, desc),
									 get_cap(tuple, PG_HOUR_CAP, desc)));
}

bool
purpose_any_cap(void)
{
	static uint64 known_version = 0;
	static bool known = false;
	uint64		version = datamap_version();
	Purpose		any = {.statement_cap = -1};

	if (known_version != version)
	{
		read_rows("purpose", 0, NULL, read_purpose_cap, &any);
		read_rows("purpose_grant", 0, NULL, read_grant_cap, &any);
		known = any.statement_cap >= 0;
		known_version = version;
	}
	return known;
}

static void
read_asks(Purpose *purpose, const char *source, TupleDesc desc, HeapTuple tuple)
{
	bool		isnull;
	Datum		sources = heap_getattr(tuple, P_ASK_SOURCES, desc, &isnull);

	if (!isnull && contains_word(sources, source))
		purpose->known = true;
}

bool
purpose_asks(const char *source)
{
	Purpose		any = {0};

	if (source[0] != '\0')
		read_rows("purpose", 0, source, read_asks, &any);
	return any.known;
}
