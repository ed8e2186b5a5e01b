#include "storage/document.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/check.h"
#include "daemon/base/limits.h"

/* Is @text deeper than LIMIT_JSON_DEPTH? Looked at before parsing, so that no depth that a client
 * chose becomes depth of our stack. Text that is not JSON gives either answer. */
static bool is_too_deep(struct slice text)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH) {
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum status document_parse(struct slice text, json_t **value, struct error *error)
{
    json_error_t problem;
    json_t *parsed;

    if (is_too_deep(text)) {
        return error_set(error, STATUS_INVALID, "the JSON is deeper than %u levels",
                         LIMIT_JSON_DEPTH);
    }
    parsed = json_loadb(text.size == 0 ? "" : (const char *)text.data, text.size,
                        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &problem);
    if (parsed == NULL) {
        return error_set(error, STATUS_INVALID, "not JSON at line %d, column %d: %s", problem.line,
                         problem.column, problem.text);
    }
    *value = parsed;
    return STATUS_OK;
}

/* Take what C writes and JSON does not need out of an exponent: "1e+05" becomes "1e5". */
static void shorten_exponent(char *number)
{
    char *exponent = strchr(number, 'e');
    char *digits;

    if (exponent == NULL) {
        return;
    }
    exponent++;
    digits = exponent;
    if (*exponent == '-') {
        exponent++;
        digits++;
    } else if (*digits == '+') {
        digits++;
    }
    while (*digits == '0' && digits[1] != '\0') {
        digits++;
    }
    memmove(exponent, digits, strlen(digits) + 1);
}

static void write_real(double real, struct buffer *text)
{
    char number[40];

    /* 17 digits always read back as the same number; most numbers need no more than 15, and the
     * smallest of all, which have fewer bits, may need just one. */
    for (int digits = fabs(real) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        (void)snprintf(number, sizeof number, "%.*g", digits, real); /* It fits. */
        if (strtod(number, NULL) == real) {
            break;
        }
    }
    shorten_exponent(number);
    buffer_append_string(text, number);
    if (strpbrk(number, ".e") == NULL) {
        buffer_append_string(text, ".0"); /* It was not an integer, and stays none. */
    }
}

static void write_escaped(uint8_t c, struct buffer *text)
{
    static const char letters[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                   ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};

    if (letters[c] != 0) {
        buffer_append_byte(text, '\\');
        buffer_append_byte(text, (uint8_t)letters[c]);
    } else {
        buffer_append_format(text, "\\u%04x", c);
    }
}

void document_write_string(struct slice string, struct buffer *text)
{
    size_t start = 0;

    buffer_append_byte(text, '"');
    for (size_t i = 0; i < string.size; i++) {
        uint8_t c = string.data[i];

        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buffer_append(text, string.data + start, i - start);
        write_escaped(c, text);
        start = i + 1;
    }
    if (start < string.size) {
        buffer_append(text, string.data + start, string.size - start);
    }
    buffer_append_byte(text, '"');
}

static void write_array(const json_t *array, struct buffer *text)
{
    buffer_append_byte(text, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) {
            buffer_append_byte(text, ',');
        }
        document_write(json_array_get(array, i), text);
    }
    buffer_append_byte(text, ']');
}

static struct slice iter_name(void *iter)
{
    return slice_of(json_object_iter_key(iter), json_object_iter_key_len(iter));
}

static void write_object(const json_t *object, struct buffer *text)
{
    json_t *walked = (json_t *)object; /* Walking does not change it, whatever jansson's type. */
    bool first = true;

    buffer_append_byte(text, '{');
    for (void *iter = json_object_iter(walked); iter != NULL;
         iter = json_object_iter_next(walked, iter)) {
        if (!first) {
            buffer_append_byte(text, ',');
        }
        first = false;
        document_write_string(iter_name(iter), text);
        buffer_append_byte(text, ':');
        document_write(json_object_iter_value(iter), text);
    }
    buffer_append_byte(text, '}');
}

void document_write(const json_t *value, struct buffer *text)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(value, text);
        break;
    case JSON_ARRAY:
        write_array(value, text);
        break;
    case JSON_STRING:
        document_write_string(slice_of(json_string_value(value), json_string_length(value)), text);
        break;
    case JSON_INTEGER:
        buffer_append_format(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(json_real_value(value), text);
        break;
    case JSON_TRUE:
        buffer_append_string(text, "true");
        break;
    case JSON_FALSE:
        buffer_append_string(text, "false");
        break;
    case JSON_NULL:
        buffer_append_string(text, "null");
        break;
    }
}

json_t *document_merge(const json_t *target, const json_t *patch)
{
    json_t *walked = (json_t *)patch; /* Only its count of references changes. */
    json_t *merged;

    if (!json_is_object(patch)) {
        return json_incref(walked);
    }
    merged = json_is_object(target) ? json_copy((json_t *)target) : json_object();
    CHECK(merged != NULL);
    for (void *iter = json_object_iter(walked); iter != NULL;
         iter = json_object_iter_next(walked, iter)) {
        const char *name = json_object_iter_key(iter);
        size_t size = json_object_iter_key_len(iter);
        json_t *value = json_object_iter_value(iter);

        if (json_is_null(value)) {
            (void)json_object_deln(merged, name, size); /* It may not be there. */
        } else {
            const json_t *old = json_object_getn(merged, name, size);
            int rv = json_object_setn_new_nocheck(merged, name, size, document_merge(old, value));

            CHECK(rv == 0); /* Fails without memory, and for a loop, which a merge cannot make. */
        }
    }
    return merged;
}

/* Append "/" and @name, escaped as in a JSON pointer (RFC 6901). */
static void append_pointer(struct buffer *pointer, struct slice name)
{
    if (pointer == NULL) {
        return;
    }
    buffer_append_byte(pointer, '/');
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '~') {
            buffer_append_string(pointer, "~0");
        } else if (name.data[i] == '/') {
            buffer_append_string(pointer, "~1");
        } else {
            buffer_append_byte(pointer, name.data[i]);
        }
    }
}

enum status document_check_metadata(const json_t *metadata, struct buffer *pointer,
                                    struct error *error)
{
    json_t *walked = (json_t *)metadata;

    if (!json_is_object(metadata)) {
        return error_set(error, STATUS_INVALID, "metadata must be an object");
    }
    if (json_object_size(metadata) > LIMIT_METADATA_PAIRS) {
        return error_set(error, STATUS_INVALID, "metadata has more than %u pairs",
                         LIMIT_METADATA_PAIRS);
    }
    for (void *iter = json_object_iter(walked); iter != NULL;
         iter = json_object_iter_next(walked, iter)) {
        struct slice name = iter_name(iter);
        const json_t *value = json_object_iter_value(iter);

        if (name.size == 0 || name.size > LIMIT_METADATA_KEY_BYTES) {
            append_pointer(pointer, name);
            return error_set(error, STATUS_INVALID, "a name in metadata must have 1 to %u bytes",
                             LIMIT_METADATA_KEY_BYTES);
        }
        if (!json_is_string(value) || json_string_length(value) > LIMIT_METADATA_VALUE_BYTES) {
            append_pointer(pointer, name);
            return error_set(error, STATUS_INVALID,
                             "a value in metadata must be a string of up to %u bytes",
                             LIMIT_METADATA_VALUE_BYTES);
        }
    }
    return STATUS_OK;
}

/* The size of the character that @bytes begins with, 0 if it is not one. */
static size_t utf8_size(struct slice bytes)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = bytes.data[0];
    uint32_t character;
    size_t size;

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes.size < size) {
        return 0;
    }
    character = first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((bytes.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        character = character << 6 | (bytes.data[i] & 0x3fu);
    }
    if (character < smallest[size] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff)) {
        return 0;
    }
    return size;
}

bool document_is_utf8(struct slice bytes)
{
    while (bytes.size > 0) {
        size_t size = utf8_size(bytes);

        if (size == 0) {
            return false;
        }
        bytes = slice_from(bytes, size);
    }
    return true;
}
