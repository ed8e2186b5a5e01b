#include "tests/lib/rgw_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/archive/s3_call.h"
#include "tests/lib/cluster.h"
#include "tests/lib/deadline.h"
#include "tests/lib/ports.h"

#define READY_MS 120000

const char *rgw_server_missing(void)
{
    static const char *const programs[] = {"radosgw", "ceph-mon", "ceph-osd", "ceph"};
    char command[64];

    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        (void)snprintf(command, sizeof command, "command -v %s >/dev/null", programs[i]);
        if (system(command) != 0) {
            return "S3 needs a real server: radosgw, ceph-mon, ceph-osd and ceph-common";
        }
    }
    return NULL;
}

static bool is_ready_or_ended(void *data)
{
    struct rgw_server *server = data;

    return access(server->ready, F_OK) == 0 || !process_is_alive(&server->process);
}

static void await_ready(struct rgw_server *server)
{
    FILE *file;

    (void)wait_until(is_ready_or_ended, server, READY_MS); /* Whether it is, is seen next. */
    file = fopen(server->ready, "r");
    if (file == NULL) {
        fail_msg("the server did not get ready; see %s", server->log);
        return;
    }
    assert_int_equal(fscanf(file, "%63s %63s", server->access_key, server->secret_key), 2);
    assert_int_equal(fclose(file), 0);
}

void rgw_server_set_key(const char *access_key, const char *secret_key)
{
    (void)setenv("AWS_ACCESS_KEY_ID", access_key, 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", secret_key, 1);
    (void)unsetenv("AWS_SESSION_TOKEN");
}

void rgw_server_start(struct rgw_server *server)
{
    const char *script = getenv("HOLDFAST_CEPH_RGW");
    const char *parent = getenv("TMPDIR");
    char monitor_port[16];
    char port[16];
    const char *arguments[] = {"/bin/bash",
                               script == NULL ? "tests/services/ceph-rgw" : script,
                               server->directory,
                               monitor_port,
                               port,
                               NULL};

    *server = (struct rgw_server){.port = port_take()};
    (void)snprintf(server->directory, sizeof server->directory, "%s/holdfast-s3-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(server->directory));
    (void)snprintf(server->ready, sizeof server->ready, "%s/ready", server->directory);
    (void)snprintf(server->killed, sizeof server->killed, "%s/killed", server->directory);
    (void)snprintf(server->log, sizeof server->log, "%s/start.log", server->directory);
    (void)snprintf(monitor_port, sizeof monitor_port, "%u", port_take());
    (void)snprintf(port, sizeof port, "%u", server->port);
    assert_true(process_start(&server->process, arguments, NULL, server->log));
    await_ready(server);
}

void rgw_server_url(const struct rgw_server *server, const char *place, const char *settings,
                    char url[RGW_SERVER_URL_BYTES])
{
    (void)snprintf(url, RGW_SERVER_URL_BYTES, "s3://%s?endpoint=http://127.0.0.1:%u%s", place,
                   server->port, settings);
}

void rgw_server_make_bucket(const struct rgw_server *server, const char *bucket, bool has_locks)
{
    struct s3_call call = {.method = "PUT", .max_body = 65536};
    struct error error = {.text = ""};
    struct s3_settings settings;
    struct s3_service service;
    char url[RGW_SERVER_URL_BYTES];

    if (has_locks) {
        call.fields[0] = (struct sigv4_pair){"x-amz-bucket-object-lock-enabled", "true"};
    }
    rgw_server_url(server, bucket, "", url);
    assert_int_equal(s3_settings_parse(url, &settings, NULL), STATUS_OK);
    s3_service_open(&service, &settings, NULL, NULL);
    if (s3_call_run(&service, &call, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    s3_call_close(&call);
    s3_service_close(&service);
}

/* The script says so itself: that it does not answer may have other reasons. */
static bool is_gone(void *data)
{
    const struct rgw_server *server = data;

    return access(server->killed, F_OK) == 0;
}

void rgw_server_kill_gateway(struct rgw_server *server)
{
    assert_int_equal(unlink(server->ready), 0);
    assert_true(process_signal(&server->process, SIGUSR1));
    assert_true(wait_until(is_gone, server, READY_MS));
}

void rgw_server_start_gateway(struct rgw_server *server)
{
    assert_true(process_signal(&server->process, SIGUSR2));
    await_ready(server);
}

void rgw_server_stop(struct rgw_server *server, bool passed)
{
    process_kill(&server->process);
    if (passed) {
        (void)remove_tree(server->directory); /* What stays is in a directory for such things. */
    } else {
        print_message("the server's logs are in %s\n", server->directory);
    }
}
