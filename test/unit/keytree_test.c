/*
 * keytree_test.c
 *		The key trees: the known answers of doc/formats.md, and the arithmetic
 *		of paths.
 */
#include "keytree.h"
#include "tap.h"

#include <string.h>

#define SUBJECT_ROOT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define EXPIRY_ROOT "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"

static KeytreeSeed subject_root = {{0, KEYTREE_SUBJECT, 0}, {0}};
static KeytreeSeed expiry_root = {{0, KEYTREE_EXPIRY, 0}, {0}};

static bool
is_hex(const uint8_t *bytes, const char *hex)
{
	uint8_t		expected[32];

	return unhex(hex, expected) == 32 && memcmp(bytes, expected, 32) == 0;
}

static bool
segment_key(uint64_t number, int category, int month, uint8_t key[32])
{
	uint8_t		subject[32];
	uint8_t		expiry[32];

	return keytree_descend(&subject_root, keytree_subject(number, category),
						   subject) &&
		keytree_descend(&expiry_root, keytree_expiry(category, month),
						expiry) &&
		keytree_segment_key(subject, expiry, number, category, month, key);
}

static void
test_known_answers(void)
{
	uint8_t		out[32];
	uint8_t		leaf[32];

	ok(keytree_child(subject_root.seed, 1, 0, 0, out) &&
	   is_hex(out, "0fae5f333e56d4d78a9d6eb2be3cf6276fb0d709d7bfa9585b2e3d627ac920dc"),
	   "child 0 of the subject root");
	ok(keytree_child(subject_root.seed, 1, 0, 1, out) &&
	   is_hex(out, "65657e725e2ad5c73c616ac57c611dab2ace92bfe5e9e672f37cfc857bd81d7b"),
	   "child 1 of the subject root");
	ok(keytree_child(subject_root.seed, 1, 40, 15, out) &&
	   is_hex(out, "557613c551110fe2385b428edaa26de5c79422d9d5fb887a25e31d7742b0405d"),
	   "child 15 at level 40");
	ok(keytree_child(expiry_root.seed, 2, 15, 1, out) &&
	   is_hex(out, "b05eb339bc272e2ddc1ad7ebe36f90e63cfc67e3901ecadf43f8333419b05d68"),
	   "child 1 at level 15 of the expiry tree");
	ok(keytree_descend(&subject_root, keytree_subject(65536, -1), out) &&
	   is_hex(out, "bd80155cbbef819048604aae8847ceb808b7d54bb6079f04ee099b1f3b4ce6ec"),
	   "the node of number 65536");
	ok(keytree_descend(&subject_root, keytree_subject(65536, 3), out) &&
	   is_hex(out, "d18654e78ec65e8406bbe23d0e7018a2fabb54e9d5023754312843782f9dd398"),
	   "its leaf of category 3");
	ok(keytree_descend(&expiry_root, keytree_expiry(3, 318), out) &&
	   is_hex(out, "9a17cde9390d8b267cb4599409af8765fc34d2660fa3b574f714c57def2d8a21"),
	   "the leaf of category 3, month 318");
	ok(segment_key(65536, 3, 318, out) &&
	   is_hex(out, "dbf593fa5517c9cbd9e48eeb206593d32026bf2f3ccca7543b2eb4651928cb9c"),
	   "the key of (65536, 3, 318)");
	ok(segment_key(65537, 0, 0, out) &&
	   is_hex(out, "16efb91e90c6f603a264091f1ed1a0e5bb59b9d9a27d5c63b855f15e21b8a8de"),
	   "the key of (65537, 0, no limit)");
	ok(segment_key((UINT64_C(1) << 39) + 74565, 15, 4095, out) &&
	   is_hex(out, "d7ac35e0a3196c917ab0b8231428b43861abd027ef443dfd4d9d73ce088333db"),
	   "the key of a keep number in the last category and month");
	ok(keytree_descend(&subject_root, keytree_subject(1, 0), leaf) &&
	   keytree_token_key(leaf, 7, out) &&
	   is_hex(out, "80b4c1b7a9bcde523516fd26fd17e0af1cca9e924446efa1b8cc999db87abda4"),
	   "the token key of epoch 1, domain 7");
}

static void
test_nodes(void)
{
	KeytreeNode leaf = keytree_subject(UINT64_C(0xABCDEF0123), 5);
	KeytreeNode number = keytree_subject(UINT64_C(0xABCDEF0123), -1);
	KeytreeNode root = keytree_ancestor(leaf, 0);
	KeytreeNode node = root;
	bool		same = true;

	ok(leaf.level == 41 && leaf.path == UINT64_C(0xABCDEF01235) &&
	   number.level == 40 && number.path == UINT64_C(0xABCDEF0123),
	   "a category hangs below its number");
	ok(keytree_ancestor(leaf, 40).path == number.path &&
	   keytree_ancestor(leaf, 24).path == 0xABCDEF &&
	   keytree_ancestor(leaf, 1).path == 1 && root.path == 0,
	   "ancestors have the leading bits");
	ok(keytree_prefix(UINT64_C(0xABCDEF0123), 24).path == 0xABCDEF,
	   "a prefix is an ancestor of its numbers");
	for (int level = 1; level <= 41; level++)
	{
		KeytreeNode next = keytree_ancestor(leaf, level);

		node = keytree_child_node(node, keytree_index(next));
		same = same && node.path == next.path && node.level == next.level &&
			node.tree == next.tree;
	}
	ok(same && node.path == leaf.path, "children lead where ancestors say");
	ok(keytree_fanout(root) == 2 && keytree_fanout(number) == 16 &&
	   keytree_fanout(leaf) == 0 &&
	   keytree_fanout(keytree_expiry(0, 0)) == 0 &&
	   keytree_fanout(keytree_ancestor(keytree_expiry(0, 0), 15)) == 2,
	   "two children, sixteen of a number, none of a leaf");
	ok(keytree_covers(root, leaf) && keytree_covers(number, leaf) &&
	   keytree_covers(leaf, leaf) && !keytree_covers(leaf, number) &&
	   !keytree_covers(keytree_subject(1, -1), leaf) &&
	   !keytree_covers(keytree_ancestor(keytree_expiry(0, 0), 0), leaf),
	   "a node covers itself and what is below it in its tree");
	ok(keytree_expiry(15, 4095).path == 0xFFFF &&
	   keytree_expiry(3, 318).path == 3 * 4096 + 318,
	   "an expiry leaf is category, then month");
}

static void
test_limits(void)
{
	KeytreeNode bad = {0, 3, 0};
	KeytreeNode deep = {0, KEYTREE_SUBJECT, 42};
	KeytreeNode wide = {2, KEYTREE_SUBJECT, 1};
	uint8_t		out[32];

	ok(keytree_valid(keytree_subject(KEYTREE_MAX_NUMBER, 15)) &&
	   keytree_valid(keytree_subject(0, -1)) &&
	   keytree_valid(keytree_expiry(15, 4095)) &&
	   keytree_valid(keytree_prefix(0, 0)), "the extremes exist");
	ok(!keytree_valid(keytree_subject(KEYTREE_MAX_NUMBER + 1, 0)) &&
	   !keytree_valid(keytree_subject(0, 16)) &&
	   !keytree_valid(keytree_subject(0, -2)) &&
	   !keytree_valid(keytree_expiry(16, 0)) &&
	   !keytree_valid(keytree_expiry(-1, 0)) &&
	   !keytree_valid(keytree_expiry(0, 4096)) &&
	   !keytree_valid(keytree_expiry(0, -1)) &&
	   !keytree_valid(keytree_prefix(0, 41)) &&
	   !keytree_valid(keytree_prefix(0, -1)) &&
	   !keytree_valid(keytree_child_node(keytree_subject(0, -1), 16)) &&
	   !keytree_valid(keytree_child_node(keytree_subject(0, 0), 0)),
	   "beyond them nothing does");
	ok(!keytree_valid(bad) && !keytree_valid(deep) && !keytree_valid(wide),
	   "nor in another tree, below the leaves, beside the path");
	ok(!keytree_descend(&subject_root, bad, out) &&
	   !keytree_descend(&subject_root, keytree_expiry(0, 0), out),
	   "no way leads into another tree");
	ok(!segment_key(65536, -1, 0, out) && !segment_key(65536, 16, 0, out) &&
	   !segment_key(65536, 0, 4096, out), "and no key is for no category");
	ok(keytree_shape(0) == NULL && keytree_shape(KEYTREE_EXPIRY) != NULL,
	   "there are two trees");
}

static void
test_order(void)
{
	KeytreeNode nodes[] = {
		keytree_expiry(0, 0), keytree_subject(7, 2), keytree_subject(7, -1),
		keytree_subject(6, 15), keytree_prefix(8, 37), keytree_subject(8, -1),
		keytree_prefix(0, 0), keytree_subject(6, -1)
	};
	KeytreeNode sorted[] = {
		keytree_prefix(0, 0), keytree_subject(6, -1), keytree_subject(6, 15),
		keytree_subject(7, -1), keytree_subject(7, 2), keytree_prefix(8, 37),
		keytree_subject(8, -1), keytree_expiry(0, 0)
	};
	bool		same = true;

	qsort(nodes, 8, sizeof(nodes[0]), keytree_compare);
	for (int i = 0; i < 8; i++)
		same = same && keytree_compare(&nodes[i], &sorted[i]) == 0;
	ok(same, "nodes sort by tree, from left to right, ancestors first");
}

static void
test_derivation(void)
{
	KeytreeSeed middle;
	uint8_t		direct[32];
	uint8_t		by_steps[32];
	uint8_t		by_halves[32];
	uint8_t		seen[16][32];
	KeytreeNode leaf = keytree_subject(UINT64_C(0x0123456789), 9);
	bool		distinct = true;

	memcpy(by_steps, subject_root.seed, 32);
	for (int level = 0; level < 41; level++)
		must(keytree_child(by_steps, KEYTREE_SUBJECT, level,
						   keytree_index(keytree_ancestor(leaf, level + 1)),
						   by_steps));
	middle.node = keytree_ancestor(leaf, 23);
	must(keytree_descend(&subject_root, middle.node, middle.seed));
	ok(keytree_descend(&subject_root, leaf, direct) &&
	   keytree_descend(&middle, leaf, by_halves) &&
	   memcmp(direct, by_steps, 32) == 0 &&
	   memcmp(direct, by_halves, 32) == 0,
	   "a leaf is the same from wherever it is derived");
	must(keytree_child(middle.seed, KEYTREE_SUBJECT, 23, 0, direct));
	must(keytree_child(middle.seed, KEYTREE_SUBJECT, 23, 1, by_halves));
	memcpy(seen[0], middle.seed, 32);
	ok(keytree_children(seen[0], KEYTREE_SUBJECT, 23, 1, seen[0], seen[1]) &&
	   memcmp(seen[0], by_halves, 32) == 0 && memcmp(seen[1], direct, 32) == 0,
	   "both children at once are the same as one by one");
	ok(keytree_pair(middle.seed, KEYTREE_SUBJECT, 23, seen) &&
	   memcmp(seen[0], direct, 32) == 0 && memcmp(seen[1], by_halves, 32) == 0,
	   "also in order");
	ok(!keytree_descend(&middle, keytree_subject(0, 0), direct),
	   "a seed leads to what it covers only");
	ok(keytree_descend(&middle, middle.node, direct) &&
	   memcmp(direct, middle.seed, 32) == 0, "and to itself");
	for (int c = 0; c < 16; c++)
	{
		must(keytree_child(middle.seed, KEYTREE_SUBJECT, 40, c, seen[c]));
		for (int d = 0; d < c; d++)
			distinct = distinct && memcmp(seen[c], seen[d], 32) != 0;
	}
	ok(distinct, "siblings differ");
	distinct = true;
	for (int wanted = 0; wanted <= 0xFFFF; wanted += 0x1111)
	{
		uint8_t		leaves[16][32];

		memset(leaves, 0, sizeof(leaves));
		must(keytree_leaves(middle.seed, (uint16_t) wanted, leaves));
		for (int c = 0; c < 16; c++)
			distinct = distinct &&
				(memcmp(leaves[c], seen[c], 32) == 0) == (wanted >> c & 1);
	}
	ok(distinct, "the leaves that are asked for, and no others");
	must(segment_key(65536, 1, 5, direct) && segment_key(65536, 1, 6, by_steps));
	ok(memcmp(direct, by_steps, 32) != 0, "months differ");
}

/* The nodes above months 1 ... m cover these and no others. */
static void
test_past(void)
{
	static const int months[] = {1, 2, 3, 4, 255, 256, 319, 324, 2047, 2048, 4094, 4095};
	KeytreeNode nodes[KEYTREE_PAST_NODES];
	bool		right = true;
	int			most = 0;

	for (size_t i = 0; i < sizeof(months) / sizeof(months[0]); i++)
	{
		int			count = keytree_past(5, months[i], nodes);

		most = count > most ? count : most;
		for (int category = 4; category <= 6; category++)
			for (int month = 0; month < KEYTREE_MONTHS; month++)
			{
				int			covered = 0;

				for (int n = 0; n < count; n++)
					covered += keytree_covers(nodes[n], keytree_expiry(category, month));
				right = right && covered ==
					(category == 5 && month >= 1 && month <= months[i] ? 1 : 0);
			}
	}
	ok(right, "each past month is below one node, and nothing else is");
	ok(most > 1 && most <= KEYTREE_PAST_NODES, "the nodes are few");
	ok(keytree_past(5, 0, nodes) == 0 && keytree_past(5, 4096, nodes) == 0 &&
	   keytree_past(-1, 5, nodes) == 0 && keytree_past(16, 5, nodes) == 0,
	   "there are none out of range");
}

int
main(void)
{
	unhex(SUBJECT_ROOT, subject_root.seed);
	unhex(EXPIRY_ROOT, expiry_root.seed);
	test_known_answers();
	test_nodes();
	test_limits();
	test_order();
	test_derivation();
	test_past();
	crypto_forget();
	return done();
}
