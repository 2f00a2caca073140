/*
 * gdpr_test.c
 *		Lets tests reach the keystore from SQL.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "keystore_internal.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_derive);
PG_FUNCTION_INFO_V1(test_derive_many);
PG_FUNCTION_INFO_V1(test_token_key);
PG_FUNCTION_INFO_V1(test_token_epoch);
PG_FUNCTION_INFO_V1(test_generation);
PG_FUNCTION_INFO_V1(test_next_number);
PG_FUNCTION_INFO_V1(test_life);
PG_FUNCTION_INFO_V1(test_caches_filled);
PG_FUNCTION_INFO_V1(test_wake_worker);
PG_FUNCTION_INFO_V1(test_fault);
PG_FUNCTION_INFO_V1(test_show_rows);

static const KeystoreAccess *
keystore(void)
{
	void	  **variable = find_rendezvous_variable(KEYSTORE_RENDEZVOUS);

	if (*variable == NULL)
		elog(ERROR, "gdpr is not loaded");
	return *variable;
}

static Datum
key_datum(const uint8 *key)
{
	return PointerGetDatum(cstring_to_text_with_len((const char *) key, KEYSTORE_KEY_BYTES));
}

/* NULL: punctured */
Datum
test_derive(PG_FUNCTION_ARGS)
{
	uint8		key[KEYSTORE_KEY_BYTES];

	if (!keystore()->derive((uint64) PG_GETARG_INT64(0), PG_GETARG_INT32(1),
							PG_GETARG_INT32(2), key))
		PG_RETURN_NULL();
	return key_datum(key);
}

/* Nanoseconds for each of many derivations. */
Datum
test_derive_many(PG_FUNCTION_ARGS)
{
	uint64		number = (uint64) PG_GETARG_INT64(0);
	uint64		step = (uint64) PG_GETARG_INT64(1);
	int64		times = PG_GETARG_INT64(2);
	int			category = PG_GETARG_INT32(3);
	const KeystoreAccess *access = keystore();
	instr_time	start;
	instr_time	end;
	int64		i;
	uint8		key[KEYSTORE_KEY_BYTES];

	INSTR_TIME_SET_CURRENT(start);
	for (i = 0; i < times; i++)
	{
		(void) access->derive(number, category, 0, key);
		number = (number + step) & (KEYSTORE_MAX_NUMBER);
		if (number == 0)
			number = 1;
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(end) * 1e9 / (double) times);
}

Datum
test_token_key(PG_FUNCTION_ARGS)
{
	uint8		key[KEYSTORE_KEY_BYTES];

	if (!keystore()->token_key(PG_GETARG_INT32(0), PG_GETARG_INT32(1), key))
		PG_RETURN_NULL();
	return key_datum(key);
}

Datum
test_token_epoch(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) keystore()->token_epoch());
}

Datum
test_generation(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) keystore()->generation());
}

Datum
test_next_number(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) keystore()->next_number());
}

Datum
test_life(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"living", "partly", "forgotten"};

	PG_RETURN_TEXT_P(cstring_to_text(names[keystore()->life((uint64) PG_GETARG_INT64(0))]));
}

Datum
test_caches_filled(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(keystore()->caches_filled());
}

Datum
test_wake_worker(PG_FUNCTION_ARGS)
{
	keystore()->wake_worker();
	PG_RETURN_VOID();
}

Datum
test_fault(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"die_before", "die_halfway", "die_after", "enospc", "eio"};
	const KeystoreAccess *access = keystore();
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			count = *access->fault_count;
	int			i;

	for (i = 0; i < (int) lengthof(names) && strcmp(names[i], kind) != 0; i++)
		;
	if (i == (int) lengthof(names))
		elog(ERROR, "unknown kind of fault: %s", kind);
	*access->fault_kind = (KeyfileFault) i;
	*access->fault_sticky = PG_GETARG_BOOL(2);
	*access->fault_count = 0;
	*access->fault_point = PG_GETARG_INT32(0);
	PG_RETURN_INT32(count);
}

/* ---------- a trigger function in C ---------- */

static void
show_slot(const char *what, TupleTableSlot *slot, int attnum)
{
	bool		isnull;
	Datum		value;

	if (slot == NULL || TTS_EMPTY(slot))
		return;
	value = slot_getattr(slot, attnum, &isnull);
	elog(NOTICE, "%s: %s", what, isnull ? "NULL" : TextDatumGetCString(value));
}

static void
show_tuple(const char *what, HeapTuple tuple, TupleDesc desc, int attnum)
{
	char	   *value = tuple == NULL ? NULL : SPI_getvalue(tuple, desc, attnum);

	if (tuple != NULL)
		elog(NOTICE, "%s: %s", what, value != NULL ? value : "NULL");
}

static void
show_store(const char *what, Tuplestorestate *store, TupleDesc desc, int attnum)
{
	TupleTableSlot *slot;

	if (store == NULL)
		return;
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	tuplestore_rescan(store);
	while (tuplestore_gettupleslot(store, true, false, slot))
		show_slot(what, slot, attnum);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Notes a column, of type text, in every form in which a trigger function in C
 * is given rows.
 */
Datum
test_show_rows(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	int			attnum;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger");
	desc = RelationGetDescr(trigger->tg_relation);
	attnum = SPI_fnumber(desc, trigger->tg_trigger->tgargs[0]);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		show_tuple("tuple", trigger->tg_trigtuple, desc, attnum);
		show_slot("slot", trigger->tg_trigslot, attnum);
		show_tuple("new tuple", trigger->tg_newtuple, desc, attnum);
		show_slot("new slot", trigger->tg_newslot, attnum);
	}
	show_store("old table", trigger->tg_oldtable, desc, attnum);
	show_store("new table", trigger->tg_newtable, desc, attnum);
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
