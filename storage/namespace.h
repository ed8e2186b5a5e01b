/* Namespaces: see execution.h for what executes operations on them. */
#ifndef HOLDFAST_STORAGE_NAMESPACE_H
#define HOLDFAST_STORAGE_NAMESPACE_H

#include "storage/execution.h"

/* Always exists, from the first entry on. */
#define NAMESPACE_DEFAULT "default"

/* Make the namespace @name, which must not exist, with defaults; takes execution->revision. */
MUST_USE enum status namespace_make(struct execution *execution, struct slice name);

#endif
