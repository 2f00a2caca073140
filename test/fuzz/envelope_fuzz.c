/*
 * envelope_fuzz.c
 *		Any bytes as an envelope, and as the plaintext of a segment.
 *
 * Readers stay within the bytes, offsets move on, what validates has exactly
 * the segments that its header says, and nothing opens that was not sealed.
 */
#include "fuzz.h"

#include "crypto.h"
#include "envelope.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);

static const uint8_t key[CRYPTO_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const uint8_t rowkey[8] = {0, 0, 0, 4, 0, 0, 0, 42};

static size_t
append_segment(uint8_t *buf, size_t at, const EnvelopeHeader *header,
			   int category, int via, int month, uint64_t number, size_t len)
{
	uint8_t		plain[512] = {0};
	size_t		used = 0;

	used += envelope_write_entry(plain, 7, (const uint8_t *) "Ann", 3);
	used += envelope_write_entry(plain + used, 300, NULL, -1);
	used += envelope_write_entry(plain + used, 70000, (const uint8_t *) "", 0);
	check(used <= len && len <= sizeof(plain));
	used = envelope_seal_segment(buf + at, header, (uint8_t) category,
								 (uint8_t) via, (uint16_t) month, number,
								 rowkey, sizeof(rowkey), key, plain, len);
	check(used > 0);
	return at + used;
}

/* Well-formed envelopes to start from. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	EnvelopeHeader header = {ENVELOPE_VERSION, 0, 1, 6, 1, 0x010203,
	UINT64_C(0x80000A0001), {'D', 'I', 'G', 'E', 'S', 'T', 'E', 'D'}};
	uint8_t		buf[2048];
	size_t		at = ENVELOPE_HEADER_BYTES;

	envelope_write_header(buf, &header);
	at = append_segment(buf, at, &header, 3, 0, 0, header.number, 32);
	check(envelope_validate(buf, at));
	fuzz_seed("one", buf, at);
	header.nsegments = 3;
	envelope_write_header(buf, &header);
	at = append_segment(buf, at, &header, 4, 0, 4095, header.number, 224);
	at = append_segment(buf, at, &header, 3, 2, 17, 65536, 64);
	check(envelope_validate(buf, at));
	fuzz_seed("three", buf, at);
	header.nsegments = 0;
	envelope_write_header(buf, &header);
	fuzz_seed("none", buf, ENVELOPE_HEADER_BYTES);
	header.nsegments = 1;
	header.token_epoch = 2;
	at = envelope_write_header(buf, &header);
	at = append_segment(buf, at, &header, 3, 0, 0, header.number, 32);
	check(envelope_validate(buf, at));
	fuzz_seed("epoch", buf, at);
	at = envelope_write_entry(buf, 7, (const uint8_t *) "Ann", 3);
	at += envelope_write_entry(buf + at, 300, NULL, -1);
	memset(buf + at, 0, 8);
	fuzz_seed("entries", buf, at + 8);
	return 0;
}

static void
read_entries(const uint8_t *plain, size_t len)
{
	size_t		offset = 0;
	uint32_t	column_id;
	const uint8_t *value;
	int64_t		value_len;
	bool		ok;

	for (;;)
	{
		size_t		before = offset;
		bool		more = envelope_next_entry(plain, len, &offset, &column_id,
											   &value, &value_len, &ok);

		check(offset <= len);
		if (!more)
			break;
		check(ok && offset > before && column_id != 0);
		check(value_len >= -1);
		if (value_len > 0)
			check(value >= plain && value + value_len == plain + offset);
	}
}

static void
read_envelope(const uint8_t *data, size_t size)
{
	EnvelopeHeader header;
	EnvelopeSegment segment;
	size_t		offset;
	bool		valid = envelope_validate(data, size);
	uint8_t		again[ENVELOPE_HEADER_MAX];
	int			n = 0;

	if (!envelope_read_header(data, size, &header))
	{
		check(!valid);
		return;
	}
	offset = envelope_write_header(again, &header);
	check(memcmp(again, data, offset) == 0);
	for (;;)
	{
		size_t		before = offset;
		uint8_t    *out;

		if (!envelope_next_segment(data, size, &header, &offset, &segment))
		{
			check(offset == before);
			break;
		}
		n++;
		check(offset <= size && offset == before + segment.size);
		check(segment.start == data + before);
		check(segment.tag + CRYPTO_TAG_BYTES == data + offset);
		check(segment.ciphertext + segment.len == segment.tag);
		check(segment.size <= envelope_segment_bytes(segment.len));
		out = malloc((size_t) segment.len + 1);
		check(out != NULL);
		if (envelope_open_segment(&header, &segment, rowkey, sizeof(rowkey),
								  key, out))
			read_entries(out, segment.len);
		free(out);
	}
	if (valid)
		check(n == header.nsegments && offset == size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* an exact copy, so that reading one byte too many is noticed */
	uint8_t    *copy = malloc(size > 0 ? size : 1);
	size_t		padded = envelope_padded_length(size);

	check(copy != NULL && padded >= size && padded <= size + size / 8 + 16);
	if (size > 0)
		memcpy(copy, data, size);
	read_envelope(copy, size);
	read_entries(copy, size);
	free(copy);
	return 0;
}
