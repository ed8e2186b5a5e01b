/* What the archive and the mirror need of a node: what it executes, who it is, and whether it is
 * the one that writes to what all nodes share. */
#include <stdlib.h>

#include "daemon/base/memory.h"
#include "raft/node_private.h"
#include "storage/archive/archive.h"
#include "storage/archive/mirror.h"

enum status node_open_journal(struct node *node, struct error *error)
{
    const struct journal_options options = {
        .directory = identity_journal_directory(node->directory),
        .reserve_bytes = 2 * node->options.free_disk_floor_bytes,
    };

    if (node->options.archive == NULL || archive_is_off(node->options.archive)) {
        return STATUS_OK;
    }
    return journal_open(&options, &node->journal, error);
}

/* The status is too large for a stack that others use too. */
static struct node_status *get_status(struct node *node)
{
    struct node_status *status = memory_new(sizeof *status);

    node_status(node, status);
    return status;
}

/* A node that is about to get another state waits: what it has leads nowhere. */
static bool identify(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id)
{
    const uint32_t causes = NODE_CAUSE_FORMING | NODE_CAUSE_JOINING | NODE_CAUSE_NEEDS_STATE;
    struct node_status *status = get_status(data);
    bool is_member =
        status->id != 0 && status->cluster_id[0] != '\0' && (status->causes & causes) == 0;

    if (is_member) {
        memcpy(cluster_id, status->cluster_id, NAMES_CLUSTER_BYTES + 1);
        *node_id = status->id;
    }
    free(status);
    return is_member;
}

static bool can_archive(const struct node_member *member)
{
    return (member->role == NODE_ROLE_VOTER || member->role == NODE_ROLE_STANDBY) &&
           member->healthy && !member->needs_state && !member->is_leaving;
}

/* The well member with the lowest id, the leader only if there is no other. Each node judges by
 * what it knows; that two think it of themselves for a while, or nobody does, costs nothing but
 * time. One that has started and does not know yet what was acknowledged before would call the
 * archive complete when it is not. */
static bool is_chosen(void *data)
{
    struct node_status *status = get_status(data);
    uint64_t chosen = 0;
    bool is_own;

    for (unsigned i = 0; i < status->n_members; i++) {
        const struct node_member *member = &status->members[i];

        if (can_archive(member) && member->id != status->leader_id &&
            (chosen == 0 || member->id < chosen)) {
            chosen = member->id;
        }
    }
    chosen = chosen == 0 ? status->leader_id : chosen;
    is_own = chosen != 0 && chosen == status->id && (status->causes & NODE_CAUSE_BEHIND) == 0;
    free(status);
    return is_own;
}

enum status node_open_archive(struct node *node, struct error *error)
{
    const struct archive_options options = {
        .urls = node->options.archive,
        .key_file = node->options.archive_key_file,
        .local_directory = identity_archive_directory(node->directory),
        .work_directory = identity_work_directory(node->directory),
        .local_bytes = node->options.archive_local_bytes,
        .archiver =
            {
                .store = node->store,
                .journal = node->journal,
                .node = node->name,
                .program = node->version,
                .schedule = {.delta_ms = node->options.archive_delta_ms,
                             .full_ms = node->options.archive_full_ms},
                .retention = retention_of_days(node->options.archive_retention_days == 0
                                                   ? RETENTION_DAYS
                                                   : node->options.archive_retention_days),
                .bytes_per_second = node->options.transfer_rate,
                .reserve_bytes = 2 * node->options.free_disk_floor_bytes,
                .data = node,
                .identify = identify,
                .is_chosen = is_chosen,
            },
    };

    return node->journal == NULL ? STATUS_OK : archive_open(&options, &node->archive, error);
}

enum status node_open_mirror(struct node *node, struct error *error)
{
    const struct mirror_options options = {
        .url = node->options.mirror,
        .store = node->store,
        .node = node->name,
        .data = node,
        .identify = identify,
        .is_chosen = is_chosen,
    };

    return options.url == NULL ? STATUS_OK : mirror_open(&options, &node->mirror, error);
}
