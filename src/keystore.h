/*
 * keystore.h
 *		The running server's view of its keystores: shared state, caches and
 *		locks over keyfile.
 *
 * Everything here works on the keystore of the current database.  Functions
 * raise ERRCODE_GDPR_KEYSTORE_UNAVAILABLE or ERRCODE_GDPR_DAMAGED unless they
 * say otherwise.  Key buffers handed out belong to the caller, who wipes them
 * with crypto_wipe().
 */
#ifndef GDPR_KEYSTORE_H
#define GDPR_KEYSTORE_H

#include "postgres.h"

#include "utils/uuid.h"

#define KEYSTORE_KEY_BYTES		32
#define KEYSTORE_KEEP_BIT		(UINT64CONST(1) << 39)
#define KEYSTORE_FIRST_NUMBER	UINT64CONST(65536)
#define KEYSTORE_MAX_NUMBER		(KEYSTORE_KEEP_BIT - 1)
#define KEYSTORE_ALL_CATEGORIES (-1)

typedef enum KeystoreLife
{
	KEYSTORE_LIVING,			/* every category derives */
	KEYSTORE_PARTLY_FORGOTTEN,	/* some categories are punctured */
	KEYSTORE_FORGOTTEN			/* nothing derives */
} KeystoreLife;

/* Called once from _PG_init, under shared_preload_libraries. */
extern void keystore_init(void);

/* The key of a segment; false: punctured. */
extern bool keystore_derive(uint64 number, int category, int month,
							uint8 key[KEYSTORE_KEY_BYTES]);

/* The key of a token domain in an epoch; false: punctured. */
extern bool keystore_token_key(uint32 epoch, uint32 domain,
							   uint8 key[KEYSTORE_KEY_BYTES]);
extern uint32 keystore_token_epoch(void);

/* From now on a newer epoch; kept in the keystore at once. */
extern void keystore_set_token_epoch(uint32 epoch);

/* Are there keys of a category that expire in a month? */
extern bool keystore_month_lives(int category, int month);

/*
 * Moves whenever a key may have died or the keystore changed hands: whoever
 * caches keys or plaintext compares it first.  Cheap: one atomic read.
 * 0: nothing is attached, or something has to be checked first; what was
 * cached must not be used, and the next key asked for settles it.
 */
extern uint64 keystore_generation(void);

/*
 * A person's number that was never used and never will be again; or several in
 * a row, of which the first is returned: at least one, not always as many as
 * wanted.  Persons that are new get theirs from provenance_new_number().
 */
extern uint64 keystore_next_number(void);
extern uint64 keystore_next_numbers(int wanted, int *count);

/* No higher number was given out. */
extern uint64 keystore_high_water(void);

extern KeystoreLife keystore_life(uint64 number);

/* Is that KEYSTORE_FORGOTTEN?  Faster where many are asked for, or read. */
extern bool keystore_is_forgotten(uint64 number);

/*
 * Records a tombstone, and punctures when (and only if) the current
 * (sub)transaction commits; forces a synchronous commit.  What can fail, fails
 * before the commit.  There is no puncture without a tombstone.  The second
 * form names the erasure in it (NULL: none).
 */
extern void keystore_puncture_at_commit(uint64 number, int category);
extern void keystore_forget_number(uint64 number, int category,
								   const pg_uuid_t *erasure);

/* The same for all keys of a category that expire in a month up to this one. */
extern void keystore_close_month(int category, int month);

/*
 * Compares the tombstones of the current database with its keystore, in a
 * transaction; for the worker.  False: look again after a while.
 */
extern bool keystore_heal(void);

/*
 * Has the worker do that soon.  Call it after COMMIT PREPARED; without that
 * it notices by itself within gdpr.worker_naptime.  Does not throw.
 */
extern void keystore_wake_worker(void);

#endif							/* GDPR_KEYSTORE_H */
