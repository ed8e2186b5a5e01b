#include "storage/archive/mirror_reader.h"

#define ROW_BYTES 200u /* Of numbers and times, about. */

static void take(struct mirror_reader *reader, size_t bytes)
{
    bytes += ROW_BYTES;
    reader->left_bytes -= bytes < reader->left_bytes ? bytes : reader->left_bytes;
}

void mirror_reader_put_namespace(struct mirror_reader *reader, const struct namespace_row *row)
{
    reader->sink->put_namespace(reader->sink->data, row);
    take(reader, row->name.size + row->metadata.size);
}

void mirror_reader_put_session(struct mirror_reader *reader, const struct mirror_namespace *ns,
                               const struct session_row *row)
{
    reader->sink->put_session(reader->sink->data, ns, row);
    take(reader, ns->name.size + row->id.size + row->metadata.size + row->state.size);
}

void mirror_reader_put_item(struct mirror_reader *reader, const struct mirror_namespace *ns,
                            const struct item_row *row)
{
    reader->sink->put_item(reader->sink->data, ns, row);
    take(reader, ns->name.size + row->key.size + row->value.size);
}

/* --- Logs --- */

struct log_walk {
    struct mirror_reader *reader;
    const struct mirror_namespace *ns;
    const struct session_row *session;
    uint64_t since_ms;
    uint64_t above_seq;
    uint64_t boundary_seq; /* Of the newest event that is older; 0: there is none. */
    bool is_cut_off;
};

/* Nothing is live between @seq and what was read before. */
static void cut(const struct log_walk *walk, uint64_t seq)
{
    if (walk->above_seq - seq > 1) {
        walk->reader->sink->cut_events(walk->reader->sink->data, walk->ns, walk->session->id, seq,
                                       walk->above_seq);
    }
}

static bool on_event(void *data, const struct event_row *row)
{
    struct log_walk *walk = data;

    if (row->created_at_ms < walk->since_ms) {
        walk->boundary_seq = row->seq;
        return false;
    }
    if (walk->reader->left_bytes == 0) {
        walk->is_cut_off = true;
        return false;
    }
    cut(walk, row->seq);
    walk->reader->sink->put_event(walk->reader->sink->data, walk->ns, walk->session, row);
    take(walk->reader, row->id.size + row->type.size + row->data.size);
    walk->above_seq = row->seq;
    return true;
}

enum status mirror_reader_read_log(struct mirror_reader *reader, const struct mirror_namespace *ns,
                                   const struct session_row *session, uint64_t since_ms,
                                   struct mirror_log *log)
{
    struct log_walk walk = {.reader = reader,
                            .ns = ns,
                            .session = session,
                            .since_ms = since_ms,
                            .above_seq = log->is_open ? log->above_seq : UINT64_MAX};
    struct buffer position = BUFFER_EMPTY;
    enum status status = view_events(reader->view, session, 0, walk.above_seq, ORDER_DESC,
                                     &position, on_event, &walk);

    buffer_close(&position);
    *log = (struct mirror_log){.is_open = status == STATUS_OK && walk.is_cut_off,
                               .object_id = session->object_id,
                               .above_seq = walk.above_seq};
    if (status != STATUS_OK || walk.is_cut_off) {
        return status;
    }
    cut(&walk, walk.boundary_seq);
    if (walk.boundary_seq != 0 && session->first_seq > 1) {
        reader->sink->cut_events(reader->sink->data, ns, session->id, 0, session->first_seq);
    }
    return STATUS_OK;
}
