/* Comparing the state of this node with that of the others: when it is told and judged, and what
 * follows. Which indexes, and who is right: comparison.h. */
#include <inttypes.h>

#include "raft/agreement_private.h"

#define TELL_PERIOD_MS 1000u

static void tell_others(struct agreement *agreement)
{
    struct frame frame = {.type = FRAME_MARKS};

    comparison_tell(&agreement->comparison, &frame.marks);
    for (unsigned i = 0; frame.marks.n_marks > 0 && i < agreement->n_peers; i++) {
        /* If it is lost, the next one says it again. */
        (void)agreement->options.send(agreement->options.data, agreement->peers[i].id, &frame);
    }
}

/* Let the log say who differs, once, and who does not any more. */
static void note_differences(struct agreement *agreement)
{
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        struct agreement_peer *peer = &agreement->peers[i];
        bool differs = comparison_differs(&agreement->comparison, peer->id);

        if (differs && !peer->state_differs) {
            log_warn("raft", "the state of a member differs from the one here member=%016" PRIx64,
                     peer->id);
        } else if (!differs && peer->state_differs) {
            log_info("raft", "the state of a member is the one here again member=%016" PRIx64,
                     peer->id);
        }
        peer->state_differs = differs;
    }
}

static void note_split(struct agreement *agreement, uint64_t index)
{
    if (index != 0 && !agreement->states_are_split) {
        log_error("raft",
                  "no majority of the voters has the same state, so that nobody knows which is "
                  "right: compare what they show, and keep the members that are index=%" PRIu64,
                  index);
    }
    agreement->states_are_split = index != 0;
}

static void end_wrong(struct agreement *agreement, const struct comparison_verdict *verdict,
                      unsigned n_voters)
{
    struct error error;

    error_set(&error, STATUS_CORRUPT,
              "the state of this node is not that of the cluster: at index %" PRIu64
              " its hash is %016" PRIx64 "%016" PRIx64 ", and %u of %u voters have %016" PRIx64
              "%016" PRIx64,
              verdict->wrong_index, verdict->hash[1], verdict->hash[0], verdict->n_others, n_voters,
              verdict->others[1], verdict->others[0]);
    agreement_exit(agreement, NODE_EXIT_DAMAGED, &error);
}

static void judge(struct agreement *agreement)
{
    struct comparison_verdict verdict;
    uint64_t voters[LIMIT_MEMBERS];
    unsigned n_voters = 0;

    if (agreement->own_role == NODE_ROLE_VOTER) {
        voters[n_voters++] = agreement->options.self;
    }
    for (unsigned i = 0; i < agreement->n_peers && n_voters < LIMIT_MEMBERS; i++) {
        if (agreement->peers[i].role == NODE_ROLE_VOTER) {
            voters[n_voters++] = agreement->peers[i].id;
        }
    }
    comparison_judge(&agreement->comparison, voters, n_voters, &verdict);
    note_differences(agreement);
    note_split(agreement, verdict.split_index);
    if (verdict.wrong_index != 0) {
        end_wrong(agreement, &verdict, n_voters);
    }
}

void agreement_on_state(struct agreement *agreement, uint64_t peer, const struct frame_marks *state)
{
    comparison_heard(&agreement->comparison, peer, state);
    judge(agreement);
}

void agreement_watch_states(struct agreement *agreement)
{
    uint64_t ids[LIMIT_MEMBERS];

    if (agreement->now_ms - agreement->told_ms < TELL_PERIOD_MS) {
        return;
    }
    agreement->told_ms = agreement->now_ms;
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        ids[i] = agreement->peers[i].id;
    }
    comparison_keep(&agreement->comparison, ids, agreement->n_peers);
    judge(agreement);
    tell_others(agreement);
}
