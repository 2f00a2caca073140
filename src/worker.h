/*
 * worker.h
 *		The background workers that finish what a commit could not.
 */
#ifndef GDPR_WORKER_H
#define GDPR_WORKER_H

#include "postgres.h"

#include "utils/uuid.h"

/* Registers the launcher; called once from _PG_init. */
extern void worker_init(void);

/*
 * Is the keystore with this id that of a database?  Asks in the database, one
 * question at a time in the server.  False if it could not be asked.
 */
extern bool worker_ask_database(Oid database, const uint8 id[UUID_LEN],
								bool *claims);

#endif							/* GDPR_WORKER_H */
