/* Whatever a client sends as the body of a write is refused with a problem, or becomes a command
 * that is read back as it was written. The first byte chooses the method and the target.
 *
 * The node behind the handlers sees each command and takes none, so the state stays small. */
#include <stdlib.h>

#include "daemon/base/check.h"
#include "tests/lib/api_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define JSON "Content-Type: application/json\r\n"

static const struct {
    const char *method;
    const char *target;
    const char *headers;
} writes[] = {
    {"POST", NS "/transactions", JSON},
    {"POST", NS "/sessions", JSON},
    {"PUT", NS "/sessions/s1", JSON},
    {"PATCH", NS "/sessions/s1", "Content-Type: application/merge-patch+json\r\n"},
    {"POST", NS "/sessions/s1/touch", JSON},
    {"POST", NS "/sessions/s1/events", JSON},
    {"PUT", NS "/items/a/b?ttl_ms=1000", JSON},
    {"PATCH", NS "/items/a/b", "Content-Type: application/merge-patch+json\r\n"},
    {"PUT", NS "/items/a/b", "Content-Type: application/octet-stream\r\n"},
    {"PUT", "/v1/namespaces/other", JSON},
    {"PATCH", "/v1/namespaces/default", JSON},
};

static struct api_fixture *fixture;
static bool was_submitted;

static void look_at_command(struct slice encoded)
{
    struct buffer again = BUFFER_EMPTY;
    struct command command;
    struct error error;

    was_submitted = true;
    CHECK(command_decode(encoded, &command, &error) == STATUS_OK);
    command_encode(&command, &again);
    CHECK(slice_equals(buffer_slice(&again), encoded));
    command_close(&command);
    buffer_close(&again);
}

static void remove_fixture(void)
{
    void *state = fixture;

    (void)api_teardown(&state); /* Always 0. */
}

static void prepare(void)
{
    void *state;

    CHECK(api_setup(&state) == 0);
    fixture = state;
    fixture->node->look = look_at_command;
    fixture->node->submit_status = STATUS_BUSY;
    CHECK(atexit(remove_fixture) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reply *reply;
    size_t which;

    if (fixture == NULL) {
        prepare();
    }
    if (size == 0) {
        return 0;
    }
    which = data[0] % (sizeof(writes) / sizeof(writes[0]));
    was_submitted = false;
    reply = api_start(fixture, writes[which].method, writes[which].target, writes[which].headers,
                      slice_of(data + 1, size - 1));
    api_finish(fixture, reply);
    CHECK(was_submitted ? reply->status == 503 : reply->status >= 400 && reply->status < 500);
    api_free(reply);
    return 0;
}
