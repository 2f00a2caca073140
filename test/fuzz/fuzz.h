/*
 * fuzz.h
 *		What the fuzzing harnesses share.
 *
 * A harness is a libFuzzer target: LLVMFuzzerTestOneInput() gets bytes and must
 * return, whatever they are.  check() is for rules that hold for all bytes; it
 * stays in with NDEBUG.
 */
#ifndef GDPR_FUZZ_H
#define GDPR_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define check(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A seed for the corpus, in the directory that FUZZ_CORPUS names. */
static inline void
fuzz_seed(const char *name, const uint8_t *data, size_t size)
{
	const char *directory = getenv("FUZZ_CORPUS");
	char		path[512];
	FILE	   *file;

	if (directory == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	check(file != NULL && fwrite(data, 1, size, file) == size &&
		  fclose(file) == 0);
}

#endif							/* GDPR_FUZZ_H */
