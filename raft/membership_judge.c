/* What an operator asks for, judged by what is wanted and what is: done, under way, allowed, or
 * refused with the reason and what to do. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/check.h"
#include "raft/membership.h"

struct court {
    const struct membership_table *table;
    const struct membership_view *view;
    const struct member_change *change;
    struct membership_judgement *judgement;
};

__attribute__((format(printf, 4, 5))) static void decide(const struct court *court,
                                                         enum membership_verdict verdict,
                                                         enum member_reason reason,
                                                         const char *format, ...)
{
    va_list arguments;

    court->judgement->verdict = verdict;
    court->judgement->reason = reason;
    va_start(arguments, format);
    (void)vsnprintf(court->judgement->text, sizeof court->judgement->text, format,
                    arguments); /* Longer text is cut. */
    va_end(arguments);
}

static void allow(const struct court *court)
{
    decide(court, MEMBERSHIP_MAY, MEMBER_REASON_NONE, "%s", "");
}

static const char *name_of(const struct court *court, uint64_t id, char unnamed[17])
{
    const struct membership_row *row = membership_find(court->table, id);

    if (row != NULL) {
        return row->name;
    }
    (void)snprintf(unnamed, 17, "%016" PRIx64, id); /* Fits. */
    return unnamed;
}

/* "n2 (not heard for 12 s)" and the like. */
static void describe(const struct court *court, const struct membership_member *member, char *text,
                     size_t size)
{
    char unnamed[17];
    const char *name = name_of(court, member->id, unnamed);

    if (member->needs_state) {
        (void)snprintf(text, size, "%s (waits for state)", name);
    } else if (!member->was_heard) {
        (void)snprintf(text, size, "%s (not heard yet)", name);
    } else if (!member->is_well) {
        (void)snprintf(text, size, "%s (not heard for %" PRIu64 " s)", name,
                       member->silent_ms / 1000);
    } else {
        (void)snprintf(text, size, "%s (%" PRIu64 " entries behind)", name,
                       court->view->commit_index - member->match_index);
    }
}

/* Would it vote if all were done that is wanted, and this: @with votes, @without does not? */
static bool will_vote(const struct court *court, const struct membership_member *member,
                      uint64_t with, uint64_t without)
{
    const struct membership_row *row = membership_find(court->table, member->id);

    if (member->id == without) {
        return false;
    }
    if (member->id == with) {
        return true;
    }
    if (membership_loses_vote(court->table, member->id)) {
        return false;
    }
    return member->role == NODE_ROLE_VOTER || (row != NULL && row->wanted == MEMBER_VOTER);
}

struct census {
    unsigned n_voters;
    unsigned n_well;
    char missing[200]; /* Who is not well, separated by commas. */
};

static void count(const struct court *court, uint64_t with, uint64_t without, struct census *census)
{
    size_t used = 0;

    *census = (struct census){.n_voters = 0};
    for (unsigned i = 0; i < court->view->n_members; i++) {
        const struct membership_member *member = &court->view->members[i];
        char text[LIMIT_NAME_BYTES + 64];

        if (!will_vote(court, member, with, without)) {
            continue;
        }
        census->n_voters++;
        if (member->is_well && membership_has_caught_up(court->view, member)) {
            census->n_well++;
            continue;
        }
        describe(court, member, text, sizeof text);
        if (used + strlen(text) + 3 < sizeof census->missing) {
            used += (size_t)snprintf(census->missing + used, sizeof census->missing - used, "%s%s",
                                     used == 0 ? "" : ", ", text);
        }
    }
}

/* Will the cluster work with the voters that this makes? Decides, if not. */
static bool keeps_quorum(const struct court *court, uint64_t with, uint64_t without)
{
    struct census census;

    count(court, with, without, &census);
    if (census.n_voters == 0) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_LAST_VOTER,
               "it is the last voter: without it nobody could agree on anything; let another "
               "member become a voter first");
        return false;
    }
    if (census.n_well <= census.n_voters / 2) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_QUORUM,
               "of the %u voters that this leaves only %u would be well, and %u are needed to "
               "agree on anything; missing: %s. Remove or demote those first, or start them again",
               census.n_voters, census.n_well, census.n_voters / 2 + 1, census.missing);
        return false;
    }
    if (census.n_well < census.n_voters && !court->change->is_forced) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_QUORUM,
               "a change of the members waits for every voter, and these are not well: %s. Start "
               "them again, demote or remove them first, or force the change",
               census.missing);
        return false;
    }
    return true;
}

static bool is_settled(const struct court *court)
{
    return court->view->commit_index >= court->view->configuration_index;
}

/* Something was agreed upon: what does it wait for? */
static void wait(const struct court *court, uint64_t with, uint64_t without)
{
    const struct membership_member *member =
        membership_find_member(court->view, with != 0 ? with : court->judgement->id);
    char text[LIMIT_NAME_BYTES + 64];
    struct census census;

    count(court, with, without, &census);
    if (census.n_well < census.n_voters) {
        decide(court, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_QUORUM, "it waits for these voters: %s",
               census.missing);
    } else if (with != 0 && member != NULL &&
               (!member->is_well || !membership_has_caught_up(court->view, member))) {
        describe(court, member, text, sizeof text);
        decide(court, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_INCOMPLETE,
               "it waits until the member has caught up: %s", text);
    } else {
        decide(court, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE, "it is being done");
    }
}

static void judge_add(const struct court *court)
{
    const struct membership_member *member;
    const struct membership_row *row;

    if (court->judgement->id != 0) { /* It knows its id: it was offered one before. */
        row = membership_find(court->table, court->judgement->id);
        member = membership_find_member(court->view, court->judgement->id);
        if (row != NULL && member != NULL && is_settled(court)) {
            decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
            return;
        }
        if (row != NULL) {
            wait(court, 0, 0);
            return;
        }
    }
    for (unsigned i = 0; i < court->table->n_rows; i++) {
        row = &court->table->rows[i];
        if (strcmp(row->name, court->change->name) == 0) {
            decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_NAME_TAKEN,
                   "there is a member \"%s\" already, with the id %016" PRIx64
                   ": choose another name, or, if its data was lost, remove it first (holdfast "
                   "member remove %s)",
                   row->name, row->id, row->name);
            return;
        }
        if (strcmp(row->peer_address, court->change->peer_address) == 0 ||
            strcmp(row->api_address, court->change->api_address) == 0) {
            decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_ADDRESS_TAKEN,
                   "member \"%s\" has that address already (peers: %s, API: %s): give the new node "
                   "addresses of its own, or remove that member first",
                   row->name, row->peer_address, row->api_address);
            return;
        }
    }
    if (court->table->n_rows >= LIMIT_MEMBERS || court->view->n_members >= LIMIT_MEMBERS) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_TOO_MANY,
               "there are %u members, and a cluster has %u at most: remove one first",
               court->table->n_rows, LIMIT_MEMBERS);
        return;
    }
    if (keeps_quorum(court, 0, 0)) {
        allow(court);
    }
}

static void judge_remove(const struct court *court)
{
    uint64_t id = court->judgement->id;
    bool is_member = membership_find_member(court->view, id) != NULL;

    if (membership_find_removed(court->table, id) != NULL) {
        if (is_member || !is_settled(court)) {
            wait(court, 0, id);
        } else {
            decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
        }
        return;
    }
    if (keeps_quorum(court, 0, id)) {
        allow(court);
    }
}

/* May it be given a vote? Decides, if not. */
static bool can_vote(const struct court *court, const struct membership_member *member)
{
    char text[LIMIT_NAME_BYTES + 64];

    if (member == NULL) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_BUSY,
               "it is being added still: try again in a moment");
        return false;
    }
    if (member->role == NODE_ROLE_VOTER) {
        return true;
    }
    describe(court, member, text, sizeof text);
    if (member->needs_state) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_INCOMPLETE,
               "its state is not complete, so it cannot count towards a majority: wait until it "
               "has caught up (holdfast status)");
        return false;
    }
    if (!member->is_well) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_UNHEALTHY,
               "a new voter has to be well: %s; see whether it runs and reaches the others", text);
        return false;
    }
    return true;
}

static int role_of(enum member_wanted wanted)
{
    return wanted == MEMBER_VOTER     ? NODE_ROLE_VOTER
           : wanted == MEMBER_STANDBY ? NODE_ROLE_STANDBY
           : wanted == MEMBER_SPARE   ? NODE_ROLE_SPARE
                                      : NODE_ROLE_NONE;
}

static void judge_role(const struct court *court)
{
    uint64_t id = court->judgement->id;
    const struct membership_member *member = membership_find_member(court->view, id);
    const struct membership_row *row = membership_find(court->table, id);
    enum member_wanted wanted = court->change->wanted;
    uint64_t with = wanted == MEMBER_VOTER ? id : 0;
    uint64_t without = wanted == MEMBER_VOTER || wanted == MEMBER_AUTO ? 0 : id;

    if (row == NULL) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_BUSY,
               "it is being removed, or has not told its name yet");
        return;
    }
    if (wanted == MEMBER_VOTER && member != NULL && member->role == NODE_ROLE_VOTER &&
        !membership_loses_vote(court->table, id)) {
        decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
        return;
    }
    if (row->wanted == wanted && row->is_forced == court->change->is_forced) {
        if (wanted == MEMBER_AUTO ||
            (member != NULL && member->role == role_of(wanted) && is_settled(court))) {
            decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
        } else {
            wait(court, with, without);
        }
        return;
    }
    if (wanted == MEMBER_VOTER && !can_vote(court, member)) {
        return;
    }
    if (keeps_quorum(court, with, without)) {
        allow(court);
    }
}

/* Could somebody else than @id lead? */
static bool has_other_leader(const struct court *court, uint64_t id)
{
    for (unsigned i = 0; i < court->view->n_members; i++) {
        const struct membership_member *member = &court->view->members[i];

        if (member->id != id && member->role == NODE_ROLE_VOTER && member->is_well &&
            membership_may_lead(court->table, member->id)) {
            return true;
        }
    }
    return false;
}

static void judge_drain(const struct court *court, bool drains)
{
    const struct membership_row *row = membership_find(court->table, court->judgement->id);

    if (row == NULL) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_BUSY,
               "it is being removed, or has not told its name yet");
        return;
    }
    if (row->is_drained == drains) {
        if (drains && row->id == court->view->self) {
            decide(court, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_NONE,
                   "it is handing leadership over");
        } else {
            decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
        }
        return;
    }
    if (drains && !has_other_leader(court, row->id)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_QUORUM,
               "no other voter is well and not drained, so nobody else could lead");
        return;
    }
    allow(court);
}

static void judge_transfer_to(const struct court *court, const struct membership_member *member)
{
    char text[LIMIT_NAME_BYTES + 64];

    if (member == NULL || member->role != NODE_ROLE_VOTER ||
        membership_loses_vote(court->table, member->id)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_ROLE,
               "only a voter can lead, and it is none, or not for long");
        return;
    }
    describe(court, member, text, sizeof text);
    if (!member->is_well || !membership_has_caught_up(court->view, member)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_UNHEALTHY, "it could not lead now: %s",
               text);
    } else if (!membership_may_lead(court->table, member->id)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_DRAINED,
               "it is drained, so it would hand leadership back: undrain it first (holdfast drain "
               "--undo)");
    } else {
        allow(court);
    }
}

static void judge_transfer(const struct court *court)
{
    uint64_t id = court->judgement->id;

    if (id != 0 ? id == court->view->self : court->change->from != court->view->self) {
        court->judgement->id = court->view->self;
        decide(court, MEMBERSHIP_DONE, MEMBER_REASON_NONE, "%s", "");
    } else if (id != 0) {
        judge_transfer_to(court, membership_find_member(court->view, id));
    } else if (!has_other_leader(court, court->view->self)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_QUORUM,
               "no other voter is well and not drained, so nobody else could lead");
    } else {
        allow(court);
    }
}

void membership_judge(const struct membership_table *table, const struct membership_view *view,
                      const struct member_change *change, uint64_t id,
                      struct membership_judgement *judgement)
{
    const struct court court = {
        .table = table, .view = view, .change = change, .judgement = judgement};
    const struct membership_row *row = membership_find_name(table, change->name);

    judgement->id = id != 0 || change->kind == MEMBER_CHANGE_ADD || row == NULL ? id : row->id;
    if (judgement->id == 0 && change->kind != MEMBER_CHANGE_ADD &&
        (change->kind != MEMBER_CHANGE_TRANSFER || change->name[0] != '\0')) {
        decide(&court, MEMBERSHIP_REFUSED, MEMBER_REASON_UNKNOWN,
               "there is no member \"%s\"; holdfast member list shows all", change->name);
        return;
    }
    switch (change->kind) {
    case MEMBER_CHANGE_ADD:
        judge_add(&court);
        return;
    case MEMBER_CHANGE_ROLE:
        judge_role(&court);
        return;
    case MEMBER_CHANGE_REMOVE:
        judge_remove(&court);
        return;
    case MEMBER_CHANGE_DRAIN:
        judge_drain(&court, true);
        return;
    case MEMBER_CHANGE_UNDRAIN:
        judge_drain(&court, false);
        return;
    case MEMBER_CHANGE_TRANSFER:
        judge_transfer(&court);
        return;
    case MEMBER_CHANGE_KINDS:
        break;
    }
    CHECK(change->kind < MEMBER_CHANGE_KINDS);
}
