/*
 * keyfile_io.c
 *		System calls of the keystore file, their failures and their injection.
 *
 * Every write, fsync, rename and unlink of a keystore file is here and passes
 * through strike(), so that tests can stop the process or fail the call at
 * any of them.
 */
#include "keyfile_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* how often a failed fsync is answered by writing everything again */
#define REWRITES	2

int			keyfile_fault_point = 0;
KeyfileFault keyfile_fault_kind = KEYFILE_FAULT_DIE_BEFORE;
bool		keyfile_fault_sticky = false;
int			keyfile_fault_count = 0;
void		(*keyfile_trace) (char op, int64_t offset, const void *buf,
							  size_t len) = NULL;

/* Does the injected fault strike at this operation? */
static bool
strike(char op, int64_t offset, const void *buf, size_t len)
{
	keyfile_fault_count++;
	if (keyfile_trace != NULL)
		keyfile_trace(op, offset, buf, len);
	if (keyfile_fault_point == 0)
		return false;
	if (keyfile_fault_point > 1)
	{
		keyfile_fault_point--;
		return false;
	}
	if (!keyfile_fault_sticky)
		keyfile_fault_point = 0;
	if (keyfile_fault_kind == KEYFILE_FAULT_DIE_BEFORE)
		_exit(137);
	return true;
}

/* The rest of a fault, after the operation. */
static void
strike_after(bool struck)
{
	if (struck && (keyfile_fault_kind == KEYFILE_FAULT_DIE_HALFWAY ||
				   keyfile_fault_kind == KEYFILE_FAULT_DIE_AFTER))
		_exit(137);
}

KeyfileResult
kf_errno(KeyfileError *err, int saved_errno)
{
	KeyfileResult result;

	switch (saved_errno)
	{
		case ENOENT:
		case ENOTDIR:
			result = KEYFILE_MISSING;
			break;
		case ELOOP:
			result = KEYFILE_NOT_REGULAR;
			break;
		case EROFS:
			result = KEYFILE_READ_ONLY;
			break;
		case ENOSPC:
		case EDQUOT:
		case EFBIG:
			result = KEYFILE_NO_SPACE;
			break;
		case EEXIST:
			result = KEYFILE_EXISTS;
			break;
		default:
			result = KEYFILE_IO;
			break;
	}
	kf_error(err, result);
	if (err != NULL)
		err->saved_errno = saved_errno;
	return result;
}

const char *
keyfile_result_name(KeyfileResult result)
{
	static const char *const names[] = {
		"KEYFILE_OK", "KEYFILE_PUNCTURED",
		"KEYFILE_MISSING", "KEYFILE_EXISTS", "KEYFILE_NOT_REGULAR",
		"KEYFILE_WRONG_OWNER", "KEYFILE_WRONG_MODE", "KEYFILE_READ_ONLY",
		"KEYFILE_NO_SPACE", "KEYFILE_IO", "KEYFILE_REPLACED",
		"KEYFILE_TRUNCATED", "KEYFILE_BAD_MAGIC", "KEYFILE_BAD_VERSION",
		"KEYFILE_FOREIGN", "KEYFILE_NO_KEK", "KEYFILE_WRONG_KEK",
		"KEYFILE_DAMAGED_HEADER", "KEYFILE_DAMAGED", "KEYFILE_ROLLED_BACK",
		"KEYFILE_PENDING", "KEYFILE_NO_NUMBERS", "KEYFILE_FULL",
		"KEYFILE_INVALID", "KEYFILE_NO_MEMORY", "KEYFILE_NO_CRYPTO"
	};

	if ((size_t) result >= sizeof(names) / sizeof(names[0]))
		return "?";
	return names[result];
}

void
keyfile_name(const uint8_t uuid[KEYFILE_UUID_BYTES], char *buf)
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < KEYFILE_UUID_BYTES; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*buf++ = '-';
		*buf++ = hex[uuid[i] >> 4];
		*buf++ = hex[uuid[i] & 15];
	}
	memcpy(buf, ".keystore", sizeof(".keystore"));
}

static KeyfileResult
check_owner_and_mode(const struct stat *st, KeyfileError *err)
{
	if (st->st_uid != geteuid())
		return kf_error(err, KEYFILE_WRONG_OWNER);
	if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return kf_error(err, KEYFILE_WRONG_MODE);
	return KEYFILE_OK;
}

KeyfileResult
keyfile_check_directory(const char *path, KeyfileError *err)
{
	struct stat st;

	kf_error(err, KEYFILE_OK);
	if (stat(path, &st) != 0)
		return kf_errno(err, errno);
	if (!S_ISDIR(st.st_mode))
		return kf_error(err, KEYFILE_NOT_REGULAR);
	return check_owner_and_mode(&st, err);
}

/*
 * Open an existing file that is nobody else's.  O_NONBLOCK keeps a FIFO in
 * its place from blocking us; for files it means nothing.
 */
KeyfileResult
kf_open_file(const char *path, int flags, int *fd, struct stat *st,
			 KeyfileError *err)
{
	KeyfileResult result;

	*fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
	{
		int			saved_errno = errno;

		/* what cannot be opened for writing is no file of ours either */
		if (saved_errno == EISDIR || saved_errno == ENXIO)
			return kf_error(err, KEYFILE_NOT_REGULAR);
		return kf_errno(err, saved_errno);
	}
	if (fstat(*fd, st) != 0)
		result = kf_errno(err, errno);
	else if (!S_ISREG(st->st_mode))
		result = kf_error(err, KEYFILE_NOT_REGULAR);
	else
		result = check_owner_and_mode(st, err);
	if (result != KEYFILE_OK)
	{
		close(*fd);
		*fd = -1;
	}
	return result;
}

/* A new file, empty and private; EXISTS if there is one. */
KeyfileResult
kf_create_file(const char *path, int *fd, KeyfileError *err)
{
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			   S_IRUSR | S_IWUSR);
	if (*fd < 0)
		return kf_errno(err, errno);
	if (fchmod(*fd, S_IRUSR | S_IWUSR) != 0)
	{
		KeyfileResult result = kf_errno(err, errno);

		close(*fd);
		*fd = -1;
		return result;
	}
	return KEYFILE_OK;
}

/* Reads up to len bytes; *got is less only at the end of the file. */
KeyfileResult
kf_read(int fd, int64_t offset, void *buf, size_t len, size_t *got,
		KeyfileError *err)
{
	*got = 0;
	while (*got < len)
	{
		ssize_t		n = pread(fd, (char *) buf + *got, len - *got,
							  (off_t) (offset + (int64_t) *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kf_errno(err, errno);
		if (n == 0)
			break;
		*got += (size_t) n;
	}
	return KEYFILE_OK;
}

KeyfileResult
kf_write(int fd, int64_t offset, const void *buf, size_t len,
		 KeyfileError *err)
{
	bool		struck = strike('w', offset, buf, len);
	size_t		todo = len;
	size_t		done = 0;

	if (struck && (keyfile_fault_kind == KEYFILE_FAULT_DIE_HALFWAY ||
				   keyfile_fault_kind == KEYFILE_FAULT_ENOSPC))
		todo = len / 2;
	while (done < todo)
	{
		ssize_t		n = pwrite(fd, (const char *) buf + done, todo - done,
							   (off_t) (offset + (int64_t) done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kf_errno(err, errno);
		if (n == 0)
			return kf_errno(err, EIO);
		done += (size_t) n;
	}
	strike_after(struck);
	if (struck && keyfile_fault_kind == KEYFILE_FAULT_ENOSPC)
		return kf_errno(err, ENOSPC);
	return KEYFILE_OK;
}

KeyfileResult
kf_sync(int fd, KeyfileError *err)
{
	bool		struck = strike('s', 0, NULL, 0);
	int			rc;

	do
		rc = fsync(fd);
	while (rc != 0 && errno == EINTR);
	strike_after(struck);
	if (struck && keyfile_fault_kind == KEYFILE_FAULT_EIO)
		return kf_errno(err, EIO);
	return rc == 0 ? KEYFILE_OK : kf_errno(err, errno);
}

/* Does the file hold what was written? */
static KeyfileResult
read_back(int fd, const KfWrite *writes, size_t count, KeyfileError *err)
{
	uint8_t		buf[KF_PAGE];

	for (size_t i = 0; i < count; i++)
	{
		for (size_t done = 0; done < writes[i].len;)
		{
			size_t		chunk = writes[i].len - done;
			size_t		got;
			KeyfileResult result;

			if (chunk > sizeof(buf))
				chunk = sizeof(buf);
			result = kf_read(fd, writes[i].offset + (int64_t) done, buf,
							 chunk, &got, err);
			if (result != KEYFILE_OK)
				return result;
			if (got != chunk ||
				memcmp(buf, (const uint8_t *) writes[i].buf + done, chunk) != 0)
				return kf_errno(err, EIO);
			done += chunk;
		}
	}
	return KEYFILE_OK;
}

/*
 * Write and fsync.  After a failed fsync the system may have thrown the data
 * away and a second fsync would succeed on nothing, so everything is written
 * again before it is synced again, and read back.
 */
KeyfileResult
kf_commit(int fd, const KfWrite *writes, size_t count, KeyfileError *err)
{
	KeyfileResult result = KEYFILE_OK;

	for (int attempt = 0; attempt <= REWRITES; attempt++)
	{
		for (size_t i = 0; i < count; i++)
		{
			result = kf_write(fd, writes[i].offset, writes[i].buf,
							  writes[i].len, err);
			if (result != KEYFILE_OK)
				return result;
		}
		result = kf_sync(fd, err);
		if (result == KEYFILE_OK)
			return attempt == 0 ? KEYFILE_OK :
				read_back(fd, writes, count, err);
	}
	return result;
}

/* Zeros from ... to, fsynced; extends the file if it is shorter. */
KeyfileResult
kf_zero(int fd, int64_t from, int64_t to, KeyfileError *err)
{
	static const uint8_t zeros[16 * KF_PAGE];

	while (from < to)
	{
		KfWrite		batch[64];
		size_t		count = 0;
		KeyfileResult result;

		while (from < to && count < sizeof(batch) / sizeof(batch[0]))
		{
			size_t		len = sizeof(zeros);

			if ((int64_t) len > to - from)
				len = (size_t) (to - from);
			batch[count].offset = from;
			batch[count].buf = zeros;
			batch[count].len = len;
			count++;
			from += (int64_t) len;
		}
		result = kf_commit(fd, batch, count, err);
		if (result != KEYFILE_OK)
			return result;
	}
	return KEYFILE_OK;
}

/* fsync of the directory that a path is in */
static KeyfileResult
sync_directory(const char *path, KeyfileError *err)
{
	const char *slash = strrchr(path, '/');
	size_t		len = slash == NULL ? 0 : (size_t) (slash - path) + 1;
	char	   *directory = malloc(len + 2);
	KeyfileResult result;
	int			fd;

	if (directory == NULL)
		return kf_error(err, KEYFILE_NO_MEMORY);
	memcpy(directory, path, len);
	directory[len] = '.';
	directory[len + 1] = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	if (fd < 0)
		return kf_errno(err, errno);
	result = kf_sync(fd, err);
	close(fd);
	return result;
}

/* Wipe and unlink a file that was never finished, if there is one. */
KeyfileResult
kf_discard(const char *path, KeyfileError *err)
{
	struct stat st = {0};
	KeyfileResult result;
	bool		struck;
	int			fd;
	int			rc;

	result = kf_open_file(path, O_RDWR, &fd, &st, err);
	if (result == KEYFILE_MISSING)
	{
		kf_error(err, KEYFILE_OK);
		return KEYFILE_OK;
	}
	if (result != KEYFILE_OK)
		return result;
	result = kf_zero(fd, 0, st.st_size, err);
	close(fd);
	if (result != KEYFILE_OK)
		return result;
	struck = strike('u', 0, path, strlen(path));
	rc = unlink(path);
	strike_after(struck);
	if (rc != 0 && errno != ENOENT)
		return kf_errno(err, errno);
	return sync_directory(path, err);
}

/* Move a finished and fsynced file to its place, durably. */
KeyfileResult
kf_install(const char *from, const char *to, KeyfileError *err)
{
	bool		struck = strike('r', 0, to, strlen(to));
	int			rc;

	rc = rename(from, to);
	strike_after(struck);
	if (rc != 0)
		return kf_errno(err, errno);
	return sync_directory(to, err);
}

/* path.new; NULL without memory; the caller frees it. */
char *
kf_new_path(const char *path)
{
	size_t		size = strlen(path) + sizeof(KF_SUFFIX);
	char	   *copy = malloc(size);

	if (copy != NULL)
		snprintf(copy, size, "%s%s", path, KF_SUFFIX);
	return copy;
}

/*
 * Zeroed memory for keys, on pages of its own: kept from swap and from core
 * dumps where the system lets us.
 */
void *
kf_secret_alloc(size_t size)
{
	void	   *block = mmap(NULL, size, PROT_READ | PROT_WRITE,
							 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (block == MAP_FAILED)
		return NULL;
	(void) mlock(block, size);
#ifdef MADV_DONTDUMP
	(void) madvise(block, size, MADV_DONTDUMP);
#endif
	return block;
}

void
kf_secret_free(void *block, size_t size)
{
	crypto_wipe(block, size);
	munmap(block, size);
}
