/*
 * former.h
 *		Numbers that rows had before unprotect(), for when they are protected
 *		again: a person keeps its number, and forget() reaches the backups from
 *		before.
 */
#ifndef GDPR_FORMER_H
#define GDPR_FORMER_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* Between these two, with SPI connected, the others can be called. */
extern void former_begin(Oid relid);
extern void former_end(void);

extern void former_remember(const StringInfo rowkey, uint64 number);

/*
 * The number that the row with this key had, which is given out once; 0: none,
 * or it was forgotten.
 */
extern uint64 former_number(const StringInfo rowkey);

/* The same for one row, where SPI may not be connected. */
extern uint64 former_number_of(Oid relid, const StringInfo rowkey);

#endif							/* GDPR_FORMER_H */
