/* Recovering:
 *
 * 1. The directory is marked as unfinished.
 * 2. What the log has behind the state is executed, and flushed.
 * 3. The state is made that of the new cluster, whose UUID it keeps, in one step.
 * 4. A log is made that begins behind it, and takes the place of the old one.
 * 5. The identity is written, and the mark removed.
 *
 * Restoring is the same, but for 2: an image, or an archive, is imported into a directory beside
 * the state's, which takes its place in 4.
 *
 * What can go wrong: it is cut off anywhere. The next run finds the mark. If the state was made
 * that of a new cluster already, it goes on with that one at 4; else it begins again, and finds
 * executed or imported what was. */
#include "raft/offline.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/limits.h"
#include "daemon/base/memory.h"
#include "raft/received.h"
#include "raft/seed.h"
#include "raft/segments.h"
#include "storage/archive/restore.h"
#include "storage/entry.h"
#include "storage/image_file.h"
#include "storage/image_import.h"
#include "storage/rebase.h"
#include "storage/replay.h"

#define ENTRY_OF_COMMANDS 1 /* libraft's RAFT_COMMAND, as it is on disk. */
#define RECOVER           "holdfast recover"
#define RESTORE           "holdfast restore"

/* --- Looking --- */

static uint64_t highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static enum status open_store(const char *directory, struct store **store, struct error *error)
{
    const struct store_options options = {.directory = directory};

    return store_open(&options, store, error);
}

static enum status on_looked_at(void *data, uint64_t index, uint64_t term, uint8_t type,
                                struct slice bytes, struct error *error)
{
    struct offline_facts *facts = data;
    struct entry entry;
    enum status status;

    (void)index;
    (void)term;
    facts->n_entries++;
    if (type != ENTRY_OF_COMMANDS) {
        return STATUS_OK;
    }
    status = entry_decode(bytes, &entry, error);
    if (status == STATUS_OK) {
        facts->time_ms = highest(facts->time_ms, entry.time_ms);
    }
    return status;
}

/* The log has what comes behind the state. */
static enum status look_at_log(const struct identity_directory *directory,
                               struct offline_facts *facts, struct error *error)
{
    const char *path = identity_raft_directory(directory);
    struct segments_summary summary;
    enum status status = segments_check(path, facts->state.stored, &summary, error);

    if (status == STATUS_OK) {
        status =
            segments_read(path, facts->state.applied_index, on_looked_at, facts, &summary, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (summary.last_index > facts->state.applied_index &&
        summary.last_index - facts->state.applied_index != facts->n_entries) {
        return error_set(error, STATUS_MISMATCH,
                         "the log in \"%s\" does not go on where the state ends, at %" PRIu64, path,
                         facts->state.applied_index);
    }
    facts->last_index = highest(summary.last_index, facts->state.applied_index);
    facts->last_term =
        highest(highest(summary.last_term, summary.snapshot_term), facts->state.applied_term);
    return STATUS_OK;
}

/* What a command that was cut off made of the state: it has left the log behind, which is of no
 * interest any more. */
static enum status see_whether_rebased(struct store *store, struct offline_facts *facts,
                                       struct error *error)
{
    char cluster_id[REBASE_CLUSTER_BYTES + 1] = "";
    enum status status = STATUS_OK;

    if (facts->unfinished.is_there) {
        status = rebase_cluster_id(store, cluster_id, error);
    }
    facts->is_rebased =
        cluster_id[0] != '\0' && strcmp(cluster_id, facts->unfinished.cluster_id) != 0;
    facts->is_renamed = facts->is_rebased && strcmp(cluster_id, facts->identity.cluster_id) == 0;

    memcpy(facts->new_cluster_id, cluster_id, sizeof cluster_id);
    return status;
}

/* A state that was received counts as the node's own; its log is what that knew it to be. */
static enum status look_at_received(const struct identity_directory *directory,
                                    struct offline_facts *facts, struct error *error)
{
    uint64_t stored = facts->state.stored;
    enum status status = STATUS_OK;

    facts->has_received = false;
    if (!facts->is_rebased) {
        status = received_look(identity_received_directory(directory),
                               identity_state_directory(directory), &facts->has_received,
                               &facts->state, error);
    }
    facts->state.stored = stored;
    return status;
}

static enum status look(const struct identity_directory *directory, struct offline_facts *facts,
                        struct error *error)
{
    struct store *store;
    enum status status = open_store(identity_state_directory(directory), &store, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = machine_position(store, &facts->state, error);
    if (status == STATUS_OK) {
        status = see_whether_rebased(store, facts, error);
    }
    store_close(store);
    if (status != STATUS_OK) {
        return status;
    }
    status = look_at_received(directory, facts, error);
    if (status != STATUS_OK) {
        return status;
    }
    facts->time_ms = facts->state.time_ms;
    facts->n_entries = 0;
    facts->last_index = facts->state.applied_index;
    facts->last_term = facts->state.applied_term;
    return facts->is_rebased ? STATUS_OK : look_at_log(directory, facts, error);
}

/* A directory of a member. */
static enum status open_member(const char *path, const char *command,
                               struct identity_directory **directory, struct offline_facts *facts,
                               struct error *error)
{
    enum status status;

    if (access(path, F_OK) != 0) {
        return files_error("open", path, error);
    }
    status = identity_open_offline(path, command, directory, &facts->identity, &facts->unfinished,
                                   error);
    if (status == STATUS_OK && facts->identity.stage != IDENTITY_MEMBER) {
        identity_close(*directory);
        status = error_set(
            error, STATUS_NOT_FOUND,
            "\"%s\" is not the data directory of a node that was member of a cluster", path);
    }
    return status;
}

enum status offline_inspect(const char *path, struct offline_facts *facts, struct error *error)
{
    struct identity_directory *directory;
    enum status status = open_member(path, NULL, &directory, facts, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = look(directory, facts, error);
    identity_close(directory);
    return status;
}

bool offline_is_newer(const struct offline_facts *a, const struct offline_facts *b)
{
    return a->last_term != b->last_term ? a->last_term > b->last_term
                                        : a->last_index > b->last_index;
}

/* --- Executing what the log has --- */

static enum status on_entry(void *data, uint64_t index, uint64_t term, uint8_t type,
                            struct slice bytes, struct error *error)
{
    struct replay *replay = data;

    return replay_execute(replay, index, term, type == ENTRY_OF_COMMANDS ? &bytes : NULL, error);
}

static enum status replay_log(struct store *store, const char *log, uint64_t after,
                              struct error *error)
{
    struct segments_summary summary;
    struct replay *replay;
    enum status status = replay_open(store, REPLAY_OWN_LOG, &replay, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = segments_read(log, after, on_entry, replay, &summary, error);
    if (status == STATUS_OK) {
        status = replay_flush(replay, error);
    }
    replay_close(replay);
    return status;
}

/* --- The new cluster --- */

static void draw_identity(struct identity *identity, const char *name, const char *peer_address,
                          const char *api_address)
{
    *identity = (struct identity){.stage = IDENTITY_MEMBER, .has_log = true, .n_members = 1};
    identity_draw_cluster_id(identity->cluster_id);
    identity->id = identity_draw_id();
    (void)snprintf(identity->name, sizeof identity->name, "%s", name);
    identity->members[0].id = identity->id;
    (void)snprintf(identity->members[0].name, sizeof identity->members[0].name, "%s", name);
    (void)snprintf(identity->members[0].peer_address, sizeof identity->members[0].peer_address,
                   "%s", peer_address);
    (void)snprintf(identity->members[0].api_address, sizeof identity->members[0].api_address, "%s",
                   api_address);
}

/* Make the state that of @made's cluster, at an index and in a term above all that was. */
static enum status rebase_state(struct store *store, uint64_t last_index, uint64_t last_term,
                                struct offline_made *made, struct error *error)
{
    struct machine_position position;
    enum status status = machine_position(store, &position, error);

    if (status != STATUS_OK) {
        return status;
    }
    made->old_revision = position.revision;
    made->old_time_ms = position.time_ms;
    made->index = highest(last_index, position.applied_index) + 1;
    made->term = highest(last_term, position.applied_term) + 1;
    status = rebase(store, made->identity.cluster_id, made->index, made->term, error);
    made->revision = position.revision + REBASE_REVISIONS;
    return status;
}

/* An earlier run came so far: go on with its cluster. */
static void take_rebased(const struct offline_facts *facts, struct offline_made *made)
{
    memcpy(made->identity.cluster_id, facts->new_cluster_id, sizeof facts->new_cluster_id);
    made->index = facts->state.applied_index;
    made->term = facts->state.applied_term;
    made->revision = facts->state.revision;
    made->old_revision = facts->state.revision - REBASE_REVISIONS;
    made->old_time_ms = facts->state.time_ms;
}

/* A log that begins behind the state, in the place of what is there. */
static enum status make_log(const struct identity_directory *directory,
                            const struct offline_made *made, struct error *error)
{
    const char *raft = identity_raft_directory(directory);
    char *new_raft = files_join(raft, ".new");
    const struct seed seed = {
        .directory = new_raft,
        .cluster_id = made->identity.cluster_id,
        .self = made->identity.id,
        .index = made->index,
        .term = made->term,
    };
    enum status status = seed_log(&seed, error);

    if (status == STATUS_OK) {
        status = files_replace(new_raft, raft, error);
    }
    free(new_raft);
    return status;
}

static enum status conclude(struct identity_directory *directory, const struct offline_made *made,
                            struct error *error)
{
    enum status status = make_log(directory, made, error);

    if (status == STATUS_OK) { /* It is of the old cluster, and must not take the state's place. */
        status = files_remove_directory(identity_received_directory(directory), error);
    }
    if (status == STATUS_OK) { /* The same: the new cluster has an archive of its own. */
        status = files_remove_directory(identity_journal_directory(directory), error);
    }

    return status == STATUS_OK ? identity_end_change(directory, &made->identity, error) : status;
}

/* --- Recovering --- */

static enum status recover_state(const struct identity_directory *directory,
                                 const struct offline_facts *facts, struct offline_made *made,
                                 struct error *error)
{
    const char *raft = identity_raft_directory(directory);
    struct store *store;
    uint64_t term = 0;
    enum status status;

    if (facts->is_rebased) {
        take_rebased(facts, made);
        return STATUS_OK;
    }
    status = segments_term(raft, &term, error);
    if (status == STATUS_OK && facts->has_received) {
        status = files_replace(identity_received_directory(directory),
                               identity_state_directory(directory), error);
    }
    if (status == STATUS_OK) {
        status = open_store(identity_state_directory(directory), &store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = replay_log(store, raft, facts->state.applied_index, error);
    if (status == STATUS_OK) {
        status =
            rebase_state(store, facts->last_index, highest(term, facts->last_term), made, error);
    }
    store_close(store);
    return status;
}

/* The node's addresses, as they were when its cluster was formed. */
static const struct identity_member *own_member(const struct identity *identity)
{
    static const struct identity_member nobody;

    for (unsigned i = 0; i < identity->n_members; i++) {
        if (identity->members[i].id == identity->id) {
            return &identity->members[i];
        }
    }
    return &nobody;
}

static enum status recover(struct identity_directory *directory, struct offline_facts *facts,
                           struct offline_made *made, struct error *error)
{
    const struct identity_member *self = own_member(&facts->identity);
    enum status status = STATUS_OK;

    if (facts->unfinished.is_there) {
        status = files_repair(identity_raft_directory(directory), error);
    }
    if (status == STATUS_OK) { /* A node that is started does so too. */
        status = files_repair(identity_state_directory(directory), error);
    }
    if (status == STATUS_OK) {
        status = look(directory, facts, error);
    }
    if (status == STATUS_OK && !facts->unfinished.is_there) {
        memcpy(facts->unfinished.cluster_id, facts->identity.cluster_id,
               sizeof facts->unfinished.cluster_id);
        status = identity_begin_change(directory, RECOVER, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(made->old_cluster_id, facts->unfinished.cluster_id, sizeof made->old_cluster_id);
    if (facts->is_renamed) { /* Only the mark is left. */
        made->identity = facts->identity;
        take_rebased(facts, made);
        return identity_end_change(directory, &made->identity, error);
    }
    draw_identity(&made->identity, facts->identity.name, self->peer_address, self->api_address);
    status = recover_state(directory, facts, made, error);
    return status == STATUS_OK ? conclude(directory, made, error) : status;
}

enum status offline_recover(const char *path, struct offline_made *made, struct error *error)
{
    struct offline_facts *facts = memory_new_zeroed(1, sizeof *facts); /* Large for a stack. */
    struct identity_directory *directory;
    enum status status = open_member(path, RECOVER, &directory, facts, error);

    if (status == STATUS_OK) {
        status = recover(directory, facts, made, error);
        identity_close(directory);
    }
    free(facts);
    return status;
}

/* --- Restoring --- */

static bool is_nobodys(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lock") == 0 ||
           strcmp(name, "lost+found") == 0; /* An empty file system has that. */
}

static enum status refuse_unless_empty(const char *path, struct error *error)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    enum status status = STATUS_OK;

    if (directory == NULL) {
        return errno == ENOENT ? STATUS_OK : files_error("read", path, error);
    }
    while (status == STATUS_OK && (entry = readdir(directory)) != NULL) {
        if (!is_nobodys(entry->d_name)) {
            status =
                error_set(error, STATUS_EXISTS,
                          "\"%s\" is not empty (it has \"%s\"): a state is restored only where "
                          "nothing can be lost",
                          path, entry->d_name);
        }
    }
    (void)closedir(directory); /* Only read. */
    return status;
}

static enum status import_image(const struct offline_restore *options, const char *directory,
                                const struct image_file *file, struct error *error)
{
    struct buffer piece = BUFFER_EMPTY;
    struct image_import *import;
    enum status status =
        image_import_resume(directory, image_facts_are, image_file_facts(file), &import, error);

    if (status != STATUS_OK) {
        return status;
    }
    while (status == STATUS_OK && !image_import_is_done(import)) {
        buffer_clear(&piece);
        status = image_file_piece(file, image_import_next(import), &piece, error);
        if (status != STATUS_OK) {
            break;
        }
        status = image_import_feed(import, buffer_slice(&piece), error);
        if (status == STATUS_OK && options->on_progress != NULL) {
            options->on_progress(options->data, image_import_totals(import)->file_bytes,
                                 image_file_bytes(file));
        }
    }
    image_import_close(import);
    buffer_close(&piece);
    return status;
}

/* What is restored: the one or the other. */
struct source {
    struct image_file *file;
    struct restore *archive;
};

static enum status open_source(const struct offline_restore *options, struct source *source,
                               struct error *error)
{
    *source = (struct source){.file = NULL};
    return options->image != NULL ? image_file_open(options->image, &source->file, error)
                                  : restore_open(options->archive, &source->archive, error);
}

static void close_source(struct source *source)
{
    image_file_close(source->file);
    restore_close(source->archive);
}

static const char *cluster_of(const struct source *source)
{
    return source->file != NULL ? image_file_facts(source->file)->cluster_id
                                : restore_facts(source->archive)->cluster_id;
}

static enum status restore_state(const struct offline_restore *options, const char *state,
                                 const struct source *source, struct offline_made *made,
                                 struct error *error)
{
    char *new_state = files_join(state, ".new");
    struct store *store;
    enum status status = source->file != NULL
                             ? import_image(options, new_state, source->file, error)
                             : restore_run(source->archive, new_state, error);

    if (status == STATUS_OK) {
        status = open_store(new_state, &store, error);
    }
    if (status == STATUS_OK) {
        status = rebase_state(store, 0, 0, made, error);
        store_close(store);
    }
    if (status == STATUS_OK) {
        status = files_replace(new_state, state, error);
    }
    free(new_state);
    return status;
}

static enum status restore(const struct offline_restore *options,
                           struct identity_directory *directory, const struct source *source,
                           struct offline_made *made, struct error *error)
{
    enum status status = identity_begin_change(directory, RESTORE, error);

    if (status != STATUS_OK) {
        return status;
    }
    memcpy(made->old_cluster_id, cluster_of(source), sizeof made->old_cluster_id);
    draw_identity(&made->identity, options->name, options->peer_address, options->api_address);
    status = restore_state(options, identity_state_directory(directory), source, made, error);
    return status == STATUS_OK ? conclude(directory, made, error) : status;
}

static bool was_cut_off(const char *path)
{
    char *mark = files_join(path, "/" IDENTITY_UNFINISHED);
    bool is_there = access(mark, F_OK) == 0;

    free(mark);
    return is_there;
}

/* A directory that belongs to something else is not touched. */
static enum status open_for_restore(const char *path, struct identity_directory **directory,
                                    struct error *error)
{
    struct identity *identity;
    struct identity_unfinished unfinished;
    enum status status = was_cut_off(path) ? STATUS_OK : refuse_unless_empty(path, error);

    if (status != STATUS_OK) {
        return status;
    }
    identity = memory_new_zeroed(1, sizeof *identity); /* Large for a stack. */
    status = identity_open_offline(path, RESTORE, directory, identity, &unfinished, error);
    if (status == STATUS_OK && identity->stage != IDENTITY_EMPTY && !unfinished.is_there) {
        identity_close(*directory);
        status = error_set(error, STATUS_EXISTS,
                           "\"%s\" is the data directory of node %s: an image is restored only "
                           "where nothing can be lost",
                           path, identity->name);
    }
    free(identity);
    return status;
}

enum status offline_restore(const struct offline_restore *options, struct offline_made *made,
                            struct error *error)
{
    struct identity_directory *directory;
    struct source source;
    enum status status = open_source(options, &source, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = open_for_restore(options->directory, &directory, error);
    if (status == STATUS_OK) {
        status = restore(options, directory, &source, made, error);
        identity_close(directory);
    }
    close_source(&source);
    return status;
}
