/*
 * varint.h
 *		Numbers as bytes, seven bits in each, the lowest first; the last byte has
 *		no high bit (LEB128, DWARF 5, 7.6).
 */
#ifndef GDPR_VARINT_H
#define GDPR_VARINT_H

#include "postgres.h"

#include "lib/stringinfo.h"

static inline void
varint_append(StringInfo out, uint64 value)
{
	for (; value >= 0x80; value >>= 7)
		appendStringInfoCharMacro(out, (char) (value | 0x80));
	appendStringInfoCharMacro(out, (char) value);
}

/* False: it does not end, or is longer than 64 bits. */
static inline bool
varint_read(const uint8 *buf, size_t len, size_t *offset, uint64 *value)
{
	int			shift;

	*value = 0;
	for (shift = 0; shift < 64 && *offset < len; shift += 7)
	{
		uint8		byte = buf[(*offset)++];

		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

#endif							/* GDPR_VARINT_H */
