/*
 * audit_record.c
 *		One record of the audit trail, and its bytes.
 */
#include "postgres.h"

#include "port/pg_bswap.h"

#include "audit_record.h"
#include "varint.h"

#define FLAG_FAILED		0x80	/* beside what was done */

typedef struct Reader
{
	const uint8 *buf;
	size_t		len;
	size_t		offset;
	bool		ok;				/* so far */
} Reader;

static void
put_text(StringInfo out, const char *text)
{
	size_t		len = text == NULL ? 0 : strlen(text);

	varint_append(out, len);
	appendBinaryStringInfo(out, text, (int) len);
}

static void
put_bytes(StringInfo out, const uint8 *bytes, size_t len)
{
	varint_append(out, len);
	appendBinaryStringInfo(out, (const char *) bytes, (int) len);
}

static void
put_image(StringInfo out, const AuditImage *image)
{
	put_bytes(out, image->rowkey, image->rowkeylen);
	put_bytes(out, image->envelope, image->envelopelen);
}

static void
put_time(StringInfo out, TimestampTz at)
{
	uint64		value = pg_hton64((uint64) at);

	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static void
put_change(StringInfo out, const AuditRecord *record)
{
	int			i;

	varint_append(out, (uint64) record->table_id);
	varint_append(out, record->part);
	for (i = 0; i < list_length(record->columns); i++)
	{
		varint_append(out, (uint64) record->changed[i].id);
		put_text(out, record->changed[i].type);
	}
	put_image(out, &record->before);
	put_image(out, &record->after);
}

void
audit_record_encode(StringInfo out, const AuditRecord *record)
{
	ListCell   *lc;

	appendStringInfoCharMacro(out, AUDIT_RECORD_VERSION);
	appendStringInfoCharMacro(out, (char) record->kind);
	appendStringInfoCharMacro(out, (char) record->outcome);
	put_time(out, record->at);
	audit_set_encode(out, &record->persons);
	put_time(out, record->server_start);
	varint_append(out, record->backend);
	varint_append(out, record->transaction);
	varint_append(out, record->xid);
	varint_append(out, (uint64) record->pid);
	put_text(out, record->session_role);
	put_text(out, record->set_role);
	put_text(out, record->role);
	put_text(out, record->actor);
	put_text(out, record->application);
	put_text(out, record->client);
	if (record->kind == AUDIT_KIND_END)
	{
		varint_append(out, record->first_part);
		varint_append(out, record->last_part);
	}
	if (record->kind != AUDIT_KIND_ACCESS && record->kind != AUDIT_KIND_CHANGE)
		return;
	varint_append(out, record->statement);
	put_text(out, record->command);
	put_time(out, record->query_id);
	put_text(out, record->purpose);
	put_text(out, record->override_reason);
	put_text(out, record->relation);
	varint_append(out, (uint64) list_length(record->columns));
	foreach(lc, record->columns)
		put_text(out, lfirst(lc));
	appendStringInfoCharMacro(out, (char) (record->did | (record->failed ? FLAG_FAILED : 0)));
	varint_append(out, record->rows);
	if (record->kind == AUDIT_KIND_CHANGE)
		put_change(out, record);
}

static uint64
take_varint(Reader *reader)
{
	uint64		value = 0;

	reader->ok = reader->ok &&
		varint_read(reader->buf, reader->len, &reader->offset, &value);
	return value;
}

static uint8
take_byte(Reader *reader)
{
	reader->ok = reader->ok && reader->offset < reader->len;
	return reader->ok ? reader->buf[reader->offset++] : 0;
}

static TimestampTz
take_time(Reader *reader)
{
	uint64		value = 0;

	reader->ok = reader->ok && reader->len - reader->offset >= sizeof(value);
	if (!reader->ok)
		return 0;
	memcpy(&value, reader->buf + reader->offset, sizeof(value));
	reader->offset += sizeof(value);
	return (TimestampTz) pg_ntoh64(value);
}

static const char *
take_text(Reader *reader)
{
	uint64		len = take_varint(reader);
	const char *text;

	reader->ok = reader->ok && len <= reader->len - reader->offset;
	if (!reader->ok || len == 0)
		return "";
	text = pnstrdup((const char *) reader->buf + reader->offset, len);
	reader->offset += len;
	return text;
}

static void
take_bytes(Reader *reader, const uint8 **bytes, size_t *len)
{
	*len = take_varint(reader);
	reader->ok = reader->ok && *len <= reader->len - reader->offset;
	*bytes = reader->buf + reader->offset;
	if (reader->ok)
		reader->offset += *len;
	else
		*len = 0;
}

static void
take_image(Reader *reader, AuditImage *image)
{
	take_bytes(reader, &image->rowkey, &image->rowkeylen);
	take_bytes(reader, &image->envelope, &image->envelopelen);
}

static void
take_persons(Reader *reader, AuditRecord *record)
{
	reader->ok = reader->ok &&
		audit_set_decode(reader->buf, reader->len, &reader->offset, &record->persons);
}

static void
take_change(Reader *reader, AuditRecord *record)
{
	int			i;

	record->table_id = (int32) take_varint(reader);
	record->part = (uint32) take_varint(reader);
	record->changed = palloc0(sizeof(AuditColumn) * (list_length(record->columns) + 1));
	for (i = 0; i < list_length(record->columns); i++)
	{
		record->changed[i].id = (int32) take_varint(reader);
		record->changed[i].type = take_text(reader);
	}
	take_image(reader, &record->before);
	take_image(reader, &record->after);
}

static void
take_access(Reader *reader, AuditRecord *record)
{
	uint64		columns;
	uint8		flags;

	record->statement = (uint32) take_varint(reader);
	record->command = take_text(reader);
	record->query_id = take_time(reader);
	record->purpose = take_text(reader);
	record->override_reason = take_text(reader);
	record->relation = take_text(reader);
	for (columns = take_varint(reader); reader->ok && columns > 0; columns--)
		record->columns = lappend(record->columns, unconstify(char *, take_text(reader)));
	flags = take_byte(reader);
	record->did = flags & ~FLAG_FAILED;
	record->failed = (flags & FLAG_FAILED) != 0;
	record->rows = take_varint(reader);
}

bool
audit_record_decode(const uint8 *buf, size_t len, AuditRecord *record)
{
	Reader		reader = {buf, len, 0, true};

	memset(record, 0, sizeof(*record));
	reader.ok = take_byte(&reader) == AUDIT_RECORD_VERSION;
	record->kind = take_byte(&reader);
	record->outcome = take_byte(&reader);
	record->at = take_time(&reader);
	take_persons(&reader, record);
	record->server_start = take_time(&reader);
	record->backend = (uint32) take_varint(&reader);
	record->transaction = (uint32) take_varint(&reader);
	record->xid = take_varint(&reader);
	record->pid = (int32) take_varint(&reader);
	record->session_role = take_text(&reader);
	record->set_role = take_text(&reader);
	record->role = take_text(&reader);
	record->actor = take_text(&reader);
	record->application = take_text(&reader);
	record->client = take_text(&reader);
	if (record->kind == AUDIT_KIND_END)
	{
		record->first_part = (uint32) take_varint(&reader);
		record->last_part = (uint32) take_varint(&reader);
	}
	else if (record->kind != AUDIT_KIND_GAP)
		take_access(&reader, record);
	if (record->kind == AUDIT_KIND_CHANGE)
		take_change(&reader, record);
	return reader.ok && reader.offset == len &&
		record->kind >= AUDIT_KIND_ACCESS && record->kind <= AUDIT_KIND_CHANGE &&
		record->outcome <= AUDIT_OUTCOME_ROLLED_BACK;
}

bool
audit_record_skim(const uint8 *buf, size_t len, TimestampTz *at,
				  AuditSetReader *persons)
{
	Reader		reader = {buf, len, 0, true};

	reader.ok = take_byte(&reader) == AUDIT_RECORD_VERSION;
	(void) take_byte(&reader);	/* kind */
	(void) take_byte(&reader);	/* outcome */
	*at = take_time(&reader);
	audit_set_open(persons, buf, len, reader.offset);
	return reader.ok && persons->ok;
}

const char *
audit_outcome_name(AuditOutcome outcome)
{
	return outcome == AUDIT_OUTCOME_COMMITTED ? "committed" :
		outcome == AUDIT_OUTCOME_ROLLED_BACK ? "rolled back" : "";
}
