/*
 * guard_mode.h
 *		What the statements that run now are for: the guard's rules depend on it.
 */
#ifndef GDPR_GUARD_MODE_H
#define GDPR_GUARD_MODE_H

#include "postgres.h"

typedef enum GuardTask
{
	GUARD_APPLICATION,			/* what the application does */
	GUARD_RELINK,				/* the parent's number changed */
	GUARD_FORGET				/* forget() is at work on a person, or the
								 * retention run on rows that are due */
} GuardTask;

/* What the statements that run now are for. */
typedef struct GuardMode
{
	GuardTask	task;
	uint64		from;			/* GUARD_RELINK: if number is not 0, whose
								 * rows go to it */
	uint64		number;
	const uint64 *persons;		/* GUARD_FORGET: who leaves, sorted */
	int			npersons;		/* 0: rows go because they are due, whose
								 * they are does not matter */
	uint64		alone;			/* GUARD_FORGET: only rows of this one of them
								 * are looked for, 0: of several */
	int			category;		/* GUARD_FORGET: which, or -1 for all */
	bool		erase;			/* GUARD_FORGET: an UPDATE is to erase rows */
} GuardMode;

/* Called once from _PG_init. */
extern void guard_mode_init(void);

/* Returns the mode before, for the caller to set again in PG_FINALLY. */
extern GuardMode guard_set_mode(GuardMode mode);
extern GuardMode guard_mode(void);

/* Is it at work on this person, or on whoever it is? */
extern bool guard_mode_concerns(uint64 person);

/* Is this person one of those who leave, by this number or by any of its own? */
extern bool guard_mode_leaves(uint64 number);
extern bool guard_mode_leaves_as_any(uint64 number);

#endif							/* GDPR_GUARD_MODE_H */
