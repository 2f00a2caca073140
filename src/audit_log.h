/*
 * audit_log.h
 *		The audit trail as it is stored: blocks of records, and their chain.
 */
#ifndef GDPR_AUDIT_LOG_H
#define GDPR_AUDIT_LOG_H

#include "postgres.h"

#include "access/xlogdefs.h"

#define AUDIT_HASH_BYTES	32

/* The chain's hash after one more record with its salt. */
extern void audit_chain_add(uint8 hash[AUDIT_HASH_BYTES], const uint8 *salted,
							size_t len);

/*
 * Stores what the write-ahead log holds, in the current transaction; up to where
 * in the log all is stored, once it is committed.
 */
extern XLogRecPtr audit_log_store(void);

/* Which persons the records of a block concern: a bytea (audit_read.c). */
extern Datum audit_summary(const uint8 *content, size_t contentlen);

#endif							/* GDPR_AUDIT_LOG_H */
