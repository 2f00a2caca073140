/*
 * utility_owner.c
 *		Tables that are read together keep one owner.
 *
 * forget() reads a table with several owners together with the one that names
 * these, and one that persons have access to together with theirs, as the
 * owner of both (gdpr.assert_same_owner).  Were one given away, nobody could
 * be forgotten.  Both can be given away in one transaction: so they are looked
 * at when it commits.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "datamap.h"
#include "errors.h"
#include "utility_internal.h"

/* Did this transaction give a table to another owner? */
static bool owners_changed = false;

void
utility_note_owners(Node *stmt)
{
	ListCell   *lc;

	if (IsA(stmt, ReassignOwnedStmt))
		owners_changed = true;
	else if (IsA(stmt, AlterTableStmt))
	{
		foreach(lc, ((AlterTableStmt *) stmt)->cmds)
		{
			if (lfirst_node(AlterTableCmd, lc)->subtype == AT_ChangeOwner)
				owners_changed = true;
		}
	}
}

static void
require_same_owners(void)
{
	static const char *const query =
		"SELECT t.relation, o.relation"
		" FROM (SELECT table_id, owner_id FROM gdpr.mapped_owner"
		" UNION ALL SELECT table_id, parent_id FROM gdpr.mapped_access) p"
		" JOIN gdpr.mapped_table t ON t.id OPERATOR(pg_catalog.=) p.table_id"
		" JOIN gdpr.mapped_table o ON o.id OPERATOR(pg_catalog.=) p.owner_id"
		" JOIN pg_catalog.pg_class a ON a.oid OPERATOR(pg_catalog.=) t.relation"
		" JOIN pg_catalog.pg_class b ON b.oid OPERATOR(pg_catalog.=) o.relation"
		" WHERE a.relowner OPERATOR(pg_catalog.<>) b.relowner LIMIT 1";
	Oid			user;
	int			sec_context;

	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the owners of tables");
	SetUserIdAndSecContext(user, sec_context);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Oid			table = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		Oid			other = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));

		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("tables %s and %s would have different owners",
						datamap_relation_name(table), datamap_relation_name(other)),
				 errdetail("Which rows of the first belong to whom, the second says: nobody could be forgotten any more."),
				 errhint("ALTER TABLE ... OWNER TO both in one transaction.")));
	}
	SPI_finish();
	PopActiveSnapshot();
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (owners_changed && datamap_oids() != NULL)
				require_same_owners();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			owners_changed = false;
			break;
		default:
			break;
	}
}

void
utility_owner_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
