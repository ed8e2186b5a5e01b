#include "raft/frame.h"

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"

/* The checksum covers what stands behind it; the size counts that as well. */
#define CHECKSUM_OFFSET 4

/* Cluster ids are UUIDs in text form. */
#define UUID_BYTES 36

#define VERSION_BYTES 31

static void put_flag(struct buffer *buffer, bool flag)
{
    wire_put_u8(buffer, flag ? 1 : 0);
}

/* Only 0 and 1: each frame has one encoding. */
static bool get_flag(struct wire_reader *reader)
{
    uint8_t value = wire_get_u8(reader);

    reader->failed = reader->failed || value > 1;
    return value == 1;
}

static struct slice get_text(struct wire_reader *reader, size_t max)
{
    struct slice text = wire_get_bytes(reader);

    if (text.size > max || (text.size > 0 && memchr(text.data, 0, text.size) != NULL)) {
        reader->failed = true;
        return slice_of(NULL, 0);
    }
    return text;
}

static struct slice get_cluster_id(struct wire_reader *reader)
{
    struct slice text = get_text(reader, UUID_BYTES);

    reader->failed = reader->failed || (text.size != 0 && text.size != UUID_BYTES);
    return text;
}

/* A number of an enumeration: @first to @last. */
static unsigned get_choice(struct wire_reader *reader, unsigned first, unsigned last)
{
    unsigned value = wire_get_u8(reader);

    if (value < first || value > last) {
        reader->failed = true;
        return first;
    }
    return value;
}

static void put_hello(struct buffer *buffer, const struct frame_hello *hello)
{
    wire_put_u16(buffer, hello->protocol);
    wire_put_u8(buffer, (uint8_t)hello->purpose);
    wire_put_u8(buffer, (uint8_t)hello->identity);
    wire_put_bytes(buffer, hello->cluster_id);
    wire_put_u64(buffer, hello->id);
    wire_put_u64(buffer, hello->expected_id);
    wire_put_bytes(buffer, hello->name);
    wire_put_bytes(buffer, hello->peer_address);
    wire_put_bytes(buffer, hello->api_address);
    wire_put_bytes(buffer, hello->version);
    wire_put_u8(buffer, hello->feature_level);
}

static void get_hello(struct wire_reader *reader, struct frame_hello *hello)
{
    hello->protocol = wire_get_u16(reader);
    hello->purpose = get_choice(reader, PURPOSE_RAFT, PURPOSE_JOIN);
    hello->identity = get_choice(reader, IDENTITY_EMPTY, IDENTITY_MEMBER);
    hello->cluster_id = get_cluster_id(reader);
    hello->id = wire_get_u64(reader);
    hello->expected_id = wire_get_u64(reader);
    hello->name = get_text(reader, LIMIT_NAME_BYTES);
    hello->peer_address = get_text(reader, LIMIT_ADDRESS_BYTES);
    hello->api_address = get_text(reader, LIMIT_ADDRESS_BYTES);
    hello->version = get_text(reader, VERSION_BYTES);
    hello->feature_level = wire_get_u8(reader);
}

static void put_refused(struct buffer *buffer, const struct frame_refused *refused)
{
    wire_put_u8(buffer, (uint8_t)refused->status);
    wire_put_bytes(buffer, refused->reason);
}

static void get_refused(struct wire_reader *reader, struct frame_refused *refused)
{
    refused->status = get_choice(reader, STATUS_OK, STATUS_END);
    refused->reason = get_text(reader, ERROR_MAX_TEXT);
}

static void put_members(struct buffer *buffer, const struct frame_bootstrap_member *members,
                        uint32_t n_members)
{
    wire_put_u8(buffer, (uint8_t)n_members);
    for (uint32_t i = 0; i < n_members; i++) {
        wire_put_u64(buffer, members[i].id);
        wire_put_bytes(buffer, members[i].name);
        wire_put_bytes(buffer, members[i].peer_address);
        wire_put_bytes(buffer, members[i].api_address);
    }
}

static uint32_t get_members(struct wire_reader *reader, struct frame_bootstrap_member *members)
{
    uint32_t n_members = get_choice(reader, 0, LIMIT_MEMBERS);

    for (uint32_t i = 0; i < n_members; i++) {
        members[i].id = wire_get_u64(reader);
        members[i].name = get_text(reader, LIMIT_NAME_BYTES);
        members[i].peer_address = get_text(reader, LIMIT_ADDRESS_BYTES);
        members[i].api_address = get_text(reader, LIMIT_ADDRESS_BYTES);
    }
    return n_members;
}

static void put_bootstrap(struct buffer *buffer, const struct frame_bootstrap *bootstrap)
{
    wire_put_bytes(buffer, bootstrap->cluster_id);
    put_members(buffer, bootstrap->members, bootstrap->n_members);
}

static void get_bootstrap(struct wire_reader *reader, struct frame_bootstrap *bootstrap)
{
    bootstrap->cluster_id = get_cluster_id(reader);
    bootstrap->n_members = get_members(reader, bootstrap->members);
}

static void put_forward_refused(struct buffer *buffer, const struct frame_forward_refused *refused)
{
    wire_put_u64(buffer, refused->term);
    wire_put_u64(buffer, refused->boot);
    wire_put_u64(buffer, refused->sequence);
    wire_put_u8(buffer, (uint8_t)refused->refusal);
}

static void get_forward_refused(struct wire_reader *reader, struct frame_forward_refused *refused)
{
    refused->term = wire_get_u64(reader);
    refused->boot = wire_get_u64(reader);
    refused->sequence = wire_get_u64(reader);
    refused->refusal = get_choice(reader, REFUSAL_NOT_LEADER, REFUSAL_INVALID);
}

static void put_read(struct buffer *buffer, const struct frame_read *read)
{
    wire_put_u64(buffer, read->round);
    wire_put_u64(buffer, read->term);
    wire_put_u64(buffer, read->index);
    put_flag(buffer, read->accepted);
}

static void get_read(struct wire_reader *reader, struct frame_read *read)
{
    read->round = wire_get_u64(reader);
    read->term = wire_get_u64(reader);
    read->index = wire_get_u64(reader);
    read->accepted = get_flag(reader);
}

static void put_status(struct buffer *buffer, const struct frame_status *status)
{
    wire_put_u64(buffer, status->wall_ms);
    wire_put_u64(buffer, status->free_disk_bytes);
    put_flag(buffer, status->short_of_disk);
    wire_put_u64(buffer, status->term);
    wire_put_u64(buffer, status->leader_id);
    wire_put_u64(buffer, status->last_index);
    wire_put_u64(buffer, status->applied_index);
    put_flag(buffer, status->storage_full);
    wire_put_u64(buffer, status->time_ms);
    put_flag(buffer, status->needs_state);
    wire_put_u64(buffer, status->receiving.donor);
    wire_put_u64(buffer, status->receiving.bytes);
    wire_put_u64(buffer, status->receiving.total_bytes);
    wire_put_u64(buffer, status->receiving.bytes_per_second);
    wire_put_u8(buffer, status->feature_level);
}

static void get_status(struct wire_reader *reader, struct frame_status *status)
{
    status->wall_ms = wire_get_u64(reader);
    status->free_disk_bytes = wire_get_u64(reader);
    status->short_of_disk = get_flag(reader);
    status->term = wire_get_u64(reader);
    status->leader_id = wire_get_u64(reader);
    status->last_index = wire_get_u64(reader);
    status->applied_index = wire_get_u64(reader);
    status->storage_full = get_flag(reader);
    status->time_ms = wire_get_u64(reader);
    status->needs_state = get_flag(reader);
    status->receiving.donor = wire_get_u64(reader);
    status->receiving.bytes = wire_get_u64(reader);
    status->receiving.total_bytes = wire_get_u64(reader);
    status->receiving.bytes_per_second = wire_get_u64(reader);
    status->feature_level = wire_get_u8(reader);
}

static void put_state_offer(struct buffer *buffer, const struct frame_state_offer *offer)
{
    wire_put_u8(buffer, (uint8_t)offer->status);
    wire_put_bytes(buffer, offer->reason);
    wire_put_u64(buffer, offer->index);
    wire_put_u64(buffer, offer->sum[0]);
    wire_put_u64(buffer, offer->sum[1]);
    wire_put_u64(buffer, offer->pieces);
    wire_put_u64(buffer, offer->bytes);
}

static void get_state_offer(struct wire_reader *reader, struct frame_state_offer *offer)
{
    offer->status = get_choice(reader, STATUS_OK, STATUS_END);
    offer->reason = get_text(reader, ERROR_MAX_TEXT);
    offer->index = wire_get_u64(reader);
    offer->sum[0] = wire_get_u64(reader);
    offer->sum[1] = wire_get_u64(reader);
    offer->pieces = wire_get_u64(reader);
    offer->bytes = wire_get_u64(reader);
}

static void put_state_piece(struct buffer *buffer, const struct frame_state_piece *piece)
{
    wire_put_u64(buffer, piece->piece);
    wire_put_u32(buffer, piece->size);
    wire_put_u32(buffer, piece->offset);
    wire_put_bytes(buffer, piece->bytes);
}

static void get_state_piece(struct wire_reader *reader, struct frame_state_piece *piece)
{
    piece->piece = wire_get_u64(reader);
    piece->size = wire_get_u32(reader);
    piece->offset = wire_get_u32(reader);
    piece->bytes = wire_get_bytes(reader);
    if (piece->bytes.size == 0 || piece->bytes.size > FRAME_STATE_BYTES ||
        (uint64_t)piece->offset + piece->bytes.size > piece->size) {
        reader->failed = true;
    }
}

static void put_marks(struct buffer *buffer, const struct frame_marks *state)
{
    wire_put_u8(buffer, (uint8_t)state->n_marks);
    for (unsigned i = 0; i < state->n_marks; i++) {
        wire_put_u64(buffer, state->marks[i].index);
        wire_put_u64(buffer, state->marks[i].hash[0]);
        wire_put_u64(buffer, state->marks[i].hash[1]);
    }
}

static void get_marks(struct wire_reader *reader, struct frame_marks *state)
{
    state->n_marks = get_choice(reader, 0, FRAME_MAX_MARKS);
    for (unsigned i = 0; i < state->n_marks; i++) {
        state->marks[i].index = wire_get_u64(reader);
        state->marks[i].hash[0] = wire_get_u64(reader);
        state->marks[i].hash[1] = wire_get_u64(reader);
    }
}

static void put_change_ask(struct buffer *buffer, const struct frame_change_ask *ask)
{
    wire_put_u64(buffer, ask->number);
    wire_put_u8(buffer, (uint8_t)ask->kind);
    wire_put_u64(buffer, ask->id);
    wire_put_u64(buffer, ask->from);
    wire_put_u8(buffer, (uint8_t)ask->wanted);
    put_flag(buffer, ask->is_forced);
    wire_put_bytes(buffer, ask->name);
    wire_put_bytes(buffer, ask->peer_address);
    wire_put_bytes(buffer, ask->api_address);
    wire_put_bytes(buffer, ask->zone);
}

static void get_change_ask(struct wire_reader *reader, struct frame_change_ask *ask)
{
    ask->number = wire_get_u64(reader);
    ask->kind = get_choice(reader, 0, MEMBER_CHANGE_KINDS - 1);
    ask->id = wire_get_u64(reader);
    ask->from = wire_get_u64(reader);
    ask->wanted = get_choice(reader, 0, MEMBER_WANTED_KINDS - 1);
    ask->is_forced = get_flag(reader);
    ask->name = get_text(reader, LIMIT_NAME_BYTES);
    ask->peer_address = get_text(reader, LIMIT_ADDRESS_BYTES);
    ask->api_address = get_text(reader, LIMIT_ADDRESS_BYTES);
    ask->zone = get_text(reader, LIMIT_NAME_BYTES);
}

static void put_change_answer(struct buffer *buffer, const struct frame_change_answer *answer)
{
    wire_put_u64(buffer, answer->number);
    wire_put_u8(buffer, (uint8_t)answer->verdict);
    wire_put_u8(buffer, (uint8_t)answer->reason);
    wire_put_u64(buffer, answer->id);
    wire_put_bytes(buffer, answer->text);
}

static void get_change_answer(struct wire_reader *reader, struct frame_change_answer *answer)
{
    answer->number = wire_get_u64(reader);
    answer->verdict = get_choice(reader, 0, FRAME_VERDICTS - 1);
    answer->reason = get_choice(reader, 0, MEMBER_REASONS - 1);
    answer->id = wire_get_u64(reader);
    answer->text = get_text(reader, ERROR_MAX_TEXT);
}

static void put_join_offer(struct buffer *buffer, const struct frame_join_offer *offer)
{
    wire_put_bytes(buffer, offer->cluster_id);
    wire_put_u64(buffer, offer->id);
    wire_put_u64(buffer, offer->wall_ms);
    put_members(buffer, offer->members, offer->n_members);
}

static void get_join_offer(struct wire_reader *reader, struct frame_join_offer *offer)
{
    offer->cluster_id = get_cluster_id(reader);
    offer->id = wire_get_u64(reader);
    offer->wall_ms = wire_get_u64(reader);
    offer->n_members = get_members(reader, offer->members);
}

static void put_join_answer(struct buffer *buffer, const struct frame_join_answer *answer)
{
    wire_put_u8(buffer, (uint8_t)answer->reason);
    wire_put_bytes(buffer, answer->text);
}

static void get_join_answer(struct wire_reader *reader, struct frame_join_answer *answer)
{
    answer->reason = get_choice(reader, 0, MEMBER_REASONS - 1);
    answer->text = get_text(reader, ERROR_MAX_TEXT);
}

static void put_fields(struct buffer *buffer, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
        put_hello(buffer, &frame->hello);
        return;
    case FRAME_REFUSED:
        put_refused(buffer, &frame->refused);
        return;
    case FRAME_BOOTSTRAP_PREPARE:
    case FRAME_BOOTSTRAP_PREPARED:
    case FRAME_BOOTSTRAP_COMMIT:
    case FRAME_BOOTSTRAP_COMMITTED:
        put_bootstrap(buffer, &frame->bootstrap);
        return;
    case FRAME_FORWARD:
        wire_put_u64(buffer, frame->forward.term);
        wire_put_bytes(buffer, frame->forward.bundle);
        return;
    case FRAME_FORWARD_REFUSED:
        put_forward_refused(buffer, &frame->forward_refused);
        return;
    case FRAME_READ_ASK:
    case FRAME_READ_ANSWER:
    case FRAME_READ_PROBE:
    case FRAME_READ_TERM:
        put_read(buffer, &frame->read);
        return;
    case FRAME_STATUS:
        put_status(buffer, &frame->status);
        return;
    case FRAME_STATE_ASK:
        wire_put_u64(buffer, frame->state_ask.min_index);
        return;
    case FRAME_STATE_OFFER:
        put_state_offer(buffer, &frame->state_offer);
        return;
    case FRAME_STATE_PULL:
        wire_put_u64(buffer, frame->state_pull.piece);
        return;
    case FRAME_STATE_PIECE:
        put_state_piece(buffer, &frame->state_piece);
        return;
    case FRAME_MARKS:
        put_marks(buffer, &frame->marks);
        return;
    case FRAME_CHANGE_ASK:
        put_change_ask(buffer, &frame->change_ask);
        return;
    case FRAME_CHANGE_ANSWER:
        put_change_answer(buffer, &frame->change_answer);
        return;
    case FRAME_JOIN_OFFER:
        put_join_offer(buffer, &frame->join_offer);
        return;
    case FRAME_JOIN_ANSWER:
        put_join_answer(buffer, &frame->join_answer);
        return;
    case FRAME_NONE:
    case FRAME_TYPES:
        break;
    }
    CHECK(frame->type != FRAME_NONE && frame->type != FRAME_TYPES);
}

static void get_fields(struct wire_reader *reader, struct frame *frame)
{
    switch (frame->type) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
        get_hello(reader, &frame->hello);
        return;
    case FRAME_REFUSED:
        get_refused(reader, &frame->refused);
        return;
    case FRAME_BOOTSTRAP_PREPARE:
    case FRAME_BOOTSTRAP_PREPARED:
    case FRAME_BOOTSTRAP_COMMIT:
    case FRAME_BOOTSTRAP_COMMITTED:
        get_bootstrap(reader, &frame->bootstrap);
        return;
    case FRAME_FORWARD:
        frame->forward.term = wire_get_u64(reader);
        frame->forward.bundle = wire_get_bytes(reader);
        return;
    case FRAME_FORWARD_REFUSED:
        get_forward_refused(reader, &frame->forward_refused);
        return;
    case FRAME_READ_ASK:
    case FRAME_READ_ANSWER:
    case FRAME_READ_PROBE:
    case FRAME_READ_TERM:
        get_read(reader, &frame->read);
        return;
    case FRAME_STATUS:
        get_status(reader, &frame->status);
        return;
    case FRAME_STATE_ASK:
        frame->state_ask.min_index = wire_get_u64(reader);
        return;
    case FRAME_STATE_OFFER:
        get_state_offer(reader, &frame->state_offer);
        return;
    case FRAME_STATE_PULL:
        frame->state_pull.piece = wire_get_u64(reader);
        return;
    case FRAME_STATE_PIECE:
        get_state_piece(reader, &frame->state_piece);
        return;
    case FRAME_MARKS:
        get_marks(reader, &frame->marks);
        return;
    case FRAME_CHANGE_ASK:
        get_change_ask(reader, &frame->change_ask);
        return;
    case FRAME_CHANGE_ANSWER:
        get_change_answer(reader, &frame->change_answer);
        return;
    case FRAME_JOIN_OFFER:
        get_join_offer(reader, &frame->join_offer);
        return;
    case FRAME_JOIN_ANSWER:
        get_join_answer(reader, &frame->join_answer);
        return;
    case FRAME_NONE:
    case FRAME_TYPES:
        break;
    }
    reader->failed = true;
}

void frame_encode(const struct frame *frame, struct buffer *buffer)
{
    size_t start = buffer->size;
    size_t body = start + FRAME_HEADER_BYTES;

    wire_put_u32(buffer, 0);
    wire_put_u64(buffer, 0);
    wire_put_u8(buffer, (uint8_t)frame->type);
    put_fields(buffer, frame);
    CHECK(buffer->size - start <= LIMIT_FRAME_BYTES);
    wire_set_u32(buffer, start, (uint32_t)(buffer->size - body));
    wire_set_u64(buffer, start + CHECKSUM_OFFSET,
                 XXH3_64bits(buffer->data + body, buffer->size - body));
}

enum status frame_size(struct slice bytes, size_t *size)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint32_t body = wire_get_u32(&reader);

    if (reader.failed) {
        *size = 0;
        return STATUS_OK;
    }
    if (body > LIMIT_FRAME_BYTES - FRAME_HEADER_BYTES) {
        return STATUS_TOO_LARGE;
    }
    *size = FRAME_HEADER_BYTES + (size_t)body;
    return STATUS_OK;
}

enum status frame_decode(struct slice bytes, struct frame *frame, struct error *error)
{
    struct wire_reader reader = wire_reader_of(bytes);
    uint32_t size = wire_get_u32(&reader);
    uint64_t checksum = wire_get_u64(&reader);
    struct frame decoded = {0};
    unsigned type;

    if (reader.failed || bytes.size > LIMIT_FRAME_BYTES || reader.rest.size != size || size == 0) {
        return error_set(error, STATUS_CORRUPT, "a frame has a wrong size");
    }
    if (XXH3_64bits(reader.rest.data, reader.rest.size) != checksum) {
        return error_set(error, STATUS_CORRUPT, "a frame fails its checksum");
    }
    type = wire_get_u8(&reader);
    if (type == FRAME_NONE || type >= FRAME_TYPES) {
        return error_set(error, STATUS_UNSUPPORTED, "a frame has the unknown type %u", type);
    }
    decoded.type = type;
    get_fields(&reader, &decoded);
    if (wire_done(&reader) != STATUS_OK) {
        return error_set(error, STATUS_CORRUPT, "a frame of type %u has fields out of bounds",
                         type);
    }
    *frame = decoded;
    return STATUS_OK;
}
