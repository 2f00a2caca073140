/*
 * provenance.h
 *		When, by whom, through what and from where each person was entered
 *		(Art. 14 GDPR).
 */
#ifndef GDPR_PROVENANCE_H
#define GDPR_PROVENANCE_H

#include "postgres.h"

typedef enum ProvenanceHow
{
	PROVENANCE_ENTERED,			/* with a new row */
	PROVENANCE_PROTECTED,		/* a row that was there was sealed */
	PROVENANCE_SEPARATED		/* a row that was another person's became one */
} ProvenanceHow;

/* Called once from _PG_init. */
extern void provenance_init(void);

/*
 * The number of a person that is new, noted: with what the session's settings
 * are now, it is in gdpr.provenance when this (sub)transaction commits.
 */
extern uint64 provenance_new_number(ProvenanceHow how);

/*
 * A number that was drawn earlier in this transaction is used (once more): what
 * noted it may have been rolled back.
 */
extern void provenance_note_again(uint64 number, ProvenanceHow how);

/*
 * The row for which the number was drawn is not stored.  Between others of the
 * transaction it stays: a number that nobody has does no harm there.
 */
extern void provenance_withdraw(uint64 number);

#endif							/* GDPR_PROVENANCE_H */
