#include "storage/image_export.h"

#include "daemon/base/check.h"
#include "daemon/base/files.h"

#define WRITE_BYTES (1u << 20)
/* Whoever keeps a rate rests so often, and shortly, and others get the processor meanwhile. */
#define PROGRESS_BYTES IMAGE_BLOCK_BYTES

struct walk {
    const struct image_export *options;
    const struct image_facts *facts;
    struct error *error;
    struct buffer out;
    uint64_t written;    /* Bytes of the image. */
    uint64_t unreported; /* Bytes of records since the last report: the image may be far smaller. */
};

static enum status write_all(struct walk *walk)
{
    struct slice bytes = buffer_slice(&walk->out);
    enum status status = files_write(walk->options->fd, bytes, "an image", walk->error);

    if (status == STATUS_OK) {
        files_write_back(walk->options->fd, walk->written, bytes.size);
        walk->written += bytes.size;
        buffer_clear(&walk->out);
    }
    return status;
}

static enum status report(struct walk *walk)
{
    const struct image_export *options = walk->options;
    uint64_t bytes = walk->unreported;

    walk->unreported = 0;
    return options->on_progress == NULL
               ? STATUS_OK
               : options->on_progress(options->data, walk->facts, bytes, walk->error);
}

static enum status flush(struct walk *walk, size_t least)
{
    enum status status = STATUS_OK;

    if (walk->out.size >= least) {
        status = write_all(walk);
    }
    if (status == STATUS_OK && walk->unreported >= PROGRESS_BYTES) {
        status = report(walk);
    }
    return status;
}

static enum status walk_records(struct walk *walk, struct txn *txn, struct image_writer *writer)
{
    static const uint8_t first[] = {1}; /* No key begins with a zero byte. */
    struct cursor *cursor;
    struct slice payload;
    struct slice key;
    enum status status = cursor_open(txn, &cursor);
    enum status step;

    if (status != STATUS_OK) {
        return error_set(walk->error, status, "could not read the state: %s", status_text(status));
    }
    step = cursor_seek(cursor, slice_of(first, sizeof first), &key, &payload);
    while (step == STATUS_OK && status == STATUS_OK) {
        image_writer_add(writer, key, payload, &walk->out);
        walk->unreported += key.size + payload.size;
        status = flush(walk, WRITE_BYTES);
        if (status == STATUS_OK) {
            step = cursor_next(cursor, &key, &payload);
        }
    }
    cursor_close(cursor);
    if (status == STATUS_OK && step != STATUS_END) {
        status = error_set(walk->error, step, "could not read the state: %s", status_text(step));
    }
    return status;
}

static enum status write_image(struct walk *walk, struct txn *txn, struct image_totals *totals)
{
    struct image_writer *writer = image_writer_open(walk->facts, &walk->out);
    enum status status = report(walk);

    if (status == STATUS_OK) {
        status = walk_records(walk, txn, writer);
    }
    if (status == STATUS_OK) {
        image_writer_finish(writer, &walk->out, totals);
        status = flush(walk, 0);
    }
    image_writer_close(writer);
    return status;
}

enum status image_export(const struct image_export *options, struct image_facts *facts,
                         struct image_totals *totals, struct error *error)
{
    struct walk walk = {.options = options, .error = error};
    struct image_facts found = {.cluster_id = ""};
    struct txn *txn = NULL;
    enum status status;

    CHECK(strlen(options->cluster_id) == IMAGE_CLUSTER_BYTES);
    memcpy(found.cluster_id, options->cluster_id, sizeof found.cluster_id);
    status = txn_begin_read(options->store, &txn, error);
    if (status != STATUS_OK) {
        return status;
    }
    found.state = *txn_state(txn);
    walk.facts = &found;
    status = write_image(&walk, txn, totals);
    txn_end_read(txn);
    txn_reader_close(txn);
    buffer_close(&walk.out);
    if (status == STATUS_OK) {
        *facts = found;
    }
    return status;
}
