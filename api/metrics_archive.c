#include "api/archives.h"
#include "api/metrics_node.h"
#include "raft/node.h"
#include "storage/archive/archive.h"

uint64_t archives_lag_ms(struct node *node)
{
    const struct archive *archive = node_archive(node);
    uint64_t lag_ms = 0;

    for (size_t i = 0; i < archive_count(archive); i++) {
        struct archiver_status status;

        archiver_status(archive_at(archive, i), &status);
        if (status.activity != ARCHIVER_STANDBY && status.lag_ms > lag_ms) {
            lag_ms = status.lag_ms;
        }
    }
    return lag_ms;
}

const char *archives_where(struct node *node)
{
    const struct archive *archive = node_archive(node);

    for (size_t i = 0; i < archive_count(archive); i++) {
        struct archiver_status status;

        archiver_status(archive_at(archive, i), &status);
        if (!status.is_local) {
            return "shared";
        }
    }
    return archive_count(archive) == 0 ? "none" : "local";
}

/* One metric for each repository, by its number in the list: a URL would need escapes. */
struct series {
    const char *name;
    const char *type;
    const char *help;
    uint64_t (*value)(const struct archiver_status *status);
};

#define VALUE(field)                                                                               \
    static uint64_t get_##field(const struct archiver_status *status)                              \
    {                                                                                              \
        return status->field;                                                                      \
    }

VALUE(index)
VALUE(revision)
VALUE(lag_entries)
VALUE(lag_bytes)
VALUE(fulls)
VALUE(deltas)
VALUE(merged)
VALUE(bytes)
VALUE(made_fulls)
VALUE(made_deltas)
VALUE(made_merged)
VALUE(made_bytes)
VALUE(failures)
VALUE(gaps)
VALUE(fenced)
VALUE(pruned_bytes)
VALUE(held)
VALUE(damaged)

static uint64_t get_is_active(const struct archiver_status *status)
{
    return status->activity != ARCHIVER_STANDBY && status->activity != ARCHIVER_WAITING;
}

static uint64_t get_is_failing(const struct archiver_status *status)
{
    return status->activity == ARCHIVER_FAILING;
}

static uint64_t get_lag_seconds(const struct archiver_status *status)
{
    return status->lag_ms / 1000;
}

static uint64_t get_restore_seconds(const struct archiver_status *status)
{
    return status->restore_ms / 1000;
}

static uint64_t get_last_full_seconds(const struct archiver_status *status)
{
    return status->last_full.created_ms / 1000;
}

static uint64_t get_verified_seconds(const struct archiver_status *status)
{
    return status->verified_ms / 1000;
}

static uint64_t get_verify_seconds(const struct archiver_status *status)
{
    return status->verify_took_ms / 1000;
}

static const struct series all_series[] = {
    {"holdfast_archive_active", "gauge", "1 if this node archives to the repository.",
     get_is_active},
    {"holdfast_archive_failing", "gauge", "1 if the last attempt failed.", get_is_failing},
    {"holdfast_archive_index", "gauge", "The last log index that is archived.", get_index},
    {"holdfast_archive_revision", "gauge", "The last revision that is archived.", get_revision},
    {"holdfast_archive_lag_entries", "gauge", "Log indexes executed and not archived.",
     get_lag_entries},
    {"holdfast_archive_lag_bytes", "gauge", "Bytes of them, at most.", get_lag_bytes},
    {"holdfast_archive_lag_seconds", "gauge", "Since when there is something not archived.",
     get_lag_seconds},
    {"holdfast_archive_restore_seconds", "gauge", "That a restore would take, about.",
     get_restore_seconds},
    {"holdfast_archive_last_full_timestamp_seconds", "gauge",
     "When the newest full was made; 0: never.", get_last_full_seconds},
    {"holdfast_archive_verified_timestamp_seconds", "gauge",
     "When a restore was tried last and gave what it should; 0: not since the start.",
     get_verified_seconds},
    {"holdfast_archive_verify_seconds", "gauge", "How long that took.", get_verify_seconds},
    {"holdfast_archive_fulls", "gauge", "Fulls in the repository.", get_fulls},
    {"holdfast_archive_deltas", "gauge", "Deltas in the repository.", get_deltas},
    {"holdfast_archive_merged", "gauge", "Objects in the repository that are many deltas each.",
     get_merged},
    {"holdfast_archive_bytes", "gauge", "Bytes of them.", get_bytes},
    {"holdfast_archive_made_fulls_total", "counter", "Fulls made by this node.", get_made_fulls},
    {"holdfast_archive_made_deltas_total", "counter", "Deltas made by this node.", get_made_deltas},
    {"holdfast_archive_made_merged_total", "counter", "Objects merged from deltas by this node.",
     get_made_merged},
    {"holdfast_archive_made_bytes_total", "counter", "Bytes of them.", get_made_bytes},
    {"holdfast_archive_failures_total", "counter", "Attempts that failed.", get_failures},
    {"holdfast_archive_gaps_total", "counter",
     "Times that what was to be archived was not on this node any more.", get_gaps},
    {"holdfast_archive_fenced_total", "counter", "Deltas that another archiver had written before.",
     get_fenced},
    {"holdfast_archive_pruned_bytes_total", "counter", "Bytes removed, as nobody needs them.",
     get_pruned_bytes},
    {"holdfast_archive_held_objects", "gauge",
     "Objects that were to be removed last, and are locked or may not be.", get_held},
    {"holdfast_archive_damaged_objects", "gauge",
     "Merged objects that were found damaged when the deltas in them were to be removed last.",
     get_damaged},
};

void metrics_write_archive(struct node *node, struct buffer *text)
{
    const struct archive *archive = node_archive(node);
    struct archiver_status statuses[ARCHIVE_REPOSITORIES];
    size_t n = archive_count(archive);

    for (size_t i = 0; i < n; i++) {
        archiver_status(archive_at(archive, i), &statuses[i]);
    }
    for (size_t k = 0; n > 0 && k < sizeof all_series / sizeof all_series[0]; k++) {
        const struct series *series = &all_series[k];

        metric_begin(text, series->name, series->type, series->help);
        for (size_t i = 0; i < n; i++) {
            buffer_append_format(text, "%s{repository=\"%zu\"} %llu\n", series->name, i,
                                 (unsigned long long)series->value(&statuses[i]));
        }
    }
}
