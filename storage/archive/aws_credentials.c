/* Where keys come from, in order; each place has a function find_in_...(), which gives
 * STATUS_NOT_FOUND if that place is not set up here, and any other failure if it is, and has no
 * key: then the later places are not asked, as who set it up means it. */
#include "storage/archive/aws_credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/files.h"
#include "daemon/base/memory.h"
#include "storage/archive/exchange.h"

#define RENEW_S    300         /* So long before they end, keys are renewed. */
#define MAX_FILE   (1u << 20)  /* Of credentials. */
#define MAX_TOKEN  (16u << 10) /* Of a file with a token. */
#define MAX_ANSWER (64u << 10)
#define CONNECT_MS 1000 /* The endpoints are on this machine or next to it. */
#define STALL_S    5
#define ECS_HOST   "http://169.254.170.2"
#define IMDS_HOST  "http://169.254.169.254"
#define IMDS_TOKEN "/latest/api/token"
#define IMDS_ROLES "/latest/meta-data/iam/security-credentials/"
#define IMDS_TTL_S "21600"
#define MAX_URL    1024u
#define MAX_ROLE   256u

struct aws_credentials {
    struct exchange_client *client;
    struct aws_key key; /* Zeroed: none yet. */
};

struct aws_credentials *aws_credentials_open(const struct aws_credentials_options *options)
{
    struct aws_credentials *credentials = memory_new_zeroed(1, sizeof *credentials);

    credentials->client = exchange_open(&(struct exchange_options){
        .connect_ms = CONNECT_MS,
        .stall_s = STALL_S,
        .is_direct = true, /* What asks through a proxy gets the proxy's keys. */
        .is_canceled = options->is_canceled,
        .data = options->data,
    });
    return credentials;
}

void aws_credentials_close(struct aws_credentials *credentials)
{
    if (credentials != NULL) {
        exchange_close(credentials->client);
        aws_key_close(&credentials->key);
        free(credentials);
    }
}

void aws_credentials_forget(struct aws_credentials *credentials)
{
    aws_key_close(&credentials->key);
}

/* NULL if it is not set, or to nothing. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value == NULL || value[0] == '\0' ? NULL : value;
}

/* Whether @text can stand in a header field. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* --- The environment and the shared file --- */

static enum status find_in_environment(struct aws_key *key, struct error *error)
{
    const char *access_key = environment("AWS_ACCESS_KEY_ID");
    const char *secret_key = environment("AWS_SECRET_ACCESS_KEY");
    const char *token = environment("AWS_SESSION_TOKEN");

    if (access_key == NULL && secret_key == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (access_key == NULL || secret_key == NULL) {
        return error_set(error, STATUS_PERMISSION,
                         "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set");
    }
    if (!is_plain(access_key) || !is_plain(secret_key) || (token != NULL && !is_plain(token))) {
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

/* All of a file of at most @most bytes. */
static enum status read_file(const char *path, size_t most, struct buffer *text,
                             struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    enum status status = STATUS_OK;

    if (fd < 0) {
        return files_error("open", path, error);
    }
    (void)buffer_reserve(text, most + 1); /* Once: growing would leave copies behind. */
    while (status == STATUS_OK && n != 0 && text->size <= most) {
        n = read(fd, text->data + text->size, most + 1 - text->size);
        if (n < 0 && errno != EINTR) {
            status = files_error("read", path, error);
        } else if (n > 0) {
            (void)buffer_extend(text, (size_t)n); /* The bytes are there already. */
        }
    }
    (void)close(fd); /* Only read. */
    if (status == STATUS_OK && text->size > most) {
        status = error_set(error, STATUS_INVALID, "\"%s\" is too large", path);
    }
    return status;
}

static void close_secret(struct buffer *text)
{
    if (text->data != NULL) {
        explicit_bzero(text->data, text->size);
    }
    buffer_close(text);
}

static enum status find_in_file(struct aws_key *key, struct error *error)
{
    const char *given = environment("AWS_SHARED_CREDENTIALS_FILE");
    const char *profile = environment("AWS_PROFILE");
    const char *home = environment("HOME");
    bool is_meant = given != NULL || profile != NULL;
    char *path = given != NULL ? memory_copy_string(given)
                               : files_join(home == NULL ? "" : home, "/.aws/credentials");
    struct buffer text = BUFFER_EMPTY;
    enum status status = read_file(path, MAX_FILE, &text, error);

    if (status == STATUS_OK) {
        status = aws_key_from_file(buffer_slice(&text), profile == NULL ? "default" : profile, key,
                                   error);
        if (status != STATUS_OK) {
            (void)error_prefix(error, "could not take keys from \"%s\"", path);
        }
    }
    close_secret(&text);
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

/* --- Endpoints --- */

/* The body of the answer to a request, if that is 200. */
static enum status ask(struct aws_credentials *credentials, const char *method, const char *url,
                       const struct sigv4_pair *field, struct buffer *body, struct error *error)
{
    struct exchange_request request = {.method = method,
                                       .url = url,
                                       .fields = field,
                                       .n_fields = field == NULL ? 0 : 1,
                                       .max_body = MAX_ANSWER};
    struct exchange_answer answer;
    enum status status = exchange_run(credentials->client, &request, &answer, error);

    if (status == STATUS_OK && answer.status == 200) {
        *body = buffer_take(&answer.body);
    } else if (status == STATUS_OK) {
        status = error_set(error, STATUS_PERMISSION, "it answers with status %u", answer.status);
    }
    close_secret(&answer.body);
    exchange_answer_close(&answer);
    return status;
}

static enum status ask_key(struct aws_credentials *credentials, const char *url,
                           const struct sigv4_pair *field, struct aws_key *key, struct error *error)
{
    struct buffer body = BUFFER_EMPTY;
    enum status status = ask(credentials, "GET", url, field, &body, error);

    if (status == STATUS_OK) {
        status = aws_key_from_answer(buffer_slice(&body), key, error);
    }
    close_secret(&body);
    return status;
}

/* A token goes in the clear to this machine and its own link only. */
static bool may_ask(const char *url)
{
    static const char *const hosts[] = {"http://127.0.0.1",      "http://localhost",
                                        "http://[::1]",          ECS_HOST,
                                        "http://169.254.170.23", "http://[fd00:ec2::23]"};

    if (strncmp(url, "https://", 8) == 0) {
        return true;
    }
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        size_t size = strlen(hosts[i]);

        if (strncmp(url, hosts[i], size) == 0 && strchr(":/", url[size]) != NULL) {
            return true;
        }
    }
    return false;
}

/* What the field Authorization has to be; empty: it is not needed. */
static enum status read_authorization(struct buffer *text, struct error *error)
{
    const char *path = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");

    if (path != NULL) { /* Read each time: it is renewed, too. */
        if (read_file(path, MAX_TOKEN, text, error) != STATUS_OK) {
            return STATUS_PERMISSION; /* The error has the words. */
        }
        while (text->size > 0 && strchr(" \t\r\n", text->data[text->size - 1]) != NULL) {
            text->size--;
        }
    } else if (token != NULL) {
        buffer_append_string(text, token);
    }
    buffer_append_byte(text, 0);
    for (const char *c = (const char *)text->data; *c != '\0'; c++) {
        if (*c < 0x20 || *c >= 0x7f) {
            return error_set(error, STATUS_PERMISSION,
                             "the token for the container's credentials has letters that none has");
        }
    }
    return STATUS_OK;
}

static enum status find_in_container(struct aws_credentials *credentials, struct aws_key *key,
                                     struct error *error)
{
    const char *relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    struct buffer token = BUFFER_EMPTY;
    char url[MAX_URL];
    enum status status;

    if (relative == NULL && full == NULL) {
        return STATUS_NOT_FOUND;
    }
    (void)snprintf(url, sizeof url, "%s%s", relative != NULL ? ECS_HOST : "",
                   relative != NULL ? relative : full);
    if (!may_ask(url)) {
        return error_set(error, STATUS_PERMISSION,
                         "the AWS_CONTAINER_CREDENTIALS_..._URI is neither https nor of this "
                         "machine");
    }
    status = read_authorization(&token, error);
    if (status == STATUS_OK) {
        struct sigv4_pair field = {.name = "authorization", .value = (const char *)token.data};

        status = ask_key(credentials, url, token.size > 1 ? &field : NULL, key, error);
        if (status != STATUS_OK && status != STATUS_CANCELED) {
            (void)error_prefix(error, "could not get the container's credentials");
            status = STATUS_PERMISSION;
        }
    }
    close_secret(&token);
    return status;
}

/* The instance's role is the first line of what @url answers. */
static enum status ask_role(struct aws_credentials *credentials, const char *url,
                            const struct sigv4_pair *field, char role[MAX_ROLE],
                            struct error *error)
{
    struct buffer body = BUFFER_EMPTY;
    enum status status = ask(credentials, "GET", url, field, &body, error);

    if (status == STATUS_OK) {
        buffer_append_byte(&body, 0);
        (void)snprintf(role, MAX_ROLE, "%.*s", (int)strcspn((const char *)body.data, "\r\n"),
                       (const char *)body.data);
        if (role[0] == '\0' || !is_plain(role) || strpbrk(role, "/?#") != NULL) {
            status = error_set(error, STATUS_PERMISSION, "it names no role");
        }
    }
    buffer_close(&body);
    return status;
}

/* IMDSv2: a token first, which shows that the request is not one that something forwards. */
static enum status ask_instance(struct aws_credentials *credentials, const char *host,
                                struct aws_key *key, struct error *error)
{
    const struct sigv4_pair lifetime = {.name = "x-aws-ec2-metadata-token-ttl-seconds",
                                        .value = IMDS_TTL_S};
    struct sigv4_pair field = {.name = "x-aws-ec2-metadata-token"};
    struct buffer token = BUFFER_EMPTY;
    char role[MAX_ROLE];
    char url[MAX_URL];
    enum status status;

    (void)snprintf(url, sizeof url, "%s" IMDS_TOKEN, host);
    status = ask(credentials, "PUT", url, &lifetime, &token, error);
    if (status == STATUS_OK) {
        buffer_append_byte(&token, 0);
        field.value = (const char *)token.data;
        if (!is_plain(field.value)) {
            status = error_set(error, STATUS_PERMISSION, "it gives no token");
        }
    }
    if (status == STATUS_OK) {
        (void)snprintf(url, sizeof url, "%s" IMDS_ROLES, host);
        status = ask_role(credentials, url, &field, role, error);
    }
    if (status == STATUS_OK) {
        (void)snprintf(url, sizeof url, "%s" IMDS_ROLES "%s", host, role);
        status = ask_key(credentials, url, &field, key, error);
    }
    close_secret(&token);
    return status;
}

static enum status find_in_instance(struct aws_credentials *credentials, struct aws_key *key,
                                    struct error *error)
{
    const char *given = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *disabled = environment("AWS_EC2_METADATA_DISABLED");
    char host[MAX_URL / 2];
    size_t size;
    enum status status;

    if (disabled != NULL && strcmp(disabled, "true") == 0) {
        return STATUS_NOT_FOUND;
    }
    (void)snprintf(host, sizeof host, "%s", given == NULL ? IMDS_HOST : given);
    size = strlen(host);
    if (size > 0 && host[size - 1] == '/') {
        host[size - 1] = '\0';
    }
    status = ask_instance(credentials, host, key, error);
    if (status != STATUS_OK && status != STATUS_CANCELED) {
        (void)error_prefix(error,
                           "there are no keys: none in the environment (AWS_ACCESS_KEY_ID), the "
                           "shared file or a container, and the instance's metadata at %s",
                           host);
        status = STATUS_PERMISSION;
    }
    return status;
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
        status = find_in_container(credentials, key, error);
    }
    if (status == STATUS_NOT_FOUND) {
        status = find_in_instance(credentials, key, error);
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
