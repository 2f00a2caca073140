/*
 * audit_set.c
 *		The persons of an audit record: a set of numbers, as ranges.
 *
 * Rows mostly come in the order of their persons, or have one person: then
 * there are few ranges.
 */
#include "postgres.h"

#include "audit_set.h"
#include "varint.h"

#define FIRST_RANGES	16

static int
compare_ranges(const void *a, const void *b)
{
	uint64		first_a = ((const AuditRange *) a)->first;
	uint64		first_b = ((const AuditRange *) b)->first;

	return first_a < first_b ? -1 : first_a > first_b;
}

uint64
audit_set_arrange(AuditSet *set)
{
	uint64		numbers = 0;
	int			kept = 0;
	int			i;

	if (set->ranges == NULL)
		return 0;
	if (set->count > 1)
		qsort(set->ranges, set->count, sizeof(AuditRange), compare_ranges);
	for (i = 0; i < set->count; i++)
	{
		const AuditRange *range = &set->ranges[i];

		if (kept > 0 && range->first <= set->ranges[kept - 1].last + 1)
			set->ranges[kept - 1].last = Max(set->ranges[kept - 1].last, range->last);
		else
			set->ranges[kept++] = *range;
	}
	set->count = kept;
	for (i = 0; i < kept; i++)
		numbers += set->ranges[i].last - set->ranges[i].first + 1;
	return numbers;
}

void
audit_set_add_range(AuditSet *set, uint64 first, uint64 last)
{
	AuditRange *latest = set->count > 0 ? &set->ranges[set->count - 1] : NULL;

	if (latest != NULL && first >= latest->first && first <= latest->last + 1)
	{
		latest->last = Max(latest->last, last);
		return;
	}
	if (set->ranges == NULL)
	{
		set->max = FIRST_RANGES;
		set->ranges = MemoryContextAlloc(set->context != NULL ? set->context : CurrentMemoryContext,
										 sizeof(AuditRange) * set->max);
	}
	else if (set->count == set->max)
	{
		/* what came out of order may be less than it seems */
		(void) audit_set_arrange(set);
		if (set->count > set->max / 2)
		{
			set->max *= 2;
			set->ranges = repalloc_huge(set->ranges, sizeof(AuditRange) * set->max);
		}
	}
	set->ranges[set->count].first = first;
	set->ranges[set->count].last = last;
	set->count++;
}

void
audit_set_encode(StringInfo out, const AuditSet *set)
{
	uint64		next = 0;
	int			i;

	varint_append(out, (uint64) set->count);
	for (i = 0; i < set->count; i++)
	{
		varint_append(out, set->ranges[i].first - next);
		varint_append(out, set->ranges[i].last - set->ranges[i].first);
		next = set->ranges[i].last + 1;
	}
}

void
audit_set_open(AuditSetReader *reader, const uint8 *buf, size_t len,
			   size_t offset)
{
	reader->buf = buf;
	reader->len = len;
	reader->offset = offset;
	reader->next = 0;
	/* each takes two bytes at least */
	reader->ok = varint_read(buf, len, &reader->offset, &reader->left) &&
		reader->left <= (len - reader->offset) / 2;
}

bool
audit_set_next(AuditSetReader *reader, AuditRange *range)
{
	uint64		gap;
	uint64		more;

	if (!reader->ok || reader->left == 0)
		return false;
	reader->ok = varint_read(reader->buf, reader->len, &reader->offset, &gap) &&
		varint_read(reader->buf, reader->len, &reader->offset, &more) &&
		gap <= AUDIT_SET_MAX - reader->next &&
		more <= AUDIT_SET_MAX - reader->next - gap;
	if (!reader->ok)
		return false;
	range->first = reader->next + gap;
	range->last = range->first + more;
	reader->next = range->last + 1;
	reader->left--;
	return true;
}

bool
audit_set_has(AuditSetReader *reader, uint64 number)
{
	AuditRange	range;

	while (audit_set_next(reader, &range) && range.first <= number)
		if (range.last >= number)
			return true;
	return false;
}

bool
audit_set_decode(const uint8 *buf, size_t len, size_t *offset, AuditSet *set)
{
	AuditSetReader reader;

	memset(set, 0, sizeof(*set));
	audit_set_open(&reader, buf, len, *offset);
	if (!reader.ok)
		return false;
	set->max = (int) Max(reader.left, 1);
	set->ranges = palloc(sizeof(AuditRange) * set->max);
	while (audit_set_next(&reader, &set->ranges[set->count]))
		set->count++;
	*offset = reader.offset;
	return reader.ok;
}
