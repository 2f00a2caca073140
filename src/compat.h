/*
 * compat.h
 *		Differences between PostgreSQL 15, 16, 17 and 18; every test of
 *		PG_VERSION_NUM is here.
 */
#ifndef GDPR_COMPAT_H
#define GDPR_COMPAT_H

#include "postgres.h"

#include "utils/syscache.h"

#if PG_VERSION_NUM < 160000
/* 16 has it: an attribute of a system cache tuple that is never NULL. */
static inline Datum
SysCacheGetAttrNotNull(int cache, HeapTuple tuple, AttrNumber attnum)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(cache, tuple, attnum, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null value in cached tuple, column %d", attnum);
	return value;
}
#endif

/* Base64: 18 takes bytes where older ones take char. */
#if PG_VERSION_NUM < 180000
#define COMPAT_BYTES_IN(p)	((const char *) (p))
#define COMPAT_BYTES_OUT(p)	((char *) (p))
#else
#define COMPAT_BYTES_IN(p)	((const uint8 *) (p))
#define COMPAT_BYTES_OUT(p)	((uint8 *) (p))
#endif
#define compat_b64_encode(src, len, dst, dstlen) \
	pg_b64_encode(COMPAT_BYTES_IN(src), len, dst, dstlen)
#define compat_b64_decode(src, len, dst, dstlen) \
	pg_b64_decode(src, len, COMPAT_BYTES_OUT(dst), dstlen)

#endif							/* GDPR_COMPAT_H */
