/* Parts of a body, and the tags that say which body is meant: RFC 9110, sections 8.8, 13 and 14.
 * Pure, any thread. */
#ifndef HOLDFAST_API_RANGES_H
#define HOLDFAST_API_RANGES_H

#include <stdbool.h>

#include "daemon/base/slice.h"

enum range_kind {
    RANGE_WHOLE,         /* None is asked for, or one in a form that is not served: send all. */
    RANGE_PART,          /* From first to last, both included. */
    RANGE_UNSATISFIABLE, /* It begins behind the end. */
};

struct range {
    enum range_kind kind;
    uint64_t first;
    uint64_t last;
};

/* What the value of a Range header asks for of a body of @size bytes, which is not 0. One range of
 * bytes is served: "bytes=0-99", "bytes=100-", "bytes=-100". */
struct range range_parse(struct slice value, uint64_t size);

/* The next tag of a list like If-Match has: without quotes, and without W/, which is told in
 * @is_weak. @list moves on. False at the end, or where it is malformed. */
bool tag_next(struct slice *list, struct slice *tag, bool *is_weak);

/* Does the list hold @tag, or is it "*"? A weak one counts only if @weak_counts. */
bool tag_is_listed(struct slice list, struct slice tag, bool weak_counts);

#endif
