/* What every kind of repository must do (repository.h), as one test that each kind's tests run
 * against their own. */
#ifndef HOLDFAST_TESTS_REPOSITORY_CONTRACT_H
#define HOLDFAST_TESTS_REPOSITORY_CONTRACT_H

#include "storage/archive/repository.h"

/* Asserts, with cmocka. @repository is empty, and is so again afterwards. */
void repository_contract(struct repository *repository);

/* Create @name of @bytes. */
enum status repository_put(struct repository *repository, const char *name, struct slice bytes,
                           struct error *error);

#endif
