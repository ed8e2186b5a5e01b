/* Whatever stands in the configuration file, it is taken or refused with the place that is wrong.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file is memory: a disk would make each try slow. */
static int file = -1;
static char path[64];

static void prepare(void)
{
    file = memfd_create("options", MFD_CLOEXEC);
    CHECK(file >= 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "holdfastd";
    char flag[] = "--config";
    char *arguments[] = {program, flag, path, NULL};
    struct options options;
    enum options_action action;
    struct error error = {.text = ""};

    if (file < 0) {
        prepare();
    }
    CHECK(ftruncate(file, 0) == 0);
    CHECK(pwrite(file, data, size, 0) == (ssize_t)size);
    if (options_parse(3, arguments, &options, &action, &error) == STATUS_OK) {
        CHECK(options.name != NULL && options.heartbeat_ms >= 5);
    } else {
        CHECK(error.text[0] != '\0');
    }
    options_close(&options);
    return 0;
}
