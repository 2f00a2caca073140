/*
 * keytree_bench.c
 *		What key trees with many holes cost: one million subjects, of whom
 *		1,000, 100,000 and 500,000 are forgotten in random order.
 *
 * Usage: keytree_bench [directory]		(default: $TMPDIR or /tmp)
 *
 * The file's fsyncs are real, so the time of punctures depends on where the
 * directory is; everything else is computing and reads from memory.
 */
#include "keyfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUBJECTS	1000000
#define FIRST		UINT64_C(65536)
#define DERIVED		100000
#define SINGLES		50

static const KeyfileIdentity identity = {{0xbe}, 1, 1, 1, 1};
static const uint8_t kek[CRYPTO_KEY_BYTES] = {1};
static KeytreeNode nodes[SUBJECTS];
static uint8_t dead[SUBJECTS];
static uint64_t state = 1;

static bool
get_kek(void *arg, uint32_t version, uint8_t out[CRYPTO_KEY_BYTES])
{
	(void) arg;
	(void) version;
	memcpy(out, kek, CRYPTO_KEY_BYTES);
	return true;
}

static uint32_t
below(uint32_t n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t) ((state >> 33) % n);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static void
must(KeyfileResult result)
{
	if (result == KEYFILE_OK)
		return;
	printf("%s\n", keyfile_result_name(result));
	exit(1);
}

/* Puncture nodes[0 ... count - 1]; the number of changes it took. */
static int
puncture(Keyfile *kf, size_t count)
{
	size_t		next = 0;
	int			changes = 0;

	while (next < count)
	{
		must(keyfile_puncture_prepare(kf, nodes, count, &next, NULL));
		must(keyfile_puncture_apply(kf, NULL));
		changes++;
	}
	return changes;
}

static void
derive(Keyfile *kf, bool in_order)
{
	uint8_t		key[CRYPTO_KEY_BYTES];
	double		start = now();
	uint32_t	n = 0;

	for (int i = 0; i < DERIVED; i++)
	{
		do
			n = in_order ? (n + 1) % SUBJECTS : below(SUBJECTS);
		while (dead[n]);
		must(keyfile_derive(kf, FIRST + n, 1, 0, key, NULL));
	}
	printf("  derive, %s: %.1f us\n", in_order ? "in order" : "random",
		   (now() - start) / DERIVED * 1e6);
	crypto_wipe(key, sizeof(key));
}

static void
run(const char *path, int forgotten)
{
	Keyfile    *kf;
	KeyfileStats stats;
	KeyfileInfo info;
	double		start;
	int			changes;

	unlink(path);
	must(keyfile_create(path, &identity, kek, NULL));
	must(keyfile_open(path, identity.uuid, 0, true, get_kek, NULL, &kf,
					  NULL));
	memset(dead, 0, sizeof(dead));
	for (int i = 0; i < forgotten; i++)
	{
		uint32_t	n;

		do
			n = below(SUBJECTS);
		while (dead[n]);
		dead[n] = 1;
		nodes[i] = keytree_subject(FIRST + n, KEYTREE_ALL_CATEGORIES);
	}
	qsort(nodes, (size_t) forgotten, sizeof(nodes[0]), keytree_compare);
	start = now();
	changes = puncture(kf, (size_t) forgotten);
	printf("%d of %d forgotten (%.1f s, %d changes)\n", forgotten, SUBJECTS,
		   now() - start, changes);

	start = now();
	for (int i = 0; i < SINGLES; i++)
	{
		uint32_t	n;

		do
			n = below(SUBJECTS);
		while (dead[n]);
		dead[n] = 1;
		nodes[0] = keytree_subject(FIRST + n, KEYTREE_ALL_CATEGORIES);
		puncture(kf, 1);
	}
	printf("  one puncture: %.2f ms\n", (now() - start) / SINGLES * 1e3);
	keyfile_close(kf);

	start = now();
	must(keyfile_open(path, identity.uuid, 0, true, get_kek, NULL, &kf,
					  NULL));
	printf("  open: %.2f ms", (now() - start) * 1e3);
	start = now();
	must(keyfile_verify(kf, &stats, NULL, NULL, NULL));
	printf(", verify: %.2f s\n", now() - start);
	keyfile_info(kf, &info);
	printf("  %llu bytes: %u records (%llu freed), %llu seeds, %llu holes\n",
		   (unsigned long long) info.bytes, info.records,
		   (unsigned long long) stats.freed,
		   (unsigned long long) stats.seeds,
		   (unsigned long long) stats.holes);
	derive(kf, true);
	derive(kf, false);

	start = now();
	must(keyfile_rewrite(kf, path, &identity, kek, false, NULL, NULL));
	printf("  rewrite: %.2f s\n", now() - start);
	keyfile_close(kf);
	unlink(path);
}

int
main(int argc, char **argv)
{
	const char *directory = argc > 1 ? argv[1] : getenv("TMPDIR");
	char		path[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(path, sizeof(path), "%s/keytree_bench.%ld.keystore",
			 directory != NULL ? directory : "/tmp", (long) getpid());
	run(path, 1000);
	run(path, 100000);
	run(path, 500000);
	return 0;
}
