/* Processes that are killed, stopped and restarted. */
#include <signal.h>

#include "tests/cluster/nemesis.h"

#define TERM_MS 20000

static bool kill_leader(struct chaos *chaos)
{
    if (!chaos_choose_leader(chaos)) {
        return false;
    }
    chaos_kill(chaos, chaos->victim);
    return true;
}

static bool kill_follower(struct chaos *chaos)
{
    if (!chaos_choose_follower(chaos)) {
        return false;
    }
    chaos_kill(chaos, chaos->victim);
    return true;
}

static bool kill_all(struct chaos *chaos)
{
    chaos_kill_all(chaos);
    return true;
}

static bool stop_victim(struct chaos *chaos)
{
    return process_signal(&chaos->cluster.nodes[chaos->victim].process, SIGSTOP);
}

static bool stop_leader(struct chaos *chaos)
{
    return chaos_choose_leader(chaos) && stop_victim(chaos);
}

static bool stop_follower(struct chaos *chaos)
{
    return chaos_choose_follower(chaos) && stop_victim(chaos);
}

static bool continue_victim(struct chaos *chaos)
{
    return process_signal(&chaos->cluster.nodes[chaos->victim].process, SIGCONT);
}

static bool signal_all(struct chaos *chaos, int number)
{
    bool sent = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        sent = process_signal(&chaos->cluster.nodes[i].process, number) && sent;
    }
    return sent;
}

static bool stop_all(struct chaos *chaos)
{
    return signal_all(chaos, SIGSTOP);
}

static bool continue_all(struct chaos *chaos)
{
    return signal_all(chaos, SIGCONT);
}

/* As an administrator does it: one after the other, each ready before the next. */
static bool restart_each(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        struct process *process = &chaos->cluster.nodes[i].process;

        if (!process_signal(process, SIGTERM) || !process_wait(process, TERM_MS) ||
            !process_exited_with(process, 0) || !cluster_start_node(&chaos->cluster, i) ||
            !cluster_wait_ready(&chaos->cluster, CLUSTER_READY_MS)) {
            return false;
        }
    }
    return true;
}

const struct nemesis process_nemeses[] = {
    {.name = "kill-leader",
     .does = "SIGKILL of the leader",
     .begin = kill_leader,
     .hold_ms = 2000,
     .keeps_majority = true},
    {.name = "kill-follower",
     .does = "SIGKILL of a follower",
     .begin = kill_follower,
     .hold_ms = 2000,
     .keeps_majority = true},
    {.name = "kill-all", .does = "SIGKILL of all nodes", .begin = kill_all, .hold_ms = 500},
    {.name = "stop-leader",
     .does = "SIGSTOP of the leader, then SIGCONT",
     .begin = stop_leader,
     .end = continue_victim,
     .hold_ms = 4000,
     .keeps_majority = true},
    {.name = "stop-follower",
     .does = "SIGSTOP of a follower, then SIGCONT",
     .begin = stop_follower,
     .end = continue_victim,
     .hold_ms = 4000,
     .keeps_majority = true},
    {.name = "stop-all",
     .does = "SIGSTOP of all nodes, then SIGCONT",
     .begin = stop_all,
     .end = continue_all,
     .hold_ms = 3000},
    {.name = "rolling-restart",
     .does = "SIGTERM and restart of each node in turn",
     .begin = restart_each,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = NULL},
};
