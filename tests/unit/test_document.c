/* Documents: parsing, writing, merging, and the rules for metadata. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "storage/document.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;

    assert_int_equal(document_parse(slice_of_string(text), &value, NULL), STATUS_OK);
    return value;
}

static void assert_written(const json_t *value, const char *expected)
{
    struct buffer text = BUFFER_EMPTY;

    document_write(value, &text);
    buffer_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, expected);
    buffer_close(&text);
}

static void assert_rewritten(const char *text, const char *expected)
{
    json_t *value = parse(text);

    assert_written(value, expected);
    json_decref(value);
}

static void write_gives_numbers_their_fewest_digits(void **state)
{
    (void)state;
    assert_rewritten("0.1", "0.1");
    assert_rewritten("0.10000000000000001", "0.1");
    assert_rewritten("0.30000000000000004", "0.30000000000000004");
    assert_rewritten("5e-324", "5e-324");
    assert_rewritten("1.7976931348623157e308", "1.7976931348623157e308");
    assert_rewritten("123456789012345680.0", "1.2345678901234568e17");
}

static void write_keeps_reals_real_and_integers_whole(void **state)
{
    (void)state;
    assert_rewritten("1.0", "1.0");
    assert_rewritten("1e2", "100.0");
    assert_rewritten("1e20", "1e20");
    assert_rewritten("1e-7", "1e-7");
    assert_rewritten("-0.0", "-0.0");
    assert_rewritten("9223372036854775807", "9223372036854775807");
    assert_rewritten("-9223372036854775808", "-9223372036854775808");
}

/* Each written number must read back as the same bits, whatever they are. */
static void write_loses_no_bit_of_a_real(void **state)
{
    uint64_t bits = 0x9e3779b97f4a7c15;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct buffer text = BUFFER_EMPTY;
        json_t *value;
        json_t *again;
        double real;
        double read;

        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&real, &bits, sizeof real);
        value = json_real(real); /* NULL for what is not a number. */
        if (value == NULL) {
            continue;
        }
        document_write(value, &text);
        assert_int_equal(document_parse(buffer_slice(&text), &again, NULL), STATUS_OK);
        assert_true(json_is_real(again));
        read = json_real_value(again);
        assert_memory_equal(&read, &real, sizeof real);
        json_decref(value);
        json_decref(again);
        buffer_close(&text);
    }
}

static void write_escapes_what_json_demands(void **state)
{
    (void)state;
    assert_rewritten("\"a\\u0000b\"", "\"a\\u0000b\"");
    assert_rewritten("\"\\b\\f\\n\\r\\t\\\"\\\\\\/\\u001f\\u007f\"",
                     "\"\\b\\f\\n\\r\\t\\\"\\\\/\\u001f\x7f\"");
    assert_rewritten("\"\\u00fc\\ud83d\\ude00\"", "\"\xc3\xbc\xf0\x9f\x98\x80\"");
}

static void write_keeps_the_order_of_names(void **state)
{
    (void)state;
    assert_rewritten(" { \"z\" : [ 1 , true , null ] , \"a\" : { } , \"m\" : [ ] } ",
                     "{\"z\":[1,true,null],\"a\":{},\"m\":[]}");
}

static void parse_refuses_what_is_not_a_single_json_value(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,\"a\":2}",
        "1 2",
        "nul",
        "'a'",
        "01",
        "9223372036854775808",
        "1e400",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\\ud800\"",
        "\"a\nb\"",
        "[1]x",
        "{\"a\\u0000\":1}",
        "-",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = NULL;
        struct error error;

        assert_int_equal(document_parse(slice_of_string(texts[i]), &value, &error), STATUS_INVALID);
        assert_null(value);
    }
}

static struct buffer nested(unsigned depth)
{
    struct buffer text = BUFFER_EMPTY;

    for (unsigned i = 0; i < depth; i++) {
        buffer_append_string(&text, i % 2 == 0 ? "[" : "{\"[\\\"\":");
    }
    buffer_append_string(&text, "[]");
    for (unsigned i = depth; i > 0; i--) {
        buffer_append_string(&text, (i - 1) % 2 == 0 ? "]" : "}");
    }
    return text;
}

static void parse_takes_64_levels_and_not_one_more(void **state)
{
    struct buffer deepest = nested(LIMIT_JSON_DEPTH - 1);
    struct buffer deeper = nested(LIMIT_JSON_DEPTH);
    struct buffer abyss = nested(1000000);
    json_t *value = NULL;

    (void)state;
    assert_int_equal(document_parse(buffer_slice(&deeper), &value, NULL), STATUS_INVALID);
    assert_int_equal(document_parse(buffer_slice(&abyss), &value, NULL), STATUS_INVALID);
    assert_int_equal(document_parse(buffer_slice(&deepest), &value, NULL), STATUS_OK);
    json_decref(value);
    buffer_close(&deepest);
    buffer_close(&deeper);
    buffer_close(&abyss);
}

/* The examples of RFC 7396, appendix A. */
static void merge_follows_the_examples_of_its_rfc(void **state)
{
    static const char *const examples[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{}", "{\"a\":[null]}", "{\"a\":[null]}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        json_t *target = parse(examples[i][0]);
        json_t *patch = parse(examples[i][1]);
        json_t *merged = document_merge(target, patch);

        assert_written(merged, examples[i][2]);
        assert_written(target, examples[i][0]); /* The arguments stay as they were. */
        assert_written(patch, examples[i][1]);
        json_decref(merged);
        json_decref(target);
        json_decref(patch);
    }
}

static void assert_metadata_refused(const char *text, const char *pointer)
{
    struct buffer where = BUFFER_EMPTY;
    json_t *value = parse(text);
    struct error error;

    assert_int_equal(document_check_metadata(value, &where, &error), STATUS_INVALID);
    buffer_append_byte(&where, 0);
    assert_string_equal((const char *)where.data, pointer);
    json_decref(value);
    buffer_close(&where);
}

static void metadata_is_a_small_object_of_strings(void **state)
{
    struct buffer many = BUFFER_EMPTY;
    json_t *good = parse("{\"a\":\"\",\"b/c\":\"x\"}");

    (void)state;
    assert_int_equal(document_check_metadata(good, NULL, NULL), STATUS_OK);
    json_decref(good);

    assert_metadata_refused("[]", "");
    assert_metadata_refused("{\"a\":\"x\",\"b/~c\":1}", "/b~1~0c");
    assert_metadata_refused("{\"\":\"x\"}", "/");
    for (unsigned i = 0; i <= LIMIT_METADATA_PAIRS; i++) {
        buffer_append_format(&many, "%s\"k%u\":\"v\"", i == 0 ? "{" : ",", i);
    }
    buffer_append(&many, "}", 2);
    assert_metadata_refused((const char *)many.data, "");
    buffer_close(&many);
}

static void metadata_limits_count_bytes(void **state)
{
    char name[LIMIT_METADATA_KEY_BYTES + 2] = "";
    char text[LIMIT_METADATA_VALUE_BYTES + 2] = "";

    (void)state;
    for (size_t longer = 0; longer < 2; longer++) {
        json_t *metadata = json_object();

        memset(name, 'n', LIMIT_METADATA_KEY_BYTES + longer);
        json_object_set_new(metadata, name, json_string("v"));
        assert_int_equal(document_check_metadata(metadata, NULL, NULL),
                         longer ? STATUS_INVALID : STATUS_OK);
        json_object_clear(metadata);
        memset(text, 'v', LIMIT_METADATA_VALUE_BYTES + longer);
        json_object_set_new(metadata, "n", json_string(text));
        assert_int_equal(document_check_metadata(metadata, NULL, NULL),
                         longer ? STATUS_INVALID : STATUS_OK);
        json_decref(metadata);
    }
}

static void utf8_is_checked_as_its_rfc_says(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc2",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "a\xe2\x82",
                                      "\xe2\x28\xa1",
                                      "\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(document_is_utf8(slice_of_string(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(document_is_utf8(slice_of_string(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_gives_numbers_their_fewest_digits),
        cmocka_unit_test(write_keeps_reals_real_and_integers_whole),
        cmocka_unit_test(write_loses_no_bit_of_a_real),
        cmocka_unit_test(write_escapes_what_json_demands),
        cmocka_unit_test(write_keeps_the_order_of_names),
        cmocka_unit_test(parse_refuses_what_is_not_a_single_json_value),
        cmocka_unit_test(parse_takes_64_levels_and_not_one_more),
        cmocka_unit_test(merge_follows_the_examples_of_its_rfc),
        cmocka_unit_test(metadata_is_a_small_object_of_strings),
        cmocka_unit_test(metadata_limits_count_bytes),
        cmocka_unit_test(utf8_is_checked_as_its_rfc_says),
    };

    return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
