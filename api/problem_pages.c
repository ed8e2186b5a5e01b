/* The page of each problem: what it means and what a client should do. */
#include "api/problem.h"
#include "daemon/base/check.h"

static const char *const pages[PROBLEMS] = {
    [PROBLEM_MALFORMED] =
        "The bytes that arrived are not a valid HTTP/1.1 request, or the body is not valid JSON. "
        "Nothing was done. The detail says what was wrong; correct the client, as the same request "
        "will fail again.",
    [PROBLEM_INVALID_FIELD] =
        "A field of the body, a parameter of the query or a header has a value that is not allowed "
        "there, or is not known. The member \"field\" names it: a JSON pointer, or the name. "
        "Nothing was written.",
    [PROBLEM_UNAUTHENTICATED] =
        "The request carries no credentials, or they are not valid any more. Get new ones and send "
        "it again.",
    [PROBLEM_FORBIDDEN] =
        "The credentials are valid and do not allow this. Ask who runs the cluster for access.",
    [PROBLEM_NOT_FOUND] =
        "Nothing exists under this path: it was never made, or it has expired. Create it with PUT "
        "where that is offered, or check the path for a mistake.",
    [PROBLEM_NAMESPACE_NOT_FOUND] =
        "The namespace does not exist; namespaces are never made implicitly. Create it with PUT "
        "/v1/namespaces/NAME, or use \"default\", which always exists.",
    [PROBLEM_METHOD_NOT_ALLOWED] =
        "The path exists, and the method is none of those that it offers. The header Allow lists "
        "them.",
    [PROBLEM_REQUEST_TIMEOUT] =
        "The request did not arrive completely in time, and the connection was closed. It was not "
        "executed: send it again on a new connection.",
    [PROBLEM_SEQUENCE_CONFLICT] =
        "The session's log does not end at \"expected_seq\": someone else appended or rewound. "
        "Nothing was written. Read the events after the ones you know (\"last_seq\" says where the "
        "log ends), decide again, and send the request with the new number.",
    [PROBLEM_EVENT_ID_REUSED] =
        "An event id of this request is known with another type, data or order, or only a part of "
        "the request was sent before. Nothing was written. A retry must repeat the same events; a "
        "new event needs a new id.",
    [PROBLEM_OWNED] = "Another holder owns the session. The members \"holder\" and \"address\" say "
                      "who and where, "
                      "and \"expires_at\" until when at least; route the client there, or wait.",
    [PROBLEM_FENCED] =
        "The epoch or fence that the request carries is not the current one: the ownership has "
        "moved on. Nothing was written. Stop working on it, and claim it again if it should be "
        "yours.",
    [PROBLEM_LEASE_LOST] =
        "The lease of this instance has ended, and all that it held was released. Register again, "
        "which gives a new epoch, and claim what is free.",
    [PROBLEM_SESSION_CLOSED] =
        "The session's status is \"closed\", so it takes no events. A PATCH of its status reopens "
        "it.",
    [PROBLEM_SESSION_FULL] =
        "The session's log has reached its maximum of live events or bytes. Trim it with DELETE on "
        "its events and \"before_seq\", or start a new session.",
    [PROBLEM_NOT_JSON] =
        "The item holds bytes, so a merge patch cannot be applied to it. Replace it with PUT.",
    [PROBLEM_PROTECTED] =
        "This must not be deleted, or not while it is in use. The detail says why.",
    [PROBLEM_MEMBER_REFUSED] =
        "The change of members was refused, as it would endanger the cluster or the node cannot be "
        "reached. The detail says which; nothing was changed.",
    [PROBLEM_DELETED] =
        "It was deleted less than a day ago. Its id cannot be used until then, so that a client "
        "that does not know of the deletion does not bring it back. Use another id.",
    [PROBLEM_COMPACTED] =
        "The changes after that revision are no longer kept. List the resources again, and watch "
        "from the revision of the list.",
    [PROBLEM_PRECONDITION_FAILED] =
        "If-Match or If-None-Match does not hold: someone else changed it. Nothing was written. "
        "The "
        "member \"revision\" is the current one; read, decide again, and send the new tag.",
    [PROBLEM_TOO_LARGE] =
        "The body, or the field that \"field\" names, is larger than allowed. Nothing was written. "
        "Split it, or keep large data elsewhere and store a reference.",
    [PROBLEM_URI_TOO_LONG] = "The target of the request is longer than 8 KiB. Shorten it.",
    [PROBLEM_UNSUPPORTED_MEDIA_TYPE] =
        "A body needs Content-Type: application/json. PATCH also takes "
        "application/merge-patch+json, and items also take application/octet-stream.",
    [PROBLEM_RANGE_NOT_SATISFIABLE] =
        "The range that was asked for begins behind the end of the body, whose size the header "
        "Content-Range tells. If you have all of it, there is nothing left to fetch.",
    [PROBLEM_IDEMPOTENCY_KEY_REUSED] =
        "The Idempotency-Key was used within the last day for a request with another method, "
        "target or body. Nothing was written. Use a new key for each new request, and the same one "
        "only to repeat it.",
    [PROBLEM_PRECONDITION_REQUIRED] =
        "The resource demands a precondition that the request lacks. The detail names the header; "
        "send it with the value that you hold.",
    [PROBLEM_RATE_LIMITED] =
        "The namespace sends more requests than it may. Wait as long as Retry-After says, and send "
        "it again; nothing was executed.",
    [PROBLEM_HEADERS_TOO_LARGE] =
        "The header fields are larger than 32 KiB in all, or there are more than 100 of them.",
    [PROBLEM_INTERNAL] =
        "The server met a mistake of its own. Report it with the log of the node. Whether the "
        "request was executed is not known; repeat it with its Idempotency-Key.",
    [PROBLEM_NO_LEADER] =
        "The cluster has no leader at the moment: an election goes on, or a majority of the nodes "
        "cannot be reached. The request was certainly not executed; send it again, to this node or "
        "another.",
    [PROBLEM_OVERLOADED] =
        "The node has more work than it may queue. The request was certainly not executed; wait as "
        "long as Retry-After says, and send it again.",
    [PROBLEM_REPLICA_BEHIND] =
        "The node did not reach \"min_revision\" within a second. Ask again, or ask another node.",
    [PROBLEM_NOT_READY] =
        "The node cannot serve all requests yet; \"causes\" lists why. It becomes ready by itself "
        "(forming, no-leader, behind, slow-disk), or gets the whole state first (needs-state).",
    [PROBLEM_OUTCOME_UNKNOWN] =
        "No outcome was known within 5 seconds: the request may or may not have been executed. "
        "Send "
        "it again with the same Idempotency-Key, or the same event ids, to learn; without, read "
        "first.",
    [PROBLEM_QUOTA_EXCEEDED] =
        "A quota of the namespace is used up. Reads and deletes still work; delete what is not "
        "needed, or ask for more.",
    [PROBLEM_STORAGE_FULL] =
        "A node is short of disk space, so nothing can be added. Reads and deletes still work, and "
        "the condition clears by itself once there is space.",
};

static void append_html(struct buffer *page, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            buffer_append_string(page, "&lt;");
            break;
        case '&':
            buffer_append_string(page, "&amp;");
            break;
        default:
            buffer_append_byte(page, (uint8_t)*text);
        }
    }
}

static void append_json_page(struct buffer *page, enum problem problem)
{
    buffer_append_format(page, "{\"type\":\"/problems/%s\",\"status\":%u,\"title\":",
                         problem_name(problem), problem_status(problem));
    problem_append_text(page, slice_of_string(problem_title(problem)));
    buffer_append_string(page, ",\"explanation\":");
    problem_append_text(page, slice_of_string(pages[problem]));
    buffer_append_byte(page, '}');
}

static void append_html_page(struct buffer *page, enum problem problem)
{
    buffer_append_format(page,
                         "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                         "<title>%s</title>\n<h1>%s</h1>\n<p><code>%s</code>, status %u</p>\n<p>",
                         problem_title(problem), problem_title(problem), problem_name(problem),
                         problem_status(problem));
    append_html(page, pages[problem]);
    buffer_append_string(page, "</p>\n</html>\n");
}

void problem_page(enum problem problem, bool as_json, struct response *response)
{
    CHECK(problem < PROBLEMS);
    CHECK(pages[problem] != NULL);
    if (as_json) {
        response->content_type = "application/json";
        append_json_page(&response->body, problem);
    } else {
        response->content_type = "text/html; charset=utf-8";
        append_html_page(&response->body, problem);
    }
}
