/* The member table: who belongs to the cluster, and where each one is reached. Real addresses live
 * here, so that they can change; agreement knows only ids. */
#include "daemon/base/check.h"
#include "storage/execution.h"
#include "storage/keys.h"

enum status member_execute(struct execution *execution, const struct operation *operation,
                           struct operation_result *result)
{
    const struct member_operation *member = &operation->member;
    struct member_row row = {
        .id = member->id,
        .name = member->name,
        .peer_address = member->peer_address,
        .api_address = member->api_address,
        .zone = member->zone,
        .version = member->version,
    };
    struct key key = key_member(member->id);

    CHECK(operation->kind == OPERATION_MEMBER_PUT);

    buffer_clear(&execution->scratch);
    member_row_encode(&row, &execution->scratch);
    result->outcome = OUTCOME_OK;
    return txn_put(execution->txn, key_slice(&key), buffer_slice(&execution->scratch));
}
