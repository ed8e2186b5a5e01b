/* S3 as a repository: what each operation asks, and what the answers mean for it. s3_create.c has
 * the one that needs more than that. */
#include "storage/archive/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "daemon/base/check.h"
#include "daemon/base/hex.h"
#include "daemon/base/memory.h"
#include "daemon/base/queue.h"
#include "storage/archive/repository_private.h"
#include "storage/archive/s3_call.h"
#include "storage/archive/s3_create.h"

#define PAGE_OBJECTS    "1000"
#define MAX_PAGE        (8u << 20) /* A thousand names of 1024 bytes, encoded, and what is around. */
#define MAX_EMPTY_PAGES 100u
#define MAX_ANSWER      (64u << 10) /* Of what has no content. */

struct s3 {
    struct repository repository;
    struct s3_service service;
};

static struct s3 *s3_of(struct repository *repository)
{
    return CONTAINER_OF(repository, struct s3, repository);
}

/* The options are copied into the repository only after open(). */
static bool is_canceled(void *data)
{
    const struct repository_options *options = &((struct s3 *)data)->repository.options;

    return options->is_canceled != NULL && options->is_canceled(options->data);
}

static enum status open_s3(const struct repository_options *options, struct repository **repository,
                           struct error *error)
{
    struct s3_settings settings;
    enum status status = s3_settings_parse(options->url, &settings, error);
    struct s3 *s3;

    if (status != STATUS_OK) {
        return status;
    }
    s3 = memory_new_zeroed(1, sizeof *s3);
    s3_service_open(&s3->service, &settings, is_canceled, s3);
    s3->repository.url = memory_copy_string(options->url);
    *repository = &s3->repository;
    return STATUS_OK;
}

void s3_set_limits(struct repository *repository, const struct s3_limits *limits)
{
    struct s3_service *service = &s3_of(repository)->service;

    CHECK(repository->kind == &repository_s3);
    service->limits = *limits;
    exchange_set_times(service->client, limits->connect_ms, limits->stall_s);
}

static void close_s3(struct repository *repository)
{
    struct s3 *s3 = s3_of(repository);

    s3_service_close(&s3->service);
    free(repository->url);
    free(s3);
}

/* Put what was to be done in front of why it was not. Gives @status. */
static enum status explain(struct s3 *s3, const char *action, const char *name, enum status status,
                           struct error *error)
{
    (void)error_prefix(error, "could not %s \"%s\" in %s", action, name, s3->repository.url);
    return status;
}

static bool lacks_bucket(const struct s3_call *call)
{
    return strcmp(call->problem.code, "NoSuchBucket") == 0;
}

static enum status create(struct repository *repository, const char *name,
                          const struct repository_content *content, struct error *error)
{
    struct s3 *s3 = s3_of(repository);
    enum status status = s3_create(&s3->service, name, content, error);

    return status == STATUS_OK ? status : explain(s3, "create", name, status, error);
}

/* --- Reading --- */

struct reading {
    uint64_t offset;
    uint64_t size_bytes; /* That were asked for; at least 1. */
};

/* All of an object: it must be what it was created from. */
static bool is_as_created(const struct s3_call *call)
{
    struct slice expected = exchange_field(&call->answer, S3_META_SHA256);
    struct slice body = buffer_slice(&call->answer.body);
    uint8_t sha256[EVP_MAX_MD_SIZE];
    char text[SIGV4_HEX_BYTES];

    CHECK(EVP_Digest(body.size == 0 ? (const void *)"" : body.data, body.size, sha256, NULL,
                     EVP_sha256(), NULL) == 1);
    hex_text(sha256, SIGV4_SHA256_BYTES, text);
    return expected.size == 0 || slice_equals_string(expected, text); /* Others wrote none. */
}

/* "bytes FIRST-LAST/SIZE" */
static bool parse_range(struct slice field, uint64_t *first, uint64_t *last, uint64_t *of)
{
    char text[96];
    int end = 0;

    if (field.size >= sizeof text) {
        return false;
    }
    memcpy(text, field.data, field.size);
    text[field.size] = '\0';
    return sscanf(text, "bytes %20" SCNu64 "-%20" SCNu64 "/%20" SCNu64 "%n", first, last, of,
                  &end) == 3 &&
           text[end] == '\0' && *first <= *last && *last < *of;
}

static enum status check_part(struct s3_call *call, struct error *error)
{
    const struct reading *reading = call->user;
    uint64_t size = call->answer.body.size;
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t of = size;
    bool is_good = call->answer.status == 200 && reading->offset == 0;

    if (call->answer.status == 206) {
        uint64_t wanted_last = reading->offset + reading->size_bytes - 1;

        is_good = parse_range(exchange_field(&call->answer, "content-range"), &first, &last, &of) &&
                  first == reading->offset && last - first + 1 == size &&
                  last == (wanted_last < of ? wanted_last : of - 1);
    }
    if (!is_good) {
        return error_set(error, STATUS_CORRUPT, "the server sent another part than was asked for");
    }
    if (size == of && !is_as_created(call)) {
        return error_set(error, STATUS_CORRUPT, "its bytes are not what its hash says");
    }
    return STATUS_OK;
}

static enum status read_object(struct repository *repository, const char *name, uint64_t offset,
                               size_t size, struct buffer *bytes, struct error *error)
{
    struct s3 *s3 = s3_of(repository);
    /* Of nothing there is no range; whether the object is there is of interest all the same. */
    struct reading reading = {.offset = offset, .size_bytes = size == 0 ? 1 : size};
    char range[64];
    struct s3_call call = {.method = "GET",
                           .name = name,
                           .fields = {{"range", range}},
                           .max_body = (size_t)reading.size_bytes,
                           .is_data = true,
                           .check = check_part,
                           .user = &reading};
    enum status status;

    (void)snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, offset,
                   offset + reading.size_bytes - 1);
    status = s3_call_run(&s3->service, &call, error);
    if (status == STATUS_END) {
        status = STATUS_OK; /* The object ends before @offset. */
    } else if (status == STATUS_OK) {
        buffer_append(bytes, call.answer.body.data, size == 0 ? 0 : call.answer.body.size);
    }
    s3_call_close(&call);
    return status == STATUS_OK ? status : explain(s3, "read", name, status, error);
}

/* --- Listing --- */

struct walk {
    struct s3 *s3;
    const char *prefix;
    repository_list_cb cb;
    void *data;
    struct buffer full_prefix; /* Of the bucket's names; with a NUL. */
    struct buffer last;        /* The last name that came, or what all come behind; with a NUL. */
    struct s3_page page;
    bool goes_on; /* As @cb wants. */
};

static enum status check_page(struct s3_call *call, struct error *error)
{
    struct walk *walk = call->user;

    return s3_page_parse(buffer_slice(&call->answer.body), &walk->page, error);
}

/* Names come in the order of bytes, each once, and are what was asked for: else some are missing,
 * for all we know. */
static enum status take_name(struct walk *walk, size_t nth, struct error *error)
{
    const char *full = s3_page_name(&walk->page, nth);
    const char *name = full + strlen(walk->s3->service.settings.prefix);
    struct repository_object object;

    if (strncmp(full, (const char *)walk->full_prefix.data,
                strlen((const char *)walk->full_prefix.data)) != 0) {
        return error_set(error, STATUS_CORRUPT, "the server sent a name that was not asked for");
    }
    if (walk->last.size > 0 && strcmp(full, (const char *)walk->last.data) <= 0) {
        return error_set(error, STATUS_CORRUPT, "the server sent names that are not in order");
    }
    buffer_clear(&walk->last);
    buffer_append(&walk->last, full, strlen(full) + 1);
    if (!repository_is_name(name, false)) {
        return STATUS_OK; /* Somebody else's. */
    }
    object = (struct repository_object){.name = name,
                                        .size_bytes = s3_page_object(&walk->page, nth).size_bytes};
    walk->goes_on = walk->cb(walk->data, &object);
    return STATUS_OK;
}

/* The page behind @token (NULL: the first one, behind walk->last if there is one). */
static enum status get_page(struct walk *walk, const char *token, struct error *error)
{
    struct s3_call call = {.method = "GET",
                           .query = {{"list-type", "2"},
                                     {"encoding-type", "url"},
                                     {"max-keys", PAGE_OBJECTS},
                                     {"prefix", (const char *)walk->full_prefix.data}},
                           .max_body = MAX_PAGE,
                           .check = check_page,
                           .user = walk};
    enum status status;

    if (token != NULL) {
        call.query[4] = (struct sigv4_pair){"continuation-token", token};
    } else if (walk->last.size > 0) {
        call.query[4] = (struct sigv4_pair){"start-after", (const char *)walk->last.data};
    }
    status = s3_call_run(&walk->s3->service, &call, error);
    s3_call_close(&call);
    return status;
}

static enum status take_page(struct walk *walk, struct error *error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && walk->goes_on && i < walk->page.n_objects; i++) {
        status = take_name(walk, i, error);
    }
    return status;
}

static enum status walk_pages(struct walk *walk, struct error *error)
{
    char *token = NULL;
    unsigned n_empty = 0;
    bool is_last = false;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && walk->goes_on && !is_last) {
        status = get_page(walk, token, error);
        if (status != STATUS_OK) {
            break;
        }
        free(token);
        token = walk->page.next;
        walk->page.next = NULL;
        is_last = walk->page.is_last;
        n_empty = walk->page.n_objects == 0 ? n_empty + 1 : 0;
        status = take_page(walk, error);
        s3_page_close(&walk->page);
        if (status == STATUS_OK && n_empty > MAX_EMPTY_PAGES) {
            status = error_set(error, STATUS_CORRUPT, "the server sends pages without end");
        }
    }
    free(token);
    return status;
}

static enum status list(struct repository *repository, const char *prefix, const char *after,
                        repository_list_cb cb, void *data, struct error *error)
{
    struct s3 *s3 = s3_of(repository);
    const char *root = s3->service.settings.prefix;
    struct walk walk = {.s3 = s3, .prefix = prefix, .cb = cb, .data = data, .goes_on = true};
    enum status status;

    buffer_append_format(&walk.full_prefix, "%s%s", root, prefix);
    buffer_append_byte(&walk.full_prefix, 0);
    if (after != NULL) {
        buffer_append_format(&walk.last, "%s%s", root, after);
        buffer_append_byte(&walk.last, 0);
    }
    status = walk_pages(&walk, error);
    buffer_close(&walk.full_prefix);
    buffer_close(&walk.last);
    return status == STATUS_OK ? status : explain(s3, "list", prefix, status, error);
}

/* --- Removing --- */

/* Where objects are held there are versions: removing a name alone would only hide it. STATUS_OK
 * with an empty @version: there is nothing. */
static enum status find_version(struct s3 *s3, const char *name, char *version, size_t capacity,
                                struct error *error)
{
    struct s3_call call = {.method = "HEAD", .name = name, .max_body = MAX_ANSWER};
    enum status status = s3_call_run(&s3->service, &call, error);

    version[0] = '\0';
    if (status == STATUS_OK) {
        struct slice field = exchange_field(&call.answer, "x-amz-version-id");

        if (field.size == 0 || field.size >= capacity) {
            status = error_set(error, STATUS_UNSUPPORTED,
                               "the bucket has no versions, so it has no object lock");
        } else {
            memcpy(version, field.data, field.size);
            version[field.size] = '\0';
        }
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    s3_call_close(&call);
    return status;
}

static enum status remove_object(struct repository *repository, const char *name,
                                 struct error *error)
{
    struct s3 *s3 = s3_of(repository);
    bool has_versions = s3->service.settings.lock != S3_LOCK_NONE;
    char version[1025] = "";
    struct s3_call call = {.method = "DELETE", .name = name, .max_body = MAX_ANSWER};
    enum status status = STATUS_OK;

    if (has_versions) {
        status = find_version(s3, name, version, sizeof version, error);
        call.query[0] = (struct sigv4_pair){"versionId", version};
    }
    if (status == STATUS_OK && (!has_versions || version[0] != '\0')) {
        status = s3_call_run(&s3->service, &call, error);
    }
    if (status == STATUS_NOT_FOUND && !lacks_bucket(&call)) {
        status = STATUS_OK;
    }
    s3_call_close(&call);
    return status == STATUS_OK ? status : explain(s3, "remove", name, status, error);
}

const struct repository_kind repository_s3 = {
    .schemes = {"s3"},
    .open = open_s3,
    .create = create,
    .read = read_object,
    .list = list,
    .remove = remove_object,
    .close = close_s3,
};
