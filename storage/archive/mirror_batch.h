/* Rows on their way into PostgreSQL: a sink (mirror_sink.h) that writes them as COPY reads them, in
 * binary form, for the tables of mirror_tables.h. Pure; one thread.
 *
 * JSON goes into columns of type jsonb, which holds less than JSON may: no U+0000 in a string, and
 * no number of too many digits. A row with such a thing has NULL there, and the text as it is in
 * its column "raw". */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_BATCH_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_BATCH_H

#include "storage/archive/mirror_sink.h"

enum mirror_table {
    MIRROR_NEW_NAMESPACES,
    MIRROR_NEW_SESSIONS,
    MIRROR_NEW_EVENTS,
    MIRROR_NEW_ITEMS,
    MIRROR_GONE_NAMESPACES, /* name */
    MIRROR_GONE_SESSIONS,   /* namespace, id */
    MIRROR_GONE_ITEMS,      /* namespace, key */
    MIRROR_GONE_EVENTS,     /* namespace, session_id, after_seq, before_seq */
    MIRROR_TABLES
};

struct mirror_batch {
    struct mirror_sink sink; /* Into here. */
    /* Private. */
    struct buffer rows[MIRROR_TABLES];
    uint64_t n_rows[MIRROR_TABLES];
};

void mirror_batch_open(struct mirror_batch *batch);
void mirror_batch_clear(struct mirror_batch *batch);
uint64_t mirror_batch_count(const struct mirror_batch *batch, enum mirror_table table);
/* What COPY reads; borrowed until the batch changes. Then nothing more may be added before it is
 * cleared. */
struct slice mirror_batch_data(struct mirror_batch *batch, enum mirror_table table);
void mirror_batch_close(struct mirror_batch *batch);

/* Can a column of type jsonb hold @json, which is JSON? */
bool mirror_batch_fits_jsonb(struct slice json);

#endif
