/* Whatever lies in a log's directory is refused, or is a log whose numbers make sense. The first
 * byte chooses which files there are; in some of them the batches get checksums that fit, which the
 * fuzzer cannot guess. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/wire.h"
#include "raft/segments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLOSED "0000000000000001-0000000000000002"
#define OPEN   "open-1"
#define NEXT   "open-2"

static const char *const files[] = {CLOSED, OPEN, NEXT};
static char directory[64];

static void remove_directory(void)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];

        (void)snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        (void)unlink(path); /* It is there only if the last input made it. */
    }
    CHECK(rmdir(directory) == 0);
}

static void prepare(void)
{
    const char *parent = getenv("TMPDIR");

    (void)snprintf(directory, sizeof directory, "%.30s/holdfast-segments-XXXXXX",
                   parent == NULL || strlen(parent) > 30 ? "/tmp" : parent);
    CHECK(mkdtemp(directory) != NULL);
    CHECK(atexit(remove_directory) == 0);
}

static void save(const char *name, struct slice content)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path); /* May not be there. To truncate it would have some systems flush it. */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(content.size == 0 || write(fd, content.data, content.size) == (ssize_t)content.size);
    CHECK(close(fd) == 0);
}

static void discard(const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path); /* May not be there. */
}

/* A segment of one valid batch, whose terms and sizes come from @bytes, and what is left of them
 * behind it. */
static void save_batch(const char *name, struct slice bytes)
{
    struct wire_reader reader = wire_reader_of(bytes);
    struct buffer header = BUFFER_EMPTY;
    struct buffer content = BUFFER_EMPTY;
    uint8_t data[3 * UINT8_MAX] = {0};
    size_t data_size = 0;
    uint8_t n = wire_get_u8(&reader) % 4;

    wire_put_u64(&header, n);
    for (uint8_t i = 0; i < n; i++) {
        uint8_t entry_size;

        wire_put_u64(&header, wire_get_u8(&reader));
        entry_size = wire_get_u8(&reader);
        wire_put_u64(&header, (uint64_t)entry_size << 32 | 1);
        data_size += entry_size;
    }
    wire_put_u64(&content, 1);
    wire_put_u32(&content, segments_checksum(header.data, header.size, 0));
    wire_put_u32(&content, segments_checksum(data, data_size, 0));
    buffer_append_slice(&content, buffer_slice(&header));
    buffer_append(&content, data, data_size);
    if (bytes.size > 1 + 2 * (size_t)n) {
        buffer_append_slice(&content, slice_from(bytes, 1 + 2 * (size_t)n));
    }
    save(name, buffer_slice(&content));
    buffer_close(&header);
    buffer_close(&content);
}

struct reading {
    uint64_t last;
    uint64_t last_term;
    uint64_t sum;
};

static enum status on_entry(void *data, uint64_t index, uint64_t term, uint8_t type,
                            struct slice bytes, struct error *error)
{
    struct reading *reading = data;

    (void)type;
    (void)error;
    CHECK(reading->last == 0 || index == reading->last + 1);
    CHECK(term >= reading->last_term);
    for (size_t i = 0; i < bytes.size; i++) {
        reading->sum += bytes.data[i];
    }
    reading->last = index;
    reading->last_term = term;
    return STATUS_OK;
}

/* What passes the check can be read, and ends where the check says. */
static void read_entries(const struct segments_summary *checked)
{
    struct reading reading = {0};
    struct segments_summary summary;

    CHECK(segments_read(directory, 0, on_entry, &reading, &summary, NULL) == STATUS_OK);
    CHECK(summary.last_index == checked->last_index);
    CHECK(reading.last == 0 || reading.last == summary.last_index);
}

static void check(void)
{
    struct segments_summary summary;
    struct error error = {.text = ""};

    if (segments_check(directory, 0, &summary, &error) == STATUS_OK) {
        CHECK(summary.first_index <= summary.last_index);
        CHECK(summary.snapshot_index == 0);
        CHECK(summary.last_index > 0 || summary.last_term == 0);
        read_entries(&summary);
    } else {
        CHECK(error.text[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    uint8_t choice;

    if (directory[0] == '\0') {
        prepare();
    }
    if (size == 0) {
        return 0;
    }
    choice = data[0];
    bytes = slice_from(bytes, 1);
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t part = i == 2 || bytes.size < 16 ? bytes.size : bytes.size / 2;

        switch (choice >> (2 * i) & 3u) {
        case 0:
            discard(files[i]);
            break;
        case 1:
            save(files[i], slice_of(bytes.data, part));
            bytes = slice_from(bytes, part);
            break;
        default:
            save_batch(files[i], slice_of(bytes.data, part));
            bytes = slice_from(bytes, part);
        }
    }
    check();
    return 0;
}
