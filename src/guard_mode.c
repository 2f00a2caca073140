/*
 * guard_mode.c
 *		What the statements that run now are for.
 *
 * Back to the application's at the end of every transaction.
 */
#include "postgres.h"

#include "access/xact.h"

#include "alias.h"
#include "guard_mode.h"

static GuardMode mode = {.task = GUARD_APPLICATION};

static void
end_of_transaction(XactEvent event, void *arg)
{
	GuardMode	application = {.task = GUARD_APPLICATION};

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
guard_mode_leaves(uint64 number)
{
	int			low = 0;
	int			high = mode.task == GUARD_FORGET ? mode.npersons : 0;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (mode.persons[middle] == number)
			return true;
		if (mode.persons[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool
guard_mode_leaves_as_any(uint64 number)
{
	uint64	   *numbers;
	int			count;

	if (mode.task != GUARD_FORGET || mode.npersons == 0 || number == 0)
		return false;
	if (guard_mode_leaves(number))
		return true;
	count = alias_merged(number, &numbers);
	while (count > 0)
		if (guard_mode_leaves(numbers[--count]))
			return true;
	return false;
}

bool
guard_mode_concerns(uint64 person)
{
	return mode.task == GUARD_FORGET &&
		(mode.npersons == 0 || guard_mode_leaves(person));
}
