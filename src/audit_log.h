/*
 * audit_log.h
 *		The audit trail as it is stored: blocks of records, and their chain.
 */
#ifndef GDPR_AUDIT_LOG_H
#define GDPR_AUDIT_LOG_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

#define AUDIT_HASH_BYTES	32

/* The chain's hash after one more record with its salt. */
extern void audit_chain_add(uint8 hash[AUDIT_HASH_BYTES], const uint8 *salted,
							size_t len);

/*
 * Stores what the write-ahead log holds, in the current transaction; up to where
 * in the log all is stored, once it is committed.
 */
extern XLogRecPtr audit_log_store(void);

/* Calls back for each record of a block.  ERRCODE_GDPR_DAMAGED (audit_read.c) */
typedef void (*AuditBlockReader) (int64 record, const uint8 *bytes, size_t len,
								  void *arg);
extern void audit_block_scan(const uint8 *content, size_t len,
							 int64 first_record, AuditBlockReader reader,
							 void *arg);

extern void audit_warn_unreadable(int64 record);

/* Of a record: a text, texts as text[]; what was done (audit_read.c). */
extern Datum audit_text(const char *text);
extern Datum audit_texts(List *texts);
extern List *audit_actions(uint8 did);

/* Which persons the records of a block concern: a bytea (audit_read.c). */
extern Datum audit_summary(const uint8 *content, size_t contentlen);

#endif							/* GDPR_AUDIT_LOG_H */
