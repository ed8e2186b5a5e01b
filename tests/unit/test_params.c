#include "api/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Read @text as the If-Match of an operation. */
static enum status read_tags(const char *text, struct condition *condition)
{
    struct request request = {0};
    struct condition none;
    struct input input;
    enum status status;

    input_init(&input, &request);
    input.is_operation = true;
    input.headers = json_object();
    (void)json_object_set_new(input.headers, "If-Match", json_string(text));
    status = param_conditions(&input, condition, &none);
    json_decref(input.headers);
    input_close(&input);
    return status;
}

static void tags_are_read_in_all_their_forms(void **state)
{
    struct condition condition;
    (void)state;

    assert_int_equal(read_tags("*", &condition), STATUS_OK);
    assert_int_equal(condition.kind, CONDITION_ANY);
    assert_int_equal(read_tags("\"8\"", &condition), STATUS_OK);
    assert_int_equal(condition.tags[0], 8);
    assert_int_equal(read_tags("W/\"8\" ,, \"9\",", &condition), STATUS_OK);
    assert_int_equal(condition.n_tags, 2);
    assert_int_equal(condition.tags[1], 9);
}

static void a_tag_that_is_no_revision_matches_nothing(void **state)
{
    static const char *const tags[] = {"\"\"",  "\"0\"",  "\"08\"",
                                       "\"x\"", "\"-1\"", "\"18446744073709551616\""};
    struct condition condition;
    (void)state;

    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        assert_int_equal(read_tags(tags[i], &condition), STATUS_OK);
        assert_int_equal(condition.n_tags, 1);
        assert_true(condition.tags[0] == UINT64_MAX);
    }
}

static void tags_have_a_greatest_number(void **state)
{
    struct condition condition;
    char text[200] = "";
    (void)state;

    for (unsigned i = 0; i < LIMIT_TAGS; i++) {
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "\"%u\",", i + 1);
    }
    assert_int_equal(read_tags(text, &condition), STATUS_OK);
    assert_int_equal(condition.n_tags, LIMIT_TAGS);
    (void)strcat(text, "\"99\"");
    assert_int_equal(read_tags(text, &condition), STATUS_INVALID);
}

static void what_is_no_list_of_tags_is_refused(void **state)
{
    static const char *const bad[] = {"",        "8",          "\"8",      "W/8",
                                      "w/\"8\"", "\"8\"\"9\"", "*, \"8\"", ","};
    struct condition condition;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_tags(bad[i], &condition), STATUS_INVALID);
    }
}

static void numbers_are_decimal_and_fit_64_bits(void **state)
{
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "0x1",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    uint64_t number = 7;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(param_parse_number(slice_of_string(bad[i]), &number));
    }
    assert_int_equal(number, 7);
    assert_true(param_parse_number(slice_of_string("0"), &number));
    assert_int_equal(number, 0);
    assert_true(param_parse_number(slice_of_string("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
}

static void ids_and_names_have_their_alphabets(void **state)
{
    char longest[LIMIT_ID_BYTES + 2];
    (void)state;

    memset(longest, 'a', sizeof(longest));
    assert_true(param_is_id(slice_of(longest, LIMIT_ID_BYTES)));
    assert_false(param_is_id(slice_of(longest, LIMIT_ID_BYTES + 1)));
    assert_true(param_is_name(slice_of(longest, LIMIT_ID_BYTES)));
    assert_false(param_is_name(slice_of(longest, LIMIT_ID_BYTES + 1)));
    assert_true(param_is_id(slice_of_string("aZ0._:@-")));
    assert_false(param_is_id(slice_of_string("")));
    assert_false(param_is_id(slice_of_string("a/b")));
    assert_false(param_is_id(slice_of("a\0b", 3)));
    assert_true(param_is_name(slice_of_string("J\xc3\xb6rg / \xe2\x82\xac")));
    assert_false(param_is_name(slice_of_string("")));
    assert_false(param_is_name(slice_of_string("a\nb")));
    assert_false(param_is_name(slice_of_string("a\x7f")));
    assert_false(param_is_name(slice_of_string("a\xc2\x85"))); /* U+0085, a control character. */
    assert_false(param_is_name(slice_of_string("a\xc3")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_read_in_all_their_forms),
        cmocka_unit_test(a_tag_that_is_no_revision_matches_nothing),
        cmocka_unit_test(tags_have_a_greatest_number),
        cmocka_unit_test(what_is_no_list_of_tags_is_refused),
        cmocka_unit_test(numbers_are_decimal_and_fit_64_bits),
        cmocka_unit_test(ids_and_names_have_their_alphabets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
