/*
 * keystore_derive.c
 *		Keys, and this backend's caches of them.
 *
 * Consecutive subjects share almost all of their path, so the seeds along
 * the last subject's path are kept; behind it, direct-mapped caches of inner
 * nodes, of numbers and of the keys themselves.  What a cached seed covers
 * lives: a puncture moves the generation, which empties the caches.
 *
 * The caches are one mapping of about 700 kB (only what is used takes
 * memory), left out of core dumps and locked where the system allows.  They
 * are wiped when the generation moves, at exit, and by a timeout when no key
 * was asked for during IDLE_MS: also while the backend waits for its client,
 * so the wiping runs in the signal handler.  It does nothing but overwrite,
 * and not while the caches are in use ("busy").  One key, the last one used,
 * remains in each OpenSSL context until its next use: freeing them is not
 * for a signal handler.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/mman.h>

#include "port/pg_bitutils.h"
#include "utils/timeout.h"

#include "crypto.h"
#include "errors.h"
#include "keystore_internal.h"

#define IDLE_MS				5000
#define INNER_LEVELS		3
#define LEAF_SLOTS			4096
#define EXPIRY_SLOTS		256
#define TOKEN_SLOTS			64

/* key 0 is an empty slot: what is cached is stored with its key + 1 */
typedef struct CachedKey
{
	uint64		key;
	uint8		bytes[CRYPTO_KEY_BYTES];
} CachedKey;

/* levels and sizes of the caches of inner nodes, deepest first */
static const int inner_level[INNER_LEVELS] = {40, 32, 24};

#define INNER_SLOTS_40		4096
#define INNER_SLOTS_32		4096
#define INNER_SLOTS_24		512

typedef struct KeyCaches
{
	uint64		generation;		/* of everything below; 0: empty */

	/* the path of the last subject: levels path_top ... 40 */
	uint64		path_number;	/* 0: none */
	int			path_top;
	uint8		path[KEYTREE_NUMBER_LEVEL + 1][CRYPTO_KEY_BYTES];
	uint8		sibling[KEYTREE_NUMBER_LEVEL + 1][CRYPTO_KEY_BYTES];	/* below path_top */

	CachedKey	inner40[INNER_SLOTS_40];
	CachedKey	inner32[INNER_SLOTS_32];
	CachedKey	inner24[INNER_SLOTS_24];
	CachedKey	expiry[EXPIRY_SLOTS];
	CachedKey	token[TOKEN_SLOTS];
	CachedKey	leaf[LEAF_SLOTS];
} KeyCaches;

static KeyCaches *caches = NULL;
static volatile sig_atomic_t busy = 0;
static volatile sig_atomic_t used = 0;	/* since the timeout was armed */
static volatile sig_atomic_t filled = 0;
static bool idle_registered = false;
static TimeoutId idle_timeout;

static void
wipe_idle_caches(void)
{
	if (caches == NULL || !filled)
		return;
	if (busy || used)
	{
		used = 0;
		enable_timeout_after(idle_timeout, IDLE_MS);
		return;
	}
	crypto_wipe(caches, sizeof(KeyCaches));
	filled = 0;
}

/* Wipes everything that this backend derived. */
void
keystore_cache_wipe(void)
{
	if (caches != NULL && filled)
	{
		busy = 1;
		crypto_wipe(caches, sizeof(KeyCaches));
		filled = 0;
		busy = 0;
	}
	crypto_forget();
}

/*
 * An error at top level disables all timeouts; so does nothing else.  Called
 * when a transaction ends.
 */
void
keystore_cache_rearm(void)
{
	if (filled && idle_registered && !get_timeout_active(idle_timeout))
		enable_timeout_after(idle_timeout, IDLE_MS);
}

bool
keystore_cache_filled(void)
{
	return filled != 0;
}

static void
make_caches(void)
{
	void	   *mapping = mmap(NULL, sizeof(KeyCaches), PROT_READ | PROT_WRITE,
							   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mapping == MAP_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map memory for keys: %m")));
#ifdef MADV_DONTDUMP
	(void) madvise(mapping, sizeof(KeyCaches), MADV_DONTDUMP);
#endif
#if defined(MLOCK_ONFAULT)
	(void) mlock2(mapping, sizeof(KeyCaches), MLOCK_ONFAULT);
#endif
	caches = mapping;
	idle_timeout = RegisterTimeout(USER_TIMEOUT, wipe_idle_caches);
	idle_registered = true;
}

/*
 * Brings the caches to the current generation and marks them busy, until
 * leave_caches().
 */
static void
enter_caches(void)
{
	uint64		generation;

	keystore_attach();
	if (unlikely(caches == NULL))
		make_caches();
	generation = keystore_generation();
	busy = 1;
	used = 1;
	if (unlikely(caches->generation != generation))
	{
		crypto_wipe(caches, sizeof(KeyCaches));
		caches->generation = generation;
	}
	if (unlikely(!filled))
	{
		filled = 1;
		if (!get_timeout_active(idle_timeout))
			enable_timeout_after(idle_timeout, IDLE_MS);
	}
}

static inline void
leave_caches(void)
{
	busy = 0;
}

static CachedKey *
inner_slot(int which, uint64 prefix)
{
	switch (which)
	{
		case 0:
			return &caches->inner40[prefix % INNER_SLOTS_40];
		case 1:
			return &caches->inner32[prefix % INNER_SLOTS_32];
		default:
			return &caches->inner24[prefix % INNER_SLOTS_24];
	}
}

static inline bool
cached(const CachedKey *slot, uint64 key)
{
	return slot->key == key + 1;
}

static inline void
keep(CachedKey *slot, uint64 key, const uint8 *bytes)
{
	memcpy(slot->bytes, bytes, CRYPTO_KEY_BYTES);
	slot->key = key + 1;
}

static inline uint64
number_prefix(uint64 number, int level)
{
	return number >> (KEYTREE_NUMBER_LEVEL - level);
}

/*
 * The level at which the path cache holds a seed above number, after loading
 * it with the best one in memory; -1: there is none.
 */
static int
start_level(uint64 number)
{
	int			shared = -1;
	int			i;

	if (caches->path_number != 0)
	{
		uint64		differ = caches->path_number ^ number;

		caches->path_number = 0;	/* until walk_down() is through */
		shared = KEYTREE_NUMBER_LEVEL;
		if (differ != 0)
			shared -= pg_leftmost_one_pos64(differ) + 1;
		if (shared < caches->path_top)
			shared = -1;
		else if (differ != 0)
		{
			uint8		other[CRYPTO_KEY_BYTES];

			/* one step further the paths part: there, the sibling is known */
			shared++;
			memcpy(other, caches->sibling[shared], CRYPTO_KEY_BYTES);
			memcpy(caches->sibling[shared], caches->path[shared], CRYPTO_KEY_BYTES);
			memcpy(caches->path[shared], other, CRYPTO_KEY_BYTES);
			crypto_wipe(other, sizeof(other));
		}
	}
	for (i = 0; i < INNER_LEVELS && inner_level[i] > shared; i++)
	{
		uint64		prefix = number_prefix(number, inner_level[i]);
		CachedKey  *slot = inner_slot(i, prefix);

		if (cached(slot, prefix))
		{
			memcpy(caches->path[inner_level[i]], slot->bytes, CRYPTO_KEY_BYTES);
			caches->path_top = inner_level[i];
			return inner_level[i];
		}
	}
	return shared;
}

/* Fills the path from a level down to the number itself. */
static bool
walk_down(uint64 number, int level)
{
	int			i;

	for (; level < KEYTREE_NUMBER_LEVEL; level++)
		if (!keytree_children(caches->path[level], KEYTREE_SUBJECT, level,
							  (int) (number >> (KEYTREE_NUMBER_LEVEL - 1 - level)) & 1,
							  caches->path[level + 1], caches->sibling[level + 1]))
			return false;
	caches->path_number = number;
	for (i = 0; i < INNER_LEVELS; i++)
		if (inner_level[i] >= caches->path_top)
		{
			uint64		prefix = number_prefix(number, inner_level[i]);

			keep(inner_slot(i, prefix), prefix, caches->path[inner_level[i]]);
		}
	return true;
}

static KeyfileResult
find_seed(KeytreeNode node, KeytreeSeed *seed, KeyfileError *err)
{
	KeyfileResult result;

	keystore_begin_read();
	if (unlikely(keystore_denied(keystore_session.entry, node)))
		result = KEYFILE_PUNCTURED;
	else
		result = keyfile_find(keystore_session.file, node, seed, err);
	if (result == KEYFILE_DAMAGED)
	{
		keyfile_drop_cache(keystore_session.file);
		result = keyfile_find(keystore_session.file, node, seed, err);
	}
	keystore_end_read();
	return result;
}

/* The leaf of a number and category. */
static KeyfileResult
subject_leaf(uint64 number, int category, uint8 leaf[CRYPTO_KEY_BYTES],
			 KeyfileError *err)
{
	int			level = start_level(number);

	if (level < 0)
	{
		KeytreeSeed seed;
		KeyfileResult result = find_seed(keytree_subject(number, category),
										 &seed, err);

		if (result != KEYFILE_OK)
			return result;
		level = seed.node.level;
		if (level <= KEYTREE_NUMBER_LEVEL)
		{
			memcpy(caches->path[level], seed.seed, CRYPTO_KEY_BYTES);
			caches->path_top = level;
		}
		else
			memcpy(leaf, seed.seed, CRYPTO_KEY_BYTES);
		crypto_wipe(&seed, sizeof(seed));
		if (level > KEYTREE_NUMBER_LEVEL)
			return KEYFILE_OK;
	}
	if (!walk_down(number, level) ||
		!keytree_child(caches->path[KEYTREE_NUMBER_LEVEL], KEYTREE_SUBJECT,
					   KEYTREE_NUMBER_LEVEL, category, leaf))
		return err->result = KEYFILE_NO_CRYPTO;
	return KEYFILE_OK;
}

static KeyfileResult
expiry_leaf(int category, int month, uint8 leaf[CRYPTO_KEY_BYTES],
			KeyfileError *err)
{
	KeytreeNode node = keytree_expiry(category, month);
	CachedKey  *slot = &caches->expiry[(node.path ^ (node.path >> 12) * 17) % EXPIRY_SLOTS];
	KeytreeSeed seed;
	KeyfileResult result;

	if (cached(slot, node.path))
	{
		memcpy(leaf, slot->bytes, CRYPTO_KEY_BYTES);
		return KEYFILE_OK;
	}
	result = find_seed(node, &seed, err);
	if (result != KEYFILE_OK)
		return result;
	if (keytree_descend(&seed, node, leaf))
		keep(slot, node.path, leaf);
	else
		result = err->result = KEYFILE_NO_CRYPTO;
	crypto_wipe(&seed, sizeof(seed));
	return result;
}

/* A denied number must not come from a cached seed above it. */
static bool
is_denied(KeytreeNode node)
{
	KeystoreEntry *entry = keystore_session.entry;
	bool		denied;

	if (likely(entry->ndenied == 0))
		return false;
	LWLockAcquire(entry->reader, LW_SHARED);
	denied = keystore_denied(entry, node);
	LWLockRelease(entry->reader);
	return denied;
}

static void
check_number(uint64 number)
{
	if (number == 0 || number > KEYTREE_MAX_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("subject number is out of range")));
}

/* Ends the use of the caches; false: punctured; raises what is an error. */
static bool
finish(KeyfileResult result, const KeyfileError *err)
{
	leave_caches();
	if (result == KEYFILE_OK)
		return true;
	if (result == KEYFILE_PUNCTURED)
		return false;
	keystore_report(ERROR, keystore_session.path, err);
	return false;
}

bool
keystore_derive(uint64 number, int category, int month,
				uint8 key[KEYSTORE_KEY_BYTES])
{
	uint64		name = (number << 16) | ((uint64) category << 12) | (uint64) month;
	uint8		subject[CRYPTO_KEY_BYTES];
	uint8		expiry[CRYPTO_KEY_BYTES];
	KeyfileError err = {0};
	KeyfileResult result;
	CachedKey  *slot;

	check_number(number);
	if (category < 0 || category >= KEYTREE_CATEGORIES ||
		month < 0 || month >= KEYTREE_MONTHS)
		elog(ERROR, "category %d or month %d is out of range", category, month);

	enter_caches();
	slot = &caches->leaf[(number * 31 + (uint64) category * 7 + (uint64) month) % LEAF_SLOTS];
	if (cached(slot, name))
	{
		memcpy(key, slot->bytes, CRYPTO_KEY_BYTES);
		leave_caches();
		return true;
	}

	PG_TRY();
	{
		result = is_denied(keytree_subject(number, category)) ?
			KEYFILE_PUNCTURED : subject_leaf(number, category, subject, &err);
		if (result == KEYFILE_OK)
			result = expiry_leaf(category, month, expiry, &err);
		if (result == KEYFILE_OK)
		{
			if (keytree_segment_key(subject, expiry, number, category, month, key))
				keep(slot, name, key);
			else
				result = err.result = KEYFILE_NO_CRYPTO;
		}
	}
	PG_CATCH();
	{
		leave_caches();
		crypto_wipe(subject, sizeof(subject));
		crypto_wipe(expiry, sizeof(expiry));
		PG_RE_THROW();
	}
	PG_END_TRY();
	crypto_wipe(subject, sizeof(subject));
	crypto_wipe(expiry, sizeof(expiry));
	return finish(result, &err);
}

bool
keystore_token_key(uint32 epoch, uint32 domain,
				   uint8 key[KEYSTORE_KEY_BYTES])
{
	uint64		name = (uint64) epoch << 32 | domain;
	uint8		leaf[CRYPTO_KEY_BYTES];
	KeyfileError err = {0};
	KeyfileResult result;
	CachedKey  *slot;

	if (epoch == 0 || epoch >= KEYTREE_EPOCHS)
		elog(ERROR, "token epoch %u is out of range", epoch);

	enter_caches();
	slot = &caches->token[(epoch * 7 + domain) % TOKEN_SLOTS];
	if (cached(slot, name))
	{
		memcpy(key, slot->bytes, CRYPTO_KEY_BYTES);
		leave_caches();
		return true;
	}

	PG_TRY();
	{
		result = is_denied(keytree_subject(epoch, 0)) ?
			KEYFILE_PUNCTURED : subject_leaf(epoch, 0, leaf, &err);
		if (result == KEYFILE_OK)
		{
			if (keytree_token_key(leaf, domain, key))
				keep(slot, name, key);
			else
				result = err.result = KEYFILE_NO_CRYPTO;
		}
	}
	PG_CATCH();
	{
		leave_caches();
		crypto_wipe(leaf, sizeof(leaf));
		PG_RE_THROW();
	}
	PG_END_TRY();
	crypto_wipe(leaf, sizeof(leaf));
	return finish(result, &err);
}

KeystoreLife
keystore_life(uint64 number)
{
	uint16		mask = 0;
	KeyfileError err = {0};
	KeyfileResult result;
	int			category;

	check_number(number);
	keystore_attach();
	keystore_begin_read();
	result = keyfile_living(keystore_session.file, number, &mask, &err);
	for (category = 0; keystore_session.entry->ndenied > 0 && category < KEYTREE_CATEGORIES; category++)
		if (keystore_denied(keystore_session.entry, keytree_subject(number, category)))
			mask &= ~(1 << category);
	keystore_end_read();
	if (result != KEYFILE_OK && result != KEYFILE_PUNCTURED)
		keystore_report(ERROR, keystore_session.path, &err);
	if (mask == 0)
		return KEYSTORE_FORGOTTEN;
	return mask == 0xFFFF ? KEYSTORE_LIVING : KEYSTORE_PARTLY_FORGOTTEN;
}
