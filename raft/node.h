/* This node's part in the cluster: the consensus thread, and what other threads ask of it.
 *
 * The thread runs a libuv loop with libraft, the peers' connections, group commit and ReadIndex;
 * the logic is in agreement.[ch] and is simulated without threads. Requests are embedded in the
 * caller's memory and come back, once, to the mailbox that they name. */
#ifndef HOLDFAST_RAFT_NODE_H
#define HOLDFAST_RAFT_NODE_H

#include <stdatomic.h>

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/base/mailbox.h"
#include "storage/command.h"

struct node;
struct store;
struct applier;
struct image_spools;
struct archive;
struct mirror;

enum node_exit {
    NODE_EXIT_DAMAGED,  /* A disk, log or record cannot be trusted. */
    NODE_EXIT_REMOVED,  /* This node is no member any more. */
    NODE_EXIT_RESTART,  /* A restart cures it: the supervisor should do that. */
    NODE_EXIT_RELOAD,   /* A state was received: the process starts itself again with it. */
    NODE_EXIT_OUTDATED, /* The cluster has features that this program does not know. */
};

struct node_options {
    const char *name;
    const char *data_directory;
    const char *peer_address;    /* HOST:PORT to listen on and to announce. */
    const char *peer_advertise;  /* NULL: peer_address. */
    const char *api_address;     /* HOST:PORT to announce to the others. */
    const char *initial_cluster; /* "n1=host:port,..." or NULL once the cluster exists. */
    bool joins;                  /* An empty node waits to be taken into a cluster. */
    const char *zone;            /* NULL: none. */
    unsigned target_voters;      /* Up to so many are made of those that join. 0: 3. */
    uint64_t replace_dead_ms;    /* A voter silent for so long loses its seat; 0: never. */
    const char *version;
    unsigned feature_level;         /* That the program knows (storage/feature.h) ... */
    unsigned shown_level;           /* ... and says that it does: holds the cluster. 0: the same. */
    uint64_t transfer_rate;         /* Bytes of state per second to all. 0: LIMIT_TRANSFER_RATE. */
    bool allow_insecure_peers;      /* Peers may talk beyond loopback without TLS. */
    unsigned election_timeout_ms;   /* 0: 150. */
    unsigned heartbeat_ms;          /* 0: 30. */
    uint64_t free_disk_floor_bytes; /* Below it: storage-full. 0: 256 MiB. */
    uint64_t scrub_interval_s;      /* storage/scrub.h; 0: never. */
    /* storage/archive/archive.h. */
    const char *archive;          /* Repositories; NULL: none. */
    const char *archive_key_file; /* NULL: nothing is encrypted. */
    uint64_t archive_delta_ms;    /* 0: the default, as for the others. */
    uint64_t archive_full_ms;
    unsigned archive_retention_days; /* 0: RETENTION_DAYS. */
    uint64_t archive_local_bytes;    /* 0: no bound. */
    const char *mirror;              /* storage/archive/mirror.h; NULL: none. */
    void *data;
    /* Any thread (the consensus thread, or one that met a damaged record): the node cannot go on;
     * @error says why and what to do. */
    void (*on_exit)(void *data, enum node_exit why, const struct error *error);
};

/* Lock the data directory, read the identity, open the store in it, check the log, start the
 * threads (consensus and apply). A damaged record is marked in the data directory, so that the next
 * start refuses, before on_exit() is called with NODE_EXIT_DAMAGED. Returns before the cluster is
 * formed. STATUS_MISMATCH: the directory belongs to another node or cluster. STATUS_CORRUPT: the
 * log or state is damaged, with what to do. */
MUST_USE enum status node_open(const struct node_options *options, struct node **node,
                               struct error *error);

/* Hand leadership over, finish what is in flight (2 s at most), sync, and stop the threads.
 * Requests still waiting come back with STATUS_CLOSED or STATUS_UNCERTAIN. Blocks. */
void node_close(struct node *node);

/* For a node that was offered a place in a cluster: the API addresses of its members, separated by
 * commas; "" for any other. As of node_open(); borrowed. */
const char *node_join_addresses(const struct node *node);

/* The state, for reading, and the applier, for visibility waits; the node owns both. */
struct store *node_store(struct node *node);
struct applier *node_applier(struct node *node);
/* The archive; NULL: there is none. The node's too. */
struct archive *node_archive(struct node *node);
/* The mirror; NULL: there is none. The node's too. */
struct mirror *node_mirror(struct node *node);
/* Images of the state, in files; the node's too. */
struct image_spools *node_spools(struct node *node);

/* A command on its way through the cluster. Zero it, set the first part, submit it; @message comes
 * to @home when @status and @result are filled in. The memory is the node's until then. */
struct submission {
    struct message message; /* Its deliver() is the caller's. */
    struct mailbox *home;
    struct buffer command; /* Encoded (command.h); the node may take it. */
    atomic_bool abandoned; /* The caller no longer waits: it is not sent again. */
    /* Filled in: STATUS_OK and @result (result.h), or why not.
     * STATUS_NO_LEADER, STATUS_BUSY, STATUS_CLOSED: certainly not executed.
     * STATUS_UNCERTAIN: it may or may not have been. */
    enum status status;
    struct buffer result; /* The caller closes it. */
    /* Private. */
    uint64_t submitted_ms;
    size_t counted_bytes; /* Towards LIMIT_PENDING_BYTES. */
};

/* Any thread. STATUS_BUSY: queue limits; nothing was taken and @message does not come. */
MUST_USE enum status node_submit(struct node *node, struct submission *submission);

/* A linearizable read: the index that must be visible before reading. */
struct read_ticket {
    struct message message;
    struct mailbox *home;
    /* Filled in: STATUS_OK and @index, or STATUS_NO_LEADER, STATUS_CLOSED. */
    enum status status;
    uint64_t index;
    /* Private. */
    uint64_t submitted_ms;
};

/* Any thread. STATUS_BUSY as above. */
MUST_USE enum status node_read(struct node *node, struct read_ticket *ticket);

/* A change of the members, or of who leads, as an operator asks for it. */
enum member_change_kind {
    MEMBER_CHANGE_ADD, /* The node at @peer_address, which waits to join. */
    MEMBER_CHANGE_ROLE,
    MEMBER_CHANGE_REMOVE,
    MEMBER_CHANGE_DRAIN, /* It hands leadership over, and takes none until it is undrained or
                            started again. */
    MEMBER_CHANGE_UNDRAIN,
    MEMBER_CHANGE_TRANSFER, /* Leadership goes to @name; "": to whoever can take it best. */
    MEMBER_CHANGE_KINDS
};

/* Why a change was refused. */
enum member_reason {
    MEMBER_REASON_NONE,
    MEMBER_REASON_UNKNOWN,     /* There is no member of that name. */
    MEMBER_REASON_UNREACHABLE, /* The new node did not answer the leader. */
    MEMBER_REASON_NAME_TAKEN,
    MEMBER_REASON_ADDRESS_TAKEN,
    MEMBER_REASON_OTHER_CLUSTER, /* The new node belongs to another one. */
    MEMBER_REASON_NOT_JOINING,   /* The new node does not wait to join. */
    MEMBER_REASON_VERSION,       /* The new node speaks another protocol. */
    MEMBER_REASON_CLOCK,         /* The clocks differ too much. */
    MEMBER_REASON_REMOVED,       /* The new node was a member that was removed. */
    MEMBER_REASON_TOO_MANY,
    MEMBER_REASON_LAST_VOTER,
    MEMBER_REASON_QUORUM,     /* Too few of the resulting voters are well. */
    MEMBER_REASON_INCOMPLETE, /* The member waits for state. */
    MEMBER_REASON_UNHEALTHY,  /* The member itself was not heard of late, or is far behind. */
    MEMBER_REASON_ROLE,       /* The member's role does not allow it. */
    MEMBER_REASON_DRAINED,
    MEMBER_REASON_BUSY, /* Another change has to be done first. */
    MEMBER_REASONS
};

/* Zero it, set the first part, hand it to node_change(); @message comes to @home when the second
 * part is filled in. The memory is the node's until then. */
struct member_change {
    struct message message;
    struct mailbox *home;
    enum member_change_kind kind;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1]; /* ADD. */
    char api_address[LIMIT_ADDRESS_BYTES + 1];  /* ADD. */
    char zone[LIMIT_NAME_BYTES + 1];            /* ADD; "": none. */
    enum member_wanted wanted;                  /* ADD, ROLE. */
    bool is_forced; /* Also while voters are missing, as long as a majority is well. */
    /* Filled in: STATUS_OK: it is so. STATUS_TIMEOUT: it is agreed upon and will be done, and @text
     * says what it waits for. STATUS_PERMISSION: refused, nothing changes, with @reason and @text.
     * STATUS_NO_LEADER: nobody was asked. STATUS_UNCERTAIN: no word came back. STATUS_CLOSED. */
    enum status status;
    enum member_reason reason;
    uint64_t id; /* Of the member; 0 if it is not known. */
    char text[ERROR_MAX_TEXT];
    /* Private. */
    uint64_t number;
    uint64_t begun_ms;
    uint64_t asked_ms;
    uint64_t from; /* TRANSFER: who led when it began. */
    bool was_asked;
    bool was_agreed;
};

/* Any thread. Takes 5 s at most. STATUS_BUSY: too many at a time, or the node is closing. */
MUST_USE enum status node_change(struct node *node, struct member_change *change);

enum node_role { NODE_ROLE_NONE, NODE_ROLE_VOTER, NODE_ROLE_STANDBY, NODE_ROLE_SPARE };
enum node_state {
    NODE_FORMING,
    NODE_JOINING,
    NODE_FOLLOWER,
    NODE_CANDIDATE,
    NODE_LEADER,
    NODE_CLOSING
};

/* How far a member is that receives the state of another one. */
struct state_progress {
    uint64_t donor;            /* 0: nobody, at the moment. */
    uint64_t bytes;            /* Received of this image, and ... */
    uint64_t total_bytes;      /* ... so many there are; 0: not known. */
    uint64_t bytes_per_second; /* Over the last seconds. */
};

struct node_member {
    uint64_t id;
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    char version[32];
    unsigned feature_level; /* That its program knows; 0: it was not heard. */
    enum node_role role;
    uint64_t match_index;     /* As the leader knows it; elsewhere what the member reported. */
    uint64_t applied_index;   /* As the member reported it. */
    uint64_t last_contact_ms; /* Milliseconds since it was heard; UINT64_MAX: never. 0 for self. */
    bool state_differs;       /* It has another state at the same index than this node. */
    bool healthy;             /* Heard within a second and not short of disk. */
    bool needs_state;         /* It is further behind than the leader's log, or new and far, ... */
    struct state_progress receiving; /* ... and so far with getting another member's state. */
    bool is_drained;
    bool is_leaving; /* It is being removed. */
    enum member_wanted wanted;
};

/* Why this node is not ready; bits. */
#define NODE_CAUSE_FORMING     1u  /* The cluster is not formed yet. */
#define NODE_CAUSE_NO_LEADER   2u  /* It sees no leader. */
#define NODE_CAUSE_BEHIND      4u  /* It has not executed what was committed when it started. */
#define NODE_CAUSE_NEEDS_STATE 8u  /* It waits for the state from another member. */
#define NODE_CAUSE_SLOW_DISK   16u /* A log write is pending for over a second. */
#define NODE_CAUSE_CLOSING     32u
#define NODE_CAUSE_JOINING     64u /* It waits to be taken in, or for its first state. */

/* What is wrong though it may serve; bits. */
#define NODE_WARNING_STATE_DIFFERS 1u /* A member has another state than this node. */
#define NODE_WARNING_STATES_SPLIT  2u /* No majority of the voters has the same state. */

/* A copy of what the consensus thread knew at its last turn (100 ms old at most). */
struct node_status {
    char cluster_id[37]; /* UUID, or "" while forming. */
    uint64_t id;
    enum node_state state;
    uint64_t leader_id; /* 0: none known. */
    uint64_t term;
    uint64_t last_index; /* Of this node's log. */
    uint64_t commit_index;
    uint64_t applied_index;
    uint32_t causes;         /* NODE_CAUSE_*: 0 is ready. */
    uint32_t warnings;       /* NODE_WARNING_*. */
    unsigned feature_level;  /* The cluster's (storage/feature.h). */
    uint64_t compared_index; /* The newest at which a majority has the same state; 0: none. */
    bool storage_full;       /* A voter is short of disk: what adds is refused. */
    uint64_t elections;      /* Leader changes seen since start. */
    uint64_t pending_commands;
    uint64_t pending_bytes;
    uint64_t forwarded_bundles;
    uint64_t resubmitted_bundles;
    uint64_t entries_proposed;
    uint64_t commands_proposed; /* With the above: the batch size. */
    uint64_t bytes_proposed;
    uint64_t read_rounds;
    uint64_t reads;
    uint64_t log_appends;
    uint64_t log_append_nanoseconds; /* Sum of the time to write to this node's log. */
    uint64_t snapshots;
    /* State transfer (state_transfer.h). */
    struct state_progress receiving; /* This node's. */
    uint64_t sent_state_bytes;
    uint64_t state_receivers; /* Members that get state from this one. */
    unsigned n_members;
    struct node_member members[LIMIT_MEMBERS];
};

/* Any thread; never waits for the consensus thread. */
void node_status(struct node *node, struct node_status *status);

#endif
