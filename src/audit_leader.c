/*
 * audit_leader.c
 *		What tells of a record whose statement and transaction it is, also in
 *		parallel workers.
 *
 * A worker's records are on the leader's statement.  And only the leader knows how
 * the transaction ends: it has to say so, also if it opened nothing itself.
 *
 * Each process has a place.  No locks: a leader writes before it starts workers,
 * and ends its transaction when they are done.
 */
#include "postgres.h"

#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "audit_leader.h"
#include "compat.h"

typedef struct LeaderPlace
{
	AuditStatement statement;
	pg_atomic_uint32 told;		/* of which transaction; 0: nothing */
	char		session_role[NAMEDATALEN];
} LeaderPlace;

typedef struct LeaderShared
{
	TimestampTz start;
	LeaderPlace places[FLEXIBLE_ARRAY_MEMBER];
} LeaderShared;

static LeaderShared *shared = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* Backends are numbered from 0 or 1 on. */
static int
number_of_places(void)
{
	return MaxBackends + 1;
}

static Size
shared_size(void)
{
	return offsetof(LeaderShared, places) + mul_size(number_of_places(), sizeof(LeaderPlace));
}

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
}

static void
startup_shared_memory(void)
{
	bool		found;
	int			i;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("gdpr audit leaders", shared_size(), &found);
	if (!found)
	{
		memset(shared, 0, shared_size());
		shared->start = GetCurrentTimestamp();
		for (i = 0; i < number_of_places(); i++)
			pg_atomic_init_u32(&shared->places[i].told, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
audit_leader_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

TimestampTz
audit_leader_start(void)
{
	return shared->start;
}

static LeaderPlace *
place_of(PGPROC *proc)
{
	uint32		number = compat_backend_id(proc);

	return number < (uint32) number_of_places() ? &shared->places[number] : NULL;
}

void
audit_leader_begin(uint32 number, const char *command, int64 query_id)
{
	LeaderPlace *place = place_of(MyProc);

	if (place == NULL)
		return;
	place->statement.number = number;
	place->statement.query_id = query_id;
	strlcpy(place->statement.command, command, NAMEDATALEN);
	strlcpy(place->statement.client, MyProcPort != NULL && MyProcPort->remote_host != NULL ?
			MyProcPort->remote_host : "", NAMEDATALEN);
}

static LeaderPlace *
leaders_place(void)
{
	return MyProc->lockGroupLeader == NULL ? NULL : place_of(MyProc->lockGroupLeader);
}

void
audit_leader_statement(AuditStatement *statement)
{
	LeaderPlace *place = leaders_place();

	if (place != NULL)
		*statement = place->statement;
}

void
audit_leader_tell(uint32 transaction, const char *session_role)
{
	LeaderPlace *place = leaders_place();

	if (place == NULL)
		return;
	strlcpy(place->session_role, session_role, NAMEDATALEN);
	pg_write_barrier();
	pg_atomic_write_u32(&place->told, transaction);
}

uint32
audit_leader_told(char *session_role)
{
	LeaderPlace *place = place_of(MyProc);
	uint32		told;

	if (place == NULL || pg_atomic_read_u32(&place->told) == 0)
		return 0;
	told = pg_atomic_exchange_u32(&place->told, 0);
	strlcpy(session_role, place->session_role, NAMEDATALEN);
	return told;
}
