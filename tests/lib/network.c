#include "tests/lib/network.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define HOLDER_MS 5000
#define SUBNET    "10.77.0"

bool network_enter(const char **why)
{
    if (geteuid() != 0) {
        *why = "it needs root, for network namespaces";
    } else if (!process_run("/dev/null",
                            "command -v ip && command -v iptables && command -v nsenter")) {
        *why = "ip(8), iptables(8) or nsenter(1) is missing (iproute2, iptables, util-linux)";
    } else if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        *why = "the kernel gives no namespaces";
    } else if (!process_run("/dev/null",
                            "ip link set lo up && ip link add hf type bridge && "
                            "ip addr add " SUBNET ".254/24 dev hf && ip link set hf up && "
                            "iptables -w -m statistic --help")) {
        *why = "ip(8) can make no bridge, or iptables(8) has no module \"statistic\"";
    } else {
        return true;
    }
    return false;
}

struct separation {
    pid_t pid;
};

/* The holder has a namespace of its own once unshare(1) has become sleep(1). */
static bool is_separate(void *data)
{
    const struct separation *separation = data;
    char path[64];
    struct stat own;
    struct stat its;

    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)separation->pid);
    return stat("/proc/self/ns/net", &own) == 0 && stat(path, &its) == 0 &&
           own.st_ino != its.st_ino;
}

static bool open_namespace(struct network *network, unsigned i)
{
    const char *arguments[] = {"/usr/bin/unshare", "--net", "sleep", "infinity", NULL};
    struct cluster_node *node = &network->cluster->nodes[i];
    struct separation separation;

    if (!process_start(&network->holders[i], arguments, NULL, network->log_path)) {
        return false;
    }
    separation.pid = network->holders[i].pid;
    (void)snprintf(network->addresses[i], sizeof network->addresses[i], SUBNET ".%u", i + 1);
    (void)snprintf(network->targets[i], sizeof network->targets[i], "--net=/proc/%d/ns/net",
                   (int)separation.pid);
    node->address = network->addresses[i];
    node->launcher[0] = "/usr/bin/nsenter";
    node->launcher[1] = network->targets[i];
    node->launcher[2] = NULL;
    return wait_until(is_separate, &separation, HOLDER_MS) &&
           process_run(network->log_path,
                       "ip link add hf%u type veth peer name eth0 netns %d && "
                       "ip link set hf%u master hf up && nsenter %s sh -c 'ip link set lo up && "
                       "ip addr add %s/24 dev eth0 && ip link set eth0 up'",
                       i + 1, (int)separation.pid, i + 1, network->targets[i],
                       network->addresses[i]);
}

bool network_open(struct network *network, struct cluster *cluster)
{
    unsigned i;

    memset(network, 0, sizeof *network);
    network->cluster = cluster;
    (void)snprintf(network->log_path, sizeof network->log_path, "%s/network.log",
                   cluster->directory);
    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!open_namespace(network, i)) {
            return false;
        }
    }
    cluster_name_members(cluster);
    return true;
}

static bool redirect(struct network *network, unsigned from, unsigned to)
{
    return process_run(network->log_path,
                       "nsenter %s iptables -w -t nat -A OUTPUT -p tcp -d %s --dport %u "
                       "-j DNAT --to-destination " SUBNET ".254:%u",
                       network->targets[from], network->addresses[to],
                       network->cluster->nodes[to].peer_port,
                       network->relay.targets[to].relay_port);
}

bool network_relay(struct network *network, uint64_t seed)
{
    unsigned from;
    unsigned to;

    for (to = 0; to < CLUSTER_NODES; to++) {
        network->relay.targets[to].address = network->addresses[to];
        network->relay.targets[to].port = network->cluster->nodes[to].peer_port;
    }
    if (!relay_start(&network->relay, seed)) {
        return false;
    }
    for (from = 0; from < CLUSTER_NODES; from++) {
        for (to = 0; to < CLUSTER_NODES; to++) {
            if (from != to && !redirect(network, from, to)) {
                return false;
            }
        }
    }
    return true;
}

bool network_block(struct network *network, unsigned from, unsigned to)
{
    return process_run(network->log_path, "nsenter %s iptables -w -A INPUT -s %s -j DROP",
                       network->targets[to], network->addresses[from]);
}

static bool lose_from(struct network *network, unsigned from, unsigned to, unsigned percent)
{
    return process_run(network->log_path,
                       "nsenter %s iptables -w -A INPUT -s %s -m statistic --mode random "
                       "--probability 0.%02u -j DROP",
                       network->targets[to], network->addresses[from], percent);
}

bool network_lose(struct network *network, unsigned percent)
{
    unsigned from;
    unsigned to;

    for (from = 0; from < CLUSTER_NODES; from++) {
        for (to = 0; to < CLUSTER_NODES; to++) {
            if (from != to && !lose_from(network, from, to, percent)) {
                return false;
            }
        }
    }
    return true;
}

/* Lines of "PACKETS BYTES DROP ...". */
static bool add_drops(const char *path, struct network_drops *drops)
{
    FILE *file = fopen(path, "re");
    char line[256];

    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long packets;

        if (sscanf(line, "%llu %*u DROP", &packets) == 1 && strstr(line, " DROP ") != NULL) {
            drops->packets += packets;
            drops->idle_rules += packets == 0;
        }
    }
    return fclose(file) == 0;
}

bool network_count_drops(struct network *network, struct network_drops *drops)
{
    char path[sizeof network->log_path + 16];
    unsigned i;

    *drops = (struct network_drops){.packets = 0};
    (void)snprintf(path, sizeof path, "%s.drops", network->log_path);
    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!process_run(network->log_path, "nsenter %s iptables -w -nvxL INPUT > %s",
                         network->targets[i], path) ||
            !add_drops(path, drops)) {
            return false;
        }
    }
    return true;
}

bool network_heal(struct network *network)
{
    bool healed = true;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        healed = process_run(network->log_path, "nsenter %s iptables -w -F INPUT",
                             network->targets[i]) &&
                 healed;
    }
    return healed;
}

void network_close(struct network *network)
{
    unsigned i;

    relay_stop(&network->relay);
    for (i = 0; i < CLUSTER_NODES; i++) {
        /* The end of a namespace takes the link with it, but later: free the name now. */
        (void)process_run("/dev/null", "ip link del hf%u", i + 1);
        process_kill(&network->holders[i]);
    }
}
