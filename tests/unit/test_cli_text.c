/* Text that a server sent must not move the cursor or hide other text; tables stay aligned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <locale.h>

#include "tools/cli_progress.h"
#include "tools/cli_text.h"

static void assert_escaped(struct slice text, enum text_kind kind, const char *expected)
{
    struct buffer out = BUFFER_EMPTY;

    text_append_escaped(&out, text, kind);
    buffer_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buffer_close(&out);
}

static void control_characters_are_made_visible(void **state)
{
    (void)state;
    assert_escaped(slice_of_string("a\x1b[31mb\a\b\x7f"), TEXT_LINE,
                   "a\\u001b[31mb\\u0007\\u0008\\u007f");
    assert_escaped(slice_of("\0", 1), TEXT_LINE, "\\u0000");
    assert_escaped(slice_of_string("\xc2\x9b"
                                   "31m"),
                   TEXT_LINE, "\\u009b31m"); /* C1 */
    assert_escaped(slice_of_string("x\xe2\x80\xae"
                                   "y"),
                   TEXT_LINE, "x\\u202ey");
    assert_escaped(slice_of_string("\r\n\t"), TEXT_LINE, "\\u000d\\n\\t");
    assert_escaped(slice_of_string("\r\n\t"), TEXT_BLOCK, "\\u000d\n\t");
}

static void good_text_stays_as_it_is(void **state)
{
    (void)state;
    assert_escaped(slice_of_string("gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x98\x80"), TEXT_LINE,
                   "gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x98\x80");
}

static void bytes_that_are_not_utf8_are_shown_as_such(void **state)
{
    (void)state;
    assert_escaped(slice_of_string("\xff\xc3"), TEXT_LINE, "\\xff\\xc3");
    assert_escaped(slice_of_string("\xc0\x80"), TEXT_LINE, "\\xc0\\x80");          /* overlong */
    assert_escaped(slice_of_string("\xed\xa0\x80"), TEXT_LINE, "\\xed\\xa0\\x80"); /* surrogate */
    assert_escaped(slice_of_string("\xf4\x90\x80\x80"), TEXT_LINE, "\\xf4\\x90\\x80\\x80");
    assert_escaped(slice_of_string("\xe2\x82"), TEXT_LINE, "\\xe2\\x82"); /* cut off */
}

static void escaped_json_means_the_same(void **state)
{
    struct buffer out = BUFFER_EMPTY;
    json_t *before = json_object();
    json_t *after;
    char *text;

    (void)state;
    for (int c = 0; c < 0x2100; c++) {
        char name[8];
        char value[4] = {(char)c, '\0'};

        if (c >= 0x80) {
            value[0] = (char)(c < 0x800 ? 0xc0 | c >> 6 : 0xe0 | c >> 12);
            value[1] = (char)(c < 0x800 ? 0x80 | (c & 0x3f) : 0x80 | (c >> 6 & 0x3f));
            value[2] = (char)(c < 0x800 ? '\0' : 0x80 | (c & 0x3f));
        }
        (void)snprintf(name, sizeof name, "%x", c);
        assert_int_equal(json_object_set_new(before, name, json_string(value)), 0);
    }
    text = json_dumps(before, JSON_INDENT(1));
    text_append_escaped(&out, slice_of_string(text), TEXT_JSON);
    after = json_loadb((const char *)out.data, out.size, 0, NULL);

    assert_true(json_equal(before, after));
    for (size_t i = 0; i < out.size; i++) {
        assert_true(out.data[i] == '\n' || (out.data[i] >= 0x20 && out.data[i] != 0x7f));
    }
    free(text);
    json_decref(before);
    json_decref(after);
    buffer_close(&out);
}

static void columns_are_aligned_and_cells_cannot_break_rows(void **state)
{
    static const char *const names[] = {"A", "LONGER", "C", NULL};
    struct buffer out = BUFFER_EMPTY;
    struct table table;

    (void)state;
    table_init(&table, names);
    table_add_string(&table, "one\ntwo");
    table_add_format(&table, "%d", 7);
    table_add_string(&table, "");
    table_add_string(&table, "\xc3\xa4");
    table_add_string(&table, "x");
    table_add_string(&table, "end");
    table_print(&table, 0, &out);
    buffer_append_byte(&out, '\0');

    assert_string_equal((const char *)out.data, "A         LONGER  C\n"
                                                "one\\ntwo  7\n"
                                                "\xc3\xa4         x       end\n");
    table_close(&table);
    buffer_close(&out);
}

static void the_last_column_is_cut_to_the_terminal(void **state)
{
    static const char *const names[] = {"A", "DATA", NULL};
    struct buffer out = BUFFER_EMPTY;
    struct table table;

    (void)state;
    table_init(&table, names);
    table_add_string(&table, "1");
    table_add_string(&table, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                             "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
    table_print(&table, 14, &out);
    buffer_append_byte(&out, '\0');

    assert_string_equal((const char *)out.data,
                        "A  DATA\n"
                        "1  \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                        "\xc3\xa4\xc3\xa4\xe2\x80\xa6\n");
    table_close(&table);
    buffer_close(&out);
}

static void assert_time(uint64_t ms, const char *expected)
{
    char text[TEXT_TIME_BYTES];

    text_time(ms, text);
    assert_string_equal(text, expected);
}

static void times_are_in_utc_with_milliseconds(void **state)
{
    (void)state;
    assert_time(0, "-");
    assert_time(1, "1970-01-01T00:00:00.001Z");
    assert_time(1700000000123, "2023-11-14T22:13:20.123Z");
}

static void assert_progress(uint64_t done, uint64_t of, uint64_t since, uint64_t ms,
                            const char *expected)
{
    struct buffer line = BUFFER_EMPTY;

    progress_line(&line, "receiving", done, of, since, ms);
    buffer_append_byte(&line, 0);
    assert_string_equal((const char *)line.data, expected);
    buffer_close(&line);
}

static void progress_tells_how_fast_and_how_long(void **state)
{
    (void)state;
    assert_progress(0, 0, 0, 0, "receiving  0 B");
    assert_progress(1536, 0, 1536, 500, "receiving  1.5 KiB"); /* Too early for a rate. */
    assert_progress(10u << 20, 100u << 20, 10u << 20, 2000,
                    "receiving  10.0 MiB of 100.0 MiB, 5.0 MiB/s, 18 s left");
    assert_progress(10u << 20, 3ull << 30, 1u << 20, 1000,
                    "receiving  10.0 MiB of 3.0 GiB, 1.0 MiB/s, 51 min 2 s left");
    assert_progress(0, 1ull << 40, 100u << 20, 1000,
                    "receiving  0 B of 1.0 TiB, 100.0 MiB/s, 2 h 54 min left");
    assert_progress(100, 100, 100, 1000, "receiving  100 B of 100 B, 100 B/s");
}

static void wide_characters_count_twice(void **state)
{
    (void)state;
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        skip();
    }
    assert_int_equal(text_width(slice_of_string("\xe4\xb8\xad"
                                                "a")),
                     3);
    assert_int_equal(text_cut(slice_of_string("a\xe4\xb8\xad"), 2).size, 1);
    assert_int_equal(text_cut(slice_of_string("a\xe4\xb8\xad"), 3).size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_made_visible),
        cmocka_unit_test(good_text_stays_as_it_is),
        cmocka_unit_test(bytes_that_are_not_utf8_are_shown_as_such),
        cmocka_unit_test(escaped_json_means_the_same),
        cmocka_unit_test(columns_are_aligned_and_cells_cannot_break_rows),
        cmocka_unit_test(the_last_column_is_cut_to_the_terminal),
        cmocka_unit_test(times_are_in_utc_with_milliseconds),
        cmocka_unit_test(progress_tells_how_fast_and_how_long),
        cmocka_unit_test(wide_characters_count_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
