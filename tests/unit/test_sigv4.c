/* Signatures against those that AWS published: the Signature Version 4 test suite, and the examples
 * of the S3 reference ("Signature Calculations for the Authorization Header"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/archive/sigv4.h"

#define MAX_PAIRS 6
#define EMPTY     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME   "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define FORM      "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
#define LETTERS   "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct vector {
    const char *name;
    const char *method;
    const char *path;
    struct sigv4_pair query[MAX_PAIRS];  /* The first without a name ends it. */
    struct sigv4_pair fields[MAX_PAIRS]; /* Likewise; besides host and x-amz-date. */
    const char *body_sha256;
    const char *signed_names;
    const char *signature;
};

static const struct vector suite[] = {
    {.name = "get-vanilla",
     .method = "GET",
     .path = "/",
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {.name = "get-vanilla-empty-query-key",
     .method = "GET",
     .path = "/",
     .query = {{"Param1", "value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {.name = "get-vanilla-query-order-key-case",
     .method = "GET",
     .path = "/",
     .query = {{"Param2", "value2"}, {"Param1", "value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {.name = "get-vanilla-query-order-encoded",
     .method = "GET",
     .path = "/",
     .query = {{"Param-3", "Value3"}, {"Param", "Value2"}, {"\xe1\x88\xb4", "Value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
    {.name = "get-vanilla-query-unreserved",
     .method = "GET",
     .path = "/",
     .query = {{LETTERS, LETTERS}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {.name = "get-vanilla-utf8-query",
     .method = "GET",
     .path = "/",
     .query = {{"\xe1\x88\xb4", "bar"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {.name = "get-unreserved",
     .method = "GET",
     .path = "/" LETTERS,
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {.name = "get-utf8",
     .method = "GET",
     .path = "/\xe1\x88\xb4",
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {.name = "get-space",
     .method = "GET",
     .path = "/example space/",
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {.name = "get-slash-unnormalized", /* S3 leaves paths as they are. */
     .method = "GET",
     .path = "//",
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e"},
    {.name = "get-header-key-duplicate",
     .method = "GET",
     .path = "/",
     .fields = {{"my-header1", "value2"}, {"my-header1", "value2"}, {"my-header1", "value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;my-header1;x-amz-date",
     .signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {.name = "get-header-value-multiline",
     .method = "GET",
     .path = "/",
     .fields = {{"my-header1", "value1\n  value2\n     value3"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;my-header1;x-amz-date",
     .signature = "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd"},
    {.name = "get-header-value-trim",
     .method = "GET",
     .path = "/",
     .fields = {{"my-header1", " value1"}, {"my-header2", " \"a   b   c\""}},
     .body_sha256 = EMPTY,
     .signed_names = "host;my-header1;my-header2;x-amz-date",
     .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {.name = "post-header-key-sort",
     .method = "POST",
     .path = "/",
     .fields = {{"my-header1", "value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;my-header1;x-amz-date",
     .signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {.name = "post-header-value-case",
     .method = "POST",
     .path = "/",
     .fields = {{"my-header1", "VALUE1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;my-header1;x-amz-date",
     .signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {.name = "get-vanilla-with-session-token",
     .method = "GET",
     .path = "/",
     .fields = {{"x-amz-security-token",
                 "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date;x-amz-security-token",
     .signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
    {.name = "post-vanilla-query",
     .method = "POST",
     .path = "/",
     .query = {{"Param1", "value1"}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-date",
     .signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {.name = "post-x-www-form-urlencoded",
     .method = "POST",
     .path = "/",
     .fields = {{"content-type", "application/x-www-form-urlencoded"},
                {"content-length", "13"},
                {"x-amz-content-sha256", FORM}},
     .body_sha256 = FORM,
     .signed_names = "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
     .signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
};

static const struct vector s3_examples[] = {
    {.name = "GET object",
     .method = "GET",
     .path = "/test.txt",
     .fields = {{"range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY}},
     .body_sha256 = EMPTY,
     .signed_names = "host;range;x-amz-content-sha256;x-amz-date",
     .signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {.name = "PUT object",
     .method = "PUT",
     .path = "/test$file.text",
     .fields = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                {"x-amz-content-sha256", WELCOME},
                {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
     .body_sha256 = WELCOME,
     .signed_names = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     .signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {.name = "GET bucket lifecycle",
     .method = "GET",
     .path = "/",
     .query = {{"lifecycle", ""}},
     .fields = {{"x-amz-content-sha256", EMPTY}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-content-sha256;x-amz-date",
     .signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {.name = "GET bucket (list objects)",
     .method = "GET",
     .path = "/",
     .query = {{"prefix", "J"}, {"max-keys", "2"}},
     .fields = {{"x-amz-content-sha256", EMPTY}},
     .body_sha256 = EMPTY,
     .signed_names = "host;x-amz-content-sha256;x-amz-date",
     .signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static size_t count_pairs(const struct sigv4_pair *pairs)
{
    size_t n = 0;

    while (n < MAX_PAIRS && pairs[n].name != NULL) {
        n++;
    }
    return n;
}

static void check_vector(const struct vector *vector, const struct sigv4_key *key, const char *host,
                         const char *date)
{
    struct sigv4_pair fields[MAX_PAIRS + 2] = {{"x-amz-date", date}, {"host", host}};
    struct sigv4_request request = {.method = vector->method,
                                    .path = vector->path,
                                    .query = vector->query,
                                    .n_query = count_pairs(vector->query),
                                    .fields = fields,
                                    .n_fields = 2 + count_pairs(vector->fields),
                                    .body_sha256 = vector->body_sha256};
    struct buffer authorization = BUFFER_EMPTY;
    char expected[512];

    memcpy(fields + 2, vector->fields, sizeof vector->fields);
    (void)snprintf(expected, sizeof expected,
                   "AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/%s/aws4_request, "
                   "SignedHeaders=%s, Signature=%s",
                   key->access_key, date, key->service, vector->signed_names, vector->signature);

    sigv4_sign(key, &request, &authorization);

    buffer_append_byte(&authorization, 0);
    if (strcmp((const char *)authorization.data, expected) != 0) {
        fail_msg("%s: %s", vector->name, (const char *)authorization.data);
    }
    buffer_close(&authorization);
}

static void the_published_test_suite_is_signed_alike(void **state)
{
    const struct sigv4_key key = {.access_key = "AKIDEXAMPLE",
                                  .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                  .region = "us-east-1",
                                  .service = "service"};

    (void)state;
    for (size_t i = 0; i < sizeof suite / sizeof suite[0]; i++) {
        check_vector(&suite[i], &key, "example.amazonaws.com", "20150830T123600Z");
    }
}

static void the_published_examples_of_s3_are_signed_alike(void **state)
{
    const struct sigv4_key key = {.access_key = "AKIAIOSFODNN7EXAMPLE",
                                  .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                  .region = "us-east-1",
                                  .service = "s3"};

    (void)state;
    for (size_t i = 0; i < sizeof s3_examples / sizeof s3_examples[0]; i++) {
        check_vector(&s3_examples[i], &key, "examplebucket.s3.amazonaws.com", "20130524T000000Z");
    }
}

static void paths_keep_their_slashes_and_are_encoded_once(void **state)
{
    struct buffer text = BUFFER_EMPTY;

    (void)state;
    sigv4_encode_path("/a b/%41+\xc3\xa9~.=", &text);
    assert_true(slice_equals_string(buffer_slice(&text), "/a%20b/%2541%2B%C3%A9~.%3D"));
    buffer_close(&text);
}

static void queries_are_sorted_by_what_is_sent(void **state)
{
    const struct sigv4_pair query[] = {{"b", "/"}, {"a", "2"}, {"a!", ""}, {"a", "1"}, {"B", "+ "}};
    struct buffer text = BUFFER_EMPTY;

    (void)state;
    sigv4_encode_query(query, sizeof query / sizeof query[0], &text);
    assert_true(slice_equals_string(buffer_slice(&text), "B=%2B%20&a=1&a=2&a%21=&b=%2F"));
    buffer_close(&text);
}

static void times_are_written_in_utc(void **state)
{
    char text[SIGV4_TIME_BYTES];

    (void)state;
    sigv4_time(1369353600, text);
    assert_string_equal(text, "20130524T000000Z");
    sigv4_time(1440938160, text);
    assert_string_equal(text, "20150830T123600Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_test_suite_is_signed_alike),
        cmocka_unit_test(the_published_examples_of_s3_are_signed_alike),
        cmocka_unit_test(paths_keep_their_slashes_and_are_encoded_once),
        cmocka_unit_test(queries_are_sorted_by_what_is_sent),
        cmocka_unit_test(times_are_written_in_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
