/* Whatever stands in the configuration file, it is taken or refused with the place that is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];

static void remove_file(void)
{
    CHECK(unlink(path) == 0);
}

static void prepare(void)
{
    const char *parent = getenv("TMPDIR");
    int fd;

    (void)snprintf(path, sizeof path, "%.30s/holdfast-options-XXXXXX",
                   parent == NULL || strlen(parent) > 30 ? "/tmp" : parent);
    fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK(close(fd) == 0);
    CHECK(atexit(remove_file) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "holdfastd";
    char flag[] = "--config";
    char *arguments[] = {program, flag, path, NULL};
    struct options options;
    enum options_action action;
    struct error error = {.text = ""};
    FILE *file;

    if (path[0] == '\0') {
        prepare();
    }
    file = fopen(path, "we");
    CHECK(file != NULL);
    CHECK(fwrite(data, 1, size, file) == size);
    CHECK(fclose(file) == 0);
    if (options_parse(3, arguments, &options, &action, &error) == STATUS_OK) {
        CHECK(options.name != NULL && options.heartbeat_ms >= 5);
    } else {
        CHECK(error.text[0] != '\0');
    }
    options_close(&options);
    return 0;
}
