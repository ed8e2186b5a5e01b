/* What a client wants done, in the form in which it goes through the log.
 *
 * A command is one or more operations in one namespace, all or nothing, with at most one
 * idempotency key. Everything that is not the same on every node (random ids, validation against
 * options) was decided before it was encoded; times come from the entry. Decoding borrows from the
 * bytes. Pure functions, any thread.
 *
 * Documents (state, metadata, data, patches) are compact JSON text, already validated, except where
 * noted. */
#ifndef HOLDFAST_STORAGE_COMMAND_H
#define HOLDFAST_STORAGE_COMMAND_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"

#define COMMAND_VERSION 1

enum operation_kind {
    OPERATION_NONE,
    /* Items. */
    OPERATION_ITEM_PUT,
    OPERATION_ITEM_PATCH,
    OPERATION_ITEM_DELETE,
    OPERATION_ITEM_TOUCH,
    OPERATION_ITEM_CHECK,
    OPERATION_ITEM_DELETE_PREFIX,
    /* Sessions. */
    OPERATION_SESSION_PUT,
    OPERATION_SESSION_PATCH,
    OPERATION_SESSION_DELETE,
    OPERATION_SESSION_TOUCH,
    OPERATION_SESSION_CHECK,
    OPERATION_EVENTS_APPEND,
    OPERATION_EVENTS_DELETE,
    /* Namespaces. */
    OPERATION_NAMESPACE_PUT,
    OPERATION_NAMESPACE_PATCH,
    OPERATION_NAMESPACE_DELETE,
    /* The cluster's own; no client can send these. */
    OPERATION_MEMBER_PUT,
    OPERATION_MAINTAIN,
    OPERATION_MEMBER_ADD,
    OPERATION_MEMBER_CHANGE,
    OPERATION_MEMBER_REMOVE,
    OPERATION_FEATURE_RAISE,
    OPERATION_KINDS
};

/* If-Match and If-None-Match. */
enum condition_kind { CONDITION_NONE, CONDITION_ANY, CONDITION_TAGS };

struct condition {
    enum condition_kind kind;
    uint32_t n_tags;           /* With CONDITION_TAGS: 1 to LIMIT_TAGS. */
    uint64_t tags[LIMIT_TAGS]; /* Revisions. */
};

/* A time-to-live as a request gives it. */
enum ttl_kind {
    TTL_ABSENT, /* Not mentioned: PUT clears it, PATCH and touch renew the stored one. */
    TTL_CLEAR,  /* null: from now on none. */
    TTL_SET
};

struct ttl {
    enum ttl_kind kind;
    uint64_t ms; /* With TTL_SET: 1 to LIMIT_TTL_MS. */
};

enum content_kind { CONTENT_JSON, CONTENT_BYTES };

/* A field of a session: absent, null (reset to its default) or given. */
enum field_kind { FIELD_ABSENT, FIELD_NULL, FIELD_SET };

struct text_field {
    enum field_kind kind;
    struct slice value;
};

enum session_status { SESSION_ACTIVE, SESSION_PAUSED, SESSION_CLOSED, SESSION_STATUSES };
enum write_policy { WRITE_POLICY_ANY, WRITE_POLICY_OWNER };

/* The client's fields of a session. With PUT, FIELD_ABSENT and FIELD_NULL both mean the default;
 * with PATCH, metadata and state are merge patches (RFC 7396). */
struct session_fields {
    struct text_field agent_id;
    struct text_field user_id;
    enum field_kind status_kind;
    enum session_status status;
    struct text_field metadata; /* JSON object. */
    struct text_field state;    /* JSON object. */
    struct ttl ttl;
    enum field_kind sliding_kind;
    bool sliding;
    enum field_kind write_policy_kind;
    enum write_policy write_policy;
};

struct new_event {
    struct slice id; /* Empty: none. All events of an append have one, or none has. */
    struct slice type;
    struct slice data; /* JSON. */
};

struct item_operation {
    struct slice key;   /* With DELETE_PREFIX: the prefix. */
    struct slice value; /* PUT: the bytes as sent. PATCH: a JSON merge patch. */
    enum content_kind content;
    struct slice content_type; /* PUT, when bytes: what GET answers. */
    struct ttl ttl;
    struct text_field user_id; /* FIELD_SET by ?user_id=. */
};

struct session_operation {
    struct slice id;
    struct session_fields fields; /* PUT, PATCH; TOUCH uses only ttl. */
    bool server_made_id;          /* POST: the answer is 201 with Location. */
};

struct append_operation {
    struct slice session_id;
    uint32_t n_events;
    struct new_event *events; /* Owned by who filled the struct; see command_close(). */
    bool has_expected_seq;
    uint64_t expected_seq;
    bool has_truncate_after;
    uint64_t truncate_after;
    struct slice state_patch; /* JSON object; empty: none. */
    bool has_create;
    struct session_fields create;
};

struct trim_operation {
    struct slice session_id;
    bool is_rewind; /* ?after_seq=, else ?before_seq=. */
    uint64_t seq;
    bool has_expected_seq;
    uint64_t expected_seq;
};

struct namespace_operation {
    struct slice name;
    struct text_field metadata; /* JSON object; PATCH: a merge patch. */
};

/* What the cluster wants of a member. Agreement's own configuration follows, step by step. */
enum member_wanted {
    MEMBER_AS_IS, /* Nothing was said: it keeps the role that it has. */
    MEMBER_VOTER,
    MEMBER_STANDBY,
    MEMBER_SPARE,
    MEMBER_AUTO, /* A standby, and a voter once it has caught up if voters are wanted. */
    MEMBER_WANTED_KINDS
};

/* PUT: what a node says of itself; what is wanted of it stays. ADD: a new member. CHANGE: wanted,
 * drained and forced of the member @id; the rest is for one that has no row yet. REMOVE: the member
 * @id, for good; uses forced, and the rest likewise. */
struct member_operation {
    uint64_t id;
    struct slice name;
    struct slice peer_address;
    struct slice api_address;
    struct slice zone; /* Empty: none; with PUT: as it was. */
    struct slice version;
    enum member_wanted wanted;
    bool is_drained;    /* It is not to lead. */
    bool is_forced;     /* Also while voters are missing. */
    bool has_restarted; /* PUT: its process is new, and so not drained any more. */
};

/* Do up to @max_records of what is due by the entry's time: expire, purge, forget. */
struct maintain_operation {
    uint32_t max_records;
};

struct operation {
    enum operation_kind kind;
    struct condition if_match;
    struct condition if_none_match;
    union {
        struct item_operation item;
        struct session_operation session;
        struct append_operation append;
        struct trim_operation trim;
        struct namespace_operation ns;
        struct member_operation member;
        struct maintain_operation maintain;
        uint8_t feature_level; /* FEATURE_RAISE: the cluster's from now on (feature.h). */
    };
};

struct command {
    struct slice ns;              /* Name; empty for the cluster's own and namespace operations. */
    struct slice idempotency_key; /* Empty: none. */
    uint64_t request_hash[2];     /* XXH3-128 of method, target and body bytes; with a key only. */
    bool is_transaction;          /* Its result has one row per operation. */
    uint32_t n_operations;
    struct operation *operations;
};

/* The grammar of names, which every operation has passed that was decoded. */
bool command_is_namespace_name(struct slice name);
bool command_is_id(struct slice id);       /* Of a session, of an event. */
bool command_is_label(struct slice label); /* agent_id, user_id, holder. */
bool command_is_item_key(struct slice key);

/* Append the encoded form to @buffer. @command must be within limits.h. */
void command_encode(const struct command *command, struct buffer *buffer);

/* Read what came from a peer or the log, and check it against limits.h and the grammar of names;
 * documents are not parsed. What passes encodes to the same bytes again. On success the caller ends
 * with command_close(); slices borrow from @bytes. STATUS_CORRUPT: not an encoded command.
 * STATUS_UNSUPPORTED: a later version. */
MUST_USE enum status command_decode(struct slice bytes, struct command *command,
                                    struct error *error);

/* Release the arrays of a decoded command. */
void command_close(struct command *command);

/* Does it add to what is stored, so that a full disk refuses it? Deletes and maintenance do not. */
bool command_adds(const struct command *command);

#endif
