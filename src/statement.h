/*
 * statement.h
 *		Where one statement ends and the next begins.
 */
#ifndef GDPR_STATEMENT_H
#define GDPR_STATEMENT_H

#include "postgres.h"

/* Called once from _PG_init: installs the hooks. */
extern void statement_init(void);

/*
 * Moves whenever a statement begins or goes on: a query, also inside a
 * function, the next FETCH of a cursor, a utility command; with every call
 * where no query runs, as in an expression of PL/pgSQL.  What was learned of
 * consents and restrictions holds only while it stays the same.
 */
extern uint64 statement_number(void);

/* How many queries run, each called by the one before; 0: none. */
extern int	statement_depth(void);

/* For what does not pass the executor: a utility command begins. */
extern void statement_begin(void);

#endif							/* GDPR_STATEMENT_H */
