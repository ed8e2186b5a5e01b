#include "api/base64.h"

static const char alphabets[2][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

void base64_encode(enum base64_alphabet alphabet, struct slice bytes, struct buffer *text)
{
    const char *letters = alphabets[alphabet];

    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;

        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        for (unsigned k = 0; k < 4; k++) {
            if (k <= left) {
                buffer_append_byte(text, (uint8_t)letters[group >> (18 - 6 * k) & 63]);
            } else if (alphabet == BASE64_STANDARD) {
                buffer_append_byte(text, '=');
            }
        }
    }
}

static int value_of(enum base64_alphabet alphabet, uint8_t letter)
{
    const char *at = letter == 0 ? NULL : strchr(alphabets[alphabet], letter);

    return at == NULL ? -1 : (int)(at - alphabets[alphabet]);
}

/* The text without its padding; false if there is padding where none belongs, or too little. */
static bool strip_padding(enum base64_alphabet alphabet, struct slice *text)
{
    if (alphabet == BASE64_STANDARD) {
        if (text->size % 4 != 0) {
            return false;
        }
        for (unsigned i = 0; i < 2 && text->size > 0 && text->data[text->size - 1] == '='; i++) {
            text->size--;
        }
    }
    return text->size % 4 != 1;
}

bool base64_decode(enum base64_alphabet alphabet, struct slice text, struct buffer *bytes)
{
    size_t start = bytes->size;
    uint32_t group = 0;
    unsigned bits = 0;

    if (!strip_padding(alphabet, &text)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(alphabet, text.data[i]);

        if (value < 0) {
            bytes->size = start;
            return false;
        }
        group = group << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buffer_append_byte(bytes, (uint8_t)(group >> bits));
            group &= (1u << bits) - 1;
        }
    }
    if (group != 0) { /* Bits behind the last byte: another text for the same bytes. */
        bytes->size = start;
        return false;
    }
    return true;
}
