/*
 * note.h
 *		Notes: what the extension's own records say of a person, sealed under
 *		that person's key.
 */
#ifndef GDPR_NOTE_H
#define GDPR_NOTE_H

#include "postgres.h"

/*
 * What envelopes of notes have where those of rows name a table and a
 * category.  Ids of the data map begin at 1, and sql/30_datamap.sql keeps the
 * category.
 */
#define NOTE_TABLE_ID		0
#define NOTE_CATEGORY		15

/*
 * The envelope (gdpr.sealed) of a note (jsonb) on a person, in the record with
 * this kind (text) and id (uuid).  ERRCODE_GDPR_FORGOTTEN.  Whether the number
 * was given out is the caller's business.
 */
extern Datum note_make(uint64 number, Datum kind, Datum id, Datum note);

#endif							/* GDPR_NOTE_H */
