/* Processes that are killed, stopped and restarted. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/cluster/nemesis.h"
#include "tests/lib/deadline.h"

#define TERM_MS 20000
#define STOP_MS 2000

/* Those that this killed: they did not end by themselves before. */
static bool count_killed(struct chaos *chaos)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        int status = chaos->cluster.nodes[i].process.status;

        chaos->effect +=
            chaos->is_down[i] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 1 : 0;
    }
    return true;
}

static bool kill_leader(struct chaos *chaos)
{
    if (!chaos_choose_leader(chaos)) {
        return false;
    }
    chaos_kill(chaos, chaos->victim);
    return count_killed(chaos);
}

static bool kill_follower(struct chaos *chaos)
{
    if (!chaos_choose_follower(chaos)) {
        return false;
    }
    chaos_kill(chaos, chaos->victim);
    return count_killed(chaos);
}

static bool kill_all(struct chaos *chaos)
{
    chaos_kill_all(chaos);
    return count_killed(chaos) && chaos->effect == CLUSTER_NODES;
}

/* The state is behind the name in parentheses: proc(5). */
static bool is_stopped(void *data)
{
    const struct process *process = data;
    char path[40];
    char state = '?';
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process->pid);
    file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) {
            state = '?';
        }
        (void)fclose(file); /* Only read. */
    }
    return state == 'T';
}

static bool stop_node(struct chaos *chaos, unsigned node)
{
    struct process *process = &chaos->cluster.nodes[node].process;

    return process_signal(process, SIGSTOP) && wait_until(is_stopped, process, STOP_MS);
}

/* It counts if it stood still to the end. */
static bool continue_node(struct chaos *chaos, unsigned node)
{
    struct process *process = &chaos->cluster.nodes[node].process;

    chaos->effect += is_stopped(process) ? 1 : 0;
    return process_signal(process, SIGCONT);
}

static bool stop_victim(struct chaos *chaos)
{
    return stop_node(chaos, chaos->victim);
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
    return continue_node(chaos, chaos->victim);
}

static bool stop_all(struct chaos *chaos)
{
    bool stopped = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        stopped = stop_node(chaos, i) && stopped;
    }
    return stopped;
}

static bool continue_all(struct chaos *chaos)
{
    bool continued = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        continued = continue_node(chaos, i) && continued;
    }
    return continued && chaos->effect == CLUSTER_NODES;
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
        chaos->effect++;
    }
    return true;
}

const struct nemesis process_nemeses[] = {
    {.name = "kill-leader",
     .does = "SIGKILL of the leader",
     .effect = "processes killed",
     .begin = kill_leader,
     .hold_ms = 2000,
     .keeps_majority = true},
    {.name = "kill-follower",
     .does = "SIGKILL of a follower",
     .effect = "processes killed",
     .begin = kill_follower,
     .hold_ms = 2000,
     .keeps_majority = true},
    {.name = "kill-all",
     .does = "SIGKILL of all nodes",
     .effect = "processes killed",
     .begin = kill_all,
     .hold_ms = 500},
    {.name = "stop-leader",
     .does = "SIGSTOP of the leader, then SIGCONT",
     .effect = "processes stopped all the time",
     .begin = stop_leader,
     .end = continue_victim,
     .hold_ms = 4000,
     .keeps_majority = true},
    {.name = "stop-follower",
     .does = "SIGSTOP of a follower, then SIGCONT",
     .effect = "processes stopped all the time",
     .begin = stop_follower,
     .end = continue_victim,
     .hold_ms = 4000,
     .keeps_majority = true},
    {.name = "stop-all",
     .does = "SIGSTOP of all nodes, then SIGCONT",
     .effect = "processes stopped all the time",
     .begin = stop_all,
     .end = continue_all,
     .hold_ms = 3000},
    {.name = "rolling-restart",
     .does = "SIGTERM and restart of each node in turn",
     .effect = "nodes restarted",
     .begin = restart_each,
     .hold_ms = 500,
     .keeps_majority = true},
    {.name = NULL},
};
