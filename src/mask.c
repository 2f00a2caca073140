/*
 * mask.c
 *		Masks: what is shown instead of a value to those who may not see it.
 *
 * A mask tells something of a value and hides the rest.  How long the value is
 * belongs to the rest: what is left out is three asterisks, however long it
 * was.  A value that does not have the form that its mask is made for is
 * hidden as a whole, since nobody can say what the parts of it would tell.
 *
 * Masks depend on nothing but the value: not on settings of the session, which
 * could be varied until they tell more, nor on time, since a session may write
 * back what it was shown.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "codec.h"
#include "compat.h"
#include "errors.h"
#include "mask.h"
#include "mask_function.h"

PG_FUNCTION_INFO_V1(gdpr_assert_mask);

#define HIDDEN			"***"
#define PHONE_MIN_DIGITS	7
#define PHONE_MAX_DIGITS	17	/* 15, and 00 for + */
#define IBAN_MIN_CHARS	15
#define IBAN_MAX_CHARS	34
#define NAME_MAX_WORDS	6		/* more of them are text */
#define DOMAIN_MAX_CHARS	18	/* of the longest top-level domain in letters */

/* The characters of a value without spaces around them */
typedef struct Characters
{
	const char *start;
	const char *end;
} Characters;

/* A mask that comes with the extension; one of write and change. */
typedef struct BuiltinMask
{
	const char *name;
	/* of text-like types: appends the mask, false if the form is another */
	bool		(*write) (Characters value, StringInfo out);
	/* of types that fits() says yes to */
	Datum		(*change) (Oid typid, int32 typmod, Datum value, bool *isnull);
	bool		(*fits) (Oid typid);
} BuiltinMask;

/* What a column's mask is, found at first use */
struct MaskState
{
	const BuiltinMask *builtin;
	MaskFunction *function;		/* if it is not built in */
};

/* ---------- text ---------- */

static bool
is_ascii_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A letter, or a character outside ASCII, which may be one. */
static bool
is_letter(char c)
{
	return IS_HIGHBIT_SET(c) || is_ascii_letter(c);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first character of some, and "***". */
static void
append_initial(StringInfo out, const char *start, const char *end)
{
	int			len = pg_encoding_mblen(GetDatabaseEncoding(), start);

	appendBinaryStringInfo(out, start, Min(len, end - start));
	appendStringInfoString(out, HIDDEN);
}

/* May it be in an address that is not quoted, besides the @? */
static bool
is_address_character(char c)
{
	return (unsigned char) c > ' ' && c != 0x7F &&
		strchr("@<>()[],;:\\\"", c) == NULL;
}

/* jan@example.nl: j***@e***.nl */
static bool
write_email(Characters value, StringInfo out)
{
	const char *at = NULL;
	const char *dot = NULL;
	const char *p;

	for (p = value.start; p < value.end; p++)
	{
		if (*p == '@' && at == NULL)
			at = p;
		else if (!is_address_character(*p))
			return false;
		else if (*p == '.')
			dot = p;
	}
	if (at == NULL || at == value.start || dot == NULL || dot <= at + 1)
		return false;
	for (p = dot + 1; p < value.end; p++)
		if (!is_letter(*p))
			return false;
	if (p - dot <= 2 || at[1] == '.' ||
		pg_mbstrlen_with_len(dot + 1, value.end - dot - 1) > DOMAIN_MAX_CHARS)
		return false;

	append_initial(out, value.start, at);
	appendStringInfoChar(out, '@');
	append_initial(out, at + 1, dot);
	appendBinaryStringInfo(out, dot, value.end - dot);
	return true;
}

/* +31 6 1234 5678: +***78 */
static bool
write_phone(Characters value, StringInfo out)
{
	char		last[2] = {0};
	int			ndigits = 0;
	const char *p;

	for (p = value.start; p < value.end; p++)
	{
		if (is_digit(*p))
		{
			last[0] = last[1];
			last[1] = *p;
			ndigits++;
		}
		else if (!(*p == '+' && p == value.start) &&
				 strchr(" -./()", *p) == NULL)
			return false;
	}
	if (ndigits < PHONE_MIN_DIGITS || ndigits > PHONE_MAX_DIGITS)
		return false;
	if (*value.start == '+')
		appendStringInfoChar(out, '+');
	appendStringInfoString(out, HIDDEN);
	appendBinaryStringInfo(out, last, sizeof(last));
	return true;
}

/* NL91 ABNA 0417 1643 00: NL***00 */
static bool
write_iban(Characters value, StringInfo out)
{
	char		iban[IBAN_MAX_CHARS];
	int			len = 0;
	const char *p;

	for (p = value.start; p < value.end; p++)
	{
		if (*p == ' ')
			continue;
		if (len == IBAN_MAX_CHARS ||
			!((is_ascii_letter(*p) && len != 2 && len != 3) ||
			  (is_digit(*p) && len >= 2)))
			return false;
		iban[len++] = pg_toupper((unsigned char) *p);
	}
	if (len < IBAN_MIN_CHARS)
		return false;
	appendBinaryStringInfo(out, iban, 2);
	appendStringInfoString(out, HIDDEN);
	appendBinaryStringInfo(out, iban + len - 2, 2);
	return true;
}

/* Jan de Vries: J*** d*** V*** */
static bool
write_name(Characters value, StringInfo out)
{
	const char *p = value.start;
	int			nwords = 0;

	while (p < value.end)
	{
		const char *word = p;

		while (p < value.end && !is_space(*p))
			p++;
		if (++nwords > NAME_MAX_WORDS || !is_letter(*word))
			return false;
		if (nwords > 1)
			appendStringInfoChar(out, ' ');
		append_initial(out, word, p);
		while (p < value.end && is_space(*p))
			p++;
	}
	return nwords > 0;
}

static bool
write_nothing(Characters value, StringInfo out)
{
	return false;
}

/*
 * A text of the column's declared length: cut to that many characters, and
 * char(n) filled up to it.
 */
static Datum
fit_text(Oid typid, int32 typmod, Datum text)
{
	if (typmod < (int32) VARHDRSZ)
		return text;
	return DirectFunctionCall3(typid == BPCHAROID ? bpchar : varchar, text,
							   Int32GetDatum(typmod), BoolGetDatum(true));
}

static Datum
mask_text(const BuiltinMask *mask, Datum value)
{
	text	   *secret = DatumGetTextPP(value);
	Characters	characters;
	StringInfoData out;

	characters.start = VARDATA_ANY(secret);
	characters.end = characters.start + VARSIZE_ANY_EXHDR(secret);
	while (characters.start < characters.end && is_space(*characters.start))
		characters.start++;
	while (characters.start < characters.end && is_space(characters.end[-1]))
		characters.end--;
	initStringInfo(&out);
	if (!mask->write(characters, &out))
	{
		resetStringInfo(&out);
		appendStringInfoString(&out, HIDDEN);
	}
	return PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
}

/* ---------- year ---------- */

static bool
has_year(Oid typid)
{
	return typid == DATEOID || typid == TIMESTAMPOID ||
		typid == TIMESTAMPTZOID;
}

/*
 * 1 January of the year; of a timestamptz in UTC, whatever the session's time
 * zone: shifting that would tell how far from New Year a value is.  NULL if it
 * is infinite or the type does not reach back to that day.
 */
static Datum
change_year(Oid typid, int32 typmod, Datum value, bool *isnull)
{
	struct pg_tm tm = {0};
	fsec_t		fsec;
	int			day;

	*isnull = true;
	if (typid == DATEOID)
	{
		DateADT		date = DatumGetDateADT(value);

		if (DATE_NOT_FINITE(date))
			return (Datum) 0;
		j2date(date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon,
			   &tm.tm_mday);
	}
	else if (TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value)) ||
			 timestamp2tm(DatumGetTimestamp(value), NULL, &tm, &fsec, NULL,
						  NULL) != 0)
		return (Datum) 0;
	if (!IS_VALID_JULIAN(tm.tm_year, 1, 1))
		return (Datum) 0;
	day = date2j(tm.tm_year, 1, 1);
	if (day < 0)
		return (Datum) 0;
	*isnull = false;
	day -= POSTGRES_EPOCH_JDATE;
	return typid == DATEOID ? DateADTGetDatum(day) :
		TimestampGetDatum((Timestamp) day * USECS_PER_DAY);
}

/* ---------- number ---------- */

static bool
is_number(Oid typid)
{
	switch (typid)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
			return true;
		default:
			return false;
	}
}

/* In decimal notation: zeros for all digits but the first that is not zero. */
static void
keep_first_digit(char *number)
{
	char	   *p = number + strcspn(number, "123456789");

	if (*p == '\0')
		return;
	for (p++; *p != '\0' && *p != 'e'; p++)
		if (is_digit(*p))
			*p = '0';
}

static int64
change_integer(int64 value)
{
	int64		unit = 1;

	while (value / unit > 9 || value / unit < -9)
		unit *= 10;
	return value / unit * unit;
}

/* Fractions that are zeros would tell how many digits they had. */
static Datum
change_numeric(int32 typmod, Datum value)
{
	char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	char	   *p;

	keep_first_digit(number);
	p = strchr(number, '.');
	if (p != NULL)
	{
		char	   *end = p + strlen(p);

		while (end > p && (end[-1] == '0' || end[-1] == '.'))
			*--end = '\0';
	}
	return DirectFunctionCall3(numeric_in, CStringGetDatum(number),
							   ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(typmod));
}

/*
 * Rounded towards zero to the first significant digit, which fits wherever the
 * value did.  NULL if it is no number or infinite.
 */
static Datum
change_number(Oid typid, int32 typmod, Datum value, bool *isnull)
{
	char		number[DOUBLE_SHORTEST_DECIMAL_LEN];

	switch (typid)
	{
		case INT2OID:
			return Int16GetDatum(change_integer(DatumGetInt16(value)));
		case INT4OID:
			return Int32GetDatum(change_integer(DatumGetInt32(value)));
		case INT8OID:
			return Int64GetDatum(change_integer(DatumGetInt64(value)));
		case NUMERICOID:
			*isnull = numeric_is_nan(DatumGetNumeric(value)) ||
				numeric_is_inf(DatumGetNumeric(value));
			return *isnull ? (Datum) 0 : change_numeric(typmod, value);
		case FLOAT4OID:
			*isnull = !isfinite(DatumGetFloat4(value));
			if (*isnull)
				return (Datum) 0;
			float_to_shortest_decimal_buf(DatumGetFloat4(value), number);
			keep_first_digit(number);
			return Float4GetDatum(strtof(number, NULL));
		default:
			*isnull = !isfinite(DatumGetFloat8(value));
			if (*isnull)
				return (Datum) 0;
			double_to_shortest_decimal_buf(DatumGetFloat8(value), number);
			keep_first_digit(number);
			return Float8GetDatum(strtod(number, NULL));
	}
}

/* ---------- which mask ---------- */

static const BuiltinMask builtins[] = {
	{.name = "email",.write = write_email,.fits = codec_is_string},
	{.name = "iban",.write = write_iban,.fits = codec_is_string},
	{.name = "name",.write = write_name,.fits = codec_is_string},
	{.name = "number",.change = change_number,.fits = is_number},
	{.name = "phone",.write = write_phone,.fits = codec_is_string},
	{.name = "text",.write = write_nothing,.fits = codec_is_string},
	{.name = "year",.change = change_year,.fits = has_year}
};

/* "a, b and c": the names of those that fit a type, of all if it is none. */
static char *
builtin_names(Oid typid)
{
	StringInfoData names;
	const char *last = NULL;
	size_t		i;

	initStringInfo(&names);
	for (i = 0; i < lengthof(builtins); i++)
	{
		if (OidIsValid(typid) && !builtins[i].fits(typid))
			continue;
		if (last != NULL)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", last);
		last = builtins[i].name;
	}
	if (last != NULL)
		appendStringInfo(&names, "%s%s", names.len > 0 ? " and " : "", last);
	return names.data;
}

static const BuiltinMask *
find_builtin(const ColumnMap *column)
{
	Oid			typid = column->basetypid;
	size_t		i;

	for (i = 0; i < lengthof(builtins); i++)
		if (strcmp(builtins[i].name, column->mask) == 0)
			break;
	if (i == lengthof(builtins))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mask \"%s\" of column \"%s\" of table %s does not exist",
						column->mask, column->name,
						datamap_relation_name(column->table->relid)),
				 errhint("Masks are %s, or a function, as 'schema.function'.",
						 builtin_names(InvalidOid))));
	if (!builtins[i].fits(typid))
	{
		char	   *fitting = builtin_names(typid);

		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("mask \"%s\" does not fit column \"%s\" of table %s, of type %s",
						column->mask, column->name,
						datamap_relation_name(column->table->relid),
						format_type_be(typid)),
				 fitting[0] == '\0' ?
				 errhint("No built-in mask fits; a function can, as 'schema.function'. Without a mask, NULL is shown.") :
				 errhint("What fits: %s, or a function, as 'schema.function'.",
						 fitting)));
	}
	return &builtins[i];
}

/* The state of a column that has a mask. */
static struct MaskState *
mask_state(ColumnMap *column)
{
	bool		is_builtin = strchr(column->mask, '.') == NULL;

	if (column->mask_state == NULL)
	{
		const BuiltinMask *builtin = is_builtin ? find_builtin(column) : NULL;

		column->mask_state = MemoryContextAllocZero(column->table->context,
													sizeof(struct MaskState));
		column->mask_state->builtin = builtin;
	}
	if (!is_builtin)
		mask_function_prepare(column, &column->mask_state->function);
	return column->mask_state;
}

Datum
mask_value(ColumnMap *column, Datum value, bool *isnull)
{
	Oid			typid = column->basetypid;
	struct MaskState *state;
	bool		is_text;
	Datum		mask;

	*isnull = true;
	if (column->mask == NULL)
		return (Datum) 0;
	state = mask_state(column);
	*isnull = false;
	is_text = state->builtin ? state->builtin->write != NULL :
		codec_is_string(typid);
	if (state->builtin == NULL)
		mask = mask_function_call(column, state->function, value, isnull);
	else if (is_text)
		mask = mask_text(state->builtin, value);
	else
		mask = state->builtin->change(typid, column->typmod, value, isnull);
	if (*isnull)
		return (Datum) 0;
	return is_text ? fit_text(typid, column->typmod, mask) : mask;
}

/*
 * gdpr.assert_mask(relation, column) RETURNS void
 *
 * An error if the mask of a declared column does not exist or cannot be used.
 */
Datum
gdpr_assert_mask(PG_FUNCTION_ARGS)
{
	TableMap   *table = datamap_declared(PG_GETARG_OID(0));
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			i;

	for (i = 0; table != NULL && i < table->ncolumns; i++)
	{
		ColumnMap  *column = &table->columns[i];

		if (strcmp(column->name, name) != 0)
			continue;
		if (column->mask != NULL)
			(void) mask_state(column);
		PG_RETURN_VOID();
	}
	ereport(ERROR,
			(errcode(ERRCODE_GDPR_DATA_MAP),
			 errmsg("column \"%s\" of relation %u is not declared", name,
					PG_GETARG_OID(0))));
}

void
mask_init(void)
{
	mask_function_init();
}
