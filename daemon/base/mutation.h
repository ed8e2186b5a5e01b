/* Planted bugs: each place where MUTATION() stands does the wrong thing when the bug of that name
 * is selected, so that the simulator can be seen to notice it (docs/testing.md).
 *
 * In ordinary builds MUTATION() is the constant false, and nothing of it is in the program. A build
 * configured with --enable-mutations is for tests only; there one bug is selected before any thread
 * starts. */
#ifndef HOLDFAST_BASE_MUTATION_H
#define HOLDFAST_BASE_MUTATION_H

#include <stdbool.h>
#include <stdio.h>

#define MUTATION_LIST(X)                                                                           \
    X(none)

enum mutation {
#define MUTATION_ENUM(name) MUTATION_##name,
    MUTATION_LIST(MUTATION_ENUM)
#undef MUTATION_ENUM
};

#ifdef HOLDFAST_MUTATIONS
extern enum mutation mutation_selected;
#define MUTATION(name) (mutation_selected == MUTATION_##name)
#else
#define MUTATION(name) false
#endif

/* False if there is no bug called @name, or none at all in this build. */
bool mutation_select(const char *name);

/* Write the names, one per line; nothing in an ordinary build. */
void mutation_list(FILE *file);

#endif
