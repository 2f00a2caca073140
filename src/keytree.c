/*
 * keytree.c
 *		The puncturable key trees: shapes, paths and derivation.
 */
#include "keytree.h"

#include <string.h>

#define HALVES		(CRYPTO_KEY_BYTES / CRYPTO_BLOCK_BYTES)

static const KeytreeShape shapes[] = {
	{KEYTREE_SUBJECT, KEYTREE_NUMBER_LEVEL, KEYTREE_SUBJECT_LEAF, 4},
	{KEYTREE_EXPIRY, KEYTREE_EXPIRY_LEAF, KEYTREE_EXPIRY_LEAF, 0},
};

static const KeytreeNode nowhere = {0, 0, 0};

static void
put_be(uint8_t *to, uint64_t value, int bytes)
{
	while (bytes-- > 0)
	{
		to[bytes] = (uint8_t) value;
		value >>= 8;
	}
}

const KeytreeShape *
keytree_shape(int tree)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (shapes[i].tree == tree)
			return &shapes[i];
	return NULL;
}

/* how many bits the path of a node at a level has */
static int
path_bits(const KeytreeShape *shape, int level)
{
	if (level <= shape->binary_levels)
		return level;
	return shape->binary_levels + shape->fan_bits;
}

bool
keytree_valid(KeytreeNode node)
{
	const KeytreeShape *shape = keytree_shape(node.tree);

	return shape != NULL && node.level <= shape->leaf_level &&
		(node.path >> path_bits(shape, node.level)) == 0;
}

KeytreeNode
keytree_subject(uint64_t number, int category)
{
	KeytreeNode node = {number, KEYTREE_SUBJECT, KEYTREE_NUMBER_LEVEL};

	if (number > KEYTREE_MAX_NUMBER || category < KEYTREE_ALL_CATEGORIES ||
		category >= KEYTREE_CATEGORIES)
		return nowhere;
	if (category != KEYTREE_ALL_CATEGORIES)
	{
		node.path = number * KEYTREE_CATEGORIES + (uint64_t) category;
		node.level = KEYTREE_SUBJECT_LEAF;
	}
	return node;
}

KeytreeNode
keytree_prefix(uint64_t number, int level)
{
	if (level < 0 || level > KEYTREE_NUMBER_LEVEL)
		return nowhere;
	return keytree_ancestor(keytree_subject(number, KEYTREE_ALL_CATEGORIES),
							level);
}

KeytreeNode
keytree_expiry(int category, int month)
{
	KeytreeNode node = {0, KEYTREE_EXPIRY, KEYTREE_EXPIRY_LEAF};

	if (category < 0 || category >= KEYTREE_CATEGORIES ||
		month < 0 || month >= KEYTREE_MONTHS)
		return nowhere;
	node.path = (uint64_t) category * KEYTREE_MONTHS + (uint64_t) month;
	return node;
}

int
keytree_past(int category, int month, KeytreeNode nodes[KEYTREE_PAST_NODES])
{
	int			count = 0;
	int			first = 1;

	if (category < 0 || category >= KEYTREE_CATEGORIES ||
		month < 1 || month >= KEYTREE_MONTHS)
		return 0;
	while (first <= month)
	{
		int			size = first & -first;
		int			level = KEYTREE_EXPIRY_LEAF;

		while (first + size - 1 > month)
			size /= 2;
		for (int i = size; i > 1; i /= 2)
			level--;
		nodes[count++] = keytree_ancestor(keytree_expiry(category, first), level);
		first += size;
	}
	return count;
}

KeytreeNode
keytree_ancestor(KeytreeNode node, int level)
{
	const KeytreeShape *shape = keytree_shape(node.tree);

	if (shape == NULL || level < 0 || level > node.level)
		return nowhere;
	node.path >>= path_bits(shape, node.level) - path_bits(shape, level);
	node.level = (uint8_t) level;
	return node;
}

int
keytree_fanout(KeytreeNode node)
{
	const KeytreeShape *shape = keytree_shape(node.tree);

	if (shape == NULL || node.level >= shape->leaf_level)
		return 0;
	return node.level < shape->binary_levels ? 2 : 1 << shape->fan_bits;
}

int
keytree_index(KeytreeNode node)
{
	KeytreeNode parent = keytree_ancestor(node, node.level - 1);

	return (int) (node.path & (uint64_t) (keytree_fanout(parent) - 1));
}

KeytreeNode
keytree_child_node(KeytreeNode node, int i)
{
	int			fanout = keytree_fanout(node);

	if (i < 0 || i >= fanout)
		return nowhere;
	node.path = node.path * (uint64_t) fanout + (uint64_t) i;
	node.level++;
	return node;
}

bool
keytree_covers(KeytreeNode upper, KeytreeNode lower)
{
	return upper.tree == lower.tree && upper.level <= lower.level &&
		keytree_ancestor(lower, upper.level).path == upper.path;
}

int
keytree_compare(const void *a, const void *b)
{
	const KeytreeNode *x = a;
	const KeytreeNode *y = b;
	int			level = x->level < y->level ? x->level : y->level;
	uint64_t	xpath;
	uint64_t	ypath;

	if (x->tree != y->tree)
		return x->tree < y->tree ? -1 : 1;
	xpath = keytree_ancestor(*x, level).path;
	ypath = keytree_ancestor(*y, level).path;
	if (xpath != ypath)
		return xpath < ypath ? -1 : 1;
	return (int) x->level - (int) y->level;
}

/* The blocks that make child i: B(tree, level, i, 0) and B(.., 1). */
static inline void
child_blocks(uint8_t *blocks, int tree, int level, int i)
{
	static const uint8_t block[CRYPTO_BLOCK_BYTES] = "gdpr-tree\001";

	for (int half = 0; half < HALVES; half++)
	{
		memcpy(blocks, block, sizeof(block));
		blocks[10] = (uint8_t) tree;
		blocks[11] = (uint8_t) level;
		blocks[12] = (uint8_t) i;
		blocks[13] = (uint8_t) half;
		blocks += sizeof(block);
	}
}

bool
keytree_child(const uint8_t seed[CRYPTO_KEY_BYTES], int tree, int level,
			  int i, uint8_t child[CRYPTO_KEY_BYTES])
{
	uint8_t		blocks[CRYPTO_KEY_BYTES];

	child_blocks(blocks, tree, level, i);
	return crypto_prf(seed, blocks, child, HALVES);
}

bool
keytree_pair(const uint8_t seed[CRYPTO_KEY_BYTES], int tree, int level,
			 uint8_t pair[2][CRYPTO_KEY_BYTES])
{
	uint8_t		blocks[2 * CRYPTO_KEY_BYTES];

	child_blocks(blocks, tree, level, 0);
	child_blocks(blocks + CRYPTO_KEY_BYTES, tree, level, 1);
	return crypto_prf(seed, blocks, pair[0], 2 * HALVES);
}

bool
keytree_children(const uint8_t seed[CRYPTO_KEY_BYTES], int tree, int level,
				 int i, uint8_t child[CRYPTO_KEY_BYTES],
				 uint8_t sibling[CRYPTO_KEY_BYTES])
{
	uint8_t		pair[2][CRYPTO_KEY_BYTES];
	bool		ok = keytree_pair(seed, tree, level, pair);

	memcpy(child, pair[i], CRYPTO_KEY_BYTES);
	memcpy(sibling, pair[1 - i], CRYPTO_KEY_BYTES);
	crypto_wipe(pair, sizeof(pair));
	return ok;
}

bool
keytree_leaves(const uint8_t seed[CRYPTO_KEY_BYTES], uint16_t categories,
			   uint8_t leaves[KEYTREE_CATEGORIES][CRYPTO_KEY_BYTES])
{
	uint8_t		blocks[KEYTREE_CATEGORIES * CRYPTO_KEY_BYTES];
	uint8_t		out[KEYTREE_CATEGORIES][CRYPTO_KEY_BYTES];
	int			n = 0;
	bool		ok;

	for (int i = 0; i < KEYTREE_CATEGORIES; i++)
		if ((categories >> i & 1) != 0)
			child_blocks(blocks + CRYPTO_KEY_BYTES * n++, KEYTREE_SUBJECT,
						 KEYTREE_NUMBER_LEVEL, i);
	ok = crypto_prf(seed, blocks, out[0], n * HALVES);
	for (int i = 0, from = 0; ok && i < KEYTREE_CATEGORIES; i++)
		if ((categories >> i & 1) != 0)
			memcpy(leaves[i], out[from++], CRYPTO_KEY_BYTES);
	crypto_wipe(out, (size_t) n * CRYPTO_KEY_BYTES);
	return ok;
}

bool
keytree_descend(const KeytreeSeed *from, KeytreeNode node,
				uint8_t seed[CRYPTO_KEY_BYTES])
{
	if (!keytree_valid(node) || !keytree_covers(from->node, node))
		return false;
	memmove(seed, from->seed, CRYPTO_KEY_BYTES);
	for (int level = from->node.level; level < node.level; level++)
	{
		int			i = keytree_index(keytree_ancestor(node, level + 1));

		if (!keytree_child(seed, node.tree, level, i, seed))
		{
			crypto_wipe(seed, CRYPTO_KEY_BYTES);
			return false;
		}
	}
	return true;
}

bool
keytree_segment_key(const uint8_t subject_leaf[CRYPTO_KEY_BYTES],
					const uint8_t expiry_leaf[CRYPTO_KEY_BYTES],
					uint64_t number, int category, int month,
					uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t		blocks[CRYPTO_KEY_BYTES];
	uint8_t		other[CRYPTO_KEY_BYTES];
	bool		ok;

	if (number > KEYTREE_MAX_NUMBER ||
		category < 0 || category >= KEYTREE_CATEGORIES ||
		month < 0 || month >= KEYTREE_MONTHS)
		return false;
	memcpy(blocks, "gdprseg\001", 8);
	put_be(blocks + 8, number, 5);
	put_be(blocks + 13,
		   (uint64_t) category * KEYTREE_MONTHS + (uint64_t) month, 2);
	blocks[15] = 0;
	memcpy(blocks + CRYPTO_BLOCK_BYTES, blocks, CRYPTO_BLOCK_BYTES);
	blocks[2 * CRYPTO_BLOCK_BYTES - 1] = 1;

	/* the expiry leaf is that of the row before, of the same category */
	ok = crypto_prf_again((unsigned) category, expiry_leaf, blocks, other,
						  HALVES) &&
		crypto_prf(subject_leaf, blocks, key, HALVES);
	for (int i = 0; ok && i < CRYPTO_KEY_BYTES; i++)
		key[i] ^= other[i];
	if (!ok)
		crypto_wipe(key, CRYPTO_KEY_BYTES);
	crypto_wipe(other, sizeof(other));
	return ok;
}

bool
keytree_token_key(const uint8_t leaf[CRYPTO_KEY_BYTES], uint32_t domain,
				  uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t		blocks[HALVES * CRYPTO_BLOCK_BYTES];

	for (int c = 0; c < HALVES; c++)
	{
		uint8_t    *block = blocks + c * CRYPTO_BLOCK_BYTES;

		memcpy(block, "gdprtok\001", 8);
		put_be(block + 8, domain, 4);
		memset(block + 12, 0, 3);
		block[15] = (uint8_t) c;
	}
	return crypto_prf(leaf, blocks, key, HALVES);
}
