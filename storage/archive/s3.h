/* S3 as a repository, or what speaks like it (Ceph RGW, MinIO, ...): an object is one object below
 * a prefix in a bucket, which must exist.
 *
 *   s3://BUCKET[/PREFIX][?SETTING=VALUE[&SETTING=VALUE]...]
 *
 *   endpoint=http://HOST[:PORT]    the server, http or https; default: AWS in the region
 *   region=NAME                    default: AWS_REGION, AWS_DEFAULT_REGION, then us-east-1
 *   path-style=true|false          the bucket in the path and not in the name of the host; default:
 *                                  true with an endpoint, and for a bucket with a dot in its name
 *   object-lock=governance|compliance
 *   retain-days=N                  both: each object is held for N days; the bucket must have
 *                                  object lock. Removing needs s3:DeleteObjectVersion then
 *
 *   s3://archive/prod?region=eu-central-1
 *   s3://archive?endpoint=https://rgw.example.net:7480
 *
 * Values may be %-encoded. Keys never stand in the URL: aws_credentials.h says where
 * they come from. AWS_CA_BUNDLE names certificates to trust instead of the system's.
 *
 * It needs s3:PutObject, s3:GetObject, s3:ListBucket and s3:DeleteObject. An object is created by
 * one PUT with "If-None-Match: *". A server that does not heed that would let two archivers write
 * one object, so it is tried out before the first one is created, on an object named ".create-only"
 * that stays: STATUS_UNSUPPORTED then. AWS heeds it since 2024; RGW does, but (seen with 16.2) not
 * in buckets with versions, without which there is no object lock.
 *
 * A request that fails for a reason that may pass is tried again for two minutes, with pauses. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_S3_H
#define HOLDFAST_STORAGE_ARCHIVE_S3_H

#include "storage/archive/repository.h"

/* How long it waits, and what for; what tests change. */
struct s3_limits {
    unsigned connect_ms;
    unsigned stall_s;        /* Less than 1 KiB/s for so long is a broken connection. */
    unsigned first_pause_ms; /* The longest pause behind the first failure; it doubles ... */
    unsigned last_pause_ms;  /* ... up to here. The pause is drawn between 0 and that. */
    unsigned total_ms;       /* No pause begins later, ... */
    unsigned max_attempts;   /* ... nor behind this number of attempts. */
    bool trusts_server;      /* Whether it heeds conditions is not tried out. */
};

/* For tests, of a repository of this kind. */
void s3_set_limits(struct repository *repository, const struct s3_limits *limits);

#endif
