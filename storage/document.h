/* JSON documents: the one place that parses, writes and merges them.
 *
 * Text is UTF-8 JSON, one value of any kind. Numbers that fit in 64 bits signed stay integers;
 * reals are written with the fewest digits that read back as the same number. Names keep their
 * order. U+0000 may stand in strings; in names jansson's parser refuses it. Any thread. */
#ifndef HOLDFAST_STORAGE_DOCUMENT_H
#define HOLDFAST_STORAGE_DOCUMENT_H

#include <jansson.h>

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* Parse one value. The caller ends with json_decref(). STATUS_INVALID with where and why: not JSON,
 * duplicate names, deeper than LIMIT_JSON_DEPTH, numbers out of range. */
MUST_USE enum status document_parse(struct slice text, json_t **value, struct error *error);

/* Append @value as compact text. */
void document_write(const json_t *value, struct buffer *text);

/* Append @string as a JSON string with quotes. It must be UTF-8. */
void document_write_string(struct slice string, struct buffer *text);

/* Change @target by @patch (RFC 7396, section 2). Gives a new reference to the result; does not
 * take or change its arguments. */
json_t *document_merge(const json_t *target, const json_t *patch);

/* The metadata rules: an object of at most LIMIT_METADATA_PAIRS strings. STATUS_INVALID with the
 * JSON pointer inside it, "" for the object itself, in @pointer (which may be NULL). */
MUST_USE enum status document_check_metadata(const json_t *metadata, struct buffer *pointer,
                                             struct error *error);

/* Is @bytes UTF-8 (RFC 3629: no surrogates, nothing overlong)? */
bool document_is_utf8(struct slice bytes);

#endif
