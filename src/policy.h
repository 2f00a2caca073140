/*
 * policy.h
 *		The one decision: what is current_user shown of a person's data?
 */
#ifndef GDPR_POLICY_H
#define GDPR_POLICY_H

#include "postgres.h"

#include "datamap.h"
#include "standing.h"

typedef enum PolicyDecision
{
	POLICY_HIDE,				/* NULL */
	POLICY_MASK,				/* the column's mask */
	POLICY_REVEAL
} PolicyDecision;

/*
 * What the data is asked for: a purpose, and maybe the channel on which the
 * person is to be addressed and the topic.  It is only a claim: what counts is
 * what current_user was granted, and how each person stands to it.
 */
typedef struct PolicyQuestion PolicyQuestion;

/* Called once from _PG_init. */
extern void policy_init(void);

/* The session's: gdpr.purpose, gdpr.channel, gdpr.topic.  Good until the next
 * call. */
extern PolicyQuestion *policy_session(void);

/*
 * The one that a column_ref carries (a view's), else the session's.  The first
 * stays good.
 */
extern PolicyQuestion *policy_of_context(const char *context);

/* The same question, to stay good: for what is asked again and again. */
extern PolicyQuestion *policy_kept(const PolicyQuestion *question);

/*
 * Any other; channel and topic may be NULL.  Good until the next call.
 */
extern PolicyQuestion *policy_question(const char *purpose,
									   const char *channel, const char *topic);

/*
 * May current_user see this column of this person?  person 0: of a row that is
 * not sealed yet.  ERRCODE_GDPR_PURPOSE for a purpose that is unknown or not
 * granted, or requires an actor, or may not be overridden.
 */
extern PolicyDecision policy_decide(PolicyQuestion *question,
									const ColumnMap *column, uint64 person);

/*
 * The same where the session did not ask for the value itself: a purpose that
 * is unknown or not granted permits nothing, and is no error.
 */
extern PolicyDecision policy_decide_quietly(PolicyQuestion *question,
											const ColumnMap *column,
											uint64 person);

/* The same of persons for whom nothing stands in the way. */
extern PolicyDecision policy_decide_column(PolicyQuestion *question,
										   const ColumnMap *column);

/* May anything of the person be used for this?  Errors as policy_decide(). */
extern bool policy_permits_person(PolicyQuestion *question, uint64 person);

/* If not: why.  current_user need not have been granted the purpose. */
extern Standing policy_standing(PolicyQuestion *question, uint64 person);

/*
 * A value of the person is about to be revealed: ERRCODE_GDPR_CAP if those are
 * more persons than the statement, or the role in an hour, may see.
 */
extern void policy_count(PolicyQuestion *question, uint64 person);

/* Does gdpr.override_reason stand above what stands in the way? */
extern bool policy_overrides(PolicyQuestion *question);

/*
 * May rows of the person be changed or deleted?  Not while its processing is
 * restricted (Art. 18), unless the session's purpose may do so regardless.
 */
extern bool policy_permits_change(uint64 person);

/*
 * May current_user store rows that arrive sealed?  The owner of the table, or
 * of the root it is a part of, may.  An envelope is not
 * authenticated when it arrives: a restored dump must not need keys.  So it is
 * taken from those only who may restore the table, and from replication;
 * another could name a person of his choice in it, or put nothing in place of
 * values he cannot see.
 */
extern bool policy_may_restore(const TableMap *table);

/*
 * An export of a person (Art. 15, 20) is a ground of its own: no purpose is
 * asked for, and no restriction is in its way.  What is sealed under a number
 * of the person is revealed, and nothing else; rows that it owns together with
 * others have numbers of their own.
 */
typedef struct PolicyExport
{
	const uint64 *numbers;		/* ascending; NULL: there is no export */
	int			count;
	bool		masks;			/* others' values are masked; else hidden */
	Oid			caller;			/* who exports */
	int			depth;			/* statement_depth() in the query that reads; those
								 * that it calls, of masks and the like, do not
								 * belong to the export */
} PolicyExport;

/* Returns what there was before, for the caller to set again in PG_FINALLY. */
extern PolicyExport policy_set_export(PolicyExport new_export);

/* The export that the query which runs is for, or NULL. */
extern const PolicyExport *policy_export(void);

/* What policy_export() shows of a value that is sealed under this number. */
extern PolicyDecision policy_decide_export(uint64 number);

/* The name of its purpose, "" for none. */
extern const char *policy_purpose(const PolicyQuestion *question);

#endif							/* GDPR_POLICY_H */
