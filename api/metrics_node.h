/* The metrics of agreement, execution and storage, and how one metric is written. */
#ifndef HOLDFAST_API_METRICS_NODE_H
#define HOLDFAST_API_METRICS_NODE_H

#include "daemon/base/buffer.h"

struct node;
struct store;

/* The lines HELP and TYPE. */
void metric_begin(struct buffer *text, const char *name, const char *type, const char *help);
/* A whole metric without labels. */
void metric_number(struct buffer *text, const char *name, const char *type, const char *help,
                   uint64_t number);

void metrics_write_node(struct node *node, struct buffer *text);
/* As part of that; metrics_archive.c. */
void metrics_write_archive(struct node *node, struct buffer *text);
/* As part of that; metrics_mirror.c. */
void metrics_write_mirror(struct node *node, struct buffer *text);
void metrics_write_store(struct store *store, struct buffer *text);

#endif
