/*
 * crypto_test.c
 *		The primitives, against published answers and against OpenSSL's own
 *		AES-256-WRAP.
 */
#include "crypto.h"
#include "tap.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

static bool
is_hex(const uint8_t *bytes, const char *hex)
{
	uint8_t		expected[512];
	size_t		len = unhex(hex, expected);

	return memcmp(bytes, expected, len) == 0;
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* NIST SP 800-38A, F.1.5 and F.2.5 */
#define SP_KEY "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
#define SP_PLAIN "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" \
	"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"

static void
test_block_cipher(void)
{
	uint8_t		key[32];
	uint8_t		in[64];
	uint8_t		out[64];
	uint8_t		single[16];
	bool		same = true;

	unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", key);
	unhex("00112233445566778899aabbccddeeff", in);
	ok(crypto_prf(key, in, out, 1) &&
	   is_hex(out, "8ea2b7ca516745bfeafc49904b496089"),
	   "AES-256 gives the answer of FIPS 197, C.3");

	unhex(SP_KEY, key);
	unhex(SP_PLAIN, in);
	ok(crypto_prf(key, in, out, 4) &&
	   is_hex(out, "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
			  "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"),
	   "four blocks give the answer of SP 800-38A, F.1.5");
	for (int i = 0; i < 4; i++)
		same = same && crypto_prf(key, in + 16 * i, single, 1) &&
			memcmp(single, out + 16 * i, 16) == 0;
	ok(same, "blocks do not depend on each other");
	ok(crypto_prf(key, in, in, 4) && memcmp(in, out, 64) == 0,
	   "output may replace input");
	same = true;
	for (int i = 0; i < 6; i++)
	{
		key[31] = (uint8_t) (i / 2);
		if (i == 3)
			crypto_forget();
		same = same && crypto_prf(key, in, out, 2) &&
			crypto_prf_again(1, key, in, out + 32, 2) &&
			memcmp(out, out + 32, 32) == 0 &&
			crypto_prf_again((unsigned) i, key, in, out + 32, 2) &&
			memcmp(out, out + 32, 32) == 0;
	}
	ok(same, "a key that stays set up gives the same, until another comes");
	same = true;
	for (int i = 0; i < 2 * CRYPTO_KEPT_KEYS; i++)
	{
		key[i % 32] ^= 1;
		same = same && crypto_prf(key, in, out, 2) &&
			crypto_prf_again(3, key, in, out + 32, 2) &&
			memcmp(out, out + 32, 32) == 0;
	}
	ok(same, "every byte of a key tells it from another");
	ok(crypto_prf(key, in, out, 0) && !crypto_prf(key, in, out, -1),
	   "no blocks are fine, fewer are not");
}

static void
test_mac(void)
{
	uint8_t		key[32];
	uint8_t		message[1024];
	uint8_t		chained[16];
	uint8_t		tag[16];
	const char *iv = "000102030405060708090a0b0c0d0e0f";
	uint8_t		iv_bytes[16];

	/* the vector's IV belongs to the first block */
	unhex(SP_KEY, key);
	unhex(SP_PLAIN, message);
	unhex(iv, iv_bytes);
	for (int i = 0; i < 16; i++)
		message[i] ^= iv_bytes[i];
	ok(crypto_mac(key, message, 64, tag) &&
	   is_hex(tag, "b2eb05e2c39be9fcda6c19078c6a9d1b"),
	   "CBC-MAC is the last block of SP 800-38A, F.2.5");

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t) (i * 7);
	memset(chained, 0, sizeof(chained));
	for (size_t block = 0; block < sizeof(message) / 16; block++)
	{
		for (int i = 0; i < 16; i++)
			chained[i] ^= message[block * 16 + (size_t) i];
		must(crypto_prf(key, chained, chained, 1));
	}
	ok(crypto_mac(key, message, sizeof(message), tag) &&
	   memcmp(tag, chained, 16) == 0, "long messages are chained");
	ok(!crypto_mac(key, message, 0, tag) && !crypto_mac(key, message, 17, tag),
	   "CBC-MAC refuses what is not whole blocks");
}

static void
test_hashes(void)
{
	uint8_t		key[131];
	uint8_t		out[32];
	bool		same;
	const char *message = "Test Using Larger Than Block-Size Key - Hash Key First";

	ok(crypto_sha256((const uint8_t *) "abc", 3, out) &&
	   is_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
	   "SHA-256 of FIPS 180-4");
	ok(crypto_sha256((const uint8_t *) "", 0, out) &&
	   is_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
	   "SHA-256 of nothing");

	memset(key, 0x0b, 20);
	ok(crypto_hmac(key, 20, (const uint8_t *) "Hi There", 8, out) &&
	   is_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
	   "HMAC-SHA-256 of RFC 4231, case 1");
	ok(crypto_hmac((const uint8_t *) "Jefe", 4,
				   (const uint8_t *) "what do ya want for nothing?", 28, out) &&
	   is_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
	   "HMAC-SHA-256 of RFC 4231, case 2");
	memset(key, 0xaa, sizeof(key));
	ok(crypto_hmac(key, sizeof(key), (const uint8_t *) message,
				   strlen(message), out) &&
	   is_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
	   "HMAC-SHA-256 of RFC 4231, case 6");
	ok(crypto_hmac(NULL, 0, (const uint8_t *) "", 0, out) &&
	   is_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
	   "HMAC-SHA-256 of nothing under nothing");

	/* by turns: a context must not go on with the key of another call */
	same = true;
	for (int i = 0; i < 3 * CRYPTO_KEPT_HMACS; i++)
	{
		uint8_t		fresh[32];

		memset(key, i / 2, CRYPTO_KEY_BYTES);
		same = same &&
			crypto_hmac(key, CRYPTO_KEY_BYTES, key, (size_t) i, fresh) &&
			crypto_hmac_again((unsigned) i % 3, key, key, (size_t) i, out) &&
			memcmp(out, fresh, 32) == 0 &&
			crypto_hmac_again((unsigned) i % 3, key, key, (size_t) i, out) &&
			memcmp(out, fresh, 32) == 0;
	}
	ok(same, "HMAC with kept keys is HMAC");
}

static void
test_wrap(void)
{
	uint8_t		kek[32];
	uint8_t		key[32];
	uint8_t		back[32];
	uint8_t		wrapped[CRYPTO_WRAPPED_BYTES];
	uint8_t		theirs[64];
	bool		same = true;
	bool		refused = true;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", kek);
	unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f", key);
	ok(crypto_wrap(kek, key, wrapped) &&
	   is_hex(wrapped, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
	   "key wrap gives the answer of RFC 3394, 4.6");
	ok(crypto_unwrap(kek, wrapped, back) && memcmp(back, key, 32) == 0,
	   "and unwraps it");

	for (int i = 0; i < CRYPTO_WRAPPED_BYTES * 8; i++)
	{
		wrapped[i / 8] ^= (uint8_t) (1 << i % 8);
		memset(back, 0xee, sizeof(back));
		refused = refused && !crypto_unwrap(kek, wrapped, back) &&
			is_zero(back, sizeof(back));
		wrapped[i / 8] ^= (uint8_t) (1 << i % 8);
	}
	ok(refused, "a wrapped key with any bit flipped is refused and leaves zeros");
	kek[0] ^= 1;
	ok(!crypto_unwrap(kek, wrapped, back), "another KEK is refused");

	must(cipher != NULL && ctx != NULL);
	for (int i = 0; i < 200; i++)
	{
		int			len;

		must(crypto_random(kek, 32) && crypto_random(key, 32));
		must(crypto_wrap(kek, key, wrapped));
		EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
		must(EVP_EncryptInit_ex2(ctx, cipher, kek, NULL, NULL) == 1);
		must(EVP_EncryptUpdate(ctx, theirs, &len, key, 32) == 1);
		same = same && len == CRYPTO_WRAPPED_BYTES &&
			memcmp(theirs, wrapped, CRYPTO_WRAPPED_BYTES) == 0 &&
			crypto_unwrap(kek, theirs, back) && memcmp(back, key, 32) == 0;
	}
	ok(same, "200 random keys are wrapped as OpenSSL wraps them");
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(cipher);
}

#define GCM_PLAIN "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721" \
	"c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"

static void
test_gcm(void)
{
	uint8_t		key[32] = {0};
	uint8_t		nonce[12] = {0};
	uint8_t		aad[20];
	uint8_t		plain[60] = {0};
	uint8_t		out[60];
	uint8_t		tag[16];
	bool		refused = true;

	ok(crypto_seal(key, nonce, NULL, 0, NULL, 0, NULL, tag) &&
	   is_hex(tag, "530f8afbc74536b9a963b4f1c4cb738b"),
	   "AES-256-GCM of nothing: test case 13 of the GCM specification");
	ok(crypto_open(key, nonce, NULL, 0, NULL, 0, NULL, tag),
	   "and opens it");
	tag[15] ^= 1;
	ok(!crypto_open(key, nonce, NULL, 0, NULL, 0, NULL, tag),
	   "but not with another tag");
	ok(crypto_seal(key, nonce, NULL, 0, plain, 16, out, tag) &&
	   is_hex(out, "cea7403d4d606b6e074ec5d3baf39d18") &&
	   is_hex(tag, "d0d1c8a799996bf0265b98b5d48ab919"), "test case 14");

	unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key);
	unhex("cafebabefacedbaddecaf888", nonce);
	unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
	unhex(GCM_PLAIN, plain);
	ok(crypto_seal(key, nonce, aad, 20, plain, 60, out, tag) &&
	   is_hex(out, "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8"
			  "cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662") &&
	   is_hex(tag, "76fc6ece0f4e1768cddf8853bb2d551b"), "test case 16");

	for (int i = 0; i < (12 + 20 + 60 + 16) * 8; i++)
	{
		uint8_t    *where;
		int			byte = i / 8;
		uint8_t		back[60];

		if (byte < 12)
			where = nonce + byte;
		else if (byte < 32)
			where = aad + (byte - 12);
		else if (byte < 92)
			where = out + (byte - 32);
		else
			where = tag + (byte - 92);
		*where ^= (uint8_t) (1 << i % 8);
		memset(back, 0xee, sizeof(back));
		refused = refused &&
			!crypto_open(key, nonce, aad, 20, out, 60, back, tag) &&
			is_zero(back, sizeof(back));
		*where ^= (uint8_t) (1 << i % 8);
	}
	ok(refused, "any bit flipped in nonce, data, ciphertext or tag is refused "
	   "and leaves zeros");
	ok(crypto_open(key, nonce, aad, 20, out, 60, out, tag) &&
	   memcmp(out, plain, 60) == 0, "opens in place");
	ok(crypto_seal(key, nonce, aad, 20, out, 60, out, tag) &&
	   is_hex(tag, "76fc6ece0f4e1768cddf8853bb2d551b"), "seals in place");
}

/* Contexts are kept: uses must not leave traces in each other. */
static bool
all_agree(void)
{
	uint8_t		key[2][32];
	uint8_t		in[32] = {3};
	uint8_t		first[2][6][64];
	bool		same = true;

	memset(key[0], 1, 32);
	memset(key[1], 2, 32);
	memset(first, 0, sizeof(first));
	for (int round = 0; round < 4; round++)
	{
		uint8_t		out[6][64];
		uint8_t    *k = key[round % 2];

		memset(out, 0, sizeof(out));
		same = same && crypto_prf(k, in, out[0], 2) &&
			crypto_seal(k, in, in, 16, in, 32, out[1], out[1] + 32) &&
			crypto_mac(k, in, 32, out[2]) &&
			crypto_wrap(k, in, out[3]) &&
			crypto_unwrap(k, out[3], out[4]) &&
			crypto_hmac(k, 32, in, 32, out[5]) &&
			crypto_open(k, in, in, 16, out[1], 32, out[0] + 32, out[1] + 32);
		if (round < 2)
			memcpy(first[round], out, sizeof(out));
		else
			same = same && memcmp(first[round % 2], out, sizeof(out)) == 0;
	}
	return same;
}

static void
test_contexts(void)
{
	uint8_t		a[32];
	uint8_t		b[32];
	int			status;
	pid_t		child;

	ok(all_agree(), "interleaved uses do not disturb each other");
	crypto_forget();
	ok(all_agree(), "crypto_forget() drops contexts, not abilities");
	crypto_forget();
	crypto_forget();
	child = fork();
	must(child >= 0);
	if (child == 0)
	{
		bool		agree = all_agree();

		crypto_forget();
		_exit(agree ? 0 : 1);
	}
	must(waitpid(child, &status, 0) == child);
	ok(status == 0 && all_agree(), "parent and child work on after fork()");

	ok(crypto_random(a, 32) && crypto_random(b, 32) &&
	   memcmp(a, b, 32) != 0 && crypto_random(a, 0), "random bytes differ");
	memcpy(b, a, 32);
	ok(crypto_equal(a, b, 32), "equal is equal");
	b[31] ^= 0x80;
	ok(!crypto_equal(a, b, 32) && crypto_equal(a, b, 31) && crypto_equal(a, b, 0),
	   "and a difference in the last byte is one");
	crypto_wipe(a, 32);
	ok(is_zero(a, 32), "wiping leaves zeros");
}

static void
test_nonces(void)
{
	uint8_t		drawn[200][CRYPTO_NONCE_BYTES];
	uint8_t		childs[100][CRYPTO_NONCE_BYTES];
	bool		distinct = true;
	int			pipes[2];
	int			status;
	pid_t		child;

	for (int i = 0; i < 100; i++)
		must(crypto_nonce(drawn[i]));
	must(pipe(pipes) == 0);
	child = fork();
	must(child >= 0);
	if (child == 0)
	{
		for (int i = 0; i < 100; i++)
			if (!crypto_nonce(childs[i]))
				_exit(1);
		_exit(write(pipes[1], childs, sizeof(childs)) == sizeof(childs) ? 0 : 1);
	}
	for (int i = 100; i < 200; i++)
		must(crypto_nonce(drawn[i]));
	must(read(pipes[0], childs, sizeof(childs)) == sizeof(childs));
	must(waitpid(child, &status, 0) == child && status == 0);
	for (int i = 0; i < 200; i++)
	{
		for (int j = 0; j < i; j++)
			distinct = distinct && memcmp(drawn[i], drawn[j], sizeof(drawn[i])) != 0;
		for (int j = 0; j < 100; j++)
			distinct = distinct && memcmp(drawn[i], childs[j], sizeof(drawn[i])) != 0;
	}
	ok(distinct, "no nonce comes twice, in a child process neither");
}

int
main(void)
{
	test_nonces();
	test_block_cipher();
	test_mac();
	test_hashes();
	test_wrap();
	test_gcm();
	test_contexts();
	crypto_forget();
	return done();
}
