/*
 * keyfile_crash_test.c
 *		Changes of a keystore file that are stopped in the middle: the state
 *		afterwards is the one before or the one after, never one between.
 *
 * Three ways to stop:
 *
 *	- the process dies before, halfway through or after each write, fsync,
 *	  rename and unlink;
 *	- the power fails: of the writes since the last fsync any sectors reached
 *	  the disk, in any order (every write is recorded, and disks are made up
 *	  from the record);
 *	- the system refuses: no space, or an fsync that fails once or for good.
 *
 * A change in several rounds may stop after any of them: the states that
 * count as "between" rounds are those an undisturbed run goes through.
 */
#include "keyfile_fixture.h"

#define MAX_STATES	400
#define TRIALS		40			/* disks made up at each fsync */
#define SECTOR		512

typedef KeyfileResult (*Operation) (Keyfile *kf);

typedef struct Case
{
	const char *name;
	void		(*setup) (Keyfile *kf);
	Operation	run;
	bool		replaces;		/* the file at the path is another afterwards */
} Case;

static Universe universe;
static char path[320];
static char *states[MAX_STATES];
static int	nstates;
static KeytreeNode many[64];

/* The changes. */

static void
setup_nothing(Keyfile *kf)
{
}

static void
setup_fan(Keyfile *kf)
{
	must(puncture_one(kf, keytree_subject(65536, 3)) == KEYFILE_OK);
}

/* 65536 has one category left, 65537 is dead, 65538 and 65539 have one */
static void
setup_merge(Keyfile *kf)
{
	for (int c = 0; c < 15; c++)
		must(puncture_one(kf, keytree_subject(65536, c)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_subject(65537, -1)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_prefix(65538, 39)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_expiry(3, 100)) == KEYFILE_OK);
}

/* every other number of 128 dead, some partly: many records to free */
static void
setup_many(Keyfile *kf)
{
	for (int i = 0; i < 64; i++)
		many[i] = keytree_subject(65536 + 2 * (uint64_t) i, i % 8 == 0 ? 3 : -1);
	must(puncture(kf, many, 64) == KEYFILE_OK);
}

static KeyfileResult
run_first(Keyfile *kf)
{
	return puncture_one(kf, keytree_subject(65536, -1));
}

static KeyfileResult
run_category(Keyfile *kf)
{
	return puncture_one(kf, keytree_subject(65536, 7));
}

static KeyfileResult
run_new_fan(Keyfile *kf)
{
	return puncture_one(kf, keytree_subject(65537, 7));
}

static KeyfileResult
run_merge(Keyfile *kf)
{
	return puncture_one(kf, keytree_subject(65536, 15));
}

static KeyfileResult
run_month(Keyfile *kf)
{
	return puncture_one(kf, keytree_expiry(3, 101));
}

/* a number each in ground that is punctured already: 64 changes in place */
static KeyfileResult
run_batch(Keyfile *kf)
{
	KeytreeNode nodes[64];

	for (int i = 0; i < 64; i++)
		nodes[i] = keytree_subject(65537 + 2 * (uint64_t) i, -1);
	return puncture(kf, nodes, 64);
}

static KeyfileResult
run_prefix(Keyfile *kf)
{
	return puncture_one(kf, keytree_prefix(65536, 33));
}

static KeyfileResult
run_lease(Keyfile *kf)
{
	KeyfileLease lease = {true, 0, 0, 7, 2, 9, 1};

	return keyfile_lease(kf, &lease, NULL);
}

static KeyfileResult
run_recover(Keyfile *kf)
{
	return keyfile_recover(kf, NULL);
}

static KeyfileResult
run_reserve(Keyfile *kf)
{
	KeytreeNode nodes[40];

	for (int i = 0; i < 40; i++)
		nodes[i] = keytree_subject((uint64_t) i << 30, 0);
	return keyfile_reserve_nodes(kf, nodes, 40, NULL);
}

static KeyfileResult
run_rewrite(Keyfile *kf)
{
	KeyfileIdentity next = identity;
	uint8_t		kek[32];
	KeyfileResult result;

	next.kek_version = 2;
	make_kek(2, kek);
	result = keyfile_rewrite(kf, path, &next, kek, false, NULL, NULL);
	return result == KEYFILE_OK ? keyfile_destroy(kf, NULL) : result;
}

static const Case cases[] = {
	{"the first puncture", setup_nothing, run_first, false},
	{"a first category", setup_nothing, run_category, false},
	{"a category of a fan", setup_fan, run_category, false},
	{"a new fan beside one", setup_fan, run_new_fan, false},
	{"a merge upward", setup_merge, run_merge, false},
	{"a month", setup_merge, run_month, false},
	{"a batch of 64 in place", setup_many, run_batch, false},
	{"a prefix with many records", setup_many, run_prefix, false},
	{"a lease", setup_fan, run_lease, false},
	{"a reserve", setup_fan, run_reserve, false},
	{"a recovery", setup_fan, run_recover, false},
	{"a rewrite", setup_many, run_rewrite, true},
};

#define CASES	((int) (sizeof(cases) / sizeof(cases[0])))

/* The file as the case finds it, and the states it may go through. */

static void
make_universe(Keyfile *kf)
{
	universe.leaves = universe.deads = 0;
	for (int i = 0; i < 128; i += 3)
		universe_add(&universe, kf, keytree_subject(65536 + (uint64_t) i,
													i % 2 == 0 ? 3 : 7));
	for (int c = 0; c < 16; c += 5)
	{
		universe_add(&universe, kf, keytree_subject(65536, c));
		universe_add(&universe, kf, keytree_subject(65537, c));
	}
	universe_add(&universe, kf, keytree_subject(65536, 7));
	universe_add(&universe, kf, keytree_subject(65537, 7));
	universe_add(&universe, kf, keytree_subject(65540, 0));
	universe_add(&universe, kf, keytree_subject(1, 0));
	universe_add(&universe, kf, keytree_expiry(3, 100));
	universe_add(&universe, kf, keytree_expiry(3, 101));
	universe_add(&universe, kf, keytree_expiry(3, 0));
}

/* What lives, and what the header says of leases. */
static void
state_of(Keyfile *kf, char text[MAX_LEAVES + 64])
{
	KeyfileInfo info;

	universe_state(&universe, kf, text);
	keyfile_info(kf, &info);
	snprintf(text + universe.leaves, 64, " %u %u %u", info.next_block,
			 info.token_epoch, info.database);
}

static void
note_state(Keyfile *kf)
{
	char		text[MAX_LEAVES + 64];

	state_of(kf, text);
	must(strchr(text, 'x') == NULL && strchr(text, '?') == NULL);
	if (nstates > 0 && strcmp(states[nstates - 1], text) == 0)
		return;
	must(nstates < MAX_STATES);
	states[nstates++] = strdup(text);
}

/* A record of what a change wrote. */

typedef struct Written
{
	char		op;
	int64_t		offset;
	uint8_t    *bytes;
	size_t		len;
} Written;

static Written *written = NULL;
static size_t nwritten = 0;

static void
record(char op, int64_t offset, const void *buf, size_t len)
{
	Written    *entry;

	written = realloc(written, (nwritten + 1) * sizeof(Written));
	must(written != NULL);
	entry = &written[nwritten++];
	entry->op = op;
	entry->offset = offset;
	entry->len = len;
	entry->bytes = malloc(len + 1);
	must(entry->bytes != NULL);
	if (len > 0)
		memcpy(entry->bytes, buf, len);
}

/* At each fsync of the undisturbed run: which state is there now? */
static void
watch(char op, int64_t offset, const void *buf, size_t len)
{
	static bool watching = false;
	Keyfile    *kf;

	record(op, offset, buf, len);
	if (watching || op != 's')
		return;
	watching = true;
	kf = open_file(path, false);
	note_state(kf);
	keyfile_close(kf);
	watching = false;
}

static void
forget_record(void)
{
	for (size_t i = 0; i < nwritten; i++)
		free(written[i].bytes);
	free(written);
	written = NULL;
	nwritten = 0;
}

static Image
prepare(const Case *c)
{
	Keyfile    *kf = create_file(path);
	Image		before;

	make_universe(kf);
	c->setup(kf);
	keyfile_close(kf);
	before = read_image(path);

	for (int i = 0; i < nstates; i++)
		free(states[i]);
	nstates = 0;
	kf = open_file(path, true);
	note_state(kf);
	forget_record();
	keyfile_trace = watch;
	keyfile_fault_count = 0;
	must(c->run(kf) == KEYFILE_OK);
	keyfile_trace = NULL;
	keyfile_close(kf);
	kf = open_file(path, true);
	note_state(kf);
	keyfile_close(kf);
	return before;
}

/*
 * Recover the file at the path: is it in one of the states, does it verify,
 * and does the change, repeated, lead to the last state?
 */
static bool
is_sound(const Case *c, bool repeat)
{
	KeyfileStats stats;
	char		text[MAX_LEAVES + 64];
	bool		known = false;
	bool		reads;
	Keyfile    *kf = open_file(path, false);
	struct stat st;

	/* who only reads must get along with what is there */
	state_of(kf, text);
	for (int i = 0; i < nstates; i++)
		known = known || strcmp(text, states[i]) == 0;
	reads = known && verify(kf, NULL) == KEYFILE_OK;
	keyfile_close(kf);

	kf = open_file(path, true);
	must(keyfile_recover(kf, NULL) == KEYFILE_OK);
	if (stat(path_of("file.new"), &st) == 0)
		known = false;
	state_of(kf, text);
	reads = reads && known;
	known = false;
	for (int i = 0; i < nstates; i++)
		known = known || strcmp(text, states[i]) == 0;
	if (!known || !reads || verify(kf, &stats) != KEYFILE_OK ||
		stats.pending || stats.header_damaged)
	{
		diag("%s: %s", c->name, text);
		keyfile_close(kf);
		return false;
	}
	if (repeat && !c->replaces && c->run != run_lease)
	{
		must(c->run(kf) == KEYFILE_OK);
		state_of(kf, text);
		known = strcmp(text, states[nstates - 1]) == 0 &&
			verify(kf, NULL) == KEYFILE_OK;
	}
	keyfile_close(kf);
	return known;
}

/* Die at each operation in each way. */
static void
test_death(const Case *c, Image before, int operations)
{
	static const KeyfileFault kinds[] = {
		KEYFILE_FAULT_DIE_BEFORE, KEYFILE_FAULT_DIE_HALFWAY,
		KEYFILE_FAULT_DIE_AFTER
	};
	bool		sound = true;
	int			deaths = 0;
	int			step = 1 + operations / 45;

	for (int point = 1; sound && point <= operations; point += step)
		for (int kind = 0; sound && kind < 3; kind++)
		{
			int			status;
			pid_t		child;

			write_image(path, before);
			child = fork();
			must(child >= 0);
			if (child == 0)
			{
				Keyfile    *kf = open_file(path, true);

				keyfile_fault_kind = kinds[kind];
				keyfile_fault_point = point;
				(void) c->run(kf);
				_exit(0);
			}
			must(waitpid(child, &status, 0) == child);
			sound = WIFEXITED(status) && WEXITSTATUS(status) == 137 &&
				is_sound(c, true);
			deaths++;
			if (!sound)
				diag("point %d, kind %d, status %x", point, kind,
					 (unsigned) status);
		}
	ok(sound, "%s: death at any of %d operations (%d tried) leaves before or after",
	   c->name, operations, deaths);
}

/* A disk after a power failure: `sure` writes and some of those up to `end`. */
static Image
make_disk(Image before, size_t sure, size_t end)
{
	Image		disk = {NULL, before.len};

	for (size_t i = 0; i < end; i++)
		if (written[i].op == 'w' &&
			written[i].offset + (int64_t) written[i].len > (int64_t) disk.len)
			disk.len = (size_t) written[i].offset + written[i].len;
	disk.bytes = calloc(disk.len + 1, 1);
	must(disk.bytes != NULL);
	memcpy(disk.bytes, before.bytes, before.len);
	for (size_t i = 0; i < end; i++)
	{
		size_t		done = 0;
		bool		all = i < sure || below(3) == 0;

		if (written[i].op != 'w')
			continue;
		while (done < written[i].len)
		{
			size_t		at = (size_t) written[i].offset + done;
			size_t		chunk = SECTOR - at % SECTOR;

			if (chunk > written[i].len - done)
				chunk = written[i].len - done;
			if (all || below(2) == 0)
				memcpy(disk.bytes + at, written[i].bytes + done, chunk);
			done += chunk;
		}
	}
	return disk;
}

/* Fail the power between any two fsyncs of the recorded change. */
static void
test_power(const Case *c, Image before)
{
	bool		sound = true;
	size_t		sure = 0;
	int			disks = 0;
	int			trials = nwritten > 200 ? TRIALS / 12 : TRIALS;

	for (size_t end = 1; sound && end <= nwritten; end++)
	{
		bool		at_sync = end == nwritten || written[end].op == 's';

		for (int trial = 0; sound && at_sync && trial < trials; trial++)
		{
			Image		disk = make_disk(before, sure, end);

			write_image(path, disk);
			free(disk.bytes);
			sound = is_sound(c, trial == 0);
			disks++;
		}
		if (end < nwritten && written[end].op == 's')
			sure = end;
	}
	ok(sound, "%s: a power failure leaves before or after (%d disks)", c->name,
	   disks);
}

/* The power fails during the recovery after a power failure. */
static void
test_power_twice(void)
{
	const Case *c = &cases[4];
	Image		before = prepare(c);
	Written    *change = written;
	size_t		nchange = nwritten;
	bool		sound = true;
	int			disks = 0;

	for (int trial = 0; sound && trial < 150; trial++)
	{
		Image		disk;
		Image		again;
		Keyfile    *kf;
		size_t		sure = 0;
		size_t		end;

		/* anywhere in the change */
		written = change;
		nwritten = nchange;
		end = 1 + below((uint32_t) nchange);
		for (size_t i = 0; i < end; i++)
			if (written[i].op == 's')
				sure = i;
		disk = make_disk(before, sure, end);

		/* anywhere in the recovery */
		written = NULL;
		nwritten = 0;
		write_image(path, disk);
		kf = open_file(path, true);
		keyfile_trace = record;
		must(keyfile_recover(kf, NULL) == KEYFILE_OK);
		keyfile_trace = NULL;
		keyfile_close(kf);
		end = 1 + below((uint32_t) nwritten);
		sure = 0;
		for (size_t i = 0; i < end; i++)
			if (written[i].op == 's')
				sure = i;
		again = make_disk(disk, sure, end);
		write_image(path, again);
		sound = is_sound(c, true);
		disks++;
		forget_record();
		free(disk.bytes);
		free(again.bytes);
	}
	written = change;
	nwritten = nchange;
	free(before.bytes);
	ok(sound, "a power failure during recovery does no harm (%d disks)", disks);
}

/* The system refuses at each operation. */
static void
test_refusal(const Case *c, Image before, int operations)
{
	bool		space = true;
	bool		once = true;
	bool		for_good = true;
	int			step = 1 + operations / 60;

	for (int point = 1; point <= operations; point++)
		for (int kind = 0; kind < 3; kind++)
		{
			Keyfile    *kf;
			KeyfileResult result;

			/* writes run out of space, fsyncs fail once or for good */
			if (written[point - 1].op != (kind == 0 ? 'w' : 's') ||
				(kind == 0 && point % step != 0))
				continue;
			write_image(path, before);
			kf = open_file(path, true);
			keyfile_fault_kind = kind == 0 ? KEYFILE_FAULT_ENOSPC :
				KEYFILE_FAULT_EIO;
			keyfile_fault_sticky = kind == 2;
			keyfile_fault_point = point;
			result = c->run(kf);
			keyfile_fault_point = 0;
			keyfile_fault_sticky = false;
			keyfile_close(kf);
			if (kind == 0)
				space = space && result == KEYFILE_NO_SPACE && is_sound(c, true);
			else if (kind == 1)
				once = once && (result == KEYFILE_OK ||
								(c->replaces && result == KEYFILE_IO)) &&
					is_sound(c, true);
			else
				for_good = for_good && result == KEYFILE_IO && is_sound(c, true);
		}
	ok(space, "%s: no space is reported and leaves before or after", c->name);
	ok(once, "%s: an fsync that fails once is made good", c->name);
	ok(for_good, "%s: one that fails for good is reported and leaves before or after",
	   c->name);
}

/* What an fsync may have lost is written again before the next one. */
static void
test_written_again(void)
{
	Keyfile    *kf = create_file(path);
	KeytreeNode node = keytree_subject(65536, 3);
	size_t		next = 0;
	bool		again = true;

	must(puncture_one(kf, keytree_subject(65536, 4)) == KEYFILE_OK);
	must(keyfile_puncture_prepare(kf, &node, 1, &next, NULL) == KEYFILE_OK);
	forget_record();
	keyfile_fault_kind = KEYFILE_FAULT_EIO;
	keyfile_fault_point = 3;
	keyfile_trace = record;
	must(keyfile_puncture_apply(kf, NULL) == KEYFILE_OK);
	keyfile_trace = NULL;
	keyfile_close(kf);
	/* the leaf and the header, an fsync that fails; the same again */
	must(nwritten >= 3 && written[2].op == 's');
	again = nwritten == 6 && written[5].op == 's';
	for (size_t i = 0; again && i < 2; i++)
		again = written[i].op == 'w' && written[i + 3].op == 'w' &&
			written[i].offset == written[i + 3].offset &&
			written[i].len == written[i + 3].len &&
			memcmp(written[i].bytes, written[i + 3].bytes, written[i].len) == 0;
	ok(again, "after a failed fsync everything is written again, then synced");
}

/* The header that a change risks is not the one that the last one wrote first. */
static void
test_alternation(void)
{
	Keyfile    *kf = create_file(path);
	bool		alternates = true;
	int64_t		before = -1;

	for (int i = 0; i < 4; i++)
	{
		KeyfileLease lease = {true, 0, 0, 1, 1, 1, 0};

		forget_record();
		keyfile_trace = record;
		must(keyfile_lease(kf, &lease, NULL) == KEYFILE_OK);
		keyfile_trace = NULL;
		must(nwritten == 4 && written[0].op == 'w' && written[1].op == 's');
		alternates = alternates && written[0].offset != before &&
			written[2].offset == KF_PAGE - written[0].offset;
		before = written[0].offset;
	}
	ok(alternates, "the two headers take turns, each synced before the other");
	keyfile_close(kf);
}

/* The same handle goes on after a refusal. */
static void
test_retry(void)
{
	Keyfile    *kf;
	KeytreeNode node = keytree_subject(65536, -1);
	bool		made_good = true;

	for (int point = 1; point <= 6; point++)
	{
		KeyfileResult result;

		kf = create_file(path);
		make_universe(kf);
		must(puncture_one(kf, keytree_subject(65540, -1)) == KEYFILE_OK);
		universe_kill(&universe, keytree_subject(65540, -1));
		keyfile_fault_kind = KEYFILE_FAULT_EIO;
		keyfile_fault_sticky = true;
		keyfile_fault_point = point;
		result = puncture_one(kf, node);
		keyfile_fault_point = 0;
		keyfile_fault_sticky = false;
		made_good = made_good && result == KEYFILE_IO &&
			keyfile_recover(kf, NULL) == KEYFILE_OK &&
			puncture_one(kf, node) == KEYFILE_OK;
		universe_kill(&universe, node);
		made_good = made_good && universe_check(&universe, kf) &&
			verify(kf, NULL) == KEYFILE_OK;
		keyfile_close(kf);
	}
	ok(made_good, "a handle whose change failed recovers and goes on");
}

/* What an interrupted creation or fork leaves is no obstacle. */
static void
test_leftovers(void)
{
	const char *fork_path = path_of("fork");
	KeyfileIdentity forked = identity;
	uint8_t		kek[32];
	bool		made = true;
	struct stat st;

	memset(forked.uuid, 0x55, 16);
	make_kek(1, kek);
	for (int point = 1; point <= 4; point++)
	{
		int			status;
		pid_t		child;

		unlink(fork_path);
		child = fork();
		must(child >= 0);
		if (child == 0)
		{
			keyfile_fault_kind = KEYFILE_FAULT_DIE_HALFWAY;
			keyfile_fault_point = point;
			(void) keyfile_create(fork_path, &forked, kek, NULL);
			_exit(0);
		}
		must(waitpid(child, &status, 0) == child);
		made = made && WEXITSTATUS(status) == 137;
		if (stat(fork_path, &st) != 0)
			made = made &&
				keyfile_create(fork_path, &forked, kek, NULL) == KEYFILE_OK;
		keyfile_close(open_file(fork_path, true));
	}
	ok(made && stat(path_of("fork.new"), &st) != 0,
	   "an interrupted creation leaves nothing or a whole file");
	unlink(fork_path);
}

int
main(void)
{
	start_directory();
	strcpy(path, path_of("file"));
	for (int i = 0; i < CASES; i++)
	{
		Image		before = prepare(&cases[i]);
		int			operations = (int) nwritten;

		diag("%s: %d operations, %d states", cases[i].name, operations, nstates);
		test_death(&cases[i], before, operations);
		if (!cases[i].replaces)
			test_power(&cases[i], before);
		test_refusal(&cases[i], before, operations);
		free(before.bytes);
	}
	test_power_twice();
	test_written_again();
	test_alternation();
	test_retry();
	test_leftovers();
	forget_record();
	for (int i = 0; i < nstates; i++)
		free(states[i]);
	unlink(path);
	end_directory();
	return done();
}
