/* A store with one open write transaction, and commands executed in it one at a time, as the
 * machine does, without its entries. What is refused is proved to have left nothing behind. */
#ifndef HOLDFAST_TESTS_EXECUTION_FIXTURE_H
#define HOLDFAST_TESTS_EXECUTION_FIXTURE_H

#include "storage/execution.h"
#include "storage/keys.h"
#include "storage/view.h"

#define FIXTURE_NAMESPACE_ID 1
#define FIXTURE_START_MS     1700000000000

struct execution_fixture {
    char directory[64];
    struct store *store;
    struct execution execution;
    struct view view; /* Of what is executed. */
    uint64_t now_ms;  /* Of the next command; tests move it. */
    /* Of the last command. */
    struct operation_result result;
    bool took_revision;
    uint32_t n_changes;
};

/* For cmocka: a fixture in *state, and its end. */
int execution_fixture_setup(void **state);
int execution_fixture_teardown(void **state);

/* Execute one operation of the fixture's namespace; gives its outcome. */
enum outcome execution_run(struct execution_fixture *f, const struct operation *operation);

/* The revision of the last change. */
uint64_t execution_revision(const struct execution_fixture *f);

/* One step of maintenance at f->now_ms. */
struct maintained_row execution_maintain(struct execution_fixture *f, uint32_t max_records);
/* Steps until nothing is due. */
void execution_maintain_all(struct execution_fixture *f);

/* Records of @kind in the state. */
unsigned execution_count(struct execution_fixture *f, enum key_kind kind);

#endif
