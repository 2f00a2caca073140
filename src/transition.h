/*
 * transition.h
 *		Converting a table while others use it.
 */
#ifndef GDPR_TRANSITION_H
#define GDPR_TRANSITION_H

/* Called once from _PG_init. */
extern void transition_init(void);

#endif							/* GDPR_TRANSITION_H */
