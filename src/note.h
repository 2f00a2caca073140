/*
 * note.h
 *		Notes: what the extension's own records say of a person, sealed under
 *		that person's key.
 */
#ifndef GDPR_NOTE_H
#define GDPR_NOTE_H

/*
 * What envelopes of notes have where those of rows name a table and a
 * category.  Ids of the data map begin at 1, and sql/30_datamap.sql keeps the
 * category.
 */
#define NOTE_TABLE_ID		0
#define NOTE_CATEGORY		15

#endif							/* GDPR_NOTE_H */
