#include "storage/event_log.h"

#include "daemon/base/mutation.h"
#include "daemon/base/wire.h"
#include "storage/expiry.h"
#include "storage/keys.h"
#include "storage/view.h"

/* --- Dead ranges ------------------------------------------------------------------------------ */

/* In the order of their beginnings; one may lie inside another. */
struct ranges {
    unsigned n;
    struct purge range[EVENT_LOG_RANGES];
};

static enum status load_ranges(struct txn *txn, uint64_t object_id, struct ranges *ranges)
{
    uint64_t from_seq = 0;
    enum status status;

    ranges->n = 0;
    while (ranges->n < EVENT_LOG_RANGES) {
        struct purge *range = &ranges->range[ranges->n];

        status = purge_find_events(txn, object_id, from_seq, range);
        if (status != STATUS_OK) {
            return status == STATUS_END ? STATUS_OK : status;
        }
        from_seq = range->from_seq + 1;
        ranges->n++;
    }
    return STATUS_OK;
}

static const struct purge *range_around(const struct ranges *ranges, uint64_t seq)
{
    for (unsigned i = 0; i < ranges->n; i++) {
        const struct purge *range = &ranges->range[i];

        if (range->from_seq <= seq && seq < range->below_seq) {
            return range;
        }
    }
    return NULL;
}

/* The first number at or behind @seq that is not in a dead range. */
static uint64_t skip_up(const struct ranges *ranges, uint64_t seq)
{
    const struct purge *range;

    while ((range = range_around(ranges, seq)) != NULL) {
        seq = range->below_seq;
    }
    return seq;
}

/* The first number at or before @seq that is not in a dead range; 0 if there is none. */
static uint64_t skip_down(const struct ranges *ranges, uint64_t seq)
{
    const struct purge *range;

    while (seq > 0 && (range = range_around(ranges, seq)) != NULL) {
        seq = range->from_seq == 0 ? 0 : range->from_seq - 1;
    }
    return seq;
}

/* --- Finding ---------------------------------------------------------------------------------- */

/* A walk over the live events of one log. */
struct walk {
    struct cursor *cursor;
    struct ranges ranges;
    uint64_t object_id;
    struct slice payload; /* Of the event where it stands. */
    uint64_t seq;
};

static enum status walk_open(struct walk *walk, struct txn *txn, uint64_t object_id)
{
    enum status status = load_ranges(txn, object_id, &walk->ranges);

    if (status != STATUS_OK) {
        return status;
    }
    walk->object_id = object_id;
    return cursor_open(txn, &walk->cursor);
}

/* Read the place of the record that a seek found. STATUS_END if it is of another log. */
static enum status place(struct walk *walk, enum status status, struct slice found)
{
    uint64_t object_id;

    if (status != STATUS_OK) {
        return status;
    }
    if (!key_parse_event(found, &object_id, &walk->seq) || object_id != walk->object_id) {
        return STATUS_END;
    }
    return STATUS_OK;
}

/* Stand at the first live event at or behind @seq. STATUS_END. */
static enum status walk_up(struct walk *walk, uint64_t seq)
{
    struct slice found;
    enum status status;

    do {
        struct key key = key_event(walk->object_id, skip_up(&walk->ranges, seq));

        status = cursor_seek(walk->cursor, key_slice(&key), &found, &walk->payload);
        status = place(walk, status, found);
        seq = walk->seq;
    } while (status == STATUS_OK && range_around(&walk->ranges, seq) != NULL);
    return status;
}

/* Stand at the last live event at or before @seq. STATUS_END. */
static enum status walk_down(struct walk *walk, uint64_t seq)
{
    struct slice found;
    enum status status;

    do {
        struct key key;

        seq = skip_down(&walk->ranges, seq);
        if (seq == 0) {
            return STATUS_END;
        }
        key = key_event(walk->object_id, seq);
        key = key_behind_prefix(&key); /* Seeking before it finds the event itself. */
        status = cursor_seek_before(walk->cursor, key_slice(&key), &found, &walk->payload);
        status = place(walk, status, found);
        seq = walk->seq;
    } while (status == STATUS_OK && range_around(&walk->ranges, seq) != NULL);
    return status;
}

/* The next live event in the direction, where stepping once is mostly enough. */
static enum status walk_on(struct walk *walk, enum list_order order)
{
    bool ascending = order == ORDER_ASC;
    struct slice found;
    enum status status = ascending ? cursor_next(walk->cursor, &found, &walk->payload)
                                   : cursor_prev(walk->cursor, &found, &walk->payload);

    status = place(walk, status, found);
    if (status != STATUS_OK || range_around(&walk->ranges, walk->seq) == NULL) {
        return status;
    }
    return ascending ? walk_up(walk, walk->seq) : walk_down(walk, walk->seq);
}

/* Read the live event at or before (behind) @seq, which must exist. What @event borrows is valid
 * until the next write. */
static enum status find_event(struct txn *txn, uint64_t object_id, uint64_t seq,
                              enum list_order order, struct event_row *event)
{
    struct walk walk;
    enum status status = walk_open(&walk, txn, object_id);

    if (status != STATUS_OK) {
        return status;
    }
    status = order == ORDER_ASC ? walk_up(&walk, seq) : walk_down(&walk, seq);
    if (status == STATUS_OK) {
        status = event_row_decode(walk.payload, event);
    }
    cursor_close(walk.cursor);
    return status == STATUS_END ? STATUS_CORRUPT : status;
}

/* --- Changing --------------------------------------------------------------------------------- */

uint64_t log_bytes_of(const struct event_row *event)
{
    return event->id.size + event->type.size + event->data.size;
}

void log_advance(struct session_row *row, struct event_row *event)
{
    uint64_t bytes = log_bytes_of(event);

    event->seq = MUTATION(numbers_used_again) ? row->last_seq + 1 : row->next_seq;
    row->next_seq = event->seq + 1;
    event->prev_seq = row->last_seq;
    event->log_count = ++row->log_count;
    event->log_bytes = row->log_bytes += bytes;
    row->event_count++;
    row->event_bytes += bytes;
    row->last_seq = event->seq;
    if (row->first_seq == 0) {
        row->first_seq = event->seq;
    }
}

/* Nothing is live any more. The counts of the log go on from where they are. */
static void empty(struct session_row *row)
{
    row->first_seq = 0;
    row->event_count = 0;
    row->event_bytes = 0;
}

static enum status rewind_to_trimmed(struct txn *txn, struct session_row *row, uint64_t after_seq)
{
    struct event_row first;
    enum status status = find_event(txn, row->object_id, row->first_seq, ORDER_ASC, &first);

    if (status != STATUS_OK) {
        return status;
    }
    empty(row);
    row->last_seq = after_seq < first.prev_seq ? after_seq : first.prev_seq;
    return STATUS_OK;
}

static enum status rewind_to_live(struct txn *txn, struct session_row *row, uint64_t after_seq,
                                  struct log_cut *cut)
{
    struct event_row tip;
    enum status status = find_event(txn, row->object_id, after_seq, ORDER_DESC, &tip);

    if (status != STATUS_OK) {
        return status;
    }
    if (tip.seq < row->first_seq || tip.log_count > row->log_count) {
        return STATUS_CORRUPT;
    }
    row->event_count -= row->log_count - tip.log_count;
    row->event_bytes -= row->log_bytes - tip.log_bytes;
    row->log_count = tip.log_count;
    row->log_bytes = tip.log_bytes;
    row->last_seq = tip.seq;
    cut->from_seq = tip.seq + 1;
    return STATUS_OK;
}

enum status log_rewind(struct txn *txn, struct session_row *row, uint64_t after_seq,
                       struct log_cut *cut)
{
    uint64_t count = row->event_count;
    enum status status;

    *cut = (struct log_cut){.from_seq = row->first_seq, .below_seq = row->next_seq};
    if (after_seq >= row->last_seq) {
        return STATUS_OK;
    }
    if (row->first_seq == 0) {
        row->last_seq = after_seq; /* All was trimmed: only the number goes back. */
        return STATUS_OK;
    }
    if (after_seq < row->first_seq) {
        status = rewind_to_trimmed(txn, row, after_seq);
    } else {
        status = rewind_to_live(txn, row, after_seq, cut);
    }
    if (status == STATUS_OK) {
        cut->deleted = count - row->event_count;
    }
    return status;
}

enum status log_trim(struct txn *txn, struct session_row *row, uint64_t before_seq,
                     struct log_cut *cut)
{
    uint64_t count = row->event_count;
    struct event_row first;
    enum status status;

    *cut = (struct log_cut){.from_seq = 1, .below_seq = row->next_seq};
    if (row->first_seq == 0 || before_seq <= row->first_seq) {
        return STATUS_OK;
    }
    if (before_seq > row->last_seq) {
        empty(row);
        cut->deleted = count;
        return STATUS_OK;
    }
    status = find_event(txn, row->object_id, before_seq, ORDER_ASC, &first);
    if (status != STATUS_OK) {
        return status;
    }
    if (first.seq > row->last_seq || first.log_count > row->log_count) {
        return STATUS_CORRUPT;
    }
    row->first_seq = first.seq;
    row->event_count = row->log_count - first.log_count + 1;
    row->event_bytes = row->log_bytes - first.log_bytes + log_bytes_of(&first);
    cut->below_seq = first.seq;
    cut->deleted = count - row->event_count;
    return STATUS_OK;
}

/* Take the ranges inside @cut off the queue, as the cut does their work; counts the others. */
static enum status absorb(struct txn *txn, uint64_t object_id, const struct log_cut *cut,
                          bool *absorbed, unsigned *others)
{
    struct ranges ranges;
    enum status status = load_ranges(txn, object_id, &ranges);

    *absorbed = false;
    *others = 0;
    for (unsigned i = 0; i < ranges.n && status == STATUS_OK; i++) {
        const struct purge *range = &ranges.range[i];

        if (range->from_seq >= cut->from_seq && range->below_seq <= cut->below_seq) {
            status = purge_remove(txn, range);
            *absorbed = true;
        } else {
            ++*others;
        }
    }
    return status;
}

enum status log_write_cut(struct txn *txn, uint64_t object_id, const struct log_cut *cut)
{
    uint32_t unlimited = UINT32_MAX;
    bool absorbed;
    unsigned others;
    enum status status;

    if (cut->deleted == 0) {
        return STATUS_OK;
    }
    status = absorb(txn, object_id, cut, &absorbed, &others);
    if (status != STATUS_OK) {
        return status;
    }
    if ((cut->deleted <= EVENT_LOG_DELETE_NOW && !absorbed) || others >= EVENT_LOG_RANGES) {
        return log_delete(txn, object_id, cut->from_seq, cut->below_seq, &unlimited);
    }
    return purge_add_events(txn, object_id, cut->from_seq, cut->below_seq);
}

enum status log_delete(struct txn *txn, uint64_t object_id, uint64_t from_seq, uint64_t below_seq,
                       uint32_t *budget)
{
    struct key key = key_event(object_id, from_seq);
    struct cursor *cursor;
    enum status status = cursor_open(txn, &cursor);

    if (status != STATUS_OK) {
        return status;
    }
    while (*budget > 0) {
        struct slice found;
        struct slice payload;
        uint64_t found_id;
        uint64_t seq;

        status = cursor_seek(cursor, key_slice(&key), &found, &payload);
        if (status != STATUS_OK || !key_parse_event(found, &found_id, &seq) ||
            found_id != object_id || seq >= below_seq) {
            break;
        }
        key = key_event(object_id, seq);
        status = txn_delete(txn, key_slice(&key));
        if (status != STATUS_OK) {
            break;
        }
        --*budget;
    }
    cursor_close(cursor);
    return status == STATUS_END ? STATUS_OK : status;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* A position is the number of the event to look at next. It stays in this process or comes back
 * inside a cursor that the API has sealed with the page's parameters. */
static void set_position(struct buffer *position, uint64_t seq)
{
    buffer_clear(position);
    wire_put_u64(position, seq);
}

/* The numbers that a page may show: @from to @to, both included; @from is larger if there are
 * none. */
static void bounds(const struct session_row *session, uint64_t after_seq, uint64_t before_seq,
                   uint64_t *from, uint64_t *to)
{
    *from = after_seq >= session->first_seq ? after_seq + 1 : session->first_seq;
    *to = before_seq > session->last_seq ? session->last_seq : before_seq - 1;
    if (session->first_seq == 0 || after_seq >= session->last_seq || before_seq == 0) {
        *from = 1;
        *to = 0;
    }
}

static enum status read_page(struct walk *walk, enum list_order order, uint64_t from, uint64_t to,
                             struct buffer *position, event_row_cb cb, void *data)
{
    enum status status = order == ORDER_ASC ? walk_up(walk, from) : walk_down(walk, to);

    buffer_clear(position);
    while (status == STATUS_OK && walk->seq >= from && walk->seq <= to) {
        struct event_row event;

        status = event_row_decode(walk->payload, &event);
        if (status != STATUS_OK) {
            return status;
        }
        if (!cb(data, &event)) {
            set_position(position, event.seq);
            return STATUS_OK;
        }
        status = walk_on(walk, order);
    }
    return status == STATUS_END ? STATUS_OK : status;
}

enum status view_events(struct view *view, const struct session_row *session, uint64_t after_seq,
                        uint64_t before_seq, enum list_order order, struct buffer *position,
                        event_row_cb cb, void *data)
{
    struct walk walk;
    uint64_t from;
    uint64_t to;
    enum status status;

    bounds(session, after_seq, before_seq, &from, &to);
    if (position->size > 0) {
        struct wire_reader reader = wire_reader_of(buffer_slice(position));
        uint64_t seq = wire_get_u64(&reader);

        if (wire_done(&reader) != STATUS_OK) {
            return STATUS_INVALID;
        }
        if (order == ORDER_ASC && seq > from) {
            from = seq;
        } else if (order == ORDER_DESC && seq < to) {
            to = seq;
        }
    }
    if (from > to) {
        buffer_clear(position);
        return STATUS_OK;
    }
    status = walk_open(&walk, view->txn, session->object_id);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_page(&walk, order, from, to, position, cb, data);
    cursor_close(walk.cursor);
    return status;
}
