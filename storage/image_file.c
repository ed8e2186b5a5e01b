#include "storage/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"

struct image_file {
    int fd;
    char *name;
    uint64_t bytes;
    uint64_t n_pieces;
    uint64_t capacity;
    uint64_t *offsets; /* Of each piece, and of the end. */
    struct image_facts facts;
};

/* --- Bytes --- */

enum status image_file_read(const struct image_file *file, uint64_t offset, size_t size,
                            struct buffer *bytes, struct error *error)
{
    return files_read(file->fd, offset, size, file->name, bytes, error);
}

void image_file_prefetch(const struct image_file *file, uint64_t offset, size_t size)
{
    (void)posix_fadvise(file->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED); /* A hint. */
}

enum status image_file_piece(const struct image_file *file, uint64_t number, struct buffer *bytes,
                             struct error *error)
{
    size_t before = bytes->size;
    size_t size;
    enum status status;

    CHECK(number < file->n_pieces);
    size = (size_t)(file->offsets[number + 1] - file->offsets[number]);
    status = image_file_read(file, file->offsets[number], size, bytes, error);
    if (status == STATUS_OK && bytes->size - before != size) {
        status =
            error_set(error, STATUS_CORRUPT, "\"%s\" became shorter while it was read", file->name);
    }
    return status;
}

/* --- Opening --- */

static void add_offset(struct image_file *file, uint64_t offset)
{
    if (file->n_pieces + 1 >= file->capacity) {
        file->capacity = file->capacity == 0 ? 64 : 2 * file->capacity;
        file->offsets = memory_resize(file->offsets, file->capacity * sizeof *file->offsets);
    }
    file->offsets[file->n_pieces] = offset;
}

static enum status damaged(const struct image_file *file, uint64_t offset, struct error *error)
{
    (void)error_prefix(error, "\"%s\" at byte %llu", file->name, (unsigned long long)offset);
    return STATUS_CORRUPT;
}

static enum status cut_off(const struct image_file *file, struct error *error)
{
    return error_set(error, STATUS_CORRUPT,
                     "\"%s\" is cut off: it ends at byte %llu, in or before piece %llu", file->name,
                     (unsigned long long)file->bytes, (unsigned long long)file->n_pieces);
}

/* Note where the piece at @offset ends. */
static enum status find_piece(struct image_file *file, uint64_t *offset, enum image_kind *kind,
                              struct error *error)
{
    struct buffer head = BUFFER_EMPTY;
    struct image_piece piece = {.size = 0};
    enum status status = image_file_read(file, *offset, IMAGE_HEAD_BYTES, &head, error);

    if (status == STATUS_OK && head.size < IMAGE_HEAD_BYTES && (head.size > 0 || *offset > 0)) {
        status = cut_off(file, error);
    } else if (status == STATUS_OK) {
        status = image_piece_look(buffer_slice(&head), &piece, error);
        status = status == STATUS_OK ? STATUS_OK : damaged(file, *offset, error);
    }
    buffer_close(&head);
    if (status != STATUS_OK) {
        return status;
    }
    if (piece.number != file->n_pieces || (piece.kind == IMAGE_HEADER) != (file->n_pieces == 0)) {
        (void)error_set(error, STATUS_CORRUPT, "piece %llu of an image is there, not piece %llu",
                        (unsigned long long)piece.number, (unsigned long long)file->n_pieces);
        return damaged(file, *offset, error);
    }
    if (piece.size > file->bytes - *offset) {
        return cut_off(file, error);
    }
    *offset += piece.size;
    *kind = piece.kind;
    file->n_pieces++;
    add_offset(file, *offset);
    return STATUS_OK;
}

static enum status find_pieces(struct image_file *file, struct error *error)
{
    enum image_kind kind = IMAGE_HEADER;
    enum status status = STATUS_OK;
    uint64_t offset = 0;

    add_offset(file, 0);
    while (status == STATUS_OK && kind != IMAGE_TRAILER) {
        status = find_piece(file, &offset, &kind, error);
    }
    if (status == STATUS_OK && offset != file->bytes) {
        status = error_set(error, STATUS_CORRUPT,
                           "\"%s\" goes on behind the end of the image, at byte %llu", file->name,
                           (unsigned long long)offset);
    }
    return status;
}

static enum status read_header(struct image_file *file, struct error *error)
{
    struct image_reader *reader = image_reader_open();
    struct buffer piece = BUFFER_EMPTY;
    enum status status = image_file_piece(file, 0, &piece, error);

    if (status == STATUS_OK) {
        status = image_reader_feed(reader, buffer_slice(&piece), NULL, NULL, error);
    }
    if (status == STATUS_OK) {
        file->facts = *image_reader_facts(reader);
    } else {
        (void)error_prefix(error, "\"%s\"", file->name); /* The status stays. */
    }
    buffer_close(&piece);
    image_reader_close(reader);
    return status;
}

enum status image_file_of(int fd, const char *name, struct image_file **file, struct error *error)
{
    struct image_file *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status = STATUS_OK;
    struct stat facts;

    opened->fd = fd;
    opened->name = memory_copy_string(name);
    if (fstat(fd, &facts) != 0) {
        status = error_set(error, status_from_errno(errno), "could not look at \"%s\": %s", name,
                           strerror(errno));
    } else if (!S_ISREG(facts.st_mode)) {
        status = error_set(error, STATUS_INVALID, "\"%s\" is not a file", name);
    } else {
        opened->bytes = (uint64_t)facts.st_size;
        status = find_pieces(opened, error);
    }
    if (status == STATUS_OK) {
        status = read_header(opened, error);
    }
    if (status != STATUS_OK) {
        image_file_close(opened);
        return status;
    }
    *file = opened;
    return STATUS_OK;
}

enum status image_file_open(const char *path, struct image_file **file, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return error_set(error, status_from_errno(errno), "could not open \"%s\": %s", path,
                         strerror(errno));
    }
    return image_file_of(fd, path, file, error);
}

void image_file_close(struct image_file *file)
{
    if (file == NULL) {
        return;
    }
    (void)close(file->fd); /* Only read. */
    free(file->offsets);
    free(file->name);
    free(file);
}

const struct image_facts *image_file_facts(const struct image_file *file)
{
    return &file->facts;
}

uint64_t image_file_pieces(const struct image_file *file)
{
    return file->n_pieces;
}

uint64_t image_file_bytes(const struct image_file *file)
{
    return file->bytes;
}

/* --- All of it --- */

enum status image_file_feed(const struct image_file *file, struct image_reader *reader,
                            image_record_cb cb, void *data,
                            void (*on_progress)(void *data, uint64_t bytes), struct error *error)
{
    struct buffer piece = BUFFER_EMPTY;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && image_reader_next(reader) < file->n_pieces) {
        buffer_clear(&piece);
        status = image_file_piece(file, image_reader_next(reader), &piece, error);
        if (status != STATUS_OK) {
            break;
        }
        status = image_reader_feed(reader, buffer_slice(&piece), cb, data, error);
        if (status != STATUS_OK) {
            (void)error_prefix(error, "\"%s\"", file->name); /* The status stays. */
        } else if (on_progress != NULL) {
            on_progress(data, image_reader_totals(reader)->file_bytes);
        }
    }
    buffer_close(&piece);
    return status;
}

enum status image_file_verify(const struct image_file *file, struct image_totals *totals,
                              void (*on_progress)(void *data, uint64_t bytes), void *data,
                              struct error *error)
{
    struct image_reader *reader = image_reader_open();
    enum status status = image_file_feed(file, reader, NULL, data, on_progress, error);

    if (status == STATUS_OK) {
        CHECK(image_reader_is_done(reader)); /* The last piece is a trailer: find_pieces(). */
        *totals = *image_reader_totals(reader);
    }
    image_reader_close(reader);
    return status;
}
