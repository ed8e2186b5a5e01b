/* 1. journal_append() copies a step into memory, and wakes the thread when there is enough.
 * 2. The thread, or whoever wants to sync or read, takes what is there and writes it to the files.
 *
 * Two locks: one for what is in memory, held for moments, and one for the files, held while the
 * disk is waited for. Who wants both takes that of the files first.
 *
 * What can go wrong: a write or sync fails, or the disk is so slow that too much waits in memory.
 * Then those steps are lost here, which makes a gap, and the next ones begin a new file. */
#include "storage/journal.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "storage/journal_files.h"

#define WRITE_BYTES (256u << 10)

struct journal {
    pthread_t thread;

    pthread_mutex_t files_mutex; /* Guards the next four. */
    struct journal_files *files;
    struct buffer writing;
    bool has_failed;  /* A write or sync; it was logged. */
    bool has_written; /* Something since the last outcome. */

    pthread_mutex_t mutex; /* Guards what follows. */
    pthread_cond_t wake;
    struct buffer pending;
    struct journal_statistics statistics; /* Of the files: as of the last write. */
    bool closing;
};

static void lock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
}

static void unlock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_unlock(mutex) == 0);
}

/* --- Appending --- */

/* What is there already of a run of indexes is left away: it was written before a restart. False:
 * all is there. */
static bool is_new(const struct journal *journal, struct step *step)
{
    uint64_t last = journal->statistics.last_index;

    if (step->index <= last) {
        return false;
    }
    if (last > 0 && step->entry.size == 0 && step->first_index <= last) {
        step->first_index = last + 1;
    }
    return true;
}

void journal_append(struct journal *journal, const struct step *step)
{
    struct step new_step = *step;
    struct journal_statistics *statistics = &journal->statistics;

    lock(&journal->mutex);
    if (is_new(journal, &new_step)) {
        if (statistics->last_index > 0 && new_step.first_index != statistics->last_index + 1) {
            statistics->gaps++;
        }
        if (journal->pending.size + STEP_OVERHEAD_BYTES + step->entry.size >
            LIMIT_JOURNAL_UNWRITTEN_BYTES) {
            statistics->dropped++; /* What was dropped shows as a gap in the files. */
        } else {
            step_append(&journal->pending, &new_step);
        }
        statistics->last_index = step->index;
        statistics->last_time_ms = step->time_ms;
        statistics->appended_ms = clock_ms();
        statistics->last_revision = step->revision;
        if (journal->pending.size >= WRITE_BYTES) {
            CHECK(pthread_cond_signal(&journal->wake) == 0);
        }
    }
    unlock(&journal->mutex);
}

/* --- The files. With files_mutex held. --- */

static void note_outcome(struct journal *journal, enum status status, const struct error *error)
{
    if (status != STATUS_OK && !journal->has_failed) {
        log_warn("journal", "what is executed now cannot be archived from here: %s", error->text);
    } else if (status == STATUS_OK && journal->has_failed) {
        log_info("journal", "entries are kept for the archive again");
    }
    journal->has_failed = status != STATUS_OK;
    journal->has_written = false;
    lock(&journal->mutex);
    journal->statistics.gaps += status != STATUS_OK ? 1 : 0;
    unlock(&journal->mutex);
}

static void note_files(struct journal *journal)
{
    lock(&journal->mutex);
    journal->statistics.bytes = journal_files_bytes(journal->files);
    journal->statistics.files = journal_files_count(journal->files);
    unlock(&journal->mutex);
}

static void write_pending(struct journal *journal)
{
    struct error error;
    enum status status;

    buffer_clear(&journal->writing);
    lock(&journal->mutex);
    if (journal->pending.size > 0) {
        struct buffer taken = journal->pending;

        journal->pending = journal->writing;
        journal->writing = taken;
    }
    unlock(&journal->mutex);
    if (journal->writing.size > 0) {
        status = journal_files_write(journal->files, buffer_slice(&journal->writing), &error);
        if (status != STATUS_OK) {
            note_outcome(journal, status, &error);
        }
        journal->has_written = status == STATUS_OK;
        note_files(journal);
    }
    if (journal->writing.size > 4 * WRITE_BYTES) {
        buffer_close(&journal->writing); /* It was much, for once. */
    }
}

static void *run(void *data)
{
    struct journal *journal = data;

    thread_set_name("journal");
    lock(&journal->mutex);
    while (!journal->closing) {
        if (journal->pending.size < WRITE_BYTES) {
            CHECK(pthread_cond_wait(&journal->wake, &journal->mutex) == 0);
            continue;
        }
        unlock(&journal->mutex);
        lock(&journal->files_mutex);
        write_pending(journal);
        unlock(&journal->files_mutex);
        lock(&journal->mutex);
    }
    unlock(&journal->mutex);
    return NULL;
}

/* --- What others ask for --- */

void journal_sync(struct journal *journal)
{
    struct error error;
    enum status status;

    lock(&journal->files_mutex);
    write_pending(journal);
    status = journal_files_sync(journal->files, &error);
    if (status != STATUS_OK || (journal->has_failed && journal->has_written)) {
        note_outcome(journal, status, &error);
    }
    unlock(&journal->files_mutex);
}

enum status journal_read(struct journal *journal, uint64_t after, size_t max_bytes,
                         struct buffer *steps, struct error *error)
{
    enum status status;

    lock(&journal->files_mutex);
    write_pending(journal);
    status = journal_files_read(journal->files, after, max_bytes, steps, error);
    unlock(&journal->files_mutex);
    return status;
}

void journal_release(struct journal *journal, uint64_t index)
{
    lock(&journal->files_mutex);
    journal_files_release(journal->files, index);
    lock(&journal->mutex);
    journal->statistics.bytes = journal_files_bytes(journal->files);
    journal->statistics.files = journal_files_count(journal->files);
    unlock(&journal->mutex);
    unlock(&journal->files_mutex);
}

void journal_statistics(struct journal *journal, struct journal_statistics *statistics)
{
    lock(&journal->mutex);
    *statistics = journal->statistics;
    unlock(&journal->mutex);
}

uint64_t journal_bytes_after(struct journal *journal, uint64_t after)
{
    uint64_t bytes;

    lock(&journal->files_mutex);
    bytes = journal_files_bytes_after(journal->files, after);
    unlock(&journal->files_mutex);
    return bytes;
}

/* --- Life --- */

static void release(struct journal *journal)
{
    journal_files_close(journal->files);
    buffer_close(&journal->pending);
    buffer_close(&journal->writing);
    CHECK(pthread_cond_destroy(&journal->wake) == 0);
    CHECK(pthread_mutex_destroy(&journal->mutex) == 0);
    CHECK(pthread_mutex_destroy(&journal->files_mutex) == 0);
    free(journal);
}

enum status journal_open(const struct journal_options *options, struct journal **journal,
                         struct error *error)
{
    struct journal *opened = memory_new_zeroed(1, sizeof *opened);
    struct journal_options complete = *options;
    enum status status;
    int rv;

    complete.max_bytes = options->max_bytes == 0 ? LIMIT_JOURNAL_BYTES : options->max_bytes;
    complete.file_bytes = options->file_bytes == 0 ? LIMIT_JOURNAL_FILE_BYTES : options->file_bytes;
    CHECK(pthread_mutex_init(&opened->files_mutex, NULL) == 0);
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&opened->wake, NULL) == 0);
    status = journal_files_open(&complete, &opened->files, error);
    if (status == STATUS_OK) {
        opened->statistics.last_index = journal_files_last_index(opened->files);
        opened->statistics.bytes = journal_files_bytes(opened->files);
        opened->statistics.files = journal_files_count(opened->files);
        rv = pthread_create(&opened->thread, NULL, run, opened);
        if (rv != 0) {
            status = error_set(error, status_from_errno(rv), "could not start a thread");
        }
    }
    if (status != STATUS_OK) {
        release(opened);
        return status;
    }
    *journal = opened;
    return STATUS_OK;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    lock(&journal->mutex);
    journal->closing = true;
    CHECK(pthread_cond_signal(&journal->wake) == 0);
    unlock(&journal->mutex);
    CHECK(pthread_join(journal->thread, NULL) == 0);
    journal_sync(journal);
    release(journal);
}
