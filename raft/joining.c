/* The leader's side:
 * 1. invitation_open() dials; the timer bounds all of it.
 * 2. on_dialled() lets agreement look at who answers, and sends the offer.
 * 3. on_frame() has the answer.
 *
 * What can go wrong: the node is not there, speaks another protocol, or does not answer in time. */
#include "raft/joining.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

/* --- The new node --- */

static enum member_reason refuse(struct error *text, enum member_reason reason, enum status status,
                                 const char *sentence)
{
    (void)error_set(text, status, "%s", sentence); /* The reason is returned. */
    return reason;
}

static bool copy_text(struct slice from, char *to, size_t size)
{
    if (from.size >= size) {
        return false;
    }
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    to[from.size] = '\0';
    return true;
}

static bool take_members(const struct frame_join_offer *offer, struct identity *next)
{
    next->n_members = 0;
    for (uint32_t i = 0; i < offer->n_members; i++) {
        const struct frame_bootstrap_member *from = &offer->members[i];
        struct identity_member *to = &next->members[next->n_members++];

        to->id = from->id;
        if (from->id == 0 || !copy_text(from->name, to->name, sizeof to->name) ||
            !copy_text(from->peer_address, to->peer_address, sizeof to->peer_address) ||
            !copy_text(from->api_address, to->api_address, sizeof to->api_address)) {
            return false;
        }
    }
    return true;
}

static bool differs_too_much(uint64_t a, uint64_t b)
{
    return a > b ? a - b > JOINING_CLOCK_MS : b - a > JOINING_CLOCK_MS;
}

enum member_reason joining_judge(const struct identity *own, bool joins,
                                 const struct frame_join_offer *offer, uint64_t wall_ms,
                                 struct identity *next, struct error *text)
{
    bool is_pending = own->stage == IDENTITY_PENDING && own->is_joining;

    if (own->stage == IDENTITY_MEMBER || (own->stage == IDENTITY_PENDING && !own->is_joining)) {
        return refuse(text, MEMBER_REASON_OTHER_CLUSTER, STATUS_EXISTS,
                      "its data directory belongs to a cluster already");
    }
    if (!joins && !is_pending) {
        return refuse(text, MEMBER_REASON_NOT_JOINING, STATUS_CLOSED,
                      "it does not wait to join: start it with --join instead of "
                      "--initial-cluster");
    }
    if (is_pending &&
        (!slice_equals_string(offer->cluster_id, own->cluster_id) || offer->id != own->id)) {
        return refuse(text, MEMBER_REASON_OTHER_CLUSTER, STATUS_MISMATCH,
                      "it was offered another place before: remove its data directory, and let it "
                      "join anew");
    }
    if (differs_too_much(offer->wall_ms, wall_ms)) {
        (void)error_set(
            text, STATUS_INVALID,
            "its clock is %" PRIu64 " s %s the leader's: set the clocks of both "
            "machines by NTP",
            (offer->wall_ms > wall_ms ? offer->wall_ms - wall_ms : wall_ms - offer->wall_ms) / 1000,
            offer->wall_ms > wall_ms ? "behind" : "ahead of"); /* The reason is returned. */
        return MEMBER_REASON_CLOCK;
    }
    *next = (struct identity){.stage = IDENTITY_PENDING, .id = offer->id, .is_joining = true};
    memcpy(next->name, own->name, sizeof next->name);
    if (offer->cluster_id.size != IDENTITY_CLUSTER_BYTES || offer->id == 0 ||
        !take_members(offer, next)) {
        return refuse(text, MEMBER_REASON_VERSION, STATUS_CORRUPT,
                      "it does not understand the "
                      "offer");
    }
    memcpy(next->cluster_id, offer->cluster_id.data, IDENTITY_CLUSTER_BYTES);
    return MEMBER_REASON_NONE;
}

/* --- The leader --- */

struct invitation {
    struct invitation_options options;
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    uv_timer_t timer;
    struct dial *dial;
    struct channel *channel;
    bool is_closed;
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void invitation_close(struct invitation *invitation)
{
    if (invitation == NULL) {
        return;
    }
    CHECK(!invitation->is_closed);
    invitation->is_closed = true;
    if (invitation->dial != NULL) {
        dial_cancel(invitation->dial);
    }
    channel_close(invitation->channel);
    uv_close((uv_handle_t *)&invitation->timer, on_timer_closed);
}

static void end(struct invitation *invitation, enum member_reason why, const char *text)
{
    struct invitation_options options = invitation->options;

    invitation_close(invitation);
    options.on_joined(options.data, why, text); /* Last: it may open another. */
}

static void fail(struct invitation *invitation, enum member_reason why, const struct error *error)
{
    struct error copy = *error;

    (void)error_prefix(&copy, "the leader could not reach it by its peer address %s",
                       invitation->peer_address); /* Only the text is needed. */
    end(invitation, why, copy.text);
}

static void on_timeout(uv_timer_t *timer)
{
    struct invitation *invitation = timer->data;
    struct error error;

    (void)error_set(&error, STATUS_TIMEOUT, "no answer in time"); /* Told by fail(). */
    fail(invitation, MEMBER_REASON_UNREACHABLE, &error);
}

static void on_frame(void *data, struct channel *channel, const struct frame *frame)
{
    struct invitation *invitation = data;
    char text[ERROR_MAX_TEXT];

    (void)channel;
    if (frame->type != FRAME_JOIN_ANSWER ||
        !copy_text(frame->join_answer.text, text, sizeof text)) {
        end(invitation, MEMBER_REASON_VERSION, "it answers in a way that the leader does not know");
        return;
    }
    end(invitation, frame->join_answer.reason, text);
}

static void on_broken(void *data, struct channel *channel, const struct error *error)
{
    (void)channel; /* fail() closes it. */
    fail(data, MEMBER_REASON_UNREACHABLE, error);
}

static const struct channel_events events = {.on_frame = on_frame, .on_broken = on_broken};

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    struct invitation *invitation = data;
    struct frame offer;

    invitation->dial = NULL;
    if (channel == NULL) {
        fail(invitation,
             error->status == STATUS_UNSUPPORTED ? MEMBER_REASON_VERSION
                                                 : MEMBER_REASON_UNREACHABLE,
             error);
        return;
    }
    channel_set_owner(channel, &events, invitation);
    invitation->channel = channel;
    if (!invitation->options.on_met(invitation->options.data, welcome, &offer)) {
        struct invitation_options options = invitation->options;

        invitation_close(invitation);
        options.on_ended(options.data); /* Last: it may open another. */
        return;
    }
    (void)channel_send(channel, &offer); /* on_broken() tells of a failure. */
    channel_flush(channel);
}

static void on_start(uv_timer_t *timer)
{
    struct invitation *invitation = timer->data;
    struct error error;

    CHECK(uv_timer_start(&invitation->timer, on_timeout, JOINING_DIAL_MS, 0) == 0);
    if (peers_dial(invitation->options.peers, invitation->peer_address, PURPOSE_JOIN, 0, invitation,
                   on_dialled, &invitation->dial, &error) != STATUS_OK) {
        invitation->dial = NULL;
        fail(invitation, MEMBER_REASON_UNREACHABLE, &error);
    }
}

struct invitation *invitation_open(const struct invitation_options *options)
{
    struct invitation *invitation = memory_new_zeroed(1, sizeof *invitation);

    invitation->options = *options;
    (void)copy_text(slice_of_string(options->peer_address), invitation->peer_address,
                    sizeof invitation->peer_address); /* Longer ones were refused before. */
    CHECK(uv_timer_init(options->loop, &invitation->timer) == 0);
    invitation->timer.data = invitation;
    CHECK(uv_timer_start(&invitation->timer, on_start, 0, 0) == 0);
    return invitation;
}
