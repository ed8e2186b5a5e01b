/* The URL of a repository or a mirror in PostgreSQL: what libpq is given, and what people are
 * shown.
 *
 * A password may be in it, so no message repeats the URL as it was given. Pure; any thread. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_URL_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_URL_H

#include "daemon/base/error.h"

#define POSTGRES_SCHEMA "holdfast" /* Of a repository, without ?schema=. */
/* PostgreSQL cuts longer names off. */
#define POSTGRES_SCHEMA_BYTES 63u

struct postgres_url {
    char *libpq;  /* Without the settings "schema" and "reader", which libpq does not know. */
    char *shown;  /* Without passwords. */
    char *schema; /* Lower-case letters, digits and "_". */
    char *reader; /* A role that may read the tables; of the same letters. NULL: none. */
};

/* @text begins with "postgres://" or "postgresql://" and is copied. STATUS_INVALID: libpq would not
 * take it; or a password in it has characters that must be written as %XX, by which a part of it
 * would become a host's name, say; or the name of the schema or the reader is not one.
 * @default_schema is the schema of one that names none. */
MUST_USE enum status postgres_url_parse(struct postgres_url *url, const char *text,
                                        const char *default_schema, struct error *error);

/* Element @n, from 0, of what commas separate in @list, for free(); NULL if there are fewer. So
 * does libpq list hosts and their ports. */
char *postgres_url_nth(const char *list, unsigned n);

void postgres_url_close(struct postgres_url *url); /* Accepts a zeroed one. */

#endif
