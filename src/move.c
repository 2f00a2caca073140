/*
 * move.c
 *		Rows that an UPDATE moves to another partition.
 *
 * PostgreSQL does it as DELETE and INSERT: the row that the guard has sealed
 * for the UPDATE arrives at the guard of the other partition, which takes
 * sealed rows only from those who may restore the table.  So the first guard
 * notes what it has sealed, and the second accepts exactly that, in all its
 * columns, from the same role, once, in the same transaction.  Whoever brings
 * an envelope otherwise gains nothing by a note: a row that has one is what
 * the guard made of an UPDATE by that role.
 *
 * The next guard to run is the one that takes the note, unless BEFORE DELETE
 * triggers move rows too: therefore a few notes are kept.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"

#include "crypto.h"
#include "envelope.h"
#include "move.h"
#include "sealed.h"

#define NOTES	64
#define KEPT	16

typedef struct MoveNote
{
	uint8		hash[32];		/* of the row */
	Oid			role;			/* InvalidOid: unused */
	int			level;			/* of the subtransaction */
	MoveNews	news;
} MoveNote;

typedef struct KeptRow
{
	HeapTuple	tuple;			/* NULL: unused, or used up */
	struct varlena *envelope;	/* its; both in TopTransactionContext */
	int			level;
	MoveNews	news;
} KeptRow;

/* The partition constraint of a relation */
typedef struct MoveState
{
	Bitmapset  *attnums;		/* of its columns, as pull_varattnos() tells */
	ExprState  *constraint;
	ExprContext *econtext;
	TupleTableSlot *slot;
} MoveState;

static MoveNote notes[NOTES];	/* a ring */
static int	notes_next = 0;
static KeptRow kept[KEPT];		/* a ring */
static int	kept_next = 0;
static bool any = false;

static void
end_of_transaction(XactEvent event, void *arg)
{
	if (!any || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
				 event != XACT_EVENT_PREPARE))
		return;
	memset(notes, 0, sizeof(notes));
	memset(kept, 0, sizeof(kept));	/* the tuples go with the transaction */
	any = false;
}

static void
drop_kept(KeptRow *row)
{
	if (row->tuple != NULL)
		heap_freetuple(row->tuple);
	if (row->envelope != NULL)
		pfree(row->envelope);
	memset(row, 0, sizeof(*row));
}

/* What a subtransaction noted goes with it, or is its parent's. */
static void
end_of_subtransaction(SubXactEvent event, SubTransactionId id,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	int			i;

	if (!any || (event != SUBXACT_EVENT_ABORT_SUB &&
				 event != SUBXACT_EVENT_COMMIT_SUB))
		return;
	for (i = 0; i < NOTES; i++)
	{
		if (notes[i].level < level)
			continue;
		notes[i].level = level - 1;
		if (event == SUBXACT_EVENT_ABORT_SUB)
			notes[i].role = InvalidOid;
	}
	for (i = 0; i < KEPT; i++)
	{
		if (kept[i].level < level)
			continue;
		kept[i].level = level - 1;
		if (event == SUBXACT_EVENT_ABORT_SUB)
			drop_kept(&kept[i]);
	}
}

void
move_init(void)
{
	RegisterXactCallback(end_of_transaction, NULL);
	RegisterSubXactCallback(end_of_subtransaction, NULL);
}

static MoveState *
move_state(Relation rel, TableMap *table)
{
	List	   *qual;
	MoveState  *state;
	MemoryContext old;

	if (table->move_state != NULL)
		return table->move_state;
	old = MemoryContextSwitchTo(table->context);
	/* with its constants, which planning does not copy */
	qual = copyObject(RelationGetPartitionQual(rel));
	state = palloc0(sizeof(MoveState));
	pull_varattnos((Node *) qual, 1, &state->attnums);
	state->econtext = CreateStandaloneExprContext();
	state->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(rel)),
										   &TTSOpsVirtual);
	state->constraint =
		ExecInitExpr(expression_planner((Expr *) make_ands_explicit(qual)),
					 NULL);
	MemoryContextSwitchTo(old);
	table->move_state = state;
	return state;
}

/* Is one of the columns other than it was?  Most updates change none. */
static bool
columns_changed(Relation rel, const Bitmapset *attnums,
				const Datum *old_values, const bool *old_isnull,
				const Datum *values, const bool *isnull)
{
	int			i = -1;

	while ((i = bms_next_member(attnums, i)) >= 0)
	{
		int			att = i + FirstLowInvalidHeapAttributeNumber - 1;
		Form_pg_attribute attribute;

		if (att < 0)
			return true;		/* an expression over the whole row */
		attribute = TupleDescAttr(RelationGetDescr(rel), att);
		if (isnull[att] != old_isnull[att] ||
			(!isnull[att] &&
			 !datum_image_eq(values[att], old_values[att], attribute->attbyval,
							 attribute->attlen)))
			return true;
	}
	return false;
}

bool
move_leaves(Relation rel, TableMap *table, const Datum *old_values,
			const bool *old_isnull, const Datum *values, const bool *isnull)
{
	MoveState  *state;
	int			natts = RelationGetDescr(rel)->natts;
	bool		stays;

	if (!rel->rd_rel->relispartition)
		return false;
	state = move_state(rel, table);
	if (!columns_changed(rel, state->attnums, old_values, old_isnull, values,
						 isnull))
		return false;
	ExecClearTuple(state->slot);
	memcpy(state->slot->tts_values, values, sizeof(Datum) * natts);
	memcpy(state->slot->tts_isnull, isnull, sizeof(bool) * natts);
	ExecStoreVirtualTuple(state->slot);
	state->econtext->ecxt_scantuple = state->slot;
	stays = ExecCheck(state->constraint, state->econtext);
	ExecClearTuple(state->slot);
	ResetExprContext(state->econtext);
	return !stays;
}

/* A value's bytes, whichever header they have. */
static void
append_image(StringInfo out, Form_pg_attribute attribute, Datum value,
			 bool isnull)
{
	const char *data = NULL;
	int			len;

	if (isnull)
		len = -1;
	else if (attribute->attbyval)
	{
		data = (const char *) &value;
		len = sizeof(Datum);
	}
	else if (attribute->attlen > 0)
	{
		data = DatumGetPointer(value);
		len = attribute->attlen;
	}
	else if (attribute->attlen == -2)
	{
		data = DatumGetCString(value);
		len = strlen(data) + 1;
	}
	else
	{
		data = DatumGetPointer(value);
		if (VARATT_IS_EXTERNAL(data) || VARATT_IS_COMPRESSED(data))
			len = VARSIZE_ANY(data);
		else
		{
			len = VARSIZE_ANY_EXHDR(data);
			data = VARDATA_ANY(data);
		}
	}
	appendBinaryStringInfo(out, (char *) &len, sizeof(len));
	if (len > 0)
		appendBinaryStringInfo(out, data, len);
}

/*
 * The hash of all columns of a row, in the order of the root's.  Generated ones
 * are computed after the triggers.
 */
static void
hash_row(Relation rel, TableMap *table, HeapTuple tuple, uint8 hash[32])
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData image;
	int			attnum;

	initStringInfo(&image);
	appendBinaryStringInfo(&image, (char *) &table->id, sizeof(table->id));
	for (attnum = 1; attnum <= table->root->natts; attnum++)
	{
		AttrNumber	here;
		Form_pg_attribute attribute;
		Datum		value;
		bool		isnull;

		if (!OidIsValid(get_atttype(table->root->relid, attnum)))
			continue;			/* dropped */
		here = datamap_member_attnum(table, attnum);
		attribute = TupleDescAttr(desc, here - 1);
		if (attribute->attgenerated)
			continue;
		value = heap_getattr(tuple, here, desc, &isnull);
		append_image(&image, attribute, value, isnull);
	}
	if (!crypto_sha256((uint8 *) image.data, image.len, hash))
		elog(ERROR, "could not hash a row");
	pfree(image.data);
}

void
move_note(Relation rel, TableMap *table, HeapTuple tuple, MoveNews news)
{
	MoveNote   *note = &notes[notes_next];

	note->role = InvalidOid;
	hash_row(rel, table, tuple, note->hash);
	note->role = GetUserId();
	note->level = GetCurrentTransactionNestLevel();
	note->news = news;
	notes_next = (notes_next + 1) % NOTES;
	any = true;
}

bool
move_take(Relation rel, TableMap *table, HeapTuple tuple, MoveNews *news)
{
	uint8		hash[32];
	int			i;

	if (!any || !rel->rd_rel->relispartition)
		return false;
	hash_row(rel, table, tuple, hash);
	for (i = 1; i <= NOTES; i++)
	{
		MoveNote   *note = &notes[(notes_next + NOTES - i) % NOTES];

		if (note->role == GetUserId() && OidIsValid(note->role) &&
			memcmp(note->hash, hash, sizeof(hash)) == 0)
		{
			note->role = InvalidOid;
			*news = note->news;
			return true;
		}
	}
	return false;
}

void
move_keep(HeapTuple tuple, const struct varlena *envelope, MoveNews news)
{
	KeptRow    *row = &kept[kept_next];
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	drop_kept(row);
	row->level = GetCurrentTransactionNestLevel();
	row->news = news;
	row->envelope = (struct varlena *)
		DatumGetPointer(datumCopy(PointerGetDatum(envelope), false, -1));
	row->tuple = heap_copytuple(tuple);
	kept_next = (kept_next + 1) % KEPT;
	any = true;
	MemoryContextSwitchTo(old);
}

HeapTuple
move_kept(const struct varlena *mark, MoveNews *news)
{
	const uint8 *envelope;
	size_t		len;
	int			i;

	if (!any || sealed_mark_version(mark) != ENVELOPE_OPENED)
		return NULL;
	envelope = sealed_mark_rest(mark, &len);
	for (i = 1; i <= KEPT; i++)
	{
		KeptRow    *row = &kept[(kept_next + KEPT - i) % KEPT];
		HeapTuple	tuple = row->tuple;

		if (tuple == NULL || VARSIZE_ANY_EXHDR(row->envelope) != len ||
			memcmp(VARDATA_ANY(row->envelope), envelope, len) != 0)
			continue;
		row->tuple = NULL;		/* freed with the transaction */
		*news = row->news;
		return tuple;
	}
	return NULL;
}
