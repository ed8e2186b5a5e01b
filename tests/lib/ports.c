#include "tests/lib/ports.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/deadline.h"

#define LOWEST_PORT 10240
#define ATTEMPTS    1000

static unsigned lowest_outgoing_port(void)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
    unsigned lowest = 32768;

    if (file != NULL) {
        if (fscanf(file, "%u", &lowest) != 1 || lowest <= LOWEST_PORT) {
            lowest = 32768;
        }
        (void)fclose(file); /* Only read. */
    }
    return lowest;
}

/* An abstract socket's name is ours until this process ends, however it ends. */
static bool claim(unsigned port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "holdfast-port-%u", port);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return false;
    }
    if (bind(fd, (struct sockaddr *)&name, size) != 0) {
        (void)close(fd);
        return false;
    }
    return true; /* The descriptor stays open for good. */
}

static bool is_free(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool free_port;

    if (fd < 0) {
        return false;
    }
    free_port = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return free_port;
}

unsigned port_take(void)
{
    static uint64_t sequence;
    unsigned range = lowest_outgoing_port() - LOWEST_PORT;
    int attempt;

    if (sequence == 0) {
        sequence = now_ms() * 1000003u + (uint64_t)getpid();
    }
    for (attempt = 0; attempt < ATTEMPTS; attempt++) {
        unsigned port = LOWEST_PORT + (unsigned)(random_next(&sequence) % range);

        if (is_free(port) && claim(port)) {
            return port;
        }
    }
    return 0;
}
