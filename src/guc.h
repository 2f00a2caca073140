/*
 * guc.h
 *		Every setting of the extension.
 */
#ifndef GDPR_GUC_H
#define GDPR_GUC_H

#include "postgres.h"

extern char *guc_keystore_directory;
extern char *guc_keystore_key_command;
extern char *guc_purpose;
extern char *guc_channel;
extern char *guc_topic;
extern char *guc_actor;
extern char *guc_override_reason;
extern char *guc_source;
extern bool guc_physical;

/* Moves whenever gdpr.purpose, gdpr.channel or gdpr.topic may have changed. */
extern uint64 guc_question_version;

/* What a standby, which cannot write the audit trail, does with a read. */
typedef enum GucStandbyAudit
{
	GUC_STANDBY_REFUSE,
	GUC_STANDBY_OFF				/* reveals, and nobody knows */
} GucStandbyAudit;

extern bool guc_audit_durability;
extern int	guc_standby_audit;
extern int	guc_audit_max_lag;	/* MB; -1: no limit */
extern int	guc_audit_lag_timeout;	/* ms */
extern bool guc_allow_plaintext_copies;
extern char *guc_digest_command;
extern char *guc_sign_command;
extern int	guc_digest_interval;	/* s */
extern int	guc_erasure_grace;	/* s; SQL reads it */
extern int	guc_worker_naptime;
extern int	guc_max_subjects_per_statement;

/*
 * An error unless the value is valid in the encoding of the database.  One that
 * came with the connection was not verified.
 */
extern void guc_verify(const char *name, const char *value);

/* Defines the settings; called first in _PG_init. */
extern void guc_init(void);

#endif							/* GDPR_GUC_H */
