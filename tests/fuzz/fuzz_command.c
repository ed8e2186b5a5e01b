/* Whatever a peer sends as a command is refused, or encodes to the same bytes again. */
#include "daemon/base/check.h"
#include "storage/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct buffer again = BUFFER_EMPTY;
    struct command command;
    struct error error;

    if (command_decode(bytes, &command, &error) != STATUS_OK) {
        return 0;
    }
    command_encode(&command, &again);
    CHECK(slice_equals(buffer_slice(&again), bytes));
    command_close(&command);
    buffer_close(&again);
    return 0;
}
