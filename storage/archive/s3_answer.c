#include "storage/archive/s3_answer.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "storage/archive/s3_settings.h"
#include "storage/archive/xml.h"

/* --- Errors --- */

void s3_copy_printable(struct slice from, char *to, size_t capacity)
{
    size_t size = from.size < capacity - 1 ? from.size : capacity - 1;

    for (size_t i = 0; i < size; i++) {
        to[i] = (char)(from.data[i] < 0x20 || from.data[i] >= 0x7f ? '?' : from.data[i]);
    }
    to[size] = '\0';
}

static void take_fact(const struct xml *xml, struct s3_problem *problem)
{
    struct slice text = buffer_slice(&xml->text);

    if (xml_is_at(xml, "Error/Code")) {
        s3_copy_printable(text, problem->code, sizeof problem->code);
    } else if (xml_is_at(xml, "Error/Message")) {
        s3_copy_printable(text, problem->message, sizeof problem->message);
    } else if (xml_is_at(xml, "Error/Region")) {
        s3_copy_printable(text, problem->region, sizeof problem->region);
    } else if (xml_is_at(xml, "Error/Endpoint")) {
        s3_copy_printable(text, problem->endpoint, sizeof problem->endpoint);
    }
}

bool s3_problem_parse(struct slice body, struct s3_problem *problem)
{
    struct s3_problem found = {.code = ""};
    enum xml_event event;
    struct xml xml;

    xml_open(&xml, body);
    while ((event = xml_next(&xml)) != XML_DONE && event != XML_BAD) {
        if (event == XML_END) {
            take_fact(&xml, &found);
        }
    }
    xml_close(&xml);
    /* The code is worth something even if the rest was cut off. */
    if (found.code[0] == '\0') {
        return false;
    }
    *problem = found;
    return true;
}

/* --- Listings --- */

#define ROOT "ListBucketResult"

/* Three answers: not there, there, there twice or not valid. */
enum presence { ABSENT, PRESENT, WRONG };

struct listing {
    struct s3_page *page;
    bool is_encoded; /* Names and tokens are as in a URL. */
    enum presence truncated;
    bool is_truncated;
    enum presence count; /* KeyCount. */
    uint64_t n_announced;
    size_t n_prefixes; /* Which KeyCount counts, too. */
    struct buffer token;
    /* Of the object that is being read. */
    struct buffer name;
    enum presence has_name;
    enum presence size;
    uint64_t size_bytes;
};

static bool parse_number(struct slice text, uint64_t *number)
{
    uint64_t value = 0;

    if (text.size == 0 || text.size > 18) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *number = value;
    return true;
}

static void take_number(struct slice text, enum presence *presence, uint64_t *number)
{
    *presence = *presence == ABSENT && parse_number(text, number) ? PRESENT : WRONG;
}

static void begin_object(struct listing *listing)
{
    buffer_clear(&listing->name);
    listing->has_name = ABSENT;
    listing->size = ABSENT;
}

static bool end_object(struct listing *listing)
{
    struct s3_page *page = listing->page;
    struct s3_object object = {.name_offset = page->names.size, .size_bytes = listing->size_bytes};

    if (listing->has_name != PRESENT || listing->size != PRESENT || listing->name.size == 0) {
        return false;
    }
    /* As it stands: only later is it certain whether it is encoded. */
    buffer_append_slice(&page->names, buffer_slice(&listing->name));
    buffer_append_byte(&page->names, 0);
    buffer_append(&page->objects, &object, sizeof object);
    page->n_objects++;
    return true;
}

static void take_name(struct listing *listing, struct slice text)
{
    listing->has_name = listing->has_name == ABSENT ? PRESENT : WRONG;
    buffer_clear(&listing->name);
    buffer_append_slice(&listing->name, text);
}

/* The end of an element of the page or of an object. False: not as expected. */
static bool take_element(struct listing *listing, const struct xml *xml)
{
    struct slice text = buffer_slice(&xml->text);

    if (xml_is_at(xml, ROOT "/Contents/Key")) {
        take_name(listing, text);
    } else if (xml_is_at(xml, ROOT "/Contents/Size")) {
        take_number(text, &listing->size, &listing->size_bytes);
    } else if (xml_is_at(xml, ROOT "/Contents")) {
        return end_object(listing);
    } else if (xml_is_at(xml, ROOT "/CommonPrefixes")) {
        listing->n_prefixes++;
    } else if (xml_is_at(xml, ROOT "/KeyCount")) {
        take_number(text, &listing->count, &listing->n_announced);
    } else if (xml_is_at(xml, ROOT "/EncodingType")) {
        listing->is_encoded = true;
        return slice_equals_string(text, "url");
    } else if (xml_is_at(xml, ROOT "/NextContinuationToken")) {
        buffer_clear(&listing->token);
        buffer_append_slice(&listing->token, text);
    } else if (xml_is_at(xml, ROOT "/IsTruncated")) {
        listing->is_truncated = slice_equals_string(text, "true");
        listing->truncated = listing->truncated == ABSENT &&
                                     (listing->is_truncated || slice_equals_string(text, "false"))
                                 ? PRESENT
                                 : WRONG;
    }
    return true;
}

static bool read_page(struct listing *listing, struct slice body)
{
    enum xml_event event;
    bool is_good = true;
    struct xml xml;

    xml_open(&xml, body);
    while (is_good && (event = xml_next(&xml)) != XML_DONE) {
        if (event == XML_BEGIN) {
            is_good = xml.depth > 1 || xml_is_at(&xml, ROOT);
            if (xml_is_at(&xml, ROOT "/Contents")) {
                begin_object(listing);
            }
        } else {
            is_good = event == XML_END && take_element(listing, &xml);
        }
    }
    xml_close(&xml);
    return is_good;
}

/* As in a query, where "+" is a space. */
static bool decode_names(struct s3_page *page)
{
    struct s3_object *objects = (struct s3_object *)(void *)page->objects.data;
    struct buffer decoded = BUFFER_EMPTY;
    bool is_good = true;

    for (size_t i = 0; i < page->names.size; i++) {
        if (page->names.data[i] == '+') {
            page->names.data[i] = ' ';
        }
    }
    for (size_t i = 0; is_good && i < page->n_objects; i++) {
        const char *name = (const char *)page->names.data + objects[i].name_offset;

        objects[i].name_offset = decoded.size;
        is_good = s3_decode(slice_of_string(name), &decoded);
        buffer_append_byte(&decoded, 0);
    }
    buffer_close(&page->names);
    page->names = decoded;
    return is_good;
}

/* What all of it must say, once it was read. */
static const char *find_fault(struct listing *listing)
{
    struct s3_page *page = listing->page;

    if (listing->truncated != PRESENT) {
        return "it does not say whether it is the last page";
    }
    if (listing->is_truncated && listing->token.size == 0) {
        return "it does not say where the next page begins";
    }
    if (listing->count == WRONG ||
        (listing->count == PRESENT &&
         listing->n_announced != page->n_objects + listing->n_prefixes)) {
        return "it has not as many names as it says";
    }
    return listing->is_encoded && !decode_names(page) ? "a name is badly encoded" : NULL;
}

enum status s3_page_parse(struct slice body, struct s3_page *page, struct error *error)
{
    struct s3_page parsed = {0};
    struct listing listing = {.page = &parsed};
    const char *fault = "it is not the XML that was expected";

    if (read_page(&listing, body)) {
        fault = find_fault(&listing);
    }
    buffer_close(&listing.name);
    if (fault != NULL) {
        buffer_close(&listing.token);
        s3_page_close(&parsed);
        return error_set(error, STATUS_CORRUPT, "the server sent a page of a list, but %s", fault);
    }
    parsed.is_last = !listing.is_truncated;
    buffer_append_byte(&listing.token, 0);
    parsed.next = (char *)listing.token.data; /* From malloc, as buffers are. */
    *page = parsed;
    return STATUS_OK;
}

struct s3_object s3_page_object(const struct s3_page *page, size_t nth)
{
    struct s3_object object;

    CHECK(nth < page->n_objects);
    memcpy(&object, page->objects.data + nth * sizeof object, sizeof object);
    return object;
}

const char *s3_page_name(const struct s3_page *page, size_t nth)
{
    return (const char *)page->names.data + s3_page_object(page, nth).name_offset;
}

void s3_page_close(struct s3_page *page)
{
    buffer_close(&page->names);
    buffer_close(&page->objects);
    free(page->next);
    page->next = NULL;
}
