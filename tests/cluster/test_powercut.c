/* The file system that loses power, which the power cuts of test_chaos rest on: what was synced
 * stays, what was not is gone. And the proof that the rig can fail: a daemon that does not sync
 * loses what it acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"
#include "tests/lib/faulty_disk.h"
#include "tests/lib/network.h"

#define TEST_LIMIT_S 200
#define BLOCK        4096
#define TORN_BLOCKS  64
#define WRITES       50
#define CUT_MS       5000

static const char *missing;

struct fixture {
    char directory[CLUSTER_MAX_PATH];
    char mount_point[CLUSTER_MAX_PATH + 8];
    struct faulty_disk disk;
};

static int setup(void **state)
{
    const char *parent = getenv("TMPDIR");
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    if (missing != NULL) {
        return 0;
    }
    (void)snprintf(f->directory, sizeof f->directory, "%s/holdfast-power-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(f->directory));
    (void)snprintf(f->mount_point, sizeof f->mount_point, "%s/disk", f->directory);
    assert_int_equal(mkdir(f->mount_point, 0700), 0);
    assert_true(faulty_disk_open(&f->disk, f->mount_point, test_seed()));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (missing == NULL) {
        faulty_disk_close(&f->disk);
        (void)remove_tree(f->directory);
    }
    free(f);
    return 0;
}

static void skip_if_missing(void)
{
    if (missing != NULL) {
        print_message("*** NOT RUN: %s ***\n", missing);
        skip();
    }
}

static int open_file(struct fixture *f, const char *name, int flags)
{
    char path[CLUSTER_MAX_PATH + 40];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", f->mount_point, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void write_block(int fd, char letter, off_t offset)
{
    char block[BLOCK];

    memset(block, letter, sizeof block);
    assert_int_equal(pwrite(fd, block, sizeof block, offset), sizeof block);
}

/* The letter that fills the block; 0: it is of zeros or not there. */
static char block_at(struct fixture *f, const char *name, off_t offset)
{
    char block[BLOCK] = {0};
    int fd = open_file(f, name, 0);

    assert_true(pread(fd, block, sizeof block, offset) >= 0);
    (void)close(fd);
    assert_memory_equal(block, block + 1, sizeof block - 1); /* Of one letter. */
    return block[0];
}

static void cut_and_restore(struct fixture *f, bool torn)
{
    faulty_disk_cut(&f->disk, torn);
    assert_true(faulty_disk_restore(&f->disk, test_seed()));
}

static void what_was_not_synced_is_gone(void **state)
{
    struct fixture *f = *state;
    int fd;

    skip_if_missing();
    fd = open_file(f, "a", 0);
    write_block(fd, 'a', 0);
    assert_int_equal(fsync(fd), 0);
    write_block(fd, 'b', 0);
    write_block(fd, 'b', BLOCK);
    (void)close(fd);
    assert_int_equal(block_at(f, "a", 0), 'b'); /* Everybody sees it until then. */
    assert_int_equal(block_at(f, "a", BLOCK), 'b');

    cut_and_restore(f, false);

    assert_int_equal(block_at(f, "a", 0), 'a');
    assert_int_equal(block_at(f, "a", BLOCK), 0);
}

static void every_way_to_sync_keeps(void **state)
{
    struct fixture *f = *state;
    struct iovec vector;
    char *block = NULL;
    int fd;

    skip_if_missing();
    fd = open_file(f, "fdatasync", 0);
    write_block(fd, 'f', 0);
    assert_int_equal(fdatasync(fd), 0);
    (void)close(fd);
    fd = open_file(f, "dsync", O_DSYNC);
    write_block(fd, 'd', 0);
    (void)close(fd);
    assert_int_equal(posix_memalign((void **)&block, BLOCK, BLOCK), 0);
    memset(block, 'r', BLOCK);
    vector = (struct iovec){.iov_base = block, .iov_len = BLOCK};
    fd = open_file(f, "rwf", O_DIRECT);
    assert_int_equal(posix_fallocate(fd, 0, 4L * BLOCK), 0);
    assert_int_equal(pwritev2(fd, &vector, 1, BLOCK, RWF_DSYNC), BLOCK);
    (void)close(fd);
    free(block);

    cut_and_restore(f, false);

    assert_int_equal(block_at(f, "fdatasync", 0), 'f');
    assert_int_equal(block_at(f, "dsync", 0), 'd');
    assert_int_equal(block_at(f, "rwf", 0), 0);
    assert_int_equal(block_at(f, "rwf", BLOCK), 'r');
}

static void maps_show_what_is_written(void **state)
{
    struct fixture *f = *state;
    const char *map;
    int fd;

    skip_if_missing();
    fd = open_file(f, "map", 0);
    write_block(fd, 'm', 0);
    map = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(map[BLOCK - 1], 'm');
    write_block(fd, 'n', 0);
    assert_int_equal(map[BLOCK - 1], 'n');
    assert_int_equal(munmap((void *)(uintptr_t)map, BLOCK), 0);
    (void)close(fd);
}

static void names_and_lengths_last_but_not_their_data(void **state)
{
    struct fixture *f = *state;
    char from[CLUSTER_MAX_PATH + 40];
    char to[CLUSTER_MAX_PATH + 40];
    struct stat status;
    int fd;

    skip_if_missing();
    fd = open_file(f, "new", 0);
    write_block(fd, 'n', 0);
    (void)snprintf(from, sizeof from, "%s/new", f->mount_point);
    (void)snprintf(to, sizeof to, "%s/old", f->mount_point);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(ftruncate(fd, BLOCK / 2), 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, BLOCK / 2);
    (void)close(fd);

    cut_and_restore(f, false);

    assert_int_equal(stat(from, &status), -1);
    assert_int_equal(stat(to, &status), 0);
    assert_int_equal(block_at(f, "old", 0), 0);
}

static void a_torn_cut_keeps_some_sectors(void **state)
{
    struct fixture *f = *state;
    unsigned kept = 0;
    char sector[512];
    unsigned i;
    int fd;

    skip_if_missing();
    fd = open_file(f, "torn", 0);
    for (i = 0; i < TORN_BLOCKS; i++) {
        write_block(fd, 't', (off_t)i * BLOCK);
    }
    (void)close(fd);

    cut_and_restore(f, true);

    fd = open_file(f, "torn", 0);
    for (i = 0; i < TORN_BLOCKS * BLOCK / sizeof sector; i++) {
        memset(sector, 0, sizeof sector);
        assert_true(pread(fd, sector, sizeof sector, (off_t)(i * sizeof sector)) >= 0);
        assert_memory_equal(sector, sector + 1, sizeof sector - 1);
        kept += sector[0] == 't';
    }
    (void)close(fd);
    assert_int_equal(atomic_load(&f->disk.counts->torn_sectors), kept);
    print_message("%u of %zu sectors arrived\n", kept, TORN_BLOCKS * BLOCK / sizeof sector);
    assert_in_range(kept, 1, TORN_BLOCKS * BLOCK / sizeof sector - 1);
}

/* Below "raft" only, before it reaches the disk, and counted. */
static void a_cut_that_is_asked_for_comes_with_the_next_sync(void **state)
{
    struct fixture *f = *state;
    char directory[CLUSTER_MAX_PATH + 16];
    int elsewhere;
    int fd;

    skip_if_missing();
    (void)snprintf(directory, sizeof directory, "%s/raft", f->mount_point);
    assert_int_equal(mkdir(directory, 0700), 0);
    fd = open_file(f, "raft/log", 0);
    elsewhere = open_file(f, "other", 0);
    write_block(fd, 'l', 0);
    write_block(elsewhere, 'e', 0);
    assert_int_equal(atomic_load(&f->disk.counts->unsynced_bytes), 2 * BLOCK);
    assert_true(faulty_disk_set(&f->disk, "cut-raft", true));
    assert_int_equal(fsync(elsewhere), 0);
    assert_true(process_is_alive(&f->disk.process));

    assert_int_equal(fsync(fd), -1);

    assert_true(process_wait(&f->disk.process, CUT_MS));
    assert_true(faulty_disk_set(&f->disk, "cut-raft", false));
    (void)close(fd);
    (void)close(elsewhere);
    cut_and_restore(f, false);
    assert_int_equal(block_at(f, "raft/log", 0), 0);
    assert_int_equal(block_at(f, "other", 0), 'e');
    assert_int_equal(atomic_load(&f->disk.counts->lost_bytes), BLOCK);
}

/* --- Daemons that sync, and daemons that do not --- */

struct machines {
    struct cluster cluster;
    struct faulty_disk disks[CLUSTER_NODES];
};

static void open_machines(struct machines *machines, const char *preload)
{
    unsigned i;

    memset(machines, 0, sizeof *machines);
    assert_true(cluster_open(&machines->cluster));
    machines->cluster.preload = preload;
    for (i = 0; i < CLUSTER_NODES; i++) {
        assert_true(faulty_disk_open(&machines->disks[i], machines->cluster.nodes[i].data_directory,
                                     i + 1));
    }
    assert_true(cluster_start(&machines->cluster));
}

static void cut_all_power(struct machines *machines)
{
    unsigned i;

    cluster_kill_all(&machines->cluster);
    for (i = 0; i < CLUSTER_NODES; i++) {
        faulty_disk_cut(&machines->disks[i], false);
        assert_true(faulty_disk_restore(&machines->disks[i], i + 1));
    }
}

static void close_machines(struct machines *machines)
{
    unsigned i;

    cluster_kill_all(&machines->cluster);
    for (i = 0; i < CLUSTER_NODES; i++) {
        faulty_disk_close(&machines->disks[i]);
    }
    cluster_close(&machines->cluster, true);
}

/* Acknowledged by the cluster, under names that begin with @prefix. */
static void write_many(struct cluster *cluster, const char *prefix)
{
    struct http_client client = cluster_client(&cluster->nodes[0]);
    struct answer answer = {0};
    char target[64];
    unsigned i;

    for (i = 0; i < WRITES; i++) {
        (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/%s%u", prefix, i);
        expect(&answer, &client, 201, "PUT", target, NULL, "1");
    }
    answer_close(&answer);
    http_client_close(&client);
}

/* How many of them the cluster has now. */
static unsigned count_kept(struct cluster *cluster, const char *prefix)
{
    struct http_client client = cluster_client(&cluster->nodes[0]);
    struct http_response response = {0};
    unsigned kept = 0;
    char target[64];
    unsigned i;

    for (i = 0; i < WRITES; i++) {
        (void)snprintf(target, sizeof target, "/v1/namespaces/default/items/%s%u", prefix, i);
        assert_int_equal(http_call(&client, &response, "GET", target, NULL, NULL), HTTP_ANSWERED);
        assert_true(response.status == 200 || response.status == 404);
        kept += response.status == 200;
    }
    http_response_close(&response);
    http_client_close(&client);
    return kept;
}

static void what_was_acknowledged_survives_a_cut_of_all(void **state)
{
    struct machines machines;

    (void)state;
    skip_if_missing();
    open_machines(&machines, NULL);
    write_many(&machines.cluster, "k");
    cut_all_power(&machines);
    assert_true(cluster_start(&machines.cluster));
    assert_int_equal(count_kept(&machines.cluster, "k"), WRITES);
    close_machines(&machines);
}

static void switch_syncs(struct machines *machines, bool on)
{
    unsigned i;

    for (i = 0; i < CLUSTER_NODES; i++) {
        struct cluster_node *node = &machines->cluster.nodes[i];

        assert_true(on ? cluster_mend_disk(node, ".sync") : cluster_break_disk(node, ".sync"));
    }
}

/* The same cluster loses nothing while it syncs, and what it acknowledged while it did not. It
 * comes up again both times, so that it is not the start that fails. */
static void daemons_that_do_not_sync_are_caught(void **state)
{
    const char *library = getenv("HOLDFAST_NOSYNC");
    struct machines machines;
    unsigned kept;

    (void)state;
    skip_if_missing();
    open_machines(&machines, library == NULL ? "./tests/lib/nosync.so" : library);
    write_many(&machines.cluster, "synced");
    cut_all_power(&machines);
    assert_true(cluster_start(&machines.cluster));
    assert_int_equal(count_kept(&machines.cluster, "synced"), WRITES);

    switch_syncs(&machines, false);
    write_many(&machines.cluster, "unsynced");
    cut_all_power(&machines);
    switch_syncs(&machines, true);

    assert_true(cluster_start(&machines.cluster));
    assert_int_equal(count_kept(&machines.cluster, "synced"), WRITES);
    kept = count_kept(&machines.cluster, "unsynced");
    print_message("%u of %u writes survived that were acknowledged without a sync\n", kept, WRITES);
    assert_true(kept < WRITES);
    close_machines(&machines);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_not_synced_is_gone),
        TEST(every_way_to_sync_keeps),
        TEST(maps_show_what_is_written),
        TEST(names_and_lengths_last_but_not_their_data),
        TEST(a_torn_cut_keeps_some_sectors),
        TEST(a_cut_that_is_asked_for_comes_with_the_next_sync),
        cmocka_unit_test(what_was_acknowledged_survives_a_cut_of_all),
        cmocka_unit_test(daemons_that_do_not_sync_are_caught),
    };

    process_limit_test(TEST_LIMIT_S);
    if (faulty_disk_is_possible(&missing)) {
        (void)network_enter(&missing); /* For the mounts; says why not, if not. */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
