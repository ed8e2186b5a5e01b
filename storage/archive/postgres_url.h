/* The URL of a repository in PostgreSQL: what libpq is given, and what people are shown.
 *
 * A password may be in it, so no message repeats the URL as it was given. Pure; any thread. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_URL_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_URL_H

#include "daemon/base/error.h"

#define POSTGRES_SCHEMA "holdfast" /* Without ?schema=. */
/* PostgreSQL cuts longer names off. */
#define POSTGRES_SCHEMA_BYTES 63u

struct postgres_url {
    char *libpq;  /* Without the setting "schema", which libpq does not know. */
    char *shown;  /* Without passwords. */
    char *schema; /* Lower-case letters, digits and "_". */
};

/* @text begins with "postgres://" or "postgresql://" and is copied. STATUS_INVALID: libpq would not
 * take it; or a password in it has characters that must be written as %XX, by which a part of it
 * would become a host's name, say; or the schema's name is not one. */
MUST_USE enum status postgres_url_parse(struct postgres_url *url, const char *text,
                                        struct error *error);

/* Element @n, from 0, of what commas separate in @list, for free(); NULL if there are fewer. So
 * does libpq list hosts and their ports. */
char *postgres_url_nth(const char *list, unsigned n);

void postgres_url_close(struct postgres_url *url); /* Accepts a zeroed one. */

#endif
