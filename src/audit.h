/*
 * audit.h
 *		The one place that hears of every access to personal data.
 *
 * reveal and guard call audit_touch() for each row and column that they open
 * or write.  So far it counts, per backend: gdpr.session_statistics().
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
						uint64 subject, AuditAction action);

#endif							/* GDPR_AUDIT_H */
