/* Bits that a follower's disk got wrong while it was off. It has to notice, say so and stay down;
 * the others go on.
 *
 * Afterwards it gets back what it had. A damaged log is found before the node takes part, so all of
 * the directory can go back. A damaged state may be found later: then only the state goes back,
 * and the log, which it has answered for since, brings the rest. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cluster/nemesis.h"
#include "tests/lib/deadline.h"
#include "tests/lib/member_changes.h"

#define NOTICE_MS      15000
#define ASK_MS         2000
#define COMMITTED_MS   30000
#define MIN_RECORDS    500 /* Of all kinds. */
#define STATUS_DAMAGED 3
#define MAX_PATH       400
#define LARGE_BYTES    900000
#define SNAPSHOT_MS    60000
#define VOTE_BYTES     32

static const struct cluster_node *victim_of(const struct chaos *chaos)
{
    return &chaos->cluster.nodes[chaos->victim];
}

/* The victim that was chosen. */
static bool kill_and_keep_copy(struct chaos *chaos)
{
    const char *directory;

    chaos_kill(chaos, chaos->victim);
    directory = victim_of(chaos)->data_directory;
    return process_run(victim_of(chaos)->log_path, "rm -rf %s.kept && cp -a %s %s.kept", directory,
                       directory, directory);
}

/* The bytes up to the last one that is not zero: what was reserved does not count. */
static off_t used_size(int fd)
{
    char bytes[4096];
    off_t used = 0;
    off_t at = 0;
    ssize_t n;
    ssize_t i;

    while ((n = pread(fd, bytes, sizeof bytes, at)) > 0) {
        for (i = 0; i < n; i++) {
            if (bytes[i] != 0) {
                used = at + i + 1;
            }
        }
        at += n;
    }
    return used;
}

static bool flip(struct chaos *chaos, const char *path, off_t from, off_t to)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t at = from + (off_t)chaos_draw(chaos, (unsigned)(to - from));
    unsigned bit = chaos_draw(chaos, 8);
    unsigned char byte;
    bool flipped = fd >= 0 && pread(fd, &byte, 1, at) == 1;

    if (flipped) {
        byte ^= (unsigned char)(1u << bit);
        flipped = pwrite(fd, &byte, 1, at) == 1 && fsync(fd) == 0;
        (void)printf("  bit %u of byte %lld in %s\n", bit, (long long)at, path);
    }
    return fd >= 0 && close(fd) == 0 && flipped;
}

/* The segment in which most is written. */
static off_t find_segment(const struct cluster_node *node, char path[MAX_PATH])
{
    char directory[MAX_PATH / 2];
    const struct dirent *entry;
    off_t most = 0;
    DIR *list;

    (void)snprintf(directory, sizeof directory, "%s/raft", node->data_directory);
    list = opendir(directory);
    while (list != NULL && (entry = readdir(list)) != NULL) {
        char candidate[MAX_PATH];
        off_t used;
        int fd;

        (void)snprintf(candidate, sizeof candidate, "%.180s/%.200s", directory, entry->d_name);
        fd = strpbrk(entry->d_name, "-") == NULL ? -1 : open(candidate, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        used = used_size(fd);
        (void)close(fd);
        if (used > most) {
            most = used;
            memcpy(path, candidate, sizeof candidate);
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return most;
}

/* It must not come up with a shorter log, as if that had been all. */
static bool flip_log(struct chaos *chaos)
{
    struct process *process;
    char path[MAX_PATH];
    off_t used;

    if (!chaos_choose_follower(chaos) || !kill_and_keep_copy(chaos)) {
        return false;
    }
    used = find_segment(victim_of(chaos), path);
    /* Not in the last batches: a bad one at the end looks like one that was torn. */
    if (used < 1024 || !flip(chaos, path, 8, used / 2) ||
        !cluster_start_node(&chaos->cluster, chaos->victim)) {
        return false;
    }
    chaos->effect++;
    process = &chaos->cluster.nodes[chaos->victim].process;
    return process_wait(process, NOTICE_MS) && process_exited_with(process, STATUS_DAMAGED);
}

static bool restore_all(struct chaos *chaos)
{
    const char *directory = victim_of(chaos)->data_directory;

    return process_run(victim_of(chaos)->log_path, "rm -rf %s && mv %s.kept %s", directory,
                       directory, directory);
}

/* --- The snapshot pointer --- */

/* The newest of its two files: the metadata, or what they are of. False if there is none yet. */
static bool find_snapshot(const struct cluster_node *node, bool meta, char path[MAX_PATH])
{
    char directory[MAX_PATH / 2];
    unsigned long long newest[3] = {0};
    const struct dirent *entry;
    bool found = false;
    DIR *list;

    (void)snprintf(directory, sizeof directory, "%s/raft", node->data_directory);
    list = opendir(directory);
    while (list != NULL && (entry = readdir(list)) != NULL) {
        unsigned long long number[3];
        char name[96];

        if (sscanf(entry->d_name, "snapshot-%llu-%llu-%llu", &number[0], &number[1], &number[2]) !=
            3) {
            continue;
        }
        (void)snprintf(name, sizeof name, "snapshot-%llu-%llu-%llu%s", number[0], number[1],
                       number[2], meta ? ".meta" : "");
        if (strcmp(name, entry->d_name) == 0 && (!found || number[1] > newest[1])) {
            memcpy(newest, number, sizeof newest);
            (void)snprintf(path, MAX_PATH, "%.180s/%.200s", directory, name);
            found = true;
        }
    }
    if (list != NULL) {
        (void)closedir(list);
    }
    return found;
}

struct filling {
    const struct cluster_node *node;
    struct http_client client;
    unsigned n;
    char path[MAX_PATH];
};

/* Write one large item more, until there is a snapshot: one comes every 64 MiB of log. */
static bool has_snapshot(void *data)
{
    struct filling *filling = data;
    struct http_response response = {0};
    char target[64];
    char *body;

    if (find_snapshot(filling->node, true, filling->path)) {
        return true;
    }
    body = malloc(LARGE_BYTES + 1);
    if (body == NULL) {
        return false;
    }
    memset(body, 'x', LARGE_BYTES);
    body[0] = body[LARGE_BYTES - 1] = '"';
    body[LARGE_BYTES] = '\0';
    (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/large%u", filling->n++ % 4);
    /* What comes of it is seen in the directory. */
    (void)http_call(&filling->client, &response, "PUT", target, NULL, body);
    http_response_close(&response);
    free(body);
    return false;
}

/* A bit of a file of 32 to 200 bytes may be one that nobody reads: then the node comes up. */
static bool flip_snapshot(struct chaos *chaos)
{
    bool meta = chaos_draw(chaos, 2) == 0;
    struct filling filling = {.n = 0};
    struct cluster_node *node;
    struct stat status;
    char path[MAX_PATH];
    bool found;

    if (!chaos_choose_follower(chaos)) {
        return false;
    }
    node = &chaos->cluster.nodes[chaos->victim];
    filling.node = node;
    filling.client = cluster_client(node);
    found = wait_until(has_snapshot, &filling, SNAPSHOT_MS);
    http_client_close(&filling.client);
    if (!found || !kill_and_keep_copy(chaos) || !find_snapshot(node, meta, path) ||
        stat(path, &status) != 0 || !flip(chaos, path, 0, status.st_size)) {
        return false;
    }
    chaos->effect++;
    return cluster_start_node(&chaos->cluster, chaos->victim);
}

/* libraft has them in two files in turn. In the older one a bit matters only if it makes it the
 * newer one. */
static bool flip_vote(struct chaos *chaos)
{
    char path[MAX_PATH];

    if (!chaos_choose_follower(chaos) || !kill_and_keep_copy(chaos)) {
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/raft/metadata%u", victim_of(chaos)->data_directory,
                   1 + chaos_draw(chaos, 2));
    if (!flip(chaos, path, 0, VOTE_BYTES)) {
        return false;
    }
    chaos->effect++;
    return cluster_start_node(&chaos->cluster, chaos->victim);
}

/* It ended with a reason, or takes part and lacks nothing, which the history shows. */
static bool restore_if_it_ended(struct chaos *chaos, const char *reason)
{
    struct cluster_node *node = &chaos->cluster.nodes[chaos->victim];

    if (process_wait(&node->process, NOTICE_MS)) {
        return process_exited_with(&node->process, STATUS_DAMAGED) &&
               cluster_log_has(node, reason) && restore_all(chaos);
    }
    (void)printf("  n%u takes part\n", chaos->victim + 1);
    chaos->is_down[chaos->victim] = false;
    return cluster_wait_node_ready(&chaos->cluster, chaos->victim, CLUSTER_READY_MS) &&
           process_run(node->log_path, "rm -rf %s.kept", node->data_directory);
}

static bool restore_snapshot(struct chaos *chaos)
{
    return restore_if_it_ended(chaos, "snapshot pointer");
}

static bool restore_vote(struct chaos *chaos)
{
    return restore_if_it_ended(chaos, "remove the data directory");
}

/* --- The state --- */

/* In the text of each event and item that the load wrote, as it stands in the file @fd, let a digit
 * become another. Gives their number. */
static unsigned flip_records(int fd)
{
    static const char before[] = "\"n\":";
    const size_t size = sizeof before - 1;
    struct stat status;
    unsigned n = 0;
    char *bytes;
    char *at;

    if (fstat(fd, &status) != 0 || status.st_size == 0) {
        return 0;
    }
    bytes = malloc((size_t)status.st_size + 1);
    if (bytes == NULL || pread(fd, bytes, (size_t)status.st_size, 0) != status.st_size) {
        free(bytes);
        return 0;
    }
    bytes[status.st_size] = '\0';
    at = bytes;
    while ((at = memmem(at, (size_t)(bytes + status.st_size - at), before, size)) != NULL) {
        at += size;
        *at ^= 1;
        n += pwrite(fd, at, 1, at - bytes) == 1;
    }
    free(bytes);
    return n;
}

static unsigned flip_records_of(const struct cluster_node *node)
{
    char path[MAX_PATH];
    unsigned n;
    int fd;

    (void)snprintf(path, sizeof path, "%s/state/data.mdb", node->data_directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    n = flip_records(fd);
    (void)close(fd);
    return n;
}

/* As the daemon counts what is flushed: a flush that a kill interrupts leaves pages in the file
 * that are not part of it. */
static bool state_has_records(void *data)
{
    uint64_t records = 0;

    return cluster_metric(data, "holdfast_store_records", &records) && records > MIN_RECORDS;
}

static bool flip_state(struct chaos *chaos)
{
    struct cluster_node *node;
    unsigned n;

    if (!chaos_choose_follower(chaos)) {
        return false;
    }
    /* What was executed gets into the state's file some time later. */
    node = &chaos->cluster.nodes[chaos->victim];
    if (!wait_until(state_has_records, node, COMMITTED_MS) || !kill_and_keep_copy(chaos)) {
        return false;
    }
    n = flip_records_of(node);
    chaos->effect += n;
    (void)printf("  a bit of each of %u records in %s/state\n", n, node->data_directory);
    return n > 0 && cluster_start_node(&chaos->cluster, chaos->victim);
}

struct reading {
    struct cluster_node *node;
    bool served;
};

/* Ask for damaged records until it ended. */
static bool has_ended_when_asked(void *data)
{
    struct reading *reading = data;
    struct http_client client = cluster_client(reading->node);
    struct http_response response = {0};

    client.timeout_ms = ASK_MS;
    if (http_call(&client, &response, "GET",
                  "/v1/namespaces/default/sessions/shared/events?order=asc&limit=20", NULL,
                  NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        reading->served = true;
    }
    http_response_close(&response);
    http_client_close(&client);
    return reading->served || !process_is_alive(&reading->node->process);
}

/* It must have ended when it came upon one, and not have shown it. */
static bool was_noticed(struct chaos *chaos)
{
    struct reading reading = {.node = &chaos->cluster.nodes[chaos->victim]};

    if (!wait_until(has_ended_when_asked, &reading, NOTICE_MS) || reading.served ||
        !process_exited_with(&reading.node->process, STATUS_DAMAGED)) {
        (void)fprintf(stderr, "damaged records were %s; status %d\n",
                      reading.served ? "served" : "not noticed", reading.node->process.status);
        return false;
    }
    return true;
}

static bool restore_state(struct chaos *chaos)
{
    const struct cluster_node *node = &chaos->cluster.nodes[chaos->victim];
    const char *directory = node->data_directory;

    return was_noticed(chaos) &&
           process_run(node->log_path,
                       "rm -rf %s/state %s/damaged && mv %s.kept/state %s/state && rm -rf %s.kept",
                       directory, directory, directory, directory, directory);
}

/* As docs/operations.md says. */
static bool replace_node(struct chaos *chaos)
{
    const struct cluster_node *node = &chaos->cluster.nodes[chaos->victim];

    if (!was_noticed(chaos) ||
        !process_run(node->log_path, "rm -rf %s.kept", node->data_directory)) {
        return false;
    }
    member_forget(&chaos->cluster, chaos->victim);
    member_join_anew(&chaos->cluster, chaos->victim);
    return true;
}

const struct nemesis bit_nemeses[] = {
    {.name = "bit-log",
     .does = "a bit of a follower's log is flipped while it is off",
     .effect = "bits flipped",
     .begin = flip_log,
     .end = restore_all,
     .hold_ms = 1000,
     .keeps_majority = true},
    {.name = "bit-snapshot",
     .does = "a bit of a follower's snapshot pointer is flipped while it is off",
     .effect = "bits flipped",
     .begin = flip_snapshot,
     .end = restore_snapshot,
     .hold_ms = 1000,
     .keeps_majority = true},
    {.name = "bit-vote",
     .does = "a bit of a follower's term or vote is flipped while it is off",
     .effect = "bits flipped",
     .begin = flip_vote,
     .end = restore_vote,
     .hold_ms = 1000,
     .keeps_majority = true},
    {.name = "bit-state",
     .does = "a bit of many records of a follower's state is flipped while it is off",
     .effect = "bits flipped",
     .scrubs_not = true,
     .begin = flip_state,
     .end = restore_state,
     .hold_ms = 3000,
     .keeps_majority = true},
    {.name = "bit-replace",
     .does = "the same, and the node is removed, wiped, and joins anew",
     .effect = "bits flipped",
     .scrubs_not = true,
     .begin = flip_state,
     .end = replace_node,
     .hold_ms = 1000,
     .keeps_majority = true},
    {.name = NULL},
};
