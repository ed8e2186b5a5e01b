/* For tests: a store in a directory of its own, a machine on it, and entries made from commands.
 *
 * What goes wrong where a test does not expect it ends the test. */
#ifndef HOLDFAST_TESTS_LIB_STATE_H
#define HOLDFAST_TESTS_LIB_STATE_H

#include "storage/command.h"
#include "storage/machine.h"
#include "storage/result.h"
#include "storage/view.h"

#define STATE_START_MS 1700000000000ull
#define STATE_ORIGIN   7u

struct state_fixture {
    char directory[64];
    struct store *store;
    struct machine *machine;
    struct view view;
    struct error error;
    uint64_t map_bytes;  /* For the next state_open(). */
    unsigned damages;    /* How often on_damage() was called. */
    uint64_t index;      /* Of the last entry. */
    uint64_t now_ms;     /* The time of the next entry. */
    uint16_t flags;      /* Of the next entries. */
    struct buffer entry; /* The last one, encoded. */
    struct buffer results[8];
    unsigned n_results; /* Of the last entry. */
};

/* The result of a command of the last entry, and its first operation. Borrows from the fixture. */
struct state_answer {
    struct result result;
    struct operation_result first;
};

/* cmocka's setup and teardown: *state is the fixture. */
int state_setup(void **state);
int state_teardown(void **state);
struct state_fixture *state_new(void);
void state_free(struct state_fixture *f);

/* Commit what was executed, so that views see it. */
void state_commit(struct state_fixture *f);
/* Commit, and make all of it durable. */
void state_flush(struct state_fixture *f);
/* Close everything without a flush, and open it again; or do one half of it. */
void state_close(struct state_fixture *f);
void state_open(struct state_fixture *f);
void state_reopen(struct state_fixture *f);

/* Encode commands into the entry of the next index; state_execute_entry() executes it. */
void state_make_entry(struct state_fixture *f, const struct command *commands, unsigned n);
MUST_USE enum status state_try_entry(struct state_fixture *f);
void state_execute_entry(struct state_fixture *f);

/* Execute one command as an entry; or one operation as a command in "default", or in none if it is
 * not one of a namespace. */
struct state_answer state_execute(struct state_fixture *f, const struct command *command);
struct state_answer state_operate(struct state_fixture *f, const struct operation *operation);
/* The answer of command @nth of the last entry. */
struct state_answer state_answer(struct state_fixture *f, unsigned nth);

/* Maintain until nothing is due, in steps of @max_records; gives the number of steps. */
unsigned state_maintain(struct state_fixture *f, uint32_t max_records);

/* Commit, and count the records whose key begins with @kind (0: all). */
uint64_t state_count(struct state_fixture *f, uint8_t kind);
/* Commit, and give the hash of the state. */
void state_hash(struct state_fixture *f, uint64_t hash[2]);
/* Commit, and open the view; ended by state_view_end(). */
struct view *state_view(struct state_fixture *f);
void state_view_end(struct state_fixture *f);
/* The id and the counters of "default". */
uint64_t state_default_id(struct state_fixture *f);
struct namespace_counters state_counters(struct state_fixture *f);

/* Operations on items. */
struct operation item_put(const char *key, const char *value);
struct operation item_delete(const char *key);

#endif
