#include "raft/bootstrap.h"

#include <stdlib.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "raft/address.h"

/* What the connection to a peer has shown. */
enum peer_state {
    PEER_UNKNOWN, /* No connection. */
    PEER_EMPTY,
    PEER_PENDING,   /* For our cluster; it was not asked on this connection yet. */
    PEER_PREPARED,  /* It answered PREPARE on this connection. */
    PEER_COMMITTED, /* A member of our cluster. */
};

struct named {
    char name[LIMIT_NAME_BYTES + 1];
    char peer_address[LIMIT_ADDRESS_BYTES + 1];
};

struct peer {
    unsigned member; /* In the list. */
    enum peer_state state;
    bool was_asked; /* PREPARE or COMMIT is on its way, on this connection. */
    char api_address[LIMIT_ADDRESS_BYTES + 1];
};

struct bootstrap {
    struct bootstrap_options options;
    char name[LIMIT_NAME_BYTES + 1];
    char api_address[LIMIT_ADDRESS_BYTES + 1];
    struct identity identity;
    unsigned n_named; /* Of the list, in its order; the first one coordinates. */
    struct named named[LIMIT_MEMBERS];
    unsigned self; /* In the list. */
    unsigned n_peers;
    struct peer peers[LIMIT_MEMBERS];
};

static bool copy_slice(struct slice from, char *to, size_t size)
{
    if (from.size == 0 || from.size >= size) {
        return false;
    }
    memcpy(to, from.data, from.size);
    to[from.size] = '\0';
    return true;
}

/* --- The list --- */

/* One "name=HOST:PORT". The address is kept in the form that all nodes write it in. */
static enum status parse_named(struct slice text, struct named *named, struct error *error)
{
    const uint8_t *equals = text.size == 0 ? NULL : memchr(text.data, '=', text.size);
    struct address address;
    enum status status;

    if (equals == NULL || !copy_slice(slice_of(text.data, (size_t)(equals - text.data)),
                                      named->name, sizeof named->name)) {
        return error_set(error, STATUS_INVALID,
                         "initial cluster: NAME=HOST:PORT is meant, not \"%.*s\"", (int)text.size,
                         (const char *)text.data);
    }
    status = address_parse(slice_from(text, (size_t)(equals - text.data) + 1), &address, error);
    if (status == STATUS_OK && address.port == 0) {
        status = error_set(error, STATUS_INVALID, "node \"%s\" has no port", named->name);
    }
    if (status != STATUS_OK) {
        return error_prefix(error, "initial cluster");
    }
    address_format(&address, named->peer_address);
    return STATUS_OK;
}

static enum status refuse_doubles(const struct named *named, unsigned n, struct error *error)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(named[i].name, named[n].name) == 0 ||
            strcmp(named[i].peer_address, named[n].peer_address) == 0) {
            return error_set(error, STATUS_INVALID,
                             "initial cluster: %s=%s and %s=%s have a name or address in common",
                             named[i].name, named[i].peer_address, named[n].name,
                             named[n].peer_address);
        }
    }
    return STATUS_OK;
}

static enum status parse_list(const char *list, struct named *named, unsigned *n_named,
                              struct error *error)
{
    struct slice rest = slice_of_string(list);
    unsigned n = 0;

    for (;;) {
        const uint8_t *comma = rest.size == 0 ? NULL : memchr(rest.data, ',', rest.size);
        size_t size = comma == NULL ? rest.size : (size_t)(comma - rest.data);
        enum status status;

        if (n == LIMIT_MEMBERS) {
            return error_set(error, STATUS_INVALID, "initial cluster: more than %u nodes",
                             LIMIT_MEMBERS);
        }
        status = parse_named(slice_of(rest.data, size), &named[n], error);
        if (status == STATUS_OK) {
            status = refuse_doubles(named, n, error);
        }
        if (status != STATUS_OK) {
            return status;
        }
        n++;
        if (comma == NULL) {
            *n_named = n;
            return STATUS_OK;
        }
        rest = slice_from(rest, size + 1);
    }
}

static enum status find_self(struct bootstrap *bootstrap, struct error *error)
{
    for (unsigned i = 0; i < bootstrap->n_named; i++) {
        const struct named *named = &bootstrap->named[i];

        if (strcmp(named->name, bootstrap->name) != 0) {
            continue;
        }
        if (strcmp(named->peer_address, bootstrap->options.peer_address) != 0) {
            return error_set(error, STATUS_INVALID,
                             "initial cluster names this node %s=%s, but its own peer address is "
                             "%s",
                             named->name, named->peer_address, bootstrap->options.peer_address);
        }
        bootstrap->self = i;
        return STATUS_OK;
    }
    return error_set(error, STATUS_INVALID, "initial cluster does not name this node \"%s\"",
                     bootstrap->name);
}

/* How many members of @identity stand in the list with name and address; and with the name. */
static void compare(const struct named *named, unsigned n_named, const struct identity *identity,
                    unsigned *n_same, unsigned *n_same_name)
{
    *n_same = 0;
    *n_same_name = 0;
    for (unsigned i = 0; i < n_named; i++) {
        for (unsigned j = 0; j < identity->n_members; j++) {
            if (strcmp(named[i].name, identity->members[j].name) == 0) {
                ++*n_same_name;
                *n_same += strcmp(named[i].peer_address, identity->members[j].peer_address) == 0;
            }
        }
    }
}

static enum status other_cluster(const struct identity *identity, struct error *error)
{
    return error_set(error, STATUS_MISMATCH,
                     "the data directory belongs to cluster %s, which was formed by %s=%s and "
                     "others; the initial cluster names another: use the right directory, or leave "
                     "the initial cluster away",
                     identity->cluster_id, identity->members[0].name,
                     identity->members[0].peer_address);
}

enum status bootstrap_check_list(const char *initial_cluster, const struct identity *identity,
                                 struct error *error)
{
    struct named *named = memory_new_zeroed(LIMIT_MEMBERS, sizeof *named);
    unsigned n_named;
    unsigned n_same;
    unsigned n_same_name;
    enum status status = parse_list(initial_cluster, named, &n_named, error);

    CHECK(identity->stage == IDENTITY_MEMBER);
    if (status == STATUS_OK && identity->n_members > 0) {
        compare(named, n_named, identity, &n_same, &n_same_name);
        /* Single nodes may have moved since; names stay. */
        if (n_same == 0 || n_same_name != n_named || n_named != identity->n_members) {
            status = other_cluster(identity, error);
        }
    }
    free(named);
    return status;
}

/* --- Opening --- */

static enum status check_pending(const struct bootstrap *bootstrap, struct error *error)
{
    unsigned n_same;
    unsigned n_same_name;

    if (bootstrap->identity.stage == IDENTITY_EMPTY) {
        return STATUS_OK;
    }
    compare(bootstrap->named, bootstrap->n_named, &bootstrap->identity, &n_same, &n_same_name);
    if (n_same == bootstrap->n_named && n_same == bootstrap->identity.n_members) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_MISMATCH,
                     "this node began to form cluster %s with other nodes than the initial cluster "
                     "names: name the same, or remove the data directories of all of them",
                     bootstrap->identity.cluster_id);
}

bool bootstrap_coordinates(const struct bootstrap *bootstrap)
{
    return bootstrap->self == 0;
}

static enum status step(struct bootstrap *bootstrap, struct error *error);

enum status bootstrap_open(const struct bootstrap_options *options, const struct identity *identity,
                           struct bootstrap **bootstrap, struct error *error)
{
    struct bootstrap *opened = memory_new_zeroed(1, sizeof *opened);
    enum status status;

    opened->options = *options;
    opened->identity = *identity;
    CHECK(copy_slice(slice_of_string(options->name), opened->name, sizeof opened->name));
    CHECK(copy_slice(slice_of_string(options->api_address), opened->api_address,
                     sizeof opened->api_address));
    status = parse_list(options->initial_cluster, opened->named, &opened->n_named, error);
    if (status == STATUS_OK) {
        status = find_self(opened, error);
    }
    if (status == STATUS_OK) {
        status = check_pending(opened, error);
    }
    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    opened->options.peer_address = opened->named[opened->self].peer_address;
    for (unsigned i = 0; i < opened->n_named; i++) {
        if (i != opened->self) {
            opened->peers[opened->n_peers++].member = i;
        }
    }
    status = step(opened, error); /* A cluster of one has nobody to wait for. */
    if (status != STATUS_OK) {
        free(opened);
        return status;
    }
    *bootstrap = opened;
    return STATUS_OK;
}

void bootstrap_close(struct bootstrap *bootstrap)
{
    free(bootstrap);
}

unsigned bootstrap_peers(const struct bootstrap *bootstrap)
{
    return bootstrap->n_peers;
}

static const struct named *named_peer(const struct bootstrap *bootstrap, unsigned peer)
{
    CHECK(peer < bootstrap->n_peers);
    return &bootstrap->named[bootstrap->peers[peer].member];
}

const char *bootstrap_peer_address(const struct bootstrap *bootstrap, unsigned peer)
{
    return named_peer(bootstrap, peer)->peer_address;
}

const struct identity *bootstrap_identity(const struct bootstrap *bootstrap)
{
    return &bootstrap->identity;
}

static bool all_peers_are(const struct bootstrap *bootstrap, enum peer_state at_least)
{
    for (unsigned i = 0; i < bootstrap->n_peers; i++) {
        if (bootstrap->peers[i].state < at_least) {
            return false;
        }
    }
    return true;
}

bool bootstrap_is_settled(const struct bootstrap *bootstrap)
{
    return bootstrap->identity.stage == IDENTITY_MEMBER && all_peers_are(bootstrap, PEER_COMMITTED);
}

void bootstrap_describe(const struct bootstrap *bootstrap, struct buffer *text)
{
    for (unsigned i = 0; i < bootstrap->n_peers; i++) {
        if (bootstrap->peers[i].state == PEER_UNKNOWN) {
            buffer_append_format(text, "%s%s=%s", text->size == 0 ? "" : ",",
                                 named_peer(bootstrap, i)->name,
                                 bootstrap_peer_address(bootstrap, i));
        }
    }
}

/* --- What this node becomes --- */

static enum status become(struct bootstrap *bootstrap, const struct identity *next,
                          struct error *error)
{
    enum status status = bootstrap->options.store(bootstrap->options.data, next, error);

    if (status == STATUS_OK) {
        bootstrap->identity = *next;
    }
    return status;
}

static enum status become_member(struct bootstrap *bootstrap, struct error *error)
{
    struct identity next = bootstrap->identity;

    CHECK(next.stage == IDENTITY_PENDING);
    next.stage = IDENTITY_MEMBER;
    return become(bootstrap, &next, error);
}

/* Step 2 of the good path. */
static enum status draw_cluster(struct bootstrap *bootstrap, struct error *error)
{
    struct identity next = {.stage = IDENTITY_PENDING, .n_members = bootstrap->n_named};

    identity_draw_cluster_id(next.cluster_id);
    memcpy(next.name, bootstrap->name, sizeof next.name);
    for (unsigned i = 0; i < bootstrap->n_named; i++) {
        next.members[i].id = identity_draw_id();
        memcpy(next.members[i].name, bootstrap->named[i].name, sizeof next.members[i].name);
        memcpy(next.members[i].peer_address, bootstrap->named[i].peer_address,
               sizeof next.members[i].peer_address);
    }
    for (unsigned i = 0; i < bootstrap->n_peers; i++) {
        const struct peer *peer = &bootstrap->peers[i];

        memcpy(next.members[peer->member].api_address, peer->api_address, sizeof peer->api_address);
    }
    memcpy(next.members[bootstrap->self].api_address, bootstrap->api_address,
           sizeof bootstrap->api_address);
    next.id = next.members[bootstrap->self].id;
    return become(bootstrap, &next, error);
}

/* --- Frames --- */

static void fill_members(const struct identity *identity, struct frame_bootstrap *bootstrap)
{
    bootstrap->n_members = identity->n_members;
    for (unsigned i = 0; i < identity->n_members; i++) {
        const struct identity_member *member = &identity->members[i];

        bootstrap->members[i] = (struct frame_bootstrap_member){
            .id = member->id,
            .name = slice_of_string(member->name),
            .peer_address = slice_of_string(member->peer_address),
            .api_address = slice_of_string(member->api_address),
        };
    }
}

static void ask(struct bootstrap *bootstrap, unsigned peer, enum frame_type type)
{
    struct frame frame = {.type = type};

    frame.bootstrap.cluster_id = slice_of_string(bootstrap->identity.cluster_id);
    fill_members(&bootstrap->identity, &frame.bootstrap);
    bootstrap->peers[peer].was_asked = true;
    bootstrap->options.send(bootstrap->options.data, peer, &frame);
}

/* Ask all peers that are at least @from, not yet as far as @wanted, and were not asked for it. */
static void ask_all(struct bootstrap *bootstrap, enum frame_type type, enum peer_state from,
                    enum peer_state wanted)
{
    for (unsigned i = 0; i < bootstrap->n_peers; i++) {
        struct peer *peer = &bootstrap->peers[i];

        if (peer->state >= from && peer->state < wanted && !peer->was_asked) {
            ask(bootstrap, i, type);
        }
    }
}

static void forget_asking(struct bootstrap *bootstrap)
{
    for (unsigned i = 0; i < bootstrap->n_peers; i++) {
        bootstrap->peers[i].was_asked = false;
    }
}

/* The coordinator goes as far as what it knows allows. */
static enum status step(struct bootstrap *bootstrap, struct error *error)
{
    enum status status = STATUS_OK;

    if (!bootstrap_coordinates(bootstrap)) {
        return STATUS_OK;
    }
    if (bootstrap->identity.stage == IDENTITY_EMPTY && all_peers_are(bootstrap, PEER_EMPTY)) {
        status = draw_cluster(bootstrap, error);
    }
    if (status == STATUS_OK && bootstrap->identity.stage == IDENTITY_PENDING) {
        ask_all(bootstrap, FRAME_BOOTSTRAP_PREPARE, PEER_EMPTY, PEER_PREPARED);
        if (all_peers_are(bootstrap, PEER_PREPARED)) {
            status = become_member(bootstrap, error);
            forget_asking(bootstrap);
        }
    }
    if (status == STATUS_OK && bootstrap->identity.stage == IDENTITY_MEMBER) {
        ask_all(bootstrap, FRAME_BOOTSTRAP_COMMIT, PEER_PENDING, PEER_COMMITTED);
    }
    return status;
}

/* --- What others are --- */

static bool same_cluster(const struct bootstrap *bootstrap, struct slice cluster_id)
{
    return bootstrap->identity.stage != IDENTITY_EMPTY &&
           slice_equals_string(cluster_id, bootstrap->identity.cluster_id);
}

static enum status refuse_to_form(const struct bootstrap *bootstrap,
                                  const struct frame_hello *hello, struct error *error)
{
    bool is_member = hello->identity == IDENTITY_MEMBER;

    if (bootstrap->identity.stage != IDENTITY_EMPTY) {
        return error_set(error, STATUS_MISMATCH,
                         "node \"%.*s\" %s cluster %.*s, but this node began to form %s: remove "
                         "the data directory of the one that is wrong",
                         (int)hello->name.size, (const char *)hello->name.data,
                         is_member ? "is a member of" : "prepares for", (int)hello->cluster_id.size,
                         (const char *)hello->cluster_id.data, bootstrap->identity.cluster_id);
    }
    if (is_member) {
        return error_set(error, STATUS_EXISTS,
                         "this node is empty, but node \"%.*s\" is a member of cluster %.*s "
                         "already: join that cluster as a new member instead of forming one",
                         (int)hello->name.size, (const char *)hello->name.data,
                         (int)hello->cluster_id.size, (const char *)hello->cluster_id.data);
    }
    return error_set(error, STATUS_EXISTS,
                     "this node is to form the cluster and is empty, but node \"%.*s\" prepares "
                     "for cluster %.*s already: if the data of this node was lost before the "
                     "cluster was formed, remove the data directories of all nodes and start again",
                     (int)hello->name.size, (const char *)hello->name.data,
                     (int)hello->cluster_id.size, (const char *)hello->cluster_id.data);
}

/* What follows from the other's identity, whoever made the connection. */
static enum status judge(struct bootstrap *bootstrap, const struct frame_hello *hello,
                         struct error *error)
{
    enum frame_identity own = bootstrap->identity.stage;

    if (hello->identity == IDENTITY_EMPTY || own == IDENTITY_MEMBER) {
        return STATUS_OK; /* A member is what it is; others adapt or give up. */
    }
    if (hello->identity == IDENTITY_PENDING) {
        /* An empty node may be about to be asked itself; only the one who asks cannot be empty. */
        bool fits = own == IDENTITY_EMPTY ? !bootstrap_coordinates(bootstrap)
                                          : same_cluster(bootstrap, hello->cluster_id);

        return fits ? STATUS_OK : refuse_to_form(bootstrap, hello, error);
    }
    if (!same_cluster(bootstrap, hello->cluster_id)) {
        return refuse_to_form(bootstrap, hello, error);
    }
    return become_member(bootstrap, error);
}

/* Only those that the list names have a say. */
static bool is_named(const struct bootstrap *bootstrap, const struct frame_hello *hello)
{
    for (unsigned i = 0; i < bootstrap->n_named; i++) {
        if (i != bootstrap->self && slice_equals_string(hello->name, bootstrap->named[i].name) &&
            slice_equals_string(hello->peer_address, bootstrap->named[i].peer_address)) {
            return true;
        }
    }
    return false;
}

enum status bootstrap_heard(struct bootstrap *bootstrap, const struct frame_hello *hello,
                            struct error *error)
{
    if (!is_named(bootstrap, hello)) {
        return STATUS_OK;
    }
    return judge(bootstrap, hello, error);
}

static enum peer_state state_of(const struct bootstrap *bootstrap, const struct frame_hello *hello)
{
    if (hello->identity == IDENTITY_EMPTY) {
        return PEER_EMPTY;
    }
    if (!same_cluster(bootstrap, hello->cluster_id)) {
        return PEER_UNKNOWN; /* This node is empty, and not the one to ask. */
    }
    return hello->identity == IDENTITY_PENDING ? PEER_PENDING : PEER_COMMITTED;
}

enum status bootstrap_met(struct bootstrap *bootstrap, unsigned peer,
                          const struct frame_hello *welcome, struct error *error)
{
    const struct named *named = named_peer(bootstrap, peer);
    struct peer *met = &bootstrap->peers[peer];
    enum status status;

    if (!slice_equals_string(welcome->name, named->name)) {
        return error_set(error, STATUS_INVALID,
                         "initial cluster says %s=%s, but node \"%.*s\" answers there", named->name,
                         named->peer_address, (int)welcome->name.size,
                         (const char *)welcome->name.data);
    }
    status = judge(bootstrap, welcome, error);
    if (status != STATUS_OK) {
        return status;
    }
    met->state = state_of(bootstrap, welcome);
    met->was_asked = false;
    if (!copy_slice(welcome->api_address, met->api_address, sizeof met->api_address)) {
        met->api_address[0] = '\0';
    }
    return step(bootstrap, error);
}

void bootstrap_lost(struct bootstrap *bootstrap, unsigned peer)
{
    CHECK(peer < bootstrap->n_peers);
    if (bootstrap->peers[peer].state == PEER_COMMITTED) {
        return; /* That does not change any more. */
    }
    bootstrap->peers[peer].state = PEER_UNKNOWN;
    bootstrap->peers[peer].was_asked = false;
}

enum status bootstrap_answered(struct bootstrap *bootstrap, unsigned peer,
                               const struct frame *frame, struct error *error)
{
    struct peer *answering = &bootstrap->peers[peer];

    CHECK(peer < bootstrap->n_peers);
    if (frame->type == FRAME_REFUSED) {
        return error_set(error, STATUS_INVALID, "node \"%s\" refused to form the cluster: %.*s",
                         named_peer(bootstrap, peer)->name, (int)frame->refused.reason.size,
                         (const char *)frame->refused.reason.data);
    }
    if (!same_cluster(bootstrap, frame->bootstrap.cluster_id)) {
        return STATUS_OK; /* Not what was asked. */
    }
    if (frame->type == FRAME_BOOTSTRAP_PREPARED && answering->state < PEER_PREPARED &&
        answering->was_asked) {
        answering->state = PEER_PREPARED;
        answering->was_asked = false;
    } else if (frame->type == FRAME_BOOTSTRAP_COMMITTED) {
        answering->state = PEER_COMMITTED;
        answering->was_asked = false;
    }
    return step(bootstrap, error);
}

/* --- Being asked --- */

static enum status refuse_list(struct error *text, const char *what)
{
    return error_set(text, STATUS_MISMATCH,
                     "%s; all nodes must have the same initial cluster, in the same order", what);
}

/* Does the coordinator's list say what ours says, in the same order? */
static enum status check_members(const struct bootstrap *bootstrap,
                                 const struct frame_bootstrap *asked, struct error *text)
{
    if (asked->n_members != bootstrap->n_named) {
        return refuse_list(text, "the lists have different numbers of nodes");
    }
    for (unsigned i = 0; i < asked->n_members; i++) {
        if (asked->members[i].id == 0 ||
            !slice_equals_string(asked->members[i].name, bootstrap->named[i].name) ||
            !slice_equals_string(asked->members[i].peer_address,
                                 bootstrap->named[i].peer_address)) {
            return refuse_list(text, "the lists differ in a name, an address or their order");
        }
        for (unsigned j = 0; j < i; j++) {
            if (asked->members[j].id == asked->members[i].id) {
                return refuse_list(text, "two nodes have the same id");
            }
        }
    }
    return STATUS_OK;
}

/* Why PREPARE has to be refused, or STATUS_OK. */
static enum status check_prepare(const struct bootstrap *bootstrap, const struct frame_hello *hello,
                                 const struct frame_bootstrap *asked, struct error *text)
{
    if (!slice_equals_string(hello->name, bootstrap->named[0].name) ||
        bootstrap_coordinates(bootstrap)) {
        return refuse_list(text, "another node is named first here");
    }
    if (asked->cluster_id.size != IDENTITY_CLUSTER_BYTES) {
        return error_set(text, STATUS_INVALID, "the cluster has no id");
    }
    if (bootstrap->identity.stage != IDENTITY_EMPTY &&
        !same_cluster(bootstrap, asked->cluster_id)) {
        return error_set(text, STATUS_MISMATCH, "node \"%s\" belongs to cluster %s already",
                         bootstrap->name, bootstrap->identity.cluster_id);
    }
    return check_members(bootstrap, asked, text);
}

/* Step 3 of the good path. */
static enum status prepare(struct bootstrap *bootstrap, const struct frame_bootstrap *asked,
                           struct error *error)
{
    struct identity next = {.stage = IDENTITY_PENDING, .n_members = asked->n_members};

    if (bootstrap->identity.stage != IDENTITY_EMPTY) {
        return STATUS_OK; /* Prepared before. */
    }
    memcpy(next.cluster_id, asked->cluster_id.data, IDENTITY_CLUSTER_BYTES);
    memcpy(next.name, bootstrap->name, sizeof next.name);
    for (unsigned i = 0; i < asked->n_members; i++) {
        struct identity_member *member = &next.members[i];

        member->id = asked->members[i].id;
        memcpy(member->name, bootstrap->named[i].name, sizeof member->name);
        memcpy(member->peer_address, bootstrap->named[i].peer_address, sizeof member->peer_address);
        if (!copy_slice(asked->members[i].api_address, member->api_address,
                        sizeof member->api_address)) {
            member->api_address[0] = '\0';
        }
    }
    next.id = next.members[bootstrap->self].id;
    return become(bootstrap, &next, error);
}

static void reply_refused(struct frame *reply, const struct error *text)
{
    *reply = (struct frame){.type = FRAME_REFUSED};
    reply->refused.status = text->status;
    reply->refused.reason = slice_of_string(text->text);
}

static void reply_done(const struct bootstrap *bootstrap, struct frame *reply, enum frame_type type)
{
    *reply = (struct frame){.type = type};
    reply->bootstrap.cluster_id = slice_of_string(bootstrap->identity.cluster_id);
}

enum status bootstrap_asked(struct bootstrap *bootstrap, const struct frame_hello *hello,
                            const struct frame *request, struct frame *reply, struct error *text,
                            struct error *error)
{
    enum status status = STATUS_OK;

    if (request->type == FRAME_BOOTSTRAP_PREPARE) {
        if (check_prepare(bootstrap, hello, &request->bootstrap, text) != STATUS_OK) {
            reply_refused(reply, text);
            return STATUS_OK;
        }
        status = prepare(bootstrap, &request->bootstrap, error);
        reply_done(bootstrap, reply, FRAME_BOOTSTRAP_PREPARED);
        return status;
    }
    if (request->type != FRAME_BOOTSTRAP_COMMIT ||
        !same_cluster(bootstrap, request->bootstrap.cluster_id)) {
        (void)error_set(text, STATUS_MISMATCH, "node \"%s\" was not prepared for that",
                        bootstrap->name); /* Only the text is needed. */
        reply_refused(reply, text);
        return STATUS_OK;
    }
    if (bootstrap->identity.stage == IDENTITY_PENDING) {
        status = become_member(bootstrap, error);
    }
    reply_done(bootstrap, reply, FRAME_BOOTSTRAP_COMMITTED);
    return status;
}
