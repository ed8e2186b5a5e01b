#include "storage/archive/merge.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/archive/full.h"

struct merge {
    struct merge_options options;
    int steps_fd;
    size_t n;
    struct delta_facts facts; /* Of all that was added. */
};

enum status merge_open(const struct merge_options *options, struct merge **merge,
                       struct error *error)
{
    struct merge *opened;
    int fd;
    enum status status = full_work_file(options->work_directory, &fd, error);

    if (status != STATUS_OK) {
        return status;
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    opened->options = *options;
    if (opened->options.range_ms == 0) {
        opened->options.range_ms = MERGE_RANGE_MS;
    }
    if (opened->options.max_bytes == 0) {
        opened->options.max_bytes = MERGE_BYTES;
    }
    opened->steps_fd = fd;
    *merge = opened;
    return STATUS_OK;
}

static enum status on_step(void *data, const struct step *step, struct error *error)
{
    (void)error;
    step_append(data, step);
    return STATUS_OK;
}

/* A merge of one delta may be of any length. */
static bool has_room_for(const struct merge *merge, const struct delta_facts *facts, size_t bytes)
{
    const struct delta_facts *there = &merge->facts;

    return merge->n == 0 || (facts->first_index == there->last_index + 1 &&
                             facts->last_time_ms < there->first_time_ms + merge->options.range_ms &&
                             there->content_bytes + bytes <= merge->options.max_bytes);
}

static void count(struct merge *merge, const struct delta_facts *facts, size_t bytes)
{
    struct delta_facts *there = &merge->facts;
    struct delta_facts before = *there;

    *there = *facts;
    there->content_bytes = bytes;
    if (merge->n++ > 0) {
        there->first_index = before.first_index;
        there->first_time_ms = before.first_time_ms;
        there->steps += before.steps;
        there->content_bytes += before.content_bytes;
    }
}

enum status merge_add(struct merge *merge, uint64_t first_index, struct error *error)
{
    struct buffer steps = BUFFER_EMPTY;
    struct delta_facts facts;
    char name[NAMES_BYTES];
    enum status status;

    names_delta(merge->options.base, first_index, name);
    status = delta_read(merge->options.repository, name, merge->options.keys, &facts, on_step,
                        &steps, error);
    if (status == STATUS_OK && !has_room_for(merge, &facts, steps.size)) {
        status = STATUS_END;
    }
    if (status == STATUS_OK) {
        status = files_write(merge->steps_fd, buffer_slice(&steps), merge->options.work_directory,
                             error);
    }
    if (status == STATUS_OK) {
        count(merge, &facts, steps.size);
    }
    buffer_close(&steps);
    return status;
}

size_t merge_count(const struct merge *merge)
{
    return merge->n;
}

const struct delta_facts *merge_facts(const struct merge *merge)
{
    return &merge->facts;
}

enum status merge_create(struct merge *merge, uint64_t now_ms, uint64_t *size_bytes,
                         struct error *error)
{
    const struct merge_options *options = &merge->options;
    char name[NAMES_BYTES];
    enum status status;
    int fd;

    CHECK(merge->n > 0);
    names_merged(options->base, merge->facts.first_index, merge->facts.last_index, now_ms, name);
    status = full_work_file(options->work_directory, &fd, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = delta_create_from_file(options->repository, name, options->keys, &merge->facts,
                                    merge->steps_fd, fd, size_bytes, error);
    (void)close(fd); /* It is gone now. */
    return status;
}

void merge_close(struct merge *merge)
{
    if (merge == NULL) {
        return;
    }
    (void)close(merge->steps_fd); /* It is gone now. */
    free(merge);
}
