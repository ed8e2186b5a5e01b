/* Rows as JSON text, and the headers that go with them: the Shapes of the API's contract.
 *
 * Text is appended piece by piece, without trees in between: reads are the hot path. */
#ifndef HOLDFAST_API_RENDER_H
#define HOLDFAST_API_RENDER_H

#include "api/request.h"
#include "storage/result.h"
#include "storage/rows.h"

void render_number(struct buffer *text, uint64_t number);
/* RFC 3339 in UTC with milliseconds, without quotes. */
void render_time(struct buffer *text, uint64_t time_ms);

/* Members: @lead is all that stands before the value, like ,"name": */
void render_member_number(struct buffer *text, const char *lead, uint64_t number);
void render_member_bool(struct buffer *text, const char *lead, bool value);
/* Empty is null, and so is the time 0. */
void render_member_text_or_null(struct buffer *text, const char *lead, struct slice value);
void render_member_time_or_null(struct buffer *text, const char *lead, uint64_t time_ms);

void render_namespace(struct buffer *text, const struct namespace_row *row);
/* Lists and answers of writes have no state. */
void render_session(struct buffer *text, const struct session_row *row, bool with_state);
void render_item(struct buffer *text, const struct item_row *row, bool with_value);
void render_event(struct buffer *text, const struct event_row *row);

/* The row of a result as its JSON; ROW_NONE gives nothing. False if the row is damaged. */
bool render_row(struct buffer *text, const struct operation_result *operation);

/* Header lines. */
void render_revision(struct response *response, uint64_t revision);
void render_etag(struct response *response, uint64_t revision);
/* Nothing for 0. */
void render_expires_at(struct response *response, uint64_t expires_at_ms);

#endif
