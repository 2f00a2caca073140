/*
 * person_map.c
 *		Two bits for each person: what is known of many of them at a time.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "person_map.h"

#define PIECE_PERSONS	4096
#define PIECE_BYTES		(PIECE_PERSONS / 4)
#define RECENT_PIECES	1024	/* a power of 2 */

typedef struct Piece
{
	uint64		first;			/* number / PIECE_PERSONS: the key */
	uint8		bits[PIECE_BYTES];
} Piece;

struct PersonMap
{
	MemoryContext context;
	HTAB	   *pieces;			/* NULL: the map is empty */
	Piece	  **recent;			/* those that were used last, by first: persons
								 * often come in no order */
	Size		limit;
};

PersonMap *
person_map_create(MemoryContext parent)
{
	PersonMap  *map = MemoryContextAllocZero(parent, sizeof(PersonMap));

	map->context = AllocSetContextCreate(parent, "gdpr persons",
										 ALLOCSET_SMALL_SIZES);
	return map;
}

void
person_map_reset(PersonMap *map, Size limit)
{
	map->limit = limit;
	if (map->pieces == NULL)
		return;
	map->pieces = NULL;
	map->recent = NULL;
	MemoryContextReset(map->context);
}

static void
make_pieces(PersonMap *map)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(Piece);
	ctl.hcxt = map->context;
	map->pieces = hash_create("gdpr persons", 16, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	map->recent = MemoryContextAllocZero(map->context,
										 sizeof(Piece *) * RECENT_PIECES);
}

/* The piece with a person, or NULL. */
static Piece *
find_piece(PersonMap *map, uint64 person)
{
	uint64		first = person / PIECE_PERSONS;
	Piece	  **recent;

	if (map->pieces == NULL)
		return NULL;
	recent = &map->recent[first % RECENT_PIECES];
	if (*recent == NULL || (*recent)->first != first)
		*recent = hash_search(map->pieces, &first, HASH_FIND, NULL);
	return *recent;
}

int
person_map_get(PersonMap *map, uint64 person)
{
	const Piece *piece = find_piece(map, person);
	int			place = person % PIECE_PERSONS;

	if (piece == NULL)
		return 0;
	return (piece->bits[place / 4] >> (place % 4 * 2)) & 3;
}

bool
person_map_set(PersonMap *map, uint64 person, int value)
{
	Piece	   *piece = find_piece(map, person);
	int			place = person % PIECE_PERSONS;
	int			shift = place % 4 * 2;

	if (piece == NULL)
	{
		uint64		first = person / PIECE_PERSONS;

		if (map->pieces == NULL)
			make_pieces(map);
		if (MemoryContextMemAllocated(map->context, true) + sizeof(Piece) >
			map->limit)
			return false;
		piece = hash_search(map->pieces, &first, HASH_ENTER, NULL);
		memset(piece->bits, 0, PIECE_BYTES);
		map->recent[first % RECENT_PIECES] = piece;
	}
	piece->bits[place / 4] =
		(uint8) ((piece->bits[place / 4] & ~(3 << shift)) | (value << shift));
	return true;
}
