#include "api/uuid.h"

#include <stdio.h>
#include <sys/random.h>

#include "daemon/base/check.h"

void uuid_make(uint64_t now_ms, char text[UUID_TEXT_BYTES + 1])
{
    uint8_t b[16];

    /* Up to 256 bytes come whole and without interruption once the pool is ready (getrandom(2)). */
    CHECK(getrandom(b, sizeof(b), 0) == (ssize_t)sizeof(b));
    for (unsigned i = 0; i < 6; i++) {
        b[i] = (uint8_t)(now_ms >> (40 - 8 * i));
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x70);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(text, UUID_TEXT_BYTES + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]); /* It fits. */
}
