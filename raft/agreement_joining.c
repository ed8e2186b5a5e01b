/* A node that joins: the leader dials it, sees who answers there, and offers it an id. */
#include <inttypes.h>
#include <stdio.h>

#include "raft/agreement_private.h"

void agreement_begin_dial(struct agreement *agreement, uint64_t asker,
                          const struct member_change *change,
                          struct membership_judgement *judgement)
{
    struct agreement_changes *changes = &agreement->changes;

    judgement->verdict = MEMBERSHIP_MAY;
    if (changes->is_dialling) {
        (void)snprintf(judgement->text, sizeof judgement->text,
                       "the leader is connecting to a new node"); /* Fits. */
        return;
    }
    changes->is_dialling = true;
    changes->asker = asker;
    changes->asker_number = change->number;
    changes->dialled = *change;
    changes->offered_id = 0;
    agreement->options.dial(agreement->options.data, changes->dialled.peer_address);
}

static void end_dial(struct agreement *agreement, struct membership_judgement *judgement)
{
    agreement->changes.is_dialling = false;
    agreement_tell(agreement, agreement->changes.asker, agreement->changes.asker_number, judgement);
}

static void refuse_joiner(struct agreement *agreement, enum member_reason reason, const char *text)
{
    struct membership_judgement judgement = {.verdict = MEMBERSHIP_REFUSED, .reason = reason};

    (void)snprintf(judgement.text, sizeof judgement.text, "%s", text); /* Cut is fine. */
    end_dial(agreement, &judgement);
}

/* Is it one that can be offered a place, by what it says of itself? Refuses it, if not. */
static bool is_acceptable(struct agreement *agreement, const struct frame_hello *hello)
{
    const struct agreement_changes *changes = &agreement->changes;
    char text[ERROR_MAX_TEXT];

    if (!slice_equals_string(hello->name, changes->dialled.name)) {
        (void)snprintf(text, sizeof text,
                       "node \"%.*s\" answers at %s, not \"%s\": see which node listens there",
                       (int)hello->name.size, (const char *)hello->name.data,
                       changes->dialled.peer_address, changes->dialled.name);
        refuse_joiner(agreement, MEMBER_REASON_NAME_TAKEN, text);
        return false;
    }
    if (hello->identity != IDENTITY_EMPTY &&
        !slice_equals_string(hello->cluster_id, agreement->cluster_id)) {
        (void)snprintf(text, sizeof text,
                       "it belongs to cluster %.*s, and this is %s: start it with an empty data "
                       "directory, or send the request to its own cluster",
                       (int)hello->cluster_id.size, (const char *)hello->cluster_id.data,
                       agreement->cluster_id);
        refuse_joiner(agreement, MEMBER_REASON_OTHER_CLUSTER, text);
        return false;
    }
    if (hello->identity != IDENTITY_EMPTY &&
        membership_find_removed(&changes->table, hello->id) != NULL) {
        (void)snprintf(text, sizeof text,
                       "it was a member with the id %016" PRIx64
                       " that was removed, and an id is never used again: remove its data "
                       "directory, and let it join as a new member",
                       hello->id);
        refuse_joiner(agreement, MEMBER_REASON_REMOVED, text);
        return false;
    }
    if (hello->feature_level < agreement_feature_level(agreement)) {
        (void)snprintf(text, sizeof text,
                       "the cluster is at feature level %u, and the program of \"%s\" knows the "
                       "features up to level %u: install the version that the other nodes run",
                       agreement_feature_level(agreement), changes->dialled.name,
                       hello->feature_level);
        refuse_joiner(agreement, MEMBER_REASON_VERSION, text);
        return false;
    }
    return true;
}

static void make_offer(struct agreement *agreement, struct frame *offer)
{
    const struct membership_table *table = &agreement->changes.table;

    *offer = (struct frame){.type = FRAME_JOIN_OFFER};
    offer->join_offer.cluster_id = slice_of_string(agreement->cluster_id);
    offer->join_offer.id = agreement->changes.offered_id;
    offer->join_offer.wall_ms = agreement->wall_ms;
    for (unsigned i = 0; i < table->n_rows && i < LIMIT_MEMBERS; i++) {
        offer->join_offer.members[offer->join_offer.n_members++] = (struct frame_bootstrap_member){
            .id = table->rows[i].id,
            .name = slice_of_string(table->rows[i].name),
            .peer_address = slice_of_string(table->rows[i].peer_address),
            .api_address = slice_of_string(table->rows[i].api_address),
        };
    }
}

bool agreement_met(struct agreement *agreement, const struct frame_hello *hello, uint64_t random,
                   struct frame *offer, uint64_t now_ms)
{
    struct agreement_changes *changes = &agreement->changes;
    struct membership_judgement judgement = {.verdict = MEMBERSHIP_MAY};
    struct membership_view view;
    uint64_t known_id = hello->identity == IDENTITY_EMPTY ? 0 : hello->id;

    agreement->now_ms = now_ms;
    agreement_observe(agreement);
    if (!changes->is_dialling) {
        return false;
    }
    if (!agreement_may_judge(agreement) || agreement_is_proposing(agreement)) {
        end_dial(agreement, &judgement); /* It is asked for again. */
        return false;
    }
    if (!is_acceptable(agreement, hello)) {
        return false;
    }
    agreement_look(agreement, &view);
    membership_judge(&changes->table, &view, &changes->dialled, known_id, &judgement);
    if (judgement.verdict != MEMBERSHIP_MAY) {
        end_dial(agreement, &judgement);
        return false;
    }
    changes->offered_id = known_id != 0 ? known_id : random;
    make_offer(agreement, offer);
    return true;
}

void agreement_joined(struct agreement *agreement, enum member_reason why, const char *text,
                      uint64_t now_ms)
{
    struct agreement_changes *changes = &agreement->changes;
    struct membership_judgement judgement = {.verdict = MEMBERSHIP_MAY};

    agreement->now_ms = now_ms;
    agreement_observe(agreement);
    if (!changes->is_dialling) {
        return;
    }
    if (why != MEMBER_REASON_NONE) {
        refuse_joiner(agreement, why, text);
        return;
    }
    if (agreement_may_judge(agreement) && !agreement_is_proposing(agreement)) {
        judgement.id = changes->offered_id;
        agreement_carry_out(agreement, &changes->dialled, &judgement);
    }
    end_dial(agreement, &judgement); /* The asker sees it come, or asks again. */
}
