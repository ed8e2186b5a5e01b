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

#include <limits.h>
#include <stdlib.h>
#include <string.h>

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

const struct membership_member *membership_find_member(const struct membership_view *view,
                                                       uint64_t id)
{
    for (unsigned i = 0; i < view->n_members; i++) {
        if (view->members[i].id == id) {
            return &view->members[i];
        }
    }
    return NULL;
}

bool membership_loses_vote(const struct membership_table *table, uint64_t id)
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

    return !membership_loses_vote(table, id) && (row == NULL || !row->is_drained);
}

/* --- What is safe --- */

bool membership_has_caught_up(const struct membership_view *view,
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
            member->id == search->view->self || !membership_loses_vote(search->table, member->id)) {
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
        if (row->wanted != MEMBER_AS_IS && membership_find_member(search->view, row->id) == NULL &&
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
                     !membership_loses_vote(search->table, member->id)
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

        n += member->role == NODE_ROLE_VOTER && !membership_loses_vote(search->table, member->id)
                 ? 1
                 : 0;
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
            !has_matched(search->view, member) || !membership_has_caught_up(search->view, member)) {
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
    if (membership_loses_vote(table, view->self)) {
        *step = (struct membership_step){.action = MEMBERSHIP_HAND_OVER, .id = view->self};
    }
}

/* --- Those that are dead --- */

static const struct membership_member *find_silent(const struct search *search, uint64_t limit_ms)
{
    for (unsigned i = 0; i < search->view->n_members; i++) {
        const struct membership_member *member = &search->view->members[i];

        if (member->role == NODE_ROLE_VOTER && !member->is_well && member->silent_ms >= limit_ms &&
            !membership_loses_vote(search->table, member->id) &&
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
        if (membership_find_member(view, table->rows[i].id) == NULL) {
            return 0; /* It is taken in just now. */
        }
    }
    return view->n_members > 0 && lowest > table->feature_level ? lowest : 0;
}
