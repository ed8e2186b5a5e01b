/* The rows of the state as programs see them: decoded records, and what the API renders.
 *
 * Slices borrow from the bytes that were decoded: from a result, or from a read view while it is
 * open. A record's payload in the store and a row in a result are the same encoding. Each encoding
 * starts with a format version. Pure, any thread. */
#ifndef HOLDFAST_STORAGE_ROWS_H
#define HOLDFAST_STORAGE_ROWS_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "storage/command.h"

struct namespace_row {
    struct slice name;
    uint64_t id; /* Never used twice. */
    uint64_t revision;
    uint64_t created_at_ms;
    struct slice metadata; /* JSON object. */
};

/* Live counts of one namespace, kept at write time. */
struct namespace_counters {
    uint64_t sessions;
    uint64_t sessions_by_status[SESSION_STATUSES];
    uint64_t events;
    uint64_t items;
    uint64_t bytes; /* Of keys, values, documents and events as clients count them. */
};

struct item_row {
    struct slice key;
    uint64_t revision;
    enum content_kind content;
    struct slice content_type;
    uint64_t size_bytes;
    struct slice user_id; /* Empty: null. */
    uint64_t ttl_ms;      /* 0: null. */
    uint64_t created_at_ms;
    uint64_t updated_at_ms;
    uint64_t expires_at_ms; /* 0: null. */
    struct slice value;     /* Empty in a result. */
};

struct session_row {
    struct slice id;
    uint64_t object_id;    /* Never used twice; rises with creation. */
    struct slice agent_id; /* Empty: null. */
    struct slice user_id;  /* Empty: null. */
    enum session_status status;
    struct slice metadata;
    struct slice state;   /* Empty in a result and in lists. */
    uint64_t state_bytes; /* Its size, also where it is empty here. */
    uint64_t ttl_ms;      /* 0: null. */
    bool sliding;
    enum write_policy write_policy;
    uint64_t revision;         /* Of the document: the ETag. */
    uint64_t updated_revision; /* Of document or log: the order of sort=updated. */
    uint64_t first_seq;        /* 0: null, the log is empty. */
    uint64_t last_seq;         /* Newest not rewound; 0: none. */
    uint64_t next_seq;         /* The number that the next event gets. */
    uint64_t event_count;
    uint64_t event_bytes;
    uint64_t log_count; /* See event_row; of the newest event. */
    uint64_t log_bytes;
    uint64_t epoch;
    uint64_t created_at_ms;
    uint64_t updated_at_ms;
    uint64_t expires_at_ms; /* 0: null. */
};

struct event_row {
    uint64_t seq;
    struct slice id; /* Empty: null. */
    struct slice type;
    struct slice data; /* JSON. */
    uint64_t created_at_ms;
    /* The log's own: the event before it when it was appended (0: none), and two counts that rise
     * by 1 and by its bytes with each event of the log. Their differences between two live events
     * measure the part between without walking it. */
    uint64_t prev_seq;
    uint64_t log_count;
    uint64_t log_bytes;
};

struct append_row {
    uint64_t first_seq;
    uint64_t last_seq;
    bool duplicate;
    bool session_created;
};

struct trim_row {
    uint64_t deleted;
    uint64_t first_seq; /* 0: null. */
    uint64_t last_seq;
};

struct prefix_deleted_row {
    uint64_t deleted;
    bool more;
};

struct maintained_row {
    uint64_t records; /* Touched by this step. */
    bool more;        /* Something is still due. */
};

struct member_row {
    uint64_t id;
    struct slice name;
    struct slice peer_address;
    struct slice api_address;
    struct slice zone; /* Empty: null. */
    struct slice version;
    enum member_wanted wanted;
    bool is_drained; /* It is not to lead. */
    bool is_forced;  /* What is wanted may happen while voters are missing. */
};

/* A member that was removed. Its id is never used again. */
struct removed_member_row {
    uint64_t id;
    struct slice name;
    struct slice peer_address; /* It may have to be reached until it is out of the configuration. */
    struct slice api_address;
    bool is_forced;
};

/* One of each: append the encoded row, or read one. STATUS_CORRUPT if it is not one,
 * STATUS_UNSUPPORTED if it has a later format version; @row then holds nothing of use. */
#define ROW_CODEC(name)                                                                            \
    void name##_encode(const struct name *row, struct buffer *buffer);                             \
    MUST_USE enum status name##_decode(struct slice bytes, struct name *row)

ROW_CODEC(namespace_row);
ROW_CODEC(namespace_counters);
ROW_CODEC(item_row);
ROW_CODEC(session_row);
ROW_CODEC(event_row);
ROW_CODEC(append_row);
ROW_CODEC(trim_row);
ROW_CODEC(prefix_deleted_row);
ROW_CODEC(maintained_row);
ROW_CODEC(member_row);
ROW_CODEC(removed_member_row);

#endif
