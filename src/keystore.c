/*
 * keystore.c
 *		The running server's view of its keystores: shared state, attaching,
 *		numbers.  See keystore_internal.h for the locks.
 *
 * A backend attaches its database's keystore at first use: it reads the
 * identity, finds or makes the shared entry, and opens the file.  The first
 * backend after a start of the server also gets the key-encryption key,
 * finishes what a crash interrupted, and verifies the file.  No key is served
 * before the tombstones were compared (keystore_fence.c).
 *
 * Attachment ends when the identity table sends a relcache invalidation:
 * transactional, and replayed on standbys.  The tombstone table's
 * invalidation brings the fence back in the same way.
 *
 * Key-encryption keys are in a mapping of their own that is shared, locked
 * in memory and left out of core dumps; the postmaster makes it, every child
 * inherits it.
 */
#include "postgres.h"

#include <sys/mman.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/dbcommands.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "crypto.h"
#include "errors.h"
#include "keystore_internal.h"

#define KEYSTORE_TRANCHE	"gdpr_keystore"
#define LOCK_CLASS			0x4744	/* of our advisory locks; SQL uses 1 and 2 */
#define SKIP_BLOCKS			1024
#define BLOCK_MASK			((UINT64CONST(1) << KEYTREE_BLOCK_BITS) - 1)
#define MAX_DAMAGE_REPORTS	10

typedef struct Vault
{
	struct
	{
		uint32		version;
		uint8		kek[CRYPTO_KEY_BYTES];
	}			slots[KEYSTORE_ENTRIES][2];
} Vault;

KeystoreShared *keystore_shared = NULL;
KeystoreSession keystore_session;

static Vault *vault = NULL;
static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static bool identity_valid = false;
static bool fence_valid = false;
static bool session_ready = false;	/* callbacks are registered */
static Oid	identity_relid = InvalidOid;
static Oid	tombstone_relid = InvalidOid;
static Oid	tombstone_index = InvalidOid;

/* Shared memory */

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(sizeof(KeystoreShared));
	RequestNamedLWLockTranche(KEYSTORE_TRANCHE, 1 + 2 * KEYSTORE_ENTRIES);
}

static void
make_vault(void)
{
	long		page = sysconf(_SC_PAGESIZE);
	size_t		size = TYPEALIGN(page, sizeof(Vault));

	if (vault == NULL)
	{
		void	   *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
								   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (mapping == MAP_FAILED)
			ereport(FATAL,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("could not map memory for keys: %m")));
		vault = mapping;
		if (mlock(vault, size) != 0)
			ereport(WARNING,
					(errmsg("could not lock the memory of keys: %m"),
					 errdetail("Keys may be written to swap space."),
					 errhint("Allow the server to lock %zu bytes (LimitMEMLOCK=, ulimit -l), or encrypt swap space.", size)));
#ifdef MADV_DONTDUMP
		(void) madvise(vault, size, MADV_DONTDUMP);
#endif
	}
	crypto_wipe(vault, size);
}

static void
startup_shared_memory(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	keystore_shared = ShmemInitStruct("gdpr keystore", sizeof(KeystoreShared), &found);
	if (!found)
	{
		LWLockPadded *locks = GetNamedLWLockTranche(KEYSTORE_TRANCHE);
		int			i;

		memset(keystore_shared, 0, sizeof(KeystoreShared));
		keystore_shared->lock = &locks[0].lock;
		pg_atomic_init_u64(&keystore_shared->generation_source, 0);
		pg_atomic_init_u32(&keystore_shared->look_everywhere, 1);
		pg_atomic_init_u64(&keystore_shared->answer, 0);
		for (i = 0; i < KEYSTORE_ENTRIES; i++)
		{
			KeystoreEntry *entry = &keystore_shared->entries[i];

			entry->writer = &locks[1 + 2 * i].lock;
			entry->reader = &locks[2 + 2 * i].lock;
			pg_atomic_init_u64(&entry->generation, 0);
			pg_atomic_init_u64(&entry->file_generation, 0);
			pg_atomic_init_u64(&entry->next_number, 0);
			pg_atomic_init_u32(&entry->token_epoch, 0);
			pg_atomic_init_u32(&entry->pending, 0);
			pg_atomic_init_u32(&entry->work, 0);
			pg_atomic_init_u32(&entry->prepared, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);

	if (!IsUnderPostmaster)
	{
		make_vault();
		keystore_directory_startup();
	}
}

static const KeystoreAccess test_access = {
	.derive = keystore_derive,
	.token_key = keystore_token_key,
	.token_epoch = keystore_token_epoch,
	.generation = keystore_generation,
	.next_number = keystore_next_number,
	.life = keystore_life,
	.puncture_at_commit = keystore_puncture_at_commit,
	.wake_worker = keystore_wake_worker,
	.caches_filled = keystore_cache_filled,
	.fault_point = &keyfile_fault_point,
	.fault_kind = &keyfile_fault_kind,
	.fault_sticky = &keyfile_fault_sticky,
	.fault_count = &keyfile_fault_count
};

void
keystore_init(void)
{
	*find_rendezvous_variable(KEYSTORE_RENDEZVOUS) = unconstify(KeystoreAccess *, &test_access);
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
	keystore_fence_init();
}

/* Entries */

void
keystore_format_id(const uint8 id[UUID_LEN], char text[KEYSTORE_ID_CHARS])
{
	int			i;
	int			at = 0;

	for (i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		snprintf(text + at, 3, "%02x", id[i]);
		at += 2;
	}
}

static void
move_generation(KeystoreEntry *entry)
{
	pg_atomic_write_u64(&entry->generation,
						pg_atomic_add_fetch_u64(&keystore_shared->generation_source, 1));
}

static int
entry_index(const KeystoreEntry *entry)
{
	return (int) (entry - keystore_shared->entries);
}

static bool
database_exists(Oid database)
{
	return SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
}

/* Caller holds shared->lock exclusively. */
static void
clear_entry(KeystoreEntry *entry)
{
	crypto_wipe(vault->slots[entry_index(entry)], sizeof(vault->slots[0]));
	entry->used = false;
	entry->database = InvalidOid;
	entry->verified = false;
	entry->recovery_needed = false;
	entry->incarnation++;
	entry->kek_version = 0;
	entry->ndenied = 0;
	entry->fenced = false;
	entry->fence_horizon = InvalidFullTransactionId;
	pg_atomic_write_u64(&entry->file_generation, 0);
	pg_atomic_write_u64(&entry->next_number, 0);
	pg_atomic_write_u32(&entry->token_epoch, 0);
	pg_atomic_write_u32(&entry->pending, 0);
	pg_atomic_write_u32(&entry->work, 0);
	pg_atomic_write_u32(&entry->prepared, 0);
	move_generation(entry);
}

static KeystoreEntry *
find_entry(const uint8 id[UUID_LEN])
{
	int			i;

	for (i = 0; i < KEYSTORE_ENTRIES; i++)
	{
		KeystoreEntry *entry = &keystore_shared->entries[i];

		if (entry->used && memcmp(entry->id, id, UUID_LEN) == 0)
			return entry;
	}
	return NULL;
}

static KeystoreEntry *
find_or_make_entry(const uint8 id[UUID_LEN])
{
	KeystoreEntry *entry;
	Oid			databases[KEYSTORE_ENTRIES];
	int			i;

	/* The catalog is not to be read under the lock. */
	LWLockAcquire(keystore_shared->lock, LW_SHARED);
	for (i = 0; i < KEYSTORE_ENTRIES; i++)
		databases[i] = keystore_shared->entries[i].database;
	LWLockRelease(keystore_shared->lock);
	for (i = 0; i < KEYSTORE_ENTRIES; i++)
		if (OidIsValid(databases[i]) && database_exists(databases[i]))
			databases[i] = InvalidOid;	/* not to be reclaimed */

	LWLockAcquire(keystore_shared->lock, LW_EXCLUSIVE);
	entry = find_entry(id);
	for (i = 0; entry == NULL && i < KEYSTORE_ENTRIES; i++)
		if (!keystore_shared->entries[i].used)
			entry = &keystore_shared->entries[i];
	for (i = 0; entry == NULL && i < KEYSTORE_ENTRIES; i++)
		if (OidIsValid(databases[i]) &&
			keystore_shared->entries[i].database == databases[i])
			entry = &keystore_shared->entries[i];
	if (entry != NULL &&
		!(entry->used && memcmp(entry->id, id, UUID_LEN) == 0))
	{
		clear_entry(entry);
		memcpy(entry->id, id, UUID_LEN);
		entry->used = true;
	}
	LWLockRelease(keystore_shared->lock);

	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d databases of this server use a keystore", KEYSTORE_ENTRIES)));
	return entry;
}

/* The keystore is no more: its creation was rolled back. */
void
keystore_forget_entry(const uint8 id[UUID_LEN])
{
	KeystoreEntry *entry;

	LWLockAcquire(keystore_shared->lock, LW_EXCLUSIVE);
	entry = find_entry(id);
	if (entry != NULL)
		clear_entry(entry);
	LWLockRelease(keystore_shared->lock);
	if (entry != NULL && keystore_session.entry == entry)
		keystore_detach();
}

/*
 * Serializes what may take long on one keystore, in whatever database: the
 * lock's key is the uuid.  Held until released or the transaction ends.
 */
static void
set_lock_tag(LOCKTAG *tag, const uint8 id[UUID_LEN])
{
	uint32		high;
	uint32		low;

	memcpy(&high, id, sizeof(high));
	memcpy(&low, id + sizeof(high), sizeof(low));
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, high, low, LOCK_CLASS);
}

void
keystore_lock(const uint8 id[UUID_LEN])
{
	LOCKTAG		tag;

	set_lock_tag(&tag, id);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
keystore_unlock(const uint8 id[UUID_LEN])
{
	LOCKTAG		tag;

	set_lock_tag(&tag, id);
	(void) LockRelease(&tag, ExclusiveLock, false);
}

/* Key-encryption keys */

void
keystore_set_kek(KeystoreEntry *entry, uint32 version,
				 const uint8 kek[CRYPTO_KEY_BYTES])
{
	int			i = entry_index(entry);

	memcpy(vault->slots[i][version & 1].kek, kek, CRYPTO_KEY_BYTES);
	vault->slots[i][version & 1].version = version;
}

void
keystore_drop_kek(KeystoreEntry *entry, uint32 version)
{
	crypto_wipe(&vault->slots[entry_index(entry)][version & 1],
				sizeof(vault->slots[0][0]));
}

static bool
get_kek(void *arg, uint32_t version, uint8_t kek[CRYPTO_KEY_BYTES])
{
	int			i = entry_index((KeystoreEntry *) arg);

	if (version == 0 || vault->slots[i][version & 1].version != version)
		return false;
	memcpy(kek, vault->slots[i][version & 1].kek, CRYPTO_KEY_BYTES);
	return true;
}

/* Reading and writing the file */

/* Keys may have died, or the file moved on: tells everyone. */
void
keystore_announce(KeystoreEntry *entry, const Keyfile *file)
{
	pg_atomic_write_u64(&entry->file_generation, keyfile_generation(file));
	move_generation(entry);
}

static KeyfileResult
open_file_as(bool writable, KeyfileError *err)
{
	KeystoreEntry *entry = keystore_session.entry;
	KeyfileResult result;

	keyfile_close(keystore_session.file);
	keystore_session.file = NULL;
	result = keyfile_open(keystore_session.path, entry->id,
						  pg_atomic_read_u64(&entry->file_generation),
						  writable, get_kek, entry, &keystore_session.file, err);
	if (result == KEYFILE_OK)
		keystore_session.incarnation = entry->incarnation;
	keystore_session.read_only = !writable;
	return result;
}

/*
 * Opens the file in this process; the caller holds reader or writer.  On a
 * read-only file system it is opened for reading: reads go on.
 */
static KeyfileResult
open_file(KeyfileError *err)
{
	KeyfileResult result = open_file_as(true, err);

	if (result == KEYFILE_READ_ONLY)
		result = open_file_as(false, err);
	return result;
}

/*
 * Another file took the path, under a new key-encryption key.  Everyone opens
 * it at the next read; nobody reads the old one when this returns.
 */
void
keystore_replaced(KeystoreEntry *entry, uint32 kek_version)
{
	LWLockAcquire(entry->reader, LW_EXCLUSIVE);
	entry->kek_version = kek_version;
	entry->incarnation++;
	move_generation(entry);
	LWLockRelease(entry->reader);
}

static bool
file_is_current(void)
{
	return keystore_session.file != NULL &&
		keystore_session.incarnation == keystore_session.entry->incarnation;
}

/* Takes the reader lock and brings this process's view up to date. */
void
keystore_begin_read(void)
{
	KeystoreEntry *entry = keystore_session.entry;
	KeyfileError err = {0};
	KeyfileResult result = KEYFILE_OK;

	LWLockAcquire(entry->reader, LW_SHARED);
	if (unlikely(!file_is_current()))
		result = open_file(&err);
	if (result == KEYFILE_OK &&
		keyfile_generation(keystore_session.file) <
		pg_atomic_read_u64(&entry->file_generation))
		result = keyfile_refresh(keystore_session.file, &err);
	if (unlikely(result != KEYFILE_OK))
	{
		LWLockRelease(entry->reader);
		keystore_report(ERROR, keystore_session.path, &err);
	}
}

void
keystore_end_read(void)
{
	LWLockRelease(keystore_session.entry->reader);
}

/*
 * Takes the writer lock and finishes what another writer left unfinished.
 * Does not throw: it also runs after a commit.  Unless the result is OK the
 * lock is not held.
 */
KeyfileResult
keystore_begin_write(KeyfileError *err)
{
	KeystoreEntry *entry = keystore_session.entry;
	KeyfileResult result = KEYFILE_OK;

	LWLockAcquire(entry->writer, LW_EXCLUSIVE);
	if (!file_is_current() || keystore_session.read_only)
		result = open_file_as(true, err);
	if (result == KEYFILE_OK && entry->recovery_needed)
	{
		LWLockAcquire(entry->reader, LW_EXCLUSIVE);
		result = keyfile_recover(keystore_session.file, err);
		if (result == KEYFILE_OK)
			keystore_announce(entry, keystore_session.file);
		LWLockRelease(entry->reader);
	}
	if (result == KEYFILE_OK)
		entry->recovery_needed = true;
	else
		LWLockRelease(entry->writer);
	return result;
}

void
keystore_end_write(bool finished)
{
	if (finished)
		keystore_session.entry->recovery_needed = false;
	LWLockRelease(keystore_session.entry->writer);
}

/* Attaching */

Oid
keystore_relation(const char *name, bool missing_ok)
{
	Oid			namespace_oid = get_namespace_oid("gdpr", true);
	Oid			relid = OidIsValid(namespace_oid) ?
		get_relname_relid(name, namespace_oid) : InvalidOid;

	if (!OidIsValid(relid) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("extension gdpr is not installed in this database"),
				 errhint("Run: CREATE EXTENSION gdpr;")));
	return relid;
}

/* The latest committed identity, or this transaction's own. */
bool
keystore_identity(uint8 id[UUID_LEN], TimestampTz *created)
{
	Relation	rel = table_open(keystore_relation("keystore_identity", false),
								 AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull);

		if (isnull)
			elog(ERROR, "the keystore's id is NULL");
		memcpy(id, DatumGetUUIDP(value)->data, UUID_LEN);
		if (created)
			*created = DatumGetTimestampTz(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == identity_relid || relid == InvalidOid)
		identity_valid = false;

	/*
	 * On the server where they are forgotten, tombstones touch the index and
	 * are punctured at commit; a standby that replays that has to act.
	 */
	if (relid == tombstone_relid || relid == InvalidOid ||
		(relid == tombstone_index && RecoveryInProgress()))
		fence_valid = false;
}

static void
leave_process(int code, Datum arg)
{
	keystore_cache_wipe();
	keyfile_close(keystore_session.file);
	keystore_session.file = NULL;
}

static void
prepare_session(void)
{
	if (session_ready)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	on_proc_exit(leave_process, (Datum) 0);
	session_ready = true;
}

static void
close_session(void)
{
	keystore_cache_wipe();
	keyfile_close(keystore_session.file);
	memset(&keystore_session, 0, sizeof(keystore_session));
	fence_valid = false;
}

void
keystore_detach(void)
{
	close_session();
	identity_valid = false;
}

static void
report_damage(void *arg, const KeyfileError *damage)
{
	int		   *reported = arg;

	if ((*reported)++ < MAX_DAMAGE_REPORTS)
		keystore_report(WARNING, keystore_session.path, damage);
}

/*
 * First use since the server started: gets the key-encryption key, finishes
 * what was interrupted, and reads every record.  A damaged record is
 * reported and takes nothing else down.  Under KeystoreLock, so nobody else
 * reads or writes.
 */
static void
verify_keystore(void)
{
	KeystoreEntry *entry = keystore_session.entry;
	uint8		kek[CRYPTO_KEY_BYTES];
	KeyfileError err = {0};
	KeyfileInfo info;
	KeyfileResult result;
	int			reported = 0;

	if (keyfile_peek(keystore_session.path, &info, &err) != KEYFILE_OK)
		keystore_report(ERROR, keystore_session.path, &err);
	keystore_kek_get(keystore_session.id, info.kek_version, kek);
	keystore_set_kek(entry, info.kek_version, kek);
	crypto_wipe(kek, sizeof(kek));

	LWLockAcquire(entry->writer, LW_EXCLUSIVE);
	LWLockAcquire(entry->reader, LW_EXCLUSIVE);
	result = open_file(&err);
	if (result == KEYFILE_OK && !keystore_session.read_only)
		result = keyfile_recover(keystore_session.file, &err);
	if (result == KEYFILE_OK)
	{
		result = keyfile_verify(keystore_session.file, NULL, report_damage,
								&reported, &err);
		if (result == KEYFILE_DAMAGED)
			result = KEYFILE_OK;
	}
	if (result == KEYFILE_OK)
	{
		keyfile_info(keystore_session.file, &info);
		entry->kek_version = info.kek_version;
		entry->recovery_needed = keystore_session.read_only;
		pg_atomic_write_u32(&entry->token_epoch, info.token_epoch);
		keystore_announce(entry, keystore_session.file);
	}
	LWLockRelease(entry->reader);
	LWLockRelease(entry->writer);
	if (result != KEYFILE_OK)
	{
		keystore_drop_kek(entry, info.kek_version);
		keystore_report(ERROR, keystore_session.path, &err);
	}
	keystore_kek_destroy_older(keystore_session.id, info.kek_version);
	entry->verified = true;
}

static void
refuse_other_owner(Oid database)
{
	char	   *name = get_database_name(database);

	ereport(ERROR,
			(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
			 errmsg("keystore %s belongs to database \"%s\"", keystore_session.id,
					name ? name : "?"),
			 errdetail("This database is a copy. If two databases used one keystore, forgetting in one would destroy keys of the other."),
			 errhint("To give this database a keystore of its own, run in it: SELECT gdpr.fork_keystore();")));
}

/*
 * A keystore belongs to one database.  One whose owner is elsewhere or gone
 * is adopted: timeline 0 makes the first lease skip ahead.
 */
static void
claim_keystore(void)
{
	KeystoreEntry *entry = keystore_session.entry;
	KeyfileInfo info;
	KeyfileError err = {0};
	KeyfileLease lease = {0};
	KeyfileResult result;
	bool		same_system;

	if (entry->database == MyDatabaseId)
		return;
	if (OidIsValid(entry->database) && database_exists(entry->database))
		refuse_other_owner(entry->database);
	keyfile_info(keystore_session.file, &info);
	same_system = info.system_identifier == GetSystemIdentifier();
	if (same_system && info.database != MyDatabaseId &&
		database_exists(info.database))
		refuse_other_owner(info.database);

	if (!RecoveryInProgress() &&
		!(same_system && info.database == MyDatabaseId))
	{
		lease.system_identifier = GetSystemIdentifier();
		lease.database = MyDatabaseId;
		result = keystore_begin_write(&err);
		if (result == KEYFILE_OK)
		{
			result = keyfile_lease(keystore_session.file, &lease, &err);
			keystore_end_write(result == KEYFILE_OK);
		}
		if (result != KEYFILE_OK)
			keystore_report(ERROR, keystore_session.path, &err);
	}

	/*
	 * Another database may have had it since the server started: this one has
	 * its own high-water mark and its own tombstones.
	 */
	LWLockAcquire(keystore_shared->lock, LW_EXCLUSIVE);
	entry->database = MyDatabaseId;
	entry->fenced = false;
	pg_atomic_write_u64(&entry->next_number, 0);
	LWLockRelease(keystore_shared->lock);
}

/* On error the caller detaches. */
static void
open_session(const uint8 id[UUID_LEN], bool claim)
{
	KeystoreEntry *entry;
	const char *dir = keystore_directory_path();

	prepare_session();
	close_session();
	keystore_format_id(id, keystore_session.id);
	snprintf(keystore_session.path, MAXPGPATH, "%s/%s.keystore", dir,
			 keystore_session.id);

	entry = find_or_make_entry(id);
	keystore_session.entry = entry;
	if (!entry->verified || (claim && entry->database != MyDatabaseId))
	{
		keystore_lock(id);
		if (!entry->verified)
			verify_keystore();
		keystore_begin_read();
		keystore_end_read();
		if (claim)
			claim_keystore();
		keystore_unlock(id);
	}
	keystore_begin_read();
	keystore_end_read();
}

static void
attach_identity(void)
{
	uint8		id[UUID_LEN];

	identity_relid = keystore_relation("keystore_identity", false);
	tombstone_relid = keystore_relation("tombstone", false);
	tombstone_index = keystore_relation("tombstone_number_idx", true);
	(void) keystore_directory_path();
	prepare_session();
	if (!keystore_identity(id, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("this database has no keystore"),
				 errhint("Run: SELECT gdpr.create_keystore();")));
	if (keystore_session.entry == NULL ||
		memcmp(keystore_session.entry->id, id, UUID_LEN) != 0)
		open_session(id, true);
}

/*
 * Makes the keystore of the current database usable in this backend, or
 * raises why not.  Cheap when nothing changed; catalog access otherwise.
 *
 * Each flag is set before the look at what it stands for, so that an
 * invalidation that arrives meanwhile brings about another look.
 */
void
keystore_attach(void)
{
	if (likely(identity_valid && fence_valid && keystore_session.entry->fenced))
		return;
	if (!IsTransactionState())
		elog(ERROR, "keystore used outside a transaction");

	PG_TRY();
	{
		if (!identity_valid)
		{
			identity_valid = true;
			attach_identity();
		}
		if (!fence_valid || !keystore_session.entry->fenced)
		{
			fence_valid = true;
			keystore_fence(false);
		}
	}
	PG_CATCH();
	{
		keystore_detach();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Opens a keystore that need not be this database's, to copy it.  The caller
 * detaches, on error too.
 */
void
keystore_attach_source(const uint8 id[UUID_LEN])
{
	open_session(id, false);
}

uint64
keystore_generation(void)
{
	if (unlikely(!identity_valid || !fence_valid))
		return 0;
	return pg_atomic_read_u64(&keystore_session.entry->generation);
}

uint32
keystore_token_epoch(void)
{
	keystore_attach();
	return pg_atomic_read_u32(&keystore_session.entry->token_epoch);
}

/* Numbers */

/* The sequence's page, read as sequence.c does: always the latest value. */
static uint64
read_high_water(Oid sequence)
{
	Relation	rel = relation_open(sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page;
	HeapTupleData tuple;
	uint64		value;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	value = (uint64) ((Form_pg_sequence_data) GETSTRUCT(&tuple))->last_value;
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	return value;
}

uint64
keystore_high_water(void)
{
	return read_high_water(keystore_relation("number_high_water", false));
}

/* As the sequence's owner: whoever inserts a person may draw a number. */
static void
write_high_water(Oid sequence, uint64 value)
{
	Relation	rel = relation_open(sequence, AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;
	Oid			user;
	int			context;

	relation_close(rel, AccessShareLock);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence),
						Int64GetDatum((int64) value));
	SetUserIdAndSecContext(user, context);
}

/*
 * Takes the next block from the file.  Blocks are in increasing order in the
 * file and in the sequence; whichever is ahead counts.  If the file was of
 * another server, another timeline, is a copy, or is behind the database,
 * others may have taken blocks after it: skip ahead.
 */
static void
lease_block(void)
{
	KeystoreEntry *entry = keystore_session.entry;
	Oid			sequence = keystore_relation("number_high_water", false);
	KeyfileInfo info;
	KeyfileError err = {0};
	KeyfileLease lease = {0};
	KeyfileResult result;
	uint64		first;
	uint32		seen;
	uint16		random;

	PreventCommandDuringRecovery("drawing a subject number");
	keystore_lock(entry->id);
	if (pg_atomic_read_u64(&entry->next_number) != 0)
	{
		keystore_unlock(entry->id);
		return;
	}

	seen = (uint32) (read_high_water(sequence) >> KEYTREE_BLOCK_BITS);
	if (!crypto_random((uint8_t *) &random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	lease.take_block = true;
	lease.system_identifier = GetSystemIdentifier();
	lease.timeline = GetWALInsertionTimeLine();
	lease.database = MyDatabaseId;

	result = keystore_begin_write(&err);
	if (result == KEYFILE_OK)
	{
		result = keyfile_refresh(keystore_session.file, &err);
		if (result == KEYFILE_OK)
		{
			keyfile_info(keystore_session.file, &info);
			lease.min_block = Max(info.next_block, seen + 1);
			if (info.system_identifier != lease.system_identifier ||
				info.database != lease.database ||
				info.timeline != lease.timeline ||
				keyfile_is_copy(keystore_session.file) ||
				info.next_block < seen + 1)
				lease.min_block += SKIP_BLOCKS + random % SKIP_BLOCKS;
			result = keyfile_lease(keystore_session.file, &lease, &err);
		}
		keystore_end_write(result == KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		keystore_report(ERROR, keystore_session.path, &err);

	first = (uint64) lease.block << KEYTREE_BLOCK_BITS;
	write_high_water(sequence, first | BLOCK_MASK);
	pg_atomic_write_u64(&entry->next_number, first << 1 | 1);
	keystore_unlock(entry->id);
}

uint64
keystore_next_numbers(int wanted, int *count)
{
	pg_atomic_uint64 *next;
	uint64		packed;

	keystore_attach();
	next = &keystore_session.entry->next_number;
	packed = pg_atomic_read_u64(next);
	for (;;)
	{
		uint64		number = packed >> 1;
		uint64		left = BLOCK_MASK + 1 - (number & BLOCK_MASK);
		uint64		taken = Min((uint64) wanted, left);
		uint64		after = taken < left ? (number + taken) << 1 | 1 : 0;

		if (packed == 0)
		{
			lease_block();
			packed = pg_atomic_read_u64(next);
		}
		else if (pg_atomic_compare_exchange_u64(next, &packed, after))
		{
			*count = (int) taken;
			return number;
		}
	}
}

uint64
keystore_next_number(void)
{
	int			count;

	return keystore_next_numbers(1, &count);
}
