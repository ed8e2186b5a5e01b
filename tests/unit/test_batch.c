/* Commands into bundles (batch.h), bundles into entries (proposer.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/memory.h"
#include "raft/batch.h"
#include "raft/proposer.h"
#include "storage/command.h"
#include "storage/entry.h"

#define SELF          1u
#define PEER          2u
#define NOW_MS        1000u
#define BOOT          77u
#define TERM          5u
#define N_SUBMISSIONS 4u

struct fixture {
    struct batch batch;
    struct proposer proposer;
    struct submission submissions[N_SUBMISSIONS];
    unsigned n_answered;
};

static void answer(void *data, struct submission *submission)
{
    struct fixture *f = data;

    (void)submission;
    f->n_answered++;
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    batch_init(&f->batch, SELF, BOOT, answer, f);
    proposer_init(&f->proposer);
    proposer_lead(&f->proposer, TERM);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    batch_close(&f->batch);
    proposer_close(&f->proposer);
    for (unsigned i = 0; i < N_SUBMISSIONS; i++) {
        buffer_close(&f->submissions[i].command);
    }
    free(f);
    return 0;
}

static void encode(struct buffer *buffer, size_t size)
{
    struct operation operation = {.kind = OPERATION_ITEM_PUT};
    struct command command = {.n_operations = 1, .operations = &operation};
    char *value = memory_new_zeroed(size, 1);

    command.ns = slice_of_string("default");
    operation.item.key = slice_of_string("key");
    operation.item.content = CONTENT_BYTES;
    operation.item.content_type = slice_of_string("text/plain");
    operation.item.value = slice_of(value, size);
    command_encode(&command, buffer);
    free(value);
}

static struct submission *submit(struct fixture *f, unsigned i, size_t size)
{
    f->submissions[i].status = STATUS_END;
    encode(&f->submissions[i].command, size);
    batch_add(&f->batch, &f->submissions[i]);
    return &f->submissions[i];
}

static struct pending_bundle *send_next(struct fixture *f, uint64_t term)
{
    struct pending_bundle *bundle = batch_next(&f->batch);

    assert_non_null(bundle);
    bundle->term = term;
    return bundle;
}

/* An encoded bundle of one command. */
static struct buffer bundle_of(uint64_t origin, uint64_t boot, uint64_t sequence, size_t size)
{
    struct buffer command = BUFFER_EMPTY;
    struct buffer bundle = BUFFER_EMPTY;
    size_t offset = bundle_begin(&bundle, origin, boot, sequence);

    encode(&command, size);
    bundle_add_command(&bundle, buffer_slice(&command));
    bundle_finish(&bundle, offset, 1);
    buffer_close(&command);
    return bundle;
}

static bool offer(struct fixture *f, uint64_t peer, uint64_t boot, uint64_t sequence, size_t size,
                  enum refusal *refusal)
{
    struct buffer bundle = bundle_of(PEER, boot, sequence, size);
    bool accepted = proposer_accept(&f->proposer, peer, buffer_slice(&bundle), refusal);

    buffer_close(&bundle);
    return accepted;
}

/* Make and propose the next entry at @index; gives how many bundles are in it. */
static uint32_t propose(struct fixture *f, uint64_t index)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct entry entry;

    proposer_make(&f->proposer, 1, 0, 1, &bytes);
    assert_int_equal(entry_decode(buffer_slice(&bytes), &entry, NULL), STATUS_OK);
    proposer_proposed(&f->proposer, index, NOW_MS);
    buffer_close(&bytes);
    return entry.n_bundles;
}

/* --- Batches --- */

static void what_waits_goes_into_one_bundle_in_order(void **state)
{
    struct fixture *f = *state;
    struct pending_bundle *bundle;

    submit(f, 0, 10);
    submit(f, 1, 20);
    bundle = send_next(f, TERM);
    assert_int_equal(bundle->sequence, 1);
    assert_int_equal(bundle->n_submissions, 2);
    assert_ptr_equal(bundle->submissions[0], &f->submissions[0]);
    assert_null(batch_next(&f->batch));
}

static void a_bundle_is_no_larger_than_an_entry(void **state)
{
    struct fixture *f = *state;

    submit(f, 0, LIMIT_ENTRY_BYTES / 2);
    submit(f, 1, LIMIT_ENTRY_BYTES / 2);
    submit(f, 2, 2 * LIMIT_ENTRY_BYTES);
    assert_int_equal(send_next(f, TERM)->n_submissions, 1);
    assert_int_equal(send_next(f, TERM)->n_submissions, 1);
    assert_int_equal(send_next(f, TERM)->n_submissions, 1); /* However large it is. */
}

static void what_nobody_waits_for_is_not_sent(void **state)
{
    struct fixture *f = *state;

    atomic_store(&submit(f, 0, 10)->abandoned, true);
    assert_null(batch_next(&f->batch));
    assert_int_equal(f->n_answered, 1);
    assert_int_equal(f->submissions[0].status, STATUS_NO_LEADER);
}

static void a_later_term_settles_what_was_sent_before(void **state)
{
    struct fixture *f = *state;
    struct pending_bundle *bundle;

    submit(f, 0, 10);
    submit(f, 1, 10);
    submit(f, 2, LIMIT_ENTRY_BYTES);
    send_next(f, TERM);
    send_next(f, TERM);
    submit(f, 3, 10);
    assert_true(batch_is_unsettled(&f->batch, TERM + 1));

    atomic_store(&f->submissions[1].abandoned, true);
    batch_settle(&f->batch, TERM + 1);
    assert_int_equal(f->batch.n_waiting, 4);
    bundle = send_next(f, TERM + 1);
    assert_int_equal(bundle->sequence, 3); /* A new number: the old ones are of the old term. */
    assert_int_equal(bundle->n_submissions, 1);
    assert_ptr_equal(bundle->submissions[0], &f->submissions[0]);
    assert_int_equal(f->submissions[1].status, STATUS_NO_LEADER);
    assert_ptr_equal(send_next(f, TERM + 1)->submissions[0], &f->submissions[2]);
    assert_ptr_equal(send_next(f, TERM + 1)->submissions[0], &f->submissions[3]);
}

static void the_same_term_settles_nothing(void **state)
{
    struct fixture *f = *state;

    submit(f, 0, 10);
    send_next(f, TERM);
    batch_settle(&f->batch, TERM);
    assert_int_equal(f->batch.n_bundles, 1);
    assert_false(batch_is_unsettled(&f->batch, TERM));
}

static void a_committed_bundle_is_taken_once(void **state)
{
    struct fixture *f = *state;
    struct pending_bundle *bundle;

    submit(f, 0, 10);
    send_next(f, TERM);
    assert_null(batch_take(&f->batch, BOOT + 1, 1)); /* Of an earlier process. */
    bundle = batch_take(&f->batch, BOOT, 1);
    assert_non_null(bundle);
    assert_null(batch_take(&f->batch, BOOT, 1));
    batch_release(bundle);
}

static void what_the_leader_itself_wants_is_dropped_not_sent_anew(void **state)
{
    struct fixture *f = *state;
    struct buffer command = BUFFER_EMPTY;

    encode(&command, 10);
    batch_own(&f->batch, buffer_slice(&command))->term = TERM;
    buffer_close(&command);
    batch_settle(&f->batch, TERM + 1);
    assert_int_equal(f->batch.n_bundles, 0);
    assert_null(batch_next(&f->batch));
}

static void at_the_end_what_was_sent_is_uncertain(void **state)
{
    struct fixture *f = *state;

    submit(f, 0, 10);
    send_next(f, TERM);
    submit(f, 1, 10);
    batch_close(&f->batch);
    assert_int_equal(f->submissions[0].status, STATUS_UNCERTAIN);
    assert_int_equal(f->submissions[1].status, STATUS_CLOSED);
}

static void only_what_is_old_expires(void **state)
{
    struct fixture *f = *state;

    submit(f, 0, 10)->submitted_ms = 100;
    submit(f, 1, 10)->submitted_ms = 200;
    batch_expire(&f->batch, 200, STATUS_NO_LEADER);
    assert_int_equal(f->submissions[0].status, STATUS_NO_LEADER);
    assert_int_equal(f->submissions[1].status, STATUS_END);
}

/* --- Proposals --- */

static void a_bundle_that_comes_twice_is_proposed_once(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal;

    assert_true(offer(f, PEER, BOOT, 1, 10, &refusal));
    assert_true(offer(f, PEER, BOOT, 2, 10, &refusal));
    assert_true(offer(f, PEER, BOOT, 1, 10, &refusal));
    assert_true(offer(f, PEER, BOOT, 2, 10, &refusal));
    assert_int_equal(propose(f, 10), 2);
}

static void a_new_process_of_a_node_counts_anew(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal;

    assert_true(offer(f, PEER, BOOT, 5, 10, &refusal));
    assert_true(offer(f, PEER, BOOT + 1, 1, 10, &refusal));
    assert_true(offer(f, PEER, BOOT, 5, 10, &refusal)); /* Late, and known. */
    assert_int_equal(propose(f, 10), 2);
}

static void a_broken_bundle_is_refused_and_stays_refused(void **state)
{
    struct fixture *f = *state;
    struct buffer bundle = bundle_of(PEER, BOOT, 1, 10);
    enum refusal refusal = REFUSAL_TERM;

    memset(bundle.data + BUNDLE_HEADER_BYTES + sizeof(uint32_t), 0xff, 8); /* The command. */
    assert_false(proposer_accept(&f->proposer, PEER, buffer_slice(&bundle), &refusal));
    assert_int_equal(refusal, REFUSAL_INVALID);
    assert_false(proposer_accept(&f->proposer, PEER, buffer_slice(&bundle), &refusal));
    assert_false(proposer_accept(&f->proposer, PEER, slice_of(bundle.data, 9), &refusal));
    assert_int_equal(refusal, REFUSAL_INVALID);
    buffer_close(&bundle);
    assert_int_equal(f->proposer.bytes, 0);
}

static void nobody_sends_in_the_name_of_another(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal = REFUSAL_TERM;

    assert_false(offer(f, PEER + 1, BOOT, 1, 10, &refusal));
    assert_int_equal(refusal, REFUSAL_INVALID);
}

static void a_full_queue_refuses_for_good(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal = REFUSAL_TERM;
    uint64_t sequence = 1;

    while (offer(f, PEER, BOOT, sequence, LIMIT_ITEM_BYTES, &refusal)) {
        sequence++;
    }
    assert_int_equal(refusal, REFUSAL_BUSY);
    propose(f, 10);
    /* There is room now, but whoever sent it was told that it is not taken. */
    assert_false(offer(f, PEER, BOOT, sequence, 10, &refusal));
    assert_true(offer(f, PEER, BOOT, sequence + 1, 10, &refusal));
}

static void entries_are_bounded_in_size_and_number(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal;

    for (uint64_t sequence = 1; sequence <= 5; sequence++) {
        assert_true(offer(f, PEER, BOOT, sequence, LIMIT_ENTRY_BYTES / 2, &refusal));
    }
    assert_int_equal(propose(f, 10), 1);
    assert_int_equal(propose(f, 11), 1);
    assert_false(proposer_has_room(&f->proposer));
    proposer_committed(&f->proposer, 10);
    assert_true(proposer_has_room(&f->proposer));
}

/* A crowd's next entry waits until the clock moves on; the one behind it was small again. */
static void a_crowd_shares_an_entry_and_a_few_clients_never_wait(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal;
    uint64_t sequence = 1;

    assert_true(offer(f, PEER, BOOT, sequence++, 10, &refusal));
    propose(f, 10);
    assert_true(offer(f, PEER, BOOT, sequence++, 10, &refusal));
    assert_false(proposer_gathers(&f->proposer, NOW_MS));
    for (unsigned i = 1; i < PROPOSER_CROWD; i++) {
        assert_true(offer(f, PEER, BOOT, sequence++, 10, &refusal));
    }
    propose(f, 11);

    assert_true(offer(f, PEER, BOOT, sequence++, 10, &refusal));
    assert_true(proposer_gathers(&f->proposer, NOW_MS + 1)); /* Until that is committed. */
    proposer_committed(&f->proposer, 11);
    assert_true(proposer_gathers(&f->proposer, NOW_MS));
    assert_false(proposer_gathers(&f->proposer, NOW_MS + 1));
    assert_true(offer(f, PEER, BOOT, sequence++, LIMIT_ENTRY_BYTES / 2, &refusal));
    assert_false(proposer_gathers(&f->proposer, NOW_MS));
}

static void another_term_starts_with_nothing(void **state)
{
    struct fixture *f = *state;
    enum refusal refusal;

    assert_true(offer(f, PEER, BOOT, 1, 10, &refusal));
    propose(f, 10);
    assert_true(offer(f, PEER, BOOT, 2, 10, &refusal));
    proposer_lead(&f->proposer, TERM + 2);
    assert_int_equal(f->proposer.bytes, 0);
    assert_int_equal(f->proposer.n_in_flight, 0);
    assert_false(f->proposer.has_begun);
    assert_true(offer(f, PEER, BOOT, 1, 10, &refusal)); /* Of this term: another bundle. */
    assert_int_equal(propose(f, 20), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_waits_goes_into_one_bundle_in_order),
        TEST(a_bundle_is_no_larger_than_an_entry),
        TEST(what_nobody_waits_for_is_not_sent),
        TEST(a_later_term_settles_what_was_sent_before),
        TEST(the_same_term_settles_nothing),
        TEST(a_committed_bundle_is_taken_once),
        TEST(what_the_leader_itself_wants_is_dropped_not_sent_anew),
        TEST(at_the_end_what_was_sent_is_uncertain),
        TEST(only_what_is_old_expires),
        TEST(a_bundle_that_comes_twice_is_proposed_once),
        TEST(a_new_process_of_a_node_counts_anew),
        TEST(a_broken_bundle_is_refused_and_stays_refused),
        TEST(nobody_sends_in_the_name_of_another),
        TEST(a_full_queue_refuses_for_good),
        TEST(entries_are_bounded_in_size_and_number),
        TEST(a_crowd_shares_an_entry_and_a_few_clients_never_wait),
        TEST(another_term_starts_with_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
