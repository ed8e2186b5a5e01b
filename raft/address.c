#include "raft/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#include "daemon/base/check.h"

#define PORT_BYTES 6

/* A port in decimal, without sign, blanks or needless zeros. */
static bool parse_port(struct slice text, uint16_t *port)
{
    unsigned value = 0;

    if (text.size == 0 || text.size >= PORT_BYTES || (text.data[0] == '0' && text.size > 1)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (value > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

static bool is_host_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '.' || byte == '_';
}

static bool is_host_name(struct slice host)
{
    for (size_t i = 0; i < host.size; i++) {
        if (!is_host_byte(host.data[i])) {
            return false;
        }
    }
    return host.size > 0;
}

static void copy_host(struct slice host, struct address *address)
{
    memcpy(address->host, host.data, host.size);
    address->host[host.size] = '\0';
}

/* Split at the last colon; brackets belong to an IPv6 address. */
static bool parse_host(struct slice host, struct address *address)
{
    struct sockaddr_in6 ignored;

    if (host.size >= 2 && host.data[0] == '[' && host.data[host.size - 1] == ']') {
        host = slice_of(host.data + 1, host.size - 2);
        if (host.size > ADDRESS_HOST_BYTES || memchr(host.data, 0, host.size) != NULL) {
            return false;
        }
        copy_host(host, address);
        return uv_ip6_addr(address->host, 0, &ignored) == 0;
    }
    if (host.size > ADDRESS_HOST_BYTES || !is_host_name(host)) {
        return false;
    }
    copy_host(host, address);
    return true;
}

enum status address_parse(struct slice text, struct address *address, struct error *error)
{
    struct address parsed;
    size_t colon = text.size;

    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0 || !parse_port(slice_from(text, colon), &parsed.port) ||
        !parse_host(slice_of(text.data, colon - 1), &parsed)) {
        return error_set(error, STATUS_INVALID,
                         "\"%.*s\" is no address: HOST:PORT is meant, an IPv6 host in brackets",
                         (int)(text.size < LIMIT_ADDRESS_BYTES ? text.size : LIMIT_ADDRESS_BYTES),
                         (const char *)text.data);
    }
    *address = parsed;
    return STATUS_OK;
}

void address_format(const struct address *address, char text[LIMIT_ADDRESS_BYTES + 1])
{
    bool is_ipv6 = strchr(address->host, ':') != NULL;
    int written = snprintf(text, LIMIT_ADDRESS_BYTES + 1, is_ipv6 ? "[%s]:%u" : "%s:%u",
                           address->host, (unsigned)address->port);

    /* Brackets are for IPv6 only, whose text is short. */
    CHECK(written > 0 && written <= (int)LIMIT_ADDRESS_BYTES);
}

void address_format_socket(const struct sockaddr *socket, char text[LIMIT_ADDRESS_BYTES + 1])
{
    struct address address = {.host = "?"};

    if (socket->sa_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)(const void *)socket;

        CHECK(uv_ip4_name(ipv4, address.host, sizeof address.host) == 0);
        address.port = ntohs(ipv4->sin_port);
    } else if (socket->sa_family == AF_INET6) {
        const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)(const void *)socket;

        CHECK(uv_ip6_name(ipv6, address.host, sizeof address.host) == 0);
        address.port = ntohs(ipv6->sin6_port);
    }
    address_format(&address, text);
}

bool address_is_literal(const struct address *address, struct sockaddr_storage *socket)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;

    if (uv_ip4_addr(address->host, address->port, &ipv4) == 0) {
        memset(socket, 0, sizeof *socket);
        memcpy(socket, &ipv4, sizeof ipv4);
        return true;
    }
    if (uv_ip6_addr(address->host, address->port, &ipv6) == 0) {
        memset(socket, 0, sizeof *socket);
        memcpy(socket, &ipv6, sizeof ipv6);
        return true;
    }
    return false;
}

bool address_is_loopback(const struct sockaddr *socket)
{
    if (socket->sa_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)(const void *)socket;

        return ntohl(ipv4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (socket->sa_family == AF_INET6) {
        const struct in6_addr *host =
            &((const struct sockaddr_in6 *)(const void *)socket)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(host) ||
               (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == IN_LOOPBACKNET);
    }
    return false;
}

static struct addrinfo lookup_hints(void)
{
    return (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
}

enum status address_resolve_blocking(const struct address *address, struct sockaddr_storage *socket,
                                     struct error *error)
{
    struct addrinfo hints = lookup_hints();
    struct addrinfo *results;
    char port[PORT_BYTES];
    int rv;

    if (address_is_literal(address, socket)) {
        return STATUS_OK;
    }
    (void)snprintf(port, sizeof port, "%u", (unsigned)address->port); /* Fits. */
    hints.ai_flags = AI_PASSIVE;
    rv = getaddrinfo(address->host, port, &hints, &results);
    if (rv != 0) {
        return error_set(error, STATUS_NOT_FOUND, "could not look up host \"%s\": %s",
                         address->host, gai_strerror(rv));
    }
    memset(socket, 0, sizeof *socket);
    memcpy(socket, results->ai_addr, results->ai_addrlen);
    freeaddrinfo(results);
    return STATUS_OK;
}

static void on_lookup(uv_getaddrinfo_t *request, int rv, struct addrinfo *results)
{
    struct address_lookup *lookup = request->data;
    enum status status = STATUS_OK;
    struct error error = {.status = STATUS_OK};

    if (rv != 0) {
        uv_freeaddrinfo(results);
        results = NULL;
        status =
            error_set(&error, rv == UV_ECANCELED ? STATUS_CANCELED : STATUS_NOT_FOUND,
                      "could not look up host \"%s\": %s", lookup->address.host, uv_strerror(rv));
    }
    lookup->cb(lookup, status, results, &error); /* Last: it may free the lookup. */
}

enum status address_lookup_start(struct address_lookup *lookup, uv_loop_t *loop,
                                 const struct address *address, address_lookup_cb cb,
                                 struct error *error)
{
    struct addrinfo hints = lookup_hints();
    char port[PORT_BYTES];
    int rv;

    lookup->address = *address;
    lookup->cb = cb;
    lookup->request.data = lookup;
    (void)snprintf(port, sizeof port, "%u", (unsigned)address->port); /* Fits. */
    rv = uv_getaddrinfo(loop, &lookup->request, on_lookup, address->host, port, &hints);
    if (rv != 0) {
        return error_set(error, STATUS_IO, "could not look up host \"%s\": %s", address->host,
                         uv_strerror(rv));
    }
    return STATUS_OK;
}
