/*
 * token.h
 *		What stands in a personal column instead of its value: a token (keyed,
 *		deterministic) in a searchable column, else a placeholder.
 */
#ifndef GDPR_TOKEN_H
#define GDPR_TOKEN_H

#include "postgres.h"

#include "datamap.h"

/* Text-like tokens: characters of 5 bits. */
#define TOKEN_TEXT_CHARS		20	/* 100 bits, where they fit */
#define TOKEN_TEXT_MIN_UNIQUE	20
#define TOKEN_TEXT_MIN			13	/* 65 bits */

/*
 * Can a column of this type be searchable, and how wide is its token (text:
 * characters; others: bytes)?  0: no, *reason says why.
 */
extern int	token_width(Oid basetypid, int32 typmod, bool unique,
						const char **reason);

/* Can a column of this (base) type hold a placeholder? */
extern bool placeholder_exists(Oid typid);

/*
 * The physical value for a value of the column in a form of its row: its
 * token, its placeholder or NULL; in form 0 the value itself.  In the current
 * memory context.
 */
extern Datum physical_value(const ColumnMap *column, int form, Datum value,
							bool isnull, bool *physical_isnull);

/* Some bits of the token: the same for values that a UNIQUE index finds equal. */
extern uint32 token_hash(const ColumnMap *column, int form, Datum value);

/* Is a value what the table stores in the column? */
typedef enum PhysicalForm
{
	PHYSICAL_NO,				/* neither token nor placeholder */
	PHYSICAL_MAYBE,				/* its form does not tell */
	PHYSICAL_YES				/* it has the form of a token */
} PhysicalForm;

extern PhysicalForm physical_form(const ColumnMap *column, Datum value);

/* The physical value of a column whose value is gone: it frees a UNIQUE token. */
extern Datum physical_erased(const ColumnMap *column, bool *physical_isnull);

#endif							/* GDPR_TOKEN_H */
