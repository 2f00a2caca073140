/*
 * statement.c
 *		Where one statement ends and the next begins.
 *
 * A consent that was withdrawn binds the next statement, whatever its snapshot
 * is and however its plan came about.  So the executor is asked: it starts
 * every statement, and runs a cursor once for every FETCH.
 *
 * It is not asked where PL/pgSQL computes an expression by itself, or a client
 * calls a function by the fast path.  Both bring a snapshot of their own, which
 * is not that of the query that runs.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "quota.h"
#include "statement.h"

static ExecutorStart_hook_type prev_executor_start = NULL;
static ExecutorRun_hook_type prev_executor_run = NULL;
static ExecutorFinish_hook_type prev_executor_finish = NULL;
static uint64 number = 1;
static Snapshot running = NULL; /* of the query that runs; NULL: none does */
static int	depth = 0;

static Snapshot
active_snapshot(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;
}

uint64
statement_number(void)
{
	if (running == NULL || active_snapshot() != running)
		number++;
	return number;
}

int
statement_depth(void)
{
	return depth;
}

void
statement_begin(void)
{
	number++;
}

static void
statement_executor_start(QueryDesc *query, int eflags)
{
	number++;
	if (prev_executor_start)
		prev_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
statement_executor_run(COMPAT_EXECUTOR_RUN_ARGS)
{
	Snapshot	before = running;

	number++;
	if (count == 0 && quota_forbids_workers(query->plannedstmt))
		count = PG_INT64_MAX;	/* a limit keeps the executor from using them */
	running = active_snapshot();
	depth++;
	PG_TRY();
	{
		if (prev_executor_run)
			prev_executor_run(COMPAT_EXECUTOR_RUN_PASS);
		else
			standard_ExecutorRun(COMPAT_EXECUTOR_RUN_PASS);
	}
	PG_FINALLY();
	{
		depth--;
		running = before;
	}
	PG_END_TRY();
}

/* AFTER triggers, which the statement fires, are part of it. */
static void
statement_executor_finish(QueryDesc *query)
{
	Snapshot	before = running;

	running = active_snapshot();
	PG_TRY();
	{
		if (prev_executor_finish)
			prev_executor_finish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		running = before;
	}
	PG_END_TRY();
}

void
statement_init(void)
{
	prev_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = statement_executor_start;
	prev_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = statement_executor_run;
	prev_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = statement_executor_finish;
}
