/* Members that come, change and go, at random, in a simulated cluster.
 *
 * Operators ask any node for changes. Slots of the cluster that hold no member wait to be taken in,
 * and are wiped when their member was removed; each time they are given a new id. What the table of
 * members says at an index is worked out here, next to the state machine. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/sim/cluster_private.h"

#define LOOK_MS    50u
#define SLOWEST_MS 2500u
#define DIAL_MS    20u

/* A command on the table, where it was executed. */
struct member_event {
    uint64_t index;
    enum operation_kind kind;
    uint64_t id;
    enum member_wanted wanted;
    bool is_drained;
    bool is_forced;
    char name[8];
    unsigned feature_level; /* With OPERATION_FEATURE_RAISE. */
};

struct churn {
    struct cluster *cluster;
    struct member_event *events;
    size_t n_events;
    bool is_over;
    struct member_change last; /* As it was answered. */
    uint64_t n_done;
    uint64_t n_refused;
    uint64_t n_open;
};

/* --- The table --- */

void churn_command(struct cluster *cluster, uint64_t index, const struct operation *operation)
{
    struct churn *churn = cluster->churn;
    const struct member_operation *member = &operation->member;
    struct member_event *event;

    churn->events = memory_resize(churn->events, (churn->n_events + 1) * sizeof *churn->events);
    event = &churn->events[churn->n_events++];
    if (operation->kind == OPERATION_FEATURE_RAISE) {
        *event = (struct member_event){
            .index = index, .kind = operation->kind, .feature_level = operation->feature_level};
        cluster->counts.raised++;
        return;
    }
    *event = (struct member_event){.index = index,
                                   .kind = operation->kind,
                                   .id = member->id,
                                   .wanted = member->wanted,
                                   .is_drained = member->is_drained,
                                   .is_forced = member->is_forced};
    (void)snprintf(event->name, sizeof event->name, "%.*s", (int)member->name.size,
                   member->name.size == 0 ? "" : (const char *)member->name.data); /* Fits. */
}

bool churn_is_forced(const struct cluster *cluster)
{
    const struct churn *churn = cluster->churn;

    for (size_t i = 0; churn != NULL && i < churn->n_events; i++) {
        if (churn->events[i].is_forced) {
            return true;
        }
    }
    return false;
}

static struct membership_row *row_of(struct membership_table *table, uint64_t id)
{
    return (struct membership_row *)membership_find(table, id);
}

static void add_row(struct membership_table *table, uint64_t id, const char *name)
{
    struct membership_row *row = &table->rows[table->n_rows++];

    *row = (struct membership_row){.id = id};
    (void)snprintf(row->name, sizeof row->name, "%s", name);
    (void)snprintf(row->peer_address, sizeof row->peer_address, "%s:1", name);
    (void)snprintf(row->api_address, sizeof row->api_address, "%s:2", name);
}

static void add_removed(struct membership_table *table, const struct member_event *event)
{
    struct membership_row *row = row_of(table, event->id);

    if (membership_find_removed(table, event->id) == NULL) {
        table->removed =
            memory_resize(table->removed, (table->n_removed + 1) * sizeof *table->removed);
        table->removed[table->n_removed++] =
            (struct membership_removed){.id = event->id, .is_forced = event->is_forced};
    }
    if (row != NULL) {
        *row = table->rows[--table->n_rows];
    }
}

static void fold(struct membership_table *table, const struct member_event *event)
{
    struct membership_row *row;

    if (event->kind == OPERATION_FEATURE_RAISE) {
        table->feature_level = event->feature_level;
        return;
    }
    row = row_of(table, event->id);
    if (event->kind == OPERATION_MEMBER_REMOVE) {
        add_removed(table, event);
        return;
    }
    if (membership_find_removed(table, event->id) != NULL) {
        return;
    }
    if (event->kind == OPERATION_MEMBER_ADD && row == NULL) {
        if (membership_find_name(table, event->name) != NULL || table->n_rows == LIMIT_MEMBERS) {
            return;
        }
        add_row(table, event->id, event->name);
        row = row_of(table, event->id);
        row->wanted = event->wanted;
    } else if (event->kind == OPERATION_MEMBER_CHANGE && row != NULL) {
        row->wanted = event->wanted;
        row->is_drained = event->is_drained;
        row->is_forced = event->is_forced;
    }
}

static void table_at(const struct churn *churn, uint64_t index, struct membership_table *table)
{
    const struct cluster *cluster = churn->cluster;

    *table = (struct membership_table){.applied_index = index, .feature_level = FEATURE_LEVEL};
    for (unsigned i = 0; i < cluster->options.n_founders; i++) {
        char name[8];

        (void)snprintf(name, sizeof name, "s%u", i % 100); /* Fits. */
        add_row(table, cluster->founder_ids[i], name);
    }
    for (size_t i = 0; i < churn->n_events && churn->events[i].index <= index; i++) {
        fold(table, &churn->events[i]);
    }
}

void churn_tick(struct node *node)
{
    struct membership_table *table;

    if (node->cluster->churn == NULL) {
        return;
    }
    table = memory_new(sizeof *table);
    table_at(node->cluster->churn, node->executor.now.applied, table);
    agreement_set_table(node->agreement, table, sim_now_ms(node->cluster->sim));
    membership_table_close(table);
    free(table);
}

/* --- Joining --- */

struct visit {
    struct node *leader;
    uint64_t leader_epoch;
    unsigned slot;
};

static bool can_talk(const struct node *a, const struct node *b)
{
    return !a->cluster->cut[a->number][b->number] && !a->cluster->cut[b->number][a->number];
}

/* The new node says who it is, and stores what it is offered. */
static void visit(struct node *leader, struct node *joiner, uint64_t now_ms)
{
    char name[8];
    struct frame offer;
    struct frame_hello hello = {
        .identity = joiner->is_accepted ? IDENTITY_PENDING : IDENTITY_EMPTY,
        .cluster_id = slice_of_string(joiner->is_accepted ? CLUSTER_ID : ""),
        .id = joiner->is_accepted ? joiner->id : 0,
        .feature_level = (uint8_t)joiner->feature_level,
    };

    (void)snprintf(name, sizeof name, "s%u", joiner->number % 100); /* Fits. */
    hello.name = slice_of_string(name);
    if (!agreement_met(leader->agreement, &hello, sim_random(leader->cluster->sim) | 1, &offer,
                       now_ms)) {
        return;
    }
    if (!joiner->is_accepted) {
        joiner->id = offer.join_offer.id;
        joiner->is_accepted = true;
        joiner->is_absent = false;
        node_boot(joiner, false);
    }
    if (!leader->cluster->churn->is_over &&
        sim_once_in(leader->cluster->sim, 5)) { /* The answer is lost. */
        agreement_joined(leader->agreement, MEMBER_REASON_UNREACHABLE, "lost", now_ms);
    } else {
        agreement_joined(leader->agreement, MEMBER_REASON_NONE, "", now_ms);
    }
}

static void on_visit(void *data)
{
    const struct visit *v = data;
    struct node *leader = v->leader;
    struct cluster *cluster = leader->cluster;
    struct node *joiner = &cluster->nodes[v->slot];
    uint64_t now_ms = sim_now_ms(cluster->sim);

    if (sim_is_closing(cluster->sim) || !leader->is_alive ||
        leader->owner.epoch != v->leader_epoch) {
        return;
    }
    if (!can_talk(leader, joiner) || (joiner->is_accepted && !joiner->is_alive)) {
        agreement_joined(leader->agreement, MEMBER_REASON_UNREACHABLE, "not there", now_ms);
    } else {
        visit(leader, joiner, now_ms);
    }
    node_turn(leader);
}

void churn_dial(void *data, const char *peer_address)
{
    struct node *leader = data;
    struct sim *sim = leader->cluster->sim;
    struct visit *v = memory_new(sizeof *v);

    *v = (struct visit){.leader = leader,
                        .leader_epoch = leader->owner.epoch,
                        .slot = (unsigned)strtoul(peer_address + 1, NULL, 10)};
    sim_at(sim, sim_now_ms(sim) + sim_between(sim, 1, DIAL_MS), NULL, on_visit, v);
}

/* --- Operators --- */

void churn_answer(void *data, struct member_change *change)
{
    struct node *node = data;
    struct churn *churn = node->cluster->churn;

    churn->last = *change;
    churn->n_done += change->status == STATUS_OK ? 1 : 0;
    churn->n_refused += change->status == STATUS_PERMISSION ? 1 : 0;
    churn->n_open += change->status == STATUS_TIMEOUT || change->status == STATUS_UNCERTAIN ? 1 : 0;
    if (!sim_is_closing(node->cluster->sim)) {
        sim_trace(node->cluster->sim, "change %d of %s through node %u: %s %s", (int)change->kind,
                  change->name, node->number, status_text(change->status), change->text);
    }
    free(change);
}

static void name_slot(unsigned slot, struct member_change *change)
{
    (void)snprintf(change->name, sizeof change->name, "s%u", slot);
    (void)snprintf(change->peer_address, sizeof change->peer_address, "s%u:1", slot);
    (void)snprintf(change->api_address, sizeof change->api_address, "s%u:2", slot);
}

static void draw_change(struct cluster *cluster, struct member_change *change)
{
    static const enum member_wanted roles[] = {MEMBER_VOTER, MEMBER_STANDBY, MEMBER_SPARE,
                                               MEMBER_AUTO};
    struct sim *sim = cluster->sim;
    unsigned slot = sim_between(sim, 0, cluster->options.n_nodes - 1);
    unsigned dice = sim_between(sim, 0, 9);

    name_slot(slot, change);
    change->is_forced = sim_once_in(sim, 20);
    if (!cluster->nodes[slot].is_alive && cluster->nodes[slot].is_absent) {
        change->kind = MEMBER_CHANGE_ADD;
        change->wanted = sim_once_in(sim, 4) ? MEMBER_STANDBY : MEMBER_AUTO;
        change->is_forced = false;
    } else if (dice < 4) {
        change->kind = MEMBER_CHANGE_REMOVE;
    } else if (dice < 7) {
        change->kind = MEMBER_CHANGE_ROLE;
        change->wanted = roles[sim_between(sim, 0, 3)];
    } else {
        change->kind = dice == 7   ? MEMBER_CHANGE_TRANSFER
                       : dice == 8 ? MEMBER_CHANGE_DRAIN
                                   : MEMBER_CHANGE_UNDRAIN;
    }
}

void cluster_ask_change(struct cluster *cluster, unsigned via, const struct member_change *change)
{
    struct node *node = &cluster->nodes[via];
    struct member_change *copy = memory_new(sizeof *copy);

    *copy = *change;
    if (change->name[0] != '\0') {
        name_slot((unsigned)strtoul(change->name + 1, NULL, 10), copy);
    }
    agreement_change(node->agreement, copy, sim_now_ms(cluster->sim));
    node_turn(node);
}

const struct member_change *cluster_change(const struct cluster *cluster)
{
    return &cluster->churn->last;
}

static void ask(struct cluster *cluster)
{
    struct node *node = &cluster->nodes[sim_between(cluster->sim, 0, cluster->options.n_nodes - 1)];
    struct member_change *change;

    if (!node->is_alive || cluster->churn->is_over) {
        return;
    }
    change = memory_new_zeroed(1, sizeof *change);
    draw_change(cluster, change);
    agreement_change(node->agreement, change, sim_now_ms(cluster->sim));
    node_turn(node);
}

static void after(struct cluster *cluster, unsigned ms, sim_event_cb cb)
{
    struct cluster **event = memory_new(sizeof(struct cluster *));

    *event = cluster;
    sim_at(cluster->sim, sim_now_ms(cluster->sim) + ms, NULL, cb, event);
}

static void on_ask(void *data)
{
    struct cluster *cluster = *(struct cluster **)data;

    if (!sim_is_closing(cluster->sim)) {
        ask(cluster);
        after(cluster, sim_between(cluster->sim, 50, SLOWEST_MS), on_ask);
    }
}

/* --- Being removed --- */

/* As struct members and peers do it: the committed configuration is without it. */
static bool knows_of_removal(const struct node *node, uint64_t id)
{
    struct seam_configuration configuration;
    struct membership_table *table = memory_new(sizeof *table);
    struct seam_view view;
    bool knows;

    table_at(node->cluster->churn, node->executor.now.applied, table);
    knows = membership_find_removed(table, id) != NULL;
    membership_table_close(table);
    free(table);
    seam_view(node->seam, &view);
    seam_configuration(node->seam, &configuration);
    for (unsigned i = 0; i < configuration.n_members; i++) {
        knows = knows && configuration.members[i].id != id;
    }
    return knows && view.configuration_index <= view.commit_index && configuration.n_members > 0 &&
           view.commit_index >= node->executor.now.applied;
}

/* It ends, and its machine is wiped, to be used again. */
void churn_retire(struct node *node)
{
    sim_trace(node->cluster->sim, "node %u learns that it was removed", node->number);
    if (node->is_alive) {
        node_die(node);
    }
    node->is_absent = true;
    node->is_accepted = false;
    if (node->cluster->options.has_upgrades) {
        node->feature_level = sim_between(node->cluster->sim, node->feature_level, NEXT_LEVEL);
    }
    node->id = sim_random(node->cluster->sim) | 1; /* Of nobody. */
    sim_disk_close(&node->disk);
    sim_disk_init(&node->disk);
    executor_remove(node);
    executor_init(node);
}

static void look_for_removed(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        struct node *node = &cluster->nodes[i];
        bool is_told = false;

        for (unsigned j = 0; node->is_alive && j < cluster->options.n_nodes; j++) {
            const struct node *other = &cluster->nodes[j];

            is_told = is_told || (i != j && other->is_alive && can_talk(node, other) &&
                                  knows_of_removal(other, node->id));
        }
        if (is_told) {
            churn_retire(node);
        }
    }
}

static void on_look(void *data)
{
    struct cluster *cluster = *(struct cluster **)data;

    if (!sim_is_closing(cluster->sim)) {
        look_for_removed(cluster);
        after(cluster, LOOK_MS, on_look);
    }
}

/* --- At the end --- */

static int member_role(const struct cluster *cluster, const struct node *node)
{
    struct seam_configuration configuration;
    int leader = cluster_leader(cluster);

    if (leader < 0) {
        return NODE_ROLE_NONE;
    }
    seam_configuration(cluster->nodes[leader].seam, &configuration);
    for (unsigned i = 0; i < configuration.n_members; i++) {
        if (configuration.members[i].id == node->id) {
            return configuration.members[i].role;
        }
    }
    return NODE_ROLE_NONE;
}

bool churn_gets_entries(const struct cluster *cluster, const struct node *node)
{
    int role = member_role(cluster, node);

    return cluster->churn == NULL || role == NODE_ROLE_VOTER || role == NODE_ROLE_STANDBY;
}

/* The lowest level of the members, or 0 if there is one that the leader cannot count on. */
static unsigned lowest_level(const struct cluster *cluster, const struct membership_table *table)
{
    unsigned lowest = UINT_MAX;
    unsigned n = 0;

    for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
        const struct node *node = &cluster->nodes[i];

        if (member_role(cluster, node) != NODE_ROLE_NONE) {
            if (!node->is_alive || cluster_needs_state(cluster, i)) {
                return 0;
            }
            lowest = node->feature_level < lowest ? node->feature_level : lowest;
            n++;
        }
    }
    return n == table->n_rows ? lowest : 0;
}

void churn_check_level(const struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    struct membership_table *table;
    unsigned lowest;

    if (cluster->churn == NULL || leader < 0) {
        return;
    }
    table = memory_new(sizeof *table);
    table_at(cluster->churn, cluster->nodes[leader].executor.now.applied, table);
    lowest = lowest_level(cluster, table);
    SIM_EXPECT(cluster->sim, lowest == 0 || table->feature_level == lowest,
               "the cluster is at feature level %u, and all know %u", table->feature_level, lowest);
    membership_table_close(table);
    free(table);
}

void churn_describe(struct cluster *cluster)
{
    struct churn *churn = cluster->churn;

    if (churn != NULL) {
        sim_trace(cluster->sim,
                  "%zu changes of the table; %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64
                  " open",
                  churn->n_events, churn->n_done, churn->n_refused, churn->n_open);
        for (unsigned i = 0; i < cluster->options.n_nodes; i++) {
            struct seam_configuration configuration;

            if (!cluster->nodes[i].is_alive) {
                continue;
            }
            seam_configuration(cluster->nodes[i].seam, &configuration);
            for (unsigned j = 0; j < configuration.n_members; j++) {
                sim_trace(cluster->sim, "node %u (%016" PRIx64 "): member %016" PRIx64 " role %d",
                          i, cluster->nodes[i].id, configuration.members[j].id,
                          configuration.members[j].role);
            }
        }
    }
}

void cluster_end_churn(struct cluster *cluster)
{
    if (cluster->churn != NULL) {
        cluster->churn->is_over = true;
    }
}

uint64_t churn_done(const struct cluster *cluster)
{
    return cluster->churn == NULL ? 0 : cluster->churn->n_done;
}

/* --- Life --- */

void churn_open(struct cluster *cluster)
{
    cluster->churn = memory_new_zeroed(1, sizeof *cluster->churn);
    cluster->churn->cluster = cluster;
    after(cluster, sim_between(cluster->sim, 50, SLOWEST_MS), on_ask);
    after(cluster, LOOK_MS, on_look);
}

void churn_close(struct cluster *cluster)
{
    if (cluster->churn != NULL) {
        free(cluster->churn->events);
        free(cluster->churn);
    }
}
