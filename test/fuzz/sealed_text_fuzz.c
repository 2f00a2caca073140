/*
 * sealed_text_fuzz.c
 *		Any text as input of gdpr.sealed: base64, then the envelope.
 *
 * What is taken comes out again as text that is taken, with the same bytes.
 * The steps are those of gdpr_sealed_in() and gdpr_sealed_out(), without the
 * server around them.
 */
#include "postgres.h"

#include "common/base64.h"

#include "compat.h"
#include "envelope.h"
#include "fuzz.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);

/* The known answer of doc/formats.md. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char known[] =
		"AQaAAAoAAQECAwFESUdFU1RFRAMAAQIDBAUGBwgJCgsQudpI2RgbvyYZwQd2voI1tTF+RYnfEvXdYuGGyrr1Q1c=";

	fuzz_seed("known", (const uint8_t *) known, sizeof(known) - 1);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	int			room;
	uint8_t    *bytes;
	int			len;

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	room = (int) strlen(text) / 4 * 3 + 3;
	bytes = malloc((size_t) room);
	check(bytes != NULL);
	len = compat_b64_decode(text, (int) strlen(text), bytes, room);
	check(len <= room);
	if (len >= 0 && envelope_validate(bytes, (size_t) len))
	{
		int			outlen = (len + 2) / 3 * 4;
		char	   *out = malloc((size_t) outlen + 1);
		uint8_t    *again = malloc((size_t) room);

		check(out != NULL && again != NULL);
		check(compat_b64_encode(bytes, len, out, outlen) == outlen);
		check(compat_b64_decode(out, outlen, again, room) == len);
		check(memcmp(again, bytes, (size_t) len) == 0);
		free(again);
		free(out);
	}
	free(bytes);
	free(text);
	return 0;
}
