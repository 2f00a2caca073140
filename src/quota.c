/*
 * quota.c
 *		How many persons are revealed by one statement, and to a role in an hour.
 *
 * One statement is what the client sent, which may be many: a DO block, a
 * function.  A person counts once for each purpose, whatever channel and topic
 * it is asked for, and once for purpose 0, which stands for all of them.
 *
 * An hour slides by minutes: for each of the last 60 there is a counter.  The
 * same person counts once in a statement, and again in the next.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "quota.h"
#include "datamap.h"
#include "errors.h"
#include "guc.h"
#include "person_map.h"
#include "purpose.h"

#define QUOTA_ENTRIES		512		/* roles and purposes with a cap, in one hour */
#define QUOTA_MINUTES		60

typedef struct QuotaEntry
{
	Oid			database;		/* InvalidOid: unused */
	Oid			role;
	int32		purpose;
	int64		minute;			/* of the newest counter */
	uint32		counts[QUOTA_MINUTES];	/* by minute % QUOTA_MINUTES */
} QuotaEntry;

typedef struct QuotaShared
{
	LWLock	   *lock;			/* held for the time of a look */
	QuotaEntry	entries[QUOTA_ENTRIES];
} QuotaShared;

typedef struct StatementCount
{
	int32		purpose;		/* 0: all of them */
	int64		n;
	PersonMap  *persons;		/* that were counted */
} StatementCount;

static QuotaShared *shared = NULL;
static StatementCount *statement_counts = NULL;
static int	nstatement_counts = 0;
static TimestampTz counted_for = 0;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(sizeof(QuotaShared));
	RequestNamedLWLockTranche("gdpr quotas", 1);
}

static void
startup_shared_memory(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("gdpr quotas", sizeof(QuotaShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(QuotaShared));
		shared->lock = &GetNamedLWLockTranche("gdpr quotas")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
quota_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

/* ---------- of one statement ---------- */

static StatementCount *
statement_count(int32 purpose)
{
	StatementCount *count;
	int			i;

	if (counted_for != GetCurrentStatementStartTimestamp())
	{
		for (i = 0; i < nstatement_counts; i++)
		{
			person_map_reset(statement_counts[i].persons, (Size) work_mem * 1024);
			statement_counts[i].n = 0;
		}
		counted_for = GetCurrentStatementStartTimestamp();
	}
	for (i = 0; i < nstatement_counts; i++)
		if (statement_counts[i].purpose == purpose)
			return &statement_counts[i];
	if (statement_counts == NULL)
		statement_counts = MemoryContextAlloc(TopMemoryContext,
											  sizeof(StatementCount));
	else
		statement_counts = repalloc(statement_counts, sizeof(StatementCount) *
									(nstatement_counts + 1));
	count = &statement_counts[nstatement_counts];
	count->purpose = purpose;
	count->n = 0;
	count->persons = person_map_create(TopMemoryContext);
	nstatement_counts++;
	person_map_reset(count->persons, (Size) work_mem * 1024);
	return count;
}

int64
quota_statement_count(int32 purpose)
{
	return statement_count(purpose)->n;
}

bool
quota_statement_has(int32 purpose, uint64 person)
{
	return person_map_get(statement_count(purpose)->persons, person) != 0;
}

void
quota_statement_add(int32 purpose, uint64 person)
{
	StatementCount *count = statement_count(purpose);

	/* if there is no room to remember it, it counts each time */
	(void) person_map_set(count->persons, person, 1);
	count->n++;
}

/* ---------- of an hour ---------- */

/* The counters of a role and purpose, made if need be; NULL: there is no room. */
static QuotaEntry *
find_entry(Oid role, int32 purpose, int64 minute)
{
	QuotaEntry   *idle = NULL;
	int			i;

	for (i = 0; i < QUOTA_ENTRIES; i++)
	{
		QuotaEntry   *entry = &shared->entries[i];

		if (entry->database == MyDatabaseId && entry->role == role &&
			entry->purpose == purpose)
			return entry;
		if (idle == NULL && (!OidIsValid(entry->database) ||
							 entry->minute + QUOTA_MINUTES <= minute))
			idle = entry;
	}
	if (idle != NULL)
	{
		memset(idle, 0, sizeof(QuotaEntry));
		idle->database = MyDatabaseId;
		idle->role = role;
		idle->purpose = purpose;
		idle->minute = minute;
	}
	return idle;
}

/* Counters of minutes that have passed become those of minutes to come. */
static void
advance(QuotaEntry *entry, int64 minute)
{
	if (minute - entry->minute >= QUOTA_MINUTES)
		memset(entry->counts, 0, sizeof(entry->counts));
	else
		while (entry->minute < minute)
			entry->counts[++entry->minute % QUOTA_MINUTES] = 0;
	entry->minute = Max(entry->minute, minute);
}

bool
quota_hour_take(Oid role, int32 purpose, int32 cap)
{
	int64		minute = GetCurrentTimestamp() / USECS_PER_MINUTE;
	QuotaEntry   *entry;
	uint64		sum = 0;
	int			i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = find_entry(role, purpose, minute);
	if (entry != NULL)
	{
		advance(entry, minute);
		for (i = 0; i < QUOTA_MINUTES; i++)
			sum += entry->counts[i];
		if (sum < (uint64) cap)
			entry->counts[entry->minute % QUOTA_MINUTES]++;
	}
	LWLockRelease(shared->lock);
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_CAP),
				 errmsg("too many roles use purposes with a cap per hour at the same time"),
				 errdetail("The limit is %d roles and purposes in one hour.",
						   QUOTA_ENTRIES)));
	return sum < (uint64) cap;
}

bool
quota_forbids_workers(const PlannedStmt *plan)
{
	ListCell   *lc;

	/* functions that do not come with PostgreSQL are among the latter */
	bool		reveals = plan->invalItems != NIL;

	if (!plan->parallelModeNeeded || datamap_oids() == NULL)
		return false;
	foreach(lc, plan->relationOids)
		reveals = reveals || datamap_lookup(lfirst_oid(lc)) != NULL;
	return reveals &&
		(guc_audit_durability || guc_max_subjects_per_statement >= 0 || purpose_any_cap());
}
