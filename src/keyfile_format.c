/*
 * keyfile_format.c
 *		The keystore file's bytes, to structures and back; tags.
 *
 * A record's tag binds it to its keystore and to its position in the tree, so
 * a record is checked where it is met, never alone.
 */
#include "keyfile_internal.h"

#include <string.h>

/* offsets in a header page */
#define H_MAGIC			0
#define H_VERSION		8
#define H_KEK_VERSION	12
#define H_UUID			16
#define H_GENERATION	32
#define H_PUNCTURES		40
#define H_SYSTEM		48
#define H_TIMELINE		56
#define H_DATABASE		60
#define H_NEXT_BLOCK	64
#define H_RECORDS		68
#define H_EPOCH			72
#define H_REDO_COUNT	76
#define H_SUM			80
#define H_ROOTS			96
#define H_CREATED		224
#define H_INODE			232
#define H_REDO			768
#define H_REDO_ENTRY	(4 + KF_RECORD)
#define H_HMAC			4064
#define HMAC_BYTES		32

/* offsets in a record */
#define R_KIND			0
#define R_CHILDREN		1
#define R_KEK_VERSION	2
#define R_INDEX			4
#define R_BODY			8		/* wrapped seed, or the right index */
#define R_TAG			48

#define POSITION_BYTES	32

bool
kf_make_keys(const uint8_t uuid[KEYFILE_UUID_BYTES], uint32_t kek_version,
			 const uint8_t kek[CRYPTO_KEY_BYTES], KfKeys *keys)
{
	static const char wrap_label[] = "gdpr keystore wrap";
	static const char mac_label[] = "gdpr keystore mac";

	memcpy(keys->uuid, uuid, KEYFILE_UUID_BYTES);
	keys->kek_version = kek_version;
	return crypto_hmac(kek, CRYPTO_KEY_BYTES, (const uint8_t *) wrap_label,
					   sizeof(wrap_label) - 1, keys->wrap) &&
		crypto_hmac(kek, CRYPTO_KEY_BYTES, (const uint8_t *) mac_label,
					sizeof(mac_label) - 1, keys->mac);
}

/* Takes any bytes; redo is whatever they say, the entries are bounded. */
void
kf_decode_header(const uint8_t page[KF_PAGE], KfHeader *header)
{
	KeyfileInfo *info = &header->info;

	memset(header, 0, sizeof(*header));
	memcpy(info->uuid, page + H_UUID, KEYFILE_UUID_BYTES);
	info->kek_version = (uint32_t) kf_get(page + H_KEK_VERSION, 4);
	info->generation = kf_get(page + H_GENERATION, 8);
	info->punctures = kf_get(page + H_PUNCTURES, 8);
	info->system_identifier = kf_get(page + H_SYSTEM, 8);
	info->timeline = (uint32_t) kf_get(page + H_TIMELINE, 4);
	info->database = (uint32_t) kf_get(page + H_DATABASE, 4);
	info->next_block = (uint32_t) kf_get(page + H_NEXT_BLOCK, 4);
	info->records = (uint32_t) kf_get(page + H_RECORDS, 4);
	info->token_epoch = (uint32_t) kf_get(page + H_EPOCH, 4);
	info->redo = (uint32_t) kf_get(page + H_REDO_COUNT, 4);
	info->created = (int64_t) kf_get(page + H_CREATED, 8);
	info->inode = kf_get(page + H_INODE, 8);
	memcpy(header->sum, page + H_SUM, sizeof(header->sum));
	memcpy(header->root, page + H_ROOTS, sizeof(header->root));
	for (uint32_t i = 0; i < info->redo && i < KF_REDO; i++)
	{
		const uint8_t *entry = page + H_REDO + i * H_REDO_ENTRY;

		header->redo_index[i] = (uint32_t) kf_get(entry, 4);
		memcpy(header->redo_record[i], entry + 4, KF_RECORD);
	}
}

bool
kf_encode_header(const KfKeys *keys, const KfHeader *header,
				 uint8_t page[KF_PAGE])
{
	const KeyfileInfo *info = &header->info;

	memset(page, 0, KF_PAGE);
	memcpy(page + H_MAGIC, KF_MAGIC, KF_MAGIC_BYTES);
	kf_put(page + H_VERSION, KF_VERSION, 4);
	kf_put(page + H_KEK_VERSION, keys->kek_version, 4);
	memcpy(page + H_UUID, keys->uuid, KEYFILE_UUID_BYTES);
	kf_put(page + H_GENERATION, info->generation, 8);
	kf_put(page + H_PUNCTURES, info->punctures, 8);
	kf_put(page + H_SYSTEM, info->system_identifier, 8);
	kf_put(page + H_TIMELINE, info->timeline, 4);
	kf_put(page + H_DATABASE, info->database, 4);
	kf_put(page + H_NEXT_BLOCK, info->next_block, 4);
	kf_put(page + H_RECORDS, info->records, 4);
	kf_put(page + H_EPOCH, info->token_epoch, 4);
	kf_put(page + H_REDO_COUNT, info->redo, 4);
	memcpy(page + H_SUM, header->sum, sizeof(header->sum));
	memcpy(page + H_ROOTS, header->root, sizeof(header->root));
	kf_put(page + H_CREATED, (uint64_t) info->created, 8);
	kf_put(page + H_INODE, info->inode, 8);
	for (uint32_t i = 0; i < KF_REDO; i++)
	{
		uint8_t    *entry = page + H_REDO + i * H_REDO_ENTRY;

		if (i < info->redo)
		{
			kf_put(entry, header->redo_index[i], 4);
			memcpy(entry + 4, header->redo_record[i], KF_RECORD);
		}
		else
			kf_put(entry, KEYFILE_NO_RECORD, 4);
	}
	return crypto_hmac(keys->mac, CRYPTO_KEY_BYTES, page, H_HMAC,
					   page + H_HMAC);
}

/* Does the page authenticate, and make sense? */
bool
kf_check_header(const KfKeys *keys, const uint8_t page[KF_PAGE])
{
	uint8_t		expected[HMAC_BYTES];
	uint32_t	redo = (uint32_t) kf_get(page + H_REDO_COUNT, 4);
	uint32_t	records = (uint32_t) kf_get(page + H_RECORDS, 4);

	if (memcmp(page + H_MAGIC, KF_MAGIC, KF_MAGIC_BYTES) != 0 ||
		kf_get(page + H_VERSION, 4) != KF_VERSION ||
		memcmp(page + H_UUID, keys->uuid, KEYFILE_UUID_BYTES) != 0 ||
		!crypto_hmac(keys->mac, CRYPTO_KEY_BYTES, page, H_HMAC, expected) ||
		!crypto_equal(expected, page + H_HMAC, HMAC_BYTES) ||
		redo > KF_REDO)
		return false;
	for (uint32_t i = 0; i < redo; i++)
		if (kf_get(page + H_REDO + i * H_REDO_ENTRY, 4) >= records)
			return false;
	return true;
}

/* Which kind of record a position takes. */
static uint8_t
kind_at(KeytreeNode node)
{
	const KeytreeShape *shape = keytree_shape(node.tree);

	if (node.level == KF_ROOT_LEVEL || node.level < shape->binary_levels)
		return KF_BINARY;
	return node.level < shape->leaf_level ? KF_FAN_NODE : KF_FAN_LEAF;
}

/* Is this record possible at this position?  Says nothing about its tag. */
bool
kf_decode_record(const uint8_t bytes[KF_RECORD], KeytreeNode node,
				 KfRecord *record)
{
	bool		single;
	int			seeds = 0;

	memset(record, 0, sizeof(*record));
	record->kind = bytes[R_KIND];
	record->state[0] = bytes[R_CHILDREN] & 3;
	record->state[1] = bytes[R_CHILDREN] >> 2 & 3;
	if (record->kind != kind_at(node) || bytes[R_CHILDREN] > 15)
		return false;
	if (record->kind == KF_FAN_NODE)
	{
		record->index[0] = (uint32_t) kf_get(bytes + R_INDEX, 4);
		return bytes[R_CHILDREN] == 0;
	}
	single = record->kind == KF_FAN_LEAF || node.level == KF_ROOT_LEVEL;
	if ((single && record->state[1] != KF_HOLE) ||
		(record->kind == KF_FAN_LEAF && record->state[0] == KF_INNER))
		return false;
	for (int i = 0; i < 2; i++)
	{
		if (record->state[i] > KF_INNER)
			return false;
		if (record->state[i] == KF_SEED)
		{
			memcpy(record->wrapped, bytes + R_BODY, CRYPTO_WRAPPED_BYTES);
			seeds++;
		}
		if (record->state[i] == KF_INNER)
			record->index[i] =
				(uint32_t) kf_get(i == 1 && record->state[0] == KF_INNER ?
								  bytes + R_BODY : bytes + R_INDEX, 4);
	}
	return seeds <= 1;
}

static bool
make_tag(const KfKeys *keys, KeytreeNode node,
		 const uint8_t bytes[KF_RECORD], uint8_t tag[CRYPTO_TAG_BYTES])
{
	uint8_t		message[POSITION_BYTES + KF_TAGGED];

	memset(message, 0, POSITION_BYTES);
	memcpy(message, keys->uuid, KEYFILE_UUID_BYTES);
	message[16] = node.tree;
	message[17] = node.level;
	message[18] = bytes[R_KIND];
	kf_put(message + 20, node.path, 8);
	memcpy(message + POSITION_BYTES, bytes, KF_TAGGED);
	return crypto_mac(keys->mac, message, sizeof(message), tag);
}

bool
kf_encode_record(const KfKeys *keys, KeytreeNode node,
				 const KfRecord *record, uint8_t bytes[KF_RECORD])
{
	memset(bytes, 0, KF_RECORD);
	bytes[R_KIND] = record->kind;
	kf_put(bytes + R_KEK_VERSION, keys->kek_version & 0xFFFF, 2);
	if (record->kind == KF_FAN_NODE)
		kf_put(bytes + R_INDEX, record->index[0], 4);
	else
	{
		bytes[R_CHILDREN] = (uint8_t) (record->state[0] |
									   record->state[1] << 2);
		for (int i = 0; i < 2; i++)
		{
			if (record->state[i] == KF_SEED)
				memcpy(bytes + R_BODY, record->wrapped, CRYPTO_WRAPPED_BYTES);
			if (record->state[i] == KF_INNER)
				kf_put(i == 1 && record->state[0] == KF_INNER ?
					   bytes + R_BODY : bytes + R_INDEX, record->index[i], 4);
		}
	}
	return make_tag(keys, node, bytes, bytes + R_TAG);
}

bool
kf_check_record(const KfKeys *keys, KeytreeNode node,
				const uint8_t bytes[KF_RECORD])
{
	uint8_t		tag[CRYPTO_TAG_BYTES];

	return bytes[R_KIND] != KF_FREE &&
		make_tag(keys, node, bytes, tag) &&
		crypto_equal(tag, bytes + R_TAG, CRYPTO_TAG_BYTES);
}

bool
kf_is_zero(const uint8_t *buf, size_t len)
{
	uint8_t		any = 0;

	for (size_t i = 0; i < len; i++)
		any |= buf[i];
	return any == 0;
}

/* Where the record of a tree's root is. */
KeytreeNode
kf_root_position(int tree)
{
	KeytreeNode node = {0, (uint8_t) tree, KF_ROOT_LEVEL};

	return node;
}

/* The node whose descendants a record at this position decides about. */
KeytreeNode
kf_covered(KeytreeNode position)
{
	if (position.level == KF_ROOT_LEVEL)
		position.level = 0;
	return position;
}
