/*
 * alias.h
 *		Numbers of a person.
 *
 * A person has one number, unless a category was forgotten and is collected
 * anew (a further number, for that category), or it was merged with another,
 * which had a number too.  gdpr.subject_alias has them: a person's own numbers
 * are those that no row with a category has; of a merge, one number belongs to
 * another there, with no category.
 *
 * A row, an event and a record of the audit trail are of the number that they
 * were made for, merged or not, so that a merge can be undone.  What holds of a
 * person is asked of all numbers.
 */
#ifndef GDPR_ALIAS_H
#define GDPR_ALIAS_H

#include "postgres.h"

/*
 * A living number under which this category of the person is sealed from now
 * on, registered in gdpr.subject_alias if it is new.  ERRCODE_GDPR_FORGOTTEN
 * if the whole person was forgotten.  Keeps the keep bit of number.
 */
extern uint64 alias_number(uint64 number, int category);

/* The person's own number: of a further one for a category, else the same. */
extern uint64 alias_person(uint64 number);

/*
 * The same number for all that were merged, the survivor's; of a person's own
 * number.  Fast for who was not merged.  As of the latest invalidations: call
 * AcceptInvalidationMessages() where a statement begins.
 */
extern uint64 alias_survivor(uint64 person);

/* Are they one, by merges? */
extern bool alias_is_same(uint64 a, uint64 b);

/*
 * The own numbers of the person that a person's own number belongs to, the
 * survivor's first: as many as returned, one if it was not merged.
 */
extern int	alias_merged(uint64 person, uint64 **numbers);

/*
 * The person that a number belongs to.  no_data_found: it was given to nobody;
 * ERRCODE_GDPR_FORGOTTEN: the person was forgotten.
 */
extern uint64 alias_living_person(int64 number);

#endif							/* GDPR_ALIAS_H */
