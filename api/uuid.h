/* Ids that the server makes: UUID version 7 (RFC 9562), sorted by the time of their making. */
#ifndef HOLDFAST_API_UUID_H
#define HOLDFAST_API_UUID_H

#include <stdint.h>

#define UUID_TEXT_BYTES 36

/* Write a new id, with NUL at its end. @now_ms is milliseconds since 1970. Any thread. */
void uuid_make(uint64_t now_ms, char text[UUID_TEXT_BYTES + 1]);

#endif
