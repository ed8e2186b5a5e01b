/* Agreement: what this node does to have commands executed by the whole cluster, once, in one
 * order.
 *
 * The logic of the consensus thread without the thread: group commit, forwarding to the leader,
 * ReadIndex, the cluster's time, membership, watchdogs, over the seam (libraft). It is driven by
 * events with the time as a parameter and acts through callbacks, so that a simulator can run whole
 * clusters on one thread. node.[ch] is the shell that feeds it from a loop.
 *
 * How a command goes:
 * 1. agreement_submit() queues it. agreement_flush(), at the end of a loop turn, puts all that is
 *    queued into one bundle, numbered, stamped with the leader's term, and gives it to the leader
 *    (itself, or by FRAME_FORWARD on the control connection).
 * 2. The leader takes bundles of its own term only, each origin's in sequence (a repetition is
 *    dropped), and proposes them, several bundles in one entry, at most two entries in flight.
 * 3. Every node executes the entry. The one where the command came from answers its client from its
 *    own execution. The leader tells followers the new commit index at once (an empty
 *    AppendEntries), so that they need not wait for the next heartbeat.
 *
 * What can go wrong:
 * - The leader is lost: once an entry of a later term is executed here and the bundle was not, it
 *   never will be, and it is sent again to the new leader. Until then its fate is open; the api
 *   thread answers 504 after 5 s.
 * - The control connection breaks: bundles of the same term are sent again; the leader drops what
 * it took already.
 * - No leader for 1 s: what was not sent comes back as STATUS_NO_LEADER. */
#ifndef HOLDFAST_RAFT_AGREEMENT_H
#define HOLDFAST_RAFT_AGREEMENT_H

#include "raft/frame.h"
#include "raft/membership.h"
#include "raft/node.h"
#include "storage/applier.h"

struct agreement;
struct seam;

/* Where a command came from, and where its outcome goes. */
struct pending_bundle {
    struct link link;
    uint64_t sequence;
    uint64_t term;       /* Stamped with; 0 while not sent. */
    uint64_t connection; /* Which of the connections to the leader it was last sent on. */
    bool was_repeated;   /* Sent more than once: that one copy was refused says nothing. */
    uint32_t n_submissions;
    /* In the order of the commands; NULL once answered. Empty for what the leader itself wants. */
    struct submission **submissions;
    struct buffer encoded; /* The bundle, kept for sending it again. */
};

/* What agreement attaches to struct applied as data, for the shell's on_result(). */
struct committed_bundles {
    uint32_t n_bundles;
    struct pending_bundle **own; /* By bundle of the entry; NULL for those of other nodes. */
};

struct agreement_options {
    uint64_t self;
    uint64_t boot; /* Random, drawn at start. */
    const char *cluster_id;
    unsigned feature_level; /* That this program knows, and says so (storage/feature.h). */
    uint64_t free_disk_floor_bytes;
    unsigned election_timeout_ms;
    uint64_t pending_commands;    /* 0: LIMIT_PENDING_COMMANDS. */
    uint64_t pending_bytes;       /* 0: LIMIT_PENDING_BYTES. */
    uint64_t unexecuted_bytes;    /* 0: LIMIT_UNEXECUTED_BYTES. */
    uint64_t state_applied_index; /* What the state holds at start (storage/machine.h) ... */
    uint64_t state_time_ms;       /* ... and its time: the cluster's time never goes back. */
    const uint64_t *state_hash;   /* Its hash, two words, copied; NULL: not known. */
    unsigned target_voters;       /* Up to so many of those that join get a vote; 0: 3. */
    uint64_t replace_dead_ms;     /* A voter silent for so long loses its seat; 0: never. */
    void *data;
    /* Queue @frame towards @peer on its control connection; copied. False if there is none: the
     * frame is lost. */
    bool (*send)(void *data, uint64_t peer, const struct frame *frame);
    /* Give work to the executor (the apply thread, or the simulator); owned by the callee until
     * agreement_executed() gives it back. */
    void (*execute)(void *data, struct applied *work);
    /* The outcome of @submission is filled in: give it back to its owner. */
    void (*answer)(void *data, struct submission *submission);
    void (*answer_read)(void *data, struct read_ticket *ticket);
    size_t (*executor_queued_bytes)(void *data);
    uint64_t (*executor_next_due_ms)(void *data);
    void (*exit)(void *data, enum node_exit why, const struct error *error);
    /* The outcome of @change is filled in: give it back to its owner. */
    void (*answer_change)(void *data, struct member_change *change);
    /* Connect to a node that waits to join, and tell of it by agreement_met(). One at a time. */
    void (*dial)(void *data, const char *peer_address);
};

/* Takes over the seam's callbacks, so it comes before seam_start() (and agreement_close() after the
 * last event of the seam). */
MUST_USE enum status agreement_open(const struct agreement_options *options, struct seam *seam,
                                    uint64_t now_ms, struct agreement **agreement,
                                    struct error *error);

/* Events. @now_ms is monotonic time; @wall_ms is the machine's clock. */
void agreement_submit(struct agreement *agreement, struct submission *submission, uint64_t now_ms);
void agreement_read(struct agreement *agreement, struct read_ticket *ticket, uint64_t now_ms);
/* A frame arrived from @peer, which proved that it is that member. */
void agreement_frame(struct agreement *agreement, uint64_t peer, const struct frame *frame,
                     uint64_t now_ms);
/* The control connection to @peer is up (again) or down. */
void agreement_peer_up(struct agreement *agreement, uint64_t peer, uint64_t now_ms);
void agreement_peer_down(struct agreement *agreement, uint64_t peer, uint64_t now_ms);
/* Work came back from the executor: executed or durable. */
void agreement_executed(struct agreement *agreement, struct applied *work, uint64_t now_ms);
/* Every 10 ms or so. @free_disk_bytes of this node's data directory. */
void agreement_tick(struct agreement *agreement, uint64_t now_ms, uint64_t wall_ms,
                    uint64_t free_disk_bytes);

/* Members. The table was read from the state; copied. Agreement does nothing with older ones than
 * it has. */
void agreement_set_table(struct agreement *agreement, const struct membership_table *table,
                         uint64_t now_ms);
/* How far this node is with receiving state, for the others to see. */
void agreement_set_receiving(struct agreement *agreement, const struct state_progress *receiving);
/* Takes @change until it is answered. Called again and again, it is the same as once. */
void agreement_change(struct agreement *agreement, struct member_change *change, uint64_t now_ms);
/* The node that was to be dialled said who it is: true if it is to be offered a place, with the id
 * @random unless it has one already. @offer borrows from agreement until the next event. */
MUST_USE bool agreement_met(struct agreement *agreement, const struct frame_hello *hello,
                            uint64_t random, struct frame *offer, uint64_t now_ms);
/* It was not reached, or has answered. MEMBER_REASON_NONE: it has stored the offer. */
void agreement_joined(struct agreement *agreement, enum member_reason why, const char *text,
                      uint64_t now_ms);

/* The end of a loop turn: look at what libraft did, send what is queued, start a ReadIndex round.
 * Cheap when nothing is to be done. */
void agreement_flush(struct agreement *agreement, uint64_t now_ms);
/* Commands are held back for a moment, to gather more, or others are to be told what is committed:
 * in how many milliseconds there should be another turn; 0: nothing waits. As of the last
 * agreement_flush(). */
unsigned agreement_next_turn_ms(const struct agreement *agreement);

/* Other than 0: this node needs a state that has executed this index (state_transfer.h). */
uint64_t agreement_needed_index(const struct agreement *agreement);
/* Somebody gets a state, and half of the log that is kept for it until then is written. */
bool agreement_is_state_urgent(const struct agreement *agreement);
/* The members that may have it, the best to ask first. */
unsigned agreement_donors(const struct agreement *agreement, uint64_t ids[LIMIT_MEMBERS]);

/* Begin to leave: hand leadership over; nothing new is taken. */
void agreement_leave(struct agreement *agreement, uint64_t now_ms);
/* True when nothing of this node is in flight and it does not lead (or cannot hand over). */
bool agreement_has_left(const struct agreement *agreement);

/* Fill in all that agreement knows (not the members' names and addresses). */
void agreement_status(struct agreement *agreement, uint64_t now_ms, struct node_status *status);

/* Answer what is still waiting (STATUS_CLOSED, or STATUS_UNCERTAIN if it was sent), release. */
void agreement_close(struct agreement *agreement);

#endif
