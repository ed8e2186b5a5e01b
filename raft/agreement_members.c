/* Changes of the members: what an operator asks for, and what the leader does for it.
 *
 * 1. agreement_change() takes a request on any node. At each tick it is put to whoever leads, again
 *    and again, until the answer is final: asking twice is the same as asking once.
 * 2. The leader judges it (membership.h). For a node that is to join, it first dials it, and offers
 *    it an id, which the node stores.
 * 3. What may be, the leader proposes: a command that changes the replicated table.
 * 4. Whoever leads compares the table with libraft's configuration, and takes one step after the
 *    other until they agree.
 * 5. The leader, asked again, says that it is done.
 *
 * What can go wrong:
 * - The leader is lost before 3: the next one is asked and begins anew; a node that stored an id is
 *   offered the same one. After 3 it goes on by itself.
 * - What is agreed upon waits for members that are not well: the asker is told so after a while.
 * - A leader whose table is older than its term would undo what others did: it waits until it has
 *   executed everything from before its term. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/mutation.h"
#include "raft/agreement_private.h"
#include "storage/feature.h"

#define ASK_PERIOD_MS  100u
#define CHANGE_WAIT_MS 5000u /* Then the asker is told how far it came. */
#define FRESH_MS       1000u
#define QUIET_PAUSE_MS 1000u /* Between two times that nothing is proposed for a new voter. */
#define TARGET_VOTERS  3u

/* --- Links --- */

/* A place that was never used comes first: what is down may be a member still. */
struct agreement_link *agreement_link(struct agreement *agreement, uint64_t id)
{
    struct agreement_link *unused = NULL;

    for (unsigned i = 0; i < AGREEMENT_LINKS; i++) {
        struct agreement_link *link = &agreement->links[i];

        if (link->id == id) {
            return link;
        }
        if (!link->is_up && (unused == NULL || (link->id == 0 && unused->id != 0))) {
            unused = link;
        }
    }
    CHECK(unused != NULL); /* There are twice as many as there are members. */
    *unused = (struct agreement_link){.id = id};
    return unused;
}

bool agreement_can_reach_leader(struct agreement *agreement)
{
    uint64_t leader = agreement->view.leader_id;

    return agreement->view.state == SEAM_LEADER ||
           (agreement_peer(agreement, leader) != NULL && agreement_link(agreement, leader)->is_up);
}

/* --- What the leader knows --- */

/* A leader that was elected just now has no word on how long others were silent before. */
static uint64_t last_sign(const struct agreement *agreement, const struct agreement_peer *peer)
{
    return peer->was_heard && peer->heard_ms > agreement->elected_ms ? peer->heard_ms
                                                                     : agreement->elected_ms;
}

static void add_peer(const struct agreement *agreement, const struct agreement_peer *peer,
                     struct membership_view *view)
{
    view->members[view->n_members++] = (struct membership_member){
        .id = peer->id,
        .role = peer->role,
        .is_well = agreement_is_fresh(agreement, peer, FRESH_MS) && !peer->status.needs_state,
        .needs_state = peer->status.needs_state,
        .was_heard = peer->was_heard,
        .silent_ms = agreement->now_ms - last_sign(agreement, peer),
        .feature_level = peer->status.feature_level,
        .match_index = seam_match_index(agreement->seam, peer->id),
    };
}

void agreement_look(const struct agreement *agreement, struct membership_view *view)
{
    const struct seam_view *seam = &agreement->view;

    *view = (struct membership_view){
        .self = agreement->options.self,
        .may_change = seam_may_change(agreement->seam),
        .own_index = seam->own_index,
        .configuration_index = seam->configuration_index,
        .commit_index = seam->commit_index,
        .last_index = seam->last_index,
        .target_voters = agreement->options.target_voters,
    };
    if (agreement->own_role != NODE_ROLE_NONE) {
        view->members[view->n_members++] = (struct membership_member){
            .id = agreement->options.self,
            .role = agreement->own_role,
            .is_well = true,
            .was_heard = true,
            .feature_level = agreement->options.feature_level,
            .match_index = seam->stored_index,
        };
    }
    for (unsigned i = 0; i < agreement->n_peers; i++) {
        add_peer(agreement, &agreement->peers[i], view);
    }
}

bool agreement_may_judge(const struct agreement *agreement)
{
    return agreement->view.state == SEAM_LEADER && !agreement->is_closing &&
           (agreement->changes.table.applied_index >= agreement->view.barrier_index ||
            MUTATION(rule10_earlier_table)) &&
           agreement->view.commit_index >= agreement->view.own_index;
}

bool agreement_is_proposing(const struct agreement *agreement)
{
    const struct agreement_changes *changes = &agreement->changes;
    const struct pending_bundle *bundle;

    if (changes->sequence == 0) {
        return false;
    }
    if (changes->index != 0) {
        return changes->table.applied_index < changes->index;
    }
    bundle = batch_find(&agreement->batch, changes->sequence);
    return bundle != NULL && bundle->sequence == changes->sequence;
}

static void propose(struct agreement *agreement, struct operation *operations, uint32_t n)
{
    const struct command command = {.n_operations = n, .operations = operations};

    CHECK(!agreement_is_proposing(agreement));
    agreement->changes.index = 0;
    agreement->changes.sequence = agreement_propose_own(agreement, &command);
}

/* --- Judging and proposing --- */

static void operation_of(const struct agreement *agreement, const struct member_change *change,
                         uint64_t id, struct operation *operation)
{
    const struct membership_row *row = membership_find(&agreement->changes.table, id);
    struct member_operation *member = &operation->member;

    *operation = (struct operation){.kind = OPERATION_MEMBER_CHANGE};
    member->id = id;
    if (row != NULL) {
        member->name = slice_of_string(row->name);
        member->peer_address = slice_of_string(row->peer_address);
        member->api_address = slice_of_string(row->api_address);
        member->wanted = row->wanted;
        member->is_drained = row->is_drained;
        member->is_forced = row->is_forced;
    }
    switch (change->kind) {
    case MEMBER_CHANGE_ROLE:
        member->wanted = change->wanted;
        member->is_forced = change->is_forced;
        return;
    case MEMBER_CHANGE_REMOVE:
        operation->kind = OPERATION_MEMBER_REMOVE;
        member->is_forced = change->is_forced;
        return;
    case MEMBER_CHANGE_DRAIN:
        member->is_drained = true;
        return;
    case MEMBER_CHANGE_UNDRAIN:
        member->is_drained = false;
        return;
    default:
        CHECK(change->kind == MEMBER_CHANGE_ADD);
        operation->kind = OPERATION_MEMBER_ADD;
        member->name = slice_of_string(change->name);
        member->peer_address = slice_of_string(change->peer_address);
        member->api_address = slice_of_string(change->api_address);
        member->zone = slice_of_string(change->zone);
        member->wanted = change->wanted;
    }
}

static const char *kind_text(enum member_change_kind kind)
{
    static const char *const texts[MEMBER_CHANGE_KINDS] = {
        [MEMBER_CHANGE_ADD] = "add a member",
        [MEMBER_CHANGE_ROLE] = "change the role of a member",
        [MEMBER_CHANGE_REMOVE] = "remove a member",
        [MEMBER_CHANGE_DRAIN] = "drain a member",
        [MEMBER_CHANGE_UNDRAIN] = "undrain a member",
        [MEMBER_CHANGE_TRANSFER] = "hand leadership over",
    };

    return texts[kind];
}

void agreement_carry_out(struct agreement *agreement, const struct member_change *change,
                         struct membership_judgement *judgement)
{
    struct operation operation;
    enum status status;

    if (change->kind == MEMBER_CHANGE_TRANSFER) {
        status = seam_transfer(agreement->seam,
                               judgement->id != 0 ? judgement->id : agreement_successor(agreement));
        if (status == STATUS_OK) {
            log_info("raft", "handing leadership over as asked term=%" PRIu64,
                     agreement->view.term);
        }
        return; /* If not, it is asked again. */
    }
    operation_of(agreement, change, judgement->id, &operation);
    log_info("cluster", "proposing to %s member=%016" PRIx64 " name=%s", kind_text(change->kind),
             judgement->id, change->name);
    propose(agreement, &operation, 1);
}

/* Judge a request as the leader, and begin with what it needs. False: it cannot say yet. */
static bool handle(struct agreement *agreement, uint64_t asker, const struct member_change *change,
                   struct membership_judgement *judgement)
{
    const struct agreement_changes *changes = &agreement->changes;
    struct membership_view view;

    if (!agreement_may_judge(agreement) || agreement_is_proposing(agreement)) {
        return false;
    }
    *judgement = (struct membership_judgement){.verdict = MEMBERSHIP_MAY, .id = change->id};
    agreement_look(agreement, &view);
    /* Only the new node itself knows whether it was offered an id before. */
    if (change->kind == MEMBER_CHANGE_ADD &&
        (change->id == 0 || membership_find(&changes->table, change->id) == NULL)) {
        agreement_begin_dial(agreement, asker, change, judgement);
        return true;
    }
    membership_judge(&changes->table, &view, change, change->id, judgement);
    if (judgement->verdict == MEMBERSHIP_MAY) {
        agreement_carry_out(agreement, change, judgement);
    }
    return true;
}

/* --- Those who ask --- */

static void finish(struct agreement *agreement, struct member_change *change, enum status status)
{
    queue_remove(&change->message.link);
    agreement->changes.n_waiting--;
    change->status = status;
    agreement->options.answer_change(agreement->options.data, change); /* It is gone. */
}

static void note(struct agreement *agreement, struct member_change *change,
                 const struct membership_judgement *judgement)
{
    if (judgement->id != 0) {
        change->id = judgement->id;
    }
    change->was_asked = true;
    change->reason = judgement->reason;
    memcpy(change->text, judgement->text, sizeof change->text);
    switch (judgement->verdict) {
    case MEMBERSHIP_DONE:
        finish(agreement, change, STATUS_OK);
        return;
    case MEMBERSHIP_REFUSED:
        finish(agreement, change, STATUS_PERMISSION);
        return;
    case MEMBERSHIP_UNDER_WAY:
        change->was_agreed = true;
        return;
    case MEMBERSHIP_MAY:
        return;
    }
}

void agreement_tell(struct agreement *agreement, uint64_t asker, uint64_t number,
                    const struct membership_judgement *judgement)
{
    struct frame frame = {.type = FRAME_CHANGE_ANSWER};

    if (asker == agreement->options.self) {
        struct link *link = queue_first(&agreement->changes.waiting);

        for (; link != NULL; link = queue_next(&agreement->changes.waiting, link)) {
            struct member_change *change = CONTAINER_OF(link, struct member_change, message.link);

            if (change->number == number) {
                note(agreement, change, judgement);
                return;
            }
        }
        return; /* It was answered meanwhile. */
    }
    frame.change_answer = (struct frame_change_answer){
        .number = number,
        .verdict = judgement->verdict,
        .reason = judgement->reason,
        .id = judgement->id,
        .text = slice_of_string(judgement->text),
    };
    /* If it is lost, it is asked for again. */
    (void)agreement->options.send(agreement->options.data, asker, &frame);
}

static void ask(struct agreement *agreement, struct member_change *change)
{
    struct membership_judgement judgement;
    struct frame frame = {.type = FRAME_CHANGE_ASK};

    change->asked_ms = agreement->now_ms;
    if (change->from == 0) {
        change->from = agreement->view.leader_id;
    }
    if (agreement->view.state == SEAM_LEADER) {
        if (handle(agreement, agreement->options.self, change, &judgement)) {
            note(agreement, change, &judgement);
        }
        return;
    }
    frame.change_ask = (struct frame_change_ask){
        .number = change->number,
        .kind = change->kind,
        .id = change->id,
        .from = change->from,
        .wanted = change->wanted,
        .is_forced = change->is_forced,
        .name = slice_of_string(change->name),
        .peer_address = slice_of_string(change->peer_address),
        .api_address = slice_of_string(change->api_address),
        .zone = slice_of_string(change->zone),
    };
    if (agreement->options.send(agreement->options.data, agreement->view.leader_id, &frame)) {
        change->was_asked = true;
    }
}

static void take_text(struct slice from, char *to, size_t size)
{
    CHECK(from.size < size); /* frame.c has looked. */
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    to[from.size] = '\0';
}

void agreement_on_change_ask(struct agreement *agreement, uint64_t peer,
                             const struct frame_change_ask *ask)
{
    struct membership_judgement judgement;
    struct member_change change = {
        .kind = ask->kind,
        .wanted = ask->wanted,
        .is_forced = ask->is_forced,
        .id = ask->id,
        .from = ask->from,
        .number = ask->number,
    };

    take_text(ask->name, change.name, sizeof change.name);
    take_text(ask->peer_address, change.peer_address, sizeof change.peer_address);
    take_text(ask->api_address, change.api_address, sizeof change.api_address);
    take_text(ask->zone, change.zone, sizeof change.zone);
    agreement_observe(agreement);
    if (handle(agreement, peer, &change, &judgement)) {
        agreement_tell(agreement, peer, ask->number, &judgement);
    }
}

void agreement_on_change_answer(struct agreement *agreement, uint64_t peer,
                                const struct frame_change_answer *answer)
{
    struct membership_judgement judgement = {
        .verdict = (enum membership_verdict)answer->verdict,
        .reason = answer->reason,
        .id = answer->id,
    };

    (void)peer; /* Whoever led then: what is done stays done, and a refusal was meant. */
    take_text(answer->text, judgement.text, sizeof judgement.text);
    agreement_tell(agreement, agreement->options.self, answer->number, &judgement);
}

void agreement_change(struct agreement *agreement, struct member_change *change, uint64_t now_ms)
{
    const struct membership_row *row;

    agreement->now_ms = now_ms;
    change->status = STATUS_OK;
    change->reason = MEMBER_REASON_NONE;
    change->text[0] = '\0';
    change->id = 0;
    change->from = 0;
    change->was_asked = false;
    change->was_agreed = false;
    change->begun_ms = now_ms;
    change->asked_ms = 0;
    change->number = agreement->changes.next_number++;
    queue_push(&agreement->changes.waiting, &change->message.link);
    agreement->changes.n_waiting++;
    if (agreement->is_closing) {
        finish(agreement, change, STATUS_CLOSED);
        return;
    }
    /* Asked for twice, a removal must not find the name gone. */
    row = membership_find_name(&agreement->changes.table, change->name);
    if (row != NULL && change->kind != MEMBER_CHANGE_ADD) {
        change->id = row->id;
    }
}

static void serve(struct agreement *agreement, struct member_change *change)
{
    uint64_t waited_ms = agreement->now_ms - change->begun_ms;

    if (waited_ms >= CHANGE_WAIT_MS) {
        finish(agreement, change,
               change->was_agreed  ? STATUS_TIMEOUT
               : change->was_asked ? STATUS_UNCERTAIN
                                   : STATUS_NO_LEADER);
        return;
    }
    if (!agreement_can_reach_leader(agreement)) {
        if (!change->was_asked && waited_ms >= LIMIT_NO_LEADER_WAIT_MS) {
            finish(agreement, change, STATUS_NO_LEADER);
        }
        return;
    }
    if (change->asked_ms == 0 || agreement->now_ms - change->asked_ms >= ASK_PERIOD_MS) {
        ask(agreement, change);
    }
}

static void serve_all(struct agreement *agreement)
{
    struct link *next;

    for (struct link *link = queue_first(&agreement->changes.waiting); link != NULL; link = next) {
        next = queue_next(&agreement->changes.waiting, link);
        serve(agreement, CONTAINER_OF(link, struct member_change, message.link));
    }
}

/* --- Steps --- */

static void end_quiet(struct agreement *agreement)
{
    if (agreement->changes.is_quiet) {
        agreement->changes.is_quiet = false;
        agreement->changes.no_quiet_before_ms = agreement->now_ms + QUIET_PAUSE_MS;
    }
}

/* A member becomes a voter when it has everything that this leader has. Under load that is never
 * so, unless nothing is proposed for as long as it takes to send it there and hear back. False: it
 * has not yet. */
static bool is_level(struct agreement *agreement, uint64_t id)
{
    struct agreement_changes *changes = &agreement->changes;

    if (seam_match_index(agreement->seam, id) == agreement->view.last_index) {
        return true;
    }
    if (!changes->is_quiet && agreement->now_ms >= changes->no_quiet_before_ms) {
        changes->is_quiet = true;
        changes->quiet_ms = agreement->now_ms;
    }
    return false;
}

static const char *role_text(const struct membership_step *step)
{
    if (step->action == MEMBERSHIP_REMOVE) {
        return "none any more";
    }
    return step->action == MEMBERSHIP_ADD || step->role == NODE_ROLE_SPARE ? "a spare"
           : step->role == NODE_ROLE_STANDBY                               ? "a standby"
                                                                           : "a voter";
}

static void take_step(struct agreement *agreement, const struct membership_step *step)
{
    enum status status = STATUS_OK;

    switch (step->action) {
    case MEMBERSHIP_NOTHING:
        return;
    case MEMBERSHIP_HAND_OVER:
        if (agreement_successor(agreement) != 0) {
            agreement_hand_over(agreement);
        }
        return;
    case MEMBERSHIP_ADD:
        status = seam_add(agreement->seam, step->id);
        break;
    case MEMBERSHIP_ASSIGN:
        if (step->role == NODE_ROLE_VOTER && !is_level(agreement, step->id)) {
            return;
        }
        status = seam_assign(agreement->seam, step->id, step->role);
        break;
    case MEMBERSHIP_REMOVE:
        status = seam_remove(agreement->seam, step->id);
        break;
    }
    end_quiet(agreement);
    if (status == STATUS_OK) {
        log_info("cluster", "a member becomes %s member=%016" PRIx64 " index=%" PRIu64,
                 role_text(step), step->id, agreement->view.last_index + 1);
    } else if (log_limit_allows(&agreement->changes.log, agreement->now_ms)) {
        log_warn("cluster", "could not change the configuration member=%016" PRIx64 ": %s",
                 step->id, status_text(status));
    }
}

static void step(struct agreement *agreement)
{
    struct membership_step next;
    struct membership_view view;

    if (!agreement_may_judge(agreement)) {
        end_quiet(agreement);
        return;
    }
    agreement_look(agreement, &view);
    membership_next(&agreement->changes.table, &view, &next);
    if (next.action != MEMBERSHIP_ASSIGN || next.role != NODE_ROLE_VOTER) {
        end_quiet(agreement);
    }
    take_step(agreement, &next);
}

/* A voter that is dead for long makes place: at once with its successor, or for nobody. */
static void replace_dead(struct agreement *agreement)
{
    const struct member_change demotion = {.kind = MEMBER_CHANGE_ROLE, .wanted = MEMBER_STANDBY};
    const struct member_change promotion = {.kind = MEMBER_CHANGE_ROLE, .wanted = MEMBER_VOTER};
    struct operation operations[2];
    struct membership_view view;
    uint64_t successor;
    uint64_t dead;

    if (agreement->options.replace_dead_ms == 0 || !agreement_may_judge(agreement) ||
        agreement_is_proposing(agreement)) {
        return;
    }
    agreement_look(agreement, &view);
    if (!membership_find_dead(&agreement->changes.table, &view, agreement->options.replace_dead_ms,
                              &dead, &successor)) {
        return;
    }
    log_warn("cluster",
             "a voter is dead, and a standby gets its seat dead=%016" PRIx64 " standby=%016" PRIx64,
             dead, successor);
    operation_of(agreement, &demotion, dead, &operations[0]);
    operation_of(agreement, &promotion, successor, &operations[1]);
    propose(agreement, operations, 2);
}

/* --- Features --- */

unsigned agreement_feature_level(const struct agreement *agreement)
{
    unsigned level = agreement->changes.table.feature_level;

    return level > 0 ? level : FEATURE_LEVEL_FIRST; /* Nothing was read yet. */
}

static void raise_feature_level(struct agreement *agreement)
{
    struct operation operation = {.kind = OPERATION_FEATURE_RAISE};
    struct membership_view view;
    unsigned level;

    /* Whoever is dialled may know less. */
    if (!agreement_may_judge(agreement) || agreement_is_proposing(agreement) ||
        agreement->changes.is_dialling) {
        return;
    }
    agreement_look(agreement, &view);
    level = membership_next_level(&agreement->changes.table, &view);
    if (level == 0) {
        return;
    }
    log_info("cluster", "all members know the features of level %u, and the cluster rises to it",
             level);
    agreement->changes.raised_level = level;
    operation.feature_level = (uint8_t)level;
    propose(agreement, &operation, 1);
}

/* --- Events --- */

/* One that is drained leads only if nobody else can. */
static void watch_drain(struct agreement *agreement)
{
    const struct membership_row *row =
        membership_find(&agreement->changes.table, agreement->options.self);

    if (agreement->view.state == SEAM_LEADER && row != NULL && row->is_drained &&
        agreement_may_judge(agreement) && agreement_successor(agreement) != 0) {
        agreement_hand_over(agreement);
    }
}

/* This node was removed, and has seen so itself: the others have gone on without it. (One that was
 * given a state, and not yet the log that led to it, may not know yet that it has a role.) */
static void watch_removal(struct agreement *agreement)
{
    struct error error;

    if (agreement->own_role != NODE_ROLE_NONE || agreement->n_peers == 0 ||
        agreement->view.commit_index < agreement->changes.table.applied_index ||
        membership_find_removed(&agreement->changes.table, agreement->options.self) == NULL) {
        return;
    }
    (void)error_set(&error, STATUS_CLOSED,
                    "this node was removed from the cluster"); /* Told below. */
    agreement_exit(agreement, NODE_EXIT_REMOVED, &error);
}

void agreement_members_tick(struct agreement *agreement)
{
    uint64_t limit_ms = 2 * (uint64_t)agreement->options.election_timeout_ms;

    if (agreement->changes.is_quiet &&
        agreement->now_ms - agreement->changes.quiet_ms >= limit_ms) {
        end_quiet(agreement);
    }
    if (agreement->view.state != SEAM_LEADER) {
        agreement->changes.is_dialling = false; /* The asker asks the next one. */
        agreement->changes.raised_level = 0;
    }
    step(agreement);
    replace_dead(agreement);
    raise_feature_level(agreement);
    watch_drain(agreement);
    watch_removal(agreement);
    serve_all(agreement);
}

void agreement_members_flush(struct agreement *agreement)
{
    if (agreement->changes.is_quiet) {
        step(agreement);
    }
}

void agreement_set_receiving(struct agreement *agreement, const struct state_progress *receiving)
{
    agreement->receiving = *receiving;
}

void agreement_set_table(struct agreement *agreement, const struct membership_table *table,
                         uint64_t now_ms)
{
    agreement->now_ms = now_ms;
    if (table->applied_index >= agreement->changes.table.applied_index) {
        membership_table_copy(table, &agreement->changes.table);
    }
}

/* --- Life --- */

void agreement_members_init(struct agreement *agreement)
{
    queue_init(&agreement->changes.waiting);
    agreement->changes.next_number = agreement->options.boot; /* Not those of an earlier process. */
    if (agreement->options.target_voters == 0) {
        agreement->options.target_voters = TARGET_VOTERS;
    }
}

void agreement_members_close(struct agreement *agreement)
{
    struct link *link;

    while ((link = queue_first(&agreement->changes.waiting)) != NULL) {
        finish(agreement, CONTAINER_OF(link, struct member_change, message.link), STATUS_CLOSED);
    }
    membership_table_close(&agreement->changes.table);
}
