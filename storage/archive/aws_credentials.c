/* Where keys come from, in order; what looks into a place gives STATUS_NOT_FOUND if that place is
 * not set up here, and any other failure if it is, and has no key: then the later places are not
 * asked, as who set it up means it. */
#include "storage/archive/aws_credentials.h"

#include <stdlib.h>

#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/archive/aws_endpoints.h"
#include "storage/archive/aws_secret.h"

#define RENEW_S  300        /* So long before they end, keys are renewed. */
#define MAX_FILE (1u << 20) /* Of credentials. */

struct aws_credentials {
    struct aws_endpoints endpoints;
    struct aws_key key; /* Zeroed: none yet. */
};

struct aws_credentials *aws_credentials_open(const struct aws_credentials_options *options)
{
    struct aws_credentials *credentials = memory_new_zeroed(1, sizeof *credentials);

    aws_endpoints_open(&credentials->endpoints, options);
    return credentials;
}

void aws_credentials_close(struct aws_credentials *credentials)
{
    if (credentials != NULL) {
        aws_endpoints_close(&credentials->endpoints);
        aws_key_close(&credentials->key);
        free(credentials);
    }
}

void aws_credentials_forget(struct aws_credentials *credentials)
{
    aws_key_close(&credentials->key);
}

/* --- The environment and the shared file --- */

static enum status find_in_environment(struct aws_key *key, struct error *error)
{
    const char *access_key = aws_environment("AWS_ACCESS_KEY_ID");
    const char *secret_key = aws_environment("AWS_SECRET_ACCESS_KEY");
    const char *token = aws_environment("AWS_SESSION_TOKEN");

    if (access_key == NULL && secret_key == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (access_key == NULL || secret_key == NULL) {
        return error_set(error, STATUS_PERMISSION,
                         "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set");
    }
    if (!aws_is_plain(access_key) || !aws_is_plain(secret_key) ||
        (token != NULL && !aws_is_plain(token))) {
        return error_set(error, STATUS_PERMISSION,
                         "the AWS_... keys in the environment have blanks or other letters that no "
                         "key has");
    }
    *key = (struct aws_key){.access_key = memory_copy_string(access_key),
                            .secret_key = memory_copy_string(secret_key),
                            .token = token == NULL ? NULL : memory_copy_string(token),
                            .expires_s = AWS_KEY_FOREVER};
    return STATUS_OK;
}

static enum status find_in_file(struct aws_key *key, struct error *error)
{
    const char *given = aws_environment("AWS_SHARED_CREDENTIALS_FILE");
    const char *profile = aws_environment("AWS_PROFILE");
    const char *home = aws_environment("HOME");
    bool is_meant = given != NULL || profile != NULL;
    char *path = given != NULL ? memory_copy_string(given)
                               : files_join(home == NULL ? "" : home, "/.aws/credentials");
    struct buffer text = BUFFER_EMPTY;
    enum status status = aws_read_file(path, MAX_FILE, &text, error);

    if (status == STATUS_OK) {
        status = aws_key_from_file(buffer_slice(&text), profile == NULL ? "default" : profile, key,
                                   error);
        if (status != STATUS_OK) {
            (void)error_prefix(error, "could not take keys from \"%s\"", path);
        }
    }
    aws_close_secret(&text);
    free(path);
    if (status == STATUS_OK) {
        return STATUS_OK;
    }
    /* A home that a service may not look into has no keys for it. */
    if (!is_meant && (status == STATUS_NOT_FOUND || status == STATUS_PERMISSION)) {
        return STATUS_NOT_FOUND;
    }
    return STATUS_PERMISSION; /* The error has the words. */
}

/* --- All of them --- */

static enum status find(struct aws_credentials *credentials, struct aws_key *key,
                        struct error *error)
{
    enum status status = find_in_environment(key, error);

    if (status == STATUS_NOT_FOUND) {
        status = find_in_file(key, error);
    }
    if (status == STATUS_NOT_FOUND) {
        status = aws_endpoints_find(&credentials->endpoints, key, error);
    }
    if (status == STATUS_NOT_FOUND) {
        status =
            error_set(error, STATUS_PERMISSION,
                      "there are no keys: none in the environment (AWS_ACCESS_KEY_ID) and none "
                      "in the shared file");
    }
    return status;
}

enum status aws_credentials_get(struct aws_credentials *credentials, int64_t now_s,
                                const struct aws_key **key, struct error *error)
{
    struct aws_key *known = &credentials->key;
    struct aws_key found;

    if (known->access_key == NULL || known->expires_s - RENEW_S <= now_s) {
        enum status status = find(credentials, &found, error);

        if (status == STATUS_OK) {
            aws_key_close(known);
            *known = found;
        } else if (known->access_key == NULL || known->expires_s <= now_s ||
                   status == STATUS_CANCELED) {
            return status;
        } /* Else it is good for some minutes yet, and the next call tries again. */
    }
    *key = known;
    return STATUS_OK;
}
