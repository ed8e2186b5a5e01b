/* The thread, in turns, five of them in a second:
 *
 * 1. Until the node is in a cluster, and the one to mirror, it waits.
 * 2. If the state is where the tables are, as this node left them, there is nothing to do, and
 *    nobody is asked.
 * 3. Else one transaction (mirror_transaction.h) takes them there.
 *
 * What can go wrong:
 * - PostgreSQL fails: it is told once, and tried again after a while that gets longer.
 * - The answer to a commit is lost: the next attempt reads the position, and goes on from there.
 * - The tables are ahead, as another node mirrored that has executed more: it waits.
 * - They are another cluster's: that is a failure, and nothing is written. */
#include "storage/archive/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/backoff.h"
#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/archive/mirror_transaction.h"

#define TURN_MS         200u
#define TURN_REST_MS    20u   /* Of that at least it rests, also when PostgreSQL is slow. */
#define PATIENCE_MS     2000u /* Of one turn with a server that fails: it restarts, say. */
#define COMMIT_MS       2000u
#define RETRY_MS        500u
#define RETRY_MOST_MS   30000u
#define STAND_IN_MS     60000u
#define STAND_IN_FOR_MS 600000u /* Then it is looked whether the other one does it. */

struct mirror {
    struct mirror_options options;
    char *node;
    struct postgres_url url;
    struct repository_options canceling; /* For the connection: is_canceled. */
    struct postgres_connection connection;
    struct mirror_transaction transaction;
    pthread_t thread;

    /* The thread's own. */
    char cluster_id[NAMES_CLUSTER_BYTES + 1];
    bool has_position; /* transaction.position is what this node left, or found. */
    unsigned n_retries;
    unsigned random;
    /* While another node should mirror. */
    uint64_t look_due_ms;
    uint64_t seen_revision;     /* Of the tables, ... */
    uint64_t seen_since_ms;     /* ... since when they are there, and behind; 0: they are not. */
    uint64_t stand_in_until_ms; /* It does not. */

    atomic_bool is_closing;

    pthread_mutex_t mutex; /* Guards what follows. */
    pthread_cond_t wake;
    uint64_t waiting_since_ms; /* Since when something is not mirrored; 0: nothing. */
    struct mirror_status status;
};

static void lock(struct mirror *mirror)
{
    CHECK(pthread_mutex_lock(&mirror->mutex) == 0);
}

static void unlock(struct mirror *mirror)
{
    CHECK(pthread_mutex_unlock(&mirror->mutex) == 0);
}

static bool is_canceled(void *data)
{
    struct mirror *mirror = data;

    return atomic_load(&mirror->is_closing);
}

const char *mirror_activity_text(enum mirror_activity activity)
{
    static const char *const texts[] = {
        [MIRROR_WAITING] = "waiting", [MIRROR_STANDBY] = "standby", [MIRROR_IDLE] = "idle",
        [MIRROR_WRITING] = "writing", [MIRROR_COPYING] = "copying", [MIRROR_FAILING] = "failing",
    };

    return texts[activity];
}

/* --- What others see --- */

/* The tables are behind the state: so many revisions, or nobody knows where they are. */
static void note_lag(struct mirror *mirror, uint64_t state_revision)
{
    lock(mirror);
    mirror->status.lag_revisions =
        state_revision > mirror->status.revision ? state_revision - mirror->status.revision : 0;
    if (mirror->status.lag_revisions == 0) {
        mirror->waiting_since_ms = 0;
    } else if (mirror->waiting_since_ms == 0) {
        mirror->waiting_since_ms = clock_ms();
    }
    unlock(mirror);
}

static void rest_as(struct mirror *mirror, enum mirror_activity activity)
{
    lock(mirror);
    mirror->status.activity = activity;
    if (activity == MIRROR_STANDBY) {
        mirror->status.lag_revisions = 0;
        mirror->waiting_since_ms = 0;
        mirror->status.error[0] = '\0';
    }
    unlock(mirror);
}

static void on_copy(void *data)
{
    struct mirror *mirror = data;

    log_info("mirror", "all is copied url=%s", mirror->url.shown);
    lock(mirror);
    mirror->status.activity = MIRROR_COPYING;
    unlock(mirror);
}

/* --- Writing --- */

static void count(struct mirror *mirror)
{
    const struct mirror_transaction *transaction = &mirror->transaction;
    const struct mirror_position *position = &transaction->position;
    struct mirror_status *status = &mirror->status;
    bool wrote = transaction->outcome == MIRROR_WROTE;

    lock(mirror);
    status->revision = position->revision;
    status->time_ms = position->time_ms;
    status->is_exact = position->revision == position->newest_revision;
    status->transactions += wrote ? 1 : 0;
    status->copies += wrote && transaction->is_copy ? 1 : 0;
    status->sessions += wrote ? transaction->written.sessions : 0;
    status->events += wrote ? transaction->written.events : 0;
    status->items += wrote ? transaction->written.items : 0;
    unlock(mirror);
    if (wrote && transaction->is_copy) {
        log_info("mirror", "all was copied url=%s revision=%" PRIu64, mirror->url.shown,
                 position->revision);
    }
}

static void succeed(struct mirror *mirror)
{
    bool is_ahead = mirror->transaction.outcome == MIRROR_AHEAD;

    if (mirror->n_retries > 0) {
        log_info("mirror", "it works again url=%s", mirror->url.shown);
    }
    mirror->n_retries = 0;
    mirror->has_position = !is_ahead;
    count(mirror);
    note_lag(mirror, mirror->transaction.state_revision);
    lock(mirror);
    mirror->status.activity = is_ahead ? MIRROR_WAITING : MIRROR_IDLE;
    mirror->status.error[0] = '\0';
    unlock(mirror);
}

static void fail(struct mirror *mirror, const struct error *error)
{
    if (mirror->n_retries++ == 0 || strcmp(mirror->status.error, error->text) != 0) {
        log_warn("mirror", "mirroring waits url=%s: %s", mirror->url.shown, error->text);
    }
    mirror->has_position = false; /* What was committed last may have been, or not. */
    lock(mirror);
    mirror->status.activity = MIRROR_FAILING;
    mirror->status.failures++;
    memcpy(mirror->status.error, error->text, sizeof mirror->status.error);
    unlock(mirror);
}

static enum status write_tables(struct mirror *mirror, struct error *error)
{
    rest_as(mirror, mirror->n_retries > 0 ? MIRROR_FAILING : MIRROR_WRITING);
    return postgres_connection_attempt(&mirror->connection, mirror_transaction_run,
                                       &mirror->transaction, error);
}

/* --- While another node should mirror --- */

struct look {
    struct mirror_position position;
    bool is_in_use;
};

static enum status look(struct postgres_connection *connection, void *data, struct error *error)
{
    struct look *look = data;

    return mirror_tables_look(connection, &look->position, &look->is_in_use, error);
}

/* That the server cannot be reached from here, or a row makes no sense, is the other's to tell. */
static bool are_behind(struct mirror *mirror, uint64_t *revision)
{
    struct look found = {.is_in_use = false};
    struct error error;
    enum status status = mirror_transaction_look(&mirror->transaction, &error);

    if (status == STATUS_OK) {
        status = postgres_connection_attempt(&mirror->connection, look, &found, &error);
    }
    *revision = found.position.revision;
    return status == STATUS_OK && !found.is_in_use &&
           found.position.revision < mirror->transaction.state_revision;
}

/* That two mirror at once, later, does no harm. */
static void look_at_tables(struct mirror *mirror)
{
    uint64_t most_ms = mirror->options.stand_in_ms;
    uint64_t now_ms = clock_ms();
    uint64_t revision;

    mirror->look_due_ms = now_ms + most_ms / 4;
    if (!are_behind(mirror, &revision)) {
        mirror->seen_since_ms = 0;
        return;
    }
    if (mirror->seen_since_ms == 0 || revision != mirror->seen_revision) {
        mirror->seen_revision = revision;
        mirror->seen_since_ms = now_ms;
    }
    most_ms += (uint64_t)rand_r(&mirror->random) % (most_ms / 4 + 1); /* Not all at once. */
    if (now_ms - mirror->seen_since_ms >= most_ms) {
        mirror->stand_in_until_ms = now_ms + STAND_IN_FOR_MS;
        mirror->seen_since_ms = 0;
        log_warn("mirror", "stands in for the node that should mirror url=%s revision=%" PRIu64,
                 mirror->url.shown, revision);
    }
}

static void stand_by(struct mirror *mirror)
{
    mirror->has_position = false;
    mirror->n_retries = 0;
    rest_as(mirror, MIRROR_STANDBY);
    if (clock_ms() >= mirror->look_due_ms) {
        look_at_tables(mirror);
    }
    postgres_connection_close(&mirror->connection); /* It may be long until it is needed. */
}

/* --- Turns --- */

static void turn(struct mirror *mirror)
{
    const struct mirror_options *options = &mirror->options;
    struct mirror_transaction *transaction = &mirror->transaction;
    uint64_t node_id = 0;
    struct error error;
    enum status status;

    if (!options->identify(options->data, mirror->cluster_id, &node_id)) {
        mirror->has_position = false;
        rest_as(mirror, MIRROR_WAITING);
        return;
    }
    if (!options->is_chosen(options->data) && clock_ms() >= mirror->stand_in_until_ms) {
        stand_by(mirror);
        return;
    }
    status = mirror_transaction_look(transaction, &error);
    if (status == STATUS_OK) {
        note_lag(mirror, transaction->state_revision);
        if (mirror->has_position && transaction->position.revision == transaction->state_revision) {
            return;
        }
        status = write_tables(mirror, &error);
    }
    if (status == STATUS_OK) {
        succeed(mirror);
    } else if (!is_canceled(mirror)) {
        fail(mirror, &error);
    }
}

/* Milliseconds until the next turn, behind one that took @took_ms: longer after each failure, and
 * never the same for all nodes. */
static uint64_t rest_ms(struct mirror *mirror, uint64_t took_ms)
{
    if (mirror->n_retries == 0) {
        return took_ms + TURN_REST_MS < TURN_MS ? TURN_MS - took_ms : TURN_REST_MS;
    }
    return backoff_ms(RETRY_MS, RETRY_MOST_MS, mirror->n_retries,
                      (uint64_t)rand_r(&mirror->random));
}

static void wait_for(struct mirror *mirror, uint64_t ms)
{
    uint64_t until_ns = clock_ns() + ms * 1000000;

    lock(mirror);
    while (!is_canceled(mirror) && clock_condition_wait(&mirror->wake, &mirror->mutex, until_ns)) {
    }
    unlock(mirror);
}

static void *run(void *data)
{
    struct mirror *mirror = data;

    thread_set_name("mirror");
    thread_give_way();
    while (!is_canceled(mirror)) {
        uint64_t begun_ms = clock_ms();

        turn(mirror);
        wait_for(mirror, rest_ms(mirror, clock_ms() - begun_ms));
    }
    return NULL;
}

/* --- Life, and what others ask --- */

enum status mirror_check(const char *url, struct error *error)
{
    struct postgres_url parsed;
    enum status status;

    if (strncmp(url, "postgres://", 11) != 0 && strncmp(url, "postgresql://", 13) != 0) {
        return error_set(error, STATUS_INVALID,
                         "a mirror is in PostgreSQL: postgres://USER@HOST:PORT/DATABASE");
    }
    status = postgres_url_parse(&parsed, url, MIRROR_SCHEMA, error);
    if (status == STATUS_OK) {
        postgres_url_close(&parsed);
    }
    return status;
}

static void release(struct mirror *mirror)
{
    postgres_connection_close(&mirror->connection);
    mirror_transaction_close(&mirror->transaction);
    CHECK(pthread_cond_destroy(&mirror->wake) == 0);
    CHECK(pthread_mutex_destroy(&mirror->mutex) == 0);
    postgres_url_close(&mirror->url);
    free(mirror->node);
    free(mirror);
}

static void fill(struct mirror *mirror, const struct mirror_options *options)
{
    mirror->options = *options;
    mirror->options.stand_in_ms = options->stand_in_ms == 0 ? STAND_IN_MS : options->stand_in_ms;
    mirror->node = memory_copy_string(options->node);
    mirror->canceling = (struct repository_options){.data = mirror, .is_canceled = is_canceled};
    mirror->random = (unsigned)clock_ms() ^ (unsigned)getpid();
    (void)snprintf(mirror->status.url, sizeof mirror->status.url, "%s",
                   mirror->url.shown); /* Cut, it still says which. */
    postgres_connection_init(&mirror->connection, &mirror->url, &mirror->canceling, &mirror_tables);
    mirror->connection.retry_ms = PATIENCE_MS;
    mirror->connection.answer_ms = MIRROR_ANSWER_MS;
    mirror->transaction = (struct mirror_transaction){
        .store = options->store,
        .cluster_id = mirror->cluster_id,
        .node = mirror->node,
        .limits = {.objects = MIRROR_ROUND_OBJECTS,
                   .revisions = MIRROR_ROUND_REVISIONS,
                   .bytes = MIRROR_VIEW_BYTES},
        .commit_ms = COMMIT_MS,
        .data = mirror,
        .on_copy = on_copy,
    };
    mirror_transaction_open(&mirror->transaction);
    CHECK(pthread_mutex_init(&mirror->mutex, NULL) == 0);
    clock_condition_init(&mirror->wake);
}

enum status mirror_open(const struct mirror_options *options, struct mirror **mirror,
                        struct error *error)
{
    struct mirror *opened;
    enum status status = mirror_check(options->url, error);
    int rv;

    if (status != STATUS_OK) {
        return status;
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    status = postgres_url_parse(&opened->url, options->url, MIRROR_SCHEMA, error);
    CHECK(status == STATUS_OK);
    fill(opened, options);
    rv = pthread_create(&opened->thread, NULL, run, opened);
    if (rv != 0) {
        release(opened);
        return error_set(error, status_from_errno(rv), "could not start a thread");
    }
    *mirror = opened;
    return STATUS_OK;
}

void mirror_close(struct mirror *mirror)
{
    if (mirror == NULL) {
        return;
    }
    lock(mirror);
    atomic_store(&mirror->is_closing, true);
    CHECK(pthread_cond_signal(&mirror->wake) == 0);
    unlock(mirror);
    CHECK(pthread_join(mirror->thread, NULL) == 0);
    release(mirror);
}

void mirror_status(struct mirror *mirror, struct mirror_status *status)
{
    lock(mirror);
    *status = mirror->status;
    status->lag_ms = mirror->waiting_since_ms == 0 ? 0 : clock_ms() - mirror->waiting_since_ms;
    unlock(mirror);
}
