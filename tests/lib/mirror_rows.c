#include "tests/lib/mirror_rows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const places[] = {"namespaces", "sessions", "events", "items"};

#define N_PLACES (sizeof places / sizeof places[0])

json_t *mirror_rows_new(void)
{
    json_t *rows = json_object();

    for (size_t i = 0; i < N_PLACES; i++) {
        assert_int_equal(json_object_set_new(rows, places[i], json_object()), 0);
    }
    return rows;
}

void mirror_rows_put(json_t *rows, const char *place, const char *key, json_t *row)
{
    assert_non_null(row);
    assert_int_equal(json_object_set_new(json_object_get(rows, place), key, row), 0);
}

void mirror_rows_remove_all(json_t *rows, const char *place, const char *prefix)
{
    json_t *all = json_object_get(rows, place);
    const char *key;
    json_t *row;
    void *next;

    json_object_foreach_safe(all, next, key, row)
    {
        if (strncmp(key, prefix, strlen(prefix)) == 0) {
            assert_int_equal(json_object_del(all, key), 0);
        }
    }
}

size_t mirror_rows_count(const json_t *rows, const char *place)
{
    return json_object_size(json_object_get(rows, place));
}

/* --- Comparing --- */

static bool equal(const json_t *a, const json_t *b);

static bool equal_objects(const json_t *a, const json_t *b)
{
    bool are_equal = json_object_size(a) == json_object_size(b);
    const char *name;
    size_t name_size;
    json_t *value;

    json_object_keylen_foreach((json_t *)a, name, name_size, value)
    {
        are_equal = are_equal && equal(value, json_object_getn(b, name, name_size));
    }
    return are_equal;
}

static bool equal_arrays(const json_t *a, const json_t *b)
{
    bool are_equal = json_array_size(a) == json_array_size(b);

    for (size_t i = 0; are_equal && i < json_array_size(a); i++) {
        are_equal = equal(json_array_get(a, i), json_array_get(b, i));
    }
    return are_equal;
}

static bool equal(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        return json_integer_value(a) == json_integer_value(b);
    }
    if (json_is_number(a) && json_is_number(b)) {
        return fabs(json_number_value(a) - json_number_value(b)) <=
               1e-15 * fabs(json_number_value(a));
    }
    if (json_is_object(a) && json_is_object(b)) {
        return equal_objects(a, b);
    }
    if (json_is_array(a) && json_is_array(b)) {
        return equal_arrays(a, b);
    }
    return a != NULL && b != NULL && json_equal(a, b) == 1;
}

static char *dump(const json_t *row)
{
    char *text = row == NULL ? strdup("nothing") : json_dumps(row, JSON_COMPACT | JSON_ENCODE_ANY);

    assert_non_null(text);
    return text;
}

static bool differ(const char *place, const char *key, const json_t *expected, const json_t *found,
                   char *why, size_t size)
{
    char *expected_text = dump(expected);
    char *found_text = dump(found);

    (void)snprintf(why, size, "%s \"%s\": expected %.600s, found %.600s", place, key, expected_text,
                   found_text);
    free(expected_text);
    free(found_text);
    return false;
}

static bool match_place(const char *place, const json_t *expected, const json_t *found, char *why,
                        size_t size)
{
    const char *key;
    json_t *row;

    json_object_foreach((json_t *)expected, key, row)
    {
        if (!equal(row, json_object_get(found, key))) {
            return differ(place, key, row, json_object_get(found, key), why, size);
        }
    }
    json_object_foreach((json_t *)found, key, row)
    {
        if (json_object_get(expected, key) == NULL) {
            return differ(place, key, NULL, row, why, size);
        }
    }
    return true;
}

bool mirror_rows_match(const json_t *expected, const json_t *found, char *why, size_t size)
{
    bool do_match = true;

    for (size_t i = 0; i < N_PLACES && do_match; i++) {
        do_match = match_place(places[i], json_object_get(expected, places[i]),
                               json_object_get(found, places[i]), why, size);
    }
    return do_match;
}
