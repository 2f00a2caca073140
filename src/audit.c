/*
 * audit.c
 *		The one place that hears of every access to personal data.
 *
 * reveal and guard call audit_touch() for what they open or write.  What a
 * statement touched is gathered here, for each relation and purpose, and
 * becomes records when the statement ends, however it ends.  Records go to
 * audit_queue.c.
 *
 * Outside of transaction blocks a statement's records wait for the end of its
 * transaction, so that they can say how it ended.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "audit_leader.h"
#include "audit_names.h"
#include "audit_queue.h"
#include "audit_record.h"
#include "compat.h"
#include "egress.h"
#include "errors.h"
#include "guc.h"
#include "policy.h"

/* Ranges of persons after which an entry becomes a record and starts anew. */
#define RANGES_LIMIT	65536

/* How often making the records of a statement may fail. */
#define MAX_FAILURES	2

PG_FUNCTION_INFO_V1(gdpr_session_statistics);

/* What was done to one relation for one purpose */
typedef struct Entry
{
	int32		table_id;
	const char *relation;
	const char *purpose;
	Oid			role;			/* current_user */
	const char *role_name;
	Oid			outer_role;		/* of SET ROLE, or the session's */
	const char *set_role_name;
	Oid			session_role;
	const char *session_role_name;
	const char *actor;
	const char *override_reason;	/* as it is set */
	uint8		did;
	int			ncolumns;
	const char **columns;		/* their names */
	uint64	   *touches;		/* of each */
	bool	   *set;			/* was it? */
	uint64		writes;
	AuditSet	persons;
	struct Entry *next;
} Entry;

static uint64 counts[AUDIT_ACTIONS];
static MemoryContext entries_context = NULL;
static Entry *entries = NULL;	/* the last used first */
static bool has_records = false;	/* of this transaction, in the queue */
static bool has_open_records = false;	/* ... that do not say how it ended */
static uint32 last_part = 0;	/* subtransaction of its last change */
static AuditSet changed_persons;	/* by changes of it, or more; in TopMemoryContext */
static uint32 transaction = 0;	/* when it touched something; 0: not yet */
static char session_role[NAMEDATALEN];	/* then, too */
static uint32 statement_count = 0;	/* of this transaction */
static const char *command = "";	/* outermost */
static int64 query_id = 0;
static int	nesting = 0;		/* of queries and utility commands */
static bool has_failed = false; /* the last of them that has ended */
static AuditStatement leaders;	/* in a parallel worker: what it works for */

static ExecutorRun_hook_type prev_executor_run = NULL;
static ExecutorFinish_hook_type prev_executor_finish = NULL;
static ProcessUtility_hook_type prev_process_utility = NULL;

/* ---------- gathering ---------- */

/*
 * Whose transaction it is: in a parallel worker, its leader's.
 */
static PGPROC *
leader(void)
{
	return MyProc->lockGroupLeader != NULL ? MyProc->lockGroupLeader : MyProc;
}

/*
 * The first access of a transaction: what cannot be asked when it has failed,
 * and whether there can be a record at all.
 */
static void
begin_transaction(void)
{
	if (RecoveryInProgress() && guc_standby_audit == GUC_STANDBY_REFUSE)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_AUDITED),
				 errmsg("personal data is not revealed on a standby"),
				 errdetail("It cannot write the audit trail."),
				 errhint("Ask the primary, or have gdpr.standby_audit set to off: then nobody knows who has seen it.")));
	audit_queue_prepare();
	strlcpy(session_role, audit_role_name(GetSessionUserId()), NAMEDATALEN);
	transaction = compat_local_xid(leader());
}

/* Within a SECURITY DEFINER function, it is in neither session_user nor current_user. */
static const char *
set_role_name(void)
{
	Oid			role = GetOuterUserId();

	return role == GetSessionUserId() ? "" : audit_role_name(role);
}

/* An export is its caller's: the tables' owners only run its queries. */
static Oid
acting_role(void)
{
	const PolicyExport *export = policy_export();

	return unlikely(export != NULL) ? export->caller : GetUserId();
}

static Entry *
make_entry(int32 table_id, const char *relation, const char *purpose, int ncolumns)
{
	MemoryContext before = MemoryContextSwitchTo(entries_context);
	Entry	   *entry;

	if (transaction == 0)
		begin_transaction();
	entry = palloc0(sizeof(Entry));
	entry->table_id = table_id;
	entry->relation = pstrdup(relation);
	entry->purpose = pstrdup(purpose);
	entry->role = acting_role();
	entry->role_name = pstrdup(audit_role_name(entry->role));
	entry->outer_role = GetOuterUserId();
	entry->set_role_name = pstrdup(set_role_name());
	entry->session_role = GetSessionUserId();
	entry->session_role_name = pstrdup(audit_role_name(entry->session_role));
	guc_verify("gdpr.actor", guc_actor);
	entry->actor = pstrdup(guc_actor);
	guc_verify("gdpr.override_reason", guc_override_reason);
	entry->override_reason = pstrdup(guc_override_reason);
	entry->ncolumns = ncolumns;
	entry->columns = palloc0(sizeof(char *) * Max(ncolumns, 1));
	entry->persons.context = entries_context;
	entry->touches = palloc0(sizeof(uint64) * Max(ncolumns, 1));
	entry->set = palloc0(sizeof(bool) * Max(ncolumns, 1));
	entry->next = entries;
	entries = entry;
	MemoryContextSwitchTo(before);
	return entry;
}

static Entry *
make_table_entry(const TableMap *table, const char *purpose)
{
	Entry	   *entry = make_entry(table->id, audit_relation_name(table->root->relid),
								   purpose, table->ncolumns);
	int			i;

	for (i = 0; i < table->ncolumns; i++)
		entry->columns[i] = MemoryContextStrdup(entries_context, table->columns[i].name);
	return entry;
}

/*
 * Is it what is to be recorded with it?  A session can change all of that in one
 * statement.  An export shows masks of others: they are not exported.
 */
static bool
fits(const Entry *entry, const TableMap *table, AuditAction action, const char *purpose)
{
	return entry->table_id == table->id &&
		entry->ncolumns == table->ncolumns &&
		((entry->did & AUDIT_DID_EXPORT) != 0) == (action == AUDIT_EXPORT) &&
		entry->role == acting_role() &&
		entry->outer_role == GetOuterUserId() &&
		entry->session_role == GetSessionUserId() &&
		strcmp(entry->purpose, purpose) == 0 &&
		strcmp(entry->actor, guc_actor) == 0 &&
		strcmp(entry->override_reason, guc_override_reason) == 0;
}

/* The entry, as the first of them. */
static Entry *
find_entry(const TableMap *table, AuditAction action, const char *purpose)
{
	Entry	  **link;

	for (link = &entries; *link != NULL; link = &(*link)->next)
	{
		Entry	   *entry = *link;

		if (fits(entry, table, action, purpose))
		{
			*link = entry->next;
			entry->next = entries;
			entries = entry;
			return entry;
		}
	}
	return make_table_entry(table, purpose);
}

/* ---------- records ---------- */

static void
fill_session(AuditRecord *record)
{
	record->at = GetCurrentTimestamp();
	record->server_start = audit_leader_start();
	record->backend = compat_backend_id(leader());
	record->transaction = transaction;
	record->xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	record->pid = leader()->pid;
	record->session_role = session_role;
	record->application = application_name;
	record->client = IsParallelWorker() ? leaders.client :
		MyProcPort != NULL && MyProcPort->remote_host != NULL ?
		MyProcPort->remote_host : "";
}

static void
put(const AuditRecord *record)
{
	StringInfoData bytes;

	if (RecoveryInProgress())
		return;
	initStringInfo(&bytes);
	audit_record_encode(&bytes, record);
	audit_queue_put(bytes.data, bytes.len);
	pfree(bytes.data);
}

static void
put_entry(Entry *entry, AuditOutcome outcome, bool failed)
{
	AuditRecord record = {.kind = AUDIT_KIND_ACCESS, .outcome = outcome};
	int			i;

	fill_session(&record);
	record.session_role = entry->session_role_name;
	record.set_role = entry->set_role_name;
	record.role = entry->role_name;
	record.statement = statement_count;
	record.command = command;
	record.failed = failed;
	record.query_id = query_id;
	record.purpose = entry->purpose;
	record.actor = entry->actor;
	record.override_reason = entry->did & AUDIT_DID_OVERRIDE ? entry->override_reason : "";
	record.relation = entry->relation;
	record.rows = entry->writes;
	for (i = 0; i < entry->ncolumns; i++)
	{
		if (entry->touches[i] == 0 && !entry->set[i])
			continue;
		record.columns = lappend(record.columns, (void *) entry->columns[i]);
		record.rows = Max(record.rows, entry->touches[i]);
	}
	record.did = entry->did;
	(void) audit_set_arrange(&entry->persons);
	record.persons = entry->persons;
	put(&record);
	if (IsParallelWorker())
		audit_leader_tell(transaction, session_role);
	has_records = true;
	if (outcome == AUDIT_OUTCOME_OPEN)
		has_open_records = true;
}

/*
 * What was gathered so far becomes records.  If that fails, it is tried again
 * when the transaction is aborted, and then no more: an error in there leads to
 * the next one, and at last to a PANIC.
 */
static void
put_entries(AuditOutcome outcome, bool failed)
{
	static int	failures = 0;
	MemoryContext before;

	if (entries == NULL)
		return;
	if (++failures > MAX_FAILURES)
	{
		entries = NULL;
		failures = 0;
		MemoryContextReset(entries_context);
		ereport(WARNING, (errmsg("records of the audit trail could not be made, and are lost")));
		return;
	}
	before = MemoryContextSwitchTo(entries_context);
	for (; entries != NULL; entries = entries->next)
		put_entry(entries, outcome, failed);
	MemoryContextSwitchTo(before);
	failures = 0;
	MemoryContextReset(entries_context);
}

/* Before anything leaves of what was touched: its records are on disk. */
static void
put_durably(void)
{
	put_entries(AUDIT_OUTCOME_OPEN, has_failed);
	audit_queue_flush();
}

/* Too much to wait for the end of the statement. */
static void
leave_early(Entry *entry)
{
	MemoryContext before = MemoryContextSwitchTo(entries_context);

	put_entry(entry, AUDIT_OUTCOME_OPEN, false);
	entry->persons.count = 0;
	memset(entry->touches, 0, sizeof(uint64) * entry->ncolumns);
	memset(entry->set, 0, sizeof(bool) * entry->ncolumns);
	entry->writes = 0;
	MemoryContextSwitchTo(before);
}

/*
 * The end of a statement, or of a part of its rows (suspended).  Outside of
 * transaction blocks that of the transaction follows, and says how it ended;
 * but who fetches a part of the rows may let the other wait.
 */
static void
end_statement(bool failed, bool suspended)
{
	has_failed = failed;
	if (suspended || IsTransactionBlock() || IsSubTransaction() || IsInParallelMode())
		put_entries(AUDIT_OUTCOME_OPEN, failed);
}

/* ---------- hooks ---------- */

static const char *
command_of(CmdType operation)
{
	switch (operation)
	{
		case CMD_SELECT:
			return "SELECT";
		case CMD_INSERT:
			return "INSERT";
		case CMD_UPDATE:
			return "UPDATE";
		case CMD_DELETE:
			return "DELETE";
		case CMD_MERGE:
			return "MERGE";
		default:
			return "";
	}
}

/*
 * How the transaction ended, for the records that do not say so; or some of its
 * subtransactions.
 */
static void
put_end(AuditOutcome outcome, uint32 first_part, uint32 last_part)
{
	AuditRecord record = {.kind = AUDIT_KIND_END, .outcome = outcome};
	MemoryContext before = MemoryContextSwitchTo(entries_context);

	fill_session(&record);
	record.first_part = first_part;
	record.last_part = last_part;
	(void) audit_set_arrange(&changed_persons);
	record.persons = changed_persons;
	record.set_role = "";
	record.role = session_role;
	record.actor = "";
	put(&record);
	MemoryContextSwitchTo(before);
}

static void
begin_statement(const char *name, uint64 id)
{
	if (nesting == 0)
		put_entries(AUDIT_OUTCOME_OPEN, false); /* of one before, if no Sync came in between */
	if (nesting++ > 0)
		return;
	has_failed = false;
	if (IsParallelWorker())
	{
		audit_leader_statement(&leaders);
		statement_count = leaders.number;
		command = leaders.command;
		query_id = leaders.query_id;
		return;
	}
	statement_count++;
	command = name;
	query_id = (int64) id;
	audit_leader_begin(statement_count, command, query_id);
}

/*
 * In an unfinished portal, every FETCH is a statement.
 */
static void
audit_executor_run(COMPAT_EXECUTOR_RUN_ARGS)
{
	volatile bool failed = true;

	begin_statement(command_of(query->operation), query->plannedstmt->queryId);
	PG_TRY();
	{
		if (prev_executor_run)
			prev_executor_run(COMPAT_EXECUTOR_RUN_PASS);
		else
			standard_ExecutorRun(COMPAT_EXECUTOR_RUN_PASS);
		failed = false;
	}
	PG_FINALLY();
	{
		if (--nesting == 0)
			end_statement(failed, !failed && count > 0 && query->estate->es_processed >= count);
	}
	PG_END_TRY();
}

/*
 * Nothing leaves to the client before it is recorded on disk, nor does
 * anybody see what the transaction writes: others could be told.
 */
static void
hold_back(void)
{
	if (RecoveryInProgress())
		return;
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_AUDITED),
				 errmsg("parallel workers do not reveal personal data while gdpr.audit_durability is on"),
				 errhint("SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0;")));
	egress_hold(put_durably);
	ForceSyncCommit();
}

static inline void
add_person(Entry *entry, uint64 person)
{
	if (person != 0)
		audit_set_add(&entry->persons, person);
	if (guc_audit_durability && !egress_waiting)
		hold_back();
	if (entry->persons.count >= RANGES_LIMIT)
		leave_early(entry);
}

/*
 * A row that is not sealed yet, while its table is converted, has no person: it
 * is counted.
 */
void
audit_touch(const TableMap *table, const ColumnMap *column, uint64 subject,
			AuditAction action, const char *purpose)
{
	Entry	   *entry = entries;

	if (action < AUDIT_ACTIONS && (action != AUDIT_WRITE || column == NULL))
		counts[action]++;
	if (action == AUDIT_HIDE)
		return;
	if (entry == NULL || !fits(entry, table, action, purpose))
		entry = find_entry(table, action, purpose);
	switch (action)
	{
		case AUDIT_REVEAL:
			entry->did |= AUDIT_DID_REVEAL;
			break;
		case AUDIT_MASK:
			entry->did |= AUDIT_DID_MASK;
			break;
		case AUDIT_OVERRIDE:
			entry->did |= AUDIT_DID_OVERRIDE;
			break;
		case AUDIT_LOSE:
			entry->did |= AUDIT_DID_WRITE;
			break;
		case AUDIT_EXPORT:
			entry->did |= AUDIT_DID_EXPORT;
			break;
		default:
			entry->did |= AUDIT_DID_WRITE;
			if (column == NULL)
				entry->writes++;
			else
				entry->set[column - table->columns] = true;
			break;
	}
	if (action == AUDIT_REVEAL || action == AUDIT_MASK || action == AUDIT_EXPORT)
		entry->touches[column - table->columns]++;
	add_person(entry, subject);
}

void
audit_touch_own(const char *relation, const char *column, uint64 person)
{
	Entry	   *entry;

	for (entry = entries; entry != NULL; entry = entry->next)
		if (entry->table_id == 0 && entry->role == GetUserId() &&
			entry->outer_role == GetOuterUserId() &&
			entry->session_role == GetSessionUserId() &&
			strcmp(entry->relation, relation) == 0 &&
			strcmp(entry->columns[0], column) == 0 &&
			strcmp(entry->actor, guc_actor) == 0)
			break;
	if (entry == NULL)
	{
		entry = make_entry(0, relation, "", 1);
		entry->columns[0] = MemoryContextStrdup(entries_context, column);
	}
	entry->did |= AUDIT_DID_REVEAL;
	entry->touches[0]++;
	add_person(entry, person);
}

/* ---------- changes ---------- */

/* They are to be found again with the end of the transaction: maybe with others. */
static void
note_changed(const AuditSet *persons)
{
	int			i;

	changed_persons.context = TopMemoryContext;
	for (i = 0; i < persons->count; i++)
		audit_set_add_range(&changed_persons, persons->ranges[i].first, persons->ranges[i].last);
	if (changed_persons.count < RANGES_LIMIT)
		return;
	(void) audit_set_arrange(&changed_persons);
	if (changed_persons.count >= RANGES_LIMIT / 2)
	{
		changed_persons.ranges[0].last = changed_persons.ranges[changed_persons.count - 1].last;
		changed_persons.count = 1;
	}
}

void
audit_change(const TableMap *table, const char *purpose, const bool *changed,
			 const AuditImage *before, const AuditImage *after,
			 AuditSet *persons)
{
	AuditRecord record = {.kind = AUDIT_KIND_CHANGE, .outcome = AUDIT_OUTCOME_OPEN};
	int			i;

	if (transaction == 0)
		begin_transaction();
	fill_session(&record);
	record.set_role = pstrdup(set_role_name());
	record.role = audit_role_name(GetUserId());
	record.statement = statement_count;
	record.command = command;
	record.query_id = query_id;
	record.purpose = purpose;
	record.actor = guc_actor;
	record.relation = audit_relation_name(table->root->relid);
	record.did = AUDIT_DID_WRITE;
	record.rows = 1;
	record.table_id = table->id;
	record.part = last_part = GetCurrentSubTransactionId();
	record.changed = palloc(sizeof(AuditColumn) * table->ncolumns);
	for (i = 0; i < table->ncolumns; i++)
	{
		const ColumnMap *column = &table->columns[i];

		if (!changed[i])
			continue;
		record.changed[list_length(record.columns)].id = column->id;
		record.changed[list_length(record.columns)].type = format_type_be_qualified(column->typid);
		record.columns = lappend(record.columns, column->name);
	}
	record.before = *before;
	record.after = *after;
	(void) audit_set_arrange(persons);
	record.persons = *persons;
	put(&record);
	has_records = true;
	has_open_records = true;
	note_changed(persons);
	if (guc_audit_durability && !egress_waiting)
		hold_back();
}

/* AFTER triggers, which the statement fires, are part of it. */
static void
audit_executor_finish(QueryDesc *query)
{
	volatile bool failed = true;

	nesting++;
	PG_TRY();
	{
		if (prev_executor_finish)
			prev_executor_finish(query);
		else
			standard_ExecutorFinish(query);
		failed = false;
	}
	PG_FINALLY();
	{
		if (--nesting == 0)
			end_statement(failed, false);
	}
	PG_END_TRY();
}

/* COPY FROM, CALL, DO, FETCH and others: the queries in them are part of them. */
static void
audit_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *queryEnv, DestReceiver *dest,
			  QueryCompletion *qc)
{
	volatile bool failed = true;
	ProcessUtility_hook_type next = prev_process_utility != NULL ?
		prev_process_utility : standard_ProcessUtility;

	if (IsA(pstmt->utilityStmt, TransactionStmt))
	{
		next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}
	begin_statement(GetCommandTagName(CreateCommandTag(pstmt->utilityStmt)), pstmt->queryId);
	PG_TRY();
	{
		next(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		failed = false;
	}
	PG_FINALLY();
	{
		if (--nesting == 0)
			end_statement(failed, false);
	}
	PG_END_TRY();
}

/* Records of parallel workers do not say how the transaction ended either. */
static void
hear_workers(void)
{
	uint32		told = audit_leader_told(session_role);

	if (told == 0)
		return;
	transaction = told;
	has_records = true;
	has_open_records = true;
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			put_entries(AUDIT_OUTCOME_COMMITTED, false);
			hear_workers();
			if (has_open_records)
				put_end(AUDIT_OUTCOME_COMMITTED, 0, 0);
			return;
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			put_entries(AUDIT_OUTCOME_OPEN, false);
			return;
		case XACT_EVENT_COMMIT:
			/* what other callbacks touched since */
			put_entries(AUDIT_OUTCOME_COMMITTED, false);
			break;
		case XACT_EVENT_PREPARE:
			hear_workers();
			break;
		case XACT_EVENT_ABORT:
			hear_workers();
			/* what was to be committed was not */
			if (has_records)
				put_end(AUDIT_OUTCOME_ROLLED_BACK, 0, 0);
			put_entries(AUDIT_OUTCOME_ROLLED_BACK, true);
			break;
		case XACT_EVENT_PARALLEL_ABORT:
			put_entries(AUDIT_OUTCOME_OPEN, true);
			break;
		default:
			break;
	}
	has_records = false;
	has_open_records = false;
	if (changed_persons.ranges != NULL)
		pfree(changed_persons.ranges);
	memset(&changed_persons, 0, sizeof(changed_persons));
	transaction = 0;
	statement_count = nesting > 0 ? 1 : 0;	/* a DO or CALL goes on */
}

/* Numbers of subtransactions only grow: those since its start go with it. */
static void
subxact_callback(SubXactEvent event, SubTransactionId own,
				 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && changed_persons.count > 0 && last_part >= own)
		put_end(AUDIT_OUTCOME_ROLLED_BACK, own, last_part);
}

void
audit_init(void)
{
	audit_queue_init();
	audit_leader_init();
	audit_names_init();
	entries_context = AllocSetContextCreate(TopMemoryContext, "gdpr audit",
											ALLOCSET_SMALL_SIZES);
	prev_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = audit_executor_run;
	prev_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = audit_executor_finish;
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = audit_utility;
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
/*
 * gdpr.session_statistics(OUT revealed, OUT hidden, OUT written, OUT masked,
 *		OUT overridden)
 *
 * Of this session so far: values revealed, values hidden, rows sealed, values
 * masked, and those of the revealed ones that were revealed by an override.
 */
Datum
gdpr_session_statistics(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[AUDIT_ACTIONS];
	bool		nulls[AUDIT_ACTIONS] = {0};
	int			i;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (i = 0; i < AUDIT_ACTIONS; i++)
		values[i] = Int64GetDatum((int64) counts[i]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
