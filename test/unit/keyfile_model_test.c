/*
 * keyfile_model_test.c
 *		Random changes of a keystore file, held against a model: after each,
 *		every living leaf derives what it always did and no punctured one
 *		derives; nothing that was destroyed is left in the file; the trees
 *		have exactly the nodes they need.
 *
 * SEED= repeats one sequence, STEPS= changes its length.
 */
#include "keyfile_fixture.h"

#include <time.h>

#define CLUSTER		UINT64_C(65536)
#define CLUSTERED	48			/* neighbours, each with some categories */
#define SCATTERED	60
#define BATCH		80

static Universe universe;
static KeytreeNode batch[BATCH];
static uint8_t doomed[BATCH * 16][CRYPTO_WRAPPED_BYTES];
static int	dooms;

static void
make_universe(Keyfile *kf)
{
	universe.leaves = universe.deads = 0;
	for (int i = 0; i < CLUSTERED; i++)
		for (int c = i % 3; c < 16; c += 3)
			universe_add(&universe, kf, keytree_subject(CLUSTER + (uint64_t) i, c));
	for (int i = 0; i < SCATTERED; i++)
	{
		uint64_t	number = (uint64_t) below(1 << 30) << 9 | below(512);

		if (i % 2 == 0)
			number = CLUSTER + below(20000);
		if (i % 5 == 0)
			number |= UINT64_C(1) << 39;
		universe_add(&universe, kf, keytree_subject(number, (int) below(16)));
	}
	for (int i = 0; i < SCATTERED; i++)
		universe_add(&universe, kf, keytree_expiry((int) below(4),
												   (int) below(64)));
	universe_add(&universe, kf, keytree_subject(1, 0));
	universe_add(&universe, kf, keytree_expiry(15, 4095));
}

/* Something to puncture: mostly near what the universe has. */
static KeytreeNode
random_node(void)
{
	KeytreeNode near = universe.leaf[below((uint32_t) universe.leaves)];

	switch (below(12))
	{
		case 0:
			return keytree_expiry((int) below(4), (int) below(64));
		case 1:
			return keytree_ancestor(keytree_expiry((int) below(4), (int) below(64)),
									8 + (int) below(9));
		case 2:
			return keytree_prefix(CLUSTER + below(CLUSTERED),
								  34 + (int) below(7));
		case 3:
			return keytree_subject((uint64_t) below(1 << 30) << 9, -1);
		case 4:
		case 5:
			return keytree_ancestor(near, near.tree == KEYTREE_SUBJECT ? 40 : 16);
		case 6:
			return near;
		case 7:
			/* rare and large */
			if (below(8) == 0)
				return keytree_prefix((uint64_t) below(1 << 30) << 9 |
									  UINT64_C(1) << 38, 2 + (int) below(20));
			return near;
		default:
			return keytree_subject(CLUSTER + below(CLUSTERED),
								   below(2) == 0 ? -1 : (int) below(16));
	}
}

static void
doom_record(Keyfile *kf, const KfRecord *record)
{
	if ((record->state[0] == KF_SEED || record->state[1] == KF_SEED) &&
		dooms < (int) (sizeof(doomed) / sizeof(doomed[0])))
		memcpy(doomed[dooms++], record->wrapped, CRYPTO_WRAPPED_BYTES);
}

static void
doom_below(Keyfile *kf, uint32_t index, KeytreeNode node)
{
	KfStep		step;

	must(kf_load_checked(kf, NULL, index, node, &step, NULL) == KEYFILE_OK);
	doom_record(kf, &step.record);
	for (int i = 0; i < keytree_fanout(node); i++)
		if (step.record.kind == KF_FAN_NODE)
			doom_below(kf, step.record.index[0] + (uint32_t) i,
					   keytree_child_node(node, i));
		else if (step.record.state[i] == KF_INNER)
			doom_below(kf, step.record.index[i], keytree_child_node(node, i));
}

/* Remember the wrapped seeds that the puncture of node has to destroy. */
static void
doom(Keyfile *kf, KeytreeNode node)
{
	KfRoute		route;
	const KfRecord *last;

	must(kf_walk(kf, NULL, node, &route, NULL) == KEYFILE_OK);
	last = &route.step[route.length - 1].record;
	if (route.state == KF_SEED)
		doom_record(kf, last);
	else if (route.state == KF_INNER)
		doom_below(kf, last->index[route.slot], route.at);
}

static bool
doomed_are_gone(const char *path)
{
	Image		image = read_image(path);
	bool		gone = true;

	for (int i = 0; gone && i < dooms; i++)
		gone = memmem(image.bytes, image.len, doomed[i],
					  CRYPTO_WRAPPED_BYTES) == NULL;
	free(image.bytes);
	return gone;
}

typedef struct Shape
{
	uint64_t	inner;
	uint64_t	seeds;
	uint64_t	holes;
	uint64_t	fans;
} Shape;

static bool
is_dead(KeytreeNode node)
{
	for (int i = 0; i < universe.deads; i++)
		if (keytree_covers(universe.dead[i], node))
			return true;
	return false;
}

/* 0: nothing below the node is dead, 2: everything, 1: some.  Counts. */
static int
needed_below(KeytreeNode node, const KeytreeNode *dead, int deads,
			 Shape *shape)
{
	static KeytreeNode mine[50][MAX_DEAD];
	KeytreeNode *here = mine[node.level];
	int			count = 0;
	int			dead_children = 0;
	int			living_children = 0;
	int			fanout = keytree_fanout(node);
	Shape		sum = {0, 0, 0, 0};

	for (int i = 0; i < deads; i++)
	{
		if (keytree_covers(dead[i], node))
			return 2;
		if (keytree_covers(node, dead[i]))
			here[count++] = dead[i];
	}
	if (count == 0)
		return 0;
	for (int i = 0; i < fanout; i++)
	{
		int			state = needed_below(keytree_child_node(node, i), here,
										 count, &sum);

		dead_children += state == 2;
		living_children += state == 0;
	}
	if (dead_children == fanout)
		return 2;
	sum.inner++;
	sum.fans += fanout == 16;
	sum.seeds += (uint64_t) living_children;
	sum.holes += (uint64_t) dead_children;
	shape->inner += sum.inner;
	shape->seeds += sum.seeds;
	shape->holes += sum.holes;
	shape->fans += sum.fans;
	return 1;
}

/* The smallest trees with these holes. */
static Shape
needed(void)
{
	Shape		shape = {0, 0, 0, 0};

	for (int tree = 1; tree <= 2; tree++)
	{
		KeytreeNode root = {0, (uint8_t) tree, 0};
		int			state = needed_below(root, universe.dead, universe.deads,
										 &shape);

		shape.seeds += state == 0;
		shape.holes += state == 2;
	}
	return shape;
}

/* Forget dead nodes below other dead ones, so that the list stays short. */
static void
kill_node(KeytreeNode node)
{
	int			kept = 0;

	if (is_dead(node))
		return;
	for (int i = 0; i < universe.deads; i++)
		if (!keytree_covers(node, universe.dead[i]))
			universe.dead[kept++] = universe.dead[i];
	universe.deads = kept;
	universe_kill(&universe, node);
}

/* One batch; *interrupted: nothing applied, the handle is lost. */
static Keyfile *
change(Keyfile *kf, const char *path, bool interrupted, bool *sound)
{
	size_t		count = 1 + below(below(4) == 0 ? BATCH : 5);
	size_t		next = 0;

	dooms = 0;
	for (size_t i = 0; i < count; i++)
	{
		batch[i] = random_node();
		doom(kf, batch[i]);
	}
	while (next < count)
	{
		size_t		first = next;

		must(keyfile_puncture_prepare(kf, batch, count, &next, NULL) == KEYFILE_OK);
		for (size_t i = first; i < next; i++)
			kill_node(batch[i]);
		if (interrupted && below(2) == 0)
		{
			Keyfile    *reader = open_file(path, false);
			bool		pending = kf->pending;

			/* who reads goes by the redo list */
			*sound = *sound && verify(reader, NULL) == KEYFILE_OK &&
				(next < count || universe_check(&universe, reader));
			keyfile_close(reader);
			keyfile_close(kf);
			kf = open_file(path, true);
			*sound = *sound && (!pending ||
								puncture_one(kf, batch[0]) == KEYFILE_PENDING);
			must(keyfile_recover(kf, NULL) == KEYFILE_OK);
		}
		else
			must(keyfile_puncture_apply(kf, NULL) == KEYFILE_OK);
	}
	*sound = *sound && doomed_are_gone(path);
	return kf;
}

/* Of months and nodes above them, it leaves all below which something lives. */
static bool
keeps_living_months(Keyfile *kf)
{
	bool		right = true;

	for (int i = 0; i < universe.leaves; i++)
	{
		KeytreeNode leaf = universe.leaf[i];

		if (leaf.tree != KEYTREE_EXPIRY)
			continue;
		for (int level = KEYTREE_EXPIRY_LEAF; level >= KEYTREE_EXPIRY_LEAF - 6; level--)
		{
			KeytreeNode node = keytree_ancestor(leaf, level);
			size_t		count = 1;

			must(keyfile_keep_living(kf, &node, &count, NULL) == KEYFILE_OK);
			right = right && (count == 1 || is_dead(leaf)) &&
				(count == 0 || level < KEYTREE_EXPIRY_LEAF || !is_dead(leaf));
		}
	}
	return right;
}

/* Of all numbers and leaves, keyfile_keep_living() leaves what is not dead. */
static bool
keeps_the_living(Keyfile *kf)
{
	static KeytreeNode nodes[2 * MAX_LEAVES];
	static KeytreeNode expected[2 * MAX_LEAVES];
	size_t		count = 0;
	size_t		living = 0;

	for (int i = 0; i < universe.leaves; i++)
		if (universe.leaf[i].tree == KEYTREE_SUBJECT)
		{
			nodes[count++] = universe.leaf[i];
			nodes[count++] = keytree_ancestor(universe.leaf[i],
											  KEYTREE_NUMBER_LEVEL);
		}
	qsort(nodes, count, sizeof(KeytreeNode), keytree_compare);
	for (size_t i = 0; i < count; i++)
	{
		KeytreeNode node = nodes[i];
		bool		lives = false;

		if (node.level == KEYTREE_SUBJECT_LEAF)
			lives = !is_dead(node);
		else
			for (int c = 0; c < KEYTREE_CATEGORIES; c++)
				lives = lives || !is_dead(keytree_child_node(node, c));
		if (lives)
			expected[living++] = node;
	}
	must(keyfile_keep_living(kf, nodes, &count, NULL) == KEYFILE_OK);
	if (count != living)
		return false;
	for (size_t i = 0; i < count; i++)
		if (keytree_compare(&nodes[i], &expected[i]) != 0)
			return false;
	return keeps_living_months(kf);
}

static void
run(uint64_t seed, int steps)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	uint32_t	kek_version = 1;
	bool		sound = true;
	bool		held = true;
	bool		shaped = true;
	bool		small = true;
	bool		told = true;
	Keyfile    *reader;

	random_state = seed * 2 + 1;
	make_universe(kf);
	reader = open_file(path, false);
	for (int step = 0; sound && held && shaped && step < steps; step++)
	{
		KeyfileStats stats;
		KeyfileInfo info;
		uint32_t	kind = below(20);

		if (kind == 0)
		{
			keyfile_close(kf);
			kf = open_file(path, true);
		}
		else if (kind == 1)
		{
			KeyfileIdentity next = identity;
			uint8_t		kek[32];

			next.kek_version = ++kek_version;
			make_kek(kek_version, kek);
			must(keyfile_rewrite(kf, path, &next, kek, false, NULL, NULL) == KEYFILE_OK);
			must(keyfile_refresh(reader, NULL) == KEYFILE_REPLACED);
			must(keyfile_destroy(kf, NULL) == KEYFILE_OK);
			keyfile_close(kf);
			keyfile_close(reader);
			kf = open_file(path, true);
			reader = open_file(path, false);
			keyfile_info(kf, &info);
			must(verify(kf, &stats) == KEYFILE_OK);
			small = small && stats.freed == 0 &&
				info.records == stats.inner + 16 * stats.fans;
		}
		else if (kind == 2)
		{
			KeyfileLease lease = {true, 0, 0, step > 100, 1, 1, 0};

			must(keyfile_lease(kf, &lease, NULL) == KEYFILE_OK);
		}
		else
			kf = change(kf, path, kind < 8, &sound);

		held = universe_check(&universe, kf);
		sound = sound && verify(kf, &stats) == KEYFILE_OK && !stats.pending &&
			!stats.header_damaged && stats.damaged == 0;
		if (step % 4 == 0)
		{
			Shape		shape = needed();

			shaped = stats.inner == shape.inner && stats.seeds == shape.seeds &&
				stats.holes == shape.holes && stats.fans == shape.fans;
			if (!shaped)
				diag("step %d: inner %d, needed %d; holes %d, needed %d", step,
					 (int) stats.inner, (int) shape.inner, (int) stats.holes,
					 (int) shape.holes);
			must(keyfile_refresh(reader, NULL) == KEYFILE_OK);
			told = told && universe_check(&universe, reader);
			held = held && keeps_the_living(reader);
		}
		if (!sound || !held)
			diag("step %d", step);
	}
	ok(held, "seed %llu: what lives derives as ever, what is dead does not",
	   (unsigned long long) seed);
	ok(sound, "seed %llu: every state verifies, no destroyed seed is left",
	   (unsigned long long) seed);
	ok(shaped, "seed %llu: the trees have no node too many",
	   (unsigned long long) seed);
	ok(small, "seed %llu: a rewritten file has no record too many",
	   (unsigned long long) seed);
	ok(told, "seed %llu: another handle sees the same after a refresh",
	   (unsigned long long) seed);
	keyfile_close(reader);
	keyfile_close(kf);
	unlink(path);
}

/* Everything below a prefix, one leaf after the other in random order. */
static void
run_dense(uint64_t seed)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	KeytreeNode order[256];
	KeyfileStats stats;
	bool		held = true;

	random_state = seed * 2 + 1;
	universe.leaves = universe.deads = 0;
	for (int i = 0; i < 256; i++)
	{
		order[i] = keytree_subject(CLUSTER + (uint64_t) i / 16, i % 16);
		universe_add(&universe, kf, order[i]);
	}
	universe_add(&universe, kf, keytree_subject(CLUSTER + 16, 0));
	for (int i = 255; i > 0; i--)
	{
		uint32_t	j = below((uint32_t) i + 1);
		KeytreeNode swapped = order[i];

		order[i] = order[j];
		order[j] = swapped;
	}
	for (int i = 0; i < 256; i++)
	{
		must(puncture_one(kf, order[i]) == KEYFILE_OK);
		universe_kill(&universe, order[i]);
		if (i % 8 == 0)
			held = held && universe_check(&universe, kf);
	}
	must(verify(kf, &stats) == KEYFILE_OK);
	ok(held && universe_check(&universe, kf) && stats.holes == 1 &&
	   stats.inner == 36 && stats.fans == 0,
	   "seed %llu: 256 leaves, one by one, end as one hole",
	   (unsigned long long) seed);
	keyfile_close(kf);
	unlink(path);
}

int
main(void)
{
	const char *seed = getenv("SEED");
	const char *steps = getenv("STEPS");
	int			count = steps != NULL ? atoi(steps) : 150;

	start_directory();
	if (seed != NULL)
		run(strtoull(seed, NULL, 10), count);
	else
	{
		uint64_t	today = (uint64_t) time(NULL);

		run(1, count);
		run(2, count);
		diag("SEED=%llu", (unsigned long long) today);
		run(today, count);
		run_dense(1);
		run_dense(today);
	}
	end_directory();
	return done();
}
