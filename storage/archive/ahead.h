/* Reading ahead: a repository to read from that has, before they are asked for, objects whose order
 * is known, fetched from another one over several connections at a time. What comes is what that
 * one would have given, errors too; what was not announced is read from it directly.
 *
 * Threads of its own fetch, each with a handle of its own. Like any repository, it is used by one
 * thread at a time. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_AHEAD_H
#define HOLDFAST_STORAGE_ARCHIVE_AHEAD_H

#include "storage/archive/names.h"

#define AHEAD_MAX_THREADS 16u
/* So many pieces of OBJECT_READ_BYTES are held for each thread, at most: with four threads,
 * 64 MiB. */
#define AHEAD_PIECES 4u

struct ahead_object {
    char name[NAMES_BYTES];
    uint64_t size_bytes; /* As far as is known. */
};

struct ahead_options {
    const char *url;                    /* As in repository_options; borrowed until it is opened. */
    const struct ahead_object *objects; /* In the order in which they will be read; copied. */
    size_t n_objects;
    unsigned n_threads; /* 1 to AHEAD_MAX_THREADS */
    void *data;
    bool (*is_canceled)(void *data); /* As in repository_options: by who reads. */
};

/* Begins to fetch at once. As repository_open(), and STATUS_IO and others: a thread could not be
 * started. repository_close() ends what is under way, and waits for that. */
MUST_USE enum status ahead_open(const struct ahead_options *options, struct repository **repository,
                                struct error *error);

#endif
