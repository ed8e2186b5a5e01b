/* Whatever a server says, a page of a list is read whole or refused, an error is printable, and
 * keys are such as fit into a header field; whatever a URL says, what becomes of it fits, too. */
#include "daemon/base/check.h"
#include "storage/archive/aws_credentials.h"
#include "storage/archive/s3_answer.h"
#include "storage/archive/s3_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        CHECK(*c >= 0x20 && *c < 0x7f);
    }
}

static void look_at_page(struct slice input)
{
    struct s3_page page;
    struct error error = {.text = ""};

    if (s3_page_parse(input, &page, &error) != STATUS_OK) {
        CHECK(error.text[0] != '\0');
        return;
    }
    CHECK(page.is_last || page.next[0] != '\0');
    for (size_t i = 0; i < page.n_objects; i++) {
        CHECK(s3_page_name(&page, i)[0] != '\0');
        CHECK(s3_page_object(&page, i).name_offset < page.names.size);
    }
    s3_page_close(&page);
}

static void look_at_problem(struct slice input)
{
    struct s3_problem problem;

    if (s3_problem_parse(input, &problem)) {
        CHECK(problem.code[0] != '\0');
        check_printable(problem.code);
        check_printable(problem.message);
        check_printable(problem.region);
        check_printable(problem.endpoint);
    }
}

static void look_at_key(enum status status, struct aws_key *key)
{
    if (status == STATUS_OK) {
        CHECK(key->access_key[0] != '\0' && key->secret_key[0] != '\0');
        check_printable(key->access_key);
        check_printable(key->secret_key);
        check_printable(key->token == NULL ? "" : key->token);
        aws_key_close(key);
    }
}

static void look_at_url(struct slice input)
{
    struct buffer url = BUFFER_EMPTY;
    struct s3_settings settings;

    buffer_append_string(&url, "s3://");
    buffer_append_slice(&url, input);
    buffer_append_byte(&url, 0);
    if (s3_settings_parse((const char *)url.data, &settings, NULL) == STATUS_OK) {
        check_printable(settings.host);
        check_printable(settings.prefix);
        check_printable(settings.region);
        s3_settings_close(&settings);
    }
    buffer_close(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input;
    struct aws_key key;

    if (size == 0) {
        return 0;
    }
    input = slice_of(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        look_at_page(input);
        look_at_problem(input);
        break;
    case 1:
        look_at_key(aws_key_from_answer(input, &key, NULL), &key);
        break;
    case 2:
        look_at_key(aws_key_from_file(input, "default", &key, NULL), &key);
        break;
    case 3:
        look_at_key(aws_key_from_sts(input, &key, NULL), &key);
        break;
    default:
        look_at_url(input);
    }
    return 0;
}
