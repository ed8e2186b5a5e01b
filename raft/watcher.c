#include "raft/watcher.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/command.h"

#define LOOK_MS      100
#define DISK_PERIODS 10 /* The free space is asked for with every tenth look. */

struct watcher {
    struct watcher_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stopping;
    bool stopped;
    atomic_uint_least64_t free_disk_bytes;
    struct view view;
    struct buffer texts; /* What options.self borrows from. */
    struct submission announcement;
    atomic_bool is_announcing;
    bool has_started; /* The table has known this process, caught up: it is not drained by what was
                         said before. */
    unsigned looks;
};

static void read_free_disk(struct watcher *watcher)
{
    struct statvfs info;

    if (statvfs(watcher->options.directory, &info) != 0) {
        log_warn("node", "could not ask for free disk space: %s", strerror(errno));
        return;
    }
    atomic_store(&watcher->free_disk_bytes, (uint64_t)info.f_bavail * info.f_frsize);
}

/* --- The member table --- */

/* The consensus thread. The next look sees whether it worked. */
static void on_announced(struct message *message)
{
    struct submission *submission = CONTAINER_OF(message, struct submission, message);
    struct watcher *watcher = CONTAINER_OF(submission, struct watcher, announcement);

    atomic_store(&watcher->is_announcing, false);
}

static void encode_announcement(const struct watcher *watcher, struct buffer *encoded)
{
    const struct member_row *self = &watcher->options.self;
    struct operation operation = {.kind = OPERATION_MEMBER_PUT};
    const struct command command = {.n_operations = 1, .operations = &operation};

    operation.member = (struct member_operation){
        .id = self->id,
        .name = self->name,
        .peer_address = self->peer_address,
        .api_address = self->api_address,
        .zone = self->zone,
        .version = self->version,
        .has_restarted = !watcher->has_started,
    };
    command_encode(&command, encoded);
}

struct outlook {
    bool has_leader;
    bool has_caught_up;
};

static struct outlook look_around(const struct watcher *watcher)
{
    struct node_status *status = memory_new(sizeof *status);
    struct outlook outlook;

    node_status(watcher->options.node, status);
    outlook.has_leader = status->leader_id != 0;
    outlook.has_caught_up = status->causes == 0;
    free(status);
    return outlook;
}

static void announce(struct watcher *watcher)
{
    struct submission *submission = &watcher->announcement;

    if (atomic_load(&watcher->is_announcing)) {
        return;
    }
    buffer_close(&submission->command);
    buffer_close(&submission->result);
    *submission = (struct submission){
        .message.deliver = on_announced,
        .home = watcher->options.home,
    };
    encode_announcement(watcher, &submission->command);
    atomic_store(&watcher->is_announcing, true);
    if (node_submit(watcher->options.node, submission) != STATUS_OK) {
        atomic_store(&watcher->is_announcing, false); /* Busy: at the next look. */
    }
}

static void look_at_members(struct watcher *watcher)
{
    struct outlook outlook = look_around(watcher); /* Before the table, which must not be older. */
    uint64_t self = watcher->options.self.id;
    struct error error;
    bool is_known;
    bool is_drained;

    if (members_read(watcher->options.members, &watcher->view, watcher->options.store, &error) !=
        STATUS_OK) {
        log_warn("node", "%s", error.text);
        return;
    }
    is_known = members_say(watcher->options.members, &watcher->options.self);
    is_drained = members_is_drained(watcher->options.members, self) && !watcher->has_started;
    if (outlook.has_leader && (!is_known || is_drained)) {
        announce(watcher);
    }
    watcher->has_started =
        watcher->has_started || (outlook.has_caught_up && is_known && !is_drained);
}

/* --- The thread --- */

/* False when it is to end. */
static bool wait_for_next_look(struct watcher *watcher)
{
    uint64_t until_ns = clock_ns() + LOOK_MS * 1000000ull;
    bool stopping;

    CHECK(pthread_mutex_lock(&watcher->mutex) == 0);
    while (!watcher->stopping && clock_condition_wait(&watcher->wake, &watcher->mutex, until_ns)) {
    }
    stopping = watcher->stopping;
    CHECK(pthread_mutex_unlock(&watcher->mutex) == 0);
    return !stopping;
}

static void *run(void *data)
{
    struct watcher *watcher = data;

    thread_set_name("watcher");
    do {
        if (watcher->looks++ % DISK_PERIODS == 0) {
            read_free_disk(watcher);
        }
        look_at_members(watcher);
    } while (wait_for_next_look(watcher));
    view_close(&watcher->view);
    return NULL;
}

/* --- Life --- */

/* Room for all that is kept; the slices stay valid as nothing is appended later. */
static void copy_self(struct watcher *watcher)
{
    struct slice *const texts[] = {&watcher->options.self.name, &watcher->options.self.peer_address,
                                   &watcher->options.self.api_address, &watcher->options.self.zone,
                                   &watcher->options.self.version};
    size_t size = 0;

    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size += texts[i]->size;
    }
    (void)buffer_reserve(&watcher->texts, size);
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const uint8_t *place = watcher->texts.data + watcher->texts.size;

        buffer_append_slice(&watcher->texts, *texts[i]);
        *texts[i] = slice_of(place, texts[i]->size);
    }
}

enum status watcher_open(const struct watcher_options *options, struct watcher **watcher,
                         struct error *error)
{
    struct watcher *opened = memory_new_zeroed(1, sizeof *opened);
    int rv;

    opened->options = *options;
    copy_self(opened);
    atomic_store(&opened->free_disk_bytes, UINT64_MAX);
    read_free_disk(opened);
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    clock_condition_init(&opened->wake);
    rv = pthread_create(&opened->thread, NULL, run, opened);
    if (rv != 0) {
        opened->stopped = true;
        watcher_close(opened);
        return error_set(error, STATUS_IO, "could not start the watching thread: %s", strerror(rv));
    }
    *watcher = opened;
    return STATUS_OK;
}

uint64_t watcher_free_disk_bytes(const struct watcher *watcher)
{
    return atomic_load(&watcher->free_disk_bytes);
}

void watcher_stop(struct watcher *watcher)
{
    if (watcher == NULL || watcher->stopped) {
        return;
    }
    CHECK(pthread_mutex_lock(&watcher->mutex) == 0);
    watcher->stopping = true;
    CHECK(pthread_cond_signal(&watcher->wake) == 0);
    CHECK(pthread_mutex_unlock(&watcher->mutex) == 0);
    CHECK(pthread_join(watcher->thread, NULL) == 0);
    watcher->stopped = true;
}

void watcher_close(struct watcher *watcher)
{
    if (watcher == NULL) {
        return;
    }
    CHECK(watcher->stopped && !atomic_load(&watcher->is_announcing));
    CHECK(pthread_cond_destroy(&watcher->wake) == 0);
    CHECK(pthread_mutex_destroy(&watcher->mutex) == 0);
    buffer_close(&watcher->announcement.command);
    buffer_close(&watcher->announcement.result);
    buffer_close(&watcher->texts);
    free(watcher);
}
