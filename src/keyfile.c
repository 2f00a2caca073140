/*
 * keyfile.c
 *		The keystore file: opening, reading, deriving.
 *
 * A read walks from the header's root down to the record that says "seed" or
 * "hole" and authenticates that record alone: tags are bound to the position
 * in the tree, so a wrong turn on the way ends at a record that does not
 * authenticate.  Records in the header's redo list override those on disk,
 * which may or may not have been overwritten yet.
 *
 * Nothing here writes.  Locking is the caller's; see keyfile.h.
 */
#include "keyfile_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* how often headers are read again when none is valid: a write may be on */
#define HEADER_READS	3

/* A failure of OpenSSL itself would look like damage: tell them apart. */
static bool
crypto_works(void)
{
	static const uint8_t key[CRYPTO_KEY_BYTES];
	uint8_t		out[32];

	return crypto_mac(key, key, sizeof(key), out) &&
		crypto_hmac(key, sizeof(key), key, sizeof(key), out);
}

KeyfileResult
kf_damaged(KeyfileError *err, uint32_t index, KeytreeNode position)
{
	if (!crypto_works())
		return kf_error(err, KEYFILE_NO_CRYPTO);
	kf_error(err, KEYFILE_DAMAGED);
	if (err != NULL)
	{
		err->record = index;
		err->node = kf_covered(position);
	}
	return KEYFILE_DAMAGED;
}

/* Without a KEK: could this page be a header? */
static KeyfileResult
judge_page(const uint8_t page[KF_PAGE], KeyfileError *err)
{
	uint32_t	version = (uint32_t) kf_get(page + KF_MAGIC_BYTES, 4);

	if (memcmp(page, KF_MAGIC, KF_MAGIC_BYTES) != 0)
		return kf_error(err, KEYFILE_BAD_MAGIC);
	if (version != KF_VERSION)
	{
		kf_error(err, KEYFILE_BAD_VERSION);
		if (err != NULL)
			err->version = version;
		return KEYFILE_BAD_VERSION;
	}
	return KEYFILE_OK;
}

/* Both pages, where the file is long enough to have them. */
static KeyfileResult
read_pages(int fd, uint8_t pages[KF_HEADER_BYTES], KeyfileError *err)
{
	size_t		got;
	KeyfileResult result = kf_read(fd, 0, pages, KF_HEADER_BYTES, &got, err);

	if (result == KEYFILE_OK && got < KF_HEADER_BYTES)
	{
		if (got >= KF_MAGIC_BYTES &&
			memcmp(pages, KF_MAGIC, KF_MAGIC_BYTES) != 0)
			return kf_error(err, KEYFILE_BAD_MAGIC);
		return kf_error(err, KEYFILE_TRUNCATED);
	}
	return result;
}

KeyfileResult
keyfile_peek(const char *path, KeyfileInfo *info, KeyfileError *err)
{
	uint8_t		pages[KF_HEADER_BYTES];
	struct stat st;
	KeyfileResult result;
	bool		found = false;
	int			fd;

	kf_error(err, KEYFILE_OK);
	memset(info, 0, sizeof(*info));
	result = kf_open_file(path, O_RDONLY, &fd, &st, err);
	if (result != KEYFILE_OK)
		return result;
	result = read_pages(fd, pages, err);
	close(fd);
	if (result != KEYFILE_OK)
		return result;
	for (int i = 0; i < KF_HEADERS; i++)
	{
		KfHeader	header;
		KeyfileError problem;
		KeyfileResult judged = judge_page(pages + i * KF_PAGE, &problem);

		if (judged != KEYFILE_OK)
		{
			/* a version says more than no magic */
			if (result == KEYFILE_OK || judged == KEYFILE_BAD_VERSION)
			{
				result = judged;
				if (err != NULL)
					*err = problem;
			}
			continue;
		}
		kf_decode_header(pages + i * KF_PAGE, &header);
		if (!found || header.info.generation > info->generation)
			*info = header.info;
		found = true;
	}
	if (!found)
		return result;
	info->bytes = (uint64_t) st.st_size;
	return kf_error(err, KEYFILE_OK);
}

/*
 * Take the valid header with the highest generation from kf->pages.  False:
 * there is none.
 */
static bool
choose_header(Keyfile *kf)
{
	bool		valid[KF_HEADERS];
	uint64_t	generation[KF_HEADERS] = {0, 0};
	KfHeader	header;

	for (int i = 0; i < KF_HEADERS; i++)
	{
		valid[i] = kf_check_header(&kf->keys, kf->pages + i * KF_PAGE);
		if (valid[i])
		{
			kf_decode_header(kf->pages + i * KF_PAGE, &header);
			generation[i] = header.info.generation;
		}
	}
	if (!valid[0] && !valid[1])
		return false;
	kf->page = valid[1] && generation[1] > generation[0] ? 1 : 0;
	if (!valid[kf->page])
		kf->page = 1 - kf->page;
	kf->one_valid = !valid[0] || !valid[1];
	kf->settled = memcmp(kf->pages, kf->pages + KF_PAGE, KF_PAGE) == 0;
	kf_decode_header(kf->pages + kf->page * KF_PAGE, &kf->header);
	return true;
}

/* Does anything in the headers authenticate under these keys? */
static bool
roots_authenticate(const KfKeys *keys, const uint8_t pages[KF_HEADER_BYTES])
{
	for (int i = 0; i < KF_HEADERS; i++)
	{
		KfHeader	header;

		kf_decode_header(pages + i * KF_PAGE, &header);
		for (int tree = 1; tree <= KF_TREES; tree++)
			if (kf_check_record(keys, kf_root_position(tree),
								header.root[tree - 1]))
				return true;
	}
	return false;
}

/* Is the file as long as its header says? */
static KeyfileResult
check_length(const Keyfile *kf, KeyfileError *err)
{
	struct stat st;

	if (fstat(kf->fd, &st) != 0)
		return kf_errno(err, errno);
	if ((int64_t) st.st_size < kf_offset(kf->header.info.records))
		return kf_error(err, KEYFILE_TRUNCATED);
	return KEYFILE_OK;
}

/* Read the headers with the keys that the handle has. */
KeyfileResult
kf_read_headers(Keyfile *kf, KeyfileError *err)
{
	for (int attempt = 0; attempt < HEADER_READS; attempt++)
	{
		KeyfileResult result = read_pages(kf->fd, kf->pages, err);

		if (result != KEYFILE_OK)
			return result;
		if (choose_header(kf))
			return check_length(kf, err);
	}
	return kf_error(err, crypto_works() ? KEYFILE_DAMAGED_HEADER :
					KEYFILE_NO_CRYPTO);
}

/*
 * What one page says before its KEK is known; OK makes it worth asking for
 * that KEK.
 */
static KeyfileResult
judge_identity(const uint8_t page[KF_PAGE], const uint8_t *uuid,
			   KfHeader *header, KeyfileError *err)
{
	KeyfileResult result = judge_page(page, err);

	if (result != KEYFILE_OK)
		return result;
	kf_decode_header(page, header);
	if (uuid != NULL &&
		memcmp(uuid, header->info.uuid, KEYFILE_UUID_BYTES) != 0)
	{
		kf_error(err, KEYFILE_FOREIGN);
		if (err != NULL)
			memcpy(err->uuid, header->info.uuid, KEYFILE_UUID_BYTES);
		return KEYFILE_FOREIGN;
	}
	return KEYFILE_OK;
}

/*
 * One page's KEK: fetch it, make the keys, try the headers.  Leaves the most
 * telling failure in *result and *err.
 */
static bool
try_kek(Keyfile *kf, const KfHeader *header, KeyfileKekGetter get_kek,
		void *arg, KeyfileResult *result, KeyfileError *err)
{
	uint8_t		kek[CRYPTO_KEY_BYTES];
	KeyfileResult failure;
	bool		ok;

	if (!get_kek(arg, header->info.kek_version, kek))
		failure = KEYFILE_NO_KEK;
	else
	{
		ok = kf_make_keys(header->info.uuid, header->info.kek_version, kek,
						  &kf->keys);
		crypto_wipe(kek, sizeof(kek));
		if (ok && choose_header(kf))
			return true;
		if (!ok || !crypto_works())
			failure = KEYFILE_NO_CRYPTO;
		else if (roots_authenticate(&kf->keys, kf->pages))
			failure = KEYFILE_DAMAGED_HEADER;
		else
			failure = KEYFILE_WRONG_KEK;
	}
	if (*result < failure)
	{
		*result = kf_error(err, failure);
		if (err != NULL && failure != KEYFILE_NO_CRYPTO)
			err->version = header->info.kek_version;
	}
	return false;
}

/*
 * Find the header that counts, and the keys with it.  Of several failures
 * the one that got furthest counts: KeyfileResult is in that order.
 */
static KeyfileResult
unlock(Keyfile *kf, const uint8_t *uuid, KeyfileKekGetter get_kek, void *arg,
	   KeyfileError *err)
{
	KfHeader	tried;
	int			tries = 0;
	KeyfileResult result = read_pages(kf->fd, kf->pages, err);

	if (result != KEYFILE_OK)
		return result;
	for (int i = 0; i < KF_HEADERS; i++)
	{
		KfHeader	header;
		KeyfileError problem;
		KeyfileResult judged = judge_identity(kf->pages + i * KF_PAGE,
											  uuid, &header, &problem);

		if (judged != KEYFILE_OK)
		{
			if (result < judged)
			{
				result = judged;
				if (err != NULL)
					*err = problem;
			}
			continue;
		}
		if (tries > 0 &&
			tried.info.kek_version == header.info.kek_version &&
			memcmp(tried.info.uuid, header.info.uuid,
				   KEYFILE_UUID_BYTES) == 0)
			continue;
		if (try_kek(kf, &header, get_kek, arg, &result, err))
			return kf_error(err, KEYFILE_OK);
		tried = header;
		tries++;
	}

	/* Both may have been caught while they were being written. */
	if (result == KEYFILE_DAMAGED_HEADER &&
		kf_read_headers(kf, NULL) == KEYFILE_OK)
		return kf_error(err, KEYFILE_OK);
	return result;
}

KeyfileResult
keyfile_open(const char *path, const uint8_t *uuid, uint64_t min_generation,
			 bool writable, KeyfileKekGetter get_kek, void *arg,
			 Keyfile **out, KeyfileError *err)
{
	Keyfile    *kf;
	struct stat st;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	*out = NULL;
	kf = kf_secret_alloc(sizeof(*kf));
	if (kf == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	kf->fd = -1;
	kf->writable = writable;
	kf->path = strdup(path);
	if (kf->path == NULL)
	{
		kf_secret_free(kf, sizeof(*kf));
		return kf_error(err, KEYFILE_NO_MEMORY);
	}
	result = kf_open_file(path, writable ? O_RDWR : O_RDONLY, &kf->fd, &st,
						  err);
	if (result == KEYFILE_OK)
		result = unlock(kf, uuid, get_kek, arg, err);
	if (result == KEYFILE_OK)
		result = check_length(kf, err);
	if (result == KEYFILE_OK && kf->header.info.generation < min_generation)
	{
		result = kf_error(err, KEYFILE_ROLLED_BACK);
		if (err != NULL)
			err->generation = kf->header.info.generation;
	}
	if (result != KEYFILE_OK)
	{
		keyfile_close(kf);
		return result;
	}
	*out = kf;
	return KEYFILE_OK;
}

void
keyfile_close(Keyfile *kf)
{
	if (kf == NULL)
		return;
	keyfile_drop_cache(kf);
	free(kf->cache);
	free(kf->path);
	if (kf->fd >= 0)
		close(kf->fd);
	kf_secret_free(kf, sizeof(*kf));
}

/* Unless OK, the handle keeps the header that it had. */
KeyfileResult
keyfile_refresh(Keyfile *kf, KeyfileError *err)
{
	KfHeader	before = kf->header;
	struct stat st;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	if (fstat(kf->fd, &st) != 0)
		return kf_errno(err, errno);
	if (st.st_nlink == 0)
		return kf_error(err, KEYFILE_REPLACED);
	result = kf_read_headers(kf, err);
	if (result == KEYFILE_OK &&
		kf->header.info.generation < before.info.generation)
	{
		result = kf_error(err, KEYFILE_ROLLED_BACK);
		if (err != NULL)
			err->generation = kf->header.info.generation;
	}
	if (result != KEYFILE_OK)
		kf->header = before;
	else if (kf->header.info.generation != before.info.generation)
		keyfile_drop_cache(kf);
	return result;
}

void
keyfile_drop_cache(Keyfile *kf)
{
	for (uint32_t i = 0; kf->cached > 0 && i < KF_CACHE_SLOTS; i++)
	{
		if (kf->cache[i].number == 0)
			continue;
		crypto_wipe(&kf->cache[i], sizeof(kf->cache[i]));
		kf->cached--;
	}
}

uint64_t
keyfile_generation(const Keyfile *kf)
{
	return kf->header.info.generation;
}

void
keyfile_info(const Keyfile *kf, KeyfileInfo *info)
{
	struct stat st;

	*info = kf->header.info;
	if (fstat(kf->fd, &st) == 0)
		info->bytes = (uint64_t) st.st_size;
}

/* The header's redo entry for a record, NULL if it has none. */
static const uint8_t *
redo_entry(const KfHeader *header, uint32_t index)
{
	for (uint32_t i = 0; i < header->info.redo; i++)
		if (header->redo_index[i] == index)
			return header->redo_record[i];
	return NULL;
}

/* A page of the record area, as the header has it, into the cache. */
static KeyfileResult
load_page(Keyfile *kf, uint32_t number, KfCachePage *slot, KeyfileError *err)
{
	uint32_t	first = number * (KF_PAGE / KF_RECORD);
	KeyfileResult result;
	size_t		got;

	if (slot->number == 0)
		kf->cached++;
	slot->number = number + 1;
	slot->length = 0;
	result = kf_read(kf->fd, kf_offset(first), slot->data, KF_PAGE, &got, err);
	if (result != KEYFILE_OK)
	{
		slot->number = 0;
		kf->cached--;
		return result;
	}
	slot->length = (uint32_t) got;
	for (uint32_t i = 0; i < kf->header.info.redo; i++)
	{
		uint32_t	within = (kf->header.redo_index[i] - first) * KF_RECORD;

		if (kf->header.redo_index[i] >= first &&
			kf->header.redo_index[i] - first < KF_PAGE / KF_RECORD &&
			within + KF_RECORD <= got)
			memcpy(slot->data + within, kf->header.redo_record[i], KF_RECORD);
	}
	return KEYFILE_OK;
}

/*
 * A record as the header has it: from the redo list, the cache or the disk.
 * Not authenticated.
 */
KeyfileResult
kf_read_record(Keyfile *kf, uint32_t index, uint8_t bytes[KF_RECORD],
			   KeyfileError *err)
{
	uint32_t	number = index / (KF_PAGE / KF_RECORD);
	uint32_t	within = index % (KF_PAGE / KF_RECORD) * KF_RECORD;
	const uint8_t *from;
	KfCachePage *slot;
	KeyfileResult result;

	if (kf->cache == NULL)
		kf->cache = calloc(KF_CACHE_SLOTS, sizeof(KfCachePage));
	if (kf->cache == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	slot = &kf->cache[number % KF_CACHE_SLOTS];
	if (slot->number != number + 1)
	{
		result = load_page(kf, number, slot, err);
		if (result != KEYFILE_OK)
			return result;
	}
	from = slot->data + within;
	if (within + KF_RECORD > slot->length &&
		(from = redo_entry(&kf->header, index)) == NULL)
		return kf_error(err, KEYFILE_TRUNCATED);
	memcpy(bytes, from, KF_RECORD);
	return KEYFILE_OK;
}

/*
 * The record at an index for a position, from the plan if it has changed
 * there, decoded, into *step.  DAMAGED if no such record can be there; tags are not
 * looked at.
 */
KeyfileResult
kf_load(Keyfile *kf, KfPlan *plan, uint32_t index, KeytreeNode position,
		KfStep *step, KeyfileError *err)
{
	const KfHeader *header = plan != NULL ? &plan->next : &kf->header;
	KeyfileResult result;

	step->index = index;
	step->node = position;
	if (index == KEYFILE_NO_RECORD)
		memcpy(step->bytes, header->root[position.tree - 1], KF_RECORD);
	else if (index >= header->info.records)
		return kf_damaged(err, index, position);
	else if (plan == NULL || !kf_plan_record(kf, plan, index, step->bytes))
	{
		result = kf_read_record(kf, index, step->bytes, err);
		if (result != KEYFILE_OK)
			return result;
	}
	if (!kf_decode_record(step->bytes, position, &step->record))
		return kf_damaged(err, index, position);
	return KEYFILE_OK;
}

KeyfileResult
kf_load_checked(Keyfile *kf, KfPlan *plan, uint32_t index,
				KeytreeNode position, KfStep *step, KeyfileError *err)
{
	KeyfileResult result = kf_load(kf, plan, index, position, step, err);

	if (result == KEYFILE_OK &&
		!kf_check_record(&kf->keys, position, step->bytes))
		return kf_damaged(err, index, position);
	return result;
}

/* Shortens a route to the records that lead towards node, too. */
static void
rewind_route(KfRoute *route, KeytreeNode node)
{
	int			kept = 0;

	while (kept < route->length &&
		   (route->step[kept].node.level == KF_ROOT_LEVEL ?
			route->step[kept].node.tree == node.tree :
			keytree_covers(route->step[kept].node, node)))
		kept++;
	route->length = kept;
}

/*
 * The way from the root towards node, without tags.  Ends where the last
 * record says hole or seed, or at the inner node that was asked for.  The
 * records that are in the route already are taken as they are.
 */
static KeyfileResult
follow(Keyfile *kf, KfPlan *plan, KeytreeNode node, KfRoute *route,
	   KeyfileError *err)
{
	KeytreeNode position = kf_root_position(node.tree);
	uint32_t	index = KEYFILE_NO_RECORD;
	bool		known = route->length > 0;

	if (known)
		position = route->step[--route->length].node;
	route->state = KF_HOLE;
	for (;;)
	{
		KfStep	   *step = &route->step[route->length];
		const KfRecord *record = &step->record;

		route->length++;
		if (!known)
		{
			KeyfileResult result = kf_load(kf, plan, index, position, step,
										   err);

			if (result != KEYFILE_OK)
				return result;
		}
		known = false;

		if (record->kind == KF_FAN_NODE)
		{
			/* the node asked for is a leaf, or we had ended above */
			position = node;
			index = record->index[0] + (uint32_t) keytree_index(node);
			continue;
		}
		route->slot = 0;
		if (position.level == KF_ROOT_LEVEL)
			route->at = keytree_ancestor(node, 0);
		else if (record->kind == KF_FAN_LEAF)
			route->at = node;
		else
		{
			route->at = keytree_ancestor(node, position.level + 1);
			route->slot = (int) (route->at.path & 1);
		}
		route->state = (KfState) record->state[route->slot];
		if (route->state != KF_INNER || route->at.level == node.level)
			return KEYFILE_OK;
		position = route->at;
		index = record->index[route->slot];
	}
}

/* kf_walk() from the last record of a route on; of length 0: from the root */
static KeyfileResult
walk_on(Keyfile *kf, KfPlan *plan, KeytreeNode node, KfRoute *route,
		KeyfileError *err)
{
	KeyfileResult result = follow(kf, plan, node, route, err);
	int			last = route->length - 1;

	if (result != KEYFILE_OK && result != KEYFILE_DAMAGED)
		return result;
	if (result == KEYFILE_OK && plan == NULL &&
		kf_check_record(&kf->keys, route->step[last].node,
						route->step[last].bytes))
		return KEYFILE_OK;

	/* Which record is it?  If follow() failed, one that led to the last. */
	for (int i = 0; i <= last; i++)
		if ((i < last || result == KEYFILE_OK) &&
			!kf_check_record(&kf->keys, route->step[i].node,
							 route->step[i].bytes))
			return kf_damaged(err, route->step[i].index,
							  route->step[i].node);
	return result;
}

/*
 * Find out what the tree says about node.  A reader (no plan) authenticates
 * the last record, a writer all of them, because it gives them new tags.
 */
KeyfileResult
kf_walk(Keyfile *kf, KfPlan *plan, KeytreeNode node, KfRoute *route,
		KeyfileError *err)
{
	route->length = 0;
	return walk_on(kf, plan, node, route, err);
}

KeyfileResult
keyfile_find(Keyfile *kf, KeytreeNode node, KeytreeSeed *seed,
			 KeyfileError *err)
{
	KfRoute		route;
	const KfStep *last;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	memset(seed, 0, sizeof(*seed));
	if (!keytree_valid(node))
		return kf_error(err, KEYFILE_INVALID);
	result = kf_walk(kf, NULL, node, &route, err);
	if (result != KEYFILE_OK)
		return result;
	if (route.state != KF_SEED)
		return kf_error(err, KEYFILE_PUNCTURED);
	last = &route.step[route.length - 1];
	if (!crypto_unwrap(kf->keys.wrap, last->record.wrapped, seed->seed))
		return kf_damaged(err, last->index, last->node);
	seed->node = route.at;
	return KEYFILE_OK;
}

/* The seed of one node. */
static KeyfileResult
find_node(Keyfile *kf, KeytreeNode node, uint8_t out[CRYPTO_KEY_BYTES],
		  KeyfileError *err)
{
	KeytreeSeed seed;
	KeyfileResult result = keyfile_find(kf, node, &seed, err);

	if (result == KEYFILE_OK && !keytree_descend(&seed, node, out))
		result = kf_error(err, KEYFILE_NO_CRYPTO);
	crypto_wipe(&seed, sizeof(seed));
	return result;
}

KeyfileResult
keyfile_derive(Keyfile *kf, uint64_t number, int category, int month,
			   uint8_t key[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	KeytreeNode node = keytree_subject(number, category);
	uint8_t		subject[CRYPTO_KEY_BYTES];
	uint8_t		expiry[CRYPTO_KEY_BYTES];
	KeyfileResult result;

	memset(key, 0, CRYPTO_KEY_BYTES);
	if (category == KEYTREE_ALL_CATEGORIES)
		return kf_error(err, KEYFILE_INVALID);
	result = find_node(kf, node, subject, err);
	if (result == KEYFILE_OK)
		result = find_node(kf, keytree_expiry(category, month), expiry, err);
	if (result == KEYFILE_OK &&
		!keytree_segment_key(subject, expiry, number, category, month, key))
	{
		memset(key, 0, CRYPTO_KEY_BYTES);
		result = kf_error(err, KEYFILE_NO_CRYPTO);
	}
	crypto_wipe(subject, sizeof(subject));
	crypto_wipe(expiry, sizeof(expiry));
	return result;
}

KeyfileResult
keyfile_token_key(Keyfile *kf, uint32_t epoch, uint32_t domain,
				  uint8_t key[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	uint8_t		leaf[CRYPTO_KEY_BYTES];
	KeyfileResult result;

	memset(key, 0, CRYPTO_KEY_BYTES);
	if (epoch == 0 || epoch >= KEYTREE_EPOCHS)
		return kf_error(err, KEYFILE_INVALID);
	result = find_node(kf, keytree_subject(epoch, 0), leaf, err);
	if (result == KEYFILE_OK && !keytree_token_key(leaf, domain, key))
	{
		memset(key, 0, CRYPTO_KEY_BYTES);
		result = kf_error(err, KEYFILE_NO_CRYPTO);
	}
	crypto_wipe(leaf, sizeof(leaf));
	return result;
}

/* keyfile_living() by a route that may have been another number's */
static KeyfileResult
living(Keyfile *kf, uint64_t number, KfRoute *route, uint16_t *mask,
	   KeyfileError *err)
{
	KeytreeNode node = keytree_subject(number, KEYTREE_ALL_CATEGORIES);
	KfStep		step;
	KeyfileResult result;
	uint32_t	first;

	kf_error(err, KEYFILE_OK);
	*mask = 0;
	if (!keytree_valid(node))
		return kf_error(err, KEYFILE_INVALID);
	rewind_route(route, node);
	result = walk_on(kf, NULL, node, route, err);
	if (result != KEYFILE_OK)
		return result;
	if (route->state != KF_INNER)
	{
		*mask = route->state == KF_SEED ? 0xFFFF : 0;
		return KEYFILE_OK;
	}
	result = kf_load_checked(kf, NULL,
							 route->step[route->length - 1].record.index[route->slot],
							 node, &step, err);
	first = step.record.index[0];
	for (int c = 0; result == KEYFILE_OK && c < KEYTREE_CATEGORIES; c++)
	{
		result = kf_load_checked(kf, NULL, first + (uint32_t) c,
								 keytree_child_node(node, c), &step, err);
		if (result == KEYFILE_OK && step.record.state[0] == KF_SEED)
			*mask |= (uint16_t) (1 << c);
	}
	if (result != KEYFILE_OK)
		*mask = 0;
	return result;
}

KeyfileResult
keyfile_living(Keyfile *kf, uint64_t number, uint16_t *mask,
			   KeyfileError *err)
{
	KfRoute		route;

	route.length = 0;
	return living(kf, number, &route, mask, err);
}

/* The same of any node of the tree of months: may something below it live? */
static KeyfileResult
month_living(Keyfile *kf, KeytreeNode node, KfRoute *route, uint16_t *mask,
			 KeyfileError *err)
{
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	rewind_route(route, node);
	result = walk_on(kf, NULL, node, route, err);
	*mask = result == KEYFILE_OK && route->state != KF_HOLE ? 0xFFFF : 0;
	return result;
}

KeyfileResult
keyfile_keep_living(Keyfile *kf, KeytreeNode *nodes, size_t *count,
					KeyfileError *err)
{
	size_t		kept = 0;
	KfRoute		route;

	kf_error(err, KEYFILE_OK);
	route.length = 0;
	for (size_t i = 0; i < *count; i++)
	{
		KeytreeNode node = nodes[i];
		bool		month = node.tree == KEYTREE_EXPIRY;
		bool		whole = month || node.level == KEYTREE_NUMBER_LEVEL;
		uint16_t	mask;
		KeyfileResult result = month ?
			month_living(kf, node, &route, &mask, err) :
			living(kf, whole ? node.path : node.path / KEYTREE_CATEGORIES,
				   &route, &mask, err);

		if (result != KEYFILE_OK)
		{
			route.length = 0;
			if (result != KEYFILE_PUNCTURED && result != KEYFILE_DAMAGED)
				return result;
			continue;
		}
		if (!whole)
			mask &= (uint16_t) (1 << node.path % KEYTREE_CATEGORIES);
		if (mask != 0)
			nodes[kept++] = node;
	}
	*count = kept;
	return KEYFILE_OK;
}
