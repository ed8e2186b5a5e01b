#include "tests/lib/cluster.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/deadline.h"
#include "tests/lib/ports.h"

#define ASK_TIMEOUT_MS 2000
#define MAX_ARGUMENTS  36

static bool make_directory(struct cluster *cluster)
{
    const char *parent = getenv("TMPDIR");

    (void)snprintf(cluster->directory, sizeof cluster->directory, "%s/holdfast-cluster-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    return mkdtemp(cluster->directory) != NULL;
}

static bool open_node(struct cluster *cluster, unsigned i)
{
    struct cluster_node *node = &cluster->nodes[i];
    char base[CLUSTER_MAX_PATH];
    int n;

    (void)snprintf(node->name, sizeof node->name, "n%u", (i + 1) % 100);
    node->api_port = port_take();
    node->peer_port = port_take();
    n = snprintf(base, sizeof base, "%.120s/n%u", cluster->directory, i + 1);
    memcpy(node->data_directory, base, sizeof base);
    (void)snprintf(node->log_path, sizeof node->log_path, "%.140s.log", base);
    (void)snprintf(node->hold_path, sizeof node->hold_path, "%.140s.hold", base);
    (void)snprintf(node->fail_path, sizeof node->fail_path, "%.140s.fail", base);
    (void)snprintf(node->clock_path, sizeof node->clock_path, "%.140s.clock", base);
    node->initial_cluster = cluster->initial_cluster;
    node->address = "127.0.0.1";
    return node->api_port != 0 && node->peer_port != 0 && n < CLUSTER_MAX_PATH &&
           mkdir(node->data_directory, 0700) == 0;
}

void cluster_name_members(struct cluster *cluster)
{
    size_t used = 0;
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        const struct cluster_node *node = &cluster->nodes[i];

        used += (size_t)snprintf(cluster->initial_cluster + used,
                                 sizeof cluster->initial_cluster - used, "%s%s=%s:%u",
                                 i == 0 ? "" : ",", node->name, node->address, node->peer_port);
    }
}

bool cluster_open(struct cluster *cluster)
{
    unsigned i;

    memset(cluster, 0, sizeof *cluster);
    if (!make_directory(cluster)) {
        return false;
    }
    cluster->n_nodes = CLUSTER_NODES;
    for (i = 0; i < CLUSTER_NODES; i++) {
        if (!open_node(cluster, i)) {
            return false;
        }
    }
    cluster_name_members(cluster);
    return true;
}

bool cluster_open_more(struct cluster *cluster, unsigned n_nodes)
{
    for (; n_nodes > 0; n_nodes--) {
        struct cluster_node *node = &cluster->nodes[cluster->n_nodes];

        if (cluster->n_nodes == CLUSTER_MAX_NODES || !open_node(cluster, cluster->n_nodes)) {
            return false;
        }
        (void)snprintf(node->join, sizeof node->join, "http://127.0.0.1:%u",
                       cluster->nodes[0].api_port);
        atomic_store(&node->is_absent, true);
        cluster->n_nodes++;
    }
    return true;
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0;
}

bool cluster_start_node(struct cluster *cluster, unsigned i)
{
    struct cluster_node *node = &cluster->nodes[i];
    const char *daemon = node->daemon != NULL ? node->daemon : getenv("HOLDFASTD");
    unsigned prefix = 0;
    char api[32];
    char peer[32];
    char preload[CLUSTER_MAX_PATH + 16];
    char hold[CLUSTER_MAX_PATH + 32];
    char failing[CLUSTER_MAX_PATH + 32];
    char clock[CLUSTER_MAX_PATH + 32];
    const char *own[] = {
        daemon == NULL ? "./holdfastd" : daemon,
        "--name",
        node->name,
        "--data-dir",
        node->data_directory,
        "--api-address",
        api,
        "--peer-address",
        peer,
        node->join[0] == '\0' ? "--initial-cluster" : "--join",
        node->join[0] == '\0' ? node->initial_cluster : node->join,
        "--free-disk-floor",
        "16M",
        "--log-format",
        "text",
        is_loopback(node->address) ? NULL : "--allow-insecure-peers",
        NULL,
    };
    const char *arguments[MAX_ARGUMENTS];
    /* A daemon built with sanitizers: let another library come first, and do not count what it
     * keeps of freed memory. */
    const char *environment[] = {"ASAN_OPTIONS=verify_asan_link_order=0:quarantine_size_mb=8",
                                 hold,
                                 failing,
                                 clock,
                                 preload,
                                 NULL};

    (void)snprintf(api, sizeof api, "%s:%u", node->address, node->api_port);
    (void)snprintf(peer, sizeof peer, "%s:%u", node->address, node->peer_port);
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s",
                   cluster->preload == NULL ? "" : cluster->preload); /* Used if there is one. */
    (void)snprintf(hold, sizeof hold, "HOLDFAST_TEST_HOLD=%s", node->hold_path);
    (void)snprintf(failing, sizeof failing, "HOLDFAST_TEST_FAIL=%s", node->fail_path);
    (void)snprintf(clock, sizeof clock, "HOLDFAST_TEST_CLOCK=%s", node->clock_path);
    if (cluster->preload == NULL) {
        environment[4] = NULL;
    }
    while (prefix < CLUSTER_MAX_LAUNCHER && node->launcher[prefix] != NULL) {
        arguments[prefix] = node->launcher[prefix];
        prefix++;
    }
    memcpy(&arguments[prefix], own, sizeof own);
    while (arguments[prefix] != NULL) {
        prefix++;
    }
    for (i = 0; i < CLUSTER_MAX_EXTRA && node->extra[i] != NULL; i++) {
        arguments[prefix++] = node->extra[i];
    }
    arguments[prefix] = NULL;
    return process_start(&node->process, arguments, environment, node->log_path);
}

struct http_client cluster_client(const struct cluster_node *node)
{
    return (struct http_client){.port = node->api_port, .address = node->address};
}

static bool node_is_ready(void *data)
{
    struct cluster_node *node = data;
    struct http_client client = {
        .port = node->api_port, .timeout_ms = ASK_TIMEOUT_MS, .address = node->address};
    struct http_response response = {0};
    bool ready = http_call(&client, &response, "GET", "/readyz", NULL, NULL) == HTTP_ANSWERED &&
                 response.status == 200;

    http_response_close(&response);
    http_client_close(&client);
    return ready;
}

bool cluster_wait_node_ready(struct cluster *cluster, unsigned node, unsigned limit_ms)
{
    return wait_until(node_is_ready, &cluster->nodes[node], limit_ms);
}

static bool all_are_ready(void *data)
{
    struct cluster *cluster = data;
    unsigned i;

    for (i = 0; i < cluster->n_nodes; i++) {
        if (!atomic_load(&cluster->nodes[i].is_absent) && !node_is_ready(&cluster->nodes[i])) {
            return false;
        }
    }
    return true;
}

bool cluster_wait_ready(struct cluster *cluster, unsigned limit_ms)
{
    return wait_until(all_are_ready, cluster, limit_ms);
}

bool cluster_start(struct cluster *cluster)
{
    unsigned i;

    for (i = 0; i < cluster->n_nodes; i++) {
        if (!atomic_load(&cluster->nodes[i].is_absent) &&
            !process_is_alive(&cluster->nodes[i].process) && !cluster_start_node(cluster, i)) {
            return false;
        }
    }
    if (!cluster_wait_ready(cluster, CLUSTER_READY_MS)) {
        (void)fprintf(stderr, "not all nodes became ready: see %s\n", cluster->directory);
        return false;
    }
    return true;
}

void cluster_kill(struct cluster *cluster, unsigned node)
{
    process_kill(&cluster->nodes[node].process);
}

void cluster_kill_all(struct cluster *cluster)
{
    unsigned i;

    /* The signals first, the waiting after: at once is what is asked for. */
    for (i = 0; i < cluster->n_nodes; i++) {
        (void)process_signal(&cluster->nodes[i].process, SIGKILL); /* May be dead already. */
    }
    for (i = 0; i < cluster->n_nodes; i++) {
        process_kill(&cluster->nodes[i].process);
    }
}

json_t *cluster_view(const struct cluster_node *node)
{
    struct http_client client = {
        .port = node->api_port, .timeout_ms = ASK_TIMEOUT_MS, .address = node->address};
    struct http_response response = {0};
    json_t *view = NULL;

    if (http_call(&client, &response, "GET", "/v1/cluster", NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        view = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
    }
    http_response_close(&response);
    http_client_close(&client);
    return view;
}

bool cluster_metric(const struct cluster_node *node, const char *name, uint64_t *value)
{
    struct http_client client = {
        .port = node->api_port, .timeout_ms = ASK_TIMEOUT_MS, .address = node->address};
    struct http_response response = {0};
    const char *found = NULL;
    char line[80];

    (void)snprintf(line, sizeof line, "\n%s ", name);
    if (http_call(&client, &response, "GET", "/metrics", NULL, NULL) == HTTP_ANSWERED &&
        response.status == 200) {
        found = strstr((const char *)response.body.data, line);
    }
    if (found != NULL) {
        *value = strtoull(found + strlen(line), NULL, 10);
    }
    http_response_close(&response);
    http_client_close(&client);
    return found != NULL;
}

static bool leads_by_its_own_word(const struct cluster_node *node)
{
    json_t *view = cluster_view(node);
    const char *leader = json_string_value(json_object_get(view, "leader"));
    bool leads = leader != NULL && strcmp(leader, node->name) == 0;

    json_decref(view);
    return leads;
}

struct leader_search {
    struct cluster *cluster;
    unsigned except;
    unsigned found;
};

static bool leader_is_found(void *data)
{
    struct leader_search *search = data;
    unsigned i;

    for (i = 0; i < search->cluster->n_nodes; i++) {
        struct cluster_node *node = &search->cluster->nodes[i];

        if (i != search->except && process_is_alive(&node->process) &&
            leads_by_its_own_word(node)) {
            search->found = i;
            return true;
        }
    }
    return false;
}

unsigned cluster_find_leader(struct cluster *cluster, unsigned except, unsigned limit_ms)
{
    struct leader_search search = {.cluster = cluster, .except = except, .found = CLUSTER_NOBODY};

    (void)wait_until(leader_is_found, &search, limit_ms); /* The result tells. */
    return search.found;
}

struct comparison {
    struct cluster *cluster;
    char *text;
    size_t size;
    bool equal;
};

/* True once all answered with the same applied index; a hash that differs there never heals. */
static bool indexes_are_equal(void *data)
{
    struct comparison *comparison = data;
    const struct cluster *cluster = comparison->cluster;
    char first_hash[64] = "";
    json_int_t first = 0;
    bool same = true;
    size_t used = 0;
    unsigned i;

    comparison->equal = true;
    for (i = 0; i < cluster->n_nodes; i++) {
        json_t *view;
        const char *hash;
        json_int_t index;

        if (atomic_load(&cluster->nodes[i].is_absent)) {
            continue;
        }
        view = cluster_view(&cluster->nodes[i]);
        hash = json_string_value(json_object_get(view, "state_hash"));
        index = json_integer_value(json_object_get(view, "applied_index"));
        if (first == 0) {
            first = index;
            (void)snprintf(first_hash, sizeof first_hash, "%s", hash == NULL ? "" : hash);
        }
        same = same && index != 0 && index == first;
        comparison->equal = comparison->equal && hash != NULL && strcmp(hash, first_hash) == 0;
        used += (size_t)snprintf(
            comparison->text + used, used < comparison->size ? comparison->size - used : 0,
            "n%u: %lld %s; ", i + 1, (long long)index, hash == NULL ? "" : hash);
        used = used < comparison->size ? used : comparison->size;
        json_decref(view);
    }
    return same;
}

bool cluster_states_are_equal(struct cluster *cluster, char *text, size_t size)
{
    struct comparison comparison = {.cluster = cluster, .text = text, .size = size};

    return wait_until(indexes_are_equal, &comparison, CLUSTER_SETTLE_MS) && comparison.equal;
}

static bool make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    return fd >= 0 && close(fd) == 0;
}

bool cluster_hold_writes(struct cluster_node *node)
{
    return make_file(node->hold_path);
}

bool cluster_release_writes(struct cluster_node *node)
{
    return unlink(node->hold_path) == 0;
}

/* The library adds a byte for each to the file. */
unsigned cluster_held_writes(const struct cluster_node *node)
{
    struct stat status;

    return stat(node->hold_path, &status) == 0 ? (unsigned)status.st_size : 0;
}

bool cluster_break_disk(struct cluster_node *node, const char *what)
{
    char path[CLUSTER_MAX_PATH + 16];

    (void)snprintf(path, sizeof path, "%s%s", node->fail_path, what);
    return make_file(path);
}

bool cluster_mend_disk(struct cluster_node *node, const char *what)
{
    char path[CLUSTER_MAX_PATH + 16];

    (void)snprintf(path, sizeof path, "%s%s", node->fail_path, what);
    return unlink(path) == 0;
}

bool cluster_log_has(const struct cluster_node *node, const char *text)
{
    FILE *file = fopen(node->log_path, "re");
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;

    while (file != NULL && !found && getline(&line, &capacity, file) >= 0) {
        found = strstr(line, text) != NULL;
    }
    free(line);
    if (file != NULL) {
        (void)fclose(file); /* Only read. */
    }
    return found;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

bool remove_tree(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0;
}

void cluster_close(struct cluster *cluster, bool passed)
{
    cluster_kill_all(cluster);
    if (!passed || !remove_tree(cluster->directory)) {
        (void)fprintf(stderr, "logs and data are kept in %s\n", cluster->directory);
    }
}
