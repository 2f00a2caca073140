/*
 * subject.h
 *		Whose row is it: from a row along its foreign keys to a number.
 */
#ifndef GDPR_SUBJECT_H
#define GDPR_SUBJECT_H

#include "postgres.h"

#include "utils/rel.h"

#include "datamap.h"

/* Called once from _PG_init. */
extern void subject_init(void);

/* Is any of the link's columns NULL? */
extern bool subject_link_is_null(const LinkMap *link, const bool *isnull);

/* Are the link's columns the same in two rows of rel? */
extern bool subject_link_equal(Relation rel, const LinkMap *link,
							   const Datum *a, const bool *anull,
							   const Datum *b, const bool *bnull);

/*
 * The number of the person that a link, none of whose columns is NULL, leads
 * to.  Locks the parent's row FOR KEY SHARE, as its foreign key will; unless
 * lock is false, for rows that are protected under a lock on the table.  Where
 * the parent does not exist (yet), the number that it is to have when it comes
 * in this transaction.
 */
extern uint64 subject_of_parent(TableMap *table, LinkMap *link,
								const Datum *values, const bool *isnull,
								bool lock);

/*
 * The same for a row that is there, never waiting: 0 if the parent's row is
 * locked by somebody who may delete it, or does not exist.  An error if the
 * person was forgotten, unless even_forgotten.
 */
extern uint64 subject_of_parent_nowait(TableMap *table, LinkMap *link,
									   const Datum *values,
									   bool even_forgotten);

/*
 * For a row of a table that others lead to, as it is inserted: the number that
 * a child, inserted before it in this transaction, was given; 0: none.
 */
extern uint64 subject_expected(Relation rel, const TableMap *table,
							   const Datum *values, const bool *isnull);

/*
 * In this transaction, rows of the table are deleted or change their key:
 * what is inserted now may come into possession of children of another.
 */
extern void subject_key_vacated(const TableMap *table);

/* Were numbers given to rows of this table that did not exist yet? */
extern bool subject_is_awaited(const TableMap *table);

/* Rows of tables that lead here follow when the number of a row changes. */
extern void subject_relink_children(const TableMap *table, Relation rel,
									const Datum *values, const bool *isnull);

/*
 * The row got another number than its children expected: remember it, and do
 * it at the end of the statement.
 */
extern void subject_relink_later(const TableMap *table, Relation rel,
								 const Datum *values, const bool *isnull);
extern void subject_relink_now(Relation rel);

#endif							/* GDPR_SUBJECT_H */
