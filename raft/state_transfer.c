/* Other threads leave orders in the mailbox; the loop carries them out. The end is an order too:
 * receiver, sender and mailbox close one after the other, and with them the loop. */
#include "raft/state_transfer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/mailbox.h"
#include "daemon/base/memory.h"
#include "daemon/base/thread.h"
#include "raft/state_sender.h"

#define PUBLISH_MS 100u

/* The rate of receiving is that of the last 5 s. */
#define RATE_MS      5000u
#define RATE_SAMPLES (RATE_MS / PUBLISH_MS)

/* What was received at a time of the loop. */
struct sample {
    uint64_t time_ms;
    uint64_t bytes;
};

struct state_transfer {
    struct state_transfer_options options;
    char cluster_id[IMAGE_CLUSTER_BYTES + 1];
    pthread_t thread;
    uv_loop_t loop;
    struct mailbox home;
    uv_timer_t publisher;
    struct state_sender *sender;
    struct state_receiver *receiver;
    struct sample samples[RATE_SAMPLES]; /* A ring. */
    unsigned n_samples;                  /* Taken of this image. */
    struct message end;
    pthread_mutex_t mutex;
    struct state_transfer_statistics statistics; /* Guarded. */
};

struct order {
    struct message message;
    struct state_transfer *transfer;
    uint64_t peer; /* To accept. */
    int fd;
    uint64_t min_index; /* To want. */
    unsigned n_donors;
    struct state_donor donors[LIMIT_MEMBERS];
};

static struct order *new_order(struct state_transfer *transfer, message_deliver_cb deliver)
{
    struct order *order = memory_new_zeroed(1, sizeof *order);

    order->message.deliver = deliver;
    order->transfer = transfer;
    return order;
}

static void on_accept(struct message *message)
{
    struct order *order = CONTAINER_OF(message, struct order, message);

    state_sender_accept(order->transfer->sender, order->peer, order->fd);
    free(order);
}

void state_transfer_accept(struct state_transfer *transfer, uint64_t peer, int fd)
{
    struct order *order = new_order(transfer, on_accept);

    order->peer = peer;
    order->fd = fd;
    mailbox_post(&transfer->home, &order->message);
}

static void on_want(struct message *message)
{
    struct order *order = CONTAINER_OF(message, struct order, message);

    state_receiver_want(order->transfer->receiver, order->min_index, order->donors,
                        order->n_donors);
    free(order);
}

void state_transfer_want(struct state_transfer *transfer, uint64_t min_index,
                         const struct state_donor *donors, unsigned n_donors)
{
    struct order *order = new_order(transfer, on_want);

    CHECK(n_donors <= LIMIT_MEMBERS);
    order->min_index = min_index;
    order->n_donors = n_donors;
    memcpy(order->donors, donors, n_donors * sizeof *donors);
    mailbox_post(&transfer->home, &order->message);
}

/* --- What others see --- */

/* Bytes per second since the oldest sample, and take another one. */
static uint64_t measure_rate(struct state_transfer *transfer, const struct state_progress *now)
{
    const struct sample sample = {.time_ms = uv_now(&transfer->loop), .bytes = now->bytes};
    const struct sample *newest =
        &transfer->samples[(transfer->n_samples + RATE_SAMPLES - 1) % RATE_SAMPLES];
    const struct sample *oldest;
    uint64_t rate = 0;

    if (now->donor == 0 || (transfer->n_samples > 0 && newest->bytes > now->bytes)) {
        transfer->n_samples = 0; /* None, or another image. */
    }
    if (transfer->n_samples > 0) {
        oldest =
            &transfer
                 ->samples[transfer->n_samples < RATE_SAMPLES ? 0
                                                              : transfer->n_samples % RATE_SAMPLES];
        if (sample.time_ms > oldest->time_ms) {
            rate = (sample.bytes - oldest->bytes) * 1000 / (sample.time_ms - oldest->time_ms);
        }
    }
    transfer->samples[transfer->n_samples++ % RATE_SAMPLES] = sample;
    return rate;
}

static void publish(uv_timer_t *timer)
{
    struct state_transfer *transfer = timer->data;
    struct state_progress receiving;

    state_receiver_progress(transfer->receiver, &receiving);
    receiving.bytes_per_second = measure_rate(transfer, &receiving);
    CHECK(pthread_mutex_lock(&transfer->mutex) == 0);
    transfer->statistics.receiving = receiving;
    transfer->statistics.sent_bytes = state_sender_bytes(transfer->sender);
    transfer->statistics.receivers = state_sender_receivers(transfer->sender);
    CHECK(pthread_mutex_unlock(&transfer->mutex) == 0);
}

void state_transfer_statistics(struct state_transfer *transfer,
                               struct state_transfer_statistics *statistics)
{
    CHECK(pthread_mutex_lock(&transfer->mutex) == 0);
    *statistics = transfer->statistics;
    CHECK(pthread_mutex_unlock(&transfer->mutex) == 0);
}

/* --- Life --- */

static void *run(void *data)
{
    struct state_transfer *transfer = data;

    thread_set_name("transfer");
    thread_give_way();
    thread_ignore_broken_pipes();
    CHECK(uv_run(&transfer->loop, UV_RUN_DEFAULT) == 0); /* Until all its handles are closed. */
    CHECK(uv_loop_close(&transfer->loop) == 0);
    return NULL;
}

static void on_sender_closed(void *data)
{
    struct state_transfer *transfer = data;

    mailbox_close(&transfer->home, NULL);
}

static void on_receiver_closed(void *data)
{
    struct state_transfer *transfer = data;

    state_sender_close(transfer->sender, on_sender_closed, transfer);
}

static void on_end(struct message *message)
{
    struct state_transfer *transfer = CONTAINER_OF(message, struct state_transfer, end);

    uv_close((uv_handle_t *)&transfer->publisher, NULL);
    state_receiver_close(transfer->receiver, on_receiver_closed, transfer);
}

static void open_parts(struct state_transfer *transfer)
{
    const struct state_transfer_options *options = &transfer->options;
    const struct state_receiver_options receiver = {
        .loop = &transfer->loop,
        .directory = options->directory,
        .hello = options->hello,
        .allow_insecure = options->allow_insecure,
        .data = options->data,
        .on_done = options->on_state,
    };
    const struct state_sender_options sender = {
        .loop = &transfer->loop,
        .home = &transfer->home,
        .spools = options->spools,
        .cluster_id = transfer->cluster_id,
        .bytes_per_second = options->bytes_per_second,
        .data = options->data,
        .has_executed = options->has_executed,
        .is_urgent = options->is_urgent,
    };

    transfer->receiver = state_receiver_open(&receiver);
    transfer->sender = state_sender_open(&sender);
    CHECK(uv_timer_init(&transfer->loop, &transfer->publisher) == 0);
    transfer->publisher.data = transfer;
    CHECK(uv_timer_start(&transfer->publisher, publish, PUBLISH_MS, PUBLISH_MS) == 0);
}

enum status state_transfer_open(const struct state_transfer_options *options,
                                struct state_transfer **transfer, struct error *error)
{
    struct state_transfer *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status;
    int rv = uv_loop_init(&opened->loop);

    if (rv != 0) {
        free(opened);
        return error_set(error, STATUS_IO, "could not make a loop: %s", uv_strerror(rv));
    }
    status = mailbox_init(&opened->home, &opened->loop, error);
    if (status != STATUS_OK) {
        CHECK(uv_loop_close(&opened->loop) == 0);
        free(opened);
        return status;
    }
    opened->options = *options;
    CHECK(options->hello->cluster_id.size == IMAGE_CLUSTER_BYTES);
    memcpy(opened->cluster_id, options->hello->cluster_id.data, IMAGE_CLUSTER_BYTES);
    opened->end.deliver = on_end;
    CHECK(pthread_mutex_init(&opened->mutex, NULL) == 0);
    open_parts(opened);
    rv = pthread_create(&opened->thread, NULL, run, opened);
    if (rv != 0) {
        status =
            error_set(error, STATUS_IO, "could not start the transfer thread: %s", strerror(rv));
        on_end(&opened->end);
        (void)run(opened); /* Releases what is open. */
        free(opened);
        return status;
    }
    *transfer = opened;
    return STATUS_OK;
}

void state_transfer_close(struct state_transfer *transfer)
{
    if (transfer == NULL) {
        return;
    }
    mailbox_post(&transfer->home, &transfer->end);
    CHECK(pthread_join(transfer->thread, NULL) == 0);
    CHECK(pthread_mutex_destroy(&transfer->mutex) == 0);
    free(transfer);
}
