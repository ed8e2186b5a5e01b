#include "tests/sim/sim_io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

enum write_kind { WRITE_APPEND, WRITE_TRUNCATE, WRITE_SNAPSHOT };

struct write {
    struct link link;
    struct sim_io *io;
    enum write_kind kind;
    uint64_t index; /* TRUNCATE. */
    size_t n_entries;
    struct sim_entry *entries;
    unsigned trailing;
    struct sim_disk snapshot; /* SNAPSHOT: its fields. */
    struct raft_io_append *append;
    struct raft_io_snapshot_put *put;
    raft_io_append_cb append_cb;
    raft_io_snapshot_put_cb put_cb;
};

/* What an event carries: the event's memory is not the write's. */
struct write_event {
    struct write *write;
};

struct get_event {
    struct sim_io *io;
    struct raft_io_snapshot_get *request;
    raft_io_snapshot_get_cb cb;
};

struct send_event {
    struct sim_io *io;
    struct raft_io_send *request;
    raft_io_send_cb cb;
};

static struct sim_io *of(struct raft_io *io)
{
    return io->impl;
}

/* --- The disk --- */

void sim_disk_init(struct sim_disk *disk)
{
    *disk = (struct sim_disk){.start = 1};
}

static void drop_entries(struct sim_disk *disk, size_t from, size_t n)
{
    if (n == 0) { /* There may be no memory, either. */
        return;
    }
    for (size_t i = from; i < from + n; i++) {
        buffer_close(&disk->entries[i].bytes);
    }
    memmove(&disk->entries[from], &disk->entries[from + n],
            (disk->n_entries - from - n) * sizeof *disk->entries);
    disk->n_entries -= n;
}

void sim_disk_close(struct sim_disk *disk)
{
    drop_entries(disk, 0, disk->n_entries);
    free(disk->entries);
    buffer_close(&disk->snapshot_configuration);
    buffer_close(&disk->snapshot_data);
}

uint64_t sim_disk_bytes(const struct sim_disk *disk)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < disk->n_entries; i++) {
        bytes += disk->entries[i].bytes.size;
    }
    return bytes;
}

static void add_entry(struct sim_disk *disk, struct sim_entry *entry)
{
    if (disk->n_entries == disk->capacity) {
        disk->capacity = disk->capacity == 0 ? 64 : disk->capacity * 2;
        disk->entries = memory_resize(disk->entries, disk->capacity * sizeof *disk->entries);
    }
    disk->entries[disk->n_entries++] = *entry;
    entry->bytes = BUFFER_EMPTY;
}

void sim_disk_cut(struct sim_disk *disk, uint64_t index)
{
    if (index >= disk->start && index < disk->start + disk->n_entries) {
        size_t kept = (size_t)(index - disk->start);

        drop_entries(disk, kept, disk->n_entries - kept);
    }
}

static void keep_snapshot(struct sim_disk *disk, struct write *write)
{
    buffer_close(&disk->snapshot_configuration);
    buffer_close(&disk->snapshot_data);
    disk->has_snapshot = true;
    disk->snapshot_index = write->snapshot.snapshot_index;
    disk->snapshot_term = write->snapshot.snapshot_term;
    disk->snapshot_configuration_index = write->snapshot.snapshot_configuration_index;
    disk->snapshot_configuration = buffer_take(&write->snapshot.snapshot_configuration);
    disk->snapshot_data = buffer_take(&write->snapshot.snapshot_data);
    if (write->trailing == 0) { /* The log ended before: it goes on behind the pointer. */
        drop_entries(disk, 0, disk->n_entries);
        disk->start = disk->snapshot_index + 1;
    } else if (disk->snapshot_index > write->trailing) {
        uint64_t first = disk->snapshot_index - write->trailing + 1;

        if (first > disk->start) {
            size_t n = (size_t)(first - disk->start);

            n = n < disk->n_entries ? n : disk->n_entries;
            drop_entries(disk, 0, n);
            disk->start += n;
        }
    }
}

/* --- Writes --- */

static void release_write(struct write *write)
{
    for (size_t i = 0; i < write->n_entries; i++) {
        buffer_close(&write->entries[i].bytes);
    }
    free(write->entries);
    buffer_close(&write->snapshot.snapshot_configuration);
    buffer_close(&write->snapshot.snapshot_data);
    queue_remove(&write->link);
    free(write);
}

/* Bring @n of its entries, or all of another kind of write, to the disk. */
static void finish(struct write *write, size_t n)
{
    struct sim_disk *disk = write->io->disk;

    switch (write->kind) {
    case WRITE_APPEND:
        for (size_t i = 0; i < n; i++) {
            add_entry(disk, &write->entries[i]);
        }
        break;
    case WRITE_TRUNCATE:
        sim_disk_cut(disk, write->index);
        break;
    case WRITE_SNAPSHOT:
        keep_snapshot(disk, write);
        break;
    }
}

static void on_written(void *data)
{
    static const char *const names[] = {
        [WRITE_APPEND] = "written: node, entries",
        [WRITE_TRUNCATE] = "truncated: node, from",
        [WRITE_SNAPSHOT] = "snapshot: node",
    };
    struct write *write = ((struct write_event *)data)->write;
    struct sim_io *io = write->io;
    enum write_kind kind = write->kind;
    struct raft_io_append *append = write->append;
    struct raft_io_snapshot_put *put = write->put;
    raft_io_append_cb append_cb = write->append_cb;
    raft_io_snapshot_put_cb put_cb = write->put_cb;
    int rv = 0;

    sim_note(io->sim, names[kind], io->number,
             kind == WRITE_APPEND ? write->n_entries : write->index);
    if (io->has_failed || (kind == WRITE_APPEND && io->fail_next)) {
        (void)snprintf(io->io.errmsg, sizeof io->io.errmsg, "the disk fails"); /* Fits. */
        rv = RAFT_IOERR;
        if (!io->has_failed) { /* What a failed write leaves behind. */
            finish(write, write->n_entries / 2);
        }
        io->has_failed = true;
    } else {
        finish(write, write->n_entries);
    }
    release_write(write);
    if (kind == WRITE_APPEND) {
        append_cb(append, rv);
    } else if (kind == WRITE_SNAPSHOT) {
        put_cb(put, rv);
    }
    io->on_turn(io->data);
}

static struct write *new_write(struct sim_io *io, enum write_kind kind)
{
    struct write *write = memory_new_zeroed(1, sizeof *write);

    write->io = io;
    write->kind = kind;
    queue_push(&io->writes, &write->link);
    return write;
}

/* A disk does one thing after the other, mostly fast. */
static void start_write(struct sim_io *io, struct write *write)
{
    struct write_event *event = memory_new(sizeof *event);
    uint64_t at_ms = sim_now_ms(io->sim) + sim_between(io->sim, 0, 3) + io->slow_ms;

    if (sim_once_in(io->sim, 200)) {
        at_ms += sim_between(io->sim, 10, 120);
    }
    if (at_ms < io->busy_until_ms) {
        at_ms = io->busy_until_ms;
    }
    io->busy_until_ms = at_ms;
    event->write = write;
    sim_at(io->sim, at_ms, io->owner, on_written, event);
}

void sim_io_crash(struct sim_io *io)
{
    struct link *link;
    bool reached = !io->has_failed;

    while ((link = queue_first(&io->writes)) != NULL) {
        struct write *write = CONTAINER_OF(link, struct write, link);

        reached = reached && sim_once_in(io->sim, 2);
        if (reached) {
            size_t n = write->n_entries;

            if (n > 0 && sim_once_in(io->sim, 2)) {
                n = sim_between(io->sim, 0, (unsigned)n);
                reached = false;
            }
            finish(write, n);
        }
        release_write(write);
    }
}

/* --- The vtable --- */

static int on_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void on_close(struct raft_io *io, raft_io_close_cb cb)
{
    cb(io);
}

static void *copy_bytes(const struct buffer *buffer)
{
    void *bytes = raft_malloc(buffer->size + 1);

    CHECK(bytes != NULL);
    if (buffer->size > 0) {
        memcpy(bytes, buffer->data, buffer->size);
    }
    return bytes;
}

static struct raft_snapshot *load_snapshot(const struct sim_disk *disk)
{
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
    struct raft_buffer encoded = {.base = disk->snapshot_configuration.data,
                                  .len = disk->snapshot_configuration.size};

    CHECK(snapshot != NULL);
    snapshot->index = disk->snapshot_index;
    snapshot->term = disk->snapshot_term;
    snapshot->configuration_index = disk->snapshot_configuration_index;
    CHECK(raft_configuration_decode(&encoded, &snapshot->configuration) == 0);
    snapshot->n_bufs = 1;
    snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
    snapshot->bufs[0].len = disk->snapshot_data.size;
    snapshot->bufs[0].base = copy_bytes(&disk->snapshot_data);
    return snapshot;
}

/* Entries that came together, into one piece of memory. */
static void load_batch(struct raft_entry *loaded, const struct sim_entry *entries, size_t n)
{
    size_t size = 0;
    uint8_t *batch;

    for (size_t i = 0; i < n; i++) {
        size += entries[i].bytes.size;
    }
    batch = raft_malloc(size + 1);
    CHECK(batch != NULL);
    size = 0;
    for (size_t i = 0; i < n; i++) {
        loaded[i].term = entries[i].term;
        loaded[i].type = entries[i].type;
        loaded[i].batch = batch;
        loaded[i].buf.base = batch + size;
        loaded[i].buf.len = entries[i].bytes.size;
        memcpy(batch + size, entries[i].bytes.data, entries[i].bytes.size);
        size += entries[i].bytes.size;
    }
}

/* Entries as libraft wants them. */
static struct raft_entry *load_entries(const struct sim_entry *entries, size_t n)
{
    struct raft_entry *loaded;
    size_t n_together;

    if (n == 0) {
        return NULL;
    }
    loaded = raft_calloc(n, sizeof *loaded);
    CHECK(loaded != NULL);
    for (size_t i = 0; i < n; i += n_together) {
        n_together = 1;
        while (i + n_together < n && !entries[i + n_together].begins_batch) {
            n_together++;
        }
        load_batch(&loaded[i], &entries[i], n_together);
    }
    return loaded;
}

static int on_load(struct raft_io *io, raft_term *term, raft_id *vote,
                   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry **entries,
                   size_t *n_entries)
{
    const struct sim_disk *disk = of(io)->disk;

    *term = disk->term;
    *vote = disk->vote;
    *snapshot = disk->has_snapshot ? load_snapshot(disk) : NULL;
    *start = disk->start;
    *entries = load_entries(disk->entries, disk->n_entries);
    *n_entries = disk->n_entries;
    of(io)->next_index = disk->start + disk->n_entries;
    return 0;
}

static void on_tick_event(void *data)
{
    struct sim_io *io = *(struct sim_io **)data;
    struct sim_io **next = memory_new(sizeof(struct sim_io *));

    *next = io;
    sim_at(io->sim, sim_now_ms(io->sim) + io->tick_ms, io->owner, on_tick_event, next);
    io->tick(&io->io);
    io->on_turn(io->data);
}

static int on_start(struct raft_io *io, unsigned period_ms, raft_io_tick_cb tick,
                    raft_io_recv_cb recv)
{
    struct sim_io *sim_io = of(io);
    struct sim_io **first = memory_new(sizeof(struct sim_io *));

    sim_io->tick_ms = period_ms;
    sim_io->tick = tick;
    sim_io->recv = recv;
    *first = sim_io;
    sim_at(sim_io->sim, sim_now_ms(sim_io->sim) + period_ms, sim_io->owner, on_tick_event, first);
    return 0;
}

static struct sim_entry copy_entry(const struct raft_entry *entry)
{
    struct sim_entry copy = {.term = entry->term, .type = entry->type};

    buffer_append(&copy.bytes, entry->buf.base, entry->buf.len);
    return copy;
}

static int on_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    struct sim_disk *disk = of(io)->disk;
    struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};
    struct sim_entry copy;

    if (disk->term != 0) {
        return RAFT_CANTBOOTSTRAP;
    }
    disk->term = 1;
    CHECK(raft_configuration_encode(configuration, &entry.buf) == 0);
    copy = copy_entry(&entry);
    raft_free(entry.buf.base);
    add_entry(disk, &copy);
    return 0;
}

static int on_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_IOERR;
}

static int on_set_term(struct raft_io *io, raft_term term)
{
    of(io)->disk->term = term;
    of(io)->disk->vote = 0;
    return 0;
}

static int on_set_vote(struct raft_io *io, raft_id vote)
{
    of(io)->disk->vote = vote;
    return 0;
}

static void on_sent(void *data)
{
    struct send_event *event = data;

    event->cb(event->request, 0);
}

static int on_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct sim_io *sim_io = of(io);
    struct send_event *event = memory_new(sizeof *event);

    *event = (struct send_event){.io = sim_io, .request = request, .cb = cb};
    sim_at(sim_io->sim, sim_now_ms(sim_io->sim) + sim_io->on_send(sim_io->data, message),
           sim_io->owner, on_sent, event);
    return 0;
}

static void tell_configuration(struct sim_io *io, const struct raft_entry *entry)
{
    struct raft_configuration configuration;

    if (entry->type == RAFT_CHANGE && io->on_configuration != NULL) {
        CHECK(raft_configuration_decode(&entry->buf, &configuration) == 0);
        io->on_configuration(io->data, &configuration);
        raft_configuration_close(&configuration);
    }
}

static int on_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct write *write = new_write(of(io), WRITE_APPEND);

    write->append = request;
    write->append_cb = cb;
    write->n_entries = n;
    write->entries = memory_new_zeroed(n, sizeof *write->entries);
    of(io)->next_index += n;
    for (unsigned i = 0; i < n; i++) {
        write->entries[i] = copy_entry(&entries[i]);
        write->entries[i].begins_batch = i == 0;
        tell_configuration(of(io), &entries[i]);
    }
    start_write(of(io), write);
    return 0;
}

static int on_truncate(struct raft_io *io, raft_index index)
{
    struct sim_io *sim_io = of(io);
    struct write *write = new_write(sim_io, WRITE_TRUNCATE);

    if (index < sim_io->next_index && sim_io->on_cut != NULL) {
        sim_io->on_cut(sim_io->data, index);
    }
    sim_io->next_index = index; /* Entries go there next. */
    write->index = index;
    start_write(sim_io, write);
    return 0;
}

static int on_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct write *write = new_write(of(io), WRITE_SNAPSHOT);
    struct raft_buffer encoded;

    SIM_EXPECT(of(io)->sim, trailing > 0 || snapshot->index <= of(io)->state_index,
               "a pointer to index %" PRIu64 " is stored, but the state ends at %" PRIu64,
               (uint64_t)snapshot->index, of(io)->state_index);
    CHECK(raft_configuration_encode(&snapshot->configuration, &encoded) == 0);
    buffer_append(&write->snapshot.snapshot_configuration, encoded.base, encoded.len);
    raft_free(encoded.base);
    buffer_append(&write->snapshot.snapshot_data, snapshot->bufs[0].base, snapshot->bufs[0].len);
    write->snapshot.snapshot_index = snapshot->index;
    write->snapshot.snapshot_term = snapshot->term;
    write->snapshot.snapshot_configuration_index = snapshot->configuration_index;
    write->trailing = trailing;
    write->put = request;
    write->put_cb = cb;
    start_write(of(io), write);
    return 0;
}

static void on_got(void *data)
{
    struct get_event *event = data;

    event->cb(event->request, load_snapshot(event->io->disk), 0);
    event->io->on_turn(event->io->data);
}

static int on_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    struct sim_io *sim_io = of(io);
    struct get_event *event = memory_new(sizeof *event);

    *event = (struct get_event){.io = sim_io, .request = request, .cb = cb};
    sim_at(sim_io->sim, sim_now_ms(sim_io->sim) + sim_between(sim_io->sim, 1, 20), sim_io->owner,
           on_got, event);
    return 0;
}

static raft_time on_time(struct raft_io *io)
{
    return sim_now_ms(of(io)->sim);
}

static int on_random(struct raft_io *io, int low, int high)
{
    return low + (int)((sim_random(of(io)->sim) >> 20) % (unsigned)(high - low));
}

void sim_io_init(struct sim_io *io, struct sim *sim, struct sim_disk *disk,
                 const struct sim_owner *owner)
{
    *io = (struct sim_io){.sim = sim, .disk = disk, .owner = owner};
    queue_init(&io->writes);
    io->io = (struct raft_io){
        .version = 2,
        .impl = io,
        .init = on_init,
        .close = on_close,
        .load = on_load,
        .start = on_start,
        .bootstrap = on_bootstrap,
        .recover = on_recover,
        .set_term = on_set_term,
        .set_vote = on_set_vote,
        .send = on_send,
        .append = on_append,
        .truncate = on_truncate,
        .snapshot_put = on_snapshot_put,
        .snapshot_get = on_snapshot_get,
        .time = on_time,
        .random = on_random,
    };
}

/* --- Messages --- */

struct sim_message {
    struct raft_message message;
    size_t n_entries;
    struct sim_entry *entries;
    struct buffer configuration;
    struct buffer data;
};

struct sim_message *sim_message_copy(const struct raft_message *message)
{
    struct sim_message *copy = memory_new_zeroed(1, sizeof *copy);
    struct raft_buffer encoded;

    copy->message = *message;
    if (message->type == RAFT_APPEND_ENTRIES) {
        copy->n_entries = message->append_entries.n_entries;
        copy->entries = memory_new_zeroed(copy->n_entries, sizeof *copy->entries);
        for (size_t i = 0; i < copy->n_entries; i++) {
            copy->entries[i] = copy_entry(&message->append_entries.entries[i]);
        }
    } else if (message->type == RAFT_INSTALL_SNAPSHOT) {
        CHECK(raft_configuration_encode(&message->install_snapshot.conf, &encoded) == 0);
        buffer_append(&copy->configuration, encoded.base, encoded.len);
        raft_free(encoded.base);
        buffer_append(&copy->data, message->install_snapshot.data.base,
                      message->install_snapshot.data.len);
    }
    return copy;
}

void sim_message_deliver(struct sim_message *copy, struct sim_io *to, uint64_t from)
{
    struct raft_message message = copy->message;
    char address[17];

    (void)snprintf(address, sizeof address, "%016" PRIx64, from);
    message.server_id = from;
    message.server_address = address;
    if (message.type == RAFT_APPEND_ENTRIES) {
        message.append_entries.entries = load_entries(copy->entries, copy->n_entries);
    } else if (message.type == RAFT_INSTALL_SNAPSHOT) {
        struct raft_buffer encoded = {.base = copy->configuration.data,
                                      .len = copy->configuration.size};

        CHECK(raft_configuration_decode(&encoded, &message.install_snapshot.conf) == 0);
        message.install_snapshot.data.len = copy->data.size;
        message.install_snapshot.data.base = copy_bytes(&copy->data);
    }
    to->recv(&to->io, &message);
}

void sim_message_note(const struct sim_message *copy, struct sim *sim, unsigned from, unsigned to)
{
    const struct raft_message *message = &copy->message;

    sim_note(sim, "message", from, to);
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        sim_note(sim, "  entries behind, number", message->append_entries.prev_log_index,
                 message->append_entries.n_entries);
        sim_note(sim, "  term, committed", message->append_entries.term,
                 message->append_entries.leader_commit);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        sim_note(sim, "  result: rejected, last", message->append_entries_result.rejected,
                 message->append_entries_result.last_log_index);
        break;
    case RAFT_REQUEST_VOTE:
        sim_note(sim, "  asks for vote: term, last", message->request_vote.term,
                 message->request_vote.last_log_index);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        sim_note(sim, "  vote: term, granted", message->request_vote_result.term,
                 message->request_vote_result.vote_granted);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        sim_note(sim, "  snapshot: term, last", message->install_snapshot.term,
                 message->install_snapshot.last_index);
        break;
    default:
        sim_note(sim, "  type", (uint64_t)message->type, 0);
        break;
    }
}

void sim_message_release(struct sim_message *copy)
{
    for (size_t i = 0; i < copy->n_entries; i++) {
        buffer_close(&copy->entries[i].bytes);
    }
    free(copy->entries);
    buffer_close(&copy->configuration);
    buffer_close(&copy->data);
    free(copy);
}
