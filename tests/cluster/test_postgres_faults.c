/* A repository in a real PostgreSQL server, disturbed: several nodes at once, and connections,
 * answers, servers and nodes that are lost at each step. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/queue.h"
#include "storage/archive/postgres.h"
#include "tests/lib/deadline.h"
#include "tests/lib/ports.h"
#include "tests/lib/postgres_fixture.h"
#include "tests/lib/process.h"
#include "tests/lib/repository_contract.h"

#define TEST_LIMIT_S 1200
#define ROUNDS       30
#define NODES        4
#define NAME         "a/b"

/* --- Several nodes --- */

struct node {
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct repository *repository;
    struct slice bytes;
    enum status status;
    struct error error;
};

static void *create_at_once(void *data)
{
    struct node *node = data;

    (void)pthread_barrier_wait(node->barrier);
    node->status = repository_put(node->repository, NAME, node->bytes, &node->error);
    return NULL;
}

/* Exactly one of them succeeds; which is given. */
static unsigned create_by_all(struct node *nodes, pthread_barrier_t *barrier)
{
    unsigned winner = NODES;

    for (unsigned i = 0; i < NODES; i++) {
        nodes[i].barrier = barrier;
        assert_int_equal(pthread_create(&nodes[i].thread, NULL, create_at_once, &nodes[i]), 0);
    }
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(pthread_join(nodes[i].thread, NULL), 0);
        if (nodes[i].status == STATUS_OK) {
            assert_int_equal(winner, NODES);
            winner = i;
        } else if (nodes[i].status != STATUS_EXISTS) {
            fail_msg("%s", nodes[i].error.text);
        }
    }
    assert_int_not_equal(winner, NODES);
    return winner;
}

/* The first round makes the tables, too. */
static void of_several_nodes_one_creates(void **state)
{
    struct postgres_fixture *f = *state;
    static const char *const contents[NODES] = {"node 0", "node 1", "node 2", "node 3"};
    struct node nodes[NODES];
    pthread_barrier_t barrier;

    postgres_fixture_need(f);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, NODES), 0);
    for (unsigned i = 0; i < NODES; i++) {
        const struct repository_options options = {
            .url = postgres_fixture_url(f, "keeper", f->server->port)};

        nodes[i] = (struct node){.bytes = slice_of_string(contents[i])};
        postgres_fixture_check_ok(repository_open(&options, &nodes[i].repository, &f->error),
                                  &f->error);
    }
    for (int round = 0; round < ROUNDS; round++) {
        unsigned winner = create_by_all(nodes, &barrier);

        postgres_fixture_check_object(f, NAME, nodes[winner].bytes);
        assert_int_equal(postgres_fixture_count(f, "FROM chunks"), 1);
        assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    }
    for (unsigned i = 0; i < NODES; i++) {
        repository_close(nodes[i].repository);
    }
    (void)pthread_barrier_destroy(&barrier);
}

static struct repository *open_another(struct postgres_fixture *f)
{
    const struct repository_options options = {
        .url = postgres_fixture_url(f, "keeper", f->server->port)};
    struct repository *other;

    postgres_fixture_check_ok(repository_open(&options, &other, &f->error), &f->error);
    return other;
}

static void create_as_another(struct postgres_fixture *f)
{
    struct repository *other = open_another(f);

    postgres_fixture_check_ok(repository_put(other, NAME, slice_of_string("other"), &f->error),
                              &f->error);
    repository_close(other);
}

struct other_node {
    struct postgres_fixture fixture; /* First: what disturbs is given it. */
    struct node node;
    atomic_bool is_done;
};

static void *create_now(void *data)
{
    struct other_node *other = data;

    other->node.status =
        repository_put(other->node.repository, NAME, other->node.bytes, &other->node.error);
    atomic_store(&other->is_done, true);
    return NULL;
}

static bool is_done_or_waits(void *data)
{
    struct other_node *other = data;

    return atomic_load(&other->is_done) ||
           postgres_fixture_count(&other->fixture, "FROM pg_stat_activity WHERE wait_event_type = "
                                                   "'Lock' AND application_name = 'holdfast'") > 0;
}

/* Another node creates the object, as far as it gets. */
static void begin_as_another(struct postgres_fixture *f)
{
    struct other_node *other = CONTAINER_OF(f, struct other_node, fixture);

    assert_int_equal(pthread_create(&other->node.thread, NULL, create_now, other), 0);
    assert_true(wait_until(is_done_or_waits, other, POSTGRES_FIXTURE_LIMIT_MS));
}

/* Another node creates the object at each step of the creation: one of them has it. */
static void a_name_that_is_taken_meanwhile_is_taken(void **state)
{
    struct postgres_fixture *f = *state;
    struct other_node other = {.node = {.bytes = slice_of_string("other")}};
    unsigned n_taken = 0;
    unsigned nth = 0;
    bool has_struck;

    postgres_fixture_need(f);
    other.fixture = *f;
    repository_close(f->repository);
    f->repository = postgres_fixture_repository(&other.fixture,
                                                postgres_fixture_url(f, "keeper", f->server->port));
    other.node.repository = open_another(f);
    do {
        enum status status;

        atomic_store(&other.is_done, false);
        other.node.status = STATUS_EXISTS;
        postgres_fixture_arm(&other.fixture, ++nth, begin_as_another, false);
        status = repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error);
        has_struck = postgres_fixture_disarm(&other.fixture);
        assert_true(!has_struck || pthread_join(other.node.thread, NULL) == 0);
        n_taken += status == STATUS_EXISTS;
        assert_true(status == STATUS_OK || status == STATUS_EXISTS);
        assert_int_equal(other.node.status, status == STATUS_OK ? STATUS_EXISTS : STATUS_OK);
        postgres_fixture_check_object(
            f, NAME, status == STATUS_OK ? postgres_fixture_large(1) : other.node.bytes);
        postgres_fixture_check(f);
        assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    } while (has_struck);
    assert_true(n_taken > 5 && n_taken < nth - 1);
    repository_close(other.node.repository);
}

/* --- What is lost on the way --- */

/* The connection ends at each step. */
static void a_lost_connection_harms_nothing(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned nth = 0;
    bool has_struck;

    postgres_fixture_need(f);
    do {
        postgres_fixture_arm(f, ++nth, postgres_fixture_terminate, false);
        postgres_fixture_put(f, NAME, postgres_fixture_large(1));
        has_struck = postgres_fixture_disarm(f);
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check(f);
        assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(2), &f->error),
                         STATUS_EXISTS);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    } while (has_struck);
    assert_true(nth > 10);
}

static void a_lost_connection_does_not_harm_reading_listing_and_removing(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned nth = 0;
    bool has_struck;

    postgres_fixture_need(f);
    do {
        unsigned n = 0;

        postgres_fixture_put(f, NAME, postgres_fixture_large(1));
        postgres_fixture_arm(f, ++nth, postgres_fixture_terminate, false);
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check_ok(postgres_fixture_list(f->repository, &n, &f->error), &f->error);
        assert_int_equal(n, 1);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
        has_struck = postgres_fixture_disarm(f);
        assert_int_equal(postgres_fixture_count(f, "FROM objects"), 0);
        assert_int_equal(postgres_fixture_count(f, "FROM chunks"), 0);
    } while (has_struck);
    assert_true(nth > 5);
}

/* A node dies at each step: another one can create the object, if it is not there. */
static void a_dead_creator_is_in_nobodys_way(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned nth = 0;
    bool has_struck;

    postgres_fixture_need(f);
    do {
        enum status status;
        enum status next;

        postgres_fixture_arm(f, ++nth, NULL, true);
        status = repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error);
        has_struck = postgres_fixture_disarm(f);
        postgres_fixture_terminate(f); /* What it was in the middle of is over. */
        next = repository_put(f->repository, NAME, postgres_fixture_large(2), &f->error);
        assert_true(next == STATUS_OK || next == STATUS_EXISTS);
        if (status == STATUS_CANCELED) {
            assert_int_equal(next, STATUS_OK);
        } else if (status == STATUS_OK) {
            assert_int_equal(next, STATUS_EXISTS);
        } else {
            assert_int_equal(status, STATUS_UNCERTAIN);
        }
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(next == STATUS_OK ? 2 : 1));
        postgres_fixture_check(f);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    } while (has_struck);
    assert_true(nth > 10);
}

static void what_a_dead_creator_left_is_removed_after_a_day(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    postgres_fixture_put(f, "x",
                         slice_of_string("1")); /* Makes the tables, and looked for left-overs. */
    free(postgres_server_ask(
        f->server,
        "SET search_path = %s; "
        "INSERT INTO uploads (name, renewed_at) VALUES ('old', now() - interval '25 hours'), "
        "('young', now() - interval '23 hours'); "
        "INSERT INTO chunks SELECT object_id, 0, '1' FROM uploads",
        f->schema));
    repository_close(f->repository);
    f->repository =
        postgres_fixture_repository(f, postgres_fixture_url(f, "keeper", f->server->port));
    postgres_fixture_put(f, "y", slice_of_string("1"));

    assert_int_equal(postgres_fixture_count(f, "FROM uploads WHERE name = 'old'"), 0);
    assert_int_equal(postgres_fixture_count(f, "FROM uploads WHERE name = 'young'"), 1);
    assert_int_equal(postgres_fixture_count(f, "FROM chunks"), 3);
    postgres_fixture_check(f);
}

static void remove_upload(struct postgres_fixture *f)
{
    free(postgres_server_ask(f->server,
                             "SET search_path = %s; "
                             "WITH gone AS (DELETE FROM uploads WHERE object_id IN (SELECT "
                             "object_id FROM uploads FOR UPDATE SKIP LOCKED) RETURNING object_id) "
                             "DELETE FROM chunks USING gone "
                             "WHERE chunks.object_id = gone.object_id",
                             f->schema));
}

/* It slept for a day, at each step. */
static void a_creator_that_was_taken_for_dead_notices(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned nth = 0;
    unsigned n_noticed = 0;
    bool has_struck;

    postgres_fixture_need(f);
    postgres_fixture_put(f, "x", slice_of_string("1"));
    do {
        enum status status;

        postgres_fixture_arm(f, ++nth, remove_upload, false);
        status = repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error);
        has_struck = postgres_fixture_disarm(f);
        assert_true(status == STATUS_OK || status == STATUS_TIMEOUT);
        n_noticed += status == STATUS_TIMEOUT;
        assert_int_equal(postgres_fixture_count(f, "FROM objects WHERE name = '" NAME "'"),
                         status == STATUS_OK ? 1 : 0);
        postgres_fixture_check(f);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    } while (has_struck);
    assert_true(n_noticed > 0);
}

/* The server loses what it said it had, at each step before it is counted. */
static void lose_chunk(struct postgres_fixture *f)
{
    free(postgres_server_ask(f->server,
                             "SET search_path = %s; "
                             "WITH sent AS (SELECT object_id FROM uploads FOR UPDATE SKIP LOCKED) "
                             "DELETE FROM chunks USING sent "
                             "WHERE chunks.object_id = sent.object_id AND number = 1",
                             f->schema));
}

static void what_is_not_whole_becomes_no_object(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned nth = 0;
    unsigned n_noticed = 0;
    bool has_struck;

    postgres_fixture_need(f);
    postgres_fixture_put(f, "x", slice_of_string("1"));
    do {
        enum status status;

        postgres_fixture_arm(f, ++nth, lose_chunk, false);
        status = repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error);
        has_struck = postgres_fixture_disarm(f);
        assert_true(status == STATUS_OK || status == STATUS_CORRUPT);
        n_noticed += status == STATUS_CORRUPT;
        postgres_fixture_check(f);
        assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
        assert_int_equal(postgres_fixture_count(f, "FROM objects WHERE name = '" NAME "'"),
                         status == STATUS_OK ? 1 : 0);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    } while (has_struck);
    assert_true(n_noticed > 0);
}

/* --- The answer to the last COMMIT --- */

/* The repository is reached through a relay from now on, and has its connection. */
static void go_through_relay(struct postgres_fixture *f)
{
    for (int i = 0; i < RELAY_TARGETS; i++) {
        f->relay.targets[i].address = "127.0.0.1";
        f->relay.targets[i].port = f->server->port;
    }
    assert_true(relay_start(&f->relay, test_seed()));
    repository_close(f->repository);
    f->repository = postgres_fixture_repository(
        f, postgres_fixture_url(f, "keeper", f->relay.targets[0].relay_port));
    postgres_fixture_put(f, "first", slice_of_string("1"));
}

static void an_object_whose_answer_was_lost_is_found(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    for (unsigned nth = 1; nth <= 2; nth++) {
        relay_lose(&f->relay, RELAY_LOSE_ANSWER, "COMMIT", nth, false);
        postgres_fixture_put(f, NAME, postgres_fixture_large(1));
        assert_true(relay_is_lost(&f->relay));
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check(f);
        assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    }
}

static void an_object_whose_commit_was_lost_is_made_again(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    for (unsigned nth = 1; nth <= 2; nth++) {
        relay_lose(&f->relay, RELAY_LOSE_REQUEST, "COMMIT", nth, false);
        postgres_fixture_put(f, NAME, postgres_fixture_large(1));
        assert_true(relay_is_lost(&f->relay));
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check(f);
        assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    }
}

static void refuse_no_more(struct postgres_fixture *f)
{
    atomic_store(&f->relay.refuses, false);
}

static void who_never_gets_the_answer_says_so(void **state)
{
    static const enum relay_loss losses[] = {RELAY_LOSE_REQUEST, RELAY_LOSE_ANSWER};
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    postgres_set_patience(f->repository, 0, POSTGRES_FIXTURE_LIMIT_MS);
    for (size_t i = 0; i < 2; i++) {
        relay_lose(&f->relay, losses[i], "COMMIT", 2, true);
        assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                         STATUS_UNCERTAIN);
        assert_int_equal(f->error.status, STATUS_UNCERTAIN);
        assert_non_null(strstr(f->error.text, NAME));
        refuse_no_more(f);
        postgres_set_patience(f->repository, POSTGRES_FIXTURE_LIMIT_MS, POSTGRES_FIXTURE_LIMIT_MS);
        assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                         losses[i] == RELAY_LOSE_ANSWER ? STATUS_EXISTS : STATUS_OK);
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check(f);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
        postgres_set_patience(f->repository, 0, POSTGRES_FIXTURE_LIMIT_MS);
    }
}

/* Until the relay has lost the connection, nothing; then another node creates the object. */
static void create_when_lost(struct postgres_fixture *f)
{
    if (relay_is_lost(&f->relay)) {
        create_as_another(f);
        refuse_no_more(f);
    } else {
        f->nth++; /* At the next step. */
    }
}

static void another_object_than_the_one_whose_commit_was_lost_is_known(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    relay_lose(&f->relay, RELAY_LOSE_REQUEST, "COMMIT", 2, true);
    postgres_fixture_arm(f, 1, create_when_lost, false);
    assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                     STATUS_EXISTS);
    assert_true(postgres_fixture_disarm(f));
    postgres_fixture_check_object(f, NAME, slice_of_string("other"));
    postgres_fixture_check(f);
    assert_int_equal(postgres_fixture_count(f, "FROM uploads"), 0);
}

/* Ours was there, was removed, and another one is there: also that is not ours. */
static void replace_when_lost(struct postgres_fixture *f)
{
    if (relay_is_lost(&f->relay)) {
        struct repository *other = open_another(f);

        postgres_fixture_check_ok(repository_remove(other, NAME, &f->error), &f->error);
        repository_close(other);
    }
    create_when_lost(f);
}

static void an_object_in_the_place_of_the_one_whose_answer_was_lost_is_known(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    relay_lose(&f->relay, RELAY_LOSE_ANSWER, "COMMIT", 2, true);
    postgres_fixture_arm(f, 1, replace_when_lost, false);
    assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                     STATUS_EXISTS);
    assert_true(postgres_fixture_disarm(f));
    postgres_fixture_check_object(f, NAME, slice_of_string("other"));
}

/* What is removed is removed once, also if the answer was lost and the name was taken again. */
static void remove_does_not_remove_what_came_after(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    postgres_fixture_put(f, NAME, postgres_fixture_large(1));
    relay_lose(&f->relay, RELAY_LOSE_ANSWER, "DELETE FROM objects", 1, true);
    postgres_fixture_arm(f, 1, create_when_lost, false);
    postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    assert_true(postgres_fixture_disarm(f));
    postgres_fixture_check_object(f, NAME, slice_of_string("other"));
}

/* Until the object is made, and not committed, nothing; then this node is cut off without a word,
 * and another one creates the object. */
static void create_when_cut_off(struct postgres_fixture *f)
{
    if (postgres_fixture_count(f, "FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                                  "query LIKE '%INSERT INTO objects%'") == 0) {
        f->nth++; /* At the next step. */
        return;
    }
    atomic_store(&f->relay.delay_ms, TEST_LIMIT_S * 1000);
    create_as_another(f);
    atomic_store(&f->relay.delay_ms, 0);
    postgres_set_patience(f->repository, POSTGRES_FIXTURE_LIMIT_MS, 2000);
}

/* The server gives up what is silent in a transaction (after 30 s), and what it had done. */
static void a_silent_creator_is_in_nobodys_way_for_long(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    postgres_fixture_arm(f, 1, create_when_cut_off, false);
    assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                     STATUS_EXISTS);
    assert_true(postgres_fixture_disarm(f));
    postgres_fixture_check_object(f, NAME, slice_of_string("other"));
    postgres_fixture_check(f);
}

static void a_server_that_says_nothing_is_given_up(void **state)
{
    struct postgres_fixture *f = *state;

    postgres_fixture_need(f);
    go_through_relay(f);
    postgres_set_patience(f->repository, 0, 200);
    atomic_store(&f->relay.delay_ms, POSTGRES_FIXTURE_LIMIT_MS);
    assert_int_equal(repository_put(f->repository, NAME, postgres_fixture_large(1), &f->error),
                     STATUS_TIMEOUT);
    atomic_store(&f->relay.delay_ms, 0);
    postgres_set_patience(f->repository, POSTGRES_FIXTURE_LIMIT_MS, POSTGRES_FIXTURE_LIMIT_MS);
    postgres_fixture_put(f, NAME, postgres_fixture_large(1));
}

/* --- The server --- */

static void restart(struct postgres_fixture *f, int number)
{
    assert_true(postgres_server_stop(f->server, number));
    assert_true(postgres_server_start(f->server));
}

static void restart_in_order(struct postgres_fixture *f)
{
    restart(f, SIGINT);
}

static void crash(struct postgres_fixture *f)
{
    restart(f, SIGQUIT);
}

static void a_server_that_is_started_again_is_found_again(void **state)
{
    struct postgres_fixture *f = *state;
    /* In the middle of sending, before the last COMMIT, and while idle. */
    static const unsigned steps[] = {1, 8, 17};

    postgres_fixture_need(f);
    postgres_fixture_put(f, "first", slice_of_string("1"));
    for (size_t i = 0; i < 2 * sizeof steps / sizeof steps[0]; i++) {
        postgres_fixture_arm(f, steps[i / 2], i % 2 == 0 ? restart_in_order : crash, false);
        postgres_fixture_put(f, NAME, postgres_fixture_large(1));
        assert_true(postgres_fixture_disarm(f));
        postgres_fixture_check_object(f, NAME, postgres_fixture_large(1));
        postgres_fixture_check(f);
        postgres_fixture_check_ok(repository_remove(f->repository, NAME, &f->error), &f->error);
    }
}

static void start(struct postgres_fixture *f)
{
    assert_true(postgres_server_start(f->server));
}

static void a_server_that_is_down_is_waited_for(void **state)
{
    struct postgres_fixture *f = *state;
    unsigned n;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    assert_true(postgres_server_stop(f->server, SIGINT));
    postgres_set_patience(f->repository, 0, POSTGRES_FIXTURE_LIMIT_MS);
    assert_int_equal(repository_put(f->repository, "x", slice_of_string("1"), &f->error),
                     STATUS_IO);
    assert_int_equal(postgres_fixture_list(f->repository, &n, &f->error), STATUS_IO);

    postgres_set_patience(f->repository, POSTGRES_FIXTURE_LIMIT_MS, POSTGRES_FIXTURE_LIMIT_MS);
    postgres_fixture_arm(f, 5, start, false); /* After some attempts. */
    postgres_fixture_put(f, "x", slice_of_string("1"));
    assert_true(postgres_fixture_disarm(f));
    postgres_fixture_check_object(f, NAME, slice_of_string("1"));
}

/* --- Canceling --- */

static bool nobody_waits(void *data)
{
    const struct postgres_fixture *f = data;

    return postgres_fixture_count(f, "FROM pg_stat_activity WHERE application_name = 'holdfast'") ==
           0;
}

static void what_waits_for_the_server_can_be_canceled(void **state)
{
    struct postgres_fixture *f = *state;
    PGconn *locker;

    postgres_fixture_need(f);
    postgres_fixture_put(f, NAME, slice_of_string("1"));
    locker = postgres_server_connect(f->server);
    PQclear(PQexec(locker, "BEGIN"));
    (void)snprintf(f->error.text, sizeof f->error.text, "LOCK TABLE %s.objects", f->schema);
    PQclear(PQexec(locker, f->error.text));
    assert_int_equal(PQtransactionStatus(locker), PQTRANS_INTRANS);

    postgres_fixture_arm(f, 4, NULL, true); /* It waits for the lock by then. */
    assert_int_equal(repository_put(f->repository, "x", slice_of_string("1"), &f->error),
                     STATUS_CANCELED);
    assert_true(postgres_fixture_disarm(f));
    assert_true(wait_until(nobody_waits, f, POSTGRES_FIXTURE_LIMIT_MS));
    /* By that, and not at last by its own limit. */
    assert_true(postgres_server_has_logged(f->server, "canceling statement due to user request"));
    PQfinish(locker);

    postgres_fixture_put(f, "x", slice_of_string("1"));
}

static void waiting_for_a_server_can_be_canceled(void **state)
{
    struct postgres_fixture *f = *state;
    struct repository *repository;
    char url[256];
    unsigned n;

    postgres_fixture_need(f);
    (void)snprintf(url, sizeof url, "postgres://admin@127.0.0.1:%u/postgres", port_take());
    repository = postgres_fixture_repository(f, url);
    postgres_fixture_arm(f, 10, NULL, true);
    assert_int_equal(postgres_fixture_list(repository, &n, &f->error), STATUS_CANCELED);
    repository_close(repository);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, postgres_fixture_open, postgres_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_several_nodes_one_creates),
        TEST(a_name_that_is_taken_meanwhile_is_taken),
        TEST(a_lost_connection_harms_nothing),
        TEST(a_lost_connection_does_not_harm_reading_listing_and_removing),
        TEST(a_dead_creator_is_in_nobodys_way),
        TEST(what_a_dead_creator_left_is_removed_after_a_day),
        TEST(a_creator_that_was_taken_for_dead_notices),
        TEST(what_is_not_whole_becomes_no_object),
        TEST(an_object_whose_answer_was_lost_is_found),
        TEST(an_object_whose_commit_was_lost_is_made_again),
        TEST(who_never_gets_the_answer_says_so),
        TEST(another_object_than_the_one_whose_commit_was_lost_is_known),
        TEST(an_object_in_the_place_of_the_one_whose_answer_was_lost_is_known),
        TEST(remove_does_not_remove_what_came_after),
        TEST(a_silent_creator_is_in_nobodys_way_for_long),
        TEST(a_server_that_says_nothing_is_given_up),
        TEST(a_server_that_is_started_again_is_found_again),
        TEST(a_server_that_is_down_is_waited_for),
        TEST(what_waits_for_the_server_can_be_canceled),
        TEST(waiting_for_a_server_can_be_canceled),
    };

    process_limit_test(TEST_LIMIT_S);
    return cmocka_run_group_tests(tests, postgres_fixture_open_group, postgres_fixture_close_group);
}
