/*
 * audit_names.h
 *		Names for the records of the audit trail: of roles and tables.
 */
#ifndef GDPR_AUDIT_NAMES_H
#define GDPR_AUDIT_NAMES_H

#include "postgres.h"

/* As it is called now; valid until the next call. */
extern const char *audit_role_name(Oid role);

/* schema.table, quoted where needed; likewise. */
extern const char *audit_relation_name(Oid relid);

extern void audit_names_init(void);

#endif							/* GDPR_AUDIT_NAMES_H */
