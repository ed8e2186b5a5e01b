/* Data directories on which no node runs: what a survivor has is kept, whatever cuts a recovery or
 * a restore off, and until it has ended no node starts there. The directories are put together
 * here, with a log of entries that the state has not executed yet. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/wire.h"
#include "raft/offline.h"
#include "raft/segments.h"
#include "storage/image_export.h"
#include "storage/keys.h"
#include "storage/rebase.h"
#include "tests/lib/fault.h"
#include "tests/lib/state.h"

#define OLD_CLUSTER "0b0ff1ce-0000-4000-8000-000000000001"
#define OWN_ID      0x0123456789abcdefull
#define EXECUTED    6u  /* Entries in the state's file; */
#define ENTRIES     10u /* and in the log. */
#define TERM        4u

struct fixture {
    char base[64];
    char directory[96];
    char image[96];
    unsigned n_entries; /* That the new cluster has to have executed. */

    struct offline_facts facts;
    struct offline_made made;
    struct error error;
};

static void run_command(const char *format, const char *path)
{
    char command[256];

    (void)snprintf(command, sizeof command, format, path, path);
    assert_int_equal(system(command), 0);
}

/* --- A data directory --- */

/* The entry of index @f->index + 1: an item, and a member. */
static void make_entry(struct state_fixture *f)
{
    char key[32];
    char value[64];
    struct operation put;
    struct operation member = {.kind = OPERATION_MEMBER_PUT};
    const struct command commands[] = {
        {.ns = slice_of_string("default"), .n_operations = 1, .operations = &put},
        {.n_operations = 1, .operations = &member},
    };

    (void)snprintf(key, sizeof key, "item/%" PRIu64, f->index + 1);
    (void)snprintf(value, sizeof value, "\"value %" PRIu64 "\"", f->index + 1);
    put = item_put(key, value);
    member.member.id = f->index % 3 + 1;
    member.member.name = slice_of_string("member");
    member.member.peer_address = slice_of_string("127.0.0.1:1");
    member.member.api_address = slice_of_string("127.0.0.1:2");
    member.member.version = slice_of_string("1");
    f->now_ms += 1000;
    state_make_entry(f, commands, 2);
}

static void add_batch(struct buffer *file, struct slice entry, uint64_t term, uint8_t type)
{
    size_t start = file->size;
    size_t data;

    wire_put_u64(file, 0); /* The checksums. */
    wire_put_u64(file, 1);
    wire_put_u64(file, term);
    wire_put_u32(file, type);
    wire_put_u32(file, (uint32_t)entry.size);
    data = file->size;
    buffer_append_slice(file, entry);
    wire_set_u32(file, start, segments_checksum(file->data + start + 8, data - start - 8, 0));
    wire_set_u32(file, start + 4, segments_checksum(file->data + data, entry.size, 0));
}

static void save(const char *directory, const char *name, struct buffer *content)
{
    char path[192];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content->data, content->size), content->size);
    assert_int_equal(close(fd), 0);
    buffer_close(content);
}

static void save_metadata(const char *directory)
{
    struct buffer content = BUFFER_EMPTY;

    wire_put_u64(&content, 1);
    wire_put_u64(&content, 7);
    wire_put_u64(&content, TERM + 1); /* It has voted in a later term than that of its log. */
    wire_put_u64(&content, OWN_ID);
    save(directory, "metadata1", &content);
}

/* A state in @directory, open; with nothing executed. */
static struct state_fixture *open_state(const char *directory)
{
    struct state_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_true(strlen(directory) < sizeof f->directory);
    strcpy(f->directory, directory);
    f->now_ms = STATE_START_MS;
    f->map_bytes = 64u << 20;
    state_open(f);
    return f;
}

static void close_state(struct state_fixture *f)
{
    state_close(f);
    buffer_close(&f->entry);
    for (unsigned i = 0; i < sizeof f->results / sizeof *f->results; i++) {
        buffer_close(&f->results[i]);
    }
    free(f);
}

/* Execute @n entries; those up to the fourth go into a closed segment, the others into an open one.
 * The eighth is a barrier. */
static void execute(struct state_fixture *f, unsigned n, struct buffer *closed, struct buffer *open)
{
    for (unsigned i = 1; i <= n; i++) {
        struct buffer *segment = i <= 4 ? closed : open;

        if (i == 8) {
            assert_int_equal(machine_skip_to(f->machine, i, TERM, &f->error), STATUS_OK);
            f->index = i;
            add_batch(segment, slice_of("barrier ", 8), TERM, 2);
            continue;
        }
        make_entry(f);
        add_batch(segment, buffer_slice(&f->entry), i < 3 ? 1 : TERM, 1);
        state_execute_entry(f);
    }
}

static void make_log(const char *directory)
{
    char scratch[160];
    struct buffer closed = BUFFER_EMPTY;
    struct buffer open = BUFFER_EMPTY;
    struct state_fixture *f;

    (void)snprintf(scratch, sizeof scratch, "%s.s", directory);
    f = open_state(scratch);
    wire_put_u64(&closed, 1);
    wire_put_u64(&open, 1);
    execute(f, ENTRIES, &closed, &open);
    memset(buffer_extend(&open, 4096), 0, 4096);
    close_state(f);
    run_command("rm -r %s", scratch);
    assert_int_equal(mkdir(directory, 0700), 0);
    save(directory, "0000000000000001-0000000000000004", &closed);
    save(directory, "open-1", &open);
    save_metadata(directory);
}

static void make_state(const char *directory, unsigned n_entries)
{
    struct buffer closed = BUFFER_EMPTY;
    struct buffer open = BUFFER_EMPTY;
    struct state_fixture *f = open_state(directory);

    execute(f, n_entries, &closed, &open);
    machine_set_stored(f->machine, n_entries);
    state_flush(f);
    close_state(f);
    buffer_close(&closed);
    buffer_close(&open);
}

static void make_identity(struct fixture *f)
{
    struct identity identity = {
        .stage = IDENTITY_MEMBER,
        .cluster_id = OLD_CLUSTER,
        .id = OWN_ID,
        .name = "n2",
        .has_log = true,
        .n_members = 2,
        .members = {{1, "n1", "127.0.0.1:1", "127.0.0.1:2"},
                    {OWN_ID, "n2", "127.0.0.1:3", "127.0.0.1:4"}},
    };
    struct identity_directory *directory;
    struct identity found;

    assert_int_equal(identity_open(f->directory, "n2", &directory, &found, &f->error), STATUS_OK);
    assert_int_equal(identity_store(directory, &identity, &f->error), STATUS_OK);
    identity_close(directory);
}

static void make_directory(struct fixture *f)
{
    char path[128];

    assert_int_equal(mkdir(f->directory, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/raft", f->directory);
    make_log(path);
    (void)snprintf(path, sizeof path, "%s/state", f->directory);
    make_state(path, EXECUTED);
    make_identity(f);
}

static void make_image(struct fixture *f)
{
    char path[128];
    struct buffer closed = BUFFER_EMPTY;
    struct buffer open_segment = BUFFER_EMPTY;
    struct image_export options = {.cluster_id = OLD_CLUSTER};
    struct image_facts facts;
    struct image_totals totals;
    struct state_fixture *state;

    (void)snprintf(path, sizeof path, "%s/s", f->base);
    state = open_state(path);
    execute(state, ENTRIES, &closed, &open_segment);
    state_commit(state);
    options.store = state->store;
    options.fd = open(f->image, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(options.fd >= 0);
    assert_int_equal(image_export(&options, &facts, &totals, &f->error), STATUS_OK);
    assert_int_equal(close(options.fd), 0);
    close_state(state);
    buffer_close(&closed);
    buffer_close(&open_segment);
    run_command("rm -r %s", path);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    strcpy(f->base, "/tmp/holdfast-off-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    (void)snprintf(f->directory, sizeof f->directory, "%s/d", f->base);
    (void)snprintf(f->image, sizeof f->image, "%s/image", f->base);
    f->n_entries = ENTRIES;

    *state = f;
    return 0;
}

static int setup_survivor(void **state)
{
    (void)setup(state);
    make_directory(*state);
    return 0;
}

static int setup_image(void **state)
{
    (void)setup(state);
    make_image(*state);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    run_command("rm -r %s", f->base);
    free(f);
    return 0;
}

/* --- What has to come out --- */

/* A state that executed all entries and was made that of the same new cluster. */
static void expected_hash(struct fixture *f, uint64_t hash[2])
{
    char path[128];
    struct buffer closed = BUFFER_EMPTY;
    struct buffer open = BUFFER_EMPTY;
    struct state_fixture *state;

    (void)snprintf(path, sizeof path, "%s/e", f->base);
    state = open_state(path);
    execute(state, f->n_entries, &closed, &open);
    state_commit(state);
    machine_close(state->machine);
    assert_int_equal(
        rebase(state->store, f->made.identity.cluster_id, f->made.index, f->made.term, &f->error),
        STATUS_OK);
    assert_int_equal(machine_open(state->store, FEATURE_LEVEL, &state->machine, &f->error),
                     STATUS_OK);
    state_hash(state, hash);
    close_state(state);
    buffer_close(&closed);
    buffer_close(&open);
    run_command("rm -r %s", path);
}

/* The directory is that of the new cluster, with all that the entries did, and a log behind it. */
static void assert_made(struct fixture *f, const char *name, bool has_hash)
{
    struct identity_directory *directory;
    struct store_options store_options = {.directory = NULL};
    struct identity identity;
    struct segments_summary log;
    struct store *store;
    struct txn *txn = NULL;
    uint64_t expected[2];
    uint64_t hash[2];
    uint64_t term;

    assert_int_equal(identity_open(f->directory, name, &directory, &identity, &f->error),
                     STATUS_OK);
    assert_int_equal(identity.stage, IDENTITY_MEMBER);
    assert_true(identity.has_log);
    assert_int_equal(identity.n_members, 1);
    assert_int_equal(identity.members[0].id, identity.id);
    assert_string_not_equal(identity.cluster_id, OLD_CLUSTER);
    assert_int_not_equal(identity.id, OWN_ID);
    assert_string_equal(identity.cluster_id, f->made.identity.cluster_id);

    store_options.directory = identity_state_directory(directory);
    assert_int_equal(store_open(&store_options, &store, &f->error), STATUS_OK);
    assert_int_equal(machine_position(store, &f->facts.state, &f->error), STATUS_OK);
    assert_true(f->facts.state.applied_index > ENTRIES);
    assert_int_equal(f->facts.state.stored, f->facts.state.applied_index);
    assert_true(f->facts.state.revision > REBASE_REVISIONS);
    if (has_hash) {
        assert_int_equal(txn_begin_read(store, &txn, &f->error), STATUS_OK);
        txn_state_hash(txn, hash);
        txn_end_read(txn);
        txn_reader_close(txn);
        expected_hash(f, expected);
        assert_memory_equal(hash, expected, sizeof hash);
    }
    store_close(store);

    assert_int_equal(
        segments_check(identity_raft_directory(directory), f->facts.state.stored, &log, &f->error),
        STATUS_OK);
    assert_int_equal(log.snapshot_index, f->facts.state.applied_index);
    assert_int_equal(log.snapshot_term, f->made.term);
    assert_int_equal(log.snapshot_term, f->facts.state.applied_term);
    assert_int_equal(segments_term(identity_raft_directory(directory), &term, &f->error),
                     STATUS_OK);
    assert_int_equal(term, log.snapshot_term);
    identity_close(directory);
}

static enum status recover(struct fixture *f)
{
    return offline_recover(f->directory, &f->made, &f->error);
}

static enum status restore(struct fixture *f)
{
    const struct offline_restore options = {
        .image = f->image,
        .directory = f->directory,
        .name = "n7",
        .peer_address = "127.0.0.1:5",
        .api_address = "127.0.0.1:6",
    };

    return offline_restore(&options, &f->made, &f->error);
}

/* --- Looking --- */

static void looking_tells_what_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_OK);
    assert_string_equal(f->facts.identity.name, "n2");
    assert_string_equal(f->facts.identity.cluster_id, OLD_CLUSTER);
    assert_int_equal(f->facts.state.applied_index, EXECUTED);
    assert_int_equal(f->facts.last_index, ENTRIES);
    assert_int_equal(f->facts.last_term, TERM);
    assert_int_equal(f->facts.n_entries, ENTRIES - EXECUTED);
    assert_int_equal(f->facts.time_ms, STATE_START_MS + (ENTRIES - 1) * 1000);
    assert_false(f->facts.unfinished.is_there);
}

static void the_newest_log_is_the_one_of_the_highest_term(void **state)
{
    struct offline_facts a = {.last_term = 3, .last_index = 10};
    struct offline_facts b = {.last_term = 2, .last_index = 90};

    (void)state;
    assert_true(offline_is_newer(&a, &b));
    assert_false(offline_is_newer(&b, &a));
    b.last_term = 3;
    assert_true(offline_is_newer(&b, &a));
    assert_false(offline_is_newer(&a, &a));
}

static void what_is_no_node_s_directory_is_told(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_NOT_FOUND);
    assert_int_not_equal(access(f->directory, F_OK), 0); /* Nothing was made. */
    assert_int_equal(mkdir(f->directory, 0700), 0);
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->error.text, "is not the data directory of a node"));
    assert_int_equal(recover(f), STATUS_NOT_FOUND);
}

static void a_directory_in_use_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct identity_directory *directory;
    struct identity identity;

    assert_int_equal(identity_open(f->directory, "n2", &directory, &identity, &f->error),
                     STATUS_OK);
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_BUSY);
    assert_int_equal(recover(f), STATUS_BUSY);
    identity_close(directory);
    assert_int_equal(recover(f), STATUS_OK);
}

/* --- Recovering --- */

static void a_survivor_keeps_its_state_and_its_log(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(recover(f), STATUS_OK);
    assert_string_equal(f->made.old_cluster_id, OLD_CLUSTER);
    assert_string_equal(f->made.identity.name, "n2");
    assert_string_equal(f->made.identity.members[0].peer_address, "127.0.0.1:3");
    assert_int_equal(f->made.index, ENTRIES + 1);
    assert_int_equal(f->made.term, TERM + 2);
    assert_int_equal(f->made.revision, f->made.old_revision + REBASE_REVISIONS);
    assert_made(f, "n2", true);
}

static void make_received(struct fixture *f, unsigned n_entries)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/received", f->directory);
    make_state(path, n_entries);
}

static void assert_no_received(const struct fixture *f)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/received", f->directory);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* The node's next start would have put it in the place of its own. */
static void a_newer_state_that_was_received_is_the_one_to_keep(void **state)
{
    struct fixture *f = *state;

    f->n_entries = ENTRIES + 2;
    make_received(f, f->n_entries);
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_OK);
    assert_true(f->facts.has_received);
    assert_int_equal(f->facts.last_index, ENTRIES + 2);
    assert_int_equal(f->facts.n_entries, 0);
    assert_int_equal(recover(f), STATUS_OK);
    assert_no_received(f);
    assert_made(f, "n2", true);
}

static void an_older_state_that_was_received_is_none_of_the_new_cluster_s(void **state)
{
    struct fixture *f = *state;

    make_received(f, 3);
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_OK);
    assert_false(f->facts.has_received);
    assert_int_equal(recover(f), STATUS_OK);
    assert_no_received(f);
    assert_made(f, "n2", true);
}

static void it_can_be_recovered_once_more(void **state)
{
    struct fixture *f = *state;
    struct offline_made first;

    assert_int_equal(recover(f), STATUS_OK);
    first = f->made;
    assert_int_equal(recover(f), STATUS_OK);
    assert_string_equal(f->made.old_cluster_id, first.identity.cluster_id);
    assert_true(f->made.index > first.index && f->made.term > first.term);
    assert_int_equal(f->made.old_revision, first.revision);
    assert_made(f, "n2", false);
}

static void a_log_that_lost_entries_is_not_recovered(void **state)
{
    struct fixture *f = *state;
    char path[160];

    (void)snprintf(path, sizeof path, "%s/raft/open-1", f->directory);
    assert_int_equal(unlink(path), 0); /* It ends at 4, and 6 were stored. */
    assert_int_equal(recover(f), STATUS_MISMATCH);
    assert_non_null(strstr(f->error.text, "entries that it acknowledged are lost"));
}

static void a_damaged_log_is_not_recovered(void **state)
{
    struct fixture *f = *state;
    char path[160];
    int fd;

    (void)snprintf(path, sizeof path, "%s/raft/0000000000000001-0000000000000004", f->directory);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 60), 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(recover(f), STATUS_CORRUPT);
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_CORRUPT);
}

/* A node does not start on it, or finds what it was, or all of what it was to be (true): only the
 * last flush failed. */
static bool assert_not_half_changed(struct fixture *f)
{
    struct identity_directory *directory;
    struct identity identity;
    enum status status = identity_open(f->directory, "n2", &directory, &identity, &f->error);

    if (status != STATUS_OK) {
        assert_int_equal(status, STATUS_INVALID);
        assert_non_null(strstr(f->error.text, "left half changed by \"holdfast recover\""));
        return false;
    }
    identity_close(directory);
    if (strcmp(identity.cluster_id, OLD_CLUSTER) != 0) {
        return true;
    }
    assert_int_equal(offline_inspect(f->directory, &f->facts, &f->error), STATUS_OK);
    assert_int_equal(f->facts.state.applied_index, EXECUTED);
    assert_int_equal(f->facts.n_entries, ENTRIES - EXECUTED);
    return false;
}

static void a_recovery_that_is_cut_off_anywhere_is_run_again(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    bool has_struck;

    run_command("cp -a %s/d %s/copy", f->base);
    do {
        enum status status;

        fault_arm(++nth, EIO);
        status = recover(f);
        has_struck = fault_disarm();
        if (status != STATUS_OK) {
            assert_true(has_struck);
            assert_string_not_equal(f->error.text, "");
            if (!assert_not_half_changed(f) && recover(f) != STATUS_OK) {
                fail_msg("after the failure of call %u, %s: %s", nth, fault_name(), f->error.text);
            }
        }
        assert_made(f, "n2", true);
        run_command("cd %s && rm -r d && cp -a copy d", f->base);
    } while (has_struck);
    assert_true(nth > 30);
}

/* --- Restoring --- */

static void an_image_becomes_a_cluster_of_one(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(restore(f), STATUS_OK);
    assert_string_equal(f->made.old_cluster_id, OLD_CLUSTER);
    assert_string_equal(f->made.identity.members[0].peer_address, "127.0.0.1:5");
    assert_made(f, "n7", true);
}

static void a_directory_that_one_command_left_is_not_for_another(void **state)
{
    struct fixture *f = *state;
    struct identity_directory *directory;
    struct identity identity;
    struct identity_unfinished unfinished;

    assert_int_equal(restore(f), STATUS_OK);
    assert_int_equal(identity_open_offline(f->directory, "holdfast recover", &directory, &identity,
                                           &unfinished, &f->error),
                     STATUS_OK);
    assert_false(unfinished.is_there);
    assert_int_equal(identity_begin_change(directory, "holdfast recover", &f->error), STATUS_OK);
    identity_close(directory);
    assert_int_equal(restore(f), STATUS_INVALID);
    assert_non_null(strstr(f->error.text, "left half changed by \"holdfast recover\""));
    assert_int_equal(recover(f), STATUS_OK);
    assert_made(f, "n7", false);
}

static void an_image_is_restored_into_nothing_only(void **state)
{
    struct fixture *f = *state;
    char path[128];

    assert_int_equal(mkdir(f->directory, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/precious", f->directory);
    assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
    assert_int_equal(restore(f), STATUS_EXISTS);
    assert_non_null(strstr(f->error.text, "it has \"precious\""));
    (void)snprintf(path, sizeof path, "%s/lock", f->directory);
    assert_int_not_equal(access(path, F_OK), 0); /* Not even that was made. */

    run_command("rm %s/precious && mkdir %s/lost+found", f->directory);
    assert_int_equal(restore(f), STATUS_OK);
    assert_int_equal(restore(f), STATUS_EXISTS);
    assert_made(f, "n7", true);
}

static void a_damaged_image_is_not_restored(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->image, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 300), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 300), 1);
    assert_int_equal(restore(f), STATUS_CORRUPT);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 300), 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(restore(f), STATUS_OK); /* It goes on where the first one was cut off. */
    assert_made(f, "n7", true);
}

static void a_restore_that_is_cut_off_anywhere_is_run_again(void **state)
{
    struct fixture *f = *state;
    unsigned nth = 0;
    bool has_struck;

    do {
        enum status status;

        fault_arm(++nth, EIO);
        status = restore(f);
        has_struck = fault_disarm();
        if (status != STATUS_OK) {
            struct identity_directory *directory;
            struct identity identity;

            assert_true(has_struck);
            if (identity_open(f->directory, "n7", &directory, &identity, &f->error) == STATUS_OK) {
                /* Nothing was begun, or all was done but for the last flush. */
                identity_close(directory);
                run_command("rm -r %s", f->directory);
            } else {
                assert_non_null(strstr(f->error.text, "left half changed by \"holdfast restore\""));
            }
            if (restore(f) != STATUS_OK) {
                fail_msg("after the failure of call %u, %s: %s", nth, fault_name(), f->error.text);
            }
        }
        assert_made(f, "n7", true);
        run_command("rm -r %s", f->directory);
    } while (has_struck);
    assert_true(nth > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looking_tells_what_is_there, setup_survivor, teardown),
        cmocka_unit_test(the_newest_log_is_the_one_of_the_highest_term),
        cmocka_unit_test_setup_teardown(what_is_no_node_s_directory_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_in_use_is_left_alone, setup_survivor, teardown),
        cmocka_unit_test_setup_teardown(a_survivor_keeps_its_state_and_its_log, setup_survivor,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_newer_state_that_was_received_is_the_one_to_keep,
                                        setup_survivor, teardown),
        cmocka_unit_test_setup_teardown(
            an_older_state_that_was_received_is_none_of_the_new_cluster_s, setup_survivor,
            teardown),
        cmocka_unit_test_setup_teardown(it_can_be_recovered_once_more, setup_survivor, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_lost_entries_is_not_recovered, setup_survivor,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_not_recovered, setup_survivor, teardown),
        cmocka_unit_test_setup_teardown(a_recovery_that_is_cut_off_anywhere_is_run_again,
                                        setup_survivor, teardown),
        cmocka_unit_test_setup_teardown(an_image_becomes_a_cluster_of_one, setup_image, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_one_command_left_is_not_for_another,
                                        setup_image, teardown),
        cmocka_unit_test_setup_teardown(an_image_is_restored_into_nothing_only, setup_image,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_image_is_not_restored, setup_image, teardown),
        cmocka_unit_test_setup_teardown(a_restore_that_is_cut_off_anywhere_is_run_again,
                                        setup_image, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
