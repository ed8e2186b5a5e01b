#include "storage/replay.h"

#include <stdlib.h>

#include "daemon/base/limits.h"
#include "daemon/base/memory.h"

#define FLUSH_BYTES (LIMIT_FLUSH_BYTES / 2)

struct replay {
    struct store *store;
    struct machine *machine;
    enum replay_source source;
    size_t unflushed_bytes;
    uint64_t last_index;
};

enum status replay_open(struct store *store, enum replay_source source, struct replay **replay,
                        struct error *error)
{
    struct machine *machine;
    enum status status = machine_open(store, FEATURE_LEVEL, &machine, error);

    if (status != STATUS_OK) {
        return status;
    }
    *replay = memory_new_zeroed(1, sizeof **replay);
    (*replay)->store = store;
    (*replay)->machine = machine;
    (*replay)->source = source;
    return STATUS_OK;
}

static void on_result(void *data, uint32_t bundle, uint32_t command, struct slice result)
{
    (void)data; /* Nobody waits for an answer. */
    (void)bundle;
    (void)command;
    (void)result;
}

/* What was executed last is flushed only with what comes next, so that the caller can look at it
 * before. */
enum status replay_execute(struct replay *replay, uint64_t index, uint64_t term,
                           const struct slice *entry, struct error *error)
{
    enum status status =
        replay->unflushed_bytes >= FLUSH_BYTES ? replay_flush(replay, error) : STATUS_OK;

    if (status != STATUS_OK) {
        return status;
    }
    status = entry != NULL
                 ? machine_execute(replay->machine, index, term, *entry, on_result, NULL, error)
                 : machine_skip_to(replay->machine, index, term, error);
    replay->unflushed_bytes += entry != NULL ? entry->size : 0;
    replay->last_index = index;
    return status;
}

enum status replay_look(struct replay *replay, uint64_t hash[2], uint64_t *revision,
                        struct error *error)
{
    enum status status = machine_commit(replay->machine, error);

    if (status != STATUS_OK) {
        return status;
    }
    machine_state_hash(replay->machine, hash);
    *revision = machine_revision(replay->machine);
    return STATUS_OK;
}

enum status replay_flush(struct replay *replay, struct error *error)
{
    bool frozen = false;
    enum status status;

    if (replay->source == REPLAY_OWN_LOG) {
        machine_set_stored(replay->machine, replay->last_index);
    }
    status = machine_freeze(replay->machine, &frozen, error);
    if (status == STATUS_OK && frozen) {
        status = store_flush(replay->store, error);
    }
    replay->unflushed_bytes = 0;
    return status;
}

void replay_close(struct replay *replay)
{
    if (replay == NULL) {
        return;
    }
    machine_close(replay->machine);
    free(replay);
}
