/* CHECK: one fact that must hold, or this program has a mistake.
 *
 * Active in every build. It is for our own mistakes only: bytes from a disk, a
 * network or a configuration are input and get a status instead. */
#ifndef HOLDFAST_BASE_CHECK_H
#define HOLDFAST_BASE_CHECK_H

/* Write where and what to standard error, then abort(). */
__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *fact);

#define CHECK(fact)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(fact), 0)) {                                                        \
            check_failed(__FILE__, __LINE__, #fact);                                               \
        }                                                                                          \
    } while (0)

#endif
