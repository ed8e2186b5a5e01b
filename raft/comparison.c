#include "raft/comparison.h"

#include <string.h>

static struct comparison_member *find(const struct comparison *comparison, uint64_t id)
{
    for (unsigned i = 0; i < comparison->n_members; i++) {
        if (comparison->members[i].id == id) {
            return (struct comparison_member *)(uintptr_t)&comparison->members[i];
        }
    }
    return NULL;
}

void comparison_init(struct comparison *comparison, uint64_t self)
{
    memset(comparison, 0, sizeof *comparison);
    comparison->own.id = self;
}

void comparison_keep(struct comparison *comparison, const uint64_t *ids, unsigned n_ids)
{
    unsigned n = 0;

    for (unsigned i = 0; i < comparison->n_members; i++) {
        for (unsigned j = 0; j < n_ids; j++) {
            if (comparison->members[i].id == ids[j]) {
                comparison->members[n++] = comparison->members[i];
                break;
            }
        }
    }
    comparison->n_members = n;
    for (unsigned j = 0; j < n_ids; j++) {
        if (find(comparison, ids[j]) == NULL) {
            comparison->members[comparison->n_members++] = (struct comparison_member){.id = ids[j]};
        }
    }
}

/* --- Marks --- */

static bool is_marked(uint64_t index)
{
    return index > 0 && index % COMPARISON_EVERY == 0;
}

static void note(struct comparison_member *member, const struct frame_mark *mark)
{
    struct frame_mark *place = &member->latest;

    if (is_marked(mark->index)) {
        place = &member->marks[mark->index / COMPARISON_EVERY % COMPARISON_KEPT];
    }
    if (mark->index > place->index) {
        *place = *mark;
    }
}

/* NULL: it is not known. */
static const struct frame_mark *mark_at(const struct comparison_member *member, uint64_t index)
{
    const struct frame_mark *mark = &member->latest;

    if (is_marked(index)) {
        mark = &member->marks[index / COMPARISON_EVERY % COMPARISON_KEPT];
    }
    return mark->index == index ? mark : NULL;
}

void comparison_executed(struct comparison *comparison, uint64_t index, const uint64_t hash[2])
{
    const struct frame_mark mark = {.index = index, .hash = {hash[0], hash[1]}};

    note(&comparison->own, &mark);
}

void comparison_tell(const struct comparison *comparison, struct frame_marks *state)
{
    const struct comparison_member *own = &comparison->own;
    uint64_t newest = 0;

    state->n_marks = 0;
    if (own->latest.index > 0) {
        state->marks[state->n_marks++] = own->latest;
    }
    for (unsigned i = 0; i < COMPARISON_KEPT; i++) {
        newest = own->marks[i].index > newest ? own->marks[i].index : newest;
    }
    for (uint64_t index = newest; index > 0 && state->n_marks < FRAME_MAX_MARKS;
         index -= COMPARISON_EVERY) {
        const struct frame_mark *mark = mark_at(own, index);

        if (mark != NULL) {
            state->marks[state->n_marks++] = *mark;
        }
    }
}

void comparison_heard(struct comparison *comparison, uint64_t id, const struct frame_marks *state)
{
    struct comparison_member *member = find(comparison, id);

    for (unsigned i = 0; member != NULL && i < state->n_marks; i++) {
        note(member, &state->marks[i]);
    }
}

void comparison_forget(struct comparison *comparison, uint64_t id)
{
    struct comparison_member *member = find(comparison, id);

    if (member != NULL) {
        memset(member->marks, 0, sizeof member->marks);
        memset(&member->latest, 0, sizeof member->latest);
    }
}

/* --- Judging --- */

static bool is_equal(const struct frame_mark *a, const struct frame_mark *b)
{
    return a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1];
}

/* What the voters have at one index. */
struct poll {
    unsigned n_voters;
    unsigned n_known;
    const struct frame_mark *known[LIMIT_MEMBERS + 1];
    const struct frame_mark *most; /* What most of them have. */
    unsigned n_most;
};

static void ask(const struct comparison *comparison, uint64_t index, const uint64_t *voters,
                unsigned n_voters, struct poll *poll)
{
    *poll = (struct poll){.n_voters = n_voters};
    for (unsigned i = 0; i < n_voters; i++) {
        const struct comparison_member *member =
            voters[i] == comparison->own.id ? &comparison->own : find(comparison, voters[i]);
        const struct frame_mark *mark = member == NULL ? NULL : mark_at(member, index);

        if (mark != NULL) {
            poll->known[poll->n_known++] = mark;
        }
    }
    for (unsigned i = 0; i < poll->n_known; i++) {
        unsigned n = 0;

        for (unsigned j = 0; j < poll->n_known; j++) {
            n += is_equal(poll->known[i], poll->known[j]) ? 1 : 0;
        }
        if (n > poll->n_most) {
            poll->n_most = n;
            poll->most = poll->known[i];
        }
    }
}

static void judge_majority(struct comparison *comparison, const struct frame_mark *own,
                           const uint64_t *voters, unsigned n_voters,
                           struct comparison_verdict *verdict)
{
    struct poll poll;

    ask(comparison, own->index, voters, n_voters, &poll);
    if (poll.n_most > n_voters / 2) {
        if (is_equal(poll.most, own)) {
            comparison->agreed_index =
                own->index > comparison->agreed_index ? own->index : comparison->agreed_index;
        } else if (own->index > verdict->wrong_index) {
            verdict->wrong_index = own->index;
            verdict->n_others = poll.n_most;
            memcpy(verdict->hash, own->hash, sizeof verdict->hash);
            memcpy(verdict->others, poll.most->hash, sizeof verdict->others);
        }
        return;
    }
    /* Can those that are not known yet still make it one? */
    if (poll.n_most + (n_voters - poll.n_known) <= n_voters / 2 &&
        own->index > verdict->split_index) {
        verdict->split_index = own->index;
    }
}

static void judge_members(struct comparison *comparison, const struct frame_mark *own)
{
    for (unsigned i = 0; i < comparison->n_members; i++) {
        struct comparison_member *member = &comparison->members[i];
        const struct frame_mark *mark = mark_at(member, own->index);

        if (mark != NULL) {
            uint64_t *newest = is_equal(mark, own) ? &member->equal_index : &member->other_index;

            *newest = own->index > *newest ? own->index : *newest;
        }
    }
}

void comparison_judge(struct comparison *comparison, const uint64_t *voters, unsigned n_voters,
                      struct comparison_verdict *verdict)
{
    const struct comparison_member *own = &comparison->own;

    memset(verdict, 0, sizeof *verdict);
    if (n_voters == 0) {
        return; /* Nobody knows yet who votes. */
    }
    for (unsigned i = 0; i <= COMPARISON_KEPT; i++) {
        const struct frame_mark *mark = i < COMPARISON_KEPT ? &own->marks[i] : &own->latest;

        if (mark->index > 0) {
            judge_majority(comparison, mark, voters, n_voters, verdict);
            judge_members(comparison, mark);
        }
    }
    if (verdict->split_index < comparison->agreed_index) {
        verdict->split_index = 0; /* They are one again. */
    }
}

bool comparison_differs(const struct comparison *comparison, uint64_t id)
{
    const struct comparison_member *member = find(comparison, id);

    return member != NULL && member->other_index > member->equal_index;
}
