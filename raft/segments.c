/* 1. The directory is listed: closed segments by first index, open ones by number, the newest
 * snapshot.
 * 2. Closed segments must follow each other without gap or overlap; only what lies wholly behind
 * the snapshot may be followed by a gap (an install leaves that when it is cut short).
 * 3. Each batch of each segment is checked. Where an open segment stops being valid, the rest must
 * be zeros, or a torn batch: then nothing valid may follow, here or in later segments. */
#include "raft/segments.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/memory.h"
#include "daemon/base/slice.h"

#define FORMAT            1
#define FORMAT_BYTES      8
#define CHECKSUM_BYTES    8
#define COUNT_BYTES       8
#define ENTRY_HEADER_SIZE 16
#define MAX_BATCH_ENTRIES (1u << 18)
#define MAX_FILE_NAME     64

/* What to do is the same whatever was found. */
#define ADVICE                                                                                     \
    "; this node's log cannot be trusted: keep the directory for analysis, remove it, and let "    \
    "the "                                                                                         \
    "node join again as a new member"

/* --- The checksum --- */

static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i << 24;

        for (int bit = 0; bit < 8; bit++) {
            crc = (crc << 1) ^ ((crc >> 31) * 0x04c11db7u);
        }
        tables[0][i] = crc;
    }
    for (int t = 1; t < 8; t++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t before = tables[t - 1][i];

            tables[t][i] = (before << 8) ^ tables[0][before >> 24];
        }
    }
}

uint32_t segments_checksum(const void *data, size_t size, uint32_t start)
{
    const uint8_t *p = data;
    uint32_t crc = start;

    (void)pthread_once(&tables_once, fill_tables); /* Cannot fail with valid arguments. */
    /* Eight bytes a step ("slicing-by-8", Kounavis and Berry, 2005). */
    for (; size >= 8; size -= 8, p += 8) {
        crc ^= (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        crc = tables[7][crc >> 24] ^ tables[6][crc >> 16 & 255] ^ tables[5][crc >> 8 & 255] ^
              tables[4][crc & 255] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^
              tables[0][p[7]];
    }
    for (; size > 0; size--, p++) {
        crc = (crc << 8) ^ tables[0][(crc >> 24 ^ *p) & 255];
    }
    return crc;
}

/* --- One batch --- */

struct batch {
    size_t size; /* With checksums and header. */
    uint64_t n_entries;
    uint64_t first_term;
    uint64_t last_term;
};

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof value);
    return le32toh(value);
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof value);
    return le64toh(value);
}

/* Is there a whole, undamaged batch at the start of @bytes? */
static bool read_batch(struct slice bytes, struct batch *batch)
{
    const uint8_t *header = bytes.data + CHECKSUM_BYTES;
    size_t header_size;
    uint64_t data_size = 0;
    uint64_t n;

    if (bytes.size < CHECKSUM_BYTES + COUNT_BYTES) {
        return false;
    }
    n = get_u64(header);
    header_size = COUNT_BYTES + (size_t)n * ENTRY_HEADER_SIZE;
    if (n == 0 || n > MAX_BATCH_ENTRIES || header_size > bytes.size - CHECKSUM_BYTES ||
        segments_checksum(header, header_size, 0) != get_u32(bytes.data)) {
        return false;
    }
    batch->last_term = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *entry = header + COUNT_BYTES + i * ENTRY_HEADER_SIZE;

        if (get_u64(entry) < batch->last_term) {
            return false; /* Terms never go down in a log. */
        }
        batch->last_term = get_u64(entry);
        data_size += get_u32(entry + 12);
    }
    if (data_size > bytes.size - CHECKSUM_BYTES - header_size ||
        segments_checksum(header + header_size, (size_t)data_size, 0) != get_u32(bytes.data + 4)) {
        return false;
    }
    batch->first_term = get_u64(header + COUNT_BYTES);
    batch->n_entries = n;
    batch->size = CHECKSUM_BYTES + header_size + (size_t)data_size;
    return true;
}

static bool is_zero(struct slice bytes)
{
    /* Each byte equals the one before it, and the first is 0. */
    return bytes.size == 0 ||
           (bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.size - 1) == 0);
}

/* Is there a valid batch anywhere in @bytes? Batches start at multiples of 8. */
static bool holds_batch(struct slice bytes)
{
    struct batch batch;

    for (size_t offset = 0; offset < bytes.size; offset += 8) {
        if (read_batch(slice_from(bytes, offset), &batch)) {
            return true;
        }
    }
    return false;
}

/* --- The files --- */

struct segment {
    char name[MAX_FILE_NAME];
    bool is_open;
    uint64_t first; /* Closed. */
    uint64_t last;
    uint64_t number; /* Open. */
};

struct check {
    const char *directory;
    struct error *error;
    size_t data_size; /* Of the file that is looked at: it has only zeros behind that. */
    struct segment *segments;
    size_t n_segments;
    size_t capacity;
    struct segments_summary summary;
    uint64_t next_index;          /* Expected of the next entry; 0: not known yet. */
    char ended_in[MAX_FILE_NAME]; /* The open segment that had a torn batch. */
    segments_entry_cb cb;         /* NULL: nobody wants the entries. */
    void *data;
    uint64_t after;
};

static void add_segment(struct check *check, const struct segment *segment)
{
    if (check->n_segments == check->capacity) {
        check->capacity = check->capacity == 0 ? 16 : 2 * check->capacity;
        check->segments = memory_resize(check->segments, check->capacity * sizeof *check->segments);
    }
    check->segments[check->n_segments++] = *segment;
}

static void note_file(struct check *check, const char *name)
{
    struct segment segment = {.is_open = false};
    uint64_t term;
    uint64_t index;
    uint64_t stamp;
    int end = 0;

    if (strlen(name) >= sizeof segment.name) {
        return; /* Not a name that libraft gives. */
    }
    strcpy(segment.name, name);
    if (sscanf(name, "%" SCNu64 "-%" SCNu64 "%n", &segment.first, &segment.last, &end) == 2 &&
        name[end] == '\0') {
        add_segment(check, &segment);
        return;
    }
    if (sscanf(name, "open-%" SCNu64 "%n", &segment.number, &end) == 1 && name[end] == '\0') {
        segment.is_open = true;
        add_segment(check, &segment);
        return;
    }
    end = 0;
    if (sscanf(name, "snapshot-%" SCNu64 "-%" SCNu64 "-%" SCNu64 ".meta%n", &term, &index, &stamp,
               &end) == 3 &&
        end > 0 && name[end] == '\0' && index > check->summary.snapshot_index) {
        check->summary.snapshot_index = index;
        check->summary.snapshot_term = term;
    }
}

static int compare_segments(const void *a, const void *b)
{
    const struct segment *left = a;
    const struct segment *right = b;
    uint64_t left_key = left->is_open ? left->number : left->first;
    uint64_t right_key = right->is_open ? right->number : right->first;

    if (left->is_open != right->is_open) {
        return left->is_open ? 1 : -1;
    }
    return left_key < right_key ? -1 : left_key > right_key;
}

static enum status list_files(struct check *check)
{
    DIR *directory = opendir(check->directory);
    const struct dirent *entry;
    int number;

    if (directory == NULL) {
        return error_set(check->error, status_from_errno(errno), "could not read \"%s\": %s",
                         check->directory, strerror(errno));
    }
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        note_file(check, entry->d_name);
        errno = 0;
    }
    number = errno;            /* A list that breaks off would look like a shorter log. */
    (void)closedir(directory); /* Nothing was written. */
    if (number != 0) {
        return error_set(check->error, status_from_errno(number), "could not read \"%s\": %s",
                         check->directory, strerror(number));
    }
    if (check->n_segments > 1) {
        qsort(check->segments, check->n_segments, sizeof *check->segments, compare_segments);
    }
    return STATUS_OK;
}

/* --- Walking a segment --- */

static enum status corrupt(struct check *check, const struct segment *segment, size_t offset,
                           const char *what)
{
    return error_set(check->error, STATUS_CORRUPT, "\"%s/%s\" is damaged at byte %zu: %s" ADVICE,
                     check->directory, segment->name, offset, what);
}

/* Give the entries of an undamaged batch, of which the first has @index. */
static enum status give_entries(struct check *check, struct slice bytes, const struct batch *batch,
                                uint64_t index)
{
    const uint8_t *header = bytes.data + CHECKSUM_BYTES + COUNT_BYTES;
    struct slice rest = slice_of(header + batch->n_entries * ENTRY_HEADER_SIZE,
                                 batch->size - CHECKSUM_BYTES - COUNT_BYTES -
                                     (size_t)batch->n_entries * ENTRY_HEADER_SIZE);
    enum status status = STATUS_OK;

    for (uint64_t i = 0; i < batch->n_entries && status == STATUS_OK; i++, index++) {
        struct slice entry = slice_of(rest.data, get_u32(header + 12));

        if (index > check->after) {
            status = check->cb(check->data, index, get_u64(header), header[8], entry, check->error);
        }
        rest = slice_from(rest, entry.size);
        header += ENTRY_HEADER_SIZE;
    }
    return status;
}

/* Take valid batches from @content on, whose first entry has index @first; *@offset is where they
 * end. */
static enum status walk(struct check *check, const struct segment *segment, struct slice content,
                        uint64_t first, size_t *offset, uint64_t *n_entries)
{
    struct batch batch;

    *offset = FORMAT_BYTES;
    *n_entries = 0;
    while (read_batch(slice_from(content, *offset), &batch)) {
        if (batch.first_term < check->summary.last_term) {
            return corrupt(check, segment, *offset, "a term is lower than one before it");
        }
        check->summary.last_term = batch.last_term;
        if (check->cb != NULL) {
            enum status status =
                give_entries(check, slice_from(content, *offset), &batch, first + *n_entries);

            if (status != STATUS_OK) {
                return status;
            }
        }
        *n_entries += batch.n_entries;
        *offset += batch.size;
    }
    return STATUS_OK;
}

static enum status check_closed(struct check *check, const struct segment *segment,
                                struct slice content)
{
    uint64_t n_entries;
    size_t offset;
    enum status status;

    status = walk(check, segment, content, segment->first, &offset, &n_entries);
    if (status != STATUS_OK) {
        return status;
    }
    if (offset < content.size) {
        return corrupt(check, segment, offset, "a batch does not pass its checksum");
    }
    if (n_entries != segment->last - segment->first + 1) {
        return corrupt(check, segment, offset, "it has not as many entries as its name says");
    }
    return STATUS_OK;
}

/* Is @content, the whole file, nothing but zeros from @offset on? */
static bool ends_in_zeros(const struct check *check, struct slice content, size_t offset)
{
    return offset >= check->data_size ||
           is_zero(slice_of(content.data + offset, check->data_size - offset));
}

static enum status check_open(struct check *check, const struct segment *segment,
                              struct slice content)
{
    uint64_t n_entries;
    size_t offset;
    enum status status;

    if (check->ended_in[0] != '\0') {
        return error_set(check->error, STATUS_CORRUPT,
                         "\"%s/%s\" has a damaged batch, but \"%s\" goes on behind it" ADVICE,
                         check->directory, check->ended_in, segment->name);
    }
    status = walk(check, segment, content, check->next_index, &offset, &n_entries);
    if (status != STATUS_OK) {
        return status;
    }
    check->next_index += n_entries;
    if (ends_in_zeros(check, content, offset)) {
        return STATUS_OK;
    }
    if (holds_batch(slice_from(content, offset))) {
        return corrupt(check, segment, offset,
                       "a batch does not pass its checksum, but valid ones follow");
    }
    check->summary.torn = true;
    strcpy(check->ended_in, segment->name);
    return STATUS_OK;
}

/* @content is the whole file; may be empty. */
static enum status check_content(struct check *check, const struct segment *segment,
                                 struct slice content)
{
    if (segment->is_open && ends_in_zeros(check, content, 0)) {
        return STATUS_OK; /* Prepared and not used, or nothing of it reached the disk. */
    }
    if (content.size < FORMAT_BYTES) {
        return corrupt(check, segment, 0, "it is too short");
    }
    if (get_u64(content.data) != FORMAT &&
        (get_u64(content.data) != 0 || holds_batch(slice_from(content, FORMAT_BYTES)) ||
         !segment->is_open)) {
        return error_set(check->error,
                         get_u64(content.data) == 0 ? STATUS_CORRUPT : STATUS_UNSUPPORTED,
                         "\"%s/%s\" has format %" PRIu64 ", not %d" ADVICE, check->directory,
                         segment->name, get_u64(content.data), FORMAT);
    }
    return segment->is_open ? check_open(check, segment, content)
                            : check_closed(check, segment, content);
}

/* Was nothing ever written to it, as the file system knows without reading it? No batch is nothing
 * but zeros, so this holds for copies that left out zeros, too. */
static bool has_no_data(int fd)
{
    return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

/* What is behind the last data of a file is zeros: to how much of the @size bytes may there be
 * other ones? (The last batch may end in zeros, and so behind that.) */
static size_t data_end(int fd, size_t size)
{
    off_t hole = lseek(fd, 0, SEEK_HOLE);

    return hole > 0 && (size_t)hole < size && lseek(fd, hole, SEEK_DATA) < 0 && errno == ENXIO
               ? (size_t)hole
               : size;
}

static const void *map_file(int fd, size_t size)
{
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

    if (map == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(map, size, MADV_SEQUENTIAL); /* Only a hint. */
    return map;
}

static void unmap_file(const void *map, size_t size)
{
    if (map != NULL) {
        (void)munmap((void *)(uintptr_t)map, size); /* Cannot fail for what was mapped. */
    }
}

static enum status check_file(struct check *check, const struct segment *segment)
{
    enum status status;
    struct stat facts;
    const void *map = NULL;
    size_t size = 0;
    char *path;
    int fd;

    path = memory_new(strlen(check->directory) + MAX_FILE_NAME + 2);
    (void)sprintf(path, "%s/%s", check->directory, segment->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &facts) != 0) {
        status = error_set(check->error, status_from_errno(errno), "could not open \"%s\": %s",
                           path, strerror(errno));
        goto out;
    }
    if (segment->is_open && has_no_data(fd)) {
        status = STATUS_OK;
        goto out;
    }
    size = (size_t)facts.st_size;
    check->data_size = segment->is_open ? data_end(fd, size) : size;
    if (size > 0) {
        map = map_file(fd, size);
        if (map == NULL) {
            status = error_set(check->error, status_from_errno(errno), "could not read \"%s\": %s",
                               path, strerror(errno));
            goto out;
        }
    }
    status = check_content(check, segment, slice_of(map, size));
out:
    unmap_file(map, size);
    if (fd >= 0) {
        (void)close(fd); /* Nothing was written. */
    }
    free(path);
    return status;
}

/* --- How segments follow each other --- */

static enum status place_closed(struct check *check, const struct segment *segment)
{
    if (segment->first == 0 || segment->last < segment->first) {
        return corrupt(check, segment, 0, "its name is not a range of indexes");
    }
    if (check->next_index != 0 && segment->first != check->next_index &&
        !(segment->first > check->next_index &&
          check->next_index <= check->summary.snapshot_index + 1 &&
          segment->first <= check->summary.snapshot_index + 1)) {
        return error_set(
            check->error, STATUS_CORRUPT,
            "\"%s/%s\" does not follow the log before it, which ends at %" PRIu64 ADVICE,
            check->directory, segment->name, check->next_index - 1);
    }
    if (check->next_index == 0 && segment->first > check->summary.snapshot_index + 1) {
        return error_set(check->error, STATUS_CORRUPT,
                         "\"%s/%s\" is the first of the log, but entries from %" PRIu64
                         " on are missing" ADVICE,
                         check->directory, segment->name, check->summary.snapshot_index + 1);
    }
    if (check->summary.first_index == 0 || segment->first != check->next_index) {
        check->summary.first_index = segment->first;
    }
    check->next_index = segment->last + 1;
    return STATUS_OK;
}

static enum status check_segments(struct check *check)
{
    for (size_t i = 0; i < check->n_segments; i++) {
        const struct segment *segment = &check->segments[i];
        enum status status = STATUS_OK;

        if (!segment->is_open) {
            status = place_closed(check, segment);
        } else if (check->next_index == 0) {
            check->next_index = check->summary.snapshot_index + 1;
        }
        if (status == STATUS_OK) {
            status = check_file(check, segment);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status check_all(struct check *check, struct segments_summary *summary)
{
    enum status status = list_files(check);

    if (status == STATUS_OK) {
        status = check_segments(check);
    }
    free(check->segments);
    if (status != STATUS_OK) {
        return status;
    }
    check->summary.last_index = check->next_index == 0 ? 0 : check->next_index - 1;
    if (check->summary.last_index < check->summary.snapshot_index) {
        check->summary.last_index = check->summary.snapshot_index;
    }
    if (check->summary.first_index == 0 &&
        check->summary.last_index > check->summary.snapshot_index) {
        check->summary.first_index = check->summary.snapshot_index + 1;
    }
    *summary = check->summary;
    return STATUS_OK;
}

enum status segments_check(const char *directory, uint64_t stored, struct segments_summary *summary,
                           struct error *error)
{
    struct check check = {.directory = directory, .error = error};
    struct segments_summary found;
    enum status status = check_all(&check, &found);

    if (status != STATUS_OK) {
        return status;
    }
    if (found.last_index < stored) {
        return error_set(error, STATUS_MISMATCH,
                         "the log in \"%s\" ends at %" PRIu64 ", but this node had stored up to "
                         "%" PRIu64 ": entries that it acknowledged are lost" ADVICE,
                         directory, found.last_index, stored);
    }
    *summary = found;
    return STATUS_OK;
}

/* A regular file that holds nothing but the zeros that it was filled with, if it was. */
static bool is_unused(int fd)
{
    const void *map;
    struct stat facts;
    size_t size;
    bool unused;

    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return false;
    }
    if (has_no_data(fd)) {
        return true;
    }
    size = data_end(fd, (size_t)facts.st_size);
    map = map_file(fd, size);
    unused = map != NULL && is_zero(slice_of(map, size));
    unmap_file(map, size);
    return unused;
}

void segments_drop_unused(const char *directory)
{
    DIR *files = opendir(directory);
    const struct dirent *entry;

    while (files != NULL && (entry = readdir(files)) != NULL) {
        int fd = strncmp(entry->d_name, "open-", strlen("open-")) == 0
                     ? openat(dirfd(files), entry->d_name, O_RDONLY | O_CLOEXEC)
                     : -1;

        if (fd < 0) {
            continue;
        }
        if (is_unused(fd)) {
            (void)unlinkat(dirfd(files), entry->d_name, 0); /* Else libraft does it. */
        }
        (void)close(fd); /* Only read. */
    }
    if (files != NULL) {
        (void)closedir(files); /* Only read. */
    }
}

enum status segments_read(const char *directory, uint64_t after, segments_entry_cb cb, void *data,
                          struct segments_summary *summary, struct error *error)
{
    struct check check = {
        .directory = directory, .error = error, .cb = cb, .data = data, .after = after};

    return check_all(&check, summary);
}

/* --- The term --- */

/* libraft's two files, written in turn: u64 format, version, term, vote. */
static bool read_metadata(const char *directory, unsigned which, uint64_t *version, uint64_t *term,
                          bool *is_there)
{
    char *path = memory_new(strlen(directory) + MAX_FILE_NAME);
    uint8_t bytes[4 * sizeof(uint64_t)] = {0};
    bool is_good;
    int fd;

    (void)sprintf(path, "%s/metadata%u", directory, which);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd < 0) {
        *is_there = *is_there || errno != ENOENT;
        return false;
    }
    *is_there = true;
    is_good = read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && get_u64(bytes) == FORMAT;
    (void)close(fd); /* Only read. */
    *version = get_u64(bytes + 8);
    *term = get_u64(bytes + 16);
    return is_good;
}

enum status segments_term(const char *directory, uint64_t *term, struct error *error)
{
    uint64_t best_version = 0;
    uint64_t best_term = 0;
    bool is_there = false;
    bool is_good = false;

    for (unsigned which = 1; which <= 2; which++) {
        uint64_t version;
        uint64_t found;

        if (read_metadata(directory, which, &version, &found, &is_there)) {
            is_good = true;
            if (version >= best_version) {
                best_version = version;
                best_term = found;
            }
        }
    }
    if (is_there && !is_good) {
        return error_set(error, STATUS_CORRUPT, "the term in \"%s\" cannot be read" ADVICE,
                         directory);
    }
    *term = best_term;
    return STATUS_OK;
}
