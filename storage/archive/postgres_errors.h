/* What PostgreSQL says when something fails, as a status and a sentence. Pure; any thread. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_ERRORS_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_ERRORS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "daemon/base/error.h"

enum postgres_remedy {
    POSTGRES_NONE,       /* It fails again. */
    POSTGRES_RETRY,      /* It may pass. */
    POSTGRES_OTHER_HOST, /* Another server, if the URL names several, may do it. */
};

/* The status and the remedy for an SQLSTATE, which has five characters at least. */
enum status postgres_error_status(const char *sqlstate, enum postgres_remedy *remedy);

/* Where the SQLSTATE is in a message of libpq at PQERRORS_VERBOSE; NULL: there is none. */
const char *postgres_error_sqlstate(const char *message);

/* The connection could not be made, or was lost: libpq's words, in one line. @pg has
 * PQERRORS_VERBOSE. */
enum status postgres_error_of_connection(const PGconn *pg, enum postgres_remedy *remedy,
                                         struct error *error);

/* The server refused a statement; @result has an SQLSTATE. @is_fatal: and the connection with it.
 */
enum status postgres_error_of_result(const PGresult *result, enum postgres_remedy *remedy,
                                     bool *is_fatal, struct error *error);

#endif
