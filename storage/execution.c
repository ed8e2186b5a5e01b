#include "storage/execution.h"

#include "daemon/base/check.h"
#include "daemon/base/mutation.h"
#include "storage/keys.h"

/* What a missing part of a namespace's records means. */
static enum status must_exist(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

void execution_forget(struct execution *execution)
{
    execution->ns = (struct namespace_row){0};
    execution->counters = (struct namespace_counters){0};
    execution->stored_counters = (struct namespace_counters){0};
}

static enum status load(struct execution *execution, struct slice name)
{
    struct key key = key_namespace(name);
    struct slice payload;
    enum status status = txn_get(execution->txn, key_slice(&key), &payload);

    if (status != STATUS_OK) {
        return status;
    }
    buffer_clear(&execution->ns_record);
    buffer_append_slice(&execution->ns_record, payload);
    status = namespace_row_decode(buffer_slice(&execution->ns_record), &execution->ns);
    if (status != STATUS_OK) {
        return status;
    }
    key = key_counters(execution->ns.id);
    status = must_exist(txn_get(execution->txn, key_slice(&key), &payload));
    if (status != STATUS_OK) {
        return status;
    }
    status = namespace_counters_decode(payload, &execution->counters);
    execution->stored_counters = execution->counters;
    return status;
}

enum status execution_enter(struct execution *execution, struct slice name)
{
    enum status status;

    if (execution->ns.id != 0 && slice_equals(execution->ns.name, name)) {
        return STATUS_OK;
    }
    status = execution_leave(execution);
    if (status != STATUS_OK) {
        return status;
    }
    status = load(execution, name);
    if (status != STATUS_OK) {
        execution_forget(execution);
    }
    return status;
}

enum status execution_enter_id(struct execution *execution, uint64_t id)
{
    struct key key = key_namespace_id(id);
    struct slice name;
    enum status status;

    CHECK(id != 0);
    if (execution->ns.id == id) {
        return STATUS_OK;
    }
    status = execution_leave(execution);
    if (status != STATUS_OK) {
        return status;
    }
    status = txn_get(execution->txn, key_slice(&key), &name);
    if (status != STATUS_OK) {
        return status;
    }
    status = must_exist(load(execution, name));
    if (status != STATUS_OK) {
        execution_forget(execution);
    }
    return status;
}

enum status execution_save_counters(struct execution *execution)
{
    struct key key = key_counters(execution->ns.id);
    struct buffer payload = BUFFER_EMPTY;
    enum status status;

    if (execution->ns.id == 0 || memcmp(&execution->counters, &execution->stored_counters,
                                        sizeof execution->counters) == 0) {
        return STATUS_OK;
    }
    namespace_counters_encode(&execution->counters, &payload);
    status = txn_put(execution->txn, key_slice(&key), buffer_slice(&payload));
    buffer_close(&payload);
    if (status == STATUS_OK) {
        execution->stored_counters = execution->counters;
    }
    return status;
}

enum status execution_leave(struct execution *execution)
{
    enum status status = execution_save_counters(execution);

    if (status == STATUS_OK) {
        execution_forget(execution);
    }
    return status;
}

void execution_close(struct execution *execution)
{
    buffer_close(&execution->row);
    buffer_close(&execution->scratch);
    buffer_close(&execution->changes);
    buffer_close(&execution->ns_record);
    execution_forget(execution);
}

static bool has_tag(const struct condition *condition, uint64_t revision)
{
    for (uint32_t i = 0; i < condition->n_tags; i++) {
        if (condition->tags[i] == revision) {
            return true;
        }
    }
    return false;
}

/* Does the document match what the condition names? */
static bool matches(const struct condition *condition, uint64_t revision)
{
    return revision != 0 && (condition->kind == CONDITION_ANY || has_tag(condition, revision) ||
                             MUTATION(condition_ignored));
}

bool condition_holds(const struct operation *operation, uint64_t revision)
{
    if (operation->if_match.kind != CONDITION_NONE && !matches(&operation->if_match, revision)) {
        return false;
    }
    return operation->if_none_match.kind == CONDITION_NONE ||
           !matches(&operation->if_none_match, revision);
}
