#include "tests/lib/mirror_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"
#include "tests/lib/mirror_rows.h"
#include "tests/lib/state_work.h"

int mirror_fixture_open(void **state)
{
    struct mirror_fixture *f = calloc(1, sizeof *f);
    void *pg;

    assert_non_null(f);
    *state = f;
    assert_int_equal(postgres_fixture_open(&pg), 0);
    f->pg = pg;
    f->state = state_new();
    f->cluster_id = MIRROR_FIXTURE_CLUSTER;
    atomic_store(&f->is_chosen, true);
    f->random = test_seed();
    return 0;
}

int mirror_fixture_close(void **state)
{
    struct mirror_fixture *f = *state;
    void *pg = f->pg;

    mirror_close(f->mirrors[0]);
    mirror_close(f->mirrors[1]);
    state_free(f->state);
    (void)postgres_fixture_close(&pg);
    free(f);
    return 0;
}

static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    const struct mirror_fixture *f = data;

    strcpy(cluster_id, f->cluster_id);
    *node_id = 7;
    return true;
}

static bool is_chosen(void *data)
{
    return atomic_load(&((struct mirror_fixture *)data)->is_chosen);
}

void mirror_fixture_start(struct mirror_fixture *f, unsigned number, const char *url)
{
    const struct mirror_options options = {.url = url,
                                           .store = f->state->store,
                                           .stand_in_ms = f->stand_in_ms,
                                           .node = number == 0 ? "n1" : "n2",
                                           .data = f,
                                           .identify = identify,
                                           .is_chosen = is_chosen};

    postgres_fixture_check_ok(mirror_open(&options, &f->mirrors[number], &f->pg->error),
                              &f->pg->error);
}

/* As the owner of the schema. */
void mirror_fixture_begin(struct mirror_fixture *f)
{
    postgres_fixture_need(f->pg);
    mirror_fixture_start(f, 0, postgres_fixture_url(f->pg, "keeper", f->pg->server->port));
}

void mirror_fixture_end(struct mirror_fixture *f)
{
    mirror_close(f->mirrors[0]);
    f->mirrors[0] = NULL;
}

struct mirror_status mirror_fixture_status(struct mirror_fixture *f)
{
    struct mirror_status status;

    mirror_status(f->mirrors[0], &status);
    return status;
}

uint64_t mirror_fixture_revision(struct mirror_fixture *f)
{
    uint64_t revision = state_view(f->state)->state->revision;

    state_view_end(f->state);
    return revision;
}

void mirror_fixture_ask(struct mirror_fixture *f, const char *format)
{
    free(postgres_server_ask(f->pg->server, format, f->pg->schema, f->pg->schema));
}

/* --- What is in the tables --- */

static bool is_up_to_date(void *data)
{
    struct mirror_fixture *f = data;
    struct mirror_status status = mirror_fixture_status(f);

    return status.revision == mirror_fixture_revision(f) && status.is_exact &&
           status.lag_revisions == 0 && status.activity == MIRROR_IDLE;
}

void mirror_fixture_await(struct mirror_fixture *f)
{
    if (!wait_until(is_up_to_date, f, MIRROR_FIXTURE_MS)) {
        struct mirror_status status = mirror_fixture_status(f);

        fail_msg("%s at %llu, not at %llu: %s", mirror_activity_text(status.activity),
                 (unsigned long long)status.revision,
                 (unsigned long long)mirror_fixture_revision(f), status.error);
    }
}

/* The tables are what the state is, when the mirror says so. */
void mirror_fixture_check(struct mirror_fixture *f)
{
    PGconn *pg = postgres_server_connect(f->pg->server);
    struct mirror_rows_position position;
    struct view *view;
    json_t *expected;
    json_t *found;
    uint64_t time_ms;
    char why[2048];

    mirror_fixture_await(f);
    found = mirror_rows_of_tables(pg, f->pg->schema, &position);
    PQfinish(pg);
    view = state_view(f->state);
    expected = mirror_rows_of_state(view);
    time_ms = view->state->time_ms;
    state_view_end(f->state);
    mirror_rows_drop_expired(found, time_ms);
    if (!mirror_rows_match(expected, found, why, sizeof why)) {
        fail_msg("revision %lld: %s", position.revision, why);
    }
    assert_true(position.is_exact);
    assert_int_equal(position.revision, mirror_fixture_revision(f));
    assert_true(position.time_ms <= (long long)time_ms);
    json_decref(found);
    json_decref(expected);
}

void mirror_fixture_work(struct mirror_fixture *f, unsigned n)
{
    state_work(f->state, &f->random, n);
    state_commit(f->state);
}

bool mirror_fixture_has_failed(void *data)
{
    return mirror_fixture_status(data).activity == MIRROR_FAILING &&
           mirror_fixture_status(data).error[0] != '\0';
}
