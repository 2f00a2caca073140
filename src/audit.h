/*
 * audit.h
 *		The one place that hears of every access to personal data.
 *
 * reveal and guard call audit_touch() for each row and column that they open
 * or write, with the purpose it was for ("": none).  Each statement leaves a
 * record for each relation and purpose, whatever becomes of its transaction.
 */
#ifndef GDPR_AUDIT_H
#define GDPR_AUDIT_H

#include "postgres.h"

#include "datamap.h"

typedef enum AuditAction
{
	AUDIT_REVEAL,				/* a value left through reveal() */
	AUDIT_HIDE,					/* a value was not shown */
	AUDIT_WRITE,				/* a row was sealed */
	AUDIT_MASK,					/* a mask was shown instead of a value */
	AUDIT_OVERRIDE,				/* a value left that was overridden for */
	AUDIT_ACTIONS
} AuditAction;

extern void audit_touch(const TableMap *table, const ColumnMap *column,
						uint64 subject, AuditAction action,
						const char *purpose);

/* Called once from _PG_init: installs hooks and callbacks. */
extern void audit_init(void);

#endif							/* GDPR_AUDIT_H */
