/* For tests of a session's log: appends, rewinds, trims and lists of the session "s". */
#ifndef HOLDFAST_TESTS_EVENT_FIXTURE_H
#define HOLDFAST_TESTS_EVENT_FIXTURE_H

#include "daemon/base/limits.h"
#include "storage/event_log.h"
#include "tests/lib/execution_fixture.h"

/* The append that a test is about to make; ids are "PREFIX-NUMBER". */
struct events_making {
    struct operation operation;
    struct new_event events[LIMIT_APPEND_EVENTS];
    char ids[LIMIT_APPEND_EVENTS][16];
};
extern struct events_making events_making;

struct events_page {
    uint64_t seqs[2048];
    size_t n;
    size_t limit;
};

/* Prepare an append of @n events {"n":1} to the session "s", which it may create; with ids if
 * @ids is not NULL. */
struct append_operation *events_prepare(uint32_t n, const char *ids);
/* Execute what was prepared. */
enum outcome events_run(struct execution_fixture *f);
/* Append @n events without ids. */
void events_append(struct execution_fixture *f, uint32_t n);
/* What the last append was answered. */
struct append_row events_appended(const struct execution_fixture *f);
/* Rewind to, or trim before, @seq. */
enum outcome events_try_cut(struct execution_fixture *f, bool is_rewind, uint64_t seq);
struct trim_row events_cut(struct execution_fixture *f, bool is_rewind, uint64_t seq);
struct trim_row events_rewind_after(struct execution_fixture *f, uint64_t seq);
struct trim_row events_trim_before(struct execution_fixture *f, uint64_t seq);
/* The session "s" as it is. */
struct session_row events_session(struct execution_fixture *f);
/* Execute an operation of the session "s"; @fields may be NULL. */
enum outcome events_run_session(struct execution_fixture *f, enum operation_kind kind,
                                const struct session_fields *fields);
/* For view_events(): puts rows into the struct events_page @data, up to its limit. */
bool events_on_event(void *data, const struct event_row *row);
/* All pages of a list, @limit rows each. */
struct events_page events_list_all(struct execution_fixture *f, uint64_t after, uint64_t before,
                                   enum list_order order, size_t limit);
/* The log lists these numbers, separated by blanks, upwards and downwards. */
void events_assert_listed(struct execution_fixture *f, const char *expected);

#endif
