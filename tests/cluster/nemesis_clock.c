/* Wall clocks that jump. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/cluster/nemesis.h"

#define HOUR_S 3600

bool clock_set(const struct cluster_node *node, long long shift_s)
{
    int64_t shift = shift_s;
    int fd = open(node->clock_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool set = fd >= 0 && ftruncate(fd, 2 * sizeof shift) == 0 &&
               pwrite(fd, &shift, sizeof shift, 0) == (ssize_t)sizeof shift;

    return fd >= 0 && close(fd) == 0 && set;
}

uint64_t clock_seen(const struct cluster_node *node)
{
    int fd = open(node->clock_path, O_RDONLY | O_CLOEXEC);
    int64_t count = 0;

    if (fd < 0 || pread(fd, &count, sizeof count, sizeof count) != (ssize_t)sizeof count) {
        count = 0;
    }
    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    return (uint64_t)count;
}

static uint64_t seen_by_all(const struct chaos *chaos)
{
    uint64_t seen = 0;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        seen += clock_seen(&chaos->cluster.nodes[i]);
    }
    return seen;
}

/* They begin where they were; set_right() counts what is more. */
static bool begin_counting(struct chaos *chaos)
{
    chaos->effect = seen_by_all(chaos);
    return true;
}

static bool shift_leader(struct chaos *chaos)
{
    long long shift = chaos_draw(chaos, 2) == 0 ? HOUR_S : -HOUR_S;

    return begin_counting(chaos) && chaos_choose_leader(chaos) &&
           clock_set(&chaos->cluster.nodes[chaos->victim], shift);
}

static bool shift_follower(struct chaos *chaos)
{
    long long shift = chaos_draw(chaos, 2) == 0 ? HOUR_S : -HOUR_S;

    return begin_counting(chaos) && chaos_choose_follower(chaos) &&
           clock_set(&chaos->cluster.nodes[chaos->victim], shift);
}

/* Nobody agrees with anybody, and then the leader changes. */
static bool shift_all(struct chaos *chaos)
{
    if (!begin_counting(chaos) || !clock_set(&chaos->cluster.nodes[0], HOUR_S) ||
        !clock_set(&chaos->cluster.nodes[1], -HOUR_S) || !chaos_choose_leader(chaos)) {
        return false;
    }
    chaos_kill(chaos, chaos->victim);
    return true;
}

static bool set_right(struct chaos *chaos)
{
    bool set = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        set = clock_set(&chaos->cluster.nodes[i], 0) && set;
    }
    chaos->effect = seen_by_all(chaos) - chaos->effect;
    return set;
}

#define CLOCK                                                                                      \
    .effect = "wrong times told", .end = set_right, .hold_ms = 3000, .needs = NEEDS_CLOCKS,        \
    .keeps_majority = true

const struct nemesis clock_nemeses[] = {
    {.name = "clock-leader",
     .does = "the leader's clock is an hour off",
     .begin = shift_leader,
     CLOCK},
    {.name = "clock-follower",
     .does = "a follower's clock is an hour off",
     .begin = shift_follower,
     CLOCK},
    {.name = "clock-all",
     .does = "the clocks are two hours apart, and the leader is killed",
     .begin = shift_all,
     CLOCK},
    {.name = NULL},
};
