/* Writes: from a validated operation to the answer, with the node and the log in between.
 *
 * The api thread owns the time-out: after LIMIT_OUTCOME_WAIT_MS the client is told that the outcome
 * is not known, and what comes back later is dropped. One writes per api thread. */
#ifndef HOLDFAST_API_WRITE_H
#define HOLDFAST_API_WRITE_H

#include "api/operations.h"

struct writes;
struct api_thread;

struct writes *writes_new(struct api_thread *thread);

/* Nothing may be outstanding. The memory is released from the loop, later. */
void writes_free(struct writes *writes);

enum write_answer {
    WRITE_ANSWER_ROW,     /* Of the one operation. */
    WRITE_ANSWER_LOCATED, /* The same, and Location: the server made the id. */
    WRITE_ANSWER_RESULTS, /* Of a transaction. */
};

/* Make the operation by @make, submit it as a command and answer; or answer the refusal. */
void write_request(struct request *request, operation_from_input make, enum write_answer answer);

/* Submit @command, whose idempotency key is filled in here from the input, and answer. */
void write_command(struct input *input, struct command *command, enum write_answer answer);

/* Render an encoded result; used for fresh ones and replays alike. */
void write_render(const struct request *request, enum write_answer answer, struct slice result,
                  struct response *response);

#endif
