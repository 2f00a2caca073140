/*
 * plans.h
 *		Saved plans of statements of the extension that are run again and again.
 */
#ifndef GDPR_PLANS_H
#define GDPR_PLANS_H

#include "postgres.h"

#include "executor/spi.h"

/*
 * The plan of a statement, saved for the session if there is room for it, else
 * good until SPI_finish(); SPI is connected.  The same text must always come
 * with the same argument types, and with the search path under which it will
 * be run.
 */
extern SPIPlanPtr plans_get(const char *statement, int nargs, Oid *types);

#endif							/* GDPR_PLANS_H */
