/*
 * permitted.c
 *		The decision, as SQL sees it; and who asks.
 */
#include "postgres.h"

#include "common/base64.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"

#include "alias.h"
#include "compat.h"
#include "crypto.h"
#include "envelope.h"
#include "errors.h"
#include "guc.h"
#include "keystore.h"
#include "policy.h"
#include "sealed.h"

PG_FUNCTION_INFO_V1(gdpr_permitted);
PG_FUNCTION_INFO_V1(gdpr_row_permitted);
PG_FUNCTION_INFO_V1(gdpr_require_visible);
PG_FUNCTION_INFO_V1(gdpr_standing);
PG_FUNCTION_INFO_V1(gdpr_caller);
PG_FUNCTION_INFO_V1(gdpr_random_token);

#define TOKEN_BYTES		32

/*
 * What purpose, channel and topic, from an argument on, ask.  With NULL for the
 * purpose, what is NULL is as the session says.
 */
static PolicyQuestion *
question_of_args(FunctionCallInfo fcinfo, int first)
{
	const char *texts[3] = {NULL, NULL, NULL};
	bool		given = false;
	int			i;

	for (i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(first + i))
			continue;
		texts[i] = text_to_cstring(PG_GETARG_TEXT_PP(first + i));
		given = true;
	}
	if (!given)
		return policy_session();
	if (texts[0] == NULL)
	{
		texts[0] = guc_purpose;
		texts[1] = texts[1] != NULL ? texts[1] : guc_channel;
		texts[2] = texts[2] != NULL ? texts[2] : guc_topic;
	}
	return policy_question(texts[0], texts[1], texts[2]);
}

/*
 * Is an argument the same in every call?  A parameter is not: PL/pgSQL goes on
 * with the same expression when its variables have changed.
 */
static bool
is_constant(FmgrInfo *flinfo, int arg)
{
	const FuncExpr *call = (const FuncExpr *) flinfo->fn_expr;

	return call != NULL && IsA(call, FuncExpr) &&
		arg < list_length(call->args) && IsA(list_nth(call->args, arg), Const);
}

/* The person a number was given to, also a further one; 0: no such number. */
static uint64
person_of(int64 number)
{
	if (number <= 0 || (uint64) number > KEYSTORE_MAX_NUMBER)
		return 0;
	return alias_person((uint64) number);
}

/*
 * gdpr.permitted(subject, purpose, channel, topic) RETURNS boolean
 *
 * May current_user use the person's data for the purpose?  NULL for channel or
 * topic: any.  NULL for purpose: the session's, and then its channel and topic
 * where they are NULL.  False also for the
 * forgotten, and for NULL.  ERRCODE_GDPR_PURPOSE as for reading.
 */
Datum
gdpr_permitted(PG_FUNCTION_ARGS)
{
	uint64		person = PG_ARGISNULL(0) ? 0 : person_of(PG_GETARG_INT64(0));

	if (person == 0)
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(policy_permits_person(question_of_args(fcinfo, 1), person) &&
				   !keystore_is_forgotten(person));
}

/*
 * gdpr.row_permitted(envelope, purpose, channel, topic) RETURNS boolean
 *
 * The same of the person that a row belongs to.  A row without an envelope is
 * not sealed yet: nothing can be recorded of its person.  One that is kept by
 * law outlives its person, under the keep number.
 */
Datum
gdpr_row_permitted(PG_FUNCTION_ARGS)
{
	PolicyQuestion **question = fcinfo->flinfo->fn_extra;
	EnvelopeHeader header = {0};

	/* a view's, which are constants */
	if (!PG_ARGISNULL(1) && question == NULL &&
		is_constant(fcinfo->flinfo, 1) && is_constant(fcinfo->flinfo, 2) &&
		is_constant(fcinfo->flinfo, 3))
	{
		PolicyQuestion *asked = question_of_args(fcinfo, 1);

		question = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt,
									  sizeof(PolicyQuestion *));
		*question = policy_kept(asked);
		fcinfo->flinfo->fn_extra = question;
	}
	if (!PG_ARGISNULL(0))
	{
		bytea	   *sealed = PG_GETARG_BYTEA_P_SLICE(0, 0, ENVELOPE_HEADER_MAX);

		if (!envelope_read_header((uint8 *) VARDATA_ANY(sealed),
								  VARSIZE_ANY_EXHDR(sealed), &header))
			header.number = 0;
		PG_FREE_IF_COPY(sealed, 0);
	}
	if (!policy_permits_person(question != NULL ? *question :
							   question_of_args(fcinfo, 1),
							   sealed_person(header.number)))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(header.number == 0 || !keystore_is_forgotten(header.number));
}

/*
 * gdpr.require_visible(visible) RETURNS boolean
 *
 * True, or an error: INSERT ... ON CONFLICT DO UPDATE into a view for a purpose
 * found a row in its way that is not in the view.
 */
Datum
gdpr_require_visible(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || !PG_GETARG_BOOL(0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("conflicting row is not visible through the view"),
				 errdetail("Its person does not permit what the view is for.")));
	PG_RETURN_BOOL(true);
}

/*
 * gdpr.standing(subject, purpose, channel, topic) RETURNS text
 *
 * What stands in the way, for officers.  ERRCODE_GDPR_PURPOSE: there is no
 * such purpose.
 */
Datum
gdpr_standing(PG_FUNCTION_ARGS)
{
	static const char *const words[] = {
		[STANDING_PERMITTED] = "permitted",
		[STANDING_RESTRICTED] = "restricted",
		[STANDING_OBJECTED] = "objected",
		[STANDING_BLOCKED] = "blocked",
		[STANDING_REFUSED] = "refused",
		[STANDING_EXPIRED] = "expired",
		[STANDING_NO_CONSENT] = "no consent"
	};
	uint64		person;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	person = person_of(PG_GETARG_INT64(0));
	if (person == 0)
		PG_RETURN_NULL();
	if (keystore_is_forgotten(person))
		PG_RETURN_TEXT_P(cstring_to_text("forgotten"));
	PG_RETURN_TEXT_P(cstring_to_text(words[policy_standing(question_of_args(fcinfo, 1),
														   person)]));
}

/*
 * gdpr.caller() RETURNS name
 *
 * The role outside of all SECURITY DEFINER functions: session_user, or what
 * SET ROLE made of it.
 */
Datum
gdpr_caller(PG_FUNCTION_ARGS)
{
	Name		name = palloc0(NAMEDATALEN);

	namestrcpy(name, GetUserNameFromId(GetOuterUserId(), false));
	PG_RETURN_NAME(name);
}

/*
 * gdpr.random_token() RETURNS text
 *
 * 256 bits from the cryptographic generator as base64url without padding
 * (RFC 4648, section 5).
 */
Datum
gdpr_random_token(PG_FUNCTION_ARGS)
{
	uint8		bytes[TOKEN_BYTES];
	char		text[TOKEN_BYTES * 2];
	int			len = 0;
	int			i;

	if (crypto_random(bytes, sizeof(bytes)))
		len = compat_b64_encode(bytes, sizeof(bytes), text, sizeof(text));
	crypto_wipe(bytes, sizeof(bytes));
	if (len <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random bytes")));
	for (i = 0; i < len; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	while (len > 0 && text[len - 1] == '=')
		len--;
	PG_RETURN_TEXT_P(cstring_to_text_with_len(text, len));
}
