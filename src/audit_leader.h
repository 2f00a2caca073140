/*
 * audit_leader.h
 *		What parallel workers need of their leader for their records, and the
 *		other way round, in shared memory.
 */
#ifndef GDPR_AUDIT_LEADER_H
#define GDPR_AUDIT_LEADER_H

#include "postgres.h"

/* A statement as the client sent it */
typedef struct AuditStatement
{
	uint32		number;			/* in the transaction */
	int64		query_id;
	char		command[NAMEDATALEN];
	char		client[NAMEDATALEN];
} AuditStatement;

/* Called once from _PG_init: shared memory. */
extern void audit_leader_init(void);

/* Every process: its statement begins. */
extern void audit_leader_begin(uint32 number, const char *command, int64 query_id);

/* A worker: the statement it works for. */
extern void audit_leader_statement(AuditStatement *statement);

/* A worker: there are records of its leader's transaction. */
extern void audit_leader_tell(uint32 transaction, const char *session_role);

/*
 * A leader: did a worker tell, since the last time?  Then which transaction, else
 * 0.  session_role: NAMEDATALEN bytes.
 */
extern uint32 audit_leader_told(char *session_role);

#endif							/* GDPR_AUDIT_LEADER_H */
