#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/result.h"
#include "storage/rows.h"
#include "tests/sim/cluster_private.h"

/* The log's order is tried first. Where it does not explain what was seen, there is something wrong
 * even if there is no end to the other orders. */
#define MAX_CONFIGURATIONS 200000u
/* Places in the log: an index, and there one command after the other, and reads. */
#define HINT_SHIFT 20u
#define HINT_READ  ((1u << HINT_SHIFT) - 1)

struct record {
    uint64_t call;
    uint64_t answer;
    uint64_t hint;
    union {
        struct register_operation item;
        struct log_operation log;
    } what;
    struct log_event seen[HISTORY_PAGE];
};

uint64_t histories_now(struct histories *histories)
{
    return ++histories->clock;
}

static struct history *history_of(struct history **all, unsigned *n, unsigned number)
{
    if (number >= *n) {
        unsigned grown = number * 2 + 8;

        *all = memory_resize(*all, grown * sizeof **all);
        memset(*all + *n, 0, (grown - *n) * sizeof **all);
        *n = grown;
    }
    return &(*all)[number];
}

static void add(struct history *history, const struct record *record)
{
    buffer_append(&history->records, record, sizeof *record);
}

/* --- Writes --- */

static uint64_t hint_of(const struct op *op)
{
    return op->index << HINT_SHIFT | op->position;
}

static void add_append(struct histories *histories, const struct op *op, uint64_t answer)
{
    const struct request *request = op->request;
    struct record record = {.call = request->call, .answer = answer, .hint = request->hint};

    record.what.log = (struct log_operation){
        .action = LOG_APPEND,
        .truncate_after = request->truncate,
        .first_event = model_first_event(request),
        .n_events = request->n_events,
        .first_seq = op->first_seq,
    };
    add(history_of(&histories->sessions, &histories->n_sessions, request->target), &record);
}

static void add_item_write(struct histories *histories, const struct op *op, uint64_t answer)
{
    static const enum register_action actions[] = {
        [REQUEST_PUT] = REGISTER_WRITE,
        [REQUEST_PUT_IF_MATCH] = REGISTER_CAS,
        [REQUEST_DELETE] = REGISTER_DELETE,
    };
    const struct request *request = op->request;
    struct record record = {.call = op->call, .answer = answer, .hint = hint_of(op)};

    if (op->succeeded) {
        record.call = request->call;
        record.hint = request->hint;
    }
    record.what.item = (struct register_operation){
        .action = actions[request->kind],
        .value = model_value(request),
        .expected = request->expected,
        .succeeded = op->succeeded,
    };
    add(history_of(&histories->items, &histories->n_items, request->target), &record);
}

/* Does the request change an object whose history is kept, in a way that its model knows? */
static bool is_kept(const struct request *request)
{
    return request->kind == REQUEST_APPEND ||
           (request->is_of_register && request->kind != REQUEST_TOUCH);
}

void histories_executed(struct cluster *cluster, struct op *op, struct slice bytes)
{
    struct operation_result first;
    struct append_row row;
    struct result result;

    CHECK(result_decode(bytes, &result) == STATUS_OK);
    CHECK(result_next(&result.operations, &first));
    op->executed = histories_now(&cluster->histories);
    op->succeeded = outcome_is_success(first.outcome);
    if (op->succeeded && op->request->hint == 0) {
        op->request->hint = hint_of(op);
    }
    op->was_full = first.outcome == OUTCOME_STORAGE_FULL;
    if (op->request->kind == REQUEST_APPEND && op->succeeded &&
        append_row_decode(first.row, &row) == STATUS_OK) {
        op->first_seq = row.first_seq;
    }
}

/* Several tries of a request took effect once, so the first answer ends it, whichever it is of. A
 * try that did not succeed changed nothing: it is an operation by itself. */
static void add_try(struct histories *histories, const struct op *op, uint64_t answer)
{
    struct request *request = op->request;

    if (!is_kept(request) || op->was_full || (op->succeeded && request->is_recorded)) {
        return;
    }
    request->is_recorded = request->is_recorded || op->succeeded;
    if (request->kind == REQUEST_APPEND) {
        add_append(histories, op, answer);
    } else {
        add_item_write(histories, op, answer);
    }
}

void histories_answered(struct cluster *cluster, const struct op *op)
{
    add_try(&cluster->histories, op, histories_now(&cluster->histories));
}

static void add_unanswered(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->n_ops; i++) {
        const struct op *op = cluster->ops[i];

        if (op->executed != 0 && op->fate != OP_ACKNOWLEDGED) {
            add_try(&cluster->histories, op, op->executed);
        }
    }
}

/* --- Reads --- */

void histories_item_read(struct histories *histories, unsigned item, uint64_t call, uint64_t index,
                         uint64_t value)
{
    struct record record = {
        .call = call, .answer = histories_now(histories), .hint = index << HINT_SHIFT | HINT_READ};

    record.what.item = (struct register_operation){.action = REGISTER_READ, .value = value};
    add(history_of(&histories->items, &histories->n_items, item), &record);
}

void histories_log_read(struct histories *histories, unsigned session, uint64_t call,
                        uint64_t index, const struct log_operation *seen)
{
    struct record record = {
        .call = call, .answer = histories_now(histories), .hint = index << HINT_SHIFT | HINT_READ};

    CHECK(seen->n_seen <= HISTORY_PAGE);
    record.what.log = *seen;
    memcpy(record.seen, seen->seen, seen->n_seen * sizeof *seen->seen);
    add(history_of(&histories->sessions, &histories->n_sessions, session), &record);
}

/* --- The check --- */

static void describe(const struct record *record, bool is_log, char *text, size_t size)
{
    const struct log_operation *log = &record->what.log;
    const struct register_operation *item = &record->what.item;

    if (!is_log) {
        (void)snprintf(text, size, "action %u, value %" PRIu64 ", expected %" PRIu64 ", %s",
                       (unsigned)item->action, item->value, item->expected,
                       item->succeeded ? "done" : "not done"); /* Longer text is cut. */
    } else if (log->action == LOG_APPEND) {
        (void)snprintf(text, size, "an append of %u events at %" PRIu64, log->n_events,
                       log->first_seq); /* Longer text is cut. */
    } else {
        (void)snprintf(text, size, "a read behind %" PRIu64 " of %u events up to %" PRIu64,
                       log->after_seq, log->n_seen, log->last_seq); /* Longer text is cut. */
    }
}

static void check(struct cluster *cluster, struct history *history, unsigned number, bool is_log)
{
    struct record *records = (struct record *)(void *)history->records.data;
    size_t n = history->records.size / sizeof *records;
    struct history_operation *operations = memory_new_zeroed(n + 1, sizeof *operations);
    enum linearizability verdict;
    size_t furthest = 0;
    char text[160];

    if (is_log && n > 0) {
        history->versions = log_versions_open();
    }
    for (size_t i = 0; i < n; i++) {
        operations[i].call = records[i].call;
        operations[i].answer = records[i].answer;
        operations[i].hint = records[i].hint;
        operations[i].what = is_log ? (void *)&records[i].what.log : (void *)&records[i].what.item;
        if (is_log) {
            records[i].what.log.versions = history->versions;
            records[i].what.log.seen = records[i].seen;
        }
    }
    verdict = linearizability_check(is_log ? &log_model : &register_model, operations, n,
                                    MAX_CONFIGURATIONS, &furthest);
    cluster->counts.histories += n > 0 ? 1 : 0;
    if (verdict != LINEARIZABLE) {
        describe(&records[furthest], is_log, text, sizeof text);
        SIM_EXPECT(cluster->sim, verdict == LINEARIZABLE,
                   "what clients saw of %s %u is not linearizable at %s",
                   is_log ? "session" : "item", number, text);
    }
    free(operations);
}

void histories_check(struct cluster *cluster)
{
    struct histories *histories = &cluster->histories;

    if (!cluster->options.has_state) {
        return;
    }
    add_unanswered(cluster);
    for (unsigned i = 0; i < histories->n_items; i++) {
        check(cluster, &histories->items[i], i, false);
    }
    for (unsigned i = 0; i < histories->n_sessions; i++) {
        check(cluster, &histories->sessions[i], i, true);
    }
}

static void close_all(struct history *all, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        buffer_close(&all[i].records);
        log_versions_close(all[i].versions);
    }
    free(all);
}

void histories_close(struct histories *histories)
{
    close_all(histories->items, histories->n_items);
    close_all(histories->sessions, histories->n_sessions);
}
