/*
 * crypto.c
 *		The cryptographic primitives over OpenSSL (3.0 and later).
 *
 * Fetching an algorithm and making a context cost more than using them, so
 * each kind of operation has one context per process, made on first use and
 * keyed anew at every call.  After fork() parent and child have copies that
 * share nothing.  Not for threads.
 *
 * Ciphers are fetched with EVP, so that the configuration of the system
 * chooses the provider, and then called through that provider's own functions
 * (provider-cipher(7)): every row takes several new keys, and EVP 3.0 spends
 * more on asking a context for the length of its key, by name, than AES does
 * on the key.
 *
 * A context holds the expansion of the last key it was given until the next
 * one replaces it; crypto_forget() drops them all.
 */
#include "crypto.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

/* An algorithm as its provider offers it; NULL where it was not asked for */
typedef struct Cipher
{
	const char *name;
	EVP_CIPHER *fetched;		/* keeps its provider loaded */
	void	   *provider_context;
	OSSL_FUNC_cipher_newctx_fn *newctx;
	OSSL_FUNC_cipher_freectx_fn *freectx;
	OSSL_FUNC_cipher_encrypt_init_fn *encrypt_init;
	OSSL_FUNC_cipher_decrypt_init_fn *decrypt_init;
	OSSL_FUNC_cipher_update_fn *update;
	OSSL_FUNC_cipher_final_fn *final;
	OSSL_FUNC_cipher_cipher_fn *blocks; /* whole blocks: no padding, no end */
	OSSL_FUNC_cipher_get_ctx_params_fn *get_params;
} Cipher;

static Cipher ecb = {.name = "AES-256-ECB"};
static Cipher cbc = {.name = "AES-256-CBC"};
static Cipher gcm = {.name = "AES-256-GCM"};

/* A context of a cipher, for one direction */
typedef struct CipherSlot
{
	Cipher	   *cipher;
	bool		encrypt;
	void	   *ctx;
} CipherSlot;

static CipherSlot prf = {&ecb, true, NULL};
static CipherSlot unwrap = {&ecb, false, NULL};
static CipherSlot cbc_mac = {&cbc, true, NULL};
static CipherSlot gcm_seal = {&gcm, true, NULL};
static CipherSlot gcm_open = {&gcm, false, NULL};

/* Contexts that stay keyed */
typedef struct KeptCipher
{
	CipherSlot	slot;
	uint8_t		key[CRYPTO_KEY_BYTES];
} KeptCipher;

typedef struct KeptHmac
{
	EVP_MAC_CTX *ctx;
	uint8_t		key[CRYPTO_KEY_BYTES];
} KeptHmac;

static KeptCipher kept[CRYPTO_KEPT_KEYS];
static KeptHmac kept_hmac[CRYPTO_KEPT_HMACS];

static EVP_MD *sha256 = NULL;
static EVP_MD_CTX *sha256_ctx = NULL;
static EVP_MAC *hmac = NULL;
static EVP_MAC_CTX *hmac_ctx = NULL;

/* Takes one function of a provider's table. */
static void
cipher_take(Cipher *cipher, const OSSL_DISPATCH *entry)
{
	switch (entry->function_id)
	{
		case OSSL_FUNC_CIPHER_NEWCTX:
			cipher->newctx = OSSL_FUNC_cipher_newctx(entry);
			break;
		case OSSL_FUNC_CIPHER_FREECTX:
			cipher->freectx = OSSL_FUNC_cipher_freectx(entry);
			break;
		case OSSL_FUNC_CIPHER_ENCRYPT_INIT:
			cipher->encrypt_init = OSSL_FUNC_cipher_encrypt_init(entry);
			break;
		case OSSL_FUNC_CIPHER_DECRYPT_INIT:
			cipher->decrypt_init = OSSL_FUNC_cipher_decrypt_init(entry);
			break;
		case OSSL_FUNC_CIPHER_UPDATE:
			cipher->update = OSSL_FUNC_cipher_update(entry);
			break;
		case OSSL_FUNC_CIPHER_FINAL:
			cipher->final = OSSL_FUNC_cipher_final(entry);
			break;
		case OSSL_FUNC_CIPHER_CIPHER:
			cipher->blocks = OSSL_FUNC_cipher_cipher(entry);
			break;
		case OSSL_FUNC_CIPHER_GET_CTX_PARAMS:
			cipher->get_params = OSSL_FUNC_cipher_get_ctx_params(entry);
			break;
		default:
			break;
	}
}

/* Is a name among those of an algorithm, which colons separate? */
static bool
has_name(const char *names, const char *name)
{
	size_t		len = strlen(name);

	while (names != NULL)
	{
		if (strncasecmp(names, name, len) == 0 &&
			(names[len] == '\0' || names[len] == ':'))
			return true;
		names = strchr(names, ':');
		if (names != NULL)
			names++;
	}
	return false;
}

/* On first use: finds the functions. */
static bool
cipher_find(Cipher *cipher)
{
	EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, cipher->name, NULL);
	const OSSL_PROVIDER *provider;
	const OSSL_ALGORITHM *algorithms;
	int			no_cache = 0;

	if (fetched == NULL)
		return false;
	provider = EVP_CIPHER_get0_provider(fetched);
	algorithms = OSSL_PROVIDER_query_operation(provider, OSSL_OP_CIPHER,
											   &no_cache);
	for (const OSSL_ALGORITHM *a = algorithms;
		 a != NULL && a->algorithm_names != NULL; a++)
	{
		if (!has_name(a->algorithm_names, cipher->name))
			continue;
		for (const OSSL_DISPATCH *entry = a->implementation;
			 entry->function_id != 0; entry++)
			cipher_take(cipher, entry);
		break;
	}
	if (algorithms != NULL)
		OSSL_PROVIDER_unquery_operation(provider, OSSL_OP_CIPHER, algorithms);
	cipher->provider_context = OSSL_PROVIDER_get0_provider_ctx(provider);
	if (cipher->freectx != NULL && cipher->encrypt_init != NULL &&
		cipher->decrypt_init != NULL && cipher->update != NULL &&
		cipher->final != NULL && cipher->blocks != NULL &&
		cipher->get_params != NULL && cipher->newctx != NULL)
	{
		cipher->fetched = fetched;
		return true;
	}
	EVP_CIPHER_free(fetched);
	return false;
}

/* Key the slot's context; params, if not NULL, go along. */
static inline bool
cipher_init(CipherSlot *slot, const uint8_t *key, const uint8_t *iv,
			size_t ivlen, const OSSL_PARAM *params)
{
	Cipher	   *cipher = slot->cipher;

	if (slot->ctx == NULL)
	{
		if (cipher->fetched == NULL && !cipher_find(cipher))
			return false;
		slot->ctx = cipher->newctx(cipher->provider_context);
		if (slot->ctx == NULL)
			return false;
	}
	return (slot->encrypt ? cipher->encrypt_init : cipher->decrypt_init)
		(slot->ctx, key, CRYPTO_KEY_BYTES, iv, ivlen, params) == 1;
}

/* Whole blocks through a context that is keyed; out may be in. */
static inline bool
cipher_blocks(CipherSlot *slot, const uint8_t *in, uint8_t *out, size_t len)
{
	size_t		done = 0;

	return slot->cipher->blocks(slot->ctx, out, &done, len, in, len) == 1 &&
		done == len;
}

static void
cipher_drop(CipherSlot *slot)
{
	if (slot->ctx != NULL)
		slot->cipher->freectx(slot->ctx);
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
	cipher_drop(&prf);
	cipher_drop(&unwrap);
	cipher_drop(&cbc_mac);
	cipher_drop(&gcm_seal);
	cipher_drop(&gcm_open);
	for (int i = 0; i < CRYPTO_KEPT_KEYS; i++)
	{
		cipher_drop(&kept[i].slot);
		crypto_wipe(kept[i].key, sizeof(kept[i].key));
	}
	for (int i = 0; i < CRYPTO_KEPT_HMACS; i++)
	{
		EVP_MAC_CTX_free(kept_hmac[i].ctx);
		crypto_wipe(&kept_hmac[i], sizeof(kept_hmac[i]));
	}
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
	return nblocks >= 0 && cipher_init(&prf, key, NULL, 0, NULL) &&
		cipher_blocks(&prf, in, out, (size_t) nblocks * CRYPTO_BLOCK_BYTES);
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
	KeptCipher *again = &kept[which % CRYPTO_KEPT_KEYS];

	if (nblocks < 0)
		return false;
	if (again->slot.ctx == NULL || !same_key(again->key, key))
	{
		again->slot.cipher = &ecb;
		again->slot.encrypt = true;
		if (!cipher_init(&again->slot, key, NULL, 0, NULL))
		{
			cipher_drop(&again->slot);
			return false;
		}
		memcpy(again->key, key, CRYPTO_KEY_BYTES);
	}
	return cipher_blocks(&again->slot, in, out,
						 (size_t) nblocks * CRYPTO_BLOCK_BYTES);
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
	size_t		chunk = 0;
	bool		ok;

	if (len == 0 || len % CRYPTO_BLOCK_BYTES != 0)
		return false;
	ok = cipher_init(&cbc_mac, key, zero_iv, sizeof(zero_iv), NULL);
	while (ok && len > 0)
	{
		chunk = len > sizeof(out) ? sizeof(out) : len;
		ok = cipher_blocks(&cbc_mac, msg, out, chunk);
		msg += chunk;
		len -= chunk;
	}
	if (ok)
		memcpy(tag, out + chunk - CRYPTO_TAG_BYTES, CRYPTO_TAG_BYTES);
	crypto_wipe(out, sizeof(out));
	return ok;
}

/* A context for HMAC with SHA-256, or NULL. */
static EVP_MAC_CTX *
hmac_make(void)
{
	char		digest[] = "SHA256";
	OSSL_PARAM	params[2];
	EVP_MAC_CTX *ctx;

	if (hmac == NULL)
		hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (hmac == NULL)
		return NULL;
	ctx = EVP_MAC_CTX_new(hmac);
	if (ctx == NULL)
		return NULL;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
												 digest, 0);
	params[1] = OSSL_PARAM_construct_end();
	if (EVP_MAC_CTX_set_params(ctx, params) != 1)
	{
		EVP_MAC_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static bool
hmac_finish(EVP_MAC_CTX *ctx, const uint8_t *msg, size_t len, uint8_t out[32])
{
	size_t		outlen = 0;

	return EVP_MAC_update(ctx, msg, len) == 1 &&
		EVP_MAC_final(ctx, out, &outlen, 32) == 1 &&
		outlen == 32;
}

bool
crypto_hmac(const uint8_t *key, size_t keylen,
			const uint8_t *msg, size_t len, uint8_t out[32])
{
	static const uint8_t no_key[1];

	if (hmac_ctx == NULL && (hmac_ctx = hmac_make()) == NULL)
		return false;

	/* A NULL key would mean "the same as before" to OpenSSL. */
	return EVP_MAC_init(hmac_ctx, key != NULL ? key : no_key, keylen,
						NULL) == 1 &&
		hmac_finish(hmac_ctx, msg, len, out);
}

/*
 * Does a NULL key mean "the same as before" to HMAC?  Before 3.0.3 it was
 * accepted, but the computation went on where the last one had ended.
 */
static bool
hmac_keeps_key(void)
{
	return OpenSSL_version_num() >= 0x30000030L;
}

/* The same, for a key that comes again and again: it stays set up. */
bool
crypto_hmac_again(unsigned which, const uint8_t key[CRYPTO_KEY_BYTES],
				  const uint8_t *msg, size_t len, uint8_t out[32])
{
	KeptHmac   *again = &kept_hmac[which % CRYPTO_KEPT_HMACS];
	bool		keyed = again->ctx != NULL && hmac_keeps_key() &&
		same_key(again->key, key);

	if (again->ctx == NULL && (again->ctx = hmac_make()) == NULL)
		return false;
	if (EVP_MAC_init(again->ctx, keyed ? NULL : key,
					 keyed ? 0 : CRYPTO_KEY_BYTES, NULL) != 1)
	{
		EVP_MAC_CTX_free(again->ctx);
		crypto_wipe(again, sizeof(*again));
		return false;
	}
	memcpy(again->key, key, CRYPTO_KEY_BYTES);
	return hmac_finish(again->ctx, msg, len, out);
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
	bool		ok;

	ok = cipher_init(&prf, kek, NULL, 0, NULL);
	memset(block, WRAP_CHECK, 8);
	memcpy(out + 8, key, CRYPTO_KEY_BYTES);
	for (int t = 1; ok && t <= WRAP_STEPS; t++)
	{
		uint8_t    *r = out + 8 + 8 * ((t - 1) % WRAP_BLOCKS);

		memcpy(block + 8, r, 8);
		ok = cipher_blocks(&prf, block, block, sizeof(block));
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
	bool		ok;

	ok = cipher_init(&unwrap, kek, NULL, 0, NULL);
	memcpy(block, in, 8);
	memcpy(key, in + 8, CRYPTO_KEY_BYTES);
	for (int t = WRAP_STEPS; ok && t >= 1; t--)
	{
		uint8_t    *r = key + 8 * ((t - 1) % WRAP_BLOCKS);

		block[7] ^= (uint8_t) t;
		memcpy(block + 8, r, 8);
		ok = cipher_blocks(&unwrap, block, block, sizeof(block));
		memcpy(r, block + 8, 8);
	}
	memset(check, WRAP_CHECK, sizeof(check));
	ok = ok && crypto_equal(block, check, sizeof(check));
	if (!ok)
		crypto_wipe(key, CRYPTO_KEY_BYTES);
	crypto_wipe(block, sizeof(block));
	return ok;
}

/* Associated data and text through a context that is keyed. */
static inline bool
aead_update(CipherSlot *slot, const uint8_t *aad, size_t aadlen,
			const uint8_t *in, size_t len, uint8_t *out)
{
	size_t		done = 0;

	return (aadlen == 0 ||
			slot->cipher->update(slot->ctx, NULL, &done, aadlen, aad,
								 aadlen) == 1) &&
		(len == 0 ||
		 (slot->cipher->update(slot->ctx, out, &done, len, in, len) == 1 &&
		  done == len));
}

/* in and out may be the same buffer, here and in crypto_open */
bool
crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES],
			const uint8_t nonce[CRYPTO_NONCE_BYTES],
			const uint8_t *aad, size_t aadlen,
			const uint8_t *in, size_t len,
			uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES])
{
	uint8_t		none[CRYPTO_BLOCK_BYTES];
	size_t		done = 0;
	OSSL_PARAM	params[2];

	params[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG,
												  tag, CRYPTO_TAG_BYTES);
	params[1] = OSSL_PARAM_construct_end();
	return cipher_init(&gcm_seal, key, nonce, CRYPTO_NONCE_BYTES, NULL) &&
		aead_update(&gcm_seal, aad, aadlen, in, len, out) &&
		gcm.final(gcm_seal.ctx, none, &done, sizeof(none)) == 1 &&
		gcm.get_params(gcm_seal.ctx, params) == 1;
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
	size_t		done = 0;
	OSSL_PARAM	params[2];
	bool		ok;

	memcpy(expected, tag, sizeof(expected));
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG,
												  expected, sizeof(expected));
	params[1] = OSSL_PARAM_construct_end();
	ok = cipher_init(&gcm_open, key, nonce, CRYPTO_NONCE_BYTES, params) &&
		aead_update(&gcm_open, aad, aadlen, in, len, out) &&
		gcm.final(gcm_open.ctx, none, &done, sizeof(none)) == 1;
	if (!ok && len > 0)
		crypto_wipe(out, len);
	return ok;
}
