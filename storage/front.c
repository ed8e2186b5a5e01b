/* Where queues begin.
 *
 * A record that was taken from the front of a queue leaves a deletion in the memtable until the
 * next flush, and LMDB still has it. Who looks for the first record from the beginning of the queue
 * would walk over all of these, each time. So the writer remembers of the last few prefixes that
 * nothing lies below a key: the one that was found first. A record that is put below it moves it
 * there; taking records only makes it less sharp. What is taken back may lie below, so then all is
 * forgotten. */
#include "daemon/base/check.h"
#include "storage/store_private.h"

static struct front *find_front(struct fronts *fronts, struct slice prefix)
{
    for (unsigned i = 0; i < fronts->n; i++) {
        struct front *front = &fronts->list[i];

        if (slice_equals(slice_of(front->prefix, front->prefix_size), prefix)) {
            return front;
        }
    }
    return NULL;
}

/* In the place of the one that was added first, if there are many. */
static struct front *add_front(struct fronts *fronts, struct slice prefix)
{
    struct front *front = &fronts->list[fronts->next];

    memcpy(front->prefix, prefix.data, prefix.size);
    front->prefix_size = prefix.size;
    fronts->next = (fronts->next + 1) % FRONTS;
    fronts->n += fronts->n < FRONTS ? 1 : 0;
    return front;
}

/* @key: empty if there is no record. */
static void move_front(struct front *front, struct slice key)
{
    CHECK(key.size <= sizeof front->low);
    if (key.size > 0) {
        memcpy(front->low, key.data, key.size);
    }
    front->low_size = key.size;
}

void front_note_put(struct fronts *fronts, struct slice key)
{
    for (unsigned i = 0; i < fronts->n; i++) {
        struct front *front = &fronts->list[i];

        if (slice_starts_with(key, slice_of(front->prefix, front->prefix_size)) &&
            (front->low_size == 0 ||
             slice_compare(key, slice_of(front->low, front->low_size)) < 0)) {
            move_front(front, key);
        }
    }
}

void front_forget(struct fronts *fronts)
{
    fronts->n = 0;
    fronts->next = 0;
}

enum status txn_seek(struct txn *txn, struct slice from, struct slice prefix, struct slice *key,
                     struct slice *payload)
{
    struct cursor *cursor;
    enum status status = cursor_open(txn, &cursor);

    if (status != STATUS_OK) {
        return status;
    }
    status = cursor_seek(cursor, from, key, payload);
    cursor_close(cursor);
    return status == STATUS_OK && !slice_starts_with(*key, prefix) ? STATUS_END : status;
}

enum status txn_first(struct txn *txn, struct slice prefix, struct slice *key,
                      struct slice *payload)
{
    struct fronts *fronts = &txn->fronts;
    struct slice from = prefix;
    struct front *front;
    enum status status;

    CHECK(prefix.size > 0 && prefix.size <= LIMIT_STATE_KEY_BYTES);
    if (!txn->is_write) {
        return txn_seek(txn, prefix, prefix, key, payload);
    }
    front = find_front(fronts, prefix);
    if (front != NULL) {
        if (front->low_size == 0) {
            return STATUS_END;
        }
        from = slice_of(front->low, front->low_size);
    }
    status = txn_seek(txn, from, prefix, key, payload);
    if (status == STATUS_OK || status == STATUS_END) {
        front = front != NULL ? front : add_front(fronts, prefix);
        move_front(front, status == STATUS_OK ? *key : slice_of(NULL, 0));
    }
    return status;
}
