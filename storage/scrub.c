/* A scrub goes so:
 *
 * 1. Steps walk the tree "state" in the order of keys, each in a read transaction of its own, from
 *    behind the key where the one before ended. Each record is checked and added to a sum.
 * 2. A flush between two steps calls scrub_replaced() for each record that it writes. Behind the
 *    place of the scrub, what was there is taken from the sum, and what comes is added. In front of
 *    it nothing is done: it will be read as it is then.
 * 3. The step that reaches the end reads the saved facts in the same transaction. Their hash is of
 *    all records, and so is the sum now.
 *
 * Flushes and steps are on one thread, so none sees half of another. */
#include "storage/scrub.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"
#include "storage/record.h"
#include "storage/store_private.h"

#define SECOND_NS 1000000000ull
/* A turn of work, and the rest after it. */
#define WORK_NS 5000000ull
#define REST_NS 45000000ull

static struct slice position_of(const struct scrub *scrub)
{
    return slice_of(scrub->position, scrub->position_size);
}

static void begin_anew(struct scrub *scrub)
{
    scrub->is_running = true;
    scrub->position_size = 0;
    scrub->sum[0] = 0;
    scrub->sum[1] = 0;
    scrub->progress = (struct scrub_progress){.records = 0};
}

/* --- Reading --- */

static void count(struct scrub *scrub, struct slice payload)
{
    scrub->progress.records++;
    scrub->progress.bytes += payload.size;
}

static int start_behind(const struct scrub *scrub, MDB_cursor *cursor, MDB_val *key, MDB_val *value)
{
    int rv;

    if (scrub->position_size == 0) {
        return mdb_cursor_get(cursor, key, value, MDB_FIRST);
    }
    *key = val_of(position_of(scrub));
    rv = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (rv == 0 && slice_equals(slice_of_val(*key), position_of(scrub))) {
        rv = mdb_cursor_get(cursor, key, value, MDB_NEXT);
    }
    return rv; /* What the scrub stood at may be deleted since. */
}

static enum status take_record(struct store *store, MDB_val mdb_key, MDB_val value)
{
    struct scrub *scrub = &store->scrub;
    struct slice key = slice_of_val(mdb_key);
    struct slice payload;
    enum status status;

    if (key.size == 0 || key.size > sizeof scrub->position ||
        (scrub->position_size > 0 && slice_compare(key, position_of(scrub)) <= 0)) {
        store_note_damage(store, "records are not in the order of their keys");
        return STATUS_CORRUPT;
    }
    status = store_open_record(store, key, slice_of_val(value), &payload);
    if (status == STATUS_OK) {
        record_hash_add(scrub->sum, key, payload);
        count(scrub, payload);
        memcpy(scrub->position, key.data, key.size);
        scrub->position_size = key.size;
    }
    return status;
}

/* Read on until the bounds of a step, or the end: STATUS_END. */
static enum status walk(struct store *store, MDB_cursor *cursor)
{
    struct scrub *scrub = &store->scrub;
    uint64_t records = scrub->progress.records + SCRUB_STEP_RECORDS;
    uint64_t bytes = scrub->progress.bytes + SCRUB_STEP_BYTES;
    MDB_val value = {0};
    MDB_val key = {0};
    int rv = start_behind(scrub, cursor, &key, &value);

    while (rv == 0) {
        enum status status = take_record(store, key, value);

        if (status != STATUS_OK || scrub->progress.records >= records ||
            scrub->progress.bytes >= bytes) {
            return status;
        }
        rv = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rv == MDB_NOTFOUND ? STATUS_END : store_status(store, rv);
}

/* There are few of them, and no flush may change them unseen: all at once. */
static enum status read_local(struct store *store, MDB_cursor *cursor)
{
    enum status status = STATUS_OK;
    struct slice payload;
    MDB_val value = {0};
    MDB_val key = {0};
    int rv = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);

    while (rv == 0 && status == STATUS_OK) {
        status = store_open_record(store, slice_of_val(key), slice_of_val(value), &payload);
        if (status == STATUS_OK) {
            count(&store->scrub, payload);
            rv = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    return status != STATUS_OK || rv == MDB_NOTFOUND ? status : store_status(store, rv);
}

static enum status compare(struct store *store, struct error *error)
{
    const struct scrub *scrub = &store->scrub;
    struct state state;
    enum status status = store_load_state(store, scrub->mdb, &state, error);
    char what[160];

    if (status != STATUS_OK || (state.hash[0] == scrub->sum[0] && state.hash[1] == scrub->sum[1])) {
        return status;
    }
    (void)snprintf(what, sizeof what,
                   "its records are not those that its state hash is of, at index %" PRIu64
                   ": one was lost or came back",
                   state.applied_index);
    store_note_damage(store, what);
    return error_set(error, STATUS_CORRUPT, "%s", what);
}

static enum status walk_tree(struct store *store, MDB_dbi tree,
                             enum status (*with)(struct store *store, MDB_cursor *cursor))
{
    MDB_cursor *cursor;
    enum status status = store_status(store, mdb_cursor_open(store->scrub.mdb, tree, &cursor));

    if (status == STATUS_OK) {
        status = with(store, cursor);
        mdb_cursor_close(cursor);
    }
    return status;
}

/* STATUS_END: nothing is left to read, and all is well. */
static enum status read_on(struct store *store, struct error *error)
{
    enum status status = walk_tree(store, store->records, walk);

    if (status == STATUS_END) {
        status = walk_tree(store, store->local, read_local);
        status = status == STATUS_OK ? compare(store, error) : status;
        status = status == STATUS_OK ? STATUS_END : status;
    }
    return status;
}

enum status scrub_step(struct store *store, struct scrub_progress *progress, struct error *error)
{
    struct scrub *scrub = &store->scrub;
    enum status status = store_status(store, mdb_txn_renew(scrub->mdb));
    struct error why = {.text = ""};

    if (status == STATUS_OK) {
        if (!scrub->is_running) {
            begin_anew(scrub);
        }
        status = read_on(store, &why);
        mdb_txn_reset(scrub->mdb);
    }
    if (status != STATUS_OK && status != STATUS_END) {
        scrub->is_running = false;
        return error_set(error, status, "could not scrub \"%s\": %s", store->directory,
                         why.text[0] != '\0' ? why.text : status_text(status));
    }
    scrub->is_running = status != STATUS_END;
    *progress = scrub->progress;
    progress->is_complete = status == STATUS_END;
    return STATUS_OK;
}

/* --- What a flush does to it --- */

/* Add or take a record as it is in the file, or comes into it. Gives LMDB's result. */
static int account(struct store *store, struct slice key, struct slice bytes,
                   void (*how)(uint64_t sum[2], struct slice key, struct slice payload))
{
    struct slice payload;

    if (store_open_record(store, key, bytes, &payload) != STATUS_OK) {
        return MDB_CORRUPTED;
    }
    how(store->scrub.sum, key, payload);
    return 0;
}

int scrub_replaced(struct store *store, MDB_cursor *cursor, struct slice key, struct slice bytes)
{
    const struct scrub *scrub = &store->scrub;
    MDB_val mdb_key = val_of(key);
    MDB_val old;
    int rv;

    if (!scrub->is_running || slice_compare(key, position_of(scrub)) > 0) {
        return 0;
    }
    rv = mdb_cursor_get(cursor, &mdb_key, &old, MDB_SET);
    if (rv == 0) {
        rv = account(store, key, slice_of_val(old), record_hash_subtract);
    } else if (rv == MDB_NOTFOUND) {
        rv = 0;
    }
    return rv == 0 && bytes.data != NULL ? account(store, key, bytes, record_hash_add) : rv;
}

/* --- The life --- */

enum status scrub_open(struct store *store, struct error *error)
{
    int rv = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->scrub.mdb);

    if (rv != 0) {
        return store_fail(store, rv, "read from store", error);
    }
    mdb_txn_reset(store->scrub.mdb);
    return STATUS_OK;
}

void scrub_close(struct store *store)
{
    mdb_txn_abort(store->scrub.mdb);
}

/* --- When --- */

void scrub_schedule_init(struct scrub_schedule *schedule, uint64_t interval_s, uint64_t now_ns,
                         unsigned random)
{
    uint64_t interval_ns = interval_s * SECOND_NS;

    *schedule = (struct scrub_schedule){
        .interval_ns = interval_ns, .due_ns = UINT64_MAX, .ended_ns = now_ns};
    if (interval_ns > 0) {
        schedule->due_ns = now_ns + interval_ns / 100 * (50 + random % 51);
    }
}

static void finish(struct scrub_schedule *schedule, uint64_t records, uint64_t now_ns)
{
    uint64_t next_ns = schedule->begun_ns + schedule->interval_ns;

    schedule->is_running = false;
    schedule->completed++;
    schedule->records = records;
    schedule->ended_ns = now_ns;
    schedule->took_ns = now_ns - schedule->begun_ns;
    schedule->due_ns = next_ns > now_ns + REST_NS ? next_ns : now_ns + REST_NS;
}

enum status scrub_turn(struct scrub_schedule *schedule, struct store *store,
                       uint64_t (*clock_ns)(void), struct error *error)
{
    uint64_t now_ns = clock_ns();
    struct scrub_progress progress;
    enum status status;

    if (now_ns < schedule->due_ns) {
        return STATUS_OK;
    }
    if (!schedule->is_running) {
        schedule->is_running = true;
        schedule->begun_ns = now_ns;
        schedule->rest_ns = now_ns + WORK_NS;
    } else if (now_ns >= schedule->rest_ns + REST_NS) {
        schedule->rest_ns = now_ns + WORK_NS; /* It has rested. */
    }
    status = scrub_step(store, &progress, error);
    if (status != STATUS_OK) {
        return status;
    }
    now_ns = clock_ns();
    if (progress.is_complete) {
        finish(schedule, progress.records, now_ns);
    } else {
        schedule->due_ns = now_ns < schedule->rest_ns ? now_ns : now_ns + REST_NS;
    }
    return STATUS_OK;
}
