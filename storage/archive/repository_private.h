/* What each kind of repository implements. Arguments were checked by repository.c; the contract is
 * in repository.h. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_REPOSITORY_PRIVATE_H
#define HOLDFAST_STORAGE_ARCHIVE_REPOSITORY_PRIVATE_H

#include "storage/archive/repository.h"

struct repository_kind {
    const char *schemes[2]; /* As in a URL, without "://"; the second may be NULL. */
    /* Gives the kind's own struct, whose struct repository has url and is_local set. */
    enum status (*open)(const struct repository_options *options, struct repository **repository,
                        struct error *error);
    enum status (*create)(struct repository *repository, const char *name,
                          const struct repository_content *content, struct error *error);
    enum status (*read)(struct repository *repository, const char *name, uint64_t offset,
                        size_t size, struct buffer *bytes, struct error *error);
    enum status (*list)(struct repository *repository, const char *prefix, const char *after,
                        repository_list_cb cb, void *data, struct error *error);
    enum status (*remove)(struct repository *repository, const char *name, struct error *error);
    void (*close)(struct repository *repository);
};

struct repository {
    const struct repository_kind *kind;
    struct repository_options options; /* Its url: as given, borrowed only by open(). */
    char *url;                         /* To be shown; the kind's own. */
    bool is_local;
};

extern const struct repository_kind repository_directory;
extern const struct repository_kind repository_s3;

/* Whether @name may name an object; with @is_prefix: begin the name of one. What others put into a
 * place that they share with a repository has other names, perhaps, and is none of its objects. */
bool repository_is_name(const char *name, bool is_prefix);

extern const struct repository_kind repository_postgres;

#endif
