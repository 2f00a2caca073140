/*
 * codec.h
 *		Values of SQL types as bytes that mean the same in every session,
 *		server and version.
 */
#ifndef GDPR_CODEC_H
#define GDPR_CODEC_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"

typedef enum CodecKind
{
	CODEC_FIXED,				/* by value, 1, 2, 4 or 8 bytes, big-endian */
	CODEC_BYTES,				/* a varlena whose payload is taken as it is */
	CODEC_UUID,					/* 16 bytes as they are */
	CODEC_SEND,					/* typsend and typreceive, no text inside */
	CODEC_TEXT,					/* typoutput and typinput */
	CODEC_PINNED_TEXT			/* the same under pinned settings */
} CodecKind;

typedef struct Codec
{
	Oid			typid;
	CodecKind	kind;
	int16		typlen;
	Oid			ioparam;
	FmgrInfo	out;			/* both of CODEC_SEND, CODEC_*TEXT only */
	FmgrInfo	in;
	bool		is_text;		/* bytes are characters in the database's encoding */
} Codec;

/* typid: any type; a domain is treated as its base type.  FmgrInfos in context. */
extern void codec_init(Codec *codec, Oid typid, MemoryContext context);

/* Why values of a type cannot be sealed, NULL if they can. */
extern const char *codec_refusal(Oid typid);

/*
 * Are values of a type, which is no domain, characters and nothing else: text,
 * varchar, char(n), and types that are stored as text is, such as citext?
 */
extern bool codec_is_string(Oid typid);

/* Append the bytes of a non-NULL value. */
extern void codec_encode(Codec *codec, Datum value, StringInfo out);

/*
 * The value of len bytes written in the given character encoding; in the
 * current memory context.  ERRCODE_GDPR_DAMAGED if they are not a value.
 */
extern Datum codec_decode(Codec *codec, const char *bytes, int len,
						  int32 typmod, int encoding);

#endif							/* GDPR_CODEC_H */
