/*
 * compat.h
 *		Differences between PostgreSQL 15, 16, 17 and 18; every test of
 *		PG_VERSION_NUM is here.
 */
#ifndef GDPR_COMPAT_H
#define GDPR_COMPAT_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "utils/syscache.h"

/* 16 took the macros for varlena out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 160000
/* 16 has it: an attribute of a system cache tuple that is never NULL. */
static inline Datum
SysCacheGetAttrNotNull(int cache, HeapTuple tuple, AttrNumber attnum)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(cache, tuple, attnum, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null value in cached tuple, column %d", attnum);
	return value;
}
#endif

/* 18 has another spelling, before the declaration. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* Base64: 18 takes bytes where older ones take char. */
#if PG_VERSION_NUM < 180000
#define COMPAT_BYTES_IN(p)	((const char *) (p))
#define COMPAT_BYTES_OUT(p)	((char *) (p))
#else
#define COMPAT_BYTES_IN(p)	((const uint8 *) (p))
#define COMPAT_BYTES_OUT(p)	((uint8 *) (p))
#endif
#define compat_b64_encode(src, len, dst, dstlen) \
	pg_b64_encode(COMPAT_BYTES_IN(src), len, dst, dstlen)
#define compat_b64_decode(src, len, dst, dstlen) \
	pg_b64_decode(src, len, COMPAT_BYTES_OUT(dst), dstlen)

/*
 * A Var reached through a join's alias is nulled by the outer joins above it:
 * pass that on to the Var that stands for it, maybe relabelled (16 and later).
 */
static inline void
compat_add_nullingrels(Node *expr, const Var *alias)
{
#if PG_VERSION_NUM >= 160000
	while (IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	castNode(Var, expr)->varnullingrels =
		bms_add_members(castNode(Var, expr)->varnullingrels,
						alias->varnullingrels);
#endif
}

/* Where a MERGE keeps its join condition, if not in the jointree (17). */
static inline Node **
compat_merge_condition(Query *query)
{
#if PG_VERSION_NUM >= 170000
	return &query->mergeJoinCondition;
#else
	return NULL;
#endif
}

/* What the columns of GROUP BY stand for (18; before, Vars say it directly). */
static inline List *
compat_group_exprs(RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 180000
	if (rte->rtekind == RTE_GROUP)
		return rte->groupexprs;
#endif
	return NIL;
}

/* A CHECK constraint may be NOT ENFORCED (18). */
#if PG_VERSION_NUM >= 180000
#define COMPAT_CHECK_ENFORCED(check)	((check)->ccenforced)
#else
#define COMPAT_CHECK_ENFORCED(check)	true
#endif

/* Where the executor keeps prepared CHECK constraints: 18 renamed it. */
#if PG_VERSION_NUM >= 180000
#define COMPAT_CHECK_STATES(result)	((result)->ri_CheckConstraintExprs)
#else
#define COMPAT_CHECK_STATES(result)	((result)->ri_ConstraintExprs)
#endif

/* Has a table virtual generated columns (18), which expressions may name? */
#if PG_VERSION_NUM >= 180000
#define COMPAT_HAS_VIRTUAL(rel) \
	(RelationGetDescr(rel)->constr != NULL && \
	 RelationGetDescr(rel)->constr->has_generated_virtual)
#else
#define COMPAT_HAS_VIRTUAL(rel)	false
#endif

/* Write a table anew, as VACUUM FULL does: 18 takes the open relation. */
#define compat_cluster_rel(rel) \
	do { \
		ClusterParams compat_params = {0}; \
		COMPAT_CLUSTER_REL(rel, &compat_params); \
	} while (0)
#if PG_VERSION_NUM < 180000
#define COMPAT_CLUSTER_REL(rel, params) \
	do { \
		Oid			compat_relid = RelationGetRelid(rel); \
		table_close(rel, NoLock); \
		cluster_rel(compat_relid, InvalidOid, params); \
	} while (0)
#else
#define COMPAT_CLUSTER_REL(rel, params)	cluster_rel(rel, InvalidOid, params)
#endif

/* Would the row of a slot conflict in these indexes?  18 can leave one out. */
#if PG_VERSION_NUM < 180000
#define compat_check_indexes(rel, slot, estate, tid, indexes) \
	ExecCheckIndexConstraints(rel, slot, estate, tid, indexes)
#else
#define compat_check_indexes(rel, slot, estate, tid, indexes) \
	ExecCheckIndexConstraints(rel, slot, estate, tid, NULL, indexes)
#endif

/*
 * A new version of a row that this transaction has locked, and its index
 * entries.  16 tells which indexes need one.
 */
#if PG_VERSION_NUM < 160000
#define compat_update_row(result, tid, slot, estate) \
	do { \
		bool		compat_update; \
		simple_table_tuple_update((result)->ri_RelationDesc, tid, slot, \
								  (estate)->es_snapshot, &compat_update); \
		if (compat_update && (result)->ri_NumIndices > 0) \
			ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL); \
	} while (0)
#else
#define compat_update_row(result, tid, slot, estate) \
	do { \
		TU_UpdateIndexes compat_update; \
		simple_table_tuple_update((result)->ri_RelationDesc, tid, slot, \
								  (estate)->es_snapshot, &compat_update); \
		if (compat_update != TU_None && (result)->ri_NumIndices > 0) \
			ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, \
								  compat_update == TU_Summarizing); \
	} while (0)
#endif

/* What an ExecutorRun hook is given; 18 runs a plan as often as it is asked. */
#if PG_VERSION_NUM < 180000
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define COMPAT_EXECUTOR_RUN_PASS	query, direction, count, once
#else
#define COMPAT_EXECUTOR_RUN_ARGS \
	QueryDesc *query, ScanDirection direction, uint64 count
#define COMPAT_EXECUTOR_RUN_PASS	query, direction, count
#endif

/* Index entries of a row that was just inserted. */
#if PG_VERSION_NUM < 160000
#define compat_insert_index_entries(result, slot, estate) \
	(void) ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#else
#define compat_insert_index_entries(result, slot, estate) \
	(void) ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, \
								 false)
#endif

/* A range that is not empty; 16 can report errors softly. */
#if PG_VERSION_NUM < 160000
#define compat_make_range(type, lower, upper) \
	make_range(type, lower, upper, false)
#else
#define compat_make_range(type, lower, upper) \
	make_range(type, lower, upper, false, NULL)
#endif

/* The parts of a virtual transaction id. */
#if PG_VERSION_NUM < 170000
#define compat_backend_id(proc)	((uint32) (proc)->backendId)
#define compat_local_xid(proc)	((proc)->lxid)
#else
#define compat_backend_id(proc)	((uint32) (proc)->vxid.procNumber)
#define compat_local_xid(proc)	((proc)->vxid.lxid)
#endif

/* A physical replication slot that stays; the same, to change it. */
#if PG_VERSION_NUM < 170000
#define compat_slot_create(name) \
	ReplicationSlotCreate(name, false, RS_PERSISTENT, false)
#else
#define compat_slot_create(name) \
	ReplicationSlotCreate(name, false, RS_PERSISTENT, false, false, false)
#endif
#if PG_VERSION_NUM < 180000
#define compat_slot_acquire(name)	ReplicationSlotAcquire(name, true)
#else
#define compat_slot_acquire(name)	ReplicationSlotAcquire(name, true, false)
#endif

#endif							/* GDPR_COMPAT_H */
