/*
 * aead.c
 *		What OpenSSL alone needs for the AEAD operations of a table: AES-256-GCM
 *		with a new key for every row, as many and as long as gdpr does them.
 *
 * Usage: aead ROWS PLAINTEXT-BYTES AAD-BYTES.  Prints the median of five runs,
 * in nanoseconds per row: "seal N" and "open N".
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_BYTES	32
#define NONCE_BYTES	12
#define TAG_BYTES	16
#define MAX_BYTES	4096
#define DISTINCT	4096		/* keys in turn: more than the cache, less than memory */
#define RUNS		5

static uint8_t keys[DISTINCT][KEY_BYTES];
static uint8_t nonces[DISTINCT][NONCE_BYTES];
static uint8_t tags[DISTINCT][TAG_BYTES];
static uint8_t sealed[DISTINCT][MAX_BYTES];
static uint8_t plain[MAX_BYTES];
static uint8_t opened[MAX_BYTES];
static uint8_t aad[MAX_BYTES];

static void
require(int fine, const char *what)
{
	if (fine != 1)
	{
		fprintf(stderr, "aead: %s failed\n", what);
		exit(1);
	}
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void
seal(EVP_CIPHER_CTX *ctx, int i, int len, int aadlen)
{
	int			n;

	require(EVP_EncryptInit_ex(ctx, NULL, NULL, keys[i], nonces[i]), "init");
	require(EVP_EncryptUpdate(ctx, NULL, &n, aad, aadlen), "aad");
	require(EVP_EncryptUpdate(ctx, sealed[i], &n, plain, len), "encrypt");
	require(EVP_EncryptFinal_ex(ctx, sealed[i] + n, &n), "final");
	require(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tags[i]), "tag");
}

static void
unseal(EVP_CIPHER_CTX *ctx, int i, int len, int aadlen)
{
	int			n;

	require(EVP_DecryptInit_ex(ctx, NULL, NULL, keys[i], nonces[i]), "init");
	require(EVP_DecryptUpdate(ctx, NULL, &n, aad, aadlen), "aad");
	require(EVP_DecryptUpdate(ctx, opened, &n, sealed[i], len), "decrypt");
	require(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tags[i]), "tag");
	require(EVP_DecryptFinal_ex(ctx, opened + n, &n), "authentication");
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	long		rows = argc > 1 ? atol(argv[1]) : 1000000;
	int			len = argc > 2 ? atoi(argv[2]) : 64;
	int			aadlen = argc > 3 ? atoi(argv[3]) : 40;
	double		times[2][RUNS];
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *enc = EVP_CIPHER_CTX_new();
	EVP_CIPHER_CTX *dec = EVP_CIPHER_CTX_new();

	if (rows < DISTINCT || len < 1 || len > MAX_BYTES || aadlen < 1 || aadlen > MAX_BYTES)
	{
		fprintf(stderr, "usage: aead ROWS PLAINTEXT-BYTES AAD-BYTES\n");
		return 2;
	}
	for (int i = 0; i < DISTINCT; i++)
		for (int j = 0; j < KEY_BYTES; j++)
			keys[i][j] = (uint8_t) (i * 131 + j * 7 + (i >> 8));
	for (int i = 0; i < DISTINCT; i++)
		memcpy(nonces[i], &i, sizeof(i));
	memset(plain, 'x', sizeof(plain));

	require(cipher && enc && dec, "set-up");
	require(EVP_EncryptInit_ex2(enc, cipher, NULL, NULL, NULL), "cipher");
	require(EVP_DecryptInit_ex2(dec, cipher, NULL, NULL, NULL), "cipher");
	for (int run = 0; run < RUNS; run++)
	{
		double		start = now(),
					middle;

		for (long r = 0; r < rows; r++)
			seal(enc, r % DISTINCT, len, aadlen);
		middle = now();
		for (long r = 0; r < rows; r++)
			unseal(dec, r % DISTINCT, len, aadlen);
		times[0][run] = (middle - start) / rows;
		times[1][run] = (now() - middle) / rows;
	}
	qsort(times[0], RUNS, sizeof(double), compare);
	qsort(times[1], RUNS, sizeof(double), compare);
	printf("seal %.0f\nopen %.0f\n", times[0][RUNS / 2], times[1][RUNS / 2]);
	return 0;
}
