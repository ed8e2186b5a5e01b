#include "tests/lib/postgres_server.h"

#include <glob.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/deadline.h"
#include "tests/lib/ports.h"

#define PROGRAMS     "/usr/lib/postgresql/*/bin"
#define SETPRIV      "/usr/bin/setpriv"
#define RUN_MS       120000
#define MAX_SQL      4096
#define MAX_SOCKET   80 /* Bytes of the directory: the name of a socket in it must fit. */
#define MAX_ARGUMENT 300

/* The programs of the newest version. */
static bool find_programs(char *programs, size_t size)
{
    glob_t found;
    int newest = 0;

    if (glob(PROGRAMS, 0, NULL, &found) != 0) {
        return false;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int version = atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));
        char server[MAX_ARGUMENT];

        (void)snprintf(server, sizeof server, "%s/postgres", found.gl_pathv[i]);
        if (version > newest && access(server, X_OK) == 0) {
            newest = version;
            (void)snprintf(programs, size, "%s", found.gl_pathv[i]);
        }
    }
    globfree(&found);
    return newest >= 15; /* Older ones cannot do what initdb is asked for. */
}

const char *postgres_server_missing(void)
{
    char programs[256];

    if (!find_programs(programs, sizeof programs)) {
        return "no PostgreSQL server 15 or later in " PROGRAMS " (Debian: postgresql)";
    }
    if (getuid() == 0 && access(SETPRIV, X_OK) != 0) {
        return "no " SETPRIV ", to run PostgreSQL as another user than root";
    }
    return NULL;
}

/* Whether any user gets into the directory. */
static bool is_open_to_all(const char *directory)
{
    char path[256];
    struct stat facts;

    (void)snprintf(path, sizeof path, "%s", directory);
    while (path[0] != '\0') {
        if (stat(path, &facts) != 0 || (facts.st_mode & S_IXOTH) == 0) {
            return false;
        }
        *strrchr(path, '/') = '\0';
    }
    return true;
}

/* PostgreSQL refuses to run as root. */
static bool choose_user(struct postgres_server *server)
{
    const struct passwd *user;

    if (getuid() != 0) {
        return true;
    }
    user = getpwnam("postgres");
    user = user == NULL ? getpwnam("nobody") : user;
    if (user == NULL) {
        return false;
    }
    server->uid = user->pw_uid;
    server->gid = user->pw_gid;
    return true;
}

static bool make_directory(struct postgres_server *server)
{
    const char *parent = getenv("TMPDIR");

    if (parent == NULL || parent[0] != '/' || strlen(parent) > MAX_SOCKET - 30 ||
        !is_open_to_all(parent)) {
        parent = "/tmp";
    }
    (void)snprintf(server->directory, sizeof server->directory, "%s/holdfast-postgres-XXXXXX",
                   parent);
    return mkdtemp(server->directory) != NULL &&
           (server->uid == 0 || chown(server->directory, server->uid, server->gid) == 0);
}

/* One of its programs, with up to 20 arguments, as its user. The parent's death ends it: changing
 * the user would undo that, and so setpriv is told to keep it. */
static bool start_program(struct postgres_server *server, struct process *process, const char *name,
                          const char *const more[])
{
    char program[MAX_ARGUMENT + 16];
    char uid[32];
    char gid[32];
    char log[MAX_ARGUMENT];
    const char *arguments[32] = {SETPRIV, uid, gid, "--clear-groups", "--pdeathsig", "keep"};
    size_t n = server->uid == 0 ? 0 : 6;

    (void)snprintf(program, sizeof program, "%s/%s", server->programs, name);
    (void)snprintf(uid, sizeof uid, "--reuid=%u", server->uid);
    (void)snprintf(gid, sizeof gid, "--regid=%u", server->gid);
    (void)snprintf(log, sizeof log, "%s/log", server->directory);
    arguments[n++] = program;
    while (*more != NULL) {
        assert_true(n < sizeof arguments / sizeof arguments[0] - 1);
        arguments[n++] = *more++;
    }
    arguments[n] = NULL;
    return process_start(process, arguments, NULL, log);
}

/* Who may log in, and how. */
static bool write_access(const struct postgres_server *server)
{
    char path[MAX_ARGUMENT];
    FILE *file;
    bool good;

    (void)snprintf(path, sizeof path, "%s/data/pg_hba.conf", server->directory);
    file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    good = fputs("local all admin trust\n"
                 "host all admin 127.0.0.1/32 trust\n"
                 "host all all 127.0.0.1/32 scram-sha-256\n",
                 file) >= 0;
    return fclose(file) == 0 && good;
}

bool postgres_server_make(struct postgres_server *server)
{
    char data[MAX_ARGUMENT];
    /* A language, so that an order that is left to the database is seen. */
    const char *arguments[] = {"-D",
                               data,
                               "-U",
                               "admin",
                               "-A",
                               "trust",
                               "-E",
                               "UTF8",
                               "--no-sync",
                               "--locale-provider=icu",
                               "--icu-locale=en",
                               "--locale=C.UTF-8",
                               "--no-instructions",
                               NULL};
    struct process initdb;

    memset(server, 0, sizeof *server);
    server->port = port_take();
    if (server->port == 0 || !find_programs(server->programs, sizeof server->programs) ||
        !choose_user(server) || !make_directory(server)) {
        return false;
    }
    (void)snprintf(data, sizeof data, "%s/data", server->directory);
    if (!start_program(server, &initdb, "initdb", arguments)) {
        return false;
    }
    if (!process_wait(&initdb, RUN_MS)) {
        process_kill(&initdb);
        return false;
    }
    return process_exited_with(&initdb, 0) && write_access(server);
}

static void describe(const struct postgres_server *server, char *text, size_t size)
{
    (void)snprintf(text, size, "host=%s port=%u user=admin dbname=postgres", server->directory,
                   server->port);
}

static bool is_ready(void *data)
{
    struct postgres_server *server = data;
    char description[2 * MAX_ARGUMENT];

    describe(server, description, sizeof description);
    return !process_is_alive(&server->process) || PQping(description) == PQPING_OK;
}

bool postgres_server_start(struct postgres_server *server)
{
    char data[MAX_ARGUMENT];
    char port[16];
    const char *arguments[] = {"-D", data,
                               "-p", port,
                               "-k", server->directory,
                               "-c", "listen_addresses=127.0.0.1",
                               "-c", "fsync=off",
                               "-c", "max_connections=30",
                               "-c", "shared_buffers=16MB",
                               "-c", "lc_messages=C",
                               NULL};

    (void)snprintf(data, sizeof data, "%s/data", server->directory);
    (void)snprintf(port, sizeof port, "%u", server->port);
    return start_program(server, &server->process, "postgres", arguments) &&
           wait_until(is_ready, server, RUN_MS) && process_is_alive(&server->process);
}

bool postgres_server_stop(struct postgres_server *server, int number)
{
    return process_signal(&server->process, number) && process_wait(&server->process, RUN_MS);
}

PGconn *postgres_server_connect(const struct postgres_server *server)
{
    char description[2 * MAX_ARGUMENT];
    PGconn *pg;

    describe(server, description, sizeof description);
    pg = PQconnectdb(description);
    if (PQstatus(pg) != CONNECTION_OK) {
        fail_msg("connecting: %s", PQerrorMessage(pg));
    }
    return pg;
}

char *postgres_server_ask(const struct postgres_server *server, const char *format, ...)
{
    PGconn *pg = postgres_server_connect(server);
    char sql[MAX_SQL];
    PGresult *result;
    char *field;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(pg));
    }
    field = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    assert_non_null(field);
    PQclear(result);
    PQfinish(pg);
    return field;
}

bool postgres_server_has_logged(const struct postgres_server *server, const char *words)
{
    char path[MAX_ARGUMENT];
    char line[MAX_SQL];
    bool found = false;
    FILE *log;

    (void)snprintf(path, sizeof path, "%s/log", server->directory);
    log = fopen(path, "r");
    assert_non_null(log);
    while (!found && fgets(line, sizeof line, log) != NULL) {
        found = strstr(line, words) != NULL;
    }
    (void)fclose(log); /* Only read. */
    return found;
}

void postgres_server_remove(struct postgres_server *server)
{
    const char *const arguments[] = {"/bin/rm", "-rf", server->directory, NULL};
    struct process rm;

    if (process_is_alive(&server->process) && !postgres_server_stop(server, SIGINT)) {
        process_kill(&server->process);
    }
    if (server->directory[0] != '\0' && process_start(&rm, arguments, NULL, "/dev/null")) {
        (void)process_wait(&rm, RUN_MS); /* What stays is in a directory for such things. */
    }
}
