/*
 * guard_internal.h
 *		Shared by guard.c, guard_row.c, guard_stay.c and guard_audit.c.
 */
#ifndef GDPR_GUARD_INTERNAL_H
#define GDPR_GUARD_INTERNAL_H

#include "postgres.h"

#include "access/htup.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/relcache.h"

#include "datamap.h"
#include "move.h"
#include "policy.h"
#include "row.h"

/* A row trigger's work on one row */
typedef struct GuardRow
{
	Relation	rel;
	TableMap   *table;
	bool		insert;			/* of a new row, not of one that is moved */
	bool		moved;			/* it comes from another partition */
	MoveNews	news;			/* what happened to it there */
	bool		leaves;			/* it goes to another partition */
	HeapTuple	newtuple;
	Datum	   *values;			/* NEW */
	bool	   *isnull;
	Datum	   *old_values;		/* OLD, as stored */
	bool	   *old_isnull;
	bytea	   *old;			/* OLD's envelope; NULL: OLD is not sealed */
	StringInfoData old_rowkey;
	bytea	   *sealed;			/* NEW.gdpr_sealed, NULL if that is NULL */
	uint8		mark;			/* sealed_mark_version() of it, 0 for NULL */
	const char *context;		/* of the mark, NULL: none */
	RowColumnState *states;
	uint64	   *numbers;
} GuardRow;

/*
 * Is it an UPDATE of the application that assigns personal columns?  While the
 * mode is another, triggers run such statements, which the mode is not for.
 */
extern bool guard_is_marked(const GuardRow *row);
extern bool guard_mark_contains(const bytea *mark, int32 id);

/* The map of a relation that has a guard; an error if there is none. */
extern TableMap *guard_table(Relation rel);
extern void guard_deform(Relation rel, HeapTuple tuple, Datum **values,
						 bool **isnull);

/* Read NEW and OLD of a row trigger's call. */
extern void guard_begin_row(TriggerData *trigger, GuardRow *row);

/* NEW with the personal columns as they are in row, and the envelope or NULL. */
extern HeapTuple guard_finish_row(GuardRow *row, bytea *sealed);

/* Are two values of an attribute the same bytes? */
extern bool guard_image_equal(Relation rel, AttrNumber attnum, Datum a,
							  bool anull, Datum b, bool bnull);

/* Is NEW.gdpr_sealed that of OLD? */
extern bool guard_same_envelope(const GuardRow *row);

/*
 * What the session is shown of a column of OLD.  asked: the statement names
 * the column.
 */
extern Datum guard_shown_value(GuardRow *row, ColumnMap *column, bool asked,
							   bool *isnull);

/* What the statement asks its data for: what the view says, or the session. */
extern PolicyQuestion *guard_question(const GuardRow *row);

/* The person of OLD, 0 if it is not sealed. */
extern uint64 guard_old_person(const GuardRow *row);

/* The person whose value a column of OLD is; the row's if it has none. */
extern uint64 guard_old_column_person(const GuardRow *row, int via,
									  int category);

/* The numbers of all links; after the states of the columns are known. */
extern void guard_resolve_numbers(GuardRow *row);

/*
 * Rows that have to stay (guard_stay.c): errors unless a row may be changed, by
 * a statement of the application or what the mode brings about; is due; may be
 * deleted (envelope NULL: it is not sealed).
 */
extern void guard_require_may_update(GuardRow *row, bool application);
extern void guard_require_may_expire(const GuardRow *row);
extern void guard_require_may_delete(Relation rel, const TableMap *table,
									 const bytea *envelope);

/*
 * To the audit trail (guard_audit.c): a row was sealed, of which these columns,
 * as the table has them, were set; rowkey, of the new row, for tables that keep
 * their history.  A row is deleted; history: keep what it was.
 */
extern void guard_tell_written(GuardRow *row, const bool *set,
							   const bytea *sealed, const StringInfo rowkey);
extern void guard_tell_changed(GuardRow *row);	/* to recipients (disclosure.h) */
extern void guard_tell_deleted(TriggerData *trigger, TableMap *table,
							   const bytea *envelope, bool history);

#endif							/* GDPR_GUARD_INTERNAL_H */
