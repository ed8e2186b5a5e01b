/* What a URL s3://... says (s3.h), checked. Pure, but for the environment's region. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_S3_SETTINGS_H
#define HOLDFAST_STORAGE_ARCHIVE_S3_SETTINGS_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

enum s3_lock { S3_LOCK_NONE, S3_LOCK_GOVERNANCE, S3_LOCK_COMPLIANCE };

struct s3_settings {
    char *bucket;
    char *prefix; /* "" or ends with "/". */
    char *region;
    char *scheme; /* "http" or "https". */
    char *host;   /* Of requests: HOST[:PORT], with the bucket if it is part of it. */
    bool is_path_style;
    enum s3_lock lock;
    unsigned retain_days;
};

/* STATUS_INVALID: no such URL; the error repeats nothing that could be a password. The caller
 * closes
 * @settings if it is STATUS_OK. */
MUST_USE enum status s3_settings_parse(const char *url, struct s3_settings *settings,
                                       struct error *error);

void s3_settings_close(struct s3_settings *settings);

/* Append @text without its %-encoding. False: that is wrong, or a NUL is in it. */
MUST_USE bool s3_decode(struct slice text, struct buffer *decoded);

#endif
