/* Text for people: nothing that a server sent can move the cursor, ring the bell or hide other
 * text.
 *
 * What is unsafe: control characters of all kinds, characters that turn the direction of text, and
 * bytes that are not UTF-8. Pure, any thread. */
#ifndef HOLDFAST_TOOLS_CLI_TEXT_H
#define HOLDFAST_TOOLS_CLI_TEXT_H

#include "daemon/base/buffer.h"

enum text_kind {
    TEXT_LINE,  /* Line breaks and tabs are unsafe as well. */
    TEXT_BLOCK, /* They are kept. */
    TEXT_JSON   /* As a block, but valid JSON stays valid and means the same. */
};

/* Append @text with all that is unsafe written as \uXXXX, or \xXX for a byte that is not UTF-8. */
void text_append_escaped(struct buffer *out, struct slice text, enum text_kind kind);

/* How many columns @text takes on a terminal, if it was escaped as a line. */
size_t text_width(struct slice text);

/* The longest start of @text that takes at most @columns; never cuts a character in two. */
struct slice text_cut(struct slice text, size_t columns);

/* A time in milliseconds since 1970, as RFC 3339 in UTC; "-" for 0. */
#define TEXT_TIME_BYTES 48
void text_time(uint64_t ms, char text[TEXT_TIME_BYTES]);

/* Rows and columns. Cells are copied, and escaped. */
#define TABLE_MAX_COLUMNS 12

struct table {
    /* Private. */
    size_t n_columns;
    size_t n_cells;
    size_t capacity;
    char **cells; /* The first n_columns are the heading. */
};

/* The heading: NULL-terminated names. */
void table_init(struct table *table, const char *const *names);

/* The next cell, from left to right and top to bottom. */
void table_add(struct table *table, struct slice text);
void table_add_string(struct table *table, const char *text);
void table_add_format(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Append all rows. If @width is not 0, the last column is cut so that a row fits into it. */
void table_print(const struct table *table, size_t width, struct buffer *out);

void table_close(struct table *table);

#endif
