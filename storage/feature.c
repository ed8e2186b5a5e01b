#include "storage/feature.h"

#include "storage/execution.h"
#include "storage/keys.h"

#define STATE_FORMAT 1 /* Of the records of the state as a whole. */

/* u8 format, u8 feature level. */
#define HEADER_BYTES 2

enum status feature_level_decode(struct slice record, unsigned *level)
{
    if (record.size != HEADER_BYTES || record.data[0] != STATE_FORMAT) {
        return STATUS_UNSUPPORTED;
    }
    *level = record.data[1];
    return STATUS_OK;
}

enum status feature_level_read(struct txn *txn, unsigned *level)
{
    struct key key = key_header();
    struct slice header;
    enum status status = txn_get(txn, key_slice(&key), &header);

    *level = FEATURE_LEVEL_FIRST;
    return status == STATUS_OK ? feature_level_decode(header, level) : status;
}

enum status feature_level_write(struct txn *txn, unsigned level)
{
    const uint8_t header[HEADER_BYTES] = {STATE_FORMAT, (uint8_t)level};
    struct key key = key_header();

    return txn_put(txn, key_slice(&key), slice_of(header, sizeof header));
}

enum status feature_execute(struct execution *execution, const struct operation *operation,
                            struct operation_result *result)
{
    unsigned level;
    enum status status = feature_level_read(execution->txn, &level);

    if (status == STATUS_OK && operation->feature_level > level) {
        status = feature_level_write(execution->txn, operation->feature_level);
    }
    result->outcome = OUTCOME_OK; /* Also if it was raised before. */
    return status;
}
