/* Base64 (RFC 4648): with padding for bytes in bodies, URL-safe without padding for cursors. */
#ifndef HOLDFAST_API_BASE64_H
#define HOLDFAST_API_BASE64_H

#include "daemon/base/buffer.h"

enum base64_alphabet { BASE64_STANDARD, BASE64_URL };

void base64_encode(enum base64_alphabet alphabet, struct slice bytes, struct buffer *text);

/* Append the bytes. False, with nothing appended, unless @text is exactly what encoding gives. */
bool base64_decode(enum base64_alphabet alphabet, struct slice text, struct buffer *bytes);

#endif
