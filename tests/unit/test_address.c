/* HOST:PORT: what is taken, what is refused, and what counts as this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/address.h"

static void what_was_parsed_is_written_the_same(void **state)
{
    static const char *const texts[] = {
        "127.0.0.1:7081", "localhost:1",         "[::1]:65535",
        "[fe80::1%lo]:7", "db-1.example.com:80", "0.0.0.0:0",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address;
        char text[LIMIT_ADDRESS_BYTES + 1];

        assert_int_equal(address_parse(slice_of_string(texts[i]), &address, NULL), STATUS_OK);
        address_format(&address, text);
        assert_string_equal(text, texts[i]);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const texts[] = {
        "",           ":",       "host",    "host:",     ":80",
        "host:65536", "host:-1", "h:+1",    "h: 1",      "h:1x",
        "::1:80",     "[::1]",   "[::1:80", "[host]:80", "a b:1",
        "host:080",   "[]:1",    "h/x:1",   "[::1]x:1",  "h:99999999999999999999",
        "h\n:1",      "[::1]80", "u@h:1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address;
        struct error error;

        assert_int_equal(address_parse(slice_of_string(texts[i]), &address, &error),
                         STATUS_INVALID);
        assert_non_null(strstr(error.text, "HOST:PORT"));
    }
}

static void a_host_beyond_its_limit_is_refused(void **state)
{
    char text[ADDRESS_HOST_BYTES + 4];
    struct address address;

    (void)state;
    memset(text, 'h', ADDRESS_HOST_BYTES + 1);
    memcpy(text + ADDRESS_HOST_BYTES, ":1", 3);
    assert_int_equal(address_parse(slice_of_string(text), &address, NULL), STATUS_OK);
    memcpy(text + ADDRESS_HOST_BYTES, "h:1", 4);
    assert_int_equal(address_parse(slice_of_string(text), &address, NULL), STATUS_INVALID);
}

static bool is_loopback(const char *host)
{
    struct address address = {.port = 1};
    struct sockaddr_storage socket;

    assert_true(strlen(host) < sizeof address.host);
    memcpy(address.host, host, strlen(host) + 1);
    assert_true(address_is_literal(&address, &socket));
    return address_is_loopback((struct sockaddr *)&socket);
}

static void only_this_machine_is_loopback(void **state)
{
    (void)state;
    assert_true(is_loopback("127.0.0.1"));
    assert_true(is_loopback("127.255.255.254"));
    assert_true(is_loopback("::1"));
    assert_true(is_loopback("::ffff:127.0.0.1"));
    assert_false(is_loopback("128.0.0.1"));
    assert_false(is_loopback("0.0.0.0"));
    assert_false(is_loopback("::"));
    assert_false(is_loopback("::ffff:10.0.0.1"));
    assert_false(is_loopback("fe80::1"));
}

static void a_socket_address_is_written_with_its_port(void **state)
{
    struct address address = {.host = "::1", .port = 7081};
    struct sockaddr_storage socket;
    char text[LIMIT_ADDRESS_BYTES + 1];

    (void)state;
    assert_true(address_is_literal(&address, &socket));
    address_format_socket((struct sockaddr *)&socket, text);
    assert_string_equal(text, "[::1]:7081");
}

struct found {
    enum status status;
    bool done;
    bool is_loopback;
};

static void on_found(struct address_lookup *lookup, enum status status, struct addrinfo *results,
                     const struct error *error)
{
    struct found *found = lookup->data;

    (void)error;
    found->status = status;
    found->is_loopback = results != NULL && address_is_loopback(results->ai_addr);
    found->done = true;
    uv_freeaddrinfo(results);
}

static struct found look_up(const char *host)
{
    struct address address = {.port = 7081};
    struct address_lookup lookup;
    struct found found = {0};
    uv_loop_t loop;

    memcpy(address.host, host, strlen(host) + 1);
    assert_int_equal(uv_loop_init(&loop), 0);
    lookup.data = &found;
    assert_int_equal(address_lookup_start(&lookup, &loop, &address, on_found, NULL), STATUS_OK);
    assert_false(found.done);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(found.done);
    assert_int_equal(uv_loop_close(&loop), 0);
    return found;
}

static void a_name_is_looked_up(void **state)
{
    struct found found = look_up("localhost");

    (void)state;
    assert_int_equal(found.status, STATUS_OK);
    assert_true(found.is_loopback);
}

static void a_name_that_is_none_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(look_up("-.invalid").status, STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_parsed_is_written_the_same),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_host_beyond_its_limit_is_refused),
        cmocka_unit_test(only_this_machine_is_loopback),
        cmocka_unit_test(a_socket_address_is_written_with_its_port),
        cmocka_unit_test(a_name_is_looked_up),
        cmocka_unit_test(a_name_that_is_none_is_not_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
