#include "api/ranges.h"

#include <strings.h>

#include "api/params.h"

#define UNIT "bytes="

static struct slice trim(struct slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice_from(text, 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* Digits, also with leading zeros; what is beyond 64 bits is the highest number. False: others. */
static bool read_number(struct slice text, uint64_t *number)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';

        if (digit > 9) {
            return false;
        }
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *number = value;
    return text.size > 0;
}

static struct range last_bytes(uint64_t n, uint64_t size)
{
    if (n == 0) {
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    }
    return (struct range){.kind = RANGE_PART, .first = n < size ? size - n : 0, .last = size - 1};
}

struct range range_parse(struct slice value, uint64_t size)
{
    const struct range whole = {.kind = RANGE_WHOLE};
    struct range range = {.kind = RANGE_PART, .last = UINT64_MAX};
    struct slice left;
    struct slice right;
    const uint8_t *dash;

    if (value.size <= strlen(UNIT) ||
        strncasecmp((const char *)value.data, UNIT, strlen(UNIT)) != 0) {
        return whole;
    }
    value = trim(slice_from(value, strlen(UNIT)));
    dash = value.size == 0 ? NULL : memchr(value.data, '-', value.size);
    if (dash == NULL) {
        return whole;
    }
    left = trim(slice_of(value.data, (size_t)(dash - value.data)));
    right = trim(slice_from(value, left.size == 0 ? 1 : (size_t)(dash - value.data) + 1));
    if (left.size == 0) {
        return read_number(right, &range.last) ? last_bytes(range.last, size) : whole;
    }
    if (!read_number(left, &range.first) || (right.size > 0 && !read_number(right, &range.last)) ||
        range.last < range.first) {
        return whole; /* Also several ranges: their comma is no digit. */
    }
    if (range.first >= size) {
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    }
    range.last = range.last < size ? range.last : size - 1;
    return range;
}

bool tag_next(struct slice *list, struct slice *tag, bool *is_weak)
{
    struct slice rest = *list;
    const uint8_t *end;

    while (rest.size > 0 && strchr(" \t,", rest.data[0]) != NULL && rest.data[0] != 0) {
        rest = slice_from(rest, 1);
    }
    *is_weak = slice_starts_with(rest, slice_of("W/", 2));
    rest = slice_from(rest, *is_weak ? 2 : 0);
    if (rest.size < 2 || rest.data[0] != '"') {
        return false;
    }
    end = memchr(rest.data + 1, '"', rest.size - 1);
    if (end == NULL) {
        return false;
    }
    *tag = slice_of(rest.data + 1, (size_t)(end - rest.data) - 1);
    *list = slice_from(rest, tag->size + 2);
    return true;
}

bool tag_is_listed(struct slice list, struct slice tag, bool weak_counts)
{
    struct slice found;
    bool is_weak;

    if (slice_equals_string(trim(list), "*")) {
        return true;
    }
    while (tag_next(&list, &found, &is_weak)) {
        if (slice_equals(found, tag) && (weak_counts || !is_weak)) {
            return true;
        }
    }
    return false;
}
