/* Where keys come from: which place is asked first, when they are renewed, and that nothing secret
 * is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/aws_credentials.h"
#include "tests/lib/stub_server.h"

#define KEY(access, end)                                                                           \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" access "\",\"SecretAccessKey\":\"hush\","           \
    "\"Token\":\"hush-token\",\"Expiration\":\"" end "\"}"
#define SHARED                                                                                     \
    "# mine\n[default]\naws_access_key_id=AKDEFAULT\r\naws_secret_access_key = hush\n\n"           \
    "[profile other]\n; theirs\n aws_access_key_id = AKOTHER \n"                                   \
    "aws_secret_access_key=hush=/+\nregion=x\naws_session_token=hush-token\n[empty]\nregion=y\n"

struct fixture {
    struct aws_credentials *credentials;
    struct stub_server *server;
    char path[64];
    char *home;
    const struct aws_key *key;
    struct error error;
};

static int setup(void **state)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_REGION"};
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unsetenv(names[i]);
    }
    f->home = getenv("HOME") == NULL ? NULL : strdup(getenv("HOME"));
    (void)setenv("HOME", "/nonexistent", 1);
    (void)setenv("no_proxy", "*", 1);
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1); /* No test asks a real one. */
    f->credentials = aws_credentials_open(&(struct aws_credentials_options){0});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    aws_credentials_close(f->credentials);
    if (f->server != NULL) {
        stub_server_close(f->server);
    }
    if (f->path[0] != '\0') {
        (void)unlink(f->path);
    }
    if (f->home != NULL) {
        (void)setenv("HOME", f->home, 1);
    }
    free(f->home);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    FILE *file;

    if (f->path[0] == '\0') {
        strcpy(f->path, "/tmp/holdfast-keys-XXXXXX");
        file = fdopen(mkstemp(f->path), "w");
    } else {
        file = fopen(f->path, "w");
    }
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void serve(struct fixture *f, const struct stub_step *script, const char *variable,
                  const char *path)
{
    char url[128];

    f->server = stub_server_open(script);
    (void)snprintf(url, sizeof url, "%s%s", stub_server_url(f->server), path);
    (void)setenv(variable, url, 1);
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
}

static enum status get(struct fixture *f, int64_t now_s)
{
    enum status status = aws_credentials_get(f->credentials, now_s, &f->key, &f->error);

    if (status != STATUS_OK) {
        assert_null(strstr(f->error.text, "hush"));
    }
    return status;
}

static void assert_told(struct fixture *f, const char *words)
{
    if (strstr(f->error.text, words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, f->error.text);
    }
}

static void the_environment_comes_first(void **state)
{
    struct fixture *f = *state;

    write_file(f, SHARED);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", f->path, 1);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "only one of");
    (void)setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AKENV");
    assert_string_equal(f->key->secret_key, "hush");
    assert_null(f->key->token);
}

static void keys_that_would_break_a_field_are_refused(void **state)
{
    struct fixture *f = *state;

    (void)setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "hush", 1);
    (void)setenv("AWS_SESSION_TOKEN", "hush\r\nx-other: 1", 1);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
}

static void the_shared_file_has_profiles(void **state)
{
    struct fixture *f = *state;

    write_file(f, SHARED);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", f->path, 1);
    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AKDEFAULT");
    assert_null(f->key->token);

    (void)setenv("AWS_PROFILE", "other", 1);
    aws_credentials_forget(f->credentials);
    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AKOTHER");
    assert_string_equal(f->key->secret_key, "hush=/+");
    assert_string_equal(f->key->token, "hush-token");

    (void)setenv("AWS_PROFILE", "empty", 1);
    aws_credentials_forget(f->credentials);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "it has no keys for profile \"empty\"");
}

static void a_shared_file_that_is_wrong_is_told_by_its_name(void **state)
{
    struct fixture *f = *state;

    write_file(f, "[default]\naws_access_key_id=A\naws_secret_access_key=hush hush\n");
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", f->path, 1);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, f->path);
    write_file(f, "[default\naws_secret_access_key=hush\n");
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/keys", 1);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "\"/nonexistent/keys\"");
}

static void who_has_no_keys_is_told_where_they_are_looked_for(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "AWS_ACCESS_KEY_ID");
}

static void a_container_asks_with_its_token_and_renews_before_the_end(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, NULL, KEY("AK1", "1970-01-01T01:00:00Z")},
        {STUB_ANSWER, 200, NULL, KEY("AK2", "1970-01-01T02:00:00.5Z")},
        {STUB_ANSWER, 500, NULL, NULL},
        STUB_LAST};
    struct fixture *f = *state;

    write_file(f, "hush-file\n");
    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", f->path, 1);
    serve(f, script, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/role");

    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AK1");
    assert_string_equal(f->key->token, "hush-token");
    assert_non_null(strstr(stub_server_request(f->server, 0), "GET /role HTTP/1.1\r\n"));
    assert_non_null(strstr(stub_server_request(f->server, 0), "authorization: hush-file\r\n"));
    assert_int_equal(get(f, 3299), STATUS_OK);
    assert_string_equal(f->key->access_key, "AK1");
    assert_int_equal(get(f, 3300), STATUS_OK); /* Five minutes before. */
    assert_string_equal(f->key->access_key, "AK2");
    assert_int_equal(get(f, 7199), STATUS_OK); /* It cannot be renewed, and is good yet. */
    assert_string_equal(f->key->access_key, "AK2");
    assert_int_equal(get(f, 7200), STATUS_PERMISSION);
    assert_told(f, "could not get the container's credentials: it answers with status 500");
}

#define STS(secret, end)                                                                           \
    "<AssumeRoleWithWebIdentityResponse xmlns=\"x\"><AssumeRoleWithWebIdentityResult>"             \
    "<Audience>sts</Audience><Credentials><SessionToken>hush-token</SessionToken>"                 \
    "<SecretAccessKey>" secret "</SecretAccessKey><Expiration>" end "</Expiration>"                \
    "<AccessKeyId>AKWEB</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>"             \
    "<ResponseMetadata/></AssumeRoleWithWebIdentityResponse>"

static void a_web_identity_is_shown_to_sts(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, NULL, STS("hush", "1970-01-01T01:00:00Z")},
        {STUB_ANSWER, 403, NULL, "<ErrorResponse/>"},
        {STUB_ANSWER, 200, NULL, STS("hush hush", "1970-01-01T01:00:00Z")},
        {STUB_ANSWER, 200, NULL, STS("hush", "soon")},
        {STUB_ANSWER, 200, NULL, "<AssumeRoleWithWebIdentityResponse/>"},
        STUB_LAST};
    struct fixture *f = *state;

    write_file(f, "hush.jwt\n");
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", f->path, 1);
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "AWS_ROLE_ARN is not");
    (void)setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
    serve(f, script, "AWS_ENDPOINT_URL_STS", "");
    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AKWEB");
    assert_string_equal(f->key->secret_key, "hush");
    assert_string_equal(f->key->token, "hush-token");
    assert_int_equal(f->key->expires_s, 3600);
    assert_non_null(strstr(stub_server_request(f->server, 0),
                           "GET /?Action=AssumeRoleWithWebIdentity&"
                           "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=holdfast&"
                           "Version=2011-06-15&WebIdentityToken=hush.jwt HTTP/1.1\r\n"));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(get(f, 3600), STATUS_PERMISSION);
        assert_told(f, "could not get keys for the web identity in \"/tmp/");
    }
    assert_int_equal(stub_server_count(f->server), 5);
    (void)setenv("AWS_ENDPOINT_URL_STS", "http://example.com", 1);
    assert_int_equal(get(f, 3600), STATUS_PERMISSION);
    assert_told(f, "neither https nor of this machine");
}

static void tokens_are_not_sent_in_the_clear_to_anywhere(void **state)
{
    static const char *const urls[] = {"http://example.com/role",
                                       "http://127.0.0.1.example.com/",
                                       "http://127.0.0.1@example.com/",
                                       "http://127.0.0.1:x@example.com/",
                                       "ftp://127.0.0.1/",
                                       "127.0.0.1/role"};
    struct fixture *f = *state;

    (void)setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush", 1);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", urls[i], 1);
        assert_int_equal(get(f, 0), STATUS_PERMISSION);
        assert_told(f, "neither https nor of this machine");
    }
}

static void an_instance_is_asked_with_a_session(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, NULL, "hush-session"},
        {STUB_ANSWER, 200, NULL, "archiver\n"},
        {STUB_ANSWER, 200, NULL, KEY("AKROLE", "2100-01-01T00:00:00Z")},
        STUB_LAST};
    struct fixture *f = *state;

    serve(f, script, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    assert_int_equal(get(f, 0), STATUS_OK);
    assert_string_equal(f->key->access_key, "AKROLE");
    assert_int_equal(f->key->expires_s, 4102444800);
    assert_non_null(
        strstr(stub_server_request(f->server, 0), "PUT /latest/api/token HTTP/1.1\r\n"));
    assert_non_null(strstr(stub_server_request(f->server, 0),
                           "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"));
    assert_non_null(strstr(stub_server_request(f->server, 1),
                           "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n"));
    assert_non_null(strstr(stub_server_request(f->server, 2),
                           "GET /latest/meta-data/iam/security-credentials/archiver HTTP/1.1\r\n"));
    assert_non_null(
        strstr(stub_server_request(f->server, 2), "x-aws-ec2-metadata-token: hush-session\r\n"));
}

static void an_instance_without_a_role_is_told(void **state)
{
    static const struct stub_step script[] = {
        {STUB_ANSWER, 200, NULL, "hush-session"}, {STUB_ANSWER, 404, NULL, "<html>"},
        {STUB_ANSWER, 200, NULL, "hush\r\nx: y"}, {STUB_ANSWER, 200, NULL, "hush-session"},
        {STUB_ANSWER, 200, NULL, "../../x"},      STUB_LAST};
    struct fixture *f = *state;

    serve(f, script, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "it answers with status 404");
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "it gives no token");
    assert_int_equal(get(f, 0), STATUS_PERMISSION);
    assert_told(f, "it names no role");
}

static void answers_without_good_keys_are_refused(void **state)
{
    static const char *const answers[] = {
        "",
        "{",
        "[]",
        "{\"Code\":\"Failed\"}",
        "{\"AccessKeyId\":\"A\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":7}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hush\\nx: y\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hush\",\"Token\":\"a b\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hush\",\"Expiration\":\"soon\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hush\",\"Expiration\":\"2026-01-01\"}",
    };
    struct aws_key key;
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (aws_key_from_answer(slice_of_string(answers[i]), &key, &error) != STATUS_INVALID) {
            fail_msg("taken: %s", answers[i]);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_environment_comes_first),
        TEST(keys_that_would_break_a_field_are_refused),
        TEST(the_shared_file_has_profiles),
        TEST(a_shared_file_that_is_wrong_is_told_by_its_name),
        TEST(who_has_no_keys_is_told_where_they_are_looked_for),
        TEST(a_container_asks_with_its_token_and_renews_before_the_end),
        TEST(a_web_identity_is_shown_to_sts),
        TEST(tokens_are_not_sent_in_the_clear_to_anywhere),
        TEST(an_instance_is_asked_with_a_session),
        TEST(an_instance_without_a_role_is_told),
        TEST(answers_without_good_keys_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
