/* The table of members, read from the state. */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/memory.h"
#include "raft/membership.h"

/* Cut what is too long: that comes from a table that a later version wrote. */
static void copy(struct slice from, char *to, size_t size)
{
    size_t length = from.size < size ? from.size : size - 1;

    if (length > 0) {
        memcpy(to, from.data, length);
    }
    to[length] = '\0';
}

static bool on_row(void *data, const struct member_row *row)
{
    struct membership_table *table = data;
    struct membership_row *next;

    if (table->n_rows == LIMIT_MEMBERS) {
        return false;
    }
    next = &table->rows[table->n_rows++];
    next->id = row->id;
    copy(row->name, next->name, sizeof next->name);
    copy(row->peer_address, next->peer_address, sizeof next->peer_address);
    copy(row->api_address, next->api_address, sizeof next->api_address);
    copy(row->zone, next->zone, sizeof next->zone);
    copy(row->version, next->version, sizeof next->version);
    next->wanted = row->wanted;
    next->is_drained = row->is_drained;
    next->is_forced = row->is_forced;
    return true;
}

static bool on_removed(void *data, const struct removed_member_row *row)
{
    struct membership_table *table = data;

    table->removed = memory_resize(table->removed, (table->n_removed + 1) * sizeof *table->removed);
    table->removed[table->n_removed++] =
        (struct membership_removed){.id = row->id, .is_forced = row->is_forced};
    return true;
}

enum status membership_table_read(struct membership_table *table, struct view *view)
{
    struct membership_table *next = memory_new_zeroed(1, sizeof *next);
    enum status status = view_members(view, on_row, next);

    if (status == STATUS_OK) {
        status = view_removed_members(view, on_removed, next);
    }
    if (status == STATUS_OK) {
        status = view_feature_level(view, &next->feature_level);
    }
    if (status == STATUS_OK) {
        next->applied_index = view->state->applied_index;
        free(table->removed);
        *table = *next;
    } else {
        free(next->removed);
    }
    free(next);
    return status;
}

void membership_table_copy(const struct membership_table *from, struct membership_table *to)
{
    size_t size = from->n_removed * sizeof *from->removed;

    free(to->removed);
    *to = *from;
    to->removed = NULL;
    if (size > 0) {
        to->removed = memory_new(size);
        memcpy(to->removed, from->removed, size);
    }
}

void membership_table_close(struct membership_table *table)
{
    free(table->removed);
    *table = (struct membership_table){.applied_index = 0};
}
