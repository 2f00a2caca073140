/*
 * crypto.h
 *		The cryptographic primitives, and the only user of OpenSSL.
 *
 * No PostgreSQL here: functions return true or false, callers report.  All
 * are safe to call in a loop without leaking; contexts are kept per process.
 */
#ifndef GDPR_CRYPTO_H
#define GDPR_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_KEY_BYTES	32
#define CRYPTO_BLOCK_BYTES	16
#define CRYPTO_NONCE_BYTES	12
#define CRYPTO_TAG_BYTES	16
#define CRYPTO_WRAPPED_BYTES (CRYPTO_KEY_BYTES + 8)
#define CRYPTO_KEPT_KEYS	16	/* that crypto_prf_again() holds at a time */
#define CRYPTO_KEPT_HMACS	8	/* that crypto_hmac_again() holds */

extern void crypto_wipe(void *buf, size_t len);

/* drops the contexts, and with them the keys last used; for idle processes */
extern void crypto_forget(void);

extern bool crypto_random(uint8_t *buf, size_t len);

/* random too, but drawn in advance: for what is not secret */
extern bool crypto_nonce(uint8_t nonce[CRYPTO_NONCE_BYTES]);
extern bool crypto_equal(const void *a, const void *b, size_t len);

/* AES-256 on nblocks single blocks (ECB as a permutation, never on data) */
extern bool crypto_prf(const uint8_t key[CRYPTO_KEY_BYTES],
					   const uint8_t *in, uint8_t *out, int nblocks);

/* the same; faster while the key is the one of the last call for `which` */
extern bool crypto_prf_again(unsigned which,
							 const uint8_t key[CRYPTO_KEY_BYTES],
							 const uint8_t *in, uint8_t *out, int nblocks);

/* CBC-MAC of a fixed-length message, len a multiple of 16; never two lengths under one key */
extern bool crypto_mac(const uint8_t key[CRYPTO_KEY_BYTES],
					   const uint8_t *msg, size_t len,
					   uint8_t tag[CRYPTO_TAG_BYTES]);

extern bool crypto_hmac(const uint8_t *key, size_t keylen,
						const uint8_t *msg, size_t len, uint8_t out[32]);

/* the same; faster while the key is the one of the last call for `which` */
extern bool crypto_hmac_again(unsigned which,
							  const uint8_t key[CRYPTO_KEY_BYTES],
							  const uint8_t *msg, size_t len, uint8_t out[32]);
extern bool crypto_sha256(const uint8_t *msg, size_t len, uint8_t out[32]);

/* RFC 3394; unwrap returns false when the wrapped key does not authenticate */
extern bool crypto_wrap(const uint8_t kek[CRYPTO_KEY_BYTES],
						const uint8_t key[CRYPTO_KEY_BYTES],
						uint8_t out[CRYPTO_WRAPPED_BYTES]);
extern bool crypto_unwrap(const uint8_t kek[CRYPTO_KEY_BYTES],
						  const uint8_t in[CRYPTO_WRAPPED_BYTES],
						  uint8_t key[CRYPTO_KEY_BYTES]);

/* AES-256-GCM; open returns false when the tag does not match (out is wiped) */
extern bool crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES],
						const uint8_t nonce[CRYPTO_NONCE_BYTES],
						const uint8_t *aad, size_t aadlen,
						const uint8_t *in, size_t len,
						uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES]);
extern bool crypto_open(const uint8_t key[CRYPTO_KEY_BYTES],
						const uint8_t nonce[CRYPTO_NONCE_BYTES],
						const uint8_t *aad, size_t aadlen,
						const uint8_t *in, size_t len,
						uint8_t *out, const uint8_t tag[CRYPTO_TAG_BYTES]);

#endif							/* GDPR_CRYPTO_H */
