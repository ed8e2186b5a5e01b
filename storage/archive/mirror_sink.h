/* What a mirror is told of a state: rows as they are, and what is not there.
 *
 * Rows and names are borrowed for the call. No call can fail: who is told keeps it in memory, and
 * who tells keeps to a bound (mirror_reader.h). Of what one mirror_reader tells, no namespace, item
 * or session comes twice. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_SINK_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_SINK_H

#include "storage/rows.h"

/* The namespace that a row is in. */
struct mirror_namespace {
    struct slice name;
    uint64_t id;
};

struct mirror_sink {
    void *data;
    /* If another one of that name was there before, all that it held is gone. */
    void (*put_namespace)(void *data, const struct namespace_row *row);
    /* And all that it held. */
    void (*drop_namespace)(void *data, struct slice name);
    /* If another one of that id was there before, its events are gone. */
    void (*put_session)(void *data, const struct mirror_namespace *ns,
                        const struct session_row *row);
    /* And its events. */
    void (*drop_session)(void *data, const struct mirror_namespace *ns, struct slice id);
    /* It may be there already: an event never changes. */
    void (*put_event)(void *data, const struct mirror_namespace *ns,
                      const struct session_row *session, const struct event_row *row);
    /* No event with after_seq < seq < before_seq (UINT64_MAX: no bound) is there any more. */
    void (*cut_events)(void *data, const struct mirror_namespace *ns, struct slice session_id,
                       uint64_t after_seq, uint64_t before_seq);
    void (*put_item)(void *data, const struct mirror_namespace *ns, const struct item_row *row);
    void (*drop_item)(void *data, const struct mirror_namespace *ns, struct slice key);
};

#endif
