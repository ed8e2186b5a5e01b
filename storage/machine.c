/* An entry goes through the machine in these steps:
 *
 * 1. machine_execute() compares the index with what was executed: a known one is checked and
 *    skipped, a gap is refused.
 * 2. The envelope is decoded, and the cluster's time moves forward.
 * 3. Each command of each bundle is decoded, admitted (namespace, idempotency key, room), executed
 *    operation by operation, and answered through the callback.
 * 4. machine_commit() writes the counters that are held back, and makes all of it visible.
 * 5. machine_freeze() adds the machine's own record, and sets aside what is to be flushed.
 *
 * The write transaction is open from the first execution to the commit, and only then. What goes
 * wrong inside an entry ends the machine: the transaction is given up, and every later call fails,
 * until the process starts again from the last flush. */
#include "storage/machine.h"

#include <stdlib.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/wire.h"
#include "storage/change.h"
#include "storage/entry.h"
#include "storage/idempotency.h"
#include "storage/keys.h"
#include "storage/maintenance.h"
#include "storage/namespace.h"

#define LOCAL_MACHINE   "machine"
#define MACHINE_VERSION 1
#define HISTORY         64 /* libraft may hand out entries again, at most as many as in flight. */

#define FEATURE_WHAT_TO_DO                                                                         \
    ": install the version of Holdfast that the other nodes run, and start it on this directory"

struct executed {
    uint64_t index;
    uint64_t term;
    uint64_t checksum; /* XXH3-64 of the whole entry. */
};

struct machine {
    struct store *store;
    struct txn *txn;    /* The write transaction, or NULL when all is visible. */
    struct txn *reader; /* For looking while there is none. */
    struct state state; /* As of the last execution. */
    struct execution execution;
    struct buffer result;
    struct executed history[HISTORY]; /* The entry at an index is in slot index % HISTORY. */
    uint64_t stored;
    unsigned known_level;   /* That the program knows. */
    unsigned feature_level; /* The cluster's, as it was read at the start. */
    bool has_header;
    bool has_news; /* The own record was not frozen as it is now. */
    bool has_failed;
};

/* --- The machine's own record --- */

static enum status decode_own(struct slice payload, struct machine *machine)
{
    struct wire_reader reader = wire_reader_of(payload);
    uint8_t version = wire_get_u8(&reader);

    if (version > MACHINE_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    machine->stored = wire_get_u64(&reader);
    for (unsigned i = 0; i < HISTORY; i++) {
        machine->history[i].index = wire_get_u64(&reader);
        machine->history[i].term = wire_get_u64(&reader);
        machine->history[i].checksum = wire_get_u64(&reader);
    }
    return version == MACHINE_VERSION ? wire_done(&reader) : STATUS_CORRUPT;
}

static void save_own(struct machine *machine)
{
    struct buffer payload = BUFFER_EMPTY;

    wire_put_u8(&payload, MACHINE_VERSION);
    wire_put_u64(&payload, machine->stored);
    for (unsigned i = 0; i < HISTORY; i++) {
        wire_put_u64(&payload, machine->history[i].index);
        wire_put_u64(&payload, machine->history[i].term);
        wire_put_u64(&payload, machine->history[i].checksum);
    }
    txn_put_local(machine->txn, slice_of_string(LOCAL_MACHINE), buffer_slice(&payload));
    buffer_close(&payload);
}

/* Fill @machine from the open transaction @txn. A new store has no record. */
static enum status load_own(struct txn *txn, struct machine *machine)
{
    struct slice payload;
    enum status status = txn_get_local(txn, slice_of_string(LOCAL_MACHINE), &payload);

    machine->state = *txn_state(txn);
    if (status == STATUS_OK) {
        status = decode_own(payload, machine);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    status = feature_level_read(txn, &machine->feature_level);
    machine->has_header = status != STATUS_NOT_FOUND;
    return machine->has_header ? status : STATUS_OK;
}

static enum status load(struct store *store, struct machine *machine, struct error *error)
{
    enum status status = txn_begin_read(store, &machine->reader, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = load_own(machine->reader, machine);
    txn_end_read(machine->reader);
    if (status != STATUS_OK) {
        (void)error_set(error, status, "could not read the state machine's records: %s",
                        status_text(status));
        txn_reader_close(machine->reader);
    }
    return status;
}

/* --- The life --- */

enum status machine_open(struct store *store, unsigned feature_level, struct machine **machine,
                         struct error *error)
{
    struct machine *m = memory_new_zeroed(1, sizeof *m);
    enum status status = load(store, m, error);

    if (status != STATUS_OK) {
        free(m);
        return status;
    }
    if (m->feature_level > feature_level) {
        status = error_set(error, STATUS_UNSUPPORTED,
                           "the state is of a cluster at feature level %u, and this program knows "
                           "the features up to level %u" FEATURE_WHAT_TO_DO,
                           m->feature_level, feature_level);
        txn_reader_close(m->reader);
        free(m);
        return status;
    }
    m->store = store;
    m->known_level = feature_level;
    *machine = m;
    return STATUS_OK;
}

void machine_close(struct machine *machine)
{
    if (machine == NULL) {
        return;
    }
    if (machine->txn != NULL) {
        txn_abort(machine->txn);
    }
    txn_reader_close(machine->reader);
    execution_close(&machine->execution);
    buffer_close(&machine->result);
    free(machine);
}

static enum status begin(struct machine *machine, struct error *error)
{
    enum status status;

    if (machine->has_failed) {
        return error_set(error, STATUS_CANCELED, "the state machine has failed before");
    }
    if (machine->txn != NULL) {
        return STATUS_OK;
    }
    status = txn_begin_write(machine->store, &machine->txn, error);
    if (status == STATUS_OK) {
        machine->execution.txn = machine->txn;
    }
    return status;
}

/* Nothing of the uncommitted may reach the disk or a client any more. Gives @status. */
static enum status give_up(struct machine *machine, enum status status)
{
    machine->has_failed = true;
    if (machine->txn != NULL) {
        txn_abort(machine->txn);
        machine->txn = NULL;
        machine->execution.txn = NULL;
    }
    return status;
}

/* --- One command --- */

/* Refuse the command as a whole. */
static void answer_refusal(struct machine *machine, enum outcome outcome)
{
    struct operation_result refusal = {.outcome = outcome};

    buffer_clear(&machine->result);
    result_begin(&machine->result, txn_state(machine->txn)->revision, 0);
    result_add(&machine->result, &refusal);
    result_finish(&machine->result, 1);
}

static enum status execute_operation(struct execution *execution, const struct operation *operation,
                                     struct operation_result *result)
{
    switch (operation->kind) {
    case OPERATION_ITEM_PUT:
    case OPERATION_ITEM_PATCH:
    case OPERATION_ITEM_DELETE:
    case OPERATION_ITEM_TOUCH:
    case OPERATION_ITEM_CHECK:
    case OPERATION_ITEM_DELETE_PREFIX:
        return item_execute(execution, operation, result);
    case OPERATION_SESSION_PUT:
    case OPERATION_SESSION_PATCH:
    case OPERATION_SESSION_DELETE:
    case OPERATION_SESSION_TOUCH:
    case OPERATION_SESSION_CHECK:
        return session_execute(execution, operation, result);
    case OPERATION_EVENTS_APPEND:
    case OPERATION_EVENTS_DELETE:
        return event_execute(execution, operation, result);
    case OPERATION_NAMESPACE_PUT:
    case OPERATION_NAMESPACE_PATCH:
    case OPERATION_NAMESPACE_DELETE:
        return namespace_execute(execution, operation, result);
    case OPERATION_MEMBER_PUT:
    case OPERATION_MEMBER_ADD:
    case OPERATION_MEMBER_CHANGE:
    case OPERATION_MEMBER_REMOVE:
        return member_execute(execution, operation, result);
    case OPERATION_MAINTAIN:
        return maintain_execute(execution, operation, result);
    case OPERATION_FEATURE_RAISE:
        return feature_execute(execution, operation, result);
    case OPERATION_NONE:
    case OPERATION_KINDS:
        break;
    }
    return STATUS_CORRUPT; /* Decoding lets none of these through. */
}

/* Execute in order until one is refused, and put together the result. */
static enum status execute_operations(struct machine *machine, const struct command *command,
                                      bool *refused)
{
    struct execution *execution = &machine->execution;
    struct operation_result result;
    enum status status;

    *refused = false;
    buffer_clear(&machine->result);
    result_begin(&machine->result, execution->revision, 0);
    for (uint32_t i = 0; i < command->n_operations; i++) {
        result = (struct operation_result){0};
        buffer_clear(&execution->row);
        status = execute_operation(execution, &command->operations[i], &result);
        if (status != STATUS_OK) {
            return status;
        }
        if (!outcome_is_success(result.outcome)) {
            *refused = true;
            buffer_clear(&machine->result);
            result_begin(&machine->result, txn_state(machine->txn)->revision, i);
            result_add(&machine->result, &result);
            result_finish(&machine->result, 1);
            return STATUS_OK;
        }
        result_add(&machine->result, &result);
    }
    result_finish(&machine->result, command->n_operations);
    return STATUS_OK;
}

/* A single operation refuses before it writes; more than one may have to be undone. */
static enum status execute_whole(struct machine *machine, const struct command *command,
                                 bool *refused)
{
    struct execution *execution = &machine->execution;
    struct namespace_counters counters = execution->counters;
    bool is_marked = command->n_operations > 1;
    enum status status;

    if (is_marked) {
        txn_mark(machine->txn);
    }
    status = execute_operations(machine, command, refused);
    if (status != STATUS_OK || !is_marked) {
        return status; /* With a failure the whole transaction is given up. */
    }
    if (!*refused) {
        txn_keep(machine->txn);
        return STATUS_OK;
    }
    txn_undo(machine->txn);
    execution->counters = counters;
    if (command->ns.size == 0) {
        execution_forget(execution);
    }
    return STATUS_OK;
}

/* Take the revision, if the command changed something, and remember the answer. */
static enum status conclude(struct machine *machine, const struct command *command)
{
    struct execution *execution = &machine->execution;
    struct state *state = txn_state(machine->txn);
    enum status status = STATUS_OK;

    if (execution->took_revision) {
        status = change_append(execution);
        state->revision = execution->revision;
    } else {
        result_set_revision(&machine->result, state->revision);
    }
    if (status == STATUS_OK && command->idempotency_key.size > 0) {
        status = idempotency_keep(execution, command, buffer_slice(&machine->result));
    }
    return status;
}

static void begin_command(struct machine *machine, const struct command *command)
{
    struct execution *execution = &machine->execution;

    execution->revision = txn_state(machine->txn)->revision + 1;
    execution->took_revision = false;
    execution->in_transaction = command->is_transaction || command->n_operations > 1;
    execution->n_changes = 0;
    buffer_clear(&execution->changes);
}

/* Enter the command's namespace. STATUS_NOT_FOUND. */
static enum status enter(struct machine *machine, const struct command *command)
{
    return command->ns.size > 0 ? execution_enter(&machine->execution, command->ns)
                                : execution_leave(&machine->execution);
}

/* If the command has a key that is known, put the answer into machine->result. */
static enum status find_answer(struct machine *machine, const struct command *command,
                               bool *answered)
{
    struct execution *execution = &machine->execution;
    struct idempotency_record record;
    enum status status;

    *answered = false;
    if (command->idempotency_key.size == 0) {
        return STATUS_OK;
    }
    status = idempotency_find(execution->txn, execution->ns.id, command->idempotency_key,
                              execution->now_ms, &record);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    *answered = true;
    if (memcmp(record.request_hash, command->request_hash, sizeof record.request_hash) != 0) {
        answer_refusal(machine, OUTCOME_IDEMPOTENCY_KEY_REUSED);
        return STATUS_OK;
    }
    buffer_clear(&machine->result);
    buffer_append_slice(&machine->result, record.result);
    result_set_replayed(&machine->result);
    return STATUS_OK;
}

/* Leaves the encoded result in machine->result. */
static enum status execute_command(struct machine *machine, const struct entry *entry,
                                   const struct command *command)
{
    bool refused = false;
    bool answered;
    enum status status;

    begin_command(machine, command);
    status = enter(machine, command);
    if (status == STATUS_NOT_FOUND) {
        answer_refusal(machine, OUTCOME_NAMESPACE_NOT_FOUND);
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = find_answer(machine, command, &answered);
    }
    if (status != STATUS_OK || answered) {
        return status;
    }
    if ((entry->flags & ENTRY_FLAG_STORAGE_FULL) != 0 && command_adds(command)) {
        answer_refusal(machine, OUTCOME_STORAGE_FULL);
        return STATUS_OK;
    }
    status = execute_whole(machine, command, &refused);
    return status == STATUS_OK && !refused ? conclude(machine, command) : status;
}

/* --- One entry --- */

/* The first entry of a new state brings the header and the namespace that always exists, so that
 * they have a time that is the same everywhere. */
static enum status lay_foundation(struct machine *machine)
{
    struct execution *execution = &machine->execution;
    struct state *state = txn_state(machine->txn);
    struct command none = {0};
    enum status status;

    if (machine->has_header) {
        return STATUS_OK;
    }
    begin_command(machine, &none);
    status = feature_level_write(machine->txn, FEATURE_LEVEL_FIRST);
    if (status == STATUS_OK) {
        status = namespace_make(execution, slice_of_string(NAMESPACE_DEFAULT));
    }
    if (status == STATUS_OK) {
        status = change_append(execution);
    }
    state->revision = execution->revision;
    machine->has_header = true;
    return status;
}

struct sink {
    machine_result_cb cb;
    void *data;
};

static enum status execute_bytes(struct machine *machine, const struct entry *entry,
                                 struct slice bytes, struct error *error)
{
    struct command command;
    enum status status = command_decode(bytes, &command, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = execute_command(machine, entry, &command);
    command_close(&command);
    return status;
}

static enum status execute_bundles(struct machine *machine, const struct entry *entry,
                                   const struct sink *sink, struct error *error)
{
    struct slice bundles = entry->bundles;
    struct bundle bundle;
    struct slice bytes;
    enum status status;

    for (uint32_t i = 0; entry_next_bundle(&bundles, &bundle); i++) {
        struct slice commands = bundle.commands;

        for (uint32_t j = 0; bundle_next_command(&commands, &bytes); j++) {
            status = execute_bytes(machine, entry, bytes, error);
            if (status != STATUS_OK) {
                return status;
            }
            sink->cb(sink->data, i, j, buffer_slice(&machine->result));
        }
    }
    return STATUS_OK;
}

/* An entry that was executed before must be the same now. */
static enum status check_known(const struct machine *machine, const struct executed *entry,
                               struct error *error)
{
    const struct executed *known = &machine->history[entry->index % HISTORY];

    if (known->index != entry->index ||
        (known->term == entry->term && known->checksum == entry->checksum)) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CORRUPT,
                     "entry %llu of term %llu differs from the one that was executed, of term %llu",
                     (unsigned long long)entry->index, (unsigned long long)entry->term,
                     (unsigned long long)known->term);
}

/* Give the failure of an entry its story, unless something below has told it. */
static enum status explain(uint64_t index, enum status status, struct error *error)
{
    if (error != NULL && error->text[0] != '\0') {
        error->status = status;
        return error_prefix(error, "could not execute entry %llu", (unsigned long long)index);
    }
    return error_set(error, status, "could not execute entry %llu: %s", (unsigned long long)index,
                     status_text(status));
}

static enum status execute_new(struct machine *machine, const struct executed *executed,
                               struct slice bytes, const struct sink *sink, struct error *error)
{
    struct entry entry;
    struct state *state;
    enum status status = entry_decode(bytes, &entry, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (entry.feature_level > machine->known_level) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "it is of feature level %u, and this program knows the features up to "
                         "level %u" FEATURE_WHAT_TO_DO,
                         entry.feature_level, machine->known_level);
    }
    status = begin(machine, error);
    if (status != STATUS_OK) {
        return status;
    }
    state = txn_state(machine->txn);
    state->time_ms = entry.time_ms > state->time_ms ? entry.time_ms : state->time_ms;
    machine->execution.now_ms = state->time_ms;
    status = lay_foundation(machine);
    if (status == STATUS_OK) {
        status = execute_bundles(machine, &entry, sink, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    state->applied_index = executed->index;
    state->applied_term = executed->term;
    machine->state = *state;
    machine->history[executed->index % HISTORY] = *executed;
    machine->has_news = true;
    return STATUS_OK;
}

enum status machine_execute(struct machine *machine, uint64_t index, uint64_t term,
                            struct slice entry, machine_result_cb on_result, void *data,
                            struct error *error)
{
    struct executed executed = {
        .index = index, .term = term, .checksum = XXH3_64bits(entry.data, entry.size)};
    struct sink sink = {.cb = on_result, .data = data};
    struct error ignored;
    enum status status;

    error = error != NULL ? error : &ignored;
    error->text[0] = '\0';
    if (machine->has_failed) {
        return error_set(error, STATUS_CANCELED, "the state machine has failed before");
    }
    if (index <= machine->state.applied_index) {
        status = check_known(machine, &executed, error);
    } else if (index != machine->state.applied_index + 1) {
        status = error_set(error, STATUS_CORRUPT, "entries from %llu on are missing",
                           (unsigned long long)machine->state.applied_index + 1);
    } else {
        status = execute_new(machine, &executed, entry, &sink, error);
    }
    return status == STATUS_OK ? STATUS_OK : give_up(machine, explain(index, status, error));
}

enum status machine_skip_to(struct machine *machine, uint64_t index, uint64_t term,
                            struct error *error)
{
    struct state *state;
    enum status status;

    if (index <= machine->state.applied_index) {
        return STATUS_OK;
    }
    status = begin(machine, error);
    if (status != STATUS_OK) {
        return status;
    }
    state = txn_state(machine->txn);
    state->applied_index = index;
    state->applied_term = term;
    machine->state = *state;
    machine->has_news = true;
    return STATUS_OK;
}

void machine_set_stored(struct machine *machine, uint64_t stored)
{
    if (stored > machine->stored) {
        machine->stored = stored;
        machine->has_news = true;
    }
}

uint64_t machine_applied_index(const struct machine *machine)
{
    return machine->state.applied_index;
}

uint64_t machine_revision(const struct machine *machine)
{
    return machine->state.revision;
}

uint64_t machine_time_ms(const struct machine *machine)
{
    return machine->state.time_ms;
}

void machine_state_hash(const struct machine *machine, uint64_t hash[2])
{
    CHECK(machine->txn == NULL);
    store_state_hash(&machine->state, hash);
}

enum status machine_commit(struct machine *machine, struct error *error)
{
    enum status status;

    if (machine->has_failed) {
        return error_set(error, STATUS_CANCELED, "the state machine has failed before");
    }
    if (machine->txn == NULL) {
        return STATUS_OK;
    }
    status = execution_save_counters(&machine->execution);
    if (status != STATUS_OK) {
        return give_up(machine, error_set(error, status, "could not commit entry %llu: %s",
                                          (unsigned long long)machine->state.applied_index,
                                          status_text(status)));
    }
    machine->state = *txn_state(machine->txn);
    txn_commit(machine->txn);
    machine->txn = NULL;
    machine->execution.txn = NULL;
    return STATUS_OK;
}

enum status machine_freeze(struct machine *machine, bool *frozen, struct error *error)
{
    struct store_unflushed unflushed;
    enum status status = machine_commit(machine, error);

    if (status != STATUS_OK) {
        return status;
    }
    store_unflushed(machine->store, &unflushed);
    CHECK(!unflushed.is_flushing);
    *frozen = machine->has_news || !unflushed.is_empty;
    if (!*frozen) {
        return STATUS_OK;
    }
    status = begin(machine, error);
    if (status != STATUS_OK) {
        return status;
    }
    save_own(machine);
    status = machine_commit(machine, error);
    if (status == STATUS_OK) {
        machine->has_news = false;
        store_freeze(machine->store);
    }
    return status;
}

enum status machine_position(struct store *store, struct machine_position *position,
                             struct error *error)
{
    struct machine machine = {0};
    enum status status = load(store, &machine, error);

    if (status != STATUS_OK) {
        return status;
    }
    txn_reader_close(machine.reader);
    position->applied_index = machine.state.applied_index;
    position->applied_term = machine.state.applied_term;
    position->stored = machine.stored;
    position->revision = machine.state.revision;
    position->time_ms = machine.state.time_ms;
    position->feature_level = machine.feature_level;
    store_state_hash(&machine.state, position->hash);
    return STATUS_OK;
}

enum status machine_next_due(struct machine *machine, uint64_t *due_ms, struct error *error)
{
    bool is_reading = machine->txn == NULL;
    enum status status;

    if (is_reading) {
        status = txn_begin_read(machine->store, &machine->reader, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = maintenance_next_due(is_reading ? machine->reader : machine->txn, due_ms);
    if (is_reading) {
        txn_end_read(machine->reader);
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "could not read what is due: %s", status_text(status));
    }
    return STATUS_OK;
}
