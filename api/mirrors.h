/* How far the mirror of this node is behind (metrics_mirror.c). */
#ifndef HOLDFAST_API_MIRRORS_H
#define HOLDFAST_API_MIRRORS_H

#include <stdint.h>

struct node;

/* Beyond so much, /readyz and holdfast status warn. */
#define MIRRORS_LAG_WARNING_MS 60000u

/* 0: it is not behind, or another node mirrors, or nobody does. */
uint64_t mirrors_lag_ms(struct node *node);

#endif
