/*   result      u8 version, u8 replayed, u32 failed operation, u64 revision, u32 operations
 *   operation   u8 outcome, u8 kind of row, u64 etag, u64 number, bytes text, bytes row */
#include "storage/result.h"

#include "daemon/base/check.h"
#include "daemon/base/wire.h"

#define RESULT_VERSION 1

#define OFFSET_REPLAYED   1
#define OFFSET_REVISION   6
#define OFFSET_OPERATIONS 14
#define HEADER_BYTES      18

static const struct {
    unsigned status;
    const char *problem;
} outcomes[OUTCOMES] = {
#define OUTCOME_ENTRY(name, status, problem) [OUTCOME_##name] = {status, problem},
    OUTCOME_LIST(OUTCOME_ENTRY)
#undef OUTCOME_ENTRY
};

unsigned outcome_http_status(enum outcome outcome)
{
    CHECK(outcome < OUTCOMES);
    return outcomes[outcome].status;
}

const char *outcome_problem(enum outcome outcome)
{
    CHECK(outcome < OUTCOMES);
    return outcomes[outcome].problem;
}

void result_begin(struct buffer *buffer, uint64_t revision, uint32_t failed_operation)
{
    CHECK(buffer->size == 0);
    wire_put_u8(buffer, RESULT_VERSION);
    wire_put_u8(buffer, 0);
    wire_put_u32(buffer, failed_operation);
    wire_put_u64(buffer, revision);
    wire_put_u32(buffer, 0);
}

void result_add(struct buffer *buffer, const struct operation_result *operation)
{
    CHECK(buffer->size >= HEADER_BYTES);
    CHECK(operation->outcome < OUTCOMES);
    CHECK(operation->row_kind < ROW_KINDS);

    wire_put_u8(buffer, (uint8_t)operation->outcome);
    wire_put_u8(buffer, (uint8_t)operation->row_kind);
    wire_put_u64(buffer, operation->etag);
    wire_put_u64(buffer, operation->number);
    wire_put_bytes(buffer, operation->text);
    wire_put_bytes(buffer, operation->row);
}

void result_finish(struct buffer *buffer, uint32_t n_operations)
{
    wire_set_u32(buffer, OFFSET_OPERATIONS, n_operations);
}

void result_set_revision(struct buffer *buffer, uint64_t revision)
{
    wire_set_u64(buffer, OFFSET_REVISION, revision);
}

void result_set_replayed(struct buffer *buffer)
{
    CHECK(buffer->size >= HEADER_BYTES);
    buffer->data[OFFSET_REPLAYED] = 1;
}

enum status result_decode(struct slice bytes, struct result *result)
{
    struct wire_reader reader = wire_reader_of(bytes);
    struct operation_result operation;
    struct result decoded;
    struct slice walk;
    uint8_t version = wire_get_u8(&reader);
    uint8_t replayed = wire_get_u8(&reader);
    uint32_t n = 0;

    if (version > RESULT_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    decoded.replayed = replayed == 1;
    decoded.failed_operation = wire_get_u32(&reader);
    decoded.revision = wire_get_u64(&reader);
    decoded.n_operations = wire_get_u32(&reader);
    decoded.operations = reader.rest;
    if (reader.failed || version != RESULT_VERSION || replayed > 1) {
        return STATUS_CORRUPT;
    }
    walk = decoded.operations;
    while (result_next(&walk, &operation)) {
        n++;
    }
    if (walk.size > 0 || n != decoded.n_operations) {
        return STATUS_CORRUPT;
    }
    *result = decoded;
    return STATUS_OK;
}

bool result_next(struct slice *walk, struct operation_result *operation)
{
    struct wire_reader reader = wire_reader_of(*walk);
    struct operation_result next;
    uint8_t outcome = wire_get_u8(&reader);
    uint8_t row_kind = wire_get_u8(&reader);

    if (reader.failed || outcome >= OUTCOMES || row_kind >= ROW_KINDS) {
        return false;
    }
    next.outcome = (enum outcome)outcome;
    next.row_kind = (enum row_kind)row_kind;
    next.etag = wire_get_u64(&reader);
    next.number = wire_get_u64(&reader);
    next.text = wire_get_bytes(&reader);
    next.row = wire_get_bytes(&reader);
    if (reader.failed) {
        return false;
    }
    *operation = next;
    *walk = reader.rest;
    return true;
}
