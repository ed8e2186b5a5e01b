/* Reading rows out of one view into a sink, up to a number of bytes: what mirror_round.c and
 * mirror_walk.c have in common. One thread; a reader lives as long as the view is open. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_READER_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_READER_H

#include "storage/archive/mirror_sink.h"
#include "storage/view.h"

struct mirror_reader {
    struct view *view;
    const struct mirror_sink *sink;
    size_t left_bytes; /* 0: enough was read. */
};

/* A log that was read in part, as the reader was full. A zeroed one is none. */
struct mirror_log {
    bool is_open;
    uint64_t object_id; /* Whose: another session may get the name. */
    uint64_t above_seq; /* This one and those above it were read. */
};

/* Read @row as it is in @ns into the sink. */
void mirror_reader_put_namespace(struct mirror_reader *reader, const struct namespace_row *row);
void mirror_reader_put_session(struct mirror_reader *reader, const struct mirror_namespace *ns,
                               const struct session_row *row);
void mirror_reader_put_item(struct mirror_reader *reader, const struct mirror_namespace *ns,
                            const struct item_row *row);

/* Read the events of @session from the newest down to those that were appended before @since_ms of
 * the cluster's time, and cut what is between, above and below them: what the log had once, and has
 * no more. Ends early, with @log open, if the reader is full; to be called again, with a later view
 * then, and the session as it is there. STATUS_CORRUPT, STATUS_UNSUPPORTED.
 *
 * An event carries the time of the entry that appended it, and that never goes back. So whoever has
 * all events up to a revision has those of before its time, and of these only the ones that are
 * live. */
MUST_USE enum status mirror_reader_read_log(struct mirror_reader *reader,
                                            const struct mirror_namespace *ns,
                                            const struct session_row *session, uint64_t since_ms,
                                            struct mirror_log *log);

#endif
