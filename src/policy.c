/*
 * policy.c
 *		The one decision: what is current_user shown of a person's data?
 *
 * In this order: the purpose must exist, be granted to current_user or a role
 * it has the privileges of, and have its actor; it must cover the column; and
 * the person must permit it (standing.c), unless that is overridden.  What is
 * left is shown as it is, or masked.  For an export of a person, none of this
 * counts, but whose value it is.
 *
 * What was read of a purpose is kept until the purposes, the data map or role
 * memberships change, in any session; how persons stand to it, until the
 * statement ends.  At the begin of a statement we ask for the invalidations of
 * others: its locks may all be held already, and then nobody else does.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "alias.h"
#include "errors.h"
#include "guc.h"
#include "policy.h"
#include "purpose.h"
#include "quota.h"
#include "statement.h"

#define VIEW_QUESTIONS	1000	/* at most, in a session */
#define OTHER_QUESTIONS	32		/* that are kept */

struct PolicyQuestion
{
	MemoryContext context;		/* of what is read */
	char	   *name;			/* of the purpose, "" for none */
	char	   *channel;		/* NULL: any */
	char	   *topic;
	uint64		used;			/* when last, of OTHER_QUESTIONS */
	/* found for a role */
	bool		valid;
	Oid			role;
	uint64		version;		/* of the data map and purposes */
	Purpose		purpose;
	/* for the current statement */
	uint64		statement;
	bool		overriding;
	StandingQuestion asked;
	StandingMemo *memo;
};

static MemoryContext policy_context = NULL;
static PolicyQuestion *session_question = NULL;
static uint64 session_version = 0;	/* of the settings it was made from */
static PolicyQuestion **view_questions = NULL;
static int	nview_questions = 0;
static PolicyQuestion *other_questions[OTHER_QUESTIONS];
static uint64 uses = 0;
static uint64 memberships = 1;
static StandingMemo *restricted_memo = NULL;
static uint64 restricted_statement = 0;
static PolicyExport export = {NULL, 0, false, InvalidOid, 0};

static void
membership_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	memberships++;
}

void
policy_init(void)
{
	policy_context = AllocSetContextCreate(TopMemoryContext, "gdpr policy",
										   ALLOCSET_SMALL_SIZES);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, membership_changed,
								  (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, membership_changed, (Datum) 0);
	/* its owner is the member of pg_database_owner */
	CacheRegisterSyscacheCallback(DATABASEOID, membership_changed, (Datum) 0);
}

/* ---------- questions ---------- */

static char *
copy_text(MemoryContext context, const char *text)
{
	return text == NULL || text[0] == '\0' ? NULL :
		MemoryContextStrdup(context, text);
}

static bool
same_text(const char *kept, const char *text)
{
	if (kept == NULL || text == NULL || text[0] == '\0')
		return kept == NULL && (text == NULL || text[0] == '\0');
	return strcmp(kept, text) == 0;
}

static bool
is_question(const PolicyQuestion *question, const char *purpose,
			const char *channel, const char *topic)
{
	return strcmp(question->name, purpose) == 0 &&
		same_text(question->channel, channel) &&
		same_text(question->topic, topic);
}

static PolicyQuestion *
make_question(void)
{
	PolicyQuestion *question;
	MemoryContext context = AllocSetContextCreate(policy_context,
												  "gdpr question",
												  ALLOCSET_SMALL_SIZES);

	question = MemoryContextAllocZero(policy_context, sizeof(PolicyQuestion));
	question->context = context;
	question->memo = standing_memo_create(policy_context);
	question->name = MemoryContextStrdup(policy_context, "");
	return question;
}

/* Ask something else with it. */
static void
set_question(PolicyQuestion *question, const char *purpose,
			 const char *channel, const char *topic)
{
	char	   *name = MemoryContextStrdup(policy_context, purpose);

	question->valid = false;
	question->statement = 0;
	pfree(question->name);
	question->name = name;
	if (question->channel != NULL)
		pfree(question->channel);
	question->channel = NULL;
	if (question->topic != NULL)
		pfree(question->topic);
	question->topic = NULL;
	question->channel = copy_text(policy_context, channel);
	question->topic = copy_text(policy_context, topic);
}

PolicyQuestion *
policy_session(void)
{
	if (likely(session_version == guc_question_version))
		return session_question;
	if (session_question == NULL)
		session_question = make_question();
	if (!is_question(session_question, guc_purpose, guc_channel, guc_topic))
		set_question(session_question, guc_purpose, guc_channel, guc_topic);
	session_version = guc_question_version;
	return session_question;
}

static PolicyQuestion *
view_question(const char *purpose, const char *channel, const char *topic)
{
	int			i;

	for (i = 0; i < nview_questions; i++)
		if (is_question(view_questions[i], purpose, channel, topic))
			return view_questions[i];
	if (nview_questions == VIEW_QUESTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different purposes, channels and topics in the views of this session"),
				 errhint("Begin a new session.")));
	if (view_questions == NULL)
		view_questions = MemoryContextAlloc(policy_context,
											sizeof(PolicyQuestion *) * VIEW_QUESTIONS);
	view_questions[nview_questions] = make_question();
	set_question(view_questions[nview_questions], purpose, channel, topic);
	return view_questions[nview_questions++];
}

const char *
policy_purpose(const PolicyQuestion *question)
{
	return question->name;
}

PolicyQuestion *
policy_of_context(const char *context)
{
	const char *channel = context + strlen(context) + 1;

	return view_question(context, channel, channel + strlen(channel) + 1);
}

PolicyQuestion *
policy_kept(const PolicyQuestion *question)
{
	return view_question(question->name, question->channel, question->topic);
}

PolicyQuestion *
policy_question(const char *purpose, const char *channel, const char *topic)
{
	int			oldest = 0;
	int			i;

	uses++;
	for (i = 0; i < OTHER_QUESTIONS && other_questions[i] != NULL; i++)
	{
		if (is_question(other_questions[i], purpose, channel, topic))
		{
			other_questions[i]->used = uses;
			return other_questions[i];
		}
		if (other_questions[i]->used < other_questions[oldest]->used)
			oldest = i;
	}
	if (i < OTHER_QUESTIONS)
	{
		oldest = i;
		other_questions[oldest] = make_question();
	}
	set_question(other_questions[oldest], purpose, channel, topic);
	other_questions[oldest]->used = uses;
	return other_questions[oldest];
}

/* ---------- what is known of the purpose ---------- */

static uint64
current_version(void)
{
	return datamap_version() + memberships;
}

static void
read_question(PolicyQuestion *question)
{
	MemoryContext before = MemoryContextSwitchTo(question->context);
	uint64		version = current_version();

	question->valid = false;
	MemoryContextReset(question->context);
	purpose_read(question->name, &question->purpose);
	MemoryContextSwitchTo(before);
	question->role = GetUserId();
	question->version = version;
	question->statement = 0;
	question->valid = true;
}

/* Consents from before are not valid any more. */
static TimestampTz
consents_from(const Purpose *purpose)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz result = DT_NOBEGIN;
	int			i;

	for (i = 0; i < purpose->nnotices; i++)
		if (purpose->notices[i].renew_by <= now)
			result = Max(result, purpose->notices[i].published_at);
	return result;
}

static bool
is_overriding(void)
{
	return guc_override_reason[0] != '\0';
}

static void
begin_statement(PolicyQuestion *question, uint64 statement)
{
	const Purpose *purpose = &question->purpose;

	question->overriding = is_overriding();
	question->asked = (StandingQuestion)
	{
		.purpose = purpose->id,
			.needs_consent = purpose->needs_consent,
			.without_record = purpose->without_record,
			.direct_marketing = purpose->direct_marketing,
			.despite_restriction = purpose->despite_restriction,
			.channel = question->channel,
			.topic = question->topic,
			.consents_from = consents_from(purpose)
	};
	standing_memo_begin(question->memo);
	question->statement = statement;
}

static void
prepare(PolicyQuestion *question)
{
	uint64		statement = statement_number();

	if (question->statement != statement)
		AcceptInvalidationMessages();
	if (!question->valid || question->role != GetUserId() ||
		question->version != current_version())
		read_question(question);
	/* a function may have the setting for itself, and be left again */
	if (question->statement != statement ||
		question->overriding != is_overriding())
		begin_statement(question, statement);
}

static bool
is_granted(const PolicyQuestion *question)
{
	return question->purpose.known &&
		(question->purpose.reveals || question->purpose.masks);
}

static bool
lacks_actor(const PolicyQuestion *question)
{
	return question->purpose.requires_actor && guc_actor[0] == '\0';
}

static bool
may_override(const PolicyQuestion *question)
{
	return question->purpose.overrides && !question->purpose.direct_marketing;
}

static const char *
role_name(void)
{
	return GetUserNameFromId(GetUserId(), false);
}

/* Raises the error unless the session may claim the purpose. */
static void
require_claim(const PolicyQuestion *question)
{
	if (!question->purpose.known)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" does not exist", question->name),
				 errhint("Set gdpr.purpose to a purpose of table gdpr.purpose.")));
	if (!is_granted(question))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" is not granted to role \"%s\"",
						question->name, role_name()),
				 errhint("An officer can grant it: SELECT gdpr.grant_purpose(%s, %s).",
						 quote_literal_cstr(question->name),
						 quote_literal_cstr(role_name()))));
	if (lacks_actor(question))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" requires an actor", question->name),
				 errhint("Name the person who acts: SET LOCAL gdpr.actor = '...'.")));
	if (question->overriding && !may_override(question))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("role \"%s\" may not override what persons decided on purpose \"%s\"",
						role_name(), question->name),
				 errhint("RESET gdpr.override_reason. An officer can grant it, but never for direct marketing: SELECT gdpr.grant_purpose(%s, %s, override => true).",
						 quote_literal_cstr(question->name),
						 quote_literal_cstr(role_name()))));
}

/* ---------- the decision ---------- */

static bool
covers(const Purpose *purpose, const ColumnMap *column)
{
	return (purpose->categories & (1U << column->category)) != 0 &&
		(!purpose->narrowed || bms_is_member(column->id, purpose->columns));
}

static PolicyDecision
shown_as(const PolicyQuestion *question)
{
	return question->purpose.reveals ? POLICY_REVEAL : POLICY_MASK;
}

static bool
permits(PolicyQuestion *question, uint64 person)
{
	return question->overriding ||
		standing_permits(question->memo, &question->asked, person);
}

PolicyDecision
policy_decide(PolicyQuestion *question, const ColumnMap *column, uint64 person)
{
	if (question->name[0] == '\0')
		return POLICY_HIDE;
	prepare(question);
	require_claim(question);
	if (!covers(&question->purpose, column) || !permits(question, person))
		return POLICY_HIDE;
	return shown_as(question);
}

PolicyDecision
policy_decide_quietly(PolicyQuestion *question, const ColumnMap *column,
					  uint64 person)
{
	if (question->name[0] == '\0')
		return POLICY_HIDE;
	prepare(question);
	if (!is_granted(question) || lacks_actor(question) ||
		(question->overriding && !may_override(question)) ||
		!covers(&question->purpose, column) || !permits(question, person))
		return POLICY_HIDE;
	return shown_as(question);
}

PolicyDecision
policy_decide_column(PolicyQuestion *question, const ColumnMap *column)
{
	if (question->name[0] == '\0')
		return POLICY_HIDE;
	prepare(question);
	require_claim(question);
	return covers(&question->purpose, column) ? shown_as(question) : POLICY_HIDE;
}

bool
policy_permits_person(PolicyQuestion *question, uint64 person)
{
	if (question->name[0] == '\0')
		return false;
	prepare(question);
	require_claim(question);
	return permits(question, person);
}

Standing
policy_standing(PolicyQuestion *question, uint64 person)
{
	prepare(question);
	if (!question->purpose.known)
		require_claim(question);
	return standing_find(&question->asked, person);
}

/* ---------- exports ---------- */

PolicyExport
policy_set_export(PolicyExport new_export)
{
	PolicyExport before = export;

	export = new_export;
	return before;
}

const PolicyExport *
policy_export(void)
{
	return export.numbers != NULL && export.depth == statement_depth() ?
		&export : NULL;
}

static bool
is_exported(uint64 number)
{
	int			low = 0;
	int			high = export.count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (export.numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < export.count && export.numbers[low] == number;
}

PolicyDecision
policy_decide_export(uint64 number)
{
	if (is_exported(number) || is_exported(alias_person(number)))
		return POLICY_REVEAL;
	return export.masks ? POLICY_MASK : POLICY_HIDE;
}

/* ---------- counting ---------- */

static void
refuse_count(const PolicyQuestion *question, int cap, const char *where,
			 const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_CAP),
			 errmsg("more than %d persons would be revealed %s for purpose \"%s\"",
					cap, where, question->name),
			 errdetail("So many may be revealed to role \"%s\".",
					   role_name()),
			 errhint("%s", hint)));
}

void
policy_count(PolicyQuestion *question, uint64 person)
{
	static const char *const more_hint =
		"Ask for fewer persons. An officer can allow more: see gdpr.alter_purpose, gdpr.grant_purpose and gdpr.max_subjects_per_statement.";
	const Purpose *purpose = &question->purpose;
	int			cap = guc_max_subjects_per_statement;

	if (cap < 0 && purpose->statement_cap < 0 && purpose->hour_cap < 0)
		return;
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_CAP),
				 errmsg("persons that are revealed with a cap are not counted in parallel workers"),
				 errhint("SET max_parallel_workers_per_gather = 0.")));
	if (!quota_statement_has(purpose->id, person))
	{
		if (purpose->statement_cap >= 0 &&
			quota_statement_count(purpose->id) >= purpose->statement_cap)
			refuse_count(question, purpose->statement_cap, "by one statement",
						 more_hint);
		if (cap >= 0 && !quota_statement_has(0, person) &&
			quota_statement_count(0) >= cap)
			refuse_count(question, cap, "by one statement", more_hint);
		if (purpose->hour_cap >= 0 &&
			!quota_hour_take(GetUserId(), purpose->id, purpose->hour_cap))
			refuse_count(question, purpose->hour_cap, "in an hour",
						 "Wait, or ask an officer to allow more: see gdpr.alter_purpose and gdpr.grant_purpose.");
		/* only now: whoever catches the error has not got the person */
		quota_statement_add(purpose->id, person);
		if (!quota_statement_has(0, person))
			quota_statement_add(0, person);
	}
}

bool
policy_overrides(PolicyQuestion *question)
{
	return question->overriding;
}

bool
policy_permits_change(uint64 person)
{
	PolicyQuestion *question = policy_session();
	/* a question that only restriction answers with no: no purpose is -1 */
	StandingQuestion asked = {.purpose = -1};
	uint64		statement = statement_number();

	if (question->name[0] != '\0')
	{
		prepare(question);
		if (is_granted(question) && !lacks_actor(question) &&
			(question->purpose.despite_restriction ||
			 (question->overriding && may_override(question))))
			return true;
	}
	if (restricted_memo == NULL)
		restricted_memo = standing_memo_create(policy_context);
	if (restricted_statement != statement)
	{
		AcceptInvalidationMessages();
		standing_memo_begin(restricted_memo);
	}
	restricted_statement = statement;
	return standing_permits(restricted_memo, &asked, person);
}

bool
policy_may_restore(const TableMap *table)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		has_privs_of_role(GetUserId(), datamap_relation_owner(table->relid)) ||
		(table->root != table &&
		 has_privs_of_role(GetUserId(),
						   datamap_relation_owner(table->root->relid)));
}
