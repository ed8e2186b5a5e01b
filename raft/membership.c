/* A step is found by going through what is wanted in the order that keeps the cluster safest:
 *
 * 1. Voters that are not well are demoted or removed: every other step waits for all voters.
 * 2. Members without a vote come and go.
 * 3. Members are promoted: those who are wanted as voters, then, as long as there are fewer voters
 *    than the target, those who joined for that.
 * 4. Voters that are well are demoted or removed.
 *
 * The first step whose voters allow it is taken. */
#include "raft/membership.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "daemon/base/mutation.h"

/* Without so many, nobody's seat is given away. */
#define WELL_VOTERS 3u

/* --- What is wanted --- */

const struct membership_row *membership_find(const struct membership_table *table, uint64_t id)
{
    for (unsigned i = 0; i < table->n_rows; i++) {
        if (table->rows[i].id == id) {
            return &table->rows[i];
        }
    }
    return NULL;
}

const struct membership_row *membership_find_name(const struct membership_table *table,
                                                  const char *name)
{
    for (unsigned i = 0; i < table->n_rows; i++) {
        if (strcmp(table->rows[i].name, name) == 0) {
            return &table->rows[i];
        }
    }
    return NULL;
}

const struct membership_removed *membership_find_removed(const struct membership_table *table,
                                                         uint64_t id)
{
    for (unsigned i = 0; i < table->n_removed; i++) {
        if (table->removed[i].id == id) {
            return &table->removed[i];
        }
    }
    return NULL;
}

static const struct membership_member *find_member(const struct membership_view *view, uint64_t id)
{
    for (unsigned i = 0; i < view->n_members; i++) {
        if (view->members[i].id == id) {
            return &view->members[i];
        }
    }
    return NULL;
}

/* Is it wanted without a vote, or not at all? */
static bool is_to_lose_vote(const struct membership_table *table, uint64_t id)
{
    const struct membership_row *row = membership_find(table, id);

    if (membership_find_removed(table, id) != NULL) {
        return true;
    }
    return row != NULL && (row->wanted == MEMBER_STANDBY || row->wanted == MEMBER_SPARE);
}

static bool is_forced(const struct membership_table *table, uint64_t id)
{
    const struct membership_removed *removed = membership_find_removed(table, id);
    const struct membership_row *row = membership_find(table, id);

    return removed != NULL ? removed->is_forced : row != NULL && row->is_forced;
}

bool membership_may_lead(const struct membership_table *table, uint64_t id)
{
    const struct membership_row *row = membership_find(table, id);

    return !is_to_lose_vote(table, id) && (row == NULL || !row->is_drained);
}

/* --- What is safe --- */

static bool has_caught_up(const struct membership_view *view,
                          const struct membership_member *member)
{
    return member->match_index + MEMBERSHIP_CAUGHT_UP >= view->commit_index;
}

/* Has it what every later leader has to have? */
static bool has_matched(const struct membership_view *view, const struct membership_member *member)
{
    uint64_t needed =
        view->own_index > view->configuration_index ? view->own_index : view->configuration_index;

    return member->is_well && member->match_index >= needed;
}

/* Do the voters allow a change after which @with votes and @without does not (0: nobody)? */
static bool is_safe(const struct membership_view *view, uint64_t with, uint64_t without,
                    bool is_forced_step)
{
    unsigned n_voters = 0;
    unsigned n_matched = 0;

    for (unsigned i = 0; i < view->n_members; i++) {
        const struct membership_member *member = &view->members[i];

        if ((member->role != NODE_ROLE_VOTER && member->id != with) || member->id == without) {
            continue;
        }
        n_voters++;
        n_matched += has_matched(view, member) ? 1 : 0;
    }
    if (is_forced_step) {
        return n_matched > n_voters / 2;
    }
    return n_voters > 0 && (n_matched == n_voters || MUTATION(rule10_not_matched));
}

/* --- The next step --- */

struct search {
    const struct membership_table *table;
    const struct membership_view *view;
    struct membership_step *step;
};

static bool take(const struct search *search, enum membership_action action, uint64_t id, int role,
                 uint64_t with, uint64_t without)
{
    if (!is_safe(search->view, with, without, is_forced(search->table, id))) {
        return false;
    }
    *search->step = (struct membership_step){.action = action, .id = id, .role = role};
    return true;
}

/* Demote or remove voters of which is_well is @well. */
static bool take_votes(const struct search *search, bool well)
{
    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];
        const struct membership_row *row = membership_find(search->table, member->id);
        bool is_removed = membership_find_removed(search->table, member->id) != NULL;

        if (member->role != NODE_ROLE_VOTER || member->is_well != well ||
            member->id == search->view->self || !is_to_lose_vote(search->table, member->id)) {
            continue;
        }
        if (is_removed ? take(search, MEMBERSHIP_REMOVE, member->id, NODE_ROLE_NONE, 0, member->id)
                       : take(search, MEMBERSHIP_ASSIGN, member->id,
                              row->wanted == MEMBER_SPARE ? NODE_ROLE_SPARE : NODE_ROLE_STANDBY, 0,
                              member->id)) {
            return true;
        }
    }
    return false;
}

/* What is wanted of a member that has no vote; NODE_ROLE_NONE: nothing but what it is. */
static int role_without_vote(const struct membership_row *row, int role)
{
    if (row == NULL || row->wanted == MEMBER_AS_IS) {
        return NODE_ROLE_NONE;
    }
    if (row->wanted == MEMBER_SPARE) {
        return role == NODE_ROLE_SPARE ? NODE_ROLE_NONE : NODE_ROLE_SPARE;
    }
    return role == NODE_ROLE_SPARE ? NODE_ROLE_STANDBY : NODE_ROLE_NONE;
}

static bool move_without_vote(const struct search *search)
{
    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];
        int role;

        if (member->role == NODE_ROLE_VOTER) {
            continue;
        }
        if (membership_find_removed(search->table, member->id) != NULL) {
            if (take(search, MEMBERSHIP_REMOVE, member->id, NODE_ROLE_NONE, 0, 0)) {
                return true;
            }
            continue;
        }
        role = role_without_vote(membership_find(search->table, member->id), member->role);
        if (role != NODE_ROLE_NONE && take(search, MEMBERSHIP_ASSIGN, member->id, role, 0, 0)) {
            return true;
        }
    }
    return false;
}

static bool add_members(const struct search *search)
{
    for (unsigned i = 0; i < search->table->n_rows; i++) {
        const struct membership_row *row = &search->table->rows[i];

        /* Who formed the cluster is in the configuration from the start. */
        if (row->wanted != MEMBER_AS_IS && find_member(search->view, row->id) == NULL &&
            search->view->n_members < LIMIT_MEMBERS &&
            take(search, MEMBERSHIP_ADD, row->id, NODE_ROLE_SPARE, 0, 0)) {
            return true;
        }
    }
    return false;
}

/* How many of those who keep their vote are in @zone? */
static unsigned voters_in(const struct search *search, const char *zone)
{
    unsigned n = 0;

    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];
        const struct membership_row *row = membership_find(search->table, member->id);

        n += member->role == NODE_ROLE_VOTER && row != NULL && strcmp(row->zone, zone) == 0 &&
                     !is_to_lose_vote(search->table, member->id)
                 ? 1
                 : 0;
    }
    return n;
}

static unsigned voters_that_stay(const struct search *search)
{
    unsigned n = 0;

    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];

        n += member->role == NODE_ROLE_VOTER && !is_to_lose_vote(search->table, member->id) ? 1 : 0;
    }
    return n;
}

/* A standby of which @wanted is wanted, and that could vote at once: of several, the one in the
 * zone with the fewest voters, and of those the one that is furthest. */
static const struct membership_member *best_candidate(const struct search *search,
                                                      enum member_wanted wanted)
{
    const struct membership_member *best = NULL;
    unsigned best_crowd = 0;

    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];
        const struct membership_row *row = membership_find(search->table, member->id);
        unsigned crowd;

        if (row == NULL || row->wanted != wanted || member->role != NODE_ROLE_STANDBY ||
            !has_matched(search->view, member) || !has_caught_up(search->view, member)) {
            continue;
        }
        crowd = row->zone[0] == '\0' ? 0 : voters_in(search, row->zone);
        if (best == NULL || crowd < best_crowd ||
            (crowd == best_crowd && member->match_index > best->match_index)) {
            best = member;
            best_crowd = crowd;
        }
    }
    return best;
}

static bool promote(const struct search *search)
{
    const struct membership_member *member = best_candidate(search, MEMBER_VOTER);

    if (member == NULL && voters_that_stay(search) < search->view->target_voters) {
        member = best_candidate(search, MEMBER_AUTO);
    }
    return member != NULL &&
           take(search, MEMBERSHIP_ASSIGN, member->id, NODE_ROLE_VOTER, member->id, 0);
}

void membership_next(const struct membership_table *table, const struct membership_view *view,
                     struct membership_step *step)
{
    const struct search search = {.table = table, .view = view, .step = step};

    *step = (struct membership_step){.action = MEMBERSHIP_NOTHING};
    if (!view->may_change) {
        return;
    }
    if (take_votes(&search, false) || move_without_vote(&search) || add_members(&search) ||
        promote(&search) || take_votes(&search, true)) {
        return;
    }
    if (is_to_lose_vote(table, view->self)) {
        *step = (struct membership_step){.action = MEMBERSHIP_HAND_OVER, .id = view->self};
    }
}

/* --- Those that are dead --- */

static const struct membership_member *find_silent(const struct search *search, uint64_t limit_ms)
{
    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];

        if (member->role == NODE_ROLE_VOTER && !member->is_well && member->silent_ms >= limit_ms &&
            !is_to_lose_vote(search->table, member->id) &&
            membership_find(search->table, member->id) != NULL) {
            return member;
        }
    }
    return NULL;
}

static unsigned well_voters(const struct membership_view *view)
{
    unsigned n = 0;

    for (unsigned i = 0; i < view->n_members; i++) {
        n += view->members[i].role == NODE_ROLE_VOTER && has_matched(view, &view->members[i]) ? 1
                                                                                              : 0;
    }
    return n;
}

/* With its seat free already, so that its zone is not counted. */
static const struct membership_member *find_successor(const struct search *search, uint64_t dead)
{
    struct membership_table *table = memory_new_zeroed(1, sizeof *table);
    const struct search after = {.table = table, .view = search->view};
    const struct membership_member *successor;

    membership_table_copy(search->table, table);
    for (unsigned i = 0; i < table->n_rows; i++) {
        if (table->rows[i].id == dead) {
            table->rows[i].wanted = MEMBER_STANDBY;
        }
    }
    successor = best_candidate(&after, MEMBER_AUTO);
    membership_table_close(table);
    free(table);
    return successor;
}

bool membership_find_dead(const struct membership_table *table, const struct membership_view *view,
                          uint64_t limit_ms, uint64_t *dead, uint64_t *successor)
{
    const struct search search = {.table = table, .view = view};
    const struct membership_member *silent = find_silent(&search, limit_ms);
    const struct membership_member *found;

    if (silent == NULL || !view->may_change || well_voters(view) < WELL_VOTERS ||
        !is_safe(view, 0, silent->id, false)) {
        return false;
    }
    found = find_successor(&search, silent->id);
    if (found == NULL) {
        return false;
    }
    *dead = silent->id;
    *successor = found->id;
    return true;
}

/* --- Features --- */

unsigned membership_next_level(const struct membership_table *table,
                               const struct membership_view *view)
{
    unsigned lowest = UINT_MAX;

    for (unsigned i = 0; i < view->n_members; i++) {
        const struct membership_member *member = &view->members[i];

        if (!member->is_well || member->feature_level == 0) {
            return 0;
        }
        if (member->feature_level < lowest || MUTATION(level_of_one_for_all)) {
            lowest = member->feature_level;
        }
    }
    for (unsigned i = 0; i < table->n_rows; i++) {
        if (find_member(view, table->rows[i].id) == NULL) {
            return 0; /* It is taken in just now. */
        }
    }
    return view->n_members > 0 && lowest > table->feature_level ? lowest : 0;
}

/* --- Judging --- */

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
    if (is_to_lose_vote(court->table, member->id)) {
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
        if (member->is_well && has_caught_up(court->view, member)) {
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
        find_member(court->view, with != 0 ? with : court->judgement->id);
    char text[LIMIT_NAME_BYTES + 64];
    struct census census;

    count(court, with, without, &census);
    if (census.n_well < census.n_voters) {
        decide(court, MEMBERSHIP_UNDER_WAY, MEMBER_REASON_QUORUM, "it waits for these voters: %s",
               census.missing);
    } else if (with != 0 && member != NULL &&
               (!member->is_well || !has_caught_up(court->view, member))) {
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
        member = find_member(court->view, court->judgement->id);
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
    bool is_member = find_member(court->view, id) != NULL;

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
    const struct membership_member *member = find_member(court->view, id);
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
        !is_to_lose_vote(court->table, id)) {
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
        is_to_lose_vote(court->table, member->id)) {
        decide(court, MEMBERSHIP_REFUSED, MEMBER_REASON_ROLE,
               "only a voter can lead, and it is none, or not for long");
        return;
    }
    describe(court, member, text, sizeof text);
    if (!member->is_well || !has_caught_up(court->view, member)) {
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
        judge_transfer_to(court, find_member(court->view, id));
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
