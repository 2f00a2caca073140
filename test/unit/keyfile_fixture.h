/*
 * keyfile_fixture.h
 *		What the tests of the keystore file share: a directory, an identity,
 *		and a model of what must live.
 *
 * A Universe is a list of leaves with the seeds they had before anything was
 * punctured, and the nodes that were punctured since.  universe_check() holds
 * a file against it: a leaf below a punctured node must not derive, any other
 * must derive to what it was.
 */
#ifndef GDPR_KEYFILE_FIXTURE_H
#define GDPR_KEYFILE_FIXTURE_H

#include "keyfile_internal.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LEAVES	2048
#define MAX_DEAD	4096

typedef struct Universe
{
	int			leaves;
	int			deads;
	KeytreeNode leaf[MAX_LEAVES];
	uint8_t		seed[MAX_LEAVES][CRYPTO_KEY_BYTES];
	KeytreeNode dead[MAX_DEAD];
} Universe;

typedef struct Image
{
	uint8_t    *bytes;
	size_t		len;
} Image;

static char directory[256];
static uint64_t random_state = 1;

static KeyfileIdentity identity = {
	{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
	0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	1, UINT64_C(0x0102030405060708), 1, 16384
};

/* xorshift64*; the same on every machine */
static inline uint32_t
below(uint32_t n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t) ((random_state * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* The KEK of a version: 40 41 ... 5f for version 1. */
static inline void
make_kek(uint32_t version, uint8_t kek[CRYPTO_KEY_BYTES])
{
	for (int i = 0; i < CRYPTO_KEY_BYTES; i++)
		kek[i] = (uint8_t) (0x40 + i + (int) (version - 1));
}

static inline bool
get_kek(void *arg, uint32_t version, uint8_t kek[CRYPTO_KEY_BYTES])
{
	if (arg != NULL)
		*(uint32_t *) arg = version;
	make_kek(version, kek);
	return true;
}

/* A private directory, in memory if there is such a place. */
static inline void
start_directory(void)
{
	const char *where = getenv("TMPDIR");

	if (where == NULL || strlen(where) > 200)
		where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(directory, sizeof(directory), "%s/keyfile_test.XXXXXX", where);
	must(mkdtemp(directory) != NULL);
}

static inline void
end_directory(void)
{
	must(rmdir(directory) == 0);
}

static inline const char *
path_of(const char *name)
{
	static char paths[16][320];
	static int	next = 0;
	char	   *path = paths[next++ % 16];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static inline Image
read_image(const char *path)
{
	Image		image = {NULL, 0};
	struct stat st;
	int			fd = open(path, O_RDONLY);
	size_t		got;

	must(fd >= 0 && fstat(fd, &st) == 0);
	image.len = (size_t) st.st_size;
	image.bytes = malloc(image.len + 1);
	must(image.bytes != NULL);
	must(kf_read(fd, 0, image.bytes, image.len, &got, NULL) == KEYFILE_OK);
	close(fd);
	return image;
}

static inline void
write_image(const char *path, Image image)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0);
	must(write(fd, image.bytes, image.len) == (ssize_t) image.len);
	close(fd);
}

static inline Keyfile *
open_file(const char *path, bool writable)
{
	Keyfile    *kf;
	KeyfileError err;
	KeyfileResult result = keyfile_open(path, NULL, 0, writable, get_kek, NULL,
										&kf, &err);

	if (result != KEYFILE_OK)
		diag("open: %s", keyfile_result_name(result));
	must(result == KEYFILE_OK);
	return kf;
}

static inline Keyfile *
create_file(const char *path)
{
	uint8_t		kek[CRYPTO_KEY_BYTES];

	unlink(path);
	make_kek(identity.kek_version, kek);
	must(keyfile_create(path, &identity, kek, NULL) == KEYFILE_OK);
	return open_file(path, true);
}

/* All changes that it takes; the result of the first that failed. */
static inline KeyfileResult
puncture(Keyfile *kf, const KeytreeNode *nodes, size_t count)
{
	size_t		next = 0;
	KeyfileResult result = KEYFILE_OK;

	while (result == KEYFILE_OK && next < count)
	{
		result = keyfile_puncture_prepare(kf, nodes, count, &next, NULL);
		if (result == KEYFILE_OK)
			result = keyfile_puncture_apply(kf, NULL);
	}
	return result;
}

static inline KeyfileResult
puncture_one(Keyfile *kf, KeytreeNode node)
{
	return puncture(kf, &node, 1);
}

static inline KeyfileResult
leaf_seed(Keyfile *kf, KeytreeNode leaf, uint8_t out[CRYPTO_KEY_BYTES],
		  KeyfileError *err)
{
	KeytreeSeed seed;
	KeyfileResult result = keyfile_find(kf, leaf, &seed, err);

	if (result == KEYFILE_OK)
		must(keytree_descend(&seed, leaf, out));
	return result;
}

static inline KeyfileResult
verify(Keyfile *kf, KeyfileStats *stats)
{
	return keyfile_verify(kf, stats, NULL, NULL, NULL);
}

/* Before anything is punctured. */
static inline void
universe_add(Universe *universe, Keyfile *kf, KeytreeNode leaf)
{
	must(universe->leaves < MAX_LEAVES);
	universe->leaf[universe->leaves] = leaf;
	must(leaf_seed(kf, leaf, universe->seed[universe->leaves], NULL) ==
		 KEYFILE_OK);
	universe->leaves++;
}

static inline void
universe_kill(Universe *universe, KeytreeNode node)
{
	must(universe->deads < MAX_DEAD);
	universe->dead[universe->deads++] = node;
}

static inline bool
universe_lives(const Universe *universe, KeytreeNode leaf)
{
	for (int i = 0; i < universe->deads; i++)
		if (keytree_covers(universe->dead[i], leaf))
			return false;
	return true;
}

/* Does the file say what the model says? */
static inline bool
universe_check(const Universe *universe, Keyfile *kf)
{
	for (int i = 0; i < universe->leaves; i++)
	{
		uint8_t		seed[CRYPTO_KEY_BYTES];
		KeyfileResult result = leaf_seed(kf, universe->leaf[i], seed, NULL);
		bool		lives = universe_lives(universe, universe->leaf[i]);

		if (result == (lives ? KEYFILE_OK : KEYFILE_PUNCTURED) &&
			(!lives || memcmp(seed, universe->seed[i], sizeof(seed)) == 0))
			continue;
		diag("tree %d level %d path %llx: %s, should be %s",
			 universe->leaf[i].tree, universe->leaf[i].level,
			 (unsigned long long) universe->leaf[i].path,
			 keyfile_result_name(result), lives ? "alive" : "dead");
		return false;
	}
	return true;
}

/*
 * What lives, as a text of 0 and 1 in the order of the leaves; an x for a
 * wrong key, a ? for an error.
 */
static inline void
universe_state(const Universe *universe, Keyfile *kf,
			   char text[MAX_LEAVES + 1])
{
	for (int i = 0; i < universe->leaves; i++)
	{
		uint8_t		seed[CRYPTO_KEY_BYTES];
		KeyfileResult result = leaf_seed(kf, universe->leaf[i], seed, NULL);

		if (result == KEYFILE_OK)
			text[i] = memcmp(seed, universe->seed[i], sizeof(seed)) == 0 ?
				'1' : 'x';
		else
			text[i] = result == KEYFILE_PUNCTURED ? '0' : '?';
	}
	text[universe->leaves] = '\0';
}

#endif							/* GDPR_KEYFILE_FIXTURE_H */
