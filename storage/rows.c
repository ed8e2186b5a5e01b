/* Each encoding: u8 version, then the fields in the order of the struct; byte strings have a u32
 * length in front. A later version may add fields behind and raises the number. */
#include "storage/rows.h"

#include "daemon/base/wire.h"

#define ROW_VERSION 1

static void begin(struct buffer *buffer)
{
    wire_put_u8(buffer, ROW_VERSION);
}

/* Start reading @bytes. Fails with what the row's decode function gives back. */
static enum status open_row(struct slice bytes, struct wire_reader *reader)
{
    uint8_t version;

    *reader = wire_reader_of(bytes);
    version = wire_get_u8(reader);
    if (version > ROW_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    return version == ROW_VERSION ? STATUS_OK : STATUS_CORRUPT;
}

static bool get_bool(struct wire_reader *reader)
{
    uint8_t value = wire_get_u8(reader);

    if (value > 1) {
        reader->failed = true;
    }
    return value == 1;
}

/* A value of an enum that has @count of them. */
static uint8_t get_enum(struct wire_reader *reader, uint8_t count)
{
    uint8_t value = wire_get_u8(reader);

    if (value >= count) {
        reader->failed = true;
        return 0;
    }
    return value;
}

void namespace_row_encode(const struct namespace_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_bytes(buffer, row->name);
    wire_put_u64(buffer, row->id);
    wire_put_u64(buffer, row->revision);
    wire_put_u64(buffer, row->created_at_ms);
    wire_put_bytes(buffer, row->metadata);
}

enum status namespace_row_decode(struct slice bytes, struct namespace_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->name = wire_get_bytes(&reader);
    row->id = wire_get_u64(&reader);
    row->revision = wire_get_u64(&reader);
    row->created_at_ms = wire_get_u64(&reader);
    row->metadata = wire_get_bytes(&reader);
    return wire_done(&reader);
}

void namespace_counters_encode(const struct namespace_counters *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->sessions);
    for (unsigned i = 0; i < SESSION_STATUSES; i++) {
        wire_put_u64(buffer, row->sessions_by_status[i]);
    }
    wire_put_u64(buffer, row->events);
    wire_put_u64(buffer, row->items);
    wire_put_u64(buffer, row->bytes);
}

enum status namespace_counters_decode(struct slice bytes, struct namespace_counters *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->sessions = wire_get_u64(&reader);
    for (unsigned i = 0; i < SESSION_STATUSES; i++) {
        row->sessions_by_status[i] = wire_get_u64(&reader);
    }
    row->events = wire_get_u64(&reader);
    row->items = wire_get_u64(&reader);
    row->bytes = wire_get_u64(&reader);
    return wire_done(&reader);
}

void item_row_encode(const struct item_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_bytes(buffer, row->key);
    wire_put_u64(buffer, row->revision);
    wire_put_u8(buffer, (uint8_t)row->content);
    wire_put_bytes(buffer, row->content_type);
    wire_put_u64(buffer, row->size_bytes);
    wire_put_bytes(buffer, row->user_id);
    wire_put_u64(buffer, row->ttl_ms);
    wire_put_u64(buffer, row->created_at_ms);
    wire_put_u64(buffer, row->updated_at_ms);
    wire_put_u64(buffer, row->expires_at_ms);
    wire_put_bytes(buffer, row->value);
}

enum status item_row_decode(struct slice bytes, struct item_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->key = wire_get_bytes(&reader);
    row->revision = wire_get_u64(&reader);
    row->content = (enum content_kind)get_enum(&reader, CONTENT_BYTES + 1);
    row->content_type = wire_get_bytes(&reader);
    row->size_bytes = wire_get_u64(&reader);
    row->user_id = wire_get_bytes(&reader);
    row->ttl_ms = wire_get_u64(&reader);
    row->created_at_ms = wire_get_u64(&reader);
    row->updated_at_ms = wire_get_u64(&reader);
    row->expires_at_ms = wire_get_u64(&reader);
    row->value = wire_get_bytes(&reader);
    return wire_done(&reader);
}

/* The numbers of a session behind its documents, in the order of the encoding. */
#define SESSION_NUMBERS(X)                                                                         \
    X(revision)                                                                                    \
    X(updated_revision)                                                                            \
    X(first_seq)                                                                                   \
    X(last_seq)                                                                                    \
    X(next_seq)                                                                                    \
    X(event_count)                                                                                 \
    X(event_bytes)                                                                                 \
    X(log_count)                                                                                   \
    X(log_bytes)                                                                                   \
    X(epoch)                                                                                       \
    X(created_at_ms)                                                                               \
    X(updated_at_ms)                                                                               \
    X(expires_at_ms)

void session_row_encode(const struct session_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_bytes(buffer, row->id);
    wire_put_u64(buffer, row->object_id);
    wire_put_bytes(buffer, row->agent_id);
    wire_put_bytes(buffer, row->user_id);
    wire_put_u8(buffer, (uint8_t)row->status);
    wire_put_bytes(buffer, row->metadata);
    wire_put_bytes(buffer, row->state);
    wire_put_u64(buffer, row->state_bytes);
    wire_put_u64(buffer, row->ttl_ms);
    wire_put_u8(buffer, row->sliding ? 1 : 0);
    wire_put_u8(buffer, (uint8_t)row->write_policy);
#define PUT_NUMBER(name) wire_put_u64(buffer, row->name);
    SESSION_NUMBERS(PUT_NUMBER)
#undef PUT_NUMBER
}

enum status session_row_decode(struct slice bytes, struct session_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->id = wire_get_bytes(&reader);
    row->object_id = wire_get_u64(&reader);
    row->agent_id = wire_get_bytes(&reader);
    row->user_id = wire_get_bytes(&reader);
    row->status = (enum session_status)get_enum(&reader, SESSION_STATUSES);
    row->metadata = wire_get_bytes(&reader);
    row->state = wire_get_bytes(&reader);
    row->state_bytes = wire_get_u64(&reader);
    row->ttl_ms = wire_get_u64(&reader);
    row->sliding = get_bool(&reader);
    row->write_policy = (enum write_policy)get_enum(&reader, WRITE_POLICY_OWNER + 1);
#define GET_NUMBER(name) row->name = wire_get_u64(&reader);
    SESSION_NUMBERS(GET_NUMBER)
#undef GET_NUMBER
    return wire_done(&reader);
}

void event_row_encode(const struct event_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->seq);
    wire_put_bytes(buffer, row->id);
    wire_put_bytes(buffer, row->type);
    wire_put_bytes(buffer, row->data);
    wire_put_u64(buffer, row->created_at_ms);
    wire_put_u64(buffer, row->prev_seq);
    wire_put_u64(buffer, row->log_count);
    wire_put_u64(buffer, row->log_bytes);
}

enum status event_row_decode(struct slice bytes, struct event_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->seq = wire_get_u64(&reader);
    row->id = wire_get_bytes(&reader);
    row->type = wire_get_bytes(&reader);
    row->data = wire_get_bytes(&reader);
    row->created_at_ms = wire_get_u64(&reader);
    row->prev_seq = wire_get_u64(&reader);
    row->log_count = wire_get_u64(&reader);
    row->log_bytes = wire_get_u64(&reader);
    return wire_done(&reader);
}

void append_row_encode(const struct append_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->first_seq);
    wire_put_u64(buffer, row->last_seq);
    wire_put_u8(buffer, row->duplicate ? 1 : 0);
    wire_put_u8(buffer, row->session_created ? 1 : 0);
}

enum status append_row_decode(struct slice bytes, struct append_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->first_seq = wire_get_u64(&reader);
    row->last_seq = wire_get_u64(&reader);
    row->duplicate = get_bool(&reader);
    row->session_created = get_bool(&reader);
    return wire_done(&reader);
}

void trim_row_encode(const struct trim_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->deleted);
    wire_put_u64(buffer, row->first_seq);
    wire_put_u64(buffer, row->last_seq);
}

enum status trim_row_decode(struct slice bytes, struct trim_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->deleted = wire_get_u64(&reader);
    row->first_seq = wire_get_u64(&reader);
    row->last_seq = wire_get_u64(&reader);
    return wire_done(&reader);
}

void prefix_deleted_row_encode(const struct prefix_deleted_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->deleted);
    wire_put_u8(buffer, row->more ? 1 : 0);
}

enum status prefix_deleted_row_decode(struct slice bytes, struct prefix_deleted_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->deleted = wire_get_u64(&reader);
    row->more = get_bool(&reader);
    return wire_done(&reader);
}

void maintained_row_encode(const struct maintained_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->records);
    wire_put_u8(buffer, row->more ? 1 : 0);
}

enum status maintained_row_decode(struct slice bytes, struct maintained_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->records = wire_get_u64(&reader);
    row->more = get_bool(&reader);
    return wire_done(&reader);
}

void member_row_encode(const struct member_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->id);
    wire_put_bytes(buffer, row->name);
    wire_put_bytes(buffer, row->peer_address);
    wire_put_bytes(buffer, row->api_address);
    wire_put_bytes(buffer, row->zone);
    wire_put_bytes(buffer, row->version);
    wire_put_u8(buffer, (uint8_t)row->wanted);
    wire_put_u8(buffer, row->is_drained ? 1 : 0);
    wire_put_u8(buffer, row->is_forced ? 1 : 0);
}

enum status member_row_decode(struct slice bytes, struct member_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->id = wire_get_u64(&reader);
    row->name = wire_get_bytes(&reader);
    row->peer_address = wire_get_bytes(&reader);
    row->api_address = wire_get_bytes(&reader);
    row->zone = wire_get_bytes(&reader);
    row->version = wire_get_bytes(&reader);
    row->wanted = (enum member_wanted)get_enum(&reader, MEMBER_WANTED_KINDS);
    row->is_drained = get_bool(&reader);
    row->is_forced = get_bool(&reader);
    return wire_done(&reader);
}

void removed_member_row_encode(const struct removed_member_row *row, struct buffer *buffer)
{
    begin(buffer);
    wire_put_u64(buffer, row->id);
    wire_put_bytes(buffer, row->name);
    wire_put_bytes(buffer, row->peer_address);
    wire_put_bytes(buffer, row->api_address);
    wire_put_u8(buffer, row->is_forced ? 1 : 0);
}

enum status removed_member_row_decode(struct slice bytes, struct removed_member_row *row)
{
    struct wire_reader reader;
    enum status status = open_row(bytes, &reader);

    if (status != STATUS_OK) {
        return status;
    }
    row->id = wire_get_u64(&reader);
    row->name = wire_get_bytes(&reader);
    row->peer_address = wire_get_bytes(&reader);
    row->api_address = wire_get_bytes(&reader);
    row->is_forced = get_bool(&reader);
    return wire_done(&reader);
}
