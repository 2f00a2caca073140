/*
 * consent.c
 *		Recording what persons decide: gdpr.record_consent.
 *
 * An event is added to the ledger, gdpr.consent_event; gdpr.consent, which
 * the decision reads, is changed if the event is the latest.  In C because
 * decisions come by the thousand.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "alias.h"
#include "datamap.h"
#include "errors.h"
#include "guc.h"
#include "note.h"
#include "plans.h"
#include "purpose.h"
#include "standing.h"

PG_FUNCTION_INFO_V1(gdpr_record_consent);

/* What happens to gdpr.consent */
typedef enum Effect
{
	EFFECT_NONE,
	EFFECT_PERMITS,
	EFFECT_DENIES,
	EFFECT_ENDS					/* a consent that there is */
} Effect;

static const struct
{
	const char *status;
	Effect		effect;
}			statuses[] = {
	{"requested", EFFECT_NONE},
	{"given", EFFECT_PERMITS},
	{"renewed", EFFECT_PERMITS},
	{"refused", EFFECT_DENIES},
	{"withdrawn", EFFECT_DENIES},
	{"invalidated", EFFECT_DENIES},
	{"expired", EFFECT_ENDS}
};

typedef struct Event
{
	pg_uuid_t	id;
	uint64		person;
	char	   *purpose;
	int32		purpose_id;
	const char *channel;		/* "": all */
	const char *topic;
	const char *status;
	Effect		effect;
	TimestampTz occurred_at;
} Event;

/* Columns of gdpr.consent_event, as in sql/42_consent.sql */
enum EventColumn
{
	E_ID = 1, E_SUBJECT, E_PURPOSE_ID, E_PURPOSE, E_CHANNEL, E_TOPIC, E_STATUS,
	E_OCCURRED_AT
};

/*
 * A UUID of version 7 (RFC 9562, 5.7), of which the first 60 bits are the
 * time, in units of a 4096th of a millisecond: entries that are made after
 * each other lie beside each other in the index.
 */
static void
make_id(pg_uuid_t *id)
{
	TimestampTz now = GetCurrentTimestamp() +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint64		ms = (uint64) (now / 1000);
	uint32		fraction = (uint32) ((now % 1000) * 4096 / 1000);
	int			i;

	if (!pg_strong_random(id->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	for (i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (ms >> (40 - 8 * i));
	id->data[6] = (unsigned char) (0x70 | fraction >> 8);
	id->data[7] = (unsigned char) fraction;
	id->data[8] = (unsigned char) (0x80 | (id->data[8] & 0x3F));
}

static const char *
text_or_empty(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? "" :
		text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static void
set_status(Event *event, const char *status)
{
	size_t		i;

	for (i = 0; i < lengthof(statuses); i++)
	{
		if (strcmp(statuses[i].status, status) == 0)
		{
			event->status = statuses[i].status;
			event->effect = statuses[i].effect;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no status \"%s\" of a consent", status)));
}

static void
find_purpose(Event *event)
{
	char	   *legal_basis;

	if (!purpose_find(event->purpose, &event->purpose_id, &legal_basis))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("purpose \"%s\" does not exist", event->purpose),
				 errhint("SELECT name FROM gdpr.purpose shows them.")));
	if (strcmp(legal_basis, "consent") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_PURPOSE),
				 errmsg("the legal basis of purpose \"%s\" is not consent but %s",
						event->purpose, legal_basis),
				 errhint("Persons object to it: SELECT gdpr.record_objection(…).")));
}

/* Runs a statement of ours; how many rows it changed. */
static uint64
run(const char *statement, int nargs, Oid *types, Datum *values,
	const char *nulls)
{
	if (SPI_execute_plan(plans_get(statement, nargs, types), values, nulls,
						 false, 0) < 0)
		elog(ERROR, "could not record a consent: %s",
			 SPI_result_code_string(SPI_result));
	return SPI_processed;
}

/*
 * First the row that the order of both tables depends on: who records for the
 * same person, channel and topic at the same time waits here.  The latest
 * holds; of two at the same time, the less permissive.
 */
static void
change_state(const Event *event, bool expires, Datum expires_at)
{
	static const char latest[] =
		"INSERT INTO gdpr.consent AS c (purpose_id, subject, channel, topic, permits, since, expires_at, event)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT ON CONSTRAINT consent_pkey DO UPDATE SET"
		" permits = excluded.permits, since = excluded.since, expires_at = excluded.expires_at, event = excluded.event"
		" WHERE excluded.since OPERATOR(pg_catalog.>) c.since"
		" OR (excluded.since OPERATOR(pg_catalog.=) c.since AND (c.permits OR NOT excluded.permits))";
	static const char ends[] =
		"UPDATE gdpr.consent c SET expires_at = CASE"
		" WHEN c.permits AND c.since OPERATOR(pg_catalog.<=) $5 THEN LEAST(c.expires_at, $5) ELSE c.expires_at END"
		" WHERE c.purpose_id OPERATOR(pg_catalog.=) $1 AND c.subject OPERATOR(pg_catalog.=) $2"
		" AND c.channel OPERATOR(pg_catalog.=) $3 AND c.topic OPERATOR(pg_catalog.=) $4";
	Oid			types[8] = {INT4OID, INT8OID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID};
	Datum		values[8];
	char		nulls[8] = {' ', ' ', ' ', ' ', ' ', ' ', expires ? ' ' : 'n', ' '};

	values[0] = Int32GetDatum(event->purpose_id);
	values[1] = Int64GetDatum((int64) event->person);
	values[2] = CStringGetTextDatum(event->channel);
	values[3] = CStringGetTextDatum(event->topic);
	switch (event->effect)
	{
		case EFFECT_NONE:
			break;
		case EFFECT_PERMITS:
		case EFFECT_DENIES:
			values[4] = BoolGetDatum(event->effect == EFFECT_PERMITS);
			values[5] = TimestampTzGetDatum(event->occurred_at);
			values[6] = expires_at;
			values[7] = UUIDPGetDatum(&event->id);
			(void) run(latest, 8, types, values, nulls);
			break;
		case EFFECT_ENDS:
			types[4] = TIMESTAMPTZOID;
			values[4] = TimestampTzGetDatum(event->occurred_at);
			if (run(ends, 5, types, values, NULL) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_NO_DATA_FOUND),
						 errmsg("person " UINT64_FORMAT " has no such consent", event->person),
						 errhint("SELECT * FROM gdpr.consent_at(" UINT64_FORMAT ") shows what there is.",
								 event->person)));
			break;
	}
}

/*
 * When did a consent that is recorded now end already?  False: it did not.
 * Read as the latest version of the ledger is: see standing.h.
 */
static bool
find_end(const Event *event, TimestampTz *ended)
{
	Oid			schema = datamap_oids()->schema;
	Relation	rel = table_open(get_relname_relid("consent_event", schema), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(InvalidOid));
	Oid			index = get_relname_relid("consent_event_subject", schema);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], E_SUBJECT, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) event->person));
	ScanKeyInit(&keys[1], E_PURPOSE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(event->purpose_id));
	ScanKeyInit(&keys[2], E_OCCURRED_AT, BTGreaterEqualStrategyNumber,
				F_TIMESTAMPTZ_GE, TimestampTzGetDatum(event->occurred_at));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 3, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		TimestampTz at;

		if (strcmp(TextDatumGetCString(heap_getattr(tuple, E_STATUS, desc, &isnull)), "expired") != 0 ||
			strcmp(TextDatumGetCString(heap_getattr(tuple, E_CHANNEL, desc, &isnull)), event->channel) != 0 ||
			strcmp(TextDatumGetCString(heap_getattr(tuple, E_TOPIC, desc, &isnull)), event->topic) != 0)
			continue;
		at = DatumGetTimestampTz(heap_getattr(tuple, E_OCCURRED_AT, desc, &isnull));
		*ended = found ? Min(*ended, at) : at;
		found = true;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return found;
}

/* A consent that comes late may have ended already. */
static void
end_late_consent(const Event *event)
{
	static const char ends[] =
		"UPDATE gdpr.consent c SET expires_at = LEAST(c.expires_at, $6)"
		" WHERE c.purpose_id OPERATOR(pg_catalog.=) $1 AND c.subject OPERATOR(pg_catalog.=) $2"
		" AND c.channel OPERATOR(pg_catalog.=) $3 AND c.topic OPERATOR(pg_catalog.=) $4 AND c.event OPERATOR(pg_catalog.=) $5";
	Oid			types[6] = {INT4OID, INT8OID, TEXTOID, TEXTOID, UUIDOID, TIMESTAMPTZOID};
	Datum		values[6];
	TimestampTz ended;

	if (event->effect != EFFECT_PERMITS || !find_end(event, &ended))
		return;
	values[0] = Int32GetDatum(event->purpose_id);
	values[1] = Int64GetDatum((int64) event->person);
	values[2] = CStringGetTextDatum(event->channel);
	values[3] = CStringGetTextDatum(event->topic);
	values[4] = UUIDPGetDatum(&event->id);
	values[5] = TimestampTzGetDatum(ended);
	(void) run(ends, 6, types, values, NULL);
}

/* A setting as a value; 'n': it is empty. */
static char
setting_value(const char *name, const char *setting, Datum *value)
{
	if (setting[0] == '\0')
		return 'n';
	guc_verify(name, setting);
	*value = CStringGetTextDatum(setting);
	return ' ';
}

/* An argument as it is; 'n': it is NULL. */
static char
argument_value(FunctionCallInfo fcinfo, int arg, Datum *value)
{
	*value = PG_GETARG_DATUM(arg);
	return PG_ARGISNULL(arg) ? 'n' : ' ';
}

enum Argument
{
	A_SUBJECT, A_PURPOSE, A_STATUS, A_CHANNEL, A_TOPIC, A_OCCURRED_AT,
	A_EXPIRES_AT, A_SOURCE, A_NOTICE, A_DETAILS
};

static void
add_to_ledger(FunctionCallInfo fcinfo, const Event *event)
{
	static const char statement[] =
		"INSERT INTO gdpr.consent_event (id, subject, purpose_id, purpose, channel, topic, status,"
		" occurred_at, expires_at, source, notice, recorded_by, actor, details)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
	Oid			types[14] = {UUIDOID, INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, NAMEOID, TEXTOID, datamap_oids()->sealed_type};
	Datum		values[14];
	char		nulls[15] = "              ";
	NameData	recorded_by;

	namestrcpy(&recorded_by, GetUserNameFromId(GetOuterUserId(), false));
	values[0] = UUIDPGetDatum(&event->id);
	values[1] = Int64GetDatum((int64) event->person);
	values[2] = Int32GetDatum(event->purpose_id);
	values[3] = CStringGetTextDatum(event->purpose);
	values[4] = CStringGetTextDatum(event->channel);
	values[5] = CStringGetTextDatum(event->topic);
	values[6] = CStringGetTextDatum(event->status);
	values[7] = TimestampTzGetDatum(event->occurred_at);
	nulls[8] = argument_value(fcinfo, A_EXPIRES_AT, &values[8]);
	nulls[9] = argument_value(fcinfo, A_SOURCE, &values[9]);
	if (nulls[9] == 'n')
		nulls[9] = setting_value("gdpr.source", guc_source, &values[9]);
	nulls[10] = argument_value(fcinfo, A_NOTICE, &values[10]);
	values[11] = NameGetDatum(&recorded_by);
	nulls[12] = setting_value("gdpr.actor", guc_actor, &values[12]);
	if (PG_ARGISNULL(A_DETAILS))
		nulls[13] = 'n';
	else
		values[13] = note_make(event->person, CStringGetTextDatum("consent"),
							   UUIDPGetDatum(&event->id), PG_GETARG_DATUM(A_DETAILS));
	(void) run(statement, 14, types, values, nulls);
}

/*
 * gdpr.record_consent(subject, purpose, status, channel, topic, occurred_at,
 *					   expires_at, source, notice, details jsonb) RETURNS uuid
 *
 * Adds an event to the ledger; its id.  As the owner of the extension.
 * null_value_not_allowed; no_data_found: no such person, or nothing to expire;
 * ERRCODE_GDPR_FORGOTTEN; ERRCODE_GDPR_PURPOSE: no such purpose, or not one
 * that is consented to; invalid_parameter_value: status, or times that cannot
 * be.
 */
Datum
gdpr_record_consent(PG_FUNCTION_ARGS)
{
	Event	   *event = palloc0(sizeof(Event));

	if (PG_ARGISNULL(A_SUBJECT) || PG_ARGISNULL(A_PURPOSE) ||
		PG_ARGISNULL(A_STATUS) || PG_ARGISNULL(A_OCCURRED_AT))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject, purpose or occurred_at is NULL")));
	event->person = alias_living_person(PG_GETARG_INT64(A_SUBJECT));
	event->purpose = text_to_cstring(PG_GETARG_TEXT_PP(A_PURPOSE));
	event->channel = text_or_empty(fcinfo, A_CHANNEL);
	event->topic = text_or_empty(fcinfo, A_TOPIC);
	event->occurred_at = PG_GETARG_TIMESTAMPTZ(A_OCCURRED_AT);
	set_status(event, text_to_cstring(PG_GETARG_TEXT_PP(A_STATUS)));
	find_purpose(event);
	if (event->occurred_at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("occurred_at is in the future"),
				 errhint("Record the event when it has occurred; expires_at says when a consent ends.")));
	if (!PG_ARGISNULL(A_EXPIRES_AT) &&
		PG_GETARG_TIMESTAMPTZ(A_EXPIRES_AT) <= event->occurred_at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_at is not after occurred_at")));
	if (strcmp(event->status, "given") == 0 &&
		standing_consented(event->purpose_id, event->person, event->channel,
						   event->topic, event->occurred_at))
		set_status(event, "renewed");

	make_id(&event->id);
	SPI_connect();
	change_state(event, !PG_ARGISNULL(A_EXPIRES_AT), PG_GETARG_DATUM(A_EXPIRES_AT));
	end_late_consent(event);
	add_to_ledger(fcinfo, event);
	SPI_finish();
	PG_RETURN_UUID_P(&event->id);
}
