/*
 * statement.c
 *		Where one statement ends and the next begins.
 *
 * A consent that was withdrawn binds the next statement, whatever its snapshot
 * is and however its plan came about.  So the executor is asked: it starts
 * every statement, and runs a cursor once for every FETCH.
 */
#include "postgres.h"

#include "executor/executor.h"

#include "compat.h"
#include "quota.h"
#include "statement.h"

static ExecutorStart_hook_type prev_executor_start = NULL;
static ExecutorRun_hook_type prev_executor_run = NULL;
static uint64 number = 1;

uint64
statement_number(void)
{
	return number;
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
	number++;
	if (count == 0 && quota_forbids_workers(query->plannedstmt))
		count = PG_INT64_MAX;	/* a limit keeps the executor from using them */
	if (prev_executor_run)
		prev_executor_run(COMPAT_EXECUTOR_RUN_PASS);
	else
		standard_ExecutorRun(COMPAT_EXECUTOR_RUN_PASS);
}

void
statement_init(void)
{
	prev_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = statement_executor_start;
	prev_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = statement_executor_run;
}
