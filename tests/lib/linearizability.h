/* Was a history of concurrent operations on one object linearizable?
 *
 * The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's
 * improvement ("Testing for linearizability", 2017): a configuration (the set of operations that
 * took effect, and the state they led to) that failed once is never tried again. The caller splits
 * a history by key first, as objects are independent (Herlihy and Wing, locality).
 *
 * An operation whose outcome is unknown may have taken effect at any time after its call, or never.
 * Pure; one thread. */
#ifndef HOLDFAST_TESTS_LINEARIZABILITY_H
#define HOLDFAST_TESTS_LINEARIZABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state of the object: small, compared by its bytes (so unused ones must be zero). */
#define LINEARIZABILITY_STATE_BYTES 32

struct object_state {
    uint8_t bytes[LINEARIZABILITY_STATE_BYTES];
};

struct history_operation {
    uint64_t call;    /* Any clock that all clients share. */
    uint64_t answer;  /* At or after @call; UINT64_MAX: the outcome is unknown. */
    const void *what; /* Input and output, as the model knows them. */
    uint64_t hint;    /* Where it may have taken effect: lower ones are tried first. Any number. */
};

/* What the object is. */
struct object_model {
    /* Fill in the state before the first operation. The struct was zeroed. */
    void (*init)(struct object_state *state);
    /* Could @operation, taking effect on @state, have given the output that it gave? If so, change
     * @state by it. When @outcome_known is false, any output is possible, also a failure that
     * leaves the state as it is (which the search tries by itself). */
    bool (*step)(struct object_state *state, const void *what, bool outcome_known);
};

enum linearizability { LINEARIZABLE, NOT_LINEARIZABLE, LINEARIZABILITY_UNDECIDED };

/* Check @n operations in any order. Gives up with LINEARIZABILITY_UNDECIDED after trying
 * @max_configurations of them. With NOT_LINEARIZABLE, *@furthest (may be NULL) is the index in
 * @operations of the one that could not be placed when the search had come furthest. */
enum linearizability linearizability_check(const struct object_model *model,
                                           const struct history_operation *operations, size_t n,
                                           size_t max_configurations, size_t *furthest);

/* --- A model (log_model.h has another) --- */

/* A register with compare-and-set: an item whose versions are its revisions. */
enum register_action { REGISTER_READ, REGISTER_WRITE, REGISTER_CAS, REGISTER_DELETE };

struct register_operation {
    enum register_action action;
    uint64_t value;    /* WRITE, CAS: the new value, not 0. READ: what was read; 0: absent. */
    uint64_t expected; /* CAS: the value that had to be there; 0: absent. */
    bool succeeded;    /* CAS, DELETE: false if it found something else (DELETE: nothing). */
};

extern const struct object_model register_model;

#endif
