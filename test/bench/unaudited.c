/*
 * unaudited.c
 *		The library without its audit trail, to measure what the trail costs.
 *
 * The same objects are linked once more with this one and
 * -Wl,--wrap=audit_touch,--wrap=audit_init: accesses are counted, and there are
 * no hooks, so nothing becomes a record.  The server's workers find an empty
 * queue.  For test/bench/audit only, which reads: writes would reach what
 * audit_init() has not set up.  There is no such setting, nor such a build.
 */
#include "postgres.h"

#include "audit.h"
#include "audit_queue.h"

extern __typeof__(audit_touch) __wrap_audit_touch;
extern __typeof__(audit_init) __wrap_audit_init;

static volatile uint64 counts[AUDIT_ACTIONS];

void
__wrap_audit_touch(const TableMap *table, const ColumnMap *column,
				   uint64 subject, AuditAction action, const char *purpose)
{
	counts[action]++;
}

void
__wrap_audit_init(void)
{
	audit_queue_init();
}
