#include "tests/sim/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/command.h"
#include "storage/result.h"
#include "storage/rows.h"
#include "tests/lib/log_model.h"
#include "tests/sim/sim.h"

#define MAX_EVENTS        3u
#define EVENTS_OF_REQUEST 4u  /* Numbers that a request has for its events. */
#define MIN_BYTES         24u /* A value and an event say whose they are. */

/* Of the items in use, the first ones expire now and then. */
#define EXPIRING_ITEMS (MODEL_ITEMS / 2)

/* --- What there is --- */

static unsigned new_item(struct model *model)
{
    model->items = memory_resize(model->items, (model->n_items + 1) * sizeof *model->items);
    model->items[model->n_items] = (struct model_item){.exists = false};
    return model->n_items++;
}

static unsigned new_session(struct model *model)
{
    model->sessions =
        memory_resize(model->sessions, (model->n_sessions + 1) * sizeof *model->sessions);
    model->sessions[model->n_sessions] = (struct model_session){.exists = false};
    return model->n_sessions++;
}

void model_open(struct model *model)
{
    *model = (struct model){.time_ms = 0};
    for (unsigned i = 0; i < MODEL_ITEMS; i++) {
        model->item_at[i] = new_item(model);
    }
    for (unsigned i = 0; i < MODEL_SESSIONS; i++) {
        model->session_at[i] = new_session(model);
    }
}

void model_close(struct model *model)
{
    free(model->items);
    free(model->sessions);
}

bool model_is_register(const struct model *model, unsigned target)
{
    for (unsigned i = 0; i < EXPIRING_ITEMS; i++) {
        if (model->item_at[i] == target) {
            return false;
        }
    }
    return true;
}

/* --- Commands --- */

uint64_t model_value(const struct request *request)
{
    return request->number + 1; /* 0 is for what is absent. */
}

uint64_t model_value_of(struct slice value)
{
    uint64_t number = 0;

    CHECK(value.size >= sizeof number);
    memcpy(&number, value.data, sizeof number);
    return number;
}

uint64_t model_first_event(const struct request *request)
{
    return request->number * EVENTS_OF_REQUEST;
}

uint64_t model_event_of(struct slice data)
{
    char digits[21] = "";

    CHECK(data.size >= MIN_BYTES && data.data[0] == '"');
    memcpy(digits, data.data + 1, sizeof digits - 1);
    return strtoull(digits, NULL, 10);
}

void model_item_key(unsigned target, char key[16])
{
    (void)snprintf(key, 16, "item-%u", target); /* Fits. */
}

void model_session_id(unsigned target, char id[24])
{
    (void)snprintf(id, 24, "session-%u", target); /* Fits. */
}

static void draw_append(struct model *model, struct sim *sim, struct request *request)
{
    unsigned *at = &model->session_at[sim_between(sim, 0, MODEL_SESSIONS - 1)];
    struct model_session *session;

    if (model->sessions[*at].n_requests == MODEL_REQUESTS) {
        *at = new_session(model);
    }
    session = &model->sessions[*at];
    session->n_requests++;
    request->target = *at;
    request->n_events = sim_between(sim, 1, MAX_EVENTS);
    request->has_ids = !request->has_key && sim_once_in(sim, 2);
    if (!request->has_ids && session->next_seq > 5 && sim_once_in(sim, 20)) {
        request->truncate = session->next_seq - sim_between(sim, 1, 5);
    }
}

static void draw_item(struct model *model, struct sim *sim, struct request *request)
{
    unsigned place = sim_between(sim, 0, MODEL_ITEMS - 1);
    struct model_item *item;

    request->is_of_register = place >= EXPIRING_ITEMS;
    if (request->is_of_register &&
        model->items[model->item_at[place]].n_requests == MODEL_REQUESTS) {
        model->item_at[place] = new_item(model);
    }
    item = &model->items[model->item_at[place]];
    item->n_requests++;
    request->target = model->item_at[place];
    request->tag = item->revision;
    request->expected = item->revision == 0 ? UINT64_MAX : item->value;
    if (!request->is_of_register && !sim_once_in(sim, 4)) {
        request->ttl_ms = sim_between(sim, 200, 3000);
    }
}

void model_draw(struct model *model, struct sim *sim, struct request *request)
{
    request->kind = (enum request_kind)sim_between(sim, 0, REQUEST_KINDS - 1);
    if (sim_once_in(sim, 3)) {
        request->kind = REQUEST_APPEND;
    }
    request->size = sim_once_in(sim, 50) ? 20000 : MIN_BYTES;
    request->truncate = LOG_NO_REWIND;
    request->has_key = sim_once_in(sim, 2);
    if (request->kind == REQUEST_APPEND) {
        draw_append(model, sim, request);
    } else {
        draw_item(model, sim, request);
    }
}

static void encode(struct command *command, const struct request *request, struct buffer *buffer)
{
    char key[32];

    command->ns = slice_of_string("default");
    if (request->has_key) {
        (void)snprintf(key, sizeof key, "key-%" PRIu64, request->number); /* Fits. */
        command->idempotency_key = slice_of_string(key);
        command->request_hash[0] = request->number;
    }
    command_encode(command, buffer);
}

/* A string of JSON that begins with a number. */
static char *new_data(size_t size, uint64_t event)
{
    char *data = memory_new(size + 1);
    int used = snprintf(data, size + 1, "\"%020" PRIu64, event);

    CHECK(used > 0 && (size_t)used < size);
    memset(data + used, 'x', size - (size_t)used);
    data[size - 1] = '"';
    return data;
}

static void encode_append(struct command *command, const struct request *request, const char *label,
                          struct buffer *buffer)
{
    struct append_operation *append = &command->operations[0].append;
    struct new_event events[MAX_EVENTS] = {0};
    char ids[MAX_EVENTS][48];
    char session[24];
    char *data[MAX_EVENTS] = {NULL};

    model_session_id(request->target, session);
    for (unsigned i = 0; i < request->n_events; i++) {
        data[i] = new_data(request->size, model_first_event(request) + i);
        (void)snprintf(ids[i], sizeof ids[i], "e-%" PRIu64 "-%u", request->number, i); /* Fits. */
        events[i].id = request->has_ids ? slice_of_string(ids[i]) : slice_of(NULL, 0);
        events[i].type = slice_of_string("note");
        events[i].data = slice_of(data[i], request->size);
    }
    append->session_id = slice_of_string(session);
    append->n_events = request->n_events;
    append->events = events;
    append->has_truncate_after = request->truncate != LOG_NO_REWIND;
    append->truncate_after = append->has_truncate_after ? request->truncate : 0;
    append->has_create = true;
    append->create.agent_id =
        (struct text_field){.kind = FIELD_SET, .value = slice_of_string("agent")};
    append->create.user_id =
        (struct text_field){.kind = FIELD_SET, .value = slice_of_string(label)};
    encode(command, request, buffer);
    for (unsigned i = 0; i < request->n_events; i++) {
        free(data[i]);
    }
}

static void encode_item(struct command *command, const struct request *request, const char *label,
                        struct buffer *buffer)
{
    static const enum operation_kind kinds[] = {
        [REQUEST_PUT] = OPERATION_ITEM_PUT,
        [REQUEST_PUT_IF_MATCH] = OPERATION_ITEM_PUT,
        [REQUEST_TOUCH] = OPERATION_ITEM_TOUCH,
        [REQUEST_DELETE] = OPERATION_ITEM_DELETE,
    };
    struct operation *operation = &command->operations[0];
    char key[16];
    uint8_t *value = memory_new_zeroed(request->size, 1);
    uint64_t number = model_value(request);

    memcpy(value, &number, sizeof number);
    model_item_key(request->target, key);
    operation->kind = kinds[request->kind];
    operation->item.key = slice_of_string(key);
    operation->item.user_id =
        (struct text_field){.kind = FIELD_SET, .value = slice_of_string(label)};
    if (operation->kind == OPERATION_ITEM_PUT) {
        operation->item.value = slice_of(value, request->size);
        operation->item.content = CONTENT_BYTES;
        operation->item.content_type = slice_of_string("application/octet-stream");
    }
    if (request->ttl_ms != 0 && request->kind != REQUEST_DELETE) {
        operation->item.ttl = (struct ttl){.kind = TTL_SET, .ms = request->ttl_ms};
    } else if (request->kind == REQUEST_TOUCH) {
        operation->item.ttl.kind = TTL_CLEAR;
    }
    if (request->kind == REQUEST_TOUCH) {
        operation->if_match.kind = CONDITION_ANY; /* The renewal is exact then. */
    } else if (request->kind == REQUEST_PUT_IF_MATCH) {
        operation->if_match =
            (struct condition){.kind = CONDITION_TAGS, .n_tags = 1, .tags = {request->tag}};
    }
    encode(command, request, buffer);
    free(value);
}

void model_encode(const struct request *request, uint64_t op_number, struct buffer *buffer)
{
    struct operation operation = {.kind = OPERATION_EVENTS_APPEND};
    struct command command = {.n_operations = 1, .operations = &operation};
    char label[32];

    (void)snprintf(label, sizeof label, "op-%" PRIu64, op_number); /* Fits. */
    if (request->kind == REQUEST_APPEND) {
        encode_append(&command, request, label, buffer);
    } else {
        encode_item(&command, request, label, buffer);
    }
}

uint64_t model_op_number(const struct command *command)
{
    const struct operation *operation = &command->operations[0];
    struct slice label;

    if (operation->kind == OPERATION_MAINTAIN || operation->kind >= OPERATION_MEMBER_ADD) {
        return UINT64_MAX;
    }
    label = operation->kind == OPERATION_EVENTS_APPEND ? operation->append.create.user_id.value
                                                       : operation->item.user_id.value;
    CHECK(label.size > 3 && label.size < 32);
    {
        char digits[32] = "";

        memcpy(digits, label.data + 3, label.size - 3);
        return strtoull(digits, NULL, 10);
    }
}

/* --- What must come out --- */

uint64_t model_result_hash(struct slice bytes)
{
    struct result result;
    uint64_t parts[4];

    if (bytes.size == 0) {
        return 0;
    }
    CHECK(result_decode(bytes, &result) == STATUS_OK);
    parts[0] = result.revision;
    parts[1] = result.failed_operation;
    parts[2] = result.n_operations;
    parts[3] = XXH3_64bits(result.operations.data, result.operations.size);
    return XXH3_64bits(parts, sizeof parts) | 1;
}

/* One execution that is compared with the model. */
struct comparison {
    struct model *model;
    struct sim *sim;
    struct request *request;
    struct result result;
    struct operation_result first;
};

static void expect_outcome(const struct comparison *c, enum outcome wanted)
{
    SIM_EXPECT(c->sim, c->first.outcome == wanted,
               "request %" PRIu64 " of kind %u on %u gives outcome %u, not %u", c->request->number,
               (unsigned)c->request->kind, c->request->target, (unsigned)c->first.outcome,
               (unsigned)wanted);
}

/* The command changed something: it has a revision of its own. */
static void expect_new_revision(const struct comparison *c)
{
    SIM_EXPECT(c->sim, c->result.revision > c->model->revision,
               "revision %" PRIu64 " after %" PRIu64, c->result.revision, c->model->revision);
    c->model->revision = c->result.revision;
}

static bool is_live(const struct model *model, const struct model_item *item)
{
    return item->exists && (item->expires_at_ms == 0 || item->expires_at_ms > model->time_ms);
}

static void execute_item(const struct comparison *c)
{
    struct model_item *item = &c->model->items[c->request->target];
    bool live = is_live(c->model, item);
    bool is_put = c->request->kind == REQUEST_PUT || c->request->kind == REQUEST_PUT_IF_MATCH;
    uint64_t ttl_ms = c->request->ttl_ms;

    if (c->request->kind == REQUEST_PUT_IF_MATCH && !(live && item->revision == c->request->tag)) {
        expect_outcome(c, OUTCOME_PRECONDITION_FAILED);
        SIM_EXPECT(c->sim, c->first.number == (live ? item->revision : 0),
                   "a refusal names revision %" PRIu64, c->first.number);
        return;
    }
    if (!is_put && !live) {
        expect_outcome(c, OUTCOME_NOT_FOUND);
        return;
    }
    expect_outcome(c, !is_put ? OUTCOME_NO_CONTENT : live ? OUTCOME_OK : OUTCOME_CREATED);
    expect_new_revision(c);
    item->exists = c->request->kind != REQUEST_DELETE;
    item->expires_at_ms = ttl_ms == 0 ? 0 : c->model->time_ms + ttl_ms;
    if (is_put) {
        SIM_EXPECT(c->sim, c->first.etag == c->result.revision,
                   "a put of revision %" PRIu64 " has tag %" PRIu64, c->result.revision,
                   c->first.etag);
        item->revision = c->first.etag;
        item->value = model_value(c->request);
    }
}

static void execute_append(const struct comparison *c)
{
    struct model_session *session = &c->model->sessions[c->request->target];
    struct request *request = c->request;
    struct append_row row;

    if (!outcome_is_success(c->first.outcome) || c->first.row_kind != ROW_APPEND ||
        append_row_decode(c->first.row, &row) != STATUS_OK) {
        expect_outcome(c, OUTCOME_CREATED);
        return;
    }
    if (request->has_ids && request->has_answer) {
        SIM_EXPECT(c->sim,
                   row.duplicate && row.first_seq == request->first_seq &&
                       row.last_seq == request->last_seq,
                   "events %" PRIu64 " to %" PRIu64 " are appended again from %" PRIu64,
                   request->first_seq, request->last_seq, row.first_seq);
        return;
    }
    if (session->next_seq == 0) {
        session->next_seq = 1;
    }
    expect_outcome(c, OUTCOME_CREATED);
    expect_new_revision(c);
    SIM_EXPECT(c->sim,
               row.first_seq == session->next_seq &&
                   row.last_seq == row.first_seq + request->n_events - 1 && !row.duplicate,
               "session %u: %u events get numbers %" PRIu64 " to %" PRIu64 ", next was %" PRIu64,
               request->target, request->n_events, row.first_seq, row.last_seq, session->next_seq);
    SIM_EXPECT(c->sim, row.session_created == !session->exists, "session %u is made again",
               request->target);
    session->exists = true;
    session->next_seq = row.last_seq + 1;
    request->first_seq = row.first_seq;
    request->last_seq = row.last_seq;
}

void model_execute(struct model *model, struct sim *sim, struct request *request,
                   const struct command *command, bool storage_full, struct slice bytes)
{
    struct comparison c = {.model = model, .sim = sim, .request = request};
    struct slice walk;

    CHECK(result_decode(bytes, &c.result) == STATUS_OK);
    walk = c.result.operations;
    CHECK(result_next(&walk, &c.first));
    if (request->has_key && request->has_answer) {
        SIM_EXPECT(sim, c.result.replayed && model_result_hash(bytes) == request->answer_hash,
                   "the repetition of request %" PRIu64 " is answered differently",
                   request->number);
        return;
    }
    SIM_EXPECT(sim, !c.result.replayed, "request %" PRIu64 " is answered without execution",
               request->number);
    SIM_EXPECT(sim, c.result.revision >= model->revision, "revision %" PRIu64 " after %" PRIu64,
               c.result.revision, model->revision);
    if (storage_full && command_adds(command)) {
        expect_outcome(&c, OUTCOME_STORAGE_FULL);
        return;
    }
    if (request->kind == REQUEST_APPEND) {
        execute_append(&c);
    } else {
        execute_item(&c);
    }
    if (outcome_is_success(c.first.outcome) && !request->has_answer) {
        request->has_answer = true;
        request->answer_hash = model_result_hash(bytes);
    }
}
