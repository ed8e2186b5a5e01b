/* Work for a state (state.h): random operations on a few names, so that they meet, and some of the
 * same kinds on purpose. What is refused is refused. */
#ifndef HOLDFAST_TESTS_STATE_WORK_H
#define HOLDFAST_TESTS_STATE_WORK_H

#include "tests/lib/state.h"

/* @n random entries: items, sessions, logs and namespaces are made, changed, deleted, rewound,
 * trimmed and made anew; things expire, and are removed or not; the time stands still or goes on.
 */
void state_work(struct state_fixture *f, uint64_t *random, unsigned n);

/* In "default", or in @ns; these must succeed. */
void state_work_put_item(struct state_fixture *f, const char *key, const char *value);
void state_work_put_item_in(struct state_fixture *f, const char *ns, const char *key,
                            const char *value);
/* Events {"n":1}; makes the session. */
void state_work_append(struct state_fixture *f, const char *session, unsigned n_events);
void state_work_append_expiring(struct state_fixture *f, const char *session, unsigned n_events,
                                uint64_t ttl_ms);
/* As trim_operation. */
void state_work_cut(struct state_fixture *f, const char *session, bool is_rewind, uint64_t seq);
/* Make or delete it. */
void state_work_namespace(struct state_fixture *f, const char *name, bool exists);

#endif
