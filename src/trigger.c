/*
 * trigger.c
 *		OLD and NEW as the application's trigger functions see them.
 *
 * A trigger function of whatever language is called through the function
 * manager, which lets a plugin in at entry: there the call is led through
 * call_opened().  It hands the function opened copies of the rows, as far as
 * current_user may see them, and maps the row that a BEFORE trigger returns
 * back to the form it had.  So COPY, cascades, deferred triggers and
 * replication are alike.
 *
 * Invariants: a row that is stored sealed goes on sealed, unchanged, unless the
 * function changed it; no function sees the marks that rewrite and guard leave
 * in gdpr_sealed; the trigger's own TriggerData is not changed.
 *
 * Functions that are built into the server do not come by here.  Among them
 * are those of foreign keys, which work on stored rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "errors.h"
#include "guard_mode.h"
#include "keystore.h"
#include "policy.h"
#include "reveal.h"
#include "rewrite.h"
#include "row.h"
#include "sealed.h"
#include "trigger.h"

/* fn_extra of a call that is led through call_opened() */
typedef struct TriggerCall
{
	FmgrInfo	flinfo;			/* the function itself */
	bool		is_c;			/* it may read transition tables by itself */
	Oid			relid;			/* what slots are for */
	TupleTableSlot *slots[2];
} TriggerCall;

/* A row, as it is stored and as the function is shown it */
typedef struct ShownRow
{
	HeapTuple	stored;
	HeapTuple	shown;			/* the same if state is TRIGGER_ROW_RAW */
	TriggerRow	state;
	Datum	   *stored_values;
	bool	   *stored_isnull;
	Datum	   *values;
	bool	   *isnull;
} ShownRow;

static fmgr_hook_type prev_fmgr = NULL;

/* ---------- what may be seen ---------- */

/*
 * A row that is stored and not sealed, in a table that is being converted:
 * the same right is needed to see it.
 */
static TriggerRow
show_open_row(TableMap *table, Datum *values, bool *isnull, AttrNumber only)
{
	int			i;

	if (!datamap_may_be_open(table))
		return TRIGGER_ROW_RAW;
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (only == InvalidAttrNumber || only == column->attnum)
			values[att] = reveal_open(policy_session(), column, values[att],
								  isnull[att], REVEAL_UNASKED, &isnull[att]);
	}
	return TRIGGER_ROW_SEALED;
}

TriggerRow
trigger_show_row(TableMap *table, Datum *values, bool *isnull,
				 AttrNumber only)
{
	int			sealed_att = table->sealed_attnum - 1;
	bytea	   *sealed;
	const uint8 *buf;
	size_t		len;
	StringInfoData rowkey;
	EnvelopeHeader header;
	bool		is_envelope;
	int			i;

	if (isnull[sealed_att])
		return show_open_row(table, values, isnull, only);
	sealed = DatumGetByteaPP(values[sealed_att]);
	values[sealed_att] = PointerGetDatum(sealed);
	buf = (uint8 *) VARDATA_ANY(sealed);
	len = VARSIZE_ANY_EXHDR(sealed);
	if (sealed_mark_version(sealed) == ENVELOPE_OPENED)
	{
		const uint8 *envelope = sealed_mark_rest(sealed, &len);
		bytea	   *old = palloc(VARHDRSZ + len);

		SET_VARSIZE(old, VARHDRSZ + len);
		memcpy(VARDATA(old), envelope, len);
		values[sealed_att] = PointerGetDatum(old);
		isnull[sealed_att] = len == 0;	/* OLD was not sealed */
		return TRIGGER_ROW_OPENED;
	}
	is_envelope = envelope_read_header(buf, len, &header);
	initStringInfo(&rowkey);
	row_key(table, values, isnull, &rowkey);
	for (i = 0; i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];
		int			att = column->attnum - 1;

		if (only != InvalidAttrNumber && only != column->attnum)
			continue;
		isnull[att] = true;
		values[att] = (Datum) 0;
		if (is_envelope)
			values[att] = reveal_shown(policy_session(), column, buf, len,
									   (uint8 *) rowkey.data, rowkey.len,
									   REVEAL_UNASKED, &isnull[att]);
	}
	return TRIGGER_ROW_SEALED;
}

/* Has !gdpr_open opened the row? */
static bool
row_is_opened(TableMap *table, const Datum *values, const bool *isnull)
{
	int			sealed_att = table->sealed_attnum - 1;
	bytea	   *sealed;

	if (isnull[sealed_att])
		return false;
	sealed = DatumGetByteaPP(values[sealed_att]);
	return sealed_mark_version(sealed) == ENVELOPE_OPENED;
}

/*
 * Is there something in gdpr_sealed that is not the row's envelope?  Then the
 * row holds values, and ~gdpr_seal takes them, or else it refuses the row.
 */
static bool
is_foreign(TableMap *table, const Datum *values, const bool *isnull)
{
	int			sealed_att = table->sealed_attnum - 1;
	bytea	   *sealed;
	const uint8 *buf;
	size_t		len;

	if (isnull[sealed_att])
		return false;
	sealed = DatumGetByteaPP(values[sealed_att]);
	buf = (uint8 *) VARDATA_ANY(sealed);
	len = VARSIZE_ANY_EXHDR(sealed);
	return sealed_mark_version(sealed) != ENVELOPE_OPENED &&
		!row_is_sealed(table, values, isnull, buf, len);
}

/*
 * For rows that are inserted.  If the keystore cannot be used, one can only
 * have arrived sealed, as from a dump: restoring must not depend on keys, so
 * values that cannot be opened are hidden.
 */
static TriggerRow
show_if_possible(TableMap *table, Datum *values, bool *isnull,
				 AttrNumber only)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	TriggerRow	state = TRIGGER_ROW_SEALED;
	int			i;

	if (isnull[table->sealed_attnum - 1] || keystore_generation() != 0)
		return trigger_show_row(table, values, isnull, only);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		state = trigger_show_row(table, values, isnull, only);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_GDPR_KEYSTORE_UNAVAILABLE)
			ReThrowError(error);
		FreeErrorData(error);
		for (i = 0; i < table->ncolumns; i++)
		{
			values[table->columns[i].attnum - 1] = (Datum) 0;
			isnull[table->columns[i].attnum - 1] = true;
		}
	}
	PG_END_TRY();
	return state;
}

void
trigger_show_arriving(TableMap *table, Datum *values, bool *isnull,
					  AttrNumber only)
{
	if (!is_foreign(table, values, isnull))
		(void) show_if_possible(table, values, isnull, only);
}

/* ---------- the rows of a call ---------- */

/*
 * arriving: it is not stored yet, so that whatever it holds in gdpr_sealed is
 * to be taken for an envelope only if ~gdpr_seal will take it for one.
 */
static void
show_tuple(TriggerData *trigger, TableMap *table, HeapTuple stored,
		   bool arriving, ShownRow *row)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			natts = desc->natts;
	int			sealed_att = table->sealed_attnum - 1;

	row->stored = stored;
	row->shown = stored;
	row->state = TRIGGER_ROW_RAW;
	row->stored_values = palloc(sizeof(Datum) * natts);
	row->stored_isnull = palloc(sizeof(bool) * natts);
	row->values = palloc(sizeof(Datum) * natts);
	row->isnull = palloc(sizeof(bool) * natts);
	heap_deform_tuple(stored, desc, row->stored_values, row->stored_isnull);
	memcpy(row->values, row->stored_values, sizeof(Datum) * natts);
	memcpy(row->isnull, row->stored_isnull, sizeof(bool) * natts);
	if (arriving && row->isnull[sealed_att] &&
		TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return;
	if (arriving && !row->isnull[sealed_att] &&
		!row_is_opened(table, row->values, row->isnull) &&
		(is_foreign(table, row->values, row->isnull) ||
		 (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		  !policy_may_restore(table))))
		return;
	row->state = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ?
		show_if_possible(table, row->values, row->isnull, InvalidAttrNumber) :
		trigger_show_row(table, row->values, row->isnull, InvalidAttrNumber);
	if (row->state == TRIGGER_ROW_RAW)
		return;
	row->shown = heap_form_tuple(desc, row->values, row->isnull);
	row->shown->t_data->t_ctid = stored->t_data->t_ctid;
	row->shown->t_self = stored->t_self;
	row->shown->t_tableOid = stored->t_tableOid;
}

static bool
image_equal(TupleDesc desc, AttrNumber attnum, Datum a, bool anull, Datum b,
			bool bnull)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);

	if (anull || bnull)
		return anull == bnull;
	return datum_image_eq(a, b, attribute->attbyval, attribute->attlen);
}

static void
refuse_change(const TriggerData *trigger, const ColumnMap *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_NOT_SEALED),
			 errmsg("trigger \"%s\" changed column \"%s\" of a sealed row that is stored in table \"%s\"",
					trigger->tg_trigger->tgname, column->name,
					RelationGetRelationName(trigger->tg_relation)),
			 errdetail("An envelope is accepted only with exactly the key and the stored columns it was made for, as from a dump."),
			 errhint("ALTER TABLE ... DISABLE TRIGGER while rows are restored, as pg_restore --disable-triggers does.")));
}

/*
 * What a BEFORE trigger made of a row that is stored, or arrived, sealed: what
 * it left as it was shown is as it was stored, and so is a column that it was
 * not shown.  A change of another is refused in a row that is inserted; in an
 * UPDATE, ~gdpr_seal decides.
 */
static HeapTuple
stored_result(const TriggerData *trigger, TableMap *table, HeapTuple result,
			  const ShownRow *row, const ShownRow *old)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			n = table->ncolumns;
	int			sealed_att = table->sealed_attnum - 1;
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);
	int		   *atts = palloc(sizeof(int) * (n + 1));
	Datum	   *new_values = palloc(sizeof(Datum) * (n + 1));
	bool	   *new_isnull = palloc(sizeof(bool) * (n + 1));
	int			changed = 0;
	int			i;

	heap_deform_tuple(result, desc, values, isnull);
	/* RETURN OLD: it is known by its envelope */
	if (old != NULL &&
		!image_equal(desc, table->sealed_attnum, values[sealed_att],
					 isnull[sealed_att], row->values[sealed_att],
					 row->isnull[sealed_att]) &&
		image_equal(desc, table->sealed_attnum, values[sealed_att],
					isnull[sealed_att], old->values[sealed_att],
					old->isnull[sealed_att]))
		row = old;
	for (i = 0; i < n; i++)
	{
		int			att = table->columns[i].attnum - 1;

		if (!image_equal(desc, att + 1, values[att], isnull[att],
						 row->values[att], row->isnull[att]))
		{
			if (!row->isnull[att] && TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
				refuse_change(trigger, &table->columns[i]);
			if (!row->isnull[att])
				continue;
		}
		atts[changed] = att + 1;
		new_values[changed] = row->stored_values[att];
		new_isnull[changed++] = row->stored_isnull[att];
	}
	return heap_modify_tuple_by_cols(result, desc, changed, atts, new_values,
									 new_isnull);
}

/* What a BEFORE trigger made of an opened row, values in any case: NEW, OLD or else. */
static HeapTuple
opened_result(TupleDesc desc, TableMap *table, HeapTuple result,
			  const ShownRow *new)
{
	int			att = table->sealed_attnum;

	return heap_modify_tuple_by_cols(result, desc, 1, &att,
									 &new->stored_values[att - 1],
									 &new->stored_isnull[att - 1]);
}

/* The tuple to go on with after a BEFORE row trigger. */
static HeapTuple
map_result(TriggerData *trigger, TableMap *table, HeapTuple result,
		   const ShownRow *row, const ShownRow *new)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);

	if (result == NULL)
		return NULL;
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		if (result == row->shown)
			return row->stored;
		if (row->state == TRIGGER_ROW_OPENED)
			return opened_result(desc, table, result, row);
		return row->state == TRIGGER_ROW_SEALED ?
			stored_result(trigger, table, result, row, NULL) : result;
	}
	if (result == new->shown)
		return new->stored;
	if (new->state == TRIGGER_ROW_OPENED)
		return opened_result(desc, table, result, new);
	if (result == row->shown)
		return row->stored;
	return new->state == TRIGGER_ROW_SEALED ?
		stored_result(trigger, table, result, new, row) : result;
}

/* ---------- slots and transition tables ---------- */

/* Some functions in C read the slots. */
static TupleTableSlot *
slot_for(TriggerCall *call, Relation rel, int which, HeapTuple tuple)
{
	if (call->relid != RelationGetRelid(rel))
	{
		MemoryContext old = MemoryContextSwitchTo(call->flinfo.fn_mcxt);
		TupleDesc	desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));

		/* a copy, since the relation's own may not be kept beyond the query */
		call->slots[0] = MakeTupleTableSlot(desc, &TTSOpsHeapTuple);
		call->slots[1] = MakeTupleTableSlot(desc, &TTSOpsHeapTuple);
		call->relid = RelationGetRelid(rel);
		MemoryContextSwitchTo(old);
	}
	return ExecStoreHeapTuple(tuple, call->slots[which], false);
}

/*
 * Functions in C may read transition tables without a plan, in which the
 * rewrite would reveal them.  (One that uses a plan sees the same: reveal()
 * goes by the envelope.)
 */
static Tuplestorestate *
opened_tuplestore(Tuplestorestate *store, Relation rel, TableMap *table)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Tuplestorestate *result = tuplestore_begin_heap(true, false, work_mem);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext,
												  "gdpr transition row",
												  ALLOCSET_DEFAULT_SIZES);
	int			pointer = tuplestore_alloc_read_pointer(store, EXEC_FLAG_REWIND);

	tuplestore_select_read_pointer(store, pointer);
	tuplestore_rescan(store);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(per_row);

		slot_getallattrs(slot);
		memcpy(values, slot->tts_values, sizeof(Datum) * desc->natts);
		memcpy(isnull, slot->tts_isnull, sizeof(bool) * desc->natts);
		(void) trigger_show_row(table, values, isnull, InvalidAttrNumber);
		tuplestore_putvalues(result, desc, values, isnull);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	tuplestore_select_read_pointer(store, 0);
	MemoryContextDelete(per_row);
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* ---------- the call ---------- */

/*
 * When a row's person changes, the rows below are sealed anew: no statement of
 * the application did that, and no trigger of it is to see it.  A deferred one
 * fires when that is over: then the rows tell, for nothing but the person
 * differs.
 */
static bool
is_relinking(TriggerData *trigger, TableMap *table, const ShownRow *old,
			 const ShownRow *new)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	int			att = table->sealed_attnum - 1;
	bytea	   *sealed[2];
	int			i;

	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		old->stored_isnull[att] || new->stored_isnull[att])
		return false;
	sealed[0] = DatumGetByteaPP(old->stored_values[att]);
	sealed[1] = DatumGetByteaPP(new->stored_values[att]);
	if (sealed_row_person((uint8 *) VARDATA_ANY(sealed[0]),
						  VARSIZE_ANY_EXHDR(sealed[0])) ==
		sealed_row_person((uint8 *) VARDATA_ANY(sealed[1]),
						  VARSIZE_ANY_EXHDR(sealed[1])))
		return false;
	for (i = 0; i < desc->natts; i++)
		if (i != att && !TupleDescAttr(desc, i)->attisdropped &&
			!image_equal(desc, i + 1, old->stored_values[i],
						 old->stored_isnull[i], new->stored_values[i],
						 new->stored_isnull[i]))
			return false;
	return true;
}

/*
 * Is it an UPDATE by which forget erases the row's values?  No trigger holds
 * it back: to suppress_redundant_updates_trigger(), say, it changes nothing.
 */
static bool
is_erasing(TableMap *table, const ShownRow *new)
{
	int			att = table->sealed_attnum - 1;
	GuardMode	mode = guard_mode();
	bytea	   *sealed;

	if (mode.task != GUARD_FORGET || !mode.erase || new->stored_isnull[att] ||
		(table->on_forget == FORGET_KEEP && mode.npersons > 0))
		return false;
	sealed = DatumGetByteaPP(new->stored_values[att]);
	return sealed_has_values((uint8 *) VARDATA_ANY(sealed),
							 VARSIZE_ANY_EXHDR(sealed), mode.persons,
							 mode.npersons, mode.category);
}

/* What a trigger that does nothing returns. */
static HeapTuple
unchanged(const TriggerData *trigger)
{
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return NULL;
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
}

static Datum
call_with(FunctionCallInfo fcinfo, TriggerData *shown)
{
	fmNodePtr	context = fcinfo->context;
	Datum		result;

	fcinfo->context = (Node *) shown;
	result = FunctionCallInvoke(fcinfo);
	fcinfo->context = context;
	return result;
}

static Datum
call_for_row(FunctionCallInfo fcinfo, TriggerCall *call, TableMap *table,
			 TriggerData *shown)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		before = TRIGGER_FIRED_BEFORE(trigger->tg_event);
	bool		update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	ShownRow	row;
	ShownRow	new = {0};
	HeapTuple	result;

	show_tuple(trigger, table, trigger->tg_trigtuple,
			   before && TRIGGER_FIRED_BY_INSERT(trigger->tg_event), &row);
	shown->tg_trigtuple = row.shown;
	if (shown->tg_trigslot != NULL && row.shown != row.stored)
		shown->tg_trigslot = slot_for(call, trigger->tg_relation, 0, row.shown);
	if (update)
	{
		show_tuple(trigger, table, trigger->tg_newtuple, before, &new);
		if (is_relinking(trigger, table, &row, &new))
			return (Datum) 0;
		shown->tg_newtuple = new.shown;
		if (shown->tg_newslot != NULL && new.shown != new.stored)
			shown->tg_newslot = slot_for(call, trigger->tg_relation, 1,
										 new.shown);
	}
	result = (HeapTuple) DatumGetPointer(call_with(fcinfo, shown));
	if (call->slots[0] != NULL)
	{
		ExecClearTuple(call->slots[0]);
		ExecClearTuple(call->slots[1]);
	}
	if (!before || fcinfo->isnull)
		return (Datum) 0;
	if (result == NULL && update && is_erasing(table, &new))
		return PointerGetDatum(trigger->tg_newtuple);
	return PointerGetDatum(map_result(trigger, table, result, &row, &new));
}

static Datum
call_for_protected(FunctionCallInfo fcinfo, TriggerCall *call,
				   TableMap *table)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TriggerData shown = *trigger;
	bool		open_tables = call->is_c &&
		(trigger->tg_oldtable != NULL || trigger->tg_newtable != NULL);
	Datum		result;

	if (guard_mode().task == GUARD_RELINK)
		return PointerGetDatum(unchanged(trigger));
	if (open_tables && shown.tg_oldtable != NULL)
		shown.tg_oldtable = opened_tuplestore(shown.tg_oldtable,
											  trigger->tg_relation, table);
	if (open_tables && shown.tg_newtable != NULL)
		shown.tg_newtable = opened_tuplestore(shown.tg_newtable,
											  trigger->tg_relation, table);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		result = call_for_row(fcinfo, call, table, &shown);
	else
		result = call_with(fcinfo, &shown);
	if (open_tables && shown.tg_oldtable != NULL)
		tuplestore_end(shown.tg_oldtable);
	if (open_tables && shown.tg_newtable != NULL)
		tuplestore_end(shown.tg_newtable);
	return result;
}

/*
 * Stands in for a trigger function.  fcinfo->flinfo is set right again by the
 * caller, the function manager, if the function raises an error.
 */
static Datum
call_opened(PG_FUNCTION_ARGS)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	TriggerCall *call = flinfo->fn_extra;
	TableMap   *table = !CALLED_AS_TRIGGER(fcinfo) ? NULL :
		datamap_lookup(RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	Datum		result;

	fcinfo->flinfo = &call->flinfo;
	result = table == NULL ? FunctionCallInvoke(fcinfo) :
		call_for_protected(fcinfo, call, table);
	fcinfo->flinfo = flinfo;
	return result;
}

static void
trigger_fmgr(FmgrHookEventType event, FmgrInfo *flinfo, Datum *arg)
{
	if (event == FHET_START && IsUnderPostmaster &&
		flinfo->fn_addr != call_opened && flinfo->fn_nargs == 0 && !flinfo->fn_retset &&
		rewrite_is_trigger_function(flinfo->fn_oid))
	{
		TriggerCall *call = MemoryContextAllocZero(flinfo->fn_mcxt,
												   sizeof(TriggerCall));
		HeapTuple	proc = SearchSysCache1(PROCOID,
										   ObjectIdGetDatum(flinfo->fn_oid));
		Oid			language;

		if (!HeapTupleIsValid(proc))
			elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
		language = ((Form_pg_proc) GETSTRUCT(proc))->prolang;
		ReleaseSysCache(proc);
		call->is_c = language == ClanguageId || language == INTERNALlanguageId;
		call->flinfo = *flinfo;
		flinfo->fn_addr = call_opened;
		flinfo->fn_extra = call;
	}
	if (prev_fmgr)
		(*prev_fmgr) (event, flinfo, arg);
}

void
trigger_init(void)
{
	prev_fmgr = fmgr_hook;
	fmgr_hook = trigger_fmgr;
}
