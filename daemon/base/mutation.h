/* Planted bugs: each place where MUTATION() stands does the wrong thing when the bug of that name
 * is selected, so that the simulator can be seen to notice it (docs/testing.md).
 *
 * In ordinary builds MUTATION() is the constant false, and nothing of it is in the program. A build
 * configured with --enable-mutations is for tests only; there one bug is selected before any thread
 * starts. */
#ifndef HOLDFAST_BASE_MUTATION_H
#define HOLDFAST_BASE_MUTATION_H

#include <stdbool.h>
#include <stdio.h>

#define MUTATION_LIST(X)                                                                           \
    X(none)                                                                                        \
    X(announced_without_end)                                                                       \
    X(batch_never_full)                                                                            \
    X(bundle_of_other_term_taken)                                                                  \
    X(bundle_taken_twice)                                                                          \
    X(bundles_kept_over_terms)                                                                     \
    X(condition_ignored)                                                                           \
    X(event_ids_forgotten)                                                                         \
    X(expires_early)                                                                               \
    X(expires_late)                                                                                \
    X(fastest_clock_followed)                                                                      \
    X(follower_never_full)                                                                         \
    X(keys_forgotten)                                                                              \
    X(leader_never_waits)                                                                          \
    X(level_of_one_for_all)                                                                        \
    X(memory_not_read)                                                                             \
    X(memtable_kept)                                                                               \
    X(never_settled)                                                                               \
    X(not_sent_again)                                                                              \
    X(numbers_used_again)                                                                          \
    X(one_copy_refused_is_all)                                                                     \
    X(peer_queue_never_full)                                                                       \
    X(proposer_never_full)                                                                         \
    X(read_round_never_given_up)                                                                   \
    X(record_depends_on_node)                                                                      \
    X(revision_not_taken)                                                                          \
    X(rewind_leaves_one)                                                                           \
    X(rule10_earlier_table)                                                                        \
    X(rule10_not_matched)                                                                          \
    X(rule10_sole_voter_keeps_term)                                                                \
    X(rule10_standby_never_votes)                                                                  \
    X(rule16_barrier_not_awaited)                                                                  \
    X(rule16_majority_not_asked)                                                                   \
    X(rule16_other_terms_counted)                                                                  \
    X(rule17_pointer_without_state)                                                                \
    X(rule3_index_of_commit)                                                                       \
    X(rule4_lost_log_accepted)                                                                     \
    X(rule4_stored_beyond_commit)                                                                  \
    X(rule5_failed_write_goes_on)                                                                  \
    X(rule6_pointer_before_state)                                                                  \
    X(rule7_log_never_cut)                                                                         \
    X(rule8_install_while_taking)                                                                  \
    X(rule8_wrong_hint)                                                                            \
    X(rule9_commit_goes_back)                                                                      \
    X(settled_too_early)                                                                           \
    X(slow_disk_leads_on)                                                                          \
    X(state_depends_on_node)                                                                       \
    X(time_goes_back)                                                                              \
    X(told_before_stored)                                                                          \
    X(uncertain_called_refused)                                                                    \
    X(unexecuted_called_executed)                                                                  \
    X(unexecuted_called_refused)                                                                   \
    X(unsent_kept)                                                                                 \
    X(vote_not_stored)                                                                             \
    X(votes_for_all)

enum mutation {
#define MUTATION_ENUM(name) MUTATION_##name,
    MUTATION_LIST(MUTATION_ENUM)
#undef MUTATION_ENUM
};

#ifdef HOLDFAST_MUTATIONS
extern enum mutation mutation_selected;
#define MUTATION(name) (mutation_selected == MUTATION_##name)
#else
#define MUTATION(name) false
#endif

/* False if there is no bug called @name, or none at all in this build. */
bool mutation_select(const char *name);

/* Write the names, one per line; nothing in an ordinary build. */
void mutation_list(FILE *file);

#endif
