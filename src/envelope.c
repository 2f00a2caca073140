/*
 * envelope.c
 *		The byte format of gdpr.sealed.
 *
 * Everything that parses bytes from a table is here, free of PostgreSQL, so
 * that it can be fuzzed on its own.
 */
#include "envelope.h"

#include <stdlib.h>
#include <string.h>

#include "crypto.h"

/* First byte of a segment: the category, and what follows. */
#define SEGMENT_CATEGORY		0x0F
#define SEGMENT_HAS_MONTH		0x10
#define SEGMENT_HAS_VIA			0x20
#define SEGMENT_HAS_NUMBER		0x80
#define SEGMENT_UNUSED			0x40

#define SEGMENT_MAX_HEADER		(1 + 2 + 1 + ENVELOPE_NUMBER_BYTES + CRYPTO_NONCE_BYTES + 5)
#define AAD_FIXED_BYTES			(7 + 1 + ENVELOPE_NUMBER_BYTES + 1 + 1 + 2 + 4 + 1)
#define AAD_STACK_BYTES			256

static void
put_uint(uint8_t *buf, uint64_t value, int bytes)
{
	int			i;

	for (i = bytes - 1; i >= 0; i--)
	{
		buf[i] = (uint8_t) value;
		value >>= 8;
	}
}

static uint64_t
get_uint(const uint8_t *buf, int bytes)
{
	uint64_t	value = 0;
	int			i;

	for (i = 0; i < bytes; i++)
		value = (value << 8) | buf[i];
	return value;
}

bool
envelope_read_header(const uint8_t *buf, size_t len, EnvelopeHeader *header)
{
	if (len < ENVELOPE_HEADER_BYTES ||
		(buf[0] != ENVELOPE_VERSION &&
		 (buf[0] != ENVELOPE_VERSION_EPOCH || len < ENVELOPE_HEADER_MAX)))
		return false;
	header->version = buf[0];
	header->epoch = buf[1] >> 6;
	header->encoding = buf[1] & 0x3F;
	header->number = get_uint(buf + 2, ENVELOPE_NUMBER_BYTES);
	header->table_id = (uint32_t) get_uint(buf + 7, 3);
	header->nsegments = buf[10];
	memcpy(header->digest, buf + 11, ENVELOPE_DIGEST_BYTES);
	header->token_epoch = header->version == ENVELOPE_VERSION ? 1 :
		(uint16_t) get_uint(buf + ENVELOPE_HEADER_BYTES, 2);
	return header->version == ENVELOPE_VERSION || header->token_epoch > 1;
}

size_t
envelope_header_bytes(const EnvelopeHeader *header)
{
	return header->token_epoch == 1 ? ENVELOPE_HEADER_BYTES :
		ENVELOPE_HEADER_MAX;
}

size_t
envelope_write_header(uint8_t *buf, const EnvelopeHeader *header)
{
	buf[0] = header->token_epoch == 1 ? ENVELOPE_VERSION :
		ENVELOPE_VERSION_EPOCH;
	buf[1] = (uint8_t) (header->epoch << 6 | header->encoding);
	put_uint(buf + 2, header->number, ENVELOPE_NUMBER_BYTES);
	put_uint(buf + 7, header->table_id, 3);
	buf[10] = header->nsegments;
	memcpy(buf + 11, header->digest, ENVELOPE_DIGEST_BYTES);
	if (header->token_epoch != 1)
		put_uint(buf + ENVELOPE_HEADER_BYTES, header->token_epoch, 2);
	return envelope_header_bytes(header);
}

static size_t
varint_bytes(uint64_t value)
{
	size_t		n = 1;

	while (value >= 0x80)
	{
		value >>= 7;
		n++;
	}
	return n;
}

static uint8_t *
put_varint(uint8_t *p, uint64_t value)
{
	while (value >= 0x80)
	{
		*p++ = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	*p++ = (uint8_t) value;
	return p;
}

static bool
get_varint(const uint8_t *plain, size_t plainlen, size_t *offset,
		   uint64_t *value)
{
	int			shift;

	*value = 0;
	for (shift = 0; shift < 35; shift += 7)
	{
		uint8_t		byte;

		if (*offset >= plainlen)
			return false;
		byte = plain[(*offset)++];
		*value |= (uint64_t) (byte & 0x7F) << shift;
		if ((byte & 0x80) == 0)
			return true;
	}
	return false;
}

bool
envelope_next_segment(const uint8_t *buf, size_t len,
					  const EnvelopeHeader *header, size_t *offset,
					  EnvelopeSegment *segment)
{
	size_t		at = *offset == 0 ? envelope_header_bytes(header) : *offset;
	size_t		begin = at;
	size_t		fixed;
	uint64_t	ciphertext;
	uint8_t		first;

	if (at >= len)
		return false;
	first = buf[at];
	fixed = 1 + CRYPTO_NONCE_BYTES +
		((first & SEGMENT_HAS_MONTH) != 0 ? 2 : 0) +
		((first & SEGMENT_HAS_VIA) != 0 ? 1 : 0) +
		((first & SEGMENT_HAS_NUMBER) != 0 ? ENVELOPE_NUMBER_BYTES : 0);
	if ((first & SEGMENT_UNUSED) != 0 || len - at < fixed)
		return false;

	segment->start = buf + at;
	segment->category = first & SEGMENT_CATEGORY;
	at++;
	segment->month = 0;
	if ((first & SEGMENT_HAS_MONTH) != 0)
	{
		segment->month = (uint16_t) get_uint(buf + at, 2);
		at += 2;
	}
	segment->via = 0;
	if ((first & SEGMENT_HAS_VIA) != 0)
		segment->via = buf[at++];
	segment->number = header->number;
	if ((first & SEGMENT_HAS_NUMBER) != 0)
	{
		segment->number = get_uint(buf + at, ENVELOPE_NUMBER_BYTES);
		at += ENVELOPE_NUMBER_BYTES;
	}
	segment->nonce = buf + at;
	at += CRYPTO_NONCE_BYTES;
	if (!get_varint(buf, len, &at, &ciphertext) ||
		len - at < CRYPTO_TAG_BYTES ||
		ciphertext > len - at - CRYPTO_TAG_BYTES)
		return false;
	segment->len = (uint32_t) ciphertext;
	segment->ciphertext = buf + at;
	segment->tag = segment->ciphertext + segment->len;
	at += segment->len + CRYPTO_TAG_BYTES;
	segment->size = at - begin;
	*offset = at;
	return true;
}

bool
envelope_validate(const uint8_t *buf, size_t len)
{
	EnvelopeHeader header;
	EnvelopeSegment segment;
	size_t		offset = 0;
	int			previous = -1;
	int			i;

	if (!envelope_read_header(buf, len, &header) || header.epoch != 0)
		return false;
	offset = envelope_header_bytes(&header);
	for (i = 0; i < header.nsegments; i++)
	{
		int			order;

		if (!envelope_next_segment(buf, len, &header, &offset, &segment))
			return false;
		order = segment.via * 16 + segment.category;
		if (order <= previous || segment.month > 4095 ||
			segment.number == 0)
			return false;
		previous = order;
	}
	return offset == len;
}

size_t
envelope_segment_bytes(size_t len)
{
	return SEGMENT_MAX_HEADER + len + CRYPTO_TAG_BYTES;
}

/*
 * The associated data: what a segment belongs to.  In stack if it fits, else
 * allocated; free with free_aad.
 */
static uint8_t *
make_aad(const EnvelopeHeader *header, uint8_t category, uint8_t via,
		 uint16_t month, uint64_t number, const uint8_t *rowkey,
		 size_t rowkeylen, uint8_t *stack, size_t *aadlen)
{
	uint8_t    *aad = stack;
	uint8_t    *p;

	*aadlen = AAD_FIXED_BYTES + rowkeylen;
	if (*aadlen > AAD_STACK_BYTES && (aad = malloc(*aadlen)) == NULL)
		return NULL;
	p = aad;
	memcpy(p, "gdprenv", 7);
	p += 7;
	*p++ = ENVELOPE_VERSION;	/* of segments: the same in both */
	put_uint(p, number, ENVELOPE_NUMBER_BYTES);
	p += ENVELOPE_NUMBER_BYTES;
	*p++ = category;
	*p++ = via;
	put_uint(p, month, 2);
	p += 2;
	put_uint(p, header->table_id, 4);
	p += 4;
	*p++ = header->encoding;
	if (rowkeylen > 0)
		memcpy(p, rowkey, rowkeylen);
	return aad;
}

static void
free_aad(uint8_t *aad, uint8_t *stack)
{
	if (aad != stack)
		free(aad);
}

size_t
envelope_seal_segment(uint8_t *buf, const EnvelopeHeader *header,
					  uint8_t category, uint8_t via, uint16_t month,
					  uint64_t number, const uint8_t *rowkey, size_t rowkeylen,
					  const uint8_t key[32], const uint8_t *plain, size_t len)
{
	uint8_t		stack[AAD_STACK_BYTES];
	uint8_t    *aad;
	uint8_t    *p = buf;
	uint8_t    *nonce;
	size_t		aadlen;
	bool		own = number != header->number;
	bool		ok;

	*p++ = (uint8_t) (category | (own ? SEGMENT_HAS_NUMBER : 0) |
					  (month != 0 ? SEGMENT_HAS_MONTH : 0) |
					  (via != 0 ? SEGMENT_HAS_VIA : 0));
	if (month != 0)
	{
		put_uint(p, month, 2);
		p += 2;
	}
	if (via != 0)
		*p++ = via;
	if (own)
	{
		put_uint(p, number, ENVELOPE_NUMBER_BYTES);
		p += ENVELOPE_NUMBER_BYTES;
	}
	nonce = p;
	if (!crypto_nonce(nonce))
		return 0;
	p += CRYPTO_NONCE_BYTES;
	p = put_varint(p, len);

	aad = make_aad(header, category, via, month, number, rowkey, rowkeylen,
				   stack, &aadlen);
	if (aad == NULL)
		return 0;
	ok = crypto_seal(key, nonce, aad, aadlen, plain, len, p, p + len);
	free_aad(aad, stack);
	return ok ? (size_t) (p - buf) + len + CRYPTO_TAG_BYTES : 0;
}

bool
envelope_open_segment(const EnvelopeHeader *header,
					  const EnvelopeSegment *segment, const uint8_t *rowkey,
					  size_t rowkeylen, const uint8_t key[32], uint8_t *out)
{
	uint8_t		stack[AAD_STACK_BYTES];
	uint8_t    *aad;
	size_t		aadlen;
	bool		ok;

	aad = make_aad(header, segment->category, segment->via, segment->month,
				   segment->number, rowkey, rowkeylen, stack, &aadlen);
	if (aad == NULL)
		return false;
	ok = crypto_open(key, segment->nonce, aad, aadlen, segment->ciphertext,
					 segment->len, out, segment->tag);
	free_aad(aad, stack);
	return ok;
}

size_t
envelope_padded_length(size_t len)
{
	size_t		e = 0;
	size_t		s = 0;
	size_t		mask;

	if (len < 16)
		return 16;
	while ((len >> (e + 1)) != 0)
		e++;
	while ((e >> s) != 0)
		s++;
	mask = ((size_t) 1 << (e - s)) - 1;
	return (len + mask) & ~mask;
}

size_t
envelope_entry_bytes(uint32_t column_id, int64_t len)
{
	return varint_bytes(column_id) + varint_bytes((uint64_t) (len + 1)) +
		(len > 0 ? (size_t) len : 0);
}

size_t
envelope_write_entry(uint8_t *buf, uint32_t column_id, const uint8_t *value,
					 int64_t len)
{
	uint8_t    *p = put_varint(buf, column_id);

	p = put_varint(p, (uint64_t) (len + 1));
	if (len > 0)
	{
		memcpy(p, value, (size_t) len);
		p += len;
	}
	return (size_t) (p - buf);
}

bool
envelope_next_entry(const uint8_t *plain, size_t plainlen, size_t *offset,
					uint32_t *column_id, const uint8_t **value, int64_t *len,
					bool *ok)
{
	uint64_t	id;
	uint64_t	size;

	*ok = true;
	if (*offset >= plainlen)
		return false;
	if (!get_varint(plain, plainlen, offset, &id))
	{
		*ok = false;
		return false;
	}
	if (id == 0)
		return false;
	if (id > UINT32_MAX || !get_varint(plain, plainlen, offset, &size) ||
		(size > 0 && size - 1 > plainlen - *offset))
	{
		*ok = false;
		return false;
	}
	*column_id = (uint32_t) id;
	*len = (int64_t) size - 1;
	*value = plain + *offset;
	if (*len > 0)
		*offset += (size_t) *len;
	return true;
}
