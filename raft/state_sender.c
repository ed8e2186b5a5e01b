/* 1. state_sender_accept() makes a guest of a connection.
 * 2. on_ask() has an image made, or finds a fresh one: on_image() offers it.
 * 3. on_pull() notes which piece is wanted; pump() sends parts of it while the connection takes
 *    them and the rate allows, and goes on from a timer.
 *
 * What can go wrong:
 * - There is no room for an image, or too many are in use: the offer says so, and the receiver
 *   tries another member.
 * - The image gets too old while it is pulled: the connection is ended, and the receiver asks anew.
 * - A receiver takes nothing for GUEST_SILENCE_MS: its connection is ended. */
#include "raft/state_sender.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/base/pace.h"
#include "raft/channel.h"

#define MAX_GUESTS       LIMIT_MEMBERS
#define QUEUED_BYTES     (1u << 20)
#define PUMP_MS          5u
#define GUEST_SILENCE_MS 60000u

struct guest {
    struct link link;
    struct state_sender *sender;
    struct channel *channel; /* NULL: it is gone, and only the request for an image is awaited. */
    uint64_t peer;
    uint64_t active_ms;
    struct image_spool_request request;
    bool is_waiting; /* For the request. */
    struct image_spool *spool;
    unsigned n_pulls;
    uint64_t pulls[LIMIT_STATE_PULLS];
    struct buffer piece; /* The first of the pulls, as far as it is not sent: */
    size_t sent;         /* from here on. */
};

struct state_sender {
    struct state_sender_options options;
    uv_timer_t timer;
    struct queue guests;
    unsigned n_guests;
    struct pace pace;
    uint64_t bytes;
    void (*closed)(void *data);
    void *closed_data;
};

/* --- Guests --- */

static void on_closed(uv_handle_t *handle)
{
    struct state_sender *sender = handle->data;

    sender->closed(sender->closed_data);
    free(sender);
}

static void release(struct guest *guest)
{
    struct state_sender *sender = guest->sender;

    image_spool_release(guest->spool);
    buffer_close(&guest->piece);
    queue_remove(&guest->link);
    free(guest);
    if (--sender->n_guests == 0 && sender->closed != NULL) {
        uv_close((uv_handle_t *)&sender->timer, on_closed);
    }
}

/* The guest may be gone after it. */
static void drop(struct guest *guest)
{
    channel_close(guest->channel);
    guest->channel = NULL;
    if (guest->is_waiting) {
        /* The last one to use it is on_image(). */
        image_spools_cancel(guest->sender->options.spools, &guest->request);
    } else {
        release(guest);
    }
}

static void offer(struct guest *guest)
{
    struct frame frame = {.type = FRAME_STATE_OFFER};
    struct frame_state_offer *offer = &frame.state_offer;

    offer->status = guest->request.status;
    if (guest->request.status != STATUS_OK) {
        offer->reason = slice_of_string(guest->request.error.text);
    } else {
        const struct image_facts *facts = image_spool_facts(guest->spool);

        offer->index = facts->state.applied_index;
        offer->sum[0] = facts->state.hash[0];
        offer->sum[1] = facts->state.hash[1];
        offer->pieces = image_spool_pieces(guest->spool);
        offer->bytes = image_spool_totals(guest->spool)->file_bytes;
    }
    (void)channel_send(guest->channel, &frame); /* A failure is told by on_broken(). */
    channel_flush(guest->channel);
}

static void on_image(struct message *message)
{
    struct image_spool_request *request =
        CONTAINER_OF(message, struct image_spool_request, message);
    struct guest *guest = CONTAINER_OF(request, struct guest, request);

    guest->is_waiting = false;
    if (request->status == STATUS_OK) {
        image_spool_release(guest->spool);
        guest->spool = request->spool;
    }
    if (guest->channel == NULL) {
        release(guest);
        return;
    }
    guest->active_ms = uv_now(guest->sender->options.loop); /* Until now, it waited for us. */
    offer(guest);
}

static void on_ask(struct guest *guest, const struct frame_state_ask *ask)
{
    struct state_sender *sender = guest->sender;
    struct image_spool_request *request = &guest->request;

    if (guest->is_waiting) {
        log_warn("state", "ended a transfer: the receiver asked twice peer=%016" PRIx64,
                 guest->peer);
        drop(guest);
        return;
    }
    *request = (struct image_spool_request){
        .message.deliver = on_image, .home = sender->options.home, .min_index = ask->min_index};
    memcpy(request->cluster_id, sender->options.cluster_id, sizeof request->cluster_id);
    if (!sender->options.has_executed(sender->options.data, ask->min_index)) {
        request->status =
            error_set(&request->error, STATUS_BUSY,
                      "this node has not executed index %" PRIu64 " yet", ask->min_index);
        offer(guest);
        return;
    }
    log_info("state", "a member asks for the state peer=%016" PRIx64 " from=%" PRIu64, guest->peer,
             ask->min_index);
    guest->is_waiting = true;
    if (image_spools_request(sender->options.spools, request)) {
        on_image(&request->message);
    }
}

/* --- Sending --- */

static bool is_urgent(const struct state_sender *sender)
{
    return sender->options.is_urgent != NULL && sender->options.is_urgent(sender->options.data);
}

/* What a piece holds when it is unpacked is what it costs: the receiver's work and disk. */
static void pay(struct state_sender *sender, struct slice bytes)
{
    struct image_piece piece;

    if (is_urgent(sender)) {
        return;
    }
    if (image_piece_look(bytes, &piece, NULL) == STATUS_OK) {
        pace_spend(&sender->pace, piece.content_bytes);
    } else { /* It was damaged on the disk, which the receiver finds. */
        pace_spend(&sender->pace, bytes.size);
    }
}

/* Read the piece that is wanted first. False: the guest is gone. */
static bool load(struct guest *guest)
{
    struct error error;

    if (guest->piece.size > 0) {
        return true;
    }
    guest->sent = 0;
    if (image_spool_piece(guest->spool, guest->pulls[0], &guest->piece, &error) == STATUS_OK) {
        pay(guest->sender, buffer_slice(&guest->piece));
        return true;
    }
    log_warn("state", "ended a transfer peer=%016" PRIx64 ": %s", guest->peer, error.text);
    drop(guest);
    return false;
}

static void send_part(struct guest *guest)
{
    struct state_sender *sender = guest->sender;
    struct frame frame = {.type = FRAME_STATE_PIECE};
    size_t left = guest->piece.size - guest->sent;
    size_t size = left > FRAME_STATE_BYTES ? FRAME_STATE_BYTES : left;

    frame.state_piece.piece = guest->pulls[0];
    frame.state_piece.size = (uint32_t)guest->piece.size;
    frame.state_piece.offset = (uint32_t)guest->sent;
    frame.state_piece.bytes = slice_of(guest->piece.data + guest->sent, size);
    (void)channel_send(guest->channel, &frame); /* A failure is told by on_broken(). */
    sender->bytes += size;
    guest->sent += size;
    guest->active_ms = uv_now(sender->options.loop);
    if (guest->sent == guest->piece.size) {
        buffer_clear(&guest->piece);
        guest->n_pulls--;
        memmove(&guest->pulls[0], &guest->pulls[1], guest->n_pulls * sizeof guest->pulls[0]);
    }
}

/* May a part be sent now? One of a piece that was begun is paid for. */
static bool may_send(struct guest *guest)
{
    struct state_sender *sender = guest->sender;

    return guest->n_pulls > 0 && channel_queued_bytes(guest->channel) < QUEUED_BYTES &&
           (guest->piece.size > 0 || is_urgent(sender) ||
            pace_allows(&sender->pace, uv_now(sender->options.loop)));
}

/* The guest may be gone after it. */
static void pump(struct guest *guest)
{
    if (guest->channel == NULL) {
        return;
    }
    while (may_send(guest)) {
        if (!load(guest)) {
            return;
        }
        send_part(guest);
    }
    channel_flush(guest->channel);
}

static void on_timer(uv_timer_t *timer)
{
    struct state_sender *sender = timer->data;
    struct link *link = queue_first(&sender->guests);

    while (link != NULL) {
        struct guest *guest = CONTAINER_OF(link, struct guest, link);

        link = queue_next(&sender->guests, link);
        if (guest->channel != NULL && !guest->is_waiting &&
            uv_now(sender->options.loop) - guest->active_ms > GUEST_SILENCE_MS) {
            log_warn("state", "ended a transfer: the receiver takes nothing peer=%016" PRIx64,
                     guest->peer);
            drop(guest);
        } else {
            pump(guest);
        }
    }
    if (sender->n_guests == 0) {
        CHECK(uv_timer_stop(timer) == 0);
    }
}

static void on_pull(struct guest *guest, const struct frame_state_pull *pull)
{
    if (guest->spool == NULL || guest->is_waiting || guest->n_pulls == LIMIT_STATE_PULLS ||
        pull->piece >= image_spool_pieces(guest->spool)) {
        log_warn("state", "ended a transfer: the receiver is out of order peer=%016" PRIx64,
                 guest->peer);
        drop(guest);
        return;
    }
    guest->pulls[guest->n_pulls++] = pull->piece;
    pump(guest);
}

/* --- Connections --- */

static void on_frame(void *data, struct channel *channel, const struct frame *frame)
{
    struct guest *guest = data;

    (void)channel;
    guest->active_ms = uv_now(guest->sender->options.loop);
    if (frame->type == FRAME_STATE_ASK) {
        on_ask(guest, &frame->state_ask);
    } else if (frame->type == FRAME_STATE_PULL) {
        on_pull(guest, &frame->state_pull);
    } else {
        log_warn("state", "ended a transfer: a wrong frame came peer=%016" PRIx64 " type=%d",
                 guest->peer, (int)frame->type);
        drop(guest);
    }
}

static void on_broken(void *data, struct channel *channel, const struct error *error)
{
    struct guest *guest = data;

    (void)channel;
    log_info("state", "a transfer ended peer=%016" PRIx64 ": %s", guest->peer, error->text);
    drop(guest);
}

static const struct channel_events guest_events = {.on_frame = on_frame, .on_broken = on_broken};

/* The descriptor is not taken if it fails. */
static enum status open_channel(struct guest *guest, int fd, struct error *error)
{
    enum status status =
        channel_open(guest->sender->options.loop, &guest_events, guest, &guest->channel, error);

    if (status == STATUS_OK) {
        status = channel_adopt(guest->channel, fd, error);
    }
    if (status != STATUS_OK) {
        channel_close(guest->channel);
    }
    return status;
}

void state_sender_accept(struct state_sender *sender, uint64_t peer, int fd)
{
    struct guest *guest;
    struct error error;

    if (sender->n_guests >= MAX_GUESTS || sender->closed != NULL) {
        (void)close(fd); /* It tries again, or another member. */
        return;
    }
    guest = memory_new_zeroed(1, sizeof *guest);
    guest->sender = sender;
    guest->peer = peer;
    guest->active_ms = uv_now(sender->options.loop);
    if (open_channel(guest, fd, &error) != STATUS_OK) {
        log_warn("state", "could not take a connection peer=%016" PRIx64 ": %s", peer, error.text);
        (void)close(fd); /* Nothing was written. */
        free(guest);
        return;
    }
    queue_push(&sender->guests, &guest->link);
    sender->n_guests++;
    if (!uv_is_active((uv_handle_t *)&sender->timer)) {
        CHECK(uv_timer_start(&sender->timer, on_timer, PUMP_MS, PUMP_MS) == 0);
    }
}

/* --- Life --- */

struct state_sender *state_sender_open(const struct state_sender_options *options)
{
    struct state_sender *sender = memory_new_zeroed(1, sizeof *sender);

    sender->options = *options;
    sender->pace =
        pace_of(options->bytes_per_second == 0 ? LIMIT_TRANSFER_RATE : options->bytes_per_second,
                uv_now(options->loop));
    queue_init(&sender->guests);
    CHECK(uv_timer_init(options->loop, &sender->timer) == 0);
    sender->timer.data = sender;
    return sender;
}

uint64_t state_sender_bytes(const struct state_sender *sender)
{
    return sender->bytes;
}

unsigned state_sender_receivers(const struct state_sender *sender)
{
    return sender->n_guests;
}

void state_sender_close(struct state_sender *sender, void (*closed)(void *data), void *data)
{
    struct link *link = queue_first(&sender->guests);

    sender->closed = closed;
    sender->closed_data = data;
    if (link == NULL) {
        uv_close((uv_handle_t *)&sender->timer, on_closed);
    }
    while (link != NULL) {
        struct guest *guest = CONTAINER_OF(link, struct guest, link);

        link = queue_next(&sender->guests, link);
        drop(guest);
    }
}
