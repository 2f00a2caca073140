/*
 * keyfile_internal.h
 *		What the parts of keyfile share: the format and the handle.
 *
 *	 keyfile_io.c		system calls, their failures and their injection
 *	 keyfile_format.c	bytes to structures and back, tags
 *	 keyfile.c			opening, reading, deriving
 *	 keyfile_verify.c	checking the whole file
 *	 keyfile_puncture.c	planning a change: which records become what
 *	 keyfile_change.c	carrying it out, finishing it, leases
 *	 keyfile_rewrite.c	whole new files
 *
 * doc/formats.md is the authority on the format.
 */
#ifndef GDPR_KEYFILE_INTERNAL_H
#define GDPR_KEYFILE_INTERNAL_H

/* pread, O_CLOEXEC, MADV_DONTDUMP and their like, before any system header */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "keyfile.h"

#include <string.h>
#include <sys/stat.h>

#define KF_MAGIC			"GDPRKEY1"
#define KF_MAGIC_BYTES		8
#define KF_VERSION			1
#define KF_PAGE				4096
#define KF_HEADERS			2
#define KF_HEADER_BYTES		(KF_HEADERS * KF_PAGE)
#define KF_RECORD			64
#define KF_TAGGED			48	/* bytes of a record that its tag covers */
#define KF_REDO				48
#define KF_ROOT_LEVEL		255 /* of the records that hold the roots */
#define KF_TREES			2
#define KF_SUFFIX			".new"	/* of a file that is being written */

/* the root's record, a binary node for each level, a fan node, a fan leaf */
#define KF_ROUTE			(KEYTREE_NUMBER_LEVEL + 3)

/* a fan in records */
#define KF_FAN				(1 + KEYTREE_CATEGORIES)

typedef enum KfKind
{
	KF_FREE = 0, KF_BINARY = 1, KF_FAN_NODE = 2, KF_FAN_LEAF = 3
} KfKind;

typedef enum KfState
{
	KF_HOLE = 0, KF_SEED = 1, KF_INNER = 2
} KfState;

/* A record, decoded.  Its position is not in it. */
typedef struct KfRecord
{
	uint8_t		kind;
	uint8_t		state[2];		/* of a fan leaf and a root: [0] only */
	uint32_t	index[2];		/* of inner children; fan: [0], its leaves */
	uint8_t		wrapped[CRYPTO_WRAPPED_BYTES];	/* of the child that is a seed */
} KfRecord;

typedef struct KfHeader
{
	KeyfileInfo info;			/* bytes is not filled in */
	uint8_t		sum[CRYPTO_TAG_BYTES];
	uint8_t		root[KF_TREES][KF_RECORD];
	uint32_t	redo_index[KF_REDO];
	uint8_t		redo_record[KF_REDO][KF_RECORD];
} KfHeader;

typedef struct KfKeys
{
	uint8_t		uuid[KEYFILE_UUID_BYTES];
	uint32_t	kek_version;
	uint8_t		wrap[CRYPTO_KEY_BYTES];
	uint8_t		mac[CRYPTO_KEY_BYTES];
} KfKeys;

#define KF_CACHE_SLOTS		1024	/* 4 MB: every puncture is spread over many */

typedef struct KfCachePage
{
	uint32_t	number;			/* page of the record area, + 1; 0: empty */
	uint32_t	length;			/* bytes that the file had there */
	uint8_t		data[KF_PAGE];	/* with the header's redo entries */
} KfCachePage;

struct Keyfile
{
	int			fd;
	bool		writable;
	bool		settled;		/* both headers are the same */
	bool		pending;		/* this handle's change awaits apply */
	bool		one_valid;		/* of the headers, the other is damaged */
	int			page;			/* the header that counts */
	char	   *path;
	KfCachePage *cache;
	uint32_t	cached;			/* slots in use */
	KfKeys		keys;
	KfHeader	header;
	uint8_t		pages[KF_HEADER_BYTES]; /* as last read or written */
};

/* A record on the way from the root to a node. */
typedef struct KfStep
{
	KeytreeNode node;			/* position; level KF_ROOT_LEVEL: the root's */
	uint32_t	index;			/* KEYFILE_NO_RECORD: in the header */
	uint8_t		bytes[KF_RECORD];
	KfRecord	record;
} KfStep;

typedef struct KfRoute
{
	int			length;
	KfStep		step[KF_ROUTE];
	/* what the last step says */
	KfState		state;
	int			slot;			/* which of its children */
	KeytreeNode at;				/* that child: the node asked for, or above */
} KfRoute;

/* A change that is being put together; see keyfile_puncture.c. */
typedef struct KfPlan
{
	KfHeader	next;			/* header to be; its redo: changes in place */
	uint8_t    *fresh;			/* new records, after those in use */
	uint32_t	fresh_used;
	uint32_t	fresh_size;
	uint32_t	spare[64];		/* freed again before they were written */
	uint32_t	spares;
	bool		changed;
} KfPlan;

static inline uint64_t
kf_get(const uint8_t *from, int bytes)
{
	uint64_t	value = 0;

	while (bytes-- > 0)
		value = value << 8 | *from++;
	return value;
}

static inline void
kf_put(uint8_t *to, uint64_t value, int bytes)
{
	while (bytes-- > 0)
	{
		to[bytes] = (uint8_t) value;
		value >>= 8;
	}
}

/* Fill *err, which may be NULL, and hand the result on. */
static inline KeyfileResult
kf_error(KeyfileError *err, KeyfileResult result)
{
	if (err != NULL)
	{
		memset(err, 0, sizeof(*err));
		err->result = result;
	}
	return result;
}

static inline int64_t
kf_offset(uint32_t index)
{
	return KF_HEADER_BYTES + (int64_t) index * KF_RECORD;
}

/* keyfile_io.c */
typedef struct KfWrite
{
	int64_t		offset;
	const void *buf;
	size_t		len;
} KfWrite;

extern KeyfileResult kf_errno(KeyfileError *err, int saved_errno);
extern KeyfileResult kf_open_file(const char *path, int flags, int *fd,
								  struct stat *st, KeyfileError *err);
extern KeyfileResult kf_create_file(const char *path, int *fd,
									KeyfileError *err);
extern KeyfileResult kf_read(int fd, int64_t offset, void *buf, size_t len,
							 size_t *got, KeyfileError *err);
extern KeyfileResult kf_write(int fd, int64_t offset, const void *buf,
							  size_t len, KeyfileError *err);
extern KeyfileResult kf_sync(int fd, KeyfileError *err);
extern KeyfileResult kf_commit(int fd, const KfWrite *writes, size_t count,
							   KeyfileError *err);
extern KeyfileResult kf_zero(int fd, int64_t from, int64_t to,
							 KeyfileError *err);
extern KeyfileResult kf_discard(const char *path, KeyfileError *err);
extern KeyfileResult kf_install(const char *from, const char *to,
								KeyfileError *err);
extern char *kf_new_path(const char *path);
extern void *kf_secret_alloc(size_t size);
extern void kf_secret_free(void *block, size_t size);

/* keyfile_format.c */
extern bool kf_make_keys(const uint8_t uuid[KEYFILE_UUID_BYTES],
						 uint32_t kek_version,
						 const uint8_t kek[CRYPTO_KEY_BYTES], KfKeys *keys);
extern void kf_decode_header(const uint8_t page[KF_PAGE], KfHeader *header);
extern bool kf_encode_header(const KfKeys *keys, const KfHeader *header,
							 uint8_t page[KF_PAGE]);
extern bool kf_check_header(const KfKeys *keys, const uint8_t page[KF_PAGE]);
extern bool kf_decode_record(const uint8_t bytes[KF_RECORD],
							 KeytreeNode node, KfRecord *record);
extern bool kf_encode_record(const KfKeys *keys, KeytreeNode node,
							 const KfRecord *record,
							 uint8_t bytes[KF_RECORD]);
extern bool kf_check_record(const KfKeys *keys, KeytreeNode node,
							const uint8_t bytes[KF_RECORD]);
extern bool kf_is_zero(const uint8_t *buf, size_t len);
extern KeytreeNode kf_root_position(int tree);
extern KeytreeNode kf_covered(KeytreeNode position);

/* keyfile.c */
extern KeyfileResult kf_damaged(KeyfileError *err, uint32_t index,
								KeytreeNode position);
extern KeyfileResult kf_read_headers(Keyfile *kf, KeyfileError *err);
extern KeyfileResult kf_read_record(Keyfile *kf, uint32_t index,
									uint8_t bytes[KF_RECORD],
									KeyfileError *err);
extern KeyfileResult kf_load(Keyfile *kf, KfPlan *plan, uint32_t index,
							 KeytreeNode position, KfStep *step,
							 KeyfileError *err);
extern KeyfileResult kf_load_checked(Keyfile *kf, KfPlan *plan, uint32_t index,
									 KeytreeNode position, KfStep *step,
									 KeyfileError *err);
extern KeyfileResult kf_walk(Keyfile *kf, KfPlan *plan, KeytreeNode node,
							 KfRoute *route, KeyfileError *err);

/* keyfile_puncture.c */
extern void kf_plan_start(const Keyfile *kf, KfPlan *plan);
extern void kf_plan_end(KfPlan *plan);
extern bool kf_plan_record(const Keyfile *kf, const KfPlan *plan,
						   uint32_t index, uint8_t bytes[KF_RECORD]);
extern KeyfileResult kf_plan_node(Keyfile *kf, KfPlan *plan, KeytreeNode node,
								  bool *full, KeyfileError *err);

#endif							/* GDPR_KEYFILE_INTERNAL_H */
