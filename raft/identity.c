#include "raft/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"

#define FORMAT         1
#define MAX_FILE_BYTES (64u << 10) /* LIMIT_MEMBERS members fit several times. */

#define FILE_IDENTITY   "identity"
#define FILE_TEMPORARY  "identity.new"
#define FILE_DAMAGED    "damaged"
#define FILE_REMOVED    "removed"
#define FILE_LOCK       "lock"
#define FILE_UNFINISHED IDENTITY_UNFINISHED

struct identity_directory {
    char *path;
    char *raft;
    char *state;
    char *images;
    char *journal;
    char *archive;
    char *work;
    char *received;
    int fd;      /* Of the directory. */
    int lock_fd; /* Closing it gives the lock back. */
    struct identity stored;
};

/* "could not ACTION DIR/FILE: why" from errno. */
static enum status file_error(const struct identity_directory *directory, const char *action,
                              const char *file, struct error *error)
{
    int number = errno;

    return error_set(error, status_from_errno(number), "could not %s \"%s/%s\": %s", action,
                     directory->path, file, strerror(number));
}

static enum status write_whole(int fd, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t written = write(fd, bytes.data, bytes.size);

        if (written < 0 && errno != EINTR) {
            return status_from_errno(errno);
        }
        if (written > 0) {
            bytes = slice_from(bytes, (size_t)written);
        }
    }
    return STATUS_OK;
}

/* Write @file so that after a crash it is there whole, or not at all. */
static enum status write_durably(struct identity_directory *directory, const char *file,
                                 const char *temporary, struct slice bytes, struct error *error)
{
    enum status status;
    int fd = openat(directory->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0) {
        return file_error(directory, "create", temporary, error);
    }
    if (write_whole(fd, bytes) != STATUS_OK || fsync(fd) != 0) {
        status = file_error(directory, "write", temporary, error);
        (void)close(fd); /* The first failure is the one to tell. */
        goto err_after_create;
    }
    if (close(fd) != 0) {
        status = file_error(directory, "write", temporary, error);
        goto err_after_create;
    }
    if (renameat(directory->fd, temporary, directory->fd, file) != 0) {
        status = file_error(directory, "replace", file, error);
        goto err_after_create;
    }
    if (fsync(directory->fd) != 0) {
        return file_error(directory, "flush", file, error);
    }
    return STATUS_OK;

err_after_create:
    (void)unlinkat(directory->fd, temporary, 0); /* The next write makes it anew. */
    return status;
}

/* Append what @file holds. STATUS_NOT_FOUND. */
static enum status read_whole(const struct identity_directory *directory, const char *file,
                              struct buffer *bytes, struct error *error)
{
    enum status status = STATUS_OK;
    ssize_t got;
    int fd = openat(directory->fd, file, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return file_error(directory, "open", file, error);
    }
    do {
        got = read(fd, buffer_reserve(bytes, MAX_FILE_BYTES), MAX_FILE_BYTES);
        if (got > 0) {
            (void)buffer_extend(bytes, (size_t)got); /* The bytes are there already. */
        }
        if (bytes->size > MAX_FILE_BYTES) {
            status = error_set(error, STATUS_CORRUPT, "\"%s/%s\" is too large to be one",
                               directory->path, file);
        } else if (got < 0 && errno != EINTR) {
            status = file_error(directory, "read", file, error);
        }
    } while (status == STATUS_OK && got != 0);
    (void)close(fd); /* Only read. */
    return status;
}

/* --- The file --- */

static void format_id(uint64_t id, char text[17])
{
    (void)snprintf(text, 17, "%016" PRIx64, id); /* Fits. */
}

static json_t *member_to_json(const struct identity_member *member)
{
    char id[17];

    format_id(member->id, id);
    return json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", member->name, "peer_address",
                     member->peer_address, "api_address", member->api_address);
}

static void identity_to_json(const struct identity *identity, struct buffer *text)
{
    json_t *members = json_array();
    json_t *root;
    char *dumped;
    char id[17];

    for (unsigned i = 0; i < identity->n_members; i++) {
        CHECK(json_array_append_new(members, member_to_json(&identity->members[i])) == 0);
    }
    format_id(identity->id, id);
    root = json_pack("{s:i, s:s, s:s, s:s, s:b, s:b, s:b, s:o}", "format", FORMAT, "cluster_id",
                     identity->cluster_id, "node_id", id, "name", identity->name, "pending",
                     identity->stage == IDENTITY_PENDING, "joining", identity->is_joining,
                     "has_log", identity->has_log, "members", members);
    CHECK(root != NULL);
    dumped = json_dumps(root, JSON_INDENT(2));
    CHECK(dumped != NULL);
    buffer_append_string(text, dumped);
    buffer_append_byte(text, '\n');
    free(dumped);
    json_decref(root);
}

static bool parse_id(const char *text, uint64_t *id)
{
    char *end;

    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return false;
    }
    *id = strtoull(text, &end, 16);
    return *id != 0;
}

static bool copy_text(const char *from, char *to, size_t size)
{
    size_t length = strlen(from);

    if (length >= size) {
        return false;
    }
    memcpy(to, from, length + 1);
    return true;
}

static bool member_from_json(json_t *value, struct identity_member *member)
{
    const char *id;
    const char *name;
    const char *peer_address;
    const char *api_address;

    return json_unpack(value, "{s:s, s:s, s:s, s:s}", "id", &id, "name", &name, "peer_address",
                       &peer_address, "api_address", &api_address) == 0 &&
           parse_id(id, &member->id) && copy_text(name, member->name, sizeof member->name) &&
           copy_text(peer_address, member->peer_address, sizeof member->peer_address) &&
           copy_text(api_address, member->api_address, sizeof member->api_address);
}

static bool identity_from_json(json_t *root, struct identity *identity)
{
    const char *cluster_id;
    const char *id;
    const char *name;
    json_t *members;
    int pending;
    int joining = 0; /* Not there in what earlier versions wrote. */
    int has_log;

    if (json_unpack(root, "{s:s, s:s, s:s, s:b, s?b, s:b, s:o}", "cluster_id", &cluster_id,
                    "node_id", &id, "name", &name, "pending", &pending, "joining", &joining,
                    "has_log", &has_log, "members", &members) != 0 ||
        !json_is_array(members) || json_array_size(members) > LIMIT_MEMBERS ||
        strlen(cluster_id) != IDENTITY_CLUSTER_BYTES || !parse_id(id, &identity->id) ||
        !copy_text(name, identity->name, sizeof identity->name)) {
        return false;
    }
    memcpy(identity->cluster_id, cluster_id, IDENTITY_CLUSTER_BYTES + 1);
    identity->stage = pending ? IDENTITY_PENDING : IDENTITY_MEMBER;
    identity->is_joining = joining;
    identity->has_log = has_log;
    identity->n_members = (unsigned)json_array_size(members);
    for (unsigned i = 0; i < identity->n_members; i++) {
        if (!member_from_json(json_array_get(members, i), &identity->members[i])) {
            return false;
        }
    }
    return true;
}

static enum status parse_identity(const struct identity_directory *directory, struct slice text,
                                  struct identity *identity, struct error *error)
{
    struct identity parsed = {.stage = IDENTITY_EMPTY};
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    json_int_t format = json_integer_value(json_object_get(root, "format"));
    enum status status = STATUS_OK;

    if (format > FORMAT) {
        status = error_set(error, STATUS_UNSUPPORTED,
                           "data directory \"%s\" has format %lld, which a later version of "
                           "Holdfast wrote; this one knows format %d",
                           directory->path, (long long)format, FORMAT);
    } else if (format != FORMAT || !identity_from_json(root, &parsed)) {
        status = error_set(error, STATUS_CORRUPT,
                           "\"%s/" FILE_IDENTITY "\" is damaged, so that it is unknown which node "
                           "this is: " IDENTITY_WHAT_TO_DO,
                           directory->path);
    } else {
        *identity = parsed;
    }
    json_decref(root);
    return status;
}

/* --- The directory --- */

static enum status make_directory(const char *path, struct error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        int number = errno;

        return error_set(error, status_from_errno(number), "could not make directory \"%s\": %s",
                         path, strerror(number));
    }
    return STATUS_OK;
}

static enum status take_lock(struct identity_directory *directory, struct error *error)
{
    directory->lock_fd = openat(directory->fd, FILE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (directory->lock_fd < 0) {
        return file_error(directory, "open", FILE_LOCK, error);
    }
    if (flock(directory->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return STATUS_OK;
    }
    if (errno == EWOULDBLOCK) {
        return error_set(error, STATUS_BUSY, "data directory \"%s\" is in use by another process",
                         directory->path);
    }
    return file_error(directory, "lock", FILE_LOCK, error);
}

/* Refuse if @file is there, which says why. */
static enum status refuse_if_marked(const struct identity_directory *directory, const char *file,
                                    enum status refusal, const char *what, struct error *error)
{
    struct buffer reason = BUFFER_EMPTY;
    struct error read_error;
    enum status status = read_whole(directory, file, &reason, &read_error);

    if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
        goto out;
    }
    if (status != STATUS_OK) {
        buffer_clear(&reason);
        buffer_append_string(&reason, read_error.text);
    }
    while (reason.size > 0 && reason.data[reason.size - 1] == '\n') {
        reason.size--;
    }
    status = error_set(error, refusal, "data directory \"%s\" %s (%.*s): " IDENTITY_WHAT_TO_DO,
                       directory->path, what, (int)(reason.size < 256 ? reason.size : 256),
                       (const char *)reason.data);
out:
    buffer_close(&reason);
    return status;
}

/* The mark of an offline command: its name, and the cluster that the directory was of, each on a
 * line. */
static void parse_unfinished(struct slice text, struct slice *command,
                             struct identity_unfinished *unfinished)
{
    const uint8_t *end = text.size == 0 ? NULL : memchr(text.data, '\n', text.size);

    *command = slice_of(text.data, end == NULL ? text.size : (size_t)(end - text.data));
    text = end == NULL ? slice_of(NULL, 0) : slice_from(text, command->size + 1);
    unfinished->is_there = true;
    unfinished->cluster_id[0] = '\0';
    if (text.size > IDENTITY_CLUSTER_BYTES) {
        memcpy(unfinished->cluster_id, text.data, IDENTITY_CLUSTER_BYTES);
        unfinished->cluster_id[IDENTITY_CLUSTER_BYTES] = '\0';
    }
}

/* Was a command cut off in there? Only @command may have been, unless any may. */
static enum status check_unfinished(const struct identity_directory *directory, bool is_any_allowed,
                                    const char *command, struct identity_unfinished *unfinished,
                                    struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    enum status status = read_whole(directory, FILE_UNFINISHED, &text, error);
    struct slice found;

    *unfinished = (struct identity_unfinished){.is_there = false};
    if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    } else if (status == STATUS_OK) {
        parse_unfinished(buffer_slice(&text), &found, unfinished);
        if (!is_any_allowed && (command == NULL || !slice_equals_string(found, command))) {
            status = error_set(error, STATUS_INVALID,
                               "data directory \"%s\" was left half changed by \"%.*s\": run that "
                               "again to finish it",
                               directory->path, (int)(found.size < 128 ? found.size : 128),
                               (const char *)found.data);
        }
    }
    buffer_close(&text);
    return status;
}

/* An empty directory has no identity yet; any other has to be of @name, if that is not NULL. */
static enum status read_identity(struct identity_directory *directory, const char *name,
                                 struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    enum status status = read_whole(directory, FILE_IDENTITY, &text, error);

    if (status == STATUS_NOT_FOUND) {
        directory->stored = (struct identity){.stage = IDENTITY_EMPTY};
        status = STATUS_OK;
        if (name != NULL &&
            !copy_text(name, directory->stored.name, sizeof directory->stored.name)) {
            status = error_set(error, STATUS_INVALID, "the node's name is longer than %u bytes",
                               LIMIT_NAME_BYTES);
        }
        goto out;
    }
    if (status == STATUS_OK) {
        status = parse_identity(directory, buffer_slice(&text), &directory->stored, error);
    }
    if (status == STATUS_OK && name != NULL && strcmp(directory->stored.name, name) != 0) {
        status = error_set(error, STATUS_MISMATCH,
                           "data directory \"%s\" belongs to node \"%s\", not to \"%s\"",
                           directory->path, directory->stored.name, name);
    }
out:
    buffer_close(&text);
    return status;
}

/* Up to the lock. */
static enum status enter(struct identity_directory *directory, struct error *error)
{
    enum status status = make_directory(directory->path, error);

    if (status != STATUS_OK) {
        return status;
    }
    directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0) {
        return file_error(directory, "open", "", error);
    }
    status = take_lock(directory, error);
    if (status == STATUS_OK) {
        status = refuse_if_marked(directory, FILE_DAMAGED, STATUS_CORRUPT,
                                  "was found damaged earlier", error);
    }
    return status;
}

static enum status open_inside(struct identity_directory *directory, const char *name,
                               struct error *error)
{
    enum status status = enter(directory, error);
    struct identity_unfinished unfinished;

    if (status == STATUS_OK) {
        status = check_unfinished(directory, false, NULL, &unfinished, error);
    }
    if (status == STATUS_OK) {
        status = refuse_if_marked(directory, FILE_REMOVED, STATUS_CLOSED,
                                  "is of a node that is no member any more", error);
    }
    if (status == STATUS_OK) {
        status = read_identity(directory, name, error);
    }
    if (status == STATUS_OK) {
        status = make_directory(directory->raft, error);
    }
    if (status == STATUS_OK) {
        status = make_directory(directory->state, error);
    }
    return status;
}

static struct identity_directory *new_directory(const char *path)
{
    struct identity_directory *made = memory_new_zeroed(1, sizeof *made);

    made->path = memory_copy_string(path);
    made->raft = files_join(path, "/raft");
    made->state = files_join(path, "/state");
    made->images = files_join(path, "/images");
    made->journal = files_join(path, "/journal");
    made->archive = files_join(path, "/archive");
    made->work = files_join(path, "/work");
    made->received = files_join(path, "/received");
    made->fd = -1;
    made->lock_fd = -1;
    return made;
}

enum status identity_open(const char *path, const char *name, struct identity_directory **directory,
                          struct identity *identity, struct error *error)
{
    struct identity_directory *opened = new_directory(path);
    enum status status = open_inside(opened, name, error);

    if (status != STATUS_OK) {
        identity_close(opened);
        return status;
    }
    *identity = opened->stored;
    *directory = opened;
    return STATUS_OK;
}

enum status identity_store(struct identity_directory *directory, const struct identity *identity,
                           struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    enum status status;

    CHECK(identity->stage != IDENTITY_EMPTY && identity->id != 0);
    if (directory->stored.stage != IDENTITY_EMPTY &&
        (strcmp(directory->stored.cluster_id, identity->cluster_id) != 0 ||
         directory->stored.id != identity->id)) {
        return error_set(error, STATUS_MISMATCH,
                         "data directory \"%s\" belongs to cluster %s, not to %s", directory->path,
                         directory->stored.cluster_id, identity->cluster_id);
    }
    identity_to_json(identity, &text);
    status = write_durably(directory, FILE_IDENTITY, FILE_TEMPORARY, buffer_slice(&text), error);
    if (status == STATUS_OK) {
        directory->stored = *identity;
    }
    buffer_close(&text);
    return status;
}

/* --- Offline --- */

enum status identity_open_offline(const char *path, const char *command,
                                  struct identity_directory **directory, struct identity *identity,
                                  struct identity_unfinished *unfinished, struct error *error)
{
    struct identity_directory *opened = new_directory(path);
    enum status status = enter(opened, error);

    if (status == STATUS_OK) {
        status = check_unfinished(opened, command == NULL, command, unfinished, error);
    }
    if (status == STATUS_OK) {
        unfinished->was_removed = faccessat(opened->fd, FILE_REMOVED, F_OK, 0) == 0;
        status = read_identity(opened, NULL, error);
    }
    if (status != STATUS_OK) {
        identity_close(opened);
        return status;
    }
    *identity = opened->stored;
    *directory = opened;
    return STATUS_OK;
}

enum status identity_begin_change(struct identity_directory *directory, const char *command,
                                  struct error *error)
{
    struct buffer line = BUFFER_EMPTY;
    enum status status;

    buffer_append_format(&line, "%s\n%s\n", command, directory->stored.cluster_id);
    status = write_durably(directory, FILE_UNFINISHED, FILE_UNFINISHED ".new", buffer_slice(&line),
                           error);
    buffer_close(&line);
    return status;
}

enum status identity_end_change(struct identity_directory *directory,
                                const struct identity *identity, struct error *error)
{
    enum status status;

    directory->stored = (struct identity){.stage = IDENTITY_EMPTY};
    status = identity_store(directory, identity, error);
    if (status != STATUS_OK) {
        return status;
    }
    /* It was of the old cluster that the node was no member any more. */
    if (unlinkat(directory->fd, FILE_REMOVED, 0) != 0 && errno != ENOENT) {
        return file_error(directory, "remove", FILE_REMOVED, error);
    }
    if (unlinkat(directory->fd, FILE_UNFINISHED, 0) != 0 && errno != ENOENT) {
        return file_error(directory, "remove", FILE_UNFINISHED, error);
    }
    return fsync(directory->fd) == 0 ? STATUS_OK
                                     : file_error(directory, "flush", FILE_UNFINISHED, error);
}

const char *identity_raft_directory(const struct identity_directory *directory)
{
    return directory->raft;
}

const char *identity_state_directory(const struct identity_directory *directory)
{
    return directory->state;
}

const char *identity_images_directory(const struct identity_directory *directory)
{
    return directory->images;
}

const char *identity_journal_directory(const struct identity_directory *directory)
{
    return directory->journal;
}

const char *identity_archive_directory(const struct identity_directory *directory)
{
    return directory->archive;
}

const char *identity_work_directory(const struct identity_directory *directory)
{
    return directory->work;
}

const char *identity_received_directory(const struct identity_directory *directory)
{
    return directory->received;
}

enum status identity_mark_damaged(struct identity_directory *directory, const char *reason)
{
    char temporary[64];

    /* Each thread that finds damage writes a file of its own; the last one stays. */
    (void)snprintf(temporary, sizeof temporary, FILE_DAMAGED ".%ld", (long)gettid());
    return write_durably(directory, FILE_DAMAGED, temporary, slice_of_string(reason), NULL);
}

enum status identity_mark_removed(struct identity_directory *directory, const char *reason)
{
    return write_durably(directory, FILE_REMOVED, FILE_REMOVED ".new", slice_of_string(reason),
                         NULL);
}

void identity_close(struct identity_directory *directory)
{
    if (directory == NULL) {
        return;
    }
    if (directory->lock_fd >= 0) {
        (void)close(directory->lock_fd); /* Nothing was written to it. */
    }
    if (directory->fd >= 0) {
        (void)close(directory->fd); /* Flushed where it mattered. */
    }
    free(directory->path);
    free(directory->raft);
    free(directory->state);
    free(directory->images);
    free(directory->journal);
    free(directory->archive);
    free(directory->work);
    free(directory->received);
    free(directory);
}

static void draw(void *bytes, size_t size)
{
    /* Up to 256 bytes come whole, and the kernel's source is ready by the time a service starts. */
    CHECK(getrandom(bytes, size, 0) == (ssize_t)size);
}

uint64_t identity_draw_id(void)
{
    uint64_t id;

    do {
        draw(&id, sizeof id);
    } while (id == 0);
    return id;
}

/* RFC 9562, section 5.4: version 4. */
void identity_draw_cluster_id(char cluster_id[IDENTITY_CLUSTER_BYTES + 1])
{
    uint8_t b[16];

    draw(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(cluster_id, IDENTITY_CLUSTER_BYTES + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]); /* Fits. */
}
