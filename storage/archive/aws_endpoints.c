#include "storage/archive/aws_endpoints.h"

#include <stdio.h>
#include <string.h>

#include "storage/archive/aws_secret.h"

#define MAX_TOKEN      (16u << 10) /* Of a file with a token. */
#define MAX_ANSWER     (64u << 10)
#define CONNECT_MS     1000 /* To what is on this machine or next to it. */
#define STS_CONNECT_MS 5000
#define STALL_S        5
#define ECS_HOST       "http://169.254.170.2"
#define IMDS_HOST      "http://169.254.169.254"
#define IMDS_TOKEN     "/latest/api/token"
#define IMDS_ROLES     "/latest/meta-data/iam/security-credentials/"
#define IMDS_TTL_S     "21600"
#define MAX_URL        1024u
#define MAX_ROLE       256u

void aws_endpoints_open(struct aws_endpoints *endpoints,
                        const struct aws_credentials_options *options)
{
    struct exchange_options inside = {
        .connect_ms = CONNECT_MS,
        .stall_s = STALL_S,
        .is_direct = true, /* What asks through a proxy gets the proxy's keys. */
        .is_canceled = options->is_canceled,
        .data = options->data,
    };
    struct exchange_options outside = inside;

    outside.connect_ms = STS_CONNECT_MS;
    outside.is_direct = false;
    outside.ca_file = aws_environment("AWS_CA_BUNDLE");
    endpoints->inside = exchange_open(&inside);
    endpoints->outside = exchange_open(&outside);
}

void aws_endpoints_close(struct aws_endpoints *endpoints)
{
    exchange_close(endpoints->inside);
    exchange_close(endpoints->outside);
}

/* The body of the answer to a request, if that is 200. */
static enum status ask(struct exchange_client *client, const char *method, const char *url,
                       const struct sigv4_pair *field, struct buffer *body, struct error *error)
{
    struct exchange_request request = {.method = method,
                                       .url = url,
                                       .fields = field,
                                       .n_fields = field == NULL ? 0 : 1,
                                       .max_body = MAX_ANSWER};
    struct exchange_answer answer;
    enum status status = exchange_run(client, &request, &answer, error);

    if (status == STATUS_OK && answer.status == 200) {
        *body = buffer_take(&answer.body);
    } else if (status == STATUS_OK) {
        status = error_set(error, STATUS_PERMISSION, "it answers with status %u", answer.status);
    }
    aws_close_secret(&answer.body);
    exchange_answer_close(&answer);
    return status;
}

static enum status ask_key(struct aws_endpoints *endpoints, const char *url,
                           const struct sigv4_pair *field, struct aws_key *key, struct error *error)
{
    struct buffer body = BUFFER_EMPTY;
    enum status status = ask(endpoints->inside, "GET", url, field, &body, error);

    if (status == STATUS_OK) {
        status = aws_key_from_answer(buffer_slice(&body), key, error);
    }
    aws_close_secret(&body);
    return status;
}

/* A token goes in the clear to this machine and its own link only. */
static bool may_ask(const char *url)
{
    static const char *const hosts[] = {"http://127.0.0.1",      "http://localhost",
                                        "http://[::1]",          ECS_HOST,
                                        "http://169.254.170.23", "http://[fd00:ec2::23]"};

    if (strchr(url, '@') != NULL) {
        return false; /* What looks like a host may be a name and a password. */
    }
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

/* Append the token in a file, and a NUL. Read each time: it is renewed, too. */
static enum status read_token(const char *path, struct buffer *text, struct error *error)
{
    if (aws_read_file(path, MAX_TOKEN, text, error) != STATUS_OK) {
        return STATUS_PERMISSION; /* The error has the words. */
    }
    while (text->size > 0 && text->data[text->size - 1] <= ' ') {
        text->size--;
    }
    buffer_append_byte(text, 0);
    return STATUS_OK;
}

/* --- A web identity --- */

/* Where STS is: with no "/" at the end. */
static void write_sts_host(char host[MAX_URL])
{
    const char *given = aws_environment("AWS_ENDPOINT_URL_STS");
    const char *region = aws_environment("AWS_REGION");
    size_t size;

    if (region == NULL) {
        region = aws_environment("AWS_DEFAULT_REGION");
    }
    if (given != NULL) {
        (void)snprintf(host, MAX_URL, "%s", given);
        size = strlen(host);
        if (host[size - 1] == '/') {
            host[size - 1] = '\0';
        }
    } else if (region != NULL) {
        (void)snprintf(host, MAX_URL, "https://sts.%s.amazonaws.com%s", region,
                       strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    } else {
        (void)snprintf(host, MAX_URL, "https://sts.amazonaws.com");
    }
}

/* The token itself shows who asks: nothing is signed. */
static enum status ask_sts(struct aws_endpoints *endpoints, const char *role, const char *token,
                           struct aws_key *key, struct error *error)
{
    const char *session = aws_environment("AWS_ROLE_SESSION_NAME");
    const struct sigv4_pair query[] = {
        {"Action", "AssumeRoleWithWebIdentity"},
        {"RoleArn", role},
        {"RoleSessionName", session == NULL ? "holdfast" : session},
        {"Version", "2011-06-15"},
        {"WebIdentityToken", token},
    };
    struct buffer url = BUFFER_EMPTY;
    struct buffer body = BUFFER_EMPTY;
    char host[MAX_URL];
    enum status status;

    write_sts_host(host);
    if (!may_ask(host)) {
        return error_set(error, STATUS_PERMISSION,
                         "AWS_ENDPOINT_URL_STS is neither https nor of this machine");
    }
    (void)buffer_reserve(&url, MAX_TOKEN * 3 + MAX_URL * 4); /* Once, as above. */
    buffer_append_format(&url, "%s/?", host);
    sigv4_encode_query(query, sizeof query / sizeof query[0], &url);
    buffer_append_byte(&url, 0);
    status = ask(endpoints->outside, "GET", (const char *)url.data, NULL, &body, error);
    if (status == STATUS_OK) {
        status = aws_key_from_sts(buffer_slice(&body), key, error);
    }
    aws_close_secret(&url);
    aws_close_secret(&body);
    return status;
}

static enum status find_by_web_identity(struct aws_endpoints *endpoints, struct aws_key *key,
                                        struct error *error)
{
    const char *path = aws_environment("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *role = aws_environment("AWS_ROLE_ARN");
    struct buffer token = BUFFER_EMPTY;
    enum status status;

    if (path == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (role == NULL) {
        return error_set(error, STATUS_PERMISSION,
                         "AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not");
    }
    status = read_token(path, &token, error);
    if (status == STATUS_OK) {
        status = ask_sts(endpoints, role, (const char *)token.data, key, error);
        if (status != STATUS_OK && status != STATUS_CANCELED) {
            (void)error_prefix(error, "could not get keys for the web identity in \"%s\"", path);
            status = STATUS_PERMISSION;
        }
    }
    aws_close_secret(&token);
    return status;
}

/* --- A container --- */

/* What the field Authorization has to be; empty: it is not needed. */
static enum status read_authorization(struct buffer *text, struct error *error)
{
    const char *path = aws_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = aws_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    enum status status;

    if (path != NULL) {
        status = read_token(path, text, error);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        buffer_append_string(text, token == NULL ? "" : token);
        buffer_append_byte(text, 0);
    }
    for (const char *c = (const char *)text->data; *c != '\0'; c++) {
        if (*c < 0x20 || *c >= 0x7f) {
            return error_set(error, STATUS_PERMISSION,
                             "the token for the container's credentials has letters that none has");
        }
    }
    return STATUS_OK;
}

static enum status find_in_container(struct aws_endpoints *endpoints, struct aws_key *key,
                                     struct error *error)
{
    const char *relative = aws_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = aws_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
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

        status = ask_key(endpoints, url, token.size > 1 ? &field : NULL, key, error);
        if (status != STATUS_OK && status != STATUS_CANCELED) {
            (void)error_prefix(error, "could not get the container's credentials");
            status = STATUS_PERMISSION;
        }
    }
    aws_close_secret(&token);
    return status;
}

/* --- An instance --- */

/* The instance's role is the first line of what @url answers. */
static enum status ask_role(struct aws_endpoints *endpoints, const char *url,
                            const struct sigv4_pair *field, char role[MAX_ROLE],
                            struct error *error)
{
    struct buffer body = BUFFER_EMPTY;
    enum status status = ask(endpoints->inside, "GET", url, field, &body, error);

    if (status == STATUS_OK) {
        buffer_append_byte(&body, 0);
        (void)snprintf(role, MAX_ROLE, "%.*s", (int)strcspn((const char *)body.data, "\r\n"),
                       (const char *)body.data);
        if (role[0] == '\0' || !aws_is_plain(role) || strpbrk(role, "/?#") != NULL) {
            status = error_set(error, STATUS_PERMISSION, "it names no role");
        }
    }
    buffer_close(&body);
    return status;
}

/* IMDSv2: a token first, which shows that the request is not one that something forwards. */
static enum status ask_instance(struct aws_endpoints *endpoints, const char *host,
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
    status = ask(endpoints->inside, "PUT", url, &lifetime, &token, error);
    if (status == STATUS_OK) {
        buffer_append_byte(&token, 0);
        field.value = (const char *)token.data;
        if (!aws_is_plain(field.value)) {
            status = error_set(error, STATUS_PERMISSION, "it gives no token");
        }
    }
    if (status == STATUS_OK) {
        (void)snprintf(url, sizeof url, "%s" IMDS_ROLES, host);
        status = ask_role(endpoints, url, &field, role, error);
    }
    if (status == STATUS_OK) {
        (void)snprintf(url, sizeof url, "%s" IMDS_ROLES "%s", host, role);
        status = ask_key(endpoints, url, &field, key, error);
    }
    aws_close_secret(&token);
    return status;
}

static enum status find_in_instance(struct aws_endpoints *endpoints, struct aws_key *key,
                                    struct error *error)
{
    const char *given = aws_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *disabled = aws_environment("AWS_EC2_METADATA_DISABLED");
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
    status = ask_instance(endpoints, host, key, error);
    if (status != STATUS_OK && status != STATUS_CANCELED) {
        (void)error_prefix(error,
                           "there are no keys: none in the environment (AWS_ACCESS_KEY_ID), the "
                           "shared file or a container, and the instance's metadata at %s",
                           host);
        status = STATUS_PERMISSION;
    }
    return status;
}

enum status aws_endpoints_find(struct aws_endpoints *endpoints, struct aws_key *key,
                               struct error *error)
{
    enum status status = find_by_web_identity(endpoints, key, error);

    if (status == STATUS_NOT_FOUND) {
        status = find_in_container(endpoints, key, error);
    }
    return status == STATUS_NOT_FOUND ? find_in_instance(endpoints, key, error) : status;
}
