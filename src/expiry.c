/*
 * expiry.c
 *		Months of expiry: when values of a row are over by the policies of
 *		retention that shred, and their key dies in every backup.
 *
 * The end of a period is that of gdpr.retention_end(), which the run goes by.
 * A month that has begun, or whose keys are destroyed, is not sealed with any
 * more: the run closes it, see sql/82_retention_run.sql.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datamap.h"
#include "envelope.h"
#include "expiry.h"
#include "keystore.h"
#include "keytree.h"

PG_FUNCTION_INFO_V1(gdpr_expiry);

#define FIRST_YEAR	2000

/* Of dates before and after these nothing is computed. */
#define EARLIEST	((Timestamp) (1 - 2000) * 365 * USECS_PER_DAY)
#define LATEST		((Timestamp) (2400 - 2000) * 366 * USECS_PER_DAY)

/*
 * The first month, as a number, that does not begin before a moment; 0 if it
 * is too far away.
 */
static int
month_from(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			month;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	month = (tm.tm_year - FIRST_YEAR) * MONTHS_PER_YEAR + tm.tm_mon;
	if (tm.tm_mday != 1 || tm.tm_hour != 0 || tm.tm_min != 0 ||
		tm.tm_sec != 0 || fsec != 0)
		month++;
	if (month >= KEYTREE_MONTHS)
		return 0;
	return Max(month, 1);
}

/* The beginning of a period in the policy's zone. */
static Timestamp
local_since(const ExpiryMap *policy, Datum value)
{
	switch (policy->typid)
	{
		case DATEOID:
			if (DATE_NOT_FINITE(DatumGetDateADT(value)))
				return DATE_IS_NOBEGIN(DatumGetDateADT(value)) ? DT_NOBEGIN : DT_NOEND;
			if (DatumGetDateADT(value) > LATEST / USECS_PER_DAY)
				return DT_NOEND;
			return DatumGetTimestamp(DirectFunctionCall1(date_timestamp, value));
		case TIMESTAMPTZOID:
			if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
				return DatumGetTimestampTz(value);
			return DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone,
														 PointerGetDatum(policy->time_zone),
														 value));
		default:
			return DatumGetTimestamp(value);
	}
}

/* gdpr.retention_end() */
static TimestampTz
end_of_period(const ExpiryMap *policy, Timestamp since)
{
	Interval	days = *policy->keep;
	Datum		end;

	days.time = 0;
	if (policy->keep->time == 0)
	{
		/* with the last hour of its last day */
		since -= since % USECS_PER_DAY + (since % USECS_PER_DAY < 0 ? USECS_PER_DAY : 0);
		end = DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(since),
								  IntervalPGetDatum(&days));
		end = TimestampGetDatum(DatumGetTimestamp(end) + USECS_PER_DAY);
	}
	else
		end = DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(since),
								  IntervalPGetDatum(&days));
	end = DirectFunctionCall2(timestamp_zone, PointerGetDatum(policy->time_zone), end);
	return DatumGetTimestampTz(end) + policy->keep->time;
}

/* The month of a policy; 0: no limit, or the period has not begun. */
static int
policy_month(const TableMap *table, const ExpiryMap *policy,
			 const Datum *values, const bool *isnull)
{
	Timestamp	since;

	/* a column that was dropped, is sealed now, or is no date tells nothing */
	if (!policy->shred || policy->attnum == InvalidAttrNumber ||
		(policy->typid != DATEOID && policy->typid != TIMESTAMPOID &&
		 policy->typid != TIMESTAMPTZOID) ||
		isnull[policy->attnum - 1] ||
		datamap_column_at(table, policy->attnum) != NULL)
		return 0;
	since = local_since(policy, values[policy->attnum - 1]);
	if (since > LATEST)
		return 0;
	if (since < EARLIEST)
		return 1;
	return month_from(end_of_period(policy, since));
}

/* Does a category have policies of its own, which hold instead of the row's? */
static bool
has_own_policies(const TableMap *table, int category)
{
	int			i;

	for (i = 0; i < table->nexpiries; i++)
		if (table->expiries[i].category == category)
			return true;
	return false;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

int
expiry_month(const TableMap *table, int category, const Datum *values,
			 const bool *isnull, uint64 person, const ExpiryKept *kept)
{
	int			wanted;
	int			month = 0;
	int			i;

	if (table->nexpiries == 0 || table->on_forget == FORGET_KEEP)
		return 0;
	if (kept != NULL && bsearch(&person, kept->numbers, kept->count,
								sizeof(uint64), compare_numbers) != NULL)
		return 0;
	wanted = has_own_policies(table, category) ? category : -1;
	for (i = 0; i < table->nexpiries; i++)
	{
		int			ends;

		if (table->expiries[i].category != wanted)
			continue;
		ends = policy_month(table, &table->expiries[i], values, isnull);
		if (ends == 0)
			return 0;
		month = Max(month, ends);
	}
	if (month == 0)
		return 0;
	month = Max(month, month_from(GetCurrentTimestamp()));
	/* the clock may have been set back */
	while (month < KEYTREE_MONTHS && !keystore_month_lives(category, month))
		month++;
	return month < KEYTREE_MONTHS ? month : 0;
}

/*
 * gdpr.expiry(envelope, OUT category, OUT month)
 *
 * The months at whose beginning values in an envelope are over: a row for
 * each category with such values.
 */
Datum
gdpr_expiry(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	const uint8 *buf = (uint8 *) VARDATA_ANY(sealed);
	size_t		len = VARSIZE_ANY_EXHDR(sealed);
	size_t		offset = 0;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EnvelopeHeader header;
	EnvelopeSegment segment;

	InitMaterializedSRF(fcinfo, 0);
	if (!envelope_read_header(buf, len, &header))
		return (Datum) 0;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};
		int			months = segment.month - 1;

		if (segment.month == 0)
			continue;
		values[0] = Int16GetDatum((int16) segment.category);
		values[1] = DateADTGetDatum(date2j(FIRST_YEAR + months / MONTHS_PER_YEAR,
										   months % MONTHS_PER_YEAR + 1, 1) -
									POSTGRES_EPOCH_JDATE);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
