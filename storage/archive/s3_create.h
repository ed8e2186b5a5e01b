/* Creating an object in S3, once and whole. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_S3_CREATE_H
#define HOLDFAST_STORAGE_ARCHIVE_S3_CREATE_H

#include "storage/archive/repository.h"
#include "storage/archive/s3_call.h"

/* The field that holds an object's SHA-256, as text. */
#define S3_META_SHA256 "x-amz-meta-sha256"

/* As repository_create(). */
MUST_USE enum status s3_create(struct s3_service *service, const char *name,
                               const struct repository_content *content, struct error *error);

#endif
