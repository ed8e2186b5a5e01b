#include "storage/archive/postgres_connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>

#include "daemon/base/buffer.h"
#include "daemon/base/check.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "storage/archive/postgres_schema.h"
#include "storage/archive/postgres_statement.h"

#define TICK_MS      100
#define CONNECT_MS   10000
#define BACKOFF_MS   100u /* The first wait is below that; each may be twice as long, up to: */
#define MAX_BACKOFF  6u   /* so many doublings. */
#define MAX_KEYWORDS 96   /* libpq has some 40. */

/* --- Waiting --- */

static bool is_canceled(const struct postgres_connection *connection)
{
    const struct repository_options *options = connection->options;

    return options->is_canceled != NULL && options->is_canceled(options->data);
}

/* The server is asked to stop what it does for us. */
enum status postgres_connection_go_on(struct postgres_connection *connection, struct error *error)
{
    if (!is_canceled(connection)) {
        return STATUS_OK;
    }
    if (connection->pg != NULL && PQtransactionStatus(connection->pg) == PQTRANS_ACTIVE) {
        PGcancel *request = PQgetCancel(connection->pg);
        char words[256];

        /* Without success the server goes on, for a minute at most. Both accept NULL. */
        (void)PQcancel(request, words, sizeof words);
        PQfreeCancel(request);
    }
    postgres_connection_close(connection);
    connection->remedy = POSTGRES_NONE;
    return error_set(error, STATUS_CANCELED, "the node is shutting down");
}

enum status postgres_connection_lose(struct postgres_connection *connection, struct error *error)
{
    enum status status = postgres_error_of_connection(connection->pg, &connection->remedy, error);

    postgres_connection_close(connection);
    return status;
}

/* As postgres_connection_wait(), for at most @limit_ms. */
static enum status wait_for(struct postgres_connection *connection, short events, uint64_t limit_ms,
                            short *happened, struct error *error)
{
    struct pollfd polled = {.fd = PQsocket(connection->pg), .events = events};
    uint64_t end_ms = clock_ms() + limit_ms;
    int n = 0;

    while (n == 0) {
        enum status status = postgres_connection_go_on(connection, error);

        if (status != STATUS_OK) {
            return status;
        }
        n = poll(&polled, 1, TICK_MS);
        n = n < 0 && errno == EINTR ? 0 : n;
        if (n == 0 && clock_ms() >= end_ms) {
            postgres_connection_close(connection);
            connection->remedy = POSTGRES_RETRY;
            return error_set(error, STATUS_TIMEOUT, "the server did not answer in time");
        }
    }
    CHECK(n > 0);
    *happened = polled.revents;
    return STATUS_OK;
}

enum status postgres_connection_wait(struct postgres_connection *connection, short events,
                                     short *happened, struct error *error)
{
    return wait_for(connection, events, connection->answer_ms, happened, error);
}

/* Wait for a random time, longer after more tries: many nodes must not run a server down that has
 * just come back. */
static enum status back_off(struct postgres_connection *connection, unsigned n_tries,
                            struct error *error)
{
    uint64_t at_most = (uint64_t)BACKOFF_MS << (n_tries < MAX_BACKOFF ? n_tries : MAX_BACKOFF);
    uint32_t random = 0;
    uint64_t end;

    (void)getrandom(&random, sizeof random, 0); /* Without: no wait. */
    end = clock_ms() + random % at_most;
    for (uint64_t now = clock_ms(); now < end; now = clock_ms()) {
        uint64_t left = end - now;
        enum status status = postgres_connection_go_on(connection, error);

        if (status != STATUS_OK) {
            return status;
        }
        (void)poll(NULL, 0, left < TICK_MS ? (int)left : TICK_MS); /* A signal: look again. */
    }
    return STATUS_OK;
}

/* --- Connecting --- */

struct keywords {
    size_t n;
    const char *names[MAX_KEYWORDS];
    const char *values[MAX_KEYWORDS];
    char *copies[3]; /* Of the values of host, hostaddr and port. */
    size_t n_copies;
};

/* Of two values for a name the later one counts. */
static void add_keyword(struct keywords *keywords, const char *name, const char *value)
{
    CHECK(keywords->n + 1 < MAX_KEYWORDS); /* A NULL stays behind them. */
    keywords->names[keywords->n] = name;
    keywords->values[keywords->n++] = value;
}

static bool is_list(const PQconninfoOption *option)
{
    return (strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0 ||
            strcmp(option->keyword, "port") == 0) &&
           strchr(option->val, ',') != NULL;
}

/* One server at a time: libpq itself would go on to the next only when the first one refuses, which
 * a machine without power does not. */
static void add_option(struct keywords *keywords, const PQconninfoOption *option, unsigned host)
{
    const char *value = option->val;

    if (is_list(option)) {
        char *element = postgres_url_nth(option->val, host);

        if (element == NULL) {
            return;
        }
        keywords->copies[keywords->n_copies++] = element;
        value = element;
    }
    add_keyword(keywords, option->keyword, value);
}

static unsigned count_hosts(const PQconninfoOption *option)
{
    unsigned n = 1;

    for (; option->keyword != NULL; option++) {
        bool is_of_hosts = strncmp(option->keyword, "host", 4) == 0;

        for (const char *c = option->val; is_of_hosts && c != NULL && *c != '\0'; c++) {
            n += *c == ',';
        }
        if (n > 1) {
            break; /* "hostaddr" lists them once more. */
        }
    }
    return n;
}

/* Words of the server that are not errors. */
static void on_notice(void *data, const char *words)
{
    (void)data;
    log_debug("archive", "postgres says: %s", words);
}

/* libpq is told to begin. */
static PGconn *begin(const PQconninfoOption *options, unsigned host)
{
    struct keywords keywords = {.n = 0};
    PGconn *pg;

    add_keyword(&keywords, "application_name", "holdfast");
    add_keyword(&keywords, "keepalives_idle", "30");
    add_keyword(&keywords, "keepalives_interval", "10");
    add_keyword(&keywords, "keepalives_count", "3");
    add_keyword(&keywords, "tcp_user_timeout", "30000");
    for (; options->keyword != NULL; options++) {
        if (options->val != NULL) {
            add_option(&keywords, options, host);
        }
    }
    add_keyword(&keywords, "client_encoding", "UTF8");
    pg = PQconnectStartParams(keywords.names, keywords.values, 0);
    CHECK(pg != NULL);                               /* Out of memory. */
    (void)PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* The SQLSTATE is not to be had else. */
    (void)PQsetNoticeProcessor(pg, on_notice, NULL);
    while (keywords.n_copies > 0) {
        free(keywords.copies[--keywords.n_copies]);
    }
    return pg;
}

static enum status finish_connecting(struct postgres_connection *connection, struct error *error)
{
    uint64_t end_ms = clock_ms() + CONNECT_MS;
    PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;

    if (PQstatus(connection->pg) == CONNECTION_BAD) {
        return postgres_connection_lose(connection, error);
    }
    while (wanted != PGRES_POLLING_OK) {
        uint64_t now = clock_ms();
        short happened;
        enum status status =
            wait_for(connection, (short)(wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT),
                     now < end_ms ? end_ms - now : 0, &happened, error);

        if (status != STATUS_OK) {
            return status;
        }
        wanted = PQconnectPoll(connection->pg);
        if (wanted == PGRES_POLLING_FAILED) {
            return postgres_connection_lose(connection, error);
        }
    }
    return PQsetnonblocking(connection->pg, 1) == 0 ? STATUS_OK
                                                    : postgres_connection_lose(connection, error);
}

/* The role or the database may have settings of its own. The schema alone: what others made
 * elsewhere is not mistaken for ours. */
static enum status set_session(struct postgres_connection *connection, struct error *error)
{
    static const char sql[] = "SELECT set_config('search_path', $1, false), "
                              "set_config('lock_timeout', '10s', false), "
                              "set_config('statement_timeout', '60s', false), "
                              "set_config('idle_in_transaction_session_timeout', '30s', false), "
                              "set_config('tcp_keepalives_idle', '30', false), "
                              "set_config('tcp_keepalives_interval', '10', false), "
                              "set_config('tcp_keepalives_count', '3', false), "
                              "set_config('default_transaction_isolation', 'read committed', "
                              "false), set_config('synchronous_commit', 'on', false)";
    struct postgres_params params = {.n = 0};
    struct buffer path = BUFFER_EMPTY;
    enum status status;

    buffer_append_format(&path, "\"%s\"", connection->url->schema);
    buffer_append_byte(&path, 0);
    postgres_params_text(&params, (const char *)path.data);
    status = postgres_run(connection, sql, &params, NULL, error);
    buffer_close(&path);
    return status;
}

static enum status open_connection(struct postgres_connection *connection, struct error *error)
{
    PQconninfoOption *options = PQconninfoParse(connection->url->libpq, NULL);
    enum status status;

    CHECK(options != NULL); /* It was good in postgres_url_parse(). */
    connection->n_hosts = count_hosts(options);
    connection->pg = begin(options, connection->host % connection->n_hosts);
    PQconninfoFree(options);
    status = finish_connecting(connection, error);
    if (status == STATUS_OK) {
        status = set_session(connection, error);
    }
    if (status == STATUS_OK) {
        status = postgres_schema_prepare(connection, error);
    }
    if (status != STATUS_OK) {
        postgres_connection_close(connection);
        connection->host++;
    }
    return status;
}

/* --- Attempts --- */

/* Open, and in no transaction: one that failed on the way is ended with its connection. */
static enum status make_ready(struct postgres_connection *connection, struct error *error)
{
    if (connection->pg != NULL && (PQstatus(connection->pg) != CONNECTION_OK ||
                                   PQpipelineStatus(connection->pg) != PQ_PIPELINE_OFF ||
                                   PQtransactionStatus(connection->pg) != PQTRANS_IDLE)) {
        postgres_connection_close(connection);
    }
    connection->remedy = POSTGRES_NONE;
    if (connection->pg != NULL) {
        return STATUS_OK;
    }
    /* Before anything is sent: a name server may take long. */
    return postgres_connection_go_on(connection, error) == STATUS_OK
               ? open_connection(connection, error)
               : STATUS_CANCELED;
}

static bool may_go_on(struct postgres_connection *connection)
{
    bool is_other = connection->remedy == POSTGRES_OTHER_HOST && connection->n_hosts > 1;

    if (is_other && connection->pg != NULL) {
        postgres_connection_close(connection);
        connection->host++;
    }
    return is_other || connection->remedy == POSTGRES_RETRY;
}

enum status postgres_connection_attempt(struct postgres_connection *connection,
                                        postgres_attempt_cb attempt, void *data,
                                        struct error *error)
{
    uint64_t end_ms = UINT64_MAX; /* From the first failure on: an attempt may be long work. */

    for (unsigned n_tries = 0;; n_tries++) {
        enum status status = make_ready(connection, error);

        if (status == STATUS_OK) {
            status = attempt(connection, data, error);
        }
        end_ms = n_tries == 0 ? clock_ms() + connection->retry_ms : end_ms;
        if (status == STATUS_OK || !may_go_on(connection) || clock_ms() >= end_ms) {
            return status;
        }
        status = back_off(connection, n_tries, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

/* --- Life --- */

void postgres_connection_init(struct postgres_connection *connection,
                              const struct postgres_url *url,
                              const struct repository_options *options,
                              const struct postgres_schema *schema)
{
    *connection = (struct postgres_connection){.url = url,
                                               .options = options,
                                               .schema = schema,
                                               .retry_ms = POSTGRES_RETRY_MS,
                                               .answer_ms = POSTGRES_ANSWER_MS};
}

bool postgres_connection_is_open(const struct postgres_connection *connection)
{
    return connection->pg != NULL;
}

void postgres_connection_close(struct postgres_connection *connection)
{
    PQfinish(connection->pg); /* Accepts NULL. */
    connection->pg = NULL;
}
