/* The floor: buffers, the wire form, errors, the queue and the mailbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/buffer.h"
#include "daemon/base/clock.h"
#include "daemon/base/error.h"
#include "daemon/base/log.h"
#include "daemon/base/mailbox.h"
#include "daemon/base/pace.h"
#include "daemon/base/queue.h"
#include "daemon/base/wire.h"

static void buffer_keeps_what_was_appended_while_it_grows(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        buffer_append_byte(&buffer, (uint8_t)i);
    }
    buffer_consume(&buffer, 500);

    assert_int_equal(buffer.size, 500);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(buffer.data[i], (uint8_t)(i + 500));
    }
    buffer_close(&buffer);
}

static void wire_reads_back_what_it_wrote(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    struct wire_reader reader;

    (void)state;
    wire_put_u8(&buffer, 0xfe);
    wire_put_u16(&buffer, 0xfedc);
    wire_put_u32(&buffer, 0xfedcba98);
    wire_put_u64(&buffer, 0xfedcba9876543210);
    wire_put_bytes(&buffer, slice_of_string("abc"));

    reader = wire_reader_of(buffer_slice(&buffer));
    assert_int_equal(wire_get_u8(&reader), 0xfe);
    assert_int_equal(wire_get_u16(&reader), 0xfedc);
    assert_int_equal(wire_get_u32(&reader), 0xfedcba98);
    assert_true(wire_get_u64(&reader) == 0xfedcba9876543210);
    assert_true(slice_equals_string(wire_get_bytes(&reader), "abc"));
    assert_int_equal(wire_done(&reader), STATUS_OK);
    buffer_close(&buffer);
}

static void wire_refuses_every_cut_of_what_it_wrote(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    wire_put_u32(&buffer, 7);
    wire_put_bytes(&buffer, slice_of_string("abc"));
    for (size_t size = 0; size < buffer.size; size++) {
        struct wire_reader reader = wire_reader_of(slice_of(buffer.data, size));

        (void)wire_get_u32(&reader); /* What is left out shows at the end. */
        (void)wire_get_bytes(&reader);
        assert_int_equal(wire_done(&reader), STATUS_CORRUPT);
    }
    buffer_close(&buffer);
}

static void error_prefix_puts_the_outer_story_first(void **state)
{
    struct error error;

    (void)state;
    (void)error_set(&error, STATUS_DISK_FULL, "could not write \"%s\": disk full", "a");
    assert_int_equal(error_prefix(&error, "could not open store"), STATUS_DISK_FULL);
    assert_string_equal(error.text, "could not open store: could not write \"a\": disk full");
}

struct element {
    int number;
    struct link link;
};

static void queue_gives_elements_in_order(void **state)
{
    struct element elements[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    struct queue one;
    struct queue two;

    (void)state;
    queue_init(&one);
    queue_init(&two);
    queue_push(&one, &elements[1].link);
    queue_push_front(&one, &elements[0].link);
    queue_push(&two, &elements[2].link);
    queue_append(&one, &two);

    assert_true(queue_is_empty(&two));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(CONTAINER_OF(queue_pop(&one), struct element, link)->number, i + 1);
    }
    assert_null(queue_pop(&one));
}

static void log_limit_holds_back_a_flood(void **state)
{
    struct log_limit limit = {0};
    int written = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        written += log_limit_allows(&limit, 5000);
    }
    assert_int_equal(written, LOG_BURST);
    assert_int_equal(limit.held_back, 100 - LOG_BURST);
    assert_true(log_limit_allows(&limit, 6000));
}

static void a_pace_is_kept_by_pieces_of_all_sizes(void **state)
{
    static const uint64_t sizes[] = {1, 4096, 300000, 5000000};

    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pace pace = pace_of(1000000, 5000);
        uint64_t spent = 0;

        for (uint64_t now_ms = 5000; now_ms < 5000 + 60000; now_ms++) {
            while (pace_allows(&pace, now_ms)) {
                assert_int_equal(pace_wait_ms(&pace), 0);
                pace_spend(&pace, sizes[i]);
                spent += sizes[i];
            }
        }
        assert_in_range(spent, 60000000 - 2000, 60000000 + sizes[i]);
    }
}

static void a_pace_that_was_not_used_comes_back_as_a_short_burst(void **state)
{
    struct pace pace = pace_of(1000, 0);
    const uint64_t later_ms = 1ull << 50;
    unsigned n = 0;

    (void)state;
    while (pace_allows(&pace, later_ms)) {
        pace_spend(&pace, 1);
        n++;
    }
    assert_int_equal(n, PACE_BURST_MS);
}

static void a_debt_tells_how_long_it_lasts(void **state)
{
    struct pace pace = pace_of(1, 0);
    uint64_t end_ms;

    (void)state;
    assert_false(pace_allows(&pace, 0));
    assert_true(pace_allows(&pace, pace_wait_ms(&pace)));
    pace_spend(&pace, 500000);
    assert_false(pace_allows(&pace, 1000000));
    end_ms = 1000000 + pace_wait_ms(&pace);
    assert_false(pace_allows(&pace, end_ms - 1));
    assert_true(pace_allows(&pace, end_ms));
}

struct note {
    struct message message;
    int *last;
    int number;
};

static void on_note(struct message *message)
{
    struct note *note = (struct note *)message;

    assert_int_equal(*note->last + 1, note->number);
    *note->last = note->number;
}

static void *post_notes(void *data)
{
    struct note *notes = data;

    for (int i = 0; i < 1000; i++) {
        mailbox_post((struct mailbox *)(void *)notes[1000].last, &notes[i].message);
    }
    return NULL;
}

static void mailbox_delivers_in_order_from_another_thread(void **state)
{
    static struct note notes[1001];
    struct mailbox mailbox;
    uv_loop_t loop;
    pthread_t thread;
    int last = 0;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&mailbox, &loop, NULL), STATUS_OK);
    for (int i = 0; i < 1000; i++) {
        notes[i] = (struct note){.message.deliver = on_note, .last = &last, .number = i + 1};
    }
    notes[1000].last = (int *)(void *)&mailbox;

    assert_int_equal(pthread_create(&thread, NULL, post_notes, notes), 0);
    while (last < 1000) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);

    mailbox_close(&mailbox, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* --- Clocks --- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool is_told;
};

static void *tell(void *data)
{
    struct waiting *waiting = data;

    assert_int_equal(pthread_mutex_lock(&waiting->mutex), 0);
    waiting->is_told = true;
    assert_int_equal(pthread_cond_signal(&waiting->condition), 0);
    assert_int_equal(pthread_mutex_unlock(&waiting->mutex), 0);
    return NULL;
}

static void a_condition_ends_with_its_signal_or_its_time(void **state)
{
    struct waiting waiting = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    uint64_t before_ns = clock_ns();
    pthread_t thread;

    (void)state;
    clock_condition_init(&waiting.condition);
    assert_int_equal(pthread_mutex_lock(&waiting.mutex), 0);
    while (clock_condition_wait_ms(&waiting.condition, &waiting.mutex, 5)) { /* For no reason. */
    }
    assert_true(clock_ns() - before_ns >= 5000000);
    assert_false(clock_condition_wait(&waiting.condition, &waiting.mutex, before_ns));

    assert_int_equal(pthread_create(&thread, NULL, tell, &waiting), 0);
    while (!waiting.is_told) {
        assert_true(clock_condition_wait(&waiting.condition, &waiting.mutex, UINT64_MAX));
    }
    assert_int_equal(pthread_mutex_unlock(&waiting.mutex), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_cond_destroy(&waiting.condition), 0);
    assert_true(clock_wall_ms() > 1767225600000); /* 2026 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_condition_ends_with_its_signal_or_its_time),
        cmocka_unit_test(buffer_keeps_what_was_appended_while_it_grows),
        cmocka_unit_test(wire_reads_back_what_it_wrote),
        cmocka_unit_test(wire_refuses_every_cut_of_what_it_wrote),
        cmocka_unit_test(error_prefix_puts_the_outer_story_first),
        cmocka_unit_test(queue_gives_elements_in_order),
        cmocka_unit_test(log_limit_holds_back_a_flood),
        cmocka_unit_test(a_pace_is_kept_by_pieces_of_all_sizes),
        cmocka_unit_test(a_pace_that_was_not_used_comes_back_as_a_short_burst),
        cmocka_unit_test(a_debt_tells_how_long_it_lasts),
        cmocka_unit_test(mailbox_delivers_in_order_from_another_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
