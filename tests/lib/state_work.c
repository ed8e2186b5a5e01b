#include "tests/lib/state_work.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/limits.h"
#include "tests/lib/deadline.h"

#define MAX_TTL_MS 60

static const char *const namespaces[] = {"default", "a", "b"};
static const char *const sessions[] = {"s1", "s2", "s3", "s4"};
static const char *const items[] = {"k1", "k2", "k/3", "k 4", "\xc3\xa4", "k6"};
static const char *const documents[] = {"{}", "{\"a\":1}", "{\"a\":[1.5,null,\"x\"],\"b\":{}}",
                                        "{\"nul\":\"a\\u0000b\"}",
                                        "{\"a\":null,\"c\":\"\\\\u0000\"}"};

#define PICK(random, list) ((list)[random_next(random) % (sizeof(list) / sizeof(list)[0])])

/* --- Operations --- */

static enum outcome run(struct state_fixture *f, const char *ns, struct operation *operation)
{
    bool is_in_namespace = operation->kind < OPERATION_NAMESPACE_PUT;
    struct command command = {.ns = is_in_namespace ? slice_of_string(ns) : slice_of(NULL, 0),
                              .n_operations = 1,
                              .operations = operation};
    struct state_answer answer = state_execute(f, &command);

    return answer.result.n_operations == 0 ? OUTCOME_NAMESPACE_NOT_FOUND : answer.first.outcome;
}

static struct text_field text_field(const char *text)
{
    return (struct text_field){.kind = FIELD_SET, .value = slice_of_string(text)};
}

static struct ttl random_ttl(uint64_t *random)
{
    if (random_next(random) % 4 != 0) {
        return (struct ttl){.kind = TTL_ABSENT};
    }
    return (struct ttl){.kind = TTL_SET, .ms = 1 + random_next(random) % MAX_TTL_MS};
}

static struct operation append_of(const char *session, struct new_event *events, unsigned n_events)
{
    for (unsigned i = 0; i < n_events; i++) {
        events[i] =
            (struct new_event){.type = slice_of_string("t"), .data = slice_of_string("{\"n\":1}")};
    }
    return (struct operation){.kind = OPERATION_EVENTS_APPEND,
                              .append = {.session_id = slice_of_string(session),
                                         .n_events = n_events,
                                         .events = events,
                                         .has_create = true}};
}

/* --- Random work --- */

static void work_on_item(struct state_fixture *f, uint64_t *random)
{
    static const enum operation_kind kinds[] = {OPERATION_ITEM_PUT, OPERATION_ITEM_PUT,
                                                OPERATION_ITEM_DELETE, OPERATION_ITEM_TOUCH,
                                                OPERATION_ITEM_PATCH};
    struct operation operation = {.kind = PICK(random, kinds),
                                  .item = {.key = slice_of_string(PICK(random, items)),
                                           .value = slice_of_string(PICK(random, documents)),
                                           .ttl = random_ttl(random)}};

    if (operation.kind == OPERATION_ITEM_PUT && random_next(random) % 4 == 0) {
        operation.item.content = CONTENT_BYTES;
        operation.item.content_type = slice_of_string("application/octet-stream");
    }
    (void)run(f, PICK(random, namespaces), &operation); /* It may be refused. */
}

static void work_on_session(struct state_fixture *f, uint64_t *random)
{
    static const enum operation_kind kinds[] = {OPERATION_SESSION_PUT, OPERATION_SESSION_PUT,
                                                OPERATION_SESSION_PATCH, OPERATION_SESSION_DELETE,
                                                OPERATION_SESSION_TOUCH};
    struct operation operation = {.kind = PICK(random, kinds),
                                  .session = {.id = slice_of_string(PICK(random, sessions)),
                                              .fields = {.ttl = random_ttl(random)}}};

    if (random_next(random) % 2 == 0 && operation.kind != OPERATION_SESSION_TOUCH) {
        operation.session.fields.agent_id = text_field("agent");
        operation.session.fields.state = text_field(PICK(random, documents));
    }
    (void)run(f, PICK(random, namespaces), &operation);
}

static void work_on_log(struct state_fixture *f, uint64_t *random)
{
    struct new_event events[8];
    struct operation operation =
        append_of(PICK(random, sessions), events, 1 + (unsigned)(random_next(random) % 8));

    operation.append.create.ttl = random_ttl(random);
    operation.append.has_truncate_after = random_next(random) % 4 == 0;
    operation.append.truncate_after = random_next(random) % 40;
    if (random_next(random) % 4 == 0) {
        operation.append.state_patch = slice_of_string(PICK(random, documents));
    }
    if (random_next(random) % 4 == 0) {
        operation = (struct operation){.kind = OPERATION_EVENTS_DELETE,
                                       .trim = {.session_id = operation.append.session_id,
                                                .is_rewind = random_next(random) % 2 == 0,
                                                .seq = random_next(random) % 40}};
    }
    (void)run(f, PICK(random, namespaces), &operation);
}

static void work_on_namespace(struct state_fixture *f, uint64_t *random)
{
    struct operation operation = {.kind = random_next(random) % 3 == 0 ? OPERATION_NAMESPACE_DELETE
                                                                       : OPERATION_NAMESPACE_PUT,
                                  .ns = {.name = slice_of_string(PICK(random, namespaces))}};

    (void)run(f, "", &operation);
}

/* Often not at all: many entries carry the same time. */
static void pass_time(struct state_fixture *f, uint64_t *random)
{
    if (random_next(random) % 3 == 0) {
        f->now_ms += random_next(random) % 30;
    }
}

void state_work(struct state_fixture *f, uint64_t *random, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        switch (random_next(random) % 12) {
        case 0:
        case 1:
        case 2:
            work_on_item(f, random);
            break;
        case 3:
        case 4:
            work_on_session(f, random);
            break;
        case 5:
            work_on_namespace(f, random);
            break;
        case 6:
            (void)state_maintain(f, 1 + (uint32_t)(random_next(random) % 100));
            break;
        default:
            work_on_log(f, random);
            break;
        }
        pass_time(f, random);
    }
}

/* --- On purpose --- */

static void must_run(struct state_fixture *f, const char *ns, struct operation *operation)
{
    enum outcome outcome = run(f, ns, operation);

    assert_true(outcome_is_success(outcome));
}

void state_work_put_item_in(struct state_fixture *f, const char *ns, const char *key,
                            const char *value)
{
    struct operation operation = item_put(key, value);

    must_run(f, ns, &operation);
}

void state_work_put_item(struct state_fixture *f, const char *key, const char *value)
{
    state_work_put_item_in(f, "default", key, value);
}

void state_work_append_expiring(struct state_fixture *f, const char *session, unsigned n_events,
                                uint64_t ttl_ms)
{
    struct new_event events[LIMIT_APPEND_EVENTS];
    struct operation operation = append_of(session, events, n_events);

    if (ttl_ms > 0) {
        operation.append.create.ttl = (struct ttl){.kind = TTL_SET, .ms = ttl_ms};
    }
    must_run(f, "default", &operation);
}

void state_work_append(struct state_fixture *f, const char *session, unsigned n_events)
{
    state_work_append_expiring(f, session, n_events, 0);
}

void state_work_cut(struct state_fixture *f, const char *session, bool is_rewind, uint64_t seq)
{
    struct operation operation = {
        .kind = OPERATION_EVENTS_DELETE,
        .trim = {.session_id = slice_of_string(session), .is_rewind = is_rewind, .seq = seq}};

    must_run(f, "default", &operation);
}

void state_work_namespace(struct state_fixture *f, const char *name, bool exists)
{
    struct operation operation = {.kind =
                                      exists ? OPERATION_NAMESPACE_PUT : OPERATION_NAMESPACE_DELETE,
                                  .ns = {.name = slice_of_string(name)}};

    must_run(f, "", &operation);
}
