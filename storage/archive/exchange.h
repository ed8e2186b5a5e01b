/* An HTTP request and its answer, over libcurl, for those who may wait. Connections are kept for
 * the next request. Nothing is followed (redirects) and nothing is tried again, but for what
 * libcurl does by itself: see n_sent.
 *
 * One thread at a time uses a client. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_EXCHANGE_H
#define HOLDFAST_STORAGE_ARCHIVE_EXCHANGE_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "storage/archive/sigv4.h"

/* Of the body of an answer that says no; the rest is not read. */
#define EXCHANGE_MAX_PROBLEM (64u << 10)

struct exchange_client;

struct exchange_options {
    unsigned connect_ms; /* Name, connection and TLS. */
    unsigned stall_s;    /* Less than 1 KiB/s for so long ends it. */
    bool is_direct;      /* Through no proxy, whatever the environment says. */
    const char *ca_file; /* Certificates to trust instead of the system's, or NULL. Borrowed. */
    /* As in repository_options; may be NULL. */
    bool (*is_canceled)(void *data);
    void *data;
};

struct exchange_client *exchange_open(const struct exchange_options *options);

/* Change both times; for tests. */
void exchange_set_times(struct exchange_client *client, unsigned connect_ms, unsigned stall_s);

/* Write up to @size bytes of what is sent, from @offset on, to @bytes; their number, at least 1, to
 * @n. It may begin again at 0. Any failure ends the exchange, with its status and error. */
typedef enum status (*exchange_read_cb)(void *data, uint64_t offset, uint8_t *bytes, size_t size,
                                        size_t *n, struct error *error);

/* All is borrowed. */
struct exchange_request {
    const char *method; /* GET, HEAD, PUT or DELETE. */
    const char *url;
    const struct sigv4_pair *fields; /* With "host", if that matters. */
    size_t n_fields;
    exchange_read_cb read; /* What a PUT sends; NULL: nothing. */
    void *data;
    uint64_t size_bytes;
    size_t max_body; /* Of an answer that says yes. */
};

struct exchange_answer {
    unsigned status;
    struct buffer head; /* Its header fields, as lines. */
    struct buffer body;
    /* How often the request began to be sent: libcurl sends it again, by itself, if a connection
     * that was kept turns out to be closed. */
    unsigned n_sent;
    bool was_sent_whole; /* At least once, as far as one can know. */
    bool was_ended_here; /* By @read, or canceled; not by the server or the network. */
};

/* STATUS_OK: a whole answer came, whatever it says. STATUS_TIMEOUT, STATUS_CANCELED. STATUS_IO: the
 * connection failed or broke. STATUS_INVALID: it will not work the next time either (the
 * certificate is not trusted, say). STATUS_TOO_LARGE: the answer is longer than max_body. Others
 * are those of @read. @answer is written in any case; the caller closes it. */
MUST_USE enum status exchange_run(struct exchange_client *client,
                                  const struct exchange_request *request,
                                  struct exchange_answer *answer, struct error *error);

/* The value of a field (@name in any case), trimmed; empty if it is not there. */
struct slice exchange_field(const struct exchange_answer *answer, const char *name);

void exchange_answer_close(struct exchange_answer *answer); /* Accepts a zeroed one. */
void exchange_close(struct exchange_client *client);        /* Accepts NULL. */

#endif
