/* The tables of a mirror in memory: a sink (mirror_sink.h) that does with what it is told what
 * PostgreSQL does, to be compared with the state. Main thread. */
#ifndef HOLDFAST_TESTS_MIRROR_MODEL_H
#define HOLDFAST_TESTS_MIRROR_MODEL_H

#include "storage/archive/mirror_sink.h"
#include "tests/lib/mirror_rows.h"

struct mirror_model {
    struct mirror_sink sink;
    json_t *rows; /* See mirror_rows.h. */
    /* Times that it was told of one, since the test set it to 0. */
    unsigned n_events;
    unsigned n_items;
    /* Private. */
    json_t *namespaces; /* Their ids, by name. */
    json_t *objects;    /* Those of sessions, by "NAMESPACE ID". */
};

void mirror_model_open(struct mirror_model *model);
void mirror_model_clear(struct mirror_model *model);
void mirror_model_close(struct mirror_model *model);

#endif
