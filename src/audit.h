/*
 * audit.h
 *		The one place that hears of every access to personal data.
 *
 * reveal and guard call audit_touch() for each row and column that they open
 * or write, with the purpose it was for ("": none); without a column for each row
 * that they write, and then with each that they set.  Each statement leaves a
 * record for each relation and purpose, whatever becomes of its transaction.
 */
#ifndef GDPR_AUDIT_H
#define GDPR_AUDIT_H

#include "postgres.h"

#include "fmgr.h"

#include "audit_record.h"
#include "datamap.h"

typedef enum AuditAction
{
	AUDIT_REVEAL,				/* a value left through reveal() */
	AUDIT_HIDE,					/* a value was not shown */
	AUDIT_WRITE,				/* a row was sealed, or a column of it was set */
	AUDIT_MASK,					/* a mask was shown instead of a value */
	AUDIT_OVERRIDE,				/* a value left that was overridden for */
	AUDIT_ACTIONS,				/* those that are counted */
	AUDIT_LOSE = AUDIT_ACTIONS, /* what was of this person is of another now */
	AUDIT_EXPORT				/* a value left in an export of its person */
} AuditAction;

extern void audit_touch(const TableMap *table, const ColumnMap *column,
						uint64 subject, AuditAction action,
						const char *purpose);

/*
 * What the extension's own records (relation: schema.table, column: a part of
 * it) tell of a person was opened; 0: of many.
 */
extern void audit_touch_own(const char *relation, const char *column,
							uint64 person);

/*
 * A row of a table that keeps its history was changed (after: no image: it was
 * deleted): the columns, as the table has them, whose values changed; the
 * persons, of whom they are.
 */
extern void audit_change(const TableMap *table, const char *purpose,
						 const bool *changed, const AuditImage *before,
						 const AuditImage *after, AuditSet *persons);

/* The SQL function gdpr.changes(), for exports. */
extern PGDLLEXPORT Datum gdpr_changes(PG_FUNCTION_ARGS);

/* Called once from _PG_init: installs hooks and callbacks. */
extern void audit_init(void);

#endif							/* GDPR_AUDIT_H */
