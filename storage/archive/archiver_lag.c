/* How far the chain is behind: looked at by the archiver's thread, in each turn and meanwhile when
 * something takes long, and told to whoever asks as it is then. What is shown must never be less
 * than it is: who looks at it relies on what is older being there. */
#include "daemon/base/clock.h"
#include "storage/archive/archiver_private.h"

#define NOTE_MS 1000u

/* How long ago a step was executed last. Before that, time is the cluster's, whatever the clocks of
 * nodes say. A node that has just started has not been there for a while, so its own clock is asked
 * then. */
static uint64_t last_age_ms(const struct journal_statistics *journal, uint64_t now_ms)
{
    uint64_t wall_ms = clock_wall_ms();

    if (journal->appended_ms != 0) {
        return now_ms > journal->appended_ms ? now_ms - journal->appended_ms : 0;
    }
    return wall_ms > journal->last_time_ms ? wall_ms - journal->last_time_ms : 0;
}

/* When the first step behind @index was executed, by the monotonic clock: this node may have looked
 * away for long, or was not the one that archives. */
static uint64_t first_waiting_ms(const struct archiver *archiver, uint64_t index,
                                 const struct journal_statistics *journal, uint64_t now_ms)
{
    struct buffer steps = BUFFER_EMPTY;
    uint64_t age_ms =
        index == 0 ? 0 : last_age_ms(journal, now_ms); /* 0: what is archived is not known yet. */
    struct slice walk;
    struct step step;

    if (index > 0 && journal_read(archiver->options.journal, index, 1, &steps, NULL) == STATUS_OK) {
        walk = buffer_slice(&steps);
        if (step_take(&walk, &step) == STATUS_OK && step.time_ms < journal->last_time_ms) {
            age_ms += journal->last_time_ms - step.time_ms;
        }
    }
    buffer_close(&steps);
    return age_ms < now_ms ? now_ms - age_ms : 1;
}

void archiver_find_lag(const struct archiver *archiver, uint64_t index, uint64_t since_ms,
                       struct archiver_lag *lag)
{
    struct journal_statistics journal;

    *lag = (struct archiver_lag){.noted_ms = clock_ms()};
    journal_statistics(archiver->options.journal, &journal);
    if (journal.last_index > index) {
        lag->since_ms =
            since_ms == 0 ? first_waiting_ms(archiver, index, &journal, lag->noted_ms) : since_ms;
        lag->entries = journal.last_index - index;
        lag->bytes = journal_bytes_after(archiver->options.journal, index);
    }
}

void archiver_note_lag(struct archiver *archiver)
{
    struct archiver_lag lag;
    uint64_t since_ms;
    uint64_t index;

    archiver_lock(archiver);
    index = archiver_end_of_chain(archiver);
    since_ms = archiver->lag.since_ms;
    archiver_unlock(archiver);
    archiver_find_lag(archiver, index, since_ms, &lag);
    archiver_lock(archiver);
    archiver->lag = lag;
    archiver_unlock(archiver);
}

bool archiver_gives_up(void *data)
{
    struct archiver *archiver = data;
    bool is_due;

    archiver_lock(archiver);
    is_due = clock_ms() - archiver->lag.noted_ms >= NOTE_MS;
    archiver_unlock(archiver);
    if (is_due) {
        archiver_note_lag(archiver);
    }
    return archiver_is_canceled(archiver);
}

void archiver_tell_lag(const struct archiver *archiver, const struct journal_statistics *journal,
                       struct archiver_status *status)
{
    const struct archiver_lag *lag = &archiver->lag;
    uint64_t since_ms = lag->since_ms;

    status->lag_entries = lag->entries;
    status->lag_bytes = lag->bytes;
    if (since_ms == 0 && lag->noted_ms != 0 && journal->last_index > status->index) {
        since_ms = lag->noted_ms; /* It came since then. */
        status->lag_entries = journal->last_index - status->index;
    }
    status->lag_ms = since_ms == 0 ? 0 : clock_ms() - since_ms;
}
