/* The machine: entries in order and once, commands admitted, undone and remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/entry.h"
#include "storage/keys.h"
#include "tests/lib/state.h"

static void never_called(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    (void)data;
    (void)bundle;
    (void)command;
    (void)result;
    fail_msg("a result of an entry that was executed before");
}

/* What the item @key holds, or "" if it is absent. */
static const char *value_of(struct state_fixture *f, const char *key)
{
    static char text[64];
    uint64_t id = state_default_id(f);
    struct item_row row;
    enum status status = view_item(state_view(f), id, slice_of_string(key), &row);

    text[0] = '\0';
    if (status == STATUS_OK) {
        assert_true(row.value.size < sizeof text);
        memcpy(text, row.value.data, row.value.size);
        text[row.value.size] = '\0';
    } else {
        assert_int_equal(status, STATUS_NOT_FOUND);
    }
    state_view_end(f);
    return text;
}

static struct command command_of(struct operation *operations, uint32_t n)
{
    return (struct command){
        .ns = slice_of_string("default"),
        .is_transaction = n > 1,
        .n_operations = n,
        .operations = operations,
    };
}

static struct command keyed(struct operation *operation, const char *key, uint64_t hash)
{
    struct command command = command_of(operation, 1);

    command.idempotency_key = slice_of_string(key);
    command.request_hash[0] = hash;
    command.request_hash[1] = ~hash;
    return command;
}

/* --- Entries --- */

static void the_first_entry_makes_the_default_namespace_at_its_own_time(void **state)
{
    struct state_fixture *f = *state;
    struct namespace_row row;

    state_maintain(f, 10);

    assert_int_equal(view_namespace(state_view(f), slice_of_string("default"), &row), STATUS_OK);
    assert_int_equal(row.revision, 1);
    assert_int_equal(row.created_at_ms, STATE_START_MS);
    state_view_end(f);
}

static void each_command_of_an_entry_succeeds_or_fails_by_itself(void **state)
{
    struct state_fixture *f = *state;
    struct operation operations[] = {item_put("a", "1"), item_delete("missing"),
                                     item_put("b", "2")};
    struct command commands[] = {command_of(&operations[0], 1), command_of(&operations[1], 1),
                                 command_of(&operations[2], 1)};

    state_make_entry(f, commands, 3);
    state_execute_entry(f);

    assert_int_equal(f->n_results, 3);
    assert_int_equal(state_answer(f, 0).first.outcome, OUTCOME_CREATED);
    assert_int_equal(state_answer(f, 0).result.revision, 2);
    assert_int_equal(state_answer(f, 1).first.outcome, OUTCOME_NOT_FOUND);
    assert_int_equal(state_answer(f, 1).result.revision, 2);
    assert_int_equal(state_answer(f, 2).result.revision, 3);
    assert_int_equal(machine_revision(f->machine), 3);
}

static void what_is_not_flushed_is_executed_again_with_the_same_effect(void **state)
{
    struct state_fixture *f = *state;
    struct operation first = item_put("a", "1");
    struct operation second = item_put("a", "2");
    struct buffer again = BUFFER_EMPTY;

    state_operate(f, &first);
    state_flush(f);
    state_operate(f, &second);
    state_commit(f);
    buffer_append_slice(&again, buffer_slice(&f->results[0]));
    state_reopen(f);

    assert_int_equal(f->index, 1);
    assert_string_equal(value_of(f, "a"), "1");
    state_execute_entry(f);
    assert_true(slice_equals(buffer_slice(&again), buffer_slice(&f->results[0])));
    assert_string_equal(value_of(f, "a"), "2");
    buffer_close(&again);
}

static void an_entry_that_was_executed_is_skipped(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");

    state_operate(f, &operation);
    state_flush(f);
    state_reopen(f);

    assert_int_equal(
        machine_execute(f->machine, 1, 1, buffer_slice(&f->entry), never_called, NULL, &f->error),
        STATUS_OK);
    assert_int_equal(machine_applied_index(f->machine), 1);
    assert_int_equal(machine_revision(f->machine), 2);
}

static void an_entry_that_differs_from_the_executed_one_stops_the_machine(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");
    struct operation other = item_put("a", "2");
    struct command command = command_of(&other, 1);

    state_operate(f, &operation);
    state_flush(f);
    state_reopen(f);
    state_make_entry(f, &command, 1);

    assert_int_equal(
        machine_execute(f->machine, 1, 1, buffer_slice(&f->entry), never_called, NULL, &f->error),
        STATUS_CORRUPT);
    assert_int_equal(
        machine_execute(f->machine, 2, 1, buffer_slice(&f->entry), never_called, NULL, &f->error),
        STATUS_CANCELED);
}

static void an_entry_of_another_term_at_a_known_index_stops_the_machine(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");

    state_operate(f, &operation);

    assert_int_equal(
        machine_execute(f->machine, 1, 2, buffer_slice(&f->entry), never_called, NULL, &f->error),
        STATUS_CORRUPT);
}

static void a_gap_stops_the_machine(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");
    struct command command = command_of(&operation, 1);

    state_make_entry(f, &command, 1);
    f->index = 1;

    assert_int_equal(state_try_entry(f), STATUS_CORRUPT);
    assert_int_equal(machine_applied_index(f->machine), 0);
}

static void a_damaged_command_stops_the_machine_and_nothing_of_its_entry_stays(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");
    struct buffer bundle = BUFFER_EMPTY;
    struct buffer good = BUFFER_EMPTY;
    struct command command = command_of(&operation, 1);
    size_t offset = bundle_begin(&bundle, STATE_ORIGIN, 1, 1);

    command_encode(&command, &good);
    bundle_add_command(&bundle, buffer_slice(&good));
    bundle_add_command(&bundle, slice_of_string("\x01nonsense"));
    bundle_finish(&bundle, offset, 2);
    entry_begin(&f->entry, FEATURE_LEVEL, 0, 1, f->now_ms);
    entry_add_bundle(&f->entry, buffer_slice(&bundle));
    entry_finish(&f->entry);
    assert_int_equal(state_try_entry(f), STATUS_CORRUPT);
    state_reopen(f);

    assert_int_equal(f->index, 0);
    assert_int_equal(state_count(f, 0), 0);
    buffer_close(&bundle);
    buffer_close(&good);
}

static void indexes_that_are_not_its_business_are_skipped_and_kept(void **state)
{
    struct state_fixture *f = *state;
    struct machine_position position;
    struct operation operation = item_put("a", "1");

    assert_int_equal(machine_skip_to(f->machine, 3, 2, &f->error), STATUS_OK);
    f->index = 3;
    state_operate(f, &operation);
    machine_set_stored(f->machine, 4);
    machine_set_stored(f->machine, 2);
    state_flush(f);

    assert_int_equal(machine_position(f->store, &position, &f->error), STATUS_OK);
    assert_int_equal(position.applied_index, 4);
    assert_int_equal(position.applied_term, 1);
    assert_int_equal(position.stored, 4);
    assert_int_equal(position.revision, 2);
    assert_int_equal(position.time_ms, STATE_START_MS);
}

static void time_never_goes_backwards(void **state)
{
    struct state_fixture *f = *state;

    state_maintain(f, 10);
    f->now_ms -= 5000;
    state_maintain(f, 10);

    assert_int_equal(machine_time_ms(f->machine), STATE_START_MS);
}

/* --- Admission --- */

static void a_missing_namespace_is_refused_before_anything_else(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_delete("a");
    struct command command = command_of(&operation, 1);

    command.ns = slice_of_string("nowhere");

    assert_int_equal(state_execute(f, &command).first.outcome, OUTCOME_NAMESPACE_NOT_FOUND);
}

static void a_repeated_request_gets_the_first_answer_and_changes_nothing(void **state)
{
    struct state_fixture *f = *state;
    struct operation first = item_put("a", "1");
    struct operation between = item_put("a", "2");
    struct command command = keyed(&first, "k", 11);
    struct state_answer answer;

    state_execute(f, &command);
    state_operate(f, &between);
    answer = state_execute(f, &command);

    assert_true(answer.result.replayed);
    assert_int_equal(answer.first.outcome, OUTCOME_CREATED);
    assert_int_equal(answer.result.revision, 2);
    assert_int_equal(answer.first.etag, 2);
    assert_int_equal(machine_revision(f->machine), 3);
    assert_string_equal(value_of(f, "a"), "2");
}

static void another_request_with_the_same_key_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct operation first = item_put("a", "1");
    struct operation other = item_put("b", "1");
    struct command command = keyed(&first, "k", 11);
    struct command reused = keyed(&other, "k", 12);

    state_execute(f, &command);

    assert_int_equal(state_execute(f, &reused).first.outcome, OUTCOME_IDEMPOTENCY_KEY_REUSED);
    assert_string_equal(value_of(f, "b"), "");
}

static void a_refused_request_is_not_remembered(void **state)
{
    struct state_fixture *f = *state;
    struct operation delete = item_delete("a");
    struct operation put = item_put("a", "1");
    struct command command = keyed(&delete, "k", 11);

    assert_int_equal(state_execute(f, &command).first.outcome, OUTCOME_NOT_FOUND);
    state_operate(f, &put);

    assert_int_equal(state_execute(f, &command).first.outcome, OUTCOME_NO_CONTENT);
}

static void an_answer_is_forgotten_after_a_day(void **state)
{
    struct state_fixture *f = *state;
    struct operation put = item_put("a", "1");
    struct command command = keyed(&put, "k", 11);

    state_execute(f, &command);
    f->now_ms += LIMIT_IDEMPOTENCY_MS - 1;
    assert_true(state_execute(f, &command).result.replayed);
    f->now_ms += 1;

    assert_false(state_execute(f, &command).result.replayed);
    f->now_ms += LIMIT_IDEMPOTENCY_MS;
    state_maintain(f, 10);
    assert_int_equal(state_count(f, KEY_IDEMPOTENCY), 0);
    assert_int_equal(state_count(f, KEY_DUE), 0);
}

static void a_full_disk_refuses_what_adds_but_not_repetitions_and_deletes(void **state)
{
    struct state_fixture *f = *state;
    struct operation put = item_put("a", "1");
    struct operation other = item_put("b", "1");
    struct operation delete = item_delete("a");
    struct command command = keyed(&put, "k", 11);

    state_execute(f, &command);
    f->flags = ENTRY_FLAG_STORAGE_FULL;

    assert_int_equal(state_operate(f, &other).first.outcome, OUTCOME_STORAGE_FULL);
    assert_true(state_execute(f, &command).result.replayed);
    assert_int_equal(state_operate(f, &delete).first.outcome, OUTCOME_NO_CONTENT);
}

/* --- Transactions --- */

static void a_transaction_makes_one_revision_and_answers_each_operation(void **state)
{
    struct state_fixture *f = *state;
    struct operation operations[] = {item_put("a", "1"), item_put("a", "2"), item_delete("a"),
                                     item_put("b", "3")};
    struct command command = command_of(operations, 4);
    static const enum outcome expected[] = {OUTCOME_CREATED, OUTCOME_OK, OUTCOME_NO_CONTENT,
                                            OUTCOME_CREATED};
    struct operation_result one;
    struct state_answer answer = state_execute(f, &command);
    struct slice walk = answer.result.operations;

    assert_int_equal(answer.result.revision, 2);
    assert_int_equal(answer.result.n_operations, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(result_next(&walk, &one));
        assert_int_equal(one.outcome, expected[i]);
    }
    assert_int_equal(machine_revision(f->machine), 2);
    assert_string_equal(value_of(f, "a"), "");
    assert_string_equal(value_of(f, "b"), "3");
}

static void a_failing_transaction_leaves_nothing_behind(void **state)
{
    struct state_fixture *f = *state;
    struct operation before = item_put("a", "1");
    struct operation operations[] = {item_put("a", "2"), item_put("b", "3"), item_delete("missing"),
                                     item_put("c", "4")};
    struct command command = command_of(operations, 4);
    struct state_answer answer;
    uint64_t hash[2];
    uint64_t after[2];

    state_operate(f, &before);
    state_hash(f, hash);
    answer = state_execute(f, &command);

    assert_int_equal(answer.first.outcome, OUTCOME_NOT_FOUND);
    assert_int_equal(answer.result.failed_operation, 2);
    assert_int_equal(answer.result.n_operations, 1);
    assert_int_equal(answer.result.revision, 2);
    state_hash(f, after);
    assert_memory_equal(hash, after, sizeof hash);
    assert_int_equal(state_counters(f).items, 1);
    assert_int_equal(state_counters(f).bytes, 2);
}

static void what_follows_an_undone_transaction_counts_rightly(void **state)
{
    struct state_fixture *f = *state;
    struct operation operations[] = {item_put("a", "2"), item_delete("missing")};
    struct command command = command_of(operations, 2);
    struct operation after = item_put("bb", "3");
    struct namespace_counters counters;

    state_execute(f, &command);
    state_operate(f, &after);

    counters = state_counters(f);
    assert_int_equal(counters.items, 1);
    assert_int_equal(counters.bytes, 3);
    assert_int_equal(state_count(f, KEY_CHANGE), 2);
}

/* --- Maintenance --- */

static void maintenance_works_in_bounded_steps_and_makes_a_revision_only_for_documents(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("", "1");
    uint64_t revision;
    char key[16];

    operation.item.ttl = (struct ttl){.kind = TTL_SET, .ms = 1000};
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        operation.item.key = slice_of_string(key);
        state_operate(f, &operation);
    }
    f->now_ms += 1000;

    assert_in_range(state_maintain(f, 10), 10, 14);
    assert_int_equal(state_count(f, KEY_ITEM), 0);
    assert_int_equal(state_count(f, KEY_DUE), 0);
    assert_int_equal(state_counters(f).items, 0);
    revision = machine_revision(f->machine);
    state_maintain(f, 10);
    assert_int_equal(machine_revision(f->machine), revision);
}

static void the_next_due_time_is_that_of_the_earliest_thing(void **state)
{
    struct state_fixture *f = *state;
    struct operation later = item_put("b", "1");
    struct operation sooner = item_put("a", "1");
    uint64_t due_ms;

    assert_int_equal(machine_next_due(f->machine, &due_ms, &f->error), STATUS_OK);
    assert_int_equal(due_ms, UINT64_MAX);
    later.item.ttl = (struct ttl){.kind = TTL_SET, .ms = 9000};
    sooner.item.ttl = (struct ttl){.kind = TTL_SET, .ms = 3000};
    state_operate(f, &later);
    state_operate(f, &sooner);

    assert_int_equal(machine_next_due(f->machine, &due_ms, &f->error), STATUS_OK);
    assert_int_equal(due_ms, STATE_START_MS + 3000);
    state_commit(f);
    assert_int_equal(machine_next_due(f->machine, &due_ms, &f->error), STATUS_OK);
    assert_int_equal(due_ms, STATE_START_MS + 3000);
}

static void members_are_kept_without_a_revision(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = {
        .kind = OPERATION_MEMBER_PUT,
        .member = {.id = 5,
                   .name = slice_of_string("n1"),
                   .peer_address = slice_of_string("h:7081"),
                   .api_address = slice_of_string("h:7080"),
                   .version = slice_of_string("1.0.0")},
    };

    assert_int_equal(state_operate(f, &operation).first.outcome, OUTCOME_OK);

    assert_int_equal(machine_revision(f->machine), 1);
    assert_int_equal(state_count(f, KEY_MEMBER), 1);
}

/* --- Replicas --- */

/* A workload that depends on nothing but @seed. */
static struct command random_command(uint32_t *seed, struct operation *operations, char (*keys)[16])
{
    uint32_t n = 1 + (*seed >> 8) % 3;

    for (uint32_t i = 0; i < n; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        (void)snprintf(keys[i], sizeof keys[i], "key%u", (*seed >> 16) % 20);
        operations[i] =
            (*seed >> 24) % 4 == 0 ? item_delete(keys[i]) : item_put(keys[i], "\"some value\"");
        if ((*seed >> 26) % 4 == 0 && operations[i].kind == OPERATION_ITEM_PUT) {
            operations[i].item.ttl = (struct ttl){.kind = TTL_SET, .ms = 50};
        }
    }
    return command_of(operations, n);
}

static void equal_entries_give_equal_states_whenever_they_are_committed(void **state)
{
    struct state_fixture *f = *state;
    struct state_fixture *other = state_new();
    struct operation maintain = {.kind = OPERATION_MAINTAIN, .maintain = {.max_records = 3}};
    struct operation operations[3];
    char keys[3][16];
    uint32_t seed = 1;
    uint64_t hash[2];
    uint64_t other_hash[2];

    for (unsigned i = 0; i < 300; i++) {
        struct command command = random_command(&seed, operations, keys);

        f->now_ms = other->now_ms = STATE_START_MS + i;
        state_execute(f, &command);
        state_execute(other, &command);
        if (i % 5 == 0) {
            state_operate(f, &maintain);
            state_operate(other, &maintain);
        }
        state_commit(f);
        if (i == 150) {
            state_flush(other);
            state_reopen(other);
        }
    }

    state_hash(f, hash);
    state_hash(other, other_hash);
    assert_memory_equal(hash, other_hash, sizeof hash);
    state_free(other);
}

static void a_full_map_fails_the_flush_and_keeps_what_was_flushed(void **state)
{
    struct state_fixture *f = *state;
    char *text = malloc((1u << 20) + 1);
    struct operation operation;
    uint64_t flushed = 0;
    enum status status;
    bool frozen;

    assert_non_null(text);
    memset(text, '1', 1u << 20);
    text[1u << 20] = '\0';
    f->map_bytes = 16u << 20;
    state_reopen(f);
    for (;;) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%u", (unsigned)f->index);
        operation = item_put(key, text);
        assert_int_equal(state_operate(f, &operation).first.outcome, OUTCOME_CREATED);
        assert_int_equal(machine_freeze(f->machine, &frozen, &f->error), STATUS_OK);
        assert_true(frozen);
        status = store_flush(f->store, &f->error);
        if (status != STATUS_OK) {
            break;
        }
        flushed = f->index;
    }

    assert_int_equal(status, STATUS_DISK_FULL);
    assert_true(flushed > 0);
    f->map_bytes = 64u << 20;
    state_reopen(f);
    assert_int_equal(f->index, flushed);
    state_execute_entry(f);
    assert_int_equal(state_answer(f, 0).first.outcome, OUTCOME_CREATED);
    free(text);
}

#define CRASH_ENTRIES 60

/* The entry of the next index, the same in every process. */
static void execute_next(struct state_fixture *f)
{
    struct operation operations[3];
    char keys[3][16];
    uint32_t seed = (uint32_t)f->index * 2654435761u;
    struct command command;

    f->now_ms = STATE_START_MS + f->index;
    if (f->index % 6 == 5) {
        operations[0] =
            (struct operation){.kind = OPERATION_MAINTAIN, .maintain = {.max_records = 5}};
        command = (struct command){.n_operations = 1, .operations = operations};
    } else {
        command = random_command(&seed, operations, keys);
    }
    state_execute(f, &command);
}

static void a_process_that_dies_goes_on_from_its_last_commit_to_the_same_state(void **state)
{
    struct state_fixture *f = *state;
    struct state_fixture *undisturbed = state_new();
    uint64_t hash[2];
    uint64_t expected[2];
    int status;
    pid_t child;

    while (undisturbed->index < CRASH_ENTRIES) {
        execute_next(undisturbed);
    }
    state_hash(undisturbed, expected);

    state_close(f);
    for (uint64_t lifetime = 3; lifetime <= CRASH_ENTRIES; lifetime += 11) {
        child = fork();
        if (child == 0) {
            state_open(f);
            while (f->index < lifetime) {
                execute_next(f);
                if (f->index % 4 == 0) {
                    state_flush(f);
                }
            }
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        state_open(f);
        assert_int_equal(f->index, lifetime - lifetime % 4);
        state_close(f);
    }
    state_open(f);
    while (f->index < CRASH_ENTRIES) {
        execute_next(f);
    }

    state_hash(f, hash);
    assert_memory_equal(hash, expected, sizeof hash);
    state_free(undisturbed);
}

/* --- Feature levels --- */

static struct operation raise_to(uint8_t level)
{
    return (struct operation){.kind = OPERATION_FEATURE_RAISE, .feature_level = level};
}

static unsigned level_of(struct state_fixture *f)
{
    unsigned level = 0;

    assert_int_equal(view_feature_level(state_view(f), &level), STATUS_OK);
    state_view_end(f);
    return level;
}

static void an_entry_of_a_later_level_stops_the_machine_before_it(void **state)
{
    struct state_fixture *f = *state;
    struct operation operation = item_put("a", "1");

    state_operate(f, &operation);
    state_flush(f);
    buffer_clear(&f->entry);
    entry_begin(&f->entry, FEATURE_LEVEL + 1, 0, 1, f->now_ms);
    entry_finish(&f->entry);
    assert_int_equal(state_try_entry(f), STATUS_UNSUPPORTED);
    assert_non_null(strstr(f->error.text,
                           "could not execute entry 2: it is of feature level 2, and "
                           "this program knows the features up to level 1"));
    assert_non_null(strstr(f->error.text, "install the version"));
    state_reopen(f); /* Nothing of it stayed. */
    assert_int_equal(f->index, 1);
    state_operate(f, &operation);
}

static void the_clusters_level_rises_and_never_falls(void **state)
{
    struct state_fixture *f = *state;
    struct operation put = item_put("a", "1");
    struct operation raise = raise_to(3);

    assert_int_equal(level_of(f), FEATURE_LEVEL_FIRST);
    state_operate(f, &put);
    assert_int_equal(level_of(f), FEATURE_LEVEL_FIRST);
    assert_int_equal(state_operate(f, &raise).first.outcome, OUTCOME_OK);
    assert_int_equal(level_of(f), 3);
    raise = raise_to(2);
    assert_int_equal(state_operate(f, &raise).first.outcome, OUTCOME_OK);
    assert_int_equal(level_of(f), 3);
}

static void a_state_of_a_later_level_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct operation raise = raise_to(FEATURE_LEVEL + 1);
    struct machine *machine;

    state_operate(f, &raise);
    state_flush(f);
    assert_int_equal(machine_open(f->store, FEATURE_LEVEL, &machine, &f->error),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(f->error.text, "at feature level 2, and this program knows"));
    assert_int_equal(machine_open(f->store, FEATURE_LEVEL + 1, &machine, &f->error), STATUS_OK);
    machine_close(machine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_entry_makes_the_default_namespace_at_its_own_time),
        TEST(each_command_of_an_entry_succeeds_or_fails_by_itself),
        TEST(what_is_not_flushed_is_executed_again_with_the_same_effect),
        TEST(an_entry_that_was_executed_is_skipped),
        TEST(an_entry_that_differs_from_the_executed_one_stops_the_machine),
        TEST(an_entry_of_another_term_at_a_known_index_stops_the_machine),
        TEST(a_gap_stops_the_machine),
        TEST(a_damaged_command_stops_the_machine_and_nothing_of_its_entry_stays),
        TEST(indexes_that_are_not_its_business_are_skipped_and_kept),
        TEST(time_never_goes_backwards),
        TEST(a_missing_namespace_is_refused_before_anything_else),
        TEST(a_repeated_request_gets_the_first_answer_and_changes_nothing),
        TEST(another_request_with_the_same_key_is_refused),
        TEST(a_refused_request_is_not_remembered),
        TEST(an_answer_is_forgotten_after_a_day),
        TEST(a_full_disk_refuses_what_adds_but_not_repetitions_and_deletes),
        TEST(a_transaction_makes_one_revision_and_answers_each_operation),
        TEST(a_failing_transaction_leaves_nothing_behind),
        TEST(what_follows_an_undone_transaction_counts_rightly),
        TEST(maintenance_works_in_bounded_steps_and_makes_a_revision_only_for_documents),
        TEST(the_next_due_time_is_that_of_the_earliest_thing),
        TEST(members_are_kept_without_a_revision),
        TEST(an_entry_of_a_later_level_stops_the_machine_before_it),
        TEST(the_clusters_level_rises_and_never_falls),
        TEST(a_state_of_a_later_level_is_refused),
        TEST(a_full_map_fails_the_flush_and_keeps_what_was_flushed),
        TEST(a_process_that_dies_goes_on_from_its_last_commit_to_the_same_state),
        TEST(equal_entries_give_equal_states_whenever_they_are_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
