#include "tests/lib/s3_stub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/memory.h"
#include "tests/lib/stub_server.h"

#define BUCKET      "/archive"
#define MAX_OBJECTS 2048
#define PAGE        100
#define MAX_STEPS   256
#define MAX_TEXT    1024

struct object {
    char *key;
    struct buffer bytes;
    char meta[512]; /* The lines of x-amz-meta-... . */
};

struct s3_stub {
    struct stub_server *server;
    pthread_mutex_t mutex;              /* Guards what follows. */
    struct object objects[MAX_OBJECTS]; /* By key. */
    size_t n_objects;
    struct s3_step steps[MAX_STEPS];
    size_t n_steps;
    size_t used;
};

/* A request, taken apart. */
struct request {
    char method[8];
    char key[MAX_TEXT];   /* Of an object, or "". */
    char query[MAX_TEXT]; /* As it came. */
    const char *head;
    size_t head_size;
    struct slice body;
};

struct reply {
    unsigned status;
    struct buffer fields;
    struct buffer body;
    size_t announced; /* Content-Length. */
};

/* --- Requests --- */

static void decode(const char *from, size_t size, char *to)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned code;

        CHECK(n + 1 < MAX_TEXT);
        if (from[i] == '%') {
            CHECK(sscanf(from + i + 1, "%2x", &code) == 1);
            to[n++] = (char)code;
            i += 2;
        } else {
            to[n++] = from[i];
        }
    }
    to[n] = '\0';
}

/* The value of a parameter, decoded; "" if it is not there. */
static void parameter(const struct request *request, const char *name, char value[MAX_TEXT])
{
    size_t size = strlen(name);
    const char *at = request->query;

    value[0] = '\0';
    while (at != NULL) {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            decode(at + size + 1, strcspn(at + size + 1, "&"), value);
            return;
        }
        at = strchr(at, '&');
        at = at == NULL ? NULL : at + 1;
    }
}

/* The value of a field, which libcurl writes as it was told; NULL if it is not there. */
static const char *field(const struct request *request, const char *name)
{
    char line[64];
    const char *found;

    (void)snprintf(line, sizeof line, "\r\n%s: ", name);
    found = memmem(request->head, request->head_size, line, strlen(line));
    return found == NULL ? NULL : found + strlen(line);
}

static void take_apart(const char *text, size_t size, struct request *request)
{
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    const char *target;
    size_t target_size;
    size_t path_size;

    CHECK(end != NULL);
    *request = (struct request){.head = text, .head_size = (size_t)(end - text) + 2};
    request->body = slice_from(slice_of(text, size), request->head_size + 2);
    target = strchr(text, ' ');
    CHECK(target != NULL && (size_t)(target - text) < sizeof request->method);
    memcpy(request->method, text, (size_t)(target - text));
    target++;
    target_size = strcspn(target, " ");
    path_size = strcspn(target, " ?");
    if (path_size > strlen(BUCKET) + 1 && strncmp(target, BUCKET "/", strlen(BUCKET) + 1) == 0) {
        decode(target + strlen(BUCKET) + 1, path_size - strlen(BUCKET) - 1, request->key);
    } else if (path_size != strlen(BUCKET) || strncmp(target, BUCKET, path_size) != 0) {
        strcpy(request->key, "?"); /* Another bucket. */
    }
    if (path_size < target_size) {
        CHECK(target_size - path_size < MAX_TEXT);
        memcpy(request->query, target + path_size + 1, target_size - path_size - 1);
    }
}

/* --- Objects --- */

static struct object *find(struct s3_stub *stub, const char *key)
{
    for (size_t i = 0; i < stub->n_objects; i++) {
        if (strcmp(stub->objects[i].key, key) == 0) {
            return &stub->objects[i];
        }
    }
    return NULL;
}

static struct object *insert(struct s3_stub *stub, const char *key, struct slice bytes)
{
    size_t at = stub->n_objects;

    CHECK(stub->n_objects < MAX_OBJECTS);
    while (at > 0 && strcmp(stub->objects[at - 1].key, key) > 0) {
        stub->objects[at] = stub->objects[at - 1];
        at--;
    }
    stub->n_objects++;
    stub->objects[at] = (struct object){.key = memory_copy_string(key)};
    buffer_append_slice(&stub->objects[at].bytes, bytes);
    return &stub->objects[at];
}

static void erase(struct s3_stub *stub, struct object *object)
{
    free(object->key);
    buffer_close(&object->bytes);
    stub->n_objects--;
    memmove(object, object + 1,
            (size_t)(stub->objects + stub->n_objects - object) * sizeof *object);
}

/* --- Honest answers --- */

static void refuse(struct reply *reply, unsigned status, const char *code)
{
    reply->status = status;
    buffer_append_format(&reply->body,
                         "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code>"
                         "<Message>what &lt;happened&gt;</Message></Error>",
                         code);
}

static void keep_meta(const struct request *request, const char *name, char meta[512])
{
    const char *value = field(request, name);
    size_t used = strlen(meta);

    if (value != NULL) {
        (void)snprintf(meta + used, 512 - used, "%s: %.*s\r\n", name, (int)strcspn(value, "\r"),
                       value);
    }
}

static void put_object(struct s3_stub *stub, const struct request *request, bool is_careless,
                       struct reply *reply)
{
    struct object *object = find(stub, request->key);

    if (object != NULL && field(request, "if-none-match") != NULL && !is_careless) {
        refuse(reply, 412, "PreconditionFailed");
        return;
    }
    if (object != NULL) {
        erase(stub, object);
    }
    object = insert(stub, request->key, request->body);
    keep_meta(request, "x-amz-meta-sha256", object->meta);
    keep_meta(request, "x-amz-meta-creation", object->meta);
}

static void get_object(struct s3_stub *stub, const struct request *request, size_t skipped,
                       struct reply *reply)
{
    const struct object *object = find(stub, request->key);
    const char *range = field(request, "range");
    size_t first = 0;
    size_t last;

    if (object == NULL) {
        refuse(reply, 404, "NoSuchKey");
        return;
    }
    last = object->bytes.size;
    if (range != NULL) {
        CHECK(sscanf(range, "bytes=%zu-%zu", &first, &last) == 2);
        if (first >= object->bytes.size) {
            refuse(reply, 416, "InvalidRange");
            return;
        }
        first += skipped;
        last = last < object->bytes.size ? last : object->bytes.size - 1;
        reply->status = 206;
        buffer_append_format(&reply->fields, "Content-Range: bytes %zu-%zu/%zu\r\n", first, last,
                             object->bytes.size);
        last++;
    }
    buffer_append_string(&reply->fields, object->meta);
    if (last > first) {
        buffer_append(&reply->body, object->bytes.data + first, last - first);
    }
}

static void write_contents(const struct object *object, struct reply *reply)
{
    buffer_append_string(&reply->body, "<Contents><Key>");
    for (const char *c = object->key; *c != '\0'; c++) {
        buffer_append_format(&reply->body, *c == '/' ? "%%2F" : "%c", *c);
    }
    buffer_append_format(&reply->body,
                         "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                         "<ETag>&quot;0&#x30;&quot;</ETag><Size>%zu</Size>"
                         "<Owner><ID>1</ID></Owner></Contents>",
                         object->bytes.size);
}

static void list_objects(struct s3_stub *stub, const struct request *request, bool is_reversed,
                         struct reply *reply)
{
    char prefix[MAX_TEXT];
    char after[MAX_TEXT];
    const struct object *found[PAGE];
    const char *next = NULL;
    size_t n = 0;

    parameter(request, "prefix", prefix);
    parameter(request, "continuation-token", after);
    if (after[0] == '\0') {
        parameter(request, "start-after", after);
    }
    for (size_t i = 0; i < stub->n_objects && next == NULL; i++) {
        const struct object *object = &stub->objects[i];

        if (strncmp(object->key, prefix, strlen(prefix)) == 0 && strcmp(object->key, after) > 0) {
            if (n == PAGE) {
                next = found[n - 1]->key;
            } else {
                found[n++] = object;
            }
        }
    }
    buffer_append_format(&reply->body,
                         "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns='urn:x'>"
                         "<Name>archive</Name><Prefix>%s</Prefix><KeyCount>%zu</KeyCount>"
                         "<Delimiter/><IsTruncated>%s</IsTruncated>",
                         prefix, n, next == NULL ? "false" : "true");
    for (size_t i = 0; i < n; i++) {
        write_contents(found[is_reversed ? n - 1 - i : i], reply);
    }
    if (next != NULL) {
        buffer_append_format(&reply->body, "<NextContinuationToken>%s</NextContinuationToken>",
                             next);
    }
    buffer_append_string(&reply->body, "<EncodingType>url</EncodingType></ListBucketResult>\n");
}

static void do_it(struct s3_stub *stub, const struct request *request, enum s3_fault fault,
                  struct reply *reply)
{
    struct object *object = find(stub, request->key);

    reply->status = 200;
    if (strcmp(request->key, "?") == 0) {
        refuse(reply, 404, "NoSuchBucket");
    } else if (strcmp(request->method, "PUT") == 0) {
        put_object(stub, request, fault == S3_CARELESS, reply);
    } else if (strcmp(request->method, "DELETE") == 0) {
        if (object != NULL) {
            erase(stub, object);
        }
        reply->status = 204;
    } else if (request->key[0] != '\0') {
        get_object(stub, request, fault == S3_OTHER_PART ? 1 : 0, reply);
    } else {
        list_objects(stub, request, fault == S3_DISORDER, reply);
    }
    reply->announced = reply->body.size;
    if (strcmp(request->method, "HEAD") == 0) {
        buffer_clear(&reply->body);
    }
}

/* --- Faults --- */

static void say(const struct s3_step *step, struct reply *reply)
{
    reply->status = step->status;
    buffer_clear(&reply->fields);
    buffer_clear(&reply->body);
    buffer_append_string(&reply->fields, step->fields == NULL ? "" : step->fields);
    buffer_append_string(&reply->body, step->body == NULL ? "" : step->body);
    reply->announced = reply->body.size;
}

static void create_first(struct s3_stub *stub, const struct request *request)
{
    struct object *object = insert(stub, request->key, request->body);

    keep_meta(request, "x-amz-meta-sha256", object->meta);
    (void)strcat(object->meta, "x-amz-meta-creation: 00000000000000000000000000000000\r\n");
}

/* Write the answer. False: close the connection behind it. */
static bool follow(struct s3_stub *stub, const struct s3_step *step, const struct request *request,
                   struct reply *reply, struct buffer *answer)
{
    enum s3_fault fault = step->fault;

    if (fault == S3_CLOSE || fault == S3_SILENT) {
        return fault == S3_SILENT;
    }
    if (fault == S3_OTHER_FIRST) {
        create_first(stub, request);
        return false;
    }
    if (fault != S3_SAY) {
        do_it(stub, request, fault, reply);
    }
    if (fault == S3_DO_AND_CLOSE) {
        return false;
    }
    if (fault == S3_SAY || fault == S3_DO_AND_SAY) {
        say(step, reply);
    }
    if (fault == S3_STRIP) {
        buffer_clear(&reply->fields);
    }
    buffer_append_format(answer, "HTTP/1.1 %u X\r\n%.*sContent-Length: %zu\r\n\r\n", reply->status,
                         (int)reply->fields.size, (const char *)reply->fields.data,
                         reply->announced);
    buffer_append_slice(answer, buffer_slice(&reply->body));
    if (fault == S3_CUT) {
        answer->size -= 2;
    }
    return fault != S3_CUT;
}

static bool on_request(void *data, const char *text, size_t size, struct buffer *answer)
{
    static const struct s3_step honest = {.fault = S3_HONEST};
    struct s3_stub *stub = data;
    const struct s3_step *step = &honest;
    struct reply reply = {0};
    struct request request;
    bool stays;

    take_apart(text, size, &request);
    CHECK(pthread_mutex_lock(&stub->mutex) == 0);
    if (stub->used < stub->n_steps) {
        step = &stub->steps[stub->used++];
    }
    stays = follow(stub, step, &request, &reply, answer);
    CHECK(pthread_mutex_unlock(&stub->mutex) == 0);
    buffer_close(&reply.fields);
    buffer_close(&reply.body);
    return stays;
}

/* --- What tests see --- */

struct s3_stub *s3_stub_open(void)
{
    struct s3_stub *stub = memory_new_zeroed(1, sizeof *stub);

    CHECK(pthread_mutex_init(&stub->mutex, NULL) == 0);
    stub->server = stub_server_open_with(on_request, stub);
    return stub;
}

const char *s3_stub_url(const struct s3_stub *stub)
{
    return stub_server_url(stub->server);
}

void s3_stub_plan(struct s3_stub *stub, const struct s3_step *steps, size_t n)
{
    CHECK(n <= MAX_STEPS);
    CHECK(pthread_mutex_lock(&stub->mutex) == 0);
    memcpy(stub->steps, steps, n * sizeof *steps);
    stub->n_steps = n;
    stub->used = 0;
    CHECK(pthread_mutex_unlock(&stub->mutex) == 0);
}

size_t s3_stub_used(struct s3_stub *stub)
{
    size_t used;

    CHECK(pthread_mutex_lock(&stub->mutex) == 0);
    used = stub->used;
    CHECK(pthread_mutex_unlock(&stub->mutex) == 0);
    return used;
}

size_t s3_stub_count(struct s3_stub *stub)
{
    return stub_server_count(stub->server);
}

const char *s3_stub_request(struct s3_stub *stub, size_t nth)
{
    return stub_server_request(stub->server, nth);
}

size_t s3_stub_objects(struct s3_stub *stub)
{
    size_t n;

    CHECK(pthread_mutex_lock(&stub->mutex) == 0);
    n = stub->n_objects;
    CHECK(pthread_mutex_unlock(&stub->mutex) == 0);
    return n;
}

void s3_stub_put(struct s3_stub *stub, const char *key, struct slice bytes)
{
    CHECK(pthread_mutex_lock(&stub->mutex) == 0);
    (void)insert(stub, key, bytes);
    CHECK(pthread_mutex_unlock(&stub->mutex) == 0);
}

void s3_stub_close(struct s3_stub *stub)
{
    stub_server_close(stub->server);
    while (stub->n_objects > 0) {
        erase(stub, &stub->objects[0]);
    }
    (void)pthread_mutex_destroy(&stub->mutex);
    free(stub);
}
