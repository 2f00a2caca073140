/*
 * trigger.h
 *		What triggers of the application are shown of protected rows.
 */
#ifndef GDPR_TRIGGER_H
#define GDPR_TRIGGER_H

#include "postgres.h"

#include "utils/relcache.h"

#include "datamap.h"

typedef enum TriggerRow
{
	TRIGGER_ROW_RAW,			/* holds values: an INSERT's that is not sealed yet */
	TRIGGER_ROW_OPENED,			/* holds values: !gdpr_open has opened it */
	TRIGGER_ROW_SEALED			/* is as it is stored: sealed, or open while its
								 * table is being converted */
} TriggerRow;

/* Called once from _PG_init: installs the hook. */
extern void trigger_init(void);

/*
 * Turn a row, as heap_deform_tuple gives it, into what current_user is shown
 * of it: values in the personal columns, or NULL; the row's envelope in
 * gdpr_sealed.  only: this attribute alone matters, 0: all.  Returns what it
 * was before.  In the current memory context.
 */
extern TriggerRow trigger_show_row(TableMap *table, Datum *values,
								   bool *isnull, AttrNumber only);

/*
 * The same for NEW, which may have arrived with something in gdpr_sealed: if
 * that is not its envelope, the row stays as it is; if the keystore cannot be
 * used (a dump is restored), nothing is shown.
 */
extern void trigger_show_arriving(TableMap *table, Datum *values,
								  bool *isnull, AttrNumber only);

/*
 * Put conditions (WHEN) and functions of the application's triggers into the
 * form that works on a protected table, or back.  name: of one trigger, or
 * NULL for all.  rel is locked exclusively.
 */
extern void trigger_adapt(Relation rel, const char *name, bool adapted);

#endif							/* GDPR_TRIGGER_H */
