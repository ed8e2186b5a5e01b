/* How the search goes:
 *
 * 1. Calls and answers are put into one list by time. An operation may take effect next if its call
 *    stands before the first answer that is still in the list.
 * 2. The search takes the first such operation, by hints and then by time, that the model allows,
 *    lifts its call and answer out of the list, and starts again at the front.
 * 3. When none can be taken, it undoes its last choice and goes on with the one behind it.
 * 4. A configuration that was reached before is not entered again: it failed then.
 *
 * The list is empty of answers: linearizable. Nothing left to undo: not linearizable. */
#include "tests/lib/linearizability.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

/* --- The list of calls and answers --- */

struct node {
    struct node *prev;
    struct node *next;
    struct node *answer; /* Of a call; NULL for an answer. */
    size_t operation;
    uint64_t time;
};

static int compare_nodes(const void *a, const void *b)
{
    const struct node *left = *(struct node *const *)a;
    const struct node *right = *(struct node *const *)b;

    if (left->time != right->time) {
        return left->time < right->time ? -1 : 1;
    }
    /* At the same time, calls come first: the two may have been concurrent. */
    if ((left->answer == NULL) != (right->answer == NULL)) {
        return left->answer == NULL ? 1 : -1;
    }
    return left->operation < right->operation ? -1 : left->operation > right->operation;
}

static void lift(struct node *call)
{
    call->prev->next = call->next;
    call->next->prev = call->prev;
    call->answer->prev->next = call->answer->next;
    if (call->answer->next != NULL) {
        call->answer->next->prev = call->answer->prev;
    }
}

static void unlift(struct node *call)
{
    call->answer->prev->next = call->answer;
    if (call->answer->next != NULL) {
        call->answer->next->prev = call->answer;
    }
    call->prev->next = call;
    call->next->prev = call;
}

/* --- Configurations that were reached --- */

struct seen {
    uint64_t *words; /* Per slot: the words of the set, then the state. */
    bool *used;
    size_t slots; /* A power of two. */
    size_t count;
    size_t set_words;
    size_t words_per_slot;
};

#define STATE_WORDS (LINEARIZABILITY_STATE_BYTES / sizeof(uint64_t))

static void seen_init(struct seen *seen, size_t set_words)
{
    seen->slots = 1024;
    seen->count = 0;
    seen->set_words = set_words;
    seen->words_per_slot = set_words + STATE_WORDS;
    seen->words = memory_new_zeroed(seen->slots * seen->words_per_slot, sizeof(uint64_t));
    seen->used = memory_new_zeroed(seen->slots, sizeof(bool));
}

static void seen_close(struct seen *seen)
{
    free(seen->words);
    free(seen->used);
}

/* The slot where @words are, or would go. */
static size_t seen_find(const struct seen *seen, const uint64_t *words)
{
    size_t bytes = seen->words_per_slot * sizeof(uint64_t);
    size_t slot = XXH3_64bits(words, bytes) & (seen->slots - 1);

    while (seen->used[slot] &&
           memcmp(seen->words + slot * seen->words_per_slot, words, bytes) != 0) {
        slot = (slot + 1) & (seen->slots - 1);
    }
    return slot;
}

static void seen_grow(struct seen *seen)
{
    struct seen larger = *seen;

    larger.slots *= 2;
    larger.words = memory_new_zeroed(larger.slots * seen->words_per_slot, sizeof(uint64_t));
    larger.used = memory_new_zeroed(larger.slots, sizeof(bool));
    for (size_t i = 0; i < seen->slots; i++) {
        const uint64_t *words = seen->words + i * seen->words_per_slot;

        if (seen->used[i]) {
            size_t slot = seen_find(&larger, words);

            larger.used[slot] = true;
            memcpy(larger.words + slot * larger.words_per_slot, words,
                   larger.words_per_slot * sizeof(uint64_t));
        }
    }
    seen_close(seen);
    *seen = larger;
}

/* True if the configuration is new; it is remembered. @words has room for set and state. */
static bool seen_add(struct seen *seen, uint64_t *words, const struct object_state *state)
{
    size_t slot;

    memcpy(words + seen->set_words, state->bytes, sizeof state->bytes);
    slot = seen_find(seen, words);
    if (seen->used[slot]) {
        return false;
    }
    seen->used[slot] = true;
    memcpy(seen->words + slot * seen->words_per_slot, words,
           seen->words_per_slot * sizeof(uint64_t));
    seen->count++;
    if (seen->count > seen->slots / 2) {
        seen_grow(seen);
    }
    return true;
}

/* --- The search --- */

struct choice {
    struct node *call;
    struct object_state before;
};

struct search {
    const struct object_model *model;
    const struct history_operation *operations;
    size_t n;
    struct node *nodes; /* 2 n, and the head in front. */
    struct node head;
    struct choice *choices;
    size_t depth;
    size_t certain; /* Operations with a known outcome that were placed. */
    size_t n_certain;
    uint64_t *set; /* The placed operations, with room for the state behind. */
    struct seen seen;
};

static bool is_certain(const struct search *search, size_t operation)
{
    return search->operations[operation].answer != UINT64_MAX;
}

static void build_list(struct search *search)
{
    struct node **order = memory_new((2 * search->n + 1) * sizeof *order);
    struct node *last = &search->head;

    for (size_t i = 0; i < search->n; i++) {
        struct node *call = &search->nodes[2 * i];

        CHECK(search->operations[i].answer >= search->operations[i].call);
        call[0] =
            (struct node){.answer = &call[1], .operation = i, .time = search->operations[i].call};
        call[1] = (struct node){.operation = i, .time = search->operations[i].answer};
        order[2 * i] = &call[0];
        order[2 * i + 1] = &call[1];
        search->n_certain += is_certain(search, i);
    }
    qsort(order, 2 * search->n, sizeof *order, compare_nodes);
    for (size_t i = 0; i < 2 * search->n; i++) {
        last->next = order[i];
        order[i]->prev = last;
        last = order[i];
    }
    last->next = NULL;
    free(order);
}

static void flip(struct search *search, size_t operation)
{
    search->set[operation / 64] ^= 1ull << (operation % 64);
}

static void take(struct search *search, struct node *call, const struct object_state *before)
{
    search->choices[search->depth++] = (struct choice){.call = call, .before = *before};
    search->certain += is_certain(search, call->operation);
    lift(call);
}

static bool is_tried_before(const struct search *search, const struct node *a, const struct node *b)
{
    uint64_t left = search->operations[a->operation].hint;
    uint64_t right = search->operations[b->operation].hint;

    return left != right ? left < right : compare_nodes(&a, &b) < 0;
}

/* Of the operations that may take effect next, the one to try behind @after (NULL: the first). */
static struct node *next_candidate(const struct search *search, const struct node *after)
{
    struct node *best = NULL;

    for (struct node *node = search->head.next; node != NULL && node->answer != NULL;
         node = node->next) {
        if ((after == NULL || is_tried_before(search, after, node)) &&
            (best == NULL || is_tried_before(search, node, best))) {
            best = node;
        }
    }
    return best;
}

/* The first answer whose call was not placed; NULL: there is none. */
static const struct node *first_answer(const struct search *search)
{
    const struct node *node = search->head.next;

    while (node != NULL && node->answer != NULL) {
        node = node->next;
    }
    return node;
}

/* Undo the last choice; gives where to go on. */
static struct node *give_back(struct search *search, struct object_state *state)
{
    struct choice *last = &search->choices[--search->depth];

    *state = last->before;
    unlift(last->call);
    flip(search, last->call->operation);
    search->certain -= is_certain(search, last->call->operation);
    return next_candidate(search, last->call);
}

/* Take @operation next, if the model allows and that was not tried before. */
static bool try_next(struct search *search, struct node *call, struct object_state *state)
{
    struct object_state next = *state;
    size_t operation = call->operation;

    if (!search->model->step(&next, search->operations[operation].what,
                             is_certain(search, operation))) {
        return false;
    }
    flip(search, operation);
    if (!seen_add(&search->seen, search->set, &next)) {
        flip(search, operation);
        return false;
    }
    take(search, call, state);
    *state = next;
    return true;
}

static enum linearizability run(struct search *search, size_t max_configurations, size_t *furthest)
{
    struct node *node = next_candidate(search, NULL);
    struct object_state state = {{0}};
    size_t best = 0;

    search->model->init(&state);
    while (search->certain < search->n_certain) {
        const struct node *stuck;

        if (node != NULL) {
            node = next_candidate(search, try_next(search, node, &state) ? NULL : node);
            continue;
        }
        /* Something before was placed wrongly. */
        stuck = first_answer(search);
        if (stuck != NULL && search->depth >= best) {
            best = search->depth;
            if (furthest != NULL) {
                *furthest = stuck->operation;
            }
        }
        if (search->depth == 0) {
            return NOT_LINEARIZABLE;
        }
        if (search->seen.count > max_configurations) {
            return LINEARIZABILITY_UNDECIDED;
        }
        node = give_back(search, &state);
    }
    return LINEARIZABLE;
}

enum linearizability linearizability_check(const struct object_model *model,
                                           const struct history_operation *operations, size_t n,
                                           size_t max_configurations, size_t *furthest)
{
    struct search search = {.model = model, .operations = operations, .n = n};
    size_t set_words = (n + 63) / 64;
    enum linearizability result;

    search.nodes = memory_new_zeroed(2 * n, sizeof *search.nodes);
    search.choices = memory_new_zeroed(n, sizeof *search.choices);
    search.set = memory_new_zeroed(set_words + STATE_WORDS, sizeof *search.set);
    seen_init(&search.seen, set_words);
    build_list(&search);
    result = run(&search, max_configurations, furthest);
    seen_close(&search.seen);
    free(search.set);
    free(search.choices);
    free(search.nodes);
    return result;
}

/* --- The register --- */

struct register_state {
    uint64_t value; /* 0: absent. */
};

static void register_init(struct object_state *state)
{
    (void)state; /* Zeroed: absent. */
}

static bool register_step(struct object_state *state, const void *what, bool outcome_known)
{
    const struct register_operation *operation = what;
    struct register_state current;

    memcpy(&current, state->bytes, sizeof current);
    switch (operation->action) {
    case REGISTER_READ:
        return !outcome_known || current.value == operation->value;
    case REGISTER_WRITE:
        current.value = operation->value;
        break;
    case REGISTER_CAS:
        if (outcome_known && operation->succeeded != (current.value == operation->expected)) {
            return false;
        }
        if (current.value == operation->expected) {
            current.value = operation->value;
        }
        break;
    case REGISTER_DELETE:
        if (outcome_known && operation->succeeded != (current.value != 0)) {
            return false;
        }
        current.value = 0;
        break;
    }
    memcpy(state->bytes, &current, sizeof current);
    return true;
}

const struct object_model register_model = {.init = register_init, .step = register_step};
