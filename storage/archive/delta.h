/* A delta: the steps (step.h) that a node executed between two log indexes, as one object. With a
 * full at or before its first index, and the deltas between, it leads to the state at any step of
 * it.
 *
 * Deltas of a chain leave no hole and do not overlap: one is created under its first index, and
 * the next one begins behind its last, whoever writes it. A merged one (merge.h) has the steps of
 * several of them, and the same format. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_DELTA_H
#define HOLDFAST_STORAGE_ARCHIVE_DELTA_H

#include "storage/archive/names.h"
#include "storage/archive/object.h"
#include "storage/step.h"

/* Content of a delta; more only if one step is larger. */
#define DELTA_BYTES (8u << 20)

struct delta_facts {
    uint64_t first_index;
    uint64_t last_index;
    uint64_t first_time_ms; /* The cluster's, after the first step, ... */
    uint64_t last_time_ms;  /* ... and what there was after the last one. */
    uint64_t last_term;
    uint64_t last_revision;
    uint64_t last_hash[2];
    uint64_t steps;
    uint64_t content_bytes;
};

/* What @steps, whole and in order, would be as a delta. They are not empty. */
void delta_describe(struct slice steps, struct delta_facts *facts);

/* Write an object @name with @steps, of which delta_describe() said @facts, to @fd, and then create
 * it: see repository_create(). */
MUST_USE enum status delta_create(struct repository *repository, const char *name,
                                  const struct master_keys *keys, const struct delta_facts *facts,
                                  struct slice steps, int fd, uint64_t *size_bytes,
                                  struct error *error);

/* The same, but with the steps from the file @steps_fd: facts->content_bytes from its beginning.
 * Also STATUS_IO. */
MUST_USE enum status delta_create_from_file(struct repository *repository, const char *name,
                                            const struct master_keys *keys,
                                            const struct delta_facts *facts, int steps_fd, int fd,
                                            uint64_t *size_bytes, struct error *error);

/* The facts of the delta, merged or not, that is called so (names.h). As object_read(). */
MUST_USE enum status delta_look(struct repository *repository, const char *name,
                                const struct master_keys *keys, struct delta_facts *facts,
                                struct error *error);

typedef enum status (*delta_step_cb)(void *data, const struct step *step, struct error *error);

/* Every step of it, in order; each follows the one before. As object_read(); anything but STATUS_OK
 * of @cb ends it with that. */
MUST_USE enum status delta_read(struct repository *repository, const char *name,
                                const struct master_keys *keys, struct delta_facts *facts,
                                delta_step_cb cb, void *data, struct error *error);

#endif
