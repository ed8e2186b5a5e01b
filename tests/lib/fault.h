/* For tests: the nth system call of the code under test fails.
 *
 * Programs are linked with $(FAULT_LINK), by which calls of the functions in fault.c from objects
 * of ours go through there. One thread. */
#ifndef HOLDFAST_TESTS_LIB_FAULT_H
#define HOLDFAST_TESTS_LIB_FAULT_H

#include <stdbool.h>

/* Let the @nth wrapped call from now (from 1) fail with @number, an errno. */
void fault_arm(unsigned nth, int number);

/* True if the armed fault struck. */
bool fault_disarm(void);

/* The name of the function that it struck last. */
const char *fault_name(void);

/* How many descriptors this process has open. */
unsigned fault_count_descriptors(void);

#endif
