/* 1. A source names a full in a repository, or a URL of another node's API.
 * 2. The thread of the files reads it: segment by segment from the repository, or in parts over
 *    HTTP, each of them named by the tag that came with the first one.
 * 3. image_spool.c checks the whole, and gives it to all who wait for it.
 *
 * The rate is kept here, as neither side keeps one. */
#include "storage/archive/contents.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "daemon/base/pace.h"
#include "storage/archive/exchange.h"
#include "storage/archive/full.h"

#define PART_BYTES  (8u << 20)
#define CONNECT_MS  3000u
#define STALL_S     3600u /* The other node fetches all of it before it answers. */
#define MAX_REST_MS 100u
#define HTTP_PREFIX "http://"
#define TAG_BYTES   128

struct contents {
    struct contents_options options;
    struct image_spools *spools;
};

struct fetching {
    const struct contents_options *options;
    int fd;
    struct pace pace;
    bool (*is_canceled)(void *data);
    void *cancel_data;
};

static void rest(uint64_t ms)
{
    struct timespec span = {.tv_nsec = (long)(ms < MAX_REST_MS ? ms : MAX_REST_MS) * 1000000};

    (void)nanosleep(&span, NULL); /* Who was woken early looks again. */
}

static enum status take(void *data, struct slice content, struct error *error)
{
    struct fetching *fetching = data;
    enum status status = files_write(fetching->fd, content, "an image", error);

    pace_spend(&fetching->pace, content.size);
    while (status == STATUS_OK && !pace_allows(&fetching->pace, clock_ms())) {
        if (fetching->is_canceled(fetching->cancel_data)) {
            return error_set(error, STATUS_CANCELED, "the node is shutting down");
        }
        rest(pace_wait_ms(&fetching->pace));
    }
    return status;
}

/* --- From a repository --- */

static enum status read_full(struct fetching *fetching, struct repository *repository,
                             const char *directory, struct error *error)
{
    struct manifest manifest;
    enum status status = full_manifest(repository, directory, &manifest, error);

    if (status == STATUS_OK) {
        status = full_read(repository, directory, &manifest, fetching->options->keys, take,
                           fetching, error);
        manifest_close(&manifest);
    }
    return status;
}

static enum status fetch_from_repository(struct fetching *fetching, const char *source,
                                         struct error *error)
{
    char *directory;
    size_t number = strtoull(source, &directory, 10);
    struct repository_options options = {
        .url = fetching->options->find_url(fetching->options->data, number),
        .data = fetching->cancel_data,
        .is_canceled = fetching->is_canceled,
    };
    struct repository *repository;
    enum status status;

    CHECK(*directory == ' ' && options.url != NULL); /* contents_source() wrote it. */
    status = repository_open(&options, &repository, error);
    if (status == STATUS_OK) {
        status = read_full(fetching, repository, directory + 1, error);
        repository_close(repository);
    }
    return status;
}

/* --- From another node --- */

static enum status status_of_answer(unsigned status)
{
    switch (status) {
    case 404:
    case 412: /* What was begun is not there any more. */
        return STATUS_NOT_FOUND;
    case 503:
        return STATUS_BUSY;
    case 507:
        return STATUS_DISK_FULL;
    default:
        return STATUS_IO;
    }
}

/* It said no, and why. */
static enum status refuse(const char *url, const struct exchange_answer *answer,
                          struct error *error)
{
    json_t *problem = json_loadb((const char *)answer->body.data, answer->body.size, 0, NULL);
    const char *detail = json_string_value(json_object_get(problem, "detail"));

    (void)error_set(error, status_of_answer(answer->status), "%s answered %u: %s", url,
                    answer->status, detail == NULL ? "no reason" : detail);
    json_decref(problem); /* Accepts NULL. */
    return error->status;
}

/* "bytes FIRST-LAST/SIZE" */
static bool parse_size(struct slice value, uint64_t first, uint64_t *size)
{
    char text[96];
    uint64_t begins;
    uint64_t ends;

    if (value.size >= sizeof text) {
        return false;
    }
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    return sscanf(text, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &begins, &ends, size) == 3 &&
           begins == first && ends >= begins && ends < *size;
}

static bool copy_tag(const struct exchange_answer *answer, char tag[TAG_BYTES])
{
    struct slice value = exchange_field(answer, "etag");

    if (value.size == 0 || value.size >= TAG_BYTES) {
        return false;
    }
    memcpy(tag, value.data, value.size);
    tag[value.size] = '\0';
    return true;
}

/* The part from @first on; @size becomes that of the whole. */
static enum status take_part(struct fetching *fetching, const char *url,
                             const struct exchange_answer *answer, uint64_t first, uint64_t *size,
                             char tag[TAG_BYTES], struct error *error)
{
    uint64_t whole;

    if (answer->status != 206) {
        return refuse(url, answer, error);
    }
    if (!parse_size(exchange_field(answer, "content-range"), first, &whole) ||
        (first > 0 && whole != *size) || answer->body.size == 0 ||
        answer->body.size > whole - first || !copy_tag(answer, tag)) {
        return error_set(error, STATUS_IO, "%s answered with another part than was asked for", url);
    }
    *size = whole;
    return take(fetching, buffer_slice(&answer->body), error);
}

static enum status get_part(struct fetching *fetching, struct exchange_client *client,
                            const char *url, uint64_t first, uint64_t *size, char tag[TAG_BYTES],
                            uint64_t *taken, struct error *error)
{
    char range[64];
    const struct sigv4_pair fields[] = {{"via", CONTENTS_VIA}, {"range", range}, {"if-match", tag}};
    const struct exchange_request request = {.method = "GET",
                                             .url = url,
                                             .fields = fields,
                                             .n_fields = first == 0 ? 2 : 3,
                                             .max_body = PART_BYTES};
    struct exchange_answer answer = {.status = 0};
    enum status status;

    (void)snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, first,
                   first + PART_BYTES - 1); /* Fits. */
    status = exchange_run(client, &request, &answer, error);
    if (status == STATUS_OK) {
        status = take_part(fetching, url, &answer, first, size, tag, error);
    }
    *taken = answer.body.size;
    exchange_answer_close(&answer);
    return status;
}

static enum status fetch_from_node(struct fetching *fetching, const char *url, struct error *error)
{
    const struct exchange_options options = {.connect_ms = CONNECT_MS,
                                             .stall_s = STALL_S,
                                             .is_direct = true,
                                             .is_canceled = fetching->is_canceled,
                                             .data = fetching->cancel_data};
    struct exchange_client *client = exchange_open(&options);
    char tag[TAG_BYTES] = "";
    uint64_t size = 1; /* Until the first part tells. */
    uint64_t offset = 0;
    uint64_t taken;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && offset < size) {
        status = get_part(fetching, client, url, offset, &size, tag, &taken, error);
        offset += taken;
    }
    exchange_close(client);
    return status;
}

/* --- Sources, and life --- */

static enum status fetch(void *data, const char *source, int fd, bool (*is_canceled)(void *data),
                         void *cancel_data, struct error *error)
{
    struct contents *contents = data;
    struct fetching fetching = {
        .options = &contents->options,
        .fd = fd,
        .pace = pace_of(contents->options.bytes_per_second, clock_ms()),
        .is_canceled = is_canceled,
        .cancel_data = cancel_data,
    };

    return strncmp(source, HTTP_PREFIX, strlen(HTTP_PREFIX)) == 0
               ? fetch_from_node(&fetching, source, error)
               : fetch_from_repository(&fetching, source, error);
}

void contents_source(size_t number, const char *directory, char source[IMAGE_SOURCE_BYTES])
{
    int size = snprintf(source, IMAGE_SOURCE_BYTES, "%zu %s", number, directory);

    CHECK(size > 0 && size < IMAGE_SOURCE_BYTES);
}

void contents_source_of_node(const char *api_address, const char *id,
                             char source[IMAGE_SOURCE_BYTES])
{
    int size = snprintf(source, IMAGE_SOURCE_BYTES, HTTP_PREFIX "%s/v1/archives/%s/content",
                        api_address, id);

    CHECK(size > 0 && size < IMAGE_SOURCE_BYTES);
}

enum status contents_open(const struct contents_options *options, struct contents **contents,
                          struct error *error)
{
    struct contents *opened = memory_new_zeroed(1, sizeof *opened);
    const struct image_spools_options spools = {
        .store = options->store,
        .directory = options->directory,
        .reserve_bytes = options->reserve_bytes,
        .bytes_per_second = options->bytes_per_second,
        .data = opened,
        .fetch = fetch,
    };
    enum status status;

    opened->options = *options;
    opened->options.directory = NULL; /* Only theirs. */
    status = image_spools_open(&spools, &opened->spools, error);
    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    *contents = opened;
    return STATUS_OK;
}

void contents_close(struct contents *contents)
{
    if (contents == NULL) {
        return;
    }
    image_spools_close(contents->spools);
    free(contents);
}

struct image_spools *contents_spools(struct contents *contents)
{
    return contents->spools;
}
