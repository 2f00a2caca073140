/*
 * standing.h
 *		How a person stands to a purpose: consents, objections, restriction,
 *		blocked channels.
 *
 * Read from gdpr.consent and gdpr.flag, latest committed version and own
 * changes, whatever snapshot the statement has.  A person is any of its own
 * numbers (alias.h).
 */
#ifndef GDPR_STANDING_H
#define GDPR_STANDING_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* What a purpose and its use require of a person. */
typedef struct StandingQuestion
{
	int32		purpose;		/* its id */
	bool		needs_consent;	/* its legal basis is consent */
	bool		without_record; /* ... but not of whom nothing is recorded */
	bool		direct_marketing;
	bool		despite_restriction;	/* Art. 18(2) */
	const char *channel;		/* NULL: any */
	const char *topic;			/* NULL: any */
	TimestampTz consents_from;	/* older consents have to be renewed */
} StandingQuestion;

/* In the order in which they are looked for. */
typedef enum Standing
{
	STANDING_PERMITTED,
	STANDING_RESTRICTED,		/* Art. 18 */
	STANDING_OBJECTED,			/* Art. 21 */
	STANDING_BLOCKED,			/* the channel, or all that there is consent for */
	STANDING_REFUSED,			/* refused, withdrawn or invalidated */
	STANDING_EXPIRED,			/* or to be renewed */
	STANDING_NO_CONSENT			/* none was ever given */
} Standing;

/* The answer for one person, by look-ups. */
extern Standing standing_find(const StandingQuestion *question, uint64 person);

/*
 * Does a consent for exactly this channel and topic ("": all) stand recorded,
 * from not after a time, whether it is still valid or not?
 */
extern bool standing_consented(int32 purpose, uint64 person,
							   const char *channel, const char *topic,
							   TimestampTz at);

/*
 * The answers for one person after the other, within one statement.  The first
 * answers are looked up one by one; from some number on, which depends on the
 * size of the tables, those of all persons are read at once.  Takes work_mem
 * at most, 256 kB for a million persons.  Begin it anew for each statement
 * (statement.h) and whenever the question changes.
 */
typedef struct StandingMemo StandingMemo;

extern StandingMemo *standing_memo_create(MemoryContext parent);
extern void standing_memo_begin(StandingMemo *memo);
extern bool standing_permits(StandingMemo *memo,
							 const StandingQuestion *question, uint64 person);

#endif							/* GDPR_STANDING_H */
