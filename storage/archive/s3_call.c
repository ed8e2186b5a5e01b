/* 1. s3_call_run() makes attempts: each has its own key, time and signature.
 * 2. judge() says what an answer means, and what is to be done about it.
 * 3. Between attempts it pauses, for a random part of a time that doubles: many clients that were
 *    asked to slow down together must not come back together ("full jitter").
 *
 * What can go wrong: an attempt ends without an answer, or with one of "internal error", when the
 * server may have done what it was asked. The call then is uncertain, and who made it has to find
 * out if a later attempt does not settle it. */
#include "storage/archive/s3_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>
#include <openssl/rand.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "storage/archive/aws_secret.h"

#define EMPTY_SHA256    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define PAUSE_STEP_MS   50u /* So often a pause looks whether it is canceled. */
#define MAX_CORRUPT     3u  /* Attempts whose answers make no sense. */
#define OWN_FIELDS      4u
#define MAX_FIELDS      (S3_CALL_PAIRS + OWN_FIELDS)
#define MAX_DATE_BYTES  64u
#define MAX_SKEW_S      600
#define CREDIBLE_SKEW_S (20ll * 365 * 24 * 3600) /* Beyond that, a date is nonsense. */

static const struct s3_limits default_limits = {.connect_ms = 10000,
                                                .stall_s = 30,
                                                .first_pause_ms = 200,
                                                .last_pause_ms = 10000,
                                                .total_ms = 120000,
                                                .max_attempts = 1000};

void s3_service_open(struct s3_service *service, const struct s3_settings *settings,
                     bool (*is_canceled)(void *data), void *data)
{
    *service = (struct s3_service){
        .settings = *settings, .limits = default_limits, .is_canceled = is_canceled, .data = data};
    service->client = exchange_open(&(struct exchange_options){
        .connect_ms = default_limits.connect_ms,
        .stall_s = default_limits.stall_s,
        .ca_file = aws_environment("AWS_CA_BUNDLE"),
        .is_canceled = is_canceled,
        .data = data,
    });
    service->credentials = aws_credentials_open(
        &(struct aws_credentials_options){.is_canceled = is_canceled, .data = data});
    CHECK(RAND_bytes((unsigned char *)&service->random, sizeof service->random) == 1);
    service->random |= 1; /* xorshift never leaves 0. */
}

void s3_service_close(struct s3_service *service)
{
    exchange_close(service->client);
    aws_credentials_close(service->credentials);
    s3_settings_close(&service->settings);
}

int64_t s3_service_now(const struct s3_service *service)
{
    return time(NULL) + service->skew_s;
}

/* --- What answers mean --- */

enum conduct {
    CONDUCT_END,   /* It is as it is. */
    CONDUCT_AGAIN, /* After a pause. */
    CONDUCT_CLOCK, /* Once, with the server's time. */
    CONDUCT_KEY    /* Once, with a new key. */
};

struct meaning {
    const char *code; /* Of S3 or RGW; NULL: by the status of HTTP alone. */
    unsigned http_status;
    enum status status;
    enum conduct conduct;
};

/* The first one that fits counts. */
static const struct meaning meanings[] = {
    {"AuthorizationHeaderMalformed", 0, STATUS_INVALID, CONDUCT_END}, /* The region is wrong. */
    {"BadDigest", 0, STATUS_CORRUPT, CONDUCT_END},
    {"ConditionalRequestConflict", 0, STATUS_BUSY, CONDUCT_AGAIN},
    {"EntityTooLarge", 0, STATUS_TOO_LARGE, CONDUCT_END},
    {"ExpiredToken", 0, STATUS_PERMISSION, CONDUCT_KEY},
    {"IncompleteBody", 0, STATUS_IO, CONDUCT_AGAIN},
    {"InsufficientStorage", 0, STATUS_DISK_FULL, CONDUCT_END},
    {"InternalError", 0, STATUS_IO, CONDUCT_AGAIN},
    {"InvalidAccessKeyId", 0, STATUS_PERMISSION, CONDUCT_END},
    {"InvalidDigest", 0, STATUS_CORRUPT, CONDUCT_END},
    {"InvalidRange", 0, STATUS_END, CONDUCT_END},
    {"InvalidToken", 0, STATUS_PERMISSION, CONDUCT_KEY},
    {"NoSuchBucket", 0, STATUS_NOT_FOUND, CONDUCT_END},
    {"NoSuchKey", 0, STATUS_NOT_FOUND, CONDUCT_END},
    {"NotImplemented", 0, STATUS_UNSUPPORTED, CONDUCT_END},
    {"OperationAborted", 0, STATUS_BUSY, CONDUCT_AGAIN},
    {"PreconditionFailed", 0, STATUS_EXISTS, CONDUCT_END},
    {"QuotaExceeded", 0, STATUS_DISK_FULL, CONDUCT_END},
    {"RequestTimeTooSkewed", 0, STATUS_PERMISSION, CONDUCT_CLOCK},
    {"RequestTimeout", 0, STATUS_TIMEOUT, CONDUCT_AGAIN},
    {"ServiceUnavailable", 0, STATUS_BUSY, CONDUCT_AGAIN},
    {"SlowDown", 0, STATUS_BUSY, CONDUCT_AGAIN},
    {"TokenRefreshRequired", 0, STATUS_PERMISSION, CONDUCT_KEY},
    {"XAmzContentSHA256Mismatch", 0, STATUS_CORRUPT, CONDUCT_END},
    {NULL, 301, STATUS_INVALID, CONDUCT_END},
    {NULL, 302, STATUS_INVALID, CONDUCT_END},
    {NULL, 303, STATUS_INVALID, CONDUCT_END},
    {NULL, 307, STATUS_INVALID, CONDUCT_END},
    {NULL, 308, STATUS_INVALID, CONDUCT_END},
    {NULL, 401, STATUS_PERMISSION, CONDUCT_END},
    {NULL, 403, STATUS_PERMISSION, CONDUCT_END},
    {NULL, 404, STATUS_NOT_FOUND, CONDUCT_END},
    {NULL, 408, STATUS_TIMEOUT, CONDUCT_AGAIN},
    {NULL, 409, STATUS_BUSY, CONDUCT_AGAIN},
    {NULL, 412, STATUS_EXISTS, CONDUCT_END},
    {NULL, 416, STATUS_END, CONDUCT_END},
    {NULL, 429, STATUS_BUSY, CONDUCT_AGAIN},
    {NULL, 501, STATUS_UNSUPPORTED, CONDUCT_END},
    {NULL, 503, STATUS_BUSY, CONDUCT_AGAIN},
    {NULL, 507, STATUS_DISK_FULL, CONDUCT_END},
};

static const struct meaning *find_meaning(unsigned http_status, const char *code)
{
    /* Also an <Error> behind status 200 that is not known: it began well and then failed. */
    static const struct meaning passing = {NULL, 0, STATUS_IO, CONDUCT_AGAIN};
    static const struct meaning other = {NULL, 0, STATUS_IO, CONDUCT_END};

    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code != NULL ? strcmp(code, meanings[i].code) == 0
                                     : http_status == meanings[i].http_status) {
            return &meanings[i];
        }
    }
    return http_status >= 500 || http_status < 300 ? &passing : &other;
}

/* Whether the server may have done it, although it does not say so. What was refused for being too
 * much was not begun. */
static bool may_be_done(unsigned http_status, const char *code)
{
    return (http_status >= 500 || http_status < 300) && strcmp(code, "SlowDown") != 0 &&
           http_status != 501;
}

/* Where the bucket is, if that is the trouble: in the body, or in fields. */
static enum status tell_place(const struct s3_service *service, struct s3_call *call,
                              struct error *error)
{
    struct s3_problem *problem = &call->problem;
    struct slice region = exchange_field(&call->answer, "x-amz-bucket-region");
    struct slice location = exchange_field(&call->answer, "location");

    if (region.size > 0) {
        s3_copy_printable(region, problem->region, sizeof problem->region);
    }
    if (location.size > 0) {
        s3_copy_printable(location, problem->endpoint, sizeof problem->endpoint);
    }
    if (problem->region[0] != '\0' && strcmp(problem->region, service->settings.region) != 0) {
        return error_set(error, STATUS_INVALID,
                         "bucket \"%s\" is in region \"%s\" and not in \"%s\": set region=%s in "
                         "the URL",
                         service->settings.bucket, problem->region, service->settings.region,
                         problem->region);
    }
    return error_set(error, STATUS_INVALID,
                     "bucket \"%s\" is not served by %s: the server points to \"%s\"; set endpoint "
                     "or region in the URL",
                     service->settings.bucket, service->settings.host, problem->endpoint);
}

static enum status tell(const struct s3_service *service, struct s3_call *call, enum status status,
                        struct error *error)
{
    const struct s3_problem *problem = &call->problem;

    if (status == STATUS_INVALID) {
        return tell_place(service, call, error);
    }
    if (strcmp(problem->code, "NoSuchBucket") == 0) {
        return error_set(error, status, "bucket \"%s\" does not exist", service->settings.bucket);
    }
    if (problem->code[0] == '\0') {
        return error_set(error, status, "the server answers with status %u", call->answer.status);
    }
    return error_set(error, status, "the server answers with status %u, %s%s%s",
                     call->answer.status, problem->code, problem->message[0] == '\0' ? "" : ": ",
                     problem->message);
}

/* How far the server's clock is before ours, by its field Date. False: it has none that can be
 * read and believed, and @skew_s stays. */
static bool find_skew(const struct exchange_answer *answer, int64_t *skew_s)
{
    struct slice field = exchange_field(answer, "date");
    char text[MAX_DATE_BYTES];
    int64_t found_s;
    time_t time_s;

    if (field.size == 0 || field.size >= sizeof text) {
        return false;
    }
    memcpy(text, field.data, field.size);
    text[field.size] = '\0';
    time_s = curl_getdate(text, NULL);
    if (time_s < 0) {
        return false;
    }
    found_s = time_s - time(NULL);
    if (llabs(found_s) > CREDIBLE_SKEW_S) {
        return false;
    }
    *skew_s = found_s;
    return true;
}

/* The answer to a HEAD has no body that would say why it was refused. S3 takes times that are up to
 * 15 minutes off. */
static bool may_be_skewed(const struct s3_service *service, const struct s3_call *call)
{
    int64_t skew_s;

    return strcmp(call->method, "HEAD") == 0 && call->answer.status == 403 &&
           find_skew(&call->answer, &skew_s) && llabs(skew_s - service->skew_s) > MAX_SKEW_S;
}

static enum status judge(const struct s3_service *service, struct s3_call *call,
                         enum conduct *conduct, struct error *error)
{
    const struct exchange_answer *answer = &call->answer;
    bool is_yes = answer->status >= 200 && answer->status < 300;
    const struct meaning *meaning;

    call->problem = (struct s3_problem){.code = ""};
    if (!is_yes || !call->is_data) {
        bool is_problem = s3_problem_parse(buffer_slice(&answer->body), &call->problem);

        is_yes = is_yes && !is_problem;
    }
    if (is_yes) {
        enum status status = call->check == NULL ? STATUS_OK : call->check(call, error);

        *conduct = status == STATUS_OK ? CONDUCT_END : CONDUCT_AGAIN;
        return status;
    }
    meaning = find_meaning(answer->status, call->problem.code);
    *conduct = may_be_skewed(service, call) ? CONDUCT_CLOCK : meaning->conduct;
    if (may_be_done(answer->status, call->problem.code)) {
        call->is_uncertain = true;
    }
    return tell(service, call, meaning->status, error);
}

/* --- One attempt --- */

static size_t count_pairs(const struct sigv4_pair *pairs)
{
    size_t n = 0;

    while (n < S3_CALL_PAIRS && pairs[n].name != NULL) {
        n++;
    }
    return n;
}

/* What is signed, and what is sent besides: a URL and fields. */
struct prepared {
    struct buffer path; /* Not encoded. */
    struct buffer url;
    struct buffer authorization;
    char date[SIGV4_TIME_BYTES];
    struct sigv4_pair fields[MAX_FIELDS + 1];
    size_t n_fields;
};

static void write_path(const struct s3_service *service, const struct s3_call *call,
                       struct prepared *prepared)
{
    const struct s3_settings *settings = &service->settings;

    buffer_append_byte(&prepared->path, '/');
    if (settings->is_path_style) {
        buffer_append_format(&prepared->path, "%s%s", settings->bucket,
                             call->name == NULL ? "" : "/");
    }
    if (call->name != NULL) {
        buffer_append_format(&prepared->path, "%s%s", settings->prefix, call->name);
    }
    buffer_append_byte(&prepared->path, 0);
}

static void write_url(const struct s3_service *service, const struct s3_call *call,
                      struct prepared *prepared)
{
    size_t n_query = count_pairs(call->query);

    buffer_append_format(&prepared->url, "%s://%s", service->settings.scheme,
                         service->settings.host);
    sigv4_encode_path((const char *)prepared->path.data, &prepared->url);
    if (n_query > 0) {
        buffer_append_byte(&prepared->url, '?');
        sigv4_encode_query(call->query, n_query, &prepared->url);
    }
    buffer_append_byte(&prepared->url, 0);
}

static void add_field(struct prepared *prepared, const char *name, const char *value)
{
    CHECK(prepared->n_fields < MAX_FIELDS);
    prepared->fields[prepared->n_fields++] = (struct sigv4_pair){.name = name, .value = value};
}

static void prepare(const struct s3_service *service, const struct s3_call *call,
                    const struct aws_key *key, struct prepared *prepared)
{
    const struct sigv4_key signing_key = {.access_key = key->access_key,
                                          .secret_key = key->secret_key,
                                          .region = service->settings.region,
                                          .service = "s3"};
    const char *sha256 = call->body_sha256 == NULL ? EMPTY_SHA256 : call->body_sha256;
    size_t n_own = count_pairs(call->fields);

    *prepared = (struct prepared){0};
    sigv4_time(s3_service_now(service), prepared->date);
    write_path(service, call, prepared);
    write_url(service, call, prepared);
    add_field(prepared, "host", service->settings.host);
    add_field(prepared, "x-amz-date", prepared->date);
    add_field(prepared, "x-amz-content-sha256", sha256);
    if (key->token != NULL) {
        add_field(prepared, "x-amz-security-token", key->token);
    }
    for (size_t i = 0; i < n_own; i++) {
        add_field(prepared, call->fields[i].name, call->fields[i].value);
    }
    sigv4_sign(&signing_key,
               &(struct sigv4_request){.method = call->method,
                                       .path = (const char *)prepared->path.data,
                                       .query = call->query,
                                       .n_query = count_pairs(call->query),
                                       .fields = prepared->fields,
                                       .n_fields = prepared->n_fields,
                                       .body_sha256 = sha256},
               &prepared->authorization);
    buffer_append_byte(&prepared->authorization, 0);
    prepared->fields[prepared->n_fields++] = (struct sigv4_pair){
        .name = "authorization", .value = (const char *)prepared->authorization.data};
}

static void close_prepared(struct prepared *prepared)
{
    buffer_close(&prepared->path);
    buffer_close(&prepared->url);
    buffer_close(&prepared->authorization);
}

static enum status send_it(struct s3_service *service, struct s3_call *call,
                           const struct aws_key *key, struct error *error)
{
    struct prepared prepared;
    enum status status;

    prepare(service, call, key, &prepared);
    exchange_answer_close(&call->answer);
    status = exchange_run(service->client,
                          &(struct exchange_request){.method = call->method,
                                                     .url = (const char *)prepared.url.data,
                                                     .fields = prepared.fields,
                                                     .n_fields = prepared.n_fields,
                                                     .read = call->read,
                                                     .data = call->user,
                                                     .size_bytes = call->size_bytes,
                                                     .max_body = call->max_body},
                          &call->answer, error);
    close_prepared(&prepared);
    return status;
}

static enum status attempt(struct s3_service *service, struct s3_call *call, enum conduct *conduct,
                           struct error *error)
{
    const struct aws_key *key;
    enum status status =
        aws_credentials_get(service->credentials, s3_service_now(service), &key, error);

    *conduct = CONDUCT_END;
    if (status != STATUS_OK) {
        return status;
    }
    status = send_it(service, call, key, error);
    if (status == STATUS_OK) {
        /* Whether the first of two sendings was carried out, the answer to the second tells not. */
        call->is_uncertain = call->is_uncertain || call->answer.n_sent > 1;
        return judge(service, call, conduct, error);
    }
    call->is_uncertain = call->is_uncertain || call->answer.was_sent_whole;
    if ((status == STATUS_TIMEOUT || status == STATUS_IO) && !call->answer.was_ended_here) {
        *conduct = CONDUCT_AGAIN;
    }
    return status;
}

/* --- Again and again --- */

static unsigned draw_pause_ms(struct s3_service *service, unsigned n_failed)
{
    uint64_t most = service->limits.first_pause_ms;

    for (unsigned i = 1; i < n_failed && most < service->limits.last_pause_ms; i++) {
        most *= 2;
    }
    if (most > service->limits.last_pause_ms) {
        most = service->limits.last_pause_ms;
    }
    service->random ^= service->random << 13;
    service->random ^= service->random >> 7;
    service->random ^= service->random << 17;
    return (unsigned)(service->random % (most + 1));
}

static enum status pause_before_next(struct s3_service *service, unsigned n_failed,
                                     struct error *error)
{
    unsigned left_ms = draw_pause_ms(service, n_failed);

    for (;;) {
        unsigned step_ms = left_ms < PAUSE_STEP_MS ? left_ms : PAUSE_STEP_MS;
        struct timespec step = {.tv_nsec = (long)step_ms * 1000000};

        if (service->is_canceled != NULL && service->is_canceled(service->data)) {
            return error_set(error, STATUS_CANCELED, "the node is shutting down");
        }
        if (left_ms == 0) {
            return STATUS_OK;
        }
        (void)nanosleep(&step, NULL); /* Cut short by a signal: a shorter pause. */
        left_ms -= step_ms;
    }
}

struct tries {
    uint64_t began_ms;
    unsigned n;
    unsigned n_corrupt;
    bool has_new_clock;
    bool has_new_key;
};

/* Whether there is a next attempt; if so, it is time for it. */
static bool goes_on(struct s3_service *service, const struct s3_call *call, struct tries *tries,
                    enum conduct conduct, enum status *status, struct error *error)
{
    const struct s3_limits *limits = &service->limits;

    tries->n++;
    tries->n_corrupt += *status == STATUS_CORRUPT ? 1 : 0;
    if (*status == STATUS_PERMISSION) {
        aws_credentials_forget(service->credentials); /* The next call may find another. */
    }
    switch (conduct) {
    case CONDUCT_END:
        return false;
    case CONDUCT_CLOCK:
        if (tries->has_new_clock || !find_skew(&call->answer, &service->skew_s)) {
            return false;
        }
        tries->has_new_clock = true;
        return true;
    case CONDUCT_KEY:
        if (tries->has_new_key) {
            return false;
        }
        tries->has_new_key = true;
        return true;
    case CONDUCT_AGAIN:
        break;
    }
    if (tries->n >= limits->max_attempts || tries->n_corrupt >= MAX_CORRUPT ||
        clock_ms() - tries->began_ms >= limits->total_ms) {
        return false;
    }
    if (pause_before_next(service, tries->n, error) != STATUS_OK) {
        *status = STATUS_CANCELED;
        return false;
    }
    return true;
}

enum status s3_call_run(struct s3_service *service, struct s3_call *call, struct error *error)
{
    struct tries tries = {.began_ms = clock_ms()};
    enum conduct conduct;
    enum status status;

    do {
        status = attempt(service, call, &conduct, error);
    } while (goes_on(service, call, &tries, conduct, &status, error));
    return status;
}

void s3_call_close(struct s3_call *call)
{
    exchange_answer_close(&call->answer);
}
