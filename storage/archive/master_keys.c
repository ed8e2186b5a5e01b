#include "storage/archive/master_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/check.h"
#include "daemon/base/files.h"
#include "daemon/base/memory.h"

#define MAX_KEYS   64u
#define LINE_BYTES 256

struct master_key {
    char name[LIMIT_NAME_BYTES + 1];
    uint8_t key[MASTER_KEY_BYTES];
};

struct master_keys {
    struct master_key *list;
    size_t n;
};

/* --- The cipher --- */

void cipher_seal(const uint8_t key[DATA_KEY_BYTES], const uint8_t nonce[CIPHER_NONCE_BYTES],
                 struct slice associated, struct slice plain, uint8_t *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int size = 0;

    CHECK(context != NULL);
    CHECK(plain.size <= INT32_MAX && associated.size <= INT32_MAX);
    CHECK(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1);
    CHECK(EVP_EncryptUpdate(context, NULL, &size, associated.data, (int)associated.size) == 1);
    CHECK(EVP_EncryptUpdate(context, out, &size, plain.data, (int)plain.size) == 1);
    CHECK((size_t)size == plain.size);
    CHECK(EVP_EncryptFinal_ex(context, out + size, &size) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, CIPHER_TAG_BYTES, out + plain.size) ==
          1);
    EVP_CIPHER_CTX_free(context);
}

enum status cipher_open(const uint8_t key[DATA_KEY_BYTES], const uint8_t nonce[CIPHER_NONCE_BYTES],
                        struct slice associated, struct slice sealed, uint8_t *out)
{
    EVP_CIPHER_CTX *context;
    uint8_t tag[CIPHER_TAG_BYTES];
    size_t size;
    int done = 0;
    int rv;

    if (sealed.size < CIPHER_TAG_BYTES || sealed.size > INT32_MAX) {
        return STATUS_CORRUPT;
    }
    size = sealed.size - CIPHER_TAG_BYTES;
    memcpy(tag, sealed.data + size, sizeof tag);
    context = EVP_CIPHER_CTX_new();
    CHECK(context != NULL);
    CHECK(EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1);
    CHECK(EVP_DecryptUpdate(context, NULL, &done, associated.data, (int)associated.size) == 1);
    CHECK(EVP_DecryptUpdate(context, out, &done, sealed.data, (int)size) == 1);
    CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, CIPHER_TAG_BYTES, tag) == 1);
    rv = EVP_DecryptFinal_ex(context, out + done, &done);
    EVP_CIPHER_CTX_free(context);
    return rv == 1 ? STATUS_OK : STATUS_CORRUPT;
}

/* --- The keys --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_hex(const char *text, uint8_t key[MASTER_KEY_BYTES])
{
    for (size_t i = 0; i < MASTER_KEY_BYTES; i++) {
        int high = hex_value(text[2 * i]);
        int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);

        if (low < 0) {
            return false;
        }
        key[i] = (uint8_t)(high * 16 + low);
    }
    return text[2 * MASTER_KEY_BYTES] == '\0';
}

static const struct master_key *find(const struct master_keys *keys, const char *name)
{
    for (size_t i = 0; keys != NULL && i < keys->n; i++) {
        if (strcmp(keys->list[i].name, name) == 0) {
            return &keys->list[i];
        }
    }
    return NULL;
}

/* The key is not repeated in what is said about a line. */
static enum status add_line(struct master_keys *keys, char *line, const char *path, unsigned number,
                            struct error *error)
{
    struct master_key *key = &keys->list[keys->n];
    size_t name_size = strcspn(line, " \t");
    char *hex = line + name_size + strspn(line + name_size, " \t");

    if (line[0] == '\0' || line[0] == '#') {
        return STATUS_OK;
    }
    if (keys->n == MAX_KEYS) {
        return error_set(error, STATUS_INVALID, "%s:%u: there are more than %u keys", path, number,
                         MAX_KEYS);
    }
    line[name_size] = '\0';
    if (name_size == 0 || name_size > LIMIT_NAME_BYTES ||
        strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") !=
            name_size ||
        !parse_hex(hex, key->key)) {
        return error_set(error, STATUS_INVALID,
                         "%s:%u: a key must be given as NAME and 64 hex digits", path, number);
    }
    if (find(keys, line) != NULL) {
        return error_set(error, STATUS_INVALID, "%s:%u: key \"%s\" is there twice", path, number,
                         line);
    }
    memcpy(key->name, line, name_size + 1);
    keys->n++;
    return STATUS_OK;
}

static enum status read_lines(struct master_keys *keys, FILE *file, const char *path,
                              struct error *error)
{
    char line[LINE_BYTES];
    unsigned number = 0;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && fgets(line, sizeof line, file) != NULL) {
        size_t size = strlen(line);

        number++;
        if (size + 1 == sizeof line && line[size - 1] != '\n') {
            status = error_set(error, STATUS_INVALID, "%s:%u: the line is too long", path, number);
            break;
        }
        while (size > 0 && strchr(" \t\r\n", line[size - 1]) != NULL) {
            line[--size] = '\0';
        }
        status = add_line(keys, line, path, number, error);
    }
    OPENSSL_cleanse(line, sizeof line);
    if (status == STATUS_OK && ferror(file)) {
        status = files_error("read", path, error);
    }
    if (status == STATUS_OK && keys->n == 0) {
        status = error_set(error, STATUS_INVALID, "\"%s\" holds no key", path);
    }
    return status;
}

static enum status check_file(FILE *file, const char *path, struct error *error)
{
    struct stat facts;

    if (fstat(fileno(file), &facts) != 0) {
        return files_error("look at", path, error);
    }
    if (!S_ISREG(facts.st_mode)) {
        return error_set(error, STATUS_INVALID, "\"%s\" is not a file", path);
    }
    if ((facts.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return error_set(error, STATUS_PERMISSION,
                         "\"%s\" holds keys, and others than its owner may use it: chmod 600",
                         path);
    }
    return STATUS_OK;
}

enum status master_keys_open(const char *path, struct master_keys **keys, struct error *error)
{
    FILE *file = fopen(path, "re");
    struct master_keys *opened;
    enum status status;

    if (file == NULL) {
        return files_error("open", path, error);
    }
    opened = memory_new_zeroed(1, sizeof *opened);
    opened->list = memory_new_zeroed(MAX_KEYS + 1, sizeof *opened->list);
    status = check_file(file, path, error);
    if (status == STATUS_OK) {
        status = read_lines(opened, file, path, error);
    }
    (void)fclose(file); /* Only read. */
    if (status != STATUS_OK) {
        master_keys_close(opened);
        return status;
    }
    *keys = opened;
    return STATUS_OK;
}

void master_keys_close(struct master_keys *keys)
{
    if (keys != NULL) {
        OPENSSL_cleanse(keys->list, (MAX_KEYS + 1) * sizeof *keys->list);
        free(keys->list);
        free(keys);
    }
}

const char *master_keys_current(const struct master_keys *keys)
{
    return keys->list[0].name;
}

/* Data keys are wrapped with random nonces: 2^32 of them with one master key would be too many
 * (NIST SP 800-38D, 8.3), which is more objects than an archive ever has. */
void master_keys_wrap_new(const struct master_keys *keys, uint8_t data_key[DATA_KEY_BYTES],
                          uint8_t wrapped[WRAPPED_KEY_BYTES])
{
    const struct master_key *key = &keys->list[0];

    CHECK(RAND_bytes(data_key, DATA_KEY_BYTES) == 1);
    CHECK(RAND_bytes(wrapped, CIPHER_NONCE_BYTES) == 1);
    cipher_seal(key->key, wrapped, slice_of_string(key->name), slice_of(data_key, DATA_KEY_BYTES),
                wrapped + CIPHER_NONCE_BYTES);
}

enum status master_keys_unwrap(const struct master_keys *keys, const char *name,
                               const uint8_t wrapped[WRAPPED_KEY_BYTES],
                               uint8_t data_key[DATA_KEY_BYTES], struct error *error)
{
    const struct master_key *key = find(keys, name);

    if (key == NULL) {
        return error_set(error, STATUS_NOT_FOUND,
                         "it is encrypted with key \"%s\", which is not among those given", name);
    }
    if (cipher_open(key->key, wrapped, slice_of_string(name),
                    slice_of(wrapped + CIPHER_NONCE_BYTES, DATA_KEY_BYTES + CIPHER_TAG_BYTES),
                    data_key) != STATUS_OK) {
        return error_set(error, STATUS_CORRUPT,
                         "key \"%s\" does not open it: it is another key of that name, or the "
                         "object is damaged",
                         name);
    }
    return STATUS_OK;
}
