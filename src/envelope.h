/*
 * envelope.h
 *		The byte format of gdpr.sealed: reading, writing, sealing, opening.
 *
 * No PostgreSQL here.  Readers check every length and return false for
 * anything malformed; a segment points into the buffer it was read from.
 * The format is in doc/formats.md.
 */
#ifndef GDPR_ENVELOPE_H
#define GDPR_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENVELOPE_VERSION		1	/* tokens of epoch 1 */
#define ENVELOPE_VERSION_EPOCH	2	/* names the epoch of the row's tokens */
/* in memory, while an UPDATE is under way */
#define ENVELOPE_MARKED			0xFE	/* + ids of the assigned columns */
#define ENVELOPE_OPENED			0xFF	/* + OLD's envelope, if any: the row holds values */

#define ENVELOPE_HEADER_BYTES	19	/* version 1 */
#define ENVELOPE_HEADER_MAX		21	/* version 2 */
#define ENVELOPE_DIGEST_BYTES	8
#define ENVELOPE_NUMBER_BYTES	5
#define ENVELOPE_MAX_SEGMENTS	255
#define ENVELOPE_MAX_TABLE_ID	0xFFFFFF

typedef struct EnvelopeHeader
{
	uint8_t		version;
	uint8_t		epoch;			/* 0 ... 3 */
	uint16_t	token_epoch;	/* of the tokens in the searchable columns */
	uint8_t		encoding;		/* 0 ... 63 */
	uint8_t		nsegments;
	uint32_t	table_id;
	uint64_t	number;
	uint8_t		digest[ENVELOPE_DIGEST_BYTES];
} EnvelopeHeader;

typedef struct EnvelopeSegment
{
	uint8_t		category;
	uint8_t		via;
	uint16_t	month;
	uint64_t	number;
	const uint8_t *nonce;
	const uint8_t *ciphertext;
	uint32_t	len;			/* of ciphertext and plaintext */
	const uint8_t *tag;
	const uint8_t *start;		/* the whole segment */
	size_t		size;
} EnvelopeSegment;

extern bool envelope_read_header(const uint8_t *buf, size_t len,
								 EnvelopeHeader *header);

/* *offset starts at 0; false at the end or if malformed */
extern bool envelope_next_segment(const uint8_t *buf, size_t len,
								  const EnvelopeHeader *header,
								  size_t *offset, EnvelopeSegment *segment);

/* Are header and all segments well-formed, and is nothing left over? */
extern bool envelope_validate(const uint8_t *buf, size_t len);

/*
 * The version follows from token_epoch.  Returns the header's size: 19, or 21
 * bytes.
 */
extern size_t envelope_header_bytes(const EnvelopeHeader *header);
extern size_t envelope_write_header(uint8_t *buf, const EnvelopeHeader *header);

/* At most so many bytes has a segment with len bytes of (padded) plaintext. */
extern size_t envelope_segment_bytes(size_t len);

/*
 * Write a segment at buf, sealing plain under key with a fresh nonce.  The
 * subject number is written if it differs from the header's.  Returns its
 * size, 0 on failure of the cryptographic library.
 */
extern size_t envelope_seal_segment(uint8_t *buf, const EnvelopeHeader *header,
									uint8_t category, uint8_t via,
									uint16_t month, uint64_t number,
									const uint8_t *rowkey, size_t rowkeylen,
									const uint8_t key[32],
									const uint8_t *plain, size_t len);

/* False: does not authenticate (out is wiped).  out has segment->len bytes. */
extern bool envelope_open_segment(const EnvelopeHeader *header,
								  const EnvelopeSegment *segment,
								  const uint8_t *rowkey, size_t rowkeylen,
								  const uint8_t key[32], uint8_t *out);

/* Padmé: the smallest permitted length >= len. */
extern size_t envelope_padded_length(size_t len);

/*
 * Entries of a segment's plaintext.  A value of NULL has len -1.
 * envelope_entry_bytes: space an entry needs.  envelope_next_entry: false at
 * the end; *ok is false if the list is malformed.
 */
extern size_t envelope_entry_bytes(uint32_t column_id, int64_t len);
extern size_t envelope_write_entry(uint8_t *buf, uint32_t column_id,
								   const uint8_t *value, int64_t len);
extern bool envelope_next_entry(const uint8_t *plain, size_t plainlen,
								size_t *offset, uint32_t *column_id,
								const uint8_t **value, int64_t *len, bool *ok);

#endif							/* GDPR_ENVELOPE_H */
