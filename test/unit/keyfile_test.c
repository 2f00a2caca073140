/*
 * keyfile_test.c
 *		The keystore file: known answers, opening and its refusals, leases,
 *		punctures one by one, rewriting.
 */
#include "keyfile_fixture.h"

static bool
file_hash_is(const char *path, size_t from, const char *hex)
{
	Image		image = read_image(path);
	uint8_t		hash[32];
	uint8_t		expected[32];

	must(image.len >= from);
	must(crypto_sha256(image.bytes + from, image.len - from, hash));
	unhex(hex, expected);
	free(image.bytes);
	return memcmp(hash, expected, 32) == 0;
}

/* The file of doc/formats.md: roots 00 ... 1f and 20 ... 3f. */
static void
write_known_file(const char *path)
{
	KfKeys		keys;
	KfHeader	header;
	uint8_t		kek[32];
	uint8_t		pages[KF_HEADER_BYTES];
	Image		image = {pages, sizeof(pages)};

	memset(&header, 0, sizeof(header));
	make_kek(1, kek);
	must(kf_make_keys(identity.uuid, 1, kek, &keys));
	memcpy(header.info.uuid, identity.uuid, 16);
	header.info.generation = 1;
	header.info.next_block = 1;
	header.info.system_identifier = identity.system_identifier;
	header.info.timeline = identity.timeline;
	header.info.database = identity.database;
	header.info.created = INT64_C(1767225600000000);
	for (int tree = 1; tree <= 2; tree++)
	{
		KfRecord	root = {0};
		uint8_t		seed[32];

		for (int i = 0; i < 32; i++)
			seed[i] = (uint8_t) (i + 32 * (tree - 1));
		root.kind = KF_BINARY;
		root.state[0] = KF_SEED;
		must(crypto_wrap(keys.wrap, seed, root.wrapped));
		must(kf_encode_record(&keys, kf_root_position(tree), &root,
							  header.root[tree - 1]));
	}
	must(kf_encode_header(&keys, &header, pages));
	memcpy(pages + KF_PAGE, pages, KF_PAGE);
	write_image(path, image);
}

static void
test_known_answers(void)
{
	const char *path = path_of("known");
	Keyfile    *kf;
	uint8_t		key[32];
	uint8_t		expected[32];

	write_known_file(path);
	ok(file_hash_is(path, 0, "c2cebfc89865bb4359d10abb63ca473dbae47957af817ff4d84dc087b7a551a2"),
	   "a new file is what doc/formats.md says");
	kf = open_file(path, true);
	unhex("dbf593fa5517c9cbd9e48eeb206593d32026bf2f3ccca7543b2eb4651928cb9c",
		  expected);
	ok(keyfile_derive(kf, 65536, 3, 318, key, NULL) == KEYFILE_OK &&
	   memcmp(key, expected, 32) == 0, "and gives the keys it says");
	unhex("80b4c1b7a9bcde523516fd26fd17e0af1cca9e924446efa1b8cc999db87abda4",
		  expected);
	ok(keyfile_token_key(kf, 1, 7, key, NULL) == KEYFILE_OK &&
	   memcmp(key, expected, 32) == 0, "and token keys");

	must(puncture_one(kf, keytree_subject(65536, -1)) == KEYFILE_OK);
	ok(file_hash_is(path, 0, "8add16b74303351df92fb95ad41f0a0bed4bf4ec53e31a35360f84df58c371aa"),
	   "puncturing a number leaves the bytes it says");
	must(puncture_one(kf, keytree_subject(65537, 4)) == KEYFILE_OK);
	ok(file_hash_is(path, 0, "c3babe72351596dc3696ed8d3c7065fb851546c661f4e12a2a5b87eaf01e33be"),
	   "puncturing a category too");
	must(puncture_one(kf, keytree_expiry(3, 318)) == KEYFILE_OK);
	ok(file_hash_is(path, 0, "9aa88ab5c4d8b054af7b392ce72d6b60fe60baef2afa04f8750d9a033858cafd"),
	   "puncturing a month too");
	must(puncture_one(kf, keytree_subject(65537, -1)) == KEYFILE_OK);
	ok(file_hash_is(path, KF_HEADER_BYTES,
					"a9641d200d05e343761af2d1e22d1deb7dc95527129ee0798935ee456c76b97a"),
	   "puncturing the rest of a number merges it with its neighbour");
	ok(keyfile_derive(kf, 65538, 3, 317, key, NULL) == KEYFILE_OK &&
	   keyfile_derive(kf, 65538, 3, 318, key, NULL) == KEYFILE_PUNCTURED &&
	   keyfile_derive(kf, 65537, 3, 317, key, NULL) == KEYFILE_PUNCTURED &&
	   keyfile_derive(kf, 65538, 2, 318, key, NULL) == KEYFILE_OK,
	   "a key needs its number and its month");
	keyfile_close(kf);
	unlink(path);
}

static bool
no_kek(void *arg, uint32_t version, uint8_t kek[32])
{
	return false;
}

static bool
wrong_kek(void *arg, uint32_t version, uint8_t kek[32])
{
	make_kek(version + 77, kek);
	return true;
}

static KeyfileResult
try_open(const char *path, const uint8_t *uuid, uint64_t min_generation,
		 KeyfileKekGetter getter, KeyfileError *err)
{
	Keyfile    *kf = (Keyfile *) 1;
	KeyfileResult result = keyfile_open(path, uuid, min_generation, true,
										getter, NULL, &kf, err);

	must(result == err->result);
	must((kf != NULL) == (result == KEYFILE_OK));
	keyfile_close(kf);
	return result;
}

static void
test_refusals(void)
{
	const char *path = path_of("file");
	const char *other = path_of("other");
	KeyfileError err;
	KeyfileInfo info;
	uint8_t		foreign[16] = {9};
	uint8_t		kek[32];
	Image		image;

	make_kek(1, kek);
	ok(try_open(path, NULL, 0, get_kek, &err) == KEYFILE_MISSING &&
	   err.saved_errno == ENOENT &&
	   keyfile_peek(path, &info, &err) == KEYFILE_MISSING,
	   "a missing file is missing, and not made");
	keyfile_close(create_file(path));
	ok(keyfile_create(path, &identity, kek, &err) == KEYFILE_EXISTS,
	   "an existing file is not made again");
	ok(try_open(path, identity.uuid, 1, get_kek, &err) == KEYFILE_OK,
	   "a new file opens");
	ok(try_open(path, foreign, 0, get_kek, &err) == KEYFILE_FOREIGN &&
	   memcmp(err.uuid, identity.uuid, 16) == 0,
	   "not under another uuid, and says whose it is");
	ok(try_open(path, NULL, 0, no_kek, &err) == KEYFILE_NO_KEK &&
	   err.version == 1, "not without a KEK, and says which version");
	ok(try_open(path, NULL, 0, wrong_kek, &err) == KEYFILE_WRONG_KEK &&
	   err.version == 1, "not with a wrong KEK");
	ok(try_open(path, NULL, 2, get_kek, &err) == KEYFILE_ROLLED_BACK &&
	   err.generation == 1, "not below the generation that was seen before");
	ok(keyfile_peek(path, &info, &err) == KEYFILE_OK &&
	   memcmp(info.uuid, identity.uuid, 16) == 0 && info.kek_version == 1 &&
	   info.system_identifier == identity.system_identifier &&
	   info.database == 16384 && info.bytes == KF_HEADER_BYTES,
	   "a look at the header needs no KEK");

	must(chmod(path, 0640) == 0);
	ok(try_open(path, NULL, 0, get_kek, &err) == KEYFILE_WRONG_MODE,
	   "not if the group may read it");
	must(chmod(path, 0602) == 0);
	ok(try_open(path, NULL, 0, get_kek, &err) == KEYFILE_WRONG_MODE,
	   "not if others may write it");
	must(chmod(path, 0600) == 0);
	if (geteuid() == 0)
	{
		must(chown(path, 1, (gid_t) -1) == 0);
		ok(try_open(path, NULL, 0, get_kek, &err) == KEYFILE_WRONG_OWNER,
		   "not if it is somebody else's");
		must(chown(path, 0, (gid_t) -1) == 0);
	}
	else
		ok(true, "# SKIP only root can give files away");

	must(symlink(path, other) == 0);
	ok(try_open(other, NULL, 0, get_kek, &err) == KEYFILE_NOT_REGULAR,
	   "not through a symbolic link");
	unlink(other);
	must(mkfifo(other, 0600) == 0);
	ok(try_open(other, NULL, 0, get_kek, &err) == KEYFILE_NOT_REGULAR &&
	   keyfile_peek(other, &info, &err) == KEYFILE_NOT_REGULAR,
	   "not a FIFO, and does not wait for one");
	unlink(other);
	ok(try_open(directory, NULL, 0, get_kek, &err) == KEYFILE_NOT_REGULAR,
	   "not a directory");

	image = read_image(path);
	image.bytes[3] ^= 1;
	image.bytes[KF_PAGE + 3] ^= 1;
	write_image(other, image);
	ok(try_open(other, NULL, 0, get_kek, &err) == KEYFILE_BAD_MAGIC &&
	   keyfile_peek(other, &info, &err) == KEYFILE_BAD_MAGIC,
	   "not something else");
	image.bytes[3] ^= 1;
	image.bytes[KF_PAGE + 3] ^= 1;
	image.bytes[11] = image.bytes[KF_PAGE + 11] = 2;
	write_image(other, image);
	ok(try_open(other, NULL, 0, get_kek, &err) == KEYFILE_BAD_VERSION &&
	   err.version == 2 &&
	   keyfile_peek(other, &info, &err) == KEYFILE_BAD_VERSION,
	   "not a later format, and says which");
	image.bytes[11] = image.bytes[KF_PAGE + 11] = 1;
	image.bytes[40] ^= 1;
	image.bytes[KF_PAGE + 40] ^= 1;
	write_image(other, image);
	ok(try_open(other, NULL, 0, get_kek, &err) == KEYFILE_DAMAGED_HEADER,
	   "two damaged headers are told from a wrong KEK");
	unlink(other);
	free(image.bytes);
	unlink(path);

	ok(keyfile_check_directory(directory, &err) == KEYFILE_OK &&
	   keyfile_check_directory(path_of("none"), &err) == KEYFILE_MISSING,
	   "a private directory will do");
	must(chmod(directory, 0750) == 0);
	ok(keyfile_check_directory(directory, &err) == KEYFILE_WRONG_MODE,
	   "one that the group may read will not");
	must(chmod(directory, 0700) == 0);
	ok(keyfile_check_directory("/dev/null", &err) == KEYFILE_NOT_REGULAR,
	   "nor a file");
	ok(keyfile_create(path_of("no/where"), &identity, kek, &err) ==
	   KEYFILE_MISSING, "nothing is made where there is no directory");
}

static void
test_read_only(void)
{
	const char *path = path_of("file");
	KeytreeNode node = keytree_subject(65536, -1);
	KeyfileLease lease = {0};
	KeyfileError err;
	size_t		next = 0;
	Keyfile    *kf;

	keyfile_close(create_file(path));
	kf = open_file(path, false);
	ok(keyfile_puncture_prepare(kf, &node, 1, &next, &err) == KEYFILE_READ_ONLY &&
	   keyfile_lease(kf, &lease, &err) == KEYFILE_READ_ONLY &&
	   keyfile_recover(kf, &err) == KEYFILE_READ_ONLY &&
	   keyfile_reserve_nodes(kf, &node, 1, &err) == KEYFILE_READ_ONLY &&
	   keyfile_destroy(kf, &err) == KEYFILE_READ_ONLY && next == 0,
	   "a handle that only reads changes nothing");
	keyfile_close(kf);
	unlink(path);
}

static void
test_leases(void)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	Keyfile    *reader = open_file(path, false);
	KeyfileLease lease = {true, 0, 0, 1, 1, 5, 0};
	KeyfileInfo info;
	KeyfileError err;
	uint64_t	generation;

	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK && lease.block == 1,
	   "block 1 is the first: block 0 is reserved");
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK && lease.block == 2,
	   "no block is leased twice");
	lease.min_block = 100;
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK && lease.block == 100,
	   "a lease can skip ahead");
	lease.min_block = 50;
	lease.token_epoch = 3;
	lease.timeline = 2;
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK && lease.block == 101,
	   "never back");
	keyfile_close(kf);
	kf = open_file(path, true);
	keyfile_info(kf, &info);
	ok(info.next_block == 102 && info.token_epoch == 3 && info.timeline == 2 &&
	   info.system_identifier == 1 && info.database == 5 &&
	   info.generation == 5, "leases, owner and epoch are in the file");
	lease.token_epoch = 2;
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_INVALID,
	   "a token epoch never comes back");
	lease.token_epoch = 0;
	lease.take_block = false;
	generation = keyfile_generation(kf);
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK &&
	   keyfile_generation(kf) == generation,
	   "nothing new, nothing written");
	lease.take_block = true;
	lease.min_block = KEYTREE_BLOCKS - 1;
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_OK &&
	   lease.block == KEYTREE_BLOCKS - 1, "the last block");
	lease.min_block = 0;
	ok(keyfile_lease(kf, &lease, &err) == KEYFILE_NO_NUMBERS &&
	   lease.block == 0, "and then none");
	ok(keyfile_generation(reader) == 1 &&
	   keyfile_refresh(reader, &err) == KEYFILE_OK &&
	   keyfile_generation(reader) == keyfile_generation(kf),
	   "other handles see it when they refresh");
	ok(verify(reader, NULL) == KEYFILE_OK, "and the file verifies");
	keyfile_close(reader);
	keyfile_close(kf);
	unlink(path);
}

static void
test_punctures(void)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	KeytreeNode node = keytree_subject(65536, 3);
	KeyfileStats stats;
	KeyfileStats whole;
	KeyfileError err;
	KeyfileInfo info;
	KeytreeSeed seed;
	uint64_t	generation;
	uint16_t	mask;
	size_t		next = 0;

	must(puncture_one(kf, node) == KEYFILE_OK);
	ok(keyfile_living(kf, 65536, &mask, &err) == KEYFILE_OK && mask == 0xFFF7 &&
	   keyfile_living(kf, 65537, &mask, &err) == KEYFILE_OK && mask == 0xFFFF,
	   "one category of one number is gone");
	ok(keyfile_find(kf, keytree_subject(65536, -1), &seed, &err) ==
	   KEYFILE_PUNCTURED, "the number as a whole does not derive any more");
	generation = keyfile_generation(kf);
	ok(keyfile_puncture_prepare(kf, &node, 1, &next, &err) == KEYFILE_OK &&
	   next == 1 && keyfile_generation(kf) == generation &&
	   keyfile_puncture_apply(kf, &err) == KEYFILE_OK,
	   "puncturing it again writes nothing");
	for (int c = 0; c < 16; c++)
		must(puncture_one(kf, keytree_subject(65536, c)) == KEYFILE_OK);
	keyfile_info(kf, &info);
	ok(keyfile_living(kf, 65536, &mask, &err) == KEYFILE_OK && mask == 0 &&
	   info.punctures == 16, "sixteen punctures of sixteen categories");
	must(verify(kf, &stats) == KEYFILE_OK);
	keyfile_close(kf);
	kf = create_file(path);
	must(puncture_one(kf, keytree_subject(65536, -1)) == KEYFILE_OK);
	must(verify(kf, &whole) == KEYFILE_OK);
	ok(stats.inner == whole.inner && stats.holes == whole.holes &&
	   stats.seeds == whole.seeds && stats.fans == 0,
	   "leave the same tree as one puncture of the number");

	next = 0;
	node.path = UINT64_C(1) << 60;
	ok(keyfile_puncture_prepare(kf, &node, 1, &next, &err) == KEYFILE_INVALID &&
	   next == 0, "what is no node is refused");

	for (int i = 0; i < 16; i++)
		must(puncture_one(kf, keytree_subject(65536 + (uint64_t) (i * 7 % 16),
											  i % 3 == 0 ? 5 : -1)) == KEYFILE_OK);
	must(puncture_one(kf, keytree_prefix(65536, 36)) == KEYFILE_OK);
	must(verify(kf, &stats) == KEYFILE_OK);
	ok(stats.inner == 36 && stats.holes == 1 && stats.seeds == 37,
	   "a punctured prefix is one hole, whatever was below it");
	must(puncture_one(kf, keytree_prefix(0, 0)) == KEYFILE_OK);
	must(verify(kf, &stats) == KEYFILE_OK);
	ok(stats.inner == 0 && stats.holes == 1 && stats.seeds == 1 &&
	   keyfile_derive(kf, 99999, 0, 0, (uint8_t[32]){0}, &err) ==
	   KEYFILE_PUNCTURED, "the whole tree can go, and leaves the other alone");
	keyfile_close(kf);
	unlink(path);
}

/* Writers that take turns, each with a handle of its own. */
static void
test_two_writers(void)
{
	static Universe universe;
	const char *path = path_of("file");
	Keyfile    *kf[2];
	bool		sound = true;

	kf[0] = create_file(path);
	kf[1] = open_file(path, true);
	universe.leaves = universe.deads = 0;
	for (int i = 0; i < 40; i++)
		universe_add(&universe, kf[0], keytree_subject(65536 + (uint64_t) i, 1));
	for (int i = 0; i < 20; i++)
	{
		KeytreeNode node = keytree_subject(65536 + below(40), i % 3 - 1);

		sound = sound && puncture_one(kf[i % 2], node) == KEYFILE_OK;
		universe_kill(&universe, node);
		sound = sound && universe_check(&universe, kf[i % 2]) &&
			verify(kf[i % 2], NULL) == KEYFILE_OK;
	}
	ok(sound, "a writer builds on what another one did");
	keyfile_close(kf[0]);
	keyfile_close(kf[1]);
	unlink(path);
}

/* Many records below one node: several changes, each a whole tree. */
static void
test_rounds(void)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	KeytreeNode nodes[256];
	KeytreeNode prefix = keytree_prefix(65536, 31);
	KeyfileStats stats;
	size_t		next = 0;
	int			changes = 0;
	bool		sound = true;

	for (int i = 0; i < 256; i++)
		nodes[i] = keytree_subject(65536 + 2 * (uint64_t) i, i % 5 == 0 ? 3 : -1);
	must(puncture(kf, nodes, 256) == KEYFILE_OK);
	ok(keyfile_generation(kf) == 2, "256 numbers in fresh ground are one change");
	must(verify(kf, &stats) == KEYFILE_OK);
	diag("%d inner nodes, %d fans", (int) stats.inner, (int) stats.fans);
	while (next < 1)
	{
		must(keyfile_puncture_prepare(kf, &prefix, 1, &next, NULL) == KEYFILE_OK);
		sound = sound && verify(kf, NULL) == KEYFILE_OK &&
			kf->header.info.redo <= KF_REDO;
		must(keyfile_puncture_apply(kf, NULL) == KEYFILE_OK);
		sound = sound && verify(kf, NULL) == KEYFILE_OK;
		changes++;
	}
	must(verify(kf, &stats) == KEYFILE_OK);
	ok(changes > 10 && sound, "their prefix takes several (%d), sound at each",
	   changes);
	ok(stats.holes == 1 && stats.inner == 31 && stats.fans == 0 &&
	   stats.freed == kf->header.info.records - 31,
	   "and leaves one hole and empty records");
	keyfile_close(kf);
	unlink(path);
}

static void
test_reserve(void)
{
	const char *path = path_of("file");
	Keyfile    *kf = create_file(path);
	KeytreeNode nodes[300];
	KeyfileInfo before;
	KeyfileInfo after;
	bool		enough = true;

	for (int round = 0; round < 20; round++)
	{
		int			count = 1 + (int) below(300);

		for (int i = 0; i < count; i++)
			nodes[i] = below(9) == 0 ?
				keytree_expiry((int) below(16), (int) below(400)) :
				keytree_subject(65536 + below(100000),
								below(4) == 0 ? (int) below(16) : -1);
		if (round % 2 == 0)
			qsort(nodes, (size_t) count, sizeof(nodes[0]), keytree_compare);
		must(keyfile_reserve_nodes(kf, nodes, (size_t) count, NULL) == KEYFILE_OK);
		keyfile_info(kf, &before);
		must(puncture(kf, nodes, (size_t) count) == KEYFILE_OK);
		keyfile_info(kf, &after);
		enough = enough && before.bytes == after.bytes;
	}
	ok(enough, "what was reserved is enough");
	nodes[0].level = 99;
	ok(verify(kf, NULL) == KEYFILE_OK &&
	   keyfile_reserve_nodes(kf, nodes, 1, NULL) == KEYFILE_INVALID,
	   "the reserve does not disturb, and is for nodes only");
	keyfile_close(kf);
	unlink(path);
}

static void
test_rewrite(void)
{
	const char *path = path_of("file");
	const char *fork_path = path_of("fork");
	static Universe universe;
	Keyfile    *kf = create_file(path);
	Keyfile    *reader;
	Keyfile    *copy;
	KeyfileIdentity rotated = identity;
	KeyfileIdentity forked = identity;
	KeyfileStats before;
	KeyfileStats after;
	KeyfileInfo info;
	KeyfileError err;
	uint8_t		kek[32];
	uint32_t	asked = 0;

	universe.leaves = universe.deads = 0;
	for (int i = 0; i < 64; i++)
		universe_add(&universe, kf, keytree_subject(65536 + (uint64_t) i, i % 16));
	for (int i = 0; i < 40; i++)
	{
		KeytreeNode node = keytree_subject(65536 + below(64),
										   below(2) == 0 ? -1 : (int) below(16));

		universe_kill(&universe, node);
		must(puncture_one(kf, node) == KEYFILE_OK);
	}
	must(verify(kf, &before) == KEYFILE_OK);
	reader = open_file(path, false);

	rotated.kek_version = 2;
	make_kek(2, kek);
	ok(keyfile_rewrite(kf, path, &rotated, kek, false, NULL, &err) == KEYFILE_OK,
	   "a rotation");
	ok(keyfile_refresh(reader, &err) == KEYFILE_REPLACED &&
	   keyfile_refresh(kf, &err) == KEYFILE_REPLACED,
	   "who has the old file open is told");
	ok(keyfile_destroy(kf, &err) == KEYFILE_OK, "the old file can be wiped");
	{
		Image		old = {malloc(KF_HEADER_BYTES), KF_HEADER_BYTES};
		size_t		got;

		must(kf_read(reader->fd, 0, old.bytes, old.len, &got, NULL) == KEYFILE_OK);
		ok(got == old.len && kf_is_zero(old.bytes, old.len), "and is zeros");
		free(old.bytes);
	}
	keyfile_close(reader);
	keyfile_close(kf);
	must(keyfile_open(path, identity.uuid, 0, true, get_kek, &asked, &kf,
					  &err) == KEYFILE_OK);
	must(verify(kf, &after) == KEYFILE_OK);
	keyfile_info(kf, &info);
	ok(asked == 2 && info.generation == info.punctures + 2,
	   "the new file has the next generation and wants the new KEK");
	ok(universe_check(&universe, kf), "and the same keys");
	ok(after.freed == 0 && after.inner == before.inner &&
	   after.seeds == before.seeds && after.holes == before.holes,
	   "without the empty records (%d before)", (int) before.freed);
	ok(keyfile_destroy(kf, &err) == KEYFILE_INVALID,
	   "a file that is in use is not wiped");

	memset(forked.uuid, 0x77, 16);
	make_kek(1, kek);
	ok(keyfile_rewrite(kf, fork_path, &identity, kek, false, NULL, &err) ==
	   KEYFILE_INVALID, "a fork needs a uuid of its own");
	ok(keyfile_rewrite(kf, fork_path, &forked, kek, false, NULL, &err) ==
	   KEYFILE_OK && keyfile_refresh(kf, &err) == KEYFILE_OK,
	   "with one it leaves the original alone");
	ok(keyfile_rewrite(kf, fork_path, &forked, kek, false, NULL, &err) ==
	   KEYFILE_EXISTS, "and does not overwrite what is there");
	must(keyfile_open(fork_path, forked.uuid, 0, true, get_kek, NULL, &copy,
					  &err) == KEYFILE_OK);
	ok(universe_check(&universe, copy) && verify(copy, NULL) == KEYFILE_OK,
	   "a fork has the same keys");
	must(puncture_one(copy, keytree_prefix(65536, 24)) == KEYFILE_OK);
	ok(universe_check(&universe, kf), "and loses its own only");
	keyfile_close(copy);
	keyfile_close(kf);
	unlink(fork_path);
	unlink(path);
}

static void
test_names(void)
{
	char		name[KEYFILE_NAME_BYTES];
	bool		named = true;

	keyfile_name(identity.uuid, name);
	ok(strcmp(name, "00112233-4455-6677-8899-aabbccddeeff.keystore") == 0,
	   "a file is named after its uuid");
	for (int i = 0; i <= KEYFILE_NO_CRYPTO; i++)
		named = named &&
			strncmp(keyfile_result_name((KeyfileResult) i), "KEYFILE_", 8) == 0;
	ok(named && strcmp(keyfile_result_name(KEYFILE_NO_CRYPTO),
					   "KEYFILE_NO_CRYPTO") == 0 &&
	   strcmp(keyfile_result_name(KEYFILE_ROLLED_BACK),
			  "KEYFILE_ROLLED_BACK") == 0, "every result has its name");
}

int
main(void)
{
	start_directory();
	test_names();
	test_known_answers();
	test_refusals();
	test_read_only();
	test_leases();
	test_punctures();
	test_two_writers();
	test_rounds();
	test_reserve();
	test_rewrite();
	end_directory();
	return done();
}
