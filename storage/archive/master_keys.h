/* The master keys of the archive: named, 256 bits each. Each object has a random data key of its
 * own, which is wrapped by a master key and kept with it; so a master key is changed by putting a
 * new one in front, while old objects are read with the old one.
 *
 * A file of them has a line NAME HEX for each, the current one first; 64 hex digits, a name like a
 * member's. Lines that are empty or begin with "#" say nothing. The file must be readable by its
 * owner alone.
 *
 * Any thread, after opening. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_MASTER_KEYS_H
#define HOLDFAST_STORAGE_ARCHIVE_MASTER_KEYS_H

#include "daemon/base/error.h"
#include "daemon/base/limits.h"
#include "daemon/base/slice.h"

#define MASTER_KEY_BYTES   32u
#define DATA_KEY_BYTES     32u
#define WRAPPED_KEY_BYTES  60u /* A nonce of 12, the key, a tag of 16. */
#define CIPHER_NONCE_BYTES 12u
#define CIPHER_TAG_BYTES   16u

struct master_keys;

/* STATUS_NOT_FOUND, STATUS_PERMISSION (also: others may read the file), STATUS_IO,
 * STATUS_INVALID: with the line. */
MUST_USE enum status master_keys_open(const char *path, struct master_keys **keys,
                                      struct error *error);
void master_keys_close(struct master_keys *keys); /* Accepts NULL. Wipes them. */

/* The name of the current one. */
const char *master_keys_current(const struct master_keys *keys);

/* Draw a data key, and wrap it with the current master key. */
void master_keys_wrap_new(const struct master_keys *keys, uint8_t data_key[DATA_KEY_BYTES],
                          uint8_t wrapped[WRAPPED_KEY_BYTES]);

/* STATUS_NOT_FOUND: there is no key of that name (@keys may be NULL: none at all). STATUS_CORRUPT:
 * it does not open this. */
MUST_USE enum status master_keys_unwrap(const struct master_keys *keys, const char *name,
                                        const uint8_t wrapped[WRAPPED_KEY_BYTES],
                                        uint8_t data_key[DATA_KEY_BYTES], struct error *error);

/* AES-256-GCM. @out has room for @plain and CIPHER_TAG_BYTES more. A nonce must never be used twice
 * with the same key. */
void cipher_seal(const uint8_t key[DATA_KEY_BYTES], const uint8_t nonce[CIPHER_NONCE_BYTES],
                 struct slice associated, struct slice plain, uint8_t *out);
/* @out has room for @sealed less CIPHER_TAG_BYTES. STATUS_CORRUPT: it is not what was sealed. */
MUST_USE enum status cipher_open(const uint8_t key[DATA_KEY_BYTES],
                                 const uint8_t nonce[CIPHER_NONCE_BYTES], struct slice associated,
                                 struct slice sealed, uint8_t *out);

#endif
