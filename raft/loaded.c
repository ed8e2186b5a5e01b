#include "raft/loaded.h"

#include <string.h>

#include "daemon/base/check.h"

/* libraft loads those that were written together into one piece, and releases that when none of
 * them is in the log any more, though messages under way may still hold others of them: it is sent
 * when it is free, and freed twice. They are of no batch then: with one each, libraft would look
 * through its whole log for others of it, for each one that it drops, and stand still for seconds
 * when the log is cut. */
void loaded_separate(struct raft_entry *entries, size_t n)
{
    void *batch = NULL;

    for (size_t i = 0; i < n; i++) {
        struct raft_entry *entry = &entries[i];
        void *own = raft_malloc(entry->buf.len + 1);

        CHECK(own != NULL);
        memcpy(own, entry->buf.base, entry->buf.len);
        if (batch != NULL && entry->batch != batch) {
            raft_free(batch);
        }
        batch = entry->batch;
        entry->batch = NULL;
        entry->buf.base = own;
    }
    raft_free(batch);
}

void loaded_release(struct raft_snapshot *snapshot, struct raft_entry *entries, size_t n)
{
    void *batch = NULL;

    for (size_t i = 0; i < n; i++) {
        if (entries[i].batch == NULL) {
            raft_free(entries[i].buf.base);
        } else if (entries[i].batch != batch) {
            batch = entries[i].batch;
            raft_free(batch);
        }
    }
    raft_free(entries);
    if (snapshot != NULL) {
        raft_configuration_close(&snapshot->configuration);
        raft_free(snapshot->bufs[0].base);
        raft_free(snapshot->bufs);
        raft_free(snapshot);
    }
}

raft_id configuration_sole_voter(const struct raft_configuration *configuration)
{
    raft_id sole = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role == RAFT_VOTER) {
            sole = configuration->servers[i].id;
            n++;
        }
    }
    return n == 1 ? sole : 0;
}

static raft_id sole_voter_in(const struct raft_entry *change)
{
    struct raft_configuration configuration;
    raft_id sole;

    if (raft_configuration_decode(&change->buf, &configuration) != 0) {
        return 0; /* libraft decodes it next, and tells. */
    }
    sole = configuration_sole_voter(&configuration);
    raft_configuration_close(&configuration);
    return sole;
}

raft_id loaded_sole_voter(const struct raft_snapshot *snapshot, const struct raft_entry *entries,
                          size_t n)
{
    for (size_t i = n; i > 0; i--) {
        if (entries[i - 1].type == RAFT_CHANGE) {
            return sole_voter_in(&entries[i - 1]);
        }
    }
    return snapshot == NULL ? 0 : configuration_sole_voter(&snapshot->configuration);
}
