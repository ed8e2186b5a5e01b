/* The log on disk, alone: what is written is there at the next start, and a write that failed is
 * told at once, while libraft would try again as if nothing had been. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/aio_abi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <raft.h>
#include <raft/uv.h>

#include "raft/disk.h"
#include "raft/preallocation.h"

#define MAX_FIXTURES       16
#define LIMIT_MS           20000
#define ADDRESS            "127.0.0.1:1"
#define PAYLOAD_BYTES      64
#define SEVERAL_RETRIES_MS 350

struct fixture {
    char directory[64];
    uv_loop_t loop;
    uv_timer_t limit;
    bool is_late;
    struct raft_uv_transport transport;
    struct disk *disk;
    struct raft_io *io;
    struct raft_io_append request;
    struct raft_entry entry;
    unsigned n_appended;
    int append_status;
    unsigned n_failures;
    struct error failure;
    size_t n_loaded;
    struct error error;
};

/* What is left of a disk stays, with its loop, until the process ends. */
static struct fixture fixtures[MAX_FIXTURES];
static unsigned n_fixtures;

/* --- A disk that fails: the completions that libraft is given --- */

static bool disk_fails;
static unsigned n_failed_writes;

/* As libc declares it; libraft finds this one. */
long syscall(long number, ...)
{
    static long (*next)(long, ...);
    long a[6];
    long result;
    va_list arguments;

    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    }
    result = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_io_getevents && disk_fails) {
        for (long i = 0; i < result; i++) {
            ((struct io_event *)a[3])[i].res = -EIO;
            n_failed_writes++;
        }
    }
    return result;
}

/* --- A network on which nobody is --- */

static int init_transport(struct raft_uv_transport *transport, raft_id id, const char *address)
{
    (void)transport;
    (void)id;
    (void)address;
    return 0;
}

static int listen_nowhere(struct raft_uv_transport *transport, raft_uv_accept_cb cb)
{
    (void)transport;
    (void)cb;
    return 0;
}

static int connect_never(struct raft_uv_transport *transport, struct raft_uv_connect *request,
                         raft_id id, const char *address, raft_uv_connect_cb cb)
{
    (void)transport;
    (void)request;
    (void)id;
    (void)address;
    (void)cb;
    return 0;
}

static void close_transport(struct raft_uv_transport *transport, raft_uv_transport_close_cb cb)
{
    cb(transport);
}

/* --- The fixture --- */

static void on_failure(void *data, const struct error *error)
{
    struct fixture *f = data;

    f->n_failures++;
    f->failure = *error;
}

static void on_limit(uv_timer_t *timer)
{
    struct fixture *f = timer->data;

    f->is_late = true;
}

static struct fixture *new_fixture(const char *directory)
{
    struct fixture *f = &fixtures[n_fixtures++];

    assert_true(n_fixtures < MAX_FIXTURES);
    (void)snprintf(f->directory, sizeof f->directory, "%s", directory);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->limit.data = f;
    assert_int_equal(uv_timer_init(&f->loop, &f->limit), 0);
    assert_int_equal(uv_timer_start(&f->limit, on_limit, LIMIT_MS, 0), 0);
    f->transport = (struct raft_uv_transport){.version = 1,
                                              .init = init_transport,
                                              .listen = listen_nowhere,
                                              .connect = connect_never,
                                              .close = close_transport};
    return f;
}

static int setup(void **state)
{
    char directory[] = "/tmp/holdfast-disk-XXXXXX";

    assert_non_null(mkdtemp(directory));
    *state = new_fixture(directory);
    disk_fails = false;
    n_failed_writes = 0;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    disk_abandon(f->disk);
    /* libuv's pool may be making a segment for libraft yet. */
    for (unsigned i = 0; nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0; i++) {
        assert_true(i < LIMIT_MS / 10);
        assert_int_equal(usleep(10000), 0);
    }
    return 0;
}

static enum status try_open(struct fixture *f, uint64_t stored)
{
    const struct disk_options options = {.directory = f->directory,
                                         .loop = &f->loop,
                                         .transport = &f->transport,
                                         .state_stored = stored,
                                         .data = f,
                                         .on_failure = on_failure};

    return disk_open(&options, &f->disk, &f->error);
}

static void on_tick(struct raft_io *io)
{
    (void)io;
}

static void on_message(struct raft_io *io, struct raft_message *message)
{
    (void)io;
    (void)message;
}

/* Open, load what is there, and begin. */
static void start(struct fixture *f, uint64_t stored)
{
    struct raft_snapshot *snapshot;
    struct raft_entry *entries;
    raft_index first;
    raft_term term;
    raft_id vote;

    assert_int_equal(try_open(f, stored), STATUS_OK);
    f->io = disk_io(f->disk);
    assert_int_equal(f->io->init(f->io, 1, ADDRESS), 0);
    assert_int_equal(f->io->load(f->io, &term, &vote, &snapshot, &first, &entries, &f->n_loaded),
                     0);
    if (f->n_loaded > 0) {
        assert_memory_equal(entries[0].buf.base, "written", 7);
        raft_free(entries[0].batch);
        raft_free(entries);
    }
    assert_int_equal(f->io->start(f->io, 1000, on_tick, on_message), 0);
}

static void on_appended(struct raft_io_append *request, int status)
{
    struct fixture *f = request->data;

    f->n_appended++;
    f->append_status = status;
}

static void append(struct fixture *f)
{
    static char payload[PAYLOAD_BYTES] = "written";

    f->entry = (struct raft_entry){
        .term = 1, .type = RAFT_COMMAND, .buf = {.base = payload, .len = PAYLOAD_BYTES}};
    f->request.data = f;
    assert_int_equal(f->io->append(f->io, &f->request, &f->entry, 1, on_appended), 0);
}

static void run_until(struct fixture *f, const unsigned *count, unsigned wanted)
{
    while (*count < wanted) {
        assert_false(f->is_late);
        (void)uv_run(&f->loop, UV_RUN_ONCE); /* Says whether handles are left; there are. */
    }
}

/* --- Tests --- */

static void what_was_written_is_there_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    struct fixture *next = new_fixture(f->directory);

    start(f, 0);
    assert_int_equal(f->n_loaded, 0);
    append(f);
    run_until(f, &f->n_appended, 1);
    assert_int_equal(f->append_status, 0);
    assert_int_equal(f->n_failures, 0);

    start(next, 1); /* The first process is as good as dead: its loop does not run any more. */

    assert_int_equal(next->n_loaded, 1);
    disk_abandon(next->disk);
}

static void a_write_that_failed_is_told_and_never_acknowledged(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    disk_fails = true;
    append(f);
    run_until(f, &f->n_failures, 1);

    assert_int_equal(f->failure.status, STATUS_IO);
    assert_non_null(strstr(f->failure.text, "could not write to the log"));
    assert_int_equal(f->n_appended, 0);
}

/* Where the first bytes are that the file system has allocated, and not written; or the end. */
static off_t first_hole(const struct fixture *f, const char *name)
{
    char path[128];
    off_t hole;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1; /* Not made yet. */
    }
    hole = lseek(fd, 0, SEEK_HOLE);
    assert_int_equal(close(fd), 0);
    return hole;
}

/* (A file system that does not know holes says that there are none.) */
static void segments_are_filled_before_they_are_written(void **state)
{
    struct fixture *f = *state;

    start(f, 0);
    append(f);
    run_until(f, &f->n_appended, 1);

    assert_true(first_hole(f, "open-1") >= 8 << 20);
    while (first_hole(f, "open-2") < 8 << 20) { /* Made by libuv's pool, for later. */
        assert_false(f->is_late);
        (void)uv_run(&f->loop, UV_RUN_NOWAIT); /* Says whether handles are left; there are. */
        assert_int_equal(usleep(1000), 0);
    }
}

static int make_file(const struct fixture *f, const char *name)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static off_t first_hole_of(int fd)
{
    off_t hole;

    assert_int_equal(fdatasync(fd), 0);
    hole = lseek(fd, 0, SEEK_HOLE);
    assert_int_equal(close(fd), 0);
    return hole;
}

static void only_new_segments_are_filled(void **state)
{
    static const off_t size = 4 << 20;
    const struct fixture *f = *state;
    char text[] = "kept";
    int used = make_file(f, "used");
    int other = make_file(f, "other");
    int first = make_file(f, "first");
    int second = make_file(f, "second");
    bool knows_holes;

    preallocation_fill((size_t)size, 1, 1 << 20);
    assert_int_equal(pwrite(used, text, sizeof text, 0), sizeof text);
    assert_int_equal(posix_fallocate(used, 0, size), 0);
    assert_int_equal(pread(used, text, sizeof text, 0), sizeof text);
    assert_string_equal(text, "kept");
    assert_int_equal(posix_fallocate(other, 0, size / 2), 0);
    assert_int_equal(posix_fallocate(first, 0, size), 0);
    assert_int_equal(posix_fallocate(second, 0, size), 0);

    assert_int_equal(lseek(second, 0, SEEK_END), size);
    knows_holes = first_hole_of(other) == 0;
    assert_true(!knows_holes || first_hole_of(used) < size);
    assert_true(!knows_holes || first_hole_of(first) == 1 << 20);
    assert_int_equal(first_hole_of(second), size);
    assert_int_equal(posix_fallocate(-1, 0, size), EBADF);
}

static void on_rest(uv_timer_t *timer)
{
    unsigned *n_rests = timer->data;

    (*n_rests)++;
}

/* libraft's second try would crash, perhaps before the process has ended by itself. */
static void a_write_that_failed_is_not_tried_again(void **state)
{
    struct fixture *f = *state;
    static uv_timer_t rest;
    static unsigned n_rests;

    start(f, 0);
    disk_fails = true;
    append(f);
    run_until(f, &f->n_failures, 1);
    rest.data = &n_rests;
    assert_int_equal(uv_timer_init(&f->loop, &rest), 0);
    assert_int_equal(uv_timer_start(&rest, on_rest, SEVERAL_RETRIES_MS, 0), 0);
    run_until(f, &n_rests, 1);

    assert_int_equal(n_failed_writes, 1);
    assert_int_equal(f->n_failures, 1);
    assert_int_equal(f->n_appended, 0);
}

static void flip(struct fixture *f, const char *name, unsigned bit)
{
    char path[128];
    uint8_t byte;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, bit / 8), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, bit / 8), 1);
    assert_int_equal(close(fd), 0);
}

/* In a term: the node gave its vote, and a bit of libraft's file makes it forget that. */
static void a_vote_that_was_forgotten_is_refused(void **state)
{
    /* Of the version, which is 6, so that the file before counts; of term and vote. */
    static const unsigned bits[] = {66, 128, 192};
    struct fixture *f = *state;

    start(f, 0);
    for (raft_term term = 5; term <= 7; term++) {
        assert_int_equal(f->io->set_term(f->io, term), 0);
        assert_int_equal(f->io->set_vote(f->io, 3), 0);
    }
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        struct fixture *next = new_fixture(f->directory);
        struct raft_snapshot *snapshot;
        struct raft_entry *entries;
        raft_index first;
        raft_term term;
        raft_id vote;
        int rv;

        flip(f, "metadata2", bits[i]);
        assert_int_equal(try_open(next, 0), STATUS_OK);
        next->io = disk_io(next->disk);
        assert_int_equal(next->io->init(next->io, 1, ADDRESS), 0);
        rv = next->io->load(next->io, &term, &vote, &snapshot, &first, &entries, &next->n_loaded);

        assert_int_equal(rv, RAFT_CORRUPT);
        disk_abandon(next->disk);
        flip(f, "metadata2", bits[i]);
    }
}

static void save(struct fixture *f, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_log_is_refused_and_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    const char *name = "0000000000000001-0000000000000001";
    char path[128];

    save(f, name, "this is no segment");

    assert_int_equal(try_open(f, 0), STATUS_UNSUPPORTED);

    assert_non_null(strstr(f->error.text, name));
    (void)snprintf(path, sizeof path, "%s/%s", f->directory, name);
    assert_int_equal(access(path, F_OK), 0);
    assert_null(f->disk);
}

static void a_log_that_was_lost_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(try_open(f, 1), STATUS_MISMATCH);
    assert_null(f->disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_there_at_the_next_start),
        TEST(segments_are_filled_before_they_are_written),
        TEST(only_new_segments_are_filled),
        TEST(a_write_that_failed_is_told_and_never_acknowledged),
        TEST(a_write_that_failed_is_not_tried_again),
        TEST(a_vote_that_was_forgotten_is_refused),
        TEST(a_damaged_log_is_refused_and_left_as_it_is),
        TEST(a_log_that_was_lost_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
