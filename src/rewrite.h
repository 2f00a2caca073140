/*
 * rewrite.h
 *		What the planner sees of protected tables: personal columns become calls
 *		of reveal(), searches get token clauses, assignments leave a mark.
 */
#ifndef GDPR_REWRITE_H
#define GDPR_REWRITE_H

#include "postgres.h"

#include "nodes/parsenodes.h"

/*
 * A statement whose text begins with this is planned on the columns as they
 * are stored, always: also when its saved plan is made anew.  For the
 * extension's own SQL.  Whoever else writes it sees sealed values, as with
 * gdpr.physical.
 */
#define REWRITE_PHYSICAL	"/* gdpr: physical */ "

/* Called once from _PG_init: installs the hooks. */
extern void rewrite_init(void);

/*
 * The next plan, whatever it is for, puts out columns as they are stored; only
 * that one.  Row-level security in it goes by values all the same.  Returns
 * what was set before, to be given back in PG_FINALLY.
 */
extern bool rewrite_physical_next(bool on);

/* Are the session's plans, whatever their text is, of columns as they are stored? */
extern bool rewrite_is_physical(void);

/*
 * Would the rows of this query, after the query rewriter, hold revealed values
 * of personal columns?
 */
extern bool rewrite_reveals(Query *query);

/*
 * The error for a statement that would store revealed values in the clear;
 * is_protected: in a column of a protected table that is not personal.
 */
extern void rewrite_refuse_copy(const char *relation, bool is_protected);

/*
 * Is it a function of the application's that returns trigger?  The function
 * manager's hook is called for those.
 */
extern bool rewrite_is_trigger_function(Oid funcid);

#endif							/* GDPR_REWRITE_H */
