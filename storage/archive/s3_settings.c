#include "storage/archive/s3_settings.h"

#include <stdlib.h>

#include "daemon/base/memory.h"

#define SCHEME          "s3://"
#define DEFAULT_REGION  "us-east-1"
#define MAX_BUCKET      255u
#define MAX_PREFIX      512u /* S3's names have 1024 bytes, and ours 200. */
#define MAX_REGION      63u
#define MAX_HOST        512u
#define MAX_RETAIN_DAYS 36500u

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool s3_decode(struct slice text, struct buffer *decoded)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (c == '%') {
            int high = text.size - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = text.size - i > 2 ? hex_digit(text.data[i + 2]) : -1;

            if (high < 0 || low < 0) {
                return false;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            return false;
        }
        buffer_append_byte(decoded, c);
    }
    return true;
}

/* The text up to the first of @ends, decoded, for free(); NULL: badly encoded. */
static char *take(const char **at, const char *ends)
{
    size_t size = strcspn(*at, ends);
    struct buffer text = BUFFER_EMPTY;

    if (!s3_decode(slice_of(*at, size), &text)) {
        buffer_close(&text);
        return NULL;
    }
    *at += size;
    buffer_append_byte(&text, 0);
    return (char *)text.data; /* From malloc, as buffers are. */
}

/* Letters, digits and @others only, and not too many or none. */
static bool consists_of(const char *text, const char *others, size_t most)
{
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            strchr(others, c) == NULL) {
            return false;
        }
    }
    return size > 0 && size <= most;
}

/* Of letters that mean the same in paths, queries and XML; no empty component, and none that a path
 * would lose on its way. Ends with "/" if it is not empty. */
static bool is_prefix(const char *prefix)
{
    const char *at = prefix;

    while (*at != '\0') {
        size_t size = strcspn(at, "/");

        if (size == 0 || (size == 1 && at[0] == '.') || (size == 2 && memcmp(at, "..", 2) == 0) ||
            at[size] != '/') {
            return false;
        }
        at += size + 1;
    }
    return prefix[0] == '\0' || consists_of(prefix, "-_.=/", MAX_PREFIX);
}

/* --- The settings --- */

/* As they stand in the URL. */
struct given {
    char *endpoint;
    char *region;
    char *path_style;
    char *lock;
    char *retain_days;
};

static char **place_of(struct given *given, const char *name, size_t size)
{
    struct {
        const char *name;
        char **place;
    } known[] = {{"endpoint", &given->endpoint},
                 {"region", &given->region},
                 {"path-style", &given->path_style},
                 {"object-lock", &given->lock},
                 {"retain-days", &given->retain_days}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == size && memcmp(known[i].name, name, size) == 0) {
            return known[i].place;
        }
    }
    return NULL;
}

static void close_given(struct given *given)
{
    free(given->endpoint);
    free(given->region);
    free(given->path_style);
    free(given->lock);
    free(given->retain_days);
}

static enum status split(const char *query, struct given *given, struct error *error)
{
    const char *at = query;

    while (*at != '\0') {
        size_t size = strcspn(at, "=&");
        char **place = place_of(given, at, size);

        /* What is wrong may be a secret, so it is not repeated. */
        if (place == NULL || *place != NULL || at[size] != '=') {
            return error_set(
                error, STATUS_INVALID,
                "an s3:// URL has a setting that is not known or not given once; known "
                "are endpoint, region, path-style, object-lock and retain-days");
        }
        at += size + 1;
        *place = take(&at, "&");
        if (*place == NULL) {
            return error_set(error, STATUS_INVALID, "a setting of an s3:// URL is badly encoded");
        }
        at += *at == '&' ? 1 : 0;
    }
    return STATUS_OK;
}

static enum status set_region(const struct given *given, struct s3_settings *settings,
                              struct error *error)
{
    const char *region = getenv("AWS_REGION");

    if (region == NULL || region[0] == '\0') {
        region = getenv("AWS_DEFAULT_REGION");
    }
    if (region == NULL || region[0] == '\0') {
        region = DEFAULT_REGION;
    }
    if (given->region != NULL) {
        region = given->region;
    }
    if (!consists_of(region, "-_", MAX_REGION)) {
        return error_set(error, STATUS_INVALID, "the region of an s3:// URL is not one");
    }
    settings->region = memory_copy_string(region);
    return STATUS_OK;
}

static enum status set_style(const struct given *given, struct s3_settings *settings,
                             struct error *error)
{
    if (given->path_style == NULL) {
        /* A dot would make a host that no certificate is for. */
        settings->is_path_style = given->endpoint != NULL || strchr(settings->bucket, '.') != NULL;
    } else if (strcmp(given->path_style, "true") == 0) {
        settings->is_path_style = true;
    } else if (strcmp(given->path_style, "false") != 0) {
        return error_set(error, STATUS_INVALID, "path-style of an s3:// URL must be true or false");
    }
    return STATUS_OK;
}

/* The port that @scheme has anyhow is not written in the field "Host". */
static size_t host_size(const char *host, const char *scheme)
{
    size_t size = strlen(host);
    const char *port = strcmp(scheme, "http") == 0 ? ":80" : ":443";
    size_t port_size = strlen(port);

    return size > port_size && strcmp(host + size - port_size, port) == 0 ? size - port_size : size;
}

static enum status set_host(const struct given *given, struct s3_settings *settings,
                            struct error *error)
{
    const char *host = given->endpoint;
    struct buffer text = BUFFER_EMPTY;

    if (!settings->is_path_style) {
        buffer_append_format(&text, "%s.", settings->bucket);
    }
    if (host == NULL) {
        settings->scheme = memory_copy_string("https");
        /* China has a domain of its own. */
        buffer_append_format(&text, "s3.%s.amazonaws.com%s", settings->region,
                             strncmp(settings->region, "cn-", 3) == 0 ? ".cn" : "");
    } else {
        bool is_secure = strncmp(host, "https://", 8) == 0;

        if (!is_secure && strncmp(host, "http://", 7) != 0) {
            goto err_host;
        }
        host += is_secure ? 8 : 7;
        settings->scheme = memory_copy_string(is_secure ? "https" : "http");
        if (!consists_of(host, ".-:[]", MAX_HOST)) {
            goto err_host;
        }
        buffer_append(&text, host, host_size(host, settings->scheme));
    }
    buffer_append_byte(&text, 0);
    settings->host = (char *)text.data;
    return STATUS_OK;

err_host:
    buffer_close(&text);
    return error_set(error, STATUS_INVALID,
                     "the endpoint of an s3:// URL must be like https://HOST or http://HOST:PORT");
}

static enum status set_lock(const struct given *given, struct s3_settings *settings,
                            struct error *error)
{
    unsigned long days = 0;
    char *end = NULL;

    if (given->lock == NULL && given->retain_days == NULL) {
        return STATUS_OK;
    }
    if (given->retain_days != NULL && consists_of(given->retain_days, "", 6)) {
        days = strtoul(given->retain_days, &end, 10);
    }
    if (given->lock == NULL || end == NULL || *end != '\0' || days == 0 || days > MAX_RETAIN_DAYS) {
        return error_set(error, STATUS_INVALID,
                         "object-lock of an s3:// URL needs retain-days, from 1 to %u, and the "
                         "other way round",
                         MAX_RETAIN_DAYS);
    }
    if (strcmp(given->lock, "governance") == 0) {
        settings->lock = S3_LOCK_GOVERNANCE;
    } else if (strcmp(given->lock, "compliance") == 0) {
        settings->lock = S3_LOCK_COMPLIANCE;
    } else {
        return error_set(error, STATUS_INVALID,
                         "object-lock of an s3:// URL must be governance or compliance");
    }
    settings->retain_days = (unsigned)days;
    return STATUS_OK;
}

/* --- The URL --- */

/* BUCKET[/PREFIX]; moves @at behind it. */
static enum status set_place(const char **at, struct s3_settings *settings, struct error *error)
{
    struct buffer prefix = BUFFER_EMPTY;
    char *given;

    settings->bucket = take(at, "/?");
    if (settings->bucket == NULL || !consists_of(settings->bucket, ".-_", MAX_BUCKET)) {
        return error_set(error, STATUS_INVALID,
                         "an s3:// URL names no bucket: it must be like s3://BUCKET/PREFIX");
    }
    while (**at == '/') {
        ++*at;
    }
    given = take(at, "?");
    if (given != NULL) {
        size_t size = strlen(given);

        while (size > 0 && given[size - 1] == '/') {
            size--;
        }
        buffer_append(&prefix, given, size);
        buffer_append_string(&prefix, size > 0 ? "/" : "");
        free(given);
    }
    buffer_append_byte(&prefix, 0);
    settings->prefix = (char *)prefix.data;
    if (given == NULL || !is_prefix(settings->prefix)) {
        return error_set(error, STATUS_INVALID,
                         "the prefix of an s3:// URL must be of letters, digits and -_.=/, "
                         "without parts that are empty or dots, and at most %u bytes long",
                         MAX_PREFIX);
    }
    return STATUS_OK;
}

static enum status parse(const char *url, struct given *given, struct s3_settings *settings,
                         struct error *error)
{
    const char *at = url + strlen(SCHEME);
    enum status status;

    if (strchr(url, '@') != NULL) {
        return error_set(error, STATUS_INVALID,
                         "an s3:// URL must not have keys or a password in it, and no \"@\"");
    }
    status = set_place(&at, settings, error);
    if (status == STATUS_OK && *at == '?') {
        status = split(at + 1, given, error);
    }
    if (status == STATUS_OK) {
        status = set_region(given, settings, error);
    }
    if (status == STATUS_OK) {
        status = set_style(given, settings, error);
    }
    if (status == STATUS_OK) {
        status = set_host(given, settings, error);
    }
    return status == STATUS_OK ? set_lock(given, settings, error) : status;
}

enum status s3_settings_parse(const char *url, struct s3_settings *settings, struct error *error)
{
    struct given given = {0};
    struct s3_settings parsed = {0};
    enum status status = parse(url, &given, &parsed, error);

    close_given(&given);
    if (status != STATUS_OK) {
        s3_settings_close(&parsed);
        return status;
    }
    *settings = parsed;
    return STATUS_OK;
}

void s3_settings_close(struct s3_settings *settings)
{
    free(settings->bucket);
    free(settings->prefix);
    free(settings->region);
    free(settings->scheme);
    free(settings->host);
}
