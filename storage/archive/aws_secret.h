/* Reading what must not be told, for aws_credentials.c and aws_endpoints.c. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_AWS_SECRET_H
#define HOLDFAST_STORAGE_ARCHIVE_AWS_SECRET_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* A variable of the environment; NULL if it is not set, or to nothing. */
const char *aws_environment(const char *name);

/* Whether @text can stand in a header field. */
bool aws_is_plain(const char *text);

/* Append all of a file of at most @most bytes to @text, which is empty. The statuses are those of
 * opening and reading it; STATUS_INVALID: it is larger. */
MUST_USE enum status aws_read_file(const char *path, size_t most, struct buffer *text,
                                   struct error *error);

/* Overwrite and release. */
void aws_close_secret(struct buffer *text);

#endif
