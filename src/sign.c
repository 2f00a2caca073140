/*
 * sign.c
 *		Signatures, by a key that is in no database and no backup:
 *		gdpr.sign.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "port.h"
#include "utils/builtins.h"

#include "command.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(gdpr_sign);

#define SIGN_COMMAND_SECONDS	30
#define MAX_SIGNATURE			8192	/* characters */

static void
report_failure(int status)
{
	if (status == COMMAND_NOT_STARTED)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not start the sign command: %m")));
	if (status == COMMAND_TIMED_OUT)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("sign command did not finish within %d seconds", SIGN_COMMAND_SECONDS)));
	ereport(ERROR,
			(errcode(ERRCODE_SYSTEM_ERROR),
			 errmsg("sign command failed: %s", wait_result_to_str(status)),
			 errhint("Its own messages are in the server's log. Run the command of gdpr.sign_command by hand as the server's user.")));
}

/* Without white space; does it look like base64? */
static bool
clean_signature(char *output, size_t *len)
{
	size_t		kept = 0;
	size_t		i;

	for (i = 0; i < *len; i++)
		if (strchr(" \t\r\n", output[i]) == NULL)
			output[kept++] = output[i];
	*len = kept;
	for (i = 0; i < kept; i++)
		if (!isalnum((unsigned char) output[i]) && strchr("+/=", output[i]) == NULL)
			return false;
	return kept > 0 && kept < MAX_SIGNATURE && kept % 4 == 0;
}

/*
 * gdpr.sign(document) RETURNS text
 *
 * The signature of the document, with a line feed after it, in base64, as
 * gdpr.sign_command makes it.  object_not_in_prerequisite_state: there is no
 * such command; system_error: it failed.
 */
Datum
gdpr_sign(PG_FUNCTION_ARGS)
{
	char		output[MAX_SIGNATURE];
	size_t		len;
	int			status;

	if (guc_sign_command == NULL || guc_sign_command[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing can be signed: gdpr.sign_command is not set"),
				 errhint("An administrator sets it in postgresql.conf.")));
	status = command_run(guc_sign_command,
						 psprintf("%s\n", text_to_cstring(PG_GETARG_TEXT_PP(0))),
						 SIGN_COMMAND_SECONDS, output, sizeof(output), &len);
	if (status != 0)
		report_failure(status);
	if (!clean_signature(output, &len))
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("sign command printed no signature"),
				 errdetail("It has to print the signature in base64, and nothing else.")));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(output, (int) len));
}
