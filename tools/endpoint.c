#include "tools/endpoint.h"

#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/buffer.h"
#include "daemon/base/memory.h"

static char *copy_slice(struct slice text)
{
    char *copy = memory_new(text.size + 1);

    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    return copy;
}

static void close_endpoint(struct endpoint *endpoint)
{
    free(endpoint->url);
    free(endpoint->authority);
    free(endpoint->host);
    free(endpoint->port);
    *endpoint = (struct endpoint){0};
}

static bool is_host(struct slice host, bool in_brackets)
{
    for (size_t i = 0; i < host.size; i++) {
        char c = (char)host.data[i];

        if (!isalnum((unsigned char)c) && strchr(in_brackets ? ":.%" : "-._", c) == NULL) {
            return false;
        }
    }
    return host.size > 0;
}

static bool is_port(struct slice port)
{
    unsigned value = 0;

    for (size_t i = 0; i < port.size; i++) {
        if (!isdigit(port.data[i]) || i == 5) {
            return false;
        }
        value = value * 10 + (unsigned)(port.data[i] - '0');
    }
    return value > 0 && value <= 65535;
}

/* Split HOST[:PORT] or [HOST][:PORT]. False if it is neither. */
static bool split(struct slice text, struct slice *host, struct slice *port)
{
    const uint8_t *end;
    struct slice rest;
    bool in_brackets = text.size > 0 && text.data[0] == '[';

    if (in_brackets) {
        end = memchr(text.data, ']', text.size);
        if (end == NULL) {
            return false;
        }
        *host = slice_of(text.data + 1, (size_t)(end - text.data) - 1);
        rest = slice_from(text, host->size + 2);
    } else {
        end = text.size == 0 ? NULL : memchr(text.data, ':', text.size);
        *host = slice_of(text.data, end == NULL ? text.size : (size_t)(end - text.data));
        rest = slice_from(text, host->size);
    }
    if (rest.size == 0) {
        *port = slice_of_string(ENDPOINT_DEFAULT_PORT);
    } else if (rest.data[0] == ':') {
        *port = slice_from(rest, 1);
    } else {
        return false;
    }
    return is_host(*host, in_brackets) && is_port(*port);
}

static struct endpoint make(struct slice host, struct slice port)
{
    bool is_ipv6 = memchr(host.data, ':', host.size) != NULL;
    struct buffer text = BUFFER_EMPTY;
    struct endpoint made;

    buffer_append_format(&text, "http://%s%.*s%s:%.*s", is_ipv6 ? "[" : "", (int)host.size,
                         (const char *)host.data, is_ipv6 ? "]" : "", (int)port.size,
                         (const char *)port.data);
    made.url = copy_slice(buffer_slice(&text));
    made.authority = memory_copy_string(made.url + strlen("http://"));
    made.host = copy_slice(host);
    made.port = copy_slice(port);
    buffer_close(&text);
    return made;
}

static bool contains(const struct endpoints *endpoints, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < endpoints->count; i++) {
        if (strcmp(endpoints->list[i].url, endpoint->url) == 0) {
            return true;
        }
    }
    return false;
}

static enum status add_one(struct endpoints *endpoints, struct slice text, struct error *error)
{
    struct slice whole = text;
    struct slice host;
    struct slice port;
    struct endpoint made;

    if (slice_starts_with(text, slice_of_string("https://"))) {
        return error_set(error, STATUS_INVALID,
                         "endpoint \"%.*s\": TLS is not supported yet, use http://",
                         (int)whole.size, (const char *)whole.data);
    }
    if (slice_starts_with(text, slice_of_string("http://"))) {
        text = slice_from(text, strlen("http://"));
    }
    if (text.size > 0 && text.data[text.size - 1] == '/') {
        text.size--;
    }
    if (!split(text, &host, &port)) {
        return error_set(error, STATUS_INVALID,
                         "endpoint \"%.*s\" is not of the form http://HOST:PORT", (int)whole.size,
                         (const char *)whole.data);
    }
    made = make(host, port);
    if (contains(endpoints, &made)) {
        close_endpoint(&made);
        return STATUS_OK;
    }
    if (endpoints->count == ENDPOINTS_MAX) {
        close_endpoint(&made);
        return error_set(error, STATUS_INVALID, "more than %d endpoints", ENDPOINTS_MAX);
    }
    endpoints->list[endpoints->count++] = made;
    return STATUS_OK;
}

enum status endpoints_add(struct endpoints *endpoints, const char *text, struct error *error)
{
    for (;;) {
        size_t size = strcspn(text, ",");
        enum status status = add_one(endpoints, slice_of(text, size), error);

        if (status != STATUS_OK || text[size] == '\0') {
            return status;
        }
        text += size + 1;
    }
}

enum status endpoint_resolve(const struct endpoint *endpoint, struct sockaddr_storage *address,
                             socklen_t *size, struct error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rv = getaddrinfo(endpoint->host, endpoint->port, &hints, &found);

    if (rv != 0) {
        return error_set(error, STATUS_INVALID, "could not find %s: %s", endpoint->url,
                         gai_strerror(rv));
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return STATUS_OK;
}

void endpoints_close(struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++) {
        close_endpoint(&endpoints->list[i]);
    }
    endpoints->count = 0;
}
