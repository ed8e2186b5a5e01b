/* A repository in a PostgreSQL database (version 13 or later).
 *
 *   postgres://USER@HOST:PORT/DATABASE?SETTING=VALUE&...      also postgresql://
 *
 * It is a URL of libpq: several hosts, Unix sockets and all of its settings can be used, and what
 * is not in it comes from the environment (PGPASSWORD, PGSERVICE, ...) and ~/.pgpass. A password
 * may be in it, with %XX for what is no letter or digit, but is better kept out of it. Over a
 * network that is not your own, use sslmode=verify-full. schema=NAME (default "holdfast") is ours:
 * each schema is a repository of its own.
 *
 * An administrator makes a database for it, say, and a role without other rights:
 *
 *   CREATE ROLE holdfast LOGIN PASSWORD '...';
 *   CREATE DATABASE archive;
 *   REVOKE ALL ON DATABASE archive FROM PUBLIC;
 *   GRANT CONNECT ON DATABASE archive TO holdfast;
 *   \c archive
 *   CREATE SCHEMA holdfast AUTHORIZATION holdfast;
 *
 * The tables are made on first use. Where the role that is in use from day to day may not own them,
 * let another role, who owns the schema, use the repository once, and again after an upgrade; then:
 *
 *   GRANT USAGE ON SCHEMA holdfast TO daily;
 *   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA holdfast TO daily;
 *
 * Without INSERT, UPDATE and DELETE it can be read from, to restore; also from a standby.
 *
 * A pooler in between (PgBouncer, say) must give a session to each client, as settings are made for
 * the session. The server must not be told fsync=off; with a synchronous standby, an object is on
 * both when it counts as created. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_POSTGRES_H
#define HOLDFAST_STORAGE_ARCHIVE_POSTGRES_H

#include "storage/archive/repository.h"

/* For tests: how long @repository, which is of this kind, goes on trying (instead of about two
 * minutes), and how long it waits for one answer (90 s), in milliseconds. */
void postgres_set_patience(struct repository *repository, unsigned retry_ms, unsigned answer_ms);

#endif
