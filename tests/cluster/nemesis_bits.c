/* A bit that a follower's disk got wrong while it was off. It has to notice, say so and stay down,
 * or never have needed that bit; the others go on.
 *
 * Afterwards it gets back what it had. A damaged log is found before the node takes part, so all of
 * the directory can go back. A damaged state may be found later: then only the state goes back,
 * and the log, which it has answered for since, brings the rest. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/cluster/nemesis.h"

#define NOTICE_MS      15000
#define STATUS_DAMAGED 3
#define MAX_PATH       400

static const struct cluster_node *victim_of(const struct chaos *chaos)
{
    return &chaos->cluster.nodes[chaos->victim];
}

static bool kill_and_keep_copy(struct chaos *chaos)
{
    const char *directory;

    if (!chaos_choose_follower(chaos)) {
        return false;
    }
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

    if (!kill_and_keep_copy(chaos)) {
        return false;
    }
    used = find_segment(victim_of(chaos), path);
    /* Not in the last batches: a bad one at the end looks like one that was torn. */
    if (used < 1024 || !flip(chaos, path, 8, used / 2) ||
        !cluster_start_node(&chaos->cluster, chaos->victim)) {
        return false;
    }
    process = &chaos->cluster.nodes[chaos->victim].process;
    return process_wait(process, NOTICE_MS) && process_exited_with(process, STATUS_DAMAGED);
}

static bool restore_all(struct chaos *chaos)
{
    const char *directory = victim_of(chaos)->data_directory;

    return process_run(victim_of(chaos)->log_path, "rm -rf %s && mv %s.kept %s", directory,
                       directory, directory);
}

static bool flip_state(struct chaos *chaos)
{
    char path[MAX_PATH];
    off_t used;
    int fd;

    if (!kill_and_keep_copy(chaos)) {
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/state/data.mdb", victim_of(chaos)->data_directory);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    used = fd < 0 ? 0 : used_size(fd);
    (void)close(fd);
    return used > 0 && flip(chaos, path, 0, used) &&
           cluster_start_node(&chaos->cluster, chaos->victim);
}

/* If it ended, then by saying that its state is damaged. */
static bool restore_state(struct chaos *chaos)
{
    struct process *process = &chaos->cluster.nodes[chaos->victim].process;
    const char *directory = victim_of(chaos)->data_directory;

    if (!process_is_alive(process) && !process_exited_with(process, STATUS_DAMAGED)) {
        (void)fprintf(stderr, "it ended with status %d\n", process->status);
        return false;
    }
    (void)printf("  the node %s\n", process->pid == 0 ? "refused" : "did not need it");
    chaos_kill(chaos, chaos->victim);
    return process_run(victim_of(chaos)->log_path,
                       "rm -rf %s/state %s/damaged && mv %s.kept/state %s/state && rm -rf %s.kept",
                       directory, directory, directory, directory, directory);
}

const struct nemesis bit_nemeses[] = {
    {.name = "bit-log",
     .does = "a bit of a follower's log is flipped while it is off",
     .begin = flip_log,
     .end = restore_all,
     .hold_ms = 1000,
     .keeps_majority = true},
    {.name = "bit-state",
     .does = "a bit of a follower's state is flipped while it is off",
     .begin = flip_state,
     .end = restore_state,
     .hold_ms = 3000,
     .keeps_majority = true},
    {.name = NULL},
};
