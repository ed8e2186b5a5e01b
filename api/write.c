/* A write:
 *
 * 1. write_request() validates, encodes the command and hands it to the node.
 * 2. The cluster agrees on it and this node executes it.
 * 3. on_submission() gets the encoded result and answers.
 *
 * What can go wrong:
 * - The node's queue is full, or a disk is: 503 or 507 at once.
 * - No leader: 503, certainly not executed.
 * - No outcome within LIMIT_OUTCOME_WAIT_MS: on_due() answers 504; step 3 only releases memory.
 * - The client goes away: on_gone() says so, and what was not sent yet never is. */
#include "api/write.h"

#include <stdlib.h>
#include <xxhash.h>

#include "api/context.h"
#include "api/deadlines.h"
#include "api/params.h"
#include "api/render.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"

/* The node's status is that old at most anyway. */
#define STATUS_REFRESH_MS 100

struct writes {
    struct api_thread *thread;
    struct deadlines deadlines;
    struct node_status status; /* Large, so kept here. */
    uint64_t status_at_ms;
    bool has_status;
};

struct write {
    struct submission submission;
    struct deadline deadline;
    struct api_thread *thread;
    struct request *request; /* NULL once it was answered. */
    enum write_answer answer;
};

static void on_due(struct deadline *deadline);
static void on_gone(struct request *request);
static void on_submission(struct message *message);

struct writes *writes_new(struct api_thread *thread)
{
    struct writes *writes = memory_new_zeroed(1, sizeof(*writes));

    writes->thread = thread;
    deadlines_init(&writes->deadlines, &thread->loop,
                   thread->write_wait_ms == 0 ? LIMIT_OUTCOME_WAIT_MS : thread->write_wait_ms);
    return writes;
}

static void on_deadlines_closed(struct deadlines *deadlines)
{
    free(CONTAINER_OF(deadlines, struct writes, deadlines));
}

void writes_free(struct writes *writes)
{
    deadlines_close(&writes->deadlines, on_deadlines_closed);
}

static bool is_storage_full(struct writes *writes)
{
    uint64_t now_ms = api_now_ms(writes->thread);

    if (!writes->has_status || now_ms - writes->status_at_ms >= STATUS_REFRESH_MS) {
        node_status(writes->thread->node, &writes->status);
        writes->status_at_ms = now_ms;
        writes->has_status = true;
    }
    return writes->status.storage_full;
}

/* Could the machine know this command from before? Then only it can say what to answer. */
static bool may_be_repetition(const struct command *command)
{
    for (uint32_t i = 0; i < command->n_operations; i++) {
        const struct operation *operation = &command->operations[i];

        if (operation->kind == OPERATION_EVENTS_APPEND && operation->append.n_events > 0 &&
            operation->append.events[0].id.size > 0) {
            return true;
        }
    }
    return command->idempotency_key.size > 0;
}

static void hash_piece(XXH3_state_t *hash, struct slice piece)
{
    uint64_t size = piece.size;

    (void)XXH3_128bits_update(hash, &size, sizeof(size)); /* Fails for NULL only. */
    (void)XXH3_128bits_update(hash, piece.data, piece.size);
}

static void hash_request(const struct request *request, uint64_t hash[2])
{
    XXH3_state_t *state = XXH3_createState();
    XXH128_hash_t sum;

    CHECK(state != NULL);
    CHECK(XXH3_128bits_reset(state) == XXH_OK);
    hash_piece(state, slice_of_string(method_name(request->method)));
    hash_piece(state, request->target);
    hash_piece(state, request->body);
    sum = XXH3_128bits_digest(state);
    (void)XXH3_freeState(state); /* Always XXH_OK. */
    hash[0] = sum.low64;
    hash[1] = sum.high64;
}

static void submit(struct request *request, const struct command *command, enum write_answer answer)
{
    struct api_thread *thread = request->thread;
    struct write *write = memory_new_zeroed(1, sizeof(*write));
    enum status status;

    write->thread = thread;
    write->request = request;
    write->answer = answer;
    write->deadline.on_due = on_due;
    write->submission.message.deliver = on_submission;
    write->submission.home = &thread->mailbox;
    atomic_init(&write->submission.abandoned, false);
    command_encode(command, &write->submission.command);

    status = node_submit(thread->node, &write->submission);
    if (status == STATUS_OK) {
        thread->outstanding++;
        deadlines_arm(&thread->writes->deadlines, &write->deadline);
        request->on_gone = on_gone;
        request->on_gone_data = write;
        return;
    }
    buffer_close(&write->submission.command);
    free(write);
    if (status == STATUS_BUSY) {
        request_fail(request, PROBLEM_OVERLOADED, "too many writes wait on this node");
    } else {
        request_fail(request, PROBLEM_NOT_READY, "the node is shutting down");
    }
}

void write_command(struct input *input, struct command *command, enum write_answer answer)
{
    struct request *request = input->request;

    if (param_idempotency_key(input, &command->idempotency_key) != STATUS_OK) {
        input_answer_refusal(input);
        return;
    }
    if (command->idempotency_key.size > 0) {
        hash_request(request, command->request_hash);
    }
    if (is_storage_full(request->thread->writes) && command_adds(command) &&
        !may_be_repetition(command)) {
        request_fail(request, PROBLEM_STORAGE_FULL,
                     "a disk of the cluster is full; reads and deletes work");
        return;
    }
    submit(request, command, answer);
}

/* The namespaces themselves lie in none. */
static bool is_inside_namespace(enum operation_kind kind)
{
    return kind != OPERATION_NAMESPACE_PUT && kind != OPERATION_NAMESPACE_PATCH &&
           kind != OPERATION_NAMESPACE_DELETE;
}

void write_request(struct request *request, operation_from_input make, enum write_answer answer)
{
    struct operation operation;
    struct input input;

    memset(&operation, 0, sizeof(operation));
    input_init(&input, request);
    if (make(&input, &operation) == STATUS_OK) {
        struct command command = {.n_operations = 1, .operations = &operation};

        if (is_inside_namespace(operation.kind)) {
            command.ns = request->ns;
        }
        write_command(&input, &command, answer);
    } else {
        input_answer_refusal(&input);
    }
    input_close(&input);
}

static void on_due(struct deadline *deadline)
{
    struct write *write = CONTAINER_OF(deadline, struct write, deadline);
    struct request *request = write->request;

    write->request = NULL;
    atomic_store(&write->submission.abandoned, true);
    request_fail(request, PROBLEM_OUTCOME_UNKNOWN,
                 "the write may or may not have been executed; repeat it with the same "
                 "Idempotency-Key or event ids to learn");
}

static void on_gone(struct request *request)
{
    struct write *write = request->on_gone_data;

    atomic_store(&write->submission.abandoned, true);
}

static void answer_failure(struct request *request, enum status status)
{
    switch (status) {
    case STATUS_NO_LEADER:
        request_fail(request, PROBLEM_NO_LEADER,
                     "there is no leader at the moment; the write was not executed");
        break;
    case STATUS_BUSY:
        request_fail(request, PROBLEM_OVERLOADED,
                     "too many writes wait in the cluster; this one was not executed");
        break;
    case STATUS_CLOSED:
        request_fail(request, PROBLEM_NOT_READY,
                     "the node is shutting down; the write was not executed");
        break;
    default:
        request_fail(request, PROBLEM_OUTCOME_UNKNOWN,
                     "the write may or may not have been executed; repeat it with the same "
                     "Idempotency-Key or event ids to learn");
        break;
    }
}

static void on_submission(struct message *message)
{
    struct submission *submission = CONTAINER_OF(message, struct submission, message);
    struct write *write = CONTAINER_OF(submission, struct write, submission);
    struct request *request = write->request;

    write->thread->outstanding--;
    deadline_disarm(&write->deadline);
    if (request != NULL && submission->status != STATUS_OK) {
        answer_failure(request, submission->status);
    } else if (request != NULL) {
        struct response response = {0};

        write_render(request, write->answer, buffer_slice(&submission->result), &response);
        request_respond(request, &response);
    }
    buffer_close(&submission->command);
    buffer_close(&submission->result);
    free(write);
}
