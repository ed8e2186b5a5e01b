/* What a raft_io gives at load: the snapshot (NULL: there is none) and the @n entries behind it, in
 * memory of libraft's. The consensus thread. */
#ifndef HOLDFAST_RAFT_LOADED_H
#define HOLDFAST_RAFT_LOADED_H

#include <raft.h>
#include <stddef.h>

/* Give each entry memory of its own; none is of a batch then. */
void loaded_separate(struct raft_entry *entries, size_t n);

/* Who votes, if it is one alone; else 0. By @configuration, or by the last one that was loaded. */
raft_id configuration_sole_voter(const struct raft_configuration *configuration);
raft_id loaded_sole_voter(const struct raft_snapshot *snapshot, const struct raft_entry *entries,
                          size_t n);

/* Release it all, where libraft will not take it. */
void loaded_release(struct raft_snapshot *snapshot, struct raft_entry *entries, size_t n);

#endif
