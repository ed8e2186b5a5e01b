#include "api/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/check.h"

#define MAX_HOST 256

static socklen_t size_of(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

static in_port_t *port_of(struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)address)->sin6_port
                                          : &((struct sockaddr_in *)address)->sin_port;
}

unsigned listener_port(const struct sockaddr_storage *address)
{
    struct sockaddr_storage copy = *address;

    return ntohs(*port_of(&copy));
}

/* Copy the host of @text without its brackets; gives the port's digits, or NULL. */
static const char *split(const char *text, char host[MAX_HOST])
{
    const char *colon = strrchr(text, ':');
    size_t size;

    if (colon == NULL || colon[1] == '\0') {
        return NULL;
    }
    size = (size_t)(colon - text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= MAX_HOST) {
        return NULL;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    return colon + 1;
}

static bool is_known(const struct listener_addresses *addresses, const struct addrinfo *info)
{
    for (unsigned i = 0; i < addresses->count; i++) {
        if (memcmp(&addresses->addresses[i], info->ai_addr, info->ai_addrlen) == 0) {
            return true;
        }
    }
    return false;
}

enum status listener_resolve(const char *text, struct listener_addresses *addresses,
                             struct error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char host[MAX_HOST];
    const char *port = split(text, host);
    int rv;

    if (port == NULL) {
        return error_set(error, STATUS_INVALID, "could not listen on \"%s\": it is not HOST:PORT",
                         text);
    }
    rv = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &found);
    if (rv != 0) {
        return error_set(error, STATUS_INVALID, "could not look up \"%s\": %s", text,
                         gai_strerror(rv));
    }
    *addresses = (struct listener_addresses){0};
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        if (addresses->count < LISTENER_MAX_ADDRESSES &&
            (info->ai_family == AF_INET || info->ai_family == AF_INET6) &&
            !is_known(addresses, info)) {
            memcpy(&addresses->addresses[addresses->count++], info->ai_addr, info->ai_addrlen);
        }
    }
    freeaddrinfo(found);
    return addresses->count > 0
               ? STATUS_OK
               : error_set(error, STATUS_INVALID, "could not look up \"%s\": no address", text);
}

/* A socket bound to @address. The options cannot fail for a socket of this kind, but for V6ONLY,
 * without which binding tells. */
static int bind_socket(const struct sockaddr_storage *address, bool is_shared)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    int saved;

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* Clients' sockets inherit. */
    if (is_shared) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (address->ss_family == AF_INET6) {
        /* "[::]" is for IPv6 alone, as 0.0.0.0 is for IPv4; ":PORT" asks for both. */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, (const struct sockaddr *)address, size_of(address)) == 0) {
        return fd;
    }
    saved = errno;
    (void)close(fd); /* It held nothing. */
    errno = saved;
    return -1;
}

static enum status status_of_bind(int number)
{
    switch (number) {
    case EADDRINUSE:
        return STATUS_BUSY;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return STATUS_INVALID;
    default:
        return status_from_errno(number);
    }
}

/* Sockets that share a port admit any other that wants to share it, also one of another process. So
 * one that does not share tries first. */
static int try_alone(struct sockaddr_storage *address)
{
    socklen_t size = sizeof(*address);
    int fd = bind_socket(address, false);

    if (fd < 0) {
        return errno;
    }
    if (listen(fd, 1) != 0) {
        int saved = errno;

        (void)close(fd);
        return saved;
    }
    CHECK(getsockname(fd, (struct sockaddr *)address, &size) == 0);
    (void)close(fd); /* No client can have come yet. */
    return 0;
}

enum status listener_claim(struct listener_addresses *addresses, const char *text,
                           struct error *error)
{
    in_port_t drawn = 0;
    unsigned kept = 0;
    int why = EADDRNOTAVAIL;

    for (unsigned i = 0; i < addresses->count; i++) {
        struct sockaddr_storage address = addresses->addresses[i];
        int rv;

        if (*port_of(&address) == 0) {
            *port_of(&address) = drawn; /* All addresses share one port. */
        }
        rv = try_alone(&address);
        if (rv == 0) {
            drawn = *port_of(&address);
            addresses->addresses[kept++] = address;
        } else if (status_of_bind(rv) != STATUS_INVALID) {
            return error_set(error, status_of_bind(rv), "could not listen on %s: %s", text,
                             strerror(rv));
        } else {
            why = rv; /* A host name may stand for an address that this machine lacks. */
        }
    }
    if (kept == 0) {
        return error_set(error, STATUS_INVALID, "could not listen on %s: %s", text, strerror(why));
    }
    addresses->count = kept;
    return STATUS_OK;
}

enum status listener_bind(const struct sockaddr_storage *address, int *fd, struct error *error)
{
    int bound = bind_socket(address, true);

    if (bound < 0) {
        return error_set(error, status_of_bind(errno), "could not bind a socket: %s",
                         strerror(errno));
    }
    *fd = bound;
    return STATUS_OK;
}
