/* Where the nodes of a test archive to, all to the same: a directory, or a server of the test's
 * own, as HOLDFAST_ARCHIVE_REPOSITORY says ("directory", the default, "s3" or "postgres"). It can
 * be taken away from under them, and brought back with what was in it.
 *
 * Only the main thread (process.h). */
#ifndef HOLDFAST_TESTS_ARCHIVE_PLACE_H
#define HOLDFAST_TESTS_ARCHIVE_PLACE_H

#include "tests/lib/postgres_server.h"
#include "tests/lib/rgw_server.h"

enum archive_place_kind { ARCHIVE_PLACE_DIRECTORY, ARCHIVE_PLACE_S3, ARCHIVE_PLACE_POSTGRES };

struct archive_place {
    enum archive_place_kind kind;
    char url[RGW_SERVER_URL_BYTES];
    bool is_away;
    unsigned n_away; /* How often it was. */
    /* Private. */
    bool is_open;
    char path[320];
    char other[320];
    struct rgw_server rgw;
    struct postgres_server postgres;
};

/* What is missing for the one that is wanted, in words; NULL: nothing. */
const char *archive_place_missing(void);

/* A directory is made below @parent. */
void archive_place_open(struct archive_place *place, const char *parent);

/* A directory is not there, and a file has its name; an S3 gateway and a PostgreSQL server are
 * killed, the latter now with all its processes and now alone. Does nothing if it is away. */
void archive_place_take_away(struct archive_place *place);
/* Until it answers again. Does nothing if it is there. */
void archive_place_bring_back(struct archive_place *place);

void archive_place_close(struct archive_place *place, bool passed); /* Accepts a zeroed one. */

#endif
