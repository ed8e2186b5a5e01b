#include "api/response.h"

#include <stdio.h>
#include <time.h>

#include "daemon/base/check.h"

/* More than the lines that are added need. */
#define HEAD_BYTES 512

/* The phrase behind a status, for people: RFC 9110, section 15. */
static const char *reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 422:
        return "Unprocessable Content";
    case 428:
        return "Precondition Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 507:
        return "Insufficient Storage";
    default:
        return ""; /* It may be empty: RFC 9112, section 4. */
    }
}

const char *response_date(struct response_date *date)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct timespec now;
    struct tm tm;

    CHECK(clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0);
    if (now.tv_sec != date->second) {
        date->second = now.tv_sec;
        CHECK(gmtime_r(&now.tv_sec, &tm) != NULL);
        (void)snprintf(date->text, sizeof(date->text), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                       days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    return date->text;
}

static uint8_t *put(uint8_t *at, const char *text)
{
    size_t size = strlen(text);

    memcpy(at, text, size);
    return at + size;
}

static uint8_t *put_bytes(uint8_t *at, struct slice bytes)
{
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

static uint8_t *put_number(uint8_t *at, uint64_t number)
{
    uint8_t digits[20];
    size_t n = 0;

    do {
        digits[n++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (n > 0) {
        *at++ = digits[--n];
    }
    return at;
}

void response_write(const struct response *response, const struct response_form *form,
                    struct buffer *out)
{
    const char *type = response->content_type == NULL ? "application/json" : response->content_type;
    size_t body_size = form->without_body ? 0 : response->body.size;
    uint64_t length = response->source == NULL ? response->body.size : response->source->size;
    uint8_t *start =
        buffer_reserve(out, HEAD_BYTES + strlen(type) + response->headers.size + body_size);
    uint8_t *at = start;

    at = put_number(put(at, "HTTP/1.1 "), response->status);
    at = put(put(at, " "), reason(response->status));
    at = put(put(at, "\r\nDate: "), form->date);
    at = put(at, response->is_cacheable ? "\r\n" : "\r\nCache-Control: no-store\r\n");
    if (response->status != 204 && response->status != 304) {
        if (length > 0) {
            at = put(put(put(at, "Content-Type: "), type), "\r\n");
        }
        at = put(put_number(put(at, "Content-Length: "), length), "\r\n");
    }
    if (!form->keep_alive) {
        at = put(at, "Connection: close\r\n");
    } else if (form->is_old) {
        at = put(at, "Connection: keep-alive\r\n");
    }
    at = put_bytes(at, buffer_slice(&response->headers));
    at = put(at, "\r\n");
    at = put_bytes(at, slice_of(response->body.data, body_size));
    out->size += (size_t)(at - start);
}
