/*
 * alias.h
 *		Further numbers of a person: for a category that was forgotten and is
 *		collected anew.
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

/* The person that a number belongs to, which may be one of these. */
extern uint64 alias_person(uint64 number);

/*
 * The person that a number belongs to.  no_data_found: it was given to nobody;
 * ERRCODE_GDPR_FORGOTTEN: the person was forgotten.
 */
extern uint64 alias_living_person(int64 number);

#endif							/* GDPR_ALIAS_H */
