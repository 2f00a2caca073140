/*
 * crypto.c
 *		The cryptographic primitives over OpenSSL's EVP (3.0 and later).
 *
 * Fetching an algorithm and making a context cost more than using them, so
 * each kind of operation has one context per process, made on first use and
 * keyed anew at every call.  After fork() parent and child have copies that
 * share nothing.  Not for threads.
 *
 * A context holds the expansion of the last key it was given until the next
 * one replaces it; crypto_forget() drops them all.
 */
#include "crypto.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

typedef struct CipherSlot
{
	const char *name;
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
} CipherSlot;

/* A context that stays keyed */
typedef struct KeptSlot
{
	CipherSlot	slot;
	uint8_t		key[CRYPTO_KEY_BYTES];
} KeptSlot;

static CipherSlot ecb = {"AES-256-ECB", NULL, NULL};
static KeptSlot kept[CRYPTO_KEPT_KEYS];
static CipherSlot ecb_inverse = {"AES-256-ECB", NULL, NULL};
static CipherSlot cbc = {"AES-256-CBC", NULL, NULL};
static CipherSlot gcm_seal = {"AES-256-GCM", NULL, NULL};
static CipherSlot gcm_open = {"AES-256-GCM", NULL, NULL};

static EVP_MD *sha256 = NULL;
static EVP_MD_CTX *sha256_ctx = NULL;
static EVP_MAC *hmac = NULL;
static EVP_MAC_CTX *hmac_ctx = NULL;

/* On first use: the slot's context.  The direction of a slot never changes. */
static bool
cipher_make(CipherSlot *slot, bool encrypt)
{
	EVP_CIPHER_CTX *ctx;

	if (slot->cipher == NULL)
		slot->cipher = EVP_CIPHER_fetch(NULL, slot->name, NULL);
	if (slot->cipher == NULL)
		return false;
	ctx = EVP_CIPHER_CTX_new();
	if (ctx == NULL)
		return false;

	/*
	 * Padding is off where a block is decrypted.  Encryption is never
	 * finished, so none is written; and turning it off costs a parameter
	 * call with every key.
	 */
	if (EVP_CipherInit_ex2(ctx, slot->cipher, NULL, NULL, encrypt ? 1 : 0,
						   NULL) != 1 ||
		(slot == &ecb_inverse && EVP_CIPHER_CTX_set_padding(ctx, 0) != 1))
	{
		EVP_CIPHER_CTX_free(ctx);
		return false;
	}
	slot->ctx = ctx;
	return true;
}

/* Key the slot's context. */
static inline bool
cipher_init(CipherSlot *slot, bool encrypt, const uint8_t *key,
			const uint8_t *iv)
{
	if (slot->ctx == NULL && !cipher_make(slot, encrypt))
		return false;
	/* The direction-bound calls skip work that EVP_CipherInit_ex2 repeats. */
	if (encrypt)
		return EVP_EncryptInit_ex2(slot->ctx, NULL, key, iv, NULL) == 1;
	return EVP_DecryptInit_ex2(slot->ctx, NULL, key, iv, NULL) == 1;
}

static void
cipher_drop(CipherSlot *slot)
{
	EVP_CIPHER_CTX_free(slot->ctx);
	slot->ctx = NULL;
}

void
crypto_wipe(void *buf, size_t len)
{
	OPENSSL_cleanse(buf, len);
}

/*
 * Drop all contexts and with them the keys they were last given; they are
 * made again when needed.  For processes that go idle.
 */
void
crypto_forget(void)
{
	cipher_drop(&ecb);
	for (int i = 0; i < CRYPTO_KEPT_KEYS; i++)
	{
		cipher_drop(&kept[i].slot);
		crypto_wipe(kept[i].key, sizeof(kept[i].key));
	}
	cipher_drop(&ecb_inverse);
	cipher_drop(&cbc);
	cipher_drop(&gcm_seal);
	cipher_drop(&gcm_open);
	EVP_MD_CTX_free(sha256_ctx);
	sha256_ctx = NULL;
	EVP_MAC_CTX_free(hmac_ctx);
	hmac_ctx = NULL;
}

/* Unpredictable bytes, fit for keys and nonces. */
bool
crypto_random(uint8_t *buf, size_t len)
{
	while (len > 0)
	{
		int			chunk = len > INT_MAX ? INT_MAX : (int) len;

		if (RAND_priv_bytes(buf, chunk) != 1)
			return false;
		buf += chunk;
		len -= (size_t) chunk;
	}
	return true;
}

static uint8_t nonces[64 * CRYPTO_NONCE_BYTES];
static size_t nonces_left = 0;	/* bytes */

static void
nonces_drop(void)
{
	nonces_left = 0;
}

/*
 * A nonce: random bytes that need not stay secret.  They are drawn in advance,
 * as a call of the generator costs more than sealing a value, and never used
 * twice: a child process draws its own.
 */
bool
crypto_nonce(uint8_t nonce[CRYPTO_NONCE_BYTES])
{
	static bool registered = false;

	if (!registered)
	{
		if (pthread_atfork(NULL, NULL, nonces_drop) != 0)
			return crypto_random(nonce, CRYPTO_NONCE_BYTES);
		registered = true;
	}
	if (nonces_left == 0)
	{
		if (!crypto_random(nonces, sizeof(nonces)))
			return false;
		nonces_left = sizeof(nonces);
	}
	nonces_left -= CRYPTO_NONCE_BYTES;
	memcpy(nonce, nonces + nonces_left, CRYPTO_NONCE_BYTES);
	return true;
}

/* Takes the same time wherever the two differ. */
bool
crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

/* out may be in */
bool
crypto_prf(const uint8_t key[CRYPTO_KEY_BYTES],
		   const uint8_t *in, uint8_t *out, int nblocks)
{
	int			len = 0;

	if (nblocks < 0 || nblocks > INT_MAX / CRYPTO_BLOCK_BYTES)
		return false;
	return cipher_init(&ecb, true, key, NULL) &&
		EVP_EncryptUpdate(ecb.ctx, out, &len, in,
						  nblocks * CRYPTO_BLOCK_BYTES) == 1 &&
		len == nblocks * CRYPTO_BLOCK_BYTES;
}

/* crypto_equal() for keys, which are compared often */
static inline bool
same_key(const uint8_t *a, const uint8_t *b)
{
	uint64_t	x[CRYPTO_KEY_BYTES / 8];
	uint64_t	y[CRYPTO_KEY_BYTES / 8];
	uint64_t	differ = 0;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (int i = 0; i < CRYPTO_KEY_BYTES / 8; i++)
		differ |= x[i] ^ y[i];
	return differ == 0;
}

/* The same, for a key that comes again and again: it stays set up. */
bool
crypto_prf_again(unsigned which, const uint8_t key[CRYPTO_KEY_BYTES],
				 const uint8_t *in, uint8_t *out, int nblocks)
{
	KeptSlot   *again = &kept[which % CRYPTO_KEPT_KEYS];
	int			len = 0;

	if (nblocks < 0 || nblocks > INT_MAX / CRYPTO_BLOCK_BYTES)
		return false;
	if (again->slot.ctx == NULL || !same_key(again->key, key))
	{
		again->slot.name = ecb.name;
		if (!cipher_init(&again->slot, true, key, NULL))
		{
			cipher_drop(&again->slot);
			return false;
		}
		memcpy(again->key, key, CRYPTO_KEY_BYTES);
	}
	return EVP_EncryptUpdate(again->slot.ctx, out, &len, in,
							 nblocks * CRYPTO_BLOCK_BYTES) == 1 &&
		len == nblocks * CRYPTO_BLOCK_BYTES;
}

/*
 * The last block of a CBC encryption from a zero vector.  The blocks before
 * it would let a reader of memory forge, so they are wiped.
 */
bool
crypto_mac(const uint8_t key[CRYPTO_KEY_BYTES],
		   const uint8_t *msg, size_t len,
		   uint8_t tag[CRYPTO_TAG_BYTES])
{
	static const uint8_t zero_iv[CRYPTO_BLOCK_BYTES];
	uint8_t		out[16 * CRYPTO_BLOCK_BYTES];
	int			chunk = 0;
	int			done = 0;
	bool		ok;

	if (len == 0 || len % CRYPTO_BLOCK_BYTES != 0)
		return false;
	ok = cipher_init(&cbc, true, key, zero_iv);
	while (ok && len > 0)
	{
		chunk = len > sizeof(out) ? (int) sizeof(out) : (int) len;
		ok = EVP_EncryptUpdate(cbc.ctx, out, &done, msg, chunk) == 1 &&
			done == chunk;
		msg += chunk;
		len -= (size_t) chunk;
	}
	if (ok)
		memcpy(tag, out + chunk - CRYPTO_TAG_BYTES, CRYPTO_TAG_BYTES);
	crypto_wipe(out, sizeof(out));
	return ok;
}

bool
crypto_hmac(const uint8_t *key, size_t keylen,
			const uint8_t *msg, size_t len, uint8_t out[32])
{
	static const uint8_t no_key[1];
	size_t		outlen = 0;

	if (hmac_ctx == NULL)
	{
		char		digest[] = "SHA256";
		OSSL_PARAM	params[2];
		EVP_MAC_CTX *ctx;

		if (hmac == NULL)
			hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
		if (hmac == NULL)
			return false;
		ctx = EVP_MAC_CTX_new(hmac);
		if (ctx == NULL)
			return false;
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
													 digest, 0);
		params[1] = OSSL_PARAM_construct_end();
		if (EVP_MAC_CTX_set_params(ctx, params) != 1)
		{
			EVP_MAC_CTX_free(ctx);
			return false;
		}
		hmac_ctx = ctx;
	}

	/* A NULL key would mean "the same as before" to OpenSSL. */
	return EVP_MAC_init(hmac_ctx, key != NULL ? key : no_key, keylen,
						NULL) == 1 &&
		EVP_MAC_update(hmac_ctx, msg, len) == 1 &&
		EVP_MAC_final(hmac_ctx, out, &outlen, 32) == 1 &&
		outlen == 32;
}

bool
crypto_sha256(const uint8_t *msg, size_t len, uint8_t out[32])
{
	unsigned int outlen = 0;

	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (sha256_ctx == NULL)
		sha256_ctx = EVP_MD_CTX_new();
	if (sha256 == NULL || sha256_ctx == NULL)
		return false;
	return EVP_DigestInit_ex2(sha256_ctx, sha256, NULL) == 1 &&
		EVP_DigestUpdate(sha256_ctx, msg, len) == 1 &&
		EVP_DigestFinal_ex(sha256_ctx, out, &outlen) == 1 &&
		outlen == 32;
}

/*
 * RFC 3394 on the block cipher: 24 steps over a register A and the key in
 * blocks of 8 bytes.  OpenSSL's own AES-256-WRAP gives the same bytes but
 * runs table-driven AES, about eight times slower and with its timing open
 * to the neighbours of the cache.
 */
#define WRAP_BLOCKS		(CRYPTO_KEY_BYTES / 8)
#define WRAP_STEPS		(6 * WRAP_BLOCKS)
#define WRAP_CHECK		0xA6

bool
crypto_wrap(const uint8_t kek[CRYPTO_KEY_BYTES],
			const uint8_t key[CRYPTO_KEY_BYTES],
			uint8_t out[CRYPTO_WRAPPED_BYTES])
{
	uint8_t		block[CRYPTO_BLOCK_BYTES];
	int			len = 0;
	bool		ok;

	ok = cipher_init(&ecb, true, kek, NULL);
	memset(block, WRAP_CHECK, 8);
	memcpy(out + 8, key, CRYPTO_KEY_BYTES);
	for (int t = 1; ok && t <= WRAP_STEPS; t++)
	{
		uint8_t    *r = out + 8 + 8 * ((t - 1) % WRAP_BLOCKS);

		memcpy(block + 8, r, 8);
		ok = EVP_EncryptUpdate(ecb.ctx, block, &len, block,
							   sizeof(block)) == 1 &&
			len == sizeof(block);
		block[7] ^= (uint8_t) t;
		memcpy(r, block + 8, 8);
	}
	memcpy(out, block, 8);
	if (!ok)
		crypto_wipe(out, CRYPTO_WRAPPED_BYTES);
	crypto_wipe(block, sizeof(block));
	return ok;
}

/* On failure key is zeroed. */
bool
crypto_unwrap(const uint8_t kek[CRYPTO_KEY_BYTES],
			  const uint8_t in[CRYPTO_WRAPPED_BYTES],
			  uint8_t key[CRYPTO_KEY_BYTES])
{
	uint8_t		check[8];
	uint8_t		block[CRYPTO_BLOCK_BYTES];
	int			len = 0;
	bool		ok;

	ok = cipher_init(&ecb_inverse, false, kek, NULL);
	memcpy(block, in, 8);
	memcpy(key, in + 8, CRYPTO_KEY_BYTES);
	for (int t = WRAP_STEPS; ok && t >= 1; t--)
	{
		uint8_t    *r = key + 8 * ((t - 1) % WRAP_BLOCKS);

		block[7] ^= (uint8_t) t;
		memcpy(block + 8, r, 8);
		ok = EVP_DecryptUpdate(ecb_inverse.ctx, block, &len, block,
							   sizeof(block)) == 1 &&
			len == sizeof(block);
		memcpy(r, block + 8, 8);
	}
	memset(check, WRAP_CHECK, sizeof(check));
	ok = ok && crypto_equal(block, check, sizeof(check));
	if (!ok)
		crypto_wipe(key, CRYPTO_KEY_BYTES);
	crypto_wipe(block, sizeof(block));
	return ok;
}

/* in and out may be the same buffer, here and in crypto_open */
bool
crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES],
			const uint8_t nonce[CRYPTO_NONCE_BYTES],
			const uint8_t *aad, size_t aadlen,
			const uint8_t *in, size_t len,
			uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES])
{
	int			done = 0;

	if (aadlen > INT_MAX || len > INT_MAX)
		return false;

	/* The default nonce length of GCM is CRYPTO_NONCE_BYTES. */
	return cipher_init(&gcm_seal, true, key, nonce) &&
		(aadlen == 0 ||
		 EVP_EncryptUpdate(gcm_seal.ctx, NULL, &done, aad,
						   (int) aadlen) == 1) &&
		(len == 0 ||
		 EVP_EncryptUpdate(gcm_seal.ctx, out, &done, in, (int) len) == 1) &&
		EVP_EncryptFinal_ex(gcm_seal.ctx, tag, &done) == 1 &&
		EVP_CIPHER_CTX_ctrl(gcm_seal.ctx, EVP_CTRL_AEAD_GET_TAG,
							CRYPTO_TAG_BYTES, tag) == 1;
}

bool
crypto_open(const uint8_t key[CRYPTO_KEY_BYTES],
			const uint8_t nonce[CRYPTO_NONCE_BYTES],
			const uint8_t *aad, size_t aadlen,
			const uint8_t *in, size_t len,
			uint8_t *out, const uint8_t tag[CRYPTO_TAG_BYTES])
{
	uint8_t		expected[CRYPTO_TAG_BYTES];
	uint8_t		none[CRYPTO_BLOCK_BYTES];
	int			done = 0;
	bool		ok;

	if (aadlen > INT_MAX || len > INT_MAX)
		return false;
	memcpy(expected, tag, sizeof(expected));
	ok = cipher_init(&gcm_open, false, key, nonce) &&
		(aadlen == 0 ||
		 EVP_DecryptUpdate(gcm_open.ctx, NULL, &done, aad,
						   (int) aadlen) == 1) &&
		(len == 0 ||
		 EVP_DecryptUpdate(gcm_open.ctx, out, &done, in, (int) len) == 1) &&
		EVP_CIPHER_CTX_ctrl(gcm_open.ctx, EVP_CTRL_AEAD_SET_TAG,
							CRYPTO_TAG_BYTES, expected) == 1 &&
		EVP_DecryptFinal_ex(gcm_open.ctx, none, &done) == 1;
	if (!ok && len > 0)
		crypto_wipe(out, len);
	return ok;
}
