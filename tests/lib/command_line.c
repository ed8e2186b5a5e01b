#include "tests/lib/command_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/process.h"

bool command_line_run(struct command_line *cli, const char *format, ...)
{
    const char *program = getenv("HOLDFAST_CLI");
    char arguments[768];
    char log[256];
    char out[256];
    va_list args;
    bool is_good;

    va_start(args, format);
    (void)vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    (void)snprintf(log, sizeof log, "%s/holdfast.log", cli->directory);
    (void)snprintf(out, sizeof out, "%s/holdfast.out", cli->directory);
    is_good =
        process_run(log, "%s %s >%s", program == NULL ? "./holdfast" : program, arguments, out);
    json_decref(cli->told);
    cli->told = json_load_file(out, 0, NULL);
    return is_good;
}

long long command_line_integer(const struct command_line *cli, const char *name)
{
    const json_t *value = json_object_get(cli->told, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

const char *command_line_text(const struct command_line *cli, const char *name)
{
    return json_string_value(json_object_get(cli->told, name));
}

bool command_line_has(const struct command_line *cli, const char *words)
{
    char path[256];
    char line[4096];
    bool found = false;
    FILE *out;

    (void)snprintf(path, sizeof path, "%s/holdfast.out", cli->directory);
    out = fopen(path, "r");
    assert_non_null(out);
    while (!found && fgets(line, sizeof line, out) != NULL) {
        found = strstr(line, words) != NULL;
    }
    (void)fclose(out); /* Only read. */
    return found;
}

void command_line_close(struct command_line *cli)
{
    json_decref(cli->told);
    cli->told = NULL;
}
