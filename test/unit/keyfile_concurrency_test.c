/*
 * keyfile_concurrency_test.c
 *		Processes that read a keystore file while another one punctures it,
 *		under the locks that keyfile.h asks for: no read is torn, no key is
 *		wrong, and what was announced as dead is dead.
 */
#include "keyfile_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#define READERS		3
#define NUMBERS		2000
#define SECONDS		2.0

typedef struct Shared
{
	pthread_rwlock_t lock;		/* the reader lock */
	uint64_t	generation;		/* announced; atomic */
	uint8_t		dead[NUMBERS];	/* announced; under the lock */
	int			stop;			/* atomic */
	uint64_t	reads[READERS];
	char		trouble[READERS][160];
} Shared;

static Shared *shared;
static Universe universe;
static char path[320];

static void
make_shared(void)
{
	pthread_rwlockattr_t attr;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED);
	must(pthread_rwlockattr_init(&attr) == 0);
	must(pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
#ifdef __GLIBC__
	must(pthread_rwlockattr_setkind_np(&attr,
									   PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
#endif
	must(pthread_rwlock_init(&shared->lock, &attr) == 0);
}

/* One read under the shared lock; false: something is wrong. */
static bool
read_one(Keyfile *kf, int i, char *trouble)
{
	uint8_t		seed[32];
	KeyfileError err;
	KeyfileResult result = KEYFILE_OK;
	bool		dead;

	pthread_rwlock_rdlock(&shared->lock);
	if (keyfile_generation(kf) <
		__atomic_load_n(&shared->generation, __ATOMIC_ACQUIRE))
		result = keyfile_refresh(kf, &err);
	dead = shared->dead[i] != 0;
	if (result == KEYFILE_OK)
		result = leaf_seed(kf, universe.leaf[i], seed, &err);
	pthread_rwlock_unlock(&shared->lock);

	if (result == KEYFILE_PUNCTURED ||
		(result == KEYFILE_OK && !dead &&
		 memcmp(seed, universe.seed[i], 32) == 0))
		return true;
	snprintf(trouble, sizeof(shared->trouble[0]), "%d: %s, record %u, %s", i,
			 keyfile_result_name(result),
			 result == KEYFILE_DAMAGED ? err.record : 0,
			 dead ? "dead" : "alive");
	return false;
}

static void
reader(int me)
{
	Keyfile    *kf = open_file(path, false);
	uint64_t	reads = 0;

	random_state = 77 + (uint64_t) me;
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
	{
		if (below(500) == 0)
		{
			/* opening needs no lock */
			keyfile_close(kf);
			if (keyfile_open(path, NULL, 0, false, get_kek, NULL, &kf, NULL) !=
				KEYFILE_OK)
			{
				strcpy(shared->trouble[me], "open failed");
				_exit(1);
			}
		}
		if (!read_one(kf, (int) below(NUMBERS), shared->trouble[me]))
			_exit(1);
		if (++reads % 16 == 0)
			sched_yield();
	}
	shared->reads[me] = reads;
	keyfile_close(kf);
	_exit(0);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* One batch as keyfile.h has it, with a lease now and then. */
static bool
write_one(Keyfile *kf)
{
	KeytreeNode nodes[4];
	int			chosen[4];
	size_t		count = 1 + below(4);
	size_t		next = 0;

	if (below(4) == 0)
	{
		KeyfileLease lease = {true, 0, 0, 1, 1, 1, 0};

		return keyfile_lease(kf, &lease, NULL) == KEYFILE_OK;
	}
	for (size_t i = 0; i < count; i++)
	{
		chosen[i] = (int) below(NUMBERS);
		nodes[i] = universe.leaf[chosen[i]];
		if (below(2) == 0)
			nodes[i] = keytree_ancestor(nodes[i], KEYTREE_NUMBER_LEVEL);
	}
	while (next < count)
	{
		size_t		first = next;
		KeyfileResult result;

		if (keyfile_puncture_prepare(kf, nodes, count, &next, NULL) != KEYFILE_OK)
			return false;
		pthread_rwlock_wrlock(&shared->lock);
		result = keyfile_puncture_apply(kf, NULL);
		for (size_t i = first; i < next; i++)
			shared->dead[chosen[i]] = 1;
		__atomic_store_n(&shared->generation, keyfile_generation(kf),
						 __ATOMIC_RELEASE);
		pthread_rwlock_unlock(&shared->lock);
		if (result != KEYFILE_OK)
			return false;
	}
	return true;
}

int
main(void)
{
	Keyfile    *kf;
	pid_t		children[READERS];
	uint64_t	reads = 0;
	int			changes = 0;
	int			dead = 0;
	bool		wrote = true;
	bool		read = true;
	double		end;

	start_directory();
	strcpy(path, path_of("file"));
	make_shared();
	kf = create_file(path);
	for (int i = 0; i < NUMBERS; i++)
		universe_add(&universe, kf, keytree_subject(65536 + (uint64_t) i * 3,
													i % 16));
	for (int i = 0; i < READERS; i++)
	{
		children[i] = fork();
		must(children[i] >= 0);
		if (children[i] == 0)
			reader(i);
	}
	end = now() + SECONDS;
	while (wrote && now() < end)
	{
		wrote = write_one(kf);
		changes++;
		usleep(500);
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < READERS; i++)
	{
		int			status;

		must(waitpid(children[i], &status, 0) == children[i]);
		if (status != 0)
			diag("reader %d: %s", i, shared->trouble[i]);
		read = read && status == 0;
		reads += shared->reads[i];
	}
	for (int i = 0; i < NUMBERS; i++)
		dead += shared->dead[i];
	ok(wrote && changes > 20, "%d changes go through beside readers", changes);
	ok(read, "%llu reads beside them are right, %d keys dead at the end",
	   (unsigned long long) reads, dead);
	ok(verify(kf, NULL) == KEYFILE_OK, "and the file verifies");
	keyfile_close(kf);
	unlink(path);
	end_directory();
	return done();
}
