/*
 * envelope_test.c
 *		The envelope's format: round trips, known answer, malformed input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "envelope.h"
#include "tap.h"

#define MAX_ENVELOPE 4096

static const uint8_t key[32] = "0123456789abcdef0123456789abcde";
static const uint8_t rowkey[8] = {0, 0, 0, 4, 0, 0, 0, 42};

/* A header and two segments, one of another subject; returns the size. */
static size_t
make_envelope(uint8_t *buf, EnvelopeHeader *header)
{
	uint8_t		plain[64] = {0};
	size_t		len = 0;
	size_t		at = ENVELOPE_HEADER_BYTES;

	memset(header, 0, sizeof(*header));
	header->token_epoch = 1;
	header->encoding = 6;
	header->number = UINT64_C(0x80000A0001);
	header->table_id = 0x010203;
	header->nsegments = 2;
	memcpy(header->digest, "DIGESTED", 8);
	len += envelope_write_entry(plain + len, 7, (const uint8_t *) "Ann", 3);
	len += envelope_write_entry(plain + len, 300, NULL, -1);
	len += envelope_write_entry(plain + len, 301, (const uint8_t *) "", 0);
	envelope_write_header(buf, header);
	at += envelope_seal_segment(buf + at, header, 3, 0, 0, header->number,
								rowkey, sizeof(rowkey), key, plain,
								envelope_padded_length(len));
	at += envelope_seal_segment(buf + at, header, 15, 2, 318, 65536,
								rowkey, sizeof(rowkey), key, plain,
								envelope_padded_length(len));
	return at;
}

static void
test_round_trip(void)
{
	uint8_t		buf[MAX_ENVELOPE];
	uint8_t		out[64];
	EnvelopeHeader header;
	EnvelopeHeader back;
	EnvelopeSegment segment;
	size_t		len = make_envelope(buf, &header);
	size_t		offset = 0;
	size_t		at = 0;
	uint32_t	id;
	const uint8_t *value;
	int64_t		valuelen;
	bool		fine;

	ok(envelope_validate(buf, len), "an envelope validates");
	ok(envelope_read_header(buf, len, &back) && back.number == header.number &&
	   back.table_id == header.table_id && back.encoding == 6 &&
	   back.nsegments == 2 && memcmp(back.digest, "DIGESTED", 8) == 0,
	   "the header comes back");
	ok(envelope_next_segment(buf, len, &back, &offset, &segment) &&
	   segment.category == 3 && segment.via == 0 && segment.month == 0 &&
	   segment.number == header.number, "the row's own segment comes back");
	ok(envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out),
	   "and opens");
	ok(envelope_next_entry(out, segment.len, &at, &id, &value, &valuelen, &fine) &&
	   id == 7 && valuelen == 3 && memcmp(value, "Ann", 3) == 0, "a value");
	ok(envelope_next_entry(out, segment.len, &at, &id, &value, &valuelen, &fine) &&
	   id == 300 && valuelen == -1, "NULL");
	ok(envelope_next_entry(out, segment.len, &at, &id, &value, &valuelen, &fine) &&
	   id == 301 && valuelen == 0, "the empty string");
	ok(!envelope_next_entry(out, segment.len, &at, &id, &value, &valuelen, &fine) &&
	   fine, "then padding");
	ok(envelope_next_segment(buf, len, &back, &offset, &segment) &&
	   segment.category == 15 && segment.via == 2 && segment.month == 318 &&
	   segment.number == 65536, "the other subject's segment comes back");
	ok(!envelope_open_segment(&back, &segment, rowkey, 7, key, out),
	   "it does not open under another row key");
	back.table_id++;
	ok(!envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out),
	   "nor in another table");
	back.table_id--;
	segment.via = 1;
	ok(!envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out),
	   "nor through another link");
	segment.via = 2;
	segment.number++;
	ok(!envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out),
	   "nor for another subject");
	ok(!envelope_next_segment(buf, len, &back, &offset, &segment) && offset == len,
	   "then it ends");
}

/* Made by another implementation; described in doc/formats.md */
static void
test_known_answer(void)
{
	static const uint8_t known[] = {
		0x01, 0x06, 0x80, 0x00, 0x0a, 0x00, 0x01, 0x01, 0x02, 0x03, 0x01, 0x44,
		0x49, 0x47, 0x45, 0x53, 0x54, 0x45, 0x44, 0x03, 0x00, 0x01, 0x02, 0x03,
		0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0xb9, 0xda, 0x48,
		0xd9, 0x18, 0x1b, 0xbf, 0x26, 0x19, 0xc1, 0x07, 0x76, 0xbe, 0x82, 0x35,
		0xb5, 0x31, 0x7e, 0x45, 0x89, 0xdf, 0x12, 0xf5, 0xdd, 0x62, 0xe1, 0x86,
		0xca, 0xba, 0xf5, 0x43, 0x57
	};
	EnvelopeHeader header;
	EnvelopeSegment segment;
	uint8_t		out[64];
	size_t		offset = 0;

	ok(envelope_validate(known, sizeof(known)) &&
	   envelope_read_header(known, sizeof(known), &header) &&
	   envelope_next_segment(known, sizeof(known), &header, &offset, &segment) &&
	   envelope_open_segment(&header, &segment, rowkey, sizeof(rowkey), key, out) &&
	   memcmp(out, "\007\004Ann\000", 6) == 0, "the known envelope opens");
}

/* Another epoch of tokens is in the header only: segments stay as they are. */
static void
test_token_epoch(void)
{
	uint8_t		buf[MAX_ENVELOPE];
	uint8_t		newer[MAX_ENVELOPE];
	uint8_t		out[64];
	EnvelopeHeader header;
	EnvelopeHeader back;
	EnvelopeSegment segment;
	size_t		len = make_envelope(buf, &header);
	size_t		offset = 0;
	size_t		at;

	header.token_epoch = 513;
	at = envelope_write_header(newer, &header);
	ok(at == ENVELOPE_HEADER_MAX, "the header of version 2 is 2 bytes longer");
	memcpy(newer + at, buf + ENVELOPE_HEADER_BYTES, len - ENVELOPE_HEADER_BYTES);
	len += at - ENVELOPE_HEADER_BYTES;
	ok(newer[0] == ENVELOPE_VERSION_EPOCH && newer[19] == 2 && newer[20] == 1 &&
	   envelope_validate(newer, len) && envelope_read_header(newer, len, &back) &&
	   back.token_epoch == 513 && back.number == header.number,
	   "it names the epoch");
	ok(envelope_next_segment(newer, len, &back, &offset, &segment) &&
	   envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out) &&
	   envelope_next_segment(newer, len, &back, &offset, &segment) &&
	   envelope_open_segment(&back, &segment, rowkey, sizeof(rowkey), key, out) &&
	   offset == len, "and the segments open");
	newer[19] = 0;
	ok(!envelope_validate(newer, len), "epoch 1 is written as version 1 only");
	newer[20] = 0;
	ok(!envelope_validate(newer, len), "and epoch 0 never");
	ok(!envelope_read_header(newer, ENVELOPE_HEADER_BYTES, &back),
	   "a header that is too short is none");
}

static void
test_padding(void)
{
	size_t		len;
	int			wrong = 0;
	double		worst = 0;

	for (len = 0; len < 100000; len++)
	{
		size_t		padded = envelope_padded_length(len);

		if (padded < len || envelope_padded_length(padded) != padded)
			wrong++;
		if (len >= 16 && (double) (padded - len) / len > worst)
			worst = (double) (padded - len) / len;
	}
	ok(wrong == 0, "padding never shortens and is stable");
	ok(worst < 0.125, "it adds less than an eighth");
	ok(envelope_padded_length(9) == 16 && envelope_padded_length(100) == 104 &&
	   envelope_padded_length(1000) == 1024, "known lengths");
}

/* Opens what it can; returns how many segments opened. */
static int
open_all(const uint8_t *buf, size_t len)
{
	EnvelopeHeader header;
	EnvelopeSegment segment;
	size_t		offset = 0;
	int			opened = 0;

	if (!envelope_validate(buf, len) || !envelope_read_header(buf, len, &header))
		return 0;
	while (envelope_next_segment(buf, len, &header, &offset, &segment))
	{
		uint8_t    *out = malloc(segment.len + 1);

		if (out != NULL &&
			envelope_open_segment(&header, &segment, rowkey, sizeof(rowkey), key, out))
			opened++;
		free(out);
	}
	return opened;
}

static void
test_malformed(void)
{
	uint8_t		buf[MAX_ENVELOPE];
	EnvelopeHeader header;
	size_t		len = make_envelope(buf, &header);
	size_t		i;
	int			wrong = 0;
	unsigned	seed = 20261122;

	for (i = 0; i < len; i++)
		if (envelope_validate(buf, i))
			wrong++;
	ok(wrong == 0, "no prefix of an envelope validates");
	buf[len] = 0;
	ok(!envelope_validate(buf, len + 1), "nor does one with a byte too many");

	wrong = 0;
	for (i = 0; i < len * 8; i++)
	{
		uint8_t    *copy = malloc(len);

		if (copy == NULL)
			break;
		memcpy(copy, buf, len);
		copy[i / 8] ^= (uint8_t) (1 << i % 8);
		/* digest, encoding of the row and count are not under the tags alone */
		if (open_all(copy, len) == 2 &&
			!(i / 8 >= 11 && i / 8 < ENVELOPE_HEADER_BYTES))
			wrong++;
		free(copy);
	}
	ok(wrong == 0, "no flipped bit goes unnoticed, the digest's aside");

	for (i = 0; i < 200000; i++)
	{
		size_t		size = (size_t) rand_r(&seed) % (len + 8);
		uint8_t    *copy = malloc(size + 1);
		int			n = rand_r(&seed) % 6;

		if (copy == NULL)
			break;
		memset(copy, rand_r(&seed), size);
		memcpy(copy, buf, size < len ? size : len);
		while (n-- > 0 && size > 0)
			copy[(size_t) rand_r(&seed) % size] = (uint8_t) rand_r(&seed);
		(void) open_all(copy, size);
		free(copy);
	}
	ok(true, "200,000 mutations: no access outside the buffer (run under a sanitizer)");
}

int
main(void)
{
	test_round_trip();
	test_known_answer();
	test_token_epoch();
	test_padding();
	test_malformed();
	return done();
}
