/* Whole nodes on loopback, in one process: they form a cluster, take commands everywhere, go on
 * without their leader, and start again with what they had. */
#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/log.h"
#include "raft/identity.h"
#include "raft/node.h"
#include "storage/applier.h"
#include "storage/command.h"
#include "storage/feature.h"
#include "storage/result.h"
#include "storage/view.h"

#define NODES       3
#define DEADLINE_MS 30000
#define POLL_MS     5

#if defined(__SANITIZE_ADDRESS__)
/* A node leaves libraft as it is when it closes. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libraft.so\n";
}
#endif

struct fixture {
    char base[128];
    char addresses[NODES][32];
    char cluster[128];
    unsigned n_nodes;
    struct node *nodes[NODES];
    enum node_exit exits[NODES];
    atomic_uint n_exits;
    struct error exit_error;
    uv_loop_t loop;
    uv_timer_t poll;
    uv_timer_t deadline;
    struct mailbox mailbox;
};

/* --- The loop of the test --- */

static void on_poll(uv_timer_t *timer)
{
    (void)timer; /* Wakes the loop, so that what is waited for is looked at. */
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happened in time");
}

static void run_until(struct fixture *f, bool (*done)(struct fixture *f, void *data), void *data)
{
    assert_int_equal(uv_timer_start(&f->deadline, on_deadline, DEADLINE_MS, 0), 0);
    while (!done(f, data)) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_timer_stop(&f->deadline), 0);
}

static bool flag_is_set(struct fixture *f, void *flag)
{
    (void)f;
    return *(bool *)flag;
}

/* --- Nodes --- */

static void on_exit_of_node(void *data, enum node_exit why, const struct error *error)
{
    struct fixture *f = data;

    f->exits[0] = why;
    f->exit_error = *error;
    atomic_fetch_add(&f->n_exits, 1);
}

static enum status try_open(struct fixture *f, unsigned i, const char *cluster, struct error *error)
{
    char name[16];
    char directory[160];
    const struct node_options options = {
        .name = name,
        .data_directory = directory,
        .peer_address = f->addresses[i],
        .api_address = "127.0.0.1:7080",
        .initial_cluster = cluster,
        .version = "1.2.3",
        .feature_level = FEATURE_LEVEL,
        .free_disk_floor_bytes = 1,
        .data = f,
        .on_exit = on_exit_of_node,
    };

    (void)snprintf(name, sizeof name, "n%u", i + 1);
    (void)snprintf(directory, sizeof directory, "%s/n%u", f->base, i + 1);
    return node_open(&options, &f->nodes[i], error);
}

static void open_node(struct fixture *f, unsigned i, const char *cluster)
{
    struct error error = {.text = ""};

    if (try_open(f, i, cluster, &error) != STATUS_OK) {
        fail_msg("n%u: %s", i + 1, error.text);
    }
}

static void close_node(struct fixture *f, unsigned i)
{
    node_close(f->nodes[i]);
    f->nodes[i] = NULL;
}

static bool is_ready(struct fixture *f, void *data)
{
    struct node_status status;

    (void)data;
    for (unsigned i = 0; i < f->n_nodes; i++) {
        if (f->nodes[i] == NULL) {
            continue;
        }
        node_status(f->nodes[i], &status);
        if (status.causes != 0) {
            return false;
        }
    }
    return true;
}

static void open_all(struct fixture *f)
{
    for (unsigned i = 0; i < f->n_nodes; i++) {
        open_node(f, i, f->cluster);
    }
    run_until(f, is_ready, NULL);
}

/* The one that leads, or the number of nodes. */
static unsigned find_leader(struct fixture *f)
{
    struct node_status status;
    unsigned i = 0;

    for (; i < f->n_nodes; i++) {
        if (f->nodes[i] != NULL) {
            node_status(f->nodes[i], &status);
            if (status.state == NODE_LEADER) {
                break;
            }
        }
    }
    return i;
}

static bool has_leader(struct fixture *f, void *data)
{
    (void)data;
    return find_leader(f) < f->n_nodes;
}

/* --- Commands and reads --- */

struct request {
    struct submission submission;
    bool done;
};

static void on_outcome(struct message *message)
{
    struct request *request = (struct request *)(void *)message;

    request->done = true;
}

/* Begin to put the namespace @name; false if the node is busy. */
static bool begin_put(struct fixture *f, unsigned node, const char *name, struct request *request)
{
    struct operation operation = {.kind = OPERATION_NAMESPACE_PUT};
    const struct command command = {.n_operations = 1, .operations = &operation};

    operation.ns.name = slice_of_string(name);
    operation.ns.metadata = (struct text_field){FIELD_SET, slice_of_string("{}")};
    *request = (struct request){.submission = {.message.deliver = on_outcome, .home = &f->mailbox}};
    command_encode(&command, &request->submission.command);
    return node_submit(f->nodes[node], &request->submission) == STATUS_OK;
}

static void end_put(struct request *request)
{
    buffer_close(&request->submission.command);
    buffer_close(&request->submission.result);
}

/* Put it, again and again while there is no leader. */
static void put(struct fixture *f, unsigned node, const char *name)
{
    enum status status;

    do {
        struct request request;
        struct result result;
        struct slice walk;
        struct operation_result operation;

        assert_true(begin_put(f, node, name, &request));
        run_until(f, flag_is_set, &request.done);
        status = request.submission.status;
        if (status == STATUS_OK) {
            assert_int_equal(result_decode(buffer_slice(&request.submission.result), &result),
                             STATUS_OK);
            walk = result.operations;
            assert_true(result_next(&walk, &operation));
            assert_true(outcome_is_success(operation.outcome));
        }
        end_put(&request);
        assert_true(status == STATUS_OK || status == STATUS_NO_LEADER ||
                    status == STATUS_UNCERTAIN);
    } while (status != STATUS_OK);
}

struct read_request {
    struct read_ticket ticket;
    struct visibility_wait wait;
    bool done;
    bool visible;
};

static void on_ticket(struct message *message)
{
    struct read_request *request =
        (struct read_request *)(void *)CONTAINER_OF(message, struct read_ticket, message);

    request->done = true;
}

static void on_visible(struct message *message)
{
    struct read_request *request = CONTAINER_OF(message, struct read_request, wait.message);

    request->visible = true;
}

/* A linearizable read: is the namespace @name there? */
static bool is_there(struct fixture *f, unsigned node, const char *name)
{
    struct read_request request;
    struct namespace_row row;
    struct view view = {0};
    enum status status;

    do {
        request = (struct read_request){
            .ticket = {.message.deliver = on_ticket, .home = &f->mailbox},
            .wait = {.message.deliver = on_visible, .home = &f->mailbox},
        };
        assert_int_equal(node_read(f->nodes[node], &request.ticket), STATUS_OK);
        run_until(f, flag_is_set, &request.done);
    } while (request.ticket.status == STATUS_NO_LEADER);
    assert_int_equal(request.ticket.status, STATUS_OK);
    request.wait.index = request.ticket.index;
    if (!applier_wait_visible(node_applier(f->nodes[node]), &request.wait)) {
        run_until(f, flag_is_set, &request.visible);
    }
    assert_int_equal(view_begin(node_store(f->nodes[node]), &view, NULL), STATUS_OK);
    status = view_namespace(&view, slice_of_string(name), &row);
    view_end(&view);
    view_close(&view);
    return status == STATUS_OK;
}

/* --- Fixture --- */

/* A port that was free a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(close(fd), 0);
    return ntohs(address.sin_port);
}

static int set_up(void **state, unsigned n_nodes)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    assert_non_null(f);
    f->n_nodes = n_nodes;
    (void)snprintf(f->base, sizeof f->base, "%s/holdfast-node-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(f->base));
    for (unsigned i = 0; i < n_nodes; i++) {
        size_t used = strlen(f->cluster);

        (void)snprintf(f->addresses[i], sizeof f->addresses[i], "127.0.0.1:%u", free_port());
        (void)snprintf(f->cluster + used, sizeof f->cluster - used, "%sn%u=%s",
                       used == 0 ? "" : ",", i + 1, f->addresses[i]);
    }
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->deadline), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->poll), 0);
    assert_int_equal(uv_timer_start(&f->poll, on_poll, POLL_MS, POLL_MS), 0);
    assert_int_equal(mailbox_init(&f->mailbox, &f->loop, NULL), STATUS_OK);
    *state = f;
    return 0;
}

static int set_up_three(void **state)
{
    return set_up(state, NODES);
}

static int set_up_one(void **state)
{
    return set_up(state, 1);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < f->n_nodes; i++) {
        if (f->nodes[i] != NULL) {
            node_close(f->nodes[i]);
        }
    }
    mailbox_close(&f->mailbox, NULL);
    uv_close((uv_handle_t *)&f->poll, NULL);
    uv_close((uv_handle_t *)&f->deadline, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    (void)nftw(f->base, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* libraft may still make files. */
    free(f);
    return 0;
}

/* --- Tests --- */

static bool members_are_described(struct fixture *f, void *data)
{
    struct node_status status;

    (void)data;
    for (unsigned i = 0; i < f->n_nodes; i++) {
        node_status(f->nodes[i], &status);
        if (status.n_members != f->n_nodes) {
            return false;
        }
        for (unsigned j = 0; j < status.n_members; j++) {
            if (strcmp(status.members[j].version, "1.2.3") != 0 ||
                strcmp(status.members[j].api_address, "127.0.0.1:7080") != 0 ||
                !status.members[j].healthy) {
                return false;
            }
        }
    }
    return true;
}

static void three_nodes_form_a_cluster_and_take_commands_everywhere(void **state)
{
    struct fixture *f = *state;
    char name[16];

    open_all(f);
    for (unsigned n = 0; n < 30; n++) {
        (void)snprintf(name, sizeof name, "ns-%u", n);
        put(f, n % NODES, name);
        assert_true(is_there(f, (n + 1) % NODES, name));
    }
    for (unsigned i = 0; i < NODES; i++) {
        assert_false(is_there(f, i, "ns-30"));
    }

    run_until(f, members_are_described, NULL); /* Each has put itself into the member table. */
    assert_int_equal(atomic_load(&f->n_exits), 0);
}

struct proposed {
    uint64_t commands;
    uint64_t entries;
};

/* Leadership may have moved meanwhile, so all nodes count. */
static bool all_are_counted(struct fixture *f, void *data)
{
    struct proposed *proposed = data;
    struct node_status status;
    uint64_t wanted = proposed->commands;
    uint64_t commands = 0;

    proposed->entries = 0;
    for (unsigned i = 0; i < f->n_nodes; i++) {
        node_status(f->nodes[i], &status);
        commands += status.commands_proposed;
        proposed->entries += status.entries_proposed;
    }
    return commands >= wanted;
}

static void many_commands_in_flight_are_all_answered(void **state)
{
    enum { COUNT = 600 };
    struct fixture *f = *state;
    struct request *requests = calloc(COUNT, sizeof *requests);
    struct proposed proposed = {.commands = COUNT};
    char name[16];

    assert_non_null(requests);
    open_all(f);
    for (unsigned n = 0; n < COUNT; n++) {
        (void)snprintf(name, sizeof name, "ns-%u", n);
        assert_true(begin_put(f, n % NODES, name, &requests[n]));
    }
    for (unsigned n = 0; n < COUNT; n++) {
        run_until(f, flag_is_set, &requests[n].done);
        assert_int_equal(requests[n].submission.status, STATUS_OK);
        end_put(&requests[n]);
    }

    run_until(f, all_are_counted, &proposed);
    assert_true(proposed.entries < COUNT); /* Many share an entry. */
    free(requests);
}

static void the_others_go_on_without_the_leader_and_it_comes_back(void **state)
{
    struct fixture *f = *state;
    unsigned leader;

    open_all(f);
    run_until(f, has_leader, NULL);
    leader = find_leader(f);
    put(f, leader, "before");
    close_node(f, leader);
    put(f, (leader + 1) % NODES, "after-1");
    put(f, (leader + 2) % NODES, "after-2");
    assert_true(is_there(f, (leader + 2) % NODES, "before"));

    open_node(f, leader, f->cluster);
    run_until(f, is_ready, NULL);
    assert_true(is_there(f, leader, "before"));
    assert_true(is_there(f, leader, "after-1"));
    assert_true(is_there(f, leader, "after-2"));
    put(f, leader, "again");
    assert_true(is_there(f, (leader + 1) % NODES, "again"));
    assert_int_equal(atomic_load(&f->n_exits), 0);
}

static void all_start_again_with_what_they_had(void **state)
{
    struct fixture *f = *state;
    struct node_status before;
    struct node_status after;

    open_all(f);
    put(f, 0, "kept");
    node_status(f->nodes[1], &before);
    for (unsigned i = 0; i < NODES; i++) {
        close_node(f, i);
    }
    for (unsigned i = 0; i < NODES; i++) {
        open_node(f, i, NULL); /* They know their cluster. */
    }
    run_until(f, is_ready, NULL);

    for (unsigned i = 0; i < NODES; i++) {
        assert_true(is_there(f, i, "kept"));
    }
    node_status(f->nodes[1], &after);
    assert_string_equal(after.cluster_id, before.cluster_id);
    assert_true(after.id == before.id);
}

static void a_single_node_is_a_cluster(void **state)
{
    struct fixture *f = *state;

    open_all(f);
    put(f, 0, "alone");
    assert_true(is_there(f, 0, "alone"));
    close_node(f, 0);
    open_all(f);
    assert_true(is_there(f, 0, "alone"));
}

static void while_forming_requests_come_back(void **state)
{
    struct fixture *f = *state;
    struct node_status status;
    struct request request;

    open_node(f, 0, f->cluster);
    assert_true(begin_put(f, 0, "early", &request));
    run_until(f, flag_is_set, &request.done);
    assert_int_equal(request.submission.status, STATUS_NO_LEADER);
    end_put(&request);
    node_status(f->nodes[0], &status);
    assert_int_equal(status.state, NODE_FORMING);
    assert_true(status.causes & NODE_CAUSE_FORMING);
    assert_string_equal(status.cluster_id, "");
}

static void closing_answers_what_waits(void **state)
{
    struct fixture *f = *state;
    struct request requests[10];

    open_all(f);
    close_node(f, 1);
    close_node(f, 2);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(begin_put(f, 0, "never", &requests[i]));
    }
    close_node(f, 0);

    for (unsigned i = 0; i < 10; i++) {
        run_until(f, flag_is_set, &requests[i].done);
        assert_true(requests[i].submission.status == STATUS_CLOSED ||
                    requests[i].submission.status == STATUS_NO_LEADER ||
                    requests[i].submission.status == STATUS_UNCERTAIN);
        end_put(&requests[i]);
    }
}

static void one_data_directory_serves_one_node_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct node *first;
    struct error error;

    open_all(f);
    first = f->nodes[0];
    assert_int_equal(try_open(f, 0, f->cluster, &error), STATUS_BUSY);
    assert_non_null(strstr(error.text, "in use"));
    f->nodes[0] = first;
}

static void an_empty_directory_needs_an_initial_cluster(void **state)
{
    struct fixture *f = *state;
    struct error error;

    assert_int_equal(try_open(f, 0, NULL, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "--initial-cluster"));
}

static void a_directory_of_another_cluster_is_refused(void **state)
{
    struct fixture *f = *state;
    char cluster[128];
    struct error error;

    open_all(f);
    close_node(f, 0);
    (void)snprintf(f->addresses[0], sizeof f->addresses[0], "127.0.0.1:%u", free_port());
    (void)snprintf(cluster, sizeof cluster, "n1=%s", f->addresses[0]);
    assert_int_equal(try_open(f, 0, cluster, &error), STATUS_MISMATCH);
    assert_non_null(strstr(error.text, "belongs to cluster"));
}

/* A node that lost its log has broken its promises: it must not begin a new one. */
static void a_lost_log_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct error error;

    open_all(f);
    put(f, 0, "promised");
    close_node(f, 0);
    (void)snprintf(path, sizeof path, "%s/n1/raft", f->base);
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(try_open(f, 0, f->cluster, &error), STATUS_MISMATCH);
    assert_non_null(strstr(error.text, "new member"));

    (void)snprintf(path, sizeof path, "%s/n1/state", f->base); /* Nor if nothing remembers. */
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(try_open(f, 0, f->cluster, &error), STATUS_MISMATCH);
    assert_non_null(strstr(error.text, "new member"));
}

/* As if the first start had ended between libraft's metadata and its first segment. */
static void cut_off_the_beginning(struct fixture *f)
{
    static const uint8_t metadata[32] = {[0] = 1, [8] = 1, [16] = 1}; /* Format, version, term. */
    struct identity_directory *directory;
    struct identity identity;
    struct error error;
    char path[200];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/n1/state", f->base);
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    (void)snprintf(path, sizeof path, "%s/n1/raft", f->base);
    assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    (void)snprintf(path, sizeof path, "%s/n1", f->base);
    assert_int_equal(identity_open(path, "n1", &directory, &identity, &error), STATUS_OK);
    identity.has_log = false;
    assert_int_equal(identity_store(directory, &identity, &error), STATUS_OK);
    identity_close(directory);
    (void)snprintf(path, sizeof path, "%s/n1/raft/metadata1", f->base);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(metadata, 1, sizeof metadata, file), sizeof metadata);
    assert_int_equal(fclose(file), 0);
}

static void a_log_whose_beginning_was_cut_off_is_begun_again(void **state)
{
    struct fixture *f = *state;

    open_all(f);
    close_node(f, 0);
    cut_off_the_beginning(f);

    open_all(f);

    put(f, 0, "first");
    close_node(f, 0);
    open_all(f);
    assert_true(is_there(f, 0, "first"));
}

static bool has_exited(struct fixture *f, void *data)
{
    (void)data;
    return atomic_load(&f->n_exits) > 0;
}

static void an_empty_node_beside_its_cluster_is_told_to_join(void **state)
{
    struct fixture *f = *state;
    char path[200];

    open_all(f);
    put(f, 0, "living");
    close_node(f, 2);
    (void)snprintf(path, sizeof path, "%s/n3", f->base);
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    open_node(f, 2, f->cluster);
    run_until(f, has_exited, NULL);

    assert_int_equal(f->exits[0], NODE_EXIT_REMOVED);
    assert_non_null(strstr(f->exit_error.text, "join"));
    close_node(f, 2);
    put(f, 0, "still-living");
}

static void peers_beyond_this_machine_need_consent(void **state)
{
    struct fixture *f = *state;
    char cluster[128];
    struct error error;

    (void)snprintf(cluster, sizeof cluster, "n1=%s,n2=192.0.2.1:7081", f->addresses[0]);
    assert_int_equal(try_open(f, 0, cluster, &error), STATUS_PERMISSION);
    assert_non_null(strstr(error.text, "--allow-insecure-peers"));
    (void)snprintf(f->addresses[0], sizeof f->addresses[0], "0.0.0.0:%u", free_port());
    assert_int_equal(try_open(f, 0, f->cluster, &error), STATUS_PERMISSION);
    assert_non_null(strstr(error.text, "--allow-insecure-peers"));
}

#define THREE(name) cmocka_unit_test_setup_teardown(name, set_up_three, tear_down)
#define ONE(name)   cmocka_unit_test_setup_teardown(name, set_up_one, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(three_nodes_form_a_cluster_and_take_commands_everywhere),
        THREE(many_commands_in_flight_are_all_answered),
        THREE(the_others_go_on_without_the_leader_and_it_comes_back),
        THREE(all_start_again_with_what_they_had),
        ONE(a_single_node_is_a_cluster),
        THREE(while_forming_requests_come_back),
        THREE(closing_answers_what_waits),
        ONE(one_data_directory_serves_one_node_at_a_time),
        ONE(an_empty_directory_needs_an_initial_cluster),
        ONE(a_directory_of_another_cluster_is_refused),
        THREE(a_lost_log_is_refused),
        ONE(a_log_whose_beginning_was_cut_off_is_begun_again),
        THREE(an_empty_node_beside_its_cluster_is_told_to_join),
        ONE(peers_beyond_this_machine_need_consent),
    };

    (void)signal(SIGPIPE, SIG_IGN); /* As in the daemon. */
    log_configure(getenv("HOLDFAST_TEST_LOG") == NULL ? LOG_ERROR : LOG_DEBUG, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
