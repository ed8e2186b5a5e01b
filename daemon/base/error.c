#include "daemon/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"

static const char *const texts[] = {
#define STATUS_TEXT(name, text) [STATUS_##name] = (text),
    STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
};

const char *status_text(enum status status)
{
    CHECK((size_t)status < sizeof texts / sizeof texts[0]);
    return texts[status];
}

enum status status_from_errno(int number)
{
    switch (number) {
    case 0:
        return STATUS_OK;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return STATUS_DISK_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_PERMISSION;
    case EINVAL:
        return STATUS_INVALID;
    case EAGAIN:
    case EBUSY:
        return STATUS_BUSY;
    case ETIMEDOUT:
        return STATUS_TIMEOUT;
    case ECANCELED:
        return STATUS_CANCELED;
    default:
        return STATUS_IO;
    }
}

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    va_list args;

    if (error == NULL) {
        return status;
    }
    error->status = status;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args); /* Cut is fine. */
    va_end(args);
    return status;
}

enum status error_prefix(struct error *error, const char *format, ...)
{
    char old[ERROR_MAX_TEXT];
    size_t used;
    va_list args;

    if (error == NULL) {
        return STATUS_IO;
    }
    memcpy(old, error->text, sizeof old);
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args); /* Cut is fine. */
    va_end(args);
    used = strlen(error->text);
    (void)snprintf(error->text + used, sizeof error->text - used, ": %s", old);
    return error->status;
}
