/*
 * keyfile_change.c
 *		Carrying out a change of the keystore file, and finishing one.
 *
 * The order is everything (doc/formats.md):
 *
 *	1. new records, after those in use; fsync
 *	2. the header of the next generation, with the records that change in
 *	   place as its redo list, over one of the two headers; fsync.  This is
 *	   the moment of the change.
 *	3. those records in place, and the other header; fsync.  Now the old
 *	   seeds are nowhere in the file: they were in those records, in the old
 *	   header's roots or in its redo list.
 *
 * Generation g goes first to header g mod 2, so the header that is at risk
 * in step 2 is never the one that step 2 before it wrote.
 *
 * A failed fsync leaves open what is on disk.  kf_commit() writes everything
 * again; if that fails too, keyfile_recover() does, before anything else.
 */
#include "keyfile_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* reserved space ends at a multiple of this */
#define RESERVE_STEP	65536

/* Start a change: the header as it is now, and nothing unfinished. */
static KeyfileResult
begin(Keyfile *kf, KeyfileError *err)
{
	uint8_t		beyond[KF_RECORD];
	size_t		got;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	if (!kf->writable)
		return kf_error(err, KEYFILE_READ_ONLY);
	if (kf->pending)
		return kf_error(err, KEYFILE_PENDING);
	result = keyfile_refresh(kf, err);
	if (result != KEYFILE_OK)
		return result;
	if (!kf->settled)
		return kf_error(err, KEYFILE_PENDING);

	/* new records are written in order: a trace of them is at the front */
	result = kf_read(kf->fd, kf_offset(kf->header.info.records), beyond,
					 sizeof(beyond), &got, err);
	if (result == KEYFILE_OK && !kf_is_zero(beyond, got))
		result = kf_error(err, KEYFILE_PENDING);
	return result;
}

static KeyfileResult
write_page(Keyfile *kf, int page, KeyfileError *err)
{
	KfWrite		write;

	write.offset = (int64_t) page * KF_PAGE;
	write.buf = kf->pages + page * KF_PAGE;
	write.len = KF_PAGE;
	return kf_commit(kf->fd, &write, 1, err);
}

/*
 * Make `next` the header: its first copy, durably.  The second one is due in
 * kf->pages.
 */
static KeyfileResult
write_header(Keyfile *kf, const KfHeader *next, KeyfileError *err)
{
	int			page = (int) (next->info.generation % KF_HEADERS);
	KeyfileResult result;

	kf->settled = false;
	if (!kf_encode_header(&kf->keys, next, kf->pages + page * KF_PAGE))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	result = write_page(kf, page, err);
	if (result != KEYFILE_OK)
		return result;
	memcpy(kf->pages + (1 - page) * KF_PAGE, kf->pages + page * KF_PAGE,
		   KF_PAGE);
	kf->page = page;
	kf->header = *next;
	kf->one_valid = false;
	keyfile_drop_cache(kf);
	return KEYFILE_OK;
}

/* As many of the nodes as fit into one plan; *next moves behind them. */
static KeyfileResult
plan_nodes(Keyfile *kf, KfPlan *plan, const KeytreeNode *nodes, size_t count,
		   size_t *next, KeyfileError *err)
{
	while (*next < count)
	{
		bool		full = false;
		KeyfileResult result;

		if (!keytree_valid(nodes[*next]))
			result = kf_error(err, KEYFILE_INVALID);
		else
			result = kf_plan_node(kf, plan, nodes[*next], &full, err);
		if ((result == KEYFILE_DAMAGED || result == KEYFILE_INVALID) &&
			plan->changed)
			break;				/* first those that can be done */
		if (result != KEYFILE_OK)
			return result;
		if (full)
		{
			if (!plan->changed)
				return kf_error(err, KEYFILE_FULL);
			break;
		}
		(*next)++;
	}
	return kf_error(err, KEYFILE_OK);
}

KeyfileResult
keyfile_puncture_prepare(Keyfile *kf, const KeytreeNode *nodes, size_t count,
						 size_t *next, KeyfileError *err)
{
	KfPlan		plan;
	size_t		reached = *next;
	KeyfileResult result;

	result = begin(kf, err);
	if (result != KEYFILE_OK)
		return result;
	kf_plan_start(kf, &plan);
	result = plan_nodes(kf, &plan, nodes, count, &reached, err);
	if (result == KEYFILE_OK && plan.changed)
	{
		if (plan.fresh_used > 0)
		{
			KfWrite		fresh;

			fresh.offset = kf_offset(kf->header.info.records);
			fresh.buf = plan.fresh;
			fresh.len = (size_t) plan.fresh_used * KF_RECORD;
			result = kf_commit(kf->fd, &fresh, 1, err);
		}
		if (result == KEYFILE_OK)
			result = write_header(kf, &plan.next, err);
		kf->pending = result == KEYFILE_OK;
	}
	if (result == KEYFILE_OK)
		*next = reached;
	kf_plan_end(&plan);
	return result;
}

/* Step 3: the redo list in place, and the header's second copy. */
static KeyfileResult
settle(Keyfile *kf, int second, KeyfileError *err)
{
	KfWrite		writes[KF_REDO + 1];
	size_t		count = 0;
	KeyfileResult result;

	for (uint32_t i = 0; i < kf->header.info.redo; i++)
	{
		writes[count].offset = kf_offset(kf->header.redo_index[i]);
		writes[count].buf = kf->header.redo_record[i];
		writes[count].len = KF_RECORD;
		count++;
	}
	writes[count].offset = (int64_t) second * KF_PAGE;
	writes[count].buf = kf->pages + second * KF_PAGE;
	writes[count].len = KF_PAGE;
	count++;
	result = kf_commit(kf->fd, writes, count, err);
	keyfile_drop_cache(kf);
	if (result == KEYFILE_OK)
	{
		kf->pending = false;
		kf->settled = true;
	}
	return result;
}

KeyfileResult
keyfile_puncture_apply(Keyfile *kf, KeyfileError *err)
{
	kf_error(err, KEYFILE_OK);
	if (!kf->pending)
		return KEYFILE_OK;
	return settle(kf, 1 - kf->page, err);
}

/* Zero whatever is not zero after the last record in use. */
static KeyfileResult
clear_tail(Keyfile *kf, KeyfileError *err)
{
	uint8_t		buf[KF_PAGE];
	int64_t		offset = kf_offset(kf->header.info.records);
	int64_t		from = -1;
	KeyfileResult result;
	size_t		got;

	/* in stretches, so that a reserve is not rewritten for one record */
	for (;;)
	{
		bool		dirty;

		result = kf_read(kf->fd, offset, buf, sizeof(buf), &got, err);
		if (result != KEYFILE_OK)
			return result;
		dirty = !kf_is_zero(buf, got);
		if (dirty && from < 0)
			from = offset;
		if (!dirty && from >= 0)
		{
			result = kf_zero(kf->fd, from, offset, err);
			if (result != KEYFILE_OK)
				return result;
			from = -1;
		}
		if (got == 0)
			return KEYFILE_OK;
		offset += (int64_t) got;
	}
}

KeyfileResult
keyfile_recover(Keyfile *kf, KeyfileError *err)
{
	char	   *leftover;
	int			first;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	if (!kf->writable)
		return kf_error(err, KEYFILE_READ_ONLY);
	kf->pending = false;
	result = keyfile_refresh(kf, err);
	if (result != KEYFILE_OK)
		return result;
	keyfile_drop_cache(kf);

	/*
	 * The header that counts may have been read from memory that never
	 * reached the disk.  It goes to disk first, but not over itself if it is
	 * the only valid one.
	 */
	first = kf->one_valid ? 1 - kf->page : kf->page;
	memcpy(kf->pages + (1 - kf->page) * KF_PAGE,
		   kf->pages + kf->page * KF_PAGE, KF_PAGE);
	kf->settled = false;
	result = write_page(kf, first, err);
	if (result == KEYFILE_OK)
		result = settle(kf, 1 - first, err);
	if (result == KEYFILE_OK)
		result = clear_tail(kf, err);
	if (result != KEYFILE_OK)
		return result;
	kf->one_valid = false;

	leftover = kf_new_path(kf->path);
	if (leftover == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	result = kf_discard(leftover, err);
	free(leftover);
	return result;
}

/* Room for this many more records, in steps that make it rarely needed. */
static KeyfileResult
reserve_records(Keyfile *kf, uint64_t records, KeyfileError *err)
{
	struct stat st;
	int64_t		wanted;
	KeyfileResult result;

	result = begin(kf, err);
	if (result != KEYFILE_OK)
		return result;
	if (records >= KEYFILE_NO_RECORD - kf->header.info.records)
		return kf_error(err, KEYFILE_FULL);
	if (fstat(kf->fd, &st) != 0)
		return kf_errno(err, errno);
	wanted = kf_offset(kf->header.info.records + (uint32_t) records);
	if (wanted <= (int64_t) st.st_size)
		return KEYFILE_OK;
	wanted = (wanted + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP;
	return kf_zero(kf->fd, st.st_size, wanted, err);
}

KeyfileResult
keyfile_reserve_nodes(Keyfile *kf, const KeytreeNode *nodes, size_t count,
					  KeyfileError *err)
{
	uint64_t	records = 0;

	for (size_t i = 0; i < count; i++)
	{
		int			level = nodes[i].level;

		if (!keytree_valid(nodes[i]))
			return kf_error(err, KEYFILE_INVALID);
		if (nodes[i].tree == KEYTREE_SUBJECT && level == KEYTREE_SUBJECT_LEAF)
		{
			level--;
			records += KF_FAN;
		}
		/* a new record at each level where the way differs from the last */
		for (; level > 0; level--)
		{
			KeytreeNode parent = keytree_ancestor(nodes[i], level - 1);

			if (i > 0 && nodes[i - 1].level >= level &&
				keytree_covers(parent, nodes[i - 1]))
				break;
			records++;
		}
	}
	return reserve_records(kf, records, err);
}

static uint64_t
file_inode(const Keyfile *kf)
{
	struct stat st;

	return fstat(kf->fd, &st) == 0 ? (uint64_t) st.st_ino : 0;
}

bool
keyfile_is_copy(const Keyfile *kf)
{
	return kf->header.info.inode != 0 &&
		kf->header.info.inode != file_inode(kf);
}

KeyfileResult
keyfile_lease(Keyfile *kf, KeyfileLease *lease, KeyfileError *err)
{
	KfHeader	next;
	KeyfileInfo *info = &next.info;
	uint32_t	block;
	bool		changed;
	KeyfileResult result;

	lease->block = 0;
	result = begin(kf, err);
	if (result != KEYFILE_OK)
		return result;
	next = kf->header;
	changed = lease->take_block ||
		info->system_identifier != lease->system_identifier ||
		info->timeline != lease->timeline ||
		info->database != lease->database ||
		(lease->token_epoch != 0 && info->token_epoch != lease->token_epoch);
	block = info->next_block > lease->min_block ?
		info->next_block : lease->min_block;
	if (lease->take_block)
	{
		if (block >= KEYTREE_BLOCKS)
			return kf_error(err, KEYFILE_NO_NUMBERS);
		info->next_block = block + 1;
	}
	if (lease->token_epoch != 0)
	{
		if (lease->token_epoch < info->token_epoch ||
			lease->token_epoch >= KEYTREE_EPOCHS)
			return kf_error(err, KEYFILE_INVALID);
		info->token_epoch = lease->token_epoch;
	}
	info->system_identifier = lease->system_identifier;
	info->timeline = lease->timeline;
	info->database = lease->database;
	info->inode = file_inode(kf);
	if (!changed)
		return KEYFILE_OK;

	info->generation++;
	result = write_header(kf, &next, err);
	if (result == KEYFILE_OK)
		result = write_page(kf, 1 - kf->page, err);
	if (result != KEYFILE_OK)
		return result;
	kf->settled = true;
	if (lease->take_block)
		lease->block = block;
	return KEYFILE_OK;
}
