/* Two machines execute the same sessions and logs, at random, and commit at different moments: they
 * answer the same bytes, hold the same state, count what is there, and in the end nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "storage/keys.h"
#include "tests/lib/state.h"

#define MAX_OPERATIONS 3
#define MAX_EVENTS     40

/* One command and the memory that it borrows. */
struct workload {
    uint64_t seed;
    unsigned era; /* Rises now and then, as the ids of deleted sessions cannot be used again. */
    struct command command;
    struct operation operations[MAX_OPERATIONS];
    struct new_event events[MAX_OPERATIONS][MAX_EVENTS];
    char session_ids[MAX_OPERATIONS][24];
    char event_ids[MAX_OPERATIONS][MAX_EVENTS][24];
};

static uint64_t below(struct workload *w, uint64_t bound)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % bound;
}

static struct text_field choose(struct workload *w, const char *a, const char *b)
{
    uint64_t which = below(w, 4);

    if (which < 2) {
        return (struct text_field){.kind = which == 0 ? FIELD_ABSENT : FIELD_NULL};
    }
    return (struct text_field){FIELD_SET, slice_of_string(which == 2 ? a : b)};
}

static struct session_fields random_fields(struct workload *w)
{
    return (struct session_fields){
        .agent_id = choose(w, "agent", "other agent"),
        .user_id = choose(w, "user", "other user"),
        .status_kind = below(w, 4) == 0 ? FIELD_SET : FIELD_ABSENT,
        .status = (enum session_status)below(w, SESSION_STATUSES),
        .metadata = choose(w, "{\"a\":\"b\"}", "{\"c\":\"d\"}"),
        .state = choose(w, "{\"x\":1,\"y\":{\"z\":[1.5]}}", "{\"x\":\"\"}"),
        .ttl = {.kind = below(w, 3) == 0 ? TTL_SET : TTL_ABSENT, .ms = 1 + below(w, 200)},
        .sliding_kind = below(w, 3) == 0 ? FIELD_SET : FIELD_ABSENT,
        .sliding = below(w, 2) == 0,
    };
}

static void make_append(struct workload *w, unsigned nth, struct append_operation *append)
{
    bool has_ids = below(w, 2) == 0;
    unsigned batch = (unsigned)below(w, 30); /* Often one that was sent before. */

    append->n_events = 1 + (uint32_t)(batch % 7 == 0 ? MAX_EVENTS - 1 : batch % 7);
    append->events = w->events[nth];
    for (uint32_t i = 0; i < append->n_events; i++) {
        char *id = w->event_ids[nth][i];

        (void)snprintf(id, sizeof w->event_ids[nth][i], "event-%u-%u", batch, i);
        w->events[nth][i] = (struct new_event){
            .id = has_ids ? slice_of_string(id) : slice_of(NULL, 0),
            .type = slice_of_string("message"),
            .data = slice_of_string(batch % 2 == 0 ? "{\"text\":\"hello\"}" : "[]"),
        };
    }
    append->has_truncate_after = below(w, 5) == 0;
    append->truncate_after = below(w, 200);
    append->state_patch =
        below(w, 4) == 0 ? slice_of_string("{\"x\":null,\"n\":7}") : slice_of(NULL, 0);
    append->has_create = below(w, 3) == 0;
    append->create = random_fields(w);
}

static void make_operation(struct workload *w, unsigned nth)
{
    struct operation *operation = &w->operations[nth];
    struct slice id;

    (void)snprintf(w->session_ids[nth], sizeof w->session_ids[nth], "session-%u-%u", w->era,
                   (unsigned)below(w, 12));
    id = slice_of_string(w->session_ids[nth]);
    *operation = (struct operation){0};
    switch (below(w, 12)) {
    case 0:
    case 1:
        operation->kind = OPERATION_SESSION_PUT;
        break;
    case 2:
        operation->kind = OPERATION_SESSION_PATCH;
        break;
    case 3:
        operation->kind = OPERATION_SESSION_TOUCH;
        break;
    case 4:
        operation->kind = below(w, 4) == 0 ? OPERATION_SESSION_DELETE : OPERATION_SESSION_CHECK;
        break;
    case 5:
        operation->kind = OPERATION_EVENTS_DELETE;
        operation->trim = (struct trim_operation){
            .session_id = id, .is_rewind = below(w, 2) == 0, .seq = below(w, 300)};
        return;
    default:
        operation->kind = OPERATION_EVENTS_APPEND;
        operation->append.session_id = id;
        make_append(w, nth, &operation->append);
        return;
    }
    operation->session.id = id;
    operation->session.fields = random_fields(w);
}

static const struct command *next_command(struct workload *w)
{
    uint32_t n = below(w, 4) == 0 ? MAX_OPERATIONS : 1;

    for (uint32_t i = 0; i < n; i++) {
        make_operation(w, i);
    }
    w->command = (struct command){.ns = slice_of_string("work"),
                                  .is_transaction = n > 1,
                                  .n_operations = n,
                                  .operations = w->operations};
    return &w->command;
}

static void run_namespace(struct state_fixture *f, enum operation_kind kind)
{
    struct operation operation = {.kind = kind, .ns = {.name = slice_of_string("work")}};

    assert_true(outcome_is_success(state_operate(f, &operation).first.outcome));
}

/* --- What is there --- */

static bool on_session(void *data, const struct session_row *row)
{
    struct namespace_counters *sum = data;

    sum->sessions++;
    sum->sessions_by_status[row->status]++;
    sum->events += row->event_count;
    sum->bytes += row->id.size + row->metadata.size + row->state_bytes + row->event_bytes;
    return true;
}

/* The counters that are kept are those that a walk over all sessions finds. */
static void assert_counters(struct state_fixture *f)
{
    struct session_filter filter = {0};
    struct buffer position = BUFFER_EMPTY;
    struct view *view = state_view(f);
    struct namespace_counters kept;
    struct namespace_counters sum = {0};
    struct namespace_row ns;

    assert_int_equal(view_namespace(view, slice_of_string("work"), &ns), STATUS_OK);
    assert_int_equal(view_counters(view, ns.id, &kept), STATUS_OK);
    assert_int_equal(view_sessions(view, ns.id, &filter, &position, on_session, &sum), STATUS_OK);
    assert_memory_equal(&kept, &sum, sizeof sum);
    state_view_end(f);
    buffer_close(&position);
}

static void assert_same(struct state_fixture *f, struct state_fixture *other)
{
    uint64_t hash[2];
    uint64_t other_hash[2];

    state_hash(f, hash);
    state_hash(other, other_hash);
    assert_memory_equal(hash, other_hash, sizeof hash);
}

static void assert_nothing_left(struct state_fixture *f)
{
    static const enum key_kind kinds[] = {KEY_SESSION,   KEY_SESSION_STATE, KEY_SESSION_INDEX,
                                          KEY_TOMBSTONE, KEY_EVENT,         KEY_EVENT_ID,
                                          KEY_DUE,       KEY_PURGE};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(state_count(f, (uint8_t)kinds[i]), 0);
    }
}

static void replicas_agree_and_leave_nothing_behind(void **state)
{
    struct state_fixture *f = *state;
    struct state_fixture *other = state_new();
    struct operation maintain = {.kind = OPERATION_MAINTAIN, .maintain = {.max_records = 20}};
    struct workload w = {.seed = 42};
    unsigned n_succeeded = 0;

    run_namespace(f, OPERATION_NAMESPACE_PUT);
    run_namespace(other, OPERATION_NAMESPACE_PUT);
    for (unsigned i = 0; i < 4000; i++) {
        const struct command *command;

        w.era = i / 200;
        command = next_command(&w);
        f->now_ms = other->now_ms = STATE_START_MS + i;
        n_succeeded += outcome_is_success(state_execute(f, command).first.outcome);
        (void)state_execute(other, command);
        assert_true(slice_equals(buffer_slice(&f->results[0]), buffer_slice(&other->results[0])));
        if (i % 8 == 0) {
            (void)state_operate(f, &maintain);
            (void)state_operate(other, &maintain);
        }
        if (i % 64 == 0) {
            state_commit(f);
        }
        if (i % 192 == 0) {
            state_flush(f); /* The other one has it all in memory. */
        }
        if (i % 1000 == 999) {
            assert_same(f, other); /* Commits. */
            state_flush(other);
            state_reopen(other);
        }
    }
    assert_true(n_succeeded > 1000);
    f->now_ms = other->now_ms = f->now_ms + 1000; /* What expires is gone, and counted out. */
    (void)state_maintain(f, 100);
    assert_counters(f);
    (void)state_maintain(other, 100);
    assert_same(f, other);

    run_namespace(f, OPERATION_NAMESPACE_DELETE);
    f->now_ms += 2 * LIMIT_TOMBSTONE_MS;
    assert_true(state_maintain(f, 50) > 2);
    assert_nothing_left(f);
    state_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replicas_agree_and_leave_nothing_behind, state_setup,
                                        state_teardown),
    };

    return cmocka_run_group_tests_name("replicas", tests, NULL, NULL);
}
