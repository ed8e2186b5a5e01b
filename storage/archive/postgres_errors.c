#include "storage/archive/postgres_errors.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/base/buffer.h"

#define SQLSTATE_SIZE 5

static const struct code {
    const char *start; /* Of the SQLSTATE; the first that fits counts. */
    enum status status;
    enum postgres_remedy remedy;
} codes[] = {
    {"08", STATUS_IO, POSTGRES_RETRY},                 /* The connection. */
    {"25006", STATUS_PERMISSION, POSTGRES_OTHER_HOST}, /* Read-only. */
    {"25P03", STATUS_IO, POSTGRES_RETRY},              /* A transaction was idle for too long. */
    {"28", STATUS_PERMISSION, POSTGRES_NONE},          /* Authentication. */
    {"3D000", STATUS_NOT_FOUND, POSTGRES_NONE},        /* No such database. */
    {"40", STATUS_BUSY, POSTGRES_RETRY},               /* Serialization, deadlock. */
    {"42501", STATUS_PERMISSION, POSTGRES_NONE},
    {"53100", STATUS_DISK_FULL, POSTGRES_NONE},
    {"53", STATUS_BUSY, POSTGRES_RETRY},    /* Too many connections, out of memory. */
    {"55P03", STATUS_BUSY, POSTGRES_RETRY}, /* A lock was not to be had in time. */
    {"57014", STATUS_TIMEOUT, POSTGRES_NONE},
    {"57P03", STATUS_BUSY, POSTGRES_RETRY},     /* It is starting, or stopping. */
    {"57P04", STATUS_NOT_FOUND, POSTGRES_NONE}, /* The database was dropped. */
    {"57P", STATUS_IO, POSTGRES_RETRY},         /* It shuts down, or crashed. */
    {"XX001", STATUS_CORRUPT, POSTGRES_NONE},   /* Data, */
    {"XX002", STATUS_CORRUPT, POSTGRES_NONE},   /* and an index. */
};

enum status postgres_error_status(const char *sqlstate, enum postgres_remedy *remedy)
{
    *remedy = POSTGRES_NONE;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strncmp(sqlstate, codes[i].start, strlen(codes[i].start)) == 0) {
            *remedy = codes[i].remedy;
            return codes[i].status;
        }
    }
    return STATUS_IO;
}

/* It reads "FATAL:  28P01: words". */
const char *postgres_error_sqlstate(const char *message)
{
    static const char characters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    while ((message = strstr(message, ":  ")) != NULL) {
        message += 3;
        if (strspn(message, characters) == SQLSTATE_SIZE &&
            strncmp(message + SQLSTATE_SIZE, ": ", 2) == 0) {
            return message;
        }
    }
    return NULL;
}

/* @message without its last line end and what is behind "LOCATION:", for free(). */
static char *in_one_line(const char *message)
{
    const char *location = strstr(message, "\nLOCATION:");
    size_t size = location == NULL ? strlen(message) : (size_t)(location - message);
    struct buffer line = BUFFER_EMPTY;

    while (size > 0 && message[size - 1] == '\n') {
        size--;
    }
    for (size_t i = 0; i < size; i++) {
        bool is_indent = message[i] == '\t';

        if (message[i] == '\n') {
            buffer_append_string(&line, "; ");
        } else if (!is_indent) {
            buffer_append_byte(&line, (uint8_t)message[i]);
        }
    }
    buffer_append_byte(&line, 0);
    return (char *)line.data; /* From malloc, as buffers are. */
}

enum status postgres_error_of_connection(const PGconn *pg, enum postgres_remedy *remedy,
                                         struct error *error)
{
    char *words = in_one_line(PQerrorMessage(pg));
    const char *sqlstate = postgres_error_sqlstate(words);
    enum status status = STATUS_IO;

    *remedy = POSTGRES_RETRY;
    if (sqlstate != NULL) {
        status = postgres_error_status(sqlstate, remedy);
    } else if (PQconnectionNeedsPassword(pg)) {
        status = STATUS_PERMISSION; /* It is asked for one, and there is none. */
        *remedy = POSTGRES_NONE;
    }
    status = error_set(error, status, "%s", words[0] == '\0' ? "the connection was lost" : words);
    free(words);
    return status;
}

static const char *field_of(const PGresult *result, int code)
{
    const char *field = PQresultErrorField(result, code);

    return field == NULL ? "" : field;
}

enum status postgres_error_of_result(const PGresult *result, enum postgres_remedy *remedy,
                                     bool *is_fatal, struct error *error)
{
    const char *sqlstate = field_of(result, PG_DIAG_SQLSTATE);
    const char *severity = field_of(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    bool is_read_only = strcmp(sqlstate, "25006") == 0;
    const char *hint = is_read_only ? "the server is a standby, or made read-only: " : "";
    enum status status = postgres_error_status(sqlstate, remedy);

    *is_fatal = strcmp(severity, "ERROR") != 0;
    return error_set(error, status, "%s%s (SQLSTATE %s)", hint,
                     field_of(result, PG_DIAG_MESSAGE_PRIMARY), sqlstate);
}
