/* Removing what is not needed any more (prune.h), some seconds at a time, as the next delta waits.
 */
#include <inttypes.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "storage/archive/archiver_private.h"
#include "storage/archive/prune.h"

#define SQUEEZE_MS 10000u
/* A turn's share; but if checking what has it all took longer, so many are removed at least. */
#define PRUNE_TURN_MS 2000u
#define LEAST_REMOVED 20u

/* STATUS_END: enough for this turn. */
static enum status before_remove(void *data, const struct prune_totals *totals, struct error *error)
{
    struct archiver *archiver = data;

    if (archiver_is_canceled(archiver)) {
        return error_set(error, STATUS_CANCELED, "the node is shutting down");
    }
    return totals->removed >= LEAST_REMOVED && clock_ms() >= archiver->prune_end_ms ? STATUS_END
                                                                                    : STATUS_OK;
}

static enum status on_read(void *data, uint64_t bytes, struct error *error)
{
    return archiver_spend(data, bytes, error);
}

static void on_held(void *data, const char *why)
{
    const struct archiver *archiver = data;

    log_info("archive", "removed later repository=%s: %s", archiver->status.url, why);
}

static void on_damage(void *data, const char *why)
{
    const struct archiver *archiver = data;

    log_warn("archive", "the deltas in a merged object stay repository=%s: %s",
             archiver->status.url, why);
}

static enum status remove_planned(struct archiver *archiver, const struct retention_plan *plan,
                                  struct error *error)
{
    const struct prune_options options = {
        .repository = archiver->repository,
        .base = archiver->base,
        .keys = archiver->options.keys,
        .catalog = &archiver->catalog,
        .plan = plan,
        .data = archiver,
        .before_remove = before_remove,
        .on_read = on_read,
        .on_held = on_held,
        .on_damage = on_damage,
    };
    struct prune_totals totals;
    enum status status;

    archiver->prune_end_ms = clock_ms() + PRUNE_TURN_MS;
    archiver->pace = pace_of(archiver->options.bytes_per_second, clock_ms());
    status = prune(&options, &totals, error);
    archiver_lock(archiver);
    archiver->status.held = totals.held;
    archiver->status.damaged = totals.damaged;
    archiver_unlock(archiver);
    return status;
}

static void note_pruned(struct archiver *archiver, uint64_t before)
{
    uint64_t now = archiver->catalog.bytes;

    if (now < before) {
        log_info("archive", "pruned repository=%s bytes=%" PRIu64, archiver->status.url,
                 before - now);
        archiver_lock(archiver);
        archiver->status.pruned_bytes += before - now;
        archiver_unlock(archiver);
    }
}

static enum status prune_to(struct archiver *archiver, const struct retention_policy *policy,
                            struct error *error)
{
    struct retention_plan plan;
    uint64_t before;
    bool has_more;
    enum status status;

    archiver_set_activity(archiver, ARCHIVER_PRUNING);
    status = archiver->prunes_on ? STATUS_OK : archiver_load_catalog(archiver, error);
    archiver->prunes_on = false;
    if (status != STATUS_OK) {
        return status;
    }
    before = archiver->catalog.bytes;
    retention_plan(&archiver->catalog, policy, clock_wall_ms(), &plan);
    status = remove_planned(archiver, &plan, error);
    has_more = status == STATUS_END;
    status = has_more ? STATUS_OK : status;
    if (status == STATUS_OK && (plan.bytes > 0 || plan.n_orphans > 0)) {
        status = archiver_load_catalog(archiver, error);
        note_pruned(archiver, before);
    }
    if (status == STATUS_OK && has_more) { /* The next turn goes on. */
        archiver->prune_due_ms = clock_ms();
        archiver->prunes_on = true;
    }
    retention_plan_close(&plan);
    return status;
}

enum status archiver_prune_when_due(struct archiver *archiver, struct error *error)
{
    struct retention_policy policy = archiver->options.retention;

    if (archiver->is_local && archiver_spare_bytes(archiver) == 0 &&
        clock_ms() >= archiver->squeeze_due_ms) {
        archiver->squeeze_due_ms = clock_ms() + SQUEEZE_MS;
        policy.max_bytes = 1; /* The newest chain stays all the same. */
        return prune_to(archiver, &policy, error);
    }
    if (clock_ms() < archiver->prune_due_ms) {
        return STATUS_OK;
    }
    archiver->prune_due_ms = clock_ms() + archiver->options.schedule.prune_ms;
    return prune_to(archiver, &policy, error);
}
