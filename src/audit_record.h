/*
 * audit_record.h
 *		One record of the audit trail, and its bytes.
 *
 * The format is in doc/formats.md.  Reading checks every length and returns
 * false for anything malformed.
 */
#ifndef GDPR_AUDIT_RECORD_H
#define GDPR_AUDIT_RECORD_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "audit_set.h"

typedef enum AuditKind
{
	AUDIT_KIND_ACCESS = 1,		/* a statement and a relation */
	AUDIT_KIND_END,				/* how a transaction ended */
	AUDIT_KIND_GAP				/* the log was gone before it was read */
} AuditKind;

/* What happened to the transaction; of an access, as far as it was known then. */
typedef enum AuditOutcome
{
	AUDIT_OUTCOME_OPEN,			/* an AUDIT_KIND_END follows */
	AUDIT_OUTCOME_COMMITTED,
	AUDIT_OUTCOME_ROLLED_BACK
} AuditOutcome;

/* Bits */
#define AUDIT_DID_REVEAL	0x01
#define AUDIT_DID_MASK		0x02
#define AUDIT_DID_WRITE		0x04
#define AUDIT_DID_OVERRIDE	0x08

typedef struct AuditRecord
{
	AuditKind	kind;
	AuditOutcome outcome;
	TimestampTz at;
	/* these three name a transaction, also in its parallel workers */
	TimestampTz server_start;
	uint32		backend;
	uint32		transaction;	/* local: of the backend */
	uint64		xid;			/* 0: it has written nothing */
	int32		pid;
	const char *session_role;
	const char *role;			/* current_user */
	const char *actor;			/* "" where there is none, as below */
	const char *application;
	const char *client;
	/* of an access */
	uint32		statement;		/* in the transaction */
	const char *command;
	bool		failed;
	int64		query_id;		/* 0: not computed */
	const char *purpose;
	const char *override_reason;
	const char *relation;		/* schema.table */
	List	   *columns;		/* of const char * */
	uint8		did;
	uint64		rows;
	AuditSet	persons;		/* arranged */
} AuditRecord;

extern void audit_record_encode(StringInfo out, const AuditRecord *record);

/* Strings point to palloc'd memory. */
extern bool audit_record_decode(const uint8 *buf, size_t len,
								AuditRecord *record);

#endif							/* GDPR_AUDIT_RECORD_H */
