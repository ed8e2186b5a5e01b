#include "raft/received.h"

#include <inttypes.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/log.h"
#include "storage/image_import.h"

/* Is there a whole store in the directory? */
static bool is_whole(const char *directory)
{
    struct image_import *import = NULL;
    enum status status;

    if (access(directory, F_OK) != 0) {
        return false;
    }
    status = image_import_open(directory, &import, NULL);
    image_import_close(import);
    return status == STATUS_EXISTS;
}

static enum status position_of(const char *directory, struct machine_position *position,
                               struct error *error)
{
    const struct store_options options = {.directory = directory};
    struct store *store;
    enum status status = store_open(&options, &store, error);

    if (status != STATUS_OK) {
        return status;
    }
    status = machine_position(store, position, error);
    store_close(store);
    return status;
}

/* Of two whole stores. */
static enum status compare(const char *received, const char *own, struct machine_position *from,
                           struct machine_position *to, struct error *error)
{
    enum status status = position_of(received, from, error);

    return status == STATUS_OK ? position_of(own, to, error) : status;
}

enum status received_look(const char *received, const char *own, bool *is_newer,
                          struct machine_position *position, struct error *error)
{
    struct machine_position from;
    struct machine_position to;
    enum status status;

    *is_newer = false;
    if (!is_whole(received)) {
        return STATUS_OK;
    }
    status = compare(received, own, &from, &to, error);
    if (status == STATUS_OK && from.applied_index > to.applied_index) {
        *is_newer = true;
        *position = from;
    }
    return status;
}

enum status received_install(const char *received, const char *own, struct error *error)
{
    struct machine_position from;
    struct machine_position to;
    enum status status = files_repair(own, error);

    if (status != STATUS_OK || !is_whole(received)) {
        return status;
    }
    status = compare(received, own, &from, &to, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (from.applied_index <= to.applied_index) {
        return files_remove_directory(received, error);
    }
    log_info("state",
             "the state that was received takes the place of the own one index=%" PRIu64
             " before=%" PRIu64,
             from.applied_index, to.applied_index);
    return files_replace(received, own, error);
}
