/*
 * guard_audit.c
 *		What the guard tells the audit trail, and of what recipients are told.
 *
 * A row can have values of others than its own person.  Who had something in it
 * and has no more is told, too.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/rel.h"

#include "alias.h"
#include "audit.h"
#include "disclosure.h"
#include "guard_internal.h"
#include "policy.h"
#include "reveal.h"
#include "row.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_audit_truncate);

/* Whose a column's new value is. */
static uint64
new_person(const GuardRow *row, const ColumnMap *column)
{
	int			link = column->link - row->table->links;

	return link == 0 ? row->numbers[0] : alias_person(sealed_person(row->numbers[link]));
}

/* Whose its old one was. */
static uint64
old_person(const GuardRow *row, const ColumnMap *column)
{
	return reveal_person(column, (uint8 *) VARDATA_ANY(row->old),
						 VARSIZE_ANY_EXHDR(row->old));
}

static AuditImage
image_of(const bytea *envelope, const StringInfoData *rowkey)
{
	AuditImage	image = {0};

	image.rowkey = (uint8 *) rowkey->data;
	image.rowkeylen = rowkey->len;
	image.envelope = (uint8 *) VARDATA_ANY(envelope);
	image.envelopelen = VARSIZE_ANY_EXHDR(envelope);
	return image;
}

/* The persons of OLD that have nothing of the row any more, or not all. */
static void
tell_losers(GuardRow *row, const char *purpose)
{
	int			i;

	if (row->old == NULL)
		return;
	if (guard_old_person(row) != row->numbers[0])
		audit_touch(row->table, NULL, guard_old_person(row), AUDIT_LOSE, purpose);
	for (i = 0; row->table->nlinks > 1 && i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];
		uint64		person = old_person(row, column);

		if (person != new_person(row, column) || row->states[i] == ROW_ERASE)
			audit_touch(row->table, column, person, AUDIT_LOSE, purpose);
	}
}

/* The row, with what was set and what it is now, to those who want to know. */
void
guard_tell_written(GuardRow *row, const bool *set, const bytea *sealed,
				   const StringInfo rowkey)
{
	const char *purpose = policy_purpose(policy_session());
	AuditImage	before;
	AuditImage	after;
	AuditSet	persons = {0};
	bool		any = false;
	int			i;

	audit_touch(row->table, NULL, row->numbers[0], AUDIT_WRITE, purpose);
	tell_losers(row, purpose);
	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];

		if (!set[i])
			continue;
		any = true;
		audit_touch(row->table, column, new_person(row, column), AUDIT_WRITE, purpose);
		if (new_person(row, column) != 0)
			audit_set_add(&persons, new_person(row, column));
		if (row->old != NULL && old_person(row, column) != 0)
			audit_set_add(&persons, old_person(row, column));
	}
	if (!any || !row->table->history || row->insert || row->old == NULL)
		return;
	before = image_of(row->old, &row->old_rowkey);
	after = image_of(sealed, rowkey);
	audit_change(row->table, purpose, set, &before, &after, &persons);
}

/*
 * Who was given one of the values that are set now has to hear of it.  What
 * another server replicates was told there.
 */
void
guard_tell_changed(GuardRow *row)
{
	StringInfoData rowkey = {0};
	int			i;

	if (row->insert || row->old == NULL || IsLogicalWorker() || !disclosure_any())
		return;
	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];

		if (row->states[i] != ROW_SET)
			continue;
		if (rowkey.data == NULL)
		{
			initStringInfo(&rowkey);
			row_key(row->table, row->values, row->isnull, &rowkey);
		}
		disclosure_note_change(column, old_person(row, column), &rowkey);
	}
}

/* Others whose values were in a row that is deleted */
static void
tell_others(const TableMap *table, const uint8 *buf, size_t len)
{
	int			i;

	for (i = 0; table->nlinks > 1 && i < table->ncolumns; i++)
		if (table->columns[i].via != 0)
			audit_touch(table, &table->columns[i], reveal_person(&table->columns[i], buf, len),
						AUDIT_LOSE, policy_purpose(policy_session()));
}

/* A deleted row of a table that keeps its history */
static void
tell_history(TriggerData *trigger, TableMap *table, const bytea *envelope)
{
	const uint8 *buf = (uint8 *) VARDATA_ANY(envelope);
	size_t		len = VARSIZE_ANY_EXHDR(envelope);
	bool	   *all = palloc(sizeof(bool) * Max(table->ncolumns, 1));
	AuditImage	none = {0};
	AuditImage	before;
	AuditSet	persons = {0};
	StringInfoData rowkey;
	Datum	   *values;
	bool	   *isnull;
	int			i;

	guard_deform(trigger->tg_relation, trigger->tg_trigtuple, &values, &isnull);
	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	for (i = 0; i < table->ncolumns; i++)
	{
		uint64		person = reveal_person(&table->columns[i], buf, len);

		all[i] = true;
		if (person != 0)
			audit_set_add(&persons, person);
	}
	before = image_of(envelope, &rowkey);
	audit_change(table, policy_purpose(policy_session()), all, &before, &none, &persons);
}

void
guard_tell_deleted(TriggerData *trigger, TableMap *table,
				   const bytea *envelope, bool history)
{
	const uint8 *buf = (uint8 *) VARDATA_ANY(envelope);
	size_t		len = VARSIZE_ANY_EXHDR(envelope);

	audit_touch(table, NULL, sealed_row_person(buf, len), AUDIT_WRITE,
				policy_purpose(policy_session()));
	tell_others(table, buf, len);
	if (history)
		tell_history(trigger, table, envelope);
}

/*
 * gdpr.audit_truncate(relation)
 *
 * A protected table is emptied: a record without persons.  The trigger that calls
 * this runs as the extension's owner: it is of the role that the session has.
 */
Datum
gdpr_audit_truncate(PG_FUNCTION_ARGS)
{
	TableMap   *table = datamap_lookup(PG_GETARG_OID(0));
	Oid			user;
	int			sec_context;

	if (table == NULL)
		PG_RETURN_VOID();
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(GetOuterUserId(), sec_context);
	audit_touch(table, NULL, 0, AUDIT_WRITE, policy_purpose(policy_session()));
	SetUserIdAndSecContext(user, sec_context);
	PG_RETURN_VOID();
}
