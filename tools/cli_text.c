#include "tools/cli_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <wchar.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"

#define COLUMN_GAP      2
#define MIN_LAST_COLUMN 10
#define ELLIPSIS        "\xe2\x80\xa6"

/* Decode the character at the start of @text. Gives how many bytes it takes; 0: not UTF-8. */
static size_t decode(struct slice text, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.data[0];
    size_t size = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t value;

    if (size == 0 || size > text.size || first > 0xf4) {
        return 0;
    }
    value = size == 1 ? first : first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text.data[i] & 0x3fu);
    }
    if (value < least[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
        return 0;
    }
    *character = value;
    return size;
}

static bool is_unsafe(uint32_t c, enum text_kind kind)
{
    if (kind != TEXT_LINE && (c == '\n' || c == '\t')) {
        return false;
    }
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) ||     /* C0, DEL, C1 */
           c == 0x61c || c == 0x200e || c == 0x200f || /* marks of direction */
           (c >= 0x2028 && c <= 0x202e) ||             /* separators, embeddings, overrides */
           (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void text_append_escaped(struct buffer *out, struct slice text, enum text_kind kind)
{
    while (text.size > 0) {
        uint32_t c = 0;
        size_t size = decode(text, &c);

        if (size == 0) {
            /* JSON knows no bytes: the replacement character stands for it. */
            buffer_append_format(out, kind == TEXT_JSON ? "\\ufffd" : "\\x%02x", text.data[0]);
            size = 1;
        } else if (kind == TEXT_JSON && c == '\r') {
            /* White space between tokens; inside a string it cannot stand. */
        } else if (is_unsafe(c, kind)) {
            buffer_append_format(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\u%04x", c);
        } else {
            buffer_append(out, text.data, size);
        }
        text = slice_from(text, size);
    }
}

/* The columns of one character; what the C library does not know counts as one. */
static size_t columns_of(uint32_t c)
{
    int width = wcwidth((wchar_t)c);

    return width < 0 ? 1 : (size_t)width;
}

struct slice text_cut(struct slice text, size_t columns)
{
    struct slice rest = text;

    while (rest.size > 0) {
        uint32_t c = 0;
        size_t size = decode(rest, &c);
        size_t wide = size == 0 ? 1 : columns_of(c);

        if (wide > columns) {
            break;
        }
        columns -= wide;
        rest = slice_from(rest, size == 0 ? 1 : size);
    }
    return slice_of(text.data, text.size - rest.size);
}

size_t text_width(struct slice text)
{
    size_t width = 0;

    while (text.size > 0) {
        uint32_t c = 0;
        size_t size = decode(text, &c);

        width += size == 0 ? 1 : columns_of(c);
        text = slice_from(text, size == 0 ? 1 : size);
    }
    return width;
}

void text_time(uint64_t ms, char text[TEXT_TIME_BYTES])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    size_t size = 0;

    if (ms > 0 && gmtime_r(&seconds, &parts) != NULL) {
        size = strftime(text, TEXT_TIME_BYTES - 8, "%Y-%m-%dT%H:%M:%S", &parts);
    }
    if (size == 0) {
        (void)snprintf(text, TEXT_TIME_BYTES, "-");
    } else {
        (void)snprintf(text + size, TEXT_TIME_BYTES - size, ".%03uZ", (unsigned)(ms % 1000));
    }
}

void table_init(struct table *table, const char *const *names)
{
    *table = (struct table){0};
    while (names[table->n_columns] != NULL) {
        CHECK(table->n_columns < TABLE_MAX_COLUMNS);
        table->n_columns++;
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        table_add_string(table, names[i]);
    }
}

void table_add(struct table *table, struct slice text)
{
    struct buffer cell = BUFFER_EMPTY;

    text_append_escaped(&cell, text, TEXT_LINE);
    buffer_append_byte(&cell, '\0');
    if (table->n_cells == table->capacity) {
        table->capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        table->cells = memory_resize(table->cells, table->capacity * sizeof *table->cells);
    }
    table->cells[table->n_cells++] = memory_copy_string((const char *)cell.data);
    buffer_close(&cell);
}

void table_add_string(struct table *table, const char *text)
{
    table_add(table, slice_of_string(text));
}

void table_add_format(struct table *table, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* A longer cell is cut. */
    va_end(args);
    table_add_string(table, text);
}

static void measure(const struct table *table, size_t *widths)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        widths[i] = 0;
    }
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t width = text_width(slice_of_string(table->cells[i]));
        size_t column = i % table->n_columns;

        widths[column] = width > widths[column] ? width : widths[column];
    }
}

/* How wide the last column may be; SIZE_MAX: as it likes. */
static size_t last_width(const struct table *table, const size_t *widths, size_t width)
{
    size_t before = 0;

    if (width == 0) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i + 1 < table->n_columns; i++) {
        before += widths[i] + COLUMN_GAP;
    }
    return before + MIN_LAST_COLUMN > width ? MIN_LAST_COLUMN : width - before;
}

static void print_last(const char *text, size_t width, struct buffer *out)
{
    struct slice whole = slice_of_string(text);

    if (text_width(whole) <= width) {
        buffer_append_slice(out, whole);
        return;
    }
    buffer_append_slice(out, text_cut(whole, width - 1));
    buffer_append_string(out, ELLIPSIS);
}

void table_print(const struct table *table, size_t width, struct buffer *out)
{
    size_t widths[TABLE_MAX_COLUMNS];
    size_t last;

    measure(table, widths);
    last = last_width(table, widths, width);
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t column = i % table->n_columns;
        size_t padding;

        if (column + 1 == table->n_columns) {
            print_last(table->cells[i], last, out);
            while (out->size > 0 && out->data[out->size - 1] == ' ') {
                out->size--; /* No row ends with blanks. */
            }
            buffer_append_byte(out, '\n');
            continue;
        }
        padding = widths[column] + COLUMN_GAP - text_width(slice_of_string(table->cells[i]));
        buffer_append_string(out, table->cells[i]);
        memset(buffer_extend(out, padding), ' ', padding);
    }
}

void table_close(struct table *table)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct table){0};
}
