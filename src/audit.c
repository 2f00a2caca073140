/*
 * audit.c
 *		The one place that hears of every access to personal data.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "audit.h"

PG_FUNCTION_INFO_V1(gdpr_session_statistics);

static uint64 counts[AUDIT_ACTIONS];

void
audit_touch(const TableMap *table, const ColumnMap *column, uint64 subject,
			AuditAction action)
{
	counts[action]++;
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
