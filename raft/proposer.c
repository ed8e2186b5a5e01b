#include "raft/proposer.h"

#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"
#include "storage/command.h"
#include "storage/entry.h"

struct waiting {
    struct link link;
    uint32_t n_commands;
    struct buffer bundle;
};

void proposer_init(struct proposer *proposer)
{
    *proposer = (struct proposer){.max_bytes = LIMIT_PENDING_BYTES};
    queue_init(&proposer->waiting);
}

static void drop_first(struct proposer *proposer)
{
    struct waiting *first = CONTAINER_OF(queue_pop(&proposer->waiting), struct waiting, link);

    proposer->bytes -= first->bundle.size;
    buffer_close(&first->bundle);
    free(first);
}

void proposer_lead(struct proposer *proposer, uint64_t term)
{
    if (proposer->term == term) {
        return;
    }
    while (!queue_is_empty(&proposer->waiting) && !MUTATION(bundles_kept_over_terms)) {
        drop_first(proposer);
    }
    proposer->term = term;
    proposer->n_in_flight = 0;
    proposer->n_taken = 0;
    proposer->has_begun = false;
    memset(proposer->origins, 0, sizeof proposer->origins);
}

/* --- Accepting --- */

/* What is known of a boot of a member; the one used longest ago makes place. */
static struct proposer_origin *origin_of(struct proposer *proposer, uint64_t id, uint64_t boot)
{
    struct proposer_origin *oldest = &proposer->origins[0];

    proposer->clock++;
    for (unsigned i = 0; i < PROPOSER_ORIGINS; i++) {
        struct proposer_origin *origin = &proposer->origins[i];

        if (origin->id == id && origin->boot == boot) {
            origin->used = proposer->clock;
            return origin;
        }
        if (origin->used < oldest->used) {
            oldest = origin;
        }
    }
    *oldest = (struct proposer_origin){.id = id, .boot = boot, .used = proposer->clock};
    return oldest;
}

static bool was_refused(const struct proposer_origin *origin, uint64_t sequence)
{
    for (unsigned i = 0; i < PROPOSER_REFUSED && i < origin->n_refused; i++) {
        if (origin->refused[i] == sequence) {
            return true;
        }
    }
    return false;
}

/* A damaged command in the log would stop every node: look at each before it gets there. */
static bool is_valid(const struct bundle *bundle)
{
    struct slice walk = bundle->commands;
    struct slice bytes;
    struct command command;

    if (bundle->n_commands == 0 || bundle->sequence == 0) {
        return false;
    }
    while (bundle_next_command(&walk, &bytes)) {
        if (command_decode(bytes, &command, NULL) != STATUS_OK) {
            return false;
        }
        command_close(&command);
    }
    return true;
}

static void add(struct proposer *proposer, struct slice bytes, uint32_t n_commands)
{
    struct waiting *waiting = memory_new_zeroed(1, sizeof *waiting);

    waiting->n_commands = n_commands;
    buffer_append_slice(&waiting->bundle, bytes);
    queue_push(&proposer->waiting, &waiting->link);
    proposer->bytes += bytes.size;
}

bool proposer_accept(struct proposer *proposer, uint64_t peer, struct slice bytes,
                     enum refusal *refusal)
{
    struct proposer_origin *origin;
    struct bundle bundle;

    CHECK(proposer->term != 0);
    if (bundle_decode(bytes, &bundle) != STATUS_OK || bundle.origin != peer) {
        *refusal = REFUSAL_INVALID;
        return false;
    }
    origin = origin_of(proposer, bundle.origin, bundle.boot);
    if (bundle.sequence <= origin->last_sequence && !MUTATION(bundle_taken_twice)) {
        *refusal = REFUSAL_BUSY;
        return !was_refused(origin, bundle.sequence);
    }
    origin->last_sequence = bundle.sequence;
    if (!is_valid(&bundle)) {
        *refusal = REFUSAL_INVALID;
    } else if (proposer->bytes + bytes.size > proposer->max_bytes &&
               !MUTATION(proposer_never_full)) {
        *refusal = REFUSAL_BUSY;
    } else {
        add(proposer, bytes, bundle.n_commands);
        return true;
    }
    origin->refused[origin->n_refused++ % PROPOSER_REFUSED] = bundle.sequence;
    return false;
}

/* --- Proposing --- */

bool proposer_has_room(const struct proposer *proposer)
{
    return proposer->term != 0 && proposer->n_in_flight < LIMIT_ENTRIES_IN_FLIGHT;
}

bool proposer_gathers(const struct proposer *proposer, uint64_t now_ms)
{
    return proposer->has_begun && proposer->n_proposed_commands >= PROPOSER_CROWD &&
           (now_ms == proposer->proposed_ms || proposer->n_in_flight > 0) &&
           proposer->bytes < LIMIT_ENTRY_BYTES / 2;
}

void proposer_make(struct proposer *proposer, unsigned feature_level, uint16_t flags,
                   uint64_t time_ms, struct buffer *entry)
{
    struct link *link = queue_first(&proposer->waiting);

    CHECK(proposer_has_room(proposer));
    proposer->n_taken = 0;
    proposer->n_taken_commands = 0;
    entry_begin(entry, feature_level, flags, proposer->term, time_ms);
    while (link != NULL) {
        const struct waiting *waiting = CONTAINER_OF(link, struct waiting, link);

        if (proposer->n_taken > 0 && entry->size + waiting->bundle.size > LIMIT_ENTRY_BYTES) {
            break;
        }
        entry_add_bundle(entry, buffer_slice(&waiting->bundle));
        proposer->n_taken++;
        proposer->n_taken_commands += waiting->n_commands;
        link = queue_next(&proposer->waiting, link);
    }
    entry_finish(entry);
    proposer->entry_bytes = entry->size;
}

void proposer_proposed(struct proposer *proposer, uint64_t index, uint64_t now_ms)
{
    CHECK(proposer_has_room(proposer));
    proposer->in_flight[proposer->n_in_flight++] = index;
    proposer->has_begun = true;
    proposer->n_entries++;
    proposer->n_commands += proposer->n_taken_commands;
    proposer->n_proposed_commands = proposer->n_taken_commands;
    proposer->proposed_ms = now_ms;
    proposer->n_bytes += proposer->entry_bytes;
    for (; proposer->n_taken > 0; proposer->n_taken--) {
        drop_first(proposer);
    }
}

void proposer_committed(struct proposer *proposer, uint64_t index)
{
    unsigned n = 0;

    for (unsigned i = 0; i < proposer->n_in_flight; i++) {
        if (proposer->in_flight[i] > index) {
            proposer->in_flight[n++] = proposer->in_flight[i];
        }
    }
    proposer->n_in_flight = n;
}

void proposer_close(struct proposer *proposer)
{
    proposer_lead(proposer, 0);
}
