/*
 * purpose.h
 *		The register of purposes: what one covers, and who was granted it.
 */
#ifndef GDPR_PURPOSE_H
#define GDPR_PURPOSE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"

/* A notice that consents have to be renewed for */
typedef struct PurposeNotice
{
	TimestampTz published_at;	/* consents from before ... */
	TimestampTz renew_by;		/* ... are not valid from then on */
} PurposeNotice;

/* A purpose, and what a role may do for it */
typedef struct Purpose
{
	bool		known;			/* else nothing of what follows */
	int32		id;
	bool		needs_consent;	/* its legal basis is consent */
	bool		without_record; /* ... but not of whom nothing is recorded */
	bool		direct_marketing;
	bool		despite_restriction;	/* Art. 18(2) */
	bool		requires_actor;
	uint32		categories;		/* bit per category */
	bool		narrowed;
	Bitmapset  *columns;		/* column ids, if narrowed */
	int			nnotices;
	PurposeNotice *notices;
	/* the role's grants, those of roles whose privileges it has included */
	bool		reveals;
	bool		masks;
	bool		overrides;
	int32		statement_cap;	/* persons; -1: none */
	int32		hour_cap;
} Purpose;

/* Read it, for current_user, into the current memory context. */
extern void purpose_read(const char *name, Purpose *purpose);

/* Its id and legal basis; false: there is no such purpose. */
extern bool purpose_find(const char *name, int32 *id, char **legal_basis);

/* Does any purpose or grant of this database have a cap?  Cheap. */
extern bool purpose_any_cap(void);

/* Does any purpose ask persons from this source (gdpr.source) for consent? */
extern bool purpose_asks(const char *source);

#endif							/* GDPR_PURPOSE_H */
