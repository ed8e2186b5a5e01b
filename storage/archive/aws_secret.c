#include "storage/archive/aws_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/files.h"

const char *aws_environment(const char *name)
{
    const char *value = getenv(name);

    return value == NULL || value[0] == '\0' ? NULL : value;
}

bool aws_is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f) {
            return false;
        }
    }
    return true;
}

enum status aws_read_file(const char *path, size_t most, struct buffer *text, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    enum status status = STATUS_OK;

    if (fd < 0) {
        return files_error("open", path, error);
    }
    (void)buffer_reserve(text, most + 1); /* Once: growing would leave copies behind. */
    while (status == STATUS_OK && n != 0 && text->size <= most) {
        n = read(fd, text->data + text->size, most + 1 - text->size);
        if (n < 0 && errno != EINTR) {
            status = files_error("read", path, error);
        } else if (n > 0) {
            (void)buffer_extend(text, (size_t)n); /* The bytes are there already. */
        }
    }
    (void)close(fd); /* Only read. */
    if (status == STATUS_OK && text->size > most) {
        status = error_set(error, STATUS_INVALID, "\"%s\" is too large", path);
    }
    return status;
}

void aws_close_secret(struct buffer *text)
{
    if (text->data != NULL) {
        explicit_bzero(text->data, text->size);
    }
    buffer_close(text);
}
