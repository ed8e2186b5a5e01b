#include "daemon/base/mutation.h"

#include <string.h>

#ifdef HOLDFAST_MUTATIONS

enum mutation mutation_selected = MUTATION_none;

static const char *const names[] = {
#define MUTATION_NAME(name) #name,
    MUTATION_LIST(MUTATION_NAME)
#undef MUTATION_NAME
};

bool mutation_select(const char *name)
{
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            mutation_selected = (enum mutation)i;
            return true;
        }
    }
    return false;
}

void mutation_list(FILE *file)
{
    for (unsigned i = 1; i < sizeof names / sizeof *names; i++) {
        (void)fprintf(file, "%s\n", names[i]);
    }
}

#else

bool mutation_select(const char *name)
{
    (void)name;
    return false;
}

void mutation_list(FILE *file)
{
    (void)file;
}

#endif
