/*
 * keyfile_puncture.c
 *		Planning a change of the keystore file: which records become what.
 *
 * A plan is the header to be, with the contents of records that change in
 * place as its redo list, and the new records that follow those in use.
 * Nothing is written here.  After each node the plan is a whole change of
 * its own, so it may end after any of them.
 *
 * Room in the redo list is the budget.  A node that needs more than is left
 * waits for the next change; one that needs more than there is at all is
 * taken apart from below, over several changes.
 */
#include "keyfile_internal.h"

#include <stdlib.h>
#include <string.h>

/* a plan with more new records is carried out before it grows further */
#define FRESH_LIMIT		16384

void
kf_plan_start(const Keyfile *kf, KfPlan *plan)
{
	memset(plan, 0, sizeof(*plan));
	plan->next = kf->header;
	plan->next.info.redo = 0;
	plan->next.info.generation++;
}

void
kf_plan_end(KfPlan *plan)
{
	free(plan->fresh);
	crypto_wipe(plan, sizeof(*plan));
}

/* records below this one were there before the plan */
static uint32_t
base(const Keyfile *kf)
{
	return kf->header.info.records;
}

/* Where the plan holds the record, or NULL. */
static uint8_t *
planned(const Keyfile *kf, const KfPlan *plan, uint32_t index)
{
	if (index >= base(kf))
		return plan->fresh + (size_t) (index - base(kf)) * KF_RECORD;
	for (uint32_t i = 0; i < plan->next.info.redo; i++)
		if (plan->next.redo_index[i] == index)
			return (uint8_t *) plan->next.redo_record[i];
	return NULL;
}

bool
kf_plan_record(const Keyfile *kf, const KfPlan *plan, uint32_t index,
			   uint8_t bytes[KF_RECORD])
{
	const uint8_t *found = planned(kf, plan, index);

	if (found != NULL)
		memcpy(bytes, found, KF_RECORD);
	return found != NULL;
}

/* What changing the record takes from the budget. */
static int
cost(const Keyfile *kf, const KfPlan *plan, uint32_t index)
{
	return index == KEYFILE_NO_RECORD ||
		planned(kf, plan, index) != NULL ? 0 : 1;
}

static int
budget(const KfPlan *plan)
{
	return KF_REDO - (int) plan->next.info.redo;
}

/*
 * `count` new records in a row; a single one may be one that was freed again.
 */
static KeyfileResult
allocate(KfPlan *plan, uint32_t count, uint32_t *index, KeyfileError *err)
{
	if (count == 1 && plan->spares > 0)
	{
		*index = plan->spare[--plan->spares];
		return KEYFILE_OK;
	}
	if (plan->next.info.records >= KEYFILE_NO_RECORD - count)
		return kf_error(err, KEYFILE_FULL);
	if (plan->fresh_used + count > plan->fresh_size)
	{
		uint32_t	size = (plan->fresh_used + count) * 2;
		uint8_t    *grown = realloc(plan->fresh, (size_t) size * KF_RECORD);

		if (grown == NULL)
			return kf_error(err, KEYFILE_NO_MEMORY);
		plan->fresh = grown;
		plan->fresh_size = size;
	}
	memset(plan->fresh + (size_t) plan->fresh_used * KF_RECORD, 0,
		   (size_t) count * KF_RECORD);
	*index = plan->next.info.records;
	plan->next.info.records += count;
	plan->fresh_used += count;
	return KEYFILE_OK;
}

static void
add_to_sum(KfPlan *plan, const uint8_t bytes[KF_RECORD])
{
	for (int i = 0; i < CRYPTO_TAG_BYTES; i++)
		plan->next.sum[i] ^= bytes[KF_TAGGED + i];
}

/*
 * Give a record new contents.  `before` is what it had; the caller has seen
 * to the budget.
 */
static void
put_record(const Keyfile *kf, KfPlan *plan, uint32_t index,
		   const uint8_t before[KF_RECORD], const uint8_t after[KF_RECORD])
{
	uint8_t    *place = planned(kf, plan, index);

	add_to_sum(plan, before);
	add_to_sum(plan, after);
	if (place == NULL)
	{
		uint32_t	slot = plan->next.info.redo++;

		plan->next.redo_index[slot] = index;
		place = plan->next.redo_record[slot];
	}
	memcpy(place, after, KF_RECORD);
	plan->changed = true;
}

/* Encode step->record and put it. */
static KeyfileResult
put_step(const Keyfile *kf, KfPlan *plan, KfStep *step, KeyfileError *err)
{
	uint8_t		bytes[KF_RECORD];

	if (!kf_encode_record(&kf->keys, step->node, &step->record, bytes))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	if (step->index == KEYFILE_NO_RECORD)
	{
		memcpy(plan->next.root[step->node.tree - 1], bytes, KF_RECORD);
		plan->changed = true;
	}
	else
		put_record(kf, plan, step->index, step->bytes, bytes);
	memcpy(step->bytes, bytes, KF_RECORD);
	return KEYFILE_OK;
}

static void
free_step(const Keyfile *kf, KfPlan *plan, const KfStep *step)
{
	static const uint8_t zeros[KF_RECORD];

	put_record(kf, plan, step->index, step->bytes, zeros);
	if (step->index >= base(kf) &&
		plan->spares < sizeof(plan->spare) / sizeof(plan->spare[0]))
		plan->spare[plan->spares++] = step->index;
}

/*
 * What wiping a record and everything below it costs, or any number above
 * limit; with apply, do it.
 */
static KeyfileResult
clear_below(Keyfile *kf, KfPlan *plan, uint32_t index, KeytreeNode node,
			bool apply, int limit, int *total, KeyfileError *err)
{
	KfStep		step;
	KeyfileResult result;
	bool		fan;

	result = kf_load_checked(kf, plan, index, node, &step, err);
	if (result != KEYFILE_OK)
		return result;
	*total += cost(kf, plan, index);
	fan = step.record.kind == KF_FAN_NODE;
	for (int i = 0; *total <= limit && i < keytree_fanout(node); i++)
	{
		if (!fan && step.record.state[i] != KF_INNER)
			continue;
		result = clear_below(kf, plan, fan ?
							 step.record.index[0] + (uint32_t) i :
							 step.record.index[i],
							 keytree_child_node(node, i), apply, limit,
							 total, err);
		if (result != KEYFILE_OK)
			return result;
	}
	if (apply)
		free_step(kf, plan, &step);
	return KEYFILE_OK;
}

/*
 * Are all leaves of the fan holes, but the one at the end of the route?  A
 * damaged one is not: it does not stand in the way of its neighbours.
 */
static KeyfileResult
is_last_leaf(Keyfile *kf, KfPlan *plan, const KfRoute *route, bool *last,
			 KeyfileError *err)
{
	const KfStep *fan = &route->step[route->length - 2];

	*last = true;
	for (int c = 0; *last && c < KEYTREE_CATEGORIES; c++)
	{
		KfStep		leaf;
		KeyfileResult result;

		if (c == keytree_index(route->at))
			continue;
		result = kf_load_checked(kf, plan,
								 fan->record.index[0] + (uint32_t) c,
								 keytree_child_node(fan->node, c), &leaf, err);
		if (result != KEYFILE_OK && result != KEYFILE_DAMAGED)
			return result;
		*last = result == KEYFILE_OK && leaf.record.state[0] == KF_HOLE;
	}
	return kf_error(err, KEYFILE_OK);
}

/*
 * If route->at is all that lives in its parent, its puncture is the parent's:
 * shorten the route by one node.
 */
static KeyfileResult
merge_upward(Keyfile *kf, KfPlan *plan, KfRoute *route, bool *merged,
			 KeyfileError *err)
{
	const KfStep *last = &route->step[route->length - 1];
	bool		empty;
	KeyfileResult result;

	*merged = false;
	if (last->node.level == KF_ROOT_LEVEL)
		return KEYFILE_OK;
	if (last->record.kind == KF_FAN_LEAF)
	{
		result = is_last_leaf(kf, plan, route, &empty, err);
		if (result != KEYFILE_OK || !empty)
			return result;
		route->length -= 2;
	}
	else
	{
		if (last->record.state[1 - route->slot] != KF_HOLE)
			return KEYFILE_OK;
		route->length--;
	}
	last = &route->step[route->length - 1];
	if (last->node.level == KF_ROOT_LEVEL)
	{
		route->at = keytree_ancestor(route->at, 0);
		route->slot = 0;
	}
	else
	{
		route->at = keytree_ancestor(route->at, last->node.level + 1);
		route->slot = keytree_index(route->at);
	}
	route->state = (KfState) last->record.state[route->slot];
	*merged = true;
	return KEYFILE_OK;
}

/* What it costs to make route->at a hole, up to limit. */
static KeyfileResult
price(Keyfile *kf, KfPlan *plan, const KfRoute *route, int limit, int *total,
	  KeyfileError *err)
{
	const KfStep *last = &route->step[route->length - 1];

	*total = cost(kf, plan, last->index);
	if (route->state != KF_INNER)
		return KEYFILE_OK;
	return clear_below(kf, plan, last->record.index[route->slot], route->at,
					   false, limit, total, err);
}

/* Make route->at a hole and wipe what is below it; the budget is there. */
static KeyfileResult
make_hole(Keyfile *kf, KfPlan *plan, KfRoute *route, KeyfileError *err)
{
	KfStep	   *last = &route->step[route->length - 1];
	int			total = 0;
	KeyfileResult result;

	if (route->state == KF_INNER)
	{
		result = clear_below(kf, plan, last->record.index[route->slot],
							 route->at, true, KF_REDO, &total, err);
		if (result != KEYFILE_OK)
			return result;
	}
	last->record.state[route->slot] = KF_HOLE;
	last->record.index[route->slot] = 0;
	return put_step(kf, plan, last, err);
}

/*
 * Puncture what the route leads to (a seed or an inner node), merged upward.
 * *full: there is no room, nothing was done.  Merging alone makes no node
 * wait twice: when the plan is empty, or the node is taken apart anyway, as
 * much of it is done as there is room for.  Records that are left with two
 * holes are legal.
 */
static KeyfileResult
puncture_here(Keyfile *kf, KfPlan *plan, KfRoute *route, bool partly,
			  bool *full, KeyfileError *err)
{
	KfRoute		best = *route;
	int			total;
	bool		merged;
	KeyfileResult result;

	*full = false;
	result = price(kf, plan, route, budget(plan), &total, err);
	if (result != KEYFILE_OK)
		return result;
	if (total > budget(plan))
	{
		*full = true;
		return KEYFILE_OK;
	}
	for (;;)
	{
		result = merge_upward(kf, plan, route, &merged, err);
		if (result != KEYFILE_OK)
			return result;
		if (!merged)
			break;
		result = price(kf, plan, route, budget(plan), &total, err);
		if (result != KEYFILE_OK)
			return result;
		if (total > budget(plan))
		{
			if (plan->changed && !partly)
			{
				*full = true;
				return KEYFILE_OK;
			}
			break;
		}
		best = *route;
	}
	return make_hole(kf, plan, &best, err);
}

/* Wrap seed as the record's child i. */
static KeyfileResult
set_seed(const Keyfile *kf, KfRecord *record, int i,
		 const uint8_t seed[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	record->state[i] = KF_SEED;
	if (!crypto_wrap(kf->keys.wrap, seed, record->wrapped))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	return KEYFILE_OK;
}

/* New records for a fan without the leaf `node`, from its root's seed. */
static KeyfileResult
build_fan(const Keyfile *kf, KfPlan *plan, uint32_t index, KeytreeNode node,
		  const uint8_t seed[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	KfStep		step = {0};
	uint8_t		leaf[CRYPTO_KEY_BYTES];
	KeyfileResult result;

	step.node = keytree_ancestor(node, node.level - 1);
	step.index = index;
	step.record.kind = KF_FAN_NODE;
	step.record.index[0] = index + 1;
	result = put_step(kf, plan, &step, err);
	for (int c = 0; result == KEYFILE_OK && c < KEYTREE_CATEGORIES; c++)
	{
		KfStep		child = {0};

		child.node = keytree_child_node(step.node, c);
		child.index = index + 1 + (uint32_t) c;
		child.record.kind = KF_FAN_LEAF;
		if (child.node.path != node.path)
		{
			if (!keytree_child(seed, node.tree, step.node.level, c, leaf))
				result = kf_error(err, KEYFILE_NO_CRYPTO);
			else
				result = set_seed(kf, &child.record, 0, leaf, err);
		}
		if (result == KEYFILE_OK)
			result = put_step(kf, plan, &child, err);
	}
	crypto_wipe(leaf, sizeof(leaf));
	return result;
}

/*
 * New records for the way from route->at, whose seed is given and goes, down
 * to node, which becomes the hole; the siblings along the way get seeds.
 */
static KeyfileResult
build_path(const Keyfile *kf, KfPlan *plan, KfRoute *route, KeytreeNode node,
		   uint8_t seed[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	KfStep	   *above = &route->step[route->length - 1];
	int			slot = route->slot;
	KfStep		steps[2];
	KeyfileResult result = KEYFILE_OK;

	for (int level = route->at.level; level < node.level; level++)
	{
		KfStep	   *step = above == &steps[0] ? &steps[1] : &steps[0];
		uint8_t		sibling[CRYPTO_KEY_BYTES];
		bool		fan;
		bool		ok;

		memset(step, 0, sizeof(*step));
		step->node = keytree_ancestor(node, level);
		fan = keytree_fanout(step->node) > 2;
		result = allocate(plan, fan ? KF_FAN : 1, &step->index, err);
		if (result != KEYFILE_OK)
			return result;

		above->record.state[slot] = KF_INNER;
		above->record.index[slot] = step->index;
		result = put_step(kf, plan, above, err);
		if (result != KEYFILE_OK)
			return result;
		if (fan)
			return build_fan(kf, plan, step->index, node, seed, err);

		step->record.kind = KF_BINARY;
		slot = keytree_index(keytree_ancestor(node, level + 1));
		ok = keytree_children(seed, node.tree, level, slot, seed, sibling);
		result = ok ? set_seed(kf, &step->record, 1 - slot, sibling, err) :
			kf_error(err, KEYFILE_NO_CRYPTO);
		crypto_wipe(sibling, sizeof(sibling));
		if (result != KEYFILE_OK)
			return result;
		above = step;
	}
	above->record.state[slot] = KF_HOLE;
	return put_step(kf, plan, above, err);
}

/* Puncture a node below the seed that the route leads to. */
static KeyfileResult
split_seed(Keyfile *kf, KfPlan *plan, KfRoute *route, KeytreeNode node,
		   bool *full, KeyfileError *err)
{
	const KfStep *last = &route->step[route->length - 1];
	uint8_t		seed[CRYPTO_KEY_BYTES];
	KeyfileResult result;

	*full = cost(kf, plan, last->index) > budget(plan);
	if (*full)
		return KEYFILE_OK;
	if (!crypto_unwrap(kf->keys.wrap, last->record.wrapped, seed))
		return kf_damaged(err, last->index, last->node);
	result = build_path(kf, plan, route, node, seed, err);
	crypto_wipe(seed, sizeof(seed));
	return result;
}

/*
 * A part of an inner node that there is room to puncture: the route to it in
 * *route.  *full: there is none.
 */
static KeyfileResult
find_part(Keyfile *kf, KfPlan *plan, KeytreeNode node, KfRoute *route,
		  bool *full, KeyfileError *err)
{
	*full = false;
	for (;;)
	{
		const KfStep *last = &route->step[route->length - 1];
		KfStep		step;
		int			total = 0;
		int			i;
		KeyfileResult result;

		result = kf_load_checked(kf, plan, last->record.index[route->slot],
								 node, &step, err);
		if (result != KEYFILE_OK)
			return result;
		for (i = 0; i < 2; i++)
			if (step.record.state[i] == KF_INNER)
				break;
		if (step.record.kind != KF_BINARY || i == 2)
		{
			*full = true;
			return KEYFILE_OK;
		}
		node = keytree_child_node(node, i);
		result = kf_walk(kf, plan, node, route, err);
		if (result == KEYFILE_OK)
			result = price(kf, plan, route, budget(plan), &total, err);
		if (result != KEYFILE_OK || total <= budget(plan))
			return result;
	}
}

/*
 * Add the puncture of a node to the plan.  *full: the plan has to be carried
 * out first; then the same node again.  A node that is punctured already
 * changes nothing.  On failure the plan is still a whole one, unless the
 * result is NO_MEMORY, FULL or NO_CRYPTO.
 */
KeyfileResult
kf_plan_node(Keyfile *kf, KfPlan *plan, KeytreeNode node, bool *full,
			 KeyfileError *err)
{
	bool		empty = !plan->changed;
	bool		partly = false;
	KeyfileResult result;

	*full = plan->fresh_used > FRESH_LIMIT;
	while (!*full)
	{
		KfRoute		route;

		result = kf_walk(kf, plan, node, &route, err);
		if (result != KEYFILE_OK)
			return result;
		if (route.state == KF_HOLE)
		{
			if (partly)
				plan->next.info.punctures++;
			break;
		}
		if (route.state == KF_SEED && route.at.level < node.level)
			result = split_seed(kf, plan, &route, node, full, err);
		else
			result = puncture_here(kf, plan, &route, partly, full, err);
		if (result != KEYFILE_OK)
			return result;
		if (!*full)
		{
			plan->next.info.punctures++;
			break;
		}
		if (!empty)
			break;

		/* More than any change holds: take it apart. */
		partly = true;
		result = find_part(kf, plan, node, &route, full, err);
		if (result == KEYFILE_OK && !*full)
			result = puncture_here(kf, plan, &route, partly, full, err);
		if (result != KEYFILE_OK)
			return result;
	}
	return KEYFILE_OK;
}
