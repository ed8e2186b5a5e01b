/* What others say of this node's archive (metrics_archive.c). */
#ifndef HOLDFAST_API_ARCHIVES_H
#define HOLDFAST_API_ARCHIVES_H

#include <stdint.h>

struct node;

/* Beyond so much, /readyz and holdfast status warn. */
#define ARCHIVES_LAG_WARNING_MS 60000u

/* The largest of all repositories that this node archives to. */
uint64_t archives_lag_ms(struct node *node);

/* Where it is: "none", "local" (on this node alone), or "shared" (also where it outlives this node).
 */
const char *archives_where(struct node *node);

#endif
