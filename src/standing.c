/*
 * standing.c
 *		How a person stands to a purpose.
 *
 * gdpr.consent holds the latest event for each channel and topic that a person
 * decided on; '' stands for all of them.  Of several that cover a case, the
 * least permissive holds: a refusal, unless the consent came after it and is
 * about less (a person who had withdrawn everything then subscribes to one
 * thing).
 *
 * Of persons that were merged, each number has its own flags and consents: all
 * flags hold, and for each channel and topic the latest event.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "alias.h"
#include "datamap.h"
#include "errors.h"
#include "person_map.h"
#include "standing.h"

/* Columns of the tables, as in sql/42_consent.sql and sql/44_flags.sql */
enum ConsentColumn
{
	C_PURPOSE = 1, C_SUBJECT, C_CHANNEL, C_TOPIC, C_PERMITS, C_SINCE,
	C_EXPIRES
};
enum FlagColumn
{
	F_SUBJECT = 1, F_KIND, F_PURPOSE, F_CHANNEL
};

#define FLAG_RESTRICTION	'r'
#define FLAG_OBJECTION		'o'
#define FLAG_CHANNEL_BLOCK	'b'

/* Look-ups before everything is read: at least, and one for so many pages. */
#define LOOKUPS_AT_LEAST	32
#define PAGES_PER_LOOKUP	2

/* One row of gdpr.consent */
typedef struct Consent
{
	const char *channel;		/* "": all */
	const char *topic;
	TimestampTz since;
	bool		permits;
	bool		valid;			/* if it permits: it still does */
} Consent;

/* What there is of one person. */
typedef struct Facts
{
	bool		restricted;
	bool		objected;
	int			nconsents;
	int			nblocked;
	int			max_consents;
	int			max_blocked;
	Consent    *consents;
	const char **blocked;		/* channels */
} Facts;

/* Both are read as of the same moment: a transaction may change both. */
typedef struct Tables
{
	Relation	flags;
	Relation	consents;		/* NULL: they do not matter */
	Snapshot	snapshot;
} Tables;

/* What the memo holds for a person. */
enum Known
{
	KNOWN_NOTHING,				/* or, when all is read: there is no row of it */
	KNOWN_PERMITTED,
	KNOWN_DENIED,
	KNOWN_BY_LOOKUP				/* too intricate: look it up */
};

struct StandingMemo
{
	PersonMap  *known;
	bool		complete;		/* all is read */
	bool		too_large;		/* all does not fit */
	int64		lookups;
	int64		max_lookups;	/* 0: not computed yet */
	uint64		last_person;	/* 0: none */
	bool		last_answer;
	MemoryContext scratch;
};

/* ---------- reading ---------- */

static Relation
open_table(const char *name)
{
	Oid			relid = get_relname_relid(name, datamap_oids()->schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table gdpr.%s does not exist", name),
				 errhint("ALTER EXTENSION gdpr UPDATE, or install the matching library.")));
	return table_open(relid, AccessShareLock);
}

static void
open_tables(Tables *tables, const StandingQuestion *question)
{
	tables->flags = open_table("flag");
	tables->consents = question->needs_consent ? open_table("consent") : NULL;
	/* always a new one, for what has no system cache */
	tables->snapshot = RegisterSnapshot(GetCatalogSnapshot(InvalidOid));
}

static void
close_tables(Tables *tables)
{
	UnregisterSnapshot(tables->snapshot);
	if (tables->consents != NULL)
		table_close(tables->consents, NoLock);
	table_close(tables->flags, NoLock);
}

/* The index of the primary key; every table that is read here has one. */
static Oid
key_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);

	list_free(indexes);
	return rel->rd_pkindex;
}

static char *
get_text(Relation rel, HeapTuple tuple, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, RelationGetDescr(rel), &isnull);

	return isnull ? "" : TextDatumGetCString(value);
}

static int64
get_number(Relation rel, HeapTuple tuple, int attnum, bool *isnull)
{
	Datum		value = heap_getattr(tuple, attnum, RelationGetDescr(rel), isnull);

	return *isnull ? 0 : DatumGetInt64(value);
}

/* Is it still valid, if it permits? */
static bool
is_valid(const StandingQuestion *question, const Datum *values,
		 const bool *nulls)
{
	return DatumGetTimestampTz(values[C_SINCE - 1]) >= question->consents_from &&
		(nulls[C_EXPIRES - 1] ||
		 DatumGetTimestampTz(values[C_EXPIRES - 1]) > GetCurrentTimestamp());
}

static void
add_consent(Facts *facts, const StandingQuestion *question, Relation rel,
			HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	Consent    *consent;

	if (facts->nconsents == facts->max_consents)
	{
		facts->max_consents = Max(8, facts->max_consents * 2);
		facts->consents = facts->consents == NULL ?
			palloc(sizeof(Consent) * facts->max_consents) :
			repalloc(facts->consents, sizeof(Consent) * facts->max_consents);
	}
	heap_deform_tuple(tuple, desc, values, nulls);
	consent = &facts->consents[facts->nconsents++];
	consent->channel = TextDatumGetCString(values[C_CHANNEL - 1]);
	consent->topic = TextDatumGetCString(values[C_TOPIC - 1]);
	consent->permits = DatumGetBool(values[C_PERMITS - 1]);
	consent->since = DatumGetTimestampTz(values[C_SINCE - 1]);
	consent->valid = consent->permits && is_valid(question, values, nulls);
}

static void
add_flag(Facts *facts, const StandingQuestion *question, Relation rel,
		 HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		isnull;
	int32		purpose;

	switch (DatumGetChar(heap_getattr(tuple, F_KIND, desc, &isnull)))
	{
		case FLAG_RESTRICTION:
			facts->restricted = true;
			break;
		case FLAG_OBJECTION:
			/* 0: to all direct marketing */
			purpose = DatumGetInt32(heap_getattr(tuple, F_PURPOSE, desc, &isnull));
			if (purpose == question->purpose ||
				(purpose == 0 && question->direct_marketing))
				facts->objected = true;
			break;
		case FLAG_CHANNEL_BLOCK:
			if (facts->nblocked == facts->max_blocked)
			{
				facts->max_blocked = Max(8, facts->max_blocked * 2);
				facts->blocked = facts->blocked == NULL ?
					palloc(sizeof(char *) * facts->max_blocked) :
					repalloc(facts->blocked, sizeof(char *) * facts->max_blocked);
			}
			facts->blocked[facts->nblocked++] = get_text(rel, tuple, F_CHANNEL);
			break;
	}
}

static void
find_flags(Facts *facts, const StandingQuestion *question,
		   const Tables *tables, uint64 person)
{
	Relation	rel = tables->flags;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		ScanKeyInit(&key, F_SUBJECT, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum((int64) person));
		scan = systable_beginscan(rel, key_index(rel), true, tables->snapshot,
								  1, &key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
			add_flag(facts, question, rel, tuple);
		systable_endscan(scan);
	}
}

static void
find_consents(Facts *facts, const StandingQuestion *question,
			  const Tables *tables, uint64 person)
{
	Relation	rel = tables->consents;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], C_PURPOSE, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(question->purpose));
	ScanKeyInit(&keys[1], C_SUBJECT, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) person));
	scan = systable_beginscan(rel, key_index(rel), true, tables->snapshot, 2,
							  keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		add_consent(facts, question, rel, tuple);
	systable_endscan(scan);
}

/* ---------- the answer ---------- */

static bool
is_blocked(const Facts *facts, const char *channel)
{
	int			i;

	for (i = 0; i < facts->nblocked; i++)
		if (strcmp(facts->blocked[i], channel) == 0)
			return true;
	return false;
}

static bool
covers(const char *scope, const char *one)
{
	return scope[0] == '\0' || strcmp(scope, one) == 0;
}

/*
 * Is a, which came later, an exception from b?  Both cover the same channel
 * and topic.
 */
static bool
is_exception_from(const Consent *a, const Consent *b)
{
	bool		channel = a->channel[0] != '\0' && b->channel[0] == '\0';
	bool		topic = a->topic[0] != '\0' && b->topic[0] == '\0';
	bool		wider = (a->channel[0] == '\0' && b->channel[0] != '\0') ||
		(a->topic[0] == '\0' && b->topic[0] != '\0');

	return (channel || topic) && !wider && a->since > b->since;
}

/*
 * May the person be addressed on this channel about this topic ("": on some
 * other than those named)?
 */
static Standing
judge_scope(const StandingQuestion *question, const Facts *facts,
			const char *channel, const char *topic)
{
	bool		recorded = false;
	bool		refused = false;
	bool		lapsed = false;
	int			i;
	int			j;

	if (channel[0] != '\0' && is_blocked(facts, channel))
		return STANDING_BLOCKED;
	for (i = 0; i < facts->nconsents; i++)
	{
		const Consent *consent = &facts->consents[i];
		bool		stands = consent->valid;

		if (!covers(consent->channel, channel) || !covers(consent->topic, topic))
			continue;
		recorded = true;
		refused |= !consent->permits;
		lapsed |= consent->permits && !consent->valid;
		for (j = 0; stands && j < facts->nconsents; j++)
		{
			const Consent *other = &facts->consents[j];

			if (!other->permits && covers(other->channel, channel) &&
				covers(other->topic, topic) &&
				!is_exception_from(consent, other))
				stands = false;
		}
		if (stands)
			return STANDING_PERMITTED;
	}
	if (!recorded && question->without_record)
		return STANDING_PERMITTED;
	return refused ? STANDING_REFUSED : lapsed ? STANDING_EXPIRED :
		STANDING_NO_CONSENT;
}

/*
 * A question that leaves channel or topic open asks whether there is one.
 * Those that are named anywhere are tried, and one that is not.
 */
static Standing
judge_consents(const StandingQuestion *question, const Facts *facts)
{
	Standing	result = STANDING_NO_CONSENT;
	int			nchannels = question->channel ? 0 : facts->nconsents;
	int			ntopics = question->topic ? 0 : facts->nconsents;
	int			i;
	int			j;

	for (i = -1; i < nchannels; i++)
	{
		const char *channel = i >= 0 ? facts->consents[i].channel :
			question->channel ? question->channel : "";

		for (j = -1; j < ntopics; j++)
		{
			const char *topic = j >= 0 ? facts->consents[j].topic :
				question->topic ? question->topic : "";
			Standing	standing = judge_scope(question, facts, channel, topic);

			if (standing == STANDING_PERMITTED)
				return standing;
			/* the reason that was looked for first */
			result = Min(result, standing);
		}
	}
	return result;
}

static Standing
judge(const StandingQuestion *question, const Facts *facts)
{
	if (facts->restricted && !question->despite_restriction)
		return STANDING_RESTRICTED;
	if (facts->objected)
		return STANDING_OBJECTED;
	if (question->channel != NULL && is_blocked(facts, question->channel))
		return STANDING_BLOCKED;
	if (!question->needs_consent)
		return STANDING_PERMITTED;
	return judge_consents(question, facts);
}

/* Is b later; or at the same time, and permits less? */
static bool
is_replaced_by(const Consent *a, const Consent *b)
{
	if (a->since != b->since)
		return b->since > a->since;
	return b->permits + b->valid < a->permits + a->valid;
}

/* Of consents about the same, which merged persons can have, the latest. */
static void
keep_latest(Facts *facts)
{
	int			i;
	int			j;

	for (i = 0; i < facts->nconsents; i++)
	{
		Consent    *a = &facts->consents[i];

		for (j = i + 1; j < facts->nconsents;)
		{
			Consent    *b = &facts->consents[j];

			if (strcmp(a->channel, b->channel) != 0 ||
				strcmp(a->topic, b->topic) != 0)
			{
				j++;
				continue;
			}
			if (is_replaced_by(a, b))
				*a = *b;
			*b = facts->consents[--facts->nconsents];
		}
	}
}

static void
find_facts(Facts *facts, const StandingQuestion *question,
		   const Tables *tables, uint64 person)
{
	uint64	   *numbers;
	int			n = alias_merged(person, &numbers);
	int			i;

	for (i = 0; i < n; i++)
	{
		find_flags(facts, question, tables, numbers[i]);
		if (tables->consents != NULL)
			find_consents(facts, question, tables, numbers[i]);
	}
	if (n > 1)
		keep_latest(facts);
	pfree(numbers);
}

Standing
standing_find(const StandingQuestion *question, uint64 person)
{
	Facts		facts = {0};
	Tables		tables;

	open_tables(&tables, question);
	find_facts(&facts, question, &tables, person);
	close_tables(&tables);
	return judge(question, &facts);
}

bool
standing_consented(int32 purpose, uint64 person, const char *channel,
				   const char *topic, TimestampTz at)
{
	StandingQuestion question = {.purpose = purpose, .needs_consent = true};
	Facts		facts = {0};
	Tables		tables;
	int			i;

	open_tables(&tables, &question);
	find_facts(&facts, &question, &tables, person);
	close_tables(&tables);
	for (i = 0; i < facts.nconsents; i++)
	{
		const Consent *consent = &facts.consents[i];

		if (strcmp(consent->channel, channel) == 0 &&
			strcmp(consent->topic, topic) == 0)
			return consent->permits && consent->since <= at;
	}
	return false;
}

/* ---------- everybody at once ---------- */

/*
 * The scans live in the caller's memory, what is read of a person in scratch.
 *
 * Flags are read first, in any order.  Which channels are blocked matters
 * together with consents if the question names none.
 */
static bool
load_flags(StandingMemo *memo, const StandingQuestion *question,
		   const Tables *tables)
{
	Relation	rel = tables->flags;
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false,
										  tables->snapshot, 0, NULL);
	HeapTuple	tuple;
	bool		fits = true;

	while (fits && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext before = MemoryContextSwitchTo(memo->scratch);
		Facts		facts = {0};
		bool		isnull;
		uint64		person = alias_survivor((uint64) get_number(rel, tuple, F_SUBJECT, &isnull));
		int			known = person_map_get(memo->known, person);

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(memo->scratch);
		add_flag(&facts, question, rel, tuple);
		MemoryContextSwitchTo(before);
		if ((facts.restricted && !question->despite_restriction) ||
			facts.objected ||
			(question->channel != NULL && is_blocked(&facts, question->channel)))
			known = KNOWN_DENIED;
		else if (facts.nblocked > 0 && question->channel == NULL &&
				 question->needs_consent && known == KNOWN_NOTHING)
			known = KNOWN_BY_LOOKUP;
		if (known != KNOWN_NOTHING)
			fits = person_map_set(memo->known, person, known);
	}
	systable_endscan(scan);
	return fits;
}

/* Is it about the channel and topic that are asked for? */
static bool
is_relevant(const StandingQuestion *question, const Consent *consent)
{
	return (question->channel == NULL ||
			covers(consent->channel, question->channel)) &&
		(question->topic == NULL || covers(consent->topic, question->topic));
}

/*
 * Consents come in any order.  Those of a person that lead to the same answer
 * each by itself lead to it together: if all deny, there is none to stand; if
 * all permit, none refuses everything that is asked for.
 */
static bool
note_consent(StandingMemo *memo, const StandingQuestion *question,
			 uint64 person, const Facts *facts)
{
	int			known = person_map_get(memo->known, person);
	int			alone = judge_consents(question, facts) == STANDING_PERMITTED ?
		KNOWN_PERMITTED : KNOWN_DENIED;

	if (known == alone)
		return true;
	return person_map_set(memo->known, person,
						  known == KNOWN_NOTHING ? alone : KNOWN_BY_LOOKUP);
}

/* Channels and topics: few, and each of them often. */
typedef struct Words
{
	char	   *words[16];
	int			count;			/* that there have been so far */
} Words;

/* The same as a C string, until so many others have come. */
static const char *
get_word(Words *words, Datum value)
{
	text	   *word = DatumGetTextPP(value);
	size_t		len = VARSIZE_ANY_EXHDR(word);
	char	  **place;
	int			i;

	if (len == 0)
		return "";
	for (i = 0; i < Min(words->count, (int) lengthof(words->words)); i++)
		if (strlen(words->words[i]) == len &&
			memcmp(words->words[i], VARDATA_ANY(word), len) == 0)
			return words->words[i];
	place = &words->words[words->count % lengthof(words->words)];
	if (words->count++ >= (int) lengthof(words->words))
		pfree(*place);
	*place = text_to_cstring(word);
	return *place;
}

/*
 * The table is read as it lies, with the consents for other purposes: by the
 * index, each row would be looked for by itself.
 */
static bool
load_consents(StandingMemo *memo, const StandingQuestion *question,
			  const Tables *tables)
{
	Relation	rel = tables->consents;
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false,
										  tables->snapshot, 0, NULL);
	Words		words = {0};
	Facts		facts = {0};
	Consent		consent;
	HeapTuple	tuple;
	bool		fits = true;

	facts.consents = &consent;
	facts.nconsents = 1;
	while (fits && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt32(heap_getattr(tuple, C_PURPOSE, desc, &isnull)) != question->purpose)
			continue;
		heap_deform_tuple(tuple, desc, values, nulls);
		consent.channel = get_word(&words, values[C_CHANNEL - 1]);
		consent.topic = get_word(&words, values[C_TOPIC - 1]);
		if (!is_relevant(question, &consent))
			continue;
		consent.permits = DatumGetBool(values[C_PERMITS - 1]);
		consent.since = DatumGetTimestampTz(values[C_SINCE - 1]);
		consent.valid = consent.permits && is_valid(question, values, nulls);
		fits = note_consent(memo, question,
							alias_survivor((uint64) DatumGetInt64(values[C_SUBJECT - 1])),
							&facts);
	}
	systable_endscan(scan);
	return fits;
}

/* What was looked up so far is read once more, and for all the same moment. */
static void
load_all(StandingMemo *memo, const StandingQuestion *question)
{
	Tables		tables;

	person_map_reset(memo->known, (Size) work_mem * 1024);
	open_tables(&tables, question);
	memo->complete = load_flags(memo, question, &tables) &&
		(tables.consents == NULL || load_consents(memo, question, &tables));
	close_tables(&tables);
	MemoryContextReset(memo->scratch);
	if (!memo->complete)
	{
		person_map_reset(memo->known, (Size) work_mem * 1024);
		memo->too_large = true;
	}
}

static int64
table_pages(const char *name)
{
	Relation	rel = open_table(name);
	int64		pages = RelationGetNumberOfBlocks(rel);

	table_close(rel, NoLock);
	return pages;
}

static bool
is_time_to_load(StandingMemo *memo, const StandingQuestion *question)
{
	if (memo->too_large || ++memo->lookups < LOOKUPS_AT_LEAST)
		return false;
	if (memo->max_lookups == 0)
		memo->max_lookups = LOOKUPS_AT_LEAST +
			(table_pages("flag") +
			 (question->needs_consent ? table_pages("consent") : 0)) / PAGES_PER_LOOKUP;
	return memo->lookups >= memo->max_lookups;
}

StandingMemo *
standing_memo_create(MemoryContext parent)
{
	StandingMemo *memo = MemoryContextAllocZero(parent, sizeof(StandingMemo));

	memo->known = person_map_create(parent);
	memo->scratch = AllocSetContextCreate(parent, "gdpr standing",
										  ALLOCSET_SMALL_SIZES);
	return memo;
}

void
standing_memo_begin(StandingMemo *memo)
{
	person_map_reset(memo->known, (Size) work_mem * 1024);
	memo->complete = false;
	memo->too_large = false;
	memo->lookups = 0;
	memo->max_lookups = 0;
	memo->last_person = 0;
}

static bool
look_up(StandingMemo *memo, const StandingQuestion *question, uint64 person)
{
	MemoryContext before = MemoryContextSwitchTo(memo->scratch);
	bool		answer = standing_find(question, person) == STANDING_PERMITTED;

	MemoryContextSwitchTo(before);
	MemoryContextReset(memo->scratch);
	return answer;
}

/* Remember an answer that was looked up; the map is only worth it for many. */
static void
remember(StandingMemo *memo, uint64 person, bool answer)
{
	if (memo->complete || memo->lookups <= 1)
		return;
	if (!person_map_set(memo->known, person,
						answer ? KNOWN_PERMITTED : KNOWN_DENIED))
		person_map_reset(memo->known, (Size) work_mem * 1024);
}

bool
standing_permits(StandingMemo *memo, const StandingQuestion *question,
				 uint64 number)
{
	uint64		person;
	int			known;
	bool		answer;

	if (number == memo->last_person && number != 0)
		return memo->last_answer;

	/* a row that is not sealed yet has no number: nothing can be recorded */
	if (number == 0)
		return !question->needs_consent;
	person = alias_survivor(number);
	known = person_map_get(memo->known, person);
	if (known == KNOWN_NOTHING && !memo->complete &&
		is_time_to_load(memo, question))
	{
		load_all(memo, question);
		known = person_map_get(memo->known, person);
	}
	if (known == KNOWN_NOTHING && memo->complete)
		answer = !question->needs_consent || question->without_record;
	else if (known == KNOWN_NOTHING || known == KNOWN_BY_LOOKUP)
	{
		answer = look_up(memo, question, person);
		remember(memo, person, answer);
	}
	else
		answer = known == KNOWN_PERMITTED;
	memo->last_person = number;
	memo->last_answer = answer;
	return answer;
}
