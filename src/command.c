/*
 * command.c
 *		Shell commands of the administrator.
 */
#include "postgres.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "command.h"

extern char **environ;

typedef struct Command
{
	pid_t		pid;
	int			output;			/* of it, to be read */
	TimestampTz deadline;
} Command;

/*
 * A pipe that holds the input, to be read; -1: it could not be made.  A short text
 * fits into it, so that nobody waits for the command to read.
 */
static int
pipe_with(const char *input)
{
	int			fds[2];
	size_t		len = strlen(input);

	if (pipe(fds) != 0)
		return -1;
	/* what does not fit in fails, and does not wait */
	if (fcntl(fds[1], F_SETFL, O_NONBLOCK) != 0 ||
		write(fds[1], input, len) != (ssize_t) len)
	{
		close(fds[0]);
		close(fds[1]);
		errno = E2BIG;
		return -1;
	}
	close(fds[1]);
	return fds[0];
}

/*
 * Starts the command in a process group of its own, so that all of it can be
 * ended on timeout or cancel.
 */
static bool
spawn(Command *run, const char *command, int input)
{
	char	   *argv[] = {"sh", "-c", unconstify(char *, command), NULL};
	int			fds[2];
	int			err;
	sigset_t	none;
	sigset_t	standard;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;

	if (pipe(fds) != 0)
		return false;
	sigemptyset(&none);
	sigfillset(&standard);
	posix_spawn_file_actions_init(&actions);
	if (input < 0)
		posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	else
		posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_addclose(&actions, fds[1]);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
							 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &standard);
	err = posix_spawn(&run->pid, "/bin/sh", &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(fds[1]);
	run->output = fds[0];
	if (err == 0)
		return true;
	close(fds[0]);
	errno = err;
	return false;
}

static bool
start(Command *run, const char *command, const char *input)
{
	int			in = -1;
	bool		started;
	int			err;

	if (input != NULL && (in = pipe_with(input)) < 0)
		return false;
	started = spawn(run, command, in);
	err = errno;
	if (in >= 0)
		close(in);
	errno = err;
	return started;
}

/* Reads until the command closes its output; false: the time is over. */
static bool
read_output(const Command *run, char *output, size_t size, size_t *len)
{
	char		rest[256];

	*len = 0;
	for (;;)
	{
		struct pollfd ready = {.fd = run->output,.events = POLLIN};
		ssize_t		n;

		CHECK_FOR_INTERRUPTS();
		if (GetCurrentTimestamp() > run->deadline)
			return false;
		if (poll(&ready, 1, 100) <= 0)
			continue;
		n = *len < size ? read(run->output, output + *len, size - *len) :
			read(run->output, rest, sizeof(rest));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return true;
		*len = Min(*len + n, size);
	}
}

static void
end(const Command *run, int *status)
{
	kill(-run->pid, SIGKILL);
	while (waitpid(run->pid, status, 0) < 0 && errno == EINTR)
		;
}

/* false: the time is over */
static bool
wait_for(const Command *run, int *status)
{
	for (;;)
	{
		pid_t		pid = waitpid(run->pid, status, WNOHANG);

		if (pid == run->pid || (pid < 0 && errno != EINTR))
			return true;
		CHECK_FOR_INTERRUPTS();
		if (GetCurrentTimestamp() > run->deadline)
			return false;
		pg_usleep(1000);
	}
}

int
command_run(const char *command, const char *input, int seconds,
			char *output, size_t size, size_t *len)
{
	Command		run;
	int			status = 0;
	volatile bool finished = false;

	if (!start(&run, command, input))
		return COMMAND_NOT_STARTED;
	run.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) seconds * 1000);
	PG_TRY();
	{
		finished = read_output(&run, output, size, len) && wait_for(&run, &status);
	}
	PG_CATCH();
	{
		close(run.output);
		end(&run, &status);
		PG_RE_THROW();
	}
	PG_END_TRY();
	close(run.output);
	if (finished)
		return status;
	end(&run, &status);
	return COMMAND_TIMED_OUT;
}
