/*
 * keytree.h
 *		The puncturable key trees: shapes, paths and derivation.
 *
 * Pure arithmetic and AES: no files, no state, no allocation.  A node is named
 * by its tree, its level (the root is 0) and its path (the leading bits of the
 * leaf's number, right-aligned).  doc/formats.md holds the definitions and
 * their known answers.
 *
 * Functions that derive return false only when OpenSSL fails or when the
 * arguments name no node; what they write belongs to the caller, who wipes it.
 */
#ifndef GDPR_KEYTREE_H
#define GDPR_KEYTREE_H

#include "crypto.h"

/* tree ids, as stored in tags and derivation blocks */
#define KEYTREE_SUBJECT			1
#define KEYTREE_EXPIRY			2

#define KEYTREE_NUMBER_BITS		40
#define KEYTREE_NUMBER_LEVEL	40	/* where a whole number hangs */
#define KEYTREE_SUBJECT_LEAF	41
#define KEYTREE_EXPIRY_LEAF		16
#define KEYTREE_CATEGORIES		16
#define KEYTREE_MONTHS			4096	/* month 0: no limit */
#define KEYTREE_PAST_NODES		24
#define KEYTREE_BLOCK_BITS		16	/* numbers of a block: 2^16 */
#define KEYTREE_BLOCKS			(1 << 23)	/* block 0 is reserved */
#define KEYTREE_EPOCHS			65536	/* token epochs 1 ... 65535 */
#define KEYTREE_MAX_NUMBER		((UINT64_C(1) << KEYTREE_NUMBER_BITS) - 1)
#define KEYTREE_ALL_CATEGORIES	(-1)
#define KEYTREE_MAX_LEVEL		KEYTREE_SUBJECT_LEAF

typedef struct KeytreeShape
{
	uint8_t		tree;
	uint8_t		binary_levels;	/* levels 1 ... this are binary steps */
	uint8_t		leaf_level;
	uint8_t		fan_bits;		/* width of the last step if it is no binary
								 * one, else 0 */
} KeytreeShape;

typedef struct KeytreeNode
{
	uint64_t	path;
	uint8_t		tree;
	uint8_t		level;
} KeytreeNode;

/* A node and its seed: everything below the node follows from it. */
typedef struct KeytreeSeed
{
	KeytreeNode node;
	uint8_t		seed[CRYPTO_KEY_BYTES];
} KeytreeSeed;

/* NULL: no such tree */
extern const KeytreeShape *keytree_shape(int tree);

/* does the node exist in its tree? */
extern bool keytree_valid(KeytreeNode node);

/* Constructors; arguments out of range make a node that is not valid. */

/* one category of a number, or the whole number (KEYTREE_ALL_CATEGORIES) */
extern KeytreeNode keytree_subject(uint64_t number, int category);

/* all numbers that share the leading `level` bits of number */
extern KeytreeNode keytree_prefix(uint64_t number, int level);

/* the expiry leaf of a category and month */
extern KeytreeNode keytree_expiry(int category, int month);

/*
 * The nodes above all months 1 ... month of a category, and above no others;
 * how many there are, 0 if the arguments are out of range.
 */
extern int	keytree_past(int category, int month,
						 KeytreeNode nodes[KEYTREE_PAST_NODES]);

/* the ancestor of node at a level not below it (itself at its own level) */
extern KeytreeNode keytree_ancestor(KeytreeNode node, int level);

/* which child of its parent the node is; the level must be at least 1 */
extern int	keytree_index(KeytreeNode node);

/* the i-th child of a node that is no leaf */
extern KeytreeNode keytree_child_node(KeytreeNode node, int i);

/* how many children a node has; 0 for a leaf */
extern int	keytree_fanout(KeytreeNode node);

/* is `upper` the same node as `lower`, or above it? */
extern bool keytree_covers(KeytreeNode upper, KeytreeNode lower);

/* qsort order: by tree, then from left to right, an ancestor first */
extern int	keytree_compare(const void *a, const void *b);

/* the seed of child i of a node at (tree, level) */
extern bool keytree_child(const uint8_t seed[CRYPTO_KEY_BYTES], int tree,
						  int level, int i, uint8_t child[CRYPTO_KEY_BYTES]);

/* both children of a binary node, in order: cheaper than one by one */
extern bool keytree_pair(const uint8_t seed[CRYPTO_KEY_BYTES], int tree,
						 int level, uint8_t pair[2][CRYPTO_KEY_BYTES]);

/* the leaves of a number (its seed) in the categories whose bits are set */
extern bool keytree_leaves(const uint8_t seed[CRYPTO_KEY_BYTES],
						   uint16_t categories,
						   uint8_t leaves[KEYTREE_CATEGORIES][CRYPTO_KEY_BYTES]);

/* keytree_pair() with child i first */
extern bool keytree_children(const uint8_t seed[CRYPTO_KEY_BYTES], int tree,
							 int level, int i,
							 uint8_t child[CRYPTO_KEY_BYTES],
							 uint8_t sibling[CRYPTO_KEY_BYTES]);

/* the seed of `node`, at or below from->node; false also when it is not */
extern bool keytree_descend(const KeytreeSeed *from, KeytreeNode node,
							uint8_t seed[CRYPTO_KEY_BYTES]);

/* F(subject leaf) XOR F(expiry leaf) */
extern bool keytree_segment_key(const uint8_t subject_leaf[CRYPTO_KEY_BYTES],
								const uint8_t expiry_leaf[CRYPTO_KEY_BYTES],
								uint64_t number, int category, int month,
								uint8_t key[CRYPTO_KEY_BYTES]);

/* from the leaf of (number = epoch, category 0) */
extern bool keytree_token_key(const uint8_t leaf[CRYPTO_KEY_BYTES],
							  uint32_t domain,
							  uint8_t key[CRYPTO_KEY_BYTES]);

#endif							/* GDPR_KEYTREE_H */
