/* Bytes as text. */
#ifndef HOLDFAST_BASE_HEX_H
#define HOLDFAST_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Two lower-case digits for each byte, and NUL. */
void hex_text(const uint8_t *bytes, size_t size, char *text);

#endif
