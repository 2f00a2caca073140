/*
 * egress.c
 *		The way out to the client: what leaves waits until it is recorded.
 *
 * Whatever a session sends passes the methods of libpq's backend side
 * (PqCommMethods): rows, COPY data, notices, errors, notifications.  Ours are put
 * before them.  While something is not recorded, messages are held here; they go
 * when the session waits for its client, or when enough of them are together.
 *
 * PostgreSQL's buffer of 8 kB would ask for one flush of the write-ahead log for
 * each 8 kB of rows; a batch is that, or what comes in 10 ms.
 */
#include "postgres.h"

#include <signal.h>

#include "libpq/libpq.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "egress.h"
#include "errors.h"

#define BATCH_BYTES		8192	/* as PQ_SEND_BUFFER_SIZE */
#define BATCH_MS		10
#define HELD_MAX		(1024 * 1024)

/* Before each message that is held */
typedef struct HeldHeader
{
	uint32		len;
	char		type;
} HeldHeader;

bool		egress_waiting = false;

static EgressRecord recorder = NULL;
static const PQcommMethods *below = NULL;	/* NULL: not installed */
static char *held = NULL;
static size_t held_len = 0;
static size_t held_max = 0;
static bool busy = false;		/* releasing: what that says is not sent */
static TimestampTz released_at = 0;

/*
 * quickdie(), which says goodbye to the client from within a signal handler?  Then
 * nothing can be recorded, and nothing but that may leave.
 */
static bool
is_dying(void)
{
	if (!sigismember(&BlockSig, SIGQUIT))
		return false;
	held_len = 0;
	egress_waiting = false;
	return true;
}

/* Nothing of what is held, nor of what failed, may leave. */
static void
end_connection(void)
{
	ErrorData  *error;

	MemoryContextSwitchTo(TopMemoryContext);
	error = CopyErrorData();
	FlushErrorState();
	held_len = 0;
	egress_waiting = false;
	busy = false;
	ereport(FATAL,
			(errcode(ERRCODE_GDPR_NOT_AUDITED),
			 errmsg("terminating connection because what it has read could not be recorded"),
			 errdetail_internal("%s", error->message)));
}

static void
record(void)
{
	if (!egress_waiting)
		return;
	PG_TRY();
	{
		recorder();
	}
	PG_CATCH();
	{
		end_connection();
	}
	PG_END_TRY();
	egress_waiting = false;
}

/* What is held goes to libpq; what could not be sent is libpq's business. */
static int
release(void)
{
	size_t		offset = 0;
	int			result = 0;

	if (is_dying() || busy)
		return 0;
	busy = true;
	record();
	while (offset < held_len && result == 0)
	{
		HeldHeader	header;

		memcpy(&header, held + offset, sizeof(header));
		offset += sizeof(header);
		result = below->putmessage(header.type, held + offset, header.len);
		offset += header.len;
	}
	held_len = 0;
	if (held_max > 8 * BATCH_BYTES)
	{
		pfree(held);
		held = NULL;
		held_max = 0;
	}
	released_at = GetCurrentTimestamp();
	busy = false;
	return result;
}

/* Room for so much more; false: there is none. */
static bool
make_room(size_t len)
{
	size_t		max = Max(held_max, BATCH_BYTES);
	char	   *larger;

	if (held_len + len <= held_max)
		return true;
	if (held_len + len > 2 * HELD_MAX)
		return false;
	while (max < held_len + len)
		max *= 2;
	larger = MemoryContextAllocExtended(TopMemoryContext, max, MCXT_ALLOC_NO_OOM);
	if (larger == NULL)
		return false;
	if (held != NULL)
	{
		memcpy(larger, held, held_len);
		pfree(held);
	}
	held = larger;
	held_max = max;
	return true;
}

/* false: there is no room for it */
static bool
hold(char type, const char *s, size_t len)
{
	HeldHeader	header = {.len = (uint32) len, .type = type};

	if (!make_room(sizeof(header) + len))
		return false;
	memcpy(held + held_len, &header, sizeof(header));
	if (len > 0)
		memcpy(held + held_len + sizeof(header), s, len);
	held_len += sizeof(header) + len;
	return true;
}

/* ---------- the methods ---------- */

static void
egress_comm_reset(void)
{
	busy = false;
	below->comm_reset();
}

static int
egress_flush(void)
{
	int			result = release();

	return result != 0 ? result : below->flush();
}

static int
egress_flush_if_writable(void)
{
	int			result = release();

	return result != 0 ? result : below->flush_if_writable();
}

static bool
egress_is_send_pending(void)
{
	return held_len > 0 || below->is_send_pending();
}

static int
egress_putmessage(char type, const char *s, size_t len)
{
	if (is_dying() || (!egress_waiting && held_len == 0 && !busy))
		return below->putmessage(type, s, len);
	if (busy)
		return 0;
	if (!hold(type, s, len))
	{
		int			result = release();

		return result != 0 ? result : below->putmessage(type, s, len);
	}
	if (held_len >= HELD_MAX ||
		(held_len >= BATCH_BYTES &&
		 TimestampDifferenceExceeds(released_at, GetCurrentTimestamp(), BATCH_MS)))
		return release();
	return 0;
}

static void
egress_putmessage_noblock(char type, const char *s, size_t len)
{
	if (!egress_waiting && held_len == 0)
		below->putmessage_noblock(type, s, len);
	else
		(void) egress_putmessage(type, s, len);
}

static const PQcommMethods methods = {
	.comm_reset = egress_comm_reset,
	.flush = egress_flush,
	.flush_if_writable = egress_flush_if_writable,
	.is_send_pending = egress_is_send_pending,
	.putmessage = egress_putmessage,
	.putmessage_noblock = egress_putmessage_noblock
};

void
egress_hold(EgressRecord to_record)
{
	recorder = to_record;
	if (below == NULL)
	{
		below = PqCommMethods;
		PqCommMethods = &methods;
	}
	egress_waiting = true;
}
