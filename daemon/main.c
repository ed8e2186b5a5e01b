/* The process: settings, log, signals, and the parts put together.
 *
 * 1. Settings are read and the process is prepared (signals, descriptors, libuv's pool).
 * 2. The node opens its data directory and joins or forms the cluster, on threads of its own.
 * 3. The server opens its port; from now on clients are answered.
 * 4. The main thread waits for a signal, or for the node's word that it cannot go on.
 * 5. The server stops accepting and answers what is in flight; the node hands leadership over,
 *    finishes, syncs and closes.
 *
 * What can go wrong: a failure before 4 is told and ends the process with 1. A node that cannot go
 * on ends it with a status that tells the supervisor whether a restart cures it. The state is read
 * through a map of its file: where the disk cannot read a page, there is no error but SIGBUS, which
 * is told like one. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/server.h"
#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/join.h"
#include "daemon/options.h"
#include "raft/node.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"
#include "storage/feature.h"

/* In docs/operations.md. */
enum exit_status {
    EXIT_FAILED = 1,   /* Could not start, or something outside failed; the log says what. */
    EXIT_USAGE = 2,    /* A setting is wrong. */
    EXIT_DAMAGED = 3,  /* The data directory cannot be trusted: a restart does not cure it. */
    EXIT_REMOVED = 4,  /* No member any more: a restart does not cure it. */
    EXIT_OUTDATED = 5, /* The cluster has features that only a later version knows. */
};

/* Requests in flight get this long to be answered when the process is asked to end. */
#define ANSWER_TIMEOUT_MS 2000

/* The last resort, should a part not end as it promises. */
#define SHUTDOWN_LIMIT_S 5

struct process {
    pthread_t main_thread;
    atomic_bool ending; /* The node said that it cannot go on. */
    enum node_exit why; /* Written before ending is set. */
};

/* --- Pages that cannot be read --- */

#define UNREADABLE                                                                                 \
    "a page of the state's file could not be read: the disk gives errors, or the file was cut "    \
    "short; look at the disk before this node is started again"

static pthread_t told_thread; /* Written before the handler is set. */
static atomic_bool is_unreadable;

/* In the thread that wanted to read, which cannot go on. What is called here is allowed in a signal
 * handler (POSIX). */
static void on_bus_error(int number)
{
    static const char text[] = "holdfastd: " UNREADABLE "\n";
    const struct timespec rest = {.tv_sec = 1};

    (void)number;
    if (pthread_equal(pthread_self(), told_thread)) {
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0) {
            _exit(EXIT_FAILED); /* Nobody is told, then. */
        }
        _exit(EXIT_FAILED);
    }
    atomic_store(&is_unreadable, true);
    (void)pthread_kill(told_thread, SIGUSR1); /* Cannot fail: it runs to the end. */
    for (;;) {
        (void)nanosleep(&rest, NULL); /* The process ends meanwhile. */
    }
}

static void catch_bus_errors(void)
{
    struct sigaction action = {.sa_handler = on_bus_error};

    told_thread = pthread_self();
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
}

/* Any thread of the node. */
static void on_node_exit(void *data, enum node_exit why, const struct error *error)
{
    struct process *process = data;

    if (why == NODE_EXIT_RELOAD) {
        log_info("daemon", "%s", error->text);
    } else {
        log_error("daemon", "%s", error->text);
    }
    if (!atomic_load(&process->ending)) {
        process->why = why;
        atomic_store(&process->ending, true);
    }
    CHECK(pthread_kill(process->main_thread, SIGUSR1) == 0);
}

static int exit_status_of(enum node_exit why)
{
    switch (why) {
    case NODE_EXIT_DAMAGED:
        return EXIT_DAMAGED;
    case NODE_EXIT_REMOVED:
        return EXIT_REMOVED;
    case NODE_EXIT_OUTDATED:
        return EXIT_OUTDATED;
    case NODE_EXIT_RESTART:
    case NODE_EXIT_RELOAD: /* If the program could not start itself. */
        return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

/* The signals that the main thread waits for; blocked in every thread, as they are started later.
 */
static void block_signals(sigset_t *awaited)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    CHECK(sigemptyset(awaited) == 0);
    CHECK(sigaddset(awaited, SIGTERM) == 0);
    CHECK(sigaddset(awaited, SIGINT) == 0);
    CHECK(sigaddset(awaited, SIGUSR1) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, awaited, NULL) == 0);
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

/* Each client and peer is a descriptor; take as many as the system gives. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_warn("daemon", "could not read the limit of open files: %s", strerror(errno));
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_warn("daemon", "could not raise the limit of open files: %s", strerror(errno));
    }
}

/* libraft flushes on libuv's pool, which is sized at its first use. */
static void size_thread_pool(void)
{
    if (setenv("UV_THREADPOOL_SIZE", "8", 0) != 0) {
        log_warn("daemon", "could not size the thread pool: %s", strerror(errno));
    }
}

static enum status open_parts(const struct options *options, struct process *process,
                              struct node **node, struct server **server, struct error *error)
{
    const struct node_options node_options = {
        .name = options->name,
        .data_directory = options->data_directory,
        .peer_address = options->peer_address,
        .peer_advertise = options->peer_advertise,
        .api_address =
            options->api_advertise == NULL ? options->api_address : options->api_advertise,
        .initial_cluster = options->initial_cluster,
        .joins = options->join != NULL,
        .zone = options->zone,
        .target_voters = (unsigned)options->target_voters,
        .replace_dead_ms = options->replace_dead_s * 1000,
        .version = HOLDFAST_VERSION,
        .feature_level = FEATURE_LEVEL,
        .shown_level = (unsigned)options->feature_level,
        .transfer_rate = options->transfer_rate_bytes,
        .allow_insecure_peers = options->allow_insecure_peers,
        .election_timeout_ms = (unsigned)options->election_timeout_ms,
        .heartbeat_ms = (unsigned)options->heartbeat_ms,
        .free_disk_floor_bytes = options->free_disk_floor_bytes,
        .scrub_interval_s = options->scrub_interval_s,
        .archive = options->archive,
        .archive_key_file = options->archive_key_file,
        .archive_delta_ms = options->archive_interval_s * 1000,
        .archive_full_ms = options->archive_full_interval_s * 1000,
        .archive_retention_days = (unsigned)options->archive_retention_days,
        .archive_local_bytes = options->archive_local_bytes,
        .mirror = options->mirror,
        .data = process,
        .on_exit = on_node_exit,
    };
    struct server_options server_options = {
        .address = options->api_address,
        .metrics_address = options->metrics_address,
        .threads = (unsigned)options->api_threads,
        .max_connections = (unsigned)options->max_connections,
        .name = options->name,
        .version = HOLDFAST_VERSION,
    };
    enum status status = node_open(&node_options, node, error);

    if (status != STATUS_OK) {
        return status;
    }
    server_options.node = *node;
    server_options.store = node_store(*node);
    status = server_open(&server_options, server, error);
    if (status != STATUS_OK) {
        node_close(*node);
    }
    return status;
}

/* Start this program again, as this process. What it holds is marked to close by that, its locks
 * with it; its threads end. Returns if that failed. */
static void start_again(char **argv)
{
    (void)execv("/proc/self/exe", argv);
    log_error("daemon", "could not start again: %s", strerror(errno));
}

/* A node that joins asks the members that it was told of, or remembers. */
static enum status open_join(const struct options *options, struct process *process,
                             struct node *node, struct join **join, struct error *error)
{
    const char *remembered = node_join_addresses(node);
    const struct join_options join_options = {
        .node = node,
        .members = options->join != NULL ? options->join : remembered,
        .name = options->name,
        .peer_address =
            options->peer_advertise == NULL ? options->peer_address : options->peer_advertise,
        .api_address =
            options->api_advertise == NULL ? options->api_address : options->api_advertise,
        .zone = options->zone,
        .role = options->role,
        .data = process,
        .on_refused = on_node_exit,
    };

    if (options->join == NULL && remembered[0] == '\0') {
        return STATUS_OK;
    }
    return join_open(&join_options, join, error);
}

/* Could not be started, or not be kept. */
static int exit_status_of_error(const struct error *error)
{
    switch (error->status) {
    case STATUS_CORRUPT:
        return EXIT_DAMAGED;
    case STATUS_CLOSED:
        return EXIT_REMOVED;
    case STATUS_UNSUPPORTED:
        return EXIT_OUTDATED;
    default:
        return EXIT_FAILED;
    }
}

static int run(const struct options *options, const sigset_t *awaited, char **argv)
{
    struct process process = {.main_thread = pthread_self()};
    struct server *server;
    struct join *join = NULL;
    struct node *node;
    struct error error;
    int received;

    if (open_parts(options, &process, &node, &server, &error) != STATUS_OK) {
        log_error("daemon", "%s", error.text);
        return exit_status_of_error(&error);
    }
    if (open_join(options, &process, node, &join, &error) != STATUS_OK) {
        log_error("daemon", "%s", error.text);
        _exit(EXIT_FAILED); /* Nothing has begun that would have to end. */
    }
    log_info("daemon", "started version=%s api=%s peer=%s", HOLDFAST_VERSION, options->api_address,
             options->peer_address);

    CHECK(sigwait(awaited, &received) == 0);
    if (atomic_load(&is_unreadable)) {
        log_error("daemon", "%s", UNREADABLE);
        _exit(EXIT_FAILED);
    }
    if (atomic_load(&process.ending)) {
        /* Nothing that the node says can be trusted any more; what is in flight stays open for its
         * clients, who ask another node. */
        if (process.why == NODE_EXIT_RELOAD) {
            start_again(argv);
        }
        _exit(exit_status_of(process.why));
    }
    log_info("daemon", "ending signal=%d", received);
    (void)alarm(SHUTDOWN_LIMIT_S); /* Gives what was left of an earlier one: none. */
    join_close(join);
    server_drain(server);
    server_close(server, ANSWER_TIMEOUT_MS);
    node_close(node);
    log_info("daemon", "ended");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    enum options_action action = OPTIONS_RUN;
    struct options options;
    struct error error;
    sigset_t awaited;
    int result;

    if (options_parse(argc, argv, &options, &action, &error) != STATUS_OK) {
        (void)fprintf(stderr, "holdfastd: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (options.join != NULL && join_check(options.join, &error) != STATUS_OK) {
        (void)fprintf(stderr, "holdfastd: --join: %s\n", error.text);
        options_close(&options);
        return EXIT_USAGE;
    }
    if (options.archive != NULL && archive_check(options.archive, &error) != STATUS_OK) {
        (void)fprintf(stderr, "holdfastd: --archive: %s\n", error.text);
        options_close(&options);
        return EXIT_USAGE;
    }
    if (options.mirror != NULL && mirror_check(options.mirror, &error) != STATUS_OK) {
        (void)fprintf(stderr, "holdfastd: --mirror: %s\n", error.text);
        options_close(&options);
        return EXIT_USAGE;
    }
    switch (action) {
    case OPTIONS_HELP:
        options_print_help();
        result = EXIT_SUCCESS;
        break;
    case OPTIONS_VERSION:
        (void)puts("holdfastd " HOLDFAST_VERSION);
        result = EXIT_SUCCESS;
        break;
    case OPTIONS_CHECK:
        (void)puts("the settings are valid");
        result = EXIT_SUCCESS;
        break;
    case OPTIONS_RUN:
    default:
        log_configure(options.log_level, options.log_format);
        log_set_node(options.name);
        block_signals(&awaited);
        catch_bus_errors();
        raise_descriptor_limit();
        size_thread_pool();
        result = run(&options, &awaited, argv);
        break;
    }
    options_close(&options);
    return result;
}
