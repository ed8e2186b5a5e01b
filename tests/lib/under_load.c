#include "tests/lib/under_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"
#include "tests/lib/expect.h"

#define FAILOVER_MS 10000
#define WRITES      20

struct under_load *under_load_open(const char *preload)
{
    struct under_load *load = calloc(1, sizeof *load);
    struct answer answer = {0};
    struct http_client client;

    assert_non_null(load);
    assert_true(cluster_open(&load->cluster));
    load->cluster.preload = preload;
    assert_true(cluster_start(&load->cluster));
    client = cluster_client(&load->cluster.nodes[0]);
    expect(&answer, &client, 201, "PUT", "/v1/namespaces/default/sessions/shared", NULL, "{}");
    answer_close(&answer);
    http_client_close(&client);
    load->leader = cluster_find_leader(&load->cluster, CLUSTER_NOBODY, CLUSTER_READY_MS);
    assert_int_not_equal(load->leader, CLUSTER_NOBODY);
    writers_start(&load->writers, &load->cluster, test_seed());
    load->writing = true;
    return load;
}

void under_load_close(struct under_load *load)
{
    if (load->writing) {
        writers_stop(&load->writers);
    }
    writers_close(&load->writers);
    cluster_close(&load->cluster, load->passed);
    free(load);
}

int under_load_setup(void **state)
{
    *state = under_load_open(NULL);
    return 0;
}

int under_load_teardown(void **state)
{
    under_load_close(*state);
    return 0;
}

void under_load_goes_on(struct under_load *load)
{
    for (unsigned i = 0; i < WRITES; i++) {
        bool progress = writers_wait_progress(&load->writers, FAILOVER_MS);

        if (writers_failure(&load->writers) != NULL) {
            fail_msg("%s", writers_failure(&load->writers));
        }
        assert_true(progress);
    }
}

void under_load_verify(struct under_load *load)
{
    char text[512];

    load->writing = false;
    writers_stop(&load->writers);
    for (unsigned node = 0; node < CLUSTER_NODES; node++) {
        const char *wrong = writers_verify(&load->writers, node);

        if (wrong != NULL) {
            fail_msg("n%u: %s", node + 1, wrong);
        }
    }
    if (!cluster_states_are_equal(&load->cluster, text, sizeof text)) {
        fail_msg("the states differ: %s", text);
    }
}
