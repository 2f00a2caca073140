/*
 * reveal.c
 *		reveal() and reveal_row(): the only way a sealed value leaves.
 *
 * The planner puts calls of these where a query names a personal column; their
 * last argument is of a type that no SQL can make a value of, so nobody else
 * can call them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "alias.h"
#include "audit.h"
#include "errors.h"
#include "guard_mode.h"
#include "mask.h"
#include "policy.h"
#include "reveal.h"
#include "row.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_reveal);
PG_FUNCTION_INFO_V1(gdpr_reveal_stored);
PG_FUNCTION_INFO_V1(gdpr_reveal_row);
PG_FUNCTION_INFO_V1(gdpr_value_subject);

/* fn_extra of reveal(): what stays the same from row to row */
typedef struct RevealState
{
	ColumnMap  *column;
	uint64		version;		/* of the data map */
	PolicyQuestion *question;	/* a view's; NULL: the session's */
	RevealHow	how;
	StringInfoData rowkey;
} RevealState;

#define ROWKEY_BYTES	64		/* of the first buffer for a row key */

/*
 * While forget() runs, what it is about to remove is gone already for triggers
 * and what they do: one that copies rows would copy it once more.
 */
static bool
is_being_forgotten(const ColumnMap *column, const uint8 *buf, size_t len)
{
	GuardMode	mode = guard_mode();

	return mode.task == GUARD_FORGET &&
		(mode.erase || column->table->on_forget != FORGET_KEEP) &&
		(mode.category < 0 || mode.category == column->category) &&
		guard_mode_leaves_as_any(column->via == 0 ? sealed_row_person(buf, len) :
								 sealed_column_person(buf, len, column->via,
													  column->category));
}

uint64
reveal_person(const ColumnMap *column, const uint8 *buf, size_t len)
{
	if (column->via == 0)
		return sealed_row_person(buf, len);
	return alias_person(sealed_column_person(buf, len, column->via,
											 column->category));
}

/*
 * Whose value was opened, for the record.  Not simply the person for whom it
 * was decided: the header can be written by the table's owner, the number that
 * the value was sealed under cannot.
 */
static uint64
opened_person(uint64 number, uint64 person)
{
	number = sealed_person(number);
	return number == person ? person : alias_person(number);
}

static PolicyDecision
decide(PolicyQuestion *question, const ColumnMap *column, uint64 person,
	   RevealHow how)
{
	if (how == REVEAL_OWN_INPUT)
		return POLICY_REVEAL;
	return how == REVEAL_ASKED ? policy_decide(question, column, person) :
		policy_decide_quietly(question, column, person);
}

/* Count it, or put a mask on it. */
static Datum
show(PolicyQuestion *question, PolicyDecision decision, ColumnMap *column,
	 uint64 person, uint64 number, RevealHow how, Datum value,
	 bool *isnull)
{
	if (decision == POLICY_MASK)
	{
		audit_touch(column->table, column, number, AUDIT_MASK,
					policy_purpose(question));
		return *isnull ? value : mask_value(column, value, isnull);
	}
	if (how != REVEAL_OWN_INPUT && !*isnull)
		policy_count(question, person);
	audit_touch(column->table, column, number, AUDIT_REVEAL,
				policy_purpose(question));
	if (how != REVEAL_OWN_INPUT && policy_overrides(question))
		audit_touch(column->table, column, number, AUDIT_OVERRIDE,
					policy_purpose(question));
	return value;
}

/*
 * For an export of a person.  Whose value it is, the segment tells: its number
 * is what it was sealed under.
 */
static Datum
show_exported(ColumnMap *column, const uint8 *buf, size_t len,
			  const uint8 *rowkey, size_t rowkeylen, bool *isnull)
{
	PolicyDecision decision =
		policy_decide_export(sealed_column_person(buf, len, column->via,
												  column->category));
	uint64		number;
	Datum		value;

	*isnull = true;
	if (decision == POLICY_HIDE ||
		row_open_value(column, buf, len, rowkey, rowkeylen, &value, isnull,
					   &number) != ROW_FOUND)
		return (Datum) 0;
	audit_touch(column->table, column, opened_person(number, 0),
				decision == POLICY_REVEAL ? AUDIT_EXPORT : AUDIT_MASK, "");
	if (decision == POLICY_MASK && !*isnull)
		value = mask_value(column, value, isnull);
	return value;
}

Datum
reveal_shown(PolicyQuestion *question, ColumnMap *column, const uint8 *buf,
			 size_t len, const uint8 *rowkey, size_t rowkeylen, RevealHow how,
			 bool *isnull)
{
	PolicyDecision decision;
	uint64		person;
	uint64		number;
	Datum		value;

	if (unlikely(policy_export() != NULL))
		return show_exported(column, buf, len, rowkey, rowkeylen, isnull);
	*isnull = true;
	/* EXCLUDED is own input unless the row came with an envelope */
	if (how == REVEAL_OWN_INPUT && !row_is_input(column, buf, len))
		how = REVEAL_ASKED;
	person = how == REVEAL_OWN_INPUT ? 0 : reveal_person(column, buf, len);
	decision = decide(question, column, person, how);
	if (decision == POLICY_HIDE)
	{
		audit_touch(column->table, column, person, AUDIT_HIDE, "");
		return (Datum) 0;
	}
	if (is_being_forgotten(column, buf, len) ||
		row_open_value(column, buf, len, rowkey, rowkeylen, &value, isnull,
					   &number) != ROW_FOUND)
		return (Datum) 0;
	return show(question, decision, column, person,
				opened_person(number, person), how, value, isnull);
}

Datum
reveal_open(PolicyQuestion *question, ColumnMap *column, Datum stored,
			bool stored_isnull, RevealHow how, bool *isnull)
{
	PolicyDecision decision;

	*isnull = true;
	/* whose value it is, is not known: an export does not reach it */
	if (stored_isnull || policy_export() != NULL)
		return (Datum) 0;
	decision = decide(question, column, 0, how);
	if (decision == POLICY_HIDE)
	{
		audit_touch(column->table, column, 0, AUDIT_HIDE, "");
		return (Datum) 0;
	}
	*isnull = false;
	return show(question, decision, column, 0, 0, how, stored, isnull);
}

static ColumnMap *
find_column(int32 id)
{
	ColumnMap  *column = datamap_column(id);

	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("column %d is not in the data map any more", id)));
	return column;
}

static RevealHow
how_of(Datum ref)
{
	return (column_ref_flags(ref) & COLUMN_REF_OWN_INPUT) != 0 ?
		REVEAL_OWN_INPUT : REVEAL_ASKED;
}

/* The question that a reference carries; NULL: the session's. */
static PolicyQuestion *
question_of(Datum ref)
{
	const char *context = column_ref_context(ref);

	return context == NULL ? NULL : policy_of_context(context);
}

static PolicyQuestion *
question_or_session(PolicyQuestion *question)
{
	return question == NULL ? policy_session() : question;
}

static RevealState *
reveal_state(FunctionCallInfo fcinfo, Datum ref, int first_key)
{
	RevealState *state = fcinfo->flinfo->fn_extra;
	int32		id = column_ref_id(ref);

	if (likely(state != NULL))
	{
		if (state->version != datamap_version())
		{
			state->column = find_column(id);
			state->version = datamap_version();
		}
		return state;
	}
	state = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(RevealState));
	state->column = find_column(id);
	state->version = datamap_version();
	state->question = question_of(ref);
	state->how = how_of(ref);
	if (PG_NARGS() != first_key + Max(state->column->table->nkeys, 1))
		elog(ERROR, "reveal was called with %d arguments", PG_NARGS());
	/* executions with one row are many: not the kilobyte of initStringInfo() */
	state->rowkey.data = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt,
											ROWKEY_BYTES);
	state->rowkey.maxlen = ROWKEY_BYTES;
	resetStringInfo(&state->rowkey);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* What a sealed row holds; its key begins at an argument. */
static pg_attribute_always_inline Datum
reveal_sealed(FunctionCallInfo fcinfo, RevealState *state, int first_key)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	Datum		value;
	bool		isnull;
	int			nkeys = state->column->table->nkeys;
	int			i;

	resetStringInfo(&state->rowkey);
	for (i = 0; i < nkeys; i++)
		row_key_column(state->column->table, i, PG_GETARG_DATUM(first_key + i),
					   false, &state->rowkey);
	value = reveal_shown(question_or_session(state->question), state->column,
						 (uint8 *) VARDATA_ANY(sealed),
						 VARSIZE_ANY_EXHDR(sealed),
						 (uint8 *) state->rowkey.data, state->rowkey.len,
						 state->how, &isnull);
	PG_FREE_IF_COPY(sealed, 0);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(value);
}

/*
 * gdpr.reveal(envelope, column, VARIADIC row key) RETURNS the column's type
 *
 * NULL: the value is NULL, was forgotten, or is hidden from the session.
 * Errors: keystore unavailable, envelope damaged, purpose not granted.
 */
Datum
gdpr_reveal(PG_FUNCTION_ARGS)
{
	RevealState *state = reveal_state(fcinfo, PG_GETARG_DATUM(1), 2);

	return reveal_sealed(fcinfo, state, 2);
}

/*
 * gdpr.reveal_stored(envelope, column, stored column, VARIADIC row key)
 *		RETURNS the column's type
 *
 * The same while a table has rows that are not sealed: of those, what is
 * stored.
 */
Datum
gdpr_reveal_stored(PG_FUNCTION_ARGS)
{
	RevealState *state;
	Datum		value;
	bool		isnull;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();		/* called by somebody else */
	state = reveal_state(fcinfo, PG_GETARG_DATUM(1), 3);
	if (!PG_ARGISNULL(0))
		return reveal_sealed(fcinfo, state, 3);
	value = reveal_open(question_or_session(state->question), state->column,
						PG_GETARG_DATUM(2), PG_ARGISNULL(2), state->how,
						&isnull);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(value);
}

/*
 * The map whose attribute numbers a row of this type has: a partition that is
 * read directly has a row type of its own; ref tells it for transition tables.
 */
static TableMap *
row_table(HeapTupleHeader header, Datum ref)
{
	bool		is_relation = (column_ref_flags(ref) & COLUMN_REF_RELATION) != 0;
	int32		table_id = -column_ref_id(ref);
	TableMap   *table = is_relation ? datamap_lookup((Oid) column_ref_id(ref)) :
		datamap_table(table_id);
	Oid			relid = typeidTypeRelid(HeapTupleHeaderGetTypeId(header));
	TableMap   *member = OidIsValid(relid) && !is_relation ?
		datamap_lookup(relid) : NULL;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("a table that is read is not in the data map any more")));
	return member != NULL && member->id == table_id ? member : table;
}

/*
 * gdpr.reveal_row(whole row, table) RETURNS the table's row type
 *
 * Column gdpr_sealed stays in it, sealed.
 */
Datum
gdpr_reveal_row(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	Datum		ref = PG_GETARG_DATUM(1);
	PolicyQuestion *question = question_or_session(question_of(ref));
	TableMap   *table = row_table(header, ref);
	TupleDesc	desc;
	HeapTupleData tuple;
	Datum	   *values;
	bool	   *isnull;
	StringInfoData rowkey;
	bytea	   *sealed;
	HeapTuple	result;
	int			i;

	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
								  HeapTupleHeaderGetTypMod(header));
	if (desc->natts < table->sealed_attnum)
		elog(ERROR, "whole row of table %d has %d columns", table->id,
			 desc->natts);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	values = palloc(sizeof(Datum) * desc->natts);
	isnull = palloc(sizeof(bool) * desc->natts);
	heap_deform_tuple(&tuple, desc, values, isnull);

	if (isnull[table->sealed_attnum - 1])
	{
		/* not sealed, while the table is being converted */
		for (i = 0; i < table->ncolumns; i++)
		{
			int			att = table->columns[i].attnum - 1;

			values[att] = reveal_open(question, &table->columns[i],
									  values[att], isnull[att], how_of(ref),
									  &isnull[att]);
		}
	}
	else
	{
		initStringInfo(&rowkey);
		row_key(table, values, isnull, &rowkey);
		sealed = DatumGetByteaPP(values[table->sealed_attnum - 1]);
		for (i = 0; i < table->ncolumns; i++)
		{
			ColumnMap  *column = &table->columns[i];
			int			att = column->attnum - 1;

			values[att] = reveal_shown(question, column,
									   (uint8 *) VARDATA_ANY(sealed),
									   VARSIZE_ANY_EXHDR(sealed),
									   (uint8 *) rowkey.data, rowkey.len,
									   how_of(ref), &isnull[att]);
		}
	}
	result = heap_form_tuple(desc, values, isnull);
	ReleaseTupleDesc(desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}

/*
 * gdpr.value_subject(envelope, column id) RETURNS bigint
 *
 * Whose value a column holds: the row's person, or another whose key is in the
 * envelope.  Nothing is opened.  NULL if there is no such column.
 */
Datum
gdpr_value_subject(PG_FUNCTION_ARGS)
{
	bytea	   *sealed = PG_GETARG_BYTEA_PP(0);
	ColumnMap  *column = datamap_column(PG_GETARG_INT32(1));
	uint64		person = column == NULL ? 0 :
		reveal_person(column, (uint8 *) VARDATA_ANY(sealed),
					  VARSIZE_ANY_EXHDR(sealed));

	if (person == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) person);
}
