/*
 * sealed.h
 *		The SQL type gdpr.sealed: input, output, and what can be said of an
 *		envelope without keys.
 */
#ifndef GDPR_SEALED_H
#define GDPR_SEALED_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "codec.h"
#include "envelope.h"

/*
 * Append one value in the form that row keys and digests use: length (4),
 * bytes; NULL is length 0xFFFFFFFF.  Text in UTF-8.
 */
extern void sealed_append_value(StringInfo out, Codec *codec, Datum value,
								bool isnull);

/* The digest that binds an envelope to the clear part of its row. */
extern void sealed_digest(uint32 table_id, int token_epoch,
						  const StringInfo rowkey,
						  const StringInfo physical,
						  uint8 digest[ENVELOPE_DIGEST_BYTES]);

/*
 * Marks: what stands in NEW.gdpr_sealed between rewrite and guard
 * (ENVELOPE_MARKED, ENVELOPE_OPENED).  They carry the context (datamap.h) of
 * the statement, NULL for the session's, and something else.
 */
extern struct varlena *sealed_mark_make(uint8 version, const char *context,
										const void *rest, size_t restlen);

/* ENVELOPE_MARKED, ENVELOPE_OPENED, or 0: it is no mark. */
extern uint8 sealed_mark_version(const struct varlena *sealed);
extern const char *sealed_mark_context(const struct varlena *mark);
extern const uint8 *sealed_mark_rest(const struct varlena *mark, size_t *len);

/* A number without the bit that says it is the keep number. */
extern uint64 sealed_person(uint64 number);

/* The person a row belongs to; 0 if it is no envelope. */
extern uint64 sealed_row_person(const uint8 *buf, size_t len);

/*
 * Does an envelope hold values of one of these persons (none: of anybody), in
 * this category (-1: any)?  What lies under another number of the row's own
 * person counts.
 */
extern bool sealed_has_values(const uint8 *buf, size_t len,
							  const uint64 *numbers, int count,
							  int category);

/*
 * The person whose value a column of the row is: that of the segment for its
 * link and category (-1: any); the row's own if there is no such segment.
 */
extern uint64 sealed_column_person(const uint8 *buf, size_t len, int via,
								   int category);

#endif							/* GDPR_SEALED_H */
