#include "tests/lib/archive_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/deadline.h"

#define LOOK_MS 100
/* A lag is that of the node that archives; it may hear of what the leader has acknowledged with the
 * next message only, and execute it when the machine lets it. */
#define SLACK_MS 1000

struct archive_watch_ack {
    uint64_t time_ms;  /* By then, ... */
    uint64_t revision; /* ... this was acknowledged. */
};

static void note_acknowledged(struct archive_watch *watch)
{
    struct archive_watch_ack ack = {.revision = atomic_load(&watch->f->writers.revision)};

    ack.time_ms = now_ms(); /* Later, not earlier. */
    (void)pthread_mutex_lock(&watch->mutex);
    buffer_append(&watch->acknowledged, &ack, sizeof ack);
    (void)pthread_mutex_unlock(&watch->mutex);
}

/* What was acknowledged by @time_ms, at least. With the lock held. */
static uint64_t acknowledged_by(const struct archive_watch *watch, uint64_t time_ms)
{
    const struct archive_watch_ack *acks =
        (const struct archive_watch_ack *)(const void *)watch->acknowledged.data;
    size_t n = watch->acknowledged.size / sizeof *acks;

    while (n > 0 && acks[n - 1].time_ms > time_ms) {
        n--;
    }
    return n == 0 ? 0 : acks[n - 1].revision;
}

static void take_promise(struct archive_watch *watch, const struct cluster_node *node,
                         uint64_t asked_ms, const json_t *view)
{
    uint64_t lag_ms = (uint64_t)json_integer_value(json_object_get(view, "lag_ms"));
    uint64_t archived = (uint64_t)json_integer_value(json_object_get(view, "revision"));
    uint64_t revision;

    (void)pthread_mutex_lock(&watch->mutex);
    revision =
        lag_ms + SLACK_MS < asked_ms ? acknowledged_by(watch, asked_ms - lag_ms - SLACK_MS) : 0;
    if (revision > watch->promised || archived > watch->promised) {
        watch->promised = archived > revision ? archived : revision;
        (void)snprintf(watch->how, sizeof watch->how,
                       "%s, %s, %llu ms behind with revision %llu archived, at %llu ms", node->name,
                       json_string_value(json_object_get(view, "activity")),
                       (unsigned long long)lag_ms, (unsigned long long)archived,
                       (unsigned long long)asked_ms);
    }
    watch->largest_lag_ms = lag_ms > watch->largest_lag_ms ? lag_ms : watch->largest_lag_ms;
    watch->looks++;
    (void)pthread_mutex_unlock(&watch->mutex);
}

static void look_at_archive(struct archive_watch *watch, const struct cluster_node *node)
{
    uint64_t asked_ms = now_ms();
    json_t *view = archived_cluster_ask(node);

    if (archived_cluster_is_archiver(view)) {
        take_promise(watch, node, asked_ms, view);
    }
    json_decref(view);
}

static void look_at_state(struct archive_watch *watch, const struct cluster_node *node)
{
    json_t *view = cluster_view(node);
    const char *hash = json_string_value(json_object_get(view, "state_hash"));
    struct archive_watch_sample sample = {
        .index = (uint64_t)json_integer_value(json_object_get(view, "applied_index")),
        .revision = (uint64_t)json_integer_value(json_object_get(view, "revision"))};

    if (hash != NULL && sample.index > 0) {
        (void)snprintf(sample.hash, sizeof sample.hash, "%s", hash);
        (void)pthread_mutex_lock(&watch->mutex);
        buffer_append(&watch->samples, &sample, sizeof sample);
        (void)pthread_mutex_unlock(&watch->mutex);
    }
    json_decref(view);
}

static void *run(void *data)
{
    struct archive_watch *watch = data;
    const struct cluster *cluster = &watch->f->cluster;

    for (unsigned n = 0; !atomic_load(&watch->stopping); n++) {
        note_acknowledged(watch);
        for (unsigned i = 0; i < CLUSTER_NODES; i++) {
            look_at_archive(watch, &cluster->nodes[i]);
        }
        look_at_state(watch, &cluster->nodes[n % CLUSTER_NODES]);
        pause_ms(LOOK_MS);
    }
    return NULL;
}

void archive_watch_start(struct archive_watch *watch, struct archived_cluster *f)
{
    memset(watch, 0, sizeof *watch);
    watch->f = f;
    (void)pthread_mutex_init(&watch->mutex, NULL); /* Cannot fail with these arguments. */
    if (pthread_create(&watch->thread, NULL, run, watch) != 0) {
        abort();
    }
}

uint64_t archive_watch_promised(struct archive_watch *watch)
{
    uint64_t promised;

    (void)pthread_mutex_lock(&watch->mutex);
    promised = watch->promised;
    (void)pthread_mutex_unlock(&watch->mutex);
    return promised;
}

const char *archive_watch_how(const struct archive_watch *watch)
{
    return watch->how;
}

void archive_watch_stop(struct archive_watch *watch)
{
    atomic_store(&watch->stopping, true);
    (void)pthread_join(watch->thread, NULL);
}

const struct archive_watch_sample *archive_watch_sample(const struct archive_watch *watch,
                                                        size_t nth)
{
    return (const struct archive_watch_sample *)(const void *)watch->samples.data + nth;
}

size_t archive_watch_samples(const struct archive_watch *watch)
{
    return watch->samples.size / sizeof(struct archive_watch_sample);
}

uint64_t archive_watch_largest_lag_ms(const struct archive_watch *watch)
{
    return watch->largest_lag_ms;
}

uint64_t archive_watch_looks(const struct archive_watch *watch)
{
    return watch->looks;
}

void archive_watch_close(struct archive_watch *watch)
{
    buffer_close(&watch->acknowledged);
    buffer_close(&watch->samples);
    (void)pthread_mutex_destroy(&watch->mutex);
}
