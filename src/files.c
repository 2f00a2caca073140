/*
 * files.c
 *		The keystore files of the directory: whose they are, and destroying one
 *		that belongs to no database.
 *
 * The owner in a file's header is a hint only: a restored database takes its
 * keystore over when it first uses it.  So before a keystore is destroyed
 * every database of the server is asked, under the lock on its id, which
 * whoever makes a keystore holds until its transaction ends.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "guc.h"
#include "keystore_internal.h"
#include "worker.h"

#define FILE_SUFFIX			".keystore"
#define FILE_COLUMNS		5
#define INVALID_DATABASE	(-2)	/* datconnlimit of one half dropped */

PG_FUNCTION_INFO_V1(gdpr_keystore_files);
PG_FUNCTION_INFO_V1(gdpr_destroy_keystore);

/* The database that uses a keystore, as far as can be told without asking. */
static char *
likely_owner(const uint8 id[UUID_LEN], const char *path)
{
	Oid			database = InvalidOid;
	char	   *name = NULL;
	KeyfileInfo info;
	int			i;

	LWLockAcquire(keystore_shared->lock, LW_SHARED);
	for (i = 0; i < KEYSTORE_ENTRIES; i++)
	{
		KeystoreEntry *entry = &keystore_shared->entries[i];

		if (entry->used && memcmp(entry->id, id, UUID_LEN) == 0)
			database = entry->database;
	}
	LWLockRelease(keystore_shared->lock);
	if (OidIsValid(database))
		name = get_database_name(database);
	if (name == NULL && keyfile_peek(path, &info, NULL) == KEYFILE_OK &&
		info.system_identifier == GetSystemIdentifier())
		name = get_database_name(info.database);
	return name;
}

/* <uuid>.keystore */
static bool
parse_file_name(const char *name, char text[KEYSTORE_ID_CHARS])
{
	size_t		len = KEYSTORE_ID_CHARS - 1;
	size_t		i;

	if (strlen(name) != len + strlen(FILE_SUFFIX) ||
		strcmp(name + len, FILE_SUFFIX) != 0)
		return false;
	for (i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ?
			name[i] != '-' : strchr("0123456789abcdef", name[i]) == NULL)
			return false;
	strlcpy(text, name, KEYSTORE_ID_CHARS);
	return true;
}

/* gdpr.keystore_files(OUT id, path, database, bytes, modified) */
Datum
gdpr_keystore_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *directory = keystore_directory_path();
	DIR		   *dir;
	struct dirent *file;

	InitMaterializedSRF(fcinfo, 0);
	dir = AllocateDir(directory);
	while ((file = ReadDir(dir, directory)) != NULL)
	{
		Datum		values[FILE_COLUMNS];
		bool		nulls[FILE_COLUMNS] = {false};
		char		text[KEYSTORE_ID_CHARS];
		char		path[MAXPGPATH];
		char	   *database;
		struct stat st;

		if (!parse_file_name(file->d_name, text))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, file->d_name);
		if (stat(path, &st) != 0)
			continue;			/* removed meanwhile */
		values[0] = DirectFunctionCall1(uuid_in, CStringGetDatum(text));
		values[1] = CStringGetTextDatum(path);
		database = likely_owner(DatumGetUUIDP(values[0])->data, path);
		nulls[2] = database == NULL;
		values[2] = database == NULL ? (Datum) 0 :
			DirectFunctionCall1(namein, CStringGetDatum(database));
		values[3] = Int64GetDatum((int64) st.st_size);
		values[4] = TimestampTzGetDatum(time_t_to_timestamptz(st.st_mtime));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	FreeDir(dir);
	return (Datum) 0;
}

static List *
all_databases(void)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *databases = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datconnlimit != INVALID_DATABASE)
			databases = lappend_oid(databases, database->oid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return databases;
}

static void
require_no_database(const uint8 id[UUID_LEN], const char *text)
{
	ListCell   *lc;

	foreach(lc, all_databases())
	{
		Oid			database = lfirst_oid(lc);
		char	   *name = get_database_name(database);
		bool		claims = false;

		if (name == NULL)
			continue;			/* dropped meanwhile */
		if (!worker_ask_database(database, id, &claims))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("could not ask database \"%s\" whether keystore %s is its own", name, text),
					 errhint("Raise max_worker_processes if all workers are in use; the server's log has the reason.")));
		if (claims)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("keystore %s belongs to database \"%s\"", text, name),
					 errdetail("Without it nothing that is sealed in that database can be read."),
					 errhint("Drop the database first.")));
	}
}

/* gdpr.destroy_keystore(id uuid): takes effect at once */
Datum
gdpr_destroy_keystore(PG_FUNCTION_ARGS)
{
	static const uint8 everybody[UUID_LEN] = {0};
	const char *directory = keystore_directory_path();
	const uint8 *id;
	char		text[KEYSTORE_ID_CHARS];
	char		path[MAXPGPATH];
	struct stat st;
	KeyfileError err = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("id is NULL")));
	id = PG_GETARG_UUID_P(0)->data;
	keystore_format_id(id, text);
	snprintf(path, sizeof(path), "%s/%s" FILE_SUFFIX, directory, text);
	keystore_lock(id);
	keystore_lock(everybody);	/* one question at a time */
	if (lstat(path, &st) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("keystore \"%s\" does not exist", path),
				 errhint("See: SELECT * FROM gdpr.keystore_files();")));
	require_no_database(id, text);

	keystore_forget_entry(id);
	if (keyfile_discard(path, &err) != KEYFILE_OK)
		keystore_report(ERROR, path, &err);
	keystore_kek_destroy_older(text, PG_UINT32_MAX);
	if (guc_keystore_key_command[0] != '\0')
		ereport(NOTICE,
				(errmsg("the key-encryption key of keystore %s is no longer needed", text),
				 errhint("Destroy it where gdpr.keystore_key_command gets it: with it, copies of the keystore can still be opened.")));
	keystore_unlock(everybody);
	keystore_unlock(id);
	PG_RETURN_VOID();
}
