/* Endpoints: what is understood, what is refused, and what is left out as a double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/endpoint.h"

static void schemes_and_ports_may_be_left_out(void **state)
{
    static const struct {
        const char *given;
        const char *url;
        const char *host;
    } cases[] = {
        {"10.0.0.1", "http://10.0.0.1:7080", "10.0.0.1"},
        {"http://n1:80/", "http://n1:80", "n1"},
        {"[::1]", "http://[::1]:7080", "::1"},
        {"http://[fe80::1%eth0]:1", "http://[fe80::1%eth0]:1", "fe80::1%eth0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct endpoints endpoints = {0};

        assert_int_equal(endpoints_add(&endpoints, cases[i].given, NULL), STATUS_OK);
        assert_string_equal(endpoints.list[0].url, cases[i].url);
        assert_string_equal(endpoints.list[0].host, cases[i].host);
        endpoints_close(&endpoints);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const cases[] = {
        "",         "http://",    ":80",   "n1:",     "n1:0",         "n1:65536", "n1:80x",
        "[::1",     "[]:1",       "::1",   "n1/path", "user@n1",      "n1,,n2",   "n1:000080",
        "ftp://n1", "https://n1", "n1 n2", "n1?x",    "http://a\r\nb"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct endpoints endpoints = {0};

        assert_int_equal(endpoints_add(&endpoints, cases[i], NULL), STATUS_INVALID);
        endpoints_close(&endpoints);
    }
}

static void doubles_are_added_once_and_the_order_stays(void **state)
{
    struct endpoints endpoints = {0};

    (void)state;
    assert_int_equal(endpoints_add(&endpoints, "n2:7080,n1", NULL), STATUS_OK);
    assert_int_equal(endpoints_add(&endpoints, "http://n1:7080/,n2,n3", NULL), STATUS_OK);

    assert_int_equal(endpoints.count, 3);
    assert_string_equal(endpoints.list[0].url, "http://n2:7080");
    assert_string_equal(endpoints.list[2].url, "http://n3:7080");
    endpoints_close(&endpoints);
}

static void the_list_is_bounded(void **state)
{
    struct endpoints endpoints = {0};
    struct error error;
    char text[] = "n1:1000";

    (void)state;
    for (int i = 0; i < ENDPOINTS_MAX; i++) {
        text[5] = (char)('0' + i / 10);
        text[6] = (char)('0' + i % 10);
        assert_int_equal(endpoints_add(&endpoints, text, &error), STATUS_OK);
    }
    assert_int_equal(endpoints_add(&endpoints, "n2", &error), STATUS_INVALID);
    assert_string_equal(error.text, "more than 32 endpoints");
    endpoints_close(&endpoints);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemes_and_ports_may_be_left_out),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(doubles_are_added_once_and_the_order_stays),
        cmocka_unit_test(the_list_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
