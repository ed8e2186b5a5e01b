/* A repository: where the archive keeps its objects. An object has a name and bytes, is created
 * once and whole, and is never changed: two who create the same name get one object, and one of
 * them STATUS_EXISTS. What is not there whole is not there at all.
 *
 * A name is components of letters, digits, "-", "_" and ".", none of which begins with ".", with
 * "/" between them, and at most REPOSITORY_NAME_BYTES long. Its kind is chosen by a URL:
 *
 *   file:///DIR               a directory of this node
 *   file:///DIR?shared        a directory that all nodes have, by NFS say
 *   s3://BUCKET/PREFIX?...    S3 (s3.h)
 *   postgres://...            PostgreSQL (postgres.h)
 *
 * One thread at a time uses a repository. Its functions wait for disks and networks, some minutes
 * at worst. Errors say what could not be done, to what, and why, and never hold a secret. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_REPOSITORY_H
#define HOLDFAST_STORAGE_ARCHIVE_REPOSITORY_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

#define REPOSITORY_NAME_BYTES   200u
#define REPOSITORY_SHA256_BYTES 32u
/* No object is larger. */
#define REPOSITORY_OBJECT_BYTES (64u << 20)

struct repository;

struct repository_options {
    const char *url;
    void *data;
    /* Asked now and then while something takes long, on the thread that waits: true ends it with
     * STATUS_CANCELED. May be NULL. */
    bool (*is_canceled)(void *data);
};

/* Nothing is asked of a server yet, and no directory made. STATUS_INVALID: the URL is not one, or
 * a setting in it or for it is missing or wrong. */
MUST_USE enum status repository_open(const struct repository_options *options,
                                     struct repository **repository, struct error *error);

/* The URL, without what is secret in it, for messages and lists. */
const char *repository_url(const struct repository *repository);
/* It dies with this node's disk: every node keeps a chain of its own there. */
bool repository_is_local(const struct repository *repository);

/* What an object is created from: a file, from its beginning on. */
struct repository_content {
    int fd;
    uint64_t size_bytes;
    uint8_t sha256[REPOSITORY_SHA256_BYTES];
};

/* STATUS_OK: it is there, and durable. STATUS_EXISTS: an object of that name, with whatever bytes,
 * was there. STATUS_UNCERTAIN: it may be there now or later; create it again to know. The others:
 * it is not there. STATUS_NOT_FOUND: the bucket, say, is missing. STATUS_PERMISSION,
 * STATUS_DISK_FULL, STATUS_BUSY (asked to slow down, for longer than was waited), STATUS_TIMEOUT,
 * STATUS_UNSUPPORTED (the server does not keep what this relies on), STATUS_IO, STATUS_CANCELED. */
MUST_USE enum status repository_create(struct repository *repository, const char *name,
                                       const struct repository_content *content,
                                       struct error *error);

/* Append what is there of @size bytes from @offset on; less only at the end of the object.
 * STATUS_NOT_FOUND: there is no such object. STATUS_CORRUPT: it is damaged and the repository
 * knows. Others as above. */
MUST_USE enum status repository_read(struct repository *repository, const char *name,
                                     uint64_t offset, size_t size, struct buffer *bytes,
                                     struct error *error);

struct repository_object {
    const char *name; /* Borrowed during the call. */
    uint64_t size_bytes;
};
/* False ends the listing, with STATUS_OK. */
typedef bool (*repository_list_cb)(void *data, const struct repository_object *object);

/* All objects whose names begin with @prefix and come behind @after (NULL: all), in the order of
 * bytes. STATUS_OK: @cb was given all of them, unless it ended it; any other status: perhaps not.
 * An empty or new repository has none. */
MUST_USE enum status repository_list(struct repository *repository, const char *prefix,
                                     const char *after, repository_list_cb cb, void *data,
                                     struct error *error);

/* STATUS_OK: it is not there any more, or never was. STATUS_PERMISSION: it is held for longer, or
 * removing is not allowed. */
MUST_USE enum status repository_remove(struct repository *repository, const char *name,
                                       struct error *error);

void repository_close(struct repository *repository); /* Accepts NULL. */

#endif
