/* The member table: who belongs to the cluster, where each one is reached, and what is wanted of
 * it.
 *
 * Real addresses live here, so that they can change; agreement knows only ids. The table leads:
 * agreement changes its own configuration, one step at a time, until it is what the table wants
 * (raft/membership.h), so a change that was committed goes on under any later leader.
 *
 * A member that was removed leaves its id for good: a row of the other kind, so that what its
 * process still says of itself makes no member of it again. */
#include "daemon/base/check.h"
#include "storage/execution.h"
#include "storage/keys.h"

static enum status find_removed(struct execution *execution, uint64_t id, bool *found)
{
    struct key key = key_removed_member(id);
    struct slice payload;
    enum status status = txn_get(execution->txn, key_slice(&key), &payload);

    *found = status == STATUS_OK;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* STATUS_NOT_FOUND; @row borrows from the transaction until the next write. */
static enum status find_row(struct execution *execution, uint64_t id, struct member_row *row)
{
    struct key key = key_member(id);
    struct slice payload;
    enum status status = txn_get(execution->txn, key_slice(&key), &payload);

    return status == STATUS_OK ? member_row_decode(payload, row) : status;
}

static enum status put_row(struct execution *execution, const struct member_row *row)
{
    struct key key = key_member(row->id);

    buffer_clear(&execution->scratch);
    member_row_encode(row, &execution->scratch);
    return txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->scratch));
}

static struct member_row row_of(const struct member_operation *member)
{
    return (struct member_row){
        .id = member->id,
        .name = member->name,
        .peer_address = member->peer_address,
        .api_address = member->api_address,
        .zone = member->zone,
        .version = member->version,
        .wanted = member->wanted,
        .is_forced = member->is_forced,
    };
}

/* What a node says of itself. What is wanted of it is not its own business. */
static enum status put(struct execution *execution, const struct member_operation *member,
                       enum outcome *outcome)
{
    struct member_row row = row_of(member);
    struct member_row old;
    enum status status = find_row(execution, member->id, &old);

    row.wanted = MEMBER_AS_IS;
    row.is_forced = false;
    if (status == STATUS_OK) {
        row.wanted = old.wanted;
        row.is_forced = old.is_forced;
        row.is_drained = old.is_drained && !member->has_restarted;
        row.zone = row.zone.size > 0 ? row.zone : old.zone;
    } else if (status != STATUS_NOT_FOUND) {
        return status;
    }
    *outcome = OUTCOME_OK;
    return put_row(execution, &row);
}

/* Has another member the name, or an address, or are there too many? */
static enum status find_clash(struct execution *execution, const struct member_operation *member,
                              bool *clashes)
{
    struct key prefix = key_prefix(KEY_MEMBER);
    struct cursor *cursor;
    struct slice found;
    struct slice payload;
    unsigned n = 0;
    enum status status = cursor_open(execution->txn, &cursor);

    *clashes = false;
    if (status != STATUS_OK) {
        return status;
    }
    status = cursor_seek(cursor, key_slice(&prefix), &found, &payload);
    while (status == STATUS_OK && slice_starts_with(found, key_slice(&prefix))) {
        struct member_row row;

        status = member_row_decode(payload, &row);
        if (status != STATUS_OK) {
            break;
        }
        *clashes = *clashes || slice_equals(row.name, member->name) ||
                   slice_equals(row.peer_address, member->peer_address) ||
                   slice_equals(row.api_address, member->api_address) || ++n >= LIMIT_MEMBERS;
        status = cursor_next(cursor, &found, &payload);
    }
    cursor_close(cursor);
    return status == STATUS_END || status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status add(struct execution *execution, const struct member_operation *member,
                       enum outcome *outcome)
{
    struct member_row row = row_of(member);
    struct member_row old;
    bool clashes;
    enum status status = find_row(execution, member->id, &old);

    if (status != STATUS_NOT_FOUND) {
        *outcome = OUTCOME_OK; /* It was added before. */
        return status;
    }
    status = find_clash(execution, member, &clashes);
    if (status != STATUS_OK || clashes) {
        *outcome = OUTCOME_PRECONDITION_FAILED;
        return status;
    }
    *outcome = OUTCOME_OK;
    return put_row(execution, &row);
}

static enum status change(struct execution *execution, const struct member_operation *member,
                          enum outcome *outcome)
{
    struct member_row row;
    struct member_row old;
    enum status status = find_row(execution, member->id, &old);

    if (status == STATUS_NOT_FOUND && member->name.size > 0) {
        row = row_of(member); /* One of those that formed the cluster, which was never heard. */
    } else if (status == STATUS_OK) {
        row = old;
    } else {
        *outcome = OUTCOME_NOT_FOUND;
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    row.wanted = member->wanted;
    row.is_drained = member->is_drained;
    row.is_forced = member->is_forced;
    *outcome = OUTCOME_OK;
    return put_row(execution, &row);
}

static enum status remove_member(struct execution *execution, const struct member_operation *member,
                                 enum outcome *outcome)
{
    struct key key = key_member(member->id);
    struct key removed_key = key_removed_member(member->id);
    struct removed_member_row removed = {.id = member->id, .is_forced = member->is_forced};
    struct member_row row = {.id = 0};
    enum status status = find_row(execution, member->id, &row);
    bool was_there = status == STATUS_OK;

    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    /* One that has not said its name yet leaves its id all the same. */
    removed.name = was_there ? row.name : member->name;
    removed.peer_address = was_there ? row.peer_address : member->peer_address;
    removed.api_address = was_there ? row.api_address : member->api_address;
    buffer_clear(&execution->scratch);
    removed_member_row_encode(&removed, &execution->scratch);
    *outcome = OUTCOME_OK;
    status = txn_put(execution->txn, key_slice(&removed_key), buffer_slice(&execution->scratch));
    return status == STATUS_OK && was_there ? txn_delete(execution->txn, key_slice(&key)) : status;
}

enum status member_execute(struct execution *execution, const struct operation *operation,
                           struct operation_result *result)
{
    const struct member_operation *member = &operation->member;
    bool was_removed;
    enum status status = find_removed(execution, member->id, &was_removed);

    if (status != STATUS_OK) {
        return status;
    }
    if (was_removed && operation->kind != OPERATION_MEMBER_REMOVE) {
        result->outcome = OUTCOME_NOT_FOUND;
        return STATUS_OK;
    }
    switch (operation->kind) {
    case OPERATION_MEMBER_PUT:
        return put(execution, member, &result->outcome);
    case OPERATION_MEMBER_ADD:
        return add(execution, member, &result->outcome);
    case OPERATION_MEMBER_CHANGE:
        return change(execution, member, &result->outcome);
    default:
        CHECK(operation->kind == OPERATION_MEMBER_REMOVE);
        return remove_member(execution, member, &result->outcome);
    }
}
