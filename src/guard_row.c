/*
 * guard_row.c
 *		The row that a guard works on: reading NEW and OLD, what the session is
 *		shown of it, and whose it is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"

#include "alias.h"
#include "errors.h"
#include "former.h"
#include "guard_internal.h"
#include "guard_mode.h"
#include "policy.h"
#include "provenance.h"
#include "reveal.h"
#include "sealed.h"
#include "subject.h"

PG_FUNCTION_INFO_V1(gdpr_mark);

/* The number that was drawn for the row that a guard had last, or 0. */
static uint64 drawn = 0;

/* ---------- marks ---------- */

/* Was this row, which is not stored, the last one that a guard sealed? */
static void
withdraw_number(const bytea *excluded)
{
	EnvelopeHeader header;

	if (drawn != 0 &&
		envelope_read_header((uint8 *) VARDATA_ANY(excluded),
							 VARSIZE_ANY_EXHDR(excluded), &header) &&
		sealed_person(header.number) == drawn)
		provenance_withdraw(drawn);
}

/*
 * gdpr.mark(envelope, ids of assigned columns, table) RETURNS gdpr.sealed
 *
 * What an UPDATE assigns to gdpr_sealed: the ids alone, since the guard takes
 * the envelope from OLD.  In ON CONFLICT DO UPDATE the first id is 0, and the
 * envelope that of EXCLUDED: of a person that is not entered after all.
 */
Datum
gdpr_mark(PG_FUNCTION_ARGS)
{
	bytea	   *ids;
	size_t		len;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	ids = PG_GETARG_BYTEA_PP(1);
	len = VARSIZE_ANY_EXHDR(ids);
	if (len >= 4 && memcmp(VARDATA_ANY(ids), "\0\0\0\0", 4) == 0 &&
		!PG_ARGISNULL(0))
		withdraw_number(PG_GETARG_BYTEA_PP(0));
	PG_RETURN_BYTEA_P(sealed_mark_make(ENVELOPE_MARKED,
									   column_ref_context(PG_GETARG_DATUM(2)),
									   VARDATA_ANY(ids), len));
}

bool
guard_is_marked(const GuardRow *row)
{
	return row->mark != 0;
}

bool
guard_mark_contains(const bytea *mark, int32 id)
{
	size_t		len;
	const uint8 *p = sealed_mark_rest(mark, &len);
	const uint8 *end = p + len;

	for (; p + 4 <= end; p += 4)
	{
		uint32		n;

		memcpy(&n, p, 4);
		if ((int32) pg_ntoh32(n) == id)
			return true;
	}
	return false;
}

/* ---------- the row ---------- */

TableMap *
guard_table(Relation rel)
{
	TableMap   *table = datamap_lookup(RelationGetRelid(rel));

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DATA_MAP),
				 errmsg("table \"%s\" has a guard but is not protected in the data map",
						RelationGetRelationName(rel)),
				 errhint("Restore the tables of schema gdpr from the same backup as the table.")));
	return table;
}

void
guard_deform(Relation rel, HeapTuple tuple, Datum **values, bool **isnull)
{
	int			natts = RelationGetDescr(rel)->natts;

	*values = palloc(sizeof(Datum) * natts);
	*isnull = palloc(sizeof(bool) * natts);
	heap_deform_tuple(tuple, RelationGetDescr(rel), *values, *isnull);
}

/* What NEW is compared with. */
static void
begin_old(GuardRow *row, HeapTuple tuple)
{
	int			sealed_att = row->table->sealed_attnum - 1;

	guard_deform(row->rel, tuple, &row->old_values, &row->old_isnull);
	if (!row->old_isnull[sealed_att])
		row->old = DatumGetByteaPP(row->old_values[sealed_att]);
	else if (!datamap_may_be_open(row->table))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_NOT_SEALED),
				 errmsg("a row of protected table \"%s\" is not sealed",
						RelationGetRelationName(row->rel))));
	initStringInfo(&row->old_rowkey);
	row_key(row->table, row->old_values, row->old_isnull, &row->old_rowkey);
}

void
guard_begin_row(TriggerData *trigger, GuardRow *row)
{
	int			sealed_att;
	HeapTuple	tuple;

	drawn = 0;
	memset(row, 0, sizeof(*row));
	row->rel = trigger->tg_relation;
	row->table = guard_table(row->rel);
	sealed_att = row->table->sealed_attnum - 1;
	row->insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	row->newtuple = row->insert ? trigger->tg_trigtuple : trigger->tg_newtuple;
	guard_deform(row->rel, row->newtuple, &row->values, &row->isnull);
	if (!row->isnull[sealed_att])
		row->sealed = DatumGetByteaPP(row->values[sealed_att]);
	row->mark = row->sealed == NULL ? 0 : sealed_mark_version(row->sealed);
	row->context = row->mark == 0 ? NULL : sealed_mark_context(row->sealed);
	if (!row->insert)
	{
		begin_old(row, trigger->tg_trigtuple);
		return;
	}
	if (row->sealed == NULL || !row->rel->rd_rel->relispartition)
		return;

	/* a row that is moved: its OLD is what the other partition's guard made */
	tuple = move_kept(row->sealed, &row->news);
	if (tuple == NULL &&
		move_take(row->rel, row->table, row->newtuple, &row->news))
		tuple = row->newtuple;
	if (tuple == NULL)
		return;
	row->insert = false;
	row->moved = true;
	begin_old(row, tuple);
}

HeapTuple
guard_finish_row(GuardRow *row, bytea *sealed)
{
	int			n = row->table->ncolumns;
	int		   *atts = palloc(sizeof(int) * (n + 1));
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));
	bool	   *isnull = palloc(sizeof(bool) * (n + 1));
	int			i;

	for (i = 0; i < n; i++)
	{
		atts[i] = row->table->columns[i].attnum;
		values[i] = row->values[atts[i] - 1];
		isnull[i] = row->isnull[atts[i] - 1];
	}
	atts[n] = row->table->sealed_attnum;
	values[n] = PointerGetDatum(sealed);
	isnull[n] = sealed == NULL;
	return heap_modify_tuple_by_cols(row->newtuple,
									 RelationGetDescr(row->rel), n + 1, atts,
									 values, isnull);
}

bool
guard_image_equal(Relation rel, AttrNumber attnum, Datum a, bool anull,
				  Datum b, bool bnull)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel),
												attnum - 1);

	if (anull || bnull)
		return anull == bnull;
	return datum_image_eq(a, b, attribute->attbyval, attribute->attlen);
}

bool
guard_same_envelope(const GuardRow *row)
{
	return guard_image_equal(row->rel, row->table->sealed_attnum,
					   PointerGetDatum(row->sealed), row->sealed == NULL,
					   PointerGetDatum(row->old), row->old == NULL);
}

Datum
guard_shown_value(GuardRow *row, ColumnMap *column, bool asked, bool *isnull)
{
	const uint8 *rowkey = (uint8 *) row->old_rowkey.data;
	size_t		rowkeylen = row->old_rowkey.len;
	int			att = column->attnum - 1;
	PolicyQuestion *question = guard_question(row);

	if (row->old == NULL)
		return reveal_open(question, column, row->old_values[att],
						   row->old_isnull[att],
						   asked ? REVEAL_ASKED : REVEAL_UNASKED, isnull);
	return reveal_shown(question, column, (uint8 *) VARDATA_ANY(row->old),
						VARSIZE_ANY_EXHDR(row->old), rowkey, rowkeylen,
						asked ? REVEAL_ASKED : REVEAL_UNASKED, isnull);
}

PolicyQuestion *
guard_question(const GuardRow *row)
{
	return row->context == NULL ? policy_session() :
		policy_of_context(row->context);
}

/* ---------- numbers ---------- */

static bool
link_unchanged(GuardRow *row, const LinkMap *link)
{
	return row->old != NULL && guard_mode().task != GUARD_RELINK &&
		subject_link_equal(row->rel, link, row->values, row->isnull,
						   row->old_values, row->old_isnull);
}

uint64
guard_old_person(const GuardRow *row)
{
	EnvelopeHeader header;

	if (row->old == NULL)
		return 0;
	if (!envelope_read_header((uint8 *) VARDATA_ANY(row->old),
							  VARSIZE_ANY_EXHDR(row->old), &header))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("a row of table \"%s\" has a damaged envelope",
						RelationGetRelationName(row->rel))));
	return sealed_person(header.number);
}

uint64
guard_old_column_person(const GuardRow *row, int via, int category)
{
	uint64		person = row->old == NULL ? 0 :
		sealed_column_person((uint8 *) VARDATA_ANY(row->old),
							 VARSIZE_ANY_EXHDR(row->old), via, category);

	return person != 0 ? person : guard_old_person(row);
}

/* The number of a row that becomes a person of its own. */
static uint64
own_number(GuardRow *row)
{
	ProvenanceHow how = PROVENANCE_ENTERED;
	uint64		number = row->insert ?
		subject_expected(row->rel, row->table, row->values, row->isnull) :
		former_number_of(row->table->relid, &row->old_rowkey);

	if (number != 0 && row->insert)
		provenance_note_again(number, how);
	if (number != 0)
		return number;
	if (!row->insert)
		how = row->old == NULL ? PROVENANCE_PROTECTED : PROVENANCE_SEPARATED;
	drawn = provenance_new_number(how);
	return drawn;
}

/* Rows go from one person to a number, and no others anywhere. */
static bool
is_renumbering(void)
{
	return guard_mode().task == GUARD_RELINK && guard_mode().number != 0;
}

/* What it has under a further number goes along. */
static uint64
renumbered(uint64 number)
{
	return alias_person(number) == guard_mode().from ? guard_mode().number : number;
}

/* Whose row it is. */
static uint64
row_number(GuardRow *row)
{
	LinkMap    *link = &row->table->links[0];

	if (row->old != NULL && is_renumbering())
		return renumbered(guard_old_person(row));
	if (!OidIsValid(link->parent_relid) ||
		subject_link_is_null(link, row->isnull))
	{
		/* a person of its own */
		if (row->old != NULL)
		{
			bool		was_own = !OidIsValid(link->parent_relid) ||
				subject_link_is_null(link, row->old_isnull);

			/* while forget() runs, a link that goes NULL does not rescue */
			if (was_own || guard_mode_concerns(guard_old_person(row)))
				return guard_old_person(row);
		}
		return own_number(row);
	}
	if (link_unchanged(row, link))
		return guard_old_person(row);
	return subject_of_parent(row->table, link, row->values, row->isnull, true);
}

void
guard_resolve_numbers(GuardRow *row)
{
	int			i;
	int			j;

	row->numbers = palloc(sizeof(uint64) * row->table->nlinks);
	if (row->insert && row->old != NULL)
	{
		/* it arrived sealed: whose it is stays */
		for (i = 0; i < row->table->nlinks; i++)
			row->numbers[i] = guard_old_column_person(row, row->table->links[i].via, -1);
		row->numbers[0] = guard_old_person(row);
		return;
	}
	row->numbers[0] = row_number(row);
	for (i = 1; i < row->table->nlinks; i++)
	{
		LinkMap    *link = &row->table->links[i];
		bool		set = false;

		for (j = 0; j < row->table->ncolumns; j++)
			set |= row->table->columns[j].link == link &&
				row->states[j] == ROW_SET;
		if (!row->insert && is_renumbering())
			row->numbers[i] = renumbered(guard_old_column_person(row, link->via, -1));
		else if (!row->insert && (guard_mode().task == GUARD_FORGET ||
								  (link_unchanged(row, link) && !set)))
			row->numbers[i] = guard_old_column_person(row, link->via, -1);
		else if (subject_link_is_null(link, row->isnull))
			row->numbers[i] = row->numbers[0];
		else
			row->numbers[i] = subject_of_parent(row->table, link, row->values,
												row->isnull, true);
	}
}
