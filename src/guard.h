/*
 * guard.h
 *		What the triggers, constraint and column of protected tables are called.
 */
#ifndef GDPR_GUARD_H
#define GDPR_GUARD_H

#define GUARD_OPEN_TRIGGER		"!gdpr_open"
#define GUARD_SEAL_TRIGGER		"~gdpr_seal"
#define GUARD_RELINK_TRIGGER	"~gdpr_relink"
#define GUARD_LATE_TRIGGER		"~gdpr_relink_late"
#define GUARD_DELETE_TRIGGER	"!gdpr_deleting"
#define GUARD_DELETE_ROW_TRIGGER	"!gdpr_delete"
#define GUARD_TRUNCATE_TRIGGER	"!gdpr_truncate"
#define GUARD_CHECK_CONSTRAINT	"gdpr_sealed_check"
#define GUARD_SEALED_COLUMN		"gdpr_sealed"

static inline bool
guard_is_own_trigger(const char *name)
{
	return strcmp(name, GUARD_OPEN_TRIGGER) == 0 ||
		strcmp(name, GUARD_SEAL_TRIGGER) == 0 ||
		strcmp(name, GUARD_RELINK_TRIGGER) == 0 ||
		strcmp(name, GUARD_LATE_TRIGGER) == 0 ||
		strcmp(name, GUARD_DELETE_TRIGGER) == 0 ||
		strcmp(name, GUARD_DELETE_ROW_TRIGGER) == 0 ||
		strcmp(name, GUARD_TRUNCATE_TRIGGER) == 0;
}

#endif							/* GDPR_GUARD_H */
