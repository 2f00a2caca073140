/*
 * errors.h
 *		SQLSTATEs of our own, in the implementation-defined class GD.
 *
 * Where a standard SQLSTATE says it, that one is used.
 */
#ifndef GDPR_ERRORS_H
#define GDPR_ERRORS_H

#include "utils/elog.h"

/* The keystore cannot be used: missing, locked, foreign, unreadable. */
#define ERRCODE_GDPR_KEYSTORE_UNAVAILABLE	MAKE_SQLSTATE('G', 'D', '0', '0', '1')
/* Key material or an envelope does not authenticate. */
#define ERRCODE_GDPR_DAMAGED				MAKE_SQLSTATE('G', 'D', '0', '0', '2')
/* The subject, or this category of it, was forgotten. */
#define ERRCODE_GDPR_FORGOTTEN				MAKE_SQLSTATE('G', 'D', '0', '0', '3')
/* The purpose is unknown, or not granted to the role. */
#define ERRCODE_GDPR_PURPOSE				MAKE_SQLSTATE('G', 'D', '0', '0', '4')
/* A write to a personal column that the session may not see. */
#define ERRCODE_GDPR_NOT_PERMITTED			MAKE_SQLSTATE('G', 'D', '0', '0', '5')
/* The table or column is not (or already) declared or protected. */
#define ERRCODE_GDPR_DATA_MAP				MAKE_SQLSTATE('G', 'D', '0', '0', '6')
/* A row, constraint or statement that a protected table cannot accept. */
#define ERRCODE_GDPR_NOT_SEALED				MAKE_SQLSTATE('G', 'D', '0', '0', '7')

/* Processing of the person's data is restricted (Art. 18). */
#define ERRCODE_GDPR_RESTRICTED				MAKE_SQLSTATE('G', 'D', '0', '0', '8')
/* More persons were asked for than the purpose or role may see. */
#define ERRCODE_GDPR_CAP					MAKE_SQLSTATE('G', 'D', '0', '0', '9')

/* There can be no record of what was asked for. */
#define ERRCODE_GDPR_NOT_AUDITED			MAKE_SQLSTATE('G', 'D', '0', '1', '0')

#endif							/* GDPR_ERRORS_H */
