#include "storage/archive/marks.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "storage/archive/full.h"

static enum status create(struct repository *repository, const char *name,
                          const char *work_directory, struct error *error)
{
    struct repository_content content = {.size_bytes = 0};
    enum status status = full_work_file(work_directory, &content.fd, error);

    if (status != STATUS_OK) {
        return status;
    }
    CHECK(EVP_Digest("", 0, content.sha256, NULL, EVP_sha256(), NULL) == 1);
    status = repository_create(repository, name, &content, error);
    (void)close(content.fd); /* It is gone now. */
    return status == STATUS_EXISTS ? STATUS_OK : status;
}

enum status marks_pin(struct repository *repository, const char *full_directory,
                      const char *work_directory, struct error *error)
{
    char name[NAMES_BYTES];

    names_pin(full_directory, name);
    return create(repository, name, work_directory, error);
}

enum status marks_unpin(struct repository *repository, const char *full_directory,
                        struct error *error)
{
    char name[NAMES_BYTES];

    names_pin(full_directory, name);
    return repository_remove(repository, name, error);
}

struct found {
    char (*names)[NAMES_BYTES];
    size_t n;
};

static bool on_object(void *data, const struct repository_object *object)
{
    struct found *found = data;
    struct names_parsed parsed;

    if (names_parse(object->name, &parsed) && parsed.kind == NAMES_VERIFIED) {
        found->names = memory_resize(found->names, (found->n + 1) * sizeof *found->names);
        memcpy(found->names[found->n++], object->name, strlen(object->name) + 1);
    }
    return true;
}

/* All but @stays, which may be NULL. */
static enum status forget(struct repository *repository, const char *full_directory,
                          const char *stays, struct error *error)
{
    struct found found = {.n = 0};
    char prefix[NAMES_BYTES];
    enum status status;

    names_verified_prefix(full_directory, prefix);
    status = repository_list(repository, prefix, NULL, on_object, &found, error);
    for (size_t i = 0; i < found.n && status == STATUS_OK; i++) {
        if (stays == NULL || strcmp(found.names[i], stays) != 0) {
            status = repository_remove(repository, found.names[i], error);
        }
    }
    free(found.names);
    return status == STATUS_PERMISSION ? STATUS_OK : status; /* It is in the way of nothing. */
}

enum status marks_verified(struct repository *repository, const char *full_directory,
                           const struct names_verification *verification,
                           const char *work_directory, struct error *error)
{
    char name[NAMES_BYTES];
    enum status status;

    names_verified(full_directory, verification, name);
    status = create(repository, name, work_directory, error);
    return status == STATUS_OK ? forget(repository, full_directory, name, error) : status;
}

enum status marks_forget(struct repository *repository, const char *full_directory,
                         struct error *error)
{
    return forget(repository, full_directory, NULL, error);
}
