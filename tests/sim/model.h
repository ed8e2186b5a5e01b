/* What commands of the simulated clients must give: a small model of items that expire, sessions
 * whose logs are numbered, and answers that are remembered, next to the real state machine. */
#ifndef HOLDFAST_TESTS_SIM_MODEL_H
#define HOLDFAST_TESTS_SIM_MODEL_H

#include "daemon/base/buffer.h"

#define MODEL_ITEMS    6u
#define MODEL_SESSIONS 4u

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
    bool is_done; /* Acknowledged to the client. */
    /* The first execution that succeeded. */
    bool has_answer;
    uint64_t answer_hash;
    uint64_t first_seq;
    uint64_t last_seq;
};

struct model_item {
    bool exists;
    uint64_t revision;
    uint64_t expires_at_ms;
    uint64_t acknowledged; /* The highest revision of it that a client was told. */
};

struct model_session {
    bool exists;
    uint64_t next_seq;
};

struct model {
    uint64_t time_ms;
    uint64_t revision;
    struct model_item items[MODEL_ITEMS];
    struct model_session sessions[MODEL_SESSIONS];
};

void model_draw(const struct model *model, struct sim *sim, struct request *request);
void model_item_key(unsigned target, char key[16]);
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
