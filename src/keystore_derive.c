/*
 * keystore_derive.c
 *		Keys, and this backend's caches of them.
 *
 * Consecutive subjects share almost all of their path, so the seeds along
 * the last subject's path are kept, each with its sibling, which comes with
 * it; behind it, direct-mapped caches of inner nodes and of the keys
 * themselves.  What a cached seed covers lives: a puncture moves the
 * generation, which empties the caches.
 *
 * The caches are one mapping of about 4 MB, of which only what is used takes
 * memory, left out of core dumps and locked where the system allows.  They
 * are wiped when the generation moves, at exit, and by a timeout when no key
 * was asked for during IDLE_MS: also while the backend waits for its client,
 * so the wiping runs in the signal handler.  It does nothing but overwrite,
 * and not while the caches are in use ("busy").  Some keys, the last ones
 * used, remain in each OpenSSL context until its next use: freeing them is
 * not for a signal handler.
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
#define INNER_LEVELS		4
#define LEAF_SLOTS			4096
#define EXPIRY_SLOTS		256
#define TOKEN_SLOTS			64
#define CACHE_PAGE			4096

/* key 0 is an empty slot: what is cached is stored with its key + 1 */
typedef struct CachedKey
{
	uint64		key;
	uint8		bytes[CRYPTO_KEY_BYTES];
} CachedKey;

/* levels and sizes of the caches of inner nodes, deepest first */
static const int inner_level[INNER_LEVELS] = {36, 34, 32, 24};

#define INNER_SLOTS_36		65536
#define INNER_SLOTS_34		16384
#define INNER_SLOTS_32		8192
#define INNER_SLOTS_24		512

typedef struct KeyCaches
{
	uint64		generation;		/* of everything below; 0: empty */

	/* the path of the last subject: its seed at level path_top */
	uint64		path_number;	/* 0: none */
	int			path_top;
	uint8		top[CRYPTO_KEY_BYTES];
	/* below path_top: the pair of children of which one is on the path */
	uint8		pair[KEYTREE_NUMBER_LEVEL + 1][2][CRYPTO_KEY_BYTES];

	/* its leaves, of some categories */
	uint16		leaves;			/* a bit for each that is here */
	uint16		asked;			/* for each that was asked for */
	uint16		asked_before;	/* the same of the subject before */
	uint8		leaf[KEYTREE_CATEGORIES][CRYPTO_KEY_BYTES];
	uint8		lone_leaf[CRYPTO_KEY_BYTES];	/* of a subject partly punctured */
	uint8		expiry_leaf[CRYPTO_KEY_BYTES];	/* of the key being derived */

	/* a byte for each page below that was written to */
	uint8		touched[1024];

	CachedKey	expiry[EXPIRY_SLOTS];
	CachedKey	token[TOKEN_SLOTS];
	CachedKey	inner24[INNER_SLOTS_24];
	CachedKey	inner32[INNER_SLOTS_32];
	CachedKey	inner34[INNER_SLOTS_34];
	CachedKey	inner36[INNER_SLOTS_36];
	CachedKey	key[LEAF_SLOTS];
} KeyCaches;

#define SLOTS_START			offsetof(KeyCaches, expiry)

StaticAssertDecl((sizeof(KeyCaches) - SLOTS_START) / CACHE_PAGE < 1024,
				 "the caches have more pages than marks");

static KeyCaches *caches = NULL;
static volatile sig_atomic_t busy = 0;
static volatile sig_atomic_t used = 0;	/* since the timeout was armed */
static volatile sig_atomic_t filled = 0;
static bool idle_registered = false;
static TimeoutId idle_timeout;

/* Overwrites everything.  Also called in a signal handler. */
static void
wipe_caches(void)
{
	uint8	   *slots = (uint8 *) caches + SLOTS_START;
	size_t		size = sizeof(KeyCaches) - SLOTS_START;
	size_t		page;

	for (page = 0; page * CACHE_PAGE < size; page++)
		if (caches->touched[page])
			crypto_wipe(slots + page * CACHE_PAGE,
						Min(CACHE_PAGE, size - page * CACHE_PAGE));
	crypto_wipe(caches, SLOTS_START);
}

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
	wipe_caches();
	filled = 0;
}

/* Wipes everything that this backend derived. */
void
keystore_cache_wipe(void)
{
	if (caches != NULL && filled)
	{
		busy = 1;
		wipe_caches();
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
		wipe_caches();
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
			return &caches->inner36[prefix % INNER_SLOTS_36];
		case 1:
			return &caches->inner34[prefix % INNER_SLOTS_34];
		case 2:
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
	size_t		at = (uint8 *) slot - (uint8 *) caches - SLOTS_START;

	caches->touched[at / CACHE_PAGE] = 1;
	caches->touched[(at + sizeof(CachedKey) - 1) / CACHE_PAGE] = 1;
	memcpy(slot->bytes, bytes, CRYPTO_KEY_BYTES);
	slot->key = key + 1;
}

static inline uint64
number_prefix(uint64 number, int level)
{
	return number >> (KEYTREE_NUMBER_LEVEL - level);
}

/* The seed at a level, not above path_top, of the path of number. */
static inline uint8 *
path_seed(uint64 number, int level)
{
	return level == caches->path_top ? caches->top :
		caches->pair[level][number_prefix(number, level) & 1];
}

/*
 * The deepest level at which a seed above number is in memory: in *slot, or
 * (NULL) as part of the path; -1: there is none.
 */
static int
cached_level(uint64 number, const CachedKey **slot)
{
	int			start = -1;
	int			i;

	*slot = NULL;
	if (caches->path_number != 0)
	{
		uint64		differ = caches->path_number ^ number;

		/* one step after the paths part: there, the sibling is known */
		start = KEYTREE_NUMBER_LEVEL;
		if (differ != 0)
			start -= pg_leftmost_one_pos64(differ);
		if (start <= caches->path_top && differ != 0)
			start = -1;
	}
	for (i = 0; i < INNER_LEVELS && inner_level[i] > start; i++)
	{
		uint64		prefix = number_prefix(number, inner_level[i]);

		if (cached(inner_slot(i, prefix), prefix))
		{
			*slot = inner_slot(i, prefix);
			return inner_level[i];
		}
	}
	return start;
}

/* Fills the path from a level down to the number itself. */
static bool
walk_down(uint64 number, int level)
{
	int			inner = 0;

	while (inner < INNER_LEVELS && inner_level[INNER_LEVELS - 1 - inner] <= level)
		inner++;
	while (level < KEYTREE_NUMBER_LEVEL)
	{
		uint8		(*pair)[CRYPTO_KEY_BYTES] = caches->pair[level + 1];
		int			which = INNER_LEVELS - 1 - inner;

		if (!keytree_pair(path_seed(number, level), KEYTREE_SUBJECT, level, pair))
			return false;
		level++;
		if (which >= 0 && inner_level[which] == level)
		{
			uint64		left = number_prefix(number, level) & ~UINT64CONST(1);

			keep(inner_slot(which, left), left, pair[0]);
			keep(inner_slot(which, left + 1), left + 1, pair[1]);
			inner++;
		}
	}
	caches->path_number = number;
	return true;
}

/* From the file.  On error the caches are left. */
static KeyfileResult
find_seed(KeytreeNode node, KeytreeSeed *seed, KeyfileError *err)
{
	volatile KeyfileResult result = KEYFILE_OK;

	PG_TRY();
	{
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
	}
	PG_CATCH();
	{
		leave_caches();
		PG_RE_THROW();
	}
	PG_END_TRY();
	return result;
}

/* Makes number the last subject. */
static KeyfileResult
enter_path(uint64 number, int category, KeyfileError *err)
{
	const CachedKey *slot;
	int			level = cached_level(number, &slot);

	caches->path_number = 0;	/* until walk_down() is through */
	if (slot != NULL)
	{
		memcpy(caches->top, slot->bytes, CRYPTO_KEY_BYTES);
		caches->path_top = level;
	}
	caches->asked_before = caches->asked;
	caches->asked = 0;
	caches->leaves = 0;
	if (level < 0)
	{
		KeytreeSeed seed;
		KeyfileResult result = find_seed(keytree_subject(number, category),
										 &seed, err);
		uint8	   *to = caches->lone_leaf;

		if (result != KEYFILE_OK)
			return result;
		level = seed.node.level;
		if (level <= KEYTREE_NUMBER_LEVEL)
		{
			to = caches->top;
			caches->path_top = level;
		}
		memcpy(to, seed.seed, CRYPTO_KEY_BYTES);
		crypto_wipe(&seed, sizeof(seed));
		if (level > KEYTREE_NUMBER_LEVEL)
			return KEYFILE_OK;
	}
	return walk_down(number, level) ? KEYFILE_OK :
		(err->result = KEYFILE_NO_CRYPTO);
}

/*
 * The leaf of a number and category; *leaf points into the caches.  With it
 * come those of the categories that were asked for of the subject before: a
 * row is like the one before it, and they take no other key.
 */
static KeyfileResult
subject_leaf(uint64 number, int category, const uint8 **leaf,
			 KeyfileError *err)
{
	uint16		bit = (uint16) (1 << category);

	if (caches->path_number != number)
	{
		KeyfileResult result = enter_path(number, category, err);

		if (result != KEYFILE_OK)
			return result;
	}
	if (caches->path_number != number)
	{
		*leaf = caches->lone_leaf;
		return KEYFILE_OK;
	}
	caches->asked |= bit;
	if ((caches->leaves & bit) == 0)
	{
		uint16		more = (bit | caches->asked_before) & ~caches->leaves;

		if (!keytree_leaves(path_seed(number, KEYTREE_NUMBER_LEVEL), more,
							caches->leaf))
			return err->result = KEYFILE_NO_CRYPTO;
		caches->leaves |= more;
	}
	*leaf = caches->leaf[category];
	return KEYFILE_OK;
}

static KeyfileResult
expiry_leaf(int category, int month, const uint8 **leaf, KeyfileError *err)
{
	KeytreeNode node = keytree_expiry(category, month);
	CachedKey  *slot = &caches->expiry[(node.path ^ (node.path >> 12) * 17) % EXPIRY_SLOTS];
	KeytreeSeed seed;
	KeyfileResult result;

	*leaf = slot->bytes;
	if (cached(slot, node.path))
		return KEYFILE_OK;
	result = find_seed(node, &seed, err);
	if (result != KEYFILE_OK)
		return result;
	if (keytree_descend(&seed, node, caches->expiry_leaf))
		keep(slot, node.path, caches->expiry_leaf);
	else
		result = err->result = KEYFILE_NO_CRYPTO;
	crypto_wipe(caches->expiry_leaf, CRYPTO_KEY_BYTES);
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
	const uint8 *subject;
	const uint8 *expiry;
	KeyfileError err = {0};
	KeyfileResult result;
	CachedKey  *slot;

	check_number(number);
	if (category < 0 || category >= KEYTREE_CATEGORIES ||
		month < 0 || month >= KEYTREE_MONTHS)
		elog(ERROR, "category %d or month %d is out of range", category, month);

	enter_caches();
	slot = &caches->key[(number * 31 + (uint64) category * 7 + (uint64) month) % LEAF_SLOTS];
	if (cached(slot, name))
	{
		memcpy(key, slot->bytes, CRYPTO_KEY_BYTES);
		leave_caches();
		return true;
	}

	result = is_denied(keytree_expiry(category, month)) ?
		KEYFILE_PUNCTURED : expiry_leaf(category, month, &expiry, &err);
	if (result == KEYFILE_OK)
		result = is_denied(keytree_subject(number, category)) ?
			KEYFILE_PUNCTURED : subject_leaf(number, category, &subject, &err);
	if (result == KEYFILE_OK)
	{
		if (keytree_segment_key(subject, expiry, number, category, month, key))
			keep(slot, name, key);
		else
			result = err.result = KEYFILE_NO_CRYPTO;
	}
	return finish(result, &err);
}

bool
keystore_month_lives(int category, int month)
{
	KeytreeNode node = keytree_expiry(category, month);
	const uint8 *leaf;
	KeyfileError err = {0};

	if (!keytree_valid(node))
		elog(ERROR, "category %d or month %d is out of range", category, month);
	enter_caches();
	return finish(is_denied(node) ? KEYFILE_PUNCTURED :
				  expiry_leaf(category, month, &leaf, &err), &err);
}

bool
keystore_token_key(uint32 epoch, uint32 domain,
				   uint8 key[KEYSTORE_KEY_BYTES])
{
	uint64		name = (uint64) epoch << 32 | domain;
	const uint8 *leaf;
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

	result = is_denied(keytree_subject(epoch, 0)) ?
		KEYFILE_PUNCTURED : subject_leaf(epoch, 0, &leaf, &err);
	if (result == KEYFILE_OK)
	{
		if (keytree_token_key(leaf, domain, key))
			keep(slot, name, key);
		else
			result = err.result = KEYFILE_NO_CRYPTO;
	}
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

bool
keystore_is_forgotten(uint64 number)
{
	const CachedKey *slot;
	KeyfileError err = {0};
	KeyfileResult result = KEYFILE_OK;

	check_number(number);
	enter_caches();
	if (unlikely(keystore_session.entry->ndenied > 0))
		result = KEYFILE_PUNCTURED;
	else if (cached_level(number, &slot) < 0)
		result = enter_path(number, 0, &err);
	/* that may be the first category only, or a seed above one denied */
	return !finish(result, &err) &&
		keystore_life(number) == KEYSTORE_FORGOTTEN;
}
