/* The mirror: what the cluster holds as tables in PostgreSQL, for people who want SQL. A thread
 * that keeps them up, as long as this node is the one that should.
 *
 *   postgres://USER@HOST:PORT/DATABASE?SETTING=VALUE&...      as postgres.h says, but
 *
 *   schema=NAME    default "holdfast_mirror"; one for each cluster
 *   reader=ROLE    is given the right to read the tables, and no other
 *
 * Each change is there once, in the transaction that moves the position (mirror_tables.h). It never
 * holds up anything: it reads the state in short views, and falls behind, visibly, when the server
 * is slow or away. Two nodes that mirror at once do no harm.
 *
 * Any thread, but for opening and closing. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MIRROR_H
#define HOLDFAST_STORAGE_ARCHIVE_MIRROR_H

#include "storage/archive/names.h"
#include "storage/store.h"

struct mirror;

struct mirror_options {
    const char *url;
    struct store *store;
    const char *node; /* Its name. */
    /* If another node should mirror, and the tables are behind and stay where they are for so long,
     * this one stands in for it. 0: 60 s. */
    uint64_t stand_in_ms;
    void *data;
    /* The mirror's thread: the cluster and this node in it; false: it is in none yet. */
    bool (*identify)(void *data, char cluster_id[NAMES_CLUSTER_BYTES + 1], uint64_t *node_id);
    /* The mirror's thread: this node is the one that mirrors. */
    bool (*is_chosen)(void *data);
};

/* Is @url one that could be opened? STATUS_INVALID, with what is wrong. */
MUST_USE enum status mirror_check(const char *url, struct error *error);

/* Strings are copied. STATUS_INVALID: see mirror_check(). STATUS_IO, STATUS_BUSY: no thread. */
MUST_USE enum status mirror_open(const struct mirror_options *options, struct mirror **mirror,
                                 struct error *error);
/* Ends its thread, which gives up what it is at. Accepts NULL. */
void mirror_close(struct mirror *mirror);

enum mirror_activity {
    MIRROR_WAITING, /* For the cluster, or until this node has executed what the tables have. */
    MIRROR_STANDBY, /* Another node mirrors. */
    MIRROR_IDLE,
    MIRROR_WRITING,
    MIRROR_COPYING, /* All of it, anew. */
    MIRROR_FAILING, /* It tries again; error says why. */
};
const char *mirror_activity_text(enum mirror_activity activity);

struct mirror_status {
    char url[256]; /* Without secrets. */
    enum mirror_activity activity;
    char error[ERROR_MAX_TEXT]; /* Of the last failure, while it lasts; else "". */
    /* Where the tables are, as far as this node knows; 0: not at all. */
    uint64_t revision;
    uint64_t time_ms; /* The cluster's. */
    bool is_exact;    /* They are what the state was at that revision. */
    /* What is not in them; 0 on a node that does not mirror. */
    uint64_t lag_revisions;
    uint64_t lag_ms; /* Since when there is something. */
    /* Since the start. */
    uint64_t transactions;
    uint64_t sessions; /* Rows written or deleted. */
    uint64_t events;
    uint64_t items;
    uint64_t copies; /* Times that all was copied. */
    uint64_t failures;
};
void mirror_status(struct mirror *mirror, struct mirror_status *status);

#endif
