/* Where a list goes on, as opaque text for clients.
 *
 * A cursor carries the position, which storage understands, and a hash of what the list was asked
 * for, so that it serves no other list. It works on every node. A checksum tells damage from
 * meaning; it is no secret, so a position has to be checked by who uses it all the same. */
#ifndef HOLDFAST_API_CURSOR_H
#define HOLDFAST_API_CURSOR_H

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

/* What a list was asked for, collected piece by piece: zero it, add, hash. */
struct cursor_filters {
    struct buffer pieces;
};
void cursor_filters_add(struct cursor_filters *filters, struct slice piece);
void cursor_filters_add_number(struct cursor_filters *filters, uint64_t number);
/* The hash; @filters is closed. */
uint64_t cursor_filters_hash(struct cursor_filters *filters);

void cursor_encode(struct slice position, uint64_t filters_hash, struct buffer *text);

/* Append the position to @position. STATUS_INVALID: no cursor, or one of another list. */
MUST_USE enum status cursor_decode(struct slice text, uint64_t filters_hash,
                                   struct buffer *position);

#endif
