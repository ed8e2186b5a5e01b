/* A state that a test changes itself, and mirrors of it, in this process, in a real PostgreSQL
 * server. Main thread: what fails ends the test. */
#ifndef HOLDFAST_TESTS_MIRROR_FIXTURE_H
#define HOLDFAST_TESTS_MIRROR_FIXTURE_H

#include <stdatomic.h>

#include "storage/archive/mirror.h"
#include "tests/lib/postgres_fixture.h"
#include "tests/lib/state.h"

#define MIRROR_FIXTURE_MS      60000
#define MIRROR_FIXTURE_CLUSTER "01234567-89ab-cdef-0123-456789abcdef"

struct mirror_fixture {
    struct postgres_fixture *pg;
    struct state_fixture *state;
    struct mirror *mirrors[2];
    const char *cluster_id; /* That the mirrors are told. */
    atomic_bool is_chosen;  /* Likewise. */
    uint64_t stand_in_ms;   /* Of the next one that is started. */
    uint64_t random;
};

/* For cmocka, of each test; of a group: postgres_fixture_open_group() and its end. */
int mirror_fixture_open(void **state);
int mirror_fixture_close(void **state);

/* Start one of the mirrors; or the first one, as the owner of the schema, and end that. A test
 * begins with postgres_fixture_need(), or with mirror_fixture_begin(), which calls it. */
void mirror_fixture_start(struct mirror_fixture *f, unsigned number, const char *url);
void mirror_fixture_begin(struct mirror_fixture *f);
void mirror_fixture_end(struct mirror_fixture *f);

/* Of the first mirror. */
struct mirror_status mirror_fixture_status(struct mirror_fixture *f);
/* For wait_until(): it fails, and says why. */
bool mirror_fixture_has_failed(void *data);

/* Random work (state_work.h), and the revision of the state. */
void mirror_fixture_work(struct mirror_fixture *f, unsigned n);
uint64_t mirror_fixture_revision(struct mirror_fixture *f);

/* Wait until the first mirror says that the tables are where the state is; and then compare them,
 * row by row. */
void mirror_fixture_await(struct mirror_fixture *f);
void mirror_fixture_check(struct mirror_fixture *f);

/* Execute statements as "admin"; up to two "%s" in them are the schema's name. */
void mirror_fixture_ask(struct mirror_fixture *f, const char *format);

#endif
