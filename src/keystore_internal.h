/*
 * keystore_internal.h
 *		What the keystore_*.c files share.
 *
 * keystore.c			shared memory, attaching, numbers
 * keystore_derive.c	keys and the backend's caches of them
 * keystore_fence.c		tombstones: puncture at commit, heal
 * keystore_admin.c		create, rotate, fork, status
 * keystore_directory.c	the directory, key-encryption keys
 * keystore_report.c	what is wrong with a file, in words
 *
 * Locks, in the order in which they are taken:
 *
 * 1. KeystoreLock (a heavyweight lock on a keystore's uuid): attaching,
 *	  leasing, rotating, forking.  May be held while commands run.
 * 2. shared->lock: finding and making entries.
 * 3. entry->writer: whoever changes the file.  Held across fsyncs.
 * 4. entry->reader: shared to read the file, exclusive to overwrite it.
 */
#ifndef GDPR_KEYSTORE_INTERNAL_H
#define GDPR_KEYSTORE_INTERNAL_H

#include "postgres.h"

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/uuid.h"

#include "keyfile.h"
#include "keystore.h"

#define KEYSTORE_ENTRIES	64
#define KEYSTORE_ID_CHARS	37	/* a uuid as text, with its terminator */
#define KEYSTORE_DENIED		64

/*
 * A keystore that this server has used since it started.  An entry belongs
 * to a keystore until the server stops, or its database is dropped and the
 * entry is needed.
 */
typedef struct KeystoreEntry
{
	/* under shared->lock */
	bool		used;
	uint8		id[UUID_LEN];
	Oid			database;

	/* under KeystoreLock */
	bool		verified;		/* recovered and verified since the start */

	/* under writer */
	bool		recovery_needed;	/* a change was begun and not finished */

	/* under reader, exclusive to change */
	uint32		incarnation;	/* moves when another file takes its place */
	uint32		kek_version;
	int			ndenied;		/* committed, but not destroyed yet */
	KeytreeNode denied[KEYSTORE_DENIED];

	/* the fence, under shared->lock */
	bool		fenced;			/* all tombstones were compared since start */
	FullTransactionId fence_horizon;	/* those before it were compared */

	pg_atomic_uint64 generation;	/* keystore_generation() */
	pg_atomic_uint64 file_generation;	/* as announced to readers */
	pg_atomic_uint64 next_number;	/* number << 1 | 1; 0: lease a block */
	pg_atomic_uint32 token_epoch;
	pg_atomic_uint32 pending;	/* tombstones whose puncture failed */
	pg_atomic_uint32 work;		/* the worker should look */
	pg_atomic_uint32 prepared;	/* a prepared transaction may hold some */

	LWLock	   *writer;
	LWLock	   *reader;
} KeystoreEntry;

typedef struct KeystoreShared
{
	LWLock	   *lock;
	pg_atomic_uint64 generation_source;
	Latch	   *launcher;		/* of the worker's launcher; NULL: none */
	pg_atomic_uint32 look_everywhere;	/* it should look at every database */
	pg_atomic_uint64 answer;	/* of a worker, see worker_ask_database() */
	KeystoreEntry entries[KEYSTORE_ENTRIES];
} KeystoreShared;

/* What this backend has attached; valid while keystore_attached. */
typedef struct KeystoreSession
{
	KeystoreEntry *entry;
	Keyfile    *file;
	uint32		incarnation;	/* of the file that is open */
	bool		read_only;		/* it could not be opened for writing */
	char		id[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];
} KeystoreSession;

/*
 * What the test module test/modules/gdpr_test reaches of this library, through
 * the rendezvous variable of that name.  SQL reaches nothing of it.
 */
#define KEYSTORE_RENDEZVOUS "gdpr_keystore"

typedef struct KeystoreAccess
{
	bool		(*derive) (uint64 number, int category, int month, uint8 *key);
	bool		(*token_key) (uint32 epoch, uint32 domain, uint8 *key);
	uint32		(*token_epoch) (void);
	uint64		(*generation) (void);
	uint64		(*next_number) (void);
	KeystoreLife (*life) (uint64 number);
	void		(*puncture_at_commit) (uint64 number, int category);
	void		(*wake_worker) (void);
	bool		(*caches_filled) (void);
	int		   *fault_point;
	KeyfileFault *fault_kind;
	bool	   *fault_sticky;
	int		   *fault_count;
} KeystoreAccess;

extern KeystoreShared *keystore_shared;
extern KeystoreSession keystore_session;

/* keystore.c */
extern bool keystore_identity(uint8 id[UUID_LEN], TimestampTz *created);
extern void keystore_attach(void);
extern void keystore_attach_source(const uint8 id[UUID_LEN]);
extern void keystore_detach(void);
extern void keystore_lock(const uint8 id[UUID_LEN]);
extern void keystore_unlock(const uint8 id[UUID_LEN]);
extern void keystore_announce(KeystoreEntry *entry, const Keyfile *file);
extern void keystore_begin_read(void);
extern void keystore_end_read(void);
extern KeyfileResult keystore_begin_write(KeyfileError *err);
extern void keystore_end_write(bool finished);
extern void keystore_forget_entry(const uint8 id[UUID_LEN]);
extern void keystore_set_kek(KeystoreEntry *entry, uint32 version,
							 const uint8 kek[CRYPTO_KEY_BYTES]);
extern void keystore_replaced(KeystoreEntry *entry, uint32 kek_version);
extern Oid	keystore_relation(const char *name, bool missing_ok);
extern void keystore_format_id(const uint8 id[UUID_LEN],
							   char text[KEYSTORE_ID_CHARS]);
extern void keystore_drop_kek(KeystoreEntry *entry, uint32 version);

/* keystore_derive.c */
extern void keystore_cache_wipe(void);
extern void keystore_cache_rearm(void);
extern bool keystore_cache_filled(void);

/* keystore_fence.c */
extern void keystore_fence_init(void);
extern void keystore_fence(bool all);
extern bool keystore_denied(KeystoreEntry *entry, KeytreeNode node);

/* keystore_admin.c */
extern void keystore_admin_xact_end(bool commit);
extern void keystore_admin_subxact_end(bool commit, SubTransactionId id,
									   SubTransactionId parent);
extern bool keystore_admin_busy(void);

/* keystore_directory.c */
extern void keystore_directory_startup(void);
extern const char *keystore_directory_path(void);
extern const char *keystore_directory_name(void);
extern bool keystore_directory_has_keystores(void);
extern void keystore_kek_path(const char *id, uint32 version,
							  char path[MAXPGPATH]);
extern void keystore_kek_get(const char *id, uint32 version,
							 uint8 kek[CRYPTO_KEY_BYTES]);
extern void keystore_kek_create(const char *id, uint32 version,
								uint8 kek[CRYPTO_KEY_BYTES]);
extern bool keystore_kek_destroy(const char *id, uint32 version);
extern void keystore_kek_destroy_older(const char *id, uint32 version);

/* keystore_report.c */
extern void keystore_report(int elevel, const char *path,
							const KeyfileError *err);

#endif							/* GDPR_KEYSTORE_INTERNAL_H */
