/*
 * tap.h
 *		The Test Anything Protocol, as far as unit tests need it.
 *
 * ok(condition, "the rule that holds") counts and prints one line; a program
 * ends with return done().
 */
#ifndef GDPR_TAP_H
#define GDPR_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int	tap_count = 0;
static int	tap_failed = 0;

__attribute__((format(printf, 3, 4)))
static inline bool
tap_ok(bool passed, int line, const char *format,...)
{
	va_list		args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!passed)
	{
		printf("# failed at line %d\n", line);
		tap_failed++;
	}
	fflush(stdout);
	return passed;
}

#define ok(passed, ...)		tap_ok((passed), __LINE__, __VA_ARGS__)

__attribute__((format(printf, 1, 2)))
static inline void
diag(const char *format,...)
{
	va_list		args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* What the test cannot go on without. */
#define must(condition) \
	do { \
		if (!(condition)) \
		{ \
			printf("Bail out! line %d: %s\n", __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

static inline int
done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed == 0 ? 0 : 1;
}

/* Bytes from hexadecimal digits. */
static inline size_t
unhex(const char *hex, unsigned char *out)
{
	size_t		n = 0;

	for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2)
	{
		unsigned int byte;

		must(sscanf(hex, "%2x", &byte) == 1);
		out[n++] = (unsigned char) byte;
	}
	return n;
}

#endif							/* GDPR_TAP_H */
