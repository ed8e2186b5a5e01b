/* What a server says of itself and its node: readiness, metrics, its contract. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/handlers.h"
#include "raft/node.h"
#include "tests/lib/client.h"
#include "tests/lib/server_fixture.h"

const struct route routes[] = {
    {.pattern = "/echo", .get = server_echo},
    {.pattern = "/livez", .get = livez_get, .local = true},
    {.pattern = "/readyz", .get = readyz_get, .local = true},
    {.pattern = "/metrics", .get = metrics_get, .local = true},
    {.pattern = "/problems/{name}", .get = problem_get, .local = true},
    {.pattern = "/openapi.json", .get = openapi_get, .local = true},
    {.pattern = NULL},
};

static void readiness_names_its_causes(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "{\"ready\":true}"));
    atomic_store(&fake_cluster.warnings, NODE_WARNING_STATES_SPLIT);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(
        slice_equals_string(answers.body, "{\"ready\":true,\"warnings\":[\"states-split\"]}"));
    atomic_store(&fake_cluster.warnings, NODE_WARNING_STATES_SPLIT | NODE_WARNING_STATE_DIFFERS);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\"warnings\":[\"state-differs\",\"states-split\"]}"));
    atomic_store(&fake_cluster.causes, NODE_CAUSE_NO_LEADER | NODE_CAUSE_SLOW_DISK);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 503);
    assert_true(answers_body_has(&answers, "\"causes\":[\"no-leader\",\"slow-disk\"]"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_mirror_that_is_behind_is_a_warning(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    atomic_store(&fake_cluster.mirror_lag_ms, 60000);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(slice_equals_string(answers.body, "{\"ready\":true}"));
    atomic_store(&fake_cluster.mirror_lag_ms, 60001);
    client_send(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(
        slice_equals_string(answers.body, "{\"ready\":true,\"warnings\":[\"mirror-behind\"]}"));
    client_close(fd, &answers);
    server_stop(server);
}

static void figures_of_the_mirror_are_there_if_it_is(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_false(answers_body_has(&answers, "holdfast_mirror"));
    atomic_store(&fake_cluster.mirror_lag_ms, 1250);
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_active 1\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_failing 0\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_revision 77\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_lag_revisions 5\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_lag_seconds 1.250\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_mirror_rows_total{table=\"items\"} 3\n"));
    client_close(fd, &answers);
    server_stop(server);
}

static void metrics_count_what_was_answered(void **state)
{
    struct server *server =
        server_start(&(struct server_options){.metrics_address = "127.0.0.1:0"});
    struct answers answers = {0};
    int fd;

    (void)state;
    assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    assert_int_equal(client_ask(server_port(server), LIVEZ), 200);
    assert_int_equal(client_ask(server_port(server), "nonsense\r\n\r\n"), 400);
    assert_int_equal(client_ask(server_metrics_port(server), "GET /echo HTTP/1.1\r\n" HOST "\r\n"),
                     404);
    fd = client_connect(server_metrics_port(server));
    client_send(fd, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(client_answer(fd, &answers), 200);

    assert_true(answers_body_has(&answers,
                                 "holdfast_http_requests_total{route=\"/livez\",method=\"GET\","
                                 "status=\"200\"} 2\n"));
    assert_true(answers_body_has(&answers,
                                 "holdfast_http_requests_total{route=\"none\",method=\"OTHER\","
                                 "status=\"400\"} 1\n"));
    assert_true(answers_body_has(&answers, "holdfast_http_request_duration_seconds_bucket{"
                                           "route=\"/livez\",method=\"GET\",le=\"+Inf\"} 2\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_term 7\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_apply_lag 3\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_raft_log_append_seconds_sum 0.001500000\n"));
    assert_true(answers_body_has(&answers, "\nholdfast_store_used_bytes 4096\n"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_node_serves_its_contract(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /openapi.json HTTP/1.1\r\n" HOST "\r\n");

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_body_has(&answers, "\"openapi\": \"3.1.0\""));
    assert_true(answers_body_has(&answers, "/v1/namespaces/{ns}/sessions/{s}/events"));
    assert_true(slice_equals_string(slice_from(answers.body, answers.body.size - 2), "}\n"));
    client_close(fd, &answers);
    server_stop(server);
}

static void a_problem_page_suits_who_asks(void **state)
{
    struct server *server = server_start_plain();
    struct answers answers = {0};
    int fd = client_connect(server_port(server));

    (void)state;
    client_send(fd, "GET /problems/fenced HTTP/1.1\r\n" HOST "\r\n"
                    "GET /problems/fenced HTTP/1.1\r\n" HOST "Accept: text/html,*/*\r\n\r\n"
                    "GET /problems/nonsense HTTP/1.1\r\n" HOST "\r\n");

    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Content-Type: application/json\r\n"));
    assert_int_equal(client_answer(fd, &answers), 200);
    assert_true(answers_head_has(&answers, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_int_equal(client_answer(fd, &answers), 404);
    client_close(fd, &answers);
    server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(readiness_names_its_causes, server_reset),
        cmocka_unit_test_setup(a_mirror_that_is_behind_is_a_warning, server_reset),
        cmocka_unit_test_setup(figures_of_the_mirror_are_there_if_it_is, server_reset),
        cmocka_unit_test_setup(metrics_count_what_was_answered, server_reset),
        cmocka_unit_test_setup(a_node_serves_its_contract, server_reset),
        cmocka_unit_test_setup(a_problem_page_suits_who_asks, server_reset),
    };

    /* The daemon ignores it too: a broken connection is a status. */
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
