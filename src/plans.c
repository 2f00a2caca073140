/*
 * plans.c
 *		Saved plans of statements of the extension that are run again and again.
 *
 * Planning a statement on a protected table takes longer than running it for
 * one person.  Plans are kept by the text of their statement; PostgreSQL makes
 * them anew when a table, the search path or row security calls for it.  None
 * is dropped, as it may be running: when there is room for no more, statements
 * are planned for their one use.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "plans.h"

#define PLANS_LIMIT		256

typedef struct PlanEntry
{
	const char *statement;		/* first: the key */
	SPIPlanPtr	plan;
} PlanEntry;

static HTAB *plans = NULL;
static MemoryContext plans_context = NULL;

static uint32
statement_hash(const void *key, Size keysize)
{
	const char *statement = *(const char *const *) key;

	return DatumGetUInt32(hash_any((const unsigned char *) statement,
								   strlen(statement)));
}

static int
statement_compare(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void
make_table(void)
{
	HASHCTL		ctl = {0};

	plans_context = AllocSetContextCreate(TopMemoryContext, "gdpr plans",
										  ALLOCSET_SMALL_SIZES);
	ctl.keysize = sizeof(const char *);
	ctl.entrysize = sizeof(PlanEntry);
	ctl.hash = statement_hash;
	ctl.match = statement_compare;
	ctl.hcxt = plans_context;
	plans = hash_create("gdpr plans", 32, &ctl,
						HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

SPIPlanPtr
plans_get(const char *statement, int nargs, Oid *types)
{
	PlanEntry  *entry;
	SPIPlanPtr	plan;
	char	   *key;

	if (plans == NULL)
		make_table();
	entry = hash_search(plans, &statement, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->plan;

	/* whose rows, or which relation, does not change the plan */
	plan = SPI_prepare_cursor(statement, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare a statement: %s",
			 SPI_result_code_string(SPI_result));
	if (hash_get_num_entries(plans) >= PLANS_LIMIT)
		return plan;
	key = MemoryContextStrdup(plans_context, statement);
	SPI_keepplan(plan);
	entry = hash_search(plans, &key, HASH_ENTER, NULL);
	entry->statement = key;
	entry->plan = plan;
	return plan;
}
