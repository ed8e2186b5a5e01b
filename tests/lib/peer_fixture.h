/* For tests: two nodes' peers on loopback, and raw connections to one, as anyone may make them. */
#ifndef HOLDFAST_TESTS_PEER_FIXTURE_H
#define HOLDFAST_TESTS_PEER_FIXTURE_H

#include "daemon/base/buffer.h"
#include "raft/dial.h"
#include "raft/peer.h"
#include "raft/transport.h"

#define PEER_UUID        "0b0ff1ce-0000-4000-8000-000000000001"
#define PEER_OTHER_UUID  "0b0ff1ce-0000-4000-8000-000000000002"
#define PEER_DEADLINE_MS 20000

struct peer_node {
    struct peer_fixture *fixture;
    struct peers *peers;
    uint64_t id;
    const char *cluster_id;
    enum frame_identity identity;
    bool is_up;
    unsigned ups;
    unsigned downs;
    unsigned frames;
    uint64_t last_round; /* Of the last frame. */
    size_t bytes;        /* Of bundles that came. */
    unsigned hellos;     /* To form a cluster. */
    uint64_t removed_id; /* One that was a member; 0: none. */
    unsigned removals;   /* How often it was told that it is none any more. */
    struct transport *transport;
    bool meets_strangers; /* Takes the other for a member when it comes. */
    /* What becomes of a connection for state transfer; NULL: it is closed. */
    void (*on_bulk)(struct peer_node *node, uint64_t peer, int fd);
};

struct peer_fixture {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct peer_node nodes[2];
};

/* For cmocka: two nodes that listen, and are not told of each other yet; and their end. */
int peer_setup(void **state);
int peer_teardown(void **state);

/* As in struct peers_options: where member @id listens. */
bool peer_lookup(void *data, uint64_t id, char address[LIMIT_ADDRESS_BYTES + 1]);

void peer_open_node(struct peer_node *node, const char *address);
void peer_close_node(struct peer_node *node);

/* Tell the two of each other, so that they connect. */
void peer_meet(struct peer_fixture *f);
bool peer_both_up(struct peer_fixture *f);

/* Run the loop until @done says so. */
void peer_run_until(struct peer_fixture *f, bool (*done)(struct peer_fixture *f));

/* A connection without any manners. */
int peer_raw_connect(const struct peer_node *node);
void peer_raw_write(int fd, const void *bytes, size_t size);
/* Run the loop until the node has ended the connection; gives what it said before. */
void peer_raw_read_to_end(struct peer_fixture *f, int fd, struct buffer *said);

/* What the other node would say. */
struct frame peer_good_hello(enum frame_purpose purpose);
/* Say @frame to node 1 and expect to be refused with @status and a reason with @word. */
void peer_assert_refused(struct peer_fixture *f, const struct frame *frame, enum status status,
                         const char *word);

#endif
