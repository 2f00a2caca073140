/*
 * keyfile_fuzz.c
 *		Any bytes as a keystore file.
 *
 * The first byte of an input says how far it is made to authenticate, so that
 * not everything ends at a MAC: nothing, the header pages, or also the records
 * that can be reached; what else it asks for are the changes to make.  The
 * rest is the file.
 *
 * Every function returns one of its results; nothing that is punctured is
 * found again by the same handle; what recover and verify accept can be
 * punctured and rewritten.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "keyfile_internal.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);

#define FIX_HEADERS		0x01
#define FIX_RECORDS		0x02
#define CHANGE_PUNCTURE	0x04
#define CHANGE_LEASE	0x08
#define CHANGE_REWRITE	0x10
#define CHANGE_RESERVE	0x20
#define RECOVER_FIRST	0x40

#define MAX_RECORDS		512

static char directory[64];
static char path[128];
static char other[128];

static KeyfileIdentity identity = {
	{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
	0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	1, UINT64_C(0x0102030405060708), 1, 16384
};

static bool
get_kek(void *arg, uint32_t version, uint8_t kek[CRYPTO_KEY_BYTES])
{
	(void) arg;
	for (int i = 0; i < CRYPTO_KEY_BYTES; i++)
		kek[i] = (uint8_t) (0x40 + i + (int) (version - 1));
	return version != 0;
}

static void
remove_directory(void)
{
	unlink(path);
	unlink(other);
	rmdir(directory);
}

static void
write_file(const uint8_t *data, size_t size)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	check(fd >= 0 && write(fd, data, size) == (ssize_t) size);
	close(fd);
}

/* The file as it is now, for the corpus, under each way to treat it. */
static void
seed_file(const char *name)
{
	static const uint8_t modes[] = {
		0, RECOVER_FIRST | CHANGE_PUNCTURE, FIX_HEADERS | CHANGE_PUNCTURE,
		FIX_HEADERS | FIX_RECORDS | CHANGE_PUNCTURE | CHANGE_RESERVE,
		FIX_HEADERS | FIX_RECORDS | CHANGE_LEASE | CHANGE_REWRITE
	};
	uint8_t		buf[65536];
	char		full[64];
	int			fd = open(path, O_RDONLY);
	ssize_t		got;

	check(fd >= 0);
	got = read(fd, buf + 1, sizeof(buf) - 1);
	check(got > 0);
	close(fd);
	for (size_t i = 0; i < sizeof(modes); i++)
	{
		buf[0] = modes[i];
		snprintf(full, sizeof(full), "%s-%zu", name, i);
		fuzz_seed(full, buf, (size_t) got + 1);
	}
}

static KeyfileResult
puncture(Keyfile *kf, const KeytreeNode *nodes, size_t count, bool apply)
{
	size_t		next = 0;
	KeyfileResult result = KEYFILE_OK;

	/* each round makes progress, or it would be here for ever */
	for (int rounds = 0; result == KEYFILE_OK && next < count; rounds++)
	{
		check(rounds < 10000);
		result = keyfile_puncture_prepare(kf, nodes, count, &next, NULL);
		if (result == KEYFILE_OK && apply)
			result = keyfile_puncture_apply(kf, NULL);
		else if (result == KEYFILE_OK)
			return result;
	}
	return result;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t		kek[CRYPTO_KEY_BYTES];
	KeytreeNode nodes[4];
	Keyfile    *kf;

	snprintf(directory, sizeof(directory), "%s/keyfile_fuzz.XXXXXX",
			 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	check(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/a", directory);
	snprintf(other, sizeof(other), "%s/b", directory);
	atexit(remove_directory);

	check(get_kek(NULL, 1, kek));
	check(keyfile_create(path, &identity, kek, NULL) == KEYFILE_OK);
	seed_file("created");
	check(keyfile_open(path, NULL, 0, true, get_kek, NULL, &kf, NULL) ==
		  KEYFILE_OK);
	nodes[0] = keytree_subject(65536, 3);
	nodes[1] = keytree_subject(65537, -1);
	nodes[2] = keytree_subject(65538, -1);
	nodes[3] = keytree_expiry(3, 100);
	check(puncture(kf, nodes, 1, true) == KEYFILE_OK);
	seed_file("one");
	check(puncture(kf, nodes + 1, 2, false) == KEYFILE_OK);
	seed_file("unfinished");
	check(keyfile_recover(kf, NULL) == KEYFILE_OK);
	check(puncture(kf, nodes, 4, true) == KEYFILE_OK);
	seed_file("four");
	keyfile_close(kf);
	return 0;
}

static void
fix_tag(const KfKeys *keys, KeytreeNode node, uint8_t bytes[KF_RECORD])
{
	uint8_t		message[32 + KF_TAGGED] = {0};

	memcpy(message, keys->uuid, KEYFILE_UUID_BYTES);
	message[16] = node.tree;
	message[17] = node.level;
	message[18] = bytes[0];
	kf_put(message + 20, node.path, 8);
	memcpy(message + 32, bytes, KF_TAGGED);
	check(crypto_mac(keys->mac, message, sizeof(message), bytes + KF_TAGGED));
}

/* Where a record is: in the page's redo list, or after the headers. */
static uint8_t *
record_at(uint8_t *file, uint32_t records, int page, uint32_t index)
{
	uint8_t    *header = file + page * KF_PAGE;
	uint32_t	redo = (uint32_t) kf_get(header + 76, 4);

	for (uint32_t i = 0; i < redo && i < KF_REDO; i++)
		if (kf_get(header + 768 + i * 68, 4) == index)
			return header + 768 + i * 68 + 4;
	return index < records ? file + KF_HEADER_BYTES + index * KF_RECORD : NULL;
}

/* Tags, and wrapped seeds, of the record at a position and of all below it. */
static void
fix_records(const KfKeys *keys, uint8_t *file, uint32_t records, int page,
			uint8_t *bytes, KeytreeNode node, uint8_t *seen)
{
	KfRecord	record;
	uint8_t		seed[CRYPTO_KEY_BYTES] = {1};

	if (bytes == NULL || !kf_decode_record(bytes, node, &record))
		return;
	if (record.kind != KF_FAN_NODE &&
		(record.state[0] == KF_SEED || record.state[1] == KF_SEED))
		check(crypto_wrap(keys->wrap, seed, bytes + 8));
	fix_tag(keys, node, bytes);
	for (int i = 0; i < (record.kind == KF_FAN_NODE ? 16 : 2); i++)
	{
		uint32_t	index = record.kind == KF_FAN_NODE ?
			record.index[0] + (uint32_t) i : record.index[i];
		KeytreeNode child = {0, node.tree, 0};

		if (record.kind != KF_FAN_NODE && record.state[i] != KF_INNER)
			continue;
		if (node.level != KF_ROOT_LEVEL)
			child = keytree_child_node(node, i);
		if (index >= MAX_RECORDS || seen[index])
			continue;
		seen[index] = 1;
		fix_records(keys, file, records, page,
					record_at(file, records, page, index), child, seen);
	}
}

/* What no page can do without, and its MAC. */
static void
fix_file(uint8_t *file, size_t size, bool with_records)
{
	uint32_t	records = (uint32_t) ((size - KF_HEADER_BYTES) / KF_RECORD);
	uint8_t		kek[CRYPTO_KEY_BYTES];
	KfKeys		keys;

	check(get_kek(NULL, 1, kek) && kf_make_keys(identity.uuid, 1, kek, &keys));
	for (int page = 0; page < KF_HEADERS; page++)
	{
		uint8_t    *header = file + page * KF_PAGE;
		uint8_t		seen[MAX_RECORDS] = {0};
		uint8_t		sum[CRYPTO_TAG_BYTES] = {0};

		memcpy(header, KF_MAGIC, KF_MAGIC_BYTES);
		kf_put(header + 8, KF_VERSION, 4);
		kf_put(header + 12, 1, 4);
		memcpy(header + 16, identity.uuid, KEYFILE_UUID_BYTES);
		if (with_records)
		{
			if (kf_get(header + 68, 4) > records)
				kf_put(header + 68, records, 4);
			if (kf_get(header + 76, 4) > KF_REDO)
				kf_put(header + 76, KF_REDO, 4);
			for (int tree = 1; tree <= KF_TREES; tree++)
				fix_records(&keys, file, records, page,
							header + 96 + (tree - 1) * KF_RECORD,
							kf_root_position(tree), seen);
			for (uint32_t i = 0; i < MAX_RECORDS; i++)
			{
				const uint8_t *bytes = record_at(file, records, page, i);

				for (int b = 0; seen[i] && bytes != NULL && b < CRYPTO_TAG_BYTES; b++)
					sum[b] ^= bytes[KF_TAGGED + b];
			}
			memcpy(header + 80, sum, sizeof(sum));
		}
		check(crypto_hmac(keys.mac, CRYPTO_KEY_BYTES, header, 4064,
						  header + 4064));
	}
}

/* What a reader does. */
static void
use(Keyfile *kf)
{
	static const KeytreeNode places[] = {
		{65536, 1, 40}, {65537 * 16 + 3, 1, 41}, {1, 1, 1}, {0, 1, 0},
		{3 * 4096 + 100, 2, 16}, {0, 2, 16}, {UINT64_C(0xFFFFFFFFFF), 1, 40}
	};
	uint8_t		key[CRYPTO_KEY_BYTES];
	KeytreeSeed seed;
	KeyfileError err;
	KeyfileInfo info;
	uint16_t	mask;

	keyfile_info(kf, &info);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (keyfile_find(kf, places[i], &seed, &err) == KEYFILE_OK)
			check(keytree_covers(seed.node, places[i]) &&
				  err.result == KEYFILE_OK);
	(void) keyfile_derive(kf, 65538, 3, 0, key, &err);
	(void) keyfile_derive(kf, 65536, 4, 100, key, &err);
	(void) keyfile_token_key(kf, 1, 7, key, &err);
	(void) keyfile_living(kf, 65536, &mask, &err);
}

static void
change(Keyfile *kf, uint8_t mode)
{
	KeytreeNode nodes[4];
	KeytreeSeed seed;
	KeyfileResult result;

	nodes[0] = keytree_subject(65537, -1);
	nodes[1] = keytree_subject(65540, 9);
	nodes[2] = keytree_expiry(3, 101);
	nodes[3] = keytree_prefix(131072, 24);
	if ((mode & CHANGE_RESERVE) != 0)
		(void) keyfile_reserve_nodes(kf, nodes, 4, NULL);
	if ((mode & CHANGE_LEASE) != 0)
	{
		KeyfileLease lease = {.take_block = true};

		(void) keyfile_lease(kf, &lease, NULL);
	}
	if ((mode & CHANGE_PUNCTURE) != 0)
		for (int i = 0; i < 4; i++)
		{
			result = puncture(kf, nodes + i, 1, true);
			if (result == KEYFILE_OK)
				check(keyfile_find(kf, nodes[i], &seed, NULL) ==
					  KEYFILE_PUNCTURED);
		}
	if ((mode & CHANGE_REWRITE) != 0)
	{
		uint8_t		kek[CRYPTO_KEY_BYTES];
		KeyfileIdentity next = identity;
		Keyfile    *again;

		next.kek_version = 2;
		check(get_kek(NULL, 2, kek));
		result = keyfile_rewrite(kf, other, &next, kek, true, NULL, NULL);
		if (result == KEYFILE_OK)
		{
			check(keyfile_open(other, NULL, 0, false, get_kek, NULL, &again,
							   NULL) == KEYFILE_OK);
			check(keyfile_verify(again, NULL, NULL, NULL, NULL) == KEYFILE_OK);
			keyfile_close(again);
		}
		unlink(other);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Keyfile    *kf;
	KeyfileInfo info;
	KeyfileStats stats;
	uint8_t		mode;

	if (size < 1 || size > KF_HEADER_BYTES + 64 * KF_RECORD * 4)
		return 0;
	mode = data[0];
	data++;
	size--;
	if ((mode & FIX_HEADERS) != 0 && size >= KF_HEADER_BYTES)
	{
		uint8_t    *copy = malloc(size);

		check(copy != NULL);
		memcpy(copy, data, size);
		fix_file(copy, size, (mode & FIX_RECORDS) != 0);
		write_file(copy, size);
		free(copy);
	}
	else
		write_file(data, size);

	(void) keyfile_peek(path, &info, NULL);
	if (keyfile_open(path, NULL, 0, true, get_kek, NULL, &kf, NULL) !=
		KEYFILE_OK)
		return 0;
	if ((mode & RECOVER_FIRST) != 0)
		(void) keyfile_recover(kf, NULL);
	use(kf);
	(void) keyfile_verify(kf, &stats, NULL, NULL, NULL);
	change(kf, mode);
	use(kf);
	if (keyfile_recover(kf, NULL) == KEYFILE_OK &&
		keyfile_verify(kf, NULL, NULL, NULL, NULL) == KEYFILE_OK)
	{
		KeytreeNode node = keytree_subject(UINT64_C(0x1234567890), -1);
		KeytreeSeed seed;

		check(puncture(kf, &node, 1, true) == KEYFILE_OK);
		check(keyfile_find(kf, node, &seed, NULL) == KEYFILE_PUNCTURED);
		check(keyfile_verify(kf, NULL, NULL, NULL, NULL) == KEYFILE_OK);
	}
	keyfile_close(kf);
	return 0;
}
