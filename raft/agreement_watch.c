/* What agreement knows of the cluster and of this node's health: who leads, who is there, what time
 * it is, how full the disks are, and what to do when something is wrong with this node. */
#include <inttypes.h>
#include <string.h>

#include "daemon/base/mutation.h"
#include "raft/agreement_private.h"

#define STATUS_PERIOD_MS   100u
#define FRESH_MS           1000u /* A status is of now. */
#define REMEMBERED_MS      5000u /* A full disk is remembered when its node falls silent. */
#define TRANSFER_PERIOD_MS 200u  /* Between two tries to hand leadership over. */
#define TIME_WAIT_MS       5000u /* So long the clocks of a majority are awaited silently. */
#define SLOW_DISK_MS       1000u
#define STUCK_DISK_MS      30000u
#define STUCK_MATCH_MS     5000u  /* A follower answers, and its log does not move. */
#define STUCK_PERIOD_MS    60000u /* Between two times that this costs the leadership. */
#define STATELESS_WAIT_MS  5000u  /* A node without state waits for a leader. */
#define HOLD_LOG_MS        30000u /* After a node had its state: it starts with it, and catches up. */

struct agreement_peer *agreement_peer(struct agreement *agreement, uint64_t id)
{
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        if (agreement->peers[i].id == id) {
            return &agreement->peers[i];
        }
    }
    return NULL;
}

unsigned agreement_voters(const struct agreement *agreement)
{
    unsigned n = agreement->own_role == NODE_ROLE_VOTER ? 1 : 0;

    for (unsigned i = 0; i < agreement->n_peers; i++) {
        n += agreement->peers[i].role == NODE_ROLE_VOTER ? 1 : 0;
    }
    return n;
}

bool agreement_is_fresh(const struct agreement *agreement, const struct agreement_peer *peer,
                        uint64_t limit_ms)
{
    return peer->was_heard && agreement->now_ms - peer->heard_ms < limit_ms;
}

void agreement_exit(struct agreement *agreement, enum node_exit why, const struct error *error)
{
    if (!agreement->is_ending) {
        agreement->is_ending = true;
        agreement->options.exit(agreement->options.data, why, error);
    }
}

/* --- Who is there, and who leads --- */

/* Keep what is known of members that are still there. */
static void observe_members(struct agreement *agreement)
{
    struct agreement_peer before[LIMIT_MEMBERS];
    struct seam_configuration configuration;
    unsigned n_before = agreement->n_peers;

    seam_configuration(agreement->seam, &configuration);
    memcpy(before, agreement->peers, n_before * sizeof *before);
    agreement->n_peers = 0;
    agreement->own_role = NODE_ROLE_NONE;
    for (unsigned i = 0; i < configuration.n_members; i++) {
        struct agreement_peer *peer = &agreement->peers[agreement->n_peers];

        if (configuration.members[i].id == agreement->options.self) {
            agreement->own_role = configuration.members[i].role;
            continue;
        }
        *peer = (struct agreement_peer){.id = configuration.members[i].id};
        for (unsigned j = 0; j < n_before; j++) {
            if (before[j].id == peer->id) {
                *peer = before[j];
            }
        }
        peer->role = configuration.members[i].role;
        agreement->n_peers++;
    }
}

static void on_new_leader(struct agreement *agreement)
{
    const struct seam_view *view = &agreement->view;

    agreement->leader_term = view->term;
    agreement->n_elections++;
    agreement->cannot_transfer = false;
    agreement->is_told_of_clocks = false;
    if (view->state == SEAM_LEADER) {
        agreement->elected_ms = agreement->now_ms;
        log_info("raft", "this node leads term=%" PRIu64 " last_index=%" PRIu64, view->term,
                 view->last_index);
    } else {
        log_info("raft", "a leader is known leader=%016" PRIx64 " term=%" PRIu64, view->leader_id,
                 view->term);
    }
}

void agreement_observe(struct agreement *agreement)
{
    uint64_t led = agreement->proposer.term;
    struct seam_view *view = &agreement->view;

    seam_view(agreement->seam, view);
    observe_members(agreement);
    if (view->leader_id != 0 && view->term != agreement->leader_term) {
        on_new_leader(agreement);
    }
    if (led != 0 && view->state != SEAM_LEADER) {
        log_info("raft", "lost leadership term=%" PRIu64, view->term);
    }
    proposer_lead(&agreement->proposer, view->state == SEAM_LEADER ? view->term : 0);
    if (agreement->caught_up_index == 0) {
        agreement->caught_up_index =
            view->state == SEAM_LEADER ? view->barrier_index : view->heard_commit_index;
    }
    if (!agreement->has_caught_up && agreement->caught_up_index != 0 && agreement->has_foundation &&
        agreement->executed_index >= agreement->caught_up_index) {
        agreement->has_caught_up = true;
    }
}

/* --- Statuses --- */

void agreement_on_any_status(struct agreement *agreement, uint64_t id,
                             const struct frame_status *status)
{
    struct agreement_link *link = agreement_link(agreement, id);

    link->heard_ms = agreement->now_ms;
    link->applied_index = status->needs_state ? 0 : status->applied_index;
}

void agreement_on_status(struct agreement *agreement, struct agreement_peer *peer,
                         const struct frame_status *status)
{
    bool is_leader = peer->id == agreement->view.leader_id && status->term == agreement->view.term;

    peer->was_heard = true;
    peer->heard_ms = agreement->now_ms;
    peer->status = *status;
    clock_low_hear(&peer->clock, status->wall_ms, agreement->now_ms);
    if (status->needs_state) {
        peer->needed_state_ms = agreement->now_ms;
    }
    if (is_leader) {
        agreement->storage_full = status->storage_full;
    }
    if (status->time_ms != 0 && (is_leader || !cluster_time_is_running(&agreement->time))) {
        cluster_time_executed(&agreement->time, status->time_ms, true, agreement->now_ms);
    }
}

static void send_status(struct agreement *agreement)
{
    const struct seam_view *view = &agreement->view;
    struct frame frame = {.type = FRAME_STATUS};

    frame.status.wall_ms = agreement->wall_ms;
    frame.status.free_disk_bytes = agreement->free_disk_bytes;
    frame.status.short_of_disk = agreement->is_short_of_disk;
    frame.status.term = view->term;
    frame.status.leader_id = view->leader_id;
    frame.status.last_index = view->last_index;
    frame.status.applied_index = agreement->executed_index;
    frame.status.needs_state = view->needs_state;
    frame.status.receiving = agreement->receiving;
    frame.status.feature_level = (uint8_t)agreement->options.feature_level;
    frame.status.storage_full = view->state == SEAM_LEADER && agreement->storage_full;
    if (cluster_time_is_running(&agreement->time)) {
        frame.status.time_ms = cluster_time_now(&agreement->time, agreement->now_ms);
    }
    /* Also to those that this node does not know as members yet: it may be the new one. */
    for (unsigned i = 0; i < AGREEMENT_LINKS; i++) {
        if (agreement->links[i].is_up) {
            /* A lost status is followed by another. */
            (void)agreement->options.send(agreement->options.data, agreement->links[i].id, &frame);
        }
    }
}

/* --- Time --- */

/* The clocks of the voters that were heard of late; gives their number. */
static size_t collect_clocks(const struct agreement *agreement,
                             const struct clock_low *clocks[LIMIT_MEMBERS])
{
    size_t n = 0;

    if (agreement->own_role == NODE_ROLE_VOTER && agreement->wall_ms != 0) {
        clocks[n++] = &agreement->own_clock;
    }
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        const struct agreement_peer *peer = &agreement->peers[i];

        if (peer->role == NODE_ROLE_VOTER && agreement_is_fresh(agreement, peer, FRESH_MS)) {
            clocks[n++] = &peer->clock;
        }
    }
    return n;
}

/* Follow the voters' clocks, if those of a majority are heard: one that jumped must not move the
 * cluster. */
static bool hear_walls(struct agreement *agreement)
{
    const struct clock_low *clocks[LIMIT_MEMBERS];
    uint64_t walls[LIMIT_MEMBERS];
    size_t n = collect_clocks(agreement, clocks);

    if (!cluster_time_is_running(&agreement->time)) {
        n = clock_low_comparable(clocks, n);
    }
    if (n <= agreement_voters(agreement) / 2) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        walls[i] = clock_low_wall(clocks[i], agreement->now_ms);
    }
    cluster_time_hear_walls(&agreement->time, walls, n, agreement->now_ms);
    return true;
}

/* After a full stop there is no going on without the clocks of a majority. That costs nothing: it
 * takes a majority to commit, too, and its statuses come on the connections that reads need. */
bool agreement_knows_time(struct agreement *agreement)
{
    return cluster_time_is_running(&agreement->time) || hear_walls(agreement);
}

static void watch_time(struct agreement *agreement)
{
    if (agreement->view.state != SEAM_LEADER || agreement->is_told_of_clocks ||
        agreement->now_ms - agreement->elected_ms < TIME_WAIT_MS ||
        agreement_knows_time(agreement)) {
        return;
    }
    agreement->is_told_of_clocks = true;
    log_warn(
        "raft",
        "nothing can be written: the clocks of a majority of voters are not heard term=%" PRIu64,
        agreement->view.term);
}

/* --- Disks --- */

static void watch_space(struct agreement *agreement)
{
    uint64_t floor = agreement->options.free_disk_floor_bytes;
    bool is_full;

    /* Some way back before the alarm ends, so that it does not flap. */
    if (agreement->is_short_of_disk) {
        agreement->is_short_of_disk = agreement->free_disk_bytes < floor + floor / 4;
    } else {
        agreement->is_short_of_disk = agreement->free_disk_bytes < floor;
    }
    if (agreement->view.state != SEAM_LEADER) {
        return;
    }
    is_full = agreement->is_short_of_disk && agreement->own_role == NODE_ROLE_VOTER;
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        const struct agreement_peer *peer = &agreement->peers[i];

        if (peer->role == NODE_ROLE_VOTER && peer->status.short_of_disk &&
            agreement_is_fresh(agreement, peer, REMEMBERED_MS)) {
            is_full = true;
        }
    }
    if (is_full != agreement->storage_full) {
        log_warn("raft", "%s",
                 is_full ? "a voter is short of disk: what adds is refused"
                         : "all voters have disk space again");
    }
    agreement->storage_full = is_full;
}

static void watch_writes(struct agreement *agreement)
{
    uint64_t age_ms = agreement->view.oldest_append_ms;
    struct error error;

    if (age_ms >= STUCK_DISK_MS) {
        error_set(&error, STATUS_IO,
                  "a write to the log has not finished for %" PRIu64
                  " seconds: the disk does not answer",
                  age_ms / 1000);
        agreement_exit(agreement, NODE_EXIT_RESTART, &error);
    } else if (age_ms >= SLOW_DISK_MS && !MUTATION(slow_disk_leads_on)) {
        agreement_hand_over(agreement);
    }
}

/* --- Handing over, waiting for state --- */

/* The voter with the longest log among those that were heard of late, and, if @only_fit, are
 * neither drained nor about to lose their vote. */
static uint64_t best_successor(const struct agreement *agreement, bool only_fit)
{
    uint64_t best = 0;
    uint64_t best_index = 0;

    for (unsigned i = 0; i < agreement->n_peers; i++) {
        const struct agreement_peer *peer = &agreement->peers[i];
        uint64_t index = seam_match_index(agreement->seam, peer->id);

        if (peer->role == NODE_ROLE_VOTER && agreement_is_fresh(agreement, peer, FRESH_MS) &&
            !peer->status.needs_state &&
            (!only_fit || membership_may_lead(&agreement->changes.table, peer->id)) &&
            (best == 0 || index > best_index)) {
            best = peer->id;
            best_index = index;
        }
    }
    return best;
}

uint64_t agreement_successor(const struct agreement *agreement)
{
    return best_successor(agreement, true);
}

void agreement_hand_over(struct agreement *agreement)
{
    uint64_t successor = agreement_successor(agreement);
    enum status status;

    if (agreement->view.state != SEAM_LEADER ||
        (agreement->transfer_ms != 0 &&
         agreement->now_ms - agreement->transfer_ms < TRANSFER_PERIOD_MS)) {
        return;
    }
    agreement->transfer_ms = agreement->now_ms;
    status = seam_transfer(agreement->seam,
                           successor != 0 ? successor : best_successor(agreement, false));
    agreement->cannot_transfer = status == STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        log_info("raft", "handing leadership over term=%" PRIu64, agreement->view.term);
    }
}

/* Has this voter been behind what is committed for too long at the same place, though it answers?
 */
static bool is_stuck(struct agreement *agreement, struct agreement_peer *peer)
{
    const struct seam_view *view = &agreement->view;
    uint64_t index = seam_match_index(agreement->seam, peer->id);

    if (peer->match_term != view->term || peer->match_index != index ||
        index >= view->commit_index || peer->role != NODE_ROLE_VOTER || peer->status.needs_state ||
        !agreement_is_fresh(agreement, peer, FRESH_MS)) {
        peer->match_term = view->term;
        peer->match_index = index;
        peer->match_ms = agreement->now_ms;
        return false;
    }
    return agreement->now_ms - peer->match_ms >= STUCK_MATCH_MS;
}

/* The fault may be this leader's view of the follower, which another leader does not share. If it
 * is not, changing leaders all the time would only add to it. */
static void watch_followers(struct agreement *agreement)
{
    if (agreement->view.state != SEAM_LEADER) {
        return;
    }
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        struct agreement_peer *peer = &agreement->peers[i];

        if (!is_stuck(agreement, peer) ||
            (agreement->stuck_ms != 0 &&
             agreement->now_ms - agreement->stuck_ms < STUCK_PERIOD_MS)) {
            continue;
        }
        agreement->stuck_ms = agreement->now_ms;
        log_warn("raft",
                 "a follower answers, but its log does not move peer=%016" PRIx64 " index=%" PRIu64,
                 peer->id, peer->match_index);
        agreement_hand_over(agreement);
    }
}

/* A member that gets a state goes on from it by this node's log, if that still reaches so far. */
static void watch_needy(struct agreement *agreement)
{
    bool hold = false;

    for (unsigned i = 0; i < agreement->n_peers; i++) {
        const struct agreement_peer *peer = &agreement->peers[i];

        hold = hold || (peer->needed_state_ms != 0 &&
                        agreement->now_ms - peer->needed_state_ms < HOLD_LOG_MS);
    }
    seam_hold_log(agreement->seam, hold);
}

/* Its log on disk is intact and may be needed to elect somebody, but not before it is loaded. */
static void watch_state(struct agreement *agreement)
{
    struct error error;

    if (!agreement->view.needs_state ||
        agreement->now_ms - agreement->view.heard_ms < STATELESS_WAIT_MS) {
        return;
    }
    error_set(&error, STATUS_NO_LEADER,
              "this node waits for state, and no leader was heard for %u seconds",
              STATELESS_WAIT_MS / 1000);
    agreement_exit(agreement, NODE_EXIT_RESTART, &error);
}

/* --- The tick --- */

void agreement_tick(struct agreement *agreement, uint64_t now_ms, uint64_t wall_ms,
                    uint64_t free_disk_bytes)
{
    uint64_t passed_ms = now_ms - agreement->ticked_ms;

    agreement->now_ms = now_ms;
    agreement->ticked_ms = now_ms;
    agreement->wall_ms = wall_ms;
    clock_low_hear(&agreement->own_clock, wall_ms, now_ms);
    agreement->free_disk_bytes = free_disk_bytes;
    agreement_observe(agreement);
    if (passed_ms >= agreement->options.election_timeout_ms) {
        /* This loop stood still; the others may have a new leader since. */
        read_index_discard(&agreement->reads);
    }
    (void)hear_walls(agreement); /* Without a majority it goes on as before. */
    watch_time(agreement);
    watch_space(agreement);
    watch_writes(agreement);
    watch_followers(agreement);
    watch_needy(agreement);
    watch_state(agreement);
    agreement_watch_states(agreement);
    agreement_members_tick(agreement);
    read_index_tick(&agreement->reads, now_ms);
    if (agreement->is_closing) {
        agreement_hand_over(agreement);
    }
    if (now_ms - agreement->status_ms >= STATUS_PERIOD_MS) {
        agreement->status_ms = now_ms;
        send_status(agreement);
    }
}

/* How gladly @peer is asked for its state: a leader has other things to do. */
static int cost_of_donor(const struct agreement *agreement, const struct agreement_peer *peer)
{
    return peer->id == agreement->view.leader_id ? 2 : peer->role == NODE_ROLE_VOTER ? 1 : 0;
}

/* A new member that was given no entry yet does not know who the members are; one that was away for
 * long may know only those who are none any more. Such a one asks whoever is connected to it. */
static unsigned linked_donors(const struct agreement *agreement, uint64_t ids[LIMIT_MEMBERS])
{
    unsigned n = 0;

    for (unsigned is_leader = 0; is_leader <= 1; is_leader++) {
        for (unsigned i = 0; i < AGREEMENT_LINKS && n < LIMIT_MEMBERS; i++) {
            const struct agreement_link *link = &agreement->links[i];

            if (link->is_up && (link->id == agreement->view.leader_id) == (is_leader == 1) &&
                agreement->now_ms - link->heard_ms < FRESH_MS &&
                link->applied_index >= agreement->view.needed_index) {
                ids[n++] = link->id;
            }
        }
    }
    return n;
}

unsigned agreement_donors(const struct agreement *agreement, uint64_t ids[LIMIT_MEMBERS])
{
    unsigned n = 0;

    for (int cost = 0; cost <= 2; cost++) {
        for (unsigned i = 0; i < agreement->n_peers; i++) {
            const struct agreement_peer *peer = &agreement->peers[i];

            if (cost_of_donor(agreement, peer) == cost &&
                agreement_is_fresh(agreement, peer, FRESH_MS) && !peer->status.needs_state &&
                peer->status.applied_index >= agreement->view.needed_index) {
                ids[n++] = peer->id;
            }
        }
    }
    return n > 0 ? n : linked_donors(agreement, ids);
}

bool agreement_is_state_urgent(const struct agreement *agreement)
{
    return agreement->view.is_log_long;
}

uint64_t agreement_needed_index(const struct agreement *agreement)
{
    return agreement->view.needs_state ? agreement->view.needed_index : 0;
}

/* --- What others are told --- */

static uint32_t causes_of(const struct agreement *agreement)
{
    const struct seam_view *view = &agreement->view;
    uint32_t causes = 0;

    causes |= view->leader_id == 0 ? NODE_CAUSE_NO_LEADER : 0;
    causes |= agreement->has_caught_up ? 0 : NODE_CAUSE_BEHIND;
    causes |= view->needs_state ? NODE_CAUSE_NEEDS_STATE : 0;
    causes |= view->oldest_append_ms >= SLOW_DISK_MS ? NODE_CAUSE_SLOW_DISK : 0;
    causes |= agreement->is_closing ? NODE_CAUSE_CLOSING : 0;
    return causes;
}

static uint32_t warnings_of(const struct agreement *agreement)
{
    uint32_t warnings = agreement->states_are_split ? NODE_WARNING_STATES_SPLIT : 0;

    for (unsigned i = 0; i < agreement->n_peers; i++) {
        warnings |= agreement->peers[i].state_differs ? NODE_WARNING_STATE_DIFFERS : 0;
    }
    return warnings;
}

static enum node_state state_of(const struct agreement *agreement)
{
    if (agreement->is_closing) {
        return NODE_CLOSING;
    }
    switch (agreement->view.state) {
    case SEAM_LEADER:
        return NODE_LEADER;
    case SEAM_CANDIDATE:
        return NODE_CANDIDATE;
    case SEAM_FOLLOWER:
        return NODE_FOLLOWER;
    case SEAM_UNAVAILABLE:
        break;
    }
    return NODE_FORMING;
}

static void describe_wanted(const struct agreement *agreement, struct node_member *member)
{
    const struct membership_table *table = &agreement->changes.table;
    const struct membership_row *row = membership_find(table, member->id);

    member->is_leaving = membership_find_removed(table, member->id) != NULL;
    if (row != NULL) {
        member->wanted = row->wanted;
        member->is_drained = row->is_drained;
    }
}

static void describe_self(const struct agreement *agreement, struct node_member *member)
{
    member->id = agreement->options.self;
    member->feature_level = agreement->options.feature_level;
    member->role = (enum node_role)agreement->own_role;
    member->match_index = agreement->view.stored_index;
    member->applied_index = agreement->executed_index;
    member->last_contact_ms = 0;
    member->healthy = !agreement->is_short_of_disk;
    member->needs_state = agreement->view.needs_state;
    member->receiving = agreement->receiving;
    describe_wanted(agreement, member);
}

static void describe_peer(const struct agreement *agreement, const struct agreement_peer *peer,
                          struct node_member *member)
{
    member->id = peer->id;
    member->feature_level = peer->status.feature_level;
    member->role = (enum node_role)peer->role;
    member->match_index = agreement->view.state == SEAM_LEADER
                              ? seam_match_index(agreement->seam, peer->id)
                              : peer->status.last_index;
    member->applied_index = peer->status.applied_index;
    member->last_contact_ms = peer->was_heard ? agreement->now_ms - peer->heard_ms : UINT64_MAX;
    member->state_differs = peer->state_differs;
    member->healthy = agreement_is_fresh(agreement, peer, FRESH_MS) && !peer->status.short_of_disk;
    member->needs_state = peer->status.needs_state;
    member->receiving = peer->status.receiving;
    describe_wanted(agreement, member);
}

static void describe_counts(const struct agreement *agreement, struct node_status *status)
{
    const struct seam_view *view = &agreement->view;

    status->elections = agreement->n_elections;
    status->pending_commands = agreement->batch.n_waiting + agreement->batch.n_sent;
    status->pending_bytes = agreement->batch.bytes;
    status->forwarded_bundles = agreement->n_forwarded;
    status->resubmitted_bundles = agreement->batch.n_resubmitted;
    status->entries_proposed = agreement->proposer.n_entries;
    status->commands_proposed = agreement->proposer.n_commands;
    status->bytes_proposed = agreement->proposer.n_bytes;
    status->read_rounds = agreement->reads.n_rounds;
    status->reads = agreement->reads.n_reads;
    status->log_appends = view->appends;
    status->log_append_nanoseconds = view->append_nanoseconds;
    status->snapshots = view->snapshots;
}

void agreement_status(struct agreement *agreement, uint64_t now_ms, struct node_status *status)
{
    const struct seam_view *view = &agreement->view;

    agreement->now_ms = now_ms;
    agreement_observe(agreement);
    strncpy(status->cluster_id, agreement->cluster_id, sizeof status->cluster_id - 1);
    status->cluster_id[sizeof status->cluster_id - 1] = '\0';
    status->id = agreement->options.self;
    status->state = state_of(agreement);
    status->leader_id = view->leader_id;
    status->term = view->term;
    status->last_index = view->last_index;
    status->commit_index = view->commit_index;
    status->applied_index = agreement->executed_index;
    status->causes = causes_of(agreement);
    status->warnings = warnings_of(agreement);
    status->compared_index = agreement->comparison.agreed_index;
    status->storage_full = agreement->storage_full;
    status->feature_level = agreement_feature_level(agreement);
    describe_counts(agreement, status);
    status->n_members = 0;
    if (agreement->own_role != NODE_ROLE_NONE) {
        describe_self(agreement, &status->members[status->n_members++]);
    }
    for (unsigned i = 0; i < agreement->n_peers && status->n_members < LIMIT_MEMBERS; i++) {
        describe_peer(agreement, &agreement->peers[i], &status->members[status->n_members++]);
    }
}
