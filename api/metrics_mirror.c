#include "api/metrics_node.h"
#include "api/mirrors.h"
#include "raft/node.h"
#include "storage/archive/mirror.h"

uint64_t mirrors_lag_ms(struct node *node)
{
    struct mirror *mirror = node_mirror(node);
    struct mirror_status status = {.lag_ms = 0};

    if (mirror != NULL) {
        mirror_status(mirror, &status);
    }
    return status.lag_ms;
}

static void write_value(struct buffer *text, const char *name, const char *type, const char *help,
                        uint64_t value)
{
    metric_begin(text, name, type, help);
    buffer_append_format(text, "%s %llu\n", name, (unsigned long long)value);
}

static void write_rows(struct buffer *text, const struct mirror_status *status)
{
    static const char name[] = "holdfast_mirror_rows_total";

    metric_begin(text, name, "counter", "Rows written to the mirror by this node, or deleted.");
    buffer_append_format(text, "%s{table=\"sessions\"} %llu\n", name,
                         (unsigned long long)status->sessions);
    buffer_append_format(text, "%s{table=\"events\"} %llu\n", name,
                         (unsigned long long)status->events);
    buffer_append_format(text, "%s{table=\"items\"} %llu\n", name,
                         (unsigned long long)status->items);
}

void metrics_write_mirror(struct node *node, struct buffer *text)
{
    struct mirror_status status;
    bool is_active;

    if (node_mirror(node) == NULL) {
        return;
    }
    mirror_status(node_mirror(node), &status);
    is_active = status.activity != MIRROR_STANDBY && status.activity != MIRROR_WAITING;
    write_value(text, "holdfast_mirror_active", "gauge", "1 if this node mirrors.",
                is_active ? 1 : 0);
    write_value(text, "holdfast_mirror_failing", "gauge", "1 if the last attempt failed.",
                status.activity == MIRROR_FAILING ? 1 : 0);
    write_value(text, "holdfast_mirror_revision", "gauge", "The last revision that is mirrored.",
                status.revision);
    write_value(text, "holdfast_mirror_exact", "gauge",
                "1 if the tables are what the state was at that revision.",
                status.is_exact ? 1 : 0);
    write_value(text, "holdfast_mirror_lag_revisions", "gauge", "Revisions not mirrored.",
                status.lag_revisions);
    metric_begin(text, "holdfast_mirror_lag_seconds", "gauge",
                 "Since when there is something not mirrored.");
    buffer_append_format(text, "holdfast_mirror_lag_seconds %.3f\n", (double)status.lag_ms / 1000);
    write_value(text, "holdfast_mirror_transactions_total", "counter",
                "Transactions that this node committed to the mirror.", status.transactions);
    write_rows(text, &status);
    write_value(text, "holdfast_mirror_copies_total", "counter",
                "Times that this node copied all of the state.", status.copies);
    write_value(text, "holdfast_mirror_failures_total", "counter", "Attempts that failed.",
                status.failures);
}
