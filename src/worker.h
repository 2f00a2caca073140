/*
 * worker.h
 *		The background workers that finish what a commit could not.
 */
#ifndef GDPR_WORKER_H
#define GDPR_WORKER_H

/* Registers the launcher; called once from _PG_init. */
extern void worker_init(void);

#endif							/* GDPR_WORKER_H */
