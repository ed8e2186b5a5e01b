#include "tests/lib/archive_place.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"

#define RESTART_MS 60000

static enum archive_place_kind chosen_kind(void)
{
    const char *name = getenv("HOLDFAST_ARCHIVE_REPOSITORY");

    if (name == NULL || strcmp(name, "directory") == 0) {
        return ARCHIVE_PLACE_DIRECTORY;
    }
    if (strcmp(name, "s3") == 0) {
        return ARCHIVE_PLACE_S3;
    }
    if (strcmp(name, "postgres") != 0) {
        fail_msg("HOLDFAST_ARCHIVE_REPOSITORY=%s is none of directory, s3 and postgres", name);
    }
    return ARCHIVE_PLACE_POSTGRES;
}

const char *archive_place_missing(void)
{
    switch (chosen_kind()) {
    case ARCHIVE_PLACE_S3:
        return rgw_server_missing();
    case ARCHIVE_PLACE_POSTGRES:
        return postgres_server_missing();
    case ARCHIVE_PLACE_DIRECTORY:
        break;
    }
    return NULL;
}

static void open_directory(struct archive_place *place, const char *parent)
{
    int fd;

    (void)snprintf(place->path, sizeof place->path, "%.256s/shared", parent);
    (void)snprintf(place->other, sizeof place->other, "%.256s/away", parent);
    (void)snprintf(place->url, sizeof place->url, "file://%s?shared", place->path);
    assert_int_equal(mkdir(place->path, 0700), 0);
    fd = open(place->other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && close(fd) == 0);
}

void archive_place_open(struct archive_place *place, const char *parent)
{
    *place = (struct archive_place){.kind = chosen_kind()};
    switch (place->kind) {
    case ARCHIVE_PLACE_DIRECTORY:
        open_directory(place, parent);
        break;
    case ARCHIVE_PLACE_S3:
        rgw_server_start(&place->rgw);
        rgw_server_set_key(place->rgw.access_key, place->rgw.secret_key);
        rgw_server_make_bucket(&place->rgw, "archive", false);
        rgw_server_url(&place->rgw, "archive/holdfast", "", place->url);
        break;
    case ARCHIVE_PLACE_POSTGRES:
        assert_true(postgres_server_make(&place->postgres));
        assert_true(postgres_server_start(&place->postgres));
        (void)snprintf(place->url, sizeof place->url, "postgres://admin@127.0.0.1:%u/postgres",
                       place->postgres.port);
        break;
    }
    place->is_open = true;
}

/* At once: nobody finds nothing there, and makes a new one. */
static void exchange(const struct archive_place *place)
{
    assert_int_equal(renameat2(AT_FDCWD, place->path, AT_FDCWD, place->other, RENAME_EXCHANGE), 0);
}

void archive_place_take_away(struct archive_place *place)
{
    if (place->is_away) {
        return;
    }
    place->is_away = true;
    place->n_away++;
    switch (place->kind) {
    case ARCHIVE_PLACE_DIRECTORY:
        exchange(place);
        break;
    case ARCHIVE_PLACE_S3:
        rgw_server_kill_gateway(&place->rgw);
        break;
    case ARCHIVE_PLACE_POSTGRES:
        assert_true(
            postgres_server_stop(&place->postgres, place->n_away % 2 == 0 ? SIGKILL : SIGQUIT));
        break;
    }
}

/* Not as long as processes of the one that was killed are still ending. */
static bool has_started(void *data)
{
    return postgres_server_start(data);
}

void archive_place_bring_back(struct archive_place *place)
{
    if (!place->is_away) {
        return;
    }
    switch (place->kind) {
    case ARCHIVE_PLACE_DIRECTORY:
        exchange(place);
        break;
    case ARCHIVE_PLACE_S3:
        rgw_server_start_gateway(&place->rgw);
        break;
    case ARCHIVE_PLACE_POSTGRES:
        assert_true(wait_until(has_started, &place->postgres, RESTART_MS));
        break;
    }
    place->is_away = false;
}

void archive_place_close(struct archive_place *place, bool passed)
{
    if (!place->is_open) {
        return;
    }
    if (place->kind == ARCHIVE_PLACE_S3) {
        rgw_server_stop(&place->rgw, passed);
    } else if (place->kind == ARCHIVE_PLACE_POSTGRES) {
        postgres_server_remove(&place->postgres);
    }
    place->is_open = false;
}
