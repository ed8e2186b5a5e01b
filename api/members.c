/* Changes of the members, and of who leads.
 *
 * 1. The request is read into a struct member_change, and handed to the node.
 * 2. on_changed() gets the outcome, within 5 s, and answers.
 *
 * What can go wrong: see member_change in raft/node.h. Every change may be asked for again: what is
 * so already is answered like what was just done. */
#include <inttypes.h>
#include <stdlib.h>

#include "api/context.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "api/params.h"
#include "daemon/base/memory.h"
#include "raft/address.h"
#include "storage/document.h"

struct changing {
    struct member_change change;
    struct api_thread *thread;
    struct request *request;
};

/* --- The answer --- */

static const char *reason_name(enum member_reason reason)
{
    static const char *const names[MEMBER_REASONS] = {
        [MEMBER_REASON_NONE] = "none",
        [MEMBER_REASON_UNKNOWN] = "unknown",
        [MEMBER_REASON_UNREACHABLE] = "unreachable",
        [MEMBER_REASON_NAME_TAKEN] = "name-taken",
        [MEMBER_REASON_ADDRESS_TAKEN] = "address-taken",
        [MEMBER_REASON_OTHER_CLUSTER] = "other-cluster",
        [MEMBER_REASON_NOT_JOINING] = "not-joining",
        [MEMBER_REASON_VERSION] = "version",
        [MEMBER_REASON_CLOCK] = "clock",
        [MEMBER_REASON_REMOVED] = "removed",
        [MEMBER_REASON_TOO_MANY] = "too-many",
        [MEMBER_REASON_LAST_VOTER] = "last-voter",
        [MEMBER_REASON_QUORUM] = "quorum",
        [MEMBER_REASON_INCOMPLETE] = "incomplete",
        [MEMBER_REASON_UNHEALTHY] = "unhealthy",
        [MEMBER_REASON_ROLE] = "role",
        [MEMBER_REASON_DRAINED] = "drained",
        [MEMBER_REASON_BUSY] = "busy",
    };

    return names[reason];
}

static void append_string(struct buffer *text, const char *lead, const char *value)
{
    buffer_append_string(text, lead);
    document_write_string(slice_of_string(value), text);
}

/* What was done, or is under way. */
static void answer_change(struct request *request, const struct member_change *change, bool is_done)
{
    struct response response = {.status = 202};

    if (is_done && change->kind == MEMBER_CHANGE_REMOVE) {
        response.status = 204;
        request_respond(request, &response);
        return;
    }
    if (is_done) {
        response.status = change->kind == MEMBER_CHANGE_ADD ? 201 : 200;
    }
    append_string(&response.body, "{\"name\":", change->name);
    buffer_append_format(&response.body, ",\"id\":\"%016" PRIx64 "\",\"done\":%s", change->id,
                         is_done ? "true" : "false");
    if (is_done) {
        buffer_append_string(&response.body, ",\"detail\":null}");
    } else {
        append_string(&response.body, ",\"detail\":", change->text);
        buffer_append_byte(&response.body, '}');
    }
    request_respond(request, &response);
}

static void answer_refusal(struct request *request, const struct member_change *change)
{
    struct response response = {0};

    if (change->reason == MEMBER_REASON_UNKNOWN) {
        request_fail(request, PROBLEM_NOT_FOUND, "%s", change->text);
        return;
    }
    problem_begin(&response, PROBLEM_MEMBER_REFUSED, "%s", change->text);
    problem_text(&response, "reason", slice_of_string(reason_name(change->reason)));
    problem_end(&response);
    request_respond(request, &response);
}

static void answer(struct request *request, const struct member_change *change)
{
    switch (change->status) {
    case STATUS_OK:
    case STATUS_TIMEOUT:
        answer_change(request, change, change->status == STATUS_OK);
        return;
    case STATUS_PERMISSION:
        answer_refusal(request, change);
        return;
    case STATUS_NO_LEADER:
        request_fail(request, PROBLEM_NO_LEADER,
                     "there is no leader at the moment; nothing was changed");
        return;
    case STATUS_UNCERTAIN:
        request_fail(request, PROBLEM_OUTCOME_UNKNOWN,
                     "the leader did not say what became of it%s%s; it is safe to ask again",
                     change->text[0] == '\0' ? "" : ": ", change->text);
        return;
    default:
        request_fail(request, PROBLEM_NOT_READY, "the node is shutting down");
        return;
    }
}

/* --- On its way --- */

static void on_changed(struct message *message)
{
    struct member_change *change = CONTAINER_OF(message, struct member_change, message);
    struct changing *changing = CONTAINER_OF(change, struct changing, change);

    changing->thread->outstanding--;
    answer(changing->request, change);
    free(changing);
}

static struct changing *new_changing(struct request *request, enum member_change_kind kind)
{
    struct changing *changing = memory_new_zeroed(1, sizeof *changing);

    changing->thread = request->thread;
    changing->request = request;
    changing->change.kind = kind;
    changing->change.message.deliver = on_changed;
    changing->change.home = &request->thread->mailbox;
    return changing;
}

static void begin(struct changing *changing)
{
    struct api_thread *thread = changing->thread;
    struct request *request = changing->request;

    if (node_change(thread->node, &changing->change) == STATUS_OK) {
        thread->outstanding++;
        return;
    }
    free(changing);
    request_fail(request, PROBLEM_OVERLOADED,
                 "too many changes of members wait on this node, or it is shutting down");
}

/* --- What is asked for --- */

static bool is_member_name(struct slice name)
{
    if (name.size == 0 || name.size > LIMIT_NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool is_alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!is_alphanumeric && (i == 0 || (c != '-' && c != '_' && c != '.'))) {
            return false;
        }
    }
    return true;
}

/* The string @name of @object into @to. */
static enum status take_string(struct input *input, const json_t *object, const char *name,
                               bool is_required, char *to, size_t size)
{
    const json_t *value = json_object_get(object, name);
    char place[64];

    (void)snprintf(place, sizeof place, "/%s", name); /* Names are short. */
    if ((value == NULL || json_is_null(value)) && !is_required) {
        return STATUS_OK;
    }
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) >= size ||
        memchr(json_string_value(value), 0, json_string_length(value)) != NULL) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                 "%s must be a string of 1 to %zu bytes", name, size - 1);
    }
    memcpy(to, json_string_value(value), json_string_length(value) + 1);
    return STATUS_OK;
}

static enum status take_name(struct input *input, const json_t *object, const char *name,
                             bool is_required, char *to)
{
    char place[64];
    enum status status = take_string(input, object, name, is_required, to, LIMIT_NAME_BYTES + 1);

    if (status == STATUS_OK && to[0] != '\0' && !is_member_name(slice_of_string(to))) {
        (void)snprintf(place, sizeof place, "/%s", name); /* Names are short. */
        status = input_refuse_body(input, PROBLEM_INVALID_FIELD, place,
                                   "%s must be 1 to %u letters, digits, \"-\", \"_\", \".\", and "
                                   "begin with a letter or digit",
                                   name, LIMIT_NAME_BYTES);
    }
    return status;
}

/* An address, in the form that all nodes write it in. */
static enum status take_address(struct input *input, const json_t *object, const char *name,
                                char to[LIMIT_ADDRESS_BYTES + 1])
{
    struct address address;
    struct error error;
    char place[64];
    enum status status = take_string(input, object, name, true, to, LIMIT_ADDRESS_BYTES + 1);

    if (status != STATUS_OK) {
        return status;
    }
    if (address_parse(slice_of_string(to), &address, &error) != STATUS_OK || address.port == 0) {
        (void)snprintf(place, sizeof place, "/%s", name); /* Names are short. */
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "%s must be HOST:PORT", name);
    }
    address_format(&address, to);
    return STATUS_OK;
}

static enum status take_role(struct input *input, const json_t *object, enum member_wanted *wanted)
{
    static const struct {
        const char *name;
        enum member_wanted wanted;
    } roles[] = {{"voter", MEMBER_VOTER}, {"standby", MEMBER_STANDBY}, {"spare", MEMBER_SPARE}};
    const json_t *value = json_object_get(object, "role");

    if (value == NULL || json_is_null(value)) {
        return STATUS_OK;
    }
    for (size_t i = 0; json_is_string(value) && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(json_string_value(value), roles[i].name) == 0) {
            *wanted = roles[i].wanted;
            return STATUS_OK;
        }
    }
    return input_refuse_body(input, PROBLEM_INVALID_FIELD, "/role",
                             "role must be voter, standby or spare");
}

/* @flag is untouched where there is no such field. */
static enum status take_bool(struct input *input, const json_t *object, const char *name,
                             bool *flag)
{
    const json_t *value = json_object_get(object, name);
    char place[64];

    if (value == NULL) {
        return STATUS_OK;
    }
    if (!json_is_boolean(value)) {
        (void)snprintf(place, sizeof place, "/%s", name); /* Names are short. */
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, place, "%s must be true or false",
                                 name);
    }
    *flag = json_is_true(value);
    return STATUS_OK;
}

static enum status read_add(struct input *input, struct member_change *change)
{
    static const char *const names[] = {"name", "peer_address", "api_address",
                                        "zone", "role",         NULL};
    static const char *const none[] = {NULL};
    const json_t *object;
    enum status status = input_allow(input, none);

    change->wanted = MEMBER_AUTO;
    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    if (status == STATUS_OK) {
        status = fields_allow(input, object, "", names);
    }
    if (status == STATUS_OK) {
        status = take_name(input, object, "name", true, change->name);
    }
    if (status == STATUS_OK) {
        status = take_address(input, object, "peer_address", change->peer_address);
    }
    if (status == STATUS_OK) {
        status = take_address(input, object, "api_address", change->api_address);
    }
    if (status == STATUS_OK) {
        status = take_name(input, object, "zone", false, change->zone);
    }
    return status == STATUS_OK ? take_role(input, object, &change->wanted) : status;
}

static enum status take_path_name(struct input *input, struct member_change *change)
{
    struct slice name = input->request->captures[0];

    if (!is_member_name(name)) {
        return input_refuse(input, PROBLEM_NOT_FOUND, NULL,
                            "there is no member of that name; GET /v1/cluster shows all");
    }
    memcpy(change->name, name.data, name.size);
    return STATUS_OK;
}

/* One thing at a time: a role, or whether it is drained. */
static enum status read_patch(struct input *input, struct member_change *change)
{
    static const char *const names[] = {"role", "drained", "force", NULL};
    static const char *const none[] = {NULL};
    bool has_drained;
    bool is_drained = false;
    const json_t *object;
    enum status status = input_allow(input, none);

    if (status == STATUS_OK) {
        status = take_path_name(input, change);
    }
    if (status == STATUS_OK) {
        status = input_object(input, false, &object);
    }
    if (status == STATUS_OK) {
        status = fields_allow(input, object, "", names);
    }
    if (status == STATUS_OK) {
        status = take_role(input, object, &change->wanted);
    }
    if (status == STATUS_OK) {
        status = take_bool(input, object, "drained", &is_drained);
    }
    if (status == STATUS_OK) {
        status = take_bool(input, object, "force", &change->is_forced);
    }
    if (status != STATUS_OK) {
        return status;
    }
    has_drained = json_object_get(object, "drained") != NULL;
    if (has_drained == (change->wanted != MEMBER_AS_IS)) {
        return input_refuse_body(input, PROBLEM_INVALID_FIELD, "",
                                 "either role or drained is to be given");
    }
    if (has_drained) {
        change->kind = is_drained ? MEMBER_CHANGE_DRAIN : MEMBER_CHANGE_UNDRAIN;
    }
    return STATUS_OK;
}

static enum status read_delete(struct input *input, struct member_change *change)
{
    static const char *const names[] = {"force", NULL};
    enum status status = input_allow(input, names);

    if (status == STATUS_OK) {
        status = param_flag(input, "force", &change->is_forced);
    }
    return status == STATUS_OK ? take_path_name(input, change) : status;
}

static enum status read_transfer(struct input *input, struct member_change *change)
{
    static const char *const names[] = {"to", NULL};
    static const char *const none[] = {NULL};
    const json_t *object;
    enum status status = input_allow(input, none);

    if (status == STATUS_OK) {
        status = input_object(input, true, &object);
    }
    if (status == STATUS_OK) {
        status = fields_allow(input, object, "", names);
    }
    return status == STATUS_OK ? take_name(input, object, "to", false, change->name) : status;
}

static void run(struct request *request, enum member_change_kind kind,
                enum status (*read)(struct input *input, struct member_change *change))
{
    struct changing *changing = new_changing(request, kind);
    struct input input;
    enum status status;

    input_init(&input, request);
    status = read(&input, &changing->change);
    if (status != STATUS_OK) {
        free(changing);
        input_answer_refusal(&input);
    }
    input_close(&input);
    if (status == STATUS_OK) {
        begin(changing);
    }
}

void members_post(struct request *request)
{
    run(request, MEMBER_CHANGE_ADD, read_add);
}

void member_patch(struct request *request)
{
    run(request, MEMBER_CHANGE_ROLE, read_patch);
}

void member_delete(struct request *request)
{
    run(request, MEMBER_CHANGE_REMOVE, read_delete);
}

void transfer_post(struct request *request)
{
    run(request, MEMBER_CHANGE_TRANSFER, read_transfer);
}
