/*
 * guc.c
 *		Every setting of the extension.
 *
 * The comment on each says why an administrator wants it.
 */
#include "postgres.h"

#include <limits.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "guc.h"

char	   *guc_keystore_directory = NULL;
char	   *guc_keystore_key_command = NULL;
char	   *guc_purpose = NULL;
char	   *guc_channel = NULL;
char	   *guc_topic = NULL;
char	   *guc_actor = NULL;
char	   *guc_override_reason = NULL;
char	   *guc_source = NULL;
int			guc_standby_audit = GUC_STANDBY_REFUSE;
uint64		guc_question_version = 1;

static const struct config_enum_entry standby_audit_options[] = {
	{"refuse", GUC_STANDBY_REFUSE, false},
	{"off", GUC_STANDBY_OFF, false},
	{NULL, 0, false}
};

bool		guc_audit_durability = false;
bool		guc_physical = false;
bool		guc_allow_plaintext_copies = false;
int			guc_audit_max_lag = 1024;
int			guc_audit_lag_timeout = 10000;
char	   *guc_digest_command = NULL;
char	   *guc_sign_command = NULL;
int			guc_digest_interval = 60;
int			guc_worker_naptime = 5000;
int			guc_erasure_grace = 0;
int			guc_max_subjects_per_statement = -1;

#define RECORDED_BYTES	1000

void
guc_verify(const char *name, const char *value)
{
	if (!pg_verifymbstr(value, (int) strlen(value), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the value of %s is not valid in encoding \"%s\" of the database",
						name, GetDatabaseEncodingName()),
				 errhint("SET %s again, in this session.", name)));
}

/*
 * It is in every record that this session leaves behind: whoever could make that
 * as long as memory is would read, and have no record made.
 */
static bool
check_recorded(char **newval, void **extra, GucSource source)
{
	if (strlen(*newval) <= RECORDED_BYTES)
		return true;
	GUC_check_errdetail("It is longer than %d bytes.", RECORDED_BYTES);
	return false;
}

/*
 * A plan made with the rewrite must not run without it, nor the other way
 * round.  ResetPlanCache() only marks, so it is safe wherever an assign hook
 * runs, transaction abort included.
 */
static void
assign_physical(bool newval, void *extra)
{
	if (newval != guc_physical)
		ResetPlanCache();
}

/* What the session asks its data for has changed. */
static void
assign_question(const char *newval, void *extra)
{
	guc_question_version++;
}

void
guc_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("gdpr must be loaded when the server starts"),
				 errhint("Add gdpr to shared_preload_libraries in postgresql.conf and restart the server.")));

	/*
	 * Where the keys live.  Outside the data directory and every tablespace,
	 * so that no backup of the database takes them along.
	 */
	DefineCustomStringVariable("gdpr.keystore_directory",
							   "Directory that holds the keystores of this server's databases.",
							   "It must be owned by the server's user, have mode 0700, and lie outside the data "
							   "directory and every tablespace, so that backups of the database never contain keys.",
							   &guc_keystore_directory,
							   "",
							   PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	/*
	 * Keeps the key-encryption key off the machine's disks: a copy of the
	 * keystore's volume, or a snapshot of the whole machine, is then useless.
	 */
	DefineCustomStringVariable("gdpr.keystore_key_command",
							   "Shell command that prints the key-encryption key of a keystore.",
							   "%i is replaced by the keystore's id, %v by the version of the key, %% by %. It prints 64 "
							   "hexadecimal digits or 32 bytes. Empty: the key is in a file beside the keystore.",
							   &guc_keystore_key_command,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	/*
	 * What the session's work is for: personal data is revealed for granted
	 * purposes only.  Usually set with ALTER ROLE ... SET.
	 */
	DefineCustomStringVariable("gdpr.purpose",
							   "Purpose for which this session processes personal data.",
							   "Without a purpose that was granted to the role, sealed columns are not revealed.",
							   &guc_purpose,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, assign_question, NULL);

	/*
	 * Consent may be given for some channels or topics only: whoever asks
	 * without saying which learns whether there is any.
	 */
	DefineCustomStringVariable("gdpr.channel",
							   "Channel on which persons are to be addressed, such as email or phone.",
							   "Narrows gdpr.purpose to persons who permit that. Empty: any channel.",
							   &guc_channel,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, assign_question, NULL);
	DefineCustomStringVariable("gdpr.topic",
							   "Topic on which persons are to be addressed.",
							   "Narrows gdpr.purpose to persons who permit that. Empty: any topic.",
							   &guc_topic,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, assign_question, NULL);

	/*
	 * Behind a connection pool all sessions are one role: the application
	 * says for whom it acts, usually with SET LOCAL.
	 */
	DefineCustomStringVariable("gdpr.actor",
							   "The human on whose behalf this session acts.",
							   "Recorded with what is done. A purpose can require it.",
							   &guc_actor,
							   "",
							   PGC_USERSET,
							   0,
							   check_recorded, NULL, NULL);

	/* In an emergency, and at one's own risk: it is recorded. */
	DefineCustomStringVariable("gdpr.override_reason",
							   "Reason for which a lacking consent, an objection or a restriction is overridden.",
							   "Only for purposes that were granted to the role with override, never for direct marketing.",
							   &guc_override_reason,
							   "",
							   PGC_USERSET,
							   0,
							   check_recorded, NULL, NULL);

	/*
	 * People may ask where their data comes from, also if it was not from
	 * themselves (Art. 14 GDPR).
	 */
	DefineCustomStringVariable("gdpr.source",
							   "Where the personal data that this session enters comes from.",
							   "It is recorded for each new person. Not verified.",
							   &guc_source,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, NULL, NULL);

	/*
	 * For copies and inspection: shows what is stored.  Anyone may set it,
	 * since what it shows is sealed.
	 */
	DefineCustomBoolVariable("gdpr.physical",
							 "Shows protected tables as they are stored: sealed.",
							 "For dumps and inspection. It never reveals anything.",
							 &guc_physical,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, assign_physical, NULL);

	/*
	 * CREATE TABLE AS and the like can copy revealed values to where no
	 * forgetting reaches; whoever needs that, says so.
	 */
	DefineCustomBoolVariable("gdpr.allow_plaintext_copies",
							 "Allows statements that store revealed values in unprotected tables or columns.",
							 "Such copies are out of reach of forgetting and retention.",
							 &guc_allow_plaintext_copies,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("gdpr.erasure_grace",
							"Time before gdpr.plan_erasure() has persons forgotten, in which that can be taken back.",
							NULL,
							&guc_erasure_grace,
							0,
							0,
							INT_MAX / 2,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	/* How long unfinished erasures wait for their next attempt. */
	DefineCustomIntVariable("gdpr.worker_naptime",
							"Time between two looks of the background worker for unfinished erasures.",
							"Erasures are finished at commit; this bounds the delay after a failure, after "
							"COMMIT PREPARED, and on a standby.",
							&guc_worker_naptime,
							5000,
							10,
							INT_MAX / 2,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	/*
	 * Against somebody who takes a whole customer base along: whoever needs
	 * few persons at a time, gets few at a time.
	 */
	DefineCustomIntVariable("gdpr.max_subjects_per_statement",
							"Number of persons that one statement may reveal, whatever the purpose.",
							"Usually set with ALTER ROLE. -1: as many as purposes and grants allow.",
							&guc_max_subjects_per_statement,
							-1,
							-1,
							INT_MAX,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	/*
	 * Whoever has to tell the victims of a breach must know them, also those
	 * whose data left in the moment before a crash.
	 */
	DefineCustomBoolVariable("gdpr.audit_durability",
							 "Nothing of personal data leaves the server before its audit record is on disk.",
							 "off: records are on disk some moments later, as with synchronous_commit = off.",
							 &guc_audit_durability,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	/*
	 * Records that nobody can store must not fill the disk with write-ahead
	 * log for ever, nor be dropped: rather nobody reads.
	 */
	DefineCustomIntVariable("gdpr.audit_max_lag",
							"How far the audit trail may be behind before personal data is not revealed or written any more.",
							"In write-ahead log that waits to be read for it. Statements then wait for gdpr.audit_lag_timeout, and fail. -1: no limit.",
							&guc_audit_max_lag,
							1024,
							-1,
							MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("gdpr.audit_lag_timeout",
							"How long a statement waits for an audit trail that is behind, before it fails.",
							NULL,
							&guc_audit_lag_timeout,
							10000,
							0,
							INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	/*
	 * A DBA can write the whole trail anew, with its hashes, but not what has
	 * left the machine before.
	 */
	DefineCustomStringVariable("gdpr.digest_command",
							   "Shell command that takes digests of the audit trail to another system.",
							   "It gets a line of JSON on its standard input. Empty: none.",
							   &guc_digest_command,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("gdpr.sign_command",
							   "Shell command that signs certificates.",
							   "It gets the document on its standard input, and prints the signature in base64. Empty: none.",
							   &guc_sign_command,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("gdpr.digest_interval",
							"Time between two runs of gdpr.digest_command for a database, while its audit trail grows.",
							NULL,
							&guc_digest_interval,
							60,
							1,
							INT_MAX / 1000,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	/* For reports on a standby, where it is known otherwise who reads. */
	DefineCustomEnumVariable("gdpr.standby_audit",
							 "What a standby does when personal data is read, since it cannot write the audit trail.",
							 "refuse: an error; off: the data is revealed and there is no record of it.",
							 &guc_standby_audit,
							 GUC_STANDBY_REFUSE,
							 standby_audit_options,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	MarkGUCPrefixReserved("gdpr");
}
