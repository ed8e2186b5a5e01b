#include "tests/lib/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/entry.h"
#include "storage/rows.h"

static void on_damage(void *data, const char *what)
{
    struct state_fixture *f = data;

    assert_non_null(what);
    f->damages++;
}

void state_open(struct state_fixture *f)
{
    struct store_options options = {
        .directory = f->directory,
        .map_size_bytes = f->map_bytes,
        .on_damage = on_damage,
        .data = f,
    };

    assert_int_equal(store_open(&options, &f->store, &f->error), STATUS_OK);
    assert_int_equal(machine_open(f->store, FEATURE_LEVEL, &f->machine, &f->error), STATUS_OK);
    f->index = machine_applied_index(f->machine);
}

void state_close(struct state_fixture *f)
{
    view_close(&f->view);
    machine_close(f->machine);
    store_close(f->store);
}

struct state_fixture *state_new(void)
{
    struct state_fixture *f = calloc(1, sizeof *f);
    const char *parent = getenv("TMPDIR");

    assert_non_null(f);
    (void)snprintf(f->directory, sizeof f->directory, "%s/holdfast-state-XXXXXX",
                   parent != NULL && strlen(parent) < 32 ? parent : "/tmp");
    assert_non_null(mkdtemp(f->directory));
    f->now_ms = STATE_START_MS;
    f->map_bytes = 1u << 30;
    state_open(f);
    return f;
}

void state_free(struct state_fixture *f)
{
    char command[128];

    state_close(f);
    (void)snprintf(command, sizeof command, "rm -r '%s'", f->directory);
    assert_int_equal(system(command), 0);
    buffer_close(&f->entry);
    for (unsigned i = 0; i < sizeof f->results / sizeof *f->results; i++) {
        buffer_close(&f->results[i]);
    }
    free(f);
}

int state_setup(void **state)
{
    *state = state_new();
    return 0;
}

int state_teardown(void **state)
{
    state_free(*state);
    return 0;
}

void state_commit(struct state_fixture *f)
{
    assert_int_equal(machine_commit(f->machine, &f->error), STATUS_OK);
}

void state_flush(struct state_fixture *f)
{
    bool frozen;

    assert_int_equal(machine_freeze(f->machine, &frozen, &f->error), STATUS_OK);
    if (frozen) {
        assert_int_equal(store_flush(f->store, &f->error), STATUS_OK);
    }
}

void state_reopen(struct state_fixture *f)
{
    state_close(f);
    state_open(f);
}

void state_make_entry(struct state_fixture *f, const struct command *commands, unsigned n)
{
    struct buffer bundle = BUFFER_EMPTY;
    struct buffer command = BUFFER_EMPTY;
    size_t offset = bundle_begin(&bundle, STATE_ORIGIN, 1, f->index + 1);

    for (unsigned i = 0; i < n; i++) {
        buffer_clear(&command);
        command_encode(&commands[i], &command);
        bundle_add_command(&bundle, buffer_slice(&command));
    }
    bundle_finish(&bundle, offset, n);
    buffer_clear(&f->entry);
    entry_begin(&f->entry, FEATURE_LEVEL, f->flags, 1, f->now_ms);
    entry_add_bundle(&f->entry, buffer_slice(&bundle));
    entry_finish(&f->entry);
    buffer_close(&command);
    buffer_close(&bundle);
}

static void on_result(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    struct state_fixture *f = data;

    assert_int_equal(bundle, 0);
    assert_int_equal(command, f->n_results);
    assert_true(f->n_results < sizeof f->results / sizeof *f->results);
    buffer_clear(&f->results[f->n_results]);
    buffer_append_slice(&f->results[f->n_results], result);
    f->n_results++;
}

enum status state_try_entry(struct state_fixture *f)
{
    enum status status;

    f->n_results = 0;
    status = machine_execute(f->machine, f->index + 1, 1, buffer_slice(&f->entry), on_result, f,
                             &f->error);
    f->index += status == STATUS_OK ? 1 : 0;
    return status;
}

void state_execute_entry(struct state_fixture *f)
{
    enum status status = state_try_entry(f);

    if (status != STATUS_OK) {
        print_error("%s\n", f->error.text);
    }
    assert_int_equal(status, STATUS_OK);
}

struct state_answer state_answer(struct state_fixture *f, unsigned nth)
{
    struct state_answer answer;
    struct slice walk;

    assert_true(nth < f->n_results);
    assert_int_equal(result_decode(buffer_slice(&f->results[nth]), &answer.result), STATUS_OK);
    walk = answer.result.operations;
    assert_true(result_next(&walk, &answer.first));
    return answer;
}

struct state_answer state_execute(struct state_fixture *f, const struct command *command)
{
    state_make_entry(f, command, 1);
    state_execute_entry(f);
    assert_int_equal(f->n_results, 1);
    return state_answer(f, 0);
}

struct state_answer state_operate(struct state_fixture *f, const struct operation *operation)
{
    struct operation copy = *operation;
    bool is_in_namespace = operation->kind < OPERATION_NAMESPACE_PUT;
    struct command command = {
        .ns = is_in_namespace ? slice_of_string("default") : slice_of(NULL, 0),
        .n_operations = 1,
        .operations = &copy,
    };

    return state_execute(f, &command);
}

unsigned state_maintain(struct state_fixture *f, uint32_t max_records)
{
    struct operation operation = {.kind = OPERATION_MAINTAIN,
                                  .maintain = {.max_records = max_records}};
    struct maintained_row row;
    unsigned steps = 0;

    do {
        struct state_answer answer = state_operate(f, &operation);

        assert_int_equal(answer.first.row_kind, ROW_MAINTAINED);
        assert_int_equal(maintained_row_decode(answer.first.row, &row), STATUS_OK);
        assert_true(row.records <= max_records);
        assert_true(++steps < 100000);
    } while (row.more);
    return steps;
}

struct view *state_view(struct state_fixture *f)
{
    state_commit(f);
    assert_int_equal(view_begin(f->store, &f->view, &f->error), STATUS_OK);
    return &f->view;
}

void state_view_end(struct state_fixture *f)
{
    view_end(&f->view);
}

uint64_t state_count(struct state_fixture *f, uint8_t kind)
{
    struct view *view = state_view(f);
    struct cursor *cursor;
    struct slice payload;
    struct slice found;
    uint64_t count = 0;
    enum status status;

    assert_int_equal(cursor_open(view->txn, &cursor), STATUS_OK);
    status = cursor_seek(cursor, slice_of("", 1), &found, &payload);
    while (status == STATUS_OK) {
        count += kind == 0 || found.data[0] == kind ? 1 : 0;
        status = cursor_next(cursor, &found, &payload);
    }
    assert_int_equal(status, STATUS_END);
    cursor_close(cursor);
    state_view_end(f);
    return count;
}

void state_hash(struct state_fixture *f, uint64_t hash[2])
{
    txn_state_hash(state_view(f)->txn, hash);
    state_view_end(f);
}

uint64_t state_default_id(struct state_fixture *f)
{
    struct namespace_row row;
    struct view *view = state_view(f);

    assert_int_equal(view_namespace(view, slice_of_string("default"), &row), STATUS_OK);
    state_view_end(f);
    return row.id;
}

struct namespace_counters state_counters(struct state_fixture *f)
{
    struct namespace_counters counters;
    uint64_t id = state_default_id(f);

    assert_int_equal(view_counters(state_view(f), id, &counters), STATUS_OK);
    state_view_end(f);
    return counters;
}

struct operation item_put(const char *key, const char *value)
{
    return (struct operation){
        .kind = OPERATION_ITEM_PUT,
        .item = {.key = slice_of_string(key), .value = slice_of_string(value)},
    };
}

struct operation item_delete(const char *key)
{
    return (struct operation){.kind = OPERATION_ITEM_DELETE, .item = {.key = slice_of_string(key)}};
}
