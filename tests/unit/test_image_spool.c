/* Images in files: shared as long as they are fresh enough, never more or older than allowed, and
 * never at the cost of the space that has to stay free. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/files.h"
#include "storage/image_spool.h"
#include "tests/lib/state.h"

#define CLUSTER   "01234567-89ab-cdef-0123-456789abcdef"
#define MAX_TURNS 100000000

struct fixture {
    struct state_fixture *state;
    struct image_spools_options options;
    struct image_spools *spools;
    char directory[128];
    uv_loop_t loop;
    struct mailbox mailbox;
    struct buffer image; /* What fetch() gives. */
    unsigned n_fetched;
};

struct wanted {
    struct image_spool_request request;
    unsigned answers;
};

static void on_answer(struct message *message)
{
    struct image_spool_request *request =
        CONTAINER_OF(message, struct image_spool_request, message);

    CONTAINER_OF(request, struct wanted, request)->answers++;
}

static void open_spools(struct fixture *f)
{
    struct error error;

    if (image_spools_open(&f->options, &f->spools, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct operation operation = item_put("a", "1");

    assert_non_null(f);
    f->state = state_new();
    (void)state_operate(f->state, &operation);
    state_commit(f->state);
    (void)snprintf(f->directory, sizeof f->directory, "%s/images", f->state->directory);
    f->options.store = f->state->store;
    f->options.directory = f->directory;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(mailbox_init(&f->mailbox, &f->loop, NULL), STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    image_spools_close(f->spools);
    mailbox_close(&f->mailbox, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    state_free(f->state);
    buffer_close(&f->image);
    free(f);
    return 0;
}

/* Ask for an image of what is committed; true if it is there at once. */
static bool ask(struct fixture *f, struct wanted *wanted)
{
    *wanted = (struct wanted){.request = {.message = {.deliver = on_answer},
                                          .home = &f->mailbox,
                                          .cluster_id = CLUSTER,
                                          .min_index = f->state->index}};
    return image_spools_request(f->spools, &wanted->request);
}

static void await(struct fixture *f, struct wanted *wanted)
{
    for (unsigned i = 0; wanted->answers == 0; i++) {
        assert_true(i < MAX_TURNS);
        mailbox_drain(&f->mailbox);
    }
    assert_int_equal(wanted->answers, 1);
}

static struct image_spool *get(struct fixture *f)
{
    struct wanted wanted;

    if (!ask(f, &wanted)) {
        await(f, &wanted);
    }
    if (wanted.request.status != STATUS_OK) {
        fail_msg("%s", wanted.request.error.text);
    }
    return wanted.request.spool;
}

static void change(struct fixture *f)
{
    struct operation operation = item_put("a", "2");

    (void)state_operate(f->state, &operation);
    state_commit(f->state);
}

static unsigned count_files(const struct fixture *f)
{
    DIR *directory = opendir(f->directory);
    const struct dirent *entry;
    unsigned n = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        n += entry->d_name[0] != '.';
    }
    (void)closedir(directory);
    return n;
}

static struct image_spools_statistics statistics(struct fixture *f)
{
    struct image_spools_statistics found;

    image_spools_statistics(f->spools, &found);
    return found;
}

static void await_files(struct fixture *f, unsigned n)
{
    /* The thread that removes a file counts it when it is gone. */
    for (unsigned i = 0; count_files(f) != n || statistics(f).files != n; i++) {
        assert_true(i < MAX_TURNS);
    }
}

/* --- Sharing --- */

static void an_image_is_shared_while_it_is_fresh(void **state)
{
    struct fixture *f = *state;
    struct image_spool *first;
    struct image_spool *second;
    struct image_spool *third;

    open_spools(f);
    first = get(f);
    second = get(f);
    assert_ptr_equal(first, second);
    assert_int_equal(statistics(f).exports, 1);
    assert_int_equal(statistics(f).shared, 1);

    change(f);
    third = get(f);
    assert_ptr_not_equal(first, third);
    assert_int_equal(image_spool_facts(third)->state.applied_index, f->state->index);
    assert_string_not_equal(image_spool_tag(first), image_spool_tag(third));
    assert_int_equal(count_files(f), 2);
    image_spool_release(first);
    image_spool_release(second);
    image_spool_release(third);
}

static void those_who_wait_together_get_the_same_one(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted[50];
    unsigned n_images = 1;

    open_spools(f);
    for (unsigned i = 0; i < 50; i++) {
        if (!ask(f, &wanted[i])) {
            continue;
        }
        assert_int_equal(wanted[i].request.status, STATUS_OK);
        wanted[i].answers = 1;
    }
    for (unsigned i = 0; i < 50; i++) {
        await(f, &wanted[i]);
        assert_int_equal(wanted[i].request.status, STATUS_OK);
        n_images += i > 0 && wanted[i].request.spool != wanted[i - 1].request.spool;
    }
    assert_int_equal(n_images, 1);
    assert_int_equal(statistics(f).exports, 1);
    assert_int_equal(statistics(f).shared, 49);
    assert_int_equal(statistics(f).waiting, 0);
    for (unsigned i = 0; i < 50; i++) {
        image_spool_release(wanted[i].request.spool);
    }
}

static void an_image_is_found_by_its_tag(void **state)
{
    struct fixture *f = *state;
    struct image_spool *spool;
    char tag[IMAGE_TAG_BYTES];

    open_spools(f);
    spool = get(f);
    strcpy(tag, image_spool_tag(spool));
    change(f);
    assert_null(image_spools_find(f->spools, "", slice_of_string("7-0123")));
    assert_ptr_equal(image_spools_find(f->spools, "", slice_of_string(tag)), spool);
    image_spool_release(spool);
    image_spool_release(spool);
}

static void pieces_and_bytes_are_those_of_the_image(void **state)
{
    struct fixture *f = *state;
    struct image_reader *reader = image_reader_open();
    struct buffer whole = BUFFER_EMPTY;
    struct buffer pieces = BUFFER_EMPTY;
    struct image_spool *spool;

    open_spools(f);
    spool = get(f);
    for (uint64_t i = 0; i < image_spool_pieces(spool); i++) {
        size_t before = pieces.size;

        assert_int_equal(image_spool_piece(spool, i, &pieces, NULL), STATUS_OK);
        assert_int_equal(
            image_reader_feed(reader, slice_from(buffer_slice(&pieces), before), NULL, NULL, NULL),
            STATUS_OK);
    }
    assert_true(image_reader_is_done(reader));
    assert_int_equal(image_spool_read(spool, 0, 1u << 20, &whole, NULL), STATUS_OK);
    assert_int_equal(whole.size, image_spool_totals(spool)->file_bytes);
    assert_true(slice_equals(buffer_slice(&whole), buffer_slice(&pieces)));
    image_spool_release(spool);
    image_reader_close(reader);
    buffer_close(&whole);
    buffer_close(&pieces);
}

/* --- From elsewhere --- */

/* An image of the state, from any source but "damaged", where a byte is wrong, and "none". */
static enum status fetch(void *data, const char *source, int fd, bool (*is_canceled)(void *data),
                         void *cancel_data, struct error *error)
{
    struct fixture *f = data;

    assert_false(is_canceled(cancel_data));
    f->n_fetched++;
    if (strcmp(source, "none") == 0) {
        return error_set(error, STATUS_NOT_FOUND, "there is none");
    }
    if (strcmp(source, "damaged") == 0) {
        f->image.data[f->image.size / 2] ^= 1;
    }
    return files_write(fd, buffer_slice(&f->image), source, error);
}

/* For what is asked for from now on. */
static void open_with_sources(struct fixture *f)
{
    struct image_spool *spool;

    f->options.data = f;
    f->options.fetch = fetch;
    open_spools(f);
    spool = get(f);
    assert_int_equal(image_spool_read(spool, 0, 1u << 20, &f->image, NULL), STATUS_OK);
    image_spool_release(spool);
}

static bool ask_for(struct fixture *f, struct wanted *wanted, const char *source)
{
    *wanted = (struct wanted){.request = {.message = {.deliver = on_answer}, .home = &f->mailbox}};
    strcpy(wanted->request.source, source);
    return image_spools_request(f->spools, &wanted->request);
}

static void what_is_fetched_is_shared_by_those_who_want_it(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;
    struct wanted again;
    struct image_spool *of_state;
    char tag[IMAGE_TAG_BYTES];

    open_with_sources(f);
    assert_false(ask_for(f, &wanted, "a"));
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_OK);
    strcpy(tag, image_spool_tag(wanted.request.spool));
    assert_int_equal(image_spool_totals(wanted.request.spool)->file_bytes, f->image.size);
    assert_true(ask_for(f, &again, "a"));
    assert_ptr_equal(again.request.spool, wanted.request.spool);
    assert_int_equal(f->n_fetched, 1);

    /* It is the same image as that of the state, and is not taken for it. */
    of_state = get(f);
    assert_ptr_not_equal(of_state, wanted.request.spool);
    assert_string_equal(image_spool_tag(of_state), tag);
    assert_ptr_equal(image_spools_find(f->spools, "a", slice_of_string(tag)), wanted.request.spool);
    assert_null(image_spools_find(f->spools, "b", slice_of_string(tag)));
    for (unsigned i = 0; i < 3; i++) {
        image_spool_release(wanted.request.spool);
    }
    image_spool_release(of_state);
}

static void what_is_fetched_is_checked(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;

    open_with_sources(f);
    assert_false(ask_for(f, &wanted, "damaged"));
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_CORRUPT);
    assert_null(wanted.request.spool);
}

static void a_source_that_fails_is_told_to_those_who_want_it(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted[3];

    open_with_sources(f);
    (void)ask_for(f, &wanted[0], "none");
    (void)ask_for(f, &wanted[1], "a");
    (void)ask_for(f, &wanted[2], "none");
    for (unsigned i = 0; i < 3; i++) {
        await(f, &wanted[i]);
    }
    assert_int_equal(wanted[0].request.status, STATUS_NOT_FOUND);
    assert_string_equal(wanted[0].request.error.text, "there is none");
    assert_int_equal(wanted[1].request.status, STATUS_OK);
    assert_int_equal(wanted[2].request.status, STATUS_NOT_FOUND);
    image_spool_release(wanted[1].request.spool);
}

/* --- Bounds --- */

static void an_image_that_nobody_uses_is_removed(void **state)
{
    struct fixture *f = *state;
    struct image_spool *spool;

    f->options.keep_ms = 20;
    open_spools(f);
    spool = get(f);
    assert_int_equal(count_files(f), 1);
    image_spool_release(spool);
    await_files(f, 0);
}

static void an_image_in_use_stays_until_it_is_too_old(void **state)
{
    struct fixture *f = *state;
    struct buffer bytes = BUFFER_EMPTY;
    struct image_spool *spool;
    unsigned reads = 0;

    f->options.keep_ms = 1;
    f->options.max_age_ms = 200;
    open_spools(f);
    spool = get(f);
    for (; image_spool_read(spool, 0, 10, &bytes, NULL) == STATUS_OK; reads++) {
        assert_true(reads < MAX_TURNS);
        buffer_clear(&bytes);
    }
    assert_true(reads > 0);
    assert_int_equal(image_spool_read(spool, 0, 10, &bytes, NULL), STATUS_CLOSED);
    assert_int_equal(image_spool_piece(spool, 0, &bytes, NULL), STATUS_CLOSED);
    assert_null(image_spools_find(f->spools, "", slice_of_string(image_spool_tag(spool))));
    assert_int_equal(count_files(f), 1); /* Its user still has it. */
    image_spool_release(spool);
    await_files(f, 0);
    buffer_close(&bytes);
}

static void there_are_never_more_than_allowed(void **state)
{
    struct fixture *f = *state;
    struct image_spool *spools[2];
    struct wanted wanted;

    f->options.max_files = 2;
    open_spools(f);
    for (unsigned i = 0; i < 6; i++) { /* Unused ones make room. */
        image_spool_release(get(f));
        change(f);
        assert_true(count_files(f) <= 2);
    }
    spools[0] = get(f);
    change(f);
    spools[1] = get(f);
    change(f);
    assert_false(ask(f, &wanted));
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_BUSY);
    assert_string_equal(wanted.request.error.text, "2 images are being read already");
    image_spool_release(spools[0]);
    image_spool_release(get(f));
    image_spool_release(spools[1]);
}

static void what_has_to_stay_free_stays_free(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;

    f->options.reserve_bytes = UINT64_MAX;
    open_spools(f);
    assert_false(ask(f, &wanted));
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_DISK_FULL);
    assert_int_equal(count_files(f), 0);
    assert_int_equal(statistics(f).failures, 1);
    assert_int_equal(statistics(f).files, 0);
}

/* --- Ends --- */

static void a_request_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;

    open_spools(f);
    for (unsigned i = 0; i < 20; i++) { /* Before it is answered or after, as chance has it. */
        assert_false(ask(f, &wanted));
        image_spools_cancel(f->spools, &wanted.request);
        await(f, &wanted);
        if (wanted.request.status == STATUS_OK) {
            image_spool_release(wanted.request.spool);
        } else {
            assert_int_equal(wanted.request.status, STATUS_CANCELED);
        }
        change(f);
    }
}

static void closing_answers_who_waits(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;

    open_spools(f);
    assert_false(ask(f, &wanted));
    image_spools_close(f->spools);
    f->spools = NULL;
    await(f, &wanted);
    assert_true(wanted.request.status == STATUS_OK || wanted.request.status == STATUS_CLOSED);
    image_spool_release(wanted.request.status == STATUS_OK ? wanted.request.spool : NULL);
}

/* A few MiB, and a rate that would take months. */
static void set_a_low_rate(struct fixture *f)
{
    static char value[1000001];
    struct operation operation;

    memset(value, '1', sizeof value - 1);
    for (unsigned i = 0; i < 3; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "large/%u", i);
        operation = item_put(key, value);
        (void)state_operate(f->state, &operation);
    }
    state_commit(f->state);
    f->options.bytes_per_second = 1;
}

/* Closing does not wait for it. */
static void an_image_is_made_no_faster_than_allowed(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;

    set_a_low_rate(f);
    open_spools(f);
    assert_false(ask(f, &wanted));
    image_spools_close(f->spools);
    f->spools = NULL;
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_CLOSED);
}

static bool is_urgent(void *data)
{
    return atomic_load((atomic_bool *)data);
}

static void an_image_that_gets_urgent_is_made_at_once(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted;
    atomic_bool urgent;

    atomic_init(&urgent, false);
    set_a_low_rate(f);
    f->options.data = &urgent;
    f->options.is_urgent = is_urgent;
    open_spools(f);
    assert_false(ask(f, &wanted));
    atomic_store(&urgent, true);
    await(f, &wanted);
    assert_int_equal(wanted.request.status, STATUS_OK);
    image_spool_release(wanted.request.spool);
    image_spools_close(f->spools); /* While its options are there. */
    f->spools = NULL;
}

static void what_an_earlier_process_left_is_removed(void **state)
{
    struct fixture *f = *state;
    char path[192];
    int fd;

    open_spools(f);
    image_spools_close(f->spools);
    (void)snprintf(path, sizeof path, "%s/image-17", f->directory);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    open_spools(f);
    assert_int_equal(count_files(f), 0);
}

static void a_directory_that_cannot_be_used_is_told(void **state)
{
    struct fixture *f = *state;
    struct error error;

    f->options.directory = "/proc/nonexistent/images";
    assert_int_equal(image_spools_open(&f->options, &f->spools, &error), STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "could not make directory \"/proc/nonexistent/images\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_is_shared_while_it_is_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_wait_together_get_the_same_one, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_is_found_by_its_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_and_bytes_are_those_of_the_image, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_fetched_is_shared_by_those_who_want_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_fetched_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_source_that_fails_is_told_to_those_who_want_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_image_that_nobody_uses_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_in_use_stays_until_it_is_too_old, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_never_more_than_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_to_stay_free_stays_free, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_can_be_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_answers_who_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_is_made_no_faster_than_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_image_that_gets_urgent_is_made_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_an_earlier_process_left_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_cannot_be_used_is_told, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
