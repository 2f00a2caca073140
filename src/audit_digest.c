/*
 * audit_digest.c
 *		Digests of the audit trail, to where its server cannot change them.
 *
 * Who can change the tables can write the whole chain anew, but not what has
 * left the machine before.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "port.h"
#include "utils/snapmgr.h"

#include "audit_digest.h"
#include "audit_queue.h"
#include "command.h"
#include "guc.h"

#define DIGEST_COMMAND_SECONDS	10

/* The digest as a line of JSON; its record, 0: there is none yet. */
static int64
make_line(char line[PIPE_BUF])
{
	int64		record = 0;
	bool		isnull;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute("SELECT d.record, pg_catalog.json_build_object('database', pg_catalog.current_database(),"
					" 'system', s.system_identifier::pg_catalog.text, 'at', pg_catalog.now(),"
					" 'record', d.record, 'hash', pg_catalog.encode(d.hash, 'hex'))::pg_catalog.text"
					" FROM gdpr.audit_digest() d, pg_catalog.pg_control_system() s",
					true, 1) == SPI_OK_SELECT && SPI_processed == 1)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];

		record = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		if (isnull)
			record = 0;
		else
			snprintf(line, PIPE_BUF, "%s\n", SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2));
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return record;
}

static bool
send(const char *line)
{
	size_t		len;
	int			status = command_run(guc_digest_command, line, DIGEST_COMMAND_SECONDS, NULL, 0, &len);

	if (status == 0)
		return true;
	if (status == COMMAND_NOT_STARTED)
		ereport(WARNING, (errmsg("could not start the digest command: %m")));
	else if (status == COMMAND_TIMED_OUT)
		ereport(WARNING, (errmsg("digest command did not finish within %d seconds", DIGEST_COMMAND_SECONDS)));
	else
		ereport(WARNING,
				(errmsg("digest command failed: %s", wait_result_to_str(status)),
				 errhint("Its own messages are in the server's log. Run the command of gdpr.digest_command by hand as the server's user.")));
	return false;
}

void
audit_digest_publish(void)
{
	char		line[PIPE_BUF];
	int64		record;

	if (!audit_queue_digest_due())
		return;
	audit_queue_digested(0, false); /* whatever happens: not at once again */
	record = make_line(line);
	audit_queue_digested((uint64) record, (uint64) record == audit_queue_last_digest() || send(line));
}
