/* 1. The namespaces, with all of their names kept.
 * 2. Of each, the sessions in the order of their creation, which no change of one disturbs. Behind
 *    each come its events, in parts if they are many.
 * 3. Of each, the items by key.
 *
 * A namespace that is deleted meanwhile is left: the change is in the change log. */
#include "storage/archive/mirror_walk.h"

#include <stdlib.h>

#include "daemon/base/memory.h"

struct place {
    uint64_t id;
    size_t name_offset; /* In walk->names. */
    size_t name_size;
};

enum stage { STAGE_NAMESPACES, STAGE_SESSIONS, STAGE_ITEMS, STAGE_DONE };

struct mirror_walk {
    size_t bytes;
    bool has_begun;
    struct mirror_end end;
    enum stage stage;
    struct buffer position; /* In the list of the stage. */
    bool is_at_end;         /* Of that list; a log may still be open. */
    struct buffer names;
    struct buffer places; /* Of struct place. */
    size_t at;            /* The place of the stage. */
    struct mirror_log log;
    struct buffer session_id; /* Whose log is open. */

    /* Of one call. */
    struct mirror_reader *reader;
    struct mirror_namespace ns;
    enum status status; /* Inside a callback. */
};

struct mirror_walk *mirror_walk_open(size_t bytes)
{
    struct mirror_walk *walk = memory_new_zeroed(1, sizeof *walk);

    walk->bytes = bytes;
    return walk;
}

void mirror_walk_close(struct mirror_walk *walk)
{
    if (walk != NULL) {
        buffer_close(&walk->position);
        buffer_close(&walk->names);
        buffer_close(&walk->places);
        buffer_close(&walk->session_id);
        free(walk);
    }
}

void mirror_walk_end(const struct mirror_walk *walk, struct mirror_end *end)
{
    *end = walk->end;
}

/* --- Rows --- */

static bool on_namespace(void *data, const struct namespace_row *row)
{
    struct mirror_walk *walk = data;
    struct place place = {
        .id = row->id, .name_offset = walk->names.size, .name_size = row->name.size};

    if (walk->reader->left_bytes == 0) {
        return false;
    }
    mirror_reader_put_namespace(walk->reader, row);
    buffer_append_slice(&walk->names, row->name);
    buffer_append(&walk->places, &place, sizeof place);
    return true;
}

/* Lists give sessions without their states. */
static bool on_session(void *data, const struct session_row *listed)
{
    struct mirror_walk *walk = data;
    struct session_row row;

    if (walk->reader->left_bytes == 0 || walk->log.is_open) {
        return false;
    }
    walk->status = view_session(walk->reader->view, walk->ns.id, listed->id, &row);
    if (walk->status == STATUS_OK) {
        mirror_reader_put_session(walk->reader, &walk->ns, &row);
        walk->status = mirror_reader_read_log(walk->reader, &walk->ns, &row, 0, &walk->log);
    }
    if (walk->log.is_open) {
        buffer_clear(&walk->session_id);
        buffer_append_slice(&walk->session_id, row.id);
    }
    return walk->status == STATUS_OK;
}

static bool on_item(void *data, const struct item_row *row)
{
    struct mirror_walk *walk = data;

    if (walk->reader->left_bytes == 0) {
        return false;
    }
    mirror_reader_put_item(walk->reader, &walk->ns, row);
    return true;
}

/* The rest of the log that was cut off, if it is still the same one. */
static enum status go_on_with_log(struct mirror_walk *walk)
{
    struct session_row row;
    enum status status =
        view_session(walk->reader->view, walk->ns.id, buffer_slice(&walk->session_id), &row);

    if (status == STATUS_OK && row.object_id == walk->log.object_id) {
        return mirror_reader_read_log(walk->reader, &walk->ns, &row, 0, &walk->log);
    }
    walk->log.is_open = false;
    return status == STATUS_NOT_FOUND || status == STATUS_CLOSED ? STATUS_OK : status;
}

/* --- Stages --- */

/* STATUS_NOT_FOUND: it was deleted. */
static enum status enter(struct mirror_walk *walk)
{
    struct place place;
    struct slice name;
    enum status status;

    memcpy(&place, walk->places.data + walk->at * sizeof place, sizeof place);
    walk->ns = (struct mirror_namespace){
        .id = place.id, .name = slice_of(walk->names.data + place.name_offset, place.name_size)};
    status = view_namespace_name(walk->reader->view, place.id, &name);
    if (status == STATUS_NOT_FOUND) {
        walk->log.is_open = false;
        walk->is_at_end = true;
    }
    return status;
}

static enum status read_sessions(struct mirror_walk *walk)
{
    const struct session_filter filter = {.sort = SESSION_SORT_CREATED, .order = ORDER_ASC};
    enum status status = STATUS_OK;

    if (walk->log.is_open) {
        status = go_on_with_log(walk);
    }
    if (status != STATUS_OK || walk->log.is_open || walk->is_at_end) {
        return status;
    }
    walk->status = STATUS_OK;
    status =
        view_sessions(walk->reader->view, walk->ns.id, &filter, &walk->position, on_session, walk);
    walk->is_at_end = walk->position.size == 0;
    return status == STATUS_OK ? walk->status : status;
}

static enum status read_namespaces(struct mirror_walk *walk)
{
    enum status status =
        view_namespaces(walk->reader->view, ORDER_ASC, &walk->position, on_namespace, walk);

    walk->is_at_end = walk->position.size == 0;
    return status;
}

static enum status read_items(struct mirror_walk *walk)
{
    enum status status = view_items(walk->reader->view, walk->ns.id, slice_of(NULL, 0), ORDER_ASC,
                                    &walk->position, on_item, walk);

    walk->is_at_end = walk->position.size == 0;
    return status;
}

/* One page of the stage. */
static enum status read_page(struct mirror_walk *walk)
{
    enum status status;

    if (walk->stage == STAGE_NAMESPACES) {
        return read_namespaces(walk);
    }
    status = enter(walk);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    return walk->stage == STAGE_SESSIONS ? read_sessions(walk) : read_items(walk);
}

/* The list is at its end: the next one. */
static void advance(struct mirror_walk *walk)
{
    size_t n = walk->places.size / sizeof(struct place);

    walk->is_at_end = false;
    buffer_clear(&walk->position);
    if (walk->stage != STAGE_NAMESPACES && ++walk->at < n) {
        return;
    }
    walk->stage++;
    walk->at = 0;
    if (n == 0) {
        walk->stage = STAGE_DONE;
    }
}

enum status mirror_walk_read(struct mirror_walk *walk, struct view *view,
                             const struct mirror_sink *sink, bool *is_done)
{
    struct mirror_reader reader = {.view = view, .sink = sink, .left_bytes = walk->bytes};
    enum status status = STATUS_OK;

    if (!walk->has_begun) {
        walk->has_begun = true;
        walk->end.revision = view->state->revision;
        walk->end.time_ms = view->state->time_ms;
    }
    walk->end.newest_revision = view->state->revision;
    walk->reader = &reader;
    while (status == STATUS_OK && walk->stage != STAGE_DONE && reader.left_bytes > 0) {
        status = read_page(walk);
        if (status == STATUS_OK && walk->is_at_end && !walk->log.is_open) {
            advance(walk);
        }
    }
    walk->reader = NULL;
    *is_done = walk->stage == STAGE_DONE;
    return status;
}
