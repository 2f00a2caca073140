/*
 * row.h
 *		Rows of protected tables: opening their values, sealing them.
 *
 * No policy here: callers decide what may be seen or changed.  Arrays of
 * values are indexed by attribute number - 1, as heap_deform_tuple fills them.
 */
#ifndef GDPR_ROW_H
#define GDPR_ROW_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "datamap.h"
#include "envelope.h"
#include "expiry.h"

typedef enum RowValue
{
	ROW_FOUND,					/* there is a value, possibly NULL */
	ROW_ABSENT,					/* the envelope holds nothing for the column */
	ROW_FORGOTTEN				/* its key is gone */
} RowValue;

typedef enum RowColumnState
{
	ROW_KEEP,					/* the sealed value stays */
	ROW_SET,					/* values[] holds the new value */
	ROW_ERASE					/* nothing of it stays */
} RowColumnState;

typedef struct RowSeal
{
	TableMap   *table;
	Datum	   *values;			/* in: values of ROW_SET columns, physical ones
								 * of ROW_KEEP columns; out: physical ones */
	bool	   *isnull;
	RowColumnState *states;		/* by index in table->columns */
	uint64	   *numbers;		/* persons, by index in table->links */
	int			form;			/* to seal in: the epoch of the tokens */
	struct varlena *old;		/* the envelope before, detoasted, or NULL */
	StringInfo	old_rowkey;		/* its row key, if old */
	const ExpiryKept *kept;		/* whose values have no limit; may be NULL */
} RowSeal;

/* Called once from _PG_init. */
extern void row_init(void);

/* Append the row key, and its i-th column alone. */
extern void row_key(TableMap *table, const Datum *values, const bool *isnull,
					StringInfo out);
extern void row_key_column(TableMap *table, int i, Datum value, bool isnull,
						   StringInfo out);

/*
 * The bytes of a column's value; *bytes points into a cache and is good until
 * the next call, *len is -1 for NULL.  ERRCODE_GDPR_DAMAGED if the envelope
 * does not authenticate.  *number, if not NULL, gets whose value it is.
 */
extern RowValue row_open_bytes(ColumnMap *column, const uint8 *buf, size_t len,
							   const uint8 *rowkey, size_t rowkeylen,
							   const uint8 **bytes, int64 *valuelen,
							   uint64 *number);

/* The same as a Datum in the current memory context. */
extern RowValue row_open_value(ColumnMap *column, const uint8 *buf, size_t len,
							   const uint8 *rowkey, size_t rowkeylen,
							   Datum *value, bool *isnull, uint64 *number);

/* The Datum of bytes that row_open_bytes found. */
extern Datum row_decode(ColumnMap *column, const uint8 *bytes, int64 len,
						int encoding);

/* The form of a row as it is stored; see datamap.h. */
extern int	row_form(const TableMap *table, const Datum *values,
					 const bool *isnull);

/*
 * Are all values of a sealed row under the month of expiry that they would be
 * sealed with now?  Those whose keys are gone cannot be.
 */
extern bool row_expires_right(const TableMap *table, const Datum *values,
							  const bool *isnull, const ExpiryKept *kept);

/* The envelope for a row; turns values[] into what is stored. */
extern struct varlena *row_seal(RowSeal *seal);

/*
 * Note that this row was sealed just now from values that current_user gave,
 * and ask whether a column's segment is of such a row: only then may EXCLUDED
 * be opened without a purpose.  Until the end of the transaction, or until
 * many others came.
 */
extern void row_note_input(const struct varlena *sealed);
extern bool row_is_input(const ColumnMap *column, const uint8 *buf,
						 size_t len);

/* Does the envelope's digest match the row as it is stored? */
extern bool row_is_sealed(TableMap *table, const Datum *values,
						  const bool *isnull, const uint8 *buf, size_t len);

#endif							/* GDPR_ROW_H */
