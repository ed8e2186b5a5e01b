#include "api/metrics_node.h"

#include "daemon/base/log.h"
#include "raft/node.h"
#include "storage/applier.h"
#include "storage/image_spool.h"
#include "storage/store.h"

void metric_begin(struct buffer *text, const char *name, const char *type, const char *help)
{
    buffer_append_format(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metric_number(struct buffer *text, const char *name, const char *type, const char *help,
                   uint64_t number)
{
    metric_begin(text, name, type, help);
    buffer_append_format(text, "%s %llu\n", name, (unsigned long long)number);
}

/* A count, and the time that was spent: their ratio is the mean. */
static void metric_time(struct buffer *text, const char *name, const char *help, uint64_t count,
                        uint64_t nanoseconds)
{
    metric_begin(text, name, "summary", help);
    buffer_append_format(text, "%s_sum %.9f\n%s_count %llu\n", name, (double)nanoseconds / 1e9,
                         name, (unsigned long long)count);
}

static void metric_seconds(struct buffer *text, const char *name, const char *help,
                           uint64_t nanoseconds)
{
    metric_begin(text, name, "gauge", help);
    buffer_append_format(text, "%s %.3f\n", name, (double)nanoseconds / 1e9);
}

static uint64_t difference(uint64_t high, uint64_t low)
{
    return high > low ? high - low : 0;
}

static void write_raft(const struct node_status *status, struct buffer *text)
{
    metric_number(text, "holdfast_ready", "gauge", "1 if the node sees a leader and is caught up.",
                  status->causes == 0);
    metric_number(text, "holdfast_raft_term", "gauge", "The current term.", status->term);
    metric_number(text, "holdfast_raft_is_leader", "gauge", "1 if this node leads.",
                  status->state == NODE_LEADER);
    metric_number(text, "holdfast_raft_has_leader", "gauge", "1 if this node knows a leader.",
                  status->leader_id != 0);
    metric_number(text, "holdfast_raft_leader_changes_total", "counter",
                  "Changes of the leader that this node saw.", status->elections);
    metric_number(text, "holdfast_raft_last_index", "gauge", "The last index of this node's log.",
                  status->last_index);
    metric_number(text, "holdfast_raft_commit_index", "gauge", "The highest committed index.",
                  status->commit_index);
    metric_number(text, "holdfast_raft_applied_index", "gauge", "The highest executed index.",
                  status->applied_index);
    metric_number(text, "holdfast_raft_apply_lag", "gauge", "Entries committed and not executed.",
                  difference(status->commit_index, status->applied_index));
    metric_number(text, "holdfast_state_compared_index", "gauge",
                  "The newest index at which a majority is known to have this node's state.",
                  status->compared_index);
    metric_number(text, "holdfast_states_split", "gauge",
                  "1 if no majority of the voters has the same state.",
                  (status->warnings & NODE_WARNING_STATES_SPLIT) != 0);
    metric_number(text, "holdfast_raft_snapshots_total", "counter",
                  "Snapshots, which are pointers into the state.", status->snapshots);
    metric_number(text, "holdfast_state_received_bytes", "gauge",
                  "Of the state that this node gets from another member; 0 if it gets none.",
                  status->receiving.bytes);
    metric_number(text, "holdfast_state_receiving_bytes", "gauge", "The size of that.",
                  status->receiving.total_bytes);
    metric_number(text, "holdfast_feature_level", "gauge",
                  "What all programs of the cluster know, and may be used.", status->feature_level);
    metric_number(text, "holdfast_state_receivers", "gauge",
                  "Members that get the state from this node.", status->state_receivers);
    metric_number(text, "holdfast_state_sent_bytes_total", "counter",
                  "State sent to other members.", status->sent_state_bytes);
    metric_time(text, "holdfast_raft_log_append_seconds", "Writes to this node's log, flushed.",
                status->log_appends, status->log_append_nanoseconds);
}

static void write_queues(const struct node_status *status, struct buffer *text)
{
    metric_number(text, "holdfast_pending_commands", "gauge",
                  "Commands of this node's clients whose outcome is open.",
                  status->pending_commands);
    metric_number(text, "holdfast_pending_bytes", "gauge", "Their bytes.", status->pending_bytes);
    metric_number(text, "holdfast_forwarded_bundles_total", "counter",
                  "Bundles of commands sent to the leader.", status->forwarded_bundles);
    metric_number(text, "holdfast_resubmitted_bundles_total", "counter",
                  "Bundles sent again after a leader was lost.", status->resubmitted_bundles);
    metric_number(text, "holdfast_proposed_entries_total", "counter",
                  "Log entries proposed as leader.", status->entries_proposed);
    metric_number(text, "holdfast_proposed_commands_total", "counter",
                  "Commands in them: divided by the entries, the size of a batch.",
                  status->commands_proposed);
    metric_number(text, "holdfast_proposed_bytes_total", "counter", "Bytes in them.",
                  status->bytes_proposed);
    metric_number(text, "holdfast_read_rounds_total", "counter",
                  "Rounds that confirmed the leader for linearizable reads.", status->read_rounds);
    metric_number(text, "holdfast_reads_total", "counter",
                  "Linearizable reads: divided by the rounds, the size of a batch.", status->reads);
}

/* Names hold letters, digits, dots and dashes only, so no label needs escapes. */
static void write_members(const struct node_status *status, struct buffer *text)
{
    metric_begin(text, "holdfast_member_state_differs", "gauge",
                 "1 if the member has another state than this node at the same index.");
    for (unsigned i = 0; i < status->n_members; i++) {
        buffer_append_format(text, "holdfast_member_state_differs{member=\"%s\"} %u\n",
                             status->members[i].name, status->members[i].state_differs ? 1u : 0u);
    }
    metric_begin(text, "holdfast_member_healthy", "gauge",
                 "1 if the member was heard within a second and has free disk space.");
    for (unsigned i = 0; i < status->n_members; i++) {
        buffer_append_format(text, "holdfast_member_healthy{member=\"%s\"} %u\n",
                             status->members[i].name, status->members[i].healthy ? 1u : 0u);
    }
    metric_begin(text, "holdfast_member_lag", "gauge",
                 "Entries that the member's log is behind this node's commit index.");
    for (unsigned i = 0; i < status->n_members; i++) {
        buffer_append_format(
            text, "holdfast_member_lag{member=\"%s\"} %llu\n", status->members[i].name,
            (unsigned long long)difference(status->commit_index, status->members[i].match_index));
    }
}

static void write_applier(const struct applier_statistics *applier, struct buffer *text)
{
    metric_number(text, "holdfast_executed_entries_total", "counter", "Log entries executed.",
                  applier->entries);
    metric_number(text, "holdfast_executed_commands_total", "counter", "Commands executed.",
                  applier->commands);
    metric_number(text, "holdfast_apply_queue_entries", "gauge",
                  "Committed entries that wait for execution.", applier->queued_entries);
    metric_number(text, "holdfast_apply_queue_bytes", "gauge", "Their bytes.",
                  applier->queued_bytes);
    metric_time(text, "holdfast_store_flush_seconds", "Flushes of the state to LMDB.",
                applier->flushes, applier->flush_nanoseconds);
    metric_number(text, "holdfast_scrubs_total", "counter",
                  "Scrubs of the whole state on disk that found nothing wrong.", applier->scrubs);
    metric_number(text, "holdfast_scrub_records", "gauge", "Records that the last one read.",
                  applier->scrub_records);
    metric_seconds(text, "holdfast_scrub_seconds", "How long the last one took.",
                   applier->scrub_nanoseconds);
    metric_seconds(text, "holdfast_scrub_age_seconds",
                   "How long ago the last one ended, or the node started.",
                   applier->scrub_age_nanoseconds);
}

static void write_images(const struct image_spools_statistics *images, struct buffer *text)
{
    metric_time(text, "holdfast_image_export_seconds", "Images of the state written to a file.",
                images->exports, images->export_nanoseconds);
    metric_number(text, "holdfast_image_export_failures_total", "counter",
                  "Those that came to nothing.", images->failures);
    metric_number(text, "holdfast_image_export_bytes_total", "counter", "Bytes written so.",
                  images->exported_bytes);
    metric_number(text, "holdfast_image_shared_total", "counter",
                  "Requests that got an image which was made for another one.", images->shared);
    metric_number(text, "holdfast_image_files", "gauge", "Images in files of this node.",
                  images->files);
    metric_number(text, "holdfast_image_file_bytes", "gauge", "Their bytes.", images->file_bytes);
    metric_number(text, "holdfast_image_waiting", "gauge", "Requests that wait for an image.",
                  images->waiting);
}

void metrics_write_node(struct node *node, struct buffer *text)
{
    struct image_spools_statistics images;
    struct applier_statistics applier;
    struct node_status status;

    node_status(node, &status);
    write_raft(&status, text);
    write_queues(&status, text);
    write_members(&status, text);
    metric_number(text, "holdfast_storage_full", "gauge",
                  "1 if a voter is short of disk, and what adds is refused.", status.storage_full);
    applier_statistics(node_applier(node), &applier);
    write_applier(&applier, text);
    image_spools_statistics(node_spools(node), &images);
    write_images(&images, text);
    metrics_write_archive(node, text);
    metrics_write_mirror(node, text);
}

void metrics_write_store(struct store *store, struct buffer *text)
{
    struct store_statistics statistics;
    struct error error;

    if (store_statistics(store, &statistics, &error) != STATUS_OK) {
        log_warn("http", "metrics lack those of the store: %s", error.text);
        return;
    }
    metric_number(text, "holdfast_store_used_bytes", "gauge", "Bytes that the state takes.",
                  statistics.used_bytes);
    metric_number(text, "holdfast_store_unflushed_bytes", "gauge",
                  "Memory that holds what is executed and not flushed to it.",
                  statistics.unflushed_bytes);
    metric_number(text, "holdfast_store_map_bytes", "gauge", "Address space set aside for it.",
                  statistics.map_size_bytes);
    metric_number(text, "holdfast_store_free_disk_bytes", "gauge",
                  "Free bytes of the file system that holds it.", statistics.free_disk_bytes);
    metric_number(text, "holdfast_store_records", "gauge", "Records in it.", statistics.records);
    metric_number(text, "holdfast_store_readers", "gauge", "Threads that hold a reader's slot.",
                  statistics.readers);
}
