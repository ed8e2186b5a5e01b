#include "tests/lib/log_model.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

/* --- Versions: a tree whose root, version 0, is the empty log --- */

struct version {
    uint64_t parent; /* Without the newest event, ... */
    uint64_t seq;    /* ... which is this. */
    uint64_t event;
};

struct log_versions {
    struct version *versions;
    size_t n;
    uint64_t *slots; /* Hash table of numbers of versions; 0: empty. */
    size_t n_slots;  /* A power of two, more than twice the versions. */
};

#define FIRST_SLOTS 1024u

struct log_versions *log_versions_open(void)
{
    struct log_versions *versions = memory_new_zeroed(1, sizeof *versions);

    versions->n = 1;
    versions->n_slots = FIRST_SLOTS;
    versions->versions = memory_new_zeroed(FIRST_SLOTS / 2, sizeof *versions->versions);
    versions->slots = memory_new_zeroed(FIRST_SLOTS, sizeof *versions->slots);
    return versions;
}

void log_versions_close(struct log_versions *versions)
{
    if (versions != NULL) {
        free(versions->versions);
        free(versions->slots);
        free(versions);
    }
}

/* The slot where @wanted is, or would go. */
static size_t find(const struct log_versions *versions, const struct version *wanted)
{
    size_t slot = XXH3_64bits(wanted, sizeof *wanted) & (versions->n_slots - 1);

    while (versions->slots[slot] != 0 &&
           memcmp(&versions->versions[versions->slots[slot]], wanted, sizeof *wanted) != 0) {
        slot = (slot + 1) & (versions->n_slots - 1);
    }
    return slot;
}

static void grow(struct log_versions *versions)
{
    free(versions->slots);
    versions->n_slots *= 2;
    versions->slots = memory_new_zeroed(versions->n_slots, sizeof *versions->slots);
    versions->versions =
        memory_resize(versions->versions, versions->n_slots / 2 * sizeof *versions->versions);
    for (size_t i = 1; i < versions->n; i++) {
        versions->slots[find(versions, &versions->versions[i])] = i;
    }
}

/* The version that @parent becomes with another event. */
static uint64_t with_event(struct log_versions *versions, uint64_t parent, uint64_t seq,
                           uint64_t event)
{
    struct version wanted = {.parent = parent, .seq = seq, .event = event};
    size_t slot = find(versions, &wanted);

    if (versions->slots[slot] == 0) {
        versions->slots[slot] = versions->n;
        versions->versions[versions->n++] = wanted;
        if (versions->n == versions->n_slots / 2) {
            grow(versions);
        }
        return versions->n - 1;
    }
    return versions->slots[slot];
}

/* --- The model --- */

struct log_state {
    uint64_t version;
    uint64_t n_numbers; /* Given so far: the next is one more. */
};

_Static_assert(sizeof(struct log_state) <= LINEARIZABILITY_STATE_BYTES, "a state has its place");

static void init(struct object_state *state)
{
    (void)state; /* Zeroed: empty. */
}

static uint64_t rewound(const struct log_versions *versions, uint64_t version, uint64_t after_seq)
{
    while (version != 0 && versions->versions[version].seq > after_seq) {
        version = versions->versions[version].parent;
    }
    return version;
}

static bool append(struct log_state *state, const struct log_operation *operation,
                   bool outcome_known)
{
    if (outcome_known && operation->first_seq != state->n_numbers + 1) {
        return false;
    }
    state->version = rewound(operation->versions, state->version, operation->truncate_after);
    for (unsigned i = 0; i < operation->n_events; i++) {
        state->n_numbers++;
        state->version = with_event(operation->versions, state->version, state->n_numbers,
                                    operation->first_event + i);
    }
    return true;
}

static bool shows(const struct log_state *state, const struct log_operation *operation)
{
    const struct version *versions = operation->versions->versions;
    uint64_t version = state->version;

    if (operation->last_seq != versions[version].seq) {
        return false;
    }
    for (unsigned i = operation->n_seen; i > 0; i--) {
        const struct log_event *seen = &operation->seen[i - 1];

        if (version == 0 || seen->seq != versions[version].seq ||
            seen->event != versions[version].event) {
            return false;
        }
        version = versions[version].parent;
    }
    return version == 0 || versions[version].seq <= operation->after_seq;
}

static bool step(struct object_state *state, const void *what, bool outcome_known)
{
    const struct log_operation *operation = what;
    struct log_state current;
    bool possible = true;

    CHECK(operation->versions != NULL);
    memcpy(&current, state->bytes, sizeof current);
    if (operation->action == LOG_APPEND) {
        possible = append(&current, operation, outcome_known);
    } else if (outcome_known) {
        possible = shows(&current, operation);
    }
    memcpy(state->bytes, &current, sizeof current);
    return possible;
}

const struct object_model log_model = {.init = init, .step = step};
