/* What the execution of one operation sees and may change.
 *
 * The machine makes one per command and calls the noun's execute function per operation; the noun
 * validates first and writes last, so that a refused single operation leaves nothing behind (a
 * transaction is undone as a whole by the machine). Only the apply thread. */
#ifndef HOLDFAST_STORAGE_EXECUTION_H
#define HOLDFAST_STORAGE_EXECUTION_H

#include "storage/command.h"
#include "storage/result.h"
#include "storage/rows.h"
#include "storage/store.h"

enum change_action { CHANGE_PUT, CHANGE_DELETE, CHANGE_TOUCH, CHANGE_APPEND, CHANGE_TRIM };
enum change_resource { RESOURCE_ITEM, RESOURCE_SESSION, RESOURCE_EVENTS, RESOURCE_NAMESPACE };

struct execution {
    struct txn *txn;
    uint64_t now_ms;   /* The entry's time. */
    uint64_t revision; /* That this command makes if it takes one: the last plus one. */
    bool took_revision;
    bool in_transaction; /* The command is one; set by the machine. */

    /* The namespace of the command; id 0 for namespace operations. See execution_enter(), which
     * also saves the counters. */
    struct namespace_row ns;
    struct namespace_counters counters;

    /* Where a row for the result is encoded: operation_result.row borrows from it. Cleared by the
     * machine before each operation. */
    struct buffer row;
    struct buffer scratch; /* For the noun, within one call. */
    struct buffer changes; /* Encoded change records of this command. */
    uint32_t n_changes;

    /* Private. */
    struct buffer ns_record;                   /* What @ns borrows from. */
    struct namespace_counters stored_counters; /* To see whether @counters changed. */
};

/* Make @ns and @counters those of the namespace @name (or @id). The last one is remembered, as most
 * commands go where the one before went. STATUS_NOT_FOUND leaves none. */
MUST_USE enum status execution_enter(struct execution *execution, struct slice name);
MUST_USE enum status execution_enter_id(struct execution *execution, uint64_t id);
/* Write the counters if they changed. */
MUST_USE enum status execution_save_counters(struct execution *execution);
/* Save, and forget the namespace. */
MUST_USE enum status execution_leave(struct execution *execution);
/* Forget it without saving: what was counted is undone. */
void execution_forget(struct execution *execution);
/* Release the buffers; forgets without saving. */
void execution_close(struct execution *execution);

/* The command makes its revision, and this is one thing that it changed. @agent_id and @user_id may
 * be empty; they are what watchers filter by. */
void execution_note_change(struct execution *execution, enum change_resource resource,
                           enum change_action action, struct slice name, struct slice agent_id,
                           struct slice user_id);

/* Each fills @result (zeroed by the machine) and gives STATUS_OK also for a refusal; any other
 * status (STATUS_CORRUPT, STATUS_IO, STATUS_DISK_FULL) stops the process. */
MUST_USE enum status item_execute(struct execution *execution, const struct operation *operation,
                                  struct operation_result *result);
MUST_USE enum status session_execute(struct execution *execution, const struct operation *operation,
                                     struct operation_result *result);
MUST_USE enum status event_execute(struct execution *execution, const struct operation *operation,
                                   struct operation_result *result);
MUST_USE enum status namespace_execute(struct execution *execution,
                                       const struct operation *operation,
                                       struct operation_result *result);
MUST_USE enum status member_execute(struct execution *execution, const struct operation *operation,
                                    struct operation_result *result);
MUST_USE enum status feature_execute(struct execution *execution, const struct operation *operation,
                                     struct operation_result *result);
/* Do what is due: see maintenance.c. */
MUST_USE enum status maintain_execute(struct execution *execution,
                                      const struct operation *operation,
                                      struct operation_result *result);

/* Maintenance, called by the machine when a thing is due. Each removes at most *@budget records,
 * lowers it by what it touched, and sets *@done when nothing of this thing is left. */
MUST_USE enum status item_expire(struct execution *execution, uint64_t namespace_id,
                                 struct slice key, uint32_t *budget);
/* The session's row becomes absent at once; what hung off it is queued for purging. */
MUST_USE enum status session_expire(struct execution *execution, uint64_t namespace_id,
                                    struct slice id, uint32_t *budget);
/* The mark of a deleted session has served its day. */
MUST_USE enum status session_forget(struct execution *execution, uint64_t namespace_id,
                                    struct slice id, uint32_t *budget);
/* Events with from_seq <= seq < below_seq, rewound or trimmed; with 0 and UINT64_MAX the session is
 * gone, and its event ids go too. See purge_add_events(). */
MUST_USE enum status event_purge(struct execution *execution, uint64_t object_id, uint64_t from_seq,
                                 uint64_t below_seq, uint32_t *budget, bool *done);
/* The namespace is deleted, and its session with it: leaves no mark, notes no change. */
MUST_USE enum status session_abandon(struct execution *execution, uint64_t namespace_id,
                                     struct slice id, uint32_t *budget);
/* Remove what a deleted namespace held. */
MUST_USE enum status namespace_purge(struct execution *execution, uint64_t namespace_id,
                                     uint32_t *budget, bool *done);

/* If-Match and If-None-Match against a document's revision (0: absent). */
bool condition_holds(const struct operation *operation, uint64_t revision);

#endif
