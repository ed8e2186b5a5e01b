#include "storage/archive/xml.h"

#include <string.h>

void xml_open(struct xml *xml, struct slice document)
{
    *xml = (struct xml){.rest = document};
}

void xml_close(struct xml *xml)
{
    buffer_close(&xml->text);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

static bool begins(const struct xml *xml, const char *text)
{
    return slice_starts_with(xml->rest, slice_of_string(text));
}

static void skip(struct xml *xml, size_t size)
{
    xml->rest = slice_from(xml->rest, size);
}

static void skip_space(struct xml *xml)
{
    while (xml->rest.size > 0 && is_space(xml->rest.data[0])) {
        skip(xml, 1);
    }
}

/* Move behind the next @end; false: there is none. */
static bool skip_past(struct xml *xml, const char *end)
{
    const uint8_t *found =
        xml->rest.size == 0 ? NULL : memmem(xml->rest.data, xml->rest.size, end, strlen(end));

    if (found == NULL) {
        return false;
    }
    skip(xml, (size_t)(found - xml->rest.data) + strlen(end));
    return true;
}

static struct slice take_name(struct xml *xml)
{
    struct slice name = slice_of(xml->rest.data, 0);

    while (name.size < xml->rest.size && is_name_byte(xml->rest.data[name.size])) {
        name.size++;
    }
    skip(xml, name.size);
    return name;
}

/* --- Text --- */

/* As UTF-8. Not 0, which no text of ours can hold, and no half of a surrogate. */
static bool append_code_point(struct buffer *text, unsigned long code)
{
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return false;
    }
    if (code < 0x80) {
        buffer_append_byte(text, (uint8_t)code);
        return true;
    }
    if (code < 0x800) {
        buffer_append_byte(text, (uint8_t)(0xc0 | code >> 6));
    } else {
        if (code < 0x10000) {
            buffer_append_byte(text, (uint8_t)(0xe0 | code >> 12));
        } else {
            buffer_append_byte(text, (uint8_t)(0xf0 | code >> 18));
            buffer_append_byte(text, (uint8_t)(0x80 | (code >> 12 & 0x3f)));
        }
        buffer_append_byte(text, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
    }
    buffer_append_byte(text, (uint8_t)(0x80 | (code & 0x3f)));
    return true;
}

/* &#NN; or &#xNN;, behind the "#". */
static bool take_number(struct xml *xml)
{
    bool is_hex = begins(xml, "x");
    unsigned long code = 0;
    unsigned n = 0;

    skip(xml, is_hex ? 1 : 0);
    while (xml->rest.size > 0 && xml->rest.data[0] != ';') {
        uint8_t c = xml->rest.data[0];
        uint8_t lower = c | 0x20;

        if (c >= '0' && c <= '9') {
            code = code * (is_hex ? 16 : 10) + (unsigned long)(c - '0');
        } else if (is_hex && lower >= 'a' && lower <= 'f') {
            code = code * 16 + (unsigned long)(lower - 'a' + 10);
        } else {
            return false;
        }
        skip(xml, 1);
        if (++n > 7) {
            return false;
        }
    }
    if (n == 0 || xml->rest.size == 0) {
        return false;
    }
    skip(xml, 1);
    return append_code_point(&xml->text, code);
}

static bool take_entity(struct xml *xml)
{
    static const struct {
        const char *name;
        uint8_t byte;
    } entities[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

    for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++) {
        if (begins(xml, entities[i].name)) {
            skip(xml, strlen(entities[i].name));
            buffer_append_byte(&xml->text, entities[i].byte);
            return true;
        }
    }
    if (!begins(xml, "&#")) {
        return false;
    }
    skip(xml, 2);
    return take_number(xml);
}

/* Up to the next "<". */
static bool take_text(struct xml *xml)
{
    while (xml->rest.size > 0 && xml->rest.data[0] != '<') {
        uint8_t c = xml->rest.data[0];

        if (c == '&') {
            if (!take_entity(xml)) {
                return false;
            }
        } else if (c == '\0') {
            return false;
        } else {
            buffer_append_byte(&xml->text, c);
            skip(xml, 1);
        }
    }
    return true;
}

/* --- Elements --- */

/* NAME="VALUE" ... up to ">" or "/>". */
static bool skip_attributes(struct xml *xml)
{
    for (;;) {
        bool has_space = xml->rest.size > 0 && is_space(xml->rest.data[0]);

        skip_space(xml);
        if (begins(xml, ">") || begins(xml, "/>")) {
            return true;
        }
        if (!has_space || take_name(xml).size == 0 || !begins(xml, "=")) {
            return false;
        }
        skip(xml, 1);
        if (begins(xml, "\"") || begins(xml, "'")) {
            const char *quote = begins(xml, "\"") ? "\"" : "'";

            skip(xml, 1);
            if (!skip_past(xml, quote)) {
                return false;
            }
        } else {
            return false;
        }
    }
}

/* Behind "<". */
static enum xml_event take_begin(struct xml *xml)
{
    struct slice name = take_name(xml);

    if (name.size == 0 || xml->depth == XML_MAX_DEPTH || (xml->depth == 0 && xml->has_root) ||
        !skip_attributes(xml)) {
        return XML_BAD;
    }
    xml->was_empty = begins(xml, "/>");
    skip(xml, xml->was_empty ? 2 : 1);
    xml->names[xml->depth++] = name;
    xml->has_root = true;
    buffer_clear(&xml->text);
    return XML_BEGIN;
}

/* Behind "</". */
static enum xml_event take_end(struct xml *xml)
{
    struct slice name = take_name(xml);

    skip_space(xml);
    if (!begins(xml, ">") || xml->depth == 0 || !slice_equals(name, xml->names[xml->depth - 1])) {
        return XML_BAD;
    }
    skip(xml, 1);
    xml->has_ended = true;
    return XML_END;
}

static enum xml_event bad(struct xml *xml)
{
    /* What is left can become neither good nor done. */
    xml->rest = slice_of("&", 1);
    xml->depth = 0;
    xml->has_ended = false;
    xml->was_empty = false;
    return XML_BAD;
}

static enum xml_event take_event(struct xml *xml)
{
    if (xml->depth == 0) {
        skip_space(xml);
        if (!xml->has_root && begins(xml, "<?xml ") && !skip_past(xml, "?>")) {
            return XML_BAD;
        }
        skip_space(xml);
        if (xml->rest.size == 0) {
            return xml->has_root ? XML_DONE : XML_BAD;
        }
    } else if (!take_text(xml)) {
        return XML_BAD;
    }
    if (begins(xml, "</")) {
        skip(xml, 2);
        return take_end(xml);
    }
    if (!begins(xml, "<")) {
        return XML_BAD;
    }
    skip(xml, 1);
    return take_begin(xml);
}

enum xml_event xml_next(struct xml *xml)
{
    enum xml_event event;

    if (xml->has_ended) {
        xml->has_ended = false;
        xml->depth--;
        buffer_clear(&xml->text);
    }
    if (xml->was_empty) {
        xml->was_empty = false;
        xml->has_ended = true;
        return XML_END;
    }
    event = take_event(xml);
    return event == XML_BAD ? bad(xml) : event;
}

bool xml_is_at(const struct xml *xml, const char *path)
{
    for (size_t i = 0; i < xml->depth; i++) {
        size_t size = strcspn(path, "/");

        if (!slice_equals(xml->names[i], slice_of(path, size))) {
            return false;
        }
        path += size;
        if (*path == '/') {
            path++;
        } else if (i + 1 < xml->depth) {
            return false;
        }
    }
    return *path == '\0';
}
