/* Parameters and headers: every rule for what may stand in a target or a header line. */
#ifndef HOLDFAST_API_PARAMS_H
#define HOLDFAST_API_PARAMS_H

#include "api/input.h"
#include "storage/command.h"
#include "storage/view.h"

/* [A-Za-z0-9._:@-]{1,128} */
bool param_is_id(struct slice text);
/* 1 to 128 bytes of UTF-8 without control characters: agent_id, user_id and the like. */
bool param_is_name(struct slice text);

/* The first capture as a session's id, or as an item's key. */
MUST_USE enum status param_session_id(struct input *input, struct slice *id);
MUST_USE enum status param_item_key(struct input *input, struct slice *key);

/* A whole number of the parameter @name from @min to @max; @number is untouched if it is absent. */
MUST_USE enum status param_number(struct input *input, const char *name, uint64_t min, uint64_t max,
                                  uint64_t *number, bool *is_given);
/* agent_id or user_id; empty if absent. */
MUST_USE enum status param_name(struct input *input, const char *name, struct slice *text);
MUST_USE enum status param_ttl(struct input *input, struct ttl *ttl);
/* limit and order of a list. */
MUST_USE enum status param_limit(struct input *input, unsigned *limit);
MUST_USE enum status param_order(struct input *input, enum list_order *order);
/* True for "?name", "?name=" and "?name=true", false if absent or "false". */
MUST_USE enum status param_flag(struct input *input, const char *name, bool *flag);

/* If-Match and If-None-Match. */
MUST_USE enum status param_conditions(struct input *input, struct condition *if_match,
                                      struct condition *if_none_match);
/* Session-Epoch, which needs an owner, and sessions have none yet. */
MUST_USE enum status param_no_epoch(struct input *input);
/* Idempotency-Key; empty if absent. */
MUST_USE enum status param_idempotency_key(struct input *input, struct slice *key);

enum consistency { CONSISTENCY_LINEARIZABLE, CONSISTENCY_STALE };
/* consistency and min_revision; @min_revision 0: not asked for. */
MUST_USE enum status param_consistency(struct input *input, enum consistency *consistency,
                                       uint64_t *min_revision);

/* Decimal digits only, without leading zeros, within 64 bits. */
bool param_parse_number(struct slice text, uint64_t *number);

#endif
