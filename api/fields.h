/* Bodies: every rule for what may stand in a JSON document that a client sends.
 *
 * What is given out borrows from the input: strings from its parsed body, documents from its
 * arena. The same statuses as input.h. */
#ifndef HOLDFAST_API_FIELDS_H
#define HOLDFAST_API_FIELDS_H

#include "api/input.h"
#include "storage/command.h"

enum fields_use {
    FIELDS_PUT,   /* A whole document: absent and null mean the default. */
    FIELDS_PATCH, /* A merge patch: metadata and state are merge patches themselves. */
};

/* Refuses names in @object that are not among @names, which ends with NULL. @pointer is where
 * @object is in the body: "" for the body itself. */
MUST_USE enum status fields_allow(struct input *input, const json_t *object, const char *pointer,
                                  const char *const *names);

/* The client's fields of a session. */
MUST_USE enum status fields_session(struct input *input, const json_t *object, const char *pointer,
                                    enum fields_use use, struct session_fields *fields);

/* {ttl_ms?} of a touch. */
MUST_USE enum status fields_touch(struct input *input, const json_t *object, struct ttl *ttl);

/* The body of an append; the events are in the arena. */
MUST_USE enum status fields_append(struct input *input, const json_t *object,
                                   struct append_operation *append);

/* The body of a namespace. */
MUST_USE enum status fields_namespace(struct input *input, const json_t *object,
                                      enum fields_use use, struct namespace_operation *ns);

#endif
