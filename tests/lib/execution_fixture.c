#include "tests/lib/execution_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

static void put(struct execution_fixture *f, struct key key, struct buffer *payload)
{
    assert_int_equal(txn_put(f->execution.txn, key_slice(&key), buffer_slice(payload)), STATUS_OK);
    buffer_clear(payload);
}

static void make_namespace(struct execution_fixture *f)
{
    struct namespace_row row = {.name = slice_of_string("default"),
                                .id = FIXTURE_NAMESPACE_ID,
                                .revision = 1,
                                .metadata = slice_of_string("{}")};
    struct namespace_counters counters = {0};
    struct buffer payload = BUFFER_EMPTY;

    namespace_row_encode(&row, &payload);
    put(f, key_namespace(row.name), &payload);
    buffer_append_slice(&payload, row.name);
    put(f, key_namespace_id(row.id), &payload);
    namespace_counters_encode(&counters, &payload);
    put(f, key_counters(row.id), &payload);
    buffer_close(&payload);
}

int execution_fixture_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    struct execution_fixture *f = memory_new_zeroed(1, sizeof *f);
    struct store_options options = {.directory = f->directory, .map_size_bytes = 1u << 30};
    struct state *facts;

    (void)snprintf(f->directory, sizeof f->directory, "%s/holdfast-test-XXXXXX",
                   base != NULL && strlen(base) < 32 ? base : "/tmp");
    CHECK(mkdtemp(f->directory) != NULL);
    assert_int_equal(store_open(&options, &f->store, NULL), STATUS_OK);
    assert_int_equal(txn_begin_write(f->store, &f->execution.txn, NULL), STATUS_OK);
    facts = txn_state(f->execution.txn);
    facts->next_object_id = FIXTURE_NAMESPACE_ID + 1;
    facts->revision = 1;
    f->view = (struct view){.txn = f->execution.txn, .state = facts};
    f->now_ms = FIXTURE_START_MS;
    make_namespace(f);
    *state = f;
    return 0;
}

int execution_fixture_teardown(void **state)
{
    struct execution_fixture *f = *state;
    char command[128];

    execution_close(&f->execution);
    txn_abort(f->execution.txn);
    store_close(f->store);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", f->directory);
    CHECK(system(command) == 0);
    free(f);
    return 0;
}

static enum status dispatch(struct execution_fixture *f, const struct operation *operation)
{
    if (operation->kind == OPERATION_MAINTAIN) {
        return maintain_execute(&f->execution, operation, &f->result);
    }
    if (operation->kind >= OPERATION_EVENTS_APPEND) {
        return event_execute(&f->execution, operation, &f->result);
    }
    return session_execute(&f->execution, operation, &f->result);
}

static void begin(struct execution_fixture *f)
{
    struct state *facts = txn_state(f->execution.txn);

    facts->time_ms = f->now_ms;
    f->execution.now_ms = f->now_ms;
    f->execution.revision = facts->revision + 1;
    f->execution.took_revision = false;
    f->execution.n_changes = 0;
    buffer_clear(&f->execution.changes);
    buffer_clear(&f->execution.row);
    f->result = (struct operation_result){0};
}

static void finish(struct execution_fixture *f)
{
    f->took_revision = f->execution.took_revision;
    f->n_changes = f->execution.n_changes;
    if (f->took_revision) {
        txn_state(f->execution.txn)->revision = f->execution.revision;
    }
}

enum outcome execution_run(struct execution_fixture *f, const struct operation *operation)
{
    uint64_t before[2];
    uint64_t after[2];

    begin(f);
    assert_int_equal(execution_enter(&f->execution, slice_of_string("default")), STATUS_OK);
    txn_state_hash(f->execution.txn, before);
    assert_int_equal(dispatch(f, operation), STATUS_OK);
    assert_int_equal(execution_save_counters(&f->execution), STATUS_OK);
    txn_state_hash(f->execution.txn, after);
    if (!f->execution.took_revision) { /* Refused, or nothing to do. */
        assert_memory_equal(before, after, sizeof before);
    } else {
        assert_true(outcome_is_success(f->result.outcome));
    }
    finish(f);
    return f->result.outcome;
}

uint64_t execution_revision(const struct execution_fixture *f)
{
    return f->view.state->revision;
}

struct maintained_row execution_maintain(struct execution_fixture *f, uint32_t max_records)
{
    struct operation operation = {.kind = OPERATION_MAINTAIN,
                                  .maintain = {.max_records = max_records}};
    struct maintained_row row;

    begin(f);
    assert_int_equal(execution_leave(&f->execution), STATUS_OK);
    assert_int_equal(dispatch(f, &operation), STATUS_OK);
    assert_int_equal(f->result.row_kind, ROW_MAINTAINED);
    assert_int_equal(maintained_row_decode(f->result.row, &row), STATUS_OK);
    assert_true(row.records <= max_records);
    finish(f);
    return row;
}

void execution_maintain_all(struct execution_fixture *f)
{
    while (execution_maintain(f, LIMIT_MAINTENANCE_RECORDS).more) {
    }
}

unsigned execution_count(struct execution_fixture *f, enum key_kind kind)
{
    struct key prefix = key_prefix(kind);
    struct slice payload;
    struct cursor *cursor;
    struct slice key;
    unsigned n = 0;
    enum status status;

    assert_int_equal(cursor_open(f->execution.txn, &cursor), STATUS_OK);
    status = cursor_seek(cursor, key_slice(&prefix), &key, &payload);
    while (status == STATUS_OK && slice_starts_with(key, key_slice(&prefix))) {
        n++;
        status = cursor_next(cursor, &key, &payload);
    }
    cursor_close(cursor);
    return n;
}
