/*
 * utility.h
 *		Utility statements that concern protected tables: COPY, copies in the
 *		clear, schema changes.
 */
#ifndef GDPR_UTILITY_H
#define GDPR_UTILITY_H

#include "postgres.h"

/* Called once from _PG_init: installs the hook. */
extern void utility_init(void);

/*
 * The extension's own schema changes (protect, unprotect) are not checked
 * between begin and end.  Nests; call end in PG_FINALLY.
 */
extern void utility_unchecked_begin(void);
extern void utility_unchecked_end(void);

#endif							/* GDPR_UTILITY_H */
