/*
 * keystore_report.c
 *		What is wrong with a keystore file, in words: which file, and what to
 *		do about it.
 */
#include "postgres.h"

#include "errors.h"
#include "keystore_internal.h"

#define RESTORE_HINT "Stop the server, put your newest copy of the file back, and start the server: it destroys again what was forgotten since."

static void
report_damage(int elevel, const char *path, const KeyfileError *err)
{
	char		what[128];

	if (err->node.tree == KEYTREE_SUBJECT && err->node.level >= KEYTREE_NUMBER_LEVEL)
		snprintf(what, sizeof(what), "One subject is affected.");
	else if (err->node.tree == KEYTREE_SUBJECT)
		snprintf(what, sizeof(what), "Up to 2^%d subject numbers are affected.",
				 KEYTREE_NUMBER_BITS - err->node.level);
	else if (err->node.tree == KEYTREE_EXPIRY)
		snprintf(what, sizeof(what), "Up to 2^%d months of retention are affected.",
				 KEYTREE_EXPIRY_LEAF - err->node.level);
	else
		snprintf(what, sizeof(what), "Nothing that lives is affected.");

	if (err->record == KEYFILE_NO_RECORD)
		ereport(elevel,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("keystore \"%s\" is damaged in its header", path),
				 errdetail("%s", what),
				 errhint(RESTORE_HINT)));
	else
		ereport(elevel,
				(errcode(ERRCODE_GDPR_DAMAGED),
				 errmsg("keystore \"%s\" is damaged in record %u", path, err->record),
				 errdetail("%s", what),
				 errhint(RESTORE_HINT)));
}

/*
 * Raises err at a level.  OK and PUNCTURED are no errors and do not come
 * here.
 */
void
keystore_report(int elevel, const char *path, const KeyfileError *err)
{
	char		id[KEYSTORE_ID_CHARS];

	errno = err->saved_errno;
	switch (err->result)
	{
		case KEYFILE_MISSING:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" does not exist", path),
					 errhint("Put the file and its key-encryption key back from your copy of the keystore directory. Without them nothing that was sealed can be read again.")));
			break;
		case KEYFILE_EXISTS:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" exists already", path)));
			break;
		case KEYFILE_NOT_REGULAR:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" is not a regular file", path),
					 errhint("Put the file itself there, not a link.")));
			break;
		case KEYFILE_WRONG_OWNER:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" is not owned by the server's user", path),
					 errhint("As root run: chown --reference=\"$(dirname '%s')\" '%s'", path, path)));
			break;
		case KEYFILE_WRONG_MODE:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" is accessible to others", path),
					 errhint("Run: chmod 0600 '%s'", path)));
			break;
		case KEYFILE_READ_ONLY:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("could not open keystore \"%s\" for writing: %m", path),
					 errhint("Forgetting needs a keystore that can be written. Run: chmod 0600 '%s' -- or remount its file system.", path)));
			break;
		case KEYFILE_NO_SPACE:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("could not write keystore \"%s\": %m", path),
					 errhint("Free space on the file system of the keystore directory.")));
			break;
		case KEYFILE_IO:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("could not access keystore \"%s\": %m", path),
					 errhint("Check the disk and the permissions of the keystore directory.")));
			break;
		case KEYFILE_REPLACED:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" was replaced while the server is running", path),
					 errhint("Restart the server: it then checks the file and destroys again what was forgotten since.")));
			break;
		case KEYFILE_TRUNCATED:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_DAMAGED),
					 errmsg("keystore \"%s\" is truncated", path),
					 errhint(RESTORE_HINT)));
			break;
		case KEYFILE_BAD_MAGIC:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_DAMAGED),
					 errmsg("file \"%s\" is not a keystore", path),
					 errhint(RESTORE_HINT)));
			break;
		case KEYFILE_BAD_VERSION:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore \"%s\" has format version %u, which this library does not know", path, err->version),
					 errhint("Install the version of gdpr that wrote it, or a later one.")));
			break;
		case KEYFILE_FOREIGN:
			keystore_format_id(err->uuid, id);
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("file \"%s\" is another keystore, %s", path, id),
					 errhint("Rename the file to %s.keystore, and put the one of this database back from your copy.", id)));
			break;
		case KEYFILE_NO_KEK:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("version %u of the key-encryption key of keystore \"%s\" is missing", err->version, path),
					 errhint("Restart the server after putting the key back.")));
			break;
		case KEYFILE_WRONG_KEK:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("version %u of the key-encryption key does not open keystore \"%s\"", err->version, path),
					 errdetail("The key is not the one under which the keystore was written, or the header of the keystore was changed."),
					 errhint("Check gdpr.keystore_key_command, or put the keystore and its .kek file of the same time back from your copy.")));
			break;
		case KEYFILE_DAMAGED_HEADER:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_DAMAGED),
					 errmsg("keystore \"%s\" is damaged: both headers", path),
					 errhint(RESTORE_HINT)));
			break;
		case KEYFILE_DAMAGED:
			report_damage(elevel, path, err);
			break;
		case KEYFILE_ROLLED_BACK:
			if (err->generation == 0)
				ereport(elevel,
						(errcode(ERRCODE_GDPR_DAMAGED),
						 errmsg("keystore \"%s\" is put together from parts of different times", path),
						 errhint(RESTORE_HINT)));
			else
				ereport(elevel,
						(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
						 errmsg("keystore \"%s\" was replaced by an older copy, of generation " UINT64_FORMAT, path, err->generation),
						 errhint("Restart the server: it then destroys again what was forgotten since.")));
			break;
		case KEYFILE_NO_NUMBERS:
			ereport(elevel,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("keystore \"%s\" has no subject numbers left", path)));
			break;
		case KEYFILE_FULL:
			ereport(elevel,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("keystore \"%s\" is full", path),
					 errhint("Run: SELECT gdpr.rotate_key_encryption_key(); -- it compacts the file.")));
			break;
		case KEYFILE_NO_MEMORY:
			ereport(elevel,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
			break;
		case KEYFILE_OK:
		case KEYFILE_PUNCTURED:
		case KEYFILE_PENDING:
		case KEYFILE_INVALID:
		case KEYFILE_NO_CRYPTO:
			ereport(elevel,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg_internal("keystore \"%s\": %s", path,
									 keyfile_result_name(err->result))));
			break;
	}
}
