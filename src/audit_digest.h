/*
 * audit_digest.h
 *		Digests of the audit trail, to where its server cannot change them.
 */
#ifndef GDPR_AUDIT_DIGEST_H
#define GDPR_AUDIT_DIGEST_H

/*
 * In the worker, outside of a transaction: runs gdpr.digest_command, if there is
 * one, gdpr.digest_interval is over and there are new records.  A failure is a
 * warning in the server's log, and tried again.
 */
extern void audit_digest_publish(void);

#endif							/* GDPR_AUDIT_DIGEST_H */
