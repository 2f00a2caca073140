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

#endif							/* GDPR_UTILITY_H */
