#include "storage/archive/manifest.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/hex.h"
#include "daemon/base/memory.h"

#define HEX_BYTES (2 * REPOSITORY_SHA256_BYTES + 1)

/* --- Texts --- */

static bool from_hex(const char *text, uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < 2 * size; i++) {
        const char *digit = strchr(digits, text[i]);

        if (digit == NULL) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit - digits));
    }
    return true;
}

/* Of all fields but the last. */
static void checksum_of(const json_t *json, char text[HEX_BYTES])
{
    char *bytes = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    uint8_t hash[REPOSITORY_SHA256_BYTES];

    CHECK(bytes != NULL);
    CHECK(EVP_Digest(bytes, strlen(bytes), hash, NULL, EVP_sha256(), NULL) == 1);
    hex_text(hash, sizeof hash, text);
    free(bytes);
}

/* --- Writing --- */

/* 64 bits as a text: JSON's numbers are not for that everywhere. */
static json_t *hex64(uint64_t value)
{
    char text[17];

    (void)snprintf(text, sizeof text, "%016" PRIx64, value);
    return json_string(text);
}

static json_t *hex_of(const uint8_t *bytes, size_t size)
{
    char text[HEX_BYTES];

    CHECK(2 * size < sizeof text);
    hex_text(bytes, size, text);
    return json_string(text);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *segments_of(const struct manifest *manifest)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < manifest->n_segments; i++) {
        const struct manifest_segment *segment = &manifest->segments[i];

        CHECK(json_array_append_new(
                  list, json_pack("{s:o, s:o, s:o}", "size_bytes", number(segment->size_bytes),
                                  "content_bytes", number(segment->content_bytes), "sha256",
                                  hex_of(segment->sha256, sizeof segment->sha256))) == 0);
    }
    return list;
}

void manifest_encode(const struct manifest *manifest, struct buffer *out)
{
    const struct state *state = &manifest->facts.state;
    char checksum[HEX_BYTES];
    char *text;
    json_t *json = json_pack(
        "{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:[o,o], s:[o,o], s:o, s:o, s:o, s:o, s:o, s:s, "
        "s:s, s:s, s:o}",
        "format", MANIFEST_FORMAT, "kind", "full", "cluster_id", manifest->facts.cluster_id,
        "index", number(state->applied_index), "term", number(state->applied_term), "revision",
        number(state->revision), "time_ms", number(state->time_ms), "next_object_id",
        number(state->next_object_id), "state_hash", hex64(manifest->state_hash[0]),
        hex64(manifest->state_hash[1]), "records_hash", hex64(state->hash[0]),
        hex64(state->hash[1]), "image_bytes", number(manifest->image_bytes), "records",
        number(manifest->records), "content_bytes", number(manifest->content_bytes), "digest",
        hex_of(manifest->digest, sizeof manifest->digest), "created_ms",
        number(manifest->created_ms), "node", manifest->node, "key", manifest->key, "program",
        manifest->program, "segments", segments_of(manifest));

    CHECK(json != NULL);
    checksum_of(json, checksum);
    CHECK(json_object_set_new(json, "sha256", json_string(checksum)) == 0);
    text = json_dumps(json, JSON_INDENT(2));
    CHECK(text != NULL);
    buffer_append_string(out, text);
    buffer_append_byte(out, '\n');
    free(text);
    json_decref(json);
}

/* --- Reading --- */

struct fields {
    json_t *json;
    bool failed;
};

static const char *get_text(struct fields *fields, const char *name, size_t most)
{
    const char *text = json_string_value(json_object_get(fields->json, name));

    if (text == NULL || strlen(text) > most) {
        fields->failed = true;
        return "";
    }
    return text;
}

static uint64_t get_number(struct fields *fields, const char *name)
{
    const json_t *value = json_object_get(fields->json, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        fields->failed = true;
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

static void get_hash(struct fields *fields, const char *name, uint64_t hash[2])
{
    const json_t *pair = json_object_get(fields->json, name);

    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_array_get(pair, i));
        char *end = NULL;

        hash[i] = text == NULL ? 0 : strtoull(text, &end, 16);
        fields->failed = fields->failed || text == NULL || *end != '\0';
    }
}

static void get_bytes(struct fields *fields, const char *name, uint8_t *bytes, size_t size)
{
    const char *text = get_text(fields, name, 2 * size);

    if (!fields->failed && !from_hex(text, bytes, size)) {
        fields->failed = true;
    }
}

static void get_segments(struct fields *fields, struct manifest *manifest)
{
    json_t *list = json_object_get(fields->json, "segments");
    size_t n = json_array_size(list);
    uint64_t content_bytes = 0;

    if (n == 0 || n > MANIFEST_SEGMENTS) {
        fields->failed = true;
        return;
    }
    manifest->n_segments = (unsigned)n;
    manifest->segments = memory_new_zeroed(n, sizeof *manifest->segments);
    for (size_t i = 0; i < n; i++) {
        struct fields one = {.json = json_array_get(list, i)};
        struct manifest_segment *segment = &manifest->segments[i];

        segment->size_bytes = get_number(&one, "size_bytes");
        segment->content_bytes = get_number(&one, "content_bytes");
        get_bytes(&one, "sha256", segment->sha256, sizeof segment->sha256);
        content_bytes += segment->content_bytes;
        fields->failed = fields->failed || one.failed;
    }
    fields->failed = fields->failed || content_bytes != manifest->image_bytes;
}

static void get_all(struct fields *fields, struct manifest *manifest)
{
    struct state *state = &manifest->facts.state;

    (void)snprintf(manifest->facts.cluster_id, sizeof manifest->facts.cluster_id, "%s",
                   get_text(fields, "cluster_id", IMAGE_CLUSTER_BYTES)); /* All four fit. */
    (void)snprintf(manifest->node, sizeof manifest->node, "%s",
                   get_text(fields, "node", LIMIT_NAME_BYTES));
    (void)snprintf(manifest->key, sizeof manifest->key, "%s",
                   get_text(fields, "key", LIMIT_NAME_BYTES));
    (void)snprintf(manifest->program, sizeof manifest->program, "%s",
                   get_text(fields, "program", LIMIT_NAME_BYTES));
    state->applied_index = get_number(fields, "index");
    state->applied_term = get_number(fields, "term");
    state->revision = get_number(fields, "revision");
    state->time_ms = get_number(fields, "time_ms");
    state->next_object_id = get_number(fields, "next_object_id");
    get_hash(fields, "state_hash", manifest->state_hash);
    get_hash(fields, "records_hash", state->hash);
    manifest->image_bytes = get_number(fields, "image_bytes");
    manifest->records = get_number(fields, "records");
    manifest->content_bytes = get_number(fields, "content_bytes");
    manifest->created_ms = get_number(fields, "created_ms");
    get_bytes(fields, "digest", manifest->digest, sizeof manifest->digest);
    get_segments(fields, manifest);
}

/* The fields but the checksum are what that says. */
static bool is_whole(json_t *json)
{
    json_t *kept = json_object_get(json, "sha256");
    char checksum[HEX_BYTES];
    bool is_same;

    if (!json_is_string(kept)) {
        return false;
    }
    (void)json_incref(kept);
    CHECK(json_object_del(json, "sha256") == 0);
    checksum_of(json, checksum);
    is_same = strcmp(checksum, json_string_value(kept)) == 0;
    json_decref(kept);
    return is_same;
}

enum status manifest_decode(struct slice bytes, struct manifest *manifest, struct error *error)
{
    struct manifest decoded = {.n_segments = 0};
    struct fields fields = {
        .json = json_loadb((const char *)bytes.data, bytes.size, JSON_REJECT_DUPLICATES, NULL)};
    const json_t *format = json_object_get(fields.json, "format");
    enum status status = STATUS_OK;

    if (!json_is_object(fields.json) || !is_whole(fields.json)) {
        status = error_set(error, STATUS_CORRUPT, "the manifest is damaged");
    } else if (json_integer_value(format) != MANIFEST_FORMAT) {
        status = error_set(error, STATUS_UNSUPPORTED, "the manifest is of another format");
    } else {
        get_all(&fields, &decoded);
        if (fields.failed) {
            status = error_set(error, STATUS_CORRUPT, "the manifest makes no sense");
        }
    }
    json_decref(fields.json);
    if (status != STATUS_OK) {
        manifest_close(&decoded);
        return status;
    }
    *manifest = decoded;
    return STATUS_OK;
}

void manifest_close(struct manifest *manifest)
{
    free(manifest->segments);
    manifest->segments = NULL;
}
