/* The shell around agreement: a thread with a loop.
 *
 * 1. node_open() opens what is on disk and listens. A member of a cluster takes part at once; an
 *    empty or pending node forms the cluster first.
 * 2. on_mail() gives agreement what other threads left. Results of execution never wait for this
 *    thread: they go home from the apply thread.
 * 3. on_prepare() and on_check() end each turn of the loop: agreement acts, frames leave.
 * 4. on_tick() moves the time, and publishes the status.
 * 5. node_close() asks the loop to leave, and waits.
 *
 * What can go wrong: whatever stops this node (a damaged disk, a log that was lost) is told by
 * on_exit(), once; damage is marked in the data directory before. */
#include "raft/node_private.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "raft/address.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"
#include "storage/image_spool.h"

#define TICK_MS               10
#define WANT_STATE_MS         100
#define LEAVE_MS              2000
#define ELECTION_TIMEOUT_MS   150
#define HEARTBEAT_MS          30
#define FREE_DISK_FLOOR_BYTES (256ull << 20)

uint64_t node_wall_ms(void)
{
    return clock_wall_ms();
}

/* --- Stopping for good --- */

/* Any thread. */
void node_exit_with(struct node *node, enum node_exit why, const struct error *error)
{
    struct error told;

    if (atomic_exchange(&node->has_exited, true)) {
        return; /* What follows from the first trouble is none of its own. */
    }
    if (error->status == STATUS_CLOSED && why == NODE_EXIT_REMOVED &&
        identity_mark_removed(node->directory, "it was removed from its cluster") != STATUS_OK) {
        log_error("node", "could not mark the data directory as of a removed node");
    }
    if (error->status != STATUS_CORRUPT) {
        node->options.on_exit(node->options.data, why, error);
        return;
    }
    if (identity_mark_damaged(node->directory, error->text) != STATUS_OK) {
        log_error("node", "could not mark the data directory as damaged");
    }
    (void)error_set(&told, STATUS_CORRUPT, "%.300s: " IDENTITY_WHAT_TO_DO, error->text);
    node->options.on_exit(node->options.data, why, &told);
}

/* What a failure of disk or state means for the supervisor. */
enum node_exit node_exit_of(enum status status)
{
    switch (status) {
    case STATUS_CORRUPT:
    case STATUS_MISMATCH:
        return NODE_EXIT_DAMAGED;
    case STATUS_UNSUPPORTED:
        return NODE_EXIT_OUTDATED;
    default:
        return NODE_EXIT_RESTART;
    }
}

static void on_store_damage(void *data, const char *what)
{
    struct error error;

    (void)error_set(&error, STATUS_CORRUPT, "the state is damaged: %s", what); /* Told below. */
    node_exit_with(data, NODE_EXIT_DAMAGED, &error);
}

static void on_applier_failure(void *data, const struct error *error)
{
    node_exit_with(data, node_exit_of(error->status), error);
}

/* --- The apply thread --- */

static void on_result(void *data, struct applied *work, uint32_t bundle, uint32_t command,
                      struct slice result)
{
    struct node *node = data;
    const struct committed_bundles *bundles = work->data;
    struct pending_bundle *own;
    struct submission *submission;

    if (bundles == NULL || bundle >= bundles->n_bundles) {
        return;
    }
    own = bundles->own[bundle];
    if (own == NULL || command >= own->n_submissions || own->submissions[command] == NULL) {
        return;
    }
    submission = own->submissions[command];
    own->submissions[command] = NULL; /* From now on it is its owner's. */
    inbox_result(&node->inbox, submission, result);
}

static void on_done(void *data, struct applied *work)
{
    struct node *node = data;

    inbox_executed(&node->inbox, work);
}

/* --- The status --- */

static void describe_transfer(struct node *node, struct node_status *status)
{
    struct state_transfer_statistics statistics;

    if (node->transfer == NULL) {
        return;
    }
    state_transfer_statistics(node->transfer, &statistics);
    status->receiving = statistics.receiving;
    agreement_set_receiving(node->agreement, &statistics.receiving);
    status->sent_state_bytes = statistics.sent_bytes;
    status->state_receivers = statistics.receivers;
}

static void publish_status(struct node *node)
{
    struct node_status *next = &node->next;

    memset(next, 0, sizeof *next);
    if (node->agreement != NULL) {
        describe_transfer(node, next); /* First: agreement tells it to the others. */
        agreement_status(node->agreement, node_now_ms(node), next);
        members_describe(node->members, next);
    } else {
        next->state = node->forming != NULL ? NODE_FORMING : NODE_JOINING;
        next->causes = node->forming != NULL ? NODE_CAUSE_FORMING : NODE_CAUSE_JOINING;
    }
    if (node->identity.is_joining) {
        next->causes |= NODE_CAUSE_JOINING;
    }
    if (node->is_leaving) {
        next->state = NODE_CLOSING;
        next->causes |= NODE_CAUSE_CLOSING;
    }
    inbox_pending(&node->inbox, &next->pending_commands, &next->pending_bytes);
    CHECK(pthread_mutex_lock(&node->status_mutex) == 0);
    node->status = *next;
    CHECK(pthread_mutex_unlock(&node->status_mutex) == 0);
}

void node_status(struct node *node, struct node_status *status)
{
    CHECK(pthread_mutex_lock(&node->status_mutex) == 0);
    *status = node->status;
    CHECK(pthread_mutex_unlock(&node->status_mutex) == 0);
}

/* --- The loop --- */

/* Without agreement: there is no cluster yet, or not any more. */
static void turn_away(struct node *node, struct queue *submissions, struct queue *reads,
                      struct queue *changes)
{
    enum status status = node->is_leaving ? STATUS_CLOSED : STATUS_NO_LEADER;
    struct link *link;

    while ((link = queue_pop(submissions)) != NULL) {
        struct submission *submission = CONTAINER_OF(link, struct submission, message.link);

        submission->status = status;
        inbox_answer(&node->inbox, submission);
    }
    while ((link = queue_pop(reads)) != NULL) {
        struct read_ticket *ticket = CONTAINER_OF(link, struct read_ticket, message.link);

        ticket->status = status;
        inbox_answer_read(&node->inbox, ticket);
    }
    while ((link = queue_pop(changes)) != NULL) {
        struct member_change *change = CONTAINER_OF(link, struct member_change, message.link);

        change->status = status;
        inbox_answer_change(&node->inbox, change);
    }
}

static void read_mail(struct node *node)
{
    struct queue submissions;
    struct queue reads;
    struct queue executed;
    struct queue changes;
    struct link *link;

    queue_init(&submissions);
    queue_init(&reads);
    queue_init(&executed);
    queue_init(&changes);
    inbox_take(&node->inbox, &submissions, &reads, &executed, &changes);
    if (node->agreement == NULL) {
        turn_away(node, &submissions, &reads, &changes);
        CHECK(queue_is_empty(&executed)); /* Only agreement has anything executed. */
        return;
    }
    while ((link = queue_pop(&executed)) != NULL) {
        agreement_executed(node->agreement, CONTAINER_OF(link, struct applied, link),
                           node_now_ms(node));
    }
    while ((link = queue_pop(&submissions)) != NULL) {
        agreement_submit(node->agreement, CONTAINER_OF(link, struct submission, message.link),
                         node_now_ms(node));
    }
    while ((link = queue_pop(&reads)) != NULL) {
        agreement_read(node->agreement, CONTAINER_OF(link, struct read_ticket, message.link),
                       node_now_ms(node));
    }
    while ((link = queue_pop(&changes)) != NULL) {
        agreement_change(node->agreement, CONTAINER_OF(link, struct member_change, message.link),
                         node_now_ms(node));
    }
}

static void on_mail(uv_async_t *async)
{
    read_mail(async->data);
}

/* The turn that it causes is all that is wanted. */
static void on_next_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void end_turn(struct node *node)
{
    unsigned wait_ms;

    if (node->agreement != NULL) {
        agreement_flush(node->agreement, node_now_ms(node));
        wait_ms = agreement_next_turn_ms(node->agreement);
        if (wait_ms != 0 && (!uv_is_active((uv_handle_t *)&node->next_turn) ||
                             uv_timer_get_due_in(&node->next_turn) > wait_ms)) {
            CHECK(uv_timer_start(&node->next_turn, on_next_turn, wait_ms, 0) == 0);
        }
    }
    peers_flush(node->peers);
}

static void on_prepare(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    end_turn(check->data);
}

static void leave(struct node *node)
{
    if (!node->is_leaving) {
        node->is_leaving = true;
        node->leave_until_ms = node_now_ms(node) + LEAVE_MS;
        if (node->agreement != NULL) {
            agreement_leave(node->agreement, node_now_ms(node));
        }
    }
    if (node->agreement == NULL || agreement_has_left(node->agreement) ||
        node_now_ms(node) >= node->leave_until_ms) {
        uv_stop(&node->loop);
    }
}

static void on_tick(uv_timer_t *ticker)
{
    struct node *node = ticker->data;

    read_mail(node);
    if (node->watcher != NULL) { /* All parts are there. */
        agreement_tick(node->agreement, node_now_ms(node), node_wall_ms(),
                       watcher_free_disk_bytes(node->watcher));
        if (node->ticks++ % (WANT_STATE_MS / TICK_MS) == 0) {
            node_want_state(node);
        }
        atomic_store(&node->is_state_urgent, agreement_is_state_urgent(node->agreement));
        node_update_members(node);
    }
    node_watch_joining(node);
    if (atomic_load(&node->is_closing)) {
        leave(node);
    }
    publish_status(node);
}

/* --- The end --- */

/* What libraft, and its work on libuv's pool, may still touch is kept to the end of the process,
 * where leak checkers find it. */
static pthread_mutex_t remains_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct node *remains;

static void keep_remains(struct node *node)
{
    CHECK(pthread_mutex_lock(&remains_mutex) == 0);
    node->next_remains = remains;
    remains = node;
    CHECK(pthread_mutex_unlock(&remains_mutex) == 0);
}

/* The loop does not run any more: without this the other side would keep its end. */
static void end_connection(uv_handle_t *handle, void *data)
{
    uv_os_fd_t fd;

    (void)data;
    if (uv_handle_get_type(handle) == UV_TCP && !uv_is_closing(handle) &&
        uv_fileno(handle, &fd) == 0) {
        (void)shutdown(fd, SHUT_RDWR); /* It may be gone already. */
    }
}

/* On the consensus thread, after its loop; or on the opening thread, if there never was one. */
static void finish(struct node *node)
{
    struct queue submissions;
    struct queue reads;
    struct queue executed;
    struct queue changes;
    struct link *link;

    node->is_leaving = true;
    watcher_stop(node->watcher);
    state_transfer_close(node->transfer);
    node->transfer = NULL;
    inbox_close(&node->inbox);
    if (node->applier != NULL) {
        applier_close(node->applier); /* Executes and answers what is committed. */
        node->applier = NULL;
    }
    read_mail(node);
    agreement_close(node->agreement); /* Answers the rest. */
    node->agreement = NULL;
    queue_init(&submissions);
    queue_init(&reads);
    queue_init(&executed);
    queue_init(&changes);
    inbox_take(&node->inbox, &submissions, &reads, &executed, &changes);
    turn_away(node, &submissions, &reads, &changes);
    while ((link = queue_pop(&executed)) != NULL) {
        struct applied *work = CONTAINER_OF(link, struct applied, link);

        buffer_close(&work->entry);
        free(work);
    }
    mailbox_drain(&node->home);
    forming_close(node->forming);
    invitation_close(node->invitation);
    node->invitation = NULL;
    if (node->transport != NULL) {
        transport_abandon(node->transport);
    }
    if (node->peers != NULL) {
        peers_close(node->peers, NULL);
    }
    uv_walk(&node->loop, end_connection, NULL);
    publish_status(node);
}

static void *run(void *data)
{
    struct node *node = data;

    thread_set_name("consensus");
    thread_ignore_broken_pipes();
    (void)uv_run(&node->loop, UV_RUN_DEFAULT); /* Until uv_stop(). */
    finish(node);
    return NULL;
}

/* --- Life --- */

/* The loop is at its end, or there is none. */
static void release(struct node *node)
{
    if (node->applier != NULL) {
        applier_close(node->applier);
    }
    watcher_close(node->watcher);
    members_close(node->members);
    image_spools_close(node->spools);
    membership_table_close(&node->table);
    mirror_close(node->mirror);
    archive_close(node->archive);
    journal_close(node->journal);
    store_close(node->store);
    identity_close(node->directory);
    free(node->name);
    free(node->data_directory);
    free(node->peer_address);
    free(node->api_address);
    free(node->version);
    free(node->zone);
    buffer_close(&node->join_addresses);
    CHECK(pthread_mutex_destroy(&node->status_mutex) == 0);
    if (node->has_loop) {
        keep_remains(node);
    } else {
        free(node);
    }
}

static enum status copy_options(struct node *node, const struct node_options *options,
                                struct error *error)
{
    const char *announced =
        options->peer_advertise != NULL ? options->peer_advertise : options->peer_address;
    char text[LIMIT_ADDRESS_BYTES + 1];
    struct address address;
    enum status status = address_parse(slice_of_string(announced), &address, error);

    node->options = *options;
    node->name = memory_copy_string(options->name);
    node->data_directory = memory_copy_string(options->data_directory);
    node->api_address = memory_copy_string(options->api_address);
    node->version = memory_copy_string(options->version);
    node->zone = options->zone == NULL ? NULL : memory_copy_string(options->zone);
    if (options->election_timeout_ms == 0) {
        node->options.election_timeout_ms = ELECTION_TIMEOUT_MS;
    }
    if (options->shown_level == 0) {
        node->options.shown_level = options->feature_level;
    }
    if (options->heartbeat_ms == 0) {
        node->options.heartbeat_ms = HEARTBEAT_MS;
    }
    if (options->free_disk_floor_bytes == 0) {
        node->options.free_disk_floor_bytes = FREE_DISK_FLOOR_BYTES;
    }
    if (status != STATUS_OK) {
        return error_prefix(error, "peer address");
    }
    address_format(&address, text);
    node->peer_address = memory_copy_string(text);
    return STATUS_OK;
}

static void list_join_addresses(struct node *node)
{
    const struct identity *identity = &node->identity;

    for (unsigned i = 0; identity->is_joining && i < identity->n_members; i++) {
        if (identity->members[i].id != identity->id &&
            identity->members[i].api_address[0] != '\0') {
            buffer_append_format(&node->join_addresses, "%s%s",
                                 node->join_addresses.size == 0 ? "" : ",",
                                 identity->members[i].api_address);
        }
    }
    buffer_append_byte(&node->join_addresses, 0);
}

static enum status open_identity(struct node *node, struct error *error)
{
    const char *list = node->options.initial_cluster;
    enum status status =
        identity_open(node->data_directory, node->name, &node->directory, &node->identity, error);

    if (status != STATUS_OK) {
        return status;
    }
    if (node->identity.stage == IDENTITY_MEMBER) {
        return list == NULL ? STATUS_OK : bootstrap_check_list(list, &node->identity, error);
    }
    if (node->identity.stage == IDENTITY_PENDING && node->identity.is_joining) {
        return STATUS_OK; /* It goes on with that, whatever the settings say. */
    }
    if (node->identity.stage == IDENTITY_PENDING && list == NULL) {
        return error_set(error, STATUS_MISMATCH,
                         "data directory \"%s\" began to form a cluster: start the node with the "
                         "same --initial-cluster again, or remove the directory to let it join "
                         "another cluster",
                         node->data_directory);
    }
    if (list == NULL && !node->options.joins) {
        return error_set(error, STATUS_INVALID,
                         "data directory \"%s\" belongs to no cluster yet: --initial-cluster has "
                         "to name the nodes that form one, or --join a member of one that lives",
                         node->data_directory);
    }
    return STATUS_OK;
}

/* Images are made where the state lies. They leave more free than the cluster's own alarm wants. */
static enum status open_spools(struct node *node, struct error *error)
{
    const struct image_spools_options options = {
        .store = node->store,
        .directory = identity_images_directory(node->directory),
        .reserve_bytes = 2 * node->options.free_disk_floor_bytes,
        .bytes_per_second = node->options.transfer_rate,
        .data = node,
        .is_urgent = node_is_state_urgent,
    };

    return image_spools_open(&options, &node->spools, error);
}

static enum status open_state(struct node *node, struct error *error)
{
    const struct store_options store_options = {
        .directory = identity_state_directory(node->directory),
        .on_damage = on_store_damage,
        .data = node,
    };
    struct applier_options applier_options = {
        .data = node,
        .on_result = on_result,
        .on_done = on_done,
        .on_failure = on_applier_failure,
    };
    enum status status = node_install_received(node, error);

    if (status == STATUS_OK) {
        status = store_open(&store_options, &node->store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = machine_position(node->store, &node->position, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = node_open_journal(node, error);
    if (status != STATUS_OK) {
        return status;
    }
    applier_options.store = node->store;
    applier_options.journal = node->journal;
    applier_options.feature_level = node->options.feature_level;
    applier_options.scrub_interval_s = node->options.scrub_interval_s;
    status = applier_open(&applier_options, &node->applier, error);
    return status == STATUS_OK ? open_spools(node, error) : status;
}

static enum status open_loop(struct node *node, struct error *error)
{
    enum status status;
    int rv = uv_loop_init(&node->loop);

    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not make a loop: %s", uv_strerror(rv));
    }
    status = inbox_init(&node->inbox, &node->loop, on_mail, node, error);
    if (status != STATUS_OK) {
        return status; /* The loop's few descriptors go with the process. */
    }
    CHECK(mailbox_init(&node->home, &node->loop, error) == STATUS_OK); /* As the one before. */
    node->has_loop = true;
    CHECK(uv_prepare_init(&node->loop, &node->prepare) == 0);
    CHECK(uv_check_init(&node->loop, &node->check) == 0);
    CHECK(uv_timer_init(&node->loop, &node->ticker) == 0);
    CHECK(uv_timer_init(&node->loop, &node->next_turn) == 0);
    node->prepare.data = node;
    node->check.data = node;
    node->ticker.data = node;
    CHECK(uv_prepare_start(&node->prepare, on_prepare) == 0);
    CHECK(uv_check_start(&node->check, on_check) == 0);
    CHECK(uv_timer_start(&node->ticker, on_tick, TICK_MS, TICK_MS) == 0);
    return node_open_peers(node, error);
}

static enum status start_thread(struct node *node, struct error *error)
{
    int rv = pthread_create(&node->thread, NULL, run, node);

    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not start the consensus thread: %s",
                         strerror(rv));
    }
    return STATUS_OK;
}

enum status node_open(const struct node_options *options, struct node **node, struct error *error)
{
    struct node *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status;

    /* libraft flushes on libuv's pool, which takes its size at its first use. */
    (void)setenv("UV_THREADPOOL_SIZE", "8", 0); /* Then it is smaller, and still works. */
    CHECK(pthread_mutex_init(&opened->status_mutex, NULL) == 0);
    opened->status.causes = NODE_CAUSE_FORMING;
    opened->members = members_open();
    status = copy_options(opened, options, error);
    if (status == STATUS_OK) {
        status = open_identity(opened, error);
    }
    list_join_addresses(opened);
    if (status == STATUS_OK) {
        status = open_state(opened, error);
    }
    if (status == STATUS_OK) {
        status = open_loop(opened, error);
    }
    if (status == STATUS_OK) {
        status = node_begin(opened, error);
    }
    if (status == STATUS_OK) {
        status = node_open_archive(opened, error);
    }
    if (status == STATUS_OK) {
        status = node_open_mirror(opened, error);
    }
    if (status == STATUS_OK) {
        status = start_thread(opened, error);
    }
    if (status == STATUS_OK) {
        *node = opened;
        return STATUS_OK;
    }
    if (opened->has_loop) {
        finish(opened);
    }
    release(opened);
    return status;
}

void node_close(struct node *node)
{
    atomic_store(&node->is_closing, true);
    CHECK(pthread_join(node->thread, NULL) == 0);
    release(node);
}

const char *node_join_addresses(const struct node *node)
{
    return (const char *)node->join_addresses.data;
}

struct store *node_store(struct node *node)
{
    return node->store;
}

struct applier *node_applier(struct node *node)
{
    return node->applier;
}

struct archive *node_archive(struct node *node)
{
    return node->archive;
}

struct mirror *node_mirror(struct node *node)
{
    return node->mirror;
}

struct image_spools *node_spools(struct node *node)
{
    return node->spools;
}

enum status node_submit(struct node *node, struct submission *submission)
{
    return inbox_submit(&node->inbox, submission);
}

enum status node_change(struct node *node, struct member_change *change)
{
    return inbox_change(&node->inbox, change);
}

enum status node_read(struct node *node, struct read_ticket *ticket)
{
    return inbox_read(&node->inbox, ticket);
}
