/* What peers say to each other on a control connection, and the handshake of every connection.
 *
 *   frame      u32 size of what follows the checksum, u64 checksum (XXH3-64 of it), u8 type, fields
 *
 * All numbers are little-endian; an id or string has its length in front. A frame that fails its
 * checksum, is longer than LIMIT_FRAME_BYTES, has an unknown type or fields out of bounds closes
 * the connection. Pure functions, any thread; what is decoded borrows from the bytes. */
#ifndef HOLDFAST_RAFT_FRAME_H
#define HOLDFAST_RAFT_FRAME_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "raft/node.h"

#define FRAME_PROTOCOL     2
#define FRAME_HEADER_BYTES 12

enum frame_type {
    FRAME_NONE,
    /* The handshake, the first frame of each side; both sides say who they are. */
    FRAME_HELLO,
    FRAME_WELCOME,
    FRAME_REFUSED,
    /* Bootstrap, on a connection with PURPOSE_BOOTSTRAP (bootstrap.h). */
    FRAME_BOOTSTRAP_PREPARE,
    FRAME_BOOTSTRAP_PREPARED,
    FRAME_BOOTSTRAP_COMMIT,
    FRAME_BOOTSTRAP_COMMITTED,
    /* Control. */
    FRAME_FORWARD,         /* A bundle for the leader. */
    FRAME_FORWARD_REFUSED, /* It was certainly not proposed. */
    FRAME_READ_ASK,        /* Follower to leader: what must I wait for? */
    FRAME_READ_ANSWER,
    FRAME_READ_PROBE, /* Leader to voters: what is your term? */
    FRAME_READ_TERM,
    FRAME_STATUS,     /* Every 100 ms to every peer. */
    FRAME_MARKS,      /* Every second: what the sender's state is. */
    FRAME_CHANGE_ASK, /* To the leader: a change of the members that an operator asks for. */
    FRAME_CHANGE_ANSWER,
    /* Joining, on a connection with PURPOSE_JOIN that the leader made to the new node. */
    FRAME_JOIN_OFFER,
    FRAME_JOIN_ANSWER,
    /* State transfer, on a connection with PURPOSE_BULK (state_sender.h). */
    FRAME_STATE_ASK,   /* Receiver: I need an image. */
    FRAME_STATE_OFFER, /* Sender: this one, or none. */
    FRAME_STATE_PULL,  /* Receiver: send me this piece of it. */
    FRAME_STATE_PIECE, /* Sender: a part of a piece; parts come in order. */
    FRAME_TYPES
};

enum frame_purpose {
    PURPOSE_RAFT = 1,
    PURPOSE_CONTROL,
    PURPOSE_BULK,
    PURPOSE_BOOTSTRAP,
    PURPOSE_JOIN
};

/* How far the sender's own identity is. */
enum frame_identity { IDENTITY_EMPTY, IDENTITY_PENDING, IDENTITY_MEMBER };

struct frame_hello { /* FRAME_HELLO and FRAME_WELCOME. */
    uint16_t protocol;
    enum frame_purpose purpose;
    enum frame_identity identity;
    struct slice cluster_id; /* UUID text; empty with IDENTITY_EMPTY. */
    uint64_t id;             /* The sender; 0 with IDENTITY_EMPTY. */
    uint64_t expected_id;    /* Whom the sender means to reach; 0: whoever is there. */
    struct slice name;
    struct slice peer_address;
    struct slice api_address;
    struct slice version;
    uint8_t feature_level; /* That its program knows (storage/feature.h). */
};

struct frame_refused {
    enum status status;
    struct slice reason; /* A sentence. */
};

struct frame_bootstrap_member {
    uint64_t id;
    struct slice name;
    struct slice peer_address;
    struct slice api_address;
};

struct frame_bootstrap { /* PREPARE, COMMIT; PREPARED and COMMITTED repeat the cluster id only. */
    struct slice cluster_id;
    uint32_t n_members;
    struct frame_bootstrap_member members[LIMIT_MEMBERS];
};

struct frame_forward {
    uint64_t term;
    struct slice bundle; /* Encoded (storage/entry.h). */
};

enum refusal { REFUSAL_NOT_LEADER, REFUSAL_TERM, REFUSAL_BUSY, REFUSAL_INVALID };

struct frame_forward_refused {
    uint64_t term; /* Of the refused frame. */
    uint64_t boot;
    uint64_t sequence;
    enum refusal refusal;
};

struct frame_read {
    uint64_t round; /* The asker's number. */
    uint64_t term;  /* ASK: of the leader meant. ANSWER, PROBE, TERM: of the sender. */
    uint64_t index; /* ANSWER. */
    bool accepted;  /* ANSWER: index is valid. */
};

struct frame_status {
    uint64_t wall_ms;
    uint64_t free_disk_bytes;
    bool short_of_disk;
    uint64_t term;
    uint64_t leader_id;
    uint64_t last_index;
    uint64_t applied_index;
    bool storage_full; /* From the leader: some voter is short of disk. */
    uint64_t time_ms;  /* The cluster's time as the sender knows it; 0: it does not. */
    bool needs_state;  /* The sender is behind the leader's log, and waits ... */
    struct state_progress receiving; /* ... for this. */
    uint8_t feature_level;           /* That the sender's program knows. */
};

#define FRAME_MAX_MARKS 8u

/* The hash of the sender's state when it had executed @index. */
struct frame_mark {
    uint64_t index;
    uint64_t hash[2];
};

struct frame_marks {
    unsigned n_marks;
    struct frame_mark marks[FRAME_MAX_MARKS]; /* In no order (comparison.h). */
};

/* A part of a piece in one frame. */
#define FRAME_STATE_BYTES (256u << 10)

struct frame_state_ask {
    uint64_t min_index; /* The state must have executed this. */
};

struct frame_state_offer {
    enum status status;  /* STATUS_OK, or why there is none; then @reason is a sentence. */
    struct slice reason; /* Else the rest holds: */
    uint64_t index;      /* that the state has executed, */
    uint64_t sum[2];     /* the sum of its records' hashes, */
    uint64_t pieces;     /* how many there are, */
    uint64_t bytes;      /* and their size in all. */
};

struct frame_state_pull {
    uint64_t piece; /* From 0. */
};

struct frame_state_piece {
    uint64_t piece;
    uint32_t size;   /* Of the whole piece. */
    uint32_t offset; /* Of these bytes in it. */
    struct slice bytes;
};

/* What of struct member_change (node.h) goes to the leader. Asked again and again until the answer
 * is final; the same number stays the same change. */
struct frame_change_ask {
    uint64_t number; /* The asker's. */
    enum member_change_kind kind;
    uint64_t id;   /* Of the member; 0: only its name is known. */
    uint64_t from; /* TRANSFER: who led when it began. */
    enum member_wanted wanted;
    bool is_forced;
    struct slice name;
    struct slice peer_address;
    struct slice api_address;
    struct slice zone;
};

struct frame_change_answer {
    uint64_t number;
    unsigned verdict; /* enum membership_verdict: MAY means that it is being looked at. */
    enum member_reason reason;
    uint64_t id;
    struct slice text;
};

#define FRAME_VERDICTS 4u

struct frame_join_offer {
    struct slice cluster_id;
    uint64_t id; /* That the new node is to have. */
    uint64_t wall_ms;
    uint32_t n_members; /* Whom it can turn to. */
    struct frame_bootstrap_member members[LIMIT_MEMBERS];
};

struct frame_join_answer {
    enum member_reason reason; /* NONE: accepted, and stored. */
    struct slice text;
};

struct frame {
    enum frame_type type;
    union {
        struct frame_hello hello;
        struct frame_refused refused;
        struct frame_bootstrap bootstrap;
        struct frame_forward forward;
        struct frame_forward_refused forward_refused;
        struct frame_read read;
        struct frame_status status;
        struct frame_marks marks;
        struct frame_state_ask state_ask;
        struct frame_state_offer state_offer;
        struct frame_state_pull state_pull;
        struct frame_state_piece state_piece;
        struct frame_change_ask change_ask;
        struct frame_change_answer change_answer;
        struct frame_join_offer join_offer;
        struct frame_join_answer join_answer;
    };
};

/* Append the encoded frame. */
void frame_encode(const struct frame *frame, struct buffer *buffer);

/* How many bytes the frame at the start of @bytes has, header included; 0 if that is not known yet.
 * STATUS_TOO_LARGE beyond LIMIT_FRAME_BYTES. */
MUST_USE enum status frame_size(struct slice bytes, size_t *size);

/* Read one whole frame. STATUS_CORRUPT, STATUS_UNSUPPORTED. */
MUST_USE enum status frame_decode(struct slice bytes, struct frame *frame, struct error *error);

#endif
