/* From what a client asks for to the operation that goes through the log: one function per method
 * and noun, the same for a request and for an operation of a transaction.
 *
 * They borrow from the input and give STATUS_OK, or STATUS_INVALID with the refusal in the input.
 */
#ifndef HOLDFAST_API_OPERATIONS_H
#define HOLDFAST_API_OPERATIONS_H

#include "api/input.h"
#include "storage/command.h"

typedef enum status (*operation_from_input)(struct input *input, struct operation *operation);

/* items.c */
MUST_USE enum status item_put_operation(struct input *input, struct operation *operation);
MUST_USE enum status item_patch_operation(struct input *input, struct operation *operation);
MUST_USE enum status item_delete_operation(struct input *input, struct operation *operation);
MUST_USE enum status item_touch_operation(struct input *input, struct operation *operation);
MUST_USE enum status item_check_operation(struct input *input, struct operation *operation);

/* sessions.c */
MUST_USE enum status session_put_operation(struct input *input, struct operation *operation);
MUST_USE enum status session_patch_operation(struct input *input, struct operation *operation);
MUST_USE enum status session_delete_operation(struct input *input, struct operation *operation);
MUST_USE enum status session_check_operation(struct input *input, struct operation *operation);

/* events.c */
MUST_USE enum status events_append_operation(struct input *input, struct operation *operation);
MUST_USE enum status events_delete_operation(struct input *input, struct operation *operation);

#endif
