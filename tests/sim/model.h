/* What commands of the simulated clients must give: a small model of items that expire, sessions
 * whose logs are numbered, and answers that are remembered, next to the real state machine. */
#ifndef HOLDFAST_TESTS_SIM_MODEL_H
#define HOLDFAST_TESTS_SIM_MODEL_H

#include "daemon/base/buffer.h"

/* So many are in use at a time. */
#define MODEL_ITEMS    6u
#define MODEL_SESSIONS 4u
/* After so many requests another takes the place of a session, or of an item that does not expire:
 * histories are short, and all of a run is in one. */
#define MODEL_REQUESTS 100u

struct sim;
struct command;

enum request_kind {
    REQUEST_PUT,
    REQUEST_PUT_IF_MATCH,
    REQUEST_TOUCH,
    REQUEST_DELETE,
    REQUEST_APPEND,
    REQUEST_KINDS
};

/* What a client wants, however often it tries. */
struct request {
    enum request_kind kind;
    unsigned target; /* Which item, which session. */
    uint64_t number;
    bool has_key;      /* An idempotency key. */
    bool has_ids;      /* Event ids. */
    uint64_t ttl_ms;   /* 0: none. */
    uint64_t tag;      /* REQUEST_PUT_IF_MATCH. */
    uint64_t truncate; /* APPEND: rewind to it first; UINT64_MAX: no. */
    unsigned n_events;
    size_t size; /* Of the value, or of each event's text. */
    unsigned tries;
    bool is_of_register; /* Of an item that never expires. */
    uint64_t expected;   /* PUT_IF_MATCH: the value that @tag is of; no other's value: none. */
    uint64_t call;       /* When it was first sent, and whether it is in a history (history.h). */
    bool is_recorded;
    uint64_t hint; /* Where in the log it succeeded first. */
    /* The first execution that succeeded. */
    bool has_answer;
    uint64_t answer_hash;
    uint64_t first_seq;
    uint64_t last_seq;
};

struct model_item {
    bool exists;
    uint64_t revision;
    uint64_t value; /* Of that revision. */
    uint64_t expires_at_ms;
    unsigned n_requests;
};

struct model_session {
    bool exists;
    uint64_t next_seq;
    unsigned n_requests;
};

struct model {
    uint64_t time_ms;
    uint64_t revision;
    unsigned n_items;
    struct model_item *items;
    unsigned n_sessions;
    struct model_session *sessions;
    unsigned item_at[MODEL_ITEMS]; /* Which are in use. */
    unsigned session_at[MODEL_SESSIONS];
};

void model_open(struct model *model);
void model_close(struct model *model);
void model_draw(struct model *model, struct sim *sim, struct request *request);
/* Does item @target, in use, never expire? */
bool model_is_register(const struct model *model, unsigned target);
/* What a request puts into an item, and the number of its first event, as data of it says. */
uint64_t model_value(const struct request *request);
uint64_t model_first_event(const struct request *request);
uint64_t model_value_of(struct slice value);
uint64_t model_event_of(struct slice data);
void model_item_key(unsigned target, char key[16]);
void model_session_id(unsigned target, char id[24]);
/* The command of try @op_number of @request. */
void model_encode(const struct request *request, uint64_t op_number, struct buffer *buffer);
/* Which try a command is; UINT64_MAX: not a client's. */
uint64_t model_op_number(const struct command *command);
/* What was executed next, in the order of the log: compare and go on. */
void model_execute(struct model *model, struct sim *sim, struct request *request,
                   const struct command *command, bool storage_full, struct slice result);
/* Of a result, whether it is a repetition or not. */
uint64_t model_result_hash(struct slice result);

#endif
