/* A signed request to S3, tried again while that may help, and what its answer means.
 *
 * One thread at a time uses a service. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_S3_CALL_H
#define HOLDFAST_STORAGE_ARCHIVE_S3_CALL_H

#include "storage/archive/aws_credentials.h"
#include "storage/archive/exchange.h"
#include "storage/archive/s3.h"
#include "storage/archive/s3_answer.h"
#include "storage/archive/s3_settings.h"

#define S3_CALL_PAIRS 8u

/* A bucket, and what is known of its server. */
struct s3_service {
    struct s3_settings settings;
    struct s3_limits limits;
    struct exchange_client *client;
    struct aws_credentials *credentials;
    bool (*is_canceled)(void *data); /* May be NULL. */
    void *data;
    /* Private. */
    int64_t skew_s;    /* Of the server's clock before ours. */
    uint64_t random;   /* For pauses. */
    bool is_tried_out; /* s3_create.c: it heeds conditions. */
};

/* Takes @settings. */
void s3_service_open(struct s3_service *service, const struct s3_settings *settings,
                     bool (*is_canceled)(void *data), void *data);

/* Seconds since 1970 as the server has them. */
int64_t s3_service_now(const struct s3_service *service);

void s3_service_close(struct s3_service *service);

struct s3_call {
    const char *method;
    const char *name;                       /* An object's; NULL: the bucket is meant. */
    struct sigv4_pair query[S3_CALL_PAIRS]; /* The first without a name is the end. */
    struct sigv4_pair fields[S3_CALL_PAIRS];
    const char *body_sha256; /* NULL: nothing is sent. */
    exchange_read_cb read;   /* NULL: nothing is sent. */
    uint64_t size_bytes;
    size_t max_body;
    bool is_data; /* The body of an answer that says yes is an object's, and nothing else. */
    /* Looks at an answer that says yes. Unless it gives STATUS_OK, the call is tried again, a few
     * times. May be NULL. */
    enum status (*check)(struct s3_call *call, struct error *error);
    void *user; /* Of read and check. */
    /* What came of it. */
    struct exchange_answer answer; /* The last one. */
    struct s3_problem problem;     /* What it says, if it does not say yes. */
    bool is_uncertain; /* The server may have done it, in an attempt whose answer is not known. */
};

/* STATUS_OK: done. STATUS_NOT_FOUND: no such object, or, by call->problem.code "NoSuchBucket", no
 * such bucket. STATUS_EXISTS: the condition of the request failed. STATUS_END: the range begins
 * behind the object. STATUS_PERMISSION, STATUS_DISK_FULL, STATUS_UNSUPPORTED, STATUS_CORRUPT,
 * STATUS_TOO_LARGE; STATUS_INVALID: the region, say, is wrong. STATUS_BUSY, STATUS_TIMEOUT,
 * STATUS_IO: still, after all attempts. STATUS_CANCELED. Others are those of read() and check().
 * The caller closes @call in any case. */
MUST_USE enum status s3_call_run(struct s3_service *service, struct s3_call *call,
                                 struct error *error);

void s3_call_close(struct s3_call *call);

#endif
