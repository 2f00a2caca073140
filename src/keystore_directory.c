/*
 * keystore_directory.c
 *		The directory that holds the keystores, and the key-encryption keys.
 *
 * A directory serves one running server.  The postmaster checks it when it
 * sets up shared memory and locks <directory>/lock; what it finds is in
 * static variables that every child inherits, and so is the locked
 * descriptor: the lock lives as long as any of them.  A failed check does not
 * keep the server from starting: every use raises it.
 *
 * Cheap checks are repeated on use, because a tablespace can be created, and
 * a directory replaced, later.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/fd.h"
#include "utils/timestamp.h"

#include "command.h"
#include "crypto.h"
#include "errors.h"
#include "guc.h"
#include "keystore_internal.h"

#define LOCK_FILE			"lock"
#define KEY_COMMAND_SECONDS 60
#define HEX_KEY_LENGTH		(2 * CRYPTO_KEY_BYTES)

typedef enum DirectoryFault
{
	DIRECTORY_FINE,
	DIRECTORY_NOT_SET,
	DIRECTORY_RELATIVE,
	DIRECTORY_UNREADABLE,
	DIRECTORY_NOT_A_DIRECTORY,
	DIRECTORY_OWNER,
	DIRECTORY_MODE,
	DIRECTORY_OVERLAPS,
	DIRECTORY_LOCK_FAILED,
	DIRECTORY_LOCKED,
	DIRECTORY_REPLACED
} DirectoryFault;

typedef struct DirectoryProblem
{
	DirectoryFault fault;
	int			err;
	unsigned	mode;
	bool		tablespace;		/* what it overlaps: a tablespace */
	char		path[MAXPGPATH];
	char		other[MAXPGPATH];
} DirectoryProblem;

static char directory[MAXPGPATH];	/* resolved, "" until it is in use */
static int	lock_fd = -1;
static DirectoryProblem startup_problem;

/* Is inner the same as outer, or below it?  Both resolved. */
static bool
path_is_within(const char *inner, const char *outer)
{
	size_t		len = strlen(outer);

	if (strcmp(outer, "/") == 0)
		return true;
	return strncmp(inner, outer, len) == 0 &&
		(inner[len] == '\0' || inner[len] == '/');
}

static bool
check_overlap(const char *dir, const char *other, bool tablespace,
			  DirectoryProblem *problem)
{
	char		resolved[PATH_MAX];

	/* A place that cannot be reached cannot be backed up either. */
	if (realpath(other, resolved) == NULL)
		return true;
	if (!path_is_within(dir, resolved) && !path_is_within(resolved, dir))
		return true;
	problem->fault = DIRECTORY_OVERLAPS;
	problem->tablespace = tablespace;
	strlcpy(problem->other, resolved, MAXPGPATH);
	return false;
}

/* Everything that is in a base backup: data directory, WAL, tablespaces. */
static bool
check_places(const char *dir, DirectoryProblem *problem)
{
	char		place[MAXPGPATH];
	DIR		   *links;
	struct dirent *link;
	bool		fine = true;

	if (!check_overlap(dir, DataDir, false, problem))
		return false;
	snprintf(place, sizeof(place), "%s/pg_wal", DataDir);
	if (!check_overlap(dir, place, false, problem))
		return false;

	snprintf(place, sizeof(place), "%s/pg_tblspc", DataDir);
	links = opendir(place);
	if (links == NULL)
		return true;
	while (fine && (link = readdir(links)) != NULL)
	{
		if (link->d_name[0] == '.')
			continue;
		snprintf(place, sizeof(place), "%s/pg_tblspc/%s", DataDir, link->d_name);
		fine = check_overlap(dir, place, true, problem);
	}
	closedir(links);
	return fine;
}

static bool
check_directory(const char *path, char *resolved, DirectoryProblem *problem)
{
	char		buf[PATH_MAX];
	struct stat st;

	problem->fault = DIRECTORY_FINE;
	strlcpy(problem->path, path, MAXPGPATH);

	if (path[0] == '\0')
		problem->fault = DIRECTORY_NOT_SET;
	else if (!is_absolute_path(path))
		problem->fault = DIRECTORY_RELATIVE;
	else if (realpath(path, buf) == NULL || stat(buf, &st) != 0)
	{
		problem->fault = DIRECTORY_UNREADABLE;
		problem->err = errno;
	}
	else if (!S_ISDIR(st.st_mode))
		problem->fault = DIRECTORY_NOT_A_DIRECTORY;
	else if (st.st_uid != geteuid())
		problem->fault = DIRECTORY_OWNER;
	else if ((st.st_mode & 07777) != 0700)
	{
		problem->fault = DIRECTORY_MODE;
		problem->mode = st.st_mode & 07777;
	}
	else if (check_places(buf, problem))
		strlcpy(resolved, buf, MAXPGPATH);
	return problem->fault == DIRECTORY_FINE;
}

static bool
lock_directory(const char *dir, DirectoryProblem *problem)
{
	char		path[MAXPGPATH];
	int			fd;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EROFS)
		fd = open(path, O_RDONLY | O_CLOEXEC);	/* good enough for flock() */
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
	{
		lock_fd = fd;
		return true;
	}
	problem->err = errno;
	problem->fault = fd >= 0 && errno == EWOULDBLOCK ?
		DIRECTORY_LOCKED : DIRECTORY_LOCK_FAILED;
	strlcpy(problem->other, path, MAXPGPATH);
	if (fd >= 0)
		close(fd);
	return false;
}

static void
report_problem(int elevel, const DirectoryProblem *problem)
{
	const char *path = problem->path;

	errno = problem->err;
	switch (problem->fault)
	{
		case DIRECTORY_FINE:
			break;
		case DIRECTORY_NOT_SET:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("gdpr.keystore_directory is not set"),
					 errhint("As the server's user run: mkdir -m 0700 %s.keystore -- then put gdpr.keystore_directory = '%s.keystore' (or any other place outside the data directory) into postgresql.conf and restart the server.",
							 DataDir, DataDir)));
			break;
		case DIRECTORY_RELATIVE:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" is not an absolute path", path),
					 errhint("Set gdpr.keystore_directory to an absolute path outside the data directory and restart the server.")));
			break;
		case DIRECTORY_UNREADABLE:
			if (problem->err == ENOENT)
				ereport(elevel,
						(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
						 errmsg("keystore directory \"%s\" does not exist", path),
						 errhint("As the server's user run: mkdir -m 0700 '%s' -- then restart the server. If the server had a keystore, put your copy of the directory back instead.",
								 path)));
			else
				ereport(elevel,
						(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
						 errmsg("could not access keystore directory \"%s\": %m", path),
						 errhint("Make the directory accessible to the server's user and restart the server.")));
			break;
		case DIRECTORY_NOT_A_DIRECTORY:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" is not a directory", path),
					 errhint("Set gdpr.keystore_directory to a directory of its own and restart the server.")));
			break;
		case DIRECTORY_OWNER:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" is not owned by the server's user", path),
					 errhint("As root run: chown -R --reference='%s' '%s' -- then restart the server.",
							 DataDir, path)));
			break;
		case DIRECTORY_MODE:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" has mode 0%03o", path, problem->mode),
					 errdetail("Its mode must be 0700, so that nobody else reads or replaces keys."),
					 errhint("Run: chmod 0700 '%s' -- then restart the server.", path)));
			break;
		case DIRECTORY_OVERLAPS:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 problem->tablespace ?
					 errmsg("keystore directory \"%s\" overlaps the tablespace directory \"%s\"", path, problem->other) :
					 errmsg("keystore directory \"%s\" overlaps the data directory \"%s\"", path, problem->other),
					 errdetail("Backups of the database would contain the keys, and forgetting would not reach them."),
					 errhint("Stop the server, move one of the two directories elsewhere (for the keystore: mv '%s' /somewhere/else, and set gdpr.keystore_directory), and start the server.",
							 path)));
			break;
		case DIRECTORY_LOCK_FAILED:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("could not lock \"%s\": %m", problem->other),
					 errhint("Make the file writable by the server's user, on a file system with locks, and restart the server.")));
			break;
		case DIRECTORY_LOCKED:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" is used by another running server", path),
					 errhint("Give this server a copy of the directory: cp -a '%s' /somewhere/else -- set gdpr.keystore_directory to it, and restart this server.",
							 path)));
			break;
		case DIRECTORY_REPLACED:
			ereport(elevel,
					(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
					 errmsg("keystore directory \"%s\" was replaced while the server is running", path),
					 errhint("Restart the server.")));
			break;
	}
}

/* In the postmaster (or a standalone backend), when shared memory is set up. */
void
keystore_directory_startup(void)
{
	char		resolved[MAXPGPATH];

	/* After a crash of a backend the postmaster still has the lock. */
	if (lock_fd >= 0)
		return;

	memset(&startup_problem, 0, sizeof(startup_problem));
	if (check_directory(guc_keystore_directory, resolved, &startup_problem) &&
		lock_directory(resolved, &startup_problem))
		strlcpy(directory, resolved, sizeof(directory));
	else if (startup_problem.fault != DIRECTORY_NOT_SET)
		report_problem(WARNING, &startup_problem);
}

/* Raises what is wrong with the directory; otherwise returns its path. */
const char *
keystore_directory_path(void)
{
	DirectoryProblem problem = {0};
	char		resolved[MAXPGPATH];
	char		path[MAXPGPATH];
	struct stat held;
	struct stat now;

	if (lock_fd < 0)
	{
		report_problem(ERROR, &startup_problem);
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("gdpr must be loaded when the server starts"),
				 errhint("Add gdpr to shared_preload_libraries in postgresql.conf and restart the server.")));
	}
	if (!check_directory(guc_keystore_directory, resolved, &problem))
		report_problem(ERROR, &problem);
	snprintf(path, sizeof(path), "%s/" LOCK_FILE, directory);
	if (fstat(lock_fd, &held) != 0 || stat(path, &now) != 0 ||
		held.st_ino != now.st_ino || held.st_dev != now.st_dev)
	{
		problem.fault = DIRECTORY_REPLACED;
		report_problem(ERROR, &problem);
	}
	return directory;
}

/* The path without a check, for messages; NULL while there is none. */
const char *
keystore_directory_name(void)
{
	return directory[0] != '\0' ? directory : NULL;
}

bool
keystore_directory_has_keystores(void)
{
	static const char suffix[] = ".keystore";
	DIR		   *dir;
	struct dirent *file;
	bool		found = false;

	if (directory[0] == '\0' || (dir = opendir(directory)) == NULL)
		return false;
	while (!found && (file = readdir(dir)) != NULL)
	{
		size_t		len = strlen(file->d_name);

		found = len > strlen(suffix) &&
			strcmp(file->d_name + len - strlen(suffix), suffix) == 0;
	}
	closedir(dir);
	return found;
}

/* Key-encryption keys */

static int
hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* 64 hexadecimal digits and white space, or exactly 32 bytes */
static bool
parse_kek(const char *text, size_t len, uint8 kek[CRYPTO_KEY_BYTES])
{
	int			i;

	if (len == CRYPTO_KEY_BYTES)
	{
		memcpy(kek, text, CRYPTO_KEY_BYTES);
		return true;
	}
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	if (len != HEX_KEY_LENGTH)
		return false;
	for (i = 0; i < CRYPTO_KEY_BYTES; i++)
	{
		int			high = hex_digit(text[2 * i]);
		int			low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
		{
			crypto_wipe(kek, CRYPTO_KEY_BYTES);
			return false;
		}
		kek[i] = (uint8) (high << 4 | low);
	}
	return true;
}

static char *
expand_command(const char *command, const char *id, uint32 version)
{
	StringInfoData buf;
	const char *p;

	initStringInfo(&buf);
	for (p = command; *p; p++)
	{
		if (*p != '%')
			appendStringInfoChar(&buf, *p);
		else if (p[1] == '%')
			appendStringInfoChar(&buf, *++p);
		else if (p[1] == 'i')
		{
			appendStringInfoString(&buf, id);
			p++;
		}
		else if (p[1] == 'v')
		{
			appendStringInfo(&buf, "%u", version);
			p++;
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("gdpr.keystore_key_command contains an unknown placeholder"),
					 errhint("Use %%i for the keystore's id, %%v for the version of the key, and %%%% for %%.")));
	}
	return buf.data;
}

static void
run_key_command(const char *id, uint32 version, uint8 kek[CRYPTO_KEY_BYTES])
{
	char	   *command = expand_command(guc_keystore_key_command, id, version);
	char		buf[HEX_KEY_LENGTH + 16];
	size_t		len = 0;
	bool		fine;
	int			status;

	PG_TRY();
	{
		status = command_run(command, NULL, KEY_COMMAND_SECONDS, buf, sizeof(buf), &len);
	}
	PG_CATCH();
	{
		crypto_wipe(buf, sizeof(buf));
		PG_RE_THROW();
	}
	PG_END_TRY();

	fine = status == 0 && len < sizeof(buf) && parse_kek(buf, len, kek);
	crypto_wipe(buf, sizeof(buf));
	pfree(command);
	if (status == COMMAND_NOT_STARTED)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("could not start the key command: %m")));
	if (status == COMMAND_TIMED_OUT)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("key command did not finish within %d seconds", KEY_COMMAND_SECONDS),
				 errhint("Run the command of gdpr.keystore_key_command by hand as the server's user.")));
	if (status != 0)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("key command failed: %s", wait_result_to_str(status)),
				 errdetail("It was asked for version %u of the key of keystore %s.", version, id),
				 errhint("Its own messages are in the server's log. Run the command of gdpr.keystore_key_command by hand as the server's user.")));
	if (!fine)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("key command printed no key"),
				 errdetail("A key is 64 hexadecimal digits or 32 bytes."),
				 errhint("Run the command of gdpr.keystore_key_command by hand as the server's user.")));
}

void
keystore_kek_path(const char *id, uint32 version, char path[MAXPGPATH])
{
	snprintf(path, MAXPGPATH, "%s/%s.kek.%u", directory, id, version);
}

static void
read_kek_file(const char *id, uint32 version, uint8 kek[CRYPTO_KEY_BYTES])
{
	char		path[MAXPGPATH];
	char		buf[HEX_KEY_LENGTH + 16];
	struct stat st;
	ssize_t		len;
	bool		fine;
	int			fd;

	keystore_kek_path(id, version, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("could not open key-encryption key \"%s\": %m", path),
				 errhint("Put the file back from your copy of the keystore directory, or set gdpr.keystore_key_command if a command holds this key.")));
	if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 0077) != 0)
	{
		close(fd);
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("key-encryption key \"%s\" is accessible to others", path),
				 errhint("Run: chmod 0600 '%s' -- as its owner, who must be the server's user.", path)));
	}
	len = read(fd, buf, sizeof(buf));
	close(fd);
	fine = len > CRYPTO_KEY_BYTES && parse_kek(buf, len, kek);
	crypto_wipe(buf, sizeof(buf));
	if (!fine)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("file \"%s\" does not hold a key-encryption key", path),
				 errhint("Put the file back from your copy of the keystore directory.")));
}

/* The key-encryption key of a keystore; the caller wipes it. */
void
keystore_kek_get(const char *id, uint32 version, uint8 kek[CRYPTO_KEY_BYTES])
{
	if (guc_keystore_key_command[0] != '\0')
		run_key_command(id, version, kek);
	else
		read_kek_file(id, version, kek);
}

/*
 * Makes a version of the key: the command provides it, or a new file does.
 * A file of that version left over by an attempt that got no further is
 * replaced: no keystore names it.
 */
void
keystore_kek_create(const char *id, uint32 version, uint8 kek[CRYPTO_KEY_BYTES])
{
	char		path[MAXPGPATH];
	char		temporary[MAXPGPATH];
	char		text[HEX_KEY_LENGTH + 2];
	bool		written;
	int			fd;
	int			i;

	if (guc_keystore_key_command[0] != '\0')
	{
		run_key_command(id, version, kek);
		return;
	}

	if (!crypto_random(kek, CRYPTO_KEY_BYTES))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	keystore_kek_path(id, version, path);
	snprintf(temporary, sizeof(temporary), "%.*s.new", MAXPGPATH - 5, path);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("could not create file \"%s\": %m", temporary)));
	for (i = 0; i < CRYPTO_KEY_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", kek[i]);
	text[HEX_KEY_LENGTH] = '\n';
	written = write(fd, text, HEX_KEY_LENGTH + 1) == HEX_KEY_LENGTH + 1 &&
		pg_fsync(fd) == 0;
	crypto_wipe(text, sizeof(text));
	close(fd);
	if (!written)
	{
		unlink(temporary);
		ereport(ERROR,
				(errcode(ERRCODE_GDPR_KEYSTORE_UNAVAILABLE),
				 errmsg("could not write file \"%s\": %m", temporary)));
	}
	durable_rename(temporary, path, ERROR);
}

/*
 * Destroys a version of the key: overwritten, synced, removed.  With a
 * command the key is the administrator's to destroy; false says so.
 */
bool
keystore_kek_destroy(const char *id, uint32 version)
{
	char		path[MAXPGPATH];
	char		zeros[HEX_KEY_LENGTH + 1] = {0};
	int			fd;

	keystore_kek_path(id, version, path);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros) || pg_fsync(fd) != 0)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not overwrite file \"%s\": %m", path)));
	close(fd);
	if (durable_unlink(path, WARNING) != 0)
		return false;
	return true;
}

/* What an interrupted rotation left of the versions before this one. */
void
keystore_kek_destroy_older(const char *id, uint32 version)
{
	char		prefix[KEYSTORE_ID_CHARS + 8];
	size_t		len = snprintf(prefix, sizeof(prefix), "%s.kek.", id);
	DIR		   *dir = AllocateDir(directory);
	struct dirent *file;

	while ((file = ReadDirExtended(dir, directory, LOG)) != NULL)
	{
		char	   *end;
		unsigned long found;

		if (strncmp(file->d_name, prefix, len) != 0)
			continue;
		found = strtoul(file->d_name + len, &end, 10);
		if (*end == '\0' && found > 0 && found < version)
			(void) keystore_kek_destroy(id, (uint32) found);
	}
	FreeDir(dir);
}
