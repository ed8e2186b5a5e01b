#include "storage/archive/postgres_url.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"

#define SCHEMA "schema="
#define READER "reader="
#define PLAIN  "-._~" /* Beside letters and digits (RFC 3986, unreserved). */

static enum status not_a_url(struct error *error)
{
    return error_set(
        error, STATUS_INVALID,
        "the URL of the PostgreSQL server (not repeated here, as a password may be in "
        "it) must be like postgres://USER@HOST:PORT/DATABASE?SETTING=VALUE, with "
        "settings of libpq, schema=NAME or reader=ROLE, and other characters than letters and "
        "digits as %%XX");
}

static char *text_of(struct buffer *buffer)
{
    buffer_append_byte(buffer, 0);
    return (char *)buffer_take(buffer).data; /* From malloc, as buffers are. */
}

/* The settings of @url, behind its "?"; or its end. As libpq looks for them: what comes before "@"
 * is user and password, and may have a "?" in it. */
static const char *settings_of(const char *url)
{
    const char *rest = strstr(url, "://") + 3;
    size_t size = strcspn(rest, "@/");

    rest += rest[size] == '@' ? size : 0;
    rest += strcspn(rest, "?");
    return *rest == '?' ? rest + 1 : rest;
}

static bool is_name(const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < size; i++) {
        bool is_letter = (name[i] >= 'a' && name[i] <= 'z') || name[i] == '_';

        if (!is_letter && (i == 0 || name[i] < '0' || name[i] > '9')) {
            return false;
        }
    }
    /* PostgreSQL keeps names that begin with "pg_" to itself. */
    return size > 0 && size <= POSTGRES_SCHEMA_BYTES && strncmp(name, "pg_", 3) != 0;
}

/* The @size bytes of @setting behind @name, if it is that, as a string in place of @value. */
static bool take(const char *setting, size_t size, const char *name, char **value)
{
    size_t name_size = strlen(name);

    if (strncmp(setting, name, name_size) != 0) {
        return false;
    }
    free(*value);
    *value = memory_copy_string(setting + name_size);
    (*value)[size - name_size] = '\0';
    return true;
}

static enum status check_name(const char *what, const char *name, struct error *error)
{
    return name == NULL || is_name(name)
               ? STATUS_OK
               : error_set(error, STATUS_INVALID,
                           "the name of the %s in the URL of the PostgreSQL server must be of at "
                           "most %u lower-case letters, digits and \"_\", and not begin with a "
                           "digit or \"pg_\"",
                           what, POSTGRES_SCHEMA_BYTES);
}

/* Take what is ours out of the settings. */
static enum status split(const char *text, struct postgres_url *url, struct error *error)
{
    const char *setting = settings_of(text);
    struct buffer left = BUFFER_EMPTY;
    bool is_first = true;
    enum status status;

    buffer_append(&left, text, (size_t)(setting - text) - (setting[-1] == '?'));
    while (*setting != '\0') {
        size_t size = strcspn(setting, "&");

        if (!take(setting, size, SCHEMA, &url->schema) &&
            !take(setting, size, READER, &url->reader)) {
            buffer_append_byte(&left, is_first ? '?' : '&');
            buffer_append(&left, setting, size);
            is_first = false;
        }
        setting += size + (setting[size] == '&');
    }
    url->libpq = text_of(&left);
    status = check_name("schema", url->schema, error);
    return status == STATUS_OK ? check_name("reader", url->reader, error) : status;
}

char *postgres_url_nth(const char *list, unsigned n)
{
    char *element;

    for (; n > 0; n--) {
        list += strcspn(list, ",");
        if (*list++ == '\0') {
            return NULL;
        }
    }
    element = memory_copy_string(list);
    element[strcspn(element, ",")] = '\0';
    return element;
}

/* NULL also if it is empty, which is the same to libpq. */
static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val == NULL || options->val[0] == '\0' ? NULL : options->val;
        }
    }
    return NULL;
}

/* What a "/" or "@" in a password makes of the rest of it, if it is not written as %XX: then it
 * must be shown to nobody. */
static bool may_be_shown(const PQconninfoOption *options)
{
    const char *host = value_of(options, "host");
    const char *port = value_of(options, "port");
    const char *database = value_of(options, "dbname");

    return (host == NULL || strpbrk(host, "@?") == NULL) &&
           (port == NULL || port[strspn(port, "0123456789,")] == '\0') &&
           (database == NULL || strpbrk(database, "@/?:") == NULL);
}

/* Letters, digits, and what is in @plain stay as they are. */
static void append_encoded(struct buffer *text, const char *value, const char *plain)
{
    for (; *value != '\0'; value++) {
        bool is_plain = (*value >= 'a' && *value <= 'z') || (*value >= 'A' && *value <= 'Z') ||
                        (*value >= '0' && *value <= '9') || strchr(plain, *value) != NULL;

        if (is_plain) {
            buffer_append_byte(text, (uint8_t)*value);
        } else {
            buffer_append_format(text, "%%%02X", (unsigned)(uint8_t)*value);
        }
    }
}

static void append_host(struct buffer *text, const char *host)
{
    bool is_ipv6 = strchr(host, ':') != NULL;

    buffer_append_string(text, is_ipv6 ? "[" : "");
    append_encoded(text, host, is_ipv6 ? PLAIN ":" : PLAIN);
    buffer_append_string(text, is_ipv6 ? "]" : "");
}

static void append_hosts(struct buffer *text, const char *hosts, const char *ports)
{
    char *host;

    for (unsigned i = 0; (host = postgres_url_nth(hosts, i)) != NULL; i++) {
        /* One port is that of all. */
        char *port = postgres_url_nth(ports, strchr(ports, ',') == NULL ? 0 : i);

        buffer_append_string(text, i == 0 ? "" : ",");
        append_host(text, host);
        if (port != NULL && port[0] != '\0') {
            buffer_append_format(text, ":%s", port);
        }
        free(port);
        free(host);
    }
}

static bool is_in_front(const char *keyword)
{
    return strcmp(keyword, "user") == 0 || strcmp(keyword, "host") == 0 ||
           strcmp(keyword, "port") == 0 || strcmp(keyword, "dbname") == 0;
}

static void append_setting(struct buffer *text, const char *keyword, const char *value,
                           bool *is_first)
{
    buffer_append_byte(text, *is_first ? '?' : '&');
    *is_first = false;
    append_encoded(text, keyword, PLAIN);
    buffer_append_byte(text, '=');
    append_encoded(text, value, PLAIN);
}

/* Put together anew from what libpq understood, without what libpq marks as secret. */
static char *show(const PQconninfoOption *options, const struct postgres_url *url,
                  const char *default_schema)
{
    const char *user = value_of(options, "user");
    const char *host = value_of(options, "host");
    const char *port = value_of(options, "port");
    const char *database = value_of(options, "dbname");
    struct buffer text = BUFFER_EMPTY;
    bool is_first = true;

    buffer_append_string(&text, "postgres://");
    if (user != NULL) {
        append_encoded(&text, user, PLAIN);
        buffer_append_byte(&text, '@');
    }
    append_hosts(&text, host == NULL ? "" : host, port == NULL ? "" : port);
    if (database != NULL) {
        buffer_append_byte(&text, '/');
        append_encoded(&text, database, PLAIN);
    }
    for (; options->keyword != NULL; options++) {
        bool is_secret = strchr(options->dispchar, '*') != NULL;

        if (options->val != NULL && !is_secret && !is_in_front(options->keyword)) {
            append_setting(&text, options->keyword, options->val, &is_first);
        }
    }
    if (strcmp(url->schema, default_schema) != 0) {
        append_setting(&text, "schema", url->schema, &is_first);
    }
    if (url->reader != NULL) {
        append_setting(&text, "reader", url->reader, &is_first);
    }
    return text_of(&text);
}

enum status postgres_url_parse(struct postgres_url *url, const char *text,
                               const char *default_schema, struct error *error)
{
    struct postgres_url parsed = {.libpq = NULL};
    enum status status = split(text, &parsed, error);
    PQconninfoOption *options;

    if (status != STATUS_OK) {
        postgres_url_close(&parsed);
        return status;
    }
    parsed.schema = parsed.schema == NULL ? memory_copy_string(default_schema) : parsed.schema;
    options = PQconninfoParse(parsed.libpq, NULL);
    if (options == NULL || !may_be_shown(options)) {
        PQconninfoFree(options); /* Accepts NULL. */
        postgres_url_close(&parsed);
        return not_a_url(error);
    }
    parsed.shown = show(options, &parsed, default_schema);
    PQconninfoFree(options);
    *url = parsed;
    return STATUS_OK;
}

void postgres_url_close(struct postgres_url *url)
{
    free(url->libpq);
    free(url->shown);
    free(url->schema);
    free(url->reader);
    *url = (struct postgres_url){.libpq = NULL};
}
