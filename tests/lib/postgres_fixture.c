#include "tests/lib/postgres_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/postgres.h"
#include "tests/lib/repository_contract.h"

/* One for the program: cmocka hands a group's state only to tests without a state of their own. */
static struct postgres_server server;

static bool ask_canceled(void *data)
{
    struct postgres_fixture *f = data;

    if (f->nth == 0 || ++f->n_steps != f->nth) {
        return f->is_canceled && f->nth != 0 && f->n_steps > f->nth; /* Once and for all. */
    }
    if (f->disturb != NULL) {
        f->disturb(f);
    }
    return f->is_canceled;
}

int postgres_fixture_open_group(void **state)
{
    static const char roles[] =
        "CREATE ROLE keeper LOGIN PASSWORD '" POSTGRES_FIXTURE_PASSWORD "';"
        "CREATE ROLE daily LOGIN PASSWORD '" POSTGRES_FIXTURE_PASSWORD "';"
        "CREATE ROLE looker LOGIN PASSWORD '" POSTGRES_FIXTURE_PASSWORD "';";

    (void)state;
    if (postgres_server_missing() != NULL) {
        return 0;
    }
    if (!postgres_server_make(&server) || !postgres_server_start(&server)) {
        print_error("the server could not be started; see %s/log\n", server.directory);
        return -1;
    }
    free(postgres_server_ask(&server, "%s", roles));
    return 0;
}

int postgres_fixture_close_group(void **state)
{
    (void)state;
    if (postgres_server_missing() == NULL) {
        postgres_server_remove(&server);
    }
    return 0;
}

int postgres_fixture_open(void **state)
{
    static unsigned n;
    struct postgres_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = f;
    f->missing = postgres_server_missing();
    f->server = &server;
    if (f->missing != NULL) {
        return 0;
    }
    (void)snprintf(f->schema, sizeof f->schema, "test_%u", ++n);
    free(postgres_server_ask(&server, "CREATE SCHEMA %s AUTHORIZATION keeper", f->schema));
    f->repository = postgres_fixture_repository(f, postgres_fixture_url(f, "keeper", server.port));
    return 0;
}

int postgres_fixture_close(void **state)
{
    struct postgres_fixture *f = *state;

    repository_close(f->repository);
    relay_stop(&f->relay);
    free(f);
    return 0;
}

void postgres_fixture_need(const struct postgres_fixture *f)
{
    if (f->missing != NULL) {
        print_message("*** NOT RUN: %s ***\n", f->missing);
        skip();
    }
}

const char *postgres_fixture_url(const struct postgres_fixture *f, const char *role, unsigned port)
{
    static char url[256];

    (void)snprintf(url, sizeof url, "postgres://%s:se%%2Fcr%%40t@127.0.0.1:%u/postgres?schema=%s",
                   role, port, f->schema);
    return url;
}

struct repository *postgres_fixture_repository(struct postgres_fixture *f, const char *url)
{
    const struct repository_options options = {.url = url, .data = f, .is_canceled = ask_canceled};
    struct repository *repository = NULL;

    if (repository_open(&options, &repository, &f->error) != STATUS_OK) {
        fail_msg("%s", f->error.text);
    }
    postgres_set_patience(repository, POSTGRES_FIXTURE_LIMIT_MS, POSTGRES_FIXTURE_LIMIT_MS);
    return repository;
}

void postgres_fixture_arm(struct postgres_fixture *f, unsigned nth,
                          void (*disturb)(struct postgres_fixture *f), bool is_canceled)
{
    f->nth = nth;
    f->n_steps = 0;
    f->disturb = disturb;
    f->is_canceled = is_canceled;
}

bool postgres_fixture_disarm(struct postgres_fixture *f)
{
    bool has_struck = f->nth != 0 && f->n_steps >= f->nth;

    f->nth = 0;
    return has_struck;
}

void postgres_fixture_terminate(struct postgres_fixture *f)
{
    /* It waits until the process is gone. */
    free(postgres_server_ask(f->server,
                             "SELECT count(pg_terminate_backend(pid, %d)) FROM pg_stat_activity "
                             "WHERE application_name = 'holdfast'",
                             POSTGRES_FIXTURE_LIMIT_MS));
}

unsigned postgres_fixture_count(const struct postgres_fixture *f, const char *sql)
{
    char *count =
        postgres_server_ask(f->server, "SET search_path = %s; SELECT count(*) %s", f->schema, sql);
    unsigned n = (unsigned)strtoul(count, NULL, 10);

    free(count);
    return n;
}

void postgres_fixture_check(const struct postgres_fixture *f)
{
    static const char bad_chunks[] =
        "FROM chunks c WHERE (SELECT count(*) FROM objects o WHERE o.object_id = c.object_id) + "
        "(SELECT count(*) FROM uploads u WHERE u.object_id = c.object_id) <> 1";
    static const char bad_objects[] =
        "FROM objects o WHERE size_bytes <> (SELECT coalesce(sum(octet_length(bytes)), 0) "
        "FROM chunks c WHERE c.object_id = o.object_id) OR sha256 <> (SELECT "
        "sha256(coalesce(string_agg(bytes, ''::bytea ORDER BY number), ''::bytea)) FROM chunks c "
        "WHERE c.object_id = o.object_id)";

    assert_int_equal(postgres_fixture_count(f, bad_chunks), 0);
    assert_int_equal(postgres_fixture_count(f, bad_objects), 0);
}

struct slice postgres_fixture_large(uint8_t first)
{
    static uint8_t bytes[2][POSTGRES_FIXTURE_LARGE_BYTES];
    uint8_t *chosen = bytes[first % 2];

    for (size_t i = 0; i < POSTGRES_FIXTURE_LARGE_BYTES; i++) {
        chosen[i] = (uint8_t)(first + i * 7 + i / 251);
    }
    return slice_of(chosen, POSTGRES_FIXTURE_LARGE_BYTES);
}

void postgres_fixture_check_ok(enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        fail_msg("%s", error->text);
    }
}

void postgres_fixture_put(struct postgres_fixture *f, const char *name, struct slice bytes)
{
    postgres_fixture_check_ok(repository_put(f->repository, name, bytes, &f->error), &f->error);
}

enum status postgres_fixture_get(struct repository *repository, const char *name,
                                 struct buffer *bytes, struct error *error)
{
    buffer_clear(bytes);
    return repository_read(repository, name, 0, REPOSITORY_OBJECT_BYTES, bytes, error);
}

void postgres_fixture_check_object(struct postgres_fixture *f, const char *name,
                                   struct slice expected)
{
    struct buffer bytes = BUFFER_EMPTY;

    postgres_fixture_check_ok(postgres_fixture_get(f->repository, name, &bytes, &f->error),
                              &f->error);
    assert_true(slice_equals(buffer_slice(&bytes), expected));
    buffer_close(&bytes);
}

static bool count_one(void *data, const struct repository_object *object)
{
    (void)object;
    ++*(unsigned *)data;
    return true;
}

enum status postgres_fixture_list(struct repository *repository, unsigned *n, struct error *error)
{
    *n = 0;
    return repository_list(repository, "", NULL, count_one, n, error);
}
