/*
 * guard_mode.c
 *		What the statements that run now are for.
 *
 * Back to the application's at the end of every transaction.
 */
#include "postgres.h"

#include "access/xact.h"

#include "guard_mode.h"

static GuardMode mode = {GUARD_APPLICATION, 0, 0, false};

static void
end_of_transaction(XactEvent event, void *arg)
{
	GuardMode	application = {GUARD_APPLICATION, 0, 0, false};

	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		mode = application;
}

void
guard_mode_init(void)
{
	RegisterXactCallback(end_of_transaction, NULL);
}

GuardMode
guard_set_mode(GuardMode new_mode)
{
	GuardMode	before = mode;

	mode = new_mode;
	return before;
}

GuardMode
guard_mode(void)
{
	return mode;
}

bool
guard_mode_concerns(uint64 person)
{
	return mode.task == GUARD_FORGET &&
		(mode.person == GUARD_ANYBODY || mode.person == person);
}
