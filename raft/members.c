#include "raft/members.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

struct known {
    uint64_t id;
    bool in_table; /* Else it is as the cluster was formed, ... */
    bool is_met;   /* ... or as it said of itself. */
    bool was_removed;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    char version[sizeof((struct node_member *)NULL)->version];
};

struct members {
    pthread_mutex_t mutex;
    unsigned n_known;
    struct known known[LIMIT_MEMBERS];
    bool has_configuration;
    uint64_t configuration_as_of; /* Log index. */
    unsigned n_configuration;
    uint64_t configuration[LIMIT_MEMBERS];
    struct membership_table table;
    uint64_t version; /* Counts how often the table was read. */
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
    membership_table_close(&members->table);
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

void members_set_configuration(struct members *members, const uint64_t *ids, unsigned n_ids,
                               uint64_t index)
{
    CHECK(n_ids <= LIMIT_MEMBERS);
    lock(members);
    members->has_configuration = true;
    members->configuration_as_of = index;
    members->n_configuration = n_ids;
    memcpy(members->configuration, ids, n_ids * sizeof *ids);
    unlock(members);
}

static bool is_configured(const struct members *members, uint64_t id)
{
    for (unsigned i = 0; i < members->n_configuration; i++) {
        if (members->configuration[i] == id) {
            return true;
        }
    }
    return false;
}

/* What is read: the lock is not held meanwhile, as LMDB may wait for a page. */
struct reading {
    struct membership_table table;
    unsigned n_removed;
    struct known removed[LIMIT_MEMBERS]; /* Those that are in the configuration still. */
    const uint64_t *configuration;
    unsigned n_configuration;
};

static bool on_removed(void *data, const struct removed_member_row *row)
{
    struct reading *reading = data;
    struct known *known;

    for (unsigned i = 0; i < reading->n_configuration; i++) {
        if (reading->configuration[i] == row->id && reading->n_removed < LIMIT_MEMBERS) {
            known = &reading->removed[reading->n_removed++];
            *known = (struct known){.id = row->id, .in_table = true, .was_removed = true};
            copy(row->name, known->name, sizeof known->name);
            copy(row->peer_address, known->peer_address, sizeof known->peer_address);
            copy(row->api_address, known->api_address, sizeof known->api_address);
        }
    }
    return true;
}

/* Drop those of the table before, and those that formed the cluster and were removed. */
static void forget(struct members *members, const struct membership_table *table)
{
    unsigned n = 0;

    for (unsigned i = 0; i < members->n_known; i++) {
        if (!members->known[i].in_table &&
            membership_find_removed(table, members->known[i].id) == NULL) {
            members->known[n++] = members->known[i];
        }
    }
    members->n_known = n;
}

static void overlay(struct members *members, struct reading *reading)
{
    lock(members);
    forget(members, &reading->table);
    for (unsigned i = 0; i < reading->table.n_rows; i++) {
        const struct membership_row *row = &reading->table.rows[i];
        struct known *known = find_or_add(members, row->id);

        if (known != NULL) {
            *known = (struct known){.id = row->id, .in_table = true};
            memcpy(known->name, row->name, sizeof known->name);
            memcpy(known->peer_address, row->peer_address, sizeof known->peer_address);
            memcpy(known->api_address, row->api_address, sizeof known->api_address);
            memcpy(known->version, row->version, sizeof known->version);
        }
    }
    for (unsigned i = 0; i < reading->n_removed; i++) {
        struct known *known = find_or_add(members, reading->removed[i].id);

        if (known != NULL) {
            *known = reading->removed[i];
        }
    }
    membership_table_close(&members->table);
    members->table = reading->table; /* Its memory too. */
    members->version++;
    unlock(members);
}

static enum status read_rows(struct view *view, struct store *store, struct reading *reading,
                             struct error *error)
{
    enum status status = view_begin(store, view, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = membership_table_read(&reading->table, view);
    if (status == STATUS_OK) {
        status = view_removed_members(view, on_removed, reading);
    }
    view_end(view);
    if (status != STATUS_OK) {
        membership_table_close(&reading->table);
        return error_set(error, status, "could not read the member table: %s", status_text(status));
    }
    return STATUS_OK;
}

enum status members_read(struct members *members, struct view *view, struct store *store,
                         struct error *error)
{
    struct reading *reading = memory_new_zeroed(1, sizeof *reading);
    uint64_t configuration[LIMIT_MEMBERS];
    enum status status;

    lock(members);
    reading->configuration = configuration;
    reading->n_configuration = members->n_configuration;
    memcpy(configuration, members->configuration, sizeof configuration);
    unlock(members);
    status = read_rows(view, store, reading, error);
    if (status == STATUS_OK) {
        overlay(members, reading);
    }
    free(reading);
    return status;
}

static void add_formed(const struct members *members, struct membership_table *table)
{
    for (unsigned i = 0; i < members->n_known && table->n_rows < LIMIT_MEMBERS; i++) {
        const struct known *known = &members->known[i];
        struct membership_row *row = &table->rows[table->n_rows];

        if (known->in_table || known->is_met) {
            continue;
        }
        *row = (struct membership_row){.id = known->id};
        memcpy(row->name, known->name, sizeof row->name);
        memcpy(row->peer_address, known->peer_address, sizeof row->peer_address);
        memcpy(row->api_address, known->api_address, sizeof row->api_address);
        table->n_rows++;
    }
}

bool members_table(struct members *members, uint64_t *version, struct membership_table *table)
{
    bool is_new;

    lock(members);
    is_new = members->version != *version;
    if (is_new) {
        *version = members->version;
        membership_table_copy(&members->table, table);
        add_formed(members, table);
    }
    unlock(members);
    return is_new;
}

bool members_is_drained(struct members *members, uint64_t id)
{
    const struct membership_row *row;
    bool is_drained;

    lock(members);
    row = membership_find(&members->table, id);
    is_drained = row != NULL && row->is_drained;
    unlock(members);
    return is_drained;
}

bool members_was_removed(struct members *members, uint64_t id)
{
    bool was_removed;

    lock(members);
    was_removed = members->has_configuration &&
                  members->table.applied_index <= members->configuration_as_of &&
                  membership_find_removed(&members->table, id) != NULL &&
                  !is_configured(members, id);
    unlock(members);
    return was_removed;
}

bool members_say(struct members *members, const struct member_row *row)
{
    const struct membership_row *known;
    bool same;

    lock(members);
    known = membership_find(&members->table, row->id);
    same = known != NULL && slice_equals_string(row->name, known->name) &&
           slice_equals_string(row->peer_address, known->peer_address) &&
           slice_equals_string(row->api_address, known->api_address) &&
           (row->zone.size == 0 || slice_equals_string(row->zone, known->zone)) &&
           slice_equals_string(row->version, known->version);
    unlock(members);
    return same;
}

bool members_meet(struct members *members, const struct frame_hello *hello)
{
    struct known *known = NULL;

    lock(members);
    if (membership_find_removed(&members->table, hello->id) == NULL) {
        known = find_or_add(members, hello->id);
    }
    if (known != NULL && !known->in_table) {
        known->is_met = known->peer_address[0] == '\0' || known->is_met;
        copy(hello->name, known->name, sizeof known->name);
        copy(hello->peer_address, known->peer_address, sizeof known->peer_address);
        copy(hello->api_address, known->api_address, sizeof known->api_address);
        copy(hello->version, known->version, sizeof known->version);
    }
    unlock(members);
    return known != NULL;
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
