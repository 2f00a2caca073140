/*
 * person_map.h
 *		Two bits for each person: what is known of many of them at a time.
 *
 * Persons' numbers are given out one after the other, so the map is made of
 * pieces for 4096 consecutive ones, 1 kB each: 256 kB for a million persons.
 */
#ifndef GDPR_PERSON_MAP_H
#define GDPR_PERSON_MAP_H

#include "postgres.h"

typedef struct PersonMap PersonMap;

/* An empty map, in a memory context of its own below parent. */
extern PersonMap *person_map_create(MemoryContext parent);

/*
 * Make it empty, and return its memory.  From now on it does not grow beyond
 * limit bytes.
 */
extern void person_map_reset(PersonMap *map, Size limit);

/* 0 ... 3; 0 for a person that was never set. */
extern int	person_map_get(PersonMap *map, uint64 person);

/* False: the map has grown to its limit, and nothing was set. */
extern bool person_map_set(PersonMap *map, uint64 person, int value);

#endif							/* GDPR_PERSON_MAP_H */
