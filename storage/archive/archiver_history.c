/* Whether the chain in the repository is of the history that this cluster has. It is not if all of
 * its disks were set back to an earlier time, or if there is a copy of it, with the same UUID. Such
 * a cluster would wait without a word until it is behind the chain's end, or go on behind what is
 * not its own; either is told instead.
 *
 * States that executed the same log are equal at equal indexes, so their hashes tell. */
#include <inttypes.h>

#include "daemon/base/clock.h"
#include "storage/archive/archiver_private.h"

/* Of deltas: nobody who archives is so far behind another one who did. */
#define AHEAD_INTERVALS 6

/* The hash that the state had here at @index; what is behind @after is looked through. False: that
 * is not known, or not yet. */
static bool find_hash(struct archiver *archiver, uint64_t after, uint64_t index, uint64_t hash[2])
{
    uint64_t at = after;
    uint64_t before;

    do {
        struct buffer steps = BUFFER_EMPTY;
        struct step step;
        struct slice walk;

        before = at;
        if (journal_read(archiver->options.journal, at, DELTA_BYTES, &steps, NULL) == STATUS_OK) {
            walk = buffer_slice(&steps);
            while (at < index && step_take(&walk, &step) == STATUS_OK) {
                at = step.index;
                hash[0] = step.hash[0];
                hash[1] = step.hash[1];
            }
        }
        buffer_close(&steps);
    } while (at < index && at > before && !archiver_gives_up(archiver));
    return at == index;
}

enum status archiver_check_history(struct archiver *archiver, const struct delta_facts *facts,
                                   struct error *error)
{
    uint64_t hash[2] = {0, 0};

    if (facts->first_index == 0 ||
        !find_hash(archiver, facts->first_index - 1, facts->last_index, hash) ||
        (hash[0] == facts->last_hash[0] && hash[1] == facts->last_hash[1])) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_MISMATCH,
                     "\"%s\" in %s is of another history: at log index %" PRIu64
                     " this cluster was in another state. It was set back, or there is a copy of "
                     "it: archive to another place",
                     archiver->base, archiver->status.url, facts->last_index);
}

/* Not at once: another one may have archived what this node is just about to execute. */
static enum status refuse_when_ahead(struct archiver *archiver, uint64_t last_index,
                                     struct error *error)
{
    uint64_t now_ms = clock_ms();

    if (archiver->ahead_since_ms == 0) {
        archiver->ahead_since_ms = now_ms;
    }
    if (now_ms - archiver->ahead_since_ms < AHEAD_INTERVALS * archiver->options.schedule.delta_ms) {
        return STATUS_OK;
    }
    return error_set(
        error, STATUS_MISMATCH,
        "\"%s\" in %s goes on to log index %" PRIu64 ", but this cluster has only come to %" PRIu64
        ": it was set back; archive to another place",
        archiver->base, archiver->status.url, archiver->catalog.last_index, last_index);
}

enum status archiver_check_end(struct archiver *archiver, struct error *error)
{
    const struct catalog *catalog = &archiver->catalog;
    struct journal_statistics journal;
    struct delta_facts facts;
    char name[NAMES_BYTES];
    enum status status;
    bool is_known;

    journal_statistics(archiver->options.journal, &journal);
    is_known = catalog->n_deltas > 0 && journal.last_index > 0;
    if (is_known && journal.last_index < catalog->last_index) {
        return refuse_when_ahead(archiver, journal.last_index, error);
    }
    archiver->ahead_since_ms = 0;
    if (!is_known || archiver->knows_history) {
        return STATUS_OK;
    }
    names_delta(archiver->base, catalog->deltas[catalog->n_deltas - 1].first_index, name);
    status = delta_look(archiver->repository, name, archiver->options.keys, &facts, error);
    if (status == STATUS_OK) {
        status = archiver_check_history(archiver, &facts, error);
    }
    archiver->knows_history = status == STATUS_OK;
    return status;
}
