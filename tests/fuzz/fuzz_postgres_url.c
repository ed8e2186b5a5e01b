/* URLs of PostgreSQL: any text is refused, or is shown as a URL that means the same to libpq, only
 * without passwords, and is then shown as it is. */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "storage/archive/postgres_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_that_no_password_is_in(const char *shown)
{
    PQconninfoOption *options = PQconninfoParse(shown, NULL);

    /* The schema is not libpq's. */
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        CHECK(strchr(option->dispchar, '*') == NULL || option->val == NULL);
    }
    PQconninfoFree(options);
}

static void check(const char *text)
{
    struct postgres_url url = {.libpq = NULL};
    struct postgres_url again = {.libpq = NULL};

    if (postgres_url_parse(&url, text, POSTGRES_SCHEMA, NULL) != STATUS_OK) {
        return;
    }
    check_that_no_password_is_in(url.shown);
    CHECK(postgres_url_parse(&again, url.shown, POSTGRES_SCHEMA, NULL) == STATUS_OK);
    CHECK(strcmp(again.shown, url.shown) == 0);
    CHECK(strcmp(again.schema, url.schema) == 0);
    CHECK((again.reader == NULL) == (url.reader == NULL));
    CHECK(url.reader == NULL || strcmp(again.reader, url.reader) == 0);
    check_that_no_password_is_in(again.libpq);
    postgres_url_close(&again);
    postgres_url_close(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer text = BUFFER_EMPTY;

    buffer_append_string(&text, "postgres://");
    buffer_append(&text, data, size);
    buffer_append_byte(&text, 0);
    check((const char *)text.data);
    buffer_close(&text);
    return 0;
}
