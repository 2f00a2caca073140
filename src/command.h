/*
 * command.h
 *		Shell commands of the administrator.
 */
#ifndef GDPR_COMMAND_H
#define GDPR_COMMAND_H

#include "postgres.h"

/* What command_run() gives instead of a wait status */
#define COMMAND_NOT_STARTED	(-1)	/* errno says why */
#define COMMAND_TIMED_OUT	(-2)

/*
 * Runs a command by /bin/sh -c, for so many seconds at most, with a text on its
 * standard input (NULL: nothing; it has to fit into a pipe, 64 kB); returns its wait
 * status.  Its standard error is the server's log.  What it prints goes to
 * output, *len bytes of it, as far as there is room: *len == size means that
 * there was more.  Can be cancelled; then, and when the time is over, all of it
 * is killed.
 */
extern int	command_run(const char *command, const char *input, int seconds,
						char *output, size_t size, size_t *len);

#endif							/* GDPR_COMMAND_H */
