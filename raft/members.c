#include "raft/members.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

struct known {
    uint64_t id;
    bool in_table;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    char version[sizeof((struct node_member *)NULL)->version];
};

struct members {
    pthread_mutex_t mutex;
    unsigned n_known;
    struct known known[LIMIT_MEMBERS];
};

static void lock(struct members *members)
{
    CHECK(pthread_mutex_lock(&members->mutex) == 0);
}

static void unlock(struct members *members)
{
    CHECK(pthread_mutex_unlock(&members->mutex) == 0);
}

struct members *members_open(void)
{
    struct members *members = memory_new_zeroed(1, sizeof *members);

    CHECK(pthread_mutex_init(&members->mutex, NULL) == 0);
    return members;
}

void members_close(struct members *members)
{
    if (members == NULL) {
        return;
    }
    CHECK(pthread_mutex_destroy(&members->mutex) == 0);
    free(members);
}

/* Cut what is too long: that comes from a table that a later version wrote. */
static void copy(struct slice from, char *to, size_t size)
{
    size_t length = from.size < size ? from.size : size - 1;

    if (length > 0) {
        memcpy(to, from.data, length);
    }
    to[length] = '\0';
}

static struct known *find(struct members *members, uint64_t id)
{
    for (unsigned i = 0; i < members->n_known; i++) {
        if (members->known[i].id == id) {
            return &members->known[i];
        }
    }
    return NULL;
}

/* NULL if there are too many. */
static struct known *find_or_add(struct members *members, uint64_t id)
{
    struct known *known = find(members, id);

    if (known == NULL && members->n_known < LIMIT_MEMBERS) {
        known = &members->known[members->n_known++];
        *known = (struct known){.id = id};
    }
    return known;
}

void members_set_formed(struct members *members, const struct identity *identity)
{
    lock(members);
    for (unsigned i = 0; i < identity->n_members; i++) {
        const struct identity_member *member = &identity->members[i];
        struct known *known = find_or_add(members, member->id);

        if (known != NULL && !known->in_table) {
            copy(slice_of_string(member->name), known->name, sizeof known->name);
            copy(slice_of_string(member->peer_address), known->peer_address,
                 sizeof known->peer_address);
            copy(slice_of_string(member->api_address), known->api_address,
                 sizeof known->api_address);
        }
    }
    unlock(members);
}

/* Rows as they are read: the lock is not held meanwhile, as LMDB may wait for a page. */
struct rows {
    unsigned n;
    struct known rows[LIMIT_MEMBERS];
};

static bool on_row(void *data, const struct member_row *row)
{
    struct rows *rows = data;
    struct known *known;

    if (rows->n == LIMIT_MEMBERS) {
        return false;
    }
    known = &rows->rows[rows->n++];
    *known = (struct known){.id = row->id, .in_table = true};
    copy(row->name, known->name, sizeof known->name);
    copy(row->peer_address, known->peer_address, sizeof known->peer_address);
    copy(row->api_address, known->api_address, sizeof known->api_address);
    copy(row->version, known->version, sizeof known->version);
    return true;
}

static void overlay(struct members *members, const struct rows *rows)
{
    lock(members);
    for (unsigned i = 0; i < rows->n; i++) {
        struct known *known = find_or_add(members, rows->rows[i].id);

        if (known != NULL) {
            *known = rows->rows[i];
        }
    }
    unlock(members);
}

enum status members_read(struct members *members, struct view *view, struct store *store,
                         struct error *error)
{
    struct rows *rows;
    enum status status = view_begin(store, view, error);

    if (status != STATUS_OK) {
        return status;
    }
    rows = memory_new_zeroed(1, sizeof *rows);
    status = view_members(view, on_row, rows);
    view_end(view);
    if (status == STATUS_OK) {
        overlay(members, rows);
    } else {
        (void)error_set(error, status, "could not read the member table: %s", status_text(status));
    }
    free(rows);
    return status;
}

bool members_say(struct members *members, const struct member_row *row)
{
    const struct known *known;
    bool same;

    lock(members);
    known = find(members, row->id);
    same = known != NULL && known->in_table && slice_equals_string(row->name, known->name) &&
           slice_equals_string(row->peer_address, known->peer_address) &&
           slice_equals_string(row->api_address, known->api_address) &&
           slice_equals_string(row->version, known->version);
    unlock(members);
    return same;
}

bool members_address(struct members *members, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1])
{
    const struct known *known;
    bool found;

    lock(members);
    known = find(members, id);
    found = known != NULL;
    if (found) {
        memcpy(address, known->peer_address, sizeof known->peer_address);
    }
    unlock(members);
    return found;
}

unsigned members_others(struct members *members, uint64_t self, uint64_t ids[LIMIT_MEMBERS])
{
    unsigned n = 0;

    lock(members);
    for (unsigned i = 0; i < members->n_known; i++) {
        if (members->known[i].id != self) {
            ids[n++] = members->known[i].id;
        }
    }
    unlock(members);
    return n;
}

void members_describe(struct members *members, struct node_status *status)
{
    lock(members);
    for (unsigned i = 0; i < status->n_members; i++) {
        struct node_member *member = &status->members[i];
        const struct known *known = find(members, member->id);

        if (known != NULL) {
            memcpy(member->name, known->name, sizeof member->name);
            memcpy(member->peer_address, known->peer_address, sizeof member->peer_address);
            memcpy(member->api_address, known->api_address, sizeof member->api_address);
            memcpy(member->version, known->version, sizeof member->version);
        }
    }
    unlock(members);
}
