/* The steps, as "Create a signed AWS API request" in AWS's IAM guide numbers them:
 * 1. the canonical request: what is sent, in one spelling;
 * 2. its hash;
 * 3. the string to sign: time, scope and that hash;
 * 4. a key for this day, region and service, derived from the secret one;
 * 5. the signature of 3 by 4, and the field that carries it. */
#include "storage/archive/sigv4.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "daemon/base/check.h"
#include "daemon/base/hex.h"
#include "daemon/base/memory.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define DAY_BYTES  8 /* Of a time: 20130524. */

void sigv4_time(int64_t time_s, char text[SIGV4_TIME_BYTES])
{
    time_t seconds = time_s;
    struct tm parts;

    CHECK(gmtime_r(&seconds, &parts) != NULL);
    CHECK(strftime(text, SIGV4_TIME_BYTES, "%Y%m%dT%H%M%SZ", &parts) == SIGV4_TIME_BYTES - 1);
}

/* RFC 3986, section 2.3. Not isalnum(): that depends on the locale. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static void encode(const char *string, bool keeps_slash, struct buffer *text)
{
    for (const char *c = string; *c != '\0'; c++) {
        if (is_unreserved(*c) || (*c == '/' && keeps_slash)) {
            buffer_append_byte(text, (uint8_t)*c);
        } else {
            buffer_append_format(text, "%%%02X", (unsigned)(uint8_t)*c);
        }
    }
}

void sigv4_encode_path(const char *path, struct buffer *text)
{
    encode(path, true, text);
}

static char *encoded(const char *string)
{
    struct buffer text = BUFFER_EMPTY;

    encode(string, false, &text);
    buffer_append_byte(&text, 0);
    return (char *)text.data; /* From malloc, as buffers are. */
}

/* By name, then by value. */
static int compare_pairs(const void *a, const void *b)
{
    const struct sigv4_pair *left = a;
    const struct sigv4_pair *right = b;
    int order = strcmp(left->name, right->name);

    return order != 0 ? order : strcmp(left->value, right->value);
}

void sigv4_encode_query(const struct sigv4_pair *query, size_t n_query, struct buffer *text)
{
    struct {
        char *name;
        char *value;
    } *owned = memory_new_zeroed(n_query + 1, sizeof *owned);
    struct sigv4_pair *sorted = memory_new_zeroed(n_query + 1, sizeof *sorted);

    for (size_t i = 0; i < n_query; i++) {
        owned[i].name = encoded(query[i].name);
        owned[i].value = encoded(query[i].value);
        sorted[i] = (struct sigv4_pair){.name = owned[i].name, .value = owned[i].value};
    }
    qsort(sorted, n_query, sizeof *sorted, compare_pairs); /* What is sorted is encoded already. */
    for (size_t i = 0; i < n_query; i++) {
        buffer_append_format(text, "%s%s=%s", i == 0 ? "" : "&", sorted[i].name, sorted[i].value);
    }
    for (size_t i = 0; i < n_query; i++) {
        free(owned[i].name);
        free(owned[i].value);
    }
    free(sorted);
    free(owned);
}

/* --- The canonical request --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without blanks at the ends, and with one space for each run of them. */
static void append_value(const char *value, struct buffer *text)
{
    bool was_blank = false;
    bool is_first = true;

    for (const char *c = value; *c != '\0'; c++) {
        if (!is_blank(*c)) {
            if (was_blank && !is_first) {
                buffer_append_byte(text, ' ');
            }
            buffer_append_byte(text, (uint8_t)*c);
            is_first = false;
        }
        was_blank = is_blank(*c);
    }
}

/* The fields by name; those of one name stay in their order, so qsort() would not do. */
static struct sigv4_pair *sort_fields(const struct sigv4_request *request)
{
    struct sigv4_pair *sorted = memory_new_zeroed(request->n_fields + 1, sizeof *sorted);

    for (size_t i = 0; i < request->n_fields; i++) {
        size_t at = i;

        while (at > 0 && strcmp(sorted[at - 1].name, request->fields[i].name) > 0) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = request->fields[i];
    }
    return sorted;
}

/* "name:value" lines in @lines, and the names in @names. */
static void write_fields(const struct sigv4_request *request, struct buffer *lines,
                         struct buffer *names)
{
    struct sigv4_pair *sorted = sort_fields(request);

    for (size_t i = 0; i < request->n_fields; i++) {
        bool repeats = i > 0 && strcmp(sorted[i].name, sorted[i - 1].name) == 0;
        bool is_last =
            i + 1 == request->n_fields || strcmp(sorted[i].name, sorted[i + 1].name) != 0;

        if (!repeats) {
            buffer_append_format(names, "%s%s", i == 0 ? "" : ";", sorted[i].name);
            buffer_append_string(lines, sorted[i].name);
        }
        buffer_append_byte(lines, repeats ? ',' : ':');
        append_value(sorted[i].value, lines);
        if (is_last) {
            buffer_append_byte(lines, '\n');
        }
    }
    free(sorted);
}

static void write_canonical(const struct sigv4_request *request, struct buffer *names,
                            struct buffer *text)
{
    buffer_append_format(text, "%s\n", request->method);
    sigv4_encode_path(request->path, text);
    buffer_append_byte(text, '\n');
    sigv4_encode_query(request->query, request->n_query, text);
    buffer_append_byte(text, '\n');
    write_fields(request, text, names);
    buffer_append_byte(text, '\n');
    buffer_append_slice(text, buffer_slice(names));
    buffer_append_format(text, "\n%s", request->body_sha256);
}

/* --- The signature --- */

static void hmac(const uint8_t *key, size_t key_size, const void *data, size_t size,
                 uint8_t result[SIGV4_SHA256_BYTES])
{
    unsigned written;

    CHECK(HMAC(EVP_sha256(), key, (int)key_size, data, size, result, &written) != NULL);
    CHECK(written == SIGV4_SHA256_BYTES);
}

/* The key for one day, region and service. */
static void derive_key(const struct sigv4_key *key, const char *day,
                       uint8_t derived[SIGV4_SHA256_BYTES])
{
    struct buffer secret = BUFFER_EMPTY;
    uint8_t other[SIGV4_SHA256_BYTES];

    /* At once in one piece: growing would leave copies of the secret behind. */
    (void)buffer_reserve(&secret, strlen(key->secret_key) + 5);
    buffer_append_format(&secret, "AWS4%s", key->secret_key);
    hmac(secret.data, secret.size, day, DAY_BYTES, derived);
    hmac(derived, SIGV4_SHA256_BYTES, key->region, strlen(key->region), other);
    hmac(other, SIGV4_SHA256_BYTES, key->service, strlen(key->service), derived);
    hmac(derived, SIGV4_SHA256_BYTES, TERMINATOR, strlen(TERMINATOR), other);
    memcpy(derived, other, SIGV4_SHA256_BYTES);
    OPENSSL_cleanse(secret.data, secret.size);
    OPENSSL_cleanse(other, sizeof other);
    buffer_close(&secret);
}

static const char *date_of(const struct sigv4_request *request)
{
    const char *date = NULL;
    bool has_host = false;

    for (size_t i = 0; i < request->n_fields; i++) {
        if (strcmp(request->fields[i].name, "x-amz-date") == 0) {
            date = request->fields[i].value;
        }
        has_host = has_host || strcmp(request->fields[i].name, "host") == 0;
    }
    CHECK(has_host);
    CHECK(date != NULL && strlen(date) == SIGV4_TIME_BYTES - 1);
    return date;
}

void sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *request,
                struct buffer *authorization)
{
    const char *date = date_of(request);
    struct buffer names = BUFFER_EMPTY;
    struct buffer scope = BUFFER_EMPTY;
    struct buffer text = BUFFER_EMPTY;
    uint8_t bytes[SIGV4_SHA256_BYTES];
    uint8_t derived[SIGV4_SHA256_BYTES];
    char hex[SIGV4_HEX_BYTES];

    write_canonical(request, &names, &text);
    (void)SHA256(text.data, text.size, bytes);
    hex_text(bytes, sizeof bytes, hex);
    buffer_append_format(&scope, "%.*s/%s/%s/" TERMINATOR, DAY_BYTES, date, key->region,
                         key->service);

    buffer_clear(&text);
    buffer_append_format(&text, ALGORITHM "\n%s\n%.*s\n%s", date, (int)scope.size,
                         (const char *)scope.data, hex);
    derive_key(key, date, derived);
    hmac(derived, sizeof derived, text.data, text.size, bytes);
    hex_text(bytes, sizeof bytes, hex);
    OPENSSL_cleanse(derived, sizeof derived);

    buffer_append_format(authorization,
                         ALGORITHM " Credential=%s/%.*s, SignedHeaders=%.*s, Signature=%s",
                         key->access_key, (int)scope.size, (const char *)scope.data,
                         (int)names.size, (const char *)names.data, hex);
    buffer_close(&text);
    buffer_close(&scope);
    buffer_close(&names);
}
