/*
 * gdpr.c
 *		The library's entry point: settings, hooks, shared memory.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "audit.h"
#include "conditions.h"
#include "datamap.h"
#include "disclosure.h"
#include "guard_mode.h"
#include "guc.h"
#include "keystore.h"
#include "mask.h"
#include "move.h"
#include "policy.h"
#include "provenance.h"
#include "quota.h"
#include "rewrite.h"
#include "row.h"
#include "statement.h"
#include "subject.h"
#include "transition.h"
#include "trigger.h"
#include "utility.h"
#include "worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	/*
	 * Loaded late, by a function call: the planner's hook would be missing in
	 * other sessions.  What needs no shared state works; keys do not.
	 */
	if (!process_shared_preload_libraries_in_progress)
		return;
	guc_init();
	keystore_init();
	worker_init();
	quota_init();
	datamap_init();
	statement_init();
	audit_init();
	mask_init();
	policy_init();
	row_init();
	provenance_init();
	disclosure_init();
	subject_init();
	guard_mode_init();
	move_init();
	rewrite_init();
	trigger_init();
	conditions_init();
	utility_init();
	transition_init();
}
