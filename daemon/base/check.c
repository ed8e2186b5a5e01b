#include "daemon/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *fact)
{
    /* Unbuffered and without the log: what failed may be the log itself. */
    (void)fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, fact);
    abort();
}
