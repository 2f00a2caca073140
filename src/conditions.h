/*
 * conditions.h
 *		CHECK constraints and trigger conditions of protected tables, parsed
 *		once for a session.
 */
#ifndef GDPR_CONDITIONS_H
#define GDPR_CONDITIONS_H

/* Called once from _PG_init. */
extern void conditions_init(void);

#endif							/* GDPR_CONDITIONS_H */
