/*
 * keyfile_rewrite.c
 *		Whole new keystore files: the first one, and compacted copies under
 *		another key-encryption key or another identity.
 *
 * A new file is written beside its place, fsynced, and renamed into place.
 * Until then it is of no account, and keyfile_recover() wipes what a crash
 * left of it.
 */
#include "keyfile_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUFFERED	1024		/* records written at once */

/* The file that is being written. */
typedef struct Target
{
	int			fd;
	char	   *path;			/* where it is written */
	KfKeys		keys;
	KfHeader	header;
	uint8_t		pages[KF_HEADER_BYTES];
	uint8_t		buffer[BUFFERED * KF_RECORD];
	uint32_t	buffered;		/* records in it; header.info.records counts
								 * them too */
} Target;

/* What becomes of a node in the new file. */
typedef struct Copied
{
	KfState		state;
	uint32_t	index;			/* inner */
	uint8_t		wrapped[CRYPTO_WRAPPED_BYTES];	/* seed */
} Copied;

typedef struct Copying
{
	Keyfile    *from;
	Target	   *to;
	bool		salvage;
	uint64_t	dropped;
	uint8_t		sum[CRYPTO_TAG_BYTES];	/* of the source, for comparison */
} Copying;

/* Begins a file; *out is NULL unless OK. */
static KeyfileResult
target_start(Target **out, const char *path, const KeyfileIdentity *identity,
			 const uint8_t kek[CRYPTO_KEY_BYTES], bool replace,
			 KeyfileError *err)
{
	Target	   *to;
	struct stat st;
	KeyfileResult result;

	*out = NULL;
	if (identity->kek_version == 0)
		return kf_error(err, KEYFILE_INVALID);
	if (!replace && lstat(path, &st) == 0)
		return kf_error(err, KEYFILE_EXISTS);
	if (!replace && errno != ENOENT)
		return kf_errno(err, errno);
	to = kf_secret_alloc(sizeof(*to));
	if (to == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	to->fd = -1;
	to->path = kf_new_path(path);
	if (to->path == NULL)
		result = kf_error(err, KEYFILE_NO_MEMORY);
	else if (!kf_make_keys(identity->uuid, identity->kek_version, kek,
						   &to->keys))
		result = kf_error(err, KEYFILE_NO_CRYPTO);
	else
		result = kf_discard(to->path, err);
	if (result == KEYFILE_OK)
		result = kf_create_file(to->path, &to->fd, err);
	if (result != KEYFILE_OK)
	{
		free(to->path);
		kf_secret_free(to, sizeof(*to));
		return result;
	}
	memcpy(to->header.info.uuid, identity->uuid, KEYFILE_UUID_BYTES);
	to->header.info.kek_version = identity->kek_version;
	to->header.info.system_identifier = identity->system_identifier;
	to->header.info.timeline = identity->timeline;
	to->header.info.database = identity->database;
	*out = to;
	return KEYFILE_OK;
}

/* Write the records that are buffered; they are fsynced with the header. */
static KeyfileResult
target_flush(Target *to, KeyfileError *err)
{
	uint32_t	first = to->header.info.records - to->buffered;
	KeyfileResult result = KEYFILE_OK;

	if (to->buffered > 0)
		result = kf_write(to->fd, kf_offset(first), to->buffer,
						  (size_t) to->buffered * KF_RECORD, err);
	to->buffered = 0;
	return result;
}

/* Append a record; its index. */
static KeyfileResult
target_append(Target *to, KeytreeNode node, const KfRecord *record,
			  uint32_t *index, KeyfileError *err)
{
	uint8_t    *bytes = to->buffer + (size_t) to->buffered * KF_RECORD;

	if (to->header.info.records == KEYFILE_NO_RECORD)
		return kf_error(err, KEYFILE_FULL);
	if (!kf_encode_record(&to->keys, node, record, bytes))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	for (int i = 0; i < CRYPTO_TAG_BYTES; i++)
		to->header.sum[i] ^= bytes[KF_TAGGED + i];
	*index = to->header.info.records++;
	to->buffered++;
	return to->buffered < BUFFERED ? KEYFILE_OK : target_flush(to, err);
}

static KeyfileResult
target_root(Target *to, int tree, const Copied *root, KeyfileError *err)
{
	KfRecord	record = {0};

	record.kind = KF_BINARY;
	record.state[0] = (uint8_t) root->state;
	record.index[0] = root->index;
	memcpy(record.wrapped, root->wrapped, sizeof(record.wrapped));
	if (!kf_encode_record(&to->keys, kf_root_position(tree), &record,
						  to->header.root[tree - 1]))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	return KEYFILE_OK;
}

/*
 * Finish the file and move it to path.  An fsync that fails here fails the
 * whole: nothing depends on the file yet.
 */
static KeyfileResult
target_finish(Target *to, const char *path, KeyfileError *err)
{
	KeyfileResult result = target_flush(to, err);

	if (result != KEYFILE_OK)
		return result;
	if (!kf_encode_header(&to->keys, &to->header, to->pages))
		return kf_error(err, KEYFILE_NO_CRYPTO);
	memcpy(to->pages + KF_PAGE, to->pages, KF_PAGE);
	result = kf_write(to->fd, 0, to->pages, KF_HEADER_BYTES, err);
	if (result == KEYFILE_OK)
		result = kf_sync(to->fd, err);
	if (result == KEYFILE_OK)
		result = kf_install(to->path, path, err);
	return result;
}

/* Free it all; on failure wipe what was written, as far as that works. */
static void
target_end(Target *to, KeyfileResult result)
{
	if (to->fd >= 0)
		close(to->fd);
	if (result != KEYFILE_OK)
		(void) kf_discard(to->path, NULL);
	free(to->path);
	kf_secret_free(to, sizeof(*to));
}

KeyfileResult
keyfile_create(const char *path, const KeyfileIdentity *identity,
			   const uint8_t kek[CRYPTO_KEY_BYTES], KeyfileError *err)
{
	Target	   *to;
	struct timespec now;
	uint8_t		seed[CRYPTO_KEY_BYTES];
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	result = target_start(&to, path, identity, kek, false, err);
	if (to == NULL)
		return result;
	clock_gettime(CLOCK_REALTIME, &now);
	to->header.info.created = (int64_t) now.tv_sec * 1000000 +
		now.tv_nsec / 1000;
	to->header.info.generation = 1;
	to->header.info.next_block = 1;
	for (int tree = 1; result == KEYFILE_OK && tree <= KF_TREES; tree++)
	{
		Copied		root;

		memset(&root, 0, sizeof(root));
		root.state = KF_SEED;
		if (!crypto_random(seed, sizeof(seed)) ||
			!crypto_wrap(to->keys.wrap, seed, root.wrapped))
			result = kf_error(err, KEYFILE_NO_CRYPTO);
		else
			result = target_root(to, tree, &root, err);
	}
	crypto_wipe(seed, sizeof(seed));
	if (result == KEYFILE_OK)
		result = target_finish(to, path, err);
	target_end(to, result);
	return result;
}

/* A seed under the new key. */
static KeyfileResult
copy_seed(Copying *copying, const KfStep *step,
		  uint8_t wrapped[CRYPTO_WRAPPED_BYTES], KeyfileError *err)
{
	uint8_t		seed[CRYPTO_KEY_BYTES];
	KeyfileResult result = KEYFILE_OK;

	if (!crypto_unwrap(copying->from->keys.wrap, step->record.wrapped, seed))
		return kf_damaged(err, step->index, step->node);
	if (!crypto_wrap(copying->to->keys.wrap, seed, wrapped))
		result = kf_error(err, KEYFILE_NO_CRYPTO);
	crypto_wipe(seed, sizeof(seed));
	return result;
}

static KeyfileResult copy_below(Copying *copying, uint32_t index,
								KeytreeNode node, Copied *copied,
								KeyfileError *err);

/* A fan: its leaves in a row, then the fan node. */
static KeyfileResult
copy_fan(Copying *copying, const KfStep *fan, Copied *copied,
		 KeyfileError *err)
{
	KfRecord	leaves[KEYTREE_CATEGORIES];
	KfRecord	record = {0};
	bool		lives = false;
	KeyfileResult result;
	uint32_t	index;

	for (int c = 0; c < KEYTREE_CATEGORIES; c++)
	{
		Copied		leaf;

		result = copy_below(copying, fan->record.index[0] + (uint32_t) c,
							keytree_child_node(fan->node, c), &leaf, err);
		if (result != KEYFILE_OK)
			return result;
		memset(&leaves[c], 0, sizeof(leaves[c]));
		leaves[c].kind = KF_FAN_LEAF;
		leaves[c].state[0] = (uint8_t) leaf.state;
		memcpy(leaves[c].wrapped, leaf.wrapped, sizeof(leaf.wrapped));
		lives = lives || leaf.state == KF_SEED;
	}
	if (!lives)
		return KEYFILE_OK;
	record.kind = KF_FAN_NODE;
	for (int c = 0; c < KEYTREE_CATEGORIES; c++)
	{
		result = target_append(copying->to, keytree_child_node(fan->node, c),
							   &leaves[c], &index, err);
		if (result != KEYFILE_OK)
			return result;
		if (c == 0)
			record.index[0] = index;
	}
	copied->state = KF_INNER;
	return target_append(copying->to, fan->node, &record, &copied->index,
						 err);
}

/*
 * Copy a record and all below it; children go before their parent.  What has
 * no seed left becomes a hole.
 */
static KeyfileResult
copy_below(Copying *copying, uint32_t index, KeytreeNode node,
		   Copied *copied, KeyfileError *err)
{
	KfStep		step;
	KfRecord	record = {0};
	int			children;
	KeyfileResult result;

	memset(copied, 0, sizeof(*copied));
	copied->state = KF_HOLE;
	result = kf_load_checked(copying->from, NULL, index, node, &step, err);
	if (result == KEYFILE_DAMAGED && copying->salvage)
	{
		copying->dropped++;
		return kf_error(err, KEYFILE_OK);
	}
	if (result != KEYFILE_OK)
		return result;
	if (index != KEYFILE_NO_RECORD)
		for (int i = 0; i < CRYPTO_TAG_BYTES; i++)
			copying->sum[i] ^= step.bytes[KF_TAGGED + i];
	if (step.record.kind == KF_FAN_NODE)
		return copy_fan(copying, &step, copied, err);

	record.kind = KF_BINARY;
	children = step.record.kind == KF_FAN_LEAF ||
		node.level == KF_ROOT_LEVEL ? 1 : 2;
	for (int i = 0; i < children; i++)
	{
		KeytreeNode child = {0, node.tree, 0};
		Copied		below;

		if (step.record.state[i] == KF_SEED)
		{
			record.state[i] = KF_SEED;
			result = copy_seed(copying, &step, record.wrapped, err);
		}
		else if (step.record.state[i] == KF_INNER)
		{
			if (node.level != KF_ROOT_LEVEL)
				child = keytree_child_node(node, i);
			result = copy_below(copying, step.record.index[i], child, &below,
								err);
			record.state[i] = (uint8_t) below.state;
			record.index[i] = below.index;
		}
		if (result != KEYFILE_OK)
			return result;
	}
	if (children == 1)
	{
		/* a fan leaf or a root: its owner writes it */
		copied->state = (KfState) record.state[0];
		copied->index = record.index[0];
		memcpy(copied->wrapped, record.wrapped, sizeof(record.wrapped));
		return KEYFILE_OK;
	}
	if (record.state[0] == KF_HOLE && record.state[1] == KF_HOLE)
		return KEYFILE_OK;
	copied->state = KF_INNER;
	return target_append(copying->to, node, &record, &copied->index, err);
}

static KeyfileResult
copy_trees(Copying *copying, KeyfileError *err)
{
	for (int tree = 1; tree <= KF_TREES; tree++)
	{
		Copied		root;
		KeyfileResult result;

		result = copy_below(copying, KEYFILE_NO_RECORD,
							kf_root_position(tree), &root, err);
		if (result == KEYFILE_OK)
			result = target_root(copying->to, tree, &root, err);
		if (result != KEYFILE_OK)
			return result;
	}
	/* authentic, but not of one time: not to be laundered */
	if (!copying->salvage &&
		!crypto_equal(copying->sum, copying->from->header.sum,
					  sizeof(copying->sum)))
		return kf_error(err, KEYFILE_ROLLED_BACK);
	return KEYFILE_OK;
}

KeyfileResult
keyfile_rewrite(Keyfile *kf, const char *path,
				const KeyfileIdentity *identity,
				const uint8_t kek[CRYPTO_KEY_BYTES],
				bool salvage, uint64_t *dropped, KeyfileError *err)
{
	bool		replace = strcmp(path, kf->path) == 0;
	Copying		copying;
	Target	   *to;
	KeyfileInfo *info;
	struct stat st;
	KeyfileResult result;

	kf_error(err, KEYFILE_OK);
	if (dropped != NULL)
		*dropped = 0;
	if (!replace && memcmp(identity->uuid, kf->keys.uuid,
						   KEYFILE_UUID_BYTES) == 0)
		return kf_error(err, KEYFILE_INVALID);
	result = keyfile_refresh(kf, err);
	if (result != KEYFILE_OK)
		return result;
	result = target_start(&to, path, identity, kek, replace, err);
	if (to == NULL)
		return result;

	info = &to->header.info;
	info->generation = kf->header.info.generation + 1;
	info->punctures = kf->header.info.punctures;
	info->next_block = kf->header.info.next_block;
	info->token_epoch = kf->header.info.token_epoch;
	info->created = kf->header.info.created;
	if (kf->header.info.inode != 0 && !keyfile_is_copy(kf) &&
		fstat(to->fd, &st) == 0)
		info->inode = (uint64_t) st.st_ino;
	else
		info->inode = kf->header.info.inode;

	memset(&copying, 0, sizeof(copying));
	copying.from = kf;
	copying.to = to;
	copying.salvage = salvage;
	result = copy_trees(&copying, err);
	if (result == KEYFILE_OK)
		result = target_finish(to, path, err);
	target_end(to, result);
	if (dropped != NULL)
		*dropped = copying.dropped;
	return result;
}

KeyfileResult
keyfile_destroy(Keyfile *kf, KeyfileError *err)
{
	struct stat st;

	kf_error(err, KEYFILE_OK);
	if (!kf->writable)
		return kf_error(err, KEYFILE_READ_ONLY);
	if (fstat(kf->fd, &st) != 0)
		return kf_errno(err, errno);
	if (st.st_nlink > 0)
		return kf_error(err, KEYFILE_INVALID);
	keyfile_drop_cache(kf);
	return kf_zero(kf->fd, 0, st.st_size, err);
}

KeyfileResult
keyfile_discard(const char *path, KeyfileError *err)
{
	char	   *leftover = kf_new_path(path);
	KeyfileResult result;

	if (leftover == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	result = kf_discard(leftover, err);
	free(leftover);
	return result == KEYFILE_OK ? kf_discard(path, err) : result;
}
