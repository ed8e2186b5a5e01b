/* What a cluster holds, as JSON in the shape of the API, to compare what different places say of
 * it: the state, a node's API, and the tables of a mirror.
 *
 *   {"namespaces": {NAME: ROW}, "sessions": {"NAMESPACE ID": ROW}, "events": {"NAMESPACE ID SEQ":
 *    ROW}, "items": {"NAMESPACE KEY": ROW}}
 *
 * Main thread: what fails ends the test. */
#ifndef HOLDFAST_TESTS_MIRROR_ROWS_H
#define HOLDFAST_TESTS_MIRROR_ROWS_H

#include <jansson.h>
#include <libpq-fe.h>

#include "daemon/base/limits.h"
#include "storage/view.h"
#include "tests/lib/http_client.h"

json_t *mirror_rows_new(void);
/* Takes @row; in place of one that is there. @place: one of the names above. */
void mirror_rows_put(json_t *rows, const char *place, const char *key, json_t *row);
/* Remove what begins with @prefix. */
void mirror_rows_remove_all(json_t *rows, const char *place, const char *prefix);
size_t mirror_rows_count(const json_t *rows, const char *place);

/* Numbers are equal by value. @why: the first difference. */
bool mirror_rows_match(const json_t *expected, const json_t *found, char *why, size_t size);

/* mirror_rows_state.c: single rows, and all of a state. */
json_t *mirror_row_of_namespace(const struct namespace_row *row);
json_t *mirror_row_of_session(const struct session_row *row);
json_t *mirror_row_of_event(const struct event_row *row);
json_t *mirror_row_of_item(const struct item_row *row);
json_t *mirror_rows_of_state(struct view *view);
/* Those that have expired at @time_ms, and are still here, as nobody has removed them yet. */
void mirror_rows_drop_expired(json_t *rows, uint64_t time_ms);

/* mirror_rows_tables.c: all in the mirror in @schema, as one transaction sees it, with its position
 * (NULL: not wanted). */
struct mirror_rows_position {
    long long revision;
    bool is_exact;
    long long time_ms;
};
json_t *mirror_rows_of_tables(PGconn *pg, const char *schema,
                              struct mirror_rows_position *position);

/* mirror_rows_node.c: all that a node's API answers, page by page. Nobody may be writing. NULL: it
 * did not answer, or something expired meanwhile. */
json_t *mirror_rows_of_node(struct http_client *client);

#endif
