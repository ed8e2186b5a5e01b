#include "tests/sim/executor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/entry.h"
#include "storage/image_export.h"
#include "storage/image_file.h"
#include "storage/image_import.h"
#include "storage/machine.h"
#include "storage/view.h"
#include "tests/sim/cluster_private.h"

#define MAP_BYTES (1ull << 30) /* Of address space. */

/* --- The life --- */

static const char *parent_directory(void)
{
    const char *parent = getenv("TMPDIR");

    if (parent != NULL && strlen(parent) < 48) {
        return parent;
    }
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

void executor_init(struct node *node)
{
    struct executor *executor = &node->executor;

    *executor = (struct executor){.slow_ms = 0};
    queue_init(&executor->works);
    if (node->cluster->options.has_state) {
        (void)snprintf(executor->directory, sizeof executor->directory, "%s/holdfast-sim-XXXXXX",
                       parent_directory()); /* Fits. */
        CHECK(mkdtemp(executor->directory) != NULL);
        (void)snprintf(executor->received, sizeof executor->received, "%s-new",
                       executor->directory); /* Fits. */
    }
}

void executor_remove(struct node *node)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "store.lock"};
    struct executor *executor = &node->executor;
    char path[160];

    if (executor->directory[0] == '\0') {
        return;
    }
    CHECK(files_remove_directory(executor->received, NULL) == STATUS_OK);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", executor->directory, names[i]); /* Fits. */
        (void)unlink(path); /* It may never have started. */
    }
    CHECK(rmdir(executor->directory) == 0);
}

/* Report the hash of what is committed. */
static void look_at_state(struct node *node)
{
    struct executor *executor = &node->executor;
    struct view view = {.txn = NULL};
    uint64_t hash[2];

    CHECK(view_begin(executor->store, &view, NULL) == STATUS_OK);
    txn_state_hash(view.txn, hash);
    checks_state(node, view.state->applied_index, hash);
    view_end(&view);
    view_close(&view);
}

static void open_state(struct node *node)
{
    struct executor *executor = &node->executor;
    struct store_options options = {.directory = executor->directory, .map_size_bytes = MAP_BYTES};
    struct machine_position position;

    CHECK(store_open(&options, &executor->store, NULL) == STATUS_OK);
    CHECK(machine_position(executor->store, &position, NULL) == STATUS_OK);
    CHECK(machine_open(executor->store, node->feature_level, &executor->machine, NULL) ==
          STATUS_OK);
    executor->durable = (struct executor_state){.applied = position.applied_index,
                                                .stored = position.stored,
                                                .time_ms = position.time_ms,
                                                .hash = {position.hash[0], position.hash[1]}};
    if (position.applied_index > 0) {
        look_at_state(node);
    }
}

/* --- State transfer --- */

/* The real thing: an image of the donor's state in a file, and a store made of that. */
static void import(struct node *node, const struct node *donor)
{
    char path[120];
    struct image_export export = {.store = donor->executor.store, .cluster_id = CLUSTER_ID};
    struct image_facts facts;
    struct image_totals totals;
    struct image_import *import;
    struct image_file *file;
    struct buffer piece = BUFFER_EMPTY;

    (void)snprintf(path, sizeof path, "%s.XXXXXX", node->executor.received); /* Fits. */
    export.fd = mkstemp(path);
    CHECK(export.fd >= 0 && unlink(path) == 0);
    CHECK(image_export(&export, &facts, &totals, NULL) == STATUS_OK);
    CHECK(image_file_of(export.fd, "image", &file, NULL) == STATUS_OK);
    CHECK(files_remove_directory(node->executor.received, NULL) == STATUS_OK);
    CHECK(image_import_open(node->executor.received, &import, NULL) == STATUS_OK);
    for (uint64_t i = 0; i < image_file_pieces(file); i++) {
        buffer_clear(&piece);
        CHECK(image_file_piece(file, i, &piece, NULL) == STATUS_OK);
        CHECK(image_import_feed(import, buffer_slice(&piece), NULL) == STATUS_OK);
    }
    CHECK(image_import_is_done(import));
    image_import_close(import);
    image_file_close(file);
    buffer_close(&piece);
}

bool executor_receive(struct node *node, const struct node *donor, uint64_t index)
{
    struct executor *executor = &node->executor;

    if (donor == NULL || !donor->is_alive || donor->executor.durable.applied < index) {
        return false;
    }
    executor->received_state = donor->executor.durable;
    executor->received_state.stored = 0; /* That is of the donor's log. */
    executor->has_received = true;
    if (executor->directory[0] != '\0') {
        import(node, donor);
    }
    sim_trace(node->cluster->sim, "node %u received the state of node %u at index %" PRIu64,
              node->number, donor->number, executor->received_state.applied);
    return true;
}

/* As node_state.c does at a start. */
static void install(struct node *node)
{
    struct executor *executor = &node->executor;

    executor->has_received = false;
    if (executor->received_state.applied <= executor->durable.applied) {
        return;
    }
    executor->durable = executor->received_state;
    if (executor->directory[0] != '\0') {
        CHECK(files_replace(executor->received, executor->directory, NULL) == STATUS_OK);
    }
}

/* --- The life, again --- */

void executor_open(struct node *node)
{
    struct executor *executor = &node->executor;

    executor->is_busy = false;
    if (executor->has_received) {
        install(node);
    }
    if (executor->directory[0] != '\0') {
        open_state(node);
    }
    executor->now = executor->durable;
}

/* Clients of what was not executed do not know. */
static void drop_works(struct node *node)
{
    struct link *link;

    while ((link = queue_pop(&node->executor.works)) != NULL) {
        struct applied *work = CONTAINER_OF(link, struct applied, link);

        work->index = 0; /* Nothing is durable through it. */
        agreement_executed(node->agreement, work, sim_now_ms(node->cluster->sim));
    }
    node->executor.queued_bytes = 0;
}

void executor_close(struct node *node)
{
    struct executor *executor = &node->executor;

    drop_works(node);
    if (executor->directory[0] != '\0') {
        machine_close(executor->machine);
        store_close(executor->store);
        executor->machine = NULL;
        executor->store = NULL;
    }
}

/* --- Executing --- */

/* Make durable what is executed, if there is anything. */
static void flush(struct node *node)
{
    struct executor *executor = &node->executor;
    struct error error = {.text = ""};

    if (executor->durable.applied == executor->now.applied &&
        executor->durable.stored == executor->now.stored) {
        return;
    }
    if (executor->machine != NULL) {
        bool frozen;
        enum status status = machine_freeze(executor->machine, &frozen, &error);

        if (status == STATUS_OK && frozen) {
            status = store_flush(executor->store, &error);
        }
        SIM_EXPECT(node->cluster->sim, status == STATUS_OK, "node %u does not flush: %s",
                   node->number, error.text);
        if (status != STATUS_OK) {
            return;
        }
        look_at_state(node);
    }
    executor->durable = executor->now;
}

/* The walk over the commands of an entry, next to their execution. */
struct walk {
    struct node *node;
    struct applied *work;
    struct entry entry;
    struct slice bundles;
    struct bundle bundle;
    struct slice commands;
    bool is_first;
    uint64_t results_hash;
};

static void on_result(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    struct walk *walk = data;
    struct committed_bundles *own = walk->work->data;
    struct pending_bundle *mine = own->own[bundle];
    struct slice bytes;

    if (command == 0) {
        CHECK(entry_next_bundle(&walk->bundles, &walk->bundle));
        walk->commands = walk->bundle.commands;
    }
    CHECK(bundle_next_command(&walk->commands, &bytes));
    if (walk->is_first) {
        checks_command(walk->node->cluster, walk->work->index, bytes, result);
    }
    walk->results_hash = XXH3_64bits_withSeed(result.data, result.size, walk->results_hash);
    if (mine != NULL && mine->n_submissions > 0) {
        struct submission *submission = mine->submissions[command];

        mine->submissions[command] = NULL;
        buffer_append_slice(&submission->result, result);
        submission->status = STATUS_OK;
        submission->message.deliver(&submission->message);
    }
}

static void record(struct walk *walk)
{
    struct slice bundles = walk->entry.bundles;
    struct bundle bundle;
    struct slice bytes;

    for (uint32_t i = 0; entry_next_bundle(&bundles, &bundle); i++) {
        for (uint32_t j = 0; bundle_next_command(&bundle.commands, &bytes); j++) {
            on_result(walk, i, j, slice_of(NULL, 0));
        }
    }
}

static void execute_entry(struct node *node, struct applied *work)
{
    struct slice bytes = buffer_slice(&work->entry);
    struct walk walk = {.node = node, .work = work, .results_hash = 1};
    struct error error = {.text = ""};
    struct sim *sim = node->cluster->sim;

    CHECK(entry_decode(bytes, &walk.entry, NULL) == STATUS_OK);
    SIM_EXPECT(sim, walk.entry.feature_level <= node->feature_level,
               "node %u of feature level %u is given an entry of level %u", node->number,
               node->feature_level, walk.entry.feature_level);
    walk.bundles = walk.entry.bundles;
    walk.is_first = checks_entry(node, work->index, XXH3_64bits(bytes.data, bytes.size) | 2);
    SIM_EXPECT(sim, walk.entry.term == work->term, "term %" PRIu64 " in an entry of %" PRIu64,
               walk.entry.term, work->term);
    if (walk.is_first) {
        checks_time(node, work->index, walk.entry.time_ms);
        node->cluster->last_flags = walk.entry.flags;
    }
    if (node->executor.machine == NULL) {
        record(&walk);
    } else {
        enum status status = machine_execute(node->executor.machine, work->index, work->term, bytes,
                                             on_result, &walk, &error);

        SIM_EXPECT(sim, status == STATUS_OK, "node %u does not execute: %s", node->number,
                   error.text);
    }
    checks_results(node, work->index, walk.results_hash);
    node->executor.now.time_ms = walk.entry.time_ms;
}

/* libraft hands an entry out again after a start: it must be the one that was executed. */
static void execute_again(struct node *node, struct applied *work)
{
    struct slice bytes = buffer_slice(&work->entry);
    struct error error = {.text = ""};

    if (work->kind != APPLIED_ENTRY) {
        return;
    }
    (void)checks_entry(node, work->index, XXH3_64bits(bytes.data, bytes.size) | 2);
    if (node->executor.machine != NULL) {
        SIM_EXPECT(node->cluster->sim,
                   machine_execute(node->executor.machine, work->index, work->term, bytes,
                                   on_result, NULL, &error) == STATUS_OK,
                   "node %u: %s", node->number, error.text);
    }
}

static void skip(struct node *node, const struct applied *work)
{
    struct executor *executor = &node->executor;

    for (uint64_t index = executor->now.applied + 1; index <= work->index; index++) {
        (void)checks_entry(node, index, 1);
    }
    if (executor->machine != NULL) {
        CHECK(machine_skip_to(executor->machine, work->index, work->term, NULL) == STATUS_OK);
    }
}

/* Have reads see it. True if much is in memory now. */
static bool publish(struct node *node)
{
    struct executor *executor = &node->executor;
    struct store_unflushed unflushed;
    struct error error = {.text = ""};
    enum status status;

    if (executor->machine == NULL) {
        return false;
    }
    status = machine_commit(executor->machine, &error);
    SIM_EXPECT(node->cluster->sim, status == STATUS_OK, "node %u does not commit: %s", node->number,
               error.text);
    store_unflushed(executor->store, &unflushed);
    return unflushed.bytes >= EXECUTOR_FLUSH_BYTES;
}

static void execute(struct node *node, struct applied *work)
{
    struct executor *executor = &node->executor;
    struct cluster *cluster = node->cluster;
    bool is_full;

    if (work->kind == APPLIED_DURABLE) {
        SIM_EXPECT(cluster->sim, executor->now.applied >= work->index,
                   "node %u is to be durable through %" PRIu64 ", but has executed %" PRIu64,
                   node->number, work->index, executor->now.applied);
        flush(node);
        return;
    }
    if (work->stored > executor->now.stored) {
        executor->now.stored = work->stored;
        if (executor->machine != NULL) {
            machine_set_stored(executor->machine, work->stored);
        }
    }
    if (work->index <= executor->now.applied) {
        execute_again(node, work);
        return;
    }
    if (work->kind == APPLIED_SKIP) {
        skip(node, work);
    } else {
        SIM_EXPECT(cluster->sim, work->index == executor->now.applied + 1,
                   "node %u executes %" PRIu64 " after %" PRIu64, node->number, work->index,
                   executor->now.applied);
        if (sim_has_failed(cluster->sim)) {
            return;
        }
        execute_entry(node, work);
    }
    executor->now.applied = work->index;
    is_full = publish(node);
    if (work->index > cluster->highest_index) {
        cluster->highest_index = work->index;
    }
    /* When much is in memory, now and then alone, and at some indexes all, so that their states can
     * be compared. */
    if (sim_once_in(cluster->sim, 4) || work->index % 8 == 0 || is_full) {
        flush(node);
    }
    if (executor->machine != NULL && executor->durable.applied == work->index) {
        work->state_index = work->index;
        machine_state_hash(executor->machine, work->state_hash);
    }
}

static void schedule(struct node *node);

static void on_execute(void *data)
{
    struct node *node = *(struct node **)data;
    struct applied *work = CONTAINER_OF(queue_pop(&node->executor.works), struct applied, link);

    node->executor.queued_bytes -= work->entry.size;
    sim_note(node->cluster->sim, "execute", node->number, work->index);
    node->executor.is_busy = true; /* What comes now is scheduled below. */
    execute(node, work);
    agreement_executed(node->agreement, work, sim_now_ms(node->cluster->sim));
    clients_look(node, false);
    node->executor.is_busy = false;
    if (!queue_is_empty(&node->executor.works)) {
        schedule(node);
    }
    node_turn(node);
}

/* One thing after the other, at the pace of now. */
static void schedule(struct node *node)
{
    struct sim *sim = node->cluster->sim;
    struct node **event = memory_new(sizeof(struct node *));

    *event = node;
    sim_at(sim, sim_now_ms(sim) + sim_between(sim, 0, 2) / 2 + node->executor.slow_ms, &node->owner,
           on_execute, event);
}

/* --- What agreement asks --- */

void executor_push(void *data, struct applied *work)
{
    struct node *node = data;
    struct executor *executor = &node->executor;
    bool is_idle = queue_is_empty(&executor->works);

    executor->queued_bytes += work->entry.size;
    queue_push(&executor->works, &work->link);
    if (is_idle && !executor->is_busy) {
        schedule(node);
    }
}

size_t executor_queued_bytes(void *data)
{
    return ((struct node *)data)->executor.queued_bytes;
}

uint64_t executor_next_due_ms(void *data)
{
    struct node *node = data;
    uint64_t due_ms;

    if (node->cluster->is_due) {
        return 0;
    }
    if (node->executor.machine == NULL) {
        return UINT64_MAX;
    }
    CHECK(machine_next_due(node->executor.machine, &due_ms, NULL) == STATUS_OK);
    return due_ms;
}

/* A view of the namespace that all is in. False before there is one. */
static bool begin_view(struct node *node, struct view *view, struct namespace_row *ns)
{
    *view = (struct view){.txn = NULL};
    CHECK(view_begin(node->executor.store, view, NULL) == STATUS_OK);
    return view_namespace(view, slice_of_string("default"), ns) == STATUS_OK;
}

static void end_view(struct view *view)
{
    view_end(view);
    view_close(view);
}

uint64_t executor_read_item(struct node *node, unsigned item)
{
    struct view view;
    struct namespace_row ns;
    struct item_row row;
    uint64_t value = 0;
    char key[16];

    model_item_key(item, key);
    if (begin_view(node, &view, &ns) &&
        view_item(&view, ns.id, slice_of_string(key), &row) == STATUS_OK) {
        value = model_value_of(row.value);
    }
    end_view(&view);
    return value;
}

struct log_reading {
    struct log_operation *operation;
    struct log_event *seen;
};

/* The newest comes first. */
static bool on_event(void *data, const struct event_row *row)
{
    struct log_reading *reading = data;
    struct log_operation *operation = reading->operation;

    if (operation->n_seen == HISTORY_PAGE) {
        operation->after_seq = row->seq;
        return false;
    }
    memmove(reading->seen + 1, reading->seen, operation->n_seen * sizeof *reading->seen);
    reading->seen[0] = (struct log_event){.seq = row->seq, .event = model_event_of(row->data)};
    operation->n_seen++;
    return true;
}

void executor_read_log(struct node *node, unsigned session, unsigned n_back,
                       struct log_operation *operation, struct log_event *seen)
{
    struct log_reading reading = {.operation = operation, .seen = seen};
    struct buffer position = BUFFER_EMPTY;
    struct view view;
    struct namespace_row ns;
    struct session_row row;
    char id[24];

    model_session_id(session, id);
    if (begin_view(node, &view, &ns) &&
        view_session(&view, ns.id, slice_of_string(id), &row) == STATUS_OK) {
        operation->last_seq = row.last_seq;
        operation->after_seq = row.last_seq > n_back ? row.last_seq - n_back : 0;
        CHECK(view_events(&view, &row, operation->after_seq, UINT64_MAX, ORDER_DESC, &position,
                          on_event, &reading) == STATUS_OK);
    }
    buffer_close(&position);
    end_view(&view);
}
