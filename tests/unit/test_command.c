/* Commands: every kind reads back, and what is out of limits is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/command.h"

#define TEXT(literal) slice_of(literal, sizeof(literal) - 1)

static struct text_field set(struct slice value)
{
    return (struct text_field){.kind = FIELD_SET, .value = value};
}

static struct session_fields make_fields(void)
{
    return (struct session_fields){
        .agent_id = set(TEXT("agent")),
        .user_id = {.kind = FIELD_NULL},
        .status_kind = FIELD_SET,
        .status = SESSION_PAUSED,
        .metadata = set(TEXT("{\"a\":\"b\"}")),
        .state = set(TEXT("{\"x\":1}")),
        .ttl = {.kind = TTL_SET, .ms = 1000},
        .sliding_kind = FIELD_SET,
        .sliding = false,
        .write_policy_kind = FIELD_SET,
        .write_policy = WRITE_POLICY_OWNER,
    };
}

static struct new_event events[2];

/* One valid operation of @kind. */
static struct operation make_operation(enum operation_kind kind)
{
    struct operation operation = {.kind = kind};

    switch (kind) {
    case OPERATION_SESSION_PUT:
    case OPERATION_SESSION_PATCH:
    case OPERATION_SESSION_DELETE:
    case OPERATION_SESSION_TOUCH:
    case OPERATION_SESSION_CHECK:
        operation.session.id = TEXT("s1");
        operation.session.fields = make_fields();
        break;
    case OPERATION_EVENTS_APPEND:
        events[0] = (struct new_event){TEXT("e1"), TEXT("message"), TEXT("{}")};
        events[1] = (struct new_event){TEXT("e2"), TEXT("message"), TEXT("[1]")};
        operation.append = (struct append_operation){.session_id = TEXT("s1"),
                                                     .n_events = 2,
                                                     .events = events,
                                                     .has_expected_seq = true,
                                                     .expected_seq = 4,
                                                     .has_truncate_after = true,
                                                     .truncate_after = 3,
                                                     .state_patch = TEXT("{\"a\":null}"),
                                                     .has_create = true,
                                                     .create = make_fields()};
        break;
    case OPERATION_EVENTS_DELETE:
        operation.trim = (struct trim_operation){TEXT("s1"), true, 7, true, 9};
        break;
    case OPERATION_NAMESPACE_PUT:
    case OPERATION_NAMESPACE_PATCH:
    case OPERATION_NAMESPACE_DELETE:
        operation.ns = (struct namespace_operation){TEXT("a-b"), set(TEXT("{}"))};
        break;
    case OPERATION_MEMBER_PUT:
    case OPERATION_MEMBER_ADD:
    case OPERATION_MEMBER_CHANGE:
    case OPERATION_MEMBER_REMOVE:
        operation.member =
            (struct member_operation){77,          TEXT("n1"),  TEXT("h:1"), TEXT("h:2"), TEXT("z"),
                                      TEXT("1.0"), MEMBER_AUTO, true,        false,       true};
        break;
    case OPERATION_MAINTAIN:
        operation.maintain.max_records = LIMIT_MAINTENANCE_RECORDS;
        break;
    case OPERATION_FEATURE_RAISE:
        operation.feature_level = 7;
        break;
    default:
        operation.item = (struct item_operation){.key = TEXT("k/1"),
                                                 .value = TEXT("\"v\""),
                                                 .content = CONTENT_BYTES,
                                                 .content_type = TEXT("a/b"),
                                                 .ttl = {.kind = TTL_CLEAR},
                                                 .user_id = set(TEXT("u"))};
        operation.if_match = (struct condition){CONDITION_TAGS, 2, {5, 6}};
        operation.if_none_match.kind = CONDITION_ANY;
        break;
    }
    return operation;
}

static struct command make_command(struct operation *operation)
{
    bool in_namespace = operation->kind < OPERATION_NAMESPACE_PUT;

    return (struct command){.ns = in_namespace ? TEXT("default") : TEXT(""),
                            .idempotency_key = TEXT("key"),
                            .request_hash = {11, 12},
                            .n_operations = 1,
                            .operations = operation};
}

static enum status try_decode(struct slice bytes)
{
    struct command command;
    struct error error;
    enum status status = command_decode(bytes, &command, &error);

    if (status == STATUS_OK) {
        command_close(&command);
    }
    return status;
}

/* Encode one operation and say what decoding it gives. */
static enum status try_operation(struct operation operation)
{
    struct command command = make_command(&operation);
    struct buffer bytes = BUFFER_EMPTY;
    enum status status;

    command_encode(&command, &bytes);
    status = try_decode(buffer_slice(&bytes));
    buffer_close(&bytes);
    return status;
}

static void every_kind_reads_back_and_refuses_every_cut(void **state)
{
    (void)state;
    for (int kind = OPERATION_ITEM_PUT; kind < OPERATION_KINDS; kind++) {
        struct operation operation = make_operation((enum operation_kind)kind);
        struct command command = make_command(&operation);
        struct buffer bytes = BUFFER_EMPTY;
        struct buffer again = BUFFER_EMPTY;
        struct command decoded;

        command_encode(&command, &bytes);
        assert_int_equal(command_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);
        command_encode(&decoded, &again);
        assert_int_equal(again.size, bytes.size);
        assert_memory_equal(again.data, bytes.data, bytes.size);
        for (size_t size = 0; size < bytes.size; size++) {
            assert_int_equal(try_decode(slice_of(bytes.data, size)), STATUS_CORRUPT);
        }
        buffer_append_byte(&bytes, 0);
        assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_CORRUPT);
        command_close(&decoded);
        buffer_close(&bytes);
        buffer_close(&again);
    }
}

static void append_keeps_every_field(void **state)
{
    struct operation operation = make_operation(OPERATION_EVENTS_APPEND);
    struct command command = make_command(&operation);
    struct buffer bytes = BUFFER_EMPTY;
    struct command decoded;
    const struct append_operation *append;

    (void)state;
    command_encode(&command, &bytes);
    assert_int_equal(command_decode(buffer_slice(&bytes), &decoded, NULL), STATUS_OK);

    assert_true(slice_equals_string(decoded.ns, "default"));
    assert_true(slice_equals_string(decoded.idempotency_key, "key"));
    assert_int_equal(decoded.request_hash[1], 12);
    append = &decoded.operations[0].append;
    assert_true(slice_equals_string(append->session_id, "s1"));
    assert_int_equal(append->n_events, 2);
    assert_true(slice_equals_string(append->events[1].id, "e2"));
    assert_true(slice_equals_string(append->events[1].data, "[1]"));
    assert_int_equal(append->expected_seq, 4);
    assert_int_equal(append->truncate_after, 3);
    assert_true(slice_equals_string(append->state_patch, "{\"a\":null}"));
    assert_true(append->has_create);
    assert_true(slice_equals_string(append->create.agent_id.value, "agent"));
    assert_int_equal(append->create.user_id.kind, FIELD_NULL);
    assert_int_equal(append->create.status, SESSION_PAUSED);
    assert_int_equal(append->create.ttl.ms, 1000);
    assert_false(append->create.sliding);
    assert_int_equal(append->create.write_policy, WRITE_POLICY_OWNER);
    command_close(&decoded);
    buffer_close(&bytes);
}

static void sessions_out_of_limits_are_refused(void **state)
{
    static char large[LIMIT_STATE_BYTES + 1];
    struct operation good = make_operation(OPERATION_SESSION_PUT);
    struct operation bad = good;

    (void)state;
    assert_int_equal(try_operation(good), STATUS_OK);
    bad.session.id = TEXT("a/b");
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.session.id = slice_of(large, LIMIT_ID_BYTES + 1);
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.session.fields.ttl.ms = 0;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.session.fields.ttl.ms = LIMIT_TTL_MS + 1;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.session.fields.agent_id = set(TEXT("a\nb"));
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.session.fields.agent_id = set(TEXT("\xff"));
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.session.fields.status = SESSION_STATUSES;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.session.fields.state = set(slice_of(large, sizeof large));
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.kind = OPERATION_SESSION_PATCH; /* A patch is limited by what it makes. */
    assert_int_equal(try_operation(bad), STATUS_OK);
}

static void items_out_of_limits_are_refused(void **state)
{
    static char large[LIMIT_ITEM_BYTES + 1];
    struct operation good = make_operation(OPERATION_ITEM_PUT);
    struct operation bad = good;

    (void)state;
    assert_int_equal(try_operation(good), STATUS_OK);
    bad.item.key = TEXT("a\0b");
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.item.key = TEXT("");
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    memset(large, 'k', sizeof large);
    bad.item.key = slice_of(large, LIMIT_ITEM_KEY_BYTES + 1);
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.item.key = slice_of(large, LIMIT_ITEM_KEY_BYTES);
    assert_int_equal(try_operation(bad), STATUS_OK);
    bad = good;
    bad.item.value = slice_of(large, sizeof large);
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.item.content = CONTENT_BYTES + 1;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad = good;
    bad.if_match.kind = CONDITION_TAGS + 1;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
}

static void events_out_of_limits_are_refused(void **state)
{
    static char large[LIMIT_EVENT_DATA_BYTES + 1];
    static struct new_event many[LIMIT_APPEND_EVENTS + 1];
    struct operation good = make_operation(OPERATION_EVENTS_APPEND);
    struct operation bad = good;

    (void)state;
    assert_int_equal(try_operation(good), STATUS_OK);
    bad.append.n_events = 0;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    for (size_t i = 0; i <= LIMIT_APPEND_EVENTS; i++) {
        many[i] = (struct new_event){.type = TEXT("t"), .data = TEXT("1")};
    }
    bad.append.events = many;
    bad.append.n_events = LIMIT_APPEND_EVENTS;
    assert_int_equal(try_operation(bad), STATUS_OK);
    bad.append.n_events = LIMIT_APPEND_EVENTS + 1;
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    bad.append.n_events = 2;
    many[1].id = TEXT("only-this-one");
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    many[1].id = TEXT("");
    many[1].data = slice_of(large, sizeof large);
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    many[1].data = TEXT("");
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
    many[1].data = TEXT("1");
    many[1].type = slice_of(large, LIMIT_TYPE_BYTES + 1);
    assert_int_equal(try_operation(bad), STATUS_CORRUPT);
}

static void operations_stay_in_their_kind_of_namespace(void **state)
{
    static const char *const bad_names[] = {"A", "-a", "a-", "a_b", "a/b"};
    struct operation member = make_operation(OPERATION_MEMBER_PUT);
    struct operation item = make_operation(OPERATION_ITEM_PUT);
    struct command command = make_command(&member);
    struct buffer bytes = BUFFER_EMPTY;

    (void)state;
    command.ns = TEXT("default");
    command_encode(&command, &bytes);
    assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_CORRUPT);

    command = make_command(&item);
    command.ns = TEXT("");
    buffer_clear(&bytes);
    command_encode(&command, &bytes);
    assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_CORRUPT);

    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        command.ns = slice_of_string(bad_names[i]);
        buffer_clear(&bytes);
        command_encode(&command, &bytes);
        assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_CORRUPT);
    }
    buffer_close(&bytes);
}

static void maintenance_is_bounded(void **state)
{
    struct operation operation = make_operation(OPERATION_MAINTAIN);

    (void)state;
    operation.maintain.max_records = LIMIT_MAINTENANCE_RECORDS + 1;
    assert_int_equal(try_operation(operation), STATUS_CORRUPT);
    operation.maintain.max_records = 0;
    assert_int_equal(try_operation(operation), STATUS_CORRUPT);
}

static void a_later_version_is_unsupported(void **state)
{
    struct operation operation = make_operation(OPERATION_ITEM_PUT);
    struct command command = make_command(&operation);
    struct buffer bytes = BUFFER_EMPTY;

    (void)state;
    command_encode(&command, &bytes);
    bytes.data[0] = COMMAND_VERSION + 1;
    assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_UNSUPPORTED);
    bytes.data[0] = 0;
    assert_int_equal(try_decode(buffer_slice(&bytes)), STATUS_CORRUPT);
    buffer_close(&bytes);
}

/* Whatever one byte is changed to, decoding ends well, and what it accepts is canonical. */
static void a_changed_byte_never_gives_two_encodings_of_one_command(void **state)
{
    struct operation operation = make_operation(OPERATION_EVENTS_APPEND);
    struct command command = make_command(&operation);
    struct buffer bytes = BUFFER_EMPTY;
    struct buffer again = BUFFER_EMPTY;

    (void)state;
    command_encode(&command, &bytes);
    for (size_t i = 0; i < bytes.size * 256; i++) {
        uint8_t old = bytes.data[i / 256];
        struct command decoded;

        bytes.data[i / 256] = (uint8_t)i;
        if (command_decode(buffer_slice(&bytes), &decoded, NULL) == STATUS_OK) {
            buffer_clear(&again);
            command_encode(&decoded, &again);
            assert_true(slice_equals(buffer_slice(&again), buffer_slice(&bytes)));
            command_close(&decoded);
        }
        bytes.data[i / 256] = old;
    }
    buffer_close(&bytes);
    buffer_close(&again);
}

static void only_what_makes_the_state_grow_adds(void **state)
{
    (void)state;
    for (int kind = OPERATION_ITEM_PUT; kind < OPERATION_KINDS; kind++) {
        struct operation operation = make_operation((enum operation_kind)kind);
        struct command command = make_command(&operation);
        bool adds = kind == OPERATION_ITEM_PUT || kind == OPERATION_ITEM_PATCH ||
                    kind == OPERATION_SESSION_PUT || kind == OPERATION_SESSION_PATCH ||
                    kind == OPERATION_EVENTS_APPEND || kind == OPERATION_NAMESPACE_PUT ||
                    kind == OPERATION_NAMESPACE_PATCH;

        assert_int_equal(command_adds(&command), adds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_reads_back_and_refuses_every_cut),
        cmocka_unit_test(append_keeps_every_field),
        cmocka_unit_test(sessions_out_of_limits_are_refused),
        cmocka_unit_test(items_out_of_limits_are_refused),
        cmocka_unit_test(events_out_of_limits_are_refused),
        cmocka_unit_test(operations_stay_in_their_kind_of_namespace),
        cmocka_unit_test(maintenance_is_bounded),
        cmocka_unit_test(a_later_version_is_unsupported),
        cmocka_unit_test(a_changed_byte_never_gives_two_encodings_of_one_command),
        cmocka_unit_test(only_what_makes_the_state_grow_adds),
    };

    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
