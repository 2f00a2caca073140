/*
 * guard.h
 *		The row triggers of protected tables.
 */
#ifndef GDPR_GUARD_H
#define GDPR_GUARD_H

#include "postgres.h"

#define GUARD_OPEN_TRIGGER		"!gdpr_open"
#define GUARD_SEAL_TRIGGER		"~gdpr_seal"
#define GUARD_RELINK_TRIGGER	"~gdpr_relink"
#define GUARD_LATE_TRIGGER		"~gdpr_relink_late"
#define GUARD_CHECK_CONSTRAINT	"gdpr_sealed_check"
#define GUARD_SEALED_COLUMN		"gdpr_sealed"

typedef enum GuardTask
{
	GUARD_APPLICATION,			/* what the application does */
	GUARD_RELINK,				/* the parent's number changed */
	GUARD_FORGET				/* forget() is at work on a person */
} GuardTask;

/* What the statements that run now are for. */
typedef struct GuardMode
{
	GuardTask	task;
	uint64		person;			/* GUARD_FORGET: who */
	int			category;		/* GUARD_FORGET: which, or -1 for all */
	bool		erase;			/* GUARD_FORGET: an UPDATE is to erase rows */
} GuardMode;

/* Called once from _PG_init. */
extern void guard_init(void);

/* Returns the mode before, for the caller to set again in PG_FINALLY. */
extern GuardMode guard_set_mode(GuardMode mode);
extern GuardMode guard_mode(void);

#endif							/* GDPR_GUARD_H */
