/* Keys out of what files and servers say; pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <jansson.h>

#include "daemon/base/memory.h"
#include "storage/archive/aws_credentials.h"
#include "storage/archive/xml.h"

#define MAX_VALUE 8192u /* Session tokens have one or two thousand bytes. */

static void wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

void aws_key_close(struct aws_key *key)
{
    wipe(key->access_key);
    wipe(key->secret_key);
    wipe(key->token);
    *key = (struct aws_key){0};
}

/* It goes into a header field: nothing in it may end that. */
static bool is_value(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return text.size > 0 && text.size <= MAX_VALUE;
}

static char *copy_value(struct slice text)
{
    char *copy = memory_new(text.size + 1);

    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

/* --- Answers of endpoints --- */

/* 2026-01-31T12:00:00Z, perhaps with a fraction. */
static bool parse_time(const char *text, int64_t *time_s)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);

    if (rest == NULL) {
        return false;
    }
    if (*rest == '.') {
        rest += 1 + strspn(rest + 1, "0123456789");
    }
    *time_s = timegm(&parts);
    return strcmp(rest, "Z") == 0 || strcmp(rest, "+00:00") == 0;
}

static bool take_member(const json_t *object, const char *name, char **value)
{
    const json_t *member = json_object_get(object, name);
    struct slice text;

    if (!json_is_string(member)) {
        return false;
    }
    text = slice_of(json_string_value(member), json_string_length(member));
    if (!is_value(text)) {
        return false;
    }
    *value = copy_value(text);
    return true;
}

enum status aws_key_from_answer(struct slice json, struct aws_key *key, struct error *error)
{
    struct aws_key parsed = {.expires_s = AWS_KEY_FOREVER};
    json_t *object = json_loadb(json.size == 0 ? "" : (const char *)json.data, json.size, 0, NULL);
    const json_t *expiration = json_object_get(object, "Expiration");
    bool is_good;

    /* A role without rights is answered with a Code and nothing else. */
    is_good =
        take_member(object, "AccessKeyId", &parsed.access_key) &&
        take_member(object, "SecretAccessKey", &parsed.secret_key) &&
        (json_object_get(object, "Token") == NULL || take_member(object, "Token", &parsed.token)) &&
        (expiration == NULL || (json_is_string(expiration) &&
                                parse_time(json_string_value(expiration), &parsed.expires_s)));
    json_decref(object);
    if (!is_good) {
        aws_key_close(&parsed);
        return error_set(error, STATUS_INVALID, "the answer has no keys in it");
    }
    *key = parsed;
    return STATUS_OK;
}

#define STS_CREDENTIALS                                                                            \
    "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"

/* The end of an element. False: it is not as it should be. */
static bool take_element(const struct xml *xml, struct aws_key *key)
{
    struct slice text = buffer_slice(&xml->text);
    char **place = NULL;

    if (xml_is_at(xml, STS_CREDENTIALS "AccessKeyId")) {
        place = &key->access_key;
    } else if (xml_is_at(xml, STS_CREDENTIALS "SecretAccessKey")) {
        place = &key->secret_key;
    } else if (xml_is_at(xml, STS_CREDENTIALS "SessionToken")) {
        place = &key->token;
    } else if (xml_is_at(xml, STS_CREDENTIALS "Expiration")) {
        char *time_text = is_value(text) ? copy_value(text) : memory_copy_string("");
        bool is_good = parse_time(time_text, &key->expires_s);

        free(time_text);
        return is_good;
    }
    if (place == NULL) {
        return true;
    }
    if (*place != NULL || !is_value(text)) {
        return false;
    }
    *place = copy_value(text);
    return true;
}

enum status aws_key_from_sts(struct slice xml_text, struct aws_key *key, struct error *error)
{
    struct aws_key parsed = {.expires_s = 0};
    enum xml_event event;
    bool is_good = true;
    struct xml xml;

    xml_open(&xml, xml_text);
    while (is_good && (event = xml_next(&xml)) != XML_DONE) {
        is_good = event != XML_BAD && (event == XML_BEGIN || take_element(&xml, &parsed));
    }
    if (xml.text.data != NULL) {
        explicit_bzero(xml.text.data, xml.text.capacity); /* Secrets were in it. */
    }
    xml_close(&xml);
    if (!is_good || parsed.access_key == NULL || parsed.secret_key == NULL ||
        parsed.token == NULL || parsed.expires_s == 0) {
        aws_key_close(&parsed);
        return error_set(error, STATUS_INVALID, "the answer has no keys in it");
    }
    *key = parsed;
    return STATUS_OK;
}

/* --- The shared file --- */

struct reading {
    const char *profile;
    struct aws_key key;
    bool is_inside; /* Of the profile's section. */
    bool is_good;
};

static struct slice trim(struct slice text)
{
    while (text.size > 0 && strchr(" \t\r", text.data[0]) != NULL && text.data[0] != '\0') {
        text = slice_from(text, 1);
    }
    while (text.size > 0 && strchr(" \t\r", text.data[text.size - 1]) != NULL &&
           text.data[text.size - 1] != '\0') {
        text.size--;
    }
    return text;
}

/* [NAME]; config files of the same form have [profile NAME]. */
static void begin_section(struct reading *reading, struct slice line)
{
    const uint8_t *end = memchr(line.data, ']', line.size);
    struct slice name;

    if (end == NULL) {
        reading->is_inside = false;
        reading->is_good = false;
        return;
    }
    name = trim(slice_of(line.data + 1, (size_t)(end - line.data) - 1));
    if (slice_starts_with(name, slice_of_string("profile "))) {
        name = trim(slice_from(name, 8));
    }
    reading->is_inside = slice_equals_string(name, reading->profile);
}

static void take_setting(struct reading *reading, struct slice line)
{
    const uint8_t *equals = memchr(line.data, '=', line.size);
    struct slice name =
        trim(slice_of(line.data, equals == NULL ? 0 : (size_t)(equals - line.data)));
    struct slice value;
    char **place;

    if (slice_equals_string(name, "aws_access_key_id")) {
        place = &reading->key.access_key;
    } else if (slice_equals_string(name, "aws_secret_access_key")) {
        place = &reading->key.secret_key;
    } else if (slice_equals_string(name, "aws_session_token")) {
        place = &reading->key.token;
    } else {
        return; /* There are many others, which are not ours. */
    }
    value = trim(slice_of(equals + 1, (size_t)(line.data + line.size - equals) - 1));
    if (*place != NULL || !is_value(value)) {
        reading->is_good = false;
        return;
    }
    *place = copy_value(value);
}

static void take_line(struct reading *reading, struct slice line)
{
    line = trim(line);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';') {
        return;
    }
    if (line.data[0] == '[') {
        begin_section(reading, line);
    } else if (reading->is_inside) {
        take_setting(reading, line);
    }
}

enum status aws_key_from_file(struct slice text, const char *profile, struct aws_key *key,
                              struct error *error)
{
    struct reading reading = {
        .profile = profile, .key = {.expires_s = AWS_KEY_FOREVER}, .is_good = true};
    enum status status = STATUS_OK;

    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);

        take_line(&reading, slice_of(text.data, size));
        text = slice_from(text, size + (end == NULL ? 0 : 1));
    }
    if (!reading.is_good) {
        status =
            error_set(error, STATUS_INVALID, "its profile \"%s\" is not as it should be", profile);
    } else if (reading.key.access_key == NULL || reading.key.secret_key == NULL) {
        status = error_set(error, STATUS_NOT_FOUND, "it has no keys for profile \"%s\"", profile);
    }
    if (status != STATUS_OK) {
        aws_key_close(&reading.key);
        return status;
    }
    *key = reading.key;
    return STATUS_OK;
}
