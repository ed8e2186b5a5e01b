/* Sessions in the state: their records, indexes, counters and expiry, kept in step.
 *
 * Records of a session:
 *   session row         by namespace and id; without the state, as every append rewrites it
 *   state               by object id; only if it is more than "{}"
 *   index entries       by attribute and by creation or update (session_index.h)
 *   tombstone           by namespace and id, for a day after a DELETE; instead of the row
 *   events, event ids   by object id (event.h)
 *
 * An object id is never used twice, so what hangs off a session that is gone can be purged later
 * without disturbing a new one of the same name. Only the apply thread; view_session() any. */
#ifndef HOLDFAST_STORAGE_SESSION_H
#define HOLDFAST_STORAGE_SESSION_H

#include "storage/execution.h"

enum session_presence {
    SESSION_ABSENT,
    SESSION_EXPIRED, /* Absent for clients; its records are still here. */
    SESSION_DELETED, /* Absent, and its id may not be used for a day. */
    SESSION_PRESENT
};

/* A session while one operation works on it. */
struct session_object {
    enum session_presence presence;
    struct session_row was; /* As stored; borrows from execution->scratch. Zeroed if absent. */
    struct session_row row; /* As it shall be. */
};

/* Read the session @id of the command's namespace. Uses execution->scratch until the operation
 * ends. */
MUST_USE enum status session_load(struct execution *execution, struct slice id,
                                  struct session_object *object);

/* Make object->row that of a new session with @fields; writes nothing. */
void session_make(struct execution *execution, struct slice id, const struct session_fields *fields,
                  struct session_object *object);

/* The document changes: new revision, and time and order of update. */
void session_changed_document(struct execution *execution, struct session_row *row);
/* The log changes: time and order of update. */
void session_changed_log(struct execution *execution, struct session_row *row);
/* A write renews the time-to-live of a sliding session, unless the last renewal still covers it. */
void session_slide(struct execution *execution, struct session_row *row);

/* The merge of the stored state (or, for a session to be made, of object->row.state) and @patch, as
 * text. Sets the refusal in @result, with @field, if it is not possible. */
MUST_USE enum status session_merge_state(struct execution *execution,
                                         const struct session_object *object, struct slice patch,
                                         const char *field, struct buffer *merged,
                                         struct operation_result *result);

/* Write object->row, and object->row.state if @writes_state, with all that hangs on it. Gives a
 * session to be made its object id first, and retires an expired one of its name. Leaves the
 * encoded row in execution->row. */
MUST_USE enum status session_save(struct execution *execution, struct session_object *object,
                                  bool writes_state);

/* Refuse: there is no such session. */
void session_refuse_absent(const struct session_object *object, struct operation_result *result);

#endif
