/*
 * suppression.c
 *		Keyed hashes of identifiers, for suppression lists: gdpr.keyed_hash.
 *
 * What the lists are is in sql/69_suppression.sql.  A list's key is that of a
 * number of its own, so that it dies as a person's does, and does not die with
 * the tokens when these are rotated.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "crypto.h"
#include "keystore.h"

PG_FUNCTION_INFO_V1(gdpr_keyed_hash);

#define LIST_CATEGORY	0		/* numbers of lists are used for nothing else */
#define HASH_BYTES		32

/*
 * gdpr.keyed_hash(number, value) RETURNS bytea
 *
 * NULL if the key was destroyed, or for NULL.  numeric_value_out_of_range: it
 * is no number.
 */
Datum
gdpr_keyed_hash(PG_FUNCTION_ARGS)
{
	uint8		key[KEYSTORE_KEY_BYTES];
	bytea	   *value;
	bytea	   *result;
	int64		number;
	bool		ok;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	number = PG_GETARG_INT64(0);
	if (number < (int64) KEYSTORE_FIRST_NUMBER ||
		number > (int64) KEYSTORE_MAX_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("number is out of range")));
	value = PG_GETARG_BYTEA_PP(1);
	result = palloc(VARHDRSZ + HASH_BYTES);
	SET_VARSIZE(result, VARHDRSZ + HASH_BYTES);
	if (!keystore_derive((uint64) number, LIST_CATEGORY, 0, key))
		PG_RETURN_NULL();
	ok = crypto_hmac(key, sizeof(key), (uint8 *) VARDATA_ANY(value),
					 VARSIZE_ANY_EXHDR(value), (uint8 *) VARDATA(result));
	crypto_wipe(key, sizeof(key));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a hash")));
	PG_RETURN_BYTEA_P(result);
}
