/*
 * guard.c
 *		The row triggers of protected tables.
 *
 * !gdpr_open (BEFORE UPDATE, first) puts values into the personal columns of
 * NEW, as far as the session may see them, where the application has BEFORE
 * triggers of its own.  ~gdpr_seal (BEFORE INSERT OR UPDATE, last) seals the
 * row.  !gdpr_deleting (BEFORE DELETE, per statement), ~gdpr_relink (AFTER
 * UPDATE) and ~gdpr_relink_late (AFTER INSERT, per statement) make rows below
 * follow when a row's person changes.  !gdpr_delete (BEFORE DELETE) and
 * !gdpr_truncate keep rows of restricted persons.
 *
 * An UPDATE that moves a row to another partition is, for the guard there, the
 * INSERT of a row that this guard has sealed (move.h): it goes on as with an
 * UPDATE whose OLD is that row.
 *
 * Between rewrite and guard, NEW.gdpr_sealed carries a mark: which personal
 * columns the statement assigns.  The envelope itself is taken from OLD, so
 * whatever a statement assigns to gdpr_sealed is of no consequence.
 *
 * Rules of an UPDATE: a column that is not assigned, or is assigned what the
 * session is shown of it, keeps its sealed value; anything else needs the
 * right to see it.  No write destroys what the writer could not see, and none
 * silently drops what it was given.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "audit.h"
#include "check.h"
#include "compat.h"
#include "errors.h"
#include "form.h"
#include "guard.h"
#include "guard_internal.h"
#include "guard_mode.h"
#include "move.h"
#include "policy.h"
#include "reveal.h"
#include "row.h"
#include "sealed.h"
#include "subject.h"
#include "token.h"

PG_FUNCTION_INFO_V1(gdpr_guard_open);
PG_FUNCTION_INFO_V1(gdpr_guard_seal);
PG_FUNCTION_INFO_V1(gdpr_guard_relink);
PG_FUNCTION_INFO_V1(gdpr_guard_relink_late);
PG_FUNCTION_INFO_V1(gdpr_guard_deleting);
PG_FUNCTION_INFO_V1(gdpr_guard_delete);

/* The row that the last UPDATE to another partition has left behind */
static Oid	left_relid = InvalidOid;
static ItemPointerData left_tid;
static uint32 left_transaction;	/* if that fails, the row is still there */
static SubTransactionId left_subtransaction;

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function was not called as a trigger")));
	return (TriggerData *) fcinfo->context;
}

/* ---------- opening ---------- */

/* Does the application have BEFORE row triggers of its own for this event? */
static bool
has_other_triggers(Relation rel, bool insert)
{
	TriggerDesc *triggers = rel->trigdesc;
	int			i;

	if (triggers == NULL)
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) &&
			TRIGGER_FOR_BEFORE(trigger->tgtype) &&
			(insert ? TRIGGER_FOR_INSERT(trigger->tgtype) :
			 TRIGGER_FOR_UPDATE(trigger->tgtype)) &&
			strcmp(trigger->tgname, GUARD_OPEN_TRIGGER) != 0 &&
			strcmp(trigger->tgname, GUARD_SEAL_TRIGGER) != 0)
			return true;
	}
	return false;
}

/* What marks a row whose personal columns hold values. */
static bytea *
opened_mark(const GuardRow *row)
{
	if (row->old == NULL)
		return sealed_mark_make(ENVELOPE_OPENED, row->context, NULL, 0);
	return sealed_mark_make(ENVELOPE_OPENED, row->context,
							VARDATA_ANY(row->old), VARSIZE_ANY_EXHDR(row->old));
}

/*
 * gdpr.guard_open() RETURNS trigger: BEFORE UPDATE, first of all; of a
 * partition also BEFORE INSERT, for rows that are moved
 */
Datum
gdpr_guard_open(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	bool		insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	HeapTuple	unchanged = insert ? trigger->tg_trigtuple : trigger->tg_newtuple;
	GuardRow	row;
	bool		marked;
	int			i;

	if (!has_other_triggers(trigger->tg_relation, insert) || IsLogicalWorker() ||
		(insert && datamap_lookup(RelationGetRelid(trigger->tg_relation)) == NULL))
		return PointerGetDatum(unchanged);
	guard_begin_row(trigger, &row);
	if (row.insert)
		return PointerGetDatum(unchanged);
	marked = guard_is_marked(&row);
	if (guard_mode().task != GUARD_APPLICATION && !marked && !row.moved)
		return PointerGetDatum(unchanged);
	if (!marked && !guard_same_envelope(&row))
		return PointerGetDatum(unchanged);	/* arrives sealed */

	for (i = 0; i < row.table->ncolumns; i++)
	{
		ColumnMap  *column = &row.table->columns[i];
		int			att = column->attnum - 1;

		if (marked && guard_mark_contains(row.sealed, column->id))
			continue;
		if (!guard_image_equal(row.rel, column->attnum, row.values[att],
							   row.isnull[att], row.old_values[att],
							   row.old_isnull[att]))
			return PointerGetDatum(unchanged);	/* ~gdpr_seal refuses it */
		row.values[att] = guard_shown_value(&row, column, false, &row.isnull[att]);
	}
	if (row.moved)
		move_keep(unchanged, row.old, row.news);
	return PointerGetDatum(guard_finish_row(&row, opened_mark(&row)));
}

/* ---------- states ---------- */

/* A value is assigned to a column: keep, set, or refuse. */
static RowColumnState
assigned_state(GuardRow *row, ColumnMap *column)
{
	int			att = column->attnum - 1;
	bool		asked = row->mark == ENVELOPE_MARKED;
	bool		shown_isnull;
	Datum		shown = guard_shown_value(row, column, asked, &shown_isnull);

	if (guard_image_equal(row->rel, column->attnum, row->values[att],
						  row->isnull[att], shown, shown_isnull))
	{
		row->values[att] = row->old_values[att];
		row->isnull[att] = row->old_isnull[att];
		return ROW_KEEP;
	}
	if (policy_decide(guard_question(row), column,
					  row->old == NULL ? 0 :
					  reveal_person(column, (uint8 *) VARDATA_ANY(row->old),
									VARSIZE_ANY_EXHDR(row->old))) != POLICY_REVEAL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_PERMITTED),
				 errmsg("cannot assign to column \"%s\" of table \"%s\", which is hidden from this session",
						column->name, RelationGetRelationName(row->rel)),
				 errhint("Set gdpr.purpose to a purpose that covers the column, or leave the column out of the statement.")));
	return ROW_SET;
}

static void
refuse_physical_write(GuardRow *row, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("column \"%s\" of protected table \"%s\" was written as it is stored",
					column, RelationGetRelationName(row->rel)),
			 errhint("SET gdpr.physical = off, and leave column gdpr_sealed out of the statement.")));
}

static void
require_may_restore(GuardRow *row)
{
	if (!policy_may_restore(row->table))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_PERMITTED),
				 errmsg("only the owner of protected table \"%s\" can store sealed rows in it",
						RelationGetRelationName(row->rel)),
				 errhint("Leave column gdpr_sealed out of the statement.")));
}

/*
 * What happens to each column in an UPDATE by the application.  Returns false
 * if the row arrived sealed and is to be stored as it is.
 */
static bool
update_states(GuardRow *row)
{
	int			i;

	if (row->sealed == NULL && row->old != NULL)
		refuse_physical_write(row, GUARD_SEALED_COLUMN);
	/* the publisher sealed and checked it, also if no value changed */
	if (IsLogicalWorker() && row->sealed != NULL &&
		row_is_sealed(row->table, row->values, row->isnull,
					  (uint8 *) VARDATA_ANY(row->sealed),
					  VARSIZE_ANY_EXHDR(row->sealed)))
		return false;
	if (row->sealed != NULL && row->mark == 0 && !guard_same_envelope(row))
	{
		if (!row_is_sealed(row->table, row->values, row->isnull,
						   (uint8 *) VARDATA_ANY(row->sealed),
						   VARSIZE_ANY_EXHDR(row->sealed)))
			refuse_physical_write(row, GUARD_SEALED_COLUMN);
		require_may_restore(row);
		return false;
	}
	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];
		int			att = column->attnum - 1;

		if (row->mark == ENVELOPE_OPENED ||
			(row->mark == ENVELOPE_MARKED &&
			 guard_mark_contains(row->sealed, column->id)))
			row->states[i] = assigned_state(row, column);
		else if (!guard_image_equal(row->rel, column->attnum, row->values[att],
									row->isnull[att], row->old_values[att],
									row->old_isnull[att]))
			refuse_physical_write(row, column->name);
	}
	return true;
}

/* Does the row belong to the one person who is being forgotten?  Rows of
 * several have their turn. */
static bool
is_leavers(GuardRow *row)
{
	return guard_mode().task == GUARD_FORGET && guard_mode().alone != 0 &&
		guard_old_person(row) == guard_mode().alone;
}

/*
 * Is it the application's own statement, not that of the mode?  What it
 * assigns to somebody who is being forgotten is erased with the rest.
 */
static bool
by_application(GuardRow *row)
{
	if (guard_mode().task == GUARD_APPLICATION || row->insert)
		return true;
	return guard_is_marked(row) &&
		!(guard_mode().task == GUARD_FORGET && guard_mode().category < 0 &&
		  row->table->on_forget != FORGET_KEEP && is_leavers(row));
}

/*
 * What is stored stays, whatever a trigger of the application, which was not
 * shown values, made of it.
 */
static void
keep_stored(GuardRow *row)
{
	int			i;

	for (i = 0; i < row->table->ncolumns; i++)
	{
		int			att = row->table->columns[i].attnum - 1;

		row->values[att] = row->old_values[att];
		row->isnull[att] = row->old_isnull[att];
	}
}

/* What forget() erases of a row. */
static void
forget_states(GuardRow *row)
{
	bool		rescued = !guard_mode().erase &&
		row->table->on_forget == FORGET_KEEP;
	int			i;

	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];

		if (!rescued &&
			(guard_mode().category < 0 || guard_mode().category == column->category) &&
			guard_mode_concerns(column->via == 0 ? guard_old_person(row) :
								guard_old_column_person(row, column->via, column->category)))
			row->states[i] = ROW_ERASE;
	}
}

/* Is what a column keeps a NULL? */
static bool
keeps_null(GuardRow *row, ColumnMap *column)
{
	Datum		value;
	bool		isnull;

	return row_open_value(column, (uint8 *) VARDATA_ANY(row->old),
						  VARSIZE_ANY_EXHDR(row->old),
						  (uint8 *) row->old_rowkey.data, row->old_rowkey.len,
						  &value, &isnull, NULL) == ROW_FOUND && isnull;
}

/*
 * NOT NULL holds on values.  The server checks those of all columns in order
 * before any CHECK constraint, so the others are looked at here too: which
 * error comes first does not depend on protection.  Those of a row that leaves
 * are those of the partition it goes to.
 */
static void
require_not_null(GuardRow *row)
{
	TupleDesc	desc = RelationGetDescr(row->rel);
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		ColumnMap  *column;
		bool		violated;

		if (att->attisdropped || att->attgenerated)
			continue;
		column = datamap_column_at(row->table, att->attnum);
		if (column == NULL)
			violated = att->attnotnull && row->isnull[i] && !row->leaves;
		else
		{
			RowColumnState state = row->states[column - row->table->columns];

			violated = column->notnull &&
				((state == ROW_SET && row->isnull[i]) ||
				 (state == ROW_KEEP && row->news.nulls &&
				  keeps_null(row, column)));
		}
		if (violated && row->leaves)
			row->news.nulls = true;
		else if (violated)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("null value in column \"%s\" of relation \"%s\" violates not-null constraint",
							NameStr(att->attname), RelationGetRelationName(row->rel)),
					 errtablecol(row->rel, att->attnum)));
	}
}

/* The row with values in its personal columns, also those that are kept. */
static void
plain_values(GuardRow *row, Datum **plain, bool **plain_isnull)
{
	int			natts = RelationGetDescr(row->rel)->natts;
	Datum	   *values = palloc(sizeof(Datum) * natts);
	bool	   *isnull = palloc(sizeof(bool) * natts);
	int			i;

	*plain = values;
	*plain_isnull = isnull;
	memcpy(values, row->values, sizeof(Datum) * natts);
	memcpy(isnull, row->isnull, sizeof(bool) * natts);
	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];

		if (row->states[i] == ROW_KEEP && row->old != NULL)
			(void) row_open_value(column, (uint8 *) VARDATA_ANY(row->old),
								  VARSIZE_ANY_EXHDR(row->old),
								  (uint8 *) row->old_rowkey.data,
								  row->old_rowkey.len,
								  &values[column->attnum - 1],
								  &isnull[column->attnum - 1], NULL);
	}
}

/* CHECK constraints hold on values. */
static void
require_checks(GuardRow *row)
{
	Datum	   *values;
	bool	   *isnull;

	if (row->table->nchecks == 0 || row->leaves)
		return;
	plain_values(row, &values, &isnull);
	check_row(row->rel, row->table, values, isnull);
}

static bool
key_changed(GuardRow *row)
{
	int			i;

	for (i = 0; i < row->table->nkeys; i++)
	{
		AttrNumber	key = row->table->keys[i];

		if (!guard_image_equal(row->rel, key, row->values[key - 1],
							   row->isnull[key - 1], row->old_values[key - 1],
							   row->old_isnull[key - 1]))
			return true;
	}
	return false;
}

/* ---------- forms ---------- */

/*
 * The form to store the row in.  What the application writes to a row leaves
 * it in its form, if the table still has that; a row is converted in the
 * background, or when UNIQUE needs it.
 */
static int
choose_form(GuardRow *row, bool application)
{
	TableMap   *table = row->table;
	int			natts = RelationGetDescr(row->rel)->natts;
	int			own = row->insert ? table->form :
		row_form(table, row->old_values, row->old_isnull);
	bool	   *changed = NULL;
	Datum	   *values;
	bool	   *isnull;
	int			i;

	if (!application)
		return own;
	if (!datamap_in_transition(table))
		return table->form;
	if (own != table->form && own != table->other_form)
		own = table->form;

	/*
	 * A row that leaves goes sealed: so its number goes with it, and the
	 * triggers of its new partition see no more than this session may.  The
	 * guard there chooses its form anew.
	 */
	if (row->leaves)
		return own != 0 ? own : datamap_sealed_form(table);
	if (!row->insert && !row->moved)
	{
		changed = palloc0(sizeof(bool) * natts);
		for (i = 0; i < natts; i++)
			changed[i] = datamap_column_at(table, i + 1) == NULL &&
				!TupleDescAttr(RelationGetDescr(row->rel), i)->attisdropped &&
				i + 1 != table->sealed_attnum &&
				!guard_image_equal(row->rel, i + 1, row->values[i], row->isnull[i],
								   row->old_values[i], row->old_isnull[i]);
		for (i = 0; i < table->ncolumns; i++)
			changed[table->columns[i].attnum - 1] = row->states[i] == ROW_SET;
	}
	plain_values(row, &values, &isnull);
	return form_choose(row->rel, table, values, isnull, changed, own);
}

/* The row with its values in it, as it is in a table that is not protected. */
static HeapTuple
store_open(GuardRow *row)
{
	Datum	   *values;
	bool	   *isnull;
	int			i;

	audit_touch(row->table, NULL, guard_old_person(row), AUDIT_WRITE, policy_purpose(policy_session()));
	plain_values(row, &values, &isnull);
	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];
		int			att = column->attnum - 1;

		if (row->states[i] == ROW_ERASE)
			row->values[att] = physical_erased(column, &row->isnull[att]);
		/* of what was forgotten, something has to stand there */
		else if (!isnull[att] || !column->notnull)
		{
			row->values[att] = values[att];
			row->isnull[att] = isnull[att];
		}
	}
	return guard_finish_row(row, NULL);
}

/* ---------- sealing ---------- */

/*
 * Has the row values in it, and nothing of the form of a token?  Then it was
 * not read from a dump but revealed, and its envelope, which came along in a
 * whole row (SELECT *, a PL/pgSQL record), is that of another.
 */
static bool
has_values(GuardRow *row)
{
	bool		result = false;
	int			i;

	for (i = 0; i < row->table->ncolumns; i++)
	{
		ColumnMap  *column = &row->table->columns[i];
		int			att = column->attnum - 1;

		if (row->isnull[att])
			continue;
		switch (physical_form(column, row->values[att]))
		{
			case PHYSICAL_YES:
				return false;
			case PHYSICAL_NO:
				result = true;
				break;
			case PHYSICAL_MAYBE:
				break;
		}
	}
	return result;
}

static bool
arrives_sealed(GuardRow *row)
{
	if (row->sealed == NULL)
		return false;
	if (row_is_sealed(row->table, row->values, row->isnull,
					  (uint8 *) VARDATA_ANY(row->sealed),
					  VARSIZE_ANY_EXHDR(row->sealed)))
	{
		require_may_restore(row);
		return true;
	}
	if (has_values(row))
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("new row of protected table \"%s\" carries an envelope that is not its own",
					RelationGetRelationName(row->rel)),
			 errdetail("An envelope is accepted only with exactly the key and the stored columns it was made for, as from a dump."),
			 errhint("Leave column gdpr_sealed out of the statement.")));
}

/*
 * Does a row that arrives sealed have tokens of another epoch than the table's
 * rows, as from an older dump?  Then it is taken as a row whose values are
 * kept.  Replication keeps what its origin has.
 */
static bool
needs_new_form(GuardRow *row)
{
	if (!(row->table->has_tokens || datamap_may_be_open(row->table)) ||
		(!datamap_in_transition(row->table) &&
		 row_form(row->table, row->values, row->isnull) == row->table->form) ||
		SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return false;
	row->old = row->sealed;
	initStringInfo(&row->old_rowkey);
	row_key(row->table, row->values, row->isnull, &row->old_rowkey);
	return true;
}

/*
 * Does a sealed row come before the data map, as from a dump of data alone?
 * Then the table's constraint, which needs no map, judges it.
 */
static bool
precedes_map(TriggerData *trigger)
{
	Relation	rel = trigger->tg_relation;
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	int			attnum;
	int			i;

	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		datamap_lookup(RelationGetRelid(rel)) != NULL)
		return false;
	attnum = SPI_fnumber(RelationGetDescr(rel), GUARD_SEALED_COLUMN);
	if (attnum <= 0 || heap_attisnull(trigger->tg_trigtuple, attnum,
									  RelationGetDescr(rel)))
		return false;
	for (i = 0; constraints != NULL && i < constraints->num_check; i++)
		if (strcmp(constraints->check[i].ccname, GUARD_CHECK_CONSTRAINT) == 0)
			return true;
	return false;
}

/*
 * What happens to each column of the row.  False if it is stored as it is:
 * sealed already.
 */
static bool
decide_states(GuardRow *row, bool application)
{
	int			i;

	if (row->insert)
	{
		if (arrives_sealed(row) && !needs_new_form(row))
			return false;
		for (i = 0; row->old == NULL && i < row->table->ncolumns; i++)
			row->states[i] = ROW_SET;
		return true;
	}
	if (row->moved && !guard_is_marked(row))
	{
		/* it may have to take another form here */
		if (datamap_in_transition(row->table))
			return true;
		/* the constraints of its new partition */
		require_not_null(row);
		if (application)
			require_checks(row);
		return false;
	}
	if (!application && guard_mode().task == GUARD_RELINK)
		keep_stored(row);
	else if (!application &&
			 (guard_mode().erase || is_leavers(row)))
	{
		guard_require_may_expire(row);
		keep_stored(row);
		forget_states(row);
	}
	else
		return update_states(row);
	return true;
}

static HeapTuple
store_sealed(GuardRow *row, int form)
{
	RowSeal		seal = {0};
	uint64		expected = 0;
	bytea	   *sealed;
	bool		new = row->insert && row->old == NULL;
	bool	   *set = palloc(sizeof(bool) * Max(row->table->ncolumns, 1));
	StringInfoData rowkey;
	int			i;

	for (i = 0; i < row->table->ncolumns; i++)
		set[i] = row->states[i] == ROW_SET;
	/* what is kept of a row that was not sealed is sealed now */
	for (i = 0; row->old == NULL && i < row->table->ncolumns; i++)
		if (row->states[i] == ROW_KEEP)
			row->states[i] = ROW_SET;
	guard_resolve_numbers(row);
	seal.table = row->table;
	seal.values = row->values;
	seal.isnull = row->isnull;
	seal.states = row->states;
	seal.numbers = row->numbers;
	seal.form = form;
	seal.old = row->old;
	seal.old_rowkey = &row->old_rowkey;
	if (new)
		expected = subject_expected(row->rel, row->table, row->values, row->isnull);
	sealed = row_seal(&seal);
	if (new)
		row_note_input(sealed);
	/* a child came first and expects another number */
	if (new && expected != row->numbers[0] &&
		(expected != 0 || subject_is_awaited(row->table)))
		row->news.relink = true;
	else if (!row->insert && row->old != NULL &&
			 row->numbers[0] != guard_old_person(row))
		row->news.relink = true;
	initStringInfo(&rowkey);
	if (row->table->history)
		row_key(row->table, row->values, row->isnull, &rowkey);
	guard_tell_written(row, set, sealed, &rowkey);
	return guard_finish_row(row, sealed);
}

/* What is stored. */
static HeapTuple
store_row(GuardRow *row, bool application)
{
	int			form = choose_form(row, application);

	if (!row->insert && key_changed(row))
		subject_key_vacated(row->table);
	if (application)
		guard_tell_changed(row);
	return form == 0 ? store_open(row) : store_sealed(row, form);
}

/*
 * gdpr.guard_seal() RETURNS trigger: BEFORE INSERT OR UPDATE, last of all
 */
Datum
gdpr_guard_seal(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	GuardRow	row;
	HeapTuple	result;
	bool		application;

	if (precedes_map(trigger))
		return PointerGetDatum(trigger->tg_trigtuple);
	guard_begin_row(trigger, &row);
	row.states = palloc0(sizeof(RowColumnState) * row.table->ncolumns);
	application = by_application(&row);
	result = row.newtuple;
	row.leaves = !row.insert && !row.moved &&
		move_leaves(row.rel, row.table, row.old_values, row.old_isnull,
					row.values, row.isnull);
	if (!row.insert && !row.moved)
		guard_require_may_update(&row, application);
	if (decide_states(&row, application))
	{
		require_not_null(&row);
		if (application && (!row.insert || row.old == NULL))
			require_checks(&row);
		result = store_row(&row, application);
	}
	else if (row.leaves)
		row.news.relink = true; /* it arrived sealed: maybe another person's */
	if (row.leaves)
	{
		move_note(row.rel, row.table, result, row.news);
		left_relid = RelationGetRelid(row.rel);
		left_tid = trigger->tg_trigtuple->t_self;
		left_transaction = compat_local_xid(MyProc);
		left_subtransaction = GetCurrentSubTransactionId();
	}
	/* of a row that stays, ~gdpr_relink takes care */
	else if (row.news.relink && (row.insert || row.moved))
		subject_relink_later(row.table, row.rel, row.values, row.isnull);
	return PointerGetDatum(result);
}

/* ---------- relinking ---------- */

/*
 * gdpr.guard_relink() RETURNS trigger: AFTER UPDATE, when the person changed
 */
Datum
gdpr_guard_relink(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	TableMap   *table = guard_table(trigger->tg_relation);
	Datum	   *values;
	bool	   *isnull;

	guard_deform(trigger->tg_relation, trigger->tg_newtuple, &values, &isnull);
	subject_relink_children(table, trigger->tg_relation, values, isnull);
	PG_RETURN_POINTER(NULL);
}

/*
 * gdpr.guard_relink_late() RETURNS trigger: AFTER INSERT, per statement; of a
 * partitioned table also AFTER UPDATE, which moves rows
 */
Datum
gdpr_guard_relink_late(PG_FUNCTION_ARGS)
{
	subject_relink_now(trigger_data(fcinfo)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

/*
 * gdpr.guard_deleting() RETURNS trigger: BEFORE DELETE, per statement
 */
Datum
gdpr_guard_deleting(PG_FUNCTION_ARGS)
{
	TableMap   *table =
		datamap_lookup(RelationGetRelid(trigger_data(fcinfo)->tg_relation));

	if (table != NULL)
		subject_key_vacated(table);
	PG_RETURN_POINTER(NULL);
}

/*
 * gdpr.guard_delete() RETURNS trigger: BEFORE DELETE
 */
Datum
gdpr_guard_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	TableMap   *table = datamap_lookup(RelationGetRelid(trigger->tg_relation));
	bool		moved;
	bytea	   *envelope;
	Datum		sealed;
	bool		isnull;

	if (table == NULL)
		return PointerGetDatum(trigger->tg_trigtuple);
	sealed = heap_getattr(trigger->tg_trigtuple, table->sealed_attnum,
						  RelationGetDescr(trigger->tg_relation), &isnull);
	if (isnull)
	{
		guard_require_may_delete(trigger->tg_relation, table, NULL);
		audit_touch(table, NULL, 0, AUDIT_WRITE, policy_purpose(policy_session()));
		return PointerGetDatum(trigger->tg_trigtuple);
	}
	envelope = DatumGetByteaPP(sealed);
	guard_require_may_delete(trigger->tg_relation, table, envelope);
	/* PostgreSQL deletes, too, what an UPDATE has moved to another partition */
	moved = left_relid == RelationGetRelid(trigger->tg_relation) &&
		ItemPointerEquals(&left_tid, &trigger->tg_trigtuple->t_self) &&
		left_transaction == compat_local_xid(MyProc) &&
		left_subtransaction == GetCurrentSubTransactionId();
	if (moved)
		left_relid = InvalidOid;
	guard_tell_deleted(trigger, table, envelope,
					   table->history && !moved && guard_mode().task != GUARD_FORGET);
	return PointerGetDatum(trigger->tg_trigtuple);
}
