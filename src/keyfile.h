/*
 * keyfile.h
 *		The keystore file: key trees with holes, on disk (doc/formats.md).
 *
 * No PostgreSQL here, no locks, no cleanup by longjmp: functions return a
 * KeyfileResult and fill *err (which may be NULL), callers lock and report.
 *
 * A handle belongs to one process and one thread (after fork() the child
 * opens its own) and holds one file descriptor, the wrap and MAC keys (in
 * memory that is locked and not dumped, as far as the system allows) and a
 * bounded cache of pages of the file, whose seeds are wrapped.
 *
 * Who may call what, when several processes have the file open:
 *
 *	 shared lock ("readers")  keyfile_refresh, _find, _derive, _token_key,
 *							  _living, _verify
 *	 writer lock (one at a time; readers go on)
 *							  keyfile_puncture_prepare, _lease,
 *							  _reserve_nodes, _rewrite
 *	 writer lock + exclusive lock (no readers)
 *							  keyfile_puncture_apply, _recover, _destroy
 *	 none					  everything else
 *
 * Readers.  Inside the shared lock and before the first read, a reader whose
 * keyfile_generation() is lower than the one that the writers announced last
 * calls keyfile_refresh().  (A lease moves the generation too but need not be
 * announced: it changes no key.)  A reader never writes.  KEYFILE_DAMAGED
 * from a read that followed these rules is damage on the disk; to be sure,
 * keyfile_drop_cache() and read once more.
 *
 * Writers.  A change is
 *
 *		set "recovery needed" in shared memory
 *		size_t next = 0;
 *		while (next < count)
 *			keyfile_puncture_prepare(kf, nodes, count, &next, ..)
 *			[exclusive lock]
 *			keyfile_puncture_apply(kf, ..)
 *			announce keyfile_generation(kf)
 *			[release]
 *		clear "recovery needed"
 *
 * and whoever finds "recovery needed" set when taking the writer lock calls
 * keyfile_recover() first, as does whoever opens the file first after a
 * start of the server.  So an error, a crash or a kill anywhere in between
 * leaves the state before or after, and the next writer finishes it.  Every
 * change starts by reading the header again, so a writer's handle may be old.
 */
#ifndef GDPR_KEYFILE_H
#define GDPR_KEYFILE_H

#include "keytree.h"

#define KEYFILE_UUID_BYTES	16
#define KEYFILE_NAME_BYTES	64	/* room for keyfile_name() */

typedef struct Keyfile Keyfile;

typedef enum KeyfileResult
{
	KEYFILE_OK = 0,
	KEYFILE_PUNCTURED,			/* no error: the key was destroyed */

	/* the file as such */
	KEYFILE_MISSING,			/* no such file, or no such directory */
	KEYFILE_EXISTS,				/* create, fork: there is a file already */
	KEYFILE_NOT_REGULAR,		/* symbolic link, directory, device ... */
	KEYFILE_WRONG_OWNER,		/* not owned by the effective user */
	KEYFILE_WRONG_MODE,			/* group or others have some permission */
	KEYFILE_READ_ONLY,			/* read-only file system or handle */
	KEYFILE_NO_SPACE,			/* ENOSPC, EDQUOT, EFBIG */
	KEYFILE_IO,					/* see saved_errno */
	KEYFILE_REPLACED,			/* the open file is no longer the one at the
								 * path: close, and open again */

	/* what is in it */
	KEYFILE_TRUNCATED,			/* shorter than its header says, or than a
								 * header */
	KEYFILE_BAD_MAGIC,			/* no keystore */
	KEYFILE_BAD_VERSION,		/* of a later format; see version */
	KEYFILE_FOREIGN,			/* of another uuid; see uuid */
	KEYFILE_NO_KEK,				/* the getter returned false; see version */
	KEYFILE_WRONG_KEK,			/* nothing authenticates under this KEK */
	KEYFILE_DAMAGED_HEADER,		/* both headers; the KEK is right */
	KEYFILE_DAMAGED,			/* a record: see record and node */
	KEYFILE_ROLLED_BACK,		/* valid parts that are not of one time, or an
								 * older file than expected (generation) */

	/* the request */
	KEYFILE_PENDING,			/* an unfinished change: keyfile_recover() */
	KEYFILE_NO_NUMBERS,			/* all blocks are leased */
	KEYFILE_FULL,				/* 2^32 - 1 records */
	KEYFILE_INVALID,			/* an argument is out of range */
	KEYFILE_NO_MEMORY,
	KEYFILE_NO_CRYPTO			/* OpenSSL failed */
} KeyfileResult;

#define KEYFILE_NO_RECORD	UINT32_C(0xFFFFFFFF)

/* Only what belongs to the result is set, the rest is zero. */
typedef struct KeyfileError
{
	KeyfileResult result;
	int			saved_errno;	/* 0: no system call failed */
	uint32_t	record;			/* DAMAGED: its index; KEYFILE_NO_RECORD: the
								 * root of node.tree in the header */
	KeytreeNode node;			/* DAMAGED: everything below this node is
								 * affected; tree 0: nothing that lives */
	uint64_t	generation;		/* ROLLED_BACK: of the file; 0: mixed times */
	uint32_t	version;		/* BAD_VERSION: format; *_KEK: KEK version */
	uint8_t		uuid[KEYFILE_UUID_BYTES];	/* FOREIGN: what it is */
} KeyfileError;

/* What the header says; from keyfile_peek() it is not authenticated. */
typedef struct KeyfileInfo
{
	uint8_t		uuid[KEYFILE_UUID_BYTES];
	uint32_t	kek_version;
	uint64_t	generation;
	uint64_t	punctures;		/* so far */
	uint64_t	system_identifier;	/* owner */
	uint32_t	timeline;		/* at the last lease */
	uint32_t	database;		/* owner */
	uint32_t	next_block;
	uint32_t	records;		/* in use, freed ones included */
	uint32_t	token_epoch;	/* newest; 0: none yet */
	uint32_t	redo;			/* redo entries in the header */
	int64_t		created;		/* microseconds since 1970 */
	uint64_t	inode;			/* of the file at the last lease; 0: none yet */
	uint64_t	bytes;			/* size of the file, reserve included */
} KeyfileInfo;

/* What keyfile_verify() counted. */
typedef struct KeyfileStats
{
	uint64_t	inner;			/* binary and fan nodes */
	uint64_t	seeds;			/* stored seeds: what lives */
	uint64_t	holes;			/* maximal punctured nodes */
	uint64_t	fans;			/* numbers punctured by category */
	uint64_t	freed;			/* empty records; keyfile_rewrite() drops them */
	uint64_t	damaged;		/* records that do not authenticate */
	bool		header_damaged; /* one of the two; keyfile_recover() heals it */
	bool		pending;		/* the change in the header was not finished */
} KeyfileStats;

/* Whose file it is, and under which KEK version; for create and rewrite. */
typedef struct KeyfileIdentity
{
	uint8_t		uuid[KEYFILE_UUID_BYTES];
	uint32_t	kek_version;	/* at least 1 */
	uint64_t	system_identifier;
	uint32_t	timeline;
	uint32_t	database;
} KeyfileIdentity;

/*
 * Gives the key-encryption key of a version; false: there is none.  It must
 * return (no longjmp); the caller of it wipes its own copy.
 */
typedef bool (*KeyfileKekGetter) (void *arg, uint32_t version,
								  uint8_t kek[CRYPTO_KEY_BYTES]);

/* Names of results, for debugging output: "KEYFILE_OK" ... */
extern const char *keyfile_result_name(KeyfileResult result);

/* "<uuid>.keystore" into buf of KEYFILE_NAME_BYTES. */
extern void keyfile_name(const uint8_t uuid[KEYFILE_UUID_BYTES], char *buf);

/*
 * Is path a directory (symbolic links allowed), owned by the effective user,
 * with nothing for group and others?  MISSING, NOT_REGULAR, WRONG_OWNER,
 * WRONG_MODE, IO.  Where it may lie is the caller's question.
 */
extern KeyfileResult keyfile_check_directory(const char *path,
											 KeyfileError *err);

/*
 * The header without a KEK: which keystore is this, and which KEK does it
 * want?  Nothing of it is to be trusted before keyfile_open() succeeded.
 */
extern KeyfileResult keyfile_peek(const char *path, KeyfileInfo *info,
								  KeyfileError *err);

/*
 * A new keystore with two fresh roots.  The caller holds the directory's
 * lock; an existing file at path is KEYFILE_EXISTS and untouched.  When it
 * returns OK, file and directory entry are on disk.
 */
extern KeyfileResult keyfile_create(const char *path,
									const KeyfileIdentity *identity,
									const uint8_t kek[CRYPTO_KEY_BYTES],
									KeyfileError *err);

/*
 * Opens, and checks everything but the records (see keyfile_verify()).
 * uuid may be NULL: any.  min_generation: ROLLED_BACK below it (0: any).
 * get_kek is called once, or twice if the two headers name two versions.
 * *kf is NULL unless the result is OK.
 *
 * A handle that is not writable opens the file read-only.
 */
extern KeyfileResult keyfile_open(const char *path,
								  const uint8_t *uuid,
								  uint64_t min_generation,
								  bool writable,
								  KeyfileKekGetter get_kek, void *arg,
								  Keyfile **kf, KeyfileError *err);

/* Wipes and frees; NULL is allowed. */
extern void keyfile_close(Keyfile *kf);

/* Reads the header again; drops the page cache if the generation moved. */
extern KeyfileResult keyfile_refresh(Keyfile *kf, KeyfileError *err);

/* Drops and wipes the page cache; cheap when it is empty. */
extern void keyfile_drop_cache(Keyfile *kf);

/* As of open, the last refresh or this handle's own change. */
extern uint64_t keyfile_generation(const Keyfile *kf);
extern void keyfile_info(const Keyfile *kf, KeyfileInfo *info);

/*
 * The stored seed at or above node: what a caller may cache, for as long as
 * the generation stands.  PUNCTURED (also if only parts of what is below the
 * node live), DAMAGED, TRUNCATED, IO.  The caller wipes *seed (with
 * crypto_wipe); unless OK it is zeroed.
 */
extern KeyfileResult keyfile_find(Keyfile *kf, KeytreeNode node,
								  KeytreeSeed *seed, KeyfileError *err);

/* The key of a segment: two finds, two descents.  Unless OK, key is zeroed. */
extern KeyfileResult keyfile_derive(Keyfile *kf, uint64_t number,
									int category, int month,
									uint8_t key[CRYPTO_KEY_BYTES],
									KeyfileError *err);

/* The key of a token domain.  Unless OK, key is zeroed. */
extern KeyfileResult keyfile_token_key(Keyfile *kf, uint32_t epoch,
									   uint32_t domain,
									   uint8_t key[CRYPTO_KEY_BYTES],
									   KeyfileError *err);

/* Which categories of a number live: bit c of *mask; 0xFFFF all, 0 none. */
extern KeyfileResult keyfile_living(Keyfile *kf, uint64_t number,
									uint16_t *mask, KeyfileError *err);

/*
 * Leaves those of *count numbers and leaves, in the order of keytree_compare(),
 * of which something lives.  What is damaged does not derive: it is left out.
 */
extern KeyfileResult keyfile_keep_living(Keyfile *kf, KeytreeNode *nodes,
										 size_t *count, KeyfileError *err);

/*
 * Reads and authenticates every record and compares their sum.  DAMAGED with
 * the first damaged record (report, which may be NULL, is called for each),
 * ROLLED_BACK, TRUNCATED, IO.  stats may be NULL.  About a microsecond for
 * each record.
 */
typedef void (*KeyfileReport) (void *arg, const KeyfileError *damage);

extern KeyfileResult keyfile_verify(Keyfile *kf, KeyfileStats *stats,
									KeyfileReport report, void *arg,
									KeyfileError *err);

/*
 * Makes sure that these nodes can be punctured without needing disk space,
 * for callers that must not fail later.  Fsynced.  Sorted with
 * keytree_compare() they share their ways down and need far less.
 */
extern KeyfileResult keyfile_reserve_nodes(Keyfile *kf,
										   const KeytreeNode *nodes,
										   size_t count, KeyfileError *err);

/*
 * Punctures nodes[*next ...]: as many as fit into one change, which is then
 * on disk (it has happened, whatever follows), and moves *next behind them.
 * A node below which more than 48 records must be wiped takes several
 * changes: *next stays at it until it is done.  One number, with or without
 * categories punctured before, is always one change.  Nodes that are
 * punctured already cost nothing; if nothing is left to do, nothing is
 * written.  Sorting a large batch with keytree_compare() makes it cheaper.
 *
 * DAMAGED: the way to nodes[*next] or what is below it is damaged, nothing
 * was changed; the caller may go on with *next + 1.  (A rewrite with salvage
 * drops what is damaged; then it can be punctured.)  PENDING: keyfile_recover() first.  After
 * any other failure it is open whether the change has happened:
 * keyfile_recover() settles it.
 */
extern KeyfileResult keyfile_puncture_prepare(Keyfile *kf,
											  const KeytreeNode *nodes,
											  size_t count, size_t *next,
											  KeyfileError *err);

/*
 * Destroys the old seeds on disk: overwrites the changed records and the
 * other header, and fsyncs.  Nothing to do, nothing done.  On failure
 * keyfile_recover() does the same again.
 */
extern KeyfileResult keyfile_puncture_apply(Keyfile *kf, KeyfileError *err);

/*
 * Finishes whatever was left unfinished: overwrites the changed records once
 * more, makes both headers the same, zeroes everything after the last record
 * in use, removes the remains of an interrupted keyfile_rewrite() to the same
 * path.  Always writes and fsyncs; safe to repeat.
 */
extern KeyfileResult keyfile_recover(Keyfile *kf, KeyfileError *err);

/*
 * Changes of the header alone.  When it returns OK, both headers are on disk:
 * only then may a block or an epoch be used.
 */
typedef struct KeyfileLease
{
	bool		take_block;
	uint32_t	min_block;		/* take none below; 0 or 1: the next one */
	uint32_t	block;			/* out: numbers block << 16 ... + 65535 */
	uint64_t	system_identifier;	/* owner from now on */
	uint32_t	timeline;
	uint32_t	database;
	uint32_t	token_epoch;	/* newest from now on, never lower than
								 * before; 0: as before */
} KeyfileLease;

/*
 * Is this file a copy of the one that the last lease was taken from?  Then
 * another server may take the same blocks from that one.
 */
extern bool keyfile_is_copy(const Keyfile *kf);

extern KeyfileResult keyfile_lease(Keyfile *kf, KeyfileLease *lease,
								   KeyfileError *err);

/*
 * Writes all that lives into a new file under a new KEK, compacted, with the
 * next generation, and moves it to path.  To rotate the KEK: the same path
 * and uuid; then announce a new generation, reopen everywhere and
 * keyfile_destroy() the old handle.  To fork: another path and uuid; there
 * must be no file at path.  A crash leaves the old file or the new one, and
 * after an error the new one may be there (see keyfile_peek()).
 *
 * Refuses a file that keyfile_verify() would refuse (but leaves rubbish in
 * freed records behind), unless salvage: then what is damaged becomes holes,
 * for good.  dropped (may be NULL) counts them.
 */
extern KeyfileResult keyfile_rewrite(Keyfile *kf, const char *path,
									 const KeyfileIdentity *identity,
									 const uint8_t kek[CRYPTO_KEY_BYTES],
									 bool salvage, uint64_t *dropped,
									 KeyfileError *err);

/*
 * Overwrites the open file (not what is at its path by now) with zeros and
 * fsyncs.  Refused with INVALID while a path still leads to it.
 */
extern KeyfileResult keyfile_destroy(Keyfile *kf, KeyfileError *err);

/*
 * Overwrite and remove the keystore at path, which nobody has open, and what
 * an interrupted rewrite left beside it; for a keystore that has no KEK any
 * more, too.
 */
extern KeyfileResult keyfile_discard(const char *path, KeyfileError *err);

/*
 * Fault injection for tests: every write, fsync, rename and unlink counts.
 * At number keyfile_fault_point (1 = the next one; 0 = off) and, if
 * keyfile_fault_sticky, at every later one, it dies or fails as said.
 */
typedef enum KeyfileFault
{
	KEYFILE_FAULT_DIE_BEFORE,	/* _exit(137) */
	KEYFILE_FAULT_DIE_HALFWAY,	/* after half of the bytes */
	KEYFILE_FAULT_DIE_AFTER,
	KEYFILE_FAULT_ENOSPC,		/* writes: half of the bytes, then ENOSPC */
	KEYFILE_FAULT_EIO			/* fsyncs fail; others do not */
} KeyfileFault;

extern int	keyfile_fault_point;
extern KeyfileFault keyfile_fault_kind;
extern bool keyfile_fault_sticky;
extern int	keyfile_fault_count;	/* operations so far */

/* called before each operation if set; op: 'w'rite, 's'ync, 'r'ename, 'u'nlink */
extern void (*keyfile_trace) (char op, int64_t offset, const void *buf,
							  size_t len);

#endif							/* GDPR_KEYFILE_H */
