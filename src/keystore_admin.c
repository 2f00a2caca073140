/*
 * keystore_admin.c
 *		Creating, rotating and forking a keystore, and its status.
 *
 * Files are not transactional.  What a transaction created is removed when it
 * rolls back; a crash in between leaves a stray file that no database names.
 * A rotation takes effect at once.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "crypto.h"
#include "errors.h"
#include "guc.h"
#include "keystore_internal.h"

#define STATUS_COLUMNS		16

typedef struct CreatedKeystore
{
	uint8		id[UUID_LEN];
	SubTransactionId subid;
	struct CreatedKeystore *next;
} CreatedKeystore;

/* by the current transaction, newest first; in TopTransactionContext */
static CreatedKeystore *created = NULL;

PG_FUNCTION_INFO_V1(gdpr_token_epoch);
PG_FUNCTION_INFO_V1(gdpr_set_token_epoch);
PG_FUNCTION_INFO_V1(gdpr_token_epoch_lives);
PG_FUNCTION_INFO_V1(gdpr_create_keystore);
PG_FUNCTION_INFO_V1(gdpr_keystore_status);
PG_FUNCTION_INFO_V1(gdpr_rotate_key_encryption_key);
PG_FUNCTION_INFO_V1(gdpr_fork_keystore);

/* Files of a transaction */

static void
note_created(const uint8 id[UUID_LEN])
{
	CreatedKeystore *entry = MemoryContextAlloc(TopTransactionContext, sizeof(CreatedKeystore));

	memcpy(entry->id, id, UUID_LEN);
	entry->subid = GetCurrentSubTransactionId();
	entry->next = created;
	created = entry;
}

/* While a transaction aborts: warns, never raises. */
static void
remove_created(const uint8 id[UUID_LEN])
{
	char		text[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];

	keystore_forget_entry(id);
	keystore_format_id(id, text);
	snprintf(path, sizeof(path), "%s/%s.keystore", keystore_directory_name(), text);
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
	(void) keystore_kek_destroy(text, 1);
}

void
keystore_admin_xact_end(bool commit)
{
	/* the log is kept for the audit trail from the first visit on */
	if (commit && created != NULL)
		keystore_wake_worker();
	for (; created != NULL; created = created->next)
		if (!commit)
			remove_created(created->id);
}

void
keystore_admin_subxact_end(bool commit, SubTransactionId id,
						   SubTransactionId parent)
{
	CreatedKeystore *entry;

	if (commit)
	{
		for (entry = created; entry != NULL && entry->subid >= id; entry = entry->next)
			entry->subid = parent;
	}
	else
	{
		for (; created != NULL && created->subid >= id; created = created->next)
			remove_created(created->id);
	}
}

bool
keystore_admin_busy(void)
{
	return created != NULL;
}

/* Helpers */

static void
random_uuid(uint8 id[UUID_LEN])
{
	if (!crypto_random(id, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
}

static Datum
uuid_datum(const uint8 id[UUID_LEN])
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	memcpy(uuid->data, id, UUID_LEN);
	return UUIDPGetDatum(uuid);
}

/* Runs a statement on the identity table as its owner. */
static void
write_identity(const char *statement, const uint8 id[UUID_LEN])
{
	Relation	rel = table_open(keystore_relation("keystore_identity", false), NoLock);
	Oid			owner = rel->rd_rel->relowner;
	Oid			type = UUIDOID;
	Datum		value = uuid_datum(id);
	Oid			user;
	int			context;

	table_close(rel, NoLock);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(statement, 1, &type, &value, NULL, false, 0) < 0 ||
		SPI_processed != 1)
		elog(ERROR, "could not write the keystore's identity");
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}

static void
lock_identity(void)
{
	LockRelationOid(keystore_relation("keystore_identity", false),
					ShareRowExclusiveLock);
}

static void
fill_identity(KeyfileIdentity *identity, const uint8 id[UUID_LEN], uint32 version)
{
	memset(identity, 0, sizeof(*identity));
	memcpy(identity->uuid, id, UUID_LEN);
	identity->kek_version = version;
	identity->system_identifier = GetSystemIdentifier();
	identity->database = MyDatabaseId;
}

static void
keystore_path(const uint8 id[UUID_LEN], char text[KEYSTORE_ID_CHARS],
			  char path[MAXPGPATH])
{
	const char *dir = keystore_directory_path();

	keystore_format_id(id, text);
	snprintf(path, MAXPGPATH, "%s/%s.keystore", dir, text);
}

/* SQL */

/* gdpr.create_keystore() returns uuid */
Datum
gdpr_create_keystore(PG_FUNCTION_ARGS)
{
	uint8		id[UUID_LEN];
	uint8		kek[CRYPTO_KEY_BYTES];
	char		text[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];
	KeyfileIdentity identity;
	KeyfileError err = {0};
	KeyfileLease lease = {0};
	KeyfileResult result;

	PreventCommandDuringRecovery("gdpr.create_keystore()");
	lock_identity();
	if (keystore_identity(id, NULL))
	{
		keystore_format_id(id, text);
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("this database has a keystore already: %s", text),
				 errdetail("A keystore is never created again: with a new one, nothing that was sealed could be read."),
				 errhint("If its file is missing, put it back from your copy of the keystore directory. See: SELECT * FROM gdpr.keystore_status();")));
	}

	random_uuid(id);
	keystore_lock(id);			/* until the transaction ends */
	keystore_path(id, text, path);
	note_created(id);
	fill_identity(&identity, id, 1);
	identity.timeline = GetWALInsertionTimeLine();
	keystore_kek_create(text, 1, kek);
	result = keyfile_create(path, &identity, kek, &err);
	crypto_wipe(kek, sizeof(kek));
	if (result != KEYFILE_OK)
		keystore_report(ERROR, path, &err);
	write_identity("INSERT INTO gdpr.keystore_identity (id) VALUES ($1)", id);

	keystore_attach();
	lease.system_identifier = identity.system_identifier;
	lease.timeline = identity.timeline;
	lease.database = identity.database;
	lease.token_epoch = 1;
	result = keystore_begin_write(&err);
	if (result == KEYFILE_OK)
	{
		result = keyfile_lease(keystore_session.file, &lease, &err);
		keystore_end_write(result == KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		keystore_report(ERROR, path, &err);
	pg_atomic_write_u32(&keystore_session.entry->token_epoch, 1);

	ereport(NOTICE,
			(errmsg("keystore \"%s\" created", path),
			 errhint("Copy the keystore file to a safe place, apart from the backups of the database, and its key-encryption key to another, now and after each rotation.")));
	PG_RETURN_DATUM(uuid_datum(id));
}

void
keystore_set_token_epoch(uint32 epoch)
{
	KeystoreEntry *entry;
	KeyfileInfo info;
	KeyfileError err = {0};
	KeyfileLease lease = {0};
	KeyfileResult result;

	PreventCommandDuringRecovery("gdpr.rotate_tokens()");

	/* if the file was another server's, it is ours now, numbers skipped */
	(void) keystore_next_number();
	entry = keystore_session.entry;
	keystore_lock(entry->id);
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
			lease.token_epoch = Max(epoch, info.token_epoch);
			result = keyfile_lease(keystore_session.file, &lease, &err);
		}
		keystore_end_write(result == KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		keystore_report(ERROR, keystore_session.path, &err);
	pg_atomic_write_u32(&entry->token_epoch, lease.token_epoch);
	keystore_unlock(entry->id);
}

static void
check_epoch(int32 epoch)
{
	if (epoch < 1 || epoch >= KEYTREE_EPOCHS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("token epoch is out of range"),
				 errdetail("A keystore has 65535 of them.")));
}

/*
 * gdpr.token_epoch() RETURNS integer
 */
Datum
gdpr_token_epoch(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) keystore_token_epoch());
}

/*
 * gdpr.set_token_epoch(epoch)
 */
Datum
gdpr_set_token_epoch(PG_FUNCTION_ARGS)
{
	check_epoch(PG_GETARG_INT32(0));
	keystore_set_token_epoch((uint32) PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

/*
 * gdpr.token_epoch_lives(epoch) RETURNS boolean
 */
Datum
gdpr_token_epoch_lives(PG_FUNCTION_ARGS)
{
	uint8		key[KEYSTORE_KEY_BYTES];
	bool		lives;

	check_epoch(PG_GETARG_INT32(0));
	lives = keystore_token_key((uint32) PG_GETARG_INT32(0), 0, key);
	crypto_wipe(key, sizeof(key));
	PG_RETURN_BOOL(lives);
}

/*
 * gdpr.rotate_key_encryption_key(salvage boolean) returns integer
 *
 * The new key is kept before any file is written under it, and the old one
 * destroyed when none is left: whatever interrupts this, the file at the path
 * opens with a key that exists.
 */
Datum
gdpr_rotate_key_encryption_key(PG_FUNCTION_ARGS)
{
	bool		salvage = PG_GETARG_BOOL(0);
	KeystoreEntry *entry;
	uint8		kek[CRYPTO_KEY_BYTES];
	uint32		version;
	uint64		dropped = 0;
	KeyfileIdentity identity;
	KeyfileInfo info;
	KeyfileError err = {0};
	KeyfileResult result;
	bool		replaced;

	keystore_attach();
	entry = keystore_session.entry;
	keystore_lock(entry->id);
	version = entry->kek_version + 1;
	keystore_kek_create(keystore_session.id, version, kek);
	keystore_set_kek(entry, version, kek);

	result = keystore_begin_write(&err);
	replaced = false;
	if (result == KEYFILE_OK)
	{
		keyfile_info(keystore_session.file, &info);
		fill_identity(&identity, entry->id, version);
		identity.system_identifier = info.system_identifier;
		identity.timeline = info.timeline;
		identity.database = info.database;
		result = keyfile_rewrite(keystore_session.file, keystore_session.path,
								 &identity, kek, salvage, &dropped, &err);

		/* It may have failed after the new file took the path. */
		replaced = result == KEYFILE_OK ||
			(keyfile_peek(keystore_session.path, &info, NULL) == KEYFILE_OK &&
			 info.kek_version == version);
		if (replaced)
		{
			Keyfile    *old = keystore_session.file;

			keystore_session.file = NULL;
			keystore_replaced(entry, version);
			LWLockAcquire(entry->reader, LW_EXCLUSIVE);
			if (keyfile_destroy(old, NULL) != KEYFILE_OK)
				ereport(WARNING,
						(errmsg("could not overwrite the old file of keystore \"%s\"", keystore_session.path)));
			LWLockRelease(entry->reader);
			keyfile_close(old);
		}
		keystore_end_write(result == KEYFILE_OK);
	}
	crypto_wipe(kek, sizeof(kek));
	if (!replaced)
	{
		keystore_drop_kek(entry, version);
		if (guc_keystore_key_command[0] == '\0')
			(void) keystore_kek_destroy(keystore_session.id, version);
		keystore_report(ERROR, keystore_session.path, &err);
	}

	keystore_begin_read();
	keystore_announce(entry, keystore_session.file);
	keystore_end_read();
	keystore_drop_kek(entry, version - 1);
	if (!keystore_kek_destroy(keystore_session.id, version - 1))
		ereport(NOTICE,
				(errmsg("version %u of the key-encryption key is no longer needed", version - 1),
				 errhint("Destroy it where gdpr.keystore_key_command gets it: with it, old copies of the keystore can still be opened.")));
	if (dropped > 0)
		ereport(WARNING,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg(UINT64_FORMAT " damaged records were dropped for good", dropped)));
	keystore_unlock(entry->id);
	PG_RETURN_INT32((int32) version);
}

/*
 * Copies the attached keystore, whoever owns it, into a file
 * of another uuid with a key-encryption key of its own.  Timeline 0: the first
 * lease skips ahead.
 */
static void
copy_keystore(const uint8 id[UUID_LEN])
{
	char		text[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];
	uint8		kek[CRYPTO_KEY_BYTES];
	KeyfileIdentity identity;
	KeyfileError err = {0};
	KeyfileResult result;

	keystore_lock(id);			/* until the transaction ends */
	keystore_path(id, text, path);
	note_created(id);
	keystore_kek_create(text, 1, kek);
	fill_identity(&identity, id, 1);
	result = keystore_begin_write(&err);
	if (result == KEYFILE_OK)
	{
		result = keyfile_rewrite(keystore_session.file, path, &identity, kek,
								 false, NULL, &err);
		keystore_end_write(result == KEYFILE_OK);
	}
	crypto_wipe(kek, sizeof(kek));
	if (result != KEYFILE_OK)
		keystore_report(ERROR, keystore_session.path, &err);
}

/*
 * gdpr.fork_keystore(own boolean) returns uuid
 *
 * own: also if the keystore is this database's, as on a server that was made
 * from a base backup and runs beside its original.
 */
Datum
gdpr_fork_keystore(PG_FUNCTION_ARGS)
{
	uint8		source[UUID_LEN];
	uint8		id[UUID_LEN];
	KeyfileInfo info;

	PreventCommandDuringRecovery("gdpr.fork_keystore()");
	lock_identity();
	if (!keystore_identity(source, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("this database has no keystore"),
				 errhint("Run: SELECT gdpr.create_keystore();")));

	PG_TRY();
	{
		keystore_attach_source(source);
		keyfile_info(keystore_session.file, &info);
		if (info.system_identifier == GetSystemIdentifier() &&
			info.database == MyDatabaseId && !PG_GETARG_BOOL(0))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("keystore %s is this database's own", keystore_session.id),
					 errdetail("Only a copied database needs to fork."),
					 errhint("If this server is a copy of one that goes on running, run: SELECT gdpr.fork_keystore(own => true);")));
		random_uuid(id);
		copy_keystore(id);
	}
	PG_FINALLY();
	{
		keystore_detach();
	}
	PG_END_TRY();

	write_identity("UPDATE gdpr.keystore_identity SET id = $1, created_at = pg_catalog.now()", id);
	keystore_attach();
	PG_RETURN_DATUM(uuid_datum(id));
}

/* Tries to attach; what is wrong comes back as text. */
static char *
attach_problem(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile problem = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		keystore_attach();
		(void) keystore_directory_path();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		problem = error->hint ?
			psprintf("%s. %s", error->message, error->hint) :
			pstrdup(error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return problem;
}

/* gdpr.keystore_status(), one row, as complete as the circumstances allow */
Datum
gdpr_keystore_status(PG_FUNCTION_ARGS)
{
	Datum		values[STATUS_COLUMNS] = {0};
	bool		nulls[STATUS_COLUMNS];
	TupleDesc	desc;
	uint8		id[UUID_LEN];
	char		text[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];
	char	   *problem;
	const char *dir = NULL;
	KeyfileInfo info;
	bool		known = false;
	TimestampTz created_at;
	struct stat kek;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));

	problem = attach_problem();
	if (problem == NULL)
	{
		uint32		pending = pg_atomic_read_u32(&keystore_session.entry->pending);

		if (pending > 0)
			problem = psprintf("the keys of %u erasures are not destroyed yet; the server's log says why", pending);
		keystore_begin_read();
		known = keyfile_refresh(keystore_session.file, NULL) == KEYFILE_OK;
		keyfile_info(keystore_session.file, &info);
		keystore_end_read();
		values[6] = Int64GetDatum(pending);
		nulls[6] = false;
	}
	if (problem != NULL)
	{
		values[14] = CStringGetTextDatum(problem);
		nulls[14] = false;
	}

	if (keystore_identity(id, &created_at))
	{
		values[0] = uuid_datum(id);
		nulls[0] = false;
		values[13] = TimestampTzGetDatum(created_at);
		nulls[13] = false;
		dir = keystore_directory_name() ? keystore_directory_name() : guc_keystore_directory;
		if (dir[0] != '\0')
		{
			keystore_format_id(id, text);
			snprintf(path, sizeof(path), "%s/%s.keystore", dir, text);
			values[1] = CStringGetTextDatum(path);
			nulls[1] = false;
			if (!known)
				known = keyfile_peek(path, &info, NULL) == KEYFILE_OK;
		}
	}
	if (known)
	{
		values[2] = Int64GetDatum((int64) info.generation);
		values[3] = Int64GetDatum((int64) info.records);
		values[4] = Int64GetDatum((int64) info.bytes);
		values[5] = Int64GetDatum((int64) info.punctures);
		values[7] = Int32GetDatum((int32) info.kek_version);
		values[8] = Int32GetDatum((int32) info.token_epoch);
		values[9] = Int32GetDatum((int32) info.next_block);
		values[10] = Int64GetDatum((int64) info.system_identifier);
		values[11] = Int32GetDatum((int32) info.timeline);
		values[12] = ObjectIdGetDatum(info.database);
		memset(nulls + 2, false, 4 * sizeof(bool));
		memset(nulls + 7, false, 6 * sizeof(bool));
		if (!nulls[0])
		{
			snprintf(path, sizeof(path), "%s/%s.kek.%u", dir, text, info.kek_version);
			if (stat(path, &kek) == 0)
			{
				values[15] = TimestampTzGetDatum(time_t_to_timestamptz(kek.st_mtime));
				nulls[15] = false;
			}
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
