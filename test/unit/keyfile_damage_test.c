/*
 * keyfile_damage_test.c
 *		A keystore file that is not what was written: flipped, swapped,
 *		truncated, rolled back.  It gives an error or the right key, never a
 *		wrong one, and damage stays where it is.
 */
#include "keyfile_fixture.h"

static Universe universe;
static char path[320];
static Image good;				/* as it should be */
static Image older;				/* some changes before */

static uint32_t
records_of(Image image)
{
	return (uint32_t) kf_get(image.bytes + 68, 4);
}

static Image
copy_image(Image image)
{
	Image		copy = {malloc(image.len + 1), image.len};

	must(copy.bytes != NULL);
	memcpy(copy.bytes, image.bytes, image.len);
	return copy;
}

static void
make_files(void)
{
	Keyfile    *kf = create_file(path);

	universe.leaves = universe.deads = 0;
	for (int i = 0; i < 6; i++)
		universe_add(&universe, kf, keytree_subject(65536 + (uint64_t) i, 3));
	universe_add(&universe, kf, keytree_subject(65537, 9));
	universe_add(&universe, kf, keytree_subject(1, 0));
	universe_add(&universe, kf, keytree_subject(UINT64_C(0x8000010001), 3));
	universe_add(&universe, kf, keytree_subject(UINT64_C(0x1234567890), 15));
	universe_add(&universe, kf, keytree_expiry(3, 100));
	universe_add(&universe, kf, keytree_expiry(3, 101));
	universe_add(&universe, kf, keytree_expiry(9, 0));
	must(puncture_one(kf, keytree_subject(65536, -1)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_subject(65538, -1)) == KEYFILE_OK);
	keyfile_close(kf);
	older = read_image(path);
	kf = open_file(path, true);
	must(puncture_one(kf, keytree_subject(65537, 3)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_subject(65539, -1)) == KEYFILE_OK);
	/* nothing in place: the redo list hides no record from the tests */
	must(puncture_one(kf, keytree_expiry(3, 100)) == KEYFILE_OK);
	must(kf->header.info.redo == 0);
	universe_kill(&universe, keytree_subject(65536, -1));
	universe_kill(&universe, keytree_subject(65538, -1));
	universe_kill(&universe, keytree_subject(65537, 3));
	universe_kill(&universe, keytree_expiry(3, 100));
	universe_kill(&universe, keytree_subject(65539, -1));
	must(universe_check(&universe, kf) && verify(kf, NULL) == KEYFILE_OK);
	keyfile_close(kf);
	good = read_image(path);
}

/* What verify says of damage. */
static KeyfileError damages[8];
static int	ndamages;

static void
note_damage(void *arg, const KeyfileError *damage)
{
	if (ndamages < 8)
		damages[ndamages] = *damage;
	ndamages++;
}

typedef enum Verdict
{
	RIGHT,						/* opens, verifies, all as it was */
	REFUSED,					/* does not open */
	NOTICED,					/* opens, verify fails, nothing is wrong */
	WRONG						/* a wrong key, a key that was destroyed, a
								 * key lost outside the damage */
} Verdict;

/*
 * Write the image and look.  revived: keys that were destroyed may be back,
 * if verify says so (old records are authentic).
 */
static Verdict
look(Image image, bool revived, KeyfileResult *result)
{
	Keyfile    *kf;
	KeyfileResult verified;
	Verdict		verdict;

	ndamages = 0;
	write_image(path, image);
	*result = keyfile_open(path, identity.uuid, 0, false, get_kek, NULL, &kf, NULL);
	if (*result != KEYFILE_OK)
		return REFUSED;
	verified = keyfile_verify(kf, NULL, note_damage, NULL, NULL);
	*result = verified;
	verdict = verified == KEYFILE_OK ? RIGHT : NOTICED;
	for (int i = 0; verdict != WRONG && i < universe.leaves; i++)
	{
		uint8_t		seed[32];
		KeyfileError err;
		bool		lives = universe_lives(&universe, universe.leaf[i]);
		bool		covered = false;
		KeyfileResult found = leaf_seed(kf, universe.leaf[i], seed, &err);

		for (int d = 0; d < ndamages && d < 8; d++)
			covered = covered || keytree_covers(damages[d].node, universe.leaf[i]);
		if (found == KEYFILE_OK)
		{
			if (memcmp(seed, universe.seed[i], 32) != 0 ||
				(!lives && !(revived && verified != KEYFILE_OK)))
				verdict = WRONG;
		}
		else if (found == KEYFILE_PUNCTURED)
		{
			if (lives)
				verdict = WRONG;
		}
		else if (verified == KEYFILE_OK || (!covered && !revived))
			verdict = WRONG;
	}
	keyfile_close(kf);
	return verdict;
}

static void
test_flips(void)
{
	Image		image = copy_image(good);
	int			verdicts[4] = {0, 0, 0, 0};
	bool		one_place = true;
	KeyfileResult result;

	/* one bit in each byte; the unused part of the header not everywhere */
	for (size_t i = 0; i < image.len; i += i % KF_PAGE > 900 &&
		 i < KF_HEADER_BYTES && i % KF_PAGE < 4060 ? 13 : 1)
	{
		Verdict		verdict;

		image.bytes[i] ^= (uint8_t) (1 << below(8));
		verdict = look(image, false, &result);
		verdicts[verdict]++;
		image.bytes[i] = good.bytes[i];
		if (i < KF_HEADER_BYTES)
			one_place = one_place && verdict == RIGHT;
		else
			one_place = one_place && verdict == NOTICED &&
				result == KEYFILE_DAMAGED && ndamages == 1 &&
				damages[0].record == (i - KF_HEADER_BYTES) / KF_RECORD;
		if (verdict == WRONG)
			diag("byte %d", (int) i);
	}
	ok(verdicts[WRONG] == 0 && verdicts[REFUSED] == 0,
	   "one flipped bit never gives a wrong key nor stops the others "
	   "(%d right, %d noticed)", verdicts[RIGHT], verdicts[NOTICED]);
	ok(one_place, "in a header it does no harm, in a record verify names it");

	/* the same bytes in both headers */
	for (int i = 0; i < 4; i++)
		verdicts[i] = 0;
	for (size_t i = 0; i < KF_PAGE; i += i > 900 && i < 4060 ? 29 : 1)
	{
		uint8_t		bit = (uint8_t) (1 << below(8));

		image.bytes[i] ^= bit;
		image.bytes[KF_PAGE + i] ^= bit;
		verdicts[look(image, false, &result)]++;
		image.bytes[i] = image.bytes[KF_PAGE + i] = good.bytes[i];
	}
	ok(verdicts[REFUSED] > 1000 && verdicts[REFUSED] == verdicts[0] +
	   verdicts[1] + verdicts[2] + verdicts[3],
	   "in both headers it is refused (%d)", verdicts[REFUSED]);
	free(image.bytes);
}

static void
test_random_damage(void)
{
	int			verdicts[4] = {0, 0, 0, 0};
	KeyfileResult result;

	for (int round = 0; round < 400; round++)
	{
		Image		image = copy_image(good);
		int			times = 1 + (int) below(6);

		for (int i = 0; i < times; i++)
		{
			size_t		at = KF_HEADER_BYTES +
				below((uint32_t) (image.len - KF_HEADER_BYTES));
			size_t		len = 1 + below(100);

			for (size_t j = at; j < at + len && j < image.len; j++)
				image.bytes[j] = below(3) == 0 ? 0 : (uint8_t) below(256);
		}
		verdicts[look(image, false, &result)]++;
		free(image.bytes);
	}
	ok(verdicts[WRONG] == 0, "random damage never gives a wrong key nor spreads");
}

static void
test_swaps(void)
{
	uint32_t	records = records_of(good);
	int			verdicts[4] = {0, 0, 0, 0};
	KeyfileResult result;

	for (uint32_t i = 0; i < records; i++)
		for (uint32_t j = 0; j < records; j += 1 + below(5))
		{
			Image		image = copy_image(good);
			uint8_t    *a = image.bytes + kf_offset(i);
			uint8_t    *b = image.bytes + kf_offset(j);

			if (memcmp(a, b, KF_RECORD) == 0)
			{
				free(image.bytes);
				continue;
			}
			memcpy(a, good.bytes + kf_offset(j), KF_RECORD);
			if (below(2) == 0)	/* exchanged, or copied over */
				memcpy(b, good.bytes + kf_offset(i), KF_RECORD);
			verdicts[look(image, false, &result)]++;
			free(image.bytes);
		}
	ok(verdicts[WRONG] == 0 && verdicts[RIGHT] == 0 && verdicts[NOTICED] > 1000,
	   "a record in another's place is an error (%d)", verdicts[NOTICED]);
}

/* A writer must not repair what it did not understand. */
static void
test_writing_around(void)
{
	Image		image = copy_image(good);
	KeytreeNode near = keytree_subject(65537, 9);
	KeytreeNode far = keytree_subject(UINT64_C(0x1234567890), -1);
	KeytreeNode both[2];
	KeyfileIdentity next = identity;
	KeyfileError err;
	KfRoute		route;
	Keyfile    *kf = open_file(path, true);
	uint8_t		kek[32];
	uint8_t		seed[32];
	uint64_t	dropped;
	uint32_t	index;
	size_t		at = 0;

	make_kek(1, kek);
	must(kf_walk(kf, NULL, near, &route, NULL) == KEYFILE_OK);
	index = route.step[route.length - 1].index;
	keyfile_close(kf);
	image.bytes[kf_offset(index) + 20] ^= 1;
	write_image(path, image);
	kf = open_file(path, true);

	ok(keyfile_puncture_prepare(kf, &near, 1, &at, &err) == KEYFILE_DAMAGED &&
	   at == 0 && err.record == index && keytree_covers(err.node, near),
	   "what is damaged cannot be punctured, and says where");
	both[0] = far;
	both[1] = near;
	ok(keyfile_puncture_prepare(kf, both, 2, &at, &err) == KEYFILE_OK &&
	   at == 1 && keyfile_puncture_apply(kf, &err) == KEYFILE_OK &&
	   keyfile_puncture_prepare(kf, both, 2, &at, &err) == KEYFILE_DAMAGED &&
	   at == 1, "the others of a batch can");
	ok(puncture_one(kf, keytree_subject(65537, 10)) == KEYFILE_OK &&
	   leaf_seed(kf, keytree_subject(65537, 10), seed, &err) == KEYFILE_PUNCTURED &&
	   leaf_seed(kf, keytree_subject(65537, 11), seed, &err) == KEYFILE_OK &&
	   leaf_seed(kf, near, seed, &err) == KEYFILE_DAMAGED,
	   "a damaged leaf does not stand in the way of its neighbours");
	ok(keyfile_rewrite(kf, path, &next, kek, false, &dropped, &err) ==
	   KEYFILE_DAMAGED && err.record == index,
	   "a damaged file is not rewritten as if it were whole");
	ok(keyfile_rewrite(kf, path, &next, kek, true, &dropped, &err) ==
	   KEYFILE_OK && dropped == 1, "unless asked to drop what is damaged");
	keyfile_close(kf);
	kf = open_file(path, true);
	ok(verify(kf, NULL) == KEYFILE_OK &&
	   leaf_seed(kf, near, seed, &err) == KEYFILE_PUNCTURED &&
	   leaf_seed(kf, keytree_subject(65537, 11), seed, &err) == KEYFILE_OK,
	   "then it is whole, with a hole");
	keyfile_close(kf);

	/* one header damaged */
	memcpy(image.bytes, good.bytes, good.len);
	for (int page = 0; page < 2; page++)
	{
		KeyfileStats stats;

		image.bytes[page * KF_PAGE + 2000] ^= 1;
		write_image(path, image);
		kf = open_file(path, true);
		at = 0;
		ok(verify(kf, &stats) == KEYFILE_OK && stats.header_damaged &&
		   keyfile_puncture_prepare(kf, &far, 1, &at, &err) == KEYFILE_PENDING &&
		   keyfile_recover(kf, &err) == KEYFILE_OK &&
		   verify(kf, &stats) == KEYFILE_OK && !stats.header_damaged &&
		   universe_check(&universe, kf),
		   "recovery makes header %d good from the other", page);
		keyfile_close(kf);
		image.bytes[page * KF_PAGE + 2000] ^= 1;
	}
	write_image(path, good);
	free(image.bytes);
}

static void
test_truncation(void)
{
	static const int lengths[] = {0, 1, 7, 8, 100, 4095, 4096, 4097, 8191, 8192,
	8193, 8255, 8256};
	Image		image = copy_image(good);
	bool		refused = true;
	KeyfileInfo info;
	KeyfileResult result;
	Keyfile    *kf;
	uint8_t		seed[32];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) + 64; i++)
	{
		image.len = i < sizeof(lengths) / sizeof(lengths[0]) ?
			(size_t) lengths[i] : good.len - 1 - below(1000);
		refused = refused && look(image, false, &result) == REFUSED &&
			result == KEYFILE_TRUNCATED;
		if (image.len < KF_HEADER_BYTES)
			refused = refused &&
				keyfile_peek(path, &info, NULL) == KEYFILE_TRUNCATED;
	}
	ok(refused, "a file is refused at every length but its own");
	memset(image.bytes, 'x', 100);
	image.len = 100;
	ok(look(image, false, &result) == REFUSED && result == KEYFILE_BAD_MAGIC,
	   "a short file that never was a keystore is told so");

	write_image(path, good);
	kf = open_file(path, false);
	must(truncate(path, KF_HEADER_BYTES + 64) == 0);
	ok(leaf_seed(kf, keytree_subject(65537, 9), seed, NULL) ==
	   KEYFILE_TRUNCATED && keyfile_refresh(kf, NULL) == KEYFILE_TRUNCATED,
	   "one that is cut while it is open is no crash");
	keyfile_close(kf);
	write_image(path, good);
	free(image.bytes);
}

static void
test_rollback(void)
{
	uint32_t	records = records_of(older);
	int			noticed = 0;
	int			rolled_back = 0;
	int			changed = 0;
	KeyfileResult result;
	Image		image;
	Keyfile    *kf;
	KeyfileIdentity next = identity;
	uint8_t		kek[32];
	bool		refused = true;

	make_kek(1, kek);
	for (uint32_t i = 0; i < records; i++)
	{
		Verdict		verdict;

		if (memcmp(good.bytes + kf_offset(i), older.bytes + kf_offset(i),
				   KF_RECORD) == 0)
			continue;
		changed++;
		image = copy_image(good);
		memcpy(image.bytes + kf_offset(i), older.bytes + kf_offset(i),
			   KF_RECORD);
		verdict = look(image, true, &result);
		/* DAMAGED: it is, or leads to, a record that has been freed since */
		if (verdict == NOTICED &&
			(result == KEYFILE_ROLLED_BACK || result == KEYFILE_DAMAGED))
		{
			noticed++;
			kf = open_file(path, true);
			refused = refused &&
				keyfile_rewrite(kf, path, &next, kek, false, NULL, NULL) ==
				(ndamages > 0 && damages[0].node.tree == 0 ?
				 KEYFILE_OK : result);
			keyfile_close(kf);
			rolled_back += result == KEYFILE_ROLLED_BACK;
		}
		free(image.bytes);
	}
	ok(changed > 1 && noticed == changed && rolled_back > 0,
	   "a record of another time is noticed (%d)", changed);
	ok(refused, "and not laundered by a rewrite");

	/* all old records under the new header */
	image = copy_image(good);
	memcpy(image.bytes + KF_HEADER_BYTES, older.bytes + KF_HEADER_BYTES,
		   older.len - KF_HEADER_BYTES);
	ok(look(image, true, &result) == NOTICED && result == KEYFILE_ROLLED_BACK,
	   "old records under the new header are noticed");
	free(image.bytes);

	/* the old header over the new records */
	image = copy_image(good);
	memcpy(image.bytes, older.bytes, KF_HEADER_BYTES);
	{
		Verdict		verdict = look(image, true, &result);

		ok(verdict == NOTICED &&
		   (result == KEYFILE_ROLLED_BACK || result == KEYFILE_DAMAGED),
		   "the old header over new records is noticed");
	}
	free(image.bytes);

	/* all of an old file is what it was, and too old */
	write_image(path, older);
	ok(keyfile_open(path, NULL, 6, false, get_kek, NULL, &kf, NULL) ==
	   KEYFILE_ROLLED_BACK && kf == NULL, "a whole old file is too old");

	/* under an open handle */
	write_image(path, good);
	kf = open_file(path, false);
	write_image(path, older);
	ok(keyfile_refresh(kf, NULL) == KEYFILE_ROLLED_BACK &&
	   keyfile_generation(kf) == 6, "and is noticed under an open handle");
	keyfile_close(kf);
	write_image(path, good);
}

static void
test_rubbish_in_free_records(void)
{
	Keyfile    *kf = open_file(path, true);
	Image		image;
	KeyfileStats stats;
	KeyfileError err;
	KeyfileResult result;

	must(puncture_one(kf, keytree_subject(65537, -1)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_expiry(9, 1)) == KEYFILE_OK);
	keyfile_close(kf);
	image = read_image(path);
	for (uint32_t i = 0; i < records_of(image); i++)
		if (kf_is_zero(image.bytes + kf_offset(i), KF_RECORD))
		{
			image.bytes[kf_offset(i) + 60] = 1;
			break;
		}
	write_image(path, image);
	kf = open_file(path, true);
	result = keyfile_verify(kf, &stats, NULL, NULL, &err);
	ok(result == KEYFILE_DAMAGED && err.node.tree == 0 && stats.damaged == 1,
	   "rubbish in a free record is damage that covers nothing");
	keyfile_close(kf);
	free(image.bytes);
	write_image(path, good);
}

int
main(void)
{
	start_directory();
	strcpy(path, path_of("file"));
	make_files();
	diag("%d bytes, %u records", (int) good.len, (unsigned) records_of(good));
	test_flips();
	test_random_damage();
	test_swaps();
	write_image(path, good);
	test_writing_around();
	test_truncation();
	test_rollback();
	test_rubbish_in_free_records();
	free(good.bytes);
	free(older.bytes);
	unlink(path);
	end_directory();
	return done();
}
