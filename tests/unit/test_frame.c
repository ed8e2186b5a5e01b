/* Frames between peers: what is written is read back, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <xxhash.h>

#include "daemon/base/wire.h"
#include "raft/frame.h"

#define UUID "0b0ff1ce-0000-4000-8000-000000000001"

static void fill_hello(struct frame_hello *hello)
{
    *hello = (struct frame_hello){
        .protocol = FRAME_PROTOCOL,
        .purpose = PURPOSE_CONTROL,
        .identity = IDENTITY_MEMBER,
        .cluster_id = slice_of_string(UUID),
        .id = 0xfedcba9876543210,
        .expected_id = 7,
        .name = slice_of_string("n1"),
        .peer_address = slice_of_string("[::1]:7081"),
        .api_address = slice_of_string("localhost:7080"),
        .version = slice_of_string("0.1.0"),
    };
}

static void fill_bootstrap(struct frame_bootstrap *bootstrap)
{
    bootstrap->cluster_id = slice_of_string(UUID);
    bootstrap->n_members = LIMIT_MEMBERS;
    for (uint32_t i = 0; i < LIMIT_MEMBERS; i++) {
        bootstrap->members[i] = (struct frame_bootstrap_member){
            .id = i + 1,
            .name = slice_of_string("name"),
            .peer_address = slice_of_string("peer:1"),
            .api_address = slice_of_string("api:2"),
        };
    }
}

/* One frame of each type, with every field set. */
static struct frame example(enum frame_type type)
{
    struct frame frame = {.type = type};

    switch (type) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
        fill_hello(&frame.hello);
        break;
    case FRAME_REFUSED:
        frame.refused.status = STATUS_MISMATCH;
        frame.refused.reason = slice_of_string("another cluster");
        break;
    case FRAME_BOOTSTRAP_PREPARE:
    case FRAME_BOOTSTRAP_PREPARED:
    case FRAME_BOOTSTRAP_COMMIT:
    case FRAME_BOOTSTRAP_COMMITTED:
        fill_bootstrap(&frame.bootstrap);
        break;
    case FRAME_FORWARD:
        frame.forward.term = 3;
        frame.forward.bundle = slice_of_string("bundle");
        break;
    case FRAME_FORWARD_REFUSED:
        frame.forward_refused =
            (struct frame_forward_refused){.term = 3, .boot = 4, .sequence = 5, .refusal = 2};
        break;
    case FRAME_READ_ASK:
    case FRAME_READ_ANSWER:
    case FRAME_READ_PROBE:
    case FRAME_READ_TERM:
        frame.read = (struct frame_read){.round = 1, .term = 2, .index = 3, .accepted = true};
        break;
    case FRAME_STATUS:
        frame.status = (struct frame_status){.wall_ms = 1,
                                             .free_disk_bytes = 2,
                                             .short_of_disk = true,
                                             .term = 3,
                                             .leader_id = 4,
                                             .last_index = 5,
                                             .applied_index = 6,
                                             .storage_full = true};
        break;
    case FRAME_STATE_ASK:
        frame.state_ask.min_index = 7;
        break;
    case FRAME_STATE_OFFER:
        frame.state_offer = (struct frame_state_offer){.status = STATUS_BUSY,
                                                       .reason = slice_of_string("later"),
                                                       .index = 1,
                                                       .sum = {2, 3},
                                                       .pieces = 4,
                                                       .bytes = 5};
        break;
    case FRAME_STATE_PULL:
        frame.state_pull.piece = 8;
        break;
    case FRAME_STATE_PIECE:
        frame.state_piece = (struct frame_state_piece){
            .piece = 1, .size = 9, .offset = 2, .bytes = slice_of_string("part")};
        break;
    case FRAME_MARKS:
        frame.marks.n_marks = FRAME_MAX_MARKS;
        for (unsigned i = 0; i < FRAME_MAX_MARKS; i++) {
            frame.marks.marks[i] =
                (struct frame_mark){.index = i + 1, .hash = {i + 100, UINT64_MAX - i}};
        }
        break;
    case FRAME_CHANGE_ASK:
        frame.change_ask = (struct frame_change_ask){.number = 1,
                                                     .kind = MEMBER_CHANGE_TRANSFER,
                                                     .id = 2,
                                                     .from = 3,
                                                     .wanted = MEMBER_AUTO,
                                                     .is_forced = true,
                                                     .name = slice_of_string("n4"),
                                                     .peer_address = slice_of_string("h:7081"),
                                                     .api_address = slice_of_string("h:7080"),
                                                     .zone = slice_of_string("z")};
        break;
    case FRAME_CHANGE_ANSWER:
        frame.change_answer = (struct frame_change_answer){.number = 1,
                                                           .verdict = FRAME_VERDICTS - 1,
                                                           .reason = MEMBER_REASON_BUSY,
                                                           .id = 2,
                                                           .text = slice_of_string("why")};
        break;
    case FRAME_JOIN_OFFER: {
        struct frame_bootstrap members;

        fill_bootstrap(&members);
        frame.join_offer = (struct frame_join_offer){.cluster_id = slice_of_string(UUID),
                                                     .id = 1,
                                                     .wall_ms = 2,
                                                     .n_members = members.n_members};
        memcpy(frame.join_offer.members, members.members, sizeof members.members);
        break;
    }
    case FRAME_JOIN_ANSWER:
        frame.join_answer = (struct frame_join_answer){.reason = MEMBER_REASON_CLOCK,
                                                       .text = slice_of_string("why")};
        break;
    case FRAME_NONE:
    case FRAME_TYPES:
        fail();
    }
    return frame;
}

/* Give @body, which starts with the type, a header that fits it. */
static void wrap(struct slice body, struct buffer *frame)
{
    wire_put_u32(frame, (uint32_t)body.size);
    wire_put_u64(frame, XXH3_64bits(body.data, body.size));
    buffer_append_slice(frame, body);
}

static enum status decode_body(struct slice body)
{
    struct buffer bytes = BUFFER_EMPTY;
    struct frame frame;
    enum status status;

    wrap(body, &bytes);
    status = frame_decode(buffer_slice(&bytes), &frame, NULL);
    buffer_close(&bytes);
    return status;
}

static void every_type_encodes_again_to_the_same_bytes(void **state)
{
    (void)state;
    for (unsigned type = FRAME_NONE + 1; type < FRAME_TYPES; type++) {
        struct frame frame = example(type);
        struct buffer bytes = BUFFER_EMPTY;
        struct buffer again = BUFFER_EMPTY;
        struct frame decoded;
        size_t size = 0;

        frame_encode(&frame, &bytes);
        assert_int_equal(frame_size(buffer_slice(&bytes), &size), STATUS_OK);
        assert_int_equal(size, bytes.size);
        assert_int_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);
        assert_int_equal(decoded.type, type);
        frame_encode(&decoded, &again);
        assert_true(slice_equals(buffer_slice(&bytes), buffer_slice(&again)));
        buffer_close(&bytes);
        buffer_close(&again);
    }
}

static void hello_carries_every_field(void **state)
{
    struct frame frame = example(FRAME_HELLO);
    struct buffer bytes = BUFFER_EMPTY;
    struct frame decoded;

    (void)state;
    frame_encode(&frame, &bytes);
    assert_int_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);

    assert_int_equal(decoded.hello.protocol, FRAME_PROTOCOL);
    assert_int_equal(decoded.hello.purpose, PURPOSE_CONTROL);
    assert_int_equal(decoded.hello.identity, IDENTITY_MEMBER);
    assert_true(slice_equals_string(decoded.hello.cluster_id, UUID));
    assert_true(decoded.hello.id == 0xfedcba9876543210);
    assert_int_equal(decoded.hello.expected_id, 7);
    assert_true(slice_equals_string(decoded.hello.name, "n1"));
    assert_true(slice_equals_string(decoded.hello.peer_address, "[::1]:7081"));
    assert_true(slice_equals_string(decoded.hello.api_address, "localhost:7080"));
    assert_true(slice_equals_string(decoded.hello.version, "0.1.0"));
    buffer_close(&bytes);
}

static void any_flipped_bit_is_noticed(void **state)
{
    struct frame frame = example(FRAME_FORWARD);
    struct buffer bytes = BUFFER_EMPTY;
    struct frame decoded;

    (void)state;
    frame_encode(&frame, &bytes);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buffer_close(&bytes);
}

static void a_body_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (unsigned type = FRAME_NONE + 1; type < FRAME_TYPES; type++) {
        struct frame frame = example(type);
        struct buffer bytes = BUFFER_EMPTY;
        struct slice body;

        frame_encode(&frame, &bytes);
        body = slice_from(buffer_slice(&bytes), FRAME_HEADER_BYTES);
        assert_int_equal(decode_body(body), STATUS_OK);
        for (size_t size = 0; size < body.size; size++) {
            assert_int_equal(decode_body(slice_of(body.data, size)), STATUS_CORRUPT);
        }
        buffer_append_byte(&bytes, 0);
        body = slice_from(buffer_slice(&bytes), FRAME_HEADER_BYTES);
        assert_int_equal(decode_body(body), STATUS_CORRUPT);
        buffer_close(&bytes);
    }
}

static void an_unknown_type_is_unsupported(void **state)
{
    const uint8_t types[] = {FRAME_NONE, FRAME_TYPES, 255};

    (void)state;
    for (size_t i = 0; i < sizeof types; i++) {
        assert_int_equal(decode_body(slice_of(&types[i], 1)), STATUS_UNSUPPORTED);
    }
}

static void the_size_is_unknown_until_four_bytes_are_there(void **state)
{
    const uint8_t bytes[] = {5, 0, 0, 0};
    size_t size = 1;

    (void)state;
    for (size_t have = 0; have < sizeof bytes; have++) {
        assert_int_equal(frame_size(slice_of(bytes, have), &size), STATUS_OK);
        assert_int_equal(size, 0);
    }
    assert_int_equal(frame_size(slice_of(bytes, sizeof bytes), &size), STATUS_OK);
    assert_int_equal(size, FRAME_HEADER_BYTES + 5);
}

static void a_frame_beyond_the_limit_is_too_large(void **state)
{
    struct buffer bytes = BUFFER_EMPTY;
    size_t size;

    (void)state;
    wire_put_u32(&bytes, LIMIT_FRAME_BYTES - FRAME_HEADER_BYTES);
    assert_int_equal(frame_size(buffer_slice(&bytes), &size), STATUS_OK);
    assert_int_equal(size, LIMIT_FRAME_BYTES);
    wire_set_u32(&bytes, 0, LIMIT_FRAME_BYTES - FRAME_HEADER_BYTES + 1);
    assert_int_equal(frame_size(buffer_slice(&bytes), &size), STATUS_TOO_LARGE);
    wire_set_u32(&bytes, 0, UINT32_MAX);
    assert_int_equal(frame_size(buffer_slice(&bytes), &size), STATUS_TOO_LARGE);
    buffer_close(&bytes);
}

static void assert_piece_refused(const struct frame_state_piece *piece)
{
    struct frame frame = {.type = FRAME_STATE_PIECE, .state_piece = *piece};
    struct buffer bytes = BUFFER_EMPTY;

    frame_encode(&frame, &bytes);
    assert_int_equal(frame_decode(buffer_slice(&bytes), &frame, NULL), STATUS_CORRUPT);
    buffer_close(&bytes);
}

static void a_part_lies_within_its_piece(void **state)
{
    const struct frame_state_piece good = example(FRAME_STATE_PIECE).state_piece;
    struct frame_state_piece piece = good;

    (void)state;
    piece.offset = good.size - (uint32_t)good.bytes.size + 1;
    assert_piece_refused(&piece);
    piece.offset = UINT32_MAX;
    assert_piece_refused(&piece);
    piece = good;
    piece.bytes = slice_of(NULL, 0);
    assert_piece_refused(&piece);
}

static void names_beyond_their_limit_are_refused(void **state)
{
    char name[LIMIT_NAME_BYTES + 2] = {0};
    struct frame frame = example(FRAME_HELLO);
    struct buffer bytes = BUFFER_EMPTY;
    struct frame decoded;

    (void)state;
    memset(name, 'n', LIMIT_NAME_BYTES + 1);
    frame.hello.name = slice_of(name, LIMIT_NAME_BYTES);
    frame_encode(&frame, &bytes);
    assert_int_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);

    buffer_clear(&bytes);
    frame.hello.name = slice_of(name, LIMIT_NAME_BYTES + 1);
    frame_encode(&frame, &bytes);
    assert_int_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_CORRUPT);

    buffer_clear(&bytes);
    frame.hello.name = slice_of("a\0b", 3); /* Would be another name as a C string. */
    frame_encode(&frame, &bytes);
    assert_int_equal(frame_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_CORRUPT);
    buffer_close(&bytes);
}

static void a_flag_is_zero_or_one(void **state)
{
    struct frame frame = example(FRAME_READ_ANSWER);
    struct buffer bytes = BUFFER_EMPTY;

    (void)state;
    frame_encode(&frame, &bytes);
    bytes.data[bytes.size - 1] = 2;
    assert_int_equal(decode_body(slice_from(buffer_slice(&bytes), FRAME_HEADER_BYTES)),
                     STATUS_CORRUPT);
    buffer_close(&bytes);
}

static void frames_can_follow_each_other_in_one_buffer(void **state)
{
    struct frame first = example(FRAME_STATUS);
    struct frame second = example(FRAME_REFUSED);
    struct buffer bytes = BUFFER_EMPTY;
    struct frame decoded;
    size_t size;

    (void)state;
    frame_encode(&first, &bytes);
    frame_encode(&second, &bytes);

    assert_int_equal(frame_size(buffer_slice(&bytes), &size), STATUS_OK);
    assert_int_equal(frame_decode(slice_of(bytes.data, size), &decoded, NULL), STATUS_OK);
    assert_int_equal(decoded.type, FRAME_STATUS);
    assert_int_equal(frame_decode(slice_from(buffer_slice(&bytes), size), &decoded, NULL),
                     STATUS_OK);
    assert_int_equal(decoded.refused.status, STATUS_MISMATCH);
    buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_encodes_again_to_the_same_bytes),
        cmocka_unit_test(hello_carries_every_field),
        cmocka_unit_test(any_flipped_bit_is_noticed),
        cmocka_unit_test(a_body_cut_anywhere_is_refused),
        cmocka_unit_test(an_unknown_type_is_unsupported),
        cmocka_unit_test(the_size_is_unknown_until_four_bytes_are_there),
        cmocka_unit_test(a_frame_beyond_the_limit_is_too_large),
        cmocka_unit_test(a_part_lies_within_its_piece),
        cmocka_unit_test(names_beyond_their_limit_are_refused),
        cmocka_unit_test(a_flag_is_zero_or_one),
        cmocka_unit_test(frames_can_follow_each_other_in_one_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
