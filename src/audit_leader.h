/*
 * audit_leader.h
 *		What tells of a record whose statement and transaction it is, also in
 *		parallel workers.
 */
#ifndef GDPR_AUDIT_LEADER_H
#define GDPR_AUDIT_LEADER_H

#include "postgres.h"

#include "datatype/timestamp.h"

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

/*
 * When the server started, or restarted after a crash: since then, local
 * transaction ids are not given twice.
 */
extern TimestampTz audit_leader_start(void);

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
