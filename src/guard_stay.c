/*
 * guard_stay.c
 *		Which rows have to stay, or to stay as they are: those of persons whose
 *		processing is restricted (Art. 18), those that a hold keeps (Art. 17(3)),
 *		and, when rows are forgotten or due, those of others.
 *
 * What may not go with another row is ERRCODE_RESTRICT_VIOLATION: whoever
 * deletes that one then erases it, and its key stays.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "alias.h"
#include "errors.h"
#include "guard_internal.h"
#include "guard_mode.h"
#include "plans.h"
#include "policy.h"
#include "sealed.h"
#include "subject.h"

/* Is there a row? */
static bool
exists_for(const char *statement, int nargs, Oid *types, Datum *args)
{
	bool		result;
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(datamap_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_plan(plans_get(statement, nargs, types), args, NULL, true,
						 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what keeps a row");
	result = SPI_processed > 0;
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
	return result;
}

/* Data whose processing is restricted is stored, and stays as it is. */
static void
require_unrestricted(Relation rel, uint64 person)
{
	if (person == 0 || IsLogicalWorker() || policy_permits_change(person))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_RESTRICTED),
			 errmsg("cannot change or delete a row of table \"%s\": the processing of its person's data is restricted",
					RelationGetRelationName(rel)),
			 errdetail("Art. 18 GDPR: the data may only be stored. It is person " UINT64_FORMAT ".",
					   person),
			 errhint("An officer can lift the restriction, after the person was informed: SELECT gdpr.lift_restriction(" UINT64_FORMAT ", informed_at => ...).",
					 person)));
}

#define HOLDS_OF_PERSON \
	"SELECT 1 FROM gdpr.hold h WHERE h.subject OPERATOR(pg_catalog.=) ANY (gdpr.numbers_of($1))" \
	" AND h.finished_at IS NULL AND h.until OPERATOR(pg_catalog.>) pg_catalog.now()" \
	" AND (h.relations IS NULL OR $2 OPERATOR(pg_catalog.=) ANY (h.relations::pg_catalog.oid[]))"

static bool
exists_for_person(const char *statement, const TableMap *table, uint64 person)
{
	Oid			types[2] = {INT8OID, OIDOID};
	Datum		args[2] = {Int64GetDatum((int64) person), ObjectIdGetDatum(table->root->relid)};

	return exists_for(statement, 2, types, args);
}

/* Nor does retention, or the forgetting of another, take what a hold keeps. */
static void
require_unheld(Relation rel, const TableMap *table, uint64 person)
{
	if (guard_mode().task == GUARD_FORGET &&
		exists_for_person(HOLDS_OF_PERSON, table, person))
		ereport(ERROR,
				(errcode(ERRCODE_RESTRICT_VIOLATION),
				 errmsg("a row of table \"%s\" holds values of another person, which are held",
						RelationGetRelationName(rel)),
				 errtable(rel)));
}

/* The same of those who have values in rows that are not theirs, but of one,
 * and of those who leave. */
static void
require_others_unrestricted(Relation rel, const TableMap *table,
							const uint8 *buf, size_t len, uint64 but)
{
	EnvelopeHeader header;
	EnvelopeSegment segment;
	size_t		offset = 0;

	if (table->nlinks <= 1 || !envelope_read_header(buf, len, &header))
		return;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		uint64		person = segment.via == 0 ? but :
			alias_person(sealed_person(segment.number));

		if (person == but || guard_mode_leaves(person))
			continue;
		require_unrestricted(rel, person);
		require_unheld(rel, table, person);
	}
}

/*
 * Is the person of a row restricted, or does a hold keep the row?  The last
 * part, of rows with several owners, takes longer.
 */
static bool
is_held(const TableMap *table, uint64 person)
{
	return exists_for_person("SELECT 1 FROM gdpr.flag f WHERE f.kind OPERATOR(pg_catalog.=) 'r'"
							 " AND f.subject OPERATOR(pg_catalog.=) ANY (gdpr.numbers_of($1))"
							 " UNION ALL " HOLDS_OF_PERSON
							 " UNION ALL SELECT 1 WHERE CASE WHEN EXISTS (SELECT FROM gdpr.mapped_owner) THEN gdpr.is_held($1, $2) END",
							 table, person);
}

/* Of such a one nothing is left that would have to stay, but for what a hold
 * keeps, which has a number of its own. */
static bool
was_forgotten(uint64 person)
{
	Oid			type = INT8OID;
	Datum		arg = Int64GetDatum((int64) person);

	return exists_for("SELECT 1 FROM gdpr.tombstone t WHERE t.number OPERATOR(pg_catalog.=) $1"
					  " AND t.category IS NULL", 1, &type, &arg);
}

/* Is it a consequence of what forget() or the retention run does itself? */
static bool
is_cascade(void)
{
	return guard_mode().task == GUARD_FORGET &&
		DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) > 1;
}

/*
 * When rows are forgotten, or due, others change, by ON DELETE SET NULL or a
 * trigger: not those that have to stay as they are.  Whoever deletes the upper
 * row then erases it, and its key stays.
 */
static void
require_may_unlink(GuardRow *row)
{
	uint64		person = guard_old_person(row);

	if (!is_cascade() || person == 0 ||
		guard_mode_leaves_as_any(person))
		return;
	if (is_held(row->table, person) && !was_forgotten(person))
		ereport(ERROR,
				(errcode(ERRCODE_RESTRICT_VIOLATION),
				 errmsg("a row of table \"%s\" would be changed when another is deleted, and has to stay as it is",
						RelationGetRelationName(row->rel)),
				 errtable(row->rel)));
}

/* The application may change it: neither the row's person, nor another whose
 * values the UPDATE takes away, is restricted. */
static void
require_may_change(GuardRow *row)
{
	int			i;

	if (!guard_mode_leaves(guard_old_person(row)))
		require_unrestricted(row->rel, guard_old_person(row));
	for (i = 1; i < row->table->nlinks && row->old != NULL; i++)
	{
		LinkMap    *link = &row->table->links[i];
		uint64		person = alias_person(guard_old_column_person(row, link->via, -1));

		if (!guard_mode_leaves(person) &&
			!subject_link_equal(row->rel, link, row->values, row->isnull,
								row->old_values, row->old_isnull))
			require_unrestricted(row->rel, person);
	}
}

void
guard_require_may_update(GuardRow *row, bool application)
{
	if (application)
		require_may_change(row);
	else
		require_may_unlink(row);
}

void
guard_require_may_expire(const GuardRow *row)
{
	if (guard_mode().npersons > 0 || row->old == NULL)
		return;
	require_unrestricted(row->rel, guard_old_person(row));
	require_others_unrestricted(row->rel, row->table,
								(uint8 *) VARDATA_ANY(row->old),
								VARSIZE_ANY_EXHDR(row->old),
								guard_old_person(row));
}

/*
 * When rows are forgotten, or due, others go with them, by ON DELETE CASCADE or
 * a trigger: not those of somebody else, nor those that have to stay.  Whoever
 * deletes the upper row then erases it.  person 0: the row is not sealed.
 */
static void
require_may_cascade(Relation rel, const TableMap *table, uint64 person)
{
	bool		kept = table->on_forget == FORGET_KEEP;

	if (!is_cascade())
		return;
	/* of several, whose row takes this one along is not known */
	if (guard_mode().npersons > 0)
		kept |= person != 0 && (guard_mode().alone == 0 ||
								!alias_is_same(person, guard_mode().alone));
	else
	{
		Oid			types[2] = {INT4OID, OIDOID};
		Datum		args[2] = {Int32GetDatum(table->id), ObjectIdGetDatum(table->root->relid)};

		kept = kept ||
			exists_for("SELECT 1 FROM gdpr.retention_policy p WHERE p.table_id OPERATOR(pg_catalog.=) $1"
					   " AND $2 IS NOT NULL", 2, types, args) ||
			(person != 0 && is_held(table, person));
	}
	if (kept)
		ereport(ERROR,
				(errcode(ERRCODE_RESTRICT_VIOLATION),
				 errmsg("a row of table \"%s\" would be deleted with another, and has to stay",
						RelationGetRelationName(rel)),
				 errtable(rel)));
}

void
guard_require_may_delete(Relation rel, const TableMap *table,
						 const bytea *envelope)
{
	uint64		person;

	if (envelope == NULL)
	{
		require_may_cascade(rel, table, 0);
		return;
	}
	person = sealed_row_person((const uint8 *) VARDATA_ANY(envelope),
							   VARSIZE_ANY_EXHDR(envelope));
	require_may_cascade(rel, table, person);
	if (!guard_mode_leaves(person))
		require_unrestricted(rel, person);
	require_others_unrestricted(rel, table,
								(const uint8 *) VARDATA_ANY(envelope),
								VARSIZE_ANY_EXHDR(envelope), 0);
}
