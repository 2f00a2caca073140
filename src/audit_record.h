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

#define AUDIT_RECORD_VERSION	1	/* the first byte */

typedef enum AuditKind
{
	AUDIT_KIND_ACCESS = 1,		/* a statement and a relation */
	AUDIT_KIND_END,				/* how a transaction ended, or part of it */
	AUDIT_KIND_GAP,				/* the log was gone before it was read */
	AUDIT_KIND_CHANGE			/* of a row whose table keeps its history */
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
#define AUDIT_DID_EXPORT	0x10

/* A row as it was stored: its row key, and its envelope; none: lengths are 0. */
typedef struct AuditImage
{
	const uint8 *rowkey;
	size_t		rowkeylen;
	const uint8 *envelope;
	size_t		envelopelen;
} AuditImage;

/* A column that was changed */
typedef struct AuditColumn
{
	int32		id;				/* of the data map */
	const char *type;			/* schema.type */
} AuditColumn;

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
	const char *set_role;		/* what SET ROLE gave; "": nothing */
	const char *role;			/* current_user */
	const char *actor;			/* "" where there is none, as above and below */
	const char *application;
	const char *client;
	/* of an end: those of which subtransactions, 0: all */
	uint32		first_part;
	uint32		last_part;
	/* of an access, and of a change */
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
	AuditSet	persons;		/* arranged; of an end: those of changes in it, or
								 * more */
	/* of a change */
	int32		table_id;
	uint32		part;			/* subtransaction */
	AuditColumn *changed;		/* as many as columns */
	AuditImage	before;
	AuditImage	after;			/* none: the row was deleted */
} AuditRecord;

extern void audit_record_encode(StringInfo out, const AuditRecord *record);

/* Strings point to palloc'd memory, images into buf. */
extern bool audit_record_decode(const uint8 *buf, size_t len,
								AuditRecord *record);

/* Its time and its persons only: to look for it.  Allocates nothing. */
extern bool audit_record_skim(const uint8 *buf, size_t len, TimestampTz *at,
							  AuditSetReader *persons);

/* "": it is open. */
extern const char *audit_outcome_name(AuditOutcome outcome);

#endif							/* GDPR_AUDIT_RECORD_H */
