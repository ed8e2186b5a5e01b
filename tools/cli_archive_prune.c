/* holdfast archive prune: remove what a policy does not want any more, without a node. */
#include <inttypes.h>

#include "daemon/base/clock.h"
#include "storage/archive/prune.h"
#include "tools/cli_archive.h"

#define MAX_DAYS 36500u

struct pruned {
    const struct cli_archive *archive;
    struct retention_policy policy;
    uint64_t now_ms;
    bool is_done; /* Else it is only told. */
    json_t *chains;
};

/* --- What goes --- */

struct counts {
    uint64_t fulls;
    uint64_t deltas; /* Merged ones, too. */
};

static struct counts count(const struct catalog *catalog, const struct retention_plan *plan)
{
    struct counts counts = {0};

    for (size_t i = 0; i < catalog->n_fulls; i++) {
        counts.fulls += plan->drops_full[i] ? 1 : 0;
    }
    for (size_t i = 0; i < catalog->n_deltas; i++) {
        counts.deltas += plan->deltas[i] != RETENTION_STAYS ? 1 : 0;
    }
    for (size_t i = 0; i < catalog->n_merged; i++) {
        counts.deltas += plan->merged[i] != RETENTION_STAYS ? 1 : 0;
    }
    return counts;
}

static void print_chain(struct cli *cli, const char *base, const struct counts *counts,
                        const struct retention_plan *plan, const struct prune_totals *totals,
                        bool is_done)
{
    struct buffer *out = &cli->out;

    buffer_append_format(out, "%s\n  %s %" PRIu64 " fulls, %" PRIu64 " deltas and %zu leftovers, ",
                         base, is_done ? "removed:" : "would remove", counts->fulls, counts->deltas,
                         plan->n_orphans);
    progress_append_bytes(out, plan->bytes);
    buffer_append_byte(out, '\n');
    if (totals->held > 0) {
        buffer_append_format(out,
                             "  %" PRIu64 " objects are held for longer, or may not be removed\n",
                             totals->held);
    }
    if (totals->damaged > 0) {
        buffer_append_format(
            out, "  %" PRIu64 " merged objects are damaged, and what is in them stays\n",
            totals->damaged);
    }
}

static enum status prune_chain(struct cli *cli, struct repository *repository, const char *base,
                               const struct catalog *catalog, void *data)
{
    struct pruned *pruned = data;
    struct prune_totals totals = {.removed = 0};
    struct retention_plan plan;
    struct counts counts;
    const struct prune_options options = {
        .repository = repository,
        .base = base,
        .keys = pruned->archive->keys,
        .catalog = catalog,
        .plan = &plan,
    };
    enum status status = STATUS_OK;

    retention_plan(catalog, &pruned->policy, pruned->now_ms, &plan);
    counts = count(catalog, &plan);
    if (pruned->is_done) {
        status = prune(&options, &totals, &cli->error);
    }
    if (status == STATUS_OK && cli->options->as_json) {
        (void)json_array_append_new(
            pruned->chains,
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "chain", base, "done",
                      (int)pruned->is_done, "fulls", (json_int_t)counts.fulls, "deltas",
                      (json_int_t)counts.deltas, "leftovers", (json_int_t)plan.n_orphans, "bytes",
                      (json_int_t)plan.bytes, "held", (json_int_t)totals.held, "damaged",
                      (json_int_t)totals.damaged));
    } else if (status == STATUS_OK) {
        print_chain(cli, base, &counts, &plan, &totals, pruned->is_done);
    }
    retention_plan_close(&plan);
    return status;
}

/* --- The command --- */

static enum cli_exit take_policy(struct cli *cli, struct retention_policy *policy)
{
    const char *text = cli->options->values[CLI_RETENTION];
    uint64_t days = RETENTION_DAYS;

    if (text != NULL && (!cli_archive_parse_number(text, &days) || days == 0 || days > MAX_DAYS)) {
        return cli_fail(cli, CLI_USAGE, "--retention: \"%s\" is not a number of days from 1 to %u",
                        text, MAX_DAYS);
    }
    *policy = retention_of_days((unsigned)days);
    return CLI_OK;
}

static enum cli_exit prune_all(struct cli *cli, const struct cli_archive *archive,
                               struct pruned *pruned)
{
    struct repository *repository;
    enum cli_exit code = cli_archive_open_repository(cli, archive->options.url, &repository);

    if (code != CLI_OK) {
        return code;
    }
    pruned->chains = json_array();
    code = cli_archive_each_chain(cli, repository, archive, prune_chain, pruned);
    if (code == CLI_OK && cli->options->as_json) {
        cli_print_json(cli, pruned->chains);
    } else if (code == CLI_OK && !pruned->is_done) {
        buffer_append_string(&cli->out, "nothing was removed: say --yes\n");
    }
    json_decref(pruned->chains);
    repository_close(repository);
    return code;
}

enum cli_exit run_archive_prune(struct cli *cli)
{
    struct cli_archive archive;
    struct pruned pruned = {
        .archive = &archive,
        .now_ms = clock_wall_ms(),
        .is_done = cli_given(cli->options, CLI_YES),
    };
    enum cli_exit code = cli_archive_begin(cli, cli->options->operands[0], &archive);

    if (code == CLI_OK) {
        code = take_policy(cli, &pruned.policy);
    }
    if (code == CLI_OK) {
        code = prune_all(cli, &archive, &pruned);
    }
    cli_archive_close(&archive);
    return code;
}
