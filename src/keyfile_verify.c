/*
 * keyfile_verify.c
 *		Checking the whole keystore file.
 *
 * The trees are walked from their roots and every record on the way is
 * authenticated.  The XOR of the tags must be the header's sum: a record that
 * is authentic but of another time gives itself away there.  What the walk
 * did not reach must be empty.
 */
#include "keyfile_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct Check
{
	Keyfile    *kf;
	KeyfileStats stats;
	KeyfileReport report;
	void	   *arg;
	KeyfileError first;			/* damage; result OK: none so far */
	uint8_t    *reached;		/* a bit for each record */
	uint8_t		sum[CRYPTO_TAG_BYTES];
} Check;

static void
note_damage(Check *check, const KeyfileError *damage)
{
	check->stats.damaged++;
	if (check->first.result == KEYFILE_OK)
		check->first = *damage;
	if (check->report != NULL)
		check->report(check->arg, damage);
}

static bool
is_reached(const Check *check, uint32_t index)
{
	return (check->reached[index / 8] >> index % 8 & 1) != 0;
}

/*
 * Everything below a record.  Depth is bounded by the tree's: each level of
 * recursion is one level down, or the record does not authenticate.
 */
static KeyfileResult
check_below(Check *check, uint32_t index, KeytreeNode node,
			KeyfileError *err)
{
	KfStep		step;
	KeyfileResult result;
	int			children;

	result = kf_load_checked(check->kf, NULL, index, node, &step, err);
	if (result == KEYFILE_DAMAGED)
	{
		KeyfileError damage = {0};

		damage.result = KEYFILE_DAMAGED;
		damage.record = index;
		damage.node = kf_covered(node);
		note_damage(check, &damage);
		return kf_error(err, KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		return result;

	if (index != KEYFILE_NO_RECORD)
	{
		check->reached[index / 8] |= (uint8_t) (1 << index % 8);
		for (int i = 0; i < CRYPTO_TAG_BYTES; i++)
			check->sum[i] ^= step.bytes[KF_TAGGED + i];
		if (step.record.kind == KF_BINARY || step.record.kind == KF_FAN_NODE)
			check->stats.inner++;
	}

	if (step.record.kind == KF_FAN_NODE)
	{
		check->stats.fans++;
		for (int c = 0; c < KEYTREE_CATEGORIES; c++)
		{
			result = check_below(check, step.record.index[0] + (uint32_t) c,
								 keytree_child_node(node, c), err);
			if (result != KEYFILE_OK)
				return result;
		}
		return KEYFILE_OK;
	}

	children = step.record.kind == KF_FAN_LEAF ||
		node.level == KF_ROOT_LEVEL ? 1 : 2;
	for (int i = 0; i < children; i++)
	{
		KeytreeNode child = {0, node.tree, 0};

		if (step.record.state[i] == KF_HOLE)
			check->stats.holes++;
		else if (step.record.state[i] == KF_SEED)
			check->stats.seeds++;
		else
		{
			if (node.level != KF_ROOT_LEVEL)
				child = keytree_child_node(node, i);
			result = check_below(check, step.record.index[i], child, err);
			if (result != KEYFILE_OK)
				return result;
		}
	}
	return KEYFILE_OK;
}

/* Records that nothing leads to: empty, or damage that covers nothing. */
static KeyfileResult
check_rest(Check *check, KeyfileError *err)
{
	for (uint32_t i = 0; i < check->kf->header.info.records; i++)
	{
		uint8_t		bytes[KF_RECORD];
		KeyfileResult result;

		if (is_reached(check, i))
			continue;
		check->stats.freed++;
		result = kf_read_record(check->kf, i, bytes, err);
		if (result != KEYFILE_OK)
			return result;
		if (!kf_is_zero(bytes, sizeof(bytes)))
		{
			KeyfileError damage = {0};

			damage.result = KEYFILE_DAMAGED;
			damage.record = i;
			note_damage(check, &damage);
		}
	}
	return KEYFILE_OK;
}

KeyfileResult
keyfile_verify(Keyfile *kf, KeyfileStats *stats, KeyfileReport report,
			   void *arg, KeyfileError *err)
{
	Check		check;
	KeyfileResult result = KEYFILE_OK;

	kf_error(err, KEYFILE_OK);
	memset(&check, 0, sizeof(check));
	check.kf = kf;
	check.report = report;
	check.arg = arg;
	check.stats.header_damaged = kf->one_valid;
	check.stats.pending = kf->pending || !kf->settled;
	check.reached = calloc((size_t) kf->header.info.records / 8 + 1, 1);
	if (check.reached == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);

	for (int tree = 1; result == KEYFILE_OK && tree <= KF_TREES; tree++)
		result = check_below(&check, KEYFILE_NO_RECORD,
							 kf_root_position(tree), err);

	/* Below damage nothing is reached, and the sum says nothing. */
	if (result == KEYFILE_OK && check.first.result == KEYFILE_OK)
	{
		if (!crypto_equal(check.sum, kf->header.sum, sizeof(check.sum)))
			result = kf_error(err, KEYFILE_ROLLED_BACK);
		else
			result = check_rest(&check, err);
	}
	if (result == KEYFILE_OK && check.first.result != KEYFILE_OK)
	{
		result = KEYFILE_DAMAGED;
		if (err != NULL)
			*err = check.first;
	}
	free(check.reached);
	if (stats != NULL)
		*stats = check.stats;
	return result;
}
