/*
 * egress.h
 *		The way out to the client: what leaves waits until it is recorded.
 */
#ifndef GDPR_EGRESS_H
#define GDPR_EGRESS_H

#include "postgres.h"

/* Is there something that is not recorded yet? */
extern bool egress_waiting;

/* What has to succeed before anything more leaves. */
typedef void (*EgressRecord) (void);

/*
 * From now on nothing leaves this session, no row, no notice and no error, before
 * record() has returned.  It is called when as much is together as is sent at
 * once.  If it fails, the connection ends, and what was held is lost.
 */
extern void egress_hold(EgressRecord record);

#endif							/* GDPR_EGRESS_H */
