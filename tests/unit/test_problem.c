/* Problem documents: the members that clients rely on, and nothing of a client's bytes unescaped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/problem.h"

static const char *text_of(struct buffer *buffer)
{
    buffer_append_byte(buffer, '\0');
    return (const char *)buffer->data;
}

static void a_document_has_the_members_of_rfc_9457(void **state)
{
    struct response response = {0};

    (void)state;
    problem_begin(&response, PROBLEM_SEQUENCE_CONFLICT, "expected %u", 3u);
    problem_number(&response, "last_seq", 14);
    problem_text(&response, "field", slice_of_string("/a"));
    problem_end(&response);

    assert_int_equal(response.status, 409);
    assert_string_equal(response.content_type, "application/problem+json");
    assert_string_equal(text_of(&response.body),
                        "{\"type\":\"/problems/sequence-conflict\","
                        "\"title\":\"The log is not where it was expected\",\"status\":409,"
                        "\"detail\":\"expected 3\",\"last_seq\":14,\"field\":\"/a\"}");
    response_close(&response);
}

static void a_client_learns_when_to_try_again(void **state)
{
    (void)state;
    for (enum problem problem = 0; problem < PROBLEMS; problem++) {
        struct response response = {0};
        unsigned status = problem_status(problem);
        bool expected = status == 429 || status == 503;

        problem_begin(&response, problem, "detail");
        problem_end(&response);
        buffer_append_byte(&response.headers, '\0');

        assert_int_equal(strstr(text_of(&response.body), "\"retry_after_ms\":") != NULL, expected);
        assert_int_equal(strstr((const char *)response.headers.data, "Retry-After: 1\r\n") != NULL,
                         expected);
        response_close(&response);
    }
}

static void text_is_escaped_and_made_valid(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\r\n\x01\x7f", "\"\\u000d\\u000a\\u0001\\u007f\""},
        {"\xc3\xa9 \xf0\x9f\x98\x80", "\"\xc3\xa9 \xf0\x9f\x98\x80\""},
        {"\xff"
         "a",
         "\"\\ufffda\""},
        {"\xc3", "\"\\ufffd\""},
        {"\xc0\x80", "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xe0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer json = BUFFER_EMPTY;

        problem_append_text(&json, slice_of_string(cases[i].text));
        assert_string_equal(text_of(&json), cases[i].json);
        buffer_close(&json);
    }
}

static void a_header_cannot_be_split(void **state)
{
    struct response response = {0};

    (void)state;
    response_header(&response, "Location", "/a%s", "\r\nSet-Cookie: b\n");

    assert_string_equal(text_of(&response.headers), "Location: /a  Set-Cookie: b \r\n");
    response_close(&response);
}

static void outcomes_and_problems_agree(void **state)
{
    static const struct {
        enum outcome outcome;
        const char *name;
        unsigned status;
    } outcomes[] = {
#define OUTCOME_CASE(id, status, name) {OUTCOME_##id, name, status},
        OUTCOME_LIST(OUTCOME_CASE)
#undef OUTCOME_CASE
    };

    (void)state;
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        enum problem problem;

        if (outcomes[i].name == NULL) {
            continue;
        }
        problem = problem_of_outcome(outcomes[i].outcome);
        assert_string_equal(problem_name(problem), outcomes[i].name);
        assert_int_equal(problem_status(problem), outcomes[i].status);
    }
}

static void each_problem_has_a_page_that_explains_it(void **state)
{
    (void)state;
    for (enum problem problem = 0; problem < PROBLEMS; problem++) {
        struct response json = {0};
        struct response html = {0};

        assert_int_equal(problem_find(slice_of_string(problem_name(problem))), problem);
        problem_page(problem, true, &json);
        problem_page(problem, false, &html);

        assert_string_equal(json.content_type, "application/json");
        assert_true(strlen(text_of(&json.body)) > 150);
        assert_non_null(strstr(text_of(&html.body), problem_title(problem)));
        response_close(&json);
        response_close(&html);
    }
    assert_int_equal(problem_find(slice_of_string("nonsense")), PROBLEMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_has_the_members_of_rfc_9457),
        cmocka_unit_test(a_client_learns_when_to_try_again),
        cmocka_unit_test(text_is_escaped_and_made_valid),
        cmocka_unit_test(a_header_cannot_be_split),
        cmocka_unit_test(outcomes_and_problems_agree),
        cmocka_unit_test(each_problem_has_a_page_that_explains_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
