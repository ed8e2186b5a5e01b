/* The change log: one record per revision, with what it changed and no contents.
 *
 *   record   u8 version, u64 time_ms, u32 number of changes, changes
 *   change   u8 resource, u8 action, u64 namespace id, bytes name, agent_id, user_id
 *
 * Of at most LIMIT_CHANGES revisions, and of LIMIT_CHANGES_MS: who asks for older ones is told that
 * they are compacted. The apply thread writes, any thread reads. */
#ifndef HOLDFAST_STORAGE_CHANGE_H
#define HOLDFAST_STORAGE_CHANGE_H

#include "storage/execution.h"

struct change {
    enum change_resource resource;
    enum change_action action;
    uint64_t namespace_id; /* 0 with RESOURCE_NAMESPACE. */
    struct slice name;
    struct slice agent_id; /* Empty: none. */
    struct slice user_id;  /* Empty: none. */
};

struct change_set {
    uint64_t revision;
    uint64_t time_ms;
    uint32_t n_changes;
    struct slice changes; /* Borrowed; walk it with change_next(). */
};

/* Append the record of execution->revision, and drop the one that LIMIT_CHANGES pushes out. */
MUST_USE enum status change_append(struct execution *execution);

/* The record of @revision. STATUS_NOT_FOUND; STATUS_CORRUPT, STATUS_UNSUPPORTED. */
MUST_USE enum status change_read(struct txn *txn, uint64_t revision, struct change_set *set);

/* The next change of a set; false behind the last. @walk starts as set->changes. */
bool change_next(struct slice *walk, struct change *change);

/* The oldest record. STATUS_END if there is none. */
MUST_USE enum status change_oldest(struct txn *txn, struct change_set *set);

/* When a record of @time_ms is to be removed. Some time passes after LIMIT_CHANGES_MS, so that one
 * step removes many. */
uint64_t change_due_ms(uint64_t time_ms);

/* Remove records that are older than LIMIT_CHANGES_MS at @now_ms. */
MUST_USE enum status change_trim(struct txn *txn, uint64_t now_ms, uint32_t *budget);

#endif
