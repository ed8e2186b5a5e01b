/* Forming a cluster: whatever is lost and whoever stops, there is at most one, and in the end there
 * is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/queue.h"
#include "raft/bootstrap.h"

#define NODES 3
#define LIST  "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3"

enum crash { CRASH_NONE, CRASH_BEFORE_STORE, CRASH_AFTER_STORE };

struct letter {
    struct link link;
    struct buffer bytes;
};

/* A connection that one node made to another. */
struct wire {
    bool up;
    struct buffer hello;   /* What the dialler said. */
    struct queue requests; /* From the dialler. */
    struct queue replies;
};

struct machine {
    struct world *world;
    unsigned number;
    const char *list;
    struct identity disk;
    struct bootstrap *bootstrap; /* NULL: it gave up. */
    enum crash crash;            /* Strikes at the next store. */
    bool crashed;
    enum status failed; /* Why it gave up. */
    struct error error;
};

struct world {
    uint64_t random;
    struct machine machines[NODES];
    struct wire wires[NODES][NODES];
    unsigned stores;
    char cluster_id[IDENTITY_CLUSTER_BYTES + 1]; /* The one that exists; "" if none. */
};

static const char *const names[NODES] = {"n1", "n2", "n3"};
static const char *const addresses[NODES] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"};

static uint32_t draw(struct world *world, uint32_t bound)
{
    world->random = world->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(world->random >> 33) % bound;
}

/* The peers of a machine are the others, in the order of the list. */
static unsigned node_of(unsigned self, unsigned peer)
{
    return peer < self ? peer : peer + 1;
}

static unsigned peer_of(unsigned self, unsigned node)
{
    return node < self ? node : node - 1;
}

static void post(struct queue *queue, const struct frame *frame)
{
    struct letter *letter = calloc(1, sizeof *letter);

    assert_non_null(letter);
    frame_encode(frame, &letter->bytes);
    queue_push(queue, &letter->link);
}

static bool take(struct queue *queue, struct letter **letter, struct frame *frame)
{
    struct link *link = queue_pop(queue);

    if (link == NULL) {
        return false;
    }
    *letter = CONTAINER_OF(link, struct letter, link);
    assert_int_equal(frame_decode(buffer_slice(&(*letter)->bytes), frame, NULL), STATUS_OK);
    return true;
}

static void discard(struct letter *letter)
{
    buffer_close(&letter->bytes);
    free(letter);
}

static void clear(struct queue *queue)
{
    struct link *link;

    while ((link = queue_pop(queue)) != NULL) {
        discard(CONTAINER_OF(link, struct letter, link));
    }
}

static void cut(struct world *world, unsigned from, unsigned to)
{
    struct wire *wire = &world->wires[from][to];

    if (!wire->up) {
        return;
    }
    wire->up = false;
    clear(&wire->requests);
    clear(&wire->replies);
    buffer_clear(&wire->hello);
    if (world->machines[from].bootstrap != NULL) {
        bootstrap_lost(world->machines[from].bootstrap, peer_of(from, to));
    }
}

static void on_send(void *data, unsigned peer, const struct frame *frame)
{
    struct machine *machine = data;
    struct wire *wire = &machine->world->wires[machine->number][node_of(machine->number, peer)];

    if (!machine->crashed) {
        assert_true(wire->up);
        post(&wire->requests, frame);
    }
}

static enum status on_store(void *data, const struct identity *identity, struct error *error)
{
    struct machine *machine = data;
    struct world *world = machine->world;

    if (machine->crash == CRASH_BEFORE_STORE) {
        machine->crashed = true;
        return error_set(error, STATUS_IO, "crashed");
    }
    machine->crashed = machine->crash == CRASH_AFTER_STORE;
    machine->disk = *identity;
    world->stores++;
    if (identity->stage == IDENTITY_MEMBER) {
        if (world->cluster_id[0] == '\0') {
            memcpy(world->cluster_id, identity->cluster_id, sizeof world->cluster_id);
        }
        assert_string_equal(world->cluster_id, identity->cluster_id); /* Never a second one. */
    }
    return STATUS_OK;
}

static void start(struct machine *machine)
{
    const struct bootstrap_options options = {
        .name = names[machine->number],
        .peer_address = addresses[machine->number],
        .api_address = "api:1",
        .initial_cluster = machine->list,
        .data = machine,
        .store = on_store,
        .send = on_send,
    };

    machine->failed =
        bootstrap_open(&options, &machine->disk, &machine->bootstrap, &machine->error);
    if (machine->failed != STATUS_OK) {
        machine->bootstrap = NULL;
    }
}

static void stop(struct machine *machine)
{
    for (unsigned i = 0; i < NODES; i++) {
        cut(machine->world, machine->number, i);
        cut(machine->world, i, machine->number);
    }
    bootstrap_close(machine->bootstrap);
    machine->bootstrap = NULL;
    machine->crash = CRASH_NONE;
    machine->crashed = false;
}

static void restart(struct machine *machine)
{
    stop(machine);
    start(machine);
}

static void wipe(struct machine *machine)
{
    stop(machine);
    machine->disk = (struct identity){.stage = IDENTITY_EMPTY};
    start(machine);
}

/* A status came back: the node crashed, gave up, or the connection is to be cut. */
static void look(struct machine *machine, enum status status, unsigned from, unsigned to)
{
    if (machine->crashed) {
        restart(machine);
    } else if (status == STATUS_INVALID) {
        cut(machine->world, from, to);
    } else if (status != STATUS_OK) {
        stop(machine);
        machine->failed = status;
    }
}

static void say(struct machine *machine, enum frame_type type, struct frame *frame)
{
    const struct identity *identity = bootstrap_identity(machine->bootstrap);

    *frame = (struct frame){.type = type};
    frame->hello = (struct frame_hello){
        .protocol = FRAME_PROTOCOL,
        .purpose = PURPOSE_BOOTSTRAP,
        .identity = identity->stage,
        .cluster_id = slice_of_string(identity->cluster_id),
        .id = identity->id,
        .name = slice_of_string(names[machine->number]),
        .peer_address = slice_of_string(addresses[machine->number]),
        .api_address = slice_of_string("api:1"),
        .version = slice_of_string("0"),
    };
}

/* The handshake; the answer gets lost if @welcome_is_lost. */
static void dial(struct world *world, unsigned from, unsigned to, bool welcome_is_lost)
{
    struct machine *dialler = &world->machines[from];
    struct machine *listener = &world->machines[to];
    struct wire *wire = &world->wires[from][to];
    struct frame hello;
    struct frame welcome;
    enum status status;

    if (wire->up || dialler->bootstrap == NULL || listener->bootstrap == NULL) {
        return;
    }
    say(dialler, FRAME_HELLO, &hello);
    buffer_clear(&wire->hello);
    frame_encode(&hello, &wire->hello);
    status = bootstrap_heard(listener->bootstrap, &hello.hello, &listener->error);
    if (status != STATUS_OK) {
        look(listener, status, from, to);
        return;
    }
    if (welcome_is_lost) {
        return;
    }
    say(listener, FRAME_WELCOME, &welcome);
    wire->up = true;
    status = bootstrap_met(dialler->bootstrap, peer_of(from, to), &welcome.hello, &dialler->error);
    look(dialler, status, from, to);
}

static void deliver_request(struct world *world, unsigned from, unsigned to)
{
    struct machine *listener = &world->machines[to];
    struct wire *wire = &world->wires[from][to];
    struct letter *letter;
    struct frame request;
    struct frame hello;
    struct frame reply;
    struct error text;
    enum status status;

    if (!wire->up || !take(&wire->requests, &letter, &request)) {
        return;
    }
    assert_int_equal(frame_decode(buffer_slice(&wire->hello), &hello, NULL), STATUS_OK);
    status = bootstrap_asked(listener->bootstrap, &hello.hello, &request, &reply, &text,
                             &listener->error);
    if (status == STATUS_OK && !listener->crashed) {
        post(&wire->replies, &reply);
    }
    discard(letter);
    look(listener, status, from, to);
}

static void deliver_reply(struct world *world, unsigned from, unsigned to)
{
    struct machine *dialler = &world->machines[from];
    struct wire *wire = &world->wires[from][to];
    struct letter *letter;
    struct frame reply;
    enum status status;

    if (!wire->up || !take(&wire->replies, &letter, &reply)) {
        return;
    }
    status = bootstrap_answered(dialler->bootstrap, peer_of(from, to), &reply, &dialler->error);
    discard(letter);
    look(dialler, status, from, to);
}

static void open_world(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed};
    for (unsigned i = 0; i < NODES; i++) {
        world->machines[i] = (struct machine){.world = world, .number = i, .list = LIST};
        for (unsigned j = 0; j < NODES; j++) {
            queue_init(&world->wires[i][j].requests);
            queue_init(&world->wires[i][j].replies);
        }
    }
}

static void start_all(struct world *world)
{
    for (unsigned i = 0; i < NODES; i++) {
        start(&world->machines[i]);
    }
}

static void close_world(struct world *world)
{
    for (unsigned i = 0; i < NODES; i++) {
        stop(&world->machines[i]);
        for (unsigned j = 0; j < NODES; j++) {
            buffer_close(&world->wires[i][j].hello);
        }
    }
}

/* One round without faults over all pairs. */
static void calm_round(struct world *world)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned j = 0; j < NODES; j++) {
            if (i != j) {
                /* A new connection tells what the other has become. */
                cut(world, i, j);
                dial(world, i, j, false);
                for (unsigned n = 0; n < 3; n++) {
                    deliver_request(world, i, j);
                    deliver_reply(world, i, j);
                }
            }
        }
    }
}

/* A round that keeps its connections, as the coordinator needs all at once. */
static void calm(struct world *world)
{
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < NODES; i++) {
            for (unsigned j = 0; j < NODES; j++) {
                if (i != j) {
                    dial(world, i, j, false);
                    deliver_request(world, i, j);
                    deliver_reply(world, i, j);
                }
            }
        }
    }
    calm_round(world);
}

static bool is_member(const struct world *world, unsigned node)
{
    return world->machines[node].disk.stage == IDENTITY_MEMBER;
}

static void assert_one_cluster(const struct world *world)
{
    for (unsigned i = 0; i < NODES; i++) {
        const struct identity *disk = &world->machines[i].disk;

        assert_int_equal(disk->stage, IDENTITY_MEMBER);
        assert_string_equal(disk->cluster_id, world->cluster_id);
        assert_int_equal(disk->n_members, NODES);
        assert_true(disk->id == disk->members[i].id);
        for (unsigned j = 0; j < NODES; j++) {
            assert_true(disk->members[j].id == world->machines[0].disk.members[j].id);
            assert_string_equal(disk->members[j].name, names[j]);
            assert_string_equal(disk->members[j].peer_address, addresses[j]);
            assert_string_equal(disk->members[j].api_address, "api:1");
        }
    }
    assert_true(world->machines[0].disk.members[0].id != world->machines[0].disk.members[1].id);
    assert_true(world->machines[0].disk.members[1].id != world->machines[0].disk.members[2].id);
}

static void one_fault(struct world *world)
{
    unsigned from = draw(world, NODES);
    unsigned to = (from + 1 + draw(world, NODES - 1)) % NODES;
    struct machine *machine = &world->machines[from];

    switch (draw(world, 12)) {
    case 0:
        cut(world, from, to);
        break;
    case 1:
        restart(machine);
        break;
    case 2:
        machine->crash = draw(world, 2) == 0 ? CRASH_BEFORE_STORE : CRASH_AFTER_STORE;
        break;
    case 3:
    case 4:
    case 5:
        dial(world, from, to, draw(world, 5) == 0);
        break;
    case 6:
    case 7:
    case 8:
        deliver_request(world, from, to);
        break;
    default:
        deliver_reply(world, from, to);
        break;
    }
}

static void empty_nodes_form_one_cluster(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    start_all(&world);
    calm(&world);
    assert_one_cluster(&world);
    assert_true(bootstrap_is_settled(world.machines[0].bootstrap));
    close_world(&world);
}

static void one_cluster_forms_whatever_is_lost_and_restarted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct world world;

        open_world(&world, seed);
        start_all(&world);
        for (unsigned i = 0; i < 150; i++) {
            one_fault(&world);
        }
        for (unsigned i = 0; i < NODES; i++) {
            if (world.machines[i].bootstrap == NULL) {
                fail_msg("seed %llu: n%u gave up: %s", (unsigned long long)seed, i + 1,
                         world.machines[i].error.text);
            }
            restart(&world.machines[i]);
        }
        calm(&world);
        assert_one_cluster(&world);
        close_world(&world);
    }
}

/* Each store of each node is the last thing it does, or the first thing that it does not do. */
static void one_cluster_forms_when_a_node_stops_at_any_step(void **state)
{
    (void)state;
    for (unsigned node = 0; node < NODES; node++) {
        for (unsigned nth = 0; nth < 2 * NODES; nth++) {
            for (enum crash crash = CRASH_BEFORE_STORE; crash <= CRASH_AFTER_STORE; crash++) {
                struct world world;

                open_world(&world, 1);
                start_all(&world);
                while (world.stores < nth) {
                    calm_round(&world);
                    dial(&world, 0, 1, false);
                    dial(&world, 0, 2, false);
                    deliver_request(&world, 0, 1 + draw(&world, 2));
                    deliver_reply(&world, 0, 1 + draw(&world, 2));
                }
                world.machines[node].crash = crash;
                calm(&world);
                calm(&world);
                assert_one_cluster(&world);
                close_world(&world);
            }
        }
    }
}

/* n3 keeps its disk; the others lose theirs at any time. */
static void lost_disks_never_make_a_second_cluster(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct world world;

        open_world(&world, seed);
        start_all(&world);
        for (unsigned i = 0; i < 200; i++) {
            if (draw(&world, 40) == 0) {
                wipe(&world.machines[draw(&world, NODES - 1)]);
            }
            one_fault(&world); /* on_store() checks. */
        }
        calm(&world);
        for (unsigned i = 0; i < NODES; i++) {
            refused += world.machines[i].failed == STATUS_EXISTS;
        }
        close_world(&world);
    }
    assert_true(refused > 0);
}

static void nothing_forms_while_a_named_node_is_silent(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    start(&world.machines[0]);
    start(&world.machines[1]);
    calm(&world);
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(world.machines[i].disk.stage, IDENTITY_EMPTY);
    }

    start(&world.machines[2]);
    calm(&world);
    assert_one_cluster(&world);
    close_world(&world);
}

static void an_empty_node_beside_a_living_cluster_is_told_to_join(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < NODES; lost++) {
        struct world world;

        open_world(&world, 1);
        start_all(&world);
        calm(&world);
        wipe(&world.machines[lost]);
        calm(&world);

        assert_null(world.machines[lost].bootstrap);
        assert_int_equal(world.machines[lost].failed, STATUS_EXISTS);
        assert_non_null(strstr(world.machines[lost].error.text, "join"));
        assert_int_equal(world.machines[lost].disk.stage, IDENTITY_EMPTY);
        close_world(&world);
    }
}

static void a_pending_node_that_meets_a_member_needs_no_coordinator(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    start_all(&world);
    calm(&world);
    world.machines[2].disk.stage = IDENTITY_PENDING;
    restart(&world.machines[2]);
    stop(&world.machines[0]);
    dial(&world, 2, 1, false);

    assert_true(is_member(&world, 2));
    close_world(&world);
}

static void a_pending_node_of_another_cluster_stops_the_forming(void **state)
{
    struct world world;
    struct identity *disk;

    (void)state;
    open_world(&world, 1);
    start_all(&world);
    calm(&world);
    disk = &world.machines[2].disk;
    disk->stage = IDENTITY_PENDING;
    for (unsigned i = 0; i < NODES; i++) {
        if (i != 2) {
            world.machines[i].disk = (struct identity){.stage = IDENTITY_EMPTY};
        }
        restart(&world.machines[i]);
    }
    calm(&world);

    assert_int_equal(world.machines[0].failed, STATUS_EXISTS);
    assert_int_equal(world.machines[0].disk.stage, IDENTITY_EMPTY);
    assert_int_equal(disk->stage, IDENTITY_PENDING);
    close_world(&world);
}

/* n3 was given another list: nothing forms, n1 keeps trying, and a mended list cures it. */
static void lists_that_differ_form_nothing_until_they_agree(void **state)
{
    static const char *const lists[] = {
        "n1=127.0.0.1:1,n3=127.0.0.1:3",
        "n1=127.0.0.1:1,n2=127.0.0.1:9,n3=127.0.0.1:3",
        "n1=127.0.0.1:1,n4=127.0.0.1:2,n3=127.0.0.1:3",
        "n2=127.0.0.1:2,n1=127.0.0.1:1,n3=127.0.0.1:3",
        "n1=127.0.0.1:1,n3=127.0.0.1:3,n2=127.0.0.1:2",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct world world;

        open_world(&world, 1);
        start(&world.machines[0]);
        start(&world.machines[1]);
        world.machines[2].list = lists[i];
        start(&world.machines[2]);
        assert_non_null(world.machines[2].bootstrap);
        /* The peers of a different list are not the ones of the harness: n3 only listens. */
        for (unsigned round = 0; round < 5; round++) {
            dial(&world, 0, 1, false);
            dial(&world, 0, 2, false);
            deliver_request(&world, 0, 1);
            deliver_request(&world, 0, 2);
            deliver_reply(&world, 0, 1);
            deliver_reply(&world, 0, 2);
        }
        assert_string_equal(world.cluster_id, "");
        assert_non_null(world.machines[0].bootstrap);
        assert_non_null(strstr(world.machines[0].error.text, "refused"));
        assert_int_equal(world.machines[2].disk.stage, IDENTITY_EMPTY);

        world.machines[2].list = LIST;
        restart(&world.machines[2]);
        calm(&world);
        assert_one_cluster(&world);
        close_world(&world);
    }
}

static enum status open_with(const char *list, struct error *error)
{
    struct machine machine = {.list = list};
    const struct bootstrap_options options = {
        .name = "n1",
        .peer_address = "127.0.0.1:1",
        .api_address = "api:1",
        .initial_cluster = list,
        .data = &machine,
        .store = on_store,
        .send = on_send,
    };
    struct identity identity = {.stage = IDENTITY_EMPTY};
    struct bootstrap *bootstrap;
    enum status status = bootstrap_open(&options, &identity, &bootstrap, error);

    if (status == STATUS_OK) {
        bootstrap_close(bootstrap);
    }
    return status;
}

static void a_malformed_list_is_refused(void **state)
{
    static const char *const lists[] = {
        "",
        "n1",
        "n1=",
        "=127.0.0.1:1",
        "n1=127.0.0.1:1,",
        "n1=127.0.0.1:1,,n2=127.0.0.1:2",
        "n1=127.0.0.1:1,n1=127.0.0.1:2",
        "n1=127.0.0.1:1,n2=127.0.0.1:1",
        "n1=127.0.0.1:1,n2=127.0.0.1",
        "n1=127.0.0.1:1,n2=127.0.0.1:0",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct error error;

        assert_int_equal(open_with(lists[i], &error), STATUS_INVALID);
        assert_non_null(strstr(error.text, "initial cluster"));
    }
}

static void a_list_must_name_this_node_with_its_own_address(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(open_with("n2=127.0.0.1:2,n3=127.0.0.1:3", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "does not name this node"));
    assert_int_equal(open_with("n1=127.0.0.1:9,n2=127.0.0.1:2", &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "its own peer address is 127.0.0.1:1"));
}

static void a_single_node_forms_its_cluster_at_once(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, 1);
    world.machines[0].list = "n1=127.0.0.1:1";
    start(&world.machines[0]);
    assert_int_equal(world.machines[0].disk.stage, IDENTITY_MEMBER);
    assert_int_equal(world.machines[0].disk.n_members, 1);
    close_world(&world);
}

static void a_member_knows_its_own_list_from_another_clusters(void **state)
{
    struct world world;
    const struct identity *disk = &world.machines[0].disk;

    (void)state;
    open_world(&world, 1);
    start_all(&world);
    calm(&world);
    assert_int_equal(bootstrap_check_list(LIST, disk, NULL), STATUS_OK);
    /* n2 has moved. */
    assert_int_equal(
        bootstrap_check_list("n1=127.0.0.1:1,n2=127.0.0.1:9,n3=127.0.0.1:3", disk, NULL),
        STATUS_OK);
    assert_int_equal(
        bootstrap_check_list("n1=127.0.0.1:7,n2=127.0.0.1:8,n3=127.0.0.1:9", disk, NULL),
        STATUS_MISMATCH);
    assert_int_equal(
        bootstrap_check_list("n1=127.0.0.1:1,n2=127.0.0.1:2,x3=127.0.0.1:3", disk, NULL),
        STATUS_MISMATCH);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_nodes_form_one_cluster),
        cmocka_unit_test(one_cluster_forms_whatever_is_lost_and_restarted),
        cmocka_unit_test(one_cluster_forms_when_a_node_stops_at_any_step),
        cmocka_unit_test(lost_disks_never_make_a_second_cluster),
        cmocka_unit_test(nothing_forms_while_a_named_node_is_silent),
        cmocka_unit_test(an_empty_node_beside_a_living_cluster_is_told_to_join),
        cmocka_unit_test(a_pending_node_that_meets_a_member_needs_no_coordinator),
        cmocka_unit_test(a_pending_node_of_another_cluster_stops_the_forming),
        cmocka_unit_test(lists_that_differ_form_nothing_until_they_agree),
        cmocka_unit_test(a_malformed_list_is_refused),
        cmocka_unit_test(a_list_must_name_this_node_with_its_own_address),
        cmocka_unit_test(a_single_node_forms_its_cluster_at_once),
        cmocka_unit_test(a_member_knows_its_own_list_from_another_clusters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
