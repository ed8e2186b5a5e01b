/* 1. state_receiver_want() says from when on the state must be, and who may have it.
 * 2. connect_next() dials one of them; on_dialled() asks for an image.
 * 3. on_offer() looks whether that is the one which was begun, and pulls the first pieces.
 * 4. on_piece() puts parts together; a whole piece is imported, and the next one pulled.
 * 5. With the last one the directory is a store: on_done().
 *
 * What can go wrong:
 * - The member does not answer, has no image, or gets silent: another one is asked, RETRY_MS later.
 * - A piece is damaged, or belongs elsewhere: what was begun is removed; another one is asked.
 * - The disk is full or fails: it is told, and tried again DISK_RETRY_MS later. */
#include "raft/state_receiver.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "raft/dial.h"
#include "storage/image_import.h"

#define RETRY_MS      500u
#define DISK_RETRY_MS 5000u
#define SILENCE_MS    30000u  /* While pieces are awaited. */
#define OFFER_MS      900000u /* A large image is made in minutes. */
#define WATCH_MS      1000u

struct state_receiver {
    struct state_receiver_options options;
    uv_timer_t timer; /* The next try, or to watch a transfer. */
    uint64_t min_index;
    unsigned n_donors;
    struct state_donor donors[LIMIT_MEMBERS];
    unsigned turn;
    uint64_t donor; /* Who is asked. */

    struct dial *dial;
    struct channel *channel;
    bool is_pulling;
    uint64_t heard_ms;
    uint64_t began_ms;

    struct image_import *import;
    struct frame_state_offer offer; /* Without the reason. */
    uint64_t next_pull;
    struct buffer piece; /* As far as it came. */
    uint64_t bytes;
    bool is_done;
    void (*closed)(void *data);
    void *closed_data;
};

static void connect_next(struct state_receiver *receiver);

static void on_timer(uv_timer_t *timer);

static void again_in(struct state_receiver *receiver, uint64_t ms)
{
    CHECK(uv_timer_start(&receiver->timer, on_timer, ms, WATCH_MS) == 0);
}

/* --- Ending --- */

static void disconnect(struct state_receiver *receiver)
{
    channel_close(receiver->channel);
    receiver->channel = NULL;
    receiver->is_pulling = false;
    receiver->donor = 0;
    buffer_close(&receiver->piece);
    receiver->piece = BUFFER_EMPTY;
}

static void close_import(struct state_receiver *receiver)
{
    image_import_close(receiver->import);
    receiver->import = NULL;
}

static void give_up(struct state_receiver *receiver, uint64_t retry_ms)
{
    disconnect(receiver);
    again_in(receiver, retry_ms);
}

/* What was received is of no use, or could not be written. */
static void on_import_failure(struct state_receiver *receiver, const struct error *error)
{
    struct error other;

    log_error("state", "the state that was sent could not be taken from=%016" PRIx64 ": %s",
              receiver->donor, error->text);
    close_import(receiver);
    give_up(receiver, error->status == STATUS_CORRUPT ? RETRY_MS : DISK_RETRY_MS);
    if (error->status == STATUS_CORRUPT &&
        files_remove_directory(receiver->options.directory, &other) != STATUS_OK) {
        log_error("state", "%s", other.text);
    }
}

/* --- Receiving --- */

static void pull(struct state_receiver *receiver)
{
    struct frame frame = {.type = FRAME_STATE_PULL};
    uint64_t next = image_import_next(receiver->import);

    while (receiver->next_pull < receiver->offer.pieces &&
           receiver->next_pull < next + LIMIT_STATE_PULLS) {
        frame.state_pull.piece = receiver->next_pull++;
        (void)channel_send(receiver->channel, &frame); /* A failure is told by on_broken(). */
    }
    channel_flush(receiver->channel);
}

static void finish(struct state_receiver *receiver)
{
    const struct image_totals *totals = image_import_totals(receiver->import);
    struct image_facts facts = *image_import_facts(receiver->import);
    uint64_t passed_ms = uv_now(receiver->options.loop) - receiver->began_ms;

    log_info("state",
             "received the state from=%016" PRIx64 " index=%" PRIu64 " records=%" PRIu64
             " bytes=%" PRIu64 " ms=%" PRIu64,
             receiver->donor, facts.state.applied_index, totals->records, totals->file_bytes,
             passed_ms);
    receiver->is_done = true;
    close_import(receiver);
    disconnect(receiver);
    CHECK(uv_timer_stop(&receiver->timer) == 0);
    receiver->options.on_done(receiver->options.data, &facts);
}

static enum status feed(struct state_receiver *receiver, struct error *error)
{
    struct image_import *import = receiver->import;
    enum status status = image_import_feed(import, buffer_slice(&receiver->piece), error);
    const struct image_facts *facts = image_import_facts(import);

    if (status == STATUS_OK &&
        !slice_equals(slice_of_string(facts->cluster_id), receiver->options.hello->cluster_id)) {
        status =
            error_set(error, STATUS_CORRUPT, "it is of another cluster, \"%s\"", facts->cluster_id);
    }
    return status;
}

static void on_piece(struct state_receiver *receiver, const struct frame_state_piece *part)
{
    struct error error;

    if (!receiver->is_pulling || part->piece != image_import_next(receiver->import) ||
        part->offset != receiver->piece.size || part->size > IMAGE_MAX_PIECE_BYTES) {
        log_warn("state", "ended a transfer: what came was not asked for from=%016" PRIx64,
                 receiver->donor);
        give_up(receiver, RETRY_MS);
        return;
    }
    buffer_append_slice(&receiver->piece, part->bytes);
    receiver->bytes += part->bytes.size;
    if (receiver->piece.size < part->size) {
        return;
    }
    if (feed(receiver, &error) != STATUS_OK) {
        on_import_failure(receiver, &error);
        return;
    }
    buffer_clear(&receiver->piece);
    if (image_import_is_done(receiver->import)) {
        finish(receiver);
    } else {
        pull(receiver);
    }
}

static bool is_offered(const void *data, const struct image_facts *facts)
{
    const struct frame_state_offer *offer = data;

    return facts->state.applied_index == offer->index && facts->state.hash[0] == offer->sum[0] &&
           facts->state.hash[1] == offer->sum[1];
}

/* Go on with what was begun if it is of the image that is offered, else begin anew. */
static enum status open_import(struct state_receiver *receiver, struct error *error)
{
    if (receiver->import != NULL) {
        const struct image_facts *facts = image_import_facts(receiver->import);

        if (facts == NULL || is_offered(&receiver->offer, facts)) {
            return STATUS_OK;
        }
        close_import(receiver);
    }
    return image_import_resume(receiver->options.directory, is_offered, &receiver->offer,
                               &receiver->import, error);
}

static void on_offer(struct state_receiver *receiver, const struct frame_state_offer *offer)
{
    struct error error;

    if (receiver->is_pulling || (offer->status == STATUS_OK &&
                                 (offer->index < receiver->min_index || offer->pieces == 0))) {
        log_warn("state", "ended a transfer: a wrong offer came from=%016" PRIx64, receiver->donor);
        give_up(receiver, RETRY_MS);
        return;
    }
    if (offer->status != STATUS_OK) {
        log_info("state", "a member has no state to give from=%016" PRIx64 ": %.*s",
                 receiver->donor, (int)offer->reason.size, (const char *)offer->reason.data);
        give_up(receiver, RETRY_MS);
        return;
    }
    receiver->offer = *offer;
    receiver->offer.reason = slice_of(NULL, 0);
    if (open_import(receiver, &error) != STATUS_OK) {
        on_import_failure(receiver, &error);
        return;
    }
    receiver->next_pull = image_import_next(receiver->import);
    receiver->bytes = image_import_totals(receiver->import)->file_bytes;
    receiver->is_pulling = true;
    log_info("state",
             "receiving the state from=%016" PRIx64 " index=%" PRIu64 " bytes=%" PRIu64
             " pieces=%" PRIu64 " have=%" PRIu64,
             receiver->donor, offer->index, offer->bytes, offer->pieces, receiver->next_pull);
    pull(receiver);
}

static void on_frame(void *data, struct channel *channel, const struct frame *frame)
{
    struct state_receiver *receiver = data;

    (void)channel;
    receiver->heard_ms = uv_now(receiver->options.loop);
    if (frame->type == FRAME_STATE_OFFER) {
        on_offer(receiver, &frame->state_offer);
    } else if (frame->type == FRAME_STATE_PIECE) {
        on_piece(receiver, &frame->state_piece);
    } else {
        log_warn("state", "ended a transfer: a wrong frame came from=%016" PRIx64 " type=%d",
                 receiver->donor, (int)frame->type);
        give_up(receiver, RETRY_MS);
    }
}

static void on_broken(void *data, struct channel *channel, const struct error *error)
{
    struct state_receiver *receiver = data;

    (void)channel;
    log_warn("state", "lost a transfer from=%016" PRIx64 ": %s", receiver->donor, error->text);
    give_up(receiver, RETRY_MS);
}

static const struct channel_events events = {.on_frame = on_frame, .on_broken = on_broken};

/* --- Connecting --- */

static void on_dialled(void *data, struct channel *channel, const struct frame_hello *welcome,
                       const struct error *error)
{
    struct state_receiver *receiver = data;
    struct frame frame = {.type = FRAME_STATE_ASK};

    receiver->dial = NULL;
    if (channel == NULL || welcome->id != receiver->donor) {
        log_info("state", "could not reach a member for its state from=%016" PRIx64 ": %s",
                 receiver->donor, channel == NULL ? error->text : "another node answers there");
        channel_close(channel);
        give_up(receiver, RETRY_MS);
        return;
    }
    receiver->channel = channel;
    channel_set_owner(channel, &events, receiver);
    channel_lift_limit(channel);
    receiver->heard_ms = uv_now(receiver->options.loop);
    frame.state_ask.min_index = receiver->min_index;
    (void)channel_send(channel, &frame); /* A failure is told by on_broken(). */
    channel_flush(channel);
}

static void connect_next(struct state_receiver *receiver)
{
    const struct state_donor *donor = &receiver->donors[receiver->turn++ % receiver->n_donors];
    struct frame_hello hello = *receiver->options.hello;
    struct dial_options options = {.address = donor->address,
                                   .hello = &hello,
                                   .allow_insecure = receiver->options.allow_insecure,
                                   .data = receiver,
                                   .cb = on_dialled};
    struct error error;

    hello.protocol = FRAME_PROTOCOL;
    hello.purpose = PURPOSE_BULK;
    hello.expected_id = donor->id;
    receiver->donor = donor->id;
    receiver->began_ms = uv_now(receiver->options.loop);
    if (dial_start(receiver->options.loop, &options, &receiver->dial, &error) != STATUS_OK) {
        log_warn("state", "could not reach a member for its state from=%016" PRIx64 ": %s",
                 donor->id, error.text);
        receiver->dial = NULL;
        give_up(receiver, RETRY_MS);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct state_receiver *receiver = timer->data;
    uint64_t silent_ms = uv_now(receiver->options.loop) - receiver->heard_ms;

    if (receiver->dial != NULL) {
        return; /* It has limits of its own. */
    }
    if (receiver->channel == NULL) {
        if (receiver->n_donors > 0) {
            connect_next(receiver);
        }
    } else if (silent_ms > (receiver->is_pulling ? SILENCE_MS : OFFER_MS)) {
        log_warn("state", "ended a transfer: nothing came for %" PRIu64 " ms from=%016" PRIx64,
                 silent_ms, receiver->donor);
        give_up(receiver, RETRY_MS);
    }
}

/* --- Life --- */

struct state_receiver *state_receiver_open(const struct state_receiver_options *options)
{
    struct state_receiver *receiver = memory_new_zeroed(1, sizeof *receiver);

    receiver->options = *options;
    receiver->options.directory = memory_copy_string(options->directory);
    CHECK(uv_timer_init(options->loop, &receiver->timer) == 0);
    receiver->timer.data = receiver;
    return receiver;
}

void state_receiver_want(struct state_receiver *receiver, uint64_t min_index,
                         const struct state_donor *donors, unsigned n_donors)
{
    bool is_idle = receiver->n_donors == 0;

    CHECK(n_donors <= LIMIT_MEMBERS);
    if (receiver->is_done || receiver->closed != NULL) {
        return;
    }
    if (receiver->is_pulling && receiver->offer.index < min_index) {
        log_info("state", "what is received is too old by now index=%" PRIu64 " wanted=%" PRIu64,
                 receiver->offer.index, min_index);
        give_up(receiver, RETRY_MS);
    }
    receiver->min_index = min_index;
    receiver->n_donors = n_donors;
    memcpy(receiver->donors, donors, n_donors * sizeof *donors);
    if (is_idle && n_donors > 0) {
        receiver->turn = 0;
        again_in(receiver, 0);
    }
}

void state_receiver_progress(const struct state_receiver *receiver, struct state_progress *progress)
{
    *progress = (struct state_progress){0};
    if (receiver->is_pulling) {
        progress->donor = receiver->donor;
        progress->bytes = receiver->bytes;
        progress->total_bytes = receiver->offer.bytes;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct state_receiver *receiver = handle->data;

    receiver->closed(receiver->closed_data);
    free((char *)receiver->options.directory);
    free(receiver);
}

void state_receiver_close(struct state_receiver *receiver, void (*closed)(void *data), void *data)
{
    if (receiver->dial != NULL) {
        dial_cancel(receiver->dial);
        receiver->dial = NULL;
    }
    disconnect(receiver);
    close_import(receiver);
    receiver->closed = closed;
    receiver->closed_data = data;
    uv_close((uv_handle_t *)&receiver->timer, on_closed);
}
