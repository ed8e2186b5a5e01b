/* The keys that sign requests to AWS and to what speaks like it. The first place that has some:
 *
 * 1. the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN;
 * 2. the shared file: AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, with the profile
 *    AWS_PROFILE or "default";
 * 3. a web identity: the token in AWS_WEB_IDENTITY_TOKEN_FILE for the role AWS_ROLE_ARN, with the
 *    name AWS_ROLE_SESSION_NAME ("holdfast"), at the STS of AWS_REGION or at AWS_ENDPOINT_URL_STS;
 * 4. a container's or pod's identity: AWS_CONTAINER_CREDENTIALS_FULL_URI or
 *    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or
 *    AWS_CONTAINER_AUTHORIZATION_TOKEN;
 * 5. the role of an EC2 instance (IMDSv2), unless AWS_EC2_METADATA_DISABLED is "true";
 *    AWS_EC2_METADATA_SERVICE_ENDPOINT is another place to ask.
 *
 * Keys that end are renewed before they do. No error holds a secret key or a token. One thread at a
 * time. */
#ifndef HOLDFAST_STORAGE_ARCHIVE_AWS_CREDENTIALS_H
#define HOLDFAST_STORAGE_ARCHIVE_AWS_CREDENTIALS_H

#include <stdint.h>

#include "daemon/base/buffer.h"
#include "daemon/base/error.h"

#define AWS_KEY_FOREVER INT64_MAX

struct aws_key {
    char *access_key;
    char *secret_key;
    char *token;       /* NULL: none. */
    int64_t expires_s; /* Since 1970. */
};

void aws_key_close(struct aws_key *key); /* Wipes it. Accepts a zeroed one. */

/* The key in what a container's or an instance's endpoint answers (JSON). STATUS_INVALID: there is
 * none. The caller closes @key if it is STATUS_OK. */
MUST_USE enum status aws_key_from_answer(struct slice json, struct aws_key *key,
                                         struct error *error);

/* The same of what STS answers (XML). */
MUST_USE enum status aws_key_from_sts(struct slice xml, struct aws_key *key, struct error *error);

/* The key of @profile in a shared credentials file. STATUS_NOT_FOUND: no such profile, or it has no
 * key. STATUS_INVALID: it makes no sense. */
MUST_USE enum status aws_key_from_file(struct slice text, const char *profile, struct aws_key *key,
                                       struct error *error);

struct aws_credentials;

struct aws_credentials_options {
    /* As in repository_options; may be NULL. */
    bool (*is_canceled)(void *data);
    void *data;
};

struct aws_credentials *aws_credentials_open(const struct aws_credentials_options *options);

/* A key that is good at @now_s; borrowed until the next call. Waits for a network from case 3
 * on, some seconds at most. STATUS_PERMISSION: there is none. STATUS_CANCELED. */
MUST_USE enum status aws_credentials_get(struct aws_credentials *credentials, int64_t now_s,
                                         const struct aws_key **key, struct error *error);

/* A server said that the key is expired: look for another one at the next call. */
void aws_credentials_forget(struct aws_credentials *credentials);

void aws_credentials_close(struct aws_credentials *credentials); /* Accepts NULL. */

#endif
