/* What tests of repositories in PostgreSQL share: one server for all tests of a program, and for
 * each test a schema of its own in the database "archive", which the role "keeper" owns. */
#ifndef HOLDFAST_TESTS_POSTGRES_FIXTURE_H
#define HOLDFAST_TESTS_POSTGRES_FIXTURE_H

#include "storage/archive/repository.h"
#include "tests/lib/postgres_server.h"
#include "tests/lib/relay.h"

#define POSTGRES_FIXTURE_PASSWORD "se/cr@t"
#define POSTGRES_FIXTURE_LIMIT_MS 60000
/* Three chunks. */
#define POSTGRES_FIXTURE_LARGE_BYTES (2u * 1024 * 1024 + 17)

struct postgres_fixture {
    struct postgres_server *server;
    const char *missing; /* NULL: nothing. */
    char schema[32];
    struct repository *repository;
    struct relay relay; /* In between, if it was started. */
    struct error error;
    /* The code under test asks whether it is canceled at each of its steps; so can it be disturbed
     * there. At step number @nth (from 1; 0: never) @disturb (NULL: none) is called, and then the
     * answer is @is_canceled. */
    unsigned nth;
    unsigned n_steps; /* Since postgres_fixture_arm(). */
    void (*disturb)(struct postgres_fixture *f);
    bool is_canceled;
};

/* For cmocka: of a group, and of each test. A test begins with postgres_fixture_need(). */
int postgres_fixture_open_group(void **state);
int postgres_fixture_close_group(void **state);
int postgres_fixture_open(void **state);
int postgres_fixture_close(void **state);

/* Skips the test, loudly, if there is no server to be had. */
void postgres_fixture_need(const struct postgres_fixture *f);

/* A URL of the test's schema, as this role, over this port; static. */
const char *postgres_fixture_url(const struct postgres_fixture *f, const char *role, unsigned port);

/* A repository there, which tries for a minute; ends the test if the URL is not good. */
struct repository *postgres_fixture_repository(struct postgres_fixture *f, const char *url);

void postgres_fixture_arm(struct postgres_fixture *f, unsigned nth,
                          void (*disturb)(struct postgres_fixture *f), bool is_canceled);
/* True if the step was reached. */
bool postgres_fixture_disarm(struct postgres_fixture *f);

/* End the connections of the code under test, and see that they are gone. */
void postgres_fixture_terminate(struct postgres_fixture *f);

/* The number that @sql counts in the schema. */
unsigned postgres_fixture_count(const struct postgres_fixture *f, const char *sql);

/* Each chunk is of an object or an upload, and of one only; each object has all its bytes. Ends the
 * test if not. */
void postgres_fixture_check(const struct postgres_fixture *f);

/* So many bytes, which depend on @first, 1 or 2; they stay for the program. */
struct slice postgres_fixture_large(uint8_t first);

/* These end the test if what they do fails. */
void postgres_fixture_check_ok(enum status status, const struct error *error);
void postgres_fixture_put(struct postgres_fixture *f, const char *name, struct slice bytes);
void postgres_fixture_check_object(struct postgres_fixture *f, const char *name,
                                   struct slice expected);

/* All of an object, in place of what @bytes held; and the number of all objects. */
enum status postgres_fixture_get(struct repository *repository, const char *name,
                                 struct buffer *bytes, struct error *error);
enum status postgres_fixture_list(struct repository *repository, unsigned *n, struct error *error);

#endif
